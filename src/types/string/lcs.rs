//! LCS: the longest common subsequence of two strings.
//!
//! The lengths of the subsequences of all prefixes are kept as one bit a cell, "one longer than the cell to the left", not as a
//! number: Hyyrö's bit-parallel recurrence computes a row by an addition and a few logical operations on long words. That is
//! 1/32 of the memory of the classic table and 1/64 of its steps, and the bits are just what the way back asks for.

use crate::command::options::{integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::entry::Entry;
use crate::resp::Reply;

/// Cells of the table, whatever the configuration says: 2 GiB of bits.
const CELLS_MAX: u64 = 1 << 34;

/// Bytes that Redis takes for a cell: its limit on the product of the lengths is kept.
const REDIS_CELL_BYTES: u64 = 4;

const WORD_BITS: usize = u64::BITS as usize;

/// A run of bytes common to both strings, as it lies in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    a_start: usize,
    b_start: usize,
    len: usize,
}

/// For each byte that occurs in `a` the bits of its places in `b`.
struct Places {
    words: usize,
    /// 1 + the number of the byte's bit row; 0: not in `a`.
    row_of: [u16; 256],
    bits: Vec<u64>,
}

impl Places {
    fn new(a: &[u8], b: &[u8]) -> Self {
        let words = b.len().div_ceil(WORD_BITS);
        let (mut row_of, mut rows) = ([0u16; 256], 0);
        for &byte in a {
            if row_of[usize::from(byte)] == 0 {
                rows += 1;
                row_of[usize::from(byte)] = rows;
            }
        }
        let mut bits = vec![0; usize::from(rows) * words];
        for (at, &byte) in b.iter().enumerate() {
            if let Some(row) = usize::from(row_of[usize::from(byte)]).checked_sub(1) {
                bits[row * words + at / WORD_BITS] |= 1 << (at % WORD_BITS);
            }
        }
        Self { words, row_of, bits }
    }

    /// The row of a byte of `a`.
    fn of(&self, byte: u8) -> &[u64] {
        let row = usize::from(self.row_of[usize::from(byte)]) - 1;
        &self.bits[row * self.words..][..self.words]
    }
}

/// Turns the row of the table for some prefix of `a` into that for the prefix with one more byte. In a row the bit of a place
/// in `b` is 0 where the subsequence of the prefixes is longer than without that byte of `b`. The first row is all ones.
fn next_row(row: &mut [u64], places: &[u64]) {
    let mut carry = false;
    for (bits, &places) in row.iter_mut().zip(places) {
        let matches = *bits & places;
        let (sum, overflow) = bits.overflowing_add(matches);
        let (sum, overflow_by_carry) = sum.overflowing_add(carry.into());
        carry = overflow | overflow_by_carry;
        *bits = sum | (*bits & !places);
    }
}

/// Length of the subsequence that the last row stands for. Bits behind the end of `b` stay 1.
fn length(row: &[u64]) -> usize {
    row.iter().map(|bits| bits.count_zeros() as usize).sum()
}

/// Length of the longest common subsequence.
fn lcs_len(a: &[u8], b: &[u8]) -> usize {
    let places = Places::new(a, b);
    let mut row = vec![u64::MAX; places.words];
    for &byte in a {
        next_row(&mut row, places.of(byte));
    }
    length(&row)
}

