//! A member as readers see it: bytes, wherever they come from.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;

use crate::resp::number::I64_TEXT_LEN_MAX;

/// A member of a set. It is a byte string; one kept as an integer has its text made when it is read.
#[derive(Clone, Copy)]
pub enum Member<'a> {
    Bytes(&'a [u8]),
    Integer(Integer),
}

/// An integer with its text.
#[derive(Clone, Copy)]
pub struct Integer {
    value: i64,
    text: [u8; I64_TEXT_LEN_MAX],
    len: u8,
}

impl Integer {
    pub fn new(value: i64) -> Self {
        let (mut buffer, mut text) = (itoa::Buffer::new(), [0; I64_TEXT_LEN_MAX]);
        let digits = buffer.format(value).as_bytes();
        text[..digits.len()].copy_from_slice(digits);
        Self { value, text, len: digits.len() as u8 }
    }

    pub const fn value(&self) -> i64 {
        self.value
    }
}

impl Deref for Member<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Integer(integer) => &integer.text[..usize::from(integer.len)],
        }
    }
}

impl PartialEq for Member<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Member<'_> {}

impl PartialOrd for Member<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Member<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.escape_ascii())
    }
}

#[test]
fn integers_and_bytes_are_the_same_member_if_their_text_is() {
    for value in [0, -1, i64::MIN, i64::MAX] {
        let text = value.to_string();
        assert_eq!(Member::Integer(Integer::new(value)), Member::Bytes(text.as_bytes()));
    }
    assert!(Member::Integer(Integer::new(10)) < Member::Bytes(b"9"));
}
