//! A sorted set: members with scores, in the order of (score, member).
//!
//! A small set is one sequence, a large one a tree with an index of its members: see [`Small`] and [`Large`]. A set that has
//! become large stays so, as in Redis. A score of -0 is stored as 0: they are equal, and what is printed must not depend on the
//! representation.

use std::ops::Range;

use crate::types::limits::{self, ZSET_MAX_LISTPACK_ENTRIES, ZSET_MAX_LISTPACK_VALUE};
use crate::types::small_or::{SmallOr, Which};
use crate::types::{Collection, Misfit, REBUILD_BYTES};

use super::large::{self, Large};
use super::leaf::Bound;
use super::small::{self, Small};

pub use super::op::{Rows, SortedSetOp};

#[derive(Debug, Default)]
#[expect(clippy::len_without_is_empty, reason = "it is `Collection::is_empty`")]
pub struct SortedSet(SmallOr<Small, Large>);

/// What readers ask. Ranks count from 0, the lowest score.
impl SortedSet {
    pub fn len(&self) -> usize {
        match self.0.get() {
            Which::Small(small) => small.len(),
            Which::Large(large) => large.len(),
        }
    }

    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self.0.get() {
            Which::Small(small) => small.score(member),
            Which::Large(large) => large.score(member),
        }
    }

    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        match self.0.get() {
            Which::Small(small) => small.rank(member),
            Which::Large(large) => large.rank(member),
        }
    }

    /// The member with a rank.
    pub fn at(&self, rank: usize) -> Option<(f64, &[u8])> {
        if rank < self.len() { self.range(rank..rank + 1).next() } else { None }
    }

    /// Members by ascending rank; the range lies within `0..len`.
    pub fn range(&self, ranks: Range<usize>) -> impl DoubleEndedIterator<Item = (f64, &[u8])> {
        assert!(ranks.start <= ranks.end && ranks.end <= self.len(), "a range within the length");
        match self.0.get() {
            Which::Small(small) => Walk::Small { small, offsets: small.offsets(ranks).into_iter() },
            Which::Large(large) => Walk::Large(large.range(ranks)),
        }
    }

    /// Number of members whose score is lower than `score`, or also equal to it.
    pub fn count_below(&self, score: f64, or_equal: bool) -> usize {
        self.count(&Bound::at_score(score, or_equal))
    }

    /// Where all scores are equal: number of members that come before `member`, or also are it.
    pub fn count_before(&self, member: &[u8], or_equal: bool) -> usize {
        match self.0.get() {
            Which::Small(small) => {
                let bound = Bound { score: 0.0, member: Some(member), or_equal };
                small.rows().position(|(_, other)| !bound.is_behind(other)).unwrap_or(small.len())
            }
            Which::Large(_) => {
                let score = self.at(0).map_or(0.0, |row| row.0);
                self.count(&Bound { score, member: Some(member), or_equal })
            }
        }
    }

    fn count(&self, bound: &Bound<'_>) -> usize {
        match self.0.get() {
            Which::Small(small) => small
                .rows()
                .position(|(score, member)| !bound.is_behind_row(score, member))
                .unwrap_or(small.len()),
            Which::Large(large) => large.count_before(bound),
        }
    }

    /// All, in ascending order.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = (f64, &[u8])> {
        self.range(0..self.len())
    }

    /// Visits some members from a position on (0 to begin with) and returns the position to go on from, `None` at the end.
    /// Members that are there from beginning to end are visited, however the set and their scores change in between. A small
    /// set is visited as a whole, in order; a large one in no order that callers could use.
    pub fn scan<'a>(&'a self, from: u64, visit: &mut dyn FnMut(f64, &'a [u8])) -> Option<u64> {
        match self.0.get() {
            Which::Small(small) => {
                small.rows().for_each(|(score, member)| visit(score, member));
                None
            }
            Which::Large(large) => large.scan(from, visit),
        }
    }
}

