//! How the entries of a stream are packed into the bytes of a block, and an entry as readers see it.
//!
//! ```text
//! block  = names | entry ...
//! names  = count varint | count * string                  of the entry that came first
//! entry  = header varint | ms varint | seq varint | strings
//! header = length of what follows * 2, and 1 if the entry has names of its own
//! ms     = less that of the block's base
//! seq    = less that of the block's base, in its millisecond
//! strings = values, or with own names: count of pairs varint | name, value in turn
//! string = length * 2 varint | bytes, or zigzag * 2 + 1 varint: an integer that has this text
//! ```
//!
//! Only this module makes these bytes, and it never sees others: reading does not check. Damaged bytes would read as something
//! else, or panic at the end of a slice.

use std::fmt;

use crate::codec::{put_varint, varint_len};
use crate::resp::number::{I64_TEXT_LEN_MAX, parse_i64};
use crate::types::strings::Strings;
use crate::types::text::{Integer, Text};

use super::id::StreamId;

/// Reads the bytes of a block front to back.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How much has not been read.
    pub const fn left(&self) -> usize {
        self.0.len()
    }

    #[inline]
    pub fn varint(&mut self) -> u64 {
        if let [byte @ 0..0x80, rest @ ..] = self.0 {
            self.0 = rest;
            return u64::from(*byte);
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        while let [byte, rest @ ..] = self.0
            && shift < u64::BITS
        {
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                break;
            }
            shift += 7;
        }
        value
    }

    #[inline]
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(len);
        self.0 = rest;
        head
    }

    #[inline]
    fn string(&mut self) -> Text<'a> {
        let head = self.varint();
        if head & 1 == 0 {
            return Text::Bytes(self.take((head >> 1) as usize));
        }
        let zigzag = head >> 1;
        Text::Integer(Integer::new((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)))
    }

    fn skip_string(&mut self) {
        let head = self.varint();
        if head & 1 == 0 {
            self.take((head >> 1) as usize);
        }
    }
}

/// An entry as readers see it.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub id: StreamId,
    /// Behind their count.
    names: Reader<'a>,
    strings: Reader<'a>,
    pairs: usize,
    own_names: bool,
}

impl<'a> Entry<'a> {
    /// Names and values in turn.
    pub const fn strings(&self) -> EntryStrings<'a> {
        let Self { names, strings, pairs, own_names, .. } = *self;
        EntryStrings { names, strings, left: pairs * 2, own_names }
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.id)?;
        f.debug_list().entries(self.strings()).finish()
    }
}

/// See [`Entry::strings`].
#[derive(Debug, Clone)]
pub struct EntryStrings<'a> {
    names: Reader<'a>,
    strings: Reader<'a>,
    left: usize,
    own_names: bool,
}

impl<'a> Iterator for EntryStrings<'a> {
    type Item = Text<'a>;

    #[inline]
    fn next(&mut self) -> Option<Text<'a>> {
        let is_name = self.left.is_multiple_of(2);
        self.left = self.left.checked_sub(1)?;
        Some(if is_name && !self.own_names { self.names.string() } else { self.strings.string() })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for EntryStrings<'_> {}

/// The names that the entries of a block share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    count: usize,
    /// Behind the count.
    names: Reader<'a>,
}

impl<'a> Names<'a> {
    /// Of a block's bytes.
    #[inline]
    pub fn of(block: &'a [u8]) -> Self {
        let mut names = Reader::new(block);
        Self { count: names.varint() as usize, names }
    }

    /// Offset behind the names in the block's bytes.
    pub fn end(&self, block: &[u8]) -> usize {
        let mut names = self.names;
        (0..self.count).for_each(|_| names.skip_string());
        block.len() - names.left()
    }

    /// Whether these are the names of `fields`, which are names and values in turn.
    fn are_those_of(&self, fields: &Strings<'_>) -> bool {
        let mut names = self.names;
        fields.len() == self.count * 2 && fields.iter().step_by(2).all(|name| *names.string() == *name)
    }

    /// The entry in the bytes of a block at an offset that is one's beginning, and the offset behind it.
    #[inline]
    pub fn entry(&self, base: StreamId, block: &'a [u8], at: usize) -> (Entry<'a>, usize) {
        let (header, start, end) = bounds(block, at);
        let mut strings = Reader::new(&block[start..end]);
        let own_names = header & 1 == 1;
        let id = read_id(&mut strings, base);
        let pairs = if own_names { strings.varint() as usize } else { self.count };
        (Entry { id, names: self.names, strings, pairs, own_names }, end)
    }
}

