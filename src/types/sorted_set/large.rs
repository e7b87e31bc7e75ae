//! A large sorted set: a tree of leaves, and an index that tells in which one a member stands.
//!
//! Each member is stored once, in its leaf. Whoever looks for a member goes to the leaf by the index, which has the score; whoever
//! looks for a score or a rank goes there by the tree. A leaf that is split or joined tells the index which rows have moved.

use std::ops::Range;

use super::leaf::{Bound, NO_LEAF};
use super::leaves::{Leaves, NewRow, hash_of};
use super::tree::Node;

#[derive(Debug)]
pub struct Large {
    root: Node,
    leaves: Leaves,
    len: usize,
}

impl Default for Large {
    fn default() -> Self {
        let mut leaves = Leaves::default();
        let root = Node::of_leaf(leaves.add_leaf(NO_LEAF), 0);
        Self { root, leaves, len: 0 }
    }
}

impl Large {
    pub const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        let (id, row) = self.leaves.find(hash_of(member), member)?;
        Some(self.leaves.get(id).score(row))
    }

    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        let score = self.score(member)?;
        Some(self.count_before(&Bound::at_row(score, member)))
    }

    pub fn count_before(&self, bound: &Bound<'_>) -> usize {
        self.root.count_before(&self.leaves, bound)
    }

    /// Rows of a range of ranks within the length.
    pub fn range(&self, ranks: Range<usize>) -> Walk<'_> {
        let front = if ranks.is_empty() { (NO_LEAF, 0) } else { self.root.locate(ranks.start) };
        Walk { large: self, front, back: None, ranks }
    }

    pub fn set(&mut self, score: f64, member: &[u8]) {
        let hash = hash_of(member);
        let row = NewRow { score, member, hash };
        self.root.prefetch(&self.leaves, &Bound::at_row(score, member));
        match self.leaves.find(hash, member) {
            None => self.len += 1,
            Some((id, at)) => {
                if self.leaves.rescore(id, at, score) {
                    return;
                }
                let score = self.leaves.get(id).score(at);
                self.root.remove(&mut self.leaves, &NewRow { score, ..row });
            }
        }
        self.root.insert(&mut self.leaves, &row);
    }

    /// False if it is not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let hash = hash_of(member);
        let Some((id, at)) = self.leaves.find(hash, member) else { return false };
        let score = self.leaves.get(id).score(at);
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        } else {
            self.root.remove(&mut self.leaves, &NewRow { score, member, hash });
        }
        true
    }

    /// Removes the rows of a range of ranks within the length.
    pub fn remove_range(&mut self, ranks: Range<usize>) {
        if ranks.is_empty() {
            return;
        }
        self.len -= ranks.len();
        if self.len == 0 {
            *self = Self::default();
        } else {
            self.root.remove_range(&mut self.leaves, ranks);
        }
    }

    /// Visits rows in the order of their members' hashes, a few at a time; see [`super::value::SortedSet::scan`].
    pub fn scan<'a>(&'a self, from: u64, visit: &mut dyn FnMut(f64, &'a [u8])) -> Option<u64> {
        self.leaves.scan_page(from, visit)
    }

    /// Takes time in the number of leaves and pages.
    pub fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.root.heap_bytes() + self.leaves.heap_bytes()
    }
}

/// See [`Large::range`].
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    large: &'a Large,
    /// Leaf and row that come next.
    front: (u32, usize),
    /// Those that come next from the end, once somebody has asked.
    back: Option<(u32, usize)>,
    /// What is left.
    ranks: Range<usize>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = (f64, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.ranks.next()?;
        let (id, row) = self.front;
        let leaf = self.large.leaves.get(id);
        self.front = if row + 1 < leaf.len() { (id, row + 1) } else { (leaf.after, 0) };
        Some(leaf.row(row))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ranks.size_hint()
    }

    /// Leaf by leaf.
    #[inline]
    fn fold<B, F: FnMut(B, Self::Item) -> B>(self, init: B, mut f: F) -> B {
        let (mut folded, mut left) = (init, self.ranks.len());
        let (mut id, mut row) = self.front;
        while left > 0 {
            let leaf = self.large.leaves.get(id);
            let rows = row..leaf.len().min(row + left);
            left -= rows.len();
            folded = leaf.rows_of(rows).fold(folded, &mut f);
            (id, row) = (leaf.after, 0);
        }
        folded
    }
}

impl DoubleEndedIterator for Walk<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let rank = self.ranks.next_back()?;
        let leaves = &self.large.leaves;
        let (id, row) = self.back.unwrap_or_else(|| self.large.root.locate(rank));
        let leaf = leaves.get(id);
        self.back = Some(match row.checked_sub(1) {
            Some(row) => (id, row),
            None if leaf.before == NO_LEAF => (NO_LEAF, 0),
            None => (leaf.before, leaves.get(leaf.before).len() - 1),
        });
        Some(leaf.row(row))
    }
}

#[cfg(test)]
impl Large {
    /// Panics unless everything that the parts rely on holds.
    pub fn check(&self) {
        let ids = self.root.check(&self.leaves);
        assert_eq!(self.root.total(), self.len);
        self.leaves.check(&ids, self.len);
    }

    pub fn leaves(&self) -> usize {
        self.root.check(&self.leaves).len()
    }
}
