//! Compaction: a part of the sealed log becomes files of the snapshot, range by range, and leaves the log.
//!
//! A round reads as much of the log as the budget's index holds, each op once; merges it with the files of each range; and
//! publishes with one replacement of the manifest. Until then nothing refers to what it wrote; an error leaves everything as it
//! was. A range that the log says nothing new about keeps its files. Where the disk has no room for that, the round is several
//! such steps: see [`room`](super::room).

use std::collections::HashSet;
use std::io;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use super::catalog::{Catalog, RANGES, slots_of};
use super::footer::FileInfo;
use super::header::{self, FileHeader, HEADER_LEN, Kind};
use super::merge::{self, Mode, Plan};
use super::reader::{FileReader, FileRows};
use super::retained::{Catalogs, Keep};
use super::room::{DEAD_PART, Dead, Merge, Plan as RoundPlan, RangePlan, Room, When, is_no_room};
use super::rows::{Head, RowSource};
use super::side_by_side::Visit;
use super::sorted::SortedOps;
use super::writer::FileWriter;
use crate::clock::Clock;
use crate::codec::Malformed;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::keyspace::op::SpaceOp;
use crate::log::{Log, Lsn, Seed};
use crate::mutation::{Safeguard, is_off};

/// Deltas of a range before they are merged into a base, whatever their size.
const DELTAS_MAX: usize = 8;
/// Deltas are merged when they are together larger than this part of their base.
const DELTA_PART: u64 = 4;

/// However little room there is, a round takes so much of the log.
const BUDGET_MIN: usize = 256 << 10;

/// What a compaction needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub seed: Seed,
    /// Of zstd; 0 for none.
    pub level: i32,
    /// Memory for the index of the log's ops and their bytes; one value more may be in memory.
    pub budget_bytes: usize,
    /// Of the disk, for the log: stays free, whatever that costs the compaction.
    pub reserve_bytes: u64,
    pub keep: Keep,
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Round {
    pub through: Lsn,
    pub files: u64,
    pub bytes: u64,
    pub rows: u64,
    pub retired_segments: u64,
    /// There was no room for all at once: so many ranges were merged on their own, and so many that were due were not.
    pub merged_alone: u64,
    pub left: u64,
}

/// Where a round is. What is told of it may end the round with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A record of the log was read.
    Reading,
    /// The files of a range are about to be made, of the log through an LSN.
    Range { range: u16, through: Lsn },
    /// The files of a range are about to be merged on their own.
    Alone { range: u16 },
    /// So much of a file is about to be written: time to slow down.
    Wrote { bytes: u64 },
}

/// Is told of each step.
pub type OnStep<'a> = dyn FnMut(Step) -> Result<(), StoreError> + 'a;

/// The snapshots that the manifest lists.
pub fn catalogs(log: &Log) -> Result<Catalogs, StoreError> {
    Catalogs::of(&log.sections())
}

/// Moves one part of the sealed log into the snapshot. `None`: there is nothing to move.
pub fn round(
    log: &Log,
    disk: &dyn Disk,
    clock: &dyn Clock,
    options: &Options,
    on_step: &mut OnStep<'_>,
) -> Result<Option<Round>, StoreError> {
    let listed = catalogs(log)?;
    remove_leftovers(log, disk, &listed)?;
    let room = Room::new(disk, options.reserve_bytes);
    // A small round fits where a large one doesn't, and the segments that it gives up make room for the next.
    let budget_bytes = usize::try_from(room.spare()? / 2).unwrap_or(usize::MAX).max(BUDGET_MIN);
    let limited = Options { budget_bytes: options.budget_bytes.min(budget_bytes), ..*options };
    let Some(sorted) = read(log, listed.current.through, &limited, on_step)? else { return Ok(None) };
    let round = Round { through: sorted.through(), ..Round::default() };
    let mut work = Work { log, disk, clock, options, on_step, room, listed, round };
    work.run(&sorted)?;
    Ok(Some(work.round))
}

/// Makes `new` the newest snapshot, keeps of the older ones and of the log what is wanted, and removes the rest. Returns what is listed
/// then, and the number of segments that went.
fn publish(
    log: &Log,
    disk: &dyn Disk,
    clock: &dyn Clock,
    listed: &Catalogs,
    new: Catalog,
    keep: &Keep,
) -> Result<(Catalogs, u64), StoreError> {
    let (next, needed_from) = listed.succeeded_by(new, keep, &log.sealed(), log.first_lsn(), clock.wall_us());
    if is_off(Safeguard::PublishFirst) {
        remove_unlisted(disk, &next)?;
    }
    let retired = log.publish_all(next.sections(), needed_from, &|_| false)?;
    remove_unlisted(disk, &next)?;
    Ok((next, retired.segments))
}