impl SortedSet {
    fn set(&mut self, score: f64, member: &[u8]) {
        // Makes 0 of -0.
        let score = score + 0.0;
        if let Which::Small(small) = self.0.get() {
            let too_long = member.len() > limits::get(&ZSET_MAX_LISTPACK_VALUE);
            let too_many = small.len() >= limits::get(&ZSET_MAX_LISTPACK_ENTRIES).min(small::ROWS_MAX);
            if (too_long || too_many) && small.score(member).is_none() {
                let mut large = Large::default();
                small.rows().for_each(|(score, member)| large.set(score, member));
                self.0 = SmallOr::large(large);
            }
        }
        match self.0.get_mut() {
            Which::Small(small) => small.set(score, member),
            Which::Large(large) => large.set(score, member),
        }
    }

    fn remove(&mut self, member: &[u8]) -> bool {
        match self.0.get_mut() {
            Which::Small(small) => small.remove(member),
            Which::Large(large) => large.remove(member),
        }
    }
}

impl Collection for SortedSet {
    type Op<'a> = SortedSetOp<'a>;

    fn apply(&mut self, op: &SortedSetOp<'_>) -> Result<(), Misfit> {
        const NAN: Misfit = Misfit("a score is not a number");
        match *op {
            SortedSetOp::Set { score, .. } if score.is_nan() => return Err(NAN),
            SortedSetOp::Set { score, member } => self.set(score, member),
            SortedSetOp::SetMany { rows } => {
                if rows.iter().any(|(score, _)| score.is_nan()) {
                    return Err(NAN);
                }
                rows.iter().for_each(|(score, member)| self.set(score, member));
            }
            SortedSetOp::Remove { members } => {
                let mut rest = members.iter();
                // One alone, as nearly always, is looked for once.
                if let (Some(member), None) = (rest.next(), rest.next()) {
                    return if self.remove(member) { Ok(()) } else { Err(Misfit("a member is not there")) };
                }
                if members.iter().any(|member| self.score(member).is_none()) {
                    return Err(Misfit("a member is not there"));
                }
                // A member may be named twice.
                members.iter().for_each(|member| {
                    self.remove(member);
                });
            }
            SortedSetOp::RemoveRange { start, len } => {
                let end = start.checked_add(len).filter(|&end| end <= self.len() as u64);
                let end = end.ok_or(Misfit("a rank over the last"))?;
                let ranks = start as usize..end as usize;
                match self.0.get_mut() {
                    Which::Small(small) => small.remove_range(ranks),
                    Which::Large(large) => large.remove_range(ranks),
                }
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn rebuild(&self, emit: &mut dyn FnMut(SortedSetOp<'_>)) {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        for (score, member) in self.members() {
            let len = size_of::<f64>() + member.len();
            if bytes + len > REBUILD_BYTES && !rows.is_empty() {
                emit(SortedSetOp::SetMany { rows: Rows::from(&rows[..]) });
                rows.clear();
                bytes = 0;
            }
            rows.push((score, member));
            bytes += len;
        }
        if !rows.is_empty() {
            emit(SortedSetOp::SetMany { rows: Rows::from(&rows[..]) });
        }
    }

    fn encoding(&self) -> &'static str {
        match self.0.get() {
            Which::Small(_) => "listpack",
            Which::Large(_) => "skiplist",
        }
    }

    fn heap_bytes(&self) -> usize {
        match self.0.get() {
            Which::Small(small) => small.heap_bytes(),
            Which::Large(large) => large.heap_bytes(),
        }
    }
}

/// Members of a range of ranks.
enum Walk<'a> {
    Small { small: &'a Small, offsets: smallvec::IntoIter<[u32; 16]> },
    Large(large::Walk<'a>),
}

impl<'a> Iterator for Walk<'a> {
    type Item = (f64, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Small { small, offsets } => Some(small.row(offsets.next()?)),
            Self::Large(walk) => walk.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Small { offsets, .. } => offsets.size_hint(),
            Self::Large(walk) => walk.size_hint(),
        }
    }

    #[inline]
    fn fold<B, F: FnMut(B, Self::Item) -> B>(self, init: B, mut f: F) -> B {
        match self {
            Self::Small { small, offsets } => offsets.fold(init, |folded, at| f(folded, small.row(at))),
            Self::Large(walk) => walk.fold(init, f),
        }
    }
}

impl DoubleEndedIterator for Walk<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Small { small, offsets } => Some(small.row(offsets.next_back()?)),
            Self::Large(walk) => walk.next_back(),
        }
    }
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
