//! The sorted set type.

pub mod add;
pub mod algebra;
pub mod commands;
pub mod op;
pub mod pop;
pub mod range;
pub mod store;
pub mod table;
pub mod value;
pub mod walk;
