//! What an entry remembers of its accesses, in 24 bits, for the choice of what to evict: when the last was, or about how many there
//! were of late. Which of the two is the policy's to say; after a change of policy the old bits are read in the new way until the
//! next access, as in Redis.
//!
//! ```text
//! recency    24 bits of seconds: Unix time, cut
//! frequency  16 bits of minutes, cut | 8 bits of counter
//! 0          not known: not accessed since it was loaded
//! ```
//!
//! The counter grows by one with the chance 1 / ((counter - 5) x `lfu-log-factor` + 1), begins at 5, and falls by one for every
//! `lfu-decay-time` minutes without an access.
//!
//! This is no state: it is not logged, and nothing of it is kept over a restart.

/// Seconds are cut to 24 bits.
pub const RECENCY_MAX: u32 = (1 << 24) - 1;
/// A last access that seems to lie ahead by up to this many seconds was made before the clock was set back.
const SET_BACK_S: u32 = 86_400;
/// Counter of a key that was never accessed: not the first to go before it had a chance.
pub const FIRST_COUNT: u8 = 5;

/// How accesses are noted, at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub enum Accesses {
    /// Not at all: replay.
    #[default]
    Off,
    Recency(Recency),
    Frequency(Frequency),
}

#[derive(Debug, Clone, Copy)]
pub struct Recency {
    /// Whether keys that exist are touched by what is done to them.
    pub touches: bool,
    /// Unix time.
    pub now_s: u64,
}

#[derive(Debug, Clone, Copy)]
pub struct Frequency {
    pub touches: bool,
    /// Unix time.
    pub now_minutes: u64,
    pub log_factor: u32,
    /// 0: counters never fall.
    pub decay_minutes: u32,
    /// Chance: differs from command to command.
    pub seed: u64,
}

impl Accesses {
    /// For a key that is made now.
    #[inline]
    pub fn first(&self) -> u32 {
        match self {
            Self::Off => 0,
            Self::Recency(recency) => recency.stamp(),
            Self::Frequency(frequency) => frequency.stamp(FIRST_COUNT),
        }
    }

    /// What an entry that remembers `access` is to remember after one more.
    #[inline]
    pub fn next(&mut self, access: u32) -> u32 {
        match self {
            Self::Recency(recency) if recency.touches => recency.stamp(),
            Self::Frequency(frequency) if frequency.touches => frequency.next(access),
            _ => access,
        }
    }

    /// How little an entry is worth: the one with more is evicted first. `up_s`: how long the server runs, for those not accessed since.
    /// Under LRU this follows from the time of the last access alone, so that what was looked at earlier compares with what is looked
    /// at now.
    pub fn worthlessness(&self, access: u32, up_s: u64) -> u64 {
        match self {
            Self::Off => 0,
            Self::Recency(recency) => {
                let idle_s = recency.idle_s(access, up_s);
                u64::MAX - recency.now_s.saturating_sub(idle_s.into())
            }
            // Of those with one count, the one that was accessed earlier.
            Self::Frequency(frequency) => {
                let rare = u64::from(u8::MAX - frequency.count(access, up_s));
                rare << 16 | u64::from(frequency.since_minutes(access, up_s))
            }
        }
    }
}

impl Recency {
    fn stamp(&self) -> u32 {
        Self::stamp_at(self.now_s)
    }

    /// Of a last access at a Unix time.
    pub fn stamp_at(at_s: u64) -> u32 {
        // 0 is taken.
        (at_s as u32 & RECENCY_MAX).max(1)
    }

    /// Seconds since the last access.
    pub fn idle_s(&self, access: u32, up_s: u64) -> u32 {
        if access == 0 {
            return u32::try_from(up_s).map_or(RECENCY_MAX, |up_s| up_s.min(RECENCY_MAX));
        }
        let idle_s = (self.now_s as u32).wrapping_sub(access) & RECENCY_MAX;
        if idle_s > RECENCY_MAX - SET_BACK_S { 0 } else { idle_s }
    }
}

impl Frequency {
    /// Of a counter, as of now.
    pub fn stamp(&self, count: u8) -> u32 {
        let access = (self.now_minutes as u32 & 0xffff) << 8 | u32::from(count);
        access.max(1)
    }

    /// Minutes since the last access.
    fn since_minutes(&self, access: u32, up_s: u64) -> u32 {
        if access == 0 {
            return u32::try_from(up_s / 60).map_or(0xffff, |minutes| minutes.min(0xffff));
        }
        let since = (self.now_minutes as u32).wrapping_sub(access >> 8) & 0xffff;
        if since > 0xffff - SET_BACK_S / 60 { 0 } else { since }
    }

