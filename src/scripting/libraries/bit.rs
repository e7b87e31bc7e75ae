//! `bit`: operations on 32 bits. Results are signed.

use mlua::{Lua, Table, Value, Variadic};

use super::arguments::Arguments;

/// Added to a number it leaves the low bits of the nearest whole number at the end of the sum's mantissa.
const BIAS: f64 = 6_755_399_441_055_744.0;

/// The low 32 bits of a number, rounded to the nearest; of one beyond 2^51 whatever the sum leaves, as with Redis.
fn bits(arguments: &Arguments<'_>, at: usize) -> mlua::Result<u32> {
    Ok((arguments.number(at)? + BIAS).to_bits() as u32)
}

const fn signed(bits: u32) -> f64 {
    bits as i32 as f64
}

type Unary = fn(u32) -> u32;
type Binary = fn(u32, u32) -> u32;

pub fn table(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let unary: [(&str, Unary); 3] =
        [("tobit", |bits| bits), ("bnot", |bits| !bits), ("bswap", u32::swap_bytes)];
    for (name, work) in unary {
        let function = lua.create_function(move |lua, args: Variadic<Value>| {
            Ok(signed(work(bits(&Arguments::new(lua, name, &args), 0)?)))
        })?;
        table.set(name, function)?;
    }
    let folds: [(&str, Binary); 3] = [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
    for (name, work) in folds {
        let function = lua.create_function(move |lua, args: Variadic<Value>| {
            let arguments = Arguments::new(lua, name, &args);
            let mut result = bits(&arguments, 0)?;
            // From the last: that is the one which is complained about.
            for at in (1..arguments.len()).rev() {
                result = work(result, bits(&arguments, at)?);
            }
            Ok(signed(result))
        })?;
        table.set(name, function)?;
    }
    let shifts: [(&str, Binary); 5] = [
        ("lshift", |bits, by| bits << by),
        ("rshift", |bits, by| bits >> by),
        ("arshift", |bits, by| (bits as i32 >> by) as u32),
        ("rol", u32::rotate_left),
        ("ror", u32::rotate_right),
    ];
    for (name, work) in shifts {
        let function = lua.create_function(move |lua, args: Variadic<Value>| {
            let arguments = Arguments::new(lua, name, &args);
            Ok(signed(work(bits(&arguments, 0)?, bits(&arguments, 1)? & 31)))
        })?;
        table.set(name, function)?;
    }
    table.set("tohex", lua.create_function(tohex)?)?;
    Ok(table)
}

/// As many of the last digits as the second argument says; capital ones if that is negative.
fn tohex(lua: &Lua, args: Variadic<Value>) -> mlua::Result<String> {
    let arguments = Arguments::new(lua, "tohex", &args);
    let number = bits(&arguments, 0)?;
    let digits = if arguments.len() > 1 { bits(&arguments, 1)? as i32 } else { 8 };
    let text = if digits < 0 { format!("{number:08X}") } else { format!("{number:08x}") };
    let count = digits.unsigned_abs().min(8) as usize;
    Ok(text[8 - count..].to_owned())
}
