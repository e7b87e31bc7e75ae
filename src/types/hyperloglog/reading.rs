//! HyperLogLogs for who looks at strings from outside: what an element does, which registers a string has, what they estimate.

use std::collections::BTreeMap;

use super::element::Element;
use super::estimate::cardinality;
use super::registers::Registers;
use super::view::View;

/// Registers that are not zero.
pub type Raised = BTreeMap<u16, u8>;

/// Adds an element. True if that raised a register.
pub fn add(registers: &mut Raised, element: &[u8]) -> bool {
    let Element { index, rank } = Element::of(element);
    let register = registers.entry(index).or_default();
    let grows = *register < rank;
    *register = rank.max(*register);
    grows
}

/// The registers of a string; `None` if it is no HyperLogLog.
pub fn read(string: &[u8]) -> Option<Raised> {
    let mut registers = Registers::new();
    View::of(string).ok()?.merge_into(&mut registers).ok()?;
    Some(registers.non_zero().map(|(index, value)| (index as u16, value)).collect())
}

/// The estimate.
pub fn count(registers: &Raised) -> i64 {
    let mut all = Registers::new();
    for (&index, &value) in registers {
        all.raise(index.into()..usize::from(index) + 1, value);
    }
    cardinality(&all.histogram())
}
