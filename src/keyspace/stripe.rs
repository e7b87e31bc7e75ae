//! A stripe: the part of every keyspace whose slots share one lock.

use std::collections::BTreeSet;

use super::entry::Entry;
use super::hash::{KeyRef, SLOTS};
use super::op::SpaceId;
use super::stream_totals::StreamTotals;
use super::table::{Position, SlotTable};

/// Number of stripes. Enough that a few workers seldom meet, few enough that locking all of them costs about a microsecond.
pub const STRIPES: usize = 64;
const SLOTS_PER_STRIPE: usize = SLOTS / STRIPES;

/// The stripe of a slot: neighbouring slots share one, so that a stripe is a range of slots.
pub const fn stripe_of(slot: u16) -> usize {
    slot as usize / SLOTS_PER_STRIPE
}

/// A key in the order of expiry: (Unix milliseconds, slot, hash).
pub type Deadline = (u64, u16, u64);

/// One keyspace's share of a stripe.
pub struct Part {
    pub(super) slots: Vec<SlotTable>,
    len: usize,
    seed: u64,
    /// Every key with an expiry time, exactly.
    pub(super) expiring: BTreeSet<Deadline>,
    /// Every key of which a part (a hash field) has an expiry time: the first of them, exactly.
    pub(super) expiring_parts: BTreeSet<Deadline>,
    pub(super) streams: StreamTotals,
}

impl Part {
    fn new(seed: u64) -> Self {
        Self {
            slots: std::iter::repeat_with(SlotTable::default).take(SLOTS_PER_STRIPE).collect(),
            len: 0,
            seed,
            expiring: BTreeSet::new(),
            expiring_parts: BTreeSet::new(),
            streams: StreamTotals::default(),
        }
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn seed(&self) -> u64 {
        self.seed
    }

    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keys that have an expiry time.
    pub fn expiring_len(&self) -> usize {
        self.expiring.len()
    }

    /// The earliest and the latest expiry time of a key, in Unix milliseconds.
    pub fn expiring_span_ms(&self) -> Option<(u64, u64)> {
        Some((self.expiring.first()?.0, self.expiring.last()?.0))
    }

    /// Whether any key's expiry time is at most `now_ms`.
    #[inline]
    pub fn has_expired(&self, now_ms: u64) -> bool {
        self.expiring.first().is_some_and(|first| first.0 <= now_ms)
    }

    /// Bytes of tables behind all keys, without the entries.
    pub fn tables_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<SlotTable>()
            + self.slots.iter().map(SlotTable::heap_bytes).sum::<usize>()
    }

    /// A key's share of the tables, in bytes: of its slot's, and of the list of slots.
    pub fn tables_share(&self, slot: u16) -> usize {
        let table = self.table(slot);
        // The list is there however few keys there are; a key has to answer for one row of it at most.
        let list = self.slots.capacity() * size_of::<SlotTable>() / self.len.max(1);
        table.heap_bytes().div_ceil(table.len().max(1)) + list.min(size_of::<SlotTable>())
    }

    #[inline]
    pub fn get(&self, key: &KeyRef<'_>) -> Option<&Entry> {
        self.slots[key.slot as usize % SLOTS_PER_STRIPE].get(key.bytes, key.hash)
    }

    /// Where a key's entry is, until the part changes.
    #[inline]
    pub fn position(&self, key: &KeyRef<'_>) -> Option<Position> {
        self.table(key.slot).position(key.bytes, key.hash)
    }

    /// The entry of a key at the position that [`Self::position`] just returned.
    #[inline]
    pub fn at(&self, key: &KeyRef<'_>, position: Position) -> &Entry {
        self.table(key.slot).at(position)
    }

    #[inline]
    pub fn at_mut(&mut self, key: &KeyRef<'_>, position: Position) -> &mut Entry {
        self.slots[key.slot as usize % SLOTS_PER_STRIPE].at_mut(position)
    }

    #[inline]
    pub fn get_mut(&mut self, key: &KeyRef<'_>) -> Option<&mut Entry> {
        self.slots[key.slot as usize % SLOTS_PER_STRIPE].get_mut(key.bytes, key.hash)
    }

    /// What its streams hold.
    pub const fn streams(&self) -> StreamTotals {
        self.streams
    }

