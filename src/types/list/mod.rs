//! The list type.

mod block;
mod blocks;
pub mod commands;
mod op;
mod table;
pub mod value;
