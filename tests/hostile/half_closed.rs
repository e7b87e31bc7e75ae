//! Clients that close their side first.

use std::io::Read;

use crate::support::client::Value;
use crate::target::{Target, half_close, rest, send};

const COUNT: usize = 300;

#[test]
fn what_was_asked_is_answered_and_half_a_request_ends_with_its_connection() {
    let target = Target::start(&[]);
    target.beside_an_honest_client(|| {
        let mut sockets = target.raws(COUNT);
        for (number, socket) in sockets.iter_mut().enumerate() {
            send(socket, if number % 2 == 0 { b"*1\r\n$4\r\nPING\r\n" } else { b"*1\r\n$4\r\nPIN" });
            half_close(socket);
        }
        for (number, socket) in sockets.iter_mut().enumerate() {
            assert_eq!(rest(socket), if number % 2 == 0 { "+PONG\r\n" } else { "" });
        }
    });
}

#[test]
fn half_closed_connections_that_read_nothing_end_at_the_time_out() {
    let target = Target::start(&[("held-replies-size", "32mb")]);
    assert_eq!(target.ask(&["SET", "big", &"x".repeat(1 << 20)]), Value::ok());
    let mut sockets = target.raws(20);
    target.beside_an_honest_client(|| {
        for socket in &mut sockets {
            send(socket, &b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n".repeat(12));
            half_close(socket);
        }
        target.wait_for("output that waits", || target.number("held_reply_bytes") > 1 << 20);
        target.ask(&["CONFIG", "SET", "timeout", "1"]);
        target.wait_for("them to be gone", || target.number("connected_clients") <= 3);
        target.wait_for("what was held for them to be free", || target.number("held_reply_bytes") == 0);
    });
    let mut byte = [0];
    // What the kernel had taken is still there.
    assert!(sockets[0].read(&mut byte).is_ok());
}
