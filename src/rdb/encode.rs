//! From an entry of the keyspace to the bytes of its value.

use super::{intset, listpack, node, stream, types};
use crate::keyspace::entry::Entry;
use crate::keyspace::value::Value;
use crate::resp::number::{F64_TEXT_LEN_MAX, parse_i64, put_f64};
use crate::types::hash::value::Hash;
use crate::types::list::value::List;
use crate::types::set::value::Set;
use crate::types::sorted_set::value::SortedSet;

/// Bytes of a list's node, as in Redis unless it is told otherwise.
const NODE_BYTES: usize = 8 << 10;
/// A single element from here on is a node by itself: lengths in a listpack have 32 bits.
const PLAIN_BYTES: usize = 1 << 30;
/// A collection up to here fits a listpack, whatever the limits of compact representations have been set to.
const PACKED_BYTES_MAX: usize = 256 << 20;
/// The longest text that is tried as an integer of 32 bits.
const INTEGER_LEN_MAX: usize = 11;

/// The type byte for an entry's value at a time; `None` if nothing of it is live any more.
pub fn type_of(entry: &Entry, now_ms: u64) -> Option<u8> {
    let Some(value) = entry.as_value() else { return Some(types::STRING) };
    let is_packed = value.heap_bytes() <= PACKED_BYTES_MAX && value.encoding() != spread(value);
    Some(match value {
        Value::List(_) => types::LIST_QUICKLIST_2,
        Value::Hash(hash) if hash.len(now_ms) == 0 => return None,
        Value::Hash(hash) if hash.fields(now_ms).any(|field| field.expire_at.is_some()) => {
            types::HASH_METADATA
        }
        Value::Hash(_) if is_packed => types::HASH_LISTPACK,
        Value::Hash(_) => types::HASH,
        Value::Set(set) if is_packed && integers(set).is_some() => types::SET_INTSET,
        Value::Set(_) if is_packed => types::SET_LISTPACK,
        Value::Set(_) => types::SET,
        Value::SortedSet(_) if is_packed => types::SORTED_SET_LISTPACK,
        Value::SortedSet(_) => types::SORTED_SET_2,
        Value::Stream(_) => types::STREAM_LISTPACKS_3,
    })
}

/// The name of a representation that is not one sequence.
const fn spread(value: &Value) -> &'static str {
    match value {
        Value::List(_) => "quicklist",
        Value::Hash(_) | Value::Set(_) => "hashtable",
        Value::SortedSet(_) => "skiplist",
        Value::Stream(_) => "stream",
    }
}

fn integers(set: &Set) -> Option<Vec<i64>> {
    set.members().map(|member| parse_i64(&member)).collect()
}

/// Appends a value of the type that [`type_of`] told for the same time, without the type byte.
pub fn put_value(out: &mut Vec<u8>, kind: u8, entry: &Entry, now_ms: u64) {
    match entry.as_value() {
        None => put_string(out, entry.as_string().unwrap_or_default()),
        Some(Value::List(list)) => put_list(out, list),
        Some(Value::Hash(hash)) => put_hash(out, kind, hash, now_ms),
        Some(Value::Set(set)) => put_set(out, kind, set),
        Some(Value::SortedSet(set)) => put_sorted_set(out, kind, set),
        Some(Value::Stream(found)) => stream::put(out, kind, found),
    }
}

/// Appends a number in the form of a length.
pub(super) fn put_length(out: &mut Vec<u8>, len: u64) {
    match len {
        ..0x40 => out.push(len as u8),
        0x40..0x4000 => out.extend_from_slice(&(len as u16 | 0x4000).to_be_bytes()),
        0x4000..=0xffff_ffff => {
            out.push(0x80);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}

/// Appends a string as its bytes.
pub(super) fn put_raw(out: &mut Vec<u8>, string: &[u8]) {
    put_length(out, string.len() as u64);
    out.extend_from_slice(string);
}

/// Appends a string: the digits of an integer of 32 bits as that integer, else the bytes.
pub fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    let integer = if string.len() <= INTEGER_LEN_MAX { parse_i64(string) } else { None };
    let Some(value) = integer.and_then(|value| i32::try_from(value).ok()) else {
        return put_raw(out, string);
    };
    if let Ok(value) = i8::try_from(value) {
        out.extend_from_slice(&[0xc0, value as u8]);
    } else if let Ok(value) = i16::try_from(value) {
        out.push(0xc1);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        out.push(0xc2);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

fn put_list(out: &mut Vec<u8>, list: &List) {
    // How many nodes there are stands before them.
    let (mut nodes, mut count) = (Vec::new(), 0);
    let mut put_node = |container: u64, string: &[u8]| {
        put_length(&mut nodes, container);
        put_raw(&mut nodes, string);
        count += 1;
    };
    let mut writer = listpack::Writer::new();
    for element in list.iter() {
        let is_plain = element.len() >= PLAIN_BYTES;
        if !writer.is_empty() && (is_plain || writer.len() + element.len() > NODE_BYTES) {
            put_node(node::PACKED, &writer.finish());
        }
        if is_plain {
            put_node(node::PLAIN, element);
        } else {
            writer.push(element);
        }
    }
    if !writer.is_empty() {
        put_node(node::PACKED, &writer.finish());
    }
    put_length(out, count);
    out.extend_from_slice(&nodes);
}

fn put_set(out: &mut Vec<u8>, kind: u8, set: &Set) {
    match (kind, integers(set)) {
        (types::SET_INTSET, Some(mut values)) => {
            let mut packed = Vec::new();
            intset::put(&mut packed, &mut values);
            put_raw(out, &packed);
        }
        (types::SET_LISTPACK, _) => {
            let mut writer = listpack::Writer::new();
            set.members().for_each(|member| writer.push(&member));
            put_raw(out, &writer.finish());
        }
        _ => {
            put_length(out, set.len() as u64);
            set.members().for_each(|member| put_string(out, &member));
        }
    }
}

fn put_hash(out: &mut Vec<u8>, kind: u8, hash: &Hash, now_ms: u64) {
    let fields = || hash.fields(now_ms);
    if kind == types::HASH_LISTPACK {
        let mut writer = listpack::Writer::new();
        fields().flat_map(|field| [field.name, field.value]).for_each(|string| writer.push(string));
        return put_raw(out, &writer.finish());
    }
    let earliest = fields().filter_map(|field| field.expire_at).min().unwrap_or(0);
    if kind == types::HASH_METADATA {
        out.extend_from_slice(&earliest.to_le_bytes());
    }
    put_length(out, hash.len(now_ms) as u64);
    for field in fields() {
        if kind == types::HASH_METADATA {
            // One more than the distance: 0 says that there is no time.
            let after = field.expire_at.map_or(0, |at| at - earliest + 1);
            put_length(out, after);
        }
        put_string(out, field.name);
        put_string(out, field.value);
    }
}

fn put_sorted_set(out: &mut Vec<u8>, kind: u8, set: &SortedSet) {
    if kind == types::SORTED_SET_LISTPACK {
        let mut writer = listpack::Writer::new();
        let mut text = Vec::with_capacity(F64_TEXT_LEN_MAX);
        for (score, member) in set.members() {
            text.clear();
            put_f64(&mut text, score);
            writer.push(member);
            writer.push(&text);
        }
        return put_raw(out, &writer.finish());
    }
    put_length(out, set.len() as u64);
    // Highest first: a reader that appends to the front of a list meets each in its place.
    for (score, member) in set.members().rev() {
        put_string(out, member);
        out.extend_from_slice(&score.to_le_bytes());
    }
}
