//! CLIENT TRACKING: which connections may keep which keys in caches of their own, and who is told when one changes.
//!
//! A read is remembered while its keys are still locked, and a change takes the readers of its key out of the table while it holds the same
//! locks: so whoever was given an old value is told. What is told goes the way of all messages ([`super::channels`]): posted with
//! the record, behind its LSN. Keys are known by name alone, whatever their database, as in Redis. The table is bounded by
//! `tracking-table-max-keys`: for a new key an old one is given up, and those who read it are told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::channels::{Letter, Publication};
use super::clients::Client;
use super::context::Ctx;
use super::server::Server;
use super::session::Session;
use super::{Args, Command, Flags};
use crate::resp::{Protocol, Reply};

/// Ids of connections.
type Ids = SmallVec<[u64; 2]>;

/// How a connection wants to be told: what CLIENT TRACKING asked for.
#[derive(Debug, Clone, Default)]
pub struct Mode {
    pub broadcast: bool,
    pub opt_in: bool,
    pub opt_out: bool,
    pub no_loop: bool,
    /// CLIENT CACHING was said for the next command.
    pub caching: bool,
    /// Another connection that is told instead.
    pub redirect: Option<u64>,
    pub prefixes: BTreeSet<Box<[u8]>>,
}

/// Bytes that a prefix takes besides its own, here and in the server's tables.
const PREFIX_OVERHEAD: usize = 200;

impl Mode {
    pub fn heap_len(&self) -> usize {
        size_of::<Self>()
            + self.prefixes.iter().map(|prefix| 2 * prefix.len() + PREFIX_OVERHEAD).sum::<usize>()
    }
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Changed(Vec<Box<[u8]>>),
    /// Everything that is cached may be wrong.
    All,
    /// The connection that was to be told instead is no more.
    RedirectBroken(u64),
}

/// Something told to connections.
pub struct Notice {
    pub told: Told,
    pub receivers: Vec<u64>,
    /// As it goes to them, made when the first wants it: RESP2, RESP3.
    encoded: [OnceLock<Arc<[u8]>>; 2],
}

impl Notice {
    /// A RESP2 connection gets it like a message to a channel.
    pub fn encoded(&self, proto: Protocol) -> &Arc<[u8]> {
        self.encoded[usize::from(proto == Protocol::Resp3)].get_or_init(|| {
            let mut bytes = Vec::with_capacity(self.heap_len());
            let mut reply = Reply::new(&mut bytes, proto);
            if let Told::RedirectBroken(id) = self.told {
                reply.push(2);
                reply.bulk_str("tracking-redir-broken");
                reply.integer(id as i64);
                return bytes.into();
            }
            if proto == Protocol::Resp3 {
                reply.push(2);
                reply.bulk_str("invalidate");
            } else {
                reply.array(3);
                reply.bulk_str("message");
                reply.bulk_str("__redis__:invalidate");
            }
            if let Told::Changed(keys) = &self.told {
                reply.array(keys.len());
                keys.iter().for_each(|key| reply.bulk(key));
            } else {
                reply.null();
            }
            bytes.into()
        })
    }

    /// Bytes that it takes, about.
    pub fn heap_len(&self) -> usize {
        let keys = match &self.told {
            Told::Changed(keys) => keys.iter().map(|key| key.len() + 24).sum(),
            _ => 0,
        };
        200 + keys + 8 * self.receivers.len()
    }
}

type Keys<'a> = BTreeSet<&'a [u8]>;

/// What a command's changes mean to those who track.
#[derive(Default)]
pub struct Pending {
    told: Vec<(Told, Ids)>,
    /// Keys with a prefix that somebody asked for, and who changed them.
    written: Vec<(Box<[u8]>, Option<u64>)>,
}

impl Pending {
    pub fn is_empty(&self) -> bool {
        self.told.is_empty() && self.written.is_empty()
    }

    pub fn clear(&mut self) {
        self.told.clear();
        self.written.clear();
    }
}

/// A connection that tracks.
struct Member {
    client: Arc<Client>,
    broadcast: bool,
    no_loop: bool,
    redirect: Option<u64>,
}

