//! The list commands that wait until there is an element: they look first, and wait if there is none. They are run again from
//! the start when one of the keys becomes a list.

use crate::command::many_keys::ManyKeys;
use crate::command::options::timeout_ms;
use crate::command::{Args, CommandResult, Ctx, Nil};
use crate::resp::Reply;

use super::commands::{list_to_change, move_element, pop_first, pop_op, side};
use super::value::Side;

fn pop(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>, side: Side) -> CommandResult {
    let timeout_ms = timeout_ms(args.get(args.len() - 1))?;
    let keys = (1..args.len() - 1).map(|at| args.get(at));
    for key in keys.clone() {
        if !ctx.may_take_from(key) {
            continue;
        }
        let Some(list) = list_to_change(ctx, key)? else { continue };
        reply.array(2);
        reply.bulk(key);
        reply.bulk_or_null(list.end(side));
        return ctx.apply(key, pop_op(side, 1));
    }
    ctx.wait_for(keys, timeout_ms, Nil::Array, reply);
    Ok(())
}

pub(super) fn blpop(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    pop(ctx, args, reply, Side::Left)
}

pub(super) fn brpop(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    pop(ctx, args, reply, Side::Right)
}

fn move_or_wait(
    ctx: &mut Ctx<'_>,
    source: (&[u8], Side),
    destination: (&[u8], Side),
    timeout_ms: Option<u64>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    if move_element(ctx, source, destination, reply)? {
        return Ok(());
    }
    if ctx.may_block {
        // Redis ends every wait for a list with a null array, even if the command's own reply is a bulk string.
        ctx.wait_for(std::iter::once(source.0), timeout_ms, Nil::Array, reply);
    } else {
        reply.null();
    }
    Ok(())
}

pub(super) fn blmove(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (from, to) = (side(args.get(3))?, side(args.get(4))?);
    let timeout_ms = timeout_ms(args.get(5))?;
    move_or_wait(ctx, (args.get(1), from), (args.get(2), to), timeout_ms, reply)
}

pub(super) fn brpoplpush(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let timeout_ms = timeout_ms(args.get(3))?;
    move_or_wait(ctx, (args.get(1), Side::Right), (args.get(2), Side::Left), timeout_ms, reply)
}

pub(super) fn blmpop(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    // Redis reports a bad time-out last.
    let many = ManyKeys::parse(args.tail(2), side)?;
    let timeout_ms = timeout_ms(args.get(1))?;
    if !pop_first(&many, ctx, reply)? {
        ctx.wait_for(many.keys(), timeout_ms, Nil::Array, reply);
    }
    Ok(())
}
