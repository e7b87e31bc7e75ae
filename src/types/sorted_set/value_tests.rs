//! The sorted set against a plain model; its invariants; its ops through their codec.

use super::*;
use crate::codec::Cursor;
use crate::types::CollectionOp;
use crate::types::strings::Strings;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
struct Model {
    scores: BTreeMap<Vec<u8>, f64>,
}

impl Model {
    fn rows(&self) -> Vec<(f64, &[u8])> {
        let mut rows: Vec<_> = self.scores.iter().map(|(member, score)| (*score, &member[..])).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
        rows
    }

    fn remove(&mut self, members: &[Vec<u8>]) {
        self.scores.retain(|member, _| !members.contains(member));
    }
}

/// Applies an op after a round trip through its encoding.
fn apply(set: &mut SortedSet, op: &SortedSetOp<'_>) -> Result<(), Misfit> {
    let mut encoded = Vec::new();
    op.encode(&mut encoded);
    let mut cursor = Cursor::new(&encoded);
    let decoded = SortedSetOp::decode(op.code(), &mut cursor).expect("it was just encoded");
    cursor.finish().expect("nothing is left over");
    assert_eq!(*op, decoded);
    let mut again = Vec::new();
    decoded.encode(&mut again);
    assert_eq!(encoded, again);
    set.apply(&decoded)
}

fn put(set: &mut SortedSet, score: f64, member: &[u8]) {
    set.apply(&SortedSetOp::Set { score, member }).expect("setting always fits");
}

fn take(set: &mut SortedSet, member: &[u8]) {
    set.apply(&SortedSetOp::Remove { members: Strings::from(&[member]) }).expect("it is there");
}

fn contents(set: &SortedSet) -> Vec<(f64, Vec<u8>)> {
    set.members().map(|(score, member)| (score, member.to_vec())).collect()
}

fn check_shape(set: &SortedSet) {
    if let Which::Large(large) = set.0.get() {
        large.check();
    }
}

fn check(set: &SortedSet, model: &Model, probe: usize) -> Result<(), TestCaseError> {
    check_shape(set);
    let rows = model.rows();
    prop_assert_eq!(set.len(), rows.len());
    prop_assert!(set.members().eq(rows.iter().copied()));
    prop_assert!(set.members().rev().eq(rows.iter().rev().copied()));
    for (rank, (score, member)) in rows.iter().enumerate() {
        prop_assert_eq!(set.score(member).map(f64::to_bits), Some(score.to_bits()));
        prop_assert_eq!(set.rank(member), Some(rank));
    }
    prop_assert_eq!((set.score(b"never there"), set.rank(b"never there")), (None, None));
    prop_assert_eq!(set.at(rows.len()), None);
    let mut scores: Vec<f64> = rows.iter().map(|row| row.0).collect();
    scores.extend([f64::NEG_INFINITY, f64::INFINITY, 0.5, -0.0]);
    for score in scores {
        prop_assert_eq!(set.count_below(score, false), rows.iter().filter(|row| row.0 < score).count());
        prop_assert_eq!(set.count_below(score, true), rows.iter().filter(|row| row.0 <= score).count());
    }
    let start = probe % (rows.len() + 1);
    let end = start + probe / 7 % (rows.len() - start + 1);
    prop_assert!(set.range(start..end).eq(rows[start..end].iter().copied()));
    prop_assert!(set.range(start..end).rev().eq(rows[start..end].iter().rev().copied()));
    let mut both = set.range(start..end);
    let mut left = end - start;
    while left > 0 {
        let front = !left.is_multiple_of(3);
        let taken = if front { both.next() } else { both.next_back() };
        prop_assert!(taken.is_some());
        left -= 1;
    }
    prop_assert!(both.next().is_none() && both.next_back().is_none());
    // Leaf by leaf, from the middle of one.
    let mut rest = set.range(start..end);
    let (first, last) = (rest.next(), rest.next_back());
    let mut visited: Vec<_> = first.into_iter().collect();
    rest.for_each(|row| visited.push(row));
    visited.extend(last);
    prop_assert_eq!(&visited, &rows[start..end]);
    Ok(())
}

/// A score out of few, so that many are equal, or out of many.
fn score_of(number: u16) -> f64 {
    match number % 16 {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        2 => -0.0,
        3..6 => f64::from(number / 4000),
        6..9 => -f64::from(number) * 1e13,
        9..12 => f64::from(number) / 3.0,
        _ => f64::from(number),
    }
}

