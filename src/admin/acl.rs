//! ACL categories, and as much of ACL as a server with one user needs. Users, passwords as hashes and rules come later.

use crate::command::options::is;
use crate::command::registry::Registry;
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group};
use crate::error::CommandError;
use crate::resp::Reply;

use super::connection::DEFAULT_USER;
use super::{ADMIN, DIRECT, help};

pub static COMMANDS: &[Command] = &[Command {
    name: "acl",
    arity: -2,
    flags: Flags::empty(),
    group: Group::Server,
    since: "6.0.0",
    summary: "A container for Access List Control commands.",
    complexity: "Depends on subcommand.",
    subcommands: SUBCOMMANDS,
    ..Command::DEFAULT
}];

const SUBCOMMAND: Command =
    Command { parent: "acl", arity: 2, group: Group::Server, since: "6.0.0", ..Command::DEFAULT };

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "cat",
        arity: -2,
        flags: DIRECT,
        summary: "Lists the ACL categories, or the commands inside a category.",
        complexity: "O(1) since the categories and commands are a fixed set.",
        syntax: "[category]",
        handler: cat,
        ..SUBCOMMAND
    },
    help::declare("acl", Group::Server, "6.0.0"),
    Command {
        name: "list",
        flags: ADMIN,
        summary: "Dumps the effective rules in ACL file format.",
        complexity: "O(N). Where N is the number of configured users.",
        handler: list,
        ..SUBCOMMAND
    },
    Command {
        name: "users",
        flags: ADMIN,
        summary: "Lists all ACL users.",
        complexity: "O(N). Where N is the number of configured users.",
        handler: users,
        ..SUBCOMMAND
    },
    Command {
        name: "whoami",
        flags: DIRECT,
        summary: "Returns the authenticated username of the current connection.",
        handler: whoami,
        ..SUBCOMMAND
    },
];

/// All categories, in the order in which Redis shows them.
pub const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// Whether a command is in a category: by its flags, its group, or because its declaration says so.
pub fn is_in(command: &Command, category: &str) -> bool {
    let flags = command.flags;
    match category {
        "slow" => !flags.contains(Flags::FAST),
        // A container that is never run itself has no other category.
        _ if !command.subcommands.is_empty() && flags.is_empty() => false,
        "fast" => flags.contains(Flags::FAST),
        "write" if flags.contains(Flags::WRITE) => true,
        // What a script reads is in other commands' categories.
        "read" if flags.contains(Flags::READONLY) => !flags.contains(Flags::SCRIPT),
        "admin" | "dangerous" if flags.contains(Flags::ADMIN) => true,
        "pubsub" if flags.contains(Flags::PUBSUB) => true,
        "blocking" if flags.contains(Flags::BLOCKING) => true,
        _ => command.acl.contains(&category) || by_group(command) == Some(category),
    }
}

/// The group's category, unless the declaration puts the command elsewhere.
fn by_group(command: &Command) -> Option<&'static str> {
    // WAIT and its like are about the connection, SORT about three types.
    let names = |category| command.acl.contains(category);
    let elsewhere = command.group == Group::Generic && ["connection", "list"].iter().any(names);
    command.group.acl_category().filter(|_| !elsewhere)
}

/// The categories of a command.
pub fn categories_of(command: &Command) -> impl Iterator<Item = &'static str> + Clone {
    CATEGORIES.into_iter().filter(move |category| is_in(command, category))
}

/// Commands and subcommands of a category; `None` if there is no such category.
pub fn members<'a>(registry: &'a Registry, category: &[u8]) -> Option<Vec<&'a Command>> {
    let category = CATEGORIES.into_iter().find(|known| is(category, known))?;
    Some(registry.all().iter().copied().filter(|command| is_in(command, category)).collect())
}

fn cat(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let Some(category) = args.try_get(2) else {
        reply.array(CATEGORIES.len());
        CATEGORIES.iter().for_each(|category| reply.bulk_str(category));
        return Ok(());
    };
    if args.len() > 3 {
        return Err(help::misused("acl", args.get(1)));
    }
    let members = members(&ctx.server.registry, category).ok_or_else(|| {
        let category = String::from_utf8_lossy(category);
        CommandError::owned(format!("ERR Unknown category '{category}'"))
    })?;
    reply.array(members.len());
    members.iter().for_each(|command| reply.bulk_str(&command.full_name()));
    Ok(())
}

/// The password is left out: Redis shows its hash, and there is none here to show.
fn list(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let password = if ctx.server.config.requirepass().is_empty() { " nopass" } else { "" };
    reply.array(1);
    reply.bulk_str(&format!("user {DEFAULT_USER} on{password} ~* &* +@all"));
    Ok(())
}

fn users(_: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.array(1);
    reply.bulk_str(DEFAULT_USER);
    Ok(())
}

fn whoami(_: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.bulk_str(DEFAULT_USER);
    Ok(())
}
