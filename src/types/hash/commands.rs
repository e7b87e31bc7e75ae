//! The commands of hashes that read and write fields. Expiry is in `expiry`, HSCAN and HRANDFIELD in `walk`.
//!
//! A field whose time has come is invisible to every command, as if it had been removed on time. Commands that write remove the
//! first such fields of the hash before, by an op of its own; more of them are left to active expiry, so that nobody's write pays for
//! all of a large hash.

use crate::command::options::integer;
use crate::command::picked::Picked;
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::entry::Entry;
use crate::keyspace::op::Op;
use crate::keyspace::value::Value;
use crate::long_double::LongDouble;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

pub use super::table::COMMANDS;
use super::value::{Field, Hash, HashOp};

/// Fields whose time has come that a command which writes removes at most.
const EXPIRED_PER_COMMAND: usize = 64;

/// The hash at a key for a command that writes: neither an access nor a hit. Fields whose time has come may still be in it.
pub(super) fn hash_for_writing<'c>(
    ctx: &'c mut Ctx<'_>,
    key: &[u8],
) -> Result<Option<&'c Hash>, CommandError> {
    let now_ms = ctx.now_ms;
    let expired = ctx.may_expire && hash_quietly(ctx, key)?.is_some_and(|hash| hash.has_expired(now_ms));
    if expired && ctx.may_remove_expired() {
        remove_expired(ctx, key)?;
    }
    hash_quietly(ctx, key)
}

fn hash_quietly<'c>(ctx: &'c mut Ctx<'_>, key: &[u8]) -> Result<Option<&'c Hash>, CommandError> {
    match ctx.entry_quietly(key).map(Entry::as_value) {
        None => Ok(None),
        Some(Some(Value::Hash(hash))) => Ok(Some(hash)),
        Some(_) => Err(CommandError::WRONG_TYPE),
    }
}

#[cold]
fn remove_expired(ctx: &mut Ctx<'_>, key: &[u8]) -> CommandResult {
    let now_ms = ctx.now_ms;
    let Some(hash) = hash_quietly(ctx, key)? else { return Ok(()) };
    let expired = hash.expired_fields(now_ms, EXPIRED_PER_COMMAND);
    let fields: Vec<&[u8]> = expired.iter().map(|field| &field[..]).collect();
    ctx.expire_fields_in(ctx.session.db, key, &fields)
}

/// The pairs of HSET and HMSET, and how many fields were new.
fn set_pairs(ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<usize, CommandError> {
    if args.len() % 2 == 1 {
        return Err(CommandError::wrong_arity(ctx.command.name));
    }
    let (key, now_ms, pairs) = (args.get(1), ctx.now_ms, args.tail(2));
    let hash = hash_for_writing(ctx, key)?;
    if pairs.len() == 2 {
        let exists = hash.is_some_and(|hash| hash.contains(pairs.get(0), now_ms));
        ctx.apply(key, Op::Hash(HashOp::set(pairs)))?;
        return Ok(usize::from(!exists));
    }
    let before = hash.map_or(0, |hash| hash.len(now_ms));
    ctx.apply(key, Op::Hash(HashOp::set(pairs)))?;
    let after = hash_quietly(ctx, key)?.map_or(0, |hash| hash.len(now_ms));
    Ok(after - before)
}

pub(super) fn hset(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let added = set_pairs(ctx, args)?;
    reply.integer(added as i64);
    Ok(())
}

pub(super) fn hmset(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_pairs(ctx, args)?;
    reply.ok();
    Ok(())
}

pub(super) fn hsetnx(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, now_ms) = (args.get(1), ctx.now_ms);
    if hash_for_writing(ctx, key)?.is_some_and(|hash| hash.contains(args.get(2), now_ms)) {
        reply.integer(0);
        return Ok(());
    }
    ctx.apply(key, Op::Hash(HashOp::set(args.tail(2))))?;
    reply.integer(1);
    Ok(())
}

pub(super) fn hdel(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, now_ms) = (args.get(1), ctx.now_ms);
    let mut picked = Picked::default();
    if let Some(hash) = hash_for_writing(ctx, key)? {
        for field in args.tail(2).iter() {
            if hash.contains(field, now_ms) && !picked.contains(field) {
                picked.push(field);
            }
        }
    }
    if !picked.is_empty() {
        ctx.apply(key, Op::Hash(HashOp::remove(picked.items())))?;
    }
    reply.integer(picked.len() as i64);
    Ok(())
}

