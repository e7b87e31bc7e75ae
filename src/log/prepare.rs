//! Makes segments ahead of need, so that rolling never waits for zeros and a full disk shows before the log runs out of room.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::disk::{File, LogMode};
use crate::mutation::{Safeguard, is_off, unless_off};

use super::frame;
use super::manifest::SegmentEntry;
use super::open;
use super::segment::{self, SegmentHeader};
use super::shared::{Shared, is_no_space};

/// Segments that wait, complete and listed in the manifest, beside the active one.
pub(super) const AHEAD: usize = 2;
/// Pause after each step of zeros while at least one segment is ready: about 500 MB/s.
const THROTTLE: Duration = Duration::from_millis(2);

/// A segment that may be begun.
pub(super) struct Prepared {
    pub file: Arc<dyn File>,
    pub header: SegmentHeader,
    /// What was asked for; the file system may have given less.
    pub mode: LogMode,
}

impl Prepared {
    pub fn entry(&self) -> SegmentEntry {
        SegmentEntry {
            sequence: self.header.sequence,
            salt: self.header.salt,
            term: self.header.term,
            size: self.header.size,
            first_lsn: None,
            end: None,
            rewriting: false,
        }
    }
}

/// The preparer's own memory.
#[derive(Default)]
pub(super) struct Preparer {
    /// Complete, but not yet (for certain) listed: the manifest could not be written.
    unlisted: VecDeque<Prepared>,
}

/// What an attempt to prepare came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PrepareStep {
    Enough,
    Made,
    NoSpace,
    Stopped,
    Failed,
}

impl Preparer {
    /// Makes one segment, or lists the one that was made, if fewer than [`AHEAD`] of the wanted mode wait. In the background
    /// it takes its time, and gives up when the log stops.
    pub fn step(&mut self, shared: &Shared, background: bool) -> PrepareStep {
        if shared.is_failed() {
            return PrepareStep::Failed;
        }
        if let Err(e) = remove_passed_over(shared)
            && !is_no_space(&e)
        {
            shared.fail(format!("take a log segment off the manifest: {e}"));
            return PrepareStep::Failed;
        }
        let mode = shared.wanted_mode();
        if shared.prepared.lock().iter().filter(|p| p.mode == mode).count() >= AHEAD {
            return PrepareStep::Enough;
        }
        match self.make(shared, mode, background).and_then(|()| self.list(shared)) {
            Ok(()) => {
                shared.set_prepare_stalled(false);
                shared.segment_is_ready();
                PrepareStep::Made
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => PrepareStep::Stopped,
            Err(e) if is_no_space(&e) => {
                if shared.prepared.lock().is_empty() {
                    shared.set_prepare_stalled(true);
                }
                PrepareStep::NoSpace
            }
            Err(e) => {
                shared.fail(format!("prepare the next log segment: {e}"));
                PrepareStep::Failed
            }
        }
    }

    fn make(&mut self, shared: &Shared, mode: LogMode, background: bool) -> io::Result<()> {
        if !self.unlisted.is_empty() {
            return Ok(());
        }
        let header = SegmentHeader {
            block: frame::ALIGN as u32,
            store_id: shared.store_id,
            sequence: shared.next_sequence.load(Ordering::Relaxed),
            term: shared.term,
            salt: shared.clock.random_id()?,
            size: shared.segment_bytes,
            created_us: shared.clock.wall_us(),
        };
        let mut between = || {
            if background && !shared.prepared.lock().is_empty() {
                std::thread::park_timeout(THROTTLE);
            }
            !(background && shared.is_stopping())
        };
        match segment::create(&*shared.disk, header, mode, &mut between) {
            Ok((file, header)) => {
                shared.next_sequence.fetch_add(1, Ordering::Relaxed);
                self.unlisted.push_back(Prepared { file, header, mode });
                Ok(())
            }
            Err(e) => {
                // Nothing lists it and nothing was written to it: give the room back. The next attempt makes it anew.
                let path = segment::path(header.sequence);
                match shared.disk.remove(&path) {
                    Err(gone) if gone.kind() != io::ErrorKind::NotFound => {
                        tracing::warn!("cannot remove the unfinished segment {path}: {gone}");
                        shared.next_sequence.fetch_add(1, Ordering::Relaxed);
                    }
                    _ => {}
                }
                Err(e)
            }
        }
    }

    fn list(&mut self, shared: &Shared) -> io::Result<()> {
        let Some(prepared) = self.unlisted.front() else { return Ok(()) };
        let entry = prepared.entry();
        unless_off(Safeguard::SegmentListed, || {
            shared.update_manifest(|manifest| {
                if manifest.segment_mut(entry.sequence).is_none() {
                    manifest.segments.push(entry);
                }
            })
        })?;
        shared.prepared.lock().extend(self.unlisted.pop_front());
        Ok(())
    }
}

/// First off the manifest, then the files: an entry without a file would be missed at the next start.
fn remove_passed_over(shared: &Shared) -> io::Result<()> {
    let passed_over = shared.passed_over.lock().clone();
    if passed_over.is_empty() {
        return Ok(());
    }
    if is_off(Safeguard::PassedOverOrder) {
        open::reclaim(&*shared.disk, &passed_over, &[]);
    }
    shared.update_manifest(|manifest| manifest.segments.retain(|s| !passed_over.contains(&s.sequence)))?;
    shared.passed_over.lock().retain(|sequence| !passed_over.contains(sequence));
    open::reclaim(&*shared.disk, &passed_over, &[]);
    Ok(())
}
