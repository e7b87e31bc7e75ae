//! Blocking commands: a waiter is queued on its keys under their locks, and served by whoever makes a key ready, within that
//! command's own record. It is served by running its command again: there is no second way to pop.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::command::clients::{Blocked, Client};
use crate::command::context::Block;
use crate::command::server::Server;
use crate::command::session::Session;
use crate::command::{Args, Command, Ctx, Group, Nil};
use crate::keyspace::Keyspace;
use crate::keyspace::stripe::stripe_of;
use crate::keyspace::value::Kind;
use crate::keyspace::waiters::{StripeSet, Waiter};
use crate::log::{Lsn, Policy};
use crate::resp::{OwnedArgs, Protocol, Reply};

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
}

/// What to run again, and where the reply goes.
struct Request {
    command: &'static Command,
    number: usize,
    args: OwnedArgs,
    db: u32,
    proto: Protocol,
    durability: Option<Policy>,
    client: Arc<Client>,
    sender: Mutex<Option<oneshot::Sender<Delivery>>>,
}

fn request(waiter: &Waiter) -> &Request {
    waiter.request.downcast_ref().expect("only this file makes waiters")
}

/// Waits for more than the stripes of the keys themselves if the command also writes to another key.
fn stripes_of(keyspace: &Keyspace, command: &Command, keys: &[Box<[u8]>]) -> StripeSet {
    // BLMOVE and BRPOPLPUSH push to a second key, on which others may wait in turn.
    if command.keys.len() > 1 || matches!(command.name, "brpoplpush" | "blmove") {
        return StripeSet::ALL;
    }
    keys.iter()
        .fold(StripeSet::default(), |set, key| set.with(StripeSet::one(stripe_of(keyspace.key(key).slot))))
}

/// Queues a command that found nothing. Its keys' stripes are held by `ctx`.
pub fn park(ctx: &mut Ctx<'_>, number: usize, args: Args<'_>, block: Block) -> Parked {
    let (sender, receiver) = oneshot::channel();
    let space = ctx.space();
    let request = Request {
        command: ctx.command,
        number,
        args: OwnedArgs::from(args),
        db: ctx.session.db,
        proto: ctx.session.proto,
        durability: ctx.session.durability,
        client: ctx.session.client.clone(),
        sender: Mutex::new(Some(sender)),
    };
    let stripes = stripes_of(ctx.keyspace(), ctx.command, &block.keys);
    let waiter = Arc::new(Waiter::new(stripes, space, block.keys, Box::new(request)));
    let mut queued = std::collections::BTreeSet::new();
    for key in &waiter.keys {
        // A key named twice waits once.
        if queued.insert(key) {
            let slot = ctx.place(key).slot;
            ctx.held_mut().shelf_mut(slot).waiters.wait(space, key, waiter.clone());
        }
    }
    let (claimed, nil, proto) = (waiter.clone(), block.nil, ctx.session.proto);
    *ctx.session.client.blocked.lock() = Some(Blocked {
        waiter: waiter.clone(),
        unblock: Box::new(move |with_error| {
            let mut reply = Vec::new();
            let mut writer = Reply::new(&mut reply, proto);
            if with_error {
                writer.error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
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
    Parked { waiter, receiver, timeout_ms: block.timeout_ms, nil: block.nil }
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
    for key in &waiter.keys {
        let place = keyspace.key(key);
        let mut held = keyspace.lock(StripeSet::one(stripe_of(place.slot)));
        for db in 0..keyspace.databases() {
            let space = keyspace.space(db);
            held.shelf_mut(place.slot).waiters.stop_waiting(space, key, waiter);
        }
    }
}

/// A served waiter and its reply, to be delivered once the record is appended.
pub struct Served {
    pub waiter: Arc<Waiter>,
    pub reply: Vec<u8>,
    pub gate: Lsn,
}

/// Serves whoever waits for keys that are ready now, in order of arrival, until the keys are used up. All of it goes into
/// the current record.
pub fn serve_ready(ctx: &mut Ctx<'_>) -> Vec<Served> {
    let mut served = Vec::new();
    let mut next = 0;
    while let Some((db, key)) = ctx.transaction.ready.get(next).cloned() {
        next += 1;
        let space = ctx.keyspace().space(db);
        let slot = ctx.place(&key).slot;
        let queue: Vec<_> = ctx
            .held()
            .shelf(slot)
            .waiters
            .waiting_for(space, &key)
            .map(|queue| queue.iter().cloned().collect())
            .unwrap_or_default();
        for waiter in queue {
            if !is_ready(ctx, db, &key, request(&waiter).command.group) {
                break;
            }
            if waiter.claim() {
                ctx.woken_by = Some(key.clone());
                served.push(serve(ctx, waiter));
                ctx.woken_by = None;
            }
        }
    }
    served
}

fn is_ready(ctx: &mut Ctx<'_>, db: u32, key: &[u8], group: Group) -> bool {
    let kind = ctx.entry_in(db, key).map(|entry| entry.kind());
    match group {
        Group::List => kind == Some(Kind::List),
        Group::SortedSet => kind == Some(Kind::SortedSet),
        _ => kind.is_some(),
    }
}

/// Runs a claimed waiter's command in its own session's terms.
fn serve(ctx: &mut Ctx<'_>, waiter: Arc<Waiter>) -> Served {
    let request = request(&waiter);
    let space = ctx.keyspace().space(request.db);
    for key in &waiter.keys {
        let slot = ctx.place(key).slot;
        ctx.held_mut().shelf_mut(slot).waiters.stop_waiting(space, key, &waiter);
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
