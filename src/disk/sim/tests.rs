//! The simulated disk loses what it may, and nothing else.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const STYLES: [CrashStyle; 4] =
    [CrashStyle::LoseAll, CrashStyle::KeepAll, CrashStyle::Random, CrashStyle::RandomWithGarbage];

/// A disk with one file whose name is durable.
fn with_file() -> (SimDisk, Arc<dyn File>) {
    let disk = SimDisk::new(1);
    let file = disk.open("f", Open::Create).unwrap();
    disk.sync_dir("").unwrap();
    (disk, file)
}

/// Everything that crashes with many seeds leave of a file.
fn outcomes(disk: &SimDisk, style: CrashStyle) -> BTreeSet<Option<Vec<u8>>> {
    (0..300).map(|seed| disk.crash(seed, style).read_raw("f")).collect()
}

fn sectors(fill: &[u8]) -> Vec<u8> {
    fill.iter().flat_map(|&byte| [byte; SECTOR_LEN as usize]).collect()
}

#[test]
fn what_was_not_synced_may_be_there_or_not() {
    let (disk, file) = with_file();
    file.write_all_at(b"abc", 0).unwrap();
    assert_eq!(disk.crash(1, CrashStyle::LoseAll).read_raw("f").unwrap(), b"");
    assert_eq!(disk.crash(1, CrashStyle::KeepAll).read_raw("f").unwrap(), b"abc");
    let found = outcomes(&disk, CrashStyle::Random);
    let expected = [&b""[..], b"\0\0\0", b"abc"].map(|bytes| Some(bytes.to_vec()));
    assert_eq!(found, BTreeSet::from(expected), "kept, lost, or its length without its bytes");
}

