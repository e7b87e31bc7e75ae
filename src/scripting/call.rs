//! `redis.call`: a command run on behalf of a script.

use mlua::Value;

use crate::command::{Command, Flags};
use crate::engine::dispatch;
use crate::error::CommandError;
use crate::resp::number::put_f64;
use crate::resp::{OwnedArgs, Reply};

use super::running::Running;
use super::watch;

pub const NO_ARGUMENTS: CommandError =
    CommandError::new("ERR Please specify at least one argument for this redis lib call");
pub const BAD_ARGUMENT: CommandError =
    CommandError::new("ERR Lua redis lib command arguments must be strings or integers");
const UNKNOWN: CommandError = CommandError::new("ERR Unknown Redis command called from script");
const WRONG_ARITY: CommandError =
    CommandError::new("ERR Wrong number of args calling Redis command from script");
const NOT_ALLOWED: CommandError = CommandError::new("ERR This Redis command is not allowed from script");
const READ_ONLY: CommandError =
    CommandError::new("ERR Write commands are not allowed from read-only scripts.");
pub const OUT_OF_MEMORY: CommandError =
    CommandError::new("OOM command not allowed when used memory > 'maxmemory'.");
pub const NOT_RUNNING: &str = "ERR redis.call/pcall can only be called inside a script invocation";

/// Longest reply that a script takes: it is not in the interpreter's memory, and so not under its limit.
const REPLY_MAX: usize = 512 << 20;
const TOO_LONG: CommandError = CommandError::new(
    "ERR the reply is longer than the 512 MiB that a script can take: ask for less at once",
);

impl Running<'_, '_> {
    /// Runs a command and leaves its reply in `self.reply`.
    pub fn call(&mut self, owned: &OwnedArgs) -> Result<(), CommandError> {
        let args = owned.as_args();
        let server = self.ctx.server;
        let (command, number) = dispatch::find(server, args).map_err(|_| UNKNOWN)?;
        self.check(command, args.len())?;
        if command.is_write() && !self.wrote {
            if !server.scripts.note_write() {
                return Err(CommandError::new(watch::KILLED));
            }
            self.wrote = true;
        }
        self.reply.clear();
        let mut reply = Reply::new(&mut self.reply, self.proto).up_to(REPLY_MAX);
        let stats = &server.stats.commands[number];
        stats.calls.add(1);
        let result = self.ctx.run_nested(command, args, &mut reply);
        if result.is_err() {
            stats.failed.add(1);
        }
        if self.reply.len() > REPLY_MAX {
            return Err(TOO_LONG);
        }
        result
    }

    fn check(&self, command: &Command, args: usize) -> Result<(), CommandError> {
        if !command.accepts(args) {
            return Err(WRONG_ARITY);
        }
        if command.flags.contains(Flags::NOSCRIPT) {
            return Err(NOT_ALLOWED);
        }
        if command.may_replicate() && !self.may_write {
            return Err(READ_ONLY);
        }
        if command.is_write() {
            if let Some(refused) = &self.ctx.refused {
                return Err(refused.clone());
            }
            if self.out_of_memory && !self.wrote && command.flags.contains(Flags::DENYOOM) {
                return Err(OUT_OF_MEMORY);
            }
        }
        Ok(())
    }
}

/// Strings as they are, numbers as text.
pub fn collect(args: &[Value], into: &mut OwnedArgs) -> Result<(), CommandError> {
    if args.is_empty() {
        return Err(NO_ARGUMENTS);
    }
    for arg in args {
        match arg {
            Value::String(text) => into.push(&text.as_bytes()),
            Value::Integer(number) => into.push(itoa::Buffer::new().format(*number).as_bytes()),
            Value::Number(number) => {
                let mut text = Vec::with_capacity(24);
                put_f64(&mut text, *number);
                into.push(&text);
            }
            _ => return Err(BAD_ARGUMENT),
        }
    }
    Ok(())
}
