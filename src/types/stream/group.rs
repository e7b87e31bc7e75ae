//! A consumer group: how far it has read, who consumes, and what was delivered and not acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::allocator::real_size;

use super::id::StreamId;
use super::op::PendingRow;

#[derive(Debug, Default)]
pub struct Group {
    pub(super) last_id: StreamId,
    pub(super) entries_read: Option<u64>,
    pub(super) pending: BTreeMap<StreamId, Pending>,
    pub(super) consumers: BTreeMap<Arc<[u8]>, Consumer>,
}

#[derive(Debug)]
pub(super) struct Pending {
    pub consumer: Arc<[u8]>,
    pub delivered_ms: u64,
    pub deliveries: u64,
}

#[derive(Debug, Default)]
pub struct Consumer {
    pub(super) seen_ms: u64,
    pub(super) active_ms: Option<u64>,
    pub(super) pending: BTreeSet<StreamId>,
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

    pub fn pending_len(&self) -> usize {
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

    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// Who has an entry pending, and since when.
    pub fn pending_at(&self, id: StreamId) -> Option<(&[u8], PendingRow)> {
        self.pending.get(&id).map(|pending| row(id, pending))
    }

    /// What is pending, in ascending order of ids, with the consumer's name. An empty range is none.
    pub fn pending(
        &self,
        ids: RangeInclusive<StreamId>,
    ) -> impl DoubleEndedIterator<Item = (&[u8], PendingRow)> {
        let ids = (!ids.is_empty()).then_some(ids);
        ids.into_iter().flat_map(|ids| self.pending.range(ids)).map(|(id, pending)| row(*id, pending))
    }

    /// What was delivered last at `until_ms` or before, longest ago first.
    pub fn idle_since(&self, until_ms: u64) -> impl Iterator<Item = PendingRow> {
        let pending = self.pending.iter().filter(|(_, pending)| pending.delivered_ms <= until_ms);
        let mut rows: Vec<_> = pending.map(|(id, pending)| row(*id, pending).1).collect();
        rows.sort_unstable_by_key(|row| (row.delivered_ms, row.id));
        rows.into_iter()
    }

    /// In ascending order of names.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = (&[u8], &Consumer)> {
        self.consumers.iter().map(|(name, consumer)| (&**name, consumer))
    }

    pub fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.consumers.get(name)
    }

    /// What is pending for one consumer, in ascending order of ids. Nothing if there is no such consumer.
    pub fn pending_of(
        &self,
        consumer: &[u8],
        ids: RangeInclusive<StreamId>,
    ) -> impl DoubleEndedIterator<Item = PendingRow> {
        let ids = (!ids.is_empty()).then_some(ids);
        let consumer = self.consumers.get(consumer);
        consumer
            .zip(ids)
            .into_iter()
            .flat_map(|(consumer, ids)| consumer.pending.range(ids))
            .filter_map(|id| self.pending.get(id).map(|pending| row(*id, pending).1))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let pending = self.pending.len() * (size_of::<StreamId>() * 2 + size_of::<Pending>());
        let names: usize = self.consumers.keys().map(|name| real_size(name.len() + 16)).sum();
        pending + names + self.consumers.len() * size_of::<Consumer>()
    }
}

fn row(id: StreamId, pending: &Pending) -> (&[u8], PendingRow) {
    let Pending { delivered_ms, deliveries, .. } = *pending;
    (&pending.consumer, PendingRow { id, delivered_ms, deliveries })
}

impl Group {
    /// A consumer's shared name, and itself; it is made if it doesn't exist.
    pub(super) fn consumer_or_new(&mut self, name: &[u8]) -> (Arc<[u8]>, &mut Consumer) {
        let name = match self.consumers.get_key_value(name) {
            Some((name, _)) => name.clone(),
            None => Arc::from(name),
        };
        (name.clone(), self.consumers.entry(name).or_default())
    }

    /// An entry is pending for a consumer that exists, whoever had it.
    pub(super) fn assign(&mut self, consumer: &Arc<[u8]>, row: PendingRow) {
        let PendingRow { id, delivered_ms, deliveries } = row;
        let pending = Pending { consumer: consumer.clone(), delivered_ms, deliveries };
        if let Some(old) = self.pending.insert(id, pending)
            && let Some(owner) = self.consumers.get_mut(&old.consumer)
        {
            owner.pending.remove(&id);
        }
        if let Some(owner) = self.consumers.get_mut(consumer) {
            owner.pending.insert(id);
        }
    }

    /// An entry is pending no more. False if it was not.
    pub(super) fn forget(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        if let Some(consumer) = self.consumers.get_mut(&pending.consumer) {
            consumer.pending.remove(&id);
        }
        true
    }

    /// A consumer goes with all that is pending for it. False if there was none.
    pub(super) fn remove_consumer(&mut self, name: &[u8]) -> bool {
        let Some(consumer) = self.consumers.remove(name) else { return false };
        for id in consumer.pending {
            self.pending.remove(&id);
        }
        true
    }
}
