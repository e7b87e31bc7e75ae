//! The commands through a whole server in process. Replies are compared with what redis-server 7.0 answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::clock::SimClock;
use crate::disk::sim::SimDisk;
use crate::engine::rig::Rig;
use crate::log::LogOptions;
use proptest::prelude::*;

/// Runs lines of `command => reply`, where the reply is written without line ends: `*2 :1 :-2`.
fn script(rig: &mut Rig, text: &str) {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, expected) = line.split_once(" => ").expect("a line has a command and a reply");
        let reply = rig.run(command);
        assert_eq!(reply.trim_end().replace("\r\n", " "), expected, "{command}");
    }
}

/// The bulk strings of a reply.
fn bulks(reply: &str) -> Vec<String> {
    let mut lines = reply.split("\r\n");
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with('$') && line != "$-1" {
            found.extend(lines.next().map(str::to_owned));
        }
    }
    found
}

#[test]
fn members_are_added_found_and_removed() {
    script(
        &mut Rig::new(),
        "SADD s b a b => :2
         SADD s a => :0
         SADD s c a => :1
         SMEMBERS s => *3 $1 b $1 a $1 c
         SISMEMBER s a => :1
         SISMEMBER s x => :0
         SISMEMBER no x => :0
         SMISMEMBER s a x c => *3 :1 :0 :1
         SMISMEMBER no a x => *2 :0 :0
         SCARD s => :3
         SCARD no => :0
         SREM s b x b => :1
         SREM s x => :0
         SREM no x => :0
         SREM s a c => :2
         EXISTS s => :0
         SMEMBERS s => *0
         SADD i 30 -1 007x 5 => :4
         OBJECT ENCODING i => $8 listpack
         SREM i 007x => :1
         SMEMBERS i => *3 $2 -1 $2 30 $1 5
         DEL i => :1
         SADD i 30 -1 5 => :3
         OBJECT ENCODING i => $6 intset
         SADD i 30 => :0
         SREM i 30 5 => :2
         SMEMBERS i => *1 $2 -1",
    );
}

#[test]
fn a_member_moves_between_sets() {
    script(
        &mut Rig::new(),
        "SADD a 1 x => :2
         SET str v => +OK
         SMOVE no b 1 => :0
         SMOVE no str 1 => :0
         SMOVE a str nope => -WRONGTYPE Operation against a key holding the wrong kind of value
         SMOVE str a 1 => -WRONGTYPE Operation against a key holding the wrong kind of value
         SMOVE a b nope => :0
         EXISTS b => :0
         SMOVE a a x => :1
         SMOVE a a nope => :0
         SMOVE a b 1 => :1
         OBJECT ENCODING b => $6 intset
         SADD a 1 => :1
         SMOVE a b 1 => :1
         SMOVE a b x => :1
         EXISTS a => :0
         SMEMBERS b => *2 $1 1 $1 x",
    );
}

