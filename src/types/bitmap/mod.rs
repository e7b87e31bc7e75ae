//! Commands on the bits of strings. There is no bitmap type: the ops are those of [`super::string`].

mod bits;
pub mod commands;
mod field;
mod table;
#[cfg(test)]
mod tests;
