//! The kinds of value a key can have.

use crate::allocator::real_size;
use crate::types::hash::value::Hash;
use crate::types::list::value::List;
use crate::types::set::value::Set;
use crate::types::sorted_set::value::SortedSet;
use crate::types::stream::value::Stream;
use crate::types::{Collection, Misfit};

use super::op::Op;

/// Which type a key holds. The numbers are part of the op codes and of the entry's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    String = 1,
    List = 2,
    Hash = 3,
    Set = 4,
    SortedSet = 5,
    Stream = 6,
}

impl Kind {
    pub(super) fn from_bits(bits: u32) -> Self {
        match bits {
            1 => Self::String,
            2 => Self::List,
            3 => Self::Hash,
            4 => Self::Set,
            5 => Self::SortedSet,
            6 => Self::Stream,
            _ => unreachable!("headers are written from a Kind"),
        }
    }

    /// Redis' name (TYPE).
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::SortedSet => "zset",
            Self::Stream => "stream",
        }
    }
}

/// The value of any key but a string. It is part of the key's entry, so every variant is one pointer (one of them may be two words).
pub enum Value {
    List(List),
    Hash(Hash),
    Set(Set),
    SortedSet(SortedSet),
    Stream(Box<Stream>),
}

/// Runs the same expression on whichever collection a value is.
macro_rules! each {
    ($value:expr, $v:ident => $body:expr) => {
        match $value {
            Value::List($v) => $body,
            Value::Hash($v) => $body,
            Value::Set($v) => $body,
            Value::SortedSet($v) => $body,
            Value::Stream($v) => $body,
        }
    };
}

impl Value {
    pub const fn kind(&self) -> Kind {
        match self {
            Self::List(_) => Kind::List,
            Self::Hash(_) => Kind::Hash,
            Self::Set(_) => Kind::Set,
            Self::SortedSet(_) => Kind::SortedSet,
            Self::Stream(_) => Kind::Stream,
        }
    }

    /// An empty value of the type that an op is for; `None` for ops of strings and of whole keys.
    pub(super) fn empty_for(op: &Op<'_>) -> Option<Self> {
        match op {
            Op::List(_) => Some(Self::List(List::default())),
            Op::Hash(_) => Some(Self::Hash(Hash::default())),
            Op::Set(_) => Some(Self::Set(Set::default())),
            Op::SortedSet(_) => Some(Self::SortedSet(SortedSet::default())),
            Op::Stream(_) => Some(Self::Stream(Box::default())),
            _ => None,
        }
    }

    pub(super) fn apply(&mut self, op: &Op<'_>) -> Result<(), Misfit> {
        match (self, op) {
            (Self::List(list), Op::List(op)) => list.apply(op),
            (Self::Hash(hash), Op::Hash(op)) => hash.apply(op),
            (Self::Set(set), Op::Set(op)) => set.apply(op),
            (Self::SortedSet(set), Op::SortedSet(op)) => set.apply(op),
            (Self::Stream(stream), Op::Stream(op)) => stream.apply(op),
            _ => Err(Misfit("another type is there")),
        }
    }

    pub fn is_empty(&self) -> bool {
        each!(self, v => v.is_empty())
    }

    pub fn encoding(&self) -> &'static str {
        each!(self, v => v.encoding())
    }

    pub fn next_expiry(&self) -> Option<u64> {
        each!(self, v => v.next_expiry())
    }

    /// Bytes of heap memory behind it.
    pub fn heap_bytes(&self) -> usize {
        let boxed = if let Self::Stream(_) = self { real_size(size_of::<Stream>()) } else { 0 };
        boxed + each!(self, v => v.heap_bytes())
    }

    /// Emits ops that make an equal value under a key that does not exist.
    pub fn rebuild(&self, emit: &mut dyn FnMut(Op<'_>)) {
        match self {
            Self::List(list) => list.rebuild(&mut |op| emit(Op::List(op))),
            Self::Hash(hash) => hash.rebuild(&mut |op| emit(Op::Hash(op))),
            Self::Set(set) => set.rebuild(&mut |op| emit(Op::Set(op))),
            Self::SortedSet(set) => set.rebuild(&mut |op| emit(Op::SortedSet(op))),
            Self::Stream(stream) => stream.rebuild(&mut |op| emit(Op::Stream(op))),
        }
    }
}
