//! Damaged snapshots: what `inspect` and `dump --snapshot` show of them, and what `repair --salvage` makes of them, held against the state
//! that was there. Each block of each file is damaged in turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use duramen::clock::SimClock;
use duramen::disk::sim::CrashStyle;
use duramen::disk::{Disk, SimDisk};
use duramen::engine::rig::Rig;
use duramen::error::StoreError;
use duramen::keyspace::hash::KeyRef;
use duramen::log::{LogOptions, Policy, Seed};
use duramen::snapshot::catalog::{Catalog, slots_of};
use duramen::snapshot::compact;
use duramen::snapshot::footer::FileInfo;
use duramen::snapshot::header::{self, Kind};
use duramen::snapshot::reader::FileReader;
use duramen::snapshot::retained::Keep;
use duramen::tools::dump::Filter;
use duramen::tools::inspect::{View, inspect};
use duramen::tools::repair::{Place, repair};
use duramen::tools::snapshot_files::{self, Rows};
use duramen::tools::{CANNOT_TELL, DAMAGED, GOOD, NOTHING_TO_REPAIR, check, words};

fn clock() -> Arc<SimClock> {
    Arc::new(SimClock::at_ms(1_700_000_000_000))
}

fn open(disk: &SimDisk) -> Result<Rig, StoreError> {
    let options = LogOptions {
        segment_bytes: 256 << 10,
        policy: Policy::Always,
        threads: false,
        ..LogOptions::default()
    };
    Rig::open(Arc::new(disk.clone()) as Arc<dyn Disk>, clock(), options)
}

fn run(rig: &mut Rig, line: &str) {
    let reply = rig.run(line);
    assert!(!reply.starts_with('-'), "{line}: {reply}");
}

fn settle(rig: &Rig) {
    let store = rig.server.store.get().expect("the rig opened it");
    store.log.flush_tick(true);
    rig.settle();
}

fn compacted(rig: &Rig, keep: &Keep) {
    let store = rig.server.store.get().expect("the rig opened it");
    store.log.seal();
    settle(rig);
    let mut options = compact::Options {
        seed: Seed(store.keyspace.seed()),
        level: 1,
        budget_bytes: 8 << 20,
        reserve_bytes: 0,
        keep: *keep,
    };
    while compact::round(&store.log, &*store.disk, &*rig.clock, &options, &mut |_| Ok(()))
        .expect("a healthy disk")
        .is_some()
    {
        options.keep.replaced = false;
    }
}

/// A store of bases, deltas and a log behind them, and what was in it.
struct Store {
    disk: SimDisk,
    lines: BTreeSet<String>,
    catalog: Catalog,
    seed: u64,
}

/// Line of the state: `db key value`.
fn lines(rig: &Rig) -> BTreeSet<String> {
    rig.state().lines().map(str::to_owned).collect()
}

fn name(line: &str) -> String {
    line.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ")
}

fn key_of(line: &str) -> &str {
    line.split(' ').nth(1).expect("a line has a key")
}

/// Keys of `{t}` lie in one slot, so that its files have many blocks; the others are spread.
fn store(keep: &Keep) -> Store {
    let disk = SimDisk::new(1);
    let mut rig = open(&disk).expect("an empty disk");
    let value = "v".repeat(700);
    for n in 0..300 {
        run(&mut rig, &format!("SET {{t}}:{n} {value}{n}"));
        run(&mut rig, &format!("RPUSH {{t}}l:{n} {n} {value}"));
        run(&mut rig, &format!("HSET h:{n} f {n} g {n}"));
        run(&mut rig, &format!("SET s:{n} {n}"));
    }
    run(&mut rig, &format!("SET {{t}}:large {}", "w".repeat(200_000)));
    // Its row goes over several blocks.
    (0..100).for_each(|n| run(&mut rig, &format!("RPUSH {{t}}long {n}{}", "x".repeat(3000))));
    run(&mut rig, "SELECT 3");
    (0..40).for_each(|n| run(&mut rig, &format!("SET {{t}}third:{n} {n}")));
    run(&mut rig, "SELECT 0");
    compacted(&rig, keep);
    for n in 0..300 {
        match n % 12 {
            0 => run(&mut rig, &format!("APPEND {{t}}:{n} more")),
            1 => run(&mut rig, &format!("RPUSH {{t}}l:{n} more {value}")),
            2 => run(&mut rig, &format!("SET {{t}}:{n} new{n}")),
            3 => run(&mut rig, &format!("DEL {{t}}:{n} s:{n}")),
            4 => run(&mut rig, &format!("RENAME {{t}}l:{n} {{t}}renamed:{n}")),
            5 => run(&mut rig, &format!("HSET h:{n} f new")),
            6 => run(&mut rig, &format!("RPUSH fresh:{n} 1 2")),
            _ => {}
        }
    }
    compacted(&rig, keep);
    for n in 0..300 {
        match n % 20 {
            0 => run(&mut rig, &format!("APPEND {{t}}:{n} again")),
            1 => run(&mut rig, &format!("LPOP {{t}}l:{n}")),
            2 => run(&mut rig, &format!("SET {{t}}:{n} newest")),
            3 => run(&mut rig, &format!("DEL h:{n}")),
            4 => run(&mut rig, &format!("RENAME {{t}}:{n} {{t}}:{}", n + 5)),
            5 => run(&mut rig, &format!("HSET h:{n} late 1")),
            6 => run(&mut rig, &format!("EXPIRE {{t}}:{n} 100000")),
            7 => run(&mut rig, &format!("RPUSH later:{n} 1 2")),
            _ => {}
        }
    }
    settle(&rig);
    let store = rig.server.store.get().expect("open");
    let catalog = compact::catalogs(&store.log).expect("its own").current;
    assert!(catalog.files.iter().any(|file| file.kind == Kind::Delta), "the second compaction made deltas");
    let (lines, seed) = (lines(&rig), store.keyspace.seed());
    drop(rig);
    Store { disk: disk.kill(), lines, catalog, seed }
}

