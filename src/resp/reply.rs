//! The reply writer: RESP2 or RESP3 appended to a byte vector.
//!
//! It writes what it is told: that an announced aggregate gets as many elements as it said is the caller's part. Types that
//! RESP2 doesn't have take their RESP2 shape, as in Redis: maps are flat arrays, doubles bulk strings, booleans 0 and 1.

use super::number::{F64_TEXT_LEN_MAX, put_f64};

/// The protocol version of a connection; HELLO changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    #[default]
    Resp2 = 2,
    Resp3 = 3,
}

/// A place in the output: where a reply began, or where the header of an aggregate goes once its length is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a length that is never written leaves a broken reply"]
pub struct Mark(usize);

/// Appends replies to `out`.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    proto: Protocol,
    /// Once `out` is longer, strings are left out: the connection is going to be closed for it.
    len_max: usize,
}

impl<'a> Reply<'a> {
    #[inline]
    pub const fn new(out: &'a mut Vec<u8>, proto: Protocol) -> Self {
        Self { out, proto, len_max: usize::MAX }
    }

    /// Nothing but the beginning of a reply that makes the output longer than `len_max` is kept: it cannot be sent.
    #[must_use]
    pub const fn up_to(mut self, len_max: usize) -> Self {
        self.len_max = len_max;
        self
    }

    #[inline]
    pub const fn proto(&self) -> Protocol {
        self.proto
    }

    /// The same output in another version: HELLO answers in the one it switches to.
    pub const fn set_proto(&mut self, proto: Protocol) {
        self.proto = proto;
    }

    /// Bytes in the output, of earlier replies too.
    #[inline]
    pub const fn len(&self) -> usize {
        self.out.len()
    }

    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Here, to [`Self::truncate`] back to.
    #[inline]
    pub const fn mark(&self) -> Mark {
        Mark(self.out.len())
    }

    /// Drops everything written since `mark`.
    pub fn truncate(&mut self, mark: Mark) {
        self.out.truncate(mark.0);
    }

    /// Appends bytes that are already RESP.
    #[inline]
    pub fn raw(&mut self, resp: &[u8]) {
        self.out.extend_from_slice(resp);
    }

    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A status such as `PONG`; line ends in it become spaces.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// [`Self::simple`] for a text that may be of any bytes.
    pub fn simple_bytes(&mut self, text: &[u8]) {
        self.line(b'+', text);
    }

    /// `text` is the error line without `-`, code first; line ends at its end are left out, those in it become spaces.
    pub fn error(&mut self, text: &str) {
        self.error_bytes(text.as_bytes());
    }

    /// [`Self::error`] for a text that may repeat bytes of the client.
    pub fn error_bytes(&mut self, text: &[u8]) {
        let ends = text.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.line(b'-', &text[..text.len() - ends]);
    }

    #[inline]
    pub fn integer(&mut self, value: i64) {
        match value {
            0 => self.raw(b":0\r\n"),
            1 => self.raw(b":1\r\n"),
            _ => self.number(b':', value),
        }
    }

    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        if self.out.len() > self.len_max {
            return;
        }
        self.out.reserve(bytes.len() + 24);
        self.count(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.line_end();
    }

    #[inline]
    pub fn bulk_str(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }

    /// An integer as a bulk string, as in the members of a list of numbers.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// [`Self::bulk`] or [`Self::null`].
    #[inline]
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    #[inline]
    pub fn null(&mut self) {
        self.raw(match self.proto {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    #[inline]
    pub fn null_array(&mut self) {
        self.raw(match self.proto {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Announces `len` elements, to be written next.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.count(b'*', len);
    }

    /// Announces `pairs` keys, each followed by its value.
    #[inline]
    pub fn map(&mut self, pairs: usize) {
        let (kind, len) = self.header(Aggregate::Map, pairs);
        self.count(kind, len);
    }

    #[inline]
    pub fn set(&mut self, len: usize) {
        let (kind, len) = self.header(Aggregate::Set, len);
        self.count(kind, len);
    }

    /// Announces an out-of-band message.
    #[inline]
    pub fn push(&mut self, len: usize) {
        let (kind, len) = self.header(Aggregate::Push, len);
        self.count(kind, len);
    }

    /// Begins an aggregate whose length is known only after its elements: see [`Self::finish_array`] and its kin. Until then
    /// the output is not valid RESP. Nested ones are finished inside out.
    #[inline]
    pub const fn array_later(&self) -> Mark {
        self.mark()
    }

    /// Writes the header of what began at `mark`. Costs a move of the elements.
    pub fn finish_array(&mut self, mark: Mark, len: usize) {
        self.finish(mark, Aggregate::Array, len);
    }

    /// As [`Self::finish_array`], for `pairs` keys and values.
    pub fn finish_map(&mut self, mark: Mark, pairs: usize) {
        self.finish(mark, Aggregate::Map, pairs);
    }

    /// As [`Self::finish_array`], for a set.
    pub fn finish_set(&mut self, mark: Mark, len: usize) {
        self.finish(mark, Aggregate::Set, len);
    }

    fn finish(&mut self, mark: Mark, aggregate: Aggregate, len: usize) {
        let end = self.out.len();
        let (kind, len) = self.header(aggregate, len);
        self.count(kind, len);
        let header_len = self.out.len() - end;
        self.out[mark.0..].rotate_right(header_len);
    }

    /// A double or score, as [`put_f64`] writes it.
    pub fn double(&mut self, value: f64) {
        if self.proto == Protocol::Resp3 {
            self.out.push(b',');
            put_f64(self.out, value);
            return self.line_end();
        }
        self.bulk_double(value);
    }

    /// A double as a bulk string in both versions.
    pub fn bulk_double(&mut self, value: f64) {
        if self.out.len() > self.len_max {
            return;
        }
        self.out.reserve(F64_TEXT_LEN_MAX + 24);
        let start = self.out.len();
        put_f64(self.out, value);
        let end = self.out.len();
        self.count(b'$', end - start);
        let header_len = self.out.len() - end;
        self.out[start..].rotate_right(header_len);
        self.line_end();
    }

    pub fn boolean(&mut self, value: bool) {
        self.raw(match (self.proto, value) {
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
        });
    }

    /// Text for people; `format` is `txt` or `mkd`.
    pub fn verbatim(&mut self, format: &[u8; 3], text: &[u8]) {
        if self.proto == Protocol::Resp2 {
            return self.bulk(text);
        }
        self.out.reserve(text.len() + 28);
        self.count(b'=', text.len() + 4);
        self.out.extend_from_slice(format);
        self.out.push(b':');
        self.out.extend_from_slice(text);
        self.line_end();
    }

    /// An integer of any size, as decimal digits.
    pub fn big_number(&mut self, digits: &str) {
        match self.proto {
            Protocol::Resp2 => self.bulk_str(digits),
            Protocol::Resp3 => self.line(b'(', digits.as_bytes()),
        }
    }

    /// [`Self::big_number`] for a text that may be of any bytes; line ends in it become spaces.
    pub fn big_number_bytes(&mut self, digits: &[u8]) {
        match self.proto {
            Protocol::Resp2 => {
                let is_end = |byte| byte == b'\r' || byte == b'\n';
                let digits: Vec<u8> = digits.iter().map(|&b| if is_end(b) { b' ' } else { b }).collect();
                self.bulk(&digits);
            }
            Protocol::Resp3 => self.line(b'(', digits),
        }
    }

    const fn header(&self, aggregate: Aggregate, len: usize) -> (u8, usize) {
        match (self.proto, aggregate) {
            (_, Aggregate::Array) => (b'*', len),
            (Protocol::Resp2, Aggregate::Map) => (b'*', len * 2),
            (Protocol::Resp2, Aggregate::Set | Aggregate::Push) => (b'*', len),
            (Protocol::Resp3, Aggregate::Map) => (b'%', len),
            (Protocol::Resp3, Aggregate::Set) => (b'~', len),
            (Protocol::Resp3, Aggregate::Push) => (b'>', len),
        }
    }

    /// A type byte and a length.
    #[inline]
    fn count(&mut self, kind: u8, len: usize) {
        if len < 10 {
            self.out.extend_from_slice(&[kind, b'0' + len as u8, b'\r', b'\n']);
        } else if len < 100 {
            let [tens, ones] = [len / 10, len % 10].map(|digit| b'0' + digit as u8);
            self.out.extend_from_slice(&[kind, tens, ones, b'\r', b'\n']);
        } else {
            self.number(kind, len as i64);
        }
    }

    fn number(&mut self, kind: u8, value: i64) {
        self.out.reserve(24);
        self.out.push(kind);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.line_end();
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.push(kind);
        let start = self.out.len();
        self.out.extend_from_slice(text);
        for byte in &mut self.out[start..] {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.line_end();
    }

    #[inline]
    fn line_end(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

#[derive(Debug, Clone, Copy)]
enum Aggregate {
    Array,
    Map,
    Set,
    Push,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `write` appends, in both versions.
    fn both(write: impl Fn(&mut Reply<'_>)) -> (String, String) {
        let [old, new] = [Protocol::Resp2, Protocol::Resp3].map(|proto| {
            let mut out = Vec::new();
            write(&mut Reply::new(&mut out, proto));
            String::from_utf8(out).unwrap()
        });
        (old, new)
    }

    fn assert_both(write: impl Fn(&mut Reply<'_>), resp2: &str, resp3: &str) {
        assert_eq!(both(write), (resp2.to_owned(), resp3.to_owned()));
    }

    #[test]
    fn scalars_have_their_shape_in_both_versions() {
        assert_both(|r| r.ok(), "+OK\r\n", "+OK\r\n");
        assert_both(|r| r.simple("PONG"), "+PONG\r\n", "+PONG\r\n");
        for value in [0, 1, -1, 10, i64::MIN, i64::MAX] {
            let text = format!(":{value}\r\n");
            assert_both(|r| r.integer(value), &text, &text);
        }
        assert_both(|r| r.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n");
        assert_both(|r| r.bulk_str("0123456789"), "$10\r\n0123456789\r\n", "$10\r\n0123456789\r\n");
        for len in [9, 10, 55, 99, 100, 101] {
            let text = format!("${len}\r\n{}\r\n", "x".repeat(len));
            assert_both(|r| r.bulk(&vec![b'x'; len]), &text, &text);
        }
        assert_both(|r| r.bulk_integer(-12), "$3\r\n-12\r\n", "$3\r\n-12\r\n");
        assert_both(|r| r.null(), "$-1\r\n", "_\r\n");
        assert_both(|r| r.null_array(), "*-1\r\n", "_\r\n");
        assert_both(|r| r.boolean(true), ":1\r\n", "#t\r\n");
        assert_both(|r| r.boolean(false), ":0\r\n", "#f\r\n");
        assert_both(|r| r.double(0.5), "$3\r\n0.5\r\n", ",0.5\r\n");
        assert_both(|r| r.double(f64::INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
        assert_both(|r| r.verbatim(b"txt", b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
        assert_both(|r| r.big_number("-123"), "$4\r\n-123\r\n", "(-123\r\n");
    }

    #[test]
    fn aggregates_are_flat_arrays_before_version_3() {
        assert_both(|r| r.array(12), "*12\r\n", "*12\r\n");
        assert_both(|r| r.map(6), "*12\r\n", "%6\r\n");
        assert_both(|r| r.set(3), "*3\r\n", "~3\r\n");
        assert_both(|r| r.push(3), "*3\r\n", ">3\r\n");
    }

    #[test]
    fn line_ends_in_an_error_become_spaces_and_those_at_its_end_go() {
        assert_both(|r| r.error("ERR a\r\nb\nc\r\n\n"), "-ERR a  b c\r\n", "-ERR a  b c\r\n");
        let mut out = Vec::new();
        Reply::new(&mut out, Protocol::Resp2).error_bytes(b"ERR \xff\n x \n");
        assert_eq!(out, b"-ERR \xff  x \r\n");
        assert_both(|r| r.error("\n"), "-\r\n", "-\r\n");
        assert_both(|r| r.simple("ok\n"), "+ok \r\n", "+ok \r\n");
    }

    #[test]
    fn lengths_can_be_written_after_the_elements() {
        let write = |r: &mut Reply<'_>| {
            r.integer(7);
            let outer = r.array_later();
            let inner = r.array_later();
            (0..12).for_each(|i| r.integer(i));
            r.finish_map(inner, 6);
            r.bulk(b"x");
            r.finish_array(outer, 2);
        };
        let elements =
            ":0\r\n:1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n:7\r\n:8\r\n:9\r\n:10\r\n:11\r\n$1\r\nx\r\n";
        assert_both(
            write,
            &format!(":7\r\n*2\r\n*12\r\n{elements}"),
            &format!(":7\r\n*2\r\n%6\r\n{elements}"),
        );
    }

    #[test]
    fn a_half_written_reply_can_be_dropped() {
        let mut out = b"+OK\r\n".to_vec();
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        let mark = reply.mark();
        reply.array(3);
        reply.bulk(b"half");
        reply.truncate(mark);
        reply.error("ERR no");
        assert_eq!(out, b"+OK\r\n-ERR no\r\n");
    }
}

#[cfg(test)]
#[path = "reply_decoding_tests.rs"]
mod decoding_tests;
