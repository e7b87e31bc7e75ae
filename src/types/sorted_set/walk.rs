//! ZSCAN and ZRANDMEMBER.

use std::collections::BTreeSet;

use crate::command::options::{REPETITIONS_BYTES_MAX, ScanExtra, ScanOptions};
use crate::command::walk::{self, Cursor, Draw};
use crate::command::{Args, CommandResult, Ctx};
use crate::disk::prng::Prng;
use crate::error::CommandError;
use crate::resp::Reply;

use super::commands::{Row, announce, write_row};
use super::value::SortedSet;

pub(super) fn zscan(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mut cursor = Cursor::parse(args.get(2))?;
    let Some(set) = ctx.sorted_set(args.get(1))? else {
        walk::announce_nothing(reply);
        return Ok(());
    };
    let scan = ScanOptions::parse(args.tail(3), ScanExtra::Nothing)?;
    let found = cursor.go_on(
        &scan,
        |at, visit| set.scan(at, &mut |score, member| visit((score, member))),
        |(_, member): &Row<'_>| member,
    );
    cursor.announce(2 * found.len(), reply);
    for (score, member) in found {
        reply.bulk(member);
        reply.bulk_double(score);
    }
    Ok(())
}

fn draw_one<'s>(set: &'s SortedSet, prng: &mut Prng) -> Row<'s> {
    set.at(prng.below(set.len() as u64) as usize).expect("a rank below the length of a set that is not empty")
}

pub(super) fn zrandmember(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let draw = if args.len() > 2 { Some(Draw::parse(args, "withscores")?) } else { None };
    let mut prng = ctx.random()?;
    match (ctx.sorted_set(args.get(1))?, draw) {
        (None, None) => reply.null(),
        (None, Some(_)) => reply.array(0),
        (Some(set), None) => reply.bulk(draw_one(set, &mut prng).1),
        (Some(set), Some(draw)) if draw.repeat => {
            announce(draw.count, draw.pairs, reply);
            let start = reply.len();
            for _ in 0..draw.count {
                write_row(draw_one(set, &mut prng), draw.pairs, reply);
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
    announce(count, draw.pairs, reply);
    if count < len / 4 {
        let mut drawn = BTreeSet::new();
        while drawn.len() < count {
            let rank = prng.below(len as u64) as usize;
            if drawn.insert(rank) {
                write_row(set.at(rank).expect("a rank below the length"), draw.pairs, reply);
            }
        }
        return;
    }
    let mut wanted = count as u64;
    for (left, row) in (1..=len as u64).rev().zip(set.members()) {
        if prng.chance(wanted, left) {
            wanted -= 1;
            write_row(row, draw.pairs, reply);
        }
    }
}
