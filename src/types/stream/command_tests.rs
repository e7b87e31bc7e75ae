//! The commands on entries through a whole server in process: what redis-server 7.0 cannot be asked (options of Redis 8.2, fields of
//! 7.2), the clock, and what is logged. What it can be asked is in `tests/golden/streams`.

use crate::engine::rig::Rig;
use crate::keyspace::op::{AnyOp, Op, Ops};
use crate::keyspace::waiters::StripeSet;

use super::id::StreamId;
use super::op::{PendingRow, Pendings, StreamOp};

/// Runs lines of `command => reply`, where the reply is written without line ends: `*2 :1 :-2`.
fn script(rig: &mut Rig, text: &str) {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, expected) = line.split_once(" => ").expect("a line has a command and a reply");
        let reply = rig.run(command);
        assert_eq!(reply.trim_end().replace("\r\n", " "), expected, "{command}");
    }
}

/// Carries an op out on the key `s`, without a command.
fn apply(rig: &Rig, op: StreamOp<'_>) {
    let keyspace = &rig.server.store.get().expect("the rig opened it").keyspace;
    let mut held = keyspace.lock(StripeSet::ALL);
    held.apply(keyspace.space(0), &keyspace.key(b"s"), &Op::Stream(op)).expect("it fits");
}

/// Entries 1-0 to 6-0, and two groups: `g` has read up to 5-0 and 2-0 is pending; `h` has read up to 4-0 and 1-0 is pending.
fn with_groups() -> Rig {
    let mut rig = Rig::new();
    (1..=6).for_each(|ms| _ = rig.run(&format!("XADD s {ms}-0 n {ms}")));
    for (group, last_ms, pending_ms) in [(&b"g"[..], 5, 2), (b"h", 4, 1)] {
        let last_id = StreamId::new(last_ms, 0);
        apply(&rig, StreamOp::SetGroup { group, last_id, entries_read: Some(last_ms) });
        let row = PendingRow { id: StreamId::new(pending_ms, 0), delivered_ms: 5, deliveries: 1 };
        let rows = Pendings::new(std::slice::from_ref(&row));
        apply(&rig, StreamOp::Assign { group, consumer: b"c", at_ms: Some(5), rows });
    }
    rig
}

fn left(rig: &mut Rig) -> String {
    let reply = rig.run("XRANGE s - +");
    let ids = reply.lines().filter(|line| line.ends_with("-0")).map(|line| &line[..1]);
    ids.collect()
}

/// How many are pending in `g` and in `h`.
fn pending(rig: &mut Rig) -> (String, String) {
    let reply = rig.run("XINFO GROUPS s");
    let lines: Vec<&str> = reply.lines().collect();
    let mut found = lines.iter().enumerate().filter(|(_, line)| **line == "pending");
    let mut next = || found.next().map(|(at, _)| lines[at + 1].to_owned()).unwrap_or_default();
    (next(), next())
}

#[test]
fn new_ids_follow_the_clock_and_never_fall_back() {
    let mut rig = Rig::new();
    script(
        &mut rig,
        "XADD s * a 1 => $15 1700000001000-0
         XADD s * a 1 => $15 1700000001000-1",
    );
    rig.advance_ms(5);
    script(
        &mut rig,
        "XADD s * a 1 => $15 1700000001005-0
         XADD s 1700000002000-18446744073709551615 a 1 => $34 1700000002000-18446744073709551615
         XADD s * a 1 => $15 1700000002001-0
         XADD s 1700000002001-* a 1 => $15 1700000002001-1
         XADD s 1700000002001-18446744073709551615 a 1 => $34 1700000002001-18446744073709551615
         XADD s 1700000002001-* a 1 => -ERR The ID specified in XADD is equal or smaller than the target stream top item",
    );
}

