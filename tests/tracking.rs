//! CLIENT TRACKING with several connections on several workers: who is told what, redirection, and caches that are never stale.
//!
//! `DURAMEN_BIN=/usr/bin/redis-server` runs the same against the reference.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use support::client::{Client, Value};
use support::{Options, Server};

fn server(workers: &str) -> Server {
    let options = Options::default();
    let options = if options.is_redis() { options } else { options.directive("io-threads", workers) };
    Server::start(options)
}

fn resp3(server: &Server) -> Client {
    let mut client = server.client();
    assert!(!client.call(["HELLO", "3"]).unwrap().is_error());
    client
}

fn ok(client: &mut Client, words: &[&str]) {
    assert_eq!(client.call(words).unwrap(), Value::ok(), "{words:?}");
}

fn id(client: &mut Client) -> String {
    client.call(["CLIENT", "ID"]).unwrap().integer().expect("an id").to_string()
}

fn bulks(words: &[&str]) -> Vec<Value> {
    words.iter().map(Value::bulk).collect()
}

/// What a RESP3 connection is told of changed keys.
fn push(keys: &[&str]) -> Value {
    Value::Push(vec![Value::bulk("invalidate"), Value::Array(bulks(keys))])
}

/// What a RESP2 connection is told.
fn message(keys: &[&str]) -> Value {
    let channel = ["message", "__redis__:invalidate"].map(Value::bulk);
    Value::Array(channel.into_iter().chain([Value::Array(bulks(keys))]).collect())
}

/// What a client's line in CLIENT LIST says of a field.
fn field(server: &Server, id: &str, name: &str) -> String {
    let list = server.client().call(["CLIENT", "LIST", "ID", id]).unwrap();
    let line = String::from_utf8_lossy(list.bytes().expect("text")).into_owned();
    let found = line.split(' ').find_map(|word| word.strip_prefix(&format!("{name}=")).map(str::to_owned));
    found.unwrap_or_else(|| panic!("no {name} in {line:?}"))
}

/// Nothing has been told: what an answered request brings is only its reply.
fn is_told_nothing(client: &mut Client) {
    assert_eq!(client.call(["ECHO", "nothing"]).unwrap(), Value::bulk("nothing"));
}

#[test]
fn another_connection_is_told_instead_in_its_own_protocol_and_its_end_is_noticed() {
    let server = server("4");
    let mut writer = server.client();
    let mut listener = server.client();
    let listener_id = id(&mut listener);
    assert!(!listener.call(["SUBSCRIBE", "__redis__:invalidate"]).unwrap().is_error());
    let mut readers: Vec<Client> = (0..3).map(|_| server.client()).collect();
    for (number, reader) in readers.iter_mut().enumerate() {
        ok(reader, &["CLIENT", "TRACKING", "ON", "REDIRECT", &listener_id]);
        assert_eq!(reader.call(["CLIENT", "GETREDIR"]).unwrap().integer().unwrap().to_string(), listener_id);
        let key = format!("k{number}");
        assert!(reader.call(["GET", &key]).unwrap().is_nil());
        ok(&mut writer, &["SET", &key, "1"]);
        assert_eq!(listener.receive().unwrap(), message(&[&key]));
        ok(&mut writer, &["SET", &key, "2"]);
    }
    assert_eq!(server.number("tracking_clients"), 3);
    let reader = &mut readers[0];
    let reader_id = id(reader);
    assert_eq!(field(&server, &reader_id, "flags"), "t");
    assert_eq!(field(&server, &reader_id, "redir"), listener_id);
    assert!(!reader.call(["GET", "k0"]).unwrap().is_nil());
    ok(&mut writer, &["FLUSHALL"]);
    for _ in 0..3 {
        let nothing = Value::Array(
            [Value::bulk("message"), Value::bulk("__redis__:invalidate"), Value::NilBulk].into(),
        );
        assert_eq!(listener.receive().unwrap(), nothing);
    }
    // In RESP3 the same connection gets pushes, subscribed or not.
    assert!(!listener.call(["RESET"]).unwrap().is_error());
    assert!(!listener.call(["HELLO", "3"]).unwrap().is_error());
    assert!(reader.call(["GET", "k0"]).unwrap().is_nil());
    ok(&mut writer, &["SET", "k0", "3"]);
    assert_eq!(listener.receive().unwrap(), push(&["k0"]));
    // Its end shows when there is something to tell.
    assert!(!listener.call(["QUIT"]).unwrap().is_error());
    while server.client().call(["CLIENT", "LIST", "ID", &listener_id]).unwrap().bytes() != Some(b"") {}
    assert!(!reader.call(["GET", "k0"]).unwrap().is_nil());
    ok(&mut writer, &["SET", "k0", "4"]);
    is_told_nothing(reader);
    assert_eq!(field(&server, &reader_id, "flags"), "tR");
    assert!(!reader.call(["HELLO", "3"]).unwrap().is_error());
    assert!(!reader.call(["GET", "k0"]).unwrap().is_nil());
    ok(&mut writer, &["SET", "k0", "5"]);
    let broken = [Value::bulk("tracking-redir-broken"), Value::Integer(listener_id.parse().unwrap())];
    assert_eq!(reader.receive().unwrap(), Value::Push(broken.into()));
    let flags = &reader.call(["CLIENT", "TRACKINGINFO"]).unwrap().items()[1];
    assert_eq!(flags.items(), bulks(&["on", "broken_redirect"]));
    ok(reader, &["CLIENT", "TRACKING", "OFF"]);
    assert_eq!(field(&server, &reader_id, "flags"), "N");
    assert_eq!(field(&server, &reader_id, "redir"), "-1");
}

