//! Memory that will be asked for soon is put in place before it is, by a thread that nobody waits for.
//!
//! The first touch of a page makes the system find and clear it. With huge pages that is two mebibytes at a time: 0.1 ms on bare
//! metal, 6 ms measured in a virtual machine whose host has to find them as well. A worker that met that while the store grew kept all of
//! its clients waiting. So threads whose memory grows say so ([`this_thread_grows`]); another thread looks now and then how much free
//! memory in place their arenas have ([`Headroom::look`]) and adds to it ([`Headroom::add`]).
//!
//! Only with jemalloc, whose arenas keep what was freed for about half a minute before they give it back: what is added and not used goes
//! the same way. An arena that does not grow gets nothing. Not promised: that growth of any speed finds its memory in place.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Touched at a time: a huge page.
const STEP: usize = 2 << 20;

/// What an arena that grew should have free, at least and at most.
const WANTED_MIN: usize = 4 * STEP;
const WANTED_MAX: usize = 24 * STEP;

/// The share of the way down that a peak comes at each look: in half a minute nearly all, at ten looks a second.
const PEAK_DECAY: usize = 96;

/// How much to add for an arena that has grown by `grown` bytes beyond its peak and has `free` bytes in place: it should have enough
/// for three to six times of that.
fn lacking(grown: usize, free: usize) -> usize {
    // A few pages are what any busy thread takes and gives back.
    if grown < STEP / 8 {
        return 0;
    }
    let half = (3 * grown).next_multiple_of(STEP).clamp(WANTED_MIN / 2, WANTED_MAX / 2);
    // More than is free, so none of what is free can be taken for it.
    if free < half { half } else { 0 }
}

/// Bytes that are being put in place: nobody's data, though the allocator counts them as allocated.
static IN_HAND: AtomicUsize = AtomicUsize::new(0);

/// Bytes of the allocator's figures that are nobody's, about.
pub fn in_hand() -> usize {
    IN_HAND.load(Relaxed)
}

/// The calling thread's memory grows, and others wait for it.
pub fn this_thread_grows() {
    #[cfg(feature = "jemalloc")]
    jemalloc::note_arena();
}

/// Makes room for the threads that grow.
#[derive(Default)]
pub struct Headroom {
    arenas: Vec<Arena>,
    adding: Option<Piece>,
}

/// What was seen at the last look.
struct Arena {
    number: u32,
    /// The most that was in use, coming down slowly to what is: memory up to there was in place lately and mostly still is.
    peak: usize,
    lacks: usize,
}

impl Arena {
    fn see(&mut self, used: usize, free: usize) {
        self.lacks = lacking(used.saturating_sub(self.peak), free);
        self.peak = used.max(self.peak - self.peak.saturating_sub(used) / PEAK_DECAY);
    }
}

impl Headroom {
    /// Looks what is needed, by the allocator's figures as they were last refreshed ([`crate::allocator::usage`]).
    pub fn look(&mut self) {
        for number in growing() {
            let Some((used, free)) = used_and_free(number) else { continue };
            match self.arenas.iter_mut().find(|arena| arena.number == number) {
                Some(arena) => arena.see(used, free),
                // It is new, so it will grow.
                None => self.arenas.push(Arena { number, peak: used, lacks: WANTED_MIN / 2 }),
            }
        }
    }

    /// Goes on by a step, which may take milliseconds. False if nothing is needed any more.
    #[must_use]
    pub fn add(&mut self) -> bool {
        if self.adding.is_none() {
            let Some(arena) = self.arenas.iter_mut().find(|arena| arena.lacks > 0) else { return false };
            self.adding = Piece::take(arena.number, std::mem::take(&mut arena.lacks));
        }
        // Let go when all of it is in place.
        self.adding = self.adding.take().and_then(Piece::touch);
        true
    }
}

#[cfg(feature = "jemalloc")]
use jemalloc::{Piece, growing, used_and_free};
#[cfg(not(feature = "jemalloc"))]
use other::{Piece, growing, used_and_free};

