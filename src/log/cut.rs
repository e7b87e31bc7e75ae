//! The beginning of a log: where it ends when only the records up to some moment are wanted, and what its files then are.
//!
//! Read as strictly as recovery reads, from the end of a snapshot on, and no further than the first record that is not wanted: what
//! is behind that is not looked at, whole or damaged. Segments that end before the snapshot does are neither read nor part of it.
//!
//! What it does **not** promise: that a log which ended before a record was refused ended there when it was written. Ask
//! [`super::survey::judge`].

use crate::clock::Clock;
use crate::codec::{Cursor, Malformed};
use crate::disk::Disk;
use crate::error::StoreError;

use super::assemble::Assembler;
use super::frame::{self, Flags, HEADER_LEN, Header};
use super::manifest::{Manifest, SegmentEnd, SegmentEntry};
use super::reader::{SegmentReader, Step, Window};
use super::scan::{FrameError, Listed, corruption};
use super::segment::{self, SegmentHeader};
use super::{Lsn, open, record};

/// A file of the new log that is not a copy, from an offset on.
pub struct Written {
    pub sequence: u64,
    /// Before it the file is as in the log that was cut.
    pub offset: u64,
    pub bytes: Vec<u8>,
}

/// A log that ends behind the last record that was wanted.
pub struct CutLog {
    /// All of them ended. None when nothing was wanted: see [`empty_segment`].
    pub segments: Vec<SegmentEntry>,
    /// The last frame, if not all of its records were wanted.
    pub written: Option<Written>,
    pub records: u64,
    /// Behind the last record that was wanted; where reading began, if none was.
    pub lsn: Lsn,
    /// When the last of them was written; 0 without one.
    pub wall_us: u64,
    /// Where and why reading ended, unless it met a record that was not wanted.
    pub end: Option<String>,
}

/// Why reading ended in a frame.
enum Stop {
    Unwanted,
    Frame(FrameError),
}

impl From<Malformed> for Stop {
    fn from(e: Malformed) -> Self {
        Self::Frame(e.into())
    }
}

/// Asked for the LSN behind each record and when its frame was written.
pub type Wanted<'v> = dyn FnMut(Lsn, u64) -> bool + 'v;

struct Cutting {
    assembler: Assembler,
    window: Window,
    cut: CutLog,
    /// Behind the last frame of which all is kept: in `cut.segments`.
    commit: (usize, SegmentEnd),
}

