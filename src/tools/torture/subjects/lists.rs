//! A list as a queue: pushed on the left, popped on the right.

use std::collections::VecDeque;
use std::io;

use super::{Ask, Subject, Values, Words, bulk_or_nil, elements, integer};
use crate::disk::prng::Prng;
use crate::resp::client::Value;
use crate::tools::words::escaped;

/// Beyond this length it is only popped.
const LIMIT: usize = 200;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lists(VecDeque<Vec<u8>>);

#[derive(Debug, Clone)]
pub enum Operation {
    Push(Vec<Vec<u8>>),
    Pop,
    /// From the right end to the left one.
    Rotate,
}

fn key(prefix: &str) -> String {
    format!("{prefix}list")
}

impl Subject for Lists {
    type Operation = Operation;

    fn random(&self, random: &mut Prng, values: &mut Values) -> Operation {
        match random.below(6) {
            0..=2 if self.0.len() < LIMIT => {
                Operation::Push((0..=random.below(3)).map(|_| values.value(random)).collect())
            }
            0..=4 => Operation::Pop,
            _ => Operation::Rotate,
        }
    }

    fn words(operation: &Operation, prefix: &str) -> Words {
        let key = key(prefix);
        match operation {
            Operation::Push(values) => {
                let mut words = super::words(&["LPUSH", &key]);
                words.extend(values.iter().cloned());
                words
            }
            Operation::Pop => super::words(&["RPOP", &key]),
            Operation::Rotate => super::words(&["LMOVE", &key, &key, "RIGHT", "LEFT"]),
        }
    }

    fn apply(&mut self, operation: &Operation) -> Value {
        match operation {
            Operation::Push(values) => {
                values.iter().for_each(|value| self.0.push_front(value.clone()));
                integer(self.0.len())
            }
            Operation::Pop => bulk_or_nil(self.0.pop_back().as_ref()),
            Operation::Rotate => {
                if !self.0.is_empty() {
                    self.0.rotate_right(1);
                }
                bulk_or_nil(self.0.front())
            }
        }
    }

    fn read(prefix: &str, ask: Ask<'_>) -> io::Result<Self> {
        Ok(Self(elements(&ask(&["LRANGE", &key(prefix), "0", "-1"])?).into()))
    }

    fn show(&self) -> Vec<String> {
        let values: Vec<String> = self.0.iter().map(|value| escaped(value)).collect();
        vec![format!("{} elements {}", values.len(), values.join(" "))]
    }
}
