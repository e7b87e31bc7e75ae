//! The sparse form: runs of equal registers, first to last.
//!
//! ```text
//! ZERO   00llllll             1..=64 zeros
//! XZERO  01llllll llllllll    1..=16384 zeros, the high bits first
//! VAL    1vvvvvll             1..=4 registers of a value from 1 to 32
//! ```
//! Lengths and values are stored less one. How a run is split and which neighbours become one again is part of the form: the same
//! elements in the same order make the same bytes in Redis.

use super::element::{Element, REGISTERS};
use super::estimate::Histogram;
use super::view::HEADER;

const ZERO_MAX: usize = 64;
const VAL_LEN_MAX: usize = 4;
const VAL_MAX: u8 = 32;
/// Longest string that can be well formed: each register a run of two bytes.
const LEN_MAX: usize = HEADER + 2 * REGISTERS;
/// Runs that are looked at for equal neighbours behind a change.
const MERGE_RUNS: usize = 5;

/// Registers of one value. Zero has runs of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub value: u8,
    pub len: usize,
}

impl Run {
    /// The first run of `bytes` and the bytes it takes. None if there is no whole one.
    fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let first = *bytes.first()?;
        let low = usize::from(first & 0x3f);
        Some(match first >> 6 {
            0 => (Self { value: 0, len: low + 1 }, 1),
            1 => (Self { value: 0, len: (low << 8 | usize::from(*bytes.get(1)?)) + 1 }, 2),
            _ => (Self { value: (first >> 2 & 0x1f) + 1, len: usize::from(first & 3) + 1 }, 1),
        })
    }

    /// Appends a run of up to 16384 zeros, or up to four values; an empty one is nothing.
    fn put(self, out: &mut smallvec::SmallVec<[u8; 8]>) {
        match (self.value, self.len) {
            (_, 0) => {}
            (0, len @ ..=ZERO_MAX) => out.push(len as u8 - 1),
            (0, len) => out.extend_from_slice(&[0x40 | ((len - 1) >> 8) as u8, (len - 1) as u8]),
            (value, len) => out.push(0x80 | (value - 1) << 2 | (len - 1) as u8),
        }
    }
}

/// Calls `visit` with the number of each run's first register, and the run. None if these are not the runs of 16384 registers.
pub(super) fn each(bytes: &[u8], mut visit: impl FnMut(usize, Run)) -> Option<()> {
    let (mut rest, mut first) = (bytes, 0);
    while !rest.is_empty() {
        let (run, size) = Run::read(rest)?;
        if first + run.len > REGISTERS {
            return None;
        }
        visit(first, run);
        first += run.len;
        rest = &rest[size..];
    }
    (first == REGISTERS).then_some(())
}

pub(super) fn histogram(bytes: &[u8]) -> Option<Histogram> {
    let mut histogram = [0; 64];
    each(bytes, |_, run| histogram[usize::from(run.value)] += run.len as u32)?;
    Some(histogram)
}

/// Appends the registers of an empty HyperLogLog.
pub(super) fn put_empty(string: &mut Vec<u8>) {
    let mut run = smallvec::SmallVec::new();
    Run { value: 0, len: REGISTERS }.put(&mut run);
    string.extend_from_slice(&run);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    Nothing,
    Changed,
    /// It has to become dense first.
    NoRoom,
    /// The runs end before the register.
    Corrupted,
}

/// Where a register's run is in the string.
struct Found {
    run: Run,
    at: usize,
    size: usize,
    /// Number of the run's first register.
    first: usize,
    /// Where the run before it is.
    before: usize,
}

fn find(string: &[u8], index: usize) -> Option<Found> {
    let (mut at, mut first, mut before) = (HEADER, 0, HEADER);
    loop {
        let (run, size) = Run::read(&string[at..])?;
        if index < first + run.len {
            return Some(Found { run, at, size, first, before });
        }
        before = at;
        at += size;
        first += run.len;
    }
}

/// Raises a register of a string of sparse form, which is to be no longer than `len_max`.
pub(super) fn add(string: &mut Vec<u8>, element: Element, len_max: u64) -> Added {
    if element.rank > VAL_MAX {
        return Added::NoRoom;
    }
    let index = usize::from(element.index);
    let Some(Found { run, at, size, first, before }) =
        find(string, index).filter(|_| string.len() <= LEN_MAX)
    else {
        return Added::Corrupted;
    };
    if run.value >= element.rank {
        return Added::Nothing;
    }
    let mut runs = smallvec::SmallVec::<[u8; 8]>::new();
    let behind = first + run.len - index - 1;
    Run { len: index - first, ..run }.put(&mut runs);
    Run { value: element.rank, len: 1 }.put(&mut runs);
    Run { len: behind, ..run }.put(&mut runs);
    if runs.len() > size && (string.len() + runs.len() - size) as u64 > len_max {
        return Added::NoRoom;
    }
    string.splice(at..at + size, runs);
    join(string, before);
    Added::Changed
}

/// Makes one run of equal neighbours, as far as one run can be that long, in a few runs from `at` on.
fn join(string: &mut Vec<u8>, mut at: usize) {
    for _ in 0..MERGE_RUNS {
        let Some((run, size)) = Run::read(&string[at.min(string.len())..]) else { return };
        let next = Run::read(&string[at + size..]).map(|(next, _)| next);
        let joined =
            next.filter(|next| run.value > 0 && next.value == run.value && run.len + next.len <= VAL_LEN_MAX);
        if let Some(next) = joined {
            string.remove(at);
            string[at] += run.len as u8;
            debug_assert!(Run::read(&string[at..]) == Some((Run { len: run.len + next.len, ..run }, 1)));
        } else {
            at += size;
        }
    }
}

/// The runs as PFDEBUG DECODE shows them. What is no whole run at the end is left out.
pub(super) fn describe(bytes: &[u8]) -> String {
    let (mut rest, mut words) = (bytes, Vec::new());
    while let Some((run, size)) = Run::read(rest) {
        words.push(match (run, size) {
            (Run { value: 0, len }, 1) => format!("z:{len}"),
            (Run { value: 0, len }, _) => format!("Z:{len}"),
            (Run { value, len }, _) => format!("v:{value},{len}"),
        });
        rest = &rest[size..];
    }
    words.join(" ")
}
