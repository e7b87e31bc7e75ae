//! CLIENT TRACKING on both servers, step by step: one connection tracks in RESP3, another writes, and both reply and what the first is
//! told must be the same.
//!
//! Two deliberate differences of docs/compatibility.md are followed step by step: under NOLOOP redis-server forgets a reader with its own
//! change, and tells a connection of what its own script changed.
//!
//! Where a push stands among the replies of the connection that is told is not compared, but that it comes before the reply to the next
//! request is. Nothing expires by itself: when a key is found to have expired is each server's own affair.

use std::collections::{BTreeSet, VecDeque};

use super::compare::{Class, same};
use super::make::{Make, Words};
use super::support::client::{Client, Value};
use super::support::random::Random;
use super::support::{self, Options, Server, notation};
use crate::line;

const KEYS: &[&str] = &["k", "k1", "k2", "k12", "x", "x1", "y"];
const PREFIXES: &[&str] = &["k", "k1", "x", "z", "", "y"];
/// Steps until the connections begin anew, with another way of tracking.
const EPISODE: u64 = 40;
const MISMATCHES_MAX: usize = 8;
const HISTORY: usize = 25;

/// What is carried out as one step: a command, or a transaction.
struct Step {
    by_tracker: bool,
    commands: Vec<Words>,
}

/// What was asked for, as far as redis-server agreed, and what follows from it.
#[derive(Default)]
struct Mode {
    is_on: bool,
    broadcast: bool,
    no_loop: bool,
    /// Keys that the tracker itself may have changed since, while that was not told to it.
    own: BTreeSet<Vec<u8>>,
}

impl Mode {
    fn follow(&mut self, step: &Step, replies: &[Value]) {
        if !step.by_tracker {
            return;
        }
        for (command, reply) in step.commands.iter().zip(replies) {
            let has = |word: &str| command.iter().any(|own| own == word.as_bytes());
            if command[0] == b"CLIENT" && has("TRACKING") && *reply == Value::ok() {
                (self.is_on, self.broadcast, self.no_loop) = (has("ON"), has("BCAST"), has("NOLOOP"));
                // Another way of tracking makes no reader unknown.
                self.own.retain(|_| has("ON"));
            }
            if self.no_loop && !self.broadcast {
                let keys = command.iter().skip(1).filter(|word| is_key(word));
                self.own.extend(keys.cloned());
            }
        }
    }

    /// Whether the step's own doing explains that only redis-server tells of keys.
    fn redis_may_tell(&self, step: &Step) -> bool {
        let is_script = |command: &Words| command[0] == b"EVAL";
        self.broadcast && self.no_loop && step.by_tracker && step.commands.iter().any(is_script)
    }
}

fn is_key(word: &[u8]) -> bool {
    let key = word.strip_prefix(b"l").unwrap_or(word);
    KEYS.iter().any(|own| own.as_bytes() == key)
}

/// The two connections to one server.
struct Side {
    tracker: Client,
    writer: Client,
    fences: u64,
}

/// The replies of a step, and what the tracker was told by its end.
type Outcome = (Vec<Value>, Vec<Value>);

impl Side {
    fn open(server: &Server) -> Self {
        let mut tracker = server.client();
        assert!(!tracker.call(["HELLO", "3"]).expect("it answers").is_error());
        Self { tracker, writer: server.client(), fences: 0 }
    }

    fn run(&mut self, step: &Step) -> Result<Outcome, String> {
        let text = |error: std::io::Error| error.to_string();
        let (mut replies, mut told) = (Vec::new(), Vec::new());
        if step.by_tracker {
            step.commands.iter().for_each(|command| self.tracker.queue(command));
        } else {
            step.commands.iter().for_each(|command| self.writer.queue(command));
            self.writer.flush().map_err(text)?;
            for _ in &step.commands {
                replies.push(self.writer.receive().map_err(text)?);
            }
        }
        self.fences += 1;
        let fence = format!("fence {}", self.fences);
        if step.by_tracker {
            self.tracker.flush().map_err(text)?;
            // A fence in the same pipeline would be answered before what Redis tells at the end of a turn.
            while replies.len() < step.commands.len() {
                match self.tracker.receive().map_err(text)? {
                    Value::Push(words) => told.push(Value::Push(words)),
                    reply => replies.push(reply),
                }
            }
        }
        self.tracker.queue(["ECHO", &fence]);
        self.tracker.flush().map_err(text)?;
        loop {
            match self.tracker.receive().map_err(text)? {
                Value::Push(words) => told.push(Value::Push(words)),
                reply if reply == Value::bulk(&fence) => return Ok((replies, told)),
                reply => return Err(format!("not asked for: {}", notation::show(&reply))),
            }
        }
    }
}

