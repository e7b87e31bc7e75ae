//! Accounts that scripts move amounts between, and the journal of the last moves: a script is whole or absent.

use std::io;

use super::{Ask, Subject, Values, Words, elements, read_number};
use crate::disk::prng::Prng;
use crate::resp::client::Value;

const ACCOUNTS: usize = 3;
/// Moves that the journal keeps.
const KEPT: usize = 20;
const MOVE: &str = "\
local from = redis.call('INCRBY', KEYS[1], -ARGV[1])
local to = redis.call('INCRBY', KEYS[2], ARGV[1])
redis.call('RPUSH', KEYS[3], ARGV[2])
redis.call('LTRIM', KEYS[3], -20, -1)
return {from, to}";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scripts {
    accounts: [i64; ACCOUNTS],
    journal: Vec<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub struct Move {
    from: usize,
    to: usize,
    amount: i64,
    note: Vec<u8>,
}

fn account(prefix: &str, number: usize) -> String {
    format!("{prefix}account:{number}")
}

fn journal(prefix: &str) -> String {
    format!("{prefix}journal")
}

impl Subject for Scripts {
    type Operation = Move;

    fn random(&self, random: &mut Prng, values: &mut Values) -> Move {
        let mut account = || random.below(ACCOUNTS as u64) as usize;
        let (from, to) = (account(), account());
        Move { from, to, amount: 1 + random.below(100) as i64, note: values.value(random) }
    }

    fn words(Move { from, to, amount, note }: &Move, prefix: &str) -> Words {
        let mut words = super::words(&[
            "EVAL",
            MOVE,
            "3",
            &account(prefix, *from),
            &account(prefix, *to),
            &journal(prefix),
            &amount.to_string(),
        ]);
        words.push(note.clone());
        words
    }

    fn apply(&mut self, Move { from, to, amount, note }: &Move) -> Value {
        self.accounts[*from] -= amount;
        let left = self.accounts[*from];
        self.accounts[*to] += amount;
        self.journal.push(note.clone());
        let old = self.journal.len().saturating_sub(KEPT);
        self.journal.drain(..old);
        Value::Array(vec![Value::Integer(left), Value::Integer(self.accounts[*to])])
    }

    fn read(prefix: &str, ask: Ask<'_>) -> io::Result<Self> {
        let mut found = Self::default();
        for (number, balance) in found.accounts.iter_mut().enumerate() {
            *balance = read_number(&account(prefix, number), ask)?;
        }
        found.journal = elements(&ask(&["LRANGE", &journal(prefix), "0", "-1"])?);
        Ok(found)
    }

    fn show(&self) -> Vec<String> {
        let notes = self.journal.iter().map(|note| crate::tools::words::escaped(note));
        vec![format!("{:?}", self.accounts), notes.collect::<Vec<_>>().join(" ")]
    }
}
