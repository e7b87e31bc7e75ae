//! A connection while a script keeps its worker's thread: what it asks for is answered beside the script, mostly by BUSY.
//!
//! The thread is inside the script, so nothing of the runtime moves: the socket is read directly. What was read and is not complete
//! stays in the connection's input; the runtime finds the socket empty and goes on from there.

use crate::command::context::Transaction;
use crate::engine::{Flow, execute};
use crate::resp::Parsed;

use super::connection::{Connection, State};
use super::outbox::Published;

/// Input of one connection that is taken at a time.
const PIECE: usize = 16 << 10;

impl Connection {
    /// Reads, answers and sends what can be without waiting.
    pub fn attend(&mut self, transaction: &mut Transaction, published: Published) {
        let line = self.line.clone();
        if line.dead.get() {
            return;
        }
        let may_take = matches!(self.state, State::Ready) && !line.closing.get() && !line.waits_turn.get();
        if may_take && !line.is_overloaded(&self.worker.server) {
            self.read_aside();
            if !self.query.is_empty() {
                self.answer_aside(transaction);
            }
        }
        line.send_directly(&self.worker.server.stats, published);
        self.worker.due(&line, false);
    }

    fn read_aside(&mut self) {
        let mut piece = [0; PIECE];
        if self.query.len() >= PIECE {
            return;
        }
        // The end, or an error: the runtime will find the same.
        let count = self.read.read_directly(&mut piece).unwrap_or(0);
        self.query.extend_from_slice(&piece[..count]);
        self.worker.server.stats.net_input_bytes.add(count as u64);
    }

    fn answer_aside(&mut self, transaction: &mut Transaction) {
        self.set_limits();
        while matches!(self.state, State::Ready) && !self.line.closing.get() {
            self.limits.authenticated = self.session.is_authenticated(&self.worker.server.config);
            match self.parser.parse(&self.query, &self.limits) {
                Ok(Parsed::Request) => self.execute_aside(transaction),
                Ok(Parsed::Empty) => {}
                Ok(Parsed::Incomplete) => break,
                Err(error) => self.end_by_protocol_error(&error),
            }
            if self.session.close_after_reply {
                self.line.closing.set(true);
            }
        }
        self.drop_executed();
    }

    fn execute_aside(&mut self, transaction: &mut Transaction) {
        let server = &*self.worker.server;
        let mut outbox = self.line.outbox.borrow_mut();
        let from = outbox.bytes.len();
        let args = self.parser.args(&self.query);
        let outcome = execute(server, &mut self.session, transaction, args, &mut outbox.bytes);
        self.hold(&mut outbox, from, outcome.gate);
        drop(outbox);
        match outcome.flow {
            Flow::Done => self.executed += 1,
            Flow::End => self.end_at_once(),
            _ => {
                // Nothing has happened yet: it is asked again when the script has ended.
                self.state = State::Parked(None);
                self.line.wake();
            }
        }
    }
}
