//! GEOADD, and searches whose result becomes a sorted set.

use std::collections::HashMap;

use super::cell::{Cell, STEP_MAX};
use super::options::{Query, point};
use super::search::Found;
use crate::command::options::is;
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::op::Op;
use crate::keyspace::value::Value;
use crate::resp::Reply;
use crate::types::sorted_set::value::{Rows, SortedSet, SortedSetOp};

/// The sorted set at a key for a command that writes: no access is counted.
fn set_to_change<'c>(ctx: &'c mut Ctx<'_>, key: &[u8]) -> Result<Option<&'c SortedSet>, CommandError> {
    match ctx.entry_quietly(key).map(crate::keyspace::entry::Entry::as_value) {
        None => Ok(None),
        Some(Some(Value::SortedSet(set))) => Ok(Some(set)),
        Some(_) => Err(CommandError::WRONG_TYPE),
    }
}

pub(super) fn geoadd(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (mut only_new, mut only_old, mut count_changed) = (false, false, false);
    let mut at = 2;
    while let Some(word) = args.try_get(at) {
        match () {
            () if is(word, "NX") => only_new = true,
            () if is(word, "XX") => only_old = true,
            () if is(word, "CH") => count_changed = true,
            () => break,
        }
        at += 1;
    }
    let places = args.len() - at;
    if places == 0 || !places.is_multiple_of(3) || only_new && only_old {
        return Err(CommandError::SYNTAX);
    }
    let mut rows = Vec::with_capacity(places / 3);
    for at in (at..args.len()).step_by(3) {
        let point = point(args.get(at), args.get(at + 1))?;
        rows.push((Cell::of(point, STEP_MAX).score(), args.get(at + 2)));
    }
    let key = args.get(1);
    let set = set_to_change(ctx, key)?;
    let (mut added, mut updated) = (0, 0);
    // Members may come more than once: each time it counts what they are by then.
    let mut scores = HashMap::new();
    rows.retain(|&(score, member)| {
        let old = scores.get(member).copied().or_else(|| set.and_then(|set| set.score(member)));
        let takes = match old {
            None => !only_old,
            Some(old) => !only_new && old != score,
        };
        if takes {
            *if old.is_some() { &mut updated } else { &mut added } += 1;
            scores.insert(member, score);
        }
        takes
    });
    if !rows.is_empty() {
        ctx.apply(key, Op::SortedSet(op(&rows)))?;
    }
    reply.integer(if count_changed { added + updated } else { added });
    Ok(())
}

fn op<'a>(rows: &'a [(f64, &'a [u8])]) -> SortedSetOp<'a> {
    match rows {
        [(score, member)] => SortedSetOp::Set { score: *score, member },
        rows => SortedSetOp::SetMany { rows: Rows::from(rows) },
    }
}

/// Makes a key the sorted set of what was found, or nothing. Whatever the key was is gone.
pub(super) fn store(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    rows: &[(f64, Box<[u8]>)],
    reply: &mut Reply<'_>,
) -> CommandResult {
    ctx.delete(key)?;
    if !rows.is_empty() {
        let rows: Vec<(f64, &[u8])> = rows.iter().map(|(score, member)| (*score, &**member)).collect();
        ctx.apply(key, Op::SortedSet(op(&rows)))?;
    }
    reply.integer(rows.len() as i64);
    Ok(())
}

/// What is stored of that which was found.
pub(super) fn rows(found: &[Found<'_>], query: &Query<'_>) -> Vec<(f64, Box<[u8]>)> {
    let score =
        |one: &Found<'_>| if query.store_distance { one.distance_m / query.unit_m } else { one.score };
    found.iter().map(|one| (score(one), one.member.into())).collect()
}