#[cfg(feature = "jemalloc")]
mod jemalloc {
    use std::ptr::NonNull;
    use std::sync::atomic::Ordering::Relaxed;

    use parking_lot::Mutex;
    use tikv_jemalloc_ctl::raw;
    use tikv_jemalloc_sys::{MALLOCX_ALIGN, MALLOCX_ARENA, MALLOCX_TCACHE_NONE, mallocx, nallocx, sdallocx};

    use super::{IN_HAND, STEP};
    use crate::memory_gauge;

    /// Arenas of the threads that grow.
    static GROWING: Mutex<Vec<u32>> = Mutex::new(Vec::new());
    /// One touch puts at least so much in place.
    const PAGE: usize = 4096;

    pub fn note_arena() {
        // SAFETY: this figure is an `unsigned`, which is `u32`.
        if let Ok(number) = unsafe { raw::read::<u32>(b"thread.arena\0") } {
            let mut growing = GROWING.lock();
            if !growing.contains(&number) {
                growing.push(number);
            }
        }
    }

    pub fn growing() -> Vec<u32> {
        GROWING.lock().clone()
    }

    /// Sizes of free memory that count, by jemalloc's number: from 512 KiB, four in each doubling, to some gigabytes. What is in
    /// smaller pieces serves whoever wants little.
    const LARGE: std::ops::Range<usize> = 23..72;

    /// Bytes in pages in use, and in large pieces that are free and in physical memory.
    pub fn used_and_free(number: u32) -> Option<(usize, usize)> {
        let figure = |name: &str| {
            let name = format!("stats.arenas.{number}.{name}\0");
            // SAFETY: these figures are `size_t`, which is `usize`.
            unsafe { raw::read::<usize>(name.as_bytes()) }.ok()
        };
        let mut free = 0;
        for size in LARGE {
            free += figure(&format!("extents.{size}.dirty_bytes"))?;
        }
        Some((figure("pactive")? * PAGE, free))
    }

    /// Memory of an arena on its way to be free and in place: `start` was allocated by `mallocx` with `len` and `flags`, the first
    /// `touched` bytes of it were written, and nobody else knows it.
    pub struct Piece {
        start: NonNull<u8>,
        len: usize,
        flags: i32,
        touched: usize,
    }

    impl Piece {
        pub fn take(arena: u32, len: usize) -> Option<Self> {
            let flags = MALLOCX_ALIGN(STEP) | MALLOCX_ARENA(arena as usize) | MALLOCX_TCACHE_NONE;
            // SAFETY: only computes; `len` is not 0, as it asks.
            let len = unsafe { nallocx(len.max(STEP), flags) };
            if len == 0 {
                return None;
            }
            IN_HAND.fetch_add(len, Relaxed);
            // SAFETY: `len` is not 0, as `mallocx` asks; the result is looked at.
            let Some(start) = NonNull::new(unsafe { mallocx(len, flags) }.cast::<u8>()) else {
                IN_HAND.fetch_sub(len, Relaxed);
                return None;
            };
            memory_gauge::overlook(len as i64);
            Some(Self { start, len, flags, touched: 0 })
        }

        /// Touches one more step. `None` when that was the last: then it is free.
        pub fn touch(mut self) -> Option<Self> {
            let end = self.len.min(self.touched + STEP);
            for offset in (self.touched..end).step_by(PAGE) {
                // SAFETY: within the allocation, see `Piece`.
                unsafe { self.start.as_ptr().add(offset).write_volatile(0) };
            }
            self.touched = end;
            (end < self.len).then_some(self)
        }
    }

    impl Drop for Piece {
        fn drop(&mut self) {
            // SAFETY: allocated with this size and these flags, see `Piece`; not used any more.
            unsafe { sdallocx(self.start.as_ptr().cast(), self.len, self.flags) };
            memory_gauge::overlook(-(self.len as i64));
            IN_HAND.fetch_sub(self.len, Relaxed);
        }
    }
}

