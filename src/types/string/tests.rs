//! The string commands as a client sees them.

use crate::command::channels::{Letter, Post};
use crate::engine::rig::Rig;

/// Runs each command and compares the raw reply.
#[track_caller]
fn replies(rig: &mut Rig, cases: &[(&str, &str)]) {
    for (line, reply) in cases {
        assert_eq!(&rig.run(line), reply, "{line}");
    }
}

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range\r\n";
const SYNTAX: &str = "-ERR syntax error\r\n";
const OK: &str = "+OK\r\n";
const NIL: &str = "$-1\r\n";

#[test]
fn set_takes_all_its_options() {
    let mut rig = Rig::new();
    replies(
        &mut rig,
        &[
            ("SET k 1", OK),
            ("SET k 2 NX", NIL),
            ("SET k 2 NX GET", "$1\r\n1\r\n"),
            ("SET k 2 XX GET", "$1\r\n1\r\n"),
            ("SET n 2 XX", NIL),
            ("SET n 2 XX GET", NIL),
            ("GET n", NIL),
            ("SET k 3 IFEQ 1", NIL),
            ("SET k 3 IFEQ 2", OK),
            ("SET k 4 IFNE 3 GET", "$1\r\n3\r\n"),
            ("SET k 4 IFNE 2 GET", "$1\r\n3\r\n"),
            ("GET k", "$1\r\n4\r\n"),
            ("SET n 1 IFEQ 1", NIL),
            ("SET n 1 IFNE 1", OK),
            ("SET k 5 nx xx", SYNTAX),
            ("SET k 5 NX IFEQ 4", SYNTAX),
            ("SET k 5 IFEQ", SYNTAX),
            ("SET k 5 EX", SYNTAX),
            ("SET k 5 EX 1 PX 1", SYNTAX),
            ("SET k 5 KEEPTTL EXAT 1", SYNTAX),
            ("SET k 5 PERSIST", SYNTAX),
            ("SET k 5 EX 0", "-ERR invalid expire time in 'set' command\r\n"),
            ("SET k 5 PX -1", "-ERR invalid expire time in 'set' command\r\n"),
            ("SET k 5 EX 9223372036854775807", "-ERR invalid expire time in 'set' command\r\n"),
            ("SET k 5 PX 9223372036854775807", "-ERR invalid expire time in 'set' command\r\n"),
            ("SET k 5 EX 1.5", NOT_INTEGER),
            ("GET k", "$1\r\n4\r\n"),
        ],
    );
}

#[test]
fn a_set_key_lives_as_long_as_it_was_told() {
    let mut rig = Rig::new();
    replies(
        &mut rig,
        &[
            ("SET a 1 EX 1", OK),
            ("SET b 1 PX 1500", OK),
            ("SET c 1 PXAT 1700000002500", OK),
            ("SET d 1 EXAT 1700000002", OK),
            ("SETEX e 1 1", OK),
            ("PSETEX f 1500 1", OK),
            ("SET a 2 KEEPTTL", OK),
            ("INCR a", ":3\r\n"),
            ("SET d 2", OK),
            ("SET e 2 KEEPTTL GET", "$1\r\n1\r\n"),
            ("SETEX e 0 1", "-ERR invalid expire time in 'setex' command\r\n"),
            ("PSETEX e 0 1", "-ERR invalid expire time in 'psetex' command\r\n"),
        ],
    );
    rig.advance_ms(1000);
    replies(
        &mut rig,
        &[("MGET a b c d e f", "*6\r\n$-1\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n$1\r\n1\r\n")],
    );
    rig.advance_ms(500);
    replies(&mut rig, &[("MGET b c d f", "*4\r\n$-1\r\n$-1\r\n$1\r\n2\r\n$-1\r\n")]);
    replies(&mut rig, &[("SET a 1 KEEPTTL", OK), ("INCR b", ":1\r\n"), ("APPEND c x", ":1\r\n")]);
    rig.advance_ms(1_000_000);
    replies(&mut rig, &[("MGET a b c", "*3\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\nx\r\n")]);
}

