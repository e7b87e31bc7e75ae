//! The string commands. Bits are in [`crate::types::bitmap`], LCS is in [`super::lcs`].
//!
//! Nothing here allocates for SET, GET and INCR. What a command changes in a string is logged as the change (APPEND logs the
//! appended bytes); the counters log their result, so that replay needs no arithmetic.

use std::mem::discriminant;
use std::ops::Range;

pub use super::table::COMMANDS;
use super::value::StringOp;
use crate::command::options::{expire_at, integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::entry::{Entry, STRING_MAX};
use crate::keyspace::op::Op;
use crate::long_double::LongDouble;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

const TOO_LONG: CommandError =
    CommandError::new("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

/// The string at a key for a command that writes: no access is counted.
pub(in crate::types) fn string_to_change<'c>(
    ctx: &'c mut Ctx<'_>,
    key: &[u8],
) -> Result<Option<&'c [u8]>, CommandError> {
    ctx.entry_quietly(key).map(|entry| entry.as_string().ok_or(CommandError::WRONG_TYPE)).transpose()
}

/// Longest string that a command may make, in bytes: `proto-max-bulk-len`, or what an entry can hold.
pub(in crate::types) fn len_max(ctx: &Ctx<'_>) -> u64 {
    // One bitfield may reach eight bytes behind the last offset.
    ctx.server.config.proto_max_bulk_len().min(STRING_MAX as u64 - 8)
}

/// Gives a key a value: with its old expiry if it was `present`, else without.
fn store(ctx: &mut Ctx<'_>, key: &[u8], present: bool, value: &[u8]) -> CommandResult {
    let op = if present { StringOp::Replace { value } } else { StringOp::Set { value, expire_at: None } };
    ctx.apply(key, Op::String(op))
}

// SET and its kin

