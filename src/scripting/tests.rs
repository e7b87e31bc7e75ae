//! What cannot be seen from outside, or not at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use mlua::{Lua, UserData};

use crate::command::scripts::{Script, sha_of};
use crate::engine::rig::Rig;

use super::interpreter;

fn eval(rig: &mut Rig, script: &str) -> String {
    String::from_utf8_lossy(&rig.call(0, &[b"EVAL", script.as_bytes(), b"0"]).0).into_owned()
}

/// Tells when it is collected.
struct Canary(Arc<AtomicBool>);

impl UserData for Canary {}

impl Drop for Canary {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A chunk so long that it is not parsed without collecting, if that may be.
fn long_chunk() -> String {
    (0..2000).map(|n| format!("local function f{n}() return 'text number {n}' end f{n}()\n")).fold(
        String::new(),
        |mut all, line| {
            all.push_str("do ");
            all.push_str(&line);
            all.push_str(" end ");
            all
        },
    )
}

/// A state that collects as eagerly as it can, with a canary that nothing refers to.
fn eager_state() -> (Lua, Arc<AtomicBool>) {
    let lua = Lua::new();
    let collected = Arc::new(AtomicBool::new(false));
    drop(lua.create_userdata(Canary(collected.clone())).expect("a new state has room"));
    lua.load("collectgarbage('setpause', 0) collectgarbage('setstepmul', 100000)")
        .exec()
        .expect("it is right");
    (lua, collected)
}

/// CVE-2025-49844 needs a collection while the parser runs.
#[test]
fn nothing_is_collected_while_a_chunk_is_parsed() {
    let chunk = long_chunk();
    let (lua, collected) = eager_state();
    interpreter::parse(&lua, chunk.as_bytes(), "@name").expect("it is right");
    let by_us = collected.load(Relaxed);
    lua.gc_collect().expect("nothing that is collected fails");
    assert!(collected.load(Relaxed), "the collector works again afterwards");
    assert!(!by_us, "the parser was interrupted by the collector");

    // That the same chunk does collect where it may.
    let (lua, collected) = eager_state();
    lua.load(&chunk).into_function().expect("it is right");
    assert!(collected.load(Relaxed), "the chunk is too short to show anything");
}

#[test]
fn a_chunk_that_fails_leaves_the_collector_running() {
    let (lua, collected) = eager_state();
    assert!(interpreter::parse(&lua, b"this is not Lua", "@name").is_err());
    lua.load("local t for i = 1, 100000 do t = {i} end").exec().expect("it is right");
    assert!(collected.load(Relaxed));
}

#[test]
fn a_script_that_takes_too_much_memory_fails_and_others_go_on() {
    interpreter::forget();
    // The first that asks says how much there is.
    interpreter::get(32 << 20).expect("there is room");
    let mut rig = Rig::new();
    let greedy = "local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 1e5) .. i end";
    for _ in 0..3 {
        let reply = eval(&mut rig, greedy);
        assert!(reply.contains("not enough memory"), "{reply}");
        assert_eq!(eval(&mut rig, "return string.rep('y', 5)"), "$5\r\nyyyyy\r\n");
        let caught = format!("return {{pcall(function() {greedy} end)}}");
        let reply = eval(&mut rig, &caught);
        assert!(reply.contains("not enough memory") || reply == "*0\r\n", "{reply}");
    }
    interpreter::forget();
}

#[test]
fn scripts_leave_nothing_to_each_other() {
    let mut rig = Rig::new();
    for script in [
        "rawset(_G, 'left', 1)",
        "rawset(string, 'left', 1)",
        "rawset(redis, 'call', 1)",
        "table.insert(cjson, 'left')",
        "for _, name in ipairs({'stop', 'setpause', 'setstepmul'}) do collectgarbage(name, 0) end",
        "debug = 1",
        "getmetatable(_G).__index = nil",
        "getmetatable('').__index = nil",
        "KEYS = nil",
        "loadstring('left = 1')()",
        "setmetatable(string, {__index = {left = 1}})",
    ] {
        eval(&mut rig, script);
        let found = "return {tostring(rawget(_G, 'left')), tostring(string.left), type(redis.call), tostring(cjson[1]), ('x'):rep(2)}";
        assert_eq!(
            eval(&mut rig, found),
            "*5\r\n$3\r\nnil\r\n$3\r\nnil\r\n$8\r\nfunction\r\n$3\r\nnil\r\n$2\r\nxx\r\n",
            "after {script}"
        );
    }
}

#[test]
fn bytecode_is_never_loaded() {
    let mut rig = Rig::new();
    let reply = eval(&mut rig, "\u{1b}Lua");
    assert!(reply.starts_with("-ERR Error compiling script"), "{reply}");
    for script in ["return loadstring(string.dump(function() end))", "return loadstring('\\27LuaQ')"] {
        let reply = eval(&mut rig, script);
        assert!(reply.starts_with('-') || reply == "$-1\r\n", "{script}: {reply}");
    }
}

#[test]
fn a_script_is_one_record() {
    let mut rig = Rig::new();
    let appended = |rig: &mut Rig| {
        rig.settle();
        rig.server.store.get().expect("the rig opened it").log.info().records
    };
    let before = appended(&mut rig);
    eval(&mut rig, "for i = 1, 100 do redis.call('set', 'k' .. i, i) redis.call('incr', 'n') end");
    assert_eq!(appended(&mut rig), before + 1);
    eval(&mut rig, "return redis.call('get', 'n')");
    assert_eq!(appended(&mut rig), before + 1, "one that changes nothing is none");
}

#[test]
fn commands_inside_see_one_time_and_the_clock_for_time() {
    let mut rig = Rig::new();
    rig.run("SET k v PX 1000");
    let script = "local a = redis.call('pttl', 'k') local b = redis.call('pttl', 'k') return {a, b}";
    assert_eq!(eval(&mut rig, script), "*2\r\n:1000\r\n:1000\r\n");
}

#[test]
fn the_oldest_scripts_that_only_eval_brought_are_forgotten() {
    let mut rig = Rig::new();
    let kept = "return 'kept'";
    rig.call(0, &[b"SCRIPT", b"LOAD", kept.as_bytes()]);
    for n in 0..600 {
        eval(&mut rig, &format!("return {n}"));
    }
    let known = |source: &str| rig.server.scripts.get(&sha_of(source.as_bytes())).is_some();
    assert!(known(kept) && known("return 599") && known("return 100"));
    assert!(!known("return 0") && !known("return 99"));
}

#[test]
fn first_lines_are_read_as_redis_reads_them() {
    let flags = |source: &str| Script::new(source.as_bytes()).map(|script| script.flags);
    let read = flags("#!lua flags=no-writes,allow-oom\nreturn 1").expect("it is right");
    assert!(read.declared && read.no_writes && read.allow_oom);
    assert!(!flags("return 1").expect("there is none").declared);
    assert!(flags("#!lua flags=\n").is_ok() && flags("#!lua 'flags=no-writes'\n").is_ok());
    let empty = ["#!lua flags=no-writes,\n", "#!lua flags=,no-writes\n", "#!lua flags=,\n"];
    let others = ["#!lua", "#!perl\n", "#!lua flags=x\n", "#!lua what=x\n", "#!lua flags=\"no-writes\n"];
    for wrong in empty.into_iter().chain(others) {
        assert!(flags(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_first_line_of_a_library_is_split_like_a_line_of_the_configuration() {
    for right in
        ["#!lua name=a\n", "#!lua name=\"a\"\n", "#!lua name='a'\n", "#!lua NAME=a\n", "#!\"lua\" name=a\n"]
    {
        assert_eq!(super::library::header(right.as_bytes()).expect("it is right").0, "a", "{right}");
    }
    for wrong in ["#!lua name=\"a\n", "#!lua name=\"a\"b\n"] {
        let refused = super::library::header(wrong.as_bytes());
        assert!(refused.is_err_and(|error| error.text() == "ERR Invalid library metadata"), "{wrong}");
    }
}

#[test]
fn what_catches_errors_beside_pcall_gets_tables() {
    let mut rig = Rig::new();
    let handled = "return {xpcall(function() redis.call('nosuch') end, function(e) return type(e) end)}";
    assert_eq!(eval(&mut rig, handled), "*2\r\n$-1\r\n$5\r\ntable\r\n");
    let resumed = "return {coroutine.resume(coroutine.create(function() error({err='x'}) end))}";
    assert_eq!(eval(&mut rig, resumed), "*2\r\n$-1\r\n-x\r\n");
    let caught = "return {pcall(function() error({err=5}) end)}";
    assert_eq!(eval(&mut rig, caught), "*2\r\n$-1\r\n:5\r\n");
}

#[test]
fn small_things_of_scripts_are_as_with_redis() {
    let mut rig = Rig::new();
    for (script, expected) in [
        ("return redis.error_reply('-')", "-ERR \r\n"),
        ("return redis.error_reply('-X')", "-ERR X\r\n"),
        ("return redis.error_reply('-X y')", "-X y\r\n"),
        ("redis.log('1', 'y') redis.setresp(2.5) redis.set_repl(1.5) return 1", ":1\r\n"),
        ("local n = 0 for _ in pairs(coroutine) do n = n + 1 end return n", ":6\r\n"),
        ("local n = 0 table.foreach(bit, function() n = n + 1 end) return n > 0", ":1\r\n"),
        (
            "return {pcall(getmetatable)}",
            "*2\r\n$-1\r\n$50\r\nbad argument #1 to 'getmetatable' (value expected)\r\n",
        ),
    ] {
        assert_eq!(eval(&mut rig, script), expected, "{script}");
    }
    let none = "0".repeat(40);
    let reply = rig.call(0, &[b"EVALSHA", none.as_bytes(), b"x"]).0;
    assert!(reply.starts_with(b"-ERR value is not an integer"));
    assert!(rig.call(0, &[b"EVALSHA", &none.as_bytes()[1..], b"x"]).0.starts_with(b"-NOSCRIPT"));
}

/// A killed script has written nothing; one that has written is not killed.
#[test]
fn killing_and_writing_exclude_each_other() {
    let rig = Rig::new();
    let scripts = &rig.server.scripts;
    assert!(scripts.kill(false).is_err_and(|error| error.text().starts_with("NOTBUSY")));
    scripts.begin(false);
    assert!(scripts.kill(false).is_err_and(|error| error.text().starts_with("NOTBUSY")));
    scripts.note_busy();
    assert!(scripts.kill(true).is_err_and(|error| error.text().contains("SCRIPT KILL")));
    assert!(scripts.kill(false).is_ok() && scripts.is_killed());
    assert!(!scripts.note_write(), "it must not write any more");
    scripts.begin(true);
    scripts.note_busy();
    assert!(scripts.note_write());
    assert!(scripts.kill(true).is_err_and(|error| error.text().starts_with("UNKILLABLE")));
    assert!(!scripts.is_killed());
    scripts.end();
    assert!(!scripts.is_busy() && !scripts.is_running());
}

#[test]
fn a_script_may_not_grow_the_data_when_memory_is_short() {
    let mut rig = Rig::new();
    rig.run("SET k v");
    rig.run("CONFIG SET maxmemory 1");
    assert!(eval(&mut rig, "return redis.call('set', 'k', 'w')").starts_with("-OOM "));
    assert_eq!(eval(&mut rig, "return redis.call('get', 'k')"), "$1\r\nv\r\n");
    assert_eq!(eval(&mut rig, "#!lua flags=allow-oom\nreturn redis.call('set', 'k', 'w')"), "+OK\r\n");
}

/// On a stack as a worker's: tests have smaller ones.
fn on_a_workers_stack(test: impl FnOnce(&mut Rig) + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(super::STACK_BYTES);
        let thread = thread.spawn_scoped(scope, || test(&mut Rig::new())).expect("a thread may start");
        thread.join().expect("the test has passed");
    });
}

/// CVE-2025-46817.
#[test]
fn unpack_gives_no_more_values_than_there_are_places() {
    let mut rig = Rig::new();
    for range in ["0,2147483647", "-2147483648,2147483647", "1,8001", "1,1e9"] {
        let reply = eval(&mut rig, &format!("return select('#', unpack({{}},{range}))"));
        assert!(reply.contains("too many results to unpack"), "{range}: {reply}");
    }
    assert_eq!(eval(&mut rig, "return {unpack({1,2,3}, 2)}"), "*2\r\n:2\r\n:3\r\n");
    assert_eq!(eval(&mut rig, "return select('#', unpack({}, 1, 7000))"), ":7000\r\n");
    assert_eq!(eval(&mut rig, "return select('#', unpack({}, 2147483647, 2147483647))"), ":1\r\n");
}

#[test]
fn nothing_that_a_script_nests_outgrows_its_threads_stack() {
    let nested = "local function deep(n, work)
        if n == 0 then return work() end
        local result
        string.gsub('x', 'x', function() result = deep(n - 1, work) end)
        return result
    end
    local function table_of(n) local t = {} for _ = 2, n do t = {a = t} end return t end
    cjson.decode_max_depth(2147483647) cjson.encode_max_depth(2147483647) ";
    on_a_workers_stack(|rig| {
        for (work, expected) in [
            ("cjson.decode(string.rep('[', 900) .. string.rep(']', 900))", "+ok"),
            ("cjson.decode(string.rep('[', 6900) .. string.rep(']', 6900))", "+ok"),
            ("cjson.decode(string.rep('[', 20000))", "too many nested data structures"),
            ("cjson.encode(table_of(3400))", "+ok"),
            ("cjson.encode(table_of(20000))", "excessive nesting"),
            ("cmsgpack.unpack(string.rep('\\145', 500) .. '\\1')", "+ok"),
            ("string.find(string.rep('a', 30000), string.rep('a?', 30000))", "+ok"),
            ("string.find(string.rep('a', 64000), string.rep('a?', 64000))", "pattern too complex"),
            ("(''):gsub(string.rep('a*', 64000), '')", "pattern too complex"),
        ] {
            let script = format!("{nested} return deep(90, function() {work} return {{ok = 'ok'}} end)");
            let reply = eval(rig, &script);
            assert!(reply.contains(expected), "{work}: {reply}");
        }
    });
    interpreter::forget();
}

#[test]
fn what_scripts_leave_is_collected_and_told() {
    interpreter::forget();
    let mut rig = Rig::new();
    eval(&mut rig, "local t = {} for i = 1, 100000 do t[i] = 'text ' .. i end return #t");
    let interpreter = interpreter::current().expect("a script has run");
    assert!(interpreter.lua.used_memory() < 4 << 20, "{}", interpreter.lua.used_memory());
    assert!(crate::memory_gauge::scripts() >= interpreter.lua.used_memory() as u64);
}

#[test]
fn a_map_of_more_pairs_than_there_are_handles_is_packed() {
    let mut rig = Rig::new();
    let script = "local t = {} for i = 1, 9000 do t['k' .. i] = 'v' .. i end
        local n = 0 for k, v in pairs(cmsgpack.unpack(cmsgpack.pack(t))) do n = n + 1 end return n";
    assert_eq!(eval(&mut rig, script), ":9000\r\n");
}

#[test]
fn results_and_texts_that_grow_out_of_small_tables_end() {
    let mut rig = Rig::new();
    let doubled = "local t = {string.rep('x', 1000)} for _ = 1, 27 do t = {t, t} end";
    let reply = eval(&mut rig, &format!("{doubled} return t"));
    let start = &reply[..100.min(reply.len())];
    assert!(start.starts_with("-ERR the result of the script is longer"), "{start}");
    for encode in ["cjson.encode(t)", "cjson.encode({string.rep('\\1', 2e8)})"] {
        let reply = eval(&mut rig, &format!("{doubled} return {encode}"));
        assert!(reply.contains("not enough memory"), "{encode}");
    }
    interpreter::forget();
}
