//! The hash against a plain model; its ops through their codec.

use super::*;
use crate::codec::Cursor;
use crate::types::CollectionOp;
use proptest::prelude::*;
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

fn contents(hash: &Hash) -> Model {
    hash.fields(0).map(|f| (f.name.to_vec(), (f.value.to_vec(), f.expire_at))).collect()
}

/// Applies an op after a round trip through its encoding.
fn apply(hash: &mut Hash, op: &HashOp<'_>) -> Result<(), Misfit> {
    let mut encoded = Vec::new();
    op.encode(&mut encoded);
    let mut cursor = Cursor::new(&encoded);
    let decoded = HashOp::decode(op.code(), &mut cursor).expect("it was just encoded");
    cursor.finish().expect("nothing is left over");
    assert_eq!(*op, decoded);
    let mut again = Vec::new();
    decoded.encode(&mut again);
    assert_eq!(encoded, again);
    hash.apply(&decoded)
}

fn check(hash: &Hash, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(&contents(hash), model);
    let times: Vec<u64> = model.values().filter_map(|(_, at)| *at).collect();
    prop_assert_eq!(hash.next_expiry(), times.iter().copied().min());
    let now_ms = times.get(times.len() / 2).copied().unwrap_or(5);
    let is_live = |at: &Option<u64>| at.is_none_or(|at| at > now_ms);
    let live = model.iter().filter(|(_, (_, at))| is_live(at)).count();
    prop_assert_eq!(hash.len(now_ms), live);
    prop_assert_eq!(hash.fields(now_ms).count(), live);
    prop_assert_eq!(hash.has_expired(now_ms), live < model.len());
    let expired = hash.expired_fields(now_ms, usize::MAX);
    let expected = model.iter().filter(|(_, (_, at))| !is_live(at)).count();
    prop_assert_eq!(expired.len(), expected);
    let order: Vec<_> = expired.iter().map(|name| model[name].1).collect();
    prop_assert!(order.is_sorted() && order.iter().all(|at| !is_live(at)));
    Ok(())
}

proptest! {
    #[test]
    fn a_hash_behaves_like_a_map_and_is_rebuilt_equal(
        steps in proptest::collection::vec((0u8..8, proptest::collection::vec(0u16..200, 1..4), 0usize..90, 1u64..40), 0..400)
    ) {
        let mut hash = Hash::default();
        let mut model = Model::new();
        for (turn, (what, numbers, len, at)) in steps.into_iter().enumerate() {
            let names: Vec<Vec<u8>> = numbers.iter().map(|n| n.to_string().into_bytes()).collect();
            let value = vec![turn as u8; if turn % 50 == 0 { len * 20 } else { len % 60 }];
            let names: Vec<&[u8]> = names.iter().map(|name| &name[..]).collect();
            let pairs: Vec<&[u8]> = names.iter().flat_map(|name| [*name, &value]).collect();
            let all_there = names.iter().all(|&name| model.contains_key(name));
            let op = match what {
                0..=2 => HashOp::set(&pairs[..]),
                3 => HashOp::set_keep_ttl(&pairs[..]),
                4 => HashOp::remove(&names[..]),
                5 | 6 => HashOp::expire(at, &names[..]),
                _ => HashOp::persist(&names[..]),
            };
            prop_assert_eq!(apply(&mut hash, &op).is_ok(), what < 4 || all_there);
            for &name in &names {
                match what {
                    0..=2 => drop(model.insert(name.to_vec(), (value.clone(), None))),
                    3 => model.entry(name.to_vec()).or_insert((Vec::new(), None)).0 = value.clone(),
                    _ if !all_there => {}
                    4 => drop(model.remove(name)),
                    5 | 6 => model.get_mut(name).expect("it is there").1 = Some(at),
                    _ => model.get_mut(name).expect("it is there").1 = None,
                }
            }
            if turn % 16 == 0 {
                check(&hash, &model)?;
            }
        }
        check(&hash, &model)?;
        let mut rebuilt = Hash::default();
        hash.rebuild(&mut |op| apply(&mut rebuilt, &op).expect("made to fit"));
        check(&rebuilt, &model)?;
        if !hash.is_spread() {
            let order = |hash: &Hash| hash.fields(0).map(|f| f.name.to_vec()).collect::<Vec<_>>();
            prop_assert_eq!(order(&hash), order(&rebuilt));
        }
    }

    #[test]
    fn any_bytes_are_an_op_or_malformed_and_apply_without_a_panic(
        code in 0u8..16, bytes in proptest::collection::vec(0u8..6, 0..60)
    ) {
        let mut hash = Hash::default();
        hash.apply(&HashOp::set(&[b"\x01" as &[u8], b"x", b"", b"y"])).expect("setting always fits");
        if let Ok(op) = HashOp::decode(code, &mut Cursor::new(&bytes)) {
            let before = contents(&hash);
            if hash.apply(&op).is_err() {
                prop_assert_eq!(contents(&hash), before);
            }
        }
    }
}

#[test]
fn a_claimed_count_beyond_the_bytes_is_refused() {
    let mut bytes = Vec::new();
    crate::codec::put_varint(&mut bytes, u64::MAX >> 1);
    assert!(HashOp::decode(0, &mut Cursor::new(&bytes)).is_err());
    assert!(HashOp::decode(0, &mut Cursor::new(&[1, 1, b'f'])).is_err(), "a field without a value");
}

#[test]
fn rebuild_ops_are_of_bounded_size() {
    let mut hash = Hash::default();
    let value = vec![b'v'; 1000];
    for n in 0..1000u32 {
        hash.apply(&HashOp::set(&[&n.to_le_bytes() as &[u8], &value])).expect("setting always fits");
        hash.apply(&HashOp::expire(7, &[&n.to_le_bytes() as &[u8]])).expect("it is there");
    }
    let mut ops = 0;
    hash.rebuild(&mut |op| {
        let mut encoded = Vec::new();
        op.encode(&mut encoded);
        assert!(encoded.len() < 36 << 10);
        ops += 1;
    });
    assert!(ops > 15);
}

#[test]
fn small_hashes_keep_their_order_and_large_ones_change_the_encoding() {
    let mut hash = Hash::default();
    for name in ["b", "a", "c"] {
        hash.apply(&HashOp::set(&[name.as_bytes(), b"1"])).expect("setting always fits");
    }
    hash.apply(&HashOp::set(&[b"a" as &[u8], b"a longer value"])).expect("setting always fits");
    let names: Vec<_> = hash.fields(0).map(|field| field.name).collect();
    assert_eq!(names, [b"b", b"a", b"c"]);
    assert_eq!(hash.encoding(), "listpack");
    hash.apply(&HashOp::set(&[b"a" as &[u8], &[0; 65]])).expect("setting always fits");
    assert_eq!(hash.encoding(), "hashtable");
}
