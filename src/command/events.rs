//! Keyspace notifications: which events Redis names for what a command did. This is the only place that says so.
//!
//! While a command runs, each op it makes leaves a note, if notifications are on and somebody listens at all. When its handler is done
//! the notes are read together with its arguments: a value made by several ops is one event, a key that was deleted and made again is
//! no `del`. Expiry and eviction tell of themselves at once. The messages go the way of all messages ([`super::channels`]): behind the
//! record that they tell of.

use super::channels::{self, Topic};
use super::context::{Ctx, Transaction};
use super::options::is;
use super::server::Server;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::Args;
use crate::config::Notify;
use crate::keyspace::hash::KeyRef;
use crate::keyspace::op::Op;
use crate::types::hash::value::HashOp;
use crate::types::list::value::ListOp;
use crate::types::list::value::Side;
use crate::types::set::value::SetOp;
use crate::types::sorted_set::value::SortedSetOp;
use crate::types::stream::value::{Stream, StreamOp};
use crate::types::string::value::StringOp;

/// A class and a name: what is told of a key.
pub type Event = (Notify, &'static str);

pub const EXPIRED: Event = (Notify::EXPIRED, "expired");
pub const EVICTED: Event = (Notify::EVICTED, "evicted");
pub const KEY_MISS: Event = (Notify::KEY_MISS, "keymiss");
pub const FIELDS_EXPIRED: Event = (Notify::HASH, "hexpired");
pub const DELETED: Event = (Notify::GENERIC, "del");
const NEW: Event = (Notify::NEW_KEY, "new");
const EXPIRE: Event = (Notify::GENERIC, "expire");

/// What an op did, as far as it matters for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Delete,
    Expire,
    Persist,
    String {
        expires: bool,
    },
    Push(Side),
    Pop(Side),
    ListSet,
    ListInsert,
    ListRemove,
    ListTrim,
    HashSet,
    HashRemove,
    HashExpire,
    HashPersist,
    SetAdd,
    SetRemove,
    SortedSetSet,
    SortedSetRemove,
    StreamAdd,
    StreamTrim,
    StreamDelete,
    StreamReset,
    SetGroup,
    RemoveGroup,
    NewConsumer,
    RemoveConsumer,
    /// It was written as it was.
    Unchanged,
    /// Nothing that Redis tells of.
    Silent,
}

/// One op of the command that runs.
pub struct Note {
    db: u32,
    key: Box<[u8]>,
    kind: Kind,
    /// The key was there before.
    existed: bool,
}

impl Note {
    /// Of what was written as it was.
    pub fn unchanged(db: u32, key: &[u8]) -> Self {
        Self { db, key: key.into(), kind: Kind::Unchanged, existed: true }
    }

    /// Of this op nothing is told but that the key is new, if it is.
    pub fn silence(&mut self) {
        self.kind = Kind::Silent;
    }
}

/// Whether anybody would hear of an event.
#[inline]
pub fn are_told(server: &Server) -> bool {
    !server.config.notify_keyspace_events().is_empty() && server.channels.has_subscribers()
}

/// Tells of an event at once, that is with the record.
pub fn tell(server: &Server, transaction: &mut Transaction, db: u32, key: &[u8], (class, name): Event) {
    let wanted = server.config.notify_keyspace_events();
    if !wanted.contains(class) {
        return;
    }
    if wanted.contains(Notify::KEYSPACE) {
        let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
        channels::publish(server, transaction, Topic::Channel, &channel, name.as_bytes());
    }
    if wanted.contains(Notify::KEYEVENT) {
        let channel = format!("__keyevent@{db}__:{name}");
        channels::publish(server, transaction, Topic::Channel, channel.as_bytes(), key);
    }
}

fn is_there(ctx: &Ctx<'_>, db: u32, place: &KeyRef<'_>) -> bool {
    let part = ctx.held().shelf(place.slot).stripe.part(ctx.keyspace().space(db));
    part.is_some_and(|part| part.get(place).is_some())
}

