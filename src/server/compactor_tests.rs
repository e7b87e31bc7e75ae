//! What the compactor does and when, on a simulated disk and clock. Its thread is not started: each test is the thread.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::*;
use crate::clock::SimClock;
use crate::config::Config;
use crate::disk::Disk;
use crate::disk::sim::{Fault, FaultRule, OpKind, SimDisk};
use crate::engine::rig::Rig;
use crate::log::LogOptions;
use crate::snapshot::retained::{Keep, Window};

fn rig(disk: &SimDisk) -> Rig {
    let clock = Arc::new(SimClock::at_ms(1_700_000_001_000));
    let options = LogOptions { threads: false, segment_bytes: 1 << 20, ..LogOptions::default() };
    Rig::open(Arc::new(disk.clone()), clock, options).unwrap()
}

fn store(rig: &Rig) -> &Store {
    rig.server.store.get().unwrap()
}

fn configure(rig: &Rig, pairs: &[(&str, &str)]) {
    rig.server.config.set_many(pairs, true).unwrap();
}

/// Everything so far is in sealed segments.
fn seal_all(rig: &Rig) {
    let log = &store(rig).log;
    let lsn = log.seal();
    while log.step() {}
    assert_eq!(log.sealed_through(), lsn);
}

fn last_save(rig: &mut Rig) -> String {
    rig.run("LASTSAVE")
}

#[test]
fn a_save_point_needs_its_changes_and_its_seconds() {
    let disk = SimDisk::new(1);
    let mut rig = rig(&disk);
    let mut schedule = Schedule::new(&rig.server, store(&rig));
    configure(&rig, &[("save", "10 2 1000 1"), ("auto-aof-rewrite-percentage", "0")]);
    rig.run("SET a 1");
    seal_all(&rig);
    rig.advance_ms(11_000);
    assert!(!schedule.run(&rig.server, store(&rig)), "one change of two");
    rig.run("SET b 1");
    seal_all(&rig);
    assert!(schedule.run(&rig.server, store(&rig)));
    assert_eq!(rig.server.snapshots.saves.successes.load(Relaxed), 1);
    assert_eq!(rig.server.stats.dirty.get(), 0);
    assert_eq!(last_save(&mut rig), ":1700000012\r\n");
    rig.run("MSET a 2 b 2 c 2");
    seal_all(&rig);
    rig.advance_ms(10_999);
    assert!(!schedule.run(&rig.server, store(&rig)), "since the last success, not since the start");
    rig.advance_ms(1);
    assert!(schedule.run(&rig.server, store(&rig)));
    rig.run("SET a 3");
    seal_all(&rig);
    rig.advance_ms(1_001_000);
    configure(&rig, &[("save", "")]);
    assert!(!schedule.run(&rig.server, store(&rig)), "there are no save points any more");
}

#[test]
fn a_log_that_has_grown_is_no_save_unless_everything_was_sealed() {
    let disk = SimDisk::new(1);
    let mut rig = rig(&disk);
    let mut schedule = Schedule::new(&rig.server, store(&rig));
    configure(&rig, &[("auto-aof-rewrite-min-size", "1")]);
    rig.run("SET a 1");
    seal_all(&rig);
    rig.run(&format!("SET b {}", "x".repeat(500)));
    rig.advance_ms(5000);
    assert!(schedule.run(&rig.server, store(&rig)));
    let server = rig.server.clone();
    let snapshots = &server.snapshots;
    let counts = (snapshots.rewrites.successes.load(Relaxed), snapshots.saves.successes.load(Relaxed));
    assert_eq!(counts, (1, 0));
    assert_eq!(snapshots.through.load(Relaxed), store(&rig).log.sealed_through());
    assert_eq!(snapshots.made_ms.load(Relaxed), 1_700_000_006_000);
    assert_eq!(rig.server.stats.dirty.get(), 2);
    assert_eq!(last_save(&mut rig), ":1700000001\r\n");
    // Now the log behind the snapshot is larger than it, and the whole log is.
    configure(&rig, &[("auto-aof-rewrite-percentage", "1")]);
    seal_all(&rig);
    assert!(schedule.run(&rig.server, store(&rig)));
    assert_eq!(rig.server.stats.dirty.get(), 0);
    assert_eq!(last_save(&mut rig), ":1700000006\r\n");
}

