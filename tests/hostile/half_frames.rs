//! Half a request, then silence.

use crate::target::{Target, rest, send};

const COUNT: usize = 300;

#[test]
fn announced_bytes_take_no_memory_and_silence_ends_at_the_time_out() {
    let target = Target::start(&[]);
    let mut sockets = target.raws(COUNT);
    let (before, peak) = (target.number("used_memory"), target.peak());
    target.beside_an_honest_client(|| {
        for socket in &mut sockets {
            send(socket, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\nxx");
        }
        target.wait_for("the bytes to be read", || {
            target.number("total_net_input_bytes") > (COUNT * 40) as u64
        });
    });
    let grown = target.number("used_memory").saturating_sub(before);
    assert!(grown < (COUNT as u64) * (8 << 10), "{grown} bytes for {COUNT} connections");
    target.assert_peak_within(peak, 0);
    target.ask(&["CONFIG", "SET", "timeout", "1"]);
    for socket in &mut sockets {
        assert_eq!(rest(socket), "");
    }
    target.wait_for("them to be gone", || target.number("connected_clients") <= 2);
    target.wait_for("their memory", || target.number("used_memory") < before + 2 * (1 << 20));
}

#[test]
fn what_arrives_of_a_large_argument_takes_at_most_about_twice_its_length() {
    let target = Target::start(&[]);
    let mut sockets = target.raws(40);
    let before = target.number("used_memory");
    let part = vec![b'x'; 1 << 20];
    for socket in &mut sockets {
        send(socket, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\n");
        send(socket, &part);
    }
    target.wait_for("the bytes to be read", || target.number("total_net_input_bytes") > 40 << 20);
    let grown = target.number("used_memory").saturating_sub(before);
    assert!(grown < 40 * (2 << 20) + (40 << 17), "{grown} bytes for 40 MiB");
}