fn flipped(disk: &SimDisk, path: &str, at: u64) -> SimDisk {
    let disk = disk.kill();
    let mut bytes = disk.read_raw(path).expect("it is listed");
    bytes[at as usize] ^= 0x10;
    disk.write_raw(path, &bytes);
    disk
}

/// What a repair left, and what it told.
struct Repaired {
    lines: BTreeSet<String>,
    named: BTreeSet<String>,
    told: String,
}

fn salvaged(store: &Store, damaged: &SimDisk, what: &str) -> Repaired {
    let (target, mut out) = (SimDisk::new(2), Vec::new());
    let refused = repair(damaged, &*clock(), &Place::Into(&target), false, false, &mut out);
    assert_eq!(refused.expect("no I/O errors"), CANNOT_TELL, "{what}: only when it is asked for");
    assert!(target.files().is_empty() && String::from_utf8_lossy(&out).contains("--salvage"), "{what}");
    out.clear();
    let code = repair(damaged, &*clock(), &Place::Into(&target), true, false, &mut out);
    let told = String::from_utf8(out).expect("text");
    assert_eq!(code.unwrap_or_else(|e| panic!("{what}: {e}\n{told}")), GOOD, "{what}: {told}");
    let report = check::check(&target, &*clock()).expect("no I/O errors");
    assert_eq!(report.exit_code(), GOOD, "{what}: {}", report.text());
    let rig = open(&target.kill()).unwrap_or_else(|e| panic!("{what}: it was said to be good: {e}"));
    let lines = lines(&rig);
    let wrong: Vec<_> = lines.difference(&store.lines).map(|line| name(line)).collect();
    assert!(wrong.is_empty(), "{what}: not as they were: {wrong:?}\n{told}");
    let named = told.lines().filter_map(|line| line.strip_prefix("lost key: db"));
    let named: BTreeSet<String> = named.map(|line| name(&line.replace('"', ""))).collect();
    let present: Vec<_> = lines.iter().map(|line| name(line)).filter(|key| named.contains(key)).collect();
    assert!(present.is_empty(), "{what}: said to be lost, and there: {present:?}");
    Repaired { lines, named, told }
}

fn lost_rows(told: &str) -> usize {
    let line = told.lines().find_map(|line| line.strip_prefix("snapshot through LSN ")).expect("it is told");
    let (rows, _) = line.split_once(": ").and_then(|(_, rest)| rest.split_once(' ')).expect("a number");
    rows.parse().expect("a number")
}

/// What is missing was in the block, as the file's index says, and is named or counted.
fn assert_missing_only(
    store: &Store,
    repaired: &Repaired,
    file: &FileInfo,
    from: (u16, u64),
    to: (u16, u64),
) -> usize {
    let missing: Vec<&String> = store.lines.difference(&repaired.lines).collect();
    let is_there = |line: &String| {
        let place = |key: &str| {
            let key = KeyRef::new(key.as_bytes(), store.seed);
            (key.slot, key.hash)
        };
        let own = place(key_of(line));
        (from..=to).contains(&own)
    };
    let mut unnamed = 0;
    for line in &missing {
        // `{t}:n` is renamed to `{t}:n+5` in the log.
        let number = key_of(line).strip_prefix("{t}:").and_then(|n| n.parse::<u64>().ok());
        let source = number.filter(|n| n % 20 == 9).map(|n| format!("0 {{t}}:{} x", n - 5));
        let source = source.is_some_and(|source| is_there(&source));
        assert!(
            is_there(line) || source,
            "{}: {} was not in the block\n{}",
            file.sequence,
            name(line),
            repaired.told
        );
        unnamed += usize::from(!repaired.named.contains(&name(line)));
    }
    assert!(
        unnamed <= lost_rows(&repaired.told),
        "{unnamed} keys are missing without a word\n{}",
        repaired.told
    );
    missing.len()
}

