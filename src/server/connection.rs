//! One connection: read, parse, execute, hold the replies, send them.
//!
//! The task reads and executes; the worker's flusher sends. Both run on the worker's thread and share a [`Line`].

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use crate::command::session::Session;
use crate::command::snapshots::{Then, Waiting};
use crate::command::{channels, tracking};
use crate::config::ClientClass;
use crate::engine::blocking::{self, Delivery, Parked};
use crate::engine::dispatch::WaitDurable;
use crate::engine::{Flow, execute, look_ahead, run};
use crate::log::{LogState, Lsn};
use crate::mutation::{Safeguard, is_off};
use crate::resp::{Limits, Parsed, Parser, ProtocolError, Reply};

use super::client_memory;
use super::estate::Estate;
use super::line::{COUNTED_FROM, Line};
use super::listen;
use super::outbox::Outbox;
use super::stream::{Accepted, ReadHalf};
use super::worker::{GATHERED_LEN_MAX, READ_BUFFER, Worker};

/// What a connection is doing between two requests.
pub(super) enum State {
    Ready,
    /// A parsed request waits for room in the log, or for the end of a pause.
    Parked(Option<Pin<Box<Sleep>>>),
    /// A blocking command waits for a key.
    Blocked(Parked, Option<Pin<Box<Sleep>>>),
    /// WAITAOF waits for a position. Through the receiver CLIENT UNBLOCK ends that: `true` as by an error.
    Waiting(WaitDurable, Option<Pin<Box<Sleep>>>, oneshot::Receiver<bool>),
    /// SAVE waits for the snapshot.
    Saving(Waiting),
}

pub struct Connection {
    pub(super) worker: Rc<Worker>,
    pub(super) line: Rc<Line>,
    pub(super) read: ReadHalf,
    pub(super) parser: Parser,
    /// Input that was not executed yet.
    pub(super) query: Vec<u8>,
    pub(super) session: Session,
    pub(super) state: State,
    waker: Arc<Mutex<Option<Waker>>>,
    pub(super) limits: Limits,
    /// What it may still do before others get their turn, in requests.
    turn: usize,
    /// What a blocking command keeps while it waits.
    blocked_bytes: usize,
    /// When a blocking command looks again whether something has come with time.
    look: Option<Pin<Box<Sleep>>>,
    /// The client has closed its side: no more input comes.
    is_half_closed: bool,
    /// Requests executed.
    pub(super) executed: u64,
}

/// Requests of one connection that are executed before others get their turn, unless it has waited for it: few pipelines are longer.
const TURN: usize = 256;
/// The same for one that has waited.
const LONG_TURN: usize = 1024;
/// Bytes of replies that count as a request.
const TURN_REPLY_LEN: usize = 1 << 10;

/// Output of a client that has not said who it is.
const UNAUTHENTICATED_OUTPUT_MAX: usize = COUNTED_FROM;

/// What a key that is waited for takes besides its own bytes, in the waiter and with its stripe.
const WAITED_OVERHEAD: usize = 160;

/// Longest that a parked request waits before it looks again by itself.
const PARK_RETRY: Duration = Duration::from_millis(50);

/// Serves an accepted socket on the worker's thread.
pub fn start(worker: &Rc<Worker>, socket: Accepted) {
    let server = &worker.server;
    let arrived = || server.clients.arriving.fetch_sub(1, Relaxed);
    let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
    let shared = waker.clone();
    let wake = Box::new(move || {
        if let Some(waker) = &*shared.lock() {
            waker.wake_by_ref();
        }
    });
    let client = Arc::new(listen::describe(server, worker.number, &socket, wake));
    let (read, write) = match socket.split() {
        Ok(halves) => halves,
        Err(error) => {
            tracing::warn!("a connection could not be taken over: {error}");
            arrived();
            return;
        }
    };
    server.clients.add(client.clone());
    arrived();
    let line = Rc::new(Line::new(write, client.clone()));
    worker.lines.borrow_mut().push(Rc::downgrade(&line));
    worker.subscribers.borrow_mut().know(&line);
    let authenticated = server.config.requirepass().is_empty();
    let connection = Connection {
        worker: worker.clone(),
        line,
        read,
        parser: Parser::new(),
        query: Vec::new(),
        session: Session::new(client, authenticated),
        state: State::Ready,
        waker,
        limits: Limits::DEFAULT,
        turn: TURN,
        blocked_bytes: 0,
        look: None,
        is_half_closed: false,
        executed: 0,
    };
    connection.line.note_memory(server);
    let connection = Rc::new(RefCell::new(connection));
    worker.connections.borrow_mut().push(Rc::downgrade(&connection));
    tokio::task::spawn_local(async move {
        std::future::poll_fn(|cx| connection.borrow_mut().poll(cx)).await;
        let worker = connection.borrow().worker.clone();
        let estate = connection.borrow_mut().end();
        drop(connection);
        estate.settle(&worker.server, &worker.settling).await;
    });
}

