//! Part of the log as rows: each op is read once, however many ranges of slots are merged with it afterwards.
//!
//! ```text
//! records in order -> SortedOpsBuilder: arena of ops, index of (slot, hash, place) -> finish: sort -> rows of a range of slots
//! ```
//!
//! Ops that later ops of the same key make void are left out. Keys that a RENAME connects are no rows here, because one op
//! changes two of them: they are [`Component`]s, whose ops stand in the order of the log. Ops on whole databases stand apart.
//!
//! Not promised: that the ops fit each other, or that keys are in keyspaces that still exist.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::codec::{Cursor, Malformed, put_bytes, put_varint};
use crate::error::StoreError;
use crate::keyspace::hash::{KeyRef, slot_of};
use crate::keyspace::op::{AnyOp, Effect, Op, Ops, SpaceId, SpaceOp, encode_bare};
use crate::log::Lsn;

use super::rows::{Head, RowSource};

/// Where an op lies in the arena: later ones at higher places. 48 bits.
type Place = u64;

const PLACE_BITS: u32 = 48;
const CHUNK_BYTES: usize = 1 << 20;
const CHUNKS_MAX: usize = 1 << (PLACE_BITS - 32);

/// Ops one behind the other: `keyspace varint | key bytes | op bytes`, in chunks, so that growing copies nothing.
#[derive(Default)]
struct Arena {
    chunks: Vec<Vec<u8>>,
    /// Used; the last chunk has room for more.
    bytes: usize,
}

struct Stored<'a> {
    space: SpaceId,
    key: &'a [u8],
    /// `code | payload`.
    bare: &'a [u8],
}

impl Arena {
    fn put(&mut self, space: SpaceId, key: &[u8], bare: &[u8]) -> Place {
        let most = key.len() + bare.len() + 32;
        if self.chunks.last().is_none_or(|chunk| chunk.capacity() - chunk.len() < most) {
            self.chunks.push(Vec::with_capacity(most.max(CHUNK_BYTES)));
        }
        let number = self.chunks.len() - 1;
        let chunk = &mut self.chunks[number];
        let place = (number as u64) << 32 | chunk.len() as u64;
        put_varint(chunk, u64::from(space));
        put_bytes(chunk, key);
        put_bytes(chunk, bare);
        self.bytes += chunk.len() - place as u32 as usize;
        place
    }

    fn get(&self, place: Place) -> Stored<'_> {
        let chunk = &self.chunks[(place >> 32) as usize];
        let mut cursor = Cursor::new(&chunk[place as u32 as usize..]);
        let mut read = || -> Result<Stored<'_>, Malformed> {
            Ok(Stored { space: cursor.varint()? as SpaceId, key: cursor.bytes()?, bare: cursor.bytes()? })
        };
        read().expect("places are those that `put` wrote")
    }

    fn name(&self, place: Place) -> (SpaceId, &[u8]) {
        let stored = self.get(place);
        (stored.space, stored.key)
    }
}

/// An op of the index: hash, and slot and place in one word.
#[derive(Clone, Copy)]
struct Indexed {
    hash: u64,
    slot_place: u64,
}

impl Indexed {
    fn new(slot: u16, hash: u64, place: Place) -> Self {
        Self { hash, slot_place: u64::from(slot) << PLACE_BITS | place }
    }

    const fn slot(self) -> u16 {
        (self.slot_place >> PLACE_BITS) as u16
    }

    const fn place(self) -> Place {
        self.slot_place & ((1 << PLACE_BITS) - 1)
    }

    const fn group(self) -> (u16, u64) {
        (self.slot(), self.hash)
    }
}

/// Gathers records, oldest first.
pub struct SortedOpsBuilder {
    seed: u64,
    budget_bytes: usize,
    arena: Arena,
    index: Vec<Indexed>,
    renames: Vec<Place>,
    space_ops: Vec<(Lsn, SpaceOp)>,
    through: Lsn,
    bare: Vec<u8>,
}

