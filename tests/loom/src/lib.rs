//! Interleavings, all of them (or, where the test says so, all with few preemptions), by loom.
//!
//! What runs is in part the program's own text: the worker's bell, the outbox and the order of stripes are compiled here over loom's
//! locks and atomics. The log's positions, its writer role and its threads are modelled in `log.rs`, statement by statement, since
//! the originals stand on parking_lot and on real files. Not covered: time-outs (a thread that would sleep for a while sleeps for ever
//! here, so that a wake-up which only a timer makes good counts as lost), rolls, and the runtime's own wakers.
#![cfg(test)]

mod handover;
mod locks;
mod log;
mod park;

/// What `bell.rs` is made of.
mod sync {
    use std::sync::PoisonError;

    pub use loom::sync::atomic::{AtomicBool, Ordering, fence};
    pub use loom::thread::{ThreadId, current};

    /// loom's, with the manners of parking_lot's.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        pub fn try_lock(&self) -> Option<loom::sync::MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }
}

#[allow(dead_code, reason = "the program uses more of it")]
#[path = "../../../src/server/bell.rs"]
mod bell;
#[allow(dead_code, reason = "the program uses more of it")]
#[path = "../../../src/mutation.rs"]
mod mutation;
#[allow(dead_code, reason = "the program uses more of it")]
#[path = "../../../src/server/outbox.rs"]
mod outbox;
#[allow(dead_code, reason = "the program uses more of it")]
#[path = "../../../src/keyspace/stripe_set.rs"]
mod stripe_set;
