//! Blocking commands: a waiter is queued on its keys under their locks, and served by whoever makes a key ready, within that
//! command's own record. It is served by running its command again: there is no second way to pop.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::command::clients::{Blocked, Client};
use crate::command::context::Block;
use crate::command::server::Server;
use crate::command::session::Session;
use crate::command::{Args, Command, Ctx, Nil};
use crate::keyspace::Keyspace;
use crate::keyspace::op::SpaceId;
use crate::keyspace::stripe::stripe_of;
use crate::keyspace::value::Kind;
use crate::keyspace::waiters::{StripeSet, Waiter, Want};
use crate::log::{Lsn, Policy};
use crate::resp::{OwnedArgs, Protocol, Reply};
use crate::types::stream::value::Stream;

use super::run;

/// A reply for a connection that waited, and the LSN it depends on.
pub struct Delivery {
    pub reply: Vec<u8>,
    pub gate: Lsn,
    /// LSN of the record, if serving it wrote one.
    pub wrote: Lsn,
}

/// A blocked connection's side of a wait.
pub struct Parked {
    pub waiter: Arc<Waiter>,
    pub receiver: oneshot::Receiver<Delivery>,
    pub timeout_ms: Option<u64>,
    pub nil: Nil,
    /// When [`look_again`] is to be called first: what it waits for may come with time alone.
    pub look_again_ms: Option<u64>,
    /// CLIENT REPLY has the reply dropped.
    pub is_silent: bool,
}

/// The reply to a client that CLIENT UNBLOCK ends the wait of, as by an error.
pub const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// What CLIENT UNBLOCK needs to end a wait for something that is no key; through the receiver comes `true` if it is to be as by an error.
pub fn without_keys() -> (Blocked, oneshot::Receiver<bool>) {
    let (sender, receiver) = oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let unblock = move |with_error| {
        if let Some(sender) = sender.lock().take() {
            // The connection may have ended meanwhile: then nobody waits.
            let _ = sender.send(with_error);
        }
    };
    let waiter = Waiter::new(StripeSet::default(), SpaceId::default(), Vec::new(), Box::new(()));
    (Blocked { waiter: Arc::new(waiter), unblock: Box::new(unblock) }, receiver)
}

/// What to run again, and where the reply goes.
struct Request {
    command: &'static Command,
    number: usize,
    args: OwnedArgs,
    db: u32,
    proto: Protocol,
    durability: Option<Policy>,
    claim_idle_ms: Option<u64>,
    client: Arc<Client>,
    sender: Mutex<Option<oneshot::Sender<Delivery>>>,
}

fn request(waiter: &Waiter) -> &Request {
    waiter.request.downcast_ref().expect("only this file makes waiters")
}

/// Waits for more than the stripes of the keys themselves if the command also writes to another key.
fn stripes_of(keyspace: &Keyspace, command: &Command, waits: &[(Box<[u8]>, Want)]) -> StripeSet {
    // BLMOVE and BRPOPLPUSH push to a second key, on which others may wait in turn.
    if command.keys.len() > 1 || matches!(command.name, "brpoplpush" | "blmove") {
        return StripeSet::ALL;
    }
    waits.iter().fold(StripeSet::default(), |set, (key, _)| {
        set.with(StripeSet::one(stripe_of(keyspace.key(key).slot)))
    })
}

