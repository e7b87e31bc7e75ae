//! A value under another name: RENAME, RENAMENX, COPY, MOVE.
//!
//! Within a slot of one database a rename is one op. Everything else is logged as what makes the value anew, because ops work
//! on one key each; all of a command's ops are one record. That costs the value's size twice while the command runs.

use super::commands::database;
use crate::command::options::is;
use crate::command::{Args, CommandResult, Ctx};
use crate::error::CommandError;
use crate::keyspace::entry::Entry;
use crate::keyspace::op::{AnyOp, Op, Ops, encode_key_op};
use crate::keyspace::rebuild::ops_of;
use crate::resp::Reply;

const SAME_OBJECT: CommandError = CommandError::new("ERR source and destination objects are the same");

/// A key of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name<'a> {
    db: u32,
    key: &'a [u8],
}

pub(super) fn rename(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (from, to) = (args.get(1), args.get(2));
    if !ctx.exists(from) {
        return Err(CommandError::NO_SUCH_KEY);
    }
    if from != to {
        rename_existing(ctx, from, to)?;
    }
    reply.ok();
    Ok(())
}

pub(super) fn renamenx(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (from, to) = (args.get(1), args.get(2));
    if !ctx.exists(from) {
        return Err(CommandError::NO_SUCH_KEY);
    }
    let free = !ctx.exists(to);
    if free {
        rename_existing(ctx, from, to)?;
    }
    reply.integer(i64::from(free));
    Ok(())
}

/// The key `from` exists and is not `to`.
fn rename_existing(ctx: &mut Ctx<'_>, from: &[u8], to: &[u8]) -> CommandResult {
    if ctx.place(from).slot == ctx.place(to).slot {
        return ctx.apply(from, Op::Rename { to });
    }
    let db = ctx.session.db;
    move_value(ctx, Name { db, key: from }, Name { db, key: to })
}

pub(super) fn copy(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let mut to_db = ctx.session.db;
    let mut replace = false;
    let mut options = args.iter().skip(3);
    while let Some(option) = options.next() {
        if is(option, "replace") {
            replace = true;
        } else if is(option, "db")
            && let Some(number) = options.next()
        {
            to_db = database(ctx, number)?;
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    let from = Name { db: ctx.session.db, key: args.get(1) };
    let to = Name { db: to_db, key: args.get(2) };
    if from == to {
        return Err(SAME_OBJECT);
    }
    // To read a value in order to copy it is an access like any other.
    let copies = ctx.entry(from.key).is_some() && (replace || ctx.entry_in(to.db, to.key).is_none());
    if copies {
        copy_value(ctx, from, to)?;
        ctx.set_access(to.db, to.key, |accesses| accesses.first());
    }
    reply.integer(i64::from(copies));
    Ok(())
}

pub(super) fn r#move(ctx: &mut Ctx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.get(1);
    let from = Name { db: ctx.session.db, key };
    let to = Name { db: database(ctx, args.get(2))?, key };
    if from == to {
        return Err(SAME_OBJECT);
    }
    let moves = ctx.exists(key) && ctx.entry_in(to.db, key).is_none();
    if moves {
        move_value(ctx, from, to)?;
    }
    reply.integer(i64::from(moves));
    Ok(())
}

/// Makes `to` what `from` was, which exists. What the key remembers of its accesses goes with it, and this one is added, as where a
/// rename is one op.
fn move_value(ctx: &mut Ctx<'_>, from: Name<'_>, to: Name<'_>) -> CommandResult {
    let access = ctx.entry_in(from.db, from.key).map_or(0, Entry::access);
    copy_value(ctx, from, to)?;
    ctx.set_access(to.db, to.key, |accesses| accesses.next(access));
    ctx.apply_in(from.db, from.key, Op::Delete)
}

/// Makes `to` what `from` is, its expiry included. `from` exists.
fn copy_value(ctx: &mut Ctx<'_>, from: Name<'_>, to: Name<'_>) -> CommandResult {
    // Reading a value and changing the keyspace exclude each other, so the ops are written down first.
    let mut ops = Vec::new();
    if let Some(entry) = ctx.entry_in(from.db, from.key) {
        // Only the op is read back: where it goes is said when it is applied. A string stays whole: its copy is made to measure.
        ops_of(entry, usize::MAX, &mut |op| encode_key_op(&mut ops, 0, b"", &op));
    }
    if ctx.entry_in(to.db, to.key).is_some() {
        ctx.apply_in(to.db, to.key, Op::Delete)?;
    }
    for op in Ops::new(&ops) {
        let Ok(AnyOp::Key { op, .. }) = op else {
            return Err(CommandError::new("ERR internal error: the value could not be copied"));
        };
        ctx.apply_in(to.db, to.key, op)?;
    }
    Ok(())
}
