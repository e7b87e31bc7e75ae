//! The sorted set type.

pub mod op;
pub mod value;
