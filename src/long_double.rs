//! The 80-bit extended float of x86, in software: what Redis computes INCRBYFLOAT and HINCRBYFLOAT with.
//!
//! Only what those commands need: reading a decimal or hexadecimal number (correctly rounded), addition (round to
//! nearest, ties to even), and printing as C's `%.17Lf` with trailing zeros removed. The results are the same on every
//! machine. There is no multiplication, no comparison and no other rounding mode.
//!
//! ```text
//! value = significand * 2^exponent      significand: 64 bits, top bit set unless the value is subnormal or zero
//! ```

/// Smallest exponent of the last significand bit: subnormals have it.
const EXPONENT_MIN: i32 = -16445;
/// Largest exponent of the last significand bit; above it the value is infinite.
const EXPONENT_MAX: i32 = 16383 - 63;
/// A number as text is refused at this length: Redis' buffer for one is this large.
pub const TEXT_LEN_MAX: usize = 5 * 1024 - 1;
/// Digits after the point that [`LongDouble::format_human`] rounds to.
const FRACTION_DIGITS: usize = 17;
const FRACTION_SCALE: u64 = 10u64.pow(FRACTION_DIGITS as u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Finite,
    Infinite,
    NotANumber,
}

/// A float of 64 significand bits and 15 exponent bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongDouble {
    kind: Kind,
    negative: bool,
    significand: u64,
    exponent: i32,
}

impl LongDouble {
    pub const ZERO: Self =
        Self { kind: Kind::Finite, negative: false, significand: 0, exponent: EXPONENT_MIN };

    /// Reads the whole of `text` as C's `strtold` does in Redis' hands: sign, decimal or `0x` digits, exponent, or `inf` and
    /// `infinity` in any case. `None` for anything else: empty text, spaces, trailing bytes, `nan`, a finite number too large
    /// to be finite here, and one that isn't zero but rounds to zero.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_LEN_MAX {
            return None;
        }
        let (negative, body) = split_sign(text);
        if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") {
            return Some(Self { kind: Kind::Infinite, negative, ..Self::ZERO });
        }
        let scaled = match strip_hex_prefix(body) {
            Some(digits) => Scaled::from_hex(digits)?,
            None => Scaled::from_decimal(Decimal::scan(body)?)?,
        };
        let value = scaled.round(negative);
        let vanished = value.significand == 0 && scaled.bits != 0;
        (value.is_finite() && !vanished).then_some(value)
    }

    pub const fn is_nan(self) -> bool {
        matches!(self.kind, Kind::NotANumber)
    }

    pub const fn is_infinite(self) -> bool {
        matches!(self.kind, Kind::Infinite)
    }

    pub const fn is_finite(self) -> bool {
        matches!(self.kind, Kind::Finite)
    }

    /// The sum, rounded to nearest, ties to even. Opposite infinities give a NaN.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "the only operation: an operator would promise arithmetic"
    )]
    pub fn add(self, other: Self) -> Self {
        match (self.kind, other.kind) {
            (Kind::Finite, Kind::Finite) => self.add_finite(other),
            (Kind::NotANumber, _) | (Kind::Infinite, Kind::Finite) => self,
            (_, Kind::NotANumber) | (Kind::Finite, Kind::Infinite) => other,
            (Kind::Infinite, Kind::Infinite) if self.negative == other.negative => self,
            (Kind::Infinite, Kind::Infinite) => Self { kind: Kind::NotANumber, ..self },
        }
    }

    fn add_finite(self, other: Self) -> Self {
        if self.significand == 0 || other.significand == 0 {
            let zero_sign = self.negative && other.negative;
            return match (self.significand, other.significand) {
                (0, 0) => Self { negative: zero_sign, ..Self::ZERO },
                (0, _) => other,
                _ => self,
            };
        }
        let (high, low) = if (self.exponent, self.significand) >= (other.exponent, other.significand) {
            (self, other)
        } else {
            (other, self)
        };
        // 62 bits below the last one: a lost bit of `low` only ever decides a rounding, so one sticky bit stands for all.
        const GUARD_BITS: u32 = 62;
        let apart = (high.exponent - low.exponent) as u32;
        let a = u128::from(high.significand) << GUARD_BITS;
        let b = shift_right_sticky(u128::from(low.significand) << GUARD_BITS, apart);
        // Equal exponents order by significand, and a larger exponent means a larger value unless `high` were not
        // normalized, which only the smallest exponent allows: hence a >= b.
        let bits = if high.negative == low.negative { a + b } else { a - b };
        if bits == 0 {
            return Self::ZERO;
        }
        Scaled { bits, sticky: false, exponent: high.exponent - GUARD_BITS as i32 }.round(high.negative)
    }

    /// C's `%.17Lf` without trailing zeros: `10.6`, `3`, `-0.5`, never an exponent, never `-0`. `inf`, `-inf`, `nan` otherwise.
    pub fn format_human(self) -> String {
        match self.kind {
            Kind::NotANumber => return "nan".to_owned(),
            Kind::Infinite => return if self.negative { "-inf" } else { "inf" }.to_owned(),
            Kind::Finite => {}
        }
        let (whole, fraction) = self.decimal_parts();
        let mut text = String::with_capacity(whole.len() + FRACTION_DIGITS + 2);
        if self.negative && (fraction != 0 || whole != "0") {
            text.push('-');
        }
        text.push_str(&whole);
        if fraction != 0 {
            let digits = format!("{fraction:0width$}", width = FRACTION_DIGITS);
            text.push('.');
            text.push_str(digits.trim_end_matches('0'));
        }
        text
    }

    /// Integer part in decimal, and the fraction in units of 10^-17, rounded to nearest, ties to even.
    fn decimal_parts(self) -> (String, u64) {
        if self.exponent > 0 {
            let mut whole = Natural::from_u128(u128::from(self.significand));
            whole.shift_left(self.exponent as u32);
            return (whole.into_decimal(), 0);
        }
        let places = self.exponent.unsigned_abs();
        let whole = if places < 64 { self.significand >> places } else { 0 };
        let rest = if places < 64 { self.significand - (whole << places) } else { self.significand };
        let product = u128::from(rest) * u128::from(FRACTION_SCALE); // below 2^121
        let fraction = if places < 128 { round_shift(product, places) as u64 } else { 0 };
        // A fraction that rounds up to one carries.
        if fraction == FRACTION_SCALE {
            return ((u128::from(whole) + 1).to_string(), 0);
        }
        (whole.to_string(), fraction)
    }
}

