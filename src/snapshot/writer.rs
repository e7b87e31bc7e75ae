//! Writes a snapshot file: rows in ascending order in, a synced file out.
//!
//! Not promised: anything about the file before [`FileWriter::finish`] returned Ok. On an error, and when the writer is dropped, a
//! part of the file may be left; whoever made the writer removes it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::codec::varint_len;
use crate::disk::{Disk, File, Open};
use crate::error::StoreError;
use crate::keyspace::op::SpaceId;
use crate::mutation::{Safeguard, unless_off};

use super::block::{CONTINUES, INDEX, LONG_MAX, PartBuilder, RAW_MAX, Sealer};
use super::footer::{FileInfo, Footer, IndexEntry, SpaceUse};
use super::header::{FOLDER, FileHeader, HEADER_LEN, path};
use super::rows::{Head, RowSink};

/// A sync after so many bytes keeps the kernel from gathering a burst that would delay the log's own syncs.
const SYNC_EVERY_BYTES: u64 = 8 << 20;

/// Gets the number of bytes before each write behind the header. An error ends the writing.
pub type Pace<'a> = dyn FnMut(u64) -> Result<(), StoreError> + 'a;

pub struct FileWriter<'a> {
    disk: &'a dyn Disk,
    file: Arc<dyn File>,
    header: FileHeader,
    header_crc: u32,
    pace: Option<&'a mut Pace<'a>>,
    sealer: Sealer,
    /// After an error nothing more is written.
    has_failed: bool,
    /// Where the next block begins, and what the last sync covered.
    offset: u64,
    synced: u64,
    index: Vec<u8>,
    blocks_crc: crc32fast::Hasher,
    footer: Footer,
    spaces: BTreeMap<SpaceId, SpaceUse>,
    /// The block that is being filled, what of it is known before it is full, and the keyspace of its last row.
    block: Vec<u8>,
    entry: IndexEntry,
    flags: u8,
    space: u32,
    /// The row that was begun last; `None` before the first. Its ops that are not in a block yet.
    head: Option<Head>,
    part: PartBuilder,
    /// Ops of the row stand in an earlier block.
    continues: bool,
}

impl<'a> FileWriter<'a> {
    /// Makes the file and, if need be, its folder. `level` is zstd's (1 to 22, or negative); 0 does not compress. The file must
    /// not exist.
    pub fn create(disk: &'a dyn Disk, header: &FileHeader, level: i32) -> Result<Self, StoreError> {
        let path = path(header.sequence);
        let make = || {
            disk.create_dir(FOLDER)?;
            // Always: whoever made the folder may not have come to this.
            unless_off(Safeguard::SnapshotFolderName, || disk.sync_dir(""))?;
            let file = disk.open(&path, Open::Create)?;
            let bytes = header.encode();
            file.write_all_at(&bytes, 0)?;
            let (_, header_crc) = FileHeader::decode(&bytes).map_err(io::Error::other)?;
            Ok((file, header_crc, Sealer::new(level, header_crc)?))
        };
        let (file, header_crc, sealer) = make().map_err(StoreError::io(format!("create {path}")))?;
        let offset = HEADER_LEN as u64;
        let footer = Footer {
            index_offset: 0,
            blocks: 0,
            rows: 0,
            ops: 0,
            raw_bytes: 0,
            header_crc,
            blocks_crc: 0,
            spaces: 0,
        };
        Ok(Self {
            disk,
            file,
            header: *header,
            header_crc,
            pace: None,
            sealer,
            has_failed: false,
            offset,
            synced: 0,
            index: Vec::new(),
            blocks_crc: crc32fast::Hasher::new(),
            footer,
            spaces: BTreeMap::new(),
            block: Vec::with_capacity(RAW_MAX),
            entry: IndexEntry { offset, slot: 0, hash: 0 },
            flags: 0,
            space: 0,
            head: None,
            part: PartBuilder::default(),
            continues: false,
        })
    }

    /// Calls `pace` before each write, to slow down or to give up.
    pub fn paced(mut self, pace: &'a mut Pace<'a>) -> Self {
        self.pace = Some(pace);
        self
    }

    /// Bytes written so far.
    pub const fn written(&self) -> u64 {
        self.offset
    }

