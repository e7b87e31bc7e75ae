//! `redis.call`: a command run on behalf of a script.

use mlua::{Lua, Value, Variadic};

use crate::command::{Command, Flags};
use crate::engine::dispatch;
use crate::error::CommandError;
use crate::resp::number::put_f64;
use crate::resp::{OwnedArgs, Reply};

use super::running::{self, Running};
use super::{convert, raised};

const NO_ARGUMENTS: CommandError =
    CommandError::new("ERR Please specify at least one argument for this redis lib call");
const BAD_ARGUMENT: CommandError =
    CommandError::new("ERR Lua redis lib command arguments must be strings or integers");
const UNKNOWN: CommandError = CommandError::new("ERR Unknown Redis command called from script");
const WRONG_ARITY: CommandError =
    CommandError::new("ERR Wrong number of args calling Redis command from script");
const NOT_ALLOWED: CommandError = CommandError::new("ERR This Redis command is not allowed from script");
const READ_ONLY: CommandError =
    CommandError::new("ERR Write commands are not allowed from read-only scripts.");
const OUT_OF_MEMORY: CommandError =
    CommandError::new("OOM command not allowed when used memory > 'maxmemory'.");
pub const NOT_RUNNING: CommandError =
    CommandError::new("ERR redis.call/pcall can only be called inside a script invocation");

/// `redis.call`: an error reply is raised.
pub fn call(lua: &Lua, args: Variadic<Value>) -> mlua::Result<Value> {
    let done = running::with(|running| running.call(&args).map(|()| running.value(lua)));
    done.unwrap_or(Err(NOT_RUNNING)).map_err(|error| raised::reply(&error))?
}

/// `redis.pcall`: an error reply is a table with `err`.
pub fn pcall(lua: &Lua, args: Variadic<Value>) -> mlua::Result<Value> {
    let done = running::with(|running| running.call(&args).map(|()| running.value(lua)));
    match done.unwrap_or(Err(NOT_RUNNING)) {
        Ok(value) => value,
        Err(error) => raised::show(lua, Value::Error(Box::new(raised::reply(&error)))),
    }
}

impl Running<'_, '_> {
    /// Leaves the reply in `self.reply`, unless it is an error.
    fn call(&mut self, args: &[Value]) -> Result<(), CommandError> {
        let mut owned = std::mem::take(&mut self.args);
        owned.clear();
        let result = match collect(args, &mut owned) {
            Ok(()) => self.run(&owned),
            Err(error) => Err(error),
        };
        self.args = owned;
        if let Err(error) = &result {
            self.ctx.server.stats.count_error(error.text());
        }
        result
    }

    fn value(&self, lua: &Lua) -> mlua::Result<Value> {
        convert::to_lua(lua, &self.reply, self.proto)
    }

    /// Runs a command and leaves its reply in `self.reply`.
    fn run(&mut self, owned: &OwnedArgs) -> Result<(), CommandError> {
        let args = owned.as_args();
        let server = self.ctx.server;
        let (command, number) = dispatch::find(server, args).map_err(|_| UNKNOWN)?;
        self.check(command, args.len())?;
        self.reply.clear();
        let changes = self.ctx.transaction.changes;
        let mut reply = Reply::new(&mut self.reply, self.proto);
        let stats = &server.stats.commands[number];
        stats.calls.add(1);
        let result = self.ctx.run_nested(command, args, &mut reply);
        self.wrote |= self.ctx.transaction.changes != changes;
        if result.is_err() {
            stats.failed.add(1);
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
        if command.is_write() {
            if !self.may_write {
                return Err(READ_ONLY);
            }
            if let Some(refused) = &self.ctx.refused {
                return Err(refused.clone());
            }
            if self.out_of_memory && command.flags.contains(Flags::DENYOOM) {
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
