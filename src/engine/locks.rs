//! Which stripes a command needs: its keys', its transaction's, and those of whoever waits for its keys.

use smallvec::SmallVec;

use crate::command::scripts::Scripts;
use crate::command::session::Session;
use crate::command::{Args, Command, Flags};
use crate::error::CommandError;
use crate::keyspace::gate::GateTable;
use crate::keyspace::hash::KeyRef;
use crate::keyspace::stripe::stripe_of;
use crate::keyspace::waiters::StripeSet;
use crate::keyspace::{Held, Keyspace};

/// A command's keys with their places.
pub type Keys<'a> = SmallVec<[KeyRef<'a>; 2]>;

/// The keys of a request, and their stripes.
#[inline]
pub fn keys_of<'a>(
    keyspace: &Keyspace,
    command: &Command,
    args: Args<'a>,
    db: u32,
) -> Result<(Keys<'a>, StripeSet), CommandError> {
    let space = keyspace.space(db);
    let mut keys = Keys::new();
    let mut set = StripeSet::default();
    let mut all = command.flags.contains(Flags::ALL_KEYS);
    for spec in command.keys {
        all |= spec.finds_not_named(args) || spec.is_ambiguous(args);
        spec.each(args, &mut |index| {
            let key = keyspace.key(args.get(index));
            // Read by the lookup, or written when the record is appended: it may come while the command looks for its entry.
            keyspace.gate.prefetch(GateTable::cell(space, &key));
            set = set.with(StripeSet::one(stripe_of(key.slot)));
            keys.push(key);
        })?;
    }
    if all {
        set = StripeSet::ALL;
    }
    Ok((keys, set))
}

/// The stripes of a session's queued commands and watched keys.
pub fn of_transaction(keyspace: &Keyspace, session: &Session) -> StripeSet {
    let mut set = StripeSet::default();
    for watched in session.watched.iter() {
        set = set.with(StripeSet::one(stripe_of(keyspace.key(&watched.key).slot)));
    }
    for queued in session.multi.iter().flat_map(|multi| &multi.queue) {
        // Arguments that don't fit are the queued command's own error, when it runs.
        let found = keys_of(keyspace, queued.command, queued.args.as_args(), session.db);
        set = set.with(found.map_or(StripeSet::default(), |(_, set)| set));
    }
    set
}

/// Locks `set`, and more if a write may wake somebody whose service needs more. `None` if that had to wait for a script that has been
/// running for too long.
#[inline]
pub fn lock<'a>(
    keyspace: &'a Keyspace,
    command: &Command,
    keys: &Keys<'_>,
    db: u32,
    set: StripeSet,
    scripts: &Scripts,
) -> Option<Held<'a>> {
    let may_wake = command.is_write() || command.flags.contains(Flags::TRANSACTION);
    set.lock_with_needed(
        |set| keyspace.lock_unless(set, &|| scripts.is_busy()),
        |set, held| match held {
            Some(held) if set != StripeSet::ALL && may_wake => needed_by_waiters(held, command, keys, db),
            _ => StripeSet::default(),
        },
    )
}

fn needed_by_waiters(held: &Held<'_>, command: &Command, keys: &Keys<'_>, db: u32) -> StripeSet {
    if held.shelves().all(|shelf| shelf.waiters.nobody_waits()) {
        return StripeSet::default();
    }
    if command.flags.contains(Flags::TRANSACTION) {
        return StripeSet::ALL;
    }
    let space = held.keyspace().space(db);
    let mut needed = StripeSet::default();
    for key in keys {
        needed = needed.with(held.shelf(key.slot).waiters.stripes_for(space, key.bytes));
    }
    needed
}
