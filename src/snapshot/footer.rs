//! The end of a snapshot file: the index of its blocks and the footer; and what a manifest keeps about a file.
//!
//! ```text
//! index   a block with the flag INDEX: for each block  offset u64 | slot u16 | hash u64  of the first row in it,
//!         then for each keyspace of which it has rows, in ascending order  keyspace u32 | rows u64 | raw bytes u64
//!
//! footer  0            8              16       24     32    40          48           52           56     60    64
//!         | "DURASEND" | index offset | blocks | rows | ops | raw bytes | header CRC | blocks CRC | keyspaces | CRC |
//! ```
//!
//! `raw bytes` are payloads of blocks before compression. Without keyspaces in spite of rows nothing is known of them.
//! `blocks CRC` is of the CRCs of all blocks, the index's last. So the footer's own CRC depends on every byte of the file.

use crate::codec::{Cursor, Malformed};

use super::header::{FileHeader, Kind};
use crate::keyspace::op::SpaceId;

const MAGIC: [u8; 8] = *b"DURASEND";
pub const FOOTER_LEN: usize = 64;
const ENTRY_LEN: usize = 18;
const SPACE_LEN: usize = 20;
/// Length of an encoded [`FileInfo`].
const INFO_LEN: usize = 8 + 1 + 2 + 2 + 8 * 7 + 4;

/// Where a block begins, and the place in the order of the first row of which it holds ops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry {
    pub offset: u64,
    pub slot: u16,
    pub hash: u64,
}

impl IndexEntry {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.slot.to_le_bytes());
        out.extend_from_slice(&self.hash.to_le_bytes());
    }

    /// All entries, in order of their offsets and of (slot, hash).
    pub(super) fn decode_all(bytes: &[u8]) -> Result<Vec<Self>, Malformed> {
        if !bytes.len().is_multiple_of(ENTRY_LEN) {
            return Err(Malformed("an index that is not whole"));
        }
        let mut entries: Vec<Self> = Vec::with_capacity(bytes.len() / ENTRY_LEN);
        let mut cursor = Cursor::new(bytes);
        while !cursor.is_empty() {
            let entry = Self { offset: cursor.u64()?, slot: cursor.u16()?, hash: cursor.u64()? };
            if entries.last().is_some_and(|last| last.offset >= entry.offset || last.place() > entry.place())
            {
                return Err(Malformed("an index out of order"));
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    pub(super) const fn place(&self) -> (u16, u64) {
        (self.slot, self.hash)
    }
}

/// What a file has of a keyspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceUse {
    pub space: SpaceId,
    pub rows: u64,
    /// Of its rows in the blocks, before compression.
    pub raw_bytes: u64,
}

impl SpaceUse {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.space.to_le_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&self.raw_bytes.to_le_bytes());
    }

    /// All of a file, which together are what its footer says.
    pub(super) fn decode_all(bytes: &[u8], footer: &Footer) -> Result<Vec<Self>, Malformed> {
        let mut uses: Vec<Self> = Vec::with_capacity(bytes.len() / SPACE_LEN);
        let (mut rows, mut raw_bytes) = (0u64, 0u64);
        let mut cursor = Cursor::new(bytes);
        while !cursor.is_empty() {
            let each = Self { space: cursor.u32()?, rows: cursor.u64()?, raw_bytes: cursor.u64()? };
            if uses.last().is_some_and(|last| last.space >= each.space) {
                return Err(Malformed("keyspaces out of order"));
            }
            rows = rows.saturating_add(each.rows);
            raw_bytes = raw_bytes.saturating_add(each.raw_bytes);
            uses.push(each);
        }
        if !uses.is_empty() && (rows, raw_bytes) != (footer.rows, footer.raw_bytes) {
            return Err(Malformed("the keyspaces do not make up the file"));
        }
        Ok(uses)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub index_offset: u64,
    pub blocks: u64,
    pub rows: u64,
    pub ops: u64,
    pub raw_bytes: u64,
    pub header_crc: u32,
    pub blocks_crc: u32,
    /// How many keyspaces the index tells of.
    pub spaces: u32,
}

