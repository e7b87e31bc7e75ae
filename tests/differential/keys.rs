//! Commands on keys of any type, and on databases.

use super::make::{Make, Words};
use crate::line;

pub fn command(make: &mut Make) -> Words {
    let key = make.key();
    match make.random.below(40) {
        0..=2 => with_keys(make, "DEL"),
        3 => with_keys(make, "UNLINK"),
        4 => with_keys(make, "EXISTS"),
        5 => with_keys(make, "TOUCH"),
        6 | 7 => line!["TYPE", key],
        8..=10 => {
            let number = make.lifetime_s();
            expire(make, "EXPIRE", key, number)
        }
        11 => {
            let number = make.lifetime_ms();
            expire(make, "PEXPIRE", key, number)
        }
        12 => {
            let number = make.deadline_s();
            expire(make, "EXPIREAT", key, number)
        }
        13 => {
            let number = make.deadline_ms();
            expire(make, "PEXPIREAT", key, number)
        }
        14..=16 => line![make.pick(&["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"]), key],
        17 | 18 => line!["PERSIST", key],
        19..=21 => line![make.pick(&["RENAME", "RENAMENX"]), key, make.key()],
        22..=24 => copy(make, key),
        25 => line!["KEYS", make.pick(&["*", "?", "{t}*", "[a-c]", "[^a]", "k\\ *", "nothing", "*[", "\\"])],
        26 => line!["RANDOMKEY"],
        27 | 28 => scan(make),
        29 => line!["DBSIZE"],
        30 => line!["OBJECT", make.pick(&["ENCODING", "REFCOUNT", "IDLETIME", "FREQ", "NOPE"]), key],
        31 => line!["OBJECT", "ENCODING", key],
        32 => line!["MOVE", key, make.pick(&["0", "1", "1", "2", "16", "-1", "x"])],
        33 => line!["SELECT", make.pick(&["0", "0", "0", "1", "16", "-1", "x"])],
        34 => line!["SELECT", "0"],
        35 if make.chance(4) => {
            line!["SWAPDB", make.pick(&["0", "1", "2"]), make.pick(&["0", "1", "2", "16", "x"])]
        }
        36 if make.chance(6) => line![make.pick(&["FLUSHDB", "FLUSHALL"])],
        37 => line!["MEMORY", "USAGE", key],
        _ => line!["EXISTS", key],
    }
}

fn with_keys(make: &mut Make, name: &str) -> Words {
    let mut command = line![name];
    command.extend(make.keys(3).into_iter().map(String::into_bytes));
    command
}

fn expire(make: &mut Make, name: &str, key: String, number: String) -> Words {
    let mut command = line![name, key, number];
    for _ in 0..2 {
        if make.chance(3) {
            command.push(make.pick(&["NX", "XX", "GT", "LT", "gt", "NOPE"]).into_bytes());
        }
    }
    command
}

fn copy(make: &mut Make, key: String) -> Words {
    let mut command = line!["COPY", key, make.key()];
    if make.chance(4) {
        command.extend(line!["DB", make.pick(&["0", "1", "2", "16", "x"])]);
    }
    if make.chance(2) {
        command.push(b"REPLACE".to_vec());
    }
    command
}

fn scan(make: &mut Make) -> Words {
    let mut command = line!["SCAN", "0"];
    if make.chance(3) {
        command.extend(line!["MATCH", make.pick(&["*", "[a-c]", "{t}*", "nothing"])]);
    }
    if make.chance(3) {
        command.extend(line!["COUNT", make.count()]);
    }
    if make.chance(3) {
        command.extend(line!["TYPE", make.pick(&["string", "list", "HASH", "set", "nope"])]);
    }
    command
}
