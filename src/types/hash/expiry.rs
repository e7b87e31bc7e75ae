//! Fields that expire: the HEXPIRE family of Redis 7.4 and HGETEX, HSETEX, HGETDEL of Redis 8.0.
//!
//! A time that has already come removes the field at once.

use smallvec::SmallVec;

use crate::command::options::{integer, is};
use crate::command::picked::Picked;
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::op::Op;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

use super::commands::hash_for_writing;
use super::value::{Hash, HashOp};

/// Latest time a field may expire at, as in Redis: Unix milliseconds of 46 bits.
const EXPIRE_AT_MAX_MS: i64 = (1 << 46) - 1;

/// Replies of the family for one field.
const NO_FIELD: i64 = -2;
const NO_EXPIRY: i64 = -1;
const NOT_MET: i64 = 0;
const DONE: i64 = 1;
const REMOVED: i64 = 2;

/// How a command names a time: in which unit, and counted from when.
#[derive(Clone, Copy)]
struct Scale {
    unit_ms: i64,
    relative: bool,
}

impl Scale {
    const SECONDS: Self = Self { unit_ms: 1000, relative: true };
    const MILLIS: Self = Self { unit_ms: 1, relative: true };
    const UNIX_SECONDS: Self = Self { unit_ms: 1000, relative: false };
    const UNIX_MILLIS: Self = Self { unit_ms: 1, relative: false };

    /// The Unix time in milliseconds that an argument means.
    fn read(self, arg: &[u8], now_ms: u64, command: &str) -> Result<u64, CommandError> {
        let value = integer(arg)?;
        if value < 0 {
            return Err(CommandError::new("ERR invalid expire time, must be >= 0"));
        }
        let base = if self.relative { now_ms as i64 } else { 0 };
        let at = value.checked_mul(self.unit_ms).and_then(|span| span.checked_add(base));
        let at =
            at.filter(|&at| at <= EXPIRE_AT_MAX_MS).ok_or_else(|| CommandError::invalid_expire(command))?;
        Ok(at as u64)
    }

    /// A time, or the time left until then, as replied. Seconds are rounded up.
    fn show(self, at_ms: u64, now_ms: u64) -> i64 {
        let base = if self.relative { now_ms } else { 0 };
        at_ms.saturating_sub(base).div_ceil(self.unit_ms as u64) as i64
    }
}

/// What stands behind `FIELDS numfields`, `width` arguments for each field. `at` is where FIELDS must be.
fn fields_at<'a>(args: Args<'a>, at: usize, width: usize) -> Result<Args<'a>, CommandError> {
    if !args.try_get(at).is_some_and(|arg| is(arg, "fields")) {
        let text = "ERR Mandatory argument FIELDS is missing or not at the right position";
        return Err(CommandError::new(text));
    }
    let number = args.try_get(at + 1).and_then(parse_i64).filter(|&number| number > 0);
    let number = number.ok_or(CommandError::new("ERR Number of fields must be a positive integer"))?;
    let fields = args.tail(at + 2);
    if usize::try_from(number).ok().and_then(|n| n.checked_mul(width)) != Some(fields.len()) {
        let text = "ERR The `numfields` parameter must match the number of arguments";
        return Err(CommandError::new(text));
    }
    Ok(fields)
}

/// The same answer for each of several fields.
fn repeat(reply: &mut Reply<'_>, count: usize, mut write: impl FnMut(&mut Reply<'_>)) -> CommandResult {
    reply.array(count);
    (0..count).for_each(|_| write(reply));
    Ok(())
}

/// When HEXPIRE and its kin change a field's time.
#[derive(Clone, Copy)]
enum Condition {
    Always,
    None,
    Some,
    Later,
    Earlier,
}

impl Condition {
    fn parse(arg: &[u8]) -> Option<Self> {
        let words = [("nx", Self::None), ("xx", Self::Some), ("gt", Self::Later), ("lt", Self::Earlier)];
        words.into_iter().find(|(word, _)| is(arg, word)).map(|(_, condition)| condition)
    }

    /// A field that does not expire counts as one that expires after all times.
    fn allows(self, old: Option<u64>, new: u64) -> bool {
        match self {
            Self::Always => true,
            Self::None => old.is_none(),
            Self::Some => old.is_some(),
            Self::Later => old.is_some_and(|old| old < new),
            Self::Earlier => old.is_none_or(|old| old > new),
        }
    }
}

pub(super) fn hexpire(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_expiry(ctx, args, Scale::SECONDS, reply)
}

pub(super) fn hpexpire(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_expiry(ctx, args, Scale::MILLIS, reply)
}

pub(super) fn hexpireat(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_expiry(ctx, args, Scale::UNIX_SECONDS, reply)
}

pub(super) fn hpexpireat(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_expiry(ctx, args, Scale::UNIX_MILLIS, reply)
}

