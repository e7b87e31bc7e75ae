//! Places on the earth in sorted sets. There is no such type: a member's score is the cell of the earth that it lies in, and the ops
//! are those of [`super::sorted_set`].

mod cell;
pub mod commands;
mod earth;
mod options;
mod partial_sort;
mod search;
mod store;
mod table;
#[cfg(test)]
mod tests;
