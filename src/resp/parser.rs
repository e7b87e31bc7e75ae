//! The request parser: multibulk requests and inline commands, pipelined, in pieces, within limits.
//!
//! [`Parser`] is a position in the connection's query buffer and what it knows of the request it is in. More bytes are
//! appended to the buffer and [`Parser::parse`] goes on where it stopped: argument bytes are never looked at, a header
//! or an inline line is scanned once (only its few digits are read again). Arguments are ranges of the buffer; nothing
//! is copied, except for inline commands, whose quotes and escapes need a buffer of their own. A declared length
//! reserves nothing: memory follows the bytes that arrived.
//!
//! What it accepts and its error texts are Redis'. As there, the byte after a header's carriage return and the two bytes
//! after an argument are skipped unseen. It differs where Redis' answer depends on how the bytes were cut into reads: a
//! header or inline line over the limit is always refused, and a zero byte in an inline command is an ordinary byte.

use std::borrow::Cow;

use super::number::{I64_TEXT_LEN_MAX, is_space, parse_i64};
use super::request::{Range, RequestArgs};
use crate::mutation::{Safeguard, is_off};

/// Arguments of one request before authentication (Redis).
const UNAUTHENTICATED_ARGS_MAX: i64 = 10;
/// Bytes of one argument before authentication (Redis).
const UNAUTHENTICATED_BULK_LEN_MAX: i64 = 16384;
/// Space for this many arguments is kept from one request to the next.
const RANGES_KEPT: usize = 1024;
/// Space for inline arguments that is kept.
const SCRATCH_KEPT: usize = 4096;

/// What a client may send. Lengths are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// One argument: `proto-max-bulk-len`.
    pub max_bulk_len: usize,
    /// Arguments of one request.
    pub max_multibulk_len: usize,
    /// An inline command; also a header line.
    pub max_inline_len: usize,
    /// Before authentication a request has at most 10 arguments of at most 16384 bytes.
    pub authenticated: bool,
}

impl Limits {
    /// Redis' defaults, for an authenticated client.
    pub const DEFAULT: Self = Self {
        max_bulk_len: 512 * 1024 * 1024,
        max_multibulk_len: i32::MAX as usize,
        max_inline_len: 64 * 1024,
        authenticated: true,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The client doesn't speak the protocol: it gets the error and the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    InvalidMultibulkLength,
    InvalidBulkLength,
    ExpectedDollar { got: u8 },
    TooBigInlineRequest,
    TooBigMultibulkCount,
    TooBigBulkCount,
    UnbalancedQuotes,
    UnauthenticatedMultibulkLength,
    UnauthenticatedBulkLength,
}

impl ProtocolError {
    /// The error line after `-`, as Redis words it: `ERR Protocol error: ...`. Bytes: the client's own may be in it.
    pub fn line(self) -> Cow<'static, [u8]> {
        let text: &[u8] = match self {
            Self::InvalidMultibulkLength => b"ERR Protocol error: invalid multibulk length",
            Self::InvalidBulkLength => b"ERR Protocol error: invalid bulk length",
            Self::ExpectedDollar { got } => {
                let mut text = b"ERR Protocol error: expected '$', got ' '".to_vec();
                let at = text.len() - 2;
                text[at] = if matches!(got, b'\r' | b'\n') { b' ' } else { got };
                return Cow::Owned(text);
            }
            Self::TooBigInlineRequest => b"ERR Protocol error: too big inline request",
            Self::TooBigMultibulkCount => b"ERR Protocol error: too big mbulk count string",
            Self::TooBigBulkCount => b"ERR Protocol error: too big bulk count string",
            Self::UnbalancedQuotes => b"ERR Protocol error: unbalanced quotes in request",
            Self::UnauthenticatedMultibulkLength => b"ERR Protocol error: unauthenticated multibulk length",
            Self::UnauthenticatedBulkLength => b"ERR Protocol error: unauthenticated bulk length",
        };
        Cow::Borrowed(text)
    }
}

impl std::fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.line()))
    }
}

impl std::error::Error for ProtocolError {}

