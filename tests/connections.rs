//! Connections that wait, fall silent or are half closed, and what others are shown of them: the real process.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use support::client::{Client, Value};
use support::{Options, PATIENCE, Server};

fn start() -> Server {
    Server::start(Options::default().directive("appendfsync", "no").directive("io-threads", "1"))
}

fn connect(server: &Server) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a connected socket");
    socket
}

/// Sends these requests and nothing more, ever.
fn half_closed(server: &Server, requests: &str) -> TcpStream {
    let mut socket = connect(server);
    socket.write_all(requests.as_bytes()).expect("few bytes");
    socket.shutdown(Shutdown::Write).expect("a connected socket");
    socket
}

/// What comes until the server closes.
fn rest(socket: &mut TcpStream) -> String {
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("the server closes");
    text
}

fn id(client: &mut Client) -> String {
    client.call(["CLIENT", "ID"]).unwrap().integer().expect("a number").to_string()
}

fn shown(server: &Server, id: &str) -> String {
    let line = server.client().call(["CLIENT", "LIST", "ID", id]).unwrap();
    String::from_utf8_lossy(line.bytes().expect("a line")).into_owned()
}

#[test]
fn who_waits_in_waitaof_is_a_blocked_client() {
    let server = start();
    // Replicas never come.
    for (reason, expected) in [
        ("TIMEOUT", Value::Array(vec![Value::Integer(1), Value::Integer(0)])),
        ("ERROR", Value::Error(b"UNBLOCKED client unblocked via CLIENT UNBLOCK".to_vec())),
    ] {
        let mut client = server.client();
        let id = id(&mut client);
        client.queue(["WAITAOF", "0", "1", "0"]);
        client.flush().unwrap();
        server.wait_for("the client to be blocked", || server.number("blocked_clients") == 1);
        assert!(shown(&server, &id).contains(" flags=b "));
        let unblock = || server.client().call(["CLIENT", "UNBLOCK", &id, reason]).unwrap();
        assert_eq!(unblock(), Value::Integer(1));
        assert_eq!(client.receive().unwrap(), expected);
        assert_eq!(unblock(), Value::Integer(0));
        assert_eq!(server.number("blocked_clients"), 0);
        assert!(shown(&server, &id).contains(" flags=N "));
        assert_eq!(client.call(["PING"]).unwrap(), Value::Simple(b"PONG".to_vec()));
    }
    // One that is gone is blocked no more.
    let mut client = server.client();
    client.queue(["WAITAOF", "0", "1", "0"]);
    client.flush().unwrap();
    server.wait_for("the client to be blocked", || server.number("blocked_clients") == 1);
    drop(client);
    server.wait_for("it to be gone", || server.number("blocked_clients") == 0);
}

#[test]
fn who_waits_for_the_server_is_not_idle() {
    let server = start();
    let mut waiting = server.client();
    let id = id(&mut waiting);
    waiting.queue(["WAITAOF", "0", "1", "0"]);
    waiting.flush().unwrap();
    assert_eq!(server.client().call(["CLIENT", "PAUSE", "1000000", "WRITE"]).unwrap(), Value::ok());
    let mut paused = server.client();
    paused.queue(["SET", "k", "v"]);
    paused.flush().unwrap();
    server.wait_for("both to wait", || server.number("blocked_clients") == 2);
    let mut idle = connect(&server);
    assert_eq!(server.client().call(["CONFIG", "SET", "timeout", "1"]).unwrap(), Value::ok());
    // There is one worker, and it looks at the oldest first.
    assert_eq!(rest(&mut idle), "");
    assert_eq!(server.client().call(["CLIENT", "UNPAUSE"]).unwrap(), Value::ok());
    assert_eq!(paused.receive().unwrap(), Value::ok());
    assert_eq!(server.client().call(["CLIENT", "UNBLOCK", &id]).unwrap(), Value::Integer(1));
    assert!(!waiting.receive().unwrap().is_error());
}

#[test]
fn what_was_asked_before_the_client_closed_its_side_is_done_though_some_of_it_must_wait() {
    let server = start();
    assert_eq!(server.client().call(["CLIENT", "PAUSE", "1000000", "WRITE"]).unwrap(), Value::ok());
    let mut paused = half_closed(&server, "SET k v\r\nGET k\r\nPIN");
    server.wait_for("it to be held back", || server.number("blocked_clients") == 1);
    assert_eq!(server.client().call(["CLIENT", "UNPAUSE"]).unwrap(), Value::ok());
    assert_eq!(rest(&mut paused), "+OK\r\n$1\r\nv\r\n");

    let mut syncing = half_closed(&server, "SET k w\r\nWAITAOF 1 0 0\r\nSAVE\r\nGET k\r\n");
    assert_eq!(rest(&mut syncing), "+OK\r\n*2\r\n:1\r\n:0\r\n+OK\r\n$1\r\nw\r\n");

    for endless in ["BLPOP nothing 0", "WAITAOF 0 1 0", "WAIT 1 0"] {
        let mut socket = half_closed(&server, &format!("PING\r\n{endless}\r\nPING\r\n"));
        let text = rest(&mut socket);
        assert!(["", "+PONG\r\n"].contains(&text.as_str()), "{endless}: {text}");
    }
    assert_eq!(server.number("blocked_clients"), 0);
}

#[test]
fn the_list_of_clients_counts_their_commands() {
    let server = start();
    let mut client = server.client();
    let id = id(&mut client);
    for _ in 0..10 {
        client.queue(["PING"]);
    }
    client.queue(["NOSUCH"]);
    client.flush().unwrap();
    for _ in 0..11 {
        client.receive().unwrap();
    }
    assert!(shown(&server, &id).contains(" tot-cmds=12\n"), "{}", shown(&server, &id));
}
