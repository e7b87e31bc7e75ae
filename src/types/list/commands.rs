//! The list commands that never wait. Those that may are in `blocking`.

use smallvec::SmallVec;

use crate::command::many_keys::ManyKeys;
use crate::command::options::{clamp_range, integer, is, signed_count};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::op::Op;
use crate::keyspace::value::Value;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

pub use super::table::COMMANDS;
use super::value::{Elements, List, ListOp, Side};

/// The list at a key, for a command that writes.
#[inline]
pub(super) fn list_to_change<'c>(ctx: &'c mut Ctx<'_>, key: &[u8]) -> Result<Option<&'c List>, CommandError> {
    match ctx.entry_quietly(key).map(|entry| entry.as_value()) {
        None => Ok(None),
        Some(Some(Value::List(list))) => Ok(Some(list)),
        Some(_) => Err(CommandError::WRONG_TYPE),
    }
}

fn len_to_change(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<usize, CommandError> {
    Ok(list_to_change(ctx, key)?.map_or(0, List::len))
}

#[inline]
pub(super) fn pop_op(side: Side, count: usize) -> Op<'static> {
    Op::List(ListOp::Pop { side, count: count as u64 })
}

pub(super) fn side(arg: &[u8]) -> Result<Side, CommandError> {
    if is(arg, "left") {
        Ok(Side::Left)
    } else if is(arg, "right") {
        Ok(Side::Right)
    } else {
        Err(CommandError::SYNTAX)
    }
}

#[inline]
fn push(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    side: Side,
    must_exist: bool,
) -> CommandResult {
    let key = args.get(1);
    let len = len_to_change(ctx, key)?;
    if must_exist && len == 0 {
        reply.integer(0);
        return Ok(());
    }
    let elements = Elements::args(args.tail(2));
    ctx.apply(key, Op::List(ListOp::Push { side, elements }))?;
    reply.integer((len + elements.len()) as i64);
    Ok(())
}

pub(super) fn lpush(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    push(ctx, args, reply, Side::Left, false)
}

pub(super) fn rpush(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    push(ctx, args, reply, Side::Right, false)
}

pub(super) fn lpushx(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    push(ctx, args, reply, Side::Left, true)
}

pub(super) fn rpushx(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    push(ctx, args, reply, Side::Right, true)
}

#[inline]
fn pop(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, side: Side) -> CommandResult {
    let key = args.get(1);
    if args.len() == 2 {
        let Some(list) = list_to_change(ctx, key)? else {
            reply.null();
            return Ok(());
        };
        reply.bulk_or_null(list.end(side));
        return ctx.apply(key, pop_op(side, 1));
    }
    if args.len() > 3 {
        return Err(CommandError::wrong_arity(ctx.command.name));
    }
    let count = parse_i64(args.get(2)).filter(|&count| count >= 0).ok_or(CommandError::MUST_BE_POSITIVE)?;
    let Some(list) = list_to_change(ctx, key)? else {
        reply.null_array();
        return Ok(());
    };
    let popped = write_ends(list, side, count, reply);
    if popped > 0 {
        ctx.apply(key, pop_op(side, popped))?;
    }
    Ok(())
}

/// Replies with at most `count` elements at a side, the outermost first. Returns their number.
pub(super) fn write_ends(list: &List, side: Side, count: i64, reply: &mut Reply<'_>) -> usize {
    let elements = list.ends(side, usize::try_from(count).unwrap_or(usize::MAX));
    let written = elements.len();
    reply.array(written);
    elements.for_each(|element| reply.bulk(element));
    written
}

pub(super) fn lpop(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    pop(ctx, args, reply, Side::Left)
}

pub(super) fn rpop(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    pop(ctx, args, reply, Side::Right)
}

pub(super) fn llen(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(ctx.list(args.get(1))?.map_or(0, List::len) as i64);
    Ok(())
}

/// An index that counts from the right if it is negative, as one from the left.
fn absolute(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(len as i64)? } else { index };
    usize::try_from(index).ok().filter(|&index| index < len)
}

