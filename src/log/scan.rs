//! Recovery's reading half: all segments in order, every record to the visitor, and the judgement of the end: clean, torn
//! or corrupt.
//!
//! Where reading ends at LSN `B`, the rest of that segment and all later segments are searched for intact frame headers. Any
//! of them that says "synced through more than `B`" proves that bytes are gone which were on the medium: corruption. (A
//! frame in a later segment always says at least its segment's first LSN, because a segment is synced before its
//! successor's first byte; so a begun successor needs no rule of its own.) Without such proof it is the torn tail.
//!
//! Records go to the visitor from a position on. Segments that the manifest says end before it are not read: that they are
//! there, are the right ones and follow each other is all that is looked at.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::go_on;
use crate::codec::Malformed;
use crate::disk::File;
use crate::error::{Corruption, StoreError};

use super::assemble::Assembler;
use super::frame::{Flags, Header};
use super::manifest::{Manifest, SegmentEnd, SegmentEntry};
use super::reader::{self, Beyond, SegmentReader, Step, Window};
use super::{Lsn, Recovered, RecoveryReport, Torn, segment};

const PROGRESS_BYTES: u64 = 16 << 20;

pub(super) type Visit<'v> = dyn FnMut(Recovered<'_>) -> Result<(), StoreError> + 'v;

/// A segment that is part of the log, with its file.
pub(super) struct Listed {
    pub entry: SegmentEntry,
    pub file: Arc<dyn File>,
    /// From its header.
    pub block: u32,
    /// Frames lie before this offset.
    pub limit: u64,
    /// From its header.
    pub created_us: u64,
}

impl Listed {
    /// Where it ends, if nothing in it belongs behind `from`.
    fn end_before(&self, from: Lsn) -> Option<SegmentEnd> {
        self.entry.end.filter(|end| end.lsn <= from)
    }

    /// How much of it will be read, as far as that is known without reading it: nothing of a prepared one in which nothing is written yet.
    fn expected_bytes(&self, window: &mut Window) -> Result<u64, StoreError> {
        if let Some(end) = self.entry.end {
            return Ok(end.offset);
        }
        let mut of_file = || {
            let mut reader = SegmentReader::new(&*self.file, window, self.entry, self.block, self.limit, 0);
            if reader.begins_with_a_frame()? { Ok(self.file.data_end()?.min(self.limit)) } else { Ok(0) }
        };
        of_file().map_err(StoreError::io(format!("read {}", segment::path(self.entry.sequence))))
    }
}

/// A place between two frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// In the list of segments.
    pub index: usize,
    pub offset: u64,
    pub lsn: Lsn,
}

/// A frame that nothing proves to be on the medium.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unproven {
    pub at: Place,
    /// Behind the frame with data before it: the empty frames between may be lost and are not missed.
    pub cut: Place,
    pub end_lsn: Lsn,
}

/// What a segment turned out to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub first_lsn: Lsn,
    pub frames: u64,
    /// Behind its last intact frame.
    pub end: SegmentEnd,
    /// Not zero behind that.
    pub beyond_len: u64,
}

/// Where reading stopped without a manifest saying so.
struct Tail {
    index: usize,
    offset: u64,
    why: &'static str,
    beyond: Beyond,
}

/// What recovery knows when it has read everything.
pub(super) struct Scanned {
    /// Behind the last whole record.
    pub end: Place,
    /// Frames before `end` that must be written again, in order.
    pub unproven: Vec<Unproven>,
    pub seen: Vec<Seen>,
}

pub(super) struct Scan<'a> {
    manifest: &'a Manifest,
    segments: &'a [Listed],
    report: &'a mut RecoveryReport,
    lsn: Lsn,
    commit: Place,
    /// Behind the last frame that is not empty.
    data_end: Place,
    /// Where the visitor's records begin.
    from: Lsn,
    assembler: Assembler,
    /// Frame bytes of a record whose end did not come yet.
    uncommitted_bytes: u64,
    proven: Lsn,
    unproven: VecDeque<Unproven>,
    seen: Vec<Seen>,
    tails: Vec<Tail>,
    bytes_total: u64,
    bytes_before: u64,
    next_progress: u64,
}

