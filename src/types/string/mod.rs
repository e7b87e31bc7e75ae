//! Strings. Bitmaps are strings too: their commands are in [`super::bitmap`].

pub mod commands;
mod lcs;
mod table;
#[cfg(test)]
mod tests;
pub mod value;
