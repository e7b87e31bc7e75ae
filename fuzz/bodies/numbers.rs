//! Numbers as text against the standard library, and the 80-bit float against 128-bit integers.

use duramen::long_double::LongDouble;
use duramen::resp::number::{
    F64_TEXT_LEN_MAX, format_f64, parse_f64, parse_f64_lenient, parse_i64, parse_u64,
};

pub fn check(data: &[u8]) {
    check_text(data);
    let numbers: Vec<u64> =
        data.chunks(8).map(|chunk| chunk.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))).collect();
    for &number in &numbers {
        check_f64(f64::from_bits(number));
        assert_eq!(parse_i64((number as i64).to_string().as_bytes()), Some(number as i64));
        assert_eq!(parse_u64(number.to_string().as_bytes()), Some(number));
    }
    for pair in numbers.windows(2) {
        check_sum(pair[0] as i64 >> 1, pair[1] as i64 >> 1);
    }
    let half = data.len() / 2;
    if let (Some(a), Some(b)) = (LongDouble::parse(&data[..half]), LongDouble::parse(&data[half..])) {
        // As text: the sign of a NaN says nothing.
        assert_eq!(a.add(b).format_human(), b.add(a).format_human());
    }
}

fn check_text(text: &[u8]) {
    let std = std::str::from_utf8(text).ok();
    let canonical = std.and_then(|text| text.parse::<i64>().ok().filter(|value| value.to_string() == text));
    assert_eq!(parse_i64(text), canonical);
    let canonical = std.and_then(|text| text.parse::<u64>().ok().filter(|value| value.to_string() == text));
    assert_eq!(parse_u64(text), canonical);

    let strict = parse_f64(text);
    assert!(strict.is_none_or(|number| !number.is_nan()));
    assert!(strict.is_none() || parse_f64_lenient(text).map(f64::to_bits) == strict.map(f64::to_bits));
    if is_decimal(text) {
        let number: f64 = std.expect("digits are text").parse().expect("the standard library reads decimals");
        let vanished = number == 0.0 && has_value(text);
        let expected = (number.is_finite() && !vanished).then_some(number);
        assert_eq!(strict.map(f64::to_bits), expected.map(f64::to_bits));
    } else if let Some(number) = strict {
        let text = std.expect("numbers are ASCII").to_ascii_lowercase();
        assert!(text.contains("0x") || number.is_infinite(), "{text} is no decimal and was read as {number}");
    }
    let Some(long) = LongDouble::parse(text) else { return };
    assert!(!long.is_nan());
    let shown = long.format_human();
    let again = LongDouble::parse(shown.as_bytes()).unwrap_or_else(|| panic!("{shown} does not read back"));
    assert_eq!(again.format_human(), shown);
    if let Some(whole) = canonical {
        assert_eq!(shown, whole.to_string(), "64 bits hold it");
    }
}

/// Sign, digits with at most one point and at least one digit, exponent.
fn is_decimal(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let mut parts = unsigned.splitn(2, |byte| matches!(byte, b'e' | b'E'));
    let mantissa = parts.next().unwrap_or_default();
    let digits = mantissa.iter().filter(|byte| byte.is_ascii_digit()).count();
    let points = mantissa.iter().filter(|byte| **byte == b'.').count();
    let exponent_fits = parts.next().is_none_or(|exponent| {
        let exponent =
            exponent.strip_prefix(b"-").or_else(|| exponent.strip_prefix(b"+")).unwrap_or(exponent);
        !exponent.is_empty() && exponent.iter().all(u8::is_ascii_digit)
    });
    digits > 0 && points <= 1 && digits + points == mantissa.len() && exponent_fits
}

fn has_value(text: &[u8]) -> bool {
    let mantissa = text.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
    mantissa.iter().any(|byte| matches!(byte, b'1'..=b'9'))
}

fn check_f64(value: f64) {
    let text = format_f64(value);
    assert!(text.len() <= F64_TEXT_LEN_MAX, "{text}");
    let read = parse_f64(text.as_bytes());
    assert_eq!(read.map(f64::to_bits), (!value.is_nan()).then_some(value.to_bits()), "{text}");
}

/// 63-bit numbers and their sum are exact in 64 bits of significand; so is the sum of a number and a half.
fn check_sum(a: i64, b: i64) {
    let long = |value: i64| LongDouble::parse(value.to_string().as_bytes()).expect("integers are numbers");
    let expected = i128::from(a) + i128::from(b);
    assert_eq!(long(a).add(long(b)).format_human(), expected.to_string());
    let half = LongDouble::parse(b"0.5").expect("a number");
    let sum = long(a >> 2).add(half).add(half).format_human();
    assert_eq!(sum, ((a >> 2) + 1).to_string());
}

pub fn seeds() -> Vec<Vec<u8>> {
    let texts: &[&str] = &[
        "0",
        "-0",
        "+1",
        "1e5",
        "-1.5e-7",
        "0x1p-3",
        "0x1.8p1",
        "inf",
        "-Infinity",
        "Infinity-Infinity",
        "nan",
        "1e400",
        "1e-400",
        "5e-324",
        "3.0e3",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "0.1",
        ".5",
        "5.",
        "1e4932",
        "1e-4951",
        "0.00000000000000001",
        "123456789012345678901234567890.5",
        "1e",
        "1e+",
        "0x",
        "--1",
        " 1",
        "1 ",
        "00012",
    ];
    let mut seeds: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let numbers = [0.1, 1e16, 1e-5, 123456.789, f64::MAX, f64::MIN_POSITIVE, -0.0, 4503599627370496.0];
    seeds.extend(numbers.map(|number: f64| number.to_bits().to_be_bytes().to_vec()));
    seeds.push([i64::MAX, i64::MIN, 1, -1].iter().flat_map(|number| number.to_be_bytes()).collect());
    seeds
}
