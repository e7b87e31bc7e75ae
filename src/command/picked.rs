//! Arguments of a request picked for an op.

use std::collections::BTreeSet;

use smallvec::SmallVec;

/// Up to this many are looked through one by one.
const FEW: usize = 8;

/// Arguments, each once, in order.
#[derive(Default)]
pub struct Picked<'a> {
    items: SmallVec<[&'a [u8]; FEW]>,
    /// Filled when there are more than [`FEW`].
    seen: BTreeSet<&'a [u8]>,
}

impl<'a> Picked<'a> {
    pub fn contains(&self, item: &[u8]) -> bool {
        if self.items.len() > FEW { self.seen.contains(item) } else { self.items.contains(&item) }
    }

    /// An argument that is not in here yet.
    pub fn push(&mut self, item: &'a [u8]) {
        self.items.push(item);
        match self.items.len() {
            ..=FEW => {}
            len if len == FEW + 1 => self.seen.extend(&self.items),
            _ => drop(self.seen.insert(item)),
        }
    }

    pub fn items(&self) -> &[&'a [u8]] {
        &self.items
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[test]
fn each_argument_is_picked_once_however_many_there_are() {
    let arguments: Vec<String> = (0..100).map(|n| (n % 40).to_string()).collect();
    let mut picked = Picked::default();
    for argument in &arguments {
        if !picked.contains(argument.as_bytes()) {
            picked.push(argument.as_bytes());
        }
    }
    assert_eq!(picked.len(), 40);
    assert!(picked.items().iter().zip(&arguments).all(|(item, argument)| *item == argument.as_bytes()));
}
