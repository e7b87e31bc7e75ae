//! Rows: a key and the ops that make it, or go on with it. What snapshot files, sorted segments and merges exchange.

use std::ops::Range;

use crate::codec::{Cursor, Malformed};
use crate::error::StoreError;
use crate::keyspace::hash::KeyRef;
use crate::keyspace::op::SpaceId;

/// A row's place in the order of rows: by slot, then hash, keyspace and key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    pub slot: u16,
    pub hash: u64,
    pub space: SpaceId,
    pub key: Vec<u8>,
}

impl Head {
    #[inline]
    pub fn place(&self) -> KeyRef<'_> {
        KeyRef { bytes: &self.key, hash: self.hash, slot: self.slot }
    }
}

/// Rows in ascending order. An op is `code | payload` as in a record, without keyspace, key and length.
pub trait RowSource {
    /// The row that stands next; `None` at the end.
    fn head(&self) -> Option<&Head>;
    /// The next op of that row, in the order in which they apply; `None` behind the last.
    fn next_op(&mut self) -> Result<Option<&[u8]>, StoreError>;
    /// Goes on to the next row, whether all ops were looked at or not.
    fn advance(&mut self) -> Result<(), StoreError>;
}

/// Rows that lie together in memory, whole and in ascending order.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) rows: &'a [Placed],
}

/// Where a row's key and ops lie in the bytes of its batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Placed {
    pub space: SpaceId,
    pub slot: u16,
    pub hash: u64,
    pub key: Range<usize>,
    pub ops: Range<usize>,
    /// The ops are one, without its length.
    pub is_bare: bool,
}

impl<'a> Batch<'a> {
    pub fn is_empty(self) -> bool {
        self.rows.is_empty()
    }

    pub fn len(self) -> usize {
        self.rows.len()
    }

    /// Keyspace and hash of each row.
    pub fn places(self) -> impl Iterator<Item = (SpaceId, u64)> {
        self.rows.iter().map(|row| (row.space, row.hash))
    }

    pub fn rows(self) -> impl Iterator<Item = (SpaceId, KeyRef<'a>, RowOps<'a>)> {
        self.rows.iter().map(move |row| {
            let key = KeyRef { bytes: &self.bytes[row.key.clone()], hash: row.hash, slot: row.slot };
            (row.space, key, RowOps { rest: Cursor::new(&self.bytes[row.ops.clone()]), is_bare: row.is_bare })
        })
    }
}

/// The ops of a row of a batch.
#[derive(Debug, Clone, Copy)]
pub struct RowOps<'a> {
    rest: Cursor<'a>,
    is_bare: bool,
}

impl<'a> Iterator for RowOps<'a> {
    type Item = Result<&'a [u8], Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let op = if self.is_bare { self.rest.take(self.rest.rest().len()) } else { self.rest.bytes() };
        if op.is_err() {
            self.rest = Cursor::new(&[]);
        }
        Some(op)
    }
}

/// Takes rows in ascending order.
pub trait RowSink {
    fn begin(&mut self, head: &Head) -> Result<(), StoreError>;
    /// An op of the row that was begun last.
    fn op(&mut self, op: &[u8]) -> Result<(), StoreError>;
}
