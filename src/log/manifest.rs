//! The manifest: which segments there are, in which order, and where each ends. Two copies, `MANIFEST-a` and `MANIFEST-b`.
//!
//! ```text
//!  0            8         10     16           24         40     48     56               64        68         72         76
//!  | "DURAMANI" | version | zero | generation | store id | seed | term | synced through | terms n | segments | sections | ...
//!  n x { term | first LSN }
//!  n x { sequence | salt (16) | term | size | state (1) | first LSN | end offset | end LSN }
//!  n x { tag (4) | length (4) | bytes }        opaque: lists that upper floors keep here
//!  | CRC (4) of everything before |
//! ```
//!
//! State bits: 1 begun (first LSN holds), 2 ended (end holds), 4 rewriting (not part of the log yet).
//!
//! A copy is replaced by writing a temporary file, syncing it, renaming it over the copy and syncing the folder; first A,
//! then B. At every moment at least one copy is whole, and the valid one of the highest generation counts. What a manifest
//! lists may be used only when both copies say so.

use std::io;

use crate::codec::{Cursor, Malformed};
use crate::disk::numbered::NUMBER_MAX;
use crate::disk::{Disk, Open};
use crate::error::StoreError;
use crate::mutation::{Safeguard, is_off, unless_off};

use super::{Lsn, Salt, Seed, StoreId};

pub const COPIES: [&str; 2] = ["MANIFEST-a", "MANIFEST-b"];
const MAGIC: [u8; 8] = *b"DURAMANI";
pub const VERSION: u16 = 1;
/// Stands in the place of the first copy while a backup is made, so that nothing starts on half of one.
pub const UNFINISHED: &[u8] = b"This backup was not finished.\n";
const SEGMENT_LEN: usize = 8 + 16 + 8 + 8 + 1 + 8 + 8 + 8;
/// A manifest is a few hundred bytes per segment; a larger file is not one.
const LEN_MAX: u64 = 256 << 20;

/// From `first_lsn` on, the stream was written by `term`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermStart {
    pub term: u64,
    pub first_lsn: Lsn,
}

/// Where a segment ends: the offset behind its last frame, and the LSN there. Everything before was synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentEnd {
    pub offset: u64,
    pub lsn: Lsn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentEntry {
    pub sequence: u64,
    pub salt: Salt,
    pub term: u64,
    pub size: u64,
    /// Known once a manifest was written after the segment was begun.
    pub first_lsn: Option<Lsn>,
    pub end: Option<SegmentEnd>,
    /// A recovery copies frames into it; until that is done it is not part of the log and holds nothing of its own.
    pub rewriting: bool,
}

/// An upper floor's list, opaque here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub tag: u32,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub generation: u64,
    pub store_id: StoreId,
    /// Drawn when the store was made, and never again: what upper floors keep on disk is ordered by hashes that it keys.
    pub seed: Seed,
    pub term: u64,
    /// A position that was known to be synced when this manifest was written.
    pub synced_through: Lsn,
    pub terms: Vec<TermStart>,
    /// In the order of the stream.
    pub segments: Vec<SegmentEntry>,
    pub sections: Vec<Section>,
}

