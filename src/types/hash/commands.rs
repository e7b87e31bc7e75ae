//! Stub: replaced by the type's owner.
use crate::command::Command;

pub static COMMANDS: &[Command] = &[];
