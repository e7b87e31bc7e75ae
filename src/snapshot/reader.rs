//! Reads a snapshot file through a map: whole, by a range of slots, or one row.
//!
//! Nothing of a block is used before its checksum held, and no memory is taken that the file does not justify. Whatever the bytes
//! are, the outcome is rows in ascending order or [`Corruption`](crate::error::Corruption). Not looked into: what the ops say
//! (see [`FileReader::verify`]). After an error a source has no more rows.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use crate::codec::Malformed;
use crate::disk::{Disk, Map, Open};
use crate::error::StoreError;
use crate::keyspace::hash::KeyRef;
use crate::keyspace::op::{Op, SpaceId};
use crate::log::Seed;

use super::block::{Block, CONTINUES, INDEX, Part, RAW_MAX, Unsealer};
use super::footer::{FOOTER_LEN, FileInfo, Footer, IndexEntry, SpaceUse};
use super::header::{FileHeader, HEADER_LEN, damaged, path};
use super::rows::{Batch, Head, Placed, RowSource};

/// An open snapshot file whose header, index and footer are sound. Its blocks are checked as they are read.
pub struct FileReader {
    bytes: Map,
    header: FileHeader,
    header_crc: u32,
    footer: Footer,
    footer_crc: u32,
    index_crc: u32,
    index: Vec<IndexEntry>,
    spaces: Vec<SpaceUse>,
}

