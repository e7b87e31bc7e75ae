//! EVAL, EVALSHA, FCALL and their read-only forms.

use std::sync::Arc;

use crate::command::scripts::{Script, ScriptFlags, Sha, parse_hex};
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group, KeySpec, memory};
use crate::error::CommandError;
use crate::resp::number::parse_i64;
use crate::resp::{Protocol, Reply};

use super::call::OUT_OF_MEMORY;
use super::evaluate::{Call, Failure};
use super::interpreter::{Buffers, Interpreter, Place};
use super::running::Running;
use super::{MEMORY_MAX, evaluate, interpreter, library, library_set, watch};

/// Of a script's digest, in hexadecimal.
const SHA_DIGITS: usize = 40;

const BASE: Flags = Flags::NOSCRIPT
    .union(Flags::STALE)
    .union(Flags::SKIP_MONITOR)
    .union(Flags::MAY_REPLICATE)
    .union(Flags::NO_MANDATORY_KEYS)
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
    Command {
        name: "fcall",
        since: "7.0.0",
        summary: "Invokes a function.",
        complexity: "Depends on the function that is executed.",
        syntax: "function numkeys [key [key ...]] [arg [arg ...]]",
        handler: |ctx, args, reply| fcall(ctx, args, reply, true),
        ..EVAL
    },
    Command {
        name: "fcall_ro",
        summary: "Invokes a read-only function.",
        complexity: "Depends on the function that is executed.",
        syntax: "function numkeys [key [key ...]] [arg [arg ...]]",
        handler: |ctx, args, reply| fcall(ctx, args, reply, false),
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
    let unknown = CommandError::new("NOSCRIPT No matching script. Please use EVAL.");
    // What is too long or too short for a digest is no script before anything else is looked at.
    if args.get(1).len() != SHA_DIGITS {
        return Err(unknown);
    }
    let keys = count_of_keys(args)?;
    let script = parse_hex(args.get(1)).and_then(|sha| ctx.server.scripts.get(&sha));
    let script = script.ok_or(unknown)?;
    run(ctx, &script, keys, args, reply, may_write)
}

fn count_of_keys(args: Args<'_>) -> Result<usize, CommandError> {
    checked_count(parse_i64(args.get(2)).ok_or(CommandError::NOT_INTEGER)?, args)
}

fn checked_count(count: i64, args: Args<'_>) -> Result<usize, CommandError> {
    if count > args.len() as i64 - 3 {
        return Err(CommandError::new("ERR Number of keys can't be greater than number of args"));
    }
    usize::try_from(count).map_err(|_| CommandError::new("ERR Number of keys can't be negative"))
}

/// What is run.
struct Program<'a> {
    function: Place,
    flags: ScriptFlags,
    what: What<'a>,
}

#[derive(Clone, Copy)]
enum What<'a> {
    Script(&'a Sha),
    Function(&'a str),
}

impl What<'_> {
    /// The name in errors.
    fn name(self) -> String {
        match self {
            Self::Script(sha) => crate::command::scripts::hex(sha),
            Self::Function(name) => name.to_owned(),
        }
    }

    const fn chunk(self) -> &'static str {
        match self {
            Self::Script(_) => "@user_script",
            Self::Function(_) => "@user_function",
        }
    }
}

fn run(
    ctx: &mut Ctx<'_>,
    script: &Script,
    keys: usize,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    may_write: bool,
) -> CommandResult {
    let is_short = admit(ctx, script.flags, may_write)?;
    let interpreter = interpreter::get(MEMORY_MAX)?;
    let function = interpreter.compile(script)?;
    let program = Program { function, flags: script.flags, what: What::Script(&script.sha) };
    execute(ctx, &interpreter, &program, keys, args, reply, may_write, is_short)
}

