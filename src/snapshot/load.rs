//! Loading a snapshot into a keyspace, range by range, on several threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};

use super::catalog::{Catalog, RANGES, slots_of};
use super::merge::{self, unfit};
use super::reader::{FileReader, FileRows};
use super::rows::RowSource;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::keyspace::hash::KeyRef;
use crate::keyspace::stripe::stripe_of;
use crate::keyspace::waiters::StripeSet;
use crate::keyspace::{Keyspace, ReplayError};
use crate::log::Seed;

/// Loads what the catalog lists into an empty keyspace. Without `threads` it happens in the caller's. Returns the number of rows.
pub fn load(
    disk: &dyn Disk,
    catalog: &Catalog,
    keyspace: &Keyspace,
    threads: usize,
) -> Result<u64, StoreError> {
    let databases = keyspace.databases() as usize;
    keyspace.adopt_spaces(&catalog.spaces, catalog.next_space);
    let (next, failed, rows) = (AtomicU16::new(0), AtomicBool::new(false), AtomicU64::new(0));
    let work = || -> Result<(), StoreError> {
        loop {
            let range = next.fetch_add(1, Relaxed);
            if range >= RANGES || failed.load(Relaxed) {
                return Ok(());
            }
            match load_range(disk, catalog, keyspace, databases, range) {
                Ok(count) => rows.fetch_add(count, Relaxed),
                Err(error) => {
                    failed.store(true, Relaxed);
                    return Err(error);
                }
            };
        }
    };
    std::thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        helpers.into_iter().map(|helper| helper.join().expect("loading doesn't panic")).fold(own, Result::and)
    })?;
    Ok(rows.into_inner())
}

fn load_range(
    disk: &dyn Disk,
    catalog: &Catalog,
    keyspace: &Keyspace,
    databases: usize,
    range: u16,
) -> Result<u64, StoreError> {
    let slots = slots_of(range);
    let seed = Seed(keyspace.seed());
    let mut rows = Vec::new();
    let mut count = 0;
    for file in catalog.files_of(range) {
        let reader: Arc<FileReader> = FileReader::open(disk, file.sequence, Some(file))?;
        rows.push(reader.rows(seed, slots.clone())?);
        count += file.rows;
    }
    let mut sources: Vec<&mut dyn RowSource> =
        rows.iter_mut().map(|rows: &mut FileRows| rows as &mut dyn RowSource).collect();
    let stripes = stripe_of(*slots.start())..=stripe_of(*slots.end());
    let set = stripes.fold(StripeSet::default(), |set, stripe| set.with(StripeSet::one(stripe)));
    let mut held = keyspace.lock(set);
    let out_of_reach = |space| catalog.spaces.iter().position(|&s| s == space).filter(|&db| db >= databases);
    merge::load(&mut sources, &|space| catalog.is_live(space), &mut |head, op| {
        if let Some(db) = out_of_reach(head.space) {
            return Err(StoreError::Refused(ReplayError::NoSuchDatabase(db as u32).to_string()));
        }
        let key = KeyRef { bytes: &head.key, hash: head.hash, slot: head.slot };
        held.apply(head.space, &key, op).map_err(|misfit| unfit(head, misfit))
    })?;
    Ok(count)
}