#[test]
fn sets_are_combined() {
    script(
        &mut Rig::new(),
        "SADD a 1 2 3 x => :4
         SADD b 2 3 4 => :3
         SADD c 3 => :1
         SET str v => +OK
         SINTER a b => *2 $1 2 $1 3
         SINTER a b c no => *0
         SINTER a a => *4 $1 1 $1 2 $1 3 $1 x
         SINTER no str => -WRONGTYPE Operation against a key holding the wrong kind of value
         SUNION b c => *3 $1 2 $1 3 $1 4
         SUNION no a no => *4 $1 1 $1 2 $1 3 $1 x
         SUNION c a => *4 $1 1 $1 2 $1 3 $1 x
         SUNION no no => *0
         SDIFF a b c => *2 $1 1 $1 x
         SDIFF a => *4 $1 1 $1 2 $1 3 $1 x
         SDIFF a a => *0
         SDIFF no a => *0
         SDIFF a no str => -WRONGTYPE Operation against a key holding the wrong kind of value
         SINTERCARD 2 a b => :2
         SINTERCARD 2 a b LIMIT 1 => :1
         SINTERCARD 2 a b LIMIT 0 => :2
         SINTERCARD 2 a b LIMIT 1 limit 5 => :2
         SINTERCARD 2 a no => :0
         SINTERCARD 0 a => -ERR numkeys should be greater than 0
         SINTERCARD x a => -ERR numkeys should be greater than 0
         SINTERCARD 2 a => -ERR Number of keys can't be greater than number of args
         SINTERCARD 1 a b => -ERR syntax error
         SINTERCARD 1 a LIMIT => -ERR syntax error
         SINTERCARD 1 str LIMIT -1 => -ERR LIMIT can't be negative
         SINTERCARD 1 str => -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

#[test]
fn results_replace_whatever_was_there_or_remove_it() {
    let mut rig = Rig::new();
    script(
        &mut rig,
        "SADD a 1 2 3 => :3
         SADD b 2 3 4 => :3
         SET t v => +OK
         EXPIRE t 100 => :1
         SINTERSTORE t a b => :2
         TTL t => :-1
         SMEMBERS t => *2 $1 2 $1 3
         OBJECT ENCODING t => $6 intset
         SUNIONSTORE a a b => :4
         SMEMBERS a => *4 $1 1 $1 2 $1 3 $1 4
         SDIFFSTORE a a t => :2
         SMEMBERS a => *2 $1 1 $1 4
         SET str v => +OK
         SINTERSTORE str no b => :0
         EXISTS str => :0
         SUNIONSTORE a no => :0
         EXISTS a => :0
         SDIFFSTORE no no => :0
         SET str v => +OK
         SINTERSTORE t no str => -WRONGTYPE Operation against a key holding the wrong kind of value
         SCARD t => :2",
    );
    let long = "v".repeat(500);
    (0..300).for_each(|n| drop(rig.run(&format!("SADD big {n}{long}"))));
    script(
        &mut rig,
        "SUNIONSTORE copy big t => :302\nSINTERCARD 2 copy big => :300\nSDIFFSTORE big copy t => :300",
    );
}

#[test]
fn random_members_are_as_many_and_as_different_as_asked() {
    let mut rig = Rig::new();
    script(
        &mut rig,
        "SRANDMEMBER s => $-1
         SRANDMEMBER s 3 => *0
         SRANDMEMBER s -3 => *0
         SPOP s => $-1
         SPOP s 3 => *0
         SADD s a => :1
         SRANDMEMBER s => $1 a
         SRANDMEMBER s -2 => *2 $1 a $1 a
         SRANDMEMBER s 5 => *1 $1 a
         SRANDMEMBER s 0 => *0
         SRANDMEMBER s x => -ERR value is not an integer or out of range
         SRANDMEMBER s 1 x => -ERR syntax error
         SRANDMEMBER s -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
         SPOP s 0 => *0
         SPOP s -1 => -ERR value is out of range, must be positive
         SPOP s x => -ERR value is out of range, must be positive
         SPOP s 1 2 => -ERR syntax error
         SPOP s => $1 a
         EXISTS s => :0
         SET str v => +OK
         SPOP str x => -ERR value is out of range, must be positive
         SPOP str 0 => -WRONGTYPE Operation against a key holding the wrong kind of value
         SRANDMEMBER str 0 => -WRONGTYPE Operation against a key holding the wrong kind of value
         SRANDMEMBER str x => -ERR value is not an integer or out of range",
    );
    (0..500).for_each(|n| drop(rig.run(&format!("SADD big m{n}"))));
    for count in [1, 10, 31, 300, 499, 500, 600] {
        let members = bulks(&rig.run(&format!("SRANDMEMBER big {count}")));
        assert_eq!(members.len(), count.min(500));
        assert_eq!(members.iter().collect::<BTreeSet<_>>().len(), count.min(500));
    }
    assert_eq!(bulks(&rig.run("SRANDMEMBER big -1000")).len(), 1000);
    assert!(rig.run("SRANDMEMBER big -9223372036854775807").starts_with("-ERR value is out of range"));
    let mut left: BTreeSet<String> = (0..500).map(|n| format!("m{n}")).collect();
    for count in [1, 5, 20, 200, 273, 1, 1] {
        let popped = bulks(&rig.run(&format!("SPOP big {count}")));
        assert_eq!(popped.len(), count.min(left.len()));
        assert!(popped.iter().all(|member| left.remove(member)));
        assert_eq!(rig.run("SCARD big"), format!(":{}\r\n", left.len()));
    }
    assert_eq!(rig.run("EXISTS big"), ":0\r\n");
}

#[test]
fn a_protocol_with_sets_gets_them() {
    let mut rig = Rig::new();
    rig.run("HELLO 3");
    script(
        &mut rig,
        "SMEMBERS s => ~0
         SADD s 1 2 => :2
         SMEMBERS s => ~2 $1 1 $1 2
         SINTER s s => ~2 $1 1 $1 2
         SINTER s no => ~0
         SUNION s => ~2 $1 1 $1 2
         SDIFF s no => ~2 $1 1 $1 2
         SRANDMEMBER s 5 => *2 $1 1 $1 2
         SRANDMEMBER no => _
         SMISMEMBER s 1 => *1 :1
         SSCAN s 0 => *2 $1 0 *2 $1 1 $1 2
         SPOP s 0 => ~0
         SPOP no 1 => ~0
         SPOP no => _
         SPOP s 5 => ~2 $1 1 $1 2",
    );
}

#[test]
fn scans_are_complete_and_take_patterns() {
    let mut rig = Rig::new();
    script(
        &mut rig,
        "SSCAN s 0 COUNT => *2 $1 0 *0
         SADD s a b => :2
         SSCAN s 0 MATCH a* => *2 $1 0 *1 $1 a
         SSCAN s 0 COUNT 1 => *2 $1 0 *2 $1 a $1 b
         SSCAN s 0 COUNT 0 => -ERR syntax error
         SSCAN s 0 COUNT => -ERR syntax error
         SSCAN s 0 NOVALUES => -ERR syntax error
         SSCAN s 0 TYPE set => -ERR syntax error
         SSCAN s 0 COUNT x => -ERR value is not an integer or out of range
         SSCAN s x => -ERR invalid cursor
         SET str v => +OK
         SSCAN str 0 COUNT 0 => -WRONGTYPE Operation against a key holding the wrong kind of value
         SSCAN str x => -ERR invalid cursor
         SCAN 0 TYPE set COUNT 100 => *2 $1 0 *1 $1 s",
    );
    (0..1000).for_each(|n| drop(rig.run(&format!("SADD big m{n}"))));
    let (mut cursor, mut seen, mut calls) = ("0".to_owned(), BTreeSet::new(), 0);
    loop {
        let mut found = bulks(&rig.run(&format!("SSCAN big {cursor} COUNT 20")));
        cursor = found.remove(0);
        seen.extend(found);
        calls += 1;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 1000);
    assert!(calls > 20);
}

/// Bytes that a command adds to the log.
fn logged(rig: &mut Rig, command: &str) -> u64 {
    let end = |rig: &Rig| rig.server.store.get().expect("the rig opened it").log.append_lsn();
    let before = end(rig);
    let reply = rig.run(command);
    assert!(!reply.starts_with('-'), "{command}: {reply}");
    end(rig) - before
}

#[test]
fn what_changes_nothing_is_not_logged_and_chosen_members_are() {
    let mut rig = Rig::new();
    rig.run("SADD s a b 1");
    rig.run("SADD i 1 2");
    rig.run("SET str v");
    let idle = [
        "SADD s a b a",
        "SREM s x y",
        "SREM no x",
        "SPOP no",
        "SPOP s 0",
        "SMOVE s i x",
        "SMOVE s s a",
        "SRANDMEMBER s 2",
        "SINTERSTORE no s no",
        "SUNION s i",
    ];
    for command in idle {
        assert_eq!(logged(&mut rig, command), 0, "{command}");
    }
    (0..3000).for_each(|n| drop(rig.run(&format!("SADD big member:{n}"))));
    for (command, most) in [("SPOP big", 40), ("SPOP big 10", 250), ("SPOP big 5000", 25)] {
        assert!((8..most).contains(&logged(&mut rig, command)), "{command}");
    }
}

#[test]
fn watched_sets_are_watched() {
    let mut rig = Rig::new();
    rig.run("SADD s a b");
    for (command, reply) in [("SADD s a", "*1\r\n"), ("SPOP s", "*-1\r\n"), ("SINTERSTORE s no", "*-1\r\n")] {
        rig.run("WATCH s");
        rig.run_as(1, command);
        rig.run("MULTI");
        rig.run("PING");
        assert!(rig.run("EXEC").starts_with(reply), "{command}");
    }
}

/// The three sets of the property test.
type Model = [BTreeSet<String>; 3];

fn combined(how: u8, model: &Model, from: &[usize]) -> BTreeSet<String> {
    let mut result = model[from[0]].clone();
    for &other in &from[1..] {
        let other = &model[other];
        result = match how {
            0 => &result & other,
            1 => &result | other,
            _ => &result - other,
        };
    }
    result
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// A few large sets and many small steps between them, integers and words.
    #[test]
    fn sets_behave_like_models_of_them_and_are_replayed(
        steps in proptest::collection::vec(
            (0u8..9, prop::collection::vec(0usize..3, 3), 1usize..9, prop::collection::vec(0u32..250, 1..20)), 1..60
        ),
        words in any::<bool>()
    ) {
        let disk = SimDisk::new(7);
        let options = || LogOptions { threads: false, segment_bytes: 1 << 20, ..LogOptions::default() };
        let clock = Arc::new(SimClock::at_ms(1_700_000_000_000));
        let mut rig = Rig::open(Arc::new(disk.clone()), clock.clone(), options()).expect("an empty disk");
        let mut model = Model::default();
        for (what, keys, count, numbers) in steps {
            let (a, b) = (keys[0], keys[1]);
            let text = |n: &u32| if words && n % 3 == 0 { format!("w{n}") } else { n.to_string() };
            let members: Vec<String> = numbers.iter().map(text).collect();
            let line = members.join(" ");
            let (command, expected) = match what {
                0..=2 => {
                    let before = model[a].len();
                    model[a].extend(members);
                    (format!("SADD s{a} {line}"), model[a].len() - before)
                }
                3 => {
                    let gone: BTreeSet<_> = members.iter().filter(|&member| model[a].remove(member)).collect();
                    (format!("SREM s{a} {line}"), gone.len())
                }
                4 => {
                    let moved = if a == b { model[a].contains(&members[0]) } else { model[a].remove(&members[0]) };
                    if moved {
                        model[b].insert(members[0].clone());
                    }
                    (format!("SMOVE s{a} s{b} {}", members[0]), usize::from(moved))
                }
                5 => {
                    let popped = bulks(&rig.run(&format!("SPOP s{a} {}", count * 5)));
                    prop_assert_eq!(popped.len(), model[a].len().min(count * 5));
                    prop_assert!(popped.iter().all(|member| model[a].remove(member)));
                    (format!("SCARD s{a}"), model[a].len())
                }
                _ => {
                    let how = what - 6;
                    let name = ["INTER", "UNION", "DIFF"][usize::from(how)];
                    let result = combined(how, &model, &keys);
                    let line = format!("s{} s{} s{}", keys[0], keys[1], keys[2]);
                    let shown = bulks(&rig.run(&format!("S{name} {line}")));
                    prop_assert_eq!(shown.len(), result.len());
                    prop_assert_eq!(&shown.into_iter().collect::<BTreeSet<_>>(), &result);
                    if how == 0 {
                        let limited = rig.run(&format!("SINTERCARD 3 {line} LIMIT {count}"));
                        prop_assert_eq!(limited, format!(":{}\r\n", result.len().min(count)));
                    }
                    if count < 3 {
                        model[b] = result.clone();
                        (format!("S{name}STORE s{b} {line}"), result.len())
                    } else {
                        (format!("SCARD s{a}"), model[a].len())
                    }
                }
            };
            prop_assert_eq!(rig.run(&command), format!(":{expected}\r\n"), "{}", command);
        }
        for (number, set) in model.iter().enumerate() {
            let members = bulks(&rig.run(&format!("SMEMBERS s{number}")));
            prop_assert_eq!(members.len(), set.len());
            prop_assert_eq!(&members.into_iter().collect::<BTreeSet<_>>(), set);
        }
        rig.settle();
        let state = rig.state();
        drop(rig);
        let again = Rig::open(Arc::new(disk), clock, options()).expect("nothing is damaged");
        prop_assert_eq!(again.state(), state);
    }
}
