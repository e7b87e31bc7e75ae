//! Values of every type go through the format and come back; no bytes do harm.

use proptest::prelude::*;

use super::samples::{KNOWN_TO_REDIS_7_0, SAMPLES};
use super::*;
use crate::keyspace::entry::Entry;
use crate::keyspace::hash::KeyRef;
use crate::keyspace::op::{Op, encode_bare};
use crate::keyspace::rebuild::ops_of;
use crate::keyspace::scratch::Scratch;
use crate::types::Collection;
use crate::types::hash::value::HashOp;
use crate::types::list::value::{Elements, ListOp, Side};
use crate::types::set::value::SetOp;
use crate::types::sorted_set::value::SortedSetOp;
use crate::types::stream::value::{PendingRow, Stream, StreamId, StreamOp};
use crate::types::string::value::StringOp;

const SEED: u64 = 9;
const NOW_MS: u64 = 1_700_000_000_000;

fn key() -> KeyRef<'static> {
    KeyRef::new(b"key", SEED)
}

/// A key made by ops.
fn made(ops: &[Op<'_>]) -> Scratch {
    let mut scratch = Scratch::new(SEED);
    ops.iter().for_each(|op| scratch.apply(&key(), op).expect("it fits"));
    scratch
}

/// The key that a content's ops make.
fn restored(content: &Content<'_>) -> Scratch {
    let mut scratch = Scratch::new(SEED);
    content.each_op(&mut |op| scratch.apply(&key(), &op)).expect("the ops fit");
    scratch
}

/// What can be seen of a value, however its elements lie.
fn seen(entry: &Entry) -> Vec<Vec<u8>> {
    use crate::keyspace::digest;
    use crate::keyspace::value::Value;
    let pair = |a: &[u8], b: &[u8]| [a, b"\0=", b].concat();
    let mut all: Vec<Vec<u8>> = match entry.as_value() {
        None => return vec![entry.as_string().expect("it has no other value").to_vec()],
        Some(Value::List(list)) => return list.iter().map(<[u8]>::to_vec).collect(),
        Some(Value::Set(set)) => set.members().map(|member| member.to_vec()).collect(),
        Some(Value::SortedSet(set)) => {
            set.members().map(|(score, member)| pair(member, &score.to_bits().to_le_bytes())).collect()
        }
        Some(Value::Hash(hash)) => {
            let fields = hash.fields(0);
            fields.map(|f| pair(&pair(f.name, f.value), &f.expire_at.unwrap_or(0).to_le_bytes())).collect()
        }
        Some(Value::Stream(_)) => return vec![digest::of_value(entry).to_bytes().to_vec()],
    };
    all.sort();
    all
}

fn dumped(entry: &Entry) -> (u8, Vec<u8>) {
    let kind = type_of(entry, NOW_MS).expect("something is live");
    let mut out = Vec::new();
    put_value(&mut out, kind, entry, NOW_MS);
    (kind, out)
}

fn comes_back(ops: &[Op<'_>]) -> u8 {
    let first = made(ops);
    let entry = first.get(&key()).expect("it was made");
    let (kind, bytes) = dumped(entry);
    let mut input = Input::new(&bytes);
    let content = decode(kind, &mut input).expect("what is written is read");
    assert!(input.is_empty(), "all of it");
    let second = restored(&content);
    let again = second.get(&key()).expect("it was made anew");
    assert_eq!(seen(entry), seen(again));
    assert_eq!(entry.kind(), again.kind());
    kind
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => any::<Vec<u8>>(),
        4 => (any::<i64>(), 0u32..64).prop_map(|(value, shift)| (value >> shift).to_string().into_bytes()),
        1 => (0usize..20_000).prop_map(|len| vec![b'x'; len]),
    ]
}

fn elements(max: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec(element(), 1..max)
}

fn slices(elements: &[Vec<u8>]) -> Vec<&[u8]> {
    elements.iter().map(Vec::as_slice).collect()
}

proptest! {
    #[test]
    fn strings_and_lists_come_back(elements in elements(40)) {
        comes_back(&[Op::String(StringOp::Set { value: &elements[0], expire_at: None })]);
        let elements = slices(&elements);
        comes_back(&[Op::List(ListOp::Push { side: Side::Right, elements: Elements::slices(&elements) })]);
    }

    #[test]
    fn sets_come_back(members in elements(200), only_integers in any::<bool>()) {
        let mut members = slices(&members);
        if only_integers {
            members.retain(|member| crate::resp::number::parse_i64(member).is_some());
        }
        prop_assume!(!members.is_empty());
        comes_back(&[Op::Set(SetOp::add(&members[..]))]);
    }

    #[test]
    fn sorted_sets_come_back(members in elements(200), scores in proptest::collection::vec(any::<f64>(), 200)) {
        let number = |score: f64| if score.is_nan() { f64::INFINITY } else { score };
        let rows: Vec<(f64, &[u8])> =
            members.iter().zip(scores).map(|(member, score)| (number(score), member.as_slice())).collect();
        comes_back(&[Op::SortedSet(SortedSetOp::SetMany { rows: rows[..].into() })]);
    }

    #[test]
    fn hashes_come_back_with_the_times_of_their_fields(
        fields in elements(200), later in proptest::collection::vec(0u64..3, 200),
    ) {
        let pairs: Vec<&[u8]> = fields.iter().flat_map(|field| [field.as_slice(), b"value"]).collect();
        let mut ops = vec![Op::Hash(HashOp::set(&pairs[..]))];
        let kind = comes_back(&ops);
        prop_assert!(matches!(kind, types::HASH | types::HASH_LISTPACK));
        let ends: Vec<_> = fields.iter().zip(&later).filter(|(_, after)| **after > 0).collect();
        let ends: Vec<_> = ends.iter().map(|(field, after)| (NOW_MS + **after * 40_000, [field.as_slice()])).collect();
        ops.extend(ends.iter().map(|(at, field)| Op::Hash(HashOp::expire(*at, field))));
        let kind = comes_back(&ops);
        prop_assert_eq!(kind == types::HASH_METADATA, !ends.is_empty());
    }

    #[test]
    fn any_bytes_are_a_value_or_malformed(kind in 0u8..28, bytes in any::<Vec<u8>>()) {
        if let Ok(content) = decode(kind, &mut Input::new(&bytes)) {
            restored(&content);
        }
    }

    #[test]
    fn damaged_samples_are_a_value_or_malformed(
        which in 0..SAMPLES.len(), changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = SAMPLES[which].1.to_vec();
        changes.iter().for_each(|(at, byte)| { let at = at.index(bytes.len()); bytes[at] = *byte });
        if let Some(cut) = cut {
            bytes.truncate(1 + cut.index(bytes.len()));
        }
        if let Ok(content) = decode(bytes[0], &mut Input::new(&bytes[1..])) {
            restored(&content);
        }
    }
}

#[test]
fn every_encoding_is_read() {
    let mut kinds = std::collections::BTreeSet::new();
    for (name, value) in SAMPLES {
        let mut input = Input::new(&value[1..]);
        let content = decode(value[0], &mut input).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(input.is_empty(), "{name}");
        restored(&content);
        kinds.insert(value[0]);
    }
    let known = [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 24, 25];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), known);
    assert!(SAMPLES[..KNOWN_TO_REDIS_7_0].iter().all(|(_, value)| value[0] < 20));
}