#[test]
fn after_a_restart_what_was_replayed_counts_as_changed() {
    let disk = SimDisk::new(1);
    let mut first = rig(&disk);
    first.run("SET a 1");
    first.run("SET b 1");
    seal_all(&first);
    first.advance_ms(60_000);
    let mut schedule = Schedule::new(&first.server, store(&first));
    first.server.snapshots.request(first.server.now_ms(), true, false);
    assert!(schedule.run(&first.server, store(&first)));
    drop(first);
    let disk = disk.kill();
    let mut second = rig(&disk);
    assert_eq!(second.server.loading.snapshot_keys.load(Relaxed), 2);
    Schedule::new(&second.server, store(&second));
    assert_eq!(second.server.stats.dirty.get(), 0);
    assert_eq!(last_save(&mut second), ":1700000061\r\n", "the snapshot holds everything");
    second.run("SET c 1");
    second.run("SET c 2");
    second.settle();
    let (disk, clock) = (disk.kill(), second.clock.clone());
    drop(second);
    clock.advance(Duration::from_secs(1000));
    let options = LogOptions { threads: false, segment_bytes: 1 << 20, ..LogOptions::default() };
    let mut third = Rig::open(Arc::new(disk), clock, options).unwrap();
    Schedule::new(&third.server, store(&third));
    assert_eq!(third.server.stats.dirty.get(), 2);
    assert_eq!(last_save(&mut third), ":1700001001\r\n", "of the start, as in Redis");
}

#[test]
fn a_failure_is_reported_and_tried_again_later() {
    let disk = SimDisk::new(1);
    let mut rig = rig(&disk);
    let mut schedule = Schedule::new(&rig.server, store(&rig));
    configure(&rig, &[("save", "1 1"), ("auto-aof-rewrite-percentage", "0")]);
    rig.run("SET a 1");
    seal_all(&rig);
    rig.advance_ms(2000);
    disk.inject(FaultRule::new(OpKind::Write, 1, Fault::Eio).on("snapshot/").sticky());
    assert!(schedule.run(&rig.server, store(&rig)));
    let server = rig.server.clone();
    let snapshots = &server.snapshots;
    assert_eq!(snapshots.saves.failures_in_a_row.load(Relaxed), 1);
    assert!(snapshots.last_error.lock().is_some());
    assert_eq!((rig.server.stats.dirty.get(), snapshots.saved_ms.load(Relaxed)), (1, 0));
    assert!(rig.run("INFO persistence").contains("rdb_last_bgsave_status:err\r\n"));
    rig.advance_ms(4999);
    assert!(!schedule.run(&rig.server, store(&rig)));
    rig.advance_ms(1);
    assert!(schedule.run(&rig.server, store(&rig)), "five seconds later, as Redis");
    rig.advance_ms(5000);
    assert!(!schedule.run(&rig.server, store(&rig)), "and then after ten");
    disk.heal();
    snapshots.request(rig.server.now_ms(), true, false);
    assert!(schedule.run(&rig.server, store(&rig)), "who asks does not wait for that");
    assert!(rig.run("INFO persistence").contains("rdb_last_bgsave_status:ok\r\n"));
    assert_eq!(*snapshots.last_error.lock(), None);
}

#[test]
fn the_end_of_the_server_ends_a_round_and_leaves_no_file() {
    let disk = SimDisk::new(1);
    let mut rig = rig(&disk);
    let mut schedule = Schedule::new(&rig.server, store(&rig));
    for n in 0..200 {
        rig.run(&format!("SET k{n} v"));
    }
    seal_all(&rig);
    let server = rig.server.clone();
    let snapshots = &server.snapshots;
    let mut waiter = snapshots.request_and_wait(rig.server.now_ms());
    rig.server.shutting_down.store(true, Relaxed);
    assert!(schedule.run(&rig.server, store(&rig)));
    assert!(waiter.try_recv().unwrap().unwrap_err().contains("the server ends"));
    assert_eq!(snapshots.through.load(Relaxed), 0);
    // The same in the middle of the files.
    let from = snapshots.through.load(Relaxed);
    rig.server.shutting_down.store(false, Relaxed);
    let options = Options {
        seed: Seed(store(&rig).keyspace.seed()),
        level: 1,
        budget_bytes: 1 << 20,
        reserve_bytes: 0,
        keep: Keep::NOTHING,
    };
    let mut watch = Watch::new(&rig.server, store(&rig), from, store(&rig).log.sealed_through());
    let round = compact::round(&store(&rig).log, &disk, &*rig.server.clock, &options, &mut |step| {
        if let Step::Range { range: 3, .. } = step {
            rig.server.shutting_down.store(true, Relaxed);
        }
        watch.step(step)
    });
    assert!(round.is_err());
    assert!(disk.files().iter().all(|name| !name.ends_with(".snap")), "{:?}", disk.files());
}

