//! The rows of a file slot by slot, shown where they lie in the block: for who needs no order of keys within a slot.

use super::reader::FileRows;
use super::rows::{Batch, Head, Placed, RowSource};
use crate::error::StoreError;

/// Called with each op of a row, and whether it is the first.
pub type VisitOne<'a> = dyn FnMut(&Head, &[u8], bool) -> Result<(), StoreError> + 'a;

pub struct SlotRows {
    rows: FileRows,
    /// Whole rows of the loaded block from the one that stood next on, of which the last is now the one that `rows` says stands next.
    /// None if that row has to be read by itself.
    gathered: Vec<Placed>,
    /// How many of these were passed.
    passed: usize,
}

impl SlotRows {
    pub fn new(rows: FileRows) -> Result<Self, StoreError> {
        let mut rows = Self { rows, gathered: Vec::new(), passed: 0 };
        rows.gather()?;
        Ok(rows)
    }

    /// The slot of the row that stands next.
    #[inline]
    pub fn slot(&self) -> Option<u16> {
        match self.gathered.get(self.passed) {
            Some(row) => Some(row.slot),
            None => self.rows.head().map(|head| head.slot),
        }
    }

    /// The rows that stand next and are of this slot, as far as they lie together.
    pub fn gathered(&self, slot: u16) -> Batch<'_> {
        let rows = &self.gathered[self.passed..];
        let len = rows.iter().position(|row| row.slot != slot).unwrap_or(rows.len());
        self.rows.batch(&rows[..len])
    }

    /// Goes on behind these rows.
    pub fn pass(&mut self, slot: u16) -> Result<(), StoreError> {
        self.passed += self.gathered(slot).len();
        if self.passed == self.gathered.len() { self.go_on() } else { Ok(()) }
    }

    /// Visits the ops of the row that stands next, and goes on to the next row. For a row that
    /// does not lie together: there must be one, and none gathered.
    pub fn take_one(&mut self, visit: &mut VisitOne<'_>) -> Result<(), StoreError> {
        let Some(head) = self.rows.head().cloned() else { return Ok(()) };
        let mut is_first = true;
        while let Some(op) = self.rows.next_op()? {
            visit(&head, op, std::mem::replace(&mut is_first, false))?;
        }
        self.go_on()
    }

    fn go_on(&mut self) -> Result<(), StoreError> {
        self.rows.advance()?;
        self.gather()
    }

    fn gather(&mut self) -> Result<(), StoreError> {
        self.passed = 0;
        self.rows.gather(&mut self.gathered)
    }
}
