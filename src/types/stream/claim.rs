//! XCLAIM and XAUTOCLAIM: pending entries change hands.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::options::is;
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::op::Op;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

use super::acknowledge::acknowledge;
use super::commands::write_entry;
use super::group::Group;
use super::group_commands::{assign, group_at, see};
use super::id::StreamId;
use super::id_arg::{id, range_start, write_id};
use super::value::{Entry, PendingRow, Stream, StreamOp};

/// A time below 0 is none.
fn min_idle_ms(arg: &[u8], command: &str) -> Result<u64, CommandError> {
    let ms = parse_i64(arg)
        .ok_or_else(|| CommandError::owned(format!("ERR Invalid min-idle-time argument for {command}")))?;
    Ok(u64::try_from(ms).unwrap_or(0))
}

fn is_idle(row: &PendingRow, min_idle_ms: u64, now_ms: u64) -> bool {
    min_idle_ms == 0 || now_ms.checked_sub(row.delivered_ms).is_some_and(|idle| idle >= min_idle_ms)
}

fn write_claimed(entry: &Entry<'_>, just_id: bool, reply: &mut Reply<'_>) {
    if just_id { write_id(entry.id, reply) } else { write_entry(entry, reply) }
}

/// Entries that a command has claimed, and pending ones that the stream has no more.
#[derive(Default)]
struct Claimed {
    rows: BTreeMap<StreamId, PendingRow>,
    gone: BTreeSet<StreamId>,
}

impl Claimed {
    /// An entry as this command left it.
    fn pending_at(&self, group: &Group, id: StreamId) -> Option<PendingRow> {
        if self.gone.contains(&id) {
            return None;
        }
        self.rows.get(&id).copied().or_else(|| group.pending_at(id).map(|(_, row)| row))
    }

    /// Makes it so.
    fn apply(self, ctx: &mut Ctx<'_>, key: &[u8], group: &[u8], consumer: &[u8]) -> CommandResult {
        let gone: Vec<_> = self.gone.into_iter().collect();
        acknowledge(ctx, key, group, &gone)?;
        if self.rows.is_empty() {
            return see(ctx, key, group, consumer);
        }
        let rows: Vec<_> = self.rows.into_values().collect();
        let now_ms = ctx.now_ms;
        assign(ctx, key, (group, consumer), Some(now_ms), &rows)
    }
}

/// The options behind XCLAIM's ids.
struct Options {
    /// When the entries count as delivered.
    at_ms: u64,
    deliveries: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: Option<StreamId>,
}

impl Options {
    fn parse(args: Args<'_>, now_ms: u64) -> Result<Self, CommandError> {
        let mut options =
            Self { at_ms: now_ms, deliveries: None, force: false, just_id: false, last_id: None };
        let mut words = args.iter();
        let number = |arg: &[u8], name: &str| {
            let invalid = || CommandError::owned(format!("ERR Invalid {name} option argument for XCLAIM"));
            parse_i64(arg).ok_or_else(invalid)
        };
        // What is not a time in the past is now.
        let past = |ms: Option<i64>| ms.and_then(|ms| u64::try_from(ms).ok()).filter(|&ms| ms <= now_ms);
        while let Some(word) = words.next() {
            if is(word, "force") {
                options.force = true;
                continue;
            }
            if is(word, "justid") {
                options.just_id = true;
                continue;
            }
            let value = words.next();
            match value {
                Some(value) if is(word, "idle") => {
                    let at_ms = (now_ms as i64).checked_sub(number(value, "IDLE")?);
                    options.at_ms = past(at_ms).unwrap_or(now_ms);
                }
                Some(value) if is(word, "time") => {
                    options.at_ms = past(Some(number(value, "TIME")?)).unwrap_or(now_ms);
                }
                Some(value) if is(word, "retrycount") => {
                    options.deliveries = u64::try_from(number(value, "RETRYCOUNT")?).ok();
                }
                Some(value) if is(word, "lastid") => options.last_id = Some(id(value, 0)?),
                _ => {
                    let word = super::group_commands::shown(word);
                    return Err(CommandError::owned(format!("ERR Unrecognized XCLAIM option '{word}'")));
                }
            }
        }
        Ok(options)
    }
}

