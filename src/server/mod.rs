//! The only floor that knows sockets: listeners, workers, connections, outboxes, start and shutdown.
//!
//! A worker is a thread with a tokio current-thread runtime and its own connections. Appends of one scheduling tick are
//! gathered: connections run first, then the worker's flusher writes the log once (or wakes its thread once) and sends
//! whatever replies the log allows.

mod attend;
pub mod backup;
pub mod bell;
mod client_memory;
mod compactor;
mod connection;
mod estate;
mod left_by_redis;
mod line;
pub mod listen;
pub mod logging;
pub mod outbox;
mod pid_file;
mod retention;
pub mod settings;
pub mod signals;
pub mod start;
pub mod stream;
pub mod subscribers;
mod supervisor;
mod sync;
mod unix_socket;
pub mod worker;

pub use start::run;
