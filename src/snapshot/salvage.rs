//! Reads of a damaged snapshot file what its checksums still vouch for, and says between which keys something is missing.
//!
//! What the manifest keeps about a file is enough to do without its header and footer: the header can be made again, and with it the
//! checksum that each block's own depends on. With the index the blocks are found by their offsets, without it by going from one to the
//! next, and behind a bad one by looking for the next whose checksum holds. When as many rows and ops were read as were written,
//! nothing is missing, whatever is damaged.
//!
//! What it does **not** say: which keys are missing. A [`Gap`] is where they were; a key inside it may have had a row, or none.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use crate::codec::Malformed;
use crate::disk::{Disk, Open};
use crate::error::StoreError;
use crate::keyspace::hash::KeyRef;
use crate::keyspace::op::{Op, SpaceId};
use crate::log::{Seed, StoreId};

use super::block::{Block, CONTINUES, FRAME_LEN, INDEX, Part, Unsealer};
use super::footer::{FOOTER_LEN, FileInfo, Footer, IndexEntry};
use super::header::{FileHeader, HEADER_LEN, path};
use super::rows::Head;

/// Slot and hash.
type Place = (u16, u64);

/// Where rows of a file may be missing: no key in it has a row that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The last row that was read before it.
    pub after: Option<Head>,
    /// The first row that was read behind it.
    pub before: Option<Head>,
    /// What is missing lies between these, both included.
    pub from: Place,
    pub to: Place,
}

impl Gap {
    /// Whether a row of this key may be missing.
    pub fn contains(&self, space: SpaceId, key: &KeyRef<'_>) -> bool {
        let place = (key.slot, key.hash);
        let own = (key.slot, key.hash, space, key.bytes);
        self.from <= place
            && place <= self.to
            && self.after.as_ref().is_none_or(|after| order(after) < own)
            && self.before.as_ref().is_none_or(|before| own < order(before))
    }
}

fn order(head: &Head) -> (u16, u64, SpaceId, &[u8]) {
    (head.slot, head.hash, head.space, &head.key)
}

/// A place in a file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub offset: u64,
    pub end: u64,
    pub reason: String,
    /// `None`: no rows are missing because of it.
    pub gap: Option<Gap>,
}

/// What was read of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// What the manifest says of it.
    pub info: FileInfo,
    pub damages: Vec<Damage>,
    /// Whole blocks, rows and ops that were read.
    pub blocks: u64,
    pub rows: u64,
    pub ops: u64,
    /// Rows that were read of each keyspace.
    pub spaces: BTreeMap<SpaceId, u64>,
    /// Rows of which only the beginning was read.
    pub torn: Vec<Head>,
}

impl Salvaged {
    pub fn gaps(&self) -> impl Iterator<Item = &Gap> {
        self.damages.iter().filter_map(|damage| damage.gap.as_ref())
    }

    /// Rows that are missing.
    pub fn lost_rows(&self) -> u64 {
        self.info.rows.saturating_sub(self.rows)
    }
}

/// Called with each whole row and its ops, in ascending order.
pub type Visit<'a> = dyn FnMut(&Head, &[&[u8]]) -> Result<(), StoreError> + 'a;

/// Reads a file as far as it can be read. Without `seed` the rows' order is not checked, and the hashes of heads say nothing.
pub fn read(
    disk: &dyn Disk,
    info: &FileInfo,
    store_id: StoreId,
    seed: Option<Seed>,
    visit: &mut Visit<'_>,
) -> Result<Salvaged, StoreError> {
    let path = path(info.sequence);
    let found = Salvaged {
        info: *info,
        damages: Vec::new(),
        blocks: 0,
        rows: 0,
        ops: 0,
        spaces: BTreeMap::new(),
        torn: Vec::new(),
    };
    let mut unsealer = Unsealer::new().map_err(StoreError::io("begin to decompress"))?;
    let mut reading = Reading {
        found,
        seed,
        last: None,
        open: None,
        head: Head { slot: 0, hash: 0, space: 0, key: Vec::new() },
        waiting: Vec::new(),
        visit,
    };
    let map = match disk.open(&path, Open::Read).and_then(|file| file.map()) {
        Ok(map) => map,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            reading.damage(0..0, "the file is missing".to_owned(), reading.everywhere());
            return Ok(reading.found);
        }
        Err(e) => return Err(StoreError::io(format!("open {path}"))(e)),
    };
    let pieces = reading.pieces(&map, store_id);
    for (number, piece) in pieces.iter().enumerate() {
        let next = pieces.get(number + 1).and_then(|next| next.first);
        reading.piece(&map, &mut unsealer, piece, next)?;
    }
    Ok(reading.finish(map.len()))
}

