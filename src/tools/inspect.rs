//! `duramen inspect`: what a directory is made of. It looks at damaged ones too, as far as they can be read.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::Write;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::keyspace::entry::Entry;
use crate::keyspace::hash::{SLOTS, slot_of};
use crate::keyspace::op::{AnyOp, Ops, Routed, encode_key_op};
use crate::log::Lsn;
use crate::log::frame::{Flags, Header};
use crate::log::manifest::Manifest;
use crate::log::survey::{self, Break, Found, Segment, Verdict, Walked};

use super::json::Json;
use super::snapshot::Snapshot;
use super::words::{self, Databases, place};
use super::{CANNOT_TELL, DAMAGED, GOOD, load, snapshot_files, write_failed};

/// What is to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Manifest, segments, ops by kind and database, hottest slots.
    All,
    Segments,
    Frames,
    /// What snapshot and records made: sizes by type, biggest keys.
    Keys,
    /// The snapshot files.
    Snapshots,
}

/// What one segment holds.
struct SegmentFigures {
    line: SegmentLine,
    frames: u64,
    records: u64,
    first_lsn: Option<Lsn>,
    end_lsn: Lsn,
    /// Behind the last frame.
    used_bytes: u64,
    first_us: u64,
    last_us: u64,
}

/// What the manifest and the file's header say of it.
struct SegmentLine {
    path: String,
    state: &'static str,
    term: u64,
    size: u64,
    file_len: Option<u64>,
    block: Option<u32>,
    created_us: Option<u64>,
    fault: Option<String>,
}

/// How many, and their encoded bytes.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    count: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }

    fn json(self, name: &'static str, of: Json) -> Json {
        Json::Object(vec![(name, of), ("count", self.count.into()), ("bytes", self.bytes.into())])
    }
}

struct Survey {
    segments: Vec<SegmentFigures>,
    kinds: BTreeMap<&'static str, Sum>,
    databases: BTreeMap<String, Sum>,
    slots: Vec<Sum>,
    following: Databases,
}

/// Writes what there is; returns the exit code.
pub fn inspect(
    disk: &dyn Disk,
    clock: &dyn Clock,
    view: View,
    top: usize,
    json: bool,
    out: &mut dyn Write,
) -> Result<(i32, Option<String>), StoreError> {
    if view == View::Keys {
        return keys(disk, clock, top, json, out);
    }
    if view == View::Snapshots {
        return snapshot_files::inspect(disk, json, out);
    }
    let listing = survey::list(disk)?;
    if listing.manifest.is_none() && listing.segments.is_empty() {
        return Ok((CANNOT_TELL, Some("there is no store here: neither a manifest nor a log".to_owned())));
    }
    let mut found = Survey {
        segments: Vec::new(),
        kinds: BTreeMap::new(),
        databases: BTreeMap::new(),
        slots: vec![Sum::default(); SLOTS],
        following: Databases::default(),
    };
    let walked = survey::walk(disk, &listing, None, &mut |item| {
        if let (View::Frames, Found::Frame { header, sequence, offset, end, behind_break }) = (view, &item) {
            let place = FramePlace { sequence: *sequence, offset: *offset, end: *end };
            write_frame(header, &place, *behind_break, json, out)?;
        }
        if let (View::Frames, Found::Break(at)) = (view, &item)
            && !json
        {
            writeln!(out, "{}", break_text(at)).map_err(write_failed)?;
        }
        found.take(&item);
        Ok(())
    })?;
    let snapshot = Snapshot::find(disk, listing.manifest.as_ref());
    let manifest = listing.manifest.as_ref();
    match (view, json) {
        (View::Frames, _) => {}
        (View::Segments, true) => writeln!(out, "{}", found.segments_json()).map_err(write_failed)?,
        (View::Segments, false) => write!(out, "{}", found.segments_text()).map_err(write_failed)?,
        (_, true) => {
            let report = found.json(manifest, &snapshot, &walked, top);
            writeln!(out, "{report}").map_err(write_failed)?;
        }
        (_, false) => {
            let text = found.text(manifest, &snapshot, &walked, top);
            write!(out, "{text}").map_err(write_failed)?;
        }
    }
    let first = walked.breaks.first();
    Ok(first.map_or((GOOD, None), |at| (DAMAGED, Some(format!("{}; run `duramen check`", break_text(at))))))
}

fn break_text(at: &Break) -> String {
    format!("{}, offset {}: {}", at.file, at.offset, at.reason)
}

struct FramePlace {
    sequence: u64,
    offset: u64,
    end: u64,
}

