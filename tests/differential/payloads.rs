//! DUMP there and RESTORE here, and the other way round: values made by commands on one server are read by the other. Redis 7.0
//! reads versions up to 10, so the footer of our payloads is written anew for it; what they hold it knows, with one exception
//! (small sets of strings), which is passed over.

use duramen::rdb::{Content, Input, decode, open, put_stream, seal, types};

use super::make::Words;
use super::support::client::{Client, Value};
use super::support::random::Random;
use super::support::{self, Options, Server, notation};
use super::words;
use crate::line;

#[path = "../../src/rdb/samples.rs"]
mod samples;

const REDIS_7_0: u16 = 10;
const SET_LISTPACK: u8 = 20;
const ROUNDS: usize = 150;

fn call(client: &mut Client, command: &Words) -> Value {
    client.call(command).unwrap_or_else(|e| panic!("{}: {e}", notation::show_command(command)))
}

fn dump(client: &mut Client, key: &str) -> Vec<u8> {
    let reply = call(client, &line!["DUMP", key]);
    reply.bytes().unwrap_or_else(|| panic!("DUMP {key}: {reply:?}")).to_vec()
}

fn for_redis_7_0(payload: &[u8]) -> Vec<u8> {
    let mut older = open(payload).expect("a payload of ours").to_vec();
    // Of streams it knows the type before: what a consumer did last is not in it.
    if older[0] == types::STREAM_LISTPACKS_3 {
        let content = decode(older[0], &mut Input::new(&older[1..]));
        let Ok(Content::Stream(stream)) = content else { panic!("what is written is read") };
        older = vec![types::STREAM_LISTPACKS_2];
        put_stream(&mut older, types::STREAM_LISTPACKS_2, &stream);
    }
    seal(&mut older, REDIS_7_0);
    older
}

/// Everything about a key but how it is kept.
fn seen(client: &mut Client, key: &str) -> (Value, Vec<Value>) {
    let kind = call(client, &line!["TYPE", key]);
    let command = match kind.bytes().unwrap_or_default() {
        b"string" => line!["GET", key],
        b"list" => line!["LRANGE", key, "0", "-1"],
        b"hash" => line!["HGETALL", key],
        b"set" => line!["SMEMBERS", key],
        b"zset" => line!["ZRANGE", key, "0", "-1"],
        b"stream" => line!["XRANGE", key, "-", "+"],
        other => panic!("{key}: {}", String::from_utf8_lossy(other)),
    };
    let reply = call(client, &command);
    let mut items = if reply.items().is_empty() { vec![reply] } else { reply.items().to_vec() };
    if kind.bytes() == Some(b"set") {
        items.sort();
    }
    if kind.bytes() == Some(b"hash") {
        let mut pairs: Vec<Vec<Value>> = items.chunks(2).map(<[Value]>::to_vec).collect();
        pairs.sort();
        items = pairs.concat();
    }
    if kind.bytes() == Some(b"stream") {
        // All but the lag, which 7.0 reckons otherwise.
        let groups = call(client, &line!["XINFO", "GROUPS", key]);
        items.extend(groups.items().iter().flat_map(|group| group.items()[..10].to_vec()));
        items.push(call(client, &line!["XLEN", key]));
    }
    (kind, items)
}

struct Pair {
    oracle: Client,
    ours: Client,
    _servers: [Server; 2],
}

impl Pair {
    /// `None` without a redis-server to compare with.
    fn start() -> Option<Self> {
        if !support::oracle_is_installed() {
            assert!(std::env::var_os("CI").is_none(), "redis-server must be installed in CI");
            eprintln!("redis-server is not installed: nothing compared");
            return None;
        }
        let servers =
            [Server::start_oracle(), Server::start(Options::default().directive("appendfsync", "no"))];
        Some(Self { oracle: servers[0].client(), ours: servers[1].client(), _servers: servers })
    }