pub(super) fn lindex(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let Some(list) = ctx.list(args.get(1))? else {
        reply.null();
        return Ok(());
    };
    let index = absolute(integer(args.get(2))?, list.len());
    reply.bulk_or_null(index.and_then(|index| list.get(index)));
    Ok(())
}

pub(super) fn lrange(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (start, stop) = (integer(args.get(2))?, integer(args.get(3))?);
    let list = ctx.list(args.get(1))?;
    let Some((list, range)) = list.and_then(|list| Some((list, clamp_range(start, stop, list.len())?)))
    else {
        reply.array(0);
        return Ok(());
    };
    reply.array(range.len());
    list.range(range).for_each(|element| reply.bulk(element));
    Ok(())
}

pub(super) fn lset(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, element) = (args.get(1), args.get(3));
    let list = list_to_change(ctx, key)?.ok_or(CommandError::NO_SUCH_KEY)?;
    let index = absolute(integer(args.get(2))?, list.len()).ok_or(CommandError::INDEX_OUT_OF_RANGE)?;
    if list.get(index) != Some(element) {
        ctx.apply(key, Op::List(ListOp::Set { index: index as u64, element }))?;
    } else {
        ctx.written_as_it_was(key);
    }
    reply.ok();
    Ok(())
}

pub(super) fn linsert(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let behind = if is(args.get(2), "after") {
        1
    } else if is(args.get(2), "before") {
        0
    } else {
        return Err(CommandError::SYNTAX);
    };
    let (key, pivot, element) = (args.get(1), args.get(3), args.get(4));
    let Some(list) = list_to_change(ctx, key)? else {
        reply.integer(0);
        return Ok(());
    };
    let len = list.len();
    let Some(at) = list.iter().position(|other| other == pivot) else {
        reply.integer(-1);
        return Ok(());
    };
    ctx.apply(key, Op::List(ListOp::Insert { index: (at + behind) as u64, element }))?;
    reply.integer(len as i64 + 1);
    Ok(())
}

pub(super) fn lrem(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, count, element) = (args.get(1), integer(args.get(2))?, args.get(3));
    let Some(list) = list_to_change(ctx, key)? else {
        reply.integer(0);
        return Ok(());
    };
    let len = list.len();
    let is_there = match count < 0 {
        true => list.iter().rev().any(|other| other == element),
        false => list.iter().any(|other| other == element),
    };
    if !is_there {
        reply.integer(0);
        return Ok(());
    }
    ctx.apply(key, Op::List(ListOp::Remove { count, element }))?;
    reply.integer((len - len_to_change(ctx, key)?) as i64);
    Ok(())
}

pub(super) fn ltrim(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, start, stop) = (args.get(1), integer(args.get(2))?, integer(args.get(3))?);
    let len = len_to_change(ctx, key)?;
    let kept = clamp_range(start, stop, len).unwrap_or(0..0);
    if kept.len() < len {
        ctx.apply(key, Op::List(ListOp::Trim { start: kept.start as u64, len: kept.len() as u64 }))?;
    } else if len > 0 {
        ctx.written_as_it_was(key);
    }
    reply.ok();
    Ok(())
}

/// What LPOS looks for.
struct Search {
    /// Matches to pass over before the first that counts.
    skip: u64,
    backwards: bool,
    /// `None`: the first match alone, not as an array.
    count: Option<usize>,
    /// Elements to compare at most.
    max_len: usize,
}

