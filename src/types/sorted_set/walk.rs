//! ZSCAN and ZRANDMEMBER.

use std::collections::BTreeSet;

use crate::command::options::{self, REPETITIONS_BYTES_MAX, ScanExtra, ScanOptions, integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::disk::prng::Prng;
use crate::error::CommandError;
use crate::resp::Reply;

use super::commands::{Row, announce, write_row};
use super::value::SortedSet;

/// The cursor is the position in the order of traversal with its bits reversed, as in Redis: a small number.
pub(super) fn zscan(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mut from = Some(options::cursor(args.get(2))?.reverse_bits());
    let Some(set) = ctx.sorted_set(args.get(1))? else {
        reply.array(2);
        reply.bulk(b"0");
        reply.array(0);
        return Ok(());
    };
    let scan = ScanOptions::parse(args.tail(3), ScanExtra::Nothing)?;
    let (mut found, mut visited) = (Vec::new(), 0);
    while let Some(at) = from.filter(|_| visited < scan.count) {
        from = set.scan(at, &mut |score, member| {
            visited += 1;
            if scan.takes(member) {
                found.push((score, member));
            }
        });
    }
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(from.map_or(0, u64::reverse_bits)).as_bytes());
    reply.array(2 * found.len());
    for (score, member) in found {
        reply.bulk(member);
        reply.bulk_double(score);
    }
    Ok(())
}

/// What a call of ZRANDMEMBER with a count asks for.
struct Draw {
    count: usize,
    repeat: bool,
    scores: bool,
}

impl Draw {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let count = integer(args.get(2))?;
        if count == i64::MIN {
            let text =
                "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
            return Err(CommandError::new(text));
        }
        let scores = args.len() > 3;
        if args.len() > 4 || (scores && !is(args.get(3), "withscores")) {
            return Err(CommandError::SYNTAX);
        }
        if scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
            return Err(CommandError::OUT_OF_RANGE);
        }
        Ok(Self { count: count.unsigned_abs() as usize, repeat: count < 0, scores })
    }
}

fn draw_one<'s>(set: &'s SortedSet, prng: &mut Prng) -> Row<'s> {
    set.at(prng.below(set.len() as u64) as usize).expect("a rank below the length of a set that is not empty")
}

pub(super) fn zrandmember(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let draw = if args.len() > 2 { Some(Draw::parse(args)?) } else { None };
    let mut prng = ctx.random()?;
    match (ctx.sorted_set(args.get(1))?, draw) {
        (None, None) => reply.null(),
        (None, Some(_)) => reply.array(0),
        (Some(set), None) => reply.bulk(draw_one(set, &mut prng).1),
        (Some(set), Some(draw)) if draw.repeat => {
            announce(draw.count, draw.scores, reply);
            let start = reply.len();
            for _ in 0..draw.count {
                write_row(draw_one(set, &mut prng), draw.scores, reply);
                if reply.len() - start > REPETITIONS_BYTES_MAX {
                    return Err(CommandError::OUT_OF_RANGE);
                }
            }
        }
        (Some(set), Some(draw)) => draw_distinct(set, &draw, &mut prng, reply),
    }
    Ok(())
}

/// Different members: few of many are drawn one by one, else each is taken with the chance that makes all choices alike.
fn draw_distinct(set: &SortedSet, draw: &Draw, prng: &mut Prng, reply: &mut Reply<'_>) {
    let len = set.len();
    let count = draw.count.min(len);
    announce(count, draw.scores, reply);
    if count < len / 4 {
        let mut drawn = BTreeSet::new();
        while drawn.len() < count {
            let rank = prng.below(len as u64) as usize;
            if drawn.insert(rank) {
                write_row(set.at(rank).expect("a rank below the length"), draw.scores, reply);
            }
        }
        return;
    }
    let mut wanted = count as u64;
    for (left, row) in (1..=len as u64).rev().zip(set.members()) {
        if prng.chance(wanted, left) {
            wanted -= 1;
            write_row(row, draw.scores, reply);
        }
    }
}
