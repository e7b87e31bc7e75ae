//! One byte at a time, from many.

use crate::target::{Target, line, send};

const COUNT: usize = 300;

#[test]
fn requests_that_trickle_in_take_no_more_than_a_few_kilobytes_each() {
    let target = Target::start(&[]);
    let mut sockets = target.raws(COUNT);
    let request = b"*3\r\n$3\r\nSET\r\n$5\r\nloris\r\n$5\r\nvalue\r\n";
    let before = target.number("used_memory");
    target.beside_an_honest_client(|| {
        for byte in &request[..request.len() - 1] {
            sockets.iter_mut().for_each(|socket| send(socket, &[*byte]));
        }
    });
    let read = || target.number("total_net_input_bytes") > (COUNT * (request.len() - 1)) as u64;
    target.wait_for("the bytes to be read", read);
    let grown = target.number("used_memory").saturating_sub(before);
    eprintln!("{} bytes for each connection", grown / COUNT as u64);
    assert!(grown < (COUNT as u64) * (8 << 10), "{grown} bytes for {COUNT} connections");
    for socket in &mut sockets {
        send(socket, b"\n");
        assert_eq!(line(socket), "+OK");
    }
}

#[test]
fn a_blocked_client_that_trickles_takes_no_more_either() {
    let target = Target::start(&[]);
    let mut sockets = target.raws(COUNT);
    let before = target.number("used_memory");
    sockets.iter_mut().for_each(|socket| send(socket, b"*3\r\n$5\r\nBLPOP\r\n$1\r\nq\r\n$1\r\n0\r\n*"));
    target.wait_for("them to be blocked", || target.number("blocked_clients") == COUNT as u64);
    let grown = target.number("used_memory").saturating_sub(before);
    assert!(grown < (COUNT as u64) * (8 << 10), "{grown} bytes for {COUNT} connections");
}
