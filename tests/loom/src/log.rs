//! The log as `src/log/{mod,shared,writer,threads}.rs` have it, without segments, files and time: the same operations on the same
//! positions, in the same order and with the same orderings. Where the original does more (notes a time, locks the list of subscribers),
//! it orders more; what holds here holds there.

use std::sync::Arc;
use std::sync::atomic::AtomicU64 as Plain;
use std::sync::atomic::Ordering::SeqCst;

use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::bell::Bell;
use crate::park::Parker;
use crate::sync::Mutex;

pub type Lsn = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    Written,
    Durable,
    State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    Always,
    EverySec,
}

#[derive(PartialEq, Eq)]
enum Wrote {
    Nothing,
    All,
    NeedsRoll,
    Failed,
}

/// How far the disk is, as an observer outside of the program sees it. Orders nothing.
#[derive(Default)]
pub struct Disk {
    pub kernel: Plain,
    pub medium: Plain,
    pub sync_fails: bool,
}

pub struct Log {
    pub disk: Disk,
    policy: Policy,
    pending: Mutex<u64>,
    append_lsn: AtomicU64,
    written_lsn: AtomicU64,
    durable_lsn: AtomicU64,
    demanded_lsn: AtomicU64,
    /// The writer role; `next_lsn`.
    writer: Mutex<Lsn>,
    sync_lock: Mutex<()>,
    sync_in_flight: AtomicBool,
    failed: AtomicBool,
    stopping: AtomicBool,
    wake_writer: Arc<Parker>,
    wake_sync: Arc<Parker>,
    subscribers: Vec<Arc<Bell>>,
}

impl Log {
    pub fn new(policy: Policy, sync_fails: bool, subscribers: Vec<Arc<Bell>>) -> Self {
        Self {
            disk: Disk { sync_fails, ..Disk::default() },
            policy,
            pending: Mutex::new(0),
            append_lsn: AtomicU64::new(0),
            written_lsn: AtomicU64::new(0),
            durable_lsn: AtomicU64::new(0),
            demanded_lsn: AtomicU64::new(0),
            writer: Mutex::new(0),
            sync_lock: Mutex::new(()),
            sync_in_flight: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            wake_writer: Arc::default(),
            wake_sync: Arc::default(),
            subscribers,
        }
    }

    // ---- mod.rs ----------------------------------------------------------------------------------------------------

    pub fn append(&self) -> Lsn {
        let mut pending = self.pending.lock();
        *pending += 1;
        let lsn = self.append_lsn.load(Ordering::Relaxed) + 1;
        self.append_lsn.store(lsn, Ordering::Release);
        lsn
    }

    pub fn flush_tick(&self, needs_sync: bool) {
        let append_lsn = self.append_lsn();
        let always = self.policy == Policy::Always;
        if needs_sync {
            self.demanded_lsn.fetch_max(append_lsn, Ordering::AcqRel);
        }
        if append_lsn != self.written_lsn() {
            let may_write = !always && !self.sync_in_flight.load(Ordering::Acquire);
            let wrote = match may_write.then(|| self.writer.try_lock()).flatten() {
                Some(mut writer) => self.write_pending(&mut writer),
                None => Wrote::NeedsRoll,
            };
            if !matches!(wrote, Wrote::All | Wrote::Nothing) {
                self.wake_writer.unpark();
            }
        }
        if needs_sync {
            self.wake_for_sync(append_lsn);
        }
    }

    pub fn demand_sync(&self, lsn: Lsn) {
        if lsn > self.durable_lsn() {
            self.demanded_lsn.fetch_max(lsn, Ordering::AcqRel);
            self.wake_for_sync(lsn);
        }
    }

    fn wake_for_sync(&self, lsn: Lsn) {
        if lsn <= self.durable_lsn() {
            return;
        }
        if self.policy == Policy::Always || lsn > self.written_lsn() {
            self.wake_writer.unpark();
        } else {
            self.wake_sync.unpark();
        }
    }

