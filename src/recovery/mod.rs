//! From a directory to a keyspace: the log is opened and every record goes through `apply`, as it did when it was made.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::command::server::{Server, Store};
use crate::disk::Disk;
use crate::error::{Corruption, StoreError};
use crate::keyspace::Keyspace;
use crate::log::{Log, LogOptions, Recovered};

/// Opens the store of a directory. Progress is shown in `server.loading`.
pub fn open(server: &Server, disk: Arc<dyn Disk>, options: LogOptions) -> Result<Store, StoreError> {
    let loading = &server.loading;
    loading.started_ms.store(server.clock.wall_ms(), Relaxed);
    let seed = server.clock.random_id().map_err(StoreError::io("random numbers"))?;
    let seed = u64::from_le_bytes(seed[..8].try_into().expect("eight of sixteen bytes"));
    crate::types::member_table::set_seed(seed);
    let mut keyspace = Keyspace::new(server.config.databases() as u32, seed);
    let mut progress = Progress::new(server);
    let (log, report) = Log::open(disk, server.clock.clone(), options, &mut |recovered| match recovered {
        Recovered::Record { lsn_end, body, .. } => {
            keyspace.replay(body).map_err(|error| refused(lsn_end, error))?;
            loading.records.fetch_add(1, Relaxed);
            Ok(())
        }
        Recovered::Progress { bytes_done, bytes_total } => {
            progress.show(bytes_done, bytes_total);
            Ok(())
        }
    })?;
    server.time_floor_ms.store(report.last_wall_us / 1000, Relaxed);
    Ok(Store { keyspace, log: Arc::new(log), recovery: report })
}

/// A record whose frame is whole but whose ops don't fit: damage that no checksum saw, or a log of another program.
fn refused(lsn_end: u64, error: crate::keyspace::ReplayError) -> StoreError {
    match error {
        crate::keyspace::ReplayError::NoSuchDatabase(_) => StoreError::Refused(error.to_string()),
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
