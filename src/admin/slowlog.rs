//! SLOWLOG: reads and clears the slow log.

use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group};
use crate::error::CommandError;
use crate::resp::Reply;
use crate::resp::number::parse_i64;

use super::{ANYTIME, help};

pub static COMMANDS: &[Command] = &[Command {
    name: "slowlog",
    arity: -2,
    flags: Flags::empty(),
    group: Group::Server,
    since: "2.2.12",
    summary: "A container for slow log commands.",
    complexity: "Depends on subcommand.",
    subcommands: SUBCOMMANDS,
    ..Command::DEFAULT
}];

const SUBCOMMAND: Command = Command {
    parent: "slowlog",
    arity: 2,
    flags: ANYTIME.union(Flags::ADMIN),
    group: Group::Server,
    since: "2.2.12",
    ..Command::DEFAULT
};

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "get",
        arity: -2,
        summary: "Returns the slow log's entries.",
        complexity: "O(N) where N is the number of entries returned",
        syntax: "[count]",
        handler: get,
        ..SUBCOMMAND
    },
    help::declare("slowlog", Group::Server, "6.2.0"),
    Command {
        name: "len",
        summary: "Returns the number of entries in the slow log.",
        complexity: "O(1)",
        handler: len,
        ..SUBCOMMAND
    },
    Command {
        name: "reset",
        summary: "Clears all entries from the slow log.",
        complexity: "O(N) where N is the number of entries in the slowlog",
        handler: reset,
        ..SUBCOMMAND
    },
];

/// Entries shown unless told otherwise.
const COUNT_DEFAULT: usize = 10;

fn get(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let count = match args.try_get(2) {
        _ if args.len() > 3 => return Err(help::misused("slowlog", args.get(1))),
        None => COUNT_DEFAULT,
        Some(count) => match parse_i64(count) {
            Some(-1) => usize::MAX,
            Some(count @ 0..) => count as usize,
            _ => return Err(CommandError::new("ERR count should be greater than or equal to -1")),
        },
    };
    let entries = ctx.server.slowlog.newest(count);
    reply.array(entries.len());
    for entry in entries {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.unix_s as i64);
        reply.integer(entry.took_us as i64);
        reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| reply.bulk(arg));
        reply.bulk_str(&entry.addr);
        reply.bulk_str(&entry.client_name);
    }
    Ok(())
}

fn len(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(ctx.server.slowlog.len() as i64);
    Ok(())
}

fn reset(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    ctx.server.slowlog.clear();
    reply.ok();
    Ok(())
}
