//! Older snapshots that are kept beside the newest: which, how the manifest lists them, and how much of the log they need.
//!
//! ```text
//! version u16 | count u32 | count x { length u32 | catalog }    oldest first
//! ```
//!
//! A snapshot here is the state at the end of a whole compaction (or where one was cut short), not of each of its rounds. Two
//! wishes keep them. `snapshot-retain` keeps the newest few, as files. `log-retain` is a promise: any moment inside the window
//! can be restored. For that the newest snapshot before the window's beginning stays, with the whole log behind it; and some of
//! those inside the window, so that one of them can take its place when the window has moved on.
//!
//! What it does **not** promise: that the log between a snapshot kept by `snapshot-retain` alone and the next is there.

use std::collections::HashSet;

use super::catalog::{self, Catalog};
use super::footer::FileInfo;
use crate::codec::{Cursor, Malformed};
use crate::error::StoreError;
use crate::log::{Lsn, Retention, SealedSegment, Section};
use crate::mutation::{Safeguard, is_off};

/// Tag of the manifest's section.
pub const TAG: u32 = 2;
const VERSION: u16 = 1;
/// Snapshots inside the window are at least this part of it apart: the log that is kept reaches back little more than the window.
const WINDOW_PARTS: u64 = 4;

/// How far back any moment can be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    Nothing,
    Us(u64),
    /// Of the log's sealed files.
    Bytes(u64),
}

/// What is kept beside the newest snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The newest older snapshots.
    pub snapshots: usize,
    pub window: Window,
    /// The snapshot that is replaced is one of a whole compaction: false in all rounds but a compaction's first.
    pub replaced: bool,
    /// The window reaches back from the clock's time, and at most from this one, in microseconds: a clock that jumps ahead must not
    /// have everything given up. At 0 nothing is too old.
    pub now_us_max: u64,
}

impl Keep {
    pub const NOTHING: Self =
        Self { snapshots: 0, window: Window::Nothing, replaced: true, now_us_max: u64::MAX };

    /// Which sealed segments are in the window.
    fn log(&self, now_us: u64) -> Retention {
        match self.window {
            Window::Nothing => Retention::NONE,
            Window::Us(us) => {
                Retention { bytes: 0, since_us: now_us.min(self.now_us_max).saturating_sub(us) }
            }
            Window::Bytes(bytes) => Retention { bytes, since_us: u64::MAX },
        }
    }

    /// Whether two snapshots are far enough from each other to keep both inside the window.
    fn is_apart(&self, older: &Catalog, newer: &Catalog, sealed: &[SealedSegment]) -> bool {
        match self.window {
            Window::Nothing => false,
            // Either way: a clock that was set back must not keep everything from being kept.
            Window::Us(us) => newer.made_us.abs_diff(older.made_us) >= us / WINDOW_PARTS,
            Window::Bytes(bytes) => {
                let between =
                    sealed.iter().filter(|s| s.end_lsn > older.through && s.end_lsn <= newer.through);
                between.map(|segment| segment.bytes).sum::<u64>() >= bytes / WINDOW_PARTS
            }
        }
    }
}

/// All snapshots that the manifest lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogs {
    pub current: Catalog,
    /// Older ones, oldest first.
    pub retained: Vec<Catalog>,
}

impl Catalogs {
    /// What the manifest's sections say; of a store that was never snapshotted, the empty snapshot.
    pub fn of(sections: &[Section]) -> Result<Self, StoreError> {
        let section = |tag| sections.iter().find(|section| section.tag == tag);
        let current = match section(catalog::TAG) {
            Some(section) => Catalog::decode(&section.bytes).map_err(damaged)?,
            None => Catalog::empty(),
        };
        let retained = match section(TAG) {
            Some(section) => decode(&section.bytes).map_err(damaged)?,
            None => Vec::new(),
        };
        Ok(Self { current, retained })
    }

