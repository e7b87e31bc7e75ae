//! Recovery: in a locked directory, read the log, cut what is torn, begin a new term in a new segment.
//!
//! Order of what reaches the medium, each step synced before the next begins:
//!
//! 1. the new segment, complete;
//! 2. a manifest with the new term that lists it, as *rewriting* if there are unproven frames to copy into it;
//! 3. the copied frames; 4. a manifest that ends the old segments where the copy begins and makes the new one part of the log.
//!
//! A crash before 4 leaves the old segments as they were found. Nothing is ever written into a segment that was found.

use std::io;
use std::sync::Arc;

use crate::clock::{Clock, go_on};
use crate::disk::{Disk, LogMode, Open};
use crate::error::StoreError;
use crate::mutation::{Safeguard, is_off, unless_off};

use super::manifest::{self, Found, Manifest, SegmentEnd, SegmentEntry};
use super::prepare::{AHEAD, Prepared};
use super::reader::{self, Window};
use super::rewrite::{self, Copied};
use super::scan::{self, Listed, Place, Scanned, Visit, corruption};
use super::segment::{self, SegmentHeader};
use super::shared::{Start, is_no_space};
use super::writer::{Active, Writer};
use super::{LogOptions, Lsn, Policy, Recovered, RecoveryReport, Seed, StoreId, frame};

const SEGMENT_BYTES_MIN: u64 = 8 << 10;
const BLOCK: u64 = segment::BLOCK_MAX as u64;
/// A start waits for the zeros of its first segment; the next ones are made in the background, at full size. There is room
/// for the longest frame.
const FIRST_FILLED_BYTES_MAX: u64 = 8 << 20;

/// Recovers the log, or makes a new one.
pub(super) fn open(
    disk: Arc<dyn Disk>,
    lock: Box<dyn crate::disk::Lock>,
    clock: Arc<dyn Clock>,
    mut options: LogOptions,
    visit: &mut Visit<'_>,
) -> Result<(Start, RecoveryReport), StoreError> {
    let started = clock.monotonic();
    options.segment_bytes = options.segment_bytes.max(SEGMENT_BYTES_MIN).next_multiple_of(BLOCK);
    let mut report = RecoveryReport::default();
    let files = ensure_folder(&*disk)?;
    let mut manifest = load_or_create(&*disk, &*clock, &files, &mut report)?;
    let orphans = check_files(&*disk, &manifest, &files)?;
    drop_half_rewritten(&*disk, &mut manifest)?;
    let segments = open_listed(&*disk, &manifest)?;
    let from = begin(&manifest, visit)?;
    let scanned = scan::scan(&manifest, &segments, first_lsn(&manifest), from, &mut report, visit)?;
    // Of segments that are not read, or in which nothing was written.
    let created_us = segments.iter().fold(0, |before, s| go_on(before, s.created_us));
    report.last_wall_us = report.last_wall_us.max(created_us);
    visit(Recovered::End)?;

    // A process that was killed may have left the names of the manifest and of the folder in the cache alone. Without this, a power
    // loss behind the next segment's creation could leave a segment and no manifest, or lose a folder that the manifest speaks of.
    unless_off(Safeguard::StartNames, || disk.sync_dir(""))
        .map_err(StoreError::io("sync the data directory"))?;
    // What an earlier start could not finish takes the room that the new segment may need.
    reclaim(&*disk, &orphans, &[]);
    let listed_max = manifest.segments.iter().map(|s| s.sequence).max();
    let mut next_sequence = files.iter().copied().chain(listed_max).max().unwrap_or(0) + 1;
    let begun = begin_term(&*disk, &*clock, &options, &mut manifest, &segments, &scanned, next_sequence)?;
    next_sequence += 1;
    report.rewritten_bytes = scanned.unproven.iter().map(|f| f.end_lsn - f.at.lsn).sum();
    report.term = manifest.term;
    report.elapsed = clock.monotonic().saturating_sub(started);
    reclaim(&*disk, &begun.dropped, &ended(&manifest, &report));

    let room = options.segment_bytes - segment::HEADER_LEN;
    let payload_max = (room as usize - frame::frame_len(0)).min(frame::PAYLOAD_MAX);
    let lsn = scanned.end.lsn;
    let writer = Writer::new(begun.active, lsn, payload_max);
    Ok((
        Start { disk, clock, lock, options, payload_max, catalog: manifest, next_sequence, lsn, writer },
        report,
    ))
}

