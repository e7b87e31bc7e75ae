//! The state that a damaged snapshot and the log behind it still vouch for: each key exactly as it was, or not there.
//!
//! Where a file has a [gap](Gap), a key inside it may have had a row there or none. So each such key is *lost*, whatever older files say of
//! it, until something newer makes it whole: a set or a delete, at the beginning of a row of a newer file or in the log, or another
//! key that is renamed to it. What else newer files and the log do to a lost key is dropped with it, and the key is named. A key that a
//! lost one is renamed to is lost from there on. A keyspace that was made after the snapshot (FLUSHDB) has no lost keys.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use crate::disk::Disk;
use crate::error::{Corruption, StoreError};
use crate::keyspace::hash::KeyRef;
use crate::keyspace::op::{AnyOp, Effect, LIBRARIES, Op, Ops, SpaceId};
use crate::keyspace::stripe::stripe_of;
use crate::keyspace::waiters::StripeSet;
use crate::keyspace::{DATABASES_MAX, Keyspace};
use crate::log::Lsn;
use crate::log::manifest::Manifest;
use crate::log::survey::Walked;
use crate::snapshot::catalog::{Catalog, RANGES, slots_of};
use crate::snapshot::header::Kind;
use crate::snapshot::merge::unfit;
use crate::snapshot::retained::Catalogs;
use crate::snapshot::salvage::{self, Gap, Salvaged};
use crate::types::string::value::StringOp;

use super::load;

/// The snapshot of which the least is lost.
pub struct Choice {
    pub catalog: Catalog,
    /// Its files, as far as they can be read.
    pub files: Vec<Salvaged>,
}

impl Choice {
    pub fn is_damaged(&self) -> bool {
        self.files.iter().any(|file| !file.damages.is_empty())
    }

    pub fn lost_rows(&self) -> u64 {
        self.files.iter().map(Salvaged::lost_rows).sum()
    }
}

/// Reads the newest snapshot, and the older ones that have the whole log behind them if it is damaged. Chosen is one that is whole, else
/// the one with the fewest lost rows; the newest of them.
pub fn choose(disk: &dyn Disk, manifest: &Manifest) -> Result<Choice, StoreError> {
    let catalogs = Catalogs::of(&manifest.sections)?;
    let first_lsn = manifest.segments.iter().find_map(|s| s.first_lsn).unwrap_or(0);
    let mut read: HashMap<u64, Salvaged> = HashMap::new();
    let mut best: Option<Choice> = None;
    let current = catalogs.current.through;
    for catalog in catalogs.newest_first().filter(|c| c.through == current || c.through >= first_lsn) {
        let mut files = Vec::new();
        for file in &catalog.files {
            let found = match read.entry(file.sequence) {
                Entry::Occupied(found) => found.get().clone(),
                Entry::Vacant(place) => {
                    let (id, seed) = (manifest.store_id, Some(manifest.seed));
                    place.insert(salvage::read(disk, file, id, seed, &mut |_, _| Ok(()))?).clone()
                }
            };
            files.push(found);
        }
        let choice = Choice { catalog: catalog.clone(), files };
        let rank = |choice: &Choice| (choice.is_damaged(), choice.lost_rows());
        if best.as_ref().is_none_or(|best| rank(&choice) < rank(best)) {
            best = Some(choice);
        }
        if best.as_ref().is_some_and(|best| !best.is_damaged()) {
            break;
        }
    }
    // There is always a newest one.
    Ok(best.unwrap_or(Choice { catalog: catalogs.current, files: Vec::new() }))
}

/// The snapshot that a repair goes by where the good beginning of the log alone won't do.
pub fn needed(disk: &dyn Disk, manifest: &Manifest, walked: &Walked) -> Result<Option<Choice>, StoreError> {
    let choice = choose(disk, manifest)?;
    let good_lsn = walked.good.map_or(walked.first_lsn, |good| good.lsn);
    // Damage that is older than the snapshot costs nothing: the records behind that can still be had. And a log of which nothing
    // is left has no segment whose end could be told: the snapshot goes into a directory with an empty one.
    let is_all_lost = walked.good.is_none() && choice.catalog.through > 0;
    let is_needed = choice.is_damaged() || good_lsn < choice.catalog.through || is_all_lost;
    Ok(is_needed.then_some(choice))
}

/// Keyspace and key.
type Name = (SpaceId, Vec<u8>);
/// Number of a file among those of its range, oldest first; the log's is [`LOG`].
type Level = usize;
const LOG: Level = usize::MAX;

/// What is known of a key beyond the gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Made whole by something of that level.
    Whole(Level),
    Lost,
}

