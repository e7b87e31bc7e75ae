//! The tools over logs that a real server made on a simulated disk, whole and damaged.

use std::sync::Arc;

use super::check::{Outcome, check};
use super::dump::Filter;
use super::repair::{Place, repair};
use super::*;
use crate::clock::SimClock;
use crate::disk::sim::{CrashStyle, SimDisk};
use crate::engine::rig::Rig;
use crate::keyspace::digest::describe;
use crate::log::{LogOptions, Policy, Seed};
use crate::snapshot::compact;
use crate::snapshot::retained::Keep;

fn clock() -> Arc<SimClock> {
    Arc::new(SimClock::at_ms(1_700_000_000_000))
}

fn start(disk: &SimDisk) -> Result<Rig, StoreError> {
    let options = LogOptions {
        threads: false,
        segment_bytes: 8 << 10,
        policy: Policy::Always,
        ..LogOptions::default()
    };
    Rig::open(Arc::new(disk.clone()), clock(), options)
}

fn settle(rig: &Rig) {
    let log = &rig.server.store.get().expect("it was opened").log;
    log.flush_tick(true);
    while log.step() {}
}

const COMMANDS: &[&str] = &[
    "SET a 1",
    "SET b two PXAT 99999999999999",
    "RPUSH l x y z",
    "HSET h f v g w",
    "HPEXPIREAT h 99999999999999 FIELDS 1 f",
    "SELECT 3",
    "SETBIT bits 77 1",
    "APPEND a more",
    "SELECT 0",
    "SWAPDB 0 3",
    "LPOP l",
    "DEL a",
    "SET c 3",
    "FLUSHDB",
    "SET d 4",
    "RPUSH m 1 2 3 4",
    "LTRIM m 1 2",
    "EXPIRE m 99999999",
];

/// A log of several segments, cleanly ended or killed.
fn made(clean: bool) -> SimDisk {
    let disk = SimDisk::new(1);
    let mut rig = start(&disk).expect("an empty disk");
    for round in 0..4 {
        for command in COMMANDS {
            rig.run(command);
            settle(&rig);
        }
        let value = "v".repeat(3000);
        rig.run(&format!("SET big{round} {value}"));
        settle(&rig);
    }
    if clean {
        rig.server.store.get().expect("open").log.shutdown().expect("no faults");
    }
    drop(rig);
    disk.kill()
}

fn bytes_of(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    disk.files().into_iter().map(|path| (path.clone(), disk.read_raw(&path).expect("listed"))).collect()
}

fn described(rig: &Rig) -> String {
    describe(&rig.server.store.get().expect("open").keyspace)
}

fn dumped(disk: &SimDisk, keys: bool, json: bool, filter: &Filter) -> (i32, String) {
    let mut out = Vec::new();
    let run = if keys { dump::keys } else { dump::records };
    let (code, _) = run(disk, &*clock(), filter, json, &mut out).expect("no I/O errors");
    (code, String::from_utf8(out).expect("lines are ASCII"))
}

#[test]
fn a_good_directory_is_good_and_nothing_in_it_changes() {
    for clean in [true, false] {
        let disk = made(clean);
        let before = bytes_of(&disk);
        let report = check(&disk, &*clock()).unwrap();
        assert_eq!(report.exit_code(), GOOD, "{}", report.text());
        let mut out = Vec::new();
        for view in [inspect::View::All, inspect::View::Segments, inspect::View::Frames, inspect::View::Keys]
        {
            for json in [false, true] {
                let done = inspect::inspect(&disk, &*clock(), view, 3, json, &mut out).unwrap();
                assert_eq!(done.0, GOOD, "{view:?} {:?}", done.1);
            }
        }
        dumped(&disk, false, true, &Filter::default());
        assert!(bytes_of(&disk) == before);
        let rig = start(&disk).unwrap();
        assert_eq!(rig.server.store.get().unwrap().recovery.records, report.records);
    }
}

#[test]
fn no_store_is_not_a_good_one() {
    let disk = SimDisk::new(1);
    assert_eq!(check(&disk, &*clock()).unwrap().exit_code(), CANNOT_TELL);
    assert!(disk.files().is_empty());
}

/// Every place in the log that holds something, thinned out.
fn places(disk: &SimDisk, step: usize) -> Vec<(String, usize)> {
    let mut places = Vec::new();
    for (path, bytes) in bytes_of(disk) {
        if path == "LOCK" {
            continue;
        }
        let used = bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
        places.extend((0..used).filter(|&at| bytes[at] != 0).step_by(step).map(|at| (path.clone(), at)));
    }
    places
}

fn flipped(disk: &SimDisk, path: &str, at: usize) -> SimDisk {
    let disk = disk.kill();
    let mut bytes = disk.read_raw(path).expect("it is there");
    bytes[at] ^= 0x24;
    disk.write_raw(path, &bytes);
    disk
}

