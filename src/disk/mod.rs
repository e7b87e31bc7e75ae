//! The seam to files. Everything that must survive a crash goes through [`Disk`] and [`File`]; nothing else in the crate
//! touches `std::fs`. `os` is the operating system, `uring` and `direct` its other ways to write the log, `fault` makes a failed
//! sync final, `sim` is a disk that crashes; `prng` is the seeded randomness of the last; `scratch` makes file systems to break. `plain`
//! and `appender` are for the administrator's files.
//!
//! Paths are relative to the data directory, with `/` between parts (`log/00000001.log`); a path that is absolute, or has an
//! empty, `.` or `..` part, is `InvalidInput`.
//!
//! What the traits do **not** promise: that anything is on the medium before `sync` (data) and `sync_dir` (names) returned Ok.

pub mod appender;
mod direct;
pub mod fault;
mod map;
pub mod numbered;
pub mod os;
pub mod plain;
pub mod prng;
pub mod scratch;
pub mod sim;
#[cfg(test)]
mod tests;
mod uring;

use std::io;
use std::sync::Arc;

pub use direct::Aligned;
pub use fault::Latch;
pub use map::Map;
pub use os::OsDisk;
pub use sim::SimDisk;

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Must exist; reads only.
    Read,
    /// Must exist; reads and writes.
    Write,
    /// Must not exist; created empty, reads and writes. The name is on the medium only after `sync_dir` of its folder.
    Create,
    /// As `Write`, for an active log segment: the disk may choose its fastest way to write and sync (io_uring).
    Log,
    /// As `Write`, past the page cache: lengths and offsets of writes must be multiples of [`File::block`]. `Unsupported` where
    /// that is not possible.
    Direct,
}

/// How log segments are to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogIo {
    /// Directly where every write is synced, through the page cache where not.
    Auto,
    Direct,
    Buffered,
    /// Through the page cache by io_uring; by plain system calls where the kernel refuses it.
    IoUring,
}

impl LogIo {
    /// `has_ring`: the kernel permits io_uring.
    const fn mode(self, sync_each: bool, has_ring: bool) -> LogMode {
        match self {
            Self::Direct => LogMode::Direct,
            Self::Auto if sync_each => LogMode::Direct,
            Self::IoUring if has_ring => LogMode::Filled,
            Self::Auto | Self::Buffered | Self::IoUring => LogMode::Reserved,
        }
    }
}

/// How one log segment is made and written, for its whole life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogMode {
    /// Filled with zeros and then written past the page cache: the cheapest to sync.
    Direct,
    /// Its room is reserved; written through the page cache: the cheapest to write.
    Reserved,
    /// Filled with zeros; written through the page cache.
    Filled,
}

/// An open file. Reads and writes at different places may run at the same time; so may `sync`, which covers
/// the writes that had returned before it was called.
#[allow(clippy::len_without_is_empty)] // `len` asks the system and can fail: it is not that of a collection
pub trait File: Send + Sync + 'static {
    /// Reads up to `buf.len()` bytes at `offset`; 0 at or beyond the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of `buf` at `offset`, as `pwrite(2)`: may write less than asked for.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;
    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the file `len` bytes long with room for all of them: writes before `len` need no more. New bytes are zero. The file
    /// must not be longer. `Unsupported` where the file system cannot.
    fn allocate(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    /// From here on the file is room that was set aside and never written: it reads as zeros. The file's length where nobody knows.
    fn data_end(&self) -> io::Result<u64> {
        self.len()
    }
    /// Puts everything written so far on the medium (`fdatasync`: data, and the length when it changed).
    fn sync(&self) -> io::Result<()>;
    /// Lengths and offsets of writes must be multiples of it.
    fn block(&self) -> u32 {
        1
    }

    /// The file as it is now, in memory. See [`Map`] for what must not happen to it meanwhile.
    fn map(&self) -> io::Result<Map> {
        let mut bytes = vec![0; usize::try_from(self.len()?).map_err(io::Error::other)?];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(Map::copied(bytes))
    }

    /// Reads exactly `buf.len()` bytes, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    buf = &mut buf[n..];
                    offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Writes all of `buf`, continuing after short writes.
    fn write_all_at(&self, mut buf: &[u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.write_at(buf, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    buf = &buf[n..];
                    offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Held until dropped; the operating system lets go of it when the process dies.
pub trait Lock: Send + Sync {}

/// A data directory.
pub trait Disk: Send + Sync + 'static {
    fn open(&self, path: &str, how: Open) -> io::Result<Arc<dyn File>>;
    /// Replaces `to` if it exists. On the medium only after `sync_dir` of the folder.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// On the medium only after `sync_dir` of the folder.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Names (not paths) of the files in a folder, sorted; folders are left out. `""` is the data directory itself.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Makes a folder unless it is there. On the medium only after `sync_dir("")`.
    fn create_dir(&self, dir: &str) -> io::Result<()>;
    /// Puts the creations, renames and removals in a folder on the medium.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
    /// Takes the exclusive lock of that file (created if need be); `WouldBlock` if it is held already, by another process or
    /// by this one, with a text that names the holder where it is known.
    fn lock(&self, path: &str) -> io::Result<Box<dyn Lock>>;
    /// Bytes that can still be written before the medium is full.
    fn free_bytes(&self) -> io::Result<u64>;
    /// How the next log segment should be made, when its writes are synced one by one or not.
    fn log_mode(&self, sync_each: bool) -> LogMode;
    /// A name for how log segments are written that are not direct, for the log and INFO: `buffered`, `io_uring`, `simulated`.
    fn log_io(&self) -> &'static str;
    /// Another directory, for a backup: `dir` is its path from the root of the file system. It is made if it is missing, with
    /// those above it, and its name is on the medium when this returns.
    fn target(&self, dir: &str) -> io::Result<Box<dyn Target>>;
}

/// A directory that takes over files of a data directory.
pub trait Target: Send + Sync {
    /// The directory itself.
    fn disk(&self) -> &dyn Disk;
    /// Whether there is nothing in it, or only empty folders.
    fn is_empty(&self) -> io::Result<bool>;
    /// Gives a file of the data directory a second name here, at the same path; the two share their bytes from then on. On the
    /// medium only after `sync_dir` of the folder. [`cannot_link`] tells the errors that a copy goes round.
    fn link(&self, path: &str) -> io::Result<()>;
}

/// The file system has no second names, not for this file, or not there: nothing speaks against a copy.
pub fn cannot_link(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(error.kind(), CrossesDevices | PermissionDenied | TooManyLinks | Unsupported)
}

/// Splits a path into its folder (`""` for the data directory) and its last part, refusing what could leave the data directory.
fn split(path: &str) -> io::Result<(&str, &str)> {
    if path.split('/').any(|part| matches!(part, "" | "." | "..") || part.contains('\0')) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("not a path inside the data directory: {path:?}"),
        ));
    }
    Ok(path.rsplit_once('/').unwrap_or(("", path)))
}
