//! Exhaustive torture on the simulated disk: a crash at every operation of short lives of a whole store, with every class of loss,
//! and again at every operation of the recoveries; and an error at every operation. `docs/testing.md` says how to run more of it.
//!
//! TORTURE=full takes everything instead of a part, TORTURE_SEED=n draws other chances, TORTURE_CASE runs one case alone.

mod case;
mod coverage;
mod crashes;
mod damage;
mod errors;
mod life;
mod property;
mod types;
mod workloads;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use case::Case;
use crashes::{Counts, Extent, Sweep};

/// A recovery allocates a few large tables that stay empty: as fresh maps they cost nothing, from the heap they are cleared.
fn large_allocations_are_maps() {
    // SAFETY: sets two numbers of the allocator.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 6 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 20);
    }
}

#[test]
fn after_a_crash_at_every_operation_what_was_acknowledged_is_there_and_live_is_replayed() {
    large_allocations_are_maps();
    let only: Option<Case> = std::env::var("TORTURE_CASE").ok().map(|text| match text.parse() {
        Ok(case) => case,
        Err(why) => panic!("TORTURE_CASE: {why}"),
    });
    let extent = Extent::asked_for();
    eprintln!("{extent:?}; other chances: TORTURE_SEED=n, everything: TORTURE=full");
    let mut workloads = workloads::all();
    workloads.retain(|workload| only.as_ref().is_none_or(|case| case.workload == workload.name));
    assert!(!workloads.is_empty(), "TORTURE_CASE names no workload");
    let (next, total) = (AtomicUsize::new(0), Mutex::new(Counts::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8)) {
            scope.spawn(|| {
                while let Some(workload) = workloads.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let counts = Sweep::new(workload, extent).run(only.as_ref());
                    eprintln!("{:24} {counts:?}", workload.name);
                    total.lock().expect("no other sweep failed").add(&counts);
                }
            });
        }
    });
    let total = total.into_inner().expect("no sweep failed");
    eprintln!("{:24} {total:?}", "all");
    let images = total.images + total.images_again;
    assert!(only.is_some() || images >= 100_000, "only {images} distinct crash images were recovered");
    assert!(only.is_some() || total.restored > 1000, "only {} snapshots were restored", total.restored);
}