#[test]
fn in_resp2_without_a_redirection_nothing_is_sent() {
    let server = server("2");
    let mut reader = server.client();
    ok(&mut reader, &["CLIENT", "TRACKING", "ON"]);
    assert!(reader.call(["GET", "k"]).unwrap().is_nil());
    ok(&mut server.client(), &["SET", "k", "1"]);
    is_told_nothing(&mut reader);
}

#[test]
fn what_is_told_comes_before_the_reply_to_a_later_request() {
    let server = server("4");
    let mut writer = server.client();
    let mut readers: Vec<Client> = (0..8).map(|_| resp3(&server)).collect();
    readers.iter_mut().for_each(|reader| ok(reader, &["CLIENT", "TRACKING", "ON"]));
    for round in 0..50 {
        for reader in &mut readers {
            assert!(!reader.call(["GET", "k"]).unwrap().is_error());
        }
        ok(&mut writer, &["SET", "k", &round.to_string()]);
        for reader in &mut readers {
            reader.queue(["PING"]);
            reader.flush().unwrap();
            assert_eq!(reader.receive().unwrap(), push(&["k"]));
            assert_eq!(reader.receive().unwrap(), Value::Simple(b"PONG".to_vec()));
        }
    }
}

#[test]
fn the_table_keeps_its_bound_and_who_read_what_it_gives_up_is_told() {
    let server = server("2");
    ok(&mut server.client(), &["CONFIG", "SET", "tracking-table-max-keys", "100"]);
    let mut reader = resp3(&server);
    ok(&mut reader, &["CLIENT", "TRACKING", "ON"]);
    let mut cached = BTreeSet::new();
    for number in 0..1000 {
        let key = format!("k{number}");
        reader.queue(["GET", &key]);
        reader.flush().unwrap();
        cached.insert(key);
    }
    let mut replies = 0;
    let mut gone = BTreeSet::new();
    while replies < 1000 {
        match reader.receive().unwrap() {
            Value::Push(words) => {
                for key in words[1].items() {
                    gone.insert(String::from_utf8_lossy(key.bytes().unwrap()).into_owned());
                }
            }
            reply => {
                assert!(reply.is_nil());
                replies += 1;
            }
        }
    }
    while gone.len() < 900 {
        for key in reader.receive().unwrap().items()[1].items() {
            gone.insert(String::from_utf8_lossy(key.bytes().unwrap()).into_owned());
        }
    }
    assert_eq!(server.number("tracking_total_keys"), 100);
    assert_eq!(server.number("tracking_total_items"), 100);
    // The others are still known.
    for key in cached.difference(&gone) {
        ok(&mut server.client(), &["SET", key, "1"]);
        assert_eq!(reader.receive().unwrap(), push(&[key]));
    }
}

const KEYS: u64 = 12;

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn key(&mut self) -> String {
        format!("k{}", self.below(KEYS))
    }
}

