//! A frame: what one write hands to the disk, verifiable on its own.
//!
//! ```text
//!  0        4        6          8       10      12             16        32     40          48        56
//!  | "DuFr" | version | features | flags | zero  | record count | salt    | term | first LSN | wall us | synced through |
//!  64               68                   72             76           80
//!  | payload bytes  | uncompressed bytes | previous CRC | header CRC | payload ... | payload CRC | zeros to 8 bytes |
//! ```
//!
//! * The header CRC covers bytes 0..76. The payload CRC covers the header CRC and the payload, so that the two cannot be
//!   exchanged. "Previous CRC" is the payload CRC of the frame before in the same segment, 0 in its first.
//! * `synced through` is the LSN up to which a sync had been *confirmed* when this frame was written. It never exceeds
//!   `first LSN`: a valid header proves that everything before that LSN was on the medium. Recovery's one witness.
//! * The salt belongs to the segment and no client ever sees it: bytes inside a value are never taken for a frame.
//! * Magic, version, features, salt and header CRC keep their places in all versions.
//!
//! In a segment whose blocks are larger than 8 bytes, each write is of whole blocks and of none that was written before. The
//! last frame of a write has a flag that says so: the next frame begins at the next block.
//!
//! A frame does not know where it stands; that its LSN and previous CRC fit is checked by the reader.

use crate::codec::{Cursor, Malformed};

use super::{Lsn, Salt};

pub const MAGIC: [u8; 4] = *b"DuFr";
pub const VERSION: u16 = 1;
pub const HEADER_LEN: usize = 80;
pub const TRAILER_LEN: usize = 4;
/// Frames start at multiples of this in their segment; at least, see [`Flags::PADDED`].
pub const ALIGN: usize = 8;
/// Longest payload of a frame; longer records travel in pieces.
pub const PAYLOAD_MAX: usize = 4 << 20;
/// Feature bit reserved for payloads compressed with zstd. This version neither writes nor reads it.
pub const FEATURE_ZSTD: u16 = 1;
const FEATURES_KNOWN: u16 = 0;
const CRC_AT: usize = 76;

bitflags::bitflags! {
    /// What the payload is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Flags: u16 {
        /// The stream may end behind this frame. Unset on all but the last piece of a large record.
        const COMMIT = 1;
        /// No payload: only carries `synced_through`.
        const EMPTY = 2;
        /// The payload is a piece of one record that is too large for a frame.
        const PIECE = 4;
        /// Last of a run in a segment of larger blocks: zeros follow to the end of the block, and the next frame begins there.
        const PADDED = 8;
    }
}

/// A frame's header without its checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub flags: Flags,
    /// Records that end in this frame.
    pub records: u32,
    pub salt: Salt,
    pub term: u64,
    pub first_lsn: Lsn,
    pub wall_us: u64,
    pub synced_through: Lsn,
    /// Bytes of payload, at most [`PAYLOAD_MAX`].
    pub payload_len: u32,
    pub previous_crc: u32,
}

/// Why bytes are not a frame header of this segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAHeader {
    /// All zero: never written.
    Blank,
    /// Damaged, or something else.
    Damaged(&'static str),
    /// Intact, from a version of the format that this program does not know.
    Unsupported(String),
}

/// Bytes that a frame with this payload takes in its segment, padding included.
pub const fn frame_len(payload_len: usize) -> usize {
    (HEADER_LEN + payload_len + TRAILER_LEN).next_multiple_of(ALIGN)
}

impl Header {
    /// LSN behind the payload.
    pub fn end_lsn(&self) -> Lsn {
        self.first_lsn + u64::from(self.payload_len)
    }