fn member_of(number: u16, long: bool) -> Vec<u8> {
    let mut member = number.to_string().into_bytes();
    match number % 64 {
        0 if long => member.resize(70, b'x'),
        1 if long => member.resize(1500, b'x'),
        2 if long => member.resize(6000, b'x'),
        3 => member = vec![b'a'; usize::from(number / 64)],
        _ => {}
    }
    member
}

type Step = (u8, u16, Vec<(u16, u16)>);

fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    let rows = proptest::collection::vec((0u16..4000, any::<u16>()), 1..30);
    proptest::collection::vec((0u8..12, any::<u16>(), rows), 0..count)
}

fn run(steps: Vec<Step>, long: bool, one_score: bool) -> Result<(), TestCaseError> {
    let mut set = SortedSet::default();
    let mut model = Model::default();
    let mut became_large = false;
    for (turn, (what, at, rows)) in steps.into_iter().enumerate() {
        let members: Vec<Vec<u8>> = rows.iter().map(|row| member_of(row.0, long)).collect();
        let scored = |n: usize| if one_score { 7.0 } else { score_of(rows[n].1) };
        match what {
            0..=2 => {
                apply(&mut set, &SortedSetOp::Set { score: scored(0), member: &members[0] }).expect("fits");
                model.scores.insert(members[0].clone(), scored(0) + 0.0);
            }
            3..=7 => {
                let rows: Vec<_> = (0..rows.len()).map(|n| (scored(n), &members[n][..])).collect();
                apply(&mut set, &SortedSetOp::SetMany { rows: Rows::from(&rows[..]) }).expect("fits");
                model.scores.extend(rows.iter().map(|row| (row.1.to_vec(), row.0 + 0.0)));
            }
            8 => {
                let names: Vec<&[u8]> = members.iter().map(|member| &member[..]).collect();
                let fits = names.iter().all(|name| model.scores.contains_key(*name));
                let op = SortedSetOp::Remove { members: Strings::from(&names) };
                prop_assert_eq!(apply(&mut set, &op).is_ok(), fits);
                if fits {
                    model.remove(&members);
                }
            }
            9 => {
                let names: Vec<Vec<u8>> =
                    model.scores.keys().skip(usize::from(at) % 50).take(9).cloned().collect();
                let slices: Vec<&[u8]> = names.iter().map(|name| &name[..]).collect();
                apply(&mut set, &SortedSetOp::Remove { members: Strings::from(&slices) })
                    .expect("all are there");
                model.remove(&names);
            }
            10 => {
                let (start, len) = (usize::from(at), usize::from(rows[0].1 % 32));
                let op = SortedSetOp::RemoveRange { start: start as u64, len: len as u64 };
                prop_assert_eq!(apply(&mut set, &op).is_ok(), start + len <= model.scores.len());
                if start + len <= model.scores.len() {
                    let gone: Vec<_> =
                        model.rows()[start..start + len].iter().map(|row| row.1.to_vec()).collect();
                    model.remove(&gone);
                }
            }
            _ => {
                let count = model.scores.len();
                let start = usize::from(at) % (count + 1);
                let len = (count - start) / 2;
                let op = SortedSetOp::RemoveRange { start: start as u64, len: len as u64 };
                apply(&mut set, &op).expect("within the length");
                let gone: Vec<_> =
                    model.rows()[start..start + len].iter().map(|row| row.1.to_vec()).collect();
                model.remove(&gone);
            }
        }
        became_large |= set.encoding() == "skiplist";
        prop_assert_eq!(set.encoding() == "skiplist", became_large, "there is no way back");
        prop_assert!(became_large || set.len() <= 128);
        prop_assert_eq!(set.len(), model.scores.len());
        if turn % 8 == 0 {
            check(&set, &model, usize::from(at))?;
        }
    }
    check(&set, &model, 12345)?;
    let mut rebuilt = SortedSet::default();
    set.rebuild(&mut |op| apply(&mut rebuilt, &op).expect("made to fit"));
    check(&rebuilt, &model, 54321)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_sorted_set_behaves_like_sorted_rows_and_is_rebuilt_equal(steps in steps(120), long: bool) {
        run(steps, long, false)?;
    }

    #[test]
    fn where_all_scores_are_equal_members_alone_make_the_order(steps in steps(100), probe in any::<u16>()) {
        run(steps.clone(), false, true)?;
        let mut set = SortedSet::default();
        let numbers = steps.iter().flat_map(|step| step.2.iter().map(|row| row.0));
        numbers.for_each(|number| put(&mut set, 7.0, &member_of(number, false)));
        let members: BTreeSet<_> = contents(&set).into_iter().map(|row| row.1).collect();
        for probe in [&member_of(probe, false)[..], b"", b"2", b"\xff"] {
            let before = |equal: bool| members.iter().filter(|m| &m[..] < probe || equal && &m[..] == probe).count();
            prop_assert_eq!(set.count_before(probe, false), before(false));
            prop_assert_eq!(set.count_before(probe, true), before(true));
        }
    }

    #[test]
    fn any_bytes_are_an_op_or_malformed_and_apply_without_a_panic(
        code in 0u8..16, bytes in proptest::collection::vec(0u8..6, 0..60), large: bool
    ) {
        let mut set = SortedSet::default();
        put(&mut set, 1.0, b"\x01");
        put(&mut set, 1.0, b"");
        (0..if large { 200 } else { 2 }).for_each(|n| put(&mut set, f64::from(n), &n.to_string().into_bytes()));
        if let Ok(op) = SortedSetOp::decode(code, &mut Cursor::new(&bytes)) {
            let before = contents(&set);
            if set.apply(&op).is_err() {
                prop_assert_eq!(contents(&set), before);
            }
            check_shape(&set);
        }
    }

    #[test]
    fn a_scan_misses_no_member_that_stays_while_the_set_grows_and_shrinks_and_scores_change(
        stable in 130u32..400, sizes in proptest::collection::vec(0u32..3000, 1..40), one_score: bool
    ) {
        let mut set = SortedSet::default();
        let scored = |n: u32| if one_score { 1.0 } else { f64::from(n % 977) };
        (0..stable).for_each(|n| put(&mut set, scored(n), format!("stable:{n}").as_bytes()));
        let mut seen = BTreeSet::new();
        let (mut from, mut size, mut turns) = (Some(0), 0u32, 0);
        while let Some(at) = from {
            from = set.scan(at, &mut |score, member| {
                assert_eq!(set.score(member), Some(score));
                seen.insert(member.to_vec());
            });
            prop_assert!(from.is_none_or(|next| next > at), "a scan always gets on");
            let goal = sizes[turns % sizes.len()];
            turns += 1;
            while size < goal {
                put(&mut set, scored(size), format!("filler:{size}").as_bytes());
                size += 1;
            }
            while size > goal {
                size -= 1;
                take(&mut set, format!("filler:{size}").as_bytes());
            }
            put(&mut set, f64::from(turns as u32 * 31 % 1000), format!("stable:{}", turns as u32 % stable).as_bytes());
        }
        check_shape(&set);
        for n in 0..stable {
            prop_assert!(seen.contains(format!("stable:{n}").as_bytes()), "stable:{n} was missed");
        }
    }
}

