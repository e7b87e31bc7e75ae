//! The thread that moves the log into the snapshot: when asked (SAVE, BGSAVE, BGREWRITEAOF), when the sealed log has outgrown the
//! snapshot (`auto-aof-rewrite-percentage`, `auto-aof-rewrite-min-size`), when the disk fills up, and at `save` points. It looks whenever
//! a segment was sealed, a directive changed, or somebody asks, and once a second for the time of `save` points and retries.
//!
//! It has a low priority and writes no faster than it has to: 64 MiB a second, and a tenth of the backlog (the sealed log that the
//! snapshot doesn't have). So ten seconds' worth of sealing is always outrun, however fast the log grows.
//!
//! At an orderly end it stops at the next block, and what it has written is removed, then or by the next start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use super::backup;
use crate::clock::Clock;
use crate::command::server::{Server, Store};
use crate::command::snapshots::Job;
use crate::config::Config;
use crate::disk::os::lower_thread_priority;
use crate::error::StoreError;
use crate::log::{LogState, Lsn, Seed};
use crate::memory_gauge;
use crate::mutation::{Safeguard, is_off};
use crate::snapshot::catalog::RANGES;
use crate::snapshot::compact::{self, Options, Step};

use super::retention::{self, Trimmer};

/// How often it looks whether something is to be done, if nothing wakes it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause while the active segment is being sealed.
const SEAL_POLL: Duration = Duration::from_millis(2);
/// Waits from one failure to the next attempt by itself: doubled each time, up to the last. The first is Redis'.
const RETRY_MIN_S: u64 = 5;
const RETRY_MAX_S: u64 = 300;
/// Bytes a second that it writes at least; a backlog adds a tenth of itself.
const PACE_BYTES_MIN: u64 = 64 << 20;
/// Segments of the log for which it leaves room, unless told otherwise: those that are made ahead, and as many again.
const RESERVED_SEGMENTS: u64 = 4;
/// How long an orderly end waits for the block that is being written. Without it the thread ends with the process.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// The running thread.
pub struct Compactor(JoinHandle<()>);

