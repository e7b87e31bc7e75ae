//! HyperLogLogs: strings that estimate how many different elements were added to them.
//!
//! There is no such type: the value is a string in Redis' own form, byte for byte, so that a client may GET it from one server and
//! SET it on the other. The ops are those of [`super::string`].
//!
//! ```text
//! "HYLL" | encoding u8: 0 dense, 1 sparse | 3 bytes unused | cardinality u64 | registers
//! ```
//! There are 16384 registers. The cardinality is what the last count gave; its highest bit says that registers changed since.

mod change;
pub mod commands;
mod debug;
mod dense;
mod element;
mod estimate;
pub mod reading;
mod registers;
mod sparse;
mod table;
#[cfg(test)]
mod tests;
mod view;
