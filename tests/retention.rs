//! Retention on the simulated disk: what is kept can be restored, moment by moment; what is damaged is made up for or refused; what is
//! no longer wanted goes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use duramen::clock::{Clock, SimClock};
use duramen::disk::sim::CrashStyle;
use duramen::disk::{Disk, SimDisk};
use duramen::engine::rig::Rig;
use duramen::error::StoreError;
use duramen::log::{Log, LogOptions, Policy, Seed};
use duramen::snapshot::compact;
use duramen::snapshot::header;
use duramen::snapshot::retained::{Catalogs, Keep, Window};
use duramen::tools::restore::{Moment, restore};
use duramen::tools::{GOOD, WARNINGS, check, dump, words};

/// Longer than any history here that uses it.
const EVERYTHING: Keep = Keep { snapshots: 9, window: Window::Us(1_000_000_000), ..Keep::NOTHING };

fn options() -> LogOptions {
    LogOptions { segment_bytes: 8 << 10, policy: Policy::Always, threads: false, ..LogOptions::default() }
}

fn open(disk: &SimDisk, clock: &Arc<SimClock>) -> Result<Rig, StoreError> {
    Rig::open(Arc::new(disk.clone()) as Arc<dyn Disk>, clock.clone(), options())
}

/// The state behind a record.
struct State {
    lsn: u64,
    wall_us: u64,
    text: String,
}

struct History {
    rig: Rig,
    disk: SimDisk,
    clock: Arc<SimClock>,
    states: Vec<State>,
}

fn log(rig: &Rig) -> &Log {
    &rig.server.store.get().expect("the rig opened it").log
}

impl History {
    fn new() -> Self {
        let (disk, clock) = (SimDisk::new(1), Arc::new(SimClock::at_ms(1_700_000_000_000)));
        let rig = open(&disk, &clock).expect("an empty disk");
        let states = vec![State { lsn: 0, wall_us: 0, text: rig.state() }];
        Self { rig, disk, clock, states }
    }

    /// Runs commands whose records are written together, a second after what was before.
    fn run(&mut self, lines: &[&str]) {
        self.clock.advance(Duration::from_secs(1));
        for line in lines {
            let reply = self.rig.run(line);
            assert!(!reply.starts_with('-'), "{line}: {reply}");
            let lsn = log(&self.rig).append_lsn();
            if self.states.last().is_some_and(|last| last.lsn < lsn) {
                self.states.push(State { lsn, wall_us: self.clock.wall_us(), text: self.rig.state() });
            }
        }
        self.settle();
    }

    fn settle(&self) {
        log(&self.rig).flush_tick(true);
        self.rig.settle();
    }

    fn compact(&self, keep: &Keep, budget_bytes: usize) {
        log(&self.rig).seal();
        self.settle();
        compact_rig(&self.rig, keep, budget_bytes);
    }

    fn catalogs(&self) -> Catalogs {
        compact::catalogs(log(&self.rig)).expect("this program wrote it")
    }

    fn snapshot_files(&self) -> HashSet<String> {
        self.disk.files().into_iter().filter(|path| path.ends_with(".snap")).collect()
    }

    /// Restores, starts, and says the state; or why not.
    fn restored(&self, moment: Moment) -> Result<(SimDisk, Rig), String> {
        let (source, target) = (self.disk.kill(), SimDisk::new(2));
        let mut out = Vec::new();
        let code =
            restore(&source, &*self.clock, &target, moment, false, &mut out).map_err(|e| e.to_string())?;
        let told = String::from_utf8(out).expect("text");
        assert_eq!(code, GOOD, "{moment:?}: {told}");
        let rig = open(&target.kill(), &self.clock).map_err(|e| format!("it was said to be good: {e}"))?;
        Ok((target, rig))
    }

    fn assert_restores(&self, state: &State) {
        let (_, rig) =
            self.restored(Moment::Lsn(state.lsn)).unwrap_or_else(|e| panic!("LSN {}: {e}", state.lsn));
        assert!(rig.state() == state.text, "LSN {}", state.lsn);
        assert_eq!(log(&rig).append_lsn(), state.lsn);
    }
}

