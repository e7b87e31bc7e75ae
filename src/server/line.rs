//! What a connection's task and the worker's flusher share: its replies, and what they may become.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::command::clients::Client;
use crate::command::server::Server;
use crate::command::stats::Stats;
use crate::config::{ClientClass, OutputBufferLimit};
use crate::log::{LogState, Lsn, Policy};
use crate::mutation::{Safeguard, is_off};

use super::client_memory;
use super::outbox::{Level, Outbox, Published};
use super::stream::WriteHalf;

/// An outbox with less than this counts as empty where the replies of all connections are added up.
pub const COUNTED_FROM: usize = 16 << 10;

/// Bytes that one connection sends before others do: some tenths of a millisecond.
const SENT_AT_ONCE: usize = 128 << 10;

/// After so long without a request a connection gives up the room of its last replies.
const GIVE_UP_ROOM_MS: u64 = 1000;

/// What the connection's task and the worker's flusher share.
pub struct Line {
    pub outbox: RefCell<Outbox>,
    pub write: WriteHalf,
    pub client: Arc<Client>,
    /// In the flusher's list of this tick.
    pub is_due: Cell<bool>,
    /// In the worker's list of those that have more to send than one tick sends.
    pub has_more: Cell<bool>,
    /// Messages were handed to it that no tick has sent yet.
    pub has_mail: Cell<bool>,
    /// In the flusher's list of those that wait for the log.
    pub is_held: Cell<bool>,
    /// The socket took less than it was offered: the task waits until it takes more.
    pub is_full: Cell<bool>,
    /// To be closed once everything is sent.
    pub closing: Cell<bool>,
    pub dead: Cell<bool>,
    /// What `held_reply_bytes` counts of this connection.
    counted: Cell<u64>,
    /// The task takes no requests until replies have left.
    pub overloaded: Cell<bool>,
    /// In one of the worker's queues of those that may not go on yet.
    pub waits_turn: Cell<bool>,
    /// Bytes kept of its input, as far as they are known to `maxmemory-clients`.
    pub input_bytes: Cell<usize>,
    /// What was last noted of its memory.
    noted_bytes: Cell<usize>,
    /// Since when the output has been over its soft limit, in Unix milliseconds.
    over_soft_since_ms: Cell<Option<u64>>,
    /// When it was last seen waiting for the server, in Unix milliseconds.
    waited_ms: Cell<u64>,
    /// In a command that waits: for a key, the log or a snapshot.
    pub blocked: Cell<bool>,
    /// CLIENT DURABILITY of its session.
    pub durability: Cell<Option<Policy>>,
}

impl Line {
    pub fn new(write: WriteHalf, client: Arc<Client>) -> Self {
        Self {
            outbox: RefCell::default(),
            write,
            client,
            is_due: Cell::new(false),
            has_more: Cell::new(false),
            has_mail: Cell::new(false),
            is_held: Cell::new(false),
            is_full: Cell::new(false),
            closing: Cell::new(false),
            dead: Cell::new(false),
            counted: Cell::new(0),
            overloaded: Cell::new(false),
            waits_turn: Cell::new(false),
            input_bytes: Cell::new(0),
            noted_bytes: Cell::new(usize::MAX),
            over_soft_since_ms: Cell::new(None),
            waited_ms: Cell::new(0),
            blocked: Cell::new(false),
            durability: Cell::new(None),
        }
    }

    pub fn wake(&self) {
        (self.client.wake)();
    }

    pub fn end(&self) {
        self.dead.set(true);
        self.wake();
    }

    /// It goes on, with more than it had.
    pub fn take_turn(&self) {
        self.waits_turn.set(false);
        self.wake();
    }

    /// Tells `maxmemory-clients` what it keeps. True if it, or somebody else, must end for it.
    pub fn note_memory(&self, server: &Server) -> bool {
        let kept = self.input_bytes.get() + self.outbox.borrow().heap_len();
        self.noted_bytes.replace(kept) != kept && client_memory::note(server, &self.client, kept)
    }

    /// How safe a position must be for this connection to be shown what depends on it.
    pub fn level(&self, policy: Policy) -> Level {
        let own = self.durability.get().filter(|_| !is_off(Safeguard::OwnLevel));
        match own.unwrap_or(policy) {
            Policy::Always => Level::Durable,
            Policy::EverySec | Policy::No => Level::Written,
        }
    }

    /// Adds a message that others sent, to be shown when the log is as safe at `gate` as this connection asks for. False if it gets
    /// nothing: it has ended, or the log has failed and what the message tells of may be lost.
    pub fn push(&self, server: &Server, message: &Arc<[u8]>, gate: Lsn) -> bool {
        if self.dead.get() || self.closing.get() {
            return false;
        }
        let log = server.store.get().map(|store| &store.log).filter(|log| gate > log.durable_lsn());
        if log.is_some_and(|log| matches!(log.state(), LogState::Failed { .. })) {
            return false;
        }
        let mut outbox = self.outbox.borrow_mut();
        let from = outbox.push_shared(message);
        if let Some(log) = log {
            outbox.gate_at(from, gate, self.level(log.policy()));
        }
        let len = outbox.len();
        drop(outbox);
        if len > COUNTED_FROM {
            self.note_memory(server);
            let hard = self.limit(server).hard_bytes;
            if hard > 0 && len as u64 > hard {
                self.end_over_limit(server, len);
            }
        }
        true
    }

    /// The limit of its output.
    fn limit(&self, server: &Server) -> OutputBufferLimit {
        let class = if self.client.is_subscribed() { ClientClass::PubSub } else { ClientClass::Normal };
        server.config.output_buffer_limit(class)
    }

