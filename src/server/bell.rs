//! Wakes a worker's flusher from any thread, and not for nothing.
//!
//! `tests/loom` runs this file in every interleaving. Not promised: that each ring is heard apart from the next.

use std::task::Waker;

use super::sync::{AtomicBool, Mutex, Ordering, ThreadId, current, fence};
use crate::log::Moved;

/// One worker's.
#[derive(Default)]
pub struct Bell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
    /// Somebody waits for `written_lsn` to move. Under `always` hardly anybody does, and each group would wake the worker twice.
    wants_written: AtomicBool,
    /// The worker's own thread, which looks at the log anyway after it wrote.
    thread: Mutex<Option<ThreadId>>,
}

impl Bell {
    /// The calling thread is the worker's.
    pub fn belongs_to_this_thread(&self) {
        *self.thread.lock() = Some(current().id());
    }

    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(waker) = &*self.waker.lock()
        {
            waker.wake_by_ref();
        }
    }

    /// As `ring`, from the log: of no use where nobody waits for what moved, or to the thread that has just written the log itself.
    pub fn ring_from_log(&self, moved: Moved) {
        if moved == Moved::Written {
            // The log moved, then this is read; in `want_written` the wish is stored, then the log is read. Without fences both
            // could read what was before.
            fence(Ordering::SeqCst);
            if !self.wants_written.load(Ordering::Relaxed) {
                return;
            }
        }
        if *self.thread.lock() != Some(current().id()) {
            self.ring();
        }
    }

    /// Somebody wants to know when `written_lsn` moves, or nobody does any more. `has_moved`: it is not any more what the
    /// flusher last saw.
    pub fn want_written(&self, wanted: bool, has_moved: impl FnOnce() -> bool) {
        self.wants_written.store(wanted, Ordering::Relaxed);
        if wanted {
            fence(Ordering::SeqCst);
            if has_moved() {
                // It moved before the wish was known.
                self.ring();
            }
        }
    }

    /// Not rung any more.
    pub fn silence(&self) {
        self.rung.store(false, Ordering::Release);
    }

    /// The flusher was polled: `flush`, if it was for a ring. One that comes meanwhile wakes it again.
    pub fn answer(&self, waker: &Waker, flush: impl FnOnce()) {
        {
            let mut known = self.waker.lock();
            if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
                *known = Some(waker.clone());
            }
        }
        if self.rung.swap(false, Ordering::AcqRel) {
            flush();
            if self.rung.load(Ordering::Acquire) {
                waker.wake_by_ref();
            }
        }
    }
}
