//! Bitmap commands. Offsets are small or refused: a bit far out would make a string of half a gigabyte.

use super::make::{Make, Words};
use crate::line;

pub fn command(make: &mut Make) -> Words {
    let key = make.key();
    match make.random.below(9) {
        0 | 1 => line!["SETBIT", key, offset(make), bit(make)],
        2 => line!["GETBIT", key, offset(make)],
        3 => ranged(make, line!["BITCOUNT", key]),
        4 => {
            let bit = bit(make);
            ranged(make, line!["BITPOS", key, bit])
        }
        5 | 6 => {
            let mut command = line!["BITOP", make.pick(&["AND", "or", "XOR", "NOT"]), key];
            command.extend(make.keys(3).into_iter().map(String::into_bytes));
            command
        }
        7 => bitfield(make, line!["BITFIELD", key]),
        _ => {
            let mut command = line!["BITFIELD_RO", key];
            for _ in 0..make.random.below(3) {
                command.extend(line!["GET", encoding(make), field_offset(make)]);
            }
            command
        }
    }
}

fn offset(make: &mut Make) -> String {
    match make.random.below(20) {
        0 => make.pick(&["-1", "4294967296", "9223372036854775808", "x", ""]),
        _ => make.random.below(200).to_string(),
    }
}

fn bit(make: &mut Make) -> String {
    make.pick(&["0", "1", "0", "1", "0", "1", "0", "1", "2", "-1", "x"])
}

fn ranged(make: &mut Make, mut command: Words) -> Words {
    match make.random.below(4) {
        0 => {}
        1 => command.extend(line![make.index()]),
        2 => command.extend(line![make.index(), make.index()]),
        _ => command.extend(line![make.index(), make.index(), make.pick(&["BIT", "BYTE", "bit"])]),
    }
    command
}

fn encoding(make: &mut Make) -> String {
    match make.random.below(20) {
        0 => make.pick(&["u64", "i65", "u0", "x8", "8", "u", ""]),
        1 => make.pick(&["u63", "i64", "i1", "u1"]),
        _ => format!("{}{}", make.pick(&["u", "i"]), 1 + make.random.below(63)),
    }
}

fn field_offset(make: &mut Make) -> String {
    match make.random.below(20) {
        0 => make.pick(&["-1", "#-1", "#x", "x", "4294967296", "#4294967296"]),
        1..=5 => format!("#{}", make.random.below(8)),
        _ => make.random.below(150).to_string(),
    }
}

fn bitfield(make: &mut Make, mut command: Words) -> Words {
    for _ in 0..make.random.below(5) {
        let step = match make.random.below(6) {
            0 => line!["OVERFLOW", make.pick(&["WRAP", "sat", "FAIL", "SAT", "FAIL"])],
            1 => line!["GET", encoding(make), field_offset(make)],
            2 | 3 => line!["SET", encoding(make), field_offset(make), make.integer()],
            _ => line!["INCRBY", encoding(make), field_offset(make), make.integer()],
        };
        command.extend(step);
    }
    command
}
