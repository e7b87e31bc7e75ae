//! A stream: entries in the order of their ids, the numbers that outlive them, and the groups that consume it.
//!
//! Unlike other collections a stream may be empty: it still knows its last id and its groups.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use smallvec::SmallVec;

use crate::allocator::real_size;
use crate::types::text::Text;
use crate::types::{Collection, CollectionOp, Misfit};

use super::blocks::{Blocks, Range};
use super::group::Group;

pub use super::entry::{Entry, EntryStrings};
pub use super::id::StreamId;
pub use super::op::{Ids, PendingRow, Pendings, StreamOp};

/// Pending entries that one op of [`Stream::rebuild`] holds.
const PENDINGS_PER_OP: usize = 2000;

#[derive(Debug, Default)]
pub struct Stream {
    entries: Blocks,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
    groups: BTreeMap<Box<[u8]>, Group>,
}

/// What readers ask.
impl Stream {
    pub fn length(&self) -> usize {
        self.entries.len()
    }

    /// The highest id that was ever used.
    pub const fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// Of the first entry; 0-0 if there is none.
    pub fn first_id(&self) -> StreamId {
        self.entries.first_id().unwrap_or_default()
    }

    /// Of the last entry that is there.
    pub fn last_entry_id(&self) -> Option<StreamId> {
        self.entries.last_id()
    }

    /// Whether there are entries behind an id: what a group has yet to read, if it is the group's last one.
    pub fn has_entries_behind(&self, id: StreamId) -> bool {
        self.last_entry_id().is_some_and(|last| last > id)
    }

    /// Of how many blocks the entries are made: Redis' nodes.
    pub fn blocks(&self) -> usize {
        self.entries.count()
    }

    pub const fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// How many entries were ever added.
    pub const fn entries_added(&self) -> u64 {
        self.entries_added
    }

    /// Entries in ascending order of ids. An empty range is none.
    pub fn range(&self, ids: RangeInclusive<StreamId>) -> Range<'_> {
        self.entries.range(ids)
    }

    /// Whether there is an entry behind an id.
    pub fn has_behind(&self, id: StreamId) -> bool {
        let from = id.next().filter(|from| *from <= self.last_id);
        from.is_some_and(|from| self.range(from..=StreamId::MAX).next().is_some())
    }

    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.entries.get(id)
    }

    /// Entries from the head on that XTRIM with MAXLEN or MINID removes: those too many for `max_len`, or below `min_id`. With `limit`
    /// (`~`) only whole blocks, and no more entries than that unless it is 0.
    pub fn excess(&self, keep: Keep, limit: Option<u64>) -> u64 {
        self.entries.excess(keep, limit)
    }

    fn counts(&self) -> Counts {
        let Self { last_id, max_deleted_id, entries_added, .. } = *self;
        let (first_id, length) = (self.first_id(), self.length() as u64);
        Counts { length, first_id, last_id, max_deleted_id, entries_added }
    }

    /// Of a group that is created at, or set to, this id: how many entries it has read then, if that can be known.
    pub fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        self.counts().entries_up_to(id)
    }

    /// How many entries a group has yet to read, if that can be known: less than 0 if it was said to have read more than there were.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        self.counts().lag(group.last_id(), group.entries_read())
    }

    /// In ascending order of names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, group))
    }

    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }
}

/// What a trim leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// So many entries at the end.
    Len(u64),
    /// Entries from an id on.
    From(StreamId),
}

/// What is known of a stream's entries without a look at them.
struct Counts {
    length: u64,
    first_id: StreamId,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
}

