//! Lua 5.1: EVAL and FCALL and their relatives. A script runs with every stripe locked, in one context: what it changes is one record of
//! the log, all or nothing after a crash.
//!
//! Each thread that runs scripts has an interpreter of its own ([`interpreter`]); sources are the server's
//! ([`crate::command::scripts`]), and so are libraries of functions ([`crate::command::libraries`]). What a script is given stands in `prelude.lua` and [`api`]; it can reach nothing else.

mod api;
mod call;
mod commands;
mod convert;
mod evaluate;
mod function_commands;
mod interpreter;
mod libraries;
mod library;
mod library_set;
mod raised;
mod raw;
mod running;
mod script_commands;
#[cfg(test)]
mod tests;
mod watch;

/// What a thread's interpreter may hold, in bytes: a script that wants more fails.
const MEMORY_MAX: usize = 1 << 30;

pub use commands::COMMANDS;
pub use function_commands::COMMANDS as FUNCTION_COMMANDS;
pub use library_set::load_all as load_libraries;
pub use script_commands::COMMANDS as SCRIPT_COMMANDS;
