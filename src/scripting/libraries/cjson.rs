//! `cjson`: JSON. Its settings last as long as the interpreter does, as with Redis.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value, Variadic};

use super::super::{raised, watch};
use super::arguments::{Arguments, type_name};
use super::{BUFFER_MAX, json_text};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Invalid {
    Refused,
    Allowed,
    Null,
}

/// Elements of an array between two looks at how long the script has been running.
const ATTENDED_EVERY: usize = 100_000;
/// Nesting that is written whatever a script has set: each level holds up to two of the 8000 handles that an interpreter has.
const ENCODE_DEPTH_FITS: usize = 3500;

#[derive(Clone, Copy)]
pub struct Settings {
    sparse_convert: bool,
    sparse_ratio: u32,
    sparse_safe: u32,
    encode_depth_max: usize,
    pub decode_depth_max: usize,
    precision: usize,
    keep_buffer: bool,
    encode_invalid: Invalid,
    decode_invalid: bool,
}

impl Settings {
    const DEFAULT: Self = Self {
        sparse_convert: false,
        sparse_ratio: 2,
        sparse_safe: 10,
        encode_depth_max: 1000,
        decode_depth_max: 1000,
        precision: 14,
        keep_buffer: true,
        encode_invalid: Invalid::Refused,
        decode_invalid: true,
    };

    pub const fn takes_invalid_numbers(&self) -> bool {
        self.decode_invalid
    }
}

type Shared = Rc<Cell<Settings>>;

pub fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let shared: Shared = Rc::new(Cell::new(Settings::DEFAULT));
    let add = |name: &'static str, work: fn(&Lua, &Shared, &Arguments<'_>) -> mlua::Result<MultiValue>| {
        let shared = shared.clone();
        let function = lua.create_function(move |lua, args: Variadic<Value>| {
            work(lua, &shared, &Arguments::new(lua, name, &args))
        })?;
        table.set(name, function)
    };
    add("encode", encode)?;
    add("decode", decode)?;
    add("encode_sparse_array", encode_sparse_array)?;
    add("encode_max_depth", encode_max_depth)?;
    add("decode_max_depth", decode_max_depth)?;
    add("encode_number_precision", encode_number_precision)?;
    add("encode_keep_buffer", encode_keep_buffer)?;
    add("encode_invalid_numbers", encode_invalid_numbers)?;
    add("decode_invalid_numbers", decode_invalid_numbers)?;
    table.set("new", lua.create_function(|lua, _: Variadic<Value>| self::table(lua))?)?;
    table.set("null", Value::NULL)?;
    table.set("_NAME", "cjson")?;
    table.set("_VERSION", "2.1.0")?;
    Ok(table)
}

fn one(value: Value) -> mlua::Result<MultiValue> {
    Ok(MultiValue::from_vec(vec![value]))
}

/// Reads an optional whole number within limits, and says what it is then.
fn whole(arguments: &Arguments<'_>, at: usize, old: usize, min: i64, max: i64) -> mlua::Result<usize> {
    match arguments.get(at) {
        None | Some(Value::Nil) => Ok(old),
        Some(_) => {
            let number = arguments.integer(at)?;
            if !(min..=max).contains(&number) {
                return Err(arguments.wrong(at, &format!("expected integer between {min} and {max}")));
            }
            Ok(number as usize)
        }
    }
}

/// Reads an optional switch: a boolean, `on`, `off`, or one of more words.
fn switch(arguments: &Arguments<'_>, at: usize, more: &str) -> mlua::Result<Option<(bool, bool)>> {
    match arguments.get(at) {
        None | Some(Value::Nil) => Ok(None),
        Some(Value::Boolean(on)) => Ok(Some((*on, false))),
        Some(_) => {
            let word = arguments.string(at)?;
            match &*word.as_bytes() {
                b"on" => Ok(Some((true, false))),
                b"off" => Ok(Some((false, false))),
                word if !more.is_empty() && word == more.as_bytes() => Ok(Some((true, true))),
                word => {
                    let word = String::from_utf8_lossy(word).into_owned();
                    Err(arguments.wrong(at, &format!("invalid option '{word}'")))
                }
            }
        }
    }
}

const INT_MAX: i64 = i32::MAX as i64;

