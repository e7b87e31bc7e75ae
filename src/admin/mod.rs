//! Commands about connections and the server itself, not about keys.
//!
//! Never here: a socket or a file. What only the upper floors can do is asked of the server's hooks.

pub mod acl;
pub mod backup;
pub mod client;
pub mod client_filter;
pub mod client_line;
mod client_tracking;
pub mod cluster;
pub mod command_docs;
pub mod command_info;
pub mod config;
pub mod connection;
pub mod debug;
mod digests;
pub mod help;
pub mod info;
pub mod info_memory;
pub mod pubsub;
pub mod server;
pub mod slowlog;
pub mod snapshots;
pub mod syntax;
#[cfg(test)]
mod tests;

use crate::command::Flags;

/// The Redis version whose behaviour clients may rely on.
pub const REDIS_VERSION: &str = "7.2.4";

/// Runs while loading and without a primary.
pub const ANYTIME: Flags = Flags::LOADING.union(Flags::STALE);
/// As [`ANYTIME`], but not from scripts.
const DIRECT: Flags = ANYTIME.union(Flags::NOSCRIPT);
/// As [`DIRECT`], for administrators.
const ADMIN: Flags = DIRECT.union(Flags::ADMIN);
