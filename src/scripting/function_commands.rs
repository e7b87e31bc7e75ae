//! FUNCTION: the libraries of functions.

use std::sync::Arc;

use crate::admin::help;
use crate::command::libraries::{Libraries, Library};
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group};
use crate::error::CommandError;
use crate::glob;
use crate::rdb;
use crate::resp::Reply;

use super::{MEMORY_MAX, interpreter, library, library_set};

/// Redis' RDB opcode of a library, whose code follows as a string.
const RDB_FUNCTION: u8 = 245;
/// The oldest version that has it, so that Redis 7.0 reads what is written here.
const RDB_VERSION: u16 = 10;

pub static COMMANDS: &[Command] = &[Command {
    name: "function",
    arity: -2,
    flags: Flags::empty(),
    group: Group::Scripting,
    since: "7.0.0",
    summary: "A container for function commands.",
    complexity: "Depends on subcommand.",
    subcommands: SUBCOMMANDS,
    ..Command::DEFAULT
}];

const SUBCOMMAND: Command = Command {
    parent: "function",
    flags: Flags::NOSCRIPT.union(Flags::ALL_KEYS),
    group: Group::Scripting,
    since: "7.0.0",
    ..Command::DEFAULT
};

const CHANGES: Flags = Flags::WRITE.union(SUBCOMMAND.flags);

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "delete",
        arity: 3,
        flags: CHANGES,
        summary: "Deletes a library and its functions.",
        complexity: "O(1)",
        syntax: "library-name",
        handler: delete,
        ..SUBCOMMAND
    },
    Command {
        name: "dump",
        arity: 2,
        summary: "Dumps all libraries into a serialized binary payload.",
        complexity: "O(N) where N is the number of functions",
        handler: dump,
        ..SUBCOMMAND
    },
    Command {
        name: "flush",
        arity: -2,
        flags: CHANGES,
        summary: "Deletes all libraries and functions.",
        complexity: "O(N) where N is the number of functions deleted",
        syntax: "[ASYNC | SYNC]",
        handler: flush,
        ..SUBCOMMAND
    },
    help::declare("function", Group::Scripting, "7.0.0"),
    Command {
        name: "kill",
        arity: 2,
        flags: Flags::NOSCRIPT.union(Flags::ALLOW_BUSY),
        summary: "Terminates a function during execution.",
        complexity: "O(1)",
        handler: kill,
        ..SUBCOMMAND
    },
    Command {
        name: "list",
        arity: -2,
        summary: "Returns information about all libraries.",
        complexity: "O(N) where N is the number of functions",
        syntax: "[LIBRARYNAME library-name-pattern] [WITHCODE]",
        handler: list,
        ..SUBCOMMAND
    },
    Command {
        name: "load",
        arity: -3,
        flags: CHANGES.union(Flags::DENYOOM),
        summary: "Creates a library.",
        complexity: "O(1) (considering compilation time is redundant)",
        syntax: "[REPLACE] function-code",
        handler: load,
        ..SUBCOMMAND
    },
    Command {
        name: "restore",
        arity: -3,
        flags: CHANGES.union(Flags::DENYOOM),
        summary: "Restores all libraries from a payload.",
        complexity: "O(N) where N is the number of functions on the payload",
        syntax: "serialized-value [FLUSH | APPEND | REPLACE]",
        handler: restore,
        ..SUBCOMMAND
    },
    Command {
        name: "stats",
        arity: 2,
        flags: Flags::NOSCRIPT.union(Flags::ALLOW_BUSY),
        summary: "Returns information about a function during execution.",
        complexity: "O(1)",
        handler: stats,
        ..SUBCOMMAND
    },
];

/// Runs a library's code and adds what it registers.
fn add(
    ctx: &Ctx<'_>,
    libraries: &mut Libraries,
    code: &[u8],
    replace: bool,
) -> Result<Arc<Library>, CommandError> {
    let (name, _) = library::header(code)?;
    if libraries.get(&name).is_some() && !replace {
        return Err(CommandError::owned(format!("ERR Library '{name}' already exists")));
    }
    let interpreter = interpreter::get(MEMORY_MAX)?;
    let loaded = library::load(&interpreter, code, &ctx.server.clock, library::LOAD_MAX);
    interpreter.make_room();
    let loaded = loaded?;
    let library = Arc::new(Library::new(name, code, loaded.functions));
    interpreter.note_library(library.id, loaded.places);
    libraries.remove(&library.name);
    libraries.add(library.clone())?;
    Ok(library)
}

fn load(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (options, code) = (args.first(args.len() - 1).tail(2), args.get(args.len() - 1));
    for option in options.iter() {
        if !option.eq_ignore_ascii_case(b"replace") {
            let option = String::from_utf8_lossy(option);
            return Err(CommandError::owned(format!("ERR Unknown option given: {option}")));
        }
    }
    let old = library_set::known(ctx);
    let mut new = Libraries::clone(&old);
    let library = add(ctx, &mut new, code, !options.is_empty())?;
    library_set::replace(ctx, &old, new)?;
    reply.bulk_str(&library.name);
    Ok(())
}

fn delete(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let old = library_set::known(ctx);
    let mut new = Libraries::clone(&old);
    if !std::str::from_utf8(args.get(2)).is_ok_and(|name| new.remove(name)) {
        return Err(CommandError::new("ERR Library not found"));
    }
    library_set::replace(ctx, &old, new)?;
    reply.ok();
    Ok(())
}

