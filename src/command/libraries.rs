//! The libraries of functions that the server knows. Their sources are keys of a keyspace that belongs to no database, so they are
//! logged, kept in snapshots and found again like everything else; this is what was learned by loading them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::error::CommandError;

/// What a function says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FunctionFlags(u8);

/// In the order in which FUNCTION LIST shows them.
const NAMES: [&str; 5] = ["no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"];

impl FunctionFlags {
    /// Adds a flag; false if there is none of this name.
    pub fn add(&mut self, name: &[u8]) -> bool {
        let found = NAMES.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name));
        if let Some(bit) = found {
            self.0 |= 1 << bit;
        }
        found.is_some()
    }

    pub const fn no_writes(self) -> bool {
        self.0 & 1 != 0
    }

    pub const fn allow_oom(self) -> bool {
        self.0 & 2 != 0
    }

    pub fn names(self) -> impl ExactSizeIterator<Item = &'static str> {
        let names: Vec<_> =
            (0..NAMES.len()).filter(|bit| self.0 >> bit & 1 == 1).map(|bit| NAMES[bit]).collect();
        names.into_iter()
    }
}

#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub description: Option<Vec<u8>>,
    pub flags: FunctionFlags,
}

#[derive(Debug)]
pub struct Library {
    /// Of no other library in this process.
    pub id: u64,
    pub name: String,
    pub code: Box<[u8]>,
    pub functions: Vec<Function>,
}

impl Library {
    pub fn new(name: String, code: &[u8], functions: Vec<Function>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { id: NEXT.fetch_add(1, Relaxed), name, code: code.into(), functions }
    }
}

/// All of them, by name, and the functions by theirs in lower case.
#[derive(Debug, Clone, Default)]
pub struct Libraries {
    by_name: BTreeMap<String, Arc<Library>>,
    functions: HashMap<Vec<u8>, (Arc<Library>, usize)>,
}

impl Libraries {
    pub fn get(&self, name: &str) -> Option<&Arc<Library>> {
        self.by_name.get(name)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Library>> {
        self.by_name.values()
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub fn functions(&self) -> usize {
        self.iter().map(|library| library.functions.len()).sum()
    }

    /// A function, whatever the case of its name.
    pub fn function(&self, name: &[u8]) -> Option<(&Arc<Library>, &Function)> {
        let (library, at) = self.functions.get(&name.to_ascii_lowercase())?;
        Some((library, &library.functions[*at]))
    }

    pub fn has_id(&self, id: u64) -> bool {
        self.iter().any(|library| library.id == id)
    }

    pub fn remove(&mut self, name: &str) -> bool {
        let removed = self.by_name.remove(name);
        if let Some(library) = &removed {
            self.functions.retain(|_, (of, _)| of.id != library.id);
        }
        removed.is_some()
    }

    /// Adds one whose name is not there yet. Not done if one of its functions is there already.
    pub fn add(&mut self, library: Arc<Library>) -> Result<(), CommandError> {
        for function in &library.functions {
            if self.function(function.name.as_bytes()).is_some() {
                return Err(CommandError::owned(format!("ERR Function {} already exists", function.name)));
            }
        }
        for (at, function) in library.functions.iter().enumerate() {
            // Names that differ in case only can be declared; the first is called.
            let name = function.name.to_ascii_lowercase().into_bytes();
            self.functions.entry(name).or_insert_with(|| (library.clone(), at));
        }
        self.by_name.insert(library.name.clone(), library);
        Ok(())
    }
}

/// The libraries as they are in the keyspace. Not known before they are looked at for the first time.
#[derive(Default)]
pub struct KnownLibraries(Mutex<Option<Arc<Libraries>>>);

impl KnownLibraries {
    pub fn get(&self) -> Option<Arc<Libraries>> {
        self.0.lock().clone()
    }

    pub fn set(&self, libraries: Libraries) -> Arc<Libraries> {
        self.0.lock().insert(Arc::new(libraries)).clone()
    }
}
