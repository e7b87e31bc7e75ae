//! HyperLogLogs. Their bytes are compared by GET, like those of all strings.
//!
//! Other commands damage strings, and then redis-server keeps the elements of a PFADD before the one that it could not add: several elements
//! are added only to keys that are nobody else's.

use super::make::{Make, Words};
use crate::line;

const OWN_KEYS: &[&str] = &["visitors:1", "visitors:2", "visitors:3"];

pub fn command(make: &mut Make) -> Words {
    let is_own = make.chance(2);
    let key = if is_own { make.pick(OWN_KEYS) } else { make.key() };
    match make.random.below(16) {
        0..=4 => {
            let count = make.random.below(if is_own { 6 } else { 2 });
            add(make, key, count)
        }
        // Until it is dense.
        5 if is_own => add(make, key, 400),
        6 | 7 => line!["PFCOUNT", key],
        8 => with_keys(make, line!["PFCOUNT", key]),
        9 | 10 => with_keys(make, line!["PFMERGE", key]),
        11 => line!["PFMERGE", key],
        12 => line!["PFDEBUG", make.pick(&["DECODE", "ENCODING", "encoding", "NONE"]), key],
        13 if make.chance(4) => line!["PFDEBUG", make.pick(&["TODENSE", "GETREG"]), key],
        14 if !is_own && make.chance(4) => other(make, key),
        _ => line!["GET", key],
    }
}

fn add(make: &mut Make, key: String, count: u64) -> Words {
    let mut command = line!["PFADD", key];
    for _ in 0..count {
        let element =
            if make.chance(3) { make.value() } else { make.random.below(5000).to_string().into_bytes() };
        command.push(element);
    }
    command
}

fn with_keys(make: &mut Make, mut command: Words) -> Words {
    command.extend(make.keys(3).into_iter().map(String::into_bytes));
    command
}

/// Strings that are not quite HyperLogLogs, and cardinalities that were never counted.
fn other(make: &mut Make, key: String) -> Words {
    let header = |form: u8, cardinality: u8| {
        [b"HYLL".as_slice(), &[form, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, cardinality]].concat()
    };
    let registers: &[u8] = match make.random.below(6) {
        0 => b"\x7f\xff",
        1 => b"\x7f\xfe",
        2 => b"\x7f\xff\x00",
        3 => b"\x84\x7f\xfe",
        4 => b"",
        _ => b"\x7f\xfd\x80\xfc",
    };
    let form = make.random.below(3) as u8;
    let cardinality = make.pick(&["", "\u{1}"]).len() as u8 * 0x80;
    let mut string = header(form, cardinality);
    string.extend_from_slice(registers);
    if make.chance(4) {
        string = header(0, cardinality);
        let fill = make.random.next() as u8;
        string.resize(12304, fill);
    }
    line!["SET", key, string]
}
