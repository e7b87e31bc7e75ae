//! A long list: a deque of blocks, each within the limits (or one element that alone exceeds them), none empty.
//!
//! Blocks that pushes have left behind are sealed, where that makes them smaller. The last two at an end are not, so that pushes and
//! pops that alternate there don't seal and open the same block again and again.

use std::collections::{VecDeque, vec_deque};
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use crate::allocator::real_size;
use crate::types::limits::LIST_MAX_LISTPACK_SIZE;

use super::block::{Block, Elements, Side, entry_len};
use super::sealed;

/// What a block may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub bytes: usize,
    pub count: usize,
}

impl Limits {
    /// What `list-max-listpack-size` says now.
    #[inline]
    pub fn current() -> Self {
        Self::of(LIST_MAX_LISTPACK_SIZE.load(Relaxed))
    }

    /// What a value of that directive means.
    #[inline]
    pub fn of(setting: i64) -> Self {
        match setting {
            // A limit on the count alone would allow blocks of any size.
            entries @ 0.. => Self { bytes: 8 << 10, count: entries.max(1) as usize },
            class => Self { bytes: (2 << 10) << class.unsigned_abs().min(5), count: usize::MAX },
        }
    }

    pub const fn admit(self, bytes: usize, count: usize) -> bool {
        bytes <= self.bytes && count <= self.count
    }

    pub const fn half(self) -> Self {
        Self { bytes: self.bytes / 2, count: self.count / 2 }
    }

    fn admit_one_more(self, block: &Block, element: &[u8]) -> bool {
        self.admit(block.bytes() + entry_len(element.len()), block.count() + 1)
    }

    /// Memory set aside at once for a new block at an end of a long list.
    const fn first_capacity(self) -> usize {
        if self.count == usize::MAX { self.bytes / 4 } else { 0 }
    }
}

#[derive(Debug, Default)]
pub(super) struct Blocks {
    deque: VecDeque<Block>,
    len: usize,
}

impl Blocks {
    /// Of one block, as it is.
    pub fn of(block: Block) -> Self {
        let len = block.count();
        let deque = if len > 0 { VecDeque::from([block]) } else { VecDeque::new() };
        Self { deque, len }
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    pub fn heap_bytes(&self) -> usize {
        let buffers: usize = self.deque.iter().map(Block::heap_bytes).sum();
        real_size(self.deque.capacity() * size_of::<Block>()) + buffers
    }

    /// The only block, if it fits into `limits`: taken out.
    pub fn take_only_block(&mut self, limits: Limits) -> Option<Block> {
        let only = self.deque.front().filter(|_| self.deque.len() == 1)?;
        if !limits.admit(only.bytes(), only.count()) {
            return None;
        }
        self.len = 0;
        self.deque.pop_front()
    }

    /// Which block holds an element, and its index there. Counts from the nearer end.
    fn locate(&self, index: usize) -> (usize, usize) {
        if index < self.len / 2 {
            let mut rest = index;
            for (i, block) in self.deque.iter().enumerate() {
                if rest < block.count() {
                    return (i, rest);
                }
                rest -= block.count();
            }
        } else {
            let mut behind = self.len - index;
            for (i, block) in self.deque.iter().enumerate().rev() {
                if behind <= block.count() {
                    return (i, block.count() - behind);
                }
                behind -= block.count();
            }
        }
        unreachable!("the index is below the length, which is the sum of the counts")
    }

    /// The element at an index below the length.
    pub fn get(&self, index: usize) -> &[u8] {
        let (block, index) = self.locate(index);
        self.deque[block].get(index)
    }

    /// The elements of a range within the length.
    pub fn range(&self, range: Range<usize>) -> Iter<'_> {
        if range.is_empty() {
            return Iter::default();
        }
        let (first, start) = self.locate(range.start);
        let (last, end) = self.locate(range.end - 1);
        if first == last {
            return Iter::of(self.deque[first].slice(start..end + 1), range.len());
        }
        Iter {
            front: self.deque[first].slice(start..self.deque[first].count()),
            middle: self.deque.range(first + 1..last),
            back: self.deque[last].slice(0..end + 1),
            len: range.len(),
        }
    }

    #[inline]
    pub fn push(&mut self, side: Side, element: &[u8], limits: Limits) {
        self.len += 1;
        let end = match side {
            Side::Left => self.deque.front_mut(),
            Side::Right => self.deque.back_mut(),
        };
        if let Some(end) = end {
            if limits.admit_one_more(end, element) {
                return end.push(side, element, limits.bytes);
            }
            end.tighten();
            self.seal_left_behind(side, limits);
        }
        let mut block = Block::default();
        let room = entry_len(element.len()).max(limits.first_capacity());
        block.make_room(side, room, limits.bytes);
        block.push(side, element, limits.bytes);
        match side {
            Side::Left => self.deque.push_front(block),
            Side::Right => self.deque.push_back(block),
        }
    }

