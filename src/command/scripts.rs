//! The scripts that the server knows by their SHA-1, and the one that runs for too long.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use sha1::{Digest, Sha1};

use crate::config::conf::split_words;
use crate::error::CommandError;

/// The SHA-1 of a script's source.
pub type Sha = [u8; 20];

/// Scripts that only EVAL has brought and that are kept; the oldest go first.
const EVALUATED_MAX: usize = 500;

const RUNNING: u8 = 1;
const BUSY: u8 = 2;
const WROTE: u8 = 4;
const KILLED: u8 = 8;

const BUSY_SCRIPT: &str =
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
const BUSY_FUNCTION: &str =
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
const UNKILLABLE: &str = "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.";

/// Of a script's first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScriptFlags {
    pub no_writes: bool,
    pub allow_oom: bool,
    /// It has a first line `#!lua`: then what it may do is known before it runs.
    pub declared: bool,
}

#[derive(Debug)]
pub struct Script {
    pub sha: Sha,
    pub flags: ScriptFlags,
    source: Box<[u8]>,
    body_at: usize,
}

impl Script {
    /// Reads the first line, if it is one for us.
    pub fn new(source: &[u8]) -> Result<Self, CommandError> {
        let sha = sha_of(source);
        let (flags, body_at) = match source.starts_with(b"#!") {
            true => shebang(source)?,
            false => (ScriptFlags::default(), 0),
        };
        Ok(Self { sha, flags, source: source.into(), body_at })
    }

    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// The source from its first line's end on: that line counts, but is empty.
    pub fn body(&self) -> &[u8] {
        &self.source[self.body_at..]
    }
}

fn shebang(source: &[u8]) -> Result<(ScriptFlags, usize), CommandError> {
    let end = source.iter().position(|&byte| byte == b'\n');
    let end = end.ok_or(CommandError::new("ERR Invalid script shebang"))?;
    let line = String::from_utf8_lossy(&source[..end]);
    let words = split_words(line.as_bytes());
    let words = words.map_err(|_| CommandError::new("ERR Invalid engine in script shebang"))?;
    let mut words = words.iter().map(String::as_str);
    let engine = words.next().unwrap_or_default();
    if engine != "#!lua" {
        return Err(CommandError::owned(format!("ERR Unexpected engine in script shebang: {engine}")));
    }
    let mut flags = ScriptFlags { declared: true, ..ScriptFlags::default() };
    for word in words {
        let Some(list) = word.strip_prefix("flags=") else {
            return Err(CommandError::owned(format!("ERR Unknown lua shebang option: {word}")));
        };
        // Nothing at all is no flag; nothing beside a comma is an unknown one.
        for flag in list.split(',').filter(|_| !list.is_empty()) {
            match flag {
                "no-writes" => flags.no_writes = true,
                "allow-oom" => flags.allow_oom = true,
                "allow-stale" | "no-cluster" | "allow-cross-slot-keys" => {}
                _ => {
                    return Err(CommandError::owned(format!(
                        "ERR Unexpected flag in script shebang: {flag}"
                    )));
                }
            }
        }
    }
    Ok((flags, end))
}

pub fn sha_of(source: &[u8]) -> Sha {
    Sha1::digest(source).into()
}

