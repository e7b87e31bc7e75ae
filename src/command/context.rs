//! The context a handler works in: the locked keys, the record being made, the session, the server.
//!
//! Looking a key up raises the reply's LSN to the key's last change, found or not: that is the reply gate. State changes only
//! through [`Ctx::apply`], which changes memory and adds the op to the record in one step.

use std::sync::atomic::Ordering::Relaxed;

use smallvec::SmallVec;

use super::channels::Publication;
use super::events::{self, Event, Note};
use super::server::Server;
use super::session::Session;
use super::snapshots::Wish;
use super::stats::Tally;
use super::tick::TickTime;
use super::{Args, Command, Group, memory, tracking};
use crate::disk::prng::Prng;
use crate::error::CommandError;
use crate::keyspace::access::Accesses;
use crate::keyspace::entry::Entry;
use crate::keyspace::eviction::Pool;
use crate::keyspace::gate::GateTable;
use crate::keyspace::hash::KeyRef;
use crate::keyspace::op::{LIBRARIES, Op, SpaceId, SpaceOp, encode_key_op, encode_space_op};
use crate::keyspace::stripe::{Part, Stripe};
use crate::keyspace::table::Position;
use crate::keyspace::value::{Kind, Value};
use crate::keyspace::waiters::{StripeSet, Want, WatchFlag};
use crate::keyspace::{Held, Keyspace};
use crate::log::Lsn;
use crate::mutation::{Safeguard, is_off};
use crate::resp::{OwnedArgs, Reply};
use crate::types::hash::value::{Hash, HashOp};
use crate::types::list::value::List;
use crate::types::set::value::Set;
use crate::types::sorted_set::value::SortedSet;
use crate::types::stream::value::Stream;
use crate::types::string::value::StringOp;

/// How a blocking command says that nothing came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nil {
    Bulk,
    Array,
    /// The number 0.
    Zero,
}

impl Nil {
    pub fn write(self, reply: &mut Reply<'_>) {
        match self {
            Self::Bulk => reply.null(),
            Self::Array => reply.null_array(),
            Self::Zero => reply.integer(0),
        }
    }
}

/// Takes the whole reply of a client that waits, from any thread. If the client waits no more, it is dropped.
pub type Answer = Box<dyn FnOnce(Vec<u8>) + Send>;
/// Begins the work that a client waits for.
pub type BeginWork = Box<dyn FnOnce(&Server, Answer)>;

/// What a blocking command waits for.
pub struct Block {
    pub waits: Vec<(Box<[u8]>, Want)>,
    /// Called when the client waits: it gets its reply from this work, not from a key.
    pub work: Option<BeginWork>,
    /// What is run again instead of the request as it came.
    pub again: Option<OwnedArgs>,
    /// Entries that are pending in the groups it waits for are as good as new ones once they have been idle for so long.
    pub claim_idle_ms: Option<u64>,
    /// `None`: for ever.
    pub timeout_ms: Option<u64>,
    pub nil: Nil,
}

/// The record being made, and what has to be done when it is appended. Reused from command to command.
#[derive(Default)]
pub struct Transaction {
    pub body: Vec<u8>,
    /// Cells of the reply gate that the record's LSN goes into.
    pub cells: SmallVec<[usize; 4]>,
    /// Databases whose floor the record's LSN becomes.
    pub databases: SmallVec<[u32; 2]>,
    /// The LSN that the reply depends on so far.
    pub gate: Lsn,
    /// Keys that somebody waits for and that may be ready now.
    pub ready: Vec<(u32, Box<[u8]>)>,
    /// Keyspaces to be dropped where it may take time.
    pub retired: Vec<Box<Part>>,
    pub changes: u64,
    /// Messages that are posted with the record.
    pub publications: Vec<Publication>,
    /// What those who track keys are to be told with the record.
    pub tracked: tracking::Pending,
    /// What the command has done so far, for keyspace notifications.
    pub notes: Vec<Note>,
    /// What the counters of accesses draw from.
    pub chance: u64,
    /// Keys that might be evicted next.
    pub eviction: Pool,
    pub time: TickTime,
    pub tally: Tally,
    /// Source of the generators that [`Ctx::random`] gives away.
    random: Option<Prng>,
}

