//! Blocked clients: several connections to each server, of which some wait. After every command both servers must have served the same
//! ones, with the same replies.
//!
//! Which clients wait is what `CLIENT LIST` says (flag `b`), so nothing here depends on time: nobody waits with an end.

use std::time::{Duration, Instant};

use super::make::{Make, Words};
use super::support::client::{Client, Value};
use super::support::random::Random;
use super::support::{self, Options, Server, notation};
use super::words;
use crate::line;

const CONNECTIONS: usize = 8;
const KEYS: &[&str] = &["a", "b", "{t}c"];
/// A server that has not served a client by then never will.
const SERVED_WITHIN: Duration = Duration::from_secs(10);

/// One server, and the connections to it.
struct Side {
    /// Asks who is blocked.
    control: Client,
    clients: Vec<(i64, Client)>,
}

impl Side {
    fn open(server: &Server, protocol: &str) -> Self {
        let connect = |_| {
            let mut client = server.client();
            client.call(["HELLO", protocol]).expect("HELLO is answered");
            let id = client.call(["CLIENT", "ID"]).expect("answered").integer().expect("a number");
            (id, client)
        };
        Self { control: server.client(), clients: (0..CONNECTIONS).map(connect).collect() }
    }

    /// Whether each client waits.
    fn blocked(&mut self) -> Vec<bool> {
        let list = self.control.call(["CLIENT", "LIST"]).expect("answered");
        let list = String::from_utf8_lossy(list.bytes().expect("text")).into_owned();
        let waits = |id: &i64| {
            let line = list.lines().find(|line| line.starts_with(&format!("id={id} ")));
            let flags = line.and_then(|line| line.split(' ').find_map(|field| field.strip_prefix("flags=")));
            flags.expect("it is connected").contains('b')
        };
        self.clients.iter().map(|(id, _)| waits(id)).collect()
    }

    /// Sends, and comes back when the client has its reply or waits.
    fn send(&mut self, index: usize, command: &Words) -> Option<Value> {
        let client = &mut self.clients[index].1;
        client.queue(command);
        client.flush().expect("it is connected");
        let begin = Instant::now();
        loop {
            let reply = self.clients[index].1.receive_within(Duration::from_micros(200));
            if let Some(reply) = reply.expect("it is connected") {
                return Some(reply);
            }
            if self.blocked()[index] {
                return None;
            }
            assert!(begin.elapsed() < SERVED_WITHIN, "neither a reply nor a client that waits");
        }
    }
}

struct Pair {
    make: Make,
    oracle: Side,
    ours: Side,
    blocked: Vec<bool>,
    /// Ids of entries only grow.
    entries: u64,
    history: Vec<String>,
}

impl Pair {
    fn step(&mut self) {
        let free: Vec<usize> = (0..CONNECTIONS).filter(|index| !self.blocked[*index]).collect();
        // Somebody has to be able to write.
        let index = *self.make.random.pick(&free);
        let command = if free.len() > 1 && self.make.chance(2) { self.waiting() } else { self.writing() };
        if command[0] == b"MULTI" {
            return self.transaction(index);
        }
        if command[0] == b"UNBLOCK" {
            return self.unblock(index);
        }
        self.both(index, &command);
        self.served();
    }

    fn both(&mut self, index: usize, command: &Words) {
        self.history.push(format!("{index}> {}", notation::show_command(command)));
        let oracle = self.oracle.send(index, command);
        let ours = self.ours.send(index, command);
        self.same(index, command, oracle.as_ref(), ours.as_ref());
        self.blocked[index] = oracle.is_none();
    }

    /// Who waited and waits no more: the same in both, with the same replies.
    fn served(&mut self) {
        let expected = self.oracle.blocked();
        let begin = Instant::now();
        while self.ours.blocked() != expected {
            let ours = self.ours.blocked();
            assert!(
                begin.elapsed() < SERVED_WITHIN,
                "who waits: {expected:?} in Redis, here {ours:?}\n{}",
                self.history.join("\n")
            );
        }
        for (index, waits) in expected.iter().enumerate() {
            if self.blocked[index] && !waits {
                let oracle = self.oracle.clients[index].1.receive().expect("it was served");
                let ours = self.ours.clients[index].1.receive().expect("it was served");
                self.history.push(format!("   {index} is served: {}", notation::show(&oracle)));
                self.same(index, &words(&["(served)"]), Some(&oracle), Some(&ours));
            }
        }
        self.blocked = expected;
    }

    fn same(&self, index: usize, command: &Words, oracle: Option<&Value>, ours: Option<&Value>) {
        // Redis 7.2 words what ends a reader of a group otherwise than 7.0.
        let are_errors = [oracle, ours].iter().all(|reply| reply.is_some_and(Value::is_error));
        assert!(
            oracle == ours || are_errors,
            "{index}> {}: Redis {oracle:?}, here {ours:?}\n{}",
            notation::show_command(command),
            self.history.join("\n")
        );
    }

    fn transaction(&mut self, index: usize) {
        self.both(index, &words(&["MULTI"]));
        for _ in 0..=self.make.random.below(4) {
            let command = self.write();
            self.both(index, &command);
        }
        self.both(index, &words(&["EXEC"]));
        self.served();
    }

