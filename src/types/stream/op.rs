//! What can happen to a stream, and the codec of that.

use std::fmt;

use crate::codec::{Cursor, Malformed, put_bytes, put_signed, put_varint};
use crate::types::CollectionOp;
use crate::types::strings::Strings;

use super::id::StreamId;

/// A change to the stream at a key. An absent key reads as an empty stream; a stream left empty stays. Times are Unix
/// milliseconds.
///
/// ```text
/// id             = ms varint | seq varint
/// ids            = count varint | count * step                         ascending
/// step           = ms - the last id's ms varint | seq varint, less the last id's in the same millisecond
/// Add            = id | strings: names and values in turn
/// Trim           = count varint | forget u8
/// Delete         = ids | forget u8
/// Reset          = last id | max deleted id | entries added varint
/// SetGroup       = group bytes | last id | entries read + 1 varint, 0: unknown
/// RemoveGroup    = group bytes
/// SetConsumer    = group bytes | consumer bytes | seen varint | active + 1 varint, 0: never
/// RemoveConsumer = group bytes | consumer bytes
/// Deliver        = group bytes | consumer bytes | at varint | count varint | pend u8
/// Assign         = group bytes | consumer bytes | at + 1 varint, 0: none | count varint
///                  | count * (step | delivered signed, less the last one's (first: less `at`) | deliveries varint)
/// Acknowledge    = group bytes | ids
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StreamOp<'a> {
    /// An entry behind the last id.
    Add { id: StreamId, fields: Strings<'a> },
    /// The first `count` entries, all of which exist, are removed; with `forget` also from whatever group they are pending in.
    Trim { count: u64, forget: bool },
    /// Entries, all of which exist, are removed; with `forget` also from whatever group they are pending in.
    Delete { ids: Ids<'a>, forget: bool },
    /// The stream's own numbers. `last_id` is not below any entry's.
    Reset { last_id: StreamId, max_deleted_id: StreamId, entries_added: u64 },
    /// A group is made, or set to another place.
    SetGroup { group: &'a [u8], last_id: StreamId, entries_read: Option<u64> },
    /// An existing group is removed with all that is pending in it.
    RemoveGroup { group: &'a [u8] },
    /// A consumer of an existing group is made, or was seen.
    SetConsumer { group: &'a [u8], consumer: &'a [u8], seen_ms: u64, active_ms: Option<u64> },
    /// An existing consumer is removed with all that is pending for it.
    RemoveConsumer { group: &'a [u8], consumer: &'a [u8] },
    /// The next `count` entries behind the group's last id, all of which exist, go to a consumer for the first time: the group moves
    /// on, they are pending if `pend`. The consumer is made if it doesn't exist, and was seen and active at `at_ms`.
    Deliver { group: &'a [u8], consumer: &'a [u8], at_ms: u64, count: u64, pend: bool },
    /// Entries are pending for a consumer from now on, whoever had them. With `at_ms` the consumer is made if it doesn't exist, and was
    /// seen and active then; without, it exists and is left as it is.
    Assign { group: &'a [u8], consumer: &'a [u8], at_ms: Option<u64>, rows: Pendings<'a> },
    /// Entries, all of which are pending in the group, are so no more.
    Acknowledge { group: &'a [u8], ids: Ids<'a> },
}

impl StreamOp<'_> {
    /// Whether it leaves the entries and the stream's own numbers as they are.
    pub const fn is_of_a_group(&self) -> bool {
        match self {
            Self::Add { .. } | Self::Trim { .. } | Self::Delete { .. } | Self::Reset { .. } => false,
            Self::SetGroup { .. }
            | Self::RemoveGroup { .. }
            | Self::SetConsumer { .. }
            | Self::RemoveConsumer { .. }
            | Self::Deliver { .. }
            | Self::Assign { .. }
            | Self::Acknowledge { .. } => true,
        }
    }
}

/// Ids in ascending order, without a copy from where they come: a slice, or a record.
#[derive(Clone, Copy)]
pub struct Ids<'a>(IdSource<'a>);

#[derive(Clone, Copy)]
enum IdSource<'a> {
    Slice(&'a [StreamId]),
    /// Checked by `decode`.
    Encoded {
        count: usize,
        bytes: &'a [u8],
    },
}

impl<'a> Ids<'a> {
    /// Each is above the one before.
    pub fn new(ids: &'a [StreamId]) -> Self {
        debug_assert!(ids.is_sorted_by(|a, b| a < b));
        Self(IdSource::Slice(ids))
    }

    fn decode(cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let count = cursor.len()?;
        let start = cursor.rest();
        let mut last = StreamId::MIN;
        for at in 0..count {
            let id = StreamId::decode_after(cursor, last)?;
            if at > 0 && id <= last {
                return Err(Malformed("ids are not in ascending order"));
            }
            last = id;
        }
        let bytes = &start[..start.len() - cursor.rest().len()];
        Ok(Self(IdSource::Encoded { count, bytes }))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        let mut last = StreamId::MIN;
        for id in self.iter() {
            id.encode_after(last, out);
            last = id;
        }
    }

    pub const fn len(&self) -> usize {
        match self.0 {
            IdSource::Slice(ids) => ids.len(),
            IdSource::Encoded { count, .. } => count,
        }
    }

    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = StreamId> + use<'a> {
        let (mut slice, mut cursor) = match self.0 {
            IdSource::Slice(ids) => (ids.iter(), Cursor::new(&[])),
            IdSource::Encoded { bytes, .. } => ([].iter(), Cursor::new(bytes)),
        };
        let mut last = StreamId::MIN;
        std::iter::from_fn(move || match slice.next() {
            Some(id) => Some(*id),
            None if cursor.is_empty() => None,
            None => {
                last = StreamId::decode_after(&mut cursor, last).ok()?;
                Some(last)
            }
        })
    }
}

impl PartialEq for Ids<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|id| id.to_string())).finish()
    }
}