    /// The counter as it stands now.
    pub fn count(&self, access: u32, up_s: u64) -> u8 {
        let count = if access == 0 { FIRST_COUNT } else { access as u8 };
        let lost = self.since_minutes(access, up_s).checked_div(self.decay_minutes).unwrap_or(0);
        count.saturating_sub(lost.min(255) as u8)
    }

    fn next(&mut self, access: u32) -> u32 {
        let count = self.count(access, 0);
        let over = u64::from(count.saturating_sub(FIRST_COUNT));
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let drawn = mix(self.seed);
        // One in so many accesses counts.
        let of = over * u64::from(self.log_factor) + 1;
        let counts = (u128::from(drawn) * u128::from(of)) >> 64 == 0;
        self.stamp(count.saturating_add(u8::from(counts)))
    }
}

/// A number as good as random from any other (the output step of SplitMix64).
const fn mix(seed: u64) -> u64 {
    let mut mixed = seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recency(now_s: u64) -> Recency {
        Recency { touches: true, now_s }
    }

    fn frequency(now_minutes: u64) -> Frequency {
        Frequency { touches: true, now_minutes, log_factor: 10, decay_minutes: 1, seed: 1 }
    }

    #[test]
    fn idle_time_survives_the_cut_of_the_clock_and_a_clock_set_back() {
        let now_s = 1_700_000_000;
        let access = Accesses::Recency(recency(now_s)).first();
        for idle_s in [0, 1, 86_399, 10_000_000, 16_000_000] {
            assert_eq!(recency(now_s + idle_s).idle_s(access, 5), idle_s as u32);
        }
        assert_eq!(recency(now_s - 3600).idle_s(access, 5), 0);
        assert_eq!(recency(now_s).idle_s(0, 77), 77);
    }

    /// redis-server 7.0.15, `lfu-log-factor` 0, 1, 10, 100: 255, 61, 21, 13 after 1000 accesses, 255, 206, 64, 30 after 10,000.
    #[test]
    fn counters_grow_as_redis_ones_do() {
        for (log_factor, accesses, low, high) in [
            (0, 1000, 255, 255),
            (1, 1000, 40, 60),
            (10, 1000, 14, 25),
            (100, 1000, 7, 14),
            (1, 10_000, 120, 210),
            (10, 10_000, 42, 66),
            (100, 10_000, 14, 30),
        ] {
            let mut frequency = Frequency { log_factor, ..frequency(1000) };
            let mut access = frequency.stamp(FIRST_COUNT);
            (0..accesses).for_each(|_| access = frequency.next(access));
            let count = frequency.count(access, 0);
            assert!((low..=high).contains(&count), "factor {log_factor}, {accesses}: {count}");
        }
    }

    #[test]
    fn counters_fall_with_time_unless_told_not_to() {
        let access = frequency(70_000).stamp(20);
        assert_eq!(frequency(70_000).count(access, 0), 20);
        assert_eq!(frequency(70_007).count(access, 0), 13);
        assert_eq!(frequency(79_000).count(access, 0), 0);
        assert_eq!(Frequency { decay_minutes: 5, ..frequency(70_012) }.count(access, 0), 18);
        assert_eq!(Frequency { decay_minutes: 0, ..frequency(79_000) }.count(access, 0), 20);
        assert_eq!(frequency(69_990).count(access, 0), 20);
        assert_eq!(frequency(70_000).count(0, 120), 3);
    }

    #[test]
    fn a_client_that_does_not_touch_leaves_old_keys_as_they_are_and_makes_new_ones() {
        let mut quiet = Accesses::Recency(Recency { touches: false, now_s: 1000 });
        assert_eq!((quiet.next(7), quiet.first()), (7, 1000));
        let mut quiet = Accesses::Frequency(Frequency { touches: false, ..frequency(1) });
        assert_eq!((quiet.next(7), quiet.first()), (7, 1 << 8 | 5));
        assert_eq!((Accesses::Off.next(7), Accesses::Off.first()), (7, 0));
    }

    #[test]
    fn the_rarer_goes_first_and_of_equals_the_older() {
        let worthlessness =
            |access, minutes| Accesses::Frequency(frequency(minutes)).worthlessness(access, 0);
        let slow = |minutes: u64| Frequency { decay_minutes: 100, ..frequency(minutes) };
        assert!(
            worthlessness(frequency(1000).stamp(5), 1000) > worthlessness(frequency(1000).stamp(6), 1000)
        );
        let older = Accesses::Frequency(slow(1010)).worthlessness(frequency(1000).stamp(5), 0);
        assert!(older > Accesses::Frequency(slow(1010)).worthlessness(frequency(1009).stamp(5), 0));
    }
}