/// A key that may be in somebody's cache.
struct Entry {
    key: Arc<[u8]>,
    readers: Ids,
}

#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
    places: HashMap<Arc<[u8]>, usize>,
    /// Readers of all keys together.
    items: usize,
    /// Bytes of all keys together.
    bytes: usize,
    members: HashMap<u64, Member>,
    prefixes: BTreeMap<Box<[u8]>, BTreeSet<u64>>,
    /// How many prefixes there are of each length.
    lengths: BTreeMap<usize, usize>,
    /// Which key is given up next.
    dice: usize,
}

/// Readers, and bytes of names, that there may be for each key that there may be: beyond, keys are given up as well.
const READERS_PER_KEY: usize = 8;
const BYTES_PER_KEY: usize = 128;
/// Keys that are given up at once at most, when the limit was lowered.
const GIVEN_UP_AT_ONCE: usize = 64;

impl Table {
    fn take(&mut self, key: &[u8]) -> Option<Entry> {
        let place = self.places.remove(key)?;
        Some(self.remove_at(place))
    }

    /// Removes an entry whose key is not among the places any more.
    fn remove_at(&mut self, place: usize) -> Entry {
        let entry = self.entries.swap_remove(place);
        if let Some(moved) = self.entries.get(place) {
            *self.places.get_mut(&moved.key).expect("every entry has its place") = place;
        }
        self.items -= entry.readers.len();
        self.bytes -= entry.key.len();
        entry
    }

    fn remember(&mut self, key: &[u8], id: u64) {
        let Self { entries, places, items, bytes, members, .. } = self;
        if let Some(&place) = places.get(key) {
            let readers = &mut entries[place].readers;
            if readers.contains(&id) {
                return;
            }
            if readers.len() == readers.capacity() {
                // Before it grows: who has left needs no room.
                let before = readers.len();
                readers.retain(|id| members.contains_key(id));
                *items -= before - readers.len();
            }
            readers.push(id);
        } else {
            let key: Arc<[u8]> = key.into();
            *bytes += key.len();
            places.insert(key.clone(), entries.len());
            entries.push(Entry { key, readers: SmallVec::from_slice(&[id]) });
        }
        self.items += 1;
    }

    /// It has no more than there may be.
    fn fits(&self, keys_max: usize) -> bool {
        keys_max == 0
            || (self.entries.len() <= keys_max
                && self.items <= keys_max.saturating_mul(READERS_PER_KEY)
                && self.bytes <= keys_max.saturating_mul(BYTES_PER_KEY))
    }

    /// Forgets all keys. What is returned is to be dropped without the lock: it may be large.
    fn forget_all(&mut self) -> impl Sized + use<> {
        (self.items, self.bytes) = (0, 0);
        (std::mem::take(&mut self.entries), std::mem::take(&mut self.places))
    }

    /// A key other than the one that came last. `None` if there is no other.
    fn give_up(&mut self) -> Option<Entry> {
        let others = self.entries.len().checked_sub(1).filter(|others| *others > 0)?;
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let place = (self.dice >> 32) % others;
        let key = self.entries[place].key.clone();
        self.places.remove(&key);
        Some(self.remove_at(place))
    }

    /// Whether somebody asked for a prefix of the key.
    fn has_prefix_of(&self, key: &[u8]) -> bool {
        self.lengths.range(..=key.len()).any(|(&len, _)| self.prefixes.contains_key(&key[..len]))
    }

    fn prefixes_of<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a BTreeSet<u64>)> {
        let lengths = self.lengths.range(..=key.len());
        lengths.filter_map(|(&len, _)| Some((&key[..len], self.prefixes.get(&key[..len])?)))
    }

    fn add_prefix(&mut self, prefix: &[u8], id: u64) {
        if !self.prefixes.contains_key(prefix) {
            *self.lengths.entry(prefix.len()).or_default() += 1;
        }
        self.prefixes.entry(prefix.into()).or_default().insert(id);
    }

    fn remove_prefix(&mut self, prefix: &[u8], id: u64) {
        let Some(ids) = self.prefixes.get_mut(prefix) else { return };
        ids.remove(&id);
        if !ids.is_empty() {
            return;
        }
        self.prefixes.remove(prefix);
        if let Some(count) = self.lengths.get_mut(&prefix.len()) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&prefix.len());
            }
        }
    }
}