#[test]
fn a_later_write_may_be_kept_while_an_earlier_one_is_lost() {
    let (disk, file) = with_file();
    disk.write_raw("f", &sectors(b"____"));
    file.write_all_at(&sectors(b"a"), 0).unwrap();
    file.write_all_at(&sectors(b"b"), 512).unwrap();
    let found = outcomes(&disk, CrashStyle::Random);
    let expected = [b"____", b"a___", b"_b__", b"ab__"].map(|fill| Some(sectors(fill)));
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn a_write_is_torn_at_sector_bounds_only() {
    let (disk, file) = with_file();
    disk.write_raw("f", &sectors(b"___"));
    file.write_all_at(&[b'n'; 1024], 256).unwrap();
    let found = outcomes(&disk, CrashStyle::Random);
    assert_eq!(found.len(), 8, "three sectors, each old or new");
    for bytes in found.into_iter().flatten() {
        assert_eq!(bytes[..256], [b'_'; 256]);
        assert_eq!(bytes[1280..], [b'_'; 256]);
        for sector in [256..512, 512..1024, 1024..1280] {
            assert!(
                bytes[sector.clone()].windows(2).all(|pair| pair[0] == pair[1]),
                "torn inside of {sector:?}"
            );
        }
    }
}

#[test]
fn garbage_stays_inside_of_what_was_being_written() {
    let (disk, file) = with_file();
    disk.write_raw("f", &sectors(b"__"));
    file.write_all_at(&[b'n'; 100], 500).unwrap();
    let found = outcomes(&disk, CrashStyle::RandomWithGarbage);
    assert!(
        found.iter().flatten().any(|bytes| bytes[500..600].iter().any(|b| !b"_n".contains(b))),
        "no garbage"
    );
    for bytes in found.into_iter().flatten() {
        assert!(bytes[..500].iter().chain(&bytes[600..]).all(|&b| b == b'_'));
    }
}

#[test]
fn changes_of_the_length_need_a_sync_too() {
    let (disk, file) = with_file();
    file.write_all_at(b"abcdef", 0).unwrap();
    file.sync().unwrap();
    file.set_len(3).unwrap();
    assert_eq!(disk.crash(1, CrashStyle::LoseAll).read_raw("f").unwrap(), b"abcdef");
    let lengths: BTreeSet<_> =
        outcomes(&disk, CrashStyle::Random).into_iter().map(|f| f.unwrap().len()).collect();
    assert_eq!(lengths, BTreeSet::from([3, 6]));
    file.sync().unwrap();
    STYLES
        .iter()
        .for_each(|&style| assert_eq!(outcomes(&disk, style), BTreeSet::from([Some(b"abc".to_vec())])));
}

#[test]
fn an_unsynced_create_may_vanish_although_its_data_was_synced() {
    let disk = SimDisk::new(1);
    let file = disk.open("f", Open::Create).unwrap();
    file.write_all_at(b"abc", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(disk.crash(1, CrashStyle::LoseAll).files(), [""; 0]);
    assert_eq!(outcomes(&disk, CrashStyle::Random), BTreeSet::from([None, Some(b"abc".to_vec())]));
    disk.sync_dir("").unwrap();
    STYLES
        .iter()
        .for_each(|&style| assert_eq!(outcomes(&disk, style), BTreeSet::from([Some(b"abc".to_vec())])));
}

#[test]
fn a_rename_may_revert_until_its_folder_is_synced_but_leaves_one_of_both() {
    let (disk, file) = with_file();
    file.write_all_at(b"old", 0).unwrap();
    file.sync().unwrap();
    let new = disk.open("f.new", Open::Create).unwrap();
    new.write_all_at(b"new", 0).unwrap();
    new.sync().unwrap();
    disk.rename("f.new", "f").unwrap();
    assert_eq!(disk.crash(1, CrashStyle::LoseAll).read_raw("f").unwrap(), b"old");
    assert_eq!(disk.crash(1, CrashStyle::KeepAll).files(), ["f"]);
    let both = [b"old", b"new"].map(|bytes| Some(bytes.to_vec()));
    assert_eq!(outcomes(&disk, CrashStyle::Random), BTreeSet::from(both));
    disk.sync_dir("").unwrap();
    assert_eq!(outcomes(&disk, CrashStyle::Random), BTreeSet::from([Some(b"new".to_vec())]));
}

#[test]
fn a_rename_before_its_data_is_synced_may_leave_an_empty_file() {
    let disk = SimDisk::new(1);
    disk.open("f.new", Open::Create).unwrap().write_all_at(b"new", 0).unwrap();
    disk.rename("f.new", "f").unwrap();
    disk.sync_dir("").unwrap();
    assert!(outcomes(&disk, CrashStyle::Random).contains(&Some(Vec::new())));
}

#[test]
fn an_unsynced_removal_may_come_back() {
    let (disk, _file) = with_file();
    disk.remove("f").unwrap();
    assert_eq!(outcomes(&disk, CrashStyle::Random), BTreeSet::from([None, Some(Vec::new())]));
    disk.sync_dir("").unwrap();
    assert_eq!(outcomes(&disk, CrashStyle::KeepAll), BTreeSet::from([None]));
}

#[test]
fn a_folder_that_was_not_synced_takes_its_files_with_it() {
    let disk = SimDisk::new(1);
    disk.create_dir("log").unwrap();
    disk.open("log/1", Open::Create).unwrap();
    disk.sync_dir("log").unwrap();
    let lost = disk.crash(1, CrashStyle::LoseAll);
    assert_eq!(lost.files(), [""; 0]);
    assert_eq!(lost.list("log").unwrap_err().kind(), io::ErrorKind::NotFound);
    disk.sync_dir("").unwrap();
    assert_eq!(disk.crash(1, CrashStyle::LoseAll).list("log").unwrap(), ["1"]);
}

#[test]
fn names_and_bytes_may_be_lost_apart() {
    let disk = SimDisk::new(1);
    let file = disk.open("f", Open::Create).unwrap();
    file.write_all_at(b"abc", 0).unwrap();
    assert_eq!(disk.crash(1, CrashStyle::LoseNames).files(), [""; 0]);
    assert_eq!(disk.crash(1, CrashStyle::LoseBytes).read_raw("f").unwrap(), b"");
    disk.sync_dir("").unwrap();
    assert_eq!(disk.crash(1, CrashStyle::LoseNames).read_raw("f").unwrap(), b"abc");
    disk.rename("f", "g").unwrap();
    assert_eq!(disk.crash(1, CrashStyle::LoseNames).files(), ["f"]);
    assert_eq!(disk.crash(1, CrashStyle::LoseBytes).files(), ["g"]);
}

#[test]
fn the_last_write_is_torn_at_sectors_or_all_unsynced_bytes_are_noise() {
    let (disk, file) = with_file();
    file.write_all_at(&sectors(b"s"), 0).unwrap();
    file.sync().unwrap();
    file.write_all_at(&sectors(b"ab"), 512).unwrap();
    file.write_all_at(&sectors(b"cd"), 1536).unwrap();
    let torn = outcomes(&disk, CrashStyle::Torn);
    let texts = |tail: &[u8]| Some(sectors(&[b"sab", tail].concat()));
    assert_eq!(torn, BTreeSet::from([texts(b"cd"), texts(b"\0d"), texts(b"c\0"), texts(b"\0\0")]));
    let noise = disk.crash(1, CrashStyle::Garbage).read_raw("f").unwrap();
    assert_eq!(noise.len(), 5 * 512);
    assert_eq!(noise[..512], sectors(b"s"), "what was synced is not touched");
    assert!(noise[512..].chunks(512).all(|sector| sector.iter().collect::<BTreeSet<_>>().len() > 100));
}

#[test]
fn a_recorded_disk_has_an_image_from_before_each_mutation() {
    let (disk, file) = with_file();
    let before = disk.mutations();
    disk.record();
    file.write_all_at(b"abc", 0).unwrap();
    file.read_exact_at(&mut [0; 3], 0).unwrap();
    file.sync().unwrap();
    disk.rename("f", "g").unwrap();
    let images = disk.recorded();
    assert_eq!(images.len() as u64, disk.mutations() - before);
    let found = |image: &SimDisk, style| image.crash(1, style).read_raw("f").unwrap();
    assert_eq!(found(&images[0], CrashStyle::KeepAll), b"");
    assert_eq!(found(&images[1], CrashStyle::KeepAll), b"abc");
    assert_eq!(found(&images[1], CrashStyle::LoseAll), b"");
    assert_eq!(found(&images[2], CrashStyle::LoseAll), b"abc");
    assert!(disk.recorded().is_empty());
}

#[test]
fn a_rename_is_never_kept_without_the_one_before_it() {
    for seed in 0..200 {
        let (disk, _file) = with_file();
        disk.rename("f", "g").unwrap();
        disk.rename("g", "h").unwrap();
        assert_eq!(disk.crash(seed, CrashStyle::Random).files().len(), 1, "seed {seed}");
    }
}

#[test]
fn a_kill_keeps_what_was_handed_over_but_does_not_make_it_durable() {
    let disk = SimDisk::new(1);
    let lock = disk.lock("LOCK").unwrap();
    let file = disk.open("f", Open::Create).unwrap();
    file.write_all_at(b"abc", 0).unwrap();
    let killed = disk.kill();
    assert_eq!(killed.read_raw("f").unwrap(), b"abc");
    assert!(killed.lock("LOCK").is_ok(), "the dead hold no lock");
    assert!(disk.lock("LOCK").is_err());
    assert_eq!(killed.crash(1, CrashStyle::LoseAll).files(), [""; 0]);
    file.write_all_at(b"xyz", 0).unwrap();
    assert_eq!(killed.read_raw("f").unwrap(), b"abc", "the copy is independent");
    drop(lock);
}

#[test]
fn a_sync_after_a_failed_one_lies() {
    let mut lost = 0;
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let file = disk.open("f", Open::Create).unwrap();
        disk.sync_dir("").unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        disk.fail_nth(OpKind::Sync, 1, Fault::Eio);
        assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(libc::EIO));
        file.sync().unwrap();
        assert_eq!(disk.read_raw("f").unwrap(), b"abc", "the cache still has it");
        lost += u64::from(disk.crash(0, CrashStyle::KeepAll).read_raw("f").unwrap() != b"abc");
    }
    assert!((1..100).contains(&lost), "{lost} of 100");
}

