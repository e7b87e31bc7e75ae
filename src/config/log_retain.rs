//! The value of `log-retain`: a time or a number of bytes. A number without a unit could be either, so only 0 may go without.

use std::fmt;

use super::value::Refusal;

/// How far back any moment can be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogRetain {
    Nothing,
    Seconds(u64),
    Bytes(u64),
}

const TIMES: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
const SIZES: [(&str, u64); 5] =
    [("tb", 1 << 40), ("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10), ("b", 1)];
const FORM: &str =
    "argument must be 0, a time with its unit (3600s, 90min, 24h, 7d) or a size with its unit (512mb, 10gb)";

impl LogRetain {
    pub(super) fn parse(word: &str) -> Result<Self, Refusal> {
        let digits_len = word.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, unit) = word.split_at(digits_len);
        let unit = unit.to_ascii_lowercase();
        let count: u64 = digits.parse().map_err(|_| FORM)?;
        let factor =
            |units: &[(&str, u64)]| units.iter().find(|(name, _)| *name == unit).map(|&(_, factor)| factor);
        if count == 0 && unit.is_empty() {
            return Ok(Self::Nothing);
        }
        let (factor, is_time) = match (factor(&TIMES), factor(&SIZES)) {
            (Some(factor), _) => (factor, true),
            (_, Some(factor)) => (factor, false),
            _ if unit.is_empty() => return Err(format!("a number without a unit; {FORM}").into()),
            _ if unit == "m" => return Err("'m' could be minutes or megabytes: write min or mb".into()),
            _ => return Err(FORM.into()),
        };
        match count.checked_mul(factor).filter(|&number| number <= i64::MAX as u64) {
            Some(0) => Ok(Self::Nothing),
            Some(number) if is_time => Ok(Self::Seconds(number)),
            Some(number) => Ok(Self::Bytes(number)),
            None => Err("argument is out of range".into()),
        }
    }

    /// Seconds are negative.
    pub(super) fn to_number(self) -> i64 {
        match self {
            Self::Nothing => 0,
            Self::Seconds(seconds) => -(seconds as i64),
            Self::Bytes(bytes) => bytes as i64,
        }
    }

    pub(super) fn from_number(number: i64) -> Self {
        match number {
            0 => Self::Nothing,
            1.. => Self::Bytes(number.unsigned_abs()),
            _ => Self::Seconds(number.unsigned_abs()),
        }
    }
}

impl fmt::Display for LogRetain {
    /// With the largest unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, units): (u64, &[(&str, u64)]) = match *self {
            Self::Nothing => return f.write_str("0"),
            Self::Seconds(seconds) => (seconds, &TIMES),
            Self::Bytes(bytes) => (bytes, &SIZES),
        };
        let (name, factor) =
            units.iter().find(|(_, factor)| number % factor == 0).unwrap_or(&units[units.len() - 1]);
        write!(f, "{}{name}", number / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_unit_says_whether_it_is_a_time_or_a_size() {
        for (word, value, shown) in [
            ("0", LogRetain::Nothing, "0"),
            ("0d", LogRetain::Nothing, "0"),
            ("86400s", LogRetain::Seconds(86_400), "1d"),
            ("24H", LogRetain::Seconds(86_400), "1d"),
            ("90min", LogRetain::Seconds(5400), "90min"),
            ("7d", LogRetain::Seconds(604_800), "7d"),
            ("10gb", LogRetain::Bytes(10 << 30), "10gb"),
            ("512MB", LogRetain::Bytes(512 << 20), "512mb"),
            ("1000b", LogRetain::Bytes(1000), "1000b"),
        ] {
            assert_eq!(LogRetain::parse(word), Ok(value), "{word}");
            assert_eq!(value.to_string(), shown);
        }
        for (word, why) in [
            ("86400", "without a unit"),
            ("5m", "min or mb"),
            ("", "argument must be"),
            ("gb", "argument must be"),
            ("-1d", "argument must be"),
            ("1.5h", "argument must be"),
            ("5 gb", "argument must be"),
            ("999999999999999d", "out of range"),
        ] {
            let refusal = LogRetain::parse(word).expect_err(word);
            assert!(refusal.contains(why), "{word}: {refusal}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(number in -i64::MAX..) {
            let value = LogRetain::from_number(number);
            prop_assert_eq!(value.to_number(), number);
            prop_assert_eq!(LogRetain::parse(&value.to_string()), Ok(value));
        }
    }
}