    // ---- shared.rs -------------------------------------------------------------------------------------------------

    pub fn append_lsn(&self) -> Lsn {
        self.append_lsn.load(Ordering::Acquire)
    }

    pub fn written_lsn(&self) -> Lsn {
        self.written_lsn.load(Ordering::Acquire)
    }

    pub fn durable_lsn(&self) -> Lsn {
        self.durable_lsn.load(Ordering::Acquire)
    }

    pub fn everysec_late(&self) -> bool {
        false
    }

    pub fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn notify(&self, moved: Moved) {
        self.subscribers.iter().for_each(|bell| bell.ring_from_log(moved));
    }

    fn publish_written(&self, lsn: Lsn) {
        if self.is_failed() || lsn == self.written_lsn() {
            return;
        }
        self.written_lsn.store(lsn, Ordering::Release);
        self.notify(Moved::Written);
    }

    fn publish_durable(&self, lsn: Lsn) {
        if !self.is_failed() && self.durable_lsn.fetch_max(lsn, Ordering::AcqRel) < lsn {
            self.notify(Moved::Durable);
        }
    }

    /// Zero, or nothing: without a clock nothing is due later.
    fn sync_is_due(&self) -> bool {
        let (durable, written) = (self.durable_lsn(), self.written_lsn());
        if written == durable || self.is_failed() {
            return false;
        }
        self.policy == Policy::Always || self.demanded_lsn.load(Ordering::Acquire) > durable
    }

    fn sync_written(&self) -> bool {
        let captured = {
            let _writer = self.writer.lock();
            let captured = self.written_lsn();
            if captured == self.durable_lsn() {
                return !self.is_failed();
            }
            captured
        };
        let synced = self.sync_file();
        if synced {
            self.publish_durable(captured);
        }
        synced
    }

    fn sync_file(&self) -> bool {
        let _one = self.sync_lock.lock();
        if self.is_failed() {
            return false;
        }
        self.sync_in_flight.store(true, Ordering::Release);
        if self.disk.sync_fails {
            self.failed.store(true, Ordering::Release);
            self.notify(Moved::State);
            return false;
        }
        self.disk.medium.fetch_max(self.disk.kernel.load(SeqCst), SeqCst);
        self.sync_in_flight.store(false, Ordering::Release);
        true
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake_writer.unpark();
        self.wake_sync.unpark();
    }

    // ---- writer.rs -------------------------------------------------------------------------------------------------

    fn write_pending(&self, next_lsn: &mut Lsn) -> Wrote {
        let group = std::mem::take(&mut *self.pending.lock());
        if group == 0 {
            return Wrote::Nothing;
        }
        if self.is_failed() {
            return Wrote::Failed;
        }
        *next_lsn += group;
        self.disk.kernel.store(*next_lsn, SeqCst);
        self.publish_written(*next_lsn);
        Wrote::All
    }

    // ---- threads.rs ------------------------------------------------------------------------------------------------

    fn is_over(&self) -> bool {
        self.stopping.load(Ordering::Acquire) || self.is_failed()
    }

    pub fn run_writer(&self) {
        while !self.is_over() {
            let wrote = self.write_pending(&mut self.writer.lock());
            let syncs = self.sync_is_due();
            if syncs && self.policy == Policy::Always {
                self.sync_written();
            } else if syncs {
                self.wake_sync.unpark();
            }
            match wrote {
                Wrote::All => {}
                Wrote::NeedsRoll | Wrote::Failed => return,
                Wrote::Nothing => self.wake_writer.park(),
            }
        }
    }

    pub fn run_syncer(&self) {
        while !self.is_over() {
            if self.policy == Policy::EverySec && self.sync_is_due() {
                if self.sync_written() && self.durable_lsn() == self.written_lsn() {
                    self.wake_writer.unpark();
                }
            } else {
                self.wake_sync.park();
            }
        }
    }
}
