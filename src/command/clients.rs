//! The connected clients, as CLIENT LIST shows them and CLIENT KILL finds them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::{Mutex, RwLock};

use crate::keyspace::waiters::Waiter;

/// What a connection shows of itself to others. Its worker writes, anyone reads.
pub struct Client {
    pub id: u64,
    /// `127.0.0.1:50000`, or the socket's path and `:0`.
    pub addr: String,
    pub laddr: String,
    pub fd: i32,
    /// Number of the worker that serves it.
    pub worker: usize,
    pub unix_socket: bool,
    pub created_ms: u64,
    pub name: Mutex<String>,
    pub lib_name: Mutex<String>,
    pub lib_ver: Mutex<String>,
    pub db: AtomicU32,
    /// Protocol version, 2 or 3.
    pub resp: AtomicU32,
    pub last_active_ms: AtomicU64,
    /// Number of the last command; `usize::MAX` before the first.
    pub last_command: AtomicUsize,
    /// Commands in the open MULTI, -1 without one.
    pub multi: AtomicI64,
    pub watched: AtomicU64,
    /// Channels, patterns and shard channels that it is subscribed to.
    pub subscriptions: [AtomicUsize; 3],
    /// Whether and how it tracks keys: bits named in [`super::tracking`].
    pub tracking: AtomicU32,
    /// Id of the connection that is told what it tracks, 0 for none, -1 if it does not track.
    pub redirect: AtomicI64,
    pub multi_bytes: AtomicUsize,
    pub query_bytes: AtomicUsize,
    pub query_free: AtomicUsize,
    pub output_bytes: AtomicUsize,
    pub commands: AtomicU64,
    pub input_total: AtomicU64,
    pub output_total: AtomicU64,
    pub no_evict: AtomicBool,
    pub no_touch: AtomicBool,
    /// Someone decided that this connection must end.
    pub killed: AtomicBool,
    /// A request of it waits for the end of a pause, or for room in the log.
    pub held_back: AtomicBool,
    /// The command it is blocked in, if it is.
    pub blocked: Mutex<Option<Blocked>>,
    /// What it counts for in `maxmemory-clients`.
    pub share: Mutex<Share>,
    /// Wakes its task, on whichever worker that runs.
    pub wake: Box<dyn Fn() + Send + Sync>,
}

/// A client's share of the memory of all clients.
#[derive(Debug, Clone, Copy, Default)]
pub struct Share {
    pub bytes: u64,
    /// It was told to end because of it; its bytes count as dying until it has.
    pub is_evicted: bool,
}

/// A blocked client, for CLIENT UNBLOCK.
pub struct Blocked {
    pub waiter: Arc<Waiter>,
    /// Answers it: `true` as by an error, `false` as by its time-out. The waiter must have been claimed.
    pub unblock: Box<dyn Fn(bool) + Send + Sync>,
}

impl Client {
    /// Whether it waits for something before it is answered: a key, or the end of a pause.
    pub fn is_blocked(&self) -> bool {
        self.held_back.load(Relaxed) || self.blocked.lock().is_some()
    }

    pub fn is_subscribed(&self) -> bool {
        self.subscriptions.iter().any(|count| count.load(Relaxed) > 0)
    }

    /// Ends the connection; replies that are due are still sent if `soon` is not asked for.
    pub fn kill(&self) {
        self.killed.store(true, Relaxed);
        (self.wake)();
    }
}

/// CLIENT PAUSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    pub until_ms: u64,
    /// Only commands that write wait.
    pub writes_only: bool,
}

#[derive(Default)]
pub struct Clients {
    by_id: RwLock<BTreeMap<u64, Arc<Client>>>,
    next_id: AtomicU64,
    paused: AtomicBool,
    pause: Mutex<Option<Pause>>,
    /// Accepted, and on their way to their workers.
    pub arriving: AtomicUsize,
    /// Connections in a blocking command.
    pub blocked: AtomicU64,
    /// When the log was last told of a request in HTTP, in Unix milliseconds.
    pub warned_of_http_ms: AtomicU64,
}

impl Clients {
    pub fn fresh_id(&self) -> u64 {
        self.next_id.fetch_add(1, Relaxed) + 1
    }

    pub fn add(&self, client: Arc<Client>) {
        self.by_id.write().insert(client.id, client);
    }

    pub fn remove(&self, id: u64) {
        self.by_id.write().remove(&id);
    }

    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.by_id.read().get(&id).cloned()
    }

    /// By id, that is by age.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.by_id.read().values().cloned().collect()
    }

    /// Those who are chosen, by age. `is_chosen` must be quick: nobody comes or goes meanwhile.
    pub fn chosen(&self, is_chosen: impl Fn(&Client) -> bool) -> Vec<Arc<Client>> {
        self.by_id.read().values().filter(|client| is_chosen(client)).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.by_id.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those who are still on their way included.
    pub fn len_with_arriving(&self) -> usize {
        self.arriving.load(Relaxed) + self.len()
    }

    /// The pause in force at a time.
    #[inline]
    pub fn pause(&self, now_ms: u64) -> Option<Pause> {
        if !self.paused.load(Relaxed) {
            return None;
        }
        let mut pause = self.pause.lock();
        if pause.is_some_and(|p| p.until_ms <= now_ms) {
            *pause = None;
            self.paused.store(false, Relaxed);
        }
        *pause
    }

    /// CLIENT PAUSE: the stricter mode and the later end of two pauses hold.
    pub fn set_pause(&self, new: Pause) {
        let mut pause = self.pause.lock();
        let merged = pause.map_or(new, |old| Pause {
            until_ms: old.until_ms.max(new.until_ms),
            writes_only: old.writes_only && new.writes_only,
        });
        *pause = Some(merged);
        self.paused.store(true, Relaxed);
    }

    /// CLIENT UNPAUSE. Everyone is woken.
    pub fn end_pause(&self) {
        *self.pause.lock() = None;
        self.paused.store(false, Relaxed);
        for client in self.all() {
            (client.wake)();
        }
    }
}
