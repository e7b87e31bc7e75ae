//! Active expiry: removes what is due, oldest first, by explicit ops, in short steps that leave the locks in between.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::command::context::{Ctx, Transaction};
use crate::command::server::Server;
use crate::command::session::Session;
use crate::keyspace::stripe::STRIPES;
use crate::keyspace::value::Value;
use crate::keyspace::waiters::StripeSet;
use crate::mutation::{Safeguard, is_off};

use super::run;

/// Keys removed at most while one stripe is locked.
const KEYS_PER_STEP: usize = 64;
/// Steps in one stripe before it is the next one's turn.
const STEPS_PER_STRIPE: usize = 8;
/// Share of the keys with an expiry time that may be due when a cycle begins, in parts of a thousand: a tenth of what is promised
/// for any time, divided by `active-expire-effort`.
const DUE_PER_MILLE: u64 = 25;
/// Fewer keys that are due don't hurry anybody.
const DUE_FEW: u64 = 64;
/// The pause between two cycles is at least this, so that looking costs little however many keys come and go.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// Runs the cycle; one per server.
pub struct Expiry {
    session: Session,
    transaction: Transaction,
    stripe: usize,
    /// Keys removed since the last pause, those with an expiry time that are left, and whether some of them are due.
    removed: u64,
    left: u64,
    more: bool,
    pause: Duration,
}

impl Expiry {
    /// `session` is the one that the server acts in when it acts for itself.
    pub fn new(mut session: Session) -> Self {
        session.no_touch = true;
        Self {
            session,
            transaction: Transaction::default(),
            stripe: 0,
            removed: 0,
            left: 0,
            more: false,
            pause: Duration::MAX,
        }
    }

    /// Visits every stripe once. True if more is due than was removed: come back soon.
    pub fn cycle(&mut self, server: &Server) -> bool {
        server.time.watch(&*server.clock);
        (self.left, self.more) = (0, false);
        let Some(store) = server.store.get() else { return false };
        let suspended = server.time.expiry_is_suspended() || !server.active_expire.load(Relaxed);
        if suspended || (store.log.admit().is_err() && !is_off(Safeguard::LatchExpiryCycle)) {
            return false;
        }
        for _ in 0..STRIPES {
            self.stripe = (self.stripe + 1) % STRIPES;
            self.more |= self.visit(server, self.stripe);
        }
        self.more
    }

    /// How long to rest before the next cycle: the shorter, the larger the share of keys that was due, so that it stays small at any
    /// rate of short-lived keys. Call when cycles have removed all they may.
    pub fn pause(&mut self, server: &Server) -> Duration {
        let longest = Duration::from_millis(1000 / (server.config.hz() as u64).clamp(1, 500));
        let removed = std::mem::take(&mut self.removed);
        let volatile = (removed + self.left).max(1);
        server.stats.note_stale(removed * 10_000 / volatile);
        let wanted = DUE_PER_MILLE / server.config.active_expire_effort().clamp(1, 10) as u64;
        let due = if removed > DUE_FEW { removed * 1000 / volatile } else { 0 };
        let pause = self.pause.min(longest);
        self.pause = match due {
            _ if self.more => PAUSE_MIN,
            due if due > wanted => pause.mul_f64(wanted.max(1) as f64 / due as f64),
            _ => pause.saturating_mul(2),
        };
        if self.more {
            server.stats.expire_cycles_cut.add(1);
        }
        self.pause = self.pause.clamp(PAUSE_MIN, longest.max(PAUSE_MIN));
        self.pause
    }

    /// Some steps in a stripe; others may lock it in between.
    fn visit(&mut self, server: &Server, stripe: usize) -> bool {
        let mut found = (true, 0);
        for _ in 0..STEPS_PER_STRIPE {
            found = self.step(server, stripe);
            if !found.0 {
                break;
            }
        }
        self.left += found.1;
        found.0
    }

    fn step(&mut self, server: &Server, stripe: usize) -> (bool, u64) {
        let (mut more, mut removed, mut left) = (false, 0, 0);
        let (session, transaction) = (&mut self.session, &mut self.transaction);
        run::run_internal(server, session, transaction, StripeSet::one(stripe), &mut |ctx| {
            // The clock may have been set since the cycle began.
            if server.hides_expired() {
                return;
            }
            for db in 0..ctx.keyspace().databases() {
                let space = ctx.keyspace().space(db);
                if ctx.held().shelves().all(|shelf| shelf.stripe.part(space).is_none()) {
                    continue;
                }
                let expired = expire_keys(ctx, db);
                removed += expired as u64;
                more |= (expired >= KEYS_PER_STEP) | expire_fields(ctx, db);
                let parts = ctx.held().shelves().filter_map(|shelf| shelf.stripe.part(space));
                left += parts.map(|part| part.expiring_len() as u64).sum::<u64>();
            }
        });
        self.removed += removed;
        (more, left)
    }
}