/// An entry that was delivered and not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingRow {
    pub id: StreamId,
    /// When it was delivered last.
    pub delivered_ms: u64,
    /// How often.
    pub deliveries: u64,
}

/// Pending entries in ascending order of their ids, without a copy from where they come.
#[derive(Clone, Copy)]
pub struct Pendings<'a>(PendingSource<'a>);

#[derive(Clone, Copy)]
enum PendingSource<'a> {
    Slice(&'a [PendingRow]),
    /// Checked by `decode`. `from_ms` is what the first time is told from.
    Encoded {
        count: usize,
        bytes: &'a [u8],
        from_ms: u64,
    },
}

impl<'a> Pendings<'a> {
    /// Each id is above the one before.
    pub fn new(rows: &'a [PendingRow]) -> Self {
        debug_assert!(rows.is_sorted_by(|a, b| a.id < b.id));
        Self(PendingSource::Slice(rows))
    }

    fn row(cursor: &mut Cursor<'_>, last: StreamId, last_ms: u64) -> Result<PendingRow, Malformed> {
        let id = StreamId::decode_after(cursor, last)?;
        let delivered_ms = last_ms.wrapping_add_signed(cursor.signed()?);
        Ok(PendingRow { id, delivered_ms, deliveries: cursor.varint()? })
    }

    fn decode(cursor: &mut Cursor<'a>, from_ms: u64) -> Result<Self, Malformed> {
        let count = cursor.len()?;
        let start = cursor.rest();
        let (mut last, mut last_ms) = (StreamId::MIN, from_ms);
        for at in 0..count {
            let row = Self::row(cursor, last, last_ms)?;
            if at > 0 && row.id <= last {
                return Err(Malformed("ids are not in ascending order"));
            }
            (last, last_ms) = (row.id, row.delivered_ms);
        }
        let bytes = &start[..start.len() - cursor.rest().len()];
        Ok(Self(PendingSource::Encoded { count, bytes, from_ms }))
    }

    fn encode(&self, from_ms: u64, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        let (mut last, mut last_ms) = (StreamId::MIN, from_ms);
        for row in self.iter() {
            row.id.encode_after(last, out);
            put_signed(out, row.delivered_ms.wrapping_sub(last_ms) as i64);
            put_varint(out, row.deliveries);
            (last, last_ms) = (row.id, row.delivered_ms);
        }
    }

    pub const fn len(&self) -> usize {
        match self.0 {
            PendingSource::Slice(rows) => rows.len(),
            PendingSource::Encoded { count, .. } => count,
        }
    }

    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = PendingRow> + use<'a> {
        let (mut slice, mut cursor, mut last_ms) = match self.0 {
            PendingSource::Slice(rows) => (rows.iter(), Cursor::new(&[]), 0),
            PendingSource::Encoded { bytes, from_ms, .. } => ([].iter(), Cursor::new(bytes), from_ms),
        };
        let mut last = StreamId::MIN;
        std::iter::from_fn(move || match slice.next() {
            Some(row) => Some(*row),
            None if cursor.is_empty() => None,
            None => {
                let row = Self::row(&mut cursor, last, last_ms).ok()?;
                (last, last_ms) = (row.id, row.delivered_ms);
                Some(row)
            }
        })
    }
}

