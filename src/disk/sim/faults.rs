//! Which operation fails, and how: counters, fault rules, and the stop of the whole disk.

use std::io;

/// What is counted and can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpKind {
    /// Opening a file that exists.
    Open,
    /// `Open::Create`.
    Create,
    Read,
    Write,
    /// `File::sync`.
    Sync,
    SetLen,
    /// `File::allocate`.
    Allocate,
    Rename,
    /// A second name for a file.
    Link,
    Remove,
    List,
    SyncDir,
    CreateDir,
    Lock,
}

impl OpKind {
    const COUNT: usize = Self::Lock as usize + 1;

    /// All there are.
    pub const ALL: [Self; Self::COUNT] = {
        use OpKind::{
            Allocate, Create, CreateDir, Link, List, Lock, Open, Read, Remove, Rename, SetLen, Sync, SyncDir,
            Write,
        };
        [
            Open, Create, Read, Write, Sync, SetLen, Allocate, Rename, Remove, Link, List, SyncDir,
            CreateDir, Lock,
        ]
    };

    /// Whether it can change what a crash leaves: what `crash_after` counts.
    pub const fn is_mutation(self) -> bool {
        use OpKind::{Allocate, Create, CreateDir, Link, Remove, Rename, SetLen, Sync, SyncDir, Write};
        matches!(
            self,
            Allocate | Create | Write | Sync | SetLen | Rename | Link | Remove | SyncDir | CreateDir
        )
    }
}

/// How an operation fails. A failed operation has no effect, but a failed sync may have written any part of what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Eio,
    Enospc,
    /// A write returns Ok after at most so many bytes; any other operation fails as by `Eio`.
    ShortWrite(usize),
    /// A sync, of a file or a folder, and a rename return Ok and do nothing, as if the program had left them out; any other operation
    /// fails as by `Eio`. Shows that a test would notice.
    LeftOut,
}

impl Fault {
    pub(super) fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Eio | Self::ShortWrite(_) | Self::LeftOut => libc::EIO,
            Self::Enospc => libc::ENOSPC,
        })
    }
}

/// Which operation fails.
#[derive(Debug, Clone)]
pub struct FaultRule {
    kind: OpKind,
    prefix: String,
    /// Matching operations until it fires; the next one when 1.
    countdown: u64,
    fault: Fault,
    sticky: bool,
}

impl FaultRule {
    /// The nth operation of that kind from now on, once; 1 is the next one.
    pub const fn new(kind: OpKind, nth: u64, fault: Fault) -> Self {
        Self { kind, prefix: String::new(), countdown: nth, fault, sticky: false }
    }

    /// And all after it.
    #[must_use]
    pub fn sticky(mut self) -> Self {
        self.sticky = true;
        self
    }

    /// Only operations on paths that begin so (a file keeps the path it was opened by) count for this rule.
    #[must_use]
    pub fn on(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }
}

/// What happens to an operation that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    Go,
    Fail(Fault),
}

#[derive(Default)]
pub(super) struct Faults {
    rules: Vec<FaultRule>,
    counts: [u64; OpKind::COUNT],
    mutations: u64,
    /// The value of `mutations` at which the disk stops.
    stop_at: Option<u64>,
    crashed: bool,
}

impl Faults {
    pub(super) fn add(&mut self, rule: FaultRule) {
        self.rules.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(super) fn crash_after(&mut self, mutations: u64) {
        self.stop_at = Some(self.mutations + mutations);
    }

    pub(super) const fn has_crashed(&self) -> bool {
        self.crashed
    }

    pub(super) const fn count(&self, kind: OpKind) -> u64 {
        self.counts[kind as usize]
    }

    pub(super) const fn mutations(&self) -> u64 {
        self.mutations
    }

    pub(super) fn check_stopped(&self) -> io::Result<()> {
        if self.crashed { Err(io::Error::other("simulated crash")) } else { Ok(()) }
    }

    /// Counts an operation and says what becomes of it; an error if the disk has stopped, or stops now.
    pub(super) fn begin(&mut self, kind: OpKind, path: &str) -> io::Result<Permit> {
        self.counts[kind as usize] += 1;
        self.crashed |= kind.is_mutation() && self.stop_at == Some(self.mutations);
        self.check_stopped()?;
        self.mutations += u64::from(kind.is_mutation());
        let mut permit = Permit::Go;
        // Every rule counts every operation that it matches; the first that fires decides.
        self.rules.retain_mut(|rule| {
            if rule.kind != kind || !path.starts_with(&rule.prefix) {
                return true;
            }
            rule.countdown = rule.countdown.saturating_sub(1);
            let fires = rule.countdown == 0;
            if fires && permit == Permit::Go {
                permit = Permit::Fail(rule.fault);
            }
            !fires || rule.sticky
        });
        Ok(permit)
    }
}
