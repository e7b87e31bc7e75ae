//! A whole server without sockets or threads, over a simulated disk and clock: for tests and fuzz targets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize};

use parking_lot::Mutex;

use crate::clock::{Clock, SimClock};
use crate::command::clients::Client;
use crate::command::context::Transaction;
use crate::command::memory;
use crate::command::server::Server;
use crate::command::session::Session;
use crate::command::{channels, tracking};
use crate::config::{Config, Name};
use crate::disk::Disk;
use crate::error::StoreError;
use crate::keyspace::stripe::STRIPES;
use crate::keyspace::waiters::StripeSet;
use crate::log::LogOptions;
use crate::resp::OwnedArgs;

use super::dispatch::{self, Flow, Outcome};
use super::{blocking, evict, expiry, transactions};

/// A client's figures when there is no socket behind it.
pub fn client_without_socket(id: u64, now_ms: u64) -> Arc<Client> {
    Arc::new(Client {
        id,
        addr: String::new(),
        laddr: String::new(),
        fd: -1,
        worker: 0,
        unix_socket: false,
        created_ms: now_ms,
        name: Mutex::default(),
        lib_name: Mutex::default(),
        lib_ver: Mutex::default(),
        db: AtomicU32::new(0),
        resp: AtomicU32::new(2),
        last_active_ms: AtomicU64::new(now_ms),
        last_command: AtomicUsize::new(usize::MAX),
        multi: AtomicI64::new(-1),
        watched: AtomicU64::new(0),
        subscriptions: Default::default(),
        tracking: AtomicU32::new(0),
        redirect: AtomicI64::new(-1),
        multi_bytes: AtomicUsize::new(0),
        query_bytes: AtomicUsize::new(0),
        query_free: AtomicUsize::new(0),
        output_bytes: AtomicUsize::new(0),
        commands: AtomicU64::new(0),
        input_total: AtomicU64::new(0),
        output_total: AtomicU64::new(0),
        no_evict: AtomicBool::new(false),
        no_touch: AtomicBool::new(false),
        held_back: AtomicBool::new(false),
        killed: AtomicBool::new(false),
        blocked: Mutex::new(None),
        share: Mutex::default(),
        wake: Box::new(|| {}),
    })
}

/// A server and its connections.
pub struct Rig {
    pub server: Arc<Server>,
    pub clock: Arc<SimClock>,
    sessions: Vec<Session>,
    waiting: Vec<Option<blocking::Parked>>,
    transaction: Transaction,
}

impl Rig {
    /// Opens the store on a disk, as a start of the server does.
    pub fn open(disk: Arc<dyn Disk>, clock: Arc<SimClock>, options: LogOptions) -> Result<Self, StoreError> {
        let config = Arc::new(Config::new());
        let shared: Arc<dyn Clock> = clock.clone();
        let server =
            Server::new(config, shared, crate::registry()).map_err(StoreError::io("random numbers"))?;
        let store = crate::recovery::open(&server, disk, options)?;
        assert!(server.store.set(store).is_ok(), "the server is new, so its store was not set before");
        server.channels.open(vec![Box::new(|| {})]);
        Ok(Self {
            server: Arc::new(server),
            clock,
            sessions: Vec::new(),
            waiting: Vec::new(),
            transaction: Transaction::default(),
        })
    }

    /// An empty store on a disk of its own, at one second past a round time.
    pub fn new() -> Self {
        Self::on(SimClock::at_ms(1_700_000_001_000))
    }

    /// The same, but what is drawn at random follows from `seed`.
    pub fn seeded(seed: u64) -> Self {
        let clock = SimClock::at_ms(1_700_000_001_000);
        clock.seed_ids(seed);
        Self::on(clock)
    }

    fn on(clock: SimClock) -> Self {
        let disk = crate::disk::sim::SimDisk::new(1);
        let clock = Arc::new(clock);
        let options = LogOptions { threads: false, segment_bytes: 1 << 20, ..LogOptions::default() };
        Self::open(Arc::new(disk), clock, options).expect("an empty simulated disk has no faults")
    }

    fn session(&mut self, number: usize) -> &mut Session {
        while self.sessions.len() <= number {
            let client = client_without_socket(self.server.clients.fresh_id(), self.server.now_ms());
            self.server.clients.add(client.clone());
            self.sessions.push(Session::new(client, true));
            self.waiting.push(None);
        }
        &mut self.sessions[number]
    }

    /// Runs a command, words separated by blanks, as the first connection; returns the raw reply.
    pub fn run(&mut self, line: &str) -> String {
        self.run_as(0, line)
    }

    /// Runs a command as one of several connections. A blocked command replies nothing yet: see [`Self::delivered`].
    pub fn run_as(&mut self, session: usize, line: &str) -> String {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        String::from_utf8_lossy(&self.call(session, &words).0).into_owned()
    }

    /// Runs a command of any bytes; returns the raw reply and its outcome.
    pub fn call(&mut self, session: usize, args: &[&[u8]]) -> (Vec<u8>, u64) {
        self.session(session);
        let owned = OwnedArgs::from_slices(args);
        let mut reply = Vec::new();
        self.transaction.time.begin_tick();
        let Outcome { flow, gate } = dispatch::execute(
            &self.server,
            &mut self.sessions[session],
            &mut self.transaction,
            owned.as_args(),
            &mut reply,
        );
        self.transaction.tally.add_to(&self.server.stats);
        if let Flow::Blocked(parked) = flow {
            self.waiting[session] = Some(parked);
        }
        (reply, gate)
    }

    /// Whether a connection is in a blocking command that has not been answered.
    pub fn is_blocked(&mut self, session: usize) -> bool {
        self.session(session);
        self.delivered(session);
        self.waiting[session].is_some()
    }

