//! Syncs that the kernel itself refuses, by `strace --inject`: no shim between the server and libc. Skipped, with the reason, where
//! there is no strace or it may not look at other processes.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use crate::faulty::is_closed_without_a_reply;
use crate::support::client::Value;
use crate::support::{Options, Server};

/// All syncs of a process fail while this exists.
struct Tracer(Child);

impl Tracer {
    /// `None`, and a line that says why, where that is not possible.
    fn attach(server: &Server) -> Option<Self> {
        let pid = server.pid().expect("it runs").to_string();
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e", "trace=fdatasync,fsync"]);
        command.args(["-e", "inject=fdatasync,fsync:error=EIO", "-p", &pid]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => {
                println!("skipped: strace does not start: {error}");
                return None;
            }
        };
        let mut told = BufReader::new(child.stderr.take().expect("piped above"));
        let mut line = String::new();
        let _ = told.read_line(&mut line);
        let tracer = Self(child);
        if !line.contains("attached") {
            println!("skipped: strace may not look at the server: {line}");
            return None;
        }
        // It would stop at a full pipe.
        std::thread::spawn(move || told.read_to_end(&mut Vec::new()));
        Some(tracer)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // The kernel lets go of what was traced.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_sync_that_the_kernel_refuses_is_final_in_every_mode_of_plain_system_calls() {
    for log_io in ["buffered", "direct"] {
        let options = Options::default().directive("appendfsync", "always").directive("log-io", log_io);
        let mut server = Server::start(options);
        let ask = |server: &Server, words: &[&str]| server.client().call(words).expect("it answers");
        assert_eq!(ask(&server, &["SET", "old", "1"]), Value::ok());
        // Their syncs would fail before that of the write, and the log with them.
        server.wait_for_prepared_segments();
        let Some(tracer) = Tracer::attach(&server) else { return };
        let mut writer = server.client();
        writer.queue(["SET", "new", "1"]);
        writer.flush().expect("a running server takes requests");
        assert!(is_closed_without_a_reply(&mut writer), "{log_io}: it was not synced");
        let state = server.info("log_state");
        assert!(state.contains("failed") && state.contains("Input/output error"), "{log_io}: {state}");
        drop(tracer);
        // Syncs work again; but what the failed one was about may be lost.
        assert_eq!(ask(&server, &["GET", "old"]), Value::bulk("1"));
        for words in [&["GET", "new"][..], &["SET", "old", "2"]] {
            assert!(ask(&server, words).is_error(), "{log_io}: {words:?}");
        }
        server.kill9();
        server.restart();
        assert_eq!(server.info("log_state"), "ok");
        assert_eq!(ask(&server, &["GET", "old"]), Value::bulk("1"));
        assert_eq!(ask(&server, &["SET", "old", "2"]), Value::ok());
    }
}
