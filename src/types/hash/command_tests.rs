//! The commands through a whole server in process. Replies are compared with what redis-server 7.0 answers where it has the
//! command, and with the documentation of Redis 7.4 and 8.0 for fields that expire.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::clock::SimClock;
use crate::command::session::Session;
use crate::disk::prng::Prng;
use crate::disk::sim::SimDisk;
use crate::engine::expiry::Expiry;
use crate::engine::rig::{Rig, client_without_socket};
use crate::keyspace::op::Op;
use crate::keyspace::waiters::StripeSet;
use crate::log::LogOptions;
use crate::types::string::value::StringOp;

/// Runs lines of `command => reply`, where the reply is written without line ends: `*2 :1 :-2`.
fn script(rig: &mut Rig, text: &str) {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, expected) = line.split_once(" => ").expect("a line has a command and a reply");
        let reply = rig.run(command);
        assert_eq!(reply.trim_end().replace("\r\n", " "), expected, "{command}");
    }
}

#[test]
fn fields_are_set_read_and_removed() {
    script(
        &mut Rig::new(),
        "HSET h a 1 b 2 a 3 => :2
         HSET h a 4 c 5 => :1
         HGETALL h => *6 $1 a $1 4 $1 b $1 2 $1 c $1 5
         HSET h a => -ERR wrong number of arguments for 'hset' command
         HSET h a 1 b => -ERR wrong number of arguments for 'hset' command
         HMSET h d 6 => +OK
         HMGET h a x d => *3 $1 4 $-1 $1 6
         HSETNX h a 9 => :0
         HSETNX h e 9 => :1
         HDEL h e e x => :1
         HLEN h => :4
         HSTRLEN h a => :1
         HEXISTS h x => :0
         HDEL h a b c d => :4
         HLEN h => :0
         HGETALL h => *0
         HKEYS h => *0",
    );
}

#[test]
fn counters_say_why_they_refuse() {
    script(
        &mut Rig::new(),
        "HSET h t text i 9223372036854775807 => :2
         HINCRBY h n 5 => :5
         HINCRBY h n -7 => :-2
         HINCRBY h n 1.5 => -ERR value is not an integer or out of range
         HINCRBY h t 1 => -ERR hash value is not an integer
         HINCRBY h i 1 => -ERR increment or decrement would overflow
         HINCRBYFLOAT h n 0.1 => $4 -1.9
         HINCRBYFLOAT h t 1 => -ERR hash value is not a float
         HINCRBYFLOAT h n inf => -ERR value is NaN or Infinity
         HINCRBYFLOAT h n x => -ERR value is not a valid float",
    );
}

#[test]
fn fields_expire_one_by_one_and_the_last_takes_the_key_along() {
    let mut rig = Rig::new();
    script(
        &mut rig,
        "HEXPIRE no 10 FIELDS 2 a b => *2 :-2 :-2
         HSET h a 1 b 2 c 3 => :3
         HEXPIRE h 10 FIELDS 3 a b x => *3 :1 :1 :-2
         HTTL h FIELDS 4 a b c x => *4 :10 :10 :-1 :-2
         HPTTL h FIELDS 1 a => *1 :10000
         HEXPIRETIME h FIELDS 1 a => *1 :1700000011
         HPEXPIRETIME h FIELDS 1 a => *1 :1700000011000
         HEXPIRE h 20 NX FIELDS 2 a c => *2 :0 :1
         HEXPIRE h 30 XX FIELDS 1 c => *1 :1
         HEXPIRE h 5 GT FIELDS 1 c => *1 :0
         HEXPIRE h 5 LT FIELDS 1 c => *1 :1
         HPERSIST h FIELDS 3 c c x => *3 :1 :-1 :-2
         HEXPIRE h 5 GT FIELDS 1 c => *1 :0
         HEXPIRE h 20 LT FIELDS 1 c => *1 :1
         HINCRBY h c 1 => :4
         HTTL h FIELDS 1 c => *1 :20
         HSET h b 5 => :0
         HTTL h FIELDS 1 b => *1 :-1",
    );
    rig.advance_ms(9_999);
    script(&mut rig, "HGET h a => $1 1\nHPTTL h FIELDS 1 a => *1 :1\nHTTL h FIELDS 1 a => *1 :1");
    rig.advance_ms(1);
    script(
        &mut rig,
        "HGET h a => $-1
         HLEN h => :2
         HKEYS h => *2 $1 b $1 c
         HEXISTS h a => :0
         HMGET h a b => *2 $-1 $1 5
         HSCAN h 0 => *2 $1 0 *4 $1 b $1 5 $1 c $1 4
         HDEL h a => :0
         HSETNX h a 7 => :1
         HTTL h FIELDS 1 a => *1 :-1
         HDEL h a b => :2",
    );
    rig.advance_ms(10_000);
    script(
        &mut rig,
        "HRANDFIELD h => $-1\nHRANDFIELD h 5 => *0\nHGETALL h => *0\nHINCRBY h c 1 => :1\nHTTL h FIELDS 1 c => *1 :-1",
    );
}

