//! Compaction: a part of the sealed log becomes files of the snapshot, range by range, and leaves the log.
//!
//! A round reads as much of the log as the budget's index holds, each op once; merges it with the files of each range; and
//! publishes with one replacement of the manifest. Until then nothing refers to what it wrote; an error leaves everything as it
//! was. A range that the log says nothing new about keeps its files.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::catalog::{Catalog, RANGES, slots_of};
use super::footer::FileInfo;
use super::header::{self, FileHeader, Kind};
use super::merge::{self, Mode, Plan};
use super::reader::{FileReader, FileRows};
use super::retained::{Catalogs, Keep};
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

/// A range is merged when rows of keyspaces that are gone are this part of its files.
const DEAD_PART: u64 = 4;

/// How much of a range's files is of keyspaces that no database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dead {
    Little,
    Much,
    All,
}

/// What a compaction needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub seed: Seed,
    /// Of zstd; 0 for none.
    pub level: i32,
    /// Memory for the index of the log's ops and their bytes; one value more may be in memory.
    pub budget_bytes: usize,
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
}

/// Where a round is. What is told of it may end the round with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A record of the log was read.
    Reading,
    /// The files of a range are about to be made, of the log through an LSN.
    Range { range: u16, through: Lsn },
    /// So much of a file was written: time to slow down.
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
    let old = &listed.current;
    let Some(sorted) = read(log, old.through, options, on_step)? else { return Ok(None) };
    let mut new = old.clone();
    new.through = sorted.through();
    new.made_us = clock.wall_us();
    new.next_file = old.next_file.max(1 + names(disk)?.into_iter().max().unwrap_or(0));
    let first_new = new.next_file;
    for (_, op) in sorted.space_ops() {
        new.apply(op)
            .map_err(|Malformed(what)| StoreError::Refused(format!("the log cannot be compacted: {what}")))?;
    }
    let mut work =
        Work { log, disk, options, sorted: &sorted, from: old.through, on_step, round: Round::default() };
    work.round.through = new.through;
    let written = (0..RANGES).try_for_each(|range| work.range(range, &mut new));
    let mut round = work.round;
    if let Err(error) = written {
        for sequence in first_new..=new.next_file {
            // Nothing refers to it; what cannot be removed now is removed by the next start.
            let _ = disk.remove(&header::path(sequence));
        }
        return Err(error);
    }
    round.retired_segments = publish(log, disk, clock, &listed, new, &options.keep)?;
    Ok(Some(round))
}

/// Makes `new` the newest snapshot, keeps of the older ones and of the log what is wanted, and removes the rest. Returns the number of segments
/// that went.
fn publish(
    log: &Log,
    disk: &dyn Disk,
    clock: &dyn Clock,
    listed: &Catalogs,
    new: Catalog,
    keep: &Keep,
) -> Result<u64, StoreError> {
    let (next, needed_from) = listed.succeeded_by(new, keep, &log.sealed(), log.first_lsn(), clock.wall_us());
    if is_off(Safeguard::PublishFirst) {
        remove_unlisted(disk, &next)?;
    }
    let retired = log.publish_all(next.sections(), needed_from, &|_| false)?;
    remove_unlisted(disk, &next)?;
    Ok(retired.segments)
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
    publish(log, disk, clock, &listed, listed.current.clone(), keep).map(Some)
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

/// One round's work on its ranges.
struct Work<'a> {
    log: &'a Log,
    disk: &'a dyn Disk,
    options: &'a Options,
    sorted: &'a SortedOps,
    from: Lsn,
    on_step: &'a mut OnStep<'a>,
    round: Round,
}

impl Work<'_> {
    fn range(&mut self, range: u16, new: &mut Catalog) -> Result<(), StoreError> {
        (self.on_step)(Step::Range { range, through: new.through })?;
        let slots = slots_of(range);
        let mut files: Vec<FileInfo> = new.files_of(range).copied().collect();
        let has_news = self.sorted.rows(slots.clone()).head().is_some()
            || self.sorted.components(slots.clone()).heads().next().is_some();
        let dead = self.dead(&files, new)?;
        if dead == Dead::All {
            files.clear();
            new.files.retain(|file| file.first_slot != *slots.start());
        }
        if !has_news && dead != Dead::Much {
            return Ok(());
        }
        let mode = if dead == Dead::Much { Mode::Base } else { self.mode(&files) };
        let sequence = new.next_file;
        new.next_file += 1;
        let header = FileHeader {
            kind: if mode == Mode::Base { Kind::Base } else { Kind::Delta },
            store_id: self.log.info().store_id,
            sequence,
            first_slot: *slots.start(),
            last_slot: *slots.end(),
            from_lsn: if mode == Mode::Base { 0 } else { self.from },
            through_lsn: new.through,
            created_us: new.made_us,
        };
        let info = self.write(&header, mode, &files, new)?;
        if mode == Mode::Base {
            files.clear();
        }
        if info.rows == 0 {
            let path = header::path(sequence);
            self.disk.remove(&path).map_err(StoreError::io(format!("remove {path}")))?;
        } else {
            files.push(info);
            self.round.files += 1;
            self.round.bytes += info.bytes;
            self.round.rows += info.rows;
        }
        new.files.retain(|file| file.first_slot != header.first_slot);
        new.files.extend(files);
        new.files.sort_unstable_by_key(|file| file.sequence);
        Ok(())
    }

    /// Rows of flushed keyspaces are passed over wherever files are read, so that a little of them may stay. Asked after a flush
    /// only: nothing else makes them more.
    fn dead(&self, files: &[FileInfo], catalog: &Catalog) -> Result<Dead, StoreError> {
        let flushed = self.sorted.space_ops().iter().any(|(_, op)| matches!(op, SpaceOp::Flush { .. }));
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

    fn mode(&self, files: &[FileInfo]) -> Mode {
        let Some((base, deltas)) = files.split_first() else { return Mode::Base };
        let old: u64 = deltas.iter().map(|file| file.raw_bytes).sum();
        let news = self.sorted.bytes() as u64 / u64::from(RANGES);
        let merge = deltas.len() >= DELTAS_MAX || (old + news) * DELTA_PART > base.raw_bytes;
        if merge { Mode::Base } else { Mode::Delta }
    }

    fn write(
        &mut self,
        header: &FileHeader,
        mode: Mode,
        files: &[FileInfo],
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
        let mut news = self.sorted.rows(slots.clone());
        let mut sources: Vec<&mut dyn RowSource> =
            rows.iter_mut().map(|rows| rows as &mut dyn RowSource).collect();
        sources.push(&mut news);
        let plan = Plan {
            mode,
            has_base: !merged.is_empty(),
            seed: seed.0,
            is_live: &|space| catalog.is_live(space),
            renamed: Some(self.sorted.components(slots)),
        };
        let mut pace = |bytes| (self.on_step)(Step::Wrote { bytes });
        let mut writer = FileWriter::create(self.disk, header, self.options.level)?.paced(&mut pace);
        merge::merge(&mut sources, &plan, &mut older, &mut writer)?;
        writer.finish()
    }
}
