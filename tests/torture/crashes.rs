//! The sweep: a crash before every operation of a life, with every class of loss; recovery; the oracle; and crashes during that
//! recovery.
//!
//! The oracle: the store opens; it ends at a record, at or behind what was acknowledged; its state is the one that was live behind
//! that record; what a start has shown is not taken back by the next. After some of the recoveries the store goes on: the log takes
//! another record, all is compacted, and it opens again with the same state.
//!
//! Equal images give equal outcomes, so each is recovered once; what was acknowledged is held against the outcome every time.

use std::collections::HashMap;
use std::sync::Arc;

use duramen::clock::SimClock;
use duramen::command::server::{Server, Store};
use duramen::config::Config;
use duramen::disk::SimDisk;
use duramen::disk::prng::Prng;
use duramen::error::StoreError;
use duramen::hash::hash_bytes;
use duramen::keyspace::digest::describe;
use duramen::keyspace::op::{SpaceOp, encode_space_op};
use duramen::log::Policy;
use duramen::snapshot::compact;
use duramen::snapshot::retained::Keep;
use duramen::tools::GOOD;
use duramen::tools::restore::{Moment, restore};

use crate::case::{CLASSES, Case, Class, Crash};
use crate::life::{self, Life, live, options};
use crate::workloads::Workload;

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Seeds of each class that has chance in it.
    pub seeds: u64,
    /// Recoveries that meet a crash at each of their operations: all behind a kill (which leaves most to be lost), and of the
    /// others one of so many.
    pub again_of: usize,
    /// Classes, one behind the other, of each operation of such a recovery.
    pub again: usize,
    /// Of so many recovered images one lives on.
    pub live_on: u64,
    pub seed: u64,
}

impl Extent {
    /// By TORTURE (`full`) and TORTURE_SEED.
    pub fn asked_for() -> Self {
        let seed = std::env::var("TORTURE_SEED").ok().map_or(1, |text| text.parse().expect("a number"));
        if std::env::var("TORTURE").is_ok_and(|text| text == "full") {
            Self { seeds: 6, again_of: 1, again: CLASSES.len(), live_on: 1, seed }
        } else {
            Self { seeds: 2, again_of: 10, again: 1, live_on: 16, seed }
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    /// Crashes that were held against the oracle, and the distinct images among them, each recovered.
    pub crashes: u64,
    pub images: u64,
    /// The same of crashes during recovery.
    pub crashes_again: u64,
    pub images_again: u64,
    /// Stores that lived on after a recovery.
    pub lived_on: u64,
    /// Snapshots of recovered stores, newest and retained ones, that became a directory of their own.
    pub restored: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.images += other.images;
        self.crashes_again += other.crashes_again;
        self.images_again += other.images_again;
        self.lived_on += other.lived_on;
        self.restored += other.restored;
    }
}

/// What a recovery found.
struct Found {
    store: Store,
    end: u64,
    state: String,
}

/// What is remembered of an image.
#[derive(Clone, Copy)]
struct Outcome {
    end: u64,
    /// The least that the next recovery found after a crash in this one.
    least_again: u64,
}

pub struct Sweep<'a> {
    workload: &'a Workload,
    life: Life,
    extent: Extent,
    server: Server,
    clock: Arc<SimClock>,
    /// By their content, and again with what is pending on them.
    outcomes: HashMap<u64, Outcome>,
    ends: HashMap<u64, u64>,
    prng: Prng,
    phase: usize,
    counts: Counts,
}

impl<'a> Sweep<'a> {
    pub fn new(workload: &'a Workload, extent: Extent) -> Self {
        let clock = Arc::new(SimClock::at_ms(1_700_000_900_000));
        clock.seed_ids(1);
        let server = Server::new(Arc::new(Config::new()), clock.clone(), duramen::registry());
        Self {
            workload,
            life: live(workload),
            extent,
            server: server.expect("the simulated clock has ids"),
            clock,
            outcomes: HashMap::new(),
            ends: HashMap::new(),
            prng: Prng::new(extent.seed),
            phase: workload.name.bytes().map(usize::from).sum(),
            counts: Counts::default(),
        }
    }

    /// All of it, or the one case.
    pub fn run(mut self, only: Option<&Case>) -> Counts {
        if let Some(case) = only {
            self.alone(case);
            return self.counts;
        }
        for operation in 0..self.life.images.len() {
            for (_, class) in CLASSES {
                for _ in 0..if class.is_random() { self.extent.seeds } else { 1 } {
                    let seed = if class.is_random() { self.prng.next_u64() >> 40 } else { 0 };
                    self.crash(Crash { operation, class, seed });
                }
            }
        }
        self.counts
    }