#[test]
fn each_damaged_block_costs_its_own_keys_and_no_other_is_wrong() {
    let store = store(&Keep::NOTHING);
    let (mut blocks, mut lost, mut free) = (0, 0, 0);
    for file in &store.catalog.files {
        let path = header::path(file.sequence);
        let reader = FileReader::open(&store.disk, file.sequence, Some(file)).expect("it is whole");
        let index = reader.index();
        for (number, entry) in index.iter().enumerate() {
            let what = format!("{path}, block {number} of {}", index.len());
            let repaired = salvaged(&store, &flipped(&store.disk, &path, entry.offset + 19), &what);
            assert!(repaired.told.contains(&format!("offset {}", entry.offset)), "{what}: {}", repaired.told);
            let end = index.get(number + 1).map_or((file.last_slot, u64::MAX), |next| (next.slot, next.hash));
            lost += assert_missing_only(&store, &repaired, file, (entry.slot, entry.hash), end);
            blocks += 1;
        }
        let index_at = index.last().expect("it has rows").offset;
        let len = store.disk.read_raw(&path).expect("listed").len() as u64;
        for at in [20, len - 80, len - 30] {
            if at > index_at + 16 || at == 20 {
                let repaired =
                    salvaged(&store, &flipped(&store.disk, &path, at), &format!("{path}, byte {at}"));
                if lost_rows(&repaired.told) == 0 {
                    assert!(repaired.lines == store.lines && repaired.named.is_empty(), "{path}, byte {at}");
                    free += 1;
                }
            }
        }
    }
    assert!(blocks > 20 && lost > 500 && free > 40, "{blocks} blocks, {lost} keys lost, {free} without loss");
}

#[test]
fn missing_and_shortened_files_cost_no_key_elsewhere() {
    let store = store(&Keep::NOTHING);
    for file in &store.catalog.files {
        let path = header::path(file.sequence);
        let bytes = store.disk.read_raw(&path).expect("it is listed");
        for len in [None, Some(0), Some(5000), Some(bytes.len() / 2), Some(bytes.len() - 1)] {
            let damaged = store.disk.kill();
            match len {
                None => damaged.remove(&path).expect("it is there"),
                Some(len) => damaged.write_raw(&path, &bytes[..len.min(bytes.len() - 1)]),
            }
            let what = format!("{path} of {len:?} bytes");
            let repaired = salvaged(&store, &damaged, &what);
            let whole = ((file.first_slot, 0), (file.last_slot, u64::MAX));
            assert_missing_only(&store, &repaired, file, whole.0, whole.1);
            if len == Some(bytes.len() - 1) {
                assert!(repaired.lines == store.lines, "{what}: only the footer is damaged");
            }
        }
    }
}

#[test]
fn in_place_everything_is_put_aside_and_the_result_is_the_same() {
    let store = store(&Keep::NOTHING);
    let file = store.catalog.files.iter().max_by_key(|file| file.bytes).expect("some");
    let path = header::path(file.sequence);
    let damaged = flipped(&store.disk, &path, 4096 + 100);
    let into = salvaged(&store, &damaged, "into");
    let before: BTreeMap<String, Vec<u8>> = damaged
        .files()
        .into_iter()
        .map(|path| (path.clone(), damaged.read_raw(&path).expect("listed")))
        .collect();
    let mut out = Vec::new();
    let code = repair(&damaged, &*clock(), &Place::Here, true, true, &mut out).expect("no I/O errors");
    let told = String::from_utf8(out).expect("text");
    assert_eq!(code, GOOD, "{told}");
    assert!(told.contains("\"repaired\":true") && told.contains("\"lost_keys\":[{"), "{told}");
    for (path, bytes) in before.iter().filter(|(path, _)| *path != "LOCK") {
        let aside = format!("damaged-1700000000000/{}", path.rsplit('/').next().expect("a name"));
        assert_eq!(damaged.read_raw(&aside).as_ref(), Some(bytes), "{path}");
    }
    assert_eq!(check::check(&damaged, &*clock()).expect("no I/O errors").exit_code(), GOOD);
    let mut rig = open(&damaged).expect("it was said to be good");
    assert!(lines(&rig) == into.lines);
    run(&mut rig, "SET and on");
    compacted(&rig, &Keep::NOTHING);
    let expected = lines(&rig);
    drop(rig);
    assert!(lines(&open(&damaged.kill()).expect("again")) == expected);
}

