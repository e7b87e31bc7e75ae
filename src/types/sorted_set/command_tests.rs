//! The sorted set commands through the whole engine: against a plain model, and where their order of checks could slip.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::engine::rig::Rig;

fn line(rig: &mut Rig, command: &str) -> String {
    rig.run(command).replace("\r\n", " ").trim_end().to_owned()
}

fn assert_replies(script: &[(&str, &str)]) {
    let mut rig = Rig::new();
    for (command, expected) in script {
        assert_eq!(line(&mut rig, command), *expected, "{command}");
    }
}

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

/// Members by score and name.
#[derive(Debug, Clone, Default)]
struct Model(BTreeMap<String, i64>);

impl Model {
    fn rows(&self) -> Vec<(i64, String)> {
        let mut rows: Vec<_> = self.0.iter().map(|(member, &score)| (score, member.clone())).collect();
        rows.sort();
        rows
    }

    fn remove(&mut self, rows: &[(i64, String)]) -> String {
        rows.iter().for_each(|(_, member)| {
            self.0.remove(member);
        });
        format!(":{}", rows.len())
    }

    /// What ZADD with these options replies.
    fn add(&mut self, options: &str, pairs: &[(i64, String)]) -> String {
        let has = |option: &str| options.split(' ').any(|word| word == option);
        let (mut new, mut changed) = (0, 0);
        for (score, member) in pairs {
            match self.0.get(member) {
                None if has("XX") => {}
                None => {
                    self.0.insert(member.clone(), *score);
                    new += 1;
                }
                Some(old) => {
                    let refused = has("NX") || has("GT") && score <= old || has("LT") && score >= old;
                    if !refused && score != old {
                        self.0.insert(member.clone(), *score);
                        changed += 1;
                    }
                }
            }
        }
        format!(":{}", if has("CH") { new + changed } else { new })
    }
}

fn array(rows: &[(i64, String)], scores: bool) -> String {
    let bulk = |text: &str| format!(" ${} {text}", text.len());
    let texts = rows.iter().flat_map(|(score, member)| {
        [Some(bulk(member)), scores.then(|| bulk(&score.to_string()))].into_iter().flatten()
    });
    let texts: Vec<String> = texts.collect();
    format!("*{}{}", texts.len(), texts.concat())
}

fn pairs() -> impl Strategy<Value = Vec<(i64, String)>> {
    let row = (-6i64..6, 0u8..20).prop_map(|(score, member)| (score, format!("m{member:02}")));
    prop_oneof![4 => proptest::collection::vec(row.clone(), 1..6), 1 => proptest::collection::vec(row, 1..60)]
}

