//! Limits that end a connection, or refuse one, through real sockets.

use std::io::ErrorKind;

use crate::faulty::{Faulty, ask};
use crate::support::Options;
use crate::support::client::{Client, Value};

fn start(directive: &str, value: &str) -> Faulty {
    Faulty::start_with("no", Options::default().directive(directive, value))
}

/// Reads until the server closes; how many replies came.
fn replies_until_closed(client: &mut Client) -> usize {
    let mut count = 0;
    loop {
        match client.receive() {
            Ok(_) => count += 1,
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::TimedOut, "not closed after {count} replies");
                return count;
            }
        }
    }
}

#[test]
fn one_client_more_than_maxclients_is_told_and_closed() {
    let faulty = start("maxclients", "3");
    let mut session = faulty.client();
    let count = |client: &mut Client| {
        let list = client.call(["CLIENT", "LIST"]).unwrap();
        String::from_utf8_lossy(list.bytes().unwrap()).lines().count()
    };
    // Those that asked before may not have been taken leave of yet.
    faulty.wait_for("the others to be gone", || count(&mut session) == 1);
    let mut others = [faulty.client(), faulty.client()];
    for other in &mut others {
        assert!(!other.call(["PING"]).unwrap().is_error());
    }
    let mut refused = faulty.client();
    assert_eq!(refused.receive().unwrap(), Value::Error(b"ERR max number of clients reached".to_vec()));
    assert!(refused.receive().is_err());
    drop(others);
    faulty.wait_for("room", || count(&mut session) == 1);
    assert!(!faulty.client().call(["PING"]).unwrap().is_error());
    assert_eq!(faulty.number("rejected_connections"), 1);
}

#[test]
fn a_client_that_reads_nothing_is_closed_at_its_output_limit() {
    let faulty = start("client-output-buffer-limit", "normal 1mb 0 0");
    let value = "x".repeat(1 << 20);
    assert_eq!(ask(&faulty, &["SET", "big", &value]), Value::ok());
    let mut client = faulty.client();
    for _ in 0..64 {
        client.queue(["GET", "big"]);
    }
    client.flush().unwrap();
    faulty.wait_for("the limit", || faulty.number("client_output_buffer_limit_disconnections") == 1);
    assert!(replies_until_closed(&mut client) < 64);
    assert_eq!(ask(&faulty, &["STRLEN", "big"]), Value::Integer(1 << 20), "the others are served");
}

#[test]
fn a_request_that_outgrows_the_query_buffer_is_not_read_to_its_end() {
    let faulty = start("client-query-buffer-limit", "1mb");
    let mut client = faulty.client();
    client.queue_raw(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$8000000\r\n");
    client.queue_raw(&vec![b'x'; 8_000_000]);
    client.queue_raw(b"\r\n");
    // The server may close while this is being written.
    let _ = client.flush();
    assert_eq!(replies_until_closed(&mut client), 0);
    assert_eq!(faulty.number("client_query_buffer_limit_disconnections"), 1);
    assert_eq!(ask(&faulty, &["EXISTS", "big"]), Value::Integer(0));
}

#[test]
fn queued_commands_count_as_query_buffer() {
    let faulty = start("client-query-buffer-limit", "1mb");
    let mut client = faulty.client();
    let value = "x".repeat(100_000);
    client.queue(["MULTI"]);
    for _ in 0..20 {
        client.queue(["SET", "big", &value]);
    }
    let _ = client.flush();
    assert!(replies_until_closed(&mut client) < 20);
    assert_eq!(ask(&faulty, &["EXISTS", "big"]), Value::Integer(0));
}

#[test]
fn a_client_whose_replies_are_held_goes_on_when_they_have_left() {
    let faulty = start("held-replies-size", "1mb");
    let value = "x".repeat(100_000);
    assert_eq!(ask(&faulty, &["SET", "big", &value]), Value::ok());
    let mut client = faulty.client();
    for _ in 0..200 {
        client.queue(["CLIENT", "DURABILITY", "always"]);
        client.queue(["APPEND", "big", "y"]);
        client.queue(["GET", "big"]);
    }
    let writer = std::thread::spawn(move || {
        client.flush().unwrap();
        let mut replies = Vec::new();
        for _ in 0..600 {
            replies.push(client.receive().unwrap());
        }
        replies
    });
    let replies = writer.join().unwrap();
    assert_eq!(replies[599].bytes().unwrap().len(), 100_200);
    assert_eq!(faulty.number("held_reply_bytes"), 0);
}

#[test]
fn a_paused_client_is_looked_at_now_and_then_not_all_the_time() {
    let faulty = start("appendfsync", "no");
    assert_eq!(ask(&faulty, &["CLIENT", "PAUSE", "60000", "WRITE"]), Value::ok());
    let mut paused = faulty.client();
    paused.queue(["SET", "k", "v"]);
    paused.flush().unwrap();
    faulty.wait_for("a second look", || faulty.number("parked_retries") >= 2);
    // Looks come twenty times a second: were they made without a pause, these round trips would see thousands.
    for _ in 0..200 {
        ask(&faulty, &["PING"]);
    }
    assert!(faulty.number("parked_retries") < 200);
    assert_eq!(ask(&faulty, &["CLIENT", "UNPAUSE"]), Value::ok());
    assert_eq!(paused.receive().unwrap(), Value::ok());
}

#[test]
fn listening_follows_the_port_or_is_refused() {
    let faulty = start("rename-command", "FLUSHALL wipe");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_port = taken.local_addr().unwrap().port();
    let mut session = faulty.client();
    let mut set = |port: u16| session.call(["CONFIG", "SET", "port", &port.to_string()]).unwrap();
    let text = "ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. Check server logs.";
    assert_eq!(set(taken_port), Value::Error(text.as_bytes().to_vec()));
    assert!(!faulty.client().call(["PING"]).unwrap().is_error(), "the old port is still listened on");
    drop(taken);
    assert_eq!(set(taken_port), Value::ok());
    let mut moved = Client::connect(("127.0.0.1", taken_port)).unwrap();
    assert!(!moved.call(["PING"]).unwrap().is_error());
    assert_eq!(moved.call(["WIPE"]).unwrap(), Value::ok());
    assert!(moved.call(["FLUSHALL"]).unwrap().is_error());
}
