//! Counters for INFO. Plain relaxed atomics: each is read alone.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A number that goes up, or is set.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// For a counter that follows a level: `old` has become `new`.
    #[inline]
    pub fn change(&self, old: u64, new: u64) {
        if old != new {
            self.0.fetch_add(new.wrapping_sub(old), Relaxed);
        }
    }

    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    pub fn max(&self, n: u64) {
        self.0.fetch_max(n, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What Redis' `cmdstat_*` lines show, of one command.
#[derive(Debug, Default)]
pub struct CommandStats {
    pub calls: Counter,
    /// Time in handlers, in nanoseconds.
    pub nanos: Counter,
    /// Refused before it ran.
    pub rejected: Counter,
    /// Ran and replied with an error.
    pub failed: Counter,
}

/// What one worker has counted and not yet added to the counters that all share: an addition there costs more than a short command's
/// own work.
#[derive(Debug, Default)]
pub struct Tally {
    /// Command that `calls` and `nanos` are of.
    number: usize,
    calls: u64,
    nanos: u64,
    pub hits: u64,
    pub misses: u64,
    pub dirty: u64,
}

impl Tally {
    /// Counts a run of a command.
    #[inline]
    pub fn command(&mut self, stats: &Stats, number: usize, took: Duration) {
        if number != self.number {
            self.add_commands(stats);
            self.number = number;
        }
        self.calls += 1;
        self.nanos += took.as_nanos() as u64;
    }

    /// Adds all to the shared counters.
    #[inline]
    pub fn add_to(&mut self, stats: &Stats) {
        self.add_commands(stats);
        for (own, shared) in [
            (&mut self.hits, &stats.keyspace_hits),
            (&mut self.misses, &stats.keyspace_misses),
            (&mut self.dirty, &stats.dirty),
        ] {
            if *own != 0 {
                shared.add(std::mem::take(own));
            }
        }
    }

    fn add_commands(&mut self, stats: &Stats) {
        if self.calls != 0 {
            let calls = std::mem::take(&mut self.calls);
            stats.commands_processed.add(calls);
            stats.commands[self.number].calls.add(calls);
            stats.commands[self.number].nanos.add(std::mem::take(&mut self.nanos));
        }
    }
}

#[derive(Debug, Default)]
pub struct Stats {
    /// By command number.
    pub commands: Vec<CommandStats>,
    pub connections_received: Counter,
    pub connections_rejected: Counter,
    pub commands_processed: Counter,
    pub net_input_bytes: Counter,
    pub net_output_bytes: Counter,
    /// Bytes of replies that wait to be sent, of connections with more than a few.
    pub held_reply_bytes: Counter,
    /// What all clients take, as `maxmemory-clients` counts it; those told to end for it not among them.
    pub client_memory_bytes: Counter,
    /// What those take who were told to end for `maxmemory-clients` and have not yet.
    pub dying_client_bytes: Counter,
    pub evicted_clients: Counter,
    /// How often a request that could not run yet was tried again.
    pub parked_retries: Counter,
    pub keyspace_hits: Counter,
    pub keyspace_misses: Counter,
    pub expired_keys: Counter,
    pub expired_fields: Counter,
    /// Of the keys with an expiry time, how many were due when expiry looked: a running average, in parts of ten thousand.
    pub expired_stale: Counter,
    /// Cycles of expiry that had to leave something.
    pub expire_cycles_cut: Counter,
    pub evicted_keys: Counter,
    pub error_replies: Counter,
    pub blocked_clients: Counter,
    pub unblocked_clients: Counter,
    pub query_buffer_limit_disconnections: Counter,
    pub output_buffer_limit_disconnections: Counter,
    pub transactions: Counter,
    /// AUTH and HELLO with a password that does not fit.
    pub refused_logins: Counter,
    /// Write commands since the last snapshot (`rdb_changes_since_last_save`).
    pub dirty: Counter,
    pub used_memory_peak: Counter,
    /// What was in use before anything was loaded.
    pub used_memory_startup: Counter,
    /// Commands, bytes in and bytes out a second, of late.
    pub rates: parking_lot::Mutex<Rates>,
    /// Error replies by their code (`ERR`, `WRONGTYPE`, ...), at most a hundred kinds.
    pub errors_by_code: parking_lot::Mutex<std::collections::BTreeMap<String, u64>>,
}

const ERROR_CODES_MAX: usize = 128;

/// Samples over which a rate is taken.
const RATE_SAMPLES: usize = 16;

/// Rates of three counters over the last samples.
#[derive(Debug, Default)]
pub struct Rates {
    /// When, and the counters then; oldest first.
    samples: std::collections::VecDeque<(Duration, [u64; 3])>,
}

impl Rates {
    fn sample(&mut self, now: Duration, totals: [u64; 3]) {
        self.samples.push_back((now, totals));
        if self.samples.len() > RATE_SAMPLES {
            self.samples.pop_front();
        }
    }

    /// Per second: commands, input bytes, output bytes.
    pub fn per_second(&self) -> [f64; 3] {
        let (Some((start, first)), Some((end, last))) = (self.samples.front(), self.samples.back()) else {
            return [0.0; 3];
        };
        let seconds = end.saturating_sub(*start).as_secs_f64();
        // After CONFIG RESETSTAT the counters are below the samples.
        let rate = |i: usize| last[i].saturating_sub(first[i]) as f64 / seconds;
        if seconds > 0.0 { std::array::from_fn(rate) } else { [0.0; 3] }
    }
}

impl Stats {
    pub fn new(commands: usize) -> Self {
        Self {
            commands: std::iter::repeat_with(CommandStats::default).take(commands).collect(),
            ..Self::default()
        }
    }

    /// Counts an error reply by the first word of its text.
    pub fn count_error(&self, text: &str) {
        self.error_replies.add(1);
        let code = text.split(' ').next().unwrap_or("ERR");
        let mut codes = self.errors_by_code.lock();
        if let Some(count) = codes.get_mut(code) {
            *count += 1;
        } else if codes.len() < ERROR_CODES_MAX {
            codes.insert(code.to_owned(), 1);
        }
    }

    /// Expiry found so many of ten thousand keys due.
    pub fn note_stale(&self, share: u64) {
        self.expired_stale.set((self.expired_stale.get() * 19 + share).div_ceil(20).min(10_000));
        if share == 0 && self.expired_stale.get() < 20 {
            self.expired_stale.set(0);
        }
    }

    /// To be called about ten times a second: what INFO's `instantaneous_` fields are made of.
    pub fn sample(&self, now: Duration) {
        let totals = [&self.commands_processed, &self.net_input_bytes, &self.net_output_bytes];
        self.rates.lock().sample(now, totals.map(Counter::get));
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        for command in &self.commands {
            for counter in [&command.calls, &command.nanos, &command.rejected, &command.failed] {
                counter.set(0);
            }
        }
        let resettable = [
            &self.connections_received,
            &self.connections_rejected,
            &self.commands_processed,
            &self.net_input_bytes,
            &self.net_output_bytes,
            &self.keyspace_hits,
            &self.keyspace_misses,
            &self.expired_keys,
            &self.expired_fields,
            &self.expire_cycles_cut,
            &self.evicted_keys,
            &self.error_replies,
            &self.evicted_clients,
            &self.query_buffer_limit_disconnections,
            &self.output_buffer_limit_disconnections,
            &self.refused_logins,
        ];
        resettable.iter().for_each(|counter| counter.set(0));
        self.errors_by_code.lock().clear();
        self.rates.lock().samples.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_samples() {
        let stats = Stats::new(0);
        assert_eq!(stats.rates.lock().per_second(), [0.0; 3]);
        for second in 0..40 {
            stats.sample(Duration::from_secs(second));
            stats.commands_processed.add(if second < 20 { 1 } else { 50 });
            stats.net_input_bytes.add(1000);
        }
        assert_eq!(stats.rates.lock().per_second(), [50.0, 1000.0, 0.0]);
        stats.reset();
        assert_eq!(stats.rates.lock().per_second(), [0.0; 3]);
    }
}
