//! The list type.

mod block;
mod blocking;
mod blocks;
pub mod commands;
mod op;
mod table;
pub mod value;
