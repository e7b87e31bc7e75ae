//! Commands on keys of any type and on whole databases: there is no value here, only what names, moves, ends and lists them.

pub mod commands;
mod copy;
mod dump;
mod expire;
mod memory;
mod object;
mod scan;
mod sort;
mod table;

#[cfg(test)]
mod dump_tests;
#[cfg(test)]
mod sort_tests;
#[cfg(test)]
mod tests;
