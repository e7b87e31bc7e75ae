//! Merging: several files and a sorted part of the log become one file, or a keyspace.
//!
//! ```text
//! base, deltas, sorted log ---- rows side by side -----> Delta: ops of all, without those that a set or delete makes void
//!                          \--- renamed keys: made ----> Base:  each key made by `apply`, written as the ops that make it
//! ```
//!
//! One key is in memory at a time, and the keys of a [component](super::sorted::Component) from the turn of its first key until that of
//! its last. A row of the oldest base that nothing newer touches is copied, as is a string that was set and then left alone.
//!
//! What rows may hold beyond what the log does: a first op `Delete` of a key that is not there. It says that older rows are void.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::iter::Peekable;

use super::rows::{Head, RowSink, RowSource};
use super::side_by_side::{SideBySide, Visit};
use super::sorted::Components;
use crate::codec::{Cursor, put_bytes};
use crate::error::StoreError;
use crate::keyspace::hash::KeyRef;
use crate::keyspace::op::{Effect, Op, SpaceId, encode_bare};
use crate::keyspace::rebuild::ops_of;
use crate::keyspace::scratch::Scratch;
use crate::types::REBUILD_BYTES;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Rows that make each key from nothing; no rows of keys that are not there.
    Base,
    /// Rows that go on from older ones; a key that is gone is a row of one `Delete`.
    Delta,
}

/// Visits all ops of a key in the files that are older than the components, oldest first. Called only for renamed keys whose
/// older value counts.
pub type Older<'a> = dyn FnMut(&Head, &mut Visit<'_>) -> Result<(), StoreError> + 'a;

/// What a merge is besides its sources.
pub struct Plan<'a> {
    pub mode: Mode,
    /// Whether the oldest source is a base: what it alone has can be copied.
    pub has_base: bool,
    /// Seed of the keys' hashes.
    pub seed: u64,
    /// Whether a database still has a keyspace: rows of others are left out.
    pub is_live: &'a dyn Fn(SpaceId) -> bool,
    /// The renamed keys of the newest source, a sorted part of the log; of the same slots as the sources.
    pub renamed: Option<Components<'a>>,
}

/// What a merge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MergeStats {
    /// Written.
    pub rows: u64,
    pub ops: u64,
    /// Of the ops written, without what the file adds.
    pub bytes: u64,
    /// Keys that were made by `apply`.
    pub made: u64,
}

/// An error about the rows of a key. `error` says what is wrong with them.
pub fn unfit(space: SpaceId, key: &KeyRef<'_>, error: impl Display) -> StoreError {
    let slot = key.slot;
    let mut name = key.bytes.escape_ascii().to_string();
    if name.len() > 200 {
        name.truncate(200);
        name.push_str("...");
    }
    StoreError::Refused(format!(
        "the rows of key \"{name}\" (slot {slot}, keyspace {space}) cannot be applied: {error}; run `duramen check` on the data directory"
    ))
}

/// Merges `sources`, oldest first, each of the same range of slots. A component needs `older`: see there.
pub fn merge(
    sources: &mut [&mut dyn RowSource],
    plan: &Plan<'_>,
    older: &mut Older<'_>,
    sink: &mut dyn RowSink,
) -> Result<MergeStats, StoreError> {
    let mut renamed = Renamed::new(plan, older);
    let mut rows = SideBySide::new(sources);
    let mut out = Out { sink, stats: MergeStats::default() };
    let mut maker = Maker::new(plan.seed);
    let mut head = Head { slot: 0, hash: 0, space: 0, key: Vec::new() };
    loop {
        match (rows.head(), renamed.head()) {
            (None, None) => return Ok(out.stats),
            (row, Some(turn)) if row.is_none_or(|row| row >= turn) => {
                if row == Some(turn) {
                    rows.skip()?;
                }
                renamed.write(&mut out)?;
                continue;
            }
            (Some(row), _) => head.clone_from(row),
            (None, Some(_)) => unreachable!("a turn with no row before it is taken above"),
        }
        if !(plan.is_live)(head.space) {
            rows.skip()?;
        } else if plan.mode == Mode::Delta || plan.has_base && rows.only_source() == Some(0) {
            let mut begun = false;
            rows.take(&mut |op| {
                if !std::mem::replace(&mut begun, true) {
                    out.begin(&head)?;
                }
                out.op(op)
            })?;
        } else {
            rows.take(&mut |op| maker.op(&head, op))?;
            maker.write(&head, &mut out)?;
        }
    }
}