/// Keeps other processes out of the directory, as long as it lives.
pub(super) fn take_lock(disk: &dyn Disk) -> Result<Box<dyn crate::disk::Lock>, StoreError> {
    let second = || if is_off(Safeguard::Lock) { Some(disk.lock("LOCK.second")) } else { None };
    disk.lock("LOCK").or_else(|e| second().unwrap_or(Err(e))).map_err(|e| {
        if e.kind() == io::ErrorKind::WouldBlock {
            return StoreError::Refused(format!(
                "the data directory is in use by another process ({e}); stop that one, or choose another directory"
            ));
        }
        StoreError::io("lock the data directory by its file LOCK")(e)
    })
}

/// The sequences of the segment files that are there. Makes the folder if there is none; [`open`] syncs its name.
fn ensure_folder(disk: &dyn Disk) -> Result<Vec<u64>, StoreError> {
    match disk.list(segment::FOLDER) {
        Ok(names) => Ok(names.iter().filter_map(|name| segment::sequence_of(name)).collect()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            disk.create_dir(segment::FOLDER).map_err(StoreError::io("make the folder log"))?;
            Ok(Vec::new())
        }
        Err(e) => Err(StoreError::io("list the folder log")(e)),
    }
}

fn load_or_create(
    disk: &dyn Disk,
    clock: &dyn Clock,
    files: &[u64],
    report: &mut RecoveryReport,
) -> Result<Manifest, StoreError> {
    match manifest::load(disk)? {
        Found::Valid(manifest, fault) => {
            if let Some(fault) = fault {
                tracing::warn!("one copy of the manifest is unusable, the other is used: {fault}");
            }
            Ok(*manifest)
        }
        Found::Nothing if files.is_empty() => {
            report.created = true;
            let store_id = clock.random_id().map_err(StoreError::io("make a store id"))?;
            let mut manifest = Manifest {
                generation: 0,
                store_id,
                seed: draw_seed(clock)?,
                term: 0,
                synced_through: 0,
                terms: Vec::new(),
                segments: Vec::new(),
                sections: Vec::new(),
            };
            // Before the first segment: a segment without a manifest is never taken for a new store.
            manifest::replace(disk, &mut manifest).map_err(StoreError::io("write the manifest"))?;
            Ok(manifest)
        }
        Found::Nothing => Err(StoreError::Refused(format!(
            "the folder log holds {} segments and there is neither MANIFEST-a nor MANIFEST-b: this is not a new store, and \
             without a manifest its log cannot be told from leftovers. Put the manifest back from where the directory was \
             copied from. Without one, `duramen check` on the directory says what the log holds, and `duramen repair DIR --into COPY` makes a \
             store of a log that begins with the store's first record. Only to begin empty, move the folder log away",
            files.len()
        ))),
        Found::NoneValid(why) => Err(StoreError::Refused(format!(
            "no usable manifest ({why}). Put back MANIFEST-a or MANIFEST-b from a backup. Without one, `duramen check` on the \
             directory says what the log holds, and `duramen repair DIR --into COPY` makes a store of a log that begins with the store's first \
             record"
        ))),
    }
}

/// For a new store.
fn draw_seed(clock: &dyn Clock) -> Result<Seed, StoreError> {
    let id = clock.random_id().map_err(StoreError::io("make the store's secret seed"))?;
    let (seed, _) = id.split_first_chunk().expect("an id has sixteen bytes");
    Ok(Seed(u64::from_le_bytes(*seed)))
}

