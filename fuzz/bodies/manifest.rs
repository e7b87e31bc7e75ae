//! Manifests of any bytes, as one copy or both, in front of a real log.
//!
//! What decodes encodes to the same manifest. One copy beyond decoding costs nothing; with both so, the store is refused. A
//! manifest with a right checksum may lie: even then no record comes out that was not appended, or not behind its predecessor.

use duramen::codec::Malformed;
use duramen::log::Policy;
use duramen::log::manifest::{COPIES, Manifest};

use super::choices::Choices;
use super::store::{self, Written};

/// How the log before the damage is made: a restart, two segments, a torn-free end.
const LOG: &[u8] = &[0, 6, 0x13, 40, 0x13, 200, 0xf3, 30, 0x11, 200, 0x8b, 7, 0xb3, 5, 0x13, 60, 1];

pub fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let how = choices.byte();
    let Written { disk, bodies, clock } = store::write(&mut Choices::new(LOG));
    let original = disk.read_raw(COPIES[0]).expect("the log has a manifest");
    let mut bytes = if how & 1 == 0 { Vec::new() } else { edited(original, &mut choices) };
    if how & 1 == 0 {
        bytes.extend_from_slice(choices.rest());
    }
    if how & 2 != 0 {
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    }
    let decoded = Manifest::decode(&bytes);
    if let Ok(manifest) = &decoded {
        assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(manifest));
        assert!(manifest.encode().len() <= bytes.len(), "what decodes is no larger than its bytes");
    }
    let both = how & 4 != 0;
    disk.write_raw(COPIES[usize::from(how & 8 != 0)], &bytes);
    if both {
        disk.write_raw(COPIES[usize::from(how & 8 == 0)], &bytes);
    }
    let opened = store::open(&disk, &clock, Policy::Always);
    match (decoded, opened) {
        (Err(Malformed(_)), Ok(found)) if !both => {
            assert_eq!(found.bodies, bodies, "one good copy is enough")
        }
        (Err(Malformed(why)), Ok(_)) => panic!("opened without a manifest ({why})"),
        (Err(Malformed(_)), Err(error)) => {
            assert!(both, "one good copy is enough: {error}");
            store::assert_names_the_damage(&error, &disk);
        }
        (Ok(_), Ok(found)) => {
            let is_run = bodies.windows(found.bodies.len().max(1)).any(|run| run == found.bodies);
            assert!(
                found.bodies.is_empty() || is_run,
                "records that were not appended, or not in this order"
            );
        }
        (Ok(_), Err(error)) => assert!(!error.to_string().is_empty()),
    }
}

fn edited(mut bytes: Vec<u8>, choices: &mut Choices<'_>) -> Vec<u8> {
    // Without the checksum: it is put back where the input says so.
    bytes.truncate(bytes.len() - 4);
    for _ in 0..1 + choices.below(3) {
        let at = choices.below(bytes.len().max(1));
        match choices.byte() % 4 {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = choices.byte();
                }
            }
            1 => bytes.truncate(at),
            2 => {
                let new = choices.take(8);
                bytes.splice(at.min(bytes.len())..at.min(bytes.len()), new.iter().copied());
            }
            _ => {
                let end = (at + usize::from(choices.byte())).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
        }
    }
    bytes
}

pub fn seeds() -> Vec<Vec<u8>> {
    let disk = store::write(&mut Choices::new(LOG)).disk;
    let whole = disk.read_raw(COPIES[0]).expect("the log has a manifest");
    let mut seeds = vec![Vec::new(), vec![4], vec![2]];
    seeds.push([&[0u8], &whole[..]].concat());
    seeds.push([&[6u8], &whole[..whole.len() - 4]].concat());
    for how in [1, 3, 5, 7, 11] {
        for at in [8, 16, 24, 40, 48, 56, 60, 64, 90, 110, 130, 150] {
            seeds.push(vec![how, 0, at, 0, 0, 1]);
        }
    }
    seeds
}