impl Counts {
    fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if (self.length == 0 && id <= self.last_id) || id == self.last_id {
            return Some(self.entries_added);
        }
        if id > self.last_id || (id != StreamId::MIN && id < self.max_deleted_id) {
            return None;
        }
        if self.max_deleted_id != StreamId::MIN && self.max_deleted_id >= self.first_id {
            return None;
        }
        let before = self.entries_added.saturating_sub(self.length);
        match id.cmp(&self.first_id) {
            Ordering::Less => Some(before),
            Ordering::Equal => Some(before.saturating_add(1)),
            Ordering::Greater => None,
        }
    }

    fn has_deletions_from(&self, id: StreamId) -> bool {
        self.length > 0 && self.max_deleted_id != StreamId::MIN && id <= self.max_deleted_id
    }

    fn lag(&self, last_id: StreamId, entries_read: Option<u64>) -> Option<i64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if last_id < self.first_id && self.max_deleted_id < self.first_id {
            return Some(self.length as i64);
        }
        let read = match entries_read {
            Some(read) if !self.has_deletions_from(last_id) => Some(read),
            _ => self.entries_up_to(last_id),
        };
        read.map(|read| self.entries_added.wrapping_sub(read) as i64)
    }

    /// What a group has read that stood at an id and goes on to the next entry.
    fn read_on(&self, last_id: StreamId, entries_read: Option<u64>, to: StreamId) -> Option<u64> {
        match entries_read {
            Some(read) if !self.has_deletions_from(last_id) && last_id >= self.first_id => {
                Some(read.saturating_add(1))
            }
            _ if self.entries_added > 0 => self.entries_up_to(to),
            read => read,
        }
    }
}

const NO_GROUP: Misfit = Misfit("no such group");
const NO_CONSUMER: Misfit = Misfit("no such consumer");
const NO_ENTRY: Misfit = Misfit("no such entry");

/// Changes. Each checks before anything changes.
impl Stream {
    fn trim(&mut self, count: u64, forget: bool) -> Result<(), Misfit> {
        let count =
            usize::try_from(count).ok().filter(|count| *count <= self.entries.len()).ok_or(NO_ENTRY)?;
        let groups = &mut self.groups;
        let mut forgotten = |id| groups.values_mut().for_each(|group| _ = group.forget(id));
        self.entries.trim(count, if forget { Some(&mut forgotten) } else { None });
        Ok(())
    }

    fn delete(&mut self, ids: Ids<'_>, forget: bool) -> Result<(), Misfit> {
        if ids.iter().any(|id| self.get(id).is_none()) {
            return Err(NO_ENTRY);
        }
        self.entries.remove(ids.iter());
        for id in ids.iter() {
            self.max_deleted_id = self.max_deleted_id.max(id);
            if forget {
                self.groups.values_mut().for_each(|group| _ = group.forget(id));
            }
        }
        Ok(())
    }

    fn deliver(
        &mut self,
        group: &[u8],
        consumer: &[u8],
        at_ms: u64,
        count: u64,
        pend: bool,
    ) -> Result<(), Misfit> {
        let counts = self.counts();
        let group = self.groups.get_mut(group).ok_or(NO_GROUP)?;
        let from = group.last_id.next().ok_or(NO_ENTRY)?;
        let count = usize::try_from(count).map_err(|_| NO_ENTRY)?;
        let next = self.entries.range(from..=StreamId::MAX).take(count);
        if next.clone().count() != count {
            return Err(NO_ENTRY);
        }
        let number = group.number_or_new(consumer);
        group.set_active(number, at_ms);
        for Entry { id, .. } in next {
            group.entries_read = counts.read_on(group.last_id, group.entries_read, id);
            group.last_id = id;
            if pend {
                group.assign(number, PendingRow { id, delivered_ms: at_ms, deliveries: 1 });
            }
        }
        Ok(())
    }

    fn apply_to_group(&mut self, op: &StreamOp<'_>, name: &[u8]) -> Result<(), Misfit> {
        let group = self.groups.get_mut(name).ok_or(NO_GROUP)?;
        match *op {
            StreamOp::SetConsumer { consumer, seen_ms, active_ms, .. } => {
                let number = group.number_or_new(consumer);
                let consumer = group.numbered_mut(number);
                (consumer.seen_ms, consumer.active_ms) = (seen_ms, active_ms);
            }
            StreamOp::RemoveConsumer { consumer, .. } => {
                return if group.remove_consumer(consumer) { Ok(()) } else { Err(NO_CONSUMER) };
            }
            StreamOp::Assign { consumer, at_ms, rows, .. } => {
                if at_ms.is_none() && group.consumer(consumer).is_none() {
                    return Err(NO_CONSUMER);
                }
                let number = group.number_or_new(consumer);
                if let Some(at_ms) = at_ms {
                    group.set_active(number, at_ms);
                }
                rows.iter().for_each(|row| group.assign(number, row));
            }
            StreamOp::Acknowledge { ids, .. } => {
                if ids.iter().any(|id| group.pending_at(id).is_none()) {
                    return Err(Misfit("an entry is not pending"));
                }
                ids.iter().for_each(|id| _ = group.forget(id));
            }
            _ => unreachable!("the caller picks the ops on a group"),
        }
        Ok(())
    }
}

