//! A stream as plainly as it can be said: what the real one is compared with.

use std::collections::BTreeMap;

use super::value::{PendingRow, StreamId, StreamOp};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    pub entries: BTreeMap<StreamId, Vec<Vec<u8>>>,
    pub last_id: StreamId,
    pub max_deleted_id: StreamId,
    pub entries_added: u64,
    pub groups: BTreeMap<Vec<u8>, ModelGroup>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelGroup {
    pub last_id: StreamId,
    pub entries_read: Option<u64>,
    pub pending: BTreeMap<StreamId, (Vec<u8>, PendingRow)>,
    /// When they were seen, when they were active.
    pub consumers: BTreeMap<Vec<u8>, (u64, Option<u64>)>,
}

impl ModelGroup {
    fn be_active(&mut self, consumer: &[u8], at_ms: u64) {
        self.consumers.insert(consumer.to_vec(), (at_ms, Some(at_ms)));
    }

    pub fn pending_of(&self, consumer: &[u8]) -> Vec<PendingRow> {
        self.pending.values().filter(|row| row.0 == consumer).map(|row| row.1).collect()
    }
}

impl Model {
    pub fn ids(&self) -> Vec<StreamId> {
        self.entries.keys().copied().collect()
    }

    pub fn first_id(&self) -> StreamId {
        self.ids().first().copied().unwrap_or_default()
    }

    fn may_have_holes_behind(&self, id: StreamId) -> bool {
        !self.entries.is_empty() && self.max_deleted_id > StreamId::MIN && self.max_deleted_id >= id
    }

    /// Nothing but the head has been removed of what is there.
    fn is_whole(&self) -> bool {
        self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id()
    }

    pub fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        let (added, length) = (self.entries_added, self.entries.len() as u64);
        match id {
            _ if added == 0 => Some(0),
            id if id == self.last_id || (length == 0 && id < self.last_id) => Some(added),
            id if id > self.last_id => None,
            id if id > StreamId::MIN && id < self.max_deleted_id => None,
            _ if !self.is_whole() => None,
            id if id < self.first_id() => Some(added - length),
            id if id == self.first_id() => Some(added - length + 1),
            _ => None,
        }
    }

    pub fn lag(&self, group: &ModelGroup) -> Option<i64> {
        let first = self.first_id();
        if self.entries_added > 0 && group.last_id < first && self.max_deleted_id < first {
            return Some(self.entries.len() as i64);
        }
        let read = match group.entries_read {
            Some(read) if self.entries_added > 0 && !self.may_have_holes_behind(group.last_id) => read,
            _ => self.entries_up_to(group.last_id)?,
        };
        Some(if self.entries_added == 0 {
            0
        } else {
            (i128::from(self.entries_added) - i128::from(read)) as i64
        })
    }

    fn remove(&mut self, id: StreamId, forget: bool) {
        self.entries.remove(&id);
        if forget {
            self.groups.values_mut().for_each(|group| _ = group.pending.remove(&id));
        }
    }

    /// False if the op doesn't fit.
    pub fn apply(&mut self, op: &StreamOp<'_>) -> bool {
        let mut changed = self.clone();
        let fits = changed.try_apply(op).is_some();
        if fits {
            *self = changed;
        }
        fits
    }

    fn try_apply(&mut self, op: &StreamOp<'_>) -> Option<()> {
        match *op {
            StreamOp::Add { id, fields } => {
                if id <= self.last_id || fields.is_empty() || fields.len() % 2 == 1 {
                    return None;
                }
                self.entries.insert(id, fields.iter().map(<[u8]>::to_vec).collect());
                self.last_id = id;
                self.entries_added = self.entries_added.saturating_add(1);
            }
            StreamOp::Trim { count, forget } => {
                let ids = self.ids();
                let ids = ids.get(..usize::try_from(count).ok()?)?;
                ids.iter().for_each(|id| self.remove(*id, forget));
            }
            StreamOp::Delete { ids, forget } => {
                for id in ids.iter() {
                    self.entries.get(&id)?;
                    self.remove(id, forget);
                    self.max_deleted_id = self.max_deleted_id.max(id);
                }
            }
            StreamOp::Reset { last_id, max_deleted_id, entries_added } => {
                let last = self.ids().last().copied().unwrap_or_default();
                if last > last_id || entries_added < self.entries.len() as u64 {
                    return None;
                }
                (self.last_id, self.max_deleted_id) = (last_id, max_deleted_id);
                self.entries_added = entries_added;
            }
            StreamOp::SetGroup { group, last_id, entries_read } => {
                let group = self.groups.entry(group.to_vec()).or_default();
                (group.last_id, group.entries_read) = (last_id, entries_read);
            }
            StreamOp::RemoveGroup { group } => _ = self.groups.remove(group)?,
            StreamOp::SetConsumer { group, consumer, seen_ms, active_ms } => {
                let group = self.groups.get_mut(group)?;
                group.consumers.insert(consumer.to_vec(), (seen_ms, active_ms));
            }
            StreamOp::RemoveConsumer { group, consumer } => {
                let group = self.groups.get_mut(group)?;
                group.consumers.remove(consumer)?;
                group.pending.retain(|_, row| row.0 != consumer);
            }
            StreamOp::Deliver { group, consumer, at_ms, count, pend } => {
                let count = usize::try_from(count).ok()?;
                self.deliver(group, consumer, at_ms, count, pend)?;
            }
            StreamOp::Assign { group, consumer, at_ms, rows } => {
                let group = self.groups.get_mut(group)?;
                match at_ms {
                    Some(at_ms) => group.be_active(consumer, at_ms),
                    None => _ = group.consumers.get(consumer)?,
                }
                group.pending.extend(rows.iter().map(|row| (row.id, (consumer.to_vec(), row))));
            }
            StreamOp::Acknowledge { group, ids } => {
                let group = self.groups.get_mut(group)?;
                for id in ids.iter() {
                    group.pending.remove(&id)?;
                }
            }
        }
        Some(())
    }

    fn deliver(&mut self, name: &[u8], consumer: &[u8], at_ms: u64, count: usize, pend: bool) -> Option<()> {
        let mut group = self.groups.get(name)?.clone();
        group.be_active(consumer, at_ms);
        let ids = self.ids().into_iter().filter(|id| *id > group.last_id).take(count);
        let ids: Vec<_> = ids.collect();
        if ids.len() < count || group.last_id == StreamId::MAX {
            return None;
        }
        for id in ids {
            let is_sure = group.last_id >= self.first_id() && !self.may_have_holes_behind(group.last_id);
            group.entries_read = match group.entries_read {
                Some(read) if is_sure => Some(read.saturating_add(1)),
                read if self.entries_added == 0 => read,
                _ => self.entries_up_to(id),
            };
            group.last_id = id;
            if pend {
                let row = PendingRow { id, delivered_ms: at_ms, deliveries: 1 };
                group.pending.insert(id, (consumer.to_vec(), row));
            }
        }
        self.groups.insert(name.to_vec(), group);
        Some(())
    }
}
