//! The first block of a snapshot file, `snapshot/<sequence>.snap`: what it covers.
//!
//! ```text
//!  0            8         10     11     12           14          16         32         40         48            56           64    68      4096
//!  | "DURASNAP" | version | kind | zero | first slot | last slot | store id | sequence | from LSN | through LSN | created us | CRC | zeros | blocks
//! ```
//!
//! A file is written once, from front to back, and synced with its folder before a manifest lists it. It never changes after
//! that.

use crate::codec::{Cursor, Malformed};
use crate::disk::numbered::{self, NUMBER_MAX};
use crate::error::{Corruption, StoreError};
use crate::keyspace::hash::SLOTS;
use crate::log::{Lsn, StoreId};

pub const FOLDER: &str = "snapshot";
const SUFFIX: &str = ".snap";
const MAGIC: [u8; 8] = *b"DURASNAP";
pub const VERSION: u16 = 1;
/// Bytes before the first block.
pub const HEADER_LEN: usize = 4096;
const CRC_AT: usize = 64;

/// What a row of the file says about its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its ops make the key from nothing.
    Base,
    /// Its ops go on from what older files say.
    Delta,
}

impl Kind {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Base => 0,
            Self::Delta => 1,
        }
    }

    pub(super) const fn of(code: u8) -> Result<Self, Malformed> {
        match code {
            0 => Ok(Self::Base),
            1 => Ok(Self::Delta),
            _ => Err(Malformed("an unknown kind of snapshot file")),
        }
    }
}

/// What the header block says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHeader {
    pub kind: Kind,
    pub store_id: StoreId,
    pub sequence: u64,
    /// Rows are of keys in these slots, both included.
    pub first_slot: u16,
    pub last_slot: u16,
    /// The rows hold what the stream says between these positions; of a base, `from_lsn` says nothing.
    pub from_lsn: Lsn,
    pub through_lsn: Lsn,
    pub created_us: u64,
}

/// `snapshot/00000001.snap`
pub fn path(sequence: u64) -> String {
    numbered::path(FOLDER, sequence, SUFFIX)
}

/// The sequence in a file name, if it is a snapshot file's.
pub fn sequence_of(name: &str) -> Option<u64> {
    numbered::number_of(name, SUFFIX)
}

/// Damage in a snapshot file.
pub(super) fn damaged(sequence: u64, offset: u64, reason: impl Into<String>) -> StoreError {
    Corruption { file: path(sequence), offset, reason: reason.into() }.into()
}

impl FileHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[self.kind.code(), 0]);
        out.extend_from_slice(&self.first_slot.to_le_bytes());
        out.extend_from_slice(&self.last_slot.to_le_bytes());
        out.extend_from_slice(&self.store_id);
        for number in [self.sequence, self.from_lsn, self.through_lsn, self.created_us] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out.resize(HEADER_LEN, 0);
        out
    }

    /// The header and its checksum. The text says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<(Self, u32), String> {
        let bytes = bytes.get(..HEADER_LEN).ok_or("the header is cut short")?;
        if bytes[..8] != MAGIC {
            return Err("no snapshot header".to_owned());
        }
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        if bytes[CRC_AT..CRC_AT + 4] != crc.to_le_bytes() {
            return Err("the header's checksum is wrong".to_owned());
        }
        if bytes[CRC_AT + 4..].iter().any(|&byte| byte != 0) {
            return Err("the header does not end in zeros".to_owned());
        }
        let mut cursor = Cursor::new(&bytes[8..CRC_AT]);
        let decoded = cursor.u16().and_then(|version| match version {
            VERSION => Self::decode_fields(&mut cursor).map(Ok),
            other => Ok(Err(other)),
        });
        match decoded.map_err(|Malformed(why)| why.to_owned())? {
            Ok(header) => Ok((header, crc)),
            Err(version) => Err(format!("snapshot format version {version}; this program reads {VERSION}")),
        }
    }

    fn decode_fields(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let kind = Kind::of(cursor.u8()?)?;
        cursor.take(1)?;
        let (first_slot, last_slot) = (cursor.u16()?, cursor.u16()?);
        let header = Self {
            kind,
            first_slot,
            last_slot,
            store_id: cursor.array()?,
            sequence: cursor.u64()?,
            from_lsn: cursor.u64()?,
            through_lsn: cursor.u64()?,
            created_us: cursor.u64()?,
        };
        header.check()?;
        Ok(header)
    }

    /// Refuses what no writer can have meant.
    pub(super) fn check(&self) -> Result<(), Malformed> {
        if self.first_slot > self.last_slot || usize::from(self.last_slot) >= SLOTS {
            return Err(Malformed("not a range of slots"));
        }
        if self.from_lsn > self.through_lsn {
            return Err(Malformed("not a range of LSNs"));
        }
        if self.sequence.max(self.through_lsn) > NUMBER_MAX {
            return Err(Malformed("a number that no store can have reached"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> FileHeader {
        FileHeader {
            kind: Kind::Delta,
            store_id: [1; 16],
            sequence: 2,
            first_slot: 3,
            last_slot: 16383,
            from_lsn: 4,
            through_lsn: 5,
            created_us: 6,
        }
    }

    #[test]
    fn headers_read_back_and_flips_are_noticed() {
        let bytes = header().encode();
        assert_eq!(FileHeader::decode(&bytes).unwrap().0, header());
        for at in 0..HEADER_LEN {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert!(FileHeader::decode(&bad).is_err(), "byte {at}");
        }
        for bad in [
            FileHeader { last_slot: 16384, ..header() },
            FileHeader { first_slot: 5, last_slot: 4, ..header() },
            FileHeader { from_lsn: 6, ..header() },
            FileHeader { sequence: u64::MAX, ..header() },
        ] {
            assert!(FileHeader::decode(&bad.encode()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_told_from_others() {
        assert_eq!(sequence_of(path(12).strip_prefix("snapshot/").unwrap()), Some(12));
        assert_eq!(sequence_of("123456789.snap"), Some(123_456_789));
        for other in
            ["12.snap", "0000001a.snap", "00000001.log", "+0000001.snap", "99999999999999999999.snap"]
        {
            assert_eq!(sequence_of(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_to_a_header_or_an_error(bytes in any::<Vec<u8>>()) {
            let _ = FileHeader::decode(&bytes);
        }
    }
}