/// Removes one `+` or `-`; true if it was `-`.
pub(crate) fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

pub(crate) fn strip_hex_prefix(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X"))
}

/// `bits >> places`, to nearest, ties to even; `places < 128`.
fn round_shift(bits: u128, places: u32) -> u128 {
    if places == 0 {
        return bits;
    }
    let kept = bits >> places;
    let lost = bits - (kept << places);
    let half = 1u128 << (places - 1);
    kept + u128::from(lost > half || (lost == half && kept & 1 == 1))
}

/// `bits >> places`; the last bit also says whether any one bit was lost.
fn shift_right_sticky(bits: u128, places: u32) -> u128 {
    if places == 0 {
        return bits;
    }
    if places >= 128 {
        return u128::from(bits != 0);
    }
    let kept = bits >> places;
    kept | u128::from(kept << places != bits)
}

/// `bits * 2^exponent`, and `sticky` if the true value is a little more (less than one unit of the last bit).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scaled {
    bits: u128,
    sticky: bool,
    exponent: i32,
}

impl Scaled {
    const ZERO: Self = Self { bits: 0, sticky: false, exponent: 0 };

    /// Digits after `0x`: at least one, an optional point, an optional binary exponent `p[+-]digits`. Refuses more than
    /// [`TEXT_LEN_MAX`], so that the exponent stays within its type.
    pub(crate) fn from_hex(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_LEN_MAX {
            return None;
        }
        let mut scaled = Self::ZERO;
        let (mut digits, mut point, mut at) = (0usize, false, 0usize);
        while let Some(&byte) = text.get(at) {
            match (byte as char).to_digit(16) {
                Some(digit) if scaled.bits >> 120 == 0 => {
                    scaled.bits = scaled.bits << 4 | u128::from(digit);
                    scaled.exponent -= if point { 4 } else { 0 };
                }
                Some(digit) => {
                    scaled.sticky |= digit != 0;
                    scaled.exponent += if point { 0 } else { 4 };
                }
                None if byte == b'.' && !point => point = true,
                None => break,
            }
            digits += usize::from(byte != b'.');
            at += 1;
        }
        if digits == 0 {
            return None;
        }
        let exponent = match &text[at..] {
            [] => 0,
            [b'p' | b'P', rest @ ..] => parse_exponent(rest)?,
            _ => return None,
        };
        scaled.exponent += exponent;
        Some(scaled)
    }

