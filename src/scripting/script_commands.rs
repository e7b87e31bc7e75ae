//! SCRIPT: the scripts that are kept, and the end of one that runs for too long.

use crate::admin::{ANYTIME, help};
use crate::command::scripts::{Script, hex, parse_hex};
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group};
use crate::error::CommandError;
use crate::resp::Reply;

use super::interpreter;

pub static COMMANDS: &[Command] = &[Command {
    name: "script",
    arity: -2,
    flags: Flags::empty(),
    group: Group::Scripting,
    since: "2.6.0",
    summary: "A container for Lua scripts management commands.",
    complexity: "Depends on subcommand.",
    subcommands: SUBCOMMANDS,
    ..Command::DEFAULT
}];

const SUBCOMMAND: Command = Command {
    parent: "script",
    flags: Flags::NOSCRIPT,
    group: Group::Scripting,
    since: "2.6.0",
    ..Command::DEFAULT
};

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "debug",
        arity: 3,
        since: "3.2.0",
        summary: "Sets the debug mode of server-side Lua scripts.",
        complexity: "O(1)",
        syntax: "<YES | SYNC | NO>",
        handler: debug,
        ..SUBCOMMAND
    },
    Command {
        name: "exists",
        arity: -3,
        summary: "Determines whether server-side Lua scripts exist in the script cache.",
        complexity: "O(N) with N being the number of scripts to check (so checking a single script is an O(1) operation).",
        syntax: "sha1 [sha1 ...]",
        handler: exists,
        ..SUBCOMMAND
    },
    Command {
        name: "flush",
        arity: -2,
        summary: "Removes all server-side Lua scripts from the script cache.",
        complexity: "O(N) with N being the number of scripts in cache",
        syntax: "[ASYNC | SYNC]",
        handler: flush,
        ..SUBCOMMAND
    },
    help::declare("script", Group::Scripting, "5.0.0"),
    Command {
        name: "kill",
        arity: 2,
        flags: ANYTIME.union(Flags::NOSCRIPT).union(Flags::ALLOW_BUSY),
        summary: "Terminates a server-side Lua script during execution.",
        complexity: "O(1)",
        handler: kill,
        ..SUBCOMMAND
    },
    Command {
        name: "load",
        arity: 3,
        flags: Flags::NOSCRIPT.union(Flags::STALE),
        summary: "Loads a server-side Lua script to the script cache.",
        complexity: "O(N) with N being the length in bytes of the script body.",
        syntax: "script",
        handler: load,
        ..SUBCOMMAND
    },
    Command {
        name: "show",
        arity: 3,
        since: "8.0.0",
        summary: "Returns the source of a script in the script cache.",
        complexity: "O(1)",
        syntax: "sha1",
        handler: show,
        ..SUBCOMMAND
    },
];

fn debug(_: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    // There is no debugger; NO asks for what is so anyway.
    match args.get(2).to_ascii_lowercase().as_slice() {
        b"no" => reply.ok(),
        b"yes" | b"sync" => {
            return Err(CommandError::new("ERR Use SCRIPT DEBUG NO: there is no script debugger here"));
        }
        _ => return Err(CommandError::new("ERR Use SCRIPT DEBUG YES/SYNC/NO")),
    }
    Ok(())
}

fn exists(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.array(args.len() - 2);
    for sha in args.tail(2).iter() {
        let found = parse_hex(sha).and_then(|sha| ctx.server.scripts.get(&sha));
        reply.integer(i64::from(found.is_some()));
    }
    Ok(())
}

fn flush(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let is_mode = |arg: &[u8]| arg.eq_ignore_ascii_case(b"sync") || arg.eq_ignore_ascii_case(b"async");
    if args.len() > 3 || args.try_get(2).is_some_and(|arg| !is_mode(arg)) {
        return Err(CommandError::new("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
    }
    ctx.server.scripts.forget_all();
    interpreter::forget();
    reply.ok();
    Ok(())
}

fn kill(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    ctx.server.scripts.kill(false)?;
    reply.ok();
    Ok(())
}

fn load(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let script = std::sync::Arc::new(Script::new(args.get(2))?);
    interpreter::get(super::MEMORY_MAX)?.compile(&script)?;
    ctx.server.scripts.keep(&script, true);
    reply.bulk_str(&hex(&script.sha));
    Ok(())
}

fn show(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let script = parse_hex(args.get(2)).and_then(|sha| ctx.server.scripts.get(&sha));
    let script = script.ok_or(CommandError::new("NOSCRIPT No matching script."))?;
    reply.bulk(script.source());
    Ok(())
}
