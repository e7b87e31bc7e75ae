//! What is known of snapshots, for SAVE, BGSAVE, LASTSAVE and INFO, and how one is asked for. Who makes them is on a higher floor.
//!
//! A snapshot (SAVE, BGSAVE, `save` points) and a rewrite (BGREWRITEAOF, a log that has grown) are the same work here: sealed log
//! moves into the snapshot. They are told apart because clients ask for them, and about them, under two names. There is one at a
//! time; what is asked for meanwhile follows, all of it as one.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::server::ShutdownRequest;
use crate::log::Lsn;
use crate::snapshot::compact::Round;
use crate::snapshot::retained::Catalogs;

/// How a snapshot ended. The text says why not.
pub type Outcome = Result<(), String>;

/// What a command wants of the snapshot beyond its reply, once its record is appended.
#[derive(Debug, Clone, Copy)]
pub enum Wish {
    /// BGSAVE or BGREWRITEAOF within EXEC: of everything that the EXEC wrote, too.
    Background { save: bool, rewrite: bool },
    /// SAVE and SHUTDOWN SAVE: the client waits.
    Wait(Then),
}

/// What follows on a snapshot that a client waited for.
#[derive(Debug, Clone, Copy)]
pub enum Then {
    Reply,
    /// Even after a failure, if that is what was asked for.
    Shutdown {
        request: ShutdownRequest,
        force: bool,
    },
}

/// A client's side of the wait.
pub struct Waiting {
    pub receiver: oneshot::Receiver<Outcome>,
    pub then: Then,
    /// CLIENT REPLY: it waits, but wants no reply.
    pub is_silent: bool,
}

/// What one run of the compactor is for.
#[derive(Debug, Default)]
pub struct Job {
    /// BGSAVE or a save point.
    pub background_save: bool,
    pub rewrite: bool,
    /// SAVE.
    waiters: Vec<oneshot::Sender<Outcome>>,
    /// Nobody asked: what is sealed will do.
    pub automatic: bool,
}

impl Job {
    /// Of a save point.
    pub fn save_point() -> Self {
        Self { background_save: true, ..Self::default() }
    }

    /// Of a log that has grown.
    pub fn log_growth() -> Self {
        Self { rewrite: true, automatic: true, ..Self::default() }
    }

    pub fn is_save(&self) -> bool {
        self.background_save || !self.waiters.is_empty()
    }
}

#[derive(Default)]
struct Queue {
    /// In progress from the moment it is asked for: who waits for its end must not see a moment before its beginning.
    current: Option<Job>,
    has_begun: bool,
    next: Option<Job>,
    /// The compactor has ended.
    is_closed: bool,
}

/// How the runs of one name went, in this process.
#[derive(Debug)]
pub struct Runs {
    pub successes: AtomicU64,
    pub failures_in_a_row: AtomicU64,
    /// How long the last success took; -1 before the first.
    pub took_ms: AtomicI64,
}

impl Runs {
    const fn new() -> Self {
        Self {
            successes: AtomicU64::new(0),
            failures_in_a_row: AtomicU64::new(0),
            took_ms: AtomicI64::new(-1),
        }
    }

    fn note(&self, succeeded: bool, took_ms: u64) {
        if succeeded {
            self.successes.fetch_add(1, Relaxed);
            self.failures_in_a_row.store(0, Relaxed);
            self.took_ms.store(took_ms as i64, Relaxed);
        } else {
            self.failures_in_a_row.fetch_add(1, Relaxed);
        }
    }
}

/// How far the run is that is under way; zeros while there is none.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of the log to be moved, and those that are: whole rounds, and of the round under way the part of the ranges that is done.
    pub log_bytes_total: AtomicU64,
    pub log_bytes_done: AtomicU64,
    /// Counted from 1; 0 while the log is read.
    pub range: AtomicUsize,
}

