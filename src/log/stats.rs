//! Counters of the log, kept where they cost nothing: the writer role and the sync are each held by one at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Lsn;
use super::buffer::Group;
use super::writer::Active;

/// Groups are counted by the power of two of their records: 1, 2-3, 4-7, ...
pub const GROUP_SIZES: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Stats {
    /// Of the segment that is being written.
    pub sequence: AtomicU64,
    /// Bytes in a unit of its writes.
    pub block: AtomicU64,
    /// The newest `synced_through` that is written.
    pub witnessed: AtomicU64,
    pub groups: AtomicU64,
    pub frames: AtomicU64,
    pub records: AtomicU64,
    /// Frame bytes, headers and padding included.
    pub bytes: AtomicU64,
    pub group_bytes_max: AtomicU64,
    pub group_sizes: [AtomicU64; GROUP_SIZES],
    pub syncs: AtomicU64,
    pub sync_us_last: AtomicU64,
    pub sync_us_max: AtomicU64,
    pub sync_us_total: AtomicU64,
}

/// Adds without a locked instruction: there is one writer at a time.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
}

impl Stats {
    pub fn active_segment(&self, active: &Active) {
        self.sequence.store(active.sequence, Ordering::Relaxed);
        self.block.store(u64::from(active.block), Ordering::Relaxed);
    }

    pub fn witnessed(&self, synced_through: Lsn) {
        self.witnessed.store(synced_through, Ordering::Relaxed);
    }

    pub fn group_written(&self, group: &Group) {
        let bytes = group.bytes().len() as u64;
        add(&self.frames, group.spans().len() as u64);
        add(&self.bytes, bytes);
        if group.records() == 0 {
            return;
        }
        add(&self.groups, 1);
        add(&self.records, group.records());
        add(&self.group_sizes[(group.records().ilog2() as usize).min(GROUP_SIZES - 1)], 1);
        self.group_bytes_max.fetch_max(bytes, Ordering::Relaxed);
    }

    pub fn synced(&self, took: Duration) {
        let took_us = took.as_micros() as u64;
        add(&self.syncs, 1);
        add(&self.sync_us_total, took_us);
        self.sync_us_last.store(took_us, Ordering::Relaxed);
        self.sync_us_max.fetch_max(took_us, Ordering::Relaxed);
    }
}
