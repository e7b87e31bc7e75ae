//! `duramen inspect DIR snapshots` and `duramen dump DIR --snapshot`: snapshot files, and their rows as commands.
//!
//! Files are read as far as they can be: what is damaged is told, block by block, and the rest is shown. A file that no manifest lists is
//! taken by its own header and footer.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::RangeInclusive;

use crate::disk::{Disk, Open};
use crate::error::StoreError;
use crate::keyspace::hash::{SLOTS, slot_of};
use crate::keyspace::op::{Op, SpaceId};
use crate::log::manifest::Manifest;
use crate::log::survey;
use crate::log::{Lsn, Seed};
use crate::snapshot::footer::FileInfo;
use crate::snapshot::header::{self, Kind};
use crate::snapshot::reader::FileReader;
use crate::snapshot::retained::Catalogs;
use crate::snapshot::rows::Head;
use crate::snapshot::salvage::{self, Salvaged};

use super::dump::Filter;
use super::json::Json;
use super::salvage_repair::{damage_json, damage_text};
use super::snapshot::Snapshot;
use super::words::{self, Databases, place};
use super::{CANNOT_TELL, DAMAGED, GOOD, write_failed};

type Done = Result<(i32, Option<String>), StoreError>;

/// A file that is listed or there.
struct FileLine {
    sequence: u64,
    is_current: bool,
    /// Ends of the older snapshots that it belongs to.
    retained: Vec<Lsn>,
    /// `Err`: no manifest lists it and it doesn't say itself.
    info: Result<FileInfo, String>,
    bytes: u64,
}

/// What a directory's manifest says of its files.
struct Files {
    manifest: Option<Manifest>,
    catalogs: Catalogs,
    lines: Vec<FileLine>,
}

impl Files {
    /// `None`: no store.
    fn find(disk: &dyn Disk) -> Result<Option<Self>, StoreError> {
        let listing = survey::list(disk)?;
        let there = Snapshot::find(disk, None).files;
        if listing.manifest.is_none() && listing.segments.is_empty() && there.is_empty() {
            return Ok(None);
        }
        let sections = listing.manifest.as_ref().map_or(&[][..], |manifest| &manifest.sections);
        let catalogs = Catalogs::of(sections)?;
        let mut lines: BTreeMap<u64, FileLine> = BTreeMap::new();
        for (catalog, file) in catalogs.newest_first().flat_map(|c| c.files.iter().map(move |file| (c, file)))
        {
            let line = lines.entry(file.sequence).or_insert_with(|| FileLine {
                sequence: file.sequence,
                is_current: false,
                retained: Vec::new(),
                info: Ok(*file),
                bytes: 0,
            });
            if catalog.through == catalogs.current.through {
                line.is_current = true;
            } else {
                line.retained.push(catalog.through);
            }
        }
        for sequence in there.iter().filter_map(|name| header::sequence_of(name)) {
            let path = header::path(sequence);
            let len = disk.open(&path, Open::Read).and_then(|file| file.len());
            let bytes = len.map_err(StoreError::io(format!("open {path}")))?;
            let unlisted = || FileLine {
                sequence,
                is_current: false,
                retained: Vec::new(),
                info: FileReader::open(disk, sequence, None).map(|r| r.info()).map_err(|e| e.to_string()),
                bytes,
            };
            lines.entry(sequence).or_insert_with(unlisted).bytes = bytes;
        }
        Ok(Some(Self { manifest: listing.manifest, catalogs, lines: lines.into_values().collect() }))
    }

    /// Reads a file as far as it can be read.
    fn read(
        &self,
        disk: &dyn Disk,
        info: &FileInfo,
        visit: &mut salvage::Visit<'_>,
    ) -> Result<Salvaged, StoreError> {
        let seed: Option<Seed> = self.manifest.as_ref().map(|manifest| manifest.seed);
        let own = || FileReader::open(disk, info.sequence, None).map(|reader| reader.header().store_id);
        // Without a manifest the file says whose it is; if it can't, none of its blocks is one.
        let store_id = self.manifest.as_ref().map(|m| m.store_id).or_else(|| own().ok()).unwrap_or_default();
        salvage::read(disk, info, store_id, seed, visit)
    }
}

impl FileLine {
    fn state(&self) -> &'static str {
        match (self.is_current, self.retained.is_empty()) {
            (true, true) => "current",
            (true, false) => "current and retained",
            (false, false) => "retained",
            (false, true) => "unlisted",
        }
    }
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Base => "base",
        Kind::Delta => "delta",
    }
}

/// Files, and their bytes before and after compression.
#[derive(Debug, Default, Clone, Copy)]
struct Total {
    files: u64,
    rows: u64,
    bytes: u64,
    raw_bytes: u64,
}

