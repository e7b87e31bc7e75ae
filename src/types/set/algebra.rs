//! Intersections, unions and differences.
//!
//! All keys are looked up first, in their order, and a wrong type among them is an error even where the result is clear without it,
//! as in Redis. A result to be stored is copied before the target is deleted: the target may be one of the sources. So a STORE
//! takes the result's size in memory once more while it runs, SUNION and some SDIFF the size of a set of their own.

use smallvec::SmallVec;

use crate::command::options::is;
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::op::Op;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

use super::commands::{set_of, set_quietly};
use super::copied::Copied;
use super::value::{Member, Set, SetOp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Combine {
    Inter,
    Union,
    Diff,
}

/// In the order of their keys; `None` for a key that is not there.
pub(super) type Sources<'a> = SmallVec<[Option<&'a Set>; 8]>;

/// Looks sources up. For a command that writes they count neither as accesses nor as hits.
fn sources<'c, 'k>(
    ctx: &'c mut Ctx<'_>,
    keys: impl Iterator<Item = &'k [u8]> + Clone,
) -> Result<Sources<'c>, CommandError> {
    let is_write = ctx.command.is_write();
    for key in keys.clone() {
        if is_write {
            set_quietly(ctx, key)?;
        } else {
            ctx.set(key)?;
        }
    }
    let ctx = &*ctx;
    keys.map(|key| set_of(ctx.looked_up(key))).collect()
}

impl Combine {
    /// Visits the members of the result, each once, until `visit` says false.
    pub(super) fn of(self, sources: &Sources<'_>, visit: &mut dyn FnMut(&Member<'_>) -> bool) {
        match self {
            Self::Inter => intersect(sources, visit),
            Self::Union => unite(sources, visit),
            Self::Diff => subtract(sources, visit),
        }
    }
}

/// Looks the members of the smallest set up in all the others, in the next smallest first.
fn intersect(sources: &Sources<'_>, visit: &mut dyn FnMut(&Member<'_>) -> bool) {
    let Some(mut sets) = sources.iter().copied().collect::<Option<SmallVec<[&Set; 8]>>>() else { return };
    sets.sort_by_key(|set| set.len());
    sets.dedup_by(|a, b| std::ptr::eq(*a, *b));
    let Some((smallest, others)) = sets.split_first() else { return };
    for member in smallest.members() {
        if others.iter().all(|set| set.has(&member)) && !visit(&member) {
            return;
        }
    }
}

fn unite(sources: &Sources<'_>, visit: &mut dyn FnMut(&Member<'_>) -> bool) {
    let sets: SmallVec<[&Set; 8]> = sources.iter().copied().flatten().collect();
    match &sets[..] {
        [] => {}
        [only] => {
            let _ = only.members().all(|member| visit(&member));
        }
        sets => {
            let union = union_of(sets);
            let _ = union.members().all(|member| visit(&member));
        }
    }
}

fn union_of(sets: &[&Set]) -> Set {
    let mut union = Set::default();
    for set in sets {
        set.members().for_each(|member| _ = union.insert(&member));
    }
    union
}

/// Looks the members of the first set up in all the others; where those are many and small, in their union.
fn subtract(sources: &Sources<'_>, visit: &mut dyn FnMut(&Member<'_>) -> bool) {
    let Some((Some(first), others)) = sources.split_first() else { return };
    let union;
    let mut others: SmallVec<[&Set; 8]> = others.iter().copied().flatten().collect();
    let total: usize = others.iter().map(|set| set.len()).sum();
    // Adding a member costs about as much as a few look-ups.
    let by_look_up = first.len().saturating_mul(others.len());
    if total.saturating_mul(4) + first.len() < by_look_up {
        union = union_of(&others);
        others = SmallVec::from_slice(&[&union]);
    }
    // Those that know most members first.
    others.sort_by_key(|set| std::cmp::Reverse(set.len()));
    for member in first.members() {
        if !others.iter().any(|set| set.has(&member)) && !visit(&member) {
            return;
        }
    }
}

fn show(ctx: &mut Ctx<'_>, how: Combine, keys: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let sources = sources(ctx, keys.iter())?;
    let mark = reply.array_later();
    let mut count = 0;
    how.of(&sources, &mut |member| {
        reply.bulk(member);
        count += 1;
        true
    });
    reply.finish_set(mark, count);
    Ok(())
}

fn result_of(how: Combine, sources: &Sources<'_>) -> Copied {
    let mut result = Copied::default();
    how.of(sources, &mut |member| {
        result.push(member);
        true
    });
    result
}

fn store(ctx: &mut Ctx<'_>, how: Combine, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let target = args.get(1);
    let result = result_of(how, &sources(ctx, args.iter().skip(2))?);
    ctx.delete(target)?;
    result.for_each_op(|members| ctx.apply(target, Op::Set(SetOp::add(members))))?;
    reply.integer(result.len() as i64);
    Ok(())
}

pub(super) fn sinter(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    show(ctx, Combine::Inter, args.tail(1), reply)
}

pub(super) fn sunion(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    show(ctx, Combine::Union, args.tail(1), reply)
}

pub(super) fn sdiff(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    show(ctx, Combine::Diff, args.tail(1), reply)
}

pub(super) fn sinterstore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    store(ctx, Combine::Inter, args, reply)
}

pub(super) fn sunionstore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    store(ctx, Combine::Union, args, reply)
}

pub(super) fn sdiffstore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    store(ctx, Combine::Diff, args, reply)
}

pub(super) fn sintercard(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let few = CommandError::new("ERR numkeys should be greater than 0");
    let numkeys = parse_i64(args.get(1)).filter(|&count| count > 0).ok_or(few)?;
    let many = CommandError::new("ERR Number of keys can't be greater than number of args");
    let numkeys = usize::try_from(numkeys).ok().filter(|&count| count <= args.len() - 2).ok_or(many)?;
    let mut limit = 0;
    let mut options = args.iter().skip(2 + numkeys);
    while let Some(option) = options.next() {
        let value = options.next().filter(|_| is(option, "limit")).ok_or(CommandError::SYNTAX)?;
        let negative = CommandError::new("ERR LIMIT can't be negative");
        limit = parse_i64(value).filter(|&limit| limit >= 0).ok_or(negative)?;
    }
    let sources = sources(ctx, args.iter().skip(2).take(numkeys))?;
    let mut count = 0;
    Combine::Inter.of(&sources, &mut |_| {
        count += 1;
        count != limit
    });
    reply.integer(count);
    Ok(())
}
