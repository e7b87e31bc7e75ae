//! Rows: a key and the ops that make it, or go on with it. What snapshot files, sorted segments and merges exchange.

use crate::error::StoreError;
use crate::keyspace::op::SpaceId;

/// A row's place in the order of rows: by slot, then hash, keyspace and key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    pub slot: u16,
    pub hash: u64,
    pub space: SpaceId,
    pub key: Vec<u8>,
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

/// Takes rows in ascending order.
pub trait RowSink {
    fn begin(&mut self, head: &Head) -> Result<(), StoreError>;
    /// An op of the row that was begun last.
    fn op(&mut self, op: &[u8]) -> Result<(), StoreError>;
}
