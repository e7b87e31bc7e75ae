//! Commands about a range of members: by rank, by score or, where all scores are equal, by the members' bytes.

use std::ops::Range;

use crate::command::options::{clamp_range, integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::op::Op;
use crate::resp::Reply;
use crate::resp::number::parse_f64_lenient;

use super::commands::{announce, each, set_to_change, write_row};
use super::store::{CopiedRows, replace};
use super::value::{SortedSet, SortedSetOp};

/// What the two ends of a range are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Rank,
    Score,
    Lex,
}

/// `1.5`, or `(1.5` without the score itself.
#[derive(Debug, Clone, Copy)]
struct ScoreEnd {
    score: f64,
    exclusive: bool,
}

impl ScoreEnd {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        let (exclusive, number) = match arg {
            [b'(', number @ ..] => (true, number),
            number => (false, number),
        };
        let score = parse_f64_lenient(number).ok_or(CommandError::new("ERR min or max is not a float"))?;
        Ok(Self { score, exclusive })
    }
}

/// `-` and `+` stand before and behind everything, `[member` includes the member, `(member` does not.
#[derive(Debug, Clone, Copy)]
enum LexEnd<'a> {
    Lowest,
    Highest,
    Member { member: &'a [u8], exclusive: bool },
}

impl<'a> LexEnd<'a> {
    fn parse(arg: &'a [u8]) -> Result<Self, CommandError> {
        Ok(match arg {
            b"-" => Self::Lowest,
            b"+" => Self::Highest,
            [b'[', member @ ..] => Self::Member { member, exclusive: false },
            [b'(', member @ ..] => Self::Member { member, exclusive: true },
            _ => return Err(CommandError::new("ERR min or max not valid string range item")),
        })
    }

    /// Number of members that come before this end; of a maximum, with the member itself unless it is excluded.
    fn count(self, set: &SortedSet, is_max: bool) -> usize {
        match self {
            Self::Lowest => 0,
            Self::Highest => set.len(),
            Self::Member { member, exclusive } => set.count_before(member, exclusive != is_max),
        }
    }
}

/// Both ends, the lower one first.
#[derive(Debug, Clone, Copy)]
enum Ends<'a> {
    /// As given: negative ones count from the end, in the direction of the command.
    Ranks(i64, i64),
    Scores(ScoreEnd, ScoreEnd),
    Lex(LexEnd<'a>, LexEnd<'a>),
}

impl<'a> Ends<'a> {
    fn parse(by: By, low: &'a [u8], high: &'a [u8]) -> Result<Self, CommandError> {
        Ok(match by {
            By::Rank => Self::Ranks(integer(low)?, integer(high)?),
            By::Score => Self::Scores(ScoreEnd::parse(low)?, ScoreEnd::parse(high)?),
            By::Lex => Self::Lex(LexEnd::parse(low)?, LexEnd::parse(high)?),
        })
    }

    /// The ranks within, from the lowest score.
    fn ranks(self, set: &SortedSet, reverse: bool) -> Range<usize> {
        let len = set.len();
        let (start, end) = match self {
            Self::Ranks(start, stop) => {
                let range = clamp_range(start, stop, len).unwrap_or(0..0);
                return if reverse { len - range.end..len - range.start } else { range };
            }
            Self::Scores(low, high) => {
                (set.count_below(low.score, low.exclusive), set.count_below(high.score, !high.exclusive))
            }
            Self::Lex(low, high) => (low.count(set, false), high.count(set, true)),
        };
        start..end.max(start)
    }
}

/// What ZRANGE and its many relatives ask for.
struct Query<'a> {
    ends: Ends<'a>,
    reverse: bool,
    /// Members passed over, and the most that are taken; negative: none at all, and all.
    limit: (i64, i64),
    scores: bool,
}

