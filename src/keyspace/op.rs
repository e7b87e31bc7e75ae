//! Ops: the only way to change state. What live execution, recovery, compaction and replicas apply.
//!
//! A record's body is a sequence of ops, all of them or none:
//!
//! ```text
//! op     = length varint | code u8 | ...                    length counts from the code on
//! on key = code | keyspace varint | key bytes | payload       codes 0x00-0x0f whole keys, 0x10-0x1f strings,
//! others = code | payload                                    0x20-0x2f lists, 0x30-0x3f hashes, 0x40-0x4f sets,
//!                                                            0x50-0x5f sorted sets, 0x60-0x6f streams;
//!                                                            0xf0- no key
//! bytes  = length varint | bytes
//! ```

use crate::codec::{Cursor, Malformed, put_bytes, put_varint, varint_len};
use crate::types::CollectionOp;
use crate::types::hash::value::HashOp;
use crate::types::list::value::ListOp;
use crate::types::set::value::SetOp;
use crate::types::sorted_set::value::SortedSetOp;
use crate::types::stream::value::StreamOp;
use crate::types::string::value::StringOp;

use super::value::Kind;

/// Names a keyspace for as long as its keys live: FLUSHDB gives a database a new one, SWAPDB exchanges two.
pub type SpaceId = u32;

/// The keyspace of the libraries of functions: a string each, the name its key, the code its value. It belongs to no database, so no
/// command on keys comes to it and none empties it, and it never retires.
pub const LIBRARIES: SpaceId = SpaceId::MAX;

