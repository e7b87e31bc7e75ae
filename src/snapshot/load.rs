//! Loading a snapshot into a keyspace, range by range, on several threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};

use super::catalog::{Catalog, RANGES, slots_of};
use super::merge::unfit;
use super::reader::FileReader;
use super::slot_rows::SlotRows;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::keyspace::hash::KeyRef;
use crate::keyspace::op::{LIBRARIES, Op, SpaceId};
use crate::keyspace::stripe::stripe_of;
use crate::keyspace::waiters::StripeSet;
use crate::keyspace::{Held, Keyspace};
use crate::log::Seed;

/// Loads what the catalog lists into an empty keyspace. Without `threads` it happens in the caller's. Returns the number of rows.
pub fn load(
    disk: &dyn Disk,
    catalog: &Catalog,
    keyspace: &Keyspace,
    threads: usize,
) -> Result<u64, StoreError> {
    keyspace.adopt_spaces(&catalog.spaces, catalog.next_space);
    let (next, failed, rows) = (AtomicU16::new(0), AtomicBool::new(false), AtomicU64::new(0));
    let work = || -> Result<(), StoreError> {
        loop {
            let range = next.fetch_add(1, Relaxed);
            if range >= RANGES || failed.load(Relaxed) {
                return Ok(());
            }
            match load_range(disk, catalog, keyspace, range) {
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
    range: u16,
) -> Result<u64, StoreError> {
    let slots = slots_of(range);
    let seed = Seed(keyspace.seed());
    let mut files = Vec::new();
    let mut count = 0;
    for file in catalog.files_of(range) {
        let reader: Arc<FileReader> = FileReader::open(disk, file.sequence, Some(file))?;
        files.push(SlotRows::new(reader.rows(seed, slots.clone())?)?);
        count += file.rows;
    }
    let stripes = stripe_of(*slots.start())..=stripe_of(*slots.end());
    let set = stripes.fold(StripeSet::default(), |set, stripe| set.with(StripeSet::one(stripe)));
    let admit = |space| catalog.spaces.contains(&space) || space == LIBRARIES;
    load_files(&mut files, &admit, &mut keyspace.lock(set))?;
    Ok(count)
}

/// Applies the rows of files, oldest first, slot by slot; those of keyspaces that `admit` doesn't let in are left out. The files have no
/// renames: whoever wrote them has carried those out. Nothing of these keys may be there before.
///
/// Rows of one key need not be brought together for this: what an older file says of it comes before what a newer one says.
pub fn load_files(
    files: &mut [SlotRows],
    admit: &dyn Fn(SpaceId) -> bool,
    held: &mut Held<'_>,
) -> Result<(), StoreError> {
    let mut places = Vec::new();
    let mut space = Admitted { admit, last: None };
    while let Some(slot) = files.iter().filter_map(SlotRows::slot).min() {
        places.clear();
        files.iter().for_each(|file| places.extend(file.gathered(slot).places()));
        places.sort();
        places.dedup();
        for alike in places.chunk_by(|a, b| a.0 == b.0) {
            if space.admits(alike[0].0) {
                held.make_room(alike[0].0, slot, alike.iter().map(|place| place.1));
            }
        }
        for file in &mut *files {
            while file.slot() == Some(slot) {
                load_slot(file, slot, &mut space, held)?;
            }
        }
    }
    Ok(())
}

/// Rows of a slot that lie together, or the one that stands next.
fn load_slot(
    file: &mut SlotRows,
    slot: u16,
    space: &mut Admitted<'_>,
    held: &mut Held<'_>,
) -> Result<(), StoreError> {
    let batch = file.gathered(slot);
    if batch.is_empty() {
        return file.take_one(&mut |head, op, is_first| match space.admits(head.space) {
            true => apply(held, head.space, &head.place(), op, is_first),
            false => Ok(()),
        });
    }
    for (id, key, ops) in batch.rows() {
        if !space.admits(id) {
            continue;
        }
        let mut is_first = true;
        for op in ops {
            let op = op.map_err(|malformed| unfit(id, &key, malformed))?;
            apply(held, id, &key, op, std::mem::replace(&mut is_first, false))?;
        }
    }
    file.pass(slot)
}

/// Asks about a keyspace once for all its rows that follow each other.
struct Admitted<'a> {
    admit: &'a dyn Fn(SpaceId) -> bool,
    last: Option<(SpaceId, bool)>,
}

impl Admitted<'_> {
    #[inline]
    fn admits(&mut self, space: SpaceId) -> bool {
        if let Some((last, admits)) = self.last
            && last == space
        {
            return admits;
        }
        let admits = (self.admit)(space);
        self.last = Some((space, admits));
        admits
    }
}

/// Applies an op of a row. A first op that deletes says that older rows are void, whether there are any or not.
#[inline]
fn apply(
    held: &mut Held<'_>,
    space: SpaceId,
    key: &KeyRef<'_>,
    op: &[u8],
    is_first: bool,
) -> Result<(), StoreError> {
    let op = Op::decode_bare(op).map_err(|malformed| unfit(space, key, malformed))?;
    match held.apply(space, key, &op) {
        Err(_) if is_first && op == Op::Delete => Ok(()),
        applied => applied.map_err(|misfit| unfit(space, key, misfit)),
    }
}
