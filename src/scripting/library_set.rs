//! The libraries that there are: found in their keyspace, changed by ops on it.

use std::sync::Arc;

use crate::command::Ctx;
use crate::command::libraries::{Libraries, Library};
use crate::command::server::Server;
use crate::error::CommandError;
use crate::keyspace::Held;
use crate::keyspace::op::{LIBRARIES, Op};
use crate::keyspace::waiters::StripeSet;
use crate::types::string::value::StringOp;

use super::{MEMORY_MAX, interpreter, library};

/// Loads the libraries of a store that has just been opened, so that everybody knows their functions.
pub fn load_all(server: &Server) {
    if let Some(store) = server.store.get() {
        rebuild(server, &store.keyspace.lock(StripeSet::ALL));
        interpreter::forget();
    }
}

/// The libraries. Where nobody has looked at them yet every stripe must be held.
pub fn known(ctx: &Ctx<'_>) -> Arc<Libraries> {
    match ctx.server.libraries.get() {
        Some(known) => known,
        None if ctx.held().set() == StripeSet::ALL => rebuild(ctx.server, ctx.held()),
        None => Arc::default(),
    }
}

fn rebuild(server: &Server, held: &Held<'_>) -> Arc<Libraries> {
    let mut libraries = Libraries::default();
    let parts = held.shelves().filter_map(|shelf| shelf.stripe.part(LIBRARIES));
    for entry in parts.flat_map(|part| part.iter()) {
        let name = String::from_utf8_lossy(entry.key()).into_owned();
        let code = entry.as_string().unwrap_or_default();
        let loaded = interpreter::get(MEMORY_MAX).and_then(|interpreter| {
            let loaded = library::load(&interpreter, code, &server.clock, library::LOAD_AGAIN_MAX)?;
            let library = Library::new(name.clone(), code, loaded.functions);
            interpreter.note_library(library.id, loaded.places);
            libraries.add(Arc::new(library))
        });
        if let Err(error) = loaded {
            // It is still there, to be looked at and deleted.
            tracing::error!("the functions of library {name} cannot be called: {}", error.text());
            let empty = Library::new(name, code, Vec::new());
            libraries.add(Arc::new(empty)).expect("without functions there is none that is there already");
        }
    }
    server.libraries.set(libraries)
}

/// Makes `new` the libraries that there are.
pub fn replace(ctx: &mut Ctx<'_>, old: &Libraries, new: Libraries) -> Result<(), CommandError> {
    for library in old.iter().filter(|library| new.get(&library.name).is_none()) {
        ctx.apply_library(library.name.as_bytes(), Op::Delete)?;
    }
    for library in new.iter() {
        if old.get(&library.name).is_none_or(|before| before.id != library.id) {
            let op = Op::String(StringOp::Set { value: &library.code, expire_at: None });
            ctx.apply_library(library.name.as_bytes(), op)?;
        }
    }
    ctx.server.libraries.set(new);
    Ok(())
}
