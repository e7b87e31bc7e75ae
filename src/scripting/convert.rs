//! Replies to Lua values, and Lua values to replies.

use mlua::{Lua, Table, Value};

use crate::resp::number::parse_i64;
use crate::resp::{Protocol, Reply};

/// Nesting of a script's result, and of a reply, that is followed.
const DEPTH_MAX: usize = 512;

/// A reply that nobody could have made: a fault of the program.
const BROKEN: &str = "ERR internal error: a command made a reply that cannot be read";

struct Reader<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
    proto: Protocol,
}

/// A whole reply as the value that scripts see. Errors come as tables with the field `err`.
pub fn to_lua(lua: &Lua, reply: &[u8], proto: Protocol) -> mlua::Result<Value> {
    Reader { lua, rest: reply, proto }.value(0)
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> mlua::Result<(u8, &'a [u8])> {
        let end = self.rest.windows(2).position(|two| two == b"\r\n").ok_or_else(broken)?;
        let (line, rest) = self.rest.split_at(end);
        self.rest = &rest[2..];
        line.split_first().map(|(kind, text)| (*kind, text)).ok_or_else(broken)
    }

    fn bytes(&mut self, len: &[u8]) -> mlua::Result<Option<&'a [u8]>> {
        let Some(len) = parse_i64(len).and_then(|len| usize::try_from(len).ok()) else { return Ok(None) };
        let bytes = self.rest.get(..len).ok_or_else(broken)?;
        self.rest = self.rest.get(len + 2..).ok_or_else(broken)?;
        Ok(Some(bytes))
    }

    /// What stands for nothing: RESP2's nulls are false to scripts, RESP3's nil.
    const fn nothing(&self) -> Value {
        match self.proto {
            Protocol::Resp2 => Value::Boolean(false),
            Protocol::Resp3 => Value::Nil,
        }
    }

    fn string(&self, bytes: &[u8]) -> mlua::Result<Value> {
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    /// A table with one field.
    fn tagged(&self, name: &str, value: Value) -> mlua::Result<Value> {
        let table = self.lua.create_table_with_capacity(0, 1)?;
        table.raw_set(name, value)?;
        Ok(Value::Table(table))
    }

    fn count(text: &[u8]) -> mlua::Result<Option<usize>> {
        Ok(usize::try_from(parse_i64(text).ok_or_else(broken)?).ok())
    }

    fn value(&mut self, depth: usize) -> mlua::Result<Value> {
        if depth > DEPTH_MAX {
            return Err(broken());
        }
        let (kind, text) = self.line()?;
        Ok(match kind {
            b'$' => match self.bytes(text)? {
                Some(bytes) => self.string(bytes)?,
                None => Value::Boolean(false),
            },
            b':' => Value::Number(parse_i64(text).ok_or_else(broken)? as f64),
            b'+' => self.tagged("ok", self.string(text)?)?,
            b'-' => self.tagged("err", self.string(text)?)?,
            b'*' | b'>' => {
                let Some(count) = Self::count(text)? else { return Ok(Value::Boolean(false)) };
                let table = self.lua.create_table_with_capacity(count.min(self.rest.len()), 0)?;
                for at in 1..=count {
                    table.raw_set(at, self.value(depth + 1)?)?;
                }
                Value::Table(table)
            }
            b'%' => {
                let count = Self::count(text)?.unwrap_or(0);
                let table = self.lua.create_table_with_capacity(0, count.min(self.rest.len()))?;
                for _ in 0..count {
                    let key = self.value(depth + 1)?;
                    table.raw_set(key, self.value(depth + 1)?)?;
                }
                self.tagged("map", Value::Table(table))?
            }
            b'~' => {
                let count = Self::count(text)?.unwrap_or(0);
                let table = self.lua.create_table_with_capacity(0, count.min(self.rest.len()))?;
                for _ in 0..count {
                    table.raw_set(self.value(depth + 1)?, true)?;
                }
                self.tagged("set", Value::Table(table))?
            }
            b',' => {
                let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
                self.tagged("double", Value::Number(number.ok_or_else(broken)?))?
            }
            b'#' => Value::Boolean(text == b"t"),
            b'_' => self.nothing(),
            b'(' => self.tagged("big_number", self.string(text)?)?,
            b'=' => {
                let bytes = self.bytes(text)?.filter(|bytes| bytes.len() >= 4).ok_or_else(broken)?;
                let table = self.lua.create_table_with_capacity(0, 2)?;
                table.raw_set("format", self.string(&bytes[..3])?)?;
                table.raw_set("string", self.string(&bytes[4..])?)?;
                self.tagged("verbatim_string", Value::Table(table))?
            }
            _ => return Err(broken()),
        })
    }
}

