//! Loading a snapshot into a keyspace, range by range, on several threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};

use super::catalog::{Catalog, RANGES, slots_of};
use super::merge::unfit;
use super::reader::{FileReader, FileRows};
use super::rows::{Batch, Head, RowSource};
use super::side_by_side::SideBySide;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::keyspace::hash::KeyRef;
use crate::keyspace::op::{Op, SpaceId};
use crate::keyspace::stripe::stripe_of;
use crate::keyspace::waiters::StripeSet;
use crate::keyspace::{Held, Keyspace, ReplayError};
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
    let admit = |space| match catalog.spaces.iter().position(|&live| live == space) {
        Some(db) if db >= databases => {
            Err(StoreError::Refused(ReplayError::NoSuchDatabase(db as u32).to_string()))
        }
        found => Ok(found.is_some()),
    };
    load_rows(&mut sources, &admit, &mut keyspace.lock(set))?;
    Ok(count)
}

/// Applies each op that still counts of each key of a keyspace that `admit` says is live; its errors end the loading. The files have no
/// renames: whoever wrote them has carried those out. Nothing of these keys may be there before.
pub fn load_rows(
    sources: &mut [&mut dyn RowSource],
    admit: &dyn Fn(SpaceId) -> Result<bool, StoreError>,
    held: &mut Held<'_>,
) -> Result<(), StoreError> {
    let mut rows = SideBySide::new(sources);
    let mut head = Head { slot: 0, hash: 0, space: 0, key: Vec::new() };
    loop {
        if rows.batch(&mut |batch| batch.by_slot().try_for_each(|part| load_part(part, admit, held)))? {
            continue;
        }
        match rows.head() {
            None => return Ok(()),
            Some(next) => head.clone_from(next),
        }
        if !admit(head.space)? {
            rows.skip()?;
            continue;
        }
        let mut is_first = true;
        let key = head.place();
        rows.take(&mut |op| apply(held, head.space, &key, op, std::mem::replace(&mut is_first, false)))?;
    }
}

/// Rows of one slot and keyspace.
fn load_part(
    part: Batch<'_>,
    admit: &dyn Fn(SpaceId) -> Result<bool, StoreError>,
    held: &mut Held<'_>,
) -> Result<(), StoreError> {
    let (space, slot) = part.place();
    if !admit(space)? {
        return Ok(());
    }
    held.make_room(space, slot, part.hashes());
    for (key, ops) in part.rows() {
        let mut is_first = true;
        for op in ops {
            let op = op.map_err(|malformed| unfit(space, &key, malformed))?;
            apply(held, space, &key, op, std::mem::replace(&mut is_first, false))?;
        }
    }
    Ok(())
}

/// Applies an op of a row. A first op that deletes says only that older rows are void.
#[inline]
fn apply(
    held: &mut Held<'_>,
    space: SpaceId,
    key: &KeyRef<'_>,
    op: &[u8],
    is_first: bool,
) -> Result<(), StoreError> {
    let op = Op::decode_bare(op).map_err(|malformed| unfit(space, key, malformed))?;
    if is_first && op == Op::Delete {
        return Ok(());
    }
    held.apply(space, key, &op).map_err(|misfit| unfit(space, key, misfit))
}
