//! Backups that are asked for, and how the last one went, for BACKUP and INFO. Who makes them is on a higher floor.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::log::Lsn;
use crate::snapshot::backup::Backup;

/// How a backup went. The text says why not.
pub type Outcome = Result<Backup, String>;

/// A backup that somebody waits for.
pub struct Job {
    /// From the root of the file system.
    pub path: String,
    /// Link nothing.
    pub copy: bool,
    /// Everything before it is to be in the backup.
    pub lsn: Lsn,
    /// Called once, from any thread.
    pub done: Box<dyn FnOnce(&Outcome) + Send>,
}

#[derive(Default)]
pub struct Backups {
    queue: Mutex<VecDeque<Job>>,
    running: AtomicBool,
    /// Made by this process.
    pub successes: AtomicU64,
    pub failures: AtomicU64,
    /// Of the last success in this process: Unix milliseconds, and where it ends.
    pub made_ms: AtomicU64,
    pub lsn: AtomicU64,
    /// Why the last one was not made; empty if it was.
    pub last_error: Mutex<String>,
}

impl Backups {
    /// Whoever makes them has to be woken.
    pub fn ask(&self, job: Job) {
        self.queue.lock().push_back(job);
    }

    pub fn is_asked(&self) -> bool {
        !self.queue.lock().is_empty()
    }

    /// Asked for and not ended.
    pub fn in_progress(&self) -> usize {
        self.queue.lock().len() + usize::from(self.running.load(Relaxed))
    }

    /// Takes the next one, to be made now.
    pub fn begin(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        let job = queue.pop_front()?;
        self.running.store(true, Relaxed);
        Some(job)
    }

    pub fn ended(&self, job: Job, now_ms: u64, outcome: &Outcome) {
        match outcome {
            Ok(backup) => {
                self.successes.fetch_add(1, Relaxed);
                self.made_ms.store(now_ms, Relaxed);
                self.lsn.store(backup.lsn, Relaxed);
                self.last_error.lock().clear();
            }
            Err(error) => {
                self.failures.fetch_add(1, Relaxed);
                self.last_error.lock().clone_from(error);
            }
        }
        self.running.store(false, Relaxed);
        (job.done)(outcome);
    }
}
