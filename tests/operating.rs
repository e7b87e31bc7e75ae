//! The real process and what stands around it: supervisors, signals, log rotation, the pid file, a second start. What
//! docs/operating.md says.

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use support::client::{Client, Value};
use support::{Options, PATIENCE, Server, program_under_test};

/// A path of one test alone, with nothing there.
fn fresh_path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_file(&path);
    let _ = fs::remove_dir_all(&path);
    path
}

fn text(path: &Path) -> String {
    path.to_str().expect("the target folder's name is UTF-8").to_owned()
}

fn send(pid: u32, signal: i32) {
    let pid = i32::try_from(pid).expect("pids fit");
    // SAFETY: plain system call; the child was not waited for, so the pid is still its own.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// Starts another server that is expected not to come up.
fn refused(args: &[&str]) -> Output {
    let mut command = Command::new(program_under_test());
    let output = command.args(args).stdin(Stdio::null()).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    output
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn end_of(child: &mut Child) -> ExitStatus {
    let mut status = None;
    wait_until("the end of the process", || {
        status = child.try_wait().expect("a child can be asked");
        status.is_some()
    });
    status.expect("waited for")
}

/// What systemd would hear next.
fn told(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1000];
    let len = socket.recv(&mut buffer).expect("the server tells something in time");
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

fn a_start_and_an_end_are_told(socket: &UnixDatagram, supervised: &str, name: PathBuf) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let options = Options::default().directive("supervised", supervised).environment("NOTIFY_SOCKET", name);
    let mut server = Server::start(options);
    let first = told(socket);
    assert!(first.contains("STATUS=Loading") && first.contains("EXTEND_TIMEOUT_USEC="), "{first}");
    let mut last = first;
    while !last.contains("READY=1") {
        last = told(socket);
        assert!(!last.contains("STOPPING"), "{last}");
    }
    // Ready means ready.
    assert_eq!(server.client().call(["SET", "k", "v"]).unwrap(), Value::ok());
    assert_eq!(server.stop().unwrap().code(), Some(0));
    assert!(told(socket).starts_with("STOPPING=1\n"));
}

#[test]
fn systemd_is_told_when_the_server_is_ready_and_when_it_ends() {
    let path = fresh_path("notify");
    a_start_and_an_end_are_told(&UnixDatagram::bind(&path).unwrap(), "systemd", path.clone());
    fs::remove_file(&path).unwrap();
    let name = format!("duramen-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    a_start_and_an_end_are_told(
        &UnixDatagram::bind_addr(&address).unwrap(),
        "auto",
        format!("@{name}").into(),
    );
}

#[test]
fn nobody_is_told_who_was_not_asked_for() {
    let path = fresh_path("unwanted");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut server = Server::start(Options::default().environment("NOTIFY_SOCKET", &path));
    server.stop();
    assert!(socket.recv(&mut [0; 10]).is_err());
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_renamed_log_is_followed_and_sighup_opens_it_anew() {
    let (path, old) = (fresh_path("rotated.log"), fresh_path("rotated.log.1"));
    let options =
        Options::default().directive("logfile", &text(&path)).directive("enable-debug-command", "yes");
    let mut server = Server::start(options);
    let pid = server.pid().unwrap();
    let mut client = server.client();
    assert!(fs::read_to_string(&path).unwrap().contains("ready to accept connections"));
    fs::rename(&path, &old).unwrap();
    client.call(["DEBUG", "LOG", "after the rename"]).unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains("after the rename"));
    assert!(!fs::read_to_string(&old).unwrap().contains("after the rename"));
    // Nothing is logged at this level, so only the signal can make the file.
    client.call(["CONFIG", "SET", "loglevel", "warning"]).unwrap();
    fs::remove_file(&path).unwrap();
    send(pid, libc::SIGHUP);
    server.wait_for("a new log file", || path.exists());
    assert_eq!(client.call(["PING"]).unwrap(), Value::Simple("PONG".into()));
    assert_eq!(server.stop().unwrap().code(), Some(0));
    fs::remove_file(&path).unwrap();
    fs::remove_file(&old).unwrap();
}

#[test]
fn sighup_does_not_end_a_server_that_logs_to_its_output() {
    let mut server = Server::start(Options::default());
    send(server.pid().unwrap(), libc::SIGHUP);
    server.wait_for("a word about it", || server.log().contains("SIGHUP"));
    assert_eq!(server.client().call(["PING"]).unwrap(), Value::Simple("PONG".into()));
    assert_eq!(server.stop().unwrap().code(), Some(0));
}

#[test]
fn a_second_start_on_the_directory_leaves_the_first_its_socket_and_pid_file() {
    let pid_file = fresh_path("second.pid");
    let options = Options::default().unix_socket().directive("pidfile", &text(&pid_file));
    let mut server = Server::start(options);
    let (dir, socket) = (text(&server.data_dir()), text(&server.socket_path()));
    let pid = format!("{}\n", server.pid().unwrap());
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), pid);
    let args = ["--port", "0", "--dir", &dir, "--unixsocket", &socket, "--pidfile", &text(&pid_file)];
    let error = error_of(&refused(&args));
    assert!(error.contains(&dir) && error.contains("in use by another process"), "{error}");
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), pid);
    UnixStream::connect(&socket).expect("the first is still reached");
    assert_eq!(server.stop().unwrap().code(), Some(0));
    assert!(!pid_file.exists() && !Path::new(&socket).exists());
}