    /// Writes what is left, index and footer; syncs the file and its name.
    pub fn finish(mut self) -> Result<FileInfo, StoreError> {
        self.put_part(false);
        self.flush()?;
        self.footer.index_offset = self.offset;
        self.footer.spaces = self.spaces.len() as u32;
        let mut index = std::mem::take(&mut self.index);
        self.spaces.values().for_each(|each| each.encode(&mut index));
        if index.len() > LONG_MAX {
            return Err(self.error(io::Error::other("too many blocks")));
        }
        let (framed, crc) = self.sealer.seal(&index, INDEX);
        self.blocks_crc.update(&crc.to_le_bytes());
        self.footer.blocks_crc = self.blocks_crc.clone().finalize();
        let (footer, crc) = self.footer.encode();
        let end = [framed, &footer[..]].concat();
        if let Some(pace) = &mut self.pace {
            pace(end.len() as u64)?;
        }
        let write = |file: &dyn File, disk: &dyn Disk| {
            file.write_all_at(&end, self.offset)?;
            unless_off(Safeguard::SnapshotSync, || file.sync())?;
            unless_off(Safeguard::SnapshotName, || disk.sync_dir(FOLDER))
        };
        write(&*self.file, self.disk).map_err(|error| self.error(error))?;
        debug_assert_eq!(self.footer.header_crc, self.header_crc);
        Ok(self.footer.info(&self.header, self.offset + end.len() as u64, crc))
    }

    /// Puts the gathered ops of the row into the block.
    fn put_part(&mut self, goes_on: bool) {
        let Some(head) = self.head.as_ref().filter(|_| !self.part.is_empty()) else { return };
        if self.block.is_empty() {
            (self.entry.slot, self.entry.hash) = (head.slot, head.hash);
            self.flags = if self.continues { CONTINUES } else { 0 };
            self.space = 0;
        }
        let before = self.block.len();
        if self.continues {
            self.part.put_rest(&mut self.block, goes_on);
        } else {
            self.part.put_row(&mut self.block, self.space, head.space, &head.key, goes_on);
            self.space = head.space;
            self.footer.rows += 1;
        }
        let nothing = SpaceUse { space: head.space, rows: 0, raw_bytes: 0 };
        let of_space = self.spaces.entry(head.space).or_insert(nothing);
        of_space.rows += u64::from(!self.continues);
        of_space.raw_bytes += (self.block.len() - before) as u64;
        self.continues = goes_on;
    }

    /// Writes the block if there is something in it.
    fn flush(&mut self) -> Result<(), StoreError> {
        if self.has_failed {
            return Err(self.error(io::Error::other("an earlier write failed")));
        }
        if self.block.is_empty() {
            return Ok(());
        }
        if self.block.len() > LONG_MAX {
            return Err(self.error(io::Error::other("an op that is too long for a snapshot")));
        }
        let (framed, crc) = self.sealer.seal(&self.block, self.flags);
        let len = framed.len() as u64;
        if let Some(pace) = &mut self.pace {
            pace(len)?;
        }
        let result = self.file.write_all_at(framed, self.offset).and_then(|()| {
            let is_due = self.offset + len - self.synced >= SYNC_EVERY_BYTES;
            if is_due {
                self.file.sync()?;
                self.synced = self.offset + len;
            }
            Ok(())
        });
        result.map_err(|error| self.error(error))?;
        self.blocks_crc.update(&crc.to_le_bytes());
        self.entry.encode(&mut self.index);
        self.footer.blocks += 1;
        self.footer.raw_bytes += self.block.len() as u64;
        self.offset += len;
        self.entry.offset = self.offset;
        self.block.clear();
        self.block.shrink_to(RAW_MAX);
        Ok(())
    }

    fn error(&mut self, source: io::Error) -> StoreError {
        self.has_failed = true;
        StoreError::Io { what: format!("write {}", path(self.header.sequence)), source }
    }
}

impl RowSink for FileWriter<'_> {
    /// A row without ops is left out.
    fn begin(&mut self, head: &Head) -> Result<(), StoreError> {
        self.put_part(false);
        self.continues = false;
        debug_assert!((self.header.first_slot..=self.header.last_slot).contains(&head.slot), "{head:?}");
        let Some(own) = &mut self.head else {
            self.head = Some(head.clone());
            return Ok(());
        };
        debug_assert_eq!((*own).cmp(head), Ordering::Less, "rows out of order: {own:?}, {head:?}");
        own.clone_from(head);
        Ok(())
    }

    fn op(&mut self, op: &[u8]) -> Result<(), StoreError> {
        debug_assert!(!op.is_empty() && self.head.is_some(), "an op without a code, or without a row");
        let before = if self.continues {
            10
        } else {
            self.head.as_ref().map_or(0, |h| PartBuilder::head_len_max(&h.key))
        };
        let len = self.block.len() + before + self.part.len() + varint_len(op.len() as u64) + op.len();
        if len > RAW_MAX {
            // The row is cut here, or begins with the next block.
            let goes_on = !self.part.is_empty();
            self.put_part(goes_on);
            self.flush()?;
        }
        self.part.push(op);
        self.footer.ops += 1;
        Ok(())
    }
}
