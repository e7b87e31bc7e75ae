//! The commands on the entries of a stream.

use crate::command::Command;

pub static COMMANDS: &[Command] = &[];
