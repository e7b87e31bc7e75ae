//! When keys end: EXPIRE and its kin, TTL and its kin, PERSIST.

use super::commands::look;
use crate::command::options::{expire_at, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::entry::Entry;
use crate::keyspace::op::Op;
use crate::resp::Reply;

/// The conditions of NX, XX, GT and LT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Conditions {
    if_none: bool,
    if_some: bool,
    if_later: bool,
    if_sooner: bool,
}

impl Conditions {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut found = Self::default();
        for arg in args.iter() {
            match arg {
                _ if is(arg, "nx") => found.if_none = true,
                _ if is(arg, "xx") => found.if_some = true,
                _ if is(arg, "gt") => found.if_later = true,
                _ if is(arg, "lt") => found.if_sooner = true,
                _ => {
                    let arg = String::from_utf8_lossy(arg);
                    return Err(CommandError::owned(format!("ERR Unsupported option {arg}")));
                }
            }
        }
        if found.if_none && (found.if_some || found.if_later || found.if_sooner) {
            return Err(CommandError::new(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if found.if_later && found.if_sooner {
            return Err(CommandError::new("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(found)
    }

    /// Whether a key's end may be set to `new`. A key without an end ends later than any.
    fn allow(self, old: Option<u64>, new: i64) -> bool {
        let old = old.map(|at| i64::try_from(at).unwrap_or(i64::MAX));
        !(self.if_none && old.is_some()
            || self.if_some && old.is_none()
            || self.if_later && old.is_none_or(|old| new <= old)
            || self.if_sooner && old.is_some_and(|old| new >= old))
    }
}

pub(super) fn expire(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_expiry(ctx, args, reply, 1000, ctx.now_ms)
}

pub(super) fn pexpire(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_expiry(ctx, args, reply, 1, ctx.now_ms)
}

pub(super) fn expireat(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_expiry(ctx, args, reply, 1000, 0)
}

pub(super) fn pexpireat(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_expiry(ctx, args, reply, 1, 0)
}

fn set_expiry(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    unit_ms: i64,
    base_ms: u64,
) -> CommandResult {
    let conditions = Conditions::parse(args.tail(3))?;
    let at = expire_at(args.get(2), unit_ms, base_ms, ctx.command.name)?;
    let key = args.get(1);
    let now_ms = ctx.now_ms;
    let Some(old) = ctx.entry_quietly(key).map(Entry::expire_at) else {
        reply.integer(0);
        return Ok(());
    };
    if !conditions.allow(old, at) {
        reply.integer(0);
        return Ok(());
    }
    match u64::try_from(at) {
        Ok(at) if at > now_ms => {
            if old == Some(at) {
                ctx.written_as_it_was(key);
            } else {
                ctx.apply(key, Op::ExpireAt(at))?;
            }
        }
        // A time in the past: the key is gone at once.
        _ => ctx.apply(key, Op::Delete)?,
    }
    reply.integer(1);
    Ok(())
}

pub(super) fn persist(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.get(1);
    let ends = ctx.entry_quietly(key).is_some_and(|entry| entry.expire_at().is_some());
    if ends {
        ctx.apply(key, Op::Persist)?;
    }
    reply.integer(i64::from(ends));
    Ok(())
}

pub(super) fn ttl(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let now_ms = ctx.now_ms;
    tell_expiry(ctx, args, reply, |at| to_seconds(at.saturating_sub(now_ms)))
}

pub(super) fn pttl(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let now_ms = ctx.now_ms;
    tell_expiry(ctx, args, reply, |at| at.saturating_sub(now_ms))
}

pub(super) fn expiretime(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    tell_expiry(ctx, args, reply, to_seconds)
}

pub(super) fn pexpiretime(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    tell_expiry(ctx, args, reply, |at| at)
}

/// The nearest second, as Redis rounds.
const fn to_seconds(millis: u64) -> u64 {
    millis.saturating_add(500) / 1000
}

/// -2 without a key, -1 without an end, else the end in the form that the command wants.
fn tell_expiry(
    ctx: &mut Ctx<'_>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    form: impl Fn(u64) -> u64,
) -> CommandResult {
    reply.integer(match look(ctx, args.get(1)).map(Entry::expire_at) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => i64::try_from(form(at)).unwrap_or(i64::MAX),
    });
    Ok(())
}