/// Once the new manifest stands, what was there before it is only in the folder beside.
fn assert_all_is_aside(before: &SimDisk, after: &SimDisk, context: &str) {
    let aside: Vec<String> = after.files().into_iter().filter(|path| path.starts_with("damaged-")).collect();
    for path in before.files().into_iter().filter(|path| path != "LOCK") {
        let name = path.rsplit('/').next().expect("a name");
        let copies = aside.iter().filter(|copy| copy.rsplit('/').next() == Some(name));
        let bytes = before.read_raw(&path);
        assert!(
            copies.into_iter().any(|copy| after.read_raw(copy) == bytes),
            "{context}: {path} was not put aside, or is not on the medium there"
        );
    }
}

#[test]
fn a_power_loss_at_any_operation_of_a_salvage_leaves_what_can_be_salvaged_again() {
    let store = store(&Keep::NOTHING);
    let file = store.catalog.files.iter().max_by_key(|file| file.bytes).expect("some");
    let damaged = flipped(&store.disk, &header::path(file.sequence), 4096 + 100);
    let expected = salvaged(&store, &damaged, "without a power loss").lines;
    // Each repair has a moment, and so a folder, of its own.
    let clock = clock();
    let salvage_here = |disk: &SimDisk| {
        clock.advance(std::time::Duration::from_millis(5));
        repair(disk, &*clock, &Place::Here, true, true, &mut Vec::new())
    };
    let (mut ended, mut by_itself, mut again) = (false, 0, 0);
    for stop in 0.. {
        let here = damaged.kill();
        here.crash_after(stop);
        ended = salvage_here(&here).is_ok();
        let styles = CrashStyle::ALL;
        for style in [CrashStyle::LoseAll, CrashStyle::KeepAll, styles[stop as usize % styles.len()]] {
            let after = here.crash(stop, style);
            let context = format!("{style:?} after {stop} operations");
            // Until the new manifest stands, the old one refuses what is damaged: it never opens with less, unasked.
            let code = salvage_here(&after).expect(&context);
            assert!([GOOD, NOTHING_TO_REPAIR].contains(&code), "{context}: {code}");
            *if code == GOOD { &mut again } else { &mut by_itself } += 1;
            if code == NOTHING_TO_REPAIR {
                assert_all_is_aside(&damaged, &after, &context);
            }
            let rig = open(&after).unwrap_or_else(|e| panic!("{context}: {e}"));
            assert!(lines(&rig) == expected, "{context}");
        }
        if ended {
            break;
        }
    }
    assert!(ended && by_itself > 0 && again > 0, "{by_itself} {again}");
}

#[test]
fn a_power_loss_at_any_operation_of_a_salvage_elsewhere_leaves_no_manifest_of_what_is_not_there() {
    let store = store(&Keep::NOTHING);
    let file = store.catalog.files.iter().max_by_key(|file| file.bytes).expect("some");
    let damaged = flipped(&store.disk, &header::path(file.sequence), 4096 + 100);
    let manifest = |disk: &SimDisk| disk.read_raw("MANIFEST-a");
    let (mut ended, mut in_flight) = (false, 0);
    for stop in 0.. {
        let target = SimDisk::new(5);
        target.crash_after(stop);
        ended = repair(&damaged, &*clock(), &Place::Into(&target), true, true, &mut Vec::new()).is_ok();
        let whole = target.crash(stop, CrashStyle::KeepAll);
        if manifest(&whole) != manifest(&target.crash(stop, CrashStyle::LoseAll)) {
            // Its name may be there before other names are.
            in_flight += 1;
            for chance in 0..40 {
                let after = target.crash(chance, CrashStyle::Random);
                for file in
                    whole.files().iter().filter(|file| file.contains('/') && manifest(&after).is_some())
                {
                    assert!(after.read_raw(file) == whole.read_raw(file), "{chance} after {stop}: {file}");
                }
            }
        }
        if ended {
            break;
        }
    }
    assert!(ended && in_flight > 0);
}

