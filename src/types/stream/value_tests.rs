//! The stream against a plain model; its invariants; its ops through their codec.

use super::*;
use crate::codec::Cursor;
use crate::types::stream::block::Limits;
use crate::types::stream::blocks::LIMITS;
use crate::types::stream::model::{Model, ModelGroup};
use crate::types::strings::Strings;
use proptest::prelude::*;

const ALL: RangeInclusive<StreamId> = StreamId::MIN..=StreamId::MAX;

type Row = (StreamId, Vec<Vec<u8>>);

/// Applies an op after a round trip through its encoding.
fn apply(stream: &mut Stream, op: &StreamOp<'_>) -> Result<(), Misfit> {
    let mut encoded = Vec::new();
    op.encode(&mut encoded);
    let mut cursor = Cursor::new(&encoded);
    let decoded = StreamOp::decode(op.code(), &mut cursor).expect("it was just encoded");
    cursor.finish().expect("nothing is left over");
    assert_eq!(*op, decoded);
    stream.apply(&decoded)
}

fn row(entry: Entry<'_>) -> Row {
    assert_eq!(entry.strings().len(), entry.strings().count());
    (entry.id, entry.strings().map(|string| string.to_vec()).collect())
}

fn rows<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<Row> {
    entries.map(row).collect()
}

fn copy(stream: &Stream) -> Stream {
    let mut copy = Stream::default();
    stream.rebuild(&mut |op| apply(&mut copy, &op).expect("a stream can be rebuilt"));
    copy
}

fn check_group(
    stream: &Stream,
    group: &Group,
    model: &Model,
    expected: &ModelGroup,
) -> Result<(), TestCaseError> {
    group.check();
    prop_assert_eq!((group.last_id(), group.entries_read()), (expected.last_id, expected.entries_read));
    prop_assert_eq!(stream.lag(group), model.lag(expected));
    prop_assert_eq!(group.pending_len(), expected.pending.len());
    let named = |(name, row): (&[u8], PendingRow)| (name.to_vec(), row);
    prop_assert!(group.pending(ALL).map(named).eq(expected.pending.values().cloned()));
    prop_assert!(group.pending(ALL).rev().map(named).eq(expected.pending.values().rev().cloned()));
    for (name, (seen_ms, active_ms)) in &expected.consumers {
        let consumer = group.consumer(name).expect("the model has it");
        prop_assert_eq!((consumer.seen_ms(), consumer.active_ms()), (*seen_ms, *active_ms));
        let pending = expected.pending_of(name);
        prop_assert_eq!(consumer.pending_len(), pending.len());
        prop_assert!(group.pending_of(name, ALL).eq(pending.iter().copied()));
        if let (Some(first), Some(last)) = (pending.first(), pending.last()) {
            let inner = pending.iter().filter(|row| row.id > first.id).copied();
            prop_assert!(group.pending_of(name, first.id.next().expect("not the last")..=last.id).eq(inner));
        }
    }
    prop_assert!(group.consumers().map(|(name, _)| name).eq(expected.consumers.keys().map(|name| &name[..])));
    for id in expected.pending.keys() {
        prop_assert_eq!(group.pending_at(*id).map(named), expected.pending.get(id).cloned());
    }
    Ok(())
}

fn check_ranges(stream: &Stream, model: &Model, probe: usize) -> Result<(), TestCaseError> {
    let expected: Vec<Row> = model.entries.iter().map(|(id, row)| (*id, row.clone())).collect();
    prop_assert_eq!(rows(stream.range(ALL)), expected.clone());
    prop_assert!(rows(stream.range(ALL).rev()).iter().eq(expected.iter().rev()));
    let mut places = vec![StreamId::MIN, StreamId::MAX];
    for id in model.entries.keys() {
        places.extend([Some(*id), id.next(), id.previous()].into_iter().flatten());
        prop_assert_eq!(stream.get(*id).map(row), Some((*id, model.entries[id].clone())));
    }
    for id in places.iter().filter(|id| !model.entries.contains_key(id)) {
        prop_assert!(stream.get(*id).is_none());
    }
    for turn in 0..6 {
        let from = places[(probe + turn * 7) % places.len()];
        let to = places[(probe / 11 + turn * 13) % places.len()];
        let inner: Vec<Row> = expected.iter().filter(|row| (from..=to).contains(&row.0)).cloned().collect();
        prop_assert_eq!(rows(stream.range(from..=to)), inner.clone());
        prop_assert!(rows(stream.range(from..=to).rev()).iter().eq(inner.iter().rev()));
        let (mut both, mut inner) = (stream.range(from..=to), inner.into_iter());
        for step in 0.. {
            let front = !(probe + step).is_multiple_of(turn + 2);
            let (own, expected) = match front {
                true => (both.next(), inner.next()),
                false => (both.next_back(), inner.next_back()),
            };
            prop_assert_eq!(own.map(row), expected.clone());
            if expected.is_none() {
                break;
            }
        }
        prop_assert!(both.next().is_none() && both.next_back().is_none());
        let below = model.entries.range(..from).count() as u64;
        prop_assert_eq!(stream.excess(Keep::From(from), None), below);
        check_whole_blocks(stream, Keep::From(from), below, (probe % 7) as u64)?;
    }
    let len = expected.len() as u64;
    for max in [0, 1, len / 2, len, len + 1, u64::MAX] {
        let over = len.saturating_sub(max);
        prop_assert_eq!(stream.excess(Keep::Len(max), None), over);
        check_whole_blocks(stream, Keep::Len(max), over, (probe % 7) as u64)?;
    }
    Ok(())
}