#[derive(Debug, Clone)]
enum Step {
    Add(&'static str, Vec<(i64, String)>),
    Increment(i64, String),
    Remove(Vec<(i64, String)>),
    RemoveRanks(i64, i64),
    RemoveScores(i64, i64),
    Pop(bool, usize),
    Range { low: i64, high: i64, exclusive: bool, reverse: bool, limit: Option<(i64, i64)> },
}

fn step() -> impl Strategy<Value = Step> {
    const OPTIONS: &[&str] = &["", "CH", "NX CH", "XX CH", "GT CH", "LT", "XX GT CH", "NX"];
    let limit = proptest::option::of((-1i64..12, -2i64..12));
    prop_oneof![
        6 => (proptest::sample::select(OPTIONS), pairs()).prop_map(|(o, p)| Step::Add(o, p)),
        2 => (-6i64..6, 0u8..20).prop_map(|(n, m)| Step::Increment(n, format!("m{m:02}"))),
        2 => pairs().prop_map(Step::Remove),
        1 => (-12i64..12, -12i64..12).prop_map(|(a, b)| Step::RemoveRanks(a, b)),
        1 => (-8i64..8, -8i64..8).prop_map(|(a, b)| Step::RemoveScores(a, b)),
        2 => (any::<bool>(), 0usize..4).prop_map(|(max, n)| Step::Pop(max, n)),
        5 => ((-8i64..8, -8i64..8), any::<bool>(), any::<bool>(), limit).prop_map(
            |((low, high), exclusive, reverse, limit)| Step::Range { low, high, exclusive, reverse, limit }
        ),
    ]
}

fn pairs_text(pairs: &[(i64, String)]) -> String {
    pairs.iter().map(|(score, member)| format!(" {score} {member}")).collect()
}

/// The part of `rows` that ranks given as to ZRANGE name.
fn by_rank(rows: &[(i64, String)], start: i64, stop: i64) -> Vec<(i64, String)> {
    let len = rows.len() as i64;
    let absolute = |at: i64| if at < 0 { at + len } else { at };
    let within = |at: &i64| (absolute(start)..=absolute(stop)).contains(at);
    (0..len).filter(within).map(|at| rows[at as usize].clone()).collect()
}

fn check(rig: &mut Rig, model: &mut Model, step: &Step) {
    let rows = model.rows();
    let (command, expected) = match step {
        Step::Add(options, pairs) => {
            (format!("ZADD z {options}{}", pairs_text(pairs)), model.add(options, pairs))
        }
        Step::Increment(by, member) => {
            let score = model.0.get(member).copied().unwrap_or(0) + by;
            model.0.insert(member.clone(), score);
            let text = score.to_string();
            (format!("ZINCRBY z {by} {member}"), format!("${} {text}", text.len()))
        }
        Step::Remove(named) => {
            let members: String = named.iter().map(|(_, member)| format!(" {member}")).collect();
            let gone = rows.iter().filter(|row| named.iter().any(|(_, member)| *member == row.1));
            let gone: Vec<_> = gone.cloned().collect();
            (format!("ZREM z{members}"), model.remove(&gone))
        }
        Step::RemoveRanks(start, stop) => {
            (format!("ZREMRANGEBYRANK z {start} {stop}"), model.remove(&by_rank(&rows, *start, *stop)))
        }
        Step::RemoveScores(low, high) => {
            let gone: Vec<_> = rows.iter().filter(|row| (*low..=*high).contains(&row.0)).cloned().collect();
            (format!("ZREMRANGEBYSCORE z {low} {high}"), model.remove(&gone))
        }
        Step::Pop(max, count) => {
            let mut popped = rows;
            if *max {
                popped.reverse();
            }
            popped.truncate(*count);
            model.remove(&popped);
            let name = if *max { "ZPOPMAX" } else { "ZPOPMIN" };
            (format!("{name} z {count}"), array(&popped, true))
        }
        Step::Range { low, high, exclusive, reverse, limit } => {
            let within = |row: &&(i64, String)| {
                (if *exclusive { *low < row.0 } else { *low <= row.0 }) && row.0 <= *high
            };
            let mut found: Vec<_> = rows.iter().filter(within).cloned().collect();
            if *reverse {
                found.reverse();
            }
            if let Some((offset, count)) = limit {
                let from = usize::try_from(*offset).unwrap_or(usize::MAX).min(found.len());
                found.drain(..from);
                found.truncate(usize::try_from(*count).unwrap_or(usize::MAX));
            }
            let low = format!("{}{low}", if *exclusive { "(" } else { "" });
            let ends = if *reverse { format!("{high} {low}") } else { format!("{low} {high}") };
            let rev = if *reverse { " REV" } else { "" };
            let limit = limit.map_or(String::new(), |(offset, count)| format!(" LIMIT {offset} {count}"));
            (format!("ZRANGE z {ends} BYSCORE{rev}{limit} WITHSCORES"), array(&found, true))
        }
    };
    assert_eq!(line(rig, &command), expected, "{command}");
}

/// Ranks, counts and scores of what is there.
fn check_all(rig: &mut Rig, model: &Model) {
    let rows = model.rows();
    assert_eq!(line(rig, "ZRANGE z 0 -1 WITHSCORES"), array(&rows, true));
    assert_eq!(line(rig, "ZCARD z"), format!(":{}", rows.len()));
    for (rank, (score, member)) in rows.iter().enumerate() {
        assert_eq!(line(rig, &format!("ZRANK z {member}")), format!(":{rank}"));
        assert_eq!(line(rig, &format!("ZREVRANK z {member}")), format!(":{}", rows.len() - 1 - rank));
        let text = score.to_string();
        assert_eq!(line(rig, &format!("ZSCORE z {member}")), format!("${} {text}", text.len()));
    }
    for score in -6..6 {
        let count = rows.iter().filter(|row| row.0 >= score).count();
        assert_eq!(line(rig, &format!("ZCOUNT z {score} +inf")), format!(":{count}"));
    }
}

type Sets = Vec<(Vec<(i64, String)>, bool)>;

/// Members with scores, or plain sets without.
fn sets() -> impl Strategy<Value = Sets> {
    proptest::collection::vec((pairs(), any::<bool>()), 1..5)
}

fn models_of(rig: &mut Rig, sets: &Sets) -> Vec<Model> {
    let mut models = Vec::new();
    for (number, (pairs, plain)) in sets.iter().enumerate() {
        let mut model = Model::default();
        if *plain {
            pairs.iter().for_each(|(_, member)| {
                model.0.insert(member.clone(), 1);
            });
            let members: Vec<&str> = model.0.keys().map(String::as_str).collect();
            rig.run(&format!("SADD in{number} {}", members.join(" ")));
        } else {
            model.add("", pairs);
            rig.run(&format!("ZADD in{number}{}", pairs_text(pairs)));
        }
        models.push(model);
    }
    models
}

fn combined(models: &[Model], weights: &[i64], aggregate: &str, in_all: bool) -> Vec<(i64, String)> {
    let mut result = Model::default();
    let members: std::collections::BTreeSet<&String> =
        models.iter().flat_map(|model| model.0.keys()).collect();
    for member in members {
        let scores =
            models.iter().zip(weights).filter_map(|(model, weight)| Some(model.0.get(member)? * weight));
        let scores: Vec<i64> = scores.collect();
        if in_all && scores.len() < models.len() {
            continue;
        }
        let score = match aggregate {
            "MIN" => scores.into_iter().min(),
            "MAX" => scores.into_iter().max(),
            _ => Some(scores.into_iter().sum()),
        };
        result.0.insert(member.clone(), score.expect("the member comes from a model"));
    }
    result.rows()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn commands_do_what_a_model_does(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut rig, mut model) = (Rig::new(), Model::default());
        for step in &steps {
            check(&mut rig, &mut model, step);
        }
        check_all(&mut rig, &model);
    }

