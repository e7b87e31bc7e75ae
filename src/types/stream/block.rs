//! A run of entries in one allocation, see [`super::entry`] for its layout.
//!
//! A block that is full is kept exactly as large as it is; one that still grows has room behind its entries. Entries removed from the
//! front are passed over; any others are cut out.

use std::iter::Peekable;
use std::ops::Deref;

use smallvec::SmallVec;

use crate::types::packed;
use crate::types::strings::Strings;

use super::entry::{Entry, Names, NewEntry, id_at, names_len, put_names};
use super::id::StreamId;

/// Limits of a block, if the directives set none: what one op on a block costs must have bounds.
const BYTES_MAX: usize = 64 << 10;

/// What a block may hold, unless it is a single entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub bytes: usize,
    pub entries: usize,
}

/// A block may be larger than the limit if fewer entries than this, of its average length, would fill it: so that less of the memory
/// that belongs to it is left over at its end, and less of what leads to it is needed.
const ENTRIES_FEW: usize = 32;
/// By how much.
const LARGER: usize = 16;
/// Bytes in front of a block that are kept after their entries were removed; more if the rest is more.
const PASSED_OVER_MAX: usize = 4 << 10;

impl Limits {
    /// What values of the directives mean: 0 is no limit.
    pub fn of(bytes: usize, entries: usize) -> Self {
        let no_limit = |number: usize, limit| if number == 0 { limit } else { number };
        Self { bytes: no_limit(bytes, BYTES_MAX).min(BYTES_MAX), entries: no_limit(entries, usize::MAX) }
    }

    /// Whether so many entries may take so many bytes.
    fn admit(self, bytes: usize, entries: usize) -> bool {
        entries <= self.entries && bytes <= self.bytes_max(bytes / entries)
    }

    /// Bytes of a block whose entries have this length on average.
    fn bytes_max(self, average: usize) -> usize {
        if average > self.bytes / ENTRIES_FEW { (self.bytes * LARGER).min(BYTES_MAX) } else { self.bytes }
    }
}

#[derive(Debug)]
pub(super) struct Block<B> {
    /// What ids are told from: not above any.
    base: StreamId,
    /// Id of the last entry.
    last: StreamId,
    /// Offset of the first entry.
    start: usize,
    /// Entries.
    live: u32,
    /// Entries that were ever put into it.
    ever: u32,
    bytes: B,
}

/// A block that is not appended to any more.
pub(super) type Full = Block<Box<[u8]>>;
/// The last block of a stream.
pub(super) type Open = Block<Vec<u8>>;

impl<B: Deref<Target = [u8]>> Block<B> {
    pub const fn base(&self) -> StreamId {
        self.base
    }

    pub const fn last_id(&self) -> StreamId {
        self.last
    }

    pub const fn len(&self) -> usize {
        self.live as usize
    }

    pub fn first_id(&self) -> StreamId {
        id_at(self.base, &self.bytes, self.start).0
    }

    pub fn view(&self) -> View<'_> {
        View { base: self.base, start: self.start, bytes: &self.bytes }
    }
}

impl<B: Deref<Target = [u8]> + From<Vec<u8>>> Block<B> {
    /// Removes the first entries, fewer than there are.
    pub fn skip(&mut self, count: usize) {
        debug_assert!(count < self.len());
        for _ in 0..count {
            self.start = id_at(self.base, &self.bytes, self.start).1;
        }
        self.live -= count as u32;
        let gone = self.start - self.view().names().end(&self.bytes);
        if gone > PASSED_OVER_MAX && gone > self.bytes.len() / 2 {
            self.cut();
        }
    }

    /// Gives up the bytes that are passed over.
    fn cut(&mut self) {
        let names_end = self.view().names().end(&self.bytes);
        let rest = &self.bytes[self.start..];
        let mut kept = Vec::with_capacity(packed::good_size(names_end + rest.len()));
        kept.extend_from_slice(&self.bytes[..names_end]);
        kept.extend_from_slice(rest);
        self.start = names_end;
        self.bytes = kept.into();
    }

    /// Removes entries, by ascending ids, all of which are here: takes as many from `ids` as there are of this block.
    pub fn remove(&mut self, ids: &mut Peekable<impl Iterator<Item = StreamId>>) {
        let last = self.last;
        let mut next = || ids.next_if(|id| *id <= last);
        let mut wanted = next();
        while let Some(id) = wanted
            && let (first, end) = id_at(self.base, &self.bytes, self.start)
            && first == id
        {
            self.live -= 1;
            if self.live == 0 {
                return;
            }
            self.start = end;
            wanted = next();
        }
        let names_end = self.view().names().end(&self.bytes);
        if wanted.is_none() && self.start - names_end <= self.bytes.len() / 2 {
            return;
        }
        let mut kept = self.bytes[..names_end].to_vec();
        let (mut from, mut at, mut last_kept) = (self.start, self.start, self.last);
        while at < self.bytes.len() {
            let (id, end) = id_at(self.base, &self.bytes, at);
            if wanted == Some(id) {
                kept.extend_from_slice(&self.bytes[from..at]);
                from = end;
                self.live -= 1;
                wanted = next();
            } else {
                last_kept = id;
            }
            at = end;
        }
        kept.extend_from_slice(&self.bytes[from..]);
        (self.start, self.last) = (names_end, last_kept);
        self.bytes = kept.into();
    }
}

impl Full {
    pub const fn allocated(&self) -> usize {
        self.bytes.len()
    }
}

