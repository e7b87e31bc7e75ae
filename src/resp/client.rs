//! A small blocking RESP client for tests and tools: requests out, [`Value`]s in, over any stream.
//!
//! Values are decoded by redis-protocol, which knows nothing of this crate's writer; only the elements of aggregates are walked
//! here. Not for the server: no timeouts but the stream's, hardly a limit on what the other side sends.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;

use redis_protocol::{resp2, resp3};

use super::number::parse_i64;

/// Bytes asked of the stream at once.
const READ_LEN: usize = 64 * 1024;
/// Nesting that is followed; Redis stays below ten.
const DEPTH_MAX: usize = 128;
/// A length from here on is taken for garbage.
const LEN_MAX: i64 = 1 << 40;

/// Any reply of RESP2 or RESP3. Attributes are dropped.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Simple(String),
    /// The line without `-`.
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    /// Of any of the three kinds.
    Null,
    Array(Vec<Value>),
    /// In the order received.
    Map(Vec<(Value, Value)>),
    /// In the order received.
    Set(Vec<Value>),
    Double(f64),
    Boolean(bool),
    Verbatim(Vec<u8>),
    BigNumber(String),
    Push(Vec<Value>),
}

impl Value {
    pub fn ok() -> Self {
        Self::Simple("OK".to_owned())
    }

    pub fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(bytes.as_ref().to_vec())
    }

    pub const fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub const fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The bytes of a simple, bulk or verbatim string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text) => Some(text.as_bytes()),
            Self::Bulk(bytes) | Self::Verbatim(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// [`Self::as_bytes`], if they are UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        self.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The elements of an array, set or push.
    pub fn elements(&self) -> Option<&[Value]> {
        match self {
            Self::Array(elements) | Self::Set(elements) | Self::Push(elements) => Some(elements),
            _ => None,
        }
    }

    /// Writes the value as redis-cli does; elements after the first are indented by `indent` spaces.
    fn show(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        match self {
            Self::Simple(text) => f.write_str(text),
            Self::Error(text) => write!(f, "(error) {text}"),
            Self::Integer(value) => write!(f, "(integer) {value}"),
            Self::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Self::Verbatim(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
            Self::Null => f.write_str("(nil)"),
            Self::Double(value) => write!(f, "(double) {}", super::number::format_f64(*value)),
            Self::Boolean(value) => write!(f, "({value})"),
            Self::BigNumber(digits) => write!(f, "(big number) {digits}"),
            Self::Array(elements) => show_elements(f, elements, ")", "(empty array)", indent),
            Self::Set(elements) => show_elements(f, elements, "~", "(empty set)", indent),
            Self::Push(elements) => show_elements(f, elements, ">", "(empty push)", indent),
            Self::Map(pairs) => show_pairs(f, pairs, indent),
        }
    }
}

/// `1) ...` and so on, one element a line, numbers aligned.
fn show_elements(
    f: &mut fmt::Formatter<'_>,
    elements: &[Value],
    sign: &str,
    empty: &str,
    indent: usize,
) -> fmt::Result {
    if elements.is_empty() {
        return f.write_str(empty);
    }
    let width = elements.len().to_string().len();
    for (i, element) in elements.iter().enumerate() {
        let indent_here = if i == 0 { 0 } else { indent };
        let line = if i == 0 { "" } else { "\n" };
        write!(f, "{line}{:indent_here$}{:>width$}{sign} ", "", i + 1)?;
        element.show(f, indent + width + 2)?;
    }
    Ok(())
}

fn show_pairs(f: &mut fmt::Formatter<'_>, pairs: &[(Value, Value)], indent: usize) -> fmt::Result {
    if pairs.is_empty() {
        return f.write_str("(empty hash)");
    }
    let width = pairs.len().to_string().len();
    for (i, (key, value)) in pairs.iter().enumerate() {
        let indent_here = if i == 0 { 0 } else { indent };
        let line = if i == 0 { "" } else { "\n" };
        write!(f, "{line}{:indent_here$}{:>width$}# ", "", i + 1)?;
        key.show(f, indent + width + 2)?;
        f.write_str(" => ")?;
        value.show(f, indent + width + 2)?;
    }
    Ok(())
}

impl fmt::Display for Value {
    /// Like redis-cli: aggregates have one element a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, 0)
    }
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A connection. `S` is a socket, or anything that reads and writes.
#[derive(Debug)]
pub struct Client<S> {
    stream: S,
    /// Requests not yet written.
    output: Vec<u8>,
    /// Replies not yet taken.
    input: Vec<u8>,
    frame: FrameScan,
}

impl Client<TcpStream> {
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self::new(stream))
    }
}

