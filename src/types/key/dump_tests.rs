//! DUMP and RESTORE through the in-process rig.

use std::sync::Arc;

use proptest::prelude::*;

use crate::clock::SimClock;
use crate::disk::sim::SimDisk;
use crate::engine::rig::Rig;
use crate::log::LogOptions;
use crate::rdb::{samples::SAMPLES, seal};

const NOW_MS: u64 = 1_700_000_001_000;

fn payload(value: &[u8], version: u16) -> Vec<u8> {
    let mut payload = value.to_vec();
    seal(&mut payload, version);
    payload
}

fn reply(rig: &mut Rig, args: &[&[u8]]) -> String {
    String::from_utf8_lossy(&rig.call(0, args).0).trim_end().to_owned()
}

/// The payload in a reply.
fn dump(rig: &mut Rig, key: &[u8]) -> Vec<u8> {
    let (reply, _) = rig.call(0, &[b"DUMP", key]);
    let start = reply.iter().position(|byte| *byte == b'\n').expect("a reply has a line") + 1;
    reply[start..reply.len() - 2].to_vec()
}

const BUSY: &str = "-BUSYKEY Target key name already exists.";
const BAD: &str = "-ERR Bad data format";
const WRONG: &str = "-ERR DUMP payload version or checksum are wrong";

#[test]
fn refusals_come_in_the_order_of_redis() {
    let mut rig = Rig::new();
    let good = payload(b"\0\x01v", 10);
    let mut expect = |args: &[&[u8]], expected: &str| {
        let words = [&[&b"RESTORE"[..]], args].concat();
        assert_eq!(reply(&mut rig, &words), expected, "{:?}", String::from_utf8_lossy(&words.join(&b' ')));
    };
    expect(&[b"k", b"0", &good], "+OK");
    expect(&[b"k", b"a", b"x"], BUSY);
    expect(&[b"k", b"0", &good, b"REPLACE", b"x"], "-ERR syntax error");
    expect(&[b"k", b"0", &good, b"IDLETIME"], "-ERR syntax error");
    expect(&[b"k", b"0", &good, b"IDLETIME", b"-1"], "-ERR Invalid IDLETIME value, must be >= 0");
    expect(&[b"n", b"-1", b"x"], "-ERR Invalid TTL value, must be >= 0");
    expect(&[b"n", b"a", b"x"], "-ERR value is not an integer or out of range");
    expect(&[b"n", b"0", b""], WRONG);
    expect(&[b"n", b"0", b"x"], WRONG);
    expect(&[b"n", b"0", &payload(b"\0\x01v", 13)], WRONG);
    expect(&[b"n", b"0", &payload(b"", 10)], BAD);
    expect(&[b"n", b"0", &payload(b"\xff\x01v", 10)], BAD);
    expect(&[b"n", b"0", &payload(b"\0\x01vx", 10)], BAD);
    expect(&[b"n", b"0", &payload(b"\x02\x02\x01a\x01a", 10)], BAD);
    expect(&[b"n", b"0", &good, b"IDLETIME", b"a"], "-ERR value is not an integer or out of range");
    expect(&[b"n", b"0", &good, b"FREQ", b"256"], "-ERR Invalid FREQ value, must be >= 0 and <= 255");
    expect(&[b"n", b"0", &good, b"FREQ", b"1", b"IDLETIME", b"1"], "-ERR syntax error");
    expect(&[b"n", b"0", &good, b"IDLETIME", b"1", b"FREQ", b"1"], "-ERR syntax error");
    expect(&[b"n", b"0", &good, b"IDLETIME", b"1", b"IDLETIME", b"2"], "+OK");
    expect(&[b"n", b"0", &good, b"FREQ", b"2", b"FREQ", b"3", b"REPLACE"], "+OK");
}

#[test]
fn a_refused_payload_leaves_the_key_as_it_was() {
    let mut rig = Rig::new();
    rig.run("SET k v");
    let before = rig.state();
    for bad in [&b"x"[..], &payload(b"\x01\0", 11), &payload(b"\0\x01v", 99)] {
        assert!(reply(&mut rig, &[b"RESTORE", b"k", b"0", bad, b"REPLACE"]).starts_with('-'));
    }
    assert_eq!(rig.state(), before);
}

#[test]
fn lifetimes_count_from_now_or_are_times() {
    let mut rig = Rig::new();
    let good = payload(b"\0\x01v", 11);
    let mut restored = |ttl: &str, option: &[u8]| {
        rig.run("SET k old EX 5");
        let words: [&[u8]; 6] = [b"RESTORE", b"k", ttl.as_bytes(), &good, b"REPLACE", option];
        let len = if option.is_empty() { 5 } else { 6 };
        assert_eq!(reply(&mut rig, &words[..len]), "+OK");
        reply(&mut rig, &[b"PTTL", b"k"])
    };
    assert_eq!(restored("0", b""), ":-1");
    assert_eq!(restored("0", b"ABSTTL"), ":-1");
    assert_eq!(restored("700", b""), ":700");
    assert_eq!(restored(&(NOW_MS + 900).to_string(), b"ABSTTL"), ":900");
    // What is over is not made, and what was there is gone.
    assert_eq!(restored(&NOW_MS.to_string(), b"ABSTTL"), ":-2");
    assert_eq!(restored("9223372036854775807", b""), ":-2");
}

