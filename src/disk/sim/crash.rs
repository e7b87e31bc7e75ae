//! What power loss leaves of a file.
//!
//! The cache is written back in whole sectors, in any order, at any time. So each sector of a file is, after a crash, as it was
//! after some change that touched it, or as it was synced, whatever became of its neighbours; and the length is one that the
//! file had since its last sync. That includes: a late write kept and an early one lost, a write torn at sector bounds, bytes
//! kept but cut off by a lost length, a length kept over bytes that read as zeros.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::prng::Prng;
use super::SECTOR_LEN;
use super::file::Change;

/// What becomes of what was not synced, names included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashStyle {
    /// Nothing of it is there: the medium as of the last syncs.
    LoseAll,
    /// All of it is there: as if everything had been synced in time.
    KeepAll,
    /// Bytes and lengths are there, creations, renames and removals are not.
    LoseNames,
    /// Creations, renames and removals are there, bytes and lengths are not.
    LoseBytes,
    /// The last change of each file is torn at sector bounds, those before it are there, and so are all names.
    Torn,
    /// Names and lengths are there, and noise wherever something was to be written.
    Garbage,
    /// A seeded choice per file, write, sector, length and name.
    Random,
    /// As `Random`, but a torn write may leave noise where it was to write.
    RandomWithGarbage,
}

/// What becomes of one sector of one change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lost,
    Kept,
    Garbage,
}

/// What becomes of one change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Lost,
    Kept,
    Torn,
}

/// A change of bytes, by the sectors it touches. A cut is one too: it makes the bytes behind it zero.
struct Patch<'a> {
    range: Range<u64>,
    /// `None`: zeros.
    bytes: Option<&'a [u8]>,
}

impl CrashStyle {
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::LoseAll,
        Self::KeepAll,
        Self::LoseNames,
        Self::LoseBytes,
        Self::Torn,
        Self::Garbage,
        Self::Random,
        Self::RandomWithGarbage,
    ];

    /// Whether the seed makes a difference.
    pub const fn is_random(self) -> bool {
        matches!(self, Self::Torn | Self::Garbage | Self::Random | Self::RandomWithGarbage)
    }
}

impl Patch<'_> {
    fn sectors(&self) -> Range<u64> {
        if self.range.is_empty() {
            return 0..0;
        }
        self.range.start / SECTOR_LEN..self.range.end.div_ceil(SECTOR_LEN)
    }

    /// The part of the range that lies in a sector.
    fn within(&self, sector: u64) -> Range<u64> {
        self.range.start.max(sector * SECTOR_LEN)..self.range.end.min((sector + 1) * SECTOR_LEN)
    }
}

/// The content of the medium after a crash with these pending changes.
pub(super) fn settle(medium: &[u8], changes: &[Change], style: CrashStyle, prng: &mut Prng) -> Vec<u8> {
    let outcomes = choose_outcomes(changes.len(), style, prng);
    let (patches, lengths) = patches_and_lengths(medium.len() as u64, changes);
    let kept_len = choose_length(&outcomes, &lengths, style, prng);

    // The last change of each sector that was written back takes those before it along: they were in the cache together.
    let mut last_kept: BTreeMap<u64, (usize, Fate)> = BTreeMap::new();
    for (i, (patch, outcome)) in patches.iter().zip(&outcomes).enumerate() {
        for sector in patch.sectors() {
            let fate = match outcome {
                Outcome::Lost => Fate::Lost,
                Outcome::Kept if style == CrashStyle::Garbage && patch.bytes.is_some() => Fate::Garbage,
                Outcome::Kept => Fate::Kept,
                Outcome::Torn if style == CrashStyle::RandomWithGarbage && prng.chance(1, 8) => Fate::Garbage,
                Outcome::Torn if prng.chance(1, 2) => Fate::Kept,
                Outcome::Torn => Fate::Lost,
            };
            if fate != Fate::Lost {
                last_kept.insert(sector, (i, fate));
            }
        }
    }

    // Pages of zeros need no bytes here: everything is as long as the longest it ever was, and cut at the end.
    let longest = lengths.iter().copied().max().unwrap_or(0).max(medium.len() as u64);
    let mut content = medium.to_vec();
    content.resize(longest as usize, 0);
    for (i, patch) in patches.iter().enumerate() {
        for sector in patch.sectors() {
            let Some(&(last, fate)) = last_kept.get(&sector).filter(|(last, _)| i <= *last) else { continue };
            let range = patch.within(sector);
            let target = &mut content[range.start as usize..range.end as usize];
            match patch.bytes {
                _ if i == last && fate == Fate::Garbage => prng.fill(target),
                Some(bytes) => {
                    let start = (range.start - patch.range.start) as usize;
                    target.copy_from_slice(&bytes[start..start + target.len()]);
                }
                None => target.fill(0),
            }
        }
    }
    content.resize(kept_len as usize, 0);
    content
}

