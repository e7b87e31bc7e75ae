//! What is known of snapshots, for BGSAVE, LASTSAVE and INFO, and how one is asked for. Who makes them is on a higher floor.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use parking_lot::Mutex;

use crate::snapshot::catalog::Catalog;
use crate::snapshot::compact::Round;

#[derive(Default)]
pub struct Snapshots {
    requested: AtomicBool,
    running: AtomicBool,
    /// Wakes the thread that makes them.
    pub wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// Unix milliseconds: when the running one began.
    pub began_ms: AtomicU64,
    /// Unix milliseconds of the last success, in any process; 0 before the first.
    pub made_ms: AtomicU64,
    /// How long the last success took; -1 before the first.
    pub took_ms: AtomicI64,
    pub successes: AtomicU64,
    pub failures_in_a_row: AtomicU64,
    pub last_error: Mutex<Option<String>>,
    /// Everything before this position is in the snapshot.
    pub through: AtomicU64,
    pub files: AtomicU64,
    pub bytes: AtomicU64,
    /// Written by compactions of this process.
    pub bytes_written: AtomicU64,
    pub segments_retired: AtomicU64,
}

impl Snapshots {
    pub fn new() -> Self {
        Self { took_ms: AtomicI64::new(-1), ..Self::default() }
    }

    /// One is being made, or was asked for: who waits for its end must not see a moment before its beginning.
    pub fn is_running(&self) -> bool {
        self.running.load(SeqCst) || self.is_requested()
    }

    pub fn is_requested(&self) -> bool {
        self.requested.load(SeqCst)
    }

    /// Asks for a snapshot of everything up to now. False if one is being made: then another follows it.
    pub fn request(&self, now_ms: u64) -> bool {
        let idle = !self.is_running();
        if idle {
            self.began_ms.store(now_ms, Relaxed);
        }
        self.requested.store(true, SeqCst);
        if let Some(wake) = self.wake.get() {
            wake();
        }
        idle
    }

    /// One begins. True if it was asked for: then it is to hold everything up to now.
    pub fn begin(&self, now_ms: u64) -> bool {
        self.began_ms.store(now_ms, Relaxed);
        self.running.store(true, SeqCst);
        self.requested.swap(false, SeqCst)
    }

    pub fn ended(&self, now_ms: u64, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                self.took_ms.store(now_ms.saturating_sub(self.began_ms.load(Relaxed)) as i64, Relaxed);
                self.made_ms.store(now_ms, Relaxed);
                self.successes.fetch_add(1, Relaxed);
                self.failures_in_a_row.store(0, Relaxed);
                *self.last_error.lock() = None;
            }
            Err(error) => {
                self.failures_in_a_row.fetch_add(1, Relaxed);
                *self.last_error.lock() = Some(error);
            }
        }
        self.running.store(false, SeqCst);
    }

    pub fn note_round(&self, round: &Round) {
        self.bytes_written.fetch_add(round.bytes, Relaxed);
        self.segments_retired.fetch_add(round.retired_segments, Relaxed);
    }

    pub fn note_catalog(&self, catalog: &Catalog) {
        self.through.store(catalog.through, Relaxed);
        self.files.store(catalog.files.len() as u64, Relaxed);
        self.bytes.store(catalog.bytes(), Relaxed);
        self.made_ms.fetch_max(catalog.made_us / 1000, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_in_progress_from_the_request_to_the_end() {
        let snapshots = Snapshots::new();
        assert!(!snapshots.is_running());
        assert!(snapshots.request(1000));
        assert!(snapshots.is_running(), "before it has begun");
        assert!(snapshots.begin(1500) && snapshots.is_running());
        assert!(!snapshots.request(1600), "another follows");
        snapshots.ended(2000, Err("no".to_owned()));
        assert!(snapshots.is_running() && snapshots.begin(2000));
        snapshots.ended(2500, Ok(()));
        assert!(!snapshots.is_running());
        assert_eq!((snapshots.took_ms.load(Relaxed), snapshots.failures_in_a_row.load(Relaxed)), (500, 0));
    }
}
