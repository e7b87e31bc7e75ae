//! The elements of a block that nobody is about to change: without a length each, so that short ones cost little more than their bytes.
//!
//! ```text
//! sealed = number of runs u32 | run ... run | elements, one behind the other
//! run    = count u16 | length u16: so many elements of one length
//! ```

use super::blocks::Limits;

const HEAD: usize = 4;
const RUN: usize = 4;
const RUN_COUNT_MAX: usize = u16::MAX as usize;

/// Grows by one element at a time, to tell how many bytes they would take.
#[derive(Debug, Default, Clone, Copy)]
struct Size {
    runs: usize,
    elements: usize,
    count: usize,
    /// Of the last run.
    len: usize,
    run_count: usize,
}

impl Size {
    const fn bytes(self) -> usize {
        HEAD + self.runs * RUN + self.elements
    }

    /// False if an element is too long for a run.
    fn add(&mut self, len: usize) -> bool {
        if len > usize::from(u16::MAX) {
            return false;
        }
        if self.runs == 0 || self.len != len || self.run_count == RUN_COUNT_MAX {
            self.runs += 1;
            self.run_count = 0;
            self.len = len;
        }
        self.run_count += 1;
        self.elements += len;
        self.count += 1;
        true
    }
}

/// How many elements, from the first on, fit into one sealed block, and the bytes they take.
pub(super) fn fitting<'a>(elements: impl Iterator<Item = &'a [u8]>, limits: Limits) -> (usize, usize) {
    let mut size = Size::default();
    for element in elements {
        let mut more = size;
        if !more.add(element.len()) || !limits.admit(more.bytes(), more.count) {
            break;
        }
        size = more;
    }
    (size.count, size.bytes())
}

/// Elements that fit.
pub(super) fn encode(elements: &[&[u8]]) -> Vec<u8> {
    let mut size = Size::default();
    let all_short = elements.iter().all(|element| size.add(element.len()));
    assert!(all_short, "those that fit are short enough for a run");
    let mut bytes = Vec::with_capacity(size.bytes());
    bytes.extend_from_slice(&(size.runs as u32).to_le_bytes());
    let same = |a: &&[u8], b: &&[u8]| a.len() == b.len();
    for run in elements.chunk_by(same).flat_map(|run| run.chunks(RUN_COUNT_MAX)) {
        bytes.extend_from_slice(&(run.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&(run[0].len() as u16).to_le_bytes());
    }
    elements.iter().for_each(|element| bytes.extend_from_slice(element));
    bytes
}

/// Elements of a sealed block, readable from both ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sealed<'a> {
    runs: &'a [[u8; RUN]],
    elements: &'a [u8],
    /// How many of the first run's elements, and of the last's, are no longer there.
    first_gone: usize,
    last_gone: usize,
}

const fn count_and_len(run: [u8; RUN]) -> (usize, usize) {
    (u16::from_le_bytes([run[0], run[1]]) as usize, u16::from_le_bytes([run[2], run[3]]) as usize)
}

impl<'a> Sealed<'a> {
    /// Reads what [`encode`] wrote.
    pub fn of(bytes: &'a [u8]) -> Self {
        let (runs, rest) = bytes.split_first_chunk::<HEAD>().expect("sealed blocks have a head");
        let (runs, elements) = rest.split_at(u32::from_le_bytes(*runs) as usize * RUN);
        Self { runs: runs.as_chunks().0, elements, first_gone: 0, last_gone: 0 }
    }

    /// The sum of `entry_len(length)` over all elements.
    pub fn measure(&self, entry_len: impl Fn(usize) -> usize) -> usize {
        self.runs.iter().map(|run| count_and_len(*run)).map(|(count, len)| count * entry_len(len)).sum()
    }

    /// Leaves out up to `count` elements at the front.
    pub fn skip_front(&mut self, mut count: usize) {
        while let Some(&run) = self.runs.first() {
            let (in_run, len) = count_and_len(run);
            let last_gone = if self.runs.len() == 1 { self.last_gone } else { 0 };
            let here = in_run - self.first_gone - last_gone;
            if count < here {
                self.first_gone += count;
                self.elements = &self.elements[count * len..];
                return;
            }
            self.elements = &self.elements[here * len..];
            self.runs = &self.runs[1..];
            self.first_gone = 0;
            count -= here;
        }
    }

    /// Leaves out up to `count` elements at the back.
    pub fn skip_back(&mut self, mut count: usize) {
        while let Some(&run) = self.runs.last() {
            let (in_run, len) = count_and_len(run);
            let first_gone = if self.runs.len() == 1 { self.first_gone } else { 0 };
            let here = in_run - self.last_gone - first_gone;
            if count < here {
                self.last_gone += count;
                self.elements = &self.elements[..self.elements.len() - count * len];
                return;
            }
            self.elements = &self.elements[..self.elements.len() - here * len];
            self.runs = &self.runs[..self.runs.len() - 1];
            self.last_gone = 0;
            count -= here;
        }
    }
}

impl<'a> Iterator for Sealed<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        // A first run is never used up: skipping leaves it then.
        let (_, len) = count_and_len(*self.runs.first()?);
        let element = &self.elements[..len];
        self.skip_front(1);
        Some(element)
    }
}

impl DoubleEndedIterator for Sealed<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let (_, len) = count_and_len(*self.runs.last()?);
        let element = &self.elements[self.elements.len() - len..];
        self.skip_back(1);
        Some(element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn sealed_elements_are_read_from_both_ends(
            lens in proptest::collection::vec((0usize..4, 1usize..5), 1..30),
            steps in proptest::collection::vec((0u8..4, 0usize..6), 0..60)
        ) {
            let elements: Vec<Vec<u8>> = lens
                .iter()
                .flat_map(|&(len, count)| (0..count).map(move |n| vec![n as u8; len]))
                .collect();
            let slices: Vec<&[u8]> = elements.iter().map(|element| &element[..]).collect();
            let bytes = encode(&slices);
            let (mut sealed, mut model) = (Sealed::of(&bytes), slices.iter().copied().collect::<VecDeque<_>>());
            prop_assert_eq!(sealed.measure(|len| len), elements.iter().map(Vec::len).sum::<usize>());
            for (what, count) in steps {
                match what {
                    0 => prop_assert_eq!(sealed.next(), model.pop_front()),
                    1 => prop_assert_eq!(sealed.next_back(), model.pop_back()),
                    2 => {
                        sealed.skip_front(count);
                        model.drain(..count.min(model.len()));
                    }
                    _ => {
                        sealed.skip_back(count);
                        model.truncate(model.len().saturating_sub(count));
                    }
                }
                prop_assert!(sealed.eq(model.iter().copied()));
                prop_assert!(sealed.rev().eq(model.iter().rev().copied()));
            }
        }
    }

    #[test]
    fn what_fits_is_what_is_encoded() {
        let elements: Vec<Vec<u8>> = (0..1000usize).map(|n| vec![b'x'; n % 3]).collect();
        let slices: Vec<&[u8]> = elements.iter().map(|element| &element[..]).collect();
        let limits = Limits { bytes: 2000, count: 900 };
        let (count, bytes) = fitting(slices.iter().copied(), limits);
        assert_eq!(encode(&slices[..count]).len(), bytes);
        assert!(bytes <= 2000 && encode(&slices[..count + 1]).len() > 2000, "{bytes}");
        assert_eq!(fitting(slices.iter().copied(), Limits { bytes: 1 << 20, count: 900 }).0, 900);
        assert_eq!(fitting([&[0; 70_000][..]].into_iter(), Limits { bytes: 1 << 20, count: 9 }).0, 0);
    }
}
