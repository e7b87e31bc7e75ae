//! A sorted set: members with scores, in the order of (score, member).

use std::cmp::Ordering;
use std::ops::Range;

use crate::types::{Collection, Misfit};

pub use super::op::{Rows, SortedSetOp};

#[derive(Debug, Default)]
pub struct SortedSet {
    /// By score, then member.
    rows: Vec<(f64, Box<[u8]>)>,
}

/// What readers ask. Ranks count from 0, the lowest score.
impl SortedSet {
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.rows.iter().find(|row| &*row.1 == member).map(|row| row.0)
    }

    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        self.rows.iter().position(|row| &*row.1 == member)
    }

    /// The member with a rank.
    pub fn at(&self, rank: usize) -> Option<(f64, &[u8])> {
        self.rows.get(rank).map(|(score, member)| (*score, &**member))
    }

    /// Members by ascending rank; the range lies within `0..len`.
    pub fn range(&self, ranks: Range<usize>) -> impl DoubleEndedIterator<Item = (f64, &[u8])> {
        self.rows[ranks].iter().map(|(score, member)| (*score, &**member))
    }

    /// Number of members whose score is lower than `score`, or also equal to it.
    pub fn count_below(&self, score: f64, or_equal: bool) -> usize {
        self.rows.partition_point(|row| row.0 < score || or_equal && row.0 == score)
    }

    /// Where all scores are equal: number of members that come before `member`, or also are it.
    pub fn count_before(&self, member: &[u8], or_equal: bool) -> usize {
        self.rows.partition_point(|row| &*row.1 < member || or_equal && &*row.1 == member)
    }

    /// All, in ascending order.
    pub fn members(&self) -> impl DoubleEndedIterator<Item = (f64, &[u8])> {
        self.range(0..self.len())
    }

    fn remove(&mut self, member: &[u8]) {
        self.rows.retain(|row| &*row.1 != member);
    }

    fn set(&mut self, score: f64, member: &[u8]) {
        self.remove(member);
        let before = |row: &(f64, Box<[u8]>)| {
            row.0.partial_cmp(&score).expect("scores are numbers").then_with(|| (*row.1).cmp(member))
                == Ordering::Less
        };
        let at = self.rows.partition_point(before);
        self.rows.insert(at, (score, member.into()));
    }
}

/// Iteration in steps.
impl SortedSet {
    /// Visits some members from a position in the order of traversal on; returns the next position, `None` at the end.
    pub fn scan<'a>(&'a self, from: u64, visit: &mut dyn FnMut((f64, &'a [u8]))) -> Option<u64> {
        let _ = from;
        self.members().for_each(visit);
        None
    }
}

impl Collection for SortedSet {
    type Op<'a> = SortedSetOp<'a>;

    fn apply(&mut self, op: &SortedSetOp<'_>) -> Result<(), Misfit> {
        match *op {
            SortedSetOp::Set { score, member } => self.set(score, member),
            SortedSetOp::SetMany { rows } => rows.iter().for_each(|(score, member)| self.set(score, member)),
            SortedSetOp::Remove { members } => {
                if members.iter().any(|member| self.score(member).is_none()) {
                    return Err(Misfit("a member is not there"));
                }
                members.iter().for_each(|member| self.remove(member));
            }
            SortedSetOp::RemoveRange { start, len } => {
                let end = start.checked_add(len).filter(|&end| end <= self.rows.len() as u64);
                let end = end.ok_or(Misfit("a rank over the last"))?;
                self.rows.drain(start as usize..end as usize);
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn rebuild(&self, emit: &mut dyn FnMut(SortedSetOp<'_>)) {
        self.members().for_each(|(score, member)| emit(SortedSetOp::Set { score, member }));
    }

    fn encoding(&self) -> &'static str {
        "listpack"
    }

    fn heap_bytes(&self) -> usize {
        let members = self.rows.iter().map(|row| row.1.len()).sum::<usize>();
        self.rows.capacity() * size_of::<(f64, Box<[u8]>)>() + members
    }
}