impl Transaction {
    pub fn clear(&mut self) {
        self.body.clear();
        if self.body.capacity() > 1 << 20 {
            self.body.shrink_to(1 << 16);
        }
        self.cells.clear();
        self.databases.clear();
        self.gate = 0;
        self.ready.clear();
        self.changes = 0;
        self.publications.clear();
        self.tracked.clear();
        self.notes.clear();
    }
}

/// What looking a key up leaves behind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// A hit or a miss, and the time of access.
    Access,
    /// A hit or a miss.
    Counted,
    Quietly,
}

pub struct Ctx<'a> {
    pub server: &'a Server,
    pub session: &'a mut Session,
    pub command: &'static Command,
    pub transaction: &'a mut Transaction,
    /// Unix milliseconds: one time for the whole command, EXEC or script.
    pub now_ms: u64,
    /// False inside MULTI and scripts: a blocking command then answers nil at once.
    pub may_block: bool,
    /// False when nothing may be logged (log failed or out of space): expired keys then merely look absent.
    pub may_expire: bool,
    pub block: Option<Block>,
    /// Why a script must not write: the log takes nothing.
    pub refused: Option<CommandError>,
    /// While a client that waited is served: the key that became ready. Its command looks at no other.
    pub woken_by: Option<Box<[u8]>>,
    /// Set by WAITAOF: (position, time-out, replicas asked for).
    pub wait_durable: Option<(Lsn, Option<u64>, i64)>,
    /// Set by SAVE and its relatives: carried out once the record is appended.
    pub wish: Option<Wish>,
    /// What is done now is not the command's doing, and tells of itself.
    is_aside: bool,
    /// A key was found whose time has come, and it was left where it is.
    hides_expired: bool,
    held: Held<'a>,
    /// The command's keys with their places, found by address.
    keys: SmallVec<[KeyRef<'a>; 2]>,
}

impl<'a> Ctx<'a> {
    pub fn new(
        server: &'a Server,
        session: &'a mut Session,
        command: &'static Command,
        transaction: &'a mut Transaction,
        mut held: Held<'a>,
        keys: SmallVec<[KeyRef<'a>; 2]>,
        now_ms: u64,
    ) -> Self {
        let touches = !session.no_touch || command.name == "touch";
        held.accesses = memory::accesses(&server.config, touches, now_ms, &mut transaction.chance);
        Self {
            server,
            session,
            command,
            transaction,
            now_ms,
            may_block: true,
            may_expire: true,
            block: None,
            refused: None,
            woken_by: None,
            wait_durable: None,
            wish: None,
            is_aside: false,
            hides_expired: false,
            held,
            keys,
        }
    }

    pub fn held(&self) -> &Held<'a> {
        &self.held
    }

