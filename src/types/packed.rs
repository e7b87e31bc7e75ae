//! A sequence of byte strings in one allocation: what small collections, and the pages of large ones, are made of.
//!
//! ```text
//! string = header varint | bytes          header = length * 2 + mark
//! ```
//!
//! Strings are named by their offset. The mark is a bit that the owner may use, and so is the count, a number that is kept with
//! the strings. Access by position and backwards iteration are not offered: those who need them keep offsets beside.

use std::ops::Range;

use super::small_or::Word;
use super::thin_bytes::{NOTE_MAX, ThinBytes};

/// One string of a sequence, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a> {
    /// Offset of its header.
    pub at: usize,
    /// Offset of what follows.
    pub end: usize,
    pub bytes: &'a [u8],
    pub marked: bool,
}

/// Bytes that the header of a string takes.
const fn header_len(len: usize) -> usize {
    crate::codec::varint_len((len as u64) << 1)
}

#[repr(transparent)]
#[derive(Debug, Default)]
pub struct Packed {
    bytes: ThinBytes,
}

// `repr(transparent)`, as that asks.
unsafe impl Word for Packed {}

/// The largest count.
pub const COUNT_MAX: usize = NOTE_MAX;

impl Packed {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// An empty sequence with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: ThinBytes::with_capacity(bytes) }
    }

    /// Bytes in use: the offset behind the last string.
    #[inline]
    pub fn end(&self) -> usize {
        self.bytes.len()
    }

    /// What the owner counts; 0 at first.
    #[inline]
    pub fn count(&self) -> usize {
        self.bytes.note()
    }

    /// Up to [`COUNT_MAX`].
    #[inline]
    pub fn set_count(&mut self, count: usize) {
        self.bytes.set_note(count);
    }

    /// Bytes of heap memory, as the allocator rounds them.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.heap_bytes()
    }

    /// The string at an offset that is one's beginning, or nothing at the end.
    #[inline]
    pub fn item(&self, at: usize) -> Option<Item<'_>> {
        item_in(&self.bytes, at)
    }

    /// The strings from an offset on.
    pub fn iter_from(&self, at: usize) -> Items<'_> {
        Items { bytes: &self.bytes, at }
    }

    pub fn iter(&self) -> Items<'_> {
        self.iter_from(0)
    }

    /// A string behind the last, made of parts.
    pub fn push(&mut self, parts: &[&[u8]], marked: bool) {
        self.replace(self.end()..self.end(), parts, marked);
    }

    /// One string, made of parts, in the place of the strings in a range of offsets (an empty range inserts).
    pub fn replace(&mut self, range: Range<usize>, parts: &[&[u8]], marked: bool) {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let start = range.start;
        self.resize(range, header_len(len) + len);
        let mut at = start + self.write_header(start, (len << 1) | usize::from(marked));
        for part in parts {
            self.bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
    }

    /// Removes the strings in a range of offsets.
    pub fn remove(&mut self, range: Range<usize>) {
        self.resize(range, 0);
    }

    /// Copies strings, in a range of offsets of another sequence, behind the last.
    pub fn push_range(&mut self, other: &Self, range: Range<usize>) {
        self.bytes.extend_from_slice(&other.bytes[range]);
    }

    /// Makes a range of bytes `len` long by moving what follows.
    fn resize(&mut self, range: Range<usize>, len: usize) {
        let (old_end, old_len) = (self.bytes.len(), range.len());
        if len > old_len {
            self.bytes.resize(old_end + len - old_len);
            self.bytes.copy_within(range.end..old_end, range.start + len);
        } else if len < old_len {
            self.bytes.copy_within(range.end.., range.start + len);
            self.bytes.truncate(old_end - (old_len - len));
            if good_size(self.bytes.len()) <= self.bytes.capacity() / 2 {
                self.bytes.shrink_to(0);
            }
        }
    }

    fn write_header(&mut self, at: usize, header: usize) -> usize {
        let (mut rest, mut len) = (header, 0);
        while rest >= 0x80 {
            self.bytes[at + len] = rest as u8 | 0x80;
            rest >>= 7;
            len += 1;
        }
        self.bytes[at + len] = rest as u8;
        len + 1
    }
}

#[inline]
fn item_in(all: &[u8], at: usize) -> Option<Item<'_>> {
    let &first = all.get(at)?;
    let (header, len) = if first < 0x80 { (first as usize, 1) } else { long_header(&all[at..]) };
    let start = at + len;
    let end = start + (header >> 1);
    Some(Item { at, end, bytes: &all[start..end], marked: header & 1 == 1 })
}

#[inline]
fn long_header(bytes: &[u8]) -> (usize, usize) {
    let mut header = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        header |= usize::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return (header, i + 1);
        }
    }
    unreachable!("headers are written whole")
}

/// The size of the allocator's class that `len` bytes fall into (jemalloc: four classes in each doubling), so that no byte of it
/// is left unused. Grows by at least a fifth at a time, which also bounds the copying with any other allocator.
pub fn good_size(len: usize) -> usize {
    match len {
        0 => 0,
        1..=8 => 8,
        9..=128 => len.next_multiple_of(16),
        _ => len.next_multiple_of(1 << ((len - 1).ilog2() - 2)),
    }
}

/// See [`Packed::iter`].
#[derive(Debug, Clone)]
pub struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        let item = item_in(self.bytes, self.at)?;
        self.at = item.end;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_packed_sequence_behaves_like_a_vector(
            steps in proptest::collection::vec((0u8..3, any::<u16>(), 0usize..300, any::<bool>()), 0..200)
        ) {
            let mut packed = Packed::default();
            let mut model: Vec<(Vec<u8>, bool)> = Vec::new();
            for (what, place, len, mark) in steps {
                let offsets: Vec<usize> = packed.iter().map(|item| item.at).chain([packed.end()]).collect();
                let at = place as usize % offsets.len();
                let bytes = vec![place as u8; len];
                let (head, tail) = bytes.split_at(len / 3);
                match what {
                    0 => {
                        packed.replace(offsets[at]..offsets[at], &[head, tail], mark);
                        model.insert(at, (bytes, mark));
                    }
                    1 if at < model.len() => {
                        packed.replace(offsets[at]..offsets[at + 1], &[&bytes], mark);
                        model[at] = (bytes, mark);
                    }
                    2 if at < model.len() => {
                        packed.remove(offsets[at]..offsets[at + 1]);
                        model.remove(at);
                    }
                    _ => {
                        packed.push(&[&bytes], mark);
                        model.push((bytes, mark));
                    }
                }
                let strings: Vec<_> = packed.iter().map(|item| (item.bytes.to_vec(), item.marked)).collect();
                prop_assert_eq!(&strings, &model);
                prop_assert!(packed.heap_bytes() <= 2 * good_size(packed.end() + 16) + 16);
            }
        }
    }

    #[test]
    fn sizes_are_those_of_allocation_classes() {
        let sizes =
            [(1, 8), (9, 16), (100, 112), (128, 128), (129, 160), (256, 256), (257, 320), (1025, 1280)];
        for (len, size) in sizes {
            assert_eq!(good_size(len), size, "{len}");
        }
        assert!((1..100_000).all(|len| good_size(len) >= len && good_size(good_size(len)) == good_size(len)));
    }
}
