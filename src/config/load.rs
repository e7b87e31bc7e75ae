//! Loading at start: files with their includes, then the command line. The first bad line ends it, with Redis' report and the
//! nearest known name.
//!
//! A file may hold any bytes where it says nothing; a value must be UTF-8, and one that is not is refused with its line.

use std::fmt;

use super::conf;
use super::value::{Kind, Refusal, Value};
use super::{Config, Effect, FILE_ONLY, Name, default_user};

/// Files may include files this deep.
const INCLUDE_DEPTH_MAX: usize = 16;

/// Reads what an `include` line asks for: the names and contents of all files that match the pattern, in order. A pattern without
/// wildcards that matches nothing should be an error, as in Redis.
pub type Include<'a> = dyn FnMut(&str) -> Result<Vec<(String, Vec<u8>)>, String> + 'a;

/// Where a line came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file, or standard input.
    File,
    Included(String),
    CommandLine,
}

/// The first line that could not be accepted. Its display is the report that Redis prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    pub origin: Origin,
    /// Counted from 1.
    pub line: usize,
    pub text: String,
    pub reason: String,
    /// The known name that is nearest to an unknown one.
    pub hint: Option<&'static str>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "*** FATAL CONFIG FILE ERROR (Duramen {}) ***", env!("CARGO_PKG_VERSION"))?;
        match &self.origin {
            Origin::File => writeln!(f, "Reading the configuration file, at line {}", self.line)?,
            Origin::Included(path) => {
                writeln!(f, "Reading the configuration file {path}, at line {}", self.line)?
            }
            Origin::CommandLine => writeln!(f, "Reading the command line")?,
        }
        write!(f, ">>> '{}'\n{}", self.text, self.reason)?;
        match self.hint {
            Some(hint) => write!(f, "\nDid you mean '{hint}'?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LoadError {}

/// When a value is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Start,
    Running,
}

/// A value that was accepted, perhaps not as it was given.
pub(super) struct Accepted {
    pub value: Value,
    pub warning: Option<&'static str>,
}

/// Decides about values that are well formed but not to be had.
pub(super) fn judge(name: Name, value: Value, phase: Phase) -> Result<Accepted, Refusal> {
    let mut warning = None;
    let value = match (name, value) {
        (Name::appendonly, Value::Number(0)) if phase == Phase::Running => {
            return Err("the log is always on and cannot be turned off".into());
        }
        (Name::appendonly, Value::Number(0)) => {
            warning = Some("appendonly no: the log is always on, the setting has no effect");
            Value::Number(1)
        }
        (Name::daemonize, Value::Number(1)) => {
            warning = Some("daemonize yes: the server stays in the foreground, run it under a supervisor");
            Value::Number(0)
        }
        (Name::cluster_enabled, Value::Number(1)) => return Err("this server has no cluster mode".into()),
        (Name::tls_port, Value::Number(1..)) => return Err("this server has no TLS".into()),
        (Name::min_replicas_to_write, Value::Number(1..)) => {
            return Err("this server has no replicas: by this setting it would refuse every write for ever. Leave it at 0".into());
        }
        (Name::hz, Value::Number(hz)) => Value::Number(hz.clamp(1, 500)),
        (Name::aclfile, Value::Text(path)) if !path.is_empty() => {
            return Err("this server has no ACL users: remove aclfile, and set requirepass if clients should need a password".into());
        }
        (_, value) => value,
    };
    Ok(Accepted { value, warning })
}

/// Fills a [`Config`] in the order: file, standard input, options. After an error the config is half filled: the caller ends.
pub struct Loader<'a> {
    config: &'a Config,
    include: &'a mut Include<'a>,
    warnings: Vec<String>,
    /// Whether `save` lines add to earlier ones, rather than replace the default (or the file, on the command line).
    save_adds: bool,
    /// The password of a `user default` line.
    default_user: Option<String>,
}

impl<'a> Loader<'a> {
    pub fn new(config: &'a Config, include: &'a mut Include<'a>) -> Self {
        Self { config, include, warnings: Vec::new(), save_adds: false, default_user: None }
    }

    /// Loads the contents of a configuration file.
    pub fn file(&mut self, text: &[u8]) -> Result<(), LoadError> {
        self.text(text, &Origin::File, 0)
    }

    /// Loads [`conf::CommandLine::options`].
    pub fn options(&mut self, options: &str) -> Result<(), LoadError> {
        self.save_adds = false;
        self.text(options.as_bytes(), &Origin::CommandLine, 0)
    }

    /// What the administrator should read: settings that were accepted but not as they stand, or without any effect. A value that may be
    /// a secret is not repeated.
    pub fn finish(mut self) -> Vec<String> {
        let defaults = Config::new();
        let inert = Name::ALL.iter().filter(|name| name.directive().effect == Effect::Inert);
        for &name in inert.filter(|name| self.config.value(**name) != defaults.value(**name)) {
            self.warnings.push(format!(
                "{}: the setting has no effect in this server (docs/configuration.md)",
                name.directive().name
            ));
        }
        self.warnings
    }

