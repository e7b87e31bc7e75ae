//! All keys in memory: stripes of slots of pages of entries, the databases' names for them, and the reply gate.
//!
//! Never here: a clock, randomness, a command, a reply, I/O.

pub mod access;
pub mod apply;
pub mod digest;
pub mod entry;
pub mod eviction;
pub mod gate;
pub mod hash;
pub mod meanwhile;
pub mod op;
pub mod prefetch;
pub mod rebuild;
pub mod scratch;
pub mod stream_totals;
pub mod stripe;
pub mod stripe_set;
pub mod table;
pub mod value;
pub mod waiters;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use crate::codec::Malformed;
use crate::types::Misfit;
use access::Accesses;
use entry::Entry;
use gate::GateTable;
use hash::KeyRef;
use op::{Op, SpaceId, SpaceOp};
use stripe::{Part, STRIPES, Stripe, stripe_of};
use table::Position;
use waiters::{StripeSet, Waiters};

/// Ids below this are the first keyspaces of the databases, those above are given by FLUSH.
pub use crate::config::DATABASES_MAX;

/// A stripe and who waits on its keys: what one lock protects.
#[derive(Default)]
pub struct Shelf {
    pub stripe: Stripe,
    pub waiters: Waiters,
}

/// Why a record could not be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Misfit(#[from] Misfit),
    #[error("there is no database {0}")]
    NoSuchDatabase(u32),
}

pub struct Keyspace {
    shelves: Box<[CachePadded<Mutex<Shelf>>]>,
    /// By database. Changed only while every stripe is locked.
    spaces: Box<[AtomicU32]>,
    /// LSN of the last op on the whole database: a floor of the reply gate.
    floors: Box<[AtomicU64]>,
    next_space: AtomicU32,
    seed: u64,
    pub gate: GateTable,
}

impl Keyspace {
    /// `seed` keys the hash: secret, and the same whenever this store is opened.
    pub fn new(databases: u32, seed: u64) -> Self {
        assert!(databases <= DATABASES_MAX, "the configuration checks the number of databases");
        Self {
            shelves: std::iter::repeat_with(CachePadded::<Mutex<Shelf>>::default).take(STRIPES).collect(),
            spaces: (0..databases).map(AtomicU32::new).collect(),
            floors: (0..databases).map(|_| AtomicU64::new(0)).collect(),
            next_space: AtomicU32::new(DATABASES_MAX),
            seed,
            gate: GateTable::default(),
        }
    }

    /// The last database that has keys. Nothing else may be locked.
    pub fn last_used_database(&self) -> Option<u32> {
        let mut used = None;
        for stripe in 0..STRIPES {
            let held = self.lock(StripeSet::one(stripe));
            for db in used.map_or(0, |used| used + 1)..self.databases() {
                let part =
                    |shelf: &Shelf| shelf.stripe.part(self.space(db)).is_some_and(|part| !part.is_empty());
                if held.shelves().any(part) {
                    used = Some(db);
                }
            }
        }
        used
    }

    /// From now on there are only so many databases. Those behind them must be empty.
    pub fn limit_databases(&mut self, databases: u32) {
        let limit = |len: usize| len.min(databases as usize);
        self.spaces = self
            .spaces
            .iter()
            .take(limit(self.spaces.len()))
            .map(|cell| AtomicU32::new(cell.load(Ordering::Relaxed)))
            .collect();
        self.floors = self
            .floors
            .iter()
            .take(limit(self.floors.len()))
            .map(|cell| AtomicU64::new(cell.load(Ordering::Relaxed)))
            .collect();
    }

    pub fn databases(&self) -> u32 {
        self.spaces.len() as u32
    }

    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> KeyRef<'a> {
        KeyRef::new(bytes, self.seed)
    }

    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The keyspace of a database now. Holds while any stripe is locked.
    #[inline]
    pub fn space(&self, db: u32) -> SpaceId {
        self.spaces[db as usize].load(Ordering::Relaxed)
    }

    /// LSN of the last FLUSH or SWAPDB of a database.
    #[inline]
    pub fn floor(&self, db: u32) -> u64 {
        self.floors[db as usize].load(Ordering::Relaxed)
    }

    pub fn raise_floor(&self, db: u32, lsn: u64) {
        self.floors[db as usize].fetch_max(lsn, Ordering::Relaxed);
    }

    /// Gives the databases the keyspaces that a snapshot says they have. For a keyspace that nobody uses yet.
    pub fn adopt_spaces(&self, spaces: &[SpaceId], next: SpaceId) {
        for (cell, &space) in self.spaces.iter().zip(spaces) {
            cell.store(space, Ordering::Relaxed);
        }
        self.next_space.fetch_max(next, Ordering::Relaxed);
    }

    /// An id that no keyspace has had.
    pub fn fresh_space(&self) -> SpaceId {
        self.next_space.load(Ordering::Relaxed)
    }

    /// Locks stripes in ascending order: the only order there is, so nobody waits in a circle.
    #[inline]
    pub fn lock(&self, set: StripeSet) -> Held<'_> {
        let lock = |stripe: usize| {
            let shelf = &self.shelves[stripe];
            shelf.try_lock().unwrap_or_else(|| meanwhile::wait(shelf))
        };
        let guards = set.iter().map(|stripe| (stripe as u8, lock(stripe))).collect();
        Held { keyspace: self, set, accesses: Accesses::Off, guards }
    }

    /// As [`Self::lock`]. Where that would have to wait it is asked from time to time whether to give up.
    #[inline]
    pub fn lock_unless(&self, set: StripeSet, give_up: &dyn Fn() -> bool) -> Option<Held<'_>> {
        let mut guards = SmallVec::with_capacity(set.0.count_ones() as usize);
        for stripe in set.iter() {
            let shelf = &self.shelves[stripe];
            let guard = match shelf.try_lock() {
                Some(guard) => guard,
                None => meanwhile::wait_unless(shelf, give_up)?,
            };
            guards.push((stripe as u8, guard));
        }
        Some(Held { keyspace: self, set, accesses: Accesses::Off, guards })
    }
}

