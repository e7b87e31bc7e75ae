//! Limits of compact representations, as set by the `*-max-listpack-*` and `*-max-intset-*` directives, and `stream-node-max-*`.
//!
//! Process-wide because they are read deep inside values and never change what a value means, only its layout.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};

pub static HASH_MAX_LISTPACK_ENTRIES: AtomicUsize = AtomicUsize::new(128);
pub static HASH_MAX_LISTPACK_VALUE: AtomicUsize = AtomicUsize::new(64);
pub static SET_MAX_INTSET_ENTRIES: AtomicUsize = AtomicUsize::new(512);
pub static SET_MAX_LISTPACK_ENTRIES: AtomicUsize = AtomicUsize::new(128);
pub static SET_MAX_LISTPACK_VALUE: AtomicUsize = AtomicUsize::new(64);
pub static ZSET_MAX_LISTPACK_ENTRIES: AtomicUsize = AtomicUsize::new(128);
pub static ZSET_MAX_LISTPACK_VALUE: AtomicUsize = AtomicUsize::new(64);
/// Positive: entries a block; -1..-5: 4, 8, 16, 32, 64 KiB a block.
pub static LIST_MAX_LISTPACK_SIZE: AtomicI64 = AtomicI64::new(-2);

/// 0: no limit.
pub static STREAM_NODE_MAX_BYTES: AtomicUsize = AtomicUsize::new(4096);
/// 0: no limit.
pub static STREAM_NODE_MAX_ENTRIES: AtomicUsize = AtomicUsize::new(100);

/// Current value of a limit.
pub fn get(limit: &AtomicUsize) -> usize {
    limit.load(Relaxed)
}