    #[test]
    fn unions_intersections_and_differences_are_those_of_a_model(
        sets in sets(), weights in proptest::collection::vec(-3i64..4, 5),
        aggregate in proptest::sample::select(&["SUM", "MIN", "MAX"][..]),
    ) {
        let mut rig = Rig::new();
        let models = models_of(&mut rig, &sets);
        let count = models.len();
        let keys: String = (0..count).map(|number| format!(" in{number}")).collect();
        let texts: String = weights[..count].iter().map(|weight| format!(" {weight}")).collect();
        let options = format!(" WEIGHTS{texts} AGGREGATE {aggregate}");
        for (name, in_all) in [("ZUNION", false), ("ZINTER", true)] {
            let expected = combined(&models, &weights, aggregate, in_all);
            let command = format!("{name} {count}{keys}{options} WITHSCORES");
            // Replies tell the sign of a zero that a weight has turned, as Redis' do; what is stored has none.
            let reply = line(&mut rig, &command).replace("$2 -0", "$1 0");
            prop_assert_eq!(reply, array(&expected, true), "{}", command);
            let command = format!("{name}STORE d {count}{keys}{options}");
            prop_assert_eq!(line(&mut rig, &command), format!(":{}", expected.len()));
            prop_assert_eq!(line(&mut rig, "ZRANGE d 0 -1 WITHSCORES"), array(&expected, true));
        }
        let common = combined(&models, &weights, aggregate, true).len();
        prop_assert_eq!(line(&mut rig, &format!("ZINTERCARD {count}{keys}")), format!(":{common}"));
        prop_assert_eq!(line(&mut rig, &format!("ZINTERCARD {count}{keys} LIMIT 2")), format!(":{}", common.min(2)));
        let mut rest = models[0].clone();
        models[1..].iter().flat_map(|model| model.0.keys()).for_each(|member| { rest.0.remove(member); });
        prop_assert_eq!(line(&mut rig, &format!("ZDIFF {count}{keys} WITHSCORES")), array(&rest.rows(), true));
        // The destination may be among the sources.
        prop_assert_eq!(line(&mut rig, &format!("ZDIFFSTORE in0 {count}{keys}")), format!(":{}", rest.0.len()));
        prop_assert_eq!(line(&mut rig, "ZRANGE in0 0 -1 WITHSCORES"), array(&rest.rows(), true));
    }
}