pub struct Snapshots {
    queue: Mutex<Queue>,
    /// Wakes the thread that makes them.
    pub wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// Unix milliseconds: when the run under way began, or was asked for.
    pub began_ms: AtomicU64,
    /// Unix milliseconds of the end of the last run that took in everything there was when it began; 0 when not known.
    pub saved_ms: AtomicU64,
    /// The same on the monotonic clock, or the start of the server.
    saved_at_ms: AtomicU64,
    pub saves: Runs,
    pub rewrites: Runs,
    pub progress: Progress,
    pub last_error: Mutex<Option<String>>,
    /// Everything before this position is in the snapshot.
    pub through: AtomicU64,
    pub files: AtomicU64,
    pub bytes: AtomicU64,
    /// Unix milliseconds of the last change of the snapshot, in any process; 0 before the first.
    pub made_ms: AtomicU64,
    /// Written by compactions of this process.
    pub bytes_written: AtomicU64,
    pub segments_retired: AtomicU64,
    /// Older snapshots that are kept, and the bytes of files that only they need.
    pub retained: AtomicU64,
    pub retained_bytes: AtomicU64,
    /// Any moment from here on can be restored: the position, and when its snapshot was made (0: the store's beginning).
    pub restorable_lsn: AtomicU64,
    pub restorable_us: AtomicU64,
    /// What this process' start had to use instead of the newest snapshot, and why.
    pub fallback: Mutex<Option<String>>,
}

const BACKGROUND_SAVE_RUNS: &str = "ERR Background save already in progress";
const REWRITE_RUNS: &str = "ERR Background append only file rewriting already in progress";
const OTHER_RUNS: &str = "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.";

impl Default for Snapshots {
    fn default() -> Self {
        Self::new()
    }
}

impl Snapshots {
    pub fn new() -> Self {
        Self {
            queue: Mutex::default(),
            wake: OnceLock::new(),
            began_ms: AtomicU64::new(0),
            saved_ms: AtomicU64::new(0),
            saved_at_ms: AtomicU64::new(0),
            saves: Runs::new(),
            rewrites: Runs::new(),
            progress: Progress::default(),
            last_error: Mutex::default(),
            through: AtomicU64::new(0),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            made_ms: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            segments_retired: AtomicU64::new(0),
            retained: AtomicU64::new(0),
            retained_bytes: AtomicU64::new(0),
            restorable_lsn: AtomicU64::new(0),
            restorable_us: AtomicU64::new(0),
            fallback: Mutex::default(),
        }
    }

    /// Wakes the thread that makes them, and that makes backups.
    pub fn wake(&self) {
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    /// Whether a save and whether a rewrite is in progress.
    pub fn in_progress(&self) -> (bool, bool) {
        let queue = self.queue.lock();
        queue.current.as_ref().map_or((false, false), |job| (job.is_save(), job.rewrite))
    }

    pub fn is_rewrite_scheduled(&self) -> bool {
        self.queue.lock().next.as_ref().is_some_and(|job| job.rewrite)
    }

    /// Whether something is to be done that somebody asked for and that has not begun.
    pub fn is_requested(&self) -> bool {
        let queue = self.queue.lock();
        queue.next.is_some() || (queue.current.is_some() && !queue.has_begun)
    }

    /// What BGSAVE answers now, or its error, in Redis' words.
    pub fn answer_to_bgsave(&self, schedule: bool) -> Result<&'static str, &'static str> {
        match &self.queue.lock().current {
            Some(job) if job.is_save() => Err(BACKGROUND_SAVE_RUNS),
            Some(_) if !schedule => Err(OTHER_RUNS),
            Some(_) => Ok("Background saving scheduled"),
            None => Ok("Background saving started"),
        }
    }

    /// The same of BGREWRITEAOF.
    pub fn answer_to_bgrewriteaof(&self) -> Result<&'static str, &'static str> {
        match &self.queue.lock().current {
            Some(job) if job.rewrite => Err(REWRITE_RUNS),
            Some(_) => Ok("Background append only file rewriting scheduled"),
            None => Ok("Background append only file rewriting started"),
        }
    }

    /// What SAVE, which may wait for another client's SAVE, cannot go together with.
    pub fn check_save(&self) -> Result<(), &'static str> {
        match &self.queue.lock().current {
            Some(job) if job.background_save => Err(BACKGROUND_SAVE_RUNS),
            _ => Ok(()),
        }
    }

    /// Asks for a snapshot of everything up to now; behind the one in progress if there is one.
    pub fn request(&self, now_ms: u64, save: bool, rewrite: bool) {
        self.ask(now_ms, |job| {
            job.background_save |= save;
            job.rewrite |= rewrite;
        });
    }