/// Of `exact` entries too many, as many blocks are named as fit.
fn check_whole_blocks(stream: &Stream, keep: Keep, exact: u64, limit: u64) -> Result<(), TestCaseError> {
    let most = if limit == 0 { exact } else { exact.min(limit) };
    let mut ends = vec![0];
    stream.entries.lengths().for_each(|len| ends.push(ends[ends.len() - 1] + len as u64));
    let expected = ends.into_iter().filter(|end| *end <= most).max();
    prop_assert_eq!(Some(stream.excess(keep, Some(limit))), expected);
    Ok(())
}

fn check(stream: &Stream, model: &Model, probe: usize, limits: Limits) -> Result<(), TestCaseError> {
    stream.entries.check(Some(limits));
    prop_assert_eq!(stream.length(), model.entries.len());
    prop_assert_eq!((stream.first_id(), stream.last_id()), (model.first_id(), model.last_id));
    prop_assert_eq!(stream.last_entry_id(), model.ids().last().copied());
    let numbers = (stream.max_deleted_id(), stream.entries_added());
    prop_assert_eq!(numbers, (model.max_deleted_id, model.entries_added));
    check_ranges(stream, model, probe)?;
    prop_assert!(stream.groups().map(|(name, _)| name).eq(model.groups.keys().map(|name| &name[..])));
    for (name, expected) in &model.groups {
        let group = stream.group(name).expect("the model has it");
        check_group(stream, group, model, expected)?;
        let is_behind = model.entries.keys().any(|id| *id > expected.last_id);
        prop_assert_eq!(stream.has_entries_behind(expected.last_id), is_behind);
    }
    Ok(())
}

type Step = (u8, u16, u16, Vec<u16>);

fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    let numbers = proptest::collection::vec(any::<u16>(), 0..6);
    proptest::collection::vec((0u8..26, any::<u16>(), any::<u16>(), numbers), 0..count)
}

/// An id above another: near it, far from it, or as far as can be.
fn id_above(last: StreamId, number: u16) -> StreamId {
    let StreamId { ms, seq } = last;
    match number % 64 {
        0 => StreamId::new(ms.saturating_add(u64::from(number) << 40), u64::from(number)),
        1 => StreamId::new(ms.saturating_add(1), u64::MAX - u64::from(number)),
        2..24 => last.next().unwrap_or(last),
        24..32 => StreamId::new(ms, seq.saturating_add(u64::from(number))),
        _ => StreamId::new(ms.saturating_add(u64::from(number % 7)), u64::from(number) / 16_000),
    }
}

fn value_of(number: u16) -> Vec<u8> {
    match number % 16 {
        0 => Vec::new(),
        1 => b"007".to_vec(),
        2 => vec![b'x'; usize::from(number) / 100],
        3 => (i64::MIN + i64::from(number)).to_string().into_bytes(),
        4 => (i64::MAX - i64::from(number)).to_string().into_bytes(),
        5 => (i64::from(number) << (number % 40)).to_string().into_bytes(),
        6 => (-i64::from(number)).to_string().into_bytes(),
        7 => b"-0".to_vec(),
        8..12 => number.to_string().into_bytes(),
        _ => format!("value {number}").into_bytes(),
    }
}

fn fields_of(number: u16, values: &[u16]) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    for (at, value) in [number].iter().chain(values).enumerate().take(1 + usize::from(number % 3)) {
        let name = if number.is_multiple_of(11) { value_of(*value) } else { format!("f{at}").into_bytes() };
        fields.extend([name, value_of(*value)]);
    }
    fields
}

