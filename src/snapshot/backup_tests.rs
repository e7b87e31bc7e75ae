//! Backups on the simulated disk: what they hold, and what a crash, an error or a left-out sync at any place does to them and to
//! the store.

use std::sync::Arc;

use super::backup::{self, Backup, Options};
use super::compact;
use super::retained::{Keep, Window};
use crate::clock::SimClock;
use crate::disk::sim::{CrashStyle, Fault, FaultRule, OpKind};
use crate::disk::{Disk, SimDisk};
use crate::engine::rig::Rig;
use crate::error::StoreError;
use crate::log::{Image, LogOptions, Policy, Seed};
use crate::tools::{self, check};

const STORE: &str = "data";
const TARGET: &str = "backups/monday";

fn clock() -> Arc<SimClock> {
    Arc::new(SimClock::at_ms(1_700_000_001_000))
}

fn open(disk: &SimDisk, folder: &str) -> Result<Rig, StoreError> {
    let options = LogOptions {
        threads: false,
        segment_bytes: 8 << 10,
        policy: Policy::Always,
        ..LogOptions::default()
    };
    Rig::open(Arc::new(disk.within(folder)), clock(), options)
}

fn run(rig: &mut Rig, lines: impl IntoIterator<Item = String>) {
    for line in lines {
        let reply = rig.run(&line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
        rig.settle();
    }
}

fn compact(rig: &Rig) {
    compact_and_keep(rig, Keep::NOTHING);
}

fn compact_and_keep(rig: &Rig, keep: Keep) {
    let store = rig.server.store.get().unwrap();
    store.log.seal();
    rig.settle();
    let options = compact::Options {
        seed: Seed(store.keyspace.seed()),
        level: 1,
        budget_bytes: 1 << 20,
        reserve_bytes: 0,
        keep,
    };
    while compact::round(&store.log, &*store.disk, &*clock(), &options, &mut |_| Ok(())).unwrap().is_some() {}
}

/// A store with a snapshot, sealed segments behind it and something in the active one.
fn store(seed: u64) -> (SimDisk, Rig) {
    let disk = SimDisk::new(seed);
    disk.create_dir(STORE).unwrap();
    disk.sync_dir("").unwrap();
    let mut rig = open(&disk, STORE).unwrap();
    run(&mut rig, (0..60).map(|i| format!("SET key:{i} v{}", "v".repeat(i * 5))));
    compact(&rig);
    run(&mut rig, (0..40).map(|i| format!("RPUSH list:{} e{}", i % 7, "e".repeat(i * 11))));
    run(&mut rig, ["HSET hash f 1 g 2".to_owned(), "DEL key:3".to_owned(), "SWAPDB 0 2".to_owned()]);
    (disk, rig)
}

fn image(rig: &Rig) -> Image {
    let log = &rig.server.store.get().unwrap().log;
    let goal = log.seal();
    rig.settle();
    let image = log.image(goal).unwrap().expect("all is sealed");
    assert!(image.end_lsn() >= goal);
    image
}

fn take(rig: &Rig, image: Image, copy: bool) -> Result<Backup, StoreError> {
    let disk = &rig.server.store.get().unwrap().disk;
    let target = disk.target(TARGET).map_err(StoreError::io("make the directory"))?;
    backup::make(image, &**disk, &*target, Options { copy, pace: &mut |_| Ok(()) })
}

/// What `check` says of the backup.
fn verdict(disk: &SimDisk) -> i32 {
    let report = check::check(&disk.within(TARGET), &*clock()).unwrap();
    report.exit_code()
}

#[test]
fn a_backup_is_the_store_as_of_the_call_and_goes_its_own_way_from_there() {
    for (copy, links) in [(false, true), (true, true), (false, false)] {
        let (disk, mut rig) = store(1);
        disk.set_links(links);
        let made = take(&rig, image(&rig), copy).unwrap();
        assert!(made.files > 4 && made.linked + made.copied == made.files, "{made:?}");
        assert_eq!(made.linked > 0, links && !copy, "{made:?}");
        let state = rig.state();
        let power = disk.crash(7, CrashStyle::LoseAll);
        assert_eq!(verdict(&power), tools::GOOD);
        // What happens on one side is not seen on the other.
        run(&mut rig, (0..50).map(|i| format!("SET key:{i} other")));
        compact(&rig);
        let mut other = open(&disk, TARGET).unwrap();
        assert_eq!(other.state(), state);
        assert_eq!(other.server.store.get().unwrap().log.append_lsn(), made.lsn);
        run(&mut other, (0..50).map(|i| format!("APPEND key:{i} more")));
        compact(&other);
        let states = [rig.state(), other.state()];
        drop((rig, other));
        let power = disk.crash(8, CrashStyle::LoseAll);
        assert_eq!([STORE, TARGET].map(|folder| open(&power, folder).unwrap().state()), states);
    }
}

#[test]
fn a_start_on_a_backup_does_not_take_from_the_store_what_its_manifest_asks_for() {
    for pause_ms in [0, 20] {
        let (disk, rig) = store(2);
        // After a pause the last frame of the segment is a witness, without data.
        rig.advance_ms(pause_ms);
        rig.settle();
        // No segment is prepared behind the roll: nobody else has written a manifest since.
        let log = &rig.server.store.get().unwrap().log;
        let goal = log.seal();
        while log.sealed_through() < goal {
            log.step();
        }
        take(&rig, log.image(goal).unwrap().unwrap(), false).unwrap();
        let other = open(&disk, TARGET).unwrap();
        assert_eq!(other.state(), rig.state());
        // The unused ends of files that both have are cut by now.
        let power = disk.crash(9, CrashStyle::KeepAll);
        assert_eq!(open(&power, STORE).unwrap().state(), rig.state());
    }
}

#[test]
fn backups_of_idle_stores_are_stores() {
    let disk = SimDisk::new(3);
    disk.create_dir(STORE).unwrap();
    let mut rig = open(&disk, STORE).unwrap();
    take(&rig, image(&rig), false).unwrap();
    assert_eq!(open(&disk.kill(), TARGET).unwrap().state(), "");
    run(&mut rig, ["SET a 1".to_owned()]);
    // Everything is in the snapshot, and the log begins behind it.
    compact(&rig);
    let disk = disk.kill();
    let rig = open(&disk, STORE).unwrap();
    compact(&rig);
    let again = rig.server.store.get().unwrap().disk.target("again").unwrap();
    let made = image(&rig);
    let lsn = made.end_lsn();
    let pace = &mut |_| Ok(());
    backup::make(made, &disk.within(STORE), &*again, Options { copy: false, pace }).unwrap();
    let other = open(&disk.crash(1, CrashStyle::LoseAll), "again").unwrap();
    assert_eq!(other.state(), rig.state());
    assert_eq!(other.server.store.get().unwrap().log.append_lsn(), lsn);
}

/// The target is not a store, or it is the whole one.
fn is_nothing_or_whole(disk: &SimDisk, state: &str, context: &str) -> bool {
    if disk.files().iter().all(|path| !path.starts_with(TARGET)) {
        return false;
    }
    match open(disk, TARGET) {
        Ok(rig) => {
            assert!(rig.state() == state, "{context}");
            true
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("manifest") || text.contains("MANIFEST"), "{context}: {text}");
            false
        }
    }
}