    /// Seals the second block at a side, which is about to become the third. What the one before it, sealed in its time, has room
    /// for goes there, so that sealed blocks are full.
    #[cold]
    fn seal_left_behind(&mut self, side: Side, limits: Limits) {
        let blocks = self.deque.len();
        let (at, before) = match side {
            Side::Left => (1, 2),
            Side::Right => (blocks.wrapping_sub(2), blocks.wrapping_sub(3)),
        };
        let Some(block) = self.deque.get(at).filter(|block| !block.is_sealed()) else { return };
        let (count, bytes) = sealed::fitting(block.elements(), limits);
        if count < block.count() || bytes > block.bytes() / 16 * 15 {
            return;
        }
        let room = |block: &&Block| block.is_sealed() && block.used_bytes() < limits.bytes / 16 * 15;
        let before = self.deque.get(before).filter(room).map(|block| (before, block));
        let mut elements: Vec<&[u8]> = Vec::new();
        // Those that stand farther from the end first.
        let joined = before.into_iter().map(|(_, block)| block).chain([block]);
        joined.for_each(|block| match side {
            Side::Left => elements.extend(block.elements().rev()),
            Side::Right => elements.extend(block.elements()),
        });
        let (fitting, _) = sealed::fitting(elements.iter().copied(), limits);
        let seal = |elements: &[&[u8]]| {
            let mut elements = elements.to_vec();
            if side == Side::Left {
                elements.reverse();
            }
            Block::sealed(sealed::encode(&elements), elements.len())
        };
        let (first, rest) = (seal(&elements[..fitting]), &elements[fitting..]);
        match before.map(|(before, _)| before) {
            None => self.deque[at] = first,
            Some(before) if rest.is_empty() => {
                self.deque[before] = first;
                self.deque.remove(at);
            }
            Some(before) => {
                self.deque[at] = seal(rest);
                self.deque[before] = first;
            }
        }
    }

    /// Removes `count` elements, at most as many as there are.
    #[inline]
    pub fn pop(&mut self, side: Side, mut count: usize) {
        while count > 0 {
            let end = match side {
                Side::Left => self.deque.front_mut(),
                Side::Right => self.deque.back_mut(),
            };
            let Some(end) = end else { return };
            let popped = count.min(end.count());
            if popped == end.count() {
                match side {
                    Side::Left => drop(self.deque.pop_front()),
                    Side::Right => drop(self.deque.pop_back()),
                }
            } else {
                end.pop(side, popped);
            }
            count -= popped;
            self.len -= popped;
        }
        if self.deque.capacity() > 64 && self.deque.len() < self.deque.capacity() / 4 {
            self.deque.shrink_to(self.deque.len() * 2);
        }
    }

    /// Adds an element before the one at `index`, or at the end.
    pub fn insert(&mut self, index: usize, element: &[u8], limits: Limits) {
        if index == self.len {
            return self.push(Side::Right, element, limits);
        }
        if index == 0 {
            return self.push(Side::Left, element, limits);
        }
        let (block, index) = self.locate(index);
        self.insert_at(block, index, element, limits);
    }

    fn insert_at(&mut self, at: usize, index: usize, element: &[u8], limits: Limits) {
        self.len += 1;
        let block = &mut self.deque[at];
        if limits.admit_one_more(block, element) {
            return block.insert(index, element, limits.bytes);
        }
        if index > 0 {
            let rest = block.split_off(index);
            if rest.count() > 0 {
                self.deque.insert(at + 1, rest);
            }
            return self.insert_between(at + 1, element, limits);
        }
        self.insert_between(at, element, limits);
    }

    /// Adds an element behind block `at - 1` and before block `at`, where it fits best.
    fn insert_between(&mut self, at: usize, element: &[u8], limits: Limits) {
        let fits = |block: Option<&Block>| block.is_some_and(|b| limits.admit_one_more(b, element));
        if at > 0 && fits(self.deque.get(at - 1)) {
            self.deque[at - 1].push(Side::Right, element, limits.bytes);
        } else if fits(self.deque.get(at)) {
            self.deque[at].push(Side::Left, element, limits.bytes);
        } else {
            let mut block = Block::default();
            block.push(Side::Right, element, limits.bytes);
            self.deque.insert(at, block);
        }
        self.merge_around(at.saturating_sub(1), at, limits);
    }

