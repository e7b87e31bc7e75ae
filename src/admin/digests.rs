//! DEBUG DIGEST-VALUE, DIGEST-SLOTS and DIGEST-KEYS. The last two show parts of the keyspace as of a known LSN, so that what is on
//! disk can be compared with it: `duramen check --live`.
//!
//! A slot is looked at under the lock of its stripe alone. All changes to its keys up to the log's append position then, and
//! none behind it, are in the digest: a record is appended before the locks of its keys are let go.

use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::digest::{self, Digest};
use crate::keyspace::hash::SLOTS;
use crate::log::Lsn;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

const NO_SLOT: CommandError = CommandError::new("ERR Invalid or out of range slot");
const NOT_ALONE: CommandError =
    CommandError::new("ERR digests of slots are not to be had inside a transaction");

pub fn values(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    reply.array(args.len() - 2);
    for key in args.tail(2).iter() {
        let digest = ctx.entry_quietly(key).map(digest::of_value).unwrap_or_default();
        reply.simple(&digest.to_string());
    }
}

/// One bulk string: of each slot its LSN and its digest, high bytes first.
pub fn slots(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (first, count) = (slot(args.get(2))?, number(args.get(3))?);
    if count > SLOTS - usize::from(first) {
        return Err(NO_SLOT);
    }
    let mut bytes = Vec::with_capacity(count * (size_of::<Lsn>() + Digest::LEN));
    for slot in (first..).take(count) {
        let mut digest = Digest::default();
        let lsn = look(ctx, slot, |keyspace, stripe| digest = digest::of_slot(keyspace, stripe, slot))?;
        bytes.extend_from_slice(&lsn.to_be_bytes());
        bytes.extend_from_slice(&digest.to_bytes());
    }
    reply.bulk(&bytes);
    Ok(())
}

/// The LSN, and an array of database, key and digest of each key.
pub fn keys(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let slot = slot(args.get(2))?;
    let mut keys = Vec::new();
    let lsn = look(ctx, slot, |keyspace, stripe| {
        digest::each_in_slot(keyspace, stripe, slot, &mut |db, entry| {
            keys.push((db, entry.key().to_vec(), digest::of_key(db, entry)));
        });
    })?;
    reply.array(2);
    reply.integer(lsn as i64);
    reply.array(keys.len() * 3);
    for (db, key, digest) in keys {
        reply.integer(i64::from(db));
        reply.bulk(&key);
        reply.bulk(&digest.to_bytes());
    }
    Ok(())
}

/// Looks at a slot under its lock; returns the LSN of that moment.
fn look(
    ctx: &mut Ctx<'_>,
    slot: u16,
    see: impl FnOnce(&crate::keyspace::Keyspace, &crate::keyspace::stripe::Stripe),
) -> Result<Lsn, CommandError> {
    if !ctx.may_block {
        return Err(NOT_ALONE);
    }
    ctx.release();
    let keyspace = ctx.keyspace();
    let held = digest::lock_slot(keyspace, slot);
    let lsn = ctx.server.store.get().map_or(0, |store| store.log.append_lsn());
    see(keyspace, &held.shelf(slot).stripe);
    drop(held);
    ctx.depend_on_everything();
    Ok(lsn)
}

fn number(arg: &[u8]) -> Result<usize, CommandError> {
    parse_i64(arg).and_then(|number| usize::try_from(number).ok()).ok_or(NO_SLOT)
}

fn slot(arg: &[u8]) -> Result<u16, CommandError> {
    number(arg)?.try_into().ok().filter(|&slot| usize::from(slot) < SLOTS).ok_or(NO_SLOT)
}
