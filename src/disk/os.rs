//! The operating system's files. Not promised: protection against another program that changes the data directory while
//! it is locked.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::direct::DirectFile;
use super::uring::{Rings, UringFile};
use super::{Disk, File, Lock, LogIo, LogMode, Map, Open, Target, split};
use crate::mutation::{Safeguard, unless_off};

/// Sessions and queues are nobody else's business: only the owner reads what the server writes.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// A data directory of the operating system.
#[derive(Debug)]
pub struct OsDisk {
    root: PathBuf,
    log_io: LogIo,
    rings: Option<Arc<Rings>>,
    /// Said once.
    direct_was_refused: AtomicBool,
}

impl OsDisk {
    /// Opens the data directory, made (and its name synced) if it is missing.
    pub fn open_dir(root: PathBuf, log_io: LogIo) -> io::Result<Self> {
        create_dir_synced(&root)?;
        let rings = (log_io == LogIo::IoUring).then(Rings::probe).and_then(|probed| {
            probed
                .inspect_err(|error| {
                    tracing::warn!(
                        "io_uring is not available ({error}): the log is written by plain system calls"
                    );
                })
                .ok()
        });
        Ok(Self { root, log_io, rings: rings.map(Arc::new), direct_was_refused: AtomicBool::new(false) })
    }

    /// Opens a data directory that exists, to look at it. Makes nothing.
    pub fn open_existing(root: PathBuf) -> io::Result<Self> {
        if !fs::metadata(&root)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { root, log_io: LogIo::Buffered, rings: None, direct_was_refused: AtomicBool::new(false) })
    }

    /// Takes the lock of that file together with other readers, without changing the file; `None` if there is no such file. While
    /// it is held nobody gets the exclusive one. `WouldBlock` if somebody has that, with a text that names the holder.
    pub fn lock_shared(&self, path: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let file = match fs::File::open(self.at(path)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Box::new(OsLock { _file: file }))),
            Err(fs::TryLockError::Error(error)) => Err(error),
            Err(fs::TryLockError::WouldBlock) => Err(self.is_locked(path)),
        }
    }

    fn is_locked(&self, path: &str) -> io::Error {
        let holder =
            self.lock_holder(path).map_or("another process".to_owned(), |pid| format!("process {pid}"));
        io::Error::new(io::ErrorKind::WouldBlock, format!("{path} is locked by {holder}"))
    }

    fn open_direct(&self, path: &Path, plain: fs::File) -> io::Result<DirectFile> {
        DirectFile::open(path, plain).inspect_err(|error| {
            let refused = error.kind() == io::ErrorKind::Unsupported;
            if refused && !self.direct_was_refused.swap(true, Ordering::Relaxed) {
                tracing::warn!("{error} here: the log is written through the page cache");
            }
        })
    }

    /// The process id that the holder of a lock has written into its file. `None` if there is none, or it cannot be read.
    /// The holder may be gone: only [`Disk::lock`] tells.
    pub fn lock_holder(&self, path: &str) -> Option<u32> {
        split(path).ok()?;
        let mut text = String::new();
        fs::File::open(self.root.join(path)).ok()?.take(32).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    fn at(&self, path: &str) -> io::Result<PathBuf> {
        split(path)?;
        Ok(self.root.join(path))
    }

    fn at_dir(&self, dir: &str) -> io::Result<PathBuf> {
        if dir.is_empty() { Ok(self.root.clone()) } else { self.at(dir) }
    }
}

impl Disk for OsDisk {
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(how != Open::Read).create_new(how == Open::Create).mode(FILE_MODE);
        let full_path = self.at(path)?;
        let file = options.open(&full_path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(match &self.rings {
            _ if how == Open::Direct => Arc::new(self.open_direct(&full_path, file)?),
            Some(rings) if how == Open::Log => Arc::new(UringFile::new(file, Arc::clone(rings))),
            _ => Arc::new(OsFile(file)),
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from)?, self.at(to)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.at(path)?)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.at_dir(dir)?)? {
            let entry = entry?;
            // Names that are not UTF-8 are none of ours.
            if let (false, Ok(name)) = (entry.file_type()?.is_dir(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        let path = self.at(dir)?;
        match fs::DirBuilder::new().mode(DIR_MODE).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            result => result,
        }
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        unless_off(Safeguard::OsSyncDir, || sync_dir_at(&self.at_dir(dir)?))
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Lock>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(self.at(path)?)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::Error(error)) => return Err(error),
            Err(fs::TryLockError::WouldBlock) => return Err(self.is_locked(path)),
        }
        // The number only serves the other side's error message: a full disk must not keep a server from starting.
        let _ = file
            .set_len(0)
            .and_then(|()| file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0));
        Ok(Box::new(OsLock { _file: file }))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let path = CString::new(self.root.as_os_str().as_bytes())?;
        let mut stat = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: `path` ends with NUL, `stat` is writable memory of the size that statvfs(3) fills.
        if unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: statvfs(3) returned 0, so it has filled `stat`.
        let stat = unsafe { stat.assume_init() };
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn log_mode(&self, sync_each: bool) -> LogMode {
        self.log_io.mode(sync_each, self.rings.is_some())
    }

    fn log_io(&self) -> &'static str {
        if self.rings.is_some() { "io_uring" } else { "buffered" }
    }

    fn target(&self, dir: &str) -> io::Result<Box<dyn Target>> {
        let root = PathBuf::from(dir);
        if !root.is_absolute() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a path from the root"));
        }
        let disk = Self::open_dir(root.clone(), LogIo::Buffered)?;
        // Who made it a moment ago may not have synced its name.
        unless_off(Safeguard::TargetName, || sync_dir_at(root.parent().unwrap_or(&root)))?;
        Ok(Box::new(OsTarget { source: self.root.clone(), disk }))
    }
}

