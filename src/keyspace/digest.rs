//! The whole state as text: equal states give equal texts. For tests, and later for DEBUG DIGEST.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Keyspace;
use super::op::encode_key_op;
use super::waiters::StripeSet;

/// One line a key, by database and key: expiry, type, and the ops that rebuild its value.
pub fn describe(keyspace: &Keyspace) -> String {
    let held = keyspace.lock(StripeSet::ALL);
    let mut text = String::new();
    for db in 0..keyspace.databases() {
        let space = keyspace.space(db);
        let mut lines = BTreeMap::new();
        let parts = held.shelves().filter_map(|shelf| shelf.stripe.part(space));
        for entry in parts.flat_map(|part| part.iter()) {
            let mut ops = Vec::new();
            match entry.as_value() {
                Some(value) => value.rebuild(&mut |op| encode_key_op(&mut ops, 0, b"", &op)),
                None => ops.extend_from_slice(entry.as_string().unwrap_or_default()),
            }
            let line = format!("{:?} {} {}", entry.expire_at(), entry.kind().name(), ops.escape_ascii());
            lines.insert(entry.key().to_vec(), line);
        }
        for (key, line) in lines {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{db} {} {line}", key.escape_ascii());
        }
    }
    text
}
