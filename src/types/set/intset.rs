//! A sorted array of integers: what a small set is while all its members are integers.
//!
//! ```text
//! array = integers in ascending order, little-endian, each as wide as the widest that ever was among them: 2, 4 or 8 bytes
//! ```
//!
//! Found by bisection; a change moves what stands behind it, so that long arrays are slow to change: the owner bounds them. The
//! width never shrinks again.

use crate::types::packed;
use crate::types::thin_bytes::ThinBytes;

/// Its note is the bytes of one integer, or 0 for 2.
#[derive(Debug, Default)]
pub struct IntSet {
    bytes: ThinBytes,
}

const fn width_of(integer: i64) -> usize {
    if integer as i16 as i64 == integer {
        2
    } else if integer as i32 as i64 == integer {
        4
    } else {
        8
    }
}

impl IntSet {
    #[inline]
    fn width(&self) -> usize {
        self.bytes.note().max(2)
    }

    pub fn len(&self) -> usize {
        self.bytes.len() / self.width()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of heap memory.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.heap_bytes()
    }

    /// The integer at a place in ascending order, which is below [`Self::len`].
    pub fn get(&self, index: usize) -> i64 {
        let whole = "a place below the length has a whole integer";
        let width = self.width();
        let bytes = &self.bytes[index * width..];
        match width {
            2 => i64::from(i16::from_le_bytes(*bytes.first_chunk().expect(whole))),
            4 => i64::from(i32::from_le_bytes(*bytes.first_chunk().expect(whole))),
            _ => i64::from_le_bytes(*bytes.first_chunk().expect(whole)),
        }
    }

    /// Where an integer is, or where it belongs.
    fn search(&self, integer: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle).cmp(&integer) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    pub fn contains(&self, integer: i64) -> bool {
        self.search(integer).is_ok()
    }

    /// False if it is there already.
    pub fn insert(&mut self, integer: i64) -> bool {
        let Err(index) = self.search(integer) else { return false };
        let width = width_of(integer).max(self.width());
        if width > self.width() {
            self.widen(width);
        }
        let (end, at) = (self.bytes.len(), index * width);
        self.bytes.resize(end + width);
        self.bytes.copy_within(at..end, at + width);
        self.bytes[at..at + width].copy_from_slice(&integer.to_le_bytes()[..width]);
        true
    }

    fn widen(&mut self, width: usize) {
        let mut wide = ThinBytes::with_capacity((self.len() + 1) * width);
        wide.set_note(width);
        self.iter().for_each(|integer| wide.extend_from_slice(&integer.to_le_bytes()[..width]));
        self.bytes = wide;
    }

    /// False if it is not there.
    pub fn remove(&mut self, integer: i64) -> bool {
        let Ok(index) = self.search(integer) else { return false };
        let (width, at) = (self.width(), index * self.width());
        self.bytes.copy_within(at + width.., at);
        self.bytes.truncate(self.bytes.len() - width);
        if packed::good_size(self.bytes.len()) <= self.bytes.capacity() / 2 {
            self.bytes.shrink_to(0);
        }
        true
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = i64> + Clone + '_ {
        (0..self.len()).map(|index| self.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Numbers of every width, often the same, often at the edges.
    fn integer() -> impl Strategy<Value = i64> {
        let edges = [i16::MIN.into(), i16::MAX.into(), i32::MIN.into(), i32::MAX.into(), i64::MIN, i64::MAX];
        prop_oneof![
            8 => -40i64..40,
            2 => any::<i16>().prop_map(i64::from),
            1 => any::<i32>().prop_map(i64::from),
            1 => any::<i64>(),
            2 => (prop::sample::select(edges.to_vec()), -1i64..2).prop_map(|(edge, by)| edge.wrapping_add(by)),
        ]
    }

    proptest! {
        #[test]
        fn an_array_of_integers_behaves_like_an_ordered_set(
            steps in proptest::collection::vec((any::<bool>(), integer()), 0..300)
        ) {
            let (mut array, mut model) = (IntSet::default(), BTreeSet::new());
            for (add, integer) in steps {
                prop_assert_eq!(array.contains(integer), model.contains(&integer));
                if add {
                    prop_assert_eq!(array.insert(integer), model.insert(integer));
                } else {
                    prop_assert_eq!(array.remove(integer), model.remove(&integer));
                }
                prop_assert_eq!(array.len(), model.len());
                prop_assert!(array.iter().eq(model.iter().copied()));
                prop_assert!(array.heap_bytes() <= 2 * packed::good_size(8 * model.len()).max(16));
            }
        }
    }

    #[test]
    fn integers_take_as_many_bytes_as_the_widest() {
        let mut array = IntSet::default();
        (0..8).for_each(|n| assert!(array.insert(n)));
        assert_eq!(array.heap_bytes(), 32);
        array.insert(40_000);
        assert_eq!(array.heap_bytes(), 64);
        array.insert(1 << 40);
        assert_eq!(array.heap_bytes(), 96);
    }
}
