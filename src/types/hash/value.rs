//! A hash: fields with values, each of which may expire by itself.
//!
//! A small hash is one sequence in the order in which its fields came, a large one pages without an order: see [`MemberTable`].
//! A row is a field and its value; the value of a field that expires is marked and begins with its time:
//!
//! ```text
//! row = field | value        marked value = expire_at u64 | bytes
//! ```
//!
//! Expired fields stay until an op removes them; readers pass the time and don't see them.

use std::collections::BTreeSet;

use crate::types::limits::{self, HASH_MAX_LISTPACK_ENTRIES, HASH_MAX_LISTPACK_VALUE};
use crate::types::member_table::{MemberTable, Place, Row, hash_of};
use crate::types::strings::Strings;
use crate::types::{Collection, Misfit, REBUILD_BYTES};

pub use super::op::HashOp;

/// Expiry times and hashes of the fields that have one. Two fields with the same time and the same hash share a deadline: it
/// takes 2^32 fields to meet a pair, and they merely leave late.
type Deadlines = BTreeSet<(u64, u64)>;

#[derive(Debug, Default)]
pub struct Hash {
    table: MemberTable<2, Deadlines>,
}

/// A field as readers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    /// Unix time in milliseconds.
    pub expire_at: Option<u64>,
}

impl<'a> Field<'a> {
    fn of([field, value]: Row<'a, 2>) -> Self {
        let (expire_at, value) = match value.bytes.split_first_chunk::<8>() {
            Some((at, bytes)) if value.marked => (Some(u64::from_le_bytes(*at)), bytes),
            _ => (None, value.bytes),
        };
        Self { name: field.bytes, value, expire_at }
    }

    fn is_live(&self, now_ms: u64) -> bool {
        self.expire_at.is_none_or(|at| at > now_ms)
    }
}

/// What readers ask. `now_ms` hides the fields whose time has come.
impl Hash {
    #[inline]
    pub fn get(&self, field: &[u8], now_ms: u64) -> Option<Field<'_>> {
        self.table.get(field).map(Field::of).filter(|field| field.is_live(now_ms))
    }

    pub fn contains(&self, field: &[u8], now_ms: u64) -> bool {
        self.get(field, now_ms).is_some()
    }

    /// Number of live fields.
    pub fn len(&self, now_ms: u64) -> usize {
        let expired = |deadlines: &Deadlines| deadlines.range(..=(now_ms, u64::MAX)).count();
        self.table.len() - self.table.companion().map_or(0, expired)
    }

    /// True if some fields are still there whose time has come.
    #[inline]
    pub fn has_expired(&self, now_ms: u64) -> bool {
        self.next_expiry().is_some_and(|at| at <= now_ms)
    }

    /// When the first live field expires.
    pub fn next_live_expiry(&self, now_ms: u64) -> Option<u64> {
        let mut later = self.table.companion()?.range((now_ms.saturating_add(1), 0)..);
        later.next().map(|deadline| deadline.0)
    }

    /// The live fields: those of a small hash in the order in which they came.
    pub fn fields(&self, now_ms: u64) -> impl Iterator<Item = Field<'_>> {
        self.table.iter().map(Field::of).filter(move |field| field.is_live(now_ms))
    }

    /// Visits some live fields from a position on (0 to begin with) and returns the position to go on from, `None` at the end.
    /// Fields that are there from beginning to end are visited, however the hash changes in between.
    pub fn scan<'a>(&'a self, from: u64, now_ms: u64, visit: &mut dyn FnMut(Field<'a>)) -> Option<u64> {
        self.table.scan_page(from, &mut |row| {
            let field = Field::of(row);
            if field.is_live(now_ms) {
                visit(field);
            }
        })
    }

    /// A field chosen evenly among all, expired ones included; `below` draws a number in `0..bound`.
    pub fn sample(&self, below: &mut dyn FnMut(u64) -> u64) -> Option<Field<'_>> {
        self.table.sample(below).map(Field::of)
    }

    /// Whether choosing by [`Self::sample`] is cheap.
    pub fn is_spread(&self) -> bool {
        self.table.is_spread()
    }

    /// Fields whose time has come, first those that expired first, at most `max`.
    pub fn expired_fields(&self, now_ms: u64, max: usize) -> Vec<Vec<u8>> {
        let Some(deadlines) = self.table.companion() else { return Vec::new() };
        if !self.table.is_spread() {
            let expired = self.table.iter().map(Field::of).filter(|field| !field.is_live(now_ms));
            let mut expired: Vec<_> = expired.collect();
            expired.sort_by_key(|field| field.expire_at);
            return expired.iter().take(max).map(|field| field.name.to_vec()).collect();
        }
        let due = deadlines.range(..=(now_ms, u64::MAX));
        let fields = due.flat_map(|&(at, hash)| {
            self.table.with_hash(hash).map(Field::of).filter(move |field| field.expire_at == Some(at))
        });
        fields.take(max).map(|field| field.name.to_vec()).collect()
    }
}

impl Hash {
    fn forget_deadline(&mut self, field: &[u8], at: u64) {
        let deadlines = self.table.companion_mut();
        deadlines.remove(&(at, hash_of(field)));
        if deadlines.is_empty() {
            self.table.drop_companion();
        }
    }

