//! `cmsgpack`: MessagePack.

use mlua::{Lua, MultiValue, Table, Value, Variadic};

use super::super::raised;
use super::BUFFER_MAX;
use super::arguments::Arguments;

/// Tables nested deeper become nil.
const NESTING_MAX: usize = 16;
/// Nesting that is read.
const DEPTH_MAX: usize = 512;

pub fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.set("pack", lua.create_function(pack)?)?;
    table.set("unpack", lua.create_function(|lua, args: Variadic<Value>| unpack(lua, &args, Part::All))?)?;
    table.set(
        "unpack_one",
        lua.create_function(|lua, args: Variadic<Value>| {
            let offset =
                if args.len() > 1 { Arguments::new(lua, "unpack_one", &args).integer(1)? } else { 0 };
            unpack(lua, &args, Part::Some { limit: 1, offset })
        })?,
    )?;
    table.set(
        "unpack_limit",
        lua.create_function(|lua, args: Variadic<Value>| {
            let arguments = Arguments::new(lua, "unpack_limit", &args);
            let limit = arguments.integer(1)?;
            let offset = if args.len() > 2 { arguments.integer(2)? } else { 0 };
            unpack(lua, &args, Part::Some { limit, offset })
        })?,
    )?;
    table.set("_NAME", "cmsgpack")?;
    table.set("_VERSION", "lua-cmsgpack 0.4.0")?;
    table.set("_COPYRIGHT", "")?;
    table.set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(table)
}

fn pack(lua: &Lua, args: Variadic<Value>) -> mlua::Result<Value> {
    if args.is_empty() {
        return Err(raised::message(lua, "bad argument #0 to 'pack' (MessagePack pack needs input.)"));
    }
    let mut out = Vec::new();
    for value in args.iter() {
        put(value, &mut out, 0)?;
    }
    Ok(Value::String(lua.create_string(out)?))
}

