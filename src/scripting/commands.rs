//! EVAL, EVALSHA and their read-only forms.

use std::sync::Arc;

use mlua::{Table, Value};

use crate::command::scripts::{Script, parse_hex};
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group, KeySpec, memory};
use crate::error::CommandError;
use crate::resp::number::parse_i64;
use crate::resp::{OwnedArgs, Protocol, Reply};

use super::call::OUT_OF_MEMORY;
use super::running::Running;
use super::{MEMORY_MAX, convert, interpreter, watch};

const BASE: Flags = Flags::NOSCRIPT
    .union(Flags::STALE)
    .union(Flags::SKIP_MONITOR)
    .union(Flags::MAY_REPLICATE)
    .union(Flags::MOVABLEKEYS)
    .union(Flags::SCRIPT)
    .union(Flags::ALL_KEYS);

const EVAL: Command = Command {
    arity: -3,
    flags: BASE,
    keys: &[KeySpec::counted(2, &["RW", "access", "update"])],
    group: Group::Scripting,
    since: "2.6.0",
    complexity: "Depends on the script that is executed.",
    ..Command::DEFAULT
};

const EVAL_RO: Command = Command {
    flags: BASE.difference(Flags::MAY_REPLICATE).union(Flags::READONLY),
    keys: &[KeySpec::counted(2, &["RO", "access"])],
    since: "7.0.0",
    ..EVAL
};

pub static COMMANDS: &[Command] = &[
    Command {
        name: "eval",
        summary: "Executes a server-side Lua script.",
        syntax: "script numkeys [key [key ...]] [arg [arg ...]]",
        handler: |ctx, args, reply| eval(ctx, args, reply, true),
        ..EVAL
    },
    Command {
        name: "evalsha",
        summary: "Executes a server-side Lua script by SHA1 digest.",
        syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        handler: |ctx, args, reply| evalsha(ctx, args, reply, true),
        ..EVAL
    },
    Command {
        name: "eval_ro",
        summary: "Executes a read-only server-side Lua script.",
        syntax: "script numkeys [key [key ...]] [arg [arg ...]]",
        handler: |ctx, args, reply| eval(ctx, args, reply, false),
        ..EVAL_RO
    },
    Command {
        name: "evalsha_ro",
        summary: "Executes a read-only server-side Lua script by SHA1 digest.",
        syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        handler: |ctx, args, reply| evalsha(ctx, args, reply, false),
        ..EVAL_RO
    },
];

fn eval(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, may_write: bool) -> CommandResult {
    let keys = count_of_keys(args)?;
    let scripts = &ctx.server.scripts;
    let known = scripts.get(&crate::command::scripts::sha_of(args.get(1)));
    let (script, is_new) = match known {
        Some(script) => (script, false),
        None => (Arc::new(Script::new(args.get(1))?), true),
    };
    if is_new {
        // One that does not compile is not kept.
        interpreter::get(MEMORY_MAX)?.compile(&script)?;
        scripts.keep(&script, false);
    }
    run(ctx, &script, keys, args, reply, may_write)
}

fn evalsha(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, may_write: bool) -> CommandResult {
    let script = parse_hex(args.get(1)).and_then(|sha| ctx.server.scripts.get(&sha));
    let script = script.ok_or(CommandError::new("NOSCRIPT No matching script. Please use EVAL."))?;
    let keys = count_of_keys(args)?;
    run(ctx, &script, keys, args, reply, may_write)
}

fn count_of_keys(args: Args<'_>) -> Result<usize, CommandError> {
    let count = parse_i64(args.get(2)).ok_or(CommandError::NOT_INTEGER)?;
    if count > args.len() as i64 - 3 {
        return Err(CommandError::new("ERR Number of keys can't be greater than number of args"));
    }
    usize::try_from(count).map_err(|_| CommandError::new("ERR Number of keys can't be negative"))
}