#[test]
fn progress_goes_from_nothing_to_everything() {
    let disk = SimDisk::new(1);
    let mut rig = rig(&disk);
    for n in 0..200 {
        rig.run(&format!("SET k{n} v"));
    }
    seal_all(&rig);
    let log = &store(&rig).log;
    let goal = log.sealed_through();
    let progress = &rig.server.snapshots.progress;
    let mut watch = Watch::new(&rig.server, store(&rig), 0, goal);
    assert_eq!((progress.range.load(Relaxed), progress.log_bytes_total.load(Relaxed)), (0, goal));
    let mut last = 0;
    for range in 0..RANGES {
        watch.step(Step::Range { range, through: goal }).unwrap();
        let done = progress.log_bytes_done.load(Relaxed);
        assert!(done <= goal && done >= last && progress.range.load(Relaxed) == usize::from(range) + 1);
        last = done;
    }
    assert!(last > goal * 9 / 10);
    let mut schedule = Schedule::new(&rig.server, store(&rig));
    configure(&rig, &[("auto-aof-rewrite-min-size", "1")]);
    assert!(schedule.run(&rig.server, store(&rig)));
    assert_eq!((progress.range.load(Relaxed), progress.log_bytes_total.load(Relaxed)), (0, 0));
}

#[test]
fn the_pace_is_64_mib_a_second_and_a_tenth_of_the_backlog() {
    let clock = SimClock::at_ms(0);
    let mut pace = Pace::new(&clock);
    assert_eq!(pace.wrote(&clock, 32 << 20, 0), Duration::from_millis(500));
    clock.advance(Duration::from_millis(500));
    assert_eq!(pace.wrote(&clock, 0, 0), Duration::ZERO);
    // 640 MiB wait: as much again a second.
    assert_eq!(pace.wrote(&clock, 32 << 20, 640 << 20), Duration::from_millis(250));
    clock.advance(Duration::from_secs(9));
    assert_eq!(pace.wrote(&clock, 1 << 20, 0), Duration::ZERO, "behind its pace it does not wait");
}

#[test]
fn growth_is_measured_against_the_snapshot() {
    let config = Config::new();
    let set = |name, value| config.set_many(&[(name, value)], true).map(drop).unwrap();
    assert!(!has_outgrown(&config, (64 << 20) - 1, 0) && has_outgrown(&config, 64 << 20, 64 << 20));
    assert!(!has_outgrown(&config, 64 << 20, 65 << 20));
    set("auto-aof-rewrite-percentage", "50");
    assert!(has_outgrown(&config, 64 << 20, 128 << 20));
    set("auto-aof-rewrite-percentage", "0");
    assert!(!has_outgrown(&config, u64::MAX, 1));
}

/// What the disk has of snapshot files.
fn snapshot_files(disk: &SimDisk) -> Vec<String> {
    disk.files().into_iter().filter(|name| name.ends_with(".snap")).collect()
}

/// Everything so far is in the snapshot; how many files that took.
fn save(rig: &Rig) -> u64 {
    save_and_keep(rig, Keep::NOTHING)
}

fn save_and_keep(rig: &Rig, keep: Keep) -> u64 {
    seal_all(rig);
    let seed = Seed(store(rig).keyspace.seed());
    let options = Options { seed, level: 1, budget_bytes: 1 << 20, reserve_bytes: 0, keep };
    let disk = &*store(rig).disk;
    let round = compact::round(&store(rig).log, disk, &*rig.server.clock, &options, &mut |_| Ok(()));
    round.unwrap().map_or(0, |round| round.files)
}

