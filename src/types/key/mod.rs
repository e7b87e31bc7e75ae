//! Commands on keys of any type and on whole databases: there is no value here, only what names, moves, ends and lists them.

pub mod commands;
mod copy;
mod expire;
mod memory;
mod object;
mod scan;
mod table;

#[cfg(test)]
mod tests;

use crate::command::Ctx;
use crate::command::options::integer;
use crate::error::CommandError;
use crate::keyspace::entry::Entry;

/// The live entry of a key, counted as a hit or a miss but not as an access: EXISTS, TYPE, TTL, OBJECT and their like.
fn look<'c>(ctx: &'c mut Ctx<'_>, key: &[u8]) -> Option<&'c Entry> {
    let stats = &ctx.server.stats;
    let found = ctx.entry_quietly(key);
    let counter = if found.is_some() { &stats.keyspace_hits } else { &stats.keyspace_misses };
    counter.add(1);
    found
}

/// The argument that names a database (MOVE, COPY).
fn database(ctx: &Ctx<'_>, arg: &[u8]) -> Result<u32, CommandError> {
    let number = i32::try_from(integer(arg)?).map_err(|_| {
        CommandError::new("ERR value is out of range, value must between -2147483648 and 2147483647")
    })?;
    in_range(ctx, number)
}

/// A number as a database that there is.
fn in_range(ctx: &Ctx<'_>, number: i32) -> Result<u32, CommandError> {
    let db = u32::try_from(number).ok().filter(|&db| db < ctx.keyspace().databases());
    db.ok_or(CommandError::new("ERR DB index is out of range"))
}
