//! Looks at a log without changing it: what recovery would say, and what can be read behind damage. For the tools.
//!
//! [`judge`] is recovery's own reading half and nothing else, so that "good" here means "opens" there. [`walk`] goes on where
//! recovery must stop: behind a break it takes an intact frame's word for where in the stream it belongs.
//!
//! What it does **not** promise: that what is read behind a break is what was there: records between may be missing. Nothing
//! here takes a lock or writes.

use std::io;

use crate::codec::Cursor;
use crate::disk::{Disk, Open};
use crate::error::StoreError;

use super::frame::{Flags, Header};
use super::manifest::{self, COPIES, Found as FoundManifest, Manifest, SegmentEnd, SegmentEntry};
use super::reader::{SegmentReader, Step, Window};
use super::segment::{self, HEADER_LEN, SegmentHeader};
use super::{Lsn, Recovered, RecoveryReport, StoreId, frame, open, record, scan};

/// One copy of the manifest, or what is wrong with it.
pub struct ManifestCopy {
    pub path: &'static str,
    pub manifest: Result<Manifest, String>,
}

/// Both copies.
pub fn copies(disk: &dyn Disk) -> Result<Vec<ManifestCopy>, StoreError> {
    let copy = |path| {
        let manifest = match manifest::read(disk, path).map_err(StoreError::io(format!("read {path}")))? {
            None => Err("the file is missing".to_owned()),
            Some(read) => read.map_err(|malformed| malformed.0.to_owned()),
        };
        Ok(ManifestCopy { path, manifest })
    };
    COPIES.into_iter().map(copy).collect()
}

/// What recovery would say.
pub enum Verdict {
    /// No store: a server would make one.
    Empty,
    Opens(Box<RecoveryReport>),
    Damaged(StoreError),
    /// An I/O error, or a format that this program does not know.
    CannotTell(StoreError),
}

