//! Where a key lives: its Redis Cluster slot (CRC16 with hash tags) and its 64-bit hash.
//!
//! The hash is keyed with a seed of the store that no client sees, so nobody can make keys collide on purpose, and it is
//! the same after every restart, so that files may be ordered by (slot, hash).

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

/// The CRC16 tables of XMODEM (polynomial 0x1021) for four bytes at a time.
const CRC16: [[u16; 256]; 4] = {
    let mut tables = [[0u16; 256]; 4];
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
    while t < 4 {
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

fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0u16;
    let mut chunks = bytes.chunks_exact(4);
    for c in &mut chunks {
        crc = CRC16[3][usize::from((crc >> 8) as u8 ^ c[0])]
            ^ CRC16[2][usize::from(crc as u8 ^ c[1])]
            ^ CRC16[1][usize::from(c[2])]
            ^ CRC16[0][usize::from(c[3])];
    }
    for &byte in chunks.remainder() {
        crc = (crc << 8) ^ CRC16[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

/// The Redis Cluster slot of a key: of the part between the first `{` and the next `}` if that is not empty.
pub fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|&b| b == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        rest.iter().position(|&b| b == b'}').filter(|&len| len > 0).map(|len| &rest[..len])
    });
    crc16(tag.unwrap_or(key)) % SLOTS as u16
}

const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xe703_7ed1_a0b4_28db;
const K2: u64 = 0x8ebc_6af0_9c88_c6e3;

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("the slice is eight bytes long"))
}

/// A keyed 64-bit hash by folded multiplication. Stable: part of the format of sorted files.
#[inline]
pub fn hash_bytes(bytes: &[u8], seed: u64) -> u64 {
    let len = bytes.len();
    let mut state = seed ^ K0 ^ (len as u64).wrapping_mul(K1);
    let mut rest = bytes;
    while rest.len() > 16 {
        state = fold(word(rest) ^ state, word(&rest[8..]) ^ K1 ^ seed);
        rest = &rest[16..];
    }
    let (a, b) = match rest.len() {
        8.. => (word(rest), word(&rest[rest.len() - 8..])),
        4.. => {
            let half = |at: usize| {
                u64::from(u32::from_le_bytes(rest[at..at + 4].try_into().expect("four bytes are there")))
            };
            (half(0), half(rest.len() - 4))
        }
        1.. => {
            let middle = u64::from(rest[rest.len() / 2]);
            (u64::from(rest[0]) << 8 | middle, u64::from(rest[rest.len() - 1]))
        }
        0 => (0, 0),
    };
    let mixed = fold(a ^ K2 ^ state, b ^ state.rotate_left(32) ^ seed);
    fold(mixed ^ K0, state ^ K1)
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
    }

    #[test]
    fn hashes_of_similar_keys_spread_over_all_bits() {
        let mut low = [0u32; 256];
        let mut high = [0u32; 256];
        for i in 0..65536 {
            let h = hash_bytes(format!("key:{i}").as_bytes(), 7);
            low[(h & 255) as usize] += 1;
            high[(h >> 56) as usize] += 1;
        }
        for count in low.iter().chain(&high) {
            assert!((150..370).contains(count), "a bin of {count}, 256 expected");
        }
    }
}
