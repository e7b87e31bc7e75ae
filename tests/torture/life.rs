//! One life of a store: a workload carried out on a disk that keeps an image from before each of its operations, and what was
//! promised meanwhile.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use duramen::clock::SimClock;
use duramen::codec::Cursor;
use duramen::disk::{Disk, SimDisk};
use duramen::engine::rig::Rig;
use duramen::error::StoreError;
use duramen::keyspace::Keyspace;
use duramen::log::{Log, LogOptions, Policy, Seed};
use duramen::snapshot::catalog::Catalog;
use duramen::snapshot::compact;
use duramen::snapshot::header::Kind;
use duramen::snapshot::retained::{Keep, Window};
use parking_lot::Mutex;

use crate::workloads::Workload;

pub fn options(policy: Policy) -> LogOptions {
    LogOptions { segment_bytes: 8 << 10, policy, threads: false, ..LogOptions::default() }
}

/// Rounds until nothing is left to move.
pub fn compact(
    log: &Log,
    disk: &dyn Disk,
    clock: &SimClock,
    keyspace: &Keyspace,
    budget_bytes: usize,
    keep: Keep,
    each: &mut dyn FnMut(&Catalog),
) -> Result<(), StoreError> {
    let seed = Seed(keyspace.seed());
    let mut options = compact::Options { seed, level: 1, budget_bytes, reserve_bytes: 0, keep };
    while compact::round(log, disk, clock, &options, &mut |_| Ok(()))?.is_some() {
        each(&compact::catalogs(log)?.current);
        options.keep.replaced = false;
    }
    Ok(())
}

/// What had been acknowledged when the disk had carried out so many operations.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledged {
    pub operations: u64,
    /// To clients that wait for the medium, and to those that wait for the kernel.
    pub durable: u64,
    pub written: u64,
}

/// What a workload has made happen: a workload that misses its purpose shows.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Codes of ops in the log.
    pub codes: std::collections::BTreeSet<u8>,
    pub deltas: bool,
    /// A base that took deltas in.
    pub merges: bool,
    /// A segment was ended by the next.
    pub rolls: bool,
    /// A record went over segments.
    pub large: bool,
    pub retired: bool,
}

pub struct Life {
    /// The disk before each operation, and at the end.
    pub images: Vec<SimDisk>,
    acknowledged: Vec<Acknowledged>,
    /// The whole state behind each record.
    pub states: BTreeMap<u64, String>,
    pub seen: Seen,
}

impl Life {
    /// What was acknowledged before operation `k`.
    pub fn acknowledged(&self, k: usize) -> Acknowledged {
        let behind = self.acknowledged.partition_point(|ack| ack.operations <= k as u64);
        let none = Acknowledged { operations: 0, durable: 0, written: 0 };
        behind.checked_sub(1).map_or(none, |at| self.acknowledged[at])
    }
}

/// The words of a command line.
pub fn words(line: &str) -> Vec<Vec<u8>> {
    line.split_whitespace()
        .map(|word| match word.strip_prefix('%').and_then(|len| len.parse::<usize>().ok()) {
            // No two neighbours are alike, and zstd finds something.
            Some(len) => (0..len).map(|at| b'a' + ((at * at / 7 + at + len) % 26) as u8).collect(),
            None => word.as_bytes().to_vec(),
        })
        .collect()
}

/// A store that lives on.
pub struct Living {
    pub rig: Rig,
    pub disk: SimDisk,
    pub clock: Arc<SimClock>,
    policy: Policy,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    pub states: BTreeMap<u64, String>,
    pub seen: Seen,
    keep: Keep,
}

impl Living {
    pub fn new(disk: SimDisk, policy: Policy) -> Result<Self, StoreError> {
        // A disk that another life has left must not see its ids again.
        let ids = if disk.files().is_empty() { 1 << 20 } else { 1 << 40 };
        let clock = Arc::new(SimClock::at_ms(1_700_000_000_000));
        clock.seed_ids(ids);
        let rig = Rig::open(Arc::new(disk.clone()), clock.clone(), options(policy))?;
        let acknowledged = Arc::default();
        let mut living = Self {
            rig,
            disk,
            clock,
            policy,
            acknowledged,
            states: BTreeMap::new(),
            seen: Seen::default(),
            keep: Keep::NOTHING,
        };
        living.begin();
        Ok(living)
    }

    fn begin(&mut self) {
        let (log, disk, acknowledged) = (self.store_log(), self.disk.clone(), Arc::clone(&self.acknowledged));
        let weak = Arc::downgrade(&log);
        let note = move || {
            let Some(log) = weak.upgrade() else { return };
            let (durable, written) = (log.durable_lsn(), log.written_lsn());
            acknowledged.lock().push(Acknowledged { operations: disk.mutations(), durable, written });
        };
        note();
        log.subscribe(Box::new(move |_| note()));
        self.note_state();
    }

    /// What is acknowledged now.
    pub fn acknowledged(&self) -> Acknowledged {
        *self.acknowledged.lock().last().expect("a start notes where it begins")
    }

    pub fn store_log(&self) -> Arc<Log> {
        Arc::clone(&self.rig.server.store.get().expect("the rig opened it").log)
    }

    pub fn log(&self) -> &Log {
        &self.rig.server.store.get().expect("the rig opened it").log
    }

