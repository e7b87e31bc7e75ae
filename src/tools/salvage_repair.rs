//! `duramen repair --salvage`: a directory out of what is left of a damaged snapshot and the log behind it.
//!
//! The state that is certain ([`Salvage`]) becomes a snapshot of its own, at the end of the log; the new log begins there and is empty. So
//! nothing of the result depends on what was damaged. The older snapshots and the log that retention kept are not part of it.
//!
//! In place, everything is copied aside first, then the new files are written beside the old, then the manifest names the new ones:
//! a crash before that leaves the damaged directory with files that a start ignores, one after it the repaired one.

use std::convert::Infallible;
use std::io::Write;

use crate::clock::Clock;
use crate::codec::varint_len;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::keyspace::entry::Entry;
use crate::keyspace::hash::KeyRef;
use crate::keyspace::op::{LIBRARIES, SpaceId, encode_bare};
use crate::keyspace::rebuild::ops_of;
use crate::keyspace::stripe::stripe_of;
use crate::keyspace::waiters::StripeSet;
use crate::log::manifest::{self, COPIES, Manifest, SegmentEntry};
use crate::log::survey::{self, Found, Listing, Verdict};
use crate::log::{Lsn, cut, segment};
use crate::mutation::{Safeguard, unless_off};
use crate::snapshot::catalog::{Catalog, RANGES, slots_of};
use crate::snapshot::header::{self, FileHeader, Kind};
use crate::snapshot::retained::Catalogs;
use crate::snapshot::rows::{Head, RowSink};
use crate::snapshot::salvage::{Damage, Salvaged};
use crate::snapshot::writer::FileWriter;
use crate::types::REBUILD_BYTES;

use super::damage::{LostRecord, in_one_line};
use super::json::Json;
use super::repair::{Place, copy_if_there};
use super::salvage::{Choice, LostKey, Salvage};
use super::snapshot::Snapshot;
use super::{CANNOT_TELL, GOOD, UNREPAIRED, load, new_directory, words, write_failed};

/// Of zstd, as the server's own.
const LEVEL: i32 = 1;

pub struct Work<'a> {
    pub disk: &'a dyn Disk,
    pub clock: &'a dyn Clock,
    pub place: &'a Place<'a>,
    pub listing: Listing,
    pub manifest: Manifest,
    pub choice: Choice,
}

/// Where the log that can be applied ends, and what is behind it.
struct Replayed {
    end_lsn: Lsn,
    records: u64,
    lost_records: u64,
}

