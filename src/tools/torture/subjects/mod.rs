//! What is tortured: for each data type a model of one client's keys, the operations on them, and the replies these must get.
//!
//! A type adds itself by one file here and one line in [`subjects!`].

mod counters;
mod functions;
mod hashes;
mod hyperloglogs;
mod lists;
mod scripts;
mod sets;
mod sorted_sets;
mod streams;
mod strings;

use std::io;

use crate::disk::prng::Prng;
use crate::resp::client::Value;

pub type Words = Vec<Vec<u8>>;

/// Asks the server; the reply is no error.
pub type Ask<'a> = &'a mut dyn FnMut(&[&str]) -> io::Result<Value>;

/// The keys of one type that one client has for itself.
pub trait Subject: Clone + Default + PartialEq {
    type Operation: Clone + std::fmt::Debug;

    fn random(&self, random: &mut Prng, values: &mut Values) -> Self::Operation;
    /// The command; every key begins with `prefix`.
    fn words(operation: &Self::Operation, prefix: &str) -> Words;
    /// Changes the model as the server must its keys. Returns what it must reply.
    fn apply(&mut self, operation: &Self::Operation) -> Value;
    /// The reply as it is under this prefix, where it names the key.
    fn addressed(_operation: &Self::Operation, reply: Value, _prefix: &str) -> Value {
        reply
    }
    /// What the server holds.
    fn read(prefix: &str, ask: Ask<'_>) -> io::Result<Self>;
    /// For people: the parts of the state, in the same order for every state.
    fn show(&self) -> Vec<String>;
}

/// Declares the model of a client's keys out of those of the types.
macro_rules! subjects {
    ($($name:ident: $variant:ident($subject:ty), $weight:literal;)*) => {
        /// All that one client has for itself.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct State { $($name: $subject,)* }

        /// One command.
        #[derive(Debug, Clone)]
        pub enum Step { $($variant(<$subject as Subject>::Operation),)* }

        impl State {
            fn random_step(&self, random: &mut Prng, values: &mut Values) -> Step {
                const TOTAL: u64 = 0 $(+ $weight)*;
                let mut left = random.below(TOTAL);
                $(
                    if left < $weight {
                        return Step::$variant(self.$name.random(random, values));
                    }
                    left -= $weight;
                )*
                unreachable!("{left}: the weights add up to the total")
            }

            fn apply_step(&mut self, step: &Step, prefix: &str) -> Value {
                match step {
                    $(Step::$variant(operation) => {
                        let reply = self.$name.apply(operation);
                        <$subject as Subject>::addressed(operation, reply, prefix)
                    })*
                }
            }

            /// What the server holds for the client of this prefix.
            pub fn read(prefix: &str, ask: Ask<'_>) -> io::Result<Self> {
                Ok(Self { $($name: <$subject as Subject>::read(prefix, ask)?,)* })
            }

            /// The parts in which a state that was found differs from an expected one.
            pub fn difference(&self, found: &Self) -> String {
                let mut lines = Vec::new();
                $(
                    for (expected, found) in self.$name.show().into_iter().zip(found.$name.show()) {
                        if expected != found {
                            let short = |text: String| text.chars().take(300).collect::<String>();
                            lines.push(format!("  {}: acknowledged {}; found {}", stringify!($name), short(expected), short(found)));
                        }
                    }
                )*
                lines.join("\n")
            }
        }

        impl Step {
            fn words(&self, prefix: &str) -> Words {
                match self { $(Self::$variant(operation) => <$subject as Subject>::words(operation, prefix),)* }
            }
        }
    };
}

subjects! {
    strings: Strings(strings::Strings), 12;
    counters: Counters(counters::Counters), 4;
    hashes: Hashes(hashes::Hashes), 4;
    lists: Lists(lists::Lists), 5;
    sets: Sets(sets::Sets), 5;
    sorted_sets: SortedSets(sorted_sets::SortedSets), 4;
    hyperloglogs: HyperLogLogs(hyperloglogs::HyperLogLogs), 2;
    streams: Streams(streams::Streams), 6;
    scripts: Scripts(scripts::Scripts), 3;
    functions: Functions(functions::Functions), 2;
}

/// What is whole or absent after a crash: a command, or several in MULTI and EXEC.
#[derive(Debug, Clone)]
pub struct Operation {
    steps: Vec<Step>,
}

impl Operation {
    pub fn random(random: &mut Prng, state: &State, values: &mut Values) -> Self {
        let count = if random.chance(1, 14) { 2 + random.below(3) } else { 1 };
        // Steps of a transaction are chosen without looking at what those before them do.
        Self { steps: (0..count).map(|_| state.random_step(random, values)).collect() }
    }

