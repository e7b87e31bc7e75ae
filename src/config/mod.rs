//! Configuration: the syntax of redis.conf ([`conf`]), the table of directives ([`table`]), their live values ([`Config`]),
//! loading at start ([`Loader`]) and CONFIG REWRITE ([`rewrite`]).
//!
//! Text and values only. No file is read or written here, nothing is bound, opened or resized: whoever calls
//! [`Config::set_many`] acts on the changes it returns, and takes them back with [`Config::restore`] if it cannot.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::error::CommandError;
use crate::glob;

pub mod conf;
mod default_user;
mod directive;
mod docs;
mod load;
mod log_retain;
mod rewrite;
mod table;
mod value;

pub use directive::{Access, Directive, Effect, FILE_ONLY};
pub use docs::markdown;
pub(crate) use load::edit_distance;
pub use load::{Include, LoadError, Loader, Origin};
pub use rewrite::rewrite;
pub use table::{
    Allow, AppendFsync, DATABASES_MAX, DIRECTIVES, LogIo, LogLevel, MaxmemoryPolicy, Name, Supervised,
};
pub use value::{
    ClientClass, Kind, LogRetain, MemoryLimit, Notify, OutputBufferLimit, Refusal, ShutdownFlags, TextRule,
    Value, WordsRule,
};

/// One value. Which half is used depends on the directive's kind.
#[derive(Debug, Default)]
struct Slot {
    number: AtomicI64,
    text: RwLock<String>,
}

/// One output buffer limit, readable without a lock. Its three numbers may be seen in the middle of a change.
#[derive(Debug, Default)]
struct LimitSlot {
    hard_bytes: AtomicU64,
    soft_bytes: AtomicU64,
    soft_seconds: AtomicU64,
}

/// The live values of all directives. Accessors bear the directives' names (`config.tcp_keepalive()`); they may be called from
/// any thread while others change values.
#[derive(Debug)]
pub struct Config {
    slots: Box<[Slot]>,
    limits: [LimitSlot; 3],
    renamed_commands: RwLock<Vec<(String, String)>>,
    /// Held by whoever changes values, so that a set of changes is checked and stored as one.
    changing: Mutex<()>,
}

/// A value that [`Config::set_many`] changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub name: Name,
    pub old: Value,
    pub new: Value,
}

impl Name {
    /// The line of the table.
    pub fn directive(self) -> &'static Directive {
        &DIRECTIVES[self as usize]
    }

    /// Finds a directive by its name or an alias, in any case.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.directive().is_called(name))
    }
}