/// The longest common subsequence as runs, last first. Of several it is the one Redis finds: from the ends of both strings, a
/// common byte is always taken, and else `a` is shortened only if that keeps more than shortening `b`.
fn lcs_runs(a: &[u8], b: &[u8]) -> Vec<Run> {
    let places = Places::new(a, b);
    let words = places.words;
    let mut row = vec![u64::MAX; words];
    let mut table = Vec::with_capacity(a.len() * words);
    for &byte in a {
        next_row(&mut row, places.of(byte));
        table.extend_from_slice(&row);
    }
    let (mut i, mut j) = (a.len(), b.len());
    let mut runs: Vec<Run> = Vec::new();
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            match runs.last_mut() {
                Some(run) if (run.a_start, run.b_start) == (i + 1, j + 1) => {
                    *run = Run { a_start: i, b_start: j, len: run.len + 1 };
                }
                _ => runs.push(Run { a_start: i, b_start: j, len: 1 }),
            }
            continue;
        }
        let longer = table[(i - 1) * words + (j - 1) / WORD_BITS] >> ((j - 1) % WORD_BITS) & 1 == 0;
        if longer { i -= 1 } else { j -= 1 }
    }
    runs
}

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: usize,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut words = args.tail(3).iter();
        while let Some(word) = words.next() {
            if is(word, "IDX") {
                options.idx = true;
            } else if is(word, "LEN") {
                options.len = true;
            } else if is(word, "WITHMATCHLEN") {
                options.with_match_len = true;
            } else if is(word, "MINMATCHLEN") {
                let len = integer(words.next().ok_or(CommandError::SYNTAX)?)?;
                options.min_match_len = len.max(0) as usize;
            } else {
                return Err(CommandError::SYNTAX);
            }
        }
        if options.idx && options.len {
            return Err(CommandError::new(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

fn string<'c>(ctx: &'c mut Ctx<'_>, key: &[u8]) -> Result<&'c [u8], CommandError> {
    const NOT_STRINGS: CommandError = CommandError::new("ERR The specified keys must contain string values");
    match ctx.entry(key).map(Entry::as_string) {
        None => Ok(&[]),
        Some(value) => value.ok_or(NOT_STRINGS),
    }
}

pub(super) fn lcs(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let limit = ctx.server.config.proto_max_bulk_len();
    // Both values are borrowed from the context: the first has to be copied.
    let a = string(ctx, args.get(1))?.to_vec();
    let b = string(ctx, args.get(2))?;
    let options = Options::parse(args)?;
    let cells = (a.len() as u64 + 1).saturating_mul(b.len() as u64 + 1);
    if cells.saturating_mul(REDIS_CELL_BYTES) > limit || cells > CELLS_MAX {
        return Err(CommandError::new(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    if options.len {
        reply.integer(lcs_len(&a, b) as i64);
        return Ok(());
    }
    let runs = lcs_runs(&a, b);
    if options.idx {
        write_runs(&runs, &options, reply);
    } else {
        let text: Vec<u8> =
            runs.iter().rev().flat_map(|run| &a[run.a_start..run.a_start + run.len]).copied().collect();
        reply.bulk(&text);
    }
    Ok(())
}

fn write_runs(runs: &[Run], options: &Options, reply: &mut Reply<'_>) {
    let shown = || runs.iter().filter(|run| run.len >= options.min_match_len);
    reply.map(2);
    reply.bulk_str("matches");
    reply.array(shown().count());
    for run in shown() {
        reply.array(if options.with_match_len { 3 } else { 2 });
        for start in [run.a_start, run.b_start] {
            reply.array(2);
            reply.integer(start as i64);
            reply.integer((start + run.len - 1) as i64);
        }
        if options.with_match_len {
            reply.integer(run.len as i64);
        }
    }
    reply.bulk_str("len");
    reply.integer(runs.iter().map(|run| run.len).sum::<usize>() as i64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The classic table and Redis' way back through it.
    fn model(a: &[u8], b: &[u8]) -> (usize, Vec<u8>) {
        let mut table = vec![vec![0usize; b.len() + 1]; a.len() + 1];
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                table[i][j] = if a[i - 1] == b[j - 1] {
                    table[i - 1][j - 1] + 1
                } else {
                    table[i - 1][j].max(table[i][j - 1])
                };
            }
        }
        let (mut i, mut j, mut text) = (a.len(), b.len(), Vec::new());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                text.push(a[i - 1]);
                (i, j) = (i - 1, j - 1);
            } else if table[i - 1][j] > table[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        text.reverse();
        (table[a.len()][b.len()], text)
    }

    proptest! {
        #[test]
        fn the_subsequence_is_that_of_the_classic_table(
            a in "[abcd]{0,150}",
            b in "[abcd]{0,150}",
            other in any::<Vec<u8>>(),
        ) {
            for (a, b) in [(a.as_bytes(), b.as_bytes()), (&other, a.as_bytes()), (b.as_bytes(), &other)] {
                let (len, text) = model(a, b);
                let runs = lcs_runs(a, b);
                let of_a: Vec<u8> =
                    runs.iter().rev().flat_map(|run| &a[run.a_start..][..run.len]).copied().collect();
                let of_b: Vec<u8> =
                    runs.iter().rev().flat_map(|run| &b[run.b_start..][..run.len]).copied().collect();
                prop_assert_eq!(lcs_len(a, b), len);
                prop_assert_eq!(&of_a, &text);
                prop_assert_eq!(&of_b, &text);
            }
        }
    }
}