fn set_expiry(ctx: &mut Ctx<'_>, args: Args<'_>, scale: Scale, reply: &mut Reply<'_>) -> CommandResult {
    let (key, now_ms, name) = (args.get(1), ctx.now_ms, ctx.command.name);
    let hash = hash_for_writing(ctx, key)?;
    let at = scale.read(args.get(2), now_ms, name)?;
    let (condition, fields) = match Condition::parse(args.get(3)) {
        Some(condition) => (condition, fields_at(args, 4, 1)?),
        None => (Condition::Always, fields_at(args, 3, 1)?),
    };
    let Some(hash) = hash else { return repeat(reply, fields.len(), |reply| reply.integer(NO_FIELD)) };
    let is_past = at <= now_ms;
    let mut picked = Picked::default();
    reply.array(fields.len());
    for field in fields.iter() {
        // A field may be named twice: the second time it is as the first time left it.
        let again = picked.contains(field);
        let old = hash.get(field, now_ms).filter(|_| !(again && is_past));
        let Some(old) = old else {
            reply.integer(NO_FIELD);
            continue;
        };
        if !condition.allows(if again { Some(at) } else { old.expire_at }, at) {
            reply.integer(NOT_MET);
            continue;
        }
        if !again {
            picked.push(field);
        }
        reply.integer(if is_past { REMOVED } else { DONE });
    }
    expire_picked(ctx, key, &picked, at)
}

/// Sets the time of fields, or removes them if it has come.
fn expire_picked(ctx: &mut Ctx<'_>, key: &[u8], picked: &Picked<'_>, at: u64) -> CommandResult {
    let fields = picked.items();
    if fields.is_empty() {
        return Ok(());
    }
    let op = if at <= ctx.now_ms { HashOp::remove(fields) } else { HashOp::expire(at, fields) };
    ctx.apply(key, Op::Hash(op))
}

pub(super) fn httl(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    tell_expiry(ctx, args, Scale::SECONDS, reply)
}

pub(super) fn hpttl(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    tell_expiry(ctx, args, Scale::MILLIS, reply)
}

pub(super) fn hexpiretime(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    tell_expiry(ctx, args, Scale::UNIX_SECONDS, reply)
}

pub(super) fn hpexpiretime(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    tell_expiry(ctx, args, Scale::UNIX_MILLIS, reply)
}

fn tell_expiry(ctx: &mut Ctx<'_>, args: Args<'_>, scale: Scale, reply: &mut Reply<'_>) -> CommandResult {
    let now_ms = ctx.now_ms;
    let hash = ctx.hash(args.get(1))?;
    let fields = fields_at(args, 2, 1)?;
    reply.array(fields.len());
    for field in fields.iter() {
        reply.integer(match hash.and_then(|hash| hash.get(field, now_ms)) {
            None => NO_FIELD,
            Some(field) => field.expire_at.map_or(NO_EXPIRY, |at| scale.show(at, now_ms)),
        });
    }
    Ok(())
}

pub(super) fn hpersist(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, now_ms) = (args.get(1), ctx.now_ms);
    let hash = hash_for_writing(ctx, key)?;
    let fields = fields_at(args, 2, 1)?;
    let mut picked = Picked::default();
    reply.array(fields.len());
    for field in fields.iter() {
        reply.integer(match hash.and_then(|hash| hash.get(field, now_ms)) {
            None => NO_FIELD,
            Some(found) if found.expire_at.is_none() || picked.contains(field) => NO_EXPIRY,
            Some(_) => {
                picked.push(field);
                DONE
            }
        });
    }
    persist_picked(ctx, key, &picked)
}

fn persist_picked(ctx: &mut Ctx<'_>, key: &[u8], picked: &Picked<'_>) -> CommandResult {
    if picked.is_empty() {
        return Ok(());
    }
    ctx.apply(key, Op::Hash(HashOp::persist(picked.items())))
}

pub(super) fn hgetdel(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, now_ms) = (args.get(1), ctx.now_ms);
    let hash = hash_for_writing(ctx, key)?;
    let fields = fields_at(args, 2, 1)?;
    let Some(hash) = hash else { return repeat(reply, fields.len(), |reply| reply.null()) };
    let mut picked = Picked::default();
    reply.array(fields.len());
    for field in fields.iter() {
        let found = hash.get(field, now_ms).filter(|_| !picked.contains(field));
        reply.bulk_or_null(found.map(|found| found.value));
        if found.is_some() {
            picked.push(field);
        }
    }
    if picked.is_empty() {
        return Ok(());
    }
    ctx.apply(key, Op::Hash(HashOp::remove(picked.items())))
}

/// What HGETEX and HSETEX do to the times of fields.
#[derive(Clone, Copy)]
enum Times {
    Default,
    At(u64),
    Persist,
    Keep,
}

/// The options of HGETEX and HSETEX.
struct Options<'a> {
    times: Times,
    /// FNX: none of the fields may exist (false); FXX: all must (true).
    all_exist: Option<bool>,
    fields: Args<'a>,
}

