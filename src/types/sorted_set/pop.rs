//! Commands that take members from an end of a sorted set. Those with B wait until there is one: they look first, and are run
//! again from the start when one of the keys becomes a sorted set.

use std::ops::Range;

use crate::command::many_keys::ManyKeys;
use crate::command::options::{is, timeout_ms};
use crate::command::{Args, CommandResult, Ctx, Nil};
use crate::error::CommandError;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

use super::commands::{announce, each, set_to_change, write_row};
use super::range::remove_ranks;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Lowest,
    Highest,
}

impl End {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        if is(arg, "min") {
            Ok(Self::Lowest)
        } else if is(arg, "max") {
            Ok(Self::Highest)
        } else {
            Err(CommandError::SYNTAX)
        }
    }

    /// At most `count` ranks at this end.
    fn ranks(self, len: usize, count: i64) -> Range<usize> {
        let count = usize::try_from(count).unwrap_or(0).min(len);
        match self {
            Self::Lowest => 0..count,
            Self::Highest => len - count..len,
        }
    }
}

fn pop(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, end: End) -> CommandResult {
    if args.len() > 3 {
        return Err(CommandError::SYNTAX);
    }
    let count = args.try_get(2).map(|arg| parse_i64(arg).filter(|&count| count >= 0));
    let many = count.is_some();
    let count = count.unwrap_or(Some(1)).ok_or(CommandError::MUST_BE_POSITIVE)?;
    let key = args.get(1);
    let Some(set) = set_to_change(ctx, key)? else {
        reply.array(0);
        return Ok(());
    };
    let ranks = end.ranks(set.len(), count);
    if many {
        announce(ranks.len(), true, reply);
        each(set, ranks.clone(), end == End::Highest, |row| write_row(row, true, reply));
    } else {
        // A single member is never a pair within an array.
        reply.array(2);
        each(set, ranks.clone(), false, |(score, member)| {
            reply.bulk(member);
            reply.double(score);
        });
    }
    remove_ranks(ctx, key, ranks)
}

pub(super) fn zpopmin(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    pop(ctx, args, reply, End::Lowest)
}

pub(super) fn zpopmax(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    pop(ctx, args, reply, End::Highest)
}

fn pop_or_wait(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, end: End) -> CommandResult {
    let timeout_ms = timeout_ms(args.get(args.len() - 1))?;
    let keys = (1..args.len() - 1).map(|at| args.get(at));
    for key in keys.clone() {
        if !ctx.may_take_from(key) {
            continue;
        }
        let Some(set) = set_to_change(ctx, key)? else { continue };
        let ranks = end.ranks(set.len(), 1);
        reply.array(3);
        reply.bulk(key);
        each(set, ranks.clone(), false, |(score, member)| {
            reply.bulk(member);
            reply.double(score);
        });
        return remove_ranks(ctx, key, ranks);
    }
    ctx.wait_for(keys, timeout_ms, Nil::Array, reply);
    Ok(())
}

pub(super) fn bzpopmin(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    pop_or_wait(ctx, args, reply, End::Lowest)
}

pub(super) fn bzpopmax(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    pop_or_wait(ctx, args, reply, End::Highest)
}

/// Pops from the first sorted set that exists and replies; false, and no reply, if there is none.
fn pop_first(
    many: &ManyKeys<'_, End>,
    ctx: &mut Ctx<'_>,
    reply: &mut Reply<'_>,
) -> Result<bool, CommandError> {
    for key in many.keys() {
        if !ctx.may_take_from(key) {
            continue;
        }
        let Some(set) = set_to_change(ctx, key)? else { continue };
        let ranks = many.end.ranks(set.len(), many.count);
        reply.array(2);
        reply.bulk(key);
        reply.array(ranks.len());
        each(set, ranks.clone(), many.end == End::Highest, |(score, member)| {
            reply.array(2);
            reply.bulk(member);
            reply.double(score);
        });
        remove_ranks(ctx, key, ranks)?;
        return Ok(true);
    }
    Ok(false)
}

pub(super) fn zmpop(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let many = ManyKeys::parse(args.tail(1), End::parse)?;
    if !pop_first(&many, ctx, reply)? {
        reply.null_array();
    }
    Ok(())
}

pub(super) fn bzmpop(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    // Redis reports a bad time-out last.
    let many = ManyKeys::parse(args.tail(2), End::parse)?;
    let timeout_ms = timeout_ms(args.get(1))?;
    if !pop_first(&many, ctx, reply)? {
        ctx.wait_for(many.keys(), timeout_ms, Nil::Array, reply);
    }
    Ok(())
}