/// Queues a command that found nothing. Its keys' stripes are held by `ctx`.
pub fn park(ctx: &mut Ctx<'_>, number: usize, args: Args<'_>, block: Block) -> Parked {
    let (sender, receiver) = oneshot::channel();
    let space = ctx.space();
    let request = Request {
        command: ctx.command,
        number,
        args: block.again.unwrap_or_else(|| OwnedArgs::from(args)),
        db: ctx.session.db,
        proto: ctx.session.proto,
        durability: ctx.session.durability,
        claim_idle_ms: block.claim_idle_ms,
        client: ctx.session.client.clone(),
        sender: Mutex::new(Some(sender)),
    };
    let stripes = stripes_of(ctx.keyspace(), ctx.command, &block.waits);
    let waiter = Arc::new(Waiter::new(stripes, space, block.waits, Box::new(request)));
    for (key, want) in &waiter.waits {
        let slot = ctx.place(key).slot;
        ctx.held_mut().shelf_mut(slot).waiters.wait(space, key, want, waiter.clone());
    }
    let (claimed, nil, proto) = (waiter.clone(), block.nil, ctx.session.proto);
    *ctx.session.client.blocked.lock() = Some(Blocked {
        waiter: waiter.clone(),
        unblock: Box::new(move |with_error| {
            let mut reply = Vec::new();
            let mut writer = Reply::new(&mut reply, proto);
            if with_error {
                writer.error(UNBLOCKED);
            } else {
                nil.write(&mut writer);
            }
            deliver(&claimed, Delivery { reply, gate: 0, wrote: 0 });
        }),
    });
    if let Some(begin) = block.work {
        let waiter = waiter.clone();
        begin(
            ctx.server,
            Box::new(move |reply| {
                if waiter.claim() {
                    deliver(&waiter, Delivery { reply, gate: 0, wrote: 0 });
                }
            }),
        );
    }
    let look_again_ms = claimable_in_ms(ctx, &waiter);
    let is_silent = ctx.session.is_silent();
    Parked { waiter, receiver, timeout_ms: block.timeout_ms, nil: block.nil, look_again_ms, is_silent }
}

/// Sends a claimed waiter its reply.
pub fn deliver(waiter: &Waiter, delivery: Delivery) {
    if let Some(sender) = request(waiter).sender.lock().take() {
        // The connection may have ended meanwhile: then nobody wants the reply.
        let _ = sender.send(delivery);
    }
}

/// Takes a waiter whose wait has ended off its queues.
pub fn forget(server: &Server, waiter: &Arc<Waiter>) {
    let Some(store) = server.store.get() else { return };
    let keyspace = &store.keyspace;
    // FLUSHALL and SWAPDB may have moved the queue to another keyspace, so all are looked through.
    for (key, want) in &waiter.waits {
        let place = keyspace.key(key);
        let mut held = keyspace.lock(StripeSet::one(stripe_of(place.slot)));
        for db in 0..keyspace.databases() {
            let space = keyspace.space(db);
            held.shelf_mut(place.slot).waiters.stop_waiting(space, key, want, waiter);
        }
    }
}

/// A served waiter and its reply, to be delivered once the record is appended.
pub struct Served {
    pub waiter: Arc<Waiter>,
    pub reply: Vec<u8>,
    pub gate: Lsn,
}

/// Those who were served, and keys that were ready for somebody who needs stripes that were not held.
#[derive(Default)]
pub struct Service {
    pub served: Vec<Served>,
    pub missed: Vec<(u32, Box<[u8]>)>,
}

/// Serves whoever waits for keys that are ready now, in order of arrival, until the keys are used up. All of it goes into
/// the current record.
pub fn serve_ready(ctx: &mut Ctx<'_>) -> Service {
    let mut service = Service::default();
    let mut next = 0;
    while let Some((db, key)) = ctx.transaction.ready.get(next).cloned() {
        next += 1;
        let space = ctx.keyspace().space(db);
        let slot = ctx.place(&key).slot;
        let last_id = ctx.stream_in(db, &key).map(Stream::last_id).unwrap_or_default();
        for want in ctx.held().shelf(slot).waiters.wants(space, &key, last_id) {
            if !serve_queue(ctx, (db, &key), &want, &mut service.served) {
                service.missed.push((db, key.clone()));
                break;
            }
        }
    }
    service
}

/// Serves those who wait for the same of a key, for as long as there is something for them. False if that takes stripes that are not
/// held.
fn serve_queue(ctx: &mut Ctx<'_>, (db, key): (u32, &[u8]), want: &Want, served: &mut Vec<Served>) -> bool {
    let space = ctx.keyspace().space(db);
    let slot = ctx.place(key).slot;
    while let Some(waiter) = ctx.held().shelf(slot).waiters.first(space, key, want).cloned() {
        if !is_ready(ctx, db, key, want) {
            break;
        }
        if !ctx.held().set().contains(waiter.stripes) {
            return false;
        }
        if waiter.claim() {
            ctx.woken_by = Some(key.into());
            served.push(serve(ctx, waiter));
            ctx.woken_by = None;
        } else {
            // Its time is over, or its connection: it is about to leave its queues by itself.
            ctx.held_mut().shelf_mut(slot).waiters.stop_waiting(space, key, want, &waiter);
        }
    }
    true
}

