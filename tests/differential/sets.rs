//! Set commands.

use super::make::{Make, Words};
use crate::line;

pub fn command(make: &mut Make) -> Words {
    let key = make.key();
    match make.random.below(28) {
        0..=3 => with_members(make, line!["SADD", key], 5),
        // So that there are sets of integers alone.
        4..=6 => {
            let mut command = line!["SADD", key];
            for _ in 0..=make.random.below(6) {
                command.extend(line![make.random.within(-30..30).to_string()]);
            }
            command
        }
        7 | 8 => with_members(make, line!["SREM", key], 4),
        9 => line!["SISMEMBER", key, member(make)],
        10 => with_members(make, line!["SMISMEMBER", key], 4),
        11 => line!["SCARD", key],
        12 | 13 => line!["SMEMBERS", key],
        14 | 15 => line!["SMOVE", key, make.key(), member(make)],
        16..=18 => random(make, key),
        19..=21 => {
            let name = make.pick(&["SINTER", "SUNION", "SDIFF"]);
            with_keys(make, line![name, key])
        }
        22..=24 => {
            let name = make.pick(&["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]);
            let first = make.key();
            with_keys(make, line![name, key, first])
        }
        25 => {
            let keys = make.keys(3);
            let count = if make.chance(8) { make.count() } else { keys.len().to_string() };
            let mut command = line!["SINTERCARD", count];
            command.extend(keys.into_iter().map(String::into_bytes));
            if make.chance(2) {
                command.extend(line!["LIMIT", make.count()]);
            }
            command
        }
        _ => {
            let mut command = line!["SSCAN", key, "0"];
            if make.chance(2) {
                command.extend(line!["MATCH", make.pick(&["*", "m*", "[0-9]", "nothing*"])]);
            }
            if make.chance(2) {
                command.extend(line!["COUNT", make.count()]);
            }
            command
        }
    }
}

fn member(make: &mut Make) -> Vec<u8> {
    if make.chance(2) { make.member() } else { make.integer().into_bytes() }
}

fn with_members(make: &mut Make, mut command: Words, max: u64) -> Words {
    for _ in 0..=make.random.below(max) {
        command.extend([member(make)]);
    }
    command
}

fn with_keys(make: &mut Make, mut command: Words) -> Words {
    command.extend(make.keys(3).into_iter().map(String::into_bytes));
    command
}

/// In MULTI nothing is popped by chance: the two servers could not be put in step again.
fn random(make: &mut Make, key: String) -> Words {
    if make.chance(2) {
        let mut command = line!["SRANDMEMBER", key];
        if make.chance(2) {
            command.extend(line![make.count()]);
        }
        return command;
    }
    match make.random.below(4) {
        0 => line!["SPOP", key, make.pick(&["0", "-1", "abc", "1000", "9223372036854775807"])],
        _ if make.in_multi => line!["SPOP", key, "1000"],
        1 => line!["SPOP", key, make.count()],
        _ => line!["SPOP", key],
    }
}
