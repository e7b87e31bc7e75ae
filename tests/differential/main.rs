//! The same random commands to redis-server and to the binary under test; every reply is compared, and from time to time
//! the whole keyspace.
//!
//! Few keys and many types, so that commands meet keys of the wrong type; arguments are now and then left out, doubled or
//! replaced by nonsense. Environment: `DIFF_SEED` repeats a run, `DIFF_STEPS` sets its length, `DIFF_TYPES=strings,lists` restricts
//! the generators. Lifetimes are far in the future or past: nothing expires while two servers are being compared.
//!
//! A new type adds a file with `pub fn command(make: &mut Make) -> Vec<Vec<u8>>` and a line in [`GENERATORS`]; a command
//! whose reply may differ legitimately gets its class in `compare.rs`, a deliberate difference its reason in `known.rs`.

mod bitmaps;
mod blocking;
mod compare;
mod events;
mod functions;
mod geo;
mod hashes;
mod hyperloglogs;
mod keys;
mod known;
mod lists;
mod make;
mod payloads;
mod scripts;
mod sets;
mod sort;
mod sorted_sets;
mod streams;
mod strings;
#[path = "../support/mod.rs"]
mod support;
mod tracking;
mod transactions;

use std::collections::{BTreeSet, VecDeque};

use compare::{Class, class_of, same};
use events::Events;
use make::{Make, Words};
use support::client::{Client, Value};
use support::random::Random;
use support::{Options, Server, notation};

type Generator = fn(&mut Make) -> Words;

const GENERATORS: &[(&str, u64, Generator)] = &[
    ("strings", 10, strings::command),
    ("bitmaps", 5, bitmaps::command),
    ("hashes", 8, hashes::command),
    ("lists", 9, lists::command),
    ("sets", 10, sets::command),
    ("sorted_sets", 12, sorted_sets::command),
    ("hyperloglogs", 5, hyperloglogs::command),
    ("geo", 8, geo::command),
    ("streams", 14, streams::command),
    ("keys", 8, keys::command),
    ("sort", 5, sort::command),
    ("transactions", 3, transactions::command),
    ("scripts", 12, scripts::command),
    ("functions", 10, functions::command),
];

/// Commands shown before a mismatch.
const HISTORY: usize = 20;
/// Different commands that may fail before a run gives up.
const MISMATCHES_MAX: usize = 12;
/// Steps between comparisons of everything.
const SWEEP_EVERY: u64 = 250;
const CONNECTIONS: usize = 2;
/// What FUNCTION DUMP replies where there is no library.
const EMPTY_DUMP: &[u8] = b"\n\x00]\x9b\\@\x0f\x7f\xa2\xda";

#[test]
fn replies_are_those_of_redis_in_resp2() {
    run(2);
}

#[test]
fn replies_are_those_of_redis_in_resp3() {
    run(3);
}

#[test]
fn notifications_are_those_of_redis() {
    run_with(2, true);
}

fn run(protocol: u8) {
    run_with(protocol, false);
}

