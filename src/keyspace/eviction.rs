//! Which key to evict next: candidates found by looking at a few keys at random, one stripe at a time.
//!
//! A run of neighbours from a random place of a stripe, which is drawn by its number of keys, is a fair sample: every key is as likely
//! to be in it as any other, and neighbours have nothing in common but their hash. The best of what was seen is kept in a pool from
//! one eviction to the next, so that a candidate competes with those of many samples. A candidate is looked at again before it goes:
//! if it was accessed meanwhile it competes anew.
//!
//! What is due soonest needs no sampling: the stripes' indexes of expiry times have it first.
//!
//! Not promised: the least recently used key of all. Sampling finds one of the least recently used; `maxmemory-samples` says how hard
//! it tries.

use smallvec::SmallVec;

use super::Keyspace;
use super::access::Accesses;
use super::entry::Entry;
use super::hash::{KeyRef, SLOTS};
use super::stripe::{Part, STRIPES, stripe_of};
use super::waiters::StripeSet;
use crate::disk::prng::Prng;
use crate::hash::hash_bytes;

/// Candidates that are kept.
const POOL: usize = 16;
/// One visit in so many is to the next stripe in turn, whatever is known of it: weights are as of the last visit.
const VISIT_IN_TURN: u32 = 16;
/// Keys looked at for each key with an expiry time that is wanted, before the index of expiry times has to do.
const SPARSE: usize = 8;
/// Keys taken of each stripe that are due soonest.
const DUE_PER_STRIPE: usize = 4;

/// What is evicted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// What is accessed least, as the policy counts it.
    Worthless,
    Any,
    /// What expires soonest.
    Due,
}

/// What may be evicted, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Only keys with an expiry time.
    pub only_volatile: bool,
    pub first: First,
}

/// A key that might go. It may be gone already, or another key may have its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub score: u64,
    pub db: u32,
    pub slot: u16,
    pub hash: u64,
}

/// How keys are scored: the highest goes first.
#[derive(Debug, Clone, Copy)]
pub struct Scores {
    pub wanted: Wanted,
    pub accesses: Accesses,
    /// How long the server runs, in seconds.
    pub up_s: u64,
}

impl Scores {
    /// `None`: it must not go.
    pub fn score(&self, entry: &Entry) -> Option<u64> {
        let expire_at = entry.expire_at();
        if self.wanted.only_volatile && expire_at.is_none() {
            return None;
        }
        Some(match self.wanted.first {
            First::Worthless => self.accesses.worthlessness(entry.access(), self.up_s),
            First::Any => 0,
            First::Due => u64::MAX - expire_at?,
        })
    }
}

