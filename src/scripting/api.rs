//! What the host gives the prelude: functions that work on the running script, and libraries.
//!
//! What they raise goes through [`raised`], so that scripts catch what they would catch with Redis.

use std::time::Duration;

use mlua::{Lua, MultiValue, Table, Value, Variadic};
use sha1::{Digest, Sha1};

use crate::engine::dispatch;
use crate::error::CommandError;
use crate::resp::{OwnedArgs, Protocol};

use super::{bounds, call, interpreter, libraries, library, raised, raw, running};

/// Redis' log levels.
const LEVELS: [(&str, i64); 4] =
    [("LOG_DEBUG", 0), ("LOG_VERBOSE", 1), ("LOG_NOTICE", 2), ("LOG_WARNING", 3)];
const REPLICATION: [(&str, i64); 5] =
    [("REPL_NONE", 0), ("REPL_AOF", 1), ("REPL_SLAVE", 2), ("REPL_REPLICA", 2), ("REPL_ALL", 3)];
const REDIS_VERSION: &str = "7.2.4";
const REDIS_VERSION_NUM: i64 = 0x0007_0204;

type Returned = mlua::Result<MultiValue>;

fn done(lua: &Lua, values: impl mlua::IntoLuaMulti) -> Returned {
    values.into_lua_multi(lua)
}

/// As an error reply of `redis.call` would be.
fn raise(text: &'static str) -> Returned {
    Err(raised::reply(&CommandError::new(text)))
}

pub fn host(lua: &Lua) -> mlua::Result<Table> {
    let host = lua.create_table()?;
    // SAFETY: it keeps what is said at the head of its file.
    host.set("killed", unsafe { lua.create_c_function(bounds::killed)? })?;
    host.set("raised", lua.create_function(raised::show)?)?;
    host.set("loadstring", lua.create_function(loadstring)?)?;
    host.set("register_function", lua.create_function(library::register)?)?;
    host.set("clock", lua.create_function(|_, ()| Ok(clock()))?)?;
    let redis = lua.create_table()?;
    for (name, value) in LEVELS.into_iter().chain(REPLICATION) {
        redis.set(name, value)?;
    }
    redis.set("REDIS_VERSION", REDIS_VERSION)?;
    redis.set("REDIS_VERSION_NUM", REDIS_VERSION_NUM)?;
    // SAFETY: both keep what is said at the head of their file.
    let (call, pcall) = unsafe { (lua.create_c_function(raw::call)?, lua.create_c_function(raw::pcall)?) };
    // SAFETY: the same.
    lua.globals().get::<Table>("table")?.set("insert", unsafe { lua.create_c_function(raw::insert)? })?;
    redis.set("call", call)?;
    redis.set("pcall", pcall)?;
    redis.set("sha1hex", lua.create_function(sha1hex)?)?;
    redis.set("log", lua.create_function(log)?)?;
    redis.set("setresp", lua.create_function(setresp)?)?;
    redis.set("set_repl", lua.create_function(set_repl)?)?;
    redis.set("acl_check_cmd", lua.create_function(acl_check_cmd)?)?;
    host.set("redis", redis)?;
    host.set("libraries", libraries::tables(lua)?)?;
    Ok(host)
}

/// CPU time would be the same for all scripts of a thread: time since the script began tells more.
fn clock() -> f64 {
    running::with(|running| running.elapsed().as_secs_f64()).unwrap_or(0.0)
}

impl running::Running<'_, '_> {
    pub fn elapsed(&self) -> Duration {
        self.ctx.server.clock.monotonic().saturating_sub(self.started)
    }
}

fn loadstring(lua: &Lua, (source, name): (mlua::LuaString, Option<mlua::LuaString>)) -> Returned {
    let name = name.map_or_else(|| source.to_string_lossy(), |name| name.to_string_lossy());
    match interpreter::parse(lua, &source.as_bytes(), &name) {
        Ok(function) => Ok(MultiValue::from_vec(vec![Value::Function(function)])),
        Err(message) => {
            Ok(MultiValue::from_vec(vec![Value::Nil, Value::String(lua.create_string(message)?)]))
        }
    }
}

fn sha1hex(lua: &Lua, args: Variadic<Value>) -> Returned {
    let [value] = &args[..] else { return raise("ERR wrong number of arguments") };
    let text = lua.coerce_string(value.clone())?;
    let bytes = text.as_ref().map_or_else(Vec::new, |text| text.as_bytes().to_vec());
    done(lua, crate::command::scripts::hex(&Sha1::digest(bytes).into()))
}

fn log(lua: &Lua, args: Variadic<Value>) -> Returned {
    if args.len() < 2 {
        return raise("ERR redis.log() requires two arguments or more.");
    }
    let Some(level) = lua.coerce_number(args[0].clone())? else {
        return raise("ERR First argument must be a number (log level).");
    };
    let mut words = Vec::new();
    for arg in &args[1..] {
        if let Some(text) = lua.coerce_string(arg.clone())? {
            words.push(text.to_string_lossy());
        }
    }
    let text = words.join(" ");
    match level as i64 {
        0 => tracing::debug!("script: {text}"),
        1 | 2 => tracing::info!("script: {text}"),
        3 => tracing::warn!("script: {text}"),
        _ => return raise("ERR Invalid debug level."),
    }
    done(lua, ())
}

/// A number without its fraction, from a number or a string that is one; 0 of anything else.
fn cut(lua: &Lua, value: &Value) -> mlua::Result<i64> {
    Ok(lua.coerce_number(value.clone())?.unwrap_or(0.0) as i64)
}

fn setresp(lua: &Lua, args: Variadic<Value>) -> Returned {
    let [version] = &args[..] else { return raise("ERR redis.setresp() requires one argument.") };
    let proto = match cut(lua, version)? {
        2 => Protocol::Resp2,
        3 => Protocol::Resp3,
        _ => return raise("ERR RESP version must be 2 or 3."),
    };
    running::with(|running| running.proto = proto);
    done(lua, ())
}

/// Everything a script changes is in its one record: there is nothing to choose.
fn set_repl(lua: &Lua, args: Variadic<Value>) -> Returned {
    let [flags] = &args[..] else { return raise("ERR redis.set_repl() requires two arguments.") };
    match cut(lua, flags)? {
        0..=3 => done(lua, ()),
        _ => raise("ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE."),
    }
}

fn acl_check_cmd(lua: &Lua, args: Variadic<Value>) -> Returned {
    let mut owned = OwnedArgs::default();
    if let Err(error) = call::collect(&args, &mut owned) {
        return Err(raised::reply(&error));
    }
    let found = running::with(|running| dispatch::find(running.ctx.server, owned.as_args()).is_ok());
    match found {
        None => Err(raised::reply(&CommandError::new(call::NOT_RUNNING))),
        Some(false) => raise("ERR Invalid command passed to redis.acl_check_cmd()"),
        // There is one user, and it may do everything.
        Some(true) => done(lua, true),
    }
}
