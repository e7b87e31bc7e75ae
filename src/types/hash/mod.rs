//! The hash type.

pub mod commands;
pub mod value;
