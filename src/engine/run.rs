//! Running one command: may it write, lock, handle, serve, append, let go.

use std::sync::atomic::Ordering::Relaxed;

use crate::command::context::{Ctx, Transaction};
use crate::command::server::{Server, Store};
use crate::command::session::Session;
use crate::command::snapshots::{Waiting, Wish};
use crate::command::{Args, Command, Flags, slowlog};
use crate::command::{channels, events, tracking};
use crate::error::CommandError;
use crate::keyspace::Held;
use crate::keyspace::stripe::stripe_of;
use crate::keyspace::waiters::StripeSet;
use crate::log::{Lsn, Refusal};
use crate::mutation::{Safeguard, is_off};
use crate::resp::Reply;

use super::blocking::{self, Delivery, Served};
use super::dispatch::{Flow, Outcome, WaitDurable};
use super::locks::{self, Keys};
use super::reclaim;
use super::rig::client_without_socket;

/// Why a write is refused before it executes: the disk is full.
pub const NO_SPACE: CommandError = CommandError::new(
    "MISCONF No space left for the log, so commands that may modify the data set are disabled. Free some space: writes resume by themselves.",
);

/// The error of a write, or of a read that depends on a lost one, once the log has failed.
pub fn log_failed(reason: &str) -> CommandError {
    CommandError::owned(format!(
        "MISCONF The log has failed ({reason}), so commands that may modify the data set are disabled. Check the disk, then restart."
    ))
}

/// Runs a command that passed the checks of dispatch.
#[allow(clippy::too_many_arguments, reason = "everything a command has, named once")]
pub fn run(
    server: &Server,
    session: &mut Session,
    transaction: &mut Transaction,
    command: &'static Command,
    number: usize,
    args: Args<'_>,
    now_ms: u64,
    out: &mut Vec<u8>,
) -> Outcome {
    session.client.last_command.store(number, Relaxed);
    if server.channels.is_congested() && may_publish(server, command) {
        return Outcome { flow: Flow::Park, gate: 0 };
    }
    let Some(store) = server.store.get() else {
        return run_while_loading(server, session, transaction, command, number, args, now_ms, out);
    };
    let admitted = store.log.admit();
    if let Err(refusal) = &admitted {
        match refusal_error(refusal) {
            None if writes(session, command) || runs_scripts(session, command) => {
                return Outcome { flow: Flow::Park, gate: 0 };
            }
            Some(error) if writes(session, command) => return reject(server, session, number, &error, out),
            // Scripts that only read are served: each write is refused.
            _ => {}
        }
    }
    let (keys, set) = match locks::keys_of(&store.keyspace, command, args, session.db) {
        Ok((keys, set)) if command.flags.contains(Flags::TRANSACTION) => {
            (keys, set.with(locks::of_transaction(&store.keyspace, session)))
        }
        Ok(found) => found,
        // The handler knows better what is wrong with its arguments; without keys it can only refuse.
        Err(_) => (Keys::new(), StripeSet::ALL),
    };
    let Some(held) = locks::lock(&store.keyspace, command, &keys, session.db, set, &server.scripts) else {
        return reject(server, session, number, &server.scripts.busy_error(), out);
    };
    transaction.clear();
    if command.keys.is_empty() {
        // It may be one that shows or resets the counters.
        transaction.tally.add_to(&server.stats);
    }
    let mut ctx = Ctx::new(server, session, command, transaction, held, keys, now_ms);
    if let Err(refusal) = &admitted {
        ctx.refused = refusal_error(refusal);
    }
    ctx.may_expire =
        (admitted.is_ok() || is_off(Safeguard::LatchExpiryFound)) && !server.time.expiry_is_suspended();
    let result = handle(&mut ctx, command, args, out);
    let took = ctx.transaction.time.end(&*server.clock);
    ctx.transaction.tally.command(&server.stats, number, took);
    let took_us = took.as_micros() as u64;
    let client = &ctx.session.client;
    server.slowlog.record(&server.config, &slowlog::Run { client, command, args, took_us, now_ms });
    finish(store, ctx, number, args, result)
}

/// The few commands that work without keys or log.
#[allow(clippy::too_many_arguments, reason = "everything a command has, named once")]
fn run_while_loading(
    server: &Server,
    session: &mut Session,
    transaction: &mut Transaction,
    command: &'static Command,
    number: usize,
    args: Args<'_>,
    now_ms: u64,
    out: &mut Vec<u8>,
) -> Outcome {
    let held = server.no_keys.lock(StripeSet::default());
    transaction.clear();
    let mut ctx = Ctx::new(server, session, command, transaction, held, Keys::new(), now_ms);
    ctx.may_block = false;
    ctx.transaction.tally.add_to(&server.stats);
    let result = handle(&mut ctx, command, args, out);
    let took = ctx.transaction.time.end(&*server.clock);
    ctx.transaction.tally.command(&server.stats, number, took);
    count(&ctx, number, &result);
    channels::post(server, ctx.transaction, 0);
    Outcome { flow: Flow::Done, gate: 0 }
}

