//! A stream: entries in the order of their ids, the numbers that outlive them, and the groups that consume it.
//!
//! Unlike other collections a stream may be empty: it still knows its last id and its groups.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::allocator::real_size;
use crate::types::{Collection, Misfit};

use super::group::Group;

pub use super::id::StreamId;
pub use super::op::{Ids, PendingRow, Pendings, StreamOp};

/// Pending entries that one op of [`Stream::rebuild`] holds.
const PENDINGS_PER_OP: usize = 2000;

#[derive(Debug, Default)]
pub struct Stream {
    entries: BTreeMap<StreamId, Box<[Box<[u8]>]>>,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
    groups: BTreeMap<Box<[u8]>, Group>,
}

/// An entry as readers see it.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub id: StreamId,
    strings: &'a [Box<[u8]>],
}

impl<'a> Entry<'a> {
    /// Names and values in turn.
    pub fn strings(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.strings.iter().map(|string| &**string)
    }
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
        self.entries.keys().next().copied().unwrap_or_default()
    }

    pub const fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// How many entries were ever added.
    pub const fn entries_added(&self) -> u64 {
        self.entries_added
    }

    /// Entries in ascending order of ids. An empty range is none.
    pub fn range(&self, ids: RangeInclusive<StreamId>) -> impl DoubleEndedIterator<Item = Entry<'_>> {
        let ids = (!ids.is_empty()).then_some(ids);
        ids.into_iter()
            .flat_map(|ids| self.entries.range(ids))
            .map(|(id, strings)| Entry { id: *id, strings })
    }

    /// Whether there is an entry behind an id.
    pub fn has_behind(&self, id: StreamId) -> bool {
        let from = id.next().filter(|from| *from <= self.last_id);
        from.is_some_and(|from| self.range(from..=StreamId::MAX).next().is_some())
    }

    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.entries.get(&id).map(|strings| Entry { id, strings })
    }

    /// Entries from the head on that XTRIM with MAXLEN or MINID removes: those too many for `max_len`, or below `min_id`. With `limit`
    /// (`~`) only whole blocks, and no more entries than that unless it is 0.
    pub fn excess(&self, keep: Keep, limit: Option<u64>) -> u64 {
        let all = match keep {
            Keep::Len(max) => (self.length() as u64).saturating_sub(max),
            Keep::From(id) => self.entries.range(..id).count() as u64,
        };
        match limit {
            None => all,
            Some(_) => 0,
        }
    }

    /// Of a group that is created at, or set to, this id: how many entries it has read then, if that can be known.
    pub fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if (self.entries.is_empty() && id <= self.last_id) || id == self.last_id {
            return Some(self.entries_added);
        }
        if id > self.last_id || (id != StreamId::MIN && id < self.max_deleted_id) {
            return None;
        }
        let first = self.first_id();
        if self.max_deleted_id != StreamId::MIN && self.max_deleted_id >= first {
            return None;
        }
        let before = self.entries_added - self.length() as u64;
        match id.cmp(&first) {
            std::cmp::Ordering::Less => Some(before),
            std::cmp::Ordering::Equal => Some(before + 1),
            std::cmp::Ordering::Greater => None,
        }
    }

    fn has_deletions_from(&self, id: StreamId) -> bool {
        !self.entries.is_empty() && self.max_deleted_id != StreamId::MIN && id <= self.max_deleted_id
    }

    /// How many entries a group has yet to read, if that can be known.
    pub fn lag(&self, group: &Group) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        let read = match group.entries_read {
            Some(read) if !self.has_deletions_from(group.last_id) => Some(read),
            _ => self.entries_up_to(group.last_id),
        };
        read.map(|read| self.entries_added.saturating_sub(read))
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

const NO_GROUP: Misfit = Misfit("no such group");
const NO_CONSUMER: Misfit = Misfit("no such consumer");
const NO_ENTRY: Misfit = Misfit("no such entry");