impl Client<UnixStream> {
    pub fn connect_unix(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self::new(UnixStream::connect(path)?))
    }
}

impl<S> Client<S> {
    pub const fn new(stream: S) -> Self {
        Self { stream, output: Vec::new(), input: Vec::new(), frame: FrameScan::new() }
    }

    /// The stream, for timeouts or to close one direction.
    pub const fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Adds a request to those that the next [`Self::flush`] sends.
    pub fn queue<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        encode_request(&mut self.output, args);
    }
}

impl<S: Read + Write> Client<S> {
    /// Writes what was queued.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        self.stream.flush()
    }

    /// Sends a request, after those queued, without waiting for its reply.
    pub fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<()> {
        self.queue(args);
        self.flush()
    }

    /// Sends bytes as they are, after the requests queued.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.extend_from_slice(bytes);
        self.flush()
    }

    /// Waits for the next reply or push message. [`io::ErrorKind::UnexpectedEof`]: the other side closed the connection.
    pub fn recv(&mut self) -> io::Result<Value> {
        self.flush()?;
        loop {
            if let Some(len) = self.frame.advance(&self.input)? {
                let value = decode_one(&self.input[..len])?;
                self.input.drain(..len);
                self.frame = FrameScan::new();
                return Ok(value);
            }
            let len = self.input.len();
            self.input.resize(len + READ_LEN, 0);
            let read = self.stream.read(&mut self.input[len..]);
            self.input.truncate(len + *read.as_ref().unwrap_or(&0));
            if read? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
        }
    }

    /// One request, one reply. An error reply is a [`Value::Error`].
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Value> {
        self.send(args)?;
        self.recv()
    }

    /// All requests at once, then all replies. Keep it to what socket buffers hold: neither side reads while it writes.
    pub fn pipeline<R: AsRef<[A]>, A: AsRef<[u8]>>(&mut self, requests: &[R]) -> io::Result<Vec<Value>> {
        requests.iter().for_each(|args| self.queue(args.as_ref()));
        self.flush()?;
        requests.iter().map(|_| self.recv()).collect()
    }

    /// Switches to RESP3; gives the server's answer.
    pub fn hello3(&mut self) -> io::Result<Value> {
        self.call(&["HELLO", "3"])
    }
}

/// Appends a request: an array of bulk strings.
pub fn encode_request<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    let mut writer = super::reply::Reply::new(out, super::reply::Protocol::Resp2);
    writer.array(args.len());
    args.iter().for_each(|arg| writer.bulk(arg.as_ref()));
}

/// The value that these bytes are, all of them.
pub fn decode_one(bytes: &[u8]) -> io::Result<Value> {
    let mut rest = bytes;
    let value = take_value(&mut rest, 0)?;
    if rest.is_empty() { Ok(value) } else { Err(malformed("bytes left over")) }
}

/// Takes the value at the front of `rest`, which holds all of it.
fn take_value(rest: &mut &[u8], depth: usize) -> io::Result<Value> {
    if depth > DEPTH_MAX {
        return Err(malformed("nested too deeply"));
    }
    let Header { kind, len, line_len } = Header::read(rest)?.ok_or_else(|| malformed("ends too early"))?;
    let Some(len) = len.filter(|_| is_aggregate(kind)) else {
        // A scalar, or an aggregate that is null.
        let leaf_len = line_len + if is_aggregate(kind) { 0 } else { len.map_or(0, |len| len + 2) };
        let (leaf, after) = rest.split_at_checked(leaf_len).ok_or_else(|| malformed("ends too early"))?;
        *rest = after;
        return decode_leaf(leaf);
    };
    *rest = &rest[line_len..];
    let mut elements =
        |count: usize| (0..count).map(|_| take_value(rest, depth + 1)).collect::<io::Result<_>>();
    match kind {
        b'*' => Ok(Value::Array(elements(len)?)),
        b'~' => Ok(Value::Set(elements(len)?)),
        b'>' => Ok(Value::Push(elements(len)?)),
        b'%' => {
            let pair = |_| Ok((take_value(rest, depth + 1)?, take_value(rest, depth + 1)?));
            Ok(Value::Map((0..len).map(pair).collect::<io::Result<_>>()?))
        }
        // Attributes: the value that they belong to follows.
        _ => {
            let _: Vec<Value> = elements(2 * len)?;
            take_value(rest, depth + 1)
        }
    }
}

