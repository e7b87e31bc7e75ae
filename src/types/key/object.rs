//! OBJECT: how a value is kept. The names of encodings are Redis', for the nearest thing that there is here.

use super::look;
use crate::command::{Args, CommandResult, Ctx};
use crate::config::MaxmemoryPolicy;
use crate::error::CommandError;
use crate::keyspace::entry::Entry;
use crate::keyspace::value::Value;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

/// Longest string that Redis keeps in one piece with its object.
const EMBEDDED_LEN_MAX: usize = 44;
/// The access clock counts seconds in this many bits.
const CLOCK_MASK: u64 = (1 << 24) - 1;

const NO_FREQUENCY: CommandError = CommandError::new(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between \
     policies at runtime LRU and LFU data will take some time to adjust.",
);
const NO_IDLE_TIME: CommandError = CommandError::new(
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at \
     runtime LRU and LFU data will take some time to adjust.",
);

/// Redis' name for how a value is kept (OBJECT ENCODING, DEBUG OBJECT).
pub fn encoding(entry: &Entry) -> &'static str {
    match entry.as_string() {
        None => entry.as_value().map_or("raw", Value::encoding),
        Some(_) if entry.changed_in_place() => "raw",
        Some(text) if parse_i64(text).is_some() => "int",
        Some(text) if text.len() <= EMBEDDED_LEN_MAX => "embstr",
        Some(_) => "raw",
    }
}

/// Seconds since an entry was last read. Of one that never was, only that it is no longer than the server runs is known.
pub fn idle_s(ctx: &Ctx<'_>, access: u32) -> u64 {
    if access == 0 {
        return ctx.server.uptime().as_secs();
    }
    (ctx.now_ms / 1000).wrapping_sub(u64::from(access)) & CLOCK_MASK
}

pub(super) fn object_encoding(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.bulk_or_null(look(ctx, args.get(2)).map(|entry| encoding(entry).as_bytes()));
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

fn counts_frequency(ctx: &Ctx<'_>) -> bool {
    matches!(ctx.server.config.maxmemory_policy(), MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu)
}

pub(super) fn idletime(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    match look(ctx, args.get(2)).map(Entry::access) {
        None => reply.null(),
        Some(_) if counts_frequency(ctx) => return Err(NO_IDLE_TIME),
        Some(access) => reply.integer(idle_s(ctx, access) as i64),
    }
    Ok(())
}

/// Accesses are not counted yet, whatever the policy: the answer is that of a key never accessed.
pub(super) fn freq(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if look(ctx, args.get(2)).is_none() {
        reply.null();
    } else if counts_frequency(ctx) {
        reply.integer(0);
    } else {
        return Err(NO_FREQUENCY);
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
