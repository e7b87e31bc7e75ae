//! BGSAVE, BGREWRITEAOF and LASTSAVE. All three are about one thing: the log's way into the snapshot.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group};
use crate::error::CommandError;
use crate::resp::Reply;

const SNAPSHOT: Command = Command {
    flags: Flags::ADMIN.union(Flags::NOSCRIPT),
    group: Group::Server,
    acl: &["admin", "dangerous"],
    ..Command::DEFAULT
};

pub static COMMANDS: &[Command] = &[
    Command {
        name: "bgsave",
        arity: -1,
        since: "1.0.0",
        summary: "Asynchronously saves the database(s) to disk.",
        complexity: "O(1)",
        syntax: "[SCHEDULE]",
        handler: bgsave,
        ..SNAPSHOT
    },
    Command {
        name: "bgrewriteaof",
        arity: 1,
        since: "1.0.0",
        summary: "Asynchronously rewrites the append-only file to disk.",
        complexity: "O(1)",
        handler: bgrewriteaof,
        ..SNAPSHOT
    },
    Command {
        name: "lastsave",
        arity: 1,
        flags: Flags::LOADING.union(Flags::STALE).union(Flags::FAST),
        group: Group::Server,
        since: "1.0.0",
        summary: "Returns the Unix timestamp of the last successful save to disk.",
        acl: &["admin", "dangerous"],
        handler: lastsave,
        ..Command::DEFAULT
    },
];

fn bgsave(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let schedule = match args.try_get(1) {
        None => false,
        Some(word) if args.len() == 2 && word.eq_ignore_ascii_case(b"schedule") => true,
        Some(_) => return Err(CommandError::SYNTAX),
    };
    let snapshots = &ctx.server.snapshots;
    if snapshots.is_running() && !schedule {
        return Err(CommandError::new("ERR Background save already in progress"));
    }
    let started = snapshots.request(ctx.now_ms);
    reply.simple(if started { "Background saving started" } else { "Background saving scheduled" });
    Ok(())
}

fn bgrewriteaof(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let snapshots = &ctx.server.snapshots;
    if snapshots.is_running() {
        return Err(CommandError::new("ERR Background append only file rewriting already in progress"));
    }
    snapshots.request(ctx.now_ms);
    reply.simple("Background append only file rewriting started");
    Ok(())
}

/// As in Redis: before the first snapshot it is the time of the start.
fn lastsave(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let made_ms = ctx.server.snapshots.made_ms.load(Relaxed);
    reply.integer((if made_ms == 0 { ctx.server.started_ms } else { made_ms } / 1000) as i64);
    Ok(())
}
