//! The list type.

mod block;
mod blocking;
mod blocks;
pub mod commands;
mod op;
mod sealed;
mod table;
#[cfg(test)]
mod tests;
pub mod value;
