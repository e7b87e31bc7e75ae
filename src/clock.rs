//! The seam to time and chance. Nothing outside this file asks the operating system what time it is, and nothing outside
//! this file and `disk` for randomness.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall clocks that differ by more than this, in microseconds, don't differ by drift: somebody set one of them.
pub const JUMP_US: u64 = 60_000_000;
/// The beginning of 2023. A clock that shows less was never set: there is no battery, and the time server was not heard yet.
const UNSET_US: u64 = 1_672_531_200_000_000;

/// Whether a clock that says `now_us` where `before_us` was its time already was mended in between: it ran ahead before. A clock
/// that was never set says nothing about that.
pub const fn is_set_back(before_us: u64, now_us: u64) -> bool {
    now_us >= UNSET_US && now_us.saturating_add(JUMP_US) < before_us
}

/// The time, in microseconds, where `before_us` was the time already and the clock says `now_us`. It doesn't go back, but for a
/// clock that was mended.
pub const fn go_on(before_us: u64, now_us: u64) -> u64 {
    if before_us <= now_us || is_set_back(before_us, now_us) { now_us } else { before_us }
}

/// A source of wall-clock and monotonic time.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since the Unix epoch. May step in either direction.
    fn wall_us(&self) -> u64;
    /// Time since an arbitrary start. Never steps back.
    fn monotonic(&self) -> Duration;

    /// Milliseconds since the Unix epoch.
    fn wall_ms(&self) -> u64 {
        self.wall_us() / 1000
    }

    /// Sixteen bytes that nobody can guess and that never come twice. The operating system's, unless a test has its own.
    fn random_id(&self) -> io::Result<[u8; 16]> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        Ok(id)
    }
}

/// The operating system's clocks.
#[derive(Debug)]
pub struct OsClock {
    start: Instant,
}

impl OsClock {
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for OsClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for OsClock {
    fn wall_us(&self) -> u64 {
        // A clock before 1970 reads as 0: expiry then relies on the largest time in the log.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still until a test moves it.
#[derive(Debug, Default)]
pub struct SimClock {
    wall_us: AtomicU64,
    monotonic_us: AtomicU64,
    /// What the next id is made of; 0: ids are the operating system's.
    ids: AtomicU64,
}

impl SimClock {
    pub fn at_ms(wall_ms: u64) -> Self {
        Self { wall_us: AtomicU64::new(wall_ms * 1000), ..Self::default() }
    }

    /// From now on ids follow from `seed`, so that the same calls make the same bytes on the disk. Ids of different seeds differ,
    /// those of seeds that are close do only as long as fewer are drawn than lie between.
    pub fn seed_ids(&self, seed: u64) {
        self.ids.store(seed.max(1), Ordering::SeqCst);
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, by: Duration) {
        self.wall_us.fetch_add(by.as_micros() as u64, Ordering::SeqCst);
        self.monotonic_us.fetch_add(by.as_micros() as u64, Ordering::SeqCst);
    }

    /// Steps the wall clock alone, as an administrator or NTP may.
    pub fn step_wall_to_ms(&self, wall_ms: u64) {
        self.wall_us.store(wall_ms * 1000, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn random_id(&self) -> io::Result<[u8; 16]> {
        let mut id = [0; 16];
        if self.ids.load(Ordering::SeqCst) == 0 {
            getrandom::fill(&mut id).map_err(io::Error::other)?;
            return Ok(id);
        }
        let count = self.ids.fetch_add(1, Ordering::SeqCst);
        // The first step is a bijection: another count is another id.
        let (low, high) = id.split_at_mut(8);
        low.copy_from_slice(&count.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        high.copy_from_slice(
            &(count.wrapping_mul(0xd1b5_4a32_d192_ed03) ^ 0x6a09_e667_f3bc_c908).to_le_bytes(),
        );
        Ok(id)
    }

    fn wall_us(&self) -> u64 {
        self.wall_us.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.monotonic_us.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_back_only_with_a_clock_that_was_mended() {
        const AT_US: u64 = 1_700_000_000_000_000;
        for (before, now, time) in [
            (AT_US, AT_US + 1, AT_US + 1),
            (AT_US, AT_US - 1, AT_US),
            (AT_US, AT_US - JUMP_US, AT_US),
            (AT_US, AT_US - JUMP_US - 1, AT_US - JUMP_US - 1),
            (AT_US, 0, AT_US),
            (AT_US, UNSET_US - 1, AT_US),
            (0, 5, 5),
            (u64::MAX, u64::MAX - 1, u64::MAX),
        ] {
            assert_eq!(go_on(before, now), time, "{before} {now}");
        }
    }
}
