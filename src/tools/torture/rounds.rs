//! Rounds on a real server: load, crash, start, compare.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::load::{Common, Load, Sent};
use super::report::Report;
use super::shown::{Run, Shown};
use super::subjects::{State, Values};
use super::target::Target;
use super::verdict::judge;
use super::{Mode, Options};
use crate::clock::Clock;
use crate::disk::prng::Prng;
use crate::error::StoreError;
use crate::resp::client::{Client, Value};

/// Longest pipeline, in operations; a third of the clients send one by one.
const PIPELINE_MAX: u64 = 64;
/// Clients that raise the counters of `shown`, and that read them.
const RAISERS: usize = 2;
const WATCHERS: usize = 3;
/// How much a power failure may take under `everysec`: the sync begins at most this long after a write.
const EVERYSEC: Duration = Duration::from_secs(1);
/// What must happen in a round happens within this time.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(1);
/// Load between the crash and the end of space, and after space came back.
const REFUSED_MIN: u64 = 20;
const RESUMED_MIN: u64 = 200;
const FILLER_LEN: usize = 64 << 10;

pub struct Rounds<'a> {
    options: &'a Options,
    target: Target,
    clock: &'a dyn Clock,
    random: Prng,
    /// What each client's keys hold, as found after the last start.
    states: Vec<State>,
    shown: Shown,
    fillers: u64,
    report: Report,
}

/// What a round's clients did.
struct Loaded {
    sent: Vec<Sent>,
    /// When the server was struck down.
    struck: Duration,
    complaint: Option<String>,
}

impl<'a> Rounds<'a> {
    pub fn new(options: &'a Options, target: Target, clock: &'a dyn Clock) -> Self {
        Self {
            options,
            target,
            clock,
            random: Prng::new(options.seed),
            states: vec![State::default(); options.clients],
            shown: Shown::default(),
            fillers: 0,
            report: Report {
                mode: options.mode.name(),
                fsync: options.fsync.clone(),
                seed: options.seed,
                ..Report::default()
            },
        }
    }

    pub fn run(mut self, tell: &mut dyn FnMut(&str)) -> Result<Report, StoreError> {
        if let Target::Own(_) = self.target {
            self.target.start(self.clock).map_err(StoreError::Refused)?;
        }
        self.begin().map_err(StoreError::io("ask the server what it holds"))?;
        let deadline = self.options.until.seconds.map(|s| self.clock.monotonic() + Duration::from_secs(s));
        while deadline.is_none_or(|deadline| self.clock.monotonic() < deadline)
            && self.options.until.rounds.is_none_or(|rounds| self.report.rounds < rounds)
            && self.report.is_good()
        {
            self.round().map_err(StoreError::io("talk to the server"))?;
            let Report { rounds, acknowledged, lost, recoveries, .. } = &self.report;
            let ms = recoveries.last().map_or(0.0, |took| took.as_secs_f64() * 1e3);
            tell(&format!(
                "round {rounds}: {acknowledged} acknowledged, {lost} lost, last recovery {ms:.0} ms"
            ));
        }
        if self.report.acknowledged == 0 && self.report.is_good() {
            self.report.complaints.push("nothing was acknowledged: there was no load".to_owned());
        }
        Ok(self.report)
    }

    /// Another's server may hold keys of an earlier run.
    fn begin(&mut self) -> io::Result<()> {
        let mut client = self.target.connect()?;
        let mut ask = asker(&mut client);
        for (number, state) in self.states.iter_mut().enumerate() {
            *state = State::read(&prefix(number), &mut ask)?;
        }
        self.shown = Shown::read(&mut ask)?;
        Ok(())
    }