/// Candidates, and what is known of the stripes. One for each worker.
pub struct Pool {
    prng: Prng,
    wanted: Option<Wanted>,
    /// The best last.
    candidates: Vec<Candidate>,
    /// Keys that may be evicted, by stripe, as of the last visit. Empty: not known.
    weights: Vec<usize>,
    total: usize,
    visits: u32,
    next_in_turn: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Pool {
    /// `seed` decides what is looked at.
    pub fn new(seed: u64) -> Self {
        Self {
            prng: Prng::new(seed),
            wanted: None,
            candidates: Vec::new(),
            weights: Vec::new(),
            total: 0,
            visits: 0,
            next_in_turn: 0,
        }
    }

    /// True before its first use.
    pub const fn is_new(&self) -> bool {
        self.wanted.is_none()
    }

    /// Looks for candidates by sampling about `samples` keys. False if there is no key that may be evicted.
    pub fn gather(&mut self, keyspace: &Keyspace, scores: &Scores, samples: usize) -> bool {
        if self.wanted != Some(scores.wanted) {
            *self = Self { wanted: Some(scores.wanted), ..Self::new(self.prng.next_u64()) };
        }
        if scores.wanted.first == First::Due {
            return !self.candidates.is_empty() || self.gather_due(keyspace);
        }
        if self.total == 0 {
            (0..STRIPES).for_each(|stripe| self.weigh(keyspace, stripe));
        }
        let samples = if scores.wanted.first == First::Any { 1 } else { samples };
        let mut seen = 0;
        // Where keys are few, a stripe has fewer than are to be looked at.
        for _ in 0..samples.max(1) {
            if self.total == 0 || seen >= samples {
                break;
            }
            let stripe = self.draw_stripe();
            seen += self.sample(keyspace, scores, stripe, samples - seen);
            if self.total == 0 {
                (0..STRIPES).for_each(|stripe| self.weigh(keyspace, stripe));
            }
        }
        self.total > 0
    }

    /// The best candidate, taken out.
    pub fn take(&mut self) -> Option<Candidate> {
        self.candidates.pop()
    }

    /// Score of the best candidate.
    pub fn best(&self) -> Option<u64> {
        self.candidates.last().map(|candidate| candidate.score)
    }

    /// Puts a candidate back that was taken out, with its new score. Those that are due later than thought are found again.
    pub fn put_again(&mut self, candidate: Candidate) {
        if self.wanted.is_some_and(|wanted| wanted.first != First::Due) {
            self.put(candidate);
        }
    }

    /// Puts a candidate where it belongs, if it is good enough.
    fn put(&mut self, candidate: Candidate) {
        let is_same = |other: &Candidate| {
            (other.db, other.slot, other.hash) == (candidate.db, candidate.slot, candidate.hash)
        };
        if let Some(at) = self.candidates.iter().position(is_same) {
            self.candidates.remove(at);
        } else if self.candidates.len() == POOL {
            if self.is_full_of_better(candidate.score) {
                return;
            }
            self.candidates.remove(0);
        }
        let at = self.candidates.partition_point(|other| other.score <= candidate.score);
        self.candidates.insert(at, candidate);
    }

    fn is_full_of_better(&self, score: u64) -> bool {
        self.candidates.len() >= POOL && self.candidates[0].score >= score
    }

    /// A stripe by its number of keys; now and then the next in turn.
    fn draw_stripe(&mut self) -> usize {
        self.visits = self.visits.wrapping_add(1);
        if self.visits.is_multiple_of(VISIT_IN_TURN) {
            self.next_in_turn = (self.next_in_turn + 1) % STRIPES;
            return self.next_in_turn;
        }
        let mut at = self.prng.below(self.total as u64) as usize;
        for (stripe, &weight) in self.weights.iter().enumerate() {
            if at < weight {
                return stripe;
            }
            at -= weight;
        }
        0
    }

    fn set_weight(&mut self, stripe: usize, weight: usize) {
        self.weights.resize(STRIPES, 0);
        self.total = self.total - self.weights[stripe] + weight;
        self.weights[stripe] = weight;
    }

    fn weigh(&mut self, keyspace: &Keyspace, stripe: usize) {
        let held = keyspace.lock(StripeSet::one(stripe));
        let only_volatile = self.wanted.is_some_and(|wanted| wanted.only_volatile);
        let shelf = held.shelves().next().expect("one stripe was locked");
        let weight = (0..keyspace.databases())
            .filter_map(|db| shelf.stripe.part(keyspace.space(db)))
            .map(|part| evictable(part, only_volatile))
            .sum();
        self.set_weight(stripe, weight);
    }

    /// Looks at some keys of a stripe. Returns how many may be evicted.
    fn sample(&mut self, keyspace: &Keyspace, scores: &Scores, stripe: usize, samples: usize) -> usize {
        let held = keyspace.lock(StripeSet::one(stripe));
        let shelf = held.shelves().next().expect("one stripe was locked");
        let only_volatile = scores.wanted.only_volatile;
        let parts: SmallVec<[(u32, &Part, usize); 2]> = (0..keyspace.databases())
            .filter_map(|db| Some((db, shelf.stripe.part(keyspace.space(db))?)))
            .map(|(db, part)| (db, part, evictable(part, only_volatile)))
            .collect();
        let weight: usize = parts.iter().map(|(_, _, len)| len).sum();
        self.set_weight(stripe, weight);
        if weight == 0 {
            return 0;
        }
        let mut at = self.prng.below(weight as u64) as usize;
        let (db, part, len) = *parts
            .iter()
            .find(|(_, _, len)| {
                let found = at < *len;
                at -= if found { 0 } else { *len };
                found
            })
            .expect("the number is below the sum");
        let first_slot = (stripe * (SLOTS / STRIPES)) as u16;
        let seed = keyspace.seed();
        // Drawn before the pool is lent out.
        let (start, when) = (self.prng.next_u64(), self.prng.next_u64());
        let mut offer = |slot: u16, entry: &Entry| {
            let Some(score) = scores.score(entry) else { return false };
            if !self.is_full_of_better(score) {
                self.put(Candidate { score, db, slot, hash: hash_bytes(entry.key(), seed) });
            }
            true
        };
        let mut found = 0;
        if !only_volatile {
            part.run(at, samples, &mut |slot, entry| found += usize::from(offer(first_slot + slot, entry)));
        } else if len * SPARSE >= part.len() {
            let start = share(start, part.len() as u64) as usize;
            // Enough tries to find some; whoever finds none tries another place.
            let tries = samples.saturating_mul(SPARSE).saturating_mul(2);
            part.run(start, tries, &mut |slot, entry| {
                if found < samples && offer(first_slot + slot, entry) {
                    found += 1;
                }
            });
        } else {
            let (first, last) = part.expiring_span_ms().unwrap_or_default();
            let from = first + share(when, (last - first).saturating_add(1));
            part.run_of_expiring(from, samples, &mut |slot, entry| found += usize::from(offer(slot, entry)));
        }
        found
    }

    /// The keys that are due soonest of all: those of each stripe, as far as no stripe may have others before them.
    fn gather_due(&mut self, keyspace: &Keyspace) -> bool {
        self.candidates.clear();
        let mut through = u64::MAX;
        for stripe in 0..STRIPES {
            let held = keyspace.lock(StripeSet::one(stripe));
            let shelf = held.shelves().next().expect("one stripe was locked");
            for db in 0..keyspace.databases() {
                let Some(part) = shelf.stripe.part(keyspace.space(db)) else { continue };
                for (n, &(at, slot, hash)) in part.expiring.iter().take(DUE_PER_STRIPE).enumerate() {
                    self.candidates.push(Candidate { score: u64::MAX - at, db, slot, hash });
                    if n + 1 == DUE_PER_STRIPE {
                        through = through.min(at);
                    }
                }
            }
        }
        self.candidates.retain(|candidate| u64::MAX - candidate.score <= through);
        self.candidates.sort_unstable_by_key(|candidate| candidate.score);
        !self.candidates.is_empty()
    }
}

/// A number below `of` that follows from one as good as random.
fn share(drawn: u64, of: u64) -> u64 {
    ((u128::from(drawn) * u128::from(of)) >> 64) as u64
}

fn evictable(part: &Part, only_volatile: bool) -> usize {
    if only_volatile { part.expiring_len() } else { part.len() }
}

impl Candidate {
    pub const fn stripe(&self) -> usize {
        stripe_of(self.slot)
    }

