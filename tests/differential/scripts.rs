//! Scripts: values of Lua through the libraries, and commands called from programs.
//!
//! Programs are made whole and not disturbed: half of one would only compare the texts of a parser that both servers share.

use super::make::{Make, Words};
use crate::line;

const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "1",
    "-1",
    "2.5",
    "1e15",
    "1e14",
    "123456789012345",
    "0.1",
    "1/3",
    "-1e-7",
    "1e300",
    "2^31",
    "2^32",
    "2^53",
    "2^63",
    "-2^31",
    "-2^63",
    "255",
    "256",
    "65535",
    "65536",
    "1/0",
    "-1/0",
    "127",
    "128",
    "-32",
    "-33",
    "-128",
    "-129",
    "-32768",
    "-32769",
];
/// Those that Redis 7.0 writes with seventeen digits as 7.2 does with as few as it takes.
const SHORT: &[&str] = &["0", "-0", "1", "-1", "2.5", "1e14", "1e20", "2^31", "2^53", "-129"];
const PIECES: &[&str] =
    &["a", "b", "\\0", "\\n", "\\\"", "\\\\", "/", "\\127", "\\200", "é", "x", "\\t", "\\1"];
/// Tables that are both list and map, or neither.
const ODD: &[&str] = &[
    "{}",
    "{{}}",
    "{1,2,nil,4}",
    "{[1]=1,[3]=3}",
    "{[1]=1,[20]=2}",
    "{[1.5]=2}",
    "{[-1]=1}",
    "{[true]=1}",
    "function() end",
];
const JSON: &[&str] = &[
    "{",
    "}",
    "[1,2",
    "[1,,2]",
    "{\"a\":1,}",
    "\"abc",
    "\"\\\\u00e9\"",
    "\"\\\\ud83d\\\\ude00\"",
    "\"\\\\ud83d\"",
    "\"\\\\x\"",
    "nul",
    "null",
    "true",
    "[true,false,null]",
    "01",
    "0x1f",
    "-",
    "1e5",
    "1e",
    "1.",
    ".5",
    "-inf",
    "nan",
    "NaN",
    "Infinity",
    "[1] x",
    "{\"a\" 1}",
    "{1:2}",
    "",
    "  ",
    "[[[[]]]]",
    "{\"a\":{\"b\":[1,2,{\"c\":null}]}}",
    "\"\\\\/\"",
    "\"a\\\\nb\"",
    "[1.5,-2.25,1e100]",
    "\\0[",
    "\"\\\\u12\"",
    "123abc",
    "+1",
    "tru",
    "[}",
    "{\"a\":}",
    "\"\\\\u0000\"",
];
/// No integer is wider than eight bytes: what the C code makes of one it shifts too far depends on its compiler.
const FORMATS: &[&str] = &[
    ">I2", "<i4", "!8bi8", "bBhHlLT", "c3", "c0", "i1c0", "s", "sx", "d", "f", ">d", "i33", "!3i4", "z",
    "i0", "I5", "i8", ">i3", "!bl", "!4bd", "c", "s s", "xx", " i ", "hc0s", ">!2 h i",
];
const BITS: &[&str] =
    &["tobit", "bnot", "bswap", "band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror", "tohex"];

pub fn command(make: &mut Make) -> Words {
    make.plain = true;
    let name = if make.chance(6) { "EVAL_RO" } else { "EVAL" };
    match make.random.below(20) {
        0..=13 => line![name, library(make), "0"],
        14..=17 => calls(make),
        18 => line!["SCRIPT", "LOAD", format!("return {}", number(make))],
        _ => line!["EVALSHA", "f".repeat(40), "0"],
    }
}

fn number(make: &mut Make) -> String {
    match make.random.below(10) {
        0 => make.random.within(-1_000_000..1_000_000).to_string(),
        1 => format!("{}", make.random.within(-1_000_000..1_000_000) as f64 / 1024.0),
        _ => make.pick(NUMBERS),
    }
}

fn string(make: &mut Make) -> String {
    let text: String = (0..make.random.below(7)).map(|_| make.pick(PIECES)).collect();
    format!("\"{text}\"")
}