    /// The reply that a blocked connection got since.
    pub fn delivered(&mut self, session: usize) -> Option<String> {
        self.delivery(session).map(|(reply, _)| reply)
    }

    /// As [`Self::delivered`], with the LSN that the reply depends on.
    pub fn delivery(&mut self, session: usize) -> Option<(String, u64)> {
        let parked = self.waiting[session].as_mut()?;
        let delivery = parked.receiver.try_recv().ok()?;
        self.waiting[session] = None;
        *self.sessions[session].client.blocked.lock() = None;
        Some((String::from_utf8_lossy(&delivery.reply).into_owned(), delivery.gate))
    }

    /// What the timer of a blocked connection does; returns in how many milliseconds it is to do it again.
    pub fn look_again(&mut self, session: usize) -> Option<u64> {
        let parked = self.waiting[session].as_ref()?;
        blocking::look_again(&self.server, &parked.waiter)
    }

    /// In how many milliseconds it does so first.
    pub fn looks_again_in_ms(&self, session: usize) -> Option<u64> {
        self.waiting[session].as_ref()?.look_again_ms
    }

    /// Ends a connection.
    pub fn disconnect(&mut self, session: usize) {
        if let Some(parked) = self.waiting[session].take()
            && parked.waiter.claim()
        {
            blocking::forget(&self.server, &parked.waiter);
        }
        *self.sessions[session].client.blocked.lock() = None;
        channels::forget_session(&self.server, &mut self.sessions[session]);
        tracking::end(&self.server, &mut self.sessions[session]);
        transactions::forget_session(&self.server, &mut self.sessions[session]);
    }

    /// What was published since to those who subscribed.
    pub fn posts(&self) -> Vec<channels::Post> {
        self.server.channels.take_posts(0)
    }

    /// Lets time pass.
    pub fn advance_ms(&self, ms: u64) {
        self.clock.advance(std::time::Duration::from_millis(ms));
    }

    /// One cycle of active expiry.
    pub fn expire(&mut self) {
        let client = client_without_socket(0, self.server.now_ms());
        expiry::Expiry::new(Session::new(client, true)).cycle(&self.server);
    }

    /// From now on `maxmemory` counts keys, so many bytes for each, and nothing else.
    pub fn count_memory_in_keys(&self, bytes_per_key: u64) {
        let probe: memory::Probe = Box::new(move |server| {
            let Some(store) = server.store.get() else { return 0 };
            let keys = (0..STRIPES).map(|stripe| {
                let held = store.keyspace.lock(StripeSet::one(stripe));
                let parts = held.shelves().flat_map(|shelf| {
                    (0..store.keyspace.databases())
                        .filter_map(|db| shelf.stripe.part(store.keyspace.space(db)))
                });
                parts.map(|part| part.len() as u64).sum::<u64>()
            });
            keys.sum::<u64>() * bytes_per_key
        });
        // Set once; the first count stays.
        let _ = self.server.memory.probe.set(probe);
    }

    /// Evicts one key as a policy has it, if one may be evicted.
    pub fn evict_one(&mut self, policy: &str) -> evict::Room {
        // Two, so that a limit below the last key is not 0, which would be none.
        self.count_memory_in_keys(2);
        let used = self.server.memory.probe.get().map_or(0, |probe| probe(&self.server));
        let limit = used.saturating_sub(1).max(1);
        for (name, value) in [(Name::maxmemory_policy, policy), (Name::maxmemory, &limit.to_string())] {
            self.server.config.set_at_start(name, value).expect("callers give a policy");
        }
        let client = client_without_socket(0, self.server.now_ms());
        let mut session = Session::new(client, true);
        let room = evict::make_room(&self.server, &mut session, &mut self.transaction, None);
        for (name, value) in [(Name::maxmemory_policy, "noeviction"), (Name::maxmemory, "0")] {
            self.server.config.set_at_start(name, value).expect("these are the defaults");
        }
        room
    }

    /// Everything in memory in one text that is equal for equal states, keys in order.
    pub fn state(&self) -> String {
        let store = self.server.store.get().expect("the rig opened it");
        crate::keyspace::digest::describe(&store.keyspace)
    }

    /// The ops that the last command made.
    pub fn last_ops(&self) -> &[u8] {
        &self.transaction.body
    }

    /// Lets the log do all its pending work.
    pub fn settle(&self) {
        let store = self.server.store.get().expect("the rig opened it");
        while store.log.step() {}
    }

    /// True once a reply with this gate may leave at a level.
    pub fn is_durable(&self, gate: u64) -> bool {
        self.server.store.get().is_some_and(|store| store.log.durable_lsn() >= gate)
    }

    /// Keys that expiry has removed so far.
    pub fn expired_keys(&self) -> u64 {
        self.server.stats.expired_keys.get()
    }

    /// Whether somebody decided that a connection must end.
    pub fn killed(&self, session: usize) -> bool {
        self.sessions[session].client.killed.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Default for Rig {
    fn default() -> Self {
        Self::new()
    }
}

/// A client that is blocked and its waiter know each other: as at the end of a connection they are told apart, or neither would go.
impl Drop for Rig {
    fn drop(&mut self) {
        self.sessions.iter().for_each(|session| *session.client.blocked.lock() = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_clients_that_were_blocked() {
        let mut rig = Rig::new();
        let clients = [0, 1].map(|session| Arc::downgrade(&rig.session(session).client));
        for session in [0, 1] {
            rig.run_as(session, "BLPOP list 0");
            assert!(rig.is_blocked(session));
        }
        rig.disconnect(0);
        drop(rig);
        assert!(clients.iter().all(|client| client.upgrade().is_none()));
    }
}
