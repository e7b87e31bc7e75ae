//! The tools through the real binary: their exit codes, that they refuse a running server's directory, and that names of tools
//! win over files.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use support::client::{Client, Value};
use support::{Options, Server, program_under_test};

fn tool(args: &[&str], dir: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(program_under_test());
    command.args(args).arg(dir).args(more);
    command.output().expect("the binary runs")
}

fn code(args: &[&str], dir: &Path, more: &[&str]) -> i32 {
    tool(args, dir, more).status.code().expect("it ends by itself")
}

#[test]
fn exit_codes_tell_good_from_torn_from_damaged_from_unknown() {
    let mut server = Server::start(Options::default().directive("appendfsync", "always"));
    let dir = server.data_dir();
    let mut client = server.client();
    for i in 0..200 {
        client.call(["SET", &format!("key:{i}"), "value"]).expect("it answers");
    }
    drop(client);
    let in_use = tool(&["check"], &dir, &[]);
    assert_eq!(in_use.status.code(), Some(3));
    let told = String::from_utf8_lossy(&in_use.stderr).into_owned();
    assert!(told.contains("process") && told.contains("Stop the server"), "{told}");
    server.kill9();

    assert!(code(&["check"], &dir, &[]) <= 1);
    assert!(code(&["check", "--json"], &dir, &[]) <= 1);
    assert_eq!(code(&["inspect"], &dir, &["keys"]), 0);
    assert_eq!(code(&["check"], &dir, &["--no-such-option"]), 3);
    assert_eq!(code(&["check"], &dir.join("nothing"), &[]), 3);
    let dump = tool(&["dump", "--key", "key:7"], &dir, &[]);
    let text = String::from_utf8(dump.stdout).expect("lines are ASCII");
    assert!(text.ends_with("1/1 db0 SET key:7 value\n") && text.lines().count() == 1, "{text}");

    let copy = dir.with_file_name("copy");
    let copy_name = copy.to_str().expect("a path of ASCII");
    assert_eq!(code(&["repair", "--into", copy_name], &dir, &[]), 1);
    let mut logs: Vec<_> = fs::read_dir(dir.join("log")).unwrap().map(|e| e.unwrap().path()).collect();
    logs.sort();
    let mut bytes = fs::read(&logs[0]).unwrap();
    bytes[4096 + 80 + 3] ^= 1;
    fs::write(&logs[0], bytes).unwrap();
    assert_eq!(code(&["check"], &dir, &[]), 2);
    assert_eq!(code(&["dump"], &dir, &[]), 2);
    assert_eq!(code(&["repair"], &dir, &[]), 3, "neither --into nor --in-place");
    assert_eq!(code(&["repair", "--into", copy_name], &dir, &[]), 0);
    assert!(code(&["check"], &copy, &[]) <= 1);
    assert_eq!(code(&["check"], &dir, &[]), 2, "the source is as it was");
    assert_eq!(code(&["repair", "--in-place"], &dir, &[]), 0);
    assert!(code(&["check"], &dir, &[]) <= 1);
}

fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(program_under_test()).args(args).output().expect("the binary runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn wrong_arguments_are_answered_with_the_right_ones() {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (code, told) = run(&["chekc", "/tmp"]);
    assert!(code == Some(3) && told.contains("'check'") && told.contains("torture"), "{told}");
    let (code, told) = run(&["backup", "/nowhere", "--from", "127.0.0.1"]);
    assert!(code == Some(3) && told.contains("HOST:PORT"), "{told}");
    let (code, told) = run(&["backup", "/nowhere", "--unix", "no-such.sock"]);
    assert!(code == Some(3) && told.contains("/no-such.sock"), "{told}");
    let dir = home.to_str().expect("a path of UTF-8");
    let (code, told) = run(&["repair", dir]);
    assert!(code == Some(3) && told.contains("--into") && told.contains("--in-place"), "{told}");
    let (code, told) = run(&["repair", dir, "--into", "x", "--in-place"]);
    assert!(code == Some(3) && told.contains("cannot be used with"), "{told}");
    let help = Command::new(program_under_test()).arg("--help").output().expect("the binary runs");
    assert!(String::from_utf8_lossy(&help.stdout).contains("duramen torture"));
}

