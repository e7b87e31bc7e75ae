//! Frozen formats: data directories that earlier programs wrote, which every later one must read to exactly the same state.
//!
//! ```text
//! tests/formats/v1/<sample>/MANIFEST-a ...   the directory
//! tests/formats/v1/<sample>/state.txt        what is in it: the LSN at which it ends, and the whole state as text
//! ```
//!
//! A sample is never changed: a directory of it may be on somebody's disk. Whoever adds an op adds a sample with it; whoever raises
//! a version adds samples of the new one and keeps the old. `UPDATE_FORMATS=1` writes those that there are not
//! yet, from the lines in `samples.rs`. Clock and chance are simulated, so the same lines give the same bytes: that is checked too, for as
//! long as this program writes the version of the sample.

mod samples;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use duramen::clock::SimClock;
use duramen::codec::{Cursor, put_bytes};
use duramen::disk::SimDisk;
use duramen::engine::rig::Rig;
use duramen::keyspace::op::AnyOp;
use duramen::log::manifest::{COPIES, Manifest};
use duramen::log::{Log, LogOptions, Policy, Recovered, Seed};
use duramen::snapshot::compact;
use duramen::snapshot::retained::Keep;
use samples::{SAMPLES, Sample};

fn folder(sample: &Sample) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(sample.version).join(sample.name)
}

fn options(policy: Policy) -> LogOptions {
    LogOptions { segment_bytes: 8 << 10, policy, threads: false, ..LogOptions::default() }
}

fn clock(ids: u64) -> Arc<SimClock> {
    let clock = Arc::new(SimClock::at_ms(1_700_000_000_000));
    clock.seed_ids(ids);
    clock
}

/// A store and the clock that it goes by.
struct Store {
    disk: SimDisk,
    clock: Arc<SimClock>,
    rig: Rig,
}

impl Store {
    fn open(disk: SimDisk, clock: Arc<SimClock>, policy: Policy) -> Self {
        let rig = Rig::open(Arc::new(disk.clone()), clock.clone(), options(policy));
        let rig = rig.unwrap_or_else(|error| panic!("it does not open: {error}"));
        Self { disk, clock, rig }
    }

    fn log(&self) -> &Log {
        &self.rig.server.store.get().expect("the rig opened it").log
    }

    fn compact(&self, level: i32) {
        self.log().seal();
        self.rig.settle();
        let store = self.rig.server.store.get().expect("the rig opened it");
        let seed = Seed(store.keyspace.seed());
        let options =
            compact::Options { seed, level, budget_bytes: 1 << 20, reserve_bytes: 0, keep: Keep::NOTHING };
        let round = || compact::round(&store.log, &*store.disk, &*self.clock, &options, &mut |_| Ok(()));
        while round().expect("the disk has no faults").is_some() {}
    }

    fn line(&mut self, line: &str, policy: Policy) {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        match first {
            "pass" => self.clock.advance(Duration::from_millis(rest.parse().expect("milliseconds"))),
            "compact" => self.compact(rest.parse().expect("a level of compression")),
            "direct" => self.log().set_policy(Policy::Always),
            "buffered" => self.log().set_policy(Policy::EverySec),
            "end" => return self.log().shutdown().expect("the disk has no faults"),
            "restart" => {
                self.log().shutdown().expect("the disk has no faults");
                let (disk, clock) = (self.disk.clone(), self.clock.clone());
                self.rig = Rig::default();
                *self = Self::open(disk, clock, policy);
            }
            _ => {
                let words: Vec<Vec<u8>> = line.split(' ').map(word).collect();
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                let (reply, _) = self.rig.call(0, &words);
                assert!(!reply.starts_with(b"-"), "{line}: {}", String::from_utf8_lossy(&reply));
            }
        }
        self.rig.settle();
    }

    /// As it stands in `state.txt`.
    fn state(&self) -> String {
        format!("end LSN {}\n{}", self.log().append_lsn(), self.rig.state())
    }
}

/// `%300` is a value of so many letters.
fn word(text: &str) -> Vec<u8> {
    match text.strip_prefix('%').and_then(|len| len.parse::<u32>().ok()) {
        Some(len) => (0..len).map(|at| b'a' + ((at * at / 7 + at * 31 + len) % 26) as u8).collect(),
        None => text.as_bytes().to_vec(),
    }
}

/// Files of a directory, and its state.
type Written = (Vec<(String, Vec<u8>)>, String);

fn write(sample: &Sample) -> Written {
    let mut store = Store::open(SimDisk::new(1), clock(77), sample.policy);
    for line in sample.lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        store.line(line, sample.policy);
    }
    let state = store.state();
    let disk = store.disk.kill();
    let files = disk.files().into_iter().filter(|path| path != "LOCK");
    let read = |path: String| (path.clone(), disk.read_raw(&path).expect("it was just listed"));
    (files.map(read).collect(), state)
}

