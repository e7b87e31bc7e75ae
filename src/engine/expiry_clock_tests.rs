//! Expiry, restarts and clocks that are wrong: ahead, behind, or never set.

use std::sync::Arc;

use super::*;
use crate::clock::{Clock, SimClock};
use crate::disk::SimDisk;
use crate::engine::rig::{Rig, client_without_socket};
use crate::log::LogOptions;

const DAY_MS: u64 = 86_400_000;

/// A store that is started again and again on one disk, and what looks at its clock.
struct Bench {
    rig: Rig,
    disk: SimDisk,
    expiry: Expiry,
}

impl Bench {
    fn new() -> Self {
        Self::on(SimDisk::new(1), Arc::new(SimClock::at_ms(1_700_000_000_000)))
    }

    fn on(disk: SimDisk, clock: Arc<SimClock>) -> Self {
        let options = LogOptions { threads: false, segment_bytes: 1 << 20, ..LogOptions::default() };
        let rig = Rig::open(Arc::new(disk.clone()), clock, options).expect("a healthy disk");
        let expiry = Expiry::new(Session::new(client_without_socket(0, 0), true));
        let bench = Self { rig, disk, expiry };
        bench.write();
        bench
    }

    /// A store of a day's session and a key that stays.
    fn with_session() -> Self {
        let mut bench = Self::new();
        bench.ok("SET session v EX 86400");
        bench.ok("SET key v");
        bench.write();
        bench
    }

    /// Killed and started, while the wall clock is stepped.
    fn restarted(self, step_ms: i64) -> Self {
        let (disk, clock) = (self.disk.kill(), self.rig.clock.clone());
        drop(self);
        step(&clock, step_ms);
        Self::on(disk, clock)
    }

    /// All that was appended gets into frames, at the clock's time.
    fn write(&self) {
        self.rig.server.store.get().expect("the rig opened it").log.flush_tick(true);
        self.rig.settle();
    }

    fn ok(&mut self, line: &str) {
        assert_eq!(self.rig.run(line), "+OK\r\n", "{line}");
    }

    fn get(&mut self, key: &str) -> String {
        self.rig.run(&format!("GET {key}"))
    }

    fn step(&self, ms: i64) {
        step(&self.rig.clock, ms);
    }

    fn cycle(&mut self) {
        while self.expiry.cycle(&self.rig.server) {}
    }

    fn is_suspended(&self) -> bool {
        self.rig.server.time.expiry_is_suspended()
    }

    /// A lock lasts as long as it is to.
    fn assert_lifetimes_pass(&mut self) {
        self.ok("SET lock me NX PX 500");
        self.rig.advance_ms(499);
        assert_eq!(self.get("lock"), "$2\r\nme\r\n");
        self.rig.advance_ms(1);
        assert_eq!(self.get("lock"), "$-1\r\n");
    }
}

fn step(clock: &SimClock, ms: i64) {
    clock.step_wall_to_ms(clock.wall_ms().saturating_add_signed(ms));
}

const VALUE: &str = "$1\r\nv\r\n";
const NONE: &str = "$-1\r\n";

#[test]
fn a_clock_that_was_mended_while_the_server_was_down_costs_no_session_and_stops_no_lifetime() {
    let mut bench = Bench::with_session();
    bench.step(10 * DAY_MS as i64);
    bench.cycle();
    bench.ok("SET x 1");
    bench.write();
    let mut bench = bench.restarted(-10 * DAY_MS as i64);
    assert!(bench.is_suspended());
    assert_eq!(bench.get("session"), VALUE);
    bench.assert_lifetimes_pass();
    bench.cycle();
    assert_eq!((bench.get("session").as_str(), bench.rig.expired_keys()), (VALUE, 0));
    // A jump's time later it is believed.
    bench.rig.advance_ms(600_000);
    bench.cycle();
    assert!(!bench.is_suspended());
    assert_eq!((bench.get("session").as_str(), bench.rig.expired_keys()), (VALUE, 1), "the lock went");
    bench.rig.advance_ms(DAY_MS);
    assert_eq!(bench.get("session"), NONE);
}

