//! Rows in the order of their ids, in chunks: appended at the end, removed mostly near the front, looked for anywhere.
//!
//! Chunks that are appended to become full, where a balanced tree leaves nearly half of each node empty: what is pending in a group takes
//! half the memory. What one change moves has bounds; only the list of chunks, 48 bytes for each 64 rows, is moved as a whole when one of
//! its middle goes.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::allocator::real_size;

use super::id::StreamId;

/// Rows of a chunk.
const CHUNK: usize = 64;

pub(super) trait Row {
    fn id(&self) -> StreamId;
}

impl Row for StreamId {
    fn id(&self) -> StreamId {
        *self
    }
}

#[derive(Debug)]
pub(super) struct Sorted<T> {
    chunks: VecDeque<Chunk<T>>,
    len: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    /// Not above any row's id, and above all of the chunk before.
    base: StreamId,
    /// Never empty. What goes, goes mostly from the front.
    rows: VecDeque<T>,
}

/// A chunk's number, and a row's in it.
type Place = (usize, usize);

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), len: 0 }
    }
}

impl<T: Row> Sorted<T> {
    pub const fn len(&self) -> usize {
        self.len
    }

    /// The last chunk that begins at an id or before, or the first.
    fn chunk_of(&self, id: StreamId) -> usize {
        self.chunks.partition_point(|chunk| chunk.base <= id).saturating_sub(1)
    }

    fn find(&self, id: StreamId) -> Option<Place> {
        let chunk = self.chunk_of(id);
        let row = self.chunks.get(chunk)?.rows.binary_search_by_key(&id, T::id).ok()?;
        Some((chunk, row))
    }

    pub fn get(&self, id: StreamId) -> Option<&T> {
        self.find(id).map(|(chunk, row)| &self.chunks[chunk].rows[row])
    }

    /// Adds a row; if there is one with this id, takes its place and returns it.
    pub fn insert(&mut self, row: T) -> Option<T> {
        let id = row.id();
        let end = self.chunks.back().and_then(|chunk| chunk.rows.back());
        if end.is_none_or(|end| end.id() < id) {
            self.push(row);
            return None;
        }
        let number = self.chunk_of(id);
        let chunk = &mut self.chunks[number];
        match chunk.rows.binary_search_by_key(&id, T::id) {
            Ok(at) => return Some(std::mem::replace(&mut chunk.rows[at], row)),
            Err(at) => chunk.rows.insert(at, row),
        }
        self.len += 1;
        chunk.base = chunk.base.min(id);
        if chunk.rows.len() > CHUNK {
            let rows = chunk.rows.split_off(CHUNK / 2);
            self.chunks.insert(number + 1, Chunk { base: rows[0].id(), rows });
        }
        None
    }

    /// Adds a row behind all others.
    fn push(&mut self, row: T) {
        self.len += 1;
        let is_first = self.chunks.is_empty();
        match self.chunks.back_mut() {
            Some(chunk) if chunk.rows.len() < CHUNK => chunk.rows.push_back(row),
            _ => {
                let mut rows = VecDeque::with_capacity(if is_first { 4 } else { CHUNK });
                let base = row.id();
                rows.push_back(row);
                self.chunks.push_back(Chunk { base, rows });
            }
        }
    }

    pub fn remove(&mut self, id: StreamId) -> Option<T> {
        let (number, at) = self.find(id)?;
        let row = self.chunks[number].rows.remove(at)?;
        self.len -= 1;
        let left = self.chunks[number].rows.len();
        if left == 0 {
            self.chunks.remove(number);
        } else if left <= CHUNK / 4 {
            // Together with one of its neighbours it may be half a chunk.
            self.join(number);
            if number > 0 {
                self.join(number - 1);
            }
        }
        if self.chunks.capacity() > 64 && self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to(self.chunks.len() * 2);
        }
        Some(row)
    }

    /// Moves the rows of the chunk behind one to it, if both are half a chunk at most.
    fn join(&mut self, number: usize) {
        let Some(next) = self.chunks.get(number + 1) else { return };
        if self.chunks[number].rows.len() + next.rows.len() <= CHUNK / 2
            && let Some(next) = self.chunks.remove(number + 1)
        {
            let rows = &mut self.chunks[number].rows;
            rows.extend(next.rows);
            rows.shrink_to(CHUNK / 2);
        }
    }

    /// The place of the first row from an id on, or behind all.
    fn place_of(&self, id: StreamId) -> Place {
        let number = self.chunk_of(id);
        let Some(chunk) = self.chunks.get(number) else { return (0, 0) };
        let at = chunk.rows.partition_point(|row| row.id() < id);
        if at < chunk.rows.len() { (number, at) } else { (number + 1, 0) }
    }

    /// Rows of a range of ids, in their order. An empty range is none.
    pub fn range(&self, ids: RangeInclusive<StreamId>) -> Range<'_, T> {
        let (from, to) = ids.into_inner();
        let end = to.next().map_or((self.chunks.len(), 0), |next| self.place_of(next));
        Range { sorted: self, start: if from <= to { self.place_of(from) } else { end }, end }
    }

    pub fn iter(&self) -> Range<'_, T> {
        self.range(StreamId::MIN..=StreamId::MAX)
    }

    pub fn heap_bytes(&self) -> usize {
        // All chunks but the ends are alike, more or less.
        let chunk = self.chunks.front().map_or(0, |chunk| chunk.rows.capacity()) * size_of::<T>();
        real_size(self.chunks.capacity() * size_of::<Chunk<T>>()) + self.chunks.len() * real_size(chunk)
    }
}