impl FileReader {
    /// `expect`: what the manifest says about the file. Without it any sound file of that number is taken; then look
    /// at its header, which names the store.
    pub fn open(disk: &dyn Disk, sequence: u64, expect: Option<&FileInfo>) -> Result<Arc<Self>, StoreError> {
        let path = path(sequence);
        let map = disk.open(&path, Open::Read).and_then(|file| file.map());
        let bytes = map.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => damaged(sequence, 0, "the file is missing"),
            _ => StoreError::io(format!("open {path}"))(error),
        })?;
        let (header, header_crc) = FileHeader::decode(&bytes).map_err(|why| damaged(sequence, 0, why))?;
        let footer_at = bytes.len().checked_sub(FOOTER_LEN).filter(|&at| at >= HEADER_LEN);
        let footer_at =
            footer_at.ok_or_else(|| damaged(sequence, bytes.len() as u64, "the file is cut short"))?;
        let footer_bytes = bytes[footer_at..].try_into().expect("the length of a footer is left");
        let at_footer = |why: &str| damaged(sequence, footer_at as u64, why);
        let (footer, footer_crc) = Footer::decode(footer_bytes).map_err(|Malformed(why)| at_footer(why))?;
        if header.sequence != sequence || footer.header_crc != header_crc {
            return Err(damaged(sequence, 0, "the header is that of another file"));
        }
        let info = footer.info(&header, bytes.len() as u64, footer_crc);
        if expect.is_some_and(|expected| *expected != info) {
            return Err(at_footer("not the file that the manifest lists"));
        }
        let (index, spaces, index_crc) = Self::read_index(&bytes, &header, &footer, footer_at, header_crc)
            .map_err(|why| damaged(sequence, footer.index_offset, why))?;
        Ok(Arc::new(Self { bytes, header, header_crc, footer, footer_crc, index_crc, index, spaces }))
    }

    fn read_index(
        bytes: &[u8],
        header: &FileHeader,
        footer: &Footer,
        end: usize,
        header_crc: u32,
    ) -> Result<(Vec<IndexEntry>, Vec<SpaceUse>, u32), String> {
        let begin = usize::try_from(footer.index_offset).ok().filter(|at| (HEADER_LEN..end).contains(at));
        let begin = begin.ok_or("the index is not within the file")?;
        let block = Block::open(bytes, begin..end, header_crc)?;
        let lens = footer.index_raw_len().filter(|lens| lens.1 == block.raw_len as u64);
        let Some((blocks_len, _)) = lens.filter(|_| block.flags & (INDEX | CONTINUES) == INDEX) else {
            return Err("no index in its place".to_owned());
        };
        let mut unsealer = Unsealer::new().map_err(|error| error.to_string())?;
        unsealer.load(bytes, &block)?;
        let (of_blocks, of_spaces) = unsealer.payload(bytes).split_at(blocks_len as usize);
        let decoded = IndexEntry::decode_all(of_blocks)
            .and_then(|index| Ok((index, SpaceUse::decode_all(of_spaces, footer)?)));
        let (index, spaces) = decoded.map_err(|Malformed(why)| why.to_owned())?;
        let slots = header.first_slot..=header.last_slot;
        let first = index.first().map_or(footer.index_offset, |entry| entry.offset);
        if first != HEADER_LEN as u64
            || index.last().is_some_and(|last| last.offset >= footer.index_offset)
            || index.iter().any(|entry| !slots.contains(&entry.slot))
        {
            return Err("the index is not that of these blocks".to_owned());
        }
        Ok((index, spaces, block.crc))
    }

    pub const fn header(&self) -> &FileHeader {
        &self.header
    }

    pub fn info(&self) -> FileInfo {
        self.footer.info(&self.header, self.bytes.len() as u64, self.footer_crc)
    }

    /// The blocks, for tools.
    pub fn index(&self) -> &[IndexEntry] {
        &self.index
    }

    /// What the file has of each keyspace; `None` if it doesn't say.
    pub fn spaces(&self) -> Option<&[SpaceUse]> {
        (self.footer.rows == 0 || !self.spaces.is_empty()).then_some(&self.spaces[..])
    }

    /// The rows of keys in a range of slots, both ends included.
    pub fn rows(self: &Arc<Self>, seed: Seed, slots: RangeInclusive<u16>) -> Result<FileRows, StoreError> {
        let mut rows = FileRows::new(Arc::clone(self), seed, *slots.end())?;
        if slots.is_empty() {
            return Ok(rows);
        }
        rows.seek_block((*slots.start(), 0))?;
        rows.advance()?;
        while rows.head().is_some_and(|head| head.slot < *slots.start()) {
            rows.advance()?;
        }
        Ok(rows)
    }

    /// The row of one key, or none. To look up more than one use [`FileRows::seek`].
    pub fn lookup(self: &Arc<Self>, seed: Seed, key: &Head) -> Result<FileRows, StoreError> {
        let mut rows = FileRows::new(Arc::clone(self), seed, key.slot)?;
        rows.has_head = rows.seek(key)?;
        rows.is_last = true;
        Ok(rows)
    }

    /// Reads everything, ops too.
    pub fn verify(self: &Arc<Self>, seed: Seed) -> Result<(), StoreError> {
        let mut rows = self.rows(seed, self.header.first_slot..=self.header.last_slot)?;
        let (mut row_count, mut op_count) = (0, 0);
        let mut rows_of: BTreeMap<SpaceId, u64> = BTreeMap::new();
        while let Some(head) = rows.head() {
            row_count += 1;
            *rows_of.entry(head.space).or_default() += 1;
            while let Some(op) = rows.next_op()? {
                let decoded = Op::decode_bare(op).map(drop);
                op_count += 1;
                decoded.map_err(|Malformed(why)| rows.damaged(format!("an op of a row: {why}")))?;
            }
            rows.advance()?;
        }
        // Each block has been checked once above; here its place among the others.
        let (mut crc, mut raw_bytes) = (crc32fast::Hasher::new(), 0);
        for number in 0..self.index.len() {
            let block = self.block(number)?;
            crc.update(&block.crc.to_le_bytes());
            raw_bytes += block.raw_len as u64;
        }
        crc.update(&self.index_crc.to_le_bytes());
        let found =
            Footer { rows: row_count, ops: op_count, raw_bytes, blocks_crc: crc.finalize(), ..self.footer };
        let spaces = self.spaces.iter().map(|each| (each.space, each.rows));
        if found != self.footer || !self.spaces.is_empty() && !spaces.eq(rows_of) {
            let at = self.bytes.len() - FOOTER_LEN;
            return Err(damaged(
                self.header.sequence,
                at as u64,
                "the file does not hold what its footer says",
            ));
        }
        Ok(())
    }

    fn block(&self, number: usize) -> Result<Block, StoreError> {
        let entry = &self.index[number];
        let end = self.index.get(number + 1).map_or(self.footer.index_offset, |next| next.offset);
        // Both are at most the offset of the index, which lies within the file.
        let block = Block::open(&self.bytes, entry.offset as usize..end as usize, self.header_crc);
        let block = block.and_then(|block| match block.flags & INDEX {
            0 => Ok(block),
            _ => Err("an index in the place of a block".to_owned()),
        });
        block.map_err(|why| damaged(self.header.sequence, entry.offset, why))
    }
}

