//! Reads the numbers and strings that RDB values are made of, front to back.

use std::borrow::Cow;

use super::lzf;
use crate::codec::{Cursor, Malformed};

#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(Cursor<'a>);

/// A length, or the special form of a string that stands in its place.
enum Length {
    Of(u64),
    Special(u8),
}

const INT8: u8 = 0;
const INT16: u8 = 1;
const INT32: u8 = 2;
const LZF: u8 = 3;

impl<'a> Input<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(Cursor::new(bytes))
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What has not been read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.0.rest()
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.0.u8()
    }

    /// Eight bytes, lowest first.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.0.u64()
    }

    pub fn f64(&mut self) -> Result<f64, Malformed> {
        Ok(f64::from_bits(self.0.u64()?))
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        self.0.take(len)
    }

    fn length_or_special(&mut self) -> Result<Length, Malformed> {
        let head = self.0.u8()?;
        let low = head & 0x3f;
        Ok(match (head >> 6, head) {
            (0, _) => Length::Of(u64::from(low)),
            (1, _) => Length::Of(u64::from(low) << 8 | u64::from(self.0.u8()?)),
            (3, _) => Length::Special(low),
            (_, 0x80) => Length::Of(u64::from(u32::from_be_bytes(self.0.array()?))),
            (_, 0x81) => Length::Of(u64::from_be_bytes(self.0.array()?)),
            _ => return Err(Malformed("unknown form of a length")),
        })
    }

    /// A number in the form of a length.
    pub fn number(&mut self) -> Result<u64, Malformed> {
        match self.length_or_special()? {
            Length::Of(number) => Ok(number),
            Length::Special(_) => Err(Malformed("a string where a length should be")),
        }
    }

    fn len(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).map_err(|_| Malformed("length over the address space"))
    }

    /// How many of something follow, each of at least `bytes_min` bytes.
    pub fn count(&mut self, bytes_min: usize) -> Result<usize, Malformed> {
        let count = self.len()?;
        let room = self.0.rest().len() / bytes_min;
        if count > room { Err(Malformed("more elements than bytes")) } else { Ok(count) }
    }

    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, Malformed> {
        let digits = |value: i64| Cow::Owned(itoa::Buffer::new().format(value).as_bytes().to_vec());
        Ok(match self.length_or_special()? {
            Length::Of(len) => {
                let len = usize::try_from(len).map_err(|_| Malformed("length over the address space"))?;
                Cow::Borrowed(self.0.take(len)?)
            }
            Length::Special(INT8) => digits(i64::from(self.0.u8()? as i8)),
            Length::Special(INT16) => digits(i64::from(self.0.u16()? as i16)),
            Length::Special(INT32) => digits(i64::from(self.0.u32()? as i32)),
            Length::Special(LZF) => {
                let (packed_len, len) = (self.len()?, self.len()?);
                Cow::Owned(lzf::decompress(self.0.take(packed_len)?, len)?)
            }
            Length::Special(_) => return Err(Malformed("unknown form of a string")),
        })
    }
}
