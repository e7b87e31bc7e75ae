//! Random ops, cut into runs of the log that are merged and loaded in every way: the state is always that of direct `apply`.

use proptest::prelude::*;
use std::collections::BTreeMap;

use super::*;
use crate::disk::SimDisk;
use crate::keyspace::Keyspace;
use crate::keyspace::entry::Entry;
use crate::keyspace::hash::SLOTS;
use crate::keyspace::op::{SpaceOp, encode_key_op, encode_space_op};
use crate::keyspace::value::Value;
use crate::keyspace::waiters::StripeSet;
use crate::log::Seed;
use crate::snapshot::header::{FileHeader, Kind};
use crate::snapshot::load::load_files;
use crate::snapshot::reader::FileReader;
use crate::snapshot::slot_rows::SlotRows;
use crate::snapshot::sorted::{SortedOps, SortedOpsBuilder};
use crate::snapshot::writer::FileWriter;
use crate::types::hash::value::HashOp;
use crate::types::list::value::{Elements, ListOp, Side};
use crate::types::set::value::SetOp;
use crate::types::sorted_set::value::SortedSetOp;
use crate::types::stream::value::{Ids, PendingRow, Pendings, StreamId, StreamOp};
use crate::types::string::value::StringOp;

const SEED: u64 = 99;
const DATABASES: u32 = 2;

/// A file in memory.
#[derive(Debug, Clone, Default, PartialEq)]
struct Rows(Vec<(Head, Vec<Vec<u8>>)>);

impl RowSink for Rows {
    fn begin(&mut self, head: &Head) -> Result<(), StoreError> {
        assert!(self.0.last().is_none_or(|(last, ops)| last < head && !ops.is_empty()));
        self.0.push((head.clone(), Vec::new()));
        Ok(())
    }

    fn op(&mut self, op: &[u8]) -> Result<(), StoreError> {
        self.0.last_mut().expect("a row was begun").1.push(op.to_vec());
        Ok(())
    }
}

impl Rows {
    fn source(&self, slots: (u16, u16)) -> Reading<'_> {
        let start = self.0.partition_point(|row| row.0.slot < slots.0);
        let end = self.0.partition_point(|row| row.0.slot <= slots.1);
        Reading { rows: &self.0[start..end], read: 0 }
    }
}

struct Reading<'a> {
    rows: &'a [(Head, Vec<Vec<u8>>)],
    read: usize,
}

impl RowSource for Reading<'_> {
    fn head(&self) -> Option<&Head> {
        self.rows.first().map(|row| &row.0)
    }

    fn next_op(&mut self) -> Result<Option<&[u8]>, StoreError> {
        let op = self.rows[0].1.get(self.read).map(Vec::as_slice);
        self.read += 1;
        Ok(op)
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        self.rows = &self.rows[1..];
        self.read = 0;
        Ok(())
    }
}

/// What a store has on its disk.
#[derive(Debug, Clone, Default)]
struct Files {
    base: Option<Rows>,
    deltas: Vec<Rows>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Everything becomes a base.
    Base,
    /// The log's part becomes another delta.
    Delta,
    /// The deltas and the log's part become one delta.
    OneDelta,
}

impl Files {
    fn all(&self) -> impl Iterator<Item = &Rows> {
        self.base.iter().chain(&self.deltas)
    }