/// Reads the log as recovery does, records to `visit`, and writes nothing.
pub fn judge(disk: &dyn Disk, visit: &mut dyn FnMut(Recovered<'_>) -> Result<(), StoreError>) -> Verdict {
    let prepared = prepare(disk);
    let (manifest, segments) = match prepared {
        Ok(Some(prepared)) => prepared,
        Ok(None) => return Verdict::Empty,
        Err(e @ StoreError::Io { .. }) => return Verdict::CannotTell(e),
        Err(e) => return Verdict::Damaged(e),
    };
    let mut report = RecoveryReport { term: manifest.term, ..RecoveryReport::default() };
    let read = open::begin(&manifest, visit)
        .and_then(|from| {
            scan::scan(&manifest, &segments, open::first_lsn(&manifest), from, &mut report, visit)
        })
        .and_then(|_| visit(Recovered::End));
    match read {
        Ok(()) => Verdict::Opens(Box::new(report)),
        Err(e @ StoreError::Corruption(_)) => Verdict::Damaged(e),
        Err(e) => Verdict::CannotTell(e),
    }
}

/// The steps of recovery before it reads, without those that write. `None`: nothing is there.
fn prepare(disk: &dyn Disk) -> Result<Option<(Manifest, Vec<scan::Listed>)>, StoreError> {
    let files = sequences(disk)?;
    let mut manifest = match manifest::load(disk)? {
        FoundManifest::Valid(manifest, _) => *manifest,
        FoundManifest::Nothing if files.is_empty() => return Ok(None),
        FoundManifest::Nothing => {
            return Err(StoreError::Refused(format!(
                "the folder log holds {} segments and there is neither MANIFEST-a nor MANIFEST-b",
                files.len()
            )));
        }
        FoundManifest::NoneValid(why) => {
            return Err(StoreError::Refused(format!("no usable manifest ({why})")));
        }
    };
    open::check_files(disk, &manifest, &files)?;
    manifest.segments.retain(|s| !s.rewriting);
    let segments = open::open_listed(disk, &manifest)?;
    Ok(Some((manifest, segments)))
}

fn sequences(disk: &dyn Disk) -> Result<Vec<u64>, StoreError> {
    match disk.list(segment::FOLDER) {
        Ok(names) => Ok(names.iter().filter_map(|name| segment::sequence_of(name)).collect()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(StoreError::io("list the folder log")(e)),
    }
}

/// A segment of the log, in the order of the stream.
pub struct Segment {
    /// From the manifest, or made up from the file's header.
    pub entry: SegmentEntry,
    /// The manifest has it.
    pub is_listed: bool,
    /// `Err` says what is wrong with it.
    pub header: Result<SegmentHeader, String>,
    /// `None`: there is no such file.
    pub file_len: Option<u64>,
    /// Where a later segment that no manifest lists takes over.
    stop: Option<Lsn>,
}

impl Segment {
    pub fn path(&self) -> String {
        segment::path(self.entry.sequence)
    }
}

/// What belongs to the log, as far as it can be told.
pub struct Listing {
    /// The newest valid copy.
    pub manifest: Option<Manifest>,
    pub segments: Vec<Segment>,
    /// Segment files that hold nothing of the log.
    pub orphans: Vec<u64>,
}

/// Lists the log's segments; without a manifest, by the segments' own headers.
pub fn list(disk: &dyn Disk) -> Result<Listing, StoreError> {
    let valid = copies(disk)?.into_iter().filter_map(|copy| copy.manifest.ok());
    let manifest = valid.reduce(|best, other| if other.generation > best.generation { other } else { best });
    let mut listing = Listing { manifest, segments: Vec::new(), orphans: Vec::new() };
    let entries = listing.manifest.iter().flat_map(|m| &m.segments).copied();
    let entries: Vec<_> = entries.filter(|entry| !entry.rewriting).collect();
    let mut store_id = listing.manifest.as_ref().map(|m| m.store_id);
    for entry in entries {
        let segment = listed(disk, entry, store_id)?;
        listing.segments.push(segment);
    }
    let last = listing.segments.last().map(|s| s.entry.sequence);
    for sequence in sequences(disk)? {
        if listing.segments.iter().any(|s| s.entry.sequence == sequence) {
            continue;
        }
        let found = match last {
            Some(last) if sequence < last => None,
            _ => unlisted(disk, sequence, &mut store_id)?,
        };
        let Some(segment) = found else {
            listing.orphans.push(sequence);
            continue;
        };
        if let Some(before) = listing.segments.last_mut() {
            before.stop = segment.entry.first_lsn;
        }
        listing.segments.push(segment);
    }
    Ok(listing)
}

fn listed(disk: &dyn Disk, entry: SegmentEntry, store_id: Option<StoreId>) -> Result<Segment, StoreError> {
    let (file_len, header) = read_header(disk, entry.sequence)?;
    let header = header.and_then(|header| {
        let same = (header.sequence, header.term, header.salt, header.size)
            == (entry.sequence, entry.term, entry.salt, entry.size);
        if !same || store_id.is_some_and(|id| id != header.store_id) {
            return Err("this is not the file that the manifest lists under this name".to_owned());
        }
        Ok(header)
    });
    Ok(Segment { entry, is_listed: true, header, file_len, stop: None })
}

/// A segment that no manifest lists, if it holds anything. The first one says whose store it is, where nobody else does.
fn unlisted(
    disk: &dyn Disk,
    sequence: u64,
    store_id: &mut Option<StoreId>,
) -> Result<Option<Segment>, StoreError> {
    let (file_len, header) = read_header(disk, sequence)?;
    let Ok(header) = header else { return Ok(None) };
    if header.sequence != sequence || *store_id.get_or_insert(header.store_id) != header.store_id {
        return Ok(None);
    }
    let mut entry = SegmentEntry {
        sequence,
        salt: header.salt,
        term: header.term,
        size: header.size,
        first_lsn: None,
        end: None,
        rewriting: false,
    };
    let path = segment::path(sequence);
    let peek = || -> io::Result<Option<Header>> {
        let file = disk.open(&path, Open::Read)?;
        let limit = header.size.min(file_len.unwrap_or(0));
        SegmentReader::new(&*file, &mut Window::default(), entry, header.block, limit, 0).peek()
    };
    let Some(first) = peek().map_err(StoreError::io(format!("read {path}")))? else { return Ok(None) };
    entry.first_lsn = Some(first.first_lsn);
    Ok(Some(Segment { entry, is_listed: false, header: Ok(header), file_len, stop: None }))
}

type HeaderRead = (Option<u64>, Result<SegmentHeader, String>);

fn read_header(disk: &dyn Disk, sequence: u64) -> Result<HeaderRead, StoreError> {
    let path = segment::path(sequence);
    let read = || -> io::Result<HeaderRead> {
        let file = match disk.open(&path, Open::Read) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok((None, Err("the file is missing".to_owned())));
            }
            file => file?,
        };
        let len = file.len()?;
        let mut head = vec![0; HEADER_LEN.min(len) as usize];
        file.read_exact_at(&mut head, 0)?;
        let header = SegmentHeader::decode(&head);
        let is_whole = len >= HEADER_LEN;
        Ok((
            Some(len),
            header.and_then(|h| is_whole.then_some(h).ok_or("the file ends within its header".to_owned())),
        ))
    };
    read().map_err(StoreError::io(format!("read {path}")))
}