/// Reads the records behind `from`, which is the end of one, as long as they are wanted. `progress` is told the bytes done, and of how many.
pub fn cut(
    disk: &dyn Disk,
    manifest: &Manifest,
    from: Lsn,
    wanted: &mut Wanted<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<CutLog, StoreError> {
    let nothing =
        CutLog { segments: Vec::new(), written: None, records: 0, lsn: from, wall_us: 0, end: None };
    let mut cutting = Cutting {
        assembler: Assembler::new(from),
        window: Window::default(),
        cut: nothing,
        commit: (0, SegmentEnd { offset: segment::HEADER_LEN, lsn: from }),
    };
    let entries = || manifest.segments.iter().filter(|s| !s.rewriting);
    let is_before = |s: &&SegmentEntry| s.end.is_some_and(|end| end.lsn <= from);
    let mut lsn = entries().take_while(is_before).filter_map(|s| s.end).last().map_or(0, |end| end.lsn);
    lsn = lsn.max(open::first_lsn(manifest));
    let total: u64 = entries().skip_while(is_before).map(|s| s.end.map_or(s.size, |end| end.offset)).sum();
    let mut done = 0;
    for entry in entries().skip_while(is_before) {
        let listed = open::open_segment(disk, &manifest.store_id, entry)?;
        done += listed.limit;
        match cutting.segment(&listed, lsn, wanted)? {
            Some(end) => lsn = end.lsn,
            None => return Ok(cutting.finish()),
        }
        progress(done, total);
    }
    cutting.cut.end.get_or_insert_with(|| "there is no further segment".to_owned());
    Ok(cutting.finish())
}

impl Cutting {
    /// Where the segment ends, or `None` when a record in it is not wanted.
    fn segment(
        &mut self,
        listed: &Listed,
        lsn: Lsn,
        wanted: &mut Wanted<'_>,
    ) -> Result<Option<SegmentEnd>, StoreError> {
        let Listed { entry, file, block, limit, .. } = listed;
        let path = segment::path(entry.sequence);
        if entry.first_lsn.is_some_and(|first| first != lsn) {
            let reason = format!("the segment begins at another LSN than the one before ends at ({lsn})");
            return Err(corruption(path, segment::HEADER_LEN, reason));
        }
        let index = self.cut.segments.len();
        self.cut.segments.push(SegmentEntry { first_lsn: Some(lsn), ..*entry });
        let mut window = std::mem::take(&mut self.window);
        let mut reader = SegmentReader::new(&**file, &mut window, *entry, *block, *limit, lsn);
        let why = loop {
            match reader.step().map_err(StoreError::io(format!("read {path}")))? {
                Step::Frame { header, payload, offset, end } => {
                    let end = SegmentEnd { offset: end, lsn: header.end_lsn() };
                    match self.frame(&header, payload, offset, wanted) {
                        Ok(()) if header.flags.contains(Flags::COMMIT) && !payload.is_empty() => {
                            self.commit = (index, end);
                        }
                        Ok(()) => {}
                        Err(Stop::Unwanted) => return Ok(None),
                        Err(Stop::Frame(e)) => return Err(e.at(&path, offset)),
                    }
                }
                Step::Unsupported(why) => return Err(corruption(path, reader.offset(), why)),
                Step::Blank => break "nothing is written there",
                Step::Bad(why) => break why,
            }
        };
        let end = SegmentEnd { offset: reader.offset(), lsn: reader.lsn() };
        self.window = window;
        if let Some(expected) = entry.end.filter(|&expected| expected != end) {
            let reason = format!(
                "{why}, and the manifest says that the segment is good up to offset {}. Run `duramen check` on the directory \
                 for the extent of the damage",
                expected.offset
            );
            return Err(corruption(path, end.offset, reason));
        }
        if end.offset > segment::HEADER_LEN || entry.end.is_some() {
            self.cut.segments[index].end = Some(end);
            self.cut.end = Some(format!("{path}, offset {}: {why}", end.offset));
        } else {
            // Made ahead and never begun.
            self.cut.segments.pop();
        }
        Ok(Some(end))
    }

    fn frame(
        &mut self,
        header: &Header,
        payload: &[u8],
        offset: u64,
        wanted: &mut Wanted<'_>,
    ) -> Result<(), Stop> {
        let cut = &mut self.cut;
        let outcome = self.assembler.frame(header, payload, &mut |lsn_end, _| {
            if !wanted(lsn_end, header.wall_us) {
                return Err(Stop::Unwanted);
            }
            (cut.records, cut.lsn, cut.wall_us) = (cut.records + 1, lsn_end, header.wall_us);
            Ok(())
        });
        if matches!(outcome, Err(Stop::Unwanted)) {
            let sequence = cut.segments.last().map_or(0, |s| s.sequence);
            let kept_len = cut.lsn.saturating_sub(header.first_lsn) as usize;
            cut.end = None;
            if kept_len > 0 && cut.records > 0 {
                let bytes = beginning_of(header, &payload[..kept_len])?;
                cut.written = Some(Written { sequence, offset, bytes });
            }
        }
        outcome
    }

    fn finish(mut self) -> CutLog {
        let cut = &mut self.cut;
        let (last, end) = match &cut.written {
            Some(written) => {
                let end = SegmentEnd { offset: written.offset + written.bytes.len() as u64, lsn: cut.lsn };
                (cut.segments.len() - 1, end)
            }
            None => self.commit,
        };
        let kept = if cut.records == 0 { 0 } else { last + 1 };
        cut.segments.truncate(kept);
        if let Some(segment) = cut.segments.last_mut() {
            segment.end = Some(end);
        }
        debug_assert!(kept == 0 || end.lsn == cut.lsn, "a log ends behind its last record");
        debug_assert!(cut.segments.iter().all(|s| s.end.is_some()), "only ended segments are kept");
        self.cut
    }
}

/// The frame with the first of its records only.
fn beginning_of(header: &Header, payload: &[u8]) -> Result<Vec<u8>, Malformed> {
    let (mut cursor, mut records) = (Cursor::new(payload), 0);
    while !cursor.is_empty() {
        record::next(&mut cursor)?;
        records += 1;
    }
    let header = Header { flags: Flags::COMMIT, records, payload_len: payload.len() as u32, ..*header };
    let mut bytes = vec![0; header.frame_len()];
    bytes[HEADER_LEN..HEADER_LEN + payload.len()].copy_from_slice(payload);
    frame::seal(&mut bytes, &header);
    Ok(bytes)
}

/// A segment that ends where it begins: the log of a store that is nothing but a snapshot. It tells where the stream goes on.
pub fn empty_segment(
    manifest: &Manifest,
    lsn: Lsn,
    clock: &dyn Clock,
) -> std::io::Result<(SegmentEntry, Written)> {
    let header = SegmentHeader {
        block: frame::ALIGN as u32,
        store_id: manifest.store_id,
        sequence: manifest.segments.iter().map(|s| s.sequence).max().unwrap_or(0) + 1,
        term: manifest.term,
        salt: clock.random_id()?,
        size: segment::HEADER_LEN,
        created_us: clock.wall_us(),
    };
    let entry = SegmentEntry {
        sequence: header.sequence,
        salt: header.salt,
        term: header.term,
        size: header.size,
        first_lsn: Some(lsn),
        end: Some(SegmentEnd { offset: segment::HEADER_LEN, lsn }),
        rewriting: false,
    };
    Ok((entry, Written { sequence: header.sequence, offset: 0, bytes: header.encode() }))
}
