//! Hash commands that redis-server 7.0 knows.

use super::make::{Make, Words};
use crate::line;

pub fn command(make: &mut Make) -> Words {
    let key = make.key();
    match make.random.below(22) {
        0..=4 => {
            let mut command = line![make.pick(&["HSET", "HSET", "HMSET"]), key];
            for _ in 0..=make.random.below(4) {
                command.extend(line![make.member(), make.value()]);
            }
            command
        }
        5 => line!["HSETNX", key, make.member(), make.value()],
        6 => line!["HGET", key, make.member()],
        7 => with_fields(make, line!["HMGET", key]),
        8 | 9 => with_fields(make, line!["HDEL", key]),
        10 => line!["HLEN", key],
        11 => line!["HEXISTS", key, make.member()],
        12 => line!["HSTRLEN", key, make.member()],
        13 => line!["HGETALL", key],
        14 => line![make.pick(&["HKEYS", "HVALS"]), key],
        15 | 16 => line!["HINCRBY", key, make.member(), make.integer()],
        17 => line!["HINCRBYFLOAT", key, make.member(), make.float()],
        18 | 19 => {
            let mut command = line!["HRANDFIELD", key];
            if make.chance(2) {
                command.extend(line![make.count()]);
                if make.chance(2) {
                    command.extend(line!["WITHVALUES"]);
                }
            }
            command
        }
        _ => {
            let mut command = line!["HSCAN", key, "0"];
            if make.chance(2) {
                command.extend(line!["MATCH", make.pick(&["*", "m*", "m[0-3]", "nothing*"])]);
            }
            if make.chance(3) {
                command.extend(line!["COUNT", make.count()]);
            }
            command
        }
    }
}

fn with_fields(make: &mut Make, mut command: Words) -> Words {
    for _ in 0..=make.random.below(4) {
        command.push(make.member());
    }
    command
}