    pub fn note_state(&mut self) {
        let lsn = self.log().append_lsn();
        let state = self.rig.state();
        if let Some(before) = self.states.insert(lsn, state.clone()) {
            assert_eq!(before, state, "a state changed without a record, at LSN {lsn}");
        }
    }

    /// Opens again what is on the disk now. The caller has looked after the end.
    pub fn reopen(&mut self) -> Result<(), StoreError> {
        let fresh = Rig::default();
        drop(std::mem::replace(&mut self.rig, fresh));
        self.rig = Rig::open(Arc::new(self.disk.clone()), self.clock.clone(), options(self.policy))?;
        self.begin();
        Ok(())
    }

    pub fn compact(&mut self, budget_bytes: usize) -> Result<(), StoreError> {
        self.log().seal();
        self.rig.settle();
        self.note_codes();
        let store = self.rig.server.store.get().expect("the rig opened it");
        let segments = store.log.sealed().len();
        let mut files = compact::catalogs(&store.log)?.current.files;
        let seen = &mut self.seen;
        compact(
            &store.log,
            &*store.disk,
            &self.clock,
            &store.keyspace,
            budget_bytes,
            self.keep,
            &mut |catalog| {
                seen.deltas |= catalog.files.iter().any(|file| file.kind == Kind::Delta);
                seen.merges |= files.iter().filter(|old| old.kind == Kind::Delta).any(|old| {
                    catalog
                        .files
                        .iter()
                        .any(|new| new.first_slot == old.first_slot && new.sequence > old.sequence)
                        && catalog.files.iter().all(|new| new.sequence != old.sequence)
                });
                files.clone_from(&catalog.files);
            },
        )?;
        self.seen.retired |= store.log.sealed().len() < segments;
        Ok(())
    }

    /// What is in the sealed part of the log.
    fn note_codes(&mut self) {
        let log = self.store_log();
        let sealed = log.sealed();
        self.seen.rolls |= sealed.len() > 1;
        let from = compact::catalogs(&log).map_or(0, |catalogs| catalogs.current.through);
        let mut ends = Vec::new();
        let _ = log.read_sealed(from, &mut |record| {
            ends.push(record.lsn_end);
            self.seen.codes.extend(codes(record.body));
            Ok(ControlFlow::Continue(()))
        });
        self.seen.large |= sealed.iter().any(|segment| !ends.is_empty() && !ends.contains(&segment.end_lsn));
    }

    /// Carries out one line. The replies of commands are returned.
    pub fn step(&mut self, line: &str, lazy: bool) -> Result<Option<Vec<u8>>, StoreError> {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        match first {
            "settle" => self.rig.settle(),
            "pass" => {
                self.clock.advance(Duration::from_millis(rest.parse().expect("milliseconds")));
                if !lazy {
                    self.rig.settle();
                }
            }
            "expire" => {
                self.rig.expire();
                self.note_state();
                self.rig.settle();
            }
            "sync" => self.log().demand_sync(self.log().append_lsn()),
            "compact" => self.compact(rest.parse().expect("a number of bytes"))?,
            "retain" => {
                let (snapshots, bytes) = rest.split_once(' ').expect("two numbers");
                let snapshots = snapshots.parse().expect("a number of snapshots");
                let window = Window::Bytes(bytes.parse().expect("a number of bytes"));
                self.keep = Keep { snapshots, window, ..Keep::NOTHING };
            }
            "policy" => {
                let named = crate::workloads::POLICIES.iter().find(|(name, _)| *name == rest);
                self.log().set_policy(named.expect("a policy").1);
            }
            "restart" => {
                self.note_codes();
                self.log().shutdown()?;
                self.note_codes();
                self.reopen()?;
            }
            "sigkill" => self.reopen()?,
            dots if dots.bytes().all(|byte| byte == b'.') => {
                for _ in 0..dots.len() {
                    self.log().step();
                }
            }
            _ => {
                let (session, line) = match line.strip_prefix('@') {
                    Some(rest) => (usize::from(rest.as_bytes()[0] - b'0'), &rest[2..]),
                    None => (0, line),
                };
                let words = words(line);
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                let (reply, _) = self.rig.call(session, &words);
                self.note_state();
                if !lazy {
                    self.rig.settle();
                }
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }
}

/// Codes of the ops of a record: each op has its length before it.
pub fn codes(body: &[u8]) -> Vec<u8> {
    let mut cursor = Cursor::new(body);
    let mut codes = Vec::new();
    while !cursor.is_empty() {
        codes.push(cursor.bytes().expect("what was logged can be read")[0]);
    }
    codes
}

/// A whole life without faults, with all its images.
pub fn live(workload: &Workload) -> Life {
    let disk = SimDisk::new(7);
    disk.record();
    let mut living = Living::new(disk, workload.policy).expect("a new store opens");
    for line in &workload.lines {
        let reply = living.step(line, workload.lazy).unwrap_or_else(|e| panic!("{line}: {e}"));
        if let Some(reply) = reply {
            let text = String::from_utf8_lossy(&reply);
            assert!(!text.starts_with('-'), "{}: {line}: {text}", workload.name);
        }
    }
    living.log().seal();
    living.rig.settle();
    living.note_codes();
    let mut images = living.disk.recorded();
    images.push(living.disk.kill());
    assert_eq!(images.len() as u64, living.disk.mutations() + 1);
    let acknowledged = std::mem::take(&mut *living.acknowledged.lock());
    Life { images, acknowledged, states: living.states, seen: living.seen }
}