/// All records, in order.
fn records_of(disk: &SimDisk) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    crate::log::survey::judge(disk, &mut |found| {
        if let crate::log::Recovered::Record { lsn_end, body, .. } = found {
            all.push((lsn_end, body.to_vec()));
        }
        Ok(())
    });
    all
}

/// What each tool says of a disk must be what the server does with it.
fn agrees_and_repairs(disk: &SimDisk, whole: &[(u64, Vec<u8>)], what: &str) {
    let before = bytes_of(disk);
    let report = check(disk, &*clock()).unwrap();
    assert!(report.exit_code() <= DAMAGED, "{what}: {}", report.text());
    let target = SimDisk::new(2);
    let mut out = Vec::new();
    let repaired = repair(disk, &*clock(), &Place::Into(&target), false, false, &mut out);
    let code = repaired
        .unwrap_or_else(|e| panic!("{what}: {e}\n{}\n{}", report.text(), String::from_utf8_lossy(&out)));
    let told = String::from_utf8(out).unwrap();
    assert!(bytes_of(disk) == before, "{what}: the source is not changed");
    match &report.outcome {
        Outcome::Good(found) => {
            assert_eq!(code, NOTHING_TO_REPAIR, "{what}");
            assert!(target.files().is_empty());
            let opened = start(disk).unwrap_or_else(|e| panic!("{what}: check says good, but {e}"));
            assert_eq!(opened.server.store.get().unwrap().recovery.records, found.records, "{what}");
        }
        Outcome::Damaged { stake, .. } => {
            let extent = &stake.extent;
            assert!(start(&disk.kill()).is_err(), "{what}: check says damaged, and it opens");
            assert_eq!(code, GOOD, "{what}: {told}");
            let lost = told.lines().filter(|line| line.starts_with("lost: ")).count() as u64;
            assert_eq!(lost, extent.lost_records, "{what}");
            let kept = records_of(&target);
            assert_eq!(kept.len() as u64, extent.good_records, "{what}");
            assert!(whole.starts_with(&kept), "{what}: a prefix");
            let opened = start(&target).unwrap_or_else(|e| panic!("{what}: repaired, but {e}"));
            assert_eq!(opened.server.store.get().unwrap().recovery.records, kept.len() as u64, "{what}");
            drop(opened);
            let here = disk.kill();
            assert_eq!(
                repair(&here, &*clock(), &Place::Here, false, true, &mut Vec::new()).unwrap(),
                GOOD,
                "{what}"
            );
            assert!(start(&here).is_ok_and(|_| true), "{what}: in place");
        }
        Outcome::CannotTell(why) => panic!("{what}: {why}"),
    }
}

#[test]
fn every_flip_is_judged_as_recovery_does_and_repaired_to_a_prefix() {
    for clean in [true, false] {
        let disk = made(clean);
        let whole = records_of(&disk);
        for (path, at) in places(&disk, 97) {
            agrees_and_repairs(&flipped(&disk, &path, at), &whole, &format!("{path} byte {at}, {clean}"));
        }
    }
}

#[test]
fn missing_and_shortened_files_are_damage_and_repaired_to_a_prefix() {
    let disk = made(false);
    let whole = records_of(&disk);
    for path in disk.files().into_iter().filter(|path| path != "LOCK") {
        let missing = disk.kill();
        missing.remove(&path).unwrap();
        agrees_and_repairs(&missing, &whole, &format!("without {path}"));
        for len in [0, 100, 5000] {
            let short = disk.kill();
            let bytes = short.read_raw(&path).unwrap();
            short.write_raw(&path, &bytes[..len.min(bytes.len())]);
            agrees_and_repairs(&short, &whole, &format!("{path} of {len} bytes"));
        }
    }
}

#[test]
fn a_power_loss_at_any_operation_of_a_repair_leaves_what_can_be_repaired_again() {
    let disk = made(false);
    let segments: Vec<String> = disk.files().into_iter().filter(|path| path.starts_with("log/")).collect();
    disk.remove(&segments[0]).unwrap();
    disk.sync_dir("log").unwrap();
    // Each repair has a moment, and so a folder, of its own.
    let clock = clock();
    let repair_here = |disk: &SimDisk| {
        clock.advance(std::time::Duration::from_millis(5));
        repair(disk, &*clock, &Place::Here, false, true, &mut Vec::new())
    };
    let mut ended = false;
    for stop in 0.. {
        let here = disk.kill();
        here.crash_after(stop);
        ended = repair_here(&here).is_ok();
        for (seed, style) in CrashStyle::ALL.into_iter().enumerate() {
            let after = here.crash(seed as u64, style);
            let context = format!("{style:?} after {stop} operations");
            if start(&after.kill()).is_err() {
                assert_eq!(repair_here(&after).expect(&context), GOOD, "{context}");
            }
            assert!(start(&after).is_ok(), "{context}");
            // Nothing that was there is gone: it is in its place or aside.
            for path in &segments[1..] {
                let name = path.rsplit('/').next().unwrap();
                assert!(after.files().iter().any(|found| found.ends_with(name)), "{context}: {path}");
            }
        }
        if ended {
            break;
        }
    }
    assert!(ended);
}

