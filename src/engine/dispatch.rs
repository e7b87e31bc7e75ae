//! From a request to the command it names: existence, arity, authentication, loading, MULTI queueing, pauses.

use std::sync::atomic::Ordering::Relaxed;

use smallvec::SmallVec;

use crate::command::clients::Pause;
use crate::command::context::Transaction;
use crate::command::server::Server;
use crate::command::session::{Queued, ReplyMode, Session};
use crate::command::snapshots::Waiting;
use crate::command::{Args, Command, Flags, tracking};
use crate::error::CommandError;
use crate::keyspace::prefetch::{BATCH, Place};
use crate::log::Lsn;
use crate::resp::lookahead::first_arguments;
use crate::resp::{OwnedArgs, Protocol, Reply};

use super::blocking::Parked;
use super::{evict, run, transactions};

/// What became of a request.
pub enum Flow {
    /// The reply is written.
    Done,
    /// Nothing happened yet: run it again later (log buffer full, CLIENT PAUSE).
    Park,
    /// It waits for a key; the reply comes through the receiver.
    Blocked(Parked),
    /// WAITAOF: the reply depends on the log and a time-out.
    WaitDurable(WaitDurable),
    /// SAVE: the reply comes with the snapshot.
    WaitSnapshot(Waiting),
    /// The connection ends at once: nothing is replied, and nothing behind the request is executed.
    End,
}

/// A WAITAOF that could not be answered at once.
#[derive(Debug, Clone, Copy)]
pub struct WaitDurable {
    pub lsn: Lsn,
    pub timeout_ms: Option<u64>,
    /// Replicas asked for: none exist, so more than 0 waits for the time-out.
    pub replicas: i64,
    /// CLIENT REPLY has the reply dropped.
    pub is_silent: bool,
}

/// A request's flow, and the LSN that its reply must wait for.
pub struct Outcome {
    pub flow: Flow,
    pub gate: Lsn,
}

impl Outcome {
    const fn done(gate: Lsn) -> Self {
        Self { flow: Flow::Done, gate }
    }
}

/// Runs one request; `args` is not empty. The reply, if there is one already, is appended to `out`.
pub fn execute(
    server: &Server,
    session: &mut Session,
    transaction: &mut Transaction,
    args: Args<'_>,
    out: &mut Vec<u8>,
) -> Outcome {
    let start = out.len();
    let outcome = match find(server, args) {
        Ok(found) => match allow(server, session, transaction, found.0, args) {
            Ok(()) => admit(server, session, transaction, found, args, out),
            Err(error) => {
                refuse(server, session, found, &error, out);
                Outcome::done(0)
            }
        },
        Err(_) if is_http(args) => {
            warn_of_http(server, session);
            return Outcome { flow: Flow::End, gate: 0 };
        }
        Err(unknown) => {
            refuse_unknown(server, session, &unknown, out);
            Outcome::done(0)
        }
    };
    if matches!(outcome.flow, Flow::Park) {
        // It is still to come, and with it the reply that CLIENT REPLY SKIP is about.
        return outcome;
    }
    if session.tracking.is_some() {
        tracking::after_request(session, args);
    }
    let out_of_band = std::mem::take(&mut session.out_of_band);
    match session.reply_mode {
        ReplyMode::On => {}
        // It leaves, and the reply that was to be skipped is no other.
        ReplyMode::Skip if out_of_band => session.reply_mode = ReplyMode::On,
        _ if out_of_band => {}
        ReplyMode::Off => out.truncate(start),
        ReplyMode::SkipNext => {
            session.reply_mode = ReplyMode::Skip;
            out.truncate(start);
        }
        ReplyMode::Skip => {
            session.reply_mode = ReplyMode::On;
            out.truncate(start);
        }
    }
    outcome
}

/// Looks at the requests that wait behind the one just executed and asks the processor for what they will need. Returns how
/// many requests it looked at.
pub fn look_ahead(server: &Server, session: &Session, input: &[u8]) -> usize {
    let Some(store) = server.store.get() else { return BATCH };
    let mut places = SmallVec::<[Place; BATCH]>::new();
    let requests = first_arguments(input, BATCH, |key| places.push(store.keyspace.place(session.db, key)));
    if places.len() > 1 {
        store.keyspace.prefetch(&places);
    }
    requests
}

