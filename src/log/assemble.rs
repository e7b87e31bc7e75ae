//! Records out of frames, from a position on: what recovery and the readers of a live log do with every verified frame.
//!
//! What lies before the position is skipped without being decoded. That may begin in the middle of a record: the segments
//! with its first pieces are gone when a snapshot holds it.

use crate::codec::{Cursor, Malformed};

use super::frame::{Flags, Header};
use super::{Lsn, record};

/// Gets a whole record: the LSN behind it, and its body.
pub(super) type Each<'v, E> = dyn FnMut(Lsn, &[u8]) -> Result<(), E> + 'v;

const INSIDE: Malformed = Malformed("the position to read from is inside a record");

pub(super) struct Assembler {
    /// The end of a record; those that end here or before are skipped.
    from: Lsn,
    /// The beginning of a large record.
    pieces: Vec<u8>,
    /// The last frame was skipped and its record goes on.
    is_within_skipped: bool,
}

impl Assembler {
    pub const fn new(from: Lsn) -> Self {
        Self { from, pieces: Vec::new(), is_within_skipped: false }
    }

    /// Takes the next frame of the stream. On an error nothing more may be handed in.
    pub fn frame<E: From<Malformed>>(
        &mut self,
        header: &Header,
        payload: &[u8],
        each: &mut Each<'_, E>,
    ) -> Result<(), E> {
        if payload.is_empty() {
            return Ok(());
        }
        let is_commit = header.flags.contains(Flags::COMMIT);
        if header.end_lsn() <= self.from {
            self.is_within_skipped = !is_commit;
            return Ok(());
        }
        if self.is_within_skipped {
            return Err(INSIDE.into());
        }
        if header.flags.contains(Flags::PIECE) {
            self.pieces.extend_from_slice(payload);
            if !is_commit {
                return Ok(());
            }
            let whole = std::mem::take(&mut self.pieces);
            // It began before the stream did, or before the position.
            if header.end_lsn().checked_sub(whole.len() as u64).is_none_or(|start| start < self.from) {
                return Err(INSIDE.into());
            }
            return each(header.end_lsn(), record::whole(&whole)?);
        }
        if !self.pieces.is_empty() || !is_commit {
            return Err(Malformed("a large record breaks off in the middle").into());
        }
        self.records(header, payload, each)
    }

    fn records<E: From<Malformed>>(
        &self,
        header: &Header,
        payload: &[u8],
        each: &mut Each<'_, E>,
    ) -> Result<(), E> {
        let mut cursor = Cursor::new(payload);
        let mut start = header.first_lsn;
        for _ in 0..header.records {
            let body = record::next(&mut cursor)?;
            let end = header.end_lsn() - cursor.rest().len() as u64;
            if start >= self.from {
                each(end, body)?;
            } else if end > self.from {
                return Err(INSIDE.into());
            }
            start = end;
        }
        Ok(cursor.finish()?)
    }
}