    /// As [`Self::request`]; tells how it ended. The channel is closed when the server ends before.
    pub fn request_and_wait(&self, now_ms: u64) -> oneshot::Receiver<Outcome> {
        let (sender, receiver) = oneshot::channel();
        self.ask(now_ms, |job| job.waiters.push(sender));
        receiver
    }

    fn ask(&self, now_ms: u64, note: impl FnOnce(&mut Job)) {
        let mut queue = self.queue.lock();
        if queue.is_closed {
            return;
        }
        let is_idle = queue.current.is_none();
        if is_idle {
            self.began_ms.store(now_ms, Relaxed);
        }
        // What has not begun would hold everything up to now as well; but what it answered was said of one that came before.
        let job = if is_idle { &mut queue.current } else { &mut queue.next };
        note(job.get_or_insert_default());
        drop(queue);
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    /// The next run begins: what was asked for, else `due`. Returns whether there is one, and if so whether it is to take in
    /// everything up to now.
    pub fn begin(&self, now_ms: u64, due: Option<Job>) -> Option<bool> {
        let mut queue = self.queue.lock();
        if queue.current.is_none() {
            queue.current = due;
        }
        let is_automatic = queue.current.as_ref()?.automatic;
        queue.has_begun = true;
        self.began_ms.store(now_ms, Relaxed);
        Some(!is_automatic)
    }

    /// The run has ended. `Ok(true)`: everything there was when it began is in the snapshot.
    pub fn ended(&self, now_ms: u64, monotonic: Duration, outcome: Result<bool, String>) {
        let took_ms = now_ms.saturating_sub(self.began_ms.load(Relaxed));
        if outcome == Ok(true) {
            self.saved_ms.store(now_ms, Relaxed);
            self.saved_at_ms.store(monotonic.as_millis() as u64, Relaxed);
        }
        *self.last_error.lock() = outcome.as_ref().err().cloned();
        let mut queue = self.queue.lock();
        let job = queue.current.take().unwrap_or_default();
        if job.is_save() {
            self.saves.note(outcome.is_ok(), took_ms);
        }
        if job.rewrite {
            self.rewrites.note(outcome.is_ok(), took_ms);
        }
        queue.current = queue.next.take();
        queue.has_begun = false;
        if queue.current.is_some() {
            self.began_ms.store(now_ms, Relaxed);
        }
        drop(queue);
        let outcome = outcome.map(drop);
        for waiter in job.waiters {
            // The client may be gone.
            let _ = waiter.send(outcome.clone());
        }
    }

    /// Nothing is made any more: who waits learns that the server ends.
    pub fn close(&self) {
        let mut queue = self.queue.lock();
        queue.is_closed = true;
        (queue.current, queue.next) = (None, None);
    }

    /// Since when changes count for `save` points, on the monotonic clock.
    pub fn saved_at(&self) -> Duration {
        Duration::from_millis(self.saved_at_ms.load(Relaxed))
    }

    /// The server has started: nothing behind the snapshot means that it holds everything.
    pub fn note_start(&self, monotonic: Duration, holds_everything: bool) {
        self.saved_at_ms.store(monotonic.as_millis() as u64, Relaxed);
        if holds_everything {
            self.saved_ms.store(self.made_ms.load(Relaxed), Relaxed);
        }
    }

    pub fn note_round(&self, round: &Round) {
        self.bytes_written.fetch_add(round.bytes, Relaxed);
        self.segments_retired.fetch_add(round.retired_segments, Relaxed);
    }

    /// The log begins at `first_lsn`.
    pub fn note_catalogs(&self, catalogs: &Catalogs, first_lsn: Lsn) {
        let current = &catalogs.current;
        self.through.store(current.through, Relaxed);
        self.files.store(current.files.len() as u64, Relaxed);
        self.bytes.store(current.bytes(), Relaxed);
        self.made_ms.fetch_max(current.made_us / 1000, Relaxed);
        self.retained.store(catalogs.retained.len() as u64, Relaxed);
        self.retained_bytes.store(catalogs.extra_bytes(), Relaxed);
        let oldest = catalogs.oldest_connected(first_lsn);
        self.restorable_lsn.store(oldest.through, Relaxed);
        self.restorable_us.store(oldest.made_us, Relaxed);
    }

    pub fn note_progress(&self, done: Lsn, total: Lsn, range: usize) {
        self.progress.log_bytes_done.store(done, Relaxed);
        self.progress.log_bytes_total.store(total, Relaxed);
        self.progress.range.store(range, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(9);

    #[test]
    fn one_is_in_progress_from_the_request_to_the_end() {
        let snapshots = Snapshots::new();
        assert_eq!(snapshots.in_progress(), (false, false));
        snapshots.request(1000, true, false);
        assert_eq!(snapshots.in_progress(), (true, false), "before it has begun");
        assert_eq!(snapshots.begin(1500, None), Some(true));
        assert_eq!(snapshots.in_progress(), (true, false));
        snapshots.request(1600, false, true);
        assert!(snapshots.is_rewrite_scheduled(), "another follows");
        snapshots.ended(2000, NOW, Err("no".to_owned()));
        assert_eq!((snapshots.in_progress(), snapshots.is_rewrite_scheduled()), ((false, true), false));
        assert_eq!(snapshots.saved_ms.load(Relaxed), 0);
        assert_eq!(snapshots.begin(2000, Some(Job::save_point())), Some(true), "what was asked for first");
        snapshots.ended(2500, NOW, Ok(true));
        assert_eq!(snapshots.in_progress(), (false, false));
        assert_eq!(snapshots.saved_ms.load(Relaxed), 2500);
        let (saves, rewrites) = (&snapshots.saves, &snapshots.rewrites);
        assert_eq!((saves.failures_in_a_row.load(Relaxed), rewrites.successes.load(Relaxed)), (1, 1));
        assert_eq!((saves.took_ms.load(Relaxed), rewrites.took_ms.load(Relaxed)), (-1, 500));
    }

    #[test]
    fn what_nobody_asked_for_moves_no_time_unless_it_took_in_everything() {
        let snapshots = Snapshots::new();
        assert_eq!(snapshots.begin(1000, None), None);
        assert_eq!(snapshots.begin(1000, Some(Job::log_growth())), Some(false));
        snapshots.ended(2000, NOW, Ok(false));
        assert_eq!((snapshots.saved_ms.load(Relaxed), snapshots.saved_at()), (0, Duration::ZERO));
        assert_eq!(snapshots.begin(3000, Some(Job::log_growth())), Some(false));
        snapshots.ended(4000, NOW, Ok(true));
        assert_eq!((snapshots.saved_ms.load(Relaxed), snapshots.saved_at()), (4000, NOW));
        assert_eq!(snapshots.rewrites.successes.load(Relaxed), 2);
    }

    #[test]
    fn replies_are_those_of_redis_and_waiters_learn_how_it_ended() {
        let snapshots = Snapshots::new();
        assert_eq!(snapshots.begin(1, Some(Job::log_growth())), Some(false));
        assert_eq!(snapshots.answer_to_bgsave(false), Err(OTHER_RUNS));
        assert_eq!(snapshots.answer_to_bgsave(true), Ok("Background saving scheduled"));
        assert_eq!(snapshots.answer_to_bgrewriteaof(), Err(REWRITE_RUNS));
        assert_eq!(snapshots.check_save(), Ok(()));
        let mut first = snapshots.request_and_wait(2);
        let mut second = snapshots.request_and_wait(2);
        assert!(snapshots.is_requested(), "the one in progress is to make way");
        snapshots.ended(3, NOW, Ok(false));
        assert!(first.try_recv().is_err(), "that one held less than was asked for");
        assert_eq!(snapshots.begin(4, None), Some(true));
        assert_eq!(snapshots.answer_to_bgsave(true), Err(BACKGROUND_SAVE_RUNS));
        assert_eq!(snapshots.check_save(), Ok(()), "it waits for its own");
        assert!(snapshots.answer_to_bgrewriteaof().unwrap().ends_with("scheduled"));
        snapshots.ended(5, NOW, Err("full".to_owned()));
        assert_eq!(
            (first.try_recv(), second.try_recv()),
            (Ok(Err("full".to_owned())), Ok(Err("full".to_owned())))
        );
        snapshots.request(6, true, false);
        assert_eq!(snapshots.check_save(), Err(BACKGROUND_SAVE_RUNS));
        let mut late = snapshots.request_and_wait(7);
        snapshots.close();
        assert_eq!(late.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
