//! A set of byte strings.
//!
//! A small set of integers is a sorted array of them, any other small set one sequence in the order in which its members came, a
//! large one pages without an order: see [`IntSet`] and [`MemberTable`]. As in Redis, a set that has left a representation does not
//! come back to it; a copy, or what a restart loads, is made anew.

use std::convert::Infallible;

use crate::resp::number::{I64_TEXT_LEN_MAX, parse_i64};
use crate::types::limits::{self, SET_MAX_INTSET_ENTRIES, SET_MAX_LISTPACK_ENTRIES, SET_MAX_LISTPACK_VALUE};
use crate::types::member_table::MemberTable;
use crate::types::strings::Strings;
use crate::types::text::Integer;
use crate::types::{Collection, Misfit, REBUILD_BYTES};

use super::copied::in_ops;
use super::intset::IntSet;

pub use super::op::SetOp;
pub use crate::types::text::Text as Member;

/// Integers that one op of [`Set::rebuild`] holds.
const INTEGERS_PER_OP: usize = REBUILD_BYTES / (I64_TEXT_LEN_MAX + 1);

#[derive(Debug)]
pub struct Set(Members);

#[derive(Debug)]
enum Members {
    Integers(IntSet),
    Strings(MemberTable<1>),
}

impl Default for Set {
    fn default() -> Self {
        Self(Members::Integers(IntSet::default()))
    }
}

/// What readers ask.
impl Set {
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        match &self.0 {
            Members::Integers(integers) => {
                parse_i64(member).is_some_and(|integer| integers.contains(integer))
            }
            Members::Strings(table) => table.find(member).is_some(),
        }
    }

    /// As [`Self::contains`], for a member of another set.
    pub fn has(&self, member: &Member<'_>) -> bool {
        match (&self.0, member) {
            (Members::Integers(integers), Member::Integer(integer)) => integers.contains(integer.value()),
            _ => self.contains(member),
        }
    }

    pub fn len(&self) -> usize {
        match &self.0 {
            Members::Integers(integers) => integers.len(),
            Members::Strings(table) => table.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All members: integers kept as such in ascending order, those of another small set in the order in which they came.
    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        let (integers, table) = match &self.0 {
            Members::Integers(integers) => (Some(integers), None),
            Members::Strings(table) => (None, Some(table)),
        };
        let integers = integers.into_iter().flat_map(IntSet::iter).map(integer_member);
        integers
            .chain(table.into_iter().flat_map(MemberTable::iter).map(|[member]| Member::Bytes(member.bytes)))
    }

    /// Visits some members from a position on (0 to begin with) and returns the position to go on from, `None` at the end.
    /// Members that are there from beginning to end are visited, however the set changes in between.
    pub fn scan<'a>(&'a self, from: u64, visit: &mut dyn FnMut(Member<'a>)) -> Option<u64> {
        match &self.0 {
            Members::Integers(integers) => {
                integers.iter().for_each(|integer| visit(integer_member(integer)));
                None
            }
            Members::Strings(table) => {
                table.scan_page(from, &mut |[member]| visit(Member::Bytes(member.bytes)))
            }
        }
    }

    /// A member chosen evenly; `below` draws a number in `0..bound`. `None` if there is none.
    pub fn sample(&self, below: &mut dyn FnMut(u64) -> u64) -> Option<Member<'_>> {
        match &self.0 {
            Members::Integers(integers) if integers.is_empty() => None,
            Members::Integers(integers) => {
                Some(integer_member(integers.get(below(integers.len() as u64) as usize)))
            }
            Members::Strings(table) => table.sample(below).map(|[member]| Member::Bytes(member.bytes)),
        }
    }

    /// Whether the members are so many that drawing a few one by one is cheaper than walking over all.
    pub fn is_spread(&self) -> bool {
        match &self.0 {
            Members::Integers(_) => false,
            Members::Strings(table) => table.is_spread(),
        }
    }
}

fn integer_member<'a>(integer: i64) -> Member<'a> {
    Member::Integer(Integer::new(integer))
}