impl Open {
    pub fn new(id: StreamId, fields: Strings<'_>) -> Self {
        let entry = NewEntry::new(id, fields, id, None);
        let start = names_len(&fields);
        let mut bytes = Vec::with_capacity(packed::good_size(start + entry.len()));
        put_names(&mut bytes, &fields);
        debug_assert_eq!(bytes.len(), start);
        entry.put(&mut bytes);
        debug_assert_eq!(bytes.len(), start + entry.len());
        Self { base: id, last: id, start, live: 1, ever: 1, bytes }
    }

    /// Appends an entry with an id above the last, unless the limits forbid it.
    pub fn push(&mut self, id: StreamId, fields: Strings<'_>, limits: Limits) -> bool {
        let entries = self.ever as usize + 1;
        if entries > limits.entries {
            return false;
        }
        let entry = NewEntry::new(id, fields, self.base, Some(&self.view().names()));
        let len = self.bytes.len() + entry.len();
        if !limits.admit(len, entries) {
            return false;
        }
        if len > self.bytes.capacity() {
            // In steps of a half, yet not beyond what can become full.
            let bytes_max = limits.bytes_max(len / entries);
            let room = packed::good_size(len.max((len + len / 2).min(bytes_max)));
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        entry.put(&mut self.bytes);
        debug_assert_eq!(self.bytes.len(), len);
        self.last = id;
        self.live += 1;
        self.ever += 1;
        true
    }

    /// The block as it stays, without what has been removed from its front.
    pub fn fill(mut self) -> Full {
        let Self { base, last, live, ever, .. } = self;
        let names_end = self.view().names().end(&self.bytes);
        self.bytes.drain(names_end..self.start);
        Block { base, last, start: names_end, live, ever, bytes: self.bytes.into() }
    }

    pub const fn allocated(&self) -> usize {
        self.bytes.capacity()
    }
}

/// A block to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    base: StreamId,
    start: usize,
    bytes: &'a [u8],
}

impl<'a> View<'a> {
    fn names(&self) -> Names<'a> {
        Names::of(self.bytes)
    }

    /// Offset of the first entry from an id on.
    fn offset_of(&self, id: StreamId) -> usize {
        let mut at = self.start;
        while at < self.bytes.len() {
            let (here, end) = id_at(self.base, self.bytes, at);
            if here >= id {
                break;
            }
            at = end;
        }
        at
    }

    pub fn get(&self, id: StreamId) -> Option<Entry<'a>> {
        self.from(id).next().filter(|entry| entry.id == id)
    }

    /// How many entries are below an id.
    pub fn count_below(&self, id: StreamId) -> usize {
        self.ids().take_while(|here| *here < id).count()
    }

    pub fn ids(self) -> impl Iterator<Item = StreamId> + use<'a> {
        let mut at = self.start;
        std::iter::from_fn(move || {
            if at == self.bytes.len() {
                return None;
            }
            let (id, end) = id_at(self.base, self.bytes, at);
            at = end;
            Some(id)
        })
    }

    /// Entries from an id on.
    #[inline]
    pub fn from(&self, id: StreamId) -> Forward<'a> {
        Forward { view: *self, names: self.names(), at: self.offset_of(id) }
    }

    /// Entries up to an id, the last first.
    pub fn back_from(&self, id: StreamId) -> Backward<'a> {
        let (mut at, mut offsets) = (self.start, SmallVec::new());
        while at < self.bytes.len() {
            let (here, end) = id_at(self.base, self.bytes, at);
            if here > id {
                break;
            }
            offsets.push((at - self.start) as u32);
            at = end;
        }
        Backward { view: *self, names: self.names(), offsets }
    }
}

/// See [`View::from`].
#[derive(Debug, Clone)]
pub(super) struct Forward<'a> {
    view: View<'a>,
    names: Names<'a>,
    at: usize,
}

impl<'a> Iterator for Forward<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        if self.at == self.view.bytes.len() {
            return None;
        }
        let (entry, end) = self.names.entry(self.view.base, self.view.bytes, self.at);
        self.at = end;
        Some(entry)
    }
}

/// See [`View::back_from`].
#[derive(Debug, Clone)]
pub(super) struct Backward<'a> {
    view: View<'a>,
    names: Names<'a>,
    /// Of entries, from the block's first: limits keep all but the end of the last within 32 bits.
    offsets: SmallVec<[u32; 128]>,
}

impl<'a> Iterator for Backward<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        let at = self.view.start + self.offsets.pop()? as usize;
        Some(self.names.entry(self.view.base, self.view.bytes, at).0)
    }
}

impl<'a> Backward<'a> {
    /// What has not been read yet, and perhaps more, from an id on, the first first.
    pub fn turned(&self, id: StreamId) -> Forward<'a> {
        self.view.from(id)
    }
}

impl<'a> Forward<'a> {
    /// What has not been read yet, and perhaps more, up to an id, the last first.
    pub fn turned(&self, id: StreamId) -> Backward<'a> {
        self.view.back_from(id)
    }
}

/// Every rule of a block, for tests.
#[cfg(test)]
impl<B: Deref<Target = [u8]>> Block<B> {
    pub fn check(&self, limits: Option<Limits>) {
        let ids: Vec<_> = self.view().ids().collect();
        assert_eq!(ids.len(), self.len());
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert_eq!((ids.first(), ids.last()), (Some(&self.first_id()), Some(&self.last)));
        assert!(self.base <= ids[0]);
        if let Some(limits) = limits {
            assert!(self.ever as usize <= limits.entries && self.live <= self.ever);
            assert!(self.ever == 1 || self.bytes.len() <= limits.bytes_max(usize::MAX));
        }
    }
}
