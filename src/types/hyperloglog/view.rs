//! A string seen as a HyperLogLog: its header, its form, its count.

use super::dense::{self, DENSE_LEN};
use super::estimate::cardinality;
use super::registers::Registers;
use super::sparse;
use crate::error::CommandError;

const MAGIC: &[u8; 4] = b"HYLL";
/// Bytes before the registers.
pub(super) const HEADER: usize = 16;
const CARDINALITY: usize = 8;
/// In the last byte of the header: registers changed after the cardinality was written.
const STALE: u8 = 0x80;

pub(super) const CORRUPTED: CommandError = CommandError::new("INVALIDOBJ Corrupted HLL object detected");
pub(super) const NOT_ONE: CommandError =
    CommandError::new("WRONGTYPE Key is not a valid HyperLogLog string value.");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Dense,
    Sparse,
}

/// A string that has the header of a HyperLogLog and, if it is dense, the length of one. Whether sparse registers make sense shows
/// when they are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub string: &'a [u8],
    pub form: Form,
}

impl<'a> View<'a> {
    pub fn of(string: &'a [u8]) -> Result<Self, CommandError> {
        let header = string.get(..HEADER).filter(|header| header.starts_with(MAGIC));
        let form = match header.ok_or(NOT_ONE)?[MAGIC.len()] {
            0 if string.len() == DENSE_LEN => Form::Dense,
            1 => Form::Sparse,
            _ => return Err(NOT_ONE),
        };
        Ok(Self { string, form })
    }

    /// The cardinality that was written down, unless registers changed since.
    pub fn cached(&self) -> Option<i64> {
        let bytes = self.string[CARDINALITY..HEADER].try_into().expect("the header has these eight bytes");
        (!is_stale(self.string)).then(|| i64::from_le_bytes(bytes))
    }

    /// Counts anew.
    pub fn count(&self) -> Result<i64, CommandError> {
        let registers = &self.string[HEADER..];
        Ok(cardinality(&match self.form {
            Form::Dense => dense::histogram(registers),
            Form::Sparse => sparse::histogram(registers).ok_or(CORRUPTED)?,
        }))
    }

    /// Raises registers to those of this one where they are lower.
    pub fn merge_into(&self, registers: &mut Registers) -> Result<(), CommandError> {
        let own = &self.string[HEADER..];
        match self.form {
            Form::Dense => registers.raise_all(dense::registers(own)),
            Form::Sparse => sparse::each(own, |first, run| {
                registers.raise(first..first + run.len, run.value);
            })
            .ok_or(CORRUPTED)?,
        }
        Ok(())
    }

    /// The same in dense form, with the same header.
    pub fn to_dense(self) -> Result<Vec<u8>, CommandError> {
        if self.form == Form::Dense {
            return Ok(self.string.to_vec());
        }
        let mut string = vec![0; DENSE_LEN];
        string[..HEADER].copy_from_slice(&self.string[..HEADER]);
        string[MAGIC.len()] = 0;
        let registers = &mut string[HEADER..];
        sparse::each(&self.string[HEADER..], |first, run| {
            if run.value > 0 {
                (first..first + run.len).for_each(|index| dense::set(registers, index, run.value));
            }
        })
        .ok_or(CORRUPTED)?;
        Ok(string)
    }
}

/// An empty one.
pub(super) fn empty() -> Vec<u8> {
    let mut string = [MAGIC.as_slice(), &[1; 1], &[0; HEADER - MAGIC.len() - 1]].concat();
    sparse::put_empty(&mut string);
    string
}

pub(super) const fn is_stale(string: &[u8]) -> bool {
    string[HEADER - 1] & STALE != 0
}

/// Notes that registers changed.
pub(super) const fn make_stale(string: &mut [u8]) {
    string[HEADER - 1] |= STALE;
}

/// Where a counted cardinality goes.
pub(super) const fn cardinality_offset() -> u64 {
    CARDINALITY as u64
}
