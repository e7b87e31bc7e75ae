//! How far a damaged log is good, and what can still be read behind.

use std::collections::BTreeMap;

use crate::disk::Disk;
use crate::error::StoreError;
use crate::keyspace::op::{AnyOp, LIBRARIES, Ops};
use crate::log::Lsn;
use crate::log::survey::{self, Break, Found, Listing, Walked};

use super::json::Json;
use super::words;

/// Keys behind the damage are remembered up to here; there may be more.
const KEYS_MAX: usize = 100_000;

/// A record behind the damage.
pub struct LostRecord<'a> {
    pub lsn_end: Lsn,
    pub wall_us: u64,
    pub body: &'a [u8],
}

/// The extent of the damage.
pub struct Assessment {
    pub listing: Listing,
    pub walked: Walked,
    /// Whole records before the damage, and the LSN behind the last of them.
    pub good_records: u64,
    pub good_lsn: Lsn,
    /// Behind it: whole records that can be read.
    pub lost_records: u64,
    /// The largest position that anything in the directory speaks of.
    pub lost_through: Lsn,
    /// Keys that those records change, and how often.
    pub keys: BTreeMap<Vec<u8>, u64>,
    pub has_more_keys: bool,
    /// Libraries of functions that they change, and how often.
    pub libraries: BTreeMap<Vec<u8>, u64>,
}

/// Walks the log to its last readable record. `refuse_at` as in [`survey::walk`]; `lost` is told each record behind the damage.
pub fn assess(
    disk: &dyn Disk,
    refuse_at: Option<Lsn>,
    lost: &mut dyn FnMut(&LostRecord<'_>) -> Result<(), StoreError>,
) -> Result<Assessment, StoreError> {
    let listing = survey::list(disk)?;
    let (mut keys, mut libraries) = (BTreeMap::new(), BTreeMap::new());
    let mut has_more_keys = false;
    let (mut good_records, mut lost_records, mut through) = (0, 0, 0);
    let walked = survey::walk(disk, &listing, refuse_at, &mut |found| {
        match found {
            Found::Record { behind_break: false, .. } => good_records += 1,
            Found::Record { lsn_end, wall_us, body, .. } => {
                lost_records += 1;
                has_more_keys |= note_keys(body, &mut keys, &mut libraries);
                lost(&LostRecord { lsn_end, wall_us, body })?;
            }
            Found::Frame { header, .. } => through = through.max(header.end_lsn()),
            Found::Segment(_) | Found::Break(_) => {}
        }
        Ok(())
    })?;
    let good_lsn = walked.good.map_or(walked.first_lsn, |cut| cut.lsn);
    let manifest = listing.manifest.as_ref();
    let ends = manifest.iter().flat_map(|m| &m.segments).filter_map(|s| s.end.map(|end| end.lsn));
    let told = ends.chain(manifest.map(|m| m.synced_through)).max().unwrap_or(0);
    let lost_through = through.max(told).max(good_lsn);
    Ok(Assessment {
        listing,
        walked,
        good_records,
        good_lsn,
        lost_records,
        lost_through,
        keys,
        has_more_keys,
        libraries,
    })
}

/// Whether there were more than are remembered.
fn note_keys(body: &[u8], keys: &mut BTreeMap<Vec<u8>, u64>, libraries: &mut BTreeMap<Vec<u8>, u64>) -> bool {
    let mut is_full = false;
    for op in Ops::new(body).flatten() {
        if let AnyOp::Key { space, key, .. } = op {
            let keys = if space == LIBRARIES { &mut *libraries } else { &mut *keys };
            if let Some(count) = keys.get_mut(key) {
                *count += 1;
            } else if keys.len() < KEYS_MAX {
                keys.insert(key.to_vec(), 1);
            } else {
                is_full = true;
            }
        }
    }
    is_full
}

impl Assessment {
    /// The first place that does not go on as it must, as far as the walk saw one.
    pub fn first(&self) -> Option<&Break> {
        self.walked.breaks.first().or(self.walked.tail.as_ref())
    }

    /// What is at stake, in lines.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for at in &self.walked.breaks {
            text.push_str(&format!("  {}, offset {}: {}\n", at.file, at.offset, at.reason));
        }
        let more = if self.has_more_keys { "more than " } else { "" };
        let libraries = match self.libraries.len() {
            0 => String::new(),
            count => format!(" and {count} libraries of functions"),
        };
        text.push_str(&format!(
            "  good: LSN {} to {}, {} records\n  at stake: LSN {} to {} ({} bytes); {} whole records can still be read there, \
             they change {more}{} keys{libraries}\n",
            self.walked.first_lsn,
            self.good_lsn,
            self.good_records,
            self.good_lsn,
            self.lost_through,
            self.lost_through - self.good_lsn,
            self.lost_records,
            self.keys.len(),
        ));
        text
    }

    pub fn json(&self) -> Json {
        let places = self.walked.breaks.iter().map(|at| {
            Json::Object(vec![
                ("file", at.file.as_str().into()),
                ("offset", at.offset.into()),
                ("lsn", at.lsn.into()),
                ("reason", at.reason.as_str().into()),
            ])
        });
        Json::Object(vec![
            ("places", Json::list(places)),
            ("good_first_lsn", self.walked.first_lsn.into()),
            ("good_end_lsn", self.good_lsn.into()),
            ("good_records", self.good_records.into()),
            ("lost_through_lsn", self.lost_through.into()),
            ("readable_records_behind", self.lost_records.into()),
            ("keys_behind", (self.keys.len() as u64).into()),
            ("keys_behind_is_a_lower_bound", self.has_more_keys.into()),
            ("libraries_behind", (self.libraries.len() as u64).into()),
        ])
    }
}

/// A record in one line: its position, time, and the beginning of what it does.
pub fn in_one_line(record: &LostRecord<'_>) -> String {
    const WORDS_MAX: usize = 100;
    let mut ops = Ops::new(record.body);
    let first = match ops.next() {
        Some(Ok(AnyOp::Key { space: LIBRARIES, key, op })) => words::line(&words::of_library_op(key, &op)),
        Some(Ok(AnyOp::Key { key, op, .. })) => words::line(&words::of_op(key, &op)),
        Some(Ok(AnyOp::Space(op))) => words::line(&words::of_space_op(&op)),
        Some(Err(malformed)) => format!("({malformed})"),
        None => "(nothing)".to_owned(),
    };
    // Escaped text is ASCII: any length is between two characters.
    let cut = if first.len() > WORDS_MAX { format!("{}...", &first[..WORDS_MAX]) } else { first };
    let more = match ops.count() {
        0 => String::new(),
        more => format!(" and {more} more ops"),
    };
    format!("LSN {} {} {cut}{more}", record.lsn_end, words::time(record.wall_us))
}
