//! Backups of a server that clients write to, and the proof that its memory is what its disk says, through the real binary.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;

use support::client::Value;
use support::{Options, Server, program_under_test};

fn tool(args: &[&str]) -> Output {
    Command::new(program_under_test()).args(args).output().expect("the binary runs")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn address(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port())
}

/// Small segments and early compaction, so that both happen while the test runs.
fn options() -> Options {
    Options::default()
        .directive("enable-debug-command", "yes")
        .directive("log-segment-size", "1mb")
        .directive("auto-aof-rewrite-min-size", "1mb")
        .directive("io-threads", "2")
}

/// Clients that count: each has a counter of its own, and makes other keys beside.
struct Load {
    stop: Arc<AtomicBool>,
    /// The last number that each was told.
    acknowledged: Vec<Arc<AtomicI64>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(server: &Server, clients: usize) -> Self {
        let stop: Arc<AtomicBool> = Arc::default();
        let acknowledged: Vec<Arc<AtomicI64>> = (0..clients).map(|_| Arc::default()).collect();
        let run = |number: usize| {
            let (stop, acknowledged) = (stop.clone(), acknowledged[number].clone());
            let mut client = server.client();
            std::thread::spawn(move || {
                let counter = format!("counter:{number}");
                while !stop.load(Ordering::Relaxed) {
                    let Ok(Value::Integer(count)) = client.call(["INCR", &counter]) else { return };
                    acknowledged.store(count, Ordering::SeqCst);
                    let (key, value) = (format!("key:{}", count % 3000), "x".repeat(300));
                    let _ = client.call(["SET", &key, &value]);
                    let _ = client.call(["HSET", &format!("hash:{}", count % 50), &key, &counter]);
                    let _ = client.call(["RPUSH", &format!("list:{number}"), &key]);
                    if count % 7 == 0 {
                        let _ = client.call(["DEL", &key]);
                        let _ = client.call(["LTRIM", &format!("list:{number}"), "-100", "-1"]);
                    }
                }
            })
        };
        let threads = (0..clients).map(run).collect();
        Self { stop, acknowledged, threads }
    }

    fn numbers(&self) -> Vec<i64> {
        self.acknowledged.iter().map(|number| number.load(Ordering::SeqCst)).collect()
    }

    fn wait_for(&self, more: i64) {
        let goal: Vec<i64> = self.numbers().iter().map(|number| number + more).collect();
        while self.numbers().iter().zip(&goal).any(|(number, goal)| number < goal) {
            std::thread::yield_now();
        }
    }

    fn end(self) -> Vec<i64> {
        self.stop.store(true, Ordering::Relaxed);
        let numbers = self.acknowledged;
        self.threads.into_iter().for_each(|thread| thread.join().expect("a client does not fail"));
        numbers.iter().map(|number| number.load(Ordering::SeqCst)).collect()
    }
}

fn digest(server: &Server) -> Value {
    server.client().call(["DEBUG", "DIGEST"]).expect("it answers")
}

fn counters(server: &Server, count: usize) -> Vec<i64> {
    let mut client = server.client();
    let number = |i: usize| match client.call(["GET", &format!("counter:{i}")]).expect("it answers") {
        Value::Bulk(digits) => String::from_utf8_lossy(&digits).parse().expect("a counter is a number"),
        other => panic!("{other:?}"),
    };
    (0..count).map(number).collect()
}

/// A server that ended, and whose data directory is gone.
fn without_directory(server: Server) -> Server {
    let mut server = server;
    server.stop();
    fs::remove_dir_all(server.data_dir()).expect("it ended");
    server
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("the directory is there");
    entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_backup_under_write_load_starts_and_has_all_that_was_acknowledged_before() {
    const CLIENTS: usize = 3;
    let server = Server::start(options());
    let mut copies: Vec<Server> = (0..2).map(|_| without_directory(Server::start(options()))).collect();
    let load = Load::start(&server, CLIENTS);
    for (copy, more) in copies.iter().zip([&[][..], &["--copy", "--json"]]) {
        load.wait_for(1000);
        let before = load.numbers();
        let dir = copy.data_dir();
        let dir = dir.to_str().expect("a path of ASCII");
        let made = tool(&[&["backup", dir, "--from", &address(&server)], more].concat());
        let told = text(&made);
        assert_eq!(made.status.code(), Some(0), "{told}");
        let linked = if more.is_empty() { "0 copied" } else { "\"linked\":0" };
        assert!(told.contains(linked) && told.contains("good"), "{told}");
        assert_eq!(tool(&["check", dir]).status.code(), Some(0));
        load.wait_for(100);
        fs::write(Path::new(dir).with_file_name("before"), format!("{before:?}")).expect("a note");
    }
    let after = load.end();
    for copy in &mut copies {
        copy.restart();
        let before = fs::read_to_string(copy.data_dir().with_file_name("before")).expect("it was noted");
        let before: Vec<i64> =
            before.trim_matches(['[', ']']).split(", ").map(|n| n.parse().expect("a number")).collect();
        let found = counters(copy, CLIENTS);
        for ((before, found), after) in before.iter().zip(&found).zip(&after) {
            assert!(before <= found && found <= after, "{before} {found} {after}");
        }
        // It goes its own way from here.
        copy.client().call(["FLUSHALL"]).expect("it answers");
    }
    let mut copies = copies.into_iter();
    let mut copy = without_directory(copies.next().expect("two were made"));
    let dir = copy.data_dir();
    let dir = dir.to_str().expect("a path of ASCII");
    let made = tool(&["backup", dir, "--from", &address(&server)]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    copy.restart();
    assert_eq!(digest(&copy), digest(&server));
    let again = tool(&["backup", dir, "--from", &address(&server)]);
    assert!(again.status.code() == Some(3) && text(&again).contains("not empty"), "{}", text(&again));
}

#[test]
fn memory_is_what_the_disk_says_while_clients_write() {
    let mut server = Server::start(options().unix_socket());
    let load = Load::start(&server, 3);
    load.wait_for(500);
    let beside = server.data_dir().parent().expect("it has one").to_owned();
    let checked = tool(&["check", "--live", &address(&server)]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));
    assert!(
        text(&checked).starts_with("16384 slots") && text(&checked).ends_with("equal\n"),
        "{}",
        text(&checked)
    );
    let socket = server.socket_path();
    let scratch = beside.join("scratch");
    let args = [
        "check",
        "--live",
        socket.to_str().expect("ASCII"),
        "--scratch",
        scratch.to_str().expect("ASCII"),
        "--json",
    ];
    let checked = tool(&args);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));
    assert!(text(&checked).contains("\"verdict\":\"equal\""), "{}", text(&checked));
    load.end();
    let left: Vec<_> = names(&beside).into_iter().filter(|name| name.contains("check-live")).collect();
    assert!(left.is_empty() && !scratch.exists(), "{left:?}");
    let before = digest(&server);
    server.kill9();
    server.restart();
    assert_eq!(digest(&server), before, "the digest is that of the keys");
    server.stop();
    server.set_directive("enable-backup-command", "no");
    server.set_directive("enable-debug-command", "no");
    server.restart();
    for args in
        [&["check", "--live", &address(&server)][..], &["backup", "/nowhere", "--from", &address(&server)]]
    {
        let refused = tool(args);
        assert!(
            refused.status.code() == Some(3) && text(&refused).contains("not allowed"),
            "{}",
            text(&refused)
        );
    }
    assert_eq!(tool(&["check"]).status.code(), Some(3), "neither a directory nor --live");
}
