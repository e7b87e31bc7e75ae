//! Writes and syncs of log segments through io_uring. One ring for writes and one for syncs, shared by the log files of a disk, so
//! that a write never queues behind a sync. A write and a sync are never linked: a sync only follows a write that is
//! known to be complete.
//!
//! Every operation is awaited before its call returns: this is `pwrite` and `fdatasync` by another door, not asynchronous I/O.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use io_uring::{IoUring, Probe, opcode, squeue, types};
use parking_lot::Mutex;

use super::os::{allocate, data_end};
use super::{File, Map};
use crate::mutation::{Safeguard, is_off, unless_off};

/// One operation at a time is in flight on a ring.
const RING_ENTRIES: u32 = 2;
/// The kernel moves no more than this at a time (`MAX_RW_COUNT` is a page less than 2 GiB).
const WRITE_MAX_LEN: usize = 1 << 30;

/// The rings of a disk.
pub struct Rings {
    writes: Mutex<Ring>,
    syncs: Mutex<Ring>,
}

impl Rings {
    /// Makes the rings, unless the kernel has no io_uring, refuses it (seccomp, `kernel.io_uring_disabled`), or lacks an operation.
    pub fn probe() -> io::Result<Self> {
        let mut writes = Ring::new()?;
        let mut probe = Probe::new();
        writes.ring.submitter().register_probe(&mut probe)?;
        if ![opcode::Nop::CODE, opcode::Write::CODE, opcode::Fsync::CODE]
            .iter()
            .all(|&op| probe.is_supported(op))
        {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "io_uring lacks an operation"));
        }
        let nop = opcode::Nop::new().build();
        // SAFETY: a NOP points to nothing.
        match unsafe { writes.run(&nop) } {
            Some(result) => result?,
            None => return Err(io::Error::new(io::ErrorKind::Unsupported, "io_uring takes no operation")),
        };
        Ok(Self { writes: Mutex::new(writes), syncs: Mutex::new(Ring::new()?) })
    }
}

impl fmt::Debug for Rings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rings").finish_non_exhaustive()
    }
}

struct Ring {
    ring: IoUring,
    /// An operation was queued that the kernel would not take. It must never be submitted later: its buffer is gone.
    broken: bool,
}

impl Ring {
    fn new() -> io::Result<Self> {
        Ok(Self { ring: IoUring::builder().dontfork().build(RING_ENTRIES)?, broken: false })
    }

    /// Runs one operation to its end. `None`: the kernel never took it, and this ring is of no more use.
    ///
    /// # Safety
    /// What `operation` points to must stay valid until this returns; not longer, as the kernel is done with it then.
    unsafe fn run(&mut self, operation: &squeue::Entry) -> Option<io::Result<usize>> {
        if self.broken {
            return None;
        }
        // SAFETY: the caller vouches for the memory until we return, and we return after the completion, or when the operation
        // was not taken; then `broken` keeps it from ever being submitted.
        unsafe { self.ring.submission().push(operation) }.expect("the queue is empty between runs");
        loop {
            let outcome = self.ring.submit_and_wait(1);
            if let Some(completion) = self.ring.completion().next() {
                let result = completion.result();
                return Some(usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result)));
            }
            match outcome.map_err(|error| error.raw_os_error()) {
                Ok(_) | Err(Some(libc::EINTR)) => {}
                Err(Some(libc::EAGAIN | libc::EBUSY)) => std::thread::yield_now(),
                Err(_) if self.ring.submission().is_empty() => std::thread::yield_now(), // taken: its end must be awaited
                Err(_) => {
                    self.broken = true;
                    return None;
                }
            }
        }
    }
}

/// A log segment. Reads and changes of length are plain system calls.
pub struct UringFile {
    file: fs::File,
    rings: Arc<Rings>,
}

impl UringFile {
    pub fn new(file: fs::File, rings: Arc<Rings>) -> Self {
        Self { file, rings }
    }
}

impl File for UringFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let len = buf.len().min(WRITE_MAX_LEN) as u32;
        let write =
            opcode::Write::new(types::Fd(self.file.as_raw_fd()), buf.as_ptr(), len).offset(offset).build();
        // SAFETY: `buf` and the descriptor are borrowed for the whole call.
        let result = unsafe { self.rings.writes.lock().run(&write) };
        result.unwrap_or_else(|| self.file.write_at(buf, offset))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        allocate(&self.file, len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn data_end(&self) -> io::Result<u64> {
        data_end(&self.file)
    }

    fn map(&self) -> io::Result<Map> {
        Map::of(&self.file)
    }

    fn sync(&self) -> io::Result<()> {
        if is_off(Safeguard::UringSync) {
            return Ok(());
        }
        let descriptor = types::Fd(self.file.as_raw_fd());
        let sync = opcode::Fsync::new(descriptor).flags(types::FsyncFlags::DATASYNC).build();
        let mut ring = self.rings.syncs.lock();
        loop {
            // SAFETY: a sync points to nothing; the descriptor is borrowed for the whole call.
            match unsafe { ring.run(&sync) } {
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Some(result) => return result.map(drop),
                None => return unless_off(Safeguard::UringFallbackSync, || self.file.sync_data()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::TempDir;
    use super::*;

    fn rings_or_reason() -> Option<Arc<Rings>> {
        match Rings::probe() {
            Ok(rings) => Some(Arc::new(rings)),
            Err(error) => {
                println!("skipped: io_uring is refused here: {error}");
                None
            }
        }
    }

    fn open(temp: &TempDir, rings: &Arc<Rings>, write: bool) -> UringFile {
        let path = temp.path().join("f");
        let mut options = fs::OpenOptions::new();
        UringFile::new(options.read(true).write(write).create(write).open(path).unwrap(), Arc::clone(rings))
    }

    #[test]
    fn what_is_written_is_read_back_from_many_threads() {
        let Some(rings) = rings_or_reason() else { return };
        let temp = TempDir::new();
        let file = open(&temp, &rings, true);
        std::thread::scope(|scope| {
            for part in 0..4u8 {
                let file = &file;
                scope.spawn(move || {
                    for i in 0..50u64 {
                        file.write_all_at(&[part; 100], u64::from(part) * 5000 + i * 100).unwrap();
                        if i % 10 == 0 {
                            file.sync().unwrap();
                        }
                    }
                });
            }
        });
        let mut bytes = vec![9; 20_000];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!((0..4u8).all(|part| bytes[usize::from(part) * 5000..][..5000].iter().all(|&b| b == part)));
    }

    #[test]
    fn errors_of_the_kernel_come_back_as_such() {
        let Some(rings) = rings_or_reason() else { return };
        let temp = TempDir::new();
        open(&temp, &rings, true);
        let read_only = open(&temp, &rings, false);
        assert_eq!(read_only.write_at(b"x", 0).unwrap_err().raw_os_error(), Some(libc::EBADF));
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let full = UringFile::new(full, Arc::clone(&rings));
        assert_eq!(full.write_at(b"x", 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(full.sync().is_err(), "a character device cannot be synced");
    }

    #[test]
    fn a_broken_ring_is_replaced_by_system_calls() {
        let Some(rings) = rings_or_reason() else { return };
        let temp = TempDir::new();
        let file = open(&temp, &rings, true);
        rings.writes.lock().broken = true;
        rings.syncs.lock().broken = true;
        file.write_all_at(b"still here", 0).unwrap();
        file.sync().unwrap();
        assert_eq!(file.len().unwrap(), 10);
        let device = fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
        let device = UringFile::new(device, Arc::clone(&rings));
        assert!(device.sync().is_err(), "the call is made: a character device cannot be synced");
    }
}
