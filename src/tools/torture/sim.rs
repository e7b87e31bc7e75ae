//! Deterministic simulation: the engine, the log, compaction and several clients over a simulated disk and clock, in one thread.
//! Everything that happens follows from the seed: `duramen torture --mode sim --seed N --rounds 1` repeats a history exactly.
//!
//! Checked: each reply is the one that the model of the keys gives; nothing acknowledged is lost; what survives is the state
//! after a prefix of the log, the same for all clients; a failed log refuses writes and says so.

use std::sync::Arc;
use std::time::Duration;

use super::report::Report;
use super::subjects::{Operation, State, Values};
use super::{Mode, Options};
use crate::clock::{Clock, SimClock};
use crate::disk::prng::Prng;
use crate::disk::sim::{CrashStyle, Fault, OpKind};
use crate::disk::{Disk, SimDisk};
use crate::engine::rig::Rig;
use crate::log::{Log, LogOptions, LogState, Lsn, Policy, Seed};
use crate::resp::client::{Value, decode_one};
use crate::snapshot::compact;
use crate::snapshot::retained::Keep;

/// A moment in 2023 at which every history begins.
const BEGIN_MS: u64 = 1_700_000_000_000;
const CLIENTS: u64 = 3;
const STEPS_MAX: u64 = 150;
const SEGMENT_BYTES: u64 = 16 << 10;

/// Histories until it is time to stop, the first broken promise, or the last round.
pub fn run(options: &Options, clock: &dyn Clock, tell: &mut dyn FnMut(&str)) -> Report {
    let begin = clock.monotonic();
    let mut report = Report {
        mode: Mode::Sim.name(),
        fsync: options.fsync.clone(),
        seed: options.seed,
        ..Report::default()
    };
    let mut told = begin;
    let is_over = |report: &Report| {
        let spent = clock.monotonic().saturating_sub(begin);
        options.until.seconds.is_some_and(|seconds| spent >= Duration::from_secs(seconds))
            || options.until.rounds.is_some_and(|rounds| report.rounds >= rounds)
    };
    while !is_over(&report) && report.is_good() {
        history(options.seed.wrapping_add(report.rounds), &options.fsync, &mut report);
        report.rounds += 1;
        if clock.monotonic().saturating_sub(told) >= Duration::from_secs(1) {
            told = clock.monotonic();
            tell(&format!(
                "{} histories: {} acknowledged, {} crashes, {} lost",
                report.rounds, report.acknowledged, report.crashes, report.lost
            ));
        }
    }
    report
}

/// One history. What is wrong goes into the report, with the seed that repeats it.
pub fn history(seed: u64, fsync: &str, report: &mut Report) {
    let mut simulation = Simulation::new(seed, fsync);
    let steps = 1 + simulation.random.below(STEPS_MAX);
    let outcome = (0..steps).try_for_each(|_| simulation.step()).and_then(|()| simulation.end());
    report.acknowledged += simulation.acknowledged;
    report.crashes += simulation.crashes;
    if let Err(what) = outcome {
        report.lost += 1;
        report.complaints.push(format!("--mode sim --fsync {fsync} --seed {seed} --rounds 1: {what}"));
    }
}

struct SimClient {
    prefix: String,
    /// At the last start.
    base: State,
    /// What it did since, and where the log ended behind it.
    done: Vec<(Operation, Lsn)>,
    now: State,
    values: Values,
}

struct Simulation {
    rig: Rig,
    disk: SimDisk,
    clock: Arc<SimClock>,
    policy: Policy,
    random: Prng,
    clients: Vec<SimClient>,
    /// The last operation whose reply could have left by the level of the policy; by that of `CLIENT DURABILITY always`.
    kept_by_kernel: Lsn,
    kept_by_medium: Lsn,
    acknowledged: u64,
    crashes: u64,
}

type Outcome = Result<(), String>;

fn options(policy: Policy) -> LogOptions {
    LogOptions { segment_bytes: SEGMENT_BYTES, policy, threads: false, ..LogOptions::default() }
}

