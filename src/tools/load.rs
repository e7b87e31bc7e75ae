//! A directory replayed into memory as recovery does it, without opening it for writing.

use crate::clock::Clock;
use crate::disk::Disk;
use crate::error::{Corruption, StoreError};
use crate::keyspace::waiters::StripeSet;
use crate::keyspace::{DATABASES_MAX, Keyspace, entry::Entry};
use crate::log::manifest::Section;
use crate::log::survey::{self, Verdict};
use crate::log::{Lsn, Recovered};
use crate::recovery::{Failure, Replay};
use crate::snapshot;
use crate::snapshot::catalog::{Catalog, TAG};
use crate::snapshot::compact::damaged_catalog;

use super::output::Progress;

/// More threads than this have nothing to do.
const THREADS_MAX: usize = 8;

/// What was replayed.
pub struct Loaded {
    pub verdict: Verdict,
    /// What the records up to the end, or up to the damage, made.
    pub keyspace: Option<Keyspace>,
    /// Records that were read, damage or not.
    pub records: u64,
    /// Behind the first record that cannot be applied.
    pub misfit: Option<Lsn>,
}

/// Loads the snapshot and replays the log behind it.
pub fn load(disk: &dyn Disk, clock: &dyn Clock) -> Result<Loaded, StoreError> {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS_MAX));
    let mut progress = Progress::new(clock, "reading");
    let mut replay = None;
    let mut misfit = None;
    let mut records = 0;
    let mut start_failed = None;
    let verdict = survey::judge(disk, &mut |recovered| match (recovered, &mut replay) {
        (Recovered::Begin { seed, sections, from }, _) => {
            crate::types::member_table::set_seed(seed.0);
            let keyspace = Keyspace::new(DATABASES_MAX, seed.0);
            if let Some(catalog) = behind_snapshot(sections, from)? {
                snapshot::load::load(disk, &catalog, &keyspace, threads)?;
            }
            match Replay::new(keyspace, threads) {
                Ok(started) => replay = Some(started),
                Err(e) => start_failed = Some(e),
            }
            Ok(())
        }
        (Recovered::Record { lsn_end, body, .. }, Some(replay)) => {
            records += 1;
            replay.record(lsn_end, body).map_err(|failure| unfit(&failure, &mut misfit))
        }
        (Recovered::Progress { bytes_done, bytes_total }, _) => {
            progress.show(bytes_done, bytes_total);
            Ok(())
        }
        (Recovered::End, Some(replay)) => replay.settle().map_err(|failure| unfit(&failure, &mut misfit)),
        (Recovered::Record { .. } | Recovered::End, None) => Ok(()),
    });
    if let Some(e) = start_failed {
        return Err(StoreError::io("start the threads of replay")(e));
    }
    let mut loaded = Loaded { verdict, keyspace: None, records, misfit };
    match replay.map(Replay::finish) {
        Some(Ok(keyspace)) => loaded.keyspace = Some(keyspace),
        // It stands before the place where reading ended, whatever ended it.
        Some(Err(failure)) => loaded.verdict = Verdict::Damaged(unfit(&failure, &mut loaded.misfit)),
        None => {}
    }
    Ok(loaded)
}

/// Lets the log begin where the snapshot ends, if there is one.
pub fn behind_snapshot(sections: &[Section], from: &mut Lsn) -> Result<Option<Catalog>, StoreError> {
    let Some(section) = sections.iter().find(|section| section.tag == TAG) else { return Ok(None) };
    let catalog = Catalog::decode(&section.bytes).map_err(damaged_catalog)?;
    *from = catalog.through;
    Ok(Some(catalog))
}

fn unfit(Failure { at, error }: &Failure, misfit: &mut Option<Lsn>) -> StoreError {
    let offset = at.lsn_end;
    *misfit = Some(offset);
    let reason = format!("the record that ends at LSN {offset} cannot be applied: {error}");
    StoreError::Corruption(Corruption { file: "log".into(), offset, reason })
}

/// Calls `visit` with every key and its database.
pub fn each_key<E>(
    keyspace: &Keyspace,
    visit: &mut dyn FnMut(u32, &Entry) -> Result<(), E>,
) -> Result<(), E> {
    let held = keyspace.lock(StripeSet::ALL);
    for db in 0..keyspace.databases() {
        let space = keyspace.space(db);
        for part in held.shelves().filter_map(|shelf| shelf.stripe.part(space)) {
            for entry in part.iter() {
                visit(db, entry)?;
            }
        }
    }
    Ok(())
}