fn run_with(protocol: u8, notifications: bool) {
    if !support::oracle_is_installed() {
        assert!(std::env::var_os("CI").is_none(), "redis-server must be installed in CI");
        eprintln!("redis-server is not installed: nothing compared");
        return;
    }
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seed = number("DIFF_SEED").unwrap_or_else(Random::fresh_seed);
    let steps = number("DIFF_STEPS").unwrap_or(20_000);
    println!("DIFF_SEED={seed} DIFF_STEPS={steps} RESP{protocol}");
    let mut pair = Pair::start(protocol, seed);
    pair.events = notifications.then(|| Events::of(&pair.oracle, &pair.ours));
    for step in 0..steps {
        pair.step(step);
        if step % SWEEP_EVERY == SWEEP_EVERY - 1 {
            pair.sweep();
        }
        if pair.failed_commands.len() >= MISMATCHES_MAX {
            break;
        }
    }
    let failures = &pair.failures;
    assert!(
        failures.is_empty(),
        "DIFF_SEED={seed} RESP{protocol}: {} commands differ\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// One connection to each server, in step.
struct Line {
    oracle: Client,
    ours: Client,
    /// Classes of what is queued, while in MULTI.
    queued: Option<Vec<(Words, Class)>>,
    /// What redis-server's last FUNCTION DUMP replied: both are given it to restore.
    dumped: Vec<u8>,
}

struct Pair {
    protocol: u8,
    make: Make,
    generators: Vec<(u64, Generator)>,
    oracle: Server,
    ours: Server,
    lines: Vec<Line>,
    /// Outside of all transactions, for sweeps.
    side: Line,
    events: Option<Events>,
    history: VecDeque<String>,
    failed_commands: BTreeSet<String>,
    failures: Vec<String>,
}

impl Pair {
    fn start(protocol: u8, seed: u64) -> Self {
        let only = std::env::var("DIFF_TYPES").unwrap_or_default();
        let wanted = |name: &str| only.is_empty() || only.split(',').any(|one| one == name);
        let generators = GENERATORS.iter().filter(|(name, ..)| wanted(name));
        let generators: Vec<_> = generators.map(|&(_, weight, generator)| (weight, generator)).collect();
        assert!(!generators.is_empty(), "DIFF_TYPES={only} names no generator");
        let oracle = Server::start_oracle();
        let ours = Server::start(Options::default().directive("appendfsync", "no"));
        let lines = (0..CONNECTIONS).map(|_| Line::open(&oracle, &ours, protocol)).collect();
        let side = Line::open(&oracle, &ours, protocol);
        Self {
            protocol,
            make: Make::seeded(seed.wrapping_add(u64::from(protocol))),
            generators,
            oracle,
            ours,
            lines,
            side,
            events: None,
            history: VecDeque::new(),
            failed_commands: BTreeSet::new(),
            failures: Vec::new(),
        }
    }

    fn step(&mut self, step: u64) {
        let index = self.make.random.below(CONNECTIONS as u64) as usize;
        self.make.in_multi = self.lines[index].queued.is_some();
        let command = self.generate();
        let shown = format!("{index}> {}", notation::show_command(&command));
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(shown);
        if let Err(difference) = self.lines[index].compare(&command) {
            self.report(&command, &format!("step {step}: {difference}"));
        } else if let Some(events) = &mut self.events
            && let Err(difference) = events.compare()
            && !is_made_up_for(&command)
        {
            self.report(&command, &format!("step {step}: notifications\n{difference}"));
        }
    }

    fn generate(&mut self) -> Words {
        if self.make.in_multi && self.make.chance(6) {
            return words(&["EXEC"]);
        }
        let total: u64 = self.generators.iter().map(|(weight, _)| weight).sum();
        let mut at = self.make.random.below(total);
        for &(weight, generator) in &self.generators {
            if at < weight {
                let command = generator(&mut self.make);
                return if std::mem::take(&mut self.make.plain) {
                    command
                } else {
                    self.make.disturbed(command)
                };
            }
            at -= weight;
        }
        unreachable!("the weights add up to the total")
    }

    /// Compares type, value and lifetime of every key.
    fn sweep(&mut self) {
        if let Err(difference) = self.side.compare(&words(&["FUNCTION", "LIST", "WITHCODE"])) {
            return self.report(&words(&["FUNCTION"]), &format!("sweep: {difference}"));
        }
        for key in make::KEYS.iter().chain(streams::KEYS) {
            let kind = match self.side.both(&words(&["TYPE", key])) {
                Ok((oracle, ours)) if oracle == ours => oracle,
                other => return self.report(&words(&["TYPE", key]), &format!("sweep: {other:?}")),
            };
            let kind = String::from_utf8_lossy(kind.bytes().unwrap_or_default()).into_owned();
            let command = match kind.as_str() {
                "string" => words(&["GET", key]),
                "list" => words(&["LRANGE", key, "0", "-1"]),
                "hash" => words(&["HGETALL", key]),
                "set" => words(&["SMEMBERS", key]),
                "zset" => words(&["ZRANGE", key, "0", "-1", "WITHSCORES"]),
                "stream" => words(&["XINFO", "STREAM", key, "FULL", "COUNT", "0"]),
                _ => continue,
            };
            for command in [command, words(&["TTL", key])] {
                if let Err(difference) = self.side.compare(&command) {
                    return self.report(&command, &format!("sweep: {difference}"));
                }
            }
        }
    }

    /// Notes a difference and puts both servers back into the same state. A command is reported once.
    fn report(&mut self, command: &Words, difference: &str) {
        let name = String::from_utf8_lossy(&command[0]).to_ascii_uppercase();
        if self.failed_commands.insert(name) {
            let history: Vec<_> = self.history.iter().map(String::as_str).collect();
            self.failures.push(format!("{}\n{difference}", history.join("\n")));
        }
        assert!(
            self.ours.try_client().is_ok(),
            "the server is gone:\n{}\n{}",
            self.failures.join("\n"),
            self.ours.log()
        );
        self.lines = (0..CONNECTIONS).map(|_| Line::open(&self.oracle, &self.ours, self.protocol)).collect();
        self.side = Line::open(&self.oracle, &self.ours, self.protocol);
        let _ = self.side.both(&words(&["FLUSHALL"]));
        let _ = self.side.both(&words(&["FUNCTION", "FLUSH"]));
        if let Some(events) = &mut self.events {
            let _ = events.compare();
        }
        self.history.clear();
    }
}

/// After some commands the runner itself makes both servers the same again.
fn is_made_up_for(command: &Words) -> bool {
    is(command, b"SPOP") || is(command, b"XSETID")
}

fn words(text: &[&str]) -> Words {
    text.iter().map(|word| word.as_bytes().to_vec()).collect()
}

impl Line {
    fn open(oracle: &Server, ours: &Server, protocol: u8) -> Self {
        let mut line =
            Self { oracle: oracle.client(), ours: ours.client(), queued: None, dumped: EMPTY_DUMP.to_vec() };
        if protocol == 3 {
            let hello = words(&["HELLO", "3"]);
            let (_, ours) = line.both(&hello).expect("HELLO 3 is answered");
            assert!(!ours.is_error(), "HELLO 3: {}", notation::show(&ours));
        }
        line
    }

    fn both(&mut self, command: &Words) -> Result<(Value, Value), String> {
        self.oracle.queue(command);
        self.ours.queue(command);
        self.oracle.flush().expect("redis-server takes commands");
        self.ours.flush().map_err(|e| format!("sending failed: {e}"))?;
        let oracle = self.oracle.receive().expect("redis-server answers");
        let ours = self.ours.receive().map_err(|e| {
            format!(
                "{}\n  redis:   {}\n  duramen: {e}",
                notation::show_command(command),
                notation::show(&oracle)
            )
        })?;
        Ok((oracle, ours))
    }

    fn compare(&mut self, command: &Words) -> Result<(), String> {
        let class = class_of(command);
        let mut given = command.clone();
        let dumped = given.iter_mut().find(|word| **word == functions::DUMPED.as_bytes());
        dumped.into_iter().for_each(|word| word.clone_from(&self.dumped));
        let command = &given;
        let (oracle, ours) = match class {
            // In MULTI a SCAN is only queued.
            Class::Scan if self.queued.is_none() => self.scan(command)?,
            Class::Pop if self.queued.is_none() => self.pop(command)?,
            _ if is(command, b"XSETID") && self.queued.is_none() => self.set_id(command)?,
            _ => self.both(command)?,
        };
        let equal = if self.queued.is_some() && oracle == Value::Simple(b"QUEUED".to_vec()) {
            oracle == ours
        } else if self.queued.is_some() && is(command, b"EXEC") {
            let queued = self.queued.take().unwrap_or_default();
            same_exec(&queued, &oracle, &ours)
        } else {
            same(command, class, &oracle, &ours)
        };
        self.follow_transaction(command, class, &oracle);
        if let (true, Value::Bulk(payload)) = (is(command, b"FUNCTION") && class == Class::Shape, &oracle) {
            self.dumped.clone_from(payload);
        }
        if equal {
            return Ok(());
        }
        Err(describe(command, &oracle, &ours))
    }

    fn follow_transaction(&mut self, command: &Words, class: Class, reply: &Value) {
        match &mut self.queued {
            None if is(command, b"MULTI") && *reply == Value::ok() => self.queued = Some(Vec::new()),
            Some(queued) if *reply == Value::Simple(b"QUEUED".to_vec()) => {
                queued.push((command.clone(), class))
            }
            Some(_) if is(command, b"DISCARD") && !reply.is_error() => self.queued = None,
            _ => {}
        }
    }

    /// Where one server alone set the id, as 7.0 does below that of a deleted entry, the stream goes: later ids would differ.
    fn set_id(&mut self, command: &Words) -> Result<(Value, Value), String> {
        let (oracle, ours) = self.both(command)?;
        if oracle.is_error() != ours.is_error() {
            self.both(&vec![b"DEL".to_vec(), command[1].clone()])?;
        }
        Ok((oracle, ours))
    }

    /// Puts what redis-server popped back, and takes from it what the other popped.
    fn pop(&mut self, command: &Words) -> Result<(Value, Value), String> {
        let (oracle, ours) = self.both(command)?;
        let members = |reply: &Value| match reply {
            Value::Bulk(member) => vec![member.clone()],
            reply => reply.items().iter().filter_map(|item| Some(item.bytes()?.to_vec())).collect(),
        };
        let (theirs, mine) = (members(&oracle), members(&ours));
        if oracle.is_error() || theirs == mine || theirs.len() != mine.len() {
            return Ok((oracle, ours));
        }
        let with = |name: &str, members: Words| [words(&[name]), vec![command[1].clone()], members].concat();
        self.oracle.call(with("SADD", theirs)).map_err(|e| e.to_string())?;
        let count = mine.len() as i64;
        match self.oracle.call(with("SREM", mine)).map_err(|e| e.to_string())? {
            Value::Integer(removed) if removed == count => Ok((oracle, ours)),
            _ => Err(format!("popped what was not there: {}", describe(command, &oracle, &ours))),
        }
    }

    /// Follows the cursors of both servers to the end: what counts is what is found.
    fn scan(&mut self, command: &Words) -> Result<(Value, Value), String> {
        let cursor_at = if is(command, b"SCAN") { 1 } else { 2 };
        let (mut oracle, mut ours) = self.both(command)?;
        for (client, reply) in [(&mut self.oracle, &mut oracle), (&mut self.ours, &mut ours)] {
            let mut found = Vec::new();
            let mut rounds = 0;
            while let [cursor, items] = &reply.items()[..] {
                found.extend(items.items());
                let cursor = cursor.bytes().unwrap_or_default().to_vec();
                rounds += 1;
                if cursor == b"0" || rounds > 10_000 {
                    *reply = Value::Array(vec![Value::bulk(&cursor), Value::Array(found)]);
                    break;
                }
                let mut next = command.clone();
                next[cursor_at] = cursor;
                *reply = client.call(&next).map_err(|e| e.to_string())?;
            }
        }
        Ok((oracle, ours))
    }
}

/// Both replies; of long ones the lines from the first difference on.
fn describe(command: &Words, oracle: &Value, ours: &Value) -> String {
    let (left, right) = (notation::lines(oracle), notation::lines(ours));
    let equal = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
    let show = |lines: &[String]| {
        lines.iter().skip(equal).take(6).cloned().collect::<Vec<_>>().join("\n           ")
    };
    let after = if equal > 0 { format!("  (after {equal} equal lines)\n") } else { String::new() };
    format!(
        "{}\n{after}  redis:   {}\n  duramen: {}",
        notation::show_command(command),
        show(&left),
        show(&right)
    )
}

fn is(command: &Words, name: &[u8]) -> bool {
    command.first().is_some_and(|word| word.eq_ignore_ascii_case(name))
}

/// The replies of a transaction, each by the class of its command.
fn same_exec(queued: &[(Words, Class)], oracle: &Value, ours: &Value) -> bool {
    let (Value::Array(left), Value::Array(right)) = (oracle, ours) else { return oracle == ours };
    let alike = |((command, class), (left, right)): (&(Words, Class), (&Value, &Value))| {
        // One call of an iteration says nothing: only its shape can be compared.
        let class = if *class == Class::Scan { Class::Shape } else { *class };
        same(command, class, left, right)
    };
    left.len() == right.len() && queued.iter().zip(left.iter().zip(right)).all(alike)
}
