//! The request parser: every error text, every cut, and redis-protocol beside it.

use super::super::request::OwnedArgs;
use super::*;
use proptest::prelude::*;

fn parse_all(input: &[u8], limits: &Limits) -> (Vec<OwnedArgs>, Result<Parsed, ProtocolError>) {
    let mut parser = Parser::new();
    let mut requests = Vec::new();
    loop {
        match parser.parse(input, limits) {
            Ok(Parsed::Request) => requests.push(OwnedArgs::from(parser.args(input))),
            Ok(Parsed::Empty) => assert!(parser.args(input).is_empty()),
            end => return (requests, end),
        }
    }
}

fn requests(input: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let (requests, end) = parse_all(input, &Limits::DEFAULT);
    assert_eq!(end, Ok(Parsed::Incomplete), "{}", input.escape_ascii());
    requests.iter().map(|request| request.as_args().iter().map(<[u8]>::to_vec).collect()).collect()
}

fn error_line(input: &[u8], limits: &Limits) -> String {
    match parse_all(input, limits).1 {
        Err(error) => String::from_utf8_lossy(&error.line()).into_owned(),
        other => panic!("{other:?} for {}", input.escape_ascii()),
    }
}

fn encode(args: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend(format!("${}\r\n", arg.len()).into_bytes());
        out.extend(arg);
        out.extend(b"\r\n");
    }
    out
}

#[test]
fn multibulk_requests_are_pipelined() {
    let input = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n";
    assert_eq!(requests(input), [vec![b"SET".to_vec(), b"k".to_vec(), vec![]], vec![b"PING".to_vec()]]);
}

#[test]
fn requests_without_arguments_are_skipped() {
    for empty in ["*0\r\n", "*-1\r\n", "*-99999\r\n", "*-9223372036854775808\r\n", "\r\n", "\n", "  \t \r\n"]
    {
        let input = format!("{empty}PING\r\n");
        assert_eq!(requests(input.as_bytes()), [[b"PING"]], "{empty:?}");
    }
}

#[test]
fn broken_multibulk_lengths_are_refused_as_redis_does() {
    for length in [
        "abc",
        "",
        "+1",
        "01",
        " 1",
        "1 ",
        "-",
        "-0",
        "2147483648",
        "99999999999999999999",
        "-9223372036854775809",
    ] {
        let line = error_line(format!("*{length}\r\n").as_bytes(), &Limits::DEFAULT);
        assert_eq!(line, "ERR Protocol error: invalid multibulk length", "{length:?}");
    }
    assert_eq!(parse_all(b"*2147483647\r\n", &Limits::DEFAULT).1, Ok(Parsed::Incomplete));
}

#[test]
fn broken_bulk_lengths_are_refused_as_redis_does() {
    for length in
        ["abc", "", "+4", "04", "-1", "-0", "536870913", "9223372036854775807", "99999999999999999999999"]
    {
        let line = error_line(format!("*1\r\n${length}\r\n").as_bytes(), &Limits::DEFAULT);
        assert_eq!(line, "ERR Protocol error: invalid bulk length", "{length:?}");
    }
    assert_eq!(parse_all(b"*1\r\n$536870912\r\n", &Limits::DEFAULT).1, Ok(Parsed::Incomplete));
}

#[test]
fn anything_but_a_bulk_string_is_refused_as_redis_does() {
    for (got, shown) in [('+', '+'), ('\'', '\''), ('\r', ' '), ('\n', ' '), ('*', '*')] {
        let line = error_line(format!("*1\r\n{got}PING\r\n").as_bytes(), &Limits::DEFAULT);
        assert_eq!(line, format!("ERR Protocol error: expected '$', got '{shown}'"));
    }
}

#[test]
fn long_lines_are_refused_as_redis_does() {
    let digits = "1".repeat(65536);
    let cases = [
        (format!("*{digits}"), "ERR Protocol error: too big mbulk count string"),
        (format!("*1\r\n${digits}"), "ERR Protocol error: too big bulk count string"),
        (format!("{digits}1"), "ERR Protocol error: too big inline request"),
        (format!("{digits}1\r\n"), "ERR Protocol error: too big inline request"),
    ];
    for (input, line) in cases {
        assert_eq!(error_line(input.as_bytes(), &Limits::DEFAULT), line);
        let shorter = &input.as_bytes()[..input.trim_end().len() - 1];
        assert_eq!(parse_all(shorter, &Limits::DEFAULT).1, Ok(Parsed::Incomplete));
    }
}