fn write_frame(
    header: &Header,
    at: &FramePlace,
    behind_break: bool,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), StoreError> {
    let flags = header.flags.iter_names().map(|(name, _)| name.to_lowercase()).collect::<Vec<_>>();
    let line = if json {
        Json::Object(vec![
            ("sequence", at.sequence.into()),
            ("offset", at.offset.into()),
            ("bytes", (at.end - at.offset).into()),
            ("first_lsn", header.first_lsn.into()),
            ("end_lsn", header.end_lsn().into()),
            ("records", u64::from(header.records).into()),
            ("flags", Json::list(flags)),
            ("term", header.term.into()),
            ("time_us", header.wall_us.into()),
            ("synced_through", header.synced_through.into()),
            ("behind_break", behind_break.into()),
        ])
        .to_string()
    } else {
        format!(
            "{:08} @{} {} bytes LSN {}..{} {} records [{}] synced {} {}{}",
            at.sequence,
            at.offset,
            at.end - at.offset,
            header.first_lsn,
            header.end_lsn(),
            header.records,
            flags.join(" "),
            header.synced_through,
            words::time(header.wall_us),
            if behind_break { " BEHIND DAMAGE" } else { "" }
        )
    };
    writeln!(out, "{line}").map_err(write_failed)
}

impl Survey {
    fn take(&mut self, found: &Found<'_>) {
        match found {
            Found::Segment(segment) => self.segments.push(SegmentFigures {
                line: line_of(segment),
                frames: 0,
                records: 0,
                first_lsn: segment.entry.first_lsn,
                end_lsn: 0,
                used_bytes: 0,
                first_us: 0,
                last_us: 0,
            }),
            Found::Frame { header, end, .. } => {
                if let Some(segment) = self.segments.last_mut() {
                    segment.frame(header, *end);
                }
            }
            Found::Record { body, .. } => {
                if let Some(segment) = self.segments.last_mut() {
                    segment.records += 1;
                }
                self.ops(body);
            }
            Found::Break(_) => {}
        }
    }

    fn ops(&mut self, body: &[u8]) {
        let mut ops = Ops::new(body);
        while let Some(Ok(routed)) = ops.next_routed() {
            match routed {
                Routed::Key { key, bytes } => {
                    let len = bytes.len() as u64;
                    self.slots[usize::from(slot_of(key))].add(len);
                    let Ok(AnyOp::Key { space, op, .. }) = AnyOp::decode(bytes) else { continue };
                    self.kinds.entry(words::name(&op)).or_default().add(len);
                    let database = place(self.following.of(space), Some(space));
                    self.databases.entry(database).or_default().add(len);
                }
                Routed::Space(op) => {
                    let name = match op {
                        crate::keyspace::op::SpaceOp::Flush { .. } => "FLUSHDB",
                        crate::keyspace::op::SpaceOp::Swap { .. } => "SWAPDB",
                    };
                    self.kinds.entry(name).or_default().add(0);
                    self.following.apply(&op);
                }
            }
        }
    }

    fn hottest(&self, top: usize) -> Vec<(u64, Sum)> {
        let used = self.slots.iter().zip(0..).filter(|(sum, _)| sum.count > 0);
        let mut used: Vec<_> = used.map(|(sum, slot)| (slot, *sum)).collect();
        used.sort_by_key(|&(slot, sum)| (Reverse(sum.bytes), slot));
        used.truncate(top);
        used
    }

    fn segments_json(&self) -> Json {
        Json::List(self.segments.iter().map(SegmentFigures::json).collect())
    }

    fn segments_text(&self) -> String {
        self.segments.iter().map(|segment| segment.text() + "\n").collect()
    }

