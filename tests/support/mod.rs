//! What the tests that look at the real binary from outside share: starting and killing servers, and a client.
//!
//! The binary under test is the one cargo built; `DURAMEN_BIN` names another (a release build, or redis-server itself to try
//! a test out on the reference). Nothing here promises isolation from other users of the machine: ports are picked free and
//! tried again when lost.
#![allow(dead_code)] // every test program uses its own part

pub mod client;
pub mod notation;
pub mod random;

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use client::{Client, Value};

/// How long a server may take to answer PING before the start counts as failed.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// After so long without what it waits for, a reply for example, a test has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
const REDIS_SERVER: &str = "/usr/bin/redis-server";

/// How a server is started. Directives are given as to redis-server: name and value, without the dashes.
#[derive(Debug, Clone)]
pub struct Options {
    program: PathBuf,
    directives: Vec<(String, String)>,
    environment: Vec<(String, PathBuf)>,
    unix_socket: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            program: program_under_test(),
            directives: Vec::new(),
            environment: Vec::new(),
            unix_socket: false,
        }
    }
}

impl Options {
    /// The reference: Debian's redis-server, in memory only.
    pub fn oracle() -> Self {
        Self { program: PathBuf::from(REDIS_SERVER), ..Self::default() }
            .directive("appendonly", "no")
            // A generator gone wrong must not take the machine with it.
            .directive("maxmemory", "4gb")
    }

    pub fn directive(mut self, name: &str, value: &str) -> Self {
        self.directives.retain(|(known, _)| known != name);
        self.directives.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn unix_socket(mut self) -> Self {
        self.unix_socket = true;
        self
    }

    /// A variable in the server's environment.
    pub fn environment(mut self, name: &str, value: impl Into<PathBuf>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Whether this starts redis-server rather than Duramen.
    pub fn is_redis(&self) -> bool {
        self.program.file_name().is_some_and(|name| name == "redis-server")
    }
}

/// The binary that the tests are about.
pub fn program_under_test() -> PathBuf {
    std::env::var_os("DURAMEN_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_duramen")), PathBuf::from)
}

/// Whether redis-server is installed; tests that compare with it say so and pass over when it is not (in CI it must be).
pub fn oracle_is_installed() -> bool {
    Path::new(REDIS_SERVER).exists()
}

/// A running server with its own data directory and port. Dropping it kills that one process and removes the directory
/// (which stays when the test failed).
#[derive(Debug)]
pub struct Server {
    options: Options,
    home: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts on an empty data directory and returns when PING is answered.
    pub fn start(options: Options) -> Self {
        let home = fresh_directory();
        // Duramen makes its data directory itself.
        let made = if options.is_redis() { home.join("data") } else { home.clone() };
        fs::create_dir_all(made).expect("the test directory is writable");
        let mut server = Self { options, home, port: free_port(), child: None };
        for attempt in 1.. {
            match server.launch() {
                Ok(_) => break,
                Err(why) if attempt < 3 => eprintln!("start failed, trying another port: {why}"),
                Err(why) => panic!("server does not start: {why}\n{}", server.log()),
            }
            server.port = free_port();
        }
        server
    }

    /// The reference server.
    pub fn start_oracle() -> Self {
        Self::start(Options::oracle())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn data_dir(&self) -> PathBuf {
        self.home.join("data")
    }

    pub fn socket_path(&self) -> PathBuf {
        self.home.join("socket")
    }

    pub fn is_redis(&self) -> bool {
        self.options.is_redis()
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Everything the server wrote to its standard streams since the first start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.join("server.log")).unwrap_or_default()
    }

    pub fn client(&self) -> Client {
        self.try_client().expect("a running server accepts connections")
    }

    pub fn try_client(&self) -> io::Result<Client> {
        Client::connect(("127.0.0.1", self.port))
    }

    /// One field of INFO, asked for on a connection of its own.
    pub fn info(&self, field: &str) -> String {
        self.client().info(field)
    }

    /// One field of INFO that is a number.
    pub fn number(&self, field: &str) -> u64 {
        let text = self.info(field);
        text.parse().unwrap_or_else(|_| panic!("{field} is {text:?}, no number"))
    }