    fn restored_alike(&mut self, what: &str, payload: &[u8]) {
        let restore = line!["RESTORE", "restored", "0", payload, "REPLACE"];
        let replies = [call(&mut self.oracle, &restore), call(&mut self.ours, &restore)];
        assert_eq!(replies[0], replies[1], "{what}");
        if replies[0] == Value::ok() {
            assert_eq!(seen(&mut self.oracle, "restored"), seen(&mut self.ours, "restored"), "{what}");
        }
    }
}

#[test]
fn every_old_encoding_is_restored_as_by_redis() {
    let Some(mut pair) = Pair::start() else { return };
    for (name, value) in &samples::SAMPLES[..samples::KNOWN_TO_REDIS_7_0] {
        let mut payload = value.to_vec();
        seal(&mut payload, REDIS_7_0);
        pair.restored_alike(name, &payload);
        assert_eq!(call(&mut pair.ours, &words(&["EXISTS", "restored"])), Value::Integer(1), "{name}");
    }
}

/// A command that makes or enlarges one of the keys; sizes on both sides of the limits of small representations.
fn grow(random: &mut Random, key: &str) -> Words {
    let element = |random: &mut Random| -> Vec<u8> {
        match random.below(8) {
            0..=2 => random.below(1000).to_string().into_bytes(),
            3 => (random.next() as i64 >> random.below(64)).to_string().into_bytes(),
            4 => vec![b'r'; random.below(300) as usize],
            5 => (0..random.below(100)).map(|_| random.below(256) as u8).collect(),
            6 => vec![b'l'; random.below(20_000) as usize],
            _ => format!("element:{}", random.below(50)).into_bytes(),
        }
    };
    let count = if random.one_in(4) { 300 } else { 1 + random.below(8) };
    let mut command = match key {
        "stream" => {
            let element = element(random);
            return grow_stream(random, key, &element);
        }
        "string" => return line!["SET", key, element(random)],
        "list" => line!["RPUSH", key],
        "set" => line!["SADD", key],
        "integers" => line!["SADD", key],
        "hash" => line!["HSET", key],
        _ => line!["ZADD", key],
    };
    for _ in 0..count {
        match key {
            "hash" => command.extend([element(random), element(random)]),
            "integers" => {
                let value = random.next() as i64 >> random.below(64);
                command.push(value.to_string().into_bytes());
            }
            "zset" => {
                let score = ["1.5", "-inf", "inf", "0.1", "-3", "1e300", "-0.007"][random.below(7) as usize];
                command.extend([score.as_bytes().to_vec(), element(random)]);
            }
            _ => command.push(element(random)),
        }
    }
    command
}

/// Entries by themselves and many at once, deletions, groups that read, acknowledge and claim.
fn grow_stream(random: &mut Random, key: &str, element: &[u8]) -> Words {
    let group = format!("g{}", random.below(3));
    let consumer = format!("c{}", random.below(4));
    let count = 1 + random.below(40);
    match random.below(16) {
        0 => line!["XGROUP", "CREATE", key, group, "0", "MKSTREAM"],
        1 => line!["XGROUP", "SETID", key, group, "$"],
        2..=4 => {
            line!["XREADGROUP", "GROUP", group, consumer, "COUNT", count.to_string(), "STREAMS", key, ">"]
        }
        5 => line!["XAUTOCLAIM", key, group, consumer, "0", "-", "COUNT", "3"],
        6 => line!["XTRIM", key, "MAXLEN", (count * 10).to_string()],
        7 => line!["XDEL", key, format!("{}-0", random.below(200)), format!("{}-1", random.below(200))],
        8 => line!["XADD", key, "*", "time", element],
        9 => line!["XADD", key, format!("{}-*", 1 + random.below(300)), element, "name"],
        _ => line![
            "XADD",
            key,
            format!("{}-*", 1 + random.below(300)),
            "field",
            element,
            "number",
            count.to_string()
        ],
    }
}

/// What redis-server shows of a stream, but for the tree that its nodes are in and when it was copied.
fn full(client: &mut Client, key: &str) -> Vec<Value> {
    let reply = call(client, &line!["XINFO", "STREAM", key, "FULL", "COUNT", "0"]);
    [&reply.items()[..2], &reply.items()[6..]].concat()
}

