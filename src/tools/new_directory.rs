//! A new data directory out of files of another: a part of its log, and its snapshots.
//!
//! The manifest is written last, when everything else is on the medium: a crash before leaves a directory without one, which
//! no server starts on; a crash after leaves the whole.

use std::io;

use crate::disk::{Disk, Open};
use crate::error::StoreError;
use crate::log::cut::Written;
use crate::log::manifest::{self, Manifest};
use crate::log::segment;
use crate::mutation::{Safeguard, is_off, unless_off};
use crate::snapshot::header;

/// Copies the segments of `manifest`, each up to its end, but for what is `written` anew; and the snapshot files. `target` must be empty.
pub fn make(
    disk: &dyn Disk,
    target: &dyn Disk,
    manifest: &Manifest,
    snapshot_files: &[String],
    written: Option<&Written>,
) -> Result<(), StoreError> {
    let making = |what: &str| StoreError::io(format!("make {what} in the new directory"));
    require_empty(target)?;
    if is_off(Safeguard::CopyManifestLast) {
        manifest::replace(target, &mut manifest.clone()).map_err(making("the manifest"))?;
    }
    target.create_dir(segment::FOLDER).map_err(making("the folder log"))?;
    for entry in &manifest.segments {
        let path = segment::path(entry.sequence);
        let end = entry.end.map(|end| end.offset);
        match written.filter(|written| written.sequence == entry.sequence) {
            Some(written) => write_behind(disk, target, &path, written)?,
            None => copy(disk, &path, target, &path, end)?,
        }
    }
    unless_off(Safeguard::CopyLogNames, || target.sync_dir(segment::FOLDER))
        .map_err(making("the folder log"))?;
    if !snapshot_files.is_empty() {
        target.create_dir(header::FOLDER).map_err(making("the folder snapshot"))?;
        for path in snapshot_files {
            copy(disk, path, target, path, None)?;
        }
        unless_off(Safeguard::CopySnapshotNames, || target.sync_dir(header::FOLDER))
            .map_err(making("the folder snapshot"))?;
    }
    unless_off(Safeguard::CopyFolderNames, || target.sync_dir("")).map_err(making("the folders"))?;
    if is_off(Safeguard::CopyManifestLast) {
        return Ok(());
    }
    manifest::replace(target, &mut manifest.clone()).map_err(making("the manifest"))
}

pub fn require_empty(target: &dyn Disk) -> Result<(), StoreError> {
    let is_empty = target.list("").map_err(StoreError::io("list the new directory"))?.is_empty()
        && target.list(segment::FOLDER).map_or_else(|e| e.kind() == io::ErrorKind::NotFound, |_| false);
    if is_empty {
        return Ok(());
    }
    Err(StoreError::Refused("the directory to write into is not empty; name a new one".to_owned()))
}

pub(super) fn write_behind(
    disk: &dyn Disk,
    target: &dyn Disk,
    path: &str,
    written: &Written,
) -> Result<(), StoreError> {
    if written.offset > 0 {
        copy(disk, path, target, path, Some(written.offset))?;
    }
    let how = if written.offset > 0 { Open::Write } else { Open::Create };
    let write = || -> io::Result<()> {
        let file = target.open(path, how)?;
        file.write_all_at(&written.bytes, written.offset)?;
        unless_off(Safeguard::CutSync, || file.sync())
    };
    write().map_err(StoreError::io(format!("write {path}")))
}

/// Copies a file, or its first `len` bytes, and syncs the copy.
pub fn copy(
    from: &dyn Disk,
    path: &str,
    to: &dyn Disk,
    as_path: &str,
    len: Option<u64>,
) -> Result<(), StoreError> {
    const STEP_BYTES: u64 = 1 << 20;
    let run = || -> io::Result<()> {
        let source = from.open(path, Open::Read)?;
        let len = match len {
            Some(len) => len,
            None => source.len()?,
        };
        let target = to.open(as_path, Open::Create)?;
        let mut buffer = vec![0; STEP_BYTES.min(len) as usize];
        let mut offset = 0;
        while offset < len {
            let step = &mut buffer[..STEP_BYTES.min(len - offset) as usize];
            source.read_exact_at(step, offset)?;
            target.write_all_at(step, offset)?;
            offset += step.len() as u64;
        }
        unless_off(Safeguard::CopySync, || target.sync())
    };
    run().map_err(StoreError::io(format!("copy {path}")))
}
