//! Reads a segment front to back, and looks on behind damage for witnesses.
//!
//! Bytes are read in steps of a window that grows only to hold a frame that the file has room for.

use std::io;

use crate::disk::File;

use super::frame::{self, ALIGN, Flags, Header, NotAHeader};
use super::manifest::SegmentEntry;
use super::{Lsn, segment};

const WINDOW_BYTES: usize = 1 << 20;

/// A part of a file in memory. Reused from segment to segment.
#[derive(Debug, Default)]
pub struct Window {
    bytes: Vec<u8>,
    /// Offset in the file of the first byte, and how many are there.
    start: u64,
    len: usize,
}

impl Window {
    /// Forgets what was read; for another file.
    pub fn reset(&mut self) {
        self.start = 0;
        self.len = 0;
    }

    /// `len` bytes at `offset`, or as many as there are before `limit`.
    fn get(&mut self, file: &dyn File, offset: u64, len: usize, limit: u64) -> io::Result<&[u8]> {
        let len = len.min(limit.saturating_sub(offset) as usize);
        let held = offset >= self.start && offset + len as u64 <= self.start + self.len as u64;
        if !held {
            self.fill(file, offset, len, limit)?;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..self.len.min(from + len)])
    }

    fn fill(&mut self, file: &dyn File, offset: u64, len: usize, limit: u64) -> io::Result<()> {
        let kept = match offset.checked_sub(self.start) {
            Some(skip) if skip < self.len as u64 => {
                self.bytes.copy_within(skip as usize..self.len, 0);
                self.len - skip as usize
            }
            _ => 0,
        };
        self.start = offset;
        self.len = kept;
        let want = len.max(WINDOW_BYTES).min(limit.saturating_sub(offset) as usize).max(kept);
        if self.bytes.len() < want {
            self.bytes.resize(want, 0);
        }
        while self.len < want {
            match file.read_at(&mut self.bytes[self.len..want], offset + self.len as u64) {
                Ok(0) => break,
                Ok(n) => self.len += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// What stands at the reader's place.
#[derive(Debug)]
pub enum Step<'a> {
    Frame {
        header: Header,
        payload: &'a [u8],
        offset: u64,
        /// Where the next frame begins.
        end: u64,
    },
    /// No frame: blank, or the end of the segment.
    Blank,
    /// Bytes that are not the frame that belongs here.
    Bad(&'static str),
    /// An intact frame of a format that this program does not know.
    Unsupported(String),
}

/// Where in a segment a frame begins, or its frames end, and what the next must say to be the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub offset: u64,
    pub lsn: Lsn,
    pub previous_crc: u32,
}

/// A place in a segment, and what the next frame must say to be the next.
pub struct SegmentReader<'a> {
    file: &'a dyn File,
    window: &'a mut Window,
    entry: SegmentEntry,
    block: u32,
    /// Frames lie before it.
    limit: u64,
    offset: u64,
    lsn: Lsn,
    previous_crc: u32,
}

impl<'a> SegmentReader<'a> {
    /// Begins at the first frame, which must begin at `lsn`.
    pub fn new(
        file: &'a dyn File,
        window: &'a mut Window,
        entry: SegmentEntry,
        block: u32,
        limit: u64,
        lsn: Lsn,
    ) -> Self {
        window.reset();
        Self { file, window, entry, block, limit, offset: segment::HEADER_LEN, lsn, previous_crc: 0 }
    }

    /// Begins at a place where a reader of the same segment has been: what lies before it was verified then, and is not again.
    pub fn at(mut self, place: Place) -> Self {
        (self.offset, self.lsn, self.previous_crc) = (place.offset, place.lsn, place.previous_crc);
        self
    }

    pub const fn place(&self) -> Place {
        Place { offset: self.offset, lsn: self.lsn, previous_crc: self.previous_crc }
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Whether any intact header stands at this place, wherever in the stream it belongs.
    pub fn begins_with_a_frame(&mut self) -> io::Result<bool> {
        let head = self.window.get(self.file, self.offset, frame::HEADER_LEN, self.limit)?;
        let head = <&[u8; frame::HEADER_LEN]>::try_from(head);
        Ok(head.is_ok_and(|head| {
            !matches!(Header::decode(head, &self.entry.salt), Err(NotAHeader::Blank | NotAHeader::Damaged(_)))
        }))
    }

    /// The header at this place if it is intact, wherever in the stream its frame belongs.
    pub fn peek(&mut self) -> io::Result<Option<Header>> {
        let head = self.window.get(self.file, self.offset, frame::HEADER_LEN, self.limit)?;
        let head = <&[u8; frame::HEADER_LEN]>::try_from(head).ok();
        let header = head.and_then(|head| Header::decode(head, &self.entry.salt).ok());
        Ok(header.filter(|header| header.term == self.entry.term))
    }

    /// Goes to the next intact header at or behind `from`, and takes its word for where in the stream it belongs. Stays where it
    /// is when there is none. For tools that look behind damage; recovery never does.
    pub fn seek_header(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut offset = from.next_multiple_of(ALIGN as u64);
        while offset < self.limit {
            let chunk = self.window.get(self.file, offset, WINDOW_BYTES, self.limit)?;
            let last = (chunk.len() + 1).saturating_sub(frame::HEADER_LEN);
            let mut places = (0..last).step_by(ALIGN).filter(|&at| chunk[at..at + 4] == frame::MAGIC);
            let found = places.find_map(|at| {
                let head = chunk[at..at + frame::HEADER_LEN].try_into().ok()?;
                let header = Header::decode(head, &self.entry.salt).ok()?;
                (header.term == self.entry.term).then_some((offset + at as u64, header))
            });
            if let Some((at, header)) = found {
                (self.offset, self.lsn, self.previous_crc) = (at, header.first_lsn, header.previous_crc);
                return Ok(Some(at));
            }
            if chunk.len() < WINDOW_BYTES {
                break;
            }
            offset += (WINDOW_BYTES - frame::HEADER_LEN.next_multiple_of(ALIGN)) as u64;
        }
        Ok(None)
    }

    /// Verifies the frame at this place and moves behind it. Stays where it is when there is none.
    pub fn step(&mut self) -> io::Result<Step<'_>> {
        let head = self.window.get(self.file, self.offset, frame::HEADER_LEN, self.limit)?;
        let Ok(head) = <&[u8; frame::HEADER_LEN]>::try_from(head) else {
            let blank = head.iter().all(|&b| b == 0);
            return Ok(if blank { Step::Blank } else { Step::Bad("the segment ends within a frame header") });
        };
        let header = match Header::decode(head, &self.entry.salt) {
            Ok(header) => header,
            Err(NotAHeader::Blank) => return Ok(Step::Blank),
            Err(NotAHeader::Damaged(why)) => return Ok(Step::Bad(why)),
            Err(NotAHeader::Unsupported(text)) => return Ok(Step::Unsupported(text)),
        };
        if header.term != self.entry.term {
            return Ok(Step::Bad("the frame is of another term"));
        }
        if header.first_lsn != self.lsn {
            return Ok(Step::Bad("the frame does not begin where the one before ended"));
        }
        if header.previous_crc != self.previous_crc {
            return Ok(Step::Bad("the frame before is not the one that was written before this"));
        }
        let whole_len = frame::HEADER_LEN + header.payload_len as usize + frame::TRAILER_LEN;
        let offset = self.offset;
        let bytes = self.window.get(self.file, offset, whole_len, self.limit)?;
        if bytes.len() < whole_len {
            return Ok(Step::Bad("the segment ends within a frame"));
        }
        let Some(crc) = frame::verify(bytes, &header) else {
            return Ok(Step::Bad("the frame's checksum is wrong"));
        };
        self.offset += header.frame_len() as u64;
        if header.flags.contains(Flags::PADDED) {
            self.offset = self.offset.next_multiple_of(u64::from(self.block)).min(self.limit);
        }
        let end = self.offset;
        self.lsn = header.end_lsn();
        self.previous_crc = crc;
        let payload = &bytes[frame::HEADER_LEN..whole_len - frame::TRAILER_LEN];
        let empty = header.flags.contains(Flags::EMPTY);
        if empty != payload.is_empty() || (empty && header.records > 0) {
            return Ok(Step::Bad("the frame's flags do not fit its payload"));
        }
        Ok(Step::Frame { header, payload, offset, end })
    }
}

/// What lies behind the place where reading ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// The largest position that an intact frame header there proves to have been synced.
    pub synced_through: Lsn,
    /// Offset of the header that proves it.
    pub witness: u64,
    /// The first intact header: its offset and where in the stream its frame belongs.
    pub first: Option<(u64, Lsn)>,
    /// Bytes up to the last one that is not zero.
    pub len: u64,
}