/// What a publication left that could not be brought to its end (a disk that is full): either list may be on the medium. First
/// the one that counts is put there for good, then what it doesn't name takes no room any more.
fn remove_leftovers(log: &Log, disk: &dyn Disk, listed: &Catalogs) -> Result<(), StoreError> {
    let files = listed.files();
    if names(disk)?.iter().all(|sequence| files.contains(sequence)) {
        return Ok(());
    }
    log.replace_sections(listed.sections())?;
    remove_unlisted(disk, listed)
}

/// Gives up what retention no longer keeps, without moving anything. Returns the number of segments that went, or `None` if there was
/// nothing to give up.
pub fn trim(log: &Log, disk: &dyn Disk, clock: &dyn Clock, keep: &Keep) -> Result<Option<u64>, StoreError> {
    let listed = catalogs(log)?;
    if listed.retained.is_empty() {
        return Ok(None);
    }
    let (next, _) =
        listed.succeeded_by(listed.current.clone(), keep, &log.sealed(), log.first_lsn(), clock.wall_us());
    if next == listed {
        return Ok(None);
    }
    publish(log, disk, clock, &listed, listed.current.clone(), keep).map(|(_, segments)| Some(segments))
}

/// Removes files that no catalog lists: of a compaction that was cut short, or replaced by newer ones.
pub fn remove_unlisted(disk: &dyn Disk, catalogs: &Catalogs) -> Result<(), StoreError> {
    let listed = catalogs.files();
    let mut removed = false;
    for sequence in names(disk)? {
        if !listed.contains(&sequence) {
            let path = header::path(sequence);
            disk.remove(&path).map_err(StoreError::io(format!("remove {path}")))?;
            removed = true;
        }
    }
    if removed {
        disk.sync_dir(header::FOLDER).map_err(StoreError::io(format!("sync {}", header::FOLDER)))?;
    }
    Ok(())
}