/// What [`Parser::parse`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A whole request: see [`Parser::args`].
    Request,
    /// The buffer ends within a request, or is empty.
    Incomplete,
    /// An empty line or a request of no arguments: consumed, nothing to run.
    Empty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte of a request.
    Start,
    /// After `*`.
    MultibulkLength,
    /// Before `$`.
    BulkHeader,
    /// Before an argument's first byte.
    Bulk {
        len: usize,
    },
    Inline,
}

/// Parses one connection's requests, one after the other.
#[derive(Debug)]
pub struct Parser {
    state: State,
    /// Where the current request, or the one just completed, begins in the buffer.
    start: usize,
    /// The first byte not yet interpreted; after a completed request, its end.
    position: usize,
    /// Up to here the current line has been searched for its end.
    scanned: usize,
    /// Length of the buffer at the last call.
    buffer_len: usize,
    /// Arguments still to come.
    missing: usize,
    /// Relative to `start`, or ranges of `scratch` after an inline command.
    ranges: Vec<Range>,
    /// Unquoted arguments of an inline command.
    scratch: Vec<u8>,
    inline: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    pub const fn new() -> Self {
        Self {
            state: State::Start,
            start: 0,
            position: 0,
            scanned: 0,
            buffer_len: 0,
            missing: 0,
            ranges: Vec::new(),
            scratch: Vec::new(),
            inline: false,
        }
    }

    /// Looks for the next request. `buf` is the whole query buffer: the bytes of the last call, less what [`Self::shift`] was told
    /// of, and new ones. After an error the connection is lost: the same error comes again.
    ///
    /// `limits` may differ from call to call; a pipeline that authenticates itself needs its AUTH executed before the next call.
    #[inline]
    pub fn parse(&mut self, buf: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        debug_assert!(buf.len() >= self.position, "the buffer lost bytes that shift() was not told of");
        self.buffer_len = buf.len();
        if self.state == State::Start {
            let Some(first) = buf.get(self.position) else { return Ok(Parsed::Incomplete) };
            self.begin(*first == b'*');
        }
        if self.state == State::Inline {
            return self.parse_inline(buf, limits);
        }
        if self.state == State::MultibulkLength {
            let Some(value) = self.header(buf, limits.max_inline_len, ProtocolError::TooBigMultibulkCount)?
            else {
                return Ok(Parsed::Incomplete);
            };
            self.missing = multibulk_len(value.number, limits)?;
            self.advance_to(value.end);
            if self.missing == 0 {
                self.state = State::Start;
                return Ok(Parsed::Empty);
            }
            self.state = State::BulkHeader;
        }
        self.parse_bulks(buf, limits)
    }

    /// The arguments of the request that [`Self::parse`] just found; `buf` is the same buffer. Empty before that.
    #[inline]
    pub fn args<'a>(&'a self, buf: &'a [u8]) -> RequestArgs<'a> {
        if self.state != State::Start {
            return RequestArgs::new(&[], &[]);
        }
        let bytes = if self.inline { &self.scratch } else { &buf[self.start..self.position] };
        RequestArgs::new(bytes, &self.ranges)
    }

    /// End of the last completed request: bytes before it may be removed from the buffer, see [`Self::shift`].
    #[inline]
    pub fn consumed(&self) -> usize {
        if self.state == State::Start { self.position } else { self.start }
    }

    /// The caller removed `n` bytes from the front of the buffer, at most [`Self::consumed`]. If some of them belong to the
    /// request just completed, its arguments are gone.
    pub fn shift(&mut self, n: usize) {
        assert!(n <= self.consumed(), "removed bytes of a request that is not complete");
        if n > self.start {
            self.ranges.clear();
        }
        self.start = self.start.saturating_sub(n);
        self.position -= n;
        self.scanned = self.scanned.saturating_sub(n);
        self.buffer_len = self.buffer_len.saturating_sub(n);
    }

    /// Bytes still missing from the argument that the buffer ends in, its line end included; 0 if unknown.
    #[inline]
    pub fn wanted(&self) -> usize {
        match self.state {
            State::Bulk { len } => {
                (self.position.saturating_add(len).saturating_add(2)).saturating_sub(self.buffer_len)
            }
            _ => 0,
        }
    }

    /// Bytes on the heap.
    pub fn heap_len(&self) -> usize {
        self.ranges.capacity() * size_of::<Range>() + self.scratch.capacity()
    }

