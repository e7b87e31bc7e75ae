//! The real process while a script runs for longer than `busy-reply-threshold`: what others get to hear, and how the script is ended.
//! With one worker the script keeps the only thread there is for connections; with more, those that wait for its keys.

mod support;

use std::time::Instant;

use support::client::{Client, Value};
use support::{Options, PATIENCE, Server};

const BUSY: &str = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
const ENDLESS: &str = "while true do end";
/// Catches every error there is.
const STUBBORN: &str = "while true do pcall(function() while true do end end) end";
/// They catch errors where Lua's hook does not look: in a coroutine that another has not resumed yet, in a handler, in ever new ones.
const OUT_OF_SIGHT: [&str; 3] = [
    "local function f() while true do pcall(function() while true do end end) end end
     local a, b = coroutine.create(f), coroutine.create(f) coroutine.resume(a) coroutine.resume(b)",
    "local function h() while true do end end while true do xpcall(function() while true do end end, h) end",
    "while true do coroutine.wrap(function() for i = 1, 20000 do end end)() end",
];
const WRITING: &str = "redis.call('set','written','1') while true do end";

fn server(workers: usize) -> Server {
    let options = Options::default().directive("busy-reply-threshold", "50");
    let server =
        if options.is_redis() { options } else { options.directive("io-threads", &workers.to_string()) };
    Server::start(server)
}

fn eval(client: &mut Client, script: &str) {
    client.queue(["EVAL", script, "0"]);
    client.flush().expect("the server lives");
}

fn error(value: &Value) -> String {
    match value {
        Value::Error(text) => String::from_utf8_lossy(text.as_ref()).into_owned(),
        other => panic!("{other:?} is no error"),
    }
}

/// Asks until the answer is that the server is busy.
fn wait_until_busy(client: &mut Client) {
    let began = Instant::now();
    loop {
        match client.call(["PING"]).expect("the server answers") {
            Value::Error(text) if String::from_utf8_lossy(text.as_ref()) == BUSY => return,
            _ => assert!(began.elapsed() < PATIENCE, "never busy"),
        }
    }
}

#[test]
fn nothing_that_a_script_catches_keeps_it_from_being_killed() {
    let server = server(1);
    let mut other = server.client();
    for script in OUT_OF_SIGHT {
        let mut runner = server.client();
        eval(&mut runner, script);
        wait_until_busy(&mut other);
        assert_eq!(other.call(["SCRIPT", "KILL"]).unwrap(), Value::ok());
        let told = error(&runner.receive().unwrap());
        assert!(told.starts_with("ERR Script killed by user with SCRIPT KILL... script: "), "{told}");
        assert_eq!(runner.call(["SET", "k", "v"]).unwrap(), Value::ok());
    }
}

#[test]
fn others_are_told_and_can_kill_it() {
    for workers in [1, 3] {
        let server = server(workers);
        let mut others: Vec<Client> = (0..6).map(|_| server.client()).collect();
        for (script, line) in [(ENDLESS, 1), (STUBBORN, 1), ("\n\nwhile true do redis.call('ping') end", 3)] {
            let mut runner = server.client();
            eval(&mut runner, script);
            for other in &mut others {
                wait_until_busy(other);
                assert_eq!(error(&other.call(["GET", "k"]).unwrap()), BUSY);
            }
            // Somebody new, too.
            let mut newcomer = server.client();
            wait_until_busy(&mut newcomer);
            assert_eq!(error(&newcomer.call(["SHUTDOWN"]).unwrap()), BUSY);
            assert_eq!(newcomer.call(["SCRIPT", "KILL"]).unwrap(), Value::ok());
            let told = error(&runner.receive().unwrap());
            assert!(told.starts_with("ERR Script killed by user with SCRIPT KILL... script: "), "{told}");
            assert!(told.ends_with(&format!(", on @user_script:{line}.")), "{told}");
            for client in others.iter_mut().chain([&mut runner, &mut newcomer]) {
                assert_eq!(client.call(["SET", "k", "v"]).unwrap(), Value::ok());
            }
        }
        assert!(error(&others[0].call(["SCRIPT", "KILL"]).unwrap()).starts_with("NOTBUSY"));
    }
}

