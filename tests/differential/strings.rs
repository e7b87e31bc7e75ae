//! String commands.

use super::make::{Make, Words};
use crate::line;

pub fn command(make: &mut Make) -> Words {
    let key = make.key();
    match make.random.below(24) {
        0..=3 => set(make, key),
        4 => line!["GET", key],
        5 => line!["SETNX", key, make.value()],
        6 => line!["SETEX", key, make.lifetime_s(), make.value()],
        7 => line!["PSETEX", key, make.lifetime_ms(), make.value()],
        8 => line!["GETSET", key, make.value()],
        9 => line!["GETDEL", key],
        10 => {
            let mut command = line!["GETEX", key];
            match make.random.below(4) {
                0 => {}
                1 => command.push(b"PERSIST".to_vec()),
                _ => command.extend(make.lifetime_option()),
            }
            command
        }
        11 => [line!["MGET"], make.keys(4).into_iter().map(String::into_bytes).collect()].concat(),
        12 => many(make, "MSET"),
        13 => many(make, "MSETNX"),
        14 => line!["APPEND", key, make.value()],
        15 => line!["STRLEN", key],
        16 => line![make.pick(&["GETRANGE", "SUBSTR"]), key, make.index(), make.index()],
        17 => line!["SETRANGE", key, make.index(), make.value()],
        18 => line![make.pick(&["INCR", "DECR"]), key],
        19 | 20 => line![make.pick(&["INCRBY", "DECRBY"]), key, make.integer()],
        21 => line!["INCRBYFLOAT", key, make.float()],
        _ => lcs(make, key),
    }
}

fn set(make: &mut Make, key: String) -> Words {
    let mut command = line!["SET", key, make.value()];
    if make.chance(3) {
        command.push(make.pick(&["NX", "xx"]).into_bytes());
    }
    if make.chance(4) {
        command.push(b"GET".to_vec());
    }
    match make.random.below(6) {
        0 => command.extend(make.lifetime_option()),
        1 => command.push(b"KEEPTTL".to_vec()),
        _ => {}
    }
    command
}

fn many(make: &mut Make, name: &str) -> Words {
    let mut command = line![name];
    for key in make.keys(3) {
        command.extend(line![key, make.value()]);
    }
    command
}

fn lcs(make: &mut Make, key: String) -> Words {
    let mut command = line!["LCS", key, make.key()];
    match make.random.below(4) {
        0 => {}
        1 => command.push(b"LEN".to_vec()),
        _ => {
            command.push(b"IDX".to_vec());
            if make.chance(2) {
                command.extend(line!["MINMATCHLEN", make.count()]);
            }
            if make.chance(2) {
                command.push(b"WITHMATCHLEN".to_vec());
            }
        }
    }
    command
}