#[test]
fn check_and_the_refusal_to_start_say_what_is_at_stake_in_a_snapshot_and_what_saves_the_rest() {
    let store = store(&Keep::NOTHING);
    let path = store.disk.files().into_iter().find(|path| path.ends_with(".snap")).expect("there are some");
    let missing = store.disk.kill();
    missing.remove(&path).expect("it is listed");
    for damaged in [flipped(&store.disk, &path, 4096 + 30), missing] {
        let report = check::check(&damaged, &*clock()).expect("no I/O errors");
        let text = report.text();
        assert_eq!(report.exit_code(), DAMAGED, "{text}");
        let repaired = salvaged(&store, &damaged, &path);
        let rows = lost_rows(&repaired.told);
        assert!(rows > 0 && text.contains(&format!("at stake: {rows} rows of the snapshot")), "{text}");
        assert!(text.contains("repair DIR --salvage") && !text.contains("(0 bytes)"), "{text}");
        let json = report.json().to_string();
        assert!(
            json.contains(&format!("\"snapshot_damage\":{{\"snapshot_lsn\":{}", store.catalog.through)),
            "{json}"
        );
        assert!(json.contains(&format!("\"lost_rows\":{rows}")), "{json}");
        let refusal = open(&damaged.kill()).err().expect("a server refuses").to_string();
        assert!(refusal.contains("duramen check") && refusal.contains("--salvage"), "{refusal}");
    }
    // Damage of the log alone needs no such word.
    let log = store.disk.files().into_iter().filter(|path| path.starts_with("log/")).find(|path| {
        let bytes = store.disk.read_raw(path).expect("it is listed");
        bytes[4096..].iter().any(|&byte| byte != 0)
    });
    let damaged = store.disk.kill();
    damaged.remove(&log.expect("records behind the snapshot")).expect("it is listed");
    let report = check::check(&damaged, &*clock()).expect("no I/O errors");
    assert!(
        report.text().contains("repair DIR --into") && !report.text().contains("--salvage"),
        "{}",
        report.text()
    );
    assert!(report.json().to_string().contains("\"snapshot_damage\":null"));
}

#[test]
fn where_an_older_snapshot_leads_to_the_same_state_nothing_is_salvaged() {
    let window = duramen::snapshot::retained::Window::Us(1_000_000_000);
    let keep = Keep { snapshots: 3, window, ..Keep::NOTHING };
    let store = store(&keep);
    let file = store.catalog.files.iter().rfind(|file| file.kind == Kind::Delta).expect("a delta");
    let damaged = flipped(&store.disk, &header::path(file.sequence), 4096 + 30);
    let (target, mut out) = (SimDisk::new(2), Vec::new());
    let code =
        repair(&damaged, &*clock(), &Place::Into(&target), true, false, &mut out).expect("no I/O errors");
    let told = String::from_utf8(out).expect("text");
    assert_eq!(code, NOTHING_TO_REPAIR, "{told}");
    assert!(told.contains("older one") && told.contains("nothing is lost"), "{told}");
    assert!(lines(&open(&damaged).expect("it falls back")) == store.lines);
}

#[test]
fn without_manifests_a_log_that_is_whole_makes_the_store_again_and_a_shortened_one_is_refused() {
    for (window, is_whole) in [(1_000_000_000, true), (0, false)] {
        let window = match window {
            0 => duramen::snapshot::retained::Window::Nothing,
            us => duramen::snapshot::retained::Window::Us(us),
        };
        let store = store(&Keep { window, ..Keep::NOTHING });
        let disk = store.disk.kill();
        for copy in duramen::log::manifest::COPIES {
            disk.write_raw(copy, b"nothing");
        }
        let (target, mut out) = (SimDisk::new(2), Vec::new());
        let done = repair(&disk, &*clock(), &Place::Into(&target), true, false, &mut out);
        if !is_whole {
            let why = done.expect_err("no seed, no databases").to_string();
            assert!(why.contains("MANIFEST-a") && target.files().is_empty(), "{why}");
            continue;
        }
        assert_eq!(done.expect("the log has everything"), GOOD, "{}", String::from_utf8_lossy(&out));
        assert!(lines(&open(&target).expect("it was said to be good")) == store.lines);
    }
}

#[test]
fn what_is_certain_in_a_lost_block_is_kept_and_what_is_not_is_named() {
    // One block of one base: everything in it is lost, but for what came later.
    let disk = SimDisk::new(1);
    let mut rig = open(&disk).expect("an empty disk");
    for name in ["set", "deleted", "appended", "listed", "from", "gone", "silent"] {
        run(&mut rig, &format!("{} {{x}}{name} old", if name == "listed" { "RPUSH" } else { "SET" }));
    }
    (0..2000).for_each(|n| run(&mut rig, &format!("SET other:{n} {n}")));
    run(&mut rig, "SELECT 5");
    run(&mut rig, "SET {x}flushed 1");
    run(&mut rig, "SELECT 0");
    compacted(&rig, &Keep::NOTHING);
    for line in [
        "SET {x}set new",
        "APPEND {x}set er",
        "DEL {x}deleted",
        "APPEND {x}appended more",
        "RPUSH {x}listed more",
        "SET {x}to 1",
        "RENAME {x}from {x}to",
        "RENAME {x}gone {x}gone2",
        "SET {x}gone2 1",
        "SELECT 5",
        "FLUSHDB",
        "RPUSH {x}flushed 1 2",
        "SELECT 0",
    ] {
        run(&mut rig, line);
    }
    settle(&rig);
    let store = rig.server.store.get().expect("open");
    let (seed, catalog) = (store.keyspace.seed(), compact::catalogs(&store.log).expect("its own").current);
    let slot = KeyRef::new(b"{x}set", seed).slot;
    let file =
        *catalog.files.iter().find(|file| (file.first_slot..=file.last_slot).contains(&slot)).expect("one");
    let lines = lines(&rig);
    drop(rig);
    let store = Store { disk: disk.kill(), lines, catalog, seed };
    let damaged = store.disk.kill();
    damaged.remove(&header::path(file.sequence)).expect("it is there");
    let repaired = salvaged(&store, &damaged, "without the file");
    let has = |name: &str| repaired.lines.iter().any(|line| self::name(line) == name);
    assert!(has("0 {x}set") && has("0 {x}gone2") && has("5 {x}flushed"), "{}", repaired.told);
    let named: Vec<&str> = repaired.named.iter().map(String::as_str).collect();
    assert_eq!(named, ["0 {x}appended", "0 {x}listed", "0 {x}to"], "{}", repaired.told);
    assert!(
        repaired.told.contains("lost key: db0 {x}appended (1 ops of the log were dropped)"),
        "{}",
        repaired.told
    );
}