fn compact_rig(rig: &Rig, keep: &Keep, budget_bytes: usize) {
    let store = rig.server.store.get().expect("the rig opened it");
    let mut options = compact::Options {
        seed: Seed(store.keyspace.seed()),
        level: 1,
        budget_bytes,
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

/// All types, ops on whole databases, records of several frames, frames of several records.
fn busy() -> History {
    let mut history = History::new();
    let (large, small) = ("v".repeat(9000), "w".repeat(700));
    for round in 0..5 {
        history.run(&["SET a 1", "APPEND a 23", "SETBIT bits 77 1"]);
        history.run(&[&format!("RPUSH list {round} x y z"), "LPOP list", "LSET list 0 changed"]);
        history.run(&[&format!("HSET hash f{round} v g w"), "HPEXPIREAT hash 9999999999999 FIELDS 1 g"]);
        history.run(&[&format!("SET large{round} {large}")]);
        history.run(&["SELECT 3", "SET third 1", "SELECT 0", "SWAPDB 0 3", "SET b two PXAT 99999999999999"]);
        history.run(&[
            &format!("SET {{t}}:{round} {small}"),
            &format!("RENAME {{t}}:{round} {{t}}:n"),
            "DEL a",
        ]);
        if round == 2 {
            history.run(&["FLUSHDB", "SET after flush"]);
        }
        for n in 0..6 {
            history.run(&[&format!("SET key:{round}:{n} {small}"), "INCR counter"]);
        }
        if round < 4 {
            // A small budget makes several rounds, whose ends are no snapshots to be kept.
            history.compact(&EVERYTHING, if round == 1 { 3000 } else { 1 << 20 });
        }
    }
    history
}

#[test]
fn restoring_to_each_lsn_gives_the_state_at_that_lsn() {
    let history = busy();
    assert_eq!(history.catalogs().retained.len(), 4, "the empty one, and what each compaction replaced");
    for (state, next) in history.states.iter().zip(history.states.iter().skip(1)) {
        history.assert_restores(state);
        let (_, rig) = history.restored(Moment::Lsn(next.lsn - 1)).expect("the record before");
        assert!(rig.state() == state.text, "within the record that ends at LSN {}", next.lsn);
    }
    let last = history.states.last().expect("many");
    history.assert_restores(last);
    let beyond = history.restored(Moment::Lsn(last.lsn + 1)).err().expect("nothing is there");
    assert!(beyond.contains(&format!("the log ends at LSN {}", last.lsn)), "{beyond}");
}

#[test]
fn restoring_to_a_time_gives_what_was_written_by_then() {
    let history = busy();
    let mut times: Vec<u64> = history.states.iter().skip(1).map(|state| state.wall_us).collect();
    times.dedup();
    let last = *times.last().expect("many");
    for time in times {
        for at in [time, time + 999_999].into_iter().filter(|&at| at <= last) {
            let expected = history.states.iter().rev().find(|state| state.wall_us <= at).expect("the first");
            let (_, rig) = history.restored(Moment::Time(at)).unwrap_or_else(|e| panic!("{at}: {e}"));
            assert!(rig.state() == expected.text, "{at}");
            assert_eq!(log(&rig).append_lsn(), expected.lsn);
        }
    }
    let early = history.restored(Moment::Time(1_600_000_000_000_000)).err().expect("nothing was there");
    assert!(early.contains("the oldest moment"), "{early}");
    let late = history.restored(Moment::Time(last + 1)).err().expect("nobody knows what came then");
    let end = history.states.last().expect("many").lsn;
    assert!(late.contains(&format!("the log ends at LSN {end}")), "{late}");
    assert!(late.contains(&words::time(last)) && late.contains(&format!("--to-lsn {end}")), "{late}");
}

#[test]
fn a_moment_between_the_last_record_and_a_later_snapshot_is_there() {
    let mut history = History::new();
    history.run(&["SET a 1"]);
    let written_us = history.states.last().expect("one").wall_us;
    history.clock.advance(Duration::from_secs(60));
    history.compact(&EVERYTHING, 1 << 20);
    let (_, rig) = history.restored(Moment::Time(written_us + 30_000_000)).expect("the snapshot is later");
    assert!(rig.state() == history.states.last().expect("one").text);
    assert!(history.restored(Moment::Time(written_us + 90_000_000)).is_err());
}

#[test]
fn a_restored_directory_is_a_store_like_any_other() {
    let history = busy();
    for index in [0, 1, history.states.len() / 2, history.states.len() - 1] {
        let state = &history.states[index];
        let (disk, mut rig) = history.restored(Moment::Lsn(state.lsn)).expect("it is kept");
        drop(rig);
        rig = open(&disk, &history.clock).expect("again");
        rig.run("SET new value");
        log(&rig).seal();
        log(&rig).flush_tick(true);
        rig.settle();
        compact_rig(&rig, &Keep::NOTHING, 1 << 20);
        rig.run("RPUSH newer 1 2 3");
        log(&rig).flush_tick(true);
        rig.settle();
        let expected = rig.state();
        drop(rig);
        let disk = disk.crash(5, CrashStyle::Random);
        assert!(open(&disk, &history.clock).expect("a third time").state() == expected);
        assert_eq!(check::check(&disk, &*history.clock).expect("no I/O errors").exit_code(), GOOD);
    }
}

#[test]
fn damage_behind_the_moment_does_not_keep_from_restoring_and_damage_before_it_does() {
    let history = busy();
    let logs: Vec<String> = history.disk.files().into_iter().filter(|path| path.ends_with(".log")).collect();
    let whole = history.disk.kill();
    let (mut made, mut refused) = (0, 0);
    for path in &logs {
        let damaged = whole.kill();
        let mut bytes = damaged.read_raw(path).expect("it is listed");
        let Some(last) = bytes.iter().rposition(|&byte| byte != 0).filter(|&last| last > 4096) else {
            continue;
        };
        let at = 4096 + (last - 4096) / 2;
        bytes[at] ^= 0x20;
        damaged.write_raw(path, &bytes);
        for state in history.states.iter().step_by(7) {
            let target = SimDisk::new(2);
            match restore(&damaged, &*history.clock, &target, Moment::Lsn(state.lsn), true, &mut Vec::new()) {
                Ok(code) => {
                    assert_eq!(code, GOOD);
                    made += 1;
                    assert!(open(&target, &history.clock).expect("it is good").state() == state.text);
                }
                Err(_) => refused += 1,
            }
        }
        // Up to the last record: all of it, or nothing.
        let target = SimDisk::new(2);
        let moment = Moment::Time(history.states.last().expect("many").wall_us);
        if restore(&damaged, &*history.clock, &target, moment, true, &mut Vec::new()).is_ok() {
            let rig = open(&target, &history.clock).expect("it is good");
            assert!(rig.state() == history.states.last().expect("many").text, "{path}");
        }
    }
    assert!(made > 20 && refused > 20, "{made} {refused}");
}

#[test]
fn a_crash_while_restoring_leaves_no_store_or_the_whole() {
    let history = busy();
    let middle = history.states.len() / 2;
    // Some of them lie inside a frame.
    for state in &history.states[middle..middle + 3] {
        crashes_while_restoring(&history, state);
    }
}

fn crashes_while_restoring(history: &History, state: &State) {
    let (mut whole, mut none) = (0, 0);
    for mutations in 0.. {
        let (source, target) = (history.disk.kill(), SimDisk::new(2));
        target.crash_after(mutations);
        let outcome =
            restore(&source, &*history.clock, &target, Moment::Lsn(state.lsn), true, &mut Vec::new());
        for seed in 0..4 {
            let found = target.crash(seed, CrashStyle::RandomWithGarbage);
            if !found.files().iter().any(|path| path == "MANIFEST-a") {
                // Nothing, or files that are refused.
                let opened = open(&found, &history.clock);
                assert!(opened.is_err() || opened.is_ok_and(|rig| rig.state() == history.states[0].text));
                none += 1;
                continue;
            }
            match open(&found, &history.clock) {
                Err(error) => panic!("after {mutations} operations: {error}"),
                Ok(rig) => {
                    assert!(rig.state() == state.text, "after {mutations} operations");
                    whole += 1;
                }
            }
        }
        if !target.has_crashed() {
            assert_eq!(outcome.expect("nothing kept it from that"), GOOD);
            break;
        }
    }
    assert!(whole > 3 && none > 40, "{whole} {none}");
}

/// Writes and compacts for long, and tries what the window promises.
fn keeps_its_window(window: Window, in_window: impl Fn(&History, &State) -> bool) {
    let mut history = History::new();
    let keep = Keep { window, ..Keep::NOTHING };
    let value = "v".repeat(1500);
    let mut refused = 0;
    for round in 0..30 {
        for n in 0..4 {
            history.run(&[&format!("SET key:{} {value}{round}", (round + n) % 7), "INCR counter"]);
        }
        history.compact(&keep, if round % 3 == 0 { 4000 } else { 1 << 20 });
        if round % 5 != 4 {
            continue;
        }
        for state in history.states.iter().step_by(3) {
            if in_window(&history, state) {
                history.assert_restores(state);
            } else if history.restored(Moment::Lsn(state.lsn)).is_err() {
                refused += 1;
            }
        }
        let listed: HashSet<String> = history.catalogs().files().into_iter().map(header::path).collect();
        assert_eq!(history.snapshot_files(), listed);
    }
    assert!(refused > 20, "what has left the window goes: {refused}");
    let first = log(&history.rig).first_lsn();
    let half = history.states[history.states.len() / 2].lsn;
    assert!(first > half, "the log begins at {first}, half of it at {half}");
    let early = history.restored(Moment::Lsn(history.states[2].lsn)).err().expect("long gone");
    assert!(early.contains("the oldest moment from which on everything can be restored is LSN"), "{early}");
}

#[test]
fn every_moment_in_a_window_of_time_can_be_restored() {
    keeps_its_window(Window::Us(20_000_000), |history, state| {
        state.wall_us + 20_000_000 >= history.clock.wall_us()
    });
}

#[test]
fn every_moment_in_a_window_of_bytes_can_be_restored() {
    keeps_its_window(Window::Bytes(60_000), |history, state| {
        let sealed = log(&history.rig).sealed();
        let mut bytes = 60_000_u64;
        let kept = sealed.iter().rev().take_while(|segment| {
            let fits = bytes.checked_sub(segment.bytes);
            bytes = fits.unwrap_or(0);
            fits.is_some()
        });
        kept.last().is_some_and(|oldest| state.lsn >= oldest.first_lsn)
    });
}

#[test]
fn older_snapshots_are_there_while_they_are_listed_and_no_longer() {
    let mut history = History::new();
    let keep = Keep { snapshots: 2, ..Keep::NOTHING };
    let mut ends = Vec::new();
    for round in 0..6 {
        for n in 0..40 {
            history.run(&[&format!("SET key:{n} {round}")]);
        }
        history.compact(&keep, 1 << 20);
        ends.push(history.catalogs().current.through);
        let catalogs = history.catalogs();
        let older: Vec<u64> = catalogs.retained.iter().map(|older| older.through).collect();
        assert_eq!(older, ends[ends.len().saturating_sub(3)..ends.len() - 1]);
        let listed: HashSet<String> = catalogs.files().into_iter().map(header::path).collect();
        assert_eq!(history.snapshot_files(), listed);
        assert!(round < 2 || catalogs.extra_bytes() > 0);
    }
    // A start removes none of them.
    history.rig = open(&history.disk.kill(), &history.clock).expect("it opens");
    let kept = history.catalogs();
    assert_eq!(kept.retained.len(), 2);
    // Without the log, exactly those can be had.
    for older in &kept.retained {
        let state = history.states.iter().find(|state| state.lsn == older.through).expect("a record's end");
        history.assert_restores(state);
        let between = history.restored(Moment::Lsn(older.through + 1)).err().expect("the log is gone");
        assert!(between.contains(&older.through.to_string()), "{between}");
    }
    let store = history.rig.server.store.get().expect("open");
    for (snapshots, left) in [(1, 1), (0, 0)] {
        let keep = Keep { snapshots, ..Keep::NOTHING };
        assert!(
            compact::trim(&store.log, &*store.disk, &*history.clock, &keep).expect("no faults").is_some()
        );
        assert_eq!(history.catalogs().retained.len(), left);
        assert!(
            compact::trim(&store.log, &*store.disk, &*history.clock, &keep).expect("no faults").is_none()
        );
    }
    let listed: HashSet<String> = history.catalogs().files().into_iter().map(header::path).collect();
    assert_eq!(listed.len(), history.catalogs().current.files.len());
}

/// Damages each file of the newest snapshot in turn, and starts.
#[test]
fn a_damaged_newest_snapshot_is_made_up_for_by_an_older_one_or_refused() {
    let history = busy();
    let expected = &history.states.last().expect("many").text;
    let current = history.catalogs().current;
    let own = |path: &str| {
        history
            .catalogs()
            .retained
            .iter()
            .any(|older| older.files.iter().any(|f| header::path(f.sequence) == path))
    };
    let (mut made_up, mut refused) = (0, 0);
    for file in &current.files {
        let path = header::path(file.sequence);
        let whole = history.disk.read_raw(&path).expect("it is listed");
        let mut damages: Vec<Option<Vec<u8>>> = vec![None];
        for at in (0..whole.len()).step_by(509).chain([whole.len() - 1]) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x04;
            damages.push(Some(flipped));
        }
        damages.extend([0, 4095, 4100, whole.len() - 1].map(|len| Some(whole[..len].to_vec())));
        for damage in damages {
            let disk = history.disk.kill();
            match &damage {
                Some(bytes) => disk.write_raw(&path, bytes),
                None => disk.remove(&path).expect("it is there"),
            }
            let report = check::check(&disk, &*history.clock).expect("no I/O errors");
            match open(&disk, &history.clock) {
                Ok(rig) => {
                    assert!(rig.state() == *expected, "{path}");
                    let said = rig.server.snapshots.fallback.lock().clone().expect("it is said aloud");
                    assert!(
                        said.contains(&path) && report.exit_code() == WARNINGS,
                        "{said}\n{}",
                        report.text()
                    );
                    assert!(report.text().contains("the newest snapshot"), "{}", report.text());
                    made_up += 1;
                }
                Err(error) => {
                    assert!(error.to_string().contains(&path) && own(&path), "{error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(made_up > 50, "{made_up} made up for, {refused} refused");
}

#[test]
fn what_was_damaged_is_not_built_upon() {
    let mut history = busy();
    let catalogs = history.catalogs();
    let older: HashSet<u64> = catalogs.retained.iter().flat_map(|c| &c.files).map(|f| f.sequence).collect();
    let file = catalogs.current.files.iter().find(|file| !older.contains(&file.sequence)).expect("its own");
    let path = header::path(file.sequence);
    history.disk = history.disk.kill();
    history.disk.remove(&path).expect("it is there");
    history.rig = open(&history.disk, &history.clock).expect("an older one takes its place");
    assert!(history.catalogs().current.through < catalogs.current.through);
    history.run(&["SET more 1"]);
    // The next start, before any compaction, finds nothing wrong.
    history.disk = history.disk.crash(3, CrashStyle::Random);
    history.rig = open(&history.disk, &history.clock).expect("again");
    assert!(history.rig.server.snapshots.fallback.lock().is_none());
    history.run(&["SET more 2"]);
    history.compact(&EVERYTHING, 1 << 20);
    assert!(history.catalogs().current.files.iter().all(|new| new.sequence != file.sequence || new == file));
    let expected = history.rig.state();
    let disk = history.disk.kill();
    let rig = open(&disk, &history.clock).expect("a third time");
    assert!(rig.state() == expected && rig.server.snapshots.fallback.lock().is_none());
    assert_eq!(check::check(&disk, &*history.clock).expect("no I/O errors").exit_code(), GOOD);
}

#[test]
fn restoring_uses_an_older_snapshot_where_the_newest_is_damaged_and_says_so() {
    let history = busy();
    let catalogs = history.catalogs();
    let older: HashSet<u64> = catalogs.retained.iter().flat_map(|c| &c.files).map(|f| f.sequence).collect();
    let file = catalogs.current.files.iter().find(|file| !older.contains(&file.sequence)).expect("its own");
    let path = header::path(file.sequence);
    let disk = history.disk.kill();
    let mut bytes = disk.read_raw(&path).expect("it is listed");
    bytes[4096 + 20] ^= 1;
    disk.write_raw(&path, &bytes);
    let (last, target) = (history.states.last().expect("many"), SimDisk::new(2));
    let mut out = Vec::new();
    let code = restore(&disk, &*history.clock, &target, Moment::Lsn(last.lsn), false, &mut out);
    let told = String::from_utf8(out).expect("text");
    assert_eq!(code.expect("it can be done"), GOOD, "{told}");
    assert!(told.contains(&path) && told.contains("an older one is"), "{told}");
    assert!(open(&target, &history.clock).expect("it is good").state() == last.text);
}

#[test]
fn without_the_log_behind_it_an_older_snapshot_does_not_stand_in() {
    let mut history = History::new();
    for round in 0..3 {
        for n in 0..40 {
            history.run(&[&format!("SET key:{n} {round}")]);
        }
        history.compact(&Keep { snapshots: 2, ..Keep::NOTHING }, 1 << 20);
    }
    let catalogs = history.catalogs();
    let path = header::path(catalogs.current.files.last().expect("there are keys").sequence);
    let disk = history.disk.kill();
    disk.remove(&path).expect("it is there");
    let error = open(&disk, &history.clock).err().expect("the log is gone").to_string();
    let next = format!("duramen restore --to-lsn {}", catalogs.retained[1].through);
    assert!(error.contains(&path) && error.contains(&next) && error.contains("backup"), "{error}");
    let report = check::check(&disk, &*history.clock).expect("no I/O errors");
    assert!(report.text().contains(&path), "{}", report.text());
}

#[test]
fn damage_in_what_is_kept_is_a_warning_and_the_kept_log_is_dumped() {
    let history = busy();
    let catalogs = history.catalogs();
    let disk = history.disk.kill();
    let mut records = Vec::new();
    let filter = dump::Filter::default();
    dump::records(&disk, &*history.clock, &filter, true, &mut records).expect("no I/O errors");
    let records = String::from_utf8(records).expect("text");
    assert_eq!(records.lines().count(), history.states.len() - 1, "from the store's first record on");

    let sequence = log(&history.rig).sealed()[0].sequence;
    let path = duramen::log::segment::path(sequence);
    let mut bytes = disk.read_raw(&path).expect("it is listed");
    bytes[4096 + 85] ^= 1;
    disk.write_raw(&path, &bytes);
    let current: HashSet<u64> = catalogs.current.files.iter().map(|f| f.sequence).collect();
    let older = catalogs.retained.iter().flat_map(|c| &c.files).find(|f| !current.contains(&f.sequence));
    let older = header::path(older.expect("one that was replaced").sequence);
    disk.remove(&older).expect("it is there");
    let report = check::check(&disk, &*history.clock).expect("no I/O errors");
    assert_eq!(report.exit_code(), WARNINGS, "{}", report.text());
    assert!(report.text().contains(&path) && report.text().contains(&older), "{}", report.text());
    assert!(open(&disk, &history.clock).is_ok());
}

#[test]
fn a_directory_that_is_not_empty_is_not_restored_into() {
    let history = busy();
    let target = SimDisk::new(2);
    target.write_raw("something", b"else");
    let moment = Moment::Lsn(history.states[5].lsn);
    let refused = restore(&history.disk.kill(), &*history.clock, &target, moment, false, &mut Vec::new());
    assert!(refused.is_err_and(|error| error.to_string().contains("not empty")));
    assert_eq!(target.files(), ["something"]);
}
