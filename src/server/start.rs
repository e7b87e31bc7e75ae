//! From the command line to a serving process, and to its orderly end.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::allocator;
use crate::clock::{Clock, OsClock};
use crate::command::context::Transaction;
use crate::command::memory;
use crate::command::server::Server;
use crate::command::session::Session;
use crate::config::{AppendFsync, Config, LogIo as LogIoChoice, Name};
use crate::disk::{Lock, LogIo, OsDisk};
use crate::engine::evict::{self, Room};
use crate::engine::expiry::Expiry;
use crate::engine::rig::client_without_socket;
use crate::error::StoreError;
use crate::headroom::Headroom;
use crate::log::{Log, LogOptions, Policy};
use crate::process;
use crate::recovery;

use crate::command::channels::Ring;

use super::bell::Bell;
use super::compactor::{self, Compactor, Schedule};
use super::listen::{self, Distributor, Listening};
use super::logging::{self, Logging};
use super::pid_file::PidFile;
use super::settings::{self, Settings};
use super::supervisor::{self, Supervisor};
use super::worker;
use super::{left_by_redis, signals};

/// Runs the server until it is asked to end. Returns the process' exit code.
pub fn run(args: &[String]) -> i32 {
    match args.first().map(String::as_str) {
        Some("--help" | "-h") => {
            print!("{}", settings::HELP);
            return 0;
        }
        Some("--version" | "-v") => {
            println!("Duramen server v={} (Redis 7.2.4 compatible)", env!("CARGO_PKG_VERSION"));
            return 0;
        }
        _ => {}
    }
    let settings = match settings::load(args) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("{error}");
            return 1;
        }
    };
    let logs_to_a_file = !settings.config.logfile().is_empty();
    match serve(settings) {
        Ok(End::Stop) => 0,
        Ok(End::Restart) => restart(args),
        Err(error) => {
            // Where the log is the terminal, or the same journal, once is enough.
            if logs_to_a_file {
                tracing::error!("{error}");
            }
            eprintln!("duramen: {error}");
            1
        }
    }
}

/// The log's policy of an `appendfsync` value.
pub fn policy(choice: AppendFsync) -> Policy {
    match choice {
        AppendFsync::Always => Policy::Always,
        AppendFsync::EverySec => Policy::EverySec,
        AppendFsync::No => Policy::No,
    }
}

fn serve(settings: Settings) -> Result<End, String> {
    let Settings { config, file, from_stdin, warnings } = settings;
    let Logging { set_level, file: log_file } = logging::start(config.loglevel(), &config.logfile())
        .map_err(|e| {
            format!(
                "can't write the log file '{}': {e}. Make its folder, and let the user that runs the server write there, or choose \
                 another --logfile.",
                config.logfile()
            )
        })?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let config = Arc::new(config);
    let clock: Arc<dyn Clock> = Arc::new(OsClock::new());
    let mut registry = crate::registry();
    for (old, new) in config.renamed_commands() {
        registry.rename(&old, &new).map_err(|why| format!("rename-command {old} \"{new}\": {why}"))?;
    }
    let mut server =
        Server::new(config.clone(), clock, registry).map_err(|e| format!("no random numbers: {e}"))?;
    server.config_file = file;
    server.config_from_stdin = from_stdin;
    let server = Arc::new(server);
    let listening: Arc<Mutex<Option<Listening>>> = Arc::default();
    install_hooks(&server, set_level, listening.clone());
    crate::admin::config::apply_limits(&config);
    let stop = Arc::new(Notify::new());
    let notify = stop.clone();
    // Nobody else sets it.
    let _ = server.on_shutdown.set(Box::new(move || notify.notify_one()));
    signals::start(server.clone(), log_file).map_err(|e| format!("can't catch signals: {e}"))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        dir = config.dir(),
        "starting"
    );

    let supervisor = Supervisor::of(&config);
    let disk = open_disk(&config)?;
    // First of all: a second start on the directory of a server that runs must not touch that one's socket and pid file.
    let lock = lock(&disk, &config.dir())?;
    let listeners = listen::open(&config)?;
    fit_maxclients(&config)?;
    let pid_file = PidFile::write(&config)?;
    let (unix_listener, socket_file) = listeners.unix.unzip();

    let (workers, bells, threads) = start_workers(&server)?;
    // The connections end with it.
    let distributor = Distributor::new(server.clone(), workers);
    let (mut compactor, mut housekeeper) = (None, None);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("no runtime for accepting connections: {e}"))?;
    let outcome = runtime.block_on(async {
        let accepting = Listening::start(distributor.clone(), listeners.tcp)
            .map_err(|e| format!("can't accept connections: {e}"))?;
        *listening.lock() = Some(accepting);
        if let Some(listener) = unix_listener {
            tracing::info!("listening on {}", config.unixsocket());
            tokio::spawn(distributor.clone().serve_unix(listener));
        }
        load(&server, Directory { disk, lock }, &supervisor, &bells, &stop, &mut compactor, &mut housekeeper)
            .await
    });
    let wants_restart = server.shutdown.lock().is_some_and(|request| request.restart);
    if outcome.is_ok() {
        if wants_restart { supervisor.restarting() } else { supervisor.stopping() }
    }
    // While the name is this server's without doubt: another one may take it as soon as nobody listens.
    drop(socket_file);
    // Ends the accepting tasks, without waiting for a recovery that goes on. The connections stay: their end is how clients learn that
    // the directory is free.
    runtime.shutdown_background();
    listening.lock().take();
    let end = if wants_restart { End::Restart } else { End::Stop };
    if outcome.is_ok() && server.store.get().is_none() {
        // The end was asked for during the load. Nothing was acknowledged since the start, and recovery may be left at any moment, as
        // it may crash at any. So it is not waited for: the process ends, and with it recovery, the connections and the lock.
        std::mem::forget(distributor);
        tracing::info!("left while loading: nothing was acknowledged since the start; bye");
        return Ok(end);
    }
    // No script begins any more. One that has run for long is not waited for: nothing of it is in the log.
    while server.scripts.is_running() && !server.scripts.is_busy() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let is_busy = server.scripts.is_busy();
    let compactor_is_done = compactor.is_none_or(|compactor| !is_busy && compactor.join(&*server.clock));
    if housekeeper.filter(|_| !is_busy).is_some_and(|thread| thread.join().is_err()) {
        tracing::error!("the thread of expiry ended by a panic");
    }
    let synced = match server.store.get() {
        Some(store) if outcome.is_ok() => {
            store.log.shutdown().map_err(|e| format!("the log was not synced: {e}"))
        }
        _ => Ok(()),
    };
    drop(pid_file);
    if let Some(store) = server.store.get().filter(|_| outcome.is_ok() && synced.is_ok() && compactor_is_done)
    {
        store.log.let_go();
    }
    drop(distributor);
    for thread in threads.into_iter().filter(|_| !is_busy) {
        if thread.join().is_err() {
            tracing::error!("a worker ended by a panic");
        }
    }
    outcome?;
    synced?;
    tracing::info!("everything is synced; bye");
    Ok(end)
}

