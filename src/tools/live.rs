//! `duramen check --live`: is what a running server has in memory what its disk says?
//!
//! The server gives the digest of each slot with the LSN at which it was taken, slot after slot while clients write. Then it makes a
//! backup, which is replayed here by recovery's own code; when the replay has reached a slot's LSN, exactly that far, the slot's digest
//! must be the same. So no moment of quiet is needed, and nothing is compared "about then".
//!
//! What it does **not** promise: to notice a difference that was there and is gone again, or one that a digest does not show (the time
//! of last access, representations).

use std::collections::BTreeMap;
use std::io::Write;

use crate::clock::Clock;
use crate::disk::{Disk, OsDisk, plain};
use crate::error::StoreError;
use crate::keyspace::digest::{self, Digest};
use crate::keyspace::hash::SLOTS;
use crate::keyspace::{DATABASES_MAX, Keyspace};
use crate::log::survey::{self, Verdict};
use crate::log::{Lsn, Recovered};
use crate::recovery::{Failure, Replay, snapshot};
use crate::resp::client::Value;

use super::connect::Server;
use super::json::Json;
use super::load::THREADS_MAX;
use super::output::Progress;
use super::{DAMAGED, Done, GOOD, write_failed};

/// Slots asked for at once: a server with a worker's share of large slots must not be kept busy for long.
const SLOTS_PER_CALL: u16 = 32;
/// A compaction between the digests and the backup makes the state at the digests' LSNs unknowable: then all is asked again.
const ATTEMPTS: u32 = 8;
/// Differing slots whose keys are looked at.
const SLOTS_SHOWN: usize = 16;
/// Differing keys that are named.
const KEYS_SHOWN: usize = 100;

/// What a server says of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub slot: u16,
    pub lsn: Lsn,
    pub digest: Digest,
}

/// Digests of a slot's keys, by database and key.
pub type Keys = BTreeMap<(u32, Vec<u8>), Digest>;

/// A key that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub slot: u16,
    pub db: u32,
    pub key: Vec<u8>,
    pub in_memory: bool,
    pub on_disk: bool,
}

/// Calls `visit` with the number of each position, in their order, when the replay of a directory has reached it: with all records up
/// to there and none behind. `positions` ascend. Returns how many come before the snapshot's end, so that they could not be visited.
pub fn replay_to_each(
    disk: &dyn Disk,
    clock: &dyn Clock,
    positions: &[Lsn],
    visit: &mut dyn FnMut(usize, &Keyspace),
) -> Result<usize, StoreError> {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS_MAX));
    let mut progress = Progress::new(clock, "replaying");
    let mut replay: Option<Replay> = None;
    let (mut next, mut too_old) = (0, 0);
    let misfit = |Failure { at, error }| {
        StoreError::Refused(format!("the record that ends at LSN {} cannot be applied: {error}", at.lsn_end))
    };
    let verdict = survey::judge(disk, &mut |recovered| match (recovered, &mut replay) {
        (Recovered::Begin { seed, sections, first_lsn, from }, _) => {
            crate::types::member_table::set_seed(seed.0);
            let fresh = || Keyspace::new(DATABASES_MAX, seed.0);
            let begun = snapshot::begin(disk, sections, first_lsn, &fresh, threads)?;
            let keyspace = begun.keyspace;
            *from = begun.catalogs.current.through;
            too_old = positions.partition_point(|&lsn| lsn < *from);
            next = too_old;
            replay =
                Some(Replay::new(keyspace, threads).map_err(StoreError::io("start the threads of replay"))?);
            Ok(())
        }
        (Recovered::Record { lsn_end, body, .. }, Some(replay)) => {
            if positions.get(next).is_some_and(|&lsn| lsn < lsn_end) {
                replay.settle().map_err(misfit)?;
                while positions.get(next).is_some_and(|&lsn| lsn < lsn_end) {
                    visit(next, replay.keyspace());
                    next += 1;
                }
            }
            replay.record(lsn_end, body).map_err(misfit)
        }
        (Recovered::Progress { bytes_done, bytes_total }, _) => {
            progress.show(bytes_done, bytes_total);
            Ok(())
        }
        (Recovered::End, Some(replay)) => replay.settle().map_err(misfit),
        (Recovered::Record { .. } | Recovered::End, None) => Ok(()),
    });
    let report = match verdict {
        Verdict::Opens(report) => report,
        Verdict::Empty => return Err(StoreError::Refused("the backup is empty".to_owned())),
        Verdict::Damaged(error) | Verdict::CannotTell(error) => return Err(error),
    };
    let keyspace = replay.expect("a log that opens says whose it is").finish().map_err(misfit)?;
    for (number, &lsn) in positions.iter().enumerate().skip(next) {
        if lsn > report.end_lsn {
            return Err(StoreError::Refused(format!(
                "the backup ends at LSN {}, and is asked for LSN {lsn}",
                report.end_lsn
            )));
        }
        visit(number, &keyspace);
    }
    Ok(too_old)
}