    fn alone(&mut self, case: &Case) {
        eprintln!("{case:?}");
        let acknowledged = self.life.acknowledged(case.first.operation);
        eprintln!("{acknowledged:?}, records end at {:?}", self.life.states.keys());
        let disk = case.first.of(&self.life.images[case.first.operation]);
        print_files(&disk);
        disk.record();
        let found = self.open(&disk, 1).and_then(|found| self.check(&found).map(|()| found.end));
        eprintln!("recovered: {found:?}");
        if let Some(again) = case.again {
            let mut images = disk.recorded();
            images.push(disk.kill());
            let disk = again.of(&images[again.operation]);
            print_files(&disk);
            let end = self.open(&disk, 2).and_then(|found| self.check(&found).map(|()| found.end));
            eprintln!("recovered again: {end:?}");
        }
        self.outcomes.clear();
        self.ends.clear();
        self.extent.again_of = 1;
        self.extent.again = CLASSES.len();
        self.extent.live_on = 1;
        self.crash(case.first);
    }

    fn fail(&self, first: Crash, again: Option<Crash>, why: &str) -> ! {
        let again = again.map_or(String::new(), |again| format!(":{again}"));
        panic!(
            "{name}: a crash before operation {first} of {operations} (class, seed){text}: {why}\n\
             replay: TORTURE_CASE={name}:{first}{again} cargo test --test torture crash -- --nocapture",
            name = self.workload.name,
            operations = self.life.images.len() - 1,
            text = if again.is_empty() { "" } else { ", and again during recovery" },
        )
    }

    /// Recovery, as a start does it. `level`: how often there was a crash; no two starts draw the same ids.
    fn open(&self, disk: &SimDisk, level: u64) -> Result<Found, String> {
        self.clock.seed_ids((1 << 20) * (1 + level));
        let store = duramen::recovery::open(&self.server, Arc::new(disk.clone()), self.options());
        let store = store.map_err(|error: StoreError| format!("the store does not open: {error}"))?;
        let (end, state) = (store.recovery.end_lsn, describe(&store.keyspace));
        Ok(Found { store, end, state })
    }

    fn options(&self) -> duramen::log::LogOptions {
        options(if self.workload.policy == Policy::Always { Policy::Always } else { Policy::EverySec })
    }

    /// The state must be that behind the record at which it ends.
    fn check(&self, found: &Found) -> Result<(), String> {
        match self.life.states.get(&found.end) {
            None => Err(format!("it ends at LSN {}, where no record does", found.end)),
            Some(live) if *live != found.state => {
                Err(format!("at LSN {}: live\n{live}recovered\n{}", found.end, found.state))
            }
            Some(_) => Ok(()),
        }
    }

    fn crash(&mut self, first: Crash) {
        self.counts.crashes += 1;
        let acknowledged = self.life.acknowledged(first.operation);
        let is_kill = first.class == Class::Kill;
        let disk = first.of(&self.life.images[first.operation]);
        // What a killed process leaves in the cache is not told by the content.
        let key = content(&disk) ^ if is_kill { 1 + first.operation as u64 } else { 0 };
        let outcome = match self.outcomes.get(&key) {
            Some(&outcome) => outcome,
            None => {
                self.counts.images += 1;
                let outcome = self.recover(first, &disk, acknowledged.durable);
                self.outcomes.insert(key, outcome);
                outcome
            }
        };
        let kept = if is_kill { acknowledged.written } else { acknowledged.durable };
        if outcome.end < kept {
            self.fail(first, None, &format!("found up to LSN {}, acknowledged up to {kept}", outcome.end));
        }
        if outcome.least_again < acknowledged.durable {
            let why = format!(
                "after a crash during recovery: found up to LSN {}, acknowledged up to {}; the operation of \
                 recovery was met with another image, the replay looks for it",
                outcome.least_again, acknowledged.durable
            );
            self.fail(first, None, &why);
        }
    }

