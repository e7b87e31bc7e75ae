//! Streams: nodes of entries, the stream's numbers, its groups.
//!
//! ```text
//! stream = nodes length | nodes | entries length | last id | [first id | max deleted id | entries added length]
//!          | groups length | groups
//! node   = 16 as length | base | listpack as string
//! base   = ms u64 | seq u64                                                              big-endian
//! listpack = entries | deleted | names | name ... | 0 | entry ...
//! entry  = flags | ms less base | seq less base | same names: values; else pairs | name, value in turn | elements before this
//! id     = ms length | seq length
//! group  = name | last id | [entries read length, all ones: unknown] | pending length | pending | consumers length | consumers
//! pending  = id as a base is | delivered u64 | deliveries length                         the time little-endian
//! consumer = name | seen u64 | [active u64, all ones: never] | pending length | ids, each as a base is
//! ```
//!
//! What stands in brackets came with later types: the numbers with the second, when a consumer was active with the third. The id
//! of the first entry is what it is, whatever is written of it.

use super::encode::{put_length, put_raw};
use super::input::Input;
use super::pieces::Pieces;
use super::{listpack, types};
use crate::codec::Malformed;
use crate::resp::number::parse_i64;
use crate::types::stream::value::{Entry, PendingRow, Pendings, Stream, StreamId, StreamOp};
use crate::types::text::Text;
use crate::types::{Collection, Misfit};

/// What a node holds at most, unless it is one entry: as in Redis unless it is told otherwise.
const NODE_BYTES: usize = 4096;
const NODE_ENTRIES: usize = 100;

const IS_DELETED: i64 = 1;
const HAS_SAME_NAMES: i64 = 2;

/// An id in a node or among what is pending.
const RAW_ID: usize = 16;
/// What is pending for a group takes at least this.
const PENDING_BYTES_MIN: usize = RAW_ID + 9;
const UNKNOWN: u64 = u64::MAX;

/// Appends a stream as one of the types; what the type has no place for is left out.
pub fn put(out: &mut Vec<u8>, kind: u8, stream: &Stream) {
    put_nodes(out, stream);
    put_length(out, stream.length() as u64);
    put_id(out, stream.last_id());
    if kind != types::STREAM_LISTPACKS {
        put_id(out, stream.first_id());
        put_id(out, stream.max_deleted_id());
        put_length(out, stream.entries_added());
    }
    put_length(out, stream.groups().len() as u64);
    for (name, group) in stream.groups() {
        put_raw(out, name);
        put_id(out, group.last_id());
        if kind != types::STREAM_LISTPACKS {
            put_length(out, group.entries_read().unwrap_or(UNKNOWN));
        }
        put_length(out, group.pending_len() as u64);
        for (_, row) in group.pending(StreamId::MIN..=StreamId::MAX) {
            put_raw_id(out, row.id);
            out.extend_from_slice(&row.delivered_ms.to_le_bytes());
            put_length(out, row.deliveries);
        }
        put_length(out, group.consumers().len() as u64);
        for (name, consumer) in group.consumers() {
            put_raw(out, name);
            out.extend_from_slice(&consumer.seen_ms().to_le_bytes());
            if kind == types::STREAM_LISTPACKS_3 {
                out.extend_from_slice(&consumer.active_ms().unwrap_or(UNKNOWN).to_le_bytes());
            }
            put_length(out, consumer.pending_len() as u64);
            group.pending_of(name, StreamId::MIN..=StreamId::MAX).for_each(|row| put_raw_id(out, row.id));
        }
    }
}

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_length(out, id.ms);
    put_length(out, id.seq);
}

fn put_raw_id(out: &mut Vec<u8>, id: StreamId) {
    out.extend_from_slice(&id.ms.to_be_bytes());
    out.extend_from_slice(&id.seq.to_be_bytes());
}

fn put_nodes(out: &mut Vec<u8>, stream: &Stream) {
    // How many there are stands before them.
    let (mut nodes, mut count) = (Vec::new(), 0);
    let (mut node, mut bytes): (Vec<Entry<'_>>, usize) = (Vec::new(), 0);
    let mut close = |node: &mut Vec<Entry<'_>>| {
        put_node(&mut nodes, node);
        node.clear();
        count += 1;
    };
    for entry in stream.range(StreamId::MIN..=StreamId::MAX) {
        let len: usize = entry.strings().map(|string| string.len() + 2).sum();
        if !node.is_empty() && (node.len() == NODE_ENTRIES || bytes + len > NODE_BYTES) {
            close(&mut node);
            bytes = 0;
        }
        node.push(entry);
        bytes += len;
    }
    if !node.is_empty() {
        close(&mut node);
    }
    put_length(out, count);
    out.extend_from_slice(&nodes);
}

