//! A segment file, `log/<sequence>.log`: a header block, then frames, then zeros up to its size.
//!
//! ```text
//!  0            8         10     12      16         32         40     48     64     72           80    84        4096
//!  | "DURASEGM" | version | zero | block | store id | sequence | term | salt | size | created us | CRC | zeros ... | frames ...
//! ```
//!
//! The first LSN is not here: a segment is made before it is known. Its first frame has it (and the manifest, later).
//!
//! A segment is complete (its room filled with zeros or reserved, file and folder synced) before the manifest lists it, is written by one
//! process from front to back, and never again after that process ended.

use std::io;
use std::sync::Arc;

use crate::codec::{Cursor, Malformed};
use crate::disk::{Aligned, Disk, File, LogMode, Open, numbered};
use crate::mutation::{Safeguard, unless_off};

use super::frame::ALIGN;
use super::{Salt, StoreId};

pub const FOLDER: &str = "log";
const SUFFIX: &str = ".log";
const MAGIC: [u8; 8] = *b"DURASEGM";
pub const VERSION: u16 = 1;
/// Bytes before the first frame.
pub const HEADER_LEN: u64 = 4096;
const CRC_AT: usize = 80;
/// Zeros are written in steps of this size, so that preparation can be slowed down between them.
const FILL_STEP_BYTES: usize = 1 << 20;
/// Largest unit of writes.
pub const BLOCK_MAX: u32 = 4096;
/// A sync after so many zeros in the page cache keeps the kernel from gathering a burst that would delay the log's own syncs.
const FILL_SYNC_BYTES: u64 = 8 << 20;

/// What the header block says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Each write is of whole blocks of so many bytes: 8 through the page cache, what the device asks for past it.
    pub block: u32,
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
    numbered::path(FOLDER, sequence, SUFFIX)
}

/// The sequence in a file name, if it is a segment's.
pub fn sequence_of(name: &str) -> Option<u64> {
    numbered::number_of(name, SUFFIX)
}

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN as usize);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.block.to_le_bytes());
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
            cursor.take(2)?;
            let header = Self {
                block: cursor.u32()?,
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
        let block = header.block;
        if !block.is_power_of_two() || !(ALIGN as u32..=BLOCK_MAX).contains(&block) {
            return Err(format!("blocks of {block} bytes are none that a segment has"));
        }
        Ok(header)
    }

    /// Written past the page cache.
    pub const fn is_direct(&self) -> bool {
        self.block > ALIGN as u32
    }
}

/// Makes the file: header and room, both on the medium, name included. Returns the header with the block that came of `mode`.
/// `between` is called between steps of zeros, to slow down; when it says false the work stops with
/// [`io::ErrorKind::Interrupted`].
///
/// Where the file system cannot do what `mode` asks for, the file is filled with zeros and written through the page cache.
/// On an error a part of the file may be left.
pub fn create(
    disk: &dyn Disk,
    mut header: SegmentHeader,
    mode: LogMode,
    between: &mut dyn FnMut() -> bool,
) -> io::Result<(Arc<dyn File>, SegmentHeader)> {
    let path = path(header.sequence);
    let plain = disk.open(&path, Open::Create)?;
    let direct = if mode == LogMode::Direct { supported(disk.open(&path, Open::Direct))? } else { None };
    let file = direct.as_ref().unwrap_or(&plain);
    header.block = if direct.is_some() { file.block() } else { ALIGN as u32 };
    // First of all, so that a full disk shows before anything is written.
    let is_reserved = supported(file.allocate(header.size))?.is_some();
    file.write_all_at(&header.encode(), 0)?;
    if mode != LogMode::Reserved || !is_reserved {
        fill(&**file, &header, between)?;
    }
    unless_off(Safeguard::SegmentSync, || file.sync())?;
    unless_off(Safeguard::SegmentName, || disk.sync_dir(FOLDER))?;
    match direct {
        Some(file) => Ok((file, header)),
        None => Ok((disk.open(&path, Open::Log)?, header)),
    }
}

/// None where the system has no such thing.
fn supported<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(None),
        result => result.map(Some),
    }
}

fn fill(file: &dyn File, header: &SegmentHeader, between: &mut dyn FnMut() -> bool) -> io::Result<()> {
    let step_bytes = FILL_STEP_BYTES.min(header.size as usize);
    let mut zeros = Aligned::zeros(step_bytes);
    let zeros = zeros.get(step_bytes);
    let (mut offset, mut synced) = (HEADER_LEN, 0);
    while offset < header.size {
        let step = zeros.len().min((header.size - offset) as usize);
        file.write_all_at(&zeros[..step], offset)?;
        offset += step as u64;
        if !header.is_direct() && offset - synced >= FILL_SYNC_BYTES {
            file.sync()?;
            synced = offset;
        }
        if !between() {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            block: 512,
            store_id: [1; 16],
            sequence: 2,
            term: 3,
            salt: [4; 16],
            size: 1 << 20,
            created_us: 5,
        }
    }

    #[test]
    fn headers_read_back_and_flips_are_noticed() {
        let bytes = header().encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        for block in [0, 4, 24, 8192] {
            assert!(SegmentHeader::decode(&SegmentHeader { block, ..header() }.encode()).is_err(), "{block}");
        }
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