fn encode_sparse_array(_: &Lua, shared: &Shared, arguments: &Arguments<'_>) -> mlua::Result<MultiValue> {
    let mut settings = shared.get();
    if let Some((on, _)) = switch(arguments, 0, "")? {
        settings.sparse_convert = on;
    }
    settings.sparse_ratio = whole(arguments, 1, settings.sparse_ratio as usize, 0, INT_MAX)? as u32;
    settings.sparse_safe = whole(arguments, 2, settings.sparse_safe as usize, 0, INT_MAX)? as u32;
    shared.set(settings);
    Ok(MultiValue::from_vec(vec![
        Value::Boolean(settings.sparse_convert),
        Value::Number(f64::from(settings.sparse_ratio)),
        Value::Number(f64::from(settings.sparse_safe)),
    ]))
}

fn encode_max_depth(_: &Lua, shared: &Shared, arguments: &Arguments<'_>) -> mlua::Result<MultiValue> {
    let mut settings = shared.get();
    settings.encode_depth_max = whole(arguments, 0, settings.encode_depth_max, 1, INT_MAX)?;
    shared.set(settings);
    one(Value::Number(settings.encode_depth_max as f64))
}

fn decode_max_depth(_: &Lua, shared: &Shared, arguments: &Arguments<'_>) -> mlua::Result<MultiValue> {
    let mut settings = shared.get();
    settings.decode_depth_max = whole(arguments, 0, settings.decode_depth_max, 1, INT_MAX)?;
    shared.set(settings);
    one(Value::Number(settings.decode_depth_max as f64))
}

fn encode_number_precision(_: &Lua, shared: &Shared, arguments: &Arguments<'_>) -> mlua::Result<MultiValue> {
    let mut settings = shared.get();
    settings.precision = whole(arguments, 0, settings.precision, 1, 14)?;
    shared.set(settings);
    one(Value::Number(settings.precision as f64))
}

/// There is no buffer to keep: the setting is only remembered.
fn encode_keep_buffer(_: &Lua, shared: &Shared, arguments: &Arguments<'_>) -> mlua::Result<MultiValue> {
    let mut settings = shared.get();
    if let Some((on, _)) = switch(arguments, 0, "")? {
        settings.keep_buffer = on;
    }
    shared.set(settings);
    one(Value::Boolean(settings.keep_buffer))
}

fn encode_invalid_numbers(lua: &Lua, shared: &Shared, arguments: &Arguments<'_>) -> mlua::Result<MultiValue> {
    let mut settings = shared.get();
    if let Some((on, is_null)) = switch(arguments, 0, "null")? {
        settings.encode_invalid = match (on, is_null) {
            (_, true) => Invalid::Null,
            (true, _) => Invalid::Allowed,
            (false, _) => Invalid::Refused,
        };
    }
    shared.set(settings);
    match settings.encode_invalid {
        Invalid::Null => one(Value::String(lua.create_string("null")?)),
        other => one(Value::Boolean(other == Invalid::Allowed)),
    }
}

fn decode_invalid_numbers(_: &Lua, shared: &Shared, arguments: &Arguments<'_>) -> mlua::Result<MultiValue> {
    let mut settings = shared.get();
    if let Some((on, _)) = switch(arguments, 0, "")? {
        settings.decode_invalid = on;
    }
    shared.set(settings);
    one(Value::Boolean(settings.decode_invalid))
}

fn exactly_one(arguments: &Arguments<'_>) -> mlua::Result<()> {
    if arguments.len() == 1 { Ok(()) } else { Err(arguments.wrong(0, "expected 1 argument")) }
}

fn encode(lua: &Lua, shared: &Shared, arguments: &Arguments<'_>) -> mlua::Result<MultiValue> {
    exactly_one(arguments)?;
    let mut encoder = Encoder { lua, settings: shared.get(), out: Vec::new() };
    encoder.value(arguments.get(0).unwrap_or(&Value::Nil), 0)?;
    one(Value::String(lua.create_string(encoder.out)?))
}

fn decode(lua: &Lua, shared: &Shared, arguments: &Arguments<'_>) -> mlua::Result<MultiValue> {
    exactly_one(arguments)?;
    let text = arguments.string(0)?;
    let decoded = json_text::decode(lua, &text.as_bytes(), &shared.get());
    match decoded? {
        Ok(value) => one(value),
        Err(what) => Err(raised::message(lua, &what)),
    }
}

struct Encoder<'a> {
    lua: &'a Lua,
    settings: Settings,
    out: Vec<u8>,
}

