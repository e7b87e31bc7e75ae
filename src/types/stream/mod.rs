//! The stream type: an append-only log of entries, and the groups that consume it.

mod block;
mod blocks;
pub mod commands;
mod entry;
pub mod group;
pub mod group_commands;
pub mod id;
#[cfg(test)]
mod model;
pub mod op;
pub mod value;