fn pick(ids: &[StreamId], numbers: &[u16], stranger: Option<StreamId>) -> Vec<StreamId> {
    let mut picked: Vec<_> = stranger.into_iter().collect();
    for number in numbers {
        let at = usize::from(*number) % ids.len().max(1);
        let run = if number.is_multiple_of(5) { 4 } else { 1 };
        picked.extend(ids.iter().skip(at).take(run));
    }
    picked.sort_unstable();
    picked.dedup();
    picked
}

/// Makes an op of a step that mostly fits, and applies it to both.
fn take_step(stream: &mut Stream, model: &mut Model, step: &Step) -> Result<(), TestCaseError> {
    let (what, a, b, numbers) = (step.0, step.1, step.2, &step.3);
    let names: [&[u8]; 3] = [b"one", b"two", b"three"];
    let (group, consumer) = (names[usize::from(a) % 2], names[usize::from(b) % 3]);
    let stranger = a.is_multiple_of(17).then(|| StreamId::new(u64::from(a), u64::from(b)));
    let model_group = model.groups.get(group);
    let pending: Vec<_> = model_group.map_or(Vec::new(), |group| group.pending.keys().copied().collect());
    let existing = pick(&model.ids(), numbers, stranger);
    let acknowledged = pick(&pending, numbers, stranger);
    let fields = fields_of(b, numbers);
    let fields: Vec<&[u8]> = fields.iter().map(|field| &field[..]).collect();
    let at_ms = u64::from(b) % 50;
    let row = |id: &StreamId| {
        let delivered_ms = at_ms.wrapping_sub(u64::from(a) % 40).min(1 << 50);
        PendingRow { id: *id, delivered_ms, deliveries: u64::from(b) }
    };
    let assigned: Vec<PendingRow> =
        if a.is_multiple_of(3) { &acknowledged } else { &existing }.iter().map(row).collect();
    let behind = model_group.map_or(0, |group| model.ids().iter().filter(|id| **id > group.last_id).count());
    let op = match what {
        0..9 => StreamOp::Add { id: id_above(model.last_id, a), fields: Strings::from(&fields[..]) },
        9 => StreamOp::Add { id: StreamId::new(u64::from(a), 0), fields: Strings::from(&fields[1..]) },
        10 => {
            let count = usize::from(a) % (model.entries.len() / (1 + usize::from(b) % 9) + 2);
            StreamOp::Trim { count: count as u64, forget: b.is_multiple_of(2) }
        }
        11..14 => StreamOp::Delete { ids: Ids::new(&existing), forget: b.is_multiple_of(2) },
        14 => {
            let last_id = if a.is_multiple_of(2) { model.last_id } else { id_above(model.first_id(), b) };
            let max_deleted_id = if b.is_multiple_of(2) { model.max_deleted_id } else { model.first_id() };
            let entries_added = model.entries.len() as u64 + u64::from(a % 8);
            StreamOp::Reset { last_id, max_deleted_id, entries_added: entries_added.saturating_sub(1) }
        }
        15..17 => {
            let last_id = existing.first().copied().unwrap_or_default();
            StreamOp::SetGroup { group, last_id, entries_read: model.entries_up_to(last_id) }
        }
        17 if a.is_multiple_of(8) => StreamOp::RemoveGroup { group },
        17 => StreamOp::RemoveConsumer { group, consumer },
        18 => {
            let active_ms = (!a.is_multiple_of(4)).then_some(u64::from(a));
            StreamOp::SetConsumer { group, consumer, seen_ms: at_ms, active_ms }
        }
        19..22 => {
            let count = usize::from(a) % (behind + 2);
            StreamOp::Deliver { group, consumer, at_ms, count: count as u64, pend: !b.is_multiple_of(5) }
        }
        22..24 => {
            let at_ms = (!b.is_multiple_of(4)).then_some(at_ms);
            StreamOp::Assign { group, consumer, at_ms, rows: Pendings::new(&assigned) }
        }
        _ => StreamOp::Acknowledge { group, ids: Ids::new(&acknowledged) },
    };
    if b.is_multiple_of(13) {
        // From now on the stream keeps it in order.
        if let Some(group) = stream.group(group) {
            let oldest: Vec<_> = group.pending_since(at_ms).map(|row| row.1).collect();
            let mut expected: Vec<_> = group.pending(ALL).map(|row| row.1).collect();
            expected.retain(|row| row.delivered_ms <= at_ms);
            expected.sort_by_key(|row| (row.delivered_ms, row.id));
            prop_assert_eq!(oldest, expected);
        }
    }
    prop_assert_eq!(apply(stream, &op).is_ok(), model.apply(&op), "{:?}", op);
    Ok(())
}