    #[inline]
    fn begin(&mut self, multibulk: bool) {
        self.start = self.position;
        self.ranges.clear();
        if self.ranges.capacity() > RANGES_KEPT {
            self.ranges = Vec::new();
        }
        self.inline = !multibulk;
        if multibulk {
            self.advance_to(self.position + 1);
            self.state = State::MultibulkLength;
        } else {
            self.scanned = self.position;
            self.state = State::Inline;
        }
    }

    #[inline]
    fn advance_to(&mut self, position: usize) {
        self.position = position;
        self.scanned = position;
    }

    #[inline]
    fn parse_bulks(&mut self, buf: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        loop {
            let len = match self.state {
                State::Bulk { len } => len,
                _ => {
                    let Some(len) = self.bulk_header(buf, limits)? else { return Ok(Parsed::Incomplete) };
                    self.state = State::Bulk { len };
                    len
                }
            };
            let available = buf.len() - self.position;
            if available < 2 || available - 2 < len {
                return Ok(Parsed::Incomplete);
            }
            let start = self.position - self.start;
            self.ranges.push(Range { start, end: start + len });
            self.advance_to(self.position + len + 2);
            self.missing -= 1;
            if self.missing == 0 {
                self.state = State::Start;
                return Ok(Parsed::Request);
            }
            self.state = State::BulkHeader;
        }
    }

    /// Reads `$<len>` and its line end.
    #[inline]
    fn bulk_header(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        match buf.get(self.position) {
            Some(b'$') => {}
            Some(_) if is_off(Safeguard::ExpectedDollar) => {}
            Some(&got) => return Err(ProtocolError::ExpectedDollar { got }),
            None => return Ok(None),
        }
        // The position stays at `$` until the line is complete.
        let Some(value) =
            self.header_from(buf, self.position + 1, limits.max_inline_len, ProtocolError::TooBigBulkCount)?
        else {
            return Ok(None);
        };
        let len = bulk_len(value.number, limits)?;
        self.advance_to(value.end);
        Ok(Some(len))
    }

    #[inline]
    fn header(
        &mut self,
        buf: &[u8],
        len_max: usize,
        too_big: ProtocolError,
    ) -> Result<Option<Header>, ProtocolError> {
        self.header_from(buf, self.position, len_max, too_big)
    }

    /// Reads a number from `start` to its line end: `None` while that is missing.
    #[inline]
    fn header_from(
        &mut self,
        buf: &[u8],
        start: usize,
        len_max: usize,
        too_big: ProtocolError,
    ) -> Result<Option<Header>, ProtocolError> {
        // Almost every header is one to four digits that are all here.
        let mut number = 0i64;
        let mut at = start;
        while let Some(&byte) = buf.get(at) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 || at - start == 9 {
                break;
            }
            number = number * 10 + i64::from(digit);
            at += 1;
        }
        let plain = at > start && (buf[start] != b'0' || at - start == 1);
        if plain && buf.get(at) == Some(&b'\r') && at + 1 < buf.len() {
            return Ok(Some(Header { number: Some(number), end: at + 2 }));
        }
        self.unusual_header(buf, start, len_max, too_big)
    }

    #[cold]
    fn unusual_header(
        &mut self,
        buf: &[u8],
        start: usize,
        len_max: usize,
        too_big: ProtocolError,
    ) -> Result<Option<Header>, ProtocolError> {
        let from = self.scanned.max(start);
        let end = buf[from..].iter().position(|byte| *byte == b'\r').map(|found| from + found);
        self.scanned = end.unwrap_or(buf.len());
        // The byte before `start` counts.
        if self.scanned - start >= len_max {
            return Err(too_big);
        }
        match end {
            Some(end) if end + 1 < buf.len() => {
                let text = &buf[start..end];
                let number = if text.len() <= I64_TEXT_LEN_MAX { parse_i64(text) } else { None };
                Ok(Some(Header { number, end: end + 2 }))
            }
            _ => Ok(None),
        }
    }

    #[cold]
    fn parse_inline(&mut self, buf: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        let end = buf[self.scanned..].iter().position(|byte| *byte == b'\n').map(|at| self.scanned + at);
        self.scanned = end.unwrap_or(buf.len());
        if self.scanned - self.position > limits.max_inline_len {
            return Err(ProtocolError::TooBigInlineRequest);
        }
        let Some(end) = end else { return Ok(Parsed::Incomplete) };
        if self.scratch.capacity() > SCRATCH_KEPT {
            self.scratch = Vec::new();
        }
        self.scratch.clear();
        self.ranges.clear();
        split_inline(&buf[self.position..end], &mut self.scratch, &mut self.ranges)?;
        self.advance_to(end + 1);
        self.state = State::Start;
        Ok(if self.ranges.is_empty() { Parsed::Empty } else { Parsed::Request })
    }
}

