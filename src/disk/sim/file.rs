//! Bytes and lengths of a simulated file: the medium, the cache, and the operations between the two.

use std::io;
use std::sync::Arc;

use parking_lot::MutexGuard;

use super::super::File;
use super::super::prng::Prng;
use super::crash::{self, CrashStyle};
use super::faults::{Fault, OpKind, Permit};
use super::{SimDisk, State};

/// Longest file: what a wrong offset may cost in memory.
const FILE_MAX_LEN: u64 = 4 << 30;

/// A change of a file that the medium does not have yet.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: u64, bytes: Arc<[u8]> },
    SetLen(u64),
}

impl Change {
    /// Applies it whole.
    pub(super) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let (start, end) = (*offset as usize, *offset as usize + bytes.len());
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[start..end].copy_from_slice(bytes);
            }
            Self::SetLen(len) => content.resize(*len as usize, 0),
        }
    }
}

/// A file, whatever its names are. Copies share their bytes until one is written to.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    medium: Arc<Vec<u8>>,
    /// What programs see. After a failed sync it may differ from the medium although nothing is pending.
    cache: Arc<Vec<u8>>,
    /// Changes of the cache that no sync has covered, oldest first.
    pending: Vec<Change>,
    /// Changes that have left `pending`: a sync that began before another ended finds its own ones by this count.
    settled: u64,
    handles: usize,
}

impl Inode {
    pub(super) fn content(&self) -> &[u8] {
        &self.cache
    }

    pub(super) fn add_handle(&mut self) {
        self.handles += 1;
    }

    pub(super) const fn is_open(&self) -> bool {
        self.handles > 0
    }

    pub(super) fn without_handles(&self) -> Self {
        Self { handles: 0, ..self.clone() }
    }

    /// The file after power loss.
    pub(super) fn after_crash(&self, style: CrashStyle, prng: &mut Prng) -> Self {
        let medium = if self.pending.is_empty() {
            Arc::clone(&self.medium)
        } else {
            Arc::new(crash::settle(&self.medium, &self.pending, style, prng))
        };
        Self { cache: Arc::clone(&medium), medium, pending: Vec::new(), settled: 0, handles: 0 }
    }

    pub(super) fn replace(&mut self, bytes: &[u8]) {
        self.settle_through(self.position());
        self.medium = Arc::new(bytes.to_vec());
        self.cache = Arc::clone(&self.medium);
    }

    fn change(&mut self, change: Change) {
        change.apply(Arc::make_mut(&mut self.cache));
        self.pending.push(change);
    }

    /// How many changes there have been.
    const fn position(&self) -> u64 {
        self.settled + self.pending.len() as u64
    }

    /// Takes the pending changes up to a position.
    fn settle_through(&mut self, position: u64) -> Vec<Change> {
        let settled: Vec<_> = self.pending.drain(..position.saturating_sub(self.settled) as usize).collect();
        self.settled += settled.len() as u64;
        settled
    }

    fn sync_through(&mut self, position: u64) {
        let changes = self.settle_through(position);
        if !changes.is_empty() {
            let medium = Arc::make_mut(&mut self.medium);
            changes.iter().for_each(|change| change.apply(medium));
        }
    }

    /// As Linux does it: what could not be written counts as clean from now on, so no later sync writes it; how much of it has
    /// reached the medium is left to chance.
    fn fail_sync_through(&mut self, position: u64, prng: &mut Prng) {
        let changes = self.settle_through(position);
        self.medium = Arc::new(crash::settle(&self.medium, &changes, CrashStyle::Random, prng));
    }
}

/// An open file of a [`SimDisk`].
pub(super) struct SimFile {
    disk: SimDisk,
    path: String,
    inode: u64,
    writable: bool,
    /// What lengths and offsets of writes must be multiples of.
    block: u32,
}

impl SimFile {
    /// The caller has added the handle to the inode.
    pub(super) fn new(disk: SimDisk, path: &str, inode: u64, writable: bool, block: u32) -> Self {
        Self { disk, path: path.to_owned(), inode, writable, block }
    }

