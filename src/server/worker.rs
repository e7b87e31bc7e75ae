//! A worker: one thread, one current-thread runtime, its own connections, and the flusher that serves them all once a tick.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc};

use crate::command::context::Transaction;
use crate::command::server::Server;
use crate::command::session::Session;
use crate::engine::{note_next, prefetch};
use crate::headroom;
use crate::keyspace::meanwhile;
use crate::keyspace::prefetch::Place;
use crate::log::LogState;
use crate::mutation::{Safeguard, is_off};

use super::bell::Bell;
use super::client_memory;
use super::connection::{self, Connection};
use super::line::Line;
use super::outbox::Published;
use super::stream::Accepted;
use super::subscribers::Subscribers;

/// Size of the buffer that connections without unread input share for reading.
pub const READ_BUFFER: usize = 64 << 10;

/// Requests longer than this don't wait for others. Also the capacity of the buffers for those that do.
pub const GATHERED_LEN_MAX: usize = 512;
const SMALL_BUFFERS_MAX: usize = 1024;
/// With fewer busy connections there is nothing to gather.
const GATHER_FROM: usize = 2;

/// Connections with long pipelines that are looked at for one that may go on in a tick; the others wait. It makes up to a mebibyte of
/// replies.
const ASKED_FOR_TURNS: usize = 16;

/// Connections that the sweep looks at before others get their turn.
const SWEPT_AT_ONCE: usize = 512;
/// New connections that are begun before others get their turn.
const BEGUN_AT_ONCE: usize = 16;

/// Messages that are put into subscribers' outboxes in one tick.
const DELIVERIES_PER_TICK: usize = 8192;
/// Subscribers to whom a tick sends what is in their outboxes. For the others more gathers meanwhile.
const MAILED_PER_TICK: usize = 256;
/// Connections that go on sending in one tick.
const SENDING_PER_TICK: usize = 2;
/// Longest that messages wait for a busy worker.
const REST_MAX: Duration = Duration::from_millis(2);

/// What the tasks of one worker share.
pub struct Worker {
    pub server: Arc<Server>,
    pub number: usize,
    pub bell: Arc<Bell>,
    /// Connections that have replies to send, or may have.
    due: RefCell<Vec<Rc<Line>>>,
    /// Connections whose replies wait for the log.
    held: RefCell<Vec<Rc<Line>>>,
    /// Connections whose request waits for room in the log, or for a position in it.
    parked: RefCell<Vec<Waker>>,
    /// Connections with more requests than may be executed at once: they take turns, so that those with few are served first.
    turns: RefCell<VecDeque<Rc<Line>>>,
    /// Connections that wait until those that were told to end for `maxmemory-clients` have.
    crowded: RefCell<Vec<Rc<Line>>>,
    /// How the log was found at the last tick, and whether it had failed.
    seen: Cell<(Published, bool)>,
    /// Something was appended since the last tick's end.
    appended: Cell<bool>,
    pub transaction: RefCell<Transaction>,
    pub read_buffer: RefCell<Vec<u8>>,
    /// Small buffers for requests that wait for the other requests of their tick.
    small_buffers: RefCell<Vec<Vec<u8>>>,
    /// What the requests gathered in this tick will look up.
    places: RefCell<Vec<Place>>,
    /// Connections that had something to do in the last tick.
    lately: Cell<usize>,
    /// Every connection, for the sweep of time-outs and limits.
    pub lines: RefCell<Vec<std::rc::Weak<Line>>>,
    pub subscribers: RefCell<Subscribers>,
    /// Connections with messages to send, longest first.
    mailed: RefCell<VecDeque<Rc<Line>>>,
    /// There are deliveries, turns or replies left for another tick.
    carry_on: Notify,
    /// Sockets were asked since turns were last granted.
    asked: Cell<bool>,
    /// Held by the ended connection that gives up what it has left.
    pub settling: Semaphore,
    /// Connections with more to send than one tick sends, longest first.
    unfinished: RefCell<VecDeque<Rc<Line>>>,
    /// When the last deliveries ended, and how long they took.
    delivered: Cell<(Duration, Duration)>,
    /// When this tick's began, if it has some.
    has_delivered: Cell<Option<Duration>>,
    /// Every connection, for the time while a script keeps this thread.
    pub connections: RefCell<Vec<std::rc::Weak<RefCell<Connection>>>>,
    /// New connections.
    accepted: RefCell<mpsc::UnboundedReceiver<Accepted>>,
    aside: Aside,
}

