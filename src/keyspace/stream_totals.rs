//! How many streams, groups and pending entries a part of a keyspace holds: kept as ops are applied, so that nobody has to count.

use crate::types::stream::value::{Stream, StreamOp};

use super::entry::Entry;
use super::op::Op;
use super::value::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamTotals {
    pub streams: u64,
    pub groups: u64,
    pub pending: u64,
}

fn pending_in_all(stream: &Stream) -> u64 {
    stream.groups().map(|(_, group)| group.pending_len() as u64).sum()
}

impl StreamTotals {
    #[inline]
    pub(super) fn of_entry(entry: &Entry) -> Self {
        match entry.as_value() {
            Some(Value::Stream(stream)) => {
                Self { streams: 1, groups: stream.groups().len() as u64, pending: pending_in_all(stream) }
            }
            _ => Self::default(),
        }
    }

    /// Of those groups only that an op may change: what it changes is the difference of before and after.
    #[inline]
    pub(super) fn under(op: &Op<'_>, value: &Value) -> Self {
        let (Op::Stream(op), Value::Stream(stream)) = (op, value) else { return Self::default() };
        let pending = match *op {
            StreamOp::Trim { forget: true, .. } | StreamOp::Delete { forget: true, .. } => {
                pending_in_all(stream)
            }
            StreamOp::SetGroup { group, .. }
            | StreamOp::RemoveGroup { group }
            | StreamOp::RemoveConsumer { group, .. }
            | StreamOp::Deliver { group, .. }
            | StreamOp::Assign { group, .. }
            | StreamOp::Acknowledge { group, .. } => {
                stream.group(group).map_or(0, |group| group.pending_len() as u64)
            }
            StreamOp::Add { .. }
            | StreamOp::Trim { .. }
            | StreamOp::Delete { .. }
            | StreamOp::Reset { .. }
            | StreamOp::SetConsumer { .. } => 0,
        };
        Self { streams: 0, groups: stream.groups().len() as u64, pending }
    }

    /// `old` has become `new`.
    #[inline]
    pub(super) const fn change(&mut self, old: Self, new: Self) {
        self.streams = self.streams.wrapping_add(new.streams).wrapping_sub(old.streams);
        self.groups = self.groups.wrapping_add(new.groups).wrapping_sub(old.groups);
        self.pending = self.pending.wrapping_add(new.pending).wrapping_sub(old.pending);
    }

    #[must_use]
    pub const fn with(mut self, other: Self) -> Self {
        self.change(Self { streams: 0, groups: 0, pending: 0 }, other);
        self
    }
}
