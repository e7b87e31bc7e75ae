//! A small blocking RESP2/RESP3 client. It shows replies as they came: nothing is converted, so tests can tell `$-1` from
//! `*-1` and a map from a flat array.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// A reply, type by type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    /// RESP2 `$-1`.
    NilBulk,
    /// RESP2 `*-1`.
    NilArray,
    /// RESP3 `_`.
    Null,
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    /// As the server wrote it.
    Double(Vec<u8>),
    Boolean(bool),
    BigNumber(Vec<u8>),
    /// Three-letter kind, colon, text.
    Verbatim(Vec<u8>),
}

impl Value {
    pub fn ok() -> Self {
        Self::Simple(b"OK".to_vec())
    }

    pub fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(bytes.as_ref().to_vec())
    }

    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    pub fn is_nil(&self) -> bool {
        matches!(self, Self::NilBulk | Self::NilArray | Self::Null)
    }

    pub fn integer(&self) -> Option<i64> {
        if let Self::Integer(n) = self { Some(*n) } else { None }
    }

    /// The bytes of a string-like reply.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(b) | Self::Bulk(b) | Self::Double(b) | Self::Verbatim(b) | Self::Error(b) => Some(b),
            _ => None,
        }
    }

    /// The members of an aggregate, maps flattened.
    pub fn items(&self) -> Vec<Value> {
        match self {
            Self::Array(items) | Self::Set(items) | Self::Push(items) => items.clone(),
            Self::Map(pairs) => pairs.iter().flat_map(|(k, v)| [k.clone(), v.clone()]).collect(),
            _ => Vec::new(),
        }
    }
}

#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    out: Vec<u8>,
    /// Received bytes; those before `at` are used up.
    buffer: Vec<u8>,
    at: usize,
}

impl Client {
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, out: Vec::new(), buffer: Vec::new(), at: 0 })
    }

    /// Sends a command and waits for its reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: impl IntoIterator<Item = A>) -> io::Result<Value> {
        self.queue(args);
        self.flush()?;
        self.receive()
    }

    /// One field of INFO, if it is told.
    pub fn info_if_any(&mut self, field: &str) -> Option<String> {
        let reply = self.call(["INFO", "everything"]).expect("INFO waits for nothing");
        let text = String::from_utf8_lossy(reply.bytes().expect("INFO is text")).into_owned();
        text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).map(str::to_owned)
    }

    /// One field of INFO.
    pub fn info(&mut self, field: &str) -> String {
        self.info_if_any(field).unwrap_or_else(|| panic!("INFO does not tell {field}"))
    }

    /// Encodes a command without sending it.
    pub fn queue<A: AsRef<[u8]>>(&mut self, args: impl IntoIterator<Item = A>) {
        let args: Vec<A> = args.into_iter().collect();
        self.out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
        for arg in &args {
            let arg = arg.as_ref();
            self.out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            self.out.extend_from_slice(arg);
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// Puts bytes on the wire as they are.
    pub fn queue_raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub fn flush(&mut self) -> io::Result<()> {
        let sent = self.stream.write_all(&self.out);
        self.out.clear();
        sent
    }

    pub fn receive(&mut self) -> io::Result<Value> {
        let reply = self.receive_within(PATIENCE)?;
        reply.ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, "no reply in time"))
    }

    /// A reply, or nothing if none is complete within `limit`.
    pub fn receive_within(&mut self, limit: Duration) -> io::Result<Option<Value>> {
        let deadline = Instant::now() + limit;
        loop {
            let mut reader = Reader { bytes: &self.buffer, at: self.at };
            if let Some(value) = reader.value()? {
                self.at = reader.at;
                if self.at == self.buffer.len() {
                    self.buffer.clear();
                    self.at = 0;
                }
                return Ok(Some(value));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.fill(left)? {
                return Ok(None);
            }
        }
    }

    /// Reads once; false when nothing came in time.
    fn fill(&mut self, limit: Duration) -> io::Result<bool> {
        self.stream.set_read_timeout(Some(limit))?;
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed by the server")),
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(true)
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(false),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(e) => Err(e),
        }
    }
}

/// Walks over received bytes; `None` means that the reply is not complete yet.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> io::Result<Option<Value>> {
        let Some(line) = self.line() else { return Ok(None) };
        let (&kind, rest) = line.split_first().ok_or_else(|| malformed("empty line"))?;
        let value = match kind {
            b'+' => Value::Simple(rest.to_vec()),
            b'-' => Value::Error(rest.to_vec()),
            b':' => Value::Integer(number(rest)?),
            b',' => Value::Double(rest.to_vec()),
            b'(' => Value::BigNumber(rest.to_vec()),
            b'_' => Value::Null,
            b'#' => Value::Boolean(rest == b"t"),
            b'$' | b'=' => match number(rest)? {
                -1 => Value::NilBulk,
                len => match self.bulk(len)? {
                    Some(bytes) if kind == b'$' => Value::Bulk(bytes),
                    Some(bytes) => Value::Verbatim(bytes),
                    None => return Ok(None),
                },
            },
            b'*' | b'~' | b'>' | b'%' => return self.aggregate(kind, number(rest)?),
            _ => return Err(malformed(&format!("reply type {:?}", kind as char))),
        };
        Ok(Some(value))
    }

    fn aggregate(&mut self, kind: u8, len: i64) -> io::Result<Option<Value>> {
        if len == -1 {
            return Ok(Some(Value::NilArray));
        }
        let mut items = Vec::new();
        for _ in 0..if kind == b'%' { len * 2 } else { len } {
            let Some(item) = self.value()? else { return Ok(None) };
            items.push(item);
        }
        Ok(Some(match kind {
            b'*' => Value::Array(items),
            b'~' => Value::Set(items),
            b'>' => Value::Push(items),
            _ => Value::Map(items.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()),
        }))
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let rest = &self.bytes[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        self.at += end + 2;
        Some(rest[..end].to_vec())
    }

    fn bulk(&mut self, len: i64) -> io::Result<Option<Vec<u8>>> {
        let len = usize::try_from(len).map_err(|_| malformed("negative length"))?;
        let rest = &self.bytes[self.at..];
        if rest.len() < len + 2 {
            return Ok(None);
        }
        if &rest[len..len + 2] != b"\r\n" {
            return Err(malformed("string without its line end"));
        }
        self.at += len + 2;
        Ok(Some(rest[..len].to_vec()))
    }
}

fn number(text: &[u8]) -> io::Result<i64> {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| malformed("not a number"))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed reply: {what}"))
}
