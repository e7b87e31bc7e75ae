//! Stub: replaced by the type's owner.
use crate::codec::{Cursor, Malformed};
use crate::types::{Collection, CollectionOp, Misfit};

#[derive(Debug, Default)]
pub struct List;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ListOp<'a> {
    Nothing(&'a [u8]),
}

impl<'a> CollectionOp<'a> for ListOp<'a> {
    fn code(&self) -> u8 {
        0
    }
    fn encode(&self, _out: &mut Vec<u8>) {}
    fn decode(_code: u8, _cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        Err(Malformed("stub"))
    }
}

impl Collection for List {
    type Op<'a> = ListOp<'a>;
    fn apply(&mut self, _op: &ListOp<'_>) -> Result<(), Misfit> {
        Ok(())
    }
    fn is_empty(&self) -> bool {
        true
    }
    fn rebuild(&self, _emit: &mut dyn FnMut(ListOp<'_>)) {}
    fn encoding(&self) -> &'static str {
        "listpack"
    }
    fn heap_bytes(&self) -> usize {
        0
    }
}