/// What a command says about the time a key has left.
#[derive(Debug, Clone, Copy)]
enum Lifetime<'a> {
    Unsaid,
    Seconds(&'a [u8]),
    Millis(&'a [u8]),
    UntilSeconds(&'a [u8]),
    UntilMillis(&'a [u8]),
    Keep,
    Persist,
}

impl<'a> Lifetime<'a> {
    /// Reads one of EX, PX, EXAT and PXAT at `args[at]`; none if it is another word or has nothing behind it.
    fn at(args: Args<'a>, at: usize) -> Option<Self> {
        let (word, time) = (args.get(at), args.try_get(at + 1)?);
        Some(match word.len() {
            2 if is(word, "EX") => Self::Seconds(time),
            2 if is(word, "PX") => Self::Millis(time),
            4 if is(word, "EXAT") => Self::UntilSeconds(time),
            4 if is(word, "PXAT") => Self::UntilMillis(time),
            _ => return None,
        })
    }

    /// Says it, unless something else was said before: the same option again just wins.
    fn say(&mut self, next: Self) -> CommandResult {
        if !matches!(self, Self::Unsaid) && discriminant(self) != discriminant(&next) {
            return Err(CommandError::SYNTAX);
        }
        *self = next;
        Ok(())
    }

    /// The time in Unix milliseconds; none for the options that name no time. `command` is for the error text.
    fn resolve(self, now_ms: u64, command: &str) -> Result<Option<u64>, CommandError> {
        let (arg, unit_ms, base_ms) = match self {
            Self::Seconds(arg) => (arg, 1000, now_ms),
            Self::Millis(arg) => (arg, 1, now_ms),
            Self::UntilSeconds(arg) => (arg, 1000, 0),
            Self::UntilMillis(arg) => (arg, 1, 0),
            Self::Unsaid | Self::Keep | Self::Persist => return Ok(None),
        };
        if integer(arg)? <= 0 {
            return Err(CommandError::invalid_expire(command));
        }
        Ok(Some(expire_at(arg, unit_ms, base_ms, command)? as u64))
    }
}

/// When SET sets.
#[derive(Debug, Clone, Copy)]
enum Condition<'a> {
    Always,
    Absent,
    Present,
    Equal(&'a [u8]),
    NotEqual(&'a [u8]),
}

impl<'a> Condition<'a> {
    fn say(&mut self, next: Self) -> CommandResult {
        if !matches!(self, Self::Always) && discriminant(self) != discriminant(&next) {
            return Err(CommandError::SYNTAX);
        }
        *self = next;
        Ok(())
    }

    const fn compares(self) -> bool {
        matches!(self, Self::Equal(_) | Self::NotEqual(_))
    }

    /// `value` is none for a value that is no string; conditions that compare never see that.
    fn holds(self, entry: Option<Option<&[u8]>>) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => entry.is_none(),
            Self::Present => entry.is_some(),
            Self::Equal(wanted) => entry.flatten() == Some(wanted),
            Self::NotEqual(unwanted) => entry.flatten() != Some(unwanted),
        }
    }
}

struct SetOptions<'a> {
    condition: Condition<'a>,
    lifetime: Lifetime<'a>,
    get: bool,
}

impl<'a> SetOptions<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut options = Self { condition: Condition::Always, lifetime: Lifetime::Unsaid, get: false };
        let mut at = 3;
        while at < args.len() {
            let word = args.get(at);
            if is(word, "NX") {
                options.condition.say(Condition::Absent)?;
            } else if is(word, "XX") {
                options.condition.say(Condition::Present)?;
            } else if is(word, "GET") {
                options.get = true;
            } else if is(word, "KEEPTTL") {
                options.lifetime.say(Lifetime::Keep)?;
            } else {
                if let Some(lifetime) = Lifetime::at(args, at) {
                    options.lifetime.say(lifetime)?;
                } else {
                    let operand = args.try_get(at + 1).ok_or(CommandError::SYNTAX)?;
                    options.condition.say(match () {
                        () if is(word, "IFEQ") => Condition::Equal(operand),
                        () if is(word, "IFNE") => Condition::NotEqual(operand),
                        () => return Err(CommandError::SYNTAX),
                    })?;
                }
                at += 1;
            }
            at += 1;
        }
        Ok(options)
    }
}

pub(super) fn set(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, value) = (args.get(1), args.get(2));
    if args.len() > 3 {
        return set_with_options(ctx, args, reply);
    }
    ctx.apply(key, Op::String(StringOp::Set { value, expire_at: None }))?;
    reply.ok();
    Ok(())
}

fn set_with_options(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, value) = (args.get(1), args.get(2));
    let SetOptions { condition, lifetime, get } = SetOptions::parse(args)?;
    let expire_at = lifetime.resolve(ctx.now_ms, "set")?;
    let entry = if get { ctx.entry(key) } else { ctx.entry_quietly(key) };
    let present = entry.is_some();
    let current = entry.map(Entry::as_string);
    if (get || condition.compares()) && current == Some(None) {
        return Err(CommandError::WRONG_TYPE);
    }
    if get {
        reply.bulk_or_null(current.flatten());
    }
    if !condition.holds(current) {
        if !get {
            reply.null();
        }
        return Ok(());
    }
    if matches!(lifetime, Lifetime::Keep) {
        store(ctx, key, present, value)?;
    } else {
        ctx.apply(key, Op::String(StringOp::Set { value, expire_at }))?;
    }
    if !get {
        reply.ok();
    }
    Ok(())
}

pub(super) fn setnx(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let absent = !ctx.exists(args.get(1));
    if absent {
        ctx.apply(args.get(1), Op::String(StringOp::Set { value: args.get(2), expire_at: None }))?;
    }
    reply.integer(absent.into());
    Ok(())
}

pub(super) fn setex(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let expire_at = Lifetime::Seconds(args.get(2)).resolve(ctx.now_ms, "setex")?;
    ctx.apply(args.get(1), Op::String(StringOp::Set { value: args.get(3), expire_at }))?;
    reply.ok();
    Ok(())
}