#[cfg(not(feature = "jemalloc"))]
mod other {
    pub fn growing() -> Vec<u32> {
        Vec::new()
    }

    pub fn used_and_free(_: u32) -> Option<(usize, usize)> {
        None
    }

    pub struct Piece;

    impl Piece {
        pub fn take(_: u32, _: usize) -> Option<Self> {
            None
        }

        pub fn touch(self) -> Option<Self> {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "jemalloc")]
    use crate::memory_gauge;

    const MIB: usize = 1 << 20;

    #[test]
    fn who_grows_gets_room_for_more_of_the_same_within_bounds() {
        assert_eq!(lacking(0, 0), 0);
        assert_eq!(lacking(MIB / 8, 0), 0, "pages go back and forth");
        assert_eq!(lacking(MIB, 0), 4 * MIB);
        assert_eq!(lacking(5 * MIB, 0), 16 * MIB);
        assert_eq!(lacking(5 * MIB, 16 * MIB), 0, "there is enough");
        assert_eq!(lacking(1 << 40, 0), 24 * MIB);
    }

    #[test]
    fn who_uses_what_it_used_lately_gets_nothing() {
        let mut arena = Arena { number: 0, peak: 10 * MIB, lacks: 0 };
        for _ in 0..20 {
            for used in [2 * MIB, 9 * MIB] {
                arena.see(used, 0);
                assert_eq!(arena.lacks, 0);
            }
        }
        for _ in 0..100 {
            arena.see(2 * MIB, 0);
        }
        arena.see(9 * MIB, 0);
        assert!(arena.lacks > 0, "it was given back meanwhile");
    }

    #[test]
    fn what_is_added_is_more_than_any_free_piece() {
        for grown in [MIB, 3 * MIB, 7 * MIB, 100 * MIB] {
            for free in (0..64 * MIB).step_by(MIB) {
                assert!(matches!(lacking(grown, free), 0) || lacking(grown, free) > free);
            }
        }
    }

    /// Neither its thread nor the total is to take it for data, or `maxmemory` would drive out some.
    #[cfg(feature = "jemalloc")]
    #[test]
    fn what_is_being_put_in_place_is_nobodys() {
        let before = memory_gauge::not_added();
        let mut piece = Piece::take(0, 3 * STEP);
        assert!(piece.is_some() && in_hand() >= 3 * STEP);
        while piece.is_some() {
            assert!((memory_gauge::not_added() - before).abs() < STEP as i64);
            piece = piece.and_then(Piece::touch);
        }
        assert!((memory_gauge::not_added() - before).abs() < STEP as i64);
    }

    /// A thread of its own, which nothing else in this process allocates in.
    #[cfg(feature = "jemalloc")]
    #[test]
    fn an_arena_that_grew_has_memory_in_place() {
        use tikv_jemalloc_ctl::raw;
        std::thread::spawn(|| {
            // SAFETY: these figures are `unsigned`, which is `u32`.
            let number: u32 = unsafe { raw::read(b"arenas.create\0") }.expect("another arena");
            unsafe { raw::write(b"thread.arena\0", number) }.expect("an arena for this thread");
            this_thread_grows();
            let mut headroom = Headroom::default();
            let mut look = || {
                crate::allocator::usage();
                headroom.look();
                let mine = headroom.arenas.iter().find(|arena| arena.number == number);
                let lacks = mine.map(|arena| arena.lacks);
                while headroom.add() {}
                crate::allocator::usage();
                (lacks, used_and_free(number).expect("jemalloc keeps figures").1)
            };
            let (lacks, free) = look();
            assert_eq!(lacks, Some(WANTED_MIN / 2), "nothing is known of how it grows");
            assert!(free >= WANTED_MIN / 2, "{free}");
            let kept = vec![1u8; 6 * MIB];
            let lacks = look().0.expect("it was seen");
            assert!((18 * MIB..=24 * MIB).contains(&lacks), "{lacks}");
            assert_eq!(look().0, Some(0), "it did not grow");
            drop(kept);
        })
        .join()
        .expect("the thread's assertions hold");
    }
}
