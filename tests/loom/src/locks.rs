//! Sets of stripes are locked ascending, and anew when somebody who waits needs more: nobody waits in a circle, and who serves a
//! waiter holds all that it needs.

use std::sync::Arc;

use loom::sync::MutexGuard;
use loom::thread;

use crate::stripe_set::StripeSet;
use crate::sync::Mutex;

/// The stripes that there are.
const STRIPES: usize = 3;

/// Waits for an item, to take it (BLPOP) or to move it on (BLMOVE).
struct Waiter {
    from: usize,
    to: Option<usize>,
}

impl Waiter {
    /// As `engine::blocking::stripes_of`: others may wait for what is moved on, and so forth.
    fn stripes(&self) -> StripeSet {
        match self.to {
            None => StripeSet::one(self.from),
            Some(_) => {
                (0..STRIPES).fold(StripeSet::default(), |all, stripe| all.with(StripeSet::one(stripe)))
            }
        }
    }
}

#[derive(Default)]
struct Shelf {
    waiting: Vec<Waiter>,
    items: u32,
}

struct Store(Vec<Mutex<Shelf>>);

type Held<'a> = Vec<(usize, MutexGuard<'a, Shelf>)>;

fn set(stripes: &[usize]) -> StripeSet {
    stripes.iter().fold(StripeSet::default(), |set, &stripe| set.with(StripeSet::one(stripe)))
}

impl Store {
    fn new() -> Arc<Self> {
        Arc::new(Self((0..STRIPES).map(|_| Mutex::new(Shelf::default())).collect()))
    }

    /// As `Keyspace::lock`.
    fn lock(&self, set: StripeSet) -> Held<'_> {
        set.iter().map(|stripe| (stripe, self.0[stripe].lock())).collect()
    }

    /// As `engine::locks::lock`: what those need who wait on the command's own keys.
    fn lock_to_write(&self, set: StripeSet) -> Held<'_> {
        set.lock_with_needed(
            |set| self.lock(set),
            |_, held| {
                let own = held.iter().filter(|(stripe, _)| set.contains(StripeSet::one(*stripe)));
                let waiting = own.flat_map(|(_, shelf)| &shelf.waiting);
                waiting.fold(StripeSet::default(), |needed, waiter| needed.with(waiter.stripes()))
            },
        )
    }

    /// BLMOVE: takes an item of `from` to `to`, or waits for one.
    fn move_or_wait(&self, from: usize, to: usize) {
        let mut held = self.lock_to_write(set(&[from, to]));
        if take(&mut held, from, to) {
            serve(&mut held, to);
        } else {
            shelf(&mut held, from).waiting.push(Waiter { from, to: Some(to) });
        }
    }

    /// BLPOP: takes an item, or waits for one.
    fn pop_or_wait(&self, from: usize) {
        let mut held = self.lock_to_write(set(&[from]));
        let shelf = shelf(&mut held, from);
        match shelf.items {
            0 => shelf.waiting.push(Waiter { from, to: None }),
            _ => shelf.items -= 1,
        }
    }

    /// LPUSH: adds an item, and serves who waits for it.
    fn push(&self, to: usize) {
        let mut held = self.lock_to_write(set(&[to]));
        shelf(&mut held, to).items += 1;
        serve(&mut held, to);
    }
}

/// Serves who waits on a stripe, and who waits for what they move.
fn serve(held: &mut Held<'_>, stripe: usize) {
    while shelf(held, stripe).items > 0
        && let Some(waiter) = shelf(held, stripe).waiting.pop()
    {
        match waiter.to {
            None => shelf(held, stripe).items -= 1,
            Some(to) => {
                assert!(take(held, stripe, to), "there is one");
                serve(held, to);
            }
        }
    }
}

/// Panics if the stripe is not held.
fn shelf<'a>(held: &'a mut Held<'_>, stripe: usize) -> &'a mut Shelf {
    let (_, shelf) = held.iter_mut().find(|(held, _)| *held == stripe).expect("all that is needed is locked");
    shelf
}

fn take(held: &mut Held<'_>, from: usize, to: usize) -> bool {
    if shelf(held, from).items == 0 {
        return false;
    }
    shelf(held, from).items -= 1;
    shelf(held, to).items += 1;
    true
}

/// Runs each in a thread of its own, in every interleaving; at the end `items` are on the shelves.
fn check(runs: &'static [fn(&Store)], preemptions_max: Option<usize>, items: u32) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions_max;
    builder.check(move || {
        let store = Store::new();
        let spawn = |&run: &fn(&Store)| {
            let store = store.clone();
            thread::spawn(move || run(&store))
        };
        let threads: Vec<_> = runs[1..].iter().map(spawn).collect();
        runs[0](&store);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let shelves = store.lock(set(&[0, 1, 2]));
        assert_eq!(shelves.iter().map(|(_, shelf)| shelf.items).sum::<u32>(), items);
        for (stripe, shelf) in &shelves {
            assert!(
                shelf.items == 0 || shelf.waiting.is_empty(),
                "somebody waits for what is on stripe {stripe}"
            );
        }
    });
}

#[test]
fn commands_on_crossing_stripes_do_not_wait_for_each_other_in_a_circle() {
    check(&[|s| s.move_or_wait(0, 1), |s| s.move_or_wait(1, 2), |s| s.move_or_wait(2, 0)], Some(2), 0);
}

#[test]
fn a_push_to_a_high_stripe_locks_the_lower_one_of_who_waits_there() {
    check(&[|s| s.move_or_wait(2, 0), |s| s.push(2)], None, 1);
    check(&[|s| s.move_or_wait(2, 0), |s| s.push(2), |s| s.push(0)], Some(3), 2);
}

#[test]
fn who_comes_to_wait_while_a_push_locks_more_is_served_as_well() {
    check(&[|s| s.move_or_wait(2, 0), |s| s.push(2), |s| s.move_or_wait(2, 1)], Some(3), 1);
}

#[test]
fn an_item_is_moved_on_through_all_who_wait_for_it() {
    check(&[|s| s.move_or_wait(0, 2), |s| s.move_or_wait(2, 1), |s| s.push(0)], Some(2), 1);
    check(&[|s| s.move_or_wait(2, 1), |s| s.pop_or_wait(1), |s| s.push(2)], Some(2), 0);
}
