//! Frees retired keyspaces on a thread of its own: dropping millions of keys takes seconds.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{SendError, Sender, channel};

use parking_lot::Mutex;

use crate::keyspace::stripe::Part;
use crate::memory_gauge;

/// Parts are boxed where they live: moving them here moves pointers.
type Retired = Vec<Box<Part>>;

/// Retired keyspaces that are not freed yet.
static BUSY: AtomicUsize = AtomicUsize::new(0);

static RECLAIMER: OnceLock<Mutex<Sender<Retired>>> = OnceLock::new();

/// Drops `parts` soon, elsewhere.
pub fn later(parts: Retired) {
    let sender = RECLAIMER.get_or_init(|| {
        let (sender, receiver) = channel::<Retired>();
        let spawned = std::thread::Builder::new()
            .name("reclaim".into())
            .spawn(move || receiver.into_iter().for_each(free));
        if let Err(error) = spawned {
            tracing::warn!("no thread to free retired keys ({error}); they are freed in place");
        }
        Mutex::new(sender)
    });
    BUSY.fetch_add(1, Relaxed);
    // Without the thread the send fails and hands the parts back.
    if let Err(SendError(parts)) = sender.lock().send(parts) {
        free(parts);
    }
}

/// Whether something is being freed, or is about to be.
pub fn is_busy() -> bool {
    BUSY.load(Relaxed) > 0
}

fn free(parts: Retired) {
    drop(parts);
    memory_gauge::note(true);
    BUSY.fetch_sub(1, Relaxed);
}