impl SortedOpsBuilder {
    /// Takes the next record. A record that is malformed may have been taken in part: the builder is of no use any more.
    pub fn push_record(&mut self, lsn_end: Lsn, body: &[u8]) -> Result<(), Malformed> {
        for op in Ops::new(body) {
            match op? {
                AnyOp::Space(op) => self.space_ops.push((lsn_end, op)),
                AnyOp::Key { space, key, op } => self.push_op(space, key, &op)?,
            }
        }
        self.through = lsn_end;
        Ok(())
    }

    fn push_op(&mut self, space: SpaceId, key: &[u8], op: &Op<'_>) -> Result<(), Malformed> {
        self.bare.clear();
        encode_bare(&mut self.bare, op);
        if self.bare.len() > u32::MAX as usize || key.len() > u32::MAX as usize {
            return Err(Malformed("an op over 4 GiB"));
        }
        let KeyRef { slot, hash, .. } = KeyRef::new(key, self.seed);
        let place = self.arena.put(space, key, &self.bare);
        if let Op::Rename { to } = op {
            if slot_of(to) != slot {
                return Err(Malformed("renamed into another slot"));
            }
            self.renames.push(place);
        }
        if self.index.len() == self.index.capacity() {
            // Without the doubling of `Vec`: the budget is what the index takes, not half of it.
            self.index.reserve_exact((self.index.len() / 4).max(1024));
        }
        self.index.push(Indexed::new(slot, hash, place));
        Ok(())
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        self.arena.bytes + self.index.len() * size_of::<Indexed>()
    }

    /// True if another record may take it over its budget.
    pub fn is_full(&self) -> bool {
        self.bytes() >= self.budget_bytes || self.arena.chunks.len() + 256 > CHUNKS_MAX
    }

    /// End of the last record.
    pub const fn through(&self) -> Lsn {
        self.through
    }

    pub fn finish(self) -> SortedOps {
        let Self { seed, arena, mut index, renames, space_ops, through, .. } = self;
        index.sort_unstable_by_key(|op| (op.slot(), op.hash, op.slot_place));
        let mut connected = Connected::new(&arena, &renames, seed);
        let mut kept = 0;
        let mut start = 0;
        let mut places = Vec::new();
        while start < index.len() {
            let group = index[start].group();
            let len = index[start..].iter().take_while(|op| op.group() == group).count();
            let same_hash = &mut index[start..start + len];
            if same_hash.windows(2).any(|two| arena.name(two[0].place()) != arena.name(two[1].place())) {
                // Mostly the same key in several databases.
                same_hash.sort_by(|a, b| arena.name(a.place()).cmp(&arena.name(b.place())));
            }
            places.clear();
            let name = |op: &Indexed| arena.name(op.place());
            for row in index[start..start + len].chunk_by(|a, b| name(a) == name(b)) {
                if !connected.take(&arena, group.0, row) {
                    still_counting(&arena, row, &mut places);
                }
            }
            for &place in &places {
                index[kept] = Indexed::new(group.0, group.1, place);
                kept += 1;
            }
            start += len;
        }
        index.truncate(kept);
        SortedOps { arena, index, components: connected.finish(), space_ops, through }
    }
}

/// Appends the places of those ops of a key (in order) that later ones don't make void, in the order in which they apply.
fn still_counting(arena: &Arena, ops: &[Indexed], places: &mut Vec<Place>) {
    let effect = |op: &Indexed| Effect::of(arena.get(op.place()).bare);
    if ops.len() == 1 {
        places.push(ops[0].place());
        return;
    }
    let effects: Vec<Effect> = ops.iter().map(effect).collect();
    let start = effects.iter().rposition(|effect| effect.is_fresh_start()).unwrap_or(0);
    let is_string = |effect: &Effect| {
        matches!(effect, Effect::ReplacesValue | Effect::ChangesString | Effect::SetsExpiry)
    };
    // Behind this the key is there throughout (or the first op makes it), so that value and expiry are independent.
    let tail =
        effects[start..].iter().rposition(|effect| !is_string(effect)).map_or(start, |at| start + at + 1);
    let value =
        effects[tail..].iter().rposition(|effect| *effect == Effect::ReplacesValue).map(|at| tail + at);
    let expiry = effects[tail..].iter().rposition(|effect| *effect == Effect::SetsExpiry).map(|at| tail + at);
    let mut keep = |at: usize| places.push(ops[at].place());
    (start..tail).for_each(&mut keep);
    for (at, effect) in effects.iter().enumerate().skip(value.unwrap_or(tail)) {
        if *effect != Effect::SetsExpiry || expiry == Some(at) {
            keep(at);
        }
        // An expiry from before the value goes behind it: what made the key then is left out.
        if value == Some(at) {
            expiry.into_iter().filter(|expiry| *expiry < at).for_each(&mut keep);
        }
    }
}