fn shown(disk: &SimDisk, json: bool) -> (i32, String) {
    let mut out = Vec::new();
    let (code, _) = inspect(disk, &*clock(), View::Snapshots, 10, json, &mut out).expect("no I/O errors");
    (code, String::from_utf8(out).expect("text"))
}

fn dumped(disk: &SimDisk, rows: &Rows, filter: &Filter, json: bool) -> (i32, String) {
    let mut out = Vec::new();
    let (code, _) = snapshot_files::dump(disk, rows, filter, json, &mut out).expect("no I/O errors");
    (code, String::from_utf8(out).expect("text"))
}

#[test]
fn snapshot_files_are_listed_with_what_is_damaged_in_them() {
    let keep = Keep { snapshots: 1, ..Keep::NOTHING };
    let store = store(&keep);
    let (code, text) = shown(&store.disk, false);
    assert_eq!(code, GOOD, "{text}");
    for file in &store.catalog.files {
        let line = text
            .lines()
            .find(|line| line.starts_with(&header::path(file.sequence)))
            .expect("each has a line");
        let kind = if file.kind == Kind::Base { " base " } else { " delta " };
        let says = [kind.to_owned(), format!(" {} rows {} ops {} bytes", file.rows, file.ops, file.bytes)];
        assert!(says.iter().all(|part| line.contains(part)), "{line}");
    }
    assert!(text.contains("current and retained base") && text.contains("db3:") && !text.contains("DAMAGED"));
    let largest = store.catalog.files.iter().max_by_key(|file| file.bytes).expect("some");
    let path = header::path(largest.sequence);
    let reader = FileReader::open(&store.disk, largest.sequence, Some(largest)).expect("whole");
    let damaged = flipped(&store.disk, &path, reader.index()[1].offset + 30);
    damaged.write_raw("snapshot/00000999.snap", b"left over");
    let (code, text) = shown(&damaged, false);
    assert_eq!(code, DAMAGED);
    assert!(text.contains(&format!("DAMAGED: offset {}", reader.index()[1].offset)), "{text}");
    assert!(
        text.contains("00000999.snap unlisted 9 bytes FAULT") && text.contains("rows cannot be read"),
        "{text}"
    );
    let (code, json) = shown(&damaged, true);
    assert_eq!((code, json.lines().count()), (DAMAGED, 1));
    assert!(json.contains("\"loses_rows\":true") && json.contains("\"state\":\"retained\""), "{json}");
}

