//! The sorted set commands about single members, and what the other files share. Adding is in `add`, ranges are in `range`,
//! popping is in `pop`, unions and their like in `algebra`, ZSCAN and ZRANDMEMBER in `walk`.

use std::ops::Range;

use crate::command::options::is;
use crate::command::picked::Picked;
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::entry::Entry;
use crate::keyspace::op::Op;
use crate::keyspace::value::Value;
use crate::resp::{Protocol, Reply};

pub use super::table::COMMANDS;
use super::value::{SortedSet, SortedSetOp};

/// A member with its score.
pub(super) type Row<'a> = (f64, &'a [u8]);

/// The sorted set at a key, for a command that writes.
#[inline]
pub(super) fn set_to_change<'c>(
    ctx: &'c mut Ctx<'_>,
    key: &[u8],
) -> Result<Option<&'c SortedSet>, CommandError> {
    match ctx.entry_quietly(key).map(Entry::as_value) {
        None => Ok(None),
        Some(Some(Value::SortedSet(set))) => Ok(Some(set)),
        Some(_) => Err(CommandError::WRONG_TYPE),
    }
}

/// Calls `visit` with the members of some ranks, in ascending order or backwards.
#[inline]
pub(super) fn each<'s>(set: &'s SortedSet, ranks: Range<usize>, reverse: bool, visit: impl FnMut(Row<'s>)) {
    if reverse {
        set.range(ranks).rev().for_each(visit);
    } else {
        set.range(ranks).for_each(visit);
    }
}

/// Begins a reply of members: with scores a flat array in RESP2, an array of pairs in RESP3.
#[inline]
pub(super) fn announce(count: usize, scores: bool, reply: &mut Reply<'_>) {
    let flat = scores && reply.proto() == Protocol::Resp2;
    reply.array(if flat { 2 * count } else { count });
}

/// One of the members that were announced.
#[inline]
pub(super) fn write_row((score, member): Row<'_>, scores: bool, reply: &mut Reply<'_>) {
    if scores && reply.proto() == Protocol::Resp3 {
        reply.array(2);
    }
    reply.bulk(member);
    if scores {
        reply.double(score);
    }
}

pub(super) fn zcard(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(ctx.sorted_set(args.get(1))?.map_or(0, SortedSet::len) as i64);
    Ok(())
}

fn write_score(score: Option<f64>, reply: &mut Reply<'_>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

pub(super) fn zscore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let set = ctx.sorted_set(args.get(1))?;
    write_score(set.and_then(|set| set.score(args.get(2))), reply);
    Ok(())
}

pub(super) fn zmscore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let set = ctx.sorted_set(args.get(1))?;
    let members = args.tail(2);
    reply.array(members.len());
    for member in members.iter() {
        write_score(set.and_then(|set| set.score(member)), reply);
    }
    Ok(())
}

fn rank(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, reverse: bool) -> CommandResult {
    let with_score = match args.len() {
        3 => false,
        4 if is(args.get(3), "withscore") => true,
        4 => return Err(CommandError::SYNTAX),
        _ => return Err(CommandError::wrong_arity(ctx.command.name)),
    };
    let member = args.get(2);
    let found = ctx.sorted_set(args.get(1))?.and_then(|set| Some((set, set.rank(member)?)));
    match found {
        Some((set, rank)) => {
            let rank = if reverse { set.len() - 1 - rank } else { rank };
            if with_score {
                reply.array(2);
            }
            reply.integer(rank as i64);
            if with_score {
                write_score(set.score(member), reply);
            }
        }
        None if with_score => reply.null_array(),
        None => reply.null(),
    }
    Ok(())
}

pub(super) fn zrank(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    rank(ctx, args, reply, false)
}

pub(super) fn zrevrank(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    rank(ctx, args, reply, true)
}

pub(super) fn zrem(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.get(1);
    let mut picked = Picked::default();
    if let Some(set) = set_to_change(ctx, key)? {
        for member in args.tail(2).iter() {
            if set.score(member).is_some() && !picked.contains(member) {
                picked.push(member);
            }
        }
    }
    if !picked.is_empty() {
        ctx.apply(key, Op::SortedSet(SortedSetOp::Remove { members: picked.items().into() }))?;
    }
    reply.integer(picked.len() as i64);
    Ok(())
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
