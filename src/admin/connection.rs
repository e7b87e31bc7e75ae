//! PING, ECHO, QUIT, RESET, HELLO, AUTH, SELECT: one connection's own state.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::options::is;
use crate::command::session::ReplyMode;
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group};
use crate::command::{channels, tracking};
use crate::error::CommandError;
use crate::resp::number::parse_i64;
use crate::resp::{Protocol, Reply};

use super::{ANYTIME, DIRECT, REDIS_VERSION, client};

/// Works before AUTH, in MULTI too.
const HANDSHAKE: Flags = DIRECT.union(Flags::FAST).union(Flags::NO_AUTH).union(Flags::ALLOW_BUSY);

pub static COMMANDS: &[Command] = &[
    Command {
        name: "ping",
        arity: -1,
        flags: Flags::FAST,
        group: Group::Connection,
        summary: "Returns the server's liveliness response.",
        syntax: "[message]",
        handler: ping,
        ..Command::DEFAULT
    },
    Command {
        name: "echo",
        arity: 2,
        flags: ANYTIME.union(Flags::FAST),
        group: Group::Connection,
        summary: "Returns the given string.",
        syntax: "message",
        handler: echo,
        ..Command::DEFAULT
    },
    Command {
        name: "quit",
        arity: -1,
        flags: HANDSHAKE.union(Flags::NOT_QUEUED),
        group: Group::Connection,
        summary: "Closes the connection.",
        handler: quit,
        ..Command::DEFAULT
    },
    Command {
        name: "reset",
        arity: 1,
        flags: HANDSHAKE.union(Flags::NOT_QUEUED).union(Flags::TRANSACTION),
        group: Group::Connection,
        since: "6.2.0",
        summary: "Resets the connection.",
        handler: reset,
        ..Command::DEFAULT
    },
    Command {
        name: "hello",
        arity: -1,
        flags: HANDSHAKE,
        group: Group::Connection,
        since: "6.0.0",
        summary: "Handshakes with the server.",
        syntax: "[protover [AUTH username password] [SETNAME clientname]]",
        handler: hello,
        ..Command::DEFAULT
    },
    Command {
        name: "auth",
        arity: -2,
        flags: HANDSHAKE,
        group: Group::Connection,
        summary: "Authenticates the connection.",
        complexity: "O(N) where N is the number of passwords defined for the user",
        syntax: "[username] password",
        handler: auth,
        ..Command::DEFAULT
    },
    Command {
        name: "select",
        arity: 2,
        flags: ANYTIME.union(Flags::FAST),
        group: Group::Connection,
        summary: "Changes the selected database.",
        syntax: "index",
        handler: select,
        ..Command::DEFAULT
    },
];

fn ping(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    match args.len() {
        1 | 2 if reply.proto() == Protocol::Resp2 && ctx.session.is_subscribed() => {
            reply.array(2);
            reply.bulk_str("pong");
            reply.bulk(args.try_get(1).unwrap_or_default());
        }
        1 => reply.simple("PONG"),
        2 => reply.bulk(args.get(1)),
        _ => return Err(CommandError::wrong_arity("ping")),
    }
    Ok(())
}

fn echo(_: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.bulk(args.get(1));
    Ok(())
}

fn quit(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    ctx.session.close_after_reply = true;
    reply.ok();
    Ok(())
}

fn reset(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    ctx.session.multi = None;
    ctx.unwatch_all();
    channels::forget_session(ctx.server, ctx.session);
    tracking::end(ctx.server, ctx.session);
    let authenticated = ctx.server.config.requirepass().is_empty();
    let session = &mut *ctx.session;
    session.db = 0;
    session.proto = Protocol::Resp2;
    session.authenticated = authenticated;
    session.durability = None;
    // What CLIENT REPLY SKIP was about is this reply.
    if session.reply_mode != ReplyMode::Skip {
        session.reply_mode = ReplyMode::On;
    }
    session.no_touch = false;
    let client = &session.client;
    client.db.store(0, Relaxed);
    client.resp.store(2, Relaxed);
    client.multi.store(-1, Relaxed);
    client.no_evict.store(false, Relaxed);
    client.no_touch.store(false, Relaxed);
    client.name.lock().clear();
    reply.set_proto(Protocol::Resp2);
    reply.simple("RESET");
    Ok(())
}