/// Every listed segment must be there. Returns the files that are not listed and may be removed.
pub(super) fn check_files(
    disk: &dyn Disk,
    manifest: &Manifest,
    files: &[u64],
) -> Result<Vec<u64>, StoreError> {
    for entry in manifest.segments.iter().filter(|s| !s.rewriting) {
        if !files.contains(&entry.sequence) {
            return Err(StoreError::Refused(format!(
                "{} is missing, and the manifest lists it as part of the log. Restore it from a backup; `duramen check` says \
                 what the remaining files hold",
                segment::path(entry.sequence)
            )));
        }
    }
    let mut orphans = Vec::new();
    let first = manifest.segments.first().map_or(0, |s| s.sequence);
    for &sequence in files {
        if manifest.segments.iter().any(|s| s.sequence == sequence) {
            continue;
        }
        // Older than the log: it was being removed. Otherwise it was being prepared, and a segment is listed before its
        // first frame.
        if sequence > first && holds_frames(disk, manifest, sequence)? {
            return Err(StoreError::Refused(format!(
                "{} holds part of this store's log, and the manifest does not list it: the manifest is older than the log. \
                 Put back the newest MANIFEST-a and MANIFEST-b; move the file away only if you know that it is a leftover",
                segment::path(sequence)
            )));
        }
        orphans.push(sequence);
    }
    Ok(orphans)
}

fn holds_frames(disk: &dyn Disk, manifest: &Manifest, sequence: u64) -> Result<bool, StoreError> {
    let path = segment::path(sequence);
    let read = || -> io::Result<bool> {
        let file = disk.open(&path, Open::Read)?;
        let len = file.len()?;
        let mut head = vec![0; segment::HEADER_LEN.min(len) as usize];
        file.read_exact_at(&mut head, 0)?;
        let Ok(header) = SegmentHeader::decode(&head) else { return Ok(false) };
        if header.store_id != manifest.store_id || header.sequence != sequence {
            return Ok(false);
        }
        let mode = disk.log_mode(false);
        let entry = Prepared { file: file.clone(), header, mode }.entry();
        let mut window = Window::default();
        let mut reader = reader::SegmentReader::new(&*file, &mut window, entry, header.block, len, 0);
        reader.begins_with_a_frame()
    };
    read().map_err(StoreError::io(format!("read {path}")))
}

/// Segments into which an interrupted recovery was copying hold nothing of their own. The file goes before its entry: an
/// entry without a file is harmless, a file with frames and without an entry is not. The folder is synced with the new
/// segment, before the manifest that no longer has the entry.
fn drop_half_rewritten(disk: &dyn Disk, manifest: &mut Manifest) -> Result<(), StoreError> {
    for entry in manifest.segments.iter().filter(|s| s.rewriting) {
        let path = segment::path(entry.sequence);
        match disk.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io(format!("remove {path}"))(e));
            }
            _ => {}
        }
    }
    manifest.segments.retain(|s| !s.rewriting);
    Ok(())
}

/// Where the listed segments begin. One without a first LSN before one with it was never begun.
pub(super) fn first_lsn(manifest: &Manifest) -> Lsn {
    manifest.segments.iter().find_map(|s| s.first_lsn).unwrap_or(0)
}

/// Tells the visitor whose log it is, and asks where its records are to begin.
pub(super) fn begin(manifest: &Manifest, visit: &mut Visit<'_>) -> Result<Lsn, StoreError> {
    let first_lsn = first_lsn(manifest);
    let mut from = 0;
    let sections = &manifest.sections;
    visit(Recovered::Begin { seed: manifest.seed, sections, first_lsn, from: &mut from })?;
    if from < first_lsn {
        return Err(StoreError::Refused(format!(
            "the log begins at LSN {first_lsn}, and what was loaded before it ends at LSN {from}: the segments between are \
             gone. Nothing was changed. Restore the snapshot that goes through LSN {first_lsn} or later, or the missing \
             segments and their manifest, from a backup"
        )));
    }
    Ok(from)
}

/// Opens the listed segments and holds their headers against the manifest.
pub(super) fn open_listed(disk: &dyn Disk, manifest: &Manifest) -> Result<Vec<Listed>, StoreError> {
    manifest.segments.iter().map(|entry| open_segment(disk, &manifest.store_id, entry)).collect()
}