#[test]
fn rows_of_snapshot_files_are_dumped_as_the_commands_that_make_them() {
    let store = store(&Keep::NOTHING);
    let whole = Filter::default();
    let (code, json) = dumped(&store.disk, &Rows::Current, &whole, true);
    let rows: u64 = store.catalog.files.iter().map(|file| file.rows).sum();
    assert_eq!((code, json.lines().count() as u64), (GOOD, rows));
    // Oldest file first, as they are applied: the state as of the snapshot.
    let (_, text) = dumped(&store.disk, &Rows::Current, &whole, false);
    let mut other = Rig::new();
    let mut selected = String::new();
    for line in text.lines() {
        let parts: Vec<&str> = line.splitn(7, ' ').collect();
        if selected != parts[5] {
            selected = parts[5].to_owned();
            run(&mut other, &format!("SELECT {}", selected.trim_start_matches("db")));
        }
        let command = words::split(parts[6]).expect("a line of words");
        let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        let (reply, _) = other.call(0, &args);
        assert!(!reply.starts_with(b"-"), "{line}: {}", String::from_utf8_lossy(&reply));
    }
    let snapshot_only = store.disk.kill();
    let target = SimDisk::new(2);
    let moment = duramen::tools::restore::Moment::Lsn(store.catalog.through);
    duramen::tools::restore::restore(&snapshot_only, &*clock(), &target, moment, false, &mut Vec::new())
        .expect("it is there");
    assert!(lines(&other) == lines(&open(&target).expect("it was said to be good")));

    let key = Filter { key: Some(b"{t}:2".to_vec()), ..Filter::default() };
    let (_, text) = dumped(&store.disk, &Rows::Current, &key, false);
    assert!(
        text.lines().count() == 2 && text.contains(" delta ") && text.ends_with("SET {t}:2 new2\n"),
        "{text}"
    );
    let third = Filter { db: Some(3), ..Filter::default() };
    assert_eq!(dumped(&store.disk, &Rows::Current, &third, false).1.lines().count(), 40);
    let file = &store.catalog.files[0];
    let (_, text) = dumped(&store.disk, &Rows::File(file.sequence), &whole, true);
    assert_eq!(text.lines().count() as u64, file.rows);
    let slot = KeyRef::new(b"{t}", store.seed).slot;
    let (_, text) = dumped(&store.disk, &Rows::Slots(slot..=slot), &whole, true);
    assert!(
        text.lines().count() > 300 && text.lines().all(|line| line.contains(&format!("\"slot\":{slot},")))
    );
    assert_eq!(dumped(&store.disk, &Rows::File(4711), &whole, true).0, CANNOT_TELL);

    let damaged = flipped(&store.disk, &header::path(file.sequence), 4096 + 30);
    let (code, text) = dumped(&damaged, &Rows::Current, &whole, true);
    assert_eq!(code, DAMAGED);
    assert!(!text.is_empty() && (text.lines().count() as u64) < rows);
}

