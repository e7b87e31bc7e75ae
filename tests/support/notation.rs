//! Commands and replies as text, close to what redis-cli prints: one reply is one or more lines.
//!
//! ```text
//! OK                        simple string          (error) ERR no such key
//! "text\n\x00"              bulk string            (integer) 42
//! (nil)  (nil array)  (null)                       $-1, *-1 and RESP3's _
//! (double) 1.5  (true)  (big number) 12  (verbatim txt) "text"
//! 1) "a"                    array                  (empty array)
//! 1# "field" => "value"     RESP3 map              (empty map)
//! 1~ "member"               RESP3 set              (empty set)
//! 1| "message"              RESP3 push
//! ```

use super::client::Value;

/// The lines that show a reply.
pub fn lines(value: &Value) -> Vec<String> {
    // A last blank would be lost in files that are tidied.
    let text = |bytes: &[u8]| match bytes.strip_suffix(b" ") {
        Some(rest) => format!("{}\\x20", escape(rest, false)),
        None => escape(bytes, false),
    };
    let one = |line: String| vec![line];
    match value {
        Value::Simple(b) => one(text(b)),
        Value::Error(b) => one(format!("(error) {}", text(b))),
        Value::Integer(n) => one(format!("(integer) {n}")),
        Value::Bulk(b) => one(quote(b)),
        Value::NilBulk => one("(nil)".into()),
        Value::NilArray => one("(nil array)".into()),
        Value::Null => one("(null)".into()),
        Value::Double(b) => one(format!("(double) {}", text(b))),
        Value::Boolean(yes) => one(format!("({yes})")),
        Value::BigNumber(b) => one(format!("(big number) {}", text(b))),
        Value::Verbatim(b) => {
            let (kind, body) = b.split_at(b.len().min(4));
            one(format!("(verbatim {}) {}", text(kind).trim_end_matches(':'), quote(body)))
        }
        Value::Array(items) => aggregate(items, ')', "(empty array)"),
        Value::Set(items) => aggregate(items, '~', "(empty set)"),
        Value::Push(items) => aggregate(items, '|', "(empty push)"),
        Value::Map(pairs) => map(pairs),
    }
}

/// The whole reply as one string, lines separated by line ends.
pub fn show(value: &Value) -> String {
    lines(value).join("\n")
}

fn aggregate(items: &[Value], mark: char, empty: &str) -> Vec<String> {
    if items.is_empty() {
        return vec![empty.to_owned()];
    }
    let numbered = items.iter().enumerate();
    numbered.flat_map(|(i, item)| indented(&format!("{}{mark} ", i + 1), lines(item))).collect()
}

fn map(pairs: &[(Value, Value)]) -> Vec<String> {
    if pairs.is_empty() {
        return vec!["(empty map)".to_owned()];
    }
    let numbered = pairs.iter().enumerate();
    let entry = |(i, (key, value)): (usize, &(Value, Value))| {
        let head = format!("{}# {} => ", i + 1, lines(key).join(" "));
        let mut body = lines(value);
        if body.len() == 1 {
            return vec![format!("{head}{}", body.remove(0))];
        }
        let mut all = vec![head.trim_end().to_owned()];
        all.extend(body.into_iter().map(|line| format!("    {line}")));
        all
    };
    numbered.flat_map(entry).collect()
}

fn indented(prefix: &str, lines: Vec<String>) -> Vec<String> {
    let blank = " ".repeat(prefix.len());
    let number = lines.into_iter().enumerate();
    number.map(|(i, line)| format!("{}{line}", if i == 0 { prefix } else { &blank })).collect()
}

/// A bulk string in double quotes; what is not printable ASCII is escaped.
pub fn quote(bytes: &[u8]) -> String {
    format!("\"{}\"", escape(bytes, true))
}

fn escape(bytes: &[u8], quoted: bool) -> String {
    let mut out = String::new();
    for &byte in bytes {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'\\' if quoted => out.push_str("\\\\"),
            b'"' if quoted => out.push_str("\\\""),
            b' '..=b'~' => out.push(byte as char),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out
}

/// A command as one would type it.
pub fn show_command<A: AsRef<[u8]>>(args: &[A]) -> String {
    let plain = |b: &[u8]| !b.is_empty() && b.iter().all(|b| b.is_ascii_graphic() && !b"\"'\\".contains(b));
    let word = |b: &[u8]| if plain(b) { escape(b, true) } else { quote(b) };
    args.iter().map(|arg| word(arg.as_ref())).collect::<Vec<_>>().join(" ")
}

/// Splits a command line as redis-cli does: words, `"double quotes"` with escapes, `'single quotes'` without.
pub fn split_command(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start().as_bytes();
    while let Some(&first) = rest.first() {
        let (word, left) = match first {
            b'"' => double_quoted(&rest[1..])?,
            b'\'' => {
                let end = rest[1..].iter().position(|&b| b == b'\'').ok_or("unbalanced '")? + 1;
                (rest[1..end].to_vec(), &rest[end + 1..])
            }
            _ => {
                let end = rest.iter().position(|&b| b == b' ').unwrap_or(rest.len());
                (rest[..end].to_vec(), &rest[end..])
            }
        };
        words.push(word);
        rest = left.trim_ascii_start();
    }
    Ok(words)
}

fn double_quoted(bytes: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    let mut word = Vec::new();
    let mut at = 0;
    loop {
        match *bytes.get(at).ok_or("unbalanced \"")? {
            b'"' => return Ok((word, &bytes[at + 1..])),
            b'\\' => {
                let escaped = *bytes.get(at + 1).ok_or("ends in a backslash")?;
                at += 1;
                match escaped {
                    b'n' => word.push(b'\n'),
                    b'r' => word.push(b'\r'),
                    b't' => word.push(b'\t'),
                    b'a' => word.push(7),
                    b'b' => word.push(8),
                    b'x' => {
                        let digits = bytes.get(at + 1..at + 3).and_then(|d| std::str::from_utf8(d).ok());
                        let value = digits.and_then(|d| u8::from_str_radix(d, 16).ok()).ok_or("bad \\x")?;
                        word.push(value);
                        at += 2;
                    }
                    other => word.push(other),
                }
            }
            byte => word.push(byte),
        }
        at += 1;
    }
}