/// Where a block is, or should be.
struct Piece {
    at: Range<usize>,
    block: Result<Block, String>,
    /// The first row of which it has ops, as the index says.
    first: Option<Place>,
}

/// A row that goes on in the next block.
struct OpenRow {
    head: Head,
    ops: Vec<Vec<u8>>,
}

struct Reading<'v, 'w> {
    found: Salvaged,
    seed: Option<Seed>,
    /// The last whole row.
    last: Option<Head>,
    open: Option<OpenRow>,
    head: Head,
    /// Damages behind which no whole row was read yet.
    waiting: Vec<usize>,
    visit: &'v mut Visit<'w>,
}

impl Reading<'_, '_> {
    fn everywhere(&self) -> (Place, Place) {
        ((self.found.info.first_slot, 0), (self.found.info.last_slot, u64::MAX))
    }

    fn damage(&mut self, at: Range<usize>, reason: String, (from, to): (Place, Place)) {
        let gap = Gap { after: self.last.clone(), before: None, from, to };
        self.waiting.push(self.found.damages.len());
        self.found.damages.push(Damage {
            offset: at.start as u64,
            end: at.end as u64,
            reason,
            gap: Some(gap),
        });
    }

    /// Damage that loses no rows by itself.
    fn fault(&mut self, at: Range<usize>, reason: String) {
        self.found.damages.push(Damage { offset: at.start as u64, end: at.end as u64, reason, gap: None });
    }

    /// The blocks in their order.
    fn pieces(&mut self, bytes: &[u8], store_id: StoreId) -> Vec<Piece> {
        let info = self.found.info;
        let header = info.header(store_id).encode();
        let is_same = bytes.get(..HEADER_LEN).is_some_and(|found| found == header);
        if !is_same {
            let why = match FileHeader::decode(bytes) {
                Ok(_) => "the header is that of another file".to_owned(),
                Err(why) => why,
            };
            self.fault(0..HEADER_LEN.min(bytes.len()), why);
        }
        // Made just now: it can be decoded.
        let Ok((_, header_crc)) = FileHeader::decode(&header) else { return Vec::new() };
        match Self::index(bytes, &info, header_crc) {
            Ok((index, end)) => Self::by_index(bytes, &index, end, header_crc),
            Err((at, why)) => {
                self.fault(at, why);
                Self::by_walking(bytes, header_crc)
            }
        }
    }

    /// The index and where it stands, or what is wrong with it or the footer.
    fn index(
        bytes: &[u8],
        info: &FileInfo,
        header_crc: u32,
    ) -> Result<(Vec<IndexEntry>, usize), (Range<usize>, String)> {
        let len = bytes.len();
        let at = len.saturating_sub(FOOTER_LEN);
        let footer = bytes[at..]
            .try_into()
            .map_err(|_| "the file is cut short".to_owned())
            .and_then(|bytes| Footer::decode(bytes).map_err(|Malformed(why)| why.to_owned()));
        let footer = footer.and_then(|(footer, crc)| match crc == info.crc && len as u64 == info.bytes {
            true => Ok(footer),
            false => Err("not the footer of the file that the manifest lists".to_owned()),
        });
        let footer = footer.map_err(|why| (at..len, why))?;
        let begin = footer.index_offset as usize;
        let read = || -> Result<Vec<IndexEntry>, String> {
            let block = Block::open(bytes, begin..at, header_crc)?;
            let lens = footer.index_raw_len().filter(|lens| lens.1 == block.raw_len as u64);
            let (blocks_len, _) = lens.ok_or("no index in its place")?;
            let mut unsealer = Unsealer::new().map_err(|error| error.to_string())?;
            unsealer.load(bytes, &block)?;
            let entries = &unsealer.payload(bytes)[..blocks_len as usize];
            let index = IndexEntry::decode_all(entries).map_err(|Malformed(why)| why.to_owned())?;
            let first = index.first().map_or(footer.index_offset, |entry| entry.offset);
            let is_within = index.last().is_none_or(|last| last.offset < footer.index_offset);
            if first == HEADER_LEN as u64 && is_within {
                Ok(index)
            } else {
                Err("the index is not that of these blocks".to_owned())
            }
        };
        read().map(|index| (index, begin)).map_err(|why| (begin.min(at)..at, why))
    }