#[test]
fn a_scan_of_an_unchanged_set_visits_every_member_once() {
    for count in [100u32, 5000] {
        let mut set = SortedSet::default();
        (0..count).for_each(|n| put(&mut set, f64::from(n % 3), &n.to_le_bytes()));
        let (mut from, mut visited) = (Some(0), Vec::new());
        while let Some(at) = from {
            from = set.scan(at, &mut |_, member| visited.push(member.to_vec()));
        }
        assert_eq!(visited.len(), count as usize);
        assert_eq!(visited.into_iter().collect::<BTreeSet<_>>().len(), count as usize);
    }
}

#[test]
fn a_scan_of_a_shrinking_set_visits_none_of_those_that_stay_twice() {
    let mut set = SortedSet::default();
    (0..5000u32).for_each(|n| put(&mut set, f64::from(n % 3), &n.to_le_bytes()));
    let (mut from, mut visited, mut size) = (Some(0), Vec::new(), 5000u32);
    while let Some(at) = from {
        from = set.scan(at, &mut |_, member| visited.push(member.to_vec()));
        for n in (size.saturating_sub(50).max(200)..size).rev() {
            take(&mut set, &n.to_le_bytes());
            size = n;
        }
    }
    let stay: Vec<_> = (0..200u32).map(|n| n.to_le_bytes().to_vec()).collect();
    let visits = |member: &Vec<u8>| visited.iter().filter(|other| *other == member).count();
    assert!(stay.iter().all(|member| visits(member) == 1));
}

