//! A byte string as readers of a collection see it, wherever it comes from.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;

use crate::resp::number::I64_TEXT_LEN_MAX;

/// A byte string of a collection; one kept as an integer has its text made when it is read.
#[derive(Clone, Copy)]
pub enum Text<'a> {
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

impl Deref for Text<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Integer(integer) => &integer.text[..usize::from(integer.len)],
        }
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.escape_ascii())
    }
}

#[test]
fn integers_and_bytes_are_equal_if_their_text_is() {
    for value in [0, -1, i64::MIN, i64::MAX] {
        let text = value.to_string();
        assert_eq!(Text::Integer(Integer::new(value)), Text::Bytes(text.as_bytes()));
    }
    assert!(Text::Integer(Integer::new(10)) < Text::Bytes(b"9"));
}
