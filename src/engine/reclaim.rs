//! Frees retired keyspaces on a thread of its own: dropping millions of keys takes seconds.

use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use parking_lot::Mutex;

use crate::keyspace::stripe::Part;

/// Parts are boxed where they live: moving them here moves pointers.
type Retired = Vec<Box<Part>>;

static RECLAIMER: OnceLock<Mutex<Sender<Retired>>> = OnceLock::new();

/// Drops `parts` soon, elsewhere.
pub fn later(parts: Retired) {
    let sender = RECLAIMER.get_or_init(|| {
        let (sender, receiver) = channel::<Retired>();
        let spawned = std::thread::Builder::new()
            .name("reclaim".into())
            .spawn(move || receiver.into_iter().for_each(drop));
        if let Err(error) = spawned {
            tracing::warn!("no thread to free retired keys ({error}); they are freed in place");
        }
        Mutex::new(sender)
    });
    // Without the thread the send fails and hands the parts back, which drops them here.
    drop(sender.lock().send(parts));
}