impl Set {
    /// Adds one member; false if it was there.
    pub(super) fn insert(&mut self, member: &[u8]) -> bool {
        loop {
            match &mut self.0 {
                Members::Integers(integers) => {
                    let max = limits::get(&SET_MAX_INTSET_ENTRIES);
                    let is_banned = integers.is_empty() && max == 0;
                    let Some(integer) = parse_i64(member).filter(|_| !is_banned) else {
                        self.become_strings(member.len());
                        continue;
                    };
                    let is_new = integers.insert(integer);
                    if integers.len() > max {
                        self.spread();
                    }
                    return is_new;
                }
                Members::Strings(table) => {
                    let is_new = table.add(member);
                    let is_long = || member.len() > limits::get(&SET_MAX_LISTPACK_VALUE);
                    if is_new
                        && !table.is_spread()
                        && (table.len() > limits::get(&SET_MAX_LISTPACK_ENTRIES) || is_long())
                    {
                        table.spread();
                    }
                    return is_new;
                }
            }
        }
    }

    /// Makes room for `count` members at once, so that many do not pass through the representations of few.
    fn expect_more(&mut self, count: usize) {
        let limit = match &self.0 {
            Members::Integers(integers) if integers.is_empty() => {
                limits::get(&SET_MAX_INTSET_ENTRIES).max(limits::get(&SET_MAX_LISTPACK_ENTRIES))
            }
            Members::Integers(_) => limits::get(&SET_MAX_INTSET_ENTRIES),
            Members::Strings(_) => limits::get(&SET_MAX_LISTPACK_ENTRIES),
        };
        if count > limit {
            self.spread();
        }
    }

    /// Gives the array of integers up. `len` is that of the member which does not fit in.
    fn become_strings(&mut self, len: usize) {
        let Members::Integers(integers) = &self.0 else { return };
        let mut table = MemberTable::default();
        let value_max = limits::get(&SET_MAX_LISTPACK_VALUE);
        let mut is_long = len > value_max;
        for integer in integers.iter() {
            let member = integer_member(integer);
            is_long |= member.len() > value_max;
            table.insert(&member, &[]);
        }
        if is_long || table.len() >= limits::get(&SET_MAX_LISTPACK_ENTRIES) {
            table.spread();
        }
        self.0 = Members::Strings(table);
    }

    /// Gives every order up.
    fn spread(&mut self) {
        self.become_strings(0);
        if let Members::Strings(table) = &mut self.0 {
            table.spread();
        }
    }

    fn add(&mut self, members: Strings<'_>) {
        if members.len() > 1 {
            self.expect_more(members.len());
        }
        for member in members.iter() {
            self.insert(member);
        }
    }

    /// Removes one member; false if it was not there.
    fn take(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Members::Integers(integers) => parse_i64(member).is_some_and(|integer| integers.remove(integer)),
            Members::Strings(table) => table.find(member).map(|place| table.remove(place)).is_some(),
        }
    }

    fn remove(&mut self, members: Strings<'_>) -> Result<(), Misfit> {
        // Checked before anything changes: an op that does not fit changes nothing.
        if members.len() > 1 && members.iter().any(|member| !self.contains(member)) {
            return Err(Misfit("a member is not there"));
        }
        let mut removed = 0;
        for member in members.iter() {
            // A member may be named twice.
            removed += usize::from(self.take(member));
        }
        if removed > 0 || members.is_empty() { Ok(()) } else { Err(Misfit("a member is not there")) }
    }
}

impl Collection for Set {
    type Op<'a> = SetOp<'a>;

    #[inline]
    fn apply(&mut self, op: &SetOp<'_>) -> Result<(), Misfit> {
        match *op {
            SetOp::Add { members } => {
                self.add(members);
                Ok(())
            }
            SetOp::Remove { members } => self.remove(members),
        }
    }

    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn rebuild(&self, emit: &mut dyn FnMut(SetOp<'_>)) {
        match &self.0 {
            Members::Integers(integers) => {
                for start in (0..integers.len()).step_by(INTEGERS_PER_OP) {
                    let end = integers.len().min(start + INTEGERS_PER_OP);
                    let members: Vec<_> = (start..end).map(|at| integer_member(integers.get(at))).collect();
                    let members: Vec<&[u8]> = members.iter().map(|member| &**member).collect();
                    emit(SetOp::add(&members));
                }
            }
            Members::Strings(table) => {
                let members = table.iter().map(|[member]| member.bytes);
                let _: Result<(), Infallible> = in_ops(members, |members| {
                    emit(SetOp::add(members));
                    Ok(())
                });
            }
        }
    }

    fn encoding(&self) -> &'static str {
        match &self.0 {
            Members::Integers(_) => "intset",
            Members::Strings(table) if table.is_spread() => "hashtable",
            Members::Strings(_) => "listpack",
        }
    }

    fn heap_bytes(&self) -> usize {
        match &self.0 {
            Members::Integers(integers) => integers.heap_bytes(),
            Members::Strings(table) => table.heap_bytes(),
        }
    }
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