impl Simulation {
    fn new(seed: u64, fsync: &str) -> Self {
        let mut random = Prng::new(seed);
        let policy = match fsync {
            "always" => Policy::Always,
            "everysec" => Policy::EverySec,
            _ => Policy::No,
        };
        let disk = SimDisk::new(random.next_u64());
        // Segments of all kinds.
        disk.set_abilities(random.chance(1, 2), random.chance(1, 2));
        let clock = Arc::new(SimClock::at_ms(BEGIN_MS));
        let rig = Rig::open(Arc::new(disk.clone()) as Arc<dyn Disk>, clock.clone(), options(policy));
        let client = |number: u64| SimClient {
            prefix: format!("c{number}:"),
            base: State::default(),
            done: Vec::new(),
            now: State::default(),
            values: Values::new(format!("{number}")),
        };
        Self {
            rig: rig.expect("an empty simulated disk has no faults"),
            disk,
            clock,
            policy,
            random,
            clients: (0..CLIENTS).map(client).collect(),
            kept_by_kernel: 0,
            kept_by_medium: 0,
            acknowledged: 0,
            crashes: 0,
        }
    }

    fn log(&self) -> &Log {
        &self.rig.server.store.get().expect("the rig opened it").log
    }

    fn step(&mut self) -> Outcome {
        match self.random.below(100) {
            0..=64 => self.operate()?,
            65..=82 => {
                for _ in 0..=self.random.below(4) {
                    self.log().step();
                }
            }
            83..=87 => self.clock.advance(Duration::from_millis(1 + self.random.below(900))),
            // By hours, in either direction; no lifetime of the model is that short.
            88 => self.clock.step_wall_to_ms(BEGIN_MS + self.random.below(1 << 25)),
            89 => self.rig.expire(),
            90..=92 => self.compact()?,
            93 | 94 => {
                self.log().shutdown().map_err(|error| format!("shutdown: {error}"))?;
                let end = self.log().append_lsn();
                self.restart(self.disk.kill(), end)?;
            }
            95 | 96 => self.restart(self.disk.kill(), self.kept_by_kernel)?,
            97 | 98 => self.cut_power()?,
            _ => self.fail_the_log()?,
        }
        self.note_kept();
        Ok(())
    }

    /// What replies could have told by now.
    fn note_kept(&mut self) {
        self.kept_by_medium = self.log().durable_lsn();
        self.kept_by_kernel = match self.policy {
            Policy::Always => self.kept_by_medium,
            _ => self.log().written_lsn(),
        };
    }

    fn call(&mut self, session: usize, words: &[Vec<u8>]) -> Result<Value, String> {
        let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        decode_one(&self.rig.call(session, &args).0)
            .map_err(|error| format!("a reply of broken RESP: {error}"))
    }

    fn operate(&mut self) -> Outcome {
        let number = self.random.below(CLIENTS) as usize;
        let client = &mut self.clients[number];
        let operation = Operation::random(&mut self.random, &client.now, &mut client.values);
        let commands = operation.commands(&client.prefix);
        let expected = operation.apply(&mut client.now, &client.prefix);
        for (words, expected) in commands.iter().zip(expected) {
            let reply = self.call(number, words)?;
            if reply != expected {
                let operation = operation.show(&self.clients[number].prefix);
                return Err(format!("{operation} was answered {reply}, not {expected}"));
            }
        }
        let lsn = self.log().append_lsn();
        self.clients[number].done.push((operation, lsn));
        Ok(())
    }

    fn compact(&mut self) -> Outcome {
        if self.random.chance(1, 2) {
            self.log().seal();
            for _ in 0..12 {
                self.log().step();
            }
            self.note_kept();
        }
        let crashes = self.random.chance(2, 5);
        if crashes {
            self.disk.crash_after(self.random.below(60));
        }
        let budget_bytes = if self.random.chance(1, 2) { 2000 } else { 1 << 20 };
        let outcome = self.rounds_of_compaction(budget_bytes);
        if crashes {
            return self.cut_power();
        }
        outcome
    }

