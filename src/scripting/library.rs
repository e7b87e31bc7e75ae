//! A library of functions in a thread's interpreter: its first line, its loading, what it registers.
//!
//! Every thread that calls a function loads its library once; what the library keeps in its locals is that thread's own.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use mlua::{Function as LuaFunction, Lua, Table, Value, Variadic};

use crate::clock::Clock;
use crate::command::Args;
use crate::command::libraries::{Function, FunctionFlags, Libraries, Library};
use crate::config::conf::split_words;
use crate::error::CommandError;
use crate::resp::{OwnedArgs, Protocol, Reply};

use super::evaluate::{self, Call};
use super::interpreter::{Interpreter, Place};
use super::raised;

/// Longest that FUNCTION LOAD may take.
pub const LOAD_MAX: Duration = Duration::from_millis(500);
/// The same for a library that was loaded before, on another thread or by a server before this one.
pub const LOAD_AGAIN_MAX: Duration = Duration::from_secs(10);

pub const TIMEOUT: CommandError = CommandError::new("ERR FUNCTION LOAD timeout");
const BAD_NAME: CommandError = CommandError::new(
    "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
);

/// A library while it is loaded.
struct Loading {
    functions: Vec<Function>,
    callbacks: Vec<(String, LuaFunction)>,
    clock: Arc<dyn Clock>,
    /// By the monotonic clock.
    until: Duration,
}

thread_local! {
    static LOADING: RefCell<Option<Loading>> = const { RefCell::new(None) };
}

/// What loading a library has brought.
pub struct Loaded {
    pub functions: Vec<Function>,
    pub places: HashMap<String, Place>,
}

/// Something is being loaded on this thread, and has taken too long.
pub fn is_late() -> bool {
    LOADING.with_borrow(|loading| {
        loading.as_ref().is_some_and(|loading| loading.clock.monotonic() > loading.until)
    })
}