impl Encoder<'_> {
    fn cannot(&self, kind: &str, why: &str) -> mlua::Error {
        raised::message(self.lua, &format!("Cannot serialise {kind}: {why}"))
    }

    fn value(&mut self, value: &Value, depth: usize) -> mlua::Result<()> {
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Integer(number) => self.number(*number as f64)?,
            Value::Number(number) => self.number(*number)?,
            Value::String(text) => self.string(&text.as_bytes())?,
            Value::Table(table) => self.table(table, depth + 1)?,
            Value::LightUserData(pointer) if pointer.0.is_null() => self.out.extend_from_slice(b"null"),
            other => return Err(self.cannot(type_name(other), "type not supported")),
        }
        Ok(())
    }

    fn check_len(&self) -> mlua::Result<()> {
        if self.out.len() > BUFFER_MAX { Err(raised::out_of_memory()) } else { Ok(()) }
    }

    /// Long arrays, which may be made of nothing but what is missing from them, are not to keep others out.
    fn attend(&self, at: usize) -> mlua::Result<()> {
        if at.is_multiple_of(ATTENDED_EVERY) {
            watch::step(self.lua)?;
        }
        self.check_len()
    }

    fn number(&mut self, number: f64) -> mlua::Result<()> {
        if !number.is_finite() {
            match self.settings.encode_invalid {
                Invalid::Refused => return Err(self.cannot("number", "must not be NaN or Inf")),
                Invalid::Null => {
                    self.out.extend_from_slice(b"null");
                    return Ok(());
                }
                Invalid::Allowed => {}
            }
        }
        json_text::put_number(&mut self.out, number, self.settings.precision);
        Ok(())
    }

    fn string(&mut self, text: &[u8]) -> mlua::Result<()> {
        self.out.push(b'"');
        for (at, &byte) in text.iter().enumerate() {
            if at.is_multiple_of(1024) {
                self.check_len()?;
            }
            match byte {
                b'"' | b'\\' | b'/' => self.out.extend_from_slice(&[b'\\', byte]),
                8 => self.out.extend_from_slice(b"\\b"),
                9 => self.out.extend_from_slice(b"\\t"),
                10 => self.out.extend_from_slice(b"\\n"),
                12 => self.out.extend_from_slice(b"\\f"),
                13 => self.out.extend_from_slice(b"\\r"),
                0..32 | 127 => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
        self.check_len()
    }

    /// How long an array the table is; `None`: an object. An empty table is an object.
    fn array_len(&self, table: &Table) -> mlua::Result<Option<usize>> {
        let (mut max, mut items) = (0f64, 0usize);
        for pair in table.pairs::<Value, Value>() {
            let key = match pair?.0 {
                Value::Integer(key) => key as f64,
                Value::Number(key) => key,
                _ => return Ok(None),
            };
            if key.floor() != key || key < 1.0 {
                return Ok(None);
            }
            max = max.max(key);
            items += 1;
        }
        let Settings { sparse_ratio, sparse_safe, sparse_convert, .. } = self.settings;
        if sparse_ratio > 0 && max > items as f64 * f64::from(sparse_ratio) && max > f64::from(sparse_safe) {
            if !sparse_convert {
                return Err(self.cannot("table", "excessively sparse array"));
            }
            return Ok(None);
        }
        Ok((max > 0.0).then_some(max as usize))
    }

    fn table(&mut self, table: &Table, depth: usize) -> mlua::Result<()> {
        if depth > self.settings.encode_depth_max.min(ENCODE_DEPTH_FITS) {
            let what = format!("Cannot serialise, excessive nesting ({depth})");
            return Err(raised::message(self.lua, &what));
        }
        if let Some(len) = self.array_len(table)? {
            self.out.push(b'[');
            for at in 1..=len {
                if at > 1 {
                    self.out.push(b',');
                }
                self.attend(at)?;
                self.value(&table.raw_get(at)?, depth)?;
            }
            self.out.push(b']');
            return Ok(());
        }
        self.out.push(b'{');
        let mut is_first = true;
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            if !is_first {
                self.out.push(b',');
            }
            is_first = false;
            match key {
                Value::String(text) => self.string(&text.as_bytes())?,
                Value::Number(_) | Value::Integer(_) => {
                    self.out.push(b'"');
                    self.value(&key, depth)?;
                    self.out.push(b'"');
                }
                other => {
                    return Err(self.cannot(type_name(&other), "table key must be a number or string"));
                }
            }
            self.out.push(b':');
            self.value(&value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }
}