/// A lost key that something readable names.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LostKey {
    /// Ops of the log that were dropped with it.
    pub ops: u64,
    /// An older file has a row of it, which may be out of date.
    pub has_older: bool,
}

pub struct Salvage {
    pub keyspace: Keyspace,
    /// The snapshot, its databases followed along the log.
    pub catalog: Catalog,
    /// Keyspaces from here on are newer than the snapshot.
    next_space: SpaceId,
    /// By range.
    gaps: Vec<Vec<(Level, Gap)>>,
    known: HashMap<Name, Known>,
    named: BTreeMap<Name, LostKey>,
    seed: u64,
}

impl Salvage {
    /// Loads what can be read of a snapshot.
    pub fn load(disk: &dyn Disk, manifest: &Manifest, choice: &Choice) -> Result<Self, StoreError> {
        let seed = manifest.seed.0;
        crate::types::member_table::set_seed(seed);
        let keyspace = Keyspace::new(DATABASES_MAX, seed);
        keyspace.adopt_spaces(&choice.catalog.spaces, choice.catalog.next_space);
        let mut salvage = Self {
            keyspace,
            catalog: choice.catalog.clone(),
            next_space: choice.catalog.next_space,
            gaps: vec![Vec::new(); usize::from(RANGES)],
            known: HashMap::new(),
            named: BTreeMap::new(),
            seed,
        };
        for range in 0..RANGES {
            let first_slot = *slots_of(range).start();
            let files = choice.files.iter().filter(|file| file.info.first_slot == first_slot);
            for (level, file) in files.enumerate() {
                salvage.file(disk, manifest, range, level, file)?;
            }
        }
        salvage.drop_what_may_be_old()?;
        let torn = choice.files.iter().flat_map(|file| &file.torn);
        torn.for_each(|head| _ = salvage.name(head.space, &head.key));
        Ok(salvage)
    }

    fn file(
        &mut self,
        disk: &dyn Disk,
        manifest: &Manifest,
        range: u16,
        level: Level,
        file: &Salvaged,
    ) -> Result<(), StoreError> {
        let gaps = file.gaps().map(|gap| (level, gap.clone()));
        self.gaps[usize::from(range)].extend(gaps);
        let is_base = file.info.kind == Kind::Base;
        let seed = Some(manifest.seed);
        salvage::read(disk, &file.info, manifest.store_id, seed, &mut |head, ops| {
            if !self.catalog.is_live(head.space) {
                return Ok(());
            }
            let key = head.place();
            let is_fresh = is_base || ops.first().is_some_and(|op| Effect::of(op).is_fresh_start());
            if self.is_lost(head.space, &key) {
                if !is_fresh {
                    self.name(head.space, key.bytes);
                    return Ok(());
                }
                self.known.insert((head.space, head.key.clone()), Known::Whole(level));
                self.remove(head.space, &key)?;
            }
            if self.row(head.space, &key, ops).is_err() {
                self.remove(head.space, &key)?;
                self.known.insert((head.space, head.key.clone()), Known::Lost);
                self.name(head.space, key.bytes);
            }
            Ok(())
        })?;
        Ok(())
    }

    /// A first op that deletes says that older rows are void, whether there are any or not.
    fn row(&mut self, space: SpaceId, key: &KeyRef<'_>, ops: &[&[u8]]) -> Result<(), StoreError> {
        let mut held = self.keyspace.lock(StripeSet::one(stripe_of(key.slot)));
        for (number, op) in ops.iter().enumerate() {
            let op = Op::decode_bare(op).map_err(|malformed| unfit(space, key, malformed))?;
            match held.apply(space, key, &op) {
                Err(_) if number == 0 && op == Op::Delete => {}
                applied => applied.map_err(|misfit| unfit(space, key, misfit))?,
            }
        }
        Ok(())
    }

    /// Whether what is known so far leaves open what the key is.
    fn is_lost(&self, space: SpaceId, key: &KeyRef<'_>) -> bool {
        let gaps = &self.gaps[usize::from(key.slot / (slots_of(0).end() + 1))];
        if gaps.is_empty() && self.known.is_empty() {
            return false;
        }
        // Libraries of functions are older than any snapshot, too.
        let gap = if space < self.next_space || space == LIBRARIES {
            gaps.iter().rev().find(|(_, gap)| gap.contains(space, key)).map(|(level, _)| *level)
        } else {
            None
        };
        match self.known.get(&(space, key.bytes.to_vec())) {
            Some(Known::Lost) => true,
            Some(Known::Whole(level)) => gap.is_some_and(|gap| gap > *level),
            None => gap.is_some(),
        }
    }

    fn name(&mut self, space: SpaceId, key: &[u8]) -> &mut LostKey {
        self.named.entry((space, key.to_vec())).or_default()
    }

