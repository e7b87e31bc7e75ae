//! Active expiry: removes what is due, oldest first, by explicit ops, in short steps that leave the locks in between.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::command::context::{Ctx, Transaction};
use crate::command::server::Server;
use crate::command::session::Session;
use crate::keyspace::op::Op;
use crate::keyspace::stripe::STRIPES;
use crate::keyspace::value::Value;
use crate::keyspace::waiters::StripeSet;
use crate::types::hash::value::HashOp;

use super::run;

/// Keys removed at most while one stripe is locked.
const KEYS_PER_STEP: usize = 64;
/// Wall time may run ahead of the monotonic clock by this much before it is taken for a step.
const JUMP: Duration = Duration::from_secs(60);
/// How long a step of the clock keeps expiry from being logged: time for an operator to mend the clock.
const SUSPENSION: Duration = Duration::from_secs(600);

/// Runs the cycle; one per server.
pub struct Expiry {
    session: Session,
    transaction: Transaction,
    stripe: usize,
    /// Clocks at the last look.
    last: Option<(u64, Duration)>,
    suspended_at: Option<Duration>,
}

impl Expiry {
    /// `session` is the one that the server acts in when it acts for itself.
    pub fn new(session: Session) -> Self {
        Self { session, transaction: Transaction::default(), stripe: 0, last: None, suspended_at: None }
    }

    /// Visits every stripe once. True if more is due than was removed: come back soon.
    pub fn cycle(&mut self, server: &Server) -> bool {
        self.watch_clock(server);
        let Some(store) = server.store.get() else { return false };
        let suspended = server.expiry_suspended.load(Relaxed) || !server.active_expire.load(Relaxed);
        if suspended || store.log.admit().is_err() {
            return false;
        }
        let mut more = false;
        for _ in 0..STRIPES {
            self.stripe = (self.stripe + 1) % STRIPES;
            more |= self.step(server, self.stripe);
        }
        more
    }

    fn step(&mut self, server: &Server, stripe: usize) -> bool {
        let mut more = false;
        let (session, transaction) = (&mut self.session, &mut self.transaction);
        run::run_internal(server, session, transaction, StripeSet::one(stripe), &mut |ctx| {
            for db in 0..ctx.keyspace().databases() {
                more |= expire_keys(ctx, db) | expire_fields(ctx, db);
            }
        });
        more
    }

    /// A wall clock that jumps ahead must not delete every session: until it is mended, or has proved to mean it,
    /// what is due looks absent but is not removed.
    fn watch_clock(&mut self, server: &Server) {
        let now = (server.clock.wall_ms(), server.clock.monotonic());
        if let Some((wall, monotonic)) = self.last {
            let passed = now.1.saturating_sub(monotonic) + JUMP;
            if now.0 > wall.saturating_add(passed.as_millis() as u64) {
                tracing::warn!(
                    ahead_ms = now.0 - wall,
                    "the clock jumped ahead: expired keys are hidden but not removed for {} s; check the system's clock",
                    SUSPENSION.as_secs()
                );
                self.suspended_at = Some(now.1);
                server.expiry_suspended.store(true, Relaxed);
            }
        }
        if self.suspended_at.is_some_and(|at| now.1.saturating_sub(at) >= SUSPENSION) {
            tracing::warn!("the clock kept its new time: expired keys are removed again");
            self.suspended_at = None;
            server.expiry_suspended.store(false, Relaxed);
        }
        self.last = Some(now);
    }
}

fn expire_keys(ctx: &mut Ctx<'_>, db: u32) -> bool {
    let (space, now_ms) = (ctx.keyspace().space(db), ctx.now_ms);
    let due = |shelf: &crate::keyspace::Shelf| {
        shelf.stripe.part(space).map_or_else(Vec::new, |part| part.expired(now_ms, KEYS_PER_STEP))
    };
    let keys: Vec<_> = ctx.held().shelves().flat_map(due).collect();
    for key in &keys {
        ctx.expire_in(db, key);
    }
    keys.len() >= KEYS_PER_STEP
}

fn expire_fields(ctx: &mut Ctx<'_>, db: u32) -> bool {
    let (space, now_ms) = (ctx.keyspace().space(db), ctx.now_ms);
    let due = |shelf: &crate::keyspace::Shelf| {
        shelf.stripe.part(space).map_or_else(Vec::new, |part| part.with_expired_parts(now_ms, KEYS_PER_STEP))
    };
    let keys: Vec<_> = ctx.held().shelves().flat_map(due).collect();
    for key in &keys {
        expire_fields_of(ctx, db, key);
    }
    keys.len() >= KEYS_PER_STEP
}

fn expire_fields_of(ctx: &mut Ctx<'_>, db: u32, key: &[u8]) {
    let now_ms = ctx.now_ms;
    let Some(entry) = ctx.entry_in(db, key) else { return };
    let Some(Value::Hash(hash)) = entry.as_value() else { return };
    let fields = hash.expired_fields(now_ms, KEYS_PER_STEP);
    let removed = fields.len() as u64;
    let fields: Vec<&[u8]> = fields.iter().map(|field| &field[..]).collect();
    if ctx.apply_in(db, key, Op::Hash(HashOp::remove(&fields))).is_ok() {
        ctx.server.stats.expired_fields.add(removed);
    }
}
