//! Counters: numbers that transactions and single commands change.

use std::io;

use super::{Ask, Subject, Values, Words, read_number};
use crate::disk::prng::Prng;
use crate::resp::client::Value;

const COUNTERS: usize = 2;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters([i64; COUNTERS]);

#[derive(Debug, Clone)]
pub struct Increment {
    counter: usize,
    by: i64,
}

fn key(prefix: &str, counter: usize) -> String {
    format!("{prefix}counter:{counter}")
}

impl Subject for Counters {
    type Operation = Increment;

    fn random(&self, random: &mut Prng, _: &mut Values) -> Increment {
        Increment { counter: random.below(COUNTERS as u64) as usize, by: random.below(13) as i64 - 3 }
    }

    fn words(&Increment { counter, by }: &Increment, prefix: &str) -> Words {
        super::words(&["INCRBY", &key(prefix, counter), &by.to_string()])
    }

    fn apply(&mut self, &Increment { counter, by }: &Increment) -> Value {
        self.0[counter] += by;
        Value::Integer(self.0[counter])
    }

    fn read(prefix: &str, ask: Ask<'_>) -> io::Result<Self> {
        let mut counters = Self::default();
        for (counter, number) in counters.0.iter_mut().enumerate() {
            *number = read_number(&key(prefix, counter), ask)?;
        }
        Ok(counters)
    }

    fn show(&self) -> Vec<String> {
        self.0.iter().map(i64::to_string).collect()
    }
}
