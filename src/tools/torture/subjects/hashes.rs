//! A hash whose fields are set, counted up and deleted.

use std::collections::BTreeMap;
use std::io;

use super::{Ask, Subject, Values, Words, elements, integer};
use crate::disk::prng::Prng;
use crate::resp::client::Value;
use crate::tools::words::escaped;

const FIELDS: u64 = 8;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hashes(BTreeMap<Vec<u8>, Vec<u8>>);

#[derive(Debug, Clone)]
pub enum Operation {
    Set(Vec<(Vec<u8>, Vec<u8>)>),
    Delete(Vec<u8>),
}

fn key(prefix: &str) -> String {
    format!("{prefix}hash")
}

fn field(random: &mut Prng) -> Vec<u8> {
    format!("f{}", random.below(FIELDS)).into_bytes()
}

impl Subject for Hashes {
    type Operation = Operation;

    fn random(&self, random: &mut Prng, values: &mut Values) -> Operation {
        if random.chance(1, 3) {
            return Operation::Delete(field(random));
        }
        let pairs = (0..=random.below(2)).map(|_| (field(random), values.value(random))).collect();
        Operation::Set(pairs)
    }

    fn words(operation: &Operation, prefix: &str) -> Words {
        match operation {
            Operation::Set(pairs) => {
                let mut words = super::words(&["HSET", &key(prefix)]);
                words.extend(pairs.iter().flat_map(|(field, value)| [field.clone(), value.clone()]));
                words
            }
            Operation::Delete(field) => {
                let mut words = super::words(&["HDEL", &key(prefix)]);
                words.push(field.clone());
                words
            }
        }
    }

    fn apply(&mut self, operation: &Operation) -> Value {
        match operation {
            Operation::Set(pairs) => {
                let new = pairs.iter().map(|(field, value)| self.0.insert(field.clone(), value.clone()));
                integer(new.filter(Option::is_none).count())
            }
            Operation::Delete(field) => integer(usize::from(self.0.remove(field).is_some())),
        }
    }

    fn read(prefix: &str, ask: Ask<'_>) -> io::Result<Self> {
        let flat = elements(&ask(&["HGETALL", &key(prefix)])?);
        Ok(Self(flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()))
    }

    fn show(&self) -> Vec<String> {
        let fields = self.0.iter().map(|(field, value)| format!("{}={}", escaped(field), escaped(value)));
        vec![fields.collect::<Vec<_>>().join(" ")]
    }
}