impl<'a> Query<'a> {
    /// `args` are the two ends and what follows. What the command's name has settled already cannot be an option.
    fn parse(
        args: Args<'a>,
        by: Option<By>,
        reverse: Option<bool>,
        may_have_scores: bool,
    ) -> Result<Self, CommandError> {
        let (mut by, mut reverse, mut scores, mut limit) = (by, reverse, false, (0, -1));
        let mut at = 2;
        while let Some(word) = args.try_get(at) {
            at += 1;
            if may_have_scores && is(word, "withscores") {
                scores = true;
            } else if is(word, "limit") && args.len() - at >= 2 {
                limit = (integer(args.get(at))?, integer(args.get(at + 1))?);
                at += 2;
            } else if reverse.is_none() && is(word, "rev") {
                reverse = Some(true);
            } else if by.is_none() && is(word, "bylex") {
                by = Some(By::Lex);
            } else if by.is_none() && is(word, "byscore") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if limit.1 != -1 && by == By::Rank {
            return Err(CommandError::new(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if scores && by == By::Lex {
            return Err(CommandError::new(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        // Scores and members are given in the direction of the command.
        let (low, high) = if reverse && by != By::Rank { (1, 0) } else { (0, 1) };
        let ends = Ends::parse(by, args.get(low), args.get(high))?;
        Ok(Self { ends, reverse, limit, scores })
    }

    fn ranks(&self, set: &SortedSet) -> Range<usize> {
        let Range { start, end } = self.ends.ranks(set, self.reverse);
        if matches!(self.ends, Ends::Ranks(..)) {
            return start..end;
        }
        let (offset, count) = self.limit;
        let Ok(offset) = usize::try_from(offset) else { return 0..0 };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if self.reverse {
            let end = end.saturating_sub(offset).max(start);
            end.saturating_sub(count).max(start)..end
        } else {
            let start = start.saturating_add(offset).min(end);
            start..start.saturating_add(count).min(end)
        }
    }

    fn run(&self, ctx: &mut Ctx<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
        let Some(set) = ctx.sorted_set(key)? else {
            reply.array(0);
            return Ok(());
        };
        let ranks = self.ranks(set);
        announce(ranks.len(), self.scores, reply);
        each(set, ranks, self.reverse, |row| write_row(row, self.scores, reply));
        Ok(())
    }
}

pub(super) fn zrange(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    Query::parse(args.tail(2), None, None, true)?.run(ctx, args.get(1), reply)
}

pub(super) fn zrevrange(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    Query::parse(args.tail(2), Some(By::Rank), Some(true), true)?.run(ctx, args.get(1), reply)
}

pub(super) fn zrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    Query::parse(args.tail(2), Some(By::Score), Some(false), true)?.run(ctx, args.get(1), reply)
}

pub(super) fn zrevrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    Query::parse(args.tail(2), Some(By::Score), Some(true), true)?.run(ctx, args.get(1), reply)
}

pub(super) fn zrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    Query::parse(args.tail(2), Some(By::Lex), Some(false), true)?.run(ctx, args.get(1), reply)
}

pub(super) fn zrevrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    Query::parse(args.tail(2), Some(By::Lex), Some(true), true)?.run(ctx, args.get(1), reply)
}

pub(super) fn zrangestore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let query = Query::parse(args.tail(3), None, None, false)?;
    let mut rows = CopiedRows::default();
    if let Some(set) = ctx.sorted_set(args.get(2))? {
        // In ascending order whatever the direction: the result is ordered anyway.
        each(set, query.ranks(set), false, |(score, member)| rows.push(score, member));
    }
    replace(ctx, args.get(1), &rows)?;
    reply.integer(rows.len() as i64);
    Ok(())
}

fn count(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, by: By) -> CommandResult {
    let ends = Ends::parse(by, args.get(2), args.get(3))?;
    reply.integer(ctx.sorted_set(args.get(1))?.map_or(0, |set| ends.ranks(set, false).len()) as i64);
    Ok(())
}

pub(super) fn zcount(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    count(ctx, args, reply, By::Score)
}

pub(super) fn zlexcount(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    count(ctx, args, reply, By::Lex)
}

fn remove(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, by: By) -> CommandResult {
    let ends = Ends::parse(by, args.get(2), args.get(3))?;
    let ranks = set_to_change(ctx, args.get(1))?.map_or(0..0, |set| ends.ranks(set, false));
    remove_ranks(ctx, args.get(1), ranks.clone())?;
    reply.integer(ranks.len() as i64);
    Ok(())
}

/// Removes the members of some ranks, all of which exist.
pub(super) fn remove_ranks(ctx: &mut Ctx<'_>, key: &[u8], ranks: Range<usize>) -> CommandResult {
    if ranks.is_empty() {
        return Ok(());
    }
    let (start, len) = (ranks.start as u64, ranks.len() as u64);
    ctx.apply(key, Op::SortedSet(SortedSetOp::RemoveRange { start, len }))
}

pub(super) fn zremrangebyrank(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    remove(ctx, args, reply, By::Rank)
}

pub(super) fn zremrangebyscore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    remove(ctx, args, reply, By::Score)
}

pub(super) fn zremrangebylex(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    remove(ctx, args, reply, By::Lex)
}
