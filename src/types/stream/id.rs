//! Entry ids: a time in milliseconds and a sequence number within it.

use std::fmt;

use crate::codec::{Cursor, Malformed, put_varint};

/// Ids order by time, then by sequence number. Entries never have the id 0-0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId {
    /// Unix time in milliseconds, unless the client chose otherwise.
    pub ms: u64,
    pub seq: u64,
}

impl StreamId {
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The smallest id above; `None` after the last.
    pub const fn next(self) -> Option<Self> {
        match (self.seq.checked_add(1), self.ms.checked_add(1)) {
            (Some(seq), _) => Some(Self { ms: self.ms, seq }),
            (None, Some(ms)) => Some(Self { ms, seq: 0 }),
            (None, None) => None,
        }
    }

    /// The largest id below; `None` before 0-0.
    pub const fn previous(self) -> Option<Self> {
        match (self.seq.checked_sub(1), self.ms.checked_sub(1)) {
            (Some(seq), _) => Some(Self { ms: self.ms, seq }),
            (None, Some(ms)) => Some(Self { ms, seq: u64::MAX }),
            (None, None) => None,
        }
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        put_varint(out, self.ms);
        put_varint(out, self.seq);
    }

    pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Ok(Self { ms: cursor.varint()?, seq: cursor.varint()? })
    }

    /// Appends an id above `before`. Ids of one millisecond take two bytes each.
    pub(super) fn encode_after(self, before: Self, out: &mut Vec<u8>) {
        debug_assert!(self > before || before == Self::MIN);
        put_varint(out, self.ms - before.ms);
        put_varint(out, if self.ms == before.ms { self.seq - before.seq } else { self.seq });
    }

    /// Reads what [`Self::encode_after`] wrote: an id above `before`, or 0-0 and more if that is 0-0.
    pub(super) fn decode_after(cursor: &mut Cursor<'_>, before: Self) -> Result<Self, Malformed> {
        let wrong = Malformed("ids are not in ascending order");
        let (ms, seq) = (cursor.varint()?, cursor.varint()?);
        let id = match ms {
            0 => Self { ms: before.ms, seq: before.seq.checked_add(seq).ok_or(wrong)? },
            _ => Self { ms: before.ms.checked_add(ms).ok_or(wrong)?, seq },
        };
        if id > before || before == Self::MIN { Ok(id) } else { Err(wrong) }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}