    fn text(&mut self, text: &[u8], origin: &Origin, depth: usize) -> Result<(), LoadError> {
        for line in conf::lines(text) {
            let error = |reason: String, hint| LoadError {
                origin: origin.clone(),
                line: line.number,
                text: String::from_utf8_lossy(line.text).into_owned(),
                reason,
                hint,
            };
            let words = conf::split_words(line.text).map_err(|reason| error(reason.to_string(), None))?;
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let Some((&called, args)) = words.split_first() else { continue };
            if called.eq_ignore_ascii_case("include") && args.len() == 1 {
                if depth == INCLUDE_DEPTH_MAX {
                    return Err(error("Files include each other too deeply".to_string(), None));
                }
                for (path, text) in (self.include)(args[0]).map_err(|reason| error(reason, None))? {
                    self.text(&text, &Origin::Included(path), depth + 1)?;
                }
                continue;
            }
            self.directive(called, args).map_err(|(reason, hint)| error(reason.into_owned(), hint))?;
        }
        Ok(())
    }

    fn directive(&mut self, called: &str, args: &[&str]) -> Result<(), (Refusal, Option<&'static str>)> {
        if let Some(name) = Name::find(called) {
            return self.value(name, args).map_err(|refusal| (refusal, None));
        }
        match (called.to_ascii_lowercase().as_str(), args) {
            ("rename-command", [old, new]) => {
                self.config.renamed_commands.write().push((old.to_string(), new.to_string()));
            }
            ("user", [_, ..]) => self.user(args).map_err(|refusal| (refusal, None))?,
            ("loadmodule", _) => return Err(("this server has no modules".into(), None)),
            _ => return Err(("Bad directive or wrong number of arguments".into(), nearest(called))),
        }
        Ok(())
    }

    fn user(&mut self, words: &[&str]) -> Result<(), Refusal> {
        let password = default_user::password(words)?;
        let known = self.config.requirepass();
        let is_other = self.default_user.as_ref().is_some_and(|earlier| earlier != password);
        if is_other || (!known.is_empty() && known != password) {
            return Err(default_user::CONFLICT.into());
        }
        self.default_user = Some(password.to_string());
        self.config.store(Name::requirepass, Value::Text(password.to_string()));
        Ok(())
    }

    fn value(&mut self, name: Name, args: &[&str]) -> Result<(), Refusal> {
        let kind = name.directive().kind;
        if args.is_empty() {
            return Err("wrong number of arguments".into());
        }
        let mut value = kind.parse(args, &self.config.text(name))?;
        if let (Kind::Save, Value::Text(points)) = (kind, &mut value) {
            if self.save_adds && !points.is_empty() {
                *points = format!("{} {points}", self.config.text(name)).trim_start().to_string();
            }
            self.save_adds = true;
        }
        let accepted = judge(name, value, Phase::Start)?;
        if let (Name::requirepass, Value::Text(password), Some(known)) =
            (name, &accepted.value, &self.default_user)
            && password != known
        {
            return Err(default_user::CONFLICT.into());
        }
        self.config.store(name, accepted.value);
        self.warnings.extend(accepted.warning.map(str::to_string));
        Ok(())
    }
}

/// The known name with the smallest edit distance, unless even that is far.
fn nearest(called: &str) -> Option<&'static str> {
    const NAME_LEN_MAX: usize = 64;
    if called.len() > NAME_LEN_MAX {
        return None;
    }
    let called = called.to_ascii_lowercase();
    let known = Name::ALL.iter().flat_map(|name| {
        let directive = name.directive();
        std::iter::once(directive.name).chain(directive.aliases.iter().copied())
    });
    let (distance, name) = known
        .chain(FILE_ONLY.iter().map(|(name, _)| *name))
        .map(|name| (edit_distance(called.as_bytes(), name.as_bytes()), name))
        .min_by_key(|(distance, _)| *distance)?;
    (0 < distance && distance <= 1 + called.len() / 4).then_some(name)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
pub(crate) fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before_last[j - 2] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, distance) in
            [("", "abc", 3), ("port", "prot", 1), ("hz", "hz", 0), ("kitten", "sitting", 3)]
        {
            assert_eq!(edit_distance(a.as_bytes(), b.as_bytes()), distance);
            assert_eq!(edit_distance(b.as_bytes(), a.as_bytes()), distance);
        }
    }

    #[test]
    fn a_slip_is_recognized_and_nonsense_is_not() {
        assert_eq!(nearest("apendfsync"), Some("appendfsync"));
        assert_eq!(nearest("prot"), Some("port"));
        assert_eq!(nearest("MaxMemroy"), Some("maxmemory"));
        assert_eq!(nearest("includ"), Some("include"));
        assert_eq!(nearest("xyzzyplugh"), None);
        assert_eq!(nearest(&"a".repeat(100_000)), None);
    }
}
