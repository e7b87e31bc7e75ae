//! Snapshots: immutable files of sorted rows, made in the background from older ones and the log, never from the live keyspace.
//!
//! docs/decisions/003-snapshots.md says why, docs/formats.md how the bytes lie.

pub mod backup;
#[cfg(test)]
mod backup_tests;
pub mod block;
pub mod catalog;
pub mod compact;
#[cfg(test)]
mod file_tests;
pub mod footer;
pub mod header;
pub mod load;
pub mod merge;
pub mod reader;
pub mod retained;
pub mod room;
#[cfg(test)]
mod room_tests;
pub mod rows;
pub mod salvage;
pub mod side_by_side;
pub mod slot_rows;
pub mod sorted;
pub mod writer;