/// The field of HGET and its kin.
fn field<'c>(ctx: &'c mut Ctx<'_>, args: Args<'_>) -> Result<Option<Field<'c>>, CommandError> {
    let now_ms = ctx.now_ms;
    Ok(ctx.hash(args.get(1))?.and_then(|hash| hash.get(args.get(2), now_ms)))
}

pub(super) fn hget(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.bulk_or_null(field(ctx, args)?.map(|field| field.value));
    Ok(())
}

pub(super) fn hexists(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(i64::from(field(ctx, args)?.is_some()));
    Ok(())
}

pub(super) fn hstrlen(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(field(ctx, args)?.map_or(0, |field| field.value.len()) as i64);
    Ok(())
}

pub(super) fn hmget(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let now_ms = ctx.now_ms;
    let hash = ctx.hash(args.get(1))?;
    let fields = args.tail(2);
    reply.array(fields.len());
    for name in fields.iter() {
        let field = hash.and_then(|hash| hash.get(name, now_ms));
        reply.bulk_or_null(field.map(|field| field.value));
    }
    Ok(())
}

pub(super) fn hlen(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let now_ms = ctx.now_ms;
    reply.integer(ctx.hash(args.get(1))?.map_or(0, |hash| hash.len(now_ms)) as i64);
    Ok(())
}

pub(super) fn hgetall(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let now_ms = ctx.now_ms;
    let Some(hash) = ctx.hash(args.get(1))? else {
        reply.map(0);
        return Ok(());
    };
    reply.map(hash.len(now_ms));
    for field in hash.fields(now_ms) {
        reply.bulk(field.name);
        reply.bulk(field.value);
    }
    Ok(())
}

/// One part of every field.
fn list(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    reply: &mut Reply<'_>,
    part: impl Fn(Field<'_>) -> &[u8],
) -> CommandResult {
    let now_ms = ctx.now_ms;
    let Some(hash) = ctx.hash(key)? else {
        reply.array(0);
        return Ok(());
    };
    reply.array(hash.len(now_ms));
    hash.fields(now_ms).for_each(|field| reply.bulk(part(field)));
    Ok(())
}

pub(super) fn hkeys(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    list(ctx, args.get(1), reply, |field| field.name)
}

pub(super) fn hvals(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    list(ctx, args.get(1), reply, |field| field.value)
}

/// Logs a counter's new value. A counter that expires still does: Redis leaves the time of a field that is altered, not replaced.
fn set_counter(ctx: &mut Ctx<'_>, args: Args<'_>, text: &[u8], exists: bool) -> CommandResult {
    let pair = [args.get(2), text];
    let op = if exists { HashOp::set_keep_ttl(&pair) } else { HashOp::set(&pair) };
    ctx.apply(args.get(1), Op::Hash(op))
}

pub(super) fn hincrby(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let increment = integer(args.get(3))?;
    let now_ms = ctx.now_ms;
    let old = hash_for_writing(ctx, args.get(1))?.and_then(|hash| hash.get(args.get(2), now_ms));
    let exists = old.is_some();
    let not_integer = CommandError::new("ERR hash value is not an integer");
    let old = old.map_or(Ok(0), |field| parse_i64(field.value).ok_or(not_integer))?;
    let sum = old.checked_add(increment).ok_or(CommandError::OVERFLOW)?;
    set_counter(ctx, args, itoa::Buffer::new().format(sum).as_bytes(), exists)?;
    reply.integer(sum);
    Ok(())
}

pub(super) fn hincrbyfloat(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let increment = LongDouble::parse(args.get(3)).ok_or(CommandError::NOT_FLOAT)?;
    if !increment.is_finite() {
        return Err(CommandError::new("ERR value is NaN or Infinity"));
    }
    let now_ms = ctx.now_ms;
    let old = hash_for_writing(ctx, args.get(1))?.and_then(|hash| hash.get(args.get(2), now_ms));
    let exists = old.is_some();
    let not_float = CommandError::new("ERR hash value is not a float");
    let parse = |field: Field<'_>| LongDouble::parse(field.value).ok_or(not_float);
    let sum = old.map_or(Ok(LongDouble::ZERO), parse)?.add(increment);
    if !sum.is_finite() {
        return Err(CommandError::new("ERR increment would produce NaN or Infinity"));
    }
    let text = sum.format_human();
    set_counter(ctx, args, text.as_bytes(), exists)?;
    reply.bulk_str(&text);
    Ok(())
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