/// What an op is about to do.
#[cold]
pub fn note(ctx: &mut Ctx<'_>, db: u32, key: &[u8], op: &Op<'_>) -> Note {
    let existed = is_there(ctx, db, &ctx.place(key));
    let kind = match op {
        Op::Delete => Kind::Delete,
        Op::ExpireAt(_) => Kind::Expire,
        Op::Persist => Kind::Persist,
        // RENAME is told of by its arguments.
        Op::Rename { .. } => Kind::Silent,
        Op::String(StringOp::Set { expire_at, .. }) => Kind::String { expires: expire_at.is_some() },
        Op::String(_) => Kind::String { expires: false },
        Op::List(ListOp::Push { side, .. }) => Kind::Push(*side),
        Op::List(ListOp::Pop { side, .. }) => Kind::Pop(*side),
        Op::List(ListOp::Set { .. }) => Kind::ListSet,
        Op::List(ListOp::Insert { .. }) => Kind::ListInsert,
        Op::List(ListOp::Remove { .. }) => Kind::ListRemove,
        Op::List(ListOp::Trim { .. }) => Kind::ListTrim,
        Op::Hash(HashOp::Set { .. } | HashOp::SetKeepTtl { .. }) => Kind::HashSet,
        Op::Hash(HashOp::Remove { .. }) => Kind::HashRemove,
        Op::Hash(HashOp::ExpireFields { .. }) => Kind::HashExpire,
        Op::Hash(HashOp::PersistFields { .. }) => Kind::HashPersist,
        Op::Set(SetOp::Add { .. }) => Kind::SetAdd,
        Op::Set(SetOp::Remove { .. }) => Kind::SetRemove,
        Op::SortedSet(SortedSetOp::Set { .. } | SortedSetOp::SetMany { .. }) => Kind::SortedSetSet,
        Op::SortedSet(SortedSetOp::Remove { .. } | SortedSetOp::RemoveRange { .. }) => Kind::SortedSetRemove,
        Op::Stream(op) => of_stream(ctx, db, key, op),
    };
    Note { db, key: key.into(), kind, existed }
}

fn of_stream(ctx: &mut Ctx<'_>, db: u32, key: &[u8], op: &StreamOp<'_>) -> Kind {
    match op {
        StreamOp::Add { .. } => Kind::StreamAdd,
        StreamOp::Trim { .. } => Kind::StreamTrim,
        StreamOp::Delete { .. } => Kind::StreamDelete,
        StreamOp::Reset { .. } => Kind::StreamReset,
        StreamOp::SetGroup { .. } => Kind::SetGroup,
        StreamOp::RemoveGroup { .. } => Kind::RemoveGroup,
        StreamOp::RemoveConsumer { .. } => Kind::RemoveConsumer,
        StreamOp::Acknowledge { .. } => Kind::Silent,
        StreamOp::SetConsumer { group, consumer, .. }
        | StreamOp::Deliver { group, consumer, .. }
        | StreamOp::Assign { group, consumer, .. } => {
            let known =
                |stream: &Stream| stream.group(group).is_some_and(|group| group.consumer(consumer).is_some());
            if ctx.stream_in(db, key).is_some_and(known) { Kind::Silent } else { Kind::NewConsumer }
        }
    }
}

/// Tells of what a command did, now that its handler is done.
#[cold]
pub fn tell_of_command(ctx: &mut Ctx<'_>, args: Args<'_>) {
    let mut notes = std::mem::take(&mut ctx.transaction.notes);
    let db = ctx.session.db;
    match ctx.command.name {
        "rename" | "renamenx" => {
            // Within a slot it is one op, across slots it is many.
            let events =
                [(2, NEW), (1, (Notify::GENERIC, "rename_from")), (2, (Notify::GENERIC, "rename_to"))];
            for (number, event) in events {
                tell(ctx.server, ctx.transaction, db, args.get(number), event);
            }
        }
        "copy" => tell_of_copy(ctx, notes[0].db, args.get(2), "copy_to"),
        "restore" if notes.iter().any(|note| note.kind != Kind::Delete) => {
            tell_of_copy(ctx, db, args.get(1), "restore");
        }
        "move" => {
            let to = notes.iter().map(|note| note.db).find(|&other| other != db).unwrap_or(db);
            tell(ctx.server, ctx.transaction, to, args.get(1), NEW);
            tell(ctx.server, ctx.transaction, db, args.get(1), (Notify::GENERIC, "move_from"));
            tell(ctx.server, ctx.transaction, to, args.get(1), (Notify::GENERIC, "move_to"));
        }
        _ => tell_of_notes(ctx, &notes, args),
    }
    notes.clear();
    ctx.transaction.notes = notes;
}

