//! Power loss and SIGKILL at every operation on the disk, and again during the recovery that follows.

use super::*;
use crate::disk::prng::Prng;

/// What one life of the log came to.
struct Life {
    /// All bodies that a correct log may hold, in order.
    appended: Vec<Vec<u8>>,
    written_lsn: Lsn,
    durable_lsn: Lsn,
}

const POLICIES: [Policy; 3] = [Policy::Always, Policy::EverySec, Policy::No];

const STYLES: [CrashStyle; 4] =
    [CrashStyle::LoseAll, CrashStyle::KeepAll, CrashStyle::Random, CrashStyle::RandomWithGarbage];

/// Small and large records, groups of several, rolls, idle time, syncs on demand; until the disk stops.
fn live(opened: Opened, seed: u64, groups: u64) -> Life {
    let Opened { bench, bodies: mut appended, .. } = opened;
    let mut prng = Prng::new(seed);
    for _ in 0..groups {
        for _ in 0..=prng.below(3) {
            let len = if prng.chance(1, 6) { prng.below(9000) } else { prng.below(60) };
            let mut body = vec![0; len as usize];
            prng.fill(&mut body);
            bench.log.append(&body);
            appended.push(body);
        }
        bench.log.flush_tick(prng.chance(1, 4));
        for _ in 0..prng.below(6) {
            bench.log.step();
        }
        bench.clock.advance(Duration::from_millis(prng.below(300)));
        if prng.chance(1, 12) {
            bench.log.set_policy(POLICIES[prng.below(3) as usize]);
        }
    }
    if prng.chance(1, 2) {
        let _ = bench.log.shutdown();
    }
    Life { appended, written_lsn: bench.log.written_lsn(), durable_lsn: bench.log.durable_lsn() }
}

/// Opens after a crash and holds what is found against what was promised.
fn check(disk: &SimDisk, policy: Policy, life: &Life, kept: Lsn, context: &str) -> Opened {
    let opened = try_open(disk, options(policy)).unwrap_or_else(|e| panic!("{context}: {e}"));
    let count = opened.bodies.len();
    assert!(count <= life.appended.len(), "{context}: {count} records of {}", life.appended.len());
    assert!(opened.bodies == life.appended[..count], "{context}: what survives is a prefix");
    assert!(opened.report.end_lsn >= kept, "{context}: {} bytes survive of {kept}", opened.report.end_lsn);
    opened
}

fn sweep(policy: Policy, log_io: LogIo, stride: usize) {
    let disk = disk_with(7, log_io);
    live(open(&disk, policy), 11, 40);
    let operations = disk.mutations();
    assert!(operations > 200, "{operations}");
    for stop in (0..operations).step_by(stride) {
        let disk = disk_with(7, log_io);
        disk.crash_after(stop);
        let Ok(opened) = try_open(&disk, options(policy)) else {
            for style in STYLES {
                let after = disk.crash(stop, style);
                let empty =
                    try_open(&after, options(policy)).unwrap_or_else(|e| panic!("{stop} {style:?}: {e}"));
                assert!(empty.bodies.is_empty());
            }
            continue;
        };
        let life = live(opened, 11, 40);
        check(&disk.kill(), policy, &life, life.written_lsn, &format!("kill at {stop}"));
        for (style, seed) in STYLES.iter().flat_map(|&style| (0..3).map(move |seed| (style, seed))) {
            if matches!(style, CrashStyle::LoseAll | CrashStyle::KeepAll) && seed > 0 {
                continue;
            }
            let after = disk.crash(seed, style);
            check(
                &after,
                policy,
                &life,
                life.durable_lsn,
                &format!("{policy:?}, {style:?} {seed} at {stop}"),
            );
        }
    }
}

#[test]
fn under_always_nothing_durable_is_lost_at_any_operation() {
    sweep(Policy::Always, LogIo::Auto, 1);
    sweep(Policy::Always, LogIo::Buffered, 3);
}

#[test]
fn under_everysec_nothing_durable_is_lost_at_any_operation() {
    sweep(Policy::EverySec, LogIo::Auto, 1);
    sweep(Policy::EverySec, LogIo::Direct, 3);
}

#[test]
fn under_no_nothing_durable_is_lost_at_any_operation() {
    sweep(Policy::No, LogIo::Auto, 1);
    sweep(Policy::No, LogIo::Direct, 3);
    sweep(Policy::No, LogIo::IoUring, 5);
}

/// What a start has shown, a crash must not take back; not even when the start itself was the second, third ... attempt.
#[test]
fn crashes_during_recovery_lose_nothing_and_what_was_shown_stays() {
    for seed in 0..400 {
        let mut prng = Prng::new(seed);
        let policy = POLICIES[prng.below(3) as usize];
        let mut disk = disk_with(seed, [LogIo::Auto, LogIo::Direct, LogIo::Buffered][prng.below(3) as usize]);
        let mut life = live(open(&disk, policy), seed, 8);
        // What the kernel still holds; a power loss leaves what is on the medium.
        let mut held = life.written_lsn;
        for round in 0..8 {
            let context = format!("seed {seed} round {round}");
            if prng.chance(1, 3) {
                disk = disk.kill();
            } else {
                disk = disk.crash(prng.next_u64(), STYLES[prng.below(4) as usize]);
                held = life.durable_lsn;
            }
            // The next start may find another choice than the last one.
            disk.set_log_io([LogIo::Auto, LogIo::Direct, LogIo::Buffered][prng.below(3) as usize]);
            disk.crash_after(prng.below(40));
            match try_open(&disk, options(policy)) {
                Err(e) => assert!(disk.has_crashed(), "{context}: {e}"),
                Ok(opened) => {
                    assert!(opened.report.end_lsn >= held, "{context}: {} of {held}", opened.report.end_lsn);
                    let count = opened.bodies.len();
                    assert!(opened.bodies == life.appended[..count], "{context}: a prefix");
                    life = live(opened, prng.next_u64(), 4);
                    held = life.written_lsn;
                }
            }
        }
        let last = disk.crash(seed, CrashStyle::Random);
        check(&last, policy, &life, life.durable_lsn, &format!("seed {seed}, at the end"));
    }
}

