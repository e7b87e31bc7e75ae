//! `duramen check`: is this directory whole, and if not, what is at stake?
//!
//! "Good" is recovery's own judgement, found by its own code: good here means that a server starts and finds as many records.
//! It changes nothing.

use std::fmt::Write;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::log::RecoveryReport;
use crate::log::survey::{self, Verdict};

use super::json::Json;
use super::kept;
use super::load;
use super::snapshot::Snapshot;
use super::stake::Stake;
use super::{CANNOT_TELL, DAMAGED, GOOD, WARNINGS};

/// What was found.
pub struct Report {
    /// Each copy of the manifest: its generation, or what is wrong with it.
    pub copies: Vec<(&'static str, Result<u64, String>)>,
    pub outcome: Outcome,
    /// Records that were read.
    pub records: u64,
    /// Database, keys, and how many of them expire.
    pub databases: Vec<(u32, u64, u64)>,
    pub warnings: Vec<String>,
    pub snapshot: Snapshot,
}

pub enum Outcome {
    Good(Box<RecoveryReport>),
    Damaged { error: StoreError, stake: Box<Stake> },
    CannotTell(String),
}

/// Verifies a directory.
pub fn check(disk: &dyn Disk, clock: &dyn Clock) -> Result<Report, StoreError> {
    let copies = survey::copies(disk)?;
    let newest = copies.iter().filter_map(|c| c.manifest.as_ref().ok()).max_by_key(|m| m.generation);
    let mut snapshot = Snapshot::find(disk, newest);
    let loaded = load::load(disk, clock)?;
    let mut warnings = Vec::new();
    let outcome = match loaded.verdict {
        Verdict::Empty => {
            Outcome::CannotTell("there is no store here: neither a manifest nor a log".to_owned())
        }
        Verdict::Opens(report) => {
            warn_of_copies(&copies, &mut warnings);
            warnings.extend(orphans(disk)?);
            if let Some(fallback) = &loaded.fallback {
                warnings.push(fallback.to_string());
            }
            if let Some(manifest) = newest {
                kept::look(disk, manifest, &mut warnings)?;
            }
            if let Some(torn) = &report.torn {
                warnings.push(torn_text(torn));
            }
            Outcome::Good(report)
        }
        Verdict::Damaged(error) => {
            let stake = Stake::assess(disk, loaded.misfit)?;
            Outcome::Damaged { error, stake: Box::new(stake) }
        }
        Verdict::CannotTell(error) => Outcome::CannotTell(error.to_string()),
    };
    snapshot.verified = matches!(outcome, Outcome::Good(_));
    let mut databases: Vec<(u32, u64, u64)> = Vec::new();
    if let (Some(keyspace), Outcome::Good(_)) = (&loaded.keyspace, &outcome) {
        let Ok(()) = load::each_key::<std::convert::Infallible>(keyspace, &mut |db, entry| {
            if databases.last().is_none_or(|&(last, ..)| last != db) {
                databases.push((db, 0, 0));
            }
            if let Some((_, keys, expiring)) = databases.last_mut() {
                *keys += 1;
                *expiring += u64::from(entry.expire_at().is_some());
            }
            Ok(())
        });
    }
    let copies = copies.into_iter().map(|c| (c.path, c.manifest.map(|m| m.generation))).collect();
    Ok(Report { copies, outcome, records: loaded.records, databases, warnings, snapshot })
}

fn warn_of_copies(copies: &[survey::ManifestCopy], warnings: &mut Vec<String>) {
    let mut generations = Vec::new();
    for copy in copies {
        match &copy.manifest {
            Ok(manifest) => generations.push(manifest.generation),
            Err(why) => warnings.push(format!("{}: {why}; the other copy is used", copy.path)),
        }
    }
    if generations.windows(2).any(|pair| pair[0] != pair[1]) {
        let why = "the copies of the manifest are of different generations: a replacement was interrupted";
        warnings.push(why.to_owned());
    }
}

fn orphans(disk: &dyn Disk) -> Result<Vec<String>, StoreError> {
    let orphans = survey::list(disk)?.orphans;
    let path = crate::log::segment::path;
    let text = |sequence| format!("{} holds nothing of the log; the next start removes it", path(sequence));
    Ok(orphans.into_iter().map(text).collect())
}

fn torn_text(torn: &crate::log::Torn) -> String {
    let acknowledged = if torn.possibly_acknowledged {
        "; the very last writes may have been acknowledged"
    } else {
        "; they were never finished"
    };
    format!(
        "{}, offset {}: an unfinished tail of {} bytes; the next start cuts it{acknowledged}",
        torn.file, torn.offset, torn.bytes
    )
}

impl Report {
    pub fn exit_code(&self) -> i32 {
        match &self.outcome {
            Outcome::Good(_) if self.warnings.is_empty() => GOOD,
            Outcome::Good(_) => WARNINGS,
            Outcome::Damaged { .. } => DAMAGED,
            Outcome::CannotTell(_) => CANNOT_TELL,
        }
    }