/// Opens a segment to read it, and holds its header against the manifest's entry.
pub(super) fn open_segment(
    disk: &dyn Disk,
    store_id: &StoreId,
    entry: &SegmentEntry,
) -> Result<Listed, StoreError> {
    let path = segment::path(entry.sequence);
    let reading = || format!("read {path}");
    let file = disk.open(&path, Open::Read).map_err(StoreError::io(reading()))?;
    let len = file.len().map_err(StoreError::io(reading()))?;
    let needed = entry.end.map_or(entry.size, |end| end.offset);
    if len < needed {
        let reason = format!("the file ends here; it must have {needed} bytes. Restore it from a backup");
        return Err(corruption(path, len, reason));
    }
    let mut head = vec![0; segment::HEADER_LEN.min(len) as usize];
    file.read_exact_at(&mut head, 0).map_err(StoreError::io(reading()))?;
    let header = SegmentHeader::decode(&head).map_err(|why| {
        corruption(
            path.clone(),
            0,
            format!("{why}. Restore the file from a backup; run `duramen check` first"),
        )
    })?;
    if header.store_id != *store_id {
        return Err(StoreError::Refused(format!(
            "{path} belongs to another store; put back the file of this one"
        )));
    }
    if (header.sequence, header.term, header.salt, header.size)
        != (entry.sequence, entry.term, entry.salt, entry.size)
    {
        return Err(StoreError::Refused(format!(
            "{path} is not the file that the manifest lists under this name; put back the right one"
        )));
    }
    Ok(Listed { entry: *entry, file, block: header.block, limit: needed, created_us: header.created_us })
}

/// The new term's first segment.
struct Begun {
    active: Active,
    /// No longer listed.
    dropped: Vec<u64>,
}

fn begin_term(
    disk: &dyn Disk,
    clock: &dyn Clock,
    options: &LogOptions,
    manifest: &mut Manifest,
    segments: &[Listed],
    scanned: &Scanned,
    sequence: u64,
) -> Result<Begun, StoreError> {
    // Frames from here on are written again, the old segments end here.
    let unproven = scanned.unproven.first().filter(|_| !is_off(Safeguard::RewriteCopies));
    let cut = unproven.map_or(scanned.end, |frame| frame.cut);
    manifest.begin_term(scanned.end.lsn);
    manifest.synced_through = manifest.synced_through.max(cut.lsn);
    let copy_bytes = copied_len(scanned);
    let mode = disk.log_mode(options.policy == Policy::Always);
    let size_max = if mode == LogMode::Reserved { u64::MAX } else { FIRST_FILLED_BYTES_MAX };
    let size = options.segment_bytes.min(size_max);
    let header = SegmentHeader {
        block: frame::ALIGN as u32,
        store_id: manifest.store_id,
        sequence,
        term: manifest.term,
        salt: clock.random_id().map_err(StoreError::io("make a salt"))?,
        size: size.max((segment::HEADER_LEN + copy_bytes).next_multiple_of(BLOCK)),
        created_us: clock.wall_us(),
    };
    let path = segment::path(sequence);
    let (file, header) = segment::create(disk, header, mode, &mut || true).map_err(|e| {
        // Nothing lists it: whoever tries again on a full disk must not find less room each time.
        reclaim(disk, &[sequence], &[]);
        let made = format!("make {path}");
        StoreError::io(if is_no_space(&e) { made + &room_wanted(header.size, options) } else { made })(e)
    })?;
    let prepared = Prepared { file, header, mode };
    let entry = SegmentEntry { first_lsn: Some(cut.lsn), ..prepared.entry() };

    let mut copied = Copied { offset: segment::HEADER_LEN, last_crc: 0 };
    if !scanned.unproven.is_empty() && !is_off(Safeguard::RewriteCopies) {
        manifest.segments.push(SegmentEntry { rewriting: !is_off(Safeguard::RewriteMark), ..entry });
        manifest::replace(disk, manifest).map_err(StoreError::io("write the manifest"))?;
        manifest.segments.pop();
        let target = rewrite::Target {
            file: &*prepared.file,
            block: header.block,
            salt: header.salt,
            term: header.term,
            synced_through: cut.lsn,
        };
        copied = rewrite::copy(segments, &scanned.unproven, &target)
            .and_then(|copied| unless_off(Safeguard::RewriteSync, || prepared.file.sync()).map(|()| copied))
            .map_err(StoreError::io(format!("write {path}")))?;
    }
    let dropped = cut_segments(manifest, scanned, cut);
    manifest.segments.push(entry);
    manifest.synced_through = scanned.end.lsn;
    manifest::replace(disk, manifest).map_err(StoreError::io("write the manifest"))?;
    Ok(Begun { active: Active::new(prepared).behind(copied.offset, copied.last_crc), dropped })
}