fn value(make: &mut Make, depth: usize) -> String {
    match make.random.below(20) {
        0..=5 => number(make),
        6..=9 => string(make),
        10 | 11 => make.pick(&["true", "false", "nil", "cjson.null"]),
        12 => make.pick(ODD),
        _ if depth > 3 => make.pick(ODD),
        13..=16 => format!("{{{}}}", values(make, 0..5, depth + 1)),
        // One field, since the order of several is a matter of addresses.
        _ => format!("{{{}={}}}", make.pick(&["a", "b"]), value(make, depth + 1)),
    }
}

fn values(make: &mut Make, count: std::ops::Range<i64>, depth: usize) -> String {
    let count = make.random.within(count);
    (0..count).map(|_| value(make, depth)).collect::<Vec<_>>().join(",")
}

fn plain_values(make: &mut Make, count: std::ops::Range<i64>) -> String {
    let count = make.random.within(count);
    let one = |make: &mut Make| if make.chance(4) { string(make) } else { number(make) };
    (0..count).map(|_| one(make)).collect::<Vec<_>>().join(",")
}

/// A program that uses one of the libraries.
fn library(make: &mut Make) -> String {
    match make.random.below(20) {
        0..=3 => format!("return cjson.encode({})", value(make, 0)),
        4..=6 => format!(
            "local ok,r=pcall(cjson.decode,'{}') if type(r)=='table' then r=cjson.encode(r) end return {{tostring(ok),tostring(r)}}",
            make.pick(JSON)
        ),
        7 => format!("return cjson.decode('{}')", make.pick(JSON)),
        8..=10 => format!("return cmsgpack.pack({})", values(make, 0..4, 0)),
        11 => format!(
            "local t={{cmsgpack.unpack(cmsgpack.pack({}))}} return cjson.encode(t)",
            values(make, 1..4, 0)
        ),
        12 => {
            let (limit, offset) = (make.random.within(-1..5), make.random.within(-1..9));
            format!("return {{cmsgpack.unpack_limit(cmsgpack.pack(1,2,\"a\"),{limit},{offset})}}")
        }
        13 => {
            let bytes: String =
                (0..make.random.below(7)).map(|_| format!("\\{}", make.random.below(256))).collect();
            format!("return {{pcall(cmsgpack.unpack,\"{bytes}\")}}")
        }
        14 | 15 => {
            let format = make.pick(FORMATS);
            format!(
                "local r={{}} for i,v in ipairs({{struct.unpack('{format}',struct.pack('{format}',{}))}}) do r[i]=tostring(v) end return r",
                plain_values(make, 0..8)
            )
        }
        16 => format!("return struct.pack('{}',{})", make.pick(FORMATS), plain_values(make, 1..8)),
        17 => format!("return struct.size('{}')", make.pick(FORMATS)),
        18 => format!("return tostring(bit.{}({}))", make.pick(BITS), plain_values(make, 0..4)),
        _ => format!("return {}", value(make, 0)),
    }
}

/// A program that calls commands on keys that the other generators use, too.
fn calls(make: &mut Make) -> Words {
    let (key, other) = (make.key(), make.key());
    let call = make.pick(&["call", "pcall"]);
    let program = match make.random.below(10) {
        0 => format!("return redis.{call}('incrby',KEYS[1],ARGV[1])"),
        1 => format!("redis.{call}('rpush',KEYS[1],ARGV[1]) return redis.{call}('lrange',KEYS[2],0,-1)"),
        2 => format!("local t=redis.{call}('type',KEYS[1]) return t.ok"),
        3 => format!("redis.{call}('set',KEYS[1],{}) return redis.{call}('get',KEYS[1])", make.pick(SHORT)),
        4 => "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end"
            .to_owned(),
        5 => format!("redis.setresp(3) return redis.{call}('zscore',KEYS[1],'m1')"),
        6 => "local ok,e=pcall(redis.call,'lpush',KEYS[1],ARGV[1]) return {tostring(ok),tostring(e)}"
            .to_owned(),
        7 => format!("return redis.{call}('rename',KEYS[1],KEYS[2])"),
        // Of a key that is never there: only one of the servers would take something.
        8 => format!("return redis.{call}('{}','nobody',0)", make.pick(&["blpop", "brpop", "bzpopmin"])),
        _ => format!("return {{redis.{call}('exists',KEYS[1]),redis.{call}('strlen',KEYS[2])}}"),
    };
    line!["EVAL", program, "2", key, other, make.value()]
}