/// What follows an orderly end.
enum End {
    Stop,
    /// DEBUG RELOAD: the same program again, with what is on the disk.
    Restart,
}

/// Replaces the process by a fresh one with the same arguments. Returns only if that fails.
fn restart(args: &[String]) -> i32 {
    use std::os::unix::process::CommandExt;
    let program = std::env::current_exe().unwrap_or_else(|_| "duramen".into());
    let error = std::process::Command::new(program).args(args).exec();
    eprintln!("duramen: can't start again: {error}");
    1
}

fn open_disk(config: &Config) -> Result<Arc<OsDisk>, String> {
    let log_io = match config.log_io() {
        LogIoChoice::Auto => LogIo::Auto,
        LogIoChoice::Direct => LogIo::Direct,
        LogIoChoice::Buffered => LogIo::Buffered,
        LogIoChoice::IoUring => LogIo::IoUring,
    };
    let dir = config.dir();
    let disk = OsDisk::open_dir(dir.clone().into(), log_io);
    disk.map(Arc::new)
        .map_err(|e| format!("can't use the data directory '{dir}': {e}. Choose another --dir."))
}

/// A data directory that nobody else has.
struct Directory {
    disk: Arc<OsDisk>,
    lock: Box<dyn Lock>,
}

fn lock(disk: &OsDisk, dir: &str) -> Result<Box<dyn Lock>, String> {
    Log::lock(disk).map_err(|error| match error {
        StoreError::Io { .. } => format!(
            "can't use the data directory '{dir}': {error}. Let the user that runs the server write there, or choose another --dir."
        ),
        _ => format!("can't use the data directory '{dir}': {error}"),
    })
}

/// Files that the server itself needs open, beside one for each client.
const OWN_FILES: u64 = 64;

/// As Redis: raises the limit of open files to what `maxclients` needs, or lowers `maxclients` to what the limit allows.
fn fit_maxclients(config: &Config) -> Result<(), String> {
    let maxclients = config.maxclients() as u64;
    let allowed = process::allow_open_files(maxclients + OWN_FILES)
        .map_err(|e| format!("can't read the limit of open files: {e}"))?;
    if allowed >= maxclients + OWN_FILES {
        return Ok(());
    }
    let fitting = allowed.saturating_sub(OWN_FILES);
    if fitting == 0 {
        return Err(format!(
            "{allowed} open files are too few to serve a client. Raise the limit (ulimit -n)."
        ));
    }
    tracing::warn!(
        "maxclients lowered from {maxclients} to {fitting}: only {allowed} files may be open. Raise the limit (ulimit -n)."
    );
    config
        .set_at_start(Name::maxclients, &fitting.to_string())
        .map_err(|e| format!("maxclients {fitting}: {e}"))
}

