//! What all connections share. Handlers reach it through their context; sockets are not in here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::backups::Backups;
use super::channels::Channels;
use super::clients::Clients;
use super::libraries::KnownLibraries;
use super::memory::Memory;
use super::registry::Registry;
use super::scripts::Scripts;
use super::slowlog::SlowLog;
use super::snapshots::Snapshots;
use super::stats::Stats;
use super::time::Time;
use super::tracking::Tracking;
use crate::clock::Clock;
use crate::config::Config;
use crate::disk::Disk;
use crate::keyspace::Keyspace;
use crate::log::{Log, RecoveryReport};

/// The keys and the log that keeps them: there once recovery is done.
pub struct Store {
    pub keyspace: Keyspace,
    pub log: Arc<Log>,
    /// Where the log is, for the snapshots beside it.
    pub disk: Arc<dyn Disk>,
    pub recovery: RecoveryReport,
}

/// How far loading is, for INFO while it lasts.
#[derive(Debug, Default)]
pub struct Loading {
    pub bytes_total: AtomicU64,
    pub bytes_done: AtomicU64,
    pub records: AtomicU64,
    /// Keys of the snapshot that the start began with.
    pub snapshot_keys: AtomicU64,
    pub started_ms: AtomicU64,
}

/// Called with the name of each directive that CONFIG SET changed. An error says why the new value cannot be used.
pub type OnConfig = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// SHUTDOWN, or a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownRequest {
    /// Restart from disk afterwards (DEBUG RELOAD, DEBUG LOADAOF).
    pub restart: bool,
    /// Leave without waiting for anything (SHUTDOWN NOW).
    pub now: bool,
}

pub struct Server {
    pub config: Arc<Config>,
    /// Path of the configuration file, for INFO and CONFIG REWRITE.
    pub config_file: Option<String>,
    /// Some of it came from standard input, and is not to be had a second time.
    pub config_from_stdin: bool,
    pub clock: Arc<dyn Clock>,
    pub registry: Registry,
    pub clients: Clients,
    pub channels: Channels,
    pub tracking: Tracking,
    pub stats: Stats,
    pub slowlog: SlowLog,
    pub scripts: Scripts,
    pub libraries: KnownLibraries,
    pub store: OnceLock<Store>,
    pub loading: Loading,
    /// Forty hexadecimal digits, new at every start.
    pub run_id: String,
    pub started_ms: u64,
    pub started: Duration,
    pub time: Time,
    /// DEBUG SET-ACTIVE-EXPIRE: whether keys whose time has come are looked for.
    pub active_expire: AtomicBool,
    /// A keyspace without keys, for the commands that work while the store is loading.
    pub no_keys: Keyspace,
    pub shutdown: Mutex<Option<ShutdownRequest>>,
    pub shutting_down: AtomicBool,
    /// Wakes the thread that carries out a shutdown.
    pub on_shutdown: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// Applies changed directives that need more than the new value (log level, policies, limits).
    pub on_config: OnceLock<OnConfig>,
    pub memory: Memory,
    pub snapshots: Snapshots,
    pub backups: Backups,
    /// Text for the CONFIG REWRITE of the configuration file; set by the floor that may touch files outside the store.
    pub rewrite_config: OnceLock<Box<dyn Fn() -> Result<(), String> + Send + Sync>>,
}

impl Server {
    /// A server without a store yet.
    pub fn new(config: Arc<Config>, clock: Arc<dyn Clock>, registry: Registry) -> std::io::Result<Self> {
        let ids = [clock.random_id()?, clock.random_id()?, clock.random_id()?];
        let run_id = ids.concat().iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            config_file: None,
            config_from_stdin: false,
            stats: Stats::new(registry.all().len()),
            slowlog: SlowLog::default(),
            scripts: Scripts::default(),
            libraries: KnownLibraries::default(),
            registry,
            clients: Clients::default(),
            channels: Channels::default(),
            tracking: Tracking::default(),
            store: OnceLock::new(),
            loading: Loading::default(),
            run_id,
            started_ms: clock.wall_ms(),
            started: clock.monotonic(),
            time: Time::new(&*clock),
            active_expire: AtomicBool::new(true),
            no_keys: Keyspace::new(config.databases() as u32, 0),
            shutdown: Mutex::new(None),
            shutting_down: AtomicBool::new(false),
            on_shutdown: OnceLock::new(),
            on_config: OnceLock::new(),
            memory: Memory::default(),
            snapshots: Snapshots::new(),
            backups: Backups::default(),
            rewrite_config: OnceLock::new(),
            config,
            clock,
        })
    }

    /// Unix milliseconds for expiry.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.time.at(self.clock.wall_ms(), self.clock.monotonic())
    }

    /// Whether a clock that was set keeps what is due from being removed.
    pub fn hides_expired(&self) -> bool {
        // In this order: whoever notices a jump first suspends expiry.
        self.time.has_jumped(&*self.clock) || self.time.expiry_is_suspended()
    }

    pub fn uptime(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.started)
    }

    /// Asks for an orderly end. True for the first who asks.
    pub fn request_shutdown(&self, request: ShutdownRequest) -> bool {
        let mut slot = self.shutdown.lock();
        let first = slot.is_none();
        slot.get_or_insert(request);
        drop(slot);
        self.shutting_down.store(true, Relaxed);
        if let Some(wake) = self.on_shutdown.get() {
            wake();
        }
        first
    }
}
