//! The differences from redis-server 7.0.15 that are meant, each with its reason. Nothing else may differ.

use super::make::Words;
use super::support::client::Value;

/// Why these replies may differ; `None` if they may not.
pub fn reason(command: &Words, oracle: &Value, ours: &Value) -> Option<&'static str> {
    let word = |i: usize| command.get(i).map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    match (word(0).as_slice(), word(1).as_slice()) {
        (b"OBJECT", b"ENCODING") if text(oracle) == b"quicklist" && text(ours) == b"listpack" => {
            Some("since Redis 7.2 a small list is a listpack; 7.0 calls every list a quicklist")
        }
        (b"OBJECT", b"ENCODING") if text(oracle) == b"hashtable" && text(ours) == b"listpack" => Some(
            "since Redis 7.2 a small set of other members than integers is a listpack; 7.0 calls it a hashtable",
        ),
        (b"OBJECT", b"ENCODING") if text(oracle) == b"hashtable" && text(ours) == b"intset" => Some(
            "a copy, and a set renamed into another slot, is made anew: of integers that are left alone, as an intset",
        ),
        (b"OBJECT", b"ENCODING") if text(oracle) == b"skiplist" && text(ours) == b"listpack" => Some(
            "a copy, and a sorted set renamed into another slot, is made anew: of few members, as a listpack",
        ),
        (b"OBJECT", b"ENCODING")
            if matches!(text(oracle), b"raw" | b"embstr") && matches!(text(ours), b"embstr" | b"int") =>
        {
            Some(
                "Redis calls some results (INCRBYFLOAT, BITOP) raw, after the way they were made; Duramen looks at the value",
            )
        }
        (b"BITCOUNT" | b"BITPOS", _) if is_complaint(ours) => {
            Some("since Redis 7.2 arguments are checked before the key is looked up")
        }
        (b"ZRANK" | b"ZREVRANK", _) if text(oracle).starts_with(b"ERR wrong number of arguments") => {
            Some("since Redis 7.2 a rank can be asked for WITHSCORE")
        }
        (name, _) if name.starts_with(b"Z") && fractions(oracle) == fractions(ours) => {
            Some("since Redis 7.2 a score has as many digits as it takes; 7.0 writes seventeen")
        }
        (name, _) if name.starts_with(b"Z") && unsigned_zeros(oracle) == unsigned_zeros(ours) => Some(
            "Redis keeps the sign of a zero in large sorted sets, and not in small ones; Duramen never does",
        ),
        (b"SORT" | b"SORT_RO", _) if has_zero_bytes(oracle) && sorted_alike(oracle, ours) => {
            Some("ALPHA compares all bytes; Redis stops at the first zero byte")
        }
        (b"XSETID", _) if text(ours).ends_with(b"smaller than current max_deleted_entry_id") => {
            Some("since Redis 7.2 XSETID refuses a last id below that of an entry that was deleted")
        }
        (b"XGROUP", b"CREATECONSUMER") if (oracle, ours) == (&Value::Integer(1), &Value::Integer(0)) => {
            Some("since Redis 7.2 a poll or a claim makes the consumer even if there was nothing")
        }
        (b"XADD", _) if text(oracle).starts_with(b"ERR Elements are too large") => Some(
            "Redis 7.0 calls an entry too large when the sequence numbers of its millisecond are used up",
        ),
        (b"LPOS", _) if text(ours).starts_with(b"ERR value is out of range, value must between -92233") => {
            Some("since Redis 7.2 the smallest integer is no RANK: it has no opposite")
        }
        (b"FUNCTION", b"LOAD" | b"RESTORE")
            if collision(oracle).is_some() && collision(oracle) == collision(ours) =>
        {
            Some("where several functions or libraries are there already, the error names any one of them")
        }
        (b"EVAL", _) if text(oracle).starts_with(b"ERR This Redis command is not allowed from script") => {
            Some("since Redis 7.2 commands that wait may be called from scripts, where they do not wait")
        }
        (_, _)
            if text(oracle) == b"ERR timeout is negative" && text(ours) == b"ERR timeout is out of range" =>
        {
            Some("since Redis 7.2 a time-out too long to add to the clock has an error of its own")
        }
        _ => None,
    }
}

/// What a name is of that is there already.
fn collision(reply: &Value) -> Option<&[u8]> {
    let kind = text(reply).strip_prefix(b"ERR ")?.strip_suffix(b" already exists")?;
    kind.split(|&byte| byte == b' ').next()
}

/// An error about the arguments, whatever the key holds.
fn is_complaint(reply: &Value) -> bool {
    let about: [&[u8]; 2] = [b"ERR syntax error", b"ERR value is not an integer or out of range"];
    about.contains(&text(reply))
}

/// Scores as they are told apart where order means nothing.
pub fn plain_scores(reply: &Value) -> Value {
    unsigned_zeros(&fractions(reply))
}

fn unsigned_zeros(reply: &Value) -> Value {
    match reply {
        Value::Bulk(text) if text == b"-0" => Value::bulk("0"),
        Value::Double(text) if text == b"-0" => Value::Double(b"0".to_vec()),
        Value::Array(items) => Value::Array(items.iter().map(unsigned_zeros).collect()),
        other => other.clone(),
    }
}

/// With fractions, such as distances that were stored, in their shortest form.
fn fractions(reply: &Value) -> Value {
    let shortest = |text: &[u8]| {
        let text = std::str::from_utf8(text).ok().filter(|text| text.contains('.'))?;
        Some(text.parse::<f64>().ok()?.to_string())
    };
    match reply {
        Value::Bulk(text) => shortest(text).map_or_else(|| reply.clone(), Value::bulk),
        Value::Double(text) => {
            shortest(text).map_or_else(|| reply.clone(), |text| Value::Double(text.into_bytes()))
        }
        Value::Array(items) => Value::Array(items.iter().map(fractions).collect()),
        other => other.clone(),
    }
}

fn has_zero_bytes(value: &Value) -> bool {
    value.items().iter().any(|item| item.bytes().is_some_and(|bytes| bytes.contains(&0)))
}

fn sorted_alike(left: &Value, right: &Value) -> bool {
    let sorted = |value: &Value| {
        let mut items = value.items().to_vec();
        items.sort();
        items
    };
    sorted(left) == sorted(right)
}

fn text(value: &Value) -> &[u8] {
    value.bytes().unwrap_or_default()
}

#[test]
fn every_reason_is_on_the_page_of_differences() {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let page = plain(include_str!("../../docs/compatibility.md"));
    let source = include_str!("known.rs").split("#[test]").next().unwrap_or_default();
    let mut reasons = 0;
    for behind in source.split("Some(").skip(1) {
        // Only of reasons the first thing is a text.
        let Some(text) = behind.trim_start().strip_prefix('"') else { continue };
        let text = plain(&text.split('"').next().unwrap_or_default().replace("\\\n", " "));
        assert!(page.contains(&text), "docs/compatibility.md does not name this difference: {text}");
        reasons += 1;
    }
    assert!(reasons >= 5, "{reasons} reasons found");
}
