//! A small sorted set: rows in order, one behind the other.
//!
//! ```text
//! row = string of a `Packed`: score | member      marked: the score is an integer, as a zigzag varint; else eight bytes
//! ```

use smallvec::SmallVec;

use crate::codec::VARINT_MAX_LEN;
use crate::types::packed::{self, Item, Packed};
use crate::types::small_or::Word;

use super::leaf::Bound;

/// Integers below this distance from 0 take up to seven bytes.
const INTEGER_MAX: f64 = (1u64 << 48) as f64;

#[repr(transparent)]
#[derive(Debug, Default)]
pub struct Small {
    /// With the number of rows as its count.
    rows: Packed,
}

// `repr(transparent)`, as that asks.
unsafe impl Word for Small {}

/// Most rows of a small set, whatever the limits say.
pub const ROWS_MAX: usize = packed::COUNT_MAX;

type ScoreBytes = SmallVec<[u8; VARINT_MAX_LEN]>;

fn encode(score: f64) -> (ScoreBytes, bool) {
    if score.abs() >= INTEGER_MAX || score.fract() != 0.0 {
        return (ScoreBytes::from_slice(&score.to_le_bytes()), false);
    }
    let number = score as i64;
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    let mut bytes = ScoreBytes::new();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    (bytes, true)
}

#[inline]
fn decode(item: Item<'_>) -> (f64, &[u8]) {
    if !item.marked {
        let (score, member) = item.bytes.split_first_chunk::<8>().expect("rows are written whole");
        return (f64::from_le_bytes(*score), member);
    }
    let (mut raw, mut len) = (0u64, 0);
    loop {
        let byte = item.bytes[len];
        raw |= u64::from(byte & 0x7f) << (7 * len);
        len += 1;
        if byte < 0x80 {
            break;
        }
    }
    (((raw >> 1) as i64 ^ -((raw & 1) as i64)) as f64, &item.bytes[len..])
}

impl Small {
    #[inline]
    pub fn len(&self) -> usize {
        self.rows.count()
    }

    fn set_len(&mut self, len: usize) {
        self.rows.set_count(len);
    }

    /// Rank, row and score of a member.
    #[inline]
    fn find(&self, member: &[u8]) -> Option<(usize, Item<'_>, f64)> {
        for (rank, item) in self.rows.iter().enumerate() {
            // Most members differ in length or in the last byte.
            if item.bytes.last() == member.last() || member.is_empty() {
                let (score, other) = decode(item);
                if other == member {
                    return Some((rank, item, score));
                }
            }
        }
        None
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.find(member).map(|found| found.2)
    }

    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        self.find(member).map(|found| found.0)
    }

    pub fn rows(&self) -> impl Iterator<Item = (f64, &[u8])> {
        self.rows.iter().map(decode)
    }

    /// Offsets of rows.
    pub fn offsets(&self, ranks: std::ops::Range<usize>) -> SmallVec<[u32; 16]> {
        self.rows.iter().map(|item| item.at as u32).skip(ranks.start).take(ranks.len()).collect()
    }

    pub fn row(&self, offset: u32) -> (f64, &[u8]) {
        decode(
            self.rows.item(offset as usize).expect("an offset taken since the last change is one of a row"),
        )
    }

    /// Offset of the first row behind a bound.
    fn offset_of(&self, bound: &Bound<'_>) -> usize {
        let behind = |item: &Item<'_>| {
            let (score, member) = decode(*item);
            !bound.is_behind_row(score, member)
        };
        self.rows.iter().find(behind).map_or(self.rows.end(), |item| item.at)
    }

    pub fn set(&mut self, score: f64, member: &[u8]) {
        let (bytes, is_integer) = encode(score);
        if let Some((_, item, _)) = self.find(member) {
            let range = item.at..item.end;
            self.rows.remove(range);
            self.set_len(self.len() - 1);
        }
        let at = self.offset_of(&Bound::at_row(score, member));
        self.rows.replace(at..at, &[&bytes, member], is_integer);
        self.set_len(self.len() + 1);
    }

    /// False if it is not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let Some((_, item, _)) = self.find(member) else { return false };
        let range = item.at..item.end;
        self.rows.remove(range);
        self.set_len(self.len() - 1);
        true
    }

    /// Removes the rows of a range of ranks within the length.
    pub fn remove_range(&mut self, ranks: std::ops::Range<usize>) {
        let offset = |rank| self.rows.iter().nth(rank).map_or(self.rows.end(), |item| item.at);
        let range = offset(ranks.start)..offset(ranks.end);
        self.rows.remove(range);
        self.set_len(self.len() - ranks.len());
    }

    pub fn heap_bytes(&self) -> usize {
        self.rows.heap_bytes()
    }
}
