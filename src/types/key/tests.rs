//! The commands through the in-process rig. Keys are mostly made by ops, which can choose the database and the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use crate::clock::SimClock;
use crate::disk::sim::SimDisk;
use crate::engine::rig::Rig;
use crate::keyspace::op::{Op, encode_key_op};
use crate::keyspace::waiters::StripeSet;
use crate::log::LogOptions;
use crate::types::hash::value::HashOp;
use crate::types::string::value::StringOp;

const NOW_MS: u64 = 1_700_000_001_000;

/// Carries out an op and logs it, as a command would.
fn put(rig: &Rig, db: u32, key: &str, op: Op<'_>) {
    let store = rig.server.store.get().expect("the rig opened it");
    let mut held = store.keyspace.lock(StripeSet::ALL);
    let space = store.keyspace.space(db);
    held.apply(space, &store.keyspace.key(key.as_bytes()), &op).expect("tests make ops that fit");
    let mut body = Vec::new();
    encode_key_op(&mut body, space, key.as_bytes(), &op);
    store.log.append(&body);
}

fn set(rig: &Rig, db: u32, key: &str, value: &str, expire_at: Option<u64>) {
    put(rig, db, key, Op::String(StringOp::Set { value: value.as_bytes(), expire_at }));
}

/// Runs each line and compares its reply, with line ends shown as `|`.
#[track_caller]
fn script(rig: &mut Rig, lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        let reply = rig.run(line).replace("\r\n", "|");
        assert_eq!(reply.trim_end_matches('|'), *expected, "{line}");
    }
}

