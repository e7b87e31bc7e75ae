//! XTRIM, and the trimming options that XADD has too.

use crate::command::options::{integer, is};
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::op::Op;
use crate::resp::Reply;

use super::commands::stream_to_change;
use super::id::StreamId;
use super::id_arg;
use super::references::{References, is_needed};
use super::value::{Ids, Keep, Stream, StreamOp};

/// Entries that `~` removes at most unless LIMIT says otherwise.
const LIMIT: u64 = 10_000;

/// The trimming options while they are read.
#[derive(Default)]
pub(super) struct Options {
    keep: Option<Keep>,
    approximate: bool,
    limit: Option<u64>,
    references: Option<References>,
}

impl Options {
    /// Reads the option at a place, if one is there. Returns the place behind it.
    pub fn take(&mut self, args: Args<'_>, at: usize) -> Result<Option<usize>, CommandError> {
        let (word, behind) = (args.get(at), args.len() - at - 1);
        if behind > 0 && (is(word, "maxlen") || is(word, "minid")) {
            return self.take_strategy(args, at).map(Some);
        }
        if behind > 0 && is(word, "limit") {
            let limit = u64::try_from(integer(args.get(at + 1))?)
                .map_err(|_| CommandError::new("ERR The LIMIT argument must be >= 0."))?;
            self.limit = Some(limit);
            return Ok(Some(at + 2));
        }
        if self.references.is_some() {
            return Ok(None);
        }
        self.references = References::parse(word);
        Ok(self.references.map(|_| at + 1))
    }

    fn take_strategy(&mut self, args: Args<'_>, at: usize) -> Result<usize, CommandError> {
        if self.keep.is_some() {
            return Err(CommandError::new(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        self.approximate = false;
        let mut value = at + 1;
        if value + 1 < args.len() && matches!(args.get(value), b"~" | b"=") {
            self.approximate = args.get(value) == b"~";
            value += 1;
        }
        let threshold = args.get(value);
        self.keep = Some(if is(args.get(at), "maxlen") {
            let max = u64::try_from(integer(threshold)?)
                .map_err(|_| CommandError::new("ERR The MAXLEN argument must be >= 0."))?;
            Keep::Len(max)
        } else {
            Keep::From(id_arg::id(threshold, 0)?)
        });
        Ok(value + 1)
    }

    fn check_limit(&self) -> CommandResult {
        if self.limit.is_some_and(|limit| limit > 0) && self.keep.is_none() {
            return Err(CommandError::new(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        Ok(())
    }

    /// Checks what only all options together tell. `None`: nothing is to be trimmed.
    pub fn finish(self) -> Result<Option<Trim>, CommandError> {
        self.check_limit()?;
        if self.limit.is_some() && !self.approximate {
            return Err(CommandError::new(
                "ERR syntax error, LIMIT cannot be used without the special ~ option",
            ));
        }
        let limit = self.approximate.then_some(self.limit.unwrap_or(LIMIT));
        let references = self.references.unwrap_or_default();
        Ok(self.keep.map(|keep| Trim { keep, limit, references }))
    }

    /// As [`Self::finish`], where something must be trimmed.
    fn finish_required(self) -> Result<Trim, CommandError> {
        const NO_STRATEGY: CommandError =
            CommandError::new("ERR syntax error, XTRIM must be called with a trimming strategy");
        self.check_limit()?;
        if self.keep.is_none() { Err(NO_STRATEGY) } else { self.finish()?.ok_or(NO_STRATEGY) }
    }
}

/// What is to be trimmed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trim {
    keep: Keep,
    /// With `~`: entries to look at, 0 for any number.
    limit: Option<u64>,
    references: References,
}

impl Trim {
    /// Returns how many entries were removed.
    pub fn run(self, ctx: &mut Ctx<'_>, key: &[u8]) -> Result<usize, CommandError> {
        let Some(stream) = stream_to_change(ctx, key)? else { return Ok(0) };
        let wanted = stream.excess(self.keep, self.limit);
        let (count, ids) = if self.references == References::Acked && stream.groups().len() > 0 {
            self.acked(stream, wanted)
        } else {
            (wanted, Vec::new())
        };
        if count > 0 {
            let forget = self.references == References::Forget;
            ctx.apply(key, Op::Stream(StreamOp::Trim { count, forget }))?;
        }
        if !ids.is_empty() {
            ctx.apply(key, Op::Stream(StreamOp::Delete { ids: Ids::new(&ids), forget: false }))?;
        }
        Ok(count as usize + ids.len())
    }

    /// Of the entries from the head on, at most `wanted` that no group needs: how many of the first ones, and the ids of others behind
    /// one that is needed. Looks no further than all groups have read.
    fn acked(self, stream: &Stream, wanted: u64) -> (u64, Vec<StreamId>) {
        let (mut count, mut ids) = (0, Vec::new());
        let read = stream.groups().map(|(_, group)| group.last_id()).min().unwrap_or(StreamId::MAX);
        let end = match self.keep {
            Keep::From(id) => id.previous().map_or(StreamId::MIN, |id| id.min(read)),
            Keep::Len(_) => read,
        };
        let limit = self.limit.filter(|&limit| limit > 0).and_then(|limit| usize::try_from(limit).ok());
        let mut all_before = true;
        for entry in stream.range(StreamId::MIN..=end).take(limit.unwrap_or(usize::MAX)) {
            if count + ids.len() as u64 == wanted {
                break;
            }
            if is_needed(stream, entry.id) {
                all_before = false;
            } else if all_before {
                count += 1;
            } else {
                ids.push(entry.id);
            }
        }
        (count, ids)
    }
}

pub(super) fn xtrim(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (mut options, words) = (Options::default(), args.tail(2));
    let mut at = 0;
    while at < words.len() {
        at = options.take(words, at)?.ok_or(CommandError::SYNTAX)?;
    }
    let trim = options.finish_required()?;
    reply.integer(trim.run(ctx, args.get(1))? as i64);
    Ok(())
}