    fn by_index(bytes: &[u8], index: &[IndexEntry], end: usize, header_crc: u32) -> Vec<Piece> {
        let ends = index.iter().skip(1).map(|entry| entry.offset as usize).chain([end]);
        let piece = |(entry, end): (&IndexEntry, usize)| {
            let at = entry.offset as usize..end;
            let block =
                Block::open(bytes, at.clone(), header_crc).and_then(|block| match block.flags & INDEX {
                    0 => Ok(block),
                    _ => Err("an index in the place of a block".to_owned()),
                });
            Piece { at, block, first: Some(entry.place()) }
        };
        index.iter().zip(ends).map(piece).collect()
    }

    /// From one block to the next, as far as there are any.
    fn by_walking(bytes: &[u8], header_crc: u32) -> Vec<Piece> {
        const WHY: &str = "no block whose checksum holds";
        let mut pieces = Vec::new();
        let (mut at, mut bad) = (HEADER_LEN, None);
        while at + FRAME_LEN <= bytes.len() {
            let Some(block) = block_at(bytes, at, header_crc) else {
                bad.get_or_insert(at);
                at += 1;
                continue;
            };
            if let Some(from) = bad.take() {
                pieces.push(Piece { at: from..at, block: Err(WHY.to_owned()), first: None });
            }
            if block.flags & INDEX != 0 {
                return pieces;
            }
            let end = block.stored.end;
            pieces.push(Piece { at: at..end, block: Ok(block), first: None });
            at = end;
        }
        let from = bad.unwrap_or(at);
        pieces.push(Piece { at: from..bytes.len().max(from), block: Err(WHY.to_owned()), first: None });
        pieces
    }

    /// `next`: where the block behind it begins, as the index says.
    fn piece(
        &mut self,
        bytes: &[u8],
        unsealer: &mut Unsealer,
        piece: &Piece,
        next: Option<Place>,
    ) -> Result<(), StoreError> {
        let parsed = piece.block.as_ref().map_err(Clone::clone).and_then(|block| {
            unsealer.load(bytes, block)?;
            let parsed = self.parse(unsealer.payload(bytes), block.flags & CONTINUES != 0, piece.first);
            parsed.map_err(|Malformed(why)| why.to_owned())
        });
        match parsed {
            Ok((rest, parts)) => {
                self.found.blocks += 1;
                self.rows(unsealer.payload(bytes), rest, parts, piece)
            }
            Err(why) => {
                let (begin, end) = self.everywhere();
                self.tear();
                self.damage(piece.at.clone(), why, (piece.first.unwrap_or(begin), next.unwrap_or(end)));
                Ok(())
            }
        }
    }

    fn rows(
        &mut self,
        payload: &[u8],
        rest: Option<Part>,
        parts: Vec<Part>,
        piece: &Piece,
    ) -> Result<(), StoreError> {
        match (rest, self.open.take()) {
            (Some(rest), Some(mut open)) => {
                open.ops.extend(ops_of(&rest, payload).into_iter().map(<[u8]>::to_vec));
                if rest.goes_on {
                    self.open = Some(open);
                } else {
                    let ops: Vec<&[u8]> = open.ops.iter().map(Vec::as_slice).collect();
                    self.whole(&open.head, &ops)?;
                }
            }
            // Of a row whose beginning is lost.
            (Some(_), None) => {}
            (None, Some(open)) => {
                self.open = Some(open);
                self.tear();
                self.damage(piece.at.clone(), "a row ends too early".to_owned(), self.everywhere());
            }
            (None, None) => {}
        }
        let mut head =
            std::mem::replace(&mut self.head, Head { slot: 0, hash: 0, space: 0, key: Vec::new() });
        for part in parts {
            let key = KeyRef::new(&payload[part.key.clone()], self.seed.map_or(0, |seed| seed.0));
            (head.slot, head.hash, head.space) = (key.slot, key.hash, part.space);
            head.key.clear();
            head.key.extend_from_slice(key.bytes);
            let ops = ops_of(&part, payload);
            if part.goes_on {
                let ops = ops.into_iter().map(<[u8]>::to_vec).collect();
                self.open = Some(OpenRow { head: head.clone(), ops });
            } else {
                self.whole(&head, &ops)?;
            }
        }
        self.head = head;
        Ok(())
    }