    /// `None` if the number is far above or (not zero and) far below the range of a long double.
    fn from_decimal(decimal: Decimal<'_>) -> Option<Self> {
        let Decimal { small, count, exponent, .. } = decimal;
        if count == 0 {
            return Some(Self::ZERO);
        }
        // 10^4933 is infinite, 10^-4951 rounds to zero; count <= TEXT_LEN_MAX.
        if !(-4960..=4960).contains(&(exponent + count as i32)) {
            return None;
        }
        // 10^18 < 2^60: quotients below have more than 64 bits, products fewer than 128.
        if count <= 19 && (-18..=18).contains(&exponent) {
            let power = u128::from(10u64.pow(exponent.unsigned_abs()));
            if exponent >= 0 {
                return Some(Self { bits: u128::from(small) * power, sticky: false, exponent: 0 });
            }
            let shift = small.leading_zeros() + 64;
            let numerator = u128::from(small) << shift;
            let (bits, rest) = (numerator / power, numerator % power);
            return Some(Self { bits, sticky: rest != 0, exponent: -(shift as i32) });
        }
        let mut numerator = decimal.natural();
        if exponent >= 0 {
            numerator.multiply_power_of_ten(exponent as u32);
            return Some(numerator.top_bits());
        }
        let mut denominator = Natural::from_u128(1);
        denominator.multiply_power_of_ten(exponent.unsigned_abs());
        Some(divide(numerator, denominator))
    }

    /// To 64 bits and the range of a long double.
    fn round(self, negative: bool) -> LongDouble {
        let Some((significand, exponent)) = self.round_to(64, EXPONENT_MIN) else {
            return LongDouble { negative, ..LongDouble::ZERO };
        };
        if exponent > EXPONENT_MAX {
            return LongDouble { kind: Kind::Infinite, negative, ..LongDouble::ZERO };
        }
        LongDouble { kind: Kind::Finite, negative, significand, exponent }
    }

    /// To a double without its sign; infinite above the range.
    pub(crate) fn to_f64(self) -> f64 {
        let Some((significand, exponent)) = self.round_to(53, -1074) else { return 0.0 };
        if exponent > 1023 - 52 {
            return f64::INFINITY;
        }
        let subnormal = significand < 1 << 52;
        let biased = if subnormal { 0 } else { (exponent + 1075) as u64 };
        f64::from_bits(biased << 52 | (significand & ((1 << 52) - 1)))
    }

    pub(crate) const fn is_zero(self) -> bool {
        self.bits == 0
    }

    /// A significand of at most `width` bits with an exponent of at least `exponent_min`, to nearest, ties to even. The
    /// significand has exactly `width` bits unless the exponent is the smallest. `None` if it rounds to zero.
    fn round_to(self, width: u32, exponent_min: i32) -> Option<(u64, i32)> {
        if self.bits == 0 {
            return None;
        }
        // One bit of room for the sticky bit below the last: callers leave at least two bits.
        let lead = self.bits.leading_zeros();
        let bits = self.bits << lead;
        let bits = if lead == 0 {
            bits | u128::from(self.sticky)
        } else {
            bits | u128::from(self.sticky) << (lead - 1)
        };
        let exponent = self.exponent.saturating_sub(lead as i32);
        let drop = (128 - width).max(u32::try_from(exponent_min.saturating_sub(exponent)).unwrap_or(0));
        if drop > 128 {
            return None;
        }
        let kept = if drop == 128 { u128::from(bits > 1 << 127) } else { round_shift(bits, drop) };
        let exponent = exponent.saturating_add(drop as i32);
        match kept {
            0 => None,
            kept if kept >> width != 0 => Some(((kept >> 1) as u64, exponent + 1)),
            kept => Some((kept as u64, exponent)),
        }
    }
}

