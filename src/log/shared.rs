//! What the log's users and its threads share: positions, state, the manifest in memory, syncs, publication.
//!
//! Lock order: `writer` before `sync_lock`, `manifest_io` before `catalog`; `prepared` before `passed_over`; `pending`,
//! `prepared`, `passed_over` and `catalog` are held for memory work only. Whoever wants to know what a sync will cover asks the writer *before* it takes `sync_lock`.
//!
//! Syncs run one at a time: the kernel tells a write-back error to one caller only, and whoever comes after a failed sync
//! must find the log failed instead of a success that means nothing.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use parking_lot::{Mutex, RwLock};

use crate::clock::Clock;
use crate::disk::{Disk, File, Lock, LogMode};
use crate::mutation::{Safeguard, is_off, unless_off};

use super::buffer::Group;
use super::manifest::{self, Manifest, SegmentEnd};
use super::prepare::{Prepared, Preparer};
use super::reader::Place;
use super::stats::Stats;
use super::threads::Wakeup;
use super::writer::Writer;
use super::{LogState, Lsn, Moved, Policy, Refusal, StoreId, segment};

/// Under `everysec`: a sync starts this long after the one before, if there is something to sync.
pub(super) const SYNC_EVERY: Duration = Duration::from_millis(500);
/// Under `everysec`: older unsynced writes make replies wait.
const LATE_AFTER: Duration = Duration::from_secs(1);
/// Without writes for so long, an empty frame carries the newest `synced_through`.
pub(super) const WITNESS_AFTER: Duration = Duration::from_millis(10);

pub(super) type Subscriber = Box<dyn Fn(Moved) + Send + Sync>;

pub(super) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub store_id: StoreId,
    pub term: u64,
    pub segment_bytes: u64,
    pub buffer_bytes_max: u64,
    /// False: the caller of `step` does what the threads would.
    pub threads: bool,
    /// The directory's, until it is let go of.
    pub lock: Mutex<Option<Box<dyn Lock>>>,

    pub pending: CachePadded<Mutex<Group>>,
    pub append_lsn: CachePadded<AtomicU64>,
    pub written_lsn: CachePadded<AtomicU64>,
    durable_lsn: AtomicU64,
    /// Somebody waits for this to be durable, whatever the policy.
    demanded_lsn: AtomicU64,
    policy: AtomicU8,
    /// Somebody wants everything before this in sealed segments.
    seal_lsn: AtomicU64,
    /// Everything before this is in sealed segments: where the active one begins.
    sealed_lsn: AtomicU64,

    pub writer: Mutex<Writer>,
    sync_lock: Mutex<()>,
    pub sync_in_flight: AtomicBool,
    /// Monotonic time + 1 of the oldest write that no sync covers yet; and of those that the running sync covers. 0: none.
    unsynced_since_us: AtomicU64,
    syncing_since_us: AtomicU64,
    last_sync_start_us: AtomicU64,

    failure: OnceLock<Arc<str>>,
    write_stalled: AtomicBool,
    prepare_stalled: AtomicBool,
    stopping: AtomicBool,

    /// What the manifest is to say; on the medium at the next replacement.
    pub catalog: Mutex<Manifest>,
    manifest_io: Mutex<()>,
    pub next_sequence: AtomicU64,
    pub prepared: Mutex<VecDeque<Prepared>>,
    /// Sequences of segments that were prepared and passed over; to be taken off the manifest and removed.
    pub passed_over: Mutex<Vec<u64>>,
    pub preparer: Mutex<Preparer>,

    pub wake_writer: Wakeup,
    pub wake_sync: Wakeup,
    pub wake_preparer: Wakeup,
    pub subscribers: RwLock<Vec<Subscriber>>,
    /// Where readers of sealed segments ended of late: segment and place.
    pub read_marks: Mutex<Vec<(u64, Place)>>,
    pub stats: Stats,
}

/// What [`Shared::new`] cannot make up itself.
pub(super) struct Start {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub lock: Box<dyn Lock>,
    pub options: super::LogOptions,
    pub payload_max: usize,
    pub catalog: Manifest,
    pub next_sequence: u64,
    pub lsn: Lsn,
    pub writer: Writer,
}

/// Out of space, as opposed to broken.
pub(super) fn is_no_space(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero)
}