/// Locked stripes.
pub struct Held<'a> {
    keyspace: &'a Keyspace,
    set: StripeSet,
    /// How keys that are made or changed remember that.
    pub accesses: Accesses,
    guards: SmallVec<[(u8, MutexGuard<'a, Shelf>); 1]>,
}

impl<'a> Held<'a> {
    pub const fn set(&self) -> StripeSet {
        self.set
    }

    pub const fn keyspace(&self) -> &'a Keyspace {
        self.keyspace
    }

    #[inline]
    fn index(&self, slot: u16) -> usize {
        let stripe = stripe_of(slot);
        assert!(self.set.contains(StripeSet::one(stripe)), "a command locks the stripes of all its keys");
        // Guards are in stripe order: as many come before as there are lower bits.
        (self.set.0 & ((1u64 << stripe) - 1)).count_ones() as usize
    }

    /// The stripe of a slot, which must be among those held.
    #[inline]
    pub fn shelf(&self, slot: u16) -> &Shelf {
        &self.guards[self.index(slot)].1
    }

    #[inline]
    pub fn shelf_mut(&mut self, slot: u16) -> &mut Shelf {
        let index = self.index(slot);
        &mut self.guards[index].1
    }

    pub fn shelves(&self) -> impl Iterator<Item = &Shelf> {
        self.guards.iter().map(|(_, guard)| &**guard)
    }

    pub fn shelves_mut(&mut self) -> impl Iterator<Item = &mut Shelf> {
        self.guards.iter_mut().map(|(_, guard)| &mut **guard)
    }

    /// Carries out one op on a key.
    #[inline]
    pub fn apply(&mut self, space: SpaceId, key: &KeyRef<'_>, op: &Op<'_>) -> Result<(), Misfit> {
        let seed = self.keyspace.seed;
        let index = self.index(key.slot);
        self.guards[index].1.stripe.apply(space, key, op, seed, &mut self.accesses)
    }

    /// The entry at the position that the part of a keyspace just returned for a key; `touch`: it remembers this access.
    #[inline]
    pub fn entry_mut(
        &mut self,
        space: SpaceId,
        key: &KeyRef<'_>,
        position: Position,
        touch: bool,
    ) -> Option<&mut Entry> {
        let index = self.index(key.slot);
        let entry = self.guards[index].1.stripe.part_mut(space)?.at_mut(key, position);
        if touch {
            entry.set_access(self.accesses.next(entry.access()));
        }
        Some(entry)
    }

    /// Makes room in a slot for keys with these hashes that are about to be added: each would make room for itself, but one at a
    /// time. Changes nothing that can be seen.
    pub fn make_room(&mut self, space: SpaceId, slot: u16, hashes: impl Iterator<Item = u64> + Clone) {
        let seed = self.keyspace.seed;
        self.shelf_mut(slot).stripe.part_or_new(space, seed).make_room(slot, hashes);
    }

    /// Carries out an op on databases; every stripe must be held. Returns what was retired: dropping it may take long.
    pub fn apply_space(&mut self, op: &SpaceOp) -> Result<Vec<Box<Part>>, ReplayError> {
        assert!(self.set == StripeSet::ALL, "ops on databases hold every stripe");
        let keyspace = self.keyspace;
        let cell = |db: u32| keyspace.spaces.get(db as usize).ok_or(ReplayError::NoSuchDatabase(db));
        match *op {
            SpaceOp::Flush { db, space } => {
                let old = cell(db)?.swap(space, Ordering::Relaxed);
                keyspace.next_space.fetch_max(space.saturating_add(1), Ordering::Relaxed);
                let rename = |s| if s == old { space } else { s };
                Ok(self
                    .shelves_mut()
                    .filter_map(|shelf| {
                        shelf.waiters.rename_spaces(rename);
                        shelf.stripe.retire(old)
                    })
                    .collect())
            }
            SpaceOp::Swap { a, b } => {
                let (cell_a, cell_b) = (cell(a)?, cell(b)?);
                let (space_a, space_b) = (cell_a.load(Ordering::Relaxed), cell_b.load(Ordering::Relaxed));
                cell_a.store(space_b, Ordering::Relaxed);
                cell_b.store(space_a, Ordering::Relaxed);
                // A wait is on a key of a database, so it goes to the keyspace that the database has now.
                let rename = |s| match s {
                    s if s == space_a => space_b,
                    s if s == space_b => space_a,
                    s => s,
                };
                self.shelves_mut().for_each(|shelf| shelf.waiters.rename_spaces(rename));
                Ok(Vec::new())
            }
        }
    }
}