    fn rounds_of_compaction(&self, budget_bytes: usize) -> Outcome {
        let store = self.rig.server.store.get().expect("the rig opened it");
        let seed = Seed(store.keyspace.seed());
        let options =
            compact::Options { seed, level: 1, budget_bytes, reserve_bytes: 0, keep: Keep::NOTHING };
        loop {
            match compact::round(&store.log, &*store.disk, &*self.clock, &options, &mut |_| Ok(())) {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(error) => return Err(format!("compaction: {error}")),
            }
        }
    }

    fn cut_power(&mut self) -> Outcome {
        let style = match self.random.below(3) {
            0 => CrashStyle::RandomWithGarbage,
            _ => CrashStyle::Random,
        };
        let mut disk = self.disk.crash(self.random.next_u64(), style);
        // The power fails again while the server starts.
        if self.random.chance(1, 4) {
            disk.crash_after(self.random.below(20));
            drop(Rig::open(
                Arc::new(disk.clone()) as Arc<dyn Disk>,
                self.clock.clone(),
                options(self.policy),
            ));
            disk = disk.crash(self.random.next_u64(), style);
        }
        self.restart(disk, self.kept_by_medium)
    }

    /// A sync or a write of the log fails for good: from then on writes are refused, and what was acknowledged stays.
    fn fail_the_log(&mut self) -> Outcome {
        let kind = if self.random.chance(1, 2) { OpKind::Sync } else { OpKind::Write };
        self.disk.fail_nth(kind, 1 + self.random.below(3), Fault::Eio);
        for _ in 0..4 {
            self.operate()?;
            self.clock.advance(Duration::from_millis(700));
            for _ in 0..3 {
                self.log().step();
            }
            if self.log().state() != LogState::Healthy {
                break;
            }
            self.note_kept();
        }
        self.disk.heal();
        if matches!(self.log().state(), LogState::Failed { .. }) {
            let reply = self.call(0, &[b"SET".to_vec(), b"refused".to_vec(), b"1".to_vec()])?;
            if !matches!(&reply, Value::Error(text) if text.starts_with("MISCONF")) {
                return Err(format!("a failed log took a write: {reply}"));
            }
            return self.cut_power();
        }
        Ok(())
    }

    /// Goes on from another disk: what is found must be what the log held up to some record at or behind `kept`.
    fn restart(&mut self, disk: SimDisk, kept: Lsn) -> Outcome {
        self.crashes += 1;
        let opened =
            Rig::open(Arc::new(disk.clone()) as Arc<dyn Disk>, self.clock.clone(), options(self.policy));
        self.rig = opened.map_err(|error| format!("the store did not open again: {error}"))?;
        self.disk = disk;
        let end = self.rig.server.store.get().expect("the rig opened it").recovery.end_lsn;
        if end < kept {
            return Err(format!("found up to LSN {end}, acknowledged up to {kept}"));
        }
        for number in 0..self.clients.len() {
            let client = &mut self.clients[number];
            let mut expected = std::mem::take(&mut client.base);
            for (operation, lsn) in std::mem::take(&mut client.done) {
                if lsn <= kept {
                    self.acknowledged += 1;
                }
                if lsn <= end {
                    operation.apply(&mut expected, &client.prefix);
                }
            }
            let prefix = client.prefix.clone();
            let mut ask = |words: &[&str]| {
                let args: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
                decode_one(&self.rig.call(number, &args).0)
            };
            let found = State::read(&prefix, &mut ask).map_err(|error| error.to_string())?;
            if found != expected {
                return Err(format!("{prefix} after LSN {end}:\n{}", expected.difference(&found)));
            }
            let client = &mut self.clients[number];
            client.now = expected.clone();
            client.base = expected;
        }
        Ok(())
    }

    fn end(&mut self) -> Outcome {
        if self.log().state() != LogState::Healthy {
            return self.cut_power();
        }
        self.log().shutdown().map_err(|error| format!("shutdown: {error}"))?;
        let end = self.log().append_lsn();
        self.restart(self.disk.kill(), end)
    }
}