    /// Puts an element in the place of the one at `index`.
    pub fn set(&mut self, index: usize, element: &[u8], limits: Limits) {
        let (at, index) = self.locate(index);
        let block = &mut self.deque[at];
        let bytes = block.bytes() - entry_len(block.get(index).len()) + entry_len(element.len());
        if block.count() == 1 || bytes <= limits.bytes {
            block.replace(index, element, limits.bytes);
            return self.merge_around(at, at, limits);
        }
        let mut rest = block.split_off(index);
        rest.pop(Side::Left, 1);
        self.len -= 1;
        if rest.count() > 0 {
            self.deque.insert(at + 1, rest);
        }
        if self.deque[at].count() == 0 {
            self.deque.remove(at);
            self.len += 1;
            return self.insert_between(at, element, limits);
        }
        self.len += 1;
        self.insert_between(at + 1, element, limits);
    }

    /// Removes elements equal to `element`, at most `most` of them, those nearest to `from` first. Returns their number.
    pub fn remove_equal(&mut self, element: &[u8], from: Side, most: usize, limits: Limits) -> usize {
        let (mut removed, mut touched) = (0, None);
        for step in 0..self.deque.len() {
            if removed == most {
                break;
            }
            let at = if from == Side::Left { step } else { self.deque.len() - 1 - step };
            let here = self.deque[at].remove_equal(element, from, most - removed);
            if here > 0 {
                let (low, high) = touched.unwrap_or((at, at));
                touched = Some((at.min(low), at.max(high)));
            }
            removed += here;
        }
        self.len -= removed;
        if let Some((low, high)) = touched {
            self.merge_around(low, high, limits);
        }
        removed
    }

    /// Joins blocks `low..=high` and their neighbours where two make half a block or less, and drops empty ones.
    fn merge_around(&mut self, low: usize, high: usize, limits: Limits) {
        let (low, high) = (low.saturating_sub(1), (high + 1).min(self.deque.len().saturating_sub(1)));
        let merged = limits.half();
        let mut kept = low;
        for at in low + 1..=high {
            let (left, right) = (&self.deque[kept], &self.deque[at]);
            let joint = (left.bytes() + right.bytes(), left.count() + right.count());
            if right.count() == 0 {
                continue;
            }
            if left.count() == 0 {
                self.deque.swap(kept, at);
            } else if merged.admit(joint.0, joint.1) {
                let right = std::mem::take(&mut self.deque[at]);
                self.deque[kept].append(&right, limits.bytes);
            } else {
                kept += 1;
                self.deque.swap(kept, at);
            }
        }
        if low < self.deque.len() {
            let first_dropped = if self.deque[kept].count() == 0 { kept } else { kept + 1 };
            self.deque.drain(first_dropped..=high);
        }
    }

    /// Every rule of this type, if the limits were always the same; for tests.
    #[cfg(test)]
    pub fn check(&self, limits: Limits) {
        assert_eq!(self.len, self.deque.iter().map(Block::count).sum::<usize>());
        for block in &self.deque {
            assert!(block.count() > 0);
            assert_eq!(block.elements().count(), block.count());
            // What a short list may have been when it became long: lengths are not counted with the last elements pushed.
            let bytes = block.used_bytes().saturating_sub(block.count() * 4);
            assert!(block.count() == 1 || limits.admit(bytes, block.count()), "{}", block.used_bytes());
        }
    }

    /// How many blocks are sealed; for tests.
    #[cfg(test)]
    pub fn sealed(&self) -> usize {
        self.deque.iter().filter(|block| block.is_sealed()).count()
    }
}

/// Elements from left to right, or from right to left.
#[derive(Debug, Clone, Default)]
pub struct Iter<'a> {
    front: Elements<'a>,
    middle: vec_deque::Iter<'a, Block>,
    back: Elements<'a>,
    len: usize,
}

impl<'a> Iter<'a> {
    pub(super) fn of(front: Elements<'a>, len: usize) -> Self {
        Self { len, front, ..Self::default() }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.len = self.len.checked_sub(1)?;
        loop {
            if let Some(element) = self.front.next() {
                return Some(element);
            }
            match self.middle.next() {
                Some(block) => self.front = block.elements(),
                None => return self.back.next(),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len, Some(self.len))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.len = self.len.checked_sub(1)?;
        loop {
            if let Some(element) = self.back.next_back() {
                return Some(element);
            }
            match self.middle.next_back() {
                Some(block) => self.back = block.elements(),
                None => return self.front.next_back(),
            }
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}
