//! Those who have not said who they are.

use crate::target::{MIB, Target, line, number, rest, send};

const COUNT: usize = 300;

fn start() -> (Target, crate::support::client::Client) {
    let target = Target::start(&[]);
    let mut honest = target.server.client();
    assert!(!honest.call(["CONFIG", "SET", "requirepass", "secret"]).unwrap().is_error());
    (target, honest)
}

#[test]
fn strangers_that_read_nothing_are_closed_before_their_errors_take_room() {
    let (target, mut honest) = start();
    let peak = target.peak();
    let mut sockets: Vec<_> = (0..COUNT).map(|_| target.raw()).collect();
    sockets.iter_mut().for_each(|socket| send(socket, &b"PING\r\n".repeat(50_000)));
    let closed = |honest: &mut _| number(honest, "client_output_buffer_limit_disconnections");
    target.wait_for("all to be closed", || closed(&mut honest) == COUNT as u64);
    for socket in &mut sockets {
        let said = rest(socket);
        assert!(said.is_empty() || said.starts_with("-NOAUTH "), "{said}");
    }
    target.assert_peak_within(peak, COUNT as u64 * (64 << 10));
}

#[test]
fn strangers_that_only_wait_take_next_to_nothing() {
    let (target, mut honest) = start();
    let before = number(&mut honest, "used_memory");
    let mut sockets: Vec<_> = (0..COUNT).map(|_| target.raw()).collect();
    for socket in &mut sockets {
        send(socket, b"PING\r\n");
        assert_eq!(line(socket), "-NOAUTH Authentication required.");
    }
    let grown = number(&mut honest, "used_memory").saturating_sub(before);
    eprintln!("{} bytes for each connection", grown / COUNT as u64);
    assert!(grown < COUNT as u64 * (8 << 10) + MIB, "{grown} bytes for {COUNT} connections");
}
