//! EVAL, EVALSHA and their read-only forms.

use std::sync::Arc;

use crate::command::scripts::{Script, parse_hex};
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group, KeySpec, memory};
use crate::error::CommandError;
use crate::resp::number::parse_i64;
use crate::resp::{Protocol, Reply};

use super::call::OUT_OF_MEMORY;
use super::evaluate::{Call, Failure};
use super::interpreter::Buffers;
use super::running::Running;
use super::{MEMORY_MAX, evaluate, interpreter, watch};

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
    let call = Call {
        function: interpreter.compile(script)?,
        keys: args.tail(3).first(keys),
        argv: args.tail(3 + keys),
        as_arguments: false,
    };
    let buffers = interpreter.take_buffers();
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
        args: buffers.args,
        reply: buffers.reply,
        ctx,
    };
    let outcome = running.enter(|| evaluate::run(&interpreter, call, reply));
    let killed_at = running.killed_at;
    interpreter.give_back(Buffers { args: running.args, reply: running.reply });
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
    interpreter.make_room();
    outcome.map_err(|failure| explain(&failure, script))
}

/// What a script's error is to the client.
fn explain(failure: &Failure, script: &Script) -> CommandError {
    let text = failure.text.as_deref().map_or("ERR unknown error".into(), String::from_utf8_lossy);
    let what = text.lines().next().unwrap_or_default();
    let sha = crate::command::scripts::hex(&script.sha);
    CommandError::owned(match &failure.place {
        Some((source, line)) => {
            format!("{what} script: {sha}, on {}:{line}.", String::from_utf8_lossy(source))
        }
        None => format!("{what} script: {sha}"),
    })
}