fn fcall(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, may_write: bool) -> CommandResult {
    let libraries = library_set::known(ctx);
    let found = libraries.function(args.get(1));
    let (library, function) = found.ok_or(CommandError::new("ERR Function not found"))?;
    ctx.depend_on_library(library.name.as_bytes());
    let count = parse_i64(args.get(2)).ok_or(CommandError::new("ERR Bad number of keys provided"))?;
    let keys = checked_count(count, args)?;
    let flags = ScriptFlags {
        no_writes: function.flags.no_writes(),
        allow_oom: function.flags.allow_oom(),
        declared: true,
    };
    let is_short = admit(ctx, flags, may_write)?;
    let interpreter = interpreter::get(MEMORY_MAX)?;
    let place = library::place(&interpreter, &libraries, library, function, &ctx.server.clock)?;
    let program = Program { function: place, flags, what: What::Function(&function.name) };
    execute(ctx, &interpreter, &program, keys, args, reply, may_write, is_short)
}

/// Whether it may run at all; true if it may call nothing that takes memory.
fn admit(ctx: &Ctx<'_>, flags: ScriptFlags, may_write: bool) -> Result<bool, CommandError> {
    let is_short = ctx.server.config.maxmemory() > 0 && !flags.allow_oom && memory::excess(ctx.server) > 0;
    if is_short && flags.declared && !flags.no_writes {
        return Err(OUT_OF_MEMORY);
    }
    if flags.declared && !flags.no_writes && !may_write {
        return Err(CommandError::new("ERR Can not execute a script with write flag using *_ro command."));
    }
    Ok(is_short)
}

#[expect(clippy::too_many_arguments, reason = "what a run needs, from two callers in this file")]
fn execute(
    ctx: &mut Ctx<'_>,
    interpreter: &Interpreter,
    program: &Program<'_>,
    keys: usize,
    args: Args<'_>,
    reply: &mut Reply<'_>,
    may_write: bool,
    is_short: bool,
) -> CommandResult {
    let function = match program.what {
        What::Script(_) => None,
        What::Function(name) => Some((name, args)),
    };
    let call = Call {
        function: program.function,
        keys: args.tail(3).first(keys),
        argv: args.tail(3 + keys),
        as_arguments: function.is_some(),
    };
    let buffers = interpreter.take_buffers();
    let server = ctx.server;
    let db = ctx.session.db;
    let may_block = std::mem::replace(&mut ctx.may_block, false);
    server.scripts.begin(function.is_some());
    let mut running = Running {
        proto: Protocol::Resp2,
        may_write: may_write && !program.flags.no_writes,
        out_of_memory: is_short,
        wrote: false,
        killed_at: None,
        started: server.clock.monotonic(),
        function,
        args: buffers.args,
        reply: buffers.reply,
        ctx,
    };
    let outcome = running.enter(|| evaluate::run(interpreter, call, reply));
    let killed_at = running.killed_at;
    interpreter.give_back(Buffers { args: running.args, reply: running.reply });
    // What it has selected was for itself.
    ctx.session.db = db;
    ctx.may_block = may_block;
    server.scripts.end();
    if let Some(line) = killed_at {
        // What it left on the way out, its hook at every instruction included, is of no use to others.
        interpreter::forget();
        let (name, chunk) = (program.what.name(), program.what.chunk());
        return Err(CommandError::owned(format!("{} script: {name}, on {chunk}:{line}.", watch::KILLED)));
    }
    interpreter.make_room();
    outcome.map_err(|failure| explain(&failure, program.what))
}

/// What a script's error is to the client.
fn explain(failure: &Failure, what: What<'_>) -> CommandError {
    let text = failure.text.as_deref().map_or("ERR unknown error".into(), String::from_utf8_lossy);
    let name = what.name();
    CommandError::owned(match &failure.place {
        Some((source, line)) => {
            format!("{text} script: {name}, on {}:{line}.", String::from_utf8_lossy(source))
        }
        None => format!("{text} script: {name}"),
    })
}
