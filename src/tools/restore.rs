//! `duramen restore`: a data directory as of a moment, out of another directory's snapshots and log.
//!
//! The newest snapshot at or before the moment, and exactly the whole records behind it up to the moment. Nothing of what is
//! later is read, so it may be damaged. The result is loaded before it is said to be good.

use std::io::Write;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::log::cut::{self, CutLog, Written};
use crate::log::manifest::Manifest;
use crate::log::survey::{self, Verdict};
use crate::log::{Lsn, Recovered};
use crate::snapshot::catalog::Catalog;
use crate::snapshot::header;
use crate::snapshot::reader::FileReader;
use crate::snapshot::retained::Catalogs;

use super::json::Json;
use super::output::Progress;
use super::{GOOD, UNREPAIRED, load, new_directory, words, write_failed};

/// The moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Whole records that end here or before.
    Lsn(Lsn),
    /// Up to the first record that was written later than this, in microseconds since 1970.
    Time(u64),
}

/// What a directory as of the moment is made of.
struct Part {
    catalog: Catalog,
    log: CutLog,
    /// Newer snapshots that would have done, and what is wrong with them.
    passed_over: Vec<String>,
}

/// Makes the directory. Returns the exit code.
pub fn restore(
    disk: &dyn Disk,
    clock: &dyn Clock,
    into: &dyn Disk,
    moment: Moment,
    json: bool,
    out: &mut dyn Write,
) -> Result<i32, StoreError> {
    new_directory::require_empty(into)?;
    let valid = survey::copies(disk)?.into_iter().filter_map(|copy| copy.manifest.ok());
    let manifest = valid.max_by_key(|manifest| manifest.generation).ok_or_else(|| {
        StoreError::Refused(
            "there is no usable manifest here: put back MANIFEST-a or MANIFEST-b from a backup".to_owned(),
        )
    })?;
    let catalogs = Catalogs::of(&manifest.sections)?;
    let part = find(disk, clock, &manifest, &catalogs, moment)?;
    let (manifest, written) = new_manifest(&manifest, &part, clock)?;
    let files: Vec<String> = part.catalog.files.iter().map(|file| header::path(file.sequence)).collect();
    new_directory::make(disk, into, &manifest, &files, written.as_ref())?;
    let outcome = verify(into, clock, &part);
    report(&part, &outcome, json, out)?;
    Ok(if outcome.is_ok() { GOOD } else { UNREPAIRED })
}

/// Where the whole log begins.
fn first_lsn(manifest: &Manifest) -> Lsn {
    manifest.segments.iter().find_map(|s| s.first_lsn).unwrap_or(0)
}

/// The newest sound snapshot at or before the moment, and the log from there to the moment.
fn find(
    disk: &dyn Disk,
    clock: &dyn Clock,
    manifest: &Manifest,
    catalogs: &Catalogs,
    moment: Moment,
) -> Result<Part, StoreError> {
    let first_lsn = first_lsn(manifest);
    let has_log = |catalog: &Catalog| catalog.through >= first_lsn;
    let oldest = catalogs.oldest_connected(first_lsn);
    let is_before = |catalog: &&Catalog| match moment {
        Moment::Lsn(lsn) => catalog.through == lsn || (catalog.through < lsn && has_log(catalog)),
        // All in a snapshot was written before it was made. Of the oldest, the log behind it may tell.
        Moment::Time(us) => has_log(catalog) && (catalog.made_us <= us || *catalog == oldest),
    };
    let mut passed_over = Vec::new();
    for catalog in catalogs.newest_first().filter(is_before) {
        match sound(disk, manifest, catalog) {
            Ok(()) => {}
            Err(StoreError::Corruption(damage)) => {
                passed_over.push(damage.to_string());
                continue;
            }
            Err(error) => return Err(error),
        }
        let log = read_log(disk, clock, manifest, catalog, moment)?;
        if let Moment::Time(us) = moment
            && log.records == 0
            && (catalog.through == 0 || catalog.made_us > us)
        {
            break;
        }
        if let Moment::Time(us) = moment {
            reaches(us, &log, catalogs)?;
        }
        return Ok(Part { catalog: catalog.clone(), log, passed_over });
    }
    Err(too_early(catalogs, first_lsn, &passed_over))
}

