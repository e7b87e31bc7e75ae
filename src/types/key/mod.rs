//! Commands on keys of any type and on whole databases: there is no value here, only what names, moves, ends and lists them.

pub mod commands;
mod copy;
mod expire;
mod memory;
mod object;
mod scan;
mod table;

#[cfg(test)]
mod tests;