fn put_node(out: &mut Vec<u8>, node: &[Entry<'_>]) {
    let Some(first) = node.first() else { return };
    let base = first.id;
    let names: Vec<Text<'_>> = first.strings().step_by(2).collect();
    let mut writer = listpack::Writer::new();
    writer.push_integer(node.len() as i64);
    writer.push_integer(0);
    writer.push_integer(names.len() as i64);
    names.iter().for_each(|name| writer.push(name));
    writer.push_integer(0);
    for entry in node {
        let (ms, seq) = (entry.id.ms.wrapping_sub(base.ms), entry.id.seq.wrapping_sub(base.seq));
        let has_same_names = entry.strings().step_by(2).eq(names.iter().copied());
        writer.push_integer(if has_same_names { HAS_SAME_NAMES } else { 0 });
        writer.push_integer(ms as i64);
        writer.push_integer(seq as i64);
        if has_same_names {
            entry.strings().skip(1).step_by(2).for_each(|value| writer.push(&value));
            writer.push_integer(3 + names.len() as i64);
        } else {
            let strings = entry.strings();
            let count = strings.len() as i64;
            writer.push_integer(count / 2);
            strings.for_each(|string| writer.push(&string));
            writer.push_integer(4 + count);
        }
    }
    put_length(out, RAW_ID as u64);
    put_raw_id(out, base);
    put_raw(out, &writer.finish());
}

impl From<Misfit> for Malformed {
    fn from(misfit: Misfit) -> Self {
        Self(misfit.0)
    }
}

/// Long names that are written once and stand for many are paid for: they would be kept, and logged, again and again.
struct Allowance(usize);

/// A name up to here may be said as often as there are bytes.
const FREE_NAME_BYTES: usize = 1024;
/// How much larger than the payload all longer ones together may become; one may always be as large.
const GROWTH_MAX: usize = 64;

impl Allowance {
    fn of(input: &Input<'_>) -> Self {
        Self(input.rest().len().saturating_mul(GROWTH_MAX).saturating_add(1 << 20))
    }

    fn pay(&mut self, len: usize) -> Result<(), Malformed> {
        if len > FREE_NAME_BYTES {
            self.0 = self.0.checked_sub(len).ok_or(Malformed("long names are repeated too often"))?;
        }
        Ok(())
    }
}

/// Reads a stream of one of the types.
pub fn read(kind: u8, input: &mut Input<'_>) -> Result<Stream, Malformed> {
    let mut stream = Stream::default();
    let mut allowance = Allowance::of(input);
    for _ in 0..input.count(2)? {
        let base = raw_id(&mut Input::new(&input.string()?))?;
        read_node(base, &input.string()?, &mut stream, &mut allowance)?;
    }
    if input.number()? != stream.length() as u64 {
        return Err(Malformed("a stream of another length than it says"));
    }
    let last_id = id(input)?;
    let (mut max_deleted_id, mut entries_added) = (StreamId::MIN, stream.length() as u64);
    if kind != types::STREAM_LISTPACKS {
        // The first entry's.
        id(input)?;
        (max_deleted_id, entries_added) = (id(input)?, signed(input.number()?)?);
    }
    stream.apply(&StreamOp::Reset { last_id, max_deleted_id, entries_added })?;
    for _ in 0..input.count(5)? {
        read_group(kind, input, &mut stream, &mut allowance)?;
    }
    Ok(stream)
}

fn id(input: &mut Input<'_>) -> Result<StreamId, Malformed> {
    Ok(StreamId::new(input.number()?, input.number()?))
}

fn raw_id(input: &mut Input<'_>) -> Result<StreamId, Malformed> {
    let (ms, seq) = (input.u64()?.swap_bytes(), input.u64()?.swap_bytes());
    Ok(StreamId::new(ms, seq))
}

/// The elements of a listpack, front to back.
struct Elements {
    pieces: Pieces,
    at: usize,
}

impl Elements {
    fn of(packed: &[u8]) -> Result<Self, Malformed> {
        let mut pieces = Pieces::default();
        listpack::each(packed, &mut |element| {
            pieces.push(element);
            Ok(())
        })?;
        Ok(Self { pieces, at: 0 })
    }

    /// The next elements; their place, which [`Pieces::get`] knows.
    fn take(&mut self, count: usize) -> Result<std::ops::Range<usize>, Malformed> {
        if count > self.pieces.len() - self.at {
            return Err(Malformed("an entry with fewer strings than it says"));
        }
        let start = self.at;
        self.at += count;
        Ok(start..self.at)
    }

    fn integer(&mut self) -> Result<i64, Malformed> {
        let at = self.take(1)?.start;
        parse_i64(self.pieces.get(at)).ok_or(Malformed("a string where an integer should be"))
    }

    fn count(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.integer()?).map_err(|_| Malformed("a count below zero"))
    }
}

