//! A small blocking RESP client for tests and tools: requests out, [`Value`]s in, over any stream.
//!
//! Replies are decoded by redis-protocol, which knows nothing of this crate's writer. Not for the server: no timeouts but the
//! stream's, no limits on what the other side sends, and deep nesting recurses.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;

use redis_protocol::{resp2, resp3};

use super::number::parse_i64;

/// Bytes asked of the stream at once.
const READ_LEN: usize = 64 * 1024;

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

impl From<resp2::types::OwnedFrame> for Value {
    fn from(frame: resp2::types::OwnedFrame) -> Self {
        use resp2::types::OwnedFrame as Frame;
        match frame {
            Frame::SimpleString(bytes) => Self::Simple(lossy(bytes)),
            Frame::Error(text) => Self::Error(text),
            Frame::Integer(value) => Self::Integer(value),
            Frame::BulkString(bytes) => Self::Bulk(bytes),
            Frame::Array(frames) => Self::Array(frames.into_iter().map(Self::from).collect()),
            Frame::Null => Self::Null,
        }
    }
}

impl From<resp3::types::OwnedFrame> for Value {
    fn from(frame: resp3::types::OwnedFrame) -> Self {
        use resp3::types::OwnedFrame as Frame;
        let all = |frames: Vec<Frame>| frames.into_iter().map(Self::from).collect();
        match frame {
            Frame::BlobString { data, .. } | Frame::ChunkedString(data) => Self::Bulk(data),
            Frame::BlobError { data, .. } => Self::Error(lossy(data)),
            Frame::SimpleString { data, .. } => Self::Simple(lossy(data)),
            Frame::SimpleError { data, .. } => Self::Error(data),
            Frame::Boolean { data, .. } => Self::Boolean(data),
            Frame::Null => Self::Null,
            Frame::Number { data, .. } => Self::Integer(data),
            Frame::Double { data, .. } => Self::Double(data),
            Frame::BigNumber { data, .. } => Self::BigNumber(lossy(data)),
            Frame::VerbatimString { data, .. } => Self::Verbatim(data),
            Frame::Array { data, .. } => Self::Array(all(data)),
            Frame::Push { data, .. } => Self::Push(all(data)),
            Frame::Set { data, .. } => Self::Set(data.into_iter().map(Self::from).collect()),
            Frame::Map { data, .. } => {
                Self::Map(data.into_iter().rev().map(|(key, value)| (Self::from(key), Self::from(value))).collect())
            }
            Frame::Hello { .. } => Self::Error("a server sent HELLO".to_owned()),
        }
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
                let value = decode(&self.input[..len], self.frame.resp3)?;
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

fn decode(bytes: &[u8], as_resp3: bool) -> io::Result<Value> {
    let (value, len) = if as_resp3 {
        let decoded = resp3::decode::complete::decode(bytes).map_err(malformed)?;
        decoded.map(|(frame, len)| (Value::from(frame), len))
    } else {
        let decoded = resp2::decode::decode(bytes).map_err(malformed)?;
        decoded.map(|(frame, len)| (Value::from(frame), len))
    }
    .ok_or_else(|| malformed("the decoder wants more than one reply"))?;
    if len == bytes.len() { Ok(value) } else { Err(malformed("the decoder took less than the reply")) }
}

fn malformed(reason: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed reply: {reason}"))
}

/// Finds the end of a reply without decoding it and without starting over when more bytes arrive.
#[derive(Debug)]
struct FrameScan {
    /// The next element's first byte.
    position: usize,
    /// Up to here its line has been searched.
    searched: usize,
    /// Elements still to come.
    missing: u64,
    /// A type that RESP2 doesn't have was seen.
    resp3: bool,
}

impl FrameScan {
    const fn new() -> Self {
        Self { position: 0, searched: 0, missing: 1, resp3: false }
    }

    /// The reply's length, once `input` has all of it.
    fn advance(&mut self, input: &[u8]) -> io::Result<Option<usize>> {
        while self.missing > 0 {
            if self.position >= input.len() {
                return Ok(None);
            }
            let from = self.searched.max(self.position);
            let Some(at) = input[from..].iter().position(|byte| *byte == b'\n') else {
                self.searched = input.len();
                return Ok(None);
            };
            let end = from + at;
            let line =
                input[self.position..end].strip_suffix(b"\r").ok_or_else(|| malformed("bare line feed"))?;
            self.take_line(line, end + 1)?;
        }
        Ok((self.position <= input.len()).then_some(self.position))
    }

    /// `next` is the byte after `line`.
    fn take_line(&mut self, line: &[u8], next: usize) -> io::Result<()> {
        let (&kind, rest) = line.split_first().ok_or_else(|| malformed("empty line"))?;
        self.resp3 |= b"_#,(!=%~>|".contains(&kind);
        self.missing -= 1;
        self.position = next;
        if !b"$=!*~>%|".contains(&kind) {
            return Ok(());
        }
        let len = parse_i64(rest).filter(|len| (-1..1 << 40).contains(len));
        let len = len.ok_or_else(|| malformed(format_args!("length {}", rest.escape_ascii())))?;
        let Ok(len) = u64::try_from(len) else { return Ok(()) }; // a null
        match kind {
            b'$' | b'=' | b'!' => self.position += len as usize + 2,
            b'%' => self.missing = self.missing.saturating_add(2 * len),
            // The value that the attributes belong to follows them.
            b'|' => self.missing = self.missing.saturating_add(2 * len + 1),
            _ => self.missing = self.missing.saturating_add(len),
        }
        Ok(())
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