    pub fn held_mut(&mut self) -> &mut Held<'a> {
        &mut self.held
    }

    /// Lets all locks go, for a command that takes those it needs by itself, one after the other. It must not be part of a transaction
    /// or a script, and from here on it looks at keys in no other way.
    pub fn release(&mut self) {
        debug_assert!(self.may_block && self.transaction.body.is_empty());
        let accesses = self.held.accesses;
        self.held = self.keyspace().lock(StripeSet::default());
        self.held.accesses = accesses;
    }

    pub fn keyspace(&self) -> &'a Keyspace {
        self.held.keyspace()
    }

    /// The keyspace of the selected database.
    #[inline]
    pub fn space(&self) -> SpaceId {
        self.keyspace().space(self.session.db)
    }

    /// Where a key lives. Keys named by the command's key specification were hashed already.
    #[inline]
    pub fn place<'k>(&self, key: &'k [u8]) -> KeyRef<'k> {
        for known in &self.keys {
            if std::ptr::eq(known.bytes, key) {
                return KeyRef { bytes: key, hash: known.hash, slot: known.slot };
            }
        }
        self.keyspace().key(key)
    }

    /// The reply must wait for `lsn`.
    #[inline]
    fn raise_gate(&mut self, lsn: Lsn) {
        self.transaction.gate = self.transaction.gate.max(lsn);
    }

    /// Makes the reply wait for everything appended so far (KEYS, SCAN, DBSIZE, RANDOMKEY).
    pub fn depend_on_everything(&mut self) {
        if let Some(store) = self.server.store.get()
            && !is_off(Safeguard::EverythingGate)
        {
            self.raise_gate(store.log.append_lsn());
        }
    }

    /// Looks a key up in a database: raises the gate, removes the key if its time has come, counts the access.
    fn find(&mut self, db: u32, key: &[u8], how: Look) -> Option<&mut Entry> {
        let place = self.place(key);
        let space = self.keyspace().space(db);
        let cell = GateTable::cell(space, &place);
        let gate_before = self.transaction.gate;
        if !is_off(Safeguard::ReadGate) {
            self.raise_gate(self.keyspace().gate.get(cell).max(self.keyspace().floor(db)));
        }
        let position = self.live(db, space, &place);
        if is_off(Safeguard::AbsentGate) && position.is_none() {
            self.transaction.gate = gate_before;
        }
        if how != Look::Quietly {
            let tally = &mut self.transaction.tally;
            *if position.is_some() { &mut tally.hits } else { &mut tally.misses } += 1;
            if position.is_none() && events::are_told(self.server) && self.command.parent != "object" {
                events::tell(self.server, self.transaction, db, key, events::KEY_MISS);
            }
        }
        let touch = how == Look::Access;
        self.held.entry_mut(space, &place, position?, touch)
    }

    /// Where a key's entry is. One whose time has come is removed, or hidden if that must not be logged now.
    #[inline]
    fn live(&mut self, db: u32, space: SpaceId, place: &KeyRef<'_>) -> Option<Position> {
        let part = self.held.shelf(place.slot).stripe.part(space)?;
        let position = part.position(place)?;
        if part.at(place, position).expire_at().is_none_or(|at| at > self.now_ms) {
            return Some(position);
        }
        if self.may_remove_expired() {
            self.expire_in(db, place.bytes);
        } else {
            self.hides_expired = true;
        }
        None
    }

    fn peek(&self, space: SpaceId, place: &KeyRef<'_>) -> Option<&Entry> {
        self.held.shelf(place.slot).stripe.part(space)?.get(place)
    }

    /// What is at a key, whether its time has come or not.
    fn kind(&self, space: SpaceId, place: &KeyRef<'_>) -> Option<Kind> {
        self.peek(space, place).map(Entry::kind)
    }

    /// Whether what is due may be removed by a logged op. A clock that was set a moment ago, before expiry noticed, says no.
    pub fn may_remove_expired(&self) -> bool {
        self.may_expire && !self.server.hides_expired()
    }

    /// Removes a key whose time has come, as an op of its own.
    pub fn expire_in(&mut self, db: u32, key: &[u8]) {
        if self.apply_aside(db, key, Op::Delete, events::EXPIRED) {
            self.server.stats.expired_keys.add(1);
        }
    }

    /// Removes a key to make room, as an op of its own. True if it was there.
    pub fn evict_in(&mut self, db: u32, key: &[u8]) -> bool {
        self.apply_aside(db, key, Op::Delete, events::EVICTED)
    }

    /// Removes fields of a hash whose time has come.
    pub fn expire_fields_in(&mut self, db: u32, key: &[u8], fields: &[&[u8]]) -> Result<(), CommandError> {
        if !self.apply_aside(db, key, Op::Hash(HashOp::remove(fields)), events::FIELDS_EXPIRED) {
            return Err(CommandError::new("ERR internal error: the change was not made"));
        }
        if events::are_told(self.server) && self.entry_in(db, key).is_none() {
            events::tell(self.server, self.transaction, db, key, events::DELETED);
        }
        self.server.stats.expired_fields.add(fields.len() as u64);
        Ok(())
    }

    /// Does what is not the command's own doing, and tells of it at once.
    fn apply_aside(&mut self, db: u32, key: &[u8], op: Op<'_>, event: Event) -> bool {
        let outer = std::mem::replace(&mut self.is_aside, true);
        let is_done = self.apply_in(db, key, op).is_ok();
        self.is_aside = outer;
        if is_done && events::are_told(self.server) {
            events::tell(self.server, self.transaction, db, key, event);
        }
        is_done
    }

    /// The live entry of a key in the selected database, counted as an access and as a hit or a miss.
    #[inline]
    pub fn entry(&mut self, key: &[u8]) -> Option<&Entry> {
        self.find(self.session.db, key, Look::Access).map(|entry| &*entry)
    }

    /// As [`Self::entry`], counted as a hit or a miss but not as an access: EXISTS, TYPE, TTL, OBJECT and their like.
    #[inline]
    pub fn look(&mut self, key: &[u8]) -> Option<&Entry> {
        self.find(self.session.db, key, Look::Counted).map(|entry| &*entry)
    }

    /// As [`Self::entry`], but leaves no trace: for commands that write, and for OBJECT, TTL, TYPE and the like.
    #[inline]
    pub fn entry_quietly(&mut self, key: &[u8]) -> Option<&Entry> {
        self.find(self.session.db, key, Look::Quietly).map(|entry| &*entry)
    }

    /// The live entry of a key that this command has looked up before: for commands that read several keys at once. Leaves no trace
    /// and raises no gate.
    pub fn looked_up(&self, key: &[u8]) -> Option<&Entry> {
        let entry = self.peek(self.space(), &self.place(key))?;
        entry.expire_at().is_none_or(|at| at > self.now_ms).then_some(entry)
    }

    /// As [`Self::entry_quietly`], in any database.
    pub fn entry_in(&mut self, db: u32, key: &[u8]) -> Option<&Entry> {
        self.find(db, key, Look::Quietly).map(|entry| &*entry)
    }

    /// The stream at a key of any database; `None` also for another value. Leaves no trace.
    pub fn stream_in(&mut self, db: u32, key: &[u8]) -> Option<&Stream> {
        match self.entry_in(db, key)?.as_value() {
            Some(Value::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    /// Has an existing key's entry remember something else than this access: RESTORE's IDLETIME and FREQ, or what the key remembered
    /// under its old name.
    pub fn set_access(&mut self, db: u32, key: &[u8], access: impl FnOnce(&mut Accesses) -> u32) {
        let (place, space) = (self.place(key), self.keyspace().space(db));
        let access = access(&mut self.held.accesses);
        let part = self.held.shelf_mut(place.slot).stripe.part_mut(space);
        if let Some(entry) = part.and_then(|part| part.get_mut(&place)) {
            entry.set_access(access);
        }
    }

    pub fn exists(&mut self, key: &[u8]) -> bool {
        self.entry_quietly(key).is_some()
    }

    /// The string at a key, for a command that reads. `None` if there is no key.
    #[inline]
    pub fn string(&mut self, key: &[u8]) -> Result<Option<&[u8]>, CommandError> {
        self.entry(key).map(|entry| entry.as_string().ok_or(CommandError::WRONG_TYPE)).transpose()
    }

    /// The list at a key.
    pub fn list(&mut self, key: &[u8]) -> Result<Option<&List>, CommandError> {
        match self.entry(key).map(Entry::as_value) {
            None => Ok(None),
            Some(Some(Value::List(list))) => Ok(Some(list)),
            Some(_) => Err(CommandError::WRONG_TYPE),
        }
    }

    /// The hash at a key. Fields whose time has come are still in it: compare with [`Self::now_ms`].
    pub fn hash(&mut self, key: &[u8]) -> Result<Option<&Hash>, CommandError> {
        match self.entry(key).map(Entry::as_value) {
            None => Ok(None),
            Some(Some(Value::Hash(hash))) => Ok(Some(hash)),
            Some(_) => Err(CommandError::WRONG_TYPE),
        }
    }

    /// The set at a key.
    pub fn set(&mut self, key: &[u8]) -> Result<Option<&Set>, CommandError> {
        match self.entry(key).map(Entry::as_value) {
            None => Ok(None),
            Some(Some(Value::Set(set))) => Ok(Some(set)),
            Some(_) => Err(CommandError::WRONG_TYPE),
        }
    }

    /// The sorted set at a key.
    pub fn sorted_set(&mut self, key: &[u8]) -> Result<Option<&SortedSet>, CommandError> {
        match self.entry(key).map(Entry::as_value) {
            None => Ok(None),
            Some(Some(Value::SortedSet(set))) => Ok(Some(set)),
            Some(_) => Err(CommandError::WRONG_TYPE),
        }
    }

    /// The stream at a key.
    pub fn stream(&mut self, key: &[u8]) -> Result<Option<&Stream>, CommandError> {
        match self.entry(key).map(Entry::as_value) {
            None => Ok(None),
            Some(Some(Value::Stream(stream))) => Ok(Some(&**stream)),
            Some(_) => Err(CommandError::WRONG_TYPE),
        }
    }

    /// A generator for what is chosen by chance. Nobody can guess its seed.
    pub fn random(&mut self) -> Result<Prng, CommandError> {
        if self.transaction.random.is_none() {
            let id = self.server.clock.random_id().map_err(|e| CommandError::owned(format!("ERR {e}")))?;
            let (seed, _) = id.split_first_chunk::<8>().expect("an id has sixteen bytes");
            self.transaction.random = Some(Prng::new(u64::from_le_bytes(*seed)));
        }
        let source = self.transaction.random.as_mut().expect("made just now");
        Ok(Prng::new(source.next_u64()))
    }

    /// Carries out an op on a key of the selected database and adds it to the record.
    #[inline]
    pub fn apply(&mut self, key: &[u8], op: Op<'_>) -> Result<(), CommandError> {
        self.apply_in(self.session.db, key, op)
    }

    /// As [`Self::apply`], for what Redis tells nobody of, but that the key is new.
    pub fn apply_untold(&mut self, key: &[u8], op: Op<'_>) -> Result<(), CommandError> {
        let before = self.transaction.notes.len();
        self.apply(key, op)?;
        self.transaction.notes[before..].iter_mut().for_each(Note::silence);
        Ok(())
    }

    /// Carries out an op on a key of any database and adds it to the record.
    pub fn apply_in(&mut self, db: u32, key: &[u8], op: Op<'_>) -> Result<(), CommandError> {
        let place = self.place(key);
        let space = self.keyspace().space(db);
        let may_be_due = self.hides_expired || self.may_overwrite_expired(space, &place, &op);
        if may_be_due && !is_off(Safeguard::HiddenKey) {
            self.clear_hidden(db, space, &place);
        }
        let note =
            (!self.is_aside && events::are_told(self.server)).then(|| events::note(self, db, key, &op));
        self.held.apply(space, &place, &op).map_err(|misfit| {
            tracing::error!(
                command = self.command.name,
                "{misfit}: a command made an op that does not fit its key"
            );
            CommandError::new("ERR internal error: the change was not made")
        })?;
        self.transaction.notes.extend(note);
        encode_key_op(&mut self.transaction.body, space, key, &op);
        self.touched(db, space, &place, &op);
        if let Op::Rename { to } = op {
            let to = self.keyspace().key(to);
            self.touched(db, space, &to, &op);
        }
        Ok(())
    }

    /// Carries out an op on the code of a library of functions and adds it to the record.
    pub fn apply_library(&mut self, name: &[u8], op: Op<'_>) -> Result<(), CommandError> {
        let place = self.keyspace().key(name);
        self.held.apply(LIBRARIES, &place, &op).map_err(|misfit| {
            tracing::error!("{misfit}: an op on a library does not fit");
            CommandError::new("ERR internal error: the change was not made")
        })?;
        encode_key_op(&mut self.transaction.body, LIBRARIES, name, &op);
        self.transaction.cells.push(GateTable::cell(LIBRARIES, &place));
        self.transaction.changes += 1;
        Ok(())
    }

    /// The reply must wait for the last change of a library.
    pub fn depend_on_library(&mut self, name: &[u8]) {
        let cell = GateTable::cell(LIBRARIES, &self.keyspace().key(name));
        self.raise_gate(self.keyspace().gate.get(cell));
    }

    /// Only what sets a string does not look its key up before. Most of the time nothing in the key's part is due, so that nothing more
    /// needs to be looked at.
    #[inline]
    fn may_overwrite_expired(&self, space: SpaceId, place: &KeyRef<'_>, op: &Op<'_>) -> bool {
        let is_due = |part: &Part| part.has_expired(self.now_ms);
        matches!(op, Op::String(StringOp::Set { .. }))
            && self.held.shelf(place.slot).stripe.part(space).is_some_and(is_due)
    }

    /// A key that was taken for absent, or not looked at, is about to be made anew. If its time has come it ends first: what is left of
    /// the old one must not show through, and who counts or listens is told.
    #[cold]
    fn clear_hidden(&mut self, db: u32, space: SpaceId, place: &KeyRef<'_>) {
        let expire_at = self.peek(space, place).and_then(Entry::expire_at);
        if expire_at.is_some_and(|at| at <= self.now_ms) {
            let outer = std::mem::replace(&mut self.hides_expired, false);
            self.expire_in(db, place.bytes);
            self.hides_expired = outer;
        }
    }

    /// After a change: the gate, those who watch, those who wait.
    #[inline]
    fn touched(&mut self, db: u32, space: SpaceId, place: &KeyRef<'_>, op: &Op<'_>) {
        self.transaction.cells.push(GateTable::cell(space, place));
        self.transaction.changes += 1;
        let waiters = &self.held.shelf(place.slot).waiters;
        if op.is_change_to_watchers() {
            waiters.touched(space, place.bytes);
            if self.server.tracking.is_on() {
                let writer = (!self.is_aside).then_some(self.session.client.id);
                self.server.tracking.changed(&mut self.transaction.tracked, place.bytes, writer);
            }
        }
        // In the order in which they become what is waited for: who waits for several is served from the first.
        if op.may_wake() && waiters.is_wanted(space, place.bytes, || self.kind(space, place)) {
            let ready = &mut self.transaction.ready;
            let is_known = ready.last().is_some_and(|(last, key)| *last == db && **key == *place.bytes);
            if !is_known {
                ready.push((db, place.bytes.into()));
            }
        }
    }

    /// A value or an expiry was written as it was. There is nothing to log, but who watches or listens is told, as Redis does.
    pub fn written_as_it_was(&mut self, key: &[u8]) {
        let (space, place) = (self.keyspace().space(self.session.db), self.place(key));
        self.held.shelf(place.slot).waiters.touched(space, key);
        if self.server.tracking.is_on() {
            let writer = Some(self.session.client.id);
            self.server.tracking.changed(&mut self.transaction.tracked, key, writer);
        }
        if events::are_told(self.server) {
            self.transaction.notes.push(Note::unchanged(self.session.db, key));
        }
    }

    /// Removes a key. True if it was there.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, CommandError> {
        if self.exists(key) {
            self.apply(key, Op::Delete)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Empties a database. The command must hold every stripe.
    pub fn flush(&mut self, db: u32) -> Result<(), CommandError> {
        let old = self.keyspace().space(db);
        let watched = |stripe: &Stripe, key: &[u8]| {
            let place = self.keyspace().key(key);
            stripe.part(old).is_some_and(|part| part.get(&place).is_some())
        };
        for shelf in self.held.shelves() {
            for (key, flags) in shelf.waiters.watched_in(old) {
                if watched(&shelf.stripe, key) {
                    flags.iter().for_each(|flag| flag.store(true, Relaxed));
                }
            }
        }
        self.apply_space(SpaceOp::Flush { db, space: self.keyspace().fresh_space() })?;
        self.transaction.databases.push(db);
        self.wake_all_in(db);
        Ok(())
    }

    /// Exchanges two databases. The command must hold every stripe.
    pub fn swap(&mut self, a: u32, b: u32) -> Result<(), CommandError> {
        let spaces = [self.keyspace().space(a), self.keyspace().space(b)];
        for shelf in self.held.shelves() {
            for space in spaces {
                for (key, flags) in shelf.waiters.watched_in(space) {
                    let place = self.keyspace().key(key);
                    let there = |s| shelf.stripe.part(s).is_some_and(|part| part.get(&place).is_some());
                    if spaces.into_iter().any(there) {
                        flags.iter().for_each(|flag| flag.store(true, Relaxed));
                    }
                }
            }
        }
        self.apply_space(SpaceOp::Swap { a, b })?;
        self.transaction.databases.extend([a, b]);
        self.tell_all_who_track();
        // What others wait for may be there now.
        self.wake_all_in(a);
        self.wake_all_in(b);
        Ok(())
    }

    /// Any key may be another than before: FLUSHALL and its relatives tell so even where there was none.
    pub fn tell_all_who_track(&mut self) {
        if self.server.tracking.is_on() {
            self.server.tracking.all_changed(&mut self.transaction.tracked);
        }
    }

    /// Whoever waits for a key of a database may be served now, or told that the key is gone. All stripes are held.
    fn wake_all_in(&mut self, db: u32) {
        let space = self.keyspace().space(db);
        let mut ready = Vec::new();
        for shelf in self.held.shelves() {
            let is_wanted = |key: &&[u8]| {
                let place = self.keyspace().key(key);
                shelf.waiters.is_wanted(space, key, || self.kind(space, &place))
            };
            let wanted = shelf.waiters.waited_in(space).filter(is_wanted);
            ready.extend(wanted.map(|key| (db, key.into())));
        }
        self.transaction.ready.extend(ready);
    }

    /// Forgets all watched keys; their stripes are held.
    pub fn unwatch_all(&mut self) {
        for watched in self.session.watched.take() {
            let flag = self.session.watch_flag.clone();
            let slot = self.place(&watched.key).slot;
            let space = self.keyspace().space(watched.db);
            self.held.shelf_mut(slot).waiters.unwatch(space, &watched.key, &flag);
        }
        self.session.watch_flag = WatchFlag::default();
        self.session.client.watched.store(0, Relaxed);
    }

    fn apply_space(&mut self, op: SpaceOp) -> Result<(), CommandError> {
        let retired = self
            .held
            .apply_space(&op)
            .map_err(|e| CommandError::owned(format!("ERR internal error: {e}")))?;
        encode_space_op(&mut self.transaction.body, &op);
        self.transaction.retired.extend(retired);
        self.transaction.changes += 1;
        Ok(())
    }

    /// Whether a command over several keys may take from this one now.
    pub fn may_take_from(&self, key: &[u8]) -> bool {
        self.woken_by.as_deref().is_none_or(|ready| ready == key)
    }

    /// Ends a blocking command that found none of its keys to be a value of its type: it will run again when one becomes it, or answer
    /// `nil` when its time is over. Where a command must not block it answers at once.
    pub fn wait_for<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k [u8]>,
        timeout_ms: Option<u64>,
        nil: Nil,
        reply: &mut Reply<'_>,
    ) {
        let want = if self.command.group == Group::SortedSet { Want::SortedSet } else { Want::List };
        self.wait_for_each(keys.map(|key| (key, want.clone())), timeout_ms, nil, reply);
    }

    /// As [`Self::wait_for`], for something of each key. What makes it ready must make the command find something.
    pub fn wait_for_each<'k>(
        &mut self,
        waits: impl Iterator<Item = (&'k [u8], Want)>,
        timeout_ms: Option<u64>,
        nil: Nil,
        reply: &mut Reply<'_>,
    ) {
        if self.may_block {
            let waits = waits.map(|(key, want)| (key.into(), want)).collect();
            self.block = Some(Block { waits, work: None, again: None, claim_idle_ms: None, timeout_ms, nil });
        } else {
            nil.write(reply);
        }
    }

    /// Ends a command whose reply comes from work that somebody else does. CLIENT UNBLOCK answers `nil` and does not stop the work.
    pub fn wait_for_work(
        &mut self,
        reply: &mut Reply<'_>,
        nil: Nil,
        begin: impl FnOnce(&Server, Answer) + 'static,
    ) {
        if self.may_block {
            self.block = Some(Block {
                waits: Vec::new(),
                work: Some(Box::new(begin)),
                again: None,
                claim_idle_ms: None,
                timeout_ms: None,
                nil,
            });
        } else {
            nil.write(reply);
        }
    }

    /// Runs a command within this context, as EXEC runs its queue. Its keys must be among the stripes held.
    pub fn run_nested(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        reply: &mut Reply<'_>,
    ) -> super::CommandResult {
        let outer = std::mem::replace(&mut self.command, command);
        let mark = reply.mark();
        let result = (command.handler)(self, args, reply);
        if result.is_err() {
            reply.truncate(mark);
        }
        if self.session.tracking.is_some() {
            tracking::after_read(self, command, args);
        }
        if !self.transaction.notes.is_empty() {
            events::tell_of_command(self, args);
        }
        self.command = outer;
        result
    }

    /// Runs a command within this context for another session: that of a client which waited.
    pub fn run_as(
        &mut self,
        session: &mut Session,
        command: &'static Command,
        args: Args<'_>,
        reply: &mut Reply<'_>,
    ) -> super::CommandResult {
        // The two sessions change places for the length of the call, so that one context serves both.
        std::mem::swap(self.session, session);
        let may_block = std::mem::replace(&mut self.may_block, false);
        let result = self.run_nested(command, args, reply);
        self.may_block = may_block;
        std::mem::swap(self.session, session);
        result
    }
}
