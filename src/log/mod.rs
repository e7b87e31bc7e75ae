//! The log: records in, durable and in order; after a crash, the same records out.
//!
//! ```text
//! record   what is applied whole or not at all           buffer   records gather here, already in the shape of frames
//! frame    what one write hands to the disk              writer   fills in headers, writes, rolls to the next segment
//! segment  a file of frames                              shared   positions, state, syncs, publication
//! manifest which segments there are                      prepare  makes segments ahead of need
//! reader   a segment front to back; looks on for proof   threads  who does all this, and when
//! scan     all segments; torn or corrupt?                open     recovery: scan, cut, new term
//! assemble records out of frames, from a position on     sealed   ended segments: asked for, read, listed, retired
//! cut      the beginning of a log, for a directory as of then
//! image    what a backup of the log is made of
//! ```
//!
//! A *stream* position is an LSN: uncompressed record bytes since the store began. Three positions move, in this order:
//! `append_lsn` (in the buffer), `written_lsn` (with the kernel: survives SIGKILL), `durable_lsn` (synced: survives power loss).
//!
//! What it does **not** promise: that a record is written before somebody calls [`Log::flush_tick`]; that a dropped log
//! (without [`Log::shutdown`]) has written what was appended. It never retries a sync.

mod assemble;
mod buffer;
pub mod cut;
#[doc(hidden)]
pub mod frame;
mod image;
#[doc(hidden)]
pub mod manifest;
mod open;
mod prepare;
mod reader;
mod record;
mod rewrite;
mod scan;
mod sealed;
#[doc(hidden)]
pub mod segment;
mod shared;
mod stats;
pub mod survey;
#[cfg(test)]
mod tests;
mod threads;
mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::disk::{Disk, Lock};
use crate::error::StoreError;
use crate::mutation::{Safeguard, is_off};

pub use self::image::{Image, ImageFile};
pub use self::manifest::Section;
use self::prepare::PrepareStep;
pub use self::sealed::{Record, Retention, Retired, SealedSegment};
use self::shared::Shared;
use self::writer::Wrote;

/// Position in the stream: uncompressed record bytes since the store began.
pub type Lsn = u64;
/// Tells a store from all others.
pub type StoreId = [u8; 16];
type Salt = [u8; 16];

/// Keys the hashes of keys and members: a secret of the store, the same for as long as the store is. Its `Debug` does not
/// tell it, and no client sees it: who knows it can make hashes collide.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(secret)")
    }
}

/// When a record is made durable (Redis `appendfsync`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Policy {
    /// Each group is synced as soon as it is written.
    Always = 0,
    /// A sync starts every 500 ms while there is something to sync.
    EverySec = 1,
    /// Only at the end of a segment, at shutdown and on demand.
    No = 2,
}

#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Size of new segment files; at least 8 KiB, in steps of 4 KiB. A frame never exceeds it.
    pub segment_bytes: u64,
    /// Appended and not yet written bytes at which [`Log::admit`] refuses.
    pub buffer_bytes_max: usize,
    pub policy: Policy,
    /// False: no threads; [`Log::step`] does their work, for deterministic tests.
    pub threads: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, buffer_bytes_max: 64 << 20, policy: Policy::EverySec, threads: true }
    }
}

/// What recovery hands to its caller.
#[derive(Debug)]
pub enum Recovered<'a> {
    /// Comes first: the store is known, and no record was read yet. The visitor loads what it has kept in files of its own,
    /// and says in `from` (which is 0) up to which LSN that goes, the end of a record: it gets those behind. The log begins at `first_lsn`.
    Begin { seed: Seed, sections: &'a [Section], first_lsn: Lsn, from: &'a mut Lsn },
    /// A whole record, in order. `lsn_end` is behind it; `wall_us` is when its frame was written.
    Record { lsn_end: Lsn, wall_us: u64, body: &'a [u8] },
    /// Now and then.
    Progress { bytes_done: u64, bytes_total: u64 },
    /// Comes last, after every record and before anything is written: the visitor's last chance to refuse them.
    End,
}

/// A tail that was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    pub file: String,
    pub offset: u64,
    /// Bytes discarded.
    pub bytes: u64,
    /// Damaged bytes were cut whose sync nothing in the log witnesses and nothing rules out: the very last writes may have
    /// been acknowledged. False when what was cut is an intact beginning of a record that was never finished.
    pub possibly_acknowledged: bool,
}

