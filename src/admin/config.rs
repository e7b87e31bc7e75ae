//! CONFIG: the live values of directives, and the statistics' way back to zero.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::clients::Client;
use crate::command::server::Server;
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group, memory};
use crate::config::{Config, Name, set_failed};
use crate::error::CommandError;
use crate::resp::Reply;
use crate::types::limits;

use super::{ADMIN, help};

pub static COMMANDS: &[Command] = &[Command {
    name: "config",
    arity: -2,
    flags: Flags::empty(),
    group: Group::Server,
    since: "2.0.0",
    summary: "A container for server configuration commands.",
    complexity: "Depends on subcommand.",
    subcommands: SUBCOMMANDS,
    ..Command::DEFAULT
}];

const SUBCOMMAND: Command =
    Command { parent: "config", flags: ADMIN, group: Group::Server, arity: 2, ..Command::DEFAULT };

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "get",
        arity: -3,
        since: "2.0.0",
        summary: "Returns the effective values of configuration parameters.",
        complexity: "O(N) when N is the number of configuration parameters provided",
        syntax: "parameter [parameter ...]",
        handler: get,
        ..SUBCOMMAND
    },
    help::declare("config", Group::Server, "5.0.0"),
    Command {
        name: "resetstat",
        since: "2.0.0",
        summary: "Resets the server's statistics.",
        handler: resetstat,
        ..SUBCOMMAND
    },
    Command {
        name: "rewrite",
        since: "2.8.0",
        summary: "Persists the effective configuration to file.",
        handler: rewrite,
        ..SUBCOMMAND
    },
    Command {
        name: "set",
        arity: -4,
        since: "2.0.0",
        summary: "Sets configuration parameters in-flight.",
        complexity: "O(N) when N is the number of configuration parameters provided",
        syntax: "parameter value [parameter value ...]",
        handler: set,
        ..SUBCOMMAND
    },
];

fn get(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let patterns: Vec<&[u8]> = args.tail(2).iter().collect();
    let found = ctx.server.config.get_matching(&patterns);
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk_str(&name);
        reply.bulk_str(&value);
    }
    Ok(())
}

/// Whether a client runs on this machine.
pub fn is_local(client: &Client) -> bool {
    client.unix_socket || client.addr.starts_with("127.") || client.addr.starts_with("[::1]:")
}

const NOT_UTF8: &str = "the value is not valid UTF-8, and this server takes no other: write it in UTF-8";

fn set(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::SYNTAX);
    }
    let words: Vec<_> = args.tail(2).iter().collect();
    let names: Vec<_> = words.iter().step_by(2).map(|name| String::from_utf8_lossy(name)).collect();
    let mut pairs = Vec::with_capacity(names.len());
    for (name, value) in names.iter().zip(words.iter().skip(1).step_by(2)) {
        // What is kept of other bytes would not be what was meant: of a password above all.
        let value = std::str::from_utf8(value).map_err(|_| set_failed(name, NOT_UTF8))?;
        pairs.push((&**name, value));
    }
    let config = &ctx.server.config;
    let changed = config.set_many(&pairs, is_local(&ctx.session.client))?;
    let refused =
        changed.iter().find_map(|change| Some((change.name, take_effect(ctx.server, change.name).err()?)));
    if let Some((name, why)) = refused {
        config.restore(&changed);
        for change in &changed {
            // What took effect is taken back; where the old value came from, it can be used again.
            if let Err(error) = take_effect(ctx.server, change.name) {
                tracing::error!("CONFIG SET {} was not taken back: {error}", change.name.directive().name);
            }
        }
        return Err(set_failed(name.directive().name, &why));
    }
    reply.ok();
    Ok(())
}

/// Carries a changed value to where it is used.
fn take_effect(server: &Server, name: Name) -> Result<(), String> {
    apply_limits(&server.config);
    if name == Name::maxmemory {
        memory::refresh(server);
    }
    server.on_config.get().map_or(Ok(()), |hook| hook(name.directive().name))
}

/// Hands the `*-max-listpack-*`, `*-max-intset-*` and `stream-node-max-*` directives to the types. To be called once at start, too.
pub fn apply_limits(config: &Config) {
    let size = |number: i64| usize::try_from(number).unwrap_or(0);
    limits::HASH_MAX_LISTPACK_ENTRIES.store(size(config.hash_max_listpack_entries()), Relaxed);
    limits::HASH_MAX_LISTPACK_VALUE.store(config.hash_max_listpack_value() as usize, Relaxed);
    limits::SET_MAX_INTSET_ENTRIES.store(size(config.set_max_intset_entries()), Relaxed);
    limits::SET_MAX_LISTPACK_ENTRIES.store(size(config.set_max_listpack_entries()), Relaxed);
    limits::SET_MAX_LISTPACK_VALUE.store(config.set_max_listpack_value() as usize, Relaxed);
    limits::ZSET_MAX_LISTPACK_ENTRIES.store(size(config.zset_max_listpack_entries()), Relaxed);
    limits::ZSET_MAX_LISTPACK_VALUE.store(config.zset_max_listpack_value() as usize, Relaxed);
    limits::STREAM_NODE_MAX_BYTES.store(config.stream_node_max_bytes() as usize, Relaxed);
    limits::STREAM_NODE_MAX_ENTRIES.store(size(config.stream_node_max_entries()), Relaxed);
    limits::LIST_MAX_LISTPACK_SIZE.store(config.list_max_listpack_size(), Relaxed);
}

fn rewrite(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let hook = ctx.server.rewrite_config.get().filter(|_| ctx.server.config_file.is_some());
    let hook = hook.ok_or(CommandError::new("ERR The server is running without a config file"))?;
    hook().map_err(|error| CommandError::owned(format!("ERR Rewriting config file: {error}")))?;
    reply.ok();
    Ok(())
}

fn resetstat(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    ctx.server.stats.reset();
    ctx.server.memory.reset();
    reply.ok();
    Ok(())
}
