//! A server whose disk has faults on demand, by `shim.c`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::support::client::{Client, Value};
use crate::support::{Options, Server};

/// The `log-io` that goes through libc, where the shim stands.
const PLAIN_SYSTEM_CALLS: &str = "buffered";
/// How long to look for a reply that must not come. A server that works never sends it, however long one looks.
const GLIMPSE: Duration = Duration::from_millis(60);

#[derive(Debug, Clone, Copy)]
pub enum Fault {
    SyncFails,
    SyncIsStuck,
    NoSpace,
}

impl Fault {
    const fn file(self) -> &'static str {
        match self {
            Self::SyncFails => "sync_fails",
            Self::SyncIsStuck => "sync_is_stuck",
            Self::NoSpace => "no_space",
        }
    }
}

pub struct Faulty {
    pub server: Server,
    control: PathBuf,
}

fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (library, fresh) =
            (folder.join("fault-shim.so"), folder.join(format!("shim-{}", std::process::id())));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&fresh).arg(source).arg("-ldl");
        let status = compiler.status().expect("a C compiler is there wherever Rust links");
        assert!(status.success(), "the shim does not compile");
        // Another run of the tests may be using the old one.
        fs::rename(&fresh, &library).expect("the test directory is writable");
        library
    })
}

impl Faulty {
    pub fn start(appendfsync: &str) -> Self {
        Self::start_with(appendfsync, Options::default())
    }

    pub fn start_with(appendfsync: &str, options: Options) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let control = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let control = control.join(format!("faults-{}-{serial}", std::process::id()));
        let _ = fs::remove_dir_all(&control); // left by an earlier process of the same id
        fs::create_dir_all(&control).expect("the test directory is writable");
        let options = options
            .directive("appendfsync", appendfsync)
            .directive("log-io", PLAIN_SYSTEM_CALLS)
            .directive("log-segment-size", "1mb")
            .environment("LD_PRELOAD", shim())
            .environment("FAULT_DIR", &control);
        let faulty = Self { server: Server::start(options), control };
        // From here on only the log's own writes and syncs meet faults.
        faulty.server.wait_for_prepared_segments();
        faulty
    }

    pub fn client(&self) -> Client {
        self.server.client()
    }

    pub fn begin(&self, fault: Fault) {
        if matches!(fault, Fault::NoSpace) {
            // After a pause the log writes by itself how far it synced. The test means to be the first whom the fault meets.
            self.wait_for("a quiet log", || self.number("append_lsn") == self.number("log_witnessed_lsn"));
        }
        fs::write(self.control.join(fault.file()), "").expect("the test directory is writable");
    }

    pub fn end(&self, fault: Fault) {
        fs::remove_file(self.control.join(fault.file())).expect("the fault was begun");
        let _ = fs::remove_file(self.control.join("somebody_waits"));
    }

    /// Returns when a sync is under way that will not end.
    pub fn wait_until_a_sync_is_stuck(&self) {
        self.wait_for("a stuck sync", || self.control.join("somebody_waits").exists());
    }

    pub fn wait_for(&self, what: &str, condition: impl FnMut() -> bool) {
        self.server.wait_for(what, condition);
    }

    pub fn info(&self, field: &str) -> String {
        self.server.info(field)
    }

    pub fn number(&self, field: &str) -> u64 {
        self.server.number(field)
    }

    /// The syncs and renames so far, in order: `sync log/00000001.log`, `rename MANIFEST-a`, `sync .` (the data directory).
    pub fn trace(&self) -> Vec<String> {
        let text = fs::read_to_string(self.control.join("trace")).expect("the shim writes it");
        let root = fs::canonicalize(self.server.data_dir()).expect("the data directory is there");
        let root = root.to_str().expect("the test directory's name is text");
        let line = |line: &str| line.replace(&format!("{root}/"), "").replace(root, ".");
        text.lines().map(line).collect()
    }

    /// How often a command has been executed.
    pub fn calls(&self, command: &str) -> u64 {
        let line = self.client().info_if_any(&format!("cmdstat_{command}"));
        let calls = line
            .as_deref()
            .unwrap_or_default()
            .strip_prefix("calls=")
            .and_then(|rest| rest.split(',').next()?.parse().ok());
        calls.unwrap_or(0)
    }

    /// Sends a command on a connection of its own; returns when it was executed, answered or not.
    pub fn send(&self, words: &[&str]) -> Client {
        let mut client = self.client();
        self.send_on(&mut client, words);
        client
    }

    pub fn send_on(&self, client: &mut Client, words: &[&str]) {
        let name = words[0].to_ascii_lowercase();
        let before = self.calls(&name);
        client.queue(words);
        client.flush().expect("a running server takes requests");
        self.wait_for(&format!("{words:?} to be executed"), || self.calls(&name) > before);
    }

    /// A connection whose replies are held at the level of `always`.
    pub fn careful_client(&self) -> Client {
        let mut client = self.client();
        assert_eq!(client.call(["CLIENT", "DURABILITY", "always"]).unwrap(), Value::ok());
        client
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.control);
    }
}

/// No reply has come to a command that was executed before this call.
pub fn waits(client: &mut Client) -> bool {
    match client.receive_within(GLIMPSE) {
        Ok(None) => true,
        Ok(Some(reply)) => {
            eprintln!("answered: {}", crate::support::notation::show(&reply));
            false
        }
        Err(error) => panic!("the connection broke: {error}"),
    }
}

/// The connection ends without another byte of a reply.
pub fn is_closed_without_a_reply(client: &mut Client) -> bool {
    match client.receive() {
        Ok(reply) => {
            eprintln!("answered: {}", crate::support::notation::show(&reply));
            false
        }
        Err(error) => error.kind() != std::io::ErrorKind::TimedOut,
    }
}

/// One command on a fresh connection.
pub fn ask(faulty: &Faulty, words: &[&str]) -> Value {
    faulty.client().call(words).expect("the server answers")
}
