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
}