#[test]
fn a_crash_at_any_operation_leaves_the_store_whole_and_the_backup_whole_or_none() {
    for copy in [false, true] {
        let (disk, rig) = store(4);
        let state = rig.state();
        let before = disk.mutations();
        take(&rig, image(&rig), copy).unwrap();
        let steps = disk.mutations() - before;
        assert!(steps > 20);
        let mut whole = 0;
        for at in 0..steps {
            let (disk, rig) = store(4);
            disk.crash_after(at);
            let log = &rig.server.store.get().unwrap().log;
            let goal = log.seal();
            rig.settle();
            let made = log.image(goal).map(|image| image.map(|image| take(&rig, image, copy)));
            assert!(!matches!(made, Ok(Some(Ok(_)))), "step {at}: it stopped before the end");
            drop(rig);
            for (style, seed) in [
                (CrashStyle::LoseAll, 0),
                (CrashStyle::KeepAll, 0),
                (CrashStyle::Random, at),
                (CrashStyle::Random, at + 1000),
                (CrashStyle::RandomWithGarbage, at),
            ] {
                let found = disk.crash(seed, style);
                let context = format!("step {at} of {steps}, {style:?} {seed}, copy {copy}");
                assert!(open(&found, STORE).expect(&context).state() == state, "{context}");
                whole += u32::from(is_nothing_or_whole(&found, &state, &context));
            }
        }
        assert!(whole > 0, "a crash behind the first manifest leaves a store");
    }
}

