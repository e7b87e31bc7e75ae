//! What can happen to a sorted set, and the codec of that.

use crate::codec::{Cursor, Malformed, put_bytes, put_varint};
use crate::types::CollectionOp;
use crate::types::strings::Strings;

/// A change to the sorted set at a key. An absent key reads as an empty one. Scores are never NaN.
///
/// ```text
/// Set         = score f64 | member bytes
/// SetMany     = count varint | count * (score f64 | member bytes)
/// Remove      = strings: members
/// RemoveRange = start varint | len varint
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SortedSetOp<'a> {
    /// A member gets a score, whether it is new or not.
    Set { score: f64, member: &'a [u8] },
    /// The same for several, one after the other.
    SetMany { rows: Rows<'a> },
    /// Members, all of which exist, are removed.
    Remove { members: Strings<'a> },
    /// `len` members from a rank on, all of which exist, are removed. Rank 0 has the lowest score.
    RemoveRange { start: u64, len: u64 },
}

/// Members with scores inside an op, without a copy from where they come: a slice, or a record.
#[derive(Clone, Copy)]
pub struct Rows<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Slice(&'a [(f64, &'a [u8])]),
    /// Checked by `decode`.
    Encoded {
        count: usize,
        bytes: &'a [u8],
    },
}

fn row<'a>(cursor: &mut Cursor<'a>) -> Result<(f64, &'a [u8]), Malformed> {
    let score = f64::from_bits(cursor.u64()?);
    if score.is_nan() {
        return Err(Malformed("a score is not a number"));
    }
    Ok((score, cursor.bytes()?))
}

fn put_row(out: &mut Vec<u8>, score: f64, member: &[u8]) {
    out.extend_from_slice(&score.to_le_bytes());
    put_bytes(out, member);
}

impl<'a> Rows<'a> {
    fn decode(cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let count = cursor.len()?;
        let start = cursor.rest();
        for _ in 0..count {
            row(cursor)?;
        }
        let bytes = &start[..start.len() - cursor.rest().len()];
        Ok(Self(Source::Encoded { count, bytes }))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        match self.0 {
            Source::Encoded { bytes, .. } => out.extend_from_slice(bytes),
            Source::Slice(rows) => rows.iter().for_each(|(score, member)| put_row(out, *score, member)),
        }
    }

    pub const fn len(&self) -> usize {
        match self.0 {
            Source::Slice(rows) => rows.len(),
            Source::Encoded { count, .. } => count,
        }
    }

    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (f64, &'a [u8])> + use<'a> {
        let (mut slice, mut cursor) = match self.0 {
            Source::Slice(rows) => (rows.iter(), Cursor::new(&[])),
            Source::Encoded { bytes, .. } => ([].iter(), Cursor::new(bytes)),
        };
        std::iter::from_fn(move || match slice.next() {
            Some(row) => Some(*row),
            None if cursor.is_empty() => None,
            None => row(&mut cursor).ok(),
        })
    }
}

impl<'a> From<&'a [(f64, &'a [u8])]> for Rows<'a> {
    fn from(rows: &'a [(f64, &'a [u8])]) -> Self {
        Self(Source::Slice(rows))
    }
}

impl PartialEq for Rows<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl std::fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(score, member)| (score, member.escape_ascii().to_string())))
            .finish()
    }
}

impl<'a> CollectionOp<'a> for SortedSetOp<'a> {
    fn code(&self) -> u8 {
        match self {
            Self::Set { .. } => 0,
            Self::SetMany { .. } => 1,
            Self::Remove { .. } => 2,
            Self::RemoveRange { .. } => 3,
        }
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Set { score, member } => put_row(out, *score, member),
            Self::SetMany { rows } => rows.encode(out),
            Self::Remove { members } => members.encode(out),
            Self::RemoveRange { start, len } => {
                put_varint(out, *start);
                put_varint(out, *len);
            }
        }
    }

    fn decode(code: u8, cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        Ok(match code {
            0 => {
                let (score, member) = row(cursor)?;
                Self::Set { score, member }
            }
            1 => Self::SetMany { rows: Rows::decode(cursor)? },
            2 => Self::Remove { members: Strings::decode(cursor)? },
            3 => Self::RemoveRange { start: cursor.varint()?, len: cursor.varint()? },
            _ => return Err(Malformed("unknown sorted set op")),
        })
    }
}
