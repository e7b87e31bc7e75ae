//! Sealed segments: those that ended. Nothing is written to them any more and all of them is on the medium. Upper floors ask
//! for them, read them while the log is written on, keep their own lists in the manifest, and give segments up that those
//! lists make needless.
//!
//! The end of a sealed segment need not be that of a record: a large one may go on in the next.
//!
//! What it does **not** promise: that a segment which nobody keeps stays while it is read. A reader that comes too late is told.

use std::io;
use std::ops::ControlFlow;

use crate::codec::Malformed;
use crate::disk::{Disk, Open};
use crate::error::StoreError;
use crate::mutation::{Safeguard, is_off};

use super::assemble::Assembler;
use super::frame::{self, Header};
use super::manifest::{Section, SegmentEnd, SegmentEntry};
use super::reader::{Place, SegmentReader, Step, Window};
use super::scan::{FrameError, Listed, corruption};
use super::{Log, Lsn, open, segment};

/// Marks kept: of readers that take turns.
const READ_MARKS_MAX: usize = 4;
/// Leaves room for segments in a manifest of the largest size that is read.
const SECTION_BYTES_MAX: usize = 64 << 20;

/// A whole record of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Behind it.
    pub lsn_end: Lsn,
    /// When its frame was written.
    pub wall_us: u64,
    pub body: &'a [u8],
}

/// A segment that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedSegment {
    pub sequence: u64,
    pub first_lsn: Lsn,
    pub end_lsn: Lsn,
    /// Of its file, up to its end.
    pub bytes: u64,
    /// Of all sealed segments behind it.
    pub bytes_behind: u64,
    /// No frame in it is newer, as far as the clock went forward: when the first frame behind it was written. `u64::MAX` while there is none.
    pub last_us: u64,
}

/// What is kept of the log although no start needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The newest sealed segments, as long as they are together not larger.
    pub bytes: u64,
    /// Segments with a frame of this time or later.
    pub since_us: u64,
}

impl Retention {
    /// Keeps nothing.
    pub const NONE: Self = Self { bytes: 0, since_us: u64::MAX };

    pub const fn keeps(&self, segment: &SealedSegment) -> bool {
        // An unknown time is not in the future of a retention that has no time.
        let is_recent = self.since_us != u64::MAX && segment.last_us >= self.since_us;
        is_recent || segment.bytes_behind.saturating_add(segment.bytes) <= self.bytes
    }
}

/// What [`Log::publish`] took off the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retired {
    pub segments: u64,
    /// Of the files' sizes, as the manifest says.
    pub bytes: u64,
}

/// Why reading ended before the last sealed segment did.
enum Stop {
    Enough,
    Frame(FrameError),
}

impl From<Malformed> for Stop {
    fn from(e: Malformed) -> Self {
        Self::Frame(e.into())
    }
}

impl Log {
    /// Asks that the active segment ends soon: at the writer's next chance, without waiting for anything to be appended.
    /// Returns the LSN that [`Log::sealed_through`] will then have reached: everything appended so far. Subscribers are
    /// woken when it has. A log that fails or is shut down may not get there.
    pub fn seal(&self) -> Lsn {
        let lsn = self.shared.append_lsn();
        self.shared.want_seal(lsn);
        self.shared.wake_writer.wake();
        lsn
    }

    /// Where the last sealed segment ends.
    pub fn sealed_through(&self) -> Lsn {
        self.shared.sealed_lsn()
    }

    /// All sealed segments, oldest first. Reads one frame header of each segment's successor.
    pub fn sealed(&self) -> Vec<SealedSegment> {
        let begun: Vec<SegmentEntry> = self.begun();
        let mut sealed = Vec::with_capacity(begun.len());
        let (mut bytes_behind, mut last_us) = (0, u64::MAX);
        for entry in begun.iter().rev() {
            if let (Some(first_lsn), Some(end)) = (entry.first_lsn, entry.end) {
                let bytes = end.offset;
                sealed.push(SealedSegment {
                    sequence: entry.sequence,
                    first_lsn,
                    end_lsn: end.lsn,
                    bytes,
                    bytes_behind,
                    last_us,
                });
                bytes_behind += bytes;
            }
            last_us = first_frame_us(&*self.shared.disk, entry).unwrap_or(last_us);
        }
        sealed.reverse();
        sealed
    }

    fn begun(&self) -> Vec<SegmentEntry> {
        let catalog = self.shared.catalog.lock();
        catalog.segments.iter().filter(|s| s.first_lsn.is_some()).copied().collect()
    }

