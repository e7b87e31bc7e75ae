//! The seam to time and chance. Nothing outside this file asks the operating system what time it is, and nothing outside
//! this file and `disk` for randomness.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
}

impl SimClock {
    pub fn at_ms(wall_ms: u64) -> Self {
        Self { wall_us: AtomicU64::new(wall_ms * 1000), monotonic_us: AtomicU64::new(0) }
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
    fn wall_us(&self) -> u64 {
        self.wall_us.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.monotonic_us.load(Ordering::SeqCst))
    }
}
