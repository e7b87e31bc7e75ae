//! Ops for one set of stripes, in the order of the log: gathered by the reader, applied in one go by whoever owns the stripes.

use smallvec::SmallVec;

use crate::codec::Malformed;
use crate::keyspace::hash::KeyRef;
use crate::keyspace::op::{AnyOp, Op, SpaceId};
use crate::keyspace::prefetch::BATCH as GROUP;
use crate::keyspace::table::SlotTable;
use crate::keyspace::waiters::StripeSet;
use crate::keyspace::{Held, Keyspace, ReplayError};
use crate::log::Lsn;

/// What a batch holds before it is handed over: enough that handing over costs nothing, little enough to stay in a cache.
/// In tests so little that short histories fill many.
const BYTES: usize = if cfg!(test) { 4 << 10 } else { 128 << 10 };
const OPS: usize = if cfg!(test) { 20 } else { 2048 };

/// An op's place in the order of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Behind the op's record.
    pub lsn_end: Lsn,
    /// Within the record.
    pub index: u32,
}

/// An op that cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    pub at: Position,
    pub error: ReplayError,
}

/// An op in a batch: its bytes end at `end` and begin where those of the one before end.
struct Placed {
    at: Position,
    end: usize,
    slot: u16,
}

/// An op with the place of its key.
type Decoded<'a> = (SpaceId, KeyRef<'a>, Op<'a>);

#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    ops: Vec<Placed>,
}

impl Batch {
    pub fn push(&mut self, at: Position, slot: u16, op: &[u8]) {
        self.bytes.extend_from_slice(op);
        self.ops.push(Placed { at, end: self.bytes.len(), slot });
    }

    pub const fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub const fn is_full(&self) -> bool {
        self.bytes.len() >= BYTES || self.ops.len() >= OPS
    }

    pub const fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Empties it for reuse. A long op's room is given back.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(2 * BYTES);
        self.ops.clear();
    }

    /// Applies all ops, or those before the first that fails. Their stripes are in `set`.
    pub fn apply(&self, keyspace: &Keyspace, set: StripeSet) -> Result<(), Failure> {
        let mut held = keyspace.lock(set);
        let mut start = 0;
        for group in self.ops.chunks(GROUP) {
            let mut decoded: SmallVec<[Decoded<'_>; GROUP]> = SmallVec::new();
            let mut malformed = None;
            for placed in group {
                let bytes = &self.bytes[start..placed.end];
                start = placed.end;
                match decode(bytes, placed.slot, keyspace.seed()) {
                    Ok(op) => decoded.push(op),
                    Err(error) => {
                        malformed = Some(Failure { at: placed.at, error: error.into() });
                        break;
                    }
                }
            }
            prefetch(&held, &decoded);
            for ((space, key, op), placed) in decoded.iter().zip(group) {
                held.apply(*space, key, op)
                    .map_err(|misfit| Failure { at: placed.at, error: misfit.into() })?;
            }
            malformed.map_or(Ok(()), Err)?;
        }
        Ok(())
    }
}

#[inline]
fn decode(bytes: &[u8], slot: u16, seed: u64) -> Result<Decoded<'_>, Malformed> {
    match AnyOp::decode(bytes)? {
        AnyOp::Key { space, key, op } => {
            Ok((space, KeyRef { bytes: key, hash: crate::hash::hash_bytes(key, seed), slot }, op))
        }
        AnyOp::Space(_) => Err(Malformed("an op on databases among those on keys")),
    }
}

/// Asks for what all ops will read before the first changes anything. A lookup is a chain of reads that miss the cache; those
/// of each step of several lookups overlap.
#[inline]
fn prefetch(held: &Held<'_>, ops: &[Decoded<'_>]) {
    let tables: SmallVec<[(&SlotTable, u64); GROUP]> = ops
        .iter()
        .filter_map(|(space, key, _)| {
            Some((held.shelf(key.slot).stripe.part(*space)?.slot(key.slot)?, key.hash))
        })
        .collect();
    for step in [SlotTable::prefetch_page, SlotTable::prefetch_tags, SlotTable::prefetch_entry] {
        tables.iter().for_each(|(table, hash)| step(table, *hash));
    }
}
