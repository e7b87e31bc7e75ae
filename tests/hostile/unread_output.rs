//! Requests whose replies are never read.

use std::io::Write;

use crate::support::client::Value;
use crate::target::{MIB, Target, send};

const COUNT: usize = 200;

/// A server with a value of `len` bytes under `big`.
fn start(directives: &[(&str, &str)], len: usize) -> Target {
    let target = Target::start(directives);
    assert_eq!(target.ask(&["SET", "big", &"x".repeat(len)]), Value::ok());
    target
}

const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n";

#[test]
fn replies_of_all_connections_together_stop_at_held_replies_size() {
    let target = start(&[("held-replies-size", "16mb")], 100_000);
    let peak = target.peak();
    let mut sockets = target.raws(COUNT);
    let bound = 16 * MIB + COUNT as u64 * 110_000;
    target.beside_an_honest_client(|| {
        // Twenty million bytes of replies for each.
        sockets.iter_mut().for_each(|socket| send(socket, &GET.repeat(200)));
        target.wait_for("the limit", || target.number("held_reply_bytes") > 16 * MIB);
        for _ in 0..20 {
            assert!(target.number("held_reply_bytes") < bound);
        }
    });
    // The buffers that they wait in are longer: half of one may be sent already, and it grows by doubling.
    target.assert_peak_within(peak, 4 * bound);
}

#[test]
fn whoever_lets_more_wait_than_its_limit_is_closed_at_once() {
    let target =
        start(&[("client-output-buffer-limit", "normal 2mb 0 0"), ("held-replies-size", "4gb")], 100_000);
    let peak = target.peak();
    let mut sockets = target.raws(60);
    target.beside_an_honest_client(|| {
        sockets.iter_mut().for_each(|socket| send(socket, &GET.repeat(400)));
        target.wait_for("all to be closed", || {
            target.number("client_output_buffer_limit_disconnections") == 60
        });
    });
    // Each of them when it had two megabytes, in buffers of up to four, not a quarter of a second later.
    target.assert_peak_within(peak, 60 * 4 * MIB);
}

#[test]
fn a_single_reply_beyond_the_limit_is_not_made_to_its_end() {
    let target = start(&[("client-output-buffer-limit", "normal 2mb 0 0")], 1 << 20);
    let peak = target.peak();
    let mut client = target.server.client();
    client.queue(std::iter::once("MGET").chain(std::iter::repeat_n("big", 2000)));
    let _ = client.flush();
    assert!(client.receive().is_err(), "two thousand million bytes");
    assert_eq!(target.number("client_output_buffer_limit_disconnections"), 1);
    target.assert_peak_within(peak, 8 * MIB);
}

#[test]
fn all_clients_together_stay_within_maxmemory_clients() {
    let target = start(&[("maxmemory-clients", "32mb")], 1 << 20);
    let peak = target.peak();
    let mut sockets = target.raws(COUNT);
    target.beside_an_honest_client(|| {
        for socket in &mut sockets {
            let _ = socket.write_all(&GET.repeat(64));
        }
        target.wait_for("somebody to be closed", || target.number("evicted_clients") > 10);
        for _ in 0..20 {
            assert!(target.number("client_memory_bytes") <= 34 * MIB);
        }
    });
    // Those that must end still have what they had.
    target.assert_peak_within(peak, 2 * 34 * MIB);
    drop(sockets);
    target.wait_for("them to be gone", || target.number("connected_clients") <= 2);
    assert!(target.number("client_memory_bytes") < MIB);
}
