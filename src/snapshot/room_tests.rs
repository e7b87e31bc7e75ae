//! Compaction on a disk that is nearly full: range by range, to the same state, and never into the reserve of the log.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::catalog::{Catalog, RANGES};
use super::compact::{self, Options, Round, Step};
use super::header;
use super::retained::{Keep, Window};
use super::room::is_no_room;
use crate::clock::SimClock;
use crate::disk::prng::Prng;
use crate::disk::sim::{CrashStyle, Fault, FaultRule, OpKind};
use crate::disk::{Disk, SimDisk};
use crate::engine::rig::Rig;
use crate::error::StoreError;
use crate::log::{Log, LogOptions, LogState, Seed};

const SEGMENT: u64 = 64 << 10;
/// What manifests and the like may take beside the reserve.
const RESERVE: u64 = 4 * SEGMENT;
const ENDLESS: u64 = 1 << 40;

fn open_small(disk: &SimDisk, segment_bytes: u64) -> Rig {
    let options = LogOptions { threads: false, segment_bytes, ..LogOptions::default() };
    Rig::open(Arc::new(disk.clone()), Arc::new(SimClock::at_ms(1_700_000_001_000)), options).unwrap()
}

fn open(disk: &SimDisk) -> Rig {
    open_small(disk, SEGMENT)
}

fn log(rig: &Rig) -> &Log {
    &rig.server.store.get().unwrap().log
}

fn catalog(rig: &Rig) -> Catalog {
    compact::catalogs(log(rig)).unwrap().current
}

/// Sets keys to values that don't compress.
fn set(rig: &mut Rig, keys: impl Iterator<Item = usize>, tag: &str, len: usize, seed: u64) {
    let mut prng = Prng::new(seed);
    for key in keys {
        let value: Vec<u8> = (0..len).map(|_| prng.below(256) as u8).collect();
        rig.call(0, &[b"SET", format!("{tag}key:{key}").as_bytes(), &value]);
        rig.settle();
    }
}

fn seal(rig: &Rig) {
    let lsn = log(rig).seal();
    rig.settle();
    assert_eq!(log(rig).sealed_through(), lsn);
}

/// The disk has so many bytes left beside the reserve.
fn leave(disk: &SimDisk, bytes: u64) {
    disk.set_capacity(Some(ENDLESS));
    let used = ENDLESS - disk.free_bytes().unwrap();
    disk.set_capacity(Some(used + RESERVE + bytes));
}

fn round_keeping(rig: &Rig, disk: &SimDisk, keep: Keep) -> Result<Option<Round>, StoreError> {
    let store = rig.server.store.get().unwrap();
    let options = Options {
        seed: Seed(store.keyspace.seed()),
        level: 1,
        budget_bytes: 4 << 20,
        reserve_bytes: RESERVE,
        keep,
    };
    compact::round(&store.log, disk, &*rig.clock, &options, &mut |step| {
        if !disk.has_crashed() && matches!(step, Step::Wrote { .. } | Step::Range { .. } | Step::Alone { .. })
        {
            assert!(disk.free_bytes().unwrap() >= RESERVE, "{step:?} in the reserve");
        }
        Ok(())
    })
}

fn round(rig: &Rig, disk: &SimDisk) -> Result<Option<Round>, StoreError> {
    round_keeping(rig, disk, Keep::NOTHING)
}

fn snapshot_files(disk: &SimDisk) -> BTreeSet<u64> {
    let names = disk.files();
    names.iter().filter_map(|path| header::sequence_of(path.strip_prefix("snapshot/")?)).collect()
}

fn assert_recovers(rig: &Rig, disk: &SimDisk) {
    let disk = disk.kill();
    disk.set_capacity(None);
    assert!(open(&disk).state() == rig.state());
}

/// 400 keys of 1000 bytes in the bases of all ranges.
fn full(disk: &SimDisk, tag: &str) -> Rig {
    let mut rig = open(disk);
    set(&mut rig, 0..400, tag, 1000, 1);
    seal(&rig);
    round(&rig, disk).unwrap().unwrap();
    assert!(log(&rig).sealed().is_empty());
    rig
}

#[test]
fn what_does_not_fit_at_once_is_merged_range_by_range_to_the_same_state() {
    let disk = SimDisk::new(1);
    let mut rig = full(&disk, "");
    set(&mut rig, (0..400).step_by(3), "", 1000, 2);
    seal(&rig);
    let segments = log(&rig).sealed().len();
    assert!(segments >= 2);
    // At once it would be all of 400 KB and the news.
    leave(&disk, 280_000);
    let round = round(&rig, &disk).unwrap().unwrap();
    assert_eq!((round.merged_alone, round.left), (u64::from(RANGES), 0));
    assert_eq!(round.retired_segments, segments as u64);
    let files = catalog(&rig).files;
    assert_eq!(files.len(), usize::from(RANGES), "a base each");
    assert_eq!(snapshot_files(&disk), files.iter().map(|file| file.sequence).collect());
    assert_recovers(&rig, &disk);
    assert_recovers(&rig, &disk.crash(3, CrashStyle::Random));
}

