//! The pending buffer: records gather here in the shape in which they will be written.
//!
//! ```text
//! | header room | records ... | CRC room, padding | header room | records ...
//! ^ span 0                                        ^ span 1
//! ```
//!
//! Frames are delimited while records arrive, so that writing a group copies nothing: the writer fills in headers and CRCs
//! and hands the bytes to the disk as they stand.

use crate::codec::put_varint;

use super::frame::{ALIGN, Flags, HEADER_LEN, TRAILER_LEN};
use super::record;

/// Capacity that is kept from one group to the next; a larger buffer is given back.
const KEEP_CAPACITY_BYTES: usize = 16 << 20;
/// Capacity that is kept however small the groups are.
const IDLE_CAPACITY_BYTES: usize = 64 << 10;

/// A frame in a group, not yet sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Where its header begins in the group's bytes.
    pub start: usize,
    pub payload_len: usize,
    pub records: u32,
    pub flags: Flags,
}

/// Records on their way to the disk, cut into frames.
#[derive(Debug)]
pub struct Group {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// The frame that is being filled.
    open_start: usize,
    open_records: u32,
    records: u64,
    payload_max: usize,
}

impl Group {
    /// `payload_max` bounds a frame's payload; segments must have room for one such frame.
    pub fn new(payload_max: usize) -> Self {
        let mut group = Self {
            bytes: Vec::new(),
            spans: Vec::new(),
            open_start: 0,
            open_records: 0,
            records: 0,
            payload_max,
        };
        group.open();
        group
    }

    /// Adds a record; returns the bytes that it takes in the stream.
    #[inline]
    pub fn append(&mut self, body: &[u8]) -> usize {
        let len = record::record_len(body.len());
        if self.open_payload_len() + len > self.payload_max {
            self.close_unless_empty();
            if len > self.payload_max {
                self.append_pieces(body);
                self.records += 1;
                return len;
            }
        }
        put_varint(&mut self.bytes, body.len() as u64);
        self.bytes.extend_from_slice(body);
        self.open_records += 1;
        self.records += 1;
        len
    }

    /// Makes the group one empty frame. Only for a group without records.
    pub fn set_empty_frame(&mut self) {
        debug_assert!(self.is_empty());
        self.close(Flags::COMMIT | Flags::EMPTY, 0);
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.bytes.len() <= self.open_start + HEADER_LEN
    }

    pub fn records(&self) -> u64 {
        self.records
    }

    /// Ends the last frame; nothing is appended until [`Group::clear`].
    pub fn finish(&mut self) {
        self.close_unless_empty();
        self.bytes.truncate(self.open_start);
    }

    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Puts zeros between two frames of a finished group, or behind its last.
    pub fn pad(&mut self, at: usize, zeros: usize) {
        self.bytes.splice(at..at, std::iter::repeat_n(0, zeros));
        for span in self.spans.iter_mut().filter(|span| span.start >= at) {
            span.start += zeros;
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Forgets everything but (most of) the memory.
    pub fn clear(&mut self) {
        self.spans.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEEP_CAPACITY_BYTES);
        self.records = 0;
        self.open();
    }

    /// Goes on with little more memory than groups of `len` bytes need. The memory that is too much, for the caller to free where
    /// nobody waits. Does nothing for a group that has records, or if there is little to gain.
    #[must_use]
    pub fn trim(&mut self, len: usize) -> Vec<u8> {
        let wanted = len.max(IDLE_CAPACITY_BYTES);
        if !self.is_empty() || self.bytes.capacity() <= 4 * wanted {
            return Vec::new();
        }
        self.spans = Vec::new();
        let large = std::mem::replace(&mut self.bytes, Vec::with_capacity(wanted));
        self.open();
        large
    }

    #[cfg(test)]
    pub const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    fn append_pieces(&mut self, mut body: &[u8]) {
        let (prefix, prefix_len) = record::prefix(body.len());
        self.bytes.extend_from_slice(&prefix[..prefix_len]);
        loop {
            let (piece, rest) = body.split_at(body.len().min(self.payload_max - self.open_payload_len()));
            self.bytes.extend_from_slice(piece);
            body = rest;
            if body.is_empty() {
                return self.close(Flags::PIECE | Flags::COMMIT, 1);
            }
            self.close(Flags::PIECE, 0);
        }
    }

    fn open_payload_len(&self) -> usize {
        self.bytes.len() - self.open_start - HEADER_LEN
    }

    fn open(&mut self) {
        self.open_start = self.bytes.len();
        self.open_records = 0;
        self.bytes.resize(self.open_start + HEADER_LEN, 0);
    }

    fn close_unless_empty(&mut self) {
        if self.open_payload_len() > 0 {
            self.close(Flags::COMMIT, self.open_records);
        }
    }

    fn close(&mut self, flags: Flags, records: u32) {
        self.spans.push(Span {
            start: self.open_start,
            payload_len: self.open_payload_len(),
            records,
            flags,
        });
        let end = (self.bytes.len() + TRAILER_LEN).next_multiple_of(ALIGN);
        self.bytes.resize(end, 0);
        self.open();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Cursor;
    use proptest::prelude::*;

    fn payloads(group: &Group) -> Vec<(Vec<u8>, Span)> {
        let payload = |s: &Span| group.bytes()[s.start + HEADER_LEN..][..s.payload_len].to_vec();
        group.spans().iter().map(|s| (payload(s), *s)).collect()
    }

    proptest! {
        #[test]
        fn frames_concatenate_to_the_stream(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
            let mut group = Group::new(64);
            let mut stream = Vec::new();
            for body in &bodies {
                let before = stream.len();
                crate::codec::put_bytes(&mut stream, body);
                prop_assert_eq!(group.append(body), stream.len() - before);
            }
            group.finish();
            prop_assert_eq!(group.records(), bodies.len() as u64);
            let mut got = Vec::new();
            for (payload, span) in payloads(&group) {
                prop_assert!(payload.len() <= 64 && !payload.is_empty());
                prop_assert_eq!(span.start % ALIGN, 0);
                if !span.flags.contains(Flags::PIECE) {
                    let mut cursor = Cursor::new(&payload);
                    for _ in 0..span.records {
                        prop_assert!(record::next(&mut cursor).is_ok());
                    }
                    prop_assert!(cursor.is_empty());
                }
                got.extend_from_slice(&payload);
            }
            prop_assert_eq!(got, stream);
            group.clear();
            prop_assert!(group.is_empty());
        }
    }

    #[test]
    fn a_large_record_is_pieces_and_only_the_last_commits() {
        let mut group = Group::new(64);
        group.append(b"small");
        group.append(&[1; 150]);
        group.append(b"next");
        group.finish();
        let flags: Vec<_> = group.spans().iter().map(|s| s.flags).collect();
        let (whole, piece) = (Flags::COMMIT, Flags::PIECE);
        assert_eq!(flags, [whole, piece, piece, piece | whole, whole]);
    }
}
