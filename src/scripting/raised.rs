//! Errors that the host's functions raise in scripts.
//!
//! A function must raise by itself: a Lua function around it would take the caller's place on the stack where the call is the last thing a
//! function does, and the line would be lost. What Lua then holds is opaque; the prelude asks [`show`] what scripts may see of it.

use std::fmt;

use mlua::{Lua, Value};

use crate::error::CommandError;

#[derive(Debug)]
struct Raised {
    text: String,
    /// As `redis.call` raises: a table with the field `err`. Otherwise a string.
    is_reply: bool,
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Raised {}

/// An error reply.
pub fn reply(error: &CommandError) -> mlua::Error {
    mlua::Error::external(Raised { text: error.text().to_owned(), is_reply: true })
}

/// A message, with the line of the script that called the function.
pub fn message(lua: &Lua, text: &str) -> mlua::Error {
    let place = lua.inspect_stack(1, |frame| {
        let source = frame.source().short_src.map(|source| source.into_owned());
        source.zip(frame.current_line())
    });
    let text = match place.flatten() {
        Some((source, line)) => format!("{source}:{line}: {text}"),
        None => text.to_owned(),
    };
    mlua::Error::external(Raised { text, is_reply: false })
}

/// As Lua itself says it.
pub fn out_of_memory() -> mlua::Error {
    mlua::Error::external(Raised { text: "not enough memory".to_owned(), is_reply: false })
}

fn find(error: &mlua::Error) -> Option<&Raised> {
    match error {
        mlua::Error::ExternalError(error) => error.downcast_ref(),
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => find(cause),
        _ => None,
    }
}

fn first_line(error: &mlua::Error) -> String {
    match error {
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => {
            first_line(cause)
        }
        mlua::Error::RuntimeError(text) => text.lines().next().unwrap_or_default().to_owned(),
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

/// What was raised, as scripts see it: a table with `err`, or a string. Anything else is given back.
pub fn show(lua: &Lua, value: Value) -> mlua::Result<Value> {
    let Value::Error(error) = &value else { return Ok(value) };
    match find(error) {
        Some(raised) if raised.is_reply => {
            let table = lua.create_table_with_capacity(0, 4)?;
            table.raw_set("err", raised.text.as_str())?;
            table.raw_set("ignore_error_stats_update", true)?;
            Ok(Value::Table(table))
        }
        Some(raised) => Ok(Value::String(lua.create_string(&raised.text)?)),
        None => Ok(Value::String(lua.create_string(first_line(error))?)),
    }
}
