//! HyperLogLogs: of both forms, since some get many elements. The model holds their registers.

use std::io;

use super::{Ask, Subject, Values, Words, integer};
use crate::disk::prng::Prng;
use crate::resp::client::Value;
use crate::types::hyperloglog::reading::{self, Raised};

const KEYS: usize = 3;

/// Registers of each key that exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HyperLogLogs([Option<Raised>; KEYS]);

#[derive(Debug, Clone)]
pub enum Operation {
    Add(usize, Vec<Vec<u8>>),
    Count(usize),
    Merge(usize, usize),
    Delete(usize),
}

fn key(prefix: &str, number: usize) -> String {
    format!("{prefix}hyperloglog:{number}")
}

impl Subject for HyperLogLogs {
    type Operation = Operation;

    fn random(&self, random: &mut Prng, values: &mut Values) -> Operation {
        let mut any = || random.below(KEYS as u64) as usize;
        let (number, other) = (any(), any());
        match random.below(40) {
            // Enough of these make it dense.
            0 => Operation::Add(
                number,
                (0..400).map(|_| random.below(u64::MAX).to_le_bytes().to_vec()).collect(),
            ),
            1..=24 => {
                let count = random.below(4);
                Operation::Add(number, (0..count).map(|_| values.value(random)).collect())
            }
            25..=32 => Operation::Count(number),
            33..=38 => Operation::Merge(number, other),
            _ => Operation::Delete(number),
        }
    }

    fn words(operation: &Operation, prefix: &str) -> Words {
        match operation {
            Operation::Add(number, elements) => {
                let mut words = super::words(&["PFADD", &key(prefix, *number)]);
                words.extend(elements.iter().cloned());
                words
            }
            Operation::Count(number) => super::words(&["PFCOUNT", &key(prefix, *number)]),
            Operation::Merge(number, other) => {
                super::words(&["PFMERGE", &key(prefix, *number), &key(prefix, *other)])
            }
            Operation::Delete(number) => super::words(&["DEL", &key(prefix, *number)]),
        }
    }

    fn apply(&mut self, operation: &Operation) -> Value {
        match operation {
            Operation::Add(number, elements) => {
                let is_new = self.0[*number].is_none();
                let registers = self.0[*number].get_or_insert_default();
                let raised = elements.iter().filter(|element| reading::add(registers, element)).count();
                integer(usize::from(is_new || raised > 0))
            }
            Operation::Count(number) => Value::Integer(self.0[*number].as_ref().map_or(0, reading::count)),
            Operation::Merge(number, other) => {
                let source = self.0[*other].clone().unwrap_or_default();
                let registers = self.0[*number].get_or_insert_default();
                for (index, value) in source {
                    let register = registers.entry(index).or_default();
                    *register = value.max(*register);
                }
                Value::ok()
            }
            Operation::Delete(number) => integer(usize::from(self.0[*number].take().is_some())),
        }
    }

    fn read(prefix: &str, ask: Ask<'_>) -> io::Result<Self> {
        let mut all = Self::default();
        for (number, registers) in all.0.iter_mut().enumerate() {
            let Value::Bulk(string) = ask(&["GET", &key(prefix, number)])? else { continue };
            let found = reading::read(&string);
            *registers = Some(found.ok_or_else(|| io::Error::other("a string that is no HyperLogLog"))?);
        }
        Ok(all)
    }

    fn show(&self) -> Vec<String> {
        let show = |(number, registers): (usize, &Option<Raised>)| match registers {
            Some(registers) => format!("{number}: {} registers {registers:?}", registers.len()),
            None => format!("{number}: nothing"),
        };
        self.0.iter().enumerate().map(show).collect()
    }
}
