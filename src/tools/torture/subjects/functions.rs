//! Libraries of functions that come, are replaced and go, and what their functions write: a library is whole or absent, and who calls a
//! function is served by the code that was loaded last.
//!
//! Libraries are the server's, so each client has names of its own. FUNCTION FLUSH would take those of the others.

use std::io;

use super::{Ask, Subject, Values, Words, bulk_or_nil, elements};
use crate::disk::prng::Prng;
use crate::rdb;
use crate::resp::client::Value;

const LIBRARIES: usize = 2;
/// Entries that a journal keeps.
const KEPT: usize = 20;
/// The type byte of a library in a payload of FUNCTION RESTORE, and a version of it that everybody reads.
const FUNCTION_IN_PAYLOAD: u8 = 0xf5;
const PAYLOAD_VERSION: u16 = 10;

/// The libraries, each by the text that its functions know of it, and what their functions wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Functions {
    texts: [Option<Vec<u8>>; LIBRARIES],
    journal: Vec<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub struct Step {
    library: usize,
    action: Action,
}

#[derive(Debug, Clone)]
pub enum Action {
    Load {
        text: Vec<u8>,
        replace: bool,
    },
    /// With the policy REPLACE.
    Restore {
        text: Vec<u8>,
    },
    Delete,
    /// Writes the library's text and a note.
    Call {
        note: Vec<u8>,
    },
    /// A function that may not write says the library's text.
    Say,
}

/// Letters, digits and underscores, as the names of libraries and functions must be.
fn name(prefix: &str, library: usize) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    prefix.chars().map(plain).collect::<String>() + &library.to_string()
}

fn journal(prefix: &str) -> String {
    format!("{prefix}called")
}

/// The text has neither quotes nor backslashes in it.
fn code(name: &str, text: &[u8]) -> Vec<u8> {
    let begin = format!("#!lua name={name}\nlocal text = '");
    let end = format!(
        "'\n\
        redis.register_function('{name}_write', function(keys, args)\n\
        redis.call('RPUSH', keys[1], text .. ' ' .. args[1])\n\
        redis.call('LTRIM', keys[1], -{KEPT}, -1)\n\
        return text end)\n\
        redis.register_function{{function_name='{name}_say', callback=function() return text end, flags={{'no-writes'}}}}"
    );
    [begin.as_bytes(), text, end.as_bytes()].concat()
}

fn text_in(code: &[u8]) -> Option<Vec<u8>> {
    let mut between = code.split(|&byte| byte == b'\'');
    between.nth(1).map(<[u8]>::to_vec)
}

fn payload(code: &[u8]) -> Vec<u8> {
    let mut payload = vec![FUNCTION_IN_PAYLOAD];
    rdb::put_string(&mut payload, code);
    rdb::seal(&mut payload, PAYLOAD_VERSION);
    payload
}

impl Functions {
    fn error(what: &str) -> Value {
        Value::Error(what.to_owned())
    }
}

impl Subject for Functions {
    type Operation = Step;

    fn random(&self, random: &mut Prng, values: &mut Values) -> Step {
        let library = random.below(LIBRARIES as u64) as usize;
        let action = match random.below(12) {
            0 => Action::Load { text: values.value(random), replace: false },
            1..=3 => Action::Load { text: values.value(random), replace: true },
            4 => Action::Restore { text: values.value(random) },
            5 => Action::Delete,
            6 => Action::Say,
            _ => Action::Call { note: values.value(random) },
        };
        Step { library, action }
    }

    fn words(Step { library, action }: &Step, prefix: &str) -> Words {
        let name = name(prefix, *library);
        match action {
            Action::Load { text, replace } => {
                let mut words = super::words(if *replace {
                    &["FUNCTION", "LOAD", "REPLACE"]
                } else {
                    &["FUNCTION", "LOAD"]
                });
                words.push(code(&name, text));
                words
            }
            Action::Restore { text } => {
                let mut words = super::words(&["FUNCTION", "RESTORE", "", "REPLACE"]);
                words[2] = payload(&code(&name, text));
                words
            }
            Action::Delete => super::words(&["FUNCTION", "DELETE", &name]),
            Action::Call { note } => {
                let mut words = super::words(&["FCALL", &format!("{name}_write"), "1", &journal(prefix)]);
                words.push(note.clone());
                words
            }
            Action::Say => super::words(&["FCALL_RO", &format!("{name}_say"), "0"]),
        }
    }

    fn apply(&mut self, Step { library, action }: &Step) -> Value {
        let held = &mut self.texts[*library];
        match action {
            Action::Load { replace: false, .. } if held.is_some() => {
                Self::error("ERR Library '' already exists")
            }
            Action::Load { text, .. } => {
                *held = Some(text.clone());
                Value::bulk(b"")
            }
            Action::Restore { text } => {
                *held = Some(text.clone());
                Value::ok()
            }
            Action::Delete if held.take().is_some() => Value::ok(),
            Action::Delete => Self::error("ERR Library not found"),
            Action::Call { .. } | Action::Say if held.is_none() => Self::error("ERR Function not found"),
            Action::Say => bulk_or_nil(held.as_ref()),
            Action::Call { note } => {
                let said = held.clone().unwrap_or_default();
                self.journal.push([&said[..], b" ", note].concat());
                let old = self.journal.len().saturating_sub(KEPT);
                self.journal.drain(..old);
                Value::bulk(said)
            }
        }
    }

    fn addressed(Step { library, action }: &Step, reply: Value, prefix: &str) -> Value {
        let name = name(prefix, *library);
        match (action, reply) {
            (Action::Load { .. }, Value::Error(_)) => {
                Value::Error(format!("ERR Library '{name}' already exists"))
            }
            (Action::Load { .. }, _) => Value::bulk(name.as_bytes()),
            (_, reply) => reply,
        }
    }

    fn read(prefix: &str, ask: Ask<'_>) -> io::Result<Self> {
        let mut found =
            Self { journal: elements(&ask(&["LRANGE", &journal(prefix), "0", "-1"])?), ..Self::default() };
        for (number, text) in found.texts.iter_mut().enumerate() {
            let name = name(prefix, number);
            let listed = ask(&["FUNCTION", "LIST", "LIBRARYNAME", &name, "WITHCODE"])?;
            let Some(library) = listed.elements().and_then(|all| all.first()) else { continue };
            let held =
                text_of(library).ok_or_else(|| io::Error::other(format!("{name} is listed as {library}")))?;
            // What is listed is what is called.
            let said = ask(&["FCALL_RO", &format!("{name}_say"), "0"])?;
            if said != Value::bulk(&held) {
                return Err(io::Error::other(format!("{name} is listed as {library} and says {said}")));
            }
            *text = Some(held);
        }
        Ok(found)
    }

    fn show(&self) -> Vec<String> {
        let shown = |text: &[u8]| crate::tools::words::escaped(text);
        let texts = self.texts.iter().map(|text| text.as_deref().map_or("none".to_owned(), shown));
        let journal = self.journal.iter().map(|entry| shown(entry)).collect::<Vec<_>>();
        texts.chain([journal.join(" ")]).collect()
    }
}

/// From what FUNCTION LIST says of a library, in either protocol.
fn text_of(listed: &Value) -> Option<Vec<u8>> {
    let code = match listed {
        Value::Map(pairs) => {
            pairs.iter().find(|(name, _)| name.as_bytes() == Some(b"library_code")).map(|(_, code)| code)
        }
        listed => {
            let words = listed.elements()?;
            let at = words.iter().position(|word| word.as_bytes() == Some(b"library_code"))?;
            words.get(at + 1)
        }
    };
    text_in(code?.as_bytes()?)
}
