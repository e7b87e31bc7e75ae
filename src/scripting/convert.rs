//! Lua values to replies, read from Lua's own stack. The invariant is that of [`super::raw`]: no frame here has anything to drop while a
//! function of Lua that may raise runs.

use std::ffi::{CStr, c_int};
use std::slice;

use mlua::ffi;
use mlua::lua_State;

use crate::resp::{Protocol, Reply};

use super::raw::{PLACES, push};

/// Longest result of a script: a table that holds another many times is small itself.
pub const RESULT_MAX: usize = 512 << 20;
const TOO_LONG: &[u8] = b"the result of the script is longer than 512 MiB: return less at once";
/// Nesting of a script's result that is followed.
const DEPTH_MAX: usize = 512;

/// Writes the value on top of the stack and takes it away. `proto` is what the script has set by `redis.setresp`: it decides what
/// booleans are. An error is raised once the output is longer than `end`.
///
/// # Safety
/// There is a value on the stack of `state`, whose caller is protected.
pub unsafe fn put(state: *mut lua_State, proto: Protocol, reply: &mut Reply<'_>, end: usize, depth: usize) {
    // SAFETY: of the caller; what is pushed has a place, and is popped again.
    unsafe {
        if reply.len() > end {
            push(state, TOO_LONG);
            ffi::lua_error(state);
        }
        if depth > DEPTH_MAX || ffi::lua_checkstack(state, PLACES) == 0 {
            reply.error("ERR reached lua stack limit");
            ffi::lua_settop(state, -2);
            return;
        }
        match ffi::lua_type(state, -1) {
            ffi::LUA_TSTRING => reply.bulk(text(state, -1)),
            ffi::LUA_TNUMBER => reply.integer(truncated(ffi::lua_tonumber(state, -1))),
            ffi::LUA_TBOOLEAN => {
                let value = ffi::lua_toboolean(state, -1) != 0;
                match (proto, value) {
                    (Protocol::Resp3, value) => reply.boolean(value),
                    (Protocol::Resp2, true) => reply.integer(1),
                    (Protocol::Resp2, false) => reply.null(),
                }
            }
            ffi::LUA_TTABLE => put_table(state, proto, reply, end, depth),
            _ => reply.null(),
        }
        ffi::lua_settop(state, -2);
    }
}

/// The bytes of a string on the stack, for as long as it is there.
///
/// # Safety
/// There is a string at `index`.
pub unsafe fn text<'a>(state: *mut lua_State, index: c_int) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: of the caller.
    unsafe {
        let bytes = ffi::lua_tolstring(state, index, &raw mut len);
        slice::from_raw_parts(bytes.cast(), len)
    }
}

/// As C converts: towards zero, and what does not fit to the least of all.
fn truncated(number: f64) -> i64 {
    if number.is_nan() || !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) {
        return i64::MIN;
    }
    number as i64
}

/// Pushes a field of the table on top of the stack: whether it is of this type. Anything else is taken away again.
///
/// # Safety
/// There is a table on top of the stack, and a place.
pub unsafe fn field(state: *mut lua_State, name: &CStr, wanted: c_int) -> bool {
    // SAFETY: of the caller.
    unsafe {
        ffi::lua_pushlstring_(state, name.as_ptr(), name.count_bytes());
        ffi::lua_rawget(state, -2);
        let found = ffi::lua_type(state, -1) == wanted;
        if !found {
            ffi::lua_settop(state, -2);
        }
        found
    }
}

/// The table stays on the stack.
unsafe fn put_table(state: *mut lua_State, proto: Protocol, reply: &mut Reply<'_>, end: usize, depth: usize) {
    // SAFETY: of the caller.
    unsafe {
        if field(state, c"err", ffi::LUA_TSTRING) {
            reply.error_bytes(text(state, -1));
        } else if field(state, c"ok", ffi::LUA_TSTRING) {
            reply.simple_bytes(text(state, -1));
        } else if field(state, c"double", ffi::LUA_TNUMBER) {
            reply.double(ffi::lua_tonumber(state, -1));
        } else if field(state, c"map", ffi::LUA_TTABLE) {
            put_pairs(state, proto, reply, end, depth, true);
        } else if field(state, c"set", ffi::LUA_TTABLE) {
            put_pairs(state, proto, reply, end, depth, false);
        } else if field(state, c"big_number", ffi::LUA_TSTRING) {
            reply.big_number_bytes(text(state, -1));
        } else if field(state, c"verbatim_string", ffi::LUA_TTABLE) {
            if !put_verbatim(state, reply) {
                ffi::lua_settop(state, -2);
                return put_array(state, proto, reply, end, depth);
            }
        } else {
            return put_array(state, proto, reply, end, depth);
        }
        ffi::lua_settop(state, -2);
    }
}

/// The fields of the table on top of the stack: keys with values, or keys alone.
unsafe fn put_pairs(
    state: *mut lua_State,
    proto: Protocol,
    reply: &mut Reply<'_>,
    end: usize,
    depth: usize,
    both: bool,
) {
    let mark = reply.array_later();
    let mut count = 0;
    // SAFETY: of the caller.
    unsafe {
        ffi::lua_pushnil(state);
        while ffi::lua_next(state, -2) != 0 {
            // A copy of the key, since writing takes it away.
            ffi::lua_pushvalue(state, -2);
            put(state, proto, reply, end, depth + 1);
            if both {
                put(state, proto, reply, end, depth + 1);
            } else {
                ffi::lua_settop(state, -2);
            }
            count += 1;
        }
    }
    if both { reply.finish_map(mark, count) } else { reply.finish_set(mark, count) }
}

/// False if the table on top of the stack is none.
unsafe fn put_verbatim(state: *mut lua_State, reply: &mut Reply<'_>) -> bool {
    // SAFETY: of the caller.
    unsafe {
        if !field(state, c"format", ffi::LUA_TSTRING) {
            return false;
        }
        // A shorter one is filled up with blanks.
        let mut three = *b"   ";
        for (to, from) in three.iter_mut().zip(text(state, -1)) {
            *to = *from;
        }
        ffi::lua_settop(state, -2);
        if !field(state, c"string", ffi::LUA_TSTRING) {
            return false;
        }
        reply.verbatim(&three, text(state, -1));
        ffi::lua_settop(state, -2);
    }
    true
}

/// Up to the first element that is nil.
unsafe fn put_array(state: *mut lua_State, proto: Protocol, reply: &mut Reply<'_>, end: usize, depth: usize) {
    let mark = reply.array_later();
    let mut count = 0;
    // SAFETY: of the caller.
    unsafe {
        loop {
            ffi::lua_rawgeti_(state, -1, count + 1);
            if ffi::lua_type(state, -1) == ffi::LUA_TNIL {
                ffi::lua_settop(state, -2);
                break;
            }
            put(state, proto, reply, end, depth + 1);
            count += 1;
        }
    }
    reply.finish_array(mark, count as usize);
}