fn run(steps: &[Step], limits: Limits) -> Result<(), TestCaseError> {
    LIMITS.set(Some(limits));
    let (mut stream, mut model) = (Stream::default(), Model::default());
    for (turn, step) in steps.iter().enumerate() {
        take_step(&mut stream, &mut model, step)?;
        check(&stream, &model, turn + usize::from(step.1), limits)?;
    }
    let copy = copy(&stream);
    check(&copy, &model, steps.len(), limits)?;
    prop_assert_eq!(copy, stream);
    LIMITS.set(None);
    Ok(())
}

proptest! {
    #[test]
    fn a_stream_of_tiny_blocks_behaves_like_the_model(steps in steps(120), entries in 1usize..6) {
        run(&steps, Limits::of(0, entries))?;
    }

    #[test]
    fn a_stream_of_small_blocks_behaves_like_the_model(steps in steps(120), bytes in 1usize..400) {
        run(&steps, Limits::of(bytes, 0))?;
    }

    #[test]
    fn a_stream_behaves_like_the_model(steps in steps(200)) {
        run(&steps, Limits::of(4096, 100))?;
    }
}

fn add(stream: &mut Stream, ms: u64, fields: &[&[u8]]) {
    let op = StreamOp::Add { id: StreamId::new(ms, 0), fields: fields.into() };
    stream.apply(&op).expect("ids ascend");
}

fn delete(stream: &mut Stream, ids: &[u64]) {
    let ids: Vec<_> = ids.iter().map(|ms| StreamId::new(*ms, 0)).collect();
    stream.apply(&StreamOp::Delete { ids: Ids::new(&ids), forget: false }).expect("all are there");
}

#[test]
fn names_are_kept_once_for_a_block() {
    let (mut same, mut other) = (Stream::default(), Stream::default());
    for ms in 1..=50 {
        add(&mut same, ms, &[b"a name of some length", b"1"]);
        add(&mut other, ms, &[format!("a name of length {ms}").as_bytes(), b"1"]);
    }
    assert_eq!((same.blocks(), other.blocks()), (1, 1));
    assert!(same.heap_bytes() < 400, "{}", same.heap_bytes());
    assert!(other.heap_bytes() > 50 * 18);
}

#[test]
fn long_entries_cost_little_more_than_their_bytes() {
    for len in [150, 512, 1500] {
        let mut stream = Stream::default();
        (1..=5000).for_each(|ms| add(&mut stream, ms, &[b"name", &vec![b'x'; len]]));
        stream.entries.check(None);
        let each = stream.heap_bytes() / 5000;
        assert!(each <= len + 10 + len / 20, "{each} for {len}");
    }
}

#[test]
fn a_stream_that_is_kept_short_holds_little_of_what_it_had() {
    let mut stream = Stream::default();
    for ms in 1..=1000 {
        add(&mut stream, ms, &[b"name", &[b'x'; 500]]);
        if ms > 5 {
            stream.apply(&StreamOp::Trim { count: 1, forget: false }).expect("there are six");
            stream.entries.check(None);
        }
        assert!(stream.heap_bytes() < 16 << 10, "{}", stream.heap_bytes());
    }
    assert_eq!(stream.length(), 5);
    let ids: Vec<u64> = stream.range(ALL).map(|entry| entry.id.ms).collect();
    assert_eq!(ids, [996, 997, 998, 999, 1000]);
}

#[test]
fn a_full_block_is_cut_once_most_of_it_is_trimmed() {
    let mut stream = Stream::default();
    (1..=300).for_each(|ms| add(&mut stream, ms, &[b"name", &[ms as u8; 500]]));
    for (gone, most) in [(45, 175_000), (60, 145_000), (195, 75_000)] {
        let count = gone - (300 - stream.length() as u64);
        stream.apply(&StreamOp::Trim { count, forget: false }).expect("there are more");
        stream.entries.check(None);
        let expected = (gone + 1..=300).map(|ms| (ms, vec![ms as u8; 500]));
        let found = stream.range(ALL).map(|entry| (entry.id.ms, row(entry).1[1].clone()));
        assert!(found.eq(expected), "{gone}");
        assert!(stream.heap_bytes() <= most, "{gone}: {}", stream.heap_bytes());
    }
}

