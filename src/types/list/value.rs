//! The list value: short ones are one block, long ones a deque of blocks.
//!
//! A list becomes long when a push would take its block over `list-max-listpack-size`, and short again when one block is left that is at
//! most half full: Redis 7.2's rule, with the sizes of our own entries.

use std::ops::Range;

use crate::allocator::real_size;
use crate::types::{Collection, Misfit, REBUILD_BYTES};

use super::block::Block;
pub use super::block::Side;
pub use super::blocks::Iter;
use super::blocks::{Blocks, Limits};
pub use super::op::{Elements, ListOp};

/// Boxed to be as small as other collections.
#[derive(Debug)]
pub struct List(Box<Shape>);

#[derive(Debug)]
enum Shape {
    Short(Block),
    Long(Box<Blocks>),
}

/// What Redis counts for an empty listpack.
const SHORT_OVERHEAD: usize = 7;

const NO_ELEMENT: Misfit = Misfit("no such element");

impl Default for List {
    fn default() -> Self {
        Self(Box::new(Shape::Short(Block::default())))
    }
}

impl List {
    #[inline]
    pub fn len(&self) -> usize {
        match &*self.0 {
            Shape::Short(block) => block.count(),
            Shape::Long(blocks) => blocks.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at an index from the left. Whole blocks are skipped, from the nearer end.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        (index < self.len()).then(|| match &*self.0 {
            Shape::Short(block) => block.get(index),
            Shape::Long(blocks) => blocks.get(index),
        })
    }

    /// The outermost element at a side.
    #[inline]
    pub fn end(&self, side: Side) -> Option<&[u8]> {
        match side {
            Side::Left => self.get(0),
            Side::Right => self.get(self.len().wrapping_sub(1)),
        }
    }

    pub fn iter(&self) -> Iter<'_> {
        self.range(0..self.len())
    }