impl Work<'_> {
    /// Says what is lost, and repairs if that was asked for. Returns the exit code.
    pub fn repair(
        self,
        error: &StoreError,
        salvage: bool,
        json: bool,
        out: &mut dyn Write,
    ) -> Result<i32, StoreError> {
        let mut state = Salvage::load(self.disk, &self.manifest, &self.choice)?;
        let replayed = self.replay(&mut state, json, out)?;
        if !salvage {
            self.report(error, &state, &replayed, None, json, out)?;
            let why = "no older snapshot leads to the same state, and rows of this one cannot be read: the file from a backup would lose \
                       nothing. `duramen repair --salvage` makes a directory of all keys that are certain, without those above. Nothing \
                       was written";
            let line =
                if json { Json::Object(vec![("result", why.into())]).to_string() } else { why.to_owned() };
            writeln!(out, "{line}").map_err(write_failed)?;
            return Ok(CANNOT_TELL);
        }
        let aside = match self.place {
            Place::Into(target) => {
                new_directory::require_empty(*target)?;
                self.write(*target, &state, replayed.end_lsn)?;
                None
            }
            Place::Here => {
                let aside = self.put_aside()?;
                let kept = self.write(self.disk, &state, replayed.end_lsn)?;
                self.remove_others(&kept)?;
                Some(aside)
            }
        };
        let target = if let Place::Into(target) = self.place { *target } else { self.disk };
        let outcome = verify(target, self.clock, &state, replayed.end_lsn);
        let code = if outcome.is_ok() { GOOD } else { UNREPAIRED };
        self.report(error, &state, &replayed, Some((aside, outcome)), json, out)?;
        Ok(code)
    }

    /// Applies the records behind the snapshot as far as each follows on the one before, and tells the others.
    fn replay(&self, state: &mut Salvage, json: bool, out: &mut dyn Write) -> Result<Replayed, StoreError> {
        let through = self.choice.catalog.through;
        let mut replayed = Replayed { end_lsn: through, records: 0, lost_records: 0 };
        survey::walk(self.disk, &self.listing, None, &mut |found| {
            let Found::Record { lsn_end, wall_us, body, .. } = found else { return Ok(()) };
            if lsn_end <= through {
                return Ok(());
            }
            // In the stream a record's length stands before it.
            let begin = lsn_end - (varint_len(body.len() as u64) + body.len()) as u64;
            if begin == replayed.end_lsn {
                (replayed.end_lsn, replayed.records) = (lsn_end, replayed.records + 1);
                return state.record(lsn_end, body);
            }
            replayed.lost_records += 1;
            let record = in_one_line(&LostRecord { lsn_end, wall_us, body });
            let line = if json {
                let of =
                    [("lost_lsn", lsn_end.into()), ("time_us", wall_us.into()), ("record", record.into())];
                Json::Object(of.into()).to_string()
            } else {
                format!("lost: {record}")
            };
            writeln!(out, "{line}").map_err(write_failed)
        })?;
        Ok(replayed)
    }

    /// Writes the state as a store: its snapshot, an empty log, and last the manifest. Returns the manifest.
    fn write(&self, target: &dyn Disk, state: &Salvage, lsn: Lsn) -> Result<Manifest, StoreError> {
        let making = |what: &str| StoreError::io(format!("make {what}"));
        let mut catalog = Catalog {
            through: lsn,
            made_us: self.clock.wall_us(),
            next_file: self.next_file()?,
            files: Vec::new(),
            ..state.catalog.clone()
        };
        for range in 0..RANGES {
            self.write_range(target, state, range, &mut catalog)?;
        }
        let mut numbers = self.manifest.clone();
        let others = self.listing.orphans.iter().copied();
        let highest = others.chain(self.listing.segments.iter().map(|s| s.entry.sequence)).max();
        if let (Some(sequence), Some(last)) = (highest, numbers.segments.last().copied()) {
            // The new segment gets the number behind it.
            numbers.segments.push(SegmentEntry { sequence: sequence.max(last.sequence), ..last });
        }
        let empty = cut::empty_segment(&numbers, lsn, self.clock);
        let (entry, written) = empty.map_err(making("the log's first segment"))?;
        target.create_dir(segment::FOLDER).map_err(making("the folder log"))?;
        new_directory::write_behind(self.disk, target, &segment::path(entry.sequence), &written)?;
        unless_off(Safeguard::SalvageNames, || target.sync_dir(segment::FOLDER))
            .map_err(making("the folder log"))?;
        unless_off(Safeguard::SalvageFolderNames, || target.sync_dir("")).map_err(making("the folders"))?;
        let alone = Catalogs { current: catalog, retained: Vec::new() };
        let mut manifest = Manifest {
            segments: vec![entry],
            synced_through: lsn,
            sections: if lsn > 0 { alone.sections() } else { Vec::new() },
            ..self.manifest.clone()
        };
        manifest.terms.retain(|start| start.first_lsn <= lsn);
        manifest::replace(target, &mut manifest).map_err(making("the manifest"))?;
        Ok(manifest)
    }

    /// A number that no file has.
    fn next_file(&self) -> Result<u64, StoreError> {
        let listed = Catalogs::of(&self.manifest.sections)?;
        let listed = listed.newest_first().map(|catalog| catalog.next_file).max().unwrap_or(1);
        let names = Snapshot::find(self.disk, None).files;
        let there = names.iter().filter_map(|name| header::sequence_of(name)).max().unwrap_or(0);
        Ok(listed.max(there + 1))
    }

    fn write_range(
        &self,
        target: &dyn Disk,
        state: &Salvage,
        range: u16,
        catalog: &mut Catalog,
    ) -> Result<(), StoreError> {
        let slots = slots_of(range);
        let stripes = stripe_of(*slots.start())..=stripe_of(*slots.end());
        let set = stripes.fold(StripeSet::default(), |set, stripe| set.with(StripeSet::one(stripe)));
        let held = state.keyspace.lock(set);
        let mut rows: Vec<(KeyRef<'_>, SpaceId, &Entry)> = Vec::new();
        for &space in catalog.spaces.iter().chain([&LIBRARIES]) {
            let entries =
                held.shelves().filter_map(|shelf| shelf.stripe.part(space)).flat_map(|part| part.iter());
            rows.extend(entries.map(|entry| (KeyRef::new(entry.key(), self.manifest.seed.0), space, entry)));
        }
        if rows.is_empty() {
            return Ok(());
        }
        rows.sort_unstable_by_key(|&(key, space, _)| (key.slot, key.hash, space, key.bytes));
        let header = FileHeader {
            kind: Kind::Base,
            store_id: self.manifest.store_id,
            sequence: catalog.next_file,
            first_slot: *slots.start(),
            last_slot: *slots.end(),
            from_lsn: 0,
            through_lsn: catalog.through,
            created_us: catalog.made_us,
        };
        catalog.next_file += 1;
        let mut writer = FileWriter::create(target, &header, LEVEL)?;
        let mut bare = Vec::new();
        for (key, space, entry) in rows {
            writer.begin(&Head { slot: key.slot, hash: key.hash, space, key: key.bytes.to_vec() })?;
            let mut result = Ok(());
            ops_of(entry, REBUILD_BYTES, &mut |op| {
                if result.is_ok() {
                    bare.clear();
                    encode_bare(&mut bare, &op);
                    result = writer.op(&bare);
                }
            });
            result?;
        }
        catalog.files.push(writer.finish()?);
        Ok(())
    }

    /// Copies everything, and returns the folder.
    fn put_aside(&self) -> Result<String, StoreError> {
        let disk = self.disk;
        let aside = format!("damaged-{}", self.clock.wall_ms());
        let io = |what: &str| StoreError::io(format!("{what} {aside}"));
        // Its name is synced with those of the other folders, before the manifest that makes it matter.
        disk.create_dir(&aside).map_err(io("make the folder"))?;
        let segments = self.listing.segments.iter().map(|s| s.path());
        let copies = COPIES.into_iter().map(str::to_owned).chain(segments);
        for path in copies.chain(Snapshot::find(disk, None).paths()) {
            let name = path.rsplit('/').next().unwrap_or_default();
            copy_if_there(disk, &path, &format!("{aside}/{name}"))?;
        }
        unless_off(Safeguard::AsideNames, || disk.sync_dir(&aside)).map_err(io("sync"))?;
        Ok(aside)
    }

    /// The next start would remove them, too.
    fn remove_others(&self, kept: &Manifest) -> Result<(), StoreError> {
        crate::snapshot::compact::remove_unlisted(self.disk, &Catalogs::of(&kept.sections)?)?;
        let old = self
            .listing
            .segments
            .iter()
            .map(|s| s.entry.sequence)
            .chain(self.listing.orphans.iter().copied());
        for sequence in old.filter(|old| kept.segments.iter().all(|s| s.sequence != *old)) {
            let path = segment::path(sequence);
            match self.disk.remove(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreError::io(format!("remove {path}"))(e));
                }
                _ => {}
            }
        }
        self.disk.sync_dir(segment::FOLDER).map_err(StoreError::io("sync the folder log"))
    }

    fn report(
        &self,
        error: &StoreError,
        state: &Salvage,
        replayed: &Replayed,
        done: Option<(Option<String>, Result<u64, String>)>,
        json: bool,
        out: &mut dyn Write,
    ) -> Result<(), StoreError> {
        let (lost, libraries) = (state.lost_keys(), state.lost_libraries());
        let catalog = &self.choice.catalog;
        if json {
            let mut fields = vec![
                ("error", error.to_string().into()),
                ("snapshot_lsn", catalog.through.into()),
                ("end_lsn", replayed.end_lsn.into()),
                ("records", replayed.records.into()),
                ("lost_records", replayed.lost_records.into()),
                ("lost_rows", self.choice.lost_rows().into()),
                ("snapshot_files", Json::list(self.choice.files.iter().map(file_json))),
                ("lost_keys", Json::list(lost.iter().map(lost_key_json))),
                ("lost_libraries", Json::list(libraries.iter().map(lost_library_json))),
            ];
            if let Some((aside, outcome)) = &done {
                fields.push(("put_aside", aside.as_deref().into()));
                fields.push(("repaired", outcome.is_ok().into()));
                fields.push(("keys", outcome.as_ref().ok().copied().into()));
                fields.push(("fault", outcome.as_ref().err().map(String::as_str).into()));
            }
            return writeln!(out, "{}", Json::Object(fields)).map_err(write_failed);
        }
        let mut text = String::new();
        for file in self.choice.files.iter().filter(|file| !file.damages.is_empty()) {
            text.push_str(&file_text(file));
        }
        for (db, key, lost) in &lost {
            text.push_str(&lost_text(&format!("key: db{db}"), key, lost));
        }
        for (name, lost) in &libraries {
            text.push_str(&lost_text("library:", name, lost));
        }
        text.push_str(&format!(
            "snapshot through LSN {}: {} rows lost; {} records of the log behind it, up to LSN {}; {} keys are lost by name{}\n",
            catalog.through,
            self.choice.lost_rows(),
            replayed.records,
            replayed.end_lsn,
            lost.len(),
            if libraries.is_empty() { String::new() } else { format!(", and {} libraries", libraries.len()) }
        ));
        if let Some((aside, outcome)) = done {
            if let Some(aside) = aside {
                text.push_str(&format!("put aside: {aside}\n"));
            }
            text.push_str(&match outcome {
                Ok(keys) => format!("repaired: {keys} keys, loaded and verified\n"),
                Err(why) => format!("not repaired: {why}\n"),
            });
        }
        out.write_all(text.as_bytes()).map_err(write_failed)
    }
}