#[test]
fn an_error_at_any_operation_leaves_nothing_and_the_next_attempt_succeeds() {
    use OpKind::{Create, CreateDir, Link, Read, Rename, Sync, SyncDir, Write};
    for kind in [Create, CreateDir, Link, Read, Rename, Sync, SyncDir, Write] {
        for nth in 1.. {
            let (disk, rig) = store(5);
            let made = image(&rig);
            let copy = kind != Link;
            disk.inject(FaultRule::new(kind, nth, Fault::Enospc));
            let outcome = take(&rig, made, copy);
            disk.heal();
            if outcome.is_ok() {
                assert!(nth > 1, "{kind:?} happens");
                break;
            }
            let found = disk.kill();
            let left: Vec<_> = found.files().into_iter().filter(|path| path.starts_with(TARGET)).collect();
            assert!(left.is_empty(), "{kind:?} {nth}: {left:?}");
            take(&rig, image(&rig), copy).unwrap();
            assert_eq!(verdict(&disk.crash(1, CrashStyle::LoseAll)), tools::GOOD, "{kind:?} {nth}");
        }
    }
}

#[test]
fn every_sync_and_every_rename_is_needed() {
    use OpKind::{Rename, Sync, SyncDir};
    for copy in [false, true] {
        let mut unneeded = Vec::new();
        for kind in [Rename, Sync, SyncDir] {
            for nth in 1.. {
                let (disk, rig) = store(6);
                let made = image(&rig);
                let before = disk.count(kind);
                disk.inject(FaultRule::new(kind, nth, Fault::LeftOut));
                take(&rig, made, copy).unwrap();
                if disk.count(kind) - before < nth {
                    break;
                }
                if verdict(&disk.crash(1, CrashStyle::LoseAll)) == tools::GOOD {
                    unneeded.push((kind, nth));
                }
            }
        }
        // Folders are made one in the other (1, 2); 3 is what makes a crash half way harmless, which is another test's; 6 is that between
        // the two copies of the manifest, which counts where there was a manifest before.
        let expected: Vec<_> = [3, 6].map(|nth| (SyncDir, nth)).to_vec();
        assert_eq!(unneeded, expected, "copy {copy}");
    }
}

#[test]
fn a_directory_with_something_in_it_is_refused_and_left_alone() {
    let (disk, rig) = store(7);
    disk.write_raw(&format!("{TARGET}/log/00000001.log"), b"mine");
    let error = take(&rig, image(&rig), false).unwrap_err().to_string();
    assert!(error.contains("not empty"), "{error}");
    assert_eq!(disk.files().iter().filter(|path| path.starts_with(TARGET)).count(), 1);
}

#[test]
fn a_backup_has_the_older_snapshots_and_the_log_that_the_store_keeps() {
    let (disk, mut rig) = store(8);
    let keep = Keep { snapshots: 3, window: Window::Bytes(1 << 20), ..Keep::NOTHING };
    for round in 0..3 {
        run(&mut rig, (0..50).map(|i| format!("SET key:{i} {round}")));
        compact_and_keep(&rig, keep);
    }
    let kept = compact::catalogs(&rig.server.store.get().unwrap().log).unwrap();
    assert!(!kept.retained.is_empty());
    take(&rig, image(&rig), false).unwrap();
    let disk = disk.crash(1, CrashStyle::LoseAll);
    assert_eq!(verdict(&disk), tools::GOOD, "every file that the manifest lists is there");
    let other = open(&disk, TARGET).unwrap();
    assert_eq!(other.state(), rig.state());
    let other = &other.server.store.get().unwrap().log;
    assert_eq!(compact::catalogs(other).unwrap(), kept);
    assert_eq!(other.first_lsn(), rig.server.store.get().unwrap().log.first_lsn());
}
