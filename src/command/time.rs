//! What time it is for expiry, and how far the wall clock is believed.
//!
//! Time doesn't go back behind the log: it goes on from the largest time there, as fast as the monotonic clock, until the wall clock
//! is ahead. So a clock that is a little behind after a restart brings nothing back, and no lifetime stands still. A wall clock that is
//! far behind was mended ([`clock::is_set_back`]): then what the log says is of the clock that ran ahead, and the wall clock is right.
//!
//! A wall clock that jumps ahead must not delete every session: until it is mended, or has proved to mean it, what is due looks absent
//! but is not removed. The same after a step back, while nobody knows which of the two times was right.

use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::Duration;

use crate::clock::{self, Clock, JUMP_US};
use crate::mutation::{Safeguard, is_off};

/// How long a step of the clock keeps expiry from being logged: time for an operator to mend the clock.
const SUSPENSION: Duration = Duration::from_secs(600);

/// Of a server.
#[derive(Debug)]
pub struct Time {
    /// From where time goes on, whatever the wall clock says, less monotonic time: in microseconds.
    least_us: AtomicI64,
    /// How far the time was ahead of the monotonic clock when somebody last looked.
    lead_us: AtomicI64,
    /// The clock was set: what is due is hidden, not removed.
    expiry_suspended: AtomicBool,
    /// Until when, in microseconds of the monotonic clock.
    suspended_until_us: AtomicU64,
    /// Before that, monotonic too, nothing speaks for the wall clock but itself.
    unproven_until_us: AtomicU64,
}

impl Time {
    pub fn new(clock: &dyn Clock) -> Self {
        let time = Self {
            least_us: AtomicI64::new(i64::MIN),
            lead_us: AtomicI64::new(0),
            expiry_suspended: AtomicBool::new(false),
            suspended_until_us: AtomicU64::new(0),
            unproven_until_us: AtomicU64::new(0),
        };
        time.note(clock);
        time
    }

    /// Unix milliseconds, when the wall clock says `wall_ms` and the monotonic one `monotonic`.
    #[inline]
    pub fn at(&self, wall_ms: u64, monotonic: Duration) -> u64 {
        clock::go_on(self.least_us(monotonic), wall_ms.saturating_mul(1000)) / 1000
    }

    #[inline]
    fn least_us(&self, monotonic: Duration) -> u64 {
        self.least_us.load(Relaxed).saturating_add(monotonic.as_micros() as i64).max(0) as u64
    }

    fn go_on_from(&self, time_us: u64, monotonic: Duration) {
        self.least_us.store(less(time_us, monotonic), Relaxed);
    }

    fn lead_us(&self, clock: &dyn Clock) -> i64 {
        let monotonic = clock.monotonic();
        less(clock::go_on(self.least_us(monotonic), clock.wall_us()), monotonic)
    }

    /// From here on the clock as it stands is taken for right.
    fn note(&self, clock: &dyn Clock) {
        // Behind what was made of it: whoever finds that the clock did not jump finds expiry suspended.
        self.lead_us.store(self.lead_us(clock), Release);
    }

    /// The time has run ahead of the monotonic clock since somebody last looked: the wall clock was set.
    pub fn has_jumped(&self, clock: &dyn Clock) -> bool {
        let limit_us = self.lead_us.load(Acquire).saturating_add(JUMP_US as i64);
        !is_off(Safeguard::ClockJump) && self.lead_us(clock) > limit_us
    }

    pub fn expiry_is_suspended(&self) -> bool {
        self.expiry_suspended.load(Relaxed)
    }

    fn suspend_expiry(&self, monotonic: Duration) {
        let until_us = (monotonic + SUSPENSION).as_micros() as u64;
        self.suspended_until_us.store(until_us, Relaxed);
        self.unproven_until_us.store(until_us, Relaxed);
        self.expiry_suspended.store(true, Relaxed);
    }

    /// A start has read the log, in which `log_us` is the last time; 0 in a new one.
    pub fn begin(&self, clock: &dyn Clock, log_us: u64) {
        let monotonic = clock.monotonic();
        if self.has_jumped(clock) {
            self.warn_of_jump();
            self.suspend_expiry(monotonic);
        }
        let wall_us = clock.wall_us();
        let (log_s, clock_s) = (log_us / 1_000_000, wall_us / 1_000_000);
        if clock::is_set_back(log_us, wall_us) {
            tracing::warn!(
                "the log was written up to {log_s} (Unix time), and the clock says {clock_s}, {} s before that: the clock is believed, \
                 and expired keys are hidden but not removed for {} s; check the system's clock",
                log_s - clock_s,
                SUSPENSION.as_secs()
            );
            self.suspend_expiry(monotonic);
        } else if log_us > wall_us.saturating_add(JUMP_US) {
            tracing::warn!(
                "the log was written up to {log_s} (Unix time), and the clock says {clock_s}: it was never set, so time goes on from the \
                 end of the log; set the system's clock"
            );
        } else if log_us > 0 && wall_us > log_us.saturating_add(JUMP_US) {
            // How long the server was down, only the clock knows.
            self.unproven_until_us.fetch_max((monotonic + SUSPENSION).as_micros() as u64, Relaxed);
        }
        let from_us = if clock::is_set_back(log_us, wall_us) { wall_us } else { log_us };
        self.go_on_from(from_us, monotonic);
        self.note(clock);
    }

    /// Looks whether the clock was set, or has proved to mean it. To be called several times a second.
    pub fn watch(&self, clock: &dyn Clock) {
        let monotonic = clock.monotonic();
        if self.has_jumped(clock) {
            self.warn_of_jump();
            self.suspend_expiry(monotonic);
        }
        let wall_us = clock.wall_us();
        if clock::is_set_back(self.least_us(monotonic), wall_us) {
            tracing::warn!(
                "the clock was set back: it is believed as it is now, and expired keys are hidden but not removed for {} s; check the \
                 system's clock",
                SUSPENSION.as_secs()
            );
            self.suspend_expiry(monotonic);
            self.go_on_from(wall_us, monotonic);
        }
        let is_over = monotonic.as_micros() as u64 >= self.suspended_until_us.load(Relaxed);
        if self.expiry_is_suspended() && is_over {
            tracing::warn!("the clock kept its new time: expired keys are removed again");
            self.expiry_suspended.store(false, Relaxed);
        }
        self.note(clock);
    }

    fn warn_of_jump(&self) {
        tracing::warn!(
            "the clock jumped ahead: expired keys are hidden but not removed for {} s; check the system's clock",
            SUSPENSION.as_secs()
        );
    }

    /// What the wall clock says, in Unix microseconds, for what is given up when it is old enough. `None` for ten minutes after a jump
    /// of the clock, and after a start that was not soon behind the end of the log.
    pub fn for_ages_us(&self, clock: &dyn Clock) -> Option<u64> {
        // First, so that a jump behind it changes nothing.
        let wall_us = clock.wall_us();
        let is_proven = !self.has_jumped(clock)
            && clock.monotonic().as_micros() as u64 >= self.unproven_until_us.load(Relaxed);
        is_proven.then_some(wall_us)
    }
}

/// A time in microseconds less a monotonic one.
fn less(time_us: u64, monotonic: Duration) -> i64 {
    i64::try_from(time_us).unwrap_or(i64::MAX).saturating_sub(monotonic.as_micros() as i64)
}
