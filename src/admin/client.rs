//! CLIENT: what connections show of themselves, and what may be done to them.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use crate::command::clients::{Client, Pause};
use crate::command::options::{integer, is};
use crate::command::session::ReplyMode;
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group};
use crate::error::CommandError;
use crate::log::Policy;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

use super::client_filter::{kill, list};
use super::client_line;
use super::client_tracking::{caching, getredir, tracking, trackinginfo};
use super::{ADMIN, DIRECT, help};

pub static COMMANDS: &[Command] = &[Command {
    name: "client",
    arity: -2,
    flags: Flags::empty(),
    group: Group::Connection,
    since: "2.4.0",
    summary: "A container for client connection commands.",
    complexity: "Depends on subcommand.",
    subcommands: SUBCOMMANDS,
    ..Command::DEFAULT
}];

const SUBCOMMAND: Command =
    Command { parent: "client", flags: DIRECT, group: Group::Connection, arity: 2, ..Command::DEFAULT };

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "caching",
        arity: 3,
        since: "6.0.0",
        summary: "Instructs the server whether to track the keys in the next request.",
        syntax: "<YES | NO>",
        handler: caching,
        ..SUBCOMMAND
    },
    Command {
        name: "durability",
        arity: -2,
        since: "7.2.0",
        summary: "Sets what this connection's replies wait for: the disk, or only the kernel. Shows it without an argument.",
        syntax: "[ALWAYS | EVERYSEC | NO | DEFAULT]",
        handler: durability,
        ..SUBCOMMAND
    },
    Command {
        name: "getname",
        since: "2.6.9",
        summary: "Returns the name of the connection.",
        handler: getname,
        ..SUBCOMMAND
    },
    Command {
        name: "getredir",
        since: "6.0.0",
        summary: "Returns the client ID to which the connection's tracking notifications are redirected.",
        handler: getredir,
        ..SUBCOMMAND
    },
    help::declare("client", Group::Connection, "5.0.0"),
    Command {
        name: "id",
        since: "5.0.0",
        summary: "Returns the unique client ID of the connection.",
        handler: id,
        ..SUBCOMMAND
    },
    Command {
        name: "info",
        since: "6.2.0",
        summary: "Returns information about the connection.",
        handler: info,
        ..SUBCOMMAND
    },
    Command {
        name: "kill",
        arity: -3,
        flags: ADMIN,
        since: "2.4.0",
        summary: "Terminates open connections.",
        complexity: "O(N) where N is the number of client connections",
        syntax: "<ip:port | <[ID client-id] | [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] | [USER username] | [ADDR ip:port] | [LADDR ip:port] | [SKIPME <YES | NO>] | [MAXAGE maxage] [...]>>",
        handler: kill,
        ..SUBCOMMAND
    },
    Command {
        name: "list",
        arity: -2,
        flags: ADMIN,
        since: "2.4.0",
        summary: "Lists open connections.",
        complexity: "O(N) where N is the number of client connections",
        syntax: "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
        handler: list,
        ..SUBCOMMAND
    },
    Command {
        name: "lsn",
        // Within a transaction the position of its record is not known yet.
        flags: DIRECT.union(Flags::NO_MULTI),
        since: "7.2.0",
        summary: "Returns the log position of the connection's last write: a number that only grows. 0 if it wrote nothing.",
        handler: lsn,
        ..SUBCOMMAND
    },
    Command {
        name: "no-evict",
        arity: 3,
        flags: ADMIN,
        since: "7.0.0",
        summary: "Sets the client eviction mode of the connection.",
        syntax: "<ON | OFF>",
        handler: no_evict,
        ..SUBCOMMAND
    },
    Command {
        name: "no-touch",
        arity: 3,
        since: "7.2.0",
        summary: "Controls whether commands sent by the client affect the LRU/LFU of accessed keys.",
        syntax: "<ON | OFF>",
        handler: no_touch,
        ..SUBCOMMAND
    },
    Command {
        name: "pause",
        arity: -3,
        flags: ADMIN,
        since: "2.9.50",
        summary: "Suspends commands processing.",
        syntax: "timeout [WRITE | ALL]",
        handler: pause,
        ..SUBCOMMAND
    },
    Command {
        name: "reply",
        arity: 3,
        since: "3.2.0",
        summary: "Instructs the server whether to reply to commands.",
        syntax: "<ON | OFF | SKIP>",
        handler: reply_mode,
        ..SUBCOMMAND
    },
    Command {
        name: "setinfo",
        arity: 4,
        since: "7.2.0",
        summary: "Sets information specific to the client or connection.",
        syntax: "<LIB-NAME libname | LIB-VER libver>",
        handler: setinfo,
        ..SUBCOMMAND
    },
    Command {
        name: "setname",
        arity: 3,
        since: "2.6.9",
        summary: "Sets the connection name.",
        syntax: "connection-name",
        handler: setname,
        ..SUBCOMMAND
    },
    Command {
        name: "tracking",
        arity: -3,
        since: "6.0.0",
        summary: "Controls server-assisted client-side caching for the connection.",
        syntax: "<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
        complexity: "O(1). Some options may introduce additional complexity.",
        handler: tracking,
        ..SUBCOMMAND
    },
    Command {
        name: "trackinginfo",
        since: "6.2.0",
        summary: "Returns information about server-assisted client-side caching for the connection.",
        handler: trackinginfo,
        ..SUBCOMMAND
    },
    Command {
        name: "unblock",
        arity: -3,
        flags: ADMIN,
        since: "5.0.0",
        summary: "Unblocks a client blocked by a blocking command from a different connection.",
        complexity: "O(log N) where N is the number of client connections",
        syntax: "client-id [TIMEOUT | ERROR]",
        handler: unblock,
        ..SUBCOMMAND
    },
    Command {
        name: "unpause",
        flags: ADMIN,
        since: "6.2.0",
        summary: "Resumes processing commands from paused clients.",
        complexity: "O(N) Where N is the number of paused clients",
        handler: unpause,
        ..SUBCOMMAND
    },
];

