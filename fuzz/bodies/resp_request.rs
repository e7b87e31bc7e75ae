//! The request parser on any bytes: whole or in pieces it finds the same requests and ends with the same outcome, it never
//! consumes beyond the buffer, and on canonical requests it agrees with redis-protocol's decoder.
//!
//! Shared by the fuzz target and `tests/fuzz_bodies.rs`.

use duramen::resp::{Limits, OwnedArgs, Parsed, Parser, ProtocolError, RequestArgs};
use redis_protocol::resp2::{decode::decode, types::OwnedFrame};

/// The first two bytes choose limits and the size of pieces, the rest is what the client sends.
pub fn check(data: &[u8]) {
    let [mode, piece, stream @ ..] = data else { return };
    let limits = match mode % 3 {
        0 => Limits::DEFAULT,
        1 => Limits { authenticated: false, ..Limits::DEFAULT },
        _ => Limits { max_bulk_len: 64, max_multibulk_len: 8, max_inline_len: 32, authenticated: true },
    };
    let whole = run(stream, stream.len().max(1), false, &limits);
    for shifting in [false, true] {
        let pieces = run(stream, usize::from(*piece) + 1, shifting, &limits);
        assert_eq!(
            whole,
            pieces,
            "cut into pieces of {} bytes, shifting: {shifting}",
            usize::from(*piece) + 1
        );
    }
    if *mode % 3 == 0 {
        compare_with_redis_protocol(stream, &limits);
    }
}

/// What a stream comes to: its requests (empty ones too), how many bytes they took, and the error at its end.
#[derive(Debug, PartialEq)]
struct Outcome {
    requests: Vec<OwnedArgs>,
    consumed: usize,
    error: Option<ProtocolError>,
}

fn run(stream: &[u8], piece: usize, shifting: bool, limits: &Limits) -> Outcome {
    let mut parser = Parser::new();
    let mut outcome = Outcome { requests: Vec::new(), consumed: 0, error: None };
    let (mut buf, mut removed) = (Vec::new(), 0);
    for part in stream.chunks(piece) {
        buf.extend_from_slice(part);
        loop {
            match parser.parse(&buf, limits) {
                Ok(Parsed::Incomplete) => break,
                Ok(found) => {
                    let args = parser.args(&buf);
                    assert_eq!(found == Parsed::Empty, args.is_empty());
                    outcome.requests.push(OwnedArgs::from(args));
                    assert!(removed + parser.consumed() > outcome.consumed, "no progress");
                }
                Err(error) => {
                    assert_eq!(parser.parse(&buf, limits), Err(error), "an error stays");
                    outcome.error = Some(error);
                    return outcome;
                }
            }
            outcome.consumed = removed + parser.consumed();
            assert!(parser.consumed() <= buf.len());
        }
        assert!(parser.heap_len() <= 64 * 1024 + 64 * stream.len(), "memory follows the bytes that arrived");
        if shifting {
            let done = parser.consumed();
            buf.drain(..done);
            parser.shift(done);
            removed += done;
        }
    }
    outcome
}

fn compare_with_redis_protocol(stream: &[u8], limits: &Limits) {
    let mut parser = Parser::new();
    loop {
        let start = parser.consumed();
        let found = parser.parse(stream, limits);
        if let Ok(Parsed::Request) = found {
            let args = parser.args(stream);
            let raw = &stream[start..parser.consumed()];
            if encode(args) == raw {
                let (frame, len) = decode(raw).expect("canonical request").expect("complete request");
                assert_eq!(len, raw.len());
                assert_eq!(bulk_strings(frame), Some(OwnedArgs::from(args)));
            }
        } else if let Ok(Some((frame, len))) = decode(&stream[start.min(stream.len())..])
            && let Some(args) = bulk_strings(frame)
        {
            assert_ne!(
                encode(args.as_args()),
                &stream[start..start + len],
                "{found:?} for a canonical request"
            );
        }
        if matches!(found, Ok(Parsed::Incomplete) | Err(_)) {
            return;
        }
    }
}

/// The arguments, if the frame is a request: an array of one or more bulk strings.
fn bulk_strings(frame: OwnedFrame) -> Option<OwnedArgs> {
    let OwnedFrame::Array(frames) = frame else { return None };
    let mut args = OwnedArgs::default();
    for frame in &frames {
        let OwnedFrame::BulkString(bytes) = frame else { return None };
        args.push(bytes);
    }
    (!frames.is_empty()).then_some(args)
}

fn encode(args: RequestArgs<'_>) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args.iter() {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "*1\r\n$4\r\nPING\r\n",
        "SET a 'b c'\r\n\r\nGET \"a\\x20\"\r\n",
        "*0\r\n*-1\r\n*2\r\n$1\r\na\r\n$0\r\n\r\n",
    ];
    texts.iter().flat_map(|text| (0..3).map(|mode| [&[mode, 2], text.as_bytes()].concat())).collect()
}