/// Returns how many there were.
fn expire_keys(ctx: &mut Ctx<'_>, db: u32) -> usize {
    let (space, now_ms) = (ctx.keyspace().space(db), ctx.now_ms);
    let due = |shelf: &crate::keyspace::Shelf| {
        shelf.stripe.part(space).map_or_else(Vec::new, |part| part.expired(now_ms, KEYS_PER_STEP))
    };
    let keys: Vec<_> = ctx.held().shelves().flat_map(due).collect();
    for key in &keys {
        ctx.expire_in(db, key);
    }
    keys.len()
}

fn expire_fields(ctx: &mut Ctx<'_>, db: u32) -> bool {
    let (space, now_ms) = (ctx.keyspace().space(db), ctx.now_ms);
    let due = |shelf: &crate::keyspace::Shelf| {
        shelf.stripe.part(space).map_or_else(Vec::new, |part| part.with_expired_parts(now_ms, KEYS_PER_STEP))
    };
    let keys: Vec<_> = ctx.held().shelves().flat_map(due).collect();
    let mut more = keys.len() >= KEYS_PER_STEP;
    for key in &keys {
        more |= expire_fields_of(ctx, db, key);
    }
    more
}

/// True if the hash may have more fields that are due.
fn expire_fields_of(ctx: &mut Ctx<'_>, db: u32, key: &[u8]) -> bool {
    let now_ms = ctx.now_ms;
    let Some(entry) = ctx.entry_in(db, key) else { return false };
    let Some(Value::Hash(hash)) = entry.as_value() else { return false };
    let fields = hash.expired_fields(now_ms, KEYS_PER_STEP);
    let fields: Vec<&[u8]> = fields.iter().map(|field| &field[..]).collect();
    // It fits: the fields were found just now, under the same lock.
    let _ = ctx.expire_fields_in(db, key, &fields);
    fields.len() >= KEYS_PER_STEP
}

#[cfg(test)]
#[path = "expiry_clock_tests.rs"]
mod clock_tests;
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
            self.rig.server.time.expiry_is_suspended()
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

    /// All in one slot, so that no other stripe can help.
    #[test]
    fn the_more_is_due_the_sooner_the_next_cycle_comes() {
        let mut bench = Bench::new();
        let longest = Duration::from_millis(100);
        assert_eq!(bench.expiry.pause(&bench.rig.server), longest);
        let fill = |bench: &mut Bench, round: u32, keys: u32, ttl_ms: u32| {
            for n in 0..keys {
                bench.rig.run(&format!("SET {{t}}{round}:{n} v PX {ttl_ms}"));
            }
        };
        fill(&mut bench, 0, 1000, 3_600_000);
        fill(&mut bench, 1, 1000, 50);
        bench.rig.advance_ms(50);
        let before = bench.rig.expired_keys();
        assert!(bench.expiry.cycle(&bench.rig.server), "one cycle doesn't do for so many in one slot");
        assert_eq!(bench.rig.expired_keys() - before, (STEPS_PER_STRIPE * KEYS_PER_STEP) as u64);
        assert_eq!(bench.expiry.pause(&bench.rig.server), PAUSE_MIN, "some are left");
        bench.cycle();
        assert_eq!(bench.rig.expired_keys() - before, 1000);
        bench.expiry.pause(&bench.rig.server);
        // A tenth of all: four times as much as wanted.
        bench.expiry.pause = longest;
        fill(&mut bench, 2, 111, 50);
        bench.rig.advance_ms(50);
        bench.cycle();
        let pause = bench.expiry.pause(&bench.rig.server);
        assert!(pause > Duration::from_millis(20) && pause < Duration::from_millis(30), "{pause:?}");
        for _ in 0..3 {
            bench.cycle();
            bench.expiry.pause(&bench.rig.server);
        }
        assert_eq!(bench.expiry.pause(&bench.rig.server), longest, "nothing is due any more");
        assert!(bench.rig.run("INFO stats").contains("expired_time_cap_reached_count:1"));
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
