//! The syntax of redis.conf: lines, words, quotes; and the command line, which is turned into such lines.
//!
//! No file is read here. Lines are bytes: a comment may hold any. What is not promised: values that are not UTF-8 (`"\xff"`) are refused,
//! where Redis takes any bytes.

use super::LoadError;
use super::load::Origin;

/// One line that is neither blank nor a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// Counted from 1.
    pub number: usize,
    /// Without the blanks at both ends.
    pub text: &'a [u8],
}

/// The lines that say something. A comment begins with `#` at the start of a line only.
pub fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    text.split(|byte| *byte == b'\n')
        .enumerate()
        .map(|(index, line)| Line { number: index + 1, text: trim(line) })
        .filter(|line| !is_comment(line.text))
}

/// Removes the blanks that redis.conf ignores at both ends of a line.
pub fn trim(line: &[u8]) -> &[u8] {
    let is_said = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = line.iter().position(is_said).unwrap_or(line.len());
    let end = line.iter().rposition(is_said).map_or(start, |last| last + 1);
    &line[start..end]
}

/// Whether a trimmed line says nothing.
pub fn is_comment(line: &[u8]) -> bool {
    matches!(line, [] | [b'#', ..])
}

const NOT_UTF8: &str =
    "a word of this line is not valid UTF-8, and this server takes no other values: write it in UTF-8";

/// Splits a line into words. In double quotes `\n \r \t \b \a \xHH` are escapes and `\` before anything else is dropped;
/// in single quotes only `\'` is one. A closing quote must end the word.
pub fn split_words(line: &[u8]) -> Result<Vec<String>, &'static str> {
    let mut rest = line;
    let mut words = Vec::new();
    loop {
        let blanks = rest.iter().take_while(|byte| is_blank(**byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Ok(words);
        }
        let (word, after) = take_word(rest)?;
        words.push(String::from_utf8(word).map_err(|_| NOT_UTF8)?);
        rest = after;
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0)
}

fn take_word(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), &'static str> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Ok((word, rest)),
            [byte, after @ ..] if is_blank(*byte) => return Ok((word, after)),
            [quote @ (b'"' | b'\''), after @ ..] => {
                let after = if *quote == b'"' {
                    double_quoted(after, &mut word)
                } else {
                    single_quoted(after, &mut word)
                };
                return match after {
                    Some(after) if after.first().is_none_or(|byte| is_blank(*byte)) => Ok((word, after)),
                    _ => Err("Unbalanced quotes in configuration line"),
                };
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// Reads up to the closing quote; None if there is none.
fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex_digit(*high) << 4 | hex_digit(*low));
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// The value of an ASCII hexadecimal digit.
fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Writes a word in double quotes, such that [`split_words`] reads it back.
pub fn quote(word: &str) -> String {
    let mut out = String::with_capacity(word.len() + 2);
    out.push('"');
    for char in word.chars() {
        match char {
            '\\' | '"' => out.extend(['\\', char]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x07' => out.push_str("\\a"),
            '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\x{:02x}", char as u32)),
            _ => out.push(char),
        }
    }
    out.push('"');
    out
}

/// What a command line asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The configuration file to read first.
    pub conf_file: Option<String>,
    /// A lone `-`, first or last: read more configuration from standard input, after the file and before the options.
    pub conf_from_stdin: bool,
    /// The `--name value ...` options as lines of redis.conf.
    pub options: String,
}

