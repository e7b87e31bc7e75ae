//! Getting keys into the processor's cache before the commands that look for them run.
//!
//! A lookup is a chain of four dependent reads, each likely to miss. One command has to wait for all four; for many keys at
//! once the reads of each step overlap.

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use super::gate::GateTable;
use super::op::SpaceId;
use super::stripe::{Part, stripe_of};
use super::table::SlotTable;
use super::waiters::StripeSet;
use super::{Keyspace, Shelf};
use crate::prefetch::prefetch;

/// Keys that are worth asking for at once: a processor has about so many reads in flight.
pub const BATCH: usize = 16;

/// Where a key will be looked for.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    space: SpaceId,
    slot: u16,
    hash: u64,
    cell: usize,
}

impl Keyspace {
    /// Where a key of a database would be. A guess: the database may be flushed or swapped until somebody looks.
    #[inline]
    pub fn place(&self, db: u32, key: &[u8]) -> Place {
        let (key, space) = (self.key(key), self.space(db));
        Place { space, slot: key.slot, hash: key.hash, cell: GateTable::cell(space, &key) }
    }

    /// Asks for what lookups at these places will read. Never waits: places in a stripe that is locked are left out.
    pub fn prefetch(&self, places: &[Place]) {
        let stripes = places.iter().map(|place| StripeSet::one(stripe_of(place.slot)));
        let set = stripes.fold(StripeSet::default(), StripeSet::with);
        let guards: SmallVec<[(usize, MutexGuard<'_, Shelf>); BATCH]> =
            set.iter().filter_map(|stripe| Some((stripe, self.shelves[stripe].try_lock()?))).collect();
        let part = |place: &Place| -> Option<&Part> {
            let at = guards.binary_search_by_key(&stripe_of(place.slot), |(stripe, _)| *stripe).ok()?;
            guards[at].1.stripe.part(place.space)
        };
        let tables: SmallVec<[(&SlotTable, u64); BATCH]> = places
            .iter()
            .filter_map(|place| {
                self.gate.prefetch(place.cell);
                let table = part(place)?.table(place.slot);
                prefetch(table);
                Some((table, place.hash))
            })
            .collect();
        for step in [SlotTable::prefetch_page, SlotTable::prefetch_tags, SlotTable::prefetch_entry] {
            tables.iter().for_each(|(table, hash)| step(table, *hash));
        }
    }
}
