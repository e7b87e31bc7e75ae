//! A record: what is applied whole or not at all.
//!
//! ```text
//! | body length, varint | body |
//! ```
//!
//! The *stream* is all records since the store began, one behind the other; an LSN is an offset in it. The body is opaque here.

use crate::codec::{Cursor, Malformed, VARINT_MAX_LEN, varint_len};

/// Bytes that a record with this body takes in the stream.
pub const fn record_len(body_len: usize) -> usize {
    varint_len(body_len as u64) + body_len
}

/// The varint that stands before a body: its bytes and how many of them count.
pub fn prefix(body_len: usize) -> ([u8; VARINT_MAX_LEN], usize) {
    let mut out = [0; VARINT_MAX_LEN];
    let mut value = body_len as u64;
    let mut at = 0;
    while value >= 0x80 {
        out[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    out[at] = value as u8;
    (out, at + 1)
}

/// Takes the next body off a payload of whole records.
pub fn next<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Malformed> {
    cursor.bytes()
}

/// The body of a record that was put together from its pieces.
pub fn whole(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut cursor = Cursor::new(bytes);
    let body = cursor.bytes()?;
    cursor.finish()?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::put_bytes;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prefix_is_the_codecs_varint(len in any::<usize>()) {
            let mut expected = Vec::new();
            crate::codec::put_varint(&mut expected, len as u64);
            let (bytes, used) = prefix(len);
            prop_assert_eq!(&bytes[..used], &expected[..]);
        }

        #[test]
        fn records_read_back(bodies in prop::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let mut stream = Vec::new();
            let mut len = 0;
            for body in &bodies {
                put_bytes(&mut stream, body);
                len += record_len(body.len());
            }
            prop_assert_eq!(stream.len(), len);
            let mut cursor = Cursor::new(&stream);
            for body in &bodies {
                prop_assert_eq!(next(&mut cursor).unwrap(), &body[..]);
            }
            prop_assert!(cursor.is_empty());
        }

        #[test]
        fn any_bytes_are_a_record_or_an_error(bytes in any::<Vec<u8>>()) {
            let _ = whole(&bytes);
        }
    }
}