    fn round(&mut self) -> io::Result<()> {
        let Loaded { sent, struck, complaint } = self.load_and_strike()?;
        self.report.rounds += 1;
        self.report.complaints.extend(complaint);
        match self.target.start(self.clock) {
            Ok(took) => self.report.recoveries.push(took),
            Err(why) => {
                self.report.failed_starts += 1;
                self.report.complaints.push(format!("the server did not start again: {why}"));
                return Ok(());
            }
        }
        let mut client = self.target.connect()?;
        let taken_back = self.shown.taken_back(&mut asker(&mut client))?;
        self.report.lost += taken_back.len() as u64;
        self.report.complaints.extend(taken_back);
        self.shown = Shown::read(&mut asker(&mut client))?;
        for (number, sent) in sent.iter().enumerate() {
            let found = State::read(&prefix(number), &mut asker(&mut client))?;
            self.compare(number, sent, struck, found);
        }
        let fillers: Vec<String> = (0..self.fillers).map(filler_key).collect();
        for keys in fillers.chunks(100) {
            let words: Vec<&str> = std::iter::once("DEL").chain(keys.iter().map(String::as_str)).collect();
            asker(&mut client)(&words)?;
        }
        self.fillers = 0;
        Ok(())
    }

    /// A client asks for the strongest level that there is; the policy is every client's.
    const fn is_careful(number: usize) -> bool {
        number % 2 == 1
    }

    /// What a power failure takes from a client that did not ask for more than the policy.
    fn may_lose_synced(&self, number: usize) -> bool {
        self.options.mode == Mode::Power && self.options.fsync != "always" && !Self::is_careful(number)
    }

    fn compare(&mut self, number: usize, sent: &Sent, struck: Duration, found: State) {
        let report = &mut self.report;
        report.acknowledged += sent.acknowledged as u64;
        report.unanswered += (sent.operations.len() - sent.acknowledged) as u64;
        report.refused += sent.refused;
        report.complaints.extend(sent.complaint.clone());
        let kept = match self.options.fsync.as_str() {
            _ if !self.may_lose_synced(number) => sent.acknowledged,
            "everysec" => sent.acknowledged_by(struck.saturating_sub(EVERYSEC)),
            _ => 0,
        };
        let verdict = judge(&self.states[number], sent, kept, &found, &prefix(number));
        let report = &mut self.report;
        report.lost += verdict.lost;
        report.unanswered_kept += verdict.unanswered_kept;
        report.complaints.extend(verdict.complaint);
        if let Some(first) = verdict.first_missing {
            report.given_up += (sent.acknowledged - first) as u64 - verdict.lost;
            // When the first that is missing was answered.
            let answered =
                sent.when.iter().find(|(_, count)| *count > first).map_or(struck, |(when, _)| *when);
            report.given_up_age = report.given_up_age.max(struck.saturating_sub(answered));
        }
        self.states[number] = found;
    }

    fn connect(&self, number: usize) -> io::Result<Client<TcpStream>> {
        let mut client = self.target.connect()?;
        if Self::is_careful(number) {
            // Another server does not know this, and is asked for no more than its policy.
            let _ = client.call(&["CLIENT", "DURABILITY", "always"])?;
        }
        Ok(client)
    }