/// What ended before the moment may have had more: a backup, or a copy of a store that went on, looks the same.
fn reaches(us: u64, log: &CutLog, catalogs: &Catalogs) -> Result<(), StoreError> {
    // Where something later was met there is no end. A snapshot made later has all that was written up to then.
    let last_us = catalogs.newest_first().map(|catalog| catalog.made_us).fold(log.wall_us, u64::max);
    if log.end.is_none() || last_us >= us {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "nothing here is as late as {}: the log ends at LSN {}, and the last that is known was written {}. `--to-lsn {1}` takes all of it",
        words::time(us),
        log.lsn,
        words::time(last_us)
    )))
}

fn too_early(catalogs: &Catalogs, first_lsn: Lsn, passed_over: &[String]) -> StoreError {
    let oldest = catalogs.oldest_connected(first_lsn);
    let since = match oldest.made_us {
        0 => "the store's first record".to_owned(),
        us => words::time(us),
    };
    let mut text = format!(
        "the oldest moment from which on everything can be restored is LSN {}, {since}",
        oldest.through
    );
    let alone = catalogs.retained.iter().filter(|older| older.through < oldest.through);
    let alone: Vec<String> =
        alone.map(|older| format!("{} ({})", older.through, words::time(older.made_us))).collect();
    if !alone.is_empty() {
        text.push_str(&format!("; before it, exactly these LSNs: {}", alone.join(", ")));
    }
    for damage in passed_over {
        text.push_str(&format!("; a snapshot cannot be used: {damage}"));
    }
    StoreError::Refused(text)
}

/// Reads all files of a snapshot.
fn sound(disk: &dyn Disk, manifest: &Manifest, catalog: &Catalog) -> Result<(), StoreError> {
    for file in &catalog.files {
        FileReader::open(disk, file.sequence, Some(file))?.verify(manifest.seed)?;
    }
    Ok(())
}

fn read_log(
    disk: &dyn Disk,
    clock: &dyn Clock,
    manifest: &Manifest,
    catalog: &Catalog,
    moment: Moment,
) -> Result<CutLog, StoreError> {
    let from = catalog.through;
    if moment == Moment::Lsn(from) {
        return Ok(CutLog {
            segments: Vec::new(),
            written: None,
            records: 0,
            lsn: from,
            wall_us: 0,
            end: None,
        });
    }
    let mut progress = Progress::new(clock, "reading");
    let mut wanted = |lsn_end, wall_us| match moment {
        Moment::Lsn(lsn) => lsn_end <= lsn,
        Moment::Time(us) => wall_us <= us,
    };
    let log = cut::cut(disk, manifest, from, &mut wanted, &mut |done, total| progress.show(done, total))?;
    let Some(end) = &log.end else { return Ok(log) };
    match moment {
        Moment::Lsn(lsn) if log.lsn < lsn => Err(StoreError::Refused(format!(
            "the log ends at LSN {} ({end}): LSN {lsn} is not there",
            log.lsn
        ))),
        Moment::Lsn(_) => Ok(log),
        Moment::Time(_) => is_the_end(disk, from, &log).map(|()| log),
    }
}

/// Where nothing later was met, the log must end there by recovery's judgement: damage would look the same.
fn is_the_end(disk: &dyn Disk, snapshot: Lsn, log: &CutLog) -> Result<(), StoreError> {
    let verdict = survey::judge(disk, &mut |recovered| {
        if let Recovered::Begin { from, .. } = recovered {
            *from = snapshot;
        }
        Ok(())
    });
    match verdict {
        Verdict::Opens(report) if report.end_lsn == log.lsn => Ok(()),
        Verdict::Damaged(error) | Verdict::CannotTell(error) => Err(StoreError::Refused(format!(
            "the log is damaged before the end of what was written by then; `--to-lsn {}` takes what is before the damage. {error}",
            log.lsn
        ))),
        Verdict::Opens(_) | Verdict::Empty => {
            Err(StoreError::Refused("the directory changed while it was read".to_owned()))
        }
    }
}

