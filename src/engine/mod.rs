//! From a request to its reply: dispatch, checks, locks, the record, blocking, transactions, expiry.
//!
//! One write, from top to bottom: [`execute`] finds the command and checks it; `run` asks the log whether it may write, locks the
//! stripes of all keys it can touch (those of waiters included), runs the handler, serves waiters, appends the one record,
//! notes its LSN in the reply gate, and lets go. The reply stands in the caller's buffer with the LSN it depends on.
//!
//! Never here: a socket, a file, a wait for either.

pub mod blocking;
pub mod dispatch;
pub mod evict;
pub mod expiry;
pub mod locks;
pub mod reclaim;
pub mod rig;
pub mod run;
pub mod transactions;

pub use dispatch::{Flow, Outcome, execute, look_ahead, note_next, prefetch};
