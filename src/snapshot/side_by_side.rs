//! Several sources read as one: key by key, the ops of each key from the oldest source to the newest.

use std::cmp::Ordering;

use super::rows::{Head, RowSource};
use crate::error::StoreError;
use crate::keyspace::op::Effect;

/// Called with each op of a row.
pub type Visit<'a> = dyn FnMut(&[u8]) -> Result<(), StoreError> + 'a;

pub struct SideBySide<'s, 'r> {
    /// Oldest first.
    sources: &'s mut [&'r mut dyn RowSource],
    /// Those that have the row that stands next.
    having: Vec<usize>,
    /// First ops of a row's parts, read ahead.
    firsts: Vec<Vec<u8>>,
}

impl<'s, 'r> SideBySide<'s, 'r> {
    pub fn new(sources: &'s mut [&'r mut dyn RowSource]) -> Self {
        let firsts = sources.iter().map(|_| Vec::new()).collect();
        let mut rows = Self { sources, having: Vec::new(), firsts };
        rows.find();
        rows
    }

    /// The row that stands next.
    pub fn head(&self) -> Option<&Head> {
        self.sources[*self.having.first()?].head()
    }

    /// The only source that has this row, counted from the oldest.
    pub fn only_source(&self) -> Option<usize> {
        if self.having.len() == 1 { self.having.first().copied() } else { None }
    }

    fn find(&mut self) {
        self.having.clear();
        let mut least: Option<&Head> = None;
        for (number, source) in self.sources.iter().enumerate() {
            let Some(head) = source.head() else { continue };
            match least.map_or(Ordering::Less, |least| head.cmp(least)) {
                Ordering::Less => {
                    least = Some(head);
                    self.having.clear();
                    self.having.push(number);
                }
                Ordering::Equal => self.having.push(number),
                Ordering::Greater => {}
            }
        }
    }

    /// Visits the row's ops and goes on to the next. Rows of older sources than the newest that begins with a set or a delete
    /// are passed over: their ops are void.
    pub fn take(&mut self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        if let [only] = self.having[..] {
            while let Some(op) = self.sources[only].next_op()? {
                visit(op)?;
            }
            return self.skip();
        }
        let mut oldest = self.having.len();
        while oldest > 0 {
            oldest -= 1;
            let first = &mut self.firsts[oldest];
            first.clear();
            first.extend_from_slice(self.sources[self.having[oldest]].next_op()?.unwrap_or_default());
            if Effect::of(first).is_fresh_start() {
                break;
            }
        }
        for (number, first) in self.having.iter().zip(&self.firsts).skip(oldest) {
            if first.is_empty() {
                continue;
            }
            visit(first)?;
            while let Some(op) = self.sources[*number].next_op()? {
                visit(op)?;
            }
        }
        self.skip()
    }

    /// Goes on to the next row.
    pub fn skip(&mut self) -> Result<(), StoreError> {
        for &number in &self.having {
            self.sources[number].advance()?;
        }
        self.find();
        Ok(())
    }
}
