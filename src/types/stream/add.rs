//! XADD, and XSETID which decides on what XADD goes on from.

use crate::command::options::{integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::op::Op;
use crate::resp::Reply;

use super::commands::stream_to_change;
use super::id::StreamId;
use super::id_arg::{self, NewId, new_id, write_id};
use super::trim::{self, Trim};
use super::value::{Stream, StreamOp};

/// Bytes of all names and values of an entry.
const ENTRY_BYTES_MAX: usize = 1 << 30;

const NOT_ABOVE_LAST: CommandError =
    CommandError::new("ERR The ID specified in XADD is equal or smaller than the target stream top item");

struct Request<'a> {
    must_exist: bool,
    trim: Option<Trim>,
    id: NewId,
    fields: Args<'a>,
}

impl<'a> Request<'a> {
    /// Reads what stands behind the key.
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let (mut trim, mut must_exist) = (trim::Options::default(), false);
        let (mut at, mut id) = (0, None);
        while id.is_none() && at < args.len() {
            if let Some(next) = trim.take(args, at)? {
                at = next;
                continue;
            }
            if is(args.get(at), "nomkstream") {
                must_exist = true;
            } else {
                id = Some(new_id(args.get(at))?);
            }
            at += 1;
        }
        let trim = trim.finish()?;
        let fields = args.tail(at);
        match id {
            Some(id) if !fields.is_empty() && fields.len().is_multiple_of(2) => {
                Ok(Self { must_exist, trim, id, fields })
            }
            _ => Err(CommandError::wrong_arity("xadd")),
        }
    }
}

/// The id of an entry that is added now.
fn choose(wanted: NewId, last: StreamId, now_ms: u64) -> Result<StreamId, CommandError> {
    let next = last.next().ok_or(CommandError::new(
        "ERR The stream has exhausted the last possible ID, unable to add more items",
    ))?;
    let id = match wanted {
        NewId::Any if now_ms > last.ms => StreamId::new(now_ms, 0),
        NewId::Any => next,
        // The sequence numbers of a millisecond may be used up.
        NewId::AnyIn { ms } if ms == last.ms => StreamId { ms, ..next },
        NewId::AnyIn { ms } => StreamId::new(ms, 0),
        NewId::Exactly(id) => id,
    };
    if id > last { Ok(id) } else { Err(NOT_ABOVE_LAST) }
}

pub(super) fn xadd(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, request) = (args.get(1), Request::parse(args.tail(2))?);
    if request.id == NewId::Exactly(StreamId::MIN) {
        return Err(CommandError::new("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let last = match stream_to_change(ctx, key)? {
        None if request.must_exist => {
            reply.null();
            return Ok(());
        }
        stream => stream.map_or(StreamId::MIN, Stream::last_id),
    };
    let id = choose(request.id, last, ctx.now_ms)?;
    if request.fields.iter().map(<[u8]>::len).sum::<usize>() > ENTRY_BYTES_MAX {
        return Err(CommandError::new("ERR Elements are too large to be stored"));
    }
    ctx.apply(key, Op::Stream(StreamOp::Add { id, fields: request.fields.into() }))?;
    if let Some(trim) = request.trim {
        trim.run(ctx, key)?;
    }
    write_id(id, reply);
    Ok(())
}

/// The stream's own numbers as XSETID wants them; `None` leaves them as they are.
struct Numbers {
    last_id: StreamId,
    entries_added: Option<u64>,
    max_deleted_id: Option<StreamId>,
}

impl Numbers {
    /// Reads what stands behind the key.
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let last_id = id_arg::id(args.get(0), 0)?;
        let mut numbers = Self { last_id, entries_added: None, max_deleted_id: None };
        for at in (1..args.len()).step_by(2) {
            let value = args.try_get(at + 1).ok_or(CommandError::SYNTAX)?;
            if is(args.get(at), "entriesadded") {
                let count = u64::try_from(integer(value)?)
                    .map_err(|_| CommandError::new("ERR entries_added must be positive"))?;
                numbers.entries_added = Some(count);
            } else if is(args.get(at), "maxdeletedid") {
                let id = id_arg::id(value, 0)?;
                if last_id < id {
                    return Err(CommandError::new(
                        "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                    ));
                }
                // 0-0 says nothing, not that nothing was deleted.
                numbers.max_deleted_id = Some(id).filter(|id| *id != StreamId::MIN);
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(numbers)
    }
}

pub(super) fn xsetid(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, wanted) = (args.get(1), Numbers::parse(args.tail(2))?);
    let stream = stream_to_change(ctx, key)?.ok_or(CommandError::NO_SUCH_KEY)?;
    let last_id = wanted.last_id;
    if last_id < stream.max_deleted_id() {
        return Err(CommandError::new(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if stream.range(StreamId::MIN..=StreamId::MAX).next_back().is_some_and(|top| last_id < top.id) {
        return Err(CommandError::new(
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if wanted.entries_added.is_some_and(|added| added < stream.length() as u64) {
        return Err(CommandError::new(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    let max_deleted_id = wanted.max_deleted_id.unwrap_or(stream.max_deleted_id());
    let entries_added = wanted.entries_added.unwrap_or(stream.entries_added());
    if (last_id, max_deleted_id, entries_added)
        != (stream.last_id(), stream.max_deleted_id(), stream.entries_added())
    {
        ctx.apply(key, Op::Stream(StreamOp::Reset { last_id, max_deleted_id, entries_added }))?;
    } else {
        ctx.written_as_it_was(key);
    }
    reply.ok();
    Ok(())
}
