//! What Lua 5.1's own functions let a script do to the memory of the process: `unpack` counts in 32 bits and writes beyond the stack
//! (CVE-2025-46817), matching goes one call deeper for each item of a pattern, without a limit, and each coroutine counts its instructions
//! from the beginning, so that many short ones would never be looked at.
//!
//! The functions keep to the invariant of [`super::raw`]: there is nothing in them to drop. Those that go around one of Lua's own call it as
//! C calls, not as Lua does: it sees the same arguments and the same caller, and errors name the same line.

use std::ffi::c_int;
use std::slice;

use mlua::{Lua, Table, ffi, lua_CFunction, lua_State};

use super::raw::push;
use super::watch;

/// Items of a pattern that repeat or capture; see [`super::STACK_BYTES`].
pub const ITEMS_MAX: usize = 32 << 10;
/// Values that `unpack` gives: what Lua lets a C function have.
const UNPACKED_MAX: i64 = 8000;

/// Puts safe ones in the place of the functions, before anything else gets hold of them.
pub fn replace(lua: &Lua) -> mlua::Result<()> {
    // SAFETY: it keeps what is said at the head of the file.
    lua.globals().set("unpack", unsafe { lua.create_c_function(unpack)? })?;
    let string: Table = lua.globals().get("string")?;
    wrap(lua, &string, "find", bounded_unless_plain)?;
    for name in ["match", "gmatch", "gfind", "gsub"] {
        wrap(lua, &string, name, bounded)?;
    }
    let coroutine: Table = lua.globals().get("coroutine")?;
    for name in ["create", "wrap", "resume"] {
        wrap(lua, &coroutine, name, attended)?;
    }
    Ok(())
}

/// Puts a function in the place of another, which it has for its upvalue.
fn wrap(lua: &Lua, table: &Table, name: &str, around: lua_CFunction) -> mlua::Result<()> {
    let function: mlua::Value = table.get(name)?;
    if function.is_nil() {
        return Ok(());
    }
    // SAFETY: one value is on the stack and one is left there.
    let wrapped: mlua::Function =
        unsafe { lua.exec_raw(function, |state| ffi::lua_pushcclosure(state, around, 1))? };
    table.set(name, wrapped)
}

/// Calls the function of `coroutine` that is its upvalue, and now and then looks at how long the script has been running.
unsafe extern "C-unwind" fn attended(state: *mut lua_State) -> c_int {
    // SAFETY: as in `bounded`; `watch::call` calls nothing of Lua that raises, and has dropped all it had.
    unsafe {
        if watch::call() {
            push(state, watch::KILLED.as_bytes());
            ffi::lua_error(state);
        }
        inner(state)
    }
}

/// For the prelude, where an error was caught: raises it again if the script has been killed. With an argument it only tells.
///
/// # Safety
/// For Lua to call.
pub unsafe extern "C-unwind" fn killed(state: *mut lua_State) -> c_int {
    let is_killed = watch::is_killed();
    // SAFETY: as in `bounded`.
    unsafe {
        if is_killed && ffi::lua_gettop(state) == 0 {
            push(state, watch::KILLED.as_bytes());
            ffi::lua_error(state);
        }
        ffi::lua_pushboolean(state, c_int::from(is_killed));
        1
    }
}

/// # Safety
/// The running function has a C function of Lua's libraries for its upvalue.
unsafe fn inner(state: *mut lua_State) -> c_int {
    // SAFETY: of the caller; it finds its arguments where Lua would put them.
    unsafe {
        match ffi::lua_tocfunction(state, ffi::lua_upvalueindex(1)) {
            Some(function) => function(state),
            None => 0,
        }
    }
}

/// Calls the function of `string` that is its upvalue, unless the pattern, its second argument, may take more stack than there is.
unsafe extern "C-unwind" fn bounded(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls it with its state; there is nothing here to drop. None of these functions has upvalues of its own.
    unsafe {
        if ffi::lua_type(state, 2) == ffi::LUA_TSTRING
            && ffi::lua_objlen(state, 2) > ITEMS_MAX
            && is_too_complex(state)
        {
            return ffi::luaL_error(state, c"pattern too complex".as_ptr());
        }
        inner(state)
    }
}

/// `find`: what is plain has no items.
unsafe extern "C-unwind" fn bounded_unless_plain(state: *mut lua_State) -> c_int {
    // SAFETY: as in `bounded`.
    unsafe { if ffi::lua_toboolean(state, 4) != 0 { inner(state) } else { bounded(state) } }
}

/// # Safety
/// The second argument of the running function is a string.
unsafe fn is_too_complex(state: *mut lua_State) -> bool {
    let mut len = 0;
    // SAFETY: of the caller: the second argument is a string.
    let pattern = unsafe {
        let bytes = ffi::lua_tolstring(state, 2, &raw mut len);
        slice::from_raw_parts(bytes.cast::<u8>(), len)
    };
    let items = pattern.iter().filter(|byte| matches!(byte, b'?' | b'*' | b'+' | b'-' | b'(' | b')'));
    items.count() > ITEMS_MAX
}

/// `unpack`, counting in 64 bits.
unsafe extern "C-unwind" fn unpack(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls it with its state; there is nothing here to drop, and a place for every value.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        let first = i64::from(ffi::luaL_optinteger(state, 2, 1) as c_int);
        let last = if ffi::lua_type(state, 3) <= ffi::LUA_TNIL {
            ffi::lua_objlen(state, 1) as c_int
        } else {
            ffi::luaL_checkinteger(state, 3) as c_int
        };
        let count = i64::from(last) - first + 1;
        if count <= 0 {
            return 0;
        }
        if count > UNPACKED_MAX || ffi::lua_checkstack(state, count as c_int) == 0 {
            return ffi::luaL_error(state, c"too many results to unpack".as_ptr());
        }
        for at in first..=i64::from(last) {
            ffi::lua_rawgeti_(state, 1, at as c_int);
        }
        count as c_int
    }
}
