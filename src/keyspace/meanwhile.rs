//! What a thread does while it waits for a stripe: a script may hold all of them for as long as it likes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

/// Time between two looks at what else there is to do.
const STEP: Duration = Duration::from_millis(5);

type Work = Rc<dyn Fn()>;

thread_local! {
    static WORK: RefCell<Option<Work>> = const { RefCell::new(None) };
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// What this thread does from now on when it has to wait. It must not lock any stripe.
pub fn set(work: Option<Work>) {
    WORK.set(work);
}

/// Does it once, unless it is being done already.
pub fn work() {
    let Some(work) = WORK.with_borrow(Clone::clone) else { return };
    if !AT_WORK.replace(true) {
        work();
        AT_WORK.set(false);
    }
}

/// Locks, however long it takes.
#[cold]
pub(super) fn wait<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    loop {
        if let Some(guard) = mutex.try_lock_for(STEP) {
            return guard;
        }
        work();
    }
}

/// Locks, unless it is given up before that.
#[cold]
pub(super) fn wait_unless<'a, T>(
    mutex: &'a Mutex<T>,
    give_up: &dyn Fn() -> bool,
) -> Option<MutexGuard<'a, T>> {
    loop {
        if give_up() {
            return None;
        }
        if let Some(guard) = mutex.try_lock_for(STEP) {
            return Some(guard);
        }
    }
}