    pub(super) fn insert(&mut self, key: &KeyRef<'_>, entry: Entry) {
        self.streams.change(StreamTotals::default(), StreamTotals::of_entry(&entry));
        self.slots[key.slot as usize % SLOTS_PER_STRIPE].insert(entry, key.hash, self.seed);
        self.len += 1;
    }

    /// Makes room for keys with these hashes that are about to be added to a slot.
    pub(super) fn make_room(&mut self, slot: u16, hashes: impl Iterator<Item = u64> + Clone) {
        self.slots[slot as usize % SLOTS_PER_STRIPE].make_room(hashes, self.seed);
    }

    pub(super) fn remove(&mut self, key: &KeyRef<'_>) -> Option<Entry> {
        let table = &mut self.slots[key.slot as usize % SLOTS_PER_STRIPE];
        let entry = table.remove(key.bytes, key.hash, self.seed)?;
        if table.is_empty() {
            *table = SlotTable::default();
        }
        self.len -= 1;
        self.streams.change(StreamTotals::of_entry(&entry), StreamTotals::default());
        Some(entry)
    }

    /// The table of a slot of this stripe, with or without keys.
    #[inline]
    pub(super) fn table(&self, slot: u16) -> &SlotTable {
        &self.slots[slot as usize % SLOTS_PER_STRIPE]
    }

    /// The table of a slot of this stripe, if it has keys.
    pub fn slot(&self, slot: u16) -> Option<&SlotTable> {
        Some(&self.slots[slot as usize % SLOTS_PER_STRIPE]).filter(|table| !table.is_empty())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().flat_map(SlotTable::iter)
    }

    /// The n-th key in an arbitrary but fixed order.
    pub fn nth(&self, mut n: usize) -> Option<&Entry> {
        for table in &self.slots {
            if n < table.len() {
                return table.nth(n);
            }
            n -= table.len();
        }
        None
    }

    /// Keys whose expiry time is at most `now_ms`, oldest first, at most `max` of them.
    pub fn expired(&self, now_ms: u64, max: usize) -> Vec<Vec<u8>> {
        self.due(&self.expiring, now_ms, max)
    }

    /// Keys with parts whose expiry time is at most `now_ms`.
    pub fn with_expired_parts(&self, now_ms: u64, max: usize) -> Vec<Vec<u8>> {
        self.due(&self.expiring_parts, now_ms, max)
    }

    fn due(&self, index: &BTreeSet<Deadline>, now_ms: u64, max: usize) -> Vec<Vec<u8>> {
        index
            .iter()
            .take_while(|deadline| deadline.0 <= now_ms)
            .take(max)
            .filter_map(|&(_, slot, hash)| {
                let table = self.slot(slot)?;
                table.with_hash(hash, self.seed).map(|entry| entry.key().to_vec())
            })
            .collect()
    }
}

/// What one lock protects.
#[derive(Default)]
pub struct Stripe {
    parts: Vec<(SpaceId, Box<Part>)>,
}

impl Stripe {
    #[inline]
    pub fn part(&self, space: SpaceId) -> Option<&Part> {
        self.parts.iter().find(|(id, _)| *id == space).map(|(_, part)| &**part)
    }

    #[inline]
    pub fn part_mut(&mut self, space: SpaceId) -> Option<&mut Part> {
        self.parts.iter_mut().find(|(id, _)| *id == space).map(|(_, part)| &mut **part)
    }

    #[inline]
    pub(super) fn part_or_new(&mut self, space: SpaceId, seed: u64) -> &mut Part {
        let at = match self.parts.iter().position(|(id, _)| *id == space) {
            Some(at) => at,
            None => {
                self.parts.push((space, Box::new(Part::new(seed))));
                self.parts.len() - 1
            }
        };
        &mut self.parts[at].1
    }

    /// Takes a retired keyspace out; dropping it may take long and is the caller's to do elsewhere.
    pub(super) fn retire(&mut self, space: SpaceId) -> Option<Box<Part>> {
        let at = self.parts.iter().position(|(id, _)| *id == space)?;
        Some(self.parts.swap_remove(at).1)
    }

    pub fn spaces(&self) -> impl Iterator<Item = SpaceId> {
        self.parts.iter().map(|(id, _)| *id)
    }
}
