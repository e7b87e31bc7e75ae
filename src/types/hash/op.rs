//! What can happen to a hash, and the codec of that.

use crate::codec::{Cursor, Malformed, put_varint};
use crate::types::CollectionOp;
use crate::types::strings::Strings;

/// A change to the hash at a key. An absent key reads as an empty hash. Times in Unix milliseconds.
///
/// ```text
/// Set, SetKeepTtl = strings: field, value, field, value, ...
/// Remove, Persist = strings: fields
/// Expire          = at varint | strings: fields
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HashOp<'a> {
    /// Fields get values, and no longer expire. New ones go behind the others.
    Set { pairs: Strings<'a> },
    /// Fields get values; those that expire still do.
    SetKeepTtl { pairs: Strings<'a> },
    /// Fields, all of which exist, are removed.
    Remove { fields: Strings<'a> },
    /// Fields, all of which exist, expire at a time.
    ExpireFields { at_ms: u64, fields: Strings<'a> },
    /// Fields, all of which exist, no longer expire.
    PersistFields { fields: Strings<'a> },
}

impl<'a> HashOp<'a> {
    pub fn set(pairs: impl Into<Strings<'a>>) -> Self {
        Self::Set { pairs: pairs.into() }
    }

    pub fn set_keep_ttl(pairs: impl Into<Strings<'a>>) -> Self {
        Self::SetKeepTtl { pairs: pairs.into() }
    }

    pub fn remove(fields: impl Into<Strings<'a>>) -> Self {
        Self::Remove { fields: fields.into() }
    }

    pub fn expire(at_ms: u64, fields: impl Into<Strings<'a>>) -> Self {
        Self::ExpireFields { at_ms, fields: fields.into() }
    }

    pub fn persist(fields: impl Into<Strings<'a>>) -> Self {
        Self::PersistFields { fields: fields.into() }
    }
}

fn pairs<'a>(cursor: &mut Cursor<'a>) -> Result<Strings<'a>, Malformed> {
    let strings = Strings::decode(cursor)?;
    if strings.len() % 2 == 0 { Ok(strings) } else { Err(Malformed("a field without a value")) }
}

impl<'a> CollectionOp<'a> for HashOp<'a> {
    fn code(&self) -> u8 {
        match self {
            Self::Set { .. } => 0,
            Self::SetKeepTtl { .. } => 1,
            Self::Remove { .. } => 2,
            Self::ExpireFields { .. } => 3,
            Self::PersistFields { .. } => 4,
        }
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Set { pairs: strings }
            | Self::SetKeepTtl { pairs: strings }
            | Self::Remove { fields: strings }
            | Self::PersistFields { fields: strings } => strings.encode(out),
            Self::ExpireFields { at_ms, fields } => {
                put_varint(out, *at_ms);
                fields.encode(out);
            }
        }
    }

    fn decode(code: u8, cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        Ok(match code {
            0 => Self::Set { pairs: pairs(cursor)? },
            1 => Self::SetKeepTtl { pairs: pairs(cursor)? },
            2 => Self::Remove { fields: Strings::decode(cursor)? },
            3 => Self::ExpireFields { at_ms: cursor.varint()?, fields: Strings::decode(cursor)? },
            4 => Self::PersistFields { fields: Strings::decode(cursor)? },
            _ => return Err(Malformed("unknown hash op")),
        })
    }
}
