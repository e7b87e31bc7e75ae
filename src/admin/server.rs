//! TIME, ROLE, SHUTDOWN, LOLWUT, MODULE LIST, WAITAOF; INFO has its own file.

use crate::command::options::{integer, is};
use crate::command::server::ShutdownRequest;
use crate::command::snapshots::{Then, Wish};
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group, Nil};
use crate::error::CommandError;
use crate::resp::Reply;

use super::{ADMIN, ANYTIME, DIRECT, REDIS_VERSION, client, help, info};

const MODULE: &[Command] = &[
    help::declare("module", Group::Server, "5.0.0"),
    Command {
        name: "list",
        parent: "module",
        arity: 2,
        flags: Flags::ADMIN.union(Flags::NOSCRIPT),
        group: Group::Server,
        since: "4.0.0",
        summary: "Returns all loaded modules.",
        complexity: "O(N) where N is the number of loaded modules.",
        handler: module_list,
        ..Command::DEFAULT
    },
];

pub static COMMANDS: &[Command] = &[
    info::INFO,
    Command {
        name: "time",
        arity: 1,
        flags: ANYTIME.union(Flags::FAST),
        group: Group::Server,
        since: "2.6.0",
        summary: "Returns the server time.",
        handler: time,
        ..Command::DEFAULT
    },
    Command {
        name: "role",
        arity: 1,
        flags: DIRECT.union(Flags::FAST),
        group: Group::Server,
        since: "2.8.12",
        summary: "Returns the replication role.",
        acl: &["admin", "dangerous"],
        handler: role,
        ..Command::DEFAULT
    },
    Command {
        name: "shutdown",
        arity: -1,
        flags: ADMIN.union(Flags::NO_MULTI).union(Flags::ALLOW_BUSY),
        group: Group::Server,
        summary: "Syncs everything to disk and shuts down the server.",
        complexity: "O(N) where N is the number of bytes not yet synced",
        syntax: "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        handler: shutdown,
        ..Command::DEFAULT
    },
    Command {
        name: "lolwut",
        arity: -1,
        flags: Flags::READONLY.union(Flags::FAST),
        group: Group::Server,
        since: "5.0.0",
        summary: "Displays computer art and the server's version.",
        syntax: "[VERSION version]",
        handler: lolwut,
        ..Command::DEFAULT
    },
    Command {
        name: "module",
        arity: -2,
        flags: Flags::empty(),
        group: Group::Server,
        since: "4.0.0",
        summary: "A container for module commands.",
        complexity: "Depends on subcommand.",
        subcommands: MODULE,
        ..Command::DEFAULT
    },
    Command {
        name: "wait",
        arity: 3,
        group: Group::Generic,
        since: "3.0.0",
        summary: "Blocks until the asynchronous replication of all preceding write commands sent by the connection is completed.",
        syntax: "numreplicas timeout",
        acl: &["connection"],
        handler: wait,
        ..Command::DEFAULT
    },
    Command {
        name: "waitaof",
        arity: 4,
        flags: Flags::NOSCRIPT.union(Flags::BLOCKING),
        group: Group::Generic,
        since: "7.2.0",
        summary: "Blocks until all of the preceding write commands sent by the connection are written to the append-only file of the server and/or replicas.",
        syntax: "numlocal numreplicas timeout",
        acl: &["connection"],
        handler: waitaof,
        ..Command::DEFAULT
    },
];

fn time(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let now_us = ctx.server.clock.wall_us();
    reply.array(2);
    reply.bulk_integer((now_us / 1_000_000) as i64);
    reply.bulk_integer((now_us % 1_000_000) as i64);
    Ok(())
}

fn role(_: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.array(3);
    reply.bulk_str("master");
    reply.integer(0);
    reply.array(0);
    Ok(())
}

fn module_list(_: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.array(0);
    Ok(())
}

