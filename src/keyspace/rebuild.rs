//! The ops that make a key's value from nothing: what COPY logs, and what a snapshot's rows are made of.

use super::entry::Entry;
use super::op::Op;
use crate::types::string::value::{StringOp, encoding};

/// Emits ops that, applied in this order to a key that does not exist, make one with the same value and expiry. A string longer
/// than `string_bytes_max` (at least 1) is made piece by piece; collections choose the size of their ops themselves.
///
/// Representations are those that a collection of these elements gets when it is made anew: one that had been larger may
/// become compact. A string that was changed in place still is.
pub fn ops_of(entry: &Entry, string_bytes_max: usize, emit: &mut dyn FnMut(Op<'_>)) {
    let expire_at = entry.expire_at();
    let Some(value) = entry.as_value() else {
        let string = entry.as_string().unwrap_or_default();
        let (first, rest) = string.split_at(string.len().min(string_bytes_max));
        emit(Op::String(StringOp::Set { value: first, expire_at }));
        for bytes in rest.chunks(string_bytes_max.max(1)) {
            emit(Op::String(StringOp::Append { bytes }));
        }
        if rest.is_empty() && entry.encoding() != encoding(string, false) {
            // Nothing more to add, but it is a short string that was added to.
            emit(Op::String(StringOp::Append { bytes: b"" }));
        }
        return;
    };
    value.rebuild(emit);
    expire_at.into_iter().for_each(|at| emit(Op::ExpireAt(at)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::hash::KeyRef;
    use crate::keyspace::scratch::Scratch;
    use crate::types::hash::value::HashOp;
    use crate::types::list::value::{Elements, ListOp, Side};
    use proptest::prelude::*;

    const SEED: u64 = 5;

    fn set<'a>(value: &'a [u8], expire_at: Option<u64>) -> Op<'a> {
        Op::String(StringOp::Set { value, expire_at })
    }

    /// What can be seen of a key.
    fn seen(scratch: &Scratch, key: &KeyRef<'_>) -> (Option<u64>, &'static str, Vec<Vec<u8>>) {
        let entry = scratch.get(key).expect("it was made");
        let mut elements = Vec::new();
        ops_of(entry, usize::MAX, &mut |op| {
            let mut bare = Vec::new();
            crate::keyspace::op::encode_bare(&mut bare, &op);
            elements.push(bare);
        });
        (entry.expire_at(), entry.encoding(), elements)
    }

    fn rebuilt_equals(ops: &[Op<'_>], string_bytes_max: usize) -> usize {
        let key = KeyRef::new(b"key", SEED);
        let (mut first, mut second) = (Scratch::new(SEED), Scratch::new(SEED));
        ops.iter().for_each(|op| first.apply(&key, op).expect("it fits"));
        let mut count = 0;
        ops_of(first.get(&key).expect("it was made"), string_bytes_max, &mut |op| {
            second.apply(&key, &op).expect("made to fit");
            count += 1;
        });
        assert_eq!(seen(&first, &key), seen(&second, &key));
        count
    }

    proptest! {
        #[test]
        fn a_string_is_made_anew_with_its_expiry_and_encoding(
            value in proptest::collection::vec(any::<u8>(), 0..200), at in any::<Option<u64>>(),
            tail in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9)), max in 1usize..250,
        ) {
            let append = tail.as_ref().map(|bytes| Op::String(StringOp::Append { bytes }));
            let ops: Vec<_> = [Some(set(&value, at)), append].into_iter().flatten().collect();
            // In pieces a short string looks as if it had been appended to, so only long ones are ever cut.
            let cut = value.len() + tail.as_ref().map_or(0, Vec::len) > max && max <= 44;
            rebuilt_equals(&ops, if cut { 45 } else { max });
        }
    }

    #[test]
    fn a_string_that_was_added_to_is_still_one_under_another_name() {
        let [from, to] = [&b"{k}from"[..], b"{k}to"].map(|key| KeyRef::new(key, SEED));
        let mut scratch = Scratch::new(SEED);
        let append = Op::String(StringOp::Append { bytes: b"1" });
        [append, Op::Rename { to: to.bytes }]
            .iter()
            .for_each(|op| scratch.apply(&from, op).expect("it fits"));
        assert_eq!(scratch.get(&to).map(Entry::encoding), Some("raw"));
    }

    #[test]
    fn long_strings_are_made_in_pieces() {
        assert_eq!(rebuilt_equals(&[set(&[7; 100_000], None)], 32 << 10), 4);
        assert_eq!(rebuilt_equals(&[set(&[7; 100_000], Some(9))], usize::MAX), 1);
    }

    #[test]
    fn collections_are_made_anew_with_their_expiries() {
        let pairs: [&[u8]; 4] = [b"field", b"1", b"other", b"2"];
        let fields: [&[u8]; 1] = [b"field"];
        let ops =
            [Op::Hash(HashOp::set(&pairs[..])), Op::Hash(HashOp::expire(70, &fields[..])), Op::ExpireAt(80)];
        assert_eq!(rebuilt_equals(&ops, 1), 3);
        let long = [b'x'; 20_000];
        let push = Op::List(ListOp::Push { side: Side::Left, elements: Elements::one(&long) });
        assert_eq!(rebuilt_equals(&[push, push, push, Op::ExpireAt(1)], 1), 4);
    }
}