fn new_manifest(
    old: &Manifest,
    part: &Part,
    clock: &dyn Clock,
) -> Result<(Manifest, Option<Written>), StoreError> {
    let lsn = part.log.lsn;
    let alone = Catalogs { current: part.catalog.clone(), retained: Vec::new() };
    let mut manifest = Manifest {
        segments: part.log.segments.clone(),
        synced_through: lsn,
        sections: if part.catalog.through > 0 { alone.sections() } else { Vec::new() },
        ..old.clone()
    };
    manifest.terms.retain(|start| start.first_lsn <= lsn);
    if !manifest.segments.is_empty() {
        let written = part.log.written.as_ref();
        let written = written.map(|written| Written { bytes: written.bytes.clone(), ..*written });
        return Ok((manifest, written));
    }
    let (entry, written) =
        cut::empty_segment(old, lsn, clock).map_err(StoreError::io("make the log's first segment"))?;
    manifest.segments.push(entry);
    Ok((manifest, Some(written)))
}

/// Loads the result as a server does.
fn verify(into: &dyn Disk, clock: &dyn Clock, part: &Part) -> Result<u64, String> {
    let loaded = load::load(into, clock).map_err(|error| error.to_string())?;
    match (loaded.verdict, loaded.keyspace) {
        (Verdict::Opens(report), Some(keyspace)) => {
            if report.end_lsn != part.log.lsn || report.records != part.log.records {
                return Err(format!("it ends at LSN {} with {} records", report.end_lsn, report.records));
            }
            let mut keys = 0;
            let Ok(()) = load::each_key::<std::convert::Infallible>(&keyspace, &mut |_, _| {
                keys += 1;
                Ok(())
            });
            Ok(keys)
        }
        (Verdict::Damaged(error) | Verdict::CannotTell(error), _) => Err(error.to_string()),
        _ => Err("nothing was written".to_owned()),
    }
}

fn report(
    part: &Part,
    outcome: &Result<u64, String>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), StoreError> {
    let (catalog, log) = (&part.catalog, &part.log);
    if json {
        let report = Json::Object(vec![
            ("restored", outcome.is_ok().into()),
            ("lsn", log.lsn.into()),
            ("last_record_us", (log.records > 0).then_some(log.wall_us).into()),
            ("snapshot_lsn", catalog.through.into()),
            ("snapshot_files", (catalog.files.len() as u64).into()),
            ("records", log.records.into()),
            ("keys", outcome.as_ref().ok().copied().into()),
            ("passed_over", Json::list(part.passed_over.iter().map(String::as_str))),
            ("fault", outcome.as_ref().err().map(String::as_str).into()),
        ]);
        return writeln!(out, "{report}").map_err(write_failed);
    }
    let mut text = String::new();
    for damage in &part.passed_over {
        text.push_str(&format!("a newer snapshot cannot be used, an older one is: {damage}\n"));
    }
    let last = match log.records {
        0 => "no record behind it".to_owned(),
        records => format!("{records} records behind it, the last written {}", words::time(log.wall_us)),
    };
    text.push_str(&format!(
        "snapshot: {} files, through LSN {}; {last}\n",
        catalog.files.len(),
        catalog.through
    ));
    text.push_str(&match outcome {
        Ok(keys) => format!("restored: the state at LSN {}, {keys} keys, loaded and verified\n", log.lsn),
        Err(why) => format!("not restored: {why}\n"),
    });
    out.write_all(text.as_bytes()).map_err(write_failed)
}
