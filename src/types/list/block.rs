//! One block of a list: elements packed one behind the other, readable and extendable at both ends.
//!
//! ```text
//! buffer = slack (head bytes) | entry ... entry | spare capacity
//! entry  = length varint | bytes | length varint, its bytes in reverse
//! ```
//!
//! A pop only moves `head` or the end; room is made where it is needed by sliding or growing, at a cost that is spread over many
//! pushes. A block does not know its limits: whoever pushes passes the capacity that growth should not exceed without need.
//!
//! A block that is sealed has another form (see [`super::sealed`]), until it is changed.

use std::ops::Range;

use crate::allocator::real_size;
use crate::codec::{VARINT_MAX_LEN, put_bytes, varint_len};

use super::sealed::Sealed;

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

impl Side {
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// Bytes that an element takes in a block.
pub(super) const fn entry_len(element_len: usize) -> usize {
    element_len + 2 * varint_len(element_len as u64)
}

/// Buffers up to this capacity are never shrunk.
const KEPT_CAPACITY: usize = 128;

#[derive(Debug, Default)]
pub(super) struct Block {
    buffer: Vec<u8>,
    /// Where the first entry begins; or `SEALED`.
    head: u32,
    count: u32,
}

/// In place of a head: the buffer is that of a sealed block.
const SEALED: u32 = u32::MAX;

impl Block {
    #[inline]
    pub const fn count(&self) -> usize {
        self.count as usize
    }

    /// A sealed block of so many elements.
    pub const fn sealed(buffer: Vec<u8>, count: usize) -> Self {
        Self { buffer, head: SEALED, count: count as u32 }
    }

    #[inline]
    pub const fn is_sealed(&self) -> bool {
        self.head == SEALED
    }

    /// Bytes of all entries, as they are or will be once it is no longer sealed.
    #[inline]
    pub fn bytes(&self) -> usize {
        if self.is_sealed() { Sealed::of(&self.buffer).measure(entry_len) } else { self.open_bytes() }
    }

    #[inline]
    fn open_bytes(&self) -> usize {
        self.buffer.len() - self.head()
    }

    /// Bytes in use, in whichever form.
    pub fn used_bytes(&self) -> usize {
        if self.is_sealed() { self.buffer.len() } else { self.open_bytes() }
    }

    /// Makes it one that can be changed.
    #[inline]
    fn open(&mut self) {
        if self.is_sealed() {
            self.unseal();
        }
    }

    #[cold]
    fn unseal(&mut self) {
        let sealed = std::mem::take(self);
        let elements = Sealed::of(&sealed.buffer);
        let bytes = elements.measure(entry_len);
        self.make_room(Side::Right, bytes, bytes);
        elements.for_each(|element| self.push(Side::Right, element, bytes));
    }

    pub const fn heap_bytes(&self) -> usize {
        real_size(self.buffer.capacity())
    }

    #[inline]
    const fn head(&self) -> usize {
        self.head as usize
    }

    fn set_head(&mut self, head: usize) {
        assert!(head < SEALED as usize, "slack is less than a few times a block's limit");
        self.head = head as u32;
    }

    /// All elements.
    #[inline]
    pub fn elements(&self) -> Elements<'_> {
        if self.is_sealed() {
            return Elements::Sealed(Sealed::of(&self.buffer));
        }
        Elements::Open(self.packed())
    }

