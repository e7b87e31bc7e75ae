//! What a connection carries from one command to the next.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hashbrown::HashSet;

use super::Command;
use super::channels::Subscriptions;
use super::clients::Client;
use super::tracking;
use crate::config::Config;
use crate::keyspace::waiters::WatchFlag;
use crate::log::Policy;
use crate::resp::{OwnedArgs, Protocol};

/// A queued command of a MULTI.
pub struct Queued {
    pub command: &'static Command,
    /// Its number in the registry.
    pub number: usize,
    pub args: OwnedArgs,
}

/// An open MULTI.
#[derive(Default)]
pub struct Multi {
    pub queue: Vec<Queued>,
    /// A command was refused while queueing: EXEC aborts.
    pub dirty: bool,
    /// Bytes of the queued arguments.
    args_bytes: usize,
}

/// What the allocator adds to the two allocations of a queued command.
const QUEUED_OVERHEAD: usize = 32;

impl Multi {
    pub fn push(&mut self, queued: Queued) {
        self.args_bytes += queued.args.heap_len() + QUEUED_OVERHEAD;
        self.queue.push(queued);
    }

    /// Bytes held by the queue.
    pub fn heap_len(&self) -> usize {
        self.args_bytes + self.queue.capacity() * size_of::<Queued>()
    }
}

/// A watched key. Two are the same if database and key are.
pub struct Watched {
    pub db: u32,
    pub key: Box<[u8]>,
    /// It was there when it was watched.
    pub existed: bool,
    /// When the first of a hash's fields expires that were to be seen then: Unix milliseconds, `u64::MAX` if none does.
    pub field_due_ms: u64,
}

impl Hash for Watched {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.db, &*self.key).hash(state);
    }
}

impl PartialEq for Watched {
    fn eq(&self, other: &Self) -> bool {
        self.db == other.db && self.key == other.key
    }
}

impl Eq for Watched {}

/// Bytes that a watched key takes besides its own, here and with its stripe, in tables that may be half empty.
const WATCHED_OVERHEAD: usize = 304;

/// The keys that a session watches.
#[derive(Default)]
pub struct WatchedKeys {
    keys: HashSet<Watched>,
    bytes: usize,
}

impl WatchedKeys {
    /// False if it was watched before.
    pub fn insert(&mut self, watched: Watched) -> bool {
        let bytes = Self::bytes_for(watched.key.len());
        let is_new = self.keys.insert(watched);
        self.bytes += if is_new { bytes } else { 0 };
        is_new
    }

    /// What one more key takes, about.
    pub const fn bytes_for(key_len: usize) -> usize {
        2 * key_len + WATCHED_OVERHEAD
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Watched> {
        self.keys.iter()
    }

    pub fn take(&mut self) -> impl Iterator<Item = Watched> + use<> {
        std::mem::take(self).keys.into_iter()
    }
}

/// CLIENT REPLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// The next command's reply is dropped.
    SkipNext,
    /// This command's reply is dropped.
    Skip,
}

/// One connection's state, owned by the worker that serves it.
pub struct Session {
    pub client: Arc<Client>,
    pub db: u32,
    pub proto: Protocol,
    /// It gave the password, or there was none when it came: see [`Self::is_authenticated`].
    pub authenticated: bool,
    /// CLIENT DURABILITY; `None`: the server's `appendfsync`.
    pub durability: Option<Policy>,
    pub multi: Option<Multi>,
    pub watched: WatchedKeys,
    /// Set when a watched key changed.
    pub watch_flag: WatchFlag,
    pub subscriptions: Option<Box<Subscriptions>>,
    /// CLIENT TRACKING.
    pub tracking: Option<Box<tracking::Mode>>,
    pub reply_mode: ReplyMode,
    /// The reply to this command leaves whatever CLIENT REPLY says.
    pub out_of_band: bool,
    /// CLIENT NO-TOUCH: lookups don't count as accesses.
    pub no_touch: bool,
    /// LSN behind the connection's last write.
    pub last_write: crate::log::Lsn,
    /// Close once the replies so far are sent (QUIT, CLIENT KILL of oneself, protocol errors).
    pub close_after_reply: bool,
    /// The output ends the connection when it is longer than this, so no more of a reply needs to be made.
    pub output_len_max: usize,
}

impl Session {
    pub fn new(client: Arc<Client>, authenticated: bool) -> Self {
        Self {
            client,
            db: 0,
            proto: Protocol::Resp2,
            authenticated,
            durability: None,
            multi: None,
            watched: WatchedKeys::default(),
            watch_flag: WatchFlag::default(),
            subscriptions: None,
            tracking: None,
            reply_mode: ReplyMode::On,
            out_of_band: false,
            no_touch: false,
            last_write: 0,
            close_after_reply: false,
            output_len_max: usize::MAX,
        }
    }

    /// Whether it may do what takes a password. As in Redis everybody may while there is none, and who came before there was one.
    #[inline]
    pub fn is_authenticated(&self, config: &Config) -> bool {
        self.authenticated || config.requirepass().is_empty()
    }

    /// Bytes kept from one request to the next: queued commands, watched keys, subscriptions.
    pub fn kept_bytes(&self) -> usize {
        self.multi.as_ref().map_or(0, Multi::heap_len)
            + self.watched.bytes
            + self.subscriptions.as_ref().map_or(0, |own| own.heap_len())
            + self.tracking.as_ref().map_or(0, |mode| mode.heap_len())
    }

    /// CLIENT REPLY has the reply to the command that runs dropped, whenever it comes. What others tell the client is no reply.
    pub fn is_silent(&self) -> bool {
        self.reply_mode != ReplyMode::On
    }

    /// Others may tell it something at any time.
    #[inline]
    pub fn is_told(&self) -> bool {
        self.subscriptions.is_some() || self.tracking.is_some()
    }

    /// It listens to something, so in RESP2 it may not do much else.
    #[inline]
    pub fn is_subscribed(&self) -> bool {
        self.subscriptions.as_ref().is_some_and(|own| !own.is_empty())
    }
}