#[test]
fn the_nth_operation_fails_once_or_for_good() {
    let (disk, file) = with_file();
    disk.fail_nth(OpKind::Write, 2, Fault::Eio);
    assert!(file.write_at(b"a", 0).is_ok());
    assert!(file.write_at(b"b", 0).is_err());
    assert!(file.write_at(b"c", 0).is_ok());
    disk.fail_from(OpKind::Write, 2, Fault::Enospc);
    assert!(file.write_at(b"d", 0).is_ok());
    for _ in 0..3 {
        assert_eq!(file.write_at(b"e", 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
    assert_eq!(disk.read_raw("f").unwrap(), b"d", "a failed write has no effect");
    disk.heal();
    disk.fail_nth(OpKind::Write, 1, Fault::ShortWrite(2));
    assert_eq!(file.write_at(b"xyz", 0).unwrap(), 2);
    assert_eq!(disk.count(OpKind::Write), 8);
}

#[test]
fn every_kind_of_operation_can_fail() {
    type Run = fn(&SimDisk, &dyn File) -> io::Result<()>;
    let runs: [(OpKind, Run); 13] = [
        (OpKind::Open, |disk, _| disk.open("f", Open::Read).map(drop)),
        (OpKind::Create, |disk, _| disk.open("g", Open::Create).map(drop)),
        (OpKind::Read, |_, file| file.read_at(&mut [0], 0).map(drop)),
        (OpKind::Write, |_, file| file.write_at(b"x", 0).map(drop)),
        (OpKind::Sync, |_, file| file.sync()),
        (OpKind::SetLen, |_, file| file.set_len(7)),
        (OpKind::Allocate, |_, file| file.allocate(8)),
        (OpKind::Rename, |disk, _| disk.rename("f", "h")),
        (OpKind::List, |disk, _| disk.list("").map(drop)),
        (OpKind::SyncDir, |disk, _| disk.sync_dir("")),
        (OpKind::CreateDir, |disk, _| disk.create_dir("d")),
        (OpKind::Lock, |disk, _| disk.lock("LOCK").map(drop)),
        (OpKind::Remove, |disk, _| disk.remove("h")),
    ];
    let (disk, file) = with_file();
    for (kind, run) in runs {
        let (counted, mutations) = (disk.count(kind), disk.mutations());
        disk.fail_nth(kind, 1, Fault::Eio);
        assert!(run(&disk, &*file).is_err(), "{kind:?}");
        run(&disk, &*file).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!(disk.count(kind), counted + 2, "{kind:?}");
        assert_eq!(disk.mutations(), mutations + if kind.is_mutation() { 2 } else { 0 }, "{kind:?}");
    }
}

#[test]
fn a_rule_may_be_for_some_files_only() {
    let (disk, file) = with_file();
    let other = disk.open("other", Open::Create).unwrap();
    disk.inject(FaultRule::new(OpKind::Sync, 1, Fault::Eio).on("oth").sticky());
    file.sync().unwrap();
    assert!(other.sync().is_err());
    assert!(other.sync().is_err());
    file.sync().unwrap();
}

#[test]
fn the_disk_stops_after_a_number_of_mutations() {
    let (disk, file) = with_file();
    disk.crash_after(2);
    file.write_all_at(b"one", 0).unwrap();
    file.read_exact_at(&mut [0; 3], 0).unwrap();
    file.sync().unwrap();
    assert!(!disk.has_crashed());
    assert_eq!(file.write_at(b"two", 0).unwrap_err().to_string(), "simulated crash");
    assert!(disk.has_crashed());
    assert!(file.read_at(&mut [0], 0).is_err() && file.len().is_err() && disk.list("").is_err());
    assert!(disk.free_bytes().is_err());
    let after = disk.crash(1, CrashStyle::KeepAll);
    assert_eq!(after.read_raw("f").unwrap(), b"one");
    assert!(after.open("f", Open::Write).unwrap().write_at(b"x", 0).is_ok(), "the copy runs");
}

#[test]
fn a_full_disk_writes_what_fits_and_refuses_the_rest() {
    let (disk, file) = with_file();
    disk.set_capacity(Some(10));
    assert_eq!(file.write_at(b"12345678", 0).unwrap(), 8);
    assert_eq!(disk.free_bytes().unwrap(), 2);
    assert_eq!(file.write_at(b"abcd", 8).unwrap(), 2);
    assert_eq!(file.write_at(b"cd", 10).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.set_len(11).unwrap_err().kind(), io::ErrorKind::StorageFull);
    file.write_all_at(b"overwrite", 0).unwrap();
    let other = disk.open("g", Open::Create).unwrap();
    assert!(other.write_at(b"x", 0).is_err());
    file.set_len(9).unwrap();
    assert!(other.write_at(b"x", 0).is_ok(), "there is room again");
    drop(other);
    disk.remove("g").unwrap();
    disk.sync_dir("").unwrap();
    assert_eq!(disk.free_bytes().unwrap(), 1, "a removal gives its room back when it is durable");
}

#[test]
fn a_held_sync_covers_what_was_written_before_it_began() {
    let (disk, file) = with_file();
    file.write_all_at(&sectors(b"a"), 0).unwrap();
    disk.hold_syncs();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| file.sync());
        disk.wait_until_held(1);
        file.write_all_at(&sectors(b"b"), 512).unwrap();
        assert_eq!(
            disk.crash(1, CrashStyle::LoseAll).read_raw("f").unwrap(),
            b"",
            "a held sync has no effect"
        );
        let second = scope.spawn(|| file.sync());
        disk.wait_until_held(2);
        file.write_all_at(&sectors(b"c"), 1024).unwrap();
        disk.release_syncs();
        first.join().unwrap().unwrap();
        second.join().unwrap().unwrap();
    });
    assert_eq!(disk.held_syncs(), 0);
    assert_eq!(disk.crash(1, CrashStyle::LoseAll).read_raw("f").unwrap(), sectors(b"ab"));
}

