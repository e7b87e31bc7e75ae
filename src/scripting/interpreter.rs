//! A thread's Lua interpreter: made when its first script runs, with everything scripts may reach and nothing else.
//!
//! Lua 5.1 does not keep the name of the chunk alive that it is parsing (CVE-2025-49844): a garbage collection at the wrong moment frees
//! it. Nothing is collected while a chunk is parsed here, so there is no such moment. Bytecode is never loaded.

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::HashMap;
use mlua::chunk::ChunkMode;
use mlua::{Function, HookTriggers, Lua, LuaOptions, StdLib, Table, Value, VmState};

use crate::command::scripts::{Script, Sha};
use crate::error::CommandError;

use super::{api, watch};

/// Instructions between two looks at how long a script has been running.
const HOOK_EVERY: u32 = 100_000;
/// Compiled scripts that a thread keeps.
const COMPILED_MAX: usize = 1000;

pub struct Interpreter {
    pub lua: Lua,
    environment: Table,
    run: Function,
    compiled: RefCell<HashMap<Sha, Function>>,
    memory_limit: usize,
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
        let host = api::host(&lua)?;
        let prelude = lua.load(include_str!("prelude.lua")).set_name("=prelude").set_mode(ChunkMode::Text);
        let (environment, run): (Table, Function) = prelude.call(host)?;
        lua.set_globals(environment.clone())?;
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(HOOK_EVERY), |lua, _| {
            watch::step(lua)?;
            Ok(VmState::Continue)
        })?;
        lua.set_memory_limit(memory_limit)?;
        Ok(Self { lua, environment, run, compiled: RefCell::default(), memory_limit })
    }

    /// The function of a chunk of text. An error is Lua's message.
    fn parse(&self, source: &[u8], name: &str) -> Result<Function, String> {
        parse(&self.lua, source, name)
    }

    /// A script's function, parsed when it is needed first.
    pub fn compile(&self, script: &Script) -> Result<Function, CommandError> {
        let mut compiled = self.compiled.borrow_mut();
        if let Some(function) = compiled.get(&script.sha) {
            return Ok(function.clone());
        }
        if compiled.len() >= COMPILED_MAX {
            compiled.clear();
        }
        let function = self
            .parse(script.body(), "@user_script")
            .and_then(|function| {
                function
                    .set_environment(self.environment.clone())
                    .map(|_| function)
                    .map_err(|e| e.to_string())
            })
            .map_err(|e| CommandError::owned(format!("ERR Error compiling script (new function): {e}")))?;
        compiled.insert(script.sha, function.clone());
        Ok(function)
    }

    /// Collects what a script has left, where that is much: Lua 5.1 fails at its limit rather than collect.
    pub fn make_room(&self) {
        if self.lua.used_memory() > self.memory_limit / 2 {
            self.compiled.borrow_mut().clear();
            if let Err(error) = self.lua.gc_collect() {
                tracing::warn!("what scripts have left was not collected: {error}");
                forget();
            }
        }
    }

    /// Runs a compiled script: whether it succeeded, and its result or the table that says what was wrong.
    pub fn run(&self, script: &Function, keys: Table, argv: Table) -> mlua::Result<(bool, Value)> {
        self.run.call((script, keys, argv))
    }
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