/// Forty digits.
pub fn hex(sha: &Sha) -> String {
    sha.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What forty hexadecimal digits say, in any case.
pub fn parse_hex(text: &[u8]) -> Option<Sha> {
    let mut sha = Sha::default();
    if text.len() != 2 * sha.len() {
        return None;
    }
    for (byte, digits) in sha.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(sha)
}

#[derive(Default)]
struct Known {
    by_sha: HashMap<Sha, Arc<Script>>,
    /// Those that were not loaded by SCRIPT LOAD, oldest first.
    evaluated: VecDeque<Sha>,
    bytes: usize,
}

/// What FUNCTION STATS tells of a function that runs for too long.
#[derive(Debug, Clone)]
pub struct BusyFunction {
    pub name: String,
    pub command: Vec<Vec<u8>>,
    /// By the monotonic clock.
    pub started: Duration,
}

#[derive(Default)]
pub struct Scripts {
    known: Mutex<Known>,
    /// Of the script that runs now, in bits. There is never more than one: each holds every stripe.
    state: AtomicU8,
    /// It is a function.
    is_function: AtomicBool,
    /// The function that runs for too long.
    busy: Mutex<Option<BusyFunction>>,
}

impl Scripts {
    pub fn get(&self, sha: &Sha) -> Option<Arc<Script>> {
        self.known.lock().by_sha.get(sha).cloned()
    }

    /// Keeps a script. `loaded`: for good (SCRIPT LOAD).
    pub fn keep(&self, script: &Arc<Script>, loaded: bool) {
        let mut known = self.known.lock();
        let known = &mut *known;
        if loaded {
            known.evaluated.retain(|sha| *sha != script.sha);
        }
        if known.by_sha.contains_key(&script.sha) {
            return;
        }
        known.bytes += script.source.len();
        known.by_sha.insert(script.sha, script.clone());
        if !loaded {
            known.evaluated.push_back(script.sha);
            if known.evaluated.len() > EVALUATED_MAX
                && let Some(oldest) = known.evaluated.pop_front().and_then(|sha| known.by_sha.remove(&sha))
            {
                known.bytes -= oldest.source.len();
            }
        }
    }

    pub fn forget_all(&self) {
        *self.known.lock() = Known::default();
    }

    /// How many there are, and the bytes of their sources.
    pub fn figures(&self) -> (usize, usize) {
        let known = self.known.lock();
        (known.by_sha.len(), known.bytes)
    }

    /// A script begins.
    pub fn begin(&self, is_function: bool) {
        self.is_function.store(is_function, Relaxed);
        self.state.store(RUNNING, SeqCst);
    }

    pub fn end(&self) {
        if self.state.swap(0, SeqCst) & BUSY != 0 {
            *self.busy.lock() = None;
        }
    }

    pub fn note_busy_function(&self, function: BusyFunction) {
        *self.busy.lock() = Some(function);
    }

    /// The function that runs for too long, if one does. An error if it is a script.
    pub fn busy_function(&self) -> Result<Option<BusyFunction>, CommandError> {
        if self.is_busy() && !self.is_function.load(Relaxed) {
            return Err(self.busy_error());
        }
        Ok(self.busy.lock().clone())
    }

    pub fn is_running(&self) -> bool {
        self.state.load(SeqCst) & RUNNING != 0
    }

    /// It has been running for longer than `busy-reply-threshold`. True the first time that this is said.
    pub fn note_busy(&self) -> bool {
        self.state.fetch_or(BUSY, SeqCst) & BUSY == 0
    }

    /// Others are refused what they ask for.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.state.load(Relaxed) & BUSY != 0
    }

    /// The script is about to change something. False if it has been killed: then it must not.
    pub fn note_write(&self) -> bool {
        self.state.fetch_or(WROTE, SeqCst) & KILLED == 0
    }

    pub fn is_killed(&self) -> bool {
        self.state.load(Relaxed) & KILLED != 0
    }

    /// What others are refused with.
    pub fn busy_error(&self) -> CommandError {
        CommandError::new(if self.is_function.load(Relaxed) { BUSY_FUNCTION } else { BUSY_SCRIPT })
    }

    /// SCRIPT KILL, FUNCTION KILL. Either it is killed and writes nothing, or it has written and goes on.
    pub fn kill(&self, function: bool) -> Result<(), CommandError> {
        let may = |state: u8| (state & BUSY != 0 && state & WROTE == 0).then_some(state | KILLED);
        if !self.is_busy() {
            return Err(CommandError::new("NOTBUSY No scripts in execution right now."));
        }
        if self.is_function.load(Relaxed) != function {
            return Err(self.busy_error());
        }
        match self.state.fetch_update(SeqCst, SeqCst, may) {
            Ok(_) => Ok(()),
            Err(state) if state & BUSY != 0 => Err(CommandError::new(UNKILLABLE)),
            Err(_) => Err(CommandError::new("NOTBUSY No scripts in execution right now.")),
        }
    }
}