#[test]
fn held_syncs_go_on_one_by_one() {
    let (disk, file) = with_file();
    disk.hold_syncs();
    std::thread::scope(|scope| {
        let (done, next) = std::sync::mpsc::channel();
        let file = &file;
        scope.spawn(move || (0..3).for_each(|i| done.send((i, file.sync().is_ok())).unwrap()));
        for i in 0..2 {
            disk.wait_until_held(1);
            assert!(next.try_recv().is_err());
            disk.release_one_sync();
            assert_eq!(next.recv(), Ok((i, true)));
        }
        disk.wait_until_held(1);
        disk.release_syncs();
        assert_eq!(next.recv(), Ok((2, true)));
    });
}

#[test]
fn a_disk_that_stops_lets_held_syncs_fail() {
    let (disk, file) = with_file();
    disk.hold_syncs();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| file.sync());
        disk.wait_until_held(1);
        disk.crash_after(0);
        assert!(file.write_at(b"x", 0).is_err());
        assert!(held.join().unwrap().is_err());
    });
}

#[test]
fn raw_writes_damage_the_medium_itself() {
    let (disk, file) = with_file();
    file.write_all_at(b"unsynced", 0).unwrap();
    disk.write_raw("f", b"damage");
    assert_eq!(disk.crash(1, CrashStyle::Random).read_raw("f").unwrap(), b"damage");
    disk.write_raw("log/1", b"new");
    assert_eq!(disk.crash(1, CrashStyle::LoseAll).list("log").unwrap(), ["1"]);
    assert_eq!(disk.read_raw("none"), None);
}

