//! The log's threads: `log-writer` writes what workers did not write themselves (and syncs, under `always`), `log-sync`
//! syncs under `everysec` and on demand, `log-prepare` makes segments. All they do are the steps that `step` does for a
//! simulation.

use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use crate::disk;

use super::Policy;
use super::frame;
use super::prepare::PrepareStep;
use super::shared::{Shared, WITNESS_AFTER};
use super::writer::Wrote;

const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Wakes one thread. One atomic operation while that thread is running; a wake is never lost.
#[derive(Default)]
pub(super) struct Wakeup(OnceLock<Thread>);

impl Wakeup {
    fn is(&self, thread: &Thread) {
        // Set once, by the one who starts the thread.
        let _ = self.0.set(thread.clone());
    }

    #[inline]
    pub fn wake(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}

/// Doubles from attempt to attempt.
struct Retry(Duration);

impl Retry {
    fn wait(&mut self) {
        thread::park_timeout(self.0);
        self.0 = (self.0 * 2).min(RETRY_MAX);
    }

    fn reset(&mut self) {
        self.0 = RETRY_MIN;
    }
}

pub(super) fn spawn(shared: &Arc<Shared>) -> std::io::Result<Vec<JoinHandle<()>>> {
    let mut handles = Vec::new();
    let mut start = |name: &str, wakeup: &Wakeup, run: fn(&Shared)| {
        let mine = shared.clone();
        let handle = thread::Builder::new().name(name.to_owned()).spawn(move || run(&mine))?;
        wakeup.is(handle.thread());
        handles.push(handle);
        Ok(())
    };
    let started = start("log-writer", &shared.wake_writer, writer)
        .and_then(|()| start("log-sync", &shared.wake_sync, syncer))
        .and_then(|()| start("log-prepare", &shared.wake_preparer, preparer));
    if let Err(e) = started {
        shared.stop();
        for handle in handles {
            let _ = handle.join();
        }
        return Err(e);
    }
    // A wake that came before its thread was known here would be lost: each looks again.
    shared.wake_all();
    Ok(handles)
}

fn is_over(shared: &Shared) -> bool {
    shared.is_stopping() || shared.is_failed()
}

fn writer(shared: &Shared) {
    let mut retry = Retry(RETRY_MIN);
    while !is_over(shared) {
        let wrote = shared.writer.lock().write_pending(shared, true);
        let syncs = shared.sync_due_in() == Some(Duration::ZERO);
        if syncs && shared.policy() == Policy::Always {
            shared.sync_written();
        } else if syncs {
            shared.wake_sync.wake();
        }
        match wrote {
            Wrote::All => retry.reset(),
            Wrote::NoSpace | Wrote::NoSegment | Wrote::NeedsRoll => retry.wait(),
            Wrote::Failed => return,
            Wrote::Nothing => match shared.witness_due_in() {
                Some(Duration::ZERO) => {
                    shared.write_witness();
                }
                Some(wait) => thread::park_timeout(wait),
                None => thread::park(),
            },
        }
    }
}

fn syncer(shared: &Shared) {
    while !is_over(shared) {
        match shared.sync_due_in() {
            // The writer does it.
            _ if shared.policy() == Policy::Always => thread::park(),
            Some(Duration::ZERO) => {
                if shared.sync_written() && shared.durable_lsn() == shared.written_lsn() {
                    // If it stays quiet, the writer is to tell in a frame how far the sync went.
                    shared.wake_writer.wake();
                }
            }
            Some(wait) => thread::park_timeout(wait),
            None => thread::park(),
        }
    }
}

fn preparer(shared: &Shared) {
    disk::os::lower_thread_priority();
    let mut retry = Retry(RETRY_MIN);
    while !is_over(shared) {
        let step = shared.preparer.lock().step(shared, true);
        match step {
            PrepareStep::Made => retry.reset(),
            PrepareStep::Enough => thread::park(),
            PrepareStep::NoSpace => retry.wait(),
            PrepareStep::Stopped | PrepareStep::Failed => return,
        }
    }
}

impl Shared {
    /// When an empty frame should tell of the last sync; None if there is nothing to tell.
    pub fn witness_due_in(&self) -> Option<Duration> {
        let writer = self.writer.lock();
        let durable = self.durable_lsn();
        if durable != self.written_lsn()
            || durable <= writer.witnessed
            || !writer.has_room(frame::frame_len(0))
        {
            return None;
        }
        Some((writer.last_write_at + WITNESS_AFTER).saturating_sub(self.clock.monotonic()))
    }

    pub fn write_witness(&self) -> Wrote {
        self.writer.lock().write_witness(self)
    }

    /// One unit of whatever there is to do, in this thread. False when there is nothing, or nothing that would succeed.
    pub fn step(&self) -> bool {
        if self.is_failed() {
            return false;
        }
        if self.writer.lock().write_pending(self, true) == Wrote::All {
            return true;
        }
        if self.sync_due_in() == Some(Duration::ZERO) {
            return self.sync_written();
        }
        if self.preparer.lock().step(self, false) == PrepareStep::Made {
            return true;
        }
        self.witness_due_in() == Some(Duration::ZERO) && self.write_witness() == Wrote::All
    }
}