#[test]
fn getex_changes_the_expiry_and_getdel_the_key() {
    let mut rig = Rig::new();
    replies(
        &mut rig,
        &[
            ("GETEX k EX 0", NIL),
            ("SET k v", OK),
            ("GETEX k EX 0", "-ERR invalid expire time in 'getex' command\r\n"),
            ("GETEX k EX 1 PERSIST", SYNTAX),
            ("GETEX k KEEPTTL", SYNTAX),
            ("GETEX k EX 1", "$1\r\nv\r\n"),
            ("GETEX k", "$1\r\nv\r\n"),
            ("GETEX k PERSIST", "$1\r\nv\r\n"),
        ],
    );
    rig.advance_ms(2000);
    replies(
        &mut rig,
        &[
            ("GETEX k PX 100", "$1\r\nv\r\n"),
            ("GETEX k PXAT 1", "$1\r\nv\r\n"),
            ("GET k", NIL),
            ("SET k w", OK),
            ("GETDEL k", "$1\r\nw\r\n"),
            ("GETDEL k", NIL),
        ],
    );
}

#[test]
fn counters_count_and_refuse() {
    let mut rig = Rig::new();
    replies(
        &mut rig,
        &[
            ("INCR n", ":1\r\n"),
            ("DECRBY n 5", ":-4\r\n"),
            ("INCRBY n 9223372036854775807", ":9223372036854775803\r\n"),
            ("INCRBY n 5", "-ERR increment or decrement would overflow\r\n"),
            ("DECRBY n -9223372036854775808", "-ERR decrement would overflow\r\n"),
            ("INCRBY n x", NOT_INTEGER),
            ("SET n 01", OK),
            ("DECR n", NOT_INTEGER),
            ("INCRBYFLOAT n 0.1", "$3\r\n1.1\r\n"),
            ("INCRBYFLOAT n 2e2", "$21\r\n201.10000000000000001\r\n"),
            ("INCRBYFLOAT n inf", "-ERR increment would produce NaN or Infinity\r\n"),
            ("INCRBYFLOAT n x", "-ERR value is not a valid float\r\n"),
            ("INCRBYFLOAT m -3.0", "$2\r\n-3\r\n"),
            ("INCR m", ":-2\r\n"),
        ],
    );
}