#[test]
fn the_same_seed_leaves_the_same_disk() {
    let (disk, file) = with_file();
    (0..20).for_each(|i| file.write_all_at(&[i as u8; 700], i * 600).unwrap());
    for seed in 0..20 {
        let twice = [0, 1].map(|_| disk.crash(seed, CrashStyle::RandomWithGarbage).read_raw("f"));
        assert_eq!(twice[0], twice[1]);
    }
    assert!(outcomes(&disk, CrashStyle::Random).len() > 100, "seeds that choose alike");
}

proptest! {
    /// Per byte the model knows every value that it may have: that of the last sync and those written since.
    #[test]
    fn synced_bytes_survive_and_others_were_written_once(
        writes in prop::collection::vec((0..3000u16, 1..1500u16, any::<bool>()), 1..30),
        seed: u64,
        style in prop::sample::select(&STYLES[..3]),
    ) {
        let (disk, file) = with_file();
        let mut may: Vec<Vec<u8>> = Vec::new();
        let mut synced_len = 0;
        for (i, &(offset, len, sync)) in writes.iter().enumerate() {
            let (fill, range) = (i as u8 + 1, usize::from(offset)..usize::from(offset + len));
            file.write_all_at(&vec![fill; range.len()], u64::from(offset)).unwrap();
            may.resize(may.len().max(range.end), vec![0]);
            may[range].iter_mut().for_each(|values| values.push(fill));
            if sync {
                file.sync().unwrap();
                may.iter_mut().for_each(|values| drop(values.drain(..values.len() - 1)));
                synced_len = may.len();
            }
        }
        let found = disk.crash(seed, style).read_raw("f").unwrap();
        prop_assert!((synced_len..=may.len()).contains(&found.len()), "a length that never was");
        for (at, byte) in found.iter().enumerate() {
            prop_assert!(may[at].contains(byte), "byte {at} is {byte}, not one of {:?}", may[at]);
            prop_assert!(style != CrashStyle::KeepAll || may[at].last() == Some(byte));
            prop_assert!(style != CrashStyle::LoseAll || may[at].first() == Some(byte));
        }
    }

    #[test]
    fn names_after_a_crash_are_between_the_synced_and_the_current_ones(
        steps in prop::collection::vec((0..4u8, 0..5u8, 0..5u8), 1..25),
        seed: u64,
    ) {
        // Every file holds its own number, and that is synced: so the content tells which file a name leads to.
        let disk = SimDisk::new(seed);
        let mut history = std::collections::BTreeMap::<String, Vec<Option<Vec<u8>>>>::new();
        for (i, &(what, a, b)) in steps.iter().enumerate() {
            let (a, b) = (a.to_string(), b.to_string());
            match what {
                0 => drop(disk.open(&a, Open::Create).map(|file| {
                    file.write_all_at(&[i as u8], 0).unwrap();
                    file.sync().unwrap();
                })),
                1 => drop(disk.remove(&a)),
                2 => drop(disk.rename(&a, &b)),
                _ => {
                    disk.sync_dir("").unwrap();
                    history.clear();
                }
            }
            for name in (0..5).map(|name| name.to_string()) {
                let values = history.entry(name.clone()).or_default();
                values.push(disk.read_raw(&name));
                if values.len() == 1 && what != 3 {
                    values.insert(0, None); // the first step ever: nothing was there before it
                }
            }
        }
        let crashed = disk.crash(seed, CrashStyle::Random);
        for (name, values) in &history {
            prop_assert!(values.contains(&crashed.read_raw(name)), "{name}: not one of {values:?}");
        }
        let contents: Vec<_> = crashed.files().iter().map(|name| crashed.read_raw(name)).collect();
        let distinct: BTreeSet<_> = contents.iter().collect();
        prop_assert_eq!(distinct.len(), contents.len(), "one file under two names");
    }
}