#[test]
fn a_log_without_manifests_is_read_by_its_segments_headers() {
    let disk = made(true);
    let whole = records_of(&disk);
    for copy in crate::log::manifest::COPIES {
        disk.remove(copy).unwrap();
    }
    let target = SimDisk::new(2);
    let mut out = Vec::new();
    assert_eq!(check(&disk, &*clock()).unwrap().exit_code(), DAMAGED);
    repair(&disk, &*clock(), &Place::Into(&target), false, false, &mut out).unwrap();
    assert!(records_of(&target) == whole, "{}", String::from_utf8_lossy(&out));
    start(&target).unwrap();
}

#[test]
fn dumped_keys_are_commands_that_make_the_same_keys() {
    let disk = made(true);
    let (code, text) = dumped(&disk, true, false, &Filter::default());
    assert_eq!(code, GOOD);
    let mut other = Rig::new();
    for line in text.lines() {
        let command = words::split(line).expect("a line of words");
        let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        let (reply, _) = other.call(0, &args);
        assert!(!reply.starts_with(b"-"), "{line}: {}", String::from_utf8_lossy(&reply));
    }
    assert_eq!(described(&other), described(&start(&disk).unwrap()));
}

/// What the commands of a type alone make again, and what they don't: streams without entries, consumers, entries that are pending and gone.
const COMMANDS_OF_ALL_TYPES: &[&str] = &[
    "SET s v",
    "SET number 12 PXAT 99999999999999",
    "PFADD hyperloglog a b c",
    "RPUSH list a b 3",
    "HSET hash f v g w",
    "HPEXPIREAT hash 9999999999999 FIELDS 1 f",
    "SADD set a b 3",
    "ZADD sorted 1 a -inf b 2.5 c",
    "XADD plain 5-1 f v g w",
    "XADD plain 7-0 f v",
    "XDEL plain 5-1",
    "XADD emptied 5-1 f v",
    "XDEL emptied 5-1",
    "PEXPIREAT emptied 99999999999999",
    "XADD trimmed 5-1 f v",
    "XTRIM trimmed MAXLEN 0",
    "XGROUP CREATE unwritten g 0 MKSTREAM",
    "XGROUP DESTROY unwritten g",
    "XGROUP CREATE groups g 0-7 MKSTREAM ENTRIESREAD 3",
    "XGROUP CREATE groups h $",
    "SELECT 3",
    "XADD jobs 1-1 n 1",
    "XADD jobs 1-2 n 2",
    "XADD jobs 1-3 n 3",
    "XADD jobs 2-0 other \"two words\"",
    "XGROUP CREATE jobs g 0",
    "XGROUP CREATE jobs idle 1-2 ENTRIESREAD 2",
    "XGROUP CREATECONSUMER jobs g never",
    "XREADGROUP GROUP g alice COUNT 2 STREAMS jobs >",
    "XREADGROUP GROUP g bob COUNT 1 STREAMS jobs >",
    "XACK jobs g 1-2",
    "XCLAIM jobs g carol 0 1-3 TIME 1000 RETRYCOUNT 9",
    "XDEL jobs 1-1",
    "PEXPIREAT jobs 99999999999999",
    "XGROUP CREATE waiting g 0 MKSTREAM",
    "XGROUP CREATECONSUMER waiting g alice",
];

/// Runs a line of quoted words that must not fail.
fn obey(rig: &mut Rig, line: &str) {
    let command = words::split(line).expect("a line of words");
    let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    let (reply, _) = rig.call(0, &args);
    assert!(!reply.starts_with(b"-"), "{line}: {}", String::from_utf8_lossy(&reply));
}

#[test]
fn dumped_keys_of_every_type_are_commands_that_make_the_same_keys() {
    let disk = SimDisk::new(1);
    let mut rig = start(&disk).expect("an empty disk");
    for command in COMMANDS_OF_ALL_TYPES {
        obey(&mut rig, command);
        settle(&rig);
    }
    let expected = described(&rig);
    drop(rig);
    let (code, text) = dumped(&disk.kill(), true, false, &Filter::default());
    assert_eq!(code, GOOD);
    let mut other = Rig::new();
    text.lines().for_each(|line| obey(&mut other, line));
    assert_eq!(described(&other), expected, "{text}");
    assert!(text.contains("XADD jobs 2-0 other \"two words\""), "entries can be read: {text}");
}

