//! Several byte strings inside an op, without a copy from where they come: the arguments of a command, a slice, or a record.

use std::fmt;

use crate::codec::{Cursor, Malformed, put_bytes, put_varint};
use crate::resp::RequestArgs;

/// A sequence of byte strings. Equal if the strings are.
///
/// ```text
/// encoded = count varint | count * (length varint | bytes)
/// ```
#[derive(Clone, Copy)]
pub struct Strings<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Args(RequestArgs<'a>),
    Slices(&'a [&'a [u8]]),
    /// Checked by `decode`.
    Encoded {
        count: usize,
        bytes: &'a [u8],
    },
}

impl<'a> Strings<'a> {
    pub fn decode(cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let count = cursor.len()?;
        let start = cursor.rest();
        for _ in 0..count {
            cursor.bytes()?;
        }
        let bytes = &start[..start.len() - cursor.rest().len()];
        Ok(Self(Source::Encoded { count, bytes }))
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        match self.0 {
            Source::Encoded { bytes, .. } => out.extend_from_slice(bytes),
            _ => self.iter().for_each(|string| put_bytes(out, string)),
        }
    }

    #[inline]
    pub const fn len(&self) -> usize {
        match self.0 {
            Source::Args(args) => args.len(),
            Source::Slices(slices) => slices.len(),
            Source::Encoded { count, .. } => count,
        }
    }

    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub const fn iter(&self) -> Iter<'a> {
        Iter { source: self.0, at: 0 }
    }
}

impl<'a> From<RequestArgs<'a>> for Strings<'a> {
    fn from(args: RequestArgs<'a>) -> Self {
        Self(Source::Args(args))
    }
}

impl<'a> From<&'a [&'a [u8]]> for Strings<'a> {
    fn from(slices: &'a [&'a [u8]]) -> Self {
        Self(Source::Slices(slices))
    }
}

impl<'a> From<&'a Vec<&'a [u8]>> for Strings<'a> {
    fn from(slices: &'a Vec<&'a [u8]>) -> Self {
        Self(Source::Slices(slices))
    }
}

impl<'a, const N: usize> From<&'a [&'a [u8]; N]> for Strings<'a> {
    fn from(slices: &'a [&'a [u8]; N]) -> Self {
        Self(Source::Slices(slices))
    }
}

impl PartialEq for Strings<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Strings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|string| string.escape_ascii().to_string())).finish()
    }
}

/// See [`Strings::iter`].
#[derive(Clone)]
pub struct Iter<'a> {
    source: Source<'a>,
    at: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.source {
            Source::Args(args) => {
                let string = args.try_get(self.at)?;
                self.at += 1;
                Some(string)
            }
            Source::Slices(slices) => {
                let string = slices.get(self.at)?;
                self.at += 1;
                Some(string)
            }
            Source::Encoded { bytes, .. } => {
                let mut cursor = Cursor::new(bytes);
                let string = cursor.bytes().ok()?;
                *bytes = cursor.rest();
                Some(string)
            }
        }
    }
}