/// The same for CONFIG SET, which is refused instead.
fn allow_clients(config: &Config) -> Result<(), String> {
    let wanted = (config.maxclients() as u64).saturating_add(OWN_FILES);
    let allowed =
        process::allow_open_files(wanted).map_err(|e| format!("can't read the limit of open files: {e}"))?;
    if allowed >= wanted {
        return Ok(());
    }
    Err(format!(
        "The operating system is not able to handle the specified number of clients, try with {}",
        allowed.saturating_sub(OWN_FILES)
    ))
}

type Workers =
    (Vec<mpsc::UnboundedSender<super::stream::Accepted>>, Vec<Arc<Bell>>, Vec<std::thread::JoinHandle<()>>);

fn start_workers(server: &Arc<Server>) -> Result<Workers, String> {
    let (mut senders, mut bells, mut threads) = (Vec::new(), Vec::new(), Vec::new());
    let mut rings: Vec<Ring> = Vec::new();
    for number in 0..server.config.io_threads() as usize {
        let (sender, receiver) = mpsc::unbounded_channel();
        let bell = Arc::new(Bell::default());
        let mail = bell.clone();
        rings.push(Box::new(move || mail.ring()));
        let thread = worker::spawn(server.clone(), bell.clone(), receiver, number)
            .map_err(|e| format!("can't start worker {number}: {e}"))?;
        senders.push(sender);
        bells.push(bell);
        threads.push(thread);
    }
    server.channels.open(rings);
    Ok((senders, bells, threads))
}

/// Recovers the store on a thread of its own, while clients are told that it is loading; then runs until the end is asked for. If it is
/// asked for before, there is no store.
async fn load(
    server: &Arc<Server>,
    directory: Directory,
    supervisor: &Supervisor,
    bells: &[Arc<Bell>],
    stop: &Notify,
    compactor: &mut Option<Compactor>,
    housekeeper: &mut Option<std::thread::JoinHandle<()>>,
) -> Result<(), String> {
    let loader = server.clone();
    let options = LogOptions {
        segment_bytes: server.config.log_segment_size(),
        buffer_bytes_max: server.config.log_buffer_size() as usize,
        policy: policy(server.config.appendfsync()),
        threads: true,
    };
    let Directory { disk, lock } = directory;
    let mut recovering =
        tokio::task::spawn_blocking(move || recovery::open_locked(&loader, disk, lock, options));
    let mut beat = tokio::time::interval(supervisor::BEAT);
    let recovered = loop {
        tokio::select! {
            recovered = &mut recovering => break recovered,
            _ = beat.tick() => {
                let loading = &server.loading;
                supervisor.loading(loading.bytes_done.load(Relaxed), loading.bytes_total.load(Relaxed));
            }
            () = stop.notified() => return Ok(()),
        }
    };
    let store = recovered.map_err(|e| format!("recovery ended early: {e}"))?.map_err(|e| e.to_string())?;
    report(&store);
    left_by_redis::warn(&server.config, &store);
    let bells = bells.to_vec();
    store.log.subscribe(Box::new(move |moved| bells.iter().for_each(|bell| bell.ring_from_log(moved))));
    let schedule = Schedule::new(server, &store);
    assert!(server.store.set(store).is_ok(), "the store is set once, here");
    crate::scripting::load_libraries(server);
    let spawned = compactor::spawn(server.clone(), schedule);
    *compactor = Some(spawned.map_err(|e| format!("can't start the thread of compaction: {e}"))?);
    let io = server.store.get().map_or("", |store| store.log.info().io);
    tracing::info!(io, "ready to accept connections");
    let over = Arc::new(Notify::new());
    let (keeping, ends) = (server.clone(), over.clone());
    let thread = std::thread::Builder::new()
        .name("housekeeper".into())
        .spawn(move || keep_house(&keeping, &ends))
        .map_err(|e| format!("can't start the thread of expiry: {e}"))?;
    *housekeeper = Some(thread);
    supervisor.ready();
    stop.notified().await;
    over.notify_one();
    tracing::info!("shutting down: syncing the log");
    Ok(())
}

/// Eviction in the background stops this often to let others have the thread.
const EVICTION_STEP: Duration = Duration::from_millis(1);

/// Statistics are sampled, memory is looked at and eviction is taken up this often.
const BEAT: Duration = Duration::from_millis(100);

/// Expiry and eviction have a thread of their own, since they wait for whoever holds a stripe; so has the making of headroom, which takes
/// milliseconds. Accepting connections must not wait for either.
fn keep_house(server: &Server, over: &Notify) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime without sockets needs nothing that could be missing");
    runtime.block_on(async {
        tokio::select! {
            () = expire(server) => {}
            () = make_headroom(server) => {}
            () = over.notified() => {}
        }
    });
}

