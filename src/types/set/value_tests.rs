//! The set against a plain model; its ops through their codec.

use super::*;
use crate::codec::Cursor;
use crate::disk::prng::Prng;
use crate::types::CollectionOp;
use crate::types::set::random::draw_distinct;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

type Model = BTreeSet<Vec<u8>>;

fn contents(set: &Set) -> Model {
    set.members().map(|member| member.to_vec()).collect()
}

/// Applies an op after a round trip through its encoding.
fn apply(set: &mut Set, op: &SetOp<'_>) -> Result<(), Misfit> {
    let mut encoded = Vec::new();
    op.encode(&mut encoded);
    let mut cursor = Cursor::new(&encoded);
    let decoded = SetOp::decode(op.code(), &mut cursor).expect("it was just encoded");
    cursor.finish().expect("nothing is left over");
    assert_eq!(*op, decoded);
    set.apply(&decoded)
}

fn set_of(members: impl IntoIterator<Item = String>) -> Set {
    let mut set = Set::default();
    members.into_iter().for_each(|member| assert!(set.insert(member.as_bytes())));
    set
}

/// Mostly integers of few values, sometimes their odd spellings, words, and long members.
fn member(kind: u8, number: u16) -> Vec<u8> {
    match kind {
        0..=9 => (i64::from(number) - 100).to_string().into_bytes(),
        10 => (i64::from(number) << 40).to_string().into_bytes(),
        11 => format!("0{number}").into_bytes(),
        12 => vec![b'x'; usize::from(number % 80)],
        13 if number.is_multiple_of(20) => vec![number as u8; 700],
        _ => format!("m{number}").into_bytes(),
    }
}