/// Bytes of the ops that a command makes.
fn logged(rig: &mut Rig, command: &str) -> usize {
    line(rig, command);
    rig.last_ops().len()
}

#[test]
fn what_changes_nothing_is_not_logged() {
    let mut rig = Rig::new();
    rig.run("ZADD z 1 a 2 b 0 zero");
    for command in [
        "ZADD z 1 a",
        "ZADD z CH 1 a 2 b",
        "ZADD z NX 5 a 6 b",
        "ZADD z XX 5 new 6 newer",
        "ZADD z GT 0 a",
        "ZADD z LT 9 a 9 b",
        "ZADD z INCR 0 a",
        "ZADD z -0 zero",
        "ZINCRBY z 0 a",
        "ZREM z nothing",
        "ZREM nothing a",
        "ZREMRANGEBYRANK z 5 9",
        "ZREMRANGEBYSCORE z 5 9",
        "ZREMRANGEBYLEX nothing - +",
        "ZPOPMIN z 0",
        "ZPOPMAX nothing",
        "ZMPOP 1 nothing MIN",
        "ZRANGESTORE nothing z 5 9",
        "ZUNIONSTORE nothing 1 nowhere",
        "ZADD z nan a",
    ] {
        assert_eq!(logged(&mut rig, command), 0, "{command}");
    }
    assert!(logged(&mut rig, "ZADD z 3 a") > 0);
}

#[test]
fn a_range_is_removed_by_an_op_of_a_few_bytes() {
    let mut rig = Rig::new();
    let pairs: String = (0..2000).map(|n| format!(" {n} member:{n}")).collect();
    rig.run(&format!("ZADD z{pairs}"));
    for command in ["ZREMRANGEBYRANK z 0 499", "ZREMRANGEBYSCORE z (600 1200", "ZPOPMAX z 300"] {
        let bytes = logged(&mut rig, command);
        assert!((1..100).contains(&bytes), "{command}: {bytes} bytes");
    }
    assert_eq!(line(&mut rig, "ZCARD z"), ":600");
}