/// Rows of a file, one block in memory at a time.
pub struct FileRows {
    file: Arc<FileReader>,
    seed: u64,
    last_slot: u16,
    /// No row is wanted behind the one that stands next.
    is_last: bool,
    unsealer: Unsealer,
    /// Number of the block behind the one that is loaded.
    next_block: usize,
    /// Keyspace of the row before in the block.
    space: SpaceId,
    /// What the loaded block holds of the row, and where its next op begins.
    part: Part,
    at: usize,
    head: Head,
    has_head: bool,
    /// `head` is the row before in the order; not so after a seek.
    has_previous: bool,
}

/// Rows gathered at most: a block has fewer, unless they are tiny.
const GATHERED_MAX: usize = 4096;

impl FileRows {
    fn new(file: Arc<FileReader>, seed: Seed, last_slot: u16) -> Result<Self, StoreError> {
        let unsealer = Unsealer::new().map_err(StoreError::io("begin to decompress"))?;
        Ok(Self {
            file,
            seed: seed.0,
            last_slot,
            is_last: true,
            unsealer,
            next_block: 0,
            space: 0,
            part: Part::default(),
            at: 0,
            head: Head { slot: 0, hash: 0, space: 0, key: Vec::new() },
            has_head: false,
            has_previous: false,
        })
    }

    /// Goes to the row of this key, or to the one that would stand behind it, forwards or back. Whether the key has a row.
    /// A key behind the slots asked for moves their end.
    pub fn seek(&mut self, key: &Head) -> Result<bool, StoreError> {
        self.last_slot = self.last_slot.max(key.slot);
        self.seek_block((key.slot, key.hash))?;
        self.advance()?;
        while self.head().is_some_and(|head| head < key) {
            self.advance()?;
        }
        Ok(self.head() == Some(key))
    }

    /// To the start of the last block that begins before a place; the row that begins there or behind is the next one.
    fn seek_block(&mut self, place: (u16, u64)) -> Result<(), StoreError> {
        let before = self.file.index.partition_point(|entry| entry.place() < place);
        (self.is_last, self.has_head, self.has_previous) = (true, false, false);
        (self.part, self.at) = (Part::default(), 0);
        self.unsealer.clear();
        self.next_block = before.saturating_sub(1);
        let Some(entry) = self.file.index.get(self.next_block) else { return Ok(()) };
        (self.head.slot, self.head.hash) = entry.place();
        let number = self.next_block;
        if self.load()? & CONTINUES != 0 {
            if number == 0 {
                return Err(self.damaged("the first block begins within a row"));
            }
            // That row stands before the place: the rest of it is passed over.
            self.begin_rest()?;
        }
        self.is_last = false;
        Ok(())
    }

    /// Loads the next block and returns its flags. There must be one.
    fn load(&mut self) -> Result<u8, StoreError> {
        let number = self.next_block;
        let block = self.file.block(number)?;
        let result = self.unsealer.load(&self.file.bytes, &block);
        result.map_err(|why| damaged(self.file.header.sequence, self.file.index[number].offset, why))?;
        self.next_block = number + 1;
        (self.space, self.at) = (0, 0);
        Ok(block.flags)
    }

