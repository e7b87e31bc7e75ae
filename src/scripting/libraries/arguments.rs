//! Arguments of a library's function, with Lua's own words for wrong ones.

use mlua::{Lua, LuaString, Value};

use super::super::raised;

pub struct Arguments<'a> {
    lua: &'a Lua,
    function: &'static str,
    values: &'a [Value],
    /// What an argument that is not there is said to be.
    missing: &'static str,
}

impl<'a> Arguments<'a> {
    pub const fn new(lua: &'a Lua, function: &'static str, values: &'a [Value]) -> Self {
        Self { lua, function, values, missing: "no value" }
    }

    pub const fn missing(mut self, word: &'static str) -> Self {
        self.missing = word;
        self
    }

    pub const fn len(&self) -> usize {
        self.values.len()
    }

    /// Argument `at`, counted from 0.
    pub fn get(&self, at: usize) -> Option<&'a Value> {
        self.values.get(at)
    }

    pub fn wrong(&self, at: usize, what: &str) -> mlua::Error {
        raised::message(self.lua, &format!("bad argument #{} to '{}' ({what})", at + 1, self.function))
    }

    fn expected(&self, at: usize, what: &str) -> mlua::Error {
        let got = match self.get(at) {
            None => self.missing,
            Some(value) => type_name(value),
        };
        self.wrong(at, &format!("{what} expected, got {got}"))
    }

    pub fn number(&self, at: usize) -> mlua::Result<f64> {
        let number = self.get(at).and_then(|value| match value {
            Value::Number(number) => Some(*number),
            Value::Integer(number) => Some(*number as f64),
            Value::String(_) => self.lua.coerce_number(value.clone()).ok().flatten(),
            _ => None,
        });
        number.ok_or_else(|| self.expected(at, "number"))
    }

    /// A number without its fraction.
    pub fn integer(&self, at: usize) -> mlua::Result<i64> {
        Ok(self.number(at)? as i64)
    }

    pub fn string(&self, at: usize) -> mlua::Result<LuaString> {
        let text = match self.get(at) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(value @ (Value::Number(_) | Value::Integer(_))) => self.lua.coerce_string(value.clone())?,
            _ => None,
        };
        text.ok_or_else(|| self.expected(at, "string"))
    }
}

/// As `type()` says.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::LightUserData(_) => "userdata",
        Value::Integer(_) => "number",
        other => other.type_name(),
    }
}
