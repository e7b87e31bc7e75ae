//! SAVE, BGSAVE, BGREWRITEAOF and LASTSAVE. All are about one thing: the log's way into the snapshot.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::snapshots::{Then, Wish};
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
        name: "save",
        arity: 1,
        flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::NO_MULTI),
        since: "1.0.0",
        summary: "Synchronously saves the database(s) to disk.",
        complexity: "O(N) where N is the size of the log since the last snapshot",
        handler: save,
        ..SNAPSHOT
    },
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

/// The reply comes when the snapshot is published. Only this client waits.
fn save(ctx: &mut Ctx<'_>, _: Args<'_>, _: &mut Reply<'_>) -> CommandResult {
    ctx.server.snapshots.check_save().map_err(CommandError::new)?;
    ctx.wish = Some(Wish::Wait(Then::Reply));
    Ok(())
}

fn bgsave(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let schedule = match args.try_get(1) {
        None => false,
        Some(word) if args.len() == 2 && word.eq_ignore_ascii_case(b"schedule") => true,
        Some(_) => return Err(CommandError::SYNTAX),
    };
    let answer = ctx.server.snapshots.answer_to_bgsave(schedule || !ctx.may_block);
    let answer = answer.map_err(CommandError::new)?;
    wish(ctx, true, false);
    reply.simple(if ctx.may_block { answer } else { "Background saving scheduled" });
    Ok(())
}

fn bgrewriteaof(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let answer = ctx.server.snapshots.answer_to_bgrewriteaof().map_err(CommandError::new)?;
    wish(ctx, false, true);
    reply.simple(if ctx.may_block { answer } else { "Background append only file rewriting scheduled" });
    Ok(())
}

/// Within EXEC there may be several.
fn wish(ctx: &mut Ctx<'_>, save: bool, rewrite: bool) {
    let (saved, rewritten) = match ctx.wish {
        Some(Wish::Background { save, rewrite }) => (save, rewrite),
        _ => (false, false),
    };
    ctx.wish = Some(Wish::Background { save: save || saved, rewrite: rewrite || rewritten });
}

/// As in Redis the time of the start, when no other is known.
fn lastsave(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let saved_ms = ctx.server.snapshots.saved_ms.load(Relaxed);
    reply.integer((if saved_ms == 0 { ctx.server.started_ms } else { saved_ms } / 1000) as i64);
    Ok(())
}