/// Figures for INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    pub clients: usize,
    pub keys: usize,
    pub items: usize,
    pub prefixes: usize,
}

#[derive(Default)]
pub struct Tracking {
    /// How many connections track: mostly none, and then nobody looks further.
    members: AtomicUsize,
    table: Mutex<Table>,
}

impl Tracking {
    #[inline]
    pub fn is_on(&self) -> bool {
        self.members.load(Relaxed) > 0
    }

    /// A connection tracks from now on, or in another way.
    fn join(&self, client: &Arc<Client>, mode: &Mode) {
        let mut table = self.table.lock();
        let member = Member {
            client: client.clone(),
            broadcast: mode.broadcast,
            no_loop: mode.no_loop,
            redirect: mode.redirect,
        };
        table.members.insert(client.id, member);
        mode.prefixes.iter().for_each(|prefix| table.add_prefix(prefix, client.id));
        self.members.store(table.members.len(), Relaxed);
    }

    fn leave(&self, id: u64, mode: &Mode) {
        let mut table = self.table.lock();
        mode.prefixes.iter().for_each(|prefix| table.remove_prefix(prefix, id));
        table.members.remove(&id);
        self.members.store(table.members.len(), Relaxed);
        let forgotten = table.members.is_empty().then(|| table.forget_all());
        drop(table);
        drop(forgotten);
    }

    pub fn figures(&self) -> Figures {
        let table = self.table.lock();
        Figures {
            clients: table.members.len(),
            keys: table.entries.len(),
            items: table.items,
            prefixes: table.prefixes.len(),
        }
    }

    /// A key changed. Those who read it are to be told; `writer` is whose command did it.
    #[cold]
    pub fn changed(&self, pending: &mut Pending, key: &[u8], writer: Option<u64>) {
        let mut table = self.table.lock();
        if table.has_prefix_of(key) {
            pending.written.push((key.into(), writer));
        }
        let Some(entry) = table.take(key) else { return };
        let mut told = Ids::new();
        let mut kept = None;
        for id in entry.readers {
            match table.members.get(&id) {
                None => {}
                Some(member) if member.broadcast => {}
                // It knows what it wrote, and may keep that: it stays a reader.
                Some(member) if member.no_loop && writer == Some(id) => kept = Some(id),
                Some(_) => told.push(id),
            }
        }
        if let Some(id) = kept {
            table.remember(key, id);
        }
        if !told.is_empty() {
            pending.told.push((Told::Changed(vec![key.into()]), told));
        }
    }

    /// Any key may have changed.
    pub fn all_changed(&self, pending: &mut Pending) {
        let mut table = self.table.lock();
        let forgotten = table.forget_all();
        pending.told.push((Told::All, table.members.keys().copied().collect()));
        drop(table);
        drop(forgotten);
    }