#[test]
fn the_expiry_cycle_removes_due_fields_and_empty_hashes() {
    let mut rig = Rig::new();
    for n in 0..300 {
        rig.run(&format!("HSET h f{n} v"));
        rig.run(&format!("HPEXPIRE h {} FIELDS 1 f{n}", 1000 + n));
    }
    rig.run("HSET h stays v");
    rig.run("HSET gone f v");
    rig.run("HPEXPIRE gone 1000 FIELDS 1 f");
    rig.advance_ms(1200);
    (0..10).for_each(|_| rig.expire());
    script(&mut rig, "HLEN h => :100");
    assert!(!rig.state().contains("gone"), "{}", rig.state());
    rig.advance_ms(1200);
    (0..10).for_each(|_| rig.expire());
    script(&mut rig, "HKEYS h => *1 $5 stays");
}

/// A hash of 1000 fields, of which all but some expire at once; then that time has come.
fn with_many_due(rig: &mut Rig, stay: &[&str]) {
    for n in 0..1000 {
        rig.run(&format!("HSETEX h PX 10 FIELDS 1 f{n} v"));
    }
    stay.iter().for_each(|field| drop(rig.run(&format!("HSET h {field} v"))));
    rig.advance_ms(10);
}

#[test]
fn a_write_removes_few_of_many_fields_that_are_due_and_sees_none() {
    for write in [
        "HSET h f999 w => :1",
        "HSET h f998 w f999 w stays w => :2",
        "HSETNX h f999 w => :1",
        "HINCRBY h f999 7 => :7",
        "HINCRBYFLOAT h f999 7 => $1 7",
        "HDEL h f999 f998 => :0",
        "HDEL h stays f999 => :1",
        "HEXPIRE h 10 FIELDS 2 f999 f998 => *2 :-2 :-2",
        "HPERSIST h FIELDS 2 f999 f998 => *2 :-2 :-2",
        "HGETEX h PX 99 FIELDS 1 f999 => *1 $-1",
        "HGETDEL h FIELDS 1 f999 => *1 $-1",
        "HSETEX h FXX FIELDS 1 f999 w => :0",
        "HSETEX h FNX EX 10 FIELDS 1 f999 w => :1",
        "HSETEX h KEEPTTL FIELDS 1 f999 w => :1",
        "HSETEX h PXAT 1 FIELDS 1 f999 w => :1",
    ] {
        let mut rig = Rig::new();
        with_many_due(&mut rig, &["stays"]);
        script(&mut rig, write);
        let removed = rig.server.stats.expired_fields.get();
        assert!((1..=64).contains(&removed), "{write}: {removed} fields removed");
        let seen = rig.run("HKEYS h").lines().filter(|line| line.starts_with('f')).count();
        assert!(seen <= 2, "{write}: {seen} fields are seen");
        assert_eq!(rig.run("HTTL h FIELDS 1 f997"), "*1\r\n:-2\r\n", "{write}");
        // What was written now stays when all that is due is removed.
        let before = rig.run("HLEN h");
        while rig.server.stats.expired_fields.get() < 998 {
            rig.expire();
        }
        assert_eq!(rig.run("HLEN h"), before, "{write}");
    }
}

#[test]
fn a_field_that_takes_the_place_of_one_that_is_due_does_not_take_its_time() {
    let mut rig = Rig::new();
    with_many_due(&mut rig, &[]);
    script(
        &mut rig,
        "HSET h f999 w => :1
         HSETNX h f998 w => :1
         HINCRBY h f997 1 => :1
         HSETEX h KEEPTTL FIELDS 1 f996 w => :1
         HTTL h FIELDS 4 f996 f997 f998 f999 => *4 :-1 :-1 :-1 :-1
         HLEN h => :4
         HDEL h f996 f997 f998 f999 => :4
         HLEN h => :0
         HGETALL h => *0
         HRANDFIELD h => $-1",
    );
}

