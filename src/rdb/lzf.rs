//! LZF, the compression of strings in RDB files: read only.
//!
//! ```text
//! 000nnnnn                 n + 1 bytes follow as they are
//! nnnooooo o8              n + 2 bytes again from o + 1 bytes back, n in 1..=6
//! 111ooooo n8 o8           n8 + 9 bytes again
//! ```

use crate::codec::{Cursor, Malformed};

/// What three bytes can stand for at the most.
const LEN_MAX_OF_THREE: usize = 264;
/// Longest result: the longest string that Redis takes unless it is told otherwise.
const LEN_MAX: usize = 512 << 20;

/// The `len` bytes that `packed` stands for.
pub fn decompress(packed: &[u8], len: usize) -> Result<Vec<u8>, Malformed> {
    if len > LEN_MAX || len > packed.len().saturating_mul(LEN_MAX_OF_THREE / 3) {
        return Err(Malformed("a compressed string says that it is longer than it can be"));
    }
    let mut out = Vec::with_capacity(len);
    let mut cursor = Cursor::new(packed);
    while !cursor.is_empty() {
        let head = cursor.u8()?;
        let (count, offset) = (usize::from(head >> 5), usize::from(head & 0x1f));
        if count == 0 {
            out.extend_from_slice(cursor.take(offset + 1)?);
        } else {
            let count = if count == 7 { 7 + usize::from(cursor.u8()?) } else { count } + 2;
            let back = (offset << 8 | usize::from(cursor.u8()?)) + 1;
            let from =
                out.len().checked_sub(back).ok_or(Malformed("a compressed string reaches before itself"))?;
            if count <= back {
                out.extend_from_within(from..from + count);
            } else {
                // What is copied overlaps what is written: a run.
                (from..from + count).for_each(|at| out.push(out[at]));
            }
        }
        if out.len() > len {
            return Err(Malformed("a compressed string is longer than it says"));
        }
    }
    if out.len() == len { Ok(out) } else { Err(Malformed("a compressed string is shorter than it says")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn runs_and_copies_are_written_out() {
        assert_eq!(decompress(b"\x02abc\x20\x02", 6), Ok(b"abcabc".to_vec()));
        assert_eq!(decompress(b"\x00a\xe0\x5a\x00", 100), Ok(vec![b'a'; 100]));
        assert_eq!(decompress(b"", 0), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (packed, len) in [
            (&b"\x02abc"[..], 4),
            (b"\x02abc", 2),
            (b"\x05abc", 6),
            (b"\x00a\x20\x01", 4),
            (b"\x00a\x20", 4),
            (b"\x00a\xe0", 100),
            (b"\x00a", usize::MAX),
            (b"\x00a", 1 << 40),
        ] {
            assert!(decompress(packed, len).is_err(), "{packed:?} {len}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_string_or_malformed(packed in any::<Vec<u8>>(), len in 0usize..3000) {
            if let Ok(out) = decompress(&packed, len) {
                prop_assert_eq!(out.len(), len);
            }
        }
    }
}
