//! Copies frames that nothing proves to be on the medium into a new segment: the page cache may still hold what the disk
//! does not, so that a later power loss would take back what a start has shown.

use std::io;

use crate::disk::File;

use super::frame::{self, ALIGN, Flags, Header};
use super::scan::{Listed, Unproven};
use super::segment;
use super::{Lsn, Salt};

/// Bytes gathered before a write.
const BATCH_BYTES: usize = 1 << 20;

/// The new segment.
pub(super) struct Target<'a> {
    pub file: &'a dyn File,
    pub block: u32,
    pub salt: Salt,
    pub term: u64,
    /// Proven to be synced: where the first frame begins.
    pub synced_through: Lsn,
}

/// Where the copy ends, and the CRC of its last frame.
pub(super) struct Copied {
    pub offset: u64,
    pub last_crc: u32,
}

/// Writes `frames` behind the header of `target` with its salt and term. The caller syncs.
pub(super) fn copy(segments: &[Listed], frames: &[Unproven], target: &Target<'_>) -> io::Result<Copied> {
    let mut copied = Copied { offset: segment::HEADER_LEN, last_crc: 0 };
    let mut batch = Vec::new();
    let block = target.block as usize;
    for (i, unproven) in frames.iter().enumerate() {
        let source = &segments[unproven.at.index];
        let mut head = [0; frame::HEADER_LEN];
        source.file.read_exact_at(&mut head, unproven.at.offset)?;
        let header = intact(Header::decode(&head, &source.entry.salt).ok())?;
        let start = batch.len();
        batch.resize(start + header.frame_len(), 0);
        let whole_len = frame::HEADER_LEN + header.payload_len as usize + frame::TRAILER_LEN;
        let bytes = &mut batch[start..];
        source.file.read_exact_at(&mut bytes[..whole_len], unproven.at.offset)?;
        intact(frame::verify(bytes, &header))?;
        // All of the copy is one run, however many writes it takes.
        let is_padded = block > ALIGN && i + 1 == frames.len();
        let header = Header {
            flags: header.flags.difference(Flags::PADDED)
                | if is_padded { Flags::PADDED } else { Flags::empty() },
            salt: target.salt,
            term: target.term,
            synced_through: target.synced_through,
            previous_crc: copied.last_crc,
            ..header
        };
        copied.last_crc = frame::seal(bytes, &header);
        if batch.len() >= BATCH_BYTES {
            let whole = batch.len() - batch.len() % block;
            target.file.write_all_at(&batch[..whole], copied.offset)?;
            copied.offset += whole as u64;
            batch.drain(..whole);
        }
    }
    batch.resize(batch.len().next_multiple_of(block), 0);
    target.file.write_all_at(&batch, copied.offset)?;
    copied.offset += batch.len() as u64;
    Ok(copied)
}

/// It was when it was scanned, a moment ago.
fn intact<T>(read: Option<T>) -> io::Result<T> {
    read.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a frame changed while it was copied"))
}
