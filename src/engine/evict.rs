//! `maxmemory`: makes room before a command that may take more, or refuses it.
//!
//! An eviction is an op like any other: a logged Delete of one key, made under the lock of its stripe alone. So it replays, those who
//! watch the key see it, and readers of the key wait for its record as for any other. Replay and compaction evict nothing: there is
//! no way from them to here.
//!
//! Nobody waits long for room: a command evicts for as long as `maxmemory-eviction-tenacity` says and is then executed in any case.
//! What is still too much goes in the background. Only if nothing may be evicted at all the command is refused.

use std::time::Duration;

use crate::command::context::{Ctx, Transaction};
use crate::command::memory;
use crate::command::server::{Server, Store};
use crate::command::session::Session;
use crate::command::{Command, Flags};
use crate::error::CommandError;
use crate::keyspace::eviction::{Candidate, First, Pool, Scores};
use crate::keyspace::waiters::StripeSet;
use crate::memory_gauge;

use super::{reclaim, run};

const OOM: CommandError = CommandError::new("OOM command not allowed when used memory > 'maxmemory'.");

/// Evictions between two looks at the clock.
const BATCH: usize = 8;
/// Candidates in a row that turned out not to be evictable, before that is taken for the rule.
const FAILURES_MAX: usize = 10_000;
/// What a step of tenacity up to 10 is worth.
const TENACITY_STEP: Duration = Duration::from_micros(50);

/// What came of an attempt to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// No more than `maxmemory` is in use.
    Enough,
    /// Time was up, or the log takes nothing now.
    Unfinished,
    /// Too much is in use, and nothing may be evicted.
    Nothing,
}

/// Makes room for a command that may need it. An error if there can be none.
#[inline]
pub fn admit(
    server: &Server,
    session: &mut Session,
    transaction: &mut Transaction,
    command: &Command,
) -> Result<(), CommandError> {
    if server.config.maxmemory() == 0 || !may_grow(session, command) {
        return Ok(());
    }
    match make_room(server, session, transaction, patience(server)) {
        Room::Enough | Room::Unfinished => Ok(()),
        // A script is refused what takes more, when it tries.
        Room::Nothing if command.flags.contains(Flags::SCRIPT) => Ok(()),
        Room::Nothing => Err(OOM),
    }
}

/// Whatever is queued takes room, too.
fn may_grow(session: &Session, command: &Command) -> bool {
    let Some(multi) = &session.multi else {
        return command.flags.intersects(Flags::DENYOOM.union(Flags::SCRIPT));
    };
    let mut queued = multi.queue.iter().map(|queued| queued.command.flags);
    !command.flags.contains(Flags::NOT_QUEUED)
        || (command.name == "exec" && queued.any(|flags| flags.contains(Flags::DENYOOM)))
}

/// How long a command may evict; `None`: until there is room.
fn patience(server: &Server) -> Option<Duration> {
    let tenacity = server.config.maxmemory_eviction_tenacity() as u32;
    match tenacity {
        0..=10 => Some(TENACITY_STEP * tenacity),
        // Doubles every five: two minutes at 99.
        11..=99 => Some((TENACITY_STEP * 10).mul_f64(2f64.powf(f64::from(tenacity - 10) / 5.0))),
        _ => None,
    }
}

/// Evicts until no more than `maxmemory` is in use, for at most so long. For callers that hold no stripe.
pub fn make_room(
    server: &Server,
    session: &mut Session,
    transaction: &mut Transaction,
    patience: Option<Duration>,
) -> Room {
    if memory::excess(server) == 0 {
        if server.memory.is_exceeded() {
            server.memory.note_exceeded(false, server.clock.monotonic());
        }
        return Room::Enough;
    }
    let began = server.clock.monotonic();
    let room = evict_until(server, session, transaction, patience.map(|patience| began + patience));
    server.memory.note_exceeded(room != Room::Enough, server.clock.monotonic());
    room
}

fn evict_until(
    server: &Server,
    session: &mut Session,
    transaction: &mut Transaction,
    end: Option<Duration>,
) -> Room {
    let Some(store) = server.store.get() else { return Room::Enough };
    let Some(wanted) = memory::wanted(&server.config) else { return Room::Nothing };
    // What a write gets to hear then is the log's to say. What was flushed gives its room back as fast as it can. And who paused the
    // clients wants nothing to change.
    if store.log.admit().is_err() || reclaim::is_busy() || server.clients.pause(server.now_ms()).is_some() {
        return Room::Unfinished;
    }
    if transaction.eviction.is_new() {
        let id = server.clock.random_id().unwrap_or_default();
        transaction.eviction = Pool::new(u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|at| id[at])));
    }
    let samples = server.config.maxmemory_samples() as usize;
    let up_s = server.uptime().as_secs();
    let accesses = memory::accesses(&server.config, false, server.now_ms(), &mut transaction.chance);
    let scores = Scores { wanted, accesses, up_s };
    let (mut evictions, mut failures) = (0usize, 0);
    loop {
        if !transaction.eviction.gather(&store.keyspace, &scores, samples) || failures > FAILURES_MAX {
            return Room::Nothing;
        }
        if evict_best(server, store, session, transaction, &scores) {
            (evictions, failures) = (evictions + 1, 0);
            memory_gauge::note(true);
            if memory::excess(server) == 0 {
                return Room::Enough;
            }
        } else {
            failures += 1;
        }
        if (evictions + failures).is_multiple_of(BATCH)
            && (end.is_some_and(|end| server.clock.monotonic() >= end) || store.log.admit().is_err())
        {
            return Room::Unfinished;
        }
    }
}

/// Evicts the best candidate, if it still is one.
fn evict_best(
    server: &Server,
    store: &Store,
    session: &mut Session,
    transaction: &mut Transaction,
    scores: &Scores,
) -> bool {
    let Some(candidate) = transaction.eviction.take() else { return false };
    debug_assert!(candidate.db < store.keyspace.databases());
    // Waiting for one's own writes is not waiting for these.
    let last_write = session.last_write;
    let mut evicted = false;
    let stripe = StripeSet::one(candidate.stripe());
    run::run_internal(server, session, transaction, stripe, &mut |ctx| {
        evicted = evict(ctx, &candidate, scores).is_some();
    });
    session.last_write = last_write;
    evicted
}

/// `None`: it is gone, or must not go, or others must go first.
fn evict(ctx: &mut Ctx<'_>, candidate: &Candidate, scores: &Scores) -> Option<()> {
    let space = ctx.keyspace().space(candidate.db);
    let entry = candidate.entry(ctx.held().shelf(candidate.slot).stripe.part(space)?)?;
    let score = scores.score(entry)?;
    if score < candidate.score {
        // It was accessed, or lives longer now.
        let is_still_best = ctx.transaction.eviction.best().is_none_or(|next| score >= next);
        if scores.wanted.first == First::Due || !is_still_best {
            ctx.transaction.eviction.put_again(Candidate { score, ..*candidate });
            return None;
        }
    }
    let key: smallvec::SmallVec<[u8; 64]> = entry.key().into();
    ctx.evict_in(candidate.db, &key).then_some(())?;
    ctx.server.stats.evicted_keys.add(1);
    Some(())
}

#[cfg(test)]
#[path = "evict_tests.rs"]
mod tests;