impl Compactor {
    /// Waits until the thread has noticed that the server ends. False: it is still at work in the directory.
    pub fn join(self, clock: &dyn Clock) -> bool {
        self.0.thread().unpark();
        let began = clock.monotonic();
        while !self.0.is_finished() {
            if clock.monotonic().saturating_sub(began) >= END_PATIENCE {
                tracing::warn!(
                    "compaction is not waited for any longer; the next start removes what it wrote"
                );
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.0.join().is_err() {
            tracing::error!("the thread of compaction ended by a panic");
        }
        true
    }
}

/// Starts the thread. Call when the store is set.
pub fn spawn(server: Arc<Server>, schedule: Schedule) -> std::io::Result<Compactor> {
    let shared = server.clone();
    let handle =
        std::thread::Builder::new().name("compactor".to_owned()).spawn(move || work(&shared, schedule))?;
    let thread = handle.thread().clone();
    if let Some(store) = server.store.get() {
        let (log, thread) = (Arc::downgrade(&store.log), thread.clone());
        let seen = AtomicU64::new(store.log.sealed_through());
        store.log.subscribe(Box::new(move |_| {
            let Some(log) = log.upgrade() else { return };
            let sealed = log.sealed_through();
            if seen.load(Relaxed) != sealed && seen.swap(sealed, Relaxed) != sealed {
                thread.unpark();
            }
        }));
    }
    // Only this sets it, once.
    let _ = server.snapshots.wake.set(Box::new(move || thread.unpark()));
    Ok(Compactor(handle))
}

fn work(server: &Server, mut schedule: Schedule) {
    lower_thread_priority();
    // What this thread holds has a budget of its own and must not drive out data.
    memory_gauge::exclude();
    let Some(store) = server.store.get() else { return };
    let mut trimmer = Trimmer::new(&server.config);
    while !server.shutting_down.load(Relaxed) {
        backup::run_all(server, store);
        if !schedule.run(server, store) {
            memory_gauge::note(true);
            trimmer.look(server, store);
            std::thread::park_timeout(LOOK_EVERY);
        }
    }
    server.snapshots.close();
}

/// When what is due by itself may run.
pub struct Schedule {
    /// After a failure; on the monotonic clock.
    not_before: Duration,
    failures: u32,
    /// The last success took in what was sealed through here, but for a record that goes on behind it.
    moved_through: Lsn,
}

impl Schedule {
    /// Call before clients see the store: it is from here on that changes count.
    pub fn new(server: &Server, store: &Store) -> Self {
        let snapshots = &server.snapshots;
        snapshots.note_start(server.clock.monotonic(), store.recovery.records == 0);
        // What was replayed is not in the snapshot.
        server.stats.dirty.add(store.recovery.records);
        Self { not_before: Duration::ZERO, failures: 0, moved_through: 0 }
    }

    /// Does what is asked for or due, if anything is. Returns whether it was.
    fn run(&mut self, server: &Server, store: &Store) -> bool {
        let snapshots = &server.snapshots;
        let due = if snapshots.is_requested() { None } else { self.due(server, store) };
        let Some(everything) = snapshots.begin(server.clock.wall_ms(), due) else { return false };
        let changes = server.stats.dirty.get();
        let (appended, sealed) = (store.log.append_lsn(), store.log.sealed_through());
        let outcome = compact(server, store, everything);
        let covered = outcome.as_ref().map(|through| *through >= appended);
        match &outcome {
            Ok(_) => {
                self.failures = 0;
                self.moved_through = sealed;
            }
            Err(_) if server.shutting_down.load(Relaxed) => {}
            Err(error) => {
                let wait_s = (RETRY_MIN_S << self.failures.min(16)).min(RETRY_MAX_S);
                self.failures += 1;
                self.not_before = server.clock.monotonic() + Duration::from_secs(wait_s);
                tracing::error!(
                    "compaction failed, the log and the snapshot go on as they were; next attempt in {wait_s} s: {error}"
                );
            }
        }
        if let Ok(true) = covered {
            server.stats.dirty.change(changes, 0);
        }
        snapshots.note_progress(0, 0, 0);
        let outcome = covered.map_err(ToString::to_string);
        snapshots.ended(server.clock.wall_ms(), server.clock.monotonic(), outcome);
        true
    }

    fn due(&self, server: &Server, store: &Store) -> Option<Job> {
        let now = server.clock.monotonic();
        // A log without space waits for just this.
        if now < self.not_before || matches!(store.log.state(), LogState::Failed { .. }) {
            return None;
        }
        let since_saved = now.saturating_sub(server.snapshots.saved_at());
        if is_save_point(&server.config, server.stats.dirty.get(), since_saved) {
            return Some(Job::save_point());
        }
        let snapshot_bytes = server.snapshots.bytes.load(Relaxed);
        let is_due = has_outgrown(&server.config, backlog(server, store), snapshot_bytes)
            || (self.moved_through < store.log.sealed_through() && is_short_of_room(server, store));
        is_due.then(Job::log_growth)
    }
}

/// As in Redis: so many changes, and more than so many seconds since the last success.
fn is_save_point(config: &Config, changes: u64, since_saved: Duration) -> bool {
    let is_reached = |(seconds, least): (u64, u64)| changes >= least && since_saved.as_secs() > seconds;
    changes > 0 && config.save().into_iter().any(is_reached)
}

fn has_outgrown(config: &Config, backlog: u64, snapshot_bytes: u64) -> bool {
    let percentage = config.auto_aof_rewrite_percentage() as u64;
    let grown = u128::from(snapshot_bytes) * u128::from(percentage) / 100;
    percentage > 0 && u128::from(backlog) >= grown.max(u128::from(config.auto_aof_rewrite_min_size()))
}

/// What is sealed should move while there is room for that, however small it is beside the snapshot.
fn is_short_of_room(server: &Server, store: &Store) -> bool {
    let config = &server.config;
    let wanted = backlog(server, store).saturating_mul(2).saturating_add(config.log_segment_size());
    let free = store.disk.free_bytes().unwrap_or(u64::MAX);
    config.auto_aof_rewrite_percentage() > 0 && free < reserve_bytes(config, store).saturating_add(wanted)
}

/// `compaction-disk-reserve`. Nothing once the log has no space: it gets some only by what compaction gives up.
fn reserve_bytes(config: &Config, store: &Store) -> u64 {
    if store.log.state() == LogState::NoSpace && !is_off(Safeguard::NoSpaceReserve) {
        return 0;
    }
    match config.compaction_disk_reserve() {
        0 => config.log_segment_size().saturating_mul(RESERVED_SEGMENTS),
        bytes => bytes,
    }
}

/// Bytes of the sealed log that the snapshot doesn't have.
fn backlog(server: &Server, store: &Store) -> u64 {
    store.log.sealed_through().saturating_sub(server.snapshots.through.load(Relaxed))
}

/// Rounds until everything up to now, or (else) everything sealed by now, is in the snapshot; the latter makes way for what is
/// asked for meanwhile. Returns how far the snapshot goes.
fn compact(server: &Server, store: &Store, everything: bool) -> Result<Lsn, StoreError> {
    let snapshots = &server.snapshots;
    let goal = if everything { seal(server, store) } else { store.log.sealed_through() };
    let mut options = Options {
        seed: Seed(store.keyspace.seed()),
        level: server.config.snapshot_compression_level() as i32,
        budget_bytes: server.config.compaction_budget() as usize,
        reserve_bytes: reserve_bytes(&server.config, store),
        keep: retention::keep(server),
    };
    let (mut rounds, mut bytes, mut merged_alone, mut left) = (0, 0, 0, 0);
    let began = server.clock.monotonic();
    let from = snapshots.through.load(Relaxed);
    while snapshots.through.load(Relaxed) < goal && (everything || !snapshots.is_requested()) {
        let mut watch = Watch::new(server, store, from, goal);
        let round =
            compact::round(&store.log, &*store.disk, &*server.clock, &options, &mut |step| watch.step(step));
        // After an error, too: what it published before is so.
        snapshots.note_catalogs(&compact::catalogs(&store.log)?, store.log.first_lsn());
        let Some(round) = round? else { break };
        options.keep.replaced = false;
        snapshots.note_round(&round);
        rounds += 1;
        bytes += round.bytes;
        merged_alone += round.merged_alone;
        left = round.left;
    }
    let through = snapshots.through.load(Relaxed);
    if everything && through < goal {
        // The log failed, has no room for another segment, or the server ends.
        return Err(StoreError::Refused(format!(
            "the log could not be sealed through LSN {goal}; the snapshot goes through LSN {through}"
        )));
    }
    let took = server.clock.monotonic().saturating_sub(began).as_secs_f64();
    tracing::info!(rounds, bytes, through, "compacted in {took:.3} s");
    if merged_alone + left > 0 {
        tracing::warn!(
            merged_alone,
            left,
            "the disk is nearly full: ranges of the snapshot were merged one by one, or left for later, to keep \
             compaction-disk-reserve free"
        );
    }
    Ok(through)
}

/// Waits until everything up to now is in sealed segments; its end.
fn seal(server: &Server, store: &Store) -> Lsn {
    let goal = store.log.seal();
    while store.log.sealed_through() < goal
        && store.log.state() == LogState::Healthy
        && !server.shutting_down.load(Relaxed)
    {
        std::thread::park_timeout(SEAL_POLL);
    }
    goal
}

/// Follows a round: shows how far it is, keeps the disk free for the log, and ends it when the server ends.
struct Watch<'a> {
    server: &'a Server,
    store: &'a Store,
    /// Of the whole run.
    from: Lsn,
    goal: Lsn,
    /// Of this round.
    begin: Lsn,
    end: Lsn,
    pace: Pace,
}

impl<'a> Watch<'a> {
    fn new(server: &'a Server, store: &'a Store, from: Lsn, goal: Lsn) -> Self {
        let begin = server.snapshots.through.load(Relaxed);
        let watch = Self { server, store, from, goal, begin, end: begin, pace: Pace::new(&*server.clock) };
        watch.show(0);
        watch
    }

