//! Stream commands; the blocking ones only inside MULTI, where they don't block.
//!
//! Ids are told, never left to the clock, of which each server has its own; times of delivery are either now or long past, so that a
//! few milliseconds decide nothing. Trimming with `~` asks for nothing that depends on where blocks end. What Redis 7.0 doesn't know
//! (KEEPREF and its like, XDELEX, XACKDEL) is left to the golden scripts.

use super::make::{Make, Words};
use crate::line;

/// Keys of their own, so that streams get old: other types' commands don't meet them.
pub const KEYS: &[&str] = &["s", "{s}2", "t"];

pub fn command(make: &mut Make) -> Words {
    let key = if make.chance(12) { make.key() } else { make.pick(KEYS) };
    match make.random.below(60) {
        0..=9 => add(make, key),
        10 => line!["XLEN", key],
        11..=12 => range(make, key),
        13..=14 => with_ids(make, line!["XDEL", key]),
        15..=16 => {
            let mut command = line!["XTRIM", key];
            command.extend(trim(make));
            command
        }
        // Undone where the servers disagree, which a transaction cannot be.
        17 if !make.in_multi => set_id(make, key),
        17 => line!["XLEN", key],
        18..=21 => info(make, key),
        22..=27 => group(make, key),
        28..=30 => read(make, key),
        31..=41 => read_group(make, key),
        42..=45 => {
            let command = line!["XACK", key, name(make, "g")];
            with_ids(make, command)
        }
        46..=49 => pending(make, key),
        50..=53 => claim(make, key),
        54..=57 => autoclaim(make, key),
        58 => line!["TYPE", key],
        _ if make.chance(3) => line!["DEL", key],
        _ => add(make, key),
    }
}

fn id(make: &mut Make) -> String {
    match make.random.below(16) {
        0 => make.pick(&[
            "0-0", "0", "0-1", "-", "+", "$", ">", "1-", "x", "", "5-*", "-1", "1-1-1", " 3", "03-01",
        ]),
        1 => make.integer(),
        2 => format!("{}-18446744073709551615", make.random.below(9)),
        3 => make.random.below(9).to_string(),
        4..=6 => format!("{}-{}", make.random.below(9), make.random.below(3)),
        _ => format!("7-{}", make.random.below(24)),
    }
}

fn new_id(make: &mut Make) -> String {
    match make.random.below(12) {
        0 => id(make),
        1..=2 => format!("{}-*", make.random.below(9)),
        3 => format!("7-{}", make.random.below(60)),
        _ => "7-*".to_owned(),
    }
}

fn bound(make: &mut Make) -> String {
    match make.random.below(5) {
        0 => "-".to_owned(),
        1 => "+".to_owned(),
        2 => format!("({}", id(make)),
        _ => id(make),
    }
}

/// The name of a group or a consumer: one of three.
fn name(make: &mut Make, first: &str) -> String {
    format!("{first}{}", make.pick(&["", "", "1", "2"]))
}

fn with_ids(make: &mut Make, mut command: Words) -> Words {
    for _ in 0..=make.random.below(4) {
        command.extend(line![id(make)]);
    }
    command
}

fn count(make: &mut Make, command: &mut Words, one_in: u64) {
    if make.chance(one_in) {
        let count = if make.chance(12) { make.integer() } else { make.count() };
        command.extend(line!["COUNT", count]);
    }
}

fn trim(make: &mut Make) -> Words {
    let (name, exact) = match make.random.below(2) {
        0 => ("MAXLEN", make.random.below(30).to_string()),
        _ => ("minid", id(make)),
    };
    match make.random.below(8) {
        0 if name == "MAXLEN" => line![name, "~", "1000", "LIMIT", make.count()],
        1 => line![name, "~", if name == "MAXLEN" { "1000" } else { "0-1" }],
        2 => line![name, "=", exact],
        3 => line![name, exact, "LIMIT", make.count()],
        4 => line![name, make.integer()],
        _ => line![name, exact],
    }
}

fn add(make: &mut Make, key: String) -> Words {
    let mut command = line!["XADD", key];
    if make.chance(12) {
        command.extend(line!["NOMKSTREAM"]);
    }
    if make.chance(8) {
        command.extend(trim(make));
    }
    command.extend(line![new_id(make)]);
    // Mostly the same fields, sometimes others.
    let fields = if make.chance(6) { make.random.below(4) } else { 1 };
    for _ in 0..=fields {
        command.extend(line![make.member(), make.member()]);
    }
    command
}

fn range(make: &mut Make, key: String) -> Words {
    let mut command = line![make.pick(&["XRANGE", "XREVRANGE"]), key, bound(make), bound(make)];
    count(make, &mut command, 2);
    command
}

fn set_id(make: &mut Make, key: String) -> Words {
    let last = if make.chance(2) { format!("8-{}", make.random.below(60)) } else { id(make) };
    let mut command = line!["XSETID", key, last];
    if make.chance(3) {
        command.extend(line!["ENTRIESADDED", make.random.below(90).to_string()]);
    }
    if make.chance(3) {
        command.extend(line!["MAXDELETEDID", id(make)]);
    }
    command
}