    pub fn wait_for(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !condition() {
            assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Returns when the log has the segments ahead that it wants: until something is written its files stay as they are.
    pub fn wait_for_prepared_segments(&self) {
        self.wait_for("two prepared segments", || self.number("log_segments_prepared") == 2);
    }

    /// Changes a directive for the following starts.
    pub fn set_directive(&mut self, name: &str, value: &str) {
        self.options = self.options.clone().directive(name, value);
    }

    /// SIGKILL: the process gets no chance to write anything more.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child that was not waited for can be killed");
            child.wait().expect("a killed child can be waited for");
        }
    }

    /// SIGTERM, then waits for the end.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        let pid = i32::try_from(child.id()).expect("pids fit");
        // SAFETY: plain system call; the child was not waited for, so the pid is still its own.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        Some(child.wait().expect("a child can be waited for"))
    }

    /// Starts again on the same directory and port; panics when that fails.
    pub fn restart(&mut self) -> Duration {
        match self.try_restart() {
            Ok(took) => took,
            Err(why) => panic!("server does not restart: {why}\n{}", self.log()),
        }
    }

    /// Starts again on the same directory and port. Returns the time until PING was answered.
    pub fn try_restart(&mut self) -> Result<Duration, String> {
        assert!(self.child.is_none(), "stop or kill the server first");
        self.launch()
    }

    fn launch(&mut self) -> Result<Duration, String> {
        let begin = Instant::now();
        let log = File::options().create(true).append(true).open(self.home.join("server.log"));
        let log = log.map_err(|e| e.to_string())?;
        let mut command = Command::new(&self.options.program);
        command.arg("--port").arg(self.port.to_string()).arg("--dir").arg(self.data_dir());
        command.args(["--bind", "127.0.0.1"]);
        if self.options.unix_socket {
            command.arg("--unixsocket").arg(self.socket_path());
        }
        if self.options.is_redis() {
            command.args(["--save", ""]);
            if !self.options.directives.iter().any(|(name, _)| name == "appendonly") {
                command.args(["--appendonly", "yes"]);
            }
        }
        for (name, value) in &self.options.directives {
            command.arg(format!("--{name}")).args(value.split(' '));
        }
        command.envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stderr(log.try_clone().map_err(|e| e.to_string())?).stdout(log);
        let child = command.spawn().map_err(|e| format!("{}: {e}", self.options.program.display()))?;
        self.child = Some(child);
        self.wait_until_ready(begin)?;
        Ok(begin.elapsed())
    }

    fn wait_until_ready(&mut self, begin: Instant) -> Result<(), String> {
        loop {
            let child = self.child.as_mut().expect("launched above");
            if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
                self.child = None;
                return Err(format!("ended with {status} before it served"));
            }
            if self.answers_ping() {
                return Ok(());
            }
            if begin.elapsed() > READY_WITHIN {
                self.kill9();
                return Err(format!("no answer to PING within {READY_WITHIN:?}"));
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Refused connections, `LOADING` and connections cut in mid-reply all mean "not yet".
    fn answers_ping(&self) -> bool {
        let Ok(mut client) = self.try_client() else { return false };
        match client.call(["PING"]) {
            Ok(Value::Error(text)) => !text.starts_with(b"LOADING"),
            Ok(_) => true,
            Err(_) => false,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Errors mean that it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("kept for a look: {}", self.home.display());
        } else {
            let _ = fs::remove_dir_all(&self.home);
        }
    }
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory of our own under cargo's target directory, hence on a real disk.
fn fresh_directory() -> PathBuf {
    let serial = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("server-{}-{serial}", std::process::id());
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&home); // left by an earlier process of the same id
    home
}

/// A port that nobody listens on, from below the range that the kernel hands to outgoing connections: a client that
/// retries while the server is down could otherwise take the server's port, or connect to itself.
fn free_port() -> u16 {
    loop {
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (std::process::id().wrapping_mul(131).wrapping_add(serial) % 22_000) as u16;
        let taken = TcpStream::connect(("127.0.0.1", port)).is_ok();
        if !taken && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