    fn merged(&self, way: Way, log: &SortedOps, live: &[SpaceId], slots: &[(u16, u16)]) -> Rows {
        let mut sink = Rows::default();
        for &(first, last) in slots {
            let files: Vec<&Rows> = match way {
                Way::Base => self.all().collect(),
                Way::Delta => Vec::new(),
                Way::OneDelta => self.deltas.iter().collect(),
            };
            let mut readings: Vec<Reading<'_>> =
                files.iter().map(|file| file.source((first, last))).collect();
            let mut newest = log.rows(first..=last);
            let mut sources: Vec<&mut dyn RowSource> = Vec::new();
            sources.extend(readings.iter_mut().map(|reading| reading as &mut dyn RowSource));
            sources.push(&mut newest);
            let plan = Plan {
                mode: if way == Way::Base { Mode::Base } else { Mode::Delta },
                has_base: way == Way::Base && self.base.is_some(),
                seed: SEED,
                is_live: &|space| live.contains(&space),
                renamed: Some(log.components(first..=last)),
            };
            let before = sink.0.len() as u64;
            let mut older = |head: &Head, visit: &mut Visit<'_>| {
                let rows = self.all().flat_map(|file| file.0.iter().filter(|row| row.0 == *head));
                rows.flat_map(|row| &row.1).try_for_each(|op| visit(op))
            };
            let stats = merge(&mut sources, &plan, &mut older, &mut sink).unwrap();
            assert_eq!(stats.rows, sink.0.len() as u64 - before);
        }
        sink
    }

    fn replace(&mut self, way: Way, fresh: Rows) {
        match way {
            Way::Base => *self = Self { base: Some(fresh), deltas: Vec::new() },
            Way::Delta => self.deltas.push(fresh),
            Way::OneDelta => self.deltas = vec![fresh],
        }
    }

    /// What is loaded from such files on a disk.
    fn loaded(&self, live: &[SpaceId]) -> BTreeMap<(SpaceId, Vec<u8>), String> {
        let disk = SimDisk::new(1);
        let mut rows = Vec::new();
        for (number, file) in self.all().enumerate() {
            let header = FileHeader {
                kind: Kind::Delta,
                store_id: [7; 16],
                sequence: number as u64,
                first_slot: 0,
                last_slot: SLOTS as u16 - 1,
                from_lsn: 0,
                through_lsn: 0,
                created_us: 0,
            };
            let mut writer = FileWriter::create(&disk, &header, 1).unwrap();
            for (head, ops) in &file.0 {
                writer.begin(head).unwrap();
                ops.iter().for_each(|op| writer.op(op).unwrap());
            }
            writer.finish().unwrap();
            let reader = FileReader::open(&disk, header.sequence, None).unwrap();
            rows.push(SlotRows::new(reader.rows(Seed(SEED), 0..=SLOTS as u16 - 1).unwrap()).unwrap());
        }
        let keyspace = Keyspace::new(DATABASES, SEED);
        let mut held = keyspace.lock(StripeSet::ALL);
        load_files(&mut rows, &|space| live.contains(&space), &mut held).unwrap();
        drop(held);
        state(&keyspace, live)
    }
}

fn value_of(entry: &Entry) -> String {
    match entry.as_value() {
        None => format!("{:?} {}", entry.as_string(), entry.encoding()),
        Some(Value::List(list)) => format!("{:?}", list.iter().collect::<Vec<_>>()),
        Some(Value::Hash(hash)) => {
            let mut fields: Vec<_> = hash.fields(0).collect();
            fields.sort_by_key(|field| field.name);
            format!("{fields:?}")
        }
        Some(Value::Set(set)) => {
            let mut members: Vec<_> = set.members().map(|member| member.to_vec()).collect();
            members.sort_unstable();
            format!("{members:?}")
        }
        Some(Value::SortedSet(set)) => format!("{:?}", set.members().collect::<Vec<_>>()),
        Some(Value::Stream(_)) => crate::keyspace::digest::of_value(entry).to_string(),
    }
}

fn state(keyspace: &Keyspace, live: &[SpaceId]) -> BTreeMap<(SpaceId, Vec<u8>), String> {
    let held = keyspace.lock(StripeSet::ALL);
    let mut state = BTreeMap::new();
    for &space in live {
        for entry in held.shelves().filter_map(|shelf| shelf.stripe.part(space)).flat_map(|part| part.iter())
        {
            let seen = format!("{:?} {}", entry.expire_at(), value_of(entry));
            state.insert((space, entry.key().to_vec()), seen);
        }
    }
    state
}

#[derive(Debug, Clone)]
struct Step {
    what: u8,
    db: u32,
    key: u8,
    number: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0u8..110, 0..DATABASES, any::<u8>(), any::<u8>());
    prop::collection::vec(step.prop_map(|(what, db, key, number)| Step { what, db, key, number }), 0..150)
}

fn name(key: u8) -> String {
    format!("{}{}", ["{a}", "{a}", "{b}", "other"][usize::from(key % 4)], key / 4 % 4)
}