/// Bytes that come in pieces, before, while and after the script runs, are neither lost nor put in another order.
#[test]
fn pipelines_of_others_keep_their_order() {
    for workers in [1, 3] {
        let server = server(workers);
        let mut runner = server.client();
        let mut others: Vec<Client> = (0..4).map(|_| server.client()).collect();
        for other in &mut others {
            other.call(["PING"]).unwrap();
        }
        eval(&mut runner, ENDLESS);
        let mut killer = server.client();
        wait_until_busy(&mut killer);
        for other in &mut others {
            // A whole request and half of the next.
            other.queue_raw(b"*2\r\n$4\r\nECHO\r\n$3\r\none\r\n*2\r\n$4\r\nEC");
            other.flush().unwrap();
            assert_eq!(error(&other.receive().unwrap()), BUSY);
        }
        assert_eq!(killer.call(["SCRIPT", "KILL"]).unwrap(), Value::ok());
        runner.receive().unwrap();
        for other in &mut others {
            other.queue_raw(b"HO\r\n$3\r\ntwo\r\n*2\r\n$4\r\nECHO\r\n$5\r\nthree\r\n");
            other.flush().unwrap();
            assert_eq!(other.receive().unwrap(), Value::bulk("two"));
            assert_eq!(other.receive().unwrap(), Value::bulk("three"));
        }
    }
}

#[test]
fn a_transaction_that_is_told_busy_is_not_executed() {
    let server = server(1);
    let (mut runner, mut other) = (server.client(), server.client());
    eval(&mut runner, ENDLESS);
    wait_until_busy(&mut other);
    assert_eq!(other.call(["MULTI"]).unwrap(), Value::ok());
    assert_eq!(error(&other.call(["SET", "a", "1"]).unwrap()), BUSY);
    assert!(error(&other.call(["EXEC"]).unwrap()).starts_with("EXECABORT"));
    assert_eq!(other.call(["SCRIPT", "KILL"]).unwrap(), Value::ok());
    runner.receive().unwrap();
    assert_eq!(other.call(["GET", "a"]).unwrap(), Value::NilBulk);
}

/// One that has written goes on. The server can be ended without it; then nothing of it is there after a restart.
#[test]
fn what_has_written_cannot_be_killed_but_the_server_can_be_ended() {
    for workers in [1, 3] {
        let mut server = server(workers);
        let (mut runner, mut other) = (server.client(), server.client());
        assert_eq!(other.call(["SET", "before", "1"]).unwrap(), Value::ok());
        eval(&mut runner, WRITING);
        wait_until_busy(&mut other);
        assert!(error(&other.call(["SCRIPT", "KILL"]).unwrap()).starts_with("UNKILLABLE"));
        other.queue(["SHUTDOWN", "NOSAVE"]);
        other.flush().unwrap();
        assert!(other.receive().is_err());
        if server.is_redis() {
            return;
        }
        server.stop();
        server.restart();
        let mut client = server.client();
        assert_eq!(
            client.call(["MGET", "before", "written"]).unwrap().items(),
            [Value::bulk("1"), Value::NilBulk]
        );
    }
}

/// Functions have a KILL of their own, and are there again afterwards.
#[test]
fn a_busy_function_is_told_of_and_can_be_killed() {
    const BUSY: &str =
        "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
    const CODE: &str = "#!lua name=loops\nredis.register_function('loop', function()\n while true do end end)
        redis.register_function('wait', function(k, a) redis.call('set', k[1], a[1]) while true do end end)
        redis.register_function('one', function() return 1 end)";
    for workers in [1, 3] {
        let server = server(workers);
        let (mut runner, mut other) = (server.client(), server.client());
        assert_eq!(runner.call(["FUNCTION", "LOAD", CODE]).unwrap(), Value::bulk("loops"));
        runner.queue(["FCALL", "loop", "1", "k", "word"]);
        runner.flush().expect("the server lives");
        let began = Instant::now();
        while !matches!(other.call(["PING"]).unwrap(), Value::Error(text) if text == BUSY.as_bytes()) {
            assert!(began.elapsed() < PATIENCE, "never busy");
        }
        assert_eq!(error(&other.call(["SCRIPT", "KILL"]).unwrap()), BUSY);
        assert_eq!(error(&other.call(["FUNCTION", "LIST"]).unwrap()), BUSY);
        let Value::Array(stats) = other.call(["FUNCTION", "STATS"]).unwrap() else { panic!("no array") };
        let Value::Array(running) = &stats[1] else { panic!("{stats:?}") };
        let command = ["FCALL", "loop", "1", "k", "word"].map(Value::bulk).to_vec();
        let expected = ["name", "loop", "command"].map(Value::bulk);
        assert_eq!((&running[..3], &running[3]), (&expected[..], &Value::Array(command)));
        assert_eq!(other.call(["FUNCTION", "KILL"]).unwrap(), Value::ok());
        let told = error(&runner.receive().unwrap());
        let expected = "ERR Script killed by user with SCRIPT KILL... script: loop, on @user_function:3.";
        assert_eq!(told, expected);
        for client in [&mut runner, &mut other] {
            assert_eq!(client.call(["FCALL", "one", "0"]).unwrap(), Value::Integer(1));
        }
        assert!(error(&other.call(["FUNCTION", "KILL"]).unwrap()).starts_with("NOTBUSY"));
    }
}