    /// For one replacement of the manifest.
    pub fn sections(&self) -> Vec<Section> {
        vec![
            Section { tag: catalog::TAG, bytes: self.current.encode() },
            Section { tag: TAG, bytes: encode(&self.retained) },
        ]
    }

    /// All of them, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Catalog> {
        std::iter::once(&self.current).chain(self.retained.iter().rev())
    }

    /// The oldest from which on the whole log, which begins at `first_lsn`, is there: any moment behind it can be restored.
    pub fn oldest_connected(&self, first_lsn: Lsn) -> &Catalog {
        self.retained.iter().find(|older| older.through >= first_lsn).unwrap_or(&self.current)
    }

    /// Sequences of all files that one of them lists.
    pub fn files(&self) -> HashSet<u64> {
        let kept = if is_off(Safeguard::RetainedFiles) { 1 } else { usize::MAX };
        self.newest_first().take(kept).flat_map(|catalog| &catalog.files).map(|file| file.sequence).collect()
    }

    /// Bytes of files that are there for the older ones only.
    pub fn extra_bytes(&self) -> u64 {
        let mut seen: HashSet<u64> = self.current.files.iter().map(|file| file.sequence).collect();
        let older: Vec<&FileInfo> = self.retained.iter().flat_map(|older| &older.files).collect();
        older.into_iter().filter(|file| seen.insert(file.sequence)).map(|file| file.bytes).sum()
    }

    /// `new` in the place of the newest, and of the older ones those that are wanted. Returns up to which LSN the log is not needed any
    /// more, too: an LSN at or before `new.through`. `sealed` and `first_lsn` are of the log.
    pub fn succeeded_by(
        &self,
        new: Catalog,
        keep: &Keep,
        sealed: &[SealedSegment],
        first_lsn: Lsn,
        now_us: u64,
    ) -> (Self, Lsn) {
        let replaced = ((keep.replaced || is_off(Safeguard::RoundsKeepNothing))
            && self.current.through < new.through)
            .then_some(&self.current);
        let candidates: Vec<&Catalog> = self.retained.iter().chain(replaced).collect();
        let mut kept = vec![false; candidates.len()];
        let mut needed_from = new.through;
        if keep.window != Window::Nothing {
            let retention = keep.log(now_us);
            let in_window = sealed.iter().find(|segment| retention.keeps(segment));
            let begins = in_window.map_or(new.through, |segment| segment.first_lsn);
            if let Some(anchor) = anchor(&candidates, &new, begins, first_lsn) {
                if !is_off(Safeguard::RetainedLog) {
                    needed_from = candidates[anchor].through;
                }
                kept[anchor] = true;
                let mut last = anchor;
                for next in anchor + 1..candidates.len() {
                    if keep.is_apart(candidates[last], candidates[next], sealed) {
                        kept[next] = true;
                        last = next;
                    }
                }
            }
        }
        // The empty one has no files that could be kept.
        let with_files = (0..candidates.len()).rev().filter(|&index| candidates[index].through > 0);
        with_files.take(keep.snapshots).for_each(|index| kept[index] = true);
        let retained = candidates.into_iter().zip(kept).filter(|(_, kept)| *kept);
        (Self { current: new, retained: retained.map(|(older, _)| older.clone()).collect() }, needed_from)
    }

    /// For a start that could not use the newest: `used`, one of the older ones, takes its place. What is newer is dropped.
    pub fn fallen_back_to(&self, used: &Catalog) -> Self {
        let mut current = used.clone();
        // The files that cannot be used keep their numbers.
        current.next_file = self.newest_first().map(|catalog| catalog.next_file).max().unwrap_or(0);
        let older = self.retained.iter().filter(|older| older.through < used.through);
        Self { current, retained: older.cloned().collect() }
    }
}

/// The newest snapshot at or before the beginning of the window, or the oldest behind it that has the whole log behind itself.
/// `None`: that is `new`.
fn anchor(candidates: &[&Catalog], new: &Catalog, begins: Lsn, first_lsn: Lsn) -> Option<usize> {
    if new.through <= begins {
        return None;
    }
    let connected = |catalog: &Catalog| catalog.through >= first_lsn;
    let before = candidates.iter().rposition(|older| older.through <= begins && connected(older));
    before.or_else(|| candidates.iter().position(|older| connected(older)))
}