/// Tells the worker what a request changed. Who ends a subscription still gets what was published before.
#[inline]
fn change_subscriptions(worker: &Worker, line: &Rc<Line>, session: &mut Session) {
    let changes = session.subscriptions.as_mut().map(|own| std::mem::take(&mut own.changes));
    for change in changes.into_iter().flatten() {
        if !change.is_new {
            worker.deliver();
        }
        worker.subscribers.borrow_mut().change(line, change);
    }
}

impl Connection {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.register(cx);
        loop {
            if self.must_end() {
                return Poll::Ready(());
            }
            if self.line.is_full.get() && self.line.write.poll_writable(cx).is_ready() {
                self.line.is_full.set(false);
                self.worker.due(&self.line, false);
            }
            if self.line.waits_turn.get() {
                return Poll::Pending;
            }
            self.poll_state(cx);
            if self.must_end() {
                // At once, for what it has in memory.
                return Poll::Ready(());
            }
            if self.line.waits_turn.get() {
                self.turn = LONG_TURN;
                return Poll::Pending;
            }
            if self.is_half_closed && !self.line.closing.get() {
                if self.ends_half_closed() {
                    continue;
                }
                return Poll::Pending;
            }
            if !matches!(self.state, State::Ready) && self.query.len() >= READ_BUFFER {
                // It has more to say than may be kept for later: TCP makes it wait.
                return Poll::Pending;
            }
            if self.line.closing.get() {
                self.drop_input();
                return Poll::Pending;
            }
            if self.is_overloaded() {
                // Woken when some have left.
                self.line.overloaded.set(true);
                return Poll::Pending;
            }
            match self.poll_read(cx) {
                Poll::Pending => {
                    self.turn = TURN;
                    self.tuck_away();
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) if is_off(Safeguard::HalfClose) => return Poll::Ready(()),
                // What was asked is still answered: `printf PING | nc` closes its side first.
                Poll::Ready(Ok(0)) => self.is_half_closed = true,
                Poll::Ready(Ok(count)) => {
                    self.line.client.input_total.fetch_add(count as u64, Relaxed);
                    self.worker.server.stats.net_input_bytes.add(count as u64);
                    if matches!(self.state, State::Ready) {
                        if self.query.len() <= GATHERED_LEN_MAX && self.worker.gathers() {
                            // Goes on in `poll_state`, when all that became ready with this connection have read as well.
                            self.worker.gather(&self.session, &mut self.query);
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        self.process(cx);
                        if self.line.waits_turn.get() && !self.must_end() {
                            self.turn = LONG_TURN;
                            return Poll::Pending;
                        }
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
            }
        }
    }

    fn must_end(&self) -> bool {
        self.line.dead.get() || self.line.client.killed.load(Relaxed)
    }

    /// Others wake this task through the client's entry in the registry.
    fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.lock();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Too many replies wait to be read: no more requests are taken until the client reads some.
    fn is_overloaded(&self) -> bool {
        self.line.is_overloaded(&self.worker.server)
    }

    /// The client has said all that it will. False as long as something of that is to be done first, which will wake the task.
    fn ends_half_closed(&mut self) -> bool {
        match &self.state {
            State::Ready if self.is_overloaded() => {
                self.line.overloaded.set(true);
                return false;
            }
            State::Ready => {}
            // Most likely nobody is there any more to take what it waits for, which may never come.
            State::Blocked(..) => self.line.end(),
            State::Waiting(wait, ..) if wait.replicas > 0 => self.line.end(),
            State::Parked(_) | State::Waiting(..) | State::Saving(_) => return false,
        }
        self.line.closing.set(true);
        self.worker.due(&self.line, false);
        true
    }

    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if self.query.capacity() < READ_BUFFER {
            // Borrow the worker's buffer; it goes back when everything in it was executed, or when the rest waits for its end.
            let mut buffer = std::mem::take(&mut *self.worker.read_buffer.borrow_mut());
            buffer.extend_from_slice(&self.query);
            std::mem::swap(&mut buffer, &mut self.query);
            self.worker.give_back(buffer);
        }
        // As much again as has come: what is only announced gets no room.
        if self.query.capacity() - self.query.len() < READ_BUFFER / 4 {
            let wanted = self.parser.wanted().min(self.query.len());
            self.query.reserve(wanted.max(READ_BUFFER));
        }
        let result = self.read.poll_read(cx, &mut self.query);
        if self.query.is_empty() {
            self.give_buffer_back();
        }
        result
    }

    /// A request that is not complete waits in no more room than it needs: the large buffers are for reading.
    fn tuck_away(&mut self) {
        let (len, capacity) = (self.query.len(), self.query.capacity());
        let is_small = len < READ_BUFFER && !is_off(Safeguard::TuckAway);
        if len > 0 && is_small && capacity > 2 * len.max(GATHERED_LEN_MAX) {
            let mut small = Vec::with_capacity(len);
            small.extend_from_slice(&self.query);
            let large = std::mem::replace(&mut self.query, small);
            self.worker.give_back(large);
        }
        self.show_input();
    }

    /// It is to be closed: nothing more is executed.
    fn drop_input(&mut self) {
        if matches!(self.state, State::Ready) && self.query.capacity() > 0 {
            self.give_buffer_back();
            self.parser = Parser::new();
            self.show_input();
        }
    }

    /// Tells others what is kept of the input and of earlier requests.
    fn show_input(&mut self) {
        let client = &self.line.client;
        client.query_bytes.store(self.query.len(), Relaxed);
        client.query_free.store(self.query.capacity() - self.query.len(), Relaxed);
        let kept = self.query.capacity() + self.kept_bytes();
        self.line.input_bytes.set(kept);
        if self.line.note_memory(&self.worker.server) {
            self.worker.wait_for_room(&self.line);
        }
    }

    /// Bytes kept besides the input itself.
    fn kept_bytes(&self) -> usize {
        self.session.kept_bytes() + self.parser.heap_len() + self.blocked_bytes
    }

    fn give_buffer_back(&mut self) {
        self.worker.give_back(std::mem::take(&mut self.query));
    }

    /// Executes everything that is complete in the input.
    fn process(&mut self, cx: &mut Context<'_>) {
        self.worker.prefetch_gathered();
        self.worker.transaction.borrow_mut().time.begin_batch();
        let mut appended = false;
        if client_memory::is_crowded(&self.worker.server) {
            self.worker.wait_for_room(&self.line);
            return;
        }
        self.set_limits();
        // Requests whose keys were asked for already.
        let mut looked_at = 0;
        while matches!(self.state, State::Ready) && !self.line.closing.get() {
            if self.turn == 0 && !is_off(Safeguard::Turns) {
                self.worker.wait_for_turn(&self.line);
                break;
            }
            self.turn = self.turn.saturating_sub(1);
            self.limits.authenticated = self.session.is_authenticated(&self.worker.server.config);
            match self.parser.parse(&self.query, &self.limits) {
                Ok(Parsed::Request) => {
                    if self.session.is_told() {
                        // What was published before the request comes before its reply.
                        self.worker.deliver();
                    }
                    appended |= self.execute(cx);
                    if looked_at > 0 {
                        looked_at -= 1;
                    } else if self.parser.consumed() < self.query.len() {
                        let input = &self.query[self.parser.consumed()..];
                        looked_at = look_ahead(&self.worker.server, &self.session, input);
                    }
                }
                Ok(Parsed::Empty) if is_off(Safeguard::EmptyGoesOn) => break,
                Ok(Parsed::Empty) => {}
                Ok(Parsed::Incomplete) => break,
                Err(error) => self.end_by_protocol_error(&error),
            }
            if self.session.close_after_reply {
                self.line.closing.set(true);
            }
            if self.is_too_much() {
                break;
            }
        }
        self.drop_executed();
        self.show_figures();
        self.worker.due(&self.line, appended);
    }

    /// A request that is none ends the connection, once it has been told why.
    pub(super) fn end_by_protocol_error(&self, error: &ProtocolError) {
        let mut outbox = self.line.outbox.borrow_mut();
        Reply::new(&mut outbox.bytes, self.session.proto).error_bytes(&error.line());
        self.line.closing.set(true);
    }

    /// What the configuration, which may have changed, and the state of the session allow.
    pub(super) fn set_limits(&mut self) {
        let config = &self.worker.server.config;
        if !is_off(Safeguard::BulkLenMax) {
            self.limits.max_bulk_len = usize::try_from(config.proto_max_bulk_len()).unwrap_or(usize::MAX);
        }
        let hard = match config.output_buffer_limit(ClientClass::Normal).hard_bytes {
            0 => u64::MAX,
            bytes => bytes,
        };
        let max = client_memory::limit(config).map_or(hard, |limit| limit.min(hard));
        let max = if max == u64::MAX { usize::MAX } else { self.line.outbox.borrow().len_with(max as usize) };
        self.session.output_len_max = max;
    }

    /// The replies so far, or what else the session keeps, are too much for more requests to be executed now.
    #[inline]
    fn is_too_much(&mut self) -> bool {
        let kept = self.kept_bytes();
        let (len, room) = {
            let outbox = self.line.outbox.borrow();
            (outbox.len(), outbox.heap_len())
        };
        if len <= COUNTED_FROM && kept + room <= 2 * COUNTED_FROM {
            return false;
        }
        self.line.input_bytes.set(kept);
        if self.line.note_memory(&self.worker.server) {
            self.worker.wait_for_room(&self.line);
            return true;
        }
        let is_known = || self.session.is_authenticated(&self.worker.server.config);
        len > UNAUTHENTICATED_OUTPUT_MAX && self.line.has_too_much(&self.worker.server, is_known())
    }

    /// Executes the parsed request. True if something was appended to the log.
    fn execute(&mut self, cx: &mut Context<'_>) -> bool {
        let server = &*self.worker.server;
        if server.shutting_down.load(Relaxed) {
            // Neither executed nor answered: the connection ends with the server.
            self.state = State::Parked(None);
            return false;
        }
        let mut outbox = self.line.outbox.borrow_mut();
        let from = outbox.bytes.len();
        let mut transaction = self.worker.transaction.borrow_mut();
        let args = self.parser.args(&self.query);
        let outcome = execute(server, &mut self.session, &mut transaction, args, &mut outbox.bytes);
        drop(transaction);
        self.line.durability.set(self.session.durability);
        let appended = self.hold(&mut outbox, from, outcome.gate);
        let reply_len = outbox.bytes.len() - from;
        drop(outbox);
        self.turn = self.turn.saturating_sub(reply_len / TURN_REPLY_LEN);
        change_subscriptions(&self.worker, &self.line, &mut self.session);
        self.executed += u64::from(!matches!(outcome.flow, Flow::Park));
        match outcome.flow {
            Flow::Done => {}
            Flow::End => self.end_at_once(),
            Flow::Park => {
                self.worker.park(cx.waker());
                self.line.client.held_back.store(true, Relaxed);
                let mut timer = self.timer(cx, PARK_RETRY);
                // Polled so that it wakes this task, which is not to look again before that or before the log moves.
                let _ = timer.as_mut().poll(cx);
                self.state = State::Parked(Some(timer));
            }
            Flow::Blocked(parked) => {
                let timer = parked.timeout_ms.map(|ms| self.timer(cx, Duration::from_millis(ms)));
                self.note_blocked();
                let keys = parked.waiter.waits.iter().map(|(key, _)| key);
                let bytes = keys.map(|key| 2 * key.len() + WAITED_OVERHEAD).sum();
                self.blocked_bytes = if is_off(Safeguard::BlockedBytes) { 0 } else { bytes };
                self.look = parked.look_again_ms.map(|ms| self.timer(cx, Duration::from_millis(ms)));
                self.state = State::Blocked(parked, timer);
            }
            Flow::WaitDurable(wait) => {
                let timer = wait.timeout_ms.map(|ms| self.timer(cx, Duration::from_millis(ms)));
                if let Some(store) = server.store.get() {
                    store.log.demand_sync(wait.lsn);
                }
                let (blocked, receiver) = blocking::without_keys();
                *self.line.client.blocked.lock() = Some(blocked);
                self.note_blocked();
                self.state = State::Waiting(wait, timer, receiver);
            }
            Flow::WaitSnapshot(waiting) => {
                self.line.blocked.set(true);
                self.state = State::Saving(waiting);
            }
        }
        if matches!(self.state, State::Blocked(..) | State::Waiting(..) | State::Saving(..)) {
            // What was just set has to be polled once to be woken by it.
            cx.waker().wake_by_ref();
        }
        appended
    }

    /// Nothing more of it is executed, and what it was to be sent is dropped with it.
    pub(super) fn end_at_once(&self) {
        self.line.closing.set(true);
        self.line.end();
    }

    /// It waits in a blocking command.
    fn note_blocked(&self) {
        let server = &*self.worker.server;
        server.clients.blocked.fetch_add(1, Relaxed);
        server.stats.blocked_clients.add(1);
        self.line.blocked.set(true);
    }

    /// It waits no more.
    fn note_unblocked(&self) {
        // The entry there knows the client: neither would ever be freed.
        *self.line.client.blocked.lock() = None;
        self.worker.server.clients.blocked.fetch_sub(1, Relaxed);
        self.line.blocked.set(false);
    }

    fn timer(&self, _cx: &Context<'_>, duration: Duration) -> Pin<Box<Sleep>> {
        // Timers beyond a year are as good as none, and within what the runtime's wheel takes.
        Box::pin(sleep(duration.min(Duration::from_secs(365 * 86400))))
    }

    /// Makes the reply that begins at `from` wait for `gate` at this connection's level.
    #[inline]
    pub(super) fn hold(&self, outbox: &mut Outbox, from: usize, gate: Lsn) -> bool {
        if gate == 0 {
            return false;
        }
        let Some(store) = self.worker.server.store.get() else { return false };
        let log = &store.log;
        if gate <= log.durable_lsn() {
            return false;
        }
        if let LogState::Failed { reason } = log.state()
            && !is_off(Safeguard::LatchReads)
        {
            // What it shows may be gone after a restart. Where nothing is shown (CLIENT REPLY, a command that waits) an error would be
            // taken for the reply to another request.
            if outbox.bytes.len() > from {
                outbox.bytes.truncate(from);
                Reply::new(&mut outbox.bytes, self.session.proto).error(run::log_failed(&reason).text());
            }
            return false;
        }
        if outbox.bytes.len() > from {
            outbox.gate(from, gate, self.line.level(log.policy()));
        }
        gate > log.written_lsn()
    }

    pub(super) fn drop_executed(&mut self) {
        if matches!(self.state, State::Parked(_)) {
            // The parsed request stays where it is until it has run.
            return;
        }
        let consumed = self.parser.consumed();
        if consumed == self.query.len() {
            self.parser.shift(consumed);
            self.query.clear();
            self.give_buffer_back();
        } else if consumed > 0 {
            self.parser.shift(consumed);
            self.query.drain(..consumed);
        }
        let limit = self.worker.server.config.client_query_buffer_limit();
        let kept = (self.query.len() + self.kept_bytes()) as u64;
        if kept > limit && !is_off(Safeguard::QueryLimit) {
            tracing::warn!(
                client = self.line.client.id,
                "query buffer over client-query-buffer-limit: closed"
            );
            self.worker.server.stats.query_buffer_limit_disconnections.add(1);
            self.line.end();
        }
    }

    /// What CLIENT LIST shows, once a batch.
    fn show_figures(&mut self) {
        let client = &self.line.client;
        let session = &self.session;
        let now_ms = self.worker.transaction.borrow_mut().time.wall_ms(&*self.worker.server.clock);
        client.last_active_ms.store(now_ms, Relaxed);
        client.commands.store(self.executed, Relaxed);
        client.db.store(session.db, Relaxed);
        client.resp.store(session.proto as u32, Relaxed);
        client.multi.store(session.multi.as_ref().map_or(-1, |multi| multi.queue.len() as i64), Relaxed);
        client.multi_bytes.store(session.kept_bytes(), Relaxed);
        self.show_input();
    }

    /// Looks whether what the connection waits for has come.
    fn poll_state(&mut self, cx: &mut Context<'_>) {
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Ready => {
                if !self.query.is_empty() && !self.is_overloaded() {
                    self.process(cx);
                }
            }
            State::Parked(timer) => {
                if self.worker.server.shutting_down.load(Relaxed) {
                    self.state = State::Parked(timer);
                    return;
                }
                self.worker.server.stats.parked_retries.add(1);
                self.worker.transaction.borrow_mut().time.begin_batch();
                self.set_limits();
                let appended = self.execute(cx);
                if !matches!(self.state, State::Parked(_)) {
                    self.line.client.held_back.store(false, Relaxed);
                }
                self.worker.due(&self.line, appended);
                if matches!(self.state, State::Ready) {
                    self.process(cx);
                }
            }
            State::Blocked(parked, timer) => self.poll_blocked(cx, parked, timer),
            State::Waiting(wait, timer, receiver) => self.poll_waiting(cx, wait, timer, receiver),
            State::Saving(waiting) => self.poll_saving(cx, waiting),
        }
    }

