//! MULTI, EXEC, DISCARD, WATCH, UNWATCH. An EXEC is one record: all its ops or none survive a crash.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::command::server::Server;
use crate::command::session::{Multi, Queued, Session, Watched, WatchedKeys};
use crate::command::{Args, Command, CommandResult, Ctx, Flags, Group, KeySpec, slowlog};
use crate::error::CommandError;
use crate::keyspace::entry::Entry;
use crate::keyspace::stripe::stripe_of;
use crate::keyspace::value::Value;
use crate::keyspace::waiters::{StripeSet, WatchFlag};
use crate::mutation::{Safeguard, is_off};
use crate::resp::Reply;

use super::run;

const BASE: Flags = Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE).union(Flags::ALLOW_BUSY);

pub static COMMANDS: &[Command] = &[
    Command {
        name: "multi",
        arity: 1,
        flags: BASE.union(Flags::FAST).union(Flags::NOT_QUEUED),
        group: Group::Transactions,
        since: "1.2.0",
        summary: "Starts a transaction.",
        handler: multi,
        ..Command::DEFAULT
    },
    Command {
        name: "exec",
        arity: 1,
        flags: Flags::NOSCRIPT
            .union(Flags::LOADING)
            .union(Flags::STALE)
            .union(Flags::SKIP_SLOWLOG)
            .union(Flags::NOT_QUEUED)
            .union(Flags::TRANSACTION),
        group: Group::Transactions,
        since: "1.2.0",
        summary: "Executes all commands in a transaction.",
        complexity: "Depends on commands in the transaction",
        handler: exec,
        ..Command::DEFAULT
    },
    Command {
        name: "discard",
        arity: 1,
        flags: BASE.union(Flags::FAST).union(Flags::NOT_QUEUED).union(Flags::TRANSACTION),
        group: Group::Transactions,
        since: "2.0.0",
        summary: "Discards a transaction.",
        complexity: "O(N), when N is the number of queued commands",
        handler: discard,
        ..Command::DEFAULT
    },
    Command {
        name: "watch",
        arity: -2,
        flags: BASE.union(Flags::FAST).union(Flags::NOT_QUEUED),
        keys: &[KeySpec::range(1, -1, 1, &["RO"])],
        group: Group::Transactions,
        since: "2.2.0",
        summary: "Monitors changes to keys to determine the execution of a transaction.",
        complexity: "O(1) for every key.",
        syntax: "key [key ...]",
        handler: watch,
        ..Command::DEFAULT
    },
    Command {
        name: "unwatch",
        arity: 1,
        flags: BASE.union(Flags::FAST).union(Flags::TRANSACTION),
        group: Group::Transactions,
        since: "2.2.0",
        summary: "Forgets about watched keys of a transaction.",
        handler: unwatch,
        ..Command::DEFAULT
    },
];

fn multi(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if ctx.session.multi.is_some() {
        return Err(CommandError::new("ERR MULTI calls can not be nested"));
    }
    ctx.session.multi = Some(Multi::default());
    ctx.server.stats.transactions.add(1);
    reply.ok();
    Ok(())
}

fn exec(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let Some(multi) = ctx.session.multi.take() else {
        return Err(CommandError::new("ERR EXEC without MULTI"));
    };
    if multi.dirty {
        ctx.unwatch_all();
        return Err(CommandError::new("EXECABORT Transaction discarded because of previous errors."));
    }
    if watched_changed(ctx) {
        ctx.unwatch_all();
        reply.null_array();
        return Ok(());
    }
    ctx.unwatch_all();
    ctx.may_block = false;
    reply.array(multi.queue.len());
    let server = ctx.server;
    let began = ctx.transaction.time.start(&*server.clock);
    for Queued { command, number, args } in &multi.queue {
        // HELLO in the queue may have changed the protocol.
        reply.set_proto(ctx.session.proto);
        if command.keys.is_empty() {
            // It may be one that shows or resets the counters.
            ctx.transaction.tally.add_to(&server.stats);
        }
        if let Err(error) = ctx.run_nested(command, args.as_args(), reply) {
            server.stats.commands[*number].failed.add(1);
            server.stats.count_error(error.text());
            reply.error(error.text());
        }
        let took = ctx.transaction.time.end(&*server.clock);
        ctx.transaction.tally.command(&server.stats, *number, took);
        let (client, now_ms, took_us) = (&ctx.session.client, ctx.now_ms, took.as_micros() as u64);
        let run = slowlog::Run { client, command, args: args.as_args(), took_us, now_ms };
        server.slowlog.record(&server.config, &run);
        if is_off(Safeguard::TransactionWhole)
            && let Some(store) = ctx.server.store.get()
        {
            run::append(store, ctx);
            ctx.transaction.body.clear();
        }
    }
    // EXEC takes as long as all of them.
    ctx.transaction.time.go_back(began);
    Ok(())
}