fn put(value: &Value, out: &mut Vec<u8>, level: usize) -> mlua::Result<()> {
    if out.len() > BUFFER_MAX {
        return Err(raised::out_of_memory());
    }
    match value {
        Value::String(text) => put_bytes(&text.as_bytes(), out),
        Value::Boolean(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        Value::Integer(number) => put_integer(*number, out),
        Value::Number(number) => put_number(*number, out),
        Value::Table(table) if level < NESTING_MAX => put_table(table, out, level)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    match bytes.len() {
        len @ 0..32 => out.push(0xa0 | len as u8),
        len @ 32..0x100 => out.extend_from_slice(&[0xd9, len as u8]),
        len @ 0x100..0x1_0000 => {
            out.push(0xda);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0xdb);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

fn put_number(number: f64, out: &mut Vec<u8>) {
    if number as i64 as f64 == number && number.abs() < 9_223_372_036_854_775_808.0 {
        return put_integer(number as i64, out);
    }
    if f64::from(number as f32) == number {
        out.push(0xca);
        out.extend_from_slice(&(number as f32).to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn put_integer(number: i64, out: &mut Vec<u8>) {
    match number {
        -32..=0x7f => out.push(number as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, number as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend_from_slice(&number.to_be_bytes());
        }
        -0x80..=-33 => out.extend_from_slice(&[0xd0, number as u8]),
        -0x8000..=-0x81 => {
            out.push(0xd1);
            out.extend_from_slice(&(number as i16).to_be_bytes());
        }
        -0x8000_0000..=-0x8001 => {
            out.push(0xd2);
            out.extend_from_slice(&(number as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// How many elements there are if the keys are 1, 2 and so on without a gap.
fn array_len(table: &Table) -> mlua::Result<Option<usize>> {
    let (mut count, mut max) = (0usize, 0f64);
    for pair in table.pairs::<Value, Value>() {
        let key = match pair?.0 {
            Value::Integer(key) => key as f64,
            Value::Number(key) => key,
            _ => return Ok(None),
        };
        if key < 1.0 || key.fract() != 0.0 {
            return Ok(None);
        }
        count += 1;
        max = max.max(key);
    }
    Ok((max == count as f64).then_some(count))
}

fn put_table(table: &Table, out: &mut Vec<u8>, level: usize) -> mlua::Result<()> {
    if let Some(len) = array_len(table)? {
        put_count(len, [0x90, 0xdc, 0xdd], out);
        for at in 1..=len {
            put(&table.raw_get(at)?, out, level + 1)?;
        }
        return Ok(());
    }
    // Counted first: all pairs at once would be more handles than an interpreter has.
    let mut count = 0;
    for pair in table.pairs::<Value, Value>() {
        pair?;
        count += 1;
    }
    put_count(count, [0x80, 0xde, 0xdf], out);
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        put(&key, out, level + 1)?;
        put(&value, out, level + 1)?;
    }
    Ok(())
}

fn put_count(count: usize, codes: [u8; 3], out: &mut Vec<u8>) {
    match count {
        0..16 => out.push(codes[0] | count as u8),
        16..0x1_0000 => {
            out.push(codes[1]);
            out.extend_from_slice(&(count as u16).to_be_bytes());
        }
        _ => {
            out.push(codes[2]);
            out.extend_from_slice(&(count as u32).to_be_bytes());
        }
    }
}

enum Part {
    All,
    Some { limit: i64, offset: i64 },
}

fn unpack(lua: &Lua, args: &[Value], part: Part) -> mlua::Result<MultiValue> {
    let text = Arguments::new(lua, "unpack", args).string(0)?;
    let text = text.as_bytes();
    let (limit, offset) = match part {
        Part::All => (i64::MAX, 0),
        Part::Some { limit, offset } => (limit, offset),
    };
    if limit < 0 || offset < 0 {
        let what = format!("Invalid request to unpack with offset of {offset} and limit of {}.", text.len());
        return Err(raised::message(lua, &what));
    }
    let Some(rest) = usize::try_from(offset).ok().and_then(|offset| text.get(offset..)) else {
        let what = format!("Start offset {offset} greater than input length {}.", text.len());
        return Err(raised::message(lua, &what));
    };
    // Nothing asked for, from the beginning: everything.
    let all = matches!(part, Part::All) || (limit == 0 && offset == 0);
    let mut reader = Reader { lua, rest };
    let mut values = Vec::new();
    while !reader.rest.is_empty() && (all || (values.len() as i64) < limit) {
        values.push(reader.value(0)?);
    }
    let mut values = MultiValue::from_vec(values);
    if !all {
        let left = reader.rest.len();
        let next = if left == 0 { -1.0 } else { (text.len() - left) as f64 };
        values.push_front(Value::Number(next));
    }
    Ok(values)
}

struct Reader<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> mlua::Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(raised::message(self.lua, "Missing bytes in input."));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// A big-endian number of `len` bytes.
    fn number(&mut self, len: usize) -> mlua::Result<u64> {
        Ok(self.take(len)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn string(&mut self, len: u64) -> mlua::Result<Value> {
        let bytes = self.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    fn array(&mut self, len: u64, depth: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table_with_capacity((len as usize).min(self.rest.len()), 0)?;
        for at in 1..=len {
            table.raw_set(at, self.value(depth + 1)?)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, len: u64, depth: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table_with_capacity(0, (len as usize).min(self.rest.len()))?;
        for _ in 0..len {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            // As Lua complains.
            match key {
                Value::Nil => return Err(mlua::Error::runtime("table index is nil")),
                Value::Number(number) if number.is_nan() => {
                    return Err(mlua::Error::runtime("table index is NaN"));
                }
                _ => {}
            }
            table.raw_set(key, value)?;
        }
        Ok(Value::Table(table))
    }

    fn value(&mut self, depth: usize) -> mlua::Result<Value> {
        if depth > DEPTH_MAX {
            return Err(raised::message(self.lua, "Bad data format in input."));
        }
        let code = self.take(1)?[0];
        let unsigned = |number: u64| Value::Number(number as f64);
        let signed = |number: i64| Value::Number(number as f64);
        Ok(match code {
            0..=0x7f => unsigned(u64::from(code)),
            0x80..=0x8f => self.map(u64::from(code & 0xf), depth)?,
            0x90..=0x9f => self.array(u64::from(code & 0xf), depth)?,
            0xa0..=0xbf => self.string(u64::from(code & 0x1f))?,
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xd9 => {
                let len = self.number(1)?;
                self.string(len)?
            }
            0xda => {
                let len = self.number(2)?;
                self.string(len)?
            }
            0xdb => {
                let len = self.number(4)?;
                self.string(len)?
            }
            0xca => Value::Number(f64::from(f32::from_bits(self.number(4)? as u32))),
            0xcb => Value::Number(f64::from_bits(self.number(8)?)),
            0xcc => unsigned(self.number(1)?),
            0xcd => unsigned(self.number(2)?),
            0xce => unsigned(self.number(4)?),
            0xcf => unsigned(self.number(8)?),
            0xd0 => signed(i64::from(self.number(1)? as i8)),
            0xd1 => signed(i64::from(self.number(2)? as i16)),
            0xd2 => signed(i64::from(self.number(4)? as i32)),
            0xd3 => signed(self.number(8)? as i64),
            0xdc => {
                let len = self.number(2)?;
                self.array(len, depth)?
            }
            0xdd => {
                let len = self.number(4)?;
                self.array(len, depth)?
            }
            0xde => {
                let len = self.number(2)?;
                self.map(len, depth)?
            }
            0xdf => {
                let len = self.number(4)?;
                self.map(len, depth)?
            }
            0xe0..=0xff => signed(i64::from(code as i8)),
            0xc1 | 0xc4..=0xc9 | 0xd4..=0xd8 => {
                return Err(raised::message(self.lua, "Bad data format in input."));
            }
        })
    }
}
