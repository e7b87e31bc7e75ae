//! Many byte strings in one allocation, by number.

use crate::codec::Malformed;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pieces {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Pieces {
    pub fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        self.ends.push(self.bytes.len());
    }

    pub const fn len(&self) -> usize {
        self.ends.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn get(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[number]]
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|number| self.get(number))
    }

    /// An error if two of every `step`-th piece are equal.
    pub fn expect_distinct(&self, step: usize) -> Result<(), Malformed> {
        let mut sorted: Vec<&[u8]> = self.iter().step_by(step).collect();
        sorted.sort_unstable();
        let equal = sorted.windows(2).any(|pair| pair[0] == pair[1]);
        if equal { Err(Malformed("an element is there twice")) } else { Ok(()) }
    }
}

impl<'a> FromIterator<&'a [u8]> for Pieces {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(pieces: I) -> Self {
        let mut all = Self::default();
        pieces.into_iter().for_each(|piece| all.push(piece));
        all
    }
}