#[test]
fn every_cut_of_a_sample_is_malformed() {
    for (name, value) in SAMPLES {
        for end in 1..value.len() {
            assert!(decode(value[0], &mut Input::new(&value[1..end])).is_err(), "{name} up to {end}");
        }
    }
}

fn sample(name: &str) -> Content<'static> {
    let (_, value) = SAMPLES.iter().find(|sample| sample.0 == name).expect("a sample of this name");
    decode(value[0], &mut Input::new(&value[1..])).expect("samples are read")
}

#[test]
fn encodings_of_old_and_new_versions_say_what_they_say() {
    let strings = |pieces: &[&[u8]]| pieces.iter().copied().collect::<pieces::Pieces>();
    assert_eq!(sample("a compressed string"), Content::String(vec![b'a'; 30].into()));
    assert_eq!(sample("a string as 8 bits"), Content::String(b"-128"[..].into()));
    assert_eq!(sample("a compressed list of ziplists"), Content::List(strings(&[b"a", b"1", b"zz"])));
    assert_eq!(sample("a set as listpack"), Content::Set(strings(&[b"a", b"5"])));
    let pairs = strings(&[b"f", b"v", b"longer", &[b'x'; 300], b"", b""]);
    assert_eq!(sample("a hash as zipmap"), Content::Hash { pairs, expiries: Vec::new() });
    let pairs = strings(&[b"f", b"v", b"g", b"w", b"h", b"x"]);
    let expiries = vec![(1, 4_000_000_000_000), (2, 4_000_000_000_999)];
    assert_eq!(sample("a hash whose fields expire"), Content::Hash { pairs, expiries });
    let Content::Hash { pairs, expiries } = sample("a listpack of fields that expire") else {
        panic!("a hash")
    };
    assert_eq!((pairs, expiries), (strings(&[b"g", b"w", b"f", b"v"]), vec![(0, 4_000_000_000_000)]));
    let Content::SortedSet { scores, .. } = sample("a sorted set with scores as text") else {
        panic!("a set")
    };
    assert_eq!(scores, [1.5, f64::INFINITY, f64::NEG_INFINITY, -3.0, 1e-8]);
    let Content::List(elements) = sample("a list as ziplist") else { panic!("a list") };
    let integers: Vec<_> =
        elements.iter().take(18).map(|e| String::from_utf8_lossy(e).into_owned()).collect();
    let expected = "0 12 13 -1 -128 127 128 -32768 32767 -32769 8388607 -8388608 8388608 -2147483648 2147483647 2147483648 \
                    -9223372036854775808 9223372036854775807";
    assert_eq!(integers.join(" "), expected);
}