/// Header of an entry, offset behind that, offset behind the entry.
#[inline]
fn bounds(block: &[u8], at: usize) -> (u64, usize, usize) {
    let mut reader = Reader::new(&block[at..]);
    let header = reader.varint();
    let start = block.len() - reader.left();
    (header, start, start + (header >> 1) as usize)
}

#[inline]
fn read_id(reader: &mut Reader<'_>, base: StreamId) -> StreamId {
    let (ms, seq) = (reader.varint(), reader.varint());
    // What was written adds up; the sums are not checked again.
    let seq = if ms == 0 { base.seq.wrapping_add(seq) } else { seq };
    StreamId::new(base.ms.wrapping_add(ms), seq)
}

/// The id of the entry at an offset that is one's beginning, and the offset behind the entry.
#[inline]
pub(super) fn id_at(base: StreamId, block: &[u8], at: usize) -> (StreamId, usize) {
    let (_, start, end) = bounds(block, at);
    (read_id(&mut Reader::new(&block[start..]), base), end)
}

/// What stands for a string before its bytes: all of it, if it is an integer.
fn head_of(string: &[u8]) -> u64 {
    let integer = if string.len() <= I64_TEXT_LEN_MAX { parse_i64(string) } else { None };
    if let Some(value) = integer {
        let zigzag = ((value << 1) ^ (value >> 63)) as u64;
        if zigzag >> 63 == 0 {
            return zigzag << 1 | 1;
        }
    }
    (string.len() as u64) << 1
}

fn string_len(string: &[u8]) -> usize {
    let head = head_of(string);
    varint_len(head) + if head & 1 == 0 { string.len() } else { 0 }
}

fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    let head = head_of(string);
    put_varint(out, head);
    if head & 1 == 0 {
        out.extend_from_slice(string);
    }
}

/// Appends what a block begins with: the names of its first entry.
pub(super) fn put_names(out: &mut Vec<u8>, fields: &Strings<'_>) {
    put_varint(out, fields.len() as u64 / 2);
    fields.iter().step_by(2).for_each(|name| put_string(out, name));
}

/// Bytes that [`put_names`] appends.
pub(super) fn names_len(fields: &Strings<'_>) -> usize {
    varint_len(fields.len() as u64 / 2) + fields.iter().step_by(2).map(string_len).sum::<usize>()
}

/// An entry that is about to be appended to a block.
pub(super) struct NewEntry<'a> {
    fields: Strings<'a>,
    ms: u64,
    seq: u64,
    own_names: bool,
    /// Of what follows the header.
    body_len: usize,
}

impl<'a> NewEntry<'a> {
    /// For a block with this base that begins with these names; `None`: the entry's own.
    pub fn new(id: StreamId, fields: Strings<'a>, base: StreamId, names: Option<&Names<'_>>) -> Self {
        let own_names = names.is_some_and(|names| !names.are_those_of(&fields));
        let ms = id.ms - base.ms;
        let seq = if ms == 0 { id.seq - base.seq } else { id.seq };
        let strings_len: usize = match own_names {
            true => varint_len(fields.len() as u64 / 2) + fields.iter().map(string_len).sum::<usize>(),
            false => fields.iter().skip(1).step_by(2).map(string_len).sum(),
        };
        let body_len = varint_len(ms) + varint_len(seq) + strings_len;
        Self { fields, ms, seq, own_names, body_len }
    }

    const fn header(&self) -> u64 {
        (self.body_len as u64) << 1 | self.own_names as u64
    }

    /// Bytes that [`Self::put`] appends.
    pub const fn len(&self) -> usize {
        varint_len(self.header()) + self.body_len
    }

    pub fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.header());
        put_varint(out, self.ms);
        put_varint(out, self.seq);
        if self.own_names {
            put_varint(out, self.fields.len() as u64 / 2);
            self.fields.iter().for_each(|string| put_string(out, string));
        } else {
            self.fields.iter().skip(1).step_by(2).for_each(|value| put_string(out, value));
        }
    }
}
