//! A leaf of the tree: some rows side by side, in one allocation.
//!
//! ```text
//! leaf = scores f64 * n | starts u16 * n | fingerprints u8 * n | members, one behind the other
//! ```
//!
//! Scores stand together because a search reads nothing else until it meets an equal one; fingerprints because a member is
//! found by comparing them first. A start counts from the first member's first byte. A leaf does not check that what it is
//! told keeps the order.

use std::cmp::Ordering;
use std::ops::Range;

use crate::prefetch::{LINE, prefetch};
use crate::types::packed;

/// Most rows of a leaf.
pub const ROWS_MAX: usize = 64;
/// Most bytes of a leaf that has more than one row: few enough to be moved on every insertion, and for starts of 16 bits.
pub const BYTES_MAX: usize = 4096;
/// A row of more bytes has a leaf of its own. So the halves of a full leaf always have room for one row more.
pub const ROW_BYTES_MAX: usize = BYTES_MAX / 4;
/// Bytes asked for in advance: about as many cache lines as a processor waits for at a time.
const PREFETCHED: usize = 24 * LINE;
/// What a row costs beside its member.
const ROW: usize = size_of::<f64>() + size_of::<u16>() + 1;
/// In place of a leaf's number: there is none.
pub const NO_LEAF: u32 = u32::MAX;

/// A place between rows: behind those with a lower score, and behind some of those with the same one.
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    pub score: f64,
    /// Among rows of this score, the place before this member; without one, before all.
    pub member: Option<&'a [u8]>,
    /// Behind that member rather than before it, or behind all of this score.
    pub or_equal: bool,
}

impl<'a> Bound<'a> {
    pub const fn at_row(score: f64, member: &'a [u8]) -> Self {
        Self { score, member: Some(member), or_equal: false }
    }

    pub const fn at_score(score: f64, or_equal: bool) -> Self {
        Self { score, member: None, or_equal }
    }

    /// Whether a row of the bound's own score lies before it.
    pub fn is_behind(&self, member: &[u8]) -> bool {
        match self.member.map(|own| member.cmp(own)) {
            None => self.or_equal,
            Some(order) => order == Ordering::Less || self.or_equal && order == Ordering::Equal,
        }
    }

    /// Whether a row lies before the bound.
    pub fn is_behind_row(&self, score: f64, member: &[u8]) -> bool {
        score < self.score || score == self.score && self.is_behind(member)
    }
}

#[derive(Debug)]
pub struct Leaf {
    bytes: Vec<u8>,
    rows: u16,
    /// Neighbours in the order of rows.
    pub before: u32,
    pub after: u32,
}

impl Default for Leaf {
    fn default() -> Self {
        Self { bytes: Vec::new(), rows: 0, before: NO_LEAF, after: NO_LEAF }
    }
}

impl Leaf {
    pub const fn len(&self) -> usize {
        self.rows as usize
    }

    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    #[cfg(test)]
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn heap_bytes(&self) -> usize {
        packed::good_size(self.bytes.capacity())
    }

    /// Whether a row of a member this long has a leaf of its own.
    pub const fn is_large(member_len: usize) -> bool {
        ROW + member_len > ROW_BYTES_MAX
    }

    /// Whether it holds such a row.
    pub const fn holds_large(&self) -> bool {
        self.rows == 1 && self.bytes.len() > ROW_BYTES_MAX
    }

    /// Whether one row more may come in.
    pub const fn has_room(&self, member_len: usize) -> bool {
        let fits = self.len() < ROWS_MAX && self.bytes.len() + ROW + member_len <= BYTES_MAX;
        self.is_empty() || fits && !Self::is_large(member_len) && !self.holds_large()
    }

    /// Whether so little is left that it should go together with a neighbour.
    pub const fn is_sparse(&self) -> bool {
        self.len() < ROWS_MAX / 4 && self.bytes.len() < BYTES_MAX / 4
    }

