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
        _ => None,
    }
}

fn text(value: &Value) -> &[u8] {
    value.bytes().unwrap_or_default()
}
