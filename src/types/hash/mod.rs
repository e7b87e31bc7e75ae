//! The hash type.

pub mod commands;
pub mod op;
pub mod value;