fn tell_of_copy(ctx: &mut Ctx<'_>, db: u32, key: &[u8], name: &'static str) {
    tell(ctx.server, ctx.transaction, db, key, NEW);
    tell(ctx.server, ctx.transaction, db, key, (Notify::GENERIC, name));
}

/// What the notes of a command say of one key.
struct Story {
    existed: bool,
    /// How many notes are still to come.
    left: usize,
    told: SmallVec<[Event; 2]>,
}

fn tell_of_notes(ctx: &mut Ctx<'_>, notes: &[Note], args: Args<'_>) {
    let mut stories: HashMap<(u32, &[u8]), Story> = HashMap::new();
    for note in notes {
        let new = || Story { existed: note.existed, left: 0, told: SmallVec::new() };
        stories.entry((note.db, &*note.key)).or_insert_with(new).left += 1;
    }
    let name = ctx.command.name;
    let backwards = MOVES.contains(&name);
    for step in 0..notes.len() {
        // What is pushed is told before what was popped for it.
        let note = &notes[if backwards { notes.len() - 1 - step } else { step }];
        let Some(story) = stories.get_mut(&(note.db, &*note.key)) else { continue };
        story.left -= 1;
        let is_last = story.left == 0;
        let makes_room = note.kind == Kind::Delete || (name == "hsetex" && note.kind == Kind::HashRemove);
        if makes_room && !is_last {
            continue;
        }
        let mut say = |event: Event| tell(ctx.server, ctx.transaction, note.db, &note.key, event);
        if !story.existed && note.kind != Kind::Delete {
            story.existed = true;
            say(NEW);
        }
        if note.kind == Kind::Unchanged && MOVES.contains(&name) {
            sides_of_move(name, args).into_iter().for_each(&mut say);
            continue;
        }
        let event = event_of(name, note.kind, args);
        if let Some(event) =
            event.filter(|event| matches!(name, "mset" | "msetnx") || !story.told.contains(event))
        {
            story.told.push(event);
            say(event);
        }
        if note.kind == (Kind::String { expires: true }) {
            say(EXPIRE);
        }
        if is_last && event != Some(DELETED) && !is_there(ctx, note.db, &ctx.keyspace().key(&note.key)) {
            tell(ctx.server, ctx.transaction, note.db, &note.key, DELETED);
        }
    }
}

/// The commands that pop from one list for another.
const MOVES: [&str; 4] = ["rpoplpush", "lmove", "brpoplpush", "blmove"];

/// The push and the pop of one that leaves the list as it was.
fn sides_of_move(name: &str, args: Args<'_>) -> [Event; 2] {
    let says_left = |number: usize| args.try_get(number).is_some_and(|word| is(word, "left"));
    let (from_left, to_left) = match name {
        "lmove" | "blmove" => (says_left(3), says_left(4)),
        _ => (false, true),
    };
    [
        (Notify::LIST, if to_left { "lpush" } else { "rpush" }),
        (Notify::LIST, if from_left { "lpop" } else { "rpop" }),
    ]
}