/// See [`Sorted::range`].
#[derive(Debug)]
pub(super) struct Range<'a, T> {
    sorted: &'a Sorted<T>,
    start: Place,
    end: Place,
}

impl<'a, T> Iterator for Range<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        if self.start == self.end {
            return None;
        }
        let (number, at) = self.start;
        let rows = &self.sorted.chunks[number].rows;
        self.start = if at + 1 < rows.len() { (number, at + 1) } else { (number + 1, 0) };
        Some(&rows[at])
    }
}

impl<T> DoubleEndedIterator for Range<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.start == self.end {
            return None;
        }
        let (number, at) = match self.end {
            (number, 0) => (number - 1, self.sorted.chunks[number - 1].rows.len() - 1),
            (number, at) => (number, at - 1),
        };
        self.end = (number, at);
        Some(&self.sorted.chunks[number].rows[at])
    }
}

#[cfg(test)]
impl<T: Row> Sorted<T> {
    /// Every rule of this type.
    pub fn check(&self) {
        assert_eq!(self.len, self.chunks.iter().map(|chunk| chunk.rows.len()).sum::<usize>());
        assert!(self.chunks.iter().all(|chunk| (1..=CHUNK).contains(&chunk.rows.len())));
        assert!(self.iter().map(T::id).is_sorted_by(|a, b| a < b));
        let bases = self.chunks.iter().map(|chunk| chunk.base);
        assert!(bases.zip(&self.chunks).all(|(base, chunk)| base <= chunk.rows[0].id()));
        let lasts = self.chunks.iter().map(|chunk| chunk.rows[chunk.rows.len() - 1].id());
        assert!(lasts.zip(self.chunks.iter().skip(1)).all(|(last, next)| last < next.base));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn id(number: u16) -> StreamId {
        StreamId::new(u64::from(number) / 3, u64::from(number) % 3)
    }

    proptest! {
        #[test]
        fn chunks_behave_like_a_tree(steps in proptest::collection::vec((0u8..8, any::<u16>(), 0u16..400), 0..60)) {
            let (mut sorted, mut model) = (Sorted::default(), BTreeSet::new());
            for (what, at, count) in steps {
                let last = model.last().map_or(0, |id: &StreamId| (id.ms * 3) as u16);
                let numbers: Vec<u16> = match what {
                    // At the end, in a row, scattered; from the front.
                    0..3 => (1..=count).map(|n| last.saturating_add(n)).collect(),
                    3 => (0..count / 4).map(|n| at.saturating_add(n)).collect(),
                    4 => (0..count / 4).map(|n| at.wrapping_mul(n)).collect(),
                    5 => model.iter().take(count as usize).map(|id| (id.ms * 3 + id.seq) as u16).collect(),
                    _ => (0..count).map(|n| (last / 400).saturating_mul(n).wrapping_add(at % 7)).collect(),
                };
                for number in numbers {
                    if what < 5 {
                        prop_assert_eq!(sorted.insert(id(number)).is_none(), model.insert(id(number)));
                    } else {
                        prop_assert_eq!(sorted.remove(id(number)).is_some(), model.remove(&id(number)));
                    }
                    prop_assert_eq!(sorted.get(id(number)).is_some(), what < 5);
                }
                sorted.check();
                prop_assert_eq!(sorted.len(), model.len());
                let (from, to) = (id(at), id(at.saturating_add(count)));
                prop_assert!(sorted.iter().eq(&model));
                prop_assert!(sorted.range(from..=to).eq(model.range(from..=to)));
                prop_assert!(sorted.range(from..=to).rev().eq(model.range(from..=to).rev()));
                prop_assert!(sorted.range(to..=from).count() <= usize::from(from == to));
            }
        }
    }

    #[test]
    fn rows_that_come_in_order_fill_their_chunks_and_sparse_ones_are_joined() {
        let mut sorted = Sorted::default();
        (0..60_000).for_each(|number| _ = sorted.insert(id(number)));
        let full = sorted.heap_bytes();
        assert!(full < 60_000 * 18, "{full}");
        (0..60_000).filter(|number| number % 64 != 0).for_each(|number| _ = sorted.remove(id(number)));
        sorted.check();
        assert!(sorted.heap_bytes() < full / 10, "{} of {full}", sorted.heap_bytes());
    }
}