    /// Takes the rest of a row at the start of the loaded block.
    fn begin_rest(&mut self) -> Result<(), StoreError> {
        if self.file.index[self.next_block - 1].place() != (self.head.slot, self.head.hash) {
            return Err(self.damaged("the rest of a row in the wrong place"));
        }
        let part = Part::decode_rest(self.payload()).map_err(|Malformed(why)| self.damaged(why))?;
        self.begin_part(part)
    }

    fn begin_part(&mut self, part: Part) -> Result<(), StoreError> {
        let payload = self.payload();
        let len = payload.len();
        if part.goes_on && part.ops.end != len {
            return Err(self.damaged("a row that goes on before its block ends"));
        }
        if len > RAW_MAX {
            let is_one = part.op(payload, part.ops.start).is_ok_and(|(_, next)| next == len);
            if !is_one {
                return Err(self.damaged("a long block of more than one op"));
            }
        }
        self.at = part.ops.start;
        self.part = part;
        Ok(())
    }

    /// Goes on in the next block if the row does.
    fn go_on(&mut self) -> Result<bool, StoreError> {
        if !self.part.goes_on {
            return Ok(false);
        }
        if self.next_block == self.file.index.len() || self.load()? & CONTINUES == 0 {
            return Err(self.damaged("a row ends too early"));
        }
        self.begin_rest()?;
        Ok(true)
    }

    /// The next row's part, or none at the end of the file.
    fn next_part(&mut self) -> Result<bool, StoreError> {
        while self.go_on()? {}
        self.at = self.part.ops.end;
        let mut is_first = false;
        if self.at == self.payload().len() {
            if self.next_block == self.file.index.len() {
                return Ok(false);
            }
            if self.load()? & CONTINUES != 0 {
                return Err(self.damaged("the rest of a row that had ended"));
            }
            is_first = true;
        }
        is_first |= self.at == 0;
        let part =
            Part::decode(self.payload(), self.at, self.space).map_err(|Malformed(why)| self.damaged(why))?;
        self.set_head(&part, is_first)?;
        self.begin_part(part)?;
        Ok(true)
    }

    #[inline]
    fn set_head(&mut self, part: &Part, is_first: bool) -> Result<(), StoreError> {
        let payload = self.unsealer.payload(&self.file.bytes);
        let key = KeyRef::new(&payload[part.key.clone()], self.seed);
        let (place, old) = ((key.slot, key.hash), (self.head.slot, self.head.hash));
        let is_behind = !self.has_previous && place >= old
            || stands_before((&self.head.place(), self.head.space), (&key, part.space));
        let header = &self.file.header;
        let why = if !is_behind {
            OUT_OF_ORDER.0
        } else if !(header.first_slot..=header.last_slot).contains(&key.slot) {
            "a row of another slot than the file's"
        } else if is_first && place != self.file.index[self.next_block - 1].place() {
            "a block that is not the one in the index"
        } else {
            (self.head.slot, self.head.hash, self.head.space) = (key.slot, key.hash, part.space);
            self.head.key.clear();
            self.head.key.extend_from_slice(key.bytes);
            self.space = part.space;
            self.has_previous = true;
            return Ok(());
        };
        Err(self.damaged(why))
    }

    /// Gathers the row that stands next and those behind it in the block, as far as they are whole, and makes the last of them the one
    /// that stands next. Gathers none when that row isn't whole or was begun.
    pub(super) fn gather(&mut self, placed: &mut Vec<Placed>) -> Result<(), StoreError> {
        placed.clear();
        // The rest of a row has no key in front of it.
        let is_row = self.has_head && self.part.key.start > 0;
        if !is_row || self.part.goes_on || self.at != self.part.ops.start || self.is_last {
            return Ok(());
        }
        self.gather_rows(placed).map_err(|Malformed(why)| {
            (self.has_head, self.is_last) = (false, true);
            self.damaged(why)
        })
    }