impl Shared {
    pub fn new(start: Start) -> Self {
        let Start { disk, clock, lock, options, payload_max, catalog, next_sequence, lsn, writer } = start;
        let stats = Stats::default();
        stats.active_segment(&writer.active);
        stats.witnessed(writer.witnessed);
        let active = catalog.segments.iter().find(|s| s.sequence == writer.active.sequence);
        let sealed_lsn = active.and_then(|s| s.first_lsn).unwrap_or(lsn);
        Self {
            disk,
            clock,
            store_id: catalog.store_id,
            term: catalog.term,
            segment_bytes: options.segment_bytes,
            buffer_bytes_max: options.buffer_bytes_max as u64,
            threads: options.threads,
            lock: Mutex::new(Some(lock)),
            pending: CachePadded::new(Mutex::new(Group::new(payload_max))),
            append_lsn: CachePadded::new(AtomicU64::new(lsn)),
            written_lsn: CachePadded::new(AtomicU64::new(lsn)),
            durable_lsn: AtomicU64::new(lsn),
            demanded_lsn: AtomicU64::new(lsn),
            policy: AtomicU8::new(options.policy as u8),
            seal_lsn: AtomicU64::new(0),
            sealed_lsn: AtomicU64::new(sealed_lsn),
            writer: Mutex::new(writer),
            sync_lock: Mutex::new(()),
            sync_in_flight: AtomicBool::new(false),
            unsynced_since_us: AtomicU64::new(0),
            syncing_since_us: AtomicU64::new(0),
            last_sync_start_us: AtomicU64::new(0),
            failure: OnceLock::new(),
            write_stalled: AtomicBool::new(false),
            prepare_stalled: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            catalog: Mutex::new(catalog),
            manifest_io: Mutex::new(()),
            next_sequence: AtomicU64::new(next_sequence),
            prepared: Mutex::new(VecDeque::new()),
            passed_over: Mutex::new(Vec::new()),
            preparer: Mutex::new(Preparer::default()),
            wake_writer: Wakeup::default(),
            wake_sync: Wakeup::default(),
            wake_preparer: Wakeup::default(),
            subscribers: RwLock::new(Vec::new()),
            read_marks: Mutex::default(),
            stats,
        }
    }

    // ---- positions -------------------------------------------------------------------------------------------------

    pub fn append_lsn(&self) -> Lsn {
        self.append_lsn.load(Ordering::Acquire)
    }

    pub fn written_lsn(&self) -> Lsn {
        self.written_lsn.load(Ordering::Acquire)
    }

    pub fn durable_lsn(&self) -> Lsn {
        self.durable_lsn.load(Ordering::Acquire)
    }

