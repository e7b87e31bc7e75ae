//! From a directory to a keyspace: the log is opened and every record goes through `apply`, as it did when it was made.
//!
//! ```text
//! replay   records to lanes of stripes; threads     batch   the ops of a lane, applied in one go
//! ```

mod batch;
mod replay;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::command::server::{Server, Store};
use crate::disk::Disk;
use crate::error::{Corruption, StoreError};
use crate::keyspace::{Keyspace, ReplayError};
use crate::log::{Log, LogOptions, Recovered};
use crate::snapshot::catalog::{Catalog, TAG};
use crate::snapshot::compact::{damaged_catalog, remove_unlisted};
use crate::snapshot::load::load;
pub use batch::Failure;
pub use replay::Replay;

/// Threads unless the administrator says how many: the thread that reads keeps about so many busy.
const THREADS_MAX: usize = 8;

/// Opens the store of a directory. Progress is shown in `server.loading`.
pub fn open(server: &Server, disk: Arc<dyn Disk>, options: LogOptions) -> Result<Store, StoreError> {
    let loading = &server.loading;
    loading.started_ms.store(server.clock.wall_ms(), Relaxed);
    let threads = threads(server, &options);
    let mut replay = None;
    let mut listed = None;
    let snapshots = disk.clone();
    let mut records = 0;
    let mut progress = Progress::new(server);
    let opened =
        Log::open(disk, server.clock.clone(), options, &mut |recovered| match (recovered, &mut replay) {
            (Recovered::Begin { seed, sections, from }, _) => {
                crate::types::member_table::set_seed(seed.0);
                let keyspace = Keyspace::new(server.config.databases() as u32, seed.0);
                if let Some(section) = sections.iter().find(|section| section.tag == TAG) {
                    let catalog = Catalog::decode(&section.bytes).map_err(damaged_catalog)?;
                    let rows = load(&*snapshots, &catalog, &keyspace, threads)?;
                    tracing::info!(
                        rows,
                        through = catalog.through,
                        bytes = catalog.bytes(),
                        "the snapshot is loaded"
                    );
                    *from = catalog.through;
                    server.snapshots.note_catalog(&catalog);
                    listed = Some(catalog);
                }
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
            (Recovered::End, Some(replay)) => replay.settle().map_err(refused),
            (Recovered::Record { .. } | Recovered::End, None) => {
                unreachable!("the log says first whose it is")
            }
        });
    let replay = replay.map(Replay::finish).transpose();
    // What cannot be applied stands before the place where reading ended, whatever ended it.
    let replay = replay.map_err(refused)?;
    let (log, report) = opened?;
    let keyspace = replay.expect("a log that opened has said whose it is");
    remove_unlisted(&*snapshots, &listed.unwrap_or_else(Catalog::empty))?;
    server.time_floor_ms.store(report.last_wall_us / 1000, Relaxed);
    Ok(Store { keyspace, log: Arc::new(log), disk: snapshots, recovery: report })
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
    match error {
        ReplayError::NoSuchDatabase(_) => StoreError::Refused(error.to_string()),
        _ => StoreError::Corruption(Corruption {
            file: "log".into(),
            offset: lsn_end,
            reason: format!("the record that ends at LSN {lsn_end} cannot be applied: {error}"),
        }),
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
