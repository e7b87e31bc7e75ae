//! Aggregates in aggregates, and types that no request has.

use crate::target::{Target, is_answered, line, rest, send};

#[test]
fn nested_and_foreign_types_are_protocol_errors_however_deep() {
    let target = Target::start(&[]);
    let peak = target.peak();
    let deep = b"*1\r\n".repeat(100_000);
    let cases: [(&[u8], &str); 5] = [
        (&deep, "-ERR Protocol error: expected '$', got '*'"),
        (b"*1\r\n:5\r\n", "-ERR Protocol error: expected '$', got ':'"),
        (b"*2\r\n+GET\r\n", "-ERR Protocol error: expected '$', got '+'"),
        (b"*1\r\n%1\r\n", "-ERR Protocol error: expected '$', got '%'"),
        (b"*1\r\n\0\0\0", "-ERR Protocol error: expected '$', got '\0'"),
    ];
    target.beside_an_honest_client(|| {
        for _ in 0..40 {
            for (bytes, error) in cases {
                let mut socket = target.raw();
                send(&mut socket, bytes);
                assert_eq!(rest(&mut socket).trim_end_matches("\r\n"), error);
            }
        }
    });
    target.assert_peak_within(peak, 0);
}

#[test]
fn replies_sent_as_requests_are_inline_commands_that_nobody_knows() {
    let target = Target::start(&[]);
    let mut socket = target.raw();
    send(&mut socket, b"%1\r\n>2\r\n~3\r\n");
    for word in ["%1", ">2", "~3"] {
        let text = line(&mut socket);
        assert!(text.starts_with(&format!("-ERR unknown command '{word}'")), "{text}");
    }
    assert!(is_answered(&mut socket));
}
