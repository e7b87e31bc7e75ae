//! What [`super::bell`] is made of. `tests/loom` compiles that file over loom's twins of these.

pub use parking_lot::Mutex;
pub use std::sync::atomic::{AtomicBool, Ordering, fence};
pub use std::thread::{ThreadId, current};