/// A sink that counts.
struct Out<'a> {
    sink: &'a mut dyn RowSink,
    stats: MergeStats,
}

impl Out<'_> {
    fn begin(&mut self, head: &Head) -> Result<(), StoreError> {
        self.stats.rows += 1;
        self.sink.begin(head)
    }

    fn op(&mut self, op: &[u8]) -> Result<(), StoreError> {
        self.stats.ops += 1;
        self.stats.bytes += op.len() as u64;
        self.sink.op(op)
    }
}

/// Makes a key from its ops. A single op is held back: if it sets a string and nothing follows, it is the row.
struct Maker {
    scratch: Scratch,
    held: Vec<u8>,
    ops: u64,
    bare: Vec<u8>,
}

impl Maker {
    fn new(seed: u64) -> Self {
        Self { scratch: Scratch::new(seed), held: Vec::new(), ops: 0, bare: Vec::new() }
    }

    fn op(&mut self, head: &Head, op: &[u8]) -> Result<(), StoreError> {
        self.ops += 1;
        if self.ops == 1 {
            self.held.clear();
            self.held.extend_from_slice(op);
            return Ok(());
        }
        if self.ops == 2 {
            self.apply_held(head)?;
        }
        apply(&mut self.scratch, head, op)
    }

    fn apply_held(&mut self, head: &Head) -> Result<(), StoreError> {
        if Effect::of(&self.held) == Effect::Removes {
            return Ok(());
        }
        apply(&mut self.scratch, head, &self.held)
    }

    /// Writes the row of the key, if it is there, and forgets it.
    fn write(&mut self, head: &Head, out: &mut Out<'_>) -> Result<(), StoreError> {
        match std::mem::take(&mut self.ops) {
            0 => return Ok(()),
            1 if Effect::of(&self.held) == Effect::Replaces => {
                out.begin(head)?;
                return out.op(&self.held);
            }
            1 => self.apply_held(head)?,
            _ => {}
        }
        out.stats.made += 1;
        let Some(entry) = self.scratch.get(&head.place()) else { return Ok(()) };
        out.begin(head)?;
        let mut result = Ok(());
        ops_of(entry, REBUILD_BYTES, &mut |op| {
            if result.is_ok() {
                self.bare.clear();
                encode_bare(&mut self.bare, &op);
                result = out.op(&self.bare);
            }
        });
        self.scratch.remove(&head.place());
        result
    }
}

fn apply(scratch: &mut Scratch, head: &Head, op: &[u8]) -> Result<(), StoreError> {
    let (space, key) = (head.space, head.place());
    let op = Op::decode_bare(op).map_err(|e| unfit(space, &key, e))?;
    scratch.apply(&key, &op).map_err(|e| unfit(space, &key, e))
}

/// The rows of renamed keys, made when the first key of a component has its turn.
struct Renamed<'p, 'o> {
    plan: &'p Plan<'p>,
    older: &'o mut Older<'p>,
    turns: Peekable<std::vec::IntoIter<Turn<'p>>>,
    /// By component: by key, its row.
    made: Vec<Option<Vec<Row>>>,
}

/// A key of a component whose row is to be written when the keys before it are.
struct Turn<'p> {
    head: &'p Head,
    component: usize,
    number: usize,
}

/// Length-prefixed ops; `None` if there is no row.
type Row = Option<Vec<u8>>;