    fn json(&self, manifest: Option<&Manifest>, snapshot: &Snapshot, walked: &Walked, top: usize) -> Json {
        let by_name = |sums: &BTreeMap<&'static str, Sum>| {
            Json::List(sums.iter().map(|(name, sum)| sum.json("op", (*name).into())).collect())
        };
        let databases = self.databases.iter().map(|(name, sum)| sum.json("keyspace", name.as_str().into()));
        let slots = self.hottest(top).into_iter().map(|(slot, sum)| sum.json("slot", slot.into()));
        Json::Object(vec![
            ("manifest", manifest.map(manifest_json).unwrap_or(Json::Null)),
            ("first_lsn", walked.first_lsn.into()),
            ("end_lsn", walked.good.map(|good| good.lsn).into()),
            ("segments", self.segments_json()),
            ("ops", by_name(&self.kinds)),
            ("databases", Json::list(databases)),
            ("hottest_slots", Json::list(slots)),
            ("snapshot", snapshot.json()),
            ("breaks", Json::list(walked.breaks.iter().map(break_text))),
        ])
    }

    fn text(&self, manifest: Option<&Manifest>, snapshot: &Snapshot, walked: &Walked, top: usize) -> String {
        let mut text = manifest.map_or("no valid manifest\n".to_owned(), manifest_text);
        text.push_str(&format!(
            "log: LSN {} to {}, {} records\n",
            walked.first_lsn,
            walked.good.map_or(walked.first_lsn, |good| good.lsn),
            self.segments.iter().map(|s| s.records).sum::<u64>(),
        ));
        text.push_str(&self.segments_text());
        let mut sums = |title: &str, rows: Vec<(String, Sum)>| {
            text.push_str(&format!("{title}:\n"));
            for (name, sum) in rows {
                text.push_str(&format!("  {name:<12} {:>12} ops {:>15} bytes\n", sum.count, sum.bytes));
            }
        };
        sums("ops by kind", self.kinds.iter().map(|(name, sum)| ((*name).to_owned(), *sum)).collect());
        sums("ops by database", self.databases.iter().map(|(name, sum)| (name.clone(), *sum)).collect());
        let slots = self.hottest(top).into_iter().map(|(slot, sum)| (format!("slot {slot}"), sum));
        sums("hottest slots", slots.collect());
        text.push_str(&snapshot.text());
        text.push('\n');
        text
    }
}

fn line_of(segment: &Segment) -> SegmentLine {
    let entry = &segment.entry;
    let header = segment.header.as_ref().ok();
    let state = match (segment.is_listed, entry.end, entry.first_lsn) {
        (false, ..) => "not in the manifest",
        (_, Some(_), _) => "ended",
        (_, None, Some(_)) => "begun",
        (_, None, None) => "prepared",
    };
    SegmentLine {
        path: segment.path(),
        state,
        term: entry.term,
        size: entry.size,
        file_len: segment.file_len,
        block: header.map(|h| h.block),
        created_us: header.map(|h| h.created_us),
        fault: segment.header.as_ref().err().cloned(),
    }
}

impl SegmentFigures {
    fn frame(&mut self, header: &Header, end: u64) {
        if self.frames == 0 {
            self.first_us = header.wall_us;
            self.first_lsn = Some(header.first_lsn);
            if self.line.state == "prepared" {
                self.line.state = "begun";
            }
        }
        self.frames += u64::from(!header.flags.contains(Flags::EMPTY));
        self.end_lsn = header.end_lsn();
        self.used_bytes = end;
        self.last_us = header.wall_us;
    }