/// Reads `segments` (all of them part of the log, in order), whose stream begins at `first_lsn`. The visitor gets the records
/// behind `from`, which is the end of one and not before `first_lsn`.
pub(super) fn scan(
    manifest: &Manifest,
    segments: &[Listed],
    first_lsn: Lsn,
    from: Lsn,
    report: &mut RecoveryReport,
    visit: &mut Visit<'_>,
) -> Result<Scanned, StoreError> {
    let mut scan = Scan {
        manifest,
        segments,
        report,
        lsn: first_lsn,
        commit: Place { index: 0, offset: segment::HEADER_LEN, lsn: first_lsn },
        data_end: Place { index: 0, offset: segment::HEADER_LEN, lsn: first_lsn },
        from,
        assembler: Assembler::new(from),
        uncommitted_bytes: 0,
        proven: first_lsn.max(manifest.synced_through),
        unproven: VecDeque::new(),
        seen: Vec::new(),
        tails: Vec::new(),
        bytes_total: 0,
        bytes_before: 0,
        next_progress: 0,
    };
    let mut window = Window::default();
    for listed in segments.iter().filter(|listed| listed.end_before(from).is_none()) {
        scan.bytes_total += listed.expected_bytes(&mut window)?;
    }
    for (index, listed) in segments.iter().enumerate() {
        scan.continues(listed)?;
        match listed.end_before(from) {
            Some(end) => scan.pass(index, end)?,
            None => scan.segment(index, &mut window, visit)?,
        }
    }
    scan.finish()
}

