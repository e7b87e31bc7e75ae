//! Any bytes as a record's body: decoding is total, what decodes is encoded to bytes that mean the same, and applying it makes
//! the same state whatever the seed of the keyspace, or a misfit that changes nothing.

use duramen::codec::put_bytes;
use duramen::keyspace::digest::describe;
use duramen::keyspace::op::{AnyOp, Op, Ops, SpaceOp, encode_key_op, encode_space_op};
use duramen::keyspace::waiters::StripeSet;
use duramen::keyspace::{Keyspace, ReplayError};
use duramen::types::hash::value::HashOp;
use duramen::types::list::value::ListOp;
use duramen::types::set::value::SetOp;
use duramen::types::sorted_set::value::SortedSetOp;
use duramen::types::stream::value::{Ids, PendingRow, Pendings, StreamId, StreamOp};
use duramen::types::string::value::StringOp;

const DATABASES: u32 = 4;
/// Strings are written up to here: further on a few bytes of input would ask for half a gigabyte, as SETRANGE may.
const OFFSET_MAX: u64 = 1 << 16;

pub fn check(data: &[u8]) {
    // Every second input is cut into ops here, so that lengths in front of ops need not be guessed.
    let Some((mode, rest)) = data.split_first() else { return };
    let mut body = Vec::new();
    match mode % 2 {
        0 => body.extend_from_slice(rest),
        _ => rest.split(|byte| *byte == 0xfe).for_each(|op| put_bytes(&mut body, op)),
    }
    let decoded: Vec<_> = Ops::new(&body).collect();
    let good: Vec<AnyOp<'_>> = decoded.iter().map_while(|op| op.as_ref().ok().copied()).collect();
    assert!(decoded.len() <= good.len() + 1, "decoding ends at the first malformed op");
    let mut encoded = Vec::new();
    good.iter().for_each(|op| encode(op, &mut encoded));
    let again: Vec<_> = Ops::new(&encoded).map(|op| op.expect("the encoder's own bytes")).collect();
    assert_eq!(again, good);
    assert!(encoded.len() <= body.len(), "the encoder's form is the shortest");
    if good.iter().any(is_far) {
        return;
    }
    let keyspace = Keyspace::new(DATABASES, 1);
    let mut before = describe(&keyspace);
    for op in &good {
        let applied = apply(&keyspace, op);
        let after = describe(&keyspace);
        if let Err(error) = applied {
            assert_eq!(after, before, "{error}, and yet {op:?} changed something");
        }
        before = after;
    }
    let other = Keyspace::new(DATABASES, 0xdead_beef);
    for op in &good {
        let _ = apply(&other, op);
    }
    assert_eq!(describe(&other), before, "the state does not depend on the seed");
}

fn apply(keyspace: &Keyspace, op: &AnyOp<'_>) -> Result<(), ReplayError> {
    let mut held = keyspace.lock(StripeSet::ALL);
    match op {
        AnyOp::Key { space, key, op } => Ok(held.apply(*space, &keyspace.key(key), op)?),
        AnyOp::Space(op) => held.apply_space(op).map(drop),
    }
}

fn encode(op: &AnyOp<'_>, out: &mut Vec<u8>) {
    match op {
        AnyOp::Key { space, key, op } => encode_key_op(out, *space, key, op),
        AnyOp::Space(op) => encode_space_op(out, op),
    }
}

