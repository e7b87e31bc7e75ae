//! Whether what retention keeps can be used when it is needed: older snapshots, and the log behind them that no start reads.

use std::collections::HashSet;

use crate::disk::Disk;
use crate::error::StoreError;
use crate::log::cut;
use crate::log::manifest::Manifest;
use crate::snapshot::reader::FileReader;
use crate::snapshot::retained::Catalogs;

/// Reads it all, and says what is damaged.
pub fn look(disk: &dyn Disk, manifest: &Manifest, warnings: &mut Vec<String>) -> Result<(), StoreError> {
    let catalogs = Catalogs::of(&manifest.sections)?;
    let mut read: HashSet<u64> = catalogs.current.files.iter().map(|file| file.sequence).collect();
    for older in &catalogs.retained {
        for file in older.files.iter().filter(|file| read.insert(file.sequence)) {
            let verified = FileReader::open(disk, file.sequence, Some(file))
                .and_then(|reader| reader.verify(manifest.seed));
            warn(
                verified,
                &format!("the older snapshot through LSN {} cannot be used", older.through),
                warnings,
            )?;
        }
    }
    let first_lsn = manifest.segments.iter().find_map(|s| s.first_lsn).unwrap_or(0);
    let (from, through) = (catalogs.oldest_connected(first_lsn).through, catalogs.current.through);
    if from < through {
        let read = cut::cut(disk, manifest, from, &mut |lsn_end, _| lsn_end <= through, &mut |_, _| {});
        let what =
            format!("the log that is kept before the snapshot, from LSN {from} to {through}, is damaged");
        match read {
            Ok(log) if log.lsn < through => warnings.push(format!("{what}: it ends at LSN {}", log.lsn)),
            read => warn(read.map(drop), &what, warnings)?,
        }
    }
    Ok(())
}

fn warn(outcome: Result<(), StoreError>, what: &str, warnings: &mut Vec<String>) -> Result<(), StoreError> {
    match outcome {
        Err(StoreError::Corruption(damage)) => {
            warnings.push(format!("{what}: {damage}"));
            Ok(())
        }
        other => other,
    }
}