    fn note_deadline(&mut self, field: &[u8], at: u64) {
        self.table.companion_mut().insert((at, hash_of(field)));
    }

    fn expiry_at(&self, place: Place) -> Option<u64> {
        Field::of(self.table.row(place)).expire_at
    }

    fn set(&mut self, pairs: Strings<'_>, keep_ttl: bool) {
        let value_max = limits::get(&HASH_MAX_LISTPACK_VALUE);
        let mut strings = pairs.iter();
        while let (Some(field), Some(value)) = (strings.next(), strings.next()) {
            if field.len().max(value.len()) > value_max {
                self.table.spread();
            }
            let Some(place) = self.table.find(field) else {
                self.table.insert(field, &[(&[value], false)]);
                continue;
            };
            match self.expiry_at(place) {
                Some(at) if keep_ttl => self.table.set(place, 1, &[&at.to_le_bytes(), value], true),
                expiry => {
                    self.table.set(place, 1, &[value], false);
                    expiry.into_iter().for_each(|at| self.forget_deadline(field, at));
                }
            }
        }
        if self.table.len() > limits::get(&HASH_MAX_LISTPACK_ENTRIES) {
            self.table.spread();
        }
    }

    fn remove(&mut self, fields: Strings<'_>) {
        for field in fields.iter() {
            // A field may be named twice.
            let Some(place) = self.table.find(field) else { continue };
            let expiry = self.expiry_at(place);
            self.table.remove(place);
            expiry.into_iter().for_each(|at| self.forget_deadline(field, at));
        }
    }

    fn expire(&mut self, fields: Strings<'_>, at: Option<u64>) {
        let mut value = Vec::new();
        for field in fields.iter() {
            let Some(place) = self.table.find(field) else { continue };
            let old = Field::of(self.table.row(place));
            let expiry = old.expire_at;
            value.clear();
            value.extend_from_slice(old.value);
            match at {
                Some(at) => self.table.set(place, 1, &[&at.to_le_bytes(), &value], true),
                None => self.table.set(place, 1, &[&value], false),
            }
            expiry.into_iter().for_each(|old| self.forget_deadline(field, old));
            at.into_iter().for_each(|at| self.note_deadline(field, at));
        }
    }

    /// Checked before anything changes: an op that does not fit changes nothing.
    fn expect_all(&self, fields: Strings<'_>) -> Result<(), Misfit> {
        let missing = fields.iter().any(|field| self.table.find(field).is_none());
        if missing { Err(Misfit("a hash field is not there")) } else { Ok(()) }
    }
}

impl Collection for Hash {
    type Op<'a> = HashOp<'a>;

    fn apply(&mut self, op: &HashOp<'_>) -> Result<(), Misfit> {
        match *op {
            HashOp::Set { pairs } => self.set(pairs, false),
            HashOp::SetKeepTtl { pairs } => self.set(pairs, true),
            HashOp::Remove { fields } => {
                self.expect_all(fields)?;
                self.remove(fields);
            }
            HashOp::ExpireFields { at_ms, fields } => {
                self.expect_all(fields)?;
                self.expire(fields, Some(at_ms));
            }
            HashOp::PersistFields { fields } => {
                self.expect_all(fields)?;
                self.expire(fields, None);
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn rebuild(&self, emit: &mut dyn FnMut(HashOp<'_>)) {
        let (mut strings, mut bytes) = (Vec::new(), 0);
        let mut expiring = Vec::new();
        for field in self.table.iter().map(Field::of) {
            let len = field.name.len() + field.value.len();
            if bytes + len > REBUILD_BYTES && !strings.is_empty() {
                emit(HashOp::set(&strings[..]));
                strings.clear();
                bytes = 0;
            }
            strings.extend([field.name, field.value]);
            bytes += len;
            expiring.extend(field.expire_at.map(|at| (at, field.name)));
        }
        if !strings.is_empty() {
            emit(HashOp::set(&strings[..]));
        }
        expiring.sort_unstable();
        for same_time in expiring.chunk_by(|a, b| a.0 == b.0) {
            let (mut fields, mut bytes) = (Vec::new(), 0);
            for &(at, field) in same_time {
                if bytes + field.len() > REBUILD_BYTES && !fields.is_empty() {
                    emit(HashOp::expire(at, &fields[..]));
                    fields.clear();
                    bytes = 0;
                }
                fields.push(field);
                bytes += field.len();
            }
            emit(HashOp::expire(same_time[0].0, &fields[..]));
        }
    }

    fn encoding(&self) -> &'static str {
        match (self.table.is_spread(), self.next_expiry()) {
            (true, _) => "hashtable",
            (false, Some(_)) => "listpackex",
            (false, None) => "listpack",
        }
    }

    fn heap_bytes(&self) -> usize {
        // A node of the set holds eleven deadlines and is two thirds full on average.
        let deadlines = |deadlines: &Deadlines| deadlines.len() * size_of::<(u64, u64)>() * 3 / 2;
        self.table.heap_bytes() + self.table.companion().map_or(0, deadlines)
    }

    #[inline]
    fn next_expiry(&self) -> Option<u64> {
        self.table.companion()?.first().map(|deadline| deadline.0)
    }
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
