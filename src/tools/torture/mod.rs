//! `duramen torture`: load, a crash in the middle, a restart, and a comparison of what is there with what was acknowledged; over and
//! over. For operators, on their own machines, before they trust one; for this project's tests; and for other servers.
//!
//! Each client has keys of its own, so its whole state after a crash must be that after some prefix of what it sent: one that
//! contains every acknowledged operation. A transaction is one operation, whole or absent. Some counters are shared by all: no
//! value that anybody was shown may be taken back (`shown`).
//!
//! What it does **not** promise: the same run for the same seed, in the modes with real processes. The moment of the crash is the
//! machine's. `--mode sim` repeats exactly.

pub mod cli;
pub mod image;
mod load;
mod report;
mod rounds;
mod shown;
pub mod sim;
pub mod subjects;
mod target;
mod verdict;

pub use report::Report;

use std::path::PathBuf;

use crate::clock::Clock;
use crate::disk::plain;
use crate::error::StoreError;
use crate::tools::made::Made;
use image::Image;
use rounds::Rounds;
use target::{Own, Target};

/// How the server is brought down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// SIGKILL.
    Kill,
    /// Its file system loses what was not synced, then SIGKILL.
    Power,
    /// Its disk fills up and is freed, then SIGKILL.
    Enospc,
    /// A simulated server, disk and clock.
    Sim,
}

impl Mode {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Power => "power",
            Self::Enospc => "enospc",
            Self::Sim => "sim",
        }
    }
}

/// When to stop: whichever comes first.
#[derive(Debug, Clone, Copy)]
pub struct Until {
    pub seconds: Option<u64>,
    pub rounds: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub mode: Mode,
    pub until: Until,
    pub clients: usize,
    pub fsync: String,
    pub seed: u64,
    /// Where the scratch folder is made.
    pub dir: PathBuf,
    /// The server's program.
    pub program: PathBuf,
    /// Somebody else's server: its address, and the command that kills and starts it.
    pub other: Option<(String, String)>,
}

/// A file system large enough for the load of a round.
const POWER_IMAGE_BYTES: u64 = 512 << 20;
/// One that is soon full.
const ENOSPC_IMAGE_BYTES: u64 = 96 << 20;

/// Runs it. `tell` gets a line about each round.
pub fn run(options: &Options, clock: &dyn Clock, tell: &mut dyn FnMut(&str)) -> Result<Report, StoreError> {
    if options.mode == Mode::Sim {
        return Ok(sim::run(options, clock, tell));
    }
    let Some((address, restart_command)) = options.other.clone() else {
        return own(options, clock, tell);
    };
    let target = Target::Other { address, restart_command };
    Rounds::new(options, target, clock).run(tell)
}

fn own(options: &Options, clock: &dyn Clock, tell: &mut dyn FnMut(&str)) -> Result<Report, StoreError> {
    let failed = |error| StoreError::io(format!("make a scratch folder in {}", options.dir.display()))(error);
    let _made = Made::watch(&options.dir);
    let home = target::fresh_home(&options.dir).map_err(failed)?;
    let image = match options.mode {
        Mode::Power => Some(POWER_IMAGE_BYTES),
        Mode::Enospc => Some(ENOSPC_IMAGE_BYTES),
        Mode::Kill | Mode::Sim => None,
    };
    let image = image.map(|bytes| Image::make(&home, bytes)).transpose().map_err(|error| {
        let _ = plain::remove_dirs(&home);
        StoreError::Refused(format!(
            "no file system can be made and mounted: {error}. This mode needs root, mkfs.ext4 and loop devices"
        ))
    })?;
    let cuts_power = options.mode == Mode::Power;
    let own = Own::new(options.program.clone(), home.clone(), options.fsync.clone(), image, cuts_power);
    let own = own.map_err(|error| {
        let _ = plain::remove_dirs(&home);
        StoreError::io("find a port")(error)
    })?;
    let report = Rounds::new(options, Target::Own(Box::new(own)), clock).run(tell)?;
    if report.is_good() {
        plain::remove_dirs(&home).map_err(StoreError::io(format!("remove {}", home.display())))?;
    } else {
        tell(&format!("kept for a look: {}", home.display()));
    }
    Ok(report)
}
