//! XINFO: what can be known about a stream, its groups and their consumers.

use crate::command::options::{integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::resp::Reply;

use super::commands::write_entry;
use super::group::{Consumer, Group};
use super::id::StreamId;
use super::id_arg::write_id;
use super::value::{Entry, Stream};

/// Entries and pending entries that XINFO STREAM FULL shows unless it is told otherwise.
const FULL_COUNT: usize = 10;

const HELP: &[&str] = &[
    "XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CONSUMERS <key> <groupname>",
    "    The consumers of a group.",
    "GROUPS <key>",
    "    The groups of a stream.",
    "STREAM <key> [FULL [COUNT <count>]]",
    "    A stream's numbers; with FULL also its first entries, and its groups with what is pending.",
    "HELP",
    "    This text.",
];

pub(super) fn help(_: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.array(HELP.len());
    HELP.iter().for_each(|line| reply.simple(line));
    Ok(())
}

fn existing<'c>(ctx: &'c mut Ctx<'_>, key: &[u8]) -> Result<&'c Stream, CommandError> {
    ctx.stream(key)?.ok_or(CommandError::NO_SUCH_KEY)
}

fn count_or_null(count: Option<i64>, reply: &mut Reply<'_>) {
    match count {
        Some(count) => reply.integer(count),
        None => reply.null(),
    }
}

fn since(at_ms: u64, now_ms: u64) -> i64 {
    now_ms.saturating_sub(at_ms) as i64
}

pub(super) fn groups(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let stream = existing(ctx, args.get(2))?;
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(6);
        reply.bulk_str("name");
        reply.bulk(name);
        reply.bulk_str("consumers");
        reply.integer(group.consumers().len() as i64);
        reply.bulk_str("pending");
        reply.integer(group.pending_len() as i64);
        write_progress(stream, group, reply);
    }
    Ok(())
}

/// Three fields: how far a group has read.
fn write_progress(stream: &Stream, group: &Group, reply: &mut Reply<'_>) {
    reply.bulk_str("last-delivered-id");
    write_id(group.last_id(), reply);
    reply.bulk_str("entries-read");
    count_or_null(group.entries_read().map(|read| read as i64), reply);
    reply.bulk_str("lag");
    count_or_null(stream.lag(group), reply);
}

pub(super) fn consumers(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, name, now_ms) = (args.get(2), args.get(3), ctx.now_ms);
    let group = existing(ctx, key)?.group(name).ok_or_else(|| {
        let (name, key) = (String::from_utf8_lossy(name), String::from_utf8_lossy(key));
        CommandError::owned(format!("NOGROUP No such consumer group '{name}' for key name '{key}'"))
    })?;
    reply.array(group.consumers().len());
    for (name, consumer) in group.consumers() {
        reply.map(4);
        reply.bulk_str("name");
        reply.bulk(name);
        reply.bulk_str("pending");
        reply.integer(consumer.pending_len() as i64);
        reply.bulk_str("idle");
        reply.integer(since(consumer.seen_ms(), now_ms));
        reply.bulk_str("inactive");
        reply.integer(consumer.active_ms().map_or(-1, |active_ms| since(active_ms, now_ms)));
    }
    Ok(())
}

/// How many entries XINFO STREAM FULL shows; `None` without FULL.
fn full_count(args: Args<'_>) -> Result<Option<usize>, CommandError> {
    let options = args.tail(3);
    let is_full = options.try_get(0).is_none_or(|word| is(word, "full"));
    let has_count = options.len() == 3 && is(options.get(1), "count");
    if !is_full || (options.len() > 1 && !has_count) {
        let word = String::from_utf8_lossy(args.get(1));
        return Err(CommandError::owned(format!(
            "ERR unknown subcommand or wrong number of arguments for '{word}'. Try XINFO HELP."
        )));
    }
    Ok(match options.len() {
        0 => None,
        1 => Some(FULL_COUNT),
        _ => Some(match usize::try_from(integer(options.get(2))?) {
            Ok(0) => usize::MAX,
            Ok(count) => count,
            Err(_) => FULL_COUNT,
        }),
    })
}