    /// The entry that it is now, if there is one.
    pub fn entry<'a>(&self, part: &'a Part) -> Option<&'a Entry> {
        part.with_hash(self.slot, self.hash)
    }

    /// The key's place: its slot and hash are known.
    pub const fn place<'k>(&self, key: &'k [u8]) -> KeyRef<'k> {
        KeyRef { bytes: key, hash: self.hash, slot: self.slot }
    }
}

impl Part {
    /// Visits `count` entries, at most all, from the n-th on in an arbitrary but fixed order, and from the first again behind the last.
    /// With each comes its slot's number within the stripe.
    fn run(&self, start: usize, count: usize, visit: &mut dyn FnMut(u16, &Entry)) {
        let mut before = start;
        let first = self.slots.iter().position(|table| {
            let found = before < table.len();
            before -= if found { 0 } else { table.len() };
            found
        });
        let Some(first) = first else { return };
        let slots = (0..=self.slots.len()).map(|n| (first + n) % self.slots.len());
        let entries = slots.enumerate().flat_map(|(n, slot)| {
            // The first slot comes again at the end, with what was left out.
            let entries = self.slots[slot].iter_from(if n == 0 { before } else { 0 });
            entries.map(move |entry| (slot as u16, entry))
        });
        let found: SmallVec<[(u16, &Entry); 16]> = entries.take(count.min(self.len())).collect();
        // Asked for together, their reads overlap.
        found.iter().for_each(|(_, entry)| entry.prefetch());
        found.iter().for_each(|(slot, entry)| visit(*slot, entry));
    }

    /// Visits entries with an expiry time in its order, from one on, and from the first again behind the last.
    fn run_of_expiring(&self, from_ms: u64, count: usize, visit: &mut dyn FnMut(u16, &Entry)) {
        let behind = self.expiring.range((from_ms, 0, 0)..);
        for &(_, slot, hash) in behind.chain(&self.expiring).take(count.min(self.expiring.len())) {
            if let Some(entry) = self.with_hash(slot, hash) {
                visit(slot, entry);
            }
        }
    }

    fn with_hash(&self, slot: u16, hash: u64) -> Option<&Entry> {
        self.table(slot).with_hash(hash, self.seed())
    }
}
