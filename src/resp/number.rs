//! Numbers as Redis reads and writes them in arguments and replies: strict integers, doubles and scores.
//!
//! INCRBYFLOAT's numbers are in [`crate::long_double`].

use std::io::Write as _;

use crate::long_double::{Scaled, split_sign, strip_hex_prefix};

/// Longest text of an `i64`: `-9223372036854775808`.
pub const I64_TEXT_LEN_MAX: usize = 20;

/// Reads an integer the one way Redis writes it: no plus, no leading zero, no spaces, no `-0`. `None` for all else.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() < I64_TEXT_LEN_MAX => {}
        _ => return None,
    }
    let mut magnitude = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // At most 19 digits: no overflow of 64 bits.
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Like [`parse_i64`] for what can't be negative, up to `u64::MAX` (Redis SCAN cursors, BITFIELD).
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] => text.iter().try_fold(0u64, |sum, byte| {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 { None } else { sum.checked_mul(10)?.checked_add(u64::from(digit)) }
        }),
        _ => None,
    }
}

/// Reads a whole text as a double, as Redis does for scores and increments: decimal or `0x` digits, `inf` and `infinity` in
/// any case. `None` for spaces, trailing bytes, `nan`, a finite number that overflows, and one that isn't zero but rounds to it.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let value = scan_f64(text)?;
    (!value.out_of_range).then_some(value.number)
}

/// The lenient reading that Redis has for score ranges (ZRANGEBYSCORE and its kin) and their weights: leading spaces and
/// empty text (zero) are accepted, overflow is infinite, a zero byte ends the text. `nan` is refused.
pub fn parse_f64_lenient(text: &[u8]) -> Option<f64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    let start = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
    scan_f64(&text[start..]).map(|value| value.number)
}

/// C's `isspace` in the C locale.
pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

struct ScannedDouble {
    number: f64,
    /// The text is finite and the number isn't, or the text isn't zero and the number is.
    out_of_range: bool,
}

fn scan_f64(text: &[u8]) -> Option<ScannedDouble> {
    let (negative, body) = split_sign(text);
    let sign = |number: f64| if negative { -number } else { number };
    if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") {
        return Some(ScannedDouble { number: sign(f64::INFINITY), out_of_range: false });
    }
    if let Some(digits) = strip_hex_prefix(body) {
        let scaled = Scaled::from_hex(digits)?;
        let number = scaled.to_f64();
        let out_of_range = number.is_infinite() || (number == 0.0 && !scaled.is_zero());
        return Some(ScannedDouble { number: sign(number), out_of_range });
    }
    // The standard library's reader takes what is left of C's grammar, but also a second sign and `nan`.
    if !matches!(body.first(), Some(b'0'..=b'9' | b'.')) {
        return None;
    }
    let number: f64 = std::str::from_utf8(body).ok()?.parse().ok()?;
    let mantissa = body.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
    let vanished = number == 0.0 && mantissa.iter().any(|byte| matches!(byte, b'1'..=b'9'));
    Some(ScannedDouble { number: sign(number), out_of_range: number.is_infinite() || vanished })
}

/// Longest text that [`put_f64`] appends: sign, 17 digits, point, exponent, or `0.000000` before the digits.
pub const F64_TEXT_LEN_MAX: usize = 32;

