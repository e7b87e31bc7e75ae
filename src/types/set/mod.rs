//! The set type.

mod algebra;
pub mod commands;
mod copied;
mod intset;
pub mod op;
mod random;
mod table;
pub mod value;
