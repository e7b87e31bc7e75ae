//! The commands on members of one set, SMOVE and SSCAN. Those over several sets are in `algebra`, random members in `random`.

use crate::command::options::{ScanExtra, ScanOptions};
use crate::command::picked::Picked;
use crate::command::walk::{self, Cursor};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::entry::Entry;
use crate::keyspace::op::Op;
use crate::keyspace::value::Value;
use crate::resp::Reply;

pub use super::table::COMMANDS;
use super::value::{Set, SetOp};

/// The set of an entry that was looked up.
pub(super) fn set_of(entry: Option<&Entry>) -> Result<Option<&Set>, CommandError> {
    match entry.map(Entry::as_value) {
        None => Ok(None),
        Some(Some(Value::Set(set))) => Ok(Some(set)),
        Some(_) => Err(CommandError::WRONG_TYPE),
    }
}

/// The set at a key for a command that writes: neither an access nor a hit.
#[inline]
pub(super) fn set_quietly<'c>(ctx: &'c mut Ctx<'_>, key: &[u8]) -> Result<Option<&'c Set>, CommandError> {
    set_of(ctx.entry_quietly(key))
}

pub(super) fn sadd(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, members) = (args.get(1), args.tail(2));
    let set = set_quietly(ctx, key)?;
    if members.len() == 1 {
        let is_new = !set.is_some_and(|set| set.contains(members.get(0)));
        if is_new {
            ctx.apply(key, Op::Set(SetOp::add(members)))?;
        }
        reply.integer(i64::from(is_new));
        return Ok(());
    }
    let mut new = Picked::default();
    for member in members.iter() {
        if !set.is_some_and(|set| set.contains(member)) && !new.contains(member) {
            new.push(member);
        }
    }
    if !new.is_empty() {
        ctx.apply(key, Op::Set(SetOp::add(new.items())))?;
    }
    reply.integer(new.len() as i64);
    Ok(())
}

pub(super) fn srem(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.get(1);
    let mut picked = Picked::default();
    if let Some(set) = set_quietly(ctx, key)? {
        for member in args.tail(2).iter() {
            if set.contains(member) && !picked.contains(member) {
                picked.push(member);
            }
        }
    }
    if !picked.is_empty() {
        ctx.apply(key, Op::Set(SetOp::remove(picked.items())))?;
    }
    reply.integer(picked.len() as i64);
    Ok(())
}

pub(super) fn smove(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (from, to, member) = (args.get(1), args.get(2), args.get(3));
    let Some(source) = set_quietly(ctx, from)? else {
        // Redis does not look at the other key then.
        reply.integer(0);
        return Ok(());
    };
    let is_there = source.contains(member);
    let is_there_too = set_quietly(ctx, to)?.is_some_and(|set| set.contains(member));
    if is_there && from != to {
        ctx.apply(from, Op::Set(SetOp::remove(&[member])))?;
        if !is_there_too {
            ctx.apply(to, Op::Set(SetOp::add(&[member])))?;
        }
    }
    reply.integer(i64::from(is_there));
    Ok(())
}

pub(super) fn sismember(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let is_there = ctx.set(args.get(1))?.is_some_and(|set| set.contains(args.get(2)));
    reply.integer(i64::from(is_there));
    Ok(())
}

pub(super) fn smismember(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let set = ctx.set(args.get(1))?;
    let members = args.tail(2);
    reply.array(members.len());
    for member in members.iter() {
        reply.integer(i64::from(set.is_some_and(|set| set.contains(member))));
    }
    Ok(())
}

pub(super) fn scard(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(ctx.set(args.get(1))?.map_or(0, Set::len) as i64);
    Ok(())
}

pub(super) fn smembers(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    match ctx.set(args.get(1))? {
        Some(set) => write_all(set, reply),
        None => reply.set(0),
    }
    Ok(())
}

pub(super) fn write_all(set: &Set, reply: &mut Reply<'_>) {
    reply.set(set.len());
    set.members().for_each(|member| reply.bulk(&member));
}

pub(super) fn sscan(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mut cursor = Cursor::parse(args.get(2))?;
    let Some(set) = ctx.set(args.get(1))? else {
        walk::announce_nothing(reply);
        return Ok(());
    };
    let scan = ScanOptions::parse(args.tail(3), ScanExtra::Nothing)?;
    let found = cursor.go_on(&scan, |at, visit| set.scan(at, visit), |member| member);
    cursor.announce(found.len(), reply);
    found.iter().for_each(|member| reply.bulk(member));
    Ok(())
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