    pub fn frame_len(&self) -> usize {
        frame_len(self.payload_len as usize)
    }

    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[0..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&VERSION.to_le_bytes());
        out[8..10].copy_from_slice(&self.flags.bits().to_le_bytes());
        out[12..16].copy_from_slice(&self.records.to_le_bytes());
        out[16..32].copy_from_slice(&self.salt);
        out[32..40].copy_from_slice(&self.term.to_le_bytes());
        out[40..48].copy_from_slice(&self.first_lsn.to_le_bytes());
        out[48..56].copy_from_slice(&self.wall_us.to_le_bytes());
        out[56..64].copy_from_slice(&self.synced_through.to_le_bytes());
        out[64..68].copy_from_slice(&self.payload_len.to_le_bytes());
        out[68..72].copy_from_slice(&self.payload_len.to_le_bytes());
        out[72..76].copy_from_slice(&self.previous_crc.to_le_bytes());
        let crc = crc32fast::hash(&out[..CRC_AT]);
        out[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header at the start of `bytes`, if it is intact and of the segment with this salt.
    pub fn decode(bytes: &[u8; HEADER_LEN], salt: &Salt) -> Result<Self, NotAHeader> {
        if bytes[0..4] != MAGIC {
            let blank = *bytes == [0; HEADER_LEN];
            return Err(if blank { NotAHeader::Blank } else { NotAHeader::Damaged("no frame begins here") });
        }
        if bytes[16..32] != salt[..] {
            return Err(NotAHeader::Damaged("the frame is not of this segment"));
        }
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        if bytes[CRC_AT..] != crc.to_le_bytes() {
            return Err(NotAHeader::Damaged("the frame header's checksum is wrong"));
        }
        Self::decode_fields(bytes).map_err(|Malformed(what)| NotAHeader::Damaged(what))?
    }

    fn decode_fields(bytes: &[u8; HEADER_LEN]) -> Result<Result<Self, NotAHeader>, Malformed> {
        let mut cursor = Cursor::new(&bytes[4..]);
        let (version, features, flags) = (cursor.u16()?, cursor.u16()?, cursor.u16()?);
        if version != VERSION || features & !FEATURES_KNOWN != 0 {
            let zstd = if features & FEATURE_ZSTD != 0 { " (compressed with zstd)" } else { "" };
            return Ok(Err(NotAHeader::Unsupported(format!(
                "frame format version {version}, features {features:#06x}{zstd}; this program reads version {VERSION}, \
                 features {FEATURES_KNOWN:#06x}"
            ))));
        }
        cursor.u16()?;
        let header = Self {
            flags: Flags::from_bits(flags).ok_or(Malformed("unknown frame flags"))?,
            records: cursor.u32()?,
            salt: cursor.array()?,
            term: cursor.u64()?,
            first_lsn: cursor.u64()?,
            wall_us: cursor.u64()?,
            synced_through: cursor.u64()?,
            payload_len: cursor.u32()?,
            previous_crc: {
                cursor.u32()?;
                cursor.u32()?
            },
        };
        if header.payload_len as usize > PAYLOAD_MAX {
            return Err(Malformed("the frame's payload is over the limit"));
        }
        if header.first_lsn.checked_add(u64::from(header.payload_len)).is_none() {
            return Err(Malformed("the frame's LSN is over the limit"));
        }
        if header.synced_through > header.first_lsn {
            return Err(Malformed("the frame claims to be synced before it was written"));
        }
        Ok(Ok(header))
    }
}

/// Completes the frame in `bytes` (header room, payload, trailer, padding) and returns its CRC.
pub fn seal(bytes: &mut [u8], header: &Header) -> u32 {
    let payload_end = HEADER_LEN + header.payload_len as usize;
    bytes[..HEADER_LEN].copy_from_slice(&header.encode());
    let crc = crc32fast::hash(&bytes[CRC_AT..payload_end]);
    bytes[payload_end..payload_end + TRAILER_LEN].copy_from_slice(&crc.to_le_bytes());
    bytes[payload_end + TRAILER_LEN..].fill(0);
    crc
}

/// The frame's CRC, if `bytes` (which begin with the encoded `header`) hold its payload unharmed.
pub fn verify(bytes: &[u8], header: &Header) -> Option<u32> {
    let payload_end = HEADER_LEN + header.payload_len as usize;
    let trailer = bytes.get(payload_end..payload_end + TRAILER_LEN)?;
    let crc = crc32fast::hash(&bytes[CRC_AT..payload_end]);
    (trailer == crc.to_le_bytes()).then_some(crc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(payload_len: u32) -> Header {
        Header {
            flags: Flags::COMMIT,
            records: 3,
            salt: [7; 16],
            term: 5,
            first_lsn: 1000,
            wall_us: 42,
            synced_through: 900,
            payload_len,
            previous_crc: 77,
        }
    }

    proptest! {
        #[test]
        fn sealed_frames_read_back(payload in any::<Vec<u8>>(), lsn in 0..u64::MAX / 2, synced in any::<u64>()) {
            let header = Header { first_lsn: lsn, synced_through: synced.min(lsn), ..header(payload.len() as u32) };
            let mut bytes = vec![0; header.frame_len()];
            bytes[HEADER_LEN..HEADER_LEN + payload.len()].copy_from_slice(&payload);
            let crc = seal(&mut bytes, &header);
            let head: &[u8; HEADER_LEN] = bytes[..HEADER_LEN].try_into().unwrap();
            prop_assert_eq!(Header::decode(head, &[7; 16]), Ok(header));
            prop_assert_eq!(verify(&bytes, &header), Some(crc));
        }

        #[test]
        fn any_bytes_decode_to_a_header_or_an_error(mut bytes in prop::array::uniform32(any::<u8>()), fix in any::<bool>()) {
            let mut head = [0; HEADER_LEN];
            bytes[0..4].copy_from_slice(&MAGIC);
            for (i, byte) in head.iter_mut().enumerate() {
                *byte = bytes[i % 32];
            }
            head[16..32].fill(7);
            if fix {
                let crc = crc32fast::hash(&head[..CRC_AT]);
                head[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
            }
            let _ = Header::decode(&head, &[7; 16]);
        }
    }

    #[test]
    fn every_flipped_bit_of_header_payload_and_trailer_is_noticed() {
        let header = header(13);
        let mut bytes = vec![9; header.frame_len()];
        seal(&mut bytes, &header);
        for bit in 0..(HEADER_LEN + 13 + TRAILER_LEN) * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let head: &[u8; HEADER_LEN] = bad[..HEADER_LEN].try_into().unwrap();
            let whole = Header::decode(head, &[7; 16]).is_ok_and(|h| verify(&bad, &h).is_some());
            assert!(!whole, "bit {bit}");
        }
    }

    #[test]
    fn a_payload_under_another_header_is_refused() {
        let (one, two) = (header(8), Header { first_lsn: 2000, ..header(8) });
        let mut bytes = vec![1; one.frame_len()];
        seal(&mut bytes, &one);
        bytes[..HEADER_LEN].copy_from_slice(&two.encode());
        assert_eq!(verify(&bytes, &two), None);
    }

    #[test]
    fn an_unknown_feature_bit_is_named() {
        let mut bytes = header(8).encode();
        bytes[6] = FEATURE_ZSTD as u8;
        let crc = crc32fast::hash(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        let Err(NotAHeader::Unsupported(text)) = Header::decode(&bytes, &[7; 16]) else { panic!("accepted") };
        assert!(text.contains("0x0001"), "{text}");
    }

    #[test]
    fn blank_space_is_told_from_damage() {
        assert_eq!(Header::decode(&[0; HEADER_LEN], &[7; 16]), Err(NotAHeader::Blank));
        let mut bytes = [0; HEADER_LEN];
        bytes[79] = 1;
        assert!(matches!(Header::decode(&bytes, &[7; 16]), Err(NotAHeader::Damaged(_))));
    }
}