/// Each row was answered so by redis-server 7.0.15.
#[test]
fn arguments_are_refused_in_redis_words_and_order() {
    const INTEGER: &str = "-ERR value is not an integer or out of range";
    const SYNTAX: &str = "-ERR syntax error";
    const SAME: &str = "-ERR source and destination objects are the same";
    const RANGE: &str = "-ERR DB index is out of range";
    const WITH_NX: &str = "-ERR NX and XX, GT or LT options at the same time are not compatible";
    let mut rig = Rig::new();
    set(&rig, 0, "k", "v", None);
    script(
        &mut rig,
        &[
            ("EXPIRE k abc", INTEGER),
            ("EXPIRE nokey abc", INTEGER),
            ("EXPIRE k abc FOO", "-ERR Unsupported option FOO"),
            ("EXPIRE k 10 NX GT LT", WITH_NX),
            ("EXPIRE k 10 NX XX", WITH_NX),
            ("EXPIRE k 10 GT LT", "-ERR GT and LT options at the same time are not compatible"),
            ("EXPIRE nokey 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
            ("EXPIRE k -9223372036854775807", "-ERR invalid expire time in 'expire' command"),
            ("PEXPIRE k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command"),
            ("EXPIREAT k -9223372036854775808", "-ERR invalid expire time in 'expireat' command"),
            ("RENAME nokey nokey", "-ERR no such key"),
            ("RENAMENX nokey k", "-ERR no such key"),
            ("COPY nokey nokey", SAME),
            ("COPY k k DB 0", SAME),
            ("COPY k x DB 99", RANGE),
            ("COPY k x DB -1", RANGE),
            ("COPY k x DB abc", INTEGER),
            ("COPY k x DB", SYNTAX),
            ("COPY k x FOO", SYNTAX),
            ("MOVE nokey 0", SAME),
            ("MOVE k 16", RANGE),
            ("MOVE k abc", INTEGER),
            (
                "MOVE k 99999999999",
                "-ERR value is out of range, value must between -2147483648 and 2147483647",
            ),
            ("SCAN abc FOO", "-ERR invalid cursor"),
            ("SCAN 0 FOO", SYNTAX),
            ("SCAN 0 FOO x", SYNTAX),
            ("SCAN 0 COUNT", SYNTAX),
            ("SCAN 0 COUNT 0", SYNTAX),
            ("SCAN 0 COUNT x", INTEGER),
            ("FLUSHDB x", SYNTAX),
            ("FLUSHALL ASYNC SYNC", SYNTAX),
            ("SWAPDB a b", "-ERR invalid first DB index"),
            ("SWAPDB 0 4294967296", "-ERR invalid second DB index"),
            ("SWAPDB 0 16", RANGE),
            ("OBJECT", "-ERR wrong number of arguments for 'object' command"),
            ("OBJECT FOO", "-ERR unknown subcommand 'FOO'. Try OBJECT HELP."),
            ("OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command"),
            ("MEMORY USAGE nokey SAMPLES abc", INTEGER),
            ("MEMORY USAGE k SAMPLES -1", SYNTAX),
            ("MEMORY USAGE k SAMPLES", SYNTAX),
            ("MEMORY USAGE k FOO 1", SYNTAX),
        ],
    );
}

#[test]
fn answers_without_an_effect_are_those_of_redis() {
    let mut rig = Rig::new();
    set(&rig, 0, "k", "v", None);
    set(&rig, 0, "i", "5", Some(NOW_MS + 1_400));
    script(
        &mut rig,
        &[
            ("EXISTS k k nokey", ":2"),
            ("TOUCH k k nokey", ":2"),
            ("TYPE k", "+string"),
            ("TYPE nokey", "+none"),
            ("TTL nokey", ":-2"),
            ("TTL k", ":-1"),
            ("TTL i", ":1"),
            ("PTTL i", ":1400"),
            ("EXPIRETIME i", ":1700000002"),
            ("PEXPIRETIME i", ":1700000002400"),
            ("OBJECT ENCODING k", "$6|embstr"),
            ("OBJECT ENCODING i", "$3|int"),
            ("OBJECT ENCODING nokey", "$-1"),
            ("OBJECT REFCOUNT k", ":1"),
            ("OBJECT IDLETIME k", ":0"),
            ("OBJECT IDLETIME nokey", "$-1"),
            ("OBJECT FREQ nokey", "$-1"),
            ("MEMORY USAGE nokey", "$-1"),
            ("SCAN 18446744073709551615", "*2|$1|0|*0"),
            ("SCAN 0 TYPE nosuch", "*2|$1|0|*0"),
            ("DBSIZE", ":2"),
            ("DEL k k", ":1"),
            ("RANDOMKEY", "$1|i"),
            ("UNLINK i i", ":1"),
            ("RANDOMKEY", "$-1"),
            ("KEYS *", "*0"),
        ],
    );
}

#[test]
fn a_key_read_again_is_no_longer_idle() {
    let mut rig = Rig::new();
    set(&rig, 0, "k", "v", None);
    rig.run("TOUCH k");
    rig.advance_ms(7_000);
    script(&mut rig, &[("OBJECT IDLETIME k", ":7"), ("TTL k", ":-1"), ("OBJECT IDLETIME k", ":7")]);
    script(&mut rig, &[("TOUCH k", ":1"), ("OBJECT IDLETIME k", ":0")]);
}

#[test]
fn what_changes_nothing_is_not_logged() {
    let mut rig = Rig::new();
    set(&rig, 0, "k", "v", Some(NOW_MS + 5_000));
    set(&rig, 0, "plain", "v", None);
    let log = |rig: &Rig| rig.server.store.get().expect("the rig opened it").log.append_lsn();
    let before = log(&rig);
    for line in [
        "EXPIRE k 5",
        "EXPIRE k 4 GT",
        "EXPIRE nokey 5",
        "PERSIST plain",
        "RENAME k k",
        "RENAMENX k plain",
        "COPY k plain",
        "MOVE nokey 1",
        "DEL nokey",
        "SWAPDB 3 3",
    ] {
        rig.run(line);
        assert_eq!(log(&rig), before, "{line}");
    }
    rig.run("FLUSHALL");
    let once = log(&rig);
    rig.run("FLUSHALL");
    assert_eq!(log(&rig), once, "an empty server has nothing to flush");
}

#[test]
fn a_listing_waits_for_every_write_and_a_lookup_for_its_key() {
    let mut rig = Rig::new();
    set(&rig, 0, "k", "v", None);
    let (_, deletion) = rig.call(0, &[b"DEL", b"k"]);
    assert!(deletion > 0);
    for line in [&[&b"KEYS"[..], b"*"][..], &[b"SCAN", b"0"], &[b"DBSIZE"], &[b"RANDOMKEY"], &[b"FLUSHDB"]] {
        assert!(rig.call(0, line).1 >= deletion, "{line:?}");
    }
    assert!(rig.call(0, &[b"EXISTS", b"k"]).1 >= deletion);
}

/// What a database holds: value and expiry by key.
type Model = BTreeMap<String, (String, Option<u64>)>;

#[derive(Debug, Clone)]
enum Step {
    Set(u32, usize, Option<u64>),
    Del(usize),
    Expire(usize, i64, &'static str),
    Persist(usize),
    Rename(usize, usize, bool),
    Copy(usize, usize, u32, bool),
    Move(usize),
    Swap,
    FlushDb,
    Pass(u64),
}

/// Two pairs of keys share a slot.
const KEYS: [&str; 5] = ["{a}1", "{a}2", "b", "{b}x", "c"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..KEYS.len();
    let condition = prop::sample::select(vec!["", "NX", "XX", "GT", "LT", "XX GT"]);
    let step = prop_oneof![
        4 => (0u32..2, key(), prop::option::of(1u64..5_000)).prop_map(|(d, k, e)| Step::Set(d, k, e)),
        1 => key().prop_map(Step::Del),
        3 => (key(), -1_000i64..5_000, condition).prop_map(|(k, ms, c)| Step::Expire(k, ms, c)),
        1 => key().prop_map(Step::Persist),
        3 => (key(), key(), any::<bool>()).prop_map(|(a, b, nx)| Step::Rename(a, b, nx)),
        3 => (key(), key(), 0u32..2, any::<bool>()).prop_map(|(a, b, d, r)| Step::Copy(a, b, d, r)),
        2 => key().prop_map(Step::Move),
        1 => Just(Step::Swap),
        1 => Just(Step::FlushDb),
        2 => (1u64..2_000).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..60)
}

fn allowed(condition: &str, old: Option<u64>, new: i64) -> bool {
    let end = |at: Option<u64>| at.map_or(i64::MAX, |at| at as i64);
    match condition {
        "NX" => old.is_none(),
        "XX" => old.is_some(),
        "GT" | "XX GT" => new > end(old),
        "LT" => new < end(old),
        _ => true,
    }
}

/// Does a step to the model and tells the command and its reply; an empty command is none.
fn predict(step: &Step, model: &mut [Model; 2], now_ms: u64) -> (String, String) {
    let name = |key: &usize| KEYS[*key].to_string();
    let yes = |yes: bool| format!(":{}\r\n", u8::from(yes));
    match step {
        Step::Set(..) | Step::Pass(_) => (String::new(), String::new()),
        Step::Del(key) => (format!("DEL {}", KEYS[*key]), yes(model[0].remove(KEYS[*key]).is_some())),
        Step::Expire(key, ms, condition) => {
            let at = now_ms as i64 + ms;
            let set = model[0].get(KEYS[*key]).is_some_and(|(_, old)| allowed(condition, *old, at));
            if set && *ms <= 0 {
                model[0].remove(KEYS[*key]);
            } else if set {
                model[0].get_mut(KEYS[*key]).expect("found above").1 = Some(at as u64);
            }
            (format!("PEXPIRE {} {ms} {condition}", KEYS[*key]), yes(set))
        }
        Step::Persist(key) => {
            let had = model[0].get_mut(KEYS[*key]).and_then(|(_, end)| end.take());
            (format!("PERSIST {}", KEYS[*key]), yes(had.is_some()))
        }
        Step::Rename(from, to, nx) => {
            let command = format!("RENAME{} {} {}", if *nx { "NX" } else { "" }, KEYS[*from], KEYS[*to]);
            if !model[0].contains_key(KEYS[*from]) {
                return (command, "-ERR no such key\r\n".into());
            }
            let free = !model[0].contains_key(KEYS[*to]);
            if (free || !nx) && from != to {
                let value = model[0].remove(KEYS[*from]).expect("found above");
                model[0].insert(name(to), value);
            }
            (command, if *nx { yes(free) } else { "+OK\r\n".into() })
        }
        Step::Copy(from, to, db, replace) => {
            let option = if *replace { "REPLACE" } else { "" };
            let command = format!("COPY {} {} DB {db} {option}", KEYS[*from], KEYS[*to]);
            if from == to && *db == 0 {
                return (command, "-ERR source and destination objects are the same\r\n".into());
            }
            let free = *replace || !model[*db as usize].contains_key(KEYS[*to]);
            let value = model[0].get(KEYS[*from]).filter(|_| free).cloned();
            let copied = value.is_some();
            model[*db as usize].extend(value.map(|value| (name(to), value)));
            (command, yes(copied))
        }
        Step::Move(key) => {
            let free = !model[1].contains_key(KEYS[*key]);
            let value = if free { model[0].remove(KEYS[*key]) } else { None };
            let moved = value.is_some();
            model[1].extend(value.map(|value| (name(key), value)));
            (format!("MOVE {} 1", KEYS[*key]), yes(moved))
        }
        Step::Swap => {
            model.swap(0, 1);
            ("SWAPDB 0 1".into(), "+OK\r\n".into())
        }
        Step::FlushDb => {
            model[0].clear();
            ("FLUSHDB".into(), "+OK\r\n".into())
        }
    }
}

fn options() -> LogOptions {
    LogOptions { threads: false, segment_bytes: 1 << 20, ..LogOptions::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn databases_behave_like_maps_and_are_the_same_after_a_restart(steps in steps()) {
        let (disk, clock) = (Arc::new(SimDisk::new(1)), Arc::new(SimClock::at_ms(NOW_MS)));
        let mut rig = Rig::open(disk.clone(), clock.clone(), options()).expect("an empty disk opens");
        let mut model = [Model::new(), Model::new()];
        for (n, step) in steps.iter().enumerate() {
            let now_ms = rig.server.now_ms();
            match step {
                Step::Set(db, key, ttl) => {
                    let (value, at) = (format!("value {n}"), ttl.map(|ttl| now_ms + ttl));
                    set(&rig, *db, KEYS[*key], &value, at);
                    model[*db as usize].insert(KEYS[*key].into(), (value, at));
                }
                Step::Pass(ms) => {
                    rig.advance_ms(*ms);
                    let now_ms = rig.server.now_ms();
                    for db in &mut model {
                        db.retain(|_, (_, end)| end.is_none_or(|at| at > now_ms));
                    }
                }
                _ => {
                    let (command, reply) = predict(step, &mut model, now_ms);
                    prop_assert_eq!(rig.run(&command), reply, "{}", command);
                }
            }
            check_listings(&mut rig, &model[0])?;
        }
        rig.expire();
        let expected: String = model.iter().enumerate().flat_map(|(db, keys)| {
            keys.iter().map(move |(key, (value, end))| format!("{db} {key} {end:?} string {value}\n"))
        }).collect();
        prop_assert_eq!(rig.state(), &expected[..]);
        rig.settle();
        drop(rig);
        let again = Rig::open(disk, clock, options()).expect("what was written is read");
        prop_assert_eq!(again.state(), expected);
    }
}

/// Every way to list a database shows the live keys and no others.
fn check_listings(rig: &mut Rig, model: &Model) -> Result<(), TestCaseError> {
    let live: BTreeSet<&str> = model.keys().map(String::as_str).collect();
    let listed = rig.run("KEYS *");
    let scanned = rig.run("SCAN 0 COUNT 1000");
    prop_assert_eq!(bulks(&listed).collect::<BTreeSet<_>>(), live.clone());
    prop_assert_eq!(bulks(&scanned).skip(1).collect::<BTreeSet<_>>(), live.clone());
    let random = rig.run("RANDOMKEY");
    match bulks(&random).next() {
        Some(key) => prop_assert!(live.contains(key)),
        None => prop_assert!(live.is_empty()),
    }
    Ok(())
}

/// The bulk strings of a reply, in order; those of these tests have no line ends in them.
fn bulks(reply: &str) -> impl Iterator<Item = &str> {
    let mut lines = reply.split("\r\n");
    std::iter::from_fn(move || {
        lines.by_ref().find(|line| line.starts_with('$') && *line != "$-1")?;
        lines.next()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_scan_shows_what_stays_while_other_keys_come_and_go(
        stable in 1usize..300, count in 1u32..40, sizes in prop::collection::vec(0usize..600, 1..40), one_slot in any::<bool>()
    ) {
        let mut rig = Rig::new();
        let tag = if one_slot { "{t}" } else { "" };
        for n in 0..stable {
            set(&rig, 0, &format!("{tag}stable:{n}"), "v", None);
        }
        set(&rig, 0, "expired", "v", Some(NOW_MS));
        set(&rig, 1, "elsewhere", "v", None);
        let (mut cursor, mut seen, mut size) = (String::from("0"), BTreeSet::new(), 0);
        for turn in 0.. {
            prop_assert!(turn < 20_000, "a scan ends");
            let reply = rig.run(&format!("SCAN {cursor} COUNT {count}"));
            cursor = bulks(&reply).next().expect("a cursor comes first").into();
            prop_assert!(cursor.parse::<u64>().is_ok_and(|c| c < 1 << 53));
            seen.extend(bulks(&reply).skip(1).map(String::from));
            prop_assert!(bulks(&reply).count() <= 1 + count as usize + 80, "one call looks at few more than asked");
            if cursor == "0" {
                break;
            }
            let goal = sizes[turn % sizes.len()];
            for n in size..goal {
                set(&rig, 0, &format!("{tag}filler:{n}"), "v", None);
            }
            for n in goal..size {
                put(&rig, 0, &format!("{tag}filler:{n}"), Op::Delete);
            }
            size = goal;
        }
        for n in 0..stable {
            let key = format!("{tag}stable:{n}");
            prop_assert!(seen.remove(&key), "{} was missed", key);
        }
        prop_assert!(seen.iter().all(|key| key.contains("filler:")), "{:?}", seen);
    }
}

#[test]
fn scan_filters_by_pattern_and_type() {
    let mut rig = Rig::new();
    for key in ["a", "ab", "b"] {
        set(&rig, 0, key, "v", None);
    }
    let of = |reply: &str| bulks(reply).skip(1).map(String::from).collect::<BTreeSet<_>>();
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<BTreeSet<_>>();
    assert_eq!(of(&rig.run("SCAN 0 MATCH a* COUNT 100")), names(&["a", "ab"]));
    assert_eq!(of(&rig.run("SCAN 0 TYPE STRING")), names(&["a", "ab", "b"]));
    assert_eq!(of(&rig.run("SCAN 0 TYPE hash")), names(&[]));
    assert_eq!(of(&rig.run("SCAN 0 MATCH a* MATCH b")), names(&["b"]), "the last one counts");
}

#[test]
fn memory_usage_grows_with_the_value_and_stats_count_the_keys() {
    let mut rig = Rig::new();
    set(&rig, 0, "k", &"v".repeat(1000), None);
    set(&rig, 1, "k", "v", Some(NOW_MS + 1));
    let usage = rig.run("MEMORY USAGE k SAMPLES 0");
    let usage: usize = usage.trim_start_matches(':').trim().parse().expect("a number");
    assert!((1000..1200).contains(&usage), "{usage}");
    let stats = rig.run("MEMORY STATS");
    assert!(stats.contains("keys.count\r\n:2\r\n") && stats.contains("db.0") && stats.contains("db.1"));
    assert!(!stats.contains("db.2"));
    assert_eq!(rig.run("MEMORY PURGE"), "+OK\r\n");
    assert!(rig.run("MEMORY DOCTOR").starts_with('$'));
    assert!(rig.run("MEMORY MALLOC-STATS").starts_with('$'));
    assert!(rig.run("MEMORY HELP").starts_with('*') && rig.run("OBJECT HELP").starts_with('*'));
}

fn set_field(rig: &Rig, key: &str, field: &str) {
    let pair: &[&[u8]] = &[field.as_bytes(), b"value"];
    put(rig, 0, key, Op::Hash(HashOp::set(pair)));
}

fn expire_field(rig: &Rig, key: &str, field: &str) {
    let fields: &[&[u8]] = &[field.as_bytes()];
    put(rig, 0, key, Op::Hash(HashOp::expire(NOW_MS + 60_000, fields)));
}

/// Every type, its expiry and the times of its parts move along, whichever way the value is carried.
#[test]
fn collections_are_carried_whole_to_other_slots_and_databases() {
    let (disk, clock) = (Arc::new(SimDisk::new(1)), Arc::new(SimClock::at_ms(NOW_MS)));
    let mut rig = Rig::open(disk.clone(), clock.clone(), options()).expect("an empty disk opens");
    for n in 0..2000 {
        rig.run(&format!("RPUSH list element:{n}"));
        set_field(&rig, "hash", &format!("field:{n}"));
    }
    expire_field(&rig, "hash", "field:3");
    expire_field(&rig, "hash", "field:1900");
    rig.run("PEXPIRE hash 90000");
    let value_of = |state: &str, db: u32, key: &str| {
        let start = format!("{db} {key} ");
        state.lines().find_map(|line| line.strip_prefix(&start)).map(String::from)
    };
    let state = rig.state();
    let (list, hash) = (value_of(&state, 0, "list"), value_of(&state, 0, "hash"));
    assert!(list.is_some() && hash.as_ref().is_some_and(|text| text.starts_with("Some")));
    set(&rig, 0, "other", "to be replaced", Some(NOW_MS + 5));
    script(
        &mut rig,
        &[
            ("RENAME list other", "+OK"),
            ("COPY other {other}2", ":1"),
            ("RENAME {other}2 {other}3", "+OK"),
            ("RENAME hash elsewhere", "+OK"),
            ("MOVE elsewhere 1", ":1"),
            ("COPY other elsewhere DB 1", ":0"),
            ("COPY other elsewhere DB 1 REPLACE", ":1"),
            ("EXISTS list hash elsewhere {other}2", ":0"),
            ("LLEN other", ":2000"),
            ("PTTL other", ":-1"),
        ],
    );
    let state = rig.state();
    for (db, key) in [(0, "other"), (0, "{other}3"), (1, "elsewhere")] {
        assert_eq!(value_of(&state, db, key), list, "{key}");
    }
    rig.run("DEL other");
    rig.run("SWAPDB 0 1");
    ["a", "b"].into_iter().for_each(|field| set_field(&rig, "h", field));
    expire_field(&rig, "h", "a");
    rig.run("PEXPIRE h 90000");
    let small = value_of(&rig.state(), 0, "h");
    script(&mut rig, &[("COPY h h2", ":1"), ("MOVE h2 3", ":1"), ("RENAME h away", "+OK")]);
    let state = rig.state();
    assert_eq!(value_of(&state, 3, "h2"), small);
    assert_eq!(value_of(&state, 0, "away"), small);
    rig.settle();
    drop(rig);
    let again = Rig::open(disk, clock, options()).expect("what was written is read");
    assert_eq!(again.state(), state);
}

#[test]
fn whoever_waits_for_the_new_name_is_served() {
    let mut rig = Rig::new();
    for (n, line) in ["RENAME from to", "RENAME {to}from to", "RENAMENX from to", "COPY from to REPLACE"]
        .iter()
        .enumerate()
    {
        assert_eq!(rig.run_as(n + 1, "BLPOP to 0"), "");
        rig.run("DEL from {to}from");
        rig.run("RPUSH from x");
        rig.run("RPUSH {to}from x");
        rig.run(line);
        assert_eq!(rig.delivered(n + 1).as_deref(), Some("*2\r\n$2\r\nto\r\n$1\r\nx\r\n"), "{line}");
        assert_eq!(rig.run("EXISTS to"), ":0\r\n");
    }
}

#[test]
fn a_watched_key_is_touched_by_all_that_moves_it() {
    let mut rig = Rig::new();
    for (line, touched) in [
        ("RENAME k away", true),
        ("RENAME other k", true),
        ("RENAME {k}other k", true),
        ("MOVE k 1", true),
        ("COPY other k REPLACE", true),
        ("FLUSHDB", true),
        ("FLUSHALL", true),
        ("SWAPDB 0 2", true),
        ("EXPIRE k 100", true),
        ("DEL k", true),
        ("COPY k other REPLACE", false),
        ("COPY other k", false),
        ("RENAMENX other k", false),
        ("PERSIST k", false),
        ("SWAPDB 4 5", false),
        ("TOUCH k", false),
    ] {
        rig.run("FLUSHALL");
        for key in ["k", "other", "{k}other"] {
            set(&rig, 0, key, "v", None);
        }
        rig.run("WATCH k");
        rig.run_as(1, line);
        rig.run("MULTI");
        let aborted = rig.run("EXEC") == "*-1\r\n";
        assert_eq!(aborted, touched, "{line}");
    }
}

#[test]
fn copy_counts_as_a_read_of_its_source_and_move_does_not() {
    let mut rig = Rig::new();
    set(&rig, 0, "k", "v", None);
    let lines = [("COPY k c", ":1"), ("COPY none c", ":0"), ("MOVE none 1", ":0"), ("MOVE k 1", ":1")];
    script(&mut rig, &lines);
    let info = rig.run("INFO stats");
    assert!(info.contains("keyspace_hits:1\r\n") && info.contains("keyspace_misses:1\r\n"), "{info}");
}
