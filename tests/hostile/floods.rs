//! Requests as fast as they can be sent, by those who read late or need no replies.

use crate::target::{MIB, Target, is_answered, line, send};

#[test]
fn a_flood_without_replies_leaves_others_their_turn() {
    let target = Target::start(&[]);
    let peak = target.peak();
    let mut sockets = target.raws(8);
    let flood = b"*3\r\n$3\r\nSET\r\n$5\r\nflood\r\n$5\r\nvalue\r\n".repeat(100_000);
    target.beside_an_honest_client(|| {
        std::thread::scope(|scope| {
            for socket in &mut sockets {
                scope.spawn(|| {
                    send(socket, b"CLIENT REPLY OFF\r\n");
                    send(socket, &flood);
                    send(socket, b"CLIENT REPLY ON\r\n");
                    assert_eq!(line(socket), "+OK");
                });
            }
        });
    });
    // The log's buffer.
    target.assert_peak_within(peak, 64 * MIB);
}

#[test]
fn a_thousand_greetings_each_are_answered_in_order() {
    let target = Target::start(&[]);
    let peak = target.peak();
    let mut sockets = target.raws(100);
    let spam = b"HELLO 3 SETNAME mallory\r\nHELLO 2\r\nHELLO 9\r\n".repeat(1000);
    target.beside_an_honest_client(|| {
        for socket in &mut sockets {
            send(socket, &spam);
            half_read(socket);
        }
    });
    target.assert_peak_within(peak, 100 * MIB);
}

/// The replies up to a PONG.
fn half_read(socket: &mut std::net::TcpStream) {
    send(socket, b"PING\r\n");
    while line(socket) != "+PONG" {}
    assert!(is_answered(socket));
}
