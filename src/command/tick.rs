//! What time it is, asked of the operating system as seldom as the answer allows: reading clocks is a good part of what a short
//! command costs.
//!
//! Within a batch of requests the end of one is the start of the next. Within a worker's tick, wall time follows from monotonic
//! time: a step of the wall clock shows at the next tick.

use std::time::Duration;

use crate::clock::Clock;

/// One worker's reading of the clocks.
#[derive(Debug, Default)]
pub struct TickTime {
    /// Wall time less monotonic time, in microseconds.
    offset_us: Option<i128>,
    /// Monotonic, while a batch runs.
    last: Option<Duration>,
}

impl TickTime {
    /// Time may have passed unseen: ask again, for both clocks.
    pub fn begin_tick(&mut self) {
        *self = Self::default();
    }

    /// Time may have passed unseen: ask again.
    #[inline]
    pub fn begin_batch(&mut self) {
        self.last = None;
    }

    /// Monotonic time at the start of a request.
    #[inline]
    pub fn start(&mut self, clock: &dyn Clock) -> Duration {
        *self.last.get_or_insert_with(|| clock.monotonic())
    }

    /// Unix milliseconds at the start of a request.
    #[inline]
    pub fn wall_ms(&mut self, clock: &dyn Clock) -> u64 {
        let now_us = self.start(clock).as_micros() as i128;
        let offset_us = *self.offset_us.get_or_insert_with(|| i128::from(clock.wall_us()) - now_us);
        (now_us + offset_us).max(0) as u64 / 1000
    }

    /// How long the request took that began at `start`.
    #[inline]
    pub fn end(&mut self, clock: &dyn Clock) -> Duration {
        let now = clock.monotonic();
        let took = self.last.map_or(Duration::ZERO, |start| now.saturating_sub(start));
        self.last = Some(now);
        took
    }

    /// The request that began at `start` goes on: what ended since was part of it.
    #[inline]
    pub fn go_back(&mut self, start: Duration) {
        self.last = Some(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SimClock;

    #[test]
    fn requests_of_a_batch_follow_each_other() {
        let clock = SimClock::at_ms(1000);
        let mut time = TickTime::default();
        assert_eq!(time.wall_ms(&clock), 1000);
        clock.advance(Duration::from_millis(7));
        assert_eq!(time.end(&clock), Duration::from_millis(7));
        assert_eq!(time.wall_ms(&clock), 1007);
        assert_eq!(time.end(&clock), Duration::ZERO);
    }

    #[test]
    fn a_request_takes_as_long_as_its_parts() {
        let clock = SimClock::at_ms(1000);
        let mut time = TickTime::default();
        let start = time.start(&clock);
        for ms in [3, 4] {
            clock.advance(Duration::from_millis(ms));
            assert_eq!(time.end(&clock), Duration::from_millis(ms));
        }
        time.go_back(start);
        assert_eq!(time.end(&clock), Duration::from_millis(7));
    }

    #[test]
    fn a_batch_sees_the_time_and_a_tick_sees_the_wall_clock_step() {
        let clock = SimClock::at_ms(1000);
        let mut time = TickTime::default();
        time.start(&clock);
        assert_eq!(time.wall_ms(&clock), 1000);
        clock.advance(Duration::from_millis(5));
        assert_eq!(time.wall_ms(&clock), 1000);
        time.begin_batch();
        assert_eq!(time.wall_ms(&clock), 1005);
        clock.step_wall_to_ms(50);
        time.begin_batch();
        assert_eq!(time.wall_ms(&clock), 1005);
        time.begin_tick();
        assert_eq!(time.wall_ms(&clock), 50);
    }
}