/// Frames behind the mending say that those before it were wrong: nothing is left to be in doubt about.
#[test]
fn a_clock_that_was_mended_before_the_last_write_is_in_no_doubt() {
    let mut bench = Bench::with_session();
    bench.step(10 * DAY_MS as i64);
    bench.cycle();
    bench.ok("SET x 1");
    bench.write();
    bench.step(-10 * DAY_MS as i64);
    bench.ok("SET x 2");
    bench.write();
    let mut bench = bench.restarted(0);
    assert!(!bench.is_suspended());
    assert_eq!(bench.get("session"), VALUE);
    bench.assert_lifetimes_pass();
    assert_eq!(bench.get("session"), VALUE);
}

/// What is due by the clock that came back is hidden at first, in case it is this one that is wrong.
#[test]
fn what_is_due_at_a_start_in_doubt_is_not_removed() {
    let mut bench = Bench::with_session();
    bench.step(10 * DAY_MS as i64);
    bench.cycle();
    bench.ok("SET x 1");
    bench.write();
    let mut bench = bench.restarted(-8 * DAY_MS as i64);
    bench.cycle();
    assert_eq!((bench.get("session").as_str(), bench.rig.expired_keys()), (NONE, 0));
    bench.step(-2 * DAY_MS as i64);
    bench.cycle();
    assert_eq!(bench.get("session"), VALUE);
}

#[test]
fn a_clock_that_is_a_little_behind_brings_nothing_back_and_stops_no_lifetime() {
    let mut bench = Bench::with_session();
    bench.ok("SET short v PX 10000");
    bench.rig.advance_ms(20_000);
    bench.ok("SET x 1");
    bench.write();
    let mut bench = bench.restarted(-30_000);
    assert!(!bench.is_suspended());
    assert_eq!(bench.get("short"), NONE);
    bench.assert_lifetimes_pass();
    // When it is mended, time was there already.
    bench.step(30_000);
    bench.cycle();
    assert!(!bench.is_suspended());
    bench.assert_lifetimes_pass();
}

/// A machine without a battery, before it has heard a time server.
#[test]
fn a_clock_that_was_never_set_is_not_believed() {
    let bench = Bench::with_session();
    let now_ms = bench.rig.clock.wall_ms();
    let mut bench = bench.restarted(-(now_ms as i64));
    assert_eq!(bench.get("session"), VALUE);
    bench.ok("SET hour v EX 3600");
    bench.assert_lifetimes_pass();
    bench.cycle();
    assert!(!bench.is_suspended());
    // What was written meanwhile doesn't count for the time it says.
    bench.write();
    let mut bench = bench.restarted(0);
    bench.assert_lifetimes_pass();
    bench.step(now_ms as i64 + 1_000_000);
    bench.cycle();
    assert!(bench.is_suspended());
    assert_eq!((bench.get("session"), bench.get("hour")), (VALUE.to_owned(), VALUE.to_owned()));
}

#[test]
fn a_jump_before_the_first_cycle_removes_nothing() {
    let mut bench = Bench::with_session().restarted(0);
    bench.step(10 * DAY_MS as i64);
    assert_eq!(bench.get("session"), NONE);
    bench.cycle();
    assert!(bench.is_suspended());
    assert_eq!(bench.rig.expired_keys(), 0);
    bench.step(-10 * DAY_MS as i64);
    assert_eq!(bench.get("session"), VALUE);
}

/// It was wrong when the server started, and the log already said so.
#[test]
fn a_clock_that_is_mended_behind_the_start_is_believed() {
    let mut bench = Bench::with_session();
    bench.step(10 * DAY_MS as i64);
    bench.cycle();
    bench.ok("SET x 1");
    bench.write();
    let mut bench = bench.restarted(0);
    assert_eq!(bench.get("key"), VALUE);
    bench.step(-10 * DAY_MS as i64);
    let soon_ms = bench.rig.clock.wall_ms() + 60_000;
    for when in ["before", "after"] {
        bench.ok(&format!("SET soon:{when} v PXAT {soon_ms}"));
        assert_eq!(bench.get(&format!("soon:{when}")), VALUE, "{when} the next cycle");
        bench.assert_lifetimes_pass();
        bench.cycle();
        assert!(bench.is_suspended());
    }
    assert_eq!(bench.get("session"), VALUE);
}
