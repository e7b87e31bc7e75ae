//! The leaves of a tree, found by number or by member, and linked in the order of rows.

use smallvec::SmallVec;

use crate::types::member_table;

use super::leaf::{Bound, Leaf, NO_LEAF};
use super::member_index::MemberIndex;

/// A member, its score, and what the index knows it by.
#[derive(Debug, Clone, Copy)]
pub struct NewRow<'a> {
    pub score: f64,
    pub member: &'a [u8],
    pub hash: u32,
}

/// Low half of a member's hash.
#[inline]
pub fn hash_of(member: &[u8]) -> u32 {
    member_table::hash_of(member) as u32
}

/// The bits of a hash that pages of the index are named by last.
const fn fingerprint(hash: u32) -> u8 {
    (hash >> 24) as u8
}

/// What divides two neighbours in the tree: greater than all rows before it, not greater than any behind it. Not a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Separator {
    pub score: f64,
    /// As short as it can be: empty, without memory of its own, where the scores differ.
    pub member: Box<[u8]>,
}

impl Separator {
    fn between(left: (f64, &[u8]), right: (f64, &[u8])) -> Self {
        if left.0 < right.0 {
            return Self { score: right.0, member: Box::default() };
        }
        let same = left.1.iter().zip(right.1).take_while(|(a, b)| a == b).count();
        Self { score: right.0, member: right.1[..same + 1].into() }
    }
}

/// Leaves that have come to stand behind the one which a row went into.
pub type Added = SmallVec<[(Separator, u32); 2]>;

#[derive(Debug, Default)]
pub struct Leaves {
    arena: Vec<Leaf>,
    /// Numbers of the arena that are not in use.
    free: Vec<u32>,
    pub index: MemberIndex,
}

impl Leaves {
    #[inline]
    pub fn get(&self, id: u32) -> &Leaf {
        &self.arena[id as usize]
    }

    fn get_mut(&mut self, id: u32) -> &mut Leaf {
        &mut self.arena[id as usize]
    }

    /// The leaf of a member, and the row there.
    #[inline]
    pub fn find(&self, hash: u32, member: &[u8]) -> Option<(u32, usize)> {
        self.index.leaves(hash).find_map(|id| {
            let leaf = self.get(id);
            leaf.prefetch();
            Some((id, leaf.find(fingerprint(hash), member)?))
        })
    }

    /// An empty leaf behind another, or the first of all.
    pub fn add_leaf(&mut self, before: u32) -> u32 {
        let id = self.free.pop().unwrap_or_else(|| {
            self.arena.push(Leaf::default());
            u32::try_from(self.arena.len() - 1).expect("2^32 leaves are more than memory holds")
        });
        if before != NO_LEAF {
            let after = std::mem::replace(&mut self.get_mut(before).after, id);
            (self.get_mut(id).before, self.get_mut(id).after) = (before, after);
            if after != NO_LEAF {
                self.get_mut(after).before = id;
            }
        }
        id
    }

    /// Gives up a leaf whose rows the index does not know any more.
    fn free_leaf(&mut self, id: u32) {
        let Leaf { before, after, .. } = std::mem::take(self.get_mut(id));
        if before != NO_LEAF {
            self.get_mut(before).after = after;
        }
        if after != NO_LEAF {
            self.get_mut(after).before = before;
        }
        self.free.push(id);
    }

    /// Puts rows that were split off from a leaf into a new one behind it.
    fn add_tail(&mut self, id: u32, tail: Leaf) -> u32 {
        let new = self.add_leaf(id);
        tail.rows().for_each(|(_, member)| self.index.relabel(hash_of(member), id, new));
        let Leaf { before, after, .. } = *self.get(new);
        *self.get_mut(new) = tail;
        (self.get_mut(new).before, self.get_mut(new).after) = (before, after);
        new
    }

    fn put(&mut self, id: u32, at: usize, row: &NewRow<'_>) {
        self.index.add(row.hash, id);
        self.get_mut(id).insert(at, row.score, row.member, fingerprint(row.hash));
    }

    fn separated(&self, id: u32) -> (Separator, u32) {
        let leaf = self.get(id);
        let left = self.get(leaf.before).last().expect("no leaf of the tree is empty");
        (Separator::between(left, leaf.row(0)), id)
    }

    /// Puts a new row into the leaf that its place is in. `ascending` if that is the last leaf of all: rows that come in order
    /// leave full leaves behind them.
    pub fn insert(&mut self, id: u32, row: &NewRow<'_>, ascending: bool) -> Added {
        let leaf = self.get_mut(id);
        let at = leaf.count_before(&Bound::at_row(row.score, row.member));
        if leaf.has_room(row.member.len()) {
            self.put(id, at, row);
            return Added::new();
        }
        let end = leaf.len();
        let alone = Leaf::is_large(row.member.len()) || leaf.holds_large() || ascending && at == end;
        let cut = if alone { at } else { leaf.half() };
        let tail = leaf.split_off(cut);
        let tail = (cut < end).then(|| self.add_tail(id, tail));
        let mut added = Added::new();
        match tail {
            _ if alone && cut > 0 => {
                let own = self.add_leaf(id);
                self.put(own, 0, row);
                added.push(self.separated(own));
            }
            Some(tail) if at > cut => self.put(tail, at - cut, row),
            _ => self.put(id, at, row),
        }
        added.extend(tail.map(|tail| self.separated(tail)));
        added
    }

