//! What can happen to a list, and the codec of that.

use std::fmt;

use crate::codec::{Cursor, Malformed, put_bytes, put_signed, put_varint};
use crate::resp::RequestArgs;
use crate::types::CollectionOp;

use super::block::Side;
use super::blocks::Iter;

/// A change to the list at a key. An absent key reads as an empty list. Indexes count from the left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ListOp<'a> {
    /// The elements one after the other at one side: the last of them ends up outermost.
    Push { side: Side, elements: Elements<'a> },
    /// As many elements away from one side; there are at least so many.
    Pop { side: Side, count: u64 },
    /// Another element in the place of an existing one.
    Set { index: u64, element: &'a [u8] },
    /// An element before the one at `index`, or behind the last.
    Insert { index: u64, element: &'a [u8] },
    /// Elements equal to this one: the first `count` from the left, from the right if it is negative, all if it is 0. There is
    /// at least one.
    Remove { count: i64, element: &'a [u8] },
    /// Only `len` elements from `start` on remain.
    Trim { start: u64, len: u64 },
}

/// Elements to be pushed, without a copy from where they come.
#[derive(Clone, Copy)]
pub struct Elements<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    One(&'a [u8]),
    Args(RequestArgs<'a>),
    Slices(&'a [&'a [u8]]),
    /// Length-prefixed, checked.
    Encoded {
        bytes: &'a [u8],
        count: usize,
    },
    Range(&'a Iter<'a>),
}

impl<'a> Elements<'a> {
    pub const fn one(element: &'a [u8]) -> Self {
        Self(Source::One(element))
    }

    /// All of `args`: pass the tail of a request.
    pub const fn args(args: RequestArgs<'a>) -> Self {
        Self(Source::Args(args))
    }

    pub const fn slices(elements: &'a [&'a [u8]]) -> Self {
        Self(Source::Slices(elements))
    }

    /// Elements of another list.
    pub const fn range(range: &'a Iter<'a>) -> Self {
        Self(Source::Range(range))
    }

    pub fn len(&self) -> usize {
        match self.0 {
            Source::One(_) => 1,
            Source::Args(args) => args.len(),
            Source::Slices(slices) => slices.len(),
            Source::Encoded { count, .. } => count,
            Source::Range(range) => range.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `visit` with each, in the order in which they are pushed.
    #[inline]
    pub fn each(&self, mut visit: impl FnMut(&'a [u8])) {
        match self.0 {
            Source::One(element) => visit(element),
            Source::Args(args) => args.iter().for_each(visit),
            Source::Slices(slices) => slices.iter().copied().for_each(visit),
            Source::Range(range) => range.clone().for_each(visit),
            Source::Encoded { bytes, .. } => {
                let mut cursor = Cursor::new(bytes);
                while let Ok(element) = cursor.bytes() {
                    visit(element);
                }
            }
        }
    }

    fn decode(cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let count = cursor.len()?;
        if count == 0 {
            return Err(Malformed("a push of nothing"));
        }
        let all = cursor.rest();
        for _ in 0..count {
            cursor.bytes()?;
        }
        let bytes = &all[..all.len() - cursor.rest().len()];
        Ok(Self(Source::Encoded { bytes, count }))
    }

    fn to_vec(self) -> Vec<&'a [u8]> {
        let mut all = Vec::with_capacity(self.len());
        self.each(|element| all.push(element));
        all
    }
}

impl PartialEq for Elements<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.to_vec() == other.to_vec()
    }
}

impl fmt::Debug for Elements<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        self.each(|element| {
            list.entry(&element.escape_ascii().to_string());
        });
        list.finish()
    }
}

impl<'a> CollectionOp<'a> for ListOp<'a> {
    fn code(&self) -> u8 {
        match self {
            Self::Push { side: Side::Left, .. } => 0,
            Self::Push { side: Side::Right, .. } => 1,
            Self::Pop { side: Side::Left, .. } => 2,
            Self::Pop { side: Side::Right, .. } => 3,
            Self::Set { .. } => 4,
            Self::Insert { .. } => 5,
            Self::Remove { .. } => 6,
            Self::Trim { .. } => 7,
        }
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Push { elements, .. } => {
                put_varint(out, elements.len() as u64);
                elements.each(|element| put_bytes(out, element));
            }
            Self::Pop { count, .. } => put_varint(out, count),
            Self::Set { index, element } | Self::Insert { index, element } => {
                put_varint(out, index);
                put_bytes(out, element);
            }
            Self::Remove { count, element } => {
                put_signed(out, count);
                put_bytes(out, element);
            }
            Self::Trim { start, len } => {
                put_varint(out, start);
                put_varint(out, len);
            }
        }
    }

    fn decode(code: u8, cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let side = if code & 1 == 0 { Side::Left } else { Side::Right };
        Ok(match code {
            0 | 1 => Self::Push { side, elements: Elements::decode(cursor)? },
            2 | 3 => match cursor.varint()? {
                0 => return Err(Malformed("a pop of nothing")),
                count => Self::Pop { side, count },
            },
            4 => Self::Set { index: cursor.varint()?, element: cursor.bytes()? },
            5 => Self::Insert { index: cursor.varint()?, element: cursor.bytes()? },
            6 => Self::Remove { count: cursor.signed()?, element: cursor.bytes()? },
            7 => Self::Trim { start: cursor.varint()?, len: cursor.varint()? },
            _ => return Err(Malformed("unknown list op")),
        })
    }
}
