//! Who watches a key (WATCH) and who waits for one (BLPOP and its like): kept with the stripe that holds the key, under its lock.
//!
//! Those who wait for the same of a key stand in one queue. What happens to a key looks at a queue only if it may be for those in it, and
//! no further than to the first who gets nothing.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;

use super::op::SpaceId;
use super::stripe::STRIPES;
pub use super::stripe_set::StripeSet;
use super::value::Kind;
use crate::types::stream::value::StreamId;

/// What somebody waits for at a key. The order is that in which queues are served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    List,
    SortedSet,
    /// An entry of a stream behind this id.
    Entry(StreamId),
    /// An entry that is new to this group of a stream; or that there is no such group any more, which is an error.
    NewTo(Box<[u8]>),
}

/// A connection that waits for one of several keys.
pub struct Waiter {
    /// Set by whoever serves it, its time-out, its end or CLIENT UNBLOCK: whoever is first.
    claimed: AtomicBool,
    /// Stripes that must be held to serve it.
    pub stripes: StripeSet,
    /// Its keyspace and keys, as queued. None twice for the same.
    pub space: SpaceId,
    pub waits: Vec<(Box<[u8]>, Want)>,
    /// What to run again once a key is ready, and where the reply goes: the engine's business.
    pub request: Box<dyn Any + Send + Sync>,
}

impl Waiter {
    pub fn new(
        stripes: StripeSet,
        space: SpaceId,
        mut waits: Vec<(Box<[u8]>, Want)>,
        request: Box<dyn Any + Send + Sync>,
    ) -> Self {
        waits.sort_unstable();
        waits.dedup();
        Self { claimed: AtomicBool::new(false), stripes, space, waits, request }
    }

    /// Whether it reads streams.
    pub fn reads_streams(&self) -> bool {
        matches!(self.waits.first(), Some((_, Want::Entry(_) | Want::NewTo(_))))
    }

    /// True for the one caller that gets to answer it.
    pub fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::AcqRel)
    }

    pub fn is_claimed(&self) -> bool {
        self.claimed.load(Ordering::Acquire)
    }
}

/// Set when a watched key changes.
pub type WatchFlag = Arc<AtomicBool>;

/// Where a flag stands among those of a key, or belongs: they are in the order of their addresses, so that the end of one of
/// thousands who watch the same key does not look at the others.
fn place_of(flags: &[WatchFlag], flag: &WatchFlag) -> Result<usize, usize> {
    flags.binary_search_by_key(&Arc::as_ptr(flag), Arc::as_ptr)
}

type Place = (SpaceId, Box<[u8]>);

/// Watches and waits on the keys of one stripe.
#[derive(Default)]
pub struct Waiters {
    watched: HashMap<Place, Vec<WatchFlag>>,
    waiting: HashMap<Place, Queues>,
}

/// Who waits for one key.
#[derive(Default)]
struct Queues {
    /// None is empty.
    by_want: BTreeMap<Want, VecDeque<Arc<Waiter>>>,
    /// How many of them need each stripe: counted only once somebody needs more than one.
    needs: Option<Box<[u32; STRIPES]>>,
    /// All stripes that any of them needs.
    stripes: StripeSet,
}

impl Queues {
    fn push(&mut self, want: &Want, waiter: Arc<Waiter>) {
        if !self.stripes.contains(waiter.stripes) || self.needs.is_some() {
            self.count(waiter.stripes, 1);
        }
        match self.by_want.get_mut(want) {
            Some(queue) => queue.push_back(waiter),
            None => _ = self.by_want.insert(want.clone(), [waiter].into()),
        }
    }

    fn remove(&mut self, want: &Want, waiter: &Arc<Waiter>) {
        let Some(queue) = self.by_want.get_mut(want) else { return };
        // Who is served is the first, so it is found at once.
        let Some(at) = queue.iter().position(|other| Arc::ptr_eq(other, waiter)) else { return };
        queue.remove(at);
        if queue.is_empty() {
            self.by_want.remove(want);
        }
        if self.needs.is_some() {
            self.count(waiter.stripes, -1);
        }
    }

    fn count(&mut self, stripes: StripeSet, by: i32) {
        if self.needs.is_none() && self.by_want.is_empty() {
            // Whoever is alone needs no count, and with others of the same needs neither.
            self.stripes = stripes;
            return;
        }
        let needs = self.needs.get_or_insert_with(|| {
            let mut needs = Box::new([0; STRIPES]);
            for waiter in self.by_want.values().flatten() {
                waiter.stripes.iter().for_each(|stripe| needs[stripe] += 1);
            }
            needs
        });
        for stripe in stripes.iter() {
            needs[stripe] = needs[stripe].saturating_add_signed(by);
            let bit = StripeSet::one(stripe).0;
            self.stripes.0 = if needs[stripe] > 0 { self.stripes.0 | bit } else { self.stripes.0 & !bit };
        }
    }
}

/// A table that has held a great many keys doesn't stay as large for ever.
fn give_up_room<V>(table: &mut HashMap<Place, V>) {
    if table.capacity() > ROOM_KEPT && table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2);
    }
}

/// Room for so many keys a table keeps.
const ROOM_KEPT: usize = 64;

#[derive(Hash)]
struct Lookup<'a>(SpaceId, &'a [u8]);

