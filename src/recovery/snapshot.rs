//! Which snapshot a start begins with: the newest, or an older one that is kept when files of the newest are damaged or missing.
//!
//! The rule, for the server and the tools alike: an older snapshot may stand in only if the whole log behind it is there, so
//! that the state it leads to is the same; and it is said aloud, with the file, the reason and what was used. Otherwise the
//! start is refused. Damage of the log behind it is not survived: then there is nothing older that could help.

use std::fmt;

use crate::disk::Disk;
use crate::error::{Corruption, StoreError};
use crate::keyspace::Keyspace;
use crate::log::{Lsn, Section};
use crate::snapshot::catalog::Catalog;
use crate::snapshot::load::load;
use crate::snapshot::retained::Catalogs;

/// An older snapshot had to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// What is wrong with the newest.
    pub damage: Corruption,
    /// How far it went.
    pub newest: Lsn,
    /// How far the one goes that was used; the log behind it gave the rest.
    pub used: Lsn,
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the newest snapshot, through LSN {}, cannot be used ({}): the older one through LSN {} and the log behind it took its \
             place",
            self.newest, self.damage, self.used
        )
    }
}

impl Fallback {
    /// Adds to the failure of what was tried instead why that was tried.
    pub fn explain(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Corruption(mut found) => {
                found.reason = format!("{}. This was read because {self}", found.reason);
                found.into()
            }
            other => other,
        }
    }
}

/// A loaded snapshot.
pub struct Begun {
    pub keyspace: Keyspace,
    /// What the manifest lists, or should list now that an older snapshot was used. Its newest is the one that was loaded.
    pub catalogs: Catalogs,
    pub rows: u64,
    pub fallback: Option<Fallback>,
}

/// Loads the snapshot that a store with these sections, and a log that begins at `first_lsn`, starts from. `fresh` makes an empty keyspace.
pub fn begin(
    disk: &dyn Disk,
    sections: &[Section],
    first_lsn: Lsn,
    fresh: &dyn Fn() -> Keyspace,
    threads: usize,
) -> Result<Begun, StoreError> {
    let catalogs = Catalogs::of(sections)?;
    let try_load = |catalog: &Catalog| {
        let keyspace = fresh();
        load(disk, catalog, &keyspace, threads).map(|rows| (keyspace, rows))
    };
    let damage = match try_load(&catalogs.current) {
        Ok((keyspace, rows)) => return Ok(Begun { keyspace, catalogs, rows, fallback: None }),
        Err(StoreError::Corruption(damage)) => damage,
        Err(error) => return Err(error),
    };
    for older in catalogs.retained.iter().rev().filter(|older| older.through >= first_lsn) {
        match try_load(older) {
            Ok((keyspace, rows)) => {
                let fallback = Fallback { damage, newest: catalogs.current.through, used: older.through };
                let catalogs = catalogs.fallen_back_to(older);
                return Ok(Begun { keyspace, catalogs, rows, fallback: Some(fallback) });
            }
            // Its files are damaged, too: perhaps it shares the one.
            Err(StoreError::Corruption(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(refusal(damage, &catalogs, first_lsn).into())
}

/// The damage, with the next step.
fn refusal(mut damage: Corruption, catalogs: &Catalogs, first_lsn: Lsn) -> Corruption {
    let next = match catalogs.retained.last() {
        None => "No older snapshot is kept (`snapshot-retain`, `log-retain`).".to_owned(),
        Some(older) if older.through >= first_lsn => {
            "The older snapshots with the whole log behind them are damaged, too.".to_owned()
        }
        Some(older) => format!(
            "The log behind the older snapshot through LSN {0} is gone: `duramen restore --to-lsn {0}` makes a directory of the state \
             at that moment.",
            older.through
        ),
    };
    damage.reason = format!(
        "{}. Nothing was changed. {next} Put the file back from a backup, or use the backup. Without one, `duramen check` on the directory says \
         how many rows are lost, and `duramen repair DIR --salvage --into COPY` makes a directory of every key that is certain",
        damage.reason
    );
    damage
}
