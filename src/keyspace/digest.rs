//! Digests of what keys hold, and the whole state as text: equal states give equal ones.
//!
//! A digest is about what clients can tell apart: keys, values, expiry times, the order of lists. It does not depend on how
//! a value is represented, on the order in which the fields of a hash came, or on the store's secret seed, so it is the same before and
//! after a restart, a compaction, or in another store with the same keys. What has expired and is not yet removed counts: its removal is
//! a change of its own.
//!
//! Digests of keys are added up, so that their order doesn't matter. What they do **not** promise: that nobody can make two states with
//! the same digest on purpose.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::entry::Entry;
use super::hash::SLOTS;
use super::op::{LIBRARIES, Op, encode_bare, encode_key_op};
use super::stripe::{Stripe, stripe_of};
use super::value::Value;
use super::waiters::StripeSet;
use super::{Held, Keyspace};
use crate::hash::hash_bytes;
use crate::types::Collection;
use crate::types::set::value::{Set, SetOp};
use crate::types::stream::value::Stream;

/// Fixed, unlike the store's own: digests are compared between stores. Any two numbers would do.
const SEEDS: [u64; 2] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344];

/// 128 bits; zero for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u64; 2]);

impl Digest {
    pub const LEN: usize = 16;

    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.0[0].to_be_bytes());
        bytes[8..].copy_from_slice(&self.0[1].to_be_bytes());
        bytes
    }

    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let number = u128::from_be_bytes(bytes);
        Self([(number >> 64) as u64, number as u64])
    }

    /// Of a set whose parts have these digests.
    pub fn add(&mut self, part: Self) {
        for (sum, number) in self.0.iter_mut().zip(part.0) {
            *sum = sum.wrapping_add(number);
        }
    }

    fn of(bytes: &[u8]) -> Self {
        Self(SEEDS.map(|seed| hash_bytes(bytes, seed)))
    }

    /// Of a sequence that goes on: what came before, then these bytes.
    fn then(self, bytes: &[u8]) -> Self {
        Self([0, 1].map(|i| hash_bytes(bytes, SEEDS[i] ^ self.0[i].rotate_left(23))))
    }

    fn then_number(self, number: u64) -> Self {
        self.then(&number.to_le_bytes())
    }
}

impl fmt::Display for Digest {
    /// Forty hexadecimal digits, as Redis shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:016x}{:016x}{:08x}",
            self.0[0],
            self.0[1],
            self.0[0].rotate_left(32) as u32 ^ self.0[1] as u32
        )
    }
}

/// Of a key's value and expiry time.
pub fn of_value(entry: &Entry) -> Digest {
    let digest = Digest::of(entry.kind().name().as_bytes());
    let digest = match entry.expire_at() {
        Some(at) => digest.then(b"expires").then_number(at),
        None => digest,
    };
    match entry.as_value() {
        None => digest.then(entry.as_string().unwrap_or_default()),
        Some(Value::List(list)) => list.iter().fold(digest, Digest::then),
        Some(Value::Hash(hash)) => {
            let mut sum = Digest::default();
            // At the beginning of time nothing has expired.
            for field in hash.fields(0) {
                let part = Digest::of(field.name).then(field.value);
                sum.add(field.expire_at.map_or(part, |at| part.then(b"expires").then_number(at)));
            }
            digest.then(&sum.to_bytes())
        }
        Some(Value::Set(set)) => {
            let mut sum = Digest::default();
            set.members().for_each(|member| sum.add(Digest::of(&member)));
            digest.then(&sum.to_bytes())
        }
        Some(Value::SortedSet(set)) => set
            .members()
            .fold(digest, |digest, (score, member)| digest.then_number(score.to_bits()).then(member)),
        Some(Value::Stream(stream)) => of_stream(digest, stream),
    }
}