fn id(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(ctx.session.client.id as i64);
    Ok(())
}

fn info(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let line = client_line::describe(&ctx.session.client, &ctx.server.registry, ctx.server.clock.wall_ms());
    reply.verbatim(b"txt", line.as_bytes());
    Ok(())
}

fn getname(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let name = ctx.session.client.name.lock();
    reply.bulk_or_null(Some(name.as_bytes()).filter(|name| !name.is_empty()));
    Ok(())
}

/// What may stand in a line of CLIENT LIST.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

/// A client name as CLIENT SETNAME and HELLO take it.
pub fn checked_name(name: &[u8]) -> Result<String, CommandError> {
    match std::str::from_utf8(name) {
        Ok(text) if is_plain(name) => Ok(text.to_owned()),
        _ => {
            Err(CommandError::new("ERR Client names cannot contain spaces, newlines or special characters."))
        }
    }
}

fn setname(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    *ctx.session.client.name.lock() = checked_name(args.get(2))?;
    reply.ok();
    Ok(())
}

fn setinfo(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (option, value) = (args.get(2), args.get(3));
    let client = &ctx.session.client;
    let place = match option {
        _ if is(option, "lib-name") => &client.lib_name,
        _ if is(option, "lib-ver") => &client.lib_ver,
        _ => {
            let option = String::from_utf8_lossy(option);
            return Err(CommandError::owned(format!("ERR Unrecognized option '{option}'")));
        }
    };
    match std::str::from_utf8(value) {
        Ok(text) if is_plain(value) => *place.lock() = text.to_owned(),
        _ => {
            let option = String::from_utf8_lossy(option);
            return Err(CommandError::owned(format!(
                "ERR {option} cannot contain spaces, newlines or special characters."
            )));
        }
    }
    reply.ok();
    Ok(())
}

/// ON or OFF.
pub fn switch(arg: &[u8]) -> Result<bool, CommandError> {
    match arg {
        _ if is(arg, "on") => Ok(true),
        _ if is(arg, "off") => Ok(false),
        _ => Err(CommandError::SYNTAX),
    }
}

fn no_evict(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set(&ctx.session.client.no_evict, switch(args.get(2))?);
    reply.ok();
    Ok(())
}