fn raw_bytes(rig: &Rig) -> u64 {
    let catalog = compact::catalogs(&store(rig).log).unwrap().current;
    catalog.files.iter().map(|file| file.raw_bytes).sum()
}

/// The state is what a start makes of the disk.
fn assert_recovers(rig: &Rig, disk: &SimDisk) {
    let found = self::rig(&disk.kill());
    assert!(found.state() == rig.state());
}

fn fill(rig: &mut Rig, keys: usize, len: usize) {
    for n in 0..keys {
        rig.run(&format!("SET k{n} {}", "v".repeat(len)));
    }
}

#[test]
fn a_flushed_store_has_no_snapshot_files() {
    let disk = SimDisk::new(1);
    let mut rig = rig(&disk);
    fill(&mut rig, 300, 10);
    rig.run("SELECT 3");
    fill(&mut rig, 300, 10);
    assert_eq!(save(&rig), u64::from(RANGES));
    rig.run("SET k1 again");
    assert_eq!(save(&rig), 1, "a delta");
    rig.run("SET late v");
    rig.run("FLUSHALL");
    assert_eq!(save(&rig), 0);
    assert_eq!(snapshot_files(&disk), [""; 0]);
    assert_recovers(&rig, &disk);
    rig.run("SET new v");
    assert_eq!(save(&rig), 1);
    assert_recovers(&rig, &disk);
}

#[test]
fn a_small_database_that_is_flushed_rewrites_nothing_until_much_is_dead() {
    let disk = SimDisk::new(1);
    let mut rig = rig(&disk);
    fill(&mut rig, 400, 300);
    rig.run("SELECT 1");
    fill(&mut rig, 400, 20);
    assert_eq!(save(&rig), u64::from(RANGES));
    let before = snapshot_files(&disk);
    rig.run("FLUSHDB");
    assert_eq!(save(&rig), 0);
    assert_eq!(snapshot_files(&disk), before);
    assert_recovers(&rig, &disk);
    // News on top of rows that are dead, and what is dead stays so under another number of the database.
    rig.run("SWAPDB 0 1");
    rig.run("SET k7 other");
    assert_eq!(save(&rig), 1);
    assert_recovers(&rig, &disk);
    // As much again, and flushed: merged although nothing is new in these ranges.
    rig.run("SELECT 2");
    fill(&mut rig, 400, 300);
    assert_eq!(save(&rig), u64::from(RANGES));
    let before = raw_bytes(&rig);
    rig.run("FLUSHDB");
    assert_eq!(save(&rig), u64::from(RANGES));
    assert_eq!(snapshot_files(&disk).len(), usize::from(RANGES));
    assert!(raw_bytes(&rig) < before * 6 / 10);
    assert_recovers(&rig, &disk);
    rig.run("SELECT 1");
    assert_eq!(rig.run("DBSIZE"), ":400\r\n");
}

/// Leaves so many bytes of the disk.
fn leave(disk: &SimDisk, bytes: u64) {
    const ENDLESS: u64 = 1 << 40;
    disk.set_capacity(Some(ENDLESS));
    let used = ENDLESS - disk.free_bytes().unwrap();
    disk.set_capacity(Some(used + bytes));
}

#[test]
fn a_disk_that_fills_up_is_reason_enough_once_for_each_sealed_segment() {
    let disk = SimDisk::new(1);
    let mut rig = rig(&disk);
    let mut schedule = Schedule::new(&rig.server, store(&rig));
    configure(&rig, &[("log-segment-size", "1mb")]);
    let reserve = 4 << 20;
    assert_eq!(reserve_bytes(&rig.server.config, store(&rig)), reserve);
    rig.run("SET a 1");
    leave(&disk, reserve + (1 << 19));
    assert!(!schedule.run(&rig.server, store(&rig)), "nothing is sealed");
    disk.set_capacity(None);
    seal_all(&rig);
    assert!(!schedule.run(&rig.server, store(&rig)), "there is room");
    leave(&disk, reserve + (1 << 19));
    configure(&rig, &[("auto-aof-rewrite-percentage", "0")]);
    assert!(!schedule.run(&rig.server, store(&rig)), "only when asked");
    configure(&rig, &[("auto-aof-rewrite-percentage", "100")]);
    assert!(schedule.run(&rig.server, store(&rig)));
    assert_eq!(rig.server.snapshots.through.load(Relaxed), store(&rig).log.sealed_through());
    assert!(!schedule.run(&rig.server, store(&rig)));
    configure(&rig, &[("compaction-disk-reserve", "1gb")]);
    assert_eq!(reserve_bytes(&rig.server.config, store(&rig)), 1 << 30);
    assert!(!schedule.run(&rig.server, store(&rig)), "what is sealed has moved");
}