/// The one user there is.
pub const DEFAULT_USER: &str = "default";

const WRONG_PASSWORD: CommandError =
    CommandError::new("WRONGPASS invalid username-password pair or user is disabled.");

/// Lets the two log in, or counts that they may not. Without a password anything logs the default user in.
fn log_in(ctx: &mut Ctx<'_>, user: &[u8], password: &[u8]) -> CommandResult {
    let expected = ctx.server.config.requirepass();
    if user != DEFAULT_USER.as_bytes() || !(expected.is_empty() || same_bytes(expected.as_bytes(), password))
    {
        ctx.server.stats.refused_logins.add(1);
        return Err(WRONG_PASSWORD);
    }
    ctx.session.authenticated = true;
    Ok(())
}

/// Takes the same time wherever the two differ.
fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

fn auth(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (user, password) = match args.len() {
        2 if ctx.server.config.requirepass().is_empty() => {
            return Err(CommandError::new(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
            ));
        }
        2 => (DEFAULT_USER.as_bytes(), args.get(1)),
        3 => (args.get(1), args.get(2)),
        _ => return Err(CommandError::SYNTAX),
    };
    log_in(ctx, user, password)?;
    reply.ok();
    Ok(())
}

fn hello(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let proto = match args.try_get(1).map(parse_i64) {
        None => None,
        Some(Some(2)) => Some(Protocol::Resp2),
        Some(Some(3)) => Some(Protocol::Resp3),
        Some(Some(_)) => return Err(CommandError::new("NOPROTO unsupported protocol version")),
        Some(None) => {
            return Err(CommandError::new("ERR Protocol version is not an integer or out of range"));
        }
    };
    let (mut login, mut name) = (None, None);
    let mut at = 2;
    while let Some(option) = args.try_get(at) {
        match (args.try_get(at + 1), args.try_get(at + 2)) {
            (Some(user), Some(password)) if is(option, "auth") => {
                login = Some((user, password));
                at += 3;
            }
            (Some(wanted), _) if is(option, "setname") => {
                name = Some(client::checked_name(wanted)?);
                at += 2;
            }
            _ => {
                let option = String::from_utf8_lossy(option);
                return Err(CommandError::owned(format!("ERR Syntax error in HELLO option '{option}'")));
            }
        }
    }
    match login {
        Some((user, password)) => log_in(ctx, user, password)?,
        None if !ctx.session.is_authenticated(&ctx.server.config) => {
            return Err(CommandError::new(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
            ));
        }
        None => {}
    }
    if let Some(name) = name {
        *ctx.session.client.name.lock() = name;
    }
    if let Some(proto) = proto {
        ctx.session.proto = proto;
        ctx.session.client.resp.store(proto as u32, Relaxed);
        reply.set_proto(proto);
    }
    greet(ctx, reply);
    Ok(())
}

/// HELLO's reply. Clients look for the name `redis`.
fn greet(ctx: &Ctx<'_>, reply: &mut Reply<'_>) {
    reply.map(7);
    reply.bulk_str("server");
    reply.bulk_str("redis");
    reply.bulk_str("version");
    reply.bulk_str(REDIS_VERSION);
    reply.bulk_str("proto");
    reply.integer(ctx.session.proto as i64);
    reply.bulk_str("id");
    reply.integer(ctx.session.client.id as i64);
    reply.bulk_str("mode");
    reply.bulk_str("standalone");
    reply.bulk_str("role");
    reply.bulk_str("master");
    reply.bulk_str("modules");
    reply.array(0);
}

fn select(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let index = crate::command::options::integer(args.get(1))?;
    if i32::try_from(index).is_err() {
        return Err(CommandError::new(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ));
    }
    let db = u32::try_from(index).ok().filter(|&db| i64::from(db) < ctx.server.config.databases());
    let db = db.ok_or(CommandError::new("ERR DB index is out of range"))?;
    ctx.session.db = db;
    ctx.session.client.db.store(db, Relaxed);
    reply.ok();
    Ok(())
}