fn no_touch(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    ctx.session.no_touch = switch(args.get(2))?;
    set(&ctx.session.client.no_touch, ctx.session.no_touch);
    reply.ok();
    Ok(())
}

fn set(flag: &AtomicBool, value: bool) {
    flag.store(value, Relaxed);
}

fn reply_mode(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let word = args.get(2);
    let mode = &mut ctx.session.reply_mode;
    match word {
        _ if is(word, "on") => *mode = ReplyMode::On,
        _ if is(word, "off") => *mode = ReplyMode::Off,
        // Where nothing is replied anyway, nothing is to be skipped.
        _ if is(word, "skip") && *mode == ReplyMode::Off => {}
        _ if is(word, "skip") => *mode = ReplyMode::SkipNext,
        _ => return Err(CommandError::SYNTAX),
    }
    // Dropped by dispatch unless the mode is now `On`.
    reply.ok();
    Ok(())
}

fn pause(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let writes_only = match args.try_get(3) {
        _ if args.len() > 4 => return Err(help::misused("client", args.get(1))),
        None => false,
        Some(mode) if is(mode, "all") => false,
        Some(mode) if is(mode, "write") => true,
        Some(_) => return Err(CommandError::new("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let timeout_ms = timeout_ms(args.get(2))?;
    let until_ms = ctx.now_ms.saturating_add(timeout_ms);
    ctx.server.clients.set_pause(Pause { until_ms, writes_only });
    reply.ok();
    Ok(())
}

/// A time-out in whole milliseconds.
pub fn timeout_ms(arg: &[u8]) -> Result<u64, CommandError> {
    let timeout = parse_i64(arg).ok_or(CommandError::new("ERR timeout is not an integer or out of range"))?;
    u64::try_from(timeout).map_err(|_| CommandError::new("ERR timeout is negative"))
}

fn unpause(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    ctx.server.clients.end_pause();
    reply.ok();
    Ok(())
}

fn unblock(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let with_error = match args.try_get(3) {
        _ if args.len() > 4 => return Err(help::misused("client", args.get(1))),
        None => false,
        Some(word) if is(word, "timeout") => false,
        Some(word) if is(word, "error") => true,
        Some(_) => {
            return Err(CommandError::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
    };
    let id = integer(args.get(2))?;
    let client = u64::try_from(id).ok().and_then(|id| ctx.server.clients.get(id));
    let unblocked = client.is_some_and(|client| end_wait(&client, with_error));
    reply.integer(i64::from(unblocked));
    Ok(())
}

/// Answers a blocked client, if it is one and nobody else has just done so.
fn end_wait(client: &Client, with_error: bool) -> bool {
    let blocked = client.blocked.lock();
    let Some(blocked) = &*blocked else { return false };
    if !blocked.waiter.claim() {
        return false;
    }
    (blocked.unblock)(with_error);
    true
}

fn durability(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if args.len() > 3 {
        return Err(help::misused("client", args.get(1)));
    }
    let Some(word) = args.try_get(2) else {
        reply.bulk_str(ctx.session.durability.map_or("default", policy_name));
        return Ok(());
    };
    ctx.session.durability = match word {
        _ if is(word, "default") => None,
        _ if is(word, "always") => Some(Policy::Always),
        _ if is(word, "everysec") => Some(Policy::EverySec),
        _ if is(word, "no") => Some(Policy::No),
        _ => {
            return Err(CommandError::new(
                "ERR CLIENT DURABILITY level must be ALWAYS, EVERYSEC, NO or DEFAULT",
            ));
        }
    };
    reply.ok();
    Ok(())
}

/// A level as `appendfsync` calls it.
pub const fn policy_name(policy: Policy) -> &'static str {
    match policy {
        Policy::Always => "always",
        Policy::EverySec => "everysec",
        Policy::No => "no",
    }
}

/// The reply waits until that write is as safe as the connection's level asks for, like the write's own.
fn lsn(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let position = ctx.session.last_write;
    ctx.transaction.gate = ctx.transaction.gate.max(position);
    reply.integer(position as i64);
    Ok(())
}