fn ratio(raw: u64, stored: u64) -> String {
    // Tenths, without floats.
    let tenths = raw.saturating_mul(10) / stored.max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Shows each file and what is damaged in it.
pub fn inspect(disk: &dyn Disk, json: bool, out: &mut dyn Write) -> Done {
    let Some(files) = Files::find(disk)? else {
        return Ok((CANNOT_TELL, Some("there is no store here: neither a manifest nor a log".to_owned())));
    };
    let mut totals: BTreeMap<&'static str, Total> = BTreeMap::new();
    let (mut shown, mut fault) = (Vec::new(), None);
    for line in &files.lines {
        let found = match &line.info {
            Ok(info) => Some(files.read(disk, info, &mut |_, _| Ok(()))?),
            Err(_) => None,
        };
        let total = totals.entry(line.state()).or_default();
        total.files += 1;
        total.bytes += line.bytes;
        if let Ok(info) = &line.info {
            total.rows += info.rows;
            total.raw_bytes += info.raw_bytes;
        }
        let is_listed = line.is_current || !line.retained.is_empty();
        let first = found.as_ref().and_then(|found| found.damages.first());
        if let Some(damage) = first.filter(|_| is_listed && fault.is_none()) {
            fault = Some(format!(
                "{}, {}; run `duramen check`",
                header::path(line.sequence),
                damage_text(damage)
            ));
        }
        if json {
            shown.push(line_json(&files, line, found.as_ref()));
        } else {
            write!(out, "{}", line_text(&files, line, found.as_ref())).map_err(write_failed)?;
        }
    }
    if json {
        let totals = totals.iter().map(|(state, total)| {
            Json::Object(vec![
                ("state", (*state).into()),
                ("files", total.files.into()),
                ("rows", total.rows.into()),
                ("bytes", total.bytes.into()),
                ("raw_bytes", total.raw_bytes.into()),
            ])
        });
        let catalogs = &files.catalogs;
        let report = Json::Object(vec![
            ("through", catalogs.current.through.into()),
            ("made_us", catalogs.current.made_us.into()),
            ("retained", Json::list(catalogs.retained.iter().map(|older| older.through))),
            ("files", Json::List(shown)),
            ("totals", Json::list(totals)),
        ]);
        writeln!(out, "{report}").map_err(write_failed)?;
    } else {
        let current = &files.catalogs.current;
        let mut text =
            format!("snapshot through LSN {}, made {}\n", current.through, words::time(current.made_us));
        for older in &files.catalogs.retained {
            text.push_str(&format!(
                "older: through LSN {}, made {}\n",
                older.through,
                words::time(older.made_us)
            ));
        }
        for (state, total) in &totals {
            text.push_str(&format!(
                "{state}: {} files, {} rows, {} bytes, raw {} (ratio {})\n",
                total.files,
                total.rows,
                total.bytes,
                total.raw_bytes,
                ratio(total.raw_bytes, total.bytes)
            ));
        }
        write!(out, "{text}").map_err(write_failed)?;
    }
    Ok(fault.map_or((GOOD, None), |why| (DAMAGED, Some(why))))
}

/// The database of a keyspace as of the newest snapshot, or that it has retired.
fn space_name(files: &Files, space: SpaceId) -> String {
    place(Databases::of_snapshot(&files.catalogs.current).of(space), Some(space))
}

fn line_text(files: &Files, line: &FileLine, found: Option<&Salvaged>) -> String {
    let path = header::path(line.sequence);
    let info = match &line.info {
        Ok(info) => info,
        Err(why) => return format!("{path} {} {} bytes FAULT: {why}\n", line.state(), line.bytes),
    };
    let mut text = format!(
        "{path} {} {} slots {}..{} LSN {}..{} made {} {} rows {} ops {} bytes, raw {} (ratio {})",
        line.state(),
        kind_name(info.kind),
        info.first_slot,
        info.last_slot,
        info.from_lsn,
        info.through_lsn,
        words::time(info.created_us),
        info.rows,
        info.ops,
        line.bytes,
        info.raw_bytes,
        ratio(info.raw_bytes, info.bytes)
    );
    for (space, rows) in found.iter().flat_map(|found| &found.spaces) {
        text.push_str(&format!(" {}:{rows}", space_name(files, *space)));
    }
    text.push('\n');
    for damage in found.iter().flat_map(|found| &found.damages) {
        text.push_str(&format!("  DAMAGED: {}\n", damage_text(damage)));
    }
    if let Some(found) = found.filter(|found| found.lost_rows() > 0) {
        let (lost, blocks) = (found.lost_rows(), found.blocks);
        text.push_str(&format!("  {lost} of {} rows cannot be read, {blocks} blocks can\n", info.rows));
    }
    text
}

fn line_json(files: &Files, line: &FileLine, found: Option<&Salvaged>) -> Json {
    let mut fields = vec![
        ("path", header::path(line.sequence).into()),
        ("state", line.state().into()),
        ("retained_by", Json::list(line.retained.iter().copied())),
        ("file_bytes", line.bytes.into()),
        ("fault", line.info.as_ref().err().map(String::as_str).into()),
    ];
    if let Ok(info) = &line.info {
        fields.extend([
            ("kind", kind_name(info.kind).into()),
            ("first_slot", u64::from(info.first_slot).into()),
            ("last_slot", u64::from(info.last_slot).into()),
            ("from_lsn", info.from_lsn.into()),
            ("through_lsn", info.through_lsn.into()),
            ("created_us", info.created_us.into()),
            ("rows", info.rows.into()),
            ("ops", info.ops.into()),
            ("bytes", info.bytes.into()),
            ("raw_bytes", info.raw_bytes.into()),
        ]);
    }
    if let Some(found) = found {
        let spaces = found.spaces.iter().map(|(space, rows)| {
            Json::Object(vec![("keyspace", space_name(files, *space).into()), ("rows", (*rows).into())])
        });
        fields.extend([
            ("keyspaces", Json::list(spaces)),
            ("blocks_read", found.blocks.into()),
            ("lost_rows", found.lost_rows().into()),
            ("damages", Json::list(found.damages.iter().map(damage_json))),
        ]);
    }
    Json::Object(fields)
}

/// Which rows to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// Of the newest snapshot's files.
    Current,
    /// Of one file, listed or not.
    File(u64),
    /// Of the newest snapshot, in these slots.
    Slots(RangeInclusive<u16>),
}

