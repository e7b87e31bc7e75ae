//! A set of byte strings.

use crate::types::member_table::MemberTable;
use crate::types::strings::Strings;
use crate::types::{Collection, Misfit, REBUILD_BYTES};

pub use super::op::SetOp;

#[derive(Debug, Default)]
pub struct Set {
    table: MemberTable<1>,
}

impl Set {
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        self.table.find(member).is_some()
    }

    pub const fn len(&self) -> usize {
        self.table.len()
    }

    pub fn members(&self) -> impl Iterator<Item = &[u8]> {
        self.table.iter().map(|[member]| member.bytes)
    }

    fn add(&mut self, members: Strings<'_>) {
        for member in members.iter() {
            if self.table.find(member).is_none() {
                self.table.insert(member, &[]);
            }
        }
    }
}

impl Collection for Set {
    type Op<'a> = SetOp<'a>;

    fn apply(&mut self, op: &SetOp<'_>) -> Result<(), Misfit> {
        match *op {
            SetOp::Add { members } => self.add(members),
            SetOp::Remove { members } => {
                if members.iter().any(|member| !self.contains(member)) {
                    return Err(Misfit("a member is not there"));
                }
                for member in members.iter() {
                    // A member may be named twice.
                    if let Some(place) = self.table.find(member) {
                        self.table.remove(place);
                    }
                }
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn rebuild(&self, emit: &mut dyn FnMut(SetOp<'_>)) {
        let (mut members, mut bytes) = (Vec::new(), 0);
        for member in self.members() {
            if bytes + member.len() > REBUILD_BYTES && !members.is_empty() {
                emit(SetOp::add(&members[..]));
                members.clear();
                bytes = 0;
            }
            members.push(member);
            bytes += member.len();
        }
        if !members.is_empty() {
            emit(SetOp::add(&members[..]));
        }
    }

    fn encoding(&self) -> &'static str {
        if self.table.is_spread() { "hashtable" } else { "listpack" }
    }

    fn heap_bytes(&self) -> usize {
        self.table.heap_bytes()
    }
}