/// The system's error tells neither how much is missing, nor that an empty store takes it.
fn room_wanted(first_bytes: u64, options: &LogOptions) -> String {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let ahead = options.segment_bytes * AHEAD as u64;
    format!(
        " of {} MiB (with {AHEAD} more made ahead the log of an empty store, too, takes {} MiB: free that much, or lower log-segment-size, \
         which is {} MiB)",
        mib(first_bytes),
        mib(first_bytes + ahead),
        mib(options.segment_bytes)
    )
}

/// Bytes that the unproven frames take.
fn copied_len(scanned: &Scanned) -> u64 {
    scanned.unproven.iter().map(|f| frame::frame_len((f.end_lsn - f.at.lsn) as usize) as u64).sum()
}

/// Notes in the manifest where each segment ends. Segments that were never written to are dropped; those that hold only
/// what was cut are kept as they are (to look at), and end where they begin.
///
/// An end that is known and lies where the log does now is not moved, not even over a witness frame: a backup may share the file, and
/// what lies behind an end is given back.
fn cut_segments(manifest: &mut Manifest, scanned: &Scanned, cut: Place) -> Vec<u64> {
    let mut dropped = Vec::new();
    let mut kept = Vec::new();
    for (index, (mut entry, seen)) in manifest.segments.drain(..).zip(&scanned.seen).enumerate() {
        let is_blank = seen.frames == 0 && seen.beyond_len == 0;
        if is_blank && entry.end.is_none() {
            dropped.push(entry.sequence);
            continue;
        }
        if index < cut.index {
            entry.end = Some(seen.end);
        } else if entry.end.is_some_and(|end| end.lsn == cut.lsn) {
            // It was synced before the manifest said so.
        } else if index == cut.index {
            entry.end = Some(SegmentEnd { offset: cut.offset, lsn: cut.lsn });
        } else {
            entry.first_lsn = Some(cut.lsn);
            entry.end = Some(SegmentEnd { offset: segment::HEADER_LEN, lsn: cut.lsn });
        }
        entry.first_lsn = entry.first_lsn.or(Some(seen.first_lsn));
        kept.push(entry);
    }
    manifest.segments = kept;
    dropped
}

/// Ended segments and where they end, without the one that was torn: its bytes are kept to look at.
fn ended(manifest: &Manifest, report: &RecoveryReport) -> Vec<(u64, u64)> {
    let torn = report.torn.as_ref().map(|torn| torn.file.as_str());
    let ends = manifest.segments.iter().filter_map(|s| s.end.map(|end| (s.sequence, end.offset)));
    ends.filter(|&(sequence, _)| torn != Some(segment::path(sequence).as_str())).collect()
}

/// Gives back room that the manifest no longer speaks of: files, and what lies behind the end of segments. Nothing depends
/// on it, so errors are only told.
pub(super) fn reclaim(disk: &dyn Disk, gone: &[u64], ended: &[(u64, u64)]) {
    for path in gone.iter().map(|&sequence| segment::path(sequence)) {
        if let Err(e) = disk.remove(&path)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove the unused segment {path}: {e}");
        }
    }
    for (path, len) in ended.iter().map(|&(sequence, len)| (segment::path(sequence), len)) {
        let cut = || -> io::Result<()> {
            let file = disk.open(&path, Open::Write)?;
            if file.len()? > len { file.set_len(len) } else { Ok(()) }
        };
        if let Err(e) = cut() {
            tracing::warn!("cannot give back the unused end of {path}: {e}");
        }
    }
}
