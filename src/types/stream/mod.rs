//! The stream type: an append-only log of entries, and the groups that consume it.

pub mod commands;
pub mod group;
pub mod group_commands;
pub mod id;
pub mod op;
pub mod value;