    /// Hands out the whole records of sealed segments that end behind `from`, in order, until `visit` breaks; a record that
    /// goes on in the active segment is not one of them. `from` is the end of a record. Returns the LSN behind the last
    /// record that was visited, or `from`. Everything is verified as recovery does, but for what lies before the frame where an
    /// earlier reading ended: whoever goes on from there reads on from there, and what lies before was verified then. Reads with file handles of its own and
    /// keeps no lock: the log is written on meanwhile.
    pub fn read_sealed(
        &self,
        from: Lsn,
        visit: &mut dyn FnMut(Record<'_>) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<Lsn, StoreError> {
        let begun = self.begun();
        let first_lsn = begun.first().and_then(|s| s.first_lsn).unwrap_or(0);
        if from < first_lsn {
            return Err(StoreError::Refused(format!(
                "the log begins at LSN {first_lsn}: records behind LSN {from} cannot be read from there"
            )));
        }
        let mut reading =
            Reading { assembler: Assembler::new(from), behind: from, window: Window::default(), mark: None };
        for entry in begun {
            let (Some(first), Some(end)) = (entry.first_lsn, entry.end) else { break };
            if end.lsn <= from {
                continue;
            }
            let listed = open::open_segment(&*self.shared.disk, &self.shared.store_id, &entry)
                .map_err(|e| self.unless_retired(&entry, e))?;
            let begin = self.mark_before(entry.sequence, from);
            if reading.segment(&listed, (first, begin), end, visit)?.is_break() {
                break;
            }
        }
        if let Some(mark) = reading.mark {
            let mut marks = self.shared.read_marks.lock();
            marks.retain(|(sequence, _)| *sequence != mark.0);
            marks.push(mark);
            let surplus = marks.len().saturating_sub(READ_MARKS_MAX);
            marks.drain(..surplus);
        }
        Ok(reading.behind)
    }

    /// Where in a segment reading may begin, to get all records that end behind `from`.
    fn mark_before(&self, sequence: u64, from: Lsn) -> Option<Place> {
        let marks = self.shared.read_marks.lock();
        marks.iter().find(|mark| mark.0 == sequence && mark.1.lsn <= from).map(|mark| mark.1)
    }

    fn unless_retired(&self, entry: &SegmentEntry, e: StoreError) -> StoreError {
        let is_listed = self.shared.catalog.lock().segment_mut(entry.sequence).is_some();
        if is_listed {
            return e;
        }
        StoreError::Refused(format!("{} was given up while it was read", segment::path(entry.sequence)))
    }

    /// The lists that upper floors keep in the manifest.
    pub fn sections(&self) -> Vec<Section> {
        self.shared.catalog.lock().sections.clone()
    }

    /// Replaces one list, on the medium when this returns. After an error the next start may find the old or the new one.
    pub fn replace_section(&self, tag: u32, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.replace_sections(vec![Section { tag, bytes }])
    }

    /// The same, several lists at once.
    pub fn replace_sections(&self, sections: Vec<Section>) -> Result<(), StoreError> {
        self.update(sections, |_| {})
    }

    /// Where the listed segments begin: records behind it can be read, but for one that began before it.
    pub fn first_lsn(&self) -> Lsn {
        open::first_lsn(&self.shared.catalog.lock())
    }

    /// Replaces one list and gives up the oldest sealed segments, in one replacement of the manifest: those that end at
    /// `covered` (which is the end of a record) or before, up to the first that `keep` keeps. Their files are removed behind
    /// it; what a crash leaves of them goes at the next start.
    ///
    /// After an error the next start may find the old list with all segments or the new one without them: what either needs
    /// must stay. It may be called again.
    pub fn publish(
        &self,
        tag: u32,
        bytes: Vec<u8>,
        covered: Lsn,
        keep: &dyn Fn(&SealedSegment) -> bool,
    ) -> Result<Retired, StoreError> {
        self.publish_all(vec![Section { tag, bytes }], covered, keep)
    }

    /// As [`Log::publish`], several lists at once.
    pub fn publish_all(
        &self,
        sections: Vec<Section>,
        covered: Lsn,
        keep: &dyn Fn(&SealedSegment) -> bool,
    ) -> Result<Retired, StoreError> {
        if covered > self.sealed_through() {
            return Err(StoreError::Refused(format!(
                "LSN {covered} is behind the last sealed segment, which ends at LSN {}",
                self.sealed_through()
            )));
        }
        let sealed = self.sealed();
        let last = sealed.iter().take_while(|s| s.end_lsn <= covered && !keep(s)).last().map(|s| s.sequence);
        let mut gone = Vec::new();
        self.update(sections, |manifest| {
            // Before the active segment begun everything sealed was on the medium.
            manifest.synced_through = manifest.synced_through.max(covered);
            // The last segment that was begun tells where the stream goes on.
            let newest = manifest.segments.iter().rposition(|s| s.first_lsn.is_some()).unwrap_or(0);
            let count = manifest.segments[..newest].iter().take_while(|s| Some(s.sequence) <= last).count();
            // With those between that were passed over: nothing that holds frames may be newer than the first that is listed.
            gone = manifest.segments.drain(..count).collect();
            if is_off(Safeguard::RetireOrder) {
                self.remove(&gone.iter().map(|s| s.sequence).collect::<Vec<u64>>());
            }
        })?;
        let sequences: Vec<u64> = gone.iter().map(|s| s.sequence).collect();
        self.shared.passed_over.lock().retain(|sequence| !sequences.contains(sequence));
        self.remove(&sequences);
        Ok(Retired { segments: gone.len() as u64, bytes: gone.iter().map(|s| s.size).sum() })
    }

    /// Nothing depends on it: what stays is older than the first listed segment, and goes at the next start.
    fn remove(&self, sequences: &[u64]) {
        if sequences.is_empty() {
            return;
        }
        let disk = &*self.shared.disk;
        open::reclaim(disk, sequences, &[]);
        if let Err(e) = disk.sync_dir(segment::FOLDER) {
            tracing::warn!("cannot sync the folder {} after removing segments: {e}", segment::FOLDER);
        }
    }

    fn update(
        &self,
        sections: Vec<Section>,
        also: impl FnOnce(&mut super::manifest::Manifest),
    ) -> Result<(), StoreError> {
        if self.shared.is_failed() {
            return Err(self.failed());
        }
        let bytes: usize = sections.iter().map(|section| section.bytes.len()).sum();
        if bytes > SECTION_BYTES_MAX {
            return Err(StoreError::Refused(format!(
                "lists of {bytes} bytes do not fit the manifest, which takes {SECTION_BYTES_MAX}"
            )));
        }
        let change = |manifest: &mut super::manifest::Manifest| {
            sections.into_iter().for_each(|section| manifest.set_section(section.tag, section.bytes));
            also(manifest);
        };
        self.shared.update_manifest(change).map_err(StoreError::io("write the manifest"))
    }
}

/// When the first frame of a segment was written, if there is one and it can be read.
fn first_frame_us(disk: &dyn Disk, entry: &SegmentEntry) -> Option<u64> {
    let read = || -> io::Result<[u8; frame::HEADER_LEN]> {
        let mut head = [0; frame::HEADER_LEN];
        disk.open(&segment::path(entry.sequence), Open::Read)?
            .read_exact_at(&mut head, segment::HEADER_LEN)?;
        Ok(head)
    };
    Header::decode(&read().ok()?, &entry.salt).ok().map(|header| header.wall_us)
}

struct Reading {
    assembler: Assembler,
    /// The last record that was visited.
    behind: Lsn,
    window: Window,
    /// The last place that is the end of a record, or the frame in which reading ended.
    mark: Option<(u64, Place)>,
}

impl Reading {
    fn segment(
        &mut self,
        listed: &Listed,
        (first_lsn, begin): (Lsn, Option<Place>),
        expected: SegmentEnd,
        visit: &mut dyn FnMut(Record<'_>) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let Listed { entry, file, block, .. } = listed;
        let path = segment::path(entry.sequence);
        let (assembler, behind) = (&mut self.assembler, &mut self.behind);
        let mut reader =
            SegmentReader::new(&**file, &mut self.window, *entry, *block, expected.offset, first_lsn);
        if let Some(begin) = begin {
            reader = reader.at(begin);
        }
        let why = loop {
            let start = reader.place();
            match reader.step().map_err(StoreError::io(format!("read {path}")))? {
                Step::Frame { header, payload, offset, .. } => {
                    let each = &mut |lsn_end, body: &[u8]| {
                        let record = Record { lsn_end, wall_us: header.wall_us, body };
                        let flow = visit(record).map_err(|e| Stop::Frame(e.into()))?;
                        *behind = lsn_end;
                        if flow.is_break() { Err(Stop::Enough) } else { Ok(()) }
                    };
                    match assembler.frame(&header, payload, each) {
                        // Not between the pieces of a record.
                        Ok(()) if *behind == reader.lsn() => {
                            self.mark = Some((entry.sequence, reader.place()))
                        }
                        Ok(()) => {}
                        Err(Stop::Enough) => {
                            // A record that is in pieces ends with its frame.
                            let ends_here = *behind == reader.lsn();
                            let place = if ends_here { reader.place() } else { start };
                            self.mark = Some((entry.sequence, place));
                            return Ok(ControlFlow::Break(()));
                        }
                        Err(Stop::Frame(e)) => return Err(e.at(&path, offset)),
                    }
                }
                Step::Unsupported(why) => return Err(corruption(path, reader.offset(), why)),
                Step::Blank => break "nothing is written here",
                Step::Bad(why) => break why,
            }
        };
        let end = SegmentEnd { offset: reader.offset(), lsn: reader.lsn() };
        if end != expected {
            let reason = format!(
                "{why}, and the segment was good up to offset {} when it ended. Nothing was changed. Run `duramen check` on \
                 the directory for the extent of the damage",
                expected.offset
            );
            return Err(corruption(path, end.offset, reason));
        }
        Ok(ControlFlow::Continue(()))
    }
}
