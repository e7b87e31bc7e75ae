//! The list value against a plain deque, its ops through their codec, and the commands through the whole engine.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::blocks::Limits;
use super::value::{Elements, List, ListOp, Side};
use crate::codec::Cursor;
use crate::resp::OwnedArgs;
use crate::types::{Collection, CollectionOp};

type Model = VecDeque<Vec<u8>>;

/// An op with places as fractions of the length, so that it fits a list of any length.
#[derive(Debug, Clone)]
enum Step {
    Push(bool, Vec<Vec<u8>>),
    Pop(bool, u8),
    Set(u16, Vec<u8>),
    Insert(u16, Vec<u8>),
    Remove(i64, u16),
    Trim(u16, u16),
}

/// Mostly short, some long enough to fill blocks or exceed them; few distinct ones, so that LREM finds several.
fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0u8..6).prop_map(|n| vec![b'a' + n; usize::from(n)]),
        3 => proptest::collection::vec(any::<u8>(), 0..300),
        1 => (any::<u8>(), 100usize..9000).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

/// Of few lengths, as the elements of many lists are.
fn regular_element() -> impl Strategy<Value = Vec<u8>> {
    (0u8..6, prop_oneof![20 => Just(10), 1 => Just(11), 1 => Just(300)])
        .prop_map(|(byte, len)| vec![b'a' + byte; len])
}

fn step<E: Strategy<Value = Vec<u8>>>(element: fn() -> E) -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<bool>(), proptest::collection::vec(element(), 1..40)).prop_map(|(l, e)| Step::Push(l, e)),
        8 => (any::<bool>(), element()).prop_map(|(l, e)| Step::Push(l, vec![e])),
        6 => (any::<bool>(), any::<u8>()).prop_map(|(l, n)| Step::Pop(l, n % 20)),
        3 => (any::<u16>(), element()).prop_map(|(i, e)| Step::Set(i, e)),
        3 => (any::<u16>(), element()).prop_map(|(i, e)| Step::Insert(i, e)),
        2 => (-4i64..4, any::<u16>()).prop_map(|(n, i)| Step::Remove(n, i)),
        1 => (any::<u16>(), any::<u16>()).prop_map(|(a, b)| Step::Trim(a / 8, b)),
    ]
}

fn side(left: bool) -> Side {
    if left { Side::Left } else { Side::Right }
}

fn at(fraction: u16, len: usize) -> usize {
    usize::from(fraction) * len / (usize::from(u16::MAX) + 1)
}

fn push_to(model: &mut Model, left: bool, element: Vec<u8>) {
    if left { model.push_front(element) } else { model.push_back(element) }
}

fn remove_from(model: &mut Model, count: i64, element: &[u8]) {
    let most = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let mut kept = Model::new();
    let mut removed = 0;
    while let Some(next) = if count < 0 { model.pop_back() } else { model.pop_front() } {
        if next == element && removed < most {
            removed += 1;
        } else {
            push_to(&mut kept, count < 0, next);
        }
    }
    *model = kept;
}

/// Applies an op both directly and as decoded from its bytes, to two lists.
fn apply(lists: &mut [List; 2], op: ListOp<'_>, limits: Limits) {
    let mut bytes = Vec::new();
    op.encode(&mut bytes);
    let mut cursor = Cursor::new(&bytes);
    let decoded = ListOp::decode(op.code(), &mut cursor).expect("it was encoded just now");
    cursor.finish().expect("decoding reads all that encoding wrote");
    assert_eq!(decoded, op);
    lists[0].apply_within(&op, limits).expect("made for this list");
    lists[1].apply_within(&decoded, limits).expect("made for this list");
}