/// Claims one entry after the other, each as the ones before have left it, and replies those that were.
fn claim_ids(
    stream: &Stream,
    group: &Group,
    ids: &[StreamId],
    (min_idle_ms, now_ms): (u64, u64),
    options: &Options,
    reply: &mut Reply<'_>,
) -> Claimed {
    let mut claimed = Claimed::default();
    let (mark, mut written) = (reply.array_later(), 0);
    for &id in ids {
        let pending = claimed.pending_at(group, id);
        let Some(entry) = stream.get(id) else {
            if pending.is_some() {
                claimed.gone.insert(id);
            }
            continue;
        };
        let row = match pending {
            Some(row) if is_idle(&row, min_idle_ms, now_ms) => row,
            None if options.force => PendingRow { id, delivered_ms: now_ms, deliveries: 1 },
            _ => continue,
        };
        let deliveries = match options.deliveries {
            Some(deliveries) => deliveries,
            None => row.deliveries.saturating_add(u64::from(!options.just_id)),
        };
        claimed.rows.insert(id, PendingRow { id, delivered_ms: options.at_ms, deliveries });
        write_claimed(&entry, options.just_id, reply);
        written += 1;
    }
    reply.finish_array(mark, written);
    claimed
}

pub(super) fn xclaim(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, name, consumer, now_ms) = (args.get(1), args.get(2), args.get(3), ctx.now_ms);
    let (stream, group) = group_at(ctx, key, name)?;
    let min_idle_ms = min_idle_ms(args.get(4), "XCLAIM")?;
    // What is not an id is the first option.
    let ids: Vec<_> = args.tail(5).iter().map_while(|arg| id(arg, 0).ok()).collect();
    let options = Options::parse(args.tail(5 + ids.len()), now_ms)?;
    let claimed = claim_ids(stream, group, &ids, (min_idle_ms, now_ms), &options, reply);
    let moved = options.last_id.filter(|last_id| *last_id > group.last_id());
    let entries_read = group.entries_read();
    if let Some(last_id) = moved {
        ctx.apply(key, Op::Stream(StreamOp::SetGroup { group: name, last_id, entries_read }))?;
    }
    claimed.apply(ctx, key, name, consumer)
}

/// Entries that XAUTOCLAIM claims unless it is told otherwise.
const AUTO_COUNT: i64 = 100;
/// Highest COUNT that Redis takes: such that what it allots for the ids has a size.
const AUTO_COUNT_MAX: i64 = i64::MAX / 16;
/// Pending entries that XAUTOCLAIM looks at, for each one asked for.
const LOOKS_PER_ENTRY: u64 = 10;

struct Auto {
    min_idle_ms: u64,
    start: StreamId,
    count: u64,
    just_id: bool,
}

impl Auto {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let min_idle_ms = min_idle_ms(args.get(4), "XAUTOCLAIM")?;
        let start = range_start(args.get(5))?;
        let (mut count, mut just_id) = (AUTO_COUNT, false);
        let mut words = args.tail(6).iter();
        while let Some(word) = words.next() {
            if is(word, "justid") {
                just_id = true;
                continue;
            }
            let value = words.next().filter(|_| is(word, "count")).ok_or(CommandError::SYNTAX)?;
            count = parse_i64(value)
                .filter(|count| (1..=AUTO_COUNT_MAX).contains(count))
                .ok_or(CommandError::new("ERR COUNT must be > 0"))?;
        }
        Ok(Self { min_idle_ms, start, count: count as u64, just_id })
    }

    /// What is idle, what is gone, and the id to go on from: 0-0 at the end.
    fn claim(&self, stream: &Stream, group: &Group, now_ms: u64) -> (Claimed, StreamId) {
        let mut claimed = Claimed::default();
        let mut looks = self.count.saturating_mul(LOOKS_PER_ENTRY);
        for (_, row) in group.pending(self.start..=StreamId::MAX) {
            let found = claimed.rows.len() + claimed.gone.len();
            if looks == 0 || found as u64 == self.count {
                return (claimed, row.id);
            }
            looks -= 1;
            if stream.get(row.id).is_none() {
                claimed.gone.insert(row.id);
            } else if is_idle(&row, self.min_idle_ms, now_ms) {
                let deliveries = row.deliveries.saturating_add(u64::from(!self.just_id));
                claimed.rows.insert(row.id, PendingRow { delivered_ms: now_ms, deliveries, ..row });
            }
        }
        (claimed, StreamId::MIN)
    }
}

pub(super) fn xautoclaim(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, name, consumer, now_ms) = (args.get(1), args.get(2), args.get(3), ctx.now_ms);
    let auto = Auto::parse(args)?;
    let (stream, group) = group_at(ctx, key, name)?;
    let (claimed, next) = auto.claim(stream, group, now_ms);
    reply.array(3);
    write_id(next, reply);
    reply.array(claimed.rows.len());
    for entry in claimed.rows.keys().filter_map(|id| stream.get(*id)) {
        write_claimed(&entry, auto.just_id, reply);
    }
    reply.array(claimed.gone.len());
    claimed.gone.iter().for_each(|id| write_id(*id, reply));
    claimed.apply(ctx, key, name, consumer)
}