#[test]
fn with_room_it_is_one_step_as_ever() {
    let disk = SimDisk::new(1);
    let mut rig = full(&disk, "");
    set(&mut rig, (0..400).step_by(3), "", 1000, 2);
    seal(&rig);
    leave(&disk, 1_000_000);
    let round = round(&rig, &disk).unwrap().unwrap();
    assert_eq!((round.merged_alone, round.left, round.files), (0, 0, u64::from(RANGES)));
    assert_recovers(&rig, &disk);
}

#[test]
fn ranges_are_merged_first_when_the_news_do_not_fit_either() {
    let disk = SimDisk::new(1);
    let mut rig = full(&disk, "");
    for seed in 2..4 {
        set(&mut rig, 0..40, "", 1000, seed);
        seal(&rig);
        round(&rig, &disk).unwrap().unwrap();
    }
    set(&mut rig, 0..60, "", 1000, 5);
    seal(&rig);
    leave(&disk, 50_000);
    let (before, through) = (rig.state(), log(&rig).sealed_through());
    let round = round(&rig, &disk).unwrap().unwrap();
    assert!(round.merged_alone > 0);
    assert_eq!((round.through, catalog(&rig).through), (through, through));
    assert!(log(&rig).sealed().is_empty() && rig.state() == before);
    assert_recovers(&rig, &disk);
}

#[test]
fn a_range_that_does_not_fit_gets_deltas_without_end_and_is_merged_when_there_is_room() {
    let disk = SimDisk::new(1);
    let mut rig = full(&disk, "{t}");
    assert_eq!(catalog(&rig).files.len(), 1, "one range has everything");
    for seed in 2..15 {
        set(&mut rig, 0..20, "{t}", 1000, seed);
        seal(&rig);
        leave(&disk, 100_000);
        let round = round(&rig, &disk).unwrap().unwrap();
        assert!(round.merged_alone == 0 && log(&rig).sealed().is_empty(), "{round:?}");
    }
    assert_eq!(catalog(&rig).files.len(), 14, "more than ever otherwise");
    assert_recovers(&rig, &disk);
    disk.set_capacity(None);
    set(&mut rig, 0..1, "{t}", 1000, 99);
    seal(&rig);
    round(&rig, &disk).unwrap().unwrap();
    assert_eq!(catalog(&rig).files.len(), 1);
    assert_recovers(&rig, &disk);
}

#[test]
fn what_older_snapshots_keep_is_not_written_twice_while_room_is_short() {
    let disk = SimDisk::new(1);
    let mut rig = full(&disk, "");
    let keep = Keep { snapshots: 1, window: Window::Nothing, ..Keep::NOTHING };
    set(&mut rig, (0..400).step_by(3), "", 1000, 2);
    seal(&rig);
    leave(&disk, 280_000);
    let round = round_keeping(&rig, &disk, keep).unwrap().unwrap();
    assert_eq!((round.merged_alone, round.left), (0, u64::from(RANGES)));
    assert_eq!(compact::catalogs(log(&rig)).unwrap().retained.len(), 1);
    assert!(log(&rig).sealed().is_empty());
    assert_recovers(&rig, &disk);
}

#[test]
fn a_flush_gives_room_back_range_by_range() {
    let disk = SimDisk::new(1);
    let mut rig = open(&disk);
    set(&mut rig, 0..200, "", 1000, 1);
    rig.run("SELECT 1");
    set(&mut rig, 0..300, "", 1000, 2);
    seal(&rig);
    round(&rig, &disk).unwrap().unwrap();
    rig.run("FLUSHDB");
    rig.settle();
    seal(&rig);
    leave(&disk, 60_000);
    let before = disk.free_bytes().unwrap();
    let round = round(&rig, &disk).unwrap().unwrap();
    assert_eq!((round.merged_alone, round.left), (u64::from(RANGES), 0));
    assert!(disk.free_bytes().unwrap() > before + 240_000);
    assert_recovers(&rig, &disk);
}