/// A file as a whole may have been written back, or not at all, or in order, or in no order.
fn choose_outcomes(changes: usize, style: CrashStyle, prng: &mut Prng) -> Vec<Outcome> {
    let all = |outcome| vec![outcome; changes];
    match style {
        CrashStyle::LoseAll | CrashStyle::LoseBytes => return all(Outcome::Lost),
        CrashStyle::KeepAll | CrashStyle::LoseNames | CrashStyle::Garbage => return all(Outcome::Kept),
        CrashStyle::Torn => {
            let mut outcomes = all(Outcome::Kept);
            outcomes.last_mut().into_iter().for_each(|last| *last = Outcome::Torn);
            return outcomes;
        }
        CrashStyle::Random | CrashStyle::RandomWithGarbage => {}
    }
    match prng.below(8) {
        0 => all(Outcome::Lost),
        1 => all(Outcome::Kept),
        2 | 3 => {
            let torn = prng.below(changes as u64 + 1) as usize;
            let outcome = |i: usize| match i.cmp(&torn) {
                std::cmp::Ordering::Less => Outcome::Kept,
                std::cmp::Ordering::Equal => Outcome::Torn,
                std::cmp::Ordering::Greater => Outcome::Lost,
            };
            (0..changes).map(outcome).collect()
        }
        _ => (0..changes)
            .map(|_| match prng.below(3) {
                0 => Outcome::Lost,
                1 => Outcome::Kept,
                _ => Outcome::Torn,
            })
            .collect(),
    }
}

/// Per change what it does to bytes, and the length after it; the lengths begin with that of the medium.
fn patches_and_lengths(medium_len: u64, changes: &[Change]) -> (Vec<Patch<'_>>, Vec<u64>) {
    let mut lengths = vec![medium_len];
    let mut patches = Vec::with_capacity(changes.len());
    for change in changes {
        let len = lengths[lengths.len() - 1];
        let (patch, new_len) = match change {
            Change::Write { offset, bytes } => {
                let end = offset + bytes.len() as u64;
                (Patch { range: *offset..end, bytes: Some(bytes) }, len.max(end))
            }
            Change::SetLen(new_len) => (Patch { range: (*new_len).min(len)..len, bytes: None }, *new_len),
        };
        patches.push(patch);
        lengths.push(new_len);
    }
    (patches, lengths)
}

/// Mostly the length that the last kept change had seen, else that of any moment since the last sync.
fn choose_length(outcomes: &[Outcome], lengths: &[u64], style: CrashStyle, prng: &mut Prng) -> u64 {
    let in_step = outcomes.iter().rposition(|&outcome| outcome != Outcome::Lost).map_or(0, |last| last + 1);
    let random = matches!(style, CrashStyle::Random | CrashStyle::RandomWithGarbage);
    let at = if random && prng.chance(1, 4) { prng.below(lengths.len() as u64) as usize } else { in_step };
    lengths[at]
}
