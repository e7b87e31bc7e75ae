//! Zipmaps: small hashes of Redis before 2.6. Read only.
//!
//! ```text
//! zipmap = fields u8 (254 and more: not counted) | fields | 0xff
//! field  = length | name | length | unused bytes u8 | value | unused bytes
//! length = u8 below 254, or 0xfe u32 little-endian
//! ```

use crate::codec::{Cursor, Malformed};

const END: u8 = 0xff;
const LONG: u8 = 0xfe;

/// Calls `visit` with each name and each value, in turns.
pub fn each(bytes: &[u8], visit: &mut dyn FnMut(&[u8]) -> Result<(), Malformed>) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(bytes);
    let counted = cursor.u8()?;
    let mut count = 0usize;
    loop {
        let head = cursor.u8()?;
        if head == END {
            break;
        }
        let len = length(head, &mut cursor)?;
        visit(cursor.take(len)?)?;
        let head = cursor.u8()?;
        if head == END {
            return Err(Malformed("a field of a zipmap without a value"));
        }
        let len = length(head, &mut cursor)?;
        let unused = usize::from(cursor.u8()?);
        visit(cursor.take(len)?)?;
        cursor.take(unused)?;
        count += 1;
    }
    if counted < LONG && usize::from(counted) != count {
        return Err(Malformed("a zipmap with another number of fields than it says"));
    }
    cursor.finish()
}

fn length(head: u8, cursor: &mut Cursor<'_>) -> Result<usize, Malformed> {
    if head == LONG { Ok(cursor.u32()? as usize) } else { Ok(usize::from(head)) }
}