pub(super) fn psetex(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let expire_at = Lifetime::Millis(args.get(2)).resolve(ctx.now_ms, "psetex")?;
    ctx.apply(args.get(1), Op::String(StringOp::Set { value: args.get(3), expire_at }))?;
    reply.ok();
    Ok(())
}

pub(super) fn getset(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.bulk_or_null(ctx.string(args.get(1))?);
    ctx.apply(args.get(1), Op::String(StringOp::Set { value: args.get(2), expire_at: None }))
}

/// The pairs of MSET and MSETNX; an error if a key has no value.
fn pairs<'a>(
    ctx: &Ctx<'_>,
    args: Args<'a>,
) -> Result<impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a>, CommandError> {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity(ctx.command.name));
    }
    Ok((1..args.len()).step_by(2).map(move |at| (args.get(at), args.get(at + 1))))
}

pub(super) fn mset(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    for (key, value) in pairs(ctx, args)? {
        ctx.apply(key, Op::String(StringOp::Set { value, expire_at: None }))?;
    }
    reply.ok();
    Ok(())
}

pub(super) fn msetnx(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mut keys = pairs(ctx, args)?.map(|(key, _)| key);
    if keys.any(|key| ctx.exists(key)) {
        reply.integer(0);
        return Ok(());
    }
    for (key, value) in pairs(ctx, args)? {
        ctx.apply(key, Op::String(StringOp::Set { value, expire_at: None }))?;
    }
    reply.integer(1);
    Ok(())
}

// GET and its kin

pub(super) fn get(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.bulk_or_null(ctx.string(args.get(1))?);
    Ok(())
}

pub(super) fn mget(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.array(args.len() - 1);
    for key in args.tail(1).iter() {
        reply.bulk_or_null(ctx.entry(key).and_then(Entry::as_string));
    }
    Ok(())
}

pub(super) fn strlen(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(ctx.string(args.get(1))?.map_or(0, <[u8]>::len) as i64);
    Ok(())
}

pub(super) fn getdel(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let Some(value) = ctx.string(args.get(1))? else {
        reply.null();
        return Ok(());
    };
    reply.bulk(value);
    ctx.apply(args.get(1), Op::Delete)
}

pub(super) fn getex(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mut lifetime = Lifetime::Unsaid;
    let mut at = 2;
    while at < args.len() {
        if is(args.get(at), "PERSIST") {
            lifetime.say(Lifetime::Persist)?;
            at += 1;
        } else {
            lifetime.say(Lifetime::at(args, at).ok_or(CommandError::SYNTAX)?)?;
            at += 2;
        }
    }
    let (key, now_ms) = (args.get(1), ctx.now_ms);
    let Some(entry) = ctx.entry(key) else {
        reply.null();
        return Ok(());
    };
    let value = entry.as_string().ok_or(CommandError::WRONG_TYPE)?;
    let had = entry.expire_at();
    let expire_at = lifetime.resolve(now_ms, "getex")?;
    reply.bulk(value);
    match expire_at {
        Some(at) if at <= now_ms => ctx.apply(key, Op::Delete),
        Some(at) if had != Some(at) => ctx.apply(key, Op::ExpireAt(at)),
        Some(_) => {
            ctx.written_as_it_was(key);
            Ok(())
        }
        None if matches!(lifetime, Lifetime::Persist) && had.is_some() => ctx.apply(key, Op::Persist),
        _ => Ok(()),
    }
}

// Counters

fn add(ctx: &mut Ctx<'_>, key: &[u8], increment: i64, reply: &mut Reply<'_>) -> CommandResult {
    let current = string_to_change(ctx, key)?;
    let present = current.is_some();
    let value = current.map_or(Some(0), parse_i64).ok_or(CommandError::NOT_INTEGER)?;
    let sum = value.checked_add(increment).ok_or(CommandError::OVERFLOW)?;
    store(ctx, key, present, itoa::Buffer::new().format(sum).as_bytes())?;
    reply.integer(sum);
    Ok(())
}

