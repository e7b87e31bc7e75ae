//! What a long stream costs: bytes an entry, nanoseconds an entry appended and a range read, and what delivery and acknowledgement in a
//! group cost.
//!
//! `cargo bench --bench stream [entries]`. The peer is a `BTreeMap` from id to strings. Rounds are short and interleaved, and each one's
//! fastest is printed: on a shared machine the one that others disturbed least. The same entries in redis-server, for `used_memory`:
//! twenty entries a millisecond, `XADD s MS-SEQ user user:N payload PPP...` of `payload` bytes.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use duramen::allocator;
use duramen::disk::prng::Prng;
use duramen::types::Collection;
use duramen::types::stream::value::{Ids, Stream, StreamId, StreamOp};

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ROUNDS: usize = 9;
const STEPS: usize = 2000;
const FIRST_MS: u64 = 1_700_000_000_000;

type Peer = BTreeMap<StreamId, Box<[Box<[u8]>]>>;

fn id_of(n: u64) -> StreamId {
    StreamId::new(FIRST_MS + n / 20, n % 20)
}

fn fields_of<'a>(user: &'a str, payload: &'a str) -> [&'a [u8]; 4] {
    [b"user", user.as_bytes(), b"payload", payload.as_bytes()]
}

/// Fastest round so far, in nanoseconds a step.
fn round(best: &mut f64, mut step: impl FnMut()) {
    let start = Instant::now();
    (0..STEPS).for_each(|_| step());
    *best = best.min(start.elapsed().as_nanos() as f64 / STEPS as f64);
}

fn filled(what: &str, entries: u64, payload: &str, add: &mut dyn FnMut(StreamId, &[&[u8]])) {
    let (before, start) = (allocator::usage().allocated, Instant::now());
    for n in 0..entries {
        add(id_of(n), &fields_of(&format!("user:{n}"), payload));
    }
    let ns = start.elapsed().as_nanos() as f64 / entries as f64;
    let bytes = (allocator::usage().allocated - before) as f64 / entries as f64;
    println!("{what}: filled with {ns:.0} ns and {bytes:.1} bytes an entry");
}

fn read(stream: &mut Stream, peer: &Peer, entries: u64) {
    let mut prng = Prng::new(8);
    let mut places = || {
        let n = prng.below(entries - 100);
        id_of(n)..=id_of(n + 99)
    };
    let (mut ours, mut theirs) = ([f64::INFINITY; 3], [f64::INFINITY; 3]);
    for _ in 0..ROUNDS {
        let strings = |entry: duramen::types::stream::value::Entry<'_>| {
            entry.strings().for_each(|string| _ = black_box(string.len()));
        };
        round(&mut ours[0], || stream.range(places()).for_each(strings));
        round(&mut theirs[0], || peer.range(places()).for_each(|row| _ = black_box(row.1[3].len())));
        round(&mut ours[1], || stream.range(places()).rev().for_each(strings));
        round(&mut theirs[1], || peer.range(places()).rev().for_each(|row| _ = black_box(row.1[3].len())));
        round(&mut ours[2], || strings(stream.get(*places().start()).expect("all are there")));
        round(&mut theirs[2], || _ = black_box(peer.get(places().start())));
    }
    let what = ["a range of 100", "the same backwards", "an entry by its id"];
    for ((what, ours), theirs) in what.iter().zip(ours).zip(theirs) {
        println!("{what}: {ours:.0} ns, peer {theirs:.0} ns, ratio {:.2}", ours / theirs);
    }
}

fn apply(stream: &mut Stream, op: &StreamOp<'_>) {
    stream.apply(op).expect("the op fits");
}

fn consume(stream: &mut Stream, entries: u64) {
    let (group, names) = (b"group", ["a", "b", "c", "d", "e", "f", "g", "h"]);
    apply(stream, &StreamOp::SetGroup { group, last_id: StreamId::MIN, entries_read: Some(0) });
    let before = allocator::usage().allocated;
    let count = entries / 10 / 2;
    let start = Instant::now();
    let deliver = |stream: &mut Stream, at_ms: u64| {
        let consumer = names[at_ms as usize % names.len()].as_bytes();
        apply(stream, &StreamOp::Deliver { group, consumer, at_ms, count: 10, pend: true });
    };
    (0..count).for_each(|n| deliver(stream, n));
    let ns = start.elapsed().as_nanos() as f64 / (count * 10) as f64;
    let bytes = (allocator::usage().allocated - before) as f64 / (count * 10) as f64;
    println!("deliveries, ten each: {ns:.0} ns and {bytes:.1} bytes a pending entry");
    let pending = |stream: &Stream, from: u64| -> Vec<StreamId> {
        let group = stream.group(group).expect("it was made");
        group.pending(id_of(from)..=StreamId::MAX).take(10).map(|(_, row)| row.id).collect()
    };
    let (mut best, mut acknowledged) = (f64::INFINITY, 0);
    for _ in 0..ROUNDS {
        let (mut at, rounds) = (count, count / ROUNDS as u64 / 2);
        let start = Instant::now();
        for _ in 0..rounds {
            let ids = pending(stream, acknowledged);
            apply(stream, &StreamOp::Acknowledge { group, ids: Ids::new(&ids) });
            acknowledged += 10;
            deliver(stream, at);
            at += 1;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / (rounds * 10) as f64);
    }
    println!("acknowledged at the front and delivered at the end, ten each: {best:.0} ns an entry");
    let start = Instant::now();
    let oldest = stream.group(group).expect("it was made").pending_since(u64::MAX).take(10).count();
    let first = start.elapsed().as_micros();
    let start = Instant::now();
    black_box(stream.group(group).expect("it was made").pending_since(u64::MAX).take(oldest).count());
    println!("the ten oldest: {first} us at first, then {} ns", start.elapsed().as_nanos());
}

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse().ok());
    let entries = numbers.next().unwrap_or(1_000_000u64).max(1000);
    let payload = "p".repeat(numbers.next().unwrap_or(32) as usize);
    let (mut stream, mut peer) = (Stream::default(), Peer::new());
    filled("stream", entries, &payload, &mut |id, fields| {
        apply(&mut stream, &StreamOp::Add { id, fields: fields.into() });
    });
    let known = stream.heap_bytes() as f64 / entries as f64;
    println!("        of which it knows {known:.1} bytes, in {} blocks", stream.blocks());
    filled("BTreeMap", entries, &payload, &mut |id, fields| {
        peer.insert(id, fields.iter().map(|string| Box::from(*string)).collect());
    });
    read(&mut stream, &peer, entries);
    consume(&mut stream, entries);
    let start = Instant::now();
    apply(&mut stream, &StreamOp::Trim { count: entries / 2, forget: false });
    println!("half of it trimmed in {} us", start.elapsed().as_micros());
}
