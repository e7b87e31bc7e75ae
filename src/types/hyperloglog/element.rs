//! From an element to the register it belongs to, and to the value that the register has at least once the element was added.

/// Number of registers is two to this.
const INDEX_BITS: u32 = 14;
pub(super) const REGISTERS: usize = 1 << INDEX_BITS;
/// Bits of the hash that are left when the index is taken: the largest rank is one more.
pub(super) const RANK_BITS: u32 = 64 - INDEX_BITS;

/// What adding an element does: the register at `index` becomes `rank`, unless it is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Element {
    pub index: u16,
    pub rank: u8,
}

impl Element {
    pub fn of(bytes: &[u8]) -> Self {
        let hash = murmur(bytes, 0xadc8_3b19);
        let index = (hash & (REGISTERS as u64 - 1)) as u16;
        // The highest bit stands for "all the others were zero".
        let rest = hash >> INDEX_BITS | 1 << RANK_BITS;
        Self { index, rank: rest.trailing_zeros() as u8 + 1 }
    }
}

/// MurmurHash64A by Austin Appleby (public domain), words in little-endian order.
fn murmur(bytes: &[u8], seed: u64) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    const SHIFT: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        let mut mixed = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        mixed ^= mixed >> SHIFT;
        hash = (hash ^ mixed.wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !tail.is_empty() {
        let mut word = [0; 8];
        word[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    hash ^= hash >> SHIFT;
    hash = hash.wrapping_mul(FACTOR);
    hash ^ hash >> SHIFT
}