fn check(set: &Set, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(&contents(set), model);
    prop_assert_eq!(set.members().count(), model.len());
    prop_assert_eq!(set.len(), model.len());
    prop_assert_eq!(set.is_empty(), model.is_empty());
    prop_assert!(model.iter().all(|member| set.contains(member)));
    prop_assert!(set.members().all(|member| set.has(&member) && set.has(&Member::Bytes(&member))));
    let (mut seen, mut from) = (BTreeSet::new(), Some(0));
    while let Some(at) = from {
        from = set.scan(at, &mut |member| _ = seen.insert(member.to_vec()));
    }
    prop_assert_eq!(&seen, model);
    if set.encoding() == "intset" {
        let integers: Vec<i64> = set.members().filter_map(|member| parse_i64(&member)).collect();
        prop_assert!(integers.len() == model.len() && integers.is_sorted());
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_set_behaves_like_an_ordered_set_and_is_rebuilt_equal(
        kinds in 1u8..16,
        steps in proptest::collection::vec((any::<bool>(), proptest::collection::vec((0u8..16, 0u16..400), 1..12)), 0..150)
    ) {
        let (mut set, mut model) = (Set::default(), Model::new());
        let mut strings = false;
        for (turn, (add, members)) in steps.into_iter().enumerate() {
            let members: Vec<_> = members.iter().map(|&(kind, number)| member(kind % kinds, number)).collect();
            let members: Vec<&[u8]> = members.iter().map(|member| &member[..]).collect();
            if add {
                apply(&mut set, &SetOp::add(&members)).expect("adding always fits");
                model.extend(members.iter().map(|member| member.to_vec()));
            } else {
                let all_there = members.iter().all(|&member| model.contains(member));
                prop_assert_eq!(apply(&mut set, &SetOp::remove(&members)).is_ok(), all_there);
                let there: Vec<&[u8]> = members.into_iter().filter(|&member| model.contains(member)).collect();
                if !all_there {
                    apply(&mut set, &SetOp::remove(&there)).expect("all are there");
                }
                there.iter().for_each(|&member| _ = model.remove(member));
            }
            strings |= model.iter().any(|member| parse_i64(member).is_none());
            prop_assert!(!strings || set.encoding() != "intset");
            if turn % 8 == 0 {
                check(&set, &model)?;
            }
        }
        check(&set, &model)?;
        let mut rebuilt = Set::default();
        set.rebuild(&mut |op| apply(&mut rebuilt, &op).expect("made to fit"));
        check(&rebuilt, &model)?;
        // Integers at the head of a set of strings were in no array when they came, but are when it is made anew: the order may
        // change by that once, and not again.
        let mut again = Set::default();
        rebuilt.rebuild(&mut |op| apply(&mut again, &op).expect("made to fit"));
        prop_assert_eq!(again.encoding(), rebuilt.encoding());
        if !rebuilt.is_spread() {
            let order = |set: &Set| set.members().map(|member| member.to_vec()).collect::<Vec<_>>();
            prop_assert_eq!(order(&again), order(&rebuilt));
        }
    }

    #[test]
    fn any_bytes_are_an_op_or_malformed_and_apply_without_a_panic(
        code in 0u8..16, bytes in proptest::collection::vec(0u8..6, 0..60), integers in any::<bool>()
    ) {
        let mut set = Set::default();
        let second: &[u8] = if integers { b"7" } else { b"\x01" };
        set.apply(&SetOp::add(&[b"5", second])).expect("adding always fits");
        if let Ok(op) = SetOp::decode(code, &mut Cursor::new(&bytes)) {
            let before = contents(&set);
            if set.apply(&op).is_err() {
                prop_assert_eq!(contents(&set), before);
            }
        }
    }
}

#[test]
fn a_claimed_count_beyond_the_bytes_is_refused() {
    let mut bytes = Vec::new();
    crate::codec::put_varint(&mut bytes, u64::MAX >> 1);
    assert!(SetOp::decode(0, &mut Cursor::new(&bytes)).is_err());
    assert!(SetOp::decode(1, &mut Cursor::new(&bytes)).is_err());
    assert!(SetOp::decode(2, &mut Cursor::new(&[0])).is_err());
}

#[test]
fn rebuild_ops_are_of_bounded_size() {
    let long = set_of((0..2000).map(|n| format!("{n}{}", "v".repeat(n % 900))));
    let short = set_of((0..100_000).map(|n| format!("{n}")));
    let mut integers = Set::default();
    if let Members::Integers(array) = &mut integers.0 {
        (0..5000).for_each(|n| assert!(array.insert(i64::MIN + n)));
    }
    for (set, most) in [(long, 60), (short, 30), (integers, 10)] {
        let mut ops = 0;
        let mut rebuilt = Set::default();
        set.rebuild(&mut |op| {
            let mut encoded = Vec::new();
            op.encode(&mut encoded);
            assert!(encoded.len() < 34 << 10, "{}", encoded.len());
            rebuilt.apply(&op).expect("made to fit");
            ops += 1;
        });
        assert!(ops > 3 && ops < most, "{ops}");
        assert_eq!(contents(&set), contents(&rebuilt));
    }
}

#[test]
fn encodings_change_where_those_of_redis_do() {
    let numbers = |count: i64| (0..count).map(|n| n.to_string());
    assert_eq!(set_of(numbers(512)).encoding(), "intset");
    assert_eq!(set_of(numbers(513)).encoding(), "hashtable");
    let words = |count: i64| (0..count).map(|n| format!("m{n}"));
    assert_eq!(set_of(words(128)).encoding(), "listpack");
    assert_eq!(set_of(words(129)).encoding(), "hashtable");
    assert_eq!(set_of(words(3).chain(["x".repeat(64)])).encoding(), "listpack");
    assert_eq!(set_of(words(3).chain(["x".repeat(65)])).encoding(), "hashtable");
    // From integers to words.
    assert_eq!(set_of(numbers(127).chain(["x".to_owned()])).encoding(), "listpack");
    assert_eq!(set_of(numbers(128).chain(["x".to_owned()])).encoding(), "hashtable");
    assert_eq!(set_of(numbers(3).chain(["x".repeat(65)])).encoding(), "hashtable");
    let mut mixed = set_of(["3", "1", "x", "2"].map(str::to_owned));
    mixed.apply(&SetOp::remove(&[b"x" as &[u8]])).expect("it is there");
    assert_eq!(mixed.encoding(), "listpack");
    let order: Vec<_> = mixed.members().map(|member| member.to_vec()).collect();
    assert_eq!(order, [b"1", b"3", b"2"], "those that were integers first, in their order");
}

#[test]
fn only_the_spelling_that_redis_writes_is_an_integer() {
    for odd in ["+1", "01", "-0", " 1", "1 ", "", "1.0", "9223372036854775808", "-9223372036854775809"] {
        let mut set = set_of(["1".to_owned(), "0".to_owned()]);
        assert!(!set.contains(odd.as_bytes()), "{odd:?}");
        assert!(set.insert(odd.as_bytes()), "{odd:?}");
        assert_eq!(set.encoding(), "listpack", "{odd:?}");
        assert!(set.contains(odd.as_bytes()) && set.len() == 3);
    }
    let edges = set_of([i64::MIN, i64::MAX, 0].map(|n| n.to_string()));
    assert_eq!(edges.encoding(), "intset");
    assert!(edges.contains(b"-9223372036854775808") && edges.contains(b"9223372036854775807"));
}

/// Pearson's statistic of counts that should be alike, in standard deviations of its distribution for many cells. `variance` is
/// that of a count, in parts of what it is when all draws are independent.
fn deviations(counts: &BTreeMap<Vec<u8>, u64>, cells: usize, variance: f64) -> f64 {
    let expected = counts.values().sum::<u64>() as f64 / cells as f64;
    let found: f64 = counts.values().map(|&count| (count as f64 - expected).powi(2) / expected).sum();
    let missing = (cells - counts.len()) as f64 * expected;
    let freedom = (cells - 1) as f64;
    ((found + missing) / variance - freedom) / (2.0 * freedom).sqrt()
}

/// One set of each representation, and one that has shrunk to half of its pages.
fn sets_of_300() -> Vec<Set> {
    let words = set_of((0..300).map(|n| format!("m{n}")));
    let integers = set_of((0..300).map(|n| n.to_string()));
    let mut shrunk = set_of((0..4000).map(|n| format!("{n}m")));
    (300..4000).for_each(|n| assert!(shrunk.take(format!("{n}m").as_bytes())));
    assert_eq!([&words, &integers, &shrunk].map(Set::encoding), ["hashtable", "intset", "hashtable"]);
    vec![words, integers, shrunk]
}

#[test]
fn single_members_are_drawn_evenly() {
    let mut sets = sets_of_300();
    sets.push(set_of((0..100).map(|n| format!("m{n}"))));
    for (number, set) in sets.iter().enumerate() {
        let (mut prng, mut counts) = (Prng::new(11), BTreeMap::new());
        for _ in 0..200_000 {
            let member = set.sample(&mut |bound| prng.below(bound)).expect("it has members");
            *counts.entry(member.to_vec()).or_insert(0) += 1;
        }
        let deviations = deviations(&counts, set.len(), 1.0);
        assert!(deviations.abs() < 4.0, "set {number}: {deviations}");
    }
    assert!(Set::default().sample(&mut |_| 0).is_none());
}

#[test]
fn each_member_is_in_a_choice_of_many_as_often_as_any_other() {
    for (number, set) in sets_of_300().iter().enumerate() {
        // Few are drawn one by one, many in one walk.
        for count in [1, 2, 17, 18, 19, 150, 299, 300] {
            let (mut prng, mut counts) = (Prng::new(count as u64), BTreeMap::new());
            for _ in 0..60_000 / count.min(30) {
                let mut drawn = BTreeSet::new();
                draw_distinct(set, count, &mut prng, &mut |member| _ = drawn.insert(member.to_vec()));
                assert_eq!(drawn.len(), count, "all are different");
                drawn.into_iter().for_each(|member| *counts.entry(member).or_insert(0) += 1);
            }
            if count == set.len() {
                continue;
            }
            // Counts vary less than those of independent draws, by the share that is drawn each time.
            let deviations = deviations(&counts, 300, 1.0 - count as f64 / 300.0);
            assert!(deviations.abs() < 4.0, "set {number}, {count}: {deviations}");
        }
    }
}

#[test]
fn every_choice_is_as_likely_as_any_other() {
    let few = set_of(["a", "b", "c", "d", "e", "f"].map(str::to_owned));
    let many = set_of((0..47).map(|n| format!("m{n}")).chain(["x".repeat(65)]));
    assert!(!few.is_spread() && many.is_spread());
    for (set, count, choices) in [(few, 3, 20), (many, 2, 48 * 47 / 2)] {
        let (mut prng, mut counts) = (Prng::new(5), BTreeMap::new());
        for _ in 0..100_000 {
            let mut drawn = BTreeSet::new();
            draw_distinct(&set, count, &mut prng, &mut |member| _ = drawn.insert(member.to_vec()));
            let choice = drawn.into_iter().collect::<Vec<_>>().join(&b' ');
            *counts.entry(choice).or_insert(0) += 1;
        }
        let deviations = deviations(&counts, choices, 1.0);
        assert!(deviations.abs() < 4.0, "{count} of {}: {deviations}", set.len());
    }
}
