//! Bits of byte strings: counting, finding, combining, and integers of any width at any place. Bytes only, no commands.
//!
//! Bit 0 is the highest of the first byte, as in Redis. Whole words are worked on wherever there are some.

use std::ops::Range;

const WORD: usize = size_of::<u64>();

/// Number of ones.
pub(super) fn count_ones(bytes: &[u8]) -> u64 {
    // Sums of 31 words of byte counts at most 8 each fit bytes: no carry between them.
    const BLOCK: usize = 31 * WORD;
    let mut blocks = bytes.chunks_exact(BLOCK);
    let mut sum = 0;
    for block in &mut blocks {
        let (words, _) = block.as_chunks::<WORD>();
        let mut counts = 0u64;
        for word in words {
            counts += counts_of_bytes(u64::from_le_bytes(*word));
        }
        sum += sum_of_bytes(counts);
    }
    let (words, rest) = blocks.remainder().as_chunks::<WORD>();
    sum += words.iter().map(|word| u64::from(u64::from_le_bytes(*word).count_ones())).sum::<u64>();
    sum + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// In each byte the number of its ones.
#[inline]
const fn counts_of_bytes(word: u64) -> u64 {
    const PAIRS: u64 = 0x5555_5555_5555_5555;
    const NIBBLES: u64 = 0x3333_3333_3333_3333;
    const BYTES: u64 = 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = word - (word >> 1 & PAIRS);
    let nibbles = (pairs & NIBBLES) + (pairs >> 2 & NIBBLES);
    (nibbles + (nibbles >> 4)) & BYTES
}

const fn sum_of_bytes(word: u64) -> u64 {
    const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
    ((word & EVEN) + (word >> 8 & EVEN)).wrapping_mul(0x0001_0001_0001_0001) >> 48
}

/// Number of ones among the bits of `range`, which must lie in `bytes`.
pub(super) fn count_ones_in(bytes: &[u8], range: Range<u64>) -> u64 {
    if range.is_empty() {
        return 0;
    }
    let (first, last) = ((range.start / 8) as usize, ((range.end - 1) / 8) as usize);
    // What lies around the range in its first and last byte.
    let before = bytes[first] & !head_mask(range.start);
    let behind = bytes[last] & !tail_mask(range.end);
    count_ones(&bytes[first..=last]) - u64::from(before.count_ones()) - u64::from(behind.count_ones())
}

/// The bits of its byte that lie at or behind a place.
const fn head_mask(place: u64) -> u8 {
    0xff >> (place % 8)
}

/// The bits of the last byte that lie before the end of a range which is not empty.
const fn tail_mask(end: u64) -> u8 {
    !(0x7f >> ((end - 1) % 8))
}

/// Place of the first `bit` within `range`, which must lie in `bytes`.
pub(super) fn find(bytes: &[u8], bit: bool, range: Range<u64>) -> Option<u64> {
    if range.is_empty() {
        return None;
    }
    let (first, last) = ((range.start / 8) as usize, ((range.end - 1) / 8) as usize);
    // Ones in `flipped` bytes are what is looked for.
    let flip = if bit { 0 } else { 0xff };
    let place_in = |at: usize, byte: u8| at as u64 * 8 + u64::from(byte.leading_zeros());
    let head = (bytes[first] ^ flip) & head_mask(range.start);
    let found = if head != 0 {
        place_in(first, head)
    } else {
        let skipped = (first + 1).min(last + 1);
        let at = skipped + bytes[skipped..=last].len().min(first_unlike(&bytes[skipped..=last], flip));
        if at > last {
            return None;
        }
        place_in(at, bytes[at] ^ flip)
    };
    (found < range.end).then_some(found)
}

/// Index of the first byte that differs from `usual`; the length if there is none.
fn first_unlike(bytes: &[u8], usual: u8) -> usize {
    const BLOCK: usize = 8 * WORD;
    let pattern = u64::from_le_bytes([usual; WORD]);
    let same = |block: &[u8]| {
        block.as_chunks::<WORD>().0.iter().fold(0, |all, word| all | (u64::from_le_bytes(*word) ^ pattern))
            == 0
    };
    let skipped = bytes.chunks_exact(BLOCK).take_while(|block| same(block)).count() * BLOCK;
    let rest = &bytes[skipped..];
    skipped + rest.iter().position(|&byte| byte != usual).unwrap_or(rest.len())
}

/// What BITOP does to two strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Combine {
    And,
    Or,
    Xor,
}

/// Combines `other` into `sum`, as if zeros stood behind the shorter one.
pub(super) fn combine(how: Combine, sum: &mut Vec<u8>, other: &[u8]) {
    if sum.len() < other.len() {
        sum.resize(other.len(), 0);
    }
    let (both, longer) = sum.split_at_mut(other.len());
    match how {
        Combine::And => {
            zip_words(both, other, |a, b| a & b);
            longer.fill(0);
        }
        Combine::Or => zip_words(both, other, |a, b| a | b),
        Combine::Xor => zip_words(both, other, |a, b| a ^ b),
    }
}

/// `sum[i] = f(sum[i], other[i])`, bit by bit; both are of one length.
#[inline]
fn zip_words(sum: &mut [u8], other: &[u8], f: impl Fn(u64, u64) -> u64) {
    let (sum_words, sum_rest) = sum.as_chunks_mut::<WORD>();
    let (other_words, other_rest) = other.as_chunks::<WORD>();
    for (sum, other) in sum_words.iter_mut().zip(other_words) {
        *sum = f(u64::from_le_bytes(*sum), u64::from_le_bytes(*other)).to_le_bytes();
    }
    for (sum, other) in sum_rest.iter_mut().zip(other_rest) {
        *sum = f(u64::from(*sum), u64::from(*other)) as u8;
    }
}