/// Calls `then` with the op of a step on a key.
fn with_op(step: &Step, then: impl FnOnce(Op<'_>)) {
    if step.what >= 82 {
        return with_stream_op(step, then);
    }
    let number = step.number;
    let long = vec![number; if number == 7 { 70_000 } else { usize::from(number % 60) }];
    let (field, to) = ([b'f', number % 5], name((step.key / 16).wrapping_add(number)));
    let pair: [&[u8]; 2] = [&field, &long];
    let number_text = (number % 5).to_string();
    let members: [&[u8]; 2] = [number_text.as_bytes(), &field];
    let rows: [(f64, &[u8]); 2] = [(-1.5, &long), (f64::INFINITY, &field)];
    let (index, at) = (u64::from(number % 3), u64::from(number) + 1);
    let side = if number.is_multiple_of(2) { Side::Left } else { Side::Right };
    then(match step.what {
        0..=5 => {
            Op::String(StringOp::Set { value: &long, expire_at: (number.is_multiple_of(3)).then_some(at) })
        }
        6..=10 => Op::String(StringOp::Replace { value: &long }),
        11..=13 => Op::String(StringOp::Append { bytes: &long }),
        14 => Op::String(StringOp::SetRange { offset: index, bytes: &long }),
        15 if number.is_multiple_of(2) => {
            Op::String(StringOp::Splice { offset: index, removed: u64::from(number % 5), bytes: &long })
        }
        15 => Op::String(StringOp::SetBit { offset: at, bit: true }),
        16..=19 => Op::Delete,
        20..=24 => Op::ExpireAt(at),
        25..=26 => Op::Persist,
        27..=33 => Op::Rename { to: to.as_bytes() },
        34..=39 => Op::List(ListOp::Push { side, elements: Elements::one(&long) }),
        40..=43 => Op::List(ListOp::Pop { side, count: 1 }),
        44 => Op::List(ListOp::Set { index, element: &long }),
        45 => Op::List(ListOp::Insert { index, element: &long }),
        46 => Op::List(ListOp::Trim { start: 0, len: index }),
        47..=50 => Op::Hash(HashOp::set(&pair[..])),
        51 => Op::Hash(HashOp::set_keep_ttl(&pair[..])),
        52..=53 => Op::Hash(HashOp::remove(&pair[..1])),
        54..=56 => Op::Hash(HashOp::expire(at, &pair[..1])),
        57..=59 => Op::Hash(HashOp::persist(&pair[..1])),
        60..=62 => Op::Set(SetOp::add(&members[..])),
        63 => Op::Set(SetOp::add(&members[..1])),
        64 => Op::Set(SetOp::remove(&pair[..1])),
        65 => Op::Set(SetOp::remove(&members[..1])),
        66..=70 => Op::SortedSet(SortedSetOp::Set { score: f64::from(number), member: &field }),
        71..=74 => Op::SortedSet(SortedSetOp::SetMany { rows: rows[..].into() }),
        75..=78 => Op::SortedSet(SortedSetOp::Remove { members: (&pair[..1]).into() }),
        _ => Op::SortedSet(SortedSetOp::RemoveRange { start: index, len: index }),
    });
}

/// [`with_op`] of a stream. Ids are near each other, so that some exist; adding more would soon be too late.
fn with_stream_op(step: &Step, then: impl FnOnce(Op<'_>)) {
    let (number, forget) = (step.number, step.number.is_multiple_of(2));
    let id = |at: u8| StreamId::new(u64::from(at / 4), u64::from(at % 4) + 1);
    let (ids, at_ms) = ([id(number), id(number.saturating_add(1))], u64::from(number));
    let ids = &ids[..if ids[0] < ids[1] { 1 + usize::from(forget) } else { 1 }];
    let row = |id: &StreamId| PendingRow { id: *id, delivered_ms: at_ms, deliveries: 2 };
    let rows: Vec<_> = ids.iter().map(row).collect();
    let long = vec![number; if number == 7 { 70_000 } else { usize::from(number % 60) }];
    let fields: [&[u8]; 4] = [b"f", &long, b"g", b""];
    let fields = (&fields[..if forget { 4 } else { 2 }]).into();
    let (group, consumer) =
        (if number % 8 == 0 { &b"h"[..] } else { b"g" }, if forget { &b"c"[..] } else { b"d" });
    let count = u64::from(number % 3);
    then(Op::Stream(match step.what {
        82..=91 => StreamOp::Add { id: id(number), fields },
        92 => StreamOp::Trim { count, forget },
        93..=94 => StreamOp::Delete { ids: Ids::new(ids), forget },
        95 => StreamOp::Reset { last_id: id(number), max_deleted_id: ids[0], entries_added: at_ms },
        96..=99 => StreamOp::SetGroup { group, last_id: id(number / 16), entries_read: Some(count) },
        100 => StreamOp::RemoveGroup { group },
        101 => StreamOp::SetConsumer { group, consumer, seen_ms: at_ms, active_ms: forget.then_some(at_ms) },
        102 => StreamOp::RemoveConsumer { group, consumer },
        103..=106 => StreamOp::Deliver { group, consumer, at_ms, count, pend: number % 5 > 0 },
        107 => {
            StreamOp::Assign { group, consumer, at_ms: forget.then_some(at_ms), rows: Pendings::new(&rows) }
        }
        _ => StreamOp::Acknowledge { group, ids: Ids::new(ids) },
    }));
}

/// Carries a step out and writes it down, if it fits.
fn carry_out(keyspace: &Keyspace, step: &Step, body: &mut Vec<u8>) {
    let mut held = keyspace.lock(StripeSet::ALL);
    if matches!(step.what, 58 | 59) {
        if step.number < 200 {
            return;
        }
        let op = match step.what {
            58 => SpaceOp::Flush { db: step.db, space: keyspace.fresh_space() },
            _ => SpaceOp::Swap { a: 0, b: 1 },
        };
        held.apply_space(&op).unwrap();
        encode_space_op(body, &op);
        return;
    }
    let (key, space) = (name(step.key), keyspace.space(step.db));
    with_op(step, |op| {
        if held.apply(space, &keyspace.key(key.as_bytes()), &op).is_ok() {
            encode_key_op(body, space, key.as_bytes(), &op);
        }
    });
}

fn live(keyspace: &Keyspace) -> Vec<SpaceId> {
    (0..DATABASES).map(|db| keyspace.space(db)).collect()
}

fn carry_out_all(keyspace: &Keyspace, steps: &[Step], log: &mut SortedOpsBuilder) {
    for step in steps.chunks(3) {
        let mut body = Vec::new();
        step.iter().for_each(|step| carry_out(keyspace, step, &mut body));
        log.push_record(log.through() + body.len() as u64, &body).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn files_are_always_the_state_of_direct_apply(
        runs in prop::collection::vec(
            (steps(), prop_oneof![Just(Way::Base), Just(Way::Delta), Just(Way::Delta), Just(Way::OneDelta)]), 1..5),
        mut cuts in prop::collection::vec(0u16..16384, 0..4),
    ) {
        let keyspace = Keyspace::new(DATABASES, SEED);
        let mut files = Files::default();
        cuts.extend(["{a}", "other1"].map(|key| KeyRef::new(key.as_bytes(), SEED).slot));
        cuts.sort_unstable();
        cuts.dedup();
        let starts = std::iter::once(0).chain(cuts.iter().map(|cut| cut + 1));
        let ranges: Vec<_> = starts.zip(cuts.iter().copied().chain([u16::MAX])).collect();
        for (steps, way) in runs {
            let mut log = SortedOps::builder(SEED, usize::MAX);
            carry_out_all(&keyspace, &steps, &mut log);
            let (log, live) = (log.finish(), live(&keyspace));
            let expected = state(&keyspace, &live);
            let whole = files.merged(way, &log, &live, &[(0, u16::MAX)]);
            prop_assert_eq!(&files.merged(way, &log, &live, &ranges), &whole);
            // Whatever is kept, all of it together is also a base.
            let base = files.merged(Way::Base, &log, &live, &ranges);
            let base = Files { base: Some(base), deltas: Vec::new() };
            prop_assert_eq!(&base.loaded(&live), &expected);
            prop_assert_eq!(base.base.iter().flat_map(|rows| &rows.0).count(), expected.len());
            files.replace(way, whole);
            prop_assert_eq!(&files.loaded(&live), &expected);
            // Merged once more, with nothing new: the same.
            let nothing = SortedOps::builder(SEED, 0).finish();
            let again = files.merged(Way::Base, &nothing, &live, &ranges);
            prop_assert_eq!(&Files { base: Some(again), deltas: Vec::new() }.loaded(&live), &expected);
            let again = files.merged(Way::OneDelta, &nothing, &live, &ranges);
            let again = Files { base: files.base.clone(), deltas: vec![again] };
            prop_assert_eq!(&again.loaded(&live), &expected);
        }
    }
}

fn body(key: &str, ops: &[Op<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    ops.iter().for_each(|op| encode_key_op(&mut body, 0, key.as_bytes(), op));
    body
}

fn sorted(bodies: &[Vec<u8>]) -> SortedOps {
    let mut log = SortedOps::builder(SEED, usize::MAX);
    bodies.iter().zip(1..).for_each(|(body, lsn)| log.push_record(lsn, body).unwrap());
    log.finish()
}

fn replace(value: &[u8]) -> Op<'_> {
    Op::String(StringOp::Replace { value })
}

fn bare(op: Op<'_>) -> Vec<u8> {
    let mut bare = Vec::new();
    encode_bare(&mut bare, &op);
    bare
}

const ALL: &[(u16, u16)] = &[(0, u16::MAX)];

#[test]
fn a_counter_with_an_expiry_is_two_ops_however_often_it_changed() {
    let steps = [replace(b"1"), Op::ExpireAt(5), replace(b"2"), Op::ExpireAt(6), replace(b"3")];
    let log = sorted(&[body("counter", &steps), body("counter", &steps)]);
    let delta = Files::default().merged(Way::Delta, &log, &[0], ALL);
    assert_eq!(delta.0[0].1, [bare(replace(b"3")), bare(Op::ExpireAt(6))]);
}

#[test]
fn a_deleted_key_is_a_tombstone_in_a_delta_and_nothing_in_a_base() {
    let set = Op::String(StringOp::Set { value: b"x", expire_at: None });
    let log = sorted(&[body("gone", &[set, Op::Delete]), body("there", &[set])]);
    let mut delta = Files::default().merged(Way::Delta, &log, &[0], ALL);
    delta.0.sort_by_key(|row| row.0.key.clone());
    assert_eq!(delta.0[0].1, [bare(Op::Delete)]);
    assert_eq!(Files::default().merged(Way::Base, &log, &[0], ALL).0, [delta.0[1].clone()]);
}

#[test]
fn a_long_string_is_written_in_pieces() {
    let set = Op::String(StringOp::Set { value: &[7; 100_000], expire_at: None });
    let log = sorted(&[body("long", &[set, Op::ExpireAt(9)])]);
    let base = Files::default().merged(Way::Base, &log, &[0], ALL);
    assert_eq!(base.0[0].1.len(), 4);
    assert!(base.0[0].1.iter().all(|op| op.len() <= REBUILD_BYTES + 16));
}

#[test]
fn renamed_keys_whose_older_value_is_void_are_not_looked_up() {
    let set = Op::String(StringOp::Set { value: b"x", expire_at: None });
    let log = sorted(&[body("{t}temporary", &[set, Op::Rename { to: b"{t}final" }])]);
    let plan = Plan {
        mode: Mode::Delta,
        has_base: false,
        seed: SEED,
        is_live: &|_| true,
        renamed: Some(log.components(0..=u16::MAX)),
    };
    let mut rows = Rows::default();
    merge(&mut [], &plan, &mut |head, _| panic!("{head:?} was looked up"), &mut rows).unwrap();
    let mut ops: Vec<_> = rows.0.into_iter().map(|(head, ops)| (head.key, ops)).collect();
    ops.sort();
    let expected =
        [(b"{t}final".to_vec(), vec![bare(set)]), (b"{t}temporary".to_vec(), vec![bare(Op::Delete)])];
    assert_eq!(ops, expected);
}

#[test]
fn rows_that_do_not_fit_are_an_error_that_names_the_key() {
    let log = sorted(&[body("lonely", &[Op::ExpireAt(1)])]);
    let (mut rows, mut sink) = (log.rows(0..=u16::MAX), Rows::default());
    let plan = Plan { mode: Mode::Base, has_base: false, seed: SEED, is_live: &|_| true, renamed: None };
    let error = merge(&mut [&mut rows], &plan, &mut |_, _| Ok(()), &mut sink).unwrap_err();
    assert!(error.to_string().contains("key \"lonely\""), "{error}");
}

#[test]
fn a_record_that_is_malformed_or_renames_into_another_slot_is_refused() {
    let mut log = SortedOps::builder(SEED, 10);
    assert!(log.push_record(1, &body("{a}", &[Op::Rename { to: b"{b}" }])).is_err());
    assert!(log.push_record(1, &[3, 0xee]).is_err());
    assert!(log.is_full());
}
