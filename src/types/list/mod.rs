//! The list type.

pub mod commands;
pub mod value;
