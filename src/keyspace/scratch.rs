//! A place to make keys in that are nobody's: `apply` as for live keys, and what came of it.

use super::access::Accesses;
use super::entry::Entry;
use super::hash::KeyRef;
use super::op::{Op, SpaceId};
use super::stripe::Stripe;
use crate::types::Misfit;

/// All keys lie in one keyspace: who makes them knows which it is.
const SPACE: SpaceId = 0;

pub struct Scratch {
    stripe: Stripe,
    seed: u64,
}

impl Scratch {
    /// `seed` is that of the keys' hashes.
    pub fn new(seed: u64) -> Self {
        Self { stripe: Stripe::default(), seed }
    }

    /// Carries out one op. On a misfit nothing has changed.
    pub fn apply(&mut self, key: &KeyRef<'_>, op: &Op<'_>) -> Result<(), Misfit> {
        self.stripe.apply(SPACE, key, op, self.seed, &mut Accesses::Off)
    }

    pub fn get(&self, key: &KeyRef<'_>) -> Option<&Entry> {
        self.stripe.part(SPACE)?.get(key)
    }

    /// Forgets a key if it is there.
    pub fn remove(&mut self, key: &KeyRef<'_>) {
        if self.get(key).is_some() {
            self.apply(key, &Op::Delete).expect("what is there can be deleted");
        }
    }
}