/// What is used while a script keeps the thread.
#[derive(Default)]
struct Aside {
    transaction: RefCell<Transaction>,
    /// When it was last done, and how long it took.
    last: Cell<(Duration, Duration)>,
}

/// While a script keeps the thread it leaves the others at least so much of it: a tenth.
const ASIDE_REST: u32 = 9;
/// Shortest time between two looks at who waits.
const ASIDE_EVERY: Duration = Duration::from_millis(5);

impl Worker {
    fn new(
        server: Arc<Server>,
        number: usize,
        bell: Arc<Bell>,
        accepted: mpsc::UnboundedReceiver<Accepted>,
    ) -> Self {
        Self {
            server,
            number,
            bell,
            due: RefCell::default(),
            held: RefCell::default(),
            parked: RefCell::default(),
            turns: RefCell::default(),
            crowded: RefCell::default(),
            seen: Cell::default(),
            appended: Cell::new(false),
            transaction: RefCell::default(),
            read_buffer: RefCell::default(),
            small_buffers: RefCell::default(),
            places: RefCell::default(),
            lately: Cell::new(0),
            lines: RefCell::default(),
            subscribers: RefCell::default(),
            mailed: RefCell::default(),
            unfinished: RefCell::default(),
            carry_on: Notify::new(),
            asked: Cell::default(),
            settling: Semaphore::new(1),
            delivered: Cell::default(),
            has_delivered: Cell::default(),
            connections: RefCell::default(),
            accepted: RefCell::new(accepted),
            aside: Aside::default(),
        }
    }

    /// A connection ran commands: its replies are looked at when this tick's commands are all done.
    #[inline]
    pub fn due(&self, line: &Rc<Line>, appended: bool) {
        if !line.is_due.get() {
            add_due(&mut self.due.borrow_mut(), line.clone());
        }
        self.appended.set(self.appended.get() | appended);
        self.bell.ring();
    }

    /// Puts all that was published into the outboxes of subscribers, who get it with the ticks that come.
    pub fn deliver(&self) {
        self.hand_out(usize::MAX);
        if !self.mailed.borrow().is_empty() {
            self.bell.ring();
        }
    }

    fn hand_out(&self, count: usize) {
        let mut subscribers = self.subscribers.borrow_mut();
        subscribers.collect(&self.server.channels, self.number);
        let mut mailed = self.mailed.borrow_mut();
        subscribers.deliver(&self.server, count, &mut |line| {
            if !line.has_mail.replace(true) {
                mailed.push_back(line.clone());
            }
        });
        if !subscribers.is_idle() {
            self.carry_on.notify_one();
        }
    }

    /// The deliveries of a tick. They take at most about half of a busy worker's time: meanwhile more messages gather for each
    /// subscriber, and others are served.
    fn deliver_in_turn(&self) {
        let is_done = self.subscribers.borrow().is_idle() && self.mailed.borrow().is_empty();
        if is_done && !self.server.channels.has_mail(self.number) {
            return;
        }
        let now = self.server.clock.monotonic();
        let (end, took) = self.delivered.get();
        let is_busy = !self.due.borrow().is_empty();
        if is_busy && now.saturating_sub(end) < took.min(REST_MAX) {
            return self.carry_on.notify_one();
        }
        self.hand_out(DELIVERIES_PER_TICK);
        self.has_delivered.set(Some(now));
    }

    /// The tick's replies and messages are sent: that belongs to the deliveries as well.
    fn note_deliveries(&self) {
        if let Some(begin) = self.has_delivered.take() {
            let end = self.server.clock.monotonic();
            self.delivered.set((end, end.saturating_sub(begin)));
        }
    }