#[test]
fn a_record_over_several_frames_is_whole_or_absent() {
    WAYS.into_iter().for_each(pieces_are_whole_or_absent);
}

fn pieces_are_whole_or_absent(way: LogIo) {
    let disk = disk_with(3, way);
    let bench = open(&disk, Policy::EverySec).bench;
    bench.write(b"before");
    let before = bench.log.append_lsn();
    bench.log.demand_sync(before);
    bench.settle();
    let start = disk.mutations();
    bench.write(&[7; 30_000]);
    let operations = disk.mutations() - start;
    assert!(operations > 4, "pieces in several segments");
    let mut cuts = 0;
    for stop in 0..operations {
        let disk = disk_with(3, way);
        let bench = open(&disk, Policy::EverySec).bench;
        bench.write(b"before");
        bench.log.demand_sync(before);
        bench.settle();
        disk.crash_after(stop);
        bench.write(&[7; 30_000]);
        for (after, name) in [(disk.kill(), "kill"), (disk.crash(stop, CrashStyle::Random), "power")] {
            let found = open(&after, Policy::EverySec);
            let whole = found.bodies.len() == 2;
            assert!(
                found.bodies == [b"before".to_vec(), vec![7; 30_000]][..found.bodies.len()],
                "{name} at {stop}"
            );
            if name == "kill" {
                assert_eq!(whole, bench.log.written_lsn() > before);
            }
            if let Some(torn) = found.report.torn.filter(|_| name == "kill") {
                assert!(!torn.possibly_acknowledged, "only the beginning of a record was cut");
                cuts += 1;
            }
            // The stream goes on where it was cut.
            found.bench.write(b"after");
            found.bench.log.shutdown().unwrap();
            drop(found.bench);
            let again = open(&after, Policy::EverySec).bodies;
            assert_eq!(again.len(), 2 + usize::from(whole));
            assert_eq!(again.last().unwrap(), b"after");
        }
    }
    assert!(cuts > 2, "{cuts}");
}

/// A first start that lost the folder and kept the manifest, and then a second that crashes.
#[test]
fn the_folder_is_on_the_medium_before_a_manifest_speaks_of_what_is_in_it() {
    let with_manifest_only = || {
        let disk = SimDisk::new(1);
        let mut manifest = manifest::Manifest {
            generation: 0,
            store_id: [1; 16],
            seed: Seed(7),
            term: 0,
            synced_through: 0,
            terms: Vec::new(),
            segments: Vec::new(),
            sections: Vec::new(),
        };
        manifest::replace(&disk, &mut manifest).unwrap();
        disk
    };
    let disk = with_manifest_only();
    let before = disk.mutations();
    open(&disk, Policy::Always);
    for stop in 0..disk.mutations() - before {
        for seed in 0..20 {
            let disk = with_manifest_only();
            disk.crash_after(stop);
            assert!(try_open(&disk, options(Policy::Always)).is_err());
            open(&disk.crash(seed, CrashStyle::Random), Policy::Always);
        }
    }
}

#[test]
fn a_crash_at_every_operation_of_a_manifest_replacement_leaves_the_old_or_the_new() {
    let old = manifest::Manifest {
        generation: 5,
        store_id: [1; 16],
        seed: Seed(7),
        term: 3,
        synced_through: 70,
        terms: vec![manifest::TermStart { term: 3, first_lsn: 60 }],
        segments: Vec::new(),
        sections: vec![manifest::Section { tag: 1, bytes: vec![9; 1500] }],
    };
    let with_old = || {
        let disk = SimDisk::new(1);
        manifest::replace(&disk, &mut old.clone()).unwrap();
        disk
    };
    let disk = with_old();
    let mut old_now = old.clone();
    old_now.generation += 1;
    let mut new = manifest::Manifest { term: 4, ..old_now.clone() };
    let before = disk.mutations();
    manifest::replace(&disk, &mut new).unwrap();
    for stop in 0..=disk.mutations() - before {
        for (style, seed) in STYLES.iter().flat_map(|&style| (0..20).map(move |seed| (style, seed))) {
            let disk = with_old();
            disk.crash_after(stop);
            let done =
                manifest::replace(&disk, &mut manifest::Manifest { term: 4, ..old_now.clone() }).is_ok();
            let manifest::Found::Valid(found, _) = manifest::load(&disk.crash(seed, style)).unwrap() else {
                panic!("no valid manifest after a crash at {stop}, {style:?} {seed}");
            };
            assert!(*found == new || (*found == old_now && !done), "at {stop}, {style:?} {seed}");
        }
    }
}
