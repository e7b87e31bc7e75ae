//! Stub: replaced by the type's owner.
use crate::codec::{Cursor, Malformed};
use crate::types::{Collection, CollectionOp, Misfit};

#[derive(Debug, Default)]
pub struct Hash;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HashOp<'a> {
    Nothing(&'a [u8]),
}

impl<'a> CollectionOp<'a> for HashOp<'a> {
    fn code(&self) -> u8 {
        0
    }
    fn encode(&self, _out: &mut Vec<u8>) {}
    fn decode(_code: u8, _cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        Err(Malformed("stub"))
    }
}

impl Collection for Hash {
    type Op<'a> = HashOp<'a>;
    fn apply(&mut self, _op: &HashOp<'_>) -> Result<(), Misfit> {
        Ok(())
    }
    fn is_empty(&self) -> bool {
        true
    }
    fn rebuild(&self, _emit: &mut dyn FnMut(HashOp<'_>)) {}
    fn encoding(&self) -> &'static str {
        "listpack"
    }
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl Hash {
    /// Fields whose time has come, at most `max`.
    pub fn expired_fields(&self, _now_ms: u64, _max: usize) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

impl<'a> HashOp<'a> {
    pub fn remove(fields: &'a [&'a [u8]]) -> Self {
        Self::Nothing(fields.first().copied().unwrap_or_default())
    }
}