/// Writes no reply: the connection ends with the server. Everything is synced in any case. SAVE makes a snapshot first, so that the
/// next start has no log to replay; if that fails there is no shutdown, except with FORCE.
fn shutdown(ctx: &mut Ctx<'_>, args: Args<'_>, _: &mut Reply<'_>) -> CommandResult {
    let (mut save, mut nosave, mut now, mut force, mut abort) = (false, false, false, false, false);
    for word in args.tail(1).iter() {
        let option = [
            ("save", &mut save),
            ("nosave", &mut nosave),
            ("now", &mut now),
            ("force", &mut force),
            ("abort", &mut abort),
        ]
        .into_iter()
        .find(|(name, _)| is(word, name));
        *option.ok_or(CommandError::SYNTAX)?.1 = true;
    }
    if (save && nosave) || (abort && args.len() > 2) {
        return Err(CommandError::SYNTAX);
    }
    if abort {
        // A shutdown here waits for nobody, so there is never one that could still be called off.
        return Err(CommandError::new("ERR No shutdown in progress."));
    }
    let scripts = &ctx.server.scripts;
    if !nosave && scripts.is_busy() {
        return Err(scripts.busy_error());
    }
    let request = ShutdownRequest { restart: false, now };
    if save && ctx.server.store.get().is_some() {
        ctx.server
            .snapshots
            .check_save()
            .or_else(|error| if force { Ok(()) } else { Err(error) })
            .map_err(CommandError::new)?;
        ctx.wish = Some(Wish::Wait(Then::Shutdown { request, force }));
        return Ok(());
    }
    ctx.server.request_shutdown(request);
    Ok(())
}

/// Rings of a tree trunk; how many is the number of whole days that the server has run, within what fits.
fn lolwut(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    // There is one picture, whatever the version; but it must be a number.
    if args.len() > 2 && is(args.get(1), "version") {
        integer(args.get(2))?;
    }
    let rings = (ctx.server.uptime().as_secs() / 86400).clamp(3, 9) as i32;
    let mut art = String::new();
    for y in -rings..=rings {
        let line: String = (-2 * rings..=2 * rings)
            .map(|x| {
                // A character is about twice as high as wide; the heartwood is the middle.
                let radius = f64::hypot(f64::from(x) / 2.0, f64::from(y));
                match radius.round() as i32 {
                    0 => '@',
                    ring if ring > rings => ' ',
                    ring if ring % 2 == 1 => 'o',
                    _ => '.',
                }
            })
            .collect();
        art.push_str(line.trim_end());
        art.push('\n');
    }
    art.push_str(&format!(
        "\nWhat a trunk has once grown it keeps. Redis ver. {REDIS_VERSION}, Duramen ver. {}\n",
        env!("CARGO_PKG_VERSION")
    ));
    reply.verbatim(b"txt", art.as_bytes());
    Ok(())
}

/// There are no replicas: who asks for some waits in vain.
fn wait(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let replicas = integer(args.get(1))?;
    let timeout_ms = client::timeout_ms(args.get(2))?;
    if replicas <= 0 {
        reply.integer(0);
    } else {
        ctx.wait_for(std::iter::empty(), (timeout_ms > 0).then_some(timeout_ms), Nil::Zero, reply);
    }
    Ok(())
}

fn waitaof(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let local = integer(args.get(1))?;
    if !(0..=1).contains(&local) {
        return Err(CommandError::new("ERR value is out of range, value must between 0 and 1"));
    }
    let replicas = integer(args.get(2))?;
    if replicas < 0 {
        return Err(CommandError::MUST_BE_POSITIVE);
    }
    let timeout_ms = client::timeout_ms(args.get(3))?;
    let lsn = ctx.session.last_write;
    let durable = ctx.server.store.get().is_none_or(|store| store.log.durable_lsn() >= lsn);
    let must_wait = (local > 0 && !durable) || replicas > 0;
    if must_wait && ctx.may_block {
        ctx.wait_durable = Some((lsn, (timeout_ms > 0).then_some(timeout_ms), replicas));
        return Ok(());
    }
    reply.array(2);
    reply.integer(i64::from(durable));
    reply.integer(0);
    Ok(())
}
