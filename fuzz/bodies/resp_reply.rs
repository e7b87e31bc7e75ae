//! The client's reading half on any bytes: whole or in pieces it finds the same values and the same end, shows them without a
//! panic, and what this crate's writer makes of them reads back equal.

use std::io::{self, Read, Write};

use duramen::resp::client::{Client, Value};
use duramen::resp::{Protocol, Reply};

/// A server that says what it was given, in pieces.
pub struct Feed<'a> {
    pub bytes: &'a [u8],
    pub piece: usize,
}

impl Read for Feed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.piece.min(self.bytes.len()).min(buf.len());
        buf[..len].copy_from_slice(&self.bytes[..len]);
        self.bytes = &self.bytes[len..];
        Ok(len)
    }
}

impl Write for Feed<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All values in `bytes`, and how reading ended.
pub fn read_all(bytes: &[u8], piece: usize) -> (Vec<Value>, io::Error) {
    let mut client = Client::new(Feed { bytes, piece });
    let mut values = Vec::new();
    loop {
        match client.recv() {
            Ok(value) => values.push(value),
            Err(error) => return (values, error),
        }
    }
}

/// The first byte is the size of pieces.
pub fn check(data: &[u8]) {
    let [piece, stream @ ..] = data else { return };
    let (whole, end) = read_all(stream, usize::MAX);
    let (pieces, end_in_pieces) = read_all(stream, usize::from(*piece) + 1);
    // As text: NaN is not equal to itself.
    assert_eq!(
        format!("{whole:?}"),
        format!("{pieces:?}"),
        "cut into pieces of {} bytes",
        usize::from(*piece) + 1
    );
    assert_eq!(end.kind(), end_in_pieces.kind(), "{end} / {end_in_pieces}");
    for value in &whole {
        assert!(value.to_string().len() <= 1 << 26);
    }
    let plain: Vec<Value> = whole.into_iter().filter(is_plain).collect();
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, Protocol::Resp3);
    plain.iter().for_each(|value| write(value, &mut reply));
    let (again, end) = read_all(&out, usize::MAX);
    assert_eq!(format!("{again:?}"), format!("{plain:?}"));
    assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof, "{end}");
}

/// Whether the writer takes the value as it is: it keeps line ends out of lines.
fn is_plain(value: &Value) -> bool {
    let is_line = |text: &String| !text.contains(['\r', '\n']);
    match value {
        Value::Simple(text) | Value::Error(text) => is_line(text),
        Value::BigNumber(digits) => is_line(digits),
        Value::Array(values) | Value::Set(values) | Value::Push(values) => values.iter().all(is_plain),
        Value::Map(pairs) => pairs.iter().all(|(key, value)| is_plain(key) && is_plain(value)),
        _ => true,
    }
}

fn write(value: &Value, reply: &mut Reply<'_>) {
    match value {
        Value::Simple(text) => reply.simple(text),
        Value::Error(text) => reply.error(text),
        Value::Integer(value) => reply.integer(*value),
        Value::Bulk(bytes) => reply.bulk(bytes),
        Value::Null => reply.null(),
        Value::Double(value) => reply.double(*value),
        Value::Boolean(value) => reply.boolean(*value),
        Value::Verbatim(bytes) => reply.verbatim(b"txt", bytes),
        Value::BigNumber(digits) => reply.big_number(digits),
        Value::Array(values) => {
            reply.array(values.len());
            values.iter().for_each(|value| write(value, reply));
        }
        Value::Set(values) => {
            reply.set(values.len());
            values.iter().for_each(|value| write(value, reply));
        }
        Value::Push(values) => {
            reply.push(values.len());
            values.iter().for_each(|value| write(value, reply));
        }
        Value::Map(pairs) => {
            reply.map(pairs.len());
            for (key, value) in pairs {
                write(key, reply);
                write(value, reply);
            }
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let texts: &[&str] = &[
        "+OK\r\n-ERR no\r\n:12\r\n$5\r\nhello\r\n$-1\r\n*-1\r\n",
        "*2\r\n*1\r\n:1\r\n$0\r\n\r\n",
        "%2\r\n+a\r\n:1\r\n+a\r\n#t\r\n~2\r\n_\r\n,1.5\r\n",
        "=7\r\ntxt:abc\r\n(123456789012345678901234567890\r\n,inf\r\n,nan\r\n",
        ">3\r\n+message\r\n+c\r\n$1\r\nx\r\n|1\r\n+ttl\r\n:1\r\n:5\r\n!5\r\nERR x\r\n",
        "*1099511627775\r\n:1\r\n",
        "$1099511627775\r\nx",
        "|9\r\n|9\r\n|9\r\n|9\r\n",
    ];
    let mut seeds: Vec<Vec<u8>> = texts.iter().map(|text| [&[2], text.as_bytes()].concat()).collect();
    seeds.push([&[255], "*1\r\n".repeat(140).as_bytes()].concat());
    seeds
}
