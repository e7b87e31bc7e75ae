//! The commands that make a key: what `dump --keys` writes. Unlike the words of an op, every one of them is a command that a server takes.
//!
//! A stream with consumers cannot be said in commands of its type alone: none sets when a consumer was last seen and active, or has an entry
//! be pending that was deleted. So its groups come first, as RESTORE of a stream without entries; the entries follow one by one.

use crate::keyspace::entry::Entry;
use crate::keyspace::op::Op;
use crate::keyspace::value::Value;
use crate::rdb;
use crate::types::Collection;
use crate::types::stream::value::{Stream, StreamId, StreamOp};
use crate::types::string::value::StringOp;

use super::words::{self, Words};

/// Calls `emit` with each, in order.
pub fn each<E>(entry: &Entry, emit: &mut dyn FnMut(Words) -> Result<(), E>) -> Result<(), E> {
    let (key, expire_at) = (entry.key(), entry.expire_at());
    let Some(value) = entry.as_value() else {
        let value = entry.as_string().unwrap_or_default();
        return emit(words::of_op(key, &Op::String(StringOp::Set { value, expire_at })));
    };
    let mut result = Ok(());
    let mut emit_ok = |words| {
        if result.is_ok() {
            result = emit(words);
        }
    };
    if let Value::Stream(stream) = value {
        of_stream(key, stream, &mut emit_ok);
    } else {
        value.rebuild(&mut |op| emit_ok(words::of_op(key, &op)));
    }
    if let Some(at) = expire_at {
        emit_ok(words::of_op(key, &Op::ExpireAt(at)));
    }
    result
}

fn of_stream(key: &[u8], stream: &Stream, emit: &mut dyn FnMut(Words)) {
    let has_consumers = stream.groups().any(|(_, group)| group.consumers().len() > 0);
    if has_consumers {
        emit(groups_restored(key, stream));
    } else if stream.length() == 0 {
        emit(made_empty(key, stream));
    }
    stream.rebuild(&mut |op| match op {
        StreamOp::SetGroup { .. } if has_consumers => {}
        StreamOp::SetGroup { group, last_id, entries_read } => {
            emit(group_created(key, group, last_id, entries_read));
        }
        op if op.is_of_a_group() => {}
        op => emit(words::of_op(key, &Op::Stream(op))),
    });
}

/// An entry that is trimmed at once: as Redis writes an empty stream into its append-only file. XSETID follows.
fn made_empty(key: &[u8], stream: &Stream) -> Words {
    let id = match stream.last_id() {
        StreamId::MIN => StreamId::new(0, 1),
        last => last,
    };
    [&b"XADD"[..], key, b"MAXLEN", b"0", id.to_string().as_bytes(), b"-", b"-"].map(<[u8]>::to_vec).into()
}

fn group_created(key: &[u8], group: &[u8], last_id: StreamId, entries_read: Option<u64>) -> Words {
    let read = entries_read.map_or_else(|| "-1".to_owned(), |read| read.to_string());
    let id = last_id.to_string();
    let words: [&[u8]; 7] =
        [b"XGROUP", b"CREATE", key, group, id.as_bytes(), b"ENTRIESREAD", read.as_bytes()];
    words.map(<[u8]>::to_vec).into()
}

/// The groups of a stream, in a stream that was never written to: any entry can be added to it.
fn groups_restored(key: &[u8], stream: &Stream) -> Words {
    const KIND: u8 = rdb::types::STREAM_LISTPACKS_3;
    let mut groups = Stream::default();
    stream.rebuild(&mut |op| {
        if op.is_of_a_group() {
            // Each is about a group, and a consumer, that an op before it has made.
            groups.apply(&op).expect("the ops that rebuild a stream fit it");
        }
    });
    let mut payload = vec![KIND];
    rdb::put_stream(&mut payload, KIND, &groups);
    rdb::seal(&mut payload, rdb::version_of(KIND));
    [&b"RESTORE"[..], key, b"0", &payload].map(<[u8]>::to_vec).into()
}
