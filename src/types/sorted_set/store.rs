//! What the commands with STORE in their name do in the end: a key becomes a sorted set of new members.

use crate::command::{CommandResult, Ctx};
use crate::keyspace::op::Op;
use crate::types::REBUILD_BYTES;

use super::value::SortedSetOp;

/// Members with scores, copied from where they were: the source of a command may be its destination too.
#[derive(Debug, Default)]
pub struct CopiedRows {
    bytes: Vec<u8>,
    /// Each score, and where its member ends in `bytes`.
    rows: Vec<(f64, usize)>,
}

impl CopiedRows {
    /// `score` is not NaN.
    pub fn push(&mut self, score: f64, member: &[u8]) {
        self.bytes.extend_from_slice(member);
        self.rows.push((score, self.bytes.len()));
    }

    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (f64, &[u8])> {
        let mut start = 0;
        self.rows.iter().map(move |&(score, end)| {
            let member = &self.bytes[start..end];
            start = end;
            (score, member)
        })
    }
}

/// Replaces whatever is at a key by a sorted set of these members; by nothing if there are none.
pub fn replace(ctx: &mut Ctx<'_>, key: &[u8], rows: &CopiedRows) -> CommandResult {
    ctx.delete(key)?;
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    for (score, member) in rows.iter() {
        let row_bytes = size_of::<f64>() + member.len();
        if bytes + row_bytes > REBUILD_BYTES && !chunk.is_empty() {
            set_many(ctx, key, &chunk)?;
            chunk.clear();
            bytes = 0;
        }
        chunk.push((score, member));
        bytes += row_bytes;
    }
    if chunk.is_empty() { Ok(()) } else { set_many(ctx, key, &chunk) }
}

fn set_many(ctx: &mut Ctx<'_>, key: &[u8], chunk: &[(f64, &[u8])]) -> CommandResult {
    ctx.apply(key, Op::SortedSet(SortedSetOp::SetMany { rows: chunk.into() }))
}