/// A key whose time came since WATCH, or that of a field in it, counts as changed, so each is looked up first. A field need not have
/// been removed: that its time has come is known from WATCH, because whoever gives it another changes the key.
fn watched_changed(ctx: &mut Ctx<'_>) -> bool {
    let watched = std::mem::take(&mut ctx.session.watched);
    let mut expired = false;
    for key in watched.iter() {
        let found = ctx.entry_in(key.db, &key.key).is_some();
        expired |= (key.existed && !found) || key.field_due_ms <= ctx.now_ms;
    }
    ctx.session.watched = watched;
    expired || ctx.session.watch_flag.load(Acquire)
}

fn discard(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if ctx.session.multi.take().is_none() {
        return Err(CommandError::new("ERR DISCARD without MULTI"));
    }
    ctx.unwatch_all();
    reply.ok();
    Ok(())
}

fn watch(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    if ctx.session.multi.is_some() {
        return Err(CommandError::new("ERR WATCH inside MULTI is not allowed"));
    }
    let (db, space) = (ctx.session.db, ctx.space());
    let wanted: usize = args.tail(1).iter().map(|key| WatchedKeys::bytes_for(key.len())).sum();
    if (ctx.session.kept_bytes() + wanted) as u64 > ctx.server.config.client_query_buffer_limit() {
        return Err(CommandError::new("ERR WATCH of more keys than client-query-buffer-limit has room for"));
    }
    for key in args.tail(1).iter() {
        let now_ms = ctx.now_ms;
        let entry = ctx.entry_quietly(key);
        let existed = entry.is_some();
        let field_due_ms = entry.and_then(|entry| first_field_due(entry, now_ms)).unwrap_or(u64::MAX);
        if !ctx.session.watched.insert(Watched { db, key: key.into(), existed, field_due_ms }) {
            continue;
        }
        let slot = ctx.place(key).slot;
        let flag = ctx.session.watch_flag.clone();
        ctx.held_mut().shelf_mut(slot).waiters.watch(space, key, flag);
    }
    ctx.session.client.watched.store(ctx.session.watched.len() as u64, Relaxed);
    reply.ok();
    Ok(())
}

/// When the first field of a hash expires that is still to be seen.
fn first_field_due(entry: &Entry, now_ms: u64) -> Option<u64> {
    match entry.as_value() {
        Some(Value::Hash(hash)) => hash.next_live_expiry(now_ms),
        _ => None,
    }
}

fn unwatch(ctx: &mut Ctx<'_>, _: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    ctx.unwatch_all();
    reply.ok();
    Ok(())
}

/// A session ends, or its transaction does before EXEC: what it left in the stripes is taken out.
pub fn forget_session(server: &Server, session: &mut Session) {
    let watched = session.watched.take();
    let watch_flag = std::mem::take(&mut session.watch_flag);
    unwatch_keys(server, watched, &watch_flag);
}

/// Takes the mark of who watched these keys out of their stripes.
pub fn unwatch_keys(server: &Server, watched: impl Iterator<Item = Watched>, watch_flag: &WatchFlag) {
    let Some(store) = server.store.get() else { return };
    for Watched { db, key, .. } in watched {
        let slot = store.keyspace.key(&key).slot;
        let mut held = store.keyspace.lock(StripeSet::one(stripe_of(slot)));
        let space = store.keyspace.space(db);
        held.shelf_mut(slot).waiters.unwatch(space, &key, watch_flag);
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::rig::Rig;

    /// What EXEC says some time after WATCH.
    fn exec_after_ms(rig: &mut Rig, ms: u64) -> String {
        rig.advance_ms(ms);
        rig.run("MULTI");
        rig.run("HGET h f");
        rig.run("EXEC")
    }

    #[test]
    fn a_watched_hash_has_changed_when_a_fields_time_comes_though_nobody_removed_it() {
        let mut rig = Rig::new();
        rig.run("HSET h f v g w");
        rig.run("HPEXPIRE h 30 FIELDS 1 f");
        rig.run("WATCH h");
        assert_eq!(exec_after_ms(&mut rig, 29), "*1\r\n$1\r\nv\r\n");
        rig.run("WATCH h");
        assert_eq!(exec_after_ms(&mut rig, 1), "*-1\r\n");
        // What was over before is no change since.
        rig.run("WATCH h");
        assert_eq!(exec_after_ms(&mut rig, 0), "*1\r\n$-1\r\n");
    }

    #[test]
    fn of_several_fields_the_first_that_was_to_be_seen_counts() {
        let mut rig = Rig::new();
        rig.run("HSET h f v g w");
        rig.run("HPEXPIRE h 10 FIELDS 1 f");
        rig.run("HPEXPIRE h 30 FIELDS 1 g");
        rig.advance_ms(10);
        rig.run("WATCH h");
        assert_eq!(exec_after_ms(&mut rig, 19), "*1\r\n$-1\r\n");
        rig.run("WATCH h");
        assert_eq!(exec_after_ms(&mut rig, 1), "*-1\r\n");
        // Watching it once more does not forget that.
        rig.run("HSET h f v");
        rig.run("HPEXPIRE h 30 FIELDS 1 f");
        rig.run("WATCH h");
        rig.advance_ms(30);
        rig.run("WATCH h");
        assert_eq!(exec_after_ms(&mut rig, 0), "*-1\r\n");
    }
}