    /// Makes another tick when the sockets have been asked: a flusher that wakes itself would keep them waiting.
    async fn ticker(self: Rc<Self>) {
        loop {
            self.carry_on.notified().await;
            tokio::task::yield_now().await;
            self.asked.set(true);
            self.bell.ring();
        }
    }

    /// Calls the waker when the log has moved.
    pub fn park(&self, waker: &Waker) {
        self.parked.borrow_mut().push(waker.clone());
    }

    /// Makes a connection wait until it is its turn to go on.
    pub fn wait_for_turn(&self, line: &Rc<Line>) {
        if !line.waits_turn.replace(true) {
            self.turns.borrow_mut().push_back(line.clone());
            self.bell.ring();
        }
    }

    /// Makes a connection wait until there is room.
    pub fn wait_for_room(&self, line: &Rc<Line>) {
        if !line.waits_turn.replace(true) {
            self.crowded.borrow_mut().push(line.clone());
            self.bell.ring();
        }
    }

    /// Lets one of those with long pipelines go on, once for each time that the sockets are asked: whoever sent a short request
    /// meanwhile comes first.
    fn grant_turns(&self) {
        let mut turns = self.turns.borrow_mut();
        let mut crowded = self.crowded.borrow_mut();
        if self.asked.replace(false) {
            for _ in 0..turns.len().min(ASKED_FOR_TURNS) {
                let Some(line) = turns.pop_front() else { break };
                if line.has_more.get() {
                    // Its replies leave before it makes more of them.
                    turns.push_back(line);
                } else {
                    line.take_turn();
                    break;
                }
            }
            if !client_memory::is_crowded(&self.server) {
                crowded.drain(..).for_each(|line| line.take_turn());
            }
        }
        if !turns.is_empty() || !crowded.is_empty() || !self.unfinished.borrow().is_empty() {
            self.carry_on.notify_one();
        }
    }

    /// Whether a request had better wait for those that come with it, so that what they all look up is fetched at once.
    pub fn gathers(&self) -> bool {
        self.lately.get() >= GATHER_FROM
    }

    /// Notes what the request in `query` will look up, and moves it to a small buffer: the large one is shared.
    pub fn gather(&self, session: &Session, query: &mut Vec<u8>) {
        note_next(&self.server, session, query, &mut self.places.borrow_mut());
        let mut small = self.small_buffers.borrow_mut().pop();
        let small = small.get_or_insert_with(|| Vec::with_capacity(GATHERED_LEN_MAX));
        small.extend_from_slice(query);
        query.clear();
        std::mem::swap(small, query);
        self.give_back(std::mem::take(small));
    }

    /// Asks for what the gathered requests will look up.
    #[inline]
    pub fn prefetch_gathered(&self) {
        let mut places = self.places.borrow_mut();
        if !places.is_empty() {
            prefetch(&self.server, &mut places);
        }
    }

    /// Takes a buffer, empty by now, for others to use.
    pub fn give_back(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut shared = self.read_buffer.borrow_mut();
        let mut small = self.small_buffers.borrow_mut();
        if buffer.capacity() == GATHERED_LEN_MAX && small.len() < SMALL_BUFFERS_MAX {
            small.push(buffer);
        } else if buffer.capacity() <= 4 * READ_BUFFER && shared.capacity() < buffer.capacity() {
            *shared = buffer;
        }
    }

    /// Adds those to whom messages are sent in this tick.
    fn take_mailed(&self, due: &mut Vec<Rc<Line>>) {
        let mut mailed = self.mailed.borrow_mut();
        if self.has_delivered.get().is_none() {
            return;
        }
        let count = mailed.len().min(MAILED_PER_TICK);
        for line in mailed.drain(..count) {
            line.has_mail.set(false);
            add_due(due, line);
        }
        if !mailed.is_empty() {
            self.carry_on.notify_one();
        }
    }

