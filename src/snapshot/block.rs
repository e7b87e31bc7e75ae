//! Blocks: the framing of everything between a snapshot file's header and its footer, and the layout of rows in them.
//!
//! ```text
//!  0            4         8       9       12    16
//!  | stored len | raw len | flags | zeros | CRC | payload, as stored |
//! ```
//!
//! The CRC is of the file header's CRC, bytes 0..12 and the payload: a block of another file is not one of this. A payload
//! is at most 64 KiB raw, unless it holds nothing but one op of one row (or is the index).
//!
//! ```text
//! payload = [rest of a row] rows          the rest stands first where the flag CONTINUES says so
//! row     = 4 * key length + tags varint | keyspace id varint, with tag 1 | n varint | key | ops
//! rest    = n varint | ops
//! ```
//!
//! Tags: 1 the keyspace is another than that of the row before in the block (at its start: 0); 2 the row isn't just one op. Without
//! tag 2, n is the length of the only op, which follows bare. With it, and in a rest, n is `2 * length + goes on`, and `length` bytes
//! follow, each op with its length before it; `goes on` says that the next block begins with the rest of the row.

use std::ops::Range;

use zstd::bulk::{Compressor, Decompressor};

use crate::codec::{Cursor, Malformed, put_bytes, put_varint, varint_len};
use crate::keyspace::op::SpaceId;

pub(super) const FRAME_LEN: usize = 16;
/// Longest payload of more than one op, raw.
pub const RAW_MAX: usize = 64 << 10;
/// Longest payload there is, raw.
pub const LONG_MAX: usize = 2 << 30;
/// zstd makes at most 128 KiB out of four bytes.
const RATIO_MAX: usize = 32 << 10;
/// Buffers that grew over this for a long op are given back.
const KEPT_MAX: usize = 1 << 20;

pub(super) const COMPRESSED: u8 = 1;
pub(super) const CONTINUES: u8 = 2;
pub(super) const INDEX: u8 = 4;

const NEW_SPACE: u64 = 1;
const PARTS: u64 = 2;

/// Makes framed blocks; keeps its context and buffer.
pub(super) struct Sealer {
    compressor: Option<Compressor<'static>>,
    framed: Vec<u8>,
    file_crc: u32,
}

impl Sealer {
    /// `level` is zstd's; 0 leaves the blocks as they are.
    pub(super) fn new(level: i32, file_crc: u32) -> std::io::Result<Self> {
        let compressor = if level == 0 { None } else { Some(Compressor::new(level)?) };
        Ok(Self { compressor, framed: Vec::new(), file_crc })
    }

    /// The block as it stands in the file, and its CRC. `raw` is at most [`LONG_MAX`] bytes long.
    pub(super) fn seal(&mut self, raw: &[u8], flags: u8) -> (&[u8], u32) {
        if self.framed.len() > KEPT_MAX {
            self.framed = Vec::new();
        }
        if self.framed.len() < FRAME_LEN + raw.len() {
            self.framed.resize(FRAME_LEN + raw.len(), 0);
        }
        let (frame, payload) = self.framed.split_at_mut(FRAME_LEN);
        let room = raw.len().saturating_sub(1);
        // What does not fit is an error of zstd's, and stored as it is; so is what it fails at otherwise.
        let compressed =
            self.compressor.as_mut().and_then(|c| c.compress_to_buffer(raw, &mut payload[..room]).ok());
        let (stored_len, flags) = match compressed {
            Some(len) => (len, flags | COMPRESSED),
            None => {
                payload[..raw.len()].copy_from_slice(raw);
                (raw.len(), flags)
            }
        };
        frame[..4].copy_from_slice(&(stored_len as u32).to_le_bytes());
        frame[4..8].copy_from_slice(&(raw.len() as u32).to_le_bytes());
        frame[8..12].copy_from_slice(&[flags, 0, 0, 0]);
        let crc = block_crc(self.file_crc, &frame[..12], &payload[..stored_len]);
        frame[12..].copy_from_slice(&crc.to_le_bytes());
        (&self.framed[..FRAME_LEN + stored_len], crc)
    }
}