/// Decodes anything that has no elements. Aggregates are not left to the decoder: its sets and maps lose order and
/// duplicates, and refuse the sets of arrays in Redis' own COMMAND reply.
fn decode_leaf(leaf: &[u8]) -> io::Result<Value> {
    use resp2::types::OwnedFrame as Old;
    use resp3::types::OwnedFrame as New;
    if matches!(leaf.first(), Some(b'+' | b'-' | b':' | b'$' | b'*')) {
        return match resp2::decode::decode(leaf).map_err(malformed)? {
            Some((Old::SimpleString(bytes), _)) => Ok(Value::Simple(lossy(bytes))),
            Some((Old::Error(text), _)) => Ok(Value::Error(text)),
            Some((Old::Integer(value), _)) => Ok(Value::Integer(value)),
            Some((Old::BulkString(bytes), _)) => Ok(Value::Bulk(bytes)),
            Some((Old::Null, _)) => Ok(Value::Null),
            other => Err(malformed(format_args!("{other:?}"))),
        };
    }
    match resp3::decode::complete::decode(leaf).map_err(malformed)? {
        Some((New::Null, _)) => Ok(Value::Null),
        Some((New::BlobError { data, .. }, _)) => Ok(Value::Error(lossy(data))),
        Some((New::Boolean { data, .. }, _)) => Ok(Value::Boolean(data)),
        Some((New::Double { data, .. }, _)) => Ok(Value::Double(data)),
        Some((New::BigNumber { data, .. }, _)) => Ok(Value::BigNumber(lossy(data))),
        Some((New::VerbatimString { data, .. }, _)) => Ok(Value::Verbatim(data)),
        other => Err(malformed(format_args!("{other:?}"))),
    }
}

const fn is_aggregate(kind: u8) -> bool {
    matches!(kind, b'*' | b'~' | b'>' | b'%' | b'|')
}

/// The first line of a value.
struct Header {
    kind: u8,
    /// Bytes of a string, elements of an aggregate, pairs of a map or attributes; `None` for other types and for nulls.
    len: Option<usize>,
    /// With its line end.
    line_len: usize,
}

impl Header {
    /// `None`: the line is not complete.
    fn read(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line = bytes[..end].strip_suffix(b"\r").ok_or_else(|| malformed("bare line feed"))?;
        let (&kind, rest) = line.split_first().ok_or_else(|| malformed("empty line"))?;
        let len = if is_aggregate(kind) || matches!(kind, b'$' | b'=' | b'!') {
            let len = parse_i64(rest).filter(|len| (-1..LEN_MAX).contains(len));
            let len = len.ok_or_else(|| malformed(format_args!("length {}", rest.escape_ascii())))?;
            usize::try_from(len).ok()
        } else {
            None
        };
        Ok(Some(Self { kind, len, line_len: end + 1 }))
    }
}

fn malformed(reason: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed reply: {reason}"))
}

/// Finds the end of a reply without decoding it and without starting over at its beginning when more bytes arrive.
#[derive(Debug)]
struct FrameScan {
    /// The next element's first byte; may be beyond the bytes that are here.
    position: usize,
    /// Elements still to come.
    missing: usize,
}

impl FrameScan {
    const fn new() -> Self {
        Self { position: 0, missing: 1 }
    }