    /// Adds some of those that have more to send, once for each time that the sockets are asked.
    fn take_unfinished(&self, due: &mut Vec<Rc<Line>>) {
        let mut unfinished = self.unfinished.borrow_mut();
        if !self.asked.get() {
            return;
        }
        let count = unfinished.len().min(SENDING_PER_TICK);
        for line in unfinished.drain(..count) {
            line.has_more.set(false);
            add_due(due, line);
        }
    }

    /// Sends what a connection may send in this tick.
    #[inline]
    fn send(&self, line: &Rc<Line>, published: Published) {
        if line.send(&self.server.stats, published) && !line.has_more.replace(true) {
            self.unfinished.borrow_mut().push_back(line.clone());
        }
    }

    /// One tick: the log first, then the replies that it allows.
    fn flush(&self) {
        self.deliver_in_turn();
        let stats = &self.server.stats;
        let mut transaction = self.transaction.borrow_mut();
        transaction.time.begin_tick();
        transaction.tally.add_to(stats);
        drop(transaction);
        let mut due = std::mem::take(&mut *self.due.borrow_mut());
        self.lately.set(due.len());
        self.take_mailed(&mut due);
        self.take_unfinished(&mut due);
        let Some(store) = self.server.store.get() else {
            for line in due.drain(..) {
                line.is_due.set(false);
                self.send(&line, Published::default());
            }
            return;
        };
        let log = &store.log;
        let demanded = due.iter().filter_map(|line| line.outbox.borrow().demanded()).max();
        let demanded = demanded.filter(|_| !is_off(Safeguard::HeldDemand));
        if self.appended.replace(false) || demanded.is_some_and(|lsn| lsn > log.durable_lsn()) {
            if let Some(lsn) = demanded {
                log.demand_sync(lsn);
            }
            log.flush_tick(demanded.is_some());
        }
        let published = Published::of(log);
        let failed = matches!(log.state(), LogState::Failed { .. });
        let mut held = std::mem::take(&mut *self.held.borrow_mut());
        held.retain(|line| {
            if line.is_due.get() {
                return true;
            }
            self.send(line, published);
            line.stays_held(failed)
        });
        for line in due.drain(..) {
            line.is_due.set(false);
            self.send(&line, published);
            let was_held = line.is_held.get();
            if line.stays_held(failed) && !was_held {
                held.push(line);
            }
        }
        held.retain(|line| line.is_held.get());
        // Only a log that moved can have what they wait for; otherwise they would be asked again at once, for ever.
        let has_moved = self.seen.replace((published, failed)) != (published, failed);
        let parked = if has_moved { std::mem::take(&mut *self.parked.borrow_mut()) } else { Vec::new() };
        let wants_written = !self.parked.borrow().is_empty()
            || held.iter().any(|line| line.outbox.borrow().waits_for_written());
        self.bell.want_written(wants_written, || log.written_lsn() > published.written);
        *self.held.borrow_mut() = held;
        // Give the emptied list back, so that it need not grow anew every tick.
        let mut slot = self.due.borrow_mut();
        if slot.is_empty() {
            *slot = due;
        }
        drop(slot);
        parked.into_iter().for_each(Waker::wake);
    }

    /// While a script runs for too long, here or on another thread that this one waits for: whoever asks for something is told so, and
    /// may end the script. Nothing is done that takes a lock of the keyspace.
    fn attend(self: &Rc<Self>) {
        let server = &self.server;
        if !server.scripts.is_busy() {
            return;
        }
        let began = server.clock.monotonic();
        let (last, took) = self.aside.last.get();
        if began < last + ASIDE_EVERY.max(took * ASIDE_REST) {
            return;
        }
        if let Ok(mut accepted) = self.accepted.try_borrow_mut() {
            while let Ok(socket) = accepted.try_recv() {
                connection::start(self, socket);
            }
        }
        let published = server.store.get().map(|store| {
            // What was appended before the script began waits for this thread to write it.
            store.log.flush_tick(false);
            Published::of(&store.log)
        });
        let connections = self.connections.borrow().clone();
        for connection in connections.iter().filter_map(std::rc::Weak::upgrade) {
            // One is in the middle of what keeps this thread.
            if let Ok(mut connection) = connection.try_borrow_mut() {
                connection.attend(&mut self.aside.transaction.borrow_mut(), published.unwrap_or_default());
            }
        }
        let ended = server.clock.monotonic();
        self.aside.last.set((ended, ended.saturating_sub(began)));
    }