#[test]
fn an_entry_and_what_it_trims_are_one_record() {
    let mut rig = Rig::new();
    script(
        &mut rig,
        "XADD s 1-0 a 1 => $3 1-0
         XADD s 2-0 a 1 => $3 2-0
         XADD s MAXLEN 1 3-0 a 1 => $3 3-0",
    );
    let ops: Vec<_> = Ops::new(rig.last_ops()).map(|op| op.expect("just made")).collect();
    let [AnyOp::Key { op: Op::Stream(add), .. }, AnyOp::Key { op: Op::Stream(trim), .. }] = ops[..] else {
        panic!("{ops:?}")
    };
    let fields: &[&[u8]] = &[b"a", b"1"];
    assert_eq!(add, StreamOp::Add { id: StreamId::new(3, 0), fields: fields.into() });
    assert_eq!(trim, StreamOp::Trim { count: 2, forget: false });
}

#[test]
fn what_changes_nothing_is_not_logged() {
    let mut rig = Rig::new();
    rig.run("XADD s 1-0 a 1");
    rig.run("XADD s 2-0 a 1");
    for command in [
        "XADD nothing NOMKSTREAM * a 1",
        "XADD s 2-0 a 1",
        "XTRIM s MAXLEN 2",
        "XTRIM s MINID 1-0 DELREF",
        "XTRIM s MAXLEN 3 ACKED",
        "XDEL s 3 4",
        "XDELEX s DELREF IDS 2 3 4",
        "XSETID s 2-0",
        "XSETID s 2-0 ENTRIESADDED 2 MAXDELETEDID 0-0",
        "XRANGE s - +",
        "XINFO STREAM s FULL",
    ] {
        rig.run(command);
        assert_eq!(rig.last_ops(), b"", "{command}");
    }
    rig.run("XDEL s 1-0 1-0 7 1-0");
    let ops: Vec<_> = Ops::new(rig.last_ops()).collect();
    assert_eq!(ops.len(), 1, "{ops:?}");
}

#[test]
fn entries_that_a_group_needs_are_deleted_only_if_that_is_said() {
    let mut rig = with_groups();
    script(&mut rig, "XDELEX s ACKED IDS 8 6 5 4 3 2 1 3 9 => *8 :2 :2 :1 :1 :2 :2 :-1 :-1");
    assert_eq!(left(&mut rig), "1256");
    assert_eq!(pending(&mut rig), (":1".into(), ":1".into()));
    script(&mut rig, "XDELEX s IDS 2 1 6 => *2 :1 :1");
    assert_eq!((left(&mut rig), pending(&mut rig)), ("25".into(), (":1".into(), ":1".into())));
    // 1-0 is pending and there is no entry any more.
    script(&mut rig, "XDELEX s DELREF IDS 3 1 2 1 => *3 :-1 :1 :-1");
    assert_eq!((left(&mut rig), pending(&mut rig)), ("5".into(), (":0".into(), ":0".into())));
}

#[test]
fn a_trim_says_what_becomes_of_pending_entries() {
    let mut rig = with_groups();
    script(&mut rig, "XTRIM s KEEPREF MAXLEN 5 => :1");
    assert_eq!((left(&mut rig), pending(&mut rig)), ("23456".into(), (":1".into(), ":1".into())));
    script(&mut rig, "XTRIM s MINID 3 DELREF => :1");
    // 1-0 stays pending: its entry is not among those that were removed now.
    assert_eq!((left(&mut rig), pending(&mut rig)), ("3456".into(), (":0".into(), ":1".into())));
    let mut rig = with_groups();
    script(&mut rig, "XADD s DELREF MAXLEN 1 7-0 n 7 => $3 7-0");
    assert_eq!((left(&mut rig), pending(&mut rig)), ("7".into(), (":0".into(), ":0".into())));
}

