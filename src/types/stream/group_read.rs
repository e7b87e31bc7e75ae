//! XREADGROUP: new entries are delivered to a consumer, idle ones are claimed for it, or it reads again what is pending for it.

use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::op::Op;
use crate::resp::Reply;

use super::commands::{stream_to_change, write_entry};
use super::group_commands::{assign, see, shown};
use super::id::StreamId;
use super::id_arg::{id, write_id};
use super::read::{Reading, Streams, wait_or_nil};
use super::value::{Entry, Ids, PendingRow, Stream, StreamOp};

/// What is read of one stream.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// `>`
    New,
    /// Pending entries of the consumer itself behind an id.
    History(StreamId),
}

fn check(ctx: &mut Ctx<'_>, key: &[u8], arg: &[u8], group: &[u8]) -> Result<Wanted, CommandError> {
    let stream = ctx.stream(key)?;
    if stream.is_none_or(|stream| stream.group(group).is_none()) {
        let (key, group) = (shown(key), shown(group));
        return Err(CommandError::owned(format!(
            "NOGROUP No such key '{key}' or consumer group '{group}' in XREADGROUP with GROUP option"
        )));
    }
    match arg {
        b">" => Ok(Wanted::New),
        b"$" => Err(CommandError::new(
            "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
        )),
        arg => id(arg, 0).map(Wanted::History),
    }
}

/// The stream at a key that was checked before; nothing happened to it since but what this command did.
fn checked<'c>(ctx: &'c mut Ctx<'_>, key: &[u8]) -> Result<&'c Stream, CommandError> {
    stream_to_change(ctx, key)?.ok_or(CommandError::NO_SUCH_KEY)
}

/// As other replies have it, or with the time since it was last delivered and how often it was.
fn write_delivered(entry: &Entry<'_>, deliveries: Option<(u64, u64)>, reply: &mut Reply<'_>) {
    let Some((idle_ms, times)) = deliveries else { return write_entry(entry, reply) };
    reply.array(4);
    write_id(entry.id, reply);
    let strings = entry.strings();
    reply.array(strings.len());
    strings.for_each(|string| reply.bulk(&string));
    reply.integer(idle_ms as i64);
    reply.integer(times as i64);
}

/// What is claimed of a group.
#[derive(Default)]
struct Claimed {
    /// As they are from now on, in the order of the reply: longest idle first.
    rows: Vec<PendingRow>,
    /// Pending entries that the stream has no more.
    gone: Vec<StreamId>,
}

/// Looks for entries that have been idle for long enough, and replies them.
fn claim(
    stream: &Stream,
    group: &[u8],
    idle_ms: u64,
    count: usize,
    now_ms: u64,
    reply: &mut Reply<'_>,
) -> Claimed {
    let mut claimed = Claimed::default();
    let Some(until_ms) = now_ms.checked_sub(idle_ms) else { return claimed };
    let Some(group) = stream.group(group) else { return claimed };
    for (_, row) in group.pending_since(until_ms) {
        if claimed.rows.len() >= count {
            break;
        }
        let Some(entry) = stream.get(row.id) else {
            claimed.gone.push(row.id);
            continue;
        };
        let idle_ms = now_ms.saturating_sub(row.delivered_ms);
        write_delivered(&entry, Some((idle_ms, row.deliveries)), reply);
        claimed.rows.push(delivered_again(row, now_ms));
    }
    claimed.gone.sort_unstable();
    claimed
}

pub(super) fn delivered_again(row: PendingRow, now_ms: u64) -> PendingRow {
    PendingRow { delivered_ms: now_ms, deliveries: row.deliveries.saturating_add(1), ..row }
}

/// Reads new entries of one stream, claimed ones before them. False, and nothing is written, if there are none.
fn read_new(
    ctx: &mut Ctx<'_>,
    reading: &Reading<'_>,
    (group, consumer): (&[u8], &[u8]),
    key: &[u8],
    streams: &mut Streams,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let now_ms = ctx.now_ms;
    let stream = checked(ctx, key)?;
    let claims = reading.claim_idle_ms;
    let start = streams.name(key, reply);
    let mark = reply.array_later();
    let claimed = claims.map(|idle| claim(stream, group, idle, reading.count, now_ms, reply));
    let claimed = claimed.unwrap_or_default();
    let from = stream.group(group).and_then(|group| group.last_id().next());
    let from = from.filter(|from| *from <= stream.last_id());
    let mut added = 0;
    if let Some(from) = from {
        for entry in stream.range(from..=StreamId::MAX).take(reading.count - claimed.rows.len()) {
            write_delivered(&entry, claims.map(|_| (0, 0)), reply);
            added += 1;
        }
    }
    let written = claimed.rows.len() + added;
    if written == 0 {
        streams.take_back(start, reply);
    } else {
        reply.finish_array(mark, written);
    }
    if !claimed.gone.is_empty() {
        let ids = Ids::new(&claimed.gone);
        ctx.apply(key, Op::Stream(StreamOp::Acknowledge { group, ids }))?;
    }
    let mut rows = claimed.rows;
    rows.sort_unstable_by_key(|row| row.id);
    assign(ctx, key, (group, consumer), Some(now_ms), &rows)?;
    if added > 0 {
        let (count, pend) = (added as u64, !reading.no_ack);
        let deliver = StreamOp::Deliver { group, consumer, at_ms: now_ms, count, pend };
        return ctx.apply(key, Op::Stream(deliver));
    }
    see(ctx, key, group, consumer)
}

/// Reads again what is pending for the consumer behind an id.
fn read_history(
    ctx: &mut Ctx<'_>,
    (group, consumer): (&[u8], &[u8]),
    key: &[u8],
    behind: StreamId,
    count: usize,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let now_ms = ctx.now_ms;
    let stream = checked(ctx, key)?;
    let (mark, mut written, mut rows) = (reply.array_later(), 0, Vec::new());
    if let (Some(from), Some(group)) = (behind.next(), stream.group(group)) {
        for row in group.pending_of(consumer, from..=StreamId::MAX).take(count) {
            written += 1;
            if let Some(entry) = stream.get(row.id) {
                write_entry(&entry, reply);
                rows.push(delivered_again(row, now_ms));
            } else {
                reply.array(2);
                write_id(row.id, reply);
                reply.null_array();
            }
        }
    }
    reply.finish_array(mark, written);
    see(ctx, key, group, consumer)?;
    // Active is a consumer that gets what it did not have.
    assign(ctx, key, (group, consumer), None, &rows)
}

pub(super) fn xreadgroup(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let reading = Reading::parse(args, true, ctx.now_ms)?;
    let reader = reading.reader.ok_or(CommandError::SYNTAX)?;
    let mut wanted = smallvec::SmallVec::<[Wanted; 4]>::new();
    for at in 0..reading.streams {
        wanted.push(check(ctx, reading.key(at), reading.id(at), reader.0)?);
    }
    let mut streams = Streams::begin(reply);
    for (at, wanted) in wanted.iter().enumerate() {
        let key = reading.key(at);
        match *wanted {
            Wanted::New => read_new(ctx, &reading, reader, key, &mut streams, reply)?,
            Wanted::History(behind) => {
                let _ = streams.name(key, reply);
                read_history(ctx, reader, key, behind, reading.count, reply)?;
            }
        }
    }
    if !streams.finish(reply) {
        wait_or_nil(ctx, &reading, None, reply);
    }
    Ok(())
}
