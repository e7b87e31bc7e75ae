//! Where a key lives: its Redis Cluster slot (CRC16 with hash tags) and its 64-bit hash.
//!
//! The hash is keyed with a seed of the store that no client sees, so nobody can make keys collide on purpose, and it is
//! the same after every restart, so that files may be ordered by (slot, hash).

use crate::hash::hash_bytes;

/// Number of Redis Cluster slots.
pub const SLOTS: usize = 16384;

/// A key with its place, computed once per command.
#[derive(Debug, Clone, Copy)]
pub struct KeyRef<'a> {
    pub bytes: &'a [u8],
    pub hash: u64,
    pub slot: u16,
}

impl<'a> KeyRef<'a> {
    #[inline]
    pub fn new(bytes: &'a [u8], seed: u64) -> Self {
        Self { bytes, hash: hash_bytes(bytes, seed), slot: slot_of(bytes) }
    }
}

/// The CRC16 tables of XMODEM (polynomial 0x1021) for eight bytes at a time: table n is of a byte with n bytes behind it.
const CRC16: [[u16; 256]; 8] = {
    let mut tables = [[0u16; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][i] = crc;
        i += 1;
    }
    let mut t = 1;
    while t < 8 {
        let mut i = 0;
        while i < 256 {
            let previous = tables[t - 1][i];
            tables[t][i] = (previous << 8) ^ tables[0][(previous >> 8) as usize];
            i += 1;
        }
        t += 1;
    }
    tables
};

/// The first `len % 8` bytes as the low bytes of a big-endian number.
#[inline]
fn first_word(bytes: &[u8]) -> (u64, &[u8]) {
    let (first, rest) = bytes.split_at(bytes.len() % 8);
    let word = match first.len() {
        4.. => {
            let half = |at: usize| {
                u64::from(u32::from_be_bytes(first[at..at + 4].try_into().expect("four bytes are there")))
            };
            // The halves overlap: bits that are in both are the same.
            half(0) << (8 * (first.len() - 4)) | half(first.len() - 4)
        }
        _ => first.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    (word, rest)
}

#[inline]
fn crc16(bytes: &[u8]) -> u16 {
    let step = |word: u64| {
        let [a, b, c, d, e, f, g, h] = word.to_be_bytes().map(usize::from);
        CRC16[7][a]
            ^ CRC16[6][b]
            ^ CRC16[5][c]
            ^ CRC16[4][d]
            ^ CRC16[3][e]
            ^ CRC16[2][f]
            ^ CRC16[1][g]
            ^ CRC16[0][h]
    };
    // Zeros in front change nothing, so the odd bytes come first.
    let (first, rest) = first_word(bytes);
    let mut crc = step(first);
    for word in rest.chunks_exact(8) {
        let word = u64::from_be_bytes(word.try_into().expect("eight bytes are there"));
        crc = step(word ^ u64::from(crc) << 48);
    }
    crc
}

/// Whether there is an opening brace: eight bytes at a time, for most keys have none.
#[inline]
fn has_brace(key: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // A byte is a brace where the difference to eight braces is zero; a zero byte borrows into its high bit.
    let in_word = |word: u64| {
        let differences = word ^ (ONES * b'{' as u64);
        differences.wrapping_sub(ONES) & !differences & HIGHS != 0
    };
    let (first, rest) = first_word(key);
    in_word(first)
        || rest
            .chunks_exact(8)
            .any(|word| in_word(u64::from_be_bytes(word.try_into().expect("eight bytes are there"))))
}

/// The Redis Cluster slot of a key: of the part between the first `{` and the next `}` if that is not empty.
#[inline]
pub fn slot_of(key: &[u8]) -> u16 {
    let tag = if has_brace(key) { hash_tag(key) } else { key };
    crc16(tag) % SLOTS as u16
}

fn hash_tag(key: &[u8]) -> &[u8] {
    let tag = key.iter().position(|&b| b == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        rest.iter().position(|&b| b == b'}').filter(|&len| len > 0).map(|len| &rest[..len])
    });
    tag.unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"{foo}bar"), 12182);
        assert_eq!(slot_of(b"a{foo}{bar}"), 12182);
        assert_eq!(slot_of(b"foo{}{bar}"), 8363);
        assert_eq!(slot_of(b""), 0);
    }

    proptest! {
        #[test]
        fn slots_agree_with_redis_protocol(key in any::<Vec<u8>>()) {
            prop_assert_eq!(slot_of(&key), redis_protocol::redis_keyslot(&key));
        }

        #[test]
        fn hash_tags_are_found_wherever_they_stand(key in "[{}|z\\x00-\\x02]{0,40}") {
            prop_assert_eq!(slot_of(key.as_bytes()), redis_protocol::redis_keyslot(key.as_bytes()));
        }
    }
}
