//! Windows of time and clocks that jump.

use super::*;
use crate::clock::SimClock;
use crate::disk::SimDisk;
use crate::engine::rig::Rig;
use crate::log::LogOptions;

const DAY_MS: u64 = 86_400_000;

fn start(disk: &SimDisk, clock: &Arc<SimClock>) -> Rig {
    let options = LogOptions { threads: false, segment_bytes: 1 << 20, ..LogOptions::default() };
    let rig = Rig::open(Arc::new(disk.clone()), clock.clone(), options).unwrap();
    rig.server.config.set_many(&[("log-retain", "7d")], true).unwrap();
    rig
}

fn store(rig: &Rig) -> &Store {
    rig.server.store.get().unwrap()
}

/// A change, and a whole compaction behind it.
fn save(rig: &mut Rig, key: &str) {
    assert_eq!(rig.run(&format!("SET {key} v")), "+OK\r\n");
    let log = &store(rig).log;
    let lsn = log.seal();
    while log.step() {}
    assert_eq!(log.sealed_through(), lsn);
    let mut schedule = Schedule::new(&rig.server, store(rig));
    rig.server.snapshots.request(rig.server.now_ms(), true, false);
    assert!(schedule.run(&rig.server, store(rig)));
    rig.advance_ms(3_600_000);
    rig.expire();
}

fn step(clock: &SimClock, ms: i64) {
    clock.step_wall_to_ms(clock.wall_ms().saturating_add_signed(ms));
}

/// Where the log begins when it was looked at.
fn trimmed(rig: &Rig) -> Lsn {
    Trimmer::new(&rig.server.config).look(&rig.server, store(rig));
    store(rig).log.first_lsn()
}

#[test]
fn a_clock_that_jumps_ahead_gives_up_nothing_of_a_window_until_it_proved_to_mean_it() {
    let (disk, clock) = (SimDisk::new(1), Arc::new(SimClock::at_ms(1_700_000_000_000)));
    let mut rig = start(&disk, &clock);
    ["a", "b", "c"].into_iter().for_each(|key| save(&mut rig, key));
    assert_eq!(trimmed(&rig), 0);
    step(&clock, 10 * DAY_MS as i64);
    assert_eq!(trimmed(&rig), 0, "before anybody noticed");
    rig.expire();
    assert_eq!(trimmed(&rig), 0);
    let listed = compact::catalogs(&store(&rig).log).unwrap().retained.len();
    // Behind the jump, by a compaction.
    rig.run("SET d v");
    let log = &store(&rig).log;
    let lsn = log.seal();
    while log.step() {}
    let mut schedule = Schedule::new(&rig.server, store(&rig));
    rig.server.snapshots.request(rig.server.now_ms(), true, false);
    assert!(schedule.run(&rig.server, store(&rig)));
    let catalogs = compact::catalogs(&store(&rig).log).unwrap();
    assert_eq!(catalogs.current.through, lsn);
    assert!(catalogs.retained.len() >= listed);
    assert_eq!(store(&rig).log.first_lsn(), 0);
    step(&clock, -10 * DAY_MS as i64);
    rig.expire();
    assert_eq!(trimmed(&rig), 0);
    clock.advance(Duration::from_millis(8 * DAY_MS));
    rig.expire();
    assert!(trimmed(&rig) > 0, "the window moves on");
}

#[test]
fn a_jump_that_stays_is_believed_in_the_end() {
    let (disk, clock) = (SimDisk::new(1), Arc::new(SimClock::at_ms(1_700_000_000_000)));
    let mut rig = start(&disk, &clock);
    ["a", "b", "c"].into_iter().for_each(|key| save(&mut rig, key));
    step(&clock, 10 * DAY_MS as i64);
    rig.expire();
    clock.advance(Duration::from_secs(599));
    rig.expire();
    assert_eq!(trimmed(&rig), 0);
    clock.advance(Duration::from_secs(1));
    rig.expire();
    assert!(trimmed(&rig) > 0);
}

/// Whether the server was down for so long, or the clock is wrong, nobody can tell.
#[test]
fn a_start_long_after_the_last_write_gives_up_nothing_at_once() {
    let (disk, clock) = (SimDisk::new(1), Arc::new(SimClock::at_ms(1_700_000_000_000)));
    let mut rig = start(&disk, &clock);
    ["a", "b", "c"].into_iter().for_each(|key| save(&mut rig, key));
    drop(rig);
    step(&clock, 10 * DAY_MS as i64);
    let rig = start(&disk.kill(), &clock);
    assert_eq!(trimmed(&rig), 0);
    clock.advance(Duration::from_secs(600));
    assert!(trimmed(&rig) > 0);
}
