//! Reading streams, alone and in groups, through the whole engine: what redis-server 7.0 cannot be asked, and who is served when.

use crate::engine::rig::Rig;
use crate::keyspace::op::{AnyOp, Op, Ops};
use crate::types::stream::value::StreamOp;

fn flat(reply: &str) -> String {
    reply.replace("\r\n", " ").trim_end().to_owned()
}

fn line(rig: &mut Rig, command: &str) -> String {
    flat(&rig.run(command))
}

fn assert_replies(rig: &mut Rig, script: &[(&str, &str)]) {
    for (command, expected) in script {
        assert_eq!(line(rig, command), *expected, "{command}");
    }
}

fn delivered(rig: &mut Rig, session: usize) -> Option<String> {
    rig.delivered(session).map(|reply| flat(&reply))
}

/// A rig with a stream `s` of `entries` entries, 1-1 on, and a group `g` that has read none of them.
fn with_group(entries: u64) -> Rig {
    let mut rig = Rig::new();
    (1..=entries).for_each(|n| _ = rig.run(&format!("XADD s {n}-1 f {n}")));
    assert_eq!(line(&mut rig, "XGROUP CREATE s g 0 MKSTREAM"), "+OK");
    rig
}

/// The names of the stream ops of the last record, in order.
fn last_ops(rig: &Rig) -> Vec<&'static str> {
    let ops = Ops::new(rig.last_ops()).map(|op| match op.expect("the rig wrote it") {
        AnyOp::Key { op: Op::Stream(op), .. } => match op {
            StreamOp::Add { .. } => "add",
            StreamOp::SetConsumer { .. } => "see",
            StreamOp::Deliver { .. } => "deliver",
            StreamOp::Assign { .. } => "assign",
            StreamOp::Acknowledge { .. } => "acknowledge",
            StreamOp::SetGroup { .. } => "set group",
            _ => "other stream op",
        },
        _ => "other op",
    });
    ops.collect()
}

const NO_GROUP: &str = "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn a_poll_that_finds_nothing_is_logged_only_if_it_changes_something() {
    let mut rig = with_group(0);
    assert_eq!(line(&mut rig, "XREADGROUP GROUP g c STREAMS s >"), "*-1");
    assert_eq!(last_ops(&rig), ["see"]);
    line(&mut rig, "XREADGROUP GROUP g c STREAMS s >");
    assert!(last_ops(&rig).is_empty());
    rig.advance_ms(1);
    assert_eq!(line(&mut rig, "XREADGROUP GROUP g c STREAMS s 0"), "*1 *2 $1 s *0");
    assert_eq!(last_ops(&rig), ["see"]);
}

#[test]
fn a_delivery_is_one_op_however_many_entries_it_is_of() {
    let mut rig = with_group(500);
    rig.run("XREADGROUP GROUP g c STREAMS s >");
    assert_eq!(last_ops(&rig), ["deliver"]);
    assert!(rig.last_ops().len() < 30);
    let ids: String = (1..=500).map(|n| format!(" {n}-1")).collect();
    assert_eq!(line(&mut rig, &format!("XACK s g{ids}")), ":500");
    assert_eq!(last_ops(&rig), ["acknowledge"]);
    assert!(rig.last_ops().len() < 500 * 2 + 30);
}

#[test]
fn history_counts_as_delivered_again_unless_the_entry_is_gone() {
    let mut rig = with_group(2);
    rig.run("XREADGROUP GROUP g c STREAMS s >");
    rig.advance_ms(500);
    rig.run("XDEL s 2-1");
    let gone = "*1 *2 $1 s *2 *2 $3 1-1 *2 $1 f $1 1 *2 $3 2-1 *-1";
    assert_eq!(line(&mut rig, "XREADGROUP GROUP g c STREAMS s 0"), gone);
    rig.advance_ms(7);
    let rows = "*2 *4 $3 1-1 $1 c :7 :2 *4 $3 2-1 $1 c :507 :1";
    assert_eq!(line(&mut rig, "XPENDING s g - + 9"), rows);
    // Seen just then, but active when it got them.
    let consumers = line(&mut rig, "XINFO CONSUMERS s g");
    assert!(consumers.ends_with("$4 idle :7 $8 inactive :507"), "{consumers}");
}

