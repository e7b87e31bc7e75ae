//! Any bytes as a value in RDB format, and as RESTORE's payload: a value or malformed; what was read is written to bytes that make
//! the same value; and ops of a bounded size make it.

use duramen::keyspace::Keyspace;
use duramen::keyspace::digest::describe;
use duramen::keyspace::op::encode_bare;
use duramen::keyspace::waiters::StripeSet;
use duramen::rdb::{Content, Input, decode, open, put_value, seal, type_of, version_of};

#[path = "../../src/rdb/samples.rs"]
mod samples;

const KEY: &[u8] = b"key";
/// No time has come but this one.
const NOW_MS: u64 = 0;
/// Bytes of an op, unless one element alone is longer.
const OP_BYTES_MAX: usize = 128 << 10;

pub fn check(data: &[u8]) {
    let _ = open(data);
    let Some((&kind, rest)) = data.split_first() else { return };
    let mut input = Input::new(rest);
    let Ok(mut content) = decode(kind, &mut input) else { return };
    // As RESTORE does: a field may be said to have expired by now, even now.
    content.drop_expired(NOW_MS);
    if content.is_empty() {
        return;
    }
    let first = keyspace_of(&content);
    let (kind, value) = written(&first);
    let mut payload = [&[kind][..], &value[..]].concat();
    seal(&mut payload, version_of(kind));
    let opened = open(&payload).expect("what was sealed opens");
    let mut input = Input::new(&opened[1..]);
    let again = decode(opened[0], &mut input).expect("what is written is read");
    assert!(input.is_empty(), "all of it");
    assert_eq!(describe(&keyspace_of(&again)), describe(&first));
}

/// A keyspace with nothing but this value.
fn keyspace_of(content: &Content<'_>) -> Keyspace {
    let keyspace = Keyspace::new(1, 1);
    let key = keyspace.key(KEY);
    let mut held = keyspace.lock(StripeSet::ALL);
    let mut bare = Vec::new();
    content
        .each_op(&mut |op| {
            bare.clear();
            encode_bare(&mut bare, &op);
            assert!(
                bare.len() < OP_BYTES_MAX || matches!(content, Content::String(_)),
                "an op of {}",
                bare.len()
            );
            held.apply(keyspace.space(0), &key, &op)
        })
        .expect("the ops fit");
    drop(held);
    keyspace
}

fn written(keyspace: &Keyspace) -> (u8, Vec<u8>) {
    let key = keyspace.key(KEY);
    let held = keyspace.lock(StripeSet::ALL);
    let part = held.shelf(key.slot).stripe.part(keyspace.space(0)).expect("ops were applied");
    let entry = part.get(&key).expect("no content is empty");
    let kind = type_of(entry, NOW_MS).expect("what was dropped is all whose time has come");
    let mut value = Vec::new();
    put_value(&mut value, kind, entry, NOW_MS);
    (kind, value)
}

pub fn seeds() -> Vec<Vec<u8>> {
    samples::SAMPLES.iter().map(|(_, value)| value.to_vec()).collect()
}
