//! `duramen repair`: the part of a damaged log before the damage, as a directory that starts.
//!
//! Only ever the beginning: nothing behind the damage is kept, for a log with a hole is a state that never was. What is lost
//! is told record by record. A damaged snapshot is another matter: see `salvage_repair`. The copy is synced and judged before it is said to be good; in place, everything that is
//! changed or removed is put aside first.

use std::io::{self, Write};

use crate::clock::Clock;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::log::manifest::{self, COPIES, Manifest, SegmentEnd, SegmentEntry, TermStart};
use crate::log::survey::{self, Verdict};
use crate::log::{Recovered, Seed, segment};
use crate::mutation::{Safeguard, unless_off};
use crate::snapshot::retained::Catalogs;

use super::damage::{self, Assessment};
use super::json::Json;
use super::load;
use super::new_directory::{self, copy};
use super::salvage;
use super::salvage_repair;
use super::snapshot::Snapshot;
use super::{CANNOT_TELL, GOOD, NOTHING_TO_REPAIR, UNREPAIRED, words, write_failed};

/// Where the repaired log goes.
pub enum Place<'a> {
    /// An empty directory.
    Into(&'a dyn Disk),
    /// The directory itself, whose lock the caller holds.
    Here,
}

/// Says what is lost, and repairs. `salvage`: also where rows of a snapshot are lost. Returns the exit code.
pub fn repair(
    disk: &dyn Disk,
    clock: &dyn Clock,
    place: &Place<'_>,
    salvage: bool,
    json: bool,
    out: &mut dyn Write,
) -> Result<i32, StoreError> {
    let loaded = load::load(disk, clock)?;
    let error = match loaded.verdict {
        Verdict::Opens(_) => {
            let mut text =
                "a server starts on this directory as it is: nothing to repair, nothing was written"
                    .to_owned();
            if let Some(fallback) = &loaded.fallback {
                text.push_str(&format!(". {fallback}, and nothing is lost"));
            }
            say(out, json, &text)?;
            return Ok(NOTHING_TO_REPAIR);
        }
        Verdict::Empty => {
            return no_store(json, out);
        }
        Verdict::CannotTell(error) => return Err(error),
        Verdict::Damaged(error) => error,
    };
    // Memory for the log's own work only.
    drop(loaded.keyspace);
    if !json {
        writeln!(out, "{error}").map_err(write_failed)?;
    }
    let listing = survey::list(disk)?;
    if let Some(manifest) = listing.manifest.clone() {
        let walked = survey::walk(disk, &listing, loaded.misfit, &mut |_| Ok(()))?;
        if let Some(choice) = salvage::needed(disk, &manifest, &walked)? {
            let agreed = salvage || !choice.is_damaged();
            let work = salvage_repair::Work { disk, clock, place, listing, manifest, choice };
            return work.repair(&error, agreed, json, out);
        }
    }
    let extent = damage::assess(disk, loaded.misfit, &mut |record| {
        let line = if json {
            Json::Object(vec![
                ("lost_lsn", record.lsn_end.into()),
                ("time_us", record.wall_us.into()),
                ("record", damage::in_one_line(record).into()),
            ])
            .to_string()
        } else {
            format!("lost: {}", damage::in_one_line(record))
        };
        writeln!(out, "{line}").map_err(write_failed)
    })?;
    let manifest = cut_manifest(disk, clock, &extent)?;
    let (target, aside) = match place {
        Place::Into(target) => {
            // Without a manifest the log is whole from its beginning, and needs none.
            let has_manifest = extent.listing.manifest.is_some();
            let snapshot = has_manifest.then(|| Snapshot::find(disk, extent.listing.manifest.as_ref()));
            let files: Vec<String> = snapshot.iter().flat_map(Snapshot::paths).collect();
            new_directory::make(disk, *target, &manifest, &files, None)?;
            (*target, None)
        }
        Place::Here => (disk, Some(cut_here(disk, clock, &manifest, &extent)?)),
    };
    let repaired = judge_again(target, clock, &extent);
    report(&error, &extent, aside.as_deref(), &repaired, json, out)?;
    Ok(if repaired.is_ok() { GOOD } else { UNREPAIRED })
}

/// Whether there is one to repair. Where not, not even a lock is to be left behind.
pub fn is_store(disk: &dyn Disk) -> bool {
    let stop = &mut |_: Recovered<'_>| Err(StoreError::Refused("enough was read".to_owned()));
    !matches!(survey::judge(disk, stop), Verdict::Empty)
}

