//! The thread that moves the log into the snapshot: when asked (BGSAVE, BGREWRITEAOF), and when the sealed log has outgrown the
//! snapshot (`auto-aof-rewrite-percentage`, `auto-aof-rewrite-min-size`).
//!
//! It has a low priority and writes no faster than it has to. It is not waited for when the server ends: what it has written and
//! not published is removed by the next start.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::command::server::{Server, Store};
use crate::disk::os::lower_thread_priority;
use crate::error::StoreError;
use crate::log::{LogState, Lsn, Retention, Seed};
use crate::snapshot::compact::{self, Options};

/// How often it looks whether something is to be done.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause while the active segment is being sealed.
const SEAL_POLL: Duration = Duration::from_millis(2);
/// Waits from one failure to the next attempt: doubled each time, up to the last.
const RETRY_MIN_S: u64 = 2;
const RETRY_MAX_S: u64 = 300;
/// Bytes a second that it writes at least; a backlog adds a tenth of itself.
const PACE_BYTES_MIN: u64 = 64 << 20;

/// Starts the thread. Call when the store is set.
pub fn spawn(server: Arc<Server>) -> std::io::Result<()> {
    let shared = server.clone();
    let thread = std::thread::Builder::new().name("compactor".to_owned()).spawn(move || work(&shared))?;
    let thread = thread.thread().clone();
    // Only this sets it, once.
    let _ = server.snapshots.wake.set(Box::new(move || thread.unpark()));
    Ok(())
}

fn work(server: &Server) {
    lower_thread_priority();
    let Some(store) = server.store.get() else { return };
    let mut not_before = Duration::ZERO;
    while !server.shutting_down.load(Relaxed) {
        let now = server.clock.monotonic();
        if !server.snapshots.is_requested() && (now < not_before || !is_due(server, store)) {
            std::thread::park_timeout(LOOK_EVERY);
            continue;
        }
        let requested = server.snapshots.begin(server.clock.wall_ms());
        let changes = server.stats.dirty.get();
        let outcome = compact(server, store, requested);
        if requested && outcome.is_ok() {
            server.stats.dirty.change(changes, 0);
        }
        if let Err(error) = &outcome {
            let failures = server.snapshots.failures_in_a_row.load(Relaxed).min(16);
            let wait_s = (RETRY_MIN_S << failures).min(RETRY_MAX_S);
            not_before = server.clock.monotonic() + Duration::from_secs(wait_s);
            tracing::error!("compaction failed, nothing was changed; next attempt in {wait_s} s: {error}");
        }
        server.snapshots.ended(server.clock.wall_ms(), outcome.map_err(|error| error.to_string()));
    }
}

/// Bytes of the sealed log that the snapshot doesn't have.
fn backlog(server: &Server, store: &Store) -> u64 {
    store.log.sealed_through().saturating_sub(server.snapshots.through.load(Relaxed))
}

fn is_due(server: &Server, store: &Store) -> bool {
    let config = &server.config;
    let percentage = config.auto_aof_rewrite_percentage() as u64;
    if percentage == 0 || store.log.state() != LogState::Healthy {
        return false;
    }
    let grown = server.snapshots.bytes.load(Relaxed) as u128 * u128::from(percentage) / 100;
    u128::from(backlog(server, store)) >= grown.max(u128::from(config.auto_aof_rewrite_min_size()))
}

/// Rounds until everything up to now (`requested`), or everything sealed by now, is in the snapshot.
fn compact(server: &Server, store: &Store, requested: bool) -> Result<(), StoreError> {
    let goal = if requested { seal(server, store) } else { store.log.sealed_through() };
    let options = Options {
        seed: Seed(store.keyspace.seed()),
        level: server.config.snapshot_compression_level() as i32,
        budget_bytes: server.config.compaction_budget() as usize,
        retention: Retention::NONE,
    };
    let (mut rounds, mut bytes) = (0, 0);
    let started = server.clock.monotonic();
    while server.snapshots.through.load(Relaxed) < goal && !server.shutting_down.load(Relaxed) {
        let mut pace = Pace::new(server, store);
        let round =
            compact::round(&store.log, &*store.disk, &*server.clock, &options, &mut |n| pace.wrote(n))?;
        server.snapshots.note_catalog(&compact::catalog(&store.log)?);
        let Some(round) = round else { break };
        server.snapshots.note_round(&round);
        rounds += 1;
        bytes += round.bytes;
    }
    let through = server.snapshots.through.load(Relaxed);
    if requested && through < goal {
        // The log failed, has no room for another segment, or the server ends.
        return Err(StoreError::Refused(format!(
            "the log could not be sealed through LSN {goal}; the snapshot goes through LSN {through}"
        )));
    }
    let took = server.clock.monotonic().saturating_sub(started).as_secs_f64();
    tracing::info!(rounds, bytes, through, "compacted in {took:.3} s");
    Ok(())
}

/// Waits until everything up to now is in sealed segments; its end.
fn seal(server: &Server, store: &Store) -> Lsn {
    let goal = store.log.seal();
    while store.log.sealed_through() < goal
        && store.log.state() == LogState::Healthy
        && !server.shutting_down.load(Relaxed)
    {
        std::thread::park_timeout(SEAL_POLL);
    }
    goal
}

/// Keeps the disk free for the log.
struct Pace<'a> {
    server: &'a Server,
    bytes_per_s: u64,
    started: Duration,
    bytes: u64,
}

impl<'a> Pace<'a> {
    fn new(server: &'a Server, store: &Store) -> Self {
        let bytes_per_s = PACE_BYTES_MIN + backlog(server, store) / 10;
        Self { server, bytes_per_s, started: server.clock.monotonic(), bytes: 0 }
    }

    fn wrote(&mut self, bytes: u64) {
        self.bytes += bytes;
        let due = Duration::from_micros(self.bytes.saturating_mul(1_000_000) / self.bytes_per_s);
        let spent = self.server.clock.monotonic().saturating_sub(self.started);
        if let Some(early) = due.checked_sub(spent)
            && early > Duration::from_millis(1)
        {
            std::thread::sleep(early);
        }
    }
}
