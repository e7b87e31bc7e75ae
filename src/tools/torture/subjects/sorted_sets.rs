//! A sorted set as a queue of jobs by priority: added, put forward, taken at both ends, cancelled.

use std::collections::BTreeMap;
use std::io;

use super::{Ask, Subject, Values, Words, elements, integer};
use crate::disk::prng::Prng;
use crate::resp::client::Value;
use crate::tools::words::escaped;

/// Beyond this length members are only taken.
const LIMIT: usize = 200;
/// Members that come again and again, so that scores change.
const KNOWN: u64 = 8;

/// Members and scores.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SortedSets(BTreeMap<Vec<u8>, i64>);

#[derive(Debug, Clone)]
pub enum Operation {
    Add(Vec<(i64, Vec<u8>)>),
    Increment(i64, Vec<u8>),
    Remove(Vec<u8>),
    PopLowest(usize),
    /// All with at most this score.
    RemoveThrough(i64),
}

fn key(prefix: &str) -> String {
    format!("{prefix}sorted")
}

fn score(random: &mut Prng) -> i64 {
    random.below(40) as i64 - 20
}

fn known(random: &mut Prng) -> Vec<u8> {
    format!("m{}", random.below(KNOWN)).into_bytes()
}

impl SortedSets {
    fn rows(&self) -> Vec<(i64, &Vec<u8>)> {
        let mut rows: Vec<_> = self.0.iter().map(|(member, score)| (*score, member)).collect();
        rows.sort();
        rows
    }

    fn remove(&mut self, members: &[Vec<u8>]) {
        members.iter().for_each(|member| {
            self.0.remove(member);
        });
    }
}

impl Subject for SortedSets {
    type Operation = Operation;

    fn random(&self, random: &mut Prng, values: &mut Values) -> Operation {
        match random.below(10) {
            0..=3 if self.0.len() < LIMIT => {
                let member = |random: &mut Prng, values: &mut Values| {
                    if random.chance(1, 3) { known(random) } else { values.value(random) }
                };
                let rows = (0..=random.below(3)).map(|_| (score(random), member(random, values)));
                Operation::Add(rows.collect())
            }
            4 | 5 => Operation::Increment(score(random), known(random)),
            6 => Operation::Remove(known(random)),
            7 | 8 => Operation::PopLowest(random.below(4) as usize),
            _ => Operation::RemoveThrough(score(random) - 10),
        }
    }

    fn words(operation: &Operation, prefix: &str) -> Words {
        let key = key(prefix);
        let with = |start: &[&str], member: &[u8]| {
            let mut words = super::words(start);
            words.push(member.to_vec());
            words
        };
        match operation {
            Operation::Add(rows) => {
                let mut words = super::words(&["ZADD", &key]);
                words.extend(
                    rows.iter().flat_map(|(score, member)| [score.to_string().into_bytes(), member.clone()]),
                );
                words
            }
            Operation::Increment(by, member) => with(&["ZINCRBY", &key, &by.to_string()], member),
            Operation::Remove(member) => with(&["ZREM", &key], member),
            Operation::PopLowest(count) => super::words(&["ZPOPMIN", &key, &count.to_string()]),
            Operation::RemoveThrough(score) => {
                super::words(&["ZREMRANGEBYSCORE", &key, "-inf", &score.to_string()])
            }
        }
    }

    fn apply(&mut self, operation: &Operation) -> Value {
        match operation {
            Operation::Add(rows) => {
                let new = rows.iter().map(|(score, member)| self.0.insert(member.clone(), *score));
                integer(new.filter(Option::is_none).count())
            }
            Operation::Increment(by, member) => {
                let score = self.0.entry(member.clone()).or_default();
                *score += by;
                Value::bulk(score.to_string())
            }
            Operation::Remove(member) => integer(usize::from(self.0.remove(member).is_some())),
            Operation::PopLowest(count) => {
                let rows: Vec<_> =
                    self.rows().into_iter().take(*count).map(|(score, m)| (score, m.clone())).collect();
                rows.iter().for_each(|(_, member)| {
                    self.0.remove(member);
                });
                let reply = rows
                    .iter()
                    .flat_map(|(score, member)| [Value::bulk(member), Value::bulk(score.to_string())]);
                Value::Array(reply.collect())
            }
            Operation::RemoveThrough(score) => {
                let rows = self.rows();
                let gone: Vec<_> =
                    rows.into_iter().filter(|row| row.0 <= *score).map(|row| row.1.clone()).collect();
                self.remove(&gone);
                integer(gone.len())
            }
        }
    }

    fn read(prefix: &str, ask: Ask<'_>) -> io::Result<Self> {
        let flat = elements(&ask(&["ZRANGE", &key(prefix), "0", "-1", "WITHSCORES"])?);
        let score = |text: &[u8]| {
            let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            number.ok_or_else(|| io::Error::other(format!("a score of {}", escaped(text))))
        };
        let rows = flat.chunks_exact(2).map(|pair| Ok((pair[0].clone(), score(&pair[1])?)));
        rows.collect::<io::Result<_>>().map(Self)
    }

    fn show(&self) -> Vec<String> {
        let rows = self.rows().into_iter().map(|(score, member)| format!("{score}={}", escaped(member)));
        vec![rows.collect::<Vec<_>>().join(" ")]
    }
}
