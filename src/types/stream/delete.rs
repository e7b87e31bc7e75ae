//! XDEL and XDELEX.

use std::collections::BTreeSet;

use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::op::Op;
use crate::resp::Reply;

use super::commands::stream_to_change;
use super::id::StreamId;
use super::id_arg;
use super::references::{References, is_needed, parse_ids};
use super::value::{Ids, Stream, StreamOp};

fn delete(ctx: &mut Ctx<'_>, key: &[u8], ids: &[StreamId], forget: bool) -> CommandResult {
    if ids.is_empty() {
        return Ok(());
    }
    ctx.apply(key, Op::Stream(StreamOp::Delete { ids: Ids::new(ids), forget }))
}

pub(super) fn xdel(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.get(1);
    let Some(stream) = stream_to_change(ctx, key)? else {
        reply.integer(0);
        return Ok(());
    };
    let ids = args.tail(2).iter().map(|arg| id_arg::id(arg, 0));
    let mut ids = ids.collect::<Result<Vec<_>, CommandError>>()?;
    ids.retain(|id| stream.get(*id).is_some());
    ids.sort_unstable();
    ids.dedup();
    delete(ctx, key, &ids, false)?;
    reply.integer(ids.len() as i64);
    Ok(())
}

/// What XDELEX does.
#[derive(Default)]
struct Plan {
    deleted: BTreeSet<StreamId>,
    /// Ids without an entry that are pending all the same, by group: nobody shall have them pending any more.
    dangling: Vec<(Box<[u8]>, Vec<StreamId>)>,
}

impl Plan {
    /// Replies one number for each id.
    fn make(stream: &Stream, references: References, ids: &[StreamId], reply: &mut Reply<'_>) -> Self {
        let (mut plan, mut missing) = (Self::default(), BTreeSet::new());
        reply.array(ids.len());
        for id in ids {
            if stream.get(*id).is_none() {
                missing.insert(*id);
                reply.integer(-1);
            } else if plan.deleted.contains(id) {
                reply.integer(-1);
            } else if references == References::Acked && is_needed(stream, *id) {
                reply.integer(2);
            } else {
                plan.deleted.insert(*id);
                reply.integer(1);
            }
        }
        if references == References::Forget {
            for (name, group) in stream.groups() {
                let ids = missing.iter().copied().filter(|id| group.pending_at(*id).is_some());
                let ids: Vec<_> = ids.collect();
                if !ids.is_empty() {
                    plan.dangling.push((name.into(), ids));
                }
            }
        }
        plan
    }
}

pub(super) fn xdelex(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.get(1);
    let (references, ids) = parse_ids(args.tail(2))?;
    let Some(stream) = stream_to_change(ctx, key)? else {
        reply.array(ids.len());
        ids.iter().for_each(|_| reply.integer(-1));
        return Ok(());
    };
    let plan = Plan::make(stream, references, &ids, reply);
    let deleted: Vec<_> = plan.deleted.into_iter().collect();
    delete(ctx, key, &deleted, references == References::Forget)?;
    for (group, ids) in &plan.dangling {
        ctx.apply(key, Op::Stream(StreamOp::Acknowledge { group, ids: Ids::new(ids) }))?;
    }
    Ok(())
}
