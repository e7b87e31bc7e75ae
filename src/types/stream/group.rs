//! A consumer group: how far it has read, who consumes, and what was delivered and not acknowledged.
//!
//! What is pending is ordered by id for the group, and again, ids alone, for each consumer. Consumers have numbers, which
//! mean nothing outside and are used again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};

use crate::allocator::real_size;

use super::id::StreamId;
use super::op::PendingRow;
use super::sorted::{Row, Sorted};

#[derive(Debug, Default)]
pub struct Group {
    pub(super) last_id: StreamId,
    pub(super) entries_read: Option<u64>,
    pending: Sorted<Pending>,
    numbers: BTreeMap<Arc<[u8]>, u32>,
    /// By number.
    consumers: Vec<Option<Consumer>>,
    free_numbers: Vec<u32>,
    /// What is pending by the time of delivery: made when it is first asked for.
    by_time: OnceLock<BTreeSet<(u64, StreamId)>>,
}

#[derive(Debug)]
struct Pending {
    row: PendingRow,
    consumer: u32,
}

impl Row for Pending {
    fn id(&self) -> StreamId {
        self.row.id
    }
}

#[derive(Debug)]
pub struct Consumer {
    name: Arc<[u8]>,
    pub(super) seen_ms: u64,
    pub(super) active_ms: Option<u64>,
    pending: Sorted<StreamId>,
}

impl Consumer {
    /// When it last tried to read or claim.
    pub const fn seen_ms(&self) -> u64 {
        self.seen_ms
    }

    /// When it last got something; `None`: never.
    pub const fn active_ms(&self) -> Option<u64> {
        self.active_ms
    }

    pub const fn pending_len(&self) -> usize {
        self.pending.len()
    }
}

/// What readers ask.
impl Group {
    /// What was delivered last: `>` reads on behind it.
    pub const fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// How many entries of all that were ever added the group has read; `None` if that cannot be known.
    pub const fn entries_read(&self) -> Option<u64> {
        self.entries_read
    }

    pub const fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Who has an entry pending, and since when.
    pub fn pending_at(&self, id: StreamId) -> Option<(&[u8], PendingRow)> {
        self.pending.get(id).map(|pending| self.named(pending))
    }

    /// What is pending, in ascending order of ids, with the consumer's name. An empty range is none.
    pub fn pending(
        &self,
        ids: RangeInclusive<StreamId>,
    ) -> impl DoubleEndedIterator<Item = (&[u8], PendingRow)> {
        self.pending.range(ids).map(|pending| self.named(pending))
    }

    /// What was delivered at a time or before, the oldest first, and by ids within a millisecond. The first call sorts all that is
    /// pending.
    pub fn pending_since(&self, at_most_ms: u64) -> impl Iterator<Item = (&[u8], PendingRow)> {
        let by_time = self.by_time.get_or_init(|| self.times().collect());
        let due = by_time.range(..=(at_most_ms, StreamId::MAX));
        due.filter_map(|(_, id)| self.pending_at(*id))
    }

    /// In ascending order of names.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = (&[u8], &Consumer)> {
        self.numbers.iter().map(|(name, number)| (&**name, self.numbered(*number)))
    }

    pub fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.numbers.get(name).map(|number| self.numbered(*number))
    }

    /// What is pending for one consumer, in ascending order of ids. Nothing if there is no such consumer.
    pub fn pending_of(
        &self,
        consumer: &[u8],
        ids: RangeInclusive<StreamId>,
    ) -> impl DoubleEndedIterator<Item = PendingRow> {
        let consumer = self.consumer(consumer).into_iter();
        let ids = consumer.flat_map(move |consumer| consumer.pending.range(ids.clone()));
        ids.filter_map(|id| self.pending.get(*id).map(|pending| pending.row))
    }

    fn times(&self) -> impl Iterator<Item = (u64, StreamId)> {
        self.pending.iter().map(|pending| (pending.row.delivered_ms, pending.row.id))
    }

    fn named(&self, pending: &Pending) -> (&[u8], PendingRow) {
        (&self.numbered(pending.consumer).name, pending.row)
    }

    fn numbered(&self, number: u32) -> &Consumer {
        self.consumers[number as usize].as_ref().expect("numbers in use have their consumer")
    }

    pub(super) fn heap_bytes(&self) -> usize {
        // A tree, of which a little more than half of the places are used.
        let by_time = self.by_time.get().map_or(0, |rows| rows.len() * size_of::<(u64, StreamId)>() * 9 / 5);
        let names: usize = self.numbers.keys().map(|name| real_size(name.len() + 16) + 24).sum();
        let slots = real_size(self.consumers.capacity() * size_of::<Option<Consumer>>());
        let consumers = self.consumers.iter().flatten();
        let of_consumers: usize = consumers.map(|consumer| consumer.pending.heap_bytes()).sum();
        self.pending.heap_bytes() + by_time + names + slots + of_consumers
    }
}