#[test]
fn deleted_entries_give_their_memory_back() {
    let mut stream = Stream::default();
    (1..=10_000).for_each(|ms| add(&mut stream, ms, &[b"name", &[b'x'; 30]]));
    let full = stream.heap_bytes();
    let most: Vec<u64> = (1..=10_000u64).filter(|ms| !ms.is_multiple_of(20)).collect();
    most.chunks(777).for_each(|ids| delete(&mut stream, ids));
    stream.entries.check(None);
    assert_eq!(stream.length(), 500);
    assert!(stream.heap_bytes() < full / 6, "{} of {full}", stream.heap_bytes());
    let rest: Vec<u64> = stream.range(ALL).map(|entry| entry.id.ms).collect();
    delete(&mut stream, &rest);
    assert_eq!((stream.blocks(), stream.heap_bytes(), stream.length()), (0, 0, 0));
    assert_eq!((stream.max_deleted_id().ms, stream.last_id().ms), (10_000, 10_000));
}

#[test]
fn a_block_is_full_with_as_many_entries_as_were_ever_put_into_it() {
    let mut stream = Stream::default();
    (1..=100).for_each(|ms| add(&mut stream, ms, &[b"n", b"v"]));
    delete(&mut stream, &[5, 99, 100]);
    assert_eq!(stream.blocks(), 1);
    add(&mut stream, 101, &[b"n", b"v"]);
    assert_eq!(stream.blocks(), 2);
}

#[test]
fn a_trim_to_about_so_many_takes_whole_blocks() {
    let mut stream = Stream::default();
    (1..=1000).for_each(|ms| add(&mut stream, ms, &[b"n", b"v"]));
    let about = |keep, limit| stream.excess(keep, Some(limit));
    assert_eq!(about(Keep::Len(555), 0), 400);
    assert_eq!(about(Keep::Len(500), 0), 500);
    assert_eq!(about(Keep::Len(0), 0), 1000);
    assert_eq!(about(Keep::Len(0), 10_000), 1000);
    assert_eq!(about(Keep::Len(0), 399), 300);
    assert_eq!(about(Keep::Len(0), 99), 0);
    assert_eq!(about(Keep::From(StreamId::new(600, 0)), 0), 500);
    assert_eq!(about(Keep::From(StreamId::new(600, 1)), 0), 600);
    assert_eq!(stream.excess(Keep::From(StreamId::new(600, 1)), None), 600);
}

#[test]
fn a_trimmed_head_is_gone_for_good() {
    let mut stream = Stream::default();
    (1..=250).for_each(|ms| add(&mut stream, ms, &[b"n", b"v"]));
    for (count, first, blocks) in [(0, 1, 3), (30, 31, 3), (70, 101, 2), (120, 221, 1), (29, 250, 1)] {
        stream.apply(&StreamOp::Trim { count, forget: false }).expect("there are as many");
        assert_eq!((stream.first_id().ms, stream.blocks()), (first, blocks));
    }
    assert!(stream.apply(&StreamOp::Trim { count: 2, forget: false }).is_err());
    stream.apply(&StreamOp::Trim { count: 1, forget: false }).expect("it is the last");
    assert_eq!((stream.first_id(), stream.max_deleted_id()), (StreamId::MIN, StreamId::MIN));
    assert_eq!((stream.last_id().ms, stream.entries_added()), (250, 250));
}

#[test]
fn an_entry_of_any_length_is_kept() {
    let mut stream = Stream::default();
    let long = vec![b'x'; 3 << 20];
    for ms in 1..=9 {
        let value: &[u8] = if ms % 3 == 0 { &long } else { b"short" };
        add(&mut stream, ms, &[b"n", value, &long[..ms as usize * 100], b"12345678901234567890"]);
    }
    stream.entries.check(None);
    assert_eq!(row(stream.get(StreamId::new(6, 0)).expect("added")).1[1].len(), 3 << 20);
    let lengths: Vec<usize> = stream.range(ALL).rev().map(|entry| row(entry).1[1].len()).collect();
    assert_eq!(lengths, [3 << 20, 5, 5, 3 << 20, 5, 5, 3 << 20, 5, 5]);
    assert!(stream.heap_bytes() > 9 << 20 && stream.heap_bytes() < 10 << 20);
}

