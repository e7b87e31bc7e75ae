//! What can happen to a string value, and the codec of that. The bytes themselves live in the key's entry.

use crate::codec::{Cursor, Malformed, put_bytes, put_varint};
use crate::types::CollectionOp;

/// A change to the string at a key. An absent key reads as an empty string, except that `Set` makes one anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StringOp<'a> {
    /// Whatever was there is replaced, its expiry too. `expire_at` in Unix milliseconds.
    Set { value: &'a [u8], expire_at: Option<u64> },
    /// The bytes are replaced, the expiry stays (INCR, SET KEEPTTL).
    Replace { value: &'a [u8] },
    /// Bytes behind the end.
    Append { bytes: &'a [u8] },
    /// Bytes from an offset on, zeros in between if the string was shorter.
    SetRange { offset: u64, bytes: &'a [u8] },
    /// One bit, counted from the highest of the first byte.
    SetBit { offset: u64, bit: bool },
}

impl<'a> CollectionOp<'a> for StringOp<'a> {
    fn code(&self) -> u8 {
        match self {
            Self::Set { expire_at: None, .. } => 0,
            Self::Set { expire_at: Some(_), .. } => 1,
            Self::Replace { .. } => 2,
            Self::Append { .. } => 3,
            Self::SetRange { .. } => 4,
            Self::SetBit { bit: false, .. } => 5,
            Self::SetBit { bit: true, .. } => 6,
        }
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Set { value, expire_at } => {
                if let Some(at) = expire_at {
                    put_varint(out, at);
                }
                put_bytes(out, value);
            }
            Self::Replace { value } => put_bytes(out, value),
            Self::Append { bytes } => put_bytes(out, bytes),
            Self::SetRange { offset, bytes } => {
                put_varint(out, offset);
                put_bytes(out, bytes);
            }
            Self::SetBit { offset, .. } => put_varint(out, offset),
        }
    }

    fn decode(code: u8, cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        Ok(match code {
            0 => Self::Set { value: cursor.bytes()?, expire_at: None },
            1 => {
                let expire_at = Some(cursor.varint()?);
                Self::Set { value: cursor.bytes()?, expire_at }
            }
            2 => Self::Replace { value: cursor.bytes()? },
            3 => Self::Append { bytes: cursor.bytes()? },
            4 => Self::SetRange { offset: cursor.varint()?, bytes: cursor.bytes()? },
            5 | 6 => Self::SetBit { offset: cursor.varint()?, bit: code == 6 },
            _ => return Err(Malformed("unknown string op")),
        })
    }
}
