//! MULTI without EXEC, WATCH without end.

use crate::support::client::Value;
use crate::target::{MIB, Target, rest, send};

#[test]
fn a_queue_of_commands_counts_with_all_that_it_takes() {
    let target = Target::start(&[("client-query-buffer-limit", "1mb")]);
    let peak = target.peak();
    let mut sockets = target.raws(50);
    target.beside_an_honest_client(|| {
        for socket in &mut sockets {
            send(socket, b"MULTI\r\n");
            // 120 kB on the wire: what is kept of a short command is ten times as long and more.
            send(socket, &b"PING\r\n".repeat(20_000));
            assert!(rest(socket).starts_with("+OK\r\n+QUEUED\r\n"));
        }
    });
    assert_eq!(target.number("client_query_buffer_limit_disconnections"), 50);
    target.assert_peak_within(peak, 50 * 2 * MIB);
}

#[test]
fn a_million_watched_keys_are_watched_in_a_moment_and_forgotten() {
    let target = Target::start(&[]);
    let mut client = target.server.client();
    let before = target.number("used_memory");
    target.beside_an_honest_client(|| {
        for batch in 0..1000 {
            let keys = (0..1000).map(|key| format!("{batch}:{key}"));
            client.queue(std::iter::once("WATCH".to_owned()).chain(keys));
        }
        client.flush().unwrap();
        for _ in 0..1000 {
            assert_eq!(client.receive().unwrap(), Value::ok());
        }
    });
    let taken = target.number("used_memory") - before;
    let told = target.number("client_memory_bytes");
    eprintln!("a million watched keys take {taken} bytes; counted are {told}");
    assert!(told > taken / 2 && told < 3 * taken, "{taken} bytes, counted as {told}");
    assert_eq!(client.call(["UNWATCH"]).unwrap(), Value::ok());
    target.wait_for("its memory", || target.number("used_memory") < before + taken / 2);
}

#[test]
fn watched_keys_stop_at_the_query_buffers_limit() {
    let target = Target::start(&[("client-query-buffer-limit", "1mb")]);
    let mut client = target.server.client();
    let mut refused = 0;
    for batch in 0..100 {
        let keys = (0..100).map(|key| format!("{batch}:{key}"));
        match client.call(std::iter::once("WATCH".to_owned()).chain(keys)).unwrap() {
            Value::Error(text) => {
                assert!(text.starts_with(b"ERR WATCH of more keys"), "{}", String::from_utf8_lossy(&text));
                refused += 1;
            }
            reply => assert_eq!(reply, Value::ok()),
        }
    }
    assert!(refused > 0 && refused < 100, "{refused} refused");
}