/// `00000003.snap`, `snapshot/00000003.snap`, `3`; `100..200` for slots, both included.
pub fn parse_rows(text: &str) -> Result<Rows, String> {
    const WHY: &str =
        "give a file of the folder snapshot (00000003.snap, or 3) or slots (100..200, both included)";
    if text.is_empty() {
        return Ok(Rows::Current);
    }
    if let Some((first, last)) = text.split_once("..") {
        let slot = |text: &str| text.parse::<u16>().ok().filter(|&slot| usize::from(slot) < SLOTS);
        let (first, last) = (slot(first).ok_or(WHY)?, slot(last).ok_or(WHY)?);
        return Ok(Rows::Slots(first..=last));
    }
    let name = text.rsplit('/').next().unwrap_or(text);
    header::sequence_of(name).or_else(|| name.parse().ok()).map(Rows::File).ok_or_else(|| WHY.to_owned())
}

/// Writes rows as commands, one an op.
pub fn dump(disk: &dyn Disk, rows: &Rows, filter: &Filter, json: bool, out: &mut dyn Write) -> Done {
    let Some(files) = Files::find(disk)? else {
        return Ok((CANNOT_TELL, Some("there is no store here".to_owned())));
    };
    let databases = Databases::of_snapshot(&files.catalogs.current);
    let wanted = |line: &&FileLine| match rows {
        Rows::Current | Rows::Slots(_) => line.is_current,
        Rows::File(sequence) => line.sequence == *sequence,
    };
    let (mut fault, mut count) = (None, 0);
    for line in files.lines.iter().filter(wanted) {
        count += 1;
        let info = match &line.info {
            Ok(info) => info,
            Err(why) => {
                fault.get_or_insert_with(|| why.clone());
                continue;
            }
        };
        if matches!(rows, Rows::Slots(slots) if info.last_slot < *slots.start() || info.first_slot > *slots.end())
        {
            continue;
        }
        let found = files.read(disk, info, &mut |head, ops| {
            let db = databases.of(head.space);
            let is_wanted = !matches!(rows, Rows::Slots(slots) if !slots.contains(&head.slot))
                && filter.wants_db(db)
                && filter.wants_key(&head.key);
            if !is_wanted {
                return Ok(());
            }
            write_row(info, head, ops, db, json, out)
        })?;
        if let Some(damage) = found.damages.first() {
            let why =
                format!("{}, {}. The other rows are shown", header::path(info.sequence), damage_text(damage));
            fault.get_or_insert(why);
        }
    }
    if let (0, Rows::File(sequence)) = (count, rows) {
        return Ok((CANNOT_TELL, Some(format!("there is no {}", header::path(*sequence)))));
    }
    Ok(fault.map_or((GOOD, None), |why| (DAMAGED, Some(why))))
}

fn write_row(
    info: &FileInfo,
    head: &Head,
    ops: &[&[u8]],
    db: Option<u32>,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), StoreError> {
    let commands = ops.iter().map(|op| match Op::decode_bare(op) {
        Ok(op) => words::of_op(&head.key, &op),
        Err(malformed) => vec![b"MALFORMED".to_vec(), malformed.0.as_bytes().to_vec()],
    });
    let (file, kind, slot) =
        (header::path(info.sequence), kind_name(info.kind), u64::from(slot_of(&head.key)));
    if json {
        let commands = commands.map(|words| Json::list(words.iter().map(|word| Json::bytes(word))));
        let row = Json::Object(vec![
            ("file", file.into()),
            ("kind", kind.into()),
            ("slot", slot.into()),
            ("db", db.map(u64::from).into()),
            ("space", u64::from(head.space).into()),
            ("key", Json::bytes(&head.key)),
            ("commands", Json::List(commands.collect())),
        ]);
        return writeln!(out, "{row}").map_err(write_failed);
    }
    let (place, total) = (place(db, Some(head.space)), ops.len());
    for (command, number) in commands.zip(1..) {
        let command = words::line(&command);
        writeln!(out, "{file} {kind} slot {slot} {number}/{total} {place} {command}")
            .map_err(write_failed)?;
    }
    Ok(())
}
