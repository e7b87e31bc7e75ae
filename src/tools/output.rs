//! Where tools write: results to standard output, progress to standard error when somebody looks.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::clock::Clock;

/// A line a second, replaced in place. Says nothing unless standard error is a terminal.
pub struct Progress<'a> {
    /// `None`: nobody looks.
    clock: Option<&'a dyn Clock>,
    what: &'static str,
    next: Duration,
    has_shown: bool,
}

impl<'a> Progress<'a> {
    pub fn new(clock: &'a dyn Clock, what: &'static str) -> Self {
        let next = clock.monotonic() + Duration::from_secs(1);
        let clock = io::stderr().is_terminal().then_some(clock);
        Self { clock, what, next, has_shown: false }
    }

    pub fn show(&mut self, bytes_done: u64, bytes_total: u64) {
        let Some(clock) = self.clock else { return };
        let now = clock.monotonic();
        if now < self.next {
            return;
        }
        self.next = now + Duration::from_secs(1);
        self.has_shown = true;
        let percent = bytes_done * 100 / bytes_total.max(1);
        // Nothing depends on it.
        let _ = write!(
            io::stderr(),
            "\r{}: {} of {} MiB ({percent} %) ",
            self.what,
            bytes_done >> 20,
            bytes_total >> 20
        );
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.has_shown {
            let _ = write!(io::stderr(), "\r{:60}\r", "");
        }
    }
}