impl<'a> Options<'a> {
    /// `setting`: those of HSETEX, else those of HGETEX.
    fn parse(args: Args<'a>, now_ms: u64, name: &str, setting: bool) -> Result<Self, CommandError> {
        let mut times = None;
        let mut all_exist = None;
        let mut at = 2;
        while let Some(arg) = args.try_get(at).filter(|arg| !is(arg, "fields")) {
            at += 1;
            let scale = Self::scale(arg);
            let is_time = scale.is_some() || is(arg, if setting { "keepttl" } else { "persist" });
            if is_time && times.is_some() {
                let last = if setting { "KEEPTTL" } else { "PERSIST" };
                return Err(CommandError::owned(format!(
                    "ERR Only one of EX, PX, EXAT, PXAT or {last} arguments can be specified"
                )));
            }
            if let Some(scale) = scale {
                let value = args.try_get(at).ok_or(CommandError::SYNTAX)?;
                times = Some(Times::At(scale.read(value, now_ms, name)?));
                at += 1;
            } else if is_time {
                times = Some(if setting { Times::Keep } else { Times::Persist });
            } else if setting && (is(arg, "fnx") || is(arg, "fxx")) {
                if all_exist.replace(is(arg, "fxx")).is_some() {
                    let text = "ERR Only one of FXX or FNX arguments can be specified";
                    return Err(CommandError::new(text));
                }
            } else {
                let arg = String::from_utf8_lossy(&arg[..arg.len().min(128)]).into_owned();
                return Err(CommandError::owned(format!("ERR unknown argument: {arg}")));
            }
        }
        let fields = fields_at(args, at, if setting { 2 } else { 1 })?;
        Ok(Self { times: times.unwrap_or(Times::Default), all_exist, fields })
    }

    fn scale(arg: &[u8]) -> Option<Scale> {
        let words = [
            ("ex", Scale::SECONDS),
            ("px", Scale::MILLIS),
            ("exat", Scale::UNIX_SECONDS),
            ("pxat", Scale::UNIX_MILLIS),
        ];
        words.into_iter().find(|(word, _)| is(arg, word)).map(|(_, scale)| scale)
    }
}

pub(super) fn hgetex(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, now_ms, name) = (args.get(1), ctx.now_ms, ctx.command.name);
    let hash = hash_for_writing(ctx, key)?;
    let Options { times, fields, .. } = Options::parse(args, now_ms, name, false)?;
    let Some(hash) = hash else { return repeat(reply, fields.len(), |reply| reply.null()) };
    let removes = matches!(times, Times::At(at) if at <= now_ms);
    let mut picked = Picked::default();
    reply.array(fields.len());
    for field in fields.iter() {
        let again = picked.contains(field);
        let found = hash.get(field, now_ms).filter(|_| !(again && removes));
        reply.bulk_or_null(found.map(|found| found.value));
        let changes = found.is_some_and(|found| match times {
            Times::At(at) => found.expire_at != Some(at),
            Times::Persist => found.expire_at.is_some(),
            Times::Default | Times::Keep => false,
        });
        if changes && !again {
            picked.push(field);
        }
    }
    match times {
        Times::At(at) => expire_picked(ctx, key, &picked, at),
        _ => persist_picked(ctx, key, &picked),
    }
}

pub(super) fn hsetex(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, now_ms, name) = (args.get(1), ctx.now_ms, ctx.command.name);
    let Options { times, all_exist, fields: pairs } = Options::parse(args, now_ms, name, true)?;
    let hash = hash_for_writing(ctx, key)?;
    let names: SmallVec<[&[u8]; 8]> = pairs.iter().step_by(2).collect();
    let exists = |field: &&[u8]| hash.is_some_and(|hash| hash.contains(field, now_ms));
    let is_met = match all_exist {
        None => true,
        Some(true) => names.iter().all(exists),
        Some(false) => !names.iter().any(exists),
    };
    if !is_met {
        reply.integer(0);
        return Ok(());
    }
    // Set and gone in the same moment: what is left to do is to remove what was there.
    let removes = matches!(times, Times::At(at) if at <= now_ms);
    // Hidden fields that were not removed (see `hash_for_writing`) must not hand on their time.
    let in_the_way = |hash: &Hash, field: &[u8]| match times {
        _ if removes => hash.contains(field, now_ms),
        Times::Keep => hash.has_expired(now_ms) && hash.contains(field, 0) && !hash.contains(field, now_ms),
        _ => false,
    };
    let mut picked = Picked::default();
    for &field in &names {
        if hash.is_some_and(|hash| in_the_way(hash, field)) && !picked.contains(field) {
            picked.push(field);
        }
    }
    if !picked.is_empty() {
        ctx.apply(key, Op::Hash(HashOp::remove(picked.items())))?;
    }
    if !removes {
        let keeps = matches!(times, Times::Keep);
        let op = if keeps { HashOp::set_keep_ttl(pairs) } else { HashOp::set(pairs) };
        ctx.apply(key, Op::Hash(op))?;
        if let Times::At(at) = times {
            ctx.apply(key, Op::Hash(HashOp::expire(at, &names[..])))?;
        }
    }
    reply.integer(1);
    Ok(())
}
