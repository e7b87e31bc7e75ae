//! The set type.

pub mod op;
pub mod value;