#[test]
fn a_trim_of_what_is_acknowledged_passes_over_the_rest() {
    for (options, expected) in [
        ("MAXLEN 0 ACKED", (":2", "1256")),
        ("ACKED MAXLEN = 5", (":1", "12456")),
        ("MINID 4 ACKED", (":1", "12456")),
        ("MINID 9 ACKED", (":2", "1256")),
        ("MAXLEN 6 ACKED", (":0", "123456")),
    ] {
        let mut rig = with_groups();
        assert_eq!(rig.run(&format!("XTRIM s {options}")).trim_end(), expected.0, "{options}");
        assert_eq!((left(&mut rig), pending(&mut rig)), (expected.1.into(), (":1".into(), ":1".into())));
    }
    let mut rig = with_groups();
    script(
        &mut rig,
        "XADD s ACKED MAXLEN 5 7-0 n 7 => $3 7-0
         XINFO STREAM s => *20 $6 length :5 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 7-0 \
         $20 max-deleted-entry-id $3 4-0 $13 entries-added :7 $23 recorded-first-entry-id $3 1-0 $6 groups :2 \
         $11 first-entry *2 $3 1-0 *2 $1 n $1 1 $10 last-entry *2 $3 7-0 *2 $1 n $1 7",
    );
    assert_eq!(left(&mut rig), "12567");
}

#[test]
fn options_of_references_come_once_and_before_the_id() {
    script(
        &mut Rig::new(),
        "XADD s KEEPREF 1-0 a 1 => $3 1-0
         XADD s delref NOMKSTREAM 2-0 a 1 => $3 2-0
         XADD s MAXLEN ~ 10 acked LIMIT 5 3-0 a 1 => $3 3-0
         XADD s KEEPREF DELREF 4-0 a 1 => -ERR Invalid stream ID specified as stream command argument
         XADD s KEEPREF ACKED => -ERR wrong number of arguments for 'xadd' command
         XTRIM s MAXLEN 3 KEEPREF KEEPREF => -ERR syntax error
         XTRIM s KEEPREF ACKED => -ERR syntax error
         XTRIM s ACKED LIMIT 0 => -ERR syntax error, XTRIM must be called with a trimming strategy
         XTRIM s ACKED MAXLEN 2 => :1
         XTRIM s MAXLEN 1 DELREF => :1
         XLEN s => :1",
    );
}

#[test]
fn what_is_told_of_consumers_has_the_fields_of_redis_7_2() {
    let mut rig = with_groups();
    let now_ms = 1_700_000_001_000;
    let seen = StreamOp::SetConsumer { group: b"h", consumer: b"idle", seen_ms: now_ms, active_ms: None };
    apply(&rig, seen);
    rig.advance_ms(40);
    script(
        &mut rig,
        "XINFO CONSUMERS s h => *2 *8 $4 name $1 c $7 pending :1 $4 idle :1700000001035 $8 inactive :1700000001035 \
         *8 $4 name $4 idle $7 pending :0 $4 idle :40 $8 inactive :-1
         XINFO GROUPS s => *2 *12 $4 name $1 g $9 consumers :1 $7 pending :1 $17 last-delivered-id $3 5-0 $12 entries-read :5 \
         $3 lag :1 *12 $4 name $1 h $9 consumers :2 $7 pending :1 $17 last-delivered-id $3 4-0 $12 entries-read :4 $3 lag :2
         XINFO STREAM s FULL COUNT 1 => *18 $6 length :6 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 \
         $17 last-generated-id $3 6-0 $20 max-deleted-entry-id $3 0-0 $13 entries-added :6 $23 recorded-first-entry-id $3 1-0 \
         $7 entries *1 *2 $3 1-0 *2 $1 n $1 1 $6 groups *2 \
         *14 $4 name $1 g $17 last-delivered-id $3 5-0 $12 entries-read :5 $3 lag :1 $9 pel-count :1 \
         $7 pending *1 *4 $3 2-0 $1 c :5 :1 $9 consumers *1 \
         *10 $4 name $1 c $9 seen-time :5 $11 active-time :5 $9 pel-count :1 $7 pending *1 *3 $3 2-0 :5 :1 \
         *14 $4 name $1 h $17 last-delivered-id $3 4-0 $12 entries-read :4 $3 lag :2 $9 pel-count :1 \
         $7 pending *1 *4 $3 1-0 $1 c :5 :1 $9 consumers *2 \
         *10 $4 name $1 c $9 seen-time :5 $11 active-time :5 $9 pel-count :1 $7 pending *1 *3 $3 1-0 :5 :1 \
         *10 $4 name $4 idle $9 seen-time :1700000001000 $11 active-time :-1 $9 pel-count :0 $7 pending *0",
    );
}
