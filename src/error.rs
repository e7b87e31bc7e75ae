//! The error types of the ground floor: what a client did wrong, and what is wrong on the disk.
//!
//! A torn log tail is *not* an error: it is an outcome of recovery.

use std::borrow::Cow;
use std::fmt;
use std::io;

/// What a client is told when a command is refused. The text is the whole error line without the leading `-`:
/// an upper-case code, a space and a message (`WRONGTYPE Operation against ...`), with Redis' own text where Redis has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandError(Cow<'static, str>);

impl CommandError {
    pub const WRONG_TYPE: Self =
        Self::new("WRONGTYPE Operation against a key holding the wrong kind of value");
    pub const SYNTAX: Self = Self::new("ERR syntax error");
    pub const NOT_INTEGER: Self = Self::new("ERR value is not an integer or out of range");
    pub const NOT_FLOAT: Self = Self::new("ERR value is not a valid float");
    pub const LOADING: Self = Self::new("LOADING Redis is loading the dataset in memory");
    pub const NO_SUCH_KEY: Self = Self::new("ERR no such key");
    pub const OVERFLOW: Self = Self::new("ERR increment or decrement would overflow");
    pub const OUT_OF_RANGE: Self = Self::new("ERR value is out of range");
    pub const MUST_BE_POSITIVE: Self = Self::new("ERR value is out of range, must be positive");
    pub const INDEX_OUT_OF_RANGE: Self = Self::new("ERR index out of range");

    /// `text` begins with the error code, as in `ERR no such key`.
    pub const fn new(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// An error whose text is made at run time.
    pub fn owned(text: String) -> Self {
        Self(Cow::Owned(text))
    }

    /// Redis' `ERR wrong number of arguments for '<name>' command`; `name` in lower case, `config|get` for subcommands.
    pub fn wrong_arity(name: &str) -> Self {
        Self::owned(format!("ERR wrong number of arguments for '{name}' command"))
    }

    /// Redis' `ERR invalid expire time in '<name>' command`.
    pub fn invalid_expire(name: &str) -> Self {
        Self::owned(format!("ERR invalid expire time in '{name}' command"))
    }

    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CommandError {}

/// Bytes on disk that cannot be what was written. Never skipped in silence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, offset {offset}: {reason}")]
pub struct Corruption {
    /// Path of the file, relative to the data directory.
    pub file: String,
    /// Byte offset in that file at which the damage was noticed.
    pub offset: u64,
    pub reason: String,
}

/// Why a data directory could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("damaged data: {0}")]
    Corruption(#[from] Corruption),
    /// The directory is in use, from another store, or not a data directory. The text says what to do next.
    #[error("{0}")]
    Refused(String),
}

impl StoreError {
    /// Adds what was being done to an I/O error: `.map_err(StoreError::io("open log/00000001.log"))`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
