//! A thread's Lua interpreter: made when its first script runs, with everything scripts may reach and nothing else.
//!
//! Lua 5.1 does not keep the name of the chunk alive that it is parsing (CVE-2025-49844): a garbage collection at the wrong moment frees
//! it. Nothing is collected while a chunk is parsed here, so there is no such moment. Bytecode is never loaded.

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::ptr::null_mut;
use std::rc::Rc;

use hashbrown::HashMap;
use mlua::chunk::ChunkMode;
use mlua::{Function, HookTriggers, IntoLua, Lua, LuaOptions, StdLib, Table, VmState, ffi, lua_State};

use crate::command::scripts::{Script, Sha};
use crate::error::CommandError;
use crate::memory_gauge;
use crate::resp::OwnedArgs;

use super::{api, bounds, evaluate, watch};

/// Instructions between two looks at how long a script has been running.
const HOOK_EVERY: u32 = 100_000;
/// Bytes that scripts may leave behind before they are collected.
const LEFT_MAX: usize = 4 << 20;
/// Compiled scripts that a thread keeps.
const COMPILED_MAX: usize = 1000;

/// Where a value is kept in Lua's registry.
#[derive(Debug, Clone, Copy)]
pub struct Place(pub c_int);

/// What a run takes and gives back, so that the next has room already.
#[derive(Default)]
pub struct Buffers {
    pub args: OwnedArgs,
    pub reply: Vec<u8>,
}

/// A buffer with more room than this is not kept.
const KEPT_LEN_MAX: usize = 64 << 10;

pub struct Interpreter {
    pub lua: Lua,
    pub state: *mut lua_State,
    environment: Table,
    /// [`evaluate::protected`].
    pub protected: Place,
    /// What makes a table of an error.
    pub handler: Place,
    /// Where KEYS and ARGV are.
    pub globals: Place,
    compiled: RefCell<HashMap<Sha, Place>>,
    /// Makes an environment, and what opens it once the library is loaded.
    new_library: Function,
    /// The functions of the libraries that are loaded here, by the libraries' ids and their names.
    libraries: RefCell<HashMap<u64, HashMap<String, Place>>>,
    buffers: RefCell<Buffers>,
    memory_limit: usize,
    /// Bytes that it was last said to hold.
    noted: Cell<usize>,
    /// Bytes that it held when all was collected.
    collected: Cell<usize>,
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        memory_gauge::note_scripts(-(self.noted.get() as i64));
    }
}

thread_local! {
    static INTERPRETER: RefCell<Option<Rc<Interpreter>>> = const { RefCell::new(None) };
}

/// This thread's interpreter.
pub fn get(memory_limit: usize) -> Result<Rc<Interpreter>, CommandError> {
    INTERPRETER.with_borrow_mut(|slot| {
        if let Some(interpreter) = slot {
            return Ok(interpreter.clone());
        }
        let made = Interpreter::new(memory_limit);
        let made =
            made.map_err(|e| CommandError::owned(format!("ERR the Lua interpreter cannot be set up: {e}")))?;
        Ok(slot.insert(Rc::new(made)).clone())
    })
}

/// This thread's interpreter, if it has one.
pub fn current() -> Option<Rc<Interpreter>> {
    INTERPRETER.with_borrow(Clone::clone)
}

/// Lets the thread's interpreter go, with all it keeps: the next script gets a new one.
pub fn forget() {
    INTERPRETER.with_borrow_mut(|slot| *slot = None);
}