struct Header {
    /// `None`: not an integer.
    number: Option<i64>,
    /// After the line end.
    end: usize,
}

#[inline]
fn multibulk_len(number: Option<i64>, limits: &Limits) -> Result<usize, ProtocolError> {
    let number = number.ok_or(ProtocolError::InvalidMultibulkLength)?;
    let len = usize::try_from(number.max(0)).unwrap_or(usize::MAX);
    if len > limits.max_multibulk_len {
        return Err(ProtocolError::InvalidMultibulkLength);
    }
    if !limits.authenticated && number > UNAUTHENTICATED_ARGS_MAX {
        return Err(ProtocolError::UnauthenticatedMultibulkLength);
    }
    Ok(len)
}

#[inline]
fn bulk_len(number: Option<i64>, limits: &Limits) -> Result<usize, ProtocolError> {
    let number = number.ok_or(ProtocolError::InvalidBulkLength)?;
    let len = usize::try_from(number).map_err(|_| ProtocolError::InvalidBulkLength)?;
    if len > limits.max_bulk_len {
        return Err(ProtocolError::InvalidBulkLength);
    }
    if !limits.authenticated && number > UNAUTHENTICATED_BULK_LEN_MAX {
        return Err(ProtocolError::UnauthenticatedBulkLength);
    }
    Ok(len)
}

/// Splits a line into arguments at white space. `"..."` takes the escapes `\n \r \t \b \a \xHH`, and `\` before any other byte gives
/// that byte; `'...'` takes `\'` only. A quote may begin within an argument but must end it.
fn split_inline(line: &[u8], out: &mut Vec<u8>, ranges: &mut Vec<Range>) -> Result<(), ProtocolError> {
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|byte| is_space(*byte)) {
            at += 1;
        }
        if at == line.len() {
            return Ok(());
        }
        let start = out.len();
        while let Some(&byte) = line.get(at) {
            at += 1;
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => break,
                b'"' | b'\'' => {
                    at = if byte == b'"' {
                        unquote_double(line, at, out)
                    } else {
                        unquote_single(line, at, out)
                    }
                    .ok_or(ProtocolError::UnbalancedQuotes)?;
                    if line.get(at).is_some_and(|next| !is_space(*next)) {
                        return Err(ProtocolError::UnbalancedQuotes);
                    }
                    break;
                }
                _ => out.push(byte),
            }
        }
        ranges.push(Range { start, end: out.len() });
    }
}

/// Copies from `at`, after the opening quote, to the closing one; where the line goes on, or `None` without a closing quote.
fn unquote_double(line: &[u8], mut at: usize, out: &mut Vec<u8>) -> Option<usize> {
    loop {
        let byte = *line.get(at)?;
        at += 1;
        match byte {
            b'"' => return Some(at),
            b'\\' => {
                if let Some(value) = hex_escape(&line[at..]) {
                    out.push(value);
                    at += 3;
                    continue;
                }
                out.push(match *line.get(at)? {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => other,
                });
                at += 1;
            }
            _ => out.push(byte),
        }
    }
}

fn unquote_single(line: &[u8], mut at: usize, out: &mut Vec<u8>) -> Option<usize> {
    loop {
        match &line[at..] {
            [b'\\', b'\'', ..] => {
                out.push(b'\'');
                at += 2;
            }
            [b'\'', ..] => return Some(at + 1),
            [byte, ..] => {
                out.push(*byte);
                at += 1;
            }
            [] => return None,
        }
    }
}

/// The byte that `xHH` at the front of `text` stands for.
fn hex_escape(text: &[u8]) -> Option<u8> {
    let [b'x', high, low, ..] = text else { return None };
    let digit = |byte: u8| (byte as char).to_digit(16);
    Some((digit(*high)? << 4 | digit(*low)?) as u8)
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
