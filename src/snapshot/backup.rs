//! Backups of a live store: a directory that starts, is checked and is restored from like any other.
//!
//! ```text
//! 1  MANIFEST-a says "not finished": from here on nothing starts on it; log/, snapshot/    names synced
//! 2  sealed segments and snapshot files: linked, or copied and synced                      names synced
//! 3  both copies of the manifest, synced, by renames                                       names synced
//! ```
//!
//! Snapshot files are written once, and sealed segments never again (`log/image.rs` has the one exception, and why it does no harm):
//! that is why a second name is as good as a copy, as long as the medium is. Whoever wants to survive its loss copies.
//!
//! What it does **not** promise: that nothing it needs is removed meanwhile. It runs on the thread that compacts, so nothing is.

use std::collections::BTreeMap;
use std::io;

use super::header;
use super::retained::Catalogs;
use crate::disk::{Disk, File, Open, Target, cannot_link};
use crate::error::StoreError;
use crate::log::{Image, ImageFile, Lsn, segment};
use crate::mutation::{Safeguard, unless_off};

const COPY_BYTES: usize = 1 << 20;

/// What a backup came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backup {
    /// Everything before it is in the backup, and nothing behind.
    pub lsn: Lsn,
    /// Without the manifest.
    pub files: u64,
    pub bytes: u64,
    /// Files that share their bytes with the store.
    pub linked: u64,
    pub copied: u64,
}

/// How a backup takes files over.
pub struct Options<'a> {
    /// Link nothing.
    pub copy: bool,
    /// Told of bytes copied, to slow down. An error ends the backup.
    pub pace: &'a mut dyn FnMut(u64) -> Result<(), StoreError>,
}

/// Makes a backup of the store on `source`, of which `image` is the log. On an error what was made is taken back as far as it goes;
/// what stays, and what a crash leaves, is no store.
pub fn make(
    image: Image,
    source: &dyn Disk,
    target: &dyn Target,
    options: Options<'_>,
) -> Result<Backup, StoreError> {
    let files = files(&image)?;
    if !target.is_empty().map_err(StoreError::io("list the directory of the backup"))? {
        return Err(StoreError::Refused("the directory is not empty; name a new one".to_owned()));
    }
    let mut work =
        Work { source, target, options, done: Backup { lsn: image.end_lsn(), ..Backup::default() } };
    let made = work.fill(&files).and_then(|()| {
        image.publish(target.disk()).map_err(StoreError::io("write the manifest of the backup"))
    });
    if made.is_err() {
        withdraw(target.disk(), &files);
    }
    made.map(|()| work.done)
}

/// All that the manifest lists, the log first, the files of older snapshots that are kept among them: a backup can be restored to every
/// moment that the store can.
fn files(image: &Image) -> Result<Vec<ImageFile>, StoreError> {
    let catalogs = Catalogs::of(image.sections())?;
    if catalogs.current.through > image.end_lsn() {
        return Err(StoreError::Refused(format!(
            "the snapshot goes through LSN {}, behind LSN {}, where this backup is to end",
            catalogs.current.through,
            image.end_lsn()
        )));
    }
    let listed = catalogs.newest_first().flat_map(|catalog| &catalog.files);
    let snapshots: BTreeMap<u64, u64> = listed.map(|file| (file.sequence, file.bytes)).collect();
    let snapshots = snapshots.into_iter().map(|(sequence, bytes)| ImageFile {
        path: header::path(sequence),
        bytes,
        is_active: false,
    });
    Ok(image.files().iter().cloned().chain(snapshots).collect())
}

struct Work<'a, 'p> {
    source: &'a dyn Disk,
    target: &'a dyn Target,
    options: Options<'p>,
    done: Backup,
}

impl Work<'_, '_> {
    fn fill(&mut self, files: &[ImageFile]) -> Result<(), StoreError> {
        let disk = self.target.disk();
        let prepare = || -> io::Result<()> {
            unless_off(Safeguard::BackupMark, || Image::mark_unfinished(disk))?;
            disk.create_dir(segment::FOLDER)?;
            disk.create_dir(header::FOLDER)?;
            unless_off(Safeguard::BackupFolderNames, || disk.sync_dir(""))
        };
        prepare().map_err(StoreError::io("begin the backup"))?;
        for file in files {
            self.take(file)?;
        }
        for folder in [segment::FOLDER, header::FOLDER] {
            unless_off(Safeguard::BackupNames, || disk.sync_dir(folder))
                .map_err(StoreError::io(format!("sync {folder} of the backup")))?;
        }
        Ok(())
    }

    fn take(&mut self, file: &ImageFile) -> Result<(), StoreError> {
        let linked = !file.is_active && !self.options.copy && self.link(&file.path)?;
        if !linked {
            self.copy(file)?;
        }
        self.done.files += 1;
        self.done.bytes += file.bytes;
        *if linked { &mut self.done.linked } else { &mut self.done.copied } += 1;
        Ok(())
    }

    /// False where there are no links.
    fn link(&self, path: &str) -> Result<bool, StoreError> {
        match self.target.link(path) {
            Ok(()) => Ok(true),
            Err(error) if cannot_link(&error) => Ok(false),
            Err(error) => Err(StoreError::io(format!("link {path} into the backup"))(error)),
        }
    }

    fn copy(&mut self, file: &ImageFile) -> Result<(), StoreError> {
        let path = &file.path;
        let failed = || StoreError::io(format!("copy {path} into the backup"));
        let from = self.source.open(path, Open::Read).map_err(failed())?;
        let to = self.target.disk().open(path, Open::Create).map_err(failed())?;
        let mut bytes = vec![0; COPY_BYTES.min(file.bytes as usize)];
        let mut offset = 0;
        while offset < file.bytes {
            let len = bytes.len().min((file.bytes - offset) as usize);
            copy_part(&*from, &*to, &mut bytes[..len], offset).map_err(failed())?;
            offset += len as u64;
            (self.options.pace)(len as u64)?;
        }
        unless_off(Safeguard::BackupSync, || to.sync()).map_err(failed())
    }
}

fn copy_part(from: &dyn File, to: &dyn File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    from.read_exact_at(bytes, offset)?;
    to.write_all_at(bytes, offset)
}

/// The log last of the files: without it the snapshot's would be taken for leftovers of an empty store.
fn withdraw(disk: &dyn Disk, files: &[ImageFile]) {
    for file in files.iter().rev() {
        // It may not have been made; what stays is behind a manifest that says "not finished".
        let _ = disk.remove(&file.path);
    }
    for folder in [header::FOLDER, segment::FOLDER] {
        match disk.sync_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return,
            _ => {}
        }
    }
    Image::withdraw(disk);
}
