//! BACKUP: a consistent copy of the running store in another directory of the server's machine.
//!
//! Ours, Redis has none. Only the client that asks waits; the reply comes when the backup is complete and on the medium.

use crate::command::backups::{Job, Outcome};
use crate::command::context::Nil;
use crate::command::options::is;
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group};
use crate::config::Allow;
use crate::error::CommandError;
use crate::resp::{Protocol, Reply};

use super::config;

pub static COMMANDS: &[Command] = &[Command {
    name: "backup",
    arity: -2,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::NO_MULTI).union(Flags::BLOCKING),
    group: Group::Server,
    since: "7.2.0",
    summary: "Makes a consistent copy of the running store in a new directory, by hard links where it can.",
    complexity: "O(N) where N is the number of files, or with COPY the bytes of the store",
    syntax: "path [COPY]",
    acl: &["admin", "dangerous"],
    handler: backup,
    ..Command::DEFAULT
}];

const NOT_ALLOWED: CommandError = CommandError::new(
    "ERR BACKUP command not allowed. If the enable-backup-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
);

/// Whether this client may see and copy the store as a whole.
pub(super) fn is_allowed(ctx: &Ctx<'_>) -> bool {
    match ctx.server.config.enable_backup_command() {
        Allow::Yes => true,
        Allow::Local => config::is_local(&ctx.session.client),
        Allow::No => false,
    }
}

fn backup(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if !is_allowed(ctx) {
        return Err(NOT_ALLOWED);
    }
    let copy = match args.try_get(2) {
        None => false,
        Some(word) if args.len() == 3 && is(word, "copy") => true,
        Some(_) => return Err(CommandError::SYNTAX),
    };
    let path =
        std::str::from_utf8(args.get(1)).ok().filter(|path| path.starts_with('/') && !path.contains('\0'));
    let path = path.ok_or(CommandError::new(
        "ERR BACKUP needs the path of a directory from the root, on the server's machine",
    ))?;
    let server = ctx.server;
    let lsn = server.store.get().map_or(0, |store| store.log.append_lsn());
    let (path, proto) = (path.trim_end_matches('/').to_owned(), ctx.session.proto);
    ctx.wait_for_work(reply, Nil::Bulk, move |server, answer| {
        let done = Box::new(move |outcome: &Outcome| answer(reply_to(outcome, proto)));
        server.backups.ask(Job { path, copy, lsn, done });
        server.snapshots.wake();
    });
    Ok(())
}

fn reply_to(outcome: &Outcome, proto: Protocol) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut reply = Reply::new(&mut bytes, proto);
    match outcome {
        Ok(backup) => {
            let figures = [
                ("lsn", backup.lsn),
                ("files", backup.files),
                ("bytes", backup.bytes),
                ("linked", backup.linked),
                ("copied", backup.copied),
            ];
            reply.map(figures.len());
            for (name, figure) in figures {
                reply.bulk_str(name);
                reply.integer(figure as i64);
            }
        }
        Err(error) => reply.error(&format!("ERR no backup was made: {}", error.replace(['\r', '\n'], " "))),
    }
    bytes
}