fn block_crc(file_crc: u32, frame: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&file_crc.to_le_bytes());
    hasher.update(frame);
    hasher.update(payload);
    hasher.finalize()
}

/// A block whose checksum holds.
#[derive(Debug)]
pub(super) struct Block {
    pub flags: u8,
    pub raw_len: usize,
    pub crc: u32,
    /// Where in the file its payload is.
    pub stored: Range<usize>,
}

impl Block {
    /// The block that fills `range` of the file. The text says what is wrong.
    pub(super) fn open(file: &[u8], range: Range<usize>, file_crc: u32) -> Result<Self, String> {
        let cut_short = || "a block is cut short".to_owned();
        let bytes = file.get(range.clone()).ok_or_else(cut_short)?;
        let (frame, payload) = bytes.split_at_checked(FRAME_LEN).ok_or_else(cut_short)?;
        let mut cursor = Cursor::new(frame);
        let mut fields =
            || Ok((cursor.u32()?, cursor.u32()?, cursor.u8()?, cursor.array::<3>()?, cursor.u32()?));
        let (stored_len, raw_len, flags, zeros, crc) = fields().map_err(|Malformed(_)| cut_short())?;
        if stored_len as usize != payload.len() {
            return Err(format!("a block of {stored_len} bytes where one of {} belongs", payload.len()));
        }
        if crc != block_crc(file_crc, &frame[..12], payload) {
            return Err("a block's checksum is wrong".to_owned());
        }
        let raw_len = raw_len as usize;
        let is_possible = if flags & COMPRESSED == 0 {
            raw_len == payload.len()
        } else {
            raw_len <= LONG_MAX
                && raw_len / RATIO_MAX <= payload.len()
                && content_len(payload) == Some(raw_len)
        };
        if flags & !(COMPRESSED | CONTINUES | INDEX) != 0 || zeros != [0; 3] || !is_possible {
            return Err("a block's header cannot be what was written".to_owned());
        }
        Ok(Self { flags, raw_len, crc, stored: range.start + FRAME_LEN..range.end })
    }
}

fn content_len(payload: &[u8]) -> Option<usize> {
    zstd::zstd_safe::get_frame_content_size(payload).ok().flatten().and_then(|len| usize::try_from(len).ok())
}

/// The payload of one block at a time; keeps its context and buffer.
pub(super) struct Unsealer {
    decompressor: Decompressor<'static>,
    raw: Vec<u8>,
    /// Where the payload stands in the file, if it was stored as it is.
    plain: Option<Range<usize>>,
}

impl Unsealer {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { decompressor: Decompressor::new()?, raw: Vec::new(), plain: None })
    }

    pub(super) fn load(&mut self, file: &[u8], block: &Block) -> Result<(), String> {
        self.clear();
        if block.flags & COMPRESSED == 0 {
            self.plain = Some(block.stored.clone());
            return Ok(());
        }
        if self.raw.capacity() > KEPT_MAX && block.raw_len <= RAW_MAX {
            self.raw = Vec::new();
        }
        self.raw.reserve_exact(block.raw_len);
        match self.decompressor.decompress_to_buffer(&file[block.stored.clone()], &mut self.raw) {
            Ok(len) if len == block.raw_len => Ok(()),
            Ok(_) => Err("a block has another length than it says".to_owned()),
            Err(error) => Err(format!("a block cannot be decompressed: {error}")),
        }
    }

    /// Nothing is loaded.
    pub(super) fn clear(&mut self) {
        self.raw.clear();
        self.plain = None;
    }

    #[inline]
    pub(super) fn payload<'a>(&'a self, file: &'a [u8]) -> &'a [u8] {
        match &self.plain {
            Some(range) => &file[range.clone()],
            None => &self.raw,
        }
    }
}

/// What a block holds of one row.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub space: SpaceId,
    pub key: Range<usize>,
    pub ops: Range<usize>,
    /// The ops are one, without its length.
    pub is_bare: bool,
    pub goes_on: bool,
}