#[test]
fn claims_make_the_consumer_whether_or_not_there_is_anything() {
    let mut rig = with_group(1);
    assert_replies(
        &mut rig,
        &[
            ("XCLAIM s g a 0 1-1", "*0"),
            ("XAUTOCLAIM s g b 0 0", "*3 $3 0-0 *0 *0"),
            ("XGROUP CREATECONSUMER s g a", ":0"),
            ("XGROUP CREATECONSUMER s g b", ":0"),
        ],
    );
    let consumers = line(&mut rig, "XINFO CONSUMERS s g");
    assert!(consumers.ends_with("inactive :-1"), "{consumers}");
    rig.run("XCLAIM s g a 0 1-1 FORCE");
    assert_eq!(line(&mut rig, "XPENDING s g - + 9"), "*1 *4 $3 1-1 $1 a :0 :2");
}

#[test]
fn idle_entries_are_read_before_new_ones() {
    let mut rig = with_group(6);
    for consumer in ["a", "b"] {
        rig.run(&format!("XREADGROUP GROUP g {consumer} COUNT 2 STREAMS s >"));
        rig.advance_ms(100);
    }
    // 1-1 is delivered again now: 2-1 has been idle the longest, then 3-1 and 4-1.
    rig.run("XREADGROUP GROUP g a COUNT 1 STREAMS s 0");
    rig.run("XDEL s 3-1");
    rig.advance_ms(50);
    let claim = "XREADGROUP GROUP g c COUNT 3 CLAIM 150 NOACK STREAMS s >";
    let claimed = "*1 *2 $1 s *3 *4 $3 2-1 *2 $1 f $1 2 :250 :1 *4 $3 4-1 *2 $1 f $1 4 :150 :1 \
        *4 $3 5-1 *2 $1 f $1 5 :0 :0";
    assert_eq!(line(&mut rig, claim), claimed);
    assert_eq!(last_ops(&rig), ["acknowledge", "assign", "deliver"]);
    // NOACK is for the new one only.
    let rows = "*3 *4 $3 1-1 $1 a :50 :2 *4 $3 2-1 $1 c :0 :2 *4 $3 4-1 $1 c :0 :2";
    assert_eq!(line(&mut rig, "XPENDING s g - + 9"), rows);
    assert_eq!(
        line(&mut rig, "XREADGROUP GROUP g c CLAIM 51 STREAMS s >"),
        "*1 *2 $1 s *1 *4 $3 6-1 *2 $1 f $1 6 :0 :0"
    );
    assert_eq!(line(&mut rig, "XREADGROUP GROUP g c CLAIM 51 STREAMS s >"), "*-1");
    // History is as without CLAIM.
    assert_eq!(
        line(&mut rig, "XREADGROUP GROUP g a CLAIM 0 STREAMS s 0"),
        "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 1"
    );
}

