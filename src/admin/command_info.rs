//! COMMAND: the registry as clients ask for it. COMMAND DOCS has its own file.

use crate::command::keys::{Begin, Find};
use crate::command::options::is;
use crate::command::registry::Registry;
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group, KeySpec};
use crate::error::CommandError;
use crate::glob;
use crate::resp::Reply;

use super::command_docs::docs;
use super::{ANYTIME, acl, help};

const BASE: Command = Command {
    arity: -2,
    flags: ANYTIME,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(N) where N is the total number of Redis commands",
    acl: &["connection"],
    ..Command::DEFAULT
};

pub static COMMANDS: &[Command] = &[Command {
    name: "command",
    arity: -1,
    summary: "Returns detailed information about all commands.",
    handler: all,
    subcommands: SUBCOMMANDS,
    ..BASE
}];

const SUBCOMMAND: Command = Command { parent: "command", ..BASE };

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "count",
        arity: 2,
        summary: "Returns a count of commands.",
        complexity: "O(1)",
        handler: count,
        ..SUBCOMMAND
    },
    Command {
        name: "docs",
        since: "7.0.0",
        summary: "Returns documentary information about one, multiple or all commands.",
        complexity: "O(N) where N is the number of commands to look up",
        syntax: "[command-name [command-name ...]]",
        handler: docs,
        ..SUBCOMMAND
    },
    Command {
        name: "getkeys",
        arity: -3,
        summary: "Extracts the key names from an arbitrary command.",
        complexity: "O(N) where N is the number of arguments to the command",
        syntax: "command [arg [arg ...]]",
        handler: getkeys,
        ..SUBCOMMAND
    },
    Command {
        name: "getkeysandflags",
        arity: -3,
        since: "7.0.0",
        summary: "Extracts the key names and access flags for an arbitrary command.",
        complexity: "O(N) where N is the number of arguments to the command",
        syntax: "command [arg [arg ...]]",
        handler: getkeysandflags,
        ..SUBCOMMAND
    },
    Command { acl: &["connection"], ..help::declare("command", Group::Server, "5.0.0") },
    Command {
        name: "info",
        summary: "Returns information about one, multiple or all commands.",
        complexity: "O(N) where N is the number of commands to look up",
        syntax: "[command-name [command-name ...]]",
        handler: info,
        ..SUBCOMMAND
    },
    Command {
        name: "list",
        since: "7.0.0",
        summary: "Returns a list of command names.",
        syntax: "[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
        handler: list,
        ..SUBCOMMAND
    },
];

/// A command by its full name, `config` or `config|get`, in any case.
pub(super) fn lookup<'a>(registry: &'a Registry, name: &[u8]) -> Option<&'a Command> {
    let mut parts = name.splitn(2, |&byte| byte == b'|');
    let command = registry.get(parts.next()?)?;
    match parts.next() {
        None => Some(command.0),
        Some(word) => registry.subcommand(command, word).map(|(command, _)| command),
    }
}

fn all(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let commands = ctx.server.registry.commands();
    reply.array(commands.len());
    commands.iter().for_each(|command| describe(command, reply));
    Ok(())
}

fn count(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.integer(ctx.server.registry.commands().len() as i64);
    Ok(())
}

fn info(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if args.len() == 2 {
        return all(ctx, args, reply);
    }
    reply.array(args.len() - 2);
    for name in args.tail(2).iter() {
        match lookup(&ctx.server.registry, name) {
            Some(command) => describe(command, reply),
            None => reply.null(),
        }
    }
    Ok(())
}