impl Manifest {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.seed.0.to_le_bytes());
        out.extend_from_slice(&self.term.to_le_bytes());
        out.extend_from_slice(&self.synced_through.to_le_bytes());
        for len in [self.terms.len(), self.segments.len(), self.sections.len()] {
            out.extend_from_slice(&(len as u32).to_le_bytes());
        }
        for start in &self.terms {
            out.extend_from_slice(&start.term.to_le_bytes());
            out.extend_from_slice(&start.first_lsn.to_le_bytes());
        }
        for segment in &self.segments {
            segment.encode(&mut out);
        }
        for section in &self.sections {
            out.extend_from_slice(&section.tag.to_le_bytes());
            out.extend_from_slice(&(section.bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(&section.bytes);
        }
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes == UNFINISHED {
            return Err(Malformed("this is a backup that was not finished; make another one"));
        }
        let body_len = bytes.len().checked_sub(4).ok_or(Malformed("ends too early"))?;
        let (body, crc) = bytes.split_at(body_len);
        if crc != crc32fast::hash(body).to_le_bytes() {
            return Err(Malformed("the checksum is wrong"));
        }
        let mut cursor = Cursor::new(body);
        if cursor.array()? != MAGIC {
            return Err(Malformed("not a manifest"));
        }
        if cursor.u16()? != VERSION {
            return Err(Malformed("a format version that this program does not know"));
        }
        cursor.take(6)?;
        let (generation, store_id, seed) = (cursor.u64()?, cursor.array()?, Seed(cursor.u64()?));
        let (term, synced_through) = (cursor.u64()?, cursor.u64()?);
        let (terms, segments, sections) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        // Each loop ends at the first entry that the bytes don't hold: nothing is allocated on a count's word alone.
        let mut manifest = Self {
            generation,
            store_id,
            seed,
            term,
            synced_through,
            terms: vec![],
            segments: vec![],
            sections: vec![],
        };
        for _ in 0..terms {
            manifest.terms.push(TermStart { term: cursor.u64()?, first_lsn: cursor.u64()? });
        }
        for _ in 0..segments {
            let segment = SegmentEntry::decode(cursor.take(SEGMENT_LEN)?)?;
            if manifest.segments.last().is_some_and(|last| last.sequence >= segment.sequence) {
                return Err(Malformed("segments out of order"));
            }
            manifest.segments.push(segment);
        }
        for _ in 0..sections {
            let (tag, len) = (cursor.u32()?, cursor.u32()? as usize);
            manifest.sections.push(Section { tag, bytes: cursor.take(len)?.to_vec() });
        }
        cursor.finish()?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Refuses numbers that no store can have reached: nothing that counts on from them can overflow.
    fn check(&self) -> Result<(), Malformed> {
        let segments = || self.segments.iter();
        let ends = segments().filter_map(|s| s.end).flat_map(|end| [end.offset, end.lsn]);
        let counters = segments().flat_map(|s| [s.sequence, s.term, s.size, s.first_lsn.unwrap_or(0)]);
        let own = [self.generation, self.term, self.synced_through];
        if own.into_iter().chain(counters).chain(ends).any(|number| number > NUMBER_MAX) {
            return Err(Malformed("a number that no store can have reached"));
        }
        if segments().any(|s| s.end.map_or(s.size, |end| end.offset.min(s.size)) < super::segment::HEADER_LEN)
        {
            return Err(Malformed("a segment that ends within its own header"));
        }
        Ok(())
    }

    /// A term that wrote nothing leaves no trace in the history.
    pub fn begin_term(&mut self, first_lsn: Lsn) {
        self.term += 1;
        self.terms.retain(|start| start.first_lsn < first_lsn);
        self.terms.push(TermStart { term: self.term, first_lsn });
    }

    pub fn set_section(&mut self, tag: u32, bytes: Vec<u8>) {
        match self.sections.iter_mut().find(|s| s.tag == tag) {
            Some(section) => section.bytes = bytes,
            None => self.sections.push(Section { tag, bytes }),
        }
    }

    pub fn segment_mut(&mut self, sequence: u64) -> Option<&mut SegmentEntry> {
        self.segments.iter_mut().rev().find(|s| s.sequence == sequence)
    }
}

impl SegmentEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        let end = self.end.unwrap_or(SegmentEnd { offset: 0, lsn: 0 });
        let state = u8::from(self.first_lsn.is_some())
            | u8::from(self.end.is_some()) << 1
            | u8::from(self.rewriting) << 2;
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.term.to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        out.push(state);
        out.extend_from_slice(&self.first_lsn.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&end.offset.to_le_bytes());
        out.extend_from_slice(&end.lsn.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(bytes);
        let (sequence, salt, term, size) = (cursor.u64()?, cursor.array()?, cursor.u64()?, cursor.u64()?);
        let state = cursor.u8()?;
        let first_lsn = cursor.u64()?;
        let end = SegmentEnd { offset: cursor.u64()?, lsn: cursor.u64()? };
        if state > 7 {
            return Err(Malformed("unknown segment state"));
        }
        Ok(Self {
            sequence,
            salt,
            term,
            size,
            first_lsn: (state & 1 != 0).then_some(first_lsn),
            end: (state & 2 != 0).then_some(end),
            rewriting: state & 4 != 0,
        })
    }
}

/// What is found where the manifest should be.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Neither copy exists.
    Nothing,
    /// At least one copy exists and none is valid; the text says why.
    NoneValid(String),
    /// The newest valid copy; the text says what is wrong with the other, if anything.
    Valid(Box<Manifest>, Option<String>),
}

/// Reads both copies.
pub fn load(disk: &dyn Disk) -> Result<Found, StoreError> {
    let mut best: Option<Manifest> = None;
    let mut faults = Vec::new();
    let mut missing = 0;
    for copy in COPIES {
        match read(disk, copy).map_err(StoreError::io(format!("read {copy}")))? {
            None => {
                missing += 1;
                faults.push(format!("{copy} is missing"));
            }
            Some(Err(Malformed(what))) => faults.push(format!("{copy}: {what}")),
            Some(Ok(manifest)) => {
                if best.as_ref().is_some_and(|b| b.store_id != manifest.store_id) {
                    return Err(StoreError::Refused(format!(
                        "{} and {} belong to different stores; put back the one of this directory",
                        COPIES[0], COPIES[1]
                    )));
                }
                if best.as_ref().is_none_or(|b| manifest.generation > b.generation) {
                    best = Some(manifest);
                }
            }
        }
    }
    let faults = (!faults.is_empty()).then(|| faults.join("; "));
    Ok(match best {
        Some(manifest) => Found::Valid(Box::new(manifest), faults),
        None if missing == COPIES.len() => Found::Nothing,
        None => Found::NoneValid(faults.unwrap_or_default()),
    })
}

