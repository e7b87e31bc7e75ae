//! ZADD and ZINCRBY.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::command::options::{float, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::op::Op;
use crate::resp::Reply;

use super::commands::{Row, set_to_change};
use super::value::SortedSetOp;

/// Pairs up to which earlier ones of the same member are looked for one by one.
const FEW: usize = 16;

#[derive(Debug, Clone, Copy, Default)]
struct Options {
    /// Only members that are not there.
    nx: bool,
    /// Only members that are there.
    xx: bool,
    /// Only to a greater score, if there is one.
    gt: bool,
    /// Only to a lower score, if there is one.
    lt: bool,
    /// The reply counts what changed, not what is new.
    ch: bool,
    incr: bool,
}

impl Options {
    const INCREMENT: Self = Self { nx: false, xx: false, gt: false, lt: false, ch: false, incr: true };

    /// Sets an option, if the word is one.
    fn set(&mut self, word: &[u8]) -> bool {
        let option = match word {
            word if is(word, "nx") => &mut self.nx,
            word if is(word, "xx") => &mut self.xx,
            word if is(word, "gt") => &mut self.gt,
            word if is(word, "lt") => &mut self.lt,
            word if is(word, "ch") => &mut self.ch,
            word if is(word, "incr") => &mut self.incr,
            _ => return false,
        };
        *option = true;
        true
    }

    /// Reads the options; returns the pairs behind them, of which there is at least one.
    fn parse(args: Args<'_>) -> Result<(Self, Args<'_>), CommandError> {
        let mut options = Self::default();
        let mut count = 0;
        while args.try_get(count).is_some_and(|word| options.set(word)) {
            count += 1;
        }
        let pairs = args.tail(count);
        if pairs.is_empty() || pairs.len() % 2 == 1 {
            return Err(CommandError::SYNTAX);
        }
        let error = match options {
            Self { nx: true, xx: true, .. } => "ERR XX and NX options at the same time are not compatible",
            Self { gt: true, nx: true, .. }
            | Self { lt: true, nx: true, .. }
            | Self { gt: true, lt: true, .. } => {
                "ERR GT, LT, and/or NX options at the same time are not compatible"
            }
            Self { incr: true, .. } if pairs.len() > 2 => {
                "ERR INCR option supports a single increment-element pair"
            }
            _ => return Ok((options, pairs)),
        };
        Err(CommandError::new(error))
    }

    /// What becomes of a member with a score, or without one, that is given a score or an increment.
    #[inline]
    fn decide(self, current: Option<f64>, given: f64) -> Result<Outcome, CommandError> {
        let Some(current) = current else {
            return Ok(if self.xx { Outcome::Refused } else { Outcome::New(given) });
        };
        if self.nx {
            return Ok(Outcome::Refused);
        }
        let score = if self.incr { current + given } else { given };
        if score.is_nan() {
            return Err(CommandError::new("ERR resulting score is not a number (NaN)"));
        }
        if (self.lt && score >= current) || (self.gt && score <= current) {
            return Ok(Outcome::Refused);
        }
        // Zeros of both signs are equal: such a score stays.
        Ok(if score == current { Outcome::Same(score) } else { Outcome::Changed(score) })
    }
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// By an option.
    Refused,
    Same(f64),
    Changed(f64),
    New(f64),
}

/// Gives one member a score. Returns what it came to.
#[inline]
fn add_one(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    options: Options,
    (score, member): Row<'_>,
) -> Result<Outcome, CommandError> {
    let set = set_to_change(ctx, key)?;
    let outcome = options.decide(set.and_then(|set| set.score(member)), score)?;
    if let Outcome::New(score) | Outcome::Changed(score) = outcome {
        ctx.apply(key, Op::SortedSet(SortedSetOp::Set { score, member }))?;
    }
    Ok(outcome)
}

/// What earlier pairs of the same command have changed.
#[derive(Default)]
struct Changes<'a> {
    rows: SmallVec<[Row<'a>; 8]>,
    /// Only filled when there are many pairs.
    scores: BTreeMap<&'a [u8], f64>,
}

impl<'a> Changes<'a> {
    fn score(&self, member: &[u8]) -> Option<f64> {
        if !self.scores.is_empty() {
            return self.scores.get(member).copied();
        }
        self.rows.iter().rev().find(|row| row.1 == member).map(|row| row.0)
    }

    fn push(&mut self, score: f64, member: &'a [u8], among: usize) {
        self.rows.push((score, member));
        if among > FEW {
            self.scores.insert(member, score);
        }
    }
}

/// Gives several members scores. Returns how many were new and how many changed.
fn add_many(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    options: Options,
    pairs: &[Row<'_>],
) -> Result<(usize, usize), CommandError> {
    let set = set_to_change(ctx, key)?;
    let (mut changes, mut new, mut changed) = (Changes::default(), 0, 0);
    for &(score, member) in pairs {
        let current = changes.score(member).or_else(|| set?.score(member));
        let outcome = options.decide(current, score)?;
        new += usize::from(matches!(outcome, Outcome::New(_)));
        changed += usize::from(matches!(outcome, Outcome::Changed(_)));
        if let Outcome::New(score) | Outcome::Changed(score) = outcome {
            changes.push(score, member, pairs.len());
        }
    }
    match changes.rows[..] {
        [] => {}
        [(score, member)] => ctx.apply(key, Op::SortedSet(SortedSetOp::Set { score, member }))?,
        ref rows => ctx.apply(key, Op::SortedSet(SortedSetOp::SetMany { rows: rows.into() }))?,
    }
    Ok((new, changed))
}

fn reply_incremented(outcome: Outcome, reply: &mut Reply<'_>) {
    match outcome {
        Outcome::Refused => reply.null(),
        Outcome::Same(score) | Outcome::Changed(score) | Outcome::New(score) => reply.double(score),
    }
}

pub(super) fn zadd(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.get(1);
    let (options, pairs) = Options::parse(args.tail(2))?;
    if pairs.len() == 2 {
        let outcome = add_one(ctx, key, options, (float(pairs.get(0))?, pairs.get(1)))?;
        match outcome {
            _ if options.incr => reply_incremented(outcome, reply),
            Outcome::New(_) => reply.integer(1),
            Outcome::Changed(_) => reply.integer(i64::from(options.ch)),
            Outcome::Same(_) | Outcome::Refused => reply.integer(0),
        }
        return Ok(());
    }
    let mut rows = SmallVec::<[Row<'_>; 8]>::with_capacity(pairs.len() / 2);
    for at in (0..pairs.len()).step_by(2) {
        rows.push((float(pairs.get(at))?, pairs.get(at + 1)));
    }
    let (new, changed) = add_many(ctx, key, options, &rows)?;
    reply.integer((if options.ch { new + changed } else { new }) as i64);
    Ok(())
}

pub(super) fn zincrby(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let increment = args.get(2);
    // Redis reads it as ZADD does: an option leaves the member without a score.
    if Options::default().set(increment) {
        return Err(CommandError::SYNTAX);
    }
    let row = (float(increment)?, args.get(3));
    reply_incremented(add_one(ctx, args.get(1), Options::INCREMENT, row)?, reply);
    Ok(())
}