    fn poll_blocked(&mut self, cx: &mut Context<'_>, mut parked: Parked, mut timer: Option<Pin<Box<Sleep>>>) {
        while self.look.as_mut().is_some_and(|look| look.as_mut().poll(cx).is_ready()) {
            let next_ms = blocking::look_again(&self.worker.server, &parked.waiter);
            self.look = next_ms.map(|ms| self.timer(cx, Duration::from_millis(ms)));
        }
        if let Poll::Ready(delivery) = Pin::new(&mut parked.receiver).poll(cx) {
            // A closed channel means that the server ends: so does the connection.
            match delivery {
                Ok(delivery) => self.unblock(cx, &parked, delivery),
                Err(_) => self.line.end(),
            }
            return;
        }
        let over = timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
        if over && parked.waiter.claim() {
            let mut reply = Vec::new();
            parked.nil.write(&mut Reply::new(&mut reply, self.session.proto));
            self.unblock(cx, &parked, Delivery { reply, gate: 0, wrote: 0 });
            return;
        }
        self.state = State::Blocked(parked, if over { None } else { timer });
    }

    fn unblock(&mut self, cx: &mut Context<'_>, parked: &Parked, delivery: Delivery) {
        let server = &*self.worker.server;
        self.note_unblocked();
        blocking::forget(server, &parked.waiter);
        self.blocked_bytes = 0;
        self.look = None;
        self.session.last_write = self.session.last_write.max(delivery.wrote);
        let mut outbox = self.line.outbox.borrow_mut();
        let from = outbox.bytes.len();
        if !parked.is_silent {
            outbox.bytes.extend_from_slice(&delivery.reply);
        }
        let appended = self.hold(&mut outbox, from, delivery.gate);
        drop(outbox);
        self.worker.due(&self.line, appended);
        self.process(cx);
    }

