//! The reply gate's table: for every key, an upper bound of the LSN of its last change.
//!
//! A reply that depends on a key must not leave before that LSN is as safe as the connection asks for. The table has a fixed
//! number of cells, so keys share them: a collision makes a reply wait for another key's change, never the reverse.

use std::sync::atomic::{AtomicU64, Ordering};

use super::hash::KeyRef;
use super::op::SpaceId;
use super::stripe::{STRIPES, stripe_of};
use crate::prefetch::prefetch;

/// Each stripe has its own cells, so that its lock orders all that happens to them.
const CELLS_PER_STRIPE: usize = (1 << 20) / STRIPES;

/// Positions by hash(keyspace, key). Written while the key's stripe is locked; read under the same lock.
pub struct GateTable {
    cells: Box<[AtomicU64]>,
}

const _: () = assert!(align_of::<AtomicU64>() == align_of::<u64>());

impl Default for GateTable {
    fn default() -> Self {
        // Asked for as zeros, pages that no key needs are never touched: 8 MiB that a small store does not pay for.
        let zeros = vec![0u64; STRIPES * CELLS_PER_STRIPE].into_boxed_slice();
        // SAFETY: an AtomicU64 has the size, alignment and bit validity of a u64, on this platform as on every one that this
        // program is built for (checked below), and the box is the only owner of the cells.
        let cells = unsafe { Box::from_raw(Box::into_raw(zeros) as *mut [AtomicU64]) };
        Self { cells }
    }
}

impl GateTable {
    /// What a table takes, touched or not.
    pub const BYTES: usize = STRIPES * CELLS_PER_STRIPE * size_of::<u64>();

    /// The cell of a key in a keyspace.
    #[inline]
    pub fn cell(space: SpaceId, key: &KeyRef<'_>) -> usize {
        let mixed = key.hash ^ u64::from(space).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        stripe_of(key.slot) * CELLS_PER_STRIPE + mixed as usize % CELLS_PER_STRIPE
    }

    /// Asks the processor for a cell.
    #[inline]
    pub fn prefetch(&self, cell: usize) {
        prefetch(&raw const self.cells[cell]);
    }

    #[inline]
    pub fn get(&self, cell: usize) -> u64 {
        // The stripe lock orders this with the write that it must see.
        self.cells[cell].load(Ordering::Relaxed)
    }

    /// `lsn` is that of a record appended while the stripe was locked, so it is above all that stood here.
    #[inline]
    pub fn raise(&self, cell: usize, lsn: u64) {
        debug_assert!(self.get(cell) <= lsn, "the stripe's lock orders appends and this table alike");
        // A plain store: the cell is seldom in the cache, and nobody has to wait for it to come.
        self.cells[cell].store(lsn, Ordering::Relaxed);
    }
}
