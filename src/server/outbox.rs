//! A connection's replies, in order, each held until the log is as safe as the reply needs.

use std::collections::VecDeque;
use std::sync::Arc;

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

/// Messages from this length on are not copied for each connection.
const SHARED_FROM: usize = 4 << 10;

/// Bytes of an outbox that were cut off from those that replies are appended to.
enum Piece {
    Own(Vec<u8>),
    /// Others are sent the same.
    Shared(Arc<[u8]>),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.len(),
            Self::Shared(bytes) => bytes.len(),
        }
    }
}

/// Reply bytes and what they wait for.
#[derive(Default)]
pub struct Outbox {
    /// Replies are appended here.
    pub bytes: Vec<u8>,
    /// What comes before `bytes`.
    pieces: VecDeque<Piece>,
    pieces_len: usize,
    /// Of the first piece, or of `bytes` if there is none, how many were sent.
    sent: usize,
    /// Position of the first byte kept.
    base: u64,
    gates: VecDeque<Gate>,
}

/// Capacity that an empty outbox keeps while its connection is busy: what gathers in a tick for one that many publish to.
const KEEP: usize = 64 << 10;
/// What it keeps when the connection is idle.
const KEEP_IDLE: usize = 1 << 10;

impl Outbox {
    /// Bytes that are not sent yet.
    pub fn len(&self) -> usize {
        self.pieces_len + self.bytes.len() - self.sent
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap.
    pub fn heap_len(&self) -> usize {
        self.pieces_len
            + self.bytes.capacity()
            + self.gates.capacity() * size_of::<Gate>()
            + self.pieces.capacity() * size_of::<Piece>()
    }

    /// How long `bytes` is when `waiting` of it are not sent.
    pub const fn len_with(&self, waiting: usize) -> usize {
        self.sent.saturating_add(waiting).saturating_sub(self.pieces_len)
    }

    /// The connection has been idle: it may not need the room again.
    pub fn give_up_room(&mut self) {
        if self.is_empty() && self.gates.is_empty() && self.heap_len() > KEEP_IDLE {
            self.bytes = Vec::new();
            self.gates = VecDeque::new();
            self.pieces = VecDeque::new();
        }
    }

    /// Position behind the last byte.
    const fn end(&self) -> u64 {
        self.base + (self.pieces_len + self.bytes.len()) as u64
    }

    /// Appends bytes that others are sent as well; returns their position. Long ones are not copied.
    pub fn push_shared(&mut self, bytes: &Arc<[u8]>) -> u64 {
        let position = self.end();
        if bytes.len() < SHARED_FROM {
            self.bytes.extend_from_slice(bytes);
            return position;
        }
        if !self.bytes.is_empty() {
            let own = std::mem::take(&mut self.bytes);
            self.pieces_len += own.len();
            self.pieces.push_back(Piece::Own(own));
        }
        self.pieces_len += bytes.len();
        self.pieces.push_back(Piece::Shared(bytes.clone()));
        position
    }

    /// Something waits for the log.
    pub fn is_held(&self) -> bool {
        !self.gates.is_empty()
    }

    /// Makes the bytes from `from` (a length of `bytes`) on wait for `lsn`.
    #[inline]
    pub fn gate(&mut self, from: usize, lsn: Lsn, level: Level) {
        self.gate_at(self.base + (self.pieces_len + from) as u64, lsn, level);
    }

    /// The same for what begins at a position.
    #[inline]
    pub fn gate_at(&mut self, start: u64, lsn: Lsn, level: Level) {
        if let Some(last) = self.gates.back()
            && last.lsn >= lsn
            && (last.level == level || last.level == Level::Durable)
        {
            // Replies are sent in order, so these wait long enough already.
            return;
        }
        self.gates.push_back(Gate { start, lsn, level });
    }

    /// The highest position whose sync somebody waits for here.
    pub fn demanded(&self) -> Option<Lsn> {
        self.gates.iter().filter(|gate| gate.level == Level::Durable).map(|gate| gate.lsn).max()
    }

    /// The next reply waits for no more than the kernel.
    pub fn waits_for_written(&self) -> bool {
        self.gates.front().is_some_and(|gate| gate.level == Level::Written)
    }

    /// Bytes that may be sent now; there may be more behind them.
    pub fn ready(&mut self, published: Published) -> &[u8] {
        while let Some(gate) = self.gates.front()
            && published.allows(gate.lsn, gate.level)
        {
            self.gates.pop_front();
        }
        let first: &[u8] = match self.pieces.front() {
            None => &self.bytes,
            Some(Piece::Own(bytes)) => bytes,
            Some(Piece::Shared(bytes)) => bytes,
        };
        let end = self.gates.front().map_or(first.len(), |gate| (gate.start - self.base) as usize);
        // A gate may begin within what was sent only if nothing was written between: then nothing is ready.
        &first[self.sent..end.min(first.len()).max(self.sent)]
    }

    /// `count` of the ready bytes were sent.
    pub fn consume(&mut self, count: usize) {
        self.sent += count;
        if let Some(first) = self.pieces.front() {
            let len = first.len();
            if self.sent == len {
                self.pieces.pop_front();
                self.pieces_len -= len;
                self.base += len as u64;
                self.sent = 0;
            }
            return;
        }
        if self.sent == self.bytes.len() {
            self.base += self.sent as u64;
            self.sent = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEEP {
                self.bytes = Vec::new();
            }
        } else if self.sent > 64 << 10 && self.sent > self.bytes.len() / 2 {
            self.base += self.sent as u64;
            let rest = self.bytes.len() - self.sent;
            if self.bytes.capacity() / 4 > rest {
                // It may wait for long: in no more room than it needs.
                self.bytes = self.bytes[self.sent..].to_vec();
            } else {
                self.bytes.drain(..self.sent);
            }
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_behind_what_was_sent_keeps_no_room_of_it() {
        let mut outbox = Outbox::default();
        outbox.bytes.resize(1 << 20, b'x');
        outbox.consume((1 << 20) - 1000);
        assert_eq!(outbox.len(), 1000);
        assert!(outbox.heap_len() < 1 << 18, "{}", outbox.heap_len());
    }

    fn at(written: Lsn, durable: Lsn) -> Published {
        Published { written, durable }
    }

    fn at_durable(durable: Lsn) -> Published {
        at(durable, durable)
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
    fn long_messages_are_not_copied_and_keep_their_place_and_their_gates() {
        let mut outbox = Outbox::default();
        let long: Arc<[u8]> = vec![b'L'; SHARED_FROM].into();
        let short: Arc<[u8]> = b"s"[..].into();
        reply(&mut outbox, "before", 0, Level::Written);
        let at = outbox.push_shared(&long);
        outbox.gate_at(at, 10, Level::Durable);
        let at = outbox.push_shared(&short);
        outbox.gate_at(at, 20, Level::Durable);
        reply(&mut outbox, "after", 30, Level::Durable);
        assert_eq!(Arc::strong_count(&long), 2);
        assert_eq!(outbox.len(), 6 + SHARED_FROM + 1 + 5);
        let mut sent = |published: Published, step: usize| {
            let mut out = Vec::new();
            loop {
                let ready = outbox.ready(published);
                let count = ready.len().min(step);
                out.extend_from_slice(&ready[..count]);
                if count == 0 {
                    return String::from_utf8(out).unwrap();
                }
                outbox.consume(count);
            }
        };
        assert_eq!(sent(at_durable(9), 4), "before");
        assert_eq!(sent(at_durable(10), 1000), "L".repeat(SHARED_FROM));
        assert_eq!(sent(at_durable(20), 9), "s");
        assert_eq!(sent(at_durable(30), 9), "after");
        assert!(outbox.is_empty() && !outbox.is_held());
        assert_eq!(Arc::strong_count(&long), 1);
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
