//! Scripts that run for long: others are told that the server is busy, and may have the script killed.

use std::cell::Cell;

use mlua::{HookTriggers, Lua, VmState};

use crate::command::scripts::BusyFunction;
use crate::keyspace::meanwhile;

use super::{interpreter, library, raised, running};

pub const KILLED: &str = "ERR Script killed by user with SCRIPT KILL...";

/// Calls of commands between two looks: some take long, and count as one instruction.
const CALLS_BETWEEN: u32 = 64;

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

fn killed() -> mlua::Error {
    mlua::Error::runtime(KILLED)
}

/// Before each call of a command. True if the script is to end.
#[inline]
pub fn call() -> bool {
    let calls = CALLS.get() + 1;
    CALLS.set(calls % CALLS_BETWEEN);
    let ends = calls == CALLS_BETWEEN
        && interpreter::current().is_some_and(|interpreter| step(&interpreter.lua).is_err());
    ends || is_killed()
}

/// The running script has been killed: nothing may catch that.
pub fn is_killed() -> bool {
    running::with(|running| running.killed_at.is_some()) == Some(true)
}

/// From time to time while a script runs: it is ended if somebody has killed it.
pub fn step(lua: &Lua) -> mlua::Result<()> {
    if library::is_late() {
        return Err(raised::reply(&library::TIMEOUT));
    }
    if let Some(interpreter) = interpreter::current() {
        interpreter.note_memory();
    }
    if !is_to_end(lua) {
        return Ok(());
    }
    end(lua)
}

/// From here on at every instruction, so that nothing that catches errors keeps it running. A hook belongs to a coroutine, so each that
/// runs gets it in turn; others have to be served meanwhile.
fn end(lua: &Lua) -> mlua::Result<()> {
    meanwhile::work();
    lua.set_global_hook(HookTriggers::new().every_nth_instruction(1), |lua, _| {
        end(lua)?;
        Ok(VmState::Continue)
    })?;
    Err(killed())
}

fn is_to_end(lua: &Lua) -> bool {
    let is_late = running::with(|running| {
        let limit_ms = running.ctx.server.config.busy_reply_threshold();
        let is_late = limit_ms > 0 && running.elapsed().as_millis() >= limit_ms as u128;
        if is_late && running.ctx.server.scripts.note_busy() {
            if let Some((name, args)) = running.function {
                running.ctx.server.scripts.note_busy_function(BusyFunction {
                    name: name.to_owned(),
                    command: args.iter().map(<[u8]>::to_vec).collect(),
                    started: running.started,
                });
            }
            tracing::warn!(
                "a script has been running for {limit_ms} ms: others are told that the server is busy"
            );
        }
        is_late
    });
    if is_late != Some(true) {
        return false;
    }
    meanwhile::work();
    running::with(|running| {
        let killed = running.ctx.server.scripts.is_killed();
        if killed && running.killed_at.is_none() {
            running.killed_at = Some(line(lua));
        }
        killed
    }) == Some(true)
}

/// The line of the script that runs now.
fn line(lua: &Lua) -> usize {
    let line = |level| {
        lua.inspect_stack(level, |frame| {
            let is_script = frame
                .source()
                .short_src
                .is_some_and(|source| source == "user_script" || source == "user_function");
            is_script.then(|| frame.current_line()).flatten()
        })
    };
    (0..).map_while(line).flatten().next().unwrap_or(1)
}
