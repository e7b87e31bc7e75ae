//! What was shown is kept: counters that only grow, connections that raise them, and connections that merely look. A value that
//! anybody was shown, even one whose writer never got an answer, must be there after the SIGKILL.

use super::model;
use super::support::client::{Client, Value};
use super::support::random::Random;

const COUNTERS: usize = 8;
/// Longest pipeline of increments.
const BATCH_MAX: u64 = 16;

/// The highest value of each counter that a reply showed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown([i64; COUNTERS]);

fn key(counter: usize) -> String {
    format!("grown:{counter}")
}

impl Shown {
    fn note(&mut self, counter: usize, value: i64) {
        self.0[counter] = self.0[counter].max(value);
    }

    pub fn merge(&mut self, other: &Self) {
        (0..COUNTERS).for_each(|counter| self.note(counter, other.0[counter]));
    }

    /// Increments until the connection breaks.
    pub fn grow(mut client: Client, mut random: Random) -> Self {
        let mut shown = Self::default();
        loop {
            let batch: Vec<usize> =
                (0..=random.below(BATCH_MAX)).map(|_| random.below(COUNTERS as u64) as usize).collect();
            batch.iter().for_each(|&counter| client.queue(["INCR", &key(counter)]));
            if client.flush().is_err() {
                return shown;
            }
            for counter in batch {
                match client.receive().map(|reply| reply.integer()) {
                    Ok(Some(value)) => shown.note(counter, value),
                    _ => return shown,
                }
            }
        }
    }

    /// Looks until the connection breaks.
    pub fn watch(mut client: Client, mut random: Random) -> Self {
        let mut shown = Self::default();
        loop {
            let counter = random.below(COUNTERS as u64) as usize;
            match client.call(["GET", &key(counter)]) {
                Ok(Value::Bulk(text)) => {
                    let value = String::from_utf8_lossy(&text).parse();
                    shown.note(counter, value.expect("only increments touch these counters"));
                }
                Ok(Value::NilBulk) => {}
                _ => return shown,
            }
        }
    }

    /// The first counter that was taken back, if one was.
    pub fn taken_back(&self, client: &mut Client) -> Option<String> {
        (0..COUNTERS).find_map(|counter| {
            let found = model::read_counter(&key(counter), client).expect("a fresh server knows the counter");
            let shown = self.0[counter];
            (found < shown).then(|| format!("{} is {found} after {shown} was shown", key(counter)))
        })
    }
}
