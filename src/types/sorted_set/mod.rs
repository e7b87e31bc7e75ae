//! The sorted set type.

pub mod add;
pub mod algebra;
pub mod commands;
mod large;
mod leaf;
mod leaves;
mod member_index;
pub mod op;
pub mod pop;
pub mod range;
mod small;
pub mod store;
pub mod table;
mod tree;
pub mod value;
pub mod walk;
