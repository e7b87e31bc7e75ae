//! `duramen dump`: the records of the log, or the keys they made, as readable commands.

use std::io::Write;

use crate::clock::Clock;
use crate::codec::Malformed;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::glob;
use crate::keyspace::entry::Entry;
use crate::keyspace::op::{AnyOp, LIBRARIES, Op, Ops, SpaceId, SpaceOp};
use crate::log::survey::{self, Found, Verdict};
use crate::log::{Lsn, Recovered};
use crate::snapshot::retained::Catalogs;
use crate::types::string::value::StringOp;

use super::json::Json;
use super::output::Progress;
use super::words::{self, Databases, Words, place};
use super::{CANNOT_TELL, DAMAGED, GOOD, key_commands, load, write_failed};

/// What to show. All bounds are of records: a record is shown when it ends behind `from_lsn` and at most at `to_lsn`.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub from_lsn: Option<Lsn>,
    pub to_lsn: Option<Lsn>,
    pub from_us: Option<u64>,
    /// Up to and including.
    pub to_us: Option<u64>,
    /// Redis' glob pattern.
    pub key: Option<Vec<u8>>,
    pub db: Option<u32>,
}

impl Filter {
    fn wants_record(&self, lsn_end: Lsn, wall_us: u64) -> bool {
        self.from_lsn.is_none_or(|from| lsn_end > from)
            && self.to_lsn.is_none_or(|to| lsn_end <= to)
            && self.from_us.is_none_or(|from| wall_us >= from)
            && self.to_us.is_none_or(|to| wall_us <= to)
    }

    pub(super) fn wants_key(&self, key: &[u8]) -> bool {
        self.key.as_ref().is_none_or(|pattern| pattern == b"*" || glob::matches(pattern, key))
    }

    pub(super) fn wants_db(&self, db: Option<u32>) -> bool {
        self.db.is_none() || self.db == db
    }

    /// Ops on databases concern every key in them.
    fn wants(&self, op: &Result<AnyOp<'_>, Malformed>, databases: &Databases) -> bool {
        match op {
            Ok(AnyOp::Key { space, key, op }) => {
                let to = if let Op::Rename { to } = op { Some(*to) } else { None };
                self.wants_db(databases.of(*space))
                    && (self.wants_key(key) || to.is_some_and(|to| self.wants_key(to)))
            }
            Ok(AnyOp::Space(SpaceOp::Flush { db, .. })) => self.wants_db(Some(*db)),
            Ok(AnyOp::Space(SpaceOp::Swap { a, b })) => self.wants_db(Some(*a)) || self.wants_db(Some(*b)),
            Err(_) => true,
        }
    }
}

struct Dump<'a> {
    filter: &'a Filter,
    json: bool,
    out: &'a mut dyn Write,
    databases: Databases,
    records: u64,
}

/// Writes the records; returns the exit code, and why if it is not [`GOOD`].
pub fn records(
    disk: &dyn Disk,
    clock: &dyn Clock,
    filter: &Filter,
    json: bool,
    out: &mut dyn Write,
) -> Result<(i32, Option<String>), StoreError> {
    let mut dump = Dump { filter, json, out, databases: Databases::default(), records: 0 };
    let mut progress = Progress::new(clock, "reading");
    let verdict = survey::judge(disk, &mut |recovered| {
        match recovered {
            Recovered::Record { lsn_end, wall_us, body } => dump.record(lsn_end, wall_us, body)?,
            Recovered::Progress { bytes_done, bytes_total } => progress.show(bytes_done, bytes_total),
            Recovered::Begin { sections, first_lsn, from, .. } => {
                // All that is there: what `log-retain` keeps, too.
                let catalogs = Catalogs::of(sections)?;
                let oldest = catalogs.oldest_connected(first_lsn);
                dump.databases = Databases::of_snapshot(oldest);
                *from = oldest.through;
            }
            Recovered::End => {}
        }
        Ok(())
    });
    match verdict {
        Verdict::Opens(_) => Ok((GOOD, None)),
        Verdict::Empty => Ok((CANNOT_TELL, Some("there is no store here".to_owned()))),
        Verdict::CannotTell(error) => Err(error),
        Verdict::Damaged(error) => {
            if dump.records == 0 {
                dump.good_part(disk)?;
            }
            Ok((DAMAGED, Some(format!("{error}. The records before the damage are shown"))))
        }
    }
}