    fn remember<'k>(
        &self,
        pending: &mut Pending,
        keys: impl Iterator<Item = &'k [u8]>,
        id: u64,
        keys_max: usize,
    ) {
        let mut table = self.table.lock();
        for key in keys {
            table.remember(key, id);
            for _ in 0..GIVEN_UP_AT_ONCE {
                if table.fits(keys_max) {
                    break;
                }
                let Some(Entry { key, mut readers }) = table.give_up() else { break };
                readers.retain(|id| table.members.get(id).is_some_and(|member| !member.broadcast));
                pending.told.push((Told::Changed(vec![(&*key).into()]), readers));
            }
        }
    }

    /// Makes letters of what is pending.
    fn address(&self, server: &Server, pending: &mut Pending, out: &mut Vec<Publication>) {
        let table = self.table.lock();
        for (told, ids) in pending.told.drain(..) {
            table.address(server, told, ids.iter().copied(), out);
        }
        let mut by_prefix: BTreeMap<&[u8], (Keys<'_>, &BTreeSet<u64>)> = BTreeMap::new();
        for (key, _) in &pending.written {
            for (prefix, ids) in table.prefixes_of(key) {
                by_prefix.entry(prefix).or_insert_with(|| (BTreeSet::new(), ids)).0.insert(key);
            }
        }
        let writers: BTreeSet<u64> = pending.written.iter().filter_map(|(_, writer)| *writer).collect();
        let is_loop =
            |id: &u64| writers.contains(id) && table.members.get(id).is_some_and(|member| member.no_loop);
        for (prefix, (keys, ids)) in by_prefix {
            let keys = keys.into_iter().map(Box::from).collect();
            let others = ids.iter().filter(|id| !is_loop(id)).copied();
            table.address(server, Told::Changed(keys), others, out);
            for &id in ids.iter().filter(|id| is_loop(id)) {
                let not_own = pending.written.iter().filter(|(_, writer)| *writer != Some(id));
                let keys: BTreeSet<&[u8]> =
                    not_own.map(|(key, _)| &**key).filter(|key| key.starts_with(prefix)).collect();
                if !keys.is_empty() {
                    let keys = keys.into_iter().map(Box::from).collect();
                    table.address(server, Told::Changed(keys), [id].into_iter(), out);
                }
            }
        }
        pending.clear();
    }
}

impl Table {
    /// One letter to those of `ids` who can be told, and one to each whose redirection leads nowhere.
    fn address(
        &self,
        server: &Server,
        told: Told,
        ids: impl Iterator<Item = u64>,
        out: &mut Vec<Publication>,
    ) {
        let mut receivers = Vec::new();
        let mut workers = SmallVec::<[(usize, usize); 4]>::new();
        let mut broken = Vec::new();
        for id in ids {
            let Some(member) = self.members.get(&id) else { continue };
            let has_pushes = member.client.resp.load(Relaxed) == 3;
            let target = match member.redirect {
                None if has_pushes => Some(member.client.clone()),
                None => None,
                Some(target) => match server.clients.get(target) {
                    Some(target) => Some(target),
                    None => {
                        member.client.tracking.fetch_or(BROKEN, Relaxed);
                        broken.extend(has_pushes.then_some((member.client.worker, id, target)));
                        None
                    }
                },
            };
            let Some(target) = target else { continue };
            receivers.push(target.id);
            match workers.iter_mut().find(|(worker, _)| *worker == target.worker) {
                Some((_, count)) => *count += 1,
                None => workers.push((target.worker, 1)),
            }
        }
        let mut send = |told, receivers, workers| {
            let notice = Notice { told, receivers, encoded: Default::default() };
            out.push(Publication { letter: Letter::Notice(Arc::new(notice)), workers });
        };
        if !receivers.is_empty() {
            send(told, receivers, workers);
        }
        for (worker, id, target) in broken {
            send(Told::RedirectBroken(target), vec![id], SmallVec::from_slice(&[(worker, 1)]));
        }
    }
}

/// Bits of [`Client::tracking`].
pub const ON: u32 = 1;
pub const BROKEN: u32 = 2;
pub const BROADCAST: u32 = 4;

/// Notes a command's letters for those who track. What is told key by key comes before the command's other messages.
#[cold]
pub fn address(server: &Server, pending: &mut Pending, publications: &mut Vec<Publication>) {
    let mut letters = Vec::new();
    server.tracking.address(server, pending, &mut letters);
    letters.append(publications);
    *publications = letters;
}

/// A session tracks from now on, or in another way.
pub fn begin(server: &Server, session: &mut Session, mode: Mode) {
    let client = &session.client;
    server.tracking.join(client, &mode);
    client.tracking.store(ON | if mode.broadcast { BROADCAST } else { 0 }, Relaxed);
    client.redirect.store(mode.redirect.map_or(0, |id| id as i64), Relaxed);
    session.tracking = Some(Box::new(mode));
}

/// A session tracks no more.
pub fn end(server: &Server, session: &mut Session) {
    if let Some(mode) = session.tracking.take() {
        server.tracking.leave(session.client.id, &mode);
        session.client.tracking.store(0, Relaxed);
        session.client.redirect.store(-1, Relaxed);
    }
}

