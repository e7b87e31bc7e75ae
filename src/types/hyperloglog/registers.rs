//! All registers, a byte each: what several HyperLogLogs are merged in.

use std::ops::Range;

use super::element::REGISTERS;
use super::estimate::Histogram;

pub(super) struct Registers(Box<[u8; REGISTERS]>);

impl Registers {
    pub fn new() -> Self {
        let zeros = vec![0; REGISTERS].into_boxed_slice();
        Self(zeros.try_into().expect("the slice has the array's length"))
    }

    /// Raises registers of a range, which must be within all, to a value where they are lower.
    pub fn raise(&mut self, range: Range<usize>, value: u8) {
        if value > 0 {
            self.0[range].iter_mut().for_each(|own| *own = (*own).max(value));
        }
    }

    /// Raises each register to the value that comes in its place.
    pub fn raise_all(&mut self, values: impl Iterator<Item = u8>) {
        self.0.iter_mut().zip(values).for_each(|(own, value)| *own = (*own).max(value));
    }

    pub fn histogram(&self) -> Histogram {
        let mut histogram = [0; 64];
        self.0.iter().for_each(|&value| histogram[usize::from(value) & 63] += 1);
        histogram
    }

    /// Those that are not zero, in order.
    pub fn non_zero(&self) -> impl Iterator<Item = (usize, u8)> {
        self.0.iter().copied().enumerate().filter(|&(_, value)| value > 0)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = u8> {
        self.0.iter().copied()
    }
}