/// What came of a comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    pub equal: usize,
    pub differing: Vec<u16>,
    /// Slots of which the directory has no state as old as they were seen.
    pub too_old: Vec<u16>,
}

/// Compares slots, each as of the LSN at which it was seen, with a directory.
pub fn compare(disk: &dyn Disk, clock: &dyn Clock, mut seen: Vec<Seen>) -> Result<Compared, StoreError> {
    seen.sort_by_key(|slot| (slot.lsn, slot.slot));
    let positions: Vec<Lsn> = seen.iter().map(|slot| slot.lsn).collect();
    let mut compared = Compared::default();
    let too_old = replay_to_each(disk, clock, &positions, &mut |number, keyspace| {
        let Seen { slot, digest, .. } = seen[number];
        let held = digest::lock_slot(keyspace, slot);
        if digest::of_slot(keyspace, &held.shelf(slot).stripe, slot) == digest {
            compared.equal += 1;
        } else {
            compared.differing.push(slot);
        }
    })?;
    compared.too_old = seen[..too_old].iter().map(|slot| slot.slot).collect();
    compared.differing.sort_unstable();
    Ok(compared)
}

/// Compares the keys of slots, each as of the LSN at which they were seen, with a directory.
pub fn differences(
    disk: &dyn Disk,
    clock: &dyn Clock,
    mut seen: Vec<(Lsn, u16, Keys)>,
) -> Result<Vec<Difference>, StoreError> {
    seen.sort_by_key(|(lsn, slot, _)| (*lsn, *slot));
    let positions: Vec<Lsn> = seen.iter().map(|(lsn, ..)| *lsn).collect();
    let mut found = Vec::new();
    replay_to_each(disk, clock, &positions, &mut |number, keyspace| {
        let (_, slot, in_memory) = &seen[number];
        let held = digest::lock_slot(keyspace, *slot);
        let mut on_disk = Keys::new();
        digest::each_in_slot(keyspace, &held.shelf(*slot).stripe, *slot, &mut |db, entry| {
            on_disk.insert((db, entry.key().to_vec()), digest::of_key(db, entry));
        });
        let all: std::collections::BTreeSet<_> = in_memory.keys().chain(on_disk.keys()).collect();
        for name in all {
            let digests = (in_memory.get(name), on_disk.get(name));
            if digests.0 != digests.1 {
                let (db, key) = name.clone();
                let (in_memory, on_disk) = (digests.0.is_some(), digests.1.is_some());
                found.push(Difference { slot: *slot, db, key, in_memory, on_disk });
            }
        }
    })?;
    Ok(found)
}

/// The directory into which backups are made, removed with all that is in it.
struct Scratch(String);

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = plain::remove_tree(&self.0);
    }
}

/// A backup of this moment, opened for reading.
fn backed_up(server: &mut Server, scratch: &str) -> Result<(OsDisk, Scratch), StoreError> {
    let guard = Scratch(scratch.to_owned());
    let made = server.backup(scratch, false)?;
    let disk = OsDisk::open_existing(scratch.into()).map_err(|error| {
        StoreError::Refused(format!(
            "the server's backup through LSN {} in {scratch} cannot be read here ({error}). Run this on the server's machine as its \
             user, and remove that directory there",
            made.lsn
        ))
    })?;
    Ok((disk, guard))
}

/// What the whole check came to.
#[derive(Debug, Default)]
struct Report {
    equal: usize,
    differing: Vec<u16>,
    keys: Vec<Difference>,
    backups: u32,
    /// LSNs at which slots were looked at.
    first_lsn: Lsn,
    last_lsn: Lsn,
    took_ms: u64,
}

/// Checks a running server. `scratch`: a directory that is not there, on a disk with room for what is not linked.
pub fn check(server: &mut Server, scratch: &str, json: bool, clock: &dyn Clock, out: &mut dyn Write) -> Done {
    let started = clock.monotonic();
    let mut report = Report { first_lsn: Lsn::MAX, ..Report::default() };
    let mut slots: Vec<u16> = (0..SLOTS as u16).collect();
    while !slots.is_empty() {
        if report.backups == ATTEMPTS {
            return Err(StoreError::Refused(format!(
                "{} slots could not be compared: each time the log was compacted in between. Try again when the server has less to \
                 do, or with auto-aof-rewrite-percentage 0",
                slots.len()
            )));
        }
        let seen = ask(server, &slots)?;
        report.first_lsn = seen.iter().map(|slot| slot.lsn).fold(report.first_lsn, Lsn::min);
        report.last_lsn = seen.iter().map(|slot| slot.lsn).fold(report.last_lsn, Lsn::max);
        let (disk, _guard) = backed_up(server, scratch)?;
        report.backups += 1;
        let compared = compare(&disk, clock, seen)?;
        report.equal += compared.equal;
        report.differing.extend(compared.differing);
        slots = compared.too_old;
    }
    report.differing.sort_unstable();
    if !report.differing.is_empty() {
        let shown = &report.differing[..report.differing.len().min(SLOTS_SHOWN)];
        let seen = shown.iter().map(|&slot| ask_keys(server, slot)).collect::<Result<_, _>>()?;
        let (disk, _guard) = backed_up(server, scratch)?;
        report.backups += 1;
        report.keys = differences(&disk, clock, seen)?;
    }
    report.took_ms = clock.monotonic().saturating_sub(started).as_millis() as u64;
    let text = if json { report.json().to_string() + "\n" } else { report.text() };
    out.write_all(text.as_bytes()).map_err(write_failed)?;
    Ok((report.exit_code(), None))
}