#[test]
fn unbalanced_quotes_are_refused_as_redis_does() {
    for line in ["ECHO \"abc", "ECHO \"abc\"d", "ECHO 'abc'd", "ECHO 'abc", "\"", "'\\'", "\"a\\\"", "\"\\"] {
        let input = format!("{line}\r\n");
        let shown = error_line(input.as_bytes(), &Limits::DEFAULT);
        assert_eq!(shown, "ERR Protocol error: unbalanced quotes in request", "{line}");
    }
}

#[test]
fn limits_are_tight_before_authentication() {
    let limits = Limits { authenticated: false, ..Limits::DEFAULT };
    assert_eq!(error_line(b"*11\r\n", &limits), "ERR Protocol error: unauthenticated multibulk length");
    assert_eq!(error_line(b"*1\r\n$16385\r\n", &limits), "ERR Protocol error: unauthenticated bulk length");
    assert_eq!(error_line(b"*99999999999\r\n", &limits), "ERR Protocol error: invalid multibulk length");
    assert_eq!(parse_all(b"*10\r\n$16384\r\n", &limits).1, Ok(Parsed::Incomplete));
}

#[test]
fn configured_limits_hold() {
    let limits = Limits { max_bulk_len: 4, max_multibulk_len: 2, ..Limits::DEFAULT };
    assert_eq!(error_line(b"*3\r\n", &limits), "ERR Protocol error: invalid multibulk length");
    assert_eq!(error_line(b"*2\r\n$5\r\n", &limits), "ERR Protocol error: invalid bulk length");
    assert_eq!(parse_all(b"*2\r\n$4\r\nPING\r\n$4\r\n", &limits).1, Ok(Parsed::Incomplete));
}

#[test]
fn inline_arguments_are_split_and_unquoted_as_redis_does() {
    let cases: [(&[u8], &[&[u8]]); 17] = [
        (b"PING\n", &[b"PING"]),
        (b"PING\r\r\n", &[b"PING"]),
        (b"\t PING  a \r\n", &[b"PING", b"a"]),
        (b"+PING\r\n", &[b"+PING"]),
        (b"E \"\\x41\\n\\t\\q\\\"\\b\\a\\r\\\\\"\r\n", &[b"E", b"A\n\tq\"\x08\x07\r\\"]),
        (b"E \"\\x4\" \"\\xZZ\"\r\n", &[b"E", b"x4", b"xZZ"]),
        (b"E 'a\\'b\\n'\r\n", &[b"E", b"a'b\\n"]),
        (b"E a\"b c\"\r\n", &[b"E", b"ab c"]),
        (b"E \"\" ''\r\n", &[b"E", b"", b""]),
        (b"E a\\n\r\n", &[b"E", b"a\\n"]),
        (b"E a\rb\r\n", &[b"E", b"a", b"b"]),
        (b"E a\x0bb\r\n", &[b"E", b"a\x0bb"]),
        (b"E \x0ba\r\n", &[b"E", b"a"]),
        (b"E \"a\"\x0bb\r\n", &[b"E", b"a", b"b"]),
        (b"E a\xa0b\r\n", &[b"E", b"a\xa0b"]),
        (b"E a\0b\r\n", &[b"E", b"a\0b"]),
        (b"$4\r\n", &[b"$4"]),
    ];
    for (line, args) in cases {
        assert_eq!(requests(line), [args.to_vec()], "{}", line.escape_ascii());
    }
}

#[test]
fn skipped_bytes_are_not_looked_at() {
    assert_eq!(requests(b"*1\rX$4\rXPINGZZ"), [[b"PING"]]);
}

#[test]
fn a_declared_length_reserves_nothing() {
    let mut parser = Parser::new();
    let input = b"*1000000\r\n$536870912\r\nabc";
    assert_eq!(parser.parse(input, &Limits::DEFAULT), Ok(Parsed::Incomplete));
    assert_eq!(parser.heap_len(), 0);
    assert_eq!(parser.wanted(), 536870912 + 2 - 3);
}

#[test]
fn space_of_a_large_request_is_given_back() {
    let mut parser = Parser::new();
    let mut input = encode(&vec![vec![b'x']; 10_000]);
    assert_eq!(parser.parse(&input, &Limits::DEFAULT), Ok(Parsed::Request));
    assert_eq!(parser.args(&input).len(), 10_000);
    input.extend(b"*1\r\n$4\r\nPING\r\n");
    assert_eq!(parser.parse(&input, &Limits::DEFAULT), Ok(Parsed::Request));
    assert!(parser.heap_len() < 1024);
}

