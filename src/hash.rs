//! A keyed hash of byte strings: of keys in the keyspace, of members in collections.

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
