//! Strings, and bitmaps in strings.

pub mod commands;
pub mod value;
