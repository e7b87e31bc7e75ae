//! The catalog: which files make up the snapshot, and what they don't hold. The manifest keeps it as a section.
//!
//! ```text
//! version u16 | through LSN u64 | made us u64 | next file u64 | next keyspace id u32 | databases u32 | keyspace id u32 each |
//! files u32 | file infos, oldest first
//! ```
//!
//! The slots are cut into [`RANGES`] ranges; a file is of one range. A range's files are a base, or none, and the deltas on it.

use std::ops::RangeInclusive;

use super::footer::FileInfo;
use super::header::Kind;
use crate::codec::{Cursor, Malformed};
use crate::keyspace::DATABASES_MAX;
use crate::keyspace::hash::SLOTS;
use crate::keyspace::op::{LIBRARIES, SpaceId, SpaceOp};
use crate::log::Lsn;

/// Tag of the manifest's section.
pub const TAG: u32 = 1;
const VERSION: u16 = 1;
/// Parts of the slots that are merged, and loaded, on their own.
pub const RANGES: u16 = 16;
const SLOTS_PER_RANGE: u16 = SLOTS as u16 / RANGES;

/// The slots of a range.
pub const fn slots_of(range: u16) -> RangeInclusive<u16> {
    range * SLOTS_PER_RANGE..=range * SLOTS_PER_RANGE + (SLOTS_PER_RANGE - 1)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// Everything before this position is in the files. The end of a record.
    pub through: Lsn,
    pub made_us: u64,
    /// Sequence of the next file.
    pub next_file: u64,
    /// The keyspace of each database, as of `through`.
    pub spaces: Vec<SpaceId>,
    pub next_space: SpaceId,
    /// Oldest first.
    pub files: Vec<FileInfo>,
}

impl Catalog {
    /// Of a store that was never snapshotted.
    pub fn empty() -> Self {
        Self {
            through: 0,
            made_us: 0,
            next_file: 1,
            spaces: (0..DATABASES_MAX).collect(),
            next_space: DATABASES_MAX,
            files: Vec::new(),
        }
    }

    pub fn files_of(&self, range: u16) -> impl Iterator<Item = &FileInfo> {
        let first_slot = *slots_of(range).start();
        self.files.iter().filter(move |file| file.first_slot == first_slot)
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    pub fn is_live(&self, space: SpaceId) -> bool {
        space == LIBRARIES || self.spaces.contains(&space)
    }

    /// An op on whole databases, as the keyspace carries it out.
    pub fn apply(&mut self, op: &SpaceOp) -> Result<(), Malformed> {
        const NO_DATABASE: Malformed = Malformed("an op on a database that cannot be");
        match *op {
            SpaceOp::Flush { db, space } => {
                *self.spaces.get_mut(db as usize).ok_or(NO_DATABASE)? = space;
                self.next_space = self.next_space.max(space.saturating_add(1));
            }
            SpaceOp::Swap { a, b } => {
                let (a, b) = (a as usize, b as usize);
                if a.max(b) >= self.spaces.len() {
                    return Err(NO_DATABASE);
                }
                self.spaces.swap(a, b);
            }
        }
        Ok(())
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&VERSION.to_le_bytes());
        for number in [self.through, self.made_us, self.next_file] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.next_space.to_le_bytes());
        out.extend_from_slice(&(self.spaces.len() as u32).to_le_bytes());
        for space in &self.spaces {
            out.extend_from_slice(&space.to_le_bytes());
        }
        out.extend_from_slice(&(self.files.len() as u32).to_le_bytes());
        self.files.iter().for_each(|file| file.encode(&mut out));
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        if cursor.u16()? != VERSION {
            return Err(Malformed("a version of the catalog that this program does not know"));
        }
        let (through, made_us, next_file) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
        let (next_space, databases) = (cursor.u32()?, cursor.u32()?);
        if databases != DATABASES_MAX {
            return Err(Malformed("another number of databases"));
        }
        let spaces = (0..databases).map(|_| cursor.u32()).collect::<Result<Vec<_>, _>>()?;
        let count = cursor.u32()?;
        let mut files: Vec<FileInfo> = Vec::new();
        for _ in 0..count {
            let file = FileInfo::decode(&mut cursor)?;
            let slots = file.first_slot..=file.last_slot;
            if file.first_slot % SLOTS_PER_RANGE != 0 || slots != slots_of(file.first_slot / SLOTS_PER_RANGE)
            {
                return Err(Malformed("a snapshot file of slots that are no range"));
            }
            if file.through_lsn > through || file.sequence >= next_file {
                return Err(Malformed("a snapshot file that is newer than the snapshot"));
            }
            let mut older = files.iter().filter(|older| older.first_slot == file.first_slot);
            if file.kind == Kind::Base && older.next().is_some() {
                return Err(Malformed("a base on top of other files"));
            }
            if files.last().is_some_and(|last| last.sequence >= file.sequence) {
                return Err(Malformed("snapshot files out of order"));
            }
            files.push(file);
        }
        cursor.finish()?;
        Ok(Self { through, made_us, next_file, spaces, next_space, files })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_reads_back_and_any_other_bytes_are_refused_or_another() {
        let mut catalog = Catalog::empty();
        catalog.apply(&SpaceOp::Flush { db: 3, space: 2000 }).unwrap();
        catalog.apply(&SpaceOp::Swap { a: 3, b: 0 }).unwrap();
        assert_eq!((catalog.spaces[0], catalog.spaces[3], catalog.next_space), (2000, 0, 2001));
        assert!(catalog.apply(&SpaceOp::Swap { a: 0, b: DATABASES_MAX }).is_err());
        assert_eq!([0, 3, 2000, LIBRARIES].map(|space| catalog.is_live(space)), [true, false, true, true]);
        catalog.through = 77;
        catalog.next_file = 9;
        catalog.files.push(FileInfo {
            sequence: 8,
            kind: Kind::Base,
            first_slot: SLOTS_PER_RANGE,
            last_slot: 2 * SLOTS_PER_RANGE - 1,
            from_lsn: 0,
            through_lsn: 77,
            created_us: 5,
            bytes: 6,
            rows: 7,
            ops: 8,
            raw_bytes: 9,
            crc: 10,
        });
        let bytes = catalog.encode();
        assert_eq!(Catalog::decode(&bytes), Ok(catalog.clone()));
        for len in 0..bytes.len() {
            assert!(Catalog::decode(&bytes[..len]).is_err());
        }
        assert_eq!((catalog.files_of(1).count(), catalog.files_of(0).count()), (1, 0));
    }
}