/// A place in a file and which keys it may have had.
pub fn damage_text(damage: &Damage) -> String {
    let mut text = format!("offset {} to {}: {}", damage.offset, damage.end, damage.reason);
    let Some(gap) = &damage.gap else {
        text.push_str("; no rows are lost");
        return text;
    };
    let name = |head: &Head| words::line(std::slice::from_ref(&head.key));
    text.push_str(&format!(
        "; rows of slots {} to {}",
        gap.from.0.max(gap.after.as_ref().map_or(0, |h| h.slot)),
        gap.to.0.min(gap.before.as_ref().map_or(u16::MAX, |h| h.slot))
    ));
    if let Some(after) = &gap.after {
        text.push_str(&format!(", behind key {}", name(after)));
    }
    if let Some(before) = &gap.before {
        text.push_str(&format!(", before key {}", name(before)));
    }
    text
}

pub fn damage_json(damage: &Damage) -> Json {
    let head = |head: &Option<Head>| head.as_ref().map(|head| Json::bytes(&head.key));
    let gap = damage.gap.as_ref();
    Json::Object(vec![
        ("offset", damage.offset.into()),
        ("end", damage.end.into()),
        ("reason", damage.reason.as_str().into()),
        ("loses_rows", gap.is_some().into()),
        ("first_slot", gap.map(|gap| u64::from(gap.from.0)).into()),
        ("last_slot", gap.map(|gap| u64::from(gap.to.0)).into()),
        ("behind_key", gap.and_then(|gap| head(&gap.after)).into()),
        ("before_key", gap.and_then(|gap| head(&gap.before)).into()),
    ])
}