/// The name that a library's first line gives it, and where that line ends.
pub fn header(code: &[u8]) -> Result<(String, usize), CommandError> {
    if !code.starts_with(b"#!") {
        return Err(CommandError::new("ERR Missing library metadata"));
    }
    let end = code.iter().position(|&byte| byte == b'\n');
    let end = end.ok_or(CommandError::new("ERR Invalid library metadata"))?;
    let line = String::from_utf8_lossy(&code[..end]);
    let words = split_words(line.as_bytes());
    let words = words.map_err(|_| CommandError::new("ERR Invalid library metadata"))?;
    let mut words = words.iter().map(String::as_str);
    // The engine stands where the mark ends.
    let engine = words.next().and_then(|word| word.strip_prefix("#!")).unwrap_or_default();
    let mut name = None;
    for word in words {
        let (key, given) = word.split_at_checked("name=".len()).unwrap_or_default();
        match key.eq_ignore_ascii_case("name=").then_some(given) {
            Some(_) if name.is_some() => {
                return Err(CommandError::new(
                    "ERR Invalid metadata value, name argument was given multiple times",
                ));
            }
            Some(given) => name = Some(given.to_owned()),
            None => return Err(CommandError::owned(format!("ERR Invalid metadata value given: {word}"))),
        }
    }
    let name = name.ok_or(CommandError::new("ERR Library name was not given"))?;
    if !is_name(name.as_bytes()) {
        return Err(BAD_NAME);
    }
    if !engine.eq_ignore_ascii_case("lua") {
        return Err(CommandError::owned(format!("ERR Engine '{engine}' not found")));
    }
    Ok((name, end))
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Where a function is kept in an interpreter, which loads the library if it has not yet.
pub fn place(
    interpreter: &Interpreter,
    libraries: &Libraries,
    library: &Library,
    function: &Function,
    clock: &Arc<dyn Clock>,
) -> Result<Place, CommandError> {
    if let Some(place) = interpreter.function(library.id, &function.name) {
        return Ok(place);
    }
    if interpreter.libraries() >= libraries.len() {
        interpreter.keep_libraries(&|id| libraries.has_id(id));
    }
    let loaded = load(interpreter, &library.code, clock, LOAD_AGAIN_MAX)?;
    interpreter.note_library(library.id, loaded.places);
    interpreter.function(library.id, &function.name).ok_or(CommandError::new("ERR Function not found"))
}

/// Runs a library's code in an interpreter, and tells what it has registered.
pub fn load(
    interpreter: &Interpreter,
    code: &[u8],
    clock: &Arc<dyn Clock>,
    limit: Duration,
) -> Result<Loaded, CommandError> {
    let broken = |e: mlua::Error| CommandError::owned(format!("ERR {e}"));
    let (_, end) = header(code)?;
    let (globals, open): (Table, LuaFunction) = interpreter.library_environment().map_err(broken)?;
    let chunk = interpreter
        .define(&code[end..], "@user_function", &globals)
        .map_err(|e| CommandError::owned(format!("ERR Error compiling function: {e}")))?;
    LOADING.set(Some(Loading {
        functions: Vec::new(),
        callbacks: Vec::new(),
        clock: clock.clone(),
        until: clock.monotonic() + limit,
    }));
    let none = OwnedArgs::default();
    let none: Args<'_> = none.as_args();
    let call = Call { function: chunk, keys: none, argv: none, as_arguments: true };
    let mut ignored = Vec::new();
    let outcome = evaluate::run(interpreter, call, &mut Reply::new(&mut ignored, Protocol::Resp2));
    let loading = LOADING.take();
    interpreter.let_go(chunk);
    if let Err(failure) = outcome {
        let text = failure.text.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().next().unwrap_or("ERR unknown error");
        return Err(CommandError::owned(format!("ERR Error registering functions: {line}")));
    }
    let loading = loading.filter(|loading| !loading.functions.is_empty());
    let loading = loading.ok_or(CommandError::new("ERR No functions registered"))?;
    open.call::<()>(()).map_err(broken)?;
    let mut places = HashMap::new();
    for (name, callback) in loading.callbacks {
        places.insert(name, interpreter.keep(callback).map_err(broken)?);
    }
    Ok(Loaded { functions: loading.functions, places })
}

/// What `redis.register_function` is given.
#[derive(Default)]
struct Registered {
    name: Option<Vec<u8>>,
    callback: Option<LuaFunction>,
    description: Option<Vec<u8>>,
    flags: FunctionFlags,
}

/// `redis.register_function`.
pub fn register(lua: &Lua, args: Variadic<Value>) -> mlua::Result<()> {
    read(lua, &args).and_then(note).map_err(|error| raised::reply(&error))
}

/// Strings and numbers, as text.
fn text(lua: &Lua, value: &Value) -> Option<Vec<u8>> {
    let is_text = matches!(value, Value::String(_) | Value::Integer(_) | Value::Number(_));
    let text = is_text.then(|| lua.coerce_string(value.clone()).ok().flatten()).flatten()?;
    Some(text.as_bytes().to_vec())
}

fn read(lua: &Lua, args: &[Value]) -> Result<Registered, CommandError> {
    match args {
        [Value::Table(table)] => read_table(lua, table),
        [_] => Err(CommandError::new(
            "ERR calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).",
        )),
        [name, callback] => {
            let name = text(lua, name);
            let name = name
                .ok_or(CommandError::new("ERR first argument to redis.register_function must be a string"))?;
            let Value::Function(callback) = callback else {
                return Err(CommandError::new(
                    "ERR second argument to redis.register_function must be a function",
                ));
            };
            Ok(Registered { name: Some(name), callback: Some(callback.clone()), ..Registered::default() })
        }
        _ => Err(CommandError::new("ERR wrong number of arguments to redis.register_function")),
    }
}

fn read_table(lua: &Lua, table: &Table) -> Result<Registered, CommandError> {
    let mut found = Registered::default();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|e| CommandError::owned(format!("ERR {e}")))?;
        let key = text(lua, &key).ok_or(CommandError::new(
            "ERR named argument key given to redis.register_function is not a string",
        ))?;
        match key.to_ascii_lowercase().as_slice() {
            b"function_name" => {
                found.name = Some(text(lua, &value).ok_or(CommandError::new(
                    "ERR function_name argument given to redis.register_function must be a string",
                ))?);
            }
            b"description" => {
                found.description = Some(text(lua, &value).ok_or(CommandError::new(
                    "ERR description argument given to redis.register_function must be a string",
                ))?);
            }
            b"callback" => match value {
                Value::Function(callback) => found.callback = Some(callback),
                _ => {
                    return Err(CommandError::new(
                        "ERR callback argument given to redis.register_function must be a function",
                    ));
                }
            },
            b"flags" => match value {
                Value::Table(flags) => found.flags = read_flags(lua, &flags)?,
                _ => {
                    return Err(CommandError::new(
                        "ERR flags argument to redis.register_function must be a table representing function flags",
                    ));
                }
            },
            _ => return Err(CommandError::new("ERR unknown argument given to redis.register_function")),
        }
    }
    Ok(found)
}

fn read_flags(lua: &Lua, table: &Table) -> Result<FunctionFlags, CommandError> {
    let mut flags = FunctionFlags::default();
    for index in 1.. {
        match table.raw_get::<Value>(index) {
            Ok(Value::Nil) | Err(_) => break,
            Ok(flag) if text(lua, &flag).is_some_and(|name| flags.add(&name)) => {}
            Ok(_) => return Err(CommandError::new("ERR unknown flag given")),
        }
    }
    Ok(flags)
}

fn note(registered: Registered) -> Result<(), CommandError> {
    let Registered { name, callback, description, flags } = registered;
    let name =
        name.ok_or(CommandError::new("ERR redis.register_function must get a function name argument"))?;
    let callback =
        callback.ok_or(CommandError::new("ERR redis.register_function must get a callback argument"))?;
    LOADING.with_borrow_mut(|loading| {
        let loading = loading.as_mut().ok_or(CommandError::new(
            "ERR redis.register_function can only be called on FUNCTION LOAD command",
        ))?;
        let name = String::from_utf8(name).ok().filter(|name| is_name(name.as_bytes())).ok_or(BAD_NAME)?;
        if loading.functions.iter().any(|known| known.name == name) {
            return Err(CommandError::new("ERR Function already exists in the library"));
        }
        loading.callbacks.push((name.clone(), callback));
        loading.functions.push(Function { name, description, flags });
        Ok(())
    })
}