impl Part {
    /// The row that begins at `at`; `space` is the keyspace of the one before it in the block.
    #[inline]
    pub(super) fn decode(payload: &[u8], at: usize, space: SpaceId) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload.get(at..).unwrap_or_default());
        let tagged = cursor.varint()?;
        let space = if tagged & NEW_SPACE == 0 {
            space
        } else {
            SpaceId::try_from(cursor.varint()?).map_err(|_| Malformed("a keyspace id is over 32 bits"))?
        };
        let n = cursor.varint()?;
        let key_start = payload.len() - cursor.rest().len();
        let key =
            cursor.take(usize::try_from(tagged >> 2).map_err(|_| Malformed("a key of that length"))?)?;
        let key = key_start..key_start + key.len();
        let is_bare = tagged & PARTS == 0;
        let (len, goes_on) = if is_bare { (n, false) } else { (n >> 1, n & 1 != 0) };
        let ops = Self::take_ops(&mut cursor, key.end, len)?;
        Ok(Self { space, key, ops, is_bare, goes_on })
    }

    /// The rest of a row, at the start of a block.
    pub(super) fn decode_rest(payload: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let n = cursor.varint()?;
        let start = payload.len() - cursor.rest().len();
        let ops = Self::take_ops(&mut cursor, start, n >> 1)?;
        Ok(Self { ops, goes_on: n & 1 != 0, ..Self::default() })
    }

    #[inline]
    fn take_ops(cursor: &mut Cursor<'_>, start: usize, len: u64) -> Result<Range<usize>, Malformed> {
        let len = usize::try_from(len).map_err(|_| Malformed("ops of that length"))?;
        if cursor.take(len)?.is_empty() {
            return Err(Malformed("a row without ops"));
        }
        Ok(start..start + len)
    }

    /// The op at `at` within the part, with where the next one begins.
    #[inline]
    pub(super) fn op(&self, payload: &[u8], at: usize) -> Result<(Range<usize>, usize), Malformed> {
        if self.is_bare {
            return Ok((at..self.ops.end, self.ops.end));
        }
        let mut cursor = Cursor::new(&payload[at..self.ops.end]);
        let len = cursor.bytes()?.len();
        if len == 0 {
            return Err(Malformed("an op without a code"));
        }
        let end = self.ops.end - cursor.rest().len();
        Ok((end - len..end, end))
    }
}

/// The ops of one row that go into one block, while they are gathered.
#[derive(Debug, Default)]
pub(super) struct PartBuilder {
    ops: Vec<u8>,
    count: usize,
    /// Length of the length before the first op.
    prefix: usize,
}

impl PartBuilder {
    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.ops.len()
    }

    pub(super) fn push(&mut self, op: &[u8]) {
        if self.count == 0 {
            self.prefix = varint_len(op.len() as u64);
        }
        put_bytes(&mut self.ops, op);
        self.count += 1;
    }

    /// Appends the part to a payload and empties itself. `space`: of the row before in the block.
    pub(super) fn put_row(
        &mut self,
        out: &mut Vec<u8>,
        space: SpaceId,
        own: SpaceId,
        key: &[u8],
        goes_on: bool,
    ) {
        let is_bare = self.count == 1 && !goes_on;
        let tags = if space == own { 0 } else { NEW_SPACE } | if is_bare { 0 } else { PARTS };
        put_varint(out, (key.len() as u64) << 2 | tags);
        if space != own {
            put_varint(out, u64::from(own));
        }
        let ops = if is_bare { &self.ops[self.prefix..] } else { &self.ops[..] };
        let len = ops.len() as u64;
        put_varint(out, if is_bare { len } else { len << 1 | u64::from(goes_on) });
        out.extend_from_slice(key);
        out.extend_from_slice(ops);
        self.clear();
    }

    pub(super) fn put_rest(&mut self, out: &mut Vec<u8>, goes_on: bool) {
        put_varint(out, (self.ops.len() as u64) << 1 | u64::from(goes_on));
        out.extend_from_slice(&self.ops);
        self.clear();
    }

    fn clear(&mut self) {
        self.ops.clear();
        self.ops.shrink_to(KEPT_MAX);
        self.count = 0;
    }

    /// At most so many bytes stand before the ops.
    pub(super) fn head_len_max(key: &[u8]) -> usize {
        varint_len((key.len() as u64) << 2 | 3) + 5 + 10 + key.len()
    }
}