/// Appends a double as Redis 7.2 replies it: the shortest digits that read back to the same double; whole numbers up to
/// 2^62 in full; exponents only where they are shorter (`1e+20`, `1.5e-7`); `inf`, `-inf`, `nan`; `-0` for negative zero.
///
/// Redis 7.0 always printed 17 significant digits here (`0.10000000000000001`).
pub fn put_f64(out: &mut Vec<u8>, value: f64) {
    const WHOLE_MAX: f64 = 4_611_686_018_427_387_904.0; // 2^62
    if value.is_nan() {
        out.extend_from_slice(b"nan");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
    } else if value == 0.0 {
        out.extend_from_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
    } else if value.abs() <= WHOLE_MAX && value.trunc() == value {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else {
        put_shortest(out, value);
    }
}

/// `value` is finite and not zero.
fn put_shortest(out: &mut Vec<u8>, value: f64) {
    // `{:e}` is d.ddde[-]x with the shortest digits that read back.
    let mut text = [0u8; F64_TEXT_LEN_MAX];
    let mut rest = &mut text[..];
    write!(rest, "{:e}", value.abs()).expect("at most 17 digits, a point and e-324: 23 bytes");
    let len = F64_TEXT_LEN_MAX - rest.len();
    let at = text[..len].iter().position(|byte| *byte == b'e').expect("the format always has an exponent");
    let exponent = parse_i64(&text[at + 1..len]).expect("the exponent is a plain integer") as i32;
    text.copy_within(2..at.max(2), 1);
    let digits = &text[..if at == 1 { 1 } else { at - 1 }];
    if value < 0.0 {
        out.push(b'-');
    }
    place_point(out, digits, exponent);
}

/// Writes `d.ddd * 10^exponent` in the shape Redis 7.2 chooses: plain while few zeros are added, else scientific.
fn place_point(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    let count = digits.len() as i32;
    let last_place = exponent - count + 1;
    let size = exponent.abs();
    if last_place >= 0 && size < count + 7 {
        out.extend_from_slice(digits);
        out.extend(std::iter::repeat_n(b'0', last_place as usize));
    } else if last_place < 0 && (last_place > -7 || size < 4) {
        if exponent < 0 {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', (size - 1) as usize));
            out.extend_from_slice(digits);
        } else {
            let (whole, fraction) = digits.split_at(exponent as usize + 1);
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    } else {
        out.push(digits[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        out.extend_from_slice(itoa::Buffer::new().format(size).as_bytes());
    }
}

/// [`put_f64`] as a string of its own.
pub fn format_f64(value: f64) -> String {
    let mut out = Vec::with_capacity(F64_TEXT_LEN_MAX);
    put_f64(&mut out, value);
    String::from_utf8(out).expect("numbers are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_read_only_as_redis_writes_them() {
        for (text, value) in [
            ("0", 0),
            ("-1", -1),
            ("10", 10),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), Some(value));
        }
        let refused = [
            "",
            "-",
            "+1",
            "-0",
            "00",
            "01",
            "-01",
            " 1",
            "1 ",
            "1a",
            "a",
            "1.0",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999",
            "18446744073709551616",
            "1\0",
        ];
        for text in refused {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn unsigned_integers_reach_their_limit() {
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        for text in ["18446744073709551616", "-1", "-0", "", "01", "+1", "1x"] {
            assert_eq!(parse_u64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn doubles_are_read_as_redis_reads_them() {
        let accepted = [
            ("1e5", 1e5),
            ("1E+5", 1e5),
            ("1e-5", 1e-5),
            (".5", 0.5),
            ("5.", 5.0),
            ("+.5", 0.5),
            ("-.5", -0.5),
            ("00012", 12.0),
            ("0x1p3", 8.0),
            ("0X1.8P1", 3.0),
            ("-0x1p3", -8.0),
            ("0x.8", 0.5),
            ("0x1.", 1.0),
            ("0x10", 16.0),
            ("inf", f64::INFINITY),
            ("+Infinity", f64::INFINITY),
            ("-INF", f64::NEG_INFINITY),
            ("5e-324", 5e-324),
            ("0x1p-1074", 5e-324),
            ("1e308", 1e308),
            ("0e999", 0.0),
            ("0x1.fffffffffffff8p0", 2.0),
            ("0x1.fffffffffffff7p0", 1.9999999999999998),
        ];
        for (text, value) in accepted {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text:?}");
        }
        let refused = [
            "",
            " 1",
            "1 ",
            "\t1",
            "nan",
            "-nan",
            "nan(1)",
            "infin",
            "0x",
            "0xp1",
            "0x1p",
            ".",
            "e5",
            "1e",
            "1e+",
            "--1",
            "+-1",
            "1_0",
            "1,5",
            "1e400",
            "-1e400",
            "1e-400",
            "2e-324",
            "0x1p1024",
            "0x1p-1076",
            "1\0",
            "+",
            "-",
            "0x1.1.1",
        ];
        for text in refused {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn score_ranges_are_read_leniently() {
        for (text, value) in
            [("", 0.0), (" 1", 1.0), ("\t1", 1.0), ("1\0x", 1.0), ("1e400", f64::INFINITY), ("1e-400", 0.0)]
        {
            assert_eq!(parse_f64_lenient(text.as_bytes()), Some(value), "{text:?}");
        }
        for text in ["1 ", "nan", "0x", "1e", "a"] {
            assert_eq!(parse_f64_lenient(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn doubles_are_written_in_the_shape_of_redis() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (10.6, "10.6"),
            (1e15, "1000000000000000"),
            (1e16, "10000000000000000"),
            (-4e18, "-4000000000000000000"),
            (4611686018427387904.0, "4611686018427387904"),
            (5e18, "5e+18"),
            (1e20, "1e+20"),
            (12345678901234567.0, "12345678901234568"),
            (1.5e-7, "1.5e-7"),
            (1e-5, "0.00001"),
            (1e-7, "1e-7"),
            (0.012345678901234567, "0.012345678901234567"),
            (-1.5, "-1.5"),
            (123456.789, "123456.789"),
            (5e-324, "5e-324"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (1.234567890123e-4, "1.234567890123e-4"),
            (f64::NAN, "nan"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (2251799813685249.5, "2251799813685249.5"),
        ];
        for (value, text) in cases {
            assert_eq!(format_f64(value), text);
        }
    }

    proptest! {
        #[test]
        fn integers_are_read_back(value in any::<i64>()) {
            prop_assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
        }

        #[test]
        fn an_integer_is_read_exactly_if_its_text_is_canonical(text in "-?[0-9]{1,20}") {
            let value = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
            prop_assert_eq!(parse_i64(text.as_bytes()), value);
        }

        #[test]
        fn doubles_are_read_back(value in prop::num::f64::ANY) {
            let text = format_f64(value);
            prop_assert!(text.len() <= F64_TEXT_LEN_MAX);
            if value.is_nan() {
                prop_assert_eq!(parse_f64(text.as_bytes()), None);
            } else {
                prop_assert_eq!(parse_f64(text.as_bytes()).map(f64::to_bits), Some(value.to_bits()));
            }
        }

        #[test]
        fn hexadecimal_doubles_are_read_exactly(mantissa in any::<u32>(), exponent in -1000i32..900) {
            let text = format!("0x{mantissa:x}p{exponent}");
            prop_assert_eq!(parse_f64(text.as_bytes()), Some(f64::from(mantissa) * 2f64.powi(exponent)));
        }

        #[test]
        fn any_text_is_a_number_or_refused(text in any::<Vec<u8>>(), numeric in "[-+0-9.eExXpPinfa ]{0,12}") {
            for text in [&text[..], numeric.as_bytes()] {
                let (strict, lenient) = (parse_f64(text), parse_f64_lenient(text));
                prop_assert!(strict.is_none_or(|number| !number.is_nan()));
                prop_assert!(strict.is_none() || strict == lenient);
                let _ = (parse_i64(text), parse_u64(text), crate::long_double::LongDouble::parse(text));
            }
        }
    }
}
