//! The writer role: whoever holds it turns the pending group into frames in the active segment, and rolls to the next.
//!
//! A write that stops half way (out of space, short write) is continued in place by the next attempt with the same bytes.
//! The role is held while writing, and while the old segment is synced at a roll; never while an ordinary sync runs.

use std::io;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::disk::{File, LogMode};
use crate::mutation::{Safeguard, is_off};

use super::buffer::{Group, Span};
use super::frame::{self, Flags, Header};
use super::manifest::SegmentEnd;
use super::prepare::Prepared;
use super::shared::{Shared, is_no_space};
use super::{Lsn, Salt, segment};

/// What an attempt to write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrote {
    /// There was nothing to write.
    Nothing,
    /// All that was pending is in the kernel's hands and published.
    All,
    /// The segment is full; not rolled because the caller must not wait for a sync.
    NeedsRoll,
    /// The segment is full and no other is prepared.
    NoSegment,
    /// The medium is full. Try again later.
    NoSpace,
    /// Final.
    Failed,
}

/// The segment that is being written.
pub(super) struct Active {
    pub file: Arc<dyn File>,
    pub sequence: u64,
    /// What was asked for when it was made.
    pub mode: LogMode,
    /// Each write is of whole blocks.
    pub block: u32,
    salt: Salt,
    size: u64,
    /// Where the next frame goes.
    pub offset: u64,
    last_crc: u32,
}

impl Active {
    pub fn new(prepared: Prepared) -> Self {
        let Prepared { file, header, mode } = prepared;
        let (sequence, block, salt, size) = (header.sequence, header.block, header.salt, header.size);
        Self { file, sequence, mode, block, salt, size, offset: segment::HEADER_LEN, last_crc: 0 }
    }

    /// A write waits for the medium: nothing for a thread that has other work.
    pub const fn is_direct(&self) -> bool {
        self.block > frame::ALIGN as u32
    }

    /// Goes on behind frames that recovery wrote.
    pub fn behind(mut self, offset: u64, last_crc: u32) -> Self {
        self.offset = offset;
        self.last_crc = last_crc;
        self
    }
}

/// Frames that lie in one segment and go out in one write.
struct Run {
    bytes: Range<usize>,
    spans_end: usize,
    last_crc: u32,
    end_lsn: Lsn,
}

pub(super) struct Writer {
    pub active: Active,
    /// Taken from the pending buffer; empty between groups.
    group: Group,
    next_span: usize,
    run: Option<Run>,
    /// LSN behind the last frame written.
    next_lsn: Lsn,
    /// Synced at the last roll; may be ahead of `durable_lsn`, which stops only at the end of groups.
    rolled_through: Lsn,
    /// The newest `synced_through` that the log itself or the manifest tells.
    pub witnessed: Lsn,
    pub last_write_at: Duration,
    /// Bytes of the largest group of late; see [`Writer::trim`].
    largest_lately: usize,
}

impl Writer {
    /// `lsn` is where the stream goes on; everything before is durable and the manifest says so.
    pub fn new(active: Active, lsn: Lsn, payload_max: usize) -> Self {
        Self {
            active,
            group: Group::new(payload_max),
            next_span: 0,
            run: None,
            next_lsn: lsn,
            rolled_through: lsn,
            witnessed: lsn,
            last_write_at: Duration::ZERO,
            largest_lately: 0,
        }
    }

    pub fn has_group(&self) -> bool {
        !self.group.is_empty()
    }

    pub fn has_room(&self, len: usize) -> bool {
        self.active.size.saturating_sub(self.active.offset) >= len as u64
    }

    /// Writes what is pending. `may_wait`: rolling to the next segment, which waits for a sync, is allowed.
    pub fn write_pending(&mut self, shared: &Shared, may_wait: bool) -> Wrote {
        if self.has_group() {
            // What an earlier attempt could not finish comes first.
            match self.write_group(shared, may_wait) {
                Wrote::All => {}
                other => return other,
            }
        }
        {
            let mut pending = shared.pending.lock();
            if pending.is_empty() {
                drop(pending);
                return if may_wait { self.seal(shared, Wrote::Nothing) } else { Wrote::Nothing };
            }
            mem::swap(&mut *pending, &mut self.group);
        }
        self.group.finish();
        match self.write_group(shared, may_wait) {
            Wrote::All if may_wait => self.seal(shared, Wrote::All),
            other => other,
        }
    }

    /// Gives back what the buffers have grown to for groups larger than those of late. What counts as late fades by half with each
    /// call, so that a load whose groups come and go in between keeps its memory.
    pub fn trim(&mut self, shared: &Shared) {
        let wanted = self.largest_lately;
        self.largest_lately /= 2;
        drop(self.group.trim(wanted));
        let large = shared.pending.lock().trim(wanted);
        drop(large);
    }

    #[cfg(test)]
    pub const fn capacity(&self) -> usize {
        self.group.capacity()
    }

    /// Ends the segment when somebody asked for it and everything up to the moment of asking is written: else `wrote`.
    fn seal(&mut self, shared: &Shared, wrote: Wrote) -> Wrote {
        if shared.is_failed() || !shared.wants_seal() || self.next_lsn < shared.seal_lsn() {
            return wrote;
        }
        let rolled = self.roll(shared);
        if rolled == Wrote::All {
            shared.notify(super::Moved::State);
        }
        rolled
    }

    /// Writes an empty frame that carries the newest `synced_through`, if there is room for it.
    pub fn write_witness(&mut self, shared: &Shared) -> Wrote {
        if self.has_group() || !self.has_room(frame::frame_len(0)) || is_off(Safeguard::Witness) {
            return Wrote::Nothing;
        }
        self.group.set_empty_frame();
        self.group.finish();
        self.write_group(shared, false)
    }

