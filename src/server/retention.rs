//! `snapshot-retain` and `log-retain`: what they ask compaction to keep; and giving it up in time when there is nothing to compact.

use std::time::Duration;

use crate::command::server::{Server, Store};
use crate::config::{Config, LogRetain};
use crate::log::LogState;
use crate::snapshot::compact;
use crate::snapshot::retained::{Keep, Window};

/// A window moves on with the time, whether or not anything is written.
const TRIM_EVERY: Duration = Duration::from_secs(60);

/// What the settings ask for.
fn settings(config: &Config) -> Keep {
    let window = match config.log_retain() {
        LogRetain::Nothing => Window::Nothing,
        LogRetain::Seconds(seconds) => Window::Us(seconds.saturating_mul(1_000_000)),
        LogRetain::Bytes(bytes) => Window::Bytes(bytes),
    };
    Keep { snapshots: config.snapshot_retain() as usize, window, ..Keep::NOTHING }
}

/// What they ask for now: nothing is too old while the clock is in doubt.
pub fn keep(server: &Server) -> Keep {
    Keep { now_us_max: server.time.for_ages_us(&*server.clock).unwrap_or(0), ..settings(&server.config) }
}

/// Gives up what retention no longer keeps: now and then, and soon after the settings changed.
pub struct Trimmer {
    settings: Keep,
    next: Duration,
}

impl Trimmer {
    pub fn new(config: &Config) -> Self {
        Self { settings: settings(config), next: Duration::ZERO }
    }

    pub fn look(&mut self, server: &Server, store: &Store) {
        let (settings, now) = (settings(&server.config), server.clock.monotonic());
        // Where the disk is full, this is a way to make room.
        let has_failed = matches!(store.log.state(), LogState::Failed { .. });
        if has_failed || (settings == self.settings && now < self.next) {
            return;
        }
        self.settings = settings;
        self.next = now + TRIM_EVERY;
        match trim(server, store) {
            Ok(Some(segments)) => {
                tracing::info!(segments, "older snapshots or parts of the log are no longer kept")
            }
            Ok(None) => {}
            Err(error) => tracing::error!("what retention no longer keeps was not given up: {error}"),
        }
    }
}

fn trim(server: &Server, store: &Store) -> Result<Option<u64>, crate::error::StoreError> {
    let trimmed = compact::trim(&store.log, &*store.disk, &*server.clock, &keep(server))?;
    if trimmed.is_some() {
        server.snapshots.note_catalogs(&compact::catalogs(&store.log)?, store.log.first_lsn());
    }
    Ok(trimmed)
}
