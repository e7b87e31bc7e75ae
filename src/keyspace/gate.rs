//! The reply gate's table: for every key, an upper bound of the LSN of its last change.
//!
//! A reply that depends on a key must not leave before that LSN is as safe as the connection asks for. The table has a fixed
//! number of cells, so keys share them: a collision makes a reply wait for another key's change, never the reverse.

use std::sync::atomic::{AtomicU64, Ordering};

use super::op::SpaceId;

const CELLS: usize = 1 << 20;

/// Positions by hash(keyspace, key). Written while the key's stripe is locked; read under the same lock.
pub struct GateTable {
    cells: Box<[AtomicU64]>,
}

impl Default for GateTable {
    fn default() -> Self {
        let cells = std::iter::repeat_with(|| AtomicU64::new(0)).take(CELLS).collect();
        Self { cells }
    }
}

impl GateTable {
    /// The cell of a key in a keyspace.
    #[inline]
    pub fn cell(space: SpaceId, hash: u64) -> usize {
        (hash ^ u64::from(space).wrapping_mul(0x9e37_79b9_7f4a_7c15)) as usize % CELLS
    }

    #[inline]
    pub fn get(&self, cell: usize) -> u64 {
        // The stripe lock orders this with the write that it must see.
        self.cells[cell].load(Ordering::Relaxed)
    }

    #[inline]
    pub fn raise(&self, cell: usize, lsn: u64) {
        // Keys of different stripes may share a cell, so this is a maximum, not a store.
        self.cells[cell].fetch_max(lsn, Ordering::Relaxed);
    }
}