    /// The reply's length, once `input` has all of it.
    fn advance(&mut self, input: &[u8]) -> io::Result<Option<usize>> {
        while self.missing > 0 {
            let Some(rest) = input.get(self.position..) else { return Ok(None) };
            let Some(Header { kind, len, line_len }) = Header::read(rest)? else { return Ok(None) };
            self.position += line_len;
            self.missing -= 1;
            let Some(len) = len else { continue };
            match kind {
                b'*' | b'~' | b'>' => self.missing = self.missing.saturating_add(len),
                b'%' => self.missing = self.missing.saturating_add(2 * len),
                b'|' => self.missing = self.missing.saturating_add(2 * len + 1),
                _ => self.position += len + 2,
            }
        }
        Ok((self.position <= input.len()).then_some(self.position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Limits, Parsed, Parser};

    /// A server whose replies are fixed and arrive in pieces of `piece` bytes.
    struct Script {
        replies: Vec<u8>,
        piece: usize,
        sent: Vec<u8>,
    }

    impl Read for Script {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let len = self.piece.min(self.replies.len()).min(buf.len());
            buf[..len].copy_from_slice(&self.replies[..len]);
            self.replies.drain(..len);
            Ok(len)
        }
    }

    impl Write for Script {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.sent.extend_from_slice(buf);
            Ok(buf.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn client(replies: &[u8], piece: usize) -> Client<Script> {
        Client::new(Script { replies: replies.to_vec(), piece, sent: Vec::new() })
    }

    const REPLIES: &[u8] = b"+OK\r\n-ERR no\r\n:-7\r\n$4\r\na\r\nb\r\n$-1\r\n*-1\r\n*2\r\n*0\r\n$1\r\nx\r\n\
        %2\r\n+z\r\n:1\r\n+a\r\n_\r\n~2\r\n:2\r\n:1\r\n,1.5\r\n#t\r\n=6\r\ntxt:hi\r\n(123\r\n>1\r\n+p\r\n";

    fn values() -> Vec<Value> {
        let simple = |text: &str| Value::Simple(text.to_owned());
        vec![
            Value::ok(),
            Value::Error("ERR no".to_owned()),
            Value::Integer(-7),
            Value::bulk("a\r\nb"),
            Value::Null,
            Value::Null,
            Value::Array(vec![Value::Array(vec![]), Value::bulk("x")]),
            Value::Map(vec![(simple("z"), Value::Integer(1)), (simple("a"), Value::Null)]),
            Value::Set(vec![Value::Integer(2), Value::Integer(1)]),
            Value::Double(1.5),
            Value::Boolean(true),
            Value::Verbatim(b"hi".to_vec()),
            Value::BigNumber("123".to_owned()),
            Value::Push(vec![simple("p")]),
        ]
    }

    #[test]
    fn replies_of_both_versions_are_read_however_they_arrive() {
        for piece in 1..=REPLIES.len() {
            let mut client = client(REPLIES, piece);
            for expected in values() {
                assert_eq!(client.recv().unwrap(), expected, "in pieces of {piece}");
            }
            assert_eq!(client.recv().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn aggregates_keep_order_duplicates_and_elements_of_any_type() {
        let mut client =
            client(b"~3\r\n*1\r\n:1\r\n*0\r\n*0\r\n|1\r\n+a\r\n:1\r\n%2\r\n+k\r\n:1\r\n+k\r\n:2\r\n", 7);
        let empty = Value::Array(vec![]);
        let set = Value::Set(vec![Value::Array(vec![Value::Integer(1)]), empty.clone(), empty]);
        assert_eq!(client.recv().unwrap(), set);
        let key = Value::Simple("k".to_owned());
        let map = Value::Map(vec![(key.clone(), Value::Integer(1)), (key, Value::Integer(2))]);
        assert_eq!(client.recv().unwrap(), map);
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let error = client(format!("{}:1\r\n", "*1\r\n".repeat(10_000)).as_bytes(), 4096).recv().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn malformed_replies_are_errors() {
        for reply in [&b"?what\r\n"[..], b"*2x\r\n", b"$-2\r\n", b"\r\n", b"+OK\n", b"$99999999999999\r\n"] {
            let error = client(reply, 64).recv().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{}", reply.escape_ascii());
        }
    }

    #[test]
    fn requests_are_what_the_parser_reads() {
        let mut client = client(b"+OK\r\n:1\r\n", 3);
        let replies = client.pipeline(&[vec!["SET", "k", ""], vec!["INCR", "n"]]).unwrap();
        assert_eq!(replies, [Value::ok(), Value::Integer(1)]);
        let (sent, mut parser) = (&client.stream.sent, Parser::new());
        assert_eq!(parser.parse(sent, &Limits::DEFAULT), Ok(Parsed::Request));
        assert_eq!(parser.args(sent).iter().collect::<Vec<_>>(), [&b"SET"[..], b"k", b""]);
        assert_eq!(parser.parse(sent, &Limits::DEFAULT), Ok(Parsed::Request));
        assert_eq!(parser.args(sent).iter().collect::<Vec<_>>(), [&b"INCR"[..], b"n"]);
    }

    #[test]
    fn values_are_shown_as_redis_cli_shows_them() {
        let value = Value::Array(vec![
            Value::bulk("a\n"),
            Value::Array(vec![Value::Integer(1), Value::Null]),
            Value::Map(vec![
                (Value::bulk("k"), Value::Array(vec![])),
                (Value::bulk("l"), Value::Double(0.5)),
            ]),
            Value::Error("ERR no".to_owned()),
        ]);
        let text = "1) \"a\\n\"\n\
                    2) 1) (integer) 1\n   2) (nil)\n\
                    3) 1# \"k\" => (empty array)\n   2# \"l\" => (double) 0.5\n\
                    4) (error) ERR no";
        assert_eq!(value.to_string(), text);
        assert_eq!(Value::Array(vec![Value::ok(); 10]).to_string().lines().next(), Some(" 1) OK"));
    }
}
