//! What one connection's keys hold, the operations on them, and the replies these must get.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use super::SHARED;
use super::support::client::{Client, Value};
use super::support::notation;
use super::support::random::Random;

const STRINGS: u64 = 6;
const FIELDS: u64 = 8;
/// Beyond this length more is popped than pushed.
const LIST_LIMIT: usize = 200;

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
pub struct State {
    strings: BTreeMap<u64, (Vec<u8>, Lifetime)>,
    counter: i64,
    hash: BTreeMap<Vec<u8>, Vec<u8>>,
    list: VecDeque<Vec<u8>>,
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let same_strings = self.strings.len() == other.strings.len()
            && self
                .strings
                .iter()
                .zip(&other.strings)
                .all(|((key, (value, life)), (k, (v, l)))| key == k && value == v && life.same(*l));
        same_strings && self.counter == other.counter && self.hash == other.hash && self.list == other.list
    }
}

/// One command, or one transaction.
#[derive(Debug, Clone)]
pub enum Operation {
    Set(u64, Vec<u8>),
    SetWithDeadline(u64, Vec<u8>, u64),
    Get(u64),
    Append(u64, Vec<u8>),
    Delete(u64),
    Expire(u64),
    ExpireAt(u64, u64),
    Increment(i64),
    IncrementShared,
    HashSet(Vec<(Vec<u8>, Vec<u8>)>),
    HashDelete(Vec<u8>),
    Push(Vec<Vec<u8>>),
    Pop,
    /// MULTI of SET, INCRBY, LPUSH and HSET.
    Transaction(u64, Vec<u8>, i64),
}

#[derive(Debug, Clone)]
pub enum Expected {
    Exactly(Value),
    /// The shared counter: higher than before.
    Shared,
}

impl Operation {
    pub fn random(random: &mut Random, state: &State, round: u64) -> Self {
        let string = random.below(STRINGS);
        match random.below(28) {
            0..=4 => Self::Set(string, value(random, round)),
            5 => Self::SetWithDeadline(string, value(random, round), deadline(random)),
            6..=8 => Self::Get(string),
            9 => Self::Append(string, value(random, round)),
            10 => Self::Delete(string),
            11 => Self::Expire(string),
            12 => Self::ExpireAt(string, deadline(random)),
            13..=15 => Self::Increment(random.within(-3..10)),
            16 | 17 => Self::IncrementShared,
            18 | 19 => {
                let field = |random: &mut Random| {
                    (format!("f{}", random.below(FIELDS)).into_bytes(), value(random, round))
                };
                Self::HashSet((0..=random.below(2)).map(|_| field(random)).collect())
            }
            20 => Self::HashDelete(format!("f{}", random.below(FIELDS)).into_bytes()),
            21..=23 if state.list.len() < LIST_LIMIT => {
                Self::Push((0..=random.below(3)).map(|_| value(random, round)).collect())
            }
            21..=25 => Self::Pop,
            _ => Self::Transaction(string, value(random, round), random.within(1..5)),
        }
    }