    /// The output has grown beyond a little. True if no more requests are to be executed for now.
    #[cold]
    pub fn has_too_much(&self, server: &Server, authenticated: bool) -> bool {
        let len = self.outbox.borrow().len();
        self.count_held(&server.stats, len);
        let limit = self.limit(server).hard_bytes;
        let is_stranger = !authenticated && !is_off(Safeguard::StrangerOutput);
        if is_stranger || (limit > 0 && len as u64 > limit) {
            self.end_over_limit(server, len);
            return true;
        }
        self.is_overloaded(server)
    }

    fn end_over_limit(&self, server: &Server, bytes: usize) {
        if !self.dead.get() {
            tracing::warn!(client = self.client.id, bytes, "output over client-output-buffer-limit: closed");
            server.stats.output_buffer_limit_disconnections.add(1);
            self.end();
        }
    }

    /// Sends what the log allows and the socket takes. True if there may be more of that, for when others have had their turn.
    pub fn send(&self, stats: &Stats, published: Published) -> bool {
        self.send_by(WriteHalf::try_write, stats, published)
    }

    /// As [`Self::send`], while the runtime stands still: it could not say that the socket takes something.
    pub fn send_directly(&self, stats: &Stats, published: Published) -> bool {
        self.send_by(WriteHalf::write_directly, stats, published)
    }

    #[inline]
    fn send_by(
        &self,
        write: impl Fn(&WriteHalf, &[u8]) -> std::io::Result<usize>,
        stats: &Stats,
        published: Published,
    ) -> bool {
        if self.dead.get() || self.is_full.get() {
            return false;
        }
        let mut outbox = self.outbox.borrow_mut();
        let mut left = SENT_AT_ONCE;
        loop {
            let ready = outbox.ready(published);
            if ready.is_empty() || left == 0 {
                break;
            }
            match write(&self.write, &ready[..ready.len().min(left)]) {
                Ok(sent) => {
                    left -= sent;
                    outbox.consume(sent);
                    self.client.output_total.fetch_add(sent as u64, Relaxed);
                    stats.net_output_bytes.add(sent as u64);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.is_full.set(true);
                    self.wake();
                    break;
                }
                Err(_) => {
                    self.end();
                    break;
                }
            }
        }
        self.client.output_bytes.store(outbox.len(), Relaxed);
        self.count_held(stats, outbox.len());
        if self.overloaded.replace(false) {
            self.wake();
        }
        if self.closing.get() && outbox.is_empty() {
            self.end();
        }
        left == 0
    }

    /// Keeps the sum over all connections; small outboxes are left out, so that it costs nothing for most.
    pub fn count_held(&self, stats: &Stats, len: usize) {
        // Messages have a limit of their own: who reads them slowly does not make others wait.
        let new = if len > COUNTED_FROM && !self.client.is_subscribed() { len as u64 } else { 0 };
        stats.held_reply_bytes.change(self.counted.replace(new), new);
    }

    /// Too many replies wait to leave: of this connection, or of all, this one among them.
    pub fn is_overloaded(&self, server: &Server) -> bool {
        let (len, max) = (self.outbox.borrow().len(), server.config.held_replies_size());
        let is_full = len as u64 > max || (len > COUNTED_FROM && server.stats.held_reply_bytes.get() > max);
        is_full && !is_off(Safeguard::HeldReplies)
    }

    /// Whether replies still wait for the log. Once it has failed they never leave: the connection ends, outcome unknown.
    pub fn stays_held(&self, failed: bool) -> bool {
        let held = self.outbox.borrow().is_held() && !self.dead.get();
        let failed = failed && !is_off(Safeguard::LatchHeld);
        if held && failed {
            self.end();
        }
        self.is_held.set(held && !failed);
        held && !failed
    }

    /// Its silence is the server's: a command waits for something, a pause or the log holds a request back, or the log a reply.
    fn waits_for_us(&self, server: &Server) -> bool {
        self.blocked.get() || self.client.held_back.load(Relaxed) || self.waits_for_log(server)
    }

    /// Nothing of its replies may leave yet. What merely is not read is the client's affair.
    fn waits_for_log(&self, server: &Server) -> bool {
        let mut outbox = self.outbox.borrow_mut();
        let store = server.store.get().filter(|_| outbox.is_held());
        store.is_some_and(|store| outbox.ready(Published::of(&store.log)).is_empty())
    }

    /// Time-outs and output limits, now and then.
    pub fn sweep(&self, server: &Server, now_ms: u64) {
        let active_ms = self.client.last_active_ms.load(Relaxed);
        let idle_ms = now_ms.saturating_sub(active_ms);
        if self.waits_for_us(server) {
            self.waited_ms.set(now_ms);
        }
        let timeout = server.config.timeout() as u64;
        let silent_ms = now_ms.saturating_sub(active_ms.max(self.waited_ms.get()));
        let is_idle = silent_ms > timeout * 1000 && !is_off(Safeguard::IdleTimeout);
        if timeout > 0 && is_idle && !self.client.is_subscribed() {
            self.end();
        }
        let limit = self.limit(server);
        let bytes = self.outbox.borrow().len() as u64;
        let over_soft = limit.soft_bytes > 0 && bytes > limit.soft_bytes;
        let since = self.over_soft_since_ms.get().unwrap_or(now_ms);
        self.over_soft_since_ms.set(over_soft.then_some(since));
        let soft_ended = over_soft && now_ms.saturating_sub(since) >= limit.soft_seconds * 1000;
        if soft_ended || (limit.hard_bytes > 0 && bytes > limit.hard_bytes) {
            self.end_over_limit(server, bytes as usize);
        }
        if idle_ms > GIVE_UP_ROOM_MS {
            self.outbox.borrow_mut().give_up_room();
        }
        // Sending leaves less than was noted; the limit may have changed.
        self.note_memory(server);
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
