//! What was shown is kept: counters that only grow, clients that raise them, and clients that merely look. A value that
//! anybody was shown, even one whose writer never got an answer, must be there after the crash.

use std::io;
use std::net::TcpStream;

use super::subjects::{Ask, read_number};
use crate::disk::prng::Prng;
use crate::resp::client::Client;

const COUNTERS: usize = 8;
/// Longest pipeline of increments.
const BATCH_MAX: u64 = 16;

/// The highest value of each counter that a reply showed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown([i64; COUNTERS]);

/// Raises or watches until the connection breaks.
pub type Run = fn(Client<TcpStream>, Prng) -> Shown;

fn key(counter: usize) -> String {
    format!("torture:grown:{counter}")
}

impl Shown {
    fn note(&mut self, counter: usize, value: i64) {
        self.0[counter] = self.0[counter].max(value);
    }

    pub fn merge(&mut self, other: &Self) {
        (0..COUNTERS).for_each(|counter| self.note(counter, other.0[counter]));
    }

    pub fn raise(mut client: Client<TcpStream>, mut random: Prng) -> Self {
        let mut shown = Self::default();
        loop {
            let batch: Vec<usize> =
                (0..=random.below(BATCH_MAX)).map(|_| random.below(COUNTERS as u64) as usize).collect();
            batch.iter().for_each(|&counter| client.queue(&["INCR", &key(counter)]));
            for counter in batch {
                // The first of them sends all.
                match client.recv().map(|reply| reply.as_integer()) {
                    Ok(Some(value)) => shown.note(counter, value),
                    _ => return shown,
                }
            }
        }
    }

    pub fn watch(mut client: Client<TcpStream>, mut random: Prng) -> Self {
        let mut shown = Self::default();
        loop {
            let counter = random.below(COUNTERS as u64) as usize;
            match client.call(&["GET", &key(counter)]) {
                Ok(reply) if reply.is_null() => {}
                Ok(reply) => match reply.as_str().and_then(|text| text.parse().ok()) {
                    Some(value) => shown.note(counter, value),
                    None => return shown,
                },
                Err(_) => return shown,
            }
        }
    }

    /// The counters that were taken back.
    pub fn taken_back(&self, ask: Ask<'_>) -> io::Result<Vec<String>> {
        let mut complaints = Vec::new();
        for (counter, &shown) in self.0.iter().enumerate() {
            let found = read_number(&key(counter), ask)?;
            if found < shown {
                complaints.push(format!("{} is {found} after {shown} was shown", key(counter)));
            }
        }
        Ok(complaints)
    }

    /// Goes on from what the server holds: later rounds ask for no more.
    pub fn read(ask: Ask<'_>) -> io::Result<Self> {
        let mut shown = Self::default();
        for counter in 0..COUNTERS {
            shown.0[counter] = read_number(&key(counter), ask)?;
        }
        Ok(shown)
    }
}
