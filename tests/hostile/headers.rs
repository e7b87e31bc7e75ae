//! Huge and senseless lengths; lines without end.

use crate::target::{MIB, Target, is_answered, line, rest, send};

const COUNT: usize = 200;

/// Sends `bytes` on many connections; all are told `error` and closed.
fn all_are_told(target: &Target, bytes: &[u8], error: &str) {
    let peak = target.peak();
    let mut sockets = target.raws(COUNT);
    target.beside_an_honest_client(|| {
        for socket in &mut sockets {
            send(socket, bytes);
            assert_eq!(rest(socket).trim_end(), error);
        }
    });
    target.assert_peak_within(peak, 0);
}

#[test]
fn lengths_beyond_the_limits_are_protocol_errors() {
    let target = Target::start(&[("proto-max-bulk-len", "1mb")]);
    all_are_told(&target, b"*9999999999\r\n", "-ERR Protocol error: invalid multibulk length");
    all_are_told(&target, b"*2\r\n$3\r\nGET\r\n$9999999999\r\n", "-ERR Protocol error: invalid bulk length");
    all_are_told(&target, b"*2\r\n$3\r\nGET\r\n$1048577\r\n", "-ERR Protocol error: invalid bulk length");
    all_are_told(&target, b"*2\r\n$3\r\nGET\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length");
}

#[test]
fn before_authentication_lengths_are_small() {
    let target = Target::start(&[]);
    target.ask(&["CONFIG", "SET", "requirepass", "secret"]);
    let refused = |bytes: &[u8], error: &str| {
        let mut sockets: Vec<_> = (0..COUNT).map(|_| target.raw()).collect();
        for socket in &mut sockets {
            send(socket, bytes);
            assert_eq!(rest(socket).trim_end(), error);
        }
    };
    refused(b"*11\r\n", "-ERR Protocol error: unauthenticated multibulk length");
    refused(b"*1000000000\r\n", "-ERR Protocol error: unauthenticated multibulk length");
    refused(b"*2\r\n$4\r\nAUTH\r\n$16385\r\n", "-ERR Protocol error: unauthenticated bulk length");
    let mut socket = target.raw();
    send(&mut socket, b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n*1000000000\r\n");
    assert_eq!(line(&mut socket), "+OK", "afterwards a thousand million arguments may be announced");
}

#[test]
fn a_thousand_million_announced_arguments_take_no_memory() {
    let target = Target::start(&[]);
    let peak = target.peak();
    let mut sockets = target.raws(COUNT);
    target.beside_an_honest_client(|| {
        sockets.iter_mut().for_each(|socket| send(socket, b"*1000000000\r\n$4\r\nMGET\r\n"));
    });
    target.assert_peak_within(peak, 0);
}

#[test]
fn many_empty_arguments_count_as_what_they_take() {
    let target = Target::start(&[("client-query-buffer-limit", "16mb")]);
    let peak = target.peak();
    let mut socket = target.raw();
    target.beside_an_honest_client(|| {
        send(&mut socket, b"*2000000\r\n$4\r\nMGET\r\n");
        // 12 MB on the wire, which the limit allows; kept are sixteen bytes more for each.
        send(&mut socket, &b"$0\r\n\r\n".repeat(1_999_999));
        assert_eq!(rest(&mut socket), "");
    });
    assert!(!target.ask(&["PING"]).is_error());
    assert_eq!(target.number("client_query_buffer_limit_disconnections"), 1);
    target.assert_peak_within(peak, 48 * MIB);
}

#[test]
fn a_line_without_end_is_refused() {
    let target = Target::start(&[]);
    let error = "-ERR Protocol error: too big inline request";
    all_are_told(&target, &vec![b'x'; 70_000], error);
    let mut socket = target.raw();
    assert!(is_answered(&mut socket));
}
