//! The promises through the whole server: the real binary, real sockets, and a disk that fails, fills up or hangs on demand.
//!
//! A reply that must not come is looked for after the command is known to have been executed; nothing else depends on time.

mod failed_sync;
mod faulty;
mod fencing;
mod full_disk;
mod levels;
mod limits;
mod messages;
mod order;
mod snapshot;
mod stuck_sync;
#[path = "../support/mod.rs"]
mod support;
mod traced;
mod tracking;
mod workers;