/// The ops that rebuild a stream don't depend on its past: they name entries, numbers, groups and what is pending, in order.
fn of_stream(mut digest: Digest, stream: &Stream) -> Digest {
    let mut bytes = Vec::new();
    stream.rebuild(&mut |op| {
        bytes.clear();
        encode_bare(&mut bytes, &Op::Stream(op));
        digest = digest.then(&bytes);
    });
    digest
}

/// Of a key of a database with all that it holds.
pub fn of_key(db: u32, entry: &Entry) -> Digest {
    Digest::of(entry.key()).then_number(u64::from(db)).then(&of_value(entry).to_bytes())
}

/// Visits the keys of a slot in all databases, and the libraries of functions as keys of database [`LIBRARIES`]; its stripe is held.
pub fn each_in_slot(keyspace: &Keyspace, stripe: &Stripe, slot: u16, visit: &mut dyn FnMut(u32, &Entry)) {
    for db in 0..keyspace.databases() {
        let table = stripe.part(keyspace.space(db)).and_then(|part| part.slot(slot));
        table.into_iter().flat_map(|table| table.iter()).for_each(|entry| visit(db, entry));
    }
    let libraries = stripe.part(LIBRARIES).and_then(|part| part.slot(slot));
    libraries.into_iter().flat_map(|table| table.iter()).for_each(|entry| visit(LIBRARIES, entry));
}

/// Of all keys of a slot; its stripe is held.
pub fn of_slot(keyspace: &Keyspace, stripe: &Stripe, slot: u16) -> Digest {
    let mut sum = Digest::default();
    each_in_slot(keyspace, stripe, slot, &mut |db, entry| sum.add(of_key(db, entry)));
    sum
}

/// Of everything; every stripe is held. Zero for an empty keyspace.
pub fn of_all(held: &Held<'_>) -> Digest {
    let mut sum = Digest::default();
    for slot in 0..SLOTS as u16 {
        sum.add(of_slot(held.keyspace(), &held.shelf(slot).stripe, slot));
    }
    sum
}

/// Locks the stripe of a slot.
pub fn lock_slot(keyspace: &Keyspace, slot: u16) -> Held<'_> {
    keyspace.lock(StripeSet::one(stripe_of(slot)))
}

/// The members of a set one by one, in ascending order: which order a set keeps depends on its representation, hence on its past.
fn describe_set(set: &Set, ops: &mut Vec<u8>) {
    let mut members: Vec<_> = set.members().collect();
    members.sort_unstable();
    for member in members {
        encode_key_op(ops, 0, b"", &Op::Set(SetOp::add(&[&*member])));
    }
}