    /// Everything before `lsn` is with the kernel.
    pub fn publish_written(&self, lsn: Lsn, now: Duration) {
        if (self.is_failed() && !is_off(Safeguard::LatchWritten)) || lsn == self.written_lsn() {
            return;
        }
        self.written_lsn.store(lsn, Ordering::Release);
        let since = now.as_micros() as u64 + 1;
        let first =
            self.unsynced_since_us.compare_exchange(0, since, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if first && self.policy() == Policy::EverySec {
            self.wake_sync.wake();
        }
        self.notify(Moved::Written);
    }

    fn publish_durable(&self, lsn: Lsn) {
        let may_move = !self.is_failed() || is_off(Safeguard::LatchDurable);
        if may_move && self.durable_lsn.fetch_max(lsn, Ordering::AcqRel) < lsn {
            self.notify(Moved::Durable);
        }
    }

    /// A roll synced the segment that held all published writes. Called by the holder of the writer role.
    pub fn publish_rolled(&self) {
        self.unsynced_since_us.store(0, Ordering::Release);
        self.publish_durable(self.written_lsn());
    }

    pub fn notify(&self, moved: Moved) {
        for subscriber in self.subscribers.read().iter() {
            subscriber(moved);
        }
    }

    // ---- policy and syncs ------------------------------------------------------------------------------------------

    pub fn policy(&self) -> Policy {
        match self.policy.load(Ordering::Relaxed) {
            0 => Policy::Always,
            1 => Policy::EverySec,
            _ => Policy::No,
        }
    }

    pub fn set_policy(&self, policy: Policy) {
        self.policy.store(policy as u8, Ordering::Relaxed);
    }

    pub fn demand(&self, lsn: Lsn) {
        self.demanded_lsn.fetch_max(lsn, Ordering::AcqRel);
    }

    /// Zero: a sync should start now. None: nothing asks for one.
    pub fn sync_due_in(&self) -> Option<Duration> {
        let (durable, written) = (self.durable_lsn(), self.written_lsn());
        if written == durable || self.is_failed() {
            return None;
        }
        if self.policy() == Policy::Always || self.demanded_lsn.load(Ordering::Acquire) > durable {
            return Some(Duration::ZERO);
        }
        if self.policy() == Policy::No || self.unsynced_since_us.load(Ordering::Acquire) == 0 {
            return None;
        }
        let next = Duration::from_micros(self.last_sync_start_us.load(Ordering::Relaxed)) + SYNC_EVERY;
        Some(next.saturating_sub(self.clock.monotonic()))
    }

    pub fn everysec_late(&self) -> bool {
        if self.policy() != Policy::EverySec {
            return false;
        }
        let since = match self.syncing_since_us.load(Ordering::Acquire) {
            0 => self.unsynced_since_us.load(Ordering::Acquire),
            syncing => syncing,
        };
        since != 0
            && self.clock.monotonic() + Duration::from_micros(1) > Duration::from_micros(since) + LATE_AFTER
    }

    /// Syncs what was written before the call and publishes it. False when the log failed.
    pub fn sync_written(&self) -> bool {
        let (file, sequence, captured) = {
            let writer = self.writer.lock();
            let captured = self.written_lsn();
            if captured == self.durable_lsn() {
                return !self.is_failed();
            }
            let since = self.unsynced_since_us.swap(0, Ordering::AcqRel);
            self.syncing_since_us.store(since, Ordering::Release);
            (writer.active.file.clone(), writer.active.sequence, captured)
        };
        let synced = self.sync_file(&file, sequence);
        if synced {
            self.syncing_since_us.store(0, Ordering::Release);
            self.publish_durable(if is_off(Safeguard::SyncCaptured) { self.written_lsn() } else { captured });
        }
        synced
    }

    /// One sync at a time. False when it, or one before, failed.
    pub fn sync_file(&self, file: &Arc<dyn File>, sequence: u64) -> bool {
        let _one = (!is_off(Safeguard::OneSync)).then(|| self.sync_lock.lock());
        if self.is_failed() && !is_off(Safeguard::LatchSync) {
            return false;
        }
        let start = self.clock.monotonic();
        self.last_sync_start_us.store(start.as_micros() as u64, Ordering::Relaxed);
        self.sync_in_flight.store(true, Ordering::Release);
        let result = unless_off(Safeguard::LogSync, || file.sync());
        if let Err(e) = result {
            if is_off(Safeguard::FailureFinal) {
                self.sync_in_flight.store(false, Ordering::Release);
                return false;
            }
            self.fail(format!("sync of {}: {e}", segment::path(sequence)));
            return false;
        }
        self.sync_in_flight.store(false, Ordering::Release);
        self.stats.synced(self.clock.monotonic().saturating_sub(start));
        true
    }

    // ---- state -----------------------------------------------------------------------------------------------------

    pub fn is_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    /// Final: nothing is published any more.
    pub fn fail(&self, reason: String) {
        tracing::error!("the log has failed, nothing more is acknowledged: {reason}");
        let _ = self.failure.set(reason.into());
        self.notify(Moved::State);
    }

    pub fn failure(&self) -> Option<&Arc<str>> {
        self.failure.get()
    }

    pub fn state(&self) -> LogState {
        match self.failure.get() {
            Some(reason) => LogState::Failed { reason: reason.clone() },
            None if self.is_stalled() => LogState::NoSpace,
            None => LogState::Healthy,
        }
    }

    #[inline]
    pub fn admit(&self) -> Result<(), Refusal> {
        if let Some(reason) = self.failure.get()
            && !is_off(Safeguard::AdmitFailed)
        {
            return Err(Refusal::Failed(reason.clone()));
        }
        if self.is_stalled() && !is_off(Safeguard::AdmitSpace) {
            return Err(Refusal::NoSpace);
        }
        let buffered = self.append_lsn.load(Ordering::Relaxed).saturating_sub(self.written_lsn());
        if buffered >= self.buffer_bytes_max && !is_off(Safeguard::AdmitBuffer) {
            return Err(Refusal::BufferFull);
        }
        Ok(())
    }

    pub fn is_stalled(&self) -> bool {
        self.write_stalled.load(Ordering::Relaxed) || self.prepare_stalled.load(Ordering::Relaxed)
    }

    pub fn is_write_stalled(&self) -> bool {
        self.write_stalled.load(Ordering::Relaxed)
    }

    pub fn set_write_stalled(&self, stalled: bool) {
        self.set_stalled(&self.write_stalled, stalled);
    }

    pub fn set_prepare_stalled(&self, stalled: bool) {
        self.set_stalled(&self.prepare_stalled, stalled);
    }

    fn set_stalled(&self, which: &AtomicBool, stalled: bool) {
        // Read first: called after every group, and the answer is almost always "no change".
        if which.load(Ordering::Relaxed) != stalled {
            which.store(stalled, Ordering::Release);
            if stalled {
                tracing::warn!("no space left for the log: writes are refused until there is");
            } else {
                tracing::info!("there is space for the log again");
            }
            self.notify(Moved::State);
        }
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake_all();
    }

    pub fn wake_all(&self) {
        for wakeup in [&self.wake_writer, &self.wake_sync, &self.wake_preparer] {
            wakeup.wake();
        }
    }

    // ---- segments and manifest -------------------------------------------------------------------------------------

    /// How segments should be made and written under the policy of this moment.
    pub fn wanted_mode(&self) -> LogMode {
        self.disk.log_mode(self.policy() == Policy::Always)
    }

    /// The next segment to write, if one is ready: of the wanted mode, or else any. Those before it are passed over, as
    /// sequences only ascend.
    pub fn take_prepared(&self) -> Option<Prepared> {
        let wanted = self.wanted_mode();
        let next = {
            let mut prepared = self.prepared.lock();
            let skipped = prepared.iter().position(|p| p.mode == wanted).unwrap_or(0);
            self.passed_over.lock().extend(prepared.drain(..skipped).map(|p| p.header.sequence));
            prepared.pop_front()
        };
        self.wake_preparer.wake();
        next
    }

    pub fn seal_lsn(&self) -> Lsn {
        self.seal_lsn.load(Ordering::Acquire)
    }

    pub fn sealed_lsn(&self) -> Lsn {
        self.sealed_lsn.load(Ordering::Acquire)
    }

    pub fn want_seal(&self, lsn: Lsn) {
        self.seal_lsn.fetch_max(lsn, Ordering::AcqRel);
    }

    /// Nothing is sealed for its own sake any more: the log is being closed.
    pub fn forget_seal(&self) {
        self.seal_lsn.store(0, Ordering::Release);
    }

    pub fn wants_seal(&self) -> bool {
        self.seal_lsn() > self.sealed_lsn()
    }

    pub fn set_sealed(&self, lsn: Lsn) {
        self.sealed_lsn.store(lsn, Ordering::Release);
    }

    /// A segment was prepared: the writer may have been waiting for it.
    pub fn segment_is_ready(&self) {
        if self.append_lsn() != self.written_lsn() || self.wants_seal() {
            self.wake_writer.wake();
        }
    }

    /// Notes where a segment ended and the next began; the next manifest says so. Until then the frames do.
    pub fn note_roll(&self, ended: u64, end: SegmentEnd, begun: u64) {
        let mut catalog = self.catalog.lock();
        if let Some(entry) = catalog.segment_mut(ended) {
            entry.end = Some(end);
        }
        if let Some(entry) = catalog.segment_mut(begun) {
            entry.first_lsn = Some(end.lsn);
        }
        self.set_sealed(end.lsn);
    }

    /// Changes the manifest, in memory and (both copies) on the medium. After an error the change may or may not be on the
    /// medium, and is not in memory: it must be one that can be made again, and that is harmless until it is.
    pub fn update_manifest(&self, change: impl FnOnce(&mut Manifest)) -> io::Result<()> {
        let _one = self.manifest_io.lock();
        let mut next = self.catalog.lock().clone();
        next.synced_through = next.synced_through.max(self.durable_lsn());
        let before = next.segments.clone();
        change(&mut next);
        let result = manifest::replace(&*self.disk, &mut next);
        let mut catalog = self.catalog.lock();
        catalog.generation = next.generation;
        result?;
        // Rolls that were noted meanwhile are newer than what was written.
        for entry in &mut next.segments {
            let now = catalog.segments.iter().find(|s| s.sequence == entry.sequence);
            let then = before.iter().find(|s| s.sequence == entry.sequence);
            if let (Some(now), Some(then)) = (now, then)
                && now != then
            {
                *entry = *now;
            }
        }
        *catalog = next;
        Ok(())
    }
}
