//! Sets of stripes, and how they are locked without anybody waiting in a circle: ascending, and all anew when more are needed.
//!
//! `tests/loom` runs this file in every interleaving.

/// A set of stripes; bit n stands for stripe n. There are 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StripeSet(pub u64);

impl StripeSet {
    pub const ALL: Self = Self(u64::MAX);

    pub const fn one(stripe: usize) -> Self {
        Self(1 << stripe)
    }

    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The stripes in the order in which they are locked.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let stripe = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            Some(stripe)
        })
    }

    /// Locks this set with `lock`, and more when what is found under the locks needs more. All are let go before more are locked, and
    /// what is needed is looked for again: it may have changed meanwhile.
    #[inline]
    pub fn lock_with_needed<G>(self, lock: impl Fn(Self) -> G, needed: impl Fn(Self, &G) -> Self) -> G {
        let mut set = self;
        loop {
            let held = lock(set);
            let more = needed(set, &held);
            if set.contains(more) {
                return held;
            }
            drop(held);
            set = set.with(more);
        }
    }
}
