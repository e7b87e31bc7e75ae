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

fn shorten(command: &Command, args: Args<'_>) -> Vec<Vec<u8>> {
    // What may hold a password is not kept.
    let secret_from = match (command.parent, command.name) {
        ("", "auth" | "hello") => 1,
        ("config", "set") => 2,
        _ => usize::MAX,
    };
    let kept = if args.len() > ARGS_MAX { ARGS_MAX - 1 } else { args.len() };
    let mut short: Vec<Vec<u8>> = args
        .iter()
        .take(kept)
        .enumerate()
        .map(|(at, arg)| match arg {
            _ if at >= secret_from => b"(redacted)".to_vec(),
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
    fn long_commands_are_cut_and_passwords_are_not_kept() {
        let long = [b'x'; 200];
        let words: Vec<&[u8]> = std::iter::repeat_n(&long[..], 40).collect();
        let args = OwnedArgs::from_slices(&words);
        let short = shorten(&Command::DEFAULT, args.as_args());
        assert_eq!(short.len(), 32);
        assert!(short[0].ends_with(b"x... (72 more bytes)"));
        assert_eq!(short[31], b"... (9 more arguments)");
        let auth = Command { name: "auth", ..Command::DEFAULT };
        let args = OwnedArgs::from_slices(&[b"AUTH", b"secret"]);
        assert_eq!(shorten(&auth, args.as_args()), [b"AUTH".to_vec(), b"(redacted)".to_vec()]);
    }
}