    /// The commands to send.
    pub fn commands(&self, prefix: &str) -> Vec<Words> {
        let mut commands: Vec<Words> = self.steps.iter().map(|step| step.words(prefix)).collect();
        if commands.len() > 1 {
            commands.insert(0, words(&["MULTI"]));
            commands.push(words(&["EXEC"]));
        }
        commands
    }

    /// Changes the state as the server must, and says what each command must be replied.
    pub fn apply(&self, state: &mut State, prefix: &str) -> Vec<Value> {
        let replies = self.steps.iter().map(|step| state.apply_step(step, prefix));
        let mut replies: Vec<Value> = replies.collect();
        if replies.len() == 1 {
            return replies;
        }
        let mut all = vec![Value::ok()];
        all.extend(std::iter::repeat_n(Value::Simple("QUEUED".to_owned()), replies.len()));
        all.push(Value::Array(std::mem::take(&mut replies)));
        all
    }

    pub fn show(&self, prefix: &str) -> String {
        let mut lines: Vec<String> =
            self.commands(prefix).iter().map(|c| crate::tools::words::line(c)).collect();
        for line in &mut lines {
            if let Some((end, _)) = line.char_indices().nth(200) {
                line.truncate(end);
            }
        }
        lines.join("; ")
    }
}

/// Values that never come twice, so that a lost one is missed; a few are so long that they cross frames.
#[derive(Debug, Clone)]
pub struct Values {
    pub label: String,
    next: u64,
}

impl Values {
    pub const fn new(label: String) -> Self {
        Self { label, next: 0 }
    }

    fn value(&mut self, random: &mut Prng) -> Vec<u8> {
        self.next += 1;
        let mut value = format!("{}-{}", self.label, self.next).into_bytes();
        let more = match random.below(200) {
            0 => 1000 + random.below(60_000),
            1..=10 => random.below(1000),
            _ => 0,
        };
        value.resize(value.len() + more as usize, b'.');
        value
    }
}

fn words(words: &[&str]) -> Words {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn integer(count: usize) -> Value {
    Value::Integer(count as i64)
}

fn bulk_or_nil(value: Option<&Vec<u8>>) -> Value {
    value.map_or(Value::Null, Value::bulk)
}

/// The bytes of a reply's elements.
fn elements(reply: &Value) -> Vec<Vec<u8>> {
    let bytes = |value: &Value| value.as_bytes().unwrap_or_default().to_vec();
    reply.elements().unwrap_or_default().iter().map(bytes).collect()
}

/// A number that is 0 when the key does not exist.
pub fn read_number(key: &str, ask: Ask<'_>) -> io::Result<i64> {
    let reply = ask(&["GET", key])?;
    if reply.is_null() {
        return Ok(0);
    }
    let number = reply.as_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("{key} holds {reply}, not a number")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rig::Rig;
    use crate::resp::client::decode_one;

    /// The models say what the engine says, reply by reply, and read back as they are.
    #[test]
    fn the_models_agree_with_the_engine() {
        for seed in 0..40 {
            let mut rig = Rig::new();
            let (mut random, mut values) = (Prng::new(seed), Values::new(seed.to_string()));
            let mut state = State::default();
            for _ in 0..300 {
                let operation = Operation::random(&mut random, &state, &mut values);
                let expected = operation.apply(&mut state, "p:");
                for (words, expected) in operation.commands("p:").iter().zip(expected) {
                    let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                    let reply = decode_one(&rig.call(0, &args).0).unwrap();
                    assert_eq!(reply, expected, "seed {seed}: {}", operation.show("p:"));
                }
            }
            let mut ask = |words: &[&str]| {
                let args: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
                decode_one(&rig.call(0, &args).0)
            };
            let found = State::read("p:", &mut ask).unwrap();
            assert!(found == state, "seed {seed}:\n{}", state.difference(&found));
        }
    }
}