    fn write_group(&mut self, shared: &Shared, may_wait: bool) -> Wrote {
        loop {
            if shared.is_failed() {
                return Wrote::Failed;
            }
            if self.next_span == self.group.spans().len() {
                self.finish_group(shared);
                return Wrote::All;
            }
            if self.run.is_none() && (self.should_change_mode(shared, may_wait) || !self.begin_run(shared)) {
                if !may_wait {
                    return Wrote::NeedsRoll;
                }
                match self.roll(shared) {
                    Wrote::All => continue,
                    other => return other,
                }
            }
            match self.write_run() {
                Ok(()) => {}
                Err(e) if is_no_space(&e) && !is_off(Safeguard::SpaceNotFinal) => {
                    shared.set_write_stalled(true);
                    return Wrote::NoSpace;
                }
                Err(e) => {
                    let path = segment::path(self.active.sequence);
                    shared.fail(format!("write to {path} at offset {}: {e}", self.active.offset));
                    return Wrote::Failed;
                }
            }
        }
    }

    /// The policy has changed, and a segment that suits it is ready.
    fn should_change_mode(&self, shared: &Shared, may_wait: bool) -> bool {
        let wanted = shared.wanted_mode();
        may_wait && self.active.mode != wanted && shared.prepared.lock().iter().any(|p| p.mode == wanted)
    }

    fn finish_group(&mut self, shared: &Shared) {
        shared.set_write_stalled(false);
        self.last_write_at = shared.clock.monotonic();
        shared.stats.group_written(&self.group);
        shared.stats.witnessed(self.witnessed);
        self.largest_lately = self.largest_lately.max(self.group.bytes().len());
        self.group.clear();
        self.next_span = 0;
        shared.publish_written(self.next_lsn, self.last_write_at);
    }

    /// Seals as many frames as fit in the segment. False when none does.
    fn begin_run(&mut self, shared: &Shared) -> bool {
        let spans = &self.group.spans()[self.next_span..];
        let start = spans[0].start;
        let room = self.active.size.saturating_sub(self.active.offset);
        let fits = |span: &&Span| (span.start - start + frame::frame_len(span.payload_len)) as u64 <= room;
        let count = spans.iter().take_while(fits).count();
        if count == 0 {
            return false;
        }
        let spans: smallvec::SmallVec<[Span; 8]> = spans[..count].iter().copied().collect();
        let synced_through = self.rolled_through.max(shared.durable_lsn());
        let wall_us = shared.clock.wall_us();
        let block = self.active.block as usize;
        let mut run = Run {
            bytes: start..start,
            spans_end: self.next_span + count,
            last_crc: self.active.last_crc,
            end_lsn: self.next_lsn,
        };
        for (i, span) in spans.iter().enumerate() {
            let is_padded = self.active.is_direct() && i + 1 == count;
            let header = Header {
                flags: if is_padded { span.flags | Flags::PADDED } else { span.flags },
                records: span.records,
                salt: self.active.salt,
                term: shared.term,
                first_lsn: run.end_lsn,
                wall_us,
                synced_through,
                payload_len: span.payload_len as u32,
                previous_crc: run.last_crc,
            };
            run.bytes.end = span.start + header.frame_len();
            run.last_crc = frame::seal(&mut self.group.bytes_mut()[span.start..run.bytes.end], &header);
            run.end_lsn = header.end_lsn();
        }
        if self.active.is_direct() {
            // There is room: what is left of the segment is whole blocks.
            let zeros = run.bytes.len().next_multiple_of(block) - run.bytes.len();
            self.group.pad(run.bytes.end, zeros);
            run.bytes.end += zeros;
        }
        self.witnessed = synced_through;
        self.run = Some(run);
        true
    }

    /// Writes the rest of the run. What was written before an error stays written.
    fn write_run(&mut self) -> io::Result<()> {
        let Some(run) = &mut self.run else { return Ok(()) };
        let block = self.active.block as usize;
        while !run.bytes.is_empty() {
            match self.active.file.write_at(&self.group.bytes()[run.bytes.clone()], self.active.offset) {
                // Of a block that was written in part all is written again, with the same bytes.
                Ok(n) if self.active.is_direct() && n < block => return Err(io::ErrorKind::WriteZero.into()),
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    let n = if is_off(Safeguard::ShortWrite) { run.bytes.len() } else { n };
                    let n = if self.active.is_direct() { n - n % block } else { n };
                    run.bytes.start += n;
                    self.active.offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.active.last_crc = run.last_crc;
        self.next_lsn = run.end_lsn;
        self.next_span = run.spans_end;
        self.run = None;
        Ok(())
    }

    /// Syncs the full segment and goes on to the next prepared one. The sync comes before the successor's first byte under
    /// every policy: a begun successor proves that this segment was on the medium.
    fn roll(&mut self, shared: &Shared) -> Wrote {
        let Some(next) = shared.take_prepared() else { return Wrote::NoSegment };
        if !is_off(Safeguard::RollSync) && !shared.sync_file(&self.active.file, self.active.sequence) {
            return Wrote::Failed;
        }
        self.rolled_through = self.next_lsn;
        shared.publish_rolled();
        let end = SegmentEnd { offset: self.active.offset, lsn: self.next_lsn };
        shared.note_roll(self.active.sequence, end, next.header.sequence);
        self.active = Active::new(next);
        shared.stats.active_segment(&self.active);
        Wrote::All
    }
}