/// The ten elements of COMMAND INFO.
fn describe(command: &Command, reply: &mut Reply<'_>) {
    reply.array(10);
    reply.bulk_str(&command.full_name());
    reply.integer(i64::from(command.arity));
    let flags = flag_names(command.flags);
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.simple(flag));
    let (first, last, step) = legacy_range(command.keys);
    [first, last, step].into_iter().for_each(|number| reply.integer(number));
    let categories = acl::categories_of(command);
    reply.set(categories.clone().count());
    categories.for_each(|category| reply.simple(&format!("@{category}")));
    // Tips: none are declared.
    reply.set(0);
    reply.set(command.keys.len());
    command.keys.iter().for_each(|spec| describe_keys(spec, reply));
    reply.set(command.subcommands.len());
    command.subcommands.iter().for_each(|command| describe(command, reply));
}

fn flag_names(flags: Flags) -> Vec<&'static str> {
    // Redis keeps `may_replicate` to itself.
    const NAMES: [(Flags, &str); 18] = [
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENYOOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::PUBSUB, "pubsub"),
        (Flags::NOSCRIPT, "noscript"),
        (Flags::BLOCKING, "blocking"),
        (Flags::LOADING, "loading"),
        (Flags::STALE, "stale"),
        (Flags::SKIP_MONITOR, "skip_monitor"),
        (Flags::SKIP_SLOWLOG, "skip_slowlog"),
        (Flags::ASKING, "asking"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (Flags::MOVABLEKEYS, "movablekeys"),
        (Flags::ALLOW_BUSY, "allow_busy"),
    ];
    NAMES.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| name).collect()
}

/// First key, last key and step, as clients before Redis 7 know them: over all specifications of fixed places.
fn legacy_range(specs: &[KeySpec]) -> (i64, i64, i64) {
    let mut found: Option<(i64, i64, i64)> = None;
    for spec in specs {
        let (Begin::Index(index), Find::Range { last, step, .. }) = (spec.begin, spec.find) else { continue };
        let index = index as i64;
        let last = if last < 0 { i64::from(last) } else { index + i64::from(last) };
        found = Some(match found {
            None => (index, last, step as i64),
            // Negative counts from the end, behind any place counted from the beginning.
            Some((first, _, step)) if last < 0 => (first.min(index), last, step),
            Some((first, before, step)) if before < 0 => (first.min(index), before, step),
            Some((first, before, step)) => (first.min(index), before.max(last), step),
        });
    }
    found.unwrap_or_default()
}

fn describe_keys(spec: &KeySpec, reply: &mut Reply<'_>) {
    reply.map(3);
    reply.bulk_str("flags");
    write_flags(spec, reply);
    reply.bulk_str("begin_search");
    match spec.begin {
        Begin::Index(index) => search(reply, "index", &[("index", index as i64)]),
        Begin::Unknown(_) => {
            search(reply, "unknown", &[]);
            reply.bulk_str("find_keys");
            return search(reply, "unknown", &[]);
        }
        Begin::Keyword { word, from } => {
            reply.map(2);
            reply.bulk_str("type");
            reply.bulk_str("keyword");
            reply.bulk_str("spec");
            reply.map(2);
            reply.bulk_str("keyword");
            reply.bulk_str(word);
            reply.bulk_str("startfrom");
            reply.integer(i64::from(from));
        }
    }
    reply.bulk_str("find_keys");
    match spec.find {
        Find::Range { last, step, limit } => {
            let numbers = [("lastkey", i64::from(last)), ("keystep", step as i64), ("limit", limit as i64)];
            search(reply, "range", &numbers);
        }
        Find::Count { number_at, first, step } => {
            let numbers =
                [("keynumidx", number_at as i64), ("firstkey", first as i64), ("keystep", step as i64)];
            search(reply, "keynum", &numbers);
        }
    }
}

fn write_flags(spec: &KeySpec, reply: &mut Reply<'_>) {
    reply.set(spec.flags.len());
    spec.flags.iter().for_each(|flag| reply.simple(flag));
}

fn search(reply: &mut Reply<'_>, kind: &str, numbers: &[(&str, i64)]) {
    reply.map(2);
    reply.bulk_str("type");
    reply.bulk_str(kind);
    reply.bulk_str("spec");
    reply.map(numbers.len());
    for (name, number) in numbers {
        reply.bulk_str(name);
        reply.integer(*number);
    }
}

