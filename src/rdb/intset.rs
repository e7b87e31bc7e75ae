//! A small set of integers.
//!
//! ```text
//! intset = width u32 (2, 4 or 8) | count u32 | count integers, ascending        little-endian
//! ```

use crate::codec::{Cursor, Malformed};

/// Calls `visit` with each, in order.
pub fn each(bytes: &[u8], visit: &mut dyn FnMut(&[u8]) -> Result<(), Malformed>) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(bytes);
    let (width, count) = (cursor.u32()?, cursor.u32()? as usize);
    if ![2, 4, 8].contains(&width) || Some(cursor.rest().len()) != count.checked_mul(width as usize) {
        return Err(Malformed("an intset of another size than it says"));
    }
    let mut before = None;
    let mut digits = itoa::Buffer::new();
    while !cursor.is_empty() {
        let value = match width {
            2 => i64::from(cursor.u16()? as i16),
            4 => i64::from(cursor.u32()? as i32),
            _ => cursor.u64()? as i64,
        };
        if before.is_some_and(|before| before >= value) {
            return Err(Malformed("an intset that is not in order"));
        }
        before = Some(value);
        visit(digits.format(value).as_bytes())?;
    }
    Ok(())
}

/// Appends an intset of integers, each once.
pub fn put(out: &mut Vec<u8>, values: &mut [i64]) {
    values.sort_unstable();
    let fits = |width: u32| {
        let bits = width * 8 - 1;
        values.iter().all(|value| value >> bits == 0 || value >> bits == -1)
    };
    let width = [2, 4].into_iter().find(|width| fits(*width)).unwrap_or(8);
    out.extend_from_slice(&width.to_le_bytes());
    out.extend_from_slice(&(values.len() as u32).to_le_bytes());
    values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()[..width as usize]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_come_back_in_order(values in proptest::collection::btree_set(any::<i64>(), 0..20), shift in 0u32..64) {
            let mut values: Vec<i64> = values.into_iter().map(|value| value >> shift).collect();
            values.sort_unstable();
            values.dedup();
            let mut out = Vec::new();
            let mut shuffled: Vec<i64> = values.iter().rev().copied().collect();
            put(&mut out, &mut shuffled);
            let mut found = Vec::new();
            each(&out, &mut |text| {
                found.push(String::from_utf8_lossy(text).parse::<i64>().unwrap());
                Ok(())
            }).unwrap();
            prop_assert_eq!(found, values);
        }
    }

    #[test]
    fn widths_are_the_smallest() {
        for (value, width) in
            [(0, 2), (32767, 2), (-32768, 2), (32768, 4), (-32769, 4), (i64::from(i32::MIN), 4), (1 << 31, 8)]
        {
            let mut out = Vec::new();
            put(&mut out, &mut [value]);
            assert_eq!(out[0], width, "{value}");
        }
    }

    #[test]
    fn what_redis_writes_is_read() {
        let bytes = b"\x04\0\0\0\x04\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\xe0\x93\x04\0";
        let mut found = Vec::new();
        each(bytes, &mut |text| {
            found.push(text.to_vec());
            Ok(())
        })
        .unwrap();
        assert_eq!(found, [&b"1"[..], b"2", b"3", b"300000"]);
        let mut out = Vec::new();
        put(&mut out, &mut [300_000, 1, 3, 2]);
        assert_eq!(out, bytes);
    }
}
