//! `maxmemory`: how much counts, how much is too much, since when; and how the policy has accesses noted.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::server::Server;
use crate::config::{Config, MaxmemoryPolicy};
use crate::keyspace::access::{Accesses, Frequency, Recency};
use crate::keyspace::eviction::{First, Wanted};
use crate::keyspace::gate::GateTable;
use crate::memory_gauge;

/// Reads what is in use, in place of the process' gauge.
pub type Probe = Box<dyn Fn(&Server) -> u64 + Send + Sync>;

/// What `maxmemory` has to do with.
#[derive(Default)]
pub struct Memory {
    /// For tests: memory that follows from the keys alone.
    pub probe: OnceLock<Probe>,
    /// Monotonic microseconds since when more than `maxmemory` is in use; 0: it isn't.
    exceeded_since_us: AtomicU64,
    exceeded_us: AtomicU64,
}

impl Memory {
    /// More than `maxmemory` was in use when somebody last looked.
    pub fn is_exceeded(&self) -> bool {
        self.exceeded_since_us.load(Relaxed) != 0
    }

    /// More than `maxmemory` is in use, or no longer. `now` is monotonic.
    pub fn note_exceeded(&self, is_exceeded: bool, now: Duration) {
        let since_us = self.exceeded_since_us.load(Relaxed);
        let now_us = (now.as_micros() as u64).max(1);
        if is_exceeded && since_us == 0 {
            self.exceeded_since_us.store(now_us, Relaxed);
        } else if !is_exceeded && since_us != 0 && self.exceeded_since_us.swap(0, Relaxed) == since_us {
            self.exceeded_us.fetch_add(now_us.saturating_sub(since_us), Relaxed);
        }
    }

    /// How long more than `maxmemory` was in use: since the start of the server, and at a stretch until now.
    pub fn exceeded(&self, now: Duration) -> (Duration, Duration) {
        let current = match self.exceeded_since_us.load(Relaxed) {
            0 => Duration::ZERO,
            since_us => now.saturating_sub(Duration::from_micros(since_us)),
        };
        (Duration::from_micros(self.exceeded_us.load(Relaxed)) + current, current)
    }

    pub fn reset(&self) {
        self.exceeded_us.store(0, Relaxed);
    }
}

/// Bytes in use that don't count for `maxmemory`: what waits to be written to the log, what compaction and the interpreters of scripts
/// hold (they have limits of their own), and the tables of the reply gate, which are there from the start.
pub fn not_counted(server: &Server) -> u64 {
    let log = server.store.get().map(|store| &store.log);
    let buffered = log.map_or(0, |log| log.append_lsn().saturating_sub(log.written_lsn()));
    buffered + memory_gauge::excluded() + memory_gauge::scripts() + gate_bytes()
}

/// There is one gate for the store and one for the time before it is loaded.
const fn gate_bytes() -> u64 {
    2 * GateTable::BYTES as u64
}

/// Bytes by which more than `maxmemory` is in use; 0 without a limit. What this thread did counts; of other threads all but a little.
#[inline]
pub fn excess(server: &Server) -> u64 {
    let limit = server.config.maxmemory();
    if limit == 0 {
        return 0;
    }
    counted(server).saturating_sub(limit)
}

fn counted(server: &Server) -> u64 {
    if let Some(probe) = server.memory.probe.get() {
        return probe(server);
    }
    memory_gauge::note(false);
    let log = server.store.get().map(|store| &store.log);
    let buffered = log.map_or(0, |log| log.append_lsn().saturating_sub(log.written_lsn()));
    memory_gauge::used().saturating_sub(buffered + memory_gauge::scripts() + gate_bytes())
}

/// A key's share of the index of expiry times: three numbers in nodes that are little more than half full.
pub const EXPIRY_SHARE: usize = 52;

/// Asks the allocator. To be called ten times a second, and when `maxmemory` was set.
pub fn refresh(server: &Server) {
    memory_gauge::watch(server.config.maxmemory() > 0);
    let usage = memory_gauge::refresh();
    server.stats.used_memory_peak.max(usage.allocated);
}

/// What the policy evicts first; `None`: nothing.
pub fn wanted(config: &Config) -> Option<Wanted> {
    use MaxmemoryPolicy as P;
    let (only_volatile, first) = match config.maxmemory_policy() {
        P::NoEviction => return None,
        P::AllkeysLru | P::AllkeysLfu => (false, First::Worthless),
        P::VolatileLru | P::VolatileLfu => (true, First::Worthless),
        P::AllkeysRandom => (false, First::Any),
        P::VolatileRandom => (true, First::Any),
        P::VolatileTtl => (true, First::Due),
    };
    Some(Wanted { only_volatile, first })
}

/// How the policy has accesses noted in a command that begins now. `chance` goes on from command to command.
#[inline]
pub fn accesses(config: &Config, touches: bool, now_ms: u64, chance: &mut u64) -> Accesses {
    match config.maxmemory_policy() {
        MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu => {
            *chance = chance.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            Accesses::Frequency(Frequency {
                touches,
                now_minutes: now_ms / 60_000,
                log_factor: config.lfu_log_factor() as u32,
                decay_minutes: config.lfu_decay_time() as u32,
                seed: *chance,
            })
        }
        _ => Accesses::Recency(Recency { touches, now_s: now_ms / 1000 }),
    }
}