#[test]
fn results_that_are_stored_are_logged_in_ops_of_bounded_length() {
    use crate::keyspace::op::{AnyOp, Op, Ops};
    use crate::types::REBUILD_BYTES;
    use crate::types::sorted_set::value::SortedSetOp;
    let mut rig = Rig::new();
    let member = "m".repeat(100);
    let pairs: String = (0..1000).map(|n| format!(" {n} {member}{n}")).collect();
    rig.run(&format!("ZADD z{pairs}"));
    assert_eq!(line(&mut rig, "ZRANGESTORE d z 0 -1"), ":1000");
    let sizes: Vec<usize> = Ops::new(rig.last_ops())
        .map(|op| match op.expect("just made") {
            AnyOp::Key { op: Op::SortedSet(SortedSetOp::SetMany { rows }), .. } => {
                rows.iter().map(|(_, member)| member.len() + 8).sum()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(sizes.len() >= 3 && sizes.iter().all(|&bytes| bytes <= REBUILD_BYTES), "{sizes:?}");
}

#[test]
fn a_stored_result_replaces_another_type_and_its_lifetime() {
    assert_replies(&[
        ("ZADD z 1 a 2 b", ":2"),
        ("SET d x EX 100", "+OK"),
        ("ZRANGESTORE d z 0 0", ":1"),
        ("TTL d", ":-1"),
        ("EXPIRE d 100", ":1"),
        ("ZUNIONSTORE d 2 d z", ":2"),
        ("TTL d", ":-1"),
        ("ZRANGE d 0 -1 WITHSCORES", "*4 $1 a $1 2 $1 b $1 2"),
        ("ZINTERSTORE d 2 d nothing", ":0"),
        ("EXISTS d", ":0"),
    ]);
}

#[test]
fn arguments_are_checked_before_keys_but_for_unions() {
    assert_replies(&[
        ("SET s v", "+OK"),
        ("ZADD s NX XX 1 a", "-ERR XX and NX options at the same time are not compatible"),
        ("ZADD s x a", "-ERR value is not a valid float"),
        ("ZADD s 1 a", WRONG_TYPE),
        ("ZRANGE s x y BYSCORE", "-ERR min or max is not a float"),
        ("ZRANGE s 0 1 NOPE", "-ERR syntax error"),
        ("ZRANGE s 0 1", WRONG_TYPE),
        ("ZPOPMIN s -1", "-ERR value is out of range, must be positive"),
        ("ZPOPMIN s 0", WRONG_TYPE),
        ("ZUNION 1 s NOPE", WRONG_TYPE),
        ("ZUNION 0 s", "-ERR at least 1 input key is needed for 'zunion' command"),
        ("ZUNION 2 s", "-ERR syntax error"),
        ("ZINTERCARD 2 nothing s LIMIT x", WRONG_TYPE),
        ("ZSCAN s x", "-ERR invalid cursor"),
        ("ZSCAN s 0 NOPE", WRONG_TYPE),
        ("ZRANDMEMBER s 1 NOPE", "-ERR syntax error"),
        ("ZRANK s a NOPE", "-ERR syntax error"),
        ("ZRANK s a WITHSCORE", WRONG_TYPE),
    ]);
}

#[test]
fn huge_counts_and_offsets_are_answered_at_once() {
    assert_replies(&[
        ("ZADD z 1 a 2 b 3 c", ":3"),
        ("ZRANGE z 0 9 BYSCORE LIMIT 9223372036854775807 9223372036854775807", "*0"),
        ("ZRANGE z 0 9 BYSCORE LIMIT 1 9223372036854775807", "*2 $1 b $1 c"),
        ("ZRANGE z 9 0 BYSCORE REV LIMIT 1 9223372036854775807", "*2 $1 b $1 a"),
        ("ZRANGE z 9 0 BYSCORE REV LIMIT 9223372036854775807 1", "*0"),
        ("ZRANGE z -9223372036854775808 9223372036854775807", "*3 $1 a $1 b $1 c"),
        ("ZREVRANGE z -9223372036854775808 9223372036854775807", "*3 $1 c $1 b $1 a"),
        ("ZRANDMEMBER z -9223372036854775807", "-ERR value is out of range"),
        ("ZPOPMIN z 9223372036854775807", "*6 $1 a $1 1 $1 b $1 2 $1 c $1 3"),
    ]);
}

#[test]
fn random_members_are_even() {
    let mut rig = Rig::new();
    let pairs: String = (0..40).map(|n| format!(" {n} m{n}")).collect();
    rig.run(&format!("ZADD z{pairs}"));
    for (count, rounds, each) in [("-1", 4000, 1), ("3", 1500, 3), ("20", 200, 20), ("-20", 200, 20)] {
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..rounds {
            let reply = line(&mut rig, &format!("ZRANDMEMBER z {count}"));
            let members: Vec<&str> = reply.split(' ').filter(|word| word.starts_with('m')).collect();
            assert_eq!(members.len(), each);
            members.into_iter().for_each(|member| *seen.entry(member.to_owned()).or_default() += 1);
        }
        assert!(seen.len() == 40 && seen.values().all(|&n| (50..170).contains(&n)), "{count}: {seen:?}");
    }
}

#[test]
fn different_random_members_are_different() {
    let mut rig = Rig::new();
    let pairs: String = (0..40).map(|n| format!(" {n} m{n}")).collect();
    rig.run(&format!("ZADD z{pairs}"));
    for count in [1, 5, 9, 10, 39, 40, 100] {
        let reply = line(&mut rig, &format!("ZRANDMEMBER z {count}"));
        let members: std::collections::BTreeSet<&str> =
            reply.split(' ').filter(|word| word.starts_with('m')).collect();
        assert_eq!(members.len(), count.min(40), "{reply}");
    }
}

#[test]
fn a_scan_finds_everything() {
    let mut rig = Rig::new();
    let pairs: String = (0..1000).map(|n| format!(" {n} m{n}")).collect();
    rig.run(&format!("ZADD z{pairs}"));
    let (mut cursor, mut seen) = ("0".to_owned(), BTreeMap::new());
    loop {
        let reply = line(&mut rig, &format!("ZSCAN z {cursor} COUNT 7"));
        let words: Vec<&str> = reply.split(' ').collect();
        cursor = words[2].to_owned();
        let strings: Vec<&str> = words[4..].iter().copied().skip(1).step_by(2).collect();
        for pair in strings.chunks(2) {
            seen.insert(pair[0].to_owned(), pair[1].to_owned());
        }
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(seen.len(), 1000);
    assert!(seen.iter().all(|(member, score)| member[1..] == **score));
}

#[test]
fn waiters_are_served_in_their_order() {
    let mut rig = Rig::new();
    assert_eq!(rig.run_as(1, "BZPOPMIN a z 0"), "");
    assert_eq!(rig.run_as(2, "BZPOPMAX z 0"), "");
    assert_eq!(rig.run_as(3, "BZMPOP 0 1 z MIN COUNT 5"), "");
    assert_eq!(rig.run_as(4, "BZPOPMIN z 0"), "");
    assert_eq!(rig.run("RPUSH z x"), ":1\r\n");
    assert_eq!(rig.delivered(1), None);
    assert_eq!(rig.run("DEL z"), ":1\r\n");
    assert_eq!(rig.run("ZADD z 1 a 2 b 3 c 4 d"), ":4\r\n");
    assert_eq!(rig.delivered(1).as_deref(), Some("*3\r\n$1\r\nz\r\n$1\r\na\r\n$1\r\n1\r\n"));
    assert_eq!(rig.delivered(2).as_deref(), Some("*3\r\n$1\r\nz\r\n$1\r\nd\r\n$1\r\n4\r\n"));
    let rest = "*2\r\n$1\r\nz\r\n*2\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n*2\r\n$1\r\nc\r\n$1\r\n3\r\n";
    assert_eq!(rig.delivered(3).as_deref(), Some(rest));
    assert!(rig.is_blocked(4));
    assert_eq!(rig.run("EXISTS z"), ":0\r\n");
    assert_eq!(rig.run("ZINCRBY z 1 m"), "$1\r\n1\r\n");
    assert_eq!(rig.delivered(4).as_deref(), Some("*3\r\n$1\r\nz\r\n$1\r\nm\r\n$1\r\n1\r\n"));
}

#[test]
fn blocking_pops_answer_at_once_when_they_can() {
    assert_replies(&[
        ("SET s x", "+OK"),
        ("ZADD z 1 a 2 b 3 c 4 d", ":4"),
        ("BZPOPMIN nokey z s 0", "*3 $1 z $1 a $1 1"),
        ("BZPOPMAX z 0", "*3 $1 z $1 d $1 4"),
        ("BZPOPMIN nokey s z 0", WRONG_TYPE),
        ("BZPOPMIN s -1", "-ERR timeout is negative"),
        ("BZPOPMIN s x", "-ERR timeout is not a float or out of range"),
        ("BZMPOP x 1 z FOO", "-ERR syntax error"),
        ("BZMPOP x 1 z MIN", "-ERR timeout is not a float or out of range"),
        ("BZMPOP 0 1 z MIN COUNT 9", "*2 $1 z *2 *2 $1 b $1 2 *2 $1 c $1 3"),
        ("MULTI", "+OK"),
        ("BZPOPMIN z 0", "+QUEUED"),
        ("BZMPOP 0 1 z MIN", "+QUEUED"),
        ("EXEC", "*2 *-1 *-1"),
    ]);
}
