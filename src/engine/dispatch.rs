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
}

/// A WAITAOF that could not be answered at once.
#[derive(Debug, Clone, Copy)]
pub struct WaitDurable {
    pub lsn: Lsn,
    pub timeout_ms: Option<u64>,
    /// Replicas asked for: none exist, so more than 0 waits for the time-out.
    pub replicas: i64,
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
    let outcome = match find(server, args).and_then(|found| allow(server, session, transaction, found, args))
    {
        Ok((command, number)) => admit(server, session, transaction, command, number, args, out),
        Err(error) => {
            refuse(server, session, args, &error, out);
            Outcome::done(0)
        }
    };
    if session.tracking.is_some() && !matches!(outcome.flow, Flow::Park) {
        tracking::after_request(session, args);
    }
    let out_of_band = std::mem::take(&mut session.out_of_band);
    match session.reply_mode {
        ReplyMode::On => {}
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

/// The command, or subcommand, that a request names, with its number.
pub fn find(server: &Server, args: Args<'_>) -> Result<(&'static Command, usize), CommandError> {
    let name = args.get(0);
    let found = server.registry.get(name).ok_or_else(|| unknown_command(args))?;
    if found.0.subcommands.is_empty() || (args.len() == 1 && found.0.accepts(1)) {
        return Ok(found);
    }
    let Some(word) = args.try_get(1) else { return Err(CommandError::wrong_arity(found.0.name)) };
    server.registry.subcommand(found, word).ok_or_else(|| {
        let word = clip(word, 128);
        CommandError::owned(format!(
            "ERR unknown subcommand '{word}'. Try {} HELP.",
            found.0.name.to_ascii_uppercase()
        ))
    })
}

/// As much of a word as an error message shows: Redis prints it as a C string, so it ends at the first NUL.
fn clip(word: &[u8], max: usize) -> String {
    let len = word.iter().take(max).take_while(|&&byte| byte != 0).count();
    String::from_utf8_lossy(&word[..len]).into_owned()
}

fn unknown_command(args: Args<'_>) -> CommandError {
    let mut beginning = String::new();
    for arg in args.iter().skip(1) {
        if beginning.len() >= 128 {
            break;
        }
        beginning.push_str(&format!("'{}' ", clip(arg, 128 - beginning.len())));
    }
    let name = clip(args.get(0), 128);
    CommandError::owned(format!("ERR unknown command '{name}', with args beginning with: {beginning}"))
}

/// The command that was found, if it may be queued or run now.
#[inline]
fn allow(
    server: &Server,
    session: &mut Session,
    transaction: &mut Transaction,
    found: (&'static Command, usize),
    args: Args<'_>,
) -> Result<(&'static Command, usize), CommandError> {
    check(server, session, found.0, args)?;
    evict::admit(server, session, transaction, found.0)?;
    Ok(found)
}

/// What can be refused without looking at any key.
fn check(server: &Server, session: &Session, command: &Command, args: Args<'_>) -> Result<(), CommandError> {
    if !command.accepts(args.len()) {
        return Err(CommandError::wrong_arity(&command.full_name()));
    }
    let flags = command.flags;
    if !session.authenticated && !flags.contains(Flags::NO_AUTH) {
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
fn refuse(server: &Server, session: &mut Session, args: Args<'_>, error: &CommandError, out: &mut Vec<u8>) {
    if let Some(multi) = &mut session.multi {
        multi.dirty = true;
    }
    let mut abort = None;
    if let Ok((command, number)) = find(server, args) {
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
    }
    let error = abort.as_ref().unwrap_or(error);
    server.stats.count_error(error.text());
    Reply::new(out, session.proto).error(error.text());
}

/// Queues, parks or runs a command that passed the checks.
fn admit(
    server: &Server,
    session: &mut Session,
    transaction: &mut Transaction,
    command: &'static Command,
    number: usize,
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
    let now_ms = server.not_before_the_log(transaction.time.wall_ms(&*server.clock));
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
    let queued_write = || session.multi.iter().flat_map(|m| &m.queue).any(|q| q.command.is_write());
    let writes = command.is_write() || (command.flags.contains(Flags::TRANSACTION) && queued_write());
    !pause.writes_only || writes || command.flags.contains(Flags::MAY_REPLICATE)
}