#[test]
fn wanted_counts_down_to_zero() {
    let mut parser = Parser::new();
    let input = b"*1\r\n$4\r\nPING\r\n";
    for (end, wanted) in [(3, 0), (4, 0), (8, 6), (9, 5), (13, 1), (14, 0)] {
        parser.parse(&input[..end], &Limits::DEFAULT).unwrap();
        assert_eq!(parser.wanted(), wanted, "after {end} bytes");
    }
    assert_eq!(parser.consumed(), 14);
}

#[test]
fn bytes_before_an_unfinished_request_can_be_removed() {
    let mut parser = Parser::new();
    let mut buf = b"PING\r\n*2\r\n$4\r\nECHO\r\n$2\r\nh".to_vec();
    assert_eq!(parser.parse(&buf, &Limits::DEFAULT), Ok(Parsed::Request));
    assert_eq!(parser.parse(&buf, &Limits::DEFAULT), Ok(Parsed::Incomplete));
    assert_eq!(parser.consumed(), 6);
    buf.drain(..6);
    parser.shift(6);
    assert_eq!((parser.consumed(), parser.wanted()), (0, 3));
    buf.extend(b"i\r\n");
    assert_eq!(parser.parse(&buf, &Limits::DEFAULT), Ok(Parsed::Request));
    assert_eq!(OwnedArgs::from(parser.args(&buf)), OwnedArgs::from_slices(&[b"ECHO", b"hi"]));
    parser.shift(buf.len());
    assert_eq!(parser.parse(&[], &Limits::DEFAULT), Ok(Parsed::Incomplete));
    assert!(parser.args(&[]).is_empty());
}

/// A request and its bytes: multibulk or inline.
fn any_request() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<u8>)> {
    let arg = prop_oneof![8 => prop::collection::vec(any::<u8>(), 0..12), 1 => prop::collection::vec(any::<u8>(), 0..3000)];
    let multibulk = prop::collection::vec(arg, 1..12).prop_map(|args| (args.clone(), encode(&args)));
    let inline = prop::collection::vec("[a-zA-Z0-9:{}]{1,9}", 1..6).prop_map(|words| {
        let line = format!("{}\r\n", words.join(" "));
        (words.into_iter().map(String::into_bytes).collect(), line.into_bytes())
    });
    prop_oneof![4 => multibulk, 1 => inline]
}

proptest! {
    #[test]
    fn a_pipeline_cut_anywhere_gives_the_same_requests(
        pipeline in prop::collection::vec(any_request(), 1..8),
        pieces in prop::collection::vec(1usize..64, 1..64),
        shifting in any::<bool>(),
    ) {
        let stream: Vec<u8> = pipeline.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let (mut parser, mut buf, mut found) = (Parser::new(), Vec::new(), Vec::new());
        let (mut rest, mut pieces) = (&stream[..], pieces.into_iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(pieces.next().unwrap().min(rest.len()));
            buf.extend_from_slice(piece);
            rest = after;
            while parser.parse(&buf, &Limits::DEFAULT).unwrap() == Parsed::Request {
                found.push(parser.args(&buf).iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
            }
            if shifting {
                let consumed = parser.consumed();
                buf.drain(..consumed);
                parser.shift(consumed);
            }
        }
        let sent: Vec<_> = pipeline.into_iter().map(|(args, _)| args).collect();
        prop_assert_eq!(found, sent);
        prop_assert_eq!(parser.consumed(), buf.len());
    }

    #[test]
    fn requests_are_read_as_redis_protocol_reads_them(args in prop::collection::vec(any::<Vec<u8>>(), 1..20)) {
        use redis_protocol::{resp2, resp3};
        let bytes = encode(&args);
        let mut parser = Parser::new();
        prop_assert_eq!(parser.parse(&bytes, &Limits::DEFAULT), Ok(Parsed::Request));
        let ours: Vec<_> = parser.args(&bytes).iter().map(<[u8]>::to_vec).collect();

        let (frame, len) = resp2::decode::decode(&bytes).unwrap().unwrap();
        prop_assert_eq!(len, parser.consumed());
        let frames = ours.iter().cloned().map(resp2::types::OwnedFrame::BulkString).collect();
        prop_assert_eq!(frame, resp2::types::OwnedFrame::Array(frames));

        let (frame, len) = resp3::decode::complete::decode(&bytes).unwrap().unwrap();
        prop_assert_eq!(len, parser.consumed());
        let frames = ours.iter().cloned().map(|data| resp3::types::OwnedFrame::BlobString { data, attributes: None });
        prop_assert_eq!(frame, resp3::types::OwnedFrame::Array { data: frames.collect(), attributes: None });
    }
}
