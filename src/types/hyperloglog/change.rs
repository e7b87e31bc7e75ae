//! From a string before to the string after: the smallest op that says so.

use std::ops::Range;

use super::dense::GAP;
use crate::command::{CommandResult, Ctx};
use crate::keyspace::op::Op;
use crate::types::string::value::StringOp;

/// How a string becomes another.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// Ranges of the new string, written over those of the old one.
    Ranges(Vec<Range<usize>>),
    /// A range of the new string instead of `removed` bytes of the old one.
    Splice {
        removed: usize,
        range: Range<usize>,
    },
    Whole,
}

/// How `old` becomes `new`.
fn change(old: &[u8], new: &[u8]) -> Change {
    let (change, bytes) = if old.len() == new.len() {
        let ranges = different(old, new);
        let bytes = ranges.iter().map(|range| range.len() + GAP).sum();
        (Change::Ranges(ranges), bytes)
    } else {
        let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
        let tails = old[start..].iter().rev().zip(new[start..].iter().rev());
        let same = tails.take_while(|(a, b)| a == b).count();
        let range = start..new.len() - same;
        let bytes = range.len();
        (Change::Splice { removed: old.len() - same - start, range }, bytes)
    };
    if bytes > new.len() / 4 * 3 && new.len() > 256 { Change::Whole } else { change }
}

/// Where two strings of one length differ; what lies close together is one range.
fn different(old: &[u8], new: &[u8]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (at, _) in old.iter().zip(new).enumerate().filter(|(_, (a, b))| a != b) {
        match ranges.last_mut() {
            Some(last) if last.end + GAP >= at => last.end = at + 1,
            _ => ranges.push(at..at + 1),
        }
    }
    ranges
}

/// Makes a HyperLogLog where no key is. It is written into, not set: Redis calls its encoding `raw`, however short it is.
pub(super) fn create(ctx: &mut Ctx<'_>, key: &[u8], string: &[u8]) -> CommandResult {
    ctx.apply(key, Op::String(StringOp::SetRange { offset: 0, bytes: string }))
}

/// Makes a key's string the given one. The lifetime stays.
pub(super) fn store(ctx: &mut Ctx<'_>, key: &[u8], old: &[u8], new: &[u8]) -> CommandResult {
    each_op(old, new, |op| ctx.apply(key, Op::String(op)))
}

/// The ops that make `old` into `new`.
fn each_op<'n>(
    old: &[u8],
    new: &'n [u8],
    mut apply: impl FnMut(StringOp<'n>) -> CommandResult,
) -> CommandResult {
    match change(old, new) {
        Change::Ranges(ranges) => ranges.into_iter().try_for_each(|range| {
            apply(StringOp::SetRange { offset: range.start as u64, bytes: &new[range] })
        }),
        Change::Splice { removed, range } => {
            let (offset, removed) = (range.start as u64, removed as u64);
            apply(StringOp::Splice { offset, removed, bytes: &new[range] })
        }
        Change::Whole => apply(StringOp::Replace { value: new }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyspace::hash::KeyRef;
    use crate::keyspace::scratch::Scratch;
    use crate::types::CollectionOp;

    proptest! {
        #[test]
        fn a_change_makes_the_new_string(
            old in prop::collection::vec(0u8..3, 0..900),
            new in prop::collection::vec(0u8..3, 0..900),
            head in 0usize..900,
            tail in 0usize..900,
        ) {
            let mut new = new;
            let head = head.min(old.len()).min(new.len());
            new[..head].copy_from_slice(&old[..head]);
            let tail = tail.min(old.len()).min(new.len());
            let (from, to) = (old.len() - tail, new.len() - tail);
            new[to..].copy_from_slice(&old[from..]);
            let (key, mut scratch) = (KeyRef::new(b"key", 5), Scratch::new(5));
            scratch.apply(&key, &Op::String(StringOp::Set { value: &old, expire_at: Some(9) })).unwrap();
            let mut bytes = 0;
            each_op(&old, &new, |op| {
                let mut out = Vec::new();
                op.encode(&mut out);
                bytes += out.len();
                scratch.apply(&key, &Op::String(op)).expect("made for this string");
                Ok(())
            }).unwrap();
            let entry = scratch.get(&key).unwrap();
            prop_assert_eq!(entry.as_string(), Some(&new[..]));
            prop_assert_eq!(entry.expire_at(), Some(9));
            prop_assert!(bytes <= new.len() + 64, "{} bytes for {}", bytes, new.len());
        }

        #[test]
        fn a_few_bytes_more_or_less_cost_a_few_bytes(
            old in prop::collection::vec(any::<u8>(), 0..3000),
            at in any::<prop::sample::Index>(),
            bytes in prop::collection::vec(any::<u8>(), 0..3),
            removed in 0usize..3,
        ) {
            let at = at.index(old.len() + 1);
            let mut new = old.clone();
            new.splice(at..(at + removed).min(old.len()), bytes);
            let mut logged = 0;
            each_op(&old, &new, |op| {
                let mut out = Vec::new();
                op.encode(&mut out);
                logged += out.len();
                Ok(())
            }).unwrap();
            prop_assert!(logged < 10, "{} bytes", logged);
        }
    }
}