/// Reads arguments (without the program's name) as redis-server does: `[file] [--name value ...]... [-]`; also `--name=value`.
/// A word that begins with `--` always begins an option. `--save` without a value means `--save ""`.
pub fn command_line(args: &[String]) -> Result<CommandLine, LoadError> {
    let mut parsed = CommandLine::default();
    let mut args = args;
    if let [first, rest @ ..] = args
        && !first.starts_with("--")
    {
        if first == "-" {
            parsed.conf_from_stdin = true;
        } else {
            parsed.conf_file = Some(first.clone());
        }
        args = rest;
    }
    if let [rest @ .., last] = args
        && last == "-"
    {
        parsed.conf_from_stdin = true;
        args = rest;
    }
    let mut options: Vec<(String, Vec<&str>)> = Vec::new();
    for arg in args {
        if let Some(option) = arg.strip_prefix("--") {
            match option.split_once('=') {
                Some((name, value)) => options.push((name.to_string(), vec![value])),
                None => options.push((option.to_string(), Vec::new())),
            }
        } else if let Some((_, values)) = options.last_mut() {
            values.push(arg);
        } else {
            let reason =
                "An option begins with '--'; only the first word may be a configuration file".to_string();
            return Err(LoadError {
                origin: Origin::CommandLine,
                line: 1,
                text: arg.clone(),
                reason,
                hint: None,
            });
        }
    }
    for (name, mut values) in options {
        if values.is_empty() && name.eq_ignore_ascii_case("save") {
            values.push("");
        }
        parsed.options.push_str(&name);
        for value in values {
            parsed.options.push(' ');
            parsed.options.push_str(&quote(value));
        }
        parsed.options.push('\n');
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| word.to_string()).collect()
    }

    #[test]
    fn words_and_escapes_are_read_as_redis_does() {
        for (line, words) in [
            ("port 7000", &["port", "7000"][..]),
            ("  port \t 7000  ", &["port", "7000"]),
            (r#"logfile """#, &["logfile", ""]),
            (r#"x "a\x41\q\"z\n""#, &["x", "aAq\"z\n"]),
            (r"x 'a\'b\x41'", &["x", r"a'b\x41"]),
            (r#"x a"b""#, &["x", "ab"]),
            (r#"x "\x4g""#, &["x", "x4g"]),
            (r#"x "\r\t\b\a\\""#, &["x", "\r\t\x08\x07\\"]),
            ("hz 10 # c", &["hz", "10", "#", "c"]),
        ] {
            assert_eq!(split_words(line.as_bytes()), Ok(strings(words)), "{line}");
        }
        for line in [r#"logfile "abc"#, r#"logfile "a"b"#, "x 'a", r#"x "a\"#, "x 'a'b"] {
            let words = split_words(line.as_bytes());
            assert_eq!(words, Err("Unbalanced quotes in configuration line"), "{line}");
        }
        for line in [&br#"x "\xff""#[..], b"x \xff", b"\xff 1"] {
            assert_eq!(split_words(line), Err(NOT_UTF8));
        }
    }

    #[test]
    fn comments_and_blank_lines_say_nothing_and_numbers_count_them() {
        let text = b"# a\xff\r\n\r\n\t  # b\n hz 10\r\nport 1";
        let said: Vec<_> = lines(text).map(|line| (line.number, line.text)).collect();
        assert_eq!(said, [(4, &b"hz 10"[..]), (5, &b"port 1"[..])]);
    }

    #[test]
    fn command_line_becomes_lines() {
        let parsed = |args: &[&str]| command_line(&strings(args)).unwrap();
        let line = parsed(&["a.conf", "--port", "7000", "--save", "", "--hz=10", "--save", "3600", "1"]);
        assert_eq!(line.conf_file.as_deref(), Some("a.conf"));
        assert_eq!(line.options, "port \"7000\"\nsave \"\"\nhz \"10\"\nsave \"3600\" \"1\"\n");
        assert_eq!(parsed(&["--save", "--port", "1"]).options, "save \"\"\nport \"1\"\n");
        assert_eq!(parsed(&["--requirepass=a=b"]).options, "requirepass \"a=b\"\n");
        assert!(parsed(&["-"]).conf_from_stdin);
        assert!(parsed(&["--port", "1", "-"]).conf_from_stdin);
        assert_eq!(parsed(&["--list-max-listpack-size", "-2"]).options, "list-max-listpack-size \"-2\"\n");
        assert!(command_line(&strings(&["a.conf", "b.conf"])).is_err());
        assert_eq!(parsed(&[]), CommandLine::default());
    }

    proptest! {
        #[test]
        fn a_quoted_word_is_read_back(words in proptest::collection::vec(any::<String>(), 0..4)) {
            let line = words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(split_words(line.as_bytes()), Ok(words));
        }

        #[test]
        fn any_line_is_words_or_an_error(line in any::<Vec<u8>>()) {
            let _ = split_words(&line);
        }
    }
}
