//! What becomes of the groups' pending entries when entries are removed: KEEPREF, DELREF and ACKED of Redis 8.2.

use crate::command::Args;
use crate::command::options::is;
use crate::error::CommandError;
use crate::resp::number::parse_i64;

use super::id::StreamId;
use super::id_arg;
use super::value::Stream;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum References {
    /// They stay pending where they are.
    #[default]
    Keep,
    /// They are pending nowhere any more.
    Forget,
    /// Only entries that every group has read and acknowledged are removed.
    Acked,
}

impl References {
    pub fn parse(word: &[u8]) -> Option<Self> {
        if is(word, "keepref") {
            Some(Self::Keep)
        } else if is(word, "delref") {
            Some(Self::Forget)
        } else if is(word, "acked") {
            Some(Self::Acked)
        } else {
            None
        }
    }
}

/// Whether a group has yet to read an entry, or to acknowledge it.
pub fn is_needed(stream: &Stream, id: StreamId) -> bool {
    stream.groups().any(|(_, group)| id > group.last_id() || group.pending_at(id).is_some())
}

/// `[KEEPREF | DELREF | ACKED] IDS numids id [id ...]`, in any order.
pub fn parse_ids(args: Args<'_>) -> Result<(References, Vec<StreamId>), CommandError> {
    let (mut references, mut ids) = (None, None);
    let mut at = 0;
    while let Some(word) = args.try_get(at) {
        at += 1;
        if let (None, Some(given)) = (references, References::parse(word)) {
            references = Some(given);
        } else if is(word, "ids") && ids.is_none() && at < args.len() {
            let count = parse_i64(args.get(at)).and_then(|count| usize::try_from(count).ok());
            let count = count
                .filter(|&count| count > 0)
                .ok_or(CommandError::new("ERR Number of IDs must be a positive integer"))?;
            at += 1;
            if count > args.len() - at {
                return Err(CommandError::new(
                    "ERR The `numids` parameter must match the number of arguments",
                ));
            }
            ids = Some(at..at + count);
            at += count;
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    let ids = ids.ok_or(CommandError::SYNTAX)?;
    let ids = ids.map(|at| id_arg::id(args.get(at), 0)).collect::<Result<_, _>>()?;
    Ok((references.unwrap_or_default(), ids))
}