/// Says so. Returns the exit code.
pub fn no_store(json: bool, out: &mut dyn Write) -> Result<i32, StoreError> {
    say(out, json, "there is no store here")?;
    Ok(CANNOT_TELL)
}

fn say(out: &mut dyn Write, json: bool, text: &str) -> Result<(), StoreError> {
    let line = if json { Json::Object(vec![("result", text.into())]).to_string() } else { text.to_owned() };
    writeln!(out, "{line}").map_err(write_failed)
}

fn report(
    error: &StoreError,
    extent: &Assessment,
    aside: Option<&str>,
    repaired: &Result<(), String>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), StoreError> {
    if json {
        let keys = extent.keys.keys().map(|key| Json::bytes(key));
        let libraries = extent.libraries.keys().map(|name| Json::bytes(name));
        let report = Json::Object(vec![
            ("error", error.to_string().into()),
            ("damage", extent.json()),
            ("keys_lost_changes", Json::list(keys)),
            ("libraries_lost_changes", Json::list(libraries)),
            ("put_aside", aside.into()),
            ("repaired", repaired.is_ok().into()),
            ("fault", repaired.as_ref().err().map(String::as_str).into()),
        ]);
        return writeln!(out, "{report}").map_err(write_failed);
    }
    for (key, count) in &extent.keys {
        writeln!(out, "changes lost: {count} to {}", words::line(std::slice::from_ref(key)))
            .map_err(write_failed)?;
    }
    for (name, count) in &extent.libraries {
        writeln!(out, "changes lost: {count} to library {}", words::line(std::slice::from_ref(name)))
            .map_err(write_failed)?;
    }
    let mut text = extent.text();
    if let Some(aside) = aside {
        text.push_str(&format!("  put aside: {aside}\n"));
    }
    text.push_str(&match repaired {
        Ok(()) => format!("repaired: {} records, up to LSN {}\n", extent.good_records, extent.good_lsn),
        Err(why) => format!("not repaired: {why}\n"),
    });
    write!(out, "{text}").map_err(write_failed)
}

/// The manifest of the log up to the damage.
fn cut_manifest(disk: &dyn Disk, clock: &dyn Clock, extent: &Assessment) -> Result<Manifest, StoreError> {
    let (listing, walked) = (&extent.listing, &extent.walked);
    let mut manifest = match &listing.manifest {
        Some(manifest) => manifest.clone(),
        None => made_up(disk, clock, extent)?,
    };
    let mut first_lsn = walked.first_lsn;
    let mut segments = Vec::new();
    let kept = walked.good.map_or(0, |good| good.index + 1);
    for (index, segment) in listing.segments.iter().enumerate().take(kept) {
        let end = match walked.good {
            Some(good) if good.index == index => Some(SegmentEnd { offset: good.offset, lsn: good.lsn }),
            _ => walked.ends.get(index).copied(),
        };
        let Some(end) = end else { break };
        segments.push(SegmentEntry { first_lsn: Some(first_lsn), end: Some(end), ..segment.entry });
        first_lsn = end.lsn;
    }
    manifest.segments = segments;
    manifest.synced_through = extent.good_lsn;
    manifest.terms.retain(|start| start.first_lsn <= extent.good_lsn);
    let terms = listing.segments.iter().map(|s| s.entry.term).chain([manifest.term]);
    manifest.term = terms.max().unwrap_or(0);
    Ok(manifest)
}

/// Whether the log alone, without any manifest, is not the whole store.
pub(super) fn lacks_its_manifest(disk: &dyn Disk, extent: &Assessment) -> bool {
    let begins = extent.listing.segments.first().and_then(|first| first.entry.first_lsn);
    !Snapshot::find(disk, None).is_empty() && begins != Some(0)
}