    /// All parts of a block, if each of them can be what was written.
    fn parse(
        &self,
        payload: &[u8],
        continues: bool,
        first: Option<Place>,
    ) -> Result<(Option<Part>, Vec<Part>), Malformed> {
        let info = &self.found.info;
        let (mut at, mut rest, mut parts) = (0, None, Vec::new());
        if continues {
            let part = Part::decode_rest(payload)?;
            check_ops(&part, payload)?;
            at = part.ops.end;
            rest = Some(part);
        }
        let (mut space, mut goes_on) = (0, rest.as_ref().is_some_and(|rest| rest.goes_on));
        let mut last = self.last.as_ref().map(order);
        while at < payload.len() {
            if goes_on {
                return Err(Malformed("a row that goes on before its block ends"));
            }
            let part = Part::decode(payload, at, space)?;
            check_ops(&part, payload)?;
            (at, space, goes_on) = (part.ops.end, part.space, part.goes_on);
            if let Some(seed) = self.seed {
                let key = KeyRef::new(&payload[part.key.clone()], seed.0);
                let own = (key.slot, key.hash, part.space, key.bytes);
                let is_first = !continues && parts.is_empty();
                if last.is_some_and(|last| last >= own) {
                    return Err(Malformed("rows out of order, or hashed with another seed"));
                }
                if !(info.first_slot..=info.last_slot).contains(&key.slot) {
                    return Err(Malformed("a row of another slot than the file's"));
                }
                if is_first && first.is_some_and(|first| first != (key.slot, key.hash)) {
                    return Err(Malformed("a block that is not the one in the index"));
                }
                last = Some(own);
            }
            parts.push(part);
        }
        Ok((rest, parts))
    }

    fn whole(&mut self, head: &Head, ops: &[&[u8]]) -> Result<(), StoreError> {
        for damage in self.waiting.drain(..) {
            if let Some(gap) = &mut self.found.damages[damage].gap {
                gap.before = Some(head.clone());
            }
        }
        match &mut self.last {
            Some(last) => last.clone_from(head),
            None => self.last = Some(head.clone()),
        }
        self.found.rows += 1;
        self.found.ops += ops.len() as u64;
        *self.found.spaces.entry(head.space).or_default() += 1;
        (self.visit)(head, ops)
    }

    /// The row that was begun is not whole.
    fn tear(&mut self) {
        self.found.torn.extend(self.open.take().map(|open| open.head));
    }

    fn finish(mut self, len: usize) -> Salvaged {
        let info = self.found.info;
        if self.open.is_some() {
            self.tear();
            self.damage(len..len, "the file ends within a row".to_owned(), self.everywhere());
        }
        let found = &mut self.found;
        if (found.rows, found.ops) == (info.rows, info.ops) {
            found.damages.iter_mut().for_each(|damage| damage.gap = None);
        } else if found.gaps().next().is_none() {
            let (from, to) = ((info.first_slot, 0), (info.last_slot, u64::MAX));
            let gap = Some(Gap { after: None, before: None, from, to });
            let reason = format!("{} rows were written, {} are there", info.rows, found.rows);
            found.damages.push(Damage { offset: 0, end: len as u64, reason, gap });
        }
        self.found
    }
}

/// The block that begins here, if there can be one.
fn block_at(bytes: &[u8], at: usize, header_crc: u32) -> Option<Block> {
    let frame = bytes.get(at..at + FRAME_LEN)?;
    if frame[9..12] != [0; 3] || frame[8] > 7 {
        return None;
    }
    let len = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
    let end = at.checked_add(FRAME_LEN)?.checked_add(len).filter(|&end| end <= bytes.len())?;
    Block::open(bytes, at..end, header_crc).ok()
}

fn check_ops(part: &Part, payload: &[u8]) -> Result<(), Malformed> {
    let mut at = part.ops.start;
    while at < part.ops.end {
        let (op, next) = part.op(payload, at)?;
        Op::decode_bare(&payload[op])?;
        at = next;
    }
    Ok(())
}

/// Of a part that was checked.
fn ops_of<'a>(part: &Part, payload: &'a [u8]) -> Vec<&'a [u8]> {
    let (mut ops, mut at) = (Vec::new(), part.ops.start);
    while at < part.ops.end {
        let Ok((op, next)) = part.op(payload, at) else { break };
        ops.push(&payload[op]);
        at = next;
    }
    ops
}
