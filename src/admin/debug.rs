//! DEBUG: what tests and the curious ask for. Refused unless `enable-debug-command` allows it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::command::options::is;
use crate::command::server::ShutdownRequest;
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group};
use crate::config::Allow;
use crate::error::CommandError;
use crate::glob;
use crate::keyspace::access::Recency;
use crate::keyspace::digest;
use crate::resp::number::{parse_f64, parse_i64};
use crate::resp::{Protocol, Reply};

use super::{ADMIN, backup, config, digests, help};

pub static COMMANDS: &[Command] = &[Command {
    name: "debug",
    arity: -2,
    // All keys: DEBUG SLEEP is to stop the whole server, DEBUG OBJECT looks at a key that no specification names.
    flags: ADMIN.union(Flags::ALL_KEYS),
    group: Group::Server,
    summary: "A container for debugging commands.",
    complexity: "Depends on subcommand.",
    handler: debug,
    ..Command::DEFAULT
}];

const NOT_ALLOWED: CommandError = CommandError::new(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
);

const LINES: [&str; 30] = [
    "CHANGE-REPL-ID",
    "    Accepted; there are no replicas.",
    "DIGEST",
    "    A digest of all keys and what they hold; zeros if there are none.",
    "DIGEST-KEYS <slot>",
    "    The LSN at which the keys of a slot were looked at, and of each: database, key, digest. Allowed by enable-backup-command.",
    "DIGEST-SLOTS <first> <count>",
    "    Of each of these slots the LSN at which it was looked at (8 bytes) and the digest of its keys (16 bytes). Allowed by enable-backup-command.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Digests of values; zeros for a key that is not there.",
    "ERROR <message>",
    "    Replies with an error of this text.",
    "LOADAOF",
    "    Restarts from disk.",
    "LOG <message>",
    "    Writes a message to the server's log.",
    "OBJECT <key>",
    "    Shows how a key's value is kept.",
    "PROTOCOL <type>",
    "    Replies with a value of this type: string, integer, double, bignum, null, array, set, map, verbatim, true, false.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Accepted; elements of any size are kept the same way.",
    "RELOAD",
    "    Restarts from disk.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Whether keys whose time has come are looked for when nobody asks for them.",
    "SLEEP <seconds>",
    "    Stops the whole server for a while. Decimals are allowed.",
    "STRINGMATCH-LEN <pattern> <string>",
    "    Matches a string against a pattern.",
];

fn debug(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let word = args.get(1);
    let is_of_slots = is(word, "digest-slots") || is(word, "digest-keys");
    let allowed = match ctx.server.config.enable_debug_command() {
        Allow::Yes => true,
        Allow::Local => config::is_local(&ctx.session.client),
        Allow::No => false,
    };
    // What they tell stands in a backup, too.
    if !(allowed || is_of_slots && backup::is_allowed(ctx)) {
        return Err(NOT_ALLOWED);
    }
    let looks_at_keys = ["object", "digest", "digest-value"].iter().any(|name| is(word, name));
    if looks_at_keys && ctx.server.store.get().is_none() {
        return Err(CommandError::LOADING);
    }
    match args.len() {
        2 if is(word, "help") => help::write(reply, "debug", LINES.iter().map(|line| (*line).to_owned())),
        2 if is(word, "change-repl-id") => reply.ok(),
        2 if is(word, "loadaof") => restart(ctx, reply)?,
        2.. if is(word, "reload") => restart(ctx, reply)?,
        2 if is(word, "digest") => {
            reply.simple(&digest::of_all(ctx.held()).to_string());
            ctx.depend_on_everything();
        }
        3 if is(word, "digest-keys") => digests::keys(ctx, args, reply)?,
        4 if is(word, "digest-slots") => digests::slots(ctx, args, reply)?,
        2.. if is(word, "digest-value") => digests::values(ctx, args, reply),
        3 if is(word, "error") => reply.error_bytes(args.get(2)),
        3 if is(word, "log") => {
            tracing::warn!("DEBUG LOG: {}", args.get(2).escape_ascii());
            reply.ok();
        }
        3 if is(word, "object") => object(ctx, args.get(2), reply)?,
        3 if is(word, "protocol") => protocol(args.get(2), reply)?,
        3 if is(word, "quicklist-packed-threshold") => reply.ok(),
        3 if is(word, "set-active-expire") => {
            ctx.server.active_expire.store(parse_i64(args.get(2)) != Some(0), Relaxed);
            reply.ok();
        }
        3 if is(word, "sleep") => sleep(args.get(2), reply),
        4 if is(word, "stringmatch-len") => {
            reply.integer(i64::from(glob::matches(args.get(2), args.get(3))));
        }
        _ => return Err(help::misused("debug", word)),
    }
    Ok(())
}