fn kept(sample: &Sample) -> Written {
    let root = folder(sample);
    let mut files = Vec::new();
    for part in ["", "log", "snapshot"] {
        let Ok(entries) = fs::read_dir(root.join(part)) else { continue };
        for entry in entries.map(|entry| entry.expect("the folder is readable")) {
            let name = entry.file_name().into_string().expect("the names are ours");
            if entry.path().is_file() && name != "state.txt" {
                let path = if part.is_empty() { name } else { format!("{part}/{name}") };
                files.push((path, fs::read(entry.path()).expect("the sample is readable")));
            }
        }
    }
    files.sort();
    let state = fs::read_to_string(root.join("state.txt"));
    (files, state.unwrap_or_else(|error| panic!("{}: {error}", root.display())))
}

fn disk_of(files: &[(String, Vec<u8>)]) -> SimDisk {
    let disk = SimDisk::new(2);
    files.iter().for_each(|(path, bytes)| disk.write_raw(path, bytes));
    disk
}

#[test]
fn every_sample_is_read_to_exactly_its_state_and_goes_on() {
    for sample in SAMPLES {
        let root = folder(sample);
        if std::env::var("UPDATE_FORMATS").is_ok() && !root.exists() {
            let (files, state) = write(sample);
            for (path, bytes) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("it has a folder")).expect("the tree is writable");
                fs::write(path, bytes).expect("the tree is writable");
            }
            fs::write(root.join("state.txt"), state).expect("the tree is writable");
        }
        let (files, state) = kept(sample);
        let disk = disk_of(&files);
        let mut store = Store::open(disk, clock(1 << 30), Policy::EverySec);
        assert_eq!(store.state(), state, "{}", sample.name);
        store.line("SET {added}later 1", Policy::EverySec);
        store.compact(3);
        let state = store.state();
        store.line("restart", Policy::EverySec);
        assert_eq!(store.state(), state, "{}: after another record and compaction", sample.name);
    }
}

#[test]
fn the_same_writes_give_the_bytes_of_the_sample() {
    for sample in SAMPLES.iter().filter(|sample| sample.is_deterministic) {
        let ((kept_files, kept_state), (files, state)) = (kept(sample), write(sample));
        assert_eq!(state, kept_state, "{}", sample.name);
        let names =
            |files: &[(String, Vec<u8>)]| files.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
        assert_eq!(names(&files), names(&kept_files), "{}", sample.name);
        for ((path, bytes), (_, kept)) in files.iter().zip(&kept_files) {
            let first = bytes.iter().zip(kept).position(|(now, then)| now != then);
            assert!(
                bytes == kept,
                "{}/{path}: {} bytes, were {}; the first that differs is {first:?}",
                sample.name,
                bytes.len(),
                kept.len()
            );
        }
    }
}

#[test]
fn a_manifest_of_every_sample_encodes_to_itself() {
    for sample in SAMPLES {
        for (path, bytes) in kept(sample).0.iter().filter(|(path, _)| COPIES.contains(&path.as_str())) {
            let manifest = Manifest::decode(bytes).unwrap_or_else(|error| panic!("{path}: {error:?}"));
            assert_eq!(manifest.encode(), *bytes, "{}/{path}", sample.name);
        }
    }
}

/// Whoever adds an op adds a sample.
#[test]
fn every_op_there_is_stands_in_the_log_of_a_sample() {
    let is_known = |code: u8| {
        let mut op = vec![code, 0];
        put_bytes(&mut op, b"key");
        // The decoder tells of an unknown code before it looks at what comes behind.
        AnyOp::decode(&op).map_or_else(|malformed| !malformed.0.contains("unknown"), |_| true)
    };
    let mut missing: BTreeSet<u8> = (0..=u8::MAX).filter(|&code| is_known(code)).collect();
    assert!(missing.len() > 20, "{missing:?}");
    let mut kinds = BTreeSet::new();
    for sample in SAMPLES {
        let disk = Arc::new(disk_of(&kept(sample).0));
        let opened = Log::open(disk, clock(1 << 40), options(Policy::EverySec), &mut |recovered| {
            match recovered {
                Recovered::Begin { sections, from, .. } => {
                    for section in
                        sections.iter().filter(|section| section.tag == duramen::snapshot::catalog::TAG)
                    {
                        let catalog = duramen::snapshot::catalog::Catalog::decode(&section.bytes);
                        let catalog = catalog.expect("the sample's list can be read");
                        *from = catalog.through;
                        kinds.extend(catalog.files.iter().map(|file| format!("{:?}", file.kind)));
                    }
                }
                Recovered::Record { body, .. } => {
                    let mut ops = Cursor::new(body);
                    while !ops.is_empty() {
                        missing.remove(&ops.bytes().expect("the sample's ops can be read")[0]);
                    }
                }
                Recovered::Progress { .. } | Recovered::End => {}
            }
            Ok(())
        });
        opened.expect("the sample's log opens");
    }
    assert!(missing.is_empty(), "no sample has ops with the codes {missing:#04x?}: add one to samples.rs");
    assert_eq!(kinds.len(), 2, "bases and deltas: {kinds:?}");
}
