//! Listpacks: Redis' small collections in one string, as of version 10.
//!
//! ```text
//! listpack = bytes in all u32 | elements u16 (65535: not counted) | elements | 0xff        little-endian
//! element  = head | rest of it | length of both, as it is read backwards
//! head     = 0nnnnnnn integer | 10nnnnnn string | 110nnnnn n8 integer of 13 bits | 1110nnnn n8 string
//!            0xf0 n32 string | 0xf1 i16 | 0xf2 i24 | 0xf3 i32 | 0xf4 i64
//! ```

use crate::codec::{Cursor, Malformed};
use crate::resp::number::parse_i64;

const HEADER: usize = 6;
const END: u8 = 0xff;
const NOT_COUNTED: u16 = u16::MAX;

/// Calls `visit` with each element, integers as their digits.
pub fn each(bytes: &[u8], visit: &mut dyn FnMut(&[u8]) -> Result<(), Malformed>) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(bytes);
    let (total, counted) = (cursor.u32()?, cursor.u16()?);
    if total as usize != bytes.len() {
        return Err(Malformed("a listpack of another size than it says"));
    }
    let mut count = 0usize;
    let mut digits = itoa::Buffer::new();
    loop {
        let start = cursor.rest();
        let head = cursor.u8()?;
        if head == END {
            break;
        }
        match element(head, &mut cursor)? {
            Element::String(string) => visit(string)?,
            Element::Integer(value) => visit(digits.format(value).as_bytes())?,
        }
        let len = start.len() - cursor.rest().len();
        let back = BackLen::of(len);
        if cursor.take(back.bytes().len())? != back.bytes() {
            return Err(Malformed("an element of a listpack has another length backwards"));
        }
        count += 1;
    }
    if counted != NOT_COUNTED && usize::from(counted) != count {
        return Err(Malformed("a listpack with another number of elements than it says"));
    }
    cursor.finish()
}

enum Element<'a> {
    String(&'a [u8]),
    Integer(i64),
}

fn element<'a>(head: u8, cursor: &mut Cursor<'a>) -> Result<Element<'a>, Malformed> {
    let string = |cursor: &mut Cursor<'a>, len: usize| cursor.take(len).map(Element::String);
    let integer = |value: i64| Ok(Element::Integer(value));
    match head {
        0..0x80 => integer(i64::from(head)),
        0x80..0xc0 => string(cursor, usize::from(head & 0x3f)),
        0xc0..0xe0 => {
            let raw = i64::from(head & 0x1f) << 8 | i64::from(cursor.u8()?);
            integer(if raw >= 1 << 12 { raw - (1 << 13) } else { raw })
        }
        0xe0..0xf0 => {
            let len = usize::from(head & 0xf) << 8 | usize::from(cursor.u8()?);
            string(cursor, len)
        }
        0xf0 => {
            let len = cursor.u32()? as usize;
            string(cursor, len)
        }
        0xf1 => integer(i64::from(cursor.u16()? as i16)),
        0xf2 => {
            let [a, b, c] = cursor.array()?;
            integer(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8))
        }
        0xf3 => integer(i64::from(cursor.u32()? as i32)),
        0xf4 => integer(cursor.u64()? as i64),
        _ => Err(Malformed("unknown element of a listpack")),
    }
}

/// The length behind an element: seven bits a byte, highest first, the top bit set on all but the first.
struct BackLen {
    bytes: [u8; 5],
    len: usize,
}