    fn gather_rows(&mut self, placed: &mut Vec<Placed>) -> Result<(), Malformed> {
        let payload = self.unsealer.payload(&self.file.bytes);
        let slots = self.file.header.first_slot..=self.file.header.last_slot.min(self.last_slot);
        let mut part = self.part.clone();
        let mut key =
            KeyRef { bytes: &payload[part.key.clone()], hash: self.head.hash, slot: self.head.slot };
        loop {
            let Part { space, key: key_at, ops, is_bare, .. } = part.clone();
            placed.push(Placed { space, slot: key.slot, hash: key.hash, key: key_at, ops, is_bare });
            if part.ops.end == payload.len() || placed.len() == GATHERED_MAX {
                break;
            }
            let next = Part::decode(payload, part.ops.end, part.space)?;
            let next_key = KeyRef::new(&payload[next.key.clone()], self.seed);
            // What is odd about it is said when it stands next.
            if next.goes_on || !slots.contains(&next_key.slot) {
                break;
            }
            if !stands_before((&key, part.space), (&next_key, next.space)) {
                return Err(OUT_OF_ORDER);
            }
            (part, key) = (next, next_key);
        }
        (self.head.slot, self.head.hash, self.head.space) = (key.slot, key.hash, part.space);
        self.head.key.clear();
        self.head.key.extend_from_slice(key.bytes);
        (self.space, self.at) = (part.space, part.ops.start);
        self.part = part;
        Ok(())
    }

    /// Rows that were gathered, until the next call of [`RowSource::advance`].
    pub(super) fn batch<'a>(&'a self, rows: &'a [Placed]) -> Batch<'a> {
        Batch { bytes: self.payload(), rows }
    }

    fn next_op_range(&mut self) -> Result<Option<Range<usize>>, StoreError> {
        if !self.has_head || self.at == self.part.ops.end && !self.go_on()? {
            return Ok(None);
        }
        let op = self.part.op(self.payload(), self.at);
        let (range, next) = op.map_err(|Malformed(why)| self.damaged(why))?;
        self.at = next;
        Ok(Some(range))
    }

    #[inline]
    fn payload(&self) -> &[u8] {
        self.unsealer.payload(&self.file.bytes)
    }

    /// Damage in the block that is loaded.
    #[cold]
    fn damaged(&self, why: impl Into<String>) -> StoreError {
        let entry = self.file.index.get(self.next_block.saturating_sub(1));
        damaged(self.file.header.sequence, entry.map_or(0, |entry| entry.offset), why)
    }
}

const OUT_OF_ORDER: Malformed = Malformed("rows out of order, or hashed with another seed");

/// Whether one row stands before another in the order.
#[inline]
fn stands_before((a, a_space): (&KeyRef<'_>, SpaceId), (b, b_space): (&KeyRef<'_>, SpaceId)) -> bool {
    match (a.slot, a.hash).cmp(&(b.slot, b.hash)) {
        Ordering::Less => true,
        Ordering::Equal => (a_space, a.bytes) < (b_space, b.bytes),
        Ordering::Greater => false,
    }
}

impl RowSource for FileRows {
    #[inline]
    fn head(&self) -> Option<&Head> {
        self.has_head.then_some(&self.head)
    }

    #[inline]
    fn next_op(&mut self) -> Result<Option<&[u8]>, StoreError> {
        match self.next_op_range() {
            Ok(range) => Ok(range.map(|range| &self.payload()[range])),
            Err(error) => {
                self.has_head = false;
                self.is_last = true;
                Err(error)
            }
        }
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        self.has_head = false;
        if std::mem::replace(&mut self.is_last, true) {
            return Ok(());
        }
        if self.next_part()? && self.head.slot <= self.last_slot {
            (self.has_head, self.is_last) = (true, false);
        }
        Ok(())
    }
}