fn flush(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if args.len() > 3 {
        return Err(help::misused("function", args.get(1)));
    }
    let is_mode = |arg: &[u8]| arg.eq_ignore_ascii_case(b"sync") || arg.eq_ignore_ascii_case(b"async");
    if args.try_get(2).is_some_and(|arg| !is_mode(arg)) {
        return Err(CommandError::new("ERR FUNCTION FLUSH only supports SYNC|ASYNC option"));
    }
    let old = library_set::known(ctx);
    library_set::replace(ctx, &old, Libraries::default())?;
    if let Some(interpreter) = interpreter::current() {
        interpreter.keep_libraries(&|_| false);
    }
    reply.ok();
    Ok(())
}

fn list(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (mut pattern, mut with_code) = (None, false);
    let mut words = args.tail(2).iter();
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case(b"withcode") && !with_code {
            with_code = true;
        } else if word.eq_ignore_ascii_case(b"libraryname") && pattern.is_none() {
            let given = words.next();
            pattern = Some(given.ok_or(CommandError::new("ERR library name argument was not given"))?);
        } else {
            let word = String::from_utf8_lossy(word);
            return Err(CommandError::owned(format!("ERR Unknown argument {word}")));
        }
    }
    ctx.depend_on_everything();
    let known = library_set::known(ctx);
    let wanted =
        |name: &str| pattern.is_none_or(|pattern| glob::matches_ignore_case(pattern, name.as_bytes()));
    let shown: Vec<_> = known.iter().filter(|library| wanted(&library.name)).collect();
    reply.array(shown.len());
    shown.into_iter().for_each(|library| show(library, with_code, reply));
    Ok(())
}

fn show(library: &Library, with_code: bool, reply: &mut Reply<'_>) {
    reply.map(3 + usize::from(with_code));
    reply.bulk_str("library_name");
    reply.bulk_str(&library.name);
    reply.bulk_str("engine");
    reply.bulk_str("LUA");
    reply.bulk_str("functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        reply.map(3);
        reply.bulk_str("name");
        reply.bulk_str(&function.name);
        reply.bulk_str("description");
        reply.bulk_or_null(function.description.as_deref());
        reply.bulk_str("flags");
        let flags = function.flags.names();
        reply.set(flags.len());
        flags.for_each(|flag| reply.simple(flag));
    }
    if with_code {
        reply.bulk_str("library_code");
        reply.bulk(&library.code);
    }
}

fn dump(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    ctx.depend_on_everything();
    let mut payload = Vec::new();
    for library in library_set::known(ctx).iter() {
        payload.push(RDB_FUNCTION);
        rdb::put_string(&mut payload, &library.code);
    }
    rdb::seal(&mut payload, RDB_VERSION);
    reply.bulk(&payload);
    Ok(())
}

/// What RESTORE does with libraries that are there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    Append,
    Replace,
    Flush,
}

fn restore(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if args.len() > 4 {
        return Err(help::misused("function", args.get(1)));
    }
    let policy = match args.try_get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"append") => Policy::Append,
        Some(b"replace") => Policy::Replace,
        Some(b"flush") => Policy::Flush,
        Some(_) => {
            return Err(CommandError::new(
                "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            ));
        }
    };
    let payload = rdb::open(args.get(2));
    let payload = payload.ok_or(CommandError::new("ERR DUMP payload version or checksum are wrong"))?;
    let given = libraries_of(ctx, payload)?;
    let old = library_set::known(ctx);
    let mut new = if policy == Policy::Flush { Libraries::default() } else { Libraries::clone(&old) };
    for library in given.iter() {
        if new.remove(&library.name) && policy == Policy::Append {
            return Err(CommandError::owned(format!("ERR Library {} already exists", library.name)));
        }
    }
    given.iter().try_for_each(|library| new.add(library.clone()))?;
    library_set::replace(ctx, &old, new)?;
    reply.ok();
    Ok(())
}

fn libraries_of(ctx: &Ctx<'_>, payload: &[u8]) -> Result<Libraries, CommandError> {
    let mut libraries = Libraries::default();
    let mut input = rdb::Input::new(payload);
    while !input.is_empty() {
        if input.u8() != Ok(RDB_FUNCTION) {
            return Err(CommandError::new("ERR given type is not a function"));
        }
        let code = input.string().map_err(|_| CommandError::new("ERR Failed loading library payload"))?;
        add(ctx, &mut libraries, &code, false)?;
    }
    Ok(libraries)
}

fn kill(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    ctx.server.scripts.kill(true)?;
    reply.ok();
    Ok(())
}

/// Needs no lock: a function that runs has them all.
fn stats(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let running = ctx.server.scripts.busy_function()?;
    let known = library_set::known(ctx);
    reply.map(2);
    reply.bulk_str("running_script");
    match running {
        None => reply.null(),
        Some(running) => {
            let duration = ctx.server.clock.monotonic().saturating_sub(running.started);
            reply.map(3);
            reply.bulk_str("name");
            reply.bulk_str(&running.name);
            reply.bulk_str("command");
            reply.array(running.command.len());
            running.command.iter().for_each(|word| reply.bulk(word));
            reply.bulk_str("duration_ms");
            reply.integer(duration.as_millis() as i64);
        }
    }
    reply.bulk_str("engines");
    reply.map(1);
    reply.bulk_str("LUA");
    reply.map(2);
    reply.bulk_str("libraries_count");
    reply.integer(known.len() as i64);
    reply.bulk_str("functions_count");
    reply.integer(known.functions() as i64);
    Ok(())
}