fn carry_out(lists: &mut [List; 2], model: &mut Model, step: &Step, limits: Limits) {
    let mut apply = |op: ListOp<'_>| apply(lists, op, limits);
    let len = model.len();
    match step {
        Step::Push(left, elements) => {
            let slices: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
            let args = OwnedArgs::from_slices(&slices);
            apply(ListOp::Push { side: side(*left), elements: Elements::args(args.as_args()) });
            elements.iter().for_each(|element| push_to(model, *left, element.clone()));
        }
        Step::Pop(left, count) => {
            let count = usize::from(*count).min(len);
            if count > 0 {
                apply(ListOp::Pop { side: side(*left), count: count as u64 });
                drop(model.drain(if *left { 0..count } else { len - count..len }));
            }
        }
        Step::Set(index, element) if len > 0 => {
            let index = at(*index, len);
            apply(ListOp::Set { index: index as u64, element });
            model[index] = element.clone();
        }
        Step::Insert(index, element) => {
            let index = at(*index, len + 1);
            apply(ListOp::Insert { index: index as u64, element });
            model.insert(index, element.clone());
        }
        Step::Remove(count, index) if len > 0 => {
            let element = model[at(*index, len)].clone();
            apply(ListOp::Remove { count: *count, element: &element });
            remove_from(model, *count, &element);
        }
        Step::Trim(start, kept) => {
            let start = at(*start, len);
            let kept = at(*kept, len - start + 1);
            apply(ListOp::Trim { start: start as u64, len: kept as u64 });
            *model = model.iter().skip(start).take(kept).cloned().collect();
        }
        Step::Set(..) | Step::Remove(..) => {}
    }
}

fn assert_equal(list: &List, model: &Model, limits: Limits) {
    assert_eq!(list.len(), model.len());
    assert!(list.iter().eq(model.iter().map(Vec::as_slice)));
    assert!(list.iter().rev().eq(model.iter().rev().map(Vec::as_slice)));
    for index in [0, 1, model.len() / 3, model.len() / 2, model.len().saturating_sub(1), model.len()] {
        assert_eq!(list.get(index), model.get(index).map(Vec::as_slice));
    }
    assert_eq!(list.end(Side::Left), model.front().map(Vec::as_slice));
    assert_eq!(list.end(Side::Right), model.back().map(Vec::as_slice));
    list.check(limits);
}

fn rebuilt(list: &List) -> List {
    let mut copy = List::default();
    list.rebuild(&mut |op| {
        let mut bytes = Vec::new();
        op.encode(&mut bytes);
        let elements = match op {
            ListOp::Push { elements, .. } => elements.len(),
            _ => panic!("lists are rebuilt by pushes"),
        };
        assert!(elements == 1 || bytes.len() < 64 << 10);
        let op = ListOp::decode(op.code(), &mut Cursor::new(&bytes)).expect("it was encoded just now");
        copy.apply(&op).expect("pushes always fit");
    });
    copy
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_list_does_what_a_deque_does(
        steps in proptest::collection::vec(step(element), 1..60),
        setting in prop_oneof![-5i64..0, 0i64..6],
    ) {
        let limits = Limits::of(setting);
        let (mut lists, mut model) = ([List::default(), List::default()], Model::new());
        for step in &steps {
            carry_out(&mut lists, &mut model, step, limits);
            assert_equal(&lists[0], &model, limits);
        }
        assert_equal(&lists[1], &model, limits);
        assert_equal(&rebuilt(&lists[0]), &model, Limits::current());
    }

    #[test]
    fn a_list_of_sealed_blocks_does_what_a_deque_does(
        left in any::<bool>(),
        many in proptest::collection::vec(regular_element(), 100..300),
        steps in proptest::collection::vec(step(regular_element), 1..40),
        count in prop_oneof![Just(usize::MAX), 15usize..30],
    ) {
        let limits = Limits { bytes: 320, count };
        let (mut lists, mut model) = ([List::default(), List::default()], Model::new());
        for element in many {
            carry_out(&mut lists, &mut model, &Step::Push(left, vec![element]), limits);
        }
        assert_equal(&lists[0], &model, limits);
        for step in &steps {
            carry_out(&mut lists, &mut model, step, limits);
            assert_equal(&lists[0], &model, limits);
        }
        assert_equal(&lists[1], &model, limits);
    }

    #[test]
    fn ranges_are_read_from_both_ends(
        elements in proptest::collection::vec(element(), 1..80),
        (start, len, turns) in (any::<u16>(), any::<u16>(), any::<u64>()),
    ) {
        let mut list = List::default();
        for element in &elements {
            list.apply(&ListOp::Push { side: Side::Right, elements: Elements::one(element) }).unwrap();
        }
        let start = at(start, elements.len());
        let end = start + at(len, elements.len() - start + 1);
        let mut expected: VecDeque<&[u8]> = elements[start..end].iter().map(Vec::as_slice).collect();
        let mut range = list.range(start..end);
        for turn in 0..=expected.len() {
            prop_assert_eq!(range.len(), expected.len());
            if turns >> (turn % 64) & 1 == 0 {
                prop_assert_eq!(range.next(), expected.pop_front());
            } else {
                prop_assert_eq!(range.next_back(), expected.pop_back());
            }
        }
    }

    /// Whatever bytes a damaged log holds: an op or an error, and an op that fits or changes nothing.
    #[test]
    fn any_bytes_are_an_op_or_malformed(code in 0u8..16, bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let mut cursor = Cursor::new(&bytes);
        if let Ok(op) = ListOp::decode(code, &mut cursor) {
            let mut list = List::default();
            list.apply(&ListOp::Push { side: Side::Left, elements: Elements::one(b"x") }).unwrap();
            if list.apply(&op).is_err() {
                prop_assert_eq!(list.iter().collect::<Vec<_>>(), [b"x"]);
            }
        }
    }
}

