//! File systems that are made to be broken: for torture, never for data.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Makes a file that is all hole.
pub fn make_sparse(path: &Path, bytes: u64) -> io::Result<()> {
    fs::File::create_new(path)?.set_len(bytes)
}

/// The kernel takes no more writes to this file system and drops those that it has not written, without a flush of the journal:
/// as if the machine had stopped. Needs privilege; ext4, XFS and F2FS know it.
pub fn cut_power(mount_point: &Path) -> io::Result<()> {
    /// `FS_IOC_SHUTDOWN`: `_IOR('X', 125, __u32)`.
    const SHUTDOWN: libc::c_ulong = 0x8004_587d;
    const WITHOUT_LOG_FLUSH: u32 = 2;
    let how = WITHOUT_LOG_FLUSH;
    let folder = fs::File::open(mount_point)?;
    // SAFETY: the request reads four bytes behind the pointer, which is to a u32.
    let done = unsafe { libc::ioctl(folder.as_raw_fd(), SHUTDOWN as _, &raw const how) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