#[test]
fn every_sample_is_restored_logged_and_dumped_again() {
    let disk = Arc::new(SimDisk::new(1));
    let clock = Arc::new(SimClock::at_ms(NOW_MS));
    let options = || LogOptions { threads: false, segment_bytes: 1 << 20, ..LogOptions::default() };
    let mut rig = Rig::open(disk.clone(), clock.clone(), options()).expect("the disk is empty");
    for (number, (name, value)) in SAMPLES.iter().enumerate() {
        let (first, second) = (format!("a{number}"), format!("b{number}"));
        let version = if value[0] >= 24 { 12 } else { 9 };
        let restore: [&[u8]; 4] = [b"RESTORE", first.as_bytes(), b"0", &payload(value, version)];
        assert_eq!(reply(&mut rig, &restore), "+OK", "{name}");
        let own = dump(&mut rig, first.as_bytes());
        assert_eq!(reply(&mut rig, &[b"RESTORE", second.as_bytes(), b"1000", &own]), "+OK", "{name}");
        rig.run(&format!("PERSIST {second}"));
        assert_eq!(dump(&mut rig, second.as_bytes()), own, "{name}");
    }
    let state = rig.state();
    rig.settle();
    drop(rig);
    let again = Rig::open(disk, clock, options()).expect("what was written is read");
    assert_eq!(again.state(), state);
}

#[test]
fn fields_that_expire_need_the_newer_version() {
    let mut rig = Rig::new();
    rig.run("HSET h f v g w");
    let plain = dump(&mut rig, b"h");
    rig.run("HPEXPIRE h 500 FIELDS 1 f");
    let expiring = dump(&mut rig, b"h");
    assert_eq!((plain[plain.len() - 10], expiring[expiring.len() - 10]), (11, 12));
    rig.advance_ms(400);
    assert_eq!(reply(&mut rig, &[b"RESTORE", b"late", b"0", &expiring]), "+OK");
    assert_eq!(reply(&mut rig, &[b"HPTTL", b"late", b"FIELDS", b"2", b"f", b"g"]), "*2\r\n:100\r\n:-1");
    rig.advance_ms(100);
    assert_eq!(reply(&mut rig, &[b"RESTORE", b"later", b"0", &expiring]), "+OK");
    assert_eq!(rig.run("HGETALL later"), "*2\r\n$1\r\ng\r\n$1\r\nw\r\n");
    rig.run("DEL h");
    rig.run("HSET h f v");
    rig.run("HPEXPIRE h 500 FIELDS 1 f");
    let expiring = dump(&mut rig, b"h");
    rig.advance_ms(500);
    assert_eq!(reply(&mut rig, &[b"RESTORE", b"gone", b"0", &expiring]), "+OK");
    assert_eq!(rig.run("EXISTS gone"), ":0\r\n");
    assert_eq!(rig.run("DUMP h"), "$-1\r\n");
}

#[test]
fn a_restored_key_is_as_idle_or_as_popular_as_it_is_told() {
    let mut rig = Rig::new();
    let good = payload(b"\0\x01v", 11);
    assert_eq!(reply(&mut rig, &[b"RESTORE", b"k", b"0", &good, b"IDLETIME", b"500"]), "+OK");
    assert_eq!(rig.run("OBJECT IDLETIME k"), ":500\r\n");
    assert_eq!(reply(&mut rig, &[b"RESTORE", b"new", b"0", &good, b"FREQ", b"77"]), "+OK");
    assert_eq!(rig.run("OBJECT IDLETIME new"), ":0\r\n");
    rig.run("CONFIG SET maxmemory-policy allkeys-lfu");
    assert_eq!(reply(&mut rig, &[b"RESTORE", b"k", b"0", &good, b"FREQ", b"77", b"REPLACE"]), "+OK");
    assert_eq!(rig.run("OBJECT FREQ k"), ":77\r\n");
    assert_eq!(reply(&mut rig, &[b"RESTORE", b"k", b"0", &good, b"IDLETIME", b"77", b"REPLACE"]), "+OK");
    assert_eq!(rig.run("OBJECT FREQ k"), ":5\r\n");
}

#[test]
fn a_restored_key_serves_who_waits_and_touches_who_watches() {
    let mut rig = Rig::new();
    rig.run("RPUSH l a b");
    let list = dump(&mut rig, b"l");
    assert_eq!(rig.run_as(1, "BLPOP other 0"), "");
    rig.run_as(2, "WATCH other");
    assert_eq!(reply(&mut rig, &[b"RESTORE", b"other", b"0", &list]), "+OK");
    assert_eq!(rig.delivered(1).as_deref(), Some("*2\r\n$5\r\nother\r\n$1\r\na\r\n"));
    rig.run_as(2, "MULTI");
    assert_eq!(rig.run_as(2, "EXEC"), "*-1\r\n");
}

proptest! {
    #[test]
    fn any_payload_is_restored_or_refused(value in any::<Vec<u8>>(), version in 0u16..14, sealed in any::<bool>()) {
        let mut rig = Rig::new();
        let bytes = if sealed { payload(&value, version) } else { value };
        let reply = reply(&mut rig, &[b"RESTORE", b"k", b"0", &bytes]);
        prop_assert!(["+OK", BAD, WRONG].contains(&reply.as_str()), "{reply}");
        prop_assert_eq!(rig.run("EXISTS k"), if reply == "+OK" { ":1\r\n" } else { ":0\r\n" });
    }
}