    fn step(&mut self, step: Step) -> Result<(), StoreError> {
        memory_gauge::note(false);
        if self.server.shutting_down.load(Relaxed) {
            return Err(StoreError::Refused("the server ends".to_owned()));
        }
        match step {
            // Shutting down is all that counts.
            Step::Reading | Step::Alone { .. } => {}
            Step::Range { range, through } => {
                self.end = through;
                self.show(usize::from(range) + 1);
            }
            Step::Wrote { bytes } => {
                let wait = self.pace.wrote(&*self.server.clock, bytes, backlog(self.server, self.store));
                // Less is not worth a call.
                if wait > Duration::from_millis(1) {
                    std::thread::sleep(wait);
                }
            }
        }
        Ok(())
    }

    fn show(&self, range: usize) {
        let ranges_done = range.saturating_sub(1) as u64;
        let of_round = self.end.saturating_sub(self.begin) / u64::from(RANGES) * ranges_done;
        let done = self.begin.saturating_sub(self.from) + of_round;
        self.server.snapshots.note_progress(done, self.goal.saturating_sub(self.from).max(done), range);
    }
}

/// How long what was written should have taken.
struct Pace {
    began: Duration,
    due: Duration,
}

impl Pace {
    fn new(clock: &dyn Clock) -> Self {
        Self { began: clock.monotonic(), due: Duration::ZERO }
    }

    /// How long to wait after `bytes` were written, at the rate of this backlog.
    fn wrote(&mut self, clock: &dyn Clock, bytes: u64, backlog: u64) -> Duration {
        let bytes_per_s = PACE_BYTES_MIN + backlog / 10;
        self.due += Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / bytes_per_s);
        let spent = clock.monotonic().saturating_sub(self.began);
        self.due.saturating_sub(spent)
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod retention_tests;
#[cfg(test)]
#[path = "compactor_tests.rs"]
mod tests;