/// Looks on from `from` to `limit`. A header is a witness by itself, whatever became of its payload.
pub fn look_on(
    file: &dyn File,
    window: &mut Window,
    entry: &SegmentEntry,
    from: u64,
    limit: u64,
) -> io::Result<Beyond> {
    window.reset();
    let mut beyond = Beyond::default();
    let mut offset = from;
    while offset < limit {
        let chunk = window.get(file, offset, WINDOW_BYTES, limit)?;
        if let Some(last) = last_nonzero(chunk) {
            beyond.len = offset + last as u64 + 1 - from;
            look_for_headers(chunk, offset, entry, &mut beyond);
        }
        // A header may lie across the chunk's end.
        let whole = chunk.len() == WINDOW_BYTES && offset + (WINDOW_BYTES as u64) < limit;
        if !whole {
            break;
        }
        offset += (WINDOW_BYTES - frame::HEADER_LEN.next_multiple_of(ALIGN)) as u64;
    }
    Ok(beyond)
}

/// Almost everything that is looked at is zero: by blocks, which compile to a few wide instructions.
fn last_nonzero(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 256;
    let block = bytes.chunks(BLOCK).rposition(|block| block.iter().fold(0, |any, &b| any | b) != 0)?;
    let end = bytes.len().min((block + 1) * BLOCK);
    bytes[..end].iter().rposition(|&b| b != 0)
}

fn look_for_headers(chunk: &[u8], offset: u64, entry: &SegmentEntry, beyond: &mut Beyond) {
    let last = (chunk.len() + 1).saturating_sub(frame::HEADER_LEN);
    for at in (0..last).step_by(ALIGN) {
        if chunk[at..at + 4] != frame::MAGIC {
            continue;
        }
        let head =
            chunk[at..at + frame::HEADER_LEN].try_into().expect("the slice has the length of a header");
        let Some(header) = Header::decode(head, &entry.salt).ok().filter(|h| h.term == entry.term) else {
            continue;
        };
        beyond.first.get_or_insert((offset + at as u64, header.first_lsn));
        if header.synced_through > beyond.synced_through {
            beyond.synced_through = header.synced_through;
            beyond.witness = offset + at as u64;
        }
    }
}