impl Dump<'_> {
    /// Where recovery refuses before it reads anything.
    fn good_part(&mut self, disk: &dyn Disk) -> Result<(), StoreError> {
        let listing = survey::list(disk)?;
        survey::walk(disk, &listing, None, &mut |found| match found {
            Found::Record { lsn_end, wall_us, body, behind_break: false } => {
                self.record(lsn_end, wall_us, body)
            }
            _ => Ok(()),
        })?;
        Ok(())
    }

    fn record(&mut self, lsn_end: Lsn, wall_us: u64, body: &[u8]) -> Result<(), StoreError> {
        self.records += 1;
        let wanted = self.filter.wants_record(lsn_end, wall_us);
        let total = if wanted { Ops::new(body).count() } else { 0 };
        let mut shown = Vec::new();
        for (op, number) in Ops::new(body).zip(1..) {
            if wanted && self.filter.wants(&op, &self.databases) {
                self.op(&op, (number, total), lsn_end, wall_us, &mut shown)?;
            }
            if let Ok(AnyOp::Space(op)) = op {
                self.databases.apply(&op);
            }
        }
        if !shown.is_empty() {
            let record = Json::Object(vec![
                ("lsn", lsn_end.into()),
                ("time_us", wall_us.into()),
                ("ops_total", (total as u64).into()),
                ("ops", Json::List(shown)),
            ]);
            writeln!(self.out, "{record}").map_err(write_failed)?;
        }
        Ok(())
    }

    fn op(
        &mut self,
        op: &Result<AnyOp<'_>, Malformed>,
        (number, total): (u64, usize),
        lsn_end: Lsn,
        wall_us: u64,
        shown: &mut Vec<Json>,
    ) -> Result<(), StoreError> {
        let (db, space, command) = self.in_words(op);
        if self.json {
            shown.push(Json::Object(vec![
                ("number", number.into()),
                ("db", db.map(u64::from).into()),
                ("space", space.map(u64::from).into()),
                ("command", Json::list(command.iter().map(|word| Json::bytes(word)))),
            ]));
            return Ok(());
        }
        let (time, command) = (words::time(wall_us), words::line(&command));
        let place = place(db, space);
        writeln!(self.out, "{lsn_end} {time} {number}/{total} {place} {command}").map_err(write_failed)
    }

    fn in_words(&self, op: &Result<AnyOp<'_>, Malformed>) -> (Option<u32>, Option<SpaceId>, Words) {
        match op {
            Ok(AnyOp::Key { space: LIBRARIES, key, op }) => {
                (None, Some(LIBRARIES), words::of_library_op(key, op))
            }
            Ok(AnyOp::Key { space, key, op }) => {
                (self.databases.of(*space), Some(*space), words::of_op(key, op))
            }
            Ok(AnyOp::Space(op)) => {
                let (SpaceOp::Flush { db, .. } | SpaceOp::Swap { a: db, .. }) = op;
                (Some(*db), None, words::of_space_op(op))
            }
            Err(malformed) => (None, None, vec![b"MALFORMED".to_vec(), malformed.0.as_bytes().to_vec()]),
        }
    }
}

/// Writes commands that make the keys; returns as [`records`].
pub fn keys(
    disk: &dyn Disk,
    clock: &dyn Clock,
    filter: &Filter,
    json: bool,
    out: &mut dyn Write,
) -> Result<(i32, Option<String>), StoreError> {
    let loaded = load::load(disk, clock)?;
    let keyspace = match (loaded.verdict, loaded.keyspace) {
        (Verdict::Opens(_), Some(keyspace)) => keyspace,
        (Verdict::Damaged(error), _) => return Ok((DAMAGED, Some(error.to_string()))),
        (Verdict::CannotTell(error), _) => return Err(error),
        _ => return Ok((CANNOT_TELL, Some("there is no store here".to_owned()))),
    };
    let all_databases = filter.wants_db(None);
    load::each_library(&keyspace, &mut |library| {
        let (name, value) = (library.key(), library.as_string().unwrap_or_default());
        if !all_databases || !filter.wants_key(name) {
            return Ok(());
        }
        let words = words::of_library_op(name, &Op::String(StringOp::Set { value, expire_at: None }));
        let line = if json { library_json(name, &words).to_string() } else { words::line(&words) };
        writeln!(out, "{line}").map_err(write_failed)
    })?;
    // Where a server that has just been connected to begins.
    let mut selected = 0;
    load::each_key(&keyspace, &mut |db, entry| {
        if !filter.wants_db(Some(db)) || !filter.wants_key(entry.key()) {
            return Ok(());
        }
        if json {
            return writeln!(out, "{}", key_json(db, entry)).map_err(write_failed);
        }
        if selected != db {
            selected = db;
            writeln!(out, "SELECT {db}").map_err(write_failed)?;
        }
        key_commands::each(entry, &mut |words| writeln!(out, "{}", words::line(&words)).map_err(write_failed))
    })?;
    Ok((GOOD, loaded.fallback.map(|fallback| fallback.to_string())))
}

fn library_json(name: &[u8], words: &Words) -> Json {
    let command = Json::list(words.iter().map(|word| Json::bytes(word)));
    Json::Object(vec![("library", Json::bytes(name)), ("commands", Json::list([command]))])
}

fn key_json(db: u32, entry: &Entry) -> Json {
    let mut all = Vec::new();
    let Ok(()) = key_commands::each::<std::convert::Infallible>(entry, &mut |words| {
        all.push(Json::list(words.iter().map(|word| Json::bytes(word))));
        Ok(())
    });
    Json::Object(vec![
        ("db", u64::from(db).into()),
        ("key", Json::bytes(entry.key())),
        ("type", entry.kind().name().into()),
        ("expire_at_ms", entry.expire_at().into()),
        ("commands", Json::List(all)),
    ])
}