#[test]
fn who_waits_for_idle_entries_gets_them_when_their_time_comes() {
    let mut rig = with_group(1);
    rig.run("XREADGROUP GROUP g a STREAMS s >");
    rig.advance_ms(30);
    assert_eq!(rig.run_as(1, "XREADGROUP GROUP g b BLOCK 0 CLAIM 100 STREAMS s >"), "");
    assert_eq!(rig.run_as(2, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >"), "");
    assert_eq!((rig.looks_again_in_ms(1), rig.looks_again_in_ms(2)), (Some(70), None));
    rig.advance_ms(60);
    assert_eq!(rig.look_again(1), Some(10));
    rig.advance_ms(10);
    assert_eq!(rig.look_again(1), None);
    assert_eq!(delivered(&mut rig, 1).as_deref(), Some("*1 *2 $1 s *1 *4 $3 1-1 *2 $1 f $1 1 :100 :1"));
    assert!(rig.is_blocked(2));
    rig.disconnect(2);
    assert_eq!(line(&mut rig, "XPENDING s g - + 9"), "*1 *4 $3 1-1 $1 b :0 :2");
    // What the stream has no more will not come.
    rig.run("XDEL s 1-1");
    assert_eq!(rig.run_as(1, "XREADGROUP GROUP g b BLOCK 0 CLAIM 100 STREAMS s >"), "");
    rig.advance_ms(500);
    assert_eq!(rig.look_again(1), Some(100));
    rig.run("XADD s 2-1 f 2");
    assert_eq!(delivered(&mut rig, 1).as_deref(), Some("*1 *2 $1 s *1 *4 $3 2-1 *2 $1 f $1 2 :0 :0"));
}

#[test]
fn claim_is_checked() {
    let mut rig = with_group(0);
    assert_replies(
        &mut rig,
        &[
            (
                "XREADGROUP GROUP g c CLAIM x STREAMS s >",
                "-ERR min-idle-time is not an integer or out of range",
            ),
            ("XREADGROUP GROUP g c CLAIM -1 STREAMS s >", "-ERR min-idle-time must be a positive integer"),
            (
                "XREAD CLAIM 5 STREAMS s 0",
                "-ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead.",
            ),
        ],
    );
}

#[test]
fn the_word_streams_may_be_a_name() {
    let mut rig = with_group(1);
    rig.run("XGROUP CREATE s streams 0");
    let one = "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 1";
    assert_replies(
        &mut rig,
        &[
            ("XREADGROUP COUNT 1 GROUP g streams STREAMS s >", one),
            ("XREADGROUP COUNT 1 GROUP streams streams STREAMS s >", one),
            ("XREAD STREAMS streams s 0 0", one),
            (
                "XREADGROUP STREAMS s > GROUP g c",
                "-ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
            ),
            ("XREADGROUP STREAMS s > GROUP g c c", "-ERR Missing GROUP option for XREADGROUP"),
        ],
    );
}

#[test]
fn an_entry_goes_to_the_first_who_waits_in_each_group() {
    let mut rig = with_group(0);
    rig.run("XGROUP CREATE s h $");
    for session in 1..=1000 {
        assert_eq!(rig.run_as(session, &format!("XREADGROUP GROUP g c{session} BLOCK 0 STREAMS s >")), "");
    }
    rig.run_as(1001, "XREADGROUP GROUP h c BLOCK 0 STREAMS s >");
    for n in 1..=3 {
        rig.run(&format!("XADD s {n}-1 f {n}"));
        let expected = format!("*1 *2 $1 s *1 *2 $3 {n}-1 *2 $1 f $1 {n}");
        assert_eq!(delivered(&mut rig, n), Some(expected));
        let ops: &[&str] = if n == 1 { &["add", "deliver", "deliver"] } else { &["add", "deliver"] };
        assert_eq!(last_ops(&rig), ops);
    }
    assert!(delivered(&mut rig, 1001).is_some());
    assert!((4..=1000).all(|session| rig.is_blocked(session)));
    assert_eq!(
        line(&mut rig, "XPENDING s g"),
        "*4 :3 $3 1-1 $3 3-1 *3 *2 $2 c1 $1 1 *2 $2 c2 $1 1 *2 $2 c3 $1 1"
    );
}

#[test]
fn what_a_waiter_gets_stands_in_the_record_of_the_entry() {
    let mut rig = with_group(0);
    rig.run_as(1, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    rig.run_as(2, "XREAD BLOCK 0 STREAMS s $");
    let (_, gate) = rig.call(0, &[b"XADD", b"s", b"1-1", b"f", b"v"]);
    assert!(gate > 0);
    assert_eq!(last_ops(&rig), ["add", "deliver"]);
    for session in [1, 2] {
        let (_, depends_on) = rig.delivery(session).expect("both were served");
        assert_eq!(depends_on, gate);
    }
    assert!(!rig.is_durable(gate));
}

#[test]
fn a_group_reader_is_told_of_the_end_of_what_it_waits_on() {
    let ends = [
        ("XGROUP DESTROY s g", NO_GROUP),
        ("DEL s", NO_GROUP),
        ("UNLINK s", NO_GROUP),
        ("SET s string", WRONG_TYPE),
        ("RENAME s {s}x", NO_GROUP),
        ("RENAME s other", NO_GROUP),
        ("RENAME list s", WRONG_TYPE),
        ("FLUSHDB", NO_GROUP),
        ("FLUSHALL", NO_GROUP),
        ("SWAPDB 0 1", NO_GROUP),
        ("SINTERSTORE s nothing", NO_GROUP),
        ("SUNIONSTORE s set", WRONG_TYPE),
        ("COPY list s REPLACE", WRONG_TYPE),
        ("MOVE s 1", NO_GROUP),
        ("PEXPIREAT s 1", NO_GROUP),
    ];
    for (end, expected) in ends {
        let mut rig = with_group(0);
        rig.run("RPUSH list x");
        rig.run("SADD set x");
        rig.run("XGROUP CREATE t g $ MKSTREAM");
        rig.run_as(1, "XREADGROUP GROUP g c BLOCK 0 STREAMS t s > >");
        rig.run_as(2, "XREAD BLOCK 0 STREAMS s $");
        rig.run(end);
        let told = delivered(&mut rig, 1).unwrap_or_default();
        // Of several keys the first that is missing is named.
        let expected = if end.starts_with("FLUSH") || end.starts_with("SWAP") {
            expected.replace("'s'", "'t'")
        } else {
            expected.to_owned()
        };
        assert_eq!(told, expected, "{end}");
        assert!(rig.is_blocked(2), "{end}");
    }
}

#[test]
fn a_group_reader_is_told_when_the_stream_expires() {
    for found_by in ["EXISTS s", "XLEN s", "EXPIRE s 100", ""] {
        let mut rig = with_group(0);
        rig.run("XGROUP CREATE t g $ MKSTREAM");
        rig.run("PEXPIRE s 10");
        rig.run_as(1, "XREADGROUP GROUP g c BLOCK 0 STREAMS t s > >");
        rig.run_as(2, "XREADGROUP GROUP g d BLOCK 0 STREAMS s >");
        rig.advance_ms(20);
        if found_by.is_empty() {
            rig.expire();
        } else {
            rig.run(found_by);
        }
        assert_eq!(delivered(&mut rig, 1).as_deref(), Some(NO_GROUP), "{found_by}");
        assert_eq!(delivered(&mut rig, 2).as_deref(), Some(NO_GROUP), "{found_by}");
        assert_eq!(line(&mut rig, "XADD t 1-1 f v"), "$3 1-1");
    }
}

#[test]
fn what_happens_to_groups_wakes_nobody() {
    let mut rig = with_group(2);
    rig.run("XREADGROUP GROUP g a STREAMS s >");
    rig.run_as(1, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    rig.run_as(2, "XREAD BLOCK 0 STREAMS s $");
    for command in [
        "XACK s g 1-1",
        "XCLAIM s g b 0 2-1",
        "XAUTOCLAIM s g b 0 0",
        "XREADGROUP GROUP g b STREAMS s 0",
        "XGROUP CREATE s h 0",
        "XREADGROUP GROUP h x STREAMS s >",
        "XGROUP DESTROY s h",
        "XGROUP CREATECONSUMER s g z",
        "XGROUP DELCONSUMER s g z",
        "XDEL s 1-1",
        "XTRIM s MAXLEN 0",
        "XSETID s 5-5",
        "EXPIRE s 1000",
        "PERSIST s",
    ] {
        let reply = line(&mut rig, command);
        assert!(!reply.starts_with('-'), "{command}: {reply}");
        assert!(rig.is_blocked(1) && rig.is_blocked(2), "{command}");
    }
    rig.run("XADD s 6-1 f v");
    let six = "*1 *2 $1 s *1 *2 $3 6-1 *2 $1 f $1 v";
    assert_eq!(delivered(&mut rig, 1).as_deref(), Some(six));
    assert_eq!(delivered(&mut rig, 2).as_deref(), Some(six));
}

#[test]
fn the_dollar_is_where_the_stream_ended_when_the_wait_began() {
    let mut rig = with_group(3);
    rig.run_as(1, "XREAD COUNT 1 BLOCK 0 STREAMS other s $ $");
    rig.run("DEL s");
    rig.run("XADD s 2-1 f below");
    assert!(rig.is_blocked(1));
    rig.run("MULTI");
    rig.run("XADD s 4-1 f four");
    rig.run("XADD s 5-1 f five");
    rig.run("EXEC");
    assert_eq!(delivered(&mut rig, 1).as_deref(), Some("*1 *2 $1 s *1 *2 $3 4-1 *2 $1 f $4 four"));
}

#[test]
fn who_leaves_the_queue_is_passed_over() {
    let mut rig = with_group(0);
    for session in 1..=4 {
        rig.run_as(session, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    }
    rig.disconnect(1);
    let id = flat(&rig.run_as(5, "CLIENT ID"));
    // Sessions have ids in their order of making: 0 is the rig's own.
    assert_eq!(id, ":6");
    assert_eq!(line(&mut rig, "CLIENT UNBLOCK 3 TIMEOUT"), ":1");
    assert_eq!(delivered(&mut rig, 2).as_deref(), Some("*-1"));
    assert_eq!(line(&mut rig, "CLIENT UNBLOCK 4 ERROR"), ":1");
    assert_eq!(delivered(&mut rig, 3).as_deref(), Some("-UNBLOCKED client unblocked via CLIENT UNBLOCK"));
    rig.run("XADD s 1-1 f v");
    assert!(delivered(&mut rig, 4).is_some());
}

#[test]
fn waiters_for_other_types_do_not_stand_in_the_way() {
    let mut rig = Rig::new();
    rig.run("XGROUP CREATE s g $ MKSTREAM");
    rig.run_as(1, "XREAD BLOCK 0 STREAMS k $");
    rig.run_as(2, "BZPOPMIN k 0");
    rig.run_as(3, "BLPOP k 0");
    rig.run("RPUSH k x");
    assert_eq!(delivered(&mut rig, 3).as_deref(), Some("*2 $1 k $1 x"));
    rig.run_as(4, "BLPOP k 0");
    rig.run("ZADD k 1 m");
    assert_eq!(delivered(&mut rig, 2).as_deref(), Some("*3 $1 k $1 m $1 1"));
    rig.run("XADD k 1-1 f v");
    assert!(delivered(&mut rig, 1).is_some());
    assert!(rig.is_blocked(4));
}

fn figure(rig: &mut Rig, name: &str) -> String {
    let info = rig.run("INFO duramen");
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:")).map(str::to_owned));
    line.expect("INFO has the figure")
}

#[test]
fn info_counts_streams_groups_pending_entries_and_readers() {
    let mut rig = Rig::new();
    let script = [
        ("XADD s 1-1 f v", [1, 0, 0]),
        ("XADD s 2-1 f v", [1, 0, 0]),
        ("XGROUP CREATE s g 0", [1, 1, 0]),
        ("XGROUP CREATE t g 0 MKSTREAM", [2, 2, 0]),
        ("XREADGROUP GROUP g c STREAMS s >", [2, 2, 2]),
        ("XCLAIM s g d 0 1-1", [2, 2, 2]),
        ("XACK s g 2-1", [2, 2, 1]),
        ("COPY s u", [3, 3, 2]),
        ("RENAME u {s}v", [3, 3, 2]),
        ("RENAME {s}v {s}w", [3, 3, 2]),
        ("XTRIM s DELREF MAXLEN 0", [3, 3, 1]),
        ("XADD s 3-1 f v", [3, 3, 1]),
        ("XREADGROUP GROUP g c STREAMS s >", [3, 3, 2]),
        ("XREADGROUP GROUP g c NOACK STREAMS s >", [3, 3, 2]),
        ("XGROUP DELCONSUMER s g c", [3, 3, 1]),
        ("XGROUP DESTROY t g", [3, 2, 1]),
        ("SET t string", [2, 2, 1]),
        ("XCLAIM s g d 0 3-1 FORCE", [2, 2, 2]),
        ("XGROUP DESTROY s g", [2, 1, 1]),
        ("MOVE {s}w 1", [2, 1, 1]),
        ("SELECT 1", [2, 1, 1]),
        ("XACKDEL {s}w g IDS 1 1-1", [2, 1, 0]),
        ("XREADGROUP GROUP g c STREAMS {s}w >", [2, 1, 0]),
        ("FLUSHALL", [0, 0, 0]),
    ];
    for (command, expected) in script {
        let reply = line(&mut rig, command);
        assert!(!reply.starts_with('-'), "{command}: {reply}");
        let names = ["duramen_streams", "duramen_stream_groups", "duramen_stream_pending"];
        let found = names.map(|name| figure(&mut rig, name).parse::<u64>().expect("a number"));
        assert_eq!(found, expected, "{command}");
    }
    rig.run_as(1, "XREAD BLOCK 0 STREAMS s $");
    rig.run_as(2, "BLPOP s 0");
    assert_eq!(figure(&mut rig, "duramen_blocked_readers"), "1");
}
