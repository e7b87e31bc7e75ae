//! The load of one client: pipelines of random operations on keys of its own, every reply checked, until the connection breaks.

use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::subjects::{Operation, State, Values};
use crate::clock::Clock;
use crate::disk::prng::Prng;
use crate::resp::client::{Client, Value};

/// How error replies begin that say: nothing was done, and later it may be.
const REFUSALS: [&str; 2] = ["MISCONF", "OOM"];

/// What one client did in one round.
pub struct Sent {
    pub operations: Vec<Operation>,
    pub acknowledged: usize,
    /// How many were acknowledged when, oldest first.
    pub when: Vec<(Duration, usize)>,
    /// Operations that the server refused to carry out. They are not among the others.
    pub refused: u64,
    /// A reply that is none of those possible.
    pub complaint: Option<String>,
}

impl Sent {
    /// How many were acknowledged by then.
    pub fn acknowledged_by(&self, time: Duration) -> usize {
        let later = self.when.partition_point(|(when, _)| *when <= time);
        later.checked_sub(1).map_or(0, |last| self.when[last].1)
    }
}

/// What all clients of a round share.
pub struct Common<'a> {
    pub clock: &'a dyn Clock,
    /// Acknowledged by all of them.
    pub acknowledged: &'a AtomicU64,
    pub refused: &'a AtomicU64,
}

pub struct Load {
    pub prefix: String,
    pub client: Client<TcpStream>,
    /// What the keys hold when it begins.
    pub state: State,
    pub random: Prng,
    pub values: Values,
    /// Longest pipeline, in operations.
    pub depth: u64,
}

enum Outcome {
    Right,
    Refused,
    Broken,
    Wrong(String),
}

impl Load {
    pub fn run(mut self, common: &Common<'_>) -> Sent {
        let mut sent =
            Sent { operations: Vec::new(), acknowledged: 0, when: Vec::new(), refused: 0, complaint: None };
        loop {
            let before = (self.depth == 1).then(|| self.state.clone());
            let mut awaited = Vec::new();
            for _ in 0..=self.random.below(self.depth) {
                let operation = Operation::random(&mut self.random, &self.state, &mut self.values);
                operation.commands(&self.prefix).iter().for_each(|command| self.client.queue(command));
                awaited.push(operation.apply(&mut self.state, &self.prefix));
                sent.operations.push(operation);
            }
            if self.client.flush().is_err() {
                return sent;
            }
            for expected in awaited {
                match (self.replies(&expected), &before) {
                    (Outcome::Right, _) => {
                        sent.acknowledged += 1;
                        common.acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                    (Outcome::Refused, Some(before)) => {
                        sent.operations.pop();
                        self.state = before.clone();
                        sent.refused += 1;
                        common.refused.fetch_add(1, Ordering::Relaxed);
                    }
                    (Outcome::Wrong(what), _) => {
                        let operation = sent.operations[sent.acknowledged].show(&self.prefix);
                        sent.complaint = Some(format!("{operation} was answered {what}"));
                        return sent;
                    }
                    // With a pipeline nobody knows what the operations behind a refused one met.
                    (Outcome::Refused | Outcome::Broken, _) => return sent,
                }
            }
            sent.when.push((common.clock.monotonic(), sent.acknowledged));
        }
    }

    /// All replies of one operation.
    fn replies(&mut self, expected: &[Value]) -> Outcome {
        let mut outcome = Outcome::Right;
        for expected in expected {
            match self.client.recv() {
                Err(_) => return Outcome::Broken,
                Ok(reply) if reply == *expected => {}
                Ok(reply) if is_refusal(&reply) => outcome = Outcome::Refused,
                // A transaction one of whose commands was refused.
                Ok(Value::Error(text))
                    if text.starts_with("EXECABORT") && matches!(outcome, Outcome::Refused) => {}
                // Being stopped is no wrong reply.
                Ok(Value::Error(text)) if text.starts_with("LOADING") => return Outcome::Broken,
                Ok(reply) => return Outcome::Wrong(format!("{reply}, not {expected}")),
            }
        }
        outcome
    }
}

/// Whether nothing was done. A transaction of scripts and reads is carried out, each write in it refused; if any was done
/// nevertheless, replies to come and the state at the end disagree with the model.
fn is_refusal(reply: &Value) -> bool {
    match reply {
        Value::Error(text) => REFUSALS.iter().any(|refusal| text.starts_with(refusal)),
        Value::Array(replies) => replies.iter().any(is_refusal),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_with_a_refusal_is_a_refusal() {
        let error = |text: &str| Value::Error(text.to_owned());
        let full = || error("MISCONF No space left for the log");
        assert!(is_refusal(&full()) && is_refusal(&error("OOM command not allowed")));
        assert!(is_refusal(&Value::Array(vec![full(), full()])));
        assert!(is_refusal(&Value::Array(vec![Value::Null, full()])));
        for other in [error("ERR syntax error"), Value::Array(vec![]), Value::Array(vec![Value::Integer(1)])]
        {
            assert!(!is_refusal(&other), "{other}");
        }
    }

    #[test]
    fn what_was_acknowledged_by_a_time_is_what_the_last_pipeline_before_it_says() {
        let s = Duration::from_secs;
        let when = vec![(s(1), 3), (s(2), 7), (s(4), 8)];
        let sent = Sent { operations: vec![], acknowledged: 8, when, refused: 0, complaint: None };
        let by = [0, 1, 3, 4, 9].map(|time| sent.acknowledged_by(s(time)));
        assert_eq!(by, [0, 3, 7, 8, 8]);
    }
}