pub(super) fn read(disk: &dyn Disk, path: &str) -> io::Result<Option<Result<Manifest, Malformed>>> {
    let file = match disk.open(path, Open::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let len = file.len()?;
    if len > LEN_MAX {
        return Ok(Some(Err(Malformed("too large for a manifest"))));
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(Manifest::decode(&bytes)))
}

/// Replaces both copies. Takes the next generation whether or not it succeeds: after an error the copies may differ.
pub fn replace(disk: &dyn Disk, manifest: &mut Manifest) -> io::Result<()> {
    manifest.generation += 1;
    // What could not be read again is not written over what can.
    manifest.check().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
    let bytes = manifest.encode();
    for copy in COPIES {
        let temporary = format!("{copy}.tmp");
        match disk.remove(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = disk.open(&temporary, Open::Create)?;
        file.write_all_at(&bytes, 0)?;
        if is_off(Safeguard::ManifestOrder) {
            disk.rename(&temporary, copy)?;
            file.sync()?;
        } else {
            unless_off(Safeguard::ManifestSync, || file.sync())?;
            disk.rename(&temporary, copy)?;
        }
        unless_off(Safeguard::ManifestName, || disk.sync_dir(""))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;

    fn entry() -> impl Strategy<Value = SegmentEntry> {
        let number = || 0..=NUMBER_MAX;
        let size = || super::super::segment::HEADER_LEN..=NUMBER_MAX;
        let end = prop::option::of((size(), number()));
        (any::<[u8; 16]>(), number(), size(), prop::option::of(number()), end, any::<bool>()).prop_map(
            |(salt, term, size, first_lsn, end, rewriting)| SegmentEntry {
                sequence: 0,
                salt,
                term,
                size,
                first_lsn,
                end: end.map(|(offset, lsn)| SegmentEnd { offset, lsn }),
                rewriting,
            },
        )
    }

    fn manifest() -> impl Strategy<Value = Manifest> {
        let terms = prop::collection::vec((any::<u64>(), any::<u64>()), 0..4);
        let sections = prop::collection::vec((any::<u32>(), any::<Vec<u8>>()), 0..3);
        let own = (0..=NUMBER_MAX, any::<u64>(), 0..=NUMBER_MAX, 0..=NUMBER_MAX);
        (own, any::<[u8; 16]>(), terms, prop::collection::vec(entry(), 0..5), sections).prop_map(
            |((generation, seed, term, synced_through), store_id, terms, mut segments, sections)| {
                segments.iter_mut().zip(3..).for_each(|(s, sequence)| s.sequence = sequence);
                Manifest {
                    generation,
                    store_id,
                    seed: Seed(seed),
                    term,
                    synced_through,
                    terms: terms.into_iter().map(|(term, first_lsn)| TermStart { term, first_lsn }).collect(),
                    segments,
                    sections: sections.into_iter().map(|(tag, bytes)| Section { tag, bytes }).collect(),
                }
            },
        )
    }

    #[test]
    fn numbers_that_no_store_can_have_reached_are_refused() {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let good = manifest().new_tree(&mut runner).unwrap().current();
        let entry = entry().new_tree(&mut runner).unwrap().current();
        let spoilt: [&dyn Fn(&mut Manifest); 4] = [
            &|m| m.term = u64::MAX,
            &|m| m.generation = u64::MAX,
            &|m| m.segments = vec![SegmentEntry { sequence: u64::MAX, ..entry }],
            &|m| {
                m.segments = vec![SegmentEntry { end: Some(SegmentEnd { offset: 4095, lsn: 0 }), ..entry }];
            },
        ];
        for spoil in spoilt {
            let mut manifest = good.clone();
            spoil(&mut manifest);
            assert!(Manifest::decode(&manifest.encode()).is_err());
        }
    }

    proptest! {
        #[test]
        fn manifests_read_back(manifest in manifest()) {
            prop_assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        }

        #[test]
        fn any_bytes_decode_to_a_manifest_or_an_error(
            mut bytes in any::<Vec<u8>>(), start in manifest(), keep in 0..80usize, fix in any::<bool>(),
        ) {
            let whole = start.encode();
            let mut input = whole[..keep.min(whole.len())].to_vec();
            input.append(&mut bytes);
            if fix {
                input.extend_from_slice(&crc32fast::hash(&input).to_le_bytes());
            }
            let _ = Manifest::decode(&input);
        }
    }
}