impl Interpreter {
    fn new(memory_limit: usize) -> mlua::Result<Self> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::DEBUG;
        // Errors of Rust functions come back as values, so no panic has to pass through Lua.
        let options = LuaOptions::new().catch_rust_panics(false);
        // SAFETY: the debug library is for the prelude alone: scripts see only what the prelude shows them.
        let lua = unsafe { Lua::unsafe_new_with(libraries, options) };
        bounds::replace(&lua)?;
        let host = api::host(&lua)?;
        let prelude = lua.load(include_str!("prelude.lua")).set_name("=prelude").set_mode(ChunkMode::Text);
        let (environment, handler, globals, new_library): (Table, Function, Table, Function) =
            prelude.call(host)?;
        lua.set_globals(environment.clone())?;
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(HOOK_EVERY), |lua, _| {
            watch::step(lua)?;
            Ok(VmState::Continue)
        })?;
        lua.set_memory_limit(memory_limit)?;
        let mut state = null_mut();
        // SAFETY: nothing is done with it here.
        unsafe { lua.exec_raw::<()>((), |own| state = own)? };
        // SAFETY: it keeps what is said at the head of its file.
        let protected = keep(&lua, unsafe { lua.create_c_function(evaluate::protected)? })?;
        Ok(Self {
            state,
            environment,
            protected,
            handler: keep(&lua, handler)?,
            globals: keep(&lua, globals)?,
            compiled: RefCell::default(),
            new_library,
            libraries: RefCell::default(),
            buffers: RefCell::default(),
            memory_limit,
            noted: Cell::new(0),
            collected: Cell::new(lua.used_memory()),
            lua,
        })
    }

    /// The function of a chunk of text. An error is Lua's message.
    fn parse(&self, source: &[u8], name: &str) -> Result<Function, String> {
        parse(&self.lua, source, name)
    }

    /// A script's function, parsed when it is needed first.
    pub fn compile(&self, script: &Script) -> Result<Place, CommandError> {
        if let Some(&place) = self.compiled.borrow().get(&script.sha) {
            return Ok(place);
        }
        if self.compiled.borrow().len() >= COMPILED_MAX {
            self.forget_compiled();
        }
        let place = self.define(script.body(), "@user_script", &self.environment);
        let place = place
            .map_err(|e| CommandError::owned(format!("ERR Error compiling script (new function): {e}")))?;
        self.compiled.borrow_mut().insert(script.sha, place);
        Ok(place)
    }

    /// The function of a chunk with its globals.
    pub fn define(&self, source: &[u8], name: &str, globals: &Table) -> Result<Place, String> {
        let function = self.parse(source, name)?;
        let defined = function.set_environment(globals.clone()).and_then(|_| keep(&self.lua, function));
        defined.map_err(|e| e.to_string())
    }

    fn forget_compiled(&self) {
        self.compiled.borrow_mut().drain().for_each(|(_, place)| self.let_go(place));
    }

    pub fn keep(&self, function: Function) -> mlua::Result<Place> {
        keep(&self.lua, function)
    }

    /// Nobody may know the place any more.
    pub fn let_go(&self, place: Place) {
        // SAFETY: it was kept there; letting go of one raises nothing.
        unsafe { ffi::luaL_unref(self.state, ffi::LUA_REGISTRYINDEX, place.0) };
    }

    /// The globals of a library while it is loaded, and what gives it those of its functions.
    pub fn library_environment(&self) -> mlua::Result<(Table, Function)> {
        self.new_library.call(())
    }

    /// A function of a library; `None` if the library is not loaded here.
    pub fn function(&self, library: u64, name: &str) -> Option<Place> {
        self.libraries.borrow().get(&library)?.get(name).copied()
    }

    pub fn note_library(&self, id: u64, functions: HashMap<String, Place>) {
        self.libraries.borrow_mut().insert(id, functions);
    }

    /// Libraries that are loaded here.
    pub fn libraries(&self) -> usize {
        self.libraries.borrow().len()
    }

    /// Lets libraries go that are not wanted any more.
    pub fn keep_libraries(&self, is_wanted: &dyn Fn(u64) -> bool) {
        self.libraries.borrow_mut().retain(|id, functions| {
            let stays = is_wanted(*id);
            if !stays {
                functions.values().for_each(|place| self.let_go(*place));
            }
            stays
        });
    }

    pub fn take_buffers(&self) -> Buffers {
        self.buffers.take()
    }

    pub fn give_back(&self, buffers: Buffers) {
        if buffers.args.heap_len() + buffers.reply.capacity() <= KEPT_LEN_MAX {
            self.buffers.replace(buffers);
        }
    }

    /// Says how much it holds: that is not data, and must not drive out data.
    pub fn note_memory(&self) {
        let used = self.lua.used_memory();
        memory_gauge::note_scripts(used as i64 - self.noted.replace(used) as i64);
    }

    /// Collects what a script has left, where that is much: nobody else needs it, and Lua 5.1 fails at its limit rather than collect.
    pub fn make_room(&self) {
        let used = self.lua.used_memory();
        if used > self.collected.get() + LEFT_MAX || used > self.memory_limit / 2 {
            if used > self.memory_limit / 2 {
                self.forget_compiled();
                self.keep_libraries(&|_| false);
            }
            if let Err(error) = self.lua.gc_collect() {
                tracing::warn!("what scripts have left was not collected: {error}");
                forget();
            }
            self.collected.set(self.lua.used_memory());
        }
        self.note_memory();
    }
}

/// Keeps a value.
fn keep(lua: &Lua, value: impl IntoLua) -> mlua::Result<Place> {
    let mut place = 0;
    // SAFETY: the value is on the stack, and the closure has nothing to drop.
    unsafe { lua.exec_raw::<()>(value, |state| place = ffi::luaL_ref(state, ffi::LUA_REGISTRYINDEX))? };
    Ok(Place(place))
}

pub fn parse(lua: &Lua, source: &[u8], name: &str) -> Result<Function, String> {
    lua.gc_stop();
    let parsed = lua.load(source).set_name(name).set_mode(ChunkMode::Text).into_function();
    lua.gc_restart();
    parsed.map_err(|error| match error {
        mlua::Error::SyntaxError { message, .. } => message,
        other => other.to_string(),
    })
}