#[test]
fn ops_that_do_not_fit_change_nothing() {
    let mut list = List::default();
    let elements = OwnedArgs::from_slices(&[b"a", b"b", b"c"]);
    list.apply(&ListOp::Push { side: Side::Right, elements: Elements::args(elements.as_args()) }).unwrap();
    for op in [
        ListOp::Pop { side: Side::Left, count: 4 },
        ListOp::Pop { side: Side::Right, count: u64::MAX },
        ListOp::Set { index: 3, element: b"x" },
        ListOp::Insert { index: 4, element: b"x" },
        ListOp::Remove { count: 0, element: b"x" },
        ListOp::Trim { start: 1, len: 3 },
        ListOp::Trim { start: u64::MAX, len: u64::MAX },
    ] {
        assert!(list.apply(&op).is_err(), "{op:?}");
        assert_eq!(list.iter().collect::<Vec<_>>(), [b"a", b"b", b"c"]);
    }
    assert!(List::default().apply(&ListOp::Set { index: 0, element: b"x" }).is_err());
}

#[test]
fn pushes_and_pops_of_nothing_are_malformed() {
    for code in 0..4 {
        assert!(ListOp::decode(code, &mut Cursor::new(&[0])).is_err());
    }
    // A count that the bytes cannot hold.
    assert!(ListOp::decode(0, &mut Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0x00])).is_err());
}

#[test]
fn short_lists_cost_their_bytes_and_two_per_element() {
    for count in [1usize, 10, 50] {
        let mut list = List::default();
        for _ in 0..count {
            list.apply(&ListOp::Push { side: Side::Right, elements: Elements::one(&[b'x'; 60]) }).unwrap();
        }
        let most = crate::allocator::real_size(count * 62 * 5 / 4 + 16);
        assert!(list.heap_bytes() <= most, "{count}: {}", list.heap_bytes());
    }
    assert!(size_of::<List>() <= 32);
}

#[test]
fn a_queue_that_stays_short_keeps_its_buffer_small() {
    for (from, to) in [(Side::Left, Side::Right), (Side::Right, Side::Left)] {
        let mut list = List::default();
        for n in 0..10_000u32 {
            let element = [n as u8; 50];
            list.apply(&ListOp::Push { side: to, elements: Elements::one(&element) }).unwrap();
            if n >= 5 {
                list.apply(&ListOp::Pop { side: from, count: 1 }).unwrap();
            }
            assert!(list.heap_bytes() <= 512, "{}", list.heap_bytes());
        }
        assert_eq!(list.len(), 5);
    }
}

mod commands {
    use crate::engine::rig::Rig;

    fn assert_replies(script: &[(&str, &str)]) {
        let mut rig = Rig::new();
        for (line, expected) in script {
            assert_eq!(rig.run(line).replace("\r\n", " ").trim_end(), *expected, "{line}");
        }
    }

    const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

