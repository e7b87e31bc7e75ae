//! What can happen to a set, and the codec of that.

use crate::codec::{Cursor, Malformed};
use crate::types::CollectionOp;
use crate::types::strings::Strings;

/// A change to the set at a key. An absent key reads as an empty set.
///
/// ```text
/// Add, Remove = strings: members
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SetOp<'a> {
    /// Members that are there already stay.
    Add { members: Strings<'a> },
    /// Members, all of which exist, are removed.
    Remove { members: Strings<'a> },
}

impl<'a> SetOp<'a> {
    pub fn add(members: impl Into<Strings<'a>>) -> Self {
        Self::Add { members: members.into() }
    }

    pub fn remove(members: impl Into<Strings<'a>>) -> Self {
        Self::Remove { members: members.into() }
    }
}

impl<'a> CollectionOp<'a> for SetOp<'a> {
    fn code(&self) -> u8 {
        match self {
            Self::Add { .. } => 0,
            Self::Remove { .. } => 1,
        }
    }

    #[inline]
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Add { members } | Self::Remove { members } => members.encode(out),
        }
    }

    fn decode(code: u8, cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        Ok(match code {
            0 => Self::Add { members: Strings::decode(cursor)? },
            1 => Self::Remove { members: Strings::decode(cursor)? },
            _ => return Err(Malformed("unknown set op")),
        })
    }
}