/// A place where the log does not go on as it must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    pub file: String,
    pub offset: u64,
    /// The position up to which the log is whole, if what is before is.
    pub lsn: Option<Lsn>,
    pub reason: String,
}

/// What a walk meets, in the order of the log.
pub enum Found<'a> {
    Segment(&'a Segment),
    Frame { header: &'a Header, sequence: u64, offset: u64, end: u64, behind_break: bool },
    Record { lsn_end: Lsn, wall_us: u64, body: &'a [u8], behind_break: bool },
    Break(&'a Break),
}

/// A place between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// In [`Listing::segments`].
    pub index: usize,
    pub offset: u64,
    pub lsn: Lsn,
}

/// What a walk found.
pub struct Walked {
    pub first_lsn: Lsn,
    /// Behind the last whole record before the first break; `None`: nothing can be read before it.
    pub good: Option<Cut>,
    /// Where the frames of each segment before `good` end.
    pub ends: Vec<SegmentEnd>,
    pub breaks: Vec<Break>,
    /// Where reading ended for want of frames, if anything but blank space may be there.
    pub tail: Option<Break>,
}

struct Walk<'a, 'v> {
    disk: &'a dyn Disk,
    visit: &'v mut dyn FnMut(Found<'_>) -> Result<(), StoreError>,
    /// Frames that reach this position count as broken.
    refuse_at: Option<Lsn>,
    /// Where the next frame must begin, when that is known.
    lsn: Option<Lsn>,
    index: usize,
    path: String,
    pieces: Vec<u8>,
    /// Whether a record begins at `lsn`.
    at_boundary: bool,
    walked: Walked,
}

/// Goes through all frames and records. `refuse_at`: the record that ends there cannot be used, so that the log is whole only
/// before it.
pub fn walk(
    disk: &dyn Disk,
    listing: &Listing,
    refuse_at: Option<Lsn>,
    visit: &mut dyn FnMut(Found<'_>) -> Result<(), StoreError>,
) -> Result<Walked, StoreError> {
    let first = listing.segments.first().and_then(|s| s.entry.first_lsn);
    let first_lsn = first.unwrap_or(0);
    let walked = Walked {
        first_lsn,
        good: Some(Cut { index: 0, offset: HEADER_LEN, lsn: first_lsn }),
        ends: Vec::new(),
        breaks: Vec::new(),
        tail: None,
    };
    let mut walk = Walk {
        disk,
        visit,
        refuse_at,
        lsn: Some(first_lsn),
        index: 0,
        path: String::new(),
        pieces: Vec::new(),
        at_boundary: true,
        walked,
    };
    let mut window = Window::default();
    for (index, segment) in listing.segments.iter().enumerate() {
        walk.index = index;
        walk.path = segment.path();
        walk.segment(segment, &mut window)?;
    }
    Ok(walk.walked)
}

impl Walk<'_, '_> {
    fn is_broken(&self) -> bool {
        !self.walked.breaks.is_empty()
    }

    /// What stood before the last break is not continued.
    fn break_at(&mut self, at: Break) -> Result<(), StoreError> {
        if !self.is_broken() && at.file == self.path && at.offset == 0 {
            // Not even its header is whole: nothing of the file may be kept.
            self.keep_before_this_segment();
        }
        (self.visit)(Found::Break(&at))?;
        self.walked.breaks.push(at);
        self.pieces = Vec::new();
        self.at_boundary = false;
        Ok(())
    }

    fn keep_before_this_segment(&mut self) {
        if self.index == 0 {
            self.walked.good = None;
        }
    }

    fn broken(&mut self, offset: u64, reason: String) -> Result<(), StoreError> {
        let at = Break { file: self.path.clone(), offset, lsn: self.lsn, reason };
        self.break_at(at)
    }

    fn segment(&mut self, segment: &Segment, window: &mut Window) -> Result<(), StoreError> {
        (self.visit)(Found::Segment(segment))?;
        let entry = segment.entry;
        let Some(file_len) = segment.file_len else {
            self.broken(0, "the file is missing".to_owned())?;
            self.lsn = None;
            return Ok(());
        };
        if let Err(why) = &segment.header {
            self.broken(0, why.clone())?;
            self.lsn = None;
        }
        let reading = format!("read {}", self.path);
        let file = self.disk.open(&self.path, Open::Read).map_err(StoreError::io(reading.clone()))?;
        let needed = entry.end.map_or(entry.size, |end| end.offset);
        let block = segment.header.as_ref().map_or(frame::ALIGN as u32, |header| header.block);
        let limit = needed.min(file_len);
        let begin = SegmentReader::new(&*file, window, entry, block, limit, 0).peek();
        let begin = begin.map_err(StoreError::io(reading.clone()))?.map(|header| header.first_lsn);
        self.enter(entry.first_lsn, begin)?;
        let mut reader = SegmentReader::new(&*file, window, entry, block, limit, self.lsn.unwrap_or(0));
        self.frames(segment, &mut reader).map_err(|e| match e {
            Fault::Read(e) => StoreError::io(reading)(e),
            Fault::Store(e) => e,
        })?;
        if file_len < needed && !entry.end.is_some_and(|_| self.is_broken()) {
            self.broken(file_len, format!("the file ends here; it must have {needed} bytes"))?;
        }
        Ok(())
    }

    /// Holds the beginning of a segment against the end of the one before.
    fn enter(&mut self, listed: Option<Lsn>, begin: Option<Lsn>) -> Result<(), StoreError> {
        let begins = begin.or(listed);
        if let (Some(lsn), Some(begins)) =
            (self.lsn, [listed, begin].into_iter().flatten().find(|&b| Some(b) != self.lsn))
        {
            let reason = format!("the segment begins at LSN {begins}, and the one before ends at {lsn}");
            match self.walked.tail.take() {
                Some(tail) => self.break_at(tail)?,
                None => self.broken(HEADER_LEN, reason)?,
            }
            self.lsn = begin.or(Some(begins));
        } else if self.lsn.is_none() {
            self.lsn = begins;
        }
        if begin.is_some() {
            // Whatever stood unexplained before was the unused end of a full segment.
            self.walked.tail = None;
        }
        Ok(())
    }

    fn frames(&mut self, segment: &Segment, reader: &mut SegmentReader<'_>) -> Result<(), Fault> {
        let end = segment.entry.end;
        let sequence = segment.entry.sequence;
        // Where to look for the next frame, behind a break.
        let mut seek = None;
        loop {
            if segment.stop.is_some_and(|stop| reader.lsn() >= stop) && seek.is_none() {
                break;
            }
            if let Some(from) = seek
                && reader.seek_header(from)?.is_none()
            {
                break;
            }
            let (at, lsn) = (reader.offset(), reader.lsn());
            let why = match reader.step()? {
                Step::Frame { header, payload, offset, end } => {
                    if let Some(at) = self.walked.tail.take_if(|_| seek.is_some()) {
                        self.break_at(at)?;
                    }
                    seek = None;
                    self.lsn = Some(header.first_lsn);
                    self.frame(&header, payload, sequence, offset, end)?;
                    self.lsn = Some(header.end_lsn());
                    continue;
                }
                Step::Unsupported(text) => {
                    return Err(Fault::Store(StoreError::Refused(format!(
                        "{}, offset {at}: {text}. Use the version of duramen that wrote it, or a newer one",
                        self.path
                    ))));
                }
                Step::Blank => "nothing is written here",
                Step::Bad(why) => why,
            };
            if seek.is_some() {
                seek = Some(at + frame::ALIGN as u64);
                continue;
            }
            if end == Some(SegmentEnd { offset: at, lsn }) {
                break;
            }
            if self.walked.tail.is_none() {
                let reason = why.to_owned();
                self.walked.tail = Some(Break { file: self.path.clone(), offset: at, lsn: self.lsn, reason });
            }
            seek = Some(at);
        }
        if !self.is_broken() && seek.is_none() {
            self.walked.ends.push(SegmentEnd { offset: reader.offset(), lsn: reader.lsn() });
        } else if let Some(tail) = &self.walked.tail {
            let offset = if tail.file == self.path { tail.offset } else { HEADER_LEN };
            self.walked.ends.push(SegmentEnd { offset, lsn: self.lsn.unwrap_or(0) });
        }
        if let Some(expected) = end
            && seek.is_some()
            && let Some(mut tail) = self.walked.tail.take()
        {
            let known =
                format!("the manifest says that the segment is good up to offset {}", expected.offset);
            tail.reason = format!("{}, but {known}", tail.reason);
            self.break_at(tail)?;
            self.lsn = None;
        }
        Ok(())
    }

    fn frame(
        &mut self,
        header: &Header,
        payload: &[u8],
        sequence: u64,
        offset: u64,
        end: u64,
    ) -> Result<(), StoreError> {
        if self.refuse_at.is_some_and(|lsn| header.end_lsn() >= lsn) && !self.is_broken() {
            self.broken(offset, "a record in this frame cannot be applied".to_owned())?;
            self.at_boundary = !header.flags.contains(Flags::PIECE);
        }
        let behind_break = self.is_broken();
        (self.visit)(Found::Frame { header, sequence, offset, end, behind_break })?;
        if payload.is_empty() {
            return Ok(());
        }
        let commit = header.flags.contains(Flags::COMMIT);
        let usable = if header.flags.contains(Flags::PIECE) {
            self.piece(header, payload, commit)?
        } else if !self.pieces.is_empty() || !commit {
            Err("a large record breaks off in the middle")
        } else {
            self.records(header, payload)?
        };
        if let Err(reason) = usable {
            self.broken(offset, format!("the frame's checksum is right and its contents are not: {reason}"))?;
        }
        self.at_boundary = commit;
        if commit && !self.is_broken() {
            self.walked.good = Some(Cut { index: self.index, offset: end, lsn: header.end_lsn() });
        }
        Ok(())
    }

    fn piece(&mut self, header: &Header, payload: &[u8], commit: bool) -> Usable {
        if self.at_boundary || !self.pieces.is_empty() {
            self.pieces.extend_from_slice(payload);
        }
        if !commit || self.pieces.is_empty() {
            return Ok(Ok(()));
        }
        let whole = std::mem::take(&mut self.pieces);
        let behind_break = self.is_broken();
        match record::whole(&whole) {
            Ok(body) => {
                let (lsn_end, wall_us) = (header.end_lsn(), header.wall_us);
                (self.visit)(Found::Record { lsn_end, wall_us, body, behind_break })?;
                Ok(Ok(()))
            }
            Err(malformed) => Ok(Err(malformed.0)),
        }
    }

    /// Nothing of a frame is used unless all of it can be.
    fn records(&mut self, header: &Header, payload: &[u8]) -> Usable {
        let mut cursor = Cursor::new(payload);
        for _ in 0..header.records {
            if let Err(malformed) = record::next(&mut cursor) {
                return Ok(Err(malformed.0));
            }
        }
        if !cursor.is_empty() {
            return Ok(Err("bytes left over"));
        }
        let (mut cursor, behind_break, wall_us) = (Cursor::new(payload), self.is_broken(), header.wall_us);
        while let Ok(body) = record::next(&mut cursor) {
            let lsn_end = header.end_lsn() - cursor.rest().len() as u64;
            (self.visit)(Found::Record { lsn_end, wall_us, body, behind_break })?;
        }
        Ok(Ok(()))
    }
}

/// Whether a frame's contents make sense.
type Usable = Result<Result<(), &'static str>, StoreError>;

enum Fault {
    Read(io::Error),
    Store(StoreError),
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Self {
        Self::Read(e)
    }
}

impl From<StoreError> for Fault {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}