    /// How the file was written.
    fn mode(&self) -> &'static str {
        match self.line.block {
            Some(8) => "buffered",
            Some(_) => "direct",
            None => "unknown",
        }
    }

    fn json(&self) -> Json {
        let line = &self.line;
        let written = |us| if self.used_bytes > 0 { Json::Number(us) } else { Json::Null };
        Json::Object(vec![
            ("path", line.path.as_str().into()),
            ("state", line.state.into()),
            ("term", line.term.into()),
            ("size", line.size.into()),
            ("file_bytes", line.file_len.into()),
            ("used_bytes", self.used_bytes.into()),
            ("block", line.block.map(u64::from).into()),
            ("mode", self.mode().into()),
            ("created_us", line.created_us.into()),
            ("first_lsn", self.first_lsn.into()),
            ("end_lsn", written(self.end_lsn)),
            ("frames", self.frames.into()),
            ("records", self.records.into()),
            ("first_time_us", written(self.first_us)),
            ("last_time_us", written(self.last_us)),
            ("fault", line.fault.as_deref().into()),
        ])
    }

    fn text(&self) -> String {
        let line = &self.line;
        let mut text = format!(
            "{} {} term {} {} of {} bytes {}",
            line.path,
            line.state,
            line.term,
            self.used_bytes,
            line.size,
            self.mode()
        );
        if let (Some(first), true) = (self.first_lsn, self.used_bytes > 0) {
            text.push_str(&format!(
                " LSN {first}..{} {} frames {} records {} to {}",
                self.end_lsn,
                self.frames,
                self.records,
                words::time(self.first_us),
                words::time(self.last_us)
            ));
        }
        if let Some(fault) = &line.fault {
            text.push_str(&format!(" FAULT: {fault}"));
        }
        text
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The seed stays a secret.
fn manifest_json(manifest: &Manifest) -> Json {
    let terms = manifest
        .terms
        .iter()
        .map(|start| Json::Object(vec![("term", start.term.into()), ("first_lsn", start.first_lsn.into())]));
    Json::Object(vec![
        ("store_id", hex(&manifest.store_id).into()),
        ("generation", manifest.generation.into()),
        ("term", manifest.term.into()),
        ("synced_through", manifest.synced_through.into()),
        ("terms", Json::list(terms)),
    ])
}

fn manifest_text(manifest: &Manifest) -> String {
    let terms = manifest.terms.iter().map(|start| format!("{} from LSN {}", start.term, start.first_lsn));
    format!(
        "store {}, manifest generation {}, term {}, synced through LSN {}\nterms: {}\n",
        hex(&manifest.store_id),
        manifest.generation,
        manifest.term,
        manifest.synced_through,
        terms.collect::<Vec<_>>().join(", ")
    )
}

/// A key's size, largest first; then where it is.
type Ranked = (u64, u32, Vec<u8>, &'static str);

fn keys(
    disk: &dyn Disk,
    clock: &dyn Clock,
    top: usize,
    json: bool,
    out: &mut dyn Write,
) -> Result<(i32, Option<String>), StoreError> {
    let loaded = load::load(disk, clock)?;
    let (code, why) = match loaded.verdict {
        Verdict::Opens(_) => (GOOD, loaded.fallback.map(|fallback| fallback.to_string())),
        Verdict::Empty => return Ok((CANNOT_TELL, Some("there is no store here".to_owned()))),
        Verdict::CannotTell(error) => return Err(error),
        Verdict::Damaged(error) => (DAMAGED, Some(format!("{error}. The keys before the damage are shown"))),
    };
    let mut types: BTreeMap<(u32, &'static str), Sum> = BTreeMap::new();
    let mut biggest = BinaryHeap::<Reverse<Ranked>>::new();
    let mut buffer = Vec::new();
    let visit = &mut |db: u32, entry: &Entry| {
        let bytes = encoded_bytes(entry, &mut buffer);
        let kind = entry.kind().name();
        types.entry((db, kind)).or_default().add(bytes);
        if biggest.len() < top || biggest.peek().is_some_and(|Reverse(least)| least.0 < bytes) {
            biggest.push(Reverse((bytes, db, entry.key().to_vec(), kind)));
            if biggest.len() > top {
                biggest.pop();
            }
        }
        Ok::<(), StoreError>(())
    };
    if let Some(keyspace) = &loaded.keyspace {
        load::each_key(keyspace, visit)?;
    }
    // Reversed: ascending is from the largest on.
    let biggest: Vec<Ranked> = biggest.into_sorted_vec().into_iter().map(|Reverse(ranked)| ranked).collect();
    let text =
        if json { keys_json(&types, &biggest).to_string() + "\n" } else { keys_text(&types, &biggest) };
    write!(out, "{text}").map_err(write_failed)?;
    Ok((code, why))
}

/// Bytes of the ops that make the key.
fn encoded_bytes(entry: &Entry, buffer: &mut Vec<u8>) -> u64 {
    let key = entry.key().len() as u64;
    let Some(value) = entry.as_value() else {
        return key + entry.as_string().map_or(0, |s| s.len() as u64);
    };
    let mut bytes = key;
    value.rebuild(&mut |op| {
        buffer.clear();
        encode_key_op(buffer, 0, b"", &op);
        bytes += buffer.len() as u64;
    });
    bytes
}

fn keys_json(types: &BTreeMap<(u32, &'static str), Sum>, biggest: &[Ranked]) -> Json {
    let types = types.iter().map(|(&(db, kind), sum)| {
        Json::Object(vec![
            ("db", u64::from(db).into()),
            ("type", kind.into()),
            ("keys", sum.count.into()),
            ("bytes", sum.bytes.into()),
        ])
    });
    let biggest = biggest.iter().map(|(bytes, db, key, kind)| {
        Json::Object(vec![
            ("db", u64::from(*db).into()),
            ("key", Json::bytes(key)),
            ("type", (*kind).into()),
            ("slot", u64::from(slot_of(key)).into()),
            ("bytes", (*bytes).into()),
        ])
    });
    Json::Object(vec![("types", Json::list(types)), ("biggest", Json::list(biggest))])
}

fn keys_text(types: &BTreeMap<(u32, &'static str), Sum>, biggest: &[Ranked]) -> String {
    let mut text = String::from("keys by type:\n");
    for ((db, kind), sum) in types {
        text.push_str(&format!("  db{db} {kind:<8} {:>12} keys {:>15} bytes\n", sum.count, sum.bytes));
    }
    text.push_str("biggest keys:\n");
    for (bytes, db, key, kind) in biggest {
        let key_text = words::line(std::slice::from_ref(key));
        text.push_str(&format!("  {bytes:>15} bytes db{db} {kind} {key_text} (slot {})\n", slot_of(key)));
    }
    text
}