/// The event of an op that is part of the command that runs.
fn event_of(name: &'static str, kind: Kind, args: Args<'_>) -> Option<Event> {
    Some(match kind {
        Kind::Silent => return None,
        Kind::Unchanged => match name {
            "lset" | "ltrim" => (Notify::LIST, name),
            "xsetid" => (Notify::STREAM, name),
            _ => EXPIRE,
        },
        Kind::Delete if name == "spop" => (Notify::SET, "spop"),
        Kind::Delete => DELETED,
        Kind::Expire => EXPIRE,
        Kind::Persist => (Notify::GENERIC, "persist"),
        Kind::String { .. } => (Notify::STRING, of_string(name)?),
        Kind::Push(_) if name == "sort" => (Notify::LIST, "sortstore"),
        Kind::Push(Side::Left) => (Notify::LIST, "lpush"),
        Kind::Push(Side::Right) => (Notify::LIST, "rpush"),
        Kind::Pop(Side::Left) => (Notify::LIST, "lpop"),
        Kind::Pop(Side::Right) => (Notify::LIST, "rpop"),
        Kind::ListSet => (Notify::LIST, "lset"),
        Kind::ListInsert => (Notify::LIST, "linsert"),
        Kind::ListRemove => (Notify::LIST, "lrem"),
        Kind::ListTrim => (Notify::LIST, "ltrim"),
        Kind::HashSet if matches!(name, "hincrby" | "hincrbyfloat") => (Notify::HASH, name),
        Kind::HashSet => (Notify::HASH, "hset"),
        Kind::HashRemove => (Notify::HASH, "hdel"),
        Kind::HashExpire => (Notify::HASH, "hexpire"),
        Kind::HashPersist => (Notify::HASH, "hpersist"),
        Kind::SetAdd if name.ends_with("store") => (Notify::SET, name),
        Kind::SetAdd => (Notify::SET, "sadd"),
        Kind::SetRemove if name == "spop" => (Notify::SET, "spop"),
        Kind::SetRemove => (Notify::SET, "srem"),
        Kind::SortedSetSet | Kind::SortedSetRemove => (Notify::SORTED_SET, of_sorted_set(name, kind, args)),
        Kind::StreamAdd => (Notify::STREAM, "xadd"),
        Kind::StreamDelete if name.contains("del") => (Notify::STREAM, "xdel"),
        Kind::StreamTrim | Kind::StreamDelete => (Notify::STREAM, "xtrim"),
        Kind::StreamReset if name == "xsetid" => (Notify::STREAM, "xsetid"),
        Kind::SetGroup if name == "create" => (Notify::STREAM, "xgroup-create"),
        Kind::SetGroup if name == "setid" => (Notify::STREAM, "xgroup-setid"),
        Kind::StreamReset | Kind::SetGroup => return None,
        Kind::RemoveGroup => (Notify::STREAM, "xgroup-destroy"),
        Kind::NewConsumer => (Notify::STREAM, "xgroup-createconsumer"),
        Kind::RemoveConsumer => (Notify::STREAM, "xgroup-delconsumer"),
    })
}

fn of_string(name: &'static str) -> Option<&'static str> {
    Some(match name {
        "incr" | "decr" | "incrby" | "decrby" => "incrby",
        "incrbyfloat" | "append" | "setrange" | "setbit" => name,
        "bitfield" => "setbit",
        "pfadd" | "pfmerge" => "pfadd",
        // They only write down what they have counted.
        "pfcount" | "pfdebug" => return None,
        _ => "set",
    })
}

/// The options stand before the first score; behind it a member may have any name.
fn zadd_increments(args: Args<'_>) -> bool {
    let is_option =
        |word: &[u8]| ["nx", "xx", "gt", "lt", "ch", "incr"].iter().any(|option| is(word, option));
    args.tail(2).iter().take_while(|word| is_option(word)).any(|word| is(word, "incr"))
}

fn of_sorted_set(name: &'static str, kind: Kind, args: Args<'_>) -> &'static str {
    let word = |number: usize| args.try_get(number).unwrap_or_default();
    match name {
        "zincrby" => "zincr",
        "zadd" if zadd_increments(args) => "zincr",
        "geoadd" => "zadd",
        "georadius" | "georadiusbymember" => "georadiusstore",
        "bzpopmin" => "zpopmin",
        "bzpopmax" => "zpopmax",
        "zmpop" | "bzmpop" => {
            let number_at = if name == "zmpop" { 1 } else { 2 };
            let keys: usize =
                std::str::from_utf8(word(number_at)).ok().and_then(|n| n.parse().ok()).unwrap_or(0);
            if is(word(number_at + 1 + keys), "max") { "zpopmax" } else { "zpopmin" }
        }
        _ if kind == Kind::SortedSetRemove && name == "zadd" => "zrem",
        _ => name,
    }
}
