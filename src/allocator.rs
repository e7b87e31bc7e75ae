//! What the memory allocator says of itself: how much is in use, a report for people, and giving free pages back.
//!
//! Only jemalloc answers, and only if it was built to keep statistics; else usage reads as zero.

/// The allocator's own figures, in bytes. Each contains the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Asked for by the program, but for what `headroom` has in hand.
    pub allocated: u64,
    /// In pages that hold at least one allocation.
    pub active: u64,
    /// In physical memory, free pages not yet given back included.
    pub resident: u64,
}

#[cfg(feature = "jemalloc")]
mod jemalloc {
    use std::ffi::CStr;

    use super::Usage;
    use crate::headroom;
    use tikv_jemalloc_ctl::thread::{self, ThreadLocal};
    use tikv_jemalloc_ctl::{arenas, epoch, raw};
    use tikv_jemalloc_sys::mallctl;

    /// A statistic in bytes; `None` if jemalloc was built without them. `name` ends with a zero byte.
    fn statistic(name: &[u8]) -> Option<u64> {
        // Sound: everything that is read here is a `size_t`, which is `usize`.
        let bytes = unsafe { raw::read::<usize>(name) };
        bytes.ok().map(|bytes| bytes as u64)
    }

    pub fn usage() -> Usage {
        let in_hand = headroom::in_hand();
        // Figures are as of the last advance of the epoch.
        if epoch::advance().is_err() {
            return Usage::default();
        }
        let of = |name: &[u8]| statistic(name).unwrap_or(0);
        // Rather a little too few for a moment than data evicted for what is none.
        let in_hand = in_hand.max(headroom::in_hand()) as u64;
        Usage {
            allocated: of(b"stats.allocated\0").saturating_sub(in_hand),
            active: of(b"stats.active\0"),
            resident: of(b"stats.resident\0"),
        }
    }

    pub fn report() -> String {
        let mut text = String::from("jemalloc\n");
        if epoch::advance().is_err() {
            return text;
        }
        for name in ["allocated", "active", "metadata", "resident", "mapped", "retained"] {
            match statistic(format!("stats.{name}\0").as_bytes()) {
                Some(bytes) => text.push_str(&format!("{name}: {bytes}\n")),
                None => text.push_str(&format!("{name}: not kept by this build\n")),
            }
        }
        if let Ok(count) = arenas::narenas::read() {
            text.push_str(&format!("arenas: {count}\n"));
        }
        text
    }

    thread_local! {
        /// Where jemalloc counts what this thread has allocated and freed.
        static COUNTERS: Option<(ThreadLocal<u64>, ThreadLocal<u64>)> =
            thread::allocatedp::read().ok().zip(thread::deallocatedp::read().ok());
    }

    #[inline]
    pub fn thread_balance() -> i64 {
        COUNTERS.with(|counters| {
            counters.as_ref().map_or(0, |(allocated, freed)| allocated.get().wrapping_sub(freed.get()) as i64)
        })
    }

    /// jemalloc's number for all arenas together (`MALLCTL_ARENAS_ALL`).
    const DECAY_ALL: &CStr = c"arena.4096.decay";

    pub fn decay() {
        let nothing = std::ptr::null_mut();
        // SAFETY: the name ends with a zero byte; this request takes nothing and gives nothing.
        let outcome = unsafe { mallctl(DECAY_ALL.as_ptr(), nothing, std::ptr::null_mut(), nothing, 0) };
        debug_assert_eq!(outcome, 0);
    }

    pub fn purge() {
        let Ok(count) = arenas::narenas::read() else { return };
        for arena in 0..count {
            // An arena whose free pages decay in no time gives them back while that is being set.
            let name = format!("arena.{arena}.dirty_decay_ms\0");
            // Sound: this setting is an `ssize_t`, which is `isize`; it is written back as read. Arenas that were never
            // used refuse, which is fine: they have no pages.
            unsafe {
                if let Ok(decay_ms) = raw::read::<isize>(name.as_bytes()) {
                    let _ = raw::write(name.as_bytes(), 0isize);
                    let _ = raw::write(name.as_bytes(), decay_ms);
                }
            }
        }
    }
}

/// Current figures. Costs some microseconds.
pub fn usage() -> Usage {
    #[cfg(feature = "jemalloc")]
    return jemalloc::usage();
    #[cfg(not(feature = "jemalloc"))]
    Usage::default()
}

/// Bytes that the calling thread has allocated less those that it has freed, since it began; may be negative. Costs two reads. Always
/// 0 without jemalloc.
#[inline]
pub fn thread_balance() -> i64 {
    #[cfg(feature = "jemalloc")]
    return jemalloc::thread_balance();
    #[cfg(not(feature = "jemalloc"))]
    0
}

/// What an allocation of `len` bytes really takes with jemalloc: four sizes in each doubling, whole pages beyond the small ones. Close
/// enough for other allocators.
pub const fn real_size(len: usize) -> usize {
    match len {
        0 => 0,
        1..=8 => 8,
        9..=128 => len.next_multiple_of(16),
        129..=14_336 => len.next_multiple_of(1 << ((len - 1).ilog2() - 2)),
        _ => len.next_multiple_of(4096),
    }
}

/// The allocator's name and version.
pub fn name() -> String {
    #[cfg(feature = "jemalloc")]
    if let Ok(version) = tikv_jemalloc_ctl::version::read() {
        return format!("jemalloc-{}", version.split('-').next().unwrap_or(version));
    }
    "libc".to_owned()
}

/// The allocator's figures as text for people.
pub fn report() -> String {
    #[cfg(feature = "jemalloc")]
    return jemalloc::report();
    #[cfg(not(feature = "jemalloc"))]
    "The allocator of this build keeps no statistics.\n".into()
}

/// Gives back pages that have been free for half a minute or so. By itself jemalloc does that only while somebody allocates, and then in
/// the thread that does. To be called now and then; takes microseconds when there is nothing to give.
pub fn decay() {
    #[cfg(feature = "jemalloc")]
    jemalloc::decay();
}

/// Gives unused pages back to the operating system. Does nothing without jemalloc.
pub fn purge() {
    #[cfg(feature = "jemalloc")]
    jemalloc::purge();
}

#[cfg(all(test, feature = "jemalloc"))]
mod tests {
    use super::*;

    #[test]
    fn figures_contain_each_other_and_a_purge_changes_no_setting() {
        let usage = usage();
        assert!(usage.allocated <= usage.active && usage.active <= usage.resident, "{usage:?}");
        assert!(report().contains("allocated"));
        let name = b"arena.0.dirty_decay_ms\0";
        // Sound: the setting is an `ssize_t`.
        let decay_ms = || unsafe { tikv_jemalloc_ctl::raw::read::<isize>(name) };
        let before = decay_ms();
        purge();
        assert_eq!(before, decay_ms());
    }

    #[test]
    fn sizes_are_rounded_as_the_allocator_does() {
        for len in (1..5000).chain([
            8192,
            8193,
            14_336,
            14_337,
            20_000,
            33_000,
            40_000,
            100_000,
            1 << 20,
            (1 << 20) + 1,
            5_000_000,
        ]) {
            let before = thread_balance();
            let bytes = Vec::<u8>::with_capacity(len);
            let grown = thread_balance() - before;
            assert_eq!(grown as usize, real_size(len), "{len}");
            drop(bytes);
            assert_eq!(thread_balance(), before);
        }
    }
}