fn info(make: &mut Make, key: String) -> Words {
    match make.random.below(8) {
        0..=1 => line!["XINFO", "STREAM", key],
        2..=4 => {
            let mut command = line!["XINFO", "stream", key, "FULL"];
            count(make, &mut command, 2);
            command
        }
        5..=6 => line!["XINFO", "GROUPS", key],
        _ => line!["XINFO", "CONSUMERS", key, name(make, "g")],
    }
}

fn group(make: &mut Make, key: String) -> Words {
    let group = name(make, "g");
    match make.random.below(16) {
        0..=6 => {
            let start = make.pick(&["0", "$", "0", "$", "7-3"]);
            let start = if make.chance(4) { id(make) } else { start };
            let mut command = line!["XGROUP", make.pick(&["CREATE", "CREATE", "SETID"]), key, group, start];
            if make.chance(2) {
                command.extend(line!["MKSTREAM"]);
            }
            if make.chance(5) {
                command.extend(line!["ENTRIESREAD", make.pick(&["0", "1", "7", "-1", "-2", "x", "100"])]);
            }
            command
        }
        7 => line!["XGROUP", "SETID", key, group, id(make)],
        8..=11 => line!["XGROUP", "CREATECONSUMER", key, group, name(make, "c")],
        12..=14 => line!["XGROUP", "DELCONSUMER", key, group, name(make, "c")],
        _ => line!["XGROUP", "DESTROY", key, group],
    }
}

fn block(make: &mut Make, command: &mut Words) {
    if make.in_multi && make.chance(2) {
        command.extend(line!["BLOCK", make.pick(&["0", "1", "100", "-1", "x"])]);
    }
}

/// `STREAMS key ... id ...`
fn streams(make: &mut Make, key: String, ids: &[&str], command: &mut Words) {
    let mut keys = vec![key];
    while make.chance(4) {
        keys.push(make.pick(KEYS));
    }
    command.extend(line!["STREAMS"]);
    let count = keys.len();
    command.extend(keys.into_iter().map(String::into_bytes));
    for _ in 0..count {
        let id = if make.chance(4) { id(make) } else { make.pick(ids) };
        // Understood since 7.4.
        command.extend(line![if id == "+" { "0".to_owned() } else { id }]);
    }
}

fn read(make: &mut Make, key: String) -> Words {
    let mut command = line!["XREAD"];
    count(make, &mut command, 2);
    block(make, &mut command);
    streams(make, key, &["0", "$", "7-5"], &mut command);
    command
}

fn read_group(make: &mut Make, key: String) -> Words {
    let mut command = line!["XREADGROUP", "GROUP", name(make, "g"), name(make, "c")];
    count(make, &mut command, 2);
    block(make, &mut command);
    if make.chance(10) {
        command.extend(line!["NOACK"]);
    }
    streams(make, key, &[">", ">", ">", "0"], &mut command);
    command
}

fn pending(make: &mut Make, key: String) -> Words {
    let mut command = line!["XPENDING", key, name(make, "g")];
    if make.chance(3) {
        return command;
    }
    if make.chance(4) {
        command.extend(line!["IDLE", make.pick(&["0", "1000000", "100000000000", "x", "-1"])]);
    }
    command.extend(line![bound(make), bound(make), make.pick(&["10", "1", "3", "100", "0", "-1", "x"])]);
    if make.chance(3) {
        command.extend(line![name(make, "c")]);
    }
    command
}

/// As a time to be idle for: always, after a long time, never.
fn min_idle(make: &mut Make) -> String {
    make.pick(&["0", "0", "0", "1000000", "100000000000", "-5", "x"])
}

fn claim(make: &mut Make, key: String) -> Words {
    let command = line!["XCLAIM", key, name(make, "g"), name(make, "c"), min_idle(make)];
    let mut command = with_ids(make, command);
    for (option, values) in [
        ("IDLE", &["0", "20000000", "-1", "x"][..]),
        ("TIME", &["1000", "0", "-1", "x"]),
        ("RETRYCOUNT", &["0", "7", "-1", "x"]),
        ("LASTID", &["0", "7-9", "x"]),
    ] {
        if make.chance(7) {
            command.extend(line![option, make.pick(values)]);
        }
    }
    for option in ["FORCE", "justid"] {
        if make.chance(6) {
            command.extend(line![option]);
        }
    }
    command
}

fn autoclaim(make: &mut Make, key: String) -> Words {
    let start = if make.chance(2) { "0".to_owned() } else { bound(make) };
    let mut command = line!["XAUTOCLAIM", key, name(make, "g"), name(make, "c"), min_idle(make), start];
    count(make, &mut command, 2);
    if make.chance(5) {
        command.extend(line!["JUSTID"]);
    }
    command
}
