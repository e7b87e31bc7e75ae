//! COMMAND DOCS: declarations as documentation; the arguments come from the syntax line.

use crate::command::{Args, Command, CommandResult, Ctx};
use crate::resp::Reply;

use super::command_info::lookup;
use super::syntax::{self, Argument, Kind};

pub(super) fn docs(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let registry = &ctx.server.registry;
    if args.len() == 2 {
        write_all(registry.commands().iter().copied(), reply);
        return Ok(());
    }
    let found: Vec<&Command> = args.tail(2).iter().filter_map(|name| lookup(registry, name)).collect();
    write_all(found.into_iter(), reply);
    Ok(())
}

/// A map of full names to documentation.
fn write_all<'a>(commands: impl ExactSizeIterator<Item = &'a Command>, reply: &mut Reply<'_>) {
    reply.map(commands.len());
    for command in commands {
        reply.bulk_str(&command.full_name());
        write(command, reply);
    }
}

fn write(command: &Command, reply: &mut Reply<'_>) {
    let arguments = syntax::arguments(command);
    reply.map(4 + usize::from(!arguments.is_empty()) + usize::from(!command.subcommands.is_empty()));
    let texts = [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group.name()),
        ("complexity", command.complexity),
    ];
    for (name, text) in texts {
        reply.bulk_str(name);
        reply.bulk_str(text);
    }
    if !arguments.is_empty() {
        reply.bulk_str("arguments");
        write_arguments(&arguments, reply);
    }
    if !command.subcommands.is_empty() {
        reply.bulk_str("subcommands");
        write_all(command.subcommands.iter(), reply);
    }
}

fn write_arguments(arguments: &[Argument], reply: &mut Reply<'_>) {
    reply.array(arguments.len());
    for argument in arguments {
        write_argument(argument, reply);
    }
}

fn write_argument(argument: &Argument, reply: &mut Reply<'_>) {
    let flags: Vec<&str> = [
        ("optional", argument.optional),
        ("multiple", argument.multiple),
        ("multiple_token", argument.multiple_token),
    ]
    .into_iter()
    .filter_map(|(name, set)| set.then_some(name))
    .collect();
    // Groups are shown by their members.
    let is_group = matches!(argument.kind, Kind::OneOf | Kind::Block);
    let pairs = 2
        + usize::from(!is_group)
        + usize::from(argument.key_spec.is_some())
        + usize::from(argument.token.is_some())
        + usize::from(!flags.is_empty())
        + usize::from(is_group);
    reply.map(pairs);
    reply.bulk_str("name");
    reply.bulk_str(&argument.name);
    reply.bulk_str("type");
    reply.bulk_str(argument.kind.name());
    if !is_group {
        reply.bulk_str("display_text");
        reply.bulk_str(&argument.name);
    }
    if let Some(spec) = argument.key_spec {
        reply.bulk_str("key_spec_index");
        reply.integer(spec as i64);
    }
    if let Some(token) = &argument.token {
        reply.bulk_str("token");
        reply.bulk_str(token);
    }
    if !flags.is_empty() {
        reply.bulk_str("flags");
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.simple(flag));
    }
    if is_group {
        reply.bulk_str("arguments");
        write_arguments(&argument.children, reply);
    }
}