/// The digests of slots, which ascend within runs.
fn ask(server: &mut Server, slots: &[u16]) -> Result<Vec<Seen>, StoreError> {
    let mut sorted = slots.to_vec();
    sorted.sort_unstable();
    let mut seen = Vec::with_capacity(sorted.len());
    for run in sorted.chunk_by(|a, b| a + 1 == *b && b % SLOTS_PER_CALL != 0) {
        let (first, count) = (run[0], run.len());
        let reply = server.call(&["DEBUG", "DIGEST-SLOTS", &first.to_string(), &count.to_string()])?;
        let bytes = reply.as_bytes().filter(|bytes| bytes.len() == count * (8 + Digest::LEN));
        let rows = bytes.ok_or_else(|| server.unexpected())?.chunks_exact(8 + Digest::LEN);
        for (row, slot) in rows.zip(first..) {
            let (lsn, digest) = row.split_first_chunk().expect("a row is longer than a number");
            let digest = digest.try_into().expect("the rest of a row is a digest");
            seen.push(Seen { slot, lsn: u64::from_be_bytes(*lsn), digest: Digest::from_bytes(digest) });
        }
    }
    Ok(seen)
}

fn ask_keys(server: &mut Server, slot: u16) -> Result<(Lsn, u16, Keys), StoreError> {
    let reply = server.call(&["DEBUG", "DIGEST-KEYS", &slot.to_string()])?;
    parse_keys(&reply).map(|(lsn, keys)| (lsn, slot, keys)).ok_or_else(|| server.unexpected())
}

fn parse_keys(reply: &Value) -> Option<(Lsn, Keys)> {
    let [lsn, rows] = reply.elements()? else { return None };
    let key = |row: &[Value]| {
        let digest = row[2].as_bytes()?.try_into().ok()?;
        let name = (u32::try_from(row[0].as_integer()?).ok()?, row[1].as_bytes()?.to_vec());
        Some((name, Digest::from_bytes(digest)))
    };
    let keys = rows.elements()?.chunks_exact(3).map(key).collect::<Option<_>>()?;
    Some((u64::try_from(lsn.as_integer()?).ok()?, keys))
}

impl Difference {
    fn what(&self) -> &'static str {
        match (self.in_memory, self.on_disk) {
            (true, false) => "only in memory",
            (false, _) => "only on disk",
            (true, true) => "another value",
        }
    }
}

impl Report {
    fn exit_code(&self) -> i32 {
        if self.differing.is_empty() { GOOD } else { DAMAGED }
    }

    fn verdict(&self) -> &'static str {
        if self.differing.is_empty() { "equal" } else { "different" }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} slots, looked at between LSN {} and {}, compared with {} backup{} in {:.2} s\n",
            self.equal + self.differing.len(),
            self.first_lsn,
            self.last_lsn,
            self.backups,
            if self.backups == 1 { "" } else { "s" },
            self.took_ms as f64 / 1000.0
        );
        for slot in &self.differing {
            text += &format!("slot {slot}: memory and disk differ\n");
        }
        for found in self.keys.iter().take(KEYS_SHOWN) {
            let key = super::words::escaped(&found.key);
            text += &format!("slot {}, db{} {key}: {}\n", found.slot, found.db, found.what());
        }
        if self.keys.len() > KEYS_SHOWN {
            text += &format!("and {} keys more\n", self.keys.len() - KEYS_SHOWN);
        }
        text + self.verdict() + "\n"
    }

    fn json(&self) -> Json {
        let keys = self.keys.iter().map(|found| {
            Json::Object(vec![
                ("slot", u64::from(found.slot).into()),
                ("db", u64::from(found.db).into()),
                ("key", Json::bytes(&found.key)),
                ("what", found.what().into()),
            ])
        });
        Json::Object(vec![
            ("verdict", self.verdict().into()),
            ("exit_code", (self.exit_code() as u64).into()),
            ("slots_equal", (self.equal as u64).into()),
            ("slots_differing", Json::list(self.differing.iter().map(|&slot| u64::from(slot)))),
            ("keys", Json::list(keys)),
            ("first_lsn", self.first_lsn.into()),
            ("last_lsn", self.last_lsn.into()),
            ("backups", u64::from(self.backups).into()),
            ("took_ms", self.took_ms.into()),
        ])
    }
}