    /// The elements of a range, cut to those that exist.
    pub fn range(&self, range: Range<usize>) -> Iter<'_> {
        let end = range.end.min(self.len());
        let range = range.start.min(end)..end;
        match &*self.0 {
            Shape::Short(block) => Iter::of(block.slice(range.clone()), range.len()),
            Shape::Long(blocks) => blocks.range(range),
        }
    }

    /// `count` elements (at most) at a side, the outermost first: what pops would return.
    pub fn ends(&self, side: Side, count: usize) -> impl ExactSizeIterator<Item = &[u8]> {
        let (len, count) = (self.len(), count.min(self.len()));
        let mut elements = match side {
            Side::Left => self.range(0..count),
            Side::Right => self.range(len - count..len),
        };
        (0..count).map(move |_| {
            let next = if side == Side::Left { elements.next() } else { elements.next_back() };
            next.expect("the range has this many elements")
        })
    }

    /// Makes the list long unless its block may take this much more.
    fn prepare_for(&mut self, more_bytes: usize, more_count: usize, limits: Limits) {
        if let Shape::Short(block) = &mut *self.0
            && !limits.admit(SHORT_OVERHEAD + block.bytes() + more_bytes, block.count() + more_count)
        {
            *self.0 = Shape::Long(Box::new(Blocks::of(std::mem::take(block))));
        }
    }

    /// Makes the list short if it has become so.
    #[inline]
    fn settle(&mut self, limits: Limits) {
        if let Shape::Long(blocks) = &mut *self.0
            && let Some(block) = blocks.take_only_block(limits.half())
        {
            *self.0 = Shape::Short(block);
        }
    }

    fn push(&mut self, side: Side, elements: Elements<'_>, limits: Limits) {
        let mut bytes = 0;
        elements.each(|element| bytes += element.len());
        self.prepare_for(bytes, elements.len(), limits);
        match &mut *self.0 {
            Shape::Short(block) => {
                block.make_room(side, bytes + 2 * elements.len(), limits.bytes);
                elements.each(|element| block.push(side, element, limits.bytes));
            }
            Shape::Long(blocks) => elements.each(|element| blocks.push(side, element, limits)),
        }
    }

    #[inline]
    fn pop(&mut self, side: Side, count: usize) {
        match &mut *self.0 {
            Shape::Short(block) => block.pop(side, count),
            Shape::Long(blocks) => blocks.pop(side, count),
        }
    }

    fn remove(&mut self, count: i64, element: &[u8], limits: Limits) -> Result<(), Misfit> {
        let from = if count < 0 { Side::Right } else { Side::Left };
        let most = match count.unsigned_abs() {
            0 => usize::MAX,
            most => usize::try_from(most).unwrap_or(usize::MAX),
        };
        let removed = match &mut *self.0 {
            Shape::Short(block) => block.remove_equal(element, from, most),
            Shape::Long(blocks) => blocks.remove_equal(element, from, most, limits),
        };
        if removed > 0 { Ok(()) } else { Err(NO_ELEMENT) }
    }

    fn trim(&mut self, start: usize, len: usize) -> Result<(), Misfit> {
        let end = start.checked_add(len).filter(|&end| end <= self.len()).ok_or(NO_ELEMENT)?;
        self.pop(Side::Right, self.len() - end);
        self.pop(Side::Left, start);
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn check(&self, limits: Limits) {
        if let Shape::Long(blocks) = &*self.0 {
            blocks.check(limits);
        }
    }

    #[cfg(test)]
    pub(super) fn sealed_blocks(&self) -> usize {
        match &*self.0 {
            Shape::Short(_) => 0,
            Shape::Long(blocks) => blocks.sealed(),
        }
    }

    /// An index or a number of elements, at most `most`.
    fn within(value: u64, most: usize) -> Result<usize, Misfit> {
        usize::try_from(value).ok().filter(|&value| value <= most).ok_or(NO_ELEMENT)
    }

    #[inline]
    pub(super) fn apply_within(&mut self, op: &ListOp<'_>, limits: Limits) -> Result<(), Misfit> {
        let len = self.len();
        match *op {
            ListOp::Push { side, elements } => {
                self.push(side, elements, limits);
                return Ok(());
            }
            ListOp::Pop { side, count } => self.pop(side, Self::within(count, len)?),
            ListOp::Set { index, element } => {
                let index = Self::within(index, len.checked_sub(1).ok_or(NO_ELEMENT)?)?;
                self.prepare_for(element.len(), 0, limits);
                match &mut *self.0 {
                    Shape::Short(block) => block.replace(index, element, limits.bytes),
                    Shape::Long(blocks) => blocks.set(index, element, limits),
                }
            }
            ListOp::Insert { index, element } => {
                let index = Self::within(index, len)?;
                self.prepare_for(element.len(), 1, limits);
                match &mut *self.0 {
                    Shape::Short(block) => block.insert(index, element, limits.bytes),
                    Shape::Long(blocks) => blocks.insert(index, element, limits),
                }
            }
            ListOp::Remove { count, element } => self.remove(count, element, limits)?,
            ListOp::Trim { start, len: kept } => {
                self.trim(Self::within(start, len)?, Self::within(kept, len)?)?
            }
        }
        self.settle(limits);
        Ok(())
    }
}

impl Collection for List {
    type Op<'a> = ListOp<'a>;

    #[inline]
    fn apply(&mut self, op: &ListOp<'_>) -> Result<(), Misfit> {
        self.apply_within(op, Limits::current())
    }

    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }

    /// The pushes depend on the elements only, not on how the blocks came about.
    fn rebuild(&self, emit: &mut dyn FnMut(ListOp<'_>)) {
        let (mut start, mut bytes) = (0, 0);
        let mut push = |range: Range<usize>| {
            let elements = self.range(range);
            emit(ListOp::Push { side: Side::Right, elements: Elements::range(&elements) });
        };
        for (index, element) in self.iter().enumerate() {
            if index > start && bytes + element.len() > REBUILD_BYTES {
                push(start..index);
                (start, bytes) = (index, 0);
            }
            bytes += element.len() + 1;
        }
        if start < self.len() {
            push(start..self.len());
        }
    }

    fn encoding(&self) -> &'static str {
        match *self.0 {
            Shape::Short(_) => "listpack",
            Shape::Long(_) => "quicklist",
        }
    }

    fn heap_bytes(&self) -> usize {
        real_size(size_of::<Shape>())
            + match &*self.0 {
                Shape::Short(block) => block.heap_bytes(),
                Shape::Long(blocks) => real_size(size_of::<Blocks>()) + blocks.heap_bytes(),
            }
    }
}
