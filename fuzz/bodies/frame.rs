//! Frame headers of any bytes: what decodes encodes to the same header, stays within the limits, and seals a frame in which no
//! flipped bit goes unnoticed.

use duramen::log::frame::{self, HEADER_LEN, Header, PAYLOAD_MAX, TRAILER_LEN};

const SALT: [u8; 16] = [7; 16];

/// The first byte chooses how much is put right before decoding, the second a bit to flip.
pub fn check(data: &[u8]) {
    let [mode, flip, rest @ ..] = data else { return };
    let mut head = [0; HEADER_LEN];
    let len = rest.len().min(HEADER_LEN);
    head[..len].copy_from_slice(&rest[..len]);
    if mode & 1 != 0 {
        head[..4].copy_from_slice(&frame::MAGIC);
        head[4..8].copy_from_slice(&[frame::VERSION as u8, 0, 0, 0]);
    }
    if mode & 2 != 0 {
        head[16..32].copy_from_slice(&SALT);
    }
    if mode & 4 != 0 {
        let crc_at = HEADER_LEN - 4;
        let crc = crc32fast::hash(&head[..crc_at]);
        head[crc_at..].copy_from_slice(&crc.to_le_bytes());
    }
    let Ok(header) = Header::decode(&head, &SALT) else { return };
    assert_eq!(Header::decode(&header.encode(), &SALT), Ok(header));
    assert!(header.payload_len as usize <= PAYLOAD_MAX && header.synced_through <= header.first_lsn);
    assert_eq!(header.end_lsn() - header.first_lsn, u64::from(header.payload_len));

    let payload = &rest[len..];
    let header = Header {
        payload_len: payload.len().min(PAYLOAD_MAX) as u32,
        first_lsn: header.first_lsn / 2,
        ..header
    };
    let header = Header { synced_through: header.synced_through.min(header.first_lsn), ..header };
    let mut sealed = vec![0; HEADER_LEN];
    sealed.extend_from_slice(payload);
    sealed.resize((sealed.len() + TRAILER_LEN).next_multiple_of(8), 0xaa);
    let crc = frame::seal(&mut sealed, &header);
    assert_eq!(frame::verify(&sealed, &header), Some(crc));
    let bits = (HEADER_LEN + payload.len() + TRAILER_LEN) * 8;
    let bit = usize::from(*flip) * 37 % bits;
    sealed[bit / 8] ^= 1 << (bit % 8);
    let head = sealed[..HEADER_LEN].try_into().expect("a sealed frame begins with a header");
    let unnoticed = Header::decode(head, &SALT).is_ok_and(|header| frame::verify(&sealed, &header).is_some());
    assert!(!unnoticed, "bit {bit} was flipped");
}

pub fn seeds() -> Vec<Vec<u8>> {
    let header = |first_lsn, synced_through, payload_len| Header {
        flags: frame::Flags::COMMIT,
        records: 1,
        salt: SALT,
        term: 1,
        first_lsn,
        wall_us: 1,
        synced_through,
        payload_len,
        previous_crc: 5,
    };
    let headers =
        [header(0, 0, 0), header(1000, 900, 5), header(u64::MAX - 5, 0, 5), header(9, 9, PAYLOAD_MAX as u32)];
    let inputs = headers.iter().flat_map(|header| [0, 7].map(|mode| (header.encode(), mode)));
    inputs.map(|(bytes, mode)| [&[mode, 99], &bytes[..], b"hello"].concat()).collect()
}
