//! List commands; the blocking ones only inside MULTI, where they don't block.

use super::make::{Make, Words};
use crate::line;

pub fn command(make: &mut Make) -> Words {
    let key = make.key();
    match make.random.below(24) {
        0..=4 => {
            let mut command = line![make.pick(&["LPUSH", "RPUSH", "RPUSH", "LPUSHX", "RPUSHX"]), key];
            for _ in 0..=make.random.below(5) {
                command.push(make.member());
            }
            command
        }
        5 | 6 => {
            let mut command = line![make.pick(&["LPOP", "RPOP"]), key];
            if make.chance(2) {
                command.extend(line![make.count()]);
            }
            command
        }
        7 => line!["LLEN", key],
        8 | 9 => line!["LRANGE", key, make.index(), make.index()],
        10 => line!["LINDEX", key, make.index()],
        11 | 12 => {
            line!["LINSERT", key, make.pick(&["BEFORE", "after", "MIDDLE"]), make.member(), make.member()]
        }
        13 => line!["LSET", key, make.index(), make.member()],
        14 => line!["LREM", key, make.index(), make.member()],
        15 => line!["LTRIM", key, make.index(), make.index()],
        16 | 17 => lpos(make, key),
        18 | 19 => line!["LMOVE", key, make.key(), side(make), side(make)],
        20 => line!["RPOPLPUSH", key, make.key()],
        21 => lmpop(make, line!["LMPOP"]),
        _ if make.in_multi => blocking(make, key),
        _ => line!["RPUSH", key, make.member(), make.member()],
    }
}

fn side(make: &mut Make) -> String {
    make.pick(&["LEFT", "RIGHT", "left", "right", "LEFT", "RIGHT", "UP"])
}

fn lpos(make: &mut Make, key: String) -> Words {
    let mut command = line!["LPOS", key, make.member()];
    for option in ["RANK", "COUNT", "MAXLEN"] {
        if make.chance(3) {
            let number = if option == "RANK" { make.index() } else { make.count() };
            command.extend(line![option, number]);
        }
    }
    command
}

fn lmpop(make: &mut Make, mut command: Words) -> Words {
    let keys = make.keys(3);
    let count = if make.chance(10) { make.count() } else { keys.len().to_string() };
    command.push(count.into_bytes());
    command.extend(keys.into_iter().map(String::into_bytes));
    command.push(side(make).into_bytes());
    if make.chance(2) {
        command.extend(line!["COUNT", make.count()]);
    }
    command
}

fn blocking(make: &mut Make, key: String) -> Words {
    let timeout = make.pick(&["0", "0.5", "1", "-1", "x", ""]);
    match make.random.below(4) {
        0 => line![make.pick(&["BLPOP", "BRPOP"]), key, make.key(), timeout],
        1 => line!["BLMOVE", key, make.key(), side(make), side(make), timeout],
        2 => line!["BRPOPLPUSH", key, make.key(), timeout],
        _ => lmpop(make, line!["BLMPOP", timeout]),
    }
}
