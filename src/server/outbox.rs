//! A connection's replies, in order, each held until the log is as safe as the reply needs.

use std::collections::VecDeque;

use crate::log::{Log, Lsn};
use crate::mutation::{Safeguard, is_off};

/// How safe a position must be before a reply that depends on it may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Handed to the kernel: survives SIGKILL. Under `everysec` also no longer than a second from the medium.
    Written,
    /// Synced.
    Durable,
}

/// From `start` on, bytes wait for `lsn`.
#[derive(Debug, Clone, Copy)]
struct Gate {
    /// Counted from the first byte the connection was ever sent.
    start: u64,
    lsn: Lsn,
    level: Level,
}

/// Where the log stands, read once for many connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Published {
    pub written: Lsn,
    pub durable: Lsn,
}

impl Published {
    /// The oldest unsynced write is over a second old: then `everysec` means that replies wait for the sync.
    pub fn of(log: &Log) -> Self {
        let durable = log.durable_lsn();
        let is_late = log.everysec_late() && !is_off(Safeguard::EverysecLate);
        let written = match is_late {
            true => durable,
            false if is_off(Safeguard::WrittenGate) => log.append_lsn(),
            false => log.written_lsn(),
        };
        Self { written, durable }
    }

    #[inline]
    const fn allows(&self, lsn: Lsn, level: Level) -> bool {
        match level {
            Level::Written => self.written >= lsn,
            Level::Durable => self.durable >= lsn,
        }
    }
}

/// Reply bytes and what they wait for.
#[derive(Default)]
pub struct Outbox {
    /// Replies are appended here.
    pub bytes: Vec<u8>,
    /// Of `bytes`, how many were sent.
    sent: usize,
    /// Position of `bytes[0]`.
    base: u64,
    gates: VecDeque<Gate>,
}

/// Capacity that an empty outbox keeps.
const KEEP: usize = 16 << 10;
/// What it keeps when the connection is idle.
const KEEP_IDLE: usize = 1 << 10;

impl Outbox {
    /// Bytes that are not sent yet.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap.
    pub fn heap_len(&self) -> usize {
        self.bytes.capacity() + self.gates.capacity() * size_of::<Gate>()
    }

    /// How long `bytes` is when `waiting` of it are not sent.
    pub const fn len_with(&self, waiting: usize) -> usize {
        self.sent.saturating_add(waiting)
    }

    /// The connection has been idle: it may not need the room again.
    pub fn give_up_room(&mut self) {
        if self.bytes.is_empty() && self.gates.is_empty() && self.heap_len() > KEEP_IDLE {
            self.bytes = Vec::new();
            self.gates = VecDeque::new();
        }
    }

    /// Something waits for the log.
    pub fn is_held(&self) -> bool {
        !self.gates.is_empty()
    }

    /// Makes the bytes from `from` (a length of `bytes`) on wait for `lsn`.
    #[inline]
    pub fn gate(&mut self, from: usize, lsn: Lsn, level: Level) {
        if let Some(last) = self.gates.back()
            && last.lsn >= lsn
            && (last.level == level || last.level == Level::Durable)
        {
            // Replies are sent in order, so these wait long enough already.
            return;
        }
        self.gates.push_back(Gate { start: self.base + from as u64, lsn, level });
    }

    /// The highest position whose sync somebody waits for here.
    pub fn demanded(&self) -> Option<Lsn> {
        self.gates.iter().filter(|gate| gate.level == Level::Durable).map(|gate| gate.lsn).max()
    }

    /// The next reply waits for no more than the kernel.
    pub fn waits_for_written(&self) -> bool {
        self.gates.front().is_some_and(|gate| gate.level == Level::Written)
    }

    /// The bytes that may be sent now.
    pub fn ready(&mut self, published: Published) -> &[u8] {
        while let Some(gate) = self.gates.front()
            && published.allows(gate.lsn, gate.level)
        {
            self.gates.pop_front();
        }
        let end = self.gates.front().map_or(self.bytes.len(), |gate| (gate.start - self.base) as usize);
        // A gate may begin within what was sent only if nothing was written between: then nothing is ready.
        &self.bytes[self.sent..end.max(self.sent)]
    }

    /// `count` of the ready bytes were sent.
    pub fn consume(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.bytes.len() {
            self.base += self.sent as u64;
            self.sent = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEEP {
                self.bytes = Vec::new();
            }
        } else if self.sent > 64 << 10 && self.sent > self.bytes.len() / 2 {
            self.base += self.sent as u64;
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(written: Lsn, durable: Lsn) -> Published {
        Published { written, durable }
    }

    fn reply(outbox: &mut Outbox, text: &str, lsn: Lsn, level: Level) {
        let from = outbox.bytes.len();
        outbox.bytes.extend_from_slice(text.as_bytes());
        if lsn > 0 {
            outbox.gate(from, lsn, level);
        }
    }

    #[test]
    fn replies_leave_in_order_and_only_when_the_log_allows() {
        let mut outbox = Outbox::default();
        reply(&mut outbox, "a", 0, Level::Written);
        reply(&mut outbox, "b", 10, Level::Written);
        reply(&mut outbox, "c", 0, Level::Written);
        reply(&mut outbox, "d", 20, Level::Durable);
        assert_eq!(outbox.ready(at(9, 0)), b"a");
        outbox.consume(1);
        assert_eq!(outbox.ready(at(9, 0)), b"");
        assert_eq!(outbox.ready(at(25, 19)), b"bc");
        assert_eq!(outbox.demanded(), Some(20));
        assert_eq!(outbox.ready(at(25, 20)), b"bcd");
        outbox.consume(3);
        assert!(outbox.is_empty() && !outbox.is_held());
    }

    #[test]
    fn an_earlier_position_never_overtakes_a_later_one() {
        let mut outbox = Outbox::default();
        reply(&mut outbox, "a", 30, Level::Durable);
        reply(&mut outbox, "b", 10, Level::Written);
        assert_eq!(outbox.ready(at(20, 20)), b"");
        assert_eq!(outbox.ready(at(30, 30)), b"ab");
    }

    #[test]
    fn positions_hold_when_sent_bytes_are_dropped() {
        let mut outbox = Outbox::default();
        reply(&mut outbox, &"x".repeat(200_000), 0, Level::Written);
        reply(&mut outbox, "held", 5, Level::Written);
        outbox.consume(150_000);
        assert_eq!(outbox.ready(at(0, 0)).len(), 50_000);
        outbox.consume(50_000);
        assert_eq!(outbox.ready(at(0, 0)), b"");
        assert_eq!(outbox.ready(at(5, 0)), b"held");
    }
}