#[test]
fn nothing_is_left_where_nothing_was_made() {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nothing-left-{}", std::process::id()));
    fs::create_dir_all(&home).expect("the test directory is writable");
    let names = || fs::read_dir(&home).expect("it is there").count();
    let into = home.join("some/where");
    assert_eq!(restore(&home, &into, &["--to-lsn", "7"]).status.code(), Some(3));
    assert_eq!(code(&["repair", "--into", into.to_str().expect("UTF-8")], &home, &[]), 3);
    assert_eq!(code(&["repair", "--in-place"], &home, &[]), 3, "there is no store");
    assert_eq!(names(), 0, "not even a lock");
    let server = Server::start(Options::default().directive("rename-command", "BACKUP "));
    let address = format!("127.0.0.1:{}", server.port());
    let scratch = into.to_str().expect("UTF-8");
    let (code, told) = run(&["check", "--live", &address, "--scratch", scratch]);
    assert!(code == Some(3) && told.contains("rename-command BACKUP"), "{told}");
    let (code, told) = run(&["backup", scratch, "--from", &address]);
    assert!(code == Some(3) && told.contains("rename-command BACKUP"), "{told}");
    drop(server);
    let server = Server::start(Options::default());
    let address = format!("127.0.0.1:{}", server.port());
    let (code, told) = run(&["check", "--live", &address, "--scratch", scratch]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(names(), 0, "{told}");
    fs::remove_dir(&home).expect("it is empty");
}

fn restore(dir: &Path, into: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(program_under_test());
    command.arg("restore").arg("--from").arg(dir).arg("--into").arg(into).args(more);
    command.output().expect("the binary runs")
}

fn compact(client: &mut Client) {
    client.call(["BGSAVE"]).expect("it answers");
    while client.info("rdb_bgsave_in_progress") == "1" {
        std::thread::yield_now();
    }
    assert_eq!(client.info("rdb_last_bgsave_status"), "ok");
}

#[test]
fn a_mistake_is_undone_by_restoring_to_the_record_before_it() {
    let options = Options::default().directive("appendfsync", "always").directive("log-retain", "1d");
    let mut server = Server::start(options);
    let dir = server.data_dir();
    let mut client = server.client();
    for i in 0..50 {
        client.call(["SET", &format!("key:{i}"), "value"]).expect("it answers");
    }
    compact(&mut client);
    client.call(["SET", "last", "words"]).expect("it answers");
    let before = client.info("durable_lsn");
    client.call(["FLUSHALL"]).expect("it answers");
    client.call(["SET", "later", "on"]).expect("it answers");
    compact(&mut client);
    assert_eq!(client.info("oldest_restorable_lsn"), "0");
    assert!(client.info("snapshots_retained").parse::<u64>().expect("a number") > 0);
    let refused = client.call(["CONFIG", "SET", "log-retain", "86400"]).expect("it answers");
    assert!(
        matches!(&refused, Value::Error(text) if String::from_utf8_lossy(text).contains("without a unit"))
    );
    drop(client);
    let into = dir.with_file_name("restored");
    assert_eq!(restore(&dir, &into, &["--to-lsn", &before]).status.code(), Some(3), "a server has it open");
    server.kill9();
    fs::remove_dir_all(&into).ok();

    let made = restore(&dir, &into, &["--to-lsn", &before, "--json"]);
    let told = String::from_utf8_lossy(&made.stdout).into_owned();
    assert_eq!(made.status.code(), Some(0), "{told}{}", String::from_utf8_lossy(&made.stderr));
    assert!(told.contains("\"restored\":true") && told.contains("\"keys\":51"), "{told}");
    assert_eq!(code(&["check"], &into, &[]), 0);
    let keys = String::from_utf8(tool(&["dump", "--keys"], &into, &[]).stdout).expect("ASCII");
    assert!(keys.contains("SET last words") && keys.contains("key:49") && !keys.contains("later"), "{keys}");

    assert_eq!(restore(&dir, &into, &["--to-lsn", &before]).status.code(), Some(3), "not empty");
    let other = dir.with_file_name("other");
    let beyond = restore(&dir, &other, &["--to-lsn", "999999999"]);
    assert_eq!(beyond.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&beyond.stderr).contains("the log ends at LSN"));
    let early = restore(&dir, &other, &["--to-time", "2001-01-01"]);
    assert_eq!(early.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&early.stderr).contains("the oldest moment"));
    assert_eq!(restore(&dir, &other, &[]).status.code(), Some(3), "no moment");
    assert_eq!(restore(&dir, &other, &["--to-lsn", "1", "--to-time", "1"]).status.code(), Some(3));
    let late = restore(&dir, &other, &["--to-time", "2100-01-01"]);
    let told = String::from_utf8_lossy(&late.stderr).into_owned();
    assert!(late.status.code() == Some(3) && told.contains("the log ends at LSN"), "{told}");
    assert!(!other.exists(), "what was refused leaves no folder behind");
    let help = tool(&["restore", "--help"], Path::new("--help"), &[]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("log-retain"));
}