/// Flips every bit.
pub(super) fn invert(bytes: &mut [u8]) {
    let (words, rest) = bytes.as_chunks_mut::<WORD>();
    words.iter_mut().for_each(|word| *word = (!u64::from_le_bytes(*word)).to_le_bytes());
    rest.iter_mut().for_each(|byte| *byte = !*byte);
}

/// Bytes that an integer of at most 64 bits may touch.
pub(super) const WINDOW: usize = WORD + 1;

/// The bytes that hold `width` bits (1..=64) from `offset` on.
pub(super) const fn window(offset: u64, width: u32) -> Range<u64> {
    offset / 8..(offset + width as u64).div_ceil(8)
}

/// Reads `width` bits (1..=64) from `offset` on, the highest first. Behind the end of `bytes` there are zeros.
pub(super) fn read_bits(bytes: &[u8], offset: u64, width: u32) -> u64 {
    let mut wide = [0; size_of::<u128>()];
    let start = usize::try_from(offset / 8).unwrap_or(usize::MAX).min(bytes.len());
    let len = (bytes.len() - start).min(WINDOW);
    wide[..len].copy_from_slice(&bytes[start..start + len]);
    let bits = u128::from_be_bytes(wide) << (offset % 8);
    (bits >> (u128::BITS - width)) as u64
}

/// Writes the lowest `width` bits of `value` at `offset`, which must lie in `bytes`.
pub(super) fn write_bits(bytes: &mut [u8], offset: u64, width: u32, value: u64) {
    let range = window(offset, width);
    let target = &mut bytes[range.start as usize..range.end as usize];
    let mut wide = [0; size_of::<u128>()];
    wide[..target.len()].copy_from_slice(target);
    let place = u128::BITS - width - (offset % 8) as u32;
    let mask = (u128::MAX >> (u128::BITS - width)) << place;
    let bits = u128::from_be_bytes(wide) & !mask | (u128::from(value) << place & mask);
    target.copy_from_slice(&bits.to_be_bytes()[..target.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bit(bytes: &[u8], place: u64) -> bool {
        bytes.get((place / 8) as usize).is_some_and(|byte| byte << (place % 8) & 0x80 != 0)
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let few = prop_oneof![8 => Just(0u8), 1 => any::<u8>()];
        let many = prop_oneof![8 => Just(0xffu8), 1 => any::<u8>()];
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..600),
            prop::collection::vec(few, 0..600),
            prop::collection::vec(many, 0..600),
        ]
    }

    proptest! {
        #[test]
        fn counts_and_places_are_those_found_bit_by_bit(bytes in bytes(), a in any::<u64>(), b in any::<u64>()) {
            let len = bytes.len() as u64 * 8;
            let (a, b) = (a % (len + 1), b % (len + 1));
            let range = a.min(b)..a.max(b);
            let ones = range.clone().filter(|&place| bit(&bytes, place)).count() as u64;
            prop_assert_eq!(count_ones_in(&bytes, range.clone()), ones);
            prop_assert_eq!(count_ones_in(&bytes, 0..len), count_ones(&bytes));
            for wanted in [false, true] {
                let first = range.clone().find(|&place| bit(&bytes, place) == wanted);
                prop_assert_eq!(find(&bytes, wanted, range.clone()), first);
            }
        }

        #[test]
        fn combinations_are_those_made_bit_by_bit(a in bytes(), b in bytes()) {
            let len = a.len().max(b.len());
            for how in [Combine::And, Combine::Or, Combine::Xor] {
                let mut sum = a.clone();
                combine(how, &mut sum, &b);
                prop_assert_eq!(sum.len(), len);
                for place in 0..len as u64 * 8 {
                    let (x, y) = (bit(&a, place), bit(&b, place));
                    let expected = match how {
                        Combine::And => x & y,
                        Combine::Or => x | y,
                        Combine::Xor => x ^ y,
                    };
                    prop_assert_eq!(bit(&sum, place), expected);
                }
            }
            let mut flipped = a.clone();
            invert(&mut flipped);
            prop_assert!(flipped.iter().zip(&a).all(|(x, y)| *x == !*y));
        }

        #[test]
        fn integers_are_read_and_written_bit_by_bit(
            bytes in prop::collection::vec(any::<u8>(), 0..20),
            offset in 0u64..200,
            width in 1u32..=64,
            value in any::<u64>(),
        ) {
            let read = (0..u64::from(width)).fold(0, |sum, i| sum << 1 | u64::from(bit(&bytes, offset + i)));
            prop_assert_eq!(read_bits(&bytes, offset, width), read);
            prop_assert!(window(offset, width).end - window(offset, width).start <= WINDOW as u64);
            let mut written = bytes.clone();
            written.resize(40, 0);
            let before = written.clone();
            write_bits(&mut written, offset, width, value);
            prop_assert_eq!(read_bits(&written, offset, width), value & (u64::MAX >> (64 - width)));
            for place in (0..320).filter(|place| !(offset..offset + u64::from(width)).contains(place)) {
                prop_assert_eq!(bit(&written, place), bit(&before, place));
            }
        }
    }
}