fn broken() -> mlua::Error {
    mlua::Error::runtime(BROKEN)
}

/// Writes a script's result. `proto` is what the script has set by `redis.setresp`: it decides what booleans are.
pub fn to_reply(value: &Value, proto: Protocol, reply: &mut Reply<'_>) -> mlua::Result<()> {
    put(value, proto, reply, 0)
}

fn put(value: &Value, proto: Protocol, reply: &mut Reply<'_>, depth: usize) -> mlua::Result<()> {
    if depth > DEPTH_MAX {
        reply.error("ERR reached lua stack limit");
        return Ok(());
    }
    match value {
        Value::String(text) => reply.bulk(&text.as_bytes()),
        Value::Integer(number) => reply.integer(*number),
        // As C converts: towards zero, and what does not fit to the least of all.
        Value::Number(number) => reply.integer(truncated(*number)),
        Value::Boolean(value) if proto == Protocol::Resp3 => reply.boolean(*value),
        Value::Boolean(true) => reply.integer(1),
        Value::Table(table) => put_table(table, proto, reply, depth)?,
        _ => reply.null(),
    }
    Ok(())
}

fn truncated(number: f64) -> i64 {
    if number.is_nan() || number >= 9_223_372_036_854_775_808.0 || number < -9_223_372_036_854_775_808.0 {
        return i64::MIN;
    }
    number as i64
}

fn put_table(table: &Table, proto: Protocol, reply: &mut Reply<'_>, depth: usize) -> mlua::Result<()> {
    if let Value::String(text) = table.raw_get("err")? {
        reply.error_bytes(&text.as_bytes());
        return Ok(());
    }
    if let Value::String(text) = table.raw_get("ok")? {
        reply.simple(&String::from_utf8_lossy(&text.as_bytes()));
        return Ok(());
    }
    if let Value::Number(number) = table.raw_get("double")? {
        reply.double(number);
        return Ok(());
    }
    if let Value::Table(pairs) = table.raw_get("map")? {
        let mark = reply.array_later();
        let mut count = 0;
        for pair in pairs.pairs::<Value, Value>() {
            let (key, value) = pair?;
            put(&key, proto, reply, depth + 1)?;
            put(&value, proto, reply, depth + 1)?;
            count += 1;
        }
        reply.finish_map(mark, count);
        return Ok(());
    }
    if let Value::Table(members) = table.raw_get("set")? {
        let mark = reply.array_later();
        let mut count = 0;
        for pair in members.pairs::<Value, Value>() {
            put(&pair?.0, proto, reply, depth + 1)?;
            count += 1;
        }
        reply.finish_set(mark, count);
        return Ok(());
    }
    if let Value::String(digits) = table.raw_get("big_number")? {
        let digits: String = String::from_utf8_lossy(&digits.as_bytes()).replace(['\r', '\n'], " ");
        reply.big_number(&digits);
        return Ok(());
    }
    if let Value::Table(verbatim) = table.raw_get("verbatim_string")?
        && let (Value::String(format), Value::String(text)) =
            (verbatim.raw_get::<Value>("format")?, verbatim.raw_get::<Value>("string")?)
    {
        let mut three = *b"txt";
        for (to, from) in three.iter_mut().zip(format.as_bytes().iter()) {
            *to = *from;
        }
        reply.verbatim(&three, &text.as_bytes());
        return Ok(());
    }
    put_array(table, proto, reply, depth)
}

/// Up to the first element that is nil.
fn put_array(table: &Table, proto: Protocol, reply: &mut Reply<'_>, depth: usize) -> mlua::Result<()> {
    let mark = reply.array_later();
    let mut count = 0;
    loop {
        let value: Value = table.raw_get(count + 1)?;
        if value.is_nil() {
            break;
        }
        put(&value, proto, reply, depth + 1)?;
        count += 1;
    }
    reply.finish_array(mark, count);
    Ok(())
}
