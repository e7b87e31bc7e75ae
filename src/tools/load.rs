//! A directory replayed into memory as recovery does it, without opening it for writing.

use crate::clock::Clock;
use crate::disk::Disk;
use crate::error::{Corruption, StoreError};
use crate::keyspace::op::LIBRARIES;
use crate::keyspace::waiters::StripeSet;
use crate::keyspace::{DATABASES_MAX, Keyspace, entry::Entry};
use crate::log::survey::{self, Verdict};
use crate::log::{Lsn, Recovered};
use crate::recovery::snapshot::{self, Fallback};
use crate::recovery::{Failure, Replay};

use super::output::Progress;

/// More threads than this have nothing to do.
pub const THREADS_MAX: usize = 8;

/// What was replayed.
pub struct Loaded {
    pub verdict: Verdict,
    /// What the records up to the end, or up to the damage, made.
    pub keyspace: Option<Keyspace>,
    /// Records that were read, damage or not.
    pub records: u64,
    /// Behind the first record that cannot be applied.
    pub misfit: Option<Lsn>,
    /// An older snapshot was used: a server says so at every start until it has compacted.
    pub fallback: Option<Fallback>,
}

/// Loads the snapshot and replays the log behind it.
pub fn load(disk: &dyn Disk, clock: &dyn Clock) -> Result<Loaded, StoreError> {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(THREADS_MAX));
    let mut progress = Progress::new(clock, "reading");
    let mut replay = None;
    let mut misfit = None;
    let mut records = 0;
    let mut start_failed = None;
    let mut fallback: Option<Fallback> = None;
    let verdict = survey::judge(disk, &mut |recovered| match (recovered, &mut replay) {
        (Recovered::Begin { seed, sections, first_lsn, from }, _) => {
            crate::types::member_table::set_seed(seed.0);
            let fresh = || Keyspace::new(DATABASES_MAX, seed.0);
            let begun = snapshot::begin(disk, sections, first_lsn, &fresh, threads)?;
            let keyspace = begun.keyspace;
            *from = begun.catalogs.current.through;
            fallback = begun.fallback;
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
    let verdict = match (verdict, &fallback) {
        (Verdict::Damaged(error), Some(fallback)) => Verdict::Damaged(fallback.explain(error)),
        (verdict, _) => verdict,
    };
    let mut loaded = Loaded { verdict, keyspace: None, records, misfit, fallback };
    match replay.map(Replay::finish) {
        Some(Ok(keyspace)) => loaded.keyspace = Some(keyspace),
        // It stands before the place where reading ended, whatever ended it.
        Some(Err(failure)) => loaded.verdict = Verdict::Damaged(unfit(&failure, &mut loaded.misfit)),
        None => {}
    }
    Ok(loaded)
}

fn unfit(Failure { at, error }: &Failure, misfit: &mut Option<Lsn>) -> StoreError {
    let offset = at.lsn_end;
    *misfit = Some(offset);
    let reason = format!("the record that ends at LSN {offset} cannot be applied: {error}");
    StoreError::Corruption(Corruption { file: "log".into(), offset, reason })
}

/// Calls `visit` with every library of functions: its name is the key, its code the value.
pub fn each_library<E>(keyspace: &Keyspace, visit: &mut dyn FnMut(&Entry) -> Result<(), E>) -> Result<(), E> {
    let held = keyspace.lock(StripeSet::ALL);
    let parts = held.shelves().filter_map(|shelf| shelf.stripe.part(LIBRARIES));
    parts.flat_map(|part| part.iter()).try_for_each(visit)
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
