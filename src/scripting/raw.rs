//! `redis.call` and `redis.pcall` on Lua's own stack: scripts do little else, and values that go through handles cost several times as much.
//!
//! The invariant of all that is unsafe here: Lua raises errors by jumping over the frames between, so while a function of Lua that may
//! raise runs, no frame of this file has anything that must be dropped. So each call has two halves. The first runs the command and calls
//! nothing of Lua that raises; it leaves bytes in the running script's buffer. The second builds values from those bytes; it has numbers,
//! pointers and slices only. The buffer stays as it is until the next call, which cannot come before the second half has ended.

use std::ffi::{CStr, c_int};
use std::ptr::null_mut;
use std::slice;

use mlua::ffi;
use mlua::lua_State;

use crate::error::CommandError;
use crate::resp::number::{parse_i64, put_f64};
use crate::resp::{OwnedArgs, Protocol};

use super::call::{BAD_ARGUMENT, NO_ARGUMENTS, NOT_RUNNING};
use super::running::{self, Running};
use super::watch;

/// Nesting of a reply that is followed.
const DEPTH_MAX: usize = 512;
/// Places on Lua's stack that a value and the table it goes into take.
pub const PLACES: c_int = 8;

/// `redis.call`: an error reply is raised.
///
/// # Safety
/// For Lua to call.
pub unsafe extern "C-unwind" fn call(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls it with its state.
    unsafe { invoke(state, true) }
}

/// `redis.pcall`: an error reply is a table with `err`.
///
/// # Safety
/// For Lua to call.
pub unsafe extern "C-unwind" fn pcall(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls it with its state.
    unsafe { invoke(state, false) }
}

/// What the first half leaves: bytes in the running script's buffer, or a static text.
#[derive(Clone, Copy)]
struct Left {
    bytes: *const u8,
    len: usize,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Reply(Protocol),
    Error,
    Killed,
}

impl Left {
    const fn text(what: What, text: &'static str) -> Self {
        Self { bytes: text.as_ptr(), len: text.len(), what }
    }
}

unsafe fn invoke(state: *mut lua_State, raises: bool) -> c_int {
    // SAFETY: the arguments are on the stack of `state`; what is left lies in the running script's buffer, which nobody touches before
    // this function has ended. `first_half` has dropped everything it had.
    unsafe {
        let left = first_half(state);
        let bytes = slice::from_raw_parts(left.bytes, left.len);
        ffi::lua_settop(state, 0);
        match left.what {
            What::Reply(proto) => {
                let mut reader = Reader { state, rest: bytes, proto };
                if !reader.value(0) {
                    push(state, b"ERR internal error: a command made a reply that cannot be read");
                    ffi::lua_error(state);
                }
                1
            }
            What::Error => {
                ffi::lua_createtable(state, 0, 4);
                push(state, b"err");
                push(state, bytes);
                ffi::lua_rawset(state, -3);
                push(state, b"ignore_error_stats_update");
                ffi::lua_pushboolean(state, 1);
                ffi::lua_rawset(state, -3);
                if raises {
                    ffi::lua_error(state);
                }
                1
            }
            What::Killed => {
                push(state, bytes);
                ffi::lua_error(state)
            }
        }
    }
}

/// Runs the command whose words are on the stack.
unsafe fn first_half(state: *mut lua_State) -> Left {
    if watch::call() {
        return Left::text(What::Killed, watch::KILLED);
    }
    let done = running::with(|running| {
        let mut args = std::mem::take(&mut running.args);
        args.clear();
        // SAFETY: of the caller.
        let collected = unsafe { collect(state, &mut args) };
        let result = collected.and_then(|()| running.call(&args));
        running.args = args;
        running.left(result)
    });
    done.unwrap_or(Left::text(What::Error, NOT_RUNNING))
}

impl Running<'_, '_> {
    fn left(&mut self, result: Result<(), CommandError>) -> Left {
        let what = match result {
            Ok(()) => What::Reply(self.proto),
            Err(error) => {
                self.ctx.server.stats.count_error(error.text());
                self.reply.clear();
                self.reply.extend_from_slice(error.text().as_bytes());
                What::Error
            }
        };
        Left { bytes: self.reply.as_ptr(), len: self.reply.len(), what }
    }
}