fn names(disk: &dyn Disk) -> Result<Vec<u64>, StoreError> {
    match disk.list(header::FOLDER) {
        Ok(names) => Ok(names.iter().filter_map(|name| header::sequence_of(name)).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(StoreError::io(format!("list {}", header::FOLDER))(error)),
    }
}

/// Whole records of the sealed log behind `from`, as many as fit the budget.
fn read(
    log: &Log,
    from: Lsn,
    options: &Options,
    on_step: &mut OnStep<'_>,
) -> Result<Option<SortedOps>, StoreError> {
    let mut builder = SortedOps::builder(options.seed.0, options.budget_bytes);
    let end = log.read_sealed(from, &mut |record| {
        on_step(Step::Reading)?;
        builder.push_record(record.lsn_end, record.body).map_err(|Malformed(what)| {
            StoreError::Refused(format!(
                "the record that ends at LSN {} cannot be read: {what}",
                record.lsn_end
            ))
        })?;
        Ok(if builder.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok((end > from).then(|| builder.finish()))
}

/// One round's work.
struct Work<'a> {
    log: &'a Log,
    disk: &'a dyn Disk,
    clock: &'a dyn Clock,
    options: &'a Options,
    on_step: &'a mut OnStep<'a>,
    room: Room<'a>,
    /// What the manifest lists: moves on with each publication.
    listed: Catalogs,
    round: Round,
}

impl Work<'_> {
    /// See [`room`](super::room) for the decision.
    fn run(&mut self, sorted: &SortedOps) -> Result<(), StoreError> {
        let plan = self.plan(sorted)?;
        if self.room.fits(plan.bytes_at_once())? {
            return self.step(sorted, &plan, true);
        }
        for merge in plan.merges(When::BeforeNews, &self.kept_by_older()) {
            if self.room.fits(plan.news_bytes)? {
                break;
            }
            self.merge_alone(merge)?;
        }
        let mut plan = self.plan(sorted)?;
        self.step(sorted, &plan, false)?;
        for plan in &mut plan.ranges {
            plan.files = self.listed.current.files_of(plan.range).copied().collect();
        }
        let before = self.round.merged_alone;
        for merge in plan.merges(When::AfterNews, &self.kept_by_older()) {
            self.merge_alone(merge)?;
        }
        self.round.left = plan.due() - (self.round.merged_alone - before);
        Ok(())
    }

    fn kept_by_older(&self) -> HashSet<u64> {
        self.listed.retained.iter().flat_map(|older| &older.files).map(|file| file.sequence).collect()
    }

    /// The next snapshot with the files of this one.
    fn succeeding(&self, sorted: &SortedOps) -> Result<Catalog, StoreError> {
        let mut new = self.listed.current.clone();
        new.through = new.through.max(sorted.through());
        new.next_file = new.next_file.max(1 + names(self.disk)?.into_iter().max().unwrap_or(0));
        for (_, op) in sorted.space_ops() {
            new.apply(op).map_err(|Malformed(what)| {
                StoreError::Refused(format!("the log cannot be compacted: {what}"))
            })?;
        }
        Ok(new)
    }

    fn plan(&self, sorted: &SortedOps) -> Result<RoundPlan, StoreError> {
        let new = self.succeeding(sorted)?;
        let ranges = (0..RANGES).map(|range| self.plan_range(range, sorted, &new));
        Ok(RoundPlan::new(ranges.collect::<Result<_, _>>()?, sorted.bytes() as u64, self.options.level))
    }

    fn plan_range(&self, range: u16, sorted: &SortedOps, new: &Catalog) -> Result<RangePlan, StoreError> {
        let slots = slots_of(range);
        let mut files: Vec<FileInfo> = new.files_of(range).copied().collect();
        let has_news =
            sorted.rows(slots.clone()).head().is_some() || sorted.components(slots).heads().next().is_some();
        let dead = self.dead(sorted, &files, new)?;
        if dead == Dead::All {
            files.clear();
        }
        let is_due = dead == Dead::Much || (has_news && is_due(&files, sorted));
        Ok(RangePlan { range, files, has_news, is_due, dead })
    }

    /// Brings the news of all ranges into files, merges what is due if `merging`, and publishes.
    fn step(&mut self, sorted: &SortedOps, plan: &RoundPlan, merging: bool) -> Result<(), StoreError> {
        let mut new = self.succeeding(sorted)?;
        new.made_us = self.clock.wall_us();
        self.room.expect(if merging { plan.bytes_at_once() } else { plan.news_bytes });
        self.or_discard(&mut new, |work, new| {
            plan.ranges.iter().try_for_each(|plan| {
                (work.on_step)(Step::Range { range: plan.range, through: new.through })?;
                new.files.retain(|file| file.first_slot != *slots_of(plan.range).start());
                new.files.extend(&plan.files);
                match merging && plan.is_due {
                    true => work.file(plan, Mode::Base, sorted, new),
                    false if !plan.has_news => Ok(()),
                    false if plan.files.is_empty() => work.file(plan, Mode::Base, sorted, new),
                    false => work.file(plan, Mode::Delta, sorted, new),
                }
            })
        })?;
        self.publish(new)
    }

    /// Merges the files of a range if they fit, with nothing new, and publishes.
    fn merge_alone(&mut self, merge: Merge) -> Result<(), StoreError> {
        if !self.room.fits(merge.bytes)? {
            return Ok(());
        }
        (self.on_step)(Step::Alone { range: merge.range })?;
        let nothing = SortedOps::builder(self.options.seed.0, 0).finish();
        let mut new = self.succeeding(&nothing)?;
        let plan = self.plan_range(merge.range, &nothing, &new)?;
        self.room.expect(merge.bytes);
        match self.or_discard(&mut new, |work, new| work.file(&plan, Mode::Base, &nothing, new)) {
            Ok(()) => self.round.merged_alone += 1,
            // It would have been good to have, and the estimate was wrong.
            Err(error) if is_no_room(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.publish(new)
    }

    /// After an error none of the files that were made stays.
    fn or_discard(
        &mut self,
        new: &mut Catalog,
        make: impl FnOnce(&mut Self, &mut Catalog) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let first_new = new.next_file;
        let before = self.round;
        make(self, new).inspect_err(|_| {
            self.round = before;
            self.discard(first_new..=new.next_file);
        })
    }

    /// Nothing refers to them. What cannot be removed now is removed by the next round or start.
    fn discard(&self, sequences: RangeInclusive<u64>) {
        for sequence in sequences {
            let _ = self.disk.remove(&header::path(sequence));
        }
        // The room comes back with it.
        let _ = self.disk.sync_dir(header::FOLDER);
    }

    fn publish(&mut self, mut new: Catalog) -> Result<(), StoreError> {
        new.files.sort_unstable_by_key(|file| file.sequence);
        let (listed, segments) =
            publish(self.log, self.disk, self.clock, &self.listed, new, &self.options.keep)?;
        self.listed = listed;
        self.round.retired_segments += segments;
        Ok(())
    }

    /// Makes one file of a range and enters it.
    fn file(
        &mut self,
        plan: &RangePlan,
        mode: Mode,
        sorted: &SortedOps,
        new: &mut Catalog,
    ) -> Result<(), StoreError> {
        let slots = slots_of(plan.range);
        let sequence = new.next_file;
        new.next_file += 1;
        let header = FileHeader {
            kind: if mode == Mode::Base { Kind::Base } else { Kind::Delta },
            store_id: self.log.info().store_id,
            sequence,
            first_slot: *slots.start(),
            last_slot: *slots.end(),
            from_lsn: if mode == Mode::Base { 0 } else { self.listed.current.through },
            through_lsn: new.through,
            created_us: self.clock.wall_us(),
        };
        let info = self.write(&header, mode, &plan.files, sorted, new)?;
        if mode == Mode::Base {
            new.files.retain(|file| file.first_slot != header.first_slot);
        }
        if info.rows == 0 {
            let path = header::path(sequence);
            self.disk.remove(&path).map_err(StoreError::io(format!("remove {path}")))?;
        } else {
            new.files.push(info);
            self.round.files += 1;
            self.round.bytes += info.bytes;
            self.round.rows += info.rows;
        }
        Ok(())
    }

    /// Rows of flushed keyspaces are passed over wherever files are read, so that a little of them may stay. Asked after a flush
    /// only: nothing else makes them more.
    fn dead(&self, sorted: &SortedOps, files: &[FileInfo], catalog: &Catalog) -> Result<Dead, StoreError> {
        let flushed = sorted.space_ops().iter().any(|(_, op)| matches!(op, SpaceOp::Flush { .. }));
        if !flushed || files.is_empty() {
            return Ok(Dead::Little);
        }
        let (mut live_rows, mut dead_bytes) = (0, 0);
        for file in files {
            let reader = FileReader::open(self.disk, file.sequence, Some(file))?;
            let Some(spaces) = reader.spaces() else { return Ok(Dead::Much) };
            for each in spaces {
                if catalog.is_live(each.space) {
                    live_rows += each.rows;
                } else {
                    dead_bytes += each.raw_bytes;
                }
            }
        }
        let bytes: u64 = files.iter().map(|file| file.raw_bytes).sum();
        Ok(match live_rows {
            0 => Dead::All,
            _ if dead_bytes > 0 && dead_bytes * DEAD_PART >= bytes => Dead::Much,
            _ => Dead::Little,
        })
    }

    fn write(
        &mut self,
        header: &FileHeader,
        mode: Mode,
        files: &[FileInfo],
        sorted: &SortedOps,
        catalog: &Catalog,
    ) -> Result<FileInfo, StoreError> {
        let slots = header.first_slot..=header.last_slot;
        let seed = self.options.seed;
        let readers = files
            .iter()
            .map(|file| FileReader::open(self.disk, file.sequence, Some(file)))
            .collect::<Result<Vec<Arc<FileReader>>, _>>()?;
        let mut older = |head: &Head, visit: &mut Visit<'_>| {
            for reader in &readers {
                let mut rows = reader.lookup(seed, head)?;
                if rows.head().is_some() {
                    while let Some(op) = rows.next_op()? {
                        visit(op)?;
                    }
                }
            }
            Ok(())
        };
        // A delta is made of the news alone.
        let merged: &[Arc<FileReader>] = if mode == Mode::Base { &readers } else { &[] };
        let mut rows = merged
            .iter()
            .map(|reader| reader.rows(seed, slots.clone()))
            .collect::<Result<Vec<FileRows>, _>>()?;
        let mut news = sorted.rows(slots.clone());
        let mut sources: Vec<&mut dyn RowSource> =
            rows.iter_mut().map(|rows| rows as &mut dyn RowSource).collect();
        sources.push(&mut news);
        let plan = Plan {
            mode,
            has_base: !merged.is_empty(),
            seed: seed.0,
            is_live: &|space| catalog.is_live(space),
            renamed: Some(sorted.components(slots)),
        };
        let (room, on_step) = (&mut self.room, &mut self.on_step);
        let mut pace = |bytes| {
            room.take(bytes)?;
            on_step(Step::Wrote { bytes })
        };
        pace(HEADER_LEN as u64)?;
        let mut writer = FileWriter::create(self.disk, header, self.options.level)?.paced(&mut pace);
        merge::merge(&mut sources, &plan, &mut older, &mut writer)?;
        writer.finish()
    }
}

/// A range's files are due to be merged with the news.
fn is_due(files: &[FileInfo], sorted: &SortedOps) -> bool {
    let Some((base, deltas)) = files.split_first() else { return false };
    let old: u64 = deltas.iter().map(|file| file.raw_bytes).sum();
    let news = sorted.bytes() as u64 / u64::from(RANGES);
    deltas.len() >= DELTAS_MAX || (old + news) * DELTA_PART > base.raw_bytes
}