#[test]
fn dumped_records_are_commands_that_make_the_same_keys() {
    let disk = made(true);
    let (code, text) = dumped(&disk, false, false, &Filter::default());
    assert_eq!(code, GOOD);
    let mut other = Rig::new();
    for line in text.lines() {
        let parts: Vec<&str> = line.splitn(5, ' ').collect();
        let db = parts[3].strip_prefix("db").expect("no op is on a retired keyspace");
        other.run(&format!("SELECT {db}"));
        let command = words::split(parts[4]).expect("a line of words");
        let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        let (reply, _) = other.call(0, &args);
        assert!(!reply.starts_with(b"-"), "{line}: {}", String::from_utf8_lossy(&reply));
    }
    assert_eq!(described(&other), described(&start(&disk).unwrap()));
}

#[test]
fn a_dump_shows_what_its_filters_let_through() {
    let disk = made(true);
    let all = records_of(&disk);
    let (from, to) = (all[3].0, all[9].0);
    let filter = Filter { from_lsn: Some(from), to_lsn: Some(to), ..Filter::default() };
    let (_, json) = dumped(&disk, false, true, &filter);
    assert_eq!(json.lines().count(), 6, "one record a line, the first bound left out, the last not");
    let filter = Filter { key: Some(b"big[02]".to_vec()), ..Filter::default() };
    let (_, text) = dumped(&disk, false, false, &filter);
    let sets = text.lines().filter(|line| line.contains(" SET big0 ") || line.contains(" SET big2 ")).count();
    assert_eq!(sets, 2);
    assert!(!text.contains("big1"));
    let filter = Filter { db: Some(7), ..Filter::default() };
    assert_eq!(dumped(&disk, false, false, &filter).1, "");
    let filter = Filter { to_us: Some(1), ..Filter::default() };
    assert_eq!(dumped(&disk, false, false, &filter).1, "");
}

/// Moves the whole log of a store into its snapshot, then adds a little.
fn compacted() -> SimDisk {
    let disk = made(true);
    let mut rig = start(&disk).expect("a clean end");
    rig.run("SET before 1");
    let store = rig.server.store.get().expect("it was opened");
    store.log.seal();
    settle(&rig);
    let options = compact::Options {
        seed: Seed(store.keyspace.seed()),
        level: 1,
        budget_bytes: 1 << 20,
        reserve_bytes: 0,
        keep: Keep::NOTHING,
    };
    while compact::round(&store.log, &disk, &*clock(), &options, &mut |_| Ok(()))
        .expect("a healthy disk")
        .is_some()
    {}
    rig.run("SET after 1");
    settle(&rig);
    disk
}

#[test]
fn a_compacted_store_is_checked_dumped_and_repaired() {
    let disk = compacted();
    let report = check(&disk.kill(), &*clock()).unwrap();
    assert_eq!(report.exit_code(), GOOD, "{}", report.text());
    assert!(report.snapshot.verified && !report.snapshot.files.is_empty());
    let mut keys = Vec::new();
    dump::keys(&disk.kill(), &*clock(), &Filter::default(), false, &mut keys).unwrap();
    let keys = String::from_utf8(keys).unwrap();
    assert!(keys.contains("before") && keys.contains("after"), "{keys}");
    let mut records = Vec::new();
    let (code, why) =
        dump::records(&disk.kill(), &*clock(), &Filter::default(), false, &mut records).unwrap();
    assert_eq!((code, why), (GOOD, None));
    assert!(String::from_utf8(records).unwrap().contains("after"));

    let path = disk.files().into_iter().find(|path| path.ends_with(".snap")).unwrap();
    let mut bytes = disk.read_raw(&path).unwrap();
    bytes[4100] ^= 1;
    let damaged = disk.kill();
    damaged.write_raw(&path, &bytes);
    let report = check(&damaged, &*clock()).unwrap();
    assert_eq!(report.exit_code(), DAMAGED, "{}", report.text());
    assert!(report.text().contains(&path), "{}", report.text());
}

#[test]
fn a_misspelled_tool_is_told_from_a_configuration_file() {
    let hint = |word: &str| no_such_name(word).unwrap_or_default();
    assert!(hint("chekc").contains("Did you mean 'check'?"), "{}", hint("chekc"));
    assert!(hint("Backup").contains("Did you mean 'backup'?"));
    assert!(!hint("somethingelse").contains("Did you mean") && hint("somethingelse").contains("torture"));
    for server in ["redis.conf", "etc/redis", "./check", "--port", "-", "-v", ""] {
        assert_eq!(no_such_name(server), None, "{server}");
    }
}
