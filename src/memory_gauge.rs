//! How much memory is in use, known at any moment for next to nothing.
//!
//! The allocator's own total costs microseconds, so it is asked for about ten times a second ([`refresh`]). In between each thread
//! that changes much adds what it has allocated and freed since it last did ([`note`]): jemalloc counts that for each thread, exactly,
//! in two numbers that cost two reads. So the figure is never behind by more than what a thread may keep to itself ([`GRAIN`]), what
//! one request allocates, and what threads that do not note do between two refreshes.
//!
//! Threads that work in the background with a budget of their own (compaction) are [`exclude`]d: what they hold at the moment must
//! not drive out data. Not promised: exactness. A refresh may count up to a grain of each thread twice, until the next one.
//!
//! Memory belongs to the process, so the gauge does, too. It is only kept while somebody asked for it ([`watch`]).

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use crate::{allocator, process};

/// A thread's changes below this many bytes are not added to the total.
pub const GRAIN: i64 = 16 << 10;

static USED: AtomicI64 = AtomicI64::new(0);
/// What excluded threads hold.
static EXCLUDED: AtomicI64 = AtomicI64::new(0);
/// What the interpreters of scripts hold.
static SCRIPTS: AtomicI64 = AtomicI64::new(0);
static WATCHED: AtomicBool = AtomicBool::new(false);
/// How often the gauge was switched on: what a thread did before is in the total.
static GENERATION: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// This thread's balance when it was last added to the total, and the generation that was in.
    static NOTED: Cell<(u64, i64)> = const { Cell::new((0, 0)) };
    /// This thread's balance when it was excluded.
    static EXCLUDED_SINCE: Cell<Option<i64>> = const { Cell::new(None) };
}

/// From now on somebody asks for [`used`], or nobody does.
pub fn watch(on: bool) {
    if WATCHED.swap(on, Relaxed) != on && on {
        GENERATION.fetch_add(1, Relaxed);
    }
}

/// Asks the allocator for the total. Costs some microseconds.
pub fn refresh() -> allocator::Usage {
    let usage = allocator::usage();
    let total = if usage.allocated == 0 { process::resident_bytes() } else { usage.allocated };
    USED.store(total as i64 - EXCLUDED.load(Relaxed), Relaxed);
    usage
}

/// What this thread has just allocated, or freed, is nobody's data: it is not to be added.
pub fn overlook(bytes: i64) {
    let (generation, noted) = NOTED.get();
    NOTED.set((generation, noted + bytes));
}

/// What this thread has allocated less what it has freed since that was last added, or overlooked.
#[cfg(test)]
pub fn not_added() -> i64 {
    allocator::thread_balance() - NOTED.get().1
}

/// Adds what this thread has allocated and freed to the total: at once, or when it is worth it.
#[inline]
pub fn note(at_once: bool) {
    let balance = allocator::thread_balance();
    let (generation, noted) = NOTED.get();
    let now = GENERATION.load(Relaxed);
    let change = balance - noted;
    if generation == now && !at_once && change.abs() < GRAIN {
        return;
    }
    NOTED.set((now, balance));
    if let Some(since) = EXCLUDED_SINCE.get() {
        EXCLUDED_SINCE.set(Some(balance));
        EXCLUDED.fetch_add(balance - since, Relaxed);
    } else if generation == now {
        USED.fetch_add(change, Relaxed);
    }
}

/// What this thread holds from now on does not count. It notes now and then.
pub fn exclude() {
    EXCLUDED_SINCE.set(Some(allocator::thread_balance()));
}

/// Bytes in use that count. Meaningful while [`watch`] is on, or right after [`refresh`].
#[inline]
pub fn used() -> u64 {
    USED.load(Relaxed).max(0) as u64
}

/// An interpreter of scripts holds more than it did, or less. It has a limit of its own: what it holds must not drive out data.
pub fn note_scripts(change: i64) {
    SCRIPTS.fetch_add(change, Relaxed);
}

/// Bytes that interpreters of scripts hold.
pub fn scripts() -> u64 {
    SCRIPTS.load(Relaxed).max(0) as u64
}

/// Bytes that excluded threads hold.
pub fn excluded() -> u64 {
    EXCLUDED.load(Relaxed).max(0) as u64
}

#[cfg(all(test, feature = "jemalloc"))]
mod tests {
    use super::*;

    /// Other tests of the process allocate, too, so only large differences mean something.
    const LARGE: usize = 256 << 20;

    #[test]
    fn what_a_thread_allocates_shows_between_refreshes_and_what_an_excluded_one_does_never() {
        watch(true);
        note(true);
        refresh();
        let before = used();
        let bytes = Vec::<u8>::with_capacity(LARGE);
        note(false);
        assert!(used() > before + LARGE as u64 / 2);
        drop(bytes);
        note(false);
        assert!(used() < before + LARGE as u64 / 2);
        let hidden = std::thread::spawn(|| {
            exclude();
            let bytes = Vec::<u8>::with_capacity(LARGE);
            note(false);
            let held = excluded();
            refresh();
            let counted = used();
            drop(bytes);
            note(false);
            (held, counted)
        });
        let (held, counted) = hidden.join().unwrap();
        assert!(held >= LARGE as u64);
        assert!(counted < before + LARGE as u64 / 2);
        assert!(excluded() < LARGE as u64);
    }
}