#[test]
fn hostile_ops_are_refused() {
    let mut bytes = Vec::new();
    crate::codec::put_varint(&mut bytes, u64::MAX >> 1);
    for code in 0..=15 {
        assert!(StreamOp::decode(code, &mut Cursor::new(&bytes)).is_err(), "{code}");
    }
    let mut stream = Stream::default();
    let (group, consumer) = (b"g", b"c");
    stream.apply(&StreamOp::SetGroup { group, last_id: StreamId::MAX, entries_read: None }).expect("any id");
    let reset = |entries_added| StreamOp::Reset {
        last_id: StreamId::MIN,
        max_deleted_id: StreamId::MIN,
        entries_added,
    };
    let mut counted = Stream::default();
    counted.apply(&reset(u64::MAX)).expect("no entry is above");
    add(&mut counted, 1, &[b"n", b"v"]);
    assert_eq!(
        (counted.entries_added(), counted.entries_up_to(StreamId::MIN)),
        (u64::MAX, Some(u64::MAX - 1))
    );
    for count in [0, 1, u64::MAX] {
        let op = StreamOp::Deliver { group, consumer, at_ms: 1, count, pend: true };
        assert!(stream.apply(&op).is_err());
        assert!(stream.apply(&StreamOp::Trim { count: count.max(1), forget: true }).is_err());
    }
    assert_eq!(stream.group(group).map(|group| group.consumers().len()), Some(0));
}

/// Deltas of what a group knows: entries read, and lag.
fn progress(stream: &Stream) -> (Option<u64>, Option<i64>) {
    let group = stream.group(b"g").expect("it was made");
    (group.entries_read(), stream.lag(group))
}

fn stream_with_group(entries: u64) -> Stream {
    let mut stream = Stream::default();
    let op = StreamOp::SetGroup { group: b"g", last_id: StreamId::MIN, entries_read: None };
    stream.apply(&op).expect("groups can be made");
    (1..=entries).for_each(|ms| add(&mut stream, ms, &[b"n", b"v"]));
    stream
}

fn deliver(stream: &mut Stream, count: u64) {
    let op = StreamOp::Deliver { group: b"g", consumer: b"c", at_ms: 5, count, pend: true };
    stream.apply(&op).expect("there are as many");
}

#[test]
fn a_group_behind_a_trim_counts_from_what_is_left() {
    let mut stream = stream_with_group(5);
    deliver(&mut stream, 1);
    assert_eq!(progress(&stream), (Some(1), Some(4)));
    stream.apply(&StreamOp::Trim { count: 4, forget: false }).expect("there are as many");
    assert_eq!(progress(&stream), (Some(1), Some(1)));
    deliver(&mut stream, 1);
    assert_eq!(progress(&stream), (Some(5), Some(0)));
}

#[test]
fn a_deletion_behind_a_group_makes_its_place_unknown_until_it_has_passed_it() {
    let mut stream = stream_with_group(6);
    deliver(&mut stream, 2);
    assert_eq!(progress(&stream), (Some(2), Some(4)));
    delete(&mut stream, &[1]);
    assert_eq!(progress(&stream), (Some(2), Some(4)), "it had read that one");
    delete(&mut stream, &[5]);
    assert_eq!(progress(&stream), (Some(2), None));
    deliver(&mut stream, 1);
    assert_eq!(progress(&stream), (None, None));
    deliver(&mut stream, 2);
    assert_eq!(progress(&stream), (Some(6), Some(0)));
}

#[test]
fn a_group_that_has_read_all_that_was_deleted_lags_by_what_is_left() {
    let mut stream = stream_with_group(4);
    deliver(&mut stream, 2);
    delete(&mut stream, &[1, 2, 3]);
    assert_eq!(progress(&stream), (Some(2), Some(1)));
    deliver(&mut stream, 1);
    assert_eq!(progress(&stream), (Some(4), Some(0)));
}

#[test]
fn forgotten_entries_are_pending_nowhere() {
    let mut stream = stream_with_group(10);
    deliver(&mut stream, 10);
    stream.apply(&StreamOp::Trim { count: 2, forget: true }).expect("there are as many");
    let ids = [4, 6].map(|ms| StreamId::new(ms, 0));
    stream.apply(&StreamOp::Delete { ids: Ids::new(&ids), forget: true }).expect("all are there");
    stream.apply(&StreamOp::Trim { count: 1, forget: false }).expect("it is there");
    let group = stream.group(b"g").expect("it was made");
    let pending: Vec<u64> = group.pending(ALL).map(|(_, row)| row.id.ms).collect();
    assert_eq!(pending, [3, 5, 7, 8, 9, 10], "and the one removed without a word");
}
