//! The stream type: an append-only log of entries, and the groups that consume it.

mod acknowledge;
mod add;
mod block;
mod blocks;
mod claim;
#[cfg(test)]
mod command_tests;
pub mod commands;
mod delete;
mod entry;
pub mod group;
#[cfg(test)]
mod group_command_tests;
pub mod group_commands;
mod group_read;
mod group_table;
pub mod id;
pub mod id_arg;
mod info;
#[cfg(test)]
mod model;
pub mod op;
mod range;
mod read;
pub mod references;
mod sorted;
mod table;
mod trim;
pub mod value;
mod xpending;
