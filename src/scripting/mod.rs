//! Lua 5.1: EVAL and FCALL and their relatives. A script runs with every stripe locked, in one context: what it changes is one record of
//! the log, all or nothing after a crash.
//!
//! Each thread that runs scripts has an interpreter of its own ([`interpreter`]); sources are the server's
//! ([`crate::command::scripts`]), and so are libraries of functions ([`crate::command::libraries`]). What a script is given stands in `prelude.lua` and [`api`]; it can reach nothing else.

mod api;
mod bounds;
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

/// The stack of a thread that runs scripts, in bytes; what is not used takes no memory. The most that a script can make of it: 200 calls
/// of C functions in each other (Lua's own limit; 9 KiB each with `string.gsub`), and in the innermost a pattern of [`bounds::ITEMS_MAX`]
/// items (160 bytes each) or a value nested as deeply as `cjson` and `cmsgpack` follow it (a few KiB for each level, without optimization).
pub const STACK_BYTES: usize = 64 << 20;

pub use commands::COMMANDS;
pub use function_commands::COMMANDS as FUNCTION_COMMANDS;
pub use library_set::load_all as load_libraries;
pub use script_commands::COMMANDS as SCRIPT_COMMANDS;
