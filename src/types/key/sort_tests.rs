//! SORT through the in-process rig.

use proptest::prelude::*;

use crate::engine::rig::Rig;
use crate::keyspace::op::Op;
use crate::keyspace::waiters::StripeSet;
use crate::types::list::value::{Elements, ListOp, Side};
use crate::types::set::value::SetOp;
use crate::types::sorted_set::value::SortedSetOp;

fn put(rig: &Rig, key: &str, op: Op<'_>) {
    let store = rig.server.store.get().expect("the rig opened it");
    let mut held = store.keyspace.lock(StripeSet::ALL);
    held.apply(store.keyspace.space(0), &store.keyspace.key(key.as_bytes()), &op).expect("it fits");
}

/// The elements of a reply, or its error.
fn sorted(rig: &mut Rig, line: &str) -> String {
    let reply = rig.run(line);
    if !reply.starts_with('*') {
        return reply.trim_end().to_owned();
    }
    let mut words = Vec::new();
    let mut lines = reply.split("\r\n").skip(1);
    while let Some(head) = lines.next().filter(|head| !head.is_empty()) {
        words.push(if head == "$-1" { "(nil)" } else { lines.next().unwrap_or_default() });
    }
    words.join(" ")
}

#[track_caller]
fn expect(rig: &mut Rig, cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        assert_eq!(sorted(rig, line), *expected, "{line}");
    }
}

const NOT_NUMBERS: &str = "-ERR One or more scores can't be converted into double";

fn rig() -> Rig {
    let mut rig = Rig::new();
    for line in [
        "RPUSH l 3 1 10 2",
        "RPUSH words b a",
        "MSET w_a 2 w_b 1 str x",
        "HSET h_a f 9 g x",
        "RPUSH dup b a b a",
    ] {
        rig.run(line);
    }
    let members: [&[u8]; 4] = [b"c", b"a", b"10", b"9"];
    put(&rig, "set", Op::Set(SetOp::add(&members)));
    let rows: [(f64, &[u8]); 3] = [(1.0, b"x"), (3.0, b"y"), (2.0, b"w")];
    put(&rig, "zset", Op::SortedSet(SortedSetOp::SetMany { rows: rows[..].into() }));
    rig
}

