//! Ids as clients write them and as replies show them.

use smallvec::SmallVec;

use crate::error::CommandError;
use crate::resp::Reply;
use crate::resp::number::{is_space, parse_i64};

use super::id::StreamId;

pub const INVALID_ID: CommandError =
    CommandError::new("ERR Invalid stream ID specified as stream command argument");

/// Longest text that is taken for an id, leading zeros and all.
const ID_TEXT_LEN_MAX: usize = 127;

/// Longest text of an id in a reply: two numbers of 20 digits and the dash.
type IdText = SmallVec<[u8; 64]>;

/// The id that XADD is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewId {
    /// `*`
    Any,
    /// `5-*`
    AnyIn {
        ms: u64,
    },
    Exactly(StreamId),
}

/// Redis takes arguments for C strings here: a zero byte ends them.
fn c_string(arg: &[u8]) -> &[u8] {
    arg.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A half of an id as Redis reads it: an integer as it would be written, else whatever `strtoull` takes: leading spaces, a sign
/// (of which minus wraps around), leading zeros.
fn half(text: &[u8]) -> Option<u64> {
    if let Some(value) = parse_i64(text) {
        return u64::try_from(value).ok();
    }
    let start = text.iter().position(|byte| !is_space(*byte))?;
    let (negative, digits) = match &text[start..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { sum.checked_mul(10)?.checked_add(u64::from(digit)) }
    })?;
    Some(if negative { value.wrapping_neg() } else { value })
}

/// Both halves; the second is `None` if there is no dash.
fn halves(arg: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if arg.len() > ID_TEXT_LEN_MAX {
        return None;
    }
    let text = c_string(arg);
    Some(match text.iter().position(|byte| *byte == b'-') {
        Some(dash) => (&text[..dash], Some(&text[dash + 1..])),
        None => (text, None),
    })
}

/// `5-1`, or `5` for `5-<missing_seq>`.
pub fn id(arg: &[u8], missing_seq: u64) -> Result<StreamId, CommandError> {
    let read = || {
        let (ms, seq) = halves(arg)?;
        Some(StreamId::new(half(ms)?, seq.map_or(Some(missing_seq), half)?))
    };
    read().ok_or(INVALID_ID)
}

/// `5-1`, `5` for `5-0`, `5-*`, `*`.
pub fn new_id(arg: &[u8]) -> Result<NewId, CommandError> {
    if c_string(arg) == b"*" {
        return Ok(NewId::Any);
    }
    if let Some((ms, Some(b"*"))) = halves(arg) {
        return half(ms).map(|ms| NewId::AnyIn { ms }).ok_or(INVALID_ID);
    }
    id(arg, 0).map(NewId::Exactly)
}

/// An end of a range: an id, `(` before one that is excluded, `-` and `+` for the first and the last that there can be. Returns whether it
/// is excluded.
fn end(arg: &[u8], missing_seq: u64) -> Result<(StreamId, bool), CommandError> {
    match c_string(arg) {
        b"-" => Ok((StreamId::MIN, false)),
        b"+" => Ok((StreamId::MAX, false)),
        [b'(', ..] => id(&arg[1..], missing_seq).map(|id| (id, true)),
        _ => id(arg, missing_seq).map(|id| (id, false)),
    }
}

/// The lower end of a range; a missing sequence number is the lowest.
pub fn range_start(arg: &[u8]) -> Result<StreamId, CommandError> {
    let (id, excluded) = end(arg, 0)?;
    let wrong = CommandError::new("ERR invalid start ID for the interval");
    if excluded { id.next().ok_or(wrong) } else { Ok(id) }
}

/// The upper end of a range; a missing sequence number is the highest.
pub fn range_end(arg: &[u8]) -> Result<StreamId, CommandError> {
    let (id, excluded) = end(arg, u64::MAX)?;
    let wrong = CommandError::new("ERR invalid end ID for the interval");
    if excluded { id.previous().ok_or(wrong) } else { Ok(id) }
}

pub fn write_id(id: StreamId, reply: &mut Reply<'_>) {
    let mut text = IdText::new();
    let mut buffer = itoa::Buffer::new();
    text.extend_from_slice(buffer.format(id.ms).as_bytes());
    text.push(b'-');
    text.extend_from_slice(buffer.format(id.seq).as_bytes());
    reply.bulk(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64, seq: u64) -> StreamId {
        StreamId::new(ms, seq)
    }

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        let zeros = format!("{}5-1", "0".repeat(124));
        let accepted = [
            ("1-2", at(1, 2)),
            ("7", at(7, 9)),
            ("+1", at(1, 9)),
            (" 1-1", at(1, 1)),
            ("\t1-+4", at(1, 4)),
            ("1- 2", at(1, 2)),
            ("1--01", at(1, u64::MAX)),
            ("0001-08", at(1, 8)),
            ("1-9\0b", at(1, 9)),
            ("3\0-4", at(3, 9)),
            ("18446744073709551615-18446744073709551615", StreamId::MAX),
            (&zeros, at(5, 1)),
        ];
        for (text, expected) in accepted {
            assert_eq!(id(text.as_bytes(), 9), Ok(expected), "{text:?}");
        }
        let too_long = format!("0{zeros}");
        let refused = [
            "",
            "-",
            "+",
            "-1",
            "1-",
            "1--1",
            "1 -3",
            "1-1-1",
            "1-x",
            "0x2-5",
            "*",
            "1-*",
            "(1",
            "18446744073709551616-1",
            "1-99999999999999999999",
            "1---1",
            &too_long,
        ];
        for text in refused {
            assert_eq!(id(text.as_bytes(), 9), Err(INVALID_ID), "{text:?}");
        }
    }

    #[test]
    fn new_ids_may_leave_a_part_open() {
        assert_eq!(new_id(b"*"), Ok(NewId::Any));
        assert_eq!(new_id(b"5-*"), Ok(NewId::AnyIn { ms: 5 }));
        assert_eq!(new_id(b"5"), Ok(NewId::Exactly(at(5, 0))));
        for text in ["-*", "*-*", "**", "2-**", "", "x"] {
            assert_eq!(new_id(text.as_bytes()), Err(INVALID_ID), "{text:?}");
        }
    }

    #[test]
    fn ends_of_ranges_may_be_open_and_excluded() {
        assert_eq!(range_start(b"-"), Ok(StreamId::MIN));
        assert_eq!(range_start(b"+"), Ok(StreamId::MAX));
        assert_eq!(range_start(b"5"), Ok(at(5, 0)));
        assert_eq!(range_start(b"(5"), Ok(at(5, 1)));
        assert_eq!(range_start(b"(5-18446744073709551615"), Ok(at(6, 0)));
        assert_eq!(range_end(b"+"), Ok(StreamId::MAX));
        assert_eq!(range_end(b"5"), Ok(at(5, u64::MAX)));
        assert_eq!(range_end(b"(5-0"), Ok(at(4, u64::MAX)));
        let last = format!("({}", StreamId::MAX);
        assert!(range_start(last.as_bytes()).unwrap_err().text().contains("start ID"));
        assert!(range_end(b"(0-0").unwrap_err().text().contains("end ID"));
        for text in ["(", "(-", "(+", "((1"] {
            assert_eq!(range_start(text.as_bytes()), Err(INVALID_ID), "{text:?}");
        }
    }
}
