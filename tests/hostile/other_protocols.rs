//! Requests in HTTP, as a web page can have a browser send them to any port that the browser's machine reaches.

use crate::support::client::Value;
use crate::target::{Target, line, rest, send};

const BODY: &str = "SET attack made\r\n";

#[test]
fn commands_in_an_http_request_are_not_executed() {
    let target = Target::start(&[]);
    let closed_without_a_word = |before: &[&str], request: &str| {
        let mut socket = target.raw();
        for command in before {
            send(&mut socket, command.as_bytes());
            line(&mut socket);
        }
        send(&mut socket, format!("{request}{BODY}").as_bytes());
        assert_eq!(rest(&mut socket), "", "{before:?} {request}");
        assert_eq!(target.ask(&["EXISTS", "attack"]), Value::Integer(0), "{before:?} {request}");
    };
    let requests = [
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 17\r\n\r\n",
        "post / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHOST: localhost\r\n",
        "PING\r\nhost: localhost\r\n",
        "*2\r\n$4\r\nPost\r\n$1\r\n/\r\n",
    ];
    for request in requests {
        closed_without_a_word(&[], request);
        closed_without_a_word(&["MULTI\r\n"], request);
    }
    // What is no header of HTTP is a mere mistake.
    let mut socket = target.raw();
    send(&mut socket, b"Host localhost\r\n");
    assert!(line(&mut socket).starts_with("-ERR unknown command 'Host'"));
    target.ask(&["CONFIG", "SET", "requirepass", "secret"]);
    let mut socket = target.raw();
    send(&mut socket, format!("POST / HTTP/1.1\r\n{BODY}").as_bytes());
    assert_eq!(rest(&mut socket), "");
    if !Target::is_redis() {
        // Of a dozen within a minute.
        assert_eq!(target.server.log().matches("possible attack").count(), 1);
    }
}