    fn commands(&self, connection: usize) -> Vec<Vec<Vec<u8>>> {
        let key = |name: &str| format!("c{connection}:{name}").into_bytes();
        let string = |number: &u64| key(&format!("s{number}"));
        let word = |text: &str| text.as_bytes().to_vec();
        let one = |command: Vec<Vec<u8>>| vec![command];
        match self {
            Self::Set(number, value) => one(vec![word("SET"), string(number), value.clone()]),
            Self::SetWithDeadline(number, value, at) => {
                one(vec![word("SET"), string(number), value.clone(), word("PXAT"), word(&at.to_string())])
            }
            Self::Get(number) => one(vec![word("GET"), string(number)]),
            Self::Append(number, value) => one(vec![word("APPEND"), string(number), value.clone()]),
            Self::Delete(number) => one(vec![word("DEL"), string(number)]),
            Self::Expire(number) => one(vec![word("EXPIRE"), string(number), word("100000")]),
            Self::ExpireAt(number, at) => one(vec![word("PEXPIREAT"), string(number), word(&at.to_string())]),
            Self::Increment(by) => one(vec![word("INCRBY"), key("counter"), word(&by.to_string())]),
            Self::IncrementShared => one(vec![word("INCR"), word(SHARED)]),
            Self::HashSet(pairs) => {
                let pairs = pairs.iter().flat_map(|(field, value)| [field.clone(), value.clone()]);
                one([word("HSET"), key("hash")].into_iter().chain(pairs).collect())
            }
            Self::HashDelete(field) => one(vec![word("HDEL"), key("hash"), field.clone()]),
            Self::Push(values) => {
                one([word("LPUSH"), key("list")].into_iter().chain(values.clone()).collect())
            }
            Self::Pop => one(vec![word("RPOP"), key("list")]),
            Self::Transaction(number, value, by) => vec![
                vec![word("MULTI")],
                vec![word("SET"), string(number), value.clone()],
                vec![word("INCRBY"), key("counter"), word(&by.to_string())],
                vec![word("LPUSH"), key("list"), value.clone()],
                vec![word("HSET"), key("hash"), word("transaction"), value.clone()],
                vec![word("EXEC")],
            ],
        }
    }

    pub fn send(&self, connection: usize, client: &mut Client) {
        self.commands(connection).iter().for_each(|command| client.queue(command));
    }

    pub fn show(&self, connection: usize) -> String {
        let mut text: Vec<_> = self.commands(connection).iter().map(|c| notation::show_command(c)).collect();
        text.iter_mut().for_each(|line| line.truncate(200));
        text.join("; ")
    }

    /// Changes the state as the server must, and says what it must reply.
    pub fn apply(&self, state: &mut State) -> Vec<Expected> {
        if let Self::IncrementShared = self {
            return vec![Expected::Shared];
        }
        if let Self::Transaction(number, value, by) = self {
            let steps = [
                Self::Set(*number, value.clone()),
                Self::Increment(*by),
                Self::Push(vec![value.clone()]),
                Self::HashSet(vec![(b"transaction".to_vec(), value.clone())]),
            ];
            let replies: Vec<_> = steps.iter().map(|step| step.apply_one(state)).collect();
            let mut all = vec![Value::ok()];
            all.extend(std::iter::repeat_n(Value::Simple(b"QUEUED".to_vec()), steps.len()));
            all.push(Value::Array(replies));
            return all.into_iter().map(Expected::Exactly).collect();
        }
        vec![Expected::Exactly(self.apply_one(state))]
    }

    fn apply_one(&self, state: &mut State) -> Value {
        let number = |count: usize| Value::Integer(count as i64);
        let found = |value: Option<&Vec<u8>>| value.map_or(Value::NilBulk, Value::bulk);
        match self {
            Self::Set(key, value) => {
                state.strings.insert(*key, (value.clone(), Lifetime::Endless));
                Value::ok()
            }
            Self::SetWithDeadline(key, value, at) => {
                state.strings.insert(*key, (value.clone(), Lifetime::Until(*at)));
                Value::ok()
            }
            Self::Get(key) => found(state.strings.get(key).map(|(value, _)| value)),
            Self::Append(key, more) => {
                let (value, _) = state.strings.entry(*key).or_default();
                value.extend_from_slice(more);
                number(value.len())
            }
            Self::Delete(key) => number(usize::from(state.strings.remove(key).is_some())),
            Self::Expire(key) => set_lifetime(state, *key, Lifetime::Some),
            Self::ExpireAt(key, at) => set_lifetime(state, *key, Lifetime::Until(*at)),
            Self::Increment(by) => {
                state.counter += by;
                Value::Integer(state.counter)
            }
            Self::HashSet(pairs) => {
                let new = pairs.iter().map(|(field, value)| state.hash.insert(field.clone(), value.clone()));
                number(new.filter(Option::is_none).count())
            }
            Self::HashDelete(field) => number(usize::from(state.hash.remove(field).is_some())),
            Self::Push(values) => {
                values.iter().for_each(|value| state.list.push_front(value.clone()));
                number(state.list.len())
            }
            Self::Pop => found(state.list.pop_back().as_ref()),
            Self::IncrementShared | Self::Transaction(..) => unreachable!("taken care of by apply"),
        }
    }
}