fn encode(catalogs: &[Catalog]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(catalogs.len() as u32).to_le_bytes());
    for catalog in catalogs {
        let bytes = catalog.encode();
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(&bytes);
    }
    out
}

fn decode(bytes: &[u8]) -> Result<Vec<Catalog>, Malformed> {
    let mut cursor = Cursor::new(bytes);
    if cursor.u16()? != VERSION {
        return Err(Malformed("a version of the list of older snapshots that this program does not know"));
    }
    // Ends at the first catalog that the bytes don't hold: nothing is allocated on the count's word alone.
    let mut catalogs: Vec<Catalog> = Vec::new();
    for _ in 0..cursor.u32()? {
        let len = cursor.u32()? as usize;
        let catalog = Catalog::decode(cursor.take(len)?)?;
        if catalogs.last().is_some_and(|last| last.through >= catalog.through) {
            return Err(Malformed("older snapshots out of order"));
        }
        catalogs.push(catalog);
    }
    cursor.finish()?;
    Ok(catalogs)
}

/// A section whose checksum is right and whose content isn't.
pub fn damaged(Malformed(what): Malformed) -> StoreError {
    StoreError::Refused(format!(
        "the manifest's list of snapshot files cannot be read: {what}; restore the manifest from a backup"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::header::Kind;
    use proptest::prelude::*;

    const HOUR_US: u64 = 3_600_000_000;

    fn file(sequence: u64, through_lsn: Lsn) -> FileInfo {
        FileInfo {
            sequence,
            kind: Kind::Base,
            first_slot: 0,
            last_slot: 1023,
            from_lsn: 0,
            through_lsn,
            created_us: 5,
            bytes: 100,
            rows: 7,
            ops: 8,
            raw_bytes: 9,
            crc: 10,
        }
    }

    /// Made at `hour`, through as many LSNs.
    fn catalog(hour: u64) -> Catalog {
        let files = if hour > 0 { vec![file(hour, hour)] } else { Vec::new() };
        Catalog { through: hour, made_us: hour * HOUR_US, next_file: hour + 1, files, ..Catalog::empty() }
    }

    /// A segment an hour.
    fn sealed(hours: std::ops::Range<u64>) -> Vec<SealedSegment> {
        let end = hours.end;
        let segment = |hour| SealedSegment {
            sequence: hour + 1,
            first_lsn: hour,
            end_lsn: hour + 1,
            bytes: 1000,
            bytes_behind: (end - hour - 1) * 1000,
            last_us: (hour + 1) * HOUR_US,
        };
        hours.map(segment).collect()
    }

    fn throughs(catalogs: &Catalogs) -> Vec<Lsn> {
        catalogs.retained.iter().map(|older| older.through).collect()
    }

    /// A compaction an hour, for so many hours. Returns the lists and where the log begins, after each.
    fn compacted(keep: &Keep, hours: u64) -> Vec<(Catalogs, Lsn)> {
        let mut first_lsn = 0;
        let mut catalogs = Catalogs { current: Catalog::empty(), retained: Vec::new() };
        let mut all = Vec::new();
        for hour in 1..=hours {
            let segments = sealed(first_lsn..hour);
            let (next, needed) =
                catalogs.succeeded_by(catalog(hour), keep, &segments, first_lsn, hour * HOUR_US);
            assert!(needed <= hour && needed >= first_lsn);
            (catalogs, first_lsn) = (next, needed);
            all.push((catalogs.clone(), first_lsn));
        }
        all
    }

    #[test]
    fn a_window_always_has_a_snapshot_before_it_and_the_log_behind_that() {
        let windows =
            [Window::Us(8 * HOUR_US), Window::Us(HOUR_US / 2), Window::Bytes(8000), Window::Bytes(1500)];
        for window in windows {
            let hours = match window {
                Window::Us(us) => us.div_ceil(HOUR_US),
                Window::Bytes(bytes) => bytes / 1000,
                Window::Nothing => 0,
            };
            for (catalogs, first_lsn) in compacted(&Keep { window, ..Keep::NOTHING }, 100) {
                let begins = catalogs.current.through.saturating_sub(hours);
                let oldest = catalogs.oldest_connected(first_lsn);
                assert!(oldest.through <= begins, "{window:?}: {oldest:?} for {begins}");
                assert!(
                    oldest.through + 2 * hours + 2 >= catalogs.current.through,
                    "{window:?}: no more than that"
                );
                assert!(catalogs.retained.len() <= 7, "{window:?}: {:?}", throughs(&catalogs));
                assert_eq!(first_lsn, oldest.through, "nothing older is kept of the log");
            }
        }
    }

    #[test]
    fn the_newest_are_kept_as_files_and_the_log_is_not() {
        let kept = compacted(&Keep { snapshots: 3, ..Keep::NOTHING }, 10);
        let (catalogs, first_lsn) = kept.last().unwrap();
        assert_eq!((throughs(catalogs), *first_lsn), (vec![7, 8, 9], 10));
        assert_eq!(catalogs.oldest_connected(*first_lsn).through, 10);
        assert_eq!((catalogs.extra_bytes(), catalogs.files().len()), (300, 4));
        assert_eq!(throughs(&kept[0].0), [0u64; 0], "there is nothing in the empty one");
        let (fewer, _) = catalogs.succeeded_by(
            catalogs.current.clone(),
            &Keep { snapshots: 1, ..Keep::NOTHING },
            &[],
            *first_lsn,
            0,
        );
        assert_eq!(throughs(&fewer), [9]);
    }

    #[test]
    fn rounds_behind_the_first_replace_and_keep_nothing() {
        let keep = Keep { snapshots: 9, replaced: false, ..Keep::NOTHING };
        assert!(compacted(&keep, 10).iter().all(|(catalogs, _)| catalogs.retained.is_empty()));
    }

    #[test]
    fn a_window_that_was_opened_late_begins_at_the_oldest_that_is_there() {
        let catalogs = Catalogs { current: catalog(5), retained: vec![catalog(2)] };
        let keep = Keep { window: Window::Us(100 * HOUR_US), ..Keep::NOTHING };
        let (next, needed) = catalogs.succeeded_by(catalog(6), &keep, &sealed(5..6), 5, 6 * HOUR_US);
        assert_eq!((throughs(&next), needed), (vec![5], 5), "the log between 2 and 5 is gone");
    }

    #[test]
    fn a_fallback_takes_the_newest_ones_place_and_never_its_numbers() {
        let catalogs = Catalogs { current: catalog(9), retained: vec![catalog(2), catalog(5), catalog(7)] };
        let fallen = catalogs.fallen_back_to(&catalogs.retained[1]);
        assert_eq!((fallen.current.through, fallen.current.next_file, throughs(&fallen)), (5, 10, vec![2]));
    }

    #[test]
    fn lists_read_back_and_any_other_bytes_are_refused() {
        let catalogs = Catalogs { current: catalog(9), retained: vec![catalog(0), catalog(5)] };
        assert_eq!(Catalogs::of(&catalogs.sections()).unwrap(), catalogs);
        let bytes = encode(&catalogs.retained);
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{len}");
        }
        let turned = [catalog(5), catalog(0)];
        assert!(decode(&encode(&turned)).is_err());
        let none = Catalogs::of(&[]).unwrap();
        assert_eq!((none.current, none.retained.len()), (Catalog::empty(), 0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_list_or_malformed(bytes in prop::collection::vec(any::<u8>(), 0..200), whole in any::<bool>()) {
            let mut all = if whole { encode(&[catalog(3)]) } else { vec![1, 0, 255, 255, 255, 255] };
            all.extend_from_slice(&bytes);
            let _ = decode(&all);
        }
    }
}
