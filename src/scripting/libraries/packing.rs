//! `struct`: C structures as strings, described by a format.

use mlua::{Lua, MultiValue, Table, Value, Variadic};

use super::super::raised;
use super::arguments::Arguments;

const INTEGER_LEN_MAX: usize = 32;
const ALIGN_NATIVE: usize = 8;
/// A format may ask for any length by a few digits; strings are held in memory.
const LEN_MAX: usize = 512 << 20;

pub fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.set("pack", lua.create_function(pack)?)?;
    table.set("unpack", lua.create_function(unpack)?)?;
    table.set("size", lua.create_function(size)?)?;
    Ok(table)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Item {
    /// `signed`, and how many bytes.
    Integer(bool, usize),
    Float,
    Double,
    /// Ends with a zero byte.
    Terminated,
    /// So many bytes; 0: as many as the number before says.
    Chars(usize),
    Padding,
    /// No option at all.
    Unknown(u8),
}

/// Reads a format option by option.
struct Format<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
    big_endian: bool,
    align: usize,
}

impl<'a> Format<'a> {
    const fn new(lua: &'a Lua, format: &'a [u8]) -> Self {
        Self { lua, rest: format, big_endian: false, align: 1 }
    }

    fn digits(&mut self) -> Option<usize> {
        let mut number = None;
        while let Some((digit @ b'0'..=b'9', rest)) = self.rest.split_first() {
            number =
                Some(number.unwrap_or(0usize).saturating_mul(10).saturating_add(usize::from(digit - b'0')));
            self.rest = rest;
        }
        number
    }

    fn integer_len(&mut self, usual: usize) -> mlua::Result<usize> {
        let len = self.digits().unwrap_or(usual);
        if len > INTEGER_LEN_MAX {
            let what = format!("integral size {len} is larger than limit of {INTEGER_LEN_MAX}");
            return Err(raised::message(self.lua, &what));
        }
        Ok(len)
    }

    /// The next item, and how many bytes of padding come before it where `len` bytes are already.
    fn next(&mut self, len: usize) -> mlua::Result<Option<(Item, usize)>> {
        loop {
            let Some((&option, rest)) = self.rest.split_first() else { return Ok(None) };
            self.rest = rest;
            let item = match option {
                b' ' => continue,
                b'<' | b'=' => {
                    self.big_endian = false;
                    continue;
                }
                b'>' => {
                    self.big_endian = true;
                    continue;
                }
                b'!' => {
                    let align = self.digits().unwrap_or(ALIGN_NATIVE);
                    if !align.is_power_of_two() {
                        let what = format!("alignment {align} is not a power of 2");
                        return Err(raised::message(self.lua, &what));
                    }
                    self.align = align;
                    continue;
                }
                b'b' => Item::Integer(true, 1),
                b'B' => Item::Integer(false, 1),
                b'h' => Item::Integer(true, 2),
                b'H' => Item::Integer(false, 2),
                b'l' => Item::Integer(true, 8),
                b'L' | b'T' => Item::Integer(false, 8),
                b'i' => Item::Integer(true, self.integer_len(4)?),
                b'I' => Item::Integer(false, self.integer_len(4)?),
                b'f' => Item::Float,
                b'd' => Item::Double,
                b's' => Item::Terminated,
                b'c' => Item::Chars(self.digits().unwrap_or(1)),
                b'x' => Item::Padding,
                other => Item::Unknown(other),
            };
            let natural = match item {
                Item::Integer(_, len) => len,
                Item::Float => 4,
                Item::Double => 8,
                Item::Padding => 1,
                Item::Terminated | Item::Chars(_) | Item::Unknown(_) => 0,
            };
            let to = natural.min(self.align);
            let padding = if to > 1 { (to - (len & (to - 1))) & (to - 1) } else { 0 };
            return Ok(Some((item, padding)));
        }
    }
}

fn unknown(arguments: &Arguments<'_>, option: u8) -> mlua::Error {
    arguments.wrong(0, &format!("invalid format option '{}'", char::from(option)))
}

/// What a conversion to 64 bits leaves of a number, as the processors do it that Redis runs on.
fn c_bits(number: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    let signed = |number: f64| if (-HALF..HALF).contains(&number) { number as i64 } else { i64::MIN };
    if number >= HALF { signed(number - HALF) as u64 ^ 1 << 63 } else { signed(number) as u64 }
}

fn put_integer(number: f64, len: usize, big_endian: bool, out: &mut Vec<u8>) {
    let bits = c_bits(number);
    let start = out.len();
    out.extend((0..len).map(|at| if at < 8 { (bits >> (8 * at)) as u8 } else { 0 }));
    if big_endian {
        out[start..].reverse();
    }
}

