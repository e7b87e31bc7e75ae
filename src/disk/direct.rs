//! Log segments by direct I/O: writes go from memory to the medium, past the page cache. That costs less of the processor
//! when each write is synced, and more when none is (decision 001).
//!
//! Callers hand over ordinary slices, of which only the length and the offset in the file must be multiples of the block; the
//! memory is aligned here. Reads go through the page cache: the kernel drops the pages that a direct write makes stale.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use parking_lot::Mutex;

use super::os::{allocate, data_end};
use super::{File, Map};
use crate::mutation::{Safeguard, unless_off};

/// What any device takes: a page. Memory is always aligned to it.
const PAGE: usize = 4096;
/// Longest piece that is copied to aligned memory at a time.
const PIECE_BYTES: usize = 1 << 20;

/// A log segment that is written past the page cache.
pub(super) struct DirectFile {
    direct: fs::File,
    /// The same file, for reads.
    plain: fs::File,
    block: u32,
    bounce: Mutex<Aligned>,
}

impl DirectFile {
    /// `Unsupported` where the file system has no direct I/O.
    pub fn open(path: &Path, plain: fs::File) -> io::Result<Self> {
        let opened = fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(path);
        let direct = opened.map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => refused(),
            _ => error,
        })?;
        let block = block_of(&direct).ok_or_else(refused)?;
        Ok(Self { direct, plain, block, bounce: Mutex::new(Aligned::default()) })
    }
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "the file system has no direct I/O")
}

/// What offsets and lengths of direct writes must be multiples of: what the kernel says, or a page where it doesn't. `None`:
/// it says that the file cannot be written directly.
fn block_of(file: &fs::File) -> Option<u32> {
    let mut stat = std::mem::MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is an empty C string (the descriptor is meant), `stat` is writable memory of the size that statx(2) fills.
    let result = unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_DIOALIGN,
            stat.as_mut_ptr(),
        )
    };
    // SAFETY: all its fields are integers, for which zeros are a value.
    let stat = unsafe { stat.assume_init() };
    if result != 0 || stat.stx_mask & libc::STATX_DIOALIGN == 0 {
        return Some(PAGE as u32);
    }
    match stat.stx_dio_offset_align {
        0 => None,
        align if align as usize <= PAGE && stat.stx_dio_mem_align as usize <= PAGE => {
            Some(align.next_power_of_two().max(512))
        }
        _ => None,
    }
}

impl File for DirectFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.plain.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let block = self.block as usize;
        if !buf.len().is_multiple_of(block) || !offset.is_multiple_of(u64::from(self.block)) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        if buf.as_ptr().align_offset(PAGE) == 0 {
            return self.direct.write_at(buf, offset);
        }
        let piece = &buf[..buf.len().min(PIECE_BYTES)];
        let mut bounce = self.bounce.lock();
        let aligned = bounce.get(piece.len());
        aligned.copy_from_slice(piece);
        self.direct.write_at(aligned, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.plain.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        allocate(&self.plain, len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.plain.metadata()?.len())
    }

    fn data_end(&self) -> io::Result<u64> {
        data_end(&self.plain)
    }

    fn map(&self) -> io::Result<Map> {
        Map::of(&self.plain)
    }

    fn sync(&self) -> io::Result<()> {
        unless_off(Safeguard::DirectSync, || self.direct.sync_data())
    }

    fn block(&self) -> u32 {
        self.block
    }
}

/// Memory from which the kernel takes direct writes.
#[derive(Default)]
pub struct Aligned {
    bytes: Vec<u8>,
}

impl Aligned {
    /// Zeros, not yet touched: the system makes them as they are read.
    pub fn zeros(len: usize) -> Self {
        Self { bytes: vec![0; len + PAGE] }
    }

    /// `len` bytes at the start of a page, with whatever they held.
    pub fn get(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < len + PAGE {
            self.bytes = vec![0; len + PAGE];
        }
        let start = self.bytes.as_ptr().align_offset(PAGE);
        &mut self.bytes[start..start + len]
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::TempDir;
    use super::super::{Disk, LogIo, Open, OsDisk};
    use super::*;

    #[test]
    fn whole_blocks_are_written_from_any_memory_and_read_back() {
        let temp = TempDir::new();
        let disk = OsDisk::open_dir(temp.path().to_owned(), LogIo::Auto).unwrap();
        disk.open("f", Open::Create).unwrap();
        let file = match disk.open("f", Open::Direct) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return println!("skipped: {error}"),
            opened => opened.unwrap(),
        };
        let block = file.block() as usize;
        assert!(block.is_power_of_two() && (512..=PAGE).contains(&block), "{block}");
        let bytes: Vec<u8> = (0..3 * PIECE_BYTES + 8).map(|i| (i / 7) as u8).collect();
        for skip in [0, 1, 8] {
            let len = 3 * PIECE_BYTES;
            file.write_all_at(&bytes[skip..skip + len], block as u64).unwrap();
            let mut found = vec![0; len];
            file.read_exact_at(&mut found, block as u64).unwrap();
            assert!(found == bytes[skip..skip + len]);
            let plain = disk.open("f", Open::Read).unwrap();
            plain.read_exact_at(&mut found, block as u64).unwrap();
            assert!(found == bytes[skip..skip + len]);
        }
        for (len, offset) in [(block - 8, 0), (block, 8), (8, 0)] {
            let error = file.write_at(&bytes[..len], offset as u64).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        }
        file.sync().unwrap();
    }

    #[test]
    fn aligned_memory_is_aligned() {
        let mut memory = Aligned::zeros(10_000);
        for len in [0, 1, 10_000, 50_000] {
            let bytes = memory.get(len);
            assert_eq!((bytes.len(), bytes.as_ptr().align_offset(PAGE)), (len, 0));
        }
    }
}