    /// Removes a row that is there; true if the leaf has to be looked after.
    pub fn remove(&mut self, id: u32, row: &NewRow<'_>) -> bool {
        let leaf = self.get_mut(id);
        let at = leaf.count_before(&Bound::at_row(row.score, row.member));
        debug_assert!(leaf.member(at) == row.member, "the caller has found it");
        leaf.remove(at..at + 1);
        self.index.remove(row.hash, id);
        self.get(id).is_sparse()
    }

    pub fn remove_rows(&mut self, id: u32, rows: std::ops::Range<usize>) {
        let leaf = &self.arena[id as usize];
        rows.clone().for_each(|row| self.index.remove(hash_of(leaf.member(row)), id));
        self.get_mut(id).remove(rows);
    }

    /// Removes a leaf with all its rows.
    pub fn remove_leaf(&mut self, id: u32) {
        let leaf = &self.arena[id as usize];
        leaf.rows().for_each(|(_, member)| self.index.remove(hash_of(member), id));
        self.free_leaf(id);
    }

    /// Whether one of two neighbours is sparse and both fit one leaf.
    pub fn should_join(&self, left: u32, right: u32) -> bool {
        let (left, right) = (self.get(left), self.get(right));
        (left.is_sparse() || right.is_sparse()) && left.can_absorb(right)
    }

    /// Moves the rows of a leaf to the one before it, and frees it.
    pub fn join(&mut self, left: u32, right: u32) {
        self.get_mut(left).after = self.get(right).after;
        let other = std::mem::take(self.get_mut(right));
        other.rows().for_each(|(_, member)| self.index.relabel(hash_of(member), right, left));
        self.get_mut(left).push_rows(&other, 0);
        if other.after != NO_LEAF {
            self.get_mut(other.after).before = left;
        }
        self.free.push(right);
    }

    /// Gives a row another score where it may stay in its leaf: the new place is among its own neighbours there. False, and
    /// nothing done, if it has to leave.
    pub fn rescore(&mut self, id: u32, row: usize, score: f64) -> bool {
        let leaf = self.get_mut(id);
        let bound = Bound::at_row(score, leaf.member(row));
        // Counts the row itself if its old score is lower.
        let before = leaf.count_before(&bound);
        let to = before - usize::from(before > row);
        let last = leaf.len() - 1;
        if (to > 0 || leaf.before == NO_LEAF) && (to < last || leaf.after == NO_LEAF) {
            leaf.move_row(row, to, score);
            return true;
        }
        false
    }

    /// Visits the rows of one page of the index; see [`MemberIndex::scan_page`].
    pub fn scan_page<'a>(&'a self, from: u64, visit: &mut dyn FnMut(f64, &'a [u8])) -> Option<u64> {
        self.index.scan_page(from, &mut |hash, id| {
            let leaf = self.get(id);
            for row in leaf.with_fingerprint(fingerprint(hash)) {
                let (score, member) = leaf.row(row);
                if hash_of(member) == hash {
                    visit(score, member);
                }
            }
        })
    }

    pub fn heap_bytes(&self) -> usize {
        let buffers: usize = self.arena.iter().map(Leaf::heap_bytes).sum();
        let numbers = self.free.capacity() * size_of::<u32>();
        self.arena.capacity() * size_of::<Leaf>() + numbers + buffers + self.index.heap_bytes()
    }
}

#[cfg(test)]
impl Leaves {
    /// Panics unless these leaves, from left to right, are linked so, in order, full as they may be, and indexed.
    pub fn check(&self, ids: &[u32], rows: usize) {
        use super::leaf::{BYTES_MAX, ROWS_MAX};
        assert_eq!(self.arena.len(), ids.len() + self.free.len());
        assert_eq!(self.index.len(), rows);
        let mut last: Option<(f64, &[u8])> = None;
        for (at, &id) in ids.iter().enumerate() {
            let leaf = self.get(id);
            assert_eq!(leaf.before, if at == 0 { NO_LEAF } else { ids[at - 1] });
            assert_eq!(leaf.after, ids.get(at + 1).copied().unwrap_or(NO_LEAF));
            assert!(!leaf.is_empty() || ids.len() == 1);
            assert!(leaf.len() <= ROWS_MAX && (leaf.len() <= 1 || leaf.bytes() <= BYTES_MAX));
            for (row, (score, member)) in leaf.rows().enumerate() {
                assert!(leaf.len() == 1 || !Leaf::is_large(member.len()), "a large row stands alone");
                assert!(last.is_none_or(|last| last < (score, member)), "rows are in order");
                last = Some((score, member));
                assert!(self.index.leaves(hash_of(member)).any(|other| other == id), "indexed");
                assert_eq!(self.find(hash_of(member), member), Some((id, row)));
            }
        }
    }
}
