//! The data types. In each folder: `value.rs` (floor 3: the structure, its ops and their codec) and `commands.rs`
//! (floor 5: what clients call it). A new type adds its folder here, a variant to [`crate::keyspace::value::Value`] and to
//! [`crate::keyspace::op::Op`], and its `COMMANDS` to the registry.

pub mod bitmap;
pub mod geo;
pub mod hash;
pub mod hyperloglog;
pub mod key;
pub mod limits;
pub mod list;
pub mod member_table;
pub mod packed;
pub mod set;
pub mod small_or;
pub mod sorted_set;
pub mod stream;
pub mod string;
pub mod strings;
pub mod text;
pub mod thin_bytes;

use crate::codec::{Cursor, Malformed};

/// An op met a value that it cannot have been made for: a fault of the program, or a damaged log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("op does not fit the value: {0}")]
pub struct Misfit(pub &'static str);

/// Bytes of elements that an op of [`Collection::rebuild`] holds, unless one element alone is longer.
pub const REBUILD_BYTES: usize = 32 << 10;

/// What a collection type gives the keyspace. Everything here is deterministic: no clock, no randomness, no settings that
/// change what a value *means* (limits of representations may differ between two replays).
pub trait Collection: Default + Send + Sync + 'static {
    /// A change to one value: typed, self-contained, with absolute times and chosen members.
    type Op<'a>: CollectionOp<'a>;

    /// Carries out an op. A value left empty is removed with its key by the caller.
    fn apply(&mut self, op: &Self::Op<'_>) -> Result<(), Misfit>;

    fn is_empty(&self) -> bool;

    /// Emits ops which, applied to a default value in this order, make an equal one. Each op holds at most about
    /// [`REBUILD_BYTES`] or one element.
    fn rebuild(&self, emit: &mut dyn FnMut(Self::Op<'_>));

    /// Redis' name for the nearest representation (OBJECT ENCODING).
    fn encoding(&self) -> &'static str;

    /// Bytes of heap memory, without `size_of::<Self>()`.
    fn heap_bytes(&self) -> usize;

    /// Unix time in milliseconds at which the first of the value's parts expires (hash fields).
    fn next_expiry(&self) -> Option<u64> {
        None
    }
}

/// The codec of a collection's ops. `code` is unique within the type (0..=15).
pub trait CollectionOp<'a>: Sized {
    fn code(&self) -> u8;
    /// Appends everything but the code.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads what `encode` wrote; the caller checks that nothing is left over.
    fn decode(code: u8, cursor: &mut Cursor<'a>) -> Result<Self, Malformed>;
}