/// Remembers what a command of a session that tracks has read. Its keys are still locked.
#[cold]
pub fn after_read(ctx: &mut Ctx<'_>, command: &Command, args: Args<'_>) {
    let Some(mode) = ctx.session.tracking.as_deref() else { return };
    let is_wanted = if mode.opt_in { mode.caching } else { !(mode.opt_out && mode.caching) };
    if mode.broadcast || !is_wanted || !command.flags.contains(Flags::READONLY) {
        return;
    }
    let mut keys = SmallVec::<[&[u8]; 4]>::new();
    for spec in command.keys.iter().filter(|spec| !spec.flags.contains(&"not_key")) {
        // Arguments that don't fit are the command's own error.
        let _ = spec.each(args, &mut |index| keys.push(args.get(index)));
    }
    let keys_max = ctx.server.config.tracking_table_max_keys();
    let keys_max = usize::try_from(keys_max).unwrap_or(usize::MAX);
    let id = ctx.session.client.id;
    ctx.server.tracking.remember(&mut ctx.transaction.tracked, keys.into_iter(), id, keys_max);
}

/// A request of a session that tracks is done: CLIENT CACHING was meant for it, unless it was one of CLIENT's, or began a transaction.
#[cold]
pub fn after_request(session: &mut Session, args: Args<'_>) {
    let is_in_multi = session.multi.is_some();
    if let Some(mode) = &mut session.tracking
        && !is_in_multi
        && !args.get(0).eq_ignore_ascii_case(b"client")
    {
        mode.caching = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rig::Rig;

    /// What has been told since: to whom, which keys (`*` for all), behind which LSN.
    fn told(rig: &Rig) -> Vec<(Vec<u64>, String, u64)> {
        let posts = rig.posts().into_iter();
        posts
            .map(|post| {
                let Letter::Notice(notice) = &post.letter else { panic!("a message") };
                let text = match &notice.told {
                    Told::Changed(keys) => {
                        let keys: Vec<_> = keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
                        keys.join(" ")
                    }
                    Told::All => "*".to_owned(),
                    Told::RedirectBroken(id) => format!("broken {id}"),
                };
                assert_eq!(post.receivers, notice.receivers.len(), "one worker has them all");
                (notice.receivers.clone(), text, post.gate)
            })
            .collect()
    }

    fn keys(rig: &Rig) -> Vec<String> {
        told(rig).into_iter().map(|(_, keys, _)| keys).collect()
    }

    fn end_of_log(rig: &Rig) -> u64 {
        rig.server.store.get().unwrap().log.append_lsn()
    }

    /// A rig whose connection 1 tracks.
    fn tracked(options: &str) -> Rig {
        let mut rig = Rig::new();
        rig.run("PING");
        rig.run_as(1, "HELLO 3");
        assert_eq!(rig.run_as(1, &format!("CLIENT TRACKING ON {options}")), "+OK\r\n");
        rig
    }

    #[test]
    fn who_read_a_key_is_told_once_behind_the_record_that_changes_it() {
        let mut rig = tracked("");
        rig.run_as(1, "MGET a b");
        rig.run("SET c 1");
        assert!(told(&rig).is_empty());
        rig.run("SET a 1");
        assert_eq!(told(&rig), [(vec![2], "a".to_owned(), end_of_log(&rig))]);
        rig.run("SET a 2");
        assert!(told(&rig).is_empty());
        // Several in a record: all behind it.
        rig.run_as(1, "MGET a b");
        for line in ["MULTI", "SET a 3", "SET b 3", "EXEC"] {
            rig.run(line);
        }
        let end = end_of_log(&rig);
        assert_eq!(told(&rig), [(vec![2], "a".to_owned(), end), (vec![2], "b".to_owned(), end)]);
    }

    #[test]
    fn a_transaction_that_changes_and_then_reads_a_key_stays_its_reader() {
        let mut rig = tracked("");
        for line in ["MULTI", "SET k 1", "GET k", "EXEC"] {
            rig.run_as(1, line);
        }
        assert!(told(&rig).is_empty());
        rig.run_as(1, "EVAL redis.call('set','j','1')redis.call('get','j') 0");
        rig.run("MSET k 2 j 2");
        assert_eq!(keys(&rig), ["k", "j"]);
    }

    #[test]
    fn expiry_eviction_and_flushes_are_told() {
        let mut rig = tracked("");
        rig.run("SET due v PX 100");
        rig.run_as(1, "GET due");
        rig.advance_ms(200);
        // Somebody finds it.
        assert_eq!(rig.run("EXISTS due"), ":0\r\n");
        assert_eq!(keys(&rig), ["due"]);
        rig.run("SET due v PX 100");
        rig.run_as(1, "GET due");
        rig.advance_ms(200);
        rig.expire();
        assert_eq!(keys(&rig), ["due"]);
        for line in ["FLUSHALL", "FLUSHDB", "SWAPDB 0 1"] {
            rig.run_as(1, "GET due");
            rig.run(line);
            assert_eq!(keys(&rig), ["*"], "{line}");
            assert_eq!(rig.server.tracking.figures().keys, 0);
        }
    }

    #[test]
    fn prefixes_gather_what_a_record_changes() {
        let mut rig = tracked("BCAST PREFIX u: PREFIX o: NOLOOP");
        rig.run("MSET u:2 1 o:1 1 x 1 u:1 1 u:2 2");
        assert_eq!(keys(&rig), ["o:1", "u:1 u:2"]);
        rig.run_as(1, "MSET u:1 1 o:1 1");
        assert!(told(&rig).is_empty(), "its own");
        assert_eq!(rig.server.tracking.figures().prefixes, 2);
        rig.disconnect(1);
        rig.run("SET u:1 1");
        assert!(told(&rig).is_empty());
        let nothing = Figures { clients: 0, keys: 0, items: 0, prefixes: 0 };
        assert_eq!(rig.server.tracking.figures(), nothing);
        assert!(!rig.server.tracking.is_on());
    }

    #[test]
    fn with_noloop_ones_own_change_is_not_told_and_others_still_are() {
        let mut rig = tracked("NOLOOP");
        rig.run_as(1, "GET k");
        rig.run_as(1, "SET k 1");
        assert!(told(&rig).is_empty());
        rig.run("SET k 2");
        assert_eq!(keys(&rig), ["k"]);
    }

    #[test]
    fn keys_beyond_the_limit_are_given_up_and_told_and_so_are_long_names_and_many_readers() {
        let mut rig = tracked("");
        rig.run("CONFIG SET tracking-table-max-keys 10");
        for number in 0..50 {
            rig.run_as(1, &format!("GET k{number}"));
        }
        assert_eq!(told(&rig).len(), 40);
        let long = "x".repeat(1000);
        rig.run_as(1, &format!("MGET {long}1 {long}2"));
        let given_up = keys(&rig);
        assert!(given_up.contains(&format!("{long}1")) && !given_up.contains(&format!("{long}2")));
        rig.run("FLUSHALL");
        told(&rig);
        // Readers that have left make room first.
        for session in 2..200 {
            rig.run_as(session, "HELLO 3");
            rig.run_as(session, "CLIENT TRACKING ON");
            rig.run_as(session, "GET k");
            rig.disconnect(session);
        }
        assert!(rig.server.tracking.figures().items <= 4, "{:?}", rig.server.tracking.figures());
    }

    #[test]
    fn a_redirection_that_leads_nowhere_is_told_to_who_asked_for_it() {
        let mut rig = tracked("");
        rig.run_as(2, "PING");
        assert_eq!(rig.run_as(1, "CLIENT TRACKING ON REDIRECT 3"), "+OK\r\n");
        rig.run_as(1, "GET k");
        rig.run("SET k 1");
        assert_eq!(told(&rig)[0].0, [3]);
        rig.server.clients.remove(3);
        rig.run_as(1, "GET k");
        rig.run("SET k 1");
        let (to, text, _) = told(&rig).remove(0);
        assert_eq!((to, &*text), (vec![2], "broken 3"));
        assert!(rig.run_as(1, "CLIENT TRACKINGINFO").contains("broken_redirect"));
    }
}
