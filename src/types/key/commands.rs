//! DEL, EXISTS, TYPE and TOUCH; DBSIZE, FLUSHDB, FLUSHALL and SWAPDB; what the other files share. The table of all commands on keys is in `table.rs`.

pub use super::table::COMMANDS;

use crate::command::options::{integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::entry::Entry;
use crate::keyspace::stripe::Part;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

/// The live entry of a key, counted as a hit or a miss but not as an access: EXISTS, TYPE, TTL, OBJECT and their like.
pub(super) fn look<'c>(ctx: &'c mut Ctx<'_>, key: &[u8]) -> Option<&'c Entry> {
    ctx.look(key)
}

/// The argument that names a database (MOVE, COPY).
pub(super) fn database(ctx: &Ctx<'_>, arg: &[u8]) -> Result<u32, CommandError> {
    let number = i32::try_from(integer(arg)?).map_err(|_| {
        CommandError::new("ERR value is out of range, value must between -2147483648 and 2147483647")
    })?;
    in_range(ctx, number)
}

/// A number as a database that there is.
pub(super) fn in_range(ctx: &Ctx<'_>, number: i32) -> Result<u32, CommandError> {
    let db = u32::try_from(number).ok().filter(|&db| db < ctx.keyspace().databases());
    db.ok_or(CommandError::new("ERR DB index is out of range"))
}

/// DEL and UNLINK: memory is given back by the allocator either way.
pub(super) fn del(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mut deleted = 0;
    for key in args.iter().skip(1) {
        deleted += i64::from(ctx.delete(key)?);
    }
    reply.integer(deleted);
    Ok(())
}

pub(super) fn exists(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let found = args.iter().skip(1).filter(|key| look(ctx, key).is_some()).count();
    reply.integer(found as i64);
    Ok(())
}

pub(super) fn touch(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let found = args.iter().skip(1).filter(|key| ctx.entry(key).is_some()).count();
    reply.integer(found as i64);
    Ok(())
}

pub(super) fn type_of(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.simple(look(ctx, args.get(1)).map_or("none", |entry| entry.kind().name()));
    Ok(())
}

/// Keys in a database. The command must hold every stripe. Keys whose time has come but that nobody met yet count too.
pub(super) fn keys_in(ctx: &Ctx<'_>, db: u32) -> usize {
    let space = ctx.keyspace().space(db);
    ctx.held().shelves().filter_map(|shelf| shelf.stripe.part(space)).map(Part::len).sum()
}

pub(super) fn dbsize(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    ctx.depend_on_everything();
    reply.integer(keys_in(ctx, ctx.session.db) as i64);
    Ok(())
}

pub(super) fn flushdb(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    check_flush_mode(args)?;
    flush(ctx, ctx.session.db)?;
    ctx.tell_all_who_track();
    reply.ok();
    Ok(())
}

pub(super) fn flushall(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    check_flush_mode(args)?;
    for db in 0..ctx.keyspace().databases() {
        flush(ctx, db)?;
    }
    ctx.tell_all_who_track();
    reply.ok();
    Ok(())
}

/// ASYNC and SYNC are the same here: what is retired is dropped after the locks are let go.
fn check_flush_mode(args: Args<'_>) -> CommandResult {
    match args.len() {
        1 => Ok(()),
        2 if is(args.get(1), "async") || is(args.get(1), "sync") => Ok(()),
        _ => Err(CommandError::SYNTAX),
    }
}

fn flush(ctx: &mut Ctx<'_>, db: u32) -> CommandResult {
    // That a database is empty may be somebody's deletion which is not durable yet.
    ctx.depend_on_everything();
    if keys_in(ctx, db) > 0 { ctx.flush(db) } else { Ok(()) }
}

pub(super) fn swapdb(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let number = |arg: &[u8], error: &'static str| {
        parse_i64(arg).and_then(|n| i32::try_from(n).ok()).ok_or(CommandError::new(error))
    };
    let first = number(args.get(1), "ERR invalid first DB index")?;
    let second = number(args.get(2), "ERR invalid second DB index")?;
    let (first, second) = (in_range(ctx, first)?, in_range(ctx, second)?);
    if first != second {
        ctx.swap(first, second)?;
    }
    reply.ok();
    Ok(())
}
