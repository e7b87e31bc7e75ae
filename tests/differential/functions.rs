//! Libraries of functions: loaded, replaced, restored from what redis-server dumped, listed, deleted; and called with right and wrong
//! arguments.
//!
//! Few names of libraries and of functions, so that they collide. Code is made whole and not disturbed, as in `scripts.rs`.

use super::make::{Make, Words};
use crate::line;

pub const LIBRARIES: &[&str] = &["la", "lb", "lc", "Ld"];
const FUNCTIONS: &[&str] = &["f", "g", "h", "i", "j", "set1", "get1"];
const NONE: &[&str] = &["nope", "F", "", "f g", "la"];
/// Stands for what redis-server's last FUNCTION DUMP replied.
pub const DUMPED: &str = "<dumped>";

/// Bodies of functions of `keys` and `args`.
const BODIES: &[&str] = &[
    "return 1",
    "return {#keys, #args, args[1] or 'none'}",
    "return keys",
    "return args",
    "return redis.call('set', keys[1], args[1] or 'x')",
    "return redis.call('get', keys[1])",
    "redis.call('rpush', keys[1], args[1]) return redis.call('llen', keys[1])",
    "return redis.pcall('incrby', keys[1], args[1])",
    "return redis.call('exists', unpack(keys))",
    "return redis.error_reply('MY error')",
    "return redis.status_reply('fine')",
    "return redis.call('nosuch')",
    "error('boo')",
    "return nowhere",
    "count = 1",
    "return {1, 2.9, 'x', true, false, {}, {'y'}}",
    "redis.setresp(3) return redis.call('hgetall', keys[1])",
    "return KEYS",
    "return redis.call('del', keys[1]) + redis.call('exists', keys[1])",
    "return tostring(redis.call('type', keys[1]).ok)",
];
const FLAGS: &[&str] =
    &["no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys", "nonsense"];
/// Code that is refused, or registers nothing.
const WRONG: &[&str] = &[
    "return 1",
    "#!lua\nreturn 1",
    "#!lua name=la",
    "#!lua name=la\n",
    "#!lua name=l-a\nredis.register_function('f', function() end)",
    "#!lua name=la extra=1\nredis.register_function('f', function() end)",
    "#!lua name=la name=lb\nredis.register_function('f', function() end)",
    "#!js name=la\nx",
    "#!lua name=la\nsyntax error",
    "#!lua name=la\nredis.register_function('f')",
    "#!lua name=la\nredis.register_function('f', 1)",
    "#!lua name=la\nredis.register_function('f-g', function() end)",
    "#!lua name=la\nredis.register_function{function_name='f'}",
    "#!lua name=la\nredis.register_function{function_name='f', callback=function() end, nonsense=1}",
    "#!lua name=la\nredis.register_function{function_name='f', callback=function() end, flags={1}}",
    "#!lua name=la\nredis.register_function{function_name='f', callback=function() end, description=1}",
    "#!lua name=la\nredis.call('set', 'a', '1')",
    "#!lua name=la\nx = 1",
    "#!lua name=la\nredis.register_function('f', function() end) redis.register_function('f', function() end)",
];

pub fn command(make: &mut Make) -> Words {
    let command = match make.random.below(40) {
        0..=9 => {
            make.plain = true;
            load(make)
        }
        10..=26 => call(make),
        27 | 28 => line!["FUNCTION", "DELETE", library(make)],
        29..=32 => list(make),
        33 => line!["FUNCTION", "STATS"],
        34 | 35 => line!["FUNCTION", "DUMP"],
        36 | 37 => restore(make),
        38 => match make.pick(&["", "SYNC", "ASYNC", "now"]).as_str() {
            "" => line!["FUNCTION", "FLUSH"],
            how => line!["FUNCTION", "FLUSH", how],
        },
        _ => line!["FUNCTION", make.pick(&["KILL", "NOSUCH", "delete", "stats"])],
    };
    // What a list is compared by is its subcommand; a payload stays in its place.
    make.plain |=
        command[0] == b"FUNCTION" && !make.chance(10) || command.iter().any(|word| word == DUMPED.as_bytes());
    command
}

fn library(make: &mut Make) -> String {
    if make.chance(8) { make.pick(NONE) } else { make.pick(LIBRARIES) }
}

fn load(make: &mut Make) -> Words {
    let code = if make.chance(6) { make.pick(WRONG) } else { code(make) };
    match make.random.below(12) {
        0..=3 => line!["FUNCTION", "LOAD", code],
        4 => line!["FUNCTION", "LOAD", make.pick(&["NX", "REPLACED", ""]), code],
        5 => line!["FUNCTION", "LOAD", "replace", code, "x"],
        _ => line!["FUNCTION", "LOAD", "REPLACE", code],
    }
}

fn code(make: &mut Make) -> String {
    let mut code = format!("#!lua name={}\n", make.pick(LIBRARIES));
    if make.chance(3) {
        code.push_str("local function own(keys, args) return {keys[1], args[1]} end\n");
        code.push_str(&format!("redis.register_function('{}', own)\n", make.pick(FUNCTIONS)));
    }
    for _ in 0..make.random.within(1..4) {
        let (name, body) = (make.pick(FUNCTIONS), make.pick(BODIES));
        let callback = format!("function(keys, args) {body} end");
        if make.chance(2) {
            code.push_str(&format!("redis.register_function('{name}', {callback})\n"));
            continue;
        }
        let mut named = format!("function_name='{name}', callback={callback}");
        if make.chance(3) {
            named.push_str(&format!(", description='{}'", make.pick(&["", "says something", "d"])));
        }
        // One flag, since several are shown in each server's own order.
        if make.chance(2) {
            let flag = if make.chance(2) { "no-writes".to_owned() } else { make.pick(FLAGS) };
            named.push_str(&format!(", flags={{'{flag}'}}"));
        }
        code.push_str(&format!("redis.register_function{{{named}}}\n"));
    }
    code
}

fn call(make: &mut Make) -> Words {
    let name = if make.chance(12) { make.pick(NONE) } else { make.pick(FUNCTIONS) };
    let mut words = line![if make.chance(4) { "FCALL_RO" } else { "FCALL" }, name];
    let (keys, args) = (make.random.below(3), make.random.below(3));
    let count = if make.chance(10) {
        make.pick(&["-1", "x", "9", "", "1.5", "99999999999999999999"])
    } else {
        keys.to_string()
    };
    words.push(count.into_bytes());
    words.extend((0..keys).map(|_| make.key().into_bytes()));
    words.extend((0..args).map(|_| make.value()));
    words
}

fn list(make: &mut Make) -> Words {
    let mut words = line!["FUNCTION", "LIST"];
    if make.chance(2) {
        words.extend(line!["LIBRARYNAME", make.pick(&["la", "l*", "L?", "*", "x", "[la]b"])]);
    }
    if make.chance(2) {
        words.push(make.pick(&["WITHCODE", "withcode"]).into_bytes());
    }
    if make.chance(10) {
        words.push(make.pick(&["LIBRARYNAME", "WITHCODE", "x"]).into_bytes());
    }
    words
}

fn restore(make: &mut Make) -> Words {
    let payload = if make.chance(8) { "nonsense".to_owned() } else { DUMPED.to_owned() };
    match make.pick(&["", "", "FLUSH", "APPEND", "REPLACE", "replace", "x"]).as_str() {
        "" => line!["FUNCTION", "RESTORE", payload],
        policy => line!["FUNCTION", "RESTORE", payload, policy],
    }
}
