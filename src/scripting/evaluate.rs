//! One run of a function of Lua's: KEYS and ARGV, the call, its result as a reply. All on Lua's own stack and inside one protected call;
//! the invariant is that of [`super::raw`].

use std::ffi::{c_int, c_void};

use mlua::ffi;
use mlua::lua_State;

use crate::command::Args;
use crate::resp::Reply;

use super::interpreter::{Interpreter, Place};
use super::raw::push;
use super::{convert, running};

/// What is called, and with what.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub function: Place,
    pub keys: Args<'a>,
    pub argv: Args<'a>,
    /// A function gets them as arguments, a script as globals.
    pub as_arguments: bool,
}

/// How a run failed: the message, and where if that is known.
#[derive(Debug, Default)]
pub struct Failure {
    pub text: Option<Vec<u8>>,
    pub place: Option<(Vec<u8>, i64)>,
}

struct Work<'w, 'r> {
    call: Call<'w>,
    interpreter: &'w Interpreter,
    reply: &'w mut Reply<'r>,
    failure: Option<Failure>,
}

/// Runs it; what it returns is written to `reply`.
pub fn run(interpreter: &Interpreter, call: Call<'_>, reply: &mut Reply<'_>) -> Result<(), Failure> {
    let mut work = Work { call, interpreter, reply, failure: None };
    let state = interpreter.state;
    // SAFETY: the state belongs to this thread and is not inside a call of this kind (scripts cannot run scripts). `protected` gets the
    // address of `work`, which outlives the call. Nothing is left on the stack.
    unsafe {
        let top = ffi::lua_gettop(state);
        ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, interpreter.protected.0);
        ffi::lua_pushlightuserdata(state, (&raw mut work).cast::<c_void>());
        if ffi::lua_pcall(state, 1, 0, 0) != 0 && work.failure.is_none() {
            // Outside of what the script has called: memory is out.
            work.failure = Some(of_lua(state));
        }
        ffi::lua_settop(state, top);
    }
    work.failure.map_or(Ok(()), Err)
}

/// # Safety
/// Of the caller.
unsafe fn string(state: *mut lua_State, index: c_int) -> Option<Vec<u8>> {
    // SAFETY: a string is not converted, so nothing raises.
    unsafe { (ffi::lua_type(state, index) == ffi::LUA_TSTRING).then(|| convert::text(state, index).to_vec()) }
}

/// What Lua itself says where nothing of a script can run any more: memory is out, an error while an error is handled.
unsafe fn of_lua(state: *mut lua_State) -> Failure {
    // SAFETY: of the caller: there is something on the stack.
    let text = unsafe { string(state, -1) };
    Failure { text: text.map(|text| [&b"ERR "[..], &text].concat()), place: None }
}

/// The body of [`run`].
///
/// # Safety
/// For Lua to call, with the address of a `Work`.
pub unsafe extern "C-unwind" fn protected(state: *mut lua_State) -> c_int {
    // SAFETY: `run` says so; nobody else has the work now.
    unsafe {
        let work = &mut *ffi::lua_touserdata(state, 1).cast::<Work<'_, '_>>();
        let (call, interpreter) = (work.call, work.interpreter);
        ffi::lua_settop(state, 0);
        ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, interpreter.handler.0);
        let arguments = if call.as_arguments {
            ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, call.function.0);
            push_table(state, call.keys);
            push_table(state, call.argv);
            2
        } else {
            ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, interpreter.globals.0);
            for (name, words) in [(c"KEYS", call.keys), (c"ARGV", call.argv)] {
                push(state, name.to_bytes());
                push_table(state, words);
                ffi::lua_rawset(state, 2 as c_int);
            }
            ffi::lua_rawgeti_(state, ffi::LUA_REGISTRYINDEX, call.function.0);
            0
        };
        if ffi::lua_pcall(state, arguments, 1, 1) == 0 {
            let proto = running::proto();
            let end = work.reply.len().saturating_add(convert::RESULT_MAX);
            convert::put(state, proto, work.reply, end, 0);
        } else {
            fail(state, work);
        }
    }
    0
}

unsafe fn push_table(state: *mut lua_State, words: Args<'_>) {
    // SAFETY: of the caller. What walks over the words has nothing to drop.
    unsafe {
        ffi::lua_createtable(state, words.len() as c_int, 0);
        for index in 0..words.len() {
            push(state, words.get(index));
            ffi::lua_rawseti_(state, -2, index as c_int + 1);
        }
    }
}

/// What the handler has made of an error is on top of the stack: a table, or a string where Lua could not call the handler.
unsafe fn fail(state: *mut lua_State, work: &mut Work<'_, '_>) {
    // SAFETY: of the caller. All that may raise comes before the first thing that must be dropped.
    unsafe {
        if ffi::lua_type(state, -1) != ffi::LUA_TTABLE {
            work.failure = Some(of_lua(state));
            return;
        }
        let table = ffi::lua_gettop(state);
        for name in [c"err", c"source", c"line"] {
            push(state, name.to_bytes());
            ffi::lua_rawget(state, table);
        }
        let has_line = ffi::lua_type(state, table + 3) == ffi::LUA_TNUMBER;
        let line = ffi::lua_tonumber(state, table + 3) as i64;
        let place = if has_line { string(state, table + 2).map(|source| (source, line)) } else { None };
        let text = string(state, table + 1).unwrap_or_else(|| b"ERR unknown error".to_vec());
        work.failure = Some(Failure { text: Some(text), place });
    }
}