/// Strings as they are, numbers as text.
unsafe fn collect(state: *mut lua_State, into: &mut OwnedArgs) -> Result<(), CommandError> {
    // SAFETY: none of these raises: the indices are those of values that are there, and a string is not converted.
    unsafe {
        let count = ffi::lua_gettop(state);
        if count == 0 {
            return Err(NO_ARGUMENTS);
        }
        for index in 1..=count {
            match ffi::lua_type(state, index) {
                ffi::LUA_TSTRING => {
                    let mut len = 0;
                    let text = ffi::lua_tolstring(state, index, &raw mut len);
                    into.push(slice::from_raw_parts(text.cast::<u8>(), len));
                }
                ffi::LUA_TNUMBER => {
                    let mut text = Vec::with_capacity(24);
                    put_f64(&mut text, ffi::lua_tonumberx(state, index, null_mut()));
                    into.push(&text);
                }
                _ => return Err(BAD_ARGUMENT),
            }
        }
        Ok(())
    }
}

/// # Safety
/// There is a place on the stack, and the caller is protected.
pub unsafe fn push(state: *mut lua_State, bytes: &[u8]) {
    // SAFETY: of the caller: there is a place on the stack.
    unsafe { ffi::lua_pushlstring_(state, bytes.as_ptr().cast(), bytes.len()) }
}

/// `table.insert`, which goes around metatables in Lua 5.1 and so would write into what scripts must not change.
///
/// # Safety
/// For Lua to call.
pub unsafe extern "C-unwind" fn insert(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls it with its state; there is nothing here to drop.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        if ffi::lua_getmetatable(state, 1) != 0 {
            push(state, b"__view");
            ffi::lua_rawget(state, -2);
            if ffi::lua_type(state, -1) != ffi::LUA_TNIL {
                push(state, b"Attempt to modify a readonly table");
                ffi::lua_error(state);
            }
            ffi::lua_settop(state, -3);
        }
        let mut end = ffi::lua_objlen(state, 1) as c_int + 1;
        let at = match ffi::lua_gettop(state) {
            2 => end,
            3 => {
                let at = ffi::luaL_checkinteger(state, 2) as c_int;
                end = end.max(at);
                while end > at {
                    ffi::lua_rawgeti_(state, 1, end - 1);
                    ffi::lua_rawseti_(state, 1, end);
                    end -= 1;
                }
                at
            }
            _ => return ffi::luaL_error(state, c"wrong number of arguments to 'insert'".as_ptr()),
        };
        ffi::lua_rawseti_(state, 1, at);
        0
    }
}

/// Makes values of a reply, on the stack.
struct Reader<'a> {
    state: *mut lua_State,
    rest: &'a [u8],
    proto: Protocol,
}

impl<'a> Reader<'a> {
    #[inline]
    fn line(&mut self) -> Option<(u8, &'a [u8])> {
        let end = self.rest.iter().position(|&byte| byte == b'\r')?;
        let line = self.rest.get(..end)?;
        self.rest = self.rest.get(end + 2..)?;
        line.split_first().map(|(kind, text)| (*kind, text))
    }