    fn unblock(&mut self, index: usize) {
        let Some(other) = (0..CONNECTIONS).find(|other| self.blocked[*other]) else { return };
        let how = self.make.pick(&["TIMEOUT", "ERROR"]);
        self.history.push(format!("{index}> CLIENT UNBLOCK {other} {how}"));
        for side in [&mut self.oracle, &mut self.ours] {
            let id = side.clients[other].0.to_string();
            let reply = side.send(index, &words(&["CLIENT", "UNBLOCK", &id, &how]));
            assert_eq!(reply, Some(Value::Integer(1)));
        }
        self.served();
    }

    fn key(&mut self) -> String {
        self.make.pick(KEYS)
    }

    fn waiting(&mut self) -> Words {
        let (key, other) = (self.key(), self.key());
        let side = |make: &mut Make| make.pick(&["LEFT", "RIGHT"]);
        let (from, to) = (side(&mut self.make), side(&mut self.make));
        let group = self.make.pick(&["g", "g", "h"]);
        let consumer = self.make.pick(&["c", "d"]);
        match self.make.random.below(16) {
            0..=1 => line!["BLPOP", key, other, "0"],
            2 => line!["BRPOP", key, "0"],
            3 => line!["BLMOVE", key, other, from, to, "0"],
            4 => line!["BLMPOP", "0", "2", key, other, from, "COUNT", "2"],
            5 => line!["BRPOPLPUSH", key, other, "0"],
            6 => line!["BZPOPMIN", key, other, "0"],
            7 => line!["BZPOPMAX", key, "0"],
            8 => line!["BZMPOP", "0", "1", key, "MIN", "COUNT", "2"],
            9..=10 => line!["XREAD", "COUNT", "2", "BLOCK", "0", "STREAMS", key, "$"],
            // Redis 7.2 looks at all streams again where 7.0 looks at the one that was written: one of these is nothing ever.
            11 => line!["XREAD", "BLOCK", "0", "STREAMS", "s", "none", "$", "$"],
            _ => {
                line!["XREADGROUP", "GROUP", group, consumer, "COUNT", "2", "BLOCK", "0", "STREAMS", key, ">"]
            }
        }
    }

    fn writing(&mut self) -> Words {
        match self.make.random.below(12) {
            0 => words(&["MULTI"]),
            1 => words(&["UNBLOCK"]),
            _ => self.write(),
        }
    }

    fn write(&mut self) -> Words {
        let (key, other) = (self.key(), self.key());
        self.entries += 1;
        let id = format!("{}-1", self.entries);
        let value = format!("v{}", self.entries);
        let group = self.make.pick(&["g", "h"]);
        match self.make.random.below(30) {
            0..=3 => line!["RPUSH", key, value],
            4 => line!["LPUSH", key, value, "x", "y"],
            5..=6 => line!["ZADD", key, id.trim_end_matches("-1"), value],
            7 => line!["ZADD", key, "1", "m", "2", "n", "3", "o"],
            8..=11 => line!["XADD", key, id, "f", value],
            12 => line!["XADD", "s", id, "f", value],
            13..=15 => line!["XGROUP", "CREATE", key, group, "$", "MKSTREAM"],
            16 => line!["XGROUP", "DESTROY", key, group],
            17 => line!["XGROUP", "SETID", key, group, "0"],
            18 => line!["SET", key, value],
            19..=21 => line!["DEL", key],
            22 => line!["RENAME", key, other],
            23 => line!["COPY", key, other, "REPLACE"],
            // SORT STORE over a key of another type serves nobody in Redis 7.0.
            24 => line!["RPUSH", key, value, "y"],
            25 => line!["LPOP", key],
            26 => line!["ZPOPMIN", key],
            27 => line!["XREADGROUP", "GROUP", group, "c", "STREAMS", key, ">"],
            28 => line!["FLUSHALL"],
            _ => line!["LMOVE", key, other, "LEFT", "RIGHT"],
        }
    }
}

#[test]
fn who_waits_is_served_as_by_redis() {
    if !support::oracle_is_installed() {
        assert!(std::env::var_os("CI").is_none(), "redis-server must be installed in CI");
        eprintln!("redis-server is not installed: nothing compared");
        return;
    }
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let seed: u64 = number("DIFF_SEED").unwrap_or_else(Random::fresh_seed);
    let steps: u64 = number("DIFF_STEPS").unwrap_or(4000);
    println!("DIFF_SEED={seed} DIFF_STEPS={steps}");
    let oracle = Server::start_oracle();
    let ours = Server::start(Options::default().directive("appendfsync", "no"));
    for (round, protocol) in ["2", "3"].into_iter().enumerate() {
        let mut pair = Pair {
            make: Make::seeded(seed.wrapping_add(round as u64)),
            oracle: Side::open(&oracle, protocol),
            ours: Side::open(&ours, protocol),
            blocked: vec![false; CONNECTIONS],
            entries: 0,
            history: Vec::new(),
        };
        pair.both(0, &words(&["FLUSHALL"]));
        for _ in 0..steps / 2 {
            pair.step();
        }
    }
}