    fn remove(&mut self, space: SpaceId, key: &KeyRef<'_>) -> Result<(), StoreError> {
        let mut held = self.keyspace.lock(StripeSet::one(stripe_of(key.slot)));
        let part = held.shelf(key.slot).stripe.part(space);
        if part.is_some_and(|part| part.get(key).is_some()) {
            held.apply(space, key, &Op::Delete).map_err(|misfit| unfit(space, key, misfit))?;
        }
        Ok(())
    }

    /// Keys of older files that a damaged newer one may have changed.
    fn drop_what_may_be_old(&mut self) -> Result<(), StoreError> {
        let mut lost = Vec::new();
        load::each_key::<StoreError>(&self.keyspace, &mut |db, entry| {
            let space = self.keyspace.space(db);
            if self.is_lost(space, &KeyRef::new(entry.key(), self.seed)) {
                lost.push((space, entry.key().to_vec()));
            }
            Ok(())
        })?;
        load::each_library::<StoreError>(&self.keyspace, &mut |library| {
            if self.is_lost(LIBRARIES, &KeyRef::new(library.key(), self.seed)) {
                lost.push((LIBRARIES, library.key().to_vec()));
            }
            Ok(())
        })?;
        for (space, key) in lost {
            self.remove(space, &KeyRef::new(&key, self.seed))?;
            self.name(space, &key).has_older = true;
        }
        Ok(())
    }

    /// Takes the next record of the log. A record of which an op on a key that is not lost cannot be applied is damage that no checksum saw.
    pub fn record(&mut self, lsn_end: Lsn, body: &[u8]) -> Result<(), StoreError> {
        let unfit = |why: &dyn std::fmt::Display| {
            let reason = format!("the record that ends at LSN {lsn_end} cannot be applied: {why}");
            StoreError::Corruption(Corruption { file: "log".into(), offset: lsn_end, reason })
        };
        for op in Ops::new(body) {
            match op.map_err(|malformed| unfit(&malformed))? {
                AnyOp::Space(op) => {
                    self.catalog.apply(&op).map_err(|malformed| unfit(&malformed))?;
                    let retired = self.keyspace.lock(StripeSet::ALL).apply_space(&op);
                    drop(retired.map_err(|error| unfit(&error))?);
                }
                AnyOp::Key { space, key, op } => {
                    let key = KeyRef::new(key, self.seed);
                    if self.is_whole_before(space, &key, &op)? {
                        let mut held = self.keyspace.lock(StripeSet::one(stripe_of(key.slot)));
                        held.apply(space, &key, &op).map_err(|misfit| unfit(&misfit))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the op is to be applied; what it does to keys that are lost is noted.
    fn is_whole_before(&mut self, space: SpaceId, key: &KeyRef<'_>, op: &Op<'_>) -> Result<bool, StoreError> {
        let is_lost = self.is_lost(space, key);
        if let Op::Rename { to } = op {
            let to = KeyRef::new(to, self.seed);
            if is_lost {
                self.remove(space, &to)?;
                self.known.insert((space, key.bytes.to_vec()), Known::Whole(LOG));
                self.known.insert((space, to.bytes.to_vec()), Known::Lost);
                self.name(space, to.bytes).ops += 1;
            } else if self.is_lost(space, &to) {
                self.known.insert((space, to.bytes.to_vec()), Known::Whole(LOG));
            }
            return Ok(!is_lost);
        }
        if !is_lost {
            return Ok(true);
        }
        if matches!(op, Op::Delete | Op::String(StringOp::Set { .. })) {
            self.known.insert((space, key.bytes.to_vec()), Known::Whole(LOG));
            // It is not there: there is nothing to delete.
            return Ok(*op != Op::Delete);
        }
        self.name(space, key.bytes).ops += 1;
        Ok(false)
    }

    /// The lost keys that something readable names: database, key.
    pub fn lost_keys(&self) -> Vec<(u32, &[u8], LostKey)> {
        let lost = self.lost().filter_map(|(space, key, lost)| {
            let db = self.catalog.spaces.iter().position(|own| *own == space)?;
            Some((db as u32, key, lost))
        });
        lost.collect()
    }

    /// The lost libraries of functions that something readable names.
    pub fn lost_libraries(&self) -> Vec<(&[u8], LostKey)> {
        let lost = self.lost().filter(|(space, ..)| *space == LIBRARIES);
        lost.map(|(_, name, lost)| (name, lost)).collect()
    }

    fn lost(&self) -> impl Iterator<Item = (SpaceId, &[u8], LostKey)> {
        let named = self.named.iter().map(|((space, key), lost)| (*space, &key[..], *lost));
        named.filter(|(space, key, _)| self.is_lost(*space, &KeyRef::new(key, self.seed)))
    }
}