/// Everything is in the log: what is read back at the start is what there is now.
fn restart(ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if ctx.server.config_from_stdin {
        return Err(CommandError::new(
            "ERR The server would start again without its configuration, which came from standard input. Start it with a \
             configuration file for this command.",
        ));
    }
    ctx.server.request_shutdown(ShutdownRequest { restart: true, now: false });
    reply.ok();
    Ok(())
}

/// With every stripe locked, so that it is as if the process had been stopped. Redis reads anything but a number as 0.
fn sleep(seconds: &[u8], reply: &mut Reply<'_>) {
    const SECONDS_MAX: f64 = 1e6;
    let seconds = parse_f64(seconds).unwrap_or(0.0).clamp(0.0, SECONDS_MAX);
    std::thread::sleep(Duration::from_secs_f64(seconds));
    reply.ok();
}

fn object(ctx: &mut Ctx<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
    let (now_s, up_s) = (ctx.now_ms / 1000, ctx.server.uptime().as_secs());
    let entry = ctx.entry_quietly(key).ok_or(CommandError::NO_SUCH_KEY)?;
    let access = entry.access();
    let idle_s = Recency { touches: false, now_s }.idle_s(access, up_s);
    let text = format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{} lru:{access} lru_seconds_idle:{idle_s}",
        entry.key().as_ptr(),
        entry.encoding(),
        entry.heap_bytes(),
    );
    reply.simple(&text);
    Ok(())
}

/// One value of each type of the protocol, for tests of clients.
#[allow(clippy::approx_constant, reason = "Redis' sample double is 3.141, not a rounded pi")]
fn protocol(kind: &[u8], reply: &mut Reply<'_>) -> CommandResult {
    let three = |reply: &mut Reply<'_>| (0..3).for_each(|i| reply.integer(i));
    match kind {
        _ if is(kind, "string") => reply.bulk_str("Hello World"),
        _ if is(kind, "integer") => reply.integer(12345),
        _ if is(kind, "double") => reply.double(3.141),
        _ if is(kind, "bignum") => reply.big_number("1234567999999999999999999999999999999"),
        _ if is(kind, "null") => reply.null(),
        _ if is(kind, "array") => {
            reply.array(3);
            three(reply);
        }
        _ if is(kind, "set") => {
            reply.set(3);
            three(reply);
        }
        _ if is(kind, "map") => {
            reply.map(3);
            for i in 0..3 {
                reply.integer(i);
                reply.boolean(i == 1);
            }
        }
        _ if is(kind, "attrib") => {
            if reply.proto() == Protocol::Resp3 {
                reply.raw(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n");
            }
            reply.bulk_str("Some real reply following the attribute");
        }
        _ if is(kind, "push") => {
            if reply.proto() == Protocol::Resp2 {
                return Err(CommandError::new("ERR RESP2 is not supported by this command"));
            }
            reply.push(2);
            reply.bulk_str("server-cpu-usage");
            reply.integer(42);
            reply.bulk_str("Some real reply following the push reply");
        }
        _ if is(kind, "verbatim") => reply.verbatim(b"txt", b"This is a verbatim\nstring"),
        _ if is(kind, "true") => reply.boolean(true),
        _ if is(kind, "false") => reply.boolean(false),
        _ => {
            return Err(CommandError::new(
                "ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}
