//! The script that runs on this thread: what the functions it calls work on.
//!
//! Lua keeps its functions for longer than any command lives, so they cannot borrow a command's context. They find it here.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::time::Duration;

use crate::command::{Args, Ctx};
use crate::resp::{OwnedArgs, Protocol};

/// What a running script has.
pub struct Running<'r, 'c> {
    pub ctx: &'r mut Ctx<'c>,
    /// Of replies to `redis.call`.
    pub proto: Protocol,
    pub may_write: bool,
    /// `maxmemory` was exceeded when it began, and it may not make that worse.
    pub out_of_memory: bool,
    /// It has called a command that writes: it cannot be killed any more.
    pub wrote: bool,
    /// The line at which it was killed.
    pub killed_at: Option<usize>,
    pub started: Duration,
    /// Of a function: its name, and the request that called it.
    pub function: Option<(&'r str, Args<'r>)>,
    /// Reused from call to call.
    pub args: OwnedArgs,
    pub reply: Vec<u8>,
}

thread_local! {
    static ACTIVE: Cell<Option<NonNull<()>>> = const { Cell::new(None) };
}

/// Puts back what was there before, however the scope is left.
struct Scope<'a> {
    outer: Option<NonNull<()>>,
    _running: PhantomData<&'a mut ()>,
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        ACTIVE.set(self.outer);
    }
}

impl Running<'_, '_> {
    /// Makes this the thread's running script for as long as `body` runs.
    pub fn enter<R>(&mut self, body: impl FnOnce() -> R) -> R {
        let scope =
            Scope { outer: ACTIVE.replace(Some(NonNull::from(&mut *self).cast())), _running: PhantomData };
        let result = body();
        drop(scope);
        result
    }
}

/// Of the replies that the running script wants.
pub fn proto() -> Protocol {
    with(|running| running.proto).unwrap_or(Protocol::Resp2)
}

/// Runs `work` on the thread's running script; `None` if there is none, or if it is being worked on already.
pub fn with<R>(work: impl FnOnce(&mut Running<'_, '_>) -> R) -> Option<R> {
    // Taken out for the time being, so that there is never a second reference.
    let active = ACTIVE.take()?;
    let scope = Scope { outer: Some(active), _running: PhantomData };
    // SAFETY: `enter` put it there from a unique reference that it keeps borrowed, and takes it away before that ends; the lifetimes
    // are those of `enter`'s caller, which `work` cannot name. It was taken out of its place, so nobody else makes a reference of it now.
    let running = unsafe { active.cast::<Running<'_, '_>>().as_mut() };
    let result = work(running);
    drop(scope);
    Some(result)
}
