//! Where a command's keys are among its arguments: Redis' key specifications.

use super::Args;
use crate::error::CommandError;
use crate::resp::number::parse_i64;

/// Where to begin looking.
#[derive(Debug, Clone, Copy)]
pub enum Begin {
    /// The argument with this number; the name is number 0.
    Index(usize),
    /// Behind this word, looked for from an argument on (negative: from the end, backwards).
    Keyword { word: &'static str, from: i32 },
    /// There is no rule that clients could follow: they are told `unknown`, and the function tells us.
    Unknown(fn(Args<'_>) -> Found),
}

/// What a specification without a rule finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    None,
    /// The argument with this number.
    At(usize),
    /// Keys whose names are made while the command runs: it needs every stripe.
    NotNamed,
}

/// Which arguments from there are keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Find {
    /// Up to `last` (relative to the beginning; negative: from the end of all arguments), every `step`-th;
    /// with a `limit` of n only the first n-th part.
    Range { last: i32, step: usize, limit: usize },
    /// `number_at` (relative) holds how many there are; the first is at `first` (relative).
    Count { number_at: usize, first: usize, step: usize },
}

/// One key specification.
#[derive(Debug, Clone, Copy)]
pub struct KeySpec {
    pub begin: Begin,
    pub find: Find,
    /// Redis' flags: `RW`, `RO`, `OW`, `RM`, then `access`, `update`, `insert`, `delete`, `not_key`, ...
    pub flags: &'static [&'static str],
}

impl KeySpec {
    /// A single key at a position.
    pub const fn at(index: usize, flags: &'static [&'static str]) -> Self {
        Self::range(index, 0, 1, flags)
    }

    /// Keys from an argument up to `last` (relative to it; negative: from the end), every `step`-th.
    pub const fn range(index: usize, last: i32, step: usize, flags: &'static [&'static str]) -> Self {
        Self { begin: Begin::Index(index), find: Find::Range { last, step, limit: 0 }, flags }
    }

    /// `numkeys` at `index`, the keys behind it.
    pub const fn counted(index: usize, flags: &'static [&'static str]) -> Self {
        let find = Find::Count { number_at: 0, first: 1, step: 1 };
        Self { begin: Begin::Index(index), find, flags }
    }

    /// At most one key, where `find` says; see [`Begin::Unknown`].
    pub const fn unknown(find: fn(Args<'_>) -> Found, flags: &'static [&'static str]) -> Self {
        Self { begin: Begin::Unknown(find), ..Self::at(0, flags) }
    }

    /// Whether there are keys that no argument names.
    #[inline]
    pub fn finds_not_named(&self, args: Args<'_>) -> bool {
        matches!(self.begin, Begin::Unknown(find) if find(args) == Found::NotNamed)
    }

    /// Whether the word behind which the keys begin stands in several places: then it may be a value, and the keys elsewhere.
    #[inline]
    pub fn is_ambiguous(&self, args: Args<'_>) -> bool {
        let Begin::Keyword { word, .. } = self.begin else { return false };
        args.iter().skip(1).filter(|arg| arg.eq_ignore_ascii_case(word.as_bytes())).nth(1).is_some()
    }

    /// Calls `visit` with the number of every argument that is a key. An error if the arguments don't fit.
    pub fn each(&self, args: Args<'_>, visit: &mut dyn FnMut(usize)) -> Result<(), CommandError> {
        let invalid = || CommandError::new("ERR Invalid arguments specified for command");
        let Some(begin) = self.begin_in(args) else { return Ok(()) };
        match self.find {
            Find::Range { last, step, limit } => {
                let last = match last {
                    0.. => begin + last as usize,
                    _ if limit <= 1 => (args.len() as i64 + i64::from(last)).max(0) as usize,
                    _ => (begin + (args.len() - begin) / limit).saturating_add_signed(last as isize),
                };
                if last >= args.len() {
                    return Err(invalid());
                }
                (begin..=last).step_by(step).for_each(visit);
            }
            Find::Count { number_at, first, step } => {
                let number = args.try_get(begin + number_at).and_then(parse_i64).ok_or_else(invalid)?;
                let first = begin + first;
                let count = usize::try_from(number).map_err(|_| invalid())?;
                let room = args.len().saturating_sub(first).div_ceil(step);
                if count > room {
                    return Err(invalid());
                }
                (first..).step_by(step).take(count).for_each(visit);
            }
        }
        Ok(())
    }

    fn begin_in(&self, args: Args<'_>) -> Option<usize> {
        match self.begin {
            Begin::Index(index) => (index < args.len()).then_some(index),
            Begin::Unknown(find) => match find(args) {
                Found::At(index) => (index < args.len()).then_some(index),
                Found::None | Found::NotNamed => None,
            },
            Begin::Keyword { word, from } => {
                let is_word = |i: &usize| args.get(*i).eq_ignore_ascii_case(word.as_bytes());
                let found = if from >= 0 {
                    (from as usize..args.len()).find(is_word)
                } else {
                    let end = args.len().saturating_sub(from.unsigned_abs() as usize - 1);
                    (1..end).rev().find(is_word)
                };
                found.map(|at| at + 1).filter(|&at| at < args.len())
            }
        }
    }
}