#[test]
fn active_expiry_goes_on_while_a_hash_has_more_that_is_due() {
    let mut rig = Rig::new();
    with_many_due(&mut rig, &[]);
    let mut expiry = Expiry::new(Session::new(client_without_socket(0, 0), true));
    assert!(expiry.cycle(&rig.server), "a cycle doesn't do for so many in one hash");
    while expiry.cycle(&rig.server) {}
    script(&mut rig, "EXISTS h => :0");
    assert_eq!(rig.server.stats.expired_fields.get(), 1000);
}

#[test]
fn times_that_have_come_remove_at_once() {
    script(
        &mut Rig::new(),
        "HSET h a 1 b 2 c 3 d 4 => :4
         HEXPIRE h 0 FIELDS 3 a a x => *3 :2 :-2 :-2
         HPEXPIREAT h 1 FIELDS 1 b => *1 :2
         HSETEX h EXAT 1 FIELDS 1 c 9 => :1
         HGETALL h => *2 $1 d $1 4
         HGETEX h PXAT 5 FIELDS 2 d d => *2 $1 4 $-1
         HLEN h => :0",
    );
}

#[test]
fn values_are_read_and_set_together_with_their_times() {
    let mut rig = Rig::new();
    script(
        &mut rig,
        "HSETEX h FXX FIELDS 1 a 1 => :0
         HSETEX h FNX EX 10 FIELDS 2 a 1 b 2 => :1
         HSETEX h FNX FIELDS 2 c 1 b 2 => :0
         HSETEX h FXX KEEPTTL FIELDS 1 a 3 => :1
         HTTL h FIELDS 2 a b => *2 :10 :10
         HSETEX h FIELDS 1 b 4 => :1
         HTTL h FIELDS 2 a b => *2 :10 :-1
         HGETEX h FIELDS 2 a x => *2 $1 3 $-1
         HGETEX h PX 5000 FIELDS 1 b => *1 $1 4
         HGETEX h PERSIST FIELDS 2 a a => *2 $1 3 $1 3
         HPTTL h FIELDS 2 a b => *2 :-1 :5000
         HGETDEL h FIELDS 3 a a x => *3 $1 3 $-1 $-1
         HGETDEL h FIELDS 1 b => *1 $1 4
         HGETDEL h FIELDS 1 b => *1 $-1
         HGETEX h EX 1 FIELDS 1 b => *1 $-1
         HLEN h => :0
         HSETEX h EX 10 KEEPTTL FIELDS 1 a 1 => -ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified
         HSETEX h FNX FXX FIELDS 1 a 1 => -ERR Only one of FXX or FNX arguments can be specified
         HSETEX h FIELDS 2 a 1 b => -ERR The `numfields` parameter must match the number of arguments
         HGETDEL h FIELDS 0 a => -ERR Number of fields must be a positive integer
         HEXPIRE h -1 FIELDS 1 a => -ERR invalid expire time, must be >= 0
         HEXPIRE h 9223372036854775807 FIELDS 1 a => -ERR invalid expire time in 'hexpire' command
         HEXPIRE h 1 NX NX FIELDS 1 a => -ERR Mandatory argument FIELDS is missing or not at the right position",
    );
}

#[test]
fn scans_are_complete_and_take_patterns() {
    let mut rig = Rig::new();
    script(
        &mut rig,
        "HSCAN h 0 COUNT => *2 $1 0 *0
         HSET h a 1 b 2 => :2
         HSCAN h 0 MATCH a => *2 $1 0 *2 $1 a $1 1
         HSCAN h 0 NOVALUES => *2 $1 0 *2 $1 a $1 b
         HSCAN h 0 COUNT 0 => -ERR syntax error
         HSCAN h 0 COUNT => -ERR syntax error
         HSCAN h 0 COUNT x => -ERR value is not an integer or out of range
         HSCAN h x => -ERR invalid cursor",
    );
    (0..1000).for_each(|n| drop(rig.run(&format!("HSET big f{n} v"))));
    let (mut cursor, mut seen, mut calls) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        let reply = rig.run(&format!("HSCAN big {cursor} NOVALUES COUNT 20"));
        let mut lines = reply.split("\r\n").skip(2);
        cursor = lines.next().expect("the cursor").to_owned();
        seen.extend(lines.filter(|line| line.starts_with('f')).map(str::to_owned));
        calls += 1;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 1000);
    assert!(calls > 20);
}