    #[inline]
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let bytes = self.rest.get(..len)?;
        self.rest = self.rest.get(len + 2..)?;
        Some(bytes)
    }

    /// Pushes one value. False, with less or nothing pushed, if it cannot be read.
    unsafe fn value(&mut self, depth: usize) -> bool {
        let state = self.state;
        // SAFETY: there is a place on the stack for each value pushed here: `lua_checkstack` made sure of it.
        unsafe {
            if depth > DEPTH_MAX || ffi::lua_checkstack(state, PLACES) == 0 {
                return false;
            }
            let Some((kind, text)) = self.line() else { return false };
            match kind {
                b'$' => return self.bulk(text),
                b'*' | b'>' => return self.array(text, depth),
                b'%' | b'~' => return self.map_or_set(kind, text, depth),
                b'=' => return self.verbatim(text),
                b':' => match parse_i64(text) {
                    Some(number) => ffi::lua_pushnumber(state, number as f64),
                    None => return false,
                },
                b'+' => self.tagged(c"ok", text),
                b'-' => self.tagged(c"err", text),
                b'(' => self.tagged(c"big_number", text),
                b',' => match std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok()) {
                    Some(number) => {
                        ffi::lua_createtable(state, 0, 1);
                        ffi::lua_pushnumber(state, number);
                        self.set_field(c"double");
                    }
                    None => return false,
                },
                b'#' => ffi::lua_pushboolean(state, c_int::from(text == b"t")),
                b'_' => self.nothing(),
                _ => return false,
            }
        }
        true
    }

    /// What stands for nothing: RESP2's nulls are false to scripts, RESP3's nil.
    unsafe fn nothing(&self) {
        // SAFETY: of the caller.
        unsafe {
            match self.proto {
                Protocol::Resp2 => ffi::lua_pushboolean(self.state, 0),
                Protocol::Resp3 => ffi::lua_pushnil(self.state),
            }
        }
    }

    /// Pops a value and sets it in the table below.
    unsafe fn set_field(&self, name: &CStr) {
        // SAFETY: of the caller. The table is new, so it has no metatable.
        unsafe { ffi::lua_setfield(self.state, -2, name.as_ptr()) }
    }

    /// A table with one field.
    unsafe fn tagged(&self, name: &CStr, text: &[u8]) {
        // SAFETY: of the caller.
        unsafe {
            ffi::lua_createtable(self.state, 0, 1);
            push(self.state, text);
            self.set_field(name);
        }
    }

    unsafe fn bulk(&mut self, len: &[u8]) -> bool {
        let Some(len) = parse_i64(len) else { return false };
        // SAFETY: of the caller.
        unsafe {
            let Ok(len) = usize::try_from(len) else {
                ffi::lua_pushboolean(self.state, 0);
                return true;
            };
            let Some(bytes) = self.bytes(len) else { return false };
            push(self.state, bytes);
        }
        true
    }

    unsafe fn array(&mut self, count: &[u8], depth: usize) -> bool {
        let Some(count) = parse_i64(count) else { return false };
        // SAFETY: of the caller.
        unsafe {
            if count < 0 {
                ffi::lua_pushboolean(self.state, 0);
                return true;
            }
            ffi::lua_createtable(self.state, count.min(self.rest.len() as i64) as c_int, 0);
            for index in 1..=count {
                if !self.value(depth + 1) {
                    return false;
                }
                ffi::lua_rawseti_(self.state, -2, index as c_int);
            }
        }
        true
    }

    unsafe fn map_or_set(&mut self, kind: u8, count: &[u8], depth: usize) -> bool {
        let count = parse_i64(count).unwrap_or(0);
        // SAFETY: of the caller.
        unsafe {
            ffi::lua_createtable(self.state, 0, 1);
            ffi::lua_createtable(self.state, 0, count.clamp(0, self.rest.len() as i64) as c_int);
            for _ in 0..count {
                if !self.value(depth + 1) {
                    return false;
                }
                if kind == b'~' {
                    ffi::lua_pushboolean(self.state, 1);
                } else if !self.value(depth + 1) {
                    return false;
                }
                ffi::lua_rawset(self.state, -3);
            }
            self.set_field(if kind == b'~' { c"set" } else { c"map" });
        }
        true
    }

    unsafe fn verbatim(&mut self, len: &[u8]) -> bool {
        let len = parse_i64(len).and_then(|len| usize::try_from(len).ok());
        let Some(bytes) = len.and_then(|len| self.bytes(len)).filter(|bytes| bytes.len() >= 4) else {
            return false;
        };
        // SAFETY: of the caller.
        unsafe {
            ffi::lua_createtable(self.state, 0, 1);
            ffi::lua_createtable(self.state, 0, 2);
            push(self.state, &bytes[..3]);
            self.set_field(c"format");
            push(self.state, &bytes[4..]);
            self.set_field(c"string");
            self.set_field(c"verbatim_string");
        }
        true
    }
}