impl PartialEq for Pendings<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Pendings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// 0 for none.
fn put_optional(out: &mut Vec<u8>, number: Option<u64>) {
    put_varint(out, number.map_or(0, |number| number.saturating_add(1)));
}

fn optional(cursor: &mut Cursor<'_>) -> Result<Option<u64>, Malformed> {
    Ok(cursor.varint()?.checked_sub(1))
}

fn flag(cursor: &mut Cursor<'_>) -> Result<bool, Malformed> {
    match cursor.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed("a flag is neither 0 nor 1")),
    }
}

impl<'a> CollectionOp<'a> for StreamOp<'a> {
    fn code(&self) -> u8 {
        match self {
            Self::Add { .. } => 0,
            Self::Trim { .. } => 1,
            Self::Delete { .. } => 2,
            Self::Reset { .. } => 3,
            Self::SetGroup { .. } => 4,
            Self::RemoveGroup { .. } => 5,
            Self::SetConsumer { .. } => 6,
            Self::RemoveConsumer { .. } => 7,
            Self::Deliver { .. } => 8,
            Self::Assign { .. } => 9,
            Self::Acknowledge { .. } => 10,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Add { id, fields } => {
                id.encode(out);
                fields.encode(out);
            }
            Self::Trim { count, forget } => {
                put_varint(out, *count);
                out.push(u8::from(*forget));
            }
            Self::Delete { ids, forget } => {
                ids.encode(out);
                out.push(u8::from(*forget));
            }
            Self::Reset { last_id, max_deleted_id, entries_added } => {
                last_id.encode(out);
                max_deleted_id.encode(out);
                put_varint(out, *entries_added);
            }
            Self::SetGroup { group, last_id, entries_read } => {
                put_bytes(out, group);
                last_id.encode(out);
                put_optional(out, *entries_read);
            }
            Self::RemoveGroup { group } => put_bytes(out, group),
            Self::SetConsumer { group, consumer, seen_ms, active_ms } => {
                put_bytes(out, group);
                put_bytes(out, consumer);
                put_varint(out, *seen_ms);
                put_optional(out, *active_ms);
            }
            Self::RemoveConsumer { group, consumer } => {
                put_bytes(out, group);
                put_bytes(out, consumer);
            }
            Self::Deliver { group, consumer, at_ms, count, pend } => {
                put_bytes(out, group);
                put_bytes(out, consumer);
                put_varint(out, *at_ms);
                put_varint(out, *count);
                out.push(u8::from(*pend));
            }
            Self::Assign { group, consumer, at_ms, rows } => {
                put_bytes(out, group);
                put_bytes(out, consumer);
                put_optional(out, *at_ms);
                rows.encode(at_ms.unwrap_or(0), out);
            }
            Self::Acknowledge { group, ids } => {
                put_bytes(out, group);
                ids.encode(out);
            }
        }
    }

    fn decode(code: u8, cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        Ok(match code {
            0 => Self::Add { id: StreamId::decode(cursor)?, fields: Strings::decode(cursor)? },
            1 => Self::Trim { count: cursor.varint()?, forget: flag(cursor)? },
            2 => Self::Delete { ids: Ids::decode(cursor)?, forget: flag(cursor)? },
            3 => Self::Reset {
                last_id: StreamId::decode(cursor)?,
                max_deleted_id: StreamId::decode(cursor)?,
                entries_added: cursor.varint()?,
            },
            4 => Self::SetGroup {
                group: cursor.bytes()?,
                last_id: StreamId::decode(cursor)?,
                entries_read: optional(cursor)?,
            },
            5 => Self::RemoveGroup { group: cursor.bytes()? },
            6 => Self::SetConsumer {
                group: cursor.bytes()?,
                consumer: cursor.bytes()?,
                seen_ms: cursor.varint()?,
                active_ms: optional(cursor)?,
            },
            7 => Self::RemoveConsumer { group: cursor.bytes()?, consumer: cursor.bytes()? },
            8 => Self::Deliver {
                group: cursor.bytes()?,
                consumer: cursor.bytes()?,
                at_ms: cursor.varint()?,
                count: cursor.varint()?,
                pend: flag(cursor)?,
            },
            9 => {
                let (group, consumer, at_ms) = (cursor.bytes()?, cursor.bytes()?, optional(cursor)?);
                Self::Assign { group, consumer, at_ms, rows: Pendings::decode(cursor, at_ms.unwrap_or(0))? }
            }
            10 => Self::Acknowledge { group: cursor.bytes()?, ids: Ids::decode(cursor)? },
            _ => return Err(Malformed("unknown stream op")),
        })
    }
}