impl BackLen {
    /// The limits are those of Redis: the longest form is used a little early.
    fn of(len: usize) -> Self {
        let count = match len {
            ..128 => 1,
            128..16_383 => 2,
            16_383..2_097_151 => 3,
            2_097_151..268_435_455 => 4,
            _ => 5,
        };
        let mut bytes = [0; 5];
        for (at, byte) in bytes[..count].iter_mut().enumerate() {
            let bits = (len >> (7 * (count - 1 - at))) as u8 & 0x7f;
            *byte = if at == 0 { bits } else { bits | 0x80 };
        }
        Self { bytes, len: count }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A listpack being written.
pub struct Writer {
    bytes: Vec<u8>,
    count: usize,
}

impl Writer {
    pub fn new() -> Self {
        Self { bytes: vec![0; HEADER], count: 0 }
    }

    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn push(&mut self, element: &[u8]) {
        match parse_i64(element) {
            Some(value) => self.push_integer(value),
            None => {
                let start = self.bytes.len();
                self.put_string(element);
                self.close_element(start);
            }
        }
    }

    pub fn push_integer(&mut self, value: i64) {
        let start = self.bytes.len();
        self.put_integer(value);
        self.close_element(start);
    }

    fn close_element(&mut self, start: usize) {
        let back = BackLen::of(self.bytes.len() - start);
        self.bytes.extend_from_slice(back.bytes());
        self.count += 1;
    }

    fn put_integer(&mut self, value: i64) {
        let out = &mut self.bytes;
        let bytes = value.to_le_bytes();
        match value {
            0..128 => out.push(value as u8),
            -4096..4096 => {
                let raw = (value & 0x1fff) as u16 | 0xc000;
                out.extend_from_slice(&raw.to_be_bytes());
            }
            -0x8000..0x8000 => {
                out.push(0xf1);
                out.extend_from_slice(&bytes[..2]);
            }
            -0x80_0000..0x80_0000 => {
                out.push(0xf2);
                out.extend_from_slice(&bytes[..3]);
            }
            -0x8000_0000..0x8000_0000 => {
                out.push(0xf3);
                out.extend_from_slice(&bytes[..4]);
            }
            _ => {
                out.push(0xf4);
                out.extend_from_slice(&bytes);
            }
        }
    }

    fn put_string(&mut self, string: &[u8]) {
        let out = &mut self.bytes;
        match string.len() {
            len @ ..64 => out.push(len as u8 | 0x80),
            len @ ..4096 => out.extend_from_slice(&(len as u16 | 0xe000).to_be_bytes()),
            len => {
                out.push(0xf0);
                out.extend_from_slice(&(len as u32).to_le_bytes());
            }
        }
        out.extend_from_slice(string);
    }

    /// The listpack. The writer is empty again.
    pub fn finish(&mut self) -> Vec<u8> {
        self.bytes.push(END);
        let total = (self.bytes.len() as u32).to_le_bytes();
        let count = u16::try_from(self.count).unwrap_or(NOT_COUNTED).to_le_bytes();
        self.bytes[..4].copy_from_slice(&total);
        self.bytes[4..HEADER].copy_from_slice(&count);
        std::mem::replace(self, Self::new()).bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
        let mut found = Vec::new();
        each(bytes, &mut |element| {
            found.push(element.to_vec());
            Ok(())
        })?;
        Ok(found)
    }

    fn written(elements: &[Vec<u8>]) -> Vec<u8> {
        let mut writer = Writer::new();
        elements.iter().for_each(|element| writer.push(element));
        writer.finish()
    }

    fn element() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<Vec<u8>>(),
            (any::<i64>(), 0u32..64).prop_map(|(value, shift)| (value >> shift).to_string().into_bytes()),
            (0usize..20_000).prop_map(|len| vec![b'x'; len]),
        ]
    }

    proptest! {
        #[test]
        fn elements_are_read_back(elements in proptest::collection::vec(element(), 0..20)) {
            prop_assert_eq!(read(&written(&elements)), Ok(elements));
        }

        #[test]
        fn any_bytes_are_elements_or_malformed(bytes in any::<Vec<u8>>(), sized in any::<bool>()) {
            let mut bytes = bytes;
            if sized && bytes.len() > HEADER {
                let len = (bytes.len() as u32).to_le_bytes();
                bytes[..4].copy_from_slice(&len);
                bytes[4..6].copy_from_slice(&[0xff, 0xff]);
            }
            let _ = read(&bytes);
        }
    }

    #[test]
    fn the_bytes_are_those_of_redis() {
        let elements = [b"f".to_vec(), b"v".to_vec(), b"n".to_vec(), b"7".to_vec()];
        assert_eq!(written(&elements), b"\x12\0\0\0\x04\0\x81f\x02\x81v\x02\x81n\x02\x07\x01\xff");
    }

    #[test]
    fn lengths_backwards_take_as_many_bytes_as_in_redis() {
        for (len, bytes) in [(127, 1), (128, 2), (16_382, 2), (16_383, 3), (2_097_150, 3), (2_097_151, 4)] {
            assert_eq!(BackLen::of(len).bytes().len(), bytes, "{len}");
        }
    }

    #[test]
    fn more_elements_than_are_counted_are_read() {
        let elements = vec![b"1".to_vec(); 70_000];
        assert_eq!(read(&written(&elements)).map(|found| found.len()), Ok(70_000));
    }
}