#[test]
fn invalidations_are_those_of_redis() {
    if !support::oracle_is_installed() {
        assert!(std::env::var_os("CI").is_none(), "redis-server must be installed in CI");
        eprintln!("redis-server is not installed: nothing compared");
        return;
    }
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = number("DIFF_SEED").unwrap_or_else(Random::fresh_seed);
    let steps = number("DIFF_STEPS").unwrap_or(20_000);
    println!("DIFF_SEED={seed} DIFF_STEPS={steps} tracking");
    let mut make = Make::seeded(seed);
    let (oracle, ours) =
        (Server::start_oracle(), Server::start(Options::default().directive("appendfsync", "no")));
    let mut sides = [Side::open(&oracle), Side::open(&ours)];
    let (mut history, mut failures, mut pushes) = (VecDeque::new(), Vec::new(), 0);
    let mut mode = Mode::default();
    for number in 0..steps {
        if number % EPISODE == 0 {
            sides = [Side::open(&oracle), Side::open(&ours)];
            mode = Mode::default();
            history.clear();
        }
        let was_on = mode.is_on;
        let step = step(&mut make, number % EPISODE == 0);
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(show(&step));
        let outcome = sides.each_mut().map(|side| side.run(&step));
        if let [Ok((replies, told)), _] = &outcome {
            pushes += told.len();
            mode.follow(&step, replies);
        }
        let Err(difference) = compare(&step, &outcome, &mut mode) else {
            if was_on && !mode.is_on {
                // redis-server would know of these reads when tracking is on again.
                sides.iter_mut().for_each(|side| drop(side.writer.call(["FLUSHALL"])));
            }
            continue;
        };
        let lines: Vec<&str> = history.iter().map(String::as_str).collect();
        failures.push(format!("step {number}\n{}\n{difference}", lines.join("\n")));
        if failures.len() == MISMATCHES_MAX {
            break;
        }
        sides = [Side::open(&oracle), Side::open(&ours)];
        sides.iter_mut().for_each(|side| drop(side.writer.call(["FLUSHALL"])));
        mode = Mode::default();
        history.clear();
    }
    assert!(
        failures.is_empty(),
        "DIFF_SEED={seed}: {} steps differ\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    assert!(steps < 1000 || pushes as u64 > steps / 10, "only {pushes} pushes in {steps} steps");
}

fn show(step: &Step) -> String {
    let who = if step.by_tracker { "tracker" } else { "writer" };
    let commands = step.commands.iter().map(|command| notation::show_command(command));
    format!("{who}> {}", commands.collect::<Vec<_>>().join("; "))
}

fn compare(step: &Step, outcome: &[Result<Outcome, String>; 2], mode: &mut Mode) -> Result<(), String> {
    let show = |values: &[Value]| values.iter().map(notation::show).collect::<Vec<_>>().join("\n    ");
    match outcome {
        [Ok((replies, told)), Ok((our_replies, our_told))] => {
            let alike = |(command, (left, right)): (&Words, (&Value, &Value))| {
                // Flags and prefixes stand in each server's own order.
                let info = command.get(1).is_some_and(|sub| sub == b"TRACKINGINFO");
                if info {
                    return sorted(left) == sorted(right);
                }
                same(command, Class::Exact, left, right) || is_overlap(left) && is_overlap(right)
            };
            if replies.len() != our_replies.len()
                || !step.commands.iter().zip(replies.iter().zip(our_replies)).all(alike)
            {
                return Err(format!("  redis:   {}\n  duramen: {}", show(replies), show(our_replies)));
            }
            if same_told(step, told, our_told, mode) {
                return Ok(());
            }
            Err(format!("  redis told:\n    {}\n  duramen told:\n    {}", show(told), show(our_told)))
        }
        [oracle, ours] => Err(format!("  redis: {oracle:?}\n  duramen: {ours:?}")),
    }
}

/// In which order the readers of several keys are told of one command is each server's own affair; FLUSHALL stays in its place.
fn same_told(step: &Step, told: &[Value], our_told: &[Value], mode: &mut Mode) -> bool {
    let (mut theirs, mut ours) = (arranged(told), arranged(our_told));
    if mode.redis_may_tell(step) && our_told.is_empty() {
        return true;
    }
    // One's own change is told to nobody, now as ever.
    let may_be_more = !(step.by_tracker && mode.no_loop);
    if theirs.len() == ours.len() {
        for (theirs, ours) in theirs.iter_mut().zip(&mut ours) {
            ours.retain(|push| theirs.contains(push) || !may_be_more || !is_own(push, &mode.own));
            theirs.sort();
            ours.sort();
        }
    }
    let keys =
        told.iter().chain(our_told).flat_map(|push| push.items().last().map_or(Vec::new(), Value::items));
    for key in keys {
        mode.own.remove(key.bytes().unwrap_or_default());
    }
    theirs == ours
}

/// The keys of each push, between one "everything" and the next.
fn arranged(told: &[Value]) -> Vec<Vec<Vec<Value>>> {
    let is_everything = |push: &Value| push.items().last().is_some_and(Value::is_nil);
    let keys = |push: &Value| {
        let mut keys = push.items().last().map_or(Vec::new(), Value::items);
        keys.sort();
        keys
    };
    told.split(is_everything).map(|between| between.iter().map(keys).collect()).collect()
}

fn is_own(keys: &[Value], own: &BTreeSet<Vec<u8>>) -> bool {
    matches!(keys, [key] if key.bytes().is_some_and(|key| own.contains(key)))
}

/// Which two of several prefixes overlap, each server finds in its own order.
fn is_overlap(reply: &Value) -> bool {
    let text = reply.bytes().filter(|_| reply.is_error()).unwrap_or_default();
    text.ends_with(b"Prefixes for a single client must not overlap.")
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Map(pairs) => {
            Value::Map(pairs.iter().map(|(name, value)| (name.clone(), sorted(value))).collect())
        }
        Value::Array(items) | Value::Set(items) => {
            let mut items = items.clone();
            items.sort();
            Value::Array(items)
        }
        other => other.clone(),
    }
}