    /// All entries of a block that is not sealed.
    #[inline]
    fn packed(&self) -> Packed<'_> {
        Packed { bytes: &self.buffer[self.head()..], count: self.count() }
    }

    /// The elements of a range, which must lie within the block.
    pub fn slice(&self, range: Range<usize>) -> Elements<'_> {
        if self.is_sealed() {
            let mut elements = Sealed::of(&self.buffer);
            elements.skip_front(range.start);
            elements.skip_back(self.count() - range.end);
            return Elements::Sealed(elements);
        }
        let (start, end) = (self.offset_of(range.start), self.offset_of(range.end));
        Elements::Open(Packed { bytes: &self.buffer[start..end], count: range.len() })
    }

    /// The element at an index below `count`.
    pub fn get(&self, index: usize) -> &[u8] {
        if self.is_sealed() {
            let mut elements = Sealed::of(&self.buffer);
            elements.skip_front(index);
            return elements.next().expect("the index is below the count");
        }
        if index + 1 == self.count() {
            return entry_before(&self.buffer, self.buffer.len()).0;
        }
        entry_at(&self.buffer, self.offset_of(index)).0
    }

    /// Where the entry with this index begins; where the last one ends if the index is `count`.
    fn offset_of(&self, index: usize) -> usize {
        if index <= self.count() / 2 {
            (0..index).fold(self.head(), |at, _| entry_at(&self.buffer, at).1)
        } else {
            (index..self.count()).fold(self.buffer.len(), |at, _| entry_before(&self.buffer, at).1)
        }
    }

    #[inline]
    pub fn push(&mut self, side: Side, element: &[u8], limit: usize) {
        self.open();
        let len = entry_len(element.len());
        self.make_room(side, len, limit);
        match side {
            Side::Right => {
                put_bytes(&mut self.buffer, element);
                let mut suffix = [0; VARINT_MAX_LEN];
                self.buffer.extend_from_slice(reversed_varint(&mut suffix, element.len()));
            }
            Side::Left => {
                let start = self.head() - len;
                write_entry(&mut self.buffer[start..start + len], element);
                self.set_head(start);
            }
        }
        self.count += 1;
    }

    /// Makes `len` bytes available at a side. The capacity exceeds `limit` only where the entries need it.
    #[inline]
    pub fn make_room(&mut self, side: Side, len: usize, limit: usize) {
        self.open();
        let room = match side {
            Side::Left => self.head(),
            Side::Right => self.buffer.capacity() - self.buffer.len(),
        };
        if room < len {
            self.make_more_room(side, len, limit);
        }
    }

    #[cold]
    fn make_more_room(&mut self, side: Side, len: usize, limit: usize) {
        let (live, capacity) = (self.open_bytes(), self.buffer.capacity());
        let wanted = live + len;
        let grown = allocation_class(wanted).min(limit.max(wanted));
        let slack = capacity - live;
        if slack >= len && (slack - len >= live / 8 || grown <= capacity) {
            // Both sides get a share, so that pushes that alternate don't slide every time.
            let spare = slack - len;
            let head = if side == Side::Left { len + spare - spare / 2 } else { spare / 2 };
            let old = self.head()..self.buffer.len();
            if head + live > old.end {
                self.buffer.resize(head + live, 0);
            }
            self.buffer.copy_within(old, head);
            self.buffer.truncate(head + live);
            self.set_head(head);
        } else if side == Side::Right && self.head == 0 {
            self.buffer.reserve_exact(grown - self.buffer.len());
        } else {
            self.move_to_new_buffer(grown, if side == Side::Left { grown - live } else { 0 });
        }
    }

    fn move_to_new_buffer(&mut self, capacity: usize, head: usize) {
        let mut buffer = Vec::with_capacity(capacity);
        buffer.resize(head, 0);
        buffer.extend_from_slice(&self.buffer[self.head()..]);
        self.buffer = buffer;
        self.set_head(head);
    }

    /// Gives memory back once most of the buffer is unused.
    fn shrink_if_sparse(&mut self) {
        let capacity = self.buffer.capacity();
        if capacity > KEPT_CAPACITY && self.open_bytes() < capacity / 4 {
            self.move_to_new_buffer(allocation_class(self.open_bytes()), 0);
        }
    }

    /// Gives spare memory back: nothing will be pushed here soon.
    pub fn tighten(&mut self) {
        if self.is_sealed() {
            return;
        }
        let live = self.open_bytes();
        if self.buffer.capacity() - live > live / 8 {
            self.move_to_new_buffer(live, 0);
        }
    }

    /// Removes up to `count` elements at a side.
    #[inline]
    pub fn pop(&mut self, side: Side, count: usize) {
        if count >= self.count() {
            *self = Self::default();
            return;
        }
        self.open();
        match side {
            Side::Left => {
                let head = (0..count).fold(self.head(), |at, _| entry_at(&self.buffer, at).1);
                // Inside the buffer of a block with several entries, hence near its limit.
                self.set_head(head);
            }
            Side::Right => {
                let end = (0..count).fold(self.buffer.len(), |at, _| entry_before(&self.buffer, at).1);
                self.buffer.truncate(end);
            }
        }
        self.count -= count as u32;
        self.shrink_if_sparse();
    }

    /// Adds an element before the one at `index`.
    pub fn insert(&mut self, index: usize, element: &[u8], limit: usize) {
        self.open();
        let at = self.offset_of(index);
        self.splice(at..at, element, limit);
        self.count += 1;
    }

    /// Puts an element in the place of the one at `index`.
    pub fn replace(&mut self, index: usize, element: &[u8], limit: usize) {
        self.open();
        let start = self.offset_of(index);
        let end = entry_at(&self.buffer, start).1;
        self.splice(start..end, element, limit);
        self.shrink_if_sparse();
    }

    fn splice(&mut self, old: Range<usize>, element: &[u8], limit: usize) {
        let len = entry_len(element.len());
        let (end, new_end) = (self.buffer.len(), self.buffer.len() - old.len() + len);
        if new_end > self.buffer.capacity() {
            let capacity = allocation_class(new_end).min(limit.max(new_end));
            self.buffer.reserve_exact(capacity - end);
        }
        self.buffer.resize(end.max(new_end), 0);
        self.buffer.copy_within(old.end..end, old.start + len);
        self.buffer.truncate(new_end);
        write_entry(&mut self.buffer[old.start..old.start + len], element);
    }

    /// Takes the elements from `index` on away, into a block of their own.
    pub fn split_off(&mut self, index: usize) -> Self {
        self.open();
        let at = self.offset_of(index);
        let rest = Self { buffer: self.buffer[at..].to_vec(), head: 0, count: (self.count() - index) as u32 };
        self.buffer.truncate(at);
        self.count = index as u32;
        self.shrink_if_sparse();
        rest
    }

    /// Adds the elements of another block at the right.
    pub fn append(&mut self, other: &Self, limit: usize) {
        self.make_room(Side::Right, other.bytes(), limit);
        if other.is_sealed() {
            return other.elements().for_each(|element| self.push(Side::Right, element, limit));
        }
        self.buffer.extend_from_slice(other.packed().bytes);
        self.count += other.count;
    }

    /// Removes elements equal to `element`, at most `most` of them, those nearest to `from` first. Returns their number.
    pub fn remove_equal(&mut self, element: &[u8], from: Side, most: usize) -> usize {
        if self.is_sealed() && !self.elements().any(|other| other == element) {
            return 0;
        }
        self.open();
        let len = entry_len(element.len());
        let mut found = smallvec::SmallVec::<[usize; 32]>::new();
        let mut rest = self.packed();
        while found.len() < most {
            let next = match from {
                Side::Left => rest.next(),
                Side::Right => rest.next_back(),
            };
            let Some(other) = next else { break };
            if other == element {
                // What has been read lies before the rest, or behind it.
                found.push(match from {
                    Side::Left => self.buffer.len() - rest.bytes.len() - len,
                    Side::Right => self.head() + rest.bytes.len(),
                });
            }
        }
        if from == Side::Right {
            found.reverse();
        }
        let Some(&first) = found.first() else { return 0 };
        let mut end = first;
        for (i, start) in found.iter().enumerate() {
            let kept = start + len..found.get(i + 1).copied().unwrap_or(self.buffer.len());
            let kept_len = kept.len();
            self.buffer.copy_within(kept, end);
            end += kept_len;
        }
        self.buffer.truncate(end);
        self.count -= found.len() as u32;
        self.shrink_if_sparse();
        found.len()
    }
}