    #[test]
    fn pops_tell_nothing_from_an_empty_array() {
        assert_replies(&[
            ("RPUSH l a b c d", ":4"),
            ("LPOP nokey", "$-1"),
            ("LPOP nokey 2", "*-1"),
            ("LPOP nokey 0", "*-1"),
            ("LPOP l 0", "*0"),
            ("LPOP l -1", "-ERR value is out of range, must be positive"),
            ("RPOP l 1 2", "-ERR wrong number of arguments for 'rpop' command"),
            ("RPOP l 2", "*2 $1 d $1 c"),
            ("LPOP l", "$1 a"),
            ("LPOP l 9223372036854775807", "*1 $1 b"),
            ("LLEN l", ":0"),
        ]);
    }

    #[test]
    fn changes_in_the_middle() {
        assert_replies(&[
            ("RPUSH l a b c b a", ":5"),
            ("LINSERT l BEFORE b x", ":6"),
            ("LINSERT l AFTER a y", ":7"),
            ("LINSERT l AFTER zz y", ":-1"),
            ("LINSERT l NEXT zz y", "-ERR syntax error"),
            ("LRANGE l 0 -1", "*7 $1 a $1 y $1 x $1 b $1 c $1 b $1 a"),
            ("LSET l -1 z", "+OK"),
            ("LSET l 7 z", "-ERR index out of range"),
            ("LSET l -8 z", "-ERR index out of range"),
            ("LSET nokey x z", "-ERR no such key"),
            ("LREM l -1 b", ":1"),
            ("LREM l 0 nothing", ":0"),
            ("LINDEX l -2", "$1 c"),
            ("LINDEX l 99", "$-1"),
            ("LTRIM l 1 -2", "+OK"),
            ("LRANGE l -100 100", "*4 $1 y $1 x $1 b $1 c"),
            ("LRANGE l 3 1", "*0"),
            ("LTRIM l 5 9", "+OK"),
            ("LLEN l", ":0"),
        ]);
    }

