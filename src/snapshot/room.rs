//! Room on the disk: compaction leaves a reserve to the log, and where a round does not fit beside it, the round goes range by range.
//!
//! The decision, all of it:
//!
//! 1. A round whose files fit above the reserve is made at once ([`Plan::bytes_at_once`]) and published at once.
//! 2. Else its news become deltas, whatever there is of them already, so that the log can go. If these don't fit either, ranges
//!    that have deltas are merged first, each on its own and published on its own, until they do.
//! 3. Then the ranges that are due are merged, each on its own, as far as each of them fits. The others stay as they are.
//! 4. News that did not fit are an error, which says how many bytes are missing.
//!
//! Ranges that give back most come first; those that give nothing back (an older snapshot keeps their files) are not merged while
//! room is short.
//!
//! What it does **not** promise: the sizes are estimates. What counts is [`Room::take`], which is asked before each write.

use std::collections::HashSet;
use std::io;

use super::footer::FileInfo;
use super::header::HEADER_LEN;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::mutation::{Safeguard, is_off};

/// A range is merged when rows of keyspaces that are gone are this part of its files.
pub const DEAD_PART: u64 = 4;
/// What a file takes beside its rows: header, index of a few blocks, footer.
const FILE_BYTES: u64 = HEADER_LEN as u64 + 1024;

/// What compaction may still write.
pub struct Room<'a> {
    disk: &'a dyn Disk,
    reserve_bytes: u64,
    /// Estimate of what is still to be written: for the error's text.
    expected_bytes: u64,
}

impl<'a> Room<'a> {
    pub fn new(disk: &'a dyn Disk, reserve_bytes: u64) -> Self {
        Self { disk, reserve_bytes, expected_bytes: 0 }
    }

    fn free(&self) -> Result<u64, StoreError> {
        self.disk.free_bytes().map_err(StoreError::io("ask how much of the disk is free"))
    }

    /// What can be written now.
    pub fn spare(&self) -> Result<u64, StoreError> {
        Ok(self.free()?.saturating_sub(self.reserve_bytes))
    }

    /// Whether so much can be written now.
    pub fn fits(&self, bytes: u64) -> Result<bool, StoreError> {
        Ok(is_off(Safeguard::RoomFits) || self.free()? >= self.reserve_bytes.saturating_add(bytes))
    }

    /// About so much is going to be written.
    pub fn expect(&mut self, bytes: u64) {
        self.expected_bytes = bytes;
    }

    /// Call before each write. An error, and nothing is to be written, if that would go into the reserve.
    pub fn take(&mut self, bytes: u64) -> Result<(), StoreError> {
        let free = self.free()?;
        if free < self.reserve_bytes.saturating_add(bytes) && !is_off(Safeguard::RoomReserve) {
            let wanted = self.reserve_bytes.saturating_add(self.expected_bytes.max(bytes));
            return Err(StoreError::Io {
                what: "compaction needs more room on the disk".to_owned(),
                source: io::Error::new(
                    io::ErrorKind::StorageFull,
                    format!(
                        "about {} bytes are missing: {free} are free, and {} of them stay free for the log (compaction-disk-reserve)",
                        wanted - free,
                        self.reserve_bytes
                    ),
                ),
            });
        }
        self.expected_bytes = self.expected_bytes.saturating_sub(bytes);
        Ok(())
    }
}

/// Whether it was for lack of room.
pub fn is_no_room(error: &StoreError) -> bool {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    matches!(error, StoreError::Io { source, .. } if full.contains(&source.kind()))
}

/// How much of a range's files is of keyspaces that no database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dead {
    Little,
    Much,
    All,
}

/// When ranges are merged on their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// To make room for the news: any range. What the news flush is still there.
    BeforeNews,
    /// The ranges that are due.
    AfterNews,
}

/// What is to be done with a range.
#[derive(Debug, Clone)]
pub struct RangePlan {
    pub range: u16,
    /// The files that still count, oldest first.
    pub files: Vec<FileInfo>,
    pub has_news: bool,
    /// The files are due to be merged.
    pub is_due: bool,
    pub dead: Dead,
}

impl RangePlan {
    /// What a merge of the files writes, at most. Without compression it is what they are unpacked.
    fn merged_bytes(&self, level: i32) -> u64 {
        self.files
            .iter()
            .map(|file| if level == 0 { file.bytes.max(file.raw_bytes) } else { file.bytes })
            .sum()
    }

    /// What a merge gives back, at best. `kept`: files that older snapshots keep.
    fn gain_bytes(&self, when: When, kept: &HashSet<u64>) -> u64 {
        let all: u64 = self.files.iter().map(|file| file.bytes).sum();
        let freed: u64 = self.files.iter().filter(|f| !kept.contains(&f.sequence)).map(|f| f.bytes).sum();
        let dead = if when == When::AfterNews && self.dead == Dead::Much { all / DEAD_PART } else { 0 };
        let base = self.files.first().map_or(0, |file| file.bytes);
        freed.saturating_sub(base.saturating_sub(dead))
    }
}