    fn verdict(&self) -> &'static str {
        match self.exit_code() {
            GOOD => "good",
            WARNINGS => "good with warnings",
            DAMAGED => "damaged",
            _ => "cannot tell",
        }
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for (path, generation) in &self.copies {
            match generation {
                Ok(generation) => _ = writeln!(text, "{path}: generation {generation}"),
                Err(why) => _ = writeln!(text, "{path}: {why}"),
            }
        }
        match &self.outcome {
            Outcome::Good(report) => {
                let first = report.end_lsn - report.bytes;
                let _ = writeln!(
                    text,
                    "log: {} records, LSN {first} to {}, in {} segments; term {}",
                    report.records, report.end_lsn, report.segments, report.term
                );
                for (db, keys, expiring) in &self.databases {
                    let _ = writeln!(text, "db{db}: {keys} keys, {expiring} with an expiry");
                }
                let _ = writeln!(text, "{}", self.snapshot.text());
            }
            Outcome::Damaged { error, stake } => {
                let _ = writeln!(text, "{error}");
                text.push_str(&stake.text());
            }
            Outcome::CannotTell(why) => _ = writeln!(text, "{why}"),
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "warning: {warning}");
        }
        let _ = writeln!(text, "{}", self.verdict());
        text
    }

    pub fn json(&self) -> Json {
        let copies = self.copies.iter().map(|(path, generation)| {
            Json::Object(vec![
                ("path", (*path).into()),
                ("generation", generation.as_ref().ok().copied().into()),
                ("fault", generation.as_ref().err().map(String::as_str).into()),
            ])
        });
        let databases = self.databases.iter().map(|&(db, keys, expiring)| {
            Json::Object(vec![
                ("db", u64::from(db).into()),
                ("keys", keys.into()),
                ("expiring", expiring.into()),
            ])
        });
        let mut fields = vec![
            ("verdict", self.verdict().into()),
            ("exit_code", (self.exit_code() as u64).into()),
            ("manifests", Json::list(copies)),
            ("records", self.records.into()),
            ("databases", Json::list(databases)),
            ("warnings", Json::list(self.warnings.iter().map(String::as_str))),
            ("snapshot", self.snapshot.json()),
        ];
        match &self.outcome {
            Outcome::Good(report) => fields.push(("log", log_json(report))),
            Outcome::Damaged { error, stake } => {
                fields.push(("error", error.to_string().into()));
                fields.push(("damage", stake.extent.json()));
                fields.push(("snapshot_damage", stake.snapshot_json()));
            }
            Outcome::CannotTell(why) => fields.push(("error", why.as_str().into())),
        }
        Json::Object(fields)
    }
}

fn log_json(report: &RecoveryReport) -> Json {
    let torn = report.torn.as_ref().map(|torn| {
        Json::Object(vec![
            ("file", torn.file.as_str().into()),
            ("offset", torn.offset.into()),
            ("bytes", torn.bytes.into()),
            ("possibly_acknowledged", torn.possibly_acknowledged.into()),
        ])
    });
    Json::Object(vec![
        ("term", report.term.into()),
        ("first_lsn", (report.end_lsn - report.bytes).into()),
        ("end_lsn", report.end_lsn.into()),
        ("segments", report.segments.into()),
        ("last_wall_us", report.last_wall_us.into()),
        ("torn", torn.into()),
    ])
}
