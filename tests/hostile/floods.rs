//! Requests as fast as they can be sent, by those who read late or need no replies.

use std::io::Write;

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

/// Both requests wait before the server looks: whoever sent a hundred thousand is served first, but not to its end.
#[test]
fn a_flood_that_waits_is_interrupted_for_whoever_waits_behind_it() {
    const FLOOD: usize = 100_000;
    let target = Target::start(&[]);
    let mut sockets = target.raws(2);
    assert!(sockets.iter_mut().all(is_answered));
    let pid = target.server.pid().expect("it runs") as libc::pid_t;
    let signal = |signal| {
        // SAFETY: a plain system call; the child was not waited for, so the pid is still its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    };
    signal(libc::SIGSTOP);
    let (flood, other) = sockets.split_at_mut(1);
    flood[0].set_nonblocking(true).expect("a connected socket");
    let requests = [&b"CLIENT REPLY OFF\r\n"[..], &b"INCR a\r\n".repeat(FLOOD)].concat();
    // As much as the kernel takes.
    let sent = flood[0].write(&requests).expect("an empty socket");
    send(&mut other[0], b"GET a\r\n");
    signal(libc::SIGCONT);
    let count = match line(&mut other[0]).as_str() {
        "$-1" => 0,
        _ => line(&mut other[0]).parse::<usize>().expect("a number"),
    };
    let waiting = sent / b"INCR a\r\n".len();
    assert!(waiting > 20_000, "{waiting} requests are no flood");
    assert!(count <= waiting / 4, "{count} of {waiting} requests were executed first");
}

/// The replies up to a PONG.
fn half_read(socket: &mut std::net::TcpStream) {
    send(socket, b"PING\r\n");
    while line(socket) != "+PONG" {}
    assert!(is_answered(socket));
}