#[test]
fn a_choice_of_rows_is_read_from_words() {
    let parse = snapshot_files::parse_rows;
    assert_eq!(parse(""), Ok(Rows::Current));
    for file in ["3", "00000003.snap", "snapshot/00000003.snap"] {
        assert_eq!(parse(file), Ok(Rows::File(3)));
    }
    assert_eq!(parse("7..16383"), Ok(Rows::Slots(7..=16383)));
    for bad in ["x", "1..", "1..16384", "..", "-1"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_lost_segment_that_is_older_than_the_snapshot_costs_no_key() {
    let window = duramen::snapshot::retained::Window::Us(1_000_000_000);
    let store = store(&Keep { window, ..Keep::NOTHING });
    let damaged = store.disk.kill();
    damaged.remove("log/00000001.log").expect("the window keeps it");
    assert!(open(&damaged.kill()).is_err(), "it is listed");
    for (place, salvage) in [(true, false), (false, true)] {
        let (here, target, mut out) = (damaged.kill(), SimDisk::new(2), Vec::new());
        let into = if place { Place::Into(&target) } else { Place::Here };
        let code = repair(&here, &*clock(), &into, salvage, false, &mut out).expect("no I/O errors");
        let told = String::from_utf8(out).expect("text");
        assert!(code == GOOD && !told.contains("lost: ") && !told.contains("lost key"), "{told}");
        let made = if place { target } else { here };
        assert!(lines(&open(&made).expect("it was said to be good")) == store.lines, "{told}");
    }
}

/// Without any segment behind the snapshot there is no end that the manifest could tell.
#[test]
fn a_log_of_which_nothing_is_left_costs_its_records_and_not_the_snapshot() {
    let disk = SimDisk::new(1);
    let mut rig = open(&disk).expect("an empty disk");
    (0..50).for_each(|n| run(&mut rig, &format!("SET k{n} {n}")));
    compacted(&rig, &Keep::NOTHING);
    let kept = lines(&rig);
    run(&mut rig, "SET late 1");
    settle(&rig);
    drop(rig);
    let names = disk.list("log").expect("it is there");
    for how in ["header", "missing", "empty", "short"] {
        let damaged = disk.kill();
        for path in names.iter().map(|name| format!("log/{name}")) {
            let bytes = damaged.read_raw(&path).expect("it was listed");
            match how {
                "header" => damaged.write_raw(&path, &bytes.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()),
                "missing" => damaged.remove(&path).expect("it was listed"),
                "empty" => damaged.write_raw(&path, &[]),
                _ => damaged.write_raw(&path, &bytes[..100]),
            }
        }
        assert!(open(&damaged.kill()).is_err(), "{how}: it is noticed");
        for elsewhere in [true, false] {
            let (here, target, mut out) = (damaged.kill(), SimDisk::new(2), Vec::new());
            let into = if elsewhere { Place::Into(&target) } else { Place::Here };
            let code = repair(&here, &*clock(), &into, false, false, &mut out).expect("no I/O errors");
            let told = String::from_utf8(out).expect("text");
            assert_eq!(code, GOOD, "{how}: {told}");
            let made = if elsewhere { target } else { here };
            assert!(lines(&open(&made).expect("it was said to be good")) == kept, "{how}: {told}");
        }
    }
}

/// A library of functions is lost, or whole again, as a key is: by rows of its own keyspace, and by FUNCTION LOAD and DELETE in the log.
#[test]
fn lost_libraries_of_functions_are_named_and_what_is_certain_of_them_is_kept() {
    let disk = SimDisk::new(1);
    let mut rig = open(&disk).expect("an empty disk");
    let seed = rig.server.store.get().expect("open").keyspace.seed();
    let range_of = |name: &str| KeyRef::new(name.as_bytes(), seed).slot / (slots_of(0).end() + 1);
    let (near, far): (Vec<String>, Vec<String>) =
        (0..4000).map(|n| format!("l{n}")).partition(|name| range_of(name) == range_of("l0"));
    let [set, deleted, changed, silent, elsewhere] = [&near[0], &near[1], &near[2], &near[3], &far[0]];
    let load = |rig: &mut Rig, name: &str, text: &str| {
        let code =
            format!("#!lua name={name}\nredis.register_function('{name}', function() return '{text}' end)");
        let (reply, _) = rig.call(0, &[b"FUNCTION", b"LOAD", b"REPLACE", code.as_bytes()]);
        assert!(reply.starts_with(b"$"), "{}", String::from_utf8_lossy(&reply));
    };
    for name in [set, deleted, changed, silent, elsewhere] {
        load(&mut rig, name, "old");
    }
    (0..3000).for_each(|n| run(&mut rig, &format!("SET other:{n} {n}")));
    compacted(&rig, &Keep::NOTHING);
    load(&mut rig, changed, "new");
    compacted(&rig, &Keep::NOTHING);
    load(&mut rig, set, "new");
    run(&mut rig, &format!("FUNCTION DELETE {deleted}"));
    settle(&rig);
    let catalog = compact::catalogs(&rig.server.store.get().expect("open").log).expect("its own").current;
    let lines = lines(&rig);
    drop(rig);
    let store = Store { disk: disk.kill(), lines, catalog, seed };
    let slot = KeyRef::new(set.as_bytes(), seed).slot;
    let file = |kind: Kind| {
        let own = |file: &&FileInfo| file.kind == kind && (file.first_slot..=file.last_slot).contains(&slot);
        *store.catalog.files.iter().find(own).unwrap_or_else(|| panic!("no {kind:?}"))
    };
    // Of what the base had, the delta and the log make whole what they have; nothing names the fourth.
    // What the base has may have been changed in the delta.
    for (kind, kept, named) in [
        (Kind::Base, vec![(set, "new"), (changed, "new"), (elsewhere, "old")], vec![]),
        (Kind::Delta, vec![(set, "new"), (elsewhere, "old")], vec![changed, silent]),
    ] {
        let damaged = store.disk.kill();
        damaged.remove(&header::path(file(kind).sequence)).expect("it is there");
        let repaired = salvaged(&store, &damaged, &format!("without the {kind:?}"));
        let told: BTreeSet<&str> =
            repaired.told.lines().filter_map(|line| line.strip_prefix("lost library: ")).collect();
        let older = |name: &&String| format!("{name} (an older file has it, perhaps out of date)");
        let named: Vec<String> = named.iter().map(older).collect();
        assert_eq!(told, named.iter().map(String::as_str).collect(), "{}", repaired.told);
        assert!(named.is_empty() || repaired.told.contains(", and 2 libraries\n"), "{}", repaired.told);
        let (target, mut out) = (SimDisk::new(2), Vec::new());
        let code = repair(&damaged, &*clock(), &Place::Into(&target), true, true, &mut out);
        assert_eq!(code.expect("no I/O errors"), GOOD);
        let json = String::from_utf8(out).expect("text");
        let fields = named.iter().map(|line| line.split(' ').next().expect("a name"));
        for name in fields {
            let field = format!("{{\"library\":\"{name}\",\"has_older\":true,\"dropped_ops\":0}}");
            assert!(json.contains(&field), "{json}");
        }
        let mut rig = open(&target).expect("it was said to be good");
        for name in [set, deleted, changed, silent, elsewhere] {
            let expected = match kept.iter().find(|(kept, _)| *kept == name) {
                Some((_, text)) => format!("$3\r\n{text}\r\n"),
                None => "-ERR Function not found\r\n".to_owned(),
            };
            assert_eq!(rig.run(&format!("FCALL {name} 0")), expected, "{name} without the {kind:?}");
        }
    }
}