#[test]
fn elements_come_in_the_order_asked_for() {
    expect(
        &mut rig(),
        &[
            ("SORT l", "1 2 3 10"),
            ("SORT l DESC", "10 3 2 1"),
            ("SORT l DESC ASC", "1 2 3 10"),
            ("SORT l ALPHA", "1 10 2 3"),
            ("SORT l ALPHA DESC", "3 2 10 1"),
            ("SORT l LIMIT 1 2", "2 3"),
            ("SORT l LIMIT -1 2", "1 2"),
            ("SORT l LIMIT 1 -5", "2 3 10"),
            ("SORT l LIMIT 9 2", ""),
            ("SORT l LIMIT 0 9223372036854775807", "1 2 3 10"),
            ("SORT l LIMIT 9223372036854775807 9223372036854775807", ""),
            ("SORT l BY nosort", "3 1 10 2"),
            ("SORT l BY nosort DESC", "2 10 1 3"),
            ("SORT l BY nosort LIMIT 1 2", "1 10"),
            ("SORT l BY nosort DESC LIMIT 1 2", "10 1"),
            ("SORT l BY nosort DESC LIMIT 3 2", "3"),
            ("SORT words", NOT_NUMBERS),
            ("SORT words ALPHA", "a b"),
            ("SORT set ALPHA", "10 9 a c"),
            ("SORT zset", NOT_NUMBERS),
            ("SORT zset ALPHA", "w x y"),
            ("SORT zset BY nosort", "x w y"),
            ("SORT zset BY nosort DESC LIMIT 0 1", "y"),
            ("SORT nothing", ""),
            ("SORT str", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("SORT h_a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("SORT str LIMIT a 1", "-ERR value is not an integer or out of range"),
            ("SORT str x", "-ERR syntax error"),
            ("SORT l LIMIT 1", "-ERR syntax error"),
            ("SORT l BY", "-ERR syntax error"),
            ("SORT_RO l STORE d", "-ERR syntax error"),
            ("SORT_RO l", "1 2 3 10"),
        ],
    );
}

#[test]
fn other_keys_decide_and_are_shown() {
    expect(
        &mut rig(),
        &[
            ("SORT words BY w_*", "b a"),
            ("SORT words BY w_* DESC", "a b"),
            ("SORT words BY h_*->f", "b a"),
            ("SORT words BY h_*->f ALPHA DESC", "a b"),
            ("SORT words BY h_*->g", NOT_NUMBERS),
            ("SORT words BY w_* GET # GET w_* GET x GET y_*->f", "b 1 (nil) (nil) a 2 (nil) (nil)"),
            ("SORT words ALPHA GET h_*->f GET h_*-> GET h_*", "9 (nil) (nil) (nil) (nil) (nil)"),
            ("SORT words ALPHA GET *", "(nil) (nil)"),
            ("SORT dup BY zz_*", "a a b b"),
            ("SORT dup BY zz_* ALPHA", "b a b a"),
            ("SORT dup BY zz_* ALPHA DESC", "b a b a"),
        ],
    );
}

#[test]
fn numbers_are_read_as_in_redis() {
    let mut rig = Rig::new();
    for (element, is_number) in [
        ("", true),
        ("  1", true),
        ("-inf", true),
        ("infinity", true),
        ("0x10", true),
        ("1\0abc", true),
        ("+5", true),
        ("5.", true),
        (" ", false),
        ("nan", false),
        ("1 ", false),
        ("--1", false),
        ("1e", false),
        ("1e400", false),
    ] {
        rig.call(0, &[b"DEL", b"l"]);
        rig.call(0, &[b"RPUSH", b"l", element.as_bytes(), b"0.5"]);
        let (reply, _) = rig.call(0, &[b"SORT", b"l"]);
        assert_eq!(reply[0] == b'*', is_number, "{element:?}");
    }
}

#[test]
fn results_are_stored_in_the_place_of_whatever_was_there() {
    let mut rig = rig();
    rig.run("SET d x EX 100");
    expect(
        &mut rig,
        &[
            ("SORT l STORE d", ":4"),
            ("LRANGE d 0 -1", "1 2 3 10"),
            ("TTL d", ":-1"),
            ("SORT words ALPHA GET h_*->f STORE d", ":2"),
            ("LRANGE d 0 -1", "9 "),
            ("SORT l STORE l DESC", ":4"),
            ("LRANGE l 0 -1", "10 3 2 1"),
            ("SORT set BY nosort STORE d", ":4"),
            ("LRANGE d 0 -1", "10 9 a c"),
            ("SORT set BY nosort STORE d DESC LIMIT 0 2", ":2"),
            ("LRANGE d 0 -1", "c a"),
            ("SORT nothing STORE d", ":0"),
            ("EXISTS d", ":0"),
            ("SORT words STORE l", NOT_NUMBERS),
            ("LLEN l", ":4"),
            ("SORT l STORE store STORE by", ":4"),
            ("EXISTS store", ":0"),
            ("LLEN by", ":4"),
        ],
    );
}

#[test]
fn whoever_waits_for_the_destination_is_served() {
    let mut rig = rig();
    assert_eq!(rig.run_as(1, "BLPOP d 0"), "");
    assert_eq!(rig.run("SORT l BY w_* STORE d"), ":4\r\n");
    assert_eq!(rig.delivered(1).as_deref(), Some("*2\r\n$1\r\nd\r\n$1\r\n1\r\n"));
    assert_eq!(rig.run("LLEN d"), ":3\r\n");
}

#[test]
fn patterns_are_looked_up_within_a_transaction_too() {
    let mut rig = rig();
    rig.run("MULTI");
    rig.run("SORT words BY w_* GET h_*->f STORE {x}d");
    rig.run("SORT_RO words BY w_*");
    assert!(!rig.run_as(1, "ACL CAT keyspace").contains("\r\nsort"), "as in Redis");
    assert!(rig.run_as(1, "ACL CAT sortedset").contains("\r\nsort_ro\r\n"));
    assert_eq!(rig.run("EXEC"), "*2\r\n:2\r\n*2\r\n$1\r\nb\r\n$1\r\na\r\n");
    for line in ["SORT l BY store STORE d", "SORT l NOPE STORE d NOPE", "SORT l BY BY store STORE d"] {
        assert_eq!(rig.run(&format!("COMMAND GETKEYS {line}")), "*2\r\n$1\r\nl\r\n$1\r\nd\r\n");
    }
}

proptest! {
    #[test]
    fn numbers_are_sorted(mut numbers in proptest::collection::vec(any::<i16>(), 1..60), offset in 0usize..70, count in 0usize..70) {
        let mut rig = Rig::new();
        let texts: Vec<String> = numbers.iter().map(i16::to_string).collect();
        let slices: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
        put(&rig, "l", Op::List(ListOp::Push { side: Side::Right, elements: Elements::slices(&slices) }));
        numbers.sort_unstable();
        let expected: Vec<String> = numbers.iter().skip(offset).take(count).map(i16::to_string).collect();
        prop_assert_eq!(sorted(&mut rig, &format!("SORT l LIMIT {offset} {count}")), expected.join(" "));
        numbers.reverse();
        let expected: Vec<String> = numbers.iter().skip(offset).take(count).map(i16::to_string).collect();
        prop_assert_eq!(sorted(&mut rig, &format!("SORT l LIMIT {offset} {count} DESC")), expected.join(" "));
    }
}