#[test]
fn without_room_nothing_changes_the_log_goes_on_and_the_next_attempt_succeeds() {
    let disk = SimDisk::new(1);
    let mut rig = full(&disk, "");
    set(&mut rig, (0..400).step_by(3), "", 1000, 2);
    seal(&rig);
    for room in [0, 10, 4096, 10_000, 100_000] {
        leave(&disk, room);
        let (listed, files, free) = (catalog(&rig), snapshot_files(&disk), disk.free_bytes().unwrap());
        let error = round(&rig, &disk).unwrap_err();
        assert!(is_no_room(&error) && error.to_string().contains("bytes are missing"), "{error}");
        assert!(catalog(&rig) == listed && snapshot_files(&disk) == files, "{room}");
        assert_eq!(disk.free_bytes().unwrap(), free, "nothing of it takes room");
    }
    // The log has its reserve: it is written through more than a segment.
    let sequence = log(&rig).info().sequence;
    set(&mut rig, 0..150, "", 1000, 3);
    assert!(log(&rig).info().sequence >= sequence + 2 && log(&rig).state() == LogState::Healthy);
    assert_eq!(log(&rig).written_lsn(), log(&rig).append_lsn());
    assert_recovers(&rig, &disk);
    disk.set_capacity(None);
    round(&rig, &disk).unwrap().unwrap();
    assert_recovers(&rig, &disk);
}

/// A store of some ranges whose next compaction goes range by range.
fn pressed() -> (SimDisk, String) {
    let disk = SimDisk::new(1);
    let mut rig = open_small(&disk, 8 << 10);
    set(&mut rig, 0..12, "", 900, 1);
    seal(&rig);
    round(&rig, &disk).unwrap().unwrap();
    set(&mut rig, 0..6, "", 2000, 2);
    rig.run("RENAME key:1 {key:1}other");
    rig.run("DEL key:7");
    rig.settle();
    seal(&rig);
    leave(&disk, 40_000);
    let state = rig.state();
    (disk.kill(), state)
}

/// A start needs room of its own, which is not what is tried here. Leaves as much for the round, whatever that took.
fn started(image: &SimDisk) -> (SimDisk, Rig) {
    let disk = image.kill();
    disk.set_capacity(None);
    let rig = open_small(&disk, 8 << 10);
    rig.settle();
    leave(&disk, 40_000);
    (disk, rig)
}

#[test]
fn a_full_disk_at_any_place_of_it_loses_nothing_and_is_made_up_for() {
    let (image, state) = pressed();
    let places = [
        (OpKind::Create, "snapshot/"),
        (OpKind::Write, "snapshot/"),
        (OpKind::Sync, "snapshot/"),
        (OpKind::Create, "MANIFEST"),
        (OpKind::Write, "MANIFEST"),
    ];
    for (kind, path) in places {
        for nth in 1.. {
            let (disk, mut rig) = started(&image);
            disk.inject(FaultRule::new(kind, nth, Fault::Enospc).on(path).sticky());
            let outcome = round(&rig, &disk);
            assert!(rig.state() == state);
            let listed: BTreeSet<u64> = catalog(&rig).files.iter().map(|file| file.sequence).collect();
            let found = snapshot_files(&disk);
            // A manifest may be on the medium that could not be finished: what it names stays.
            assert!(
                if path == "MANIFEST" { found.is_superset(&listed) } else { found == listed },
                "{kind:?} {nth}"
            );
            let is_last = outcome.as_ref().is_ok_and(|round| round.unwrap().left == 0);
            rig.run("SET meanwhile 1");
            rig.settle();
            assert_eq!(log(&rig).state(), LogState::Healthy);
            for style in [CrashStyle::LoseAll, CrashStyle::KeepAll] {
                let after = disk.crash(nth, style);
                after.set_capacity(None);
                open_small(&after, 8 << 10);
            }
            disk.heal();
            disk.set_capacity(None);
            seal(&rig);
            round(&rig, &disk).unwrap();
            assert_eq!(catalog(&rig).through, log(&rig).sealed_through());
            let listed: BTreeSet<u64> = catalog(&rig).files.iter().map(|file| file.sequence).collect();
            assert_eq!(snapshot_files(&disk), listed, "{kind:?} {nth}");
            assert_recovers(&rig, &disk);
            assert!(nth < 1000);
            if is_last {
                assert!(nth > 5, "{kind:?} on {path} was tried {nth} times only");
                break;
            }
        }
    }
}

#[test]
fn a_power_failure_at_any_operation_of_it_loses_nothing() {
    let (image, state) = pressed();
    for mutations in 0.. {
        let (disk, rig) = started(&image);
        disk.crash_after(mutations);
        let outcome = round(&rig, &disk);
        let is_last = !disk.has_crashed();
        if is_last {
            let round = outcome.unwrap().unwrap();
            assert!(round.merged_alone >= 2, "{round:?}");
        }
        for style in [CrashStyle::LoseAll, CrashStyle::KeepAll, CrashStyle::RandomWithGarbage] {
            let after = disk.crash(mutations, style);
            after.set_capacity(None);
            let found = open_small(&after, 8 << 10);
            assert!(found.state() == state, "after {mutations} operations, {style:?}");
            let listed: BTreeSet<u64> = catalog(&found).files.iter().map(|file| file.sequence).collect();
            assert_eq!(snapshot_files(&after), listed, "after {mutations} operations, {style:?}");
        }
        if is_last {
            assert!(mutations > 100, "{mutations} operations");
            break;
        }
    }
}