/// A directory beside a data directory.
struct OsTarget {
    source: PathBuf,
    disk: OsDisk,
}

impl Target for OsTarget {
    fn disk(&self) -> &dyn Disk {
        &self.disk
    }

    fn is_empty(&self) -> io::Result<bool> {
        for entry in fs::read_dir(&self.disk.root)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() || fs::read_dir(entry.path())?.next().is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn link(&self, path: &str) -> io::Result<()> {
        split(path)?;
        fs::hard_link(self.source.join(path), self.disk.root.join(path))
    }
}

/// An open file read and written by plain system calls.
struct OsFile(fs::File);

impl File for OsFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(buf, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        allocate(&self.0, len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn data_end(&self) -> io::Result<u64> {
        data_end(&self.0)
    }

    fn map(&self) -> io::Result<Map> {
        Map::of(&self.0)
    }

    fn sync(&self) -> io::Result<()> {
        unless_off(Safeguard::OsSync, || self.0.sync_data())
    }
}

/// `fallocate(2)`: blocks are reserved and read as zeros.
pub(super) fn allocate(file: &fs::File, len: u64) -> io::Result<()> {
    let len = libc::off_t::try_from(len).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    loop {
        // SAFETY: takes numbers only; the descriptor is borrowed for the whole call.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, len) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, error));
            }
            _ => return Err(error),
        }
    }
}

/// Where the last piece of data ends, by `SEEK_DATA` and `SEEK_HOLE` of lseek(2). All other calls say where they read and write, so nobody
/// misses the file's position. Pages that were read count as data, be they of room never written: ask before reading.
pub(super) fn data_end(file: &fs::File) -> io::Result<u64> {
    // More pieces than a log ever has.
    const PIECES_MAX: usize = 64;
    let seek = |from: u64, whence| {
        let from = libc::off_t::try_from(from).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
        // SAFETY: takes numbers only; the descriptor is borrowed for the whole call.
        u64::try_from(unsafe { libc::lseek(file.as_raw_fd(), from, whence) })
            .map_err(|_| io::Error::last_os_error())
    };
    let len = file.metadata()?.len();
    let mut end = 0;
    for _ in 0..PIECES_MAX {
        match seek(end, libc::SEEK_DATA) {
            Ok(data) => end = seek(data, libc::SEEK_HOLE)?,
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok(end.min(len)),
            // The file system cannot tell.
            Err(_) => break,
        }
    }
    Ok(len)
}

/// The calling thread's work may wait for that of others. A hint: errors don't matter.
pub fn lower_thread_priority() {
    const NICE: libc::c_int = 10;
    // SAFETY: takes numbers only. Of Linux, 0 means the calling thread alone.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

/// A `flock(2)`: the kernel lets go of it when the descriptor is closed, at the latest by the death of the process.
struct OsLock {
    _file: fs::File,
}

impl Lock for OsLock {}

fn sync_dir_at(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// Makes a folder and those above it; each new name is synced in the folder that holds it.
fn create_dir_synced(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if parent != Path::new(".") {
        create_dir_synced(parent)?;
    }
    match fs::DirBuilder::new().mode(DIR_MODE).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        result => result?,
    }
    unless_off(Safeguard::DataDirName, || sync_dir_at(parent))
}

#[cfg(test)]
mod tests {
    use super::super::tests::TempDir;
    use super::*;

    #[test]
    fn a_missing_data_directory_is_made_with_those_above_it() {
        let temp = TempDir::new();
        let root = temp.path().join("a/b/c");
        let disk = OsDisk::open_dir(root.clone(), LogIo::Auto).unwrap();
        assert!(root.is_dir());
        assert_eq!(disk.log_io(), "buffered");
        assert!(disk.free_bytes().unwrap() > 0);
    }

    #[test]
    fn a_file_in_the_place_of_the_data_directory_is_an_error() {
        let temp = TempDir::new();
        let root = temp.path().join("file");
        fs::write(&root, b"x").unwrap();
        assert!(OsDisk::open_dir(root, LogIo::Buffered).is_err());
    }

    #[test]
    fn the_lock_names_the_process_that_holds_it() {
        let temp = TempDir::new();
        let disk = OsDisk::open_dir(temp.path().to_owned(), LogIo::Buffered).unwrap();
        assert_eq!(disk.lock_holder("LOCK"), None);
        let held = disk.lock("LOCK").unwrap();
        assert_eq!(disk.lock_holder("LOCK"), Some(std::process::id()));
        let refused = disk.lock("LOCK").err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
        drop(held);
        assert!(disk.lock("LOCK").is_ok());
    }

    #[test]
    fn files_are_readable_by_the_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let temp = TempDir::new();
        let disk = OsDisk::open_dir(temp.path().to_owned(), LogIo::Buffered).unwrap();
        disk.open("f", Open::Create).unwrap();
        assert_eq!(fs::metadata(temp.path().join("f")).unwrap().permissions().mode() & 0o077, 0);
    }
}
