//! Ziplists: what listpacks replaced in version 10. Read only.
//!
//! ```text
//! ziplist = bytes in all u32 | offset of the last element u32 | elements u16 (65535: not counted) | elements | 0xff
//! element = length of the one before: u8, or 0xfe u32 | head | rest                     little-endian
//! head    = 00nnnnnn string | 01nnnnnn n8 string | 0x80 n32 string (these two big-endian)
//!           0xc0 i16 | 0xd0 i32 | 0xe0 i64 | 0xf0 i24 | 0xfe i8 | 0xf1..=0xfd the integers 0 to 12
//! ```

use crate::codec::{Cursor, Malformed};

const HEADER: usize = 10;
const END: u8 = 0xff;
const NOT_COUNTED: u16 = u16::MAX;

/// Calls `visit` with each element, integers as their digits.
pub fn each(bytes: &[u8], visit: &mut dyn FnMut(&[u8]) -> Result<(), Malformed>) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(bytes);
    let (total, last, counted) = (cursor.u32()?, cursor.u32()?, cursor.u16()?);
    if total as usize != bytes.len() {
        return Err(Malformed("a ziplist of another size than it says"));
    }
    let (mut count, mut before, mut last_at) = (0usize, 0, HEADER);
    let mut digits = itoa::Buffer::new();
    loop {
        let start = cursor.rest();
        let mut len_before = usize::from(cursor.u8()?);
        if len_before == usize::from(END) {
            break;
        }
        if len_before == 0xfe {
            len_before = cursor.u32()? as usize;
        }
        if len_before != before {
            return Err(Malformed("an element of a ziplist has another length before it"));
        }
        match element(&mut cursor)? {
            Element::String(string) => visit(string)?,
            Element::Integer(value) => visit(digits.format(value).as_bytes())?,
        }
        last_at = bytes.len() - start.len();
        before = start.len() - cursor.rest().len();
        count += 1;
    }
    if last as usize != last_at || (counted != NOT_COUNTED && usize::from(counted) != count) {
        return Err(Malformed("a ziplist whose header does not fit its elements"));
    }
    cursor.finish()
}

enum Element<'a> {
    String(&'a [u8]),
    Integer(i64),
}

fn element<'a>(cursor: &mut Cursor<'a>) -> Result<Element<'a>, Malformed> {
    let head = cursor.u8()?;
    let len = match head {
        0..0x40 => usize::from(head),
        0x40..0x80 => usize::from(head & 0x3f) << 8 | usize::from(cursor.u8()?),
        0x80 => u32::from_be_bytes(cursor.array()?) as usize,
        _ => return integer(head, cursor).map(Element::Integer),
    };
    cursor.take(len).map(Element::String)
}

fn integer(head: u8, cursor: &mut Cursor<'_>) -> Result<i64, Malformed> {
    Ok(match head {
        0xc0 => i64::from(cursor.u16()? as i16),
        0xd0 => i64::from(cursor.u32()? as i32),
        0xe0 => cursor.u64()? as i64,
        0xf0 => {
            let [a, b, c] = cursor.array()?;
            i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)
        }
        0xfe => i64::from(cursor.u8()? as i8),
        0xf1..=0xfd => i64::from(head & 0xf) - 1,
        _ => return Err(Malformed("unknown element of a ziplist")),
    })
}
