//! Duramen: a Redis-compatible server for data that must not be lost.
//!
//! The folder list is the architecture. Imports point down only (`tests/tidy.rs` enforces it):
//!
//! ```text
//! 7  server     listeners, connections, outboxes, shutdown: the only floor that knows sockets
//!    tools      `check`, `inspect`, `dump`, `repair`, `restore`: look at a stopped data directory; never import the server
//! 6  engine     dispatch, checks, locking, transactions, blocking, expiry cycles
//!    scripting  Lua: EVAL, and what scripts may reach
//! 5  command    what a command is; its arguments; the context a handler works in
//!    snapshot   files of sorted rows, and how they are made and merged
//!    recovery   from a directory to a keyspace: replay of the log through `apply`
//!    types/*/commands.rs   the commands of a type stand beside the type
//!    admin      commands about connections and the server
//! 4  keyspace   slots, entries, `apply(op)`, expiry, the reply gate's LSN table
//!    rdb        values in Redis' RDB format: read, written
//! 3  types/*/value.rs      each type's structure, its ops and their codec
//! 2  resp       request parser, reply writer: bytes only
//!    log        record, frame, segment, manifest, writer, commit: bytes only
//!    config     redis.conf syntax, directives and their live values
//! 1  disk       the seam to files: operating system, io_uring, fault latch, simulated disk
//! 0  allocator, clock, codec, error, glob, headroom, memory_gauge, mutation, prefetch, process   ground
//! ```

pub mod admin;
pub mod allocator;
pub mod clock;
pub mod codec;
pub mod command;
pub mod config;
pub mod disk;
pub mod engine;
pub mod error;
pub mod glob;
pub mod hash;
pub mod headroom;
pub mod keyspace;
pub mod log;
pub mod long_double;
pub mod memory_gauge;
pub mod mutation;
pub mod prefetch;
pub mod process;
pub mod rdb;
pub mod recovery;
pub mod resp;
pub mod scripting;
pub mod server;
pub mod snapshot;
pub mod tools;
pub mod types;

/// Unit tests measure what the server would.
#[cfg(all(test, feature = "jemalloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Every command there is.
pub fn registry() -> command::registry::Registry {
    command::registry::Registry::new(&[
        admin::acl::COMMANDS,
        admin::backup::COMMANDS,
        admin::client::COMMANDS,
        admin::cluster::COMMANDS,
        admin::command_info::COMMANDS,
        admin::config::COMMANDS,
        admin::connection::COMMANDS,
        admin::debug::COMMANDS,
        admin::pubsub::COMMANDS,
        admin::server::COMMANDS,
        admin::slowlog::COMMANDS,
        admin::snapshots::COMMANDS,
        engine::transactions::COMMANDS,
        scripting::COMMANDS,
        scripting::FUNCTION_COMMANDS,
        scripting::SCRIPT_COMMANDS,
        types::bitmap::commands::COMMANDS,
        types::geo::commands::COMMANDS,
        types::hash::commands::COMMANDS,
        types::hyperloglog::commands::COMMANDS,
        types::key::commands::COMMANDS,
        types::list::commands::COMMANDS,
        types::set::commands::COMMANDS,
        types::sorted_set::commands::COMMANDS,
        types::stream::commands::COMMANDS,
        types::stream::group_commands::COMMANDS,
        types::string::commands::COMMANDS,
    ])
}