#[test]
fn random_fields_are_as_many_and_as_different_as_asked() {
    let mut rig = Rig::new();
    script(
        &mut rig,
        "HRANDFIELD h => $-1
         HSET h a 1 => :1
         HRANDFIELD h => $1 a
         HRANDFIELD h -2 WITHVALUES => *4 $1 a $1 1 $1 a $1 1
         HRANDFIELD h 0 => *0
         HRANDFIELD h x => -ERR value is not an integer or out of range
         HRANDFIELD h 1 x => -ERR syntax error
         HRANDFIELD h -4611686018427387904 WITHVALUES => -ERR value is out of range",
    );
    (0..500).for_each(|n| drop(rig.run(&format!("HSET big f{n} v"))));
    for count in [1, 10, 300, 499, 500, 600] {
        let reply = rig.run(&format!("HRANDFIELD big {count}"));
        let fields: BTreeSet<_> = reply.lines().filter(|line| line.starts_with('f')).collect();
        assert_eq!(fields.len(), count.min(500));
        assert!(reply.starts_with(&format!("*{}\r\n", count.min(500))));
    }
}

#[test]
fn another_type_is_refused_before_the_options() {
    let mut rig = Rig::new();
    let store = rig.server.store.get().expect("the rig opened it");
    let mut held = store.keyspace.lock(StripeSet::ALL);
    let place = store.keyspace.key(b"s");
    let op = Op::String(StringOp::Set { value: b"text", expire_at: None });
    held.apply(store.keyspace.space(0), &place, &op).expect("setting always fits");
    drop(held);
    let commands = [
        "HGET s a",
        "HSET s a 1",
        "HINCRBY s a 1",
        "HSCAN s 0 COUNT",
        "HEXPIRE s x NX FIELDS x",
        "HTTL s x 1 a",
        "HGETDEL s x 1 a",
        "HGETEX s x 1 a",
        "HRANDFIELD s 1",
    ];
    for command in commands {
        assert!(rig.run(command).starts_with("-WRONGTYPE"), "{command}");
    }
    script(
        &mut rig,
        "HSET s a 1 b => -ERR wrong number of arguments for 'hset' command
         HINCRBY s a x => -ERR value is not an integer or out of range
         HSCAN s x => -ERR invalid cursor
         HRANDFIELD s x => -ERR value is not an integer or out of range",
    );
}

#[test]
fn what_is_replayed_is_what_was_there() {
    let disk = SimDisk::new(7);
    let options = || LogOptions { threads: false, segment_bytes: 1 << 20, ..LogOptions::default() };
    let clock = Arc::new(SimClock::at_ms(1_700_000_000_000));
    let mut rig = Rig::open(Arc::new(disk.clone()), clock.clone(), options()).expect("an empty disk");
    let mut prng = Prng::new(3);
    for turn in 0..4000 {
        let (key, field, other) = (prng.below(3), prng.below(200), prng.below(200));
        let command = match prng.below(12) {
            0..=4 => format!("HSET h{key} f{field} {turn} f{other} v{turn}"),
            5 => format!("HDEL h{key} f{field} f{other}"),
            6 => format!("HPEXPIRE h{key} {} FIELDS 2 f{field} f{other}", prng.below(300)),
            7 => format!("HPERSIST h{key} FIELDS 1 f{field}"),
            8 => format!("HSETEX h{key} KEEPTTL FIELDS 1 f{field} {turn}"),
            9 => format!("HINCRBY h{key} n{field} {turn}"),
            10 => format!("HGETEX h{key} PX {} FIELDS 1 f{field}", prng.below(300)),
            _ => format!("HGETDEL h{key} FIELDS 1 f{field}"),
        };
        let reply = rig.run(&command);
        assert!(!reply.starts_with('-'), "{command}: {reply}");
        rig.advance_ms(prng.below(10));
        if turn % 100 == 0 {
            rig.expire();
        }
    }
    rig.settle();
    let state = rig.state();
    drop(rig);
    let again = Rig::open(Arc::new(disk), clock, options()).expect("nothing is damaged");
    assert_eq!(again.state(), state);
}