/// `[+-]digits`, the whole of `text`, at least one digit. Far beyond any float it stops growing.
fn parse_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0i32, |sum, &d| (sum * 10 + i32::from(d - b'0')).min(1_000_000));
    Some(if negative { -magnitude } else { magnitude })
}

/// `digits * 10^exponent`, as written: `12.50e3` is the digits `125` (zeros at both ends are gone) and exponent 2.
#[derive(Debug, Clone, Copy)]
struct Decimal<'a> {
    /// The written digits, maybe with one point among them.
    written: &'a [u8],
    /// The value of the significant digits if there are at most 19.
    small: u64,
    /// Significant digits.
    count: usize,
    exponent: i32,
}

impl<'a> Decimal<'a> {
    fn scan(text: &'a [u8]) -> Option<Self> {
        let end = text.iter().position(|b| matches!(b, b'e' | b'E')).unwrap_or(text.len());
        let written_exponent = match &text[end..] {
            [] => 0,
            rest => parse_exponent(&rest[1..])?,
        };
        let (mut count, mut zeros, mut seen, mut point) = (0usize, 0usize, false, false);
        let (mut small, mut after_point) = (0u64, 0i32);
        for &byte in &text[..end] {
            if byte == b'.' && !point {
                point = true;
                continue;
            }
            if !byte.is_ascii_digit() {
                return None;
            }
            seen = true;
            after_point += i32::from(point);
            match byte {
                b'0' if count == 0 => {}
                b'0' => zeros += 1,
                _ => {
                    for digit in std::iter::repeat_n(0, zeros).chain([byte - b'0']) {
                        small = small.wrapping_mul(10).wrapping_add(u64::from(digit));
                    }
                    count += zeros + 1;
                    zeros = 0;
                }
            }
        }
        let exponent = written_exponent - after_point + zeros as i32;
        seen.then_some(Self { written: &text[..end], small, count, exponent })
    }

    /// All significant digits as an integer.
    fn natural(&self) -> Natural {
        let digits = self.written.iter().filter(|b| **b != b'.').skip_while(|b| **b == b'0').take(self.count);
        let mut value = Natural { limbs: Vec::new() };
        for &digit in digits {
            value.multiply_add(10, u32::from(digit - b'0'));
        }
        value
    }
}

/// An unsigned integer of any size, low limb first, no zero limb at the top. Sizes here stay below 40,000 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Natural {
    limbs: Vec<u32>,
}

impl Natural {
    fn from_u128(value: u128) -> Self {
        let mut natural = Self { limbs: (0..4).map(|i| (value >> (32 * i)) as u32).collect() };
        natural.trim();
        natural
    }

    fn trim(&mut self) {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }

    fn bit_len(&self) -> u32 {
        self.limbs.last().map_or(0, |top| self.limbs.len() as u32 * 32 - top.leading_zeros())
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for limb in &mut self.limbs {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry != 0 {
            self.limbs.push(carry as u32);
        }
    }

    fn multiply_power_of_ten(&mut self, mut power: u32) {
        while power > 0 {
            let step = power.min(9);
            self.multiply_add(10u32.pow(step), 0);
            power -= step;
        }
    }

    fn shift_left(&mut self, places: u32) {
        self.multiply_add(1 << (places % 32), 0);
        self.limbs.splice(0..0, std::iter::repeat_n(0, (places / 32) as usize));
        self.trim();
    }

    /// The highest 128 bits, and whether anything was below them.
    fn top_bits(&self) -> Scaled {
        let drop = self.bit_len().saturating_sub(128);
        let (limbs, places) = ((drop / 32) as usize, drop % 32);
        let mut sticky = self.limbs[..limbs].iter().any(|limb| *limb != 0);
        let mut bits = 0u128;
        for (i, &limb) in self.limbs[limbs..].iter().enumerate() {
            let limb = u128::from(limb);
            if i == 0 {
                sticky |= limb & ((1 << places) - 1) != 0;
                bits = limb >> places;
            } else {
                bits |= limb << (32 * i as u32 - places);
            }
        }
        Scaled { bits, sticky, exponent: drop as i32 }
    }

    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let by_len = self.limbs.len().cmp(&other.limbs.len());
        by_len.then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev()))
    }

    /// Takes away `other`, which must not be larger.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = 0i64;
        for (i, limb) in self.limbs.iter_mut().enumerate() {
            let difference = i64::from(*limb) - i64::from(other.limbs.get(i).copied().unwrap_or(0)) + borrow;
            *limb = difference as u32;
            borrow = difference >> 32;
        }
        self.trim();
    }

    fn into_decimal(mut self) -> String {
        const CHUNK: u32 = 1_000_000_000;
        let mut chunks = Vec::new();
        while !self.limbs.is_empty() {
            let mut rest = 0u64;
            for limb in self.limbs.iter_mut().rev() {
                let value = rest << 32 | u64::from(*limb);
                *limb = (value / u64::from(CHUNK)) as u32;
                rest = value % u64::from(CHUNK);
            }
            self.trim();
            chunks.push(rest);
        }
        let mut text = chunks.pop().unwrap_or(0).to_string();
        for chunk in chunks.iter().rev() {
            text.push_str(&format!("{chunk:09}"));
        }
        text
    }
}

