//! What the commands on the entries of a stream share.

use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::value::Value;
use crate::resp::Reply;

use super::id_arg::write_id;
pub use super::table::COMMANDS;
use super::value::{Entry, Stream};

/// The stream at a key, for a command that writes.
#[inline]
pub(super) fn stream_to_change<'c>(
    ctx: &'c mut Ctx<'_>,
    key: &[u8],
) -> Result<Option<&'c Stream>, CommandError> {
    match ctx.entry_quietly(key).map(|entry| entry.as_value()) {
        None => Ok(None),
        Some(Some(Value::Stream(stream))) => Ok(Some(stream)),
        Some(_) => Err(CommandError::WRONG_TYPE),
    }
}

/// An entry as all commands reply it: the id, and names and values in turn.
pub(super) fn write_entry(entry: &Entry<'_>, reply: &mut Reply<'_>) {
    reply.array(2);
    write_id(entry.id, reply);
    let strings = entry.strings();
    reply.array(strings.len());
    strings.for_each(|string| reply.bulk(&string));
}

pub(super) fn xlen(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(ctx.stream(args.get(1))?.map_or(0, Stream::length) as i64);
    Ok(())
}
