//! Requests that ask for nothing.

use crate::target::{Target, is_answered, send};

#[test]
fn a_million_empty_commands_cost_no_memory_and_nobody_waits_for_them() {
    let target = Target::start(&[]);
    let peak = target.peak();
    let mut sockets = target.raws(4);
    target.beside_an_honest_client(|| {
        for (socket, empty) in sockets.iter_mut().zip([&b"\r\n"[..], b"*0\r\n", b"*-1\r\n", b"\n"]) {
            send(socket, &empty.repeat(1_000_000));
        }
        for socket in &mut sockets {
            assert!(is_answered(socket));
        }
    });
    target.assert_peak_within(peak, 0);
}