/// True for commands that others may be told of.
#[cold]
fn may_publish(server: &Server, command: &Command) -> bool {
    (command.flags.contains(Flags::PUBSUB) && !command.flags.contains(Flags::NOSCRIPT))
        || (command.is_write() && server.tracking.is_on())
}

/// True for commands that add to the log.
fn writes(session: &Session, command: &Command) -> bool {
    command.is_write()
        || (command.name == "exec"
            && session.multi.iter().flat_map(|multi| &multi.queue).any(|queued| queued.command.is_write()))
}

/// True for commands that add to the log if their scripts do.
fn runs_scripts(session: &Session, command: &Command) -> bool {
    command.flags.contains(Flags::SCRIPT)
        || (command.name == "exec"
            && session
                .multi
                .iter()
                .flat_map(|multi| &multi.queue)
                .any(|queued| queued.command.flags.contains(Flags::SCRIPT)))
}

/// `None`: it is only a matter of time.
fn refusal_error(refusal: &Refusal) -> Option<CommandError> {
    match refusal {
        Refusal::BufferFull => None,
        Refusal::NoSpace => Some(NO_SPACE),
        Refusal::Failed(reason) => Some(log_failed(reason)),
    }
}

fn reject(
    server: &Server,
    session: &mut Session,
    number: usize,
    error: &CommandError,
    out: &mut Vec<u8>,
) -> Outcome {
    server.stats.commands[number].rejected.add(1);
    server.stats.count_error(error.text());
    session.multi = None;
    Reply::new(out, session.proto).error(error.text());
    Outcome { flow: Flow::Done, gate: 0 }
}

#[inline]
fn handle(
    ctx: &mut Ctx<'_>,
    command: &'static Command,
    args: Args<'_>,
    out: &mut Vec<u8>,
) -> Result<(), CommandError> {
    let mut reply = Reply::new(out, ctx.session.proto).up_to(ctx.session.output_len_max);
    let mark = reply.mark();
    let result = (command.handler)(ctx, args, &mut reply);
    if let Err(error) = &result {
        reply.truncate(mark);
        reply.error(error.text());
    }
    if ctx.session.tracking.is_some() {
        tracking::after_read(ctx, command, args);
    }
    if !ctx.transaction.notes.is_empty() {
        events::tell_of_command(ctx, args);
    }
    result
}

#[inline]
fn count(ctx: &Ctx<'_>, number: usize, result: &Result<(), CommandError>) {
    let stats = &ctx.server.stats;
    if let Err(error) = result {
        stats.commands[number].failed.add(1);
        stats.count_error(error.text());
    }
}

/// After the handler: park or serve, append the record while the keys are still locked, deliver.
fn finish(
    store: &Store,
    mut ctx: Ctx<'_>,
    number: usize,
    args: Args<'_>,
    result: Result<(), CommandError>,
) -> Outcome {
    count(&ctx, number, &result);
    let mut flow = match ctx.block.take() {
        Some(block) if result.is_ok() => Flow::Blocked(blocking::park(&mut ctx, number, args, block)),
        _ => match ctx.wait_durable.take() {
            Some((lsn, timeout_ms, replicas)) => {
                let is_silent = ctx.session.is_silent();
                Flow::WaitDurable(WaitDurable { lsn, timeout_ms, replicas, is_silent })
            }
            None => Flow::Done,
        },
    };
    let service = if ctx.transaction.ready.is_empty() { None } else { Some(blocking::serve_ready(&mut ctx)) };
    let lsn = append(store, &mut ctx);
    channels::post(ctx.server, ctx.transaction, ctx.session.last_write);
    if let Some(waiting) = ctx.wish.take().and_then(|wish| carry_out(&mut ctx, wish)) {
        flow = Flow::WaitSnapshot(waiting);
    }
    let gate = ctx.transaction.gate;
    let retired = std::mem::take(&mut ctx.transaction.retired);
    let server = ctx.server;
    drop(ctx);
    if let Some(service) = service {
        deliver(service.served, lsn);
        serve_missed(server, service.missed);
    }
    if !retired.is_empty() {
        reclaim::later(retired);
    }
    Outcome { flow, gate }
}

