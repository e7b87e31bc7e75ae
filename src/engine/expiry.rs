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
use crate::mutation::{Safeguard, is_off};
use crate::types::hash::value::HashOp;

use super::run;

/// Keys removed at most while one stripe is locked.
const KEYS_PER_STEP: usize = 64;
/// How long a step of the clock keeps expiry from being logged: time for an operator to mend the clock.
const SUSPENSION: Duration = Duration::from_secs(600);

/// Runs the cycle; one per server.
pub struct Expiry {
    session: Session,
    transaction: Transaction,
    stripe: usize,
    suspended_at: Option<Duration>,
}

impl Expiry {
    /// `session` is the one that the server acts in when it acts for itself.
    pub fn new(session: Session) -> Self {
        Self { session, transaction: Transaction::default(), stripe: 0, suspended_at: None }
    }

    /// Visits every stripe once. True if more is due than was removed: come back soon.
    pub fn cycle(&mut self, server: &Server) -> bool {
        self.watch_clock(server);
        let Some(store) = server.store.get() else { return false };
        let suspended = server.expiry_suspended.load(Relaxed) || !server.active_expire.load(Relaxed);
        if suspended || (store.log.admit().is_err() && !is_off(Safeguard::LatchExpiryCycle)) {
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
        let now = server.clock.monotonic();
        if server.clock_has_jumped() {
            tracing::warn!(
                "the clock jumped ahead: expired keys are hidden but not removed for {} s; check the system's clock",
                SUSPENSION.as_secs()
            );
            self.suspended_at = Some(now);
            server.expiry_suspended.store(true, Relaxed);
        }
        if self.suspended_at.is_some_and(|at| now.saturating_sub(at) >= SUSPENSION) {
            tracing::warn!("the clock kept its new time: expired keys are removed again");
            self.suspended_at = None;
            server.expiry_suspended.store(false, Relaxed);
        }
        server.note_clock();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rig::{Rig, client_without_socket};

    const DAY_MS: u64 = 86_400_000;

    /// A server whose expiry remembers the clock from cycle to cycle.
    struct Bench {
        rig: Rig,
        expiry: Expiry,
    }

    impl Bench {
        fn new() -> Self {
            let mut bench = Self {
                rig: Rig::new(),
                expiry: Expiry::new(Session::new(client_without_socket(0, 0), true)),
            };
            bench.cycle();
            bench
        }

        fn cycle(&mut self) {
            while self.expiry.cycle(&self.rig.server) {}
        }

        /// An hour's session, a hash with a field that lasts as long, and a key that stays.
        fn with_sessions() -> Self {
            let mut bench = Self::new();
            for line in [
                "SET session v PX 3600000",
                "HSET hash f v g v",
                "HPEXPIRE hash 3600000 FIELDS 1 f",
                "SET key v",
            ] {
                assert!(!bench.rig.run(line).starts_with('-'), "{line}");
            }
            bench
        }

        fn jump(&self, ms: i64) {
            use crate::clock::Clock;
            self.rig.clock.step_wall_to_ms(self.rig.clock.wall_ms().saturating_add_signed(ms));
        }

        fn appended(&self) -> u64 {
            self.rig.server.store.get().expect("the rig opened it").log.append_lsn()
        }

        fn removed(&self) -> (u64, u64) {
            (self.rig.server.stats.expired_keys.get(), self.rig.server.stats.expired_fields.get())
        }

        fn is_suspended(&self) -> bool {
            self.rig.server.expiry_suspended.load(Relaxed)
        }
    }

    #[test]
    fn what_is_due_is_removed_and_logged() {
        let mut bench = Bench::with_sessions();
        bench.rig.advance_ms(3_599_999);
        bench.cycle();
        assert_eq!(bench.removed(), (0, 0));
        bench.rig.advance_ms(1);
        bench.cycle();
        assert_eq!(bench.removed(), (1, 1));
        assert_eq!(bench.rig.run("DBSIZE"), ":2\r\n");
    }

    #[test]
    fn a_clock_that_jumps_ahead_removes_nothing_and_hides_what_is_due_until_it_is_mended() {
        let mut bench = Bench::with_sessions();
        let appended = bench.appended();
        bench.jump(DAY_MS as i64);
        bench.cycle();
        assert!(bench.is_suspended());
        for (line, reply) in
            [("GET session", "$-1\r\n"), ("HGET hash f", "$-1\r\n"), ("GET key", "$1\r\nv\r\n")]
        {
            assert_eq!(bench.rig.run(line), reply, "{line}");
        }
        bench.rig.advance_ms(599_999);
        bench.cycle();
        assert_eq!((bench.removed(), bench.appended()), ((0, 0), appended));
        bench.jump(-(DAY_MS as i64));
        bench.cycle();
        assert_eq!(bench.rig.run("GET session"), "$1\r\nv\r\n");
        assert_eq!(bench.rig.run("HGET hash f"), "$1\r\nv\r\n");
    }

    /// Commands that come between the jump and expiry's next look.
    #[test]
    fn a_read_right_after_a_jump_removes_nothing() {
        let mut bench = Bench::with_sessions();
        let appended = bench.appended();
        bench.jump(DAY_MS as i64);
        for (line, reply) in
            [("GET session", "$-1\r\n"), ("HGET hash f", "$-1\r\n"), ("TTL session", ":-2\r\n")]
        {
            assert_eq!(bench.rig.run(line), reply, "{line}");
        }
        assert_eq!((bench.removed(), bench.appended()), ((0, 0), appended));
    }

    /// A key that looks absent is absent for those that write, too: nothing of the old value comes back.
    #[test]
    fn a_write_to_a_hidden_key_begins_anew() {
        let mut bench = Bench::new();
        for line in [
            "RPUSH list a b",
            "SET counter 5",
            "HSET hash f v",
            "SETBIT bits 7 1",
            "APPEND text abc",
            "SET gone v",
        ] {
            let key = line.split(' ').nth(1).expect("a key");
            bench.rig.run(line);
            bench.rig.run(&format!("PEXPIRE {key} 1000"));
        }
        bench.jump(DAY_MS as i64);
        bench.cycle();
        let rows = [
            ("RPUSH list c", ":1\r\n"),
            ("LRANGE list 0 -1", "*1\r\n$1\r\nc\r\n"),
            ("INCR counter", ":1\r\n"),
            ("GET counter", "$1\r\n1\r\n"),
            ("HSET hash g w", ":1\r\n"),
            ("HGETALL hash", "*2\r\n$1\r\ng\r\n$1\r\nw\r\n"),
            ("SETBIT bits 6 1", ":0\r\n"),
            ("BITCOUNT bits", ":1\r\n"),
            ("APPEND text d", ":1\r\n"),
            ("GET text", "$1\r\nd\r\n"),
            ("TTL text", ":-1\r\n"),
            ("DEL gone", ":0\r\n"),
            ("EXPIRE gone 100", ":0\r\n"),
            ("RENAME list gone", "+OK\r\n"),
            ("LRANGE gone 0 -1", "*1\r\n$1\r\nc\r\n"),
        ];
        for (line, reply) in rows {
            assert_eq!(bench.rig.run(line), reply, "{line}");
        }
    }

    #[test]
    fn a_clock_that_keeps_its_new_time_is_believed_in_the_end() {
        let mut bench = Bench::with_sessions();
        bench.jump(DAY_MS as i64);
        bench.cycle();
        bench.rig.advance_ms(600_000);
        bench.cycle();
        assert!(!bench.is_suspended());
        assert_eq!(bench.removed(), (1, 1));
    }

    #[test]
    fn small_corrections_and_a_server_that_slept_are_no_jumps() {
        let mut bench = Bench::with_sessions();
        bench.jump(59_000);
        bench.cycle();
        bench.jump(-30_000);
        bench.cycle();
        // Both clocks moved: the process was stopped, or the machine slept with its monotonic clock running.
        bench.rig.advance_ms(DAY_MS);
        bench.cycle();
        assert!(!bench.is_suspended());
        assert_eq!(bench.removed(), (1, 1));
    }

    #[test]
    fn a_clock_that_steps_back_revives_nothing() {
        let mut bench = Bench::with_sessions();
        bench.rig.advance_ms(3_600_000);
        assert_eq!(bench.rig.run("GET session"), "$-1\r\n");
        bench.cycle();
        bench.jump(-(DAY_MS as i64));
        bench.cycle();
        assert_eq!(bench.rig.run("GET session"), "$-1\r\n");
        assert_eq!(bench.rig.run("HGET hash f"), "$-1\r\n");
    }

    #[test]
    fn expiry_logs_nothing_once_the_log_has_failed() {
        use crate::clock::SimClock;
        use crate::disk::sim::{Fault, OpKind};
        use crate::log::{LogOptions, LogState};
        let disk = crate::disk::SimDisk::new(1);
        let clock = std::sync::Arc::new(SimClock::at_ms(1_700_000_000_000));
        let options = LogOptions { threads: false, segment_bytes: 1 << 20, ..LogOptions::default() };
        let mut rig = Rig::open(std::sync::Arc::new(disk.clone()), clock, options).expect("a new store");
        rig.run("SET session v PX 1000");
        let log = rig.server.store.get().expect("the rig opened it").log.clone();
        log.flush_tick(true);
        disk.fail_nth(OpKind::Sync, 1, Fault::Eio);
        rig.settle();
        assert!(matches!(log.state(), LogState::Failed { .. }));
        let appended = log.append_lsn();
        rig.advance_ms(2000);
        rig.expire();
        assert_eq!(rig.run("GET session"), "$-1\r\n");
        assert_eq!((rig.expired_keys(), log.append_lsn()), (0, appended));
    }
}
