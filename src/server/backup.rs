//! Makes the backups that were asked for, on the thread that compacts: so nothing that they need is removed meanwhile.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::command::backups::Job;
use crate::command::server::{Server, Store};
use crate::error::StoreError;
use crate::log::{Image, LogState, Lsn};
use crate::snapshot::backup::{self, Backup, Options};
use crate::snapshot::retained::Catalogs;

/// Pause while the active segment is being sealed.
const SEAL_POLL: Duration = Duration::from_millis(2);
/// Bytes a second at which files are copied where they cannot be linked: the log's own writes come first.
const COPY_BYTES_PER_S: u64 = 256 << 20;

/// Makes all backups that were asked for.
pub fn run_all(server: &Server, store: &Store) {
    while let Some(job) = server.backups.begin() {
        let started = server.clock.monotonic();
        let outcome = run(server, store, &job).map_err(|error| error.to_string());
        let took_s = server.clock.monotonic().saturating_sub(started).as_secs_f64();
        match &outcome {
            Ok(backup) => tracing::info!(
                path = job.path,
                lsn = backup.lsn,
                bytes = backup.bytes,
                linked = backup.linked,
                copied = backup.copied,
                "backup made in {took_s:.3} s"
            ),
            Err(error) => tracing::error!(path = job.path, "no backup was made: {error}"),
        }
        server.backups.ended(job, server.clock.wall_ms(), &outcome);
    }
}

fn run(server: &Server, store: &Store, job: &Job) -> Result<Backup, StoreError> {
    let image = image(server, store, job.lsn)?;
    let target = store.disk.target(&job.path).map_err(StoreError::io(format!("make {}", job.path)))?;
    let started = server.clock.monotonic();
    let mut copied = 0;
    let pace = &mut |bytes| {
        copied += bytes;
        let due = Duration::from_micros(copied * 1_000_000 / COPY_BYTES_PER_S);
        let spent = server.clock.monotonic().saturating_sub(started);
        std::thread::sleep(due.saturating_sub(spent));
        if server.shutting_down.load(Relaxed) { Err(ending()) } else { Ok(()) }
    };
    backup::make(image, &*store.disk, &*target, Options { copy: job.copy, pace })
}

fn ending() -> StoreError {
    StoreError::Refused("the server ends".to_owned())
}

/// Seals the log until a segment and a record end at the same place, at `through` or behind it. Only a long record that is just being
/// written stands against that.
fn image(server: &Server, store: &Store, mut through: Lsn) -> Result<Image, StoreError> {
    loop {
        let goal = store.log.seal();
        while store.log.sealed_through() < goal {
            if server.shutting_down.load(Relaxed) {
                return Err(ending());
            }
            match store.log.state() {
                LogState::Healthy => std::thread::park_timeout(SEAL_POLL),
                LogState::NoSpace => {
                    return Err(StoreError::Refused(
                        "there is no room for another segment of the log".to_owned(),
                    ));
                }
                LogState::Failed { reason } => {
                    return Err(StoreError::Refused(format!("the log has failed ({reason})")));
                }
            }
        }
        if let Some(image) = store.log.image(through)? {
            // A compaction may have gone further than was asked for, and the segments up to there are kept.
            let snapshot = Catalogs::of(image.sections())?.current.through;
            if snapshot <= image.end_lsn() {
                return Ok(image);
            }
            through = snapshot;
        }
    }
}