    #[test]
    fn lpos_options() {
        assert_replies(&[
            ("RPUSH l a b c a b c a", ":7"),
            ("LPOS l a", ":0"),
            ("LPOS l a RANK 2", ":3"),
            ("LPOS l a RANK -1", ":6"),
            ("LPOS l a RANK -2 COUNT 0", "*2 :3 :0"),
            ("LPOS l c COUNT 1 MAXLEN 2", "*0"),
            ("LPOS l c RANK -1 MAXLEN 2", ":5"),
            ("LPOS l zz", "$-1"),
            ("LPOS nokey a COUNT 0", "*0"),
            ("LPOS l a COUNT -1", "-ERR COUNT can't be negative"),
            ("LPOS l a MAXLEN", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn moves_check_both_lists_before_they_pop() {
        assert_replies(&[
            ("SET s x", "+OK"),
            ("RPUSH l a b c", ":3"),
            ("LMOVE l s LEFT LEFT", WRONG_TYPE),
            ("LMOVE nokey s LEFT LEFT", "$-1"),
            ("RPOPLPUSH s l", WRONG_TYPE),
            ("LMOVE l m LEFT RIGHT", "$1 a"),
            ("LMOVE l l LEFT RIGHT", "$1 b"),
            ("LRANGE l 0 -1", "*2 $1 c $1 b"),
            ("LRANGE m 0 -1", "*1 $1 a"),
            ("EXPIRE m 100", ":1"),
            ("RPOPLPUSH m m", "$1 a"),
            ("TTL m", ":100"),
        ]);
    }

    #[test]
    fn lmpop_takes_the_first_list_there_is() {
        assert_replies(&[
            ("SET s x", "+OK"),
            ("RPUSH l a b c", ":3"),
            ("LMPOP 2 nokey l RIGHT COUNT 2", "*2 $1 l *2 $1 c $1 b"),
            ("LMPOP 2 l s LEFT", "*2 $1 l *1 $1 a"),
            ("LMPOP 2 l s LEFT", WRONG_TYPE),
            ("LMPOP 1 l LEFT", "*-1"),
            ("LMPOP 0 l LEFT", "-ERR numkeys should be greater than 0"),
            ("LMPOP 2 l LEFT", "-ERR syntax error"),
            ("LMPOP 1 l LEFT COUNT 0", "-ERR count should be greater than 0"),
            ("LMPOP 1 l LEFT COUNT 1 COUNT 1", "-ERR syntax error"),
        ]);
    }

    #[test]
    fn blocking_pops_answer_at_once_when_they_can() {
        assert_replies(&[
            ("SET s x", "+OK"),
            ("RPUSH l a b c d e", ":5"),
            ("BLPOP nokey l s 0", "*2 $1 l $1 a"),
            ("BRPOP l 0", "*2 $1 l $1 e"),
            ("BLPOP nokey s l 0", WRONG_TYPE),
            ("BLPOP s -1", "-ERR timeout is negative"),
            ("BLPOP s x", "-ERR timeout is not a float or out of range"),
            ("BLMPOP x 1 l FOO", "-ERR syntax error"),
            ("BLMPOP x 1 l LEFT", "-ERR timeout is not a float or out of range"),
            ("BLMPOP 0 1 l LEFT COUNT 9", "*2 $1 l *3 $1 b $1 c $1 d"),
            ("RPUSH l a", ":1"),
            ("BLMOVE l m LEFT LEFT -1", "-ERR timeout is negative"),
            ("BRPOPLPUSH l m 0", "$1 a"),
            ("MULTI", "+OK"),
            ("BLPOP l 0", "+QUEUED"),
            ("BLMOVE l m LEFT LEFT 0", "+QUEUED"),
            ("BLMPOP 0 1 l LEFT", "+QUEUED"),
            ("EXEC", "*3 *-1 $-1 *-1"),
        ]);
    }

    #[test]
    fn waiters_are_served_in_their_order() {
        let mut rig = Rig::new();
        assert_eq!(rig.run_as(1, "BLPOP a l 0"), "");
        assert_eq!(rig.run_as(2, "BLMOVE l m LEFT RIGHT 0"), "");
        assert_eq!(rig.run_as(3, "BRPOP m 0"), "");
        assert_eq!(rig.run("SET l string"), "+OK\r\n");
        assert_eq!(rig.delivered(1), None);
        assert_eq!(rig.run("DEL l"), ":1\r\n");
        assert_eq!(rig.run("RPUSH l x y z"), ":3\r\n");
        assert_eq!(rig.delivered(1).as_deref(), Some("*2\r\n$1\r\nl\r\n$1\r\nx\r\n"));
        assert_eq!(rig.delivered(2).as_deref(), Some("$1\r\ny\r\n"));
        assert_eq!(rig.delivered(3).as_deref(), Some("*2\r\n$1\r\nm\r\n$1\r\ny\r\n"));
        assert_eq!(rig.run("LRANGE l 0 -1"), "*1\r\n$1\r\nz\r\n");
    }
}

#[test]
fn blocks_that_pushes_leave_behind_take_little_more_than_their_elements() {
    for side in [Side::Left, Side::Right] {
        let mut list = List::default();
        for n in 0..100_000u32 {
            let element = format!("element:{n:06}").into_bytes();
            list.apply(&ListOp::Push { side, elements: Elements::one(&element) }).unwrap();
        }
        assert!(list.sealed_blocks() > 150, "{}", list.sealed_blocks());
        let bytes = list.heap_bytes();
        assert!(bytes < 1_440_000, "{bytes}");
        let mut numbers: Vec<u32> =
            list.iter().map(|e| std::str::from_utf8(&e[8..]).unwrap().parse().unwrap()).collect();
        if side == Side::Left {
            numbers.reverse();
        }
        assert!(numbers.into_iter().eq(0..100_000));
        // Turns at an end open no block again and again.
        let sealed = list.sealed_blocks();
        for _ in 0..2000 {
            list.apply(&ListOp::Push { side, elements: Elements::one(b"element:000000") }).unwrap();
            list.apply(&ListOp::Pop { side, count: 1 }).unwrap();
        }
        assert!(list.sealed_blocks().abs_diff(sealed) <= 1);
        list.apply(&ListOp::Pop { side, count: 99_000 }).unwrap();
        assert_eq!((list.len(), list.get(500).map(<[u8]>::len)), (1000, Some(14)));
    }
}