impl Search {
    fn parse(options: Args<'_>) -> Result<Self, CommandError> {
        const RANK_ZERO: CommandError = CommandError::new(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
        );
        let limit = |arg: &[u8], error: &'static str| {
            let limit = parse_i64(arg).and_then(|value| usize::try_from(value).ok());
            // Redis takes 0 for "no limit".
            limit.map(|limit| if limit == 0 { usize::MAX } else { limit }).ok_or(CommandError::new(error))
        };
        let mut search = Self { skip: 0, backwards: false, count: None, max_len: usize::MAX };
        for at in (0..options.len()).step_by(2) {
            let value = options.try_get(at + 1).ok_or(CommandError::SYNTAX)?;
            if is(options.get(at), "rank") {
                match signed_count(value)? {
                    0 => return Err(RANK_ZERO),
                    rank => {
                        search.backwards = rank < 0;
                        search.skip = rank.unsigned_abs() - 1;
                    }
                }
            } else if is(options.get(at), "count") {
                search.count = Some(limit(value, "ERR COUNT can't be negative")?);
            } else if is(options.get(at), "maxlen") {
                search.max_len = limit(value, "ERR MAXLEN can't be negative")?;
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(search)
    }

    /// Indexes of the matches that count, in the order of the search.
    fn run(&self, list: &List, element: &[u8], mut found: impl FnMut(usize)) {
        let (mut skip, mut rest, len) = (self.skip, self.count.unwrap_or(1), list.len());
        let mut elements = list.iter();
        for step in 0..len.min(self.max_len) {
            let other = if self.backwards { elements.next_back() } else { elements.next() };
            if other != Some(element) {
                continue;
            }
            if skip > 0 {
                skip -= 1;
                continue;
            }
            found(if self.backwards { len - 1 - step } else { step });
            rest -= 1;
            if rest == 0 {
                return;
            }
        }
    }
}

pub(super) fn lpos(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (element, search) = (args.get(2), Search::parse(args.tail(3))?);
    let list = ctx.list(args.get(1))?;
    if search.count.is_some() {
        let (mark, mut len) = (reply.array_later(), 0);
        if let Some(list) = list {
            search.run(list, element, |index| {
                reply.integer(index as i64);
                len += 1;
            });
        }
        reply.finish_array(mark, len);
        return Ok(());
    }
    let mut first = None;
    if let Some(list) = list {
        search.run(list, element, |index| first = Some(index));
    }
    match first {
        Some(index) => reply.integer(index as i64),
        None => reply.null(),
    }
    Ok(())
}

/// Pops at one side of a list and pushes at a side of another, or of the same; replies with the element. False, and no reply, if
/// there is no source.
pub(super) fn move_element(
    ctx: &mut Ctx<'_>,
    source: (&[u8], Side),
    destination: (&[u8], Side),
    reply: &mut Reply<'_>,
) -> Result<bool, CommandError> {
    let Some(list) = list_to_change(ctx, source.0)? else { return Ok(false) };
    let len = list.len();
    // Popped before it is pushed, so it has to be kept in between.
    let element = SmallVec::<[u8; 256]>::from_slice(list.end(source.1).unwrap_or_default());
    let same_list = source.0 == destination.0;
    if !same_list {
        list_to_change(ctx, destination.0)?;
    }
    // The only element of a list, or one that goes back to where it was, stays; the key's expiry too.
    if !same_list || (len > 1 && source.1 != destination.1) {
        ctx.apply(source.0, pop_op(source.1, 1))?;
        let elements = Elements::one(&element);
        ctx.apply(destination.0, Op::List(ListOp::Push { side: destination.1, elements }))?;
    } else {
        ctx.written_as_it_was(source.0);
    }
    reply.bulk(&element);
    Ok(true)
}

pub(super) fn lmove(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (from, to) = (side(args.get(3))?, side(args.get(4))?);
    if !move_element(ctx, (args.get(1), from), (args.get(2), to), reply)? {
        reply.null();
    }
    Ok(())
}

pub(super) fn rpoplpush(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if !move_element(ctx, (args.get(1), Side::Right), (args.get(2), Side::Left), reply)? {
        reply.null();
    }
    Ok(())
}

/// Pops from the first list that exists and replies; false, and no reply, if there is none.
pub(super) fn pop_first(
    many: &ManyKeys<'_, Side>,
    ctx: &mut Ctx<'_>,
    reply: &mut Reply<'_>,
) -> Result<bool, CommandError> {
    for key in many.keys() {
        if !ctx.may_take_from(key) {
            continue;
        }
        let Some(list) = list_to_change(ctx, key)? else { continue };
        reply.array(2);
        reply.bulk(key);
        let popped = write_ends(list, many.end, many.count, reply);
        ctx.apply(key, pop_op(many.end, popped))?;
        return Ok(true);
    }
    Ok(false)
}

pub(super) fn lmpop(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if !pop_first(&ManyKeys::parse(args.tail(1), side)?, ctx, reply)? {
        reply.null_array();
    }
    Ok(())
}
