//! From a directory to a keyspace: the log is opened and every record goes through `apply`, as it did when it was made.
//!
//! ```text
//! replay   records to lanes of stripes; threads     batch   the ops of a lane, applied in one go
//! snapshot which snapshot it begins with
//! ```

mod batch;
mod replay;
pub mod snapshot;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::allocator;
use crate::command::server::{Server, Store};
use crate::disk::{Disk, Lock};
use crate::error::{Corruption, StoreError};
use crate::keyspace::waiters::StripeSet;
use crate::keyspace::{DATABASES_MAX, Keyspace};
use crate::log::{Log, LogOptions, Recovered};
use crate::snapshot::compact::remove_unlisted;
pub use batch::Failure;
pub use replay::Replay;
use snapshot::Begun;

/// Threads unless the administrator says how many: the thread that reads keeps about so many busy.
const THREADS_MAX: usize = 8;

/// Opens the store of a directory. Progress is shown in `server.loading`.
pub fn open(server: &Server, disk: Arc<dyn Disk>, options: LogOptions) -> Result<Store, StoreError> {
    let lock = Log::lock(&*disk)?;
    open_locked(server, disk, lock, options)
}

/// The same for a directory that is locked already: `lock` is its own.
pub fn open_locked(
    server: &Server,
    disk: Arc<dyn Disk>,
    lock: Box<dyn Lock>,
    options: LogOptions,
) -> Result<Store, StoreError> {
    let loading = &server.loading;
    server.stats.used_memory_startup.set(allocator::usage().allocated);
    loading.started_ms.store(server.clock.wall_ms(), Relaxed);
    let threads = threads(server, &options);
    let mut replay = None;
    let mut begun = None;
    let snapshots = disk.clone();
    let mut records = 0;
    let mut progress = Progress::new(server);
    let databases = server.config.databases() as u32;
    let clock = server.clock.clone();
    let opened =
        Log::open_locked(disk, lock, clock, options, &mut |recovered| match (recovered, &mut replay) {
            (Recovered::Begin { seed, sections, first_lsn, from }, _) => {
                crate::types::member_table::set_seed(seed.0);
                let fresh = || Keyspace::new(DATABASES_MAX, seed.0);
                let Begun { keyspace, catalogs, rows, fallback } =
                    snapshot::begin(&*snapshots, sections, first_lsn, &fresh, threads)?;
                let (through, bytes) = (catalogs.current.through, catalogs.current.bytes());
                loading.snapshot_keys.store(keys_in(&keyspace), Relaxed);
                if through > 0 {
                    tracing::info!(rows, through, bytes, "the snapshot is loaded");
                }
                *from = through;
                begun = Some((catalogs, fallback));
                replay = Some(
                    Replay::new(keyspace, threads)
                        .map_err(StoreError::io("start the threads of recovery"))?,
                );
                Ok(())
            }
            (Recovered::Record { lsn_end, body, .. }, Some(replay)) => {
                records += 1;
                loading.records.store(records, Relaxed);
                replay.record(lsn_end, body).map_err(refused)
            }
            (Recovered::Progress { bytes_done, bytes_total }, _) => {
                progress.show(bytes_done, bytes_total);
                Ok(())
            }
            (Recovered::End, Some(replay)) => {
                replay.settle().map_err(refused)?;
                // Before anything of the store is changed.
                all_are_configured(replay.keyspace(), databases)
            }
            (Recovered::Record { .. } | Recovered::End, None) => {
                unreachable!("the log says first whose it is")
            }
        });
    let replay = replay.map(Replay::finish).transpose();
    // What cannot be applied stands before the place where reading ended, whatever ended it.
    let replay = replay.map_err(refused)?;
    let fallback = begun.as_ref().and_then(|(_, fallback)| fallback.as_ref());
    let (log, report) = opened.map_err(|error| match fallback {
        Some(fallback) => fallback.explain(error),
        None => error,
    })?;
    let mut keyspace = replay.expect("a log that opened has said whose it is");
    keyspace.limit_databases(databases);
    let (catalogs, fallback) = begun.expect("the same");
    server.snapshots.note_catalogs(&catalogs, log.first_lsn());
    match fallback {
        None => remove_unlisted(&*snapshots, &catalogs)?,
        // The next compaction must not build on what is damaged. Its files stay until then, or the next start, to be looked at.
        Some(fallback) => {
            tracing::warn!("{fallback}. The state is whole; find out what damaged the file");
            log.replace_sections(catalogs.sections())?;
            *server.snapshots.fallback.lock() = Some(fallback.to_string());
        }
    }
    server.time.begin(&*server.clock, report.last_wall_us);
    Ok(Store { keyspace, log: Arc::new(log), disk: snapshots, recovery: report })
}

fn keys_in(keyspace: &Keyspace) -> u64 {
    let held = keyspace.lock(StripeSet::ALL);
    let stripes = held.shelves().map(|shelf| &shelf.stripe);
    let parts = stripes.flat_map(|stripe| stripe.spaces().filter_map(|space| stripe.part(space)));
    parts.map(|part| part.len() as u64).sum()
}

/// Threads that apply, beside the one that reads. 0: it does both.
fn threads(server: &Server, options: &LogOptions) -> usize {
    if !options.threads {
        return 0;
    }
    match server.config.recovery_threads() as usize {
        0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS_MAX)),
        threads => threads,
    }
}

/// A record whose frame is whole but whose ops don't fit: damage that no checksum saw, or a log of another program.
fn refused(Failure { at, error }: Failure) -> StoreError {
    let lsn_end = at.lsn_end;
    StoreError::Corruption(Corruption {
        file: "log".into(),
        offset: lsn_end,
        reason: format!("the record that ends at LSN {lsn_end} cannot be applied: {error}"),
    })
}

/// Keys of a database that is not configured would be there and nobody could see them.
fn all_are_configured(keyspace: &Keyspace, databases: u32) -> Result<(), StoreError> {
    match keyspace.last_used_database() {
        Some(db) if db >= databases => Err(StoreError::Refused(format!(
            "database {db} has keys, but there are only {databases} databases: start with `databases {}` or more",
            db + 1
        ))),
        _ => Ok(()),
    }
}

/// Prints a line a second.
struct Progress<'a> {
    server: &'a Server,
    next: std::time::Duration,
}

impl<'a> Progress<'a> {
    fn new(server: &'a Server) -> Self {
        Self { server, next: server.clock.monotonic() + std::time::Duration::from_secs(1) }
    }

    fn show(&mut self, done: u64, total: u64) {
        let loading = &self.server.loading;
        loading.bytes_done.store(done, Relaxed);
        loading.bytes_total.store(total, Relaxed);
        let now = self.server.clock.monotonic();
        if now >= self.next {
            self.next = now + std::time::Duration::from_secs(1);
            let records = loading.records.load(Relaxed);
            tracing::info!("loading: {} of {} MiB, {records} records", done >> 20, total >> 20);
        }
    }
}