    /// Whether the rows of both fit one leaf and leave some room.
    pub const fn can_absorb(&self, other: &Self) -> bool {
        self.len() + other.len() <= ROWS_MAX / 4 * 3
            && self.bytes.len() + other.bytes.len() <= BYTES_MAX / 4 * 3
            && !self.holds_large()
            && !other.holds_large()
    }

    /// Asks for all its memory at once; what reads it afterwards would wait for one piece after the other.
    #[inline]
    pub fn prefetch(&self) {
        self.bytes[..self.bytes.len().min(PREFETCHED)].iter().step_by(LINE).for_each(|byte| prefetch(byte));
    }

    const fn starts_at(&self) -> usize {
        self.len() * size_of::<f64>()
    }

    const fn fingerprints_at(&self) -> usize {
        self.len() * (size_of::<f64>() + size_of::<u16>())
    }

    const fn members_at(&self) -> usize {
        self.len() * ROW
    }

    #[inline]
    pub fn score(&self, row: usize) -> f64 {
        let bytes = self.bytes[row * 8..row * 8 + 8].try_into().expect("the slice is eight bytes long");
        f64::from_le_bytes(bytes)
    }

    pub fn set_score(&mut self, row: usize, score: f64) {
        self.bytes[row * 8..row * 8 + 8].copy_from_slice(&score.to_le_bytes());
    }