impl Footer {
    pub(super) fn encode(&self) -> ([u8; FOOTER_LEN], u32) {
        let mut out = [0; FOOTER_LEN];
        out[..8].copy_from_slice(&MAGIC);
        let numbers = [self.index_offset, self.blocks, self.rows, self.ops, self.raw_bytes];
        for (i, number) in numbers.iter().enumerate() {
            out[8 + 8 * i..16 + 8 * i].copy_from_slice(&number.to_le_bytes());
        }
        out[48..52].copy_from_slice(&self.header_crc.to_le_bytes());
        out[52..56].copy_from_slice(&self.blocks_crc.to_le_bytes());
        out[56..60].copy_from_slice(&self.spaces.to_le_bytes());
        let crc = crc32fast::hash(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        (out, crc)
    }

    /// The footer and its checksum.
    pub(super) fn decode(bytes: &[u8; FOOTER_LEN]) -> Result<(Self, u32), Malformed> {
        let mut cursor = Cursor::new(bytes);
        if cursor.array()? != MAGIC {
            return Err(Malformed("no snapshot footer: the file is not whole"));
        }
        let footer = Self {
            index_offset: cursor.u64()?,
            blocks: cursor.u64()?,
            rows: cursor.u64()?,
            ops: cursor.u64()?,
            raw_bytes: cursor.u64()?,
            header_crc: cursor.u32()?,
            blocks_crc: cursor.u32()?,
            spaces: cursor.u32()?,
        };
        let crc = cursor.u32()?;
        if crc != crc32fast::hash(&bytes[..60]) {
            return Err(Malformed("the footer's checksum is wrong"));
        }
        if footer.blocks.max(footer.rows) > footer.ops || u64::from(footer.spaces) > footer.rows {
            return Err(Malformed("the footer cannot be what was written"));
        }
        Ok((footer, crc))
    }

    /// Of the part of the index that is about blocks, and of all of it.
    pub(super) fn index_raw_len(&self) -> Option<(u64, u64)> {
        let blocks = self.blocks.checked_mul(ENTRY_LEN as u64)?;
        Some((blocks, blocks.checked_add(u64::from(self.spaces) * SPACE_LEN as u64)?))
    }

    pub(super) const fn info(&self, header: &FileHeader, bytes: u64, crc: u32) -> FileInfo {
        FileInfo {
            sequence: header.sequence,
            kind: header.kind,
            first_slot: header.first_slot,
            last_slot: header.last_slot,
            from_lsn: header.from_lsn,
            through_lsn: header.through_lsn,
            created_us: header.created_us,
            bytes,
            rows: self.rows,
            ops: self.ops,
            raw_bytes: self.raw_bytes,
            crc,
        }
    }
}

/// What a manifest keeps about a file: enough to tell it from every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileInfo {
    pub sequence: u64,
    pub kind: Kind,
    pub first_slot: u16,
    pub last_slot: u16,
    pub from_lsn: u64,
    pub through_lsn: u64,
    pub created_us: u64,
    /// Length of the file.
    pub bytes: u64,
    pub rows: u64,
    pub ops: u64,
    /// Payloads of the blocks, before compression.
    pub raw_bytes: u64,
    /// The footer's; it depends on every byte of the file.
    pub crc: u32,
}

impl FileInfo {
    /// Appends 73 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.push(self.kind.code());
        out.extend_from_slice(&self.first_slot.to_le_bytes());
        out.extend_from_slice(&self.last_slot.to_le_bytes());
        let times = [self.from_lsn, self.through_lsn, self.created_us];
        for number in times.into_iter().chain([self.bytes, self.rows, self.ops, self.raw_bytes]) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.crc.to_le_bytes());
    }

    /// Takes what [`FileInfo::encode`] wrote from the front of `cursor`.
    pub fn decode(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let mut own = Cursor::new(cursor.take(INFO_LEN)?);
        let info = Self {
            sequence: own.u64()?,
            kind: Kind::of(own.u8()?)?,
            first_slot: own.u16()?,
            last_slot: own.u16()?,
            from_lsn: own.u64()?,
            through_lsn: own.u64()?,
            created_us: own.u64()?,
            bytes: own.u64()?,
            rows: own.u64()?,
            ops: own.u64()?,
            raw_bytes: own.u64()?,
            crc: own.u32()?,
        };
        info.header([0; 16]).check()?;
        if info.bytes.max(info.raw_bytes).max(info.ops).max(info.rows) > i64::MAX as u64 {
            return Err(Malformed("a snapshot file of that size"));
        }
        Ok(info)
    }

    /// The header that the file must have.
    pub(super) const fn header(&self, store_id: [u8; 16]) -> FileHeader {
        FileHeader {
            kind: self.kind,
            store_id,
            sequence: self.sequence,
            first_slot: self.first_slot,
            last_slot: self.last_slot,
            from_lsn: self.from_lsn,
            through_lsn: self.through_lsn,
            created_us: self.created_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn footer() -> Footer {
        Footer {
            index_offset: 1,
            blocks: 2,
            rows: 3,
            ops: 4,
            raw_bytes: 5,
            header_crc: 6,
            blocks_crc: 7,
            spaces: 2,
        }
    }

    #[test]
    fn footers_read_back_and_flips_are_noticed() {
        let (bytes, crc) = footer().encode();
        assert_eq!(Footer::decode(&bytes), Ok((footer(), crc)));
        for at in 0..FOOTER_LEN {
            let mut bad = bytes;
            bad[at] ^= 0x10;
            assert!(Footer::decode(&bad).is_err(), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn infos_read_back(sequence in 0..1u64 << 60, slots in (0..100u16, 100..16384u16), rest in prop::array::uniform6(0..1u64 << 50)) {
            let [from_lsn, through_lsn, bytes, rows, ops, raw_bytes] = rest;
            let info = FileInfo {
                sequence, kind: Kind::Base, first_slot: slots.0, last_slot: slots.1, from_lsn,
                through_lsn: from_lsn + through_lsn, created_us: u64::MAX, bytes, rows, ops, raw_bytes, crc: 9,
            };
            let mut out = Vec::new();
            info.encode(&mut out);
            prop_assert_eq!(out.len(), INFO_LEN);
            out.push(1);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(FileInfo::decode(&mut cursor), Ok(info));
            prop_assert_eq!(cursor.rest(), [1]);
            prop_assert!(FileInfo::decode(&mut Cursor::new(&out[..INFO_LEN - 1])).is_err());
        }

        #[test]
        fn any_bytes_are_an_info_or_malformed(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = FileInfo::decode(&mut Cursor::new(&bytes));
            let _ = IndexEntry::decode_all(&bytes);
        }
    }
}