/// Changes.
impl Group {
    /// A consumer's number; it is made if it doesn't exist.
    pub(super) fn number_or_new(&mut self, name: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let name: Arc<[u8]> = Arc::from(name);
        let pending = Sorted::default();
        let consumer = Consumer { name: Arc::clone(&name), seen_ms: 0, active_ms: None, pending };
        let number = self.free_numbers.pop().unwrap_or(self.consumers.len() as u32);
        match self.consumers.get_mut(number as usize) {
            Some(place) => *place = Some(consumer),
            None => self.consumers.push(Some(consumer)),
        }
        self.numbers.insert(name, number);
        number
    }

    pub(super) fn numbered_mut(&mut self, number: u32) -> &mut Consumer {
        self.consumers[number as usize].as_mut().expect("numbers in use have their consumer")
    }

    /// A consumer was seen, and got something.
    pub(super) fn set_active(&mut self, number: u32, at_ms: u64) {
        let consumer = self.numbered_mut(number);
        (consumer.seen_ms, consumer.active_ms) = (at_ms, Some(at_ms));
    }

    /// An entry is pending for a consumer that exists, whoever had it.
    pub(super) fn assign(&mut self, consumer: u32, row: PendingRow) {
        let id = row.id;
        let old = self.pending.insert(Pending { row, consumer });
        if let Some(by_time) = self.by_time.get_mut() {
            if let Some(old) = &old {
                by_time.remove(&(old.row.delivered_ms, id));
            }
            by_time.insert((row.delivered_ms, id));
        }
        match old {
            Some(old) if old.consumer == consumer => return,
            Some(old) => _ = self.numbered_mut(old.consumer).pending.remove(id),
            None => {}
        }
        self.numbered_mut(consumer).pending.insert(id);
    }

    /// An entry is pending no more. False if it was not.
    pub(super) fn forget(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(id) else { return false };
        if let Some(by_time) = self.by_time.get_mut() {
            by_time.remove(&(pending.row.delivered_ms, id));
        }
        self.numbered_mut(pending.consumer).pending.remove(id).is_some()
    }

    /// A consumer goes with all that is pending for it. False if there was none.
    pub(super) fn remove_consumer(&mut self, name: &[u8]) -> bool {
        let Some(number) = self.numbers.get(name).copied() else { return false };
        let ids = std::mem::take(&mut self.numbered_mut(number).pending);
        for &id in ids.iter() {
            let pending = self.pending.remove(id);
            if let Some((by_time, pending)) = self.by_time.get_mut().zip(pending) {
                by_time.remove(&(pending.row.delivered_ms, id));
            }
        }
        self.numbers.remove(name);
        self.consumers[number as usize] = None;
        self.free_numbers.push(number);
        true
    }
}

#[cfg(test)]
impl Group {
    /// Every rule of this type.
    pub(super) fn check(&self) {
        self.pending.check();
        let living = self.consumers.iter().flatten().count();
        assert_eq!((living, self.consumers.len() - living), (self.numbers.len(), self.free_numbers.len()));
        for (name, number) in &self.numbers {
            let consumer = self.numbered(*number);
            assert_eq!(*name, consumer.name);
            consumer.pending.check();
            let owner = |id: &StreamId| self.pending.get(*id).map(|pending| pending.consumer);
            assert!(consumer.pending.iter().all(|id| owner(id) == Some(*number)));
        }
        let of_consumers: usize = self.consumers.iter().flatten().map(Consumer::pending_len).sum();
        assert_eq!(of_consumers, self.pending.len());
        if let Some(by_time) = self.by_time.get() {
            assert_eq!(*by_time, self.times().collect::<BTreeSet<_>>());
        }
    }
}
