//! DUMP's envelope around one value.
//!
//! ```text
//! payload = value | version u16 | CRC-64 of all before u64        little-endian
//! ```

use super::VERSION_OF_FIELD_EXPIRY;
use super::crc64::crc64;

const FOOTER: usize = 10;

/// Closes a payload that begins with its value.
pub fn seal(payload: &mut Vec<u8>, version: u16) {
    payload.extend_from_slice(&version.to_le_bytes());
    let sum = crc64(0, payload);
    payload.extend_from_slice(&sum.to_le_bytes());
}

/// The value of a payload, type first; `None` if its version is too new or its sum is wrong.
pub fn open(payload: &[u8]) -> Option<&[u8]> {
    let (value, footer) = payload.split_at_checked(payload.len().checked_sub(FOOTER)?)?;
    let (version, sum) = footer.split_first_chunk::<2>()?;
    let sum = u64::from_le_bytes(*sum.first_chunk::<8>()?);
    let is_known = u16::from_le_bytes(*version) <= VERSION_OF_FIELD_EXPIRY;
    (is_known && crc64(0, &payload[..payload.len() - 8]) == sum).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::VERSION;

    #[test]
    fn payloads_are_those_of_redis() {
        // `SET s v`, `DUMP s` in Redis 7.0.
        let mut payload = b"\x00\x01v".to_vec();
        seal(&mut payload, 10);
        assert_eq!(payload, b"\x00\x01v\n\x00\x91\x08\xce\xb2\x198\x8a\xce");
        assert_eq!(open(&payload), Some(&b"\x00\x01v"[..]));
    }

    #[test]
    fn any_changed_bit_and_a_newer_version_are_refused() {
        let mut payload = b"\x00\x01v".to_vec();
        seal(&mut payload, VERSION);
        for bit in 0..payload.len() * 8 {
            let mut damaged = payload.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&damaged), None, "bit {bit}");
        }
        for len in 0..payload.len() {
            assert_eq!(open(&payload[..len]), None);
        }
        let mut newer = b"\x00\x01v".to_vec();
        seal(&mut newer, VERSION_OF_FIELD_EXPIRY + 1);
        assert_eq!(open(&newer), None);
    }
}
