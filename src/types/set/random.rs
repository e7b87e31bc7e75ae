//! SPOP and SRANDMEMBER. Every choice is as likely as any other of its size; what SPOP chose is what it logs.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use crate::command::options::{REPETITIONS_BYTES_MAX, signed_count};
use crate::command::{Args, CommandResult, Ctx};
use crate::disk::prng::Prng;
use crate::error::CommandError;
use crate::keyspace::op::Op;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

use super::commands::{set_quietly, write_all};
use super::copied::Copied;
use super::value::{Member, Set, SetOp};

/// Drawing one member of a spread set costs about as much as walking over this many.
const DRAW_COST: usize = 16;

/// `set` is not empty.
fn draw<'a>(set: &'a Set, prng: &mut Prng) -> Member<'a> {
    set.sample(&mut |bound| prng.below(bound)).expect("a set in a keyspace is not empty")
}

/// Visits `count` different members, at most as many as there are: few of many are drawn one by one, else each is taken with the
/// chance that makes all choices alike.
pub(super) fn draw_distinct<'a>(
    set: &'a Set,
    count: usize,
    prng: &mut Prng,
    visit: &mut dyn FnMut(Member<'a>),
) {
    if set.is_spread() && count < set.len() / DRAW_COST {
        let mut drawn = BTreeSet::new();
        while drawn.len() < count {
            // Members stand still while they are only read, each at a place of its own.
            let member = draw(set, prng);
            if drawn.insert(member.as_ptr()) {
                visit(member);
            }
        }
        return;
    }
    let mut wanted = count as u64;
    for (left, member) in (1..=set.len() as u64).rev().zip(set.members()) {
        if wanted == 0 {
            break;
        }
        if prng.chance(wanted, left) {
            wanted -= 1;
            visit(member);
        }
    }
}

pub(super) fn spop(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    match args.len() {
        2 => pop_one(ctx, args.get(1), reply),
        3 => {
            let count = parse_i64(args.get(2)).and_then(|count| usize::try_from(count).ok());
            pop_many(ctx, args.get(1), count.ok_or(CommandError::MUST_BE_POSITIVE)?, reply)
        }
        _ => Err(CommandError::SYNTAX),
    }
}

fn pop_one(ctx: &mut Ctx<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
    let mut prng = ctx.random()?;
    let Some(set) = set_quietly(ctx, key)? else {
        reply.null();
        return Ok(());
    };
    let member = SmallVec::<[u8; 128]>::from_slice(&draw(set, &mut prng));
    ctx.apply(key, Op::Set(SetOp::remove(&[&member[..]])))?;
    reply.bulk(&member);
    Ok(())
}

fn pop_many(ctx: &mut Ctx<'_>, key: &[u8], count: usize, reply: &mut Reply<'_>) -> CommandResult {
    let mut prng = ctx.random()?;
    let Some(set) = set_quietly(ctx, key)?.filter(|_| count > 0) else {
        reply.set(0);
        return Ok(());
    };
    if count >= set.len() {
        write_all(set, reply);
        return ctx.apply(key, Op::Delete);
    }
    let mut popped = Copied::default();
    draw_distinct(set, count, &mut prng, &mut |member| popped.push(&member));
    reply.set(popped.len());
    popped.iter().for_each(|member| reply.bulk(member));
    popped.for_each_op(|members| ctx.apply(key, Op::Set(SetOp::remove(members))))
}

pub(super) fn srandmember(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let count = match args.len() {
        2 => None,
        3 => Some(signed_count(args.get(2))?),
        _ => return Err(CommandError::SYNTAX),
    };
    let mut prng = ctx.random()?;
    let set = ctx.set(args.get(1))?;
    match (set, count) {
        (None, None) => reply.null(),
        (None, Some(_)) => reply.array(0),
        (Some(set), None) => reply.bulk(&draw(set, &mut prng)),
        (Some(set), Some(count @ 0..)) => {
            let count = set.len().min(count as usize);
            reply.array(count);
            draw_distinct(set, count, &mut prng, &mut |member| reply.bulk(&member));
        }
        (Some(set), Some(count)) => {
            let (count, start) = (count.unsigned_abs(), reply.len());
            // A small set cannot go to a member without passing those before it: for many draws, all are laid out first.
            let few = !set.is_spread() && count > set.len() as u64;
            let members: Vec<Member<'_>> = if few { set.members().collect() } else { Vec::new() };
            reply.array(count as usize);
            for _ in 0..count {
                match members.len() as u64 {
                    0 => reply.bulk(&draw(set, &mut prng)),
                    len => reply.bulk(&members[prng.below(len) as usize]),
                }
                if reply.len() - start > REPETITIONS_BYTES_MAX {
                    return Err(CommandError::OUT_OF_RANGE);
                }
            }
        }
    }
    Ok(())
}