/// Keys of one slot and keyspace that renames connect, and all their ops.
pub struct Component {
    /// In the order of rows.
    heads: Vec<Head>,
    /// The number of a key and an op of it, in the order of the log.
    ops: Vec<(u32, Place)>,
}

/// The components of some slots, in their order.
#[derive(Clone, Copy)]
pub struct Components<'a> {
    arena: &'a Arena,
    list: &'a [Component],
}

impl<'a> Components<'a> {
    /// For each component its keys, in the order of rows. The numbers of components and keys are their places here.
    pub fn heads(&self) -> impl Iterator<Item = &'a [Head]> {
        self.list.iter().map(|component| &component.heads[..])
    }

    /// The ops of a component in the order of the log, each with the number of its key.
    pub fn ops(&self, component: usize) -> impl Iterator<Item = (usize, &'a [u8])> + use<'a> {
        let arena = self.arena;
        self.list[component].ops.iter().map(move |&(key, place)| (key as usize, arena.get(place).bare))
    }
}

/// Components in the making.
struct Connected {
    slots: BTreeSet<u16>,
    /// Component and number in it.
    names: BTreeMap<SpaceId, BTreeMap<Vec<u8>, (usize, u32)>>,
    components: Vec<Component>,
}

impl Connected {
    fn new(arena: &Arena, renames: &[Place], seed: u64) -> Self {
        let mut numbers: BTreeMap<Head, usize> = BTreeMap::new();
        let mut parents: Vec<usize> = Vec::new();
        for &place in renames {
            let Stored { space, key, bare } = arena.get(place);
            let Ok(Op::Rename { to }) = Op::decode_bare(bare) else { continue };
            let [from, to] = [key, to].map(|key| {
                let KeyRef { slot, hash, .. } = KeyRef::new(key, seed);
                let fresh = parents.len();
                let number = *numbers.entry(Head { slot, hash, space, key: key.to_vec() }).or_insert(fresh);
                if number == fresh {
                    parents.push(fresh);
                }
                root(&mut parents, number)
            });
            parents[from] = to;
        }
        let mut connected = Self { slots: BTreeSet::new(), names: BTreeMap::new(), components: Vec::new() };
        let mut of_root = BTreeMap::new();
        // In the order of rows: so are the keys of a component then, and the components by slot.
        for (head, number) in numbers {
            let components = &mut connected.components;
            let at = *of_root.entry(root(&mut parents, number)).or_insert_with(|| {
                components.push(Component { heads: Vec::new(), ops: Vec::new() });
                components.len() - 1
            });
            let heads = &mut components[at].heads;
            connected.slots.insert(head.slot);
            let names = connected.names.entry(head.space).or_default();
            names.insert(head.key.clone(), (at, heads.len() as u32));
            heads.push(head);
        }
        connected
    }

    /// Takes the ops of a key if it is connected to others.
    fn take(&mut self, arena: &Arena, slot: u16, ops: &[Indexed]) -> bool {
        if !self.slots.contains(&slot) {
            return false;
        }
        let (space, key) = arena.name(ops[0].place());
        let Some(&(component, number)) = self.names.get(&space).and_then(|names| names.get(key)) else {
            return false;
        };
        self.components[component].ops.extend(ops.iter().map(|op| (number, op.place())));
        true
    }