impl MemoryLimit {
    fn from_number(number: i64) -> Self {
        match u64::try_from(number) {
            Ok(bytes) => Self::Bytes(bytes),
            Err(_) => Self::PercentOfMaxmemory(number.unsigned_abs().min(100) as u8),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    /// All defaults.
    pub fn new() -> Self {
        let config = Self {
            slots: DIRECTIVES.iter().map(|_| Slot::default()).collect(),
            limits: Default::default(),
            renamed_commands: RwLock::default(),
            changing: Mutex::default(),
        };
        for &name in Name::ALL {
            let directive = name.directive();
            let value = directive.kind.parse(&[directive.default], "");
            config.store(name, value.expect("a test reads every default of the table"));
        }
        config
    }

    #[inline]
    fn number(&self, name: Name) -> i64 {
        self.slots[name as usize].number.load(Ordering::Relaxed)
    }

    fn text(&self, name: Name) -> String {
        self.slots[name as usize].text.read().clone()
    }

    /// The value in the form in which it is kept.
    pub fn value(&self, name: Name) -> Value {
        match name.directive().kind {
            Kind::Text(_) | Kind::Words(_) | Kind::Save | Kind::BufferLimits => Value::Text(self.text(name)),
            _ => Value::Number(self.number(name)),
        }
    }

    /// The value as CONFIG GET shows it.
    pub fn show(&self, name: Name) -> String {
        name.directive().kind.show(&self.value(name))
    }

    fn store(&self, name: Name, value: Value) {
        let slot = &self.slots[name as usize];
        match value {
            Value::Number(number) => slot.number.store(number, Ordering::Relaxed),
            Value::Text(text) => {
                if name == Name::client_output_buffer_limit {
                    self.store_limits(&text);
                }
                *slot.text.write() = text;
            }
        }
    }

    fn store_limits(&self, text: &str) {
        for (slot, limit) in self.limits.iter().zip(value::limits_of(text)) {
            slot.hard_bytes.store(limit.hard_bytes, Ordering::Relaxed);
            slot.soft_bytes.store(limit.soft_bytes, Ordering::Relaxed);
            slot.soft_seconds.store(limit.soft_seconds, Ordering::Relaxed);
        }
    }

    /// How much output may wait for clients of a class.
    #[inline]
    pub fn output_buffer_limit(&self, class: ClientClass) -> OutputBufferLimit {
        let slot = &self.limits[class as usize];
        OutputBufferLimit {
            hard_bytes: slot.hard_bytes.load(Ordering::Relaxed),
            soft_bytes: slot.soft_bytes.load(Ordering::Relaxed),
            soft_seconds: slot.soft_seconds.load(Ordering::Relaxed),
        }
    }

    /// `save`: pairs of seconds and changes.
    pub fn save(&self) -> Vec<(u64, u64)> {
        let text = self.text(Name::save);
        let numbers: Vec<u64> = text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    }

    /// The `rename-command` lines: old name and new name, the latter empty for a removed command.
    pub fn renamed_commands(&self) -> Vec<(String, String)> {
        self.renamed_commands.read().clone()
    }

    /// CONFIG GET: names and values of what matches one of the patterns, each once, in the order of the table. An alias is a name of
    /// its own. A pattern without wildcards is answered under the name by which it was asked for.
    pub fn get_matching<P: AsRef<[u8]>>(&self, patterns: &[P]) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for &name in Name::ALL {
            let directive = name.directive();
            for &called in std::iter::once(&directive.name).chain(directive.aliases) {
                let pattern = patterns
                    .iter()
                    .map(AsRef::as_ref)
                    .find(|p| glob::matches_ignore_case(p, called.as_bytes()));
                let Some(pattern) = pattern else { continue };
                let shown = match std::str::from_utf8(pattern) {
                    Ok(asked) if !glob::has_wildcard(pattern) => asked,
                    _ => called,
                };
                found.push((shown.to_string(), self.show(name)));
            }
        }
        found
    }

    /// CONFIG SET: all of the values or none. `client_is_local` decides about protected directives that are open to local
    /// clients. What comes back is what differs from before.
    pub fn set_many<N: AsRef<str>, V: AsRef<str>>(
        &self,
        pairs: &[(N, V)],
        client_is_local: bool,
    ) -> Result<Vec<Changed>, CommandError> {
        let _changing = self.changing.lock();
        let mut names = Vec::with_capacity(pairs.len());
        for (at, (called, _)) in pairs.iter().enumerate() {
            let called = called.as_ref();
            let name = self.settable(called, client_is_local)?;
            if pairs[..at].iter().any(|(earlier, _)| earlier.as_ref().eq_ignore_ascii_case(called)) {
                return Err(set_failed(called, "duplicate parameter"));
            }
            names.push(name);
        }
        let mut values = Vec::with_capacity(pairs.len());
        for (&name, (called, text)) in names.iter().zip(pairs) {
            let read = name.directive().kind.parse(&[text.as_ref()], &self.text(name));
            let value = read.and_then(|value| load::judge(name, value, load::Phase::Running));
            values.push(value.map_err(|refusal| set_failed(called.as_ref(), &refusal))?.value);
        }
        let mut changed: Vec<Changed> = Vec::new();
        for (name, new) in names.into_iter().zip(values) {
            let old = self.value(name);
            if old != new {
                self.store(name, new.clone());
                changed.push(Changed { name, old, new });
            }
        }
        Ok(changed)
    }

    /// Takes changes back, for a caller that could not act on them. What somebody else set meanwhile is lost: callers that act on
    /// changes take turns.
    pub fn restore(&self, changed: &[Changed]) {
        let _changing = self.changing.lock();
        for change in changed.iter().rev() {
            self.store(change.name, change.old.clone());
        }
    }

    /// Sets one value as a file would, for what is known only after loading (an absolute `dir`, the port that the system chose).
    pub fn set_at_start(&self, name: Name, value: &str) -> Result<(), Refusal> {
        let _changing = self.changing.lock();
        let value = name.directive().kind.parse(&[value], &self.text(name))?;
        self.store(name, load::judge(name, value, load::Phase::Start)?.value);
        Ok(())
    }

    fn settable(&self, called: &str, client_is_local: bool) -> Result<Name, CommandError> {
        let name = Name::find(called).ok_or_else(|| {
            CommandError::owned(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{}'",
                printable(called)
            ))
        })?;
        let allowed = match self.enable_protected_configs() {
            Allow::Yes => true,
            Allow::Local => client_is_local,
            Allow::No => false,
        };
        match name.directive().access {
            Access::Immutable => Err(set_failed(called, "can't set immutable config")),
            Access::Protected if !allowed => Err(set_failed(called, "can't set protected config")),
            _ => Ok(name),
        }
    }
}

/// An error is one line: what a client sent must not end it.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// The error of a CONFIG SET that could not be carried out.
pub fn set_failed(called: &str, reason: &str) -> CommandError {
    CommandError::owned(format!("ERR CONFIG SET failed (possibly related to argument '{called}') - {reason}"))
}

#[cfg(test)]
mod tests;