    fn poll_waiting(
        &mut self,
        cx: &mut Context<'_>,
        wait: WaitDurable,
        mut timer: Option<Pin<Box<Sleep>>>,
        mut receiver: oneshot::Receiver<bool>,
    ) {
        let Some(store) = self.worker.server.store.get() else { return };
        let durable = store.log.durable_lsn() >= wait.lsn;
        let unblocked = match Pin::new(&mut receiver).poll(cx) {
            Poll::Ready(as_by_error) => as_by_error.ok(),
            Poll::Pending => None,
        };
        let over = unblocked == Some(false)
            || timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
        let failure = match store.log.state() {
            LogState::Failed { reason } if !durable && !is_off(Safeguard::LatchWaitaof) => Some(reason),
            _ => None,
        };
        if (durable && wait.replicas == 0) || over || failure.is_some() || unblocked.is_some() {
            self.note_unblocked();
            let mut outbox = self.line.outbox.borrow_mut();
            let from = outbox.bytes.len();
            let mut reply = Reply::new(&mut outbox.bytes, self.session.proto);
            if let Some(reason) = failure {
                // No sync will come: without a time-out this would wait for ever.
                reply.error(run::log_failed(&reason).text());
            } else if unblocked == Some(true) {
                reply.error(blocking::UNBLOCKED);
            } else {
                reply.array(2);
                reply.integer(i64::from(durable));
                reply.integer(0);
            }
            if wait.is_silent {
                outbox.bytes.truncate(from);
            }
            drop(outbox);
            self.worker.due(&self.line, false);
            self.process(cx);
            return;
        }
        self.worker.park(cx.waker());
        self.state = State::Waiting(wait, timer, receiver);
    }