/// Notes what a connection's next request will need, to be asked for together with what others need.
pub fn note_next(server: &Server, session: &Session, input: &[u8], places: &mut Vec<Place>) {
    if let Some(store) = server.store.get() {
        first_arguments(input, 1, |key| places.push(store.keyspace.place(session.db, key)));
    }
}

/// Asks the processor for what was noted.
pub fn prefetch(server: &Server, places: &mut Vec<Place>) {
    if let Some(store) = server.store.get() {
        places.chunks(BATCH).for_each(|batch| store.keyspace.prefetch(batch));
    }
    places.clear();
}

/// Why a request names no command: an error line, which repeats the client's bytes as they are.
pub struct Unknown(Vec<u8>);

/// The command, or subcommand, that a request names, with its number.
pub fn find(server: &Server, args: Args<'_>) -> Result<(&'static Command, usize), Unknown> {
    let name = args.get(0);
    let found = server.registry.get(name).ok_or_else(|| unknown_command(args))?;
    if found.0.subcommands.is_empty() || (args.len() == 1 && found.0.accepts(1)) {
        return Ok(found);
    }
    let Some(word) = args.try_get(1) else {
        return Err(Unknown(CommandError::wrong_arity(found.0.name).text().into()));
    };
    server.registry.subcommand(found, word).ok_or_else(|| {
        let container = found.0.name.to_ascii_uppercase();
        Unknown(
            [b"ERR unknown subcommand '", clip(word, 128), b"'. Try ", container.as_bytes(), b" HELP."]
                .concat(),
        )
    })
}

/// As much of a word as an error message shows: Redis prints it as a C string, so it ends at the first NUL.
fn clip(word: &[u8], max: usize) -> &[u8] {
    let len = word.iter().take(max).take_while(|&&byte| byte != 0).count();
    &word[..len]
}

fn unknown_command(args: Args<'_>) -> Unknown {
    let mut beginning = Vec::new();
    for arg in args.iter().skip(1) {
        if beginning.len() >= 128 {
            break;
        }
        let word = clip(arg, 128 - beginning.len());
        beginning.extend_from_slice(&[b"'", word, b"' "].concat());
    }
    let name = clip(args.get(0), 128);
    Unknown([b"ERR unknown command '", name, b"', with args beginning with: ", &beginning].concat())
}

/// HTTP's POST, or the header that all its requests have. A web page can have a browser send such a request anywhere, with commands
/// in its body; Redis ends connections at the same two words.
fn is_http(args: Args<'_>) -> bool {
    ["post", "host:"].iter().any(|word| args.get(0).eq_ignore_ascii_case(word.as_bytes()))
}

/// Not more than once in so long: whoever sends such requests could fill the disk with what is said of them.
const HTTP_WARNING_EVERY_MS: u64 = 60_000;

#[cold]
fn warn_of_http(server: &Server, session: &Session) {
    let (now_ms, last_ms) = (server.clock.wall_ms(), &server.clients.warned_of_http_ms);
    if now_ms.abs_diff(last_ms.load(Relaxed)) >= HTTP_WARNING_EVERY_MS {
        last_ms.store(now_ms, Relaxed);
        tracing::warn!(
            client = session.client.id,
            addr = session.client.addr,
            "possible attack: an HTTP request (POST or Host:), closed. A web page may be sending commands through somebody's browser; \
             make sure that only who should reach this port does, and set requirepass"
        );
    }
}

/// Whether a command may be queued or run now.
#[inline]
fn allow(
    server: &Server,
    session: &mut Session,
    transaction: &mut Transaction,
    command: &'static Command,
    args: Args<'_>,
) -> Result<(), CommandError> {
    check(server, session, command, args)?;
    evict::admit(server, session, transaction, command)
}

/// What can be refused without looking at any key.
fn check(server: &Server, session: &Session, command: &Command, args: Args<'_>) -> Result<(), CommandError> {
    if !command.accepts(args.len()) {
        return Err(CommandError::wrong_arity(&command.full_name()));
    }
    let flags = command.flags;
    if !flags.contains(Flags::NO_AUTH) && !session.is_authenticated(&server.config) {
        return Err(CommandError::new("NOAUTH Authentication required."));
    }
    if server.scripts.is_busy() && !may_run_beside_script(session, command) {
        return Err(server.scripts.busy_error());
    }
    if session.multi.is_some() && flags.contains(Flags::NO_MULTI) {
        return Err(CommandError::new("ERR Command not allowed inside a transaction"));
    }
    // WATCH may run in Redis while it loads; here there are no keys yet that could be looked at.
    if server.store.get().is_none() && (command.has_keys() || !flags.contains(Flags::LOADING)) {
        return Err(CommandError::LOADING);
    }
    if session.proto == Protocol::Resp2 && session.is_subscribed() && !may_run_subscribed(command) {
        return Err(CommandError::owned(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            command.full_name()
        )));
    }
    Ok(())
}