impl hashbrown::Equivalent<Place> for Lookup<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        self.0 == place.0 && *self.1 == *place.1
    }
}

impl Waiters {
    pub fn watch(&mut self, space: SpaceId, key: &[u8], flag: WatchFlag) {
        let flags = self.watched.entry((space, key.into())).or_default();
        if let Err(place) = place_of(flags, &flag) {
            flags.insert(place, flag);
        }
    }

    pub fn unwatch(&mut self, space: SpaceId, key: &[u8], flag: &WatchFlag) {
        if let Some(flags) = self.watched.get_mut(&Lookup(space, key)) {
            if let Ok(place) = place_of(flags, flag) {
                flags.remove(place);
            }
            if flags.is_empty() {
                self.watched.remove(&Lookup(space, key));
                give_up_room(&mut self.watched);
            }
        }
    }

    /// A key changed: whoever watches it is told.
    #[inline]
    pub fn touched(&self, space: SpaceId, key: &[u8]) {
        if self.watched.is_empty() {
            return;
        }
        for flag in self.watched.get(&Lookup(space, key)).into_iter().flatten() {
            flag.store(true, Ordering::Release);
        }
    }

    /// The watched keys of a keyspace.
    pub fn watched_in(&self, space: SpaceId) -> impl Iterator<Item = (&[u8], &[WatchFlag])> {
        self.watched.iter().filter(move |((s, _), _)| *s == space).map(|((_, k), f)| (&**k, &f[..]))
    }

    /// Watches and waits follow their database when two exchange their keyspaces, or one gets a new one.
    pub fn rename_spaces(&mut self, to: impl Fn(SpaceId) -> SpaceId) {
        self.watched = self.watched.drain().map(|((s, k), v)| ((to(s), k), v)).collect();
        self.waiting = self.waiting.drain().map(|((s, k), v)| ((to(s), k), v)).collect();
    }

    pub fn wait(&mut self, space: SpaceId, key: &[u8], want: &Want, waiter: Arc<Waiter>) {
        self.waiting.entry((space, key.into())).or_default().push(want, waiter);
    }

    pub fn stop_waiting(&mut self, space: SpaceId, key: &[u8], want: &Want, waiter: &Arc<Waiter>) {
        if let Some(queues) = self.waiting.get_mut(&Lookup(space, key)) {
            queues.remove(want, waiter);
            if queues.by_want.is_empty() {
                self.waiting.remove(&Lookup(space, key));
                give_up_room(&mut self.waiting);
            }
        }
    }

    /// How many keys somebody waits for.
    pub fn keys_waited_for(&self) -> usize {
        self.waiting.len()
    }

    /// Those of them whose waiters are told, too, when the key is no more: groups of streams.
    pub fn keys_whose_end_is_waited_for(&self) -> usize {
        let is_told = |queues: &&Queues| queues.by_want.keys().any(|want| matches!(want, Want::NewTo(_)));
        self.waiting.values().filter(is_told).count()
    }

    pub fn nobody_waits(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether anybody who waits for a key may get something from it as it is, or be told that what it waited on is gone. `kind`: what is
    /// there now.
    #[inline]
    pub fn is_wanted(&self, space: SpaceId, key: &[u8], kind: impl FnOnce() -> Option<Kind>) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let Some(queues) = self.waiting.get(&Lookup(space, key)) else { return false };
        // In the order of `Want` those for groups come last, and before them those for entries.
        let last = queues.by_want.last_key_value().map(|(want, _)| want);
        let for_group = matches!(last, Some(Want::NewTo(_)));
        for_group
            || match kind() {
                Some(Kind::List) => queues.by_want.contains_key(&Want::List),
                Some(Kind::SortedSet) => queues.by_want.contains_key(&Want::SortedSet),
                Some(Kind::Stream) => matches!(last, Some(Want::Entry(_))),
                _ => false,
            }
    }

    /// The stripes of all who wait for a key.
    pub fn stripes_for(&self, space: SpaceId, key: &[u8]) -> StripeSet {
        self.waiting.get(&Lookup(space, key)).map(|queues| queues.stripes).unwrap_or_default()
    }

    /// What is waited for at a key, in the order of service: of entries of streams only those behind ids below `end`.
    pub fn wants(&self, space: SpaceId, key: &[u8], end: StreamId) -> Vec<Want> {
        let Some(queues) = self.waiting.get(&Lookup(space, key)) else { return Vec::new() };
        let others = (Bound::Included(Want::NewTo(Box::default())), Bound::Unbounded);
        let up_to = queues.by_want.range(..Want::Entry(end));
        up_to.chain(queues.by_want.range(others)).map(|(want, _)| want.clone()).collect()
    }

    /// Who has waited longest for something of a key. It may have been claimed meanwhile.
    pub fn first(&self, space: SpaceId, key: &[u8], want: &Want) -> Option<&Arc<Waiter>> {
        self.waiting.get(&Lookup(space, key))?.by_want.get(want)?.front()
    }

    /// The keys of a keyspace that somebody waits for.
    pub fn waited_in(&self, space: SpaceId) -> impl Iterator<Item = &[u8]> {
        self.waiting.keys().filter(move |(s, _)| *s == space).map(|(_, k)| &**k)
    }
}