    /// The flusher's task. It is woken by the first connection of a tick, and so runs after all that were ready with it.
    async fn flusher(self: Rc<Self>) {
        std::future::poll_fn(|cx| {
            self.bell.answer(cx.waker(), || {
                self.flush();
                self.note_deliveries();
                self.grant_turns();
            });
            Poll::<()>::Pending
        })
        .await;
    }

    /// Looks at some connections from place `from` on. The place to go on from; `None` at the end.
    fn sweep_some(&self, from: usize, now_ms: u64) -> Option<usize> {
        let mut lines = self.lines.borrow_mut();
        let end = lines.len().min(from + SWEPT_AT_ONCE);
        let mut kept = from;
        for place in from..end {
            if let Some(line) = lines[place].upgrade() {
                line.sweep(&self.server, now_ms);
                lines.swap(kept, place);
                kept += 1;
            }
        }
        lines.drain(kept..end);
        (kept < lines.len()).then_some(kept)
    }

    /// Four times a second: idle connections, output limits, late syncs.
    async fn sweeper(self: Rc<Self>) {
        let mut interval = tokio::time::interval(std::time::Duration::from_millis(250));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let now_ms = self.server.clock.wall_ms();
            let mut from = 0;
            while let Some(next) = self.sweep_some(from, now_ms) {
                from = next;
                // Ten thousand in one go would take a millisecond in which nobody is served.
                tokio::task::yield_now().await;
            }
            self.lines.borrow_mut().retain(|line| match line.upgrade() {
                Some(line) => {
                    line.sweep(&self.server, now_ms);
                    true
                }
                None => false,
            });
            self.connections.borrow_mut().retain(|connection| connection.strong_count() > 0);
            // The limit may have been lowered.
            client_memory::enforce(&self.server);
            if !self.held.borrow().is_empty() {
                self.bell.ring();
            }
        }
    }
}

fn add_due(due: &mut Vec<Rc<Line>>, line: Rc<Line>) {
    if !line.is_due.replace(true) {
        due.push(line);
    }
}

async fn next_accepted(worker: &Worker) -> Option<Accepted> {
    std::future::poll_fn(|cx| worker.accepted.borrow_mut().poll_recv(cx)).await
}

/// Starts a worker's thread. New connections come through the channel; the worker ends when it is closed.
pub fn spawn(
    server: Arc<Server>,
    bell: Arc<Bell>,
    accepted: mpsc::UnboundedReceiver<Accepted>,
    number: usize,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let thread = std::thread::Builder::new().name(format!("worker-{number}"));
    thread.stack_size(crate::scripting::STACK_BYTES).spawn(move || {
        bell.belongs_to_this_thread();
        headroom::this_thread_grows();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a thread that may start may have an epoll instance");
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async move {
            let worker = Rc::new(Worker::new(server, number, bell, accepted));
            let attending = worker.clone();
            meanwhile::set(Some(Rc::new(move || attending.attend())));
            tokio::task::spawn_local(worker.clone().flusher());
            tokio::task::spawn_local(worker.clone().sweeper());
            tokio::task::spawn_local(worker.clone().ticker());
            let mut begun = 0;
            while let Some(socket) = next_accepted(&worker).await {
                connection::start(&worker, socket);
                begun += 1;
                if begun % BEGUN_AT_ONCE == 0 {
                    tokio::task::yield_now().await;
                }
            }
            meanwhile::set(None);
            // Shutdown: the log is synced by now, so every reply may leave.
            worker.bell.silence();
            worker.deliver();
            worker.flush();
            while !worker.mailed.borrow().is_empty() || !worker.unfinished.borrow().is_empty() {
                worker.asked.set(true);
                worker.flush();
            }
        });
    })
}