    fn poll_saving(&mut self, cx: &mut Context<'_>, mut waiting: Waiting) {
        let Poll::Ready(outcome) = Pin::new(&mut waiting.receiver).poll(cx) else {
            self.state = State::Saving(waiting);
            return;
        };
        self.line.blocked.set(false);
        // A closed channel means that the server ends: so does the connection.
        let Ok(outcome) = outcome else { return self.line.end() };
        let mut outbox = self.line.outbox.borrow_mut();
        let from = outbox.bytes.len();
        let mut reply = Reply::new(&mut outbox.bytes, self.session.proto);
        match (outcome, waiting.then) {
            (Ok(()), Then::Reply) => reply.ok(),
            (Err(error), Then::Reply) => reply.error(&format!("ERR The snapshot was not made: {error}")),
            (Err(error), Then::Shutdown { force: false, .. }) => {
                tracing::error!("no shutdown, because the snapshot was not made: {error}");
                reply.error("ERR Errors trying to SHUTDOWN. Check logs.");
            }
            (_, Then::Shutdown { request, .. }) => {
                self.worker.server.request_shutdown(request);
            }
        }
        if waiting.is_silent {
            outbox.bytes.truncate(from);
        }
        drop(outbox);
        self.worker.due(&self.line, false);
        self.process(cx);
    }

    /// Takes the connection out of everything that knows it, but for what it leaves.
    fn end(&mut self) -> Estate {
        let server = self.worker.server.clone();
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Blocked(parked, _) => {
                // Claimed before: its reply is lost with the connection, as a reply on its way would be.
                let _ = parked.waiter.claim();
                blocking::forget(&server, &parked.waiter);
                self.note_unblocked();
            }
            State::Waiting(..) => self.note_unblocked(),
            State::Ready | State::Parked(_) | State::Saving(_) => {}
        }
        channels::forget_session(&server, &mut self.session);
        change_subscriptions(&self.worker, &self.line, &mut self.session);
        tracking::end(&server, &mut self.session);
        self.worker.subscribers.borrow_mut().forget(self.line.client.id);
        if !is_off(Safeguard::Forgotten) {
            server.clients.remove(self.line.client.id);
        }
        self.line.count_held(&server.stats, 0);
        self.line.dead.set(true);
        *self.line.outbox.borrow_mut() = Outbox::default();
        Estate::of(&mut self.session)
    }
}