#[test]
fn parts_of_strings_are_read_and_written() {
    let mut rig = Rig::new();
    replies(
        &mut rig,
        &[
            ("APPEND k Hello", ":5\r\n"),
            ("APPEND k World", ":10\r\n"),
            ("GETRANGE k -10 -9", "$2\r\nHe\r\n"),
            ("GETRANGE k -30 -20", "$1\r\nH\r\n"),
            ("GETRANGE k -3 -10", "$0\r\n\r\n"),
            ("SUBSTR k 8 100", "$2\r\nld\r\n"),
            ("GETRANGE none 0 -1", "$0\r\n\r\n"),
            ("SETRANGE k 5 -", ":10\r\n"),
            ("SETRANGE none 2 x", ":3\r\n"),
            ("GET none", "$3\r\n\0\0x\r\n"),
            ("SETRANGE k -1 x", "-ERR offset is out of range\r\n"),
            ("SETRANGE k 536870911 xy", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n"),
            (
                "SETRANGE k 9223372036854775807 xy",
                "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n",
            ),
            ("STRLEN k", ":10\r\n"),
            ("STRLEN other", ":0\r\n"),
            ("GETSET k new", "$10\r\nHello-orld\r\n"),
        ],
    );
    assert_eq!(rig.call(0, &[b"SETRANGE", b"nothing", b"9", b""]).0, b":0\r\n");
    assert_eq!(rig.run("GET nothing"), NIL);
}

#[test]
fn several_keys_are_set_together() {
    let mut rig = Rig::new();
    replies(
        &mut rig,
        &[
            ("MSET a 1 b 2 a 3", OK),
            ("MSETNX c 1 a 2", ":0\r\n"),
            ("MSETNX c 1 d 2", ":1\r\n"),
            ("MGET a b c x", "*4\r\n$1\r\n3\r\n$1\r\n2\r\n$1\r\n1\r\n$-1\r\n"),
            ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command\r\n"),
            ("MSETNX a 1 b", "-ERR wrong number of arguments for 'msetnx' command\r\n"),
            ("SETNX a 9", ":0\r\n"),
            ("SETNX e 9", ":1\r\n"),
        ],
    );
}

#[test]
fn lcs_replies_length_text_or_places() {
    let mut rig = Rig::new();
    replies(
        &mut rig,
        &[
            ("MSET a ohmytext b mynewtext", OK),
            ("LCS a b", "$6\r\nmytext\r\n"),
            ("LCS a b LEN", ":6\r\n"),
            (
                "LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN",
                "*4\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n$3\r\nlen\r\n:6\r\n",
            ),
            ("LCS a none", "$0\r\n\r\n"),
            ("LCS a b MINMATCHLEN", SYNTAX),
            ("LCS a b MINMATCHLEN x", NOT_INTEGER),
            ("LCS a b IDX LEN", "-ERR If you want both the length and indexes, please just use IDX.\r\n"),
        ],
    );
}

#[test]
fn a_write_that_changes_nothing_is_not_logged() {
    let mut rig = Rig::new();
    rig.run("SET k v");
    let before = rig.server.store.get().expect("open").log.append_lsn();
    for line in
        ["SET k w NX", "SET x w XX", "SETNX k w", "MSETNX k w", "GETEX k PERSIST", "GETDEL x", "SETBIT k 0 0"]
    {
        rig.run(line);
    }
    rig.call(0, &[b"SETRANGE", b"k", b"0", b""]);
    assert_eq!(rig.server.store.get().expect("open").log.append_lsn(), before);
    rig.run("SETBIT k 0 1");
    assert!(rig.server.store.get().expect("open").log.append_lsn() > before);
}

#[test]
fn other_types_are_refused_where_redis_refuses_them() {
    const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    let mut rig = Rig::new();
    assert_eq!(rig.run("RPUSH l x"), ":1\r\n");
    let refused = [
        "GET l",
        "GETEX l EX 0",
        "GETDEL l",
        "GETSET l x",
        "SET l x NX GET",
        "SET l x IFEQ y",
        "STRLEN l",
        "INCR l",
        "INCRBYFLOAT l x",
        "APPEND l x",
        "GETRANGE l 0 1",
        "SETRANGE l 0 x",
        "SETRANGE l 536870912 x",
    ];
    for line in refused {
        assert_eq!(rig.run(line), WRONG_TYPE, "{line}");
    }
    replies(
        &mut rig,
        &[
            ("SETRANGE l -1 x", "-ERR offset is out of range\r\n"),
            ("DECRBY l -9223372036854775808", "-ERR decrement would overflow\r\n"),
            ("INCRBY l x", NOT_INTEGER),
            ("GETRANGE l x 1", NOT_INTEGER),
            ("SET l x EX 0 GET", "-ERR invalid expire time in 'set' command\r\n"),
            ("LCS l k FOO", "-ERR The specified keys must contain string values\r\n"),
            ("MGET l k", "*2\r\n$-1\r\n$-1\r\n"),
            ("MSETNX k 1 l 2", ":0\r\n"),
            ("SETNX l x", ":0\r\n"),
            ("SET l x NX", NIL),
            ("SET l x XX KEEPTTL", OK),
            ("GET l", "$1\r\nx\r\n"),
        ],
    );
}

/// The names of the events that were told since.
fn told(rig: &Rig) -> Vec<String> {
    let name = |post: &Post| match &post.letter {
        Letter::Message(message) => {
            String::from_utf8_lossy(&message.channel).trim_start_matches("__keyevent@0__:").to_owned()
        }
        Letter::Notice(_) => panic!("nobody tracks keys"),
    };
    rig.posts().iter().map(name).collect()
}

/// Nobody has removed the key yet, and what overwrites it need not look at it.
#[test]
fn a_key_whose_time_is_over_ends_before_it_is_overwritten() {
    let mut rig = Rig::new();
    rig.run("CONFIG SET notify-keyspace-events EAn");
    rig.run_as(1, "PSUBSCRIBE __keyevent*");
    rig.run("SET source v");
    let commands = [
        "SET k v",
        "SET k v EX 10",
        "SETEX k 100 v",
        "PSETEX k 10000 v",
        "MSET k v",
        "MSETNX k v",
        "GETSET k v",
        "BITOP OR k source",
    ];
    for (before, command) in (0..).zip(commands) {
        rig.run("SET k old PX 1");
        rig.run("SET {k}later old PX 1000");
        rig.advance_ms(2);
        told(&rig);
        rig.run("SET {k}later v PX 1000");
        assert_eq!(told(&rig), ["set", "expire"], "its time is not over");
        assert_eq!(rig.expired_keys(), before);
        assert!(!rig.run(command).starts_with('-'), "{command}");
        assert_eq!(told(&rig)[..3], ["expired", "new", "set"], "{command}");
        assert_eq!(rig.expired_keys(), before + 1, "{command}");
    }
}