#[test]
fn a_claimed_count_beyond_the_bytes_and_scores_that_are_no_numbers_are_refused() {
    let mut bytes = Vec::new();
    crate::codec::put_varint(&mut bytes, u64::MAX >> 1);
    assert!(SortedSetOp::decode(1, &mut Cursor::new(&bytes)).is_err());
    assert!(SortedSetOp::decode(2, &mut Cursor::new(&bytes)).is_err());
    let mut bytes = f64::NAN.to_le_bytes().to_vec();
    bytes.extend(b"\x01m");
    assert!(SortedSetOp::decode(0, &mut Cursor::new(&bytes)).is_err());
    let mut set = SortedSet::default();
    assert!(set.apply(&SortedSetOp::Set { score: f64::NAN, member: b"m" }).is_err());
    let rows: [(f64, &[u8]); 2] = [(1.0, b"a"), (f64::NAN, b"b")];
    assert!(set.apply(&SortedSetOp::SetMany { rows: Rows::from(&rows[..]) }).is_err());
    assert!(set.is_empty());
    assert!(set.apply(&SortedSetOp::RemoveRange { start: u64::MAX, len: 2 }).is_err());
}

#[test]
fn rebuild_ops_are_of_bounded_size() {
    let mut set = SortedSet::default();
    for n in 0..1000u32 {
        put(&mut set, f64::from(n), &[n.to_le_bytes().repeat(100)].concat());
    }
    let mut ops = 0;
    set.rebuild(&mut |op| {
        let mut encoded = Vec::new();
        op.encode(&mut encoded);
        assert!(encoded.len() < 36 << 10);
        ops += 1;
    });
    assert!((13..20).contains(&ops), "{ops}");
}

#[test]
fn the_encoding_changes_with_a_new_member_too_long_or_too_many() {
    let mut set = SortedSet::default();
    (0..128u32).for_each(|n| put(&mut set, 1.0, &n.to_le_bytes()));
    put(&mut set, 2.0, &5u32.to_le_bytes());
    assert_eq!(set.encoding(), "listpack");
    put(&mut set, 2.0, b"one more");
    assert_eq!(set.encoding(), "skiplist");
    let mut set = SortedSet::default();
    put(&mut set, 1.0, &[b'x'; 64]);
    assert_eq!(set.encoding(), "listpack");
    put(&mut set, 1.0, &[b'x'; 65]);
    assert_eq!(set.encoding(), "skiplist");
}

#[test]
fn scores_of_every_magnitude_survive_a_small_set() {
    let mut set = SortedSet::default();
    let (mut scores, mut power) =
        (vec![0.0, f64::MIN_POSITIVE, f64::MAX, 1.0 / 3.0, 5e-324, f64::INFINITY], 1.0f64);
    while power < 1e20 {
        scores.extend([power, power - 1.0, power + 1.0, power + 0.5]);
        power *= 2.0;
    }
    for score in scores.iter().flat_map(|score| [*score, -score]) {
        put(&mut set, score, b"m");
        assert_eq!(set.score(b"m"), Some(score));
    }
    put(&mut set, -0.0, b"m");
    assert!(set.score(b"m").expect("just put").is_sign_positive(), "-0 is stored as 0");
}

#[test]
fn rows_that_come_in_order_fill_their_leaves() {
    let mut set = SortedSet::default();
    (0..20_000u32).for_each(|n| put(&mut set, f64::from(n), &n.to_be_bytes()));
    check_shape(&set);
    let Which::Large(large) = set.0.get() else { panic!("it is large") };
    assert!(large.leaves() <= 20_000 / 64 + 4, "{} leaves", large.leaves());
}

#[test]
fn a_set_that_has_shrunk_gives_its_memory_back() {
    let mut set = SortedSet::default();
    (0..20_000u32).for_each(|n| put(&mut set, f64::from(n % 100), &n.to_be_bytes()));
    let full = set.heap_bytes();
    for n in (0..20_000u32).filter(|n| n % 50 != 0) {
        take(&mut set, &n.to_be_bytes());
    }
    check_shape(&set);
    assert!(set.heap_bytes() < full / 8, "{} of {full} bytes", set.heap_bytes());
}