#[test]
fn a_damaged_snapshot_is_shown_and_salvaged_only_when_that_is_said() {
    let mut server = Server::start(Options::default().directive("appendfsync", "always"));
    let dir = server.data_dir();
    let mut client = server.client();
    for i in 0..200 {
        client.call(["SET", &format!("key:{i}"), "value"]).expect("it answers");
    }
    compact(&mut client);
    client.call(["SET", "last", "words"]).expect("it answers");
    drop(client);
    server.kill9();
    let shown = tool(&["inspect"], &dir, &["snapshots"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.code() == Some(0) && text.contains("current: ") && text.contains(" db0:"), "{text}");
    let rows = tool(&["dump", "--snapshot", "--key", "key:7"], &dir, &[]);
    let text = String::from_utf8_lossy(&rows.stdout).into_owned();
    assert!(text.ends_with(" 1/1 db0 SET key:7 value\n") && text.lines().count() == 1, "{text}");
    assert_eq!(code(&["dump", "--snapshot=x"], &dir, &[]), 3);
    assert_eq!(code(&["dump", "--snapshot", "--keys"], &dir, &[]), 3);

    let file = text.split(' ').next().expect("a path").to_owned();
    let mut bytes = fs::read(dir.join(&file)).expect("it is there");
    bytes[4096 + 20] ^= 1;
    fs::write(dir.join(&file), bytes).expect("it can be written");
    for (args, more) in
        [(&["check"][..], &[][..]), (&["inspect"], &["snapshots"]), (&["dump", "--snapshot"], &[])]
    {
        assert_eq!(code(args, &dir, more), 2, "{args:?}");
    }
    let copy = dir.with_file_name("salvaged");
    let copy_name = copy.to_str().expect("a path of ASCII");
    let refused = tool(&["repair", "--into", copy_name], &dir, &[]);
    let told = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(
        refused.status.code() == Some(3) && told.contains("repair --salvage") && told.contains(&file),
        "{told}"
    );
    let made = tool(&["repair", "--salvage", "--into", copy_name], &dir, &[]);
    let told = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(
        made.status.code() == Some(0) && told.contains("rows lost") && told.contains("repaired: "),
        "{told}"
    );
    assert_eq!(code(&["check"], &copy, &[]), 0);
    let keys = String::from_utf8_lossy(&tool(&["dump", "--keys"], &copy, &[]).stdout).into_owned();
    assert!(
        keys.contains("SET last words") && keys.lines().count() > 100 && !keys.contains("key:7 "),
        "{keys}"
    );
    assert_eq!(code(&["repair", "--in-place", "--salvage"], &dir, &[]), 0);
    assert_eq!(code(&["check"], &dir, &[]), 0);
}

/// The code of a library with one function, in several lines and with quotes in it.
fn library(name: &str, text: &str) -> String {
    format!(
        "#!lua name={name}\n-- \"of\" {name}\nredis.register_function('{name}_says', function() return '{text}' end)\n"
    )
}

fn listed(client: &mut Client) -> Value {
    let Value::Array(mut libraries) = client.call(["FUNCTION", "LIST", "WITHCODE"]).expect("it answers")
    else {
        panic!("no list")
    };
    libraries.sort();
    Value::Array(libraries)
}

#[test]
fn dumped_keys_make_the_libraries_of_functions_again_and_lost_ones_are_named() {
    let mut server = Server::start(Options::default().directive("appendfsync", "always"));
    let dir = server.data_dir();
    let mut client = server.client();
    for (name, text) in [("first", "old"), ("second", "2"), ("third", "3"), ("first", "1")] {
        let loaded = client.call(["FUNCTION", "LOAD", "REPLACE", &library(name, text)]).expect("it answers");
        assert_eq!(loaded, Value::bulk(name));
    }
    compact(&mut client);
    client.call(["FUNCTION", "LOAD", "REPLACE", &library("second", "two")]).expect("it answers");
    client.call(["FUNCTION", "DELETE", "third"]).expect("it answers");
    client.call(["SET", "key", "value"]).expect("it answers");
    let libraries = listed(&mut client);
    drop(client);
    server.kill9();

    let dumped = |more: &[&str]| {
        let out = tool(&["dump", "--keys"], &dir, more);
        assert_eq!(out.status.code(), Some(0));
        String::from_utf8(out.stdout).expect("lines are ASCII")
    };
    let text = dumped(&[]);
    assert_eq!(text.lines().count(), 3, "{text}");
    let other = Server::start(Options::default());
    let mut client = other.client();
    for line in text.lines() {
        let words = duramen::tools::words::split(line).expect("a line of words");
        assert!(!client.call(&words).expect("it answers").is_error(), "{line}");
    }
    assert_eq!(listed(&mut client), libraries);
    assert_eq!(client.call(["FCALL", "second_says", "0"]).expect("it answers"), Value::bulk("two"));
    assert_eq!(client.call(["GET", "key"]).expect("it answers"), Value::bulk("value"));
    let json = dumped(&["--json"]);
    let second =
        json.lines().find(|line| line.starts_with("{\"library\":\"second\",\"commands\":[[\"FUNCTION\","));
    assert!(second.is_some_and(|line| line.contains("return 'two'")) && json.lines().count() == 3, "{json}");
    // Libraries are in no database, and are wanted by their names.
    assert_eq!(dumped(&["--key", "key"]), "SET key value\n");
    let first = dumped(&["--key", "f*"]);
    assert!(first.starts_with("FUNCTION LOAD REPLACE ") && first.lines().count() == 1, "{first}");
    assert_eq!(dumped(&["--db", "0"]), "SET key value\n");

    // Behind damage in the log there are changes to libraries, which are no keys.
    server.restart();
    let mut client = server.client();
    for text in ["lost", "lost as well"] {
        client.call(["FUNCTION", "LOAD", "REPLACE", &library("fourth", text)]).expect("it answers");
    }
    client.call(["FUNCTION", "DELETE", "first"]).expect("it answers");
    client.call(["SET", "key", "lost"]).expect("it answers");
    drop(client);
    server.kill9();
    let mut logs: Vec<_> = fs::read_dir(dir.join("log")).unwrap().map(|e| e.unwrap().path()).collect();
    logs.sort();
    let needle = b"name=fourth";
    let (log, at) = logs
        .iter()
        .find_map(|log| {
            let bytes = fs::read(log).ok()?;
            Some((log, bytes.windows(needle.len()).position(|window| window == needle)?))
        })
        .expect("the record is in the log");
    let mut bytes = fs::read(log).unwrap();
    bytes[at] ^= 1;
    fs::write(log, bytes).unwrap();
    let copy = dir.with_file_name("copy");
    let copy_name = copy.to_str().expect("a path of ASCII");
    let repaired = tool(&["repair", "--into", copy_name], &dir, &[]);
    let told = String::from_utf8(repaired.stdout).expect("lines are ASCII");
    assert_eq!(repaired.status.code(), Some(0), "{told}");
    for line in
        ["changes lost: 1 to library fourth", "changes lost: 1 to library first", "changes lost: 1 to key"]
    {
        assert!(told.lines().any(|told| told == line), "{line:?}\n{told}");
    }
    assert!(told.contains("they change 1 keys and 2 libraries of functions\n"), "{told}");
    assert!(told.contains(" FUNCTION LOAD REPLACE ") && told.contains(" FUNCTION DELETE first\n"), "{told}");
    let json = dir.with_file_name("json");
    let repaired = tool(&["repair", "--json", "--into", json.to_str().expect("a path of ASCII")], &dir, &[]);
    let told = String::from_utf8(repaired.stdout).expect("lines are ASCII");
    assert!(
        told.contains("\"keys_lost_changes\":[\"key\"],\"libraries_lost_changes\":[\"first\",\"fourth\"]"),
        "{told}"
    );
}