    #[inline]
    fn start(&self, row: usize) -> usize {
        if row == self.len() {
            return self.bytes.len() - self.members_at();
        }
        let at = self.starts_at() + row * 2;
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]) as usize
    }

    /// Adds to the starts from a row on.
    fn shift_starts(&mut self, from: usize, by: isize) {
        let (start, end) = (self.starts_at() + from * 2, self.fingerprints_at());
        for word in self.bytes[start..end].as_chunks_mut::<2>().0 {
            *word = u16::from_le_bytes(*word).wrapping_add(by as u16).to_le_bytes();
        }
    }

    #[inline]
    pub fn member(&self, row: usize) -> &[u8] {
        let members = self.members_at();
        &self.bytes[members + self.start(row)..members + self.start(row + 1)]
    }

    #[inline]
    pub fn row(&self, row: usize) -> (f64, &[u8]) {
        (self.score(row), self.member(row))
    }

    pub fn last(&self) -> Option<(f64, &[u8])> {
        Some(self.row(self.len().checked_sub(1)?))
    }

    pub fn rows(&self) -> impl Iterator<Item = (f64, &[u8])> {
        self.rows_of(0..self.len())
    }

    /// Some rows, one behind the other, of those there are.
    #[inline]
    pub fn rows_of(&self, rows: Range<usize>) -> impl Iterator<Item = (f64, &[u8])> {
        let scores = self.bytes[..self.starts_at()].as_chunks::<8>().0[rows.clone()].iter();
        let members = &self.bytes[self.members_at()..];
        let starts = self.bytes[self.starts_at()..self.fingerprints_at()].as_chunks::<2>().0;
        let start_of = |start: &[u8; 2]| u16::from_le_bytes(*start) as usize;
        let mut start = starts.get(rows.start).map_or(members.len(), start_of);
        let ends = starts[rows.end.min(rows.start + 1)..].iter().map(start_of).chain([members.len()]);
        scores.zip(ends).map(move |(score, end)| {
            let member = &members[start..end];
            start = end;
            (f64::from_le_bytes(*score), member)
        })
    }

    /// Number of rows before a bound.
    #[inline]
    pub fn count_before(&self, bound: &Bound<'_>) -> usize {
        let scores = self.bytes[..self.starts_at()].as_chunks::<8>().0;
        let low = scores.partition_point(|score| f64::from_le_bytes(*score) < bound.score);
        let is_equal = |row: usize| row < self.len() && self.score(row) == bound.score;
        if !is_equal(low) {
            return low;
        }
        let (mut low, mut high) = (low, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if is_equal(middle) && bound.is_behind(self.member(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Rows with a fingerprint.
    #[inline]
    pub fn with_fingerprint(&self, fingerprint: u8) -> impl Iterator<Item = usize> {
        const LOW: u64 = 0x0101_0101_0101_0101;
        let (words, rest) = self.bytes[self.fingerprints_at()..self.members_at()].as_chunks::<8>();
        let in_word = move |(at, word): (usize, &[u8; 8])| {
            // Bytes that are equal become zero, and then their top bits one; a few others' top bits may, too.
            let other = u64::from_le_bytes(*word) ^ (LOW * u64::from(fingerprint));
            let mut hits = other.wrapping_sub(LOW) & !other & (LOW << 7);
            std::iter::from_fn(move || {
                let bit = (hits != 0).then_some(hits.trailing_zeros())?;
                hits &= hits - 1;
                Some(at * 8 + bit as usize / 8)
            })
        };
        let tail = words.len() * 8;
        let in_rest = rest.iter().enumerate().filter(move |(_, byte)| **byte == fingerprint);
        words.iter().enumerate().flat_map(in_word).chain(in_rest.map(move |(at, _)| tail + at))
    }

    #[inline]
    pub fn find(&self, fingerprint: u8, member: &[u8]) -> Option<usize> {
        self.with_fingerprint(fingerprint).find(|&row| self.member(row) == member)
    }

    /// A row at a place where it keeps the order; there is room for it.
    pub fn insert(&mut self, row: usize, score: f64, member: &[u8], fingerprint: u8) {
        debug_assert!(self.has_room(member.len()), "the caller has made room");
        let (starts, fingerprints, members) = (self.starts_at(), self.fingerprints_at(), self.members_at());
        let (start, end) = (self.start(row), self.bytes.len());
        self.shift_starts(row, member.len() as isize);
        let len = end + ROW + member.len();
        if len > self.bytes.capacity() {
            self.bytes.reserve_exact(packed::good_size(len) - end);
        }
        self.bytes.resize(len, 0);
        // From the back to the front, so that nothing is overwritten before it has moved.
        let bytes = &mut self.bytes[..];
        bytes.copy_within(members + start..end, members + start + ROW + member.len());
        bytes[members + start + ROW..][..member.len()].copy_from_slice(member);
        bytes.copy_within(fingerprints + row..members + start, fingerprints + row + ROW);
        bytes[fingerprints + row + 10] = fingerprint;
        bytes.copy_within(starts + row * 2..fingerprints + row, starts + row * 2 + 10);
        bytes[starts + row * 2 + 8..][..2].copy_from_slice(&(start as u16).to_le_bytes());
        bytes.copy_within(row * 8..starts + row * 2, row * 8 + 8);
        bytes[row * 8..][..8].copy_from_slice(&score.to_le_bytes());
        self.rows += 1;
    }

    fn close_gap(&mut self, first: usize, end: usize) {
        let (starts, fingerprints, members) = (self.starts_at(), self.fingerprints_at(), self.members_at());
        let (from, to) = (self.start(first), self.start(end));
        let gone = end - first;
        self.shift_starts(end, -((to - from) as isize));
        let len = self.bytes.len();
        let bytes = &mut self.bytes[..];
        bytes.copy_within(end * 8..starts + first * 2, first * 8);
        bytes.copy_within(starts + end * 2..fingerprints + first, starts + first * 2 - gone * 8);
        bytes.copy_within(fingerprints + end..members + from, fingerprints + first - gone * 10);
        bytes.copy_within(members + to..len, members + from - gone * ROW);
        self.bytes.truncate(len - gone * ROW - (to - from));
        self.rows -= gone as u16;
    }

    /// Removes rows.
    pub fn remove(&mut self, rows: Range<usize>) {
        self.close_gap(rows.start, rows.end);
        self.give_back();
    }

    fn give_back(&mut self) {
        let size = packed::good_size(self.bytes.len());
        if size <= self.bytes.capacity() / 2 {
            self.bytes.shrink_to(size);
        }
    }

    /// Gives a row another score and the place that belongs to it: `to` counts the other rows before it.
    pub fn move_row(&mut self, from: usize, to: usize, score: f64) {
        let members = self.members_at();
        let (start, end) = (self.start(from), self.start(from + 1));
        let (low, high) = (from.min(to), from.max(to));
        let len = end - start;
        let turn = |bytes: &mut [u8], size: usize| match from <= to {
            true => bytes.rotate_left(size),
            false => bytes.rotate_right(size),
        };
        let (first, last) = (members + self.start(low), members + self.start(high + 1));
        let place = self.start(to + usize::from(from <= to));
        turn(&mut self.bytes[first..last], len);
        let (starts, fingerprints) = (self.starts_at(), self.fingerprints_at());
        turn(&mut self.bytes[low * 8..high * 8 + 8], 8);
        turn(&mut self.bytes[starts + low * 2..starts + high * 2 + 2], 2);
        turn(&mut self.bytes[fingerprints + low..fingerprints + high + 1], 1);
        // Those in between have moved by the length of the row.
        let (between, by, own) = match from <= to {
            true => (low..high, (len as u16).wrapping_neg(), place - len),
            false => (low + 1..high + 1, len as u16, place),
        };
        for word in self.bytes[starts + between.start * 2..starts + between.end * 2].as_chunks_mut::<2>().0 {
            *word = u16::from_le_bytes(*word).wrapping_add(by).to_le_bytes();
        }
        self.bytes[starts + to * 2..starts + to * 2 + 2].copy_from_slice(&(own as u16).to_le_bytes());
        self.set_score(to, score);
    }

    /// Number of rows of the first half, by bytes: some, but not all of at least two.
    pub fn half(&self) -> usize {
        let half = self.bytes.len() / 2;
        let before = |row: usize| row * ROW + self.start(row);
        let (mut low, mut high) = (1, self.len() - 1);
        while low < high {
            let middle = low.midpoint(high);
            if before(middle) < half { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Takes the rows from one on into a leaf of their own.
    pub fn split_off(&mut self, row: usize) -> Self {
        let mut tail = Self::default();
        tail.push_rows(self, row);
        self.remove(row..self.len());
        tail
    }

    /// Copies the rows of another leaf, from one on, behind the last; there is room for them.
    pub fn push_rows(&mut self, other: &Self, from: usize) {
        let (old, new) = (self.len(), other.len() - from);
        let taken = other.members_at() + other.start(from);
        let len = self.bytes.len() + new * ROW + other.bytes.len() - taken;
        let mut bytes = Vec::with_capacity(packed::good_size(len));
        let part =
            |leaf: &Self, at: usize, size: usize, from: usize| at + from * size..at + leaf.len() * size;
        bytes.extend_from_slice(&self.bytes[part(self, 0, 8, 0)]);
        bytes.extend_from_slice(&other.bytes[part(other, 0, 8, from)]);
        bytes.extend_from_slice(&self.bytes[part(self, self.starts_at(), 2, 0)]);
        bytes.extend_from_slice(&other.bytes[part(other, other.starts_at(), 2, from)]);
        bytes.extend_from_slice(&self.bytes[part(self, self.fingerprints_at(), 1, 0)]);
        bytes.extend_from_slice(&other.bytes[part(other, other.fingerprints_at(), 1, from)]);
        bytes.extend_from_slice(&self.bytes[self.members_at()..]);
        bytes.extend_from_slice(&other.bytes[taken..]);
        let by = self.start(old) as isize - other.start(from) as isize;
        self.bytes = bytes;
        self.rows += new as u16;
        self.shift_starts(old, by);
    }
}