fn read_node(
    base: StreamId,
    packed: &[u8],
    stream: &mut Stream,
    allowance: &mut Allowance,
) -> Result<(), Malformed> {
    let mut elements = Elements::of(packed)?;
    let (live, deleted, names) = (elements.count()?, elements.count()?, elements.count()?);
    let names = elements.take(names)?;
    let names_len = names.clone().map(|at| elements.pieces.get(at).len()).sum();
    elements.integer()?;
    let (mut found_live, mut found_deleted) = (0, 0);
    while elements.at < elements.pieces.len() {
        let start = elements.at;
        let flags = elements.integer()?;
        let ms = base.ms.wrapping_add_signed(elements.integer()?);
        let seq = base.seq.wrapping_add_signed(elements.integer()?);
        let own = if flags & HAS_SAME_NAMES == 0 { Some(elements.count()?) } else { None };
        let strings = match own {
            Some(pairs) => elements.take(pairs.checked_mul(2).ok_or(Malformed("too many fields"))?)?,
            None => elements.take(names.len())?,
        };
        let len = elements.at - start;
        if elements.count()? != len {
            return Err(Malformed("an entry of another number of elements than it says"));
        }
        if flags & IS_DELETED != 0 {
            found_deleted += 1;
            continue;
        }
        found_live += 1;
        let piece = |at| elements.pieces.get(at);
        let fields: Vec<&[u8]> = match own {
            Some(_) => strings.map(piece).collect(),
            None => {
                allowance.pay(names_len)?;
                names.clone().zip(strings).flat_map(|(name, value)| [piece(name), piece(value)]).collect()
            }
        };
        stream.apply(&StreamOp::Add { id: StreamId::new(ms, seq), fields: (&fields).into() })?;
    }
    if (found_live, found_deleted) != (live, deleted) {
        return Err(Malformed("a node with other entries than it says"));
    }
    Ok(())
}

/// Counts and times have 63 bits, as in commands: so none is counted on to its end.
fn signed(number: u64) -> Result<u64, Malformed> {
    if i64::try_from(number).is_ok() { Ok(number) } else { Err(Malformed("a count or a time out of range")) }
}

fn time(input: &mut Input<'_>) -> Result<u64, Malformed> {
    signed(input.u64()?)
}

fn read_group(
    kind: u8,
    input: &mut Input<'_>,
    stream: &mut Stream,
    allowance: &mut Allowance,
) -> Result<(), Malformed> {
    let name = input.string()?;
    let group = &*name;
    let last_id = id(input)?;
    let entries_read = match kind {
        types::STREAM_LISTPACKS => stream.entries_up_to(last_id),
        _ => match input.number()? {
            UNKNOWN => None,
            read => Some(signed(read)?),
        },
    };
    if stream.group(group).is_some() {
        return Err(Malformed("a group is there twice"));
    }
    stream.apply(&StreamOp::SetGroup { group, last_id, entries_read })?;
    // Each with whether a consumer has it.
    let mut pending: Vec<(PendingRow, bool)> = Vec::new();
    for _ in 0..input.count(PENDING_BYTES_MIN)? {
        let id = raw_id(input)?;
        if pending.last().is_some_and(|(last, _)| last.id >= id) {
            return Err(Malformed("what is pending is out of order"));
        }
        let (delivered_ms, deliveries) = (time(input)?, input.number()?);
        pending.push((PendingRow { id, delivered_ms, deliveries }, false));
    }
    for _ in 0..input.count(10)? {
        allowance.pay(group.len())?;
        read_consumer(kind, input, stream, group, &mut pending)?;
    }
    match pending.iter().all(|(_, has_consumer)| *has_consumer) {
        true => Ok(()),
        false => Err(Malformed("something is pending for nobody")),
    }
}

fn read_consumer(
    kind: u8,
    input: &mut Input<'_>,
    stream: &mut Stream,
    group: &[u8],
    pending: &mut [(PendingRow, bool)],
) -> Result<(), Malformed> {
    let name = input.string()?;
    let consumer = &*name;
    if stream.group(group).is_some_and(|group| group.consumer(consumer).is_some()) {
        return Err(Malformed("a consumer is there twice"));
    }
    let seen_ms = time(input)?;
    let active_ms = match kind {
        types::STREAM_LISTPACKS_3 if input.rest().starts_with(&UNKNOWN.to_le_bytes()) => {
            input.u64()?;
            None
        }
        types::STREAM_LISTPACKS_3 => Some(time(input)?),
        _ => None,
    };
    stream.apply(&StreamOp::SetConsumer { group, consumer, seen_ms, active_ms })?;
    let mut rows = Vec::new();
    for _ in 0..input.count(RAW_ID)? {
        let id = raw_id(input)?;
        let place = pending.binary_search_by_key(&id, |(row, _)| row.id);
        let (row, has_consumer) =
            &mut pending[place.map_err(|_| Malformed("a consumer alone has it pending"))?];
        if std::mem::replace(has_consumer, true) {
            return Err(Malformed("two consumers have it pending"));
        }
        rows.push(*row);
    }
    rows.sort_unstable_by_key(|row| row.id);
    stream.apply(&StreamOp::Assign { group, consumer, at_ms: None, rows: Pendings::new(&rows) })?;
    Ok(())
}
