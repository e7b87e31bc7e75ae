//! OBJECT: how a value is kept. The names of encodings are Redis', for the nearest thing that there is here.

use super::commands::look;
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::access::Accesses;
use crate::keyspace::entry::Entry;
use crate::resp::Reply;

const NO_FREQUENCY: CommandError = CommandError::new(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between \
     policies at runtime LRU and LFU data will take some time to adjust.",
);
const NO_IDLE_TIME: CommandError = CommandError::new(
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at \
     runtime LRU and LFU data will take some time to adjust.",
);

pub(super) fn object_encoding(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.bulk_or_null(look(ctx, args.get(2)).map(|entry| entry.encoding().as_bytes()));
    Ok(())
}

/// Values are never shared.
pub(super) fn refcount(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    match look(ctx, args.get(2)) {
        Some(_) => reply.integer(1),
        None => reply.null(),
    }
    Ok(())
}

pub(super) fn idletime(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let up_s = ctx.server.uptime().as_secs();
    let Some(access) = look(ctx, args.get(2)).map(Entry::access) else {
        reply.null();
        return Ok(());
    };
    match ctx.held().accesses {
        Accesses::Recency(recency) => reply.integer(recency.idle_s(access, up_s).into()),
        _ => return Err(NO_IDLE_TIME),
    }
    Ok(())
}

pub(super) fn freq(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let up_s = ctx.server.uptime().as_secs();
    let Some(access) = look(ctx, args.get(2)).map(Entry::access) else {
        reply.null();
        return Ok(());
    };
    match ctx.held().accesses {
        Accesses::Frequency(frequency) => reply.integer(frequency.count(access, up_s).into()),
        _ => return Err(NO_FREQUENCY),
    }
    Ok(())
}

pub(super) fn help(_: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    write_help(
        reply,
        &[
            "OBJECT <subcommand> [<arg> ...]. Subcommands are:",
            "ENCODING <key>",
            "    How the value of <key> is kept in memory.",
            "FREQ <key>",
            "    How often <key> was accessed of late, on a logarithmic scale.",
            "IDLETIME <key>",
            "    Seconds since <key> was last accessed.",
            "REFCOUNT <key>",
            "    How many share the value of <key>: always 1.",
            "HELP",
            "    This text.",
        ],
    );
    Ok(())
}

/// The form that the HELP subcommands share: an array of lines.
pub(super) fn write_help(reply: &mut Reply<'_>, lines: &[&str]) {
    reply.array(lines.len());
    lines.iter().for_each(|line| reply.simple(line));
}
