//! Strings and their lifetimes.

use std::collections::BTreeMap;
use std::io;

use super::{Ask, Subject, Values, Words, bulk_or_nil, integer};
use crate::disk::prng::Prng;
use crate::resp::client::Value;
use crate::tools::words::escaped;

const STRINGS: u64 = 6;
/// Milliseconds since 1970, in the year 3015: no run lasts so long.
const FAR_MS: u64 = 33_000_000_000_000;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lifetime {
    #[default]
    Endless,
    /// Relative when it was set: only that there is one is known.
    Some,
    /// Milliseconds since 1970.
    Until(u64),
}

impl Lifetime {
    /// A lifetime read back matches one that was set.
    fn same(self, other: Self) -> bool {
        self == other || matches!((self, other), (Self::Some, Self::Until(_)) | (Self::Until(_), Self::Some))
    }
}

#[derive(Debug, Clone, Default)]
pub struct Strings(BTreeMap<u64, (Vec<u8>, Lifetime)>);

impl PartialEq for Strings {
    fn eq(&self, other: &Self) -> bool {
        let mut pairs = self.0.iter().zip(&other.0);
        self.0.len() == other.0.len()
            && pairs.all(|((key, (value, life)), (k, (v, l)))| key == k && value == v && life.same(*l))
    }
}

#[derive(Debug, Clone)]
pub enum Operation {
    Set(u64, Vec<u8>),
    SetUntil(u64, Vec<u8>, u64),
    Get(u64),
    Append(u64, Vec<u8>),
    Delete(u64),
    Expire(u64),
    ExpireAt(u64, u64),
    Persist(u64),
}

fn key(prefix: &str, number: u64) -> String {
    format!("{prefix}string:{number}")
}

impl Strings {
    fn set_lifetime(&mut self, number: u64, lifetime: Lifetime) -> Value {
        let entry = self.0.get_mut(&number);
        let known = entry.is_some();
        if let Some((_, old)) = entry {
            *old = lifetime;
        }
        integer(usize::from(known))
    }
}

impl Subject for Strings {
    type Operation = Operation;

    fn random(&self, random: &mut Prng, values: &mut Values) -> Operation {
        let number = random.below(STRINGS);
        let deadline = FAR_MS + random.below(1_000_000);
        match random.below(13) {
            0..=3 => Operation::Set(number, values.value(random)),
            4 => Operation::SetUntil(number, values.value(random), deadline),
            5..=7 => Operation::Get(number),
            8 => Operation::Append(number, values.value(random)),
            9 => Operation::Delete(number),
            10 => Operation::Expire(number),
            11 => Operation::ExpireAt(number, deadline),
            _ => Operation::Persist(number),
        }
    }

    fn words(operation: &Operation, prefix: &str) -> Words {
        let line = |name: &str, number: u64, rest: &[&[u8]]| {
            let mut words = super::words(&[name, &key(prefix, number)]);
            words.extend(rest.iter().map(|word| word.to_vec()));
            words
        };
        match operation {
            Operation::Set(number, value) => line("SET", *number, &[value]),
            Operation::SetUntil(number, value, at) => {
                line("SET", *number, &[value, b"PXAT", at.to_string().as_bytes()])
            }
            Operation::Get(number) => line("GET", *number, &[]),
            Operation::Append(number, value) => line("APPEND", *number, &[value]),
            Operation::Delete(number) => line("DEL", *number, &[]),
            Operation::Expire(number) => line("EXPIRE", *number, &[b"100000"]),
            Operation::ExpireAt(number, at) => line("PEXPIREAT", *number, &[at.to_string().as_bytes()]),
            Operation::Persist(number) => line("PERSIST", *number, &[]),
        }
    }

    fn apply(&mut self, operation: &Operation) -> Value {
        match operation {
            Operation::Set(number, value) => {
                self.0.insert(*number, (value.clone(), Lifetime::Endless));
                Value::ok()
            }
            Operation::SetUntil(number, value, at) => {
                self.0.insert(*number, (value.clone(), Lifetime::Until(*at)));
                Value::ok()
            }
            Operation::Get(number) => bulk_or_nil(self.0.get(number).map(|(value, _)| value)),
            Operation::Append(number, more) => {
                let (value, _) = self.0.entry(*number).or_default();
                value.extend_from_slice(more);
                integer(value.len())
            }
            Operation::Delete(number) => integer(usize::from(self.0.remove(number).is_some())),
            Operation::Expire(number) => self.set_lifetime(*number, Lifetime::Some),
            Operation::ExpireAt(number, at) => self.set_lifetime(*number, Lifetime::Until(*at)),
            Operation::Persist(number) => {
                let had_one = self.0.get(number).is_some_and(|(_, life)| *life != Lifetime::Endless);
                if had_one {
                    self.set_lifetime(*number, Lifetime::Endless);
                }
                integer(usize::from(had_one))
            }
        }
    }

    fn read(prefix: &str, ask: Ask<'_>) -> io::Result<Self> {
        let mut strings = Self::default();
        for number in 0..STRINGS {
            let Value::Bulk(value) = ask(&["GET", &key(prefix, number)])? else { continue };
            // Known to redis-server since 7.0.
            let lifetime = match ask(&["PEXPIRETIME", &key(prefix, number)])?.as_integer() {
                Some(at) if at >= 0 => Lifetime::Until(at.unsigned_abs()),
                _ => Lifetime::Endless,
            };
            strings.0.insert(number, (value, lifetime));
        }
        Ok(strings)
    }

    fn show(&self) -> Vec<String> {
        let show = |number| match self.0.get(&number) {
            Some((value, life)) => format!("{number}: {} bytes {} {life:?}", value.len(), escaped(value)),
            None => format!("{number}: nothing"),
        };
        (0..STRINGS).map(show).collect()
    }
}