/// A merge of a range's files without news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merge {
    pub range: u16,
    /// What it writes, at most.
    pub bytes: u64,
}

/// What is to be done with all ranges.
pub struct Plan {
    pub ranges: Vec<RangePlan>,
    /// Estimate of what the news take as files, at most.
    pub news_bytes: u64,
    pub level: i32,
}

impl Plan {
    /// `sorted_bytes`: of the news in memory.
    pub fn new(ranges: Vec<RangePlan>, sorted_bytes: u64, level: i32) -> Self {
        let files = ranges.iter().filter(|plan| plan.has_news).count() as u64;
        Self { ranges, news_bytes: sorted_bytes + files * FILE_BYTES, level }
    }

    /// What is written at most when all that is due is merged with the news at once.
    pub fn bytes_at_once(&self) -> u64 {
        let due = self.ranges.iter().filter(|plan| plan.is_due);
        self.news_bytes + due.map(|plan| plan.merged_bytes(self.level)).sum::<u64>()
    }

    /// The merges that give room back, most of it first.
    pub fn merges(&self, when: When, kept: &HashSet<u64>) -> Vec<Merge> {
        let candidates = self.ranges.iter().filter(|plan| plan.is_due || when == When::BeforeNews);
        let mut gains: Vec<(u64, Merge)> = candidates
            .map(|plan| {
                let merge = Merge { range: plan.range, bytes: plan.merged_bytes(self.level) };
                (plan.gain_bytes(when, kept), merge)
            })
            .filter(|(gain, _)| *gain > 0)
            .collect();
        gains.sort_by_key(|(gain, merge)| (std::cmp::Reverse(*gain), merge.range));
        gains.into_iter().map(|(_, merge)| merge).collect()
    }

    pub fn due(&self) -> u64 {
        self.ranges.iter().filter(|plan| plan.is_due).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;
    use crate::snapshot::header::Kind;

    fn file(sequence: u64, bytes: u64) -> FileInfo {
        FileInfo {
            sequence,
            kind: Kind::Base,
            first_slot: 0,
            last_slot: 1023,
            from_lsn: 0,
            through_lsn: 9,
            created_us: 5,
            bytes,
            rows: 7,
            ops: 8,
            raw_bytes: 3 * bytes,
            crc: 10,
        }
    }

    fn plan(range: u16, sizes: &[u64], is_due: bool, dead: Dead) -> RangePlan {
        let files =
            sizes.iter().zip(u64::from(range) * 100..).map(|(&bytes, sequence)| file(sequence, bytes));
        RangePlan { range, files: files.collect(), has_news: true, is_due, dead }
    }

    #[test]
    fn what_gives_back_most_is_merged_first_and_what_gives_nothing_is_not() {
        let ranges = vec![
            plan(0, &[1000, 10], true, Dead::Little),
            plan(1, &[1000, 400, 300], true, Dead::Little),
            plan(2, &[1000, 500], false, Dead::Little),
            plan(3, &[1000], true, Dead::Much),
            plan(4, &[1000], false, Dead::Little),
            plan(5, &[], false, Dead::Little),
            plan(6, &[1000, 900], true, Dead::Little),
        ];
        let plan = Plan { ranges, news_bytes: 50, level: 1 };
        assert_eq!(plan.bytes_at_once(), 50 + 1010 + 1700 + 1000 + 1900);
        let order = |when, kept: &[u64]| -> Vec<u16> {
            let kept = kept.iter().copied().collect();
            plan.merges(when, &kept).iter().map(|merge| merge.range).collect()
        };
        let (before, after) = (When::BeforeNews, When::AfterNews);
        assert_eq!(order(after, &[]), [6, 1, 3, 0]);
        assert_eq!(order(before, &[]), [6, 1, 2, 0]);
        assert_eq!(order(after, &[600]), [1, 3, 0], "its base stays, and a second one comes");
        assert_eq!((plan.merges(after, &HashSet::new())[0].bytes, plan.due()), (1900, 4));
        let unpacked = Plan { level: 0, ..plan };
        assert_eq!(unpacked.merges(after, &HashSet::new())[0].bytes, 3 * 1900);
    }

    #[test]
    fn the_reserve_is_not_written_to_and_the_error_says_what_is_missing() {
        let disk = SimDisk::new(1);
        disk.set_capacity(Some(10_000));
        let mut room = Room::new(&disk, 4000);
        assert!(room.fits(6000).unwrap() && !room.fits(6001).unwrap());
        room.take(6000).unwrap();
        room.expect(8000);
        let error = room.take(6001).unwrap_err();
        assert!(is_no_room(&error), "{error}");
        let text = error.to_string();
        assert!(text.contains("about 2000 bytes are missing: 10000 are free, and 4000 of them"), "{text}");
        assert!(!is_no_room(&StoreError::Refused("other".to_owned())));
    }
}