pub(super) fn incr(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    add(ctx, args.get(1), 1, reply)
}

pub(super) fn decr(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    add(ctx, args.get(1), -1, reply)
}

pub(super) fn incrby(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    add(ctx, args.get(1), integer(args.get(2))?, reply)
}

pub(super) fn decrby(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    const OVERFLOW: CommandError = CommandError::new("ERR decrement would overflow");
    add(ctx, args.get(1), integer(args.get(2))?.checked_neg().ok_or(OVERFLOW)?, reply)
}

pub(super) fn incrbyfloat(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let current = string_to_change(ctx, args.get(1))?;
    let present = current.is_some();
    let value = current.map_or(Some(LongDouble::ZERO), LongDouble::parse).ok_or(CommandError::NOT_FLOAT)?;
    let increment = LongDouble::parse(args.get(2)).ok_or(CommandError::NOT_FLOAT)?;
    let sum = value.add(increment);
    if !sum.is_finite() {
        return Err(CommandError::new("ERR increment would produce NaN or Infinity"));
    }
    let text = sum.format_human();
    store(ctx, args.get(1), present, text.as_bytes())?;
    reply.bulk(text.as_bytes());
    Ok(())
}

// Parts of strings

/// The first `start..=end` of `len` things in Redis' notation: negative ones count from the end, and one before the beginning
/// means the first thing (`end` too: `-10 -8` of five things is the first one). None if the range is empty.
pub(in crate::types) fn clamped(start: i64, end: i64, len: u64) -> Option<Range<u64>> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let absolute = |at: i64| if at < 0 { (at + len).max(0) } else { at };
    let (start, end) = (absolute(start), absolute(end).min(len - 1));
    (start <= end).then(|| start as u64..end as u64 + 1)
}

/// True for a range that counts from the end and is backwards: it is empty, whatever [`clamped`] would make of it.
pub(in crate::types) const fn is_backwards(start: i64, end: i64) -> bool {
    start < 0 && end < 0 && start > end
}

pub(super) fn getrange(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (start, end) = (integer(args.get(2))?, integer(args.get(3))?);
    let value = ctx.string(args.get(1))?.unwrap_or_default();
    let range = clamped(start, end, value.len() as u64).filter(|_| !is_backwards(start, end));
    reply.bulk(range.map_or(&[], |range| &value[range.start as usize..range.end as usize]));
    Ok(())
}

pub(super) fn setrange(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, bytes) = (args.get(1), args.get(3));
    let offset =
        u64::try_from(integer(args.get(2))?).map_err(|_| CommandError::new("ERR offset is out of range"))?;
    let len = string_to_change(ctx, key)?.map_or(0, <[u8]>::len) as u64;
    if bytes.is_empty() {
        reply.integer(len as i64);
        return Ok(());
    }
    // Both are below 2^63.
    let end = offset + bytes.len() as u64;
    if end > len_max(ctx) {
        return Err(TOO_LONG);
    }
    ctx.apply(key, Op::String(StringOp::SetRange { offset, bytes }))?;
    reply.integer(end.max(len) as i64);
    Ok(())
}

pub(super) fn append(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, bytes) = (args.get(1), args.get(2));
    let Some(value) = string_to_change(ctx, key)? else {
        // A new key is as if it was SET: its encoding too.
        ctx.apply(key, Op::String(StringOp::Set { value: bytes, expire_at: None }))?;
        reply.integer(bytes.len() as i64);
        return Ok(());
    };
    let len = (value.len() + bytes.len()) as u64;
    if len > len_max(ctx) {
        return Err(TOO_LONG);
    }
    // Even an empty one is a change to whoever watches the key.
    ctx.apply(key, Op::String(StringOp::Append { bytes }))?;
    reply.integer(len as i64);
    Ok(())
}
