//! Sorted set commands; the blocking ones only inside MULTI, where they don't block.
//!
//! None is too large for a double: in redis-server 7.0 SORTs that come later may fail then. Scores are multiples of an eighth: redis-server 7.0 writes seventeen digits of any other, and 7.2 only as many as it takes. Where
//! members are asked for by their bytes all scores must be equal, or what comes is not defined: that has a key of its own.

use super::make::{Make, Words};
use crate::line;

/// All its scores are zero. Not among the keys of the other commands.
const LEXICAL: &str = "lexical";

pub fn command(make: &mut Make) -> Words {
    let key = make.key();
    match make.random.below(48) {
        0..=7 => add(make, key),
        8..=9 => line!["ZINCRBY", key, score(make), make.member()],
        10..=11 => with_members(make, line!["ZREM", key]),
        12 => line!["ZCARD", key],
        13 => line!["ZSCORE", key, make.member()],
        14 => with_members(make, line!["ZMSCORE", key]),
        15..=16 => {
            // One argument more is an error when it is queued in 7.0, and legal in 7.2: it would decide on the EXEC.
            make.plain |= make.in_multi;
            line![make.pick(&["ZRANK", "ZREVRANK"]), key, make.member()]
        }
        17..=18 => line!["ZCOUNT", key, bound(make), bound(make)],
        19..=22 => {
            let command = line![make.pick(&["ZRANGE", "ZRANGE", "ZREVRANGE"]), key];
            ranked(make, command)
        }
        23..=25 => scored(make, key),
        26 => {
            let source = make.key();
            ranked(make, line!["ZRANGESTORE", key, source])
        }
        27 => line!["ZREMRANGEBYRANK", key, make.index(), make.index()],
        28 => line!["ZREMRANGEBYSCORE", key, bound(make), bound(make)],
        29..=32 => combined(make),
        33..=34 => {
            let mut command = line![make.pick(&["ZPOPMIN", "ZPOPMAX"]), key];
            if make.chance(2) {
                command.extend(line![make.count()]);
            }
            command
        }
        35 => pop_many(make, line!["ZMPOP"]),
        36..=37 => random_member(make, key),
        38..=39 => scan(make, key),
        40..=44 => lexical(make),
        _ if make.in_multi => blocking(make, key),
        _ => add(make, key),
    }
}

fn score(make: &mut Make) -> String {
    match make.random.below(12) {
        0 => make.pick(&["inf", "-inf", "+inf", "-0", "1e3", "0x10", "nan", "x", "", " 1"]),
        1 => make.random.within(-1_000_000..1_000_000).to_string(),
        2..=4 => format!("{}", make.random.within(-40..40) as f64 / 8.0),
        _ => make.random.within(-4..8).to_string(),
    }
}

fn bound(make: &mut Make) -> String {
    match make.random.below(8) {
        0 => make.pick(&["-inf", "+inf", "inf", "(inf", "(-inf", "", "(", "x", "((1", "nan", " 2"]),
        1..=3 => format!("({}", score(make)),
        _ => score(make),
    }
}

fn add(make: &mut Make, key: String) -> Words {
    let mut command = line!["ZADD", key];
    for option in ["NX", "XX", "GT", "LT", "CH", "incr"] {
        if make.chance(9) {
            command.extend(line![option]);
        }
    }
    let many = if make.chance(12) { 40 } else { 3 };
    for _ in 0..=make.random.below(many) {
        command.extend(line![score(make), make.member()]);
    }
    command
}

fn with_members(make: &mut Make, mut command: Words) -> Words {
    for _ in 0..=make.random.below(4) {
        command.push(make.member());
    }
    command
}

fn limit(make: &mut Make, command: &mut Words) {
    if make.chance(4) {
        command.extend(line!["LIMIT", make.index(), make.index()]);
    }
}

fn ranked(make: &mut Make, mut command: Words) -> Words {
    if make.chance(3) {
        command.extend(line![bound(make), bound(make), "BYSCORE"]);
        limit(make, &mut command);
    } else {
        command.extend(line![make.index(), make.index()]);
        if make.chance(30) {
            limit(make, &mut command);
        }
    }
    for option in ["REV", "WITHSCORES"] {
        if make.chance(3) {
            command.extend(line![option]);
        }
    }
    command
}

fn scored(make: &mut Make, key: String) -> Words {
    let name = make.pick(&["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"]);
    let mut command = line![name, key, bound(make), bound(make)];
    limit(make, &mut command);
    if make.chance(2) {
        command.extend(line!["WITHSCORES"]);
    }
    command
}

