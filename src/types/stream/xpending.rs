//! XPENDING.

use crate::command::options::{integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::resp::Reply;

use super::group::Group;
use super::group_commands::group_at;
use super::id::StreamId;
use super::id_arg::{range_end, range_start, write_id};

/// How many are pending, their first and last id, and how many each consumer has.
fn summarize(group: &Group, reply: &mut Reply<'_>) {
    reply.array(4);
    reply.integer(group.pending_len() as i64);
    let mut pending = group.pending(StreamId::MIN..=StreamId::MAX);
    let Some((_, first)) = pending.next() else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    let last = pending.next_back().map_or(first.id, |(_, row)| row.id);
    write_id(first.id, reply);
    write_id(last, reply);
    let (mark, mut written) = (reply.array_later(), 0);
    for (name, consumer) in group.consumers().filter(|(_, consumer)| consumer.pending_len() > 0) {
        reply.array(2);
        reply.bulk(name);
        reply.bulk_integer(consumer.pending_len() as i64);
        written += 1;
    }
    reply.finish_array(mark, written);
}

pub(super) fn xpending(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, name, now_ms) = (args.get(1), args.get(2), ctx.now_ms);
    if args.len() == 3 {
        summarize(group_at(ctx, key, name)?.1, reply);
        return Ok(());
    }
    // Up to two arguments behind the last one that means something are overlooked, as in Redis.
    if !(6..=9).contains(&args.len()) {
        return Err(CommandError::SYNTAX);
    }
    let (mut range, mut idle_ms) = (args.tail(3), 0);
    if is(range.get(0), "idle") {
        idle_ms = u64::try_from(integer(range.get(1))?).unwrap_or(0);
        if args.len() < 8 {
            return Err(CommandError::SYNTAX);
        }
        range = range.tail(2);
    }
    let count = usize::try_from(integer(range.get(2))?).unwrap_or(0);
    let ids = range_start(range.get(0))?..=range_end(range.get(1))?;
    let group = group_at(ctx, key, name)?.1;
    let (mark, mut written) = (reply.array_later(), 0);
    let mut write = |consumer: &[u8], row: super::value::PendingRow| {
        let idle = now_ms.saturating_sub(row.delivered_ms);
        if idle >= idle_ms {
            reply.array(4);
            write_id(row.id, reply);
            reply.bulk(consumer);
            reply.integer(idle as i64);
            reply.integer(row.deliveries as i64);
            written += 1;
        }
        written < count
    };
    if count > 0 {
        match range.try_get(3) {
            Some(consumer) => _ = group.pending_of(consumer, ids).all(|row| write(consumer, row)),
            None => _ = group.pending(ids).all(|(consumer, row)| write(consumer, row)),
        }
    }
    reply.finish_array(mark, written);
    Ok(())
}