/// Whether there is something for the first who waits: who is claimed and finds nothing could not wait again.
fn is_ready(ctx: &mut Ctx<'_>, db: u32, key: &[u8], want: &Want) -> bool {
    let kind = ctx.entry_in(db, key).map(|entry| entry.kind());
    match want {
        Want::List => kind == Some(Kind::List),
        Want::SortedSet => kind == Some(Kind::SortedSet),
        Want::Entry(id) => ctx.stream_in(db, key).is_some_and(|stream| stream.has_behind(*id)),
        // The end of the group is an error, and so is that of the stream.
        Want::NewTo(group) => ctx
            .stream_in(db, key)
            .and_then(|stream| Some((stream, stream.group(group)?)))
            .is_none_or(|(stream, group)| stream.has_behind(group.last_id())),
    }
}

/// Looks for what has become claimable are at least so far apart.
const LOOKS_APART_MS: u64 = 10;

/// In how many milliseconds it has to be looked again whether a pending entry was idle for as long as a waiter asks for: 0 if one is
/// now. `None`: it doesn't ask.
fn claimable_in_ms(ctx: &mut Ctx<'_>, waiter: &Waiter) -> Option<u64> {
    let request = request(waiter);
    let idle_ms = request.claim_idle_ms?;
    // What is delivered from now on is not claimable before that.
    let mut in_ms = idle_ms.max(LOOKS_APART_MS);
    let now_ms = ctx.now_ms;
    for (key, want) in &waiter.waits {
        let (Want::NewTo(group), Some(stream)) = (want, ctx.stream_in(request.db, key)) else { continue };
        let Some(group) = stream.group(group) else { continue };
        let oldest = group.pending_since(u64::MAX).find(|(_, row)| stream.get(row.id).is_some());
        if let Some((_, row)) = oldest {
            let due_ms = row.delivered_ms.saturating_add(idle_ms);
            in_ms = if due_ms <= now_ms { 0 } else { in_ms.min((due_ms - now_ms).max(LOOKS_APART_MS)) };
        }
        if in_ms == 0 {
            break;
        }
    }
    Some(in_ms)
}

/// Serves a waiter if what it waits for has come with time. Returns in how many milliseconds that is to be asked again.
pub fn look_again(server: &Server, waiter: &Arc<Waiter>) -> Option<u64> {
    let store = server.store.get()?;
    if waiter.is_claimed() {
        return None;
    }
    if store.log.admit().is_err() {
        return Some(LOOKS_APART_MS);
    }
    let mut in_ms = None;
    run::run_apart(server, store, waiter.stripes, &mut |ctx| {
        in_ms = claimable_in_ms(ctx, waiter);
        if in_ms == Some(0) && waiter.claim() { vec![serve(ctx, waiter.clone())] } else { Vec::new() }
    });
    in_ms.filter(|&in_ms| in_ms > 0)
}

/// Runs a claimed waiter's command in its own session's terms.
fn serve(ctx: &mut Ctx<'_>, waiter: Arc<Waiter>) -> Served {
    let request = request(&waiter);
    let space = ctx.keyspace().space(request.db);
    for (key, want) in &waiter.waits {
        let slot = ctx.place(key).slot;
        ctx.held_mut().shelf_mut(slot).waiters.stop_waiting(space, key, want, &waiter);
    }
    let mut session = Session::new(request.client.clone(), true);
    session.db = request.db;
    session.proto = request.proto;
    session.durability = request.durability;
    let mut reply = Vec::new();
    // Each reply depends on what its own command looked at, and on the record it is part of.
    let outer_gate = std::mem::take(&mut ctx.transaction.gate);
    let mut writer = Reply::new(&mut reply, request.proto);
    let result = ctx.run_as(&mut session, request.command, request.args.as_args(), &mut writer);
    let stats = &ctx.server.stats;
    if let Err(error) = result {
        stats.commands[request.number].failed.add(1);
        stats.count_error(error.text());
        Reply::new(&mut reply, request.proto).error(error.text());
    }
    stats.unblocked_clients.add(1);
    let gate = std::mem::replace(&mut ctx.transaction.gate, outer_gate);
    Served { waiter: waiter.clone(), reply, gate }
}
