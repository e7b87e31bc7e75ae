//! A stream as a queue: messages are added, delivered to the consumers of a group, acknowledged, claimed and trimmed.
//!
//! Whatever a message has been through is part of the state, except for when it was.

use std::collections::BTreeMap;
use std::io;

use super::{Ask, Subject, Values, Words, integer};
use crate::disk::prng::Prng;
use crate::resp::client::Value;
use crate::tools::words::escaped;

/// Beyond this length messages are only consumed and trimmed.
const LIMIT: usize = 200;
const GROUP: &str = "g";
/// What this one has pending is delivered again to the other one after a claim.
const CONSUMERS: [&str; 2] = ["c0", "c1"];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Streams {
    /// Messages by the first half of their ids.
    messages: BTreeMap<u64, Vec<u8>>,
    last: u64,
    group: Option<Group>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Group {
    last: u64,
    /// Who has which message, and how often it was delivered.
    pending: BTreeMap<u64, (usize, u64)>,
}

#[derive(Debug, Clone)]
pub enum Operation {
    /// At the beginning, once.
    CreateGroup,
    Add(u64, Vec<u8>),
    Read(usize, usize),
    Acknowledge(Vec<u64>),
    Claim(usize, Vec<u64>),
    Delete(Vec<u64>),
    /// To this length.
    Trim(usize),
}

fn key(prefix: &str) -> String {
    format!("{prefix}stream")
}

fn id(number: u64) -> String {
    format!("{number}-0")
}

/// A message as XREADGROUP and its relatives reply it.
fn message(number: u64, value: &[u8]) -> Value {
    Value::Array(vec![Value::bulk(id(number)), Value::Array(vec![Value::bulk("v"), Value::bulk(value)])])
}

impl Streams {
    /// A few of the pending ones, now and then one that is not.
    fn some_pending(&self, random: &mut Prng) -> Vec<u64> {
        let pending: Vec<u64> = self.group.iter().flat_map(|group| group.pending.keys().copied()).collect();
        let count = 1 + random.below(4) as usize;
        let mut some: Vec<u64> = match pending.len() {
            0 => Vec::new(),
            len => (0..count).map(|_| pending[random.below(len as u64) as usize]).collect(),
        };
        if some.is_empty() || random.chance(1, 6) {
            some.push(random.below(self.last + 2));
        }
        some
    }

    /// What XREADGROUP replies without a key.
    fn read_new(&mut self, consumer: usize, count: usize) -> Value {
        let Some(group) = &mut self.group else { return no_group() };
        let new = self.messages.range(group.last + 1..).take(count);
        let new: Vec<_> = new.map(|(number, value)| (*number, message(*number, value))).collect();
        for (number, _) in &new {
            group.last = *number;
            group.pending.insert(*number, (consumer, 1));
        }
        let messages: Vec<_> = new.into_iter().map(|(_, message)| message).collect();
        if messages.is_empty() { Value::Null } else { Value::Array(messages) }
    }

    fn claim(&mut self, consumer: usize, numbers: &[u64]) -> Value {
        let Some(group) = &mut self.group else { return no_group() };
        let mut claimed = Vec::new();
        for number in numbers {
            let Some((owner, deliveries)) = group.pending.get_mut(number) else { continue };
            match self.messages.get(number) {
                Some(value) => {
                    (*owner, *deliveries) = (consumer, *deliveries + 1);
                    claimed.push(message(*number, value));
                }
                // Deleted in the meantime: there is nothing to be worked on any more.
                None => drop(group.pending.remove(number)),
            }
        }
        Value::Array(claimed)
    }
}

fn no_group() -> Value {
    Value::Error("the model asks for nothing in a group before there is one".to_owned())
}

impl Subject for Streams {
    type Operation = Operation;

    fn random(&self, random: &mut Prng, values: &mut Values) -> Operation {
        let consumer = random.below(2) as usize;
        match random.below(16) {
            _ if self.group.is_none() => Operation::CreateGroup,
            0..=4 if self.messages.len() < LIMIT => Operation::Add(self.last + 1, values.value(random)),
            0..=7 => Operation::Read(consumer, 1 + random.below(4) as usize),
            8..=10 => Operation::Acknowledge(self.some_pending(random)),
            11 | 12 => Operation::Claim(consumer, self.some_pending(random)),
            13 => Operation::Delete(self.some_pending(random)),
            _ => Operation::Trim(self.messages.len().saturating_sub(random.below(4) as usize)),
        }
    }

    fn words(operation: &Operation, prefix: &str) -> Words {
        let key = key(prefix);
        let with_ids = |start: &[&str], numbers: &[u64]| {
            let mut words = super::words(start);
            words.extend(numbers.iter().map(|number| id(*number).into_bytes()));
            words
        };
        match operation {
            Operation::CreateGroup => super::words(&["XGROUP", "CREATE", &key, GROUP, "0", "MKSTREAM"]),
            Operation::Add(number, value) => {
                let mut words = super::words(&["XADD", &key, &id(*number), "v"]);
                words.push(value.clone());
                words
            }
            Operation::Read(consumer, count) => {
                let (consumer, count) = (CONSUMERS[*consumer], count.to_string());
                super::words(&["XREADGROUP", "GROUP", GROUP, consumer, "COUNT", &count, "STREAMS", &key, ">"])
            }
            Operation::Acknowledge(numbers) => with_ids(&["XACK", &key, GROUP], numbers),
            Operation::Claim(consumer, numbers) => {
                with_ids(&["XCLAIM", &key, GROUP, CONSUMERS[*consumer], "0"], numbers)
            }
            Operation::Delete(numbers) => with_ids(&["XDEL", &key], numbers),
            Operation::Trim(len) => super::words(&["XTRIM", &key, "MAXLEN", &len.to_string()]),
        }
    }

    fn apply(&mut self, operation: &Operation) -> Value {
        match operation {
            Operation::CreateGroup if self.group.is_some() => {
                Value::Error("BUSYGROUP Consumer Group name already exists".to_owned())
            }
            Operation::CreateGroup => {
                self.group = Some(Group::default());
                Value::ok()
            }
            Operation::Add(number, _) if *number <= self.last => Value::Error(
                "ERR The ID specified in XADD is equal or smaller than the target stream top item".to_owned(),
            ),
            Operation::Add(number, value) => {
                self.last = *number;
                self.messages.insert(*number, value.clone());
                Value::bulk(id(*number))
            }
            Operation::Read(consumer, count) => self.read_new(*consumer, *count),
            Operation::Acknowledge(numbers) => {
                let Some(group) = &mut self.group else { return no_group() };
                integer(numbers.iter().filter(|number| group.pending.remove(number).is_some()).count())
            }
            Operation::Claim(consumer, numbers) => self.claim(*consumer, numbers),
            Operation::Delete(numbers) => {
                integer(numbers.iter().filter(|number| self.messages.remove(number).is_some()).count())
            }
            Operation::Trim(len) => {
                let excess = self.messages.len().saturating_sub(*len);
                (0..excess).for_each(|_| drop(self.messages.pop_first()));
                integer(excess)
            }
        }
    }

    fn addressed(operation: &Operation, reply: Value, prefix: &str) -> Value {
        match (operation, reply) {
            (Operation::Read(..), messages @ Value::Array(_)) => {
                Value::Array(vec![Value::Array(vec![Value::bulk(key(prefix)), messages])])
            }
            (_, reply) => reply,
        }
    }

    fn read(prefix: &str, ask: Ask<'_>) -> io::Result<Self> {
        let key = key(prefix);
        let mut found = Self::default();
        if ask(&["EXISTS", &key])? == integer(0) {
            return Ok(found);
        }
        for entry in list(&ask(&["XRANGE", &key, "-", "+"])?) {
            let [id, fields] = entry.elements().unwrap_or_default() else { return Err(strange(entry)) };
            let value = fields.elements().and_then(|fields| fields.get(1)).and_then(Value::as_bytes);
            found.messages.insert(number(id)?, value.ok_or_else(|| strange(entry))?.to_vec());
        }
        found.last = number(&field(&ask(&["XINFO", "STREAM", &key])?, "last-generated-id")?)?;
        let groups = ask(&["XINFO", "GROUPS", &key])?;
        let Some(group) = list(&groups).first() else { return Ok(found) };
        let mut pending = BTreeMap::new();
        for row in list(&ask(&["XPENDING", &key, GROUP, "-", "+", "1000000"])?) {
            let [id, consumer, _, deliveries] = row.elements().unwrap_or_default() else {
                return Err(strange(row));
            };
            let consumer = CONSUMERS.iter().position(|name| consumer.as_str() == Some(*name));
            let deliveries = deliveries.as_integer().map(i64::unsigned_abs);
            pending.insert(number(id)?, consumer.zip(deliveries).ok_or_else(|| strange(row))?);
        }
        found.group = Some(Group { last: number(&field(group, "last-delivered-id")?)?, pending });
        Ok(found)
    }

    fn show(&self) -> Vec<String> {
        let messages = self.messages.iter().map(|(number, value)| format!("{number}={}", escaped(value)));
        let messages: Vec<String> = messages.collect();
        let group = self.group.as_ref().map_or("no group".to_owned(), |group| {
            let pending = group.pending.iter();
            let pending = pending.map(|(number, (owner, times))| format!("{number}:c{owner}x{times}"));
            format!("delivered through {}, pending {}", group.last, pending.collect::<Vec<_>>().join(" "))
        });
        vec![
            format!("{} messages through {}: {}", messages.len(), self.last, messages.join(" ")),
            format!("stream's group: {group}"),
        ]
    }
}

fn list(reply: &Value) -> &[Value] {
    reply.elements().unwrap_or_default()
}

fn strange(reply: &Value) -> io::Error {
    io::Error::other(format!("a reply that was not expected: {reply}"))
}

/// The value behind a name in a flat array.
fn field(reply: &Value, name: &str) -> io::Result<Value> {
    let mut fields = list(reply).iter();
    fields.find(|field| field.as_str() == Some(name));
    fields.next().cloned().ok_or_else(|| strange(reply))
}

/// Of an id that a message has here.
fn number(id: &Value) -> io::Result<u64> {
    let number = id.as_str().and_then(|id| id.strip_suffix("-0")).and_then(|number| number.parse().ok());
    number.ok_or_else(|| strange(id))
}
