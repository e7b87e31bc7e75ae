//! Small readers of arguments, shared by all handlers.

use super::Args;
use crate::error::CommandError;
use crate::glob;
use crate::long_double::LongDouble;
use crate::resp::number::{parse_f64, parse_f64_lenient, parse_i64, parse_u64};

/// An option's name: case does not matter.
#[inline]
pub fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// A 64-bit integer, or Redis' "value is not an integer or out of range".
#[inline]
pub fn integer(arg: &[u8]) -> Result<i64, CommandError> {
    parse_i64(arg).ok_or(CommandError::NOT_INTEGER)
}

/// A float, or Redis' "value is not a valid float".
pub fn float(arg: &[u8]) -> Result<f64, CommandError> {
    parse_f64(arg).ok_or(CommandError::NOT_FLOAT)
}

/// Turns Redis' possibly negative `start` and `stop` into a range of `len` items; `None` if it is empty.
pub fn clamp_range(start: i64, stop: i64, len: usize) -> Option<std::ops::Range<usize>> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let absolute = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
    let (start, stop) = (absolute(start).max(0), absolute(stop).min(len - 1));
    (start <= stop && start < len).then(|| start as usize..stop as usize + 1)
}

/// Turns an expiry argument into Unix milliseconds. `unit_ms` is 1000 for seconds, 1 for milliseconds; `base_ms` is the time it
/// counts from (0 for absolute times). `command` names the command in the error of a time out of range.
pub fn expire_at(arg: &[u8], unit_ms: i64, base_ms: u64, command: &str) -> Result<i64, CommandError> {
    let invalid = || CommandError::invalid_expire(command);
    let value = integer(arg)?.checked_mul(unit_ms).ok_or_else(invalid)?;
    value.checked_add(base_ms as i64).ok_or_else(invalid)
}

/// A blocking command's time-out in seconds (fractions allowed) as milliseconds; `None` waits for ever.
pub fn timeout_ms(arg: &[u8]) -> Result<Option<u64>, CommandError> {
    let invalid = CommandError::new("ERR timeout is not a float or out of range");
    let seconds = parse_f64(arg).or_else(|| beyond_f64(arg)).ok_or(invalid)?;
    let millis = (seconds * 1000.0).ceil();
    if seconds < 0.0 {
        return Err(CommandError::new("ERR timeout is negative"));
    }
    if !millis.is_finite() || millis > i64::MAX as f64 {
        return Err(CommandError::new("ERR timeout is out of range"));
    }
    Ok((millis > 0.0).then_some(millis as u64))
}

/// A number that only the long double of Redis can hold, as the next that a double can: infinite, or hardly more than nothing.
fn beyond_f64(arg: &[u8]) -> Option<f64> {
    LongDouble::parse(arg)?;
    let nearest = parse_f64_lenient(arg)?;
    Some(if nearest == 0.0 { f64::MIN_POSITIVE.copysign(nearest) } else { nearest })
}

/// The cursor of SCAN and its kin, as `strtoul` reads it, which is what clients of Redis may have come to rely on: empty is 0, signs are allowed.
pub fn cursor(arg: &[u8]) -> Result<u64, CommandError> {
    let (negative, digits) = match arg {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        [] => return Ok(0),
        digits => (false, digits),
    };
    let significant = &digits[digits.iter().take_while(|&&digit| digit == b'0').count()..];
    let value = if significant.is_empty() && !digits.is_empty() { Some(0) } else { parse_u64(significant) };
    let value = value.ok_or(CommandError::new("ERR invalid cursor"))?;
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// A number whose sign says something of its own (from which side, whether elements may repeat): the smallest has no opposite.
pub fn signed_count(arg: &[u8]) -> Result<i64, CommandError> {
    match integer(arg)? {
        i64::MIN => Err(CommandError::new(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        )),
        count => Ok(count),
    }
}

/// Longest reply of SRANDMEMBER and its relatives with a negative count, in bytes: with repetitions a short request could ask for
/// any length. Redis has no such bound and may run out of memory instead.
pub const REPETITIONS_BYTES_MAX: usize = 256 << 20;

/// Elements that a call of SCAN or one of its relatives looks at unless it is told otherwise.
const SCAN_COUNT: u64 = 10;

/// What one member of the family takes beside MATCH and COUNT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanExtra {
    /// SCAN.
    Type,
    /// HSCAN.
    NoValues,
    /// SSCAN, ZSCAN.
    Nothing,
}

/// The options of SCAN and its relatives.
pub struct ScanOptions<'a> {
    pub count: u64,
    pattern: Option<&'a [u8]>,
    pub type_name: Option<&'a [u8]>,
    pub values: bool,
}

impl<'a> ScanOptions<'a> {
    /// Reads what stands behind the cursor.
    pub fn parse(args: Args<'a>, extra: ScanExtra) -> Result<Self, CommandError> {
        let mut scan = Self { count: SCAN_COUNT, pattern: None, type_name: None, values: true };
        let mut options = args.iter();
        while let Some(option) = options.next() {
            if extra == ScanExtra::NoValues && is(option, "novalues") {
                scan.values = false;
                continue;
            }
            let value = options.next().ok_or(CommandError::SYNTAX)?;
            if is(option, "count") {
                let count = integer(value)?;
                scan.count = u64::try_from(count).ok().filter(|&n| n > 0).ok_or(CommandError::SYNTAX)?;
            } else if is(option, "match") {
                scan.pattern = Some(value).filter(|pattern| *pattern != b"*");
            } else if extra == ScanExtra::Type && is(option, "type") {
                scan.type_name = Some(value);
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(scan)
    }

    /// Whether the pattern, if there is one, takes an element.
    pub fn takes(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name))
    }
}