/// Changes. Each checks before anything changes.
impl Stream {
    fn remove(&mut self, id: StreamId, forget: bool) {
        self.entries.remove(&id);
        self.max_deleted_id = self.max_deleted_id.max(id);
        if forget {
            self.groups.values_mut().for_each(|group| _ = group.forget(id));
        }
    }

    fn trim(&mut self, count: u64, forget: bool) -> Result<(), Misfit> {
        if count > self.entries.len() as u64 {
            return Err(NO_ENTRY);
        }
        for _ in 0..count {
            let (id, _) = self.entries.pop_first().ok_or(NO_ENTRY)?;
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
        let last_id = self.groups.get(group).ok_or(NO_GROUP)?.last_id;
        let from = last_id.next().ok_or(NO_ENTRY)?;
        let ids: Vec<StreamId> = self
            .entries
            .range(from..)
            .map(|(id, _)| *id)
            .take(usize::try_from(count).unwrap_or(usize::MAX))
            .collect();
        if ids.len() as u64 != count {
            return Err(NO_ENTRY);
        }
        let (mut last_id, mut read) = (last_id, self.groups.get(group).ok_or(NO_GROUP)?.entries_read);
        for id in &ids {
            read = match read {
                Some(read) if !self.has_deletions_from(last_id) && last_id >= self.first_id() => {
                    Some(read + 1)
                }
                _ if self.entries_added > 0 => self.entries_up_to(*id),
                read => read,
            };
            last_id = *id;
        }
        let group = self.groups.get_mut(group).ok_or(NO_GROUP)?;
        (group.last_id, group.entries_read) = (last_id, read);
        let (name, consumer) = group.consumer_or_new(consumer);
        (consumer.seen_ms, consumer.active_ms) = (at_ms, Some(at_ms));
        if pend {
            for id in ids {
                group.assign(&name, PendingRow { id, delivered_ms: at_ms, deliveries: 1 });
            }
        }
        Ok(())
    }

    fn apply_to_group(&mut self, op: &StreamOp<'_>, name: &[u8]) -> Result<(), Misfit> {
        let group = self.groups.get_mut(name).ok_or(NO_GROUP)?;
        match *op {
            StreamOp::SetConsumer { consumer, seen_ms, active_ms, .. } => {
                let (_, consumer) = group.consumer_or_new(consumer);
                (consumer.seen_ms, consumer.active_ms) = (seen_ms, active_ms);
            }
            StreamOp::RemoveConsumer { consumer, .. } => {
                return if group.remove_consumer(consumer) { Ok(()) } else { Err(NO_CONSUMER) };
            }
            StreamOp::Assign { consumer, at_ms, rows, .. } => {
                if at_ms.is_none() && group.consumer(consumer).is_none() {
                    return Err(NO_CONSUMER);
                }
                let (name, consumer) = group.consumer_or_new(consumer);
                if let Some(at_ms) = at_ms {
                    (consumer.seen_ms, consumer.active_ms) = (at_ms, Some(at_ms));
                }
                rows.iter().for_each(|row| group.assign(&name, row));
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
                self.entries.insert(id, fields.iter().map(Box::from).collect());
                self.last_id = id;
                self.entries_added += 1;
            }
            StreamOp::Trim { count, forget } => return self.trim(count, forget),
            StreamOp::Delete { ids, forget } => {
                if ids.iter().any(|id| !self.entries.contains_key(&id)) {
                    return Err(NO_ENTRY);
                }
                ids.iter().for_each(|id| self.remove(id, forget));
            }
            StreamOp::Reset { last_id, max_deleted_id, entries_added } => {
                if self.entries.keys().next_back().is_some_and(|id| *id > last_id)
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
            let strings: Vec<&[u8]> = entry.strings().collect();
            emit(StreamOp::Add { id: entry.id, fields: (&strings).into() });
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
        let entries: usize = self
            .entries
            .values()
            .map(|strings| 40 + strings.iter().map(|string| 16 + real_size(string.len())).sum::<usize>())
            .sum();
        let groups: usize =
            self.groups.iter().map(|(name, group)| 200 + real_size(name.len()) + group.heap_bytes()).sum();
        entries + groups
    }
}