fn list(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let registry = &ctx.server.registry;
    let names: Vec<String> = match args.len() {
        2 => registry.commands().iter().map(|command| command.full_name()).collect(),
        5 if is(args.get(2), "filterby") => {
            let (by, what) = (args.get(3), args.get(4));
            let all = || registry.all().iter().map(|command| command.full_name());
            match by {
                _ if is(by, "pattern") => {
                    all().filter(|name| glob::matches_ignore_case(what, name.as_bytes())).collect()
                }
                _ if is(by, "aclcat") => {
                    let members = acl::members(registry, what).unwrap_or_default();
                    members.iter().map(|command| command.full_name()).collect()
                }
                // No command comes from a module.
                _ if is(by, "module") => Vec::new(),
                _ => return Err(CommandError::SYNTAX),
            }
        }
        _ => return Err(CommandError::SYNTAX),
    };
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk_str(name));
    Ok(())
}

/// The keys of a whole command line, each with its specification.
fn keys_of<'a>(
    registry: &Registry,
    args: Args<'a>,
) -> Result<Vec<(&'a [u8], &'static KeySpec)>, CommandError> {
    let found = registry.get(args.get(0));
    let found = found.and_then(|container| match args.try_get(1) {
        Some(word) if !container.0.subcommands.is_empty() => registry.subcommand(container, word),
        _ => Some(container),
    });
    let (command, _) = found.ok_or(CommandError::new("ERR Invalid command specified"))?;
    if !command.has_keys() {
        return Err(CommandError::new("ERR The command has no key arguments"));
    }
    if !command.accepts(args.len()) {
        return Err(CommandError::new("ERR Invalid number of arguments specified for command"));
    }
    match named_keys(command, args) {
        Err(_) if command.flags.contains(Flags::NO_MANDATORY_KEYS) => Ok(Vec::new()),
        found => found,
    }
}

/// An error if the arguments don't fit, or name no key where there should be some.
fn named_keys<'a>(
    command: &'static Command,
    args: Args<'a>,
) -> Result<Vec<(&'a [u8], &'static KeySpec)>, CommandError> {
    let mut keys = Vec::new();
    let mut is_short = false;
    for spec in command.keys.iter().filter(|spec| !spec.flags.contains(&"not_key")) {
        let before = keys.len();
        spec.each(args, &mut |at| keys.push((args.get(at), spec)))?;
        is_short |= keys.len() == before && matches!(spec.find, Find::Count { .. });
    }
    if is_short || keys.is_empty() {
        return Err(CommandError::new("ERR Invalid arguments specified for command"));
    }
    Ok(keys)
}

fn getkeys(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let keys = keys_of(&ctx.server.registry, args.tail(2))?;
    reply.array(keys.len());
    keys.iter().for_each(|(key, _)| reply.bulk(key));
    Ok(())
}

fn getkeysandflags(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let keys = keys_of(&ctx.server.registry, args.tail(2))?;
    reply.array(keys.len());
    for (key, spec) in keys {
        reply.array(2);
        reply.bulk(key);
        let flags = flags_of(spec, args.tail(2));
        reply.set(flags.len());
        flags.iter().for_each(|flag| reply.simple(flag));
    }
    Ok(())
}

/// What a command does with its keys; with SET and BITFIELD that depends on the options.
fn flags_of(spec: &KeySpec, args: Args<'_>) -> &'static [&'static str] {
    if !spec.flags.contains(&"variable_flags") {
        return spec.flags;
    }
    let has = |word| args.tail(2).iter().any(|arg| is(arg, word));
    if is(args.get(0), "set") {
        if args.len() > 3 && has("get") { &["RW", "access", "update"] } else { &["OW", "update"] }
    } else if has("set") || has("incrby") {
        &["RW", "access", "update"]
    } else {
        &["RO", "access"]
    }
}