#[test]
fn a_unix_socket_is_replaced_only_when_nobody_answers_there() {
    let mut server = Server::start(Options::default().unix_socket());
    let (socket, elsewhere) = (server.socket_path(), fresh_path("elsewhere"));
    let second = ["--port", "0", "--dir", &text(&elsewhere), "--unixsocket", &text(&socket)];
    let error = error_of(&refused(&second));
    assert!(error.contains(&text(&socket)) && error.contains("another process answers there"), "{error}");
    UnixStream::connect(&socket).expect("the first is still reached");
    // Left behind, and taken over.
    server.kill9();
    assert!(socket.exists());
    server.restart();
    UnixStream::connect(&socket).expect("the new one is reached");
    server.stop();
    fs::write(&socket, "precious").unwrap();
    assert!(error_of(&refused(&second)).contains("something else of this name"));
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
    fs::remove_dir_all(&elsewhere).unwrap();
}

/// Whether a tool could have the directory.
fn is_free(dir: &Path) -> bool {
    File::open(dir.join("LOCK")).unwrap().try_lock_shared().is_ok()
}

#[test]
fn the_end_of_a_connection_means_that_the_directory_is_free() {
    for by_signal in [false, true] {
        let mut server = Server::start(Options::default());
        let mut client = server.client();
        for i in 0..1000 {
            client.queue(["SET".to_owned(), format!("key:{i}"), "x".repeat(1000)]);
        }
        client.flush().unwrap();
        for _ in 0..1000 {
            assert_eq!(client.receive().unwrap(), Value::ok());
        }
        let dir = server.data_dir();
        assert!(!is_free(&dir));
        let mut raw = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        raw.set_read_timeout(Some(PATIENCE)).unwrap();
        raw.write_all(b"PING\r\n").unwrap();
        raw.read_exact(&mut [0; 7]).unwrap();
        if by_signal {
            send(server.pid().unwrap(), libc::SIGTERM);
        } else {
            raw.write_all(b"SHUTDOWN\r\n").unwrap();
        }
        let mut rest = Vec::new();
        raw.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"");
        assert!(is_free(&dir), "by signal: {by_signal}");
        server.kill9();
    }
}