/// An effect on one key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op<'a> {
    Delete,
    /// Unix time in milliseconds.
    ExpireAt(u64),
    Persist,
    /// To another key of the same slot, replacing what is there; the expiry moves along.
    Rename {
        to: &'a [u8],
    },
    String(StringOp<'a>),
    List(ListOp<'a>),
    Hash(HashOp<'a>),
    Set(SetOp<'a>),
    SortedSet(SortedSetOp<'a>),
    Stream(StreamOp<'a>),
}

/// An effect on whole databases. Applied by every stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceOp {
    /// The database is empty from now on: its old keyspace retires, it gets the new id `space`.
    Flush {
        db: u32,
        space: SpaceId,
    },
    Swap {
        a: u32,
        b: u32,
    },
}

/// What a record is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AnyOp<'a> {
    Key { space: SpaceId, key: &'a [u8], op: Op<'a> },
    Space(SpaceOp),
}

const STRING: u8 = 0x10 * Kind::String as u8;
const LIST: u8 = 0x10 * Kind::List as u8;
const HASH: u8 = 0x10 * Kind::Hash as u8;
const SET: u8 = 0x10 * Kind::Set as u8;
const SORTED_SET: u8 = 0x10 * Kind::SortedSet as u8;
const STREAM: u8 = 0x10 * Kind::Stream as u8;
const FLUSH: u8 = 0xf0;
const SWAP: u8 = 0xf1;

impl<'a> Op<'a> {
    fn code(&self) -> u8 {
        match self {
            Self::Delete => 0,
            Self::ExpireAt(_) => 1,
            Self::Persist => 2,
            Self::Rename { .. } => 3,
            Self::String(op) => STRING | op.code(),
            Self::List(op) => LIST | op.code(),
            Self::Hash(op) => HASH | op.code(),
            Self::Set(op) => SET | op.code(),
            Self::SortedSet(op) => SORTED_SET | op.code(),
            Self::Stream(op) => STREAM | op.code(),
        }
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        match self {
            Self::Delete | Self::Persist => {}
            Self::ExpireAt(at) => put_varint(out, *at),
            Self::Rename { to } => put_bytes(out, to),
            Self::String(op) => op.encode(out),
            Self::List(op) => op.encode(out),
            Self::Hash(op) => op.encode(out),
            Self::Set(op) => op.encode(out),
            Self::SortedSet(op) => op.encode(out),
            Self::Stream(op) => op.encode(out),
        }
    }

    /// Whether somebody who waits for the key may get something by it, or be told that what it waits on is gone: the only place that
    /// says so.
    pub const fn may_wake(&self) -> bool {
        match self {
            Self::Delete | Self::Rename { .. } | Self::List(_) | Self::SortedSet(_) => true,
            Self::String(StringOp::Set { .. } | StringOp::Replace { .. }) => true,
            Self::Stream(op) => matches!(op, StreamOp::Add { .. } | StreamOp::RemoveGroup { .. }),
            Self::String(_) | Self::Hash(_) | Self::Set(_) | Self::ExpireAt(_) | Self::Persist => false,
        }
    }

    /// Whether WATCH takes it for a change of the key: what consumer groups do to a stream is none, as in Redis.
    pub const fn is_change_to_watchers(&self) -> bool {
        !matches!(self, Self::Stream(op) if op.is_of_a_group())
    }

    /// Reads an op without key and keyspace, as [`encode_bare`] writes it.
    pub fn decode_bare(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let code = cursor.u8()?;
        let op = Self::decode_payload(code, &mut cursor)?;
        cursor.finish()?;
        Ok(op)
    }

    fn decode_payload(code: u8, cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        Ok(match code & 0xf0 {
            0 => match code {
                0 => Self::Delete,
                1 => Self::ExpireAt(cursor.varint()?),
                2 => Self::Persist,
                3 => Self::Rename { to: cursor.bytes()? },
                _ => return Err(Malformed("unknown op on a key")),
            },
            STRING => Self::String(StringOp::decode(code & 0xf, cursor)?),
            LIST => Self::List(ListOp::decode(code & 0xf, cursor)?),
            HASH => Self::Hash(HashOp::decode(code & 0xf, cursor)?),
            SET => Self::Set(SetOp::decode(code & 0xf, cursor)?),
            SORTED_SET => Self::SortedSet(SortedSetOp::decode(code & 0xf, cursor)?),
            STREAM => Self::Stream(StreamOp::decode(code & 0xf, cursor)?),
            _ => return Err(Malformed("op of an unknown type")),
        })
    }
}

/// Appends an op on a key to a record's body.
#[inline]
pub fn encode_key_op(out: &mut Vec<u8>, space: SpaceId, key: &[u8], op: &Op<'_>) {
    length_prefixed(out, |out| {
        out.push(op.code());
        put_varint(out, u64::from(space));
        put_bytes(out, key);
        op.encode_payload(out);
    });
}

/// Appends `code | payload`: an op of a row, whose key and keyspace stand elsewhere.
#[inline]
pub fn encode_bare(out: &mut Vec<u8>, op: &Op<'_>) {
    out.push(op.code());
    op.encode_payload(out);
}

/// Appends an op on databases to a record's body.
pub fn encode_space_op(out: &mut Vec<u8>, op: &SpaceOp) {
    length_prefixed(out, |out| match *op {
        SpaceOp::Flush { db, space } => {
            out.push(FLUSH);
            put_varint(out, u64::from(db));
            put_varint(out, u64::from(space));
        }
        SpaceOp::Swap { a, b } => {
            out.push(SWAP);
            put_varint(out, u64::from(a));
            put_varint(out, u64::from(b));
        }
    });
}

/// Writes a varint length before what `write` appends. Most ops are short: one byte is set aside, a longer length moves the op.
#[inline]
fn length_prefixed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(0);
    write(out);
    let len = (out.len() - start - 1) as u64;
    let extra = varint_len(len) - 1;
    if extra == 0 {
        out[start] = len as u8;
        return;
    }
    let body_end = out.len();
    out.resize(body_end + extra, 0);
    out.copy_within(start + 1..body_end, start + 1 + extra);
    let mut prefix = smallvec::SmallVec::<[u8; 10]>::new();
    let mut rest = len;
    while rest >= 0x80 {
        prefix.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    prefix.push(rest as u8);
    out[start..=start + extra].copy_from_slice(&prefix);
}

/// What an op does to what was there: enough to see which ops before it are void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The key is as if it had never been.
    Removes,
    /// Nothing of what was there remains.
    Replaces,
    /// Only the expiry remains.
    ReplacesValue,
    /// A string is another; it stays a key.
    ChangesString,
    /// Only the expiry is another.
    SetsExpiry,
    /// Anything else: the key may even cease to be.
    Changes,
}

impl Effect {
    /// That of an op as [`encode_bare`] writes it, told by its code alone.
    pub fn of(bare: &[u8]) -> Self {
        match bare.first() {
            Some(0) => Self::Removes,
            Some(1 | 2) => Self::SetsExpiry,
            Some(code) if code & 0xf0 == STRING => match code & 0xf {
                0 | 1 => Self::Replaces,
                2 => Self::ReplacesValue,
                _ => Self::ChangesString,
            },
            _ => Self::Changes,
        }
    }

    /// Whether all ops before are void.
    pub const fn is_fresh_start(self) -> bool {
        matches!(self, Self::Removes | Self::Replaces)
    }
}

/// The ops of a record's body, in order.
#[derive(Debug, Clone, Copy)]
pub struct Ops<'a>(Cursor<'a>);

impl<'a> AnyOp<'a> {
    /// Reads one op, without the length before it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let code = cursor.u8()?;
        let op = if code < 0xf0 {
            let space = narrow(cursor.varint()?)?;
            let key = cursor.bytes()?;
            Self::Key { space, key, op: Op::decode_payload(code, &mut cursor)? }
        } else {
            let (first, second) = (narrow(cursor.varint()?)?, narrow(cursor.varint()?)?);
            Self::Space(match code {
                FLUSH => SpaceOp::Flush { db: first, space: second },
                SWAP => SpaceOp::Swap { a: first, b: second },
                _ => return Err(Malformed("unknown op on databases")),
            })
        };
        cursor.finish()?;
        Ok(op)
    }
}

/// An op that was read as far as it takes to tell who applies it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Routed<'a> {
    /// `bytes` are for [`AnyOp::decode`]; what the op does to the key was not looked at.
    Key {
        key: &'a [u8],
        bytes: &'a [u8],
    },
    Space(SpaceOp),
}