pub(super) fn file_text(file: &Salvaged) -> String {
    let path = header::path(file.info.sequence);
    let mut text: String =
        file.damages.iter().map(|damage| format!("{path}, {}\n", damage_text(damage))).collect();
    text.push_str(&format!("{path}: {} of {} rows lost\n", file.lost_rows(), file.info.rows));
    text
}

pub(super) fn file_json(file: &Salvaged) -> Json {
    Json::Object(vec![
        ("path", header::path(file.info.sequence).into()),
        ("rows", file.info.rows.into()),
        ("lost_rows", file.lost_rows().into()),
        ("damages", Json::list(file.damages.iter().map(damage_json))),
    ])
}

fn lost_text(what: &str, name: &[u8], lost: &LostKey) -> String {
    let mut text = format!("lost {what} {}", words::line(&[name.to_vec()]));
    if lost.has_older {
        text.push_str(" (an older file has it, perhaps out of date)");
    }
    if lost.ops > 0 {
        text.push_str(&format!(" ({} ops of the log were dropped)", lost.ops));
    }
    text + "\n"
}

fn lost_key_json((db, key, lost): &(u32, &[u8], LostKey)) -> Json {
    Json::Object(vec![
        ("db", u64::from(*db).into()),
        ("key", Json::bytes(key)),
        ("has_older", lost.has_older.into()),
        ("dropped_ops", lost.ops.into()),
    ])
}

fn lost_library_json((name, lost): &(&[u8], LostKey)) -> Json {
    Json::Object(vec![
        ("library", Json::bytes(name)),
        ("has_older", lost.has_older.into()),
        ("dropped_ops", lost.ops.into()),
    ])
}

/// Loads the result as a server does. Returns the number of keys.
fn verify(target: &dyn Disk, clock: &dyn Clock, state: &Salvage, lsn: Lsn) -> Result<u64, String> {
    let count = |keyspace: &crate::keyspace::Keyspace| {
        let (mut keys, mut libraries) = (0, 0);
        let Ok(()) = load::each_key::<Infallible>(keyspace, &mut |_, _| {
            keys += 1;
            Ok(())
        });
        let Ok(()) = load::each_library::<Infallible>(keyspace, &mut |_| {
            libraries += 1;
            Ok(())
        });
        (keys, libraries)
    };
    let loaded = load::load(target, clock).map_err(|error| error.to_string())?;
    match (loaded.verdict, loaded.keyspace) {
        (Verdict::Opens(report), Some(keyspace)) => {
            let (found, expected) = (count(&keyspace), count(&state.keyspace));
            if report.end_lsn != lsn || found != expected || loaded.fallback.is_some() {
                return Err(format!(
                    "it ends at LSN {} with {} keys of {} and {} libraries of {}",
                    report.end_lsn, found.0, expected.0, found.1, expected.1
                ));
            }
            Ok(found.0)
        }
        (Verdict::Damaged(error) | Verdict::CannotTell(error), _) => Err(error.to_string()),
        _ => Err("nothing was written".to_owned()),
    }
}
