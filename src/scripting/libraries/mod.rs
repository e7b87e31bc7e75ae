//! The libraries that Redis gives scripts: `bit`, `cjson`, `cmsgpack`, `struct`. Written from their documentation and from what
//! redis-server answers.

mod arguments;
mod bit;
mod cjson;
mod cmsgpack;
mod json_text;
mod packing;

use mlua::{Lua, Table};

/// Longest text that a library makes: it is not in the interpreter's memory, and so not under its limit.
const BUFFER_MAX: usize = 512 << 20;

/// All of them, by name.
pub fn tables(lua: &Lua) -> mlua::Result<Table> {
    let libraries = lua.create_table()?;
    libraries.set("bit", bit::table(lua)?)?;
    libraries.set("cjson", cjson::table(lua)?)?;
    libraries.set("cmsgpack", cmsgpack::table(lua)?)?;
    libraries.set("struct", packing::table(lua)?)?;
    Ok(libraries)
}
