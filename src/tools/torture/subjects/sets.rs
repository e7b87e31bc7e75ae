//! Two sets: members are added, removed, moved from one to the other; the second takes the union of both. SPOP is not among
//! the operations: what it chooses cannot be told before.

use std::collections::BTreeSet;
use std::io;

use super::{Ask, Subject, Values, Words, elements, integer};
use crate::disk::prng::Prng;
use crate::resp::client::Value;
use crate::tools::words::escaped;

/// Sets grow no further than this by values that never come twice.
const MEMBERS_MAX: usize = 40;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sets([BTreeSet<Vec<u8>>; 2]);

#[derive(Debug, Clone)]
pub enum Operation {
    Add(usize, Vec<Vec<u8>>),
    Remove(usize, Vec<u8>),
    /// From the set of this number to the other.
    Move(usize, Vec<u8>),
    /// Into the second set.
    Unite,
    /// Into the second set: what only the first has.
    Subtract,
    Delete(usize),
}

fn key(prefix: &str, set: usize) -> String {
    format!("{prefix}set{set}")
}

impl Sets {
    /// Often one that is there.
    fn member(&self, set: usize, random: &mut Prng) -> Vec<u8> {
        let members = &self.0[set];
        let at = random.below(members.len() as u64 + 1) as usize;
        members.iter().nth(at).cloned().unwrap_or_else(|| random.below(20).to_string().into_bytes())
    }
}

impl Subject for Sets {
    type Operation = Operation;

    fn random(&self, random: &mut Prng, values: &mut Values) -> Operation {
        let set = random.below(2) as usize;
        if self.0[set].len() > MEMBERS_MAX {
            return Operation::Delete(set);
        }
        match random.below(10) {
            0..=3 => {
                // Sets of integers alone are kept in another way.
                let mut one = |random: &mut Prng| match random.below(3) {
                    0 => values.value(random),
                    _ => random.below(20).to_string().into_bytes(),
                };
                Operation::Add(set, (0..=random.below(3)).map(|_| one(random)).collect())
            }
            4 | 5 => Operation::Remove(set, self.member(set, random)),
            6 | 7 => Operation::Move(set, self.member(set, random)),
            8 => Operation::Unite,
            _ => Operation::Subtract,
        }
    }

    fn words(operation: &Operation, prefix: &str) -> Words {
        let keys = [key(prefix, 0), key(prefix, 1)];
        let with = |words: &[&str], members: &[Vec<u8>]| {
            super::words(words).into_iter().chain(members.iter().cloned()).collect()
        };
        match operation {
            Operation::Add(set, members) => with(&["SADD", &keys[*set]], members),
            Operation::Remove(set, member) => with(&["SREM", &keys[*set]], std::slice::from_ref(member)),
            Operation::Move(set, member) => {
                with(&["SMOVE", &keys[*set], &keys[1 - *set]], std::slice::from_ref(member))
            }
            Operation::Unite => super::words(&["SUNIONSTORE", &keys[1], &keys[0], &keys[1]]),
            Operation::Subtract => super::words(&["SDIFFSTORE", &keys[1], &keys[0], &keys[1]]),
            Operation::Delete(set) => super::words(&["DEL", &keys[*set]]),
        }
    }

    fn apply(&mut self, operation: &Operation) -> Value {
        integer(match operation {
            Operation::Add(set, members) => {
                members.iter().filter(|&member| self.0[*set].insert(member.clone())).count()
            }
            Operation::Remove(set, member) => usize::from(self.0[*set].remove(member)),
            Operation::Move(set, member) => {
                let moved = self.0[*set].remove(member);
                if moved {
                    self.0[1 - *set].insert(member.clone());
                }
                usize::from(moved)
            }
            Operation::Unite => {
                self.0[1] = &self.0[0] | &self.0[1];
                self.0[1].len()
            }
            Operation::Subtract => {
                self.0[1] = &self.0[0] - &self.0[1];
                self.0[1].len()
            }
            Operation::Delete(set) => usize::from(!std::mem::take(&mut self.0[*set]).is_empty()),
        })
    }

    fn read(prefix: &str, ask: Ask<'_>) -> io::Result<Self> {
        let mut sets = Self::default();
        for (number, set) in sets.0.iter_mut().enumerate() {
            set.extend(elements(&ask(&["SMEMBERS", &key(prefix, number)])?));
        }
        Ok(sets)
    }

    fn show(&self) -> Vec<String> {
        let show =
            |set: &BTreeSet<Vec<u8>>| set.iter().map(|member| escaped(member)).collect::<Vec<_>>().join(" ");
        self.0.iter().map(show).collect()
    }
}