    fn load_and_strike(&mut self) -> io::Result<Loaded> {
        let mut loads = Vec::new();
        for number in 0..self.options.clients {
            let is_single = number % 3 == 0 || self.options.mode == Mode::Enospc;
            loads.push(Load {
                prefix: prefix(number),
                client: self.connect(number)?,
                state: self.states[number].clone(),
                random: Prng::new(self.random.next_u64()),
                values: Values::new(format!("{:x}-{}-{number}", self.options.seed, self.report.rounds)),
                depth: if is_single { 1 } else { PIPELINE_MAX },
            });
        }
        let mut others = Vec::new();
        for number in 0..RAISERS + WATCHERS {
            let run: Run = if number < RAISERS { Shown::raise } else { Shown::watch };
            others.push((number, run, self.connect(number)?, Prng::new(self.random.next_u64())));
        }
        let filler = (self.options.mode == Mode::Enospc).then(|| self.target.connect()).transpose()?;
        let delay = Duration::from_millis(20 + self.random.below(400));
        let (acknowledged, refused, fillers) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let common = Common { clock: self.clock, acknowledged: &acknowledged, refused: &refused };
        let keeps_shown = |number| !self.may_lose_synced(number);
        let kept: Vec<bool> = (0..RAISERS + WATCHERS).map(keeps_shown).collect();
        let mut shown = self.shown;
        let loaded = std::thread::scope(|scope| {
            let common = &common;
            let others: Vec<_> = others
                .into_iter()
                .map(|(number, run, client, random)| (number, scope.spawn(move || run(client, random))))
                .collect();
            let loads: Vec<_> = loads.into_iter().map(|load| scope.spawn(move || load.run(common))).collect();
            if let Some(client) = filler {
                let (fillers, random) = (&fillers, Prng::new(self.random.next_u64()));
                scope.spawn(move || fill(client, random, fillers));
            }
            let all_ended = || loads.iter().all(std::thread::ScopedJoinHandle::is_finished);
            let complaint = match self.options.mode {
                Mode::Enospc => until_space_came_back(&self.target, common, &all_ended),
                _ => {
                    std::thread::sleep(delay);
                    // On a slow machine the moment comes when there is something to lose.
                    wait_for(self.clock, &|| acknowledged.load(Ordering::Relaxed) > 0 || all_ended());
                    None
                }
            };
            let struck = self.clock.monotonic();
            let outcome = self.target.strike();
            for (number, thread) in others {
                let seen = thread.join().expect("a load does not panic");
                if kept[number] {
                    shown.merge(&seen);
                }
            }
            let sent =
                loads.into_iter().map(|thread| thread.join().expect("a load does not panic")).collect();
            outcome.map(|()| Loaded { sent, struck, complaint })
        });
        self.shown = shown;
        self.fillers = fillers.into_inner();
        loaded
    }
}

fn prefix(number: usize) -> String {
    format!("torture:{number}:")
}

fn filler_key(number: u64) -> String {
    format!("torture:filler:{number}")
}

/// Asks for something whose answer is no error.
fn asker(client: &mut Client<TcpStream>) -> impl FnMut(&[&str]) -> io::Result<Value> {
    |words| match client.call(words)? {
        Value::Error(text) => Err(io::Error::other(format!("{}: {text}", words.join(" ")))),
        reply => Ok(reply),
    }
}

/// False if it did not come in time.
fn wait_for(clock: &dyn Clock, condition: &dyn Fn() -> bool) -> bool {
    let deadline = clock.monotonic() + PATIENCE;
    while !condition() {
        if clock.monotonic() > deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

/// Writes large values until the connection breaks.
fn fill(mut client: Client<TcpStream>, mut random: Prng, count: &AtomicU64) {
    let mut value = vec![0; FILLER_LEN];
    loop {
        random.fill(&mut value);
        let key = filler_key(count.load(Ordering::Relaxed));
        match client.call(&[b"SET", key.as_bytes(), &value]) {
            Ok(Value::Error(_)) => std::thread::sleep(POLL),
            Ok(_) => drop(count.fetch_add(1, Ordering::Relaxed)),
            Err(_) => return,
        }
    }
}

/// Lets the disk fill up, waits until clients were refused, makes space, and waits until they are served again.
fn until_space_came_back(
    target: &Target,
    common: &Common<'_>,
    all_ended: &dyn Fn() -> bool,
) -> Option<String> {
    let reached = |counter: &AtomicU64, goal: u64| {
        wait_for(common.clock, &|| counter.load(Ordering::Relaxed) >= goal || all_ended())
            && counter.load(Ordering::Relaxed) >= goal
    };
    if let Err(error) = target.use_up_space() {
        return Some(format!("the disk could not be filled: {error}"));
    }
    if !reached(common.refused, REFUSED_MIN) {
        return Some("no write was refused although the disk was full".to_owned());
    }
    if let Err(error) = target.give_space_back() {
        return Some(format!("the space could not be given back: {error}"));
    }
    let goal = common.acknowledged.load(Ordering::Relaxed) + RESUMED_MIN;
    let resumed = reached(common.acknowledged, goal);
    (!resumed).then(|| "writes were not taken again although there was space".to_owned())
}