impl Scan<'_> {
    /// Every segment begins where the one before ends.
    fn continues(&self, listed: &Listed) -> Result<(), StoreError> {
        if listed.entry.first_lsn.is_some_and(|first| first != self.lsn) {
            let reason =
                format!("the segment begins at another LSN than the one before ends at ({})", self.lsn);
            return Err(corruption(segment::path(listed.entry.sequence), segment::HEADER_LEN, reason));
        }
        Ok(())
    }

    /// A segment that ends before the visitor's first record. It may end in the middle of one that is skipped too.
    fn pass(&mut self, index: usize, end: SegmentEnd) -> Result<(), StoreError> {
        let first_lsn = self.lsn;
        if end.lsn < first_lsn {
            let path = segment::path(self.segments[index].entry.sequence);
            let reason = format!("the manifest says that it ends at LSN {}, before it begins", end.lsn);
            return Err(corruption(path, end.offset, reason));
        }
        if end.lsn > first_lsn {
            self.tails.clear();
        }
        self.lsn = end.lsn;
        self.data_end = Place { index, offset: end.offset, lsn: end.lsn };
        self.commit = self.data_end;
        self.prove(end.lsn);
        self.seen.push(Seen { first_lsn, frames: 0, end, beyond_len: 0 });
        Ok(())
    }

    fn segment(
        &mut self,
        index: usize,
        window: &mut Window,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let Listed { entry, file, block, limit, .. } = &self.segments[index];
        let path = segment::path(entry.sequence);
        let first_lsn = self.lsn;
        // Most of an unused segment was never written. That need not be looked at; and reading it would make pages of it.
        let data_end = file.data_end().map_err(StoreError::io(format!("read {path}")))?.min(*limit);
        let mut reader = SegmentReader::new(&**file, window, *entry, *block, *limit, self.lsn);
        let mut frames = 0;
        let why = loop {
            let done = self.bytes_before + reader.offset();
            self.progress(done, visit)?;
            match reader.step().map_err(StoreError::io(format!("read {path}")))? {
                Step::Frame { header, payload, offset, end } => {
                    frames += 1;
                    let at = Place { index, offset, lsn: header.first_lsn };
                    self.frame(&header, payload, at, end, visit).map_err(|e| e.at(&path, offset))?;
                }
                Step::Unsupported(text) => {
                    return Err(StoreError::Refused(format!(
                        "{path}, offset {}: {text}. Use the version of duramen that wrote it, or a newer one",
                        reader.offset()
                    )));
                }
                Step::Blank => break "nothing is written here",
                Step::Bad(why) => break why,
            }
        };
        let end = SegmentEnd { offset: reader.offset(), lsn: reader.lsn() };
        self.bytes_before += self.segments[index].expected_bytes(window)?;
        let mut seen = Seen { first_lsn, frames, end, beyond_len: 0 };
        if frames > 0 {
            // Whatever stood unexplained before was the unused end of a full segment.
            self.tails.clear();
            self.report.segments += 1;
        }
        match entry.end {
            Some(expected) if expected != end => {
                let proof =
                    format!("the manifest says that the segment is good up to offset {}", expected.offset);
                return Err(self.lost(path, end.offset, why, expected.lsn, &proof));
            }
            Some(expected) => self.prove(expected.lsn),
            None => seen.beyond_len = self.look_on(index, end, data_end, why, window)?,
        }
        self.seen.push(seen);
        Ok(())
    }

    /// Searches behind the place where reading stopped for proof that it should not have.
    fn look_on(
        &mut self,
        index: usize,
        end: SegmentEnd,
        data_end: u64,
        why: &'static str,
        window: &mut Window,
    ) -> Result<u64, StoreError> {
        let Listed { entry, file, .. } = &self.segments[index];
        let path = segment::path(entry.sequence);
        let beyond = reader::look_on(&**file, window, entry, end.offset, data_end)
            .map_err(StoreError::io(format!("read {path}")))?;
        let len = beyond.len;
        let proven = beyond.synced_through;
        let proof = format!("the frame header at offset {} of {path} says so", beyond.witness);
        self.tails.push(Tail { index, offset: end.offset, why, beyond });
        if proven > self.lsn {
            return Err(self.lost_at_tail(proven, &proof));
        }
        Ok(len)
    }

    /// Names the first place that is not plainly unused space. An intact frame that belongs further on is not the damage:
    /// what is missing stood before it.
    fn lost_at_tail(&self, proven: Lsn, proof: &str) -> StoreError {
        let is_further_on =
            |t: &Tail| t.beyond.first.is_some_and(|(at, lsn)| at == t.offset && lsn > self.lsn);
        let damaged = self.tails.iter().find(|t| t.beyond.len > 0 && !is_further_on(t));
        let Some(tail) = damaged.or(self.tails.first()) else {
            let last = self.segments.len().saturating_sub(1);
            let (path, offset) = match (self.segments.get(last), self.seen.get(last)) {
                (Some(listed), Some(seen)) => (segment::path(listed.entry.sequence), seen.end.offset),
                _ => ("MANIFEST-a".to_owned(), 0),
            };
            return self.lost(path, offset, "the log ends here", proven, proof);
        };
        let path = segment::path(self.segments[tail.index].entry.sequence);
        self.lost(path, tail.offset, tail.why, proven, proof)
    }

    fn lost(&self, file: String, offset: u64, why: &str, proven: Lsn, proof: &str) -> StoreError {
        let reason = format!(
            "{why}, but the log was synced through LSN {proven} ({proof}). At stake is everything from LSN {} on, at least \
             {} bytes of acknowledged writes. Nothing was changed. Run `duramen check` on the directory for the extent of \
             the damage, and restore the file from a backup; without one, `duramen repair --into` saves what is before the damage",
            self.lsn,
            proven.saturating_sub(self.lsn)
        );
        corruption(file, offset, reason)
    }

    fn prove(&mut self, lsn: Lsn) {
        self.proven = self.proven.max(lsn);
        while self.unproven.front().is_some_and(|frame| frame.end_lsn <= self.proven) {
            self.unproven.pop_front();
        }
    }

    fn frame(
        &mut self,
        header: &Header,
        payload: &[u8],
        at: Place,
        end: u64,
        visit: &mut Visit<'_>,
    ) -> Result<(), FrameError> {
        self.lsn = header.end_lsn();
        self.report.last_wall_us = go_on(self.report.last_wall_us, header.wall_us);
        if !payload.is_empty() && header.end_lsn() > self.proven {
            let start = Place { offset: segment::HEADER_LEN, ..at };
            let cut = if self.data_end.index == at.index { self.data_end } else { start };
            self.unproven.push_back(Unproven { at, cut, end_lsn: header.end_lsn() });
        }
        self.prove(header.synced_through);
        if payload.is_empty() {
            // It only bears witness. Nothing proves that it is on the medium, so the log must not be said to reach behind it.
            return Ok(());
        }
        self.data_end = Place { index: at.index, offset: end, lsn: self.lsn };
        self.uncommitted_bytes += end - at.offset;
        let report = &mut *self.report;
        self.assembler.frame::<FrameError>(header, payload, &mut |lsn_end, body| {
            report.records += 1;
            Ok(visit(Recovered::Record { lsn_end, wall_us: header.wall_us, body })?)
        })?;
        if header.flags.contains(Flags::COMMIT) {
            self.uncommitted_bytes = 0;
            self.commit = self.data_end;
        }
        Ok(())
    }

    fn progress(&mut self, bytes_done: u64, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        if bytes_done < self.next_progress {
            return Ok(());
        }
        self.next_progress = bytes_done + PROGRESS_BYTES;
        // Where more is found than was expected, that was to be read as well.
        self.bytes_total = self.bytes_total.max(bytes_done);
        visit(Recovered::Progress { bytes_done, bytes_total: self.bytes_total })
    }

    fn finish(mut self) -> Result<Scanned, StoreError> {
        if self.manifest.synced_through > self.lsn {
            return Err(self.lost_at_tail(self.manifest.synced_through, "the manifest says so"));
        }
        if self.commit.lsn < self.from {
            return Err(StoreError::Refused(format!(
                "the log ends at LSN {}, and what was loaded before it goes through LSN {}: they are not of the same moment. \
                 Nothing was changed. Restore both from one backup",
                self.commit.lsn, self.from
            )));
        }
        self.report.torn = self.torn();
        self.report.bytes = self.commit.lsn - self.from;
        self.report.end_lsn = self.commit.lsn;
        self.unproven.retain(|frame| frame.end_lsn <= self.commit.lsn);
        Ok(Scanned { end: self.commit, unproven: self.unproven.into(), seen: self.seen })
    }

    fn torn(&self) -> Option<Torn> {
        let damaged_bytes: u64 = self.tails.iter().map(|t| t.beyond.len).sum();
        let (index, offset) = if self.uncommitted_bytes > 0 {
            (self.commit.index, self.commit.offset)
        } else {
            let tail = self.tails.iter().find(|t| t.beyond.len > 0)?;
            (tail.index, tail.offset)
        };
        Some(Torn {
            file: segment::path(self.segments[index].entry.sequence),
            offset,
            bytes: self.uncommitted_bytes + damaged_bytes,
            possibly_acknowledged: damaged_bytes > 0,
        })
    }
}

pub(super) fn corruption(file: String, offset: u64, reason: String) -> StoreError {
    StoreError::Corruption(Corruption { file, offset, reason })
}

/// The visitor's error, or an intact frame with contents that no writer makes.
pub(super) enum FrameError {
    Store(StoreError),
    Malformed(Malformed),
}

impl FrameError {
    pub fn at(self, path: &str, offset: u64) -> StoreError {
        match self {
            Self::Store(e) => e,
            Self::Malformed(e) => {
                let reason = format!(
                    "the frame's checksum is right and its contents are not ({e}); run `duramen check`"
                );
                corruption(path.to_owned(), offset, reason)
            }
        }
    }
}

impl From<StoreError> for FrameError {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

impl From<Malformed> for FrameError {
    fn from(e: Malformed) -> Self {
        Self::Malformed(e)
    }
}