/// Asks for a snapshot, which is to hold the record just appended.
#[cold]
fn carry_out(ctx: &mut Ctx<'_>, wish: Wish) -> Option<Waiting> {
    // The snapshot begins at once, and what it takes in is not to be counted behind it.
    ctx.transaction.tally.add_to(&ctx.server.stats);
    let snapshots = &ctx.server.snapshots;
    match wish {
        Wish::Background { save, rewrite } => {
            snapshots.request(ctx.now_ms, save, rewrite);
            None
        }
        Wish::Wait(then) => {
            let receiver = snapshots.request_and_wait(ctx.now_ms);
            let is_silent = ctx.session.is_silent();
            Some(Waiting { receiver, then, is_silent })
        }
    }
}

/// Appends the record, if there is one, and notes its LSN where later readers of its keys will find it.
#[inline]
pub(super) fn append(store: &Store, ctx: &mut Ctx<'_>) -> Lsn {
    let transaction = &mut *ctx.transaction;
    if transaction.body.is_empty() {
        return 0;
    }
    let lsn = store.log.append(&transaction.body);
    for &cell in transaction.cells.iter().filter(|_| !is_off(Safeguard::ChangeNote)) {
        store.keyspace.gate.raise(cell, lsn);
    }
    for &db in transaction.databases.iter().filter(|_| !is_off(Safeguard::FloorNote)) {
        store.keyspace.raise_floor(db, lsn);
    }
    if !is_off(Safeguard::WriteGate) {
        transaction.gate = transaction.gate.max(lsn);
    }
    ctx.session.last_write = lsn;
    transaction.tally.dirty += transaction.changes;
    lsn
}

fn deliver(served: Vec<Served>, lsn: Lsn) {
    for Served { waiter, reply, gate } in served {
        let gate = if is_off(Safeguard::ServedGate) { gate } else { gate.max(lsn) };
        blocking::deliver(&waiter, Delivery { reply, gate, wrote: lsn });
    }
}

/// Changes made by the server itself (expiry, eviction): a record of its own, with whatever it wakes.
pub fn run_internal(
    server: &Server,
    session: &mut Session,
    transaction: &mut Transaction,
    set: StripeSet,
    work: &mut dyn FnMut(&mut Ctx<'_>),
) {
    let Some(store) = server.store.get() else { return };
    // What the server does by itself can wait for the next time.
    let Some(held) = store.keyspace.lock_unless(set, &|| server.scripts.is_busy()) else { return };
    transaction.clear();
    let now_ms = server.now_ms();
    let mut ctx = Ctx::new(server, session, Command::INTERNAL, transaction, held, Keys::new(), now_ms);
    work(&mut ctx);
    let service = blocking::serve_ready(&mut ctx);
    let lsn = append(store, &mut ctx);
    channels::post(server, ctx.transaction, lsn);
    ctx.transaction.tally.add_to(&server.stats);
    drop(ctx);
    deliver(service.served, lsn);
    serve_missed(server, service.missed);
}

fn serve_missed(server: &Server, missed: Vec<(u32, Box<[u8]>)>) {
    let Some(store) = server.store.get() else { return };
    for key in missed {
        // What they change could not be logged otherwise.
        if store.log.admit().is_ok() {
            serve_apart(server, store, key);
        }
    }
}

/// Serves whom the command that made a key ready could not serve under its own locks: it only looked at the key and found its time
/// over.
#[cold]
fn serve_apart(server: &Server, store: &Store, (db, key): (u32, Box<[u8]>)) {
    let slot = store.keyspace.key(&key).slot;
    let own = StripeSet::one(stripe_of(slot));
    let waiters_need =
        |held: &Held<'_>| held.shelf(slot).waiters.stripes_for(held.keyspace().space(db), &key);
    let set = waiters_need(&store.keyspace.lock(own)).with(own);
    // Whoever came meanwhile and needs more waits for what comes next: they found the key as it is now.
    run_apart(server, store, set, &mut |ctx| {
        ctx.transaction.ready.push((db, key.clone()));
        blocking::serve_ready(ctx).served
    });
}

/// Serves clients outside of any command: in a record of their own, if that changes anything.
pub(super) fn run_apart(
    server: &Server,
    store: &Store,
    set: StripeSet,
    serve: &mut dyn FnMut(&mut Ctx<'_>) -> Vec<Served>,
) {
    let now_ms = server.now_ms();
    // It is nobody's: each who is served is so in a session of its own.
    let mut session = Session::new(client_without_socket(0, now_ms), true);
    let mut transaction = Transaction::default();
    let held = store.keyspace.lock(set);
    let mut ctx =
        Ctx::new(server, &mut session, Command::INTERNAL, &mut transaction, held, Keys::new(), now_ms);
    let served = serve(&mut ctx);
    let lsn = append(store, &mut ctx);
    channels::post(server, ctx.transaction, lsn);
    ctx.transaction.tally.add_to(&server.stats);
    drop(ctx);
    deliver(served, lsn);
}
