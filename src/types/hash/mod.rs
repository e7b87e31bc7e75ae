//! The hash type.

pub mod commands;
mod expiry;
pub mod op;
mod table;
pub mod value;
mod walk;