    fn check_writable(&self, error: i32) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
    }

    fn change_len(&self, mut state: MutexGuard<'_, State>, len: u64) -> io::Result<()> {
        if len > FILE_MAX_LEN {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
        let old_len = state.inodes[&self.inode].content().len() as u64;
        if len.saturating_sub(old_len) > state.room() {
            return Err(Fault::Enospc.error());
        }
        if len != old_len {
            state.inode(self.inode).change(Change::SetLen(len));
        }
        Ok(())
    }

    /// Waits while syncs are held; an error if the disk stops meanwhile.
    fn wait_for_release(&self, state: &mut MutexGuard<'_, State>) -> io::Result<()> {
        state.held_syncs += 1;
        self.disk.shared.changed.notify_all();
        while state.holding_syncs && state.passes == 0 && state.faults.check_stopped().is_ok() {
            self.disk.shared.changed.wait(state);
        }
        state.held_syncs -= 1;
        state.passes = state.passes.saturating_sub(1);
        self.disk.shared.changed.notify_all();
        state.faults.check_stopped()
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.begin(OpKind::Read, &self.path)?;
        let content = state.inodes[&self.inode].content();
        let start = content.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let len = buf.len().min(content.len() - start);
        buf[..len].copy_from_slice(&content[start..start + len]);
        Ok(len)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.check_writable(libc::EBADF)?;
        let block = u64::from(self.block);
        if !offset.is_multiple_of(block) || !(buf.len() as u64).is_multiple_of(block) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let (mut state, permit) = self.disk.begin_with_permit(OpKind::Write, &self.path)?;
        let mut len = buf.len();
        match permit {
            Permit::Go => {}
            Permit::Fail(Fault::ShortWrite(at_most)) => len = len.min(at_most),
            Permit::Fail(fault) => return Err(fault.error()),
        }
        if offset.checked_add(len as u64).is_none_or(|end| end > FILE_MAX_LEN) {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
        let old_len = state.inodes[&self.inode].content().len() as u64;
        let fits_until = old_len.saturating_add(state.room());
        if len > 0 && offset + len as u64 > fits_until {
            // As the system does it: what fits is written, and the next write gets the error.
            len = fits_until.saturating_sub(offset) as usize;
            if len == 0 {
                return Err(Fault::Enospc.error());
            }
        }
        if len > 0 {
            state.inode(self.inode).change(Change::Write { offset, bytes: buf[..len].into() });
        }
        Ok(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable(libc::EINVAL)?;
        self.change_len(self.disk.begin(OpKind::SetLen, &self.path)?, len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.check_writable(libc::EBADF)?;
        let state = self.disk.begin(OpKind::Allocate, &self.path)?;
        if !state.has_allocate {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.change_len(state, len)
    }

    fn block(&self) -> u32 {
        self.block
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.faults.check_stopped()?;
        Ok(state.inodes[&self.inode].content().len() as u64)
    }

    /// As a file system that keeps no blocks of zeros.
    fn data_end(&self) -> io::Result<u64> {
        const BLOCK: usize = 512;
        let state = self.disk.state();
        state.faults.check_stopped()?;
        let content = state.inodes[&self.inode].content();
        let is_data = |block: &[u8]| *block != [0; BLOCK][..block.len()];
        let blocks = content.chunks(BLOCK).rposition(is_data).map_or(0, |last| last + 1);
        Ok((blocks * BLOCK).min(content.len()) as u64)
    }

    fn sync(&self) -> io::Result<()> {
        let (mut state, permit) = self.disk.begin_with_permit(OpKind::Sync, &self.path)?;
        let position = state.inodes[&self.inode].position();
        if state.holding_syncs {
            self.wait_for_release(&mut state)?;
        }
        let State { inodes, prng, .. } = &mut *state;
        let inode = inodes.get_mut(&self.inode).expect("an open file is kept");
        match permit {
            Permit::Go => {
                inode.sync_through(position);
                Ok(())
            }
            Permit::Fail(Fault::LeftOut) => Ok(()),
            Permit::Fail(fault) => {
                inode.fail_sync_through(position, prng);
                Err(fault.error())
            }
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if let Some(inode) = self.disk.state().inodes.get_mut(&self.inode) {
            inode.handles -= 1;
        }
    }
}