impl<'p, 'o> Renamed<'p, 'o> {
    fn new(plan: &'p Plan<'p>, older: &'o mut Older<'p>) -> Self {
        let mut turns = Vec::new();
        let components = plan.renamed.iter().flat_map(|renamed| renamed.heads());
        let mut count = 0;
        for (component, heads) in components.enumerate() {
            count += 1;
            if (plan.is_live)(heads[0].space) {
                turns.extend(heads.iter().enumerate().map(|(number, head)| Turn { head, component, number }));
            }
        }
        turns.sort_unstable_by_key(|turn| turn.head);
        let made = std::iter::repeat_with(|| None).take(count).collect();
        Self { plan, older, turns: turns.into_iter().peekable(), made }
    }

    fn head(&mut self) -> Option<&'p Head> {
        self.turns.peek().map(|turn| turn.head)
    }

    /// Writes the row whose turn it is.
    fn write(&mut self, out: &mut Out<'_>) -> Result<(), StoreError> {
        let Some(Turn { head, component, number }) = self.turns.next() else { return Ok(()) };
        if self.made[component].is_none() {
            self.made[component] = Some(self.make(component)?);
        }
        let row = self.made[component].as_mut().and_then(|rows| rows[number].take());
        out.stats.made += 1;
        let Some(row) = row else { return Ok(()) };
        out.begin(head)?;
        let mut cursor = Cursor::new(&row);
        while let Ok(op) = cursor.bytes() {
            out.op(op)?;
        }
        Ok(())
    }

    fn make(&mut self, component: usize) -> Result<Vec<Row>, StoreError> {
        let Some(renamed) = self.plan.renamed else { return Ok(Vec::new()) };
        let heads = renamed.heads().nth(component).unwrap_or_default();
        let mut scratch = Scratch::new(self.plan.seed);
        let older = older_counts(heads, renamed.ops(component));
        for (head, _) in heads.iter().zip(&older).filter(|(_, counts)| **counts) {
            (self.older)(head, &mut |op| {
                // Each file's row may begin with one that says only that older rows are void.
                if Effect::of(op) == Effect::Removes {
                    scratch.remove(&head.place());
                    return Ok(());
                }
                apply(&mut scratch, head, op)
            })?;
        }
        for (number, op) in renamed.ops(component) {
            let head = &heads[number];
            if Effect::of(op) == Effect::Removes && !older[number] {
                // What it removes was not asked for.
                scratch.remove(&head.place());
                continue;
            }
            apply(&mut scratch, head, op)?;
        }
        Ok(heads.iter().map(|head| self.row_of(&mut scratch, head)).collect())
    }

    fn row_of(&self, scratch: &mut Scratch, head: &Head) -> Row {
        let mut row = Vec::new();
        let mut bare = Vec::new();
        let mut put = |op: Op<'_>| {
            bare.clear();
            encode_bare(&mut bare, &op);
            put_bytes(&mut row, &bare);
        };
        let entry = scratch.get(&head.place());
        if self.plan.mode == Mode::Delta && entry.is_none_or(|entry| entry.as_string().is_none()) {
            put(Op::Delete);
        }
        if let Some(entry) = entry {
            ops_of(entry, REBUILD_BYTES, &mut put);
        }
        scratch.remove(&head.place());
        Some(row).filter(|row| !row.is_empty())
    }
}

/// For each key of a component: whether what it was before matters.
fn older_counts<'a>(heads: &[Head], ops: impl Iterator<Item = (usize, &'a [u8])>) -> Vec<bool> {
    let numbers: BTreeMap<&[u8], usize> = heads.iter().map(|head| &head.key[..]).zip(0..).collect();
    let mut counts: Vec<Option<bool>> = vec![None; heads.len()];
    for (number, op) in ops {
        counts[number].get_or_insert(!Effect::of(op).is_fresh_start());
        if let Ok(Op::Rename { to }) = Op::decode_bare(op)
            && let Some(&to) = numbers.get(to)
        {
            counts[to].get_or_insert(false);
        }
    }
    counts.into_iter().map(|counts| counts.unwrap_or(false)).collect()
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