/// Rounds a capacity up to what the allocator would set aside for it anyway: four sizes per doubling.
fn allocation_class(bytes: usize) -> usize {
    let step = (bytes.next_power_of_two() / 8).max(16);
    bytes.next_multiple_of(step)
}

/// Elements of a block from left to right, or from right to left.
#[derive(Debug, Clone, Copy)]
pub(super) enum Elements<'a> {
    Open(Packed<'a>),
    Sealed(Sealed<'a>),
}

impl Default for Elements<'_> {
    fn default() -> Self {
        Self::Open(Packed::default())
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            Self::Open(packed) => packed.next(),
            Self::Sealed(sealed) => sealed.next(),
        }
    }
}

impl DoubleEndedIterator for Elements<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Open(packed) => packed.next_back(),
            Self::Sealed(sealed) => sealed.next_back(),
        }
    }
}

/// Entries one behind the other, as they lie in a block.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Packed<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> Iterator for Packed<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.count = self.count.checked_sub(1)?;
        let (element, end) = entry_at(self.bytes, 0);
        self.bytes = &self.bytes[end..];
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl DoubleEndedIterator for Packed<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let (element, start) = entry_before(self.bytes, self.bytes.len());
        self.bytes = &self.bytes[..start];
        Some(element)
    }
}