#[test]
fn what_no_version_writes_is_refused() {
    let cases: &[(&str, &[u8])] = &[
        ("no elements", b"\x01\0"),
        ("no members", b"\x02\0"),
        ("an empty listpack", b"\x10\x07\x07\0\0\0\0\0\xff"),
        ("only empty nodes", b"\x12\x01\x02\x07\x07\0\0\0\0\0\xff"),
        ("a member twice", b"\x02\x02\x01a\x01a"),
        ("a member twice, once as an integer", b"\x02\x02\xc0\x05\x015"),
        ("a field twice", b"\x04\x02\x01a\x01a\x01a\x01b"),
        ("a scored member twice", b"\x05\x02\x01a\0\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\0"),
        ("a score that is no number", b"\x05\x01\x01a\0\0\0\0\0\0\xf8\x7f"),
        ("a score of no digits", b"\x03\x01\x01a\x01x"),
        ("a score called nan", b"\x03\x01\x01a\xfd"),
        ("an intset out of order", b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x02\0\x01\0"),
        ("an intset of another width", b"\x0b\x09\x01\0\0\0\x01\0\0\0\x02"),
        ("more elements than bytes", b"\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01a"),
        ("a string longer than all", b"\0\x81\x7f\xff\xff\xff\xff\xff\xff\xffa"),
        ("a compressed string longer than it can be", b"\0\xc3\x02\x80\xff\xff\xff\xff\0a"),
        ("an unknown form of a length", b"\0\x82a"),
        ("an unknown form of a string", b"\0\xc4a"),
        ("a node of no kind", b"\x12\x01\x03\x01a"),
        ("a time before 1970", b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x01f\x01v"),
        ("a stream without its numbers", b"\x0f\0"),
        ("a stream of another length", b"\x0f\0\x01\0\0\0"),
        ("a stream that had fewer entries than it has", b"\x13\x01\x10\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\x1d\x1d\0\0\0\x0b\0\x01\x01\0\x01\x01\x01\x81f\x02\0\x01\x02\x01\0\x01\0\x01\x81v\x02\x04\x01\xff\x01\x01\x01\x01\x01\0\0\0\0"),
        ("a node without a base", b"\x0f\x01\x01a\x07\x07\0\0\0\0\0\xff\0\0\0\0"),
        ("a group twice", b"\x0f\0\0\0\0\x02\x01g\0\0\0\0\x01g\0\0\0\0"),
        ("a consumer twice", b"\x0f\0\0\0\0\x01\x01g\0\0\0\x02\x01c\0\0\0\0\0\0\0\0\0\x01c\0\0\0\0\0\0\0\0\0"),
        ("pending for nobody", b"\x0f\0\0\0\0\x01\x01g\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x01\0"),
        ("a time of a consumer before 1970", b"\x0f\0\0\0\0\x01\x01g\0\0\0\x01\x01c\0\0\0\0\0\0\0\x80\0"),
        ("a module's value", b"\x07\0"),
    ];
    for (name, value) in cases {
        assert!(decode(value[0], &mut Input::new(&value[1..])).is_err(), "{name}");
    }
}

fn stream_in<'a>(content: &'a Content<'_>) -> &'a Stream {
    let Content::Stream(stream) = content else { panic!("a stream") };
    stream
}

#[test]
fn streams_of_all_types_say_what_they_say() {
    let newest = sample("a stream whose consumers were active");
    let newest = stream_in(&newest);
    let entry = |ms, seq| {
        let entry = newest.get(StreamId::new(ms, seq)).expect("it is not deleted");
        entry
            .strings()
            .map(|string| String::from_utf8_lossy(&string as &[u8]).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(entry(1, 5), ["name", "v", "n", "1"]);
    assert_eq!(entry(2, 3), ["other", "", &"x".repeat(70), "99999999999"]);
    assert_eq!(
        (entry(2, 4), entry(9, 0)),
        (["name", "w", "n", "2"].map(Into::into).to_vec(), vec!["name".into(), "z".into()])
    );
    assert_eq!((newest.length(), newest.entries_added()), (4, 6));
    assert_eq!((newest.last_id(), newest.max_deleted_id()), (StreamId::new(9, 1), StreamId::new(9, 1)));
    let group = newest.group(b"g").expect("it is there");
    assert_eq!((group.last_id(), group.entries_read()), (StreamId::new(2, 4), None));
    let pending: Vec<_> = group.pending(StreamId::MIN..=StreamId::MAX).collect();
    let row = |ms, seq, delivered_ms, deliveries| PendingRow {
        id: StreamId::new(ms, seq),
        delivered_ms,
        deliveries,
    };
    assert_eq!(
        pending,
        [
            (&b"c1"[..], row(1, 5, 1_700_000_000_000, 1)),
            (b"c1", row(2, 3, 1_700_000_000_001, 7)),
            (b"c2", row(2, 4, 1_700_000_000_002, 1)),
        ]
    );
    let consumer =
        |name: &[u8]| group.consumer(name).map(|c| (c.seen_ms(), c.active_ms())).expect("it is there");
    assert_eq!(consumer(b"c0"), (1_700_000_000_005, None));
    assert_eq!(consumer(b"c1"), (1_700_000_000_005, Some(1_700_000_000_004)));
    // What older types have no place for is as if never, or told from the rest.
    let second = sample("a stream with deleted entries and two groups");
    let second = stream_in(&second);
    assert_eq!(second.group(b"g").and_then(|g| g.consumer(b"c1")).map(|c| c.active_ms()), Some(None));
    assert_eq!((second.entries_added(), second.max_deleted_id().ms), (6, 9));
    let first = sample("a stream of the first type");
    let first = stream_in(&first);
    assert_eq!((first.length(), first.entries_added(), first.max_deleted_id().ms), (4, 4, 0));
}

#[test]
fn a_stream_is_written_as_redis_writes_it() {
    let (_, bytes) =
        SAMPLES.iter().find(|s| s.0 == "a stream with nothing deleted").expect("a sample of this name");
    let content = sample("a stream with nothing deleted");
    let mut out = vec![types::STREAM_LISTPACKS_2];
    stream::put(&mut out, types::STREAM_LISTPACKS_2, stream_in(&content));
    assert_eq!(out.escape_ascii().to_string(), bytes.escape_ascii().to_string());
}

#[test]
fn streams_come_back_whole_in_the_newest_type() {
    for name in [
        "a stream of the first type",
        "a stream with nothing deleted",
        "a stream whose consumers were active",
    ] {
        let content = sample(name);
        let mut ops = Vec::new();
        stream_in(&content).rebuild(&mut |op| {
            let mut bare = Vec::new();
            encode_bare(&mut bare, &Op::Stream(op));
            ops.push(bare);
        });
        let ops: Vec<Op<'_>> = ops.iter().map(|bare| Op::decode_bare(bare).expect("just encoded")).collect();
        assert_eq!(comes_back(&ops), types::STREAM_LISTPACKS_3);
    }
}

#[test]
fn long_streams_are_written_in_nodes_and_come_back() {
    let values: Vec<Vec<u8>> = (0..1000u64).map(|n| vec![b'v'; (n * n % 700) as usize]).collect();
    let names: [&[u8]; 3] = [b"same", b"same", b"other"];
    let fields: Vec<[&[u8]; 2]> = (0..1000).map(|n| [names[n % 3], &values[n]]).collect();
    let mut ops: Vec<Op<'_>> = Vec::new();
    for (n, fields) in fields.iter().enumerate() {
        let id = StreamId::new(n as u64 / 3, u64::MAX / 2 - 500 * (n as u64 / 3) + n as u64);
        ops.push(Op::Stream(StreamOp::Add { id, fields: fields.into() }));
    }
    comes_back(&ops);
}

#[test]
fn long_names_cannot_be_repeated_without_end() {
    let mut writer = listpack::Writer::new();
    [10_000, 0, 1].into_iter().for_each(|number| writer.push_integer(number));
    writer.push(&[b'n'; 1 << 20]);
    writer.push_integer(0);
    for n in 0..10_000 {
        [2, 0, n, 7, 4].into_iter().for_each(|number| writer.push_integer(number));
    }
    let mut out = vec![1, 16];
    out.extend_from_slice(&[1; 16]);
    encode::put_raw(&mut out, &writer.finish());
    let error = decode(types::STREAM_LISTPACKS, &mut Input::new(&out)).expect_err("ten gigabytes of names");
    assert_eq!(error.0, "long names are repeated too often");
}

#[test]
fn types_follow_the_representation() {
    let number = |n: usize| n.to_string().into_bytes();
    let many: Vec<Vec<u8>> = (0..2000).map(number).collect();
    let (many, few): (Vec<&[u8]>, [&[u8]; 2]) = (slices(&many), [b"1", b"2"]);
    assert_eq!(comes_back(&[Op::Hash(HashOp::set(&few[..]))]), types::HASH_LISTPACK);
    assert_eq!(comes_back(&[Op::Hash(HashOp::set(&many[..]))]), types::HASH);
    assert_eq!(comes_back(&[Op::Set(SetOp::add(&few[..]))]), types::SET_INTSET);
    assert_eq!(comes_back(&[Op::Set(SetOp::add(&[&b"x"[..]]))]), types::SET_LISTPACK);
    let one: [(f64, &[u8]); 1] = [(1.0, b"x")];
    assert_eq!(
        comes_back(&[Op::SortedSet(SortedSetOp::SetMany { rows: one[..].into() })]),
        types::SORTED_SET_LISTPACK
    );
    let push = |elements| Op::List(ListOp::Push { side: Side::Right, elements: Elements::slices(elements) });
    assert_eq!(comes_back(&[push(&many)]), types::LIST_QUICKLIST_2);
}

#[test]
fn expired_fields_are_neither_written_nor_made() {
    let pairs: [&[u8]; 6] = [b"a", b"1", b"b", b"2", b"c", b"3"];
    let (a, c): ([&[u8]; 1], [&[u8]; 1]) = ([b"a"], [b"c"]);
    let set = Op::Hash(HashOp::set(&pairs[..]));
    let scratch =
        made(&[set, Op::Hash(HashOp::expire(NOW_MS, &a)), Op::Hash(HashOp::expire(NOW_MS + 5, &c))]);
    let (kind, bytes) = dumped(scratch.get(&key()).unwrap());
    let mut content = decode(kind, &mut Input::new(&bytes)).unwrap();
    let strings = |pieces: &[&[u8]]| pieces.iter().copied().collect::<pieces::Pieces>();
    assert_eq!(content, Content::Hash { pairs: strings(&pairs[2..]), expiries: vec![(1, NOW_MS + 5)] });
    content.drop_expired(NOW_MS + 5);
    assert_eq!(content, Content::Hash { pairs: strings(&pairs[2..4]), expiries: Vec::new() });
    let b: [&[u8]; 1] = [b"b"];
    let gone = made(&[
        set,
        Op::Hash(HashOp::expire(5, &a)),
        Op::Hash(HashOp::expire(5, &b)),
        Op::Hash(HashOp::expire(5, &c)),
    ]);
    assert_eq!(type_of(gone.get(&key()).unwrap(), NOW_MS), None);
}

/// The earliest time may be the very first: a field that expires then is not one that never does.
#[test]
fn a_field_that_expires_at_time_zero_has_expired() {
    let in_rows = b"\0\0\0\0\0\0\0\0\x02\x01\x01a\x011\x00\x01b\x012";
    let mut content = decode(types::HASH_METADATA, &mut Input::new(in_rows)).unwrap();
    let strings = |pieces: &[&[u8]]| pieces.iter().copied().collect::<pieces::Pieces>();
    assert_eq!(content, Content::Hash { pairs: strings(&[b"a", b"1", b"b", b"2"]), expiries: vec![(0, 0)] });
    let made = restored(&content);
    let (kind, bytes) = dumped(made.get(&key()).unwrap());
    assert_eq!(kind, types::HASH_LISTPACK, "what is left does not expire");
    content.drop_expired(0);
    assert_eq!(content, Content::Hash { pairs: strings(&[b"b", b"2"]), expiries: Vec::new() });
    assert_eq!(decode(kind, &mut Input::new(&bytes)).unwrap(), content);
    let mut only =
        decode(types::HASH_METADATA, &mut Input::new(b"\0\0\0\0\0\0\0\0\x01\x01\x01a\x011")).unwrap();
    only.drop_expired(0);
    assert!(only.is_empty());
}

#[test]
fn large_values_are_made_by_ops_of_a_bounded_size() {
    let members: Vec<Vec<u8>> = (0..30_000).map(|n: u32| format!("member:{n}").into_bytes()).collect();
    let all = slices(&members);
    let scratch = made(&[Op::Set(SetOp::add(&all[..]))]);
    let (kind, bytes) = dumped(scratch.get(&key()).unwrap());
    let content = decode(kind, &mut Input::new(&bytes)).unwrap();
    let mut sizes = Vec::new();
    content
        .each_op(&mut |op| {
            let mut bare = Vec::new();
            encode_bare(&mut bare, &op);
            sizes.push(bare.len());
            Ok::<(), ()>(())
        })
        .unwrap();
    assert!(sizes.len() > 5 && sizes.iter().all(|size| *size < 80 << 10), "{sizes:?}");
    let mut count = 0;
    ops_of(restored(&content).get(&key()).unwrap(), usize::MAX, &mut |_| count += 1);
    assert!(count > 5);
}
