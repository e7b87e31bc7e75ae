//! The stream type: an append-only log of entries, and the groups that consume it.

mod add;
mod block;
mod blocks;
#[cfg(test)]
mod command_tests;
pub mod commands;
mod delete;
mod entry;
pub mod group;
pub mod group_commands;
pub mod id;
pub mod id_arg;
mod info;
#[cfg(test)]
mod model;
pub mod op;
mod range;
pub mod references;
mod sorted;
mod table;
mod trim;
pub mod value;
