//! What can happen to a string value, and the codec of that. The bytes themselves live in the key's entry.

use crate::codec::{Cursor, Malformed, put_bytes, put_varint};
use crate::resp::number::parse_i64;
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
    /// Bytes instead of `removed` ones from an offset on: what lies behind them moves.
    Splice { offset: u64, removed: u64, bytes: &'a [u8] },
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
            Self::Splice { .. } => 7,
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
            Self::Splice { offset, removed, bytes } => {
                put_varint(out, offset);
                put_varint(out, removed);
                put_bytes(out, bytes);
            }
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
            7 => Self::Splice { offset: cursor.varint()?, removed: cursor.varint()?, bytes: cursor.bytes()? },
            _ => return Err(Malformed("unknown string op")),
        })
    }
}

/// Longest string that Redis keeps in one piece with its header.
const EMBSTR_LEN_MAX: usize = 44;

/// Redis' name for the representation of a string (OBJECT ENCODING): `raw` for one that was appended to or written into.
pub fn encoding(value: &[u8], changed_in_place: bool) -> &'static str {
    if changed_in_place || value.len() > EMBSTR_LEN_MAX {
        "raw"
    } else if parse_i64(value).is_some() {
        "int"
    } else {
        "embstr"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_op(bytes: &[u8], number: u64, which: u8) -> StringOp<'_> {
        match which {
            0 => StringOp::Set { value: bytes, expire_at: None },
            1 => StringOp::Set { value: bytes, expire_at: Some(number) },
            2 => StringOp::Replace { value: bytes },
            3 => StringOp::Append { bytes },
            4 => StringOp::SetRange { offset: number, bytes },
            5 => StringOp::SetBit { offset: number, bit: true },
            6 => StringOp::Splice { offset: number, removed: number / 2, bytes },
            _ => StringOp::SetBit { offset: number, bit: false },
        }
    }

    proptest! {
        #[test]
        fn ops_are_read_back(bytes in any::<Vec<u8>>(), number in any::<u64>(), which in 0u8..8) {
            let op = any_op(&bytes, number, which);
            let mut out = Vec::new();
            op.encode(&mut out);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(StringOp::decode(op.code(), &mut cursor), Ok(op));
            prop_assert_eq!(cursor.finish(), Ok(()));
        }

        #[test]
        fn any_bytes_are_an_op_or_malformed(bytes in any::<Vec<u8>>(), code in any::<u8>()) {
            let _ = StringOp::decode(code, &mut Cursor::new(&bytes));
        }
    }

    #[test]
    fn encodings_are_those_of_redis() {
        assert_eq!(encoding(b"12", false), "int");
        assert_eq!(encoding(b"12", true), "raw");
        assert_eq!(encoding(b"9223372036854775808", false), "embstr");
        assert_eq!(encoding(b"012", false), "embstr");
        assert_eq!(encoding(&[b'a'; 44], false), "embstr");
        assert_eq!(encoding(&[b'a'; 45], false), "raw");
    }
}
