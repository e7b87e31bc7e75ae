//! A segment file, `log/<sequence>.log`: a header block, then frames, then zeros up to its size.
//!
//! ```text
//!  0            8         10     12     16         32         40     48     64     72           80    84        4096
//!  | "DURASEGM" | version | zero | zero | store id | sequence | term | salt | size | created us | CRC | zeros ... | frames ...
//! ```
//!
//! The first LSN is not here: a segment is made before it is known. Its first frame has it (and the manifest, later).
//!
//! A segment is complete (zero-filled to its size, file and folder synced) before the manifest lists it, is written by one
//! process from front to back, and never again after that process ended.

use std::io;
use std::sync::Arc;

use crate::codec::{Cursor, Malformed};
use crate::disk::{Disk, File, Open};

use super::{Salt, StoreId};

pub const FOLDER: &str = "log";
const MAGIC: [u8; 8] = *b"DURASEGM";
pub const VERSION: u16 = 1;
/// Bytes before the first frame.
pub const HEADER_LEN: u64 = 4096;
const CRC_AT: usize = 80;
/// Zeros are written in steps of this size, so that preparation can be slowed down between them.
const FILL_STEP_BYTES: usize = 1 << 20;
/// A sync after so many zeros keeps the kernel from gathering a burst that would delay the log's own syncs.
const FILL_SYNC_BYTES: u64 = 8 << 20;

/// What the header block says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    pub store_id: StoreId,
    pub sequence: u64,
    pub term: u64,
    pub salt: Salt,
    /// Length of the file.
    pub size: u64,
    pub created_us: u64,
}

/// `log/00000001.log`
pub fn path(sequence: u64) -> String {
    format!("{FOLDER}/{sequence:08}.log")
}

/// The sequence in a file name, if it is a segment's.
pub fn sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    let plain = digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN as usize);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.term.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.created_us.to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out.resize(HEADER_LEN as usize, 0);
        out
    }

    /// The text says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let cut_short = |_: Malformed| "the segment header is cut short".to_owned();
        let mut cursor = Cursor::new(bytes);
        if cursor.array::<8>().map_err(cut_short)? != MAGIC {
            return Err("no segment header".to_owned());
        }
        let crc = crc32fast::hash(bytes.get(..CRC_AT).unwrap_or_default());
        if bytes.get(CRC_AT..CRC_AT + 4) != Some(&crc.to_le_bytes()) {
            return Err("the segment header's checksum is wrong".to_owned());
        }
        let mut decode = || {
            let version = cursor.u16()?;
            cursor.take(6)?;
            let header = Self {
                store_id: cursor.array()?,
                sequence: cursor.u64()?,
                term: cursor.u64()?,
                salt: cursor.array()?,
                size: cursor.u64()?,
                created_us: cursor.u64()?,
            };
            Ok((version, header))
        };
        let (version, header) = decode().map_err(cut_short)?;
        if version != VERSION {
            return Err(format!("segment format version {version}; this program reads {VERSION}"));
        }
        Ok(header)
    }
}

/// Makes the file: header, zeros, both on the medium, name included. `between` is called between steps with the bytes
/// written, to slow down; when it says false the work stops with [`io::ErrorKind::Interrupted`].
///
/// On an error a part of the file may be left.
pub fn create(
    disk: &dyn Disk,
    header: &SegmentHeader,
    between: &mut dyn FnMut() -> bool,
) -> io::Result<Arc<dyn File>> {
    let path = path(header.sequence);
    let file = disk.open(&path, Open::Create)?;
    file.write_all_at(&header.encode(), 0)?;
    let zeros = vec![0; FILL_STEP_BYTES.min(header.size as usize)];
    let (mut offset, mut synced) = (HEADER_LEN, 0);
    while offset < header.size {
        let step = zeros.len().min((header.size - offset) as usize);
        file.write_all_at(&zeros[..step], offset)?;
        offset += step as u64;
        if offset - synced >= FILL_SYNC_BYTES {
            file.sync()?;
            synced = offset;
        }
        if !between() {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    file.sync()?;
    disk.sync_dir(FOLDER)?;
    drop(file);
    disk.open(&path, Open::Log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> SegmentHeader {
        SegmentHeader { store_id: [1; 16], sequence: 2, term: 3, salt: [4; 16], size: 1 << 20, created_us: 5 }
    }

    #[test]
    fn headers_read_back_and_flips_are_noticed() {
        let bytes = header().encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        for at in 0..CRC_AT + 4 {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert!(SegmentHeader::decode(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn names_are_told_from_others() {
        assert_eq!(sequence_of("00000012.log"), Some(12));
        assert_eq!(sequence_of("123456789.log"), Some(123_456_789));
        for other in
            ["12.log", "0000001a.log", "00000001.log.tmp", "+0000001.log", "99999999999999999999999.log"]
        {
            assert_eq!(sequence_of(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_to_a_header_or_an_error(bytes in any::<Vec<u8>>()) {
            let _ = SegmentHeader::decode(&bytes);
        }
    }
}