#[test]
fn streams_go_from_redis_to_here_and_back() {
    let Some(mut pair) = Pair::start() else { return };
    let seed = Random::fresh_seed();
    println!("seed {seed}");
    let mut random = Random::seeded(seed);
    for round in 0..ROUNDS {
        if random.one_in(20) {
            call(&mut pair.oracle, &line!["DEL", "stream"]);
        }
        // Ids that are too small and groups that are not there are refused: most commands are not.
        (0..20).for_each(|_| _ = call(&mut pair.oracle, &grow(&mut random, "stream")));
        if call(&mut pair.oracle, &line!["EXISTS", "stream"]) == Value::Integer(0) {
            continue;
        }
        let payload = dump(&mut pair.oracle, "stream");
        let what = format!("seed {seed}, round {round}");
        let restore = line!["RESTORE", "stream", "0", payload, "REPLACE"];
        assert_eq!(call(&mut pair.ours, &restore), Value::ok(), "{what}");
        assert!(seen(&mut pair.oracle, "stream") == seen(&mut pair.ours, "stream"), "{what}: another value");
        let own = for_redis_7_0(&dump(&mut pair.ours, "stream"));
        let restore = line!["RESTORE", "restored", "0", own, "REPLACE"];
        assert_eq!(call(&mut pair.oracle, &restore), Value::ok(), "{what}");
        assert_eq!(full(&mut pair.oracle, "restored"), full(&mut pair.oracle, "stream"), "{what}");
    }
}

#[test]
fn what_redis_dumps_is_restored_here() {
    let Some(mut pair) = Pair::start() else { return };
    let seed = Random::fresh_seed();
    println!("seed {seed}");
    let mut random = Random::seeded(seed);
    let keys = ["string", "list", "set", "integers", "hash", "zset"];
    for round in 0..ROUNDS {
        let key = keys[random.below(keys.len() as u64) as usize];
        if random.one_in(5) {
            call(&mut pair.oracle, &line!["DEL", key]);
        }
        let command = grow(&mut random, key);
        let reply = call(&mut pair.oracle, &command);
        assert!(!reply.is_error(), "{reply:?}");
        let payload = dump(&mut pair.oracle, key);
        let what = format!("seed {seed}, round {round}, {key}");
        let restore = line!["RESTORE", key, "0", payload, "REPLACE"];
        assert_eq!(call(&mut pair.ours, &restore), Value::ok(), "{what}");
        // Values are too long to be shown.
        assert!(seen(&mut pair.oracle, key) == seen(&mut pair.ours, key), "{what}: another value");
        // And back again.
        let own = dump(&mut pair.ours, key);
        if own[0] != SET_LISTPACK {
            pair.restored_alike(&what, &for_redis_7_0(&own));
            assert_eq!(seen(&mut pair.oracle, "restored"), seen(&mut pair.oracle, key), "{what}");
            // Scores are printed otherwise here than by 7.0, so only there are they compared.
            let mut scores = |key| call(&mut pair.oracle, &line!["ZRANGE", key, "0", "-1", "WITHSCORES"]);
            assert_eq!(scores("restored"), scores(key), "{what}");
        }
    }
}

#[test]
fn damaged_payloads_are_refused_or_restored_without_harm() {
    let Some(mut pair) = Pair::start() else { return };
    let mut random = Random::seeded(11);
    for round in 0..2000 {
        let (name, value) = samples::SAMPLES[random.below(samples::SAMPLES.len() as u64) as usize];
        let mut payload = value.to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(payload.len() as u64) as usize;
            payload[at] = random.below(256) as u8;
        }
        seal(&mut payload, REDIS_7_0);
        let reply = call(&mut pair.ours, &line!["RESTORE", "k", "0", payload, "REPLACE"]);
        let expected = [Value::ok(), Value::Error(b"ERR Bad data format".to_vec())];
        assert!(expected.contains(&reply), "round {round}, {name}: {reply:?}");
    }
    assert_eq!(call(&mut pair.ours, &words(&["PING"])), Value::Simple(b"PONG".to_vec()));
}
