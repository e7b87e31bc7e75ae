//! What a connection carries from one command to the next.

use std::sync::Arc;

use super::Command;
use super::clients::Client;
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
    /// Bytes held by the queue.
    pub bytes: usize,
}

/// A watched key.
pub struct Watched {
    pub db: u32,
    pub key: Box<[u8]>,
    /// It was there when it was watched.
    pub existed: bool,
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
    pub authenticated: bool,
    /// CLIENT DURABILITY; `None`: the server's `appendfsync`.
    pub durability: Option<Policy>,
    pub multi: Option<Multi>,
    pub watched: Vec<Watched>,
    /// Set when a watched key changed.
    pub watch_flag: WatchFlag,
    pub reply_mode: ReplyMode,
    /// CLIENT NO-TOUCH: lookups don't count as accesses.
    pub no_touch: bool,
    /// LSN behind the connection's last write.
    pub last_write: crate::log::Lsn,
    /// Close once the replies so far are sent (QUIT, CLIENT KILL of oneself, protocol errors).
    pub close_after_reply: bool,
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
            watched: Vec::new(),
            watch_flag: WatchFlag::default(),
            reply_mode: ReplyMode::On,
            no_touch: false,
            last_write: 0,
            close_after_reply: false,
        }
    }
}