fn step(make: &mut Make, is_first: bool) -> Step {
    let one = |by_tracker, command| Step { by_tracker, commands: vec![command] };
    if is_first || make.chance(25) {
        return one(true, tracking(make));
    }
    match make.random.below(20) {
        0 => one(true, line!["CLIENT", "CACHING", make.pick(&["YES", "yes", "NO", "NO", "maybe"])]),
        1 if make.chance(3) => one(true, line!["CLIENT", make.pick(&["TRACKINGINFO", "GETREDIR"])]),
        1..=8 => one(true, read(make)),
        9 | 10 => one(true, write(make)),
        11 => transaction(make, true),
        12 | 13 => transaction(make, false),
        _ => one(false, write(make)),
    }
}

fn tracking(make: &mut Make) -> Words {
    if make.chance(8) {
        return line!["CLIENT", "TRACKING", "OFF"];
    }
    let mut words = line!["CLIENT", "TRACKING", "ON"];
    if make.chance(3) {
        words.push(b"BCAST".to_vec());
        for _ in 0..make.random.below(3) {
            words.extend(line!["PREFIX", make.pick(PREFIXES)]);
        }
    }
    if make.chance(if words.len() > 3 { 20 } else { 2 }) {
        words.push(make.pick(&["OPTIN", "OPTOUT"]).into_bytes());
    }
    if make.chance(3) {
        words.push(b"NOLOOP".to_vec());
    }
    if make.chance(30) {
        words.push(make.pick(&["OPTIN", "OPTOUT", "PREFIX", "BCAST", "nonsense"]).into_bytes());
    }
    words
}

fn transaction(make: &mut Make, by_tracker: bool) -> Step {
    let mut commands = vec![line!["MULTI"]];
    for _ in 0..make.random.within(1..4) {
        commands.push(if by_tracker && !make.chance(3) { read(make) } else { write(make) });
    }
    commands.push(line![if make.chance(8) { "DISCARD" } else { "EXEC" }]);
    Step { by_tracker, commands }
}

fn key(make: &mut Make) -> String {
    make.pick(KEYS)
}

/// Scripts read all the keys that they declare: redis-server 7.0 tracks those, since 7.2 it tracks what is read.
fn read(make: &mut Make) -> Words {
    let (key, other) = (key(make), key(make));
    match make.random.below(12) {
        0..=4 => line!["GET", key],
        5 => line!["MGET", key, other],
        6 => line!["EXISTS", key, other],
        7 => line!["STRLEN", key],
        8 => line!["TYPE", key],
        9 => line!["EVAL", "return redis.call('get',KEYS[1])", "1", key],
        10 => line![
            "EVAL_RO",
            "return {redis.call('get',KEYS[2]),redis.call('exists',KEYS[1])}",
            "2",
            key,
            other
        ],
        _ => line!["LLEN", format!("l{key}")],
    }
}

fn write(make: &mut Make) -> Words {
    let (key, other) = (key(make), key(make));
    let list = format!("l{key}");
    match make.random.below(32) {
        0..=5 => line!["SET", key, make.random.below(100).to_string()],
        6 | 7 => line!["MSET", key, "7", other, "8"],
        8 => line!["DEL", key, other],
        9 => line!["UNLINK", other, key],
        10 | 11 => line!["INCR", key],
        12 => line!["APPEND", key, "1"],
        13 => line!["EXPIRE", key, "10000"],
        14 => line!["PERSIST", key],
        15 => line!["RENAME", key, other],
        16 => line!["RENAMENX", key, other],
        17 => line!["COPY", key, other, "REPLACE"],
        18 => line!["GETDEL", key],
        19 => line!["GETEX", key, "EX", "20000"],
        20 => line!["SET", key, "1", "GET"],
        21 => line!["SETNX", key, "1"],
        22 => line!["EVAL", "redis.call('incr',KEYS[1]) return redis.call('incr',KEYS[2])", "2", key, other],
        23 => {
            line!["EVAL", "redis.call('set',KEYS[1],1) return redis.call('set',KEYS[2],1)", "2", key, other]
        }
        24 => line!["RPUSH", list, "a", "b"],
        25 => line!["LPOP", list],
        26 => line!["PEXPIREAT", key, "1"],
        27 if make.chance(3) => line![make.pick(&["FLUSHALL", "FLUSHDB"])],
        28 => line!["GETSET", key, "5"],
        29 => line!["SETRANGE", key, "1", "9"],
        30 => line!["MSETNX", key, "1", other, "2"],
        _ => line!["SET", key, "1", "XX"],
    }
}
