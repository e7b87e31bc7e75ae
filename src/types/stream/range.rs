//! XRANGE and XREVRANGE.

use crate::command::options::{integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::resp::Reply;

use super::commands::write_entry;
use super::id_arg::{range_end, range_start};

/// Entries asked for: `None` for all, 0 also for less than 0.
fn count(options: Args<'_>) -> Result<Option<usize>, CommandError> {
    let mut count = None;
    for at in (0..options.len()).step_by(2) {
        let value = options.try_get(at + 1).filter(|_| is(options.get(at), "count"));
        let value = integer(value.ok_or(CommandError::SYNTAX)?)?;
        count = Some(usize::try_from(value).unwrap_or(0));
    }
    Ok(count)
}

fn range(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, reverse: bool) -> CommandResult {
    let (low, high) = if reverse { (3, 2) } else { (2, 3) };
    let ids = range_start(args.get(low))?..=range_end(args.get(high))?;
    let count = count(args.tail(4))?;
    let Some(stream) = ctx.stream(args.get(1))? else {
        reply.array(0);
        return Ok(());
    };
    // Not an empty array: that is how Redis answers.
    if count == Some(0) {
        reply.null_array();
        return Ok(());
    }
    let (mark, mut written) = (reply.array_later(), 0);
    let mut entries = stream.range(ids);
    while written < count.unwrap_or(usize::MAX) {
        let entry = if reverse { entries.next_back() } else { entries.next() };
        let Some(entry) = entry else { break };
        write_entry(&entry, reply);
        written += 1;
    }
    reply.finish_array(mark, written);
    Ok(())
}

pub(super) fn xrange(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    range(ctx, args, reply, false)
}

pub(super) fn xrevrange(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    range(ctx, args, reply, true)
}