/// What a RESP2 connection may do that others send messages to.
fn may_run_subscribed(command: &Command) -> bool {
    (command.flags.contains(Flags::PUBSUB) && command.flags.contains(Flags::NOSCRIPT))
        || matches!(command.name, "ping" | "quit" | "reset")
}

/// While a script is busy it holds every stripe: whatever needs one of them cannot run.
#[cold]
fn may_run_beside_script(session: &Session, command: &Command) -> bool {
    let forgets_watched = ["discard", "unwatch", "reset"].contains(&command.name);
    command.flags.contains(Flags::ALLOW_BUSY)
        && !command.has_keys()
        && (!forgets_watched || session.watched.is_empty())
        // What it is subscribed to is the thread's to forget, which is in the middle of something.
        && (command.name != "reset" || session.subscriptions.is_none())
}

/// Replies with an error of a command that did not run; inside MULTI it spoils the transaction.
fn refuse(
    server: &Server,
    session: &mut Session,
    (command, number): (&'static Command, usize),
    error: &CommandError,
    out: &mut Vec<u8>,
) {
    if let Some(multi) = &mut session.multi {
        multi.dirty = true;
    }
    let mut abort = None;
    server.stats.commands[number].rejected.add(1);
    // A transaction whose EXEC is refused is over, unless it watches keys that a script keeps locked.
    let is_stuck = server.scripts.is_busy() && !session.watched.is_empty();
    if command.name == "exec" && !is_stuck {
        session.multi = None;
        transactions::forget_session(server, session);
        session.client.watched.store(0, Relaxed);
        let why = error.text().strip_prefix("ERR ").unwrap_or(error.text());
        let text = format!("EXECABORT Transaction discarded because of: {why}");
        abort = Some(CommandError::owned(text));
    }
    let error = abort.as_ref().unwrap_or(error);
    server.stats.count_error(error.text());
    Reply::new(out, session.proto).error(error.text());
}

/// Replies to a request for a command that there is not; inside MULTI it spoils the transaction.
fn refuse_unknown(server: &Server, session: &mut Session, Unknown(line): &Unknown, out: &mut Vec<u8>) {
    if let Some(multi) = &mut session.multi {
        multi.dirty = true;
    }
    server.stats.count_error("ERR");
    Reply::new(out, session.proto).error_bytes(line);
}

/// Queues, parks or runs a command that passed the checks.
fn admit(
    server: &Server,
    session: &mut Session,
    transaction: &mut Transaction,
    (command, number): (&'static Command, usize),
    args: Args<'_>,
    out: &mut Vec<u8>,
) -> Outcome {
    if let Some(multi) = &mut session.multi
        && !command.flags.contains(Flags::NOT_QUEUED)
    {
        let args = OwnedArgs::from(args);
        multi.push(Queued { command, number, args });
        Reply::new(out, session.proto).simple("QUEUED");
        return Outcome::done(0);
    }
    let wall_ms = transaction.time.wall_ms(&*server.clock);
    let now_ms = server.time.at(wall_ms, transaction.time.start(&*server.clock));
    if let Some(pause) = server.clients.pause(now_ms)
        && is_paused(session, command, pause)
    {
        return Outcome { flow: Flow::Park, gate: 0 };
    }
    run::run(server, session, transaction, command, number, args, now_ms, out)
}

fn is_paused(session: &Session, command: &Command, pause: Pause) -> bool {
    // Otherwise nobody could end a pause.
    if command.parent == "client" {
        return false;
    }
    let is_held_in_queue = || session.multi.iter().flat_map(|m| &m.queue).any(|q| q.command.may_replicate());
    // DISCARD and RESET only throw the queue away.
    !pause.writes_only || command.may_replicate() || (command.name == "exec" && is_held_in_queue())
}