fn combined(make: &mut Make) -> Words {
    let name = make.pick(&[
        "ZUNION",
        "ZINTER",
        "ZDIFF",
        "ZUNIONSTORE",
        "ZINTERSTORE",
        "ZDIFFSTORE",
        "ZUNIONSTORE",
        "ZINTERCARD",
    ]);
    let mut command = line![name];
    let stores = name.ends_with("STORE");
    if stores {
        command.extend(line![make.key()]);
    }
    let keys = make.keys(3);
    let count = if make.chance(15) { make.count() } else { keys.len().to_string() };
    command.push(count.into_bytes());
    command.extend(keys.iter().cloned().map(String::into_bytes));
    if make.chance(3) {
        command.extend(line!["WEIGHTS"]);
        keys.iter().for_each(|_| command.push(weight(make).into_bytes()));
    }
    if make.chance(3) {
        command.extend(line!["AGGREGATE", make.pick(&["SUM", "min", "MAX", "MEAN"])]);
    }
    if make.chance(if stores { 20 } else { 2 }) {
        command.extend(line!["WITHSCORES"]);
    }
    if name == "ZINTERCARD" && make.chance(2) {
        command.extend(line!["LIMIT", make.count()]);
    }
    command
}

fn weight(make: &mut Make) -> String {
    make.pick(&["1", "2", "0.5", "0", "-1", "inf", "-inf", "nan", "x", "", "3", "1", "2"])
}

fn pop_many(make: &mut Make, mut command: Words) -> Words {
    let keys = make.keys(3);
    let count = if make.chance(10) { make.count() } else { keys.len().to_string() };
    command.push(count.into_bytes());
    command.extend(keys.into_iter().map(String::into_bytes));
    command.push(make.pick(&["MIN", "MAX", "min", "max", "MID"]).into_bytes());
    if make.chance(2) {
        command.extend(line!["COUNT", make.count()]);
    }
    command
}

fn random_member(make: &mut Make, key: String) -> Words {
    let mut command = line!["ZRANDMEMBER", key];
    if make.chance(2) {
        command.extend(line![make.count()]);
        if make.chance(2) {
            command.extend(line!["WITHSCORES"]);
        }
    }
    command
}

fn scan(make: &mut Make, key: String) -> Words {
    let mut command = line!["ZSCAN", key, "0"];
    if make.chance(2) {
        command.extend(line!["MATCH", make.pick(&["*", "m*", "m[0-3]", "nothing*"])]);
    }
    if make.chance(3) {
        command.extend(line!["COUNT", make.count()]);
    }
    command
}

/// Whatever changes the key leaves its scores equal, so it must not be disturbed.
fn lexical(make: &mut Make) -> Words {
    make.plain = true;
    match make.random.below(12) {
        0..=3 => {
            let mut command = line!["ZADD", LEXICAL];
            for _ in 0..=make.random.below(6) {
                command.extend(line!["0", make.member()]);
            }
            command
        }
        4 => line!["ZREM", LEXICAL, make.member()],
        5 => line!["ZREMRANGEBYLEX", LEXICAL, lex_bound(make), lex_bound(make)],
        6 => line!["ZLEXCOUNT", LEXICAL, lex_bound(make), lex_bound(make)],
        7 | 8 => {
            let name = make.pick(&["ZRANGEBYLEX", "ZREVRANGEBYLEX"]);
            let mut command = line![name, LEXICAL, lex_bound(make), lex_bound(make)];
            limit(make, &mut command);
            command
        }
        9 => {
            let mut command =
                line!["ZRANGESTORE", make.key(), LEXICAL, lex_bound(make), lex_bound(make), "BYLEX"];
            limit(make, &mut command);
            command
        }
        _ => {
            let mut command = line!["ZRANGE", LEXICAL, lex_bound(make), lex_bound(make), "bylex"];
            limit(make, &mut command);
            for option in ["REV", "WITHSCORES"] {
                if make.chance(4) {
                    command.extend(line![option]);
                }
            }
            command
        }
    }
}

fn lex_bound(make: &mut Make) -> Vec<u8> {
    match make.random.below(8) {
        0 => b"-".to_vec(),
        1 => b"+".to_vec(),
        2 => make.member(),
        3..=5 => [b"[", &make.member()[..]].concat(),
        _ => [b"(", &make.member()[..]].concat(),
    }
}

fn blocking(make: &mut Make, key: String) -> Words {
    let timeout = make.pick(&["0", "0.5", "1", "-1", "x", ""]);
    match make.random.below(2) {
        0 => line![make.pick(&["BZPOPMIN", "BZPOPMAX"]), key, make.key(), timeout],
        _ => pop_many(make, line!["BZMPOP", timeout]),
    }
}