/// How a log was found.
#[derive(Debug, Clone, Default)]
pub struct RecoveryReport {
    pub records: u64,
    /// Bytes of the stream from where the visitor said on.
    pub bytes: u64,
    /// Segments that hold them.
    pub segments: u64,
    pub elapsed: Duration,
    pub torn: Option<Torn>,
    /// The largest time in the frames that were read and the segments' headers, from the last on at which the clock was found
    /// mended; 0 in a new store.
    pub last_wall_us: u64,
    pub end_lsn: Lsn,
    /// Bytes that were not proven to be on the medium and have been written again.
    pub rewritten_bytes: u64,
    /// A new store was made.
    pub created: bool,
    pub term: u64,
}

/// What a subscriber is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// `written_lsn`.
    Written,
    /// `durable_lsn`.
    Durable,
    /// The log has failed, ran out of space, or has space again.
    State,
}

/// Why a write command must not execute now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Wait until some of the buffer is written.
    BufferFull,
    NoSpace,
    Failed(Arc<str>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogState {
    Healthy,
    /// Resumes by itself.
    NoSpace,
    /// Final until restart.
    Failed {
        reason: Arc<str>,
    },
}

/// Figures for INFO.
#[derive(Debug, Clone)]
pub struct LogInfo {
    /// How the active segment is written: `direct`, `buffered`, `io_uring`, `simulated`.
    pub io: &'static str,
    pub store_id: StoreId,
    pub term: u64,
    /// Segments in the manifest, prepared ones included.
    pub segments: u64,
    pub segments_prepared: u64,
    /// Sequence of the segment that is being written.
    pub sequence: u64,
    pub buffered_bytes: u64,
    /// The log's own frames, or the manifest, prove that everything before this was synced.
    pub witnessed_lsn: Lsn,
    pub groups: u64,
    pub frames: u64,
    pub records: u64,
    /// Frame bytes, headers and padding included.
    pub bytes: u64,
    pub group_bytes_max: u64,
    /// Groups by the power of two of their records: 1, 2-3, 4-7, ...
    pub group_sizes: [u64; stats::GROUP_SIZES],
    pub syncs: u64,
    pub sync_us_last: u64,
    pub sync_us_max: u64,
    pub sync_us_total: u64,
}

/// An open log. Share it as `Arc<Log>`.
pub struct Log {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Set by the first [`Log::shutdown`] that succeeded.
    is_shut_down: Mutex<bool>,
}

impl Log {
    /// Opens the log of a data directory, or makes one in an empty directory; every whole record goes to `visit`, in order,
    /// between [`Recovered::Begin`] and [`Recovered::End`], before this returns. What was found is on the medium when it returns, and a new term has begun.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        options: LogOptions,
        visit: &mut dyn FnMut(Recovered<'_>) -> Result<(), StoreError>,
    ) -> Result<(Self, RecoveryReport), StoreError> {
        let lock = Self::lock(&*disk)?;
        Self::open_locked(disk, lock, clock, options, visit)
    }

    /// Takes the directory's lock, which keeps every other process out, before anything in it is looked at.
    pub fn lock(disk: &dyn Disk) -> Result<Box<dyn Lock>, StoreError> {
        open::take_lock(disk)
    }

    /// As [`Log::open`], of a directory that is locked already: `lock` is its own.
    pub fn open_locked(
        disk: Arc<dyn Disk>,
        lock: Box<dyn Lock>,
        clock: Arc<dyn Clock>,
        options: LogOptions,
        visit: &mut dyn FnMut(Recovered<'_>) -> Result<(), StoreError>,
    ) -> Result<(Self, RecoveryReport), StoreError> {
        let (start, report) = open::open(disk, lock, clock, options, visit)?;
        let shared = Arc::new(Shared::new(start));
        let threads = if shared.threads {
            threads::spawn(&shared).map_err(StoreError::io("start the log's threads"))?
        } else {
            Vec::new()
        };
        Ok((Self { shared, threads: Mutex::new(threads), is_shut_down: Mutex::new(false) }, report))
    }

    /// Appends one record; returns the LSN behind it. The order of calls is the order in the log. Never waits for the disk.
    #[inline]
    pub fn append(&self, body: &[u8]) -> Lsn {
        let mut pending = self.shared.pending.lock();
        let len = pending.append(body) as u64;
        // Only this lock's holder moves it.
        let lsn = self.shared.append_lsn.load(Ordering::Relaxed) + len;
        self.shared.append_lsn.store(lsn, Ordering::Release);
        lsn
    }

    pub fn append_lsn(&self) -> Lsn {
        self.shared.append_lsn()
    }

    pub fn written_lsn(&self) -> Lsn {
        self.shared.written_lsn()
    }

    pub fn durable_lsn(&self) -> Lsn {
        self.shared.durable_lsn()
    }

    /// Asked before a write command executes.
    #[inline]
    pub fn admit(&self) -> Result<(), Refusal> {
        self.shared.admit()
    }

    /// Called once per scheduling tick by whoever appended. Under `everysec` and `no` writes in place, unless that might
    /// wait for somebody else or for the medium; then, and under `always`, wakes the log's thread. `needs_sync`: replies to what was appended
    /// wait for `durable_lsn`. Returns `written_lsn` now.
    pub fn flush_tick(&self, needs_sync: bool) -> Lsn {
        let shared = &*self.shared;
        let append_lsn = shared.append_lsn();
        let always = shared.policy() == Policy::Always;
        if needs_sync {
            shared.demand(append_lsn);
        }
        if append_lsn != shared.written_lsn() && !shared.is_write_stalled() {
            let may_write = !always && !shared.sync_in_flight.load(Ordering::Acquire);
            let wrote = match may_write.then(|| shared.writer.try_lock()).flatten() {
                // Once the log is being closed nothing follows but what its closing writes: the directory may be another's soon.
                Some(mut writer) if !writer.active.is_direct() && !shared.is_stopping() => {
                    writer.write_pending(shared, false)
                }
                _ => Wrote::NeedsRoll,
            };
            if !matches!(wrote, Wrote::All | Wrote::Nothing) {
                shared.wake_writer.wake();
            }
        }
        if needs_sync {
            self.wake_for_sync(append_lsn);
        }
        shared.written_lsn()
    }

    /// A reply waits for `durable_lsn >= lsn`, whatever the policy.
    pub fn demand_sync(&self, lsn: Lsn) {
        if lsn > self.shared.durable_lsn() {
            self.shared.demand(lsn);
            self.wake_for_sync(lsn);
        }
    }

    fn wake_for_sync(&self, lsn: Lsn) {
        let shared = &*self.shared;
        if lsn <= shared.durable_lsn() {
            return;
        }
        if shared.policy() == Policy::Always || lsn > shared.written_lsn() {
            // It passes the demand on when it has written.
            shared.wake_writer.wake();
        } else {
            shared.wake_sync.wake();
        }
    }

    /// `wake` is called whenever `written_lsn` or `durable_lsn` moved or the state changed: from the log's threads, and from
    /// whoever called [`Log::flush_tick`]. It must be cheap; of the log it may ask positions and state, nothing else.
    pub fn subscribe(&self, wake: Box<dyn Fn(Moved) + Send + Sync>) {
        self.shared.subscribers.write().push(wake);
    }

    /// Gives back memory that only larger groups than those of late needed. To be called some ten times a second; does nothing while
    /// the log is being written.
    pub fn trim(&self) {
        if let Some(mut writer) = self.shared.writer.try_lock() {
            writer.trim(&self.shared);
        }
    }

    pub fn policy(&self) -> Policy {
        self.shared.policy()
    }

    pub fn set_policy(&self, policy: Policy) {
        self.shared.set_policy(policy);
        self.shared.wake_writer.wake();
        self.shared.wake_sync.wake();
        self.shared.wake_preparer.wake();
    }

    /// Under `everysec`: the oldest unsynced write is older than one second, and replies wait for the sync.
    pub fn everysec_late(&self) -> bool {
        self.shared.everysec_late()
    }

    pub fn state(&self) -> LogState {
        self.shared.state()
    }

    pub fn info(&self) -> LogInfo {
        let shared = &*self.shared;
        let stats = &shared.stats;
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        LogInfo {
            io: if get(&stats.block) > frame::ALIGN as u64 { "direct" } else { shared.disk.log_io() },
            store_id: shared.store_id,
            term: shared.term,
            segments: shared.catalog.lock().segments.len() as u64,
            segments_prepared: shared.prepared.lock().len() as u64,
            sequence: get(&stats.sequence),
            buffered_bytes: shared.append_lsn().saturating_sub(shared.written_lsn()),
            witnessed_lsn: get(&stats.witnessed),
            groups: get(&stats.groups),
            frames: get(&stats.frames),
            records: get(&stats.records),
            bytes: get(&stats.bytes),
            group_bytes_max: get(&stats.group_bytes_max),
            group_sizes: std::array::from_fn(|i| get(&stats.group_sizes[i])),
            syncs: get(&stats.syncs),
            sync_us_last: get(&stats.sync_us_last),
            sync_us_max: get(&stats.sync_us_max),
            sync_us_total: get(&stats.sync_us_total),
        }
    }

    /// One unit of pending work (write, sync, prepare) in the caller's thread; for `threads: false`. False: nothing to do.
    pub fn step(&self) -> bool {
        self.shared.step()
    }

    /// Writes and syncs everything, says so in a last frame and the manifest, and stops the threads. Nothing may be
    /// appended any more. After an error it may be called again.
    pub fn shutdown(&self) -> Result<(), StoreError> {
        let mut is_shut_down = self.is_shut_down.lock();
        if *is_shut_down {
            return Ok(());
        }
        self.stop_threads();
        self.shared.forget_seal();
        self.close()?;
        *is_shut_down = true;
        Ok(())
    }

    /// Lets others have the directory. To be called after a [`Log::shutdown`] that succeeded, when nobody else writes there: the log
    /// itself no longer does, whatever is appended.
    pub fn let_go(&self) {
        self.shared.lock.lock().take();
    }

    fn close(&self) -> Result<(), StoreError> {
        let shared = &*self.shared;
        loop {
            let wrote = shared.writer.lock().write_pending(shared, true);
            match wrote {
                Wrote::All => {}
                Wrote::Nothing => break,
                Wrote::NoSegment => match shared.preparer.lock().step(shared, false) {
                    PrepareStep::Made | PrepareStep::Enough => {}
                    PrepareStep::NoSpace => return Err(self.no_space()),
                    PrepareStep::Failed | PrepareStep::Stopped => return Err(self.failed()),
                },
                Wrote::NoSpace | Wrote::NeedsRoll => return Err(self.no_space()),
                Wrote::Failed => return Err(self.failed()),
            }
        }
        if !is_off(Safeguard::CloseSync) && !shared.sync_written() {
            return Err(self.failed());
        }
        self.close_segment()
    }

    fn close_segment(&self) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let mut writer = shared.writer.lock();
        if writer.witnessed < shared.durable_lsn() {
            writer.write_witness(shared);
        }
        let (file, sequence) = (writer.active.file.clone(), writer.active.sequence);
        if !is_off(Safeguard::CloseWitnessSync) && !shared.sync_file(&file, sequence) {
            return Err(self.failed());
        }
        // From here on the manifest tells where the log ends. Segments that were not begun are never begun: their term is over.
        let end = manifest::SegmentEnd { offset: writer.active.offset, lsn: shared.durable_lsn() };
        let mut unused: Vec<u64> = shared.prepared.lock().drain(..).map(|p| p.header.sequence).collect();
        unused.append(&mut shared.passed_over.lock());
        let told = shared.update_manifest(|manifest| {
            manifest.segments.retain(|s| !unused.contains(&s.sequence));
            if let Some(entry) = manifest.segment_mut(sequence) {
                entry.end = Some(end);
            }
        });
        match told {
            Ok(()) => shared.set_sealed(end.lsn),
            Err(e) if shared::is_no_space(&e) => {
                // All is synced and a frame says so; the manifest only makes the next start quicker.
                tracing::warn!("no space to note the clean end of the log in the manifest");
                return Ok(());
            }
            Err(e) => return Err(StoreError::io("write the manifest")(e)),
        }
        open::reclaim(&*shared.disk, &unused, &[(sequence, end.offset)]);
        Ok(())
    }

    fn no_space(&self) -> StoreError {
        let lost = self.append_lsn() - self.written_lsn();
        StoreError::Io {
            what: format!("write the last {lost} bytes of the log"),
            source: std::io::ErrorKind::StorageFull.into(),
        }
    }

    fn failed(&self) -> StoreError {
        let reason = self.shared.failure().map_or("unknown", |reason| reason);
        StoreError::Io {
            what: "the log has failed".to_owned(),
            source: std::io::Error::other(reason.to_owned()),
        }
    }

    fn stop_threads(&self) {
        self.shared.stop();
        for thread in self.threads.lock().drain(..) {
            // A panic in a thread was reported by the panic hook; the log is closed either way.
            let _ = thread.join();
        }
    }
}

impl Drop for Log {
    /// As SIGKILL would: what was not written is lost.
    fn drop(&mut self) {
        self.stop_threads();
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("append_lsn", &self.append_lsn())
            .field("written_lsn", &self.written_lsn())
            .field("durable_lsn", &self.durable_lsn())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