/// What the server does by itself: active expiry, `hz` times a second and more often while much is due; the figure of memory;
/// eviction that commands had no time for.
async fn expire(server: &Server) {
    let client = client_without_socket(0, server.clock.wall_ms());
    let mut expiry = Expiry::new(Session::new(client.clone(), true));
    let (mut session, mut transaction) = (Session::new(client, true), Transaction::default());
    let mut beat = server.clock.monotonic();
    while !server.shutting_down.load(Relaxed) {
        tokio::time::sleep(expiry.pause(server)).await;
        if server.scripts.is_busy() {
            continue;
        }
        let now = server.clock.monotonic();
        if now >= beat {
            beat = now + BEAT;
            server.stats.sample(now);
            server.store.get().into_iter().for_each(|store| store.log.trim());
            memory::refresh(server);
            evict(server, &mut session, &mut transaction).await;
        }
        let mut rounds = 0;
        while expiry.cycle(server) && rounds < 16 {
            rounds += 1;
            tokio::task::yield_now().await;
        }
        if let Some(store) = server.store.get()
            && store.log.append_lsn() > store.log.written_lsn()
        {
            store.log.flush_tick(false);
        }
    }
}

/// Memory for the workers to grow into; what nobody grew into for long is given back.
async fn make_headroom(server: &Server) {
    let mut headroom = Headroom::default();
    loop {
        tokio::time::sleep(BEAT).await;
        headroom.look();
        while !server.shutting_down.load(Relaxed) && headroom.add() {
            tokio::task::yield_now().await;
        }
        allocator::decay();
    }
}

/// What commands had no time for: all that is too much, in short steps.
async fn evict(server: &Server, session: &mut Session, transaction: &mut Transaction) {
    while server.config.maxmemory() > 0 && !server.shutting_down.load(Relaxed) {
        match evict::make_room(server, session, transaction, Some(EVICTION_STEP)) {
            Room::Unfinished if server.store.get().is_some_and(|store| store.log.admit().is_ok()) => {
                tokio::task::yield_now().await;
            }
            _ => return,
        }
    }
}

fn report(store: &crate::command::server::Store) {
    let found = &store.recovery;
    if found.created {
        tracing::info!("a new store was made");
        return;
    }
    let seconds = found.elapsed.as_secs_f64();
    tracing::info!(
        records = found.records,
        bytes = found.bytes,
        segments = found.segments,
        term = found.term,
        "loaded in {seconds:.3} s"
    );
    if let Some(torn) = &found.torn {
        tracing::warn!(
            file = torn.file,
            offset = torn.offset,
            bytes = torn.bytes,
            possibly_acknowledged = torn.possibly_acknowledged,
            "an unfinished tail was cut"
        );
    }
}

const PORT_REFUSED: &str = "Unable to listen on this port. Check server logs.";
const BIND_REFUSED: &str = "Failed to bind to specified addresses.";

/// Lets handlers reach what only this floor can do.
fn install_hooks(
    server: &Arc<Server>,
    set_level: logging::SetLevel,
    listening: Arc<Mutex<Option<Listening>>>,
) {
    let weak = Arc::downgrade(server);
    let on_config = move |name: &str| {
        let Some(server) = weak.upgrade() else { return Ok(()) };
        match name {
            "port" | "bind" => {
                let followed =
                    listening.lock().as_ref().map_or(Ok(()), |listening| listening.follow(&server.config));
                followed.map_err(|error| {
                    tracing::warn!("CONFIG SET {name}: {error}");
                    if name == "port" { PORT_REFUSED } else { BIND_REFUSED }
                })?;
            }
            "maxclients" => allow_clients(&server.config)?,
            "loglevel" => set_level(server.config.loglevel()),
            "appendfsync" => {
                if let Some(store) = server.store.get() {
                    store.log.set_policy(policy(server.config.appendfsync()));
                }
            }
            "save" | "auto-aof-rewrite-percentage" | "auto-aof-rewrite-min-size" => {
                server.snapshots.wake.get().into_iter().for_each(|wake| wake());
            }
            _ => {}
        }
        Ok(())
    };
    let weak = Arc::downgrade(server);
    let rewrite = move || {
        let server = weak.upgrade().ok_or("the server is ending")?;
        let path = server.config_file.clone().ok_or("The server is running without a config file")?;
        settings::rewrite(&path, &server.config)
    };
    // Both are set here only.
    let _ = server.on_config.set(Box::new(on_config));
    let _ = server.rewrite_config.set(Box::new(rewrite));
    server.loading.started_ms.store(server.clock.wall_ms(), Relaxed);
}
