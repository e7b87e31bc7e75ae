//! Lua values to replies.

use mlua::{Table, Value};

use crate::resp::{Protocol, Reply};

/// Nesting of a script's result that is followed.
const DEPTH_MAX: usize = 512;

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
    if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) {
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
    // A whole number comes as an integer.
    match table.raw_get("double")? {
        Value::Number(number) => {
            reply.double(number);
            return Ok(());
        }
        Value::Integer(number) => {
            reply.double(number as f64);
            return Ok(());
        }
        _ => {}
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
