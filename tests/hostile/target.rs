//! The server under attack: its memory, raw connections to it, and an honest client beside them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::client::{Client, Value};
use crate::support::{Options, PATIENCE, Server};

pub const MIB: u64 = 1 << 20;
/// What the process may take beyond what is bounded: pages that the allocator keeps, huge ones among them.
pub const SLACK: u64 = 48 * MIB;

pub struct Target {
    pub server: Server,
}

impl Target {
    pub fn start(directives: &[(&str, &str)]) -> Self {
        let mut options = Options::default().directive("appendfsync", "no");
        if !Self::is_redis() {
            options = options.directive("log-segment-size", "4mb");
        }
        let add = |options: Options, (name, value): &(&str, &str)| options.directive(name, value);
        Self { server: Server::start(directives.iter().fold(options, add)) }
    }

    /// Whether `DURAMEN_BIN` names redis-server, for comparison.
    pub fn is_redis() -> bool {
        Options::default().is_redis()
    }

    pub fn ask(&self, words: &[&str]) -> Value {
        self.server.client().call(words).expect("the server answers")
    }

    /// A number in INFO.
    pub fn number(&self, field: &str) -> u64 {
        self.server.number(field)
    }

    /// The largest the process has been since it began, in bytes of physical memory.
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// What the process has in physical memory now, in bytes. Asks the system, not the server.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    fn status(&self, field: &str) -> u64 {
        let pid = self.server.pid().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux tells it");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib << 10
    }

    pub fn raw(&self) -> TcpStream {
        let socket = TcpStream::connect(("127.0.0.1", self.server.port())).expect("it listens");
        socket.set_nodelay(true).expect("a connected socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a connected socket");
        socket.set_write_timeout(Some(PATIENCE)).expect("a connected socket");
        socket
    }

    /// `count` connections that the server knows of.
    pub fn raws(&self, count: usize) -> Vec<TcpStream> {
        let before = self.number("total_connections_received");
        let sockets = (0..count).map(|_| self.raw()).collect();
        // Each question is a connection too.
        self.wait_for("connections", || self.number("total_connections_received") > before + count as u64);
        sockets
    }

    pub fn wait_for(&self, what: &str, condition: impl FnMut() -> bool) {
        self.server.wait_for(what, condition);
    }

    /// Does `work` while an honest client sets and gets; it must have been answered, rightly, during all of it.
    pub fn beside_an_honest_client<T>(&self, work: impl FnOnce() -> T) -> T {
        let (done, answers) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            // A failed test must not wait for the honest client for ever.
            let _end = AtEnd(|| done.store(true, Ordering::SeqCst));
            let honest = scope.spawn(|| {
                let mut client = self.server.client();
                while !done.load(Ordering::SeqCst) {
                    let text = answers.load(Ordering::SeqCst).to_string();
                    assert_eq!(client.call(["SET", "honest", &text]).unwrap(), Value::ok());
                    assert_eq!(client.call(["GET", "honest"]).unwrap(), Value::bulk(&text));
                    answers.fetch_add(1, Ordering::SeqCst);
                }
            });
            let next_answer = || {
                let before = answers.load(Ordering::SeqCst);
                self.wait_for("an answer", || {
                    answers.load(Ordering::SeqCst) > before + 1 || honest.is_finished()
                });
            };
            next_answer();
            let result = work();
            next_answer();
            done.store(true, Ordering::SeqCst);
            honest.join().expect("the honest client is answered");
            result
        })
    }

    pub fn assert_peak_within(&self, before: u64, bound: u64) {
        let grown = self.peak().saturating_sub(before);
        eprintln!("grown by {:.1} MiB at the peak, bound {:.1}", mib(grown), mib(bound));
        assert!(grown <= bound + SLACK, "grown by {:.1} MiB, bound {:.1}", mib(grown), mib(bound));
    }
}

struct AtEnd<F: Fn()>(F);

impl<F: Fn()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}

pub fn number(client: &mut Client, field: &str) -> u64 {
    number_if_any(client, field).unwrap_or_else(|| panic!("INFO tells no number {field}"))
}

/// `None` if INFO doesn't tell it.
pub fn number_if_any(client: &mut Client, field: &str) -> Option<u64> {
    client.info_if_any(field)?.parse().ok()
}

/// Sends; that the server closes meanwhile is no error.
pub fn send(socket: &mut TcpStream, bytes: &[u8]) {
    if let Err(error) = socket.write_all(bytes) {
        assert_ne!(error.kind(), ErrorKind::WouldBlock, "the server reads no more");
    }
}

/// Reads up to and with the line end.
pub fn line(socket: &mut TcpStream) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n") {
        socket.read_exact(&mut byte).expect("a line comes");
        text.push(byte[0]);
    }
    String::from_utf8_lossy(text.trim_ascii_end()).into_owned()
}

/// Reads until the server closes; what came, at most its beginning.
pub fn rest(socket: &mut TcpStream) -> String {
    let (mut text, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        match socket.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&chunk[..count.min(4096usize.saturating_sub(text.len()))]),
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "not closed; it said {text:?}");
                break;
            }
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

pub fn is_answered(socket: &mut TcpStream) -> bool {
    send(socket, b"*1\r\n$4\r\nPING\r\n");
    line(socket) == "+PONG"
}

pub fn half_close(socket: &TcpStream) {
    socket.shutdown(Shutdown::Write).expect("a connected socket");
}