/// The element of the entry that begins at `start`, and where the entry ends.
#[inline]
fn entry_at(bytes: &[u8], start: usize) -> (&[u8], usize) {
    let (mut len, mut prefix_len) = (usize::from(bytes[start]), 1);
    if len >= 0x80 {
        len &= 0x7f;
        loop {
            let byte = bytes[start + prefix_len];
            len |= usize::from(byte & 0x7f) << (7 * prefix_len);
            prefix_len += 1;
            if byte < 0x80 {
                break;
            }
        }
    }
    let element = start + prefix_len..start + prefix_len + len;
    let end = element.end + prefix_len;
    (&bytes[element], end)
}

/// The element of the entry that ends at `end`, and where the entry begins.
#[inline]
fn entry_before(bytes: &[u8], end: usize) -> (&[u8], usize) {
    let (mut len, mut suffix_len) = (usize::from(bytes[end - 1]), 1);
    if len >= 0x80 {
        len &= 0x7f;
        loop {
            let byte = bytes[end - 1 - suffix_len];
            len |= usize::from(byte & 0x7f) << (7 * suffix_len);
            suffix_len += 1;
            if byte < 0x80 {
                break;
            }
        }
    }
    let element = end - suffix_len - len..end - suffix_len;
    let start = element.start - suffix_len;
    (&bytes[element], start)
}

/// Fills `entry`, which is exactly as long as the element needs.
fn write_entry(entry: &mut [u8], element: &[u8]) {
    let mut suffix = [0; VARINT_MAX_LEN];
    let suffix = reversed_varint(&mut suffix, element.len());
    let (prefix, rest) = entry.split_at_mut(suffix.len());
    prefix.iter_mut().zip(suffix.iter().rev()).for_each(|(to, from)| *to = *from);
    let (middle, end) = rest.split_at_mut(element.len());
    middle.copy_from_slice(element);
    end.copy_from_slice(suffix);
}

/// A varint to be read from its end.
#[inline]
fn reversed_varint(out: &mut [u8; VARINT_MAX_LEN], value: usize) -> &[u8] {
    let len = varint_len(value as u64);
    for (i, byte) in out[..len].iter_mut().rev().enumerate() {
        let more = if i + 1 < len { 0x80 } else { 0 };
        *byte = (value >> (7 * i)) as u8 & 0x7f | more;
    }
    &out[..len]
}
