//! What a command is, and the context its handler works in.
//!
//! Each command is declared once, beside its handler. Dispatch, arity checks, locking, COMMAND, COMMAND DOCS, ACL categories and
//! `docs/commands.md` are all read from that declaration.

pub mod backups;
pub mod channels;
pub mod clients;
pub mod context;
pub mod events;
pub mod keys;
pub mod libraries;
pub mod many_keys;
pub mod memory;
pub mod options;
pub mod page;
pub mod picked;
pub mod registry;
pub mod scripts;
pub mod server;
pub mod session;
pub mod slowlog;
pub mod snapshots;
pub mod stats;
pub mod tick;
pub mod time;
pub mod tracking;
pub mod walk;

pub use context::{Ctx, Nil};
pub use keys::KeySpec;
pub use session::Session;

use crate::error::CommandError;
use crate::resp::{Reply, RequestArgs};

/// A request's arguments, the command's name first.
pub type Args<'a> = RequestArgs<'a>;
pub type CommandResult = Result<(), CommandError>;

/// Writes exactly one reply and returns Ok, or returns the error that is the reply (whatever was written is dropped). All
/// checks come before the first op: once [`Ctx::apply`] was called, only its own error may be returned.
pub type Handler = fn(&mut Ctx<'_>, Args<'_>, &mut Reply<'_>) -> CommandResult;

bitflags::bitflags! {
    /// Redis' command flags, under Redis' names.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Flags: u32 {
        const WRITE = 1 << 0;
        const READONLY = 1 << 1;
        const DENYOOM = 1 << 2;
        const ADMIN = 1 << 3;
        const PUBSUB = 1 << 4;
        const NOSCRIPT = 1 << 5;
        const BLOCKING = 1 << 6;
        const LOADING = 1 << 7;
        const STALE = 1 << 8;
        const SKIP_MONITOR = 1 << 9;
        const SKIP_SLOWLOG = 1 << 10;
        const ASKING = 1 << 11;
        const FAST = 1 << 12;
        const NO_AUTH = 1 << 13;
        const MAY_REPLICATE = 1 << 14;
        const NO_MULTI = 1 << 15;
        const MOVABLEKEYS = 1 << 16;
        const ALLOW_BUSY = 1 << 17;
        const NO_MANDATORY_KEYS = 1 << 18;
        /// Ours, not shown: the command looks at all keys (KEYS, SCAN, FLUSHALL): every stripe is locked.
        const ALL_KEYS = 1 << 24;
        /// Ours, not shown: runs at once inside MULTI instead of being queued.
        const NOT_QUEUED = 1 << 25;
        /// Ours, not shown: runs scripts, which may write.
        const SCRIPT = 1 << 27;
        /// Ours, not shown: works on the session's queue and watched keys (EXEC, DISCARD, UNWATCH, RESET): those are locked too.
        const TRANSACTION = 1 << 26;
    }
}

/// Redis' command groups, as in COMMAND DOCS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Generic,
    String,
    Bitmap,
    Hash,
    List,
    Set,
    SortedSet,
    Stream,
    HyperLogLog,
    Geo,
    Connection,
    Server,
    Transactions,
    PubSub,
    Scripting,
    Cluster,
}

impl Group {
    /// The name in COMMAND DOCS.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Bitmap => "bitmap",
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Stream => "stream",
            Self::HyperLogLog => "hyperloglog",
            Self::Geo => "geo",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Transactions => "transactions",
            Self::PubSub => "pubsub",
            Self::Scripting => "scripting",
            Self::Cluster => "cluster",
        }
    }

    /// The ACL category that the group stands for.
    pub const fn acl_category(self) -> Option<&'static str> {
        match self {
            Self::Generic => Some("keyspace"),
            Self::String => Some("string"),
            Self::Bitmap => Some("bitmap"),
            Self::Hash => Some("hash"),
            Self::List => Some("list"),
            Self::Set => Some("set"),
            Self::SortedSet => Some("sortedset"),
            Self::Stream => Some("stream"),
            Self::HyperLogLog => Some("hyperloglog"),
            Self::Geo => Some("geo"),
            Self::Connection => Some("connection"),
            Self::Transactions => Some("transaction"),
            Self::Scripting => Some("scripting"),
            Self::Server | Self::PubSub | Self::Cluster => None,
        }
    }
}

/// The one declaration of a command or subcommand. Write `Command { name: "get", ..., ..Command::DEFAULT }`.
#[derive(Debug)]
pub struct Command {
    /// Lower case; of a subcommand only its own word (`get` of `config|get`).
    pub name: &'static str,
    /// The container's name for subcommands (`config`), else empty.
    pub parent: &'static str,
    /// As Redis': number of arguments with the name; negative: at least that many.
    pub arity: i32,
    pub flags: Flags,
    pub keys: &'static [KeySpec],
    pub group: Group,
    /// Redis version that had it first.
    pub since: &'static str,
    pub summary: &'static str,
    pub complexity: &'static str,
    /// What follows the name, in the notation of redis.io: `key value [NX | XX] [EX seconds | PX milliseconds]`.
    pub syntax: &'static str,
    /// ACL categories beyond those that flags and group imply.
    pub acl: &'static [&'static str],
    pub subcommands: &'static [Command],
    pub handler: Handler,
}

impl Command {
    pub const DEFAULT: Self = Self {
        name: "",
        parent: "",
        arity: -1,
        flags: Flags::empty(),
        keys: &[],
        group: Group::Generic,
        since: "1.0.0",
        summary: "",
        complexity: "O(1)",
        syntax: "",
        acl: &[],
        subcommands: &[],
        handler: no_handler,
    };

    /// What the server runs when it changes something by itself.
    pub const INTERNAL: &'static Self = &Self { name: "internal", ..Self::DEFAULT };

    /// `config|get` for subcommands, else the name.
    pub fn full_name(&self) -> String {
        if self.parent.is_empty() { self.name.into() } else { format!("{}|{}", self.parent, self.name) }
    }

    #[inline]
    pub const fn accepts(&self, args: usize) -> bool {
        if self.arity >= 0 { args == self.arity as usize } else { args >= self.arity.unsigned_abs() as usize }
    }

    /// Whether it is about keys, as Redis declares it: names of channels are declared like keys, and said to be none.
    pub fn has_keys(&self) -> bool {
        self.keys.iter().any(|spec| !spec.flags.contains(&"not_key"))
    }

    pub const fn is_write(&self) -> bool {
        self.flags.contains(Flags::WRITE)
    }

    /// True also for what Redis sends to replicas though it is no write (PUBLISH, scripts, PFCOUNT): a pause of writes holds it, and a
    /// read-only script may not call it.
    pub const fn may_replicate(&self) -> bool {
        self.flags.intersects(Flags::WRITE.union(Flags::MAY_REPLICATE))
    }
}

/// Containers are never run themselves: dispatch picks a subcommand or reports that there is none.
fn no_handler(_: &mut Ctx<'_>, _: Args<'_>, _: &mut Reply<'_>) -> CommandResult {
    Err(CommandError::SYNTAX)
}