impl Collection for Stream {
    type Op<'a> = StreamOp<'a>;

    fn apply(&mut self, op: &StreamOp<'_>) -> Result<(), Misfit> {
        match *op {
            StreamOp::Add { id, fields } => {
                if id <= self.last_id || fields.is_empty() || !fields.len().is_multiple_of(2) {
                    return Err(Misfit("an entry that no stream can have"));
                }
                self.entries.push(id, fields);
                self.last_id = id;
                self.entries_added = self.entries_added.saturating_add(1);
            }
            StreamOp::Trim { count, forget } => return self.trim(count, forget),
            StreamOp::Delete { ids, forget } => return self.delete(ids, forget),
            StreamOp::Reset { last_id, max_deleted_id, entries_added } => {
                if self.last_entry_id().is_some_and(|id| id > last_id)
                    || (self.entries.len() as u64) > entries_added
                {
                    return Err(Misfit("numbers below those of the entries"));
                }
                (self.last_id, self.max_deleted_id) = (last_id, max_deleted_id);
                self.entries_added = entries_added;
            }
            StreamOp::SetGroup { group, last_id, entries_read } => {
                let group = self.groups.entry(group.into()).or_default();
                (group.last_id, group.entries_read) = (last_id, entries_read);
            }
            StreamOp::RemoveGroup { group } => {
                self.groups.remove(group).ok_or(NO_GROUP)?;
            }
            StreamOp::Deliver { group, consumer, at_ms, count, pend } => {
                return self.deliver(group, consumer, at_ms, count, pend);
            }
            StreamOp::SetConsumer { group, .. }
            | StreamOp::RemoveConsumer { group, .. }
            | StreamOp::Assign { group, .. }
            | StreamOp::Acknowledge { group, .. } => return self.apply_to_group(op, group),
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        false
    }

    fn rebuild(&self, emit: &mut dyn FnMut(StreamOp<'_>)) {
        for entry in self.range(StreamId::MIN..=StreamId::MAX) {
            let texts: SmallVec<[Text<'_>; 8]> = entry.strings().collect();
            let strings: SmallVec<[&[u8]; 8]> = texts.iter().map(|text| &**text).collect();
            emit(StreamOp::Add { id: entry.id, fields: strings[..].into() });
        }
        let Self { last_id, max_deleted_id, entries_added, .. } = *self;
        emit(StreamOp::Reset { last_id, max_deleted_id, entries_added });
        for (name, group) in self.groups() {
            let (last_id, entries_read) = (group.last_id, group.entries_read);
            emit(StreamOp::SetGroup { group: name, last_id, entries_read });
            for (consumer, state) in group.consumers() {
                let (seen_ms, active_ms) = (state.seen_ms, state.active_ms);
                emit(StreamOp::SetConsumer { group: name, consumer, seen_ms, active_ms });
                let rows: Vec<_> = group.pending_of(consumer, StreamId::MIN..=StreamId::MAX).collect();
                for rows in rows.chunks(PENDINGS_PER_OP) {
                    let rows = Pendings::new(rows);
                    emit(StreamOp::Assign { group: name, consumer, at_ms: None, rows });
                }
            }
        }
    }

    fn encoding(&self) -> &'static str {
        "stream"
    }

    fn heap_bytes(&self) -> usize {
        const GROUP: usize = size_of::<(Box<[u8]>, Group)>();
        let groups: usize =
            self.groups.iter().map(|(name, group)| GROUP + real_size(name.len()) + group.heap_bytes()).sum();
        self.entries.heap_bytes() + groups
    }
}

/// Equal if the ops that rebuild them are: all that can be seen, but not how the entries lie in blocks.
impl PartialEq for Stream {
    fn eq(&self, other: &Self) -> bool {
        self.ops() == other.ops()
    }
}

impl Stream {
    fn ops(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.rebuild(&mut |op| {
            bytes.push(op.code());
            op.encode(&mut bytes);
        });
        bytes
    }
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