    fn recover(&mut self, first: Crash, disk: &SimDisk, durable: u64) -> Outcome {
        disk.record();
        let found = match self.open(disk, 1).and_then(|found| self.check(&found).map(|()| found)) {
            Ok(found) => found,
            Err(why) => self.fail(first, None, &why),
        };
        let mut images = disk.recorded();
        images.push(disk.kill());
        let mut least_again = found.end;
        // Lives begin alike: each has its turns at another place.
        let rotation = self.phase + first.operation + self.counts.images as usize;
        let is_chosen = first.class == Class::Kill || rotation.is_multiple_of(self.extent.again_of);
        let crashed_again = if is_chosen { &images[..] } else { &[] };
        for (operation, image) in crashed_again.iter().enumerate() {
            for turn in 0..self.extent.again {
                let class = CLASSES[(rotation + operation + turn) % CLASSES.len()].1;
                let seed = if class.is_random() { self.prng.next_u64() >> 40 } else { 0 };
                let again = Crash { operation, class, seed };
                let end = self.again(first, again, image);
                // What a start has shown, no crash takes back.
                let shown = if operation + 1 == images.len() { found.end } else { durable };
                if end < shown {
                    let why = format!("found up to LSN {end}, acknowledged or shown up to {shown}");
                    self.fail(first, Some(again), &why);
                }
                if class != Class::Kill {
                    least_again = least_again.min(end);
                }
            }
        }
        let end = found.end;
        if self.counts.images.is_multiple_of(self.extent.live_on)
            && let Err(why) = self.restores(&found, disk).and_then(|()| self.live_on(found, disk))
        {
            self.fail(first, None, &format!("the recovered store goes on: {why}"));
        }
        Outcome { end, least_again }
    }

    /// A crash during recovery; the end of what the next one finds.
    fn again(&mut self, first: Crash, again: Crash, image: &SimDisk) -> u64 {
        self.counts.crashes_again += 1;
        let disk = again.of(image);
        let key = content(&disk);
        if let Some(&end) = self.ends.get(&key) {
            return end;
        }
        self.counts.images_again += 1;
        match self.open(&disk, 2).and_then(|found| self.check(&found).map(|()| found.end)) {
            Ok(end) => {
                self.ends.insert(key, end);
                end
            }
            Err(why) => self.fail(first, Some(again), &why),
        }
    }

    /// What retention keeps: as of each snapshot that is listed, the directory can be made again.
    fn restores(&mut self, found: &Found, disk: &SimDisk) -> Result<(), String> {
        let catalogs = compact::catalogs(&found.store.log).map_err(|error| error.to_string())?;
        for catalog in catalogs.newest_first().filter(|catalog| !catalog.files.is_empty()) {
            let (lsn, into) = (catalog.through, SimDisk::new(7));
            let mut told = Vec::new();
            let code = restore(disk, &*self.clock, &into, Moment::Lsn(lsn), false, &mut told);
            if !matches!(code, Ok(GOOD)) {
                return Err(format!("restored to LSN {lsn}: {code:?} {}", String::from_utf8_lossy(&told)));
            }
            let restored = self.open(&into, 4)?;
            if restored.end != lsn {
                return Err(format!("restored to LSN {lsn}: it ends at {}", restored.end));
            }
            self.check(&restored).map_err(|why| format!("restored to LSN {lsn}: {why}"))?;
            self.counts.restored += 1;
        }
        Ok(())
    }

    /// One record more, which changes no key; SIGKILL; everything compacted; power loss.
    fn live_on(&mut self, found: Found, disk: &SimDisk) -> Result<(), String> {
        self.counts.lived_on += 1;
        let Found { store, state, .. } = found;
        let mut body = Vec::new();
        encode_space_op(&mut body, &SpaceOp::Swap { a: 14, b: 15 });
        let end = store.log.append(&body);
        store.log.demand_sync(end);
        while store.log.step() {}
        if store.log.durable_lsn() != end {
            return Err(format!(
                "durable up to {} of {end}: {:?}",
                store.log.durable_lsn(),
                store.log.state()
            ));
        }
        drop(store);
        let disk = disk.kill();
        let same = |found: &Found, when: &str| {
            if found.end == end && found.state == state {
                return Ok(());
            }
            Err(format!("{when}: it ends at {} of {end}, was\n{state}is\n{}", found.end, found.state))
        };
        let killed = self.open(&disk, 2)?;
        same(&killed, "after another record and SIGKILL")?;
        let Found { store, .. } = killed;
        store.log.seal();
        while store.log.step() {}
        life::compact(&store.log, &disk, &self.clock, &store.keyspace, 1 << 20, Keep::NOTHING, &mut |_| {})
            .map_err(|error| format!("compaction: {error}"))?;
        drop(store);
        let disk = disk.crash(self.extent.seed, duramen::disk::sim::CrashStyle::LoseAll);
        same(&self.open(&disk, 3)?, "compacted again")
    }
}

/// A hash of all names and bytes.
fn content(disk: &SimDisk) -> u64 {
    disk.fold_files(0, |hash, path, bytes| hash_bytes(bytes, hash_bytes(path.as_bytes(), hash)))
}

fn print_files(disk: &SimDisk) {
    disk.fold_files((), |(), path, bytes| {
        let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        eprintln!("  {path}: {} bytes, {used} of them up to the last that is not zero", bytes.len());
    });
}