/// One line a key, by database and key: expiry, type, and the ops that rebuild its value.
pub fn describe(keyspace: &Keyspace) -> String {
    let held = keyspace.lock(StripeSet::ALL);
    let mut text = String::new();
    let databases = (0..keyspace.databases()).map(|db| (db, keyspace.space(db)));
    for (db, space) in databases.chain([(LIBRARIES, LIBRARIES)]) {
        let mut lines = BTreeMap::new();
        let parts = held.shelves().filter_map(|shelf| shelf.stripe.part(space));
        for entry in parts.flat_map(|part| part.iter()) {
            let mut ops = Vec::new();
            match entry.as_value() {
                Some(Value::Set(set)) => describe_set(set, &mut ops),
                Some(value) => value.rebuild(&mut |op| encode_key_op(&mut ops, 0, b"", &op)),
                None => ops.extend_from_slice(entry.as_string().unwrap_or_default()),
            }
            let line = format!("{:?} {} {}", entry.expire_at(), entry.kind().name(), ops.escape_ascii());
            lines.insert(entry.key().to_vec(), line);
        }
        for (key, line) in lines {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{db} {} {line}", key.escape_ascii());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rig::Rig;

    fn digest(rig: &Rig) -> Digest {
        let keyspace = &rig.server.store.get().expect("the rig opened it").keyspace;
        of_all(&keyspace.lock(StripeSet::ALL))
    }

    fn after(lines: &[&str]) -> Digest {
        let mut rig = Rig::new();
        for line in lines {
            let reply = rig.run(line);
            assert!(!reply.starts_with('-'), "{line}: {reply}");
        }
        digest(&rig)
    }

    #[test]
    fn the_way_to_a_state_does_not_show_in_its_digest() {
        assert_eq!(after(&["SET a 1", "DEL a"]), Digest::default());
        assert_eq!(after(&["SET a 12", "SET b 2"]), after(&["SET b 2", "SET a 1", "APPEND a 2"]));
        assert_eq!(
            after(&["HSET h f 1 g 2"]),
            after(&["HSET h g 2", "HSET h x 1", "HSET h f 1", "HDEL h x"])
        );
        assert_eq!(after(&["RPUSH l a b c"]), after(&["LPUSH l c b x", "LSET l 0 a"]));
        assert_eq!(after(&["SET a 1 PXAT 1800000000000"]), after(&["SET a 1", "PEXPIREAT a 1800000000000"]));
        assert_eq!(after(&["SADD s 2 1"]), after(&["SADD s 1 x 2", "SREM s x"]));
        assert_eq!(after(&["ZADD z 1 a 2 b"]), after(&["ZADD z 2 b 5 a 7 x", "ZADD z 1 a", "ZPOPMAX z"]));
        assert_eq!(after(&["ZADD z 0 a"]), after(&["ZADD z -0 a"]));
        // As a table, for the length of a field that is gone.
        let long = format!("HSET h f {}", "x".repeat(100));
        assert_eq!(after(&[&long, "HSET h f 1 g 2"]), after(&["HSET h g 2 f 1"]));
        assert_eq!(after(&["SELECT 1", "SET a 1", "SWAPDB 0 1"]), after(&["SET a 1"]));
    }

    #[test]
    fn whatever_a_client_can_tell_apart_has_another_digest() {
        let states: &[&[&str]] = &[
            &[],
            &["SET a 1"],
            &["SET a 2"],
            &["SET b 1"],
            &["SELECT 1", "SET a 1"],
            &["SET a 1 PXAT 1800000000000"],
            &["SET a 1 PXAT 1800000000001"],
            &["RPUSH a 1"],
            &["RPUSH a 1 2"],
            &["RPUSH a 2 1"],
            &["RPUSH a 12"],
            &["RPUSH a 1", "PEXPIREAT a 1800000000000"],
            &["HSET a 1 2"],
            &["HSET a 2 1"],
            &["HSET a 1 2 3 4"],
            &["HSET a 1 4 3 2"],
            &["HSET a 1 2", "HPEXPIREAT a 1800000000000 FIELDS 1 1"],
            &["HSET a 1 2 3 4", "HPEXPIREAT a 1800000000000 FIELDS 1 1"],
            &["HSET a 1 2 3 4", "HPEXPIREAT a 1800000000000 FIELDS 1 3"],
            &["SADD a 1"],
            &["SADD a 1 2"],
            &["SADD a 12"],
            &["SADD a 1 2", "PEXPIREAT a 1800000000000"],
            &["ZADD a 1 2"],
            &["ZADD a 2 1"],
            &["ZADD a 1 1 2 2"],
            &["ZADD a 1 2 2 1"],
            &["ZADD a 1 2", "PEXPIREAT a 1800000000000"],
            &["SET a 1", "SET b 1"],
        ];
        let mut seen = BTreeMap::new();
        for state in states {
            let other = seen.insert(after(state), state);
            assert!(other.is_none(), "{state:?} and {other:?}");
        }
    }

    #[test]
    fn digests_are_shown_in_forty_digits_and_read_back() {
        assert_eq!(Digest::default().to_string(), "0".repeat(40));
        let digest = after(&["SET a 1"]);
        assert_eq!(digest.to_string().len(), 40);
        assert_eq!(Digest::from_bytes(digest.to_bytes()), digest);
    }
}
