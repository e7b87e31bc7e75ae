//! Files that are numbered in the order in which they were made: `log/00000001.log`, `snapshot/00000001.snap`.

/// Numbers, counters and positions stay below this for longer than any machine lives; a larger one is damage.
pub const NUMBER_MAX: u64 = 1 << 60;

/// A name with a larger number is none of ours: a new file's number is that of the last plus one, and must not come near the limit
/// because of a name that somebody else made.
const FILE_NUMBER_MAX: u64 = NUMBER_MAX / 2;

/// `<folder>/<number><suffix>`
pub fn path(folder: &str, number: u64, suffix: &str) -> String {
    format!("{folder}/{number:08}{suffix}")
}

/// The number in a file name, if it is one of these.
pub fn number_of(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let plain = digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten().filter(|&number| number <= FILE_NUMBER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_recognised_and_no_others() {
        assert_eq!(path("log", 7, ".log"), "log/00000007.log");
        assert_eq!(number_of("00000007.log", ".log"), Some(7));
        assert_eq!(number_of("123456789.log", ".log"), Some(123_456_789));
        let names =
            ["7.log", "0000000x.log", "00000007.snap", "+0000007.log", "18446744073709551615.log", ".log"];
        for name in names.into_iter().chain(["1152921504606846976.log", "576460752303423489.log"]) {
            assert_eq!(number_of(name, ".log"), None, "{name}");
        }
    }
}