/// A client that keeps what it read until it is told.
struct Cache {
    client: Client,
    values: BTreeMap<String, Value>,
}

impl Cache {
    fn new(server: &Server, number: usize) -> Self {
        let mut client = resp3(server);
        let modes: [&[&str]; 3] = [&[], &["BCAST"], &["BCAST", "PREFIX", "k1", "PREFIX", "k2"]];
        let words: Vec<&str> =
            ["CLIENT", "TRACKING", "ON"].into_iter().chain(modes[number % 3].iter().copied()).collect();
        ok(&mut client, &words);
        Self { client, values: BTreeMap::new() }
    }

    fn told(&mut self, words: &[Value]) {
        assert_eq!(words[0], Value::bulk("invalidate"));
        if words[1].is_nil() {
            return self.values.clear();
        }
        for key in words[1].items() {
            self.values.remove(&*String::from_utf8_lossy(key.bytes().expect("a key")));
        }
    }

    /// The reply to one request; what is told before it is heeded.
    fn reply(&mut self) -> Value {
        loop {
            match self.client.receive().unwrap() {
                Value::Push(words) => self.told(&words),
                reply => return reply,
            }
        }
    }

    fn read(&mut self, number: usize, key: &str) {
        self.client.queue(["GET", key]);
        self.client.flush().unwrap();
        let value = self.reply();
        // The third kind is told of some keys only.
        if number % 3 != 2 || key.starts_with("k1") || key.starts_with("k2") {
            self.values.insert(key.to_owned(), value);
        }
    }
}

fn write(client: &mut Client, dice: &mut Dice) {
    let (key, other) = (dice.key(), dice.key());
    let words: Vec<&str> = match dice.below(16) {
        0 => vec!["DEL", &key, &other],
        1 => vec!["PEXPIRE", &key, "3"],
        2 => vec!["RENAME", &key, &other],
        3 => vec!["COPY", &key, &other, "REPLACE"],
        4 => vec!["MSET", &key, "7", &other, "8"],
        5 => vec!["EVAL", "redis.call('incr',KEYS[1]) return redis.call('incr',KEYS[2])", "2", &key, &other],
        6 if dice.below(20) == 0 => vec!["FLUSHALL"],
        7 => {
            ok(client, &["MULTI"]);
            client.call(["INCR", &key]).unwrap();
            client.call(["DEL", &other]).unwrap();
            vec!["EXEC"]
        }
        _ => vec!["INCR", &key],
    };
    client.call(&words).unwrap();
}

/// Reads and writes from all sides at once; then every cache must agree with the server.
#[test]
fn no_cache_is_stale_once_its_client_has_heard_of_everything() {
    let server = server("4");
    for round in 0..6_u64 {
        let mut caches: Vec<Cache> = (0..9).map(|number| Cache::new(&server, number)).collect();
        thread::scope(|scope| {
            for (number, cache) in caches.iter_mut().enumerate() {
                let mut dice = Dice(round * 100 + number as u64 + 1);
                scope.spawn(move || {
                    for _ in 0..1000 {
                        let key = dice.key();
                        if !cache.values.contains_key(&key) || dice.below(8) == 0 {
                            cache.read(number, &key);
                        }
                        while let Some(told) = cache.client.receive_within(Duration::ZERO).unwrap() {
                            cache.told(&told.items());
                        }
                    }
                });
            }
            for number in 0..4 {
                let (mut client, mut dice) = (server.client(), Dice(round * 1000 + number + 7));
                scope.spawn(move || (0..700).for_each(|_| write(&mut client, &mut dice)));
            }
        });
        let mut client = server.client();
        for number in 0..KEYS {
            // What is due soon is let go of now, and told.
            client.call(["PERSIST", &format!("k{number}")]).unwrap();
        }
        for (number, cache) in caches.iter_mut().enumerate() {
            cache.client.queue(["PING"]);
            cache.client.flush().unwrap();
            assert_eq!(cache.reply(), Value::Simple(b"PONG".to_vec()));
            for (key, cached) in &cache.values {
                let value = client.call(["GET", key]).unwrap();
                assert_eq!(value.bytes(), cached.bytes(), "{key} in cache {number} of round {round}");
            }
        }
    }
}
