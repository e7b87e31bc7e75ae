//! A value as it was read: not in the keyspace, and but for streams not in a representation of its own.

use std::borrow::Cow;

use super::pieces::Pieces;
use crate::keyspace::op::Op;
use crate::types::hash::value::HashOp;
use crate::types::list::value::{Elements, ListOp, Side};
use crate::types::set::value::SetOp;
use crate::types::sorted_set::value::SortedSetOp;
use crate::types::stream::value::Stream;
use crate::types::string::value::StringOp;
use crate::types::{Collection, REBUILD_BYTES};

/// Elements are distinct where the type wants it, scores are numbers, no collection but a stream is empty.
#[derive(Debug, PartialEq)]
pub enum Content<'a> {
    String(Cow<'a, [u8]>),
    List(Pieces),
    Set(Pieces),
    /// Names and values in turns; numbers of fields with the times at which they expire.
    Hash {
        pairs: Pieces,
        expiries: Vec<(usize, u64)>,
    },
    SortedSet {
        members: Pieces,
        scores: Vec<f64>,
    },
    /// Its parts check each other as they come together.
    Stream(Box<Stream>),
}

impl Content<'_> {
    /// Takes the fields of a hash away whose time has come.
    pub fn drop_expired(&mut self, now_ms: u64) {
        let Self::Hash { pairs, expiries } = self else { return };
        if expiries.iter().all(|(_, at)| *at > now_ms) {
            return;
        }
        let (mut live, mut later) = (Pieces::default(), Vec::new());
        let mut due = std::mem::take(expiries).into_iter().peekable();
        for number in 0..pairs.len() / 2 {
            let expiry = due.next_if(|(field, _)| *field == number);
            match expiry {
                Some((_, at)) if at <= now_ms => continue,
                Some((_, at)) => later.push((live.len() / 2, at)),
                None => {}
            }
            live.push(pairs.get(2 * number));
            live.push(pairs.get(2 * number + 1));
        }
        *pairs = live;
        *expiries = later;
    }

    /// Nothing is there (any more); a string or a stream always is something.
    pub const fn is_empty(&self) -> bool {
        match self {
            Self::String(_) | Self::Stream(_) => false,
            Self::List(pieces) | Self::Set(pieces) | Self::Hash { pairs: pieces, .. } => pieces.is_empty(),
            Self::SortedSet { members, .. } => members.is_empty(),
        }
    }

    /// Emits ops that make this value under a key that does not exist, each of about [`REBUILD_BYTES`] or one element. A string
    /// is one op.
    pub fn each_op<E>(&self, emit: &mut dyn FnMut(Op<'_>) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::String(value) => emit(Op::String(StringOp::Set { value, expire_at: None })),
            Self::List(elements) => in_groups(elements.iter().map(|e| (e.len(), e)), |group| {
                emit(Op::List(ListOp::Push { side: Side::Right, elements: Elements::slices(group) }))
            }),
            Self::Set(members) => {
                in_groups(members.iter().map(|m| (m.len(), m)), |group| emit(Op::Set(SetOp::add(group))))
            }
            Self::SortedSet { members, scores } => {
                let rows = members.iter().zip(scores).map(|(m, score)| (m.len() + 8, (*score, m)));
                in_groups(rows, |group| emit(Op::SortedSet(SortedSetOp::SetMany { rows: group.into() })))
            }
            Self::Stream(stream) => {
                let mut outcome = Ok(());
                stream.rebuild(&mut |op| {
                    if outcome.is_ok() {
                        outcome = emit(Op::Stream(op));
                    }
                });
                outcome
            }
            Self::Hash { pairs, expiries } => {
                let rows =
                    (0..pairs.len() / 2).map(|number| (pairs.get(2 * number), pairs.get(2 * number + 1)));
                in_groups(rows.map(|(name, value)| (name.len() + value.len(), [name, value])), |group| {
                    emit(Op::Hash(HashOp::set(group.as_flattened())))
                })?;
                let mut expiring: Vec<_> =
                    expiries.iter().map(|&(number, at)| (at, pairs.get(2 * number))).collect();
                expiring.sort_unstable();
                for same_time in expiring.chunk_by(|a, b| a.0 == b.0) {
                    in_groups(same_time.iter().map(|(_, name)| (name.len(), *name)), |group| {
                        emit(Op::Hash(HashOp::expire(same_time[0].0, group)))
                    })?;
                }
                Ok(())
            }
        }
    }
}

/// Calls `emit` with neighbours that are together no longer than an op should be.
fn in_groups<T, E>(
    items: impl Iterator<Item = (usize, T)>,
    mut emit: impl FnMut(&[T]) -> Result<(), E>,
) -> Result<(), E> {
    let (mut group, mut bytes) = (Vec::new(), 0);
    for (len, item) in items {
        if bytes + len > REBUILD_BYTES && !group.is_empty() {
            emit(&group)?;
            group.clear();
            bytes = 0;
        }
        group.push(item);
        bytes += len;
    }
    if group.is_empty() { Ok(()) } else { emit(&group) }
}
