//! Who watches a key (WATCH) and who waits for one (BLPOP and its like): kept with the stripe that holds the key, under its lock.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;

use super::op::SpaceId;
pub use super::stripe_set::StripeSet;

/// A connection that waits for one of several keys.
pub struct Waiter {
    /// Set by whoever serves it, its time-out, its end or CLIENT UNBLOCK: whoever is first.
    claimed: AtomicBool,
    /// Stripes that must be held to serve it.
    pub stripes: StripeSet,
    /// Its keyspace and keys, as queued.
    pub space: SpaceId,
    pub keys: Vec<Box<[u8]>>,
    /// What to run again once a key is ready, and where the reply goes: the engine's business.
    pub request: Box<dyn Any + Send + Sync>,
}

impl Waiter {
    pub fn new(
        stripes: StripeSet,
        space: SpaceId,
        keys: Vec<Box<[u8]>>,
        request: Box<dyn Any + Send + Sync>,
    ) -> Self {
        Self { claimed: AtomicBool::new(false), stripes, space, keys, request }
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
    waiting: HashMap<Place, VecDeque<Arc<Waiter>>>,
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

    pub fn wait(&mut self, space: SpaceId, key: &[u8], waiter: Arc<Waiter>) {
        self.waiting.entry((space, key.into())).or_default().push_back(waiter);
    }

    pub fn stop_waiting(&mut self, space: SpaceId, key: &[u8], waiter: &Arc<Waiter>) {
        if let Some(queue) = self.waiting.get_mut(&Lookup(space, key)) {
            queue.retain(|w| !Arc::ptr_eq(w, waiter));
            if queue.is_empty() {
                self.waiting.remove(&Lookup(space, key));
                give_up_room(&mut self.waiting);
            }
        }
    }

    pub fn nobody_waits(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Who waits for a key, longest first. Some may have been claimed meanwhile.
    pub fn waiting_for(&self, space: SpaceId, key: &[u8]) -> Option<&VecDeque<Arc<Waiter>>> {
        if self.waiting.is_empty() {
            return None;
        }
        self.waiting.get(&Lookup(space, key))
    }

    /// The keys of a keyspace that somebody waits for.
    pub fn waited_in(&self, space: SpaceId) -> impl Iterator<Item = &[u8]> {
        self.waiting.keys().filter(move |(s, _)| *s == space).map(|(_, k)| &**k)
    }
}
