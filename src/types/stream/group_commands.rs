//! The commands that read streams, alone or in groups.

use crate::command::Command;

pub static COMMANDS: &[Command] = &[];