/// Starts on a directory and does not wait until it is loaded.
fn start_loading(dir: &Path, port: u16) -> Child {
    let mut command = Command::new(program_under_test());
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir", &text(dir)]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

#[test]
fn sigterm_ends_a_load_at_once_and_in_good_order() {
    let mut server = Server::start(Options::default());
    assert_eq!(server.client().call(["SET", "k", "v"]).unwrap(), Value::ok());
    assert_eq!(server.stop().unwrap().code(), Some(0));
    let folder = server.data_dir().join("log");
    let mut names: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    // In place of the segment stands a pipe that nobody writes to: opening it takes for ever, as a very slow disk would.
    let (segment, aside) = (names.remove(0), fresh_path("segment"));
    fs::rename(&segment, &aside).unwrap();
    let path = std::ffi::CString::new(text(&segment)).unwrap();
    // SAFETY: plain system call on a path that ends with NUL.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    let mut child = start_loading(&server.data_dir(), server.port());
    wait_until("a server that loads", || {
        let answer = server.try_client().and_then(|mut client| client.call(["GET", "k"]));
        matches!(answer, Ok(Value::Error(text)) if text.starts_with(b"LOADING"))
    });
    send(child.id(), libc::SIGTERM);
    assert_eq!(end_of(&mut child).code(), Some(0));
    fs::remove_file(&segment).unwrap();
    fs::rename(&aside, &segment).unwrap();
    server.restart();
    assert_eq!(server.client().call(["GET", "k"]).unwrap(), Value::bulk("v"));
}

#[test]
fn a_failed_start_says_once_why_and_what_to_do() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let dir = fresh_path("failed");
    let output = refused(&["--bind", "127.0.0.1", "--port", &port, "--dir", &text(&dir)]);
    let all = [output.stdout, output.stderr].concat();
    let all = String::from_utf8_lossy(&all);
    assert_eq!(all.matches("can't listen on").count(), 1, "{all}");
    // A log file has it as well.
    let log = fresh_path("failed.log");
    refused(&["--bind", "127.0.0.1", "--port", &port, "--dir", &text(&dir), "--logfile", &text(&log)]);
    assert!(fs::read_to_string(&log).unwrap().contains("can't listen on"));
    // What cannot be locked is named.
    fs::remove_file(dir.join("LOCK")).unwrap();
    fs::create_dir(dir.join("LOCK")).unwrap();
    let error = error_of(&refused(&["--port", "0", "--dir", &text(&dir)]));
    assert!(error.contains(&text(&dir)) && error.contains("LOCK") && error.contains("--dir"), "{error}");
    fs::remove_dir(dir.join("LOCK")).unwrap();
    let pid_file = dir.join("missing/duramen.pid");
    let socket = text(&dir.join("socket"));
    let args = ["--port", "0", "--unixsocket", &socket, "--dir", &text(&dir), "--pidfile", &text(&pid_file)];
    let error = error_of(&refused(&args));
    assert!(error.contains(&text(&pid_file)) && error.contains("--pidfile"), "{error}");
    assert!(!Path::new(&socket).exists(), "nothing is left of a failed start");
    UnixListener::bind(&socket).expect("the name is free");
    fs::remove_dir_all(&dir).unwrap();
    fs::remove_file(&log).unwrap();
}

#[test]
fn a_configuration_from_standard_input_is_not_lost_by_debug_reload() {
    // Any that is free, kept until the server has been told.
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let dir = fresh_path("stdin");
    let mut command = Command::new(program_under_test());
    command.args(["-", "--dir", &text(&dir)]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::null()).spawn().expect("it starts");
    let directives = format!("bind 127.0.0.1\nport {port}\nenable-debug-command yes\n");
    child.stdin.take().unwrap().write_all(directives.as_bytes()).unwrap();
    let mut client = None;
    wait_until("a server that is ready", || {
        client = Client::connect(("127.0.0.1", port)).ok();
        let answer = client.as_mut().and_then(|client| client.call(["GET", "k"]).ok());
        answer.is_some_and(|answer| !answer.is_error())
    });
    let mut client = client.expect("waited for");
    for command in [["DEBUG", "RELOAD"], ["DEBUG", "LOADAOF"]] {
        match client.call(command).unwrap() {
            Value::Error(text) => assert!(String::from_utf8_lossy(text.as_ref()).contains("standard input")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(client.call(["PING"]).unwrap(), Value::Simple("PONG".into()));
    send(child.id(), libc::SIGTERM);
    assert_eq!(end_of(&mut child).code(), Some(0));
    fs::remove_dir_all(&dir).unwrap();
}
