//! The sorted set type.

mod large;
mod leaf;
mod leaves;
mod member_index;
pub mod op;
mod small;
mod tree;
pub mod value;