fn run(
    ctx: &mut Ctx<'_>,
    script: &Script,
    keys: usize,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    may_write: bool,
) -> CommandResult {
    let flags = script.flags;
    let is_short = ctx.server.config.maxmemory() > 0 && !flags.allow_oom && memory::excess(ctx.server) > 0;
    if is_short && flags.declared && !flags.no_writes {
        return Err(OUT_OF_MEMORY);
    }
    if flags.declared && !flags.no_writes && !may_write {
        return Err(CommandError::new("ERR Can not execute a script with write flag using *_ro command."));
    }
    let interpreter = interpreter::get(MEMORY_MAX)?;
    let function = interpreter.compile(script)?;
    let lua = &interpreter.lua;
    let broken = |e: mlua::Error| CommandError::owned(format!("ERR {e}"));
    let table = |args: &mut dyn ExactSizeIterator<Item = &[u8]>| -> mlua::Result<Table> {
        let table = lua.create_table_with_capacity(args.len(), 0)?;
        for (at, arg) in args.enumerate() {
            table.raw_set(at + 1, lua.create_string(arg)?)?;
        }
        Ok(table)
    };
    let named = table(&mut args.tail(3).iter().take(keys)).map_err(broken)?;
    let argv = table(&mut args.tail(3 + keys).iter()).map_err(broken)?;
    let server = ctx.server;
    let db = ctx.session.db;
    let may_block = std::mem::replace(&mut ctx.may_block, false);
    server.scripts.begin(false);
    let mut running = Running {
        proto: Protocol::Resp2,
        may_write: may_write && !flags.no_writes,
        out_of_memory: is_short,
        wrote: false,
        killed_at: None,
        started: server.clock.monotonic(),
        args: OwnedArgs::default(),
        reply: Vec::new(),
        ctx,
    };
    let outcome = running.enter(|| interpreter.run(&function, named, argv));
    let (proto, killed_at) = (running.proto, running.killed_at);
    // What it has selected was for itself.
    ctx.session.db = db;
    ctx.may_block = may_block;
    server.scripts.end();
    if let Some(line) = killed_at {
        // What it left on the way out, its hook at every instruction included, is of no use to others.
        interpreter::forget();
        return Err(CommandError::owned(format!(
            "{} script: {}, on @user_script:{line}.",
            watch::KILLED,
            crate::command::scripts::hex(&script.sha)
        )));
    }
    let result = match &outcome {
        Ok((true, value)) => convert::to_reply(value, proto, reply).map_err(broken),
        Ok((false, failure)) => Err(explain(failure, script)),
        Err(error) => Err(CommandError::owned(format!("ERR {}", first_line(&error.to_string())))),
    };
    drop(outcome);
    interpreter.make_room();
    result
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// What a script's error is to the client.
fn explain(failure: &Value, script: &Script) -> CommandError {
    let sha = crate::command::scripts::hex(&script.sha);
    let table = match failure {
        Value::Table(table) => table,
        // What Lua itself says where nothing of a script can run any more: out of memory, an error while an error is handled.
        Value::String(text) => {
            return CommandError::owned(format!("ERR {} script: {sha}", first_line(&text.to_string_lossy())));
        }
        _ => return CommandError::new("ERR unknown error"),
    };
    let text = |name: &str| match table.raw_get::<Value>(name) {
        Ok(Value::String(text)) => Some(text.to_string_lossy()),
        _ => None,
    };
    let what = text("err").unwrap_or_else(|| "ERR unknown error".to_owned());
    let what = first_line(&what);
    match (text("source"), table.raw_get::<Value>("line")) {
        (Some(source), Ok(line)) if !line.is_nil() => {
            let line = line.as_integer().or_else(|| line.as_number().map(|line| line as i64)).unwrap_or(-1);
            CommandError::owned(format!("{what} script: {sha}, on {source}:{line}."))
        }
        _ => CommandError::owned(format!("{what} script: {sha}")),
    }
}
