//! XGROUP: consumer groups are made, moved and removed; and what the commands on groups share.

use crate::command::options::{integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::op::Op;
use crate::resp::Reply;

use super::commands::stream_to_change;
use super::group::Group;
pub use super::group_table::COMMANDS;
use super::id::StreamId;
use super::id_arg::{id, range_start};
use super::value::{Pendings, Stream, StreamOp};

/// Pending entries that one op holds at most: no op grows with a group.
const ROWS_PER_OP: usize = 2000;

const NO_KEY: CommandError = CommandError::new(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
);

/// Bytes of a client within an error text.
pub(super) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A group of the stream at a key, or the error of the commands that need both.
pub(super) fn group_at<'c>(
    ctx: &'c mut Ctx<'_>,
    key: &[u8],
    name: &[u8],
) -> Result<(&'c Stream, &'c Group), CommandError> {
    let found = ctx.stream(key)?.and_then(|stream| Some((stream, stream.group(name)?)));
    found.ok_or_else(|| {
        let (key, name) = (shown(key), shown(name));
        CommandError::owned(format!("NOGROUP No such key '{key}' or consumer group '{name}'"))
    })
}

/// Marks a consumer as seen now; it is made if it doesn't exist. No op if nothing would change.
pub(super) fn see(ctx: &mut Ctx<'_>, key: &[u8], group: &[u8], consumer: &[u8]) -> CommandResult {
    let seen_ms = ctx.now_ms;
    let stream = stream_to_change(ctx, key)?;
    let known = stream.and_then(|stream| stream.group(group)?.consumer(consumer));
    let active_ms = match known {
        Some(known) if known.seen_ms() == seen_ms => return Ok(()),
        Some(known) => known.active_ms(),
        None => None,
    };
    ctx.apply(key, Op::Stream(StreamOp::SetConsumer { group, consumer, seen_ms, active_ms }))
}

/// Has entries be pending for a consumer. With `at_ms` it was seen and active then; without, it exists.
pub(super) fn assign(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    (group, consumer): (&[u8], &[u8]),
    at_ms: Option<u64>,
    rows: &[super::value::PendingRow],
) -> CommandResult {
    for rows in rows.chunks(ROWS_PER_OP) {
        let rows = Pendings::new(rows);
        ctx.apply(key, Op::Stream(StreamOp::Assign { group, consumer, at_ms, rows }))?;
    }
    Ok(())
}

/// The options of CREATE and SETID.
struct Options {
    make_stream: bool,
    /// `None` also for -1.
    entries_read: Option<u64>,
}

impl Options {
    fn parse(args: Args<'_>, may_make: bool) -> Result<Self, CommandError> {
        let misused = || misused(args);
        let mut options = Self { make_stream: false, entries_read: None };
        let mut words = args.tail(5).iter();
        while let Some(word) = words.next() {
            if may_make && is(word, "mkstream") {
                options.make_stream = true;
                continue;
            }
            let number = words.next().filter(|_| is(word, "entriesread"));
            let number = integer(number.ok_or_else(misused)?)?;
            if number < -1 {
                return Err(CommandError::new("ERR value for ENTRIESREAD must be positive or -1"));
            }
            options.entries_read = u64::try_from(number).ok();
        }
        Ok(options)
    }
}

fn misused(args: Args<'_>) -> CommandError {
    crate::admin::help::misused("xgroup", args.get(1))
}

/// No more words than all options take once. Redis counts them when it has found the key.
fn count_words(args: Args<'_>, max: usize) -> CommandResult {
    if args.len() > max { Err(misused(args)) } else { Ok(()) }
}

/// The stream a subcommand works on; the key is its second argument.
fn existing<'c>(ctx: &'c mut Ctx<'_>, args: Args<'_>) -> Result<&'c Stream, CommandError> {
    stream_to_change(ctx, args.get(2))?.ok_or(NO_KEY)
}

/// The group a subcommand works on.
fn existing_group<'c>(ctx: &'c mut Ctx<'_>, args: Args<'_>) -> Result<(&'c Stream, &'c Group), CommandError> {
    let stream = existing(ctx, args)?;
    let group = stream.group(args.get(3)).ok_or_else(|| {
        let (name, key) = (shown(args.get(3)), shown(args.get(2)));
        CommandError::owned(format!("NOGROUP No such consumer group '{name}' for key name '{key}'"))
    })?;
    Ok((stream, group))
}

pub(super) fn create(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let options = Options::parse(args, true)?;
    let (key, name) = (args.get(2), args.get(3));
    let stream = stream_to_change(ctx, key)?;
    if stream.is_none() && !options.make_stream {
        return Err(NO_KEY);
    }
    count_words(args, 8)?;
    let last_id = match args.get(4) {
        b"$" => stream.map(Stream::last_id).unwrap_or_default(),
        arg => id(arg, 0)?,
    };
    if stream.is_some_and(|stream| stream.group(name).is_some()) {
        return Err(CommandError::new("BUSYGROUP Consumer Group name already exists"));
    }
    if stream.is_none() {
        // The stream comes first: who watches the key sees it made, which a group alone is no reason for.
        let (last_id, max_deleted_id) = (StreamId::MIN, StreamId::MIN);
        ctx.apply(key, Op::Stream(StreamOp::Reset { last_id, max_deleted_id, entries_added: 0 }))?;
    }
    let entries_read = options.entries_read;
    ctx.apply(key, Op::Stream(StreamOp::SetGroup { group: name, last_id, entries_read }))?;
    reply.ok();
    Ok(())
}

pub(super) fn set_id(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let options = Options::parse(args, false)?;
    let (stream, _) = existing_group(ctx, args)?;
    count_words(args, 7)?;
    let last_id = match args.get(4) {
        b"$" => stream.last_id(),
        // Unlike CREATE it takes the ends of a range.
        b"-" | b"+" => range_start(args.get(4))?,
        arg => id(arg, 0)?,
    };
    let entries_read = options.entries_read;
    ctx.apply(args.get(2), Op::Stream(StreamOp::SetGroup { group: args.get(3), last_id, entries_read }))?;
    reply.ok();
    Ok(())
}

pub(super) fn destroy(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let group = args.get(3);
    let exists = existing(ctx, args)?.group(group).is_some();
    if exists {
        ctx.apply(args.get(2), Op::Stream(StreamOp::RemoveGroup { group }))?;
    }
    reply.integer(i64::from(exists));
    Ok(())
}

pub(super) fn create_consumer(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (group, consumer) = (args.get(3), args.get(4));
    let (_, found) = existing_group(ctx, args)?;
    let exists = found.consumer(consumer).is_some();
    if !exists {
        see(ctx, args.get(2), group, consumer)?;
    }
    reply.integer(i64::from(!exists));
    Ok(())
}

pub(super) fn remove_consumer(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (group, consumer) = (args.get(3), args.get(4));
    let (_, found) = existing_group(ctx, args)?;
    let pending = found.consumer(consumer).map(super::group::Consumer::pending_len);
    if pending.is_some() {
        ctx.apply(args.get(2), Op::Stream(StreamOp::RemoveConsumer { group, consumer }))?;
    }
    reply.integer(pending.unwrap_or(0) as i64);
    Ok(())
}
