//! The slow log: the last commands that took long, with their arguments cut short.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::clients::Client;
use super::{Args, Command, Flags};
use crate::config::Config;

/// Arguments kept of one command.
const ARGS_MAX: usize = 32;
/// Bytes kept of one argument.
const ARG_BYTES_MAX: usize = 128;

/// A command that took long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowCommand {
    pub id: u64,
    pub unix_s: u64,
    pub took_us: u64,
    pub args: Vec<Vec<u8>>,
    pub addr: String,
    pub client_name: String,
}

/// A command that has just run.
pub struct Run<'a> {
    pub client: &'a Client,
    pub command: &'static Command,
    pub args: Args<'a>,
    pub took_us: u64,
    /// Unix milliseconds.
    pub now_ms: u64,
}

/// A ring of `slowlog-max-len` entries, newest first.
#[derive(Debug, Default)]
pub struct SlowLog {
    next_id: AtomicU64,
    entries: Mutex<VecDeque<SlowCommand>>,
}

impl SlowLog {
    /// Notes a command if it took as long as `slowlog-log-slower-than` asks.
    #[inline]
    pub fn record(&self, config: &Config, run: &Run<'_>) {
        let threshold = config.slowlog_log_slower_than();
        if threshold >= 0
            && run.took_us >= threshold as u64
            && !run.command.flags.contains(Flags::SKIP_SLOWLOG)
        {
            self.push(config.slowlog_max_len(), run);
        }
    }

    #[cold]
    fn push(&self, len_max: i64, run: &Run<'_>) {
        let entry = SlowCommand {
            id: self.next_id.fetch_add(1, Relaxed),
            unix_s: run.now_ms / 1000,
            took_us: run.took_us,
            args: shorten(run.command, run.args),
            addr: run.client.addr.clone(),
            client_name: run.client.name.lock().clone(),
        };
        let mut entries = self.entries.lock();
        entries.push_front(entry);
        entries.truncate(len_max.max(0) as usize);
    }

    /// The newest `count` entries.
    pub fn newest(&self, count: usize) -> Vec<SlowCommand> {
        self.entries.lock().iter().take(count).cloned().collect()
    }

    pub fn len(&self) -> usize {
        self.entries.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn clear(&self) {
        self.entries.lock().clear();
    }
}

/// Directives whose values Redis keeps to itself.
const SECRET_DIRECTIVES: [&str; 5] =
    ["requirepass", "masterauth", "masteruser", "tls-key-file-pass", "tls-client-key-file-pass"];

/// Whether an argument may be a password, or the name that goes with one.
fn is_secret(command: &Command, args: Args<'_>, at: usize) -> bool {
    let follows = |distance: usize, words: &[&str]| {
        at > distance
            && words.iter().any(|word| args.get(at - distance).eq_ignore_ascii_case(word.as_bytes()))
    };
    match (command.parent, command.name) {
        ("", "auth") => at >= 1,
        ("", "hello") => follows(1, &["auth"]) || follows(2, &["auth"]),
        ("config", "set") => follows(1, &SECRET_DIRECTIVES),
        _ => false,
    }
}

fn shorten(command: &Command, args: Args<'_>) -> Vec<Vec<u8>> {
    let kept = if args.len() > ARGS_MAX { ARGS_MAX - 1 } else { args.len() };
    let mut short: Vec<Vec<u8>> = args
        .iter()
        .take(kept)
        .enumerate()
        .map(|(at, arg)| match arg {
            _ if is_secret(command, args, at) => b"(redacted)".to_vec(),
            _ if arg.len() > ARG_BYTES_MAX => {
                let more = arg.len() - ARG_BYTES_MAX;
                [&arg[..ARG_BYTES_MAX], format!("... ({more} more bytes)").as_bytes()].concat()
            }
            _ => arg.to_vec(),
        })
        .collect();
    if kept < args.len() {
        short.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::OwnedArgs;

    #[test]
    fn long_commands_are_cut() {
        let long = [b'x'; 200];
        let words: Vec<&[u8]> = std::iter::repeat_n(&long[..], 40).collect();
        let args = OwnedArgs::from_slices(&words);
        let short = shorten(&Command::DEFAULT, args.as_args());
        assert_eq!(short.len(), 32);
        assert!(short[0].ends_with(b"x... (72 more bytes)"));
        assert_eq!(short[31], b"... (9 more arguments)");
    }

    /// As redis-server 7.0.15 keeps them, where the request is a right one.
    #[test]
    fn of_passwords_nothing_is_kept_and_of_other_arguments_everything() {
        let rows = [
            ("", "auth", "AUTH secret", "AUTH *"),
            ("", "auth", "AUTH default secret", "AUTH * *"),
            ("", "hello", "HELLO 2", "HELLO 2"),
            ("", "hello", "HELLO 2 SETNAME me", "HELLO 2 SETNAME me"),
            ("", "hello", "HELLO 3 Auth default secret SETNAME me", "HELLO 3 Auth * * SETNAME me"),
            ("", "hello", "HELLO 3 SETNAME me AUTH default secret", "HELLO 3 SETNAME me AUTH * *"),
            ("", "hello", "HELLO 3 AUTH secret", "HELLO 3 AUTH *"),
            ("config", "set", "CONFIG SET hz 10", "CONFIG SET hz 10"),
            (
                "config",
                "set",
                "CONFIG SET hz 10 RequirePass secret maxmemory 0",
                "CONFIG SET hz 10 RequirePass * maxmemory 0",
            ),
            ("config", "set", "CONFIG SET masterauth secret", "CONFIG SET masterauth *"),
            ("config", "set", "CONFIG SET hz requirepass secret", "CONFIG SET hz requirepass *"),
            ("config", "get", "CONFIG GET requirepass masterauth", "CONFIG GET requirepass masterauth"),
            ("", "set", "SET auth requirepass", "SET auth requirepass"),
        ];
        for (parent, name, line, kept) in rows {
            let command = Command { parent, name, ..Command::DEFAULT };
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let short = shorten(&command, OwnedArgs::from_slices(&words).as_args());
            let text = String::from_utf8(short.join(&b' ')).unwrap();
            assert_eq!(text.replace("(redacted)", "*"), kept);
        }
    }
}