fn pack(lua: &Lua, args: Variadic<Value>) -> mlua::Result<Value> {
    let arguments = Arguments::new(lua, "pack", &args).missing("nil");
    let format = arguments.string(0)?;
    let format = format.as_bytes();
    let mut format = Format::new(lua, &format);
    let mut out = Vec::new();
    let mut at = 1;
    while let Some((item, padding)) = format.next(out.len())? {
        out.resize(out.len() + padding, 0);
        match item {
            Item::Integer(_, len) => put_integer(arguments.number(at)?, len, format.big_endian, &mut out),
            Item::Float => {
                let mut bytes = (arguments.number(at)? as f32).to_le_bytes();
                if format.big_endian {
                    bytes.reverse();
                }
                out.extend_from_slice(&bytes);
            }
            Item::Double => {
                let mut bytes = arguments.number(at)?.to_le_bytes();
                if format.big_endian {
                    bytes.reverse();
                }
                out.extend_from_slice(&bytes);
            }
            Item::Terminated | Item::Chars(_) => {
                let text = arguments.string(at)?;
                let text = text.as_bytes();
                let len = if let Item::Chars(len @ 1..) = item { len } else { text.len() };
                let Some(text) = text.get(..len) else {
                    return Err(arguments.wrong(at + 1, "string too short"));
                };
                out.extend_from_slice(text);
                if item == Item::Terminated {
                    out.push(0);
                }
            }
            Item::Padding => {
                out.push(0);
                continue;
            }
            Item::Unknown(option) => return Err(unknown(&arguments, option)),
        }
        at += 1;
        if out.len() > LEN_MAX {
            return Err(raised::message(lua, "not enough memory"));
        }
    }
    Ok(Value::String(lua.create_string(out)?))
}

fn number_of(bytes: &[u8], signed: bool, big_endian: bool) -> f64 {
    let byte = |at: usize| u64::from(if big_endian { bytes[bytes.len() - 1 - at] } else { bytes[at] });
    let len = bytes.len().min(8);
    let bits = (0..len).fold(0, |bits, at| bits | byte(at) << (8 * at));
    if !signed {
        return bits as f64;
    }
    let unused = 64 - 8 * len as u32;
    if unused >= 64 { 0.0 } else { ((bits << unused) as i64 >> unused) as f64 }
}

fn unpack(lua: &Lua, args: Variadic<Value>) -> mlua::Result<MultiValue> {
    let arguments = Arguments::new(lua, "unpack", &args);
    let (format, data) = (arguments.string(0)?, arguments.string(1)?);
    let (format, data) = (format.as_bytes(), data.as_bytes());
    let start = if arguments.len() > 2 { arguments.integer(2)? } else { 1 };
    let Some(mut at) = usize::try_from(start).ok().and_then(|start| start.checked_sub(1)) else {
        return Err(arguments.wrong(2, "offset must be 1 or greater"));
    };
    let mut format = Format::new(lua, &format);
    let mut values: Vec<Value> = Vec::new();
    let too_short = || arguments.wrong(1, "data string too short");
    while let Some((item, padding)) = format.next(at)? {
        at = at.saturating_add(padding);
        let rest = data.get(at..).ok_or_else(too_short)?;
        let take = |len: usize| rest.get(..len).ok_or_else(too_short);
        match item {
            Item::Integer(signed, len) => {
                values.push(Value::Number(number_of(take(len)?, signed, format.big_endian)));
                at += len;
            }
            Item::Float => {
                let mut bytes: [u8; 4] = take(4)?.try_into().expect("four were taken");
                if format.big_endian {
                    bytes.reverse();
                }
                values.push(Value::Number(f64::from(f32::from_le_bytes(bytes))));
                at += 4;
            }
            Item::Double => {
                let mut bytes: [u8; 8] = take(8)?.try_into().expect("eight were taken");
                if format.big_endian {
                    bytes.reverse();
                }
                values.push(Value::Number(f64::from_le_bytes(bytes)));
                at += 8;
            }
            Item::Terminated => {
                let end = rest.iter().position(|&byte| byte == 0);
                let end = end.ok_or_else(|| raised::message(lua, "unfinished string in data"))?;
                values.push(Value::String(lua.create_string(&rest[..end])?));
                at += end + 1;
            }
            Item::Chars(0) => {
                let len = match values.pop() {
                    Some(Value::Number(len)) => len,
                    _ => return Err(raised::message(lua, "format 'c0' needs a previous size")),
                };
                let text = take(if len < 0.0 { usize::MAX } else { len as usize })?;
                values.push(Value::String(lua.create_string(text)?));
                at += text.len();
            }
            Item::Chars(len) => {
                values.push(Value::String(lua.create_string(take(len)?)?));
                at += len;
            }
            Item::Padding => {
                take(1)?;
                at += 1;
            }
            Item::Unknown(option) => return Err(unknown(&arguments, option)),
        }
    }
    values.push(Value::Number((at + 1) as f64));
    Ok(MultiValue::from_vec(values))
}

fn size(lua: &Lua, args: Variadic<Value>) -> mlua::Result<f64> {
    let arguments = Arguments::new(lua, "size", &args);
    let format = arguments.string(0)?;
    let format = format.as_bytes();
    let mut format = Format::new(lua, &format);
    let mut total = 0usize;
    while let Some((item, padding)) = format.next(total)? {
        let len = match item {
            Item::Integer(_, len) | Item::Chars(len @ 1..) => len,
            Item::Float => 4,
            Item::Double => 8,
            Item::Padding => 1,
            Item::Terminated => return Err(arguments.wrong(0, "option 's' has no fixed size")),
            Item::Chars(_) => return Err(arguments.wrong(0, "option 'c0' has no fixed size")),
            Item::Unknown(_) => 0,
        };
        total = total.saturating_add(padding).saturating_add(len);
    }
    Ok(total as f64)
}