/// From the headers of the segments, where no manifest is left.
fn made_up(disk: &dyn Disk, clock: &dyn Clock, extent: &Assessment) -> Result<Manifest, StoreError> {
    if lacks_its_manifest(disk, extent) {
        return Err(StoreError::Refused(
            "without a manifest nothing says which snapshot files belong to the log, which databases their keys are in, and the seed \
             that orders them, and the log does not begin with the store's first record: put back MANIFEST-a or MANIFEST-b from a \
             backup"
                .to_owned(),
        ));
    }
    let segments = &extent.listing.segments;
    let header = segments.iter().find_map(|s| s.header.as_ref().ok());
    let Some(header) = header else {
        return Err(StoreError::Refused("no segment has a header that can be read".to_owned()));
    };
    let mut terms: Vec<TermStart> = Vec::new();
    for entry in segments.iter().map(|s| &s.entry) {
        if terms.last().is_none_or(|last| last.term < entry.term) {
            terms.push(TermStart { term: entry.term, first_lsn: entry.first_lsn.unwrap_or(0) });
        }
    }
    // The old one is lost with the manifest; of a log alone, nothing on the disk depends on it.
    let id = clock.random_id().map_err(StoreError::io("make the store's secret seed"))?;
    let (seed, _) = id.split_first_chunk().expect("an id has sixteen bytes");
    Ok(Manifest {
        generation: 0,
        store_id: header.store_id,
        seed: Seed(u64::from_le_bytes(*seed)),
        term: 0,
        synced_through: 0,
        terms,
        segments: Vec::new(),
        sections: Vec::new(),
    })
}

/// Cuts the log in its own directory. Returns the folder with everything that was there instead.
fn cut_here(
    disk: &dyn Disk,
    clock: &dyn Clock,
    manifest: &Manifest,
    extent: &Assessment,
) -> Result<String, StoreError> {
    let aside = format!("damaged-{}", clock.wall_ms());
    let io = |what: &str| StoreError::io(format!("{what} {aside}"));
    disk.create_dir(&aside)
        .and_then(|()| unless_off(Safeguard::RepairFolderName, || disk.sync_dir("")))
        .map_err(io("make the folder"))?;
    for path in COPIES {
        copy_if_there(disk, path, &format!("{aside}/{path}"))?;
    }
    if extent.listing.manifest.is_none() {
        // The new manifest lists none of them: the next start would remove them.
        for path in Snapshot::find(disk, None).paths() {
            copy_if_there(disk, &path, &format!("{aside}/{}", path.rsplit('/').next().unwrap_or_default()))?;
        }
    }
    let beside = |sequence| {
        let path = segment::path(sequence);
        let name = path.rsplit('/').next().unwrap_or_default();
        format!("{aside}/{name}")
    };
    // The last one that stays: the next start gives back what lies behind its new end.
    if let Some(last) = manifest.segments.last() {
        copy_if_there(disk, &segment::path(last.sequence), &beside(last.sequence))?;
    }
    disk.sync_dir(&aside).map_err(io("sync"))?;
    // Before the new manifest: a file that no manifest lists would keep a server from starting, and if this ends early the
    // old manifest and the files that are gone are again damage behind the same place.
    for entry in extent.listing.segments.iter().skip(manifest.segments.len()).map(|s| &s.entry) {
        match disk.rename(&segment::path(entry.sequence), &beside(entry.sequence)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io("move a segment to")(e)),
            _ => {}
        }
    }
    unless_off(Safeguard::RepairNames, || {
        disk.sync_dir(&aside).and_then(|()| disk.sync_dir(segment::FOLDER))
    })
    .map_err(io("sync"))?;
    manifest::replace(disk, &mut manifest.clone()).map_err(StoreError::io("write the manifest"))?;
    Ok(aside)
}

pub(super) fn copy_if_there(disk: &dyn Disk, from: &str, to: &str) -> Result<(), StoreError> {
    match copy(disk, from, disk, to, None) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// What a server says of the result.
fn judge_again(disk: &dyn Disk, clock: &dyn Clock, extent: &Assessment) -> Result<(), String> {
    let loaded = load::load(disk, clock).map_err(|error| error.to_string())?;
    // Behind a snapshot, records that it holds may still be in the log: they are not read, and so not counted.
    let manifest = extent.listing.manifest.as_ref();
    let compacted = match manifest.map(|manifest| Catalogs::of(&manifest.sections)) {
        Some(catalogs) => catalogs.map_err(|error| error.to_string())?.current.through > 0,
        None => false,
    };
    match loaded.verdict {
        Verdict::Opens(report)
            if (compacted || report.records == extent.good_records) && report.torn.is_none() =>
        {
            Ok(())
        }
        Verdict::Opens(report) => {
            Err(format!("{} records were expected, {} are there", extent.good_records, report.records))
        }
        Verdict::Empty => Err("nothing was written".to_owned()),
        Verdict::Damaged(error) | Verdict::CannotTell(error) => Err(error.to_string()),
    }
}