/// A quotient of 70 or 71 bits: enough for a 64-bit significand, its rounding bit and more.
fn divide(mut numerator: Natural, mut denominator: Natural) -> Scaled {
    const QUOTIENT_BITS: i32 = 70;
    let shift = QUOTIENT_BITS + denominator.bit_len() as i32 - numerator.bit_len() as i32;
    if shift >= 0 {
        numerator.shift_left(shift as u32);
    } else {
        denominator.shift_left(shift.unsigned_abs());
    }
    // Long division, one bit at a time: the remainder is doubled instead of the divisor halved.
    denominator.shift_left(QUOTIENT_BITS as u32);
    let mut bits = 0u128;
    for _ in 0..=QUOTIENT_BITS {
        bits <<= 1;
        if numerator.compare(&denominator).is_ge() {
            numerator.subtract(&denominator);
            bits |= 1;
        }
        numerator.shift_left(1);
    }
    Scaled { bits, sticky: !numerator.limbs.is_empty(), exponent: -shift }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> LongDouble {
        LongDouble::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text:?} is a number"))
    }

    fn sum(a: &str, b: &str) -> String {
        read(a).add(read(b)).format_human()
    }

    /// Expected texts are what redis-server 7.0.15 on x86-64 answered to SET and INCRBYFLOAT.
    #[test]
    fn sums_are_those_of_redis() {
        assert_eq!(sum("10.5", "0.1"), "10.6");
        assert_eq!(sum("0.1", "0.2"), "0.3");
        assert_eq!(sum("3.0e3", "200"), "3200");
        assert_eq!(sum("5.0e3", "2.0e2"), "5200");
        assert_eq!(sum("1", "-1.00000000000000001"), "-0.00000000000000001");
        assert_eq!(sum("0", "-0"), "0");
        assert_eq!(sum("1e-400", "1"), "1");
        assert_eq!(sum("3", "-5.5"), "-2.5");
    }

    #[test]
    fn large_numbers_are_printed_in_full() {
        assert_eq!(read("18446744073709551616").format_human(), "18446744073709551616");
        assert_eq!(read("1e400").format_human()[..22], *"1000000000000000000028");
        assert_eq!(read("1e4931").format_human().len(), 4932);
        assert_eq!(read("1.18973149535723176502e+4932").format_human().len(), 4933);
        let digits = "1".repeat(300);
        assert_eq!(read(&digits).format_human()[..30], *"111111111111111111109085470141");
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for text in [
            "1e5000",
            "1.2e4932",
            "1e-5000",
            "1e-4951",
            "0x1p16384",
            "0x1p-16447",
            "1e999999999999",
            "1e-999999999999",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(LongDouble::parse("1".repeat(5000).as_bytes()), None);
        for text in ["3.6e-4951", "1e-4950", "0x1p-16445", "0e99999", "0x0p99999"] {
            assert_eq!(read(text).format_human(), "0", "{text}");
        }
    }

    #[test]
    fn text_that_is_no_number_is_refused() {
        for text in [
            "", " 1", "1 ", "nan", "-nan", "infin", "0x", "0xp1", "0x1p", ".", "e5", "1e", "1e+", "--1",
            "1_0", "1,5", "1\0",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn infinities_are_told_apart_from_numbers() {
        let infinity = read("+inf");
        assert!(infinity.is_infinite() && read("-Infinity").is_infinite());
        assert!(infinity.add(read("-1e4000")).is_infinite());
        assert!(infinity.add(read("-inf")).is_nan());
        assert!(read("1.18973149535723176502e+4932").add(read("1e4932")).is_infinite());
        assert_eq!(read("-inf").add(read("1")).format_human(), "-inf");
    }

    #[test]
    fn rounding_is_to_even() {
        // 2^63 + 1/2 and 2^63 + 3/2 lie between two neighbours.
        assert_eq!(sum("9223372036854775808", "0.5"), "9223372036854775808");
        assert_eq!(sum("9223372036854775809", "0.5"), "9223372036854775810");
        assert_eq!(sum("9223372036854775808", "0.5000001"), "9223372036854775809");
        // The last bit of the smaller one is far below the sum's, and still decides.
        assert_eq!(sum("0x1p63", "0x0.8000000000000001"), "9223372036854775809");
        assert_eq!(sum("0x1p63", "-0x0.4000000000000001"), "9223372036854775807.5");
        assert_eq!(sum("0x1p63", "-0x0.3fffffffffffffff"), "9223372036854775808");
        assert_eq!(read("9223372036854775808.5").format_human(), "9223372036854775808");
        assert_eq!(
            read("9223372036854775808.50000000000000000000000000000001").format_human(),
            "9223372036854775809"
        );
        assert_eq!(read("0.999999999999999999").format_human(), "1");
        assert_eq!(read("-0.000000000000000001").format_human(), "0");
    }

    proptest! {
        #[test]
        fn the_short_way_and_the_long_way_read_the_same(digits in 1u64.., exponent in -18i32..=18) {
            let text = format!("{digits}e{exponent}");
            // Zeros in front of the exponent's reach make the scanner count more than 19 digits only if one is significant.
            let decimal = Decimal::scan(text.as_bytes()).unwrap();
            let short = Scaled::from_decimal(decimal).unwrap().round(false);
            let long = if decimal.exponent >= 0 {
                let mut natural = decimal.natural();
                natural.multiply_power_of_ten(decimal.exponent as u32);
                natural.top_bits()
            } else {
                let mut power = Natural::from_u128(1);
                power.multiply_power_of_ten(decimal.exponent.unsigned_abs());
                divide(decimal.natural(), power)
            };
            prop_assert_eq!(short, long.round(false));
        }

        #[test]
        fn integers_of_64_bits_are_exact(a in any::<i64>(), b in any::<i64>()) {
            let exact = i128::from(a) + i128::from(b);
            prop_assert_eq!(read(&a.to_string()).format_human(), a.to_string());
            if exact.unsigned_abs() < 1 << 64 {
                prop_assert_eq!(sum(&a.to_string(), &b.to_string()), exact.to_string());
            }
        }

        #[test]
        fn doubles_are_read_as_the_standard_library_reads_them(value in prop::num::f64::POSITIVE | prop::num::f64::SUBNORMAL) {
            let text = format!("{value:e}");
            let scaled = Scaled::from_decimal(Decimal::scan(text.as_bytes()).unwrap()).unwrap();
            prop_assert_eq!(scaled.to_f64(), value.abs());
        }

        #[test]
        fn what_is_printed_is_read_back_while_its_digits_suffice(whole in 0u32..64, fraction in 0u64..100_000_000) {
            let text = format!("{whole}.{fraction:08}");
            let trimmed = text.trim_end_matches('0').trim_end_matches('.');
            prop_assert_eq!(read(&text).format_human(), trimmed);
        }

        #[test]
        fn any_text_is_a_number_or_refused(text in "[-+0-9.eExXpP]{0,40}") {
            if let Some(number) = LongDouble::parse(text.as_bytes()) {
                prop_assert!(!number.is_nan());
                let _ = number.add(number).format_human();
            }
        }
    }
}