fn set_lifetime(state: &mut State, key: u64, lifetime: Lifetime) -> Value {
    let entry = state.strings.get_mut(&key);
    let known = entry.is_some();
    if let Some((_, old)) = entry {
        *old = lifetime;
    }
    Value::Integer(i64::from(known))
}

impl State {
    /// What the server holds for a connection.
    pub fn read(connection: usize, client: &mut Client) -> io::Result<Self> {
        let mut state = Self::default();
        for number in 0..STRINGS {
            let key = format!("c{connection}:s{number}");
            let Value::Bulk(value) = ask(client, &["GET", &key])? else { continue };
            let lifetime = match ask(client, &["PEXPIRETIME", &key])?.integer() {
                Some(at) if at >= 0 => Lifetime::Until(at as u64),
                _ => Lifetime::Endless,
            };
            state.strings.insert(number, (value, lifetime));
        }
        state.counter = read_counter(&format!("c{connection}:counter"), client)?;
        let bytes = |value: &Value| value.bytes().unwrap_or_default().to_vec();
        let hash = ask(client, &["HGETALL", &format!("c{connection}:hash")])?.items();
        state.hash = hash.chunks_exact(2).map(|pair| (bytes(&pair[0]), bytes(&pair[1]))).collect();
        let list = ask(client, &["LRANGE", &format!("c{connection}:list"), "0", "-1"])?.items();
        state.list = list.iter().map(bytes).collect();
        Ok(state)
    }

    /// The parts in which a state that was found differs from the one after everything acknowledged.
    pub fn difference(&self, found: &Self) -> String {
        let mut parts = Vec::new();
        let mut part = |name: String, expected: String, found: String| {
            if expected != found {
                let short = |text: String| text.chars().take(300).collect::<String>();
                parts.push(format!("  {name}: acknowledged {}, found {}", short(expected), short(found)));
            }
        };
        for number in 0..STRINGS {
            let show = |state: &Self| {
                let entry = state.strings.get(&number);
                entry.map_or("nothing".into(), |(value, life)| format!("{} {life:?}", notation::quote(value)))
            };
            part(format!("string {number}"), show(self), show(found));
        }
        part("counter".into(), self.counter.to_string(), found.counter.to_string());
        let hash = |state: &Self| {
            let show = |(field, value): (&Vec<u8>, &Vec<u8>)| notation::show_command(&[field, value]);
            state.hash.iter().map(show).collect::<Vec<_>>().join(", ")
        };
        part("hash".into(), hash(self), hash(found));
        let list = |state: &Self| {
            let all: Vec<_> = state.list.iter().cloned().collect();
            format!("{} elements {}", all.len(), notation::show_command(&all))
        };
        part("list".into(), list(self), list(found));
        parts.join("\n")
    }
}

/// A number that is 0 when the key does not exist.
pub fn read_counter(key: &str, client: &mut Client) -> io::Result<i64> {
    let reply = ask(client, &["GET", key])?;
    let text = String::from_utf8_lossy(reply.bytes().unwrap_or(b"0")).into_owned();
    text.parse().map_err(|_| io::Error::other(format!("{key} holds {text:?}, not a number")))
}

/// A reply that must not be an error.
fn ask(client: &mut Client, command: &[&str]) -> io::Result<Value> {
    let reply = client.call(command)?;
    if reply.is_error() {
        return Err(io::Error::other(format!("{}: {}", command.join(" "), notation::show(&reply))));
    }
    Ok(reply)
}

/// Values name their round; a few are so long that they cross frames.
fn value(random: &mut Random, round: u64) -> Vec<u8> {
    let mut value = format!("{round}-{:x}", random.next()).into_bytes();
    match random.below(200) {
        0 => value.resize(value.len() + 1000 + random.below(60_000) as usize, b'.'),
        1..=10 => value.resize(value.len() + random.below(1000) as usize, b'.'),
        _ => {}
    }
    value
}

fn deadline(random: &mut Random) -> u64 {
    33_000_000_000_000 + random.below(1_000_000)
}