impl<'a> Ops<'a> {
    pub const fn new(body: &'a [u8]) -> Self {
        Self(Cursor::new(body))
    }

    /// As `next`, without decoding what an op does to its key.
    #[inline]
    pub fn next_routed(&mut self) -> Option<Result<Routed<'a>, Malformed>> {
        self.step(|bytes| {
            let mut cursor = Cursor::new(bytes);
            if cursor.u8()? < 0xf0 {
                narrow(cursor.varint()?)?;
                return Ok(Routed::Key { key: cursor.bytes()?, bytes });
            }
            match AnyOp::decode(bytes)? {
                AnyOp::Space(op) => Ok(Routed::Space(op)),
                AnyOp::Key { key, .. } => Ok(Routed::Key { key, bytes }),
            }
        })
    }

    /// Ends after the first malformed op.
    #[inline]
    fn step<T>(
        &mut self,
        decode: impl FnOnce(&'a [u8]) -> Result<T, Malformed>,
    ) -> Option<Result<T, Malformed>> {
        if self.0.is_empty() {
            return None;
        }
        let op = self.0.bytes().and_then(decode);
        if op.is_err() {
            self.0 = Cursor::new(&[]);
        }
        Some(op)
    }
}

fn narrow(value: u64) -> Result<u32, Malformed> {
    u32::try_from(value).map_err(|_| Malformed("a 32-bit id is larger"))
}

impl<'a> Iterator for Ops<'a> {
    type Item = Result<AnyOp<'a>, Malformed>;

    /// Ends after the first malformed op.
    fn next(&mut self) -> Option<Self::Item> {
        self.step(AnyOp::decode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_op() -> impl Strategy<Value = (u32, Vec<u8>, Vec<u8>, u64, u8)> {
        (any::<u32>(), any::<Vec<u8>>(), proptest::collection::vec(any::<u8>(), 0..400), any::<u64>(), 0u8..9)
    }

    fn make(bytes: &[u8], number: u64, which: u8) -> Op<'_> {
        match which {
            0 => Op::Delete,
            1 => Op::ExpireAt(number),
            2 => Op::Persist,
            3 => Op::Rename { to: bytes },
            4 => Op::String(StringOp::Set { value: bytes, expire_at: Some(number) }),
            5 => Op::String(StringOp::Replace { value: bytes }),
            6 => Op::String(StringOp::SetRange { offset: number, bytes }),
            7 => Op::String(StringOp::SetBit { offset: number, bit: true }),
            _ => Op::String(StringOp::Set { value: bytes, expire_at: None }),
        }
    }

    proptest! {
        #[test]
        fn records_decode_to_the_ops_they_were_made_of(ops in proptest::collection::vec(any_op(), 0..20)) {
            let mut body = Vec::new();
            for (space, key, bytes, number, which) in &ops {
                encode_key_op(&mut body, *space, key, &make(bytes, *number, *which));
                encode_space_op(&mut body, &SpaceOp::Flush { db: *space, space: 3 });
            }
            let mut decoded = Ops::new(&body);
            for (space, key, bytes, number, which) in &ops {
                let mut bare = Vec::new();
                encode_bare(&mut bare, &make(bytes, *number, *which));
                prop_assert_eq!(Op::decode_bare(&bare), Ok(make(bytes, *number, *which)));
                let effect = [Effect::Removes, Effect::SetsExpiry, Effect::SetsExpiry, Effect::Changes, Effect::Replaces,
                    Effect::ReplacesValue, Effect::ChangesString, Effect::ChangesString, Effect::Replaces];
                prop_assert_eq!(Effect::of(&bare), effect[usize::from(*which)]);
                bare.push(0);
                prop_assert!(Op::decode_bare(&bare).is_err());
                let expected = AnyOp::Key { space: *space, key, op: make(bytes, *number, *which) };
                prop_assert_eq!(decoded.next(), Some(Ok(expected)));
                prop_assert_eq!(decoded.next(), Some(Ok(AnyOp::Space(SpaceOp::Flush { db: *space, space: 3 }))));
            }
            prop_assert_eq!(decoded.next(), None);
        }

        #[test]
        fn any_bytes_are_ops_or_malformed(body in any::<Vec<u8>>()) {
            let mut routed = Ops::new(&body);
            for op in Ops::new(&body) {
                match (op, routed.next_routed()) {
                    (Ok(AnyOp::Space(op)), Some(Ok(Routed::Space(same)))) => prop_assert_eq!(op, same),
                    (Ok(AnyOp::Key { key, .. }), Some(Ok(Routed::Key { key: same, .. }))) => prop_assert_eq!(key, same),
                    // Its payload was not looked at.
                    (Err(e), Some(Ok(Routed::Key { bytes, .. }))) => prop_assert_eq!(AnyOp::decode(bytes), Err(e)),
                    (Err(e), Some(Err(same))) => prop_assert_eq!(e, same),
                    (op, other) => prop_assert!(false, "{op:?} and {other:?}"),
                }
            }
        }
    }
}
