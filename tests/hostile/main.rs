//! Hostile clients against the real binary: each kind alone, a few hundred connections of it. What is looked at: memory stays
//! within what is configured, the hostile connection gets the documented error or is closed, an honest client is answered
//! meanwhile. `HOSTILE=full` adds ten thousand connections, half of them hostile, and prints what the honest ones notice.
//!
//! Nothing here depends on time, except that a reply which takes half a minute counts as none.

mod blocked;
mod churn;
mod empty_commands;
mod floods;
mod full;
mod half_closed;
mod half_frames;
mod headers;
mod left_over;
mod nesting;
mod other_protocols;
mod slow_loris;
#[path = "../support/mod.rs"]
mod support;
mod target;
mod transactions;
mod unauthenticated;
mod unread_output;