    fn finish(mut self) -> Vec<Component> {
        self.components.iter_mut().for_each(|component| component.ops.sort_unstable_by_key(|op| op.1));
        self.components
    }
}

fn root(parents: &mut [usize], mut number: usize) -> usize {
    while parents[number] != number {
        parents[number] = parents[parents[number]];
        number = parents[number];
    }
    number
}

/// Part of the log, sorted. Reading is by shared reference: ranges may be read by several threads at once.
pub struct SortedOps {
    arena: Arena,
    index: Vec<Indexed>,
    components: Vec<Component>,
    space_ops: Vec<(Lsn, SpaceOp)>,
    through: Lsn,
}

impl SortedOps {
    /// `seed` is that of the keys' hashes; `budget_bytes` is when [`SortedOpsBuilder::is_full`] says so.
    pub fn builder(seed: u64, budget_bytes: usize) -> SortedOpsBuilder {
        SortedOpsBuilder {
            seed,
            budget_bytes,
            arena: Arena::default(),
            index: Vec::new(),
            renames: Vec::new(),
            space_ops: Vec::new(),
            through: 0,
            bare: Vec::new(),
        }
    }

    /// Ops on whole databases, in order, each with the end of its record.
    pub fn space_ops(&self) -> &[(Lsn, SpaceOp)] {
        &self.space_ops
    }

    /// End of the last record.
    pub const fn through(&self) -> Lsn {
        self.through
    }

    pub fn bytes(&self) -> usize {
        self.arena.bytes + self.index.len() * size_of::<Indexed>()
    }

    /// Ops on keys that still count.
    pub fn len(&self) -> usize {
        self.index.len() + self.components.iter().map(|component| component.ops.len()).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows of these slots, without those of keys that renames connect.
    pub fn rows(&self, slots: RangeInclusive<u16>) -> SortedRows<'_> {
        let start = self.index.partition_point(|op| op.slot() < *slots.start());
        let end = self.index.partition_point(|op| op.slot() <= *slots.end()).max(start);
        let mut rows = SortedRows {
            arena: &self.arena,
            rest: &self.index[start..end],
            row: &[],
            head: Head { slot: 0, hash: 0, space: 0, key: Vec::new() },
            ended: false,
        };
        rows.find_row();
        rows
    }

    /// The components of these slots: with [`Self::rows`] everything that the log says of the slots.
    pub fn components(&self, slots: RangeInclusive<u16>) -> Components<'_> {
        let slot = |component: &Component| component.heads[0].slot;
        let start = self.components.partition_point(|component| slot(component) < *slots.start());
        let end = self.components.partition_point(|component| slot(component) <= *slots.end()).max(start);
        Components { arena: &self.arena, list: &self.components[start..end] }
    }
}

/// Rows of a range of slots of [`SortedOps`].
pub struct SortedRows<'a> {
    arena: &'a Arena,
    /// Behind the row that stands next.
    rest: &'a [Indexed],
    /// What has not been read of it.
    row: &'a [Indexed],
    head: Head,
    ended: bool,
}

impl SortedRows<'_> {
    fn find_row(&mut self) {
        let Some(&first) = self.rest.first() else {
            self.row = &[];
            self.ended = true;
            return;
        };
        let name = self.arena.name(first.place());
        let same = |op: &&Indexed| op.group() == first.group() && self.arena.name(op.place()) == name;
        let len = 1 + self.rest[1..].iter().take_while(same).count();
        (self.head.slot, self.head.hash) = first.group();
        self.head.space = name.0;
        self.head.key.clear();
        self.head.key.extend_from_slice(name.1);
        (self.row, self.rest) = self.rest.split_at(len);
    }
}

impl RowSource for SortedRows<'_> {
    fn head(&self) -> Option<&Head> {
        (!self.ended).then_some(&self.head)
    }

    fn next_op(&mut self) -> Result<Option<&[u8]>, StoreError> {
        let Some((first, rest)) = self.row.split_first() else { return Ok(None) };
        self.row = rest;
        Ok(Some(self.arena.get(first.place()).bare))
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        self.find_row();
        Ok(())
    }
}