#[test]
fn a_reserve_that_is_touched_is_reported_and_tried_again_later() {
    let disk = SimDisk::new(1);
    let mut rig = rig(&disk);
    let mut schedule = Schedule::new(&rig.server, store(&rig));
    configure(&rig, &[("log-segment-size", "1mb"), ("compaction-disk-reserve", "3mb")]);
    fill(&mut rig, 300, 10);
    seal_all(&rig);
    leave(&disk, 3 << 20);
    assert!(schedule.run(&rig.server, store(&rig)));
    let told = rig.run("INFO everything");
    assert!(told.contains("compaction_last_error:compaction needs more room on the disk: about "), "{told}");
    assert!(told.contains("aof_last_bgrewrite_status:err\r\n"));
    assert_eq!(snapshot_files(&disk), [""; 0]);
    rig.advance_ms(4999);
    assert!(!schedule.run(&rig.server, store(&rig)));
    rig.advance_ms(1);
    leave(&disk, (3 << 20) + (1 << 19));
    assert!(schedule.run(&rig.server, store(&rig)));
    assert!(rig.run("INFO persistence").contains("aof_last_bgrewrite_status:ok\r\n"));
    assert_recovers(&rig, &disk);
}

#[test]
fn a_log_that_has_filled_the_disk_gets_room_by_compaction() {
    let disk = SimDisk::new(1);
    let mut rig = rig(&disk);
    let mut schedule = Schedule::new(&rig.server, store(&rig));
    leave(&disk, 4 << 20);
    let value = "v".repeat(50_000);
    for _ in 0..1000 {
        rig.run(&format!("SET k {value}"));
        rig.settle();
        if store(&rig).log.state() == LogState::NoSpace {
            break;
        }
    }
    assert_eq!(store(&rig).log.state(), LogState::NoSpace);
    leave(&disk, 300 << 10);
    assert!(rig.run("SET k 1").starts_with("-MISCONF"));
    assert!(schedule.run(&rig.server, store(&rig)));
    rig.settle();
    assert_eq!(store(&rig).log.state(), LogState::Healthy);
    assert_eq!(rig.run("SET k 1"), "+OK\r\n");
}

#[test]
fn a_backup_that_a_compaction_overtook_ends_where_its_snapshot_does() {
    let disk = SimDisk::new(1);
    let mut rig = rig(&disk);
    rig.run("SET a 1");
    seal_all(&rig);
    // When BACKUP was called.
    let lsn = store(&rig).log.append_lsn();
    rig.run("SET b 1");
    save_and_keep(&rig, Keep { window: Window::Bytes(1 << 30), ..Keep::NOTHING });
    let (tell, outcome) = std::sync::mpsc::channel();
    let done = Box::new(move |made: &crate::command::backups::Outcome| {
        tell.send(made.as_ref().map(|made| made.lsn).map_err(Clone::clone)).unwrap();
    });
    rig.server.backups.ask(crate::command::backups::Job { path: "made".to_owned(), copy: false, lsn, done });
    let has_ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !has_ended.load(Relaxed) {
                store(&rig).log.step();
            }
        });
        backup::run_all(&rig.server, store(&rig));
        has_ended.store(true, Relaxed);
    });
    assert!(outcome.recv().unwrap().unwrap() > lsn);
    let kept = Rig::open(
        Arc::new(disk.within("made")),
        rig.clock.clone(),
        LogOptions { threads: false, ..LogOptions::default() },
    );
    assert_eq!(kept.unwrap().run("GET b"), "$1\r\n1\r\n");
}
