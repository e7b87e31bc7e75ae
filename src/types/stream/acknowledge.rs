//! XACK and XACKDEL.

use std::collections::BTreeSet;

use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::op::Op;
use crate::resp::Reply;

use super::group::Group;
use super::id::StreamId;
use super::id_arg::id;
use super::references::{References, parse_ids};
use super::value::{Ids, Stream, StreamOp};

pub(super) fn xack(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, name) = (args.get(1), args.get(2));
    let Some(group) = ctx.stream(key)?.and_then(|stream| stream.group(name)) else {
        // Whatever the ids are.
        reply.integer(0);
        return Ok(());
    };
    let ids = args.tail(3).iter().map(|arg| id(arg, 0));
    let mut ids = ids.collect::<Result<smallvec::SmallVec<[StreamId; 8]>, CommandError>>()?;
    ids.retain(|id| group.pending_at(*id).is_some());
    ids.sort_unstable();
    ids.dedup();
    acknowledge(ctx, key, name, &ids)?;
    reply.integer(ids.len() as i64);
    Ok(())
}

/// Takes entries, all of them pending, off a group's list. No op if there are none.
pub(super) fn acknowledge(ctx: &mut Ctx<'_>, key: &[u8], group: &[u8], ids: &[StreamId]) -> CommandResult {
    if ids.is_empty() {
        return Ok(());
    }
    ctx.apply(key, Op::Stream(StreamOp::Acknowledge { group, ids: Ids::new(ids) }))
}

/// What XACKDEL does.
#[derive(Default)]
struct Plan {
    acknowledged: BTreeSet<StreamId>,
    deleted: BTreeSet<StreamId>,
    /// Ids without an entry that are pending in other groups all the same, by group: they shall be so no more.
    dangling: Vec<(Box<[u8]>, Vec<StreamId>)>,
}

/// Whether a group but this one has yet to read an entry, or to acknowledge it.
fn others_need(stream: &Stream, name: &[u8], group: &Group, id: StreamId) -> bool {
    let mut others = stream.groups().filter(|(other, _)| *other != name);
    id > group.last_id() || others.any(|(_, other)| id > other.last_id() || other.pending_at(id).is_some())
}

impl Plan {
    /// Replies one number for each id.
    fn make(
        stream: &Stream,
        name: &[u8],
        references: References,
        ids: &[StreamId],
        reply: &mut Reply<'_>,
    ) -> Self {
        let mut plan = Self::default();
        for &id in ids {
            let pending = stream.group(name).filter(|group| group.pending_at(id).is_some());
            let Some(group) = pending.filter(|_| !plan.acknowledged.contains(&id)) else {
                reply.integer(-1);
                continue;
            };
            plan.acknowledged.insert(id);
            if references == References::Acked && others_need(stream, name, group, id) {
                reply.integer(2);
                continue;
            }
            if stream.get(id).is_some() {
                plan.deleted.insert(id);
            }
            reply.integer(1);
        }
        if references == References::Forget {
            let missing = |id: &&StreamId| stream.get(**id).is_none();
            for (other, group) in stream.groups().filter(|(other, _)| *other != name) {
                let ids = ids.iter().filter(missing).filter(|id| group.pending_at(**id).is_some());
                let ids: BTreeSet<_> = ids.copied().collect();
                if !ids.is_empty() {
                    plan.dangling.push((other.into(), ids.into_iter().collect()));
                }
            }
        }
        plan
    }
}

pub(super) fn xackdel(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, name) = (args.get(1), args.get(2));
    let (references, ids) = parse_ids(args.tail(3))?;
    reply.array(ids.len());
    let Some(stream) = ctx.stream(key)? else {
        ids.iter().for_each(|_| reply.integer(-1));
        return Ok(());
    };
    let plan = Plan::make(stream, name, references, &ids, reply);
    let acknowledged: Vec<_> = plan.acknowledged.into_iter().collect();
    acknowledge(ctx, key, name, &acknowledged)?;
    let deleted: Vec<_> = plan.deleted.into_iter().collect();
    if !deleted.is_empty() {
        let forget = references == References::Forget;
        ctx.apply(key, Op::Stream(StreamOp::Delete { ids: Ids::new(&deleted), forget }))?;
    }
    for (group, ids) in &plan.dangling {
        acknowledge(ctx, key, group, ids)?;
    }
    Ok(())
}