fn is_far(op: &AnyOp<'_>) -> bool {
    let AnyOp::Key { op: Op::String(op), .. } = op else { return false };
    match op {
        StringOp::SetRange { offset, .. } => *offset > OFFSET_MAX,
        StringOp::SetBit { offset, .. } => *offset / 8 > OFFSET_MAX,
        _ => false,
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let (one, two): (&[&[u8]], &[&[u8]]) = (&[b"f"], &[b"f", b"v"]);
    let integers: &[&[u8]] = &[b"1", b"2"];
    let rows: &[(f64, &[u8])] = &[(f64::NEG_INFINITY, b"a"), (-0.0, b"b"), (2.0, b"")];
    let ops = [
        Op::String(StringOp::Set { value: b"12", expire_at: Some(1 << 40) }),
        Op::String(StringOp::Append { bytes: b"abc" }),
        Op::String(StringOp::SetRange { offset: 5, bytes: b"xy" }),
        Op::String(StringOp::SetBit { offset: 77, bit: true }),
        Op::String(StringOp::Splice { offset: 1, removed: 3, bytes: b"xyzzy" }),
        Op::String(StringOp::Replace { value: b"" }),
        Op::ExpireAt(1 << 41),
        Op::Persist,
        Op::Rename { to: b"{a}2" },
        Op::Delete,
        Op::Hash(HashOp::set(two)),
        Op::Hash(HashOp::expire(1 << 40, one)),
        Op::Hash(HashOp::set_keep_ttl(two)),
        Op::Hash(HashOp::persist(one)),
        Op::Hash(HashOp::remove(one)),
        Op::Set(SetOp::add(integers)),
        Op::Set(SetOp::add(two)),
        Op::Set(SetOp::remove(one)),
        Op::List(ListOp::Insert { index: 0, element: b"e" }),
        Op::List(ListOp::Insert { index: 1, element: b"e" }),
        Op::List(ListOp::Set { index: 0, element: b"7" }),
        Op::List(ListOp::Remove { count: -1, element: b"e" }),
        Op::List(ListOp::Trim { start: 0, len: 1 }),
        Op::Delete,
        Op::SortedSet(SortedSetOp::Set { score: 1.5, member: b"f" }),
        Op::SortedSet(SortedSetOp::SetMany { rows: rows.into() }),
        Op::SortedSet(SortedSetOp::Remove { members: one.into() }),
        Op::SortedSet(SortedSetOp::RemoveRange { start: 1, len: 1 }),
        Op::Delete,
    ];
    let (group, consumer): (&[u8], &[u8]) = (b"g", b"c");
    let ids = [1, 2, 3].map(|seq| StreamId::new(7, seq));
    let rows = ids.map(|id| PendingRow { id, delivered_ms: 9, deliveries: 3 });
    let stream_ops = [
        StreamOp::Add { id: ids[0], fields: two.into() },
        StreamOp::Add { id: ids[1], fields: two.into() },
        StreamOp::Add { id: ids[2], fields: two.into() },
        StreamOp::SetGroup { group, last_id: StreamId::MIN, entries_read: Some(0) },
        StreamOp::SetGroup { group: b"h", last_id: ids[0], entries_read: None },
        StreamOp::Deliver { group, consumer, at_ms: 8, count: 2, pend: true },
        StreamOp::SetConsumer { group, consumer: b"d", seen_ms: 9, active_ms: None },
        StreamOp::Assign { group, consumer: b"d", at_ms: Some(10), rows: Pendings::new(&rows) },
        StreamOp::Assign { group, consumer, at_ms: None, rows: Pendings::new(&rows[1..]) },
        StreamOp::Acknowledge { group, ids: Ids::new(&ids[..1]) },
        StreamOp::Delete { ids: Ids::new(&ids[1..2]), forget: false },
        StreamOp::Trim { count: 1, forget: true },
        StreamOp::RemoveConsumer { group, consumer: b"d" },
        StreamOp::Reset { last_id: StreamId::MAX, max_deleted_id: ids[2], entries_added: u64::MAX },
        StreamOp::RemoveGroup { group: b"h" },
    ];
    let ops = ops.into_iter().chain(stream_ops.map(Op::Stream));
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    let (mut all, mut split) = (vec![0], vec![1]);
    for op in ops {
        let mut one = vec![0];
        encode_key_op(&mut one, 0, b"{a}1", &op);
        all.extend_from_slice(&one[1..]);
        split.extend_from_slice(&one[2..]);
        split.push(0xfe);
        seeds.push(one);
    }
    encode_space_op(&mut all, &SpaceOp::Flush { db: 0, space: 1024 });
    encode_space_op(&mut all, &SpaceOp::Swap { a: 0, b: 1 });
    let sets = [&split[..], b"\xf0\x00\x80\x08\xfe\xf1\x00\x01\xfe"].concat();
    seeds.extend([all, split, sets]);
    seeds
}