pub(super) fn stream(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let stream = existing(ctx, args.get(2))?;
    match full_count(args)? {
        Some(count) => {
            reply.map(9);
            write_numbers(stream, reply);
            write_full(stream, count, reply);
        }
        None => {
            reply.map(10);
            write_numbers(stream, reply);
            write_brief(stream, reply);
        }
    }
    Ok(())
}

/// Seven fields.
fn write_numbers(stream: &Stream, reply: &mut Reply<'_>) {
    // Redis' nodes of its tree of blocks, were it a tree of one level.
    let blocks = stream.blocks() as i64;
    for (name, number) in
        [("length", stream.length() as i64), ("radix-tree-keys", blocks), ("radix-tree-nodes", blocks + 1)]
    {
        reply.bulk_str(name);
        reply.integer(number);
    }
    reply.bulk_str("last-generated-id");
    write_id(stream.last_id(), reply);
    reply.bulk_str("max-deleted-entry-id");
    write_id(stream.max_deleted_id(), reply);
    reply.bulk_str("entries-added");
    reply.integer(stream.entries_added() as i64);
    reply.bulk_str("recorded-first-entry-id");
    write_id(stream.first_id(), reply);
}

fn write_entry_or_null(entry: Option<Entry<'_>>, reply: &mut Reply<'_>) {
    match entry {
        Some(entry) => write_entry(&entry, reply),
        None => reply.null(),
    }
}

/// Three fields.
fn write_brief(stream: &Stream, reply: &mut Reply<'_>) {
    reply.bulk_str("groups");
    reply.integer(stream.groups().len() as i64);
    let all = || stream.range(StreamId::MIN..=StreamId::MAX);
    reply.bulk_str("first-entry");
    write_entry_or_null(all().next(), reply);
    reply.bulk_str("last-entry");
    write_entry_or_null(all().next_back(), reply);
}

/// Two fields.
fn write_full(stream: &Stream, count: usize, reply: &mut Reply<'_>) {
    reply.bulk_str("entries");
    reply.array(stream.length().min(count));
    for entry in stream.range(StreamId::MIN..=StreamId::MAX).take(count) {
        write_entry(&entry, reply);
    }
    reply.bulk_str("groups");
    reply.array(stream.groups().len());
    for (name, group) in stream.groups() {
        reply.map(7);
        reply.bulk_str("name");
        reply.bulk(name);
        write_progress(stream, group, reply);
        reply.bulk_str("pel-count");
        reply.integer(group.pending_len() as i64);
        reply.bulk_str("pending");
        reply.array(group.pending_len().min(count));
        for (consumer, row) in group.pending(StreamId::MIN..=StreamId::MAX).take(count) {
            reply.array(4);
            write_id(row.id, reply);
            reply.bulk(consumer);
            reply.integer(row.delivered_ms as i64);
            reply.integer(row.deliveries as i64);
        }
        reply.bulk_str("consumers");
        reply.array(group.consumers().len());
        for (name, consumer) in group.consumers() {
            write_full_consumer(group, name, consumer, count, reply);
        }
    }
}

fn write_full_consumer(group: &Group, name: &[u8], consumer: &Consumer, count: usize, reply: &mut Reply<'_>) {
    reply.map(5);
    reply.bulk_str("name");
    reply.bulk(name);
    reply.bulk_str("seen-time");
    reply.integer(consumer.seen_ms() as i64);
    reply.bulk_str("active-time");
    reply.integer(consumer.active_ms().map_or(-1, |active_ms| active_ms as i64));
    reply.bulk_str("pel-count");
    reply.integer(consumer.pending_len() as i64);
    reply.bulk_str("pending");
    reply.array(consumer.pending_len().min(count));
    for row in group.pending_of(name, StreamId::MIN..=StreamId::MAX).take(count) {
        reply.array(3);
        write_id(row.id, reply);
        reply.integer(row.delivered_ms as i64);
        reply.integer(row.deliveries as i64);
    }
}
