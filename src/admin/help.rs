//! `<CONTAINER> HELP`, made from the declarations of the container's subcommands.

use crate::command::{Args, Command, CommandResult, Ctx, Group};
use crate::error::CommandError;
use crate::resp::Reply;

/// The declaration of a container's HELP.
pub const fn declare(parent: &'static str, group: Group, since: &'static str) -> Command {
    Command {
        name: "help",
        parent,
        arity: 2,
        flags: super::ANYTIME,
        group,
        since,
        summary: "Returns helpful text about the different subcommands.",
        handler: help,
        ..Command::DEFAULT
    }
}

/// Lists the subcommands of whichever container it stands in.
pub fn help(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let container = ctx.server.registry.get(ctx.command.parent.as_bytes());
    let (container, _) = container.ok_or(CommandError::SYNTAX)?;
    let mut lines = Vec::new();
    for command in container.subcommands {
        lines.push(format!("{} {}", command.name.to_ascii_uppercase(), command.syntax).trim_end().to_owned());
        lines.push(format!("    {}", command.summary));
    }
    write(reply, container.name, lines.into_iter());
    Ok(())
}

/// The head line, then `lines`.
pub fn write(reply: &mut Reply<'_>, name: &str, lines: impl ExactSizeIterator<Item = String>) {
    let name = name.to_ascii_uppercase();
    reply.array(lines.len() + 1);
    reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    lines.for_each(|line| reply.simple(&line));
}

/// The error of a subcommand that got the wrong number of arguments, or is not there.
pub fn misused(container: &str, word: &[u8]) -> CommandError {
    let (word, container) = (String::from_utf8_lossy(word), container.to_ascii_uppercase());
    CommandError::owned(format!(
        "ERR unknown subcommand or wrong number of arguments for '{word}'. Try {container} HELP."
    ))
}
