//! Damaged segments: a small real log is written, its segment files are edited, and it is opened again.
//!
//! The outcome is a prefix of what was appended or a refusal that names the damage; where an intact frame header witnesses that
//! more was synced than is left, it is the refusal. What opened once opens again with the same records, and takes new ones.

use duramen::codec::varint_len;
use duramen::disk::sim::SimDisk;
use duramen::log::Policy;

use super::choices::Choices;
use super::store::{self, Written};

pub fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let Written { disk, bodies, clock } = store::write(&mut choices);
    let untouched = fingerprint(&disk);
    for _ in 0..choices.below(4) {
        edit(&disk, &mut choices);
    }
    let is_untouched = fingerprint(&disk) == untouched;
    let witnessed = store::witnessed(&disk);
    let before = fingerprint(&disk);
    let found = match store::open(&disk, &clock, Policy::Always) {
        Ok(found) => found,
        Err(error) => {
            assert!(!is_untouched, "an unharmed log is refused: {error}");
            store::assert_names_the_damage(&error, &disk);
            assert_eq!(fingerprint(&disk), before, "a refusal changes nothing: {error}");
            return;
        }
    };
    assert!(bodies.starts_with(&found.bodies), "records that were not appended, or not in this place");
    // Of a long record the first pieces may be synced when its last is not: it is as if it had never been.
    let ends = bodies.iter().scan(0, |end, body| {
        *end += (varint_len(body.len() as u64) + body.len()) as u64;
        Some(*end)
    });
    let owed = ends.take_while(|end| *end <= witnessed).last().unwrap_or(0);
    assert!(
        found.report.end_lsn >= owed,
        "recovered through LSN {}; a frame says that LSN {witnessed} was synced, and a record ends at {owed}",
        found.report.end_lsn
    );
    if is_untouched {
        assert_eq!(
            (found.bodies.len(), &found.report.torn),
            (bodies.len(), &None),
            "an unharmed log is whole"
        );
    }
    if let Some(torn) = &found.report.torn {
        let len = disk.read_raw(&torn.file).unwrap_or_else(|| panic!("{torn:?}: no such file")).len() as u64;
        assert!(torn.bytes > 0 && torn.offset < len, "{torn:?} in a file of {len} bytes");
    }
    // It goes on from here.
    let mut expected = found.bodies;
    expected.push(b"one more".to_vec());
    found.log.append(b"one more");
    found.log.flush_tick(true);
    while found.log.step() {}
    drop(found.log);
    let again = store::open(&disk.kill(), &clock, Policy::Always).expect("what opened once opens again");
    assert!(again.bodies == expected && again.report.torn.is_none(), "the second start finds something else");
}

fn fingerprint(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let files = disk.files().into_iter().filter(|path| path != "LOCK");
    files.map(|path| (path.clone(), disk.read_raw(&path).expect("the disk listed it"))).collect()
}

/// One edit of one segment file. Places are chosen behind the segment header, near where frames are, in small steps.
fn edit(disk: &SimDisk, choices: &mut Choices<'_>) {
    let segments: Vec<String> = disk.files().into_iter().filter(|path| path.ends_with(".log")).collect();
    let path = &segments[choices.below(segments.len())];
    let mut bytes = disk.read_raw(path).expect("the disk listed it");
    let kind = choices.byte();
    let used = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    // Mostly among the frames; now and then in the header, or beyond the end.
    let from = match kind >> 6 {
        0 => choices.below(128),
        _ => 4096 + choices.below((used + 64).saturating_sub(4096).max(1)),
    };
    let from = from.min(bytes.len());
    let len = usize::from(choices.byte()).min(bytes.len() - from);
    match kind % 8 {
        0 => {
            let new = choices.take(len);
            bytes[from..from + new.len()].copy_from_slice(new);
        }
        1 => bytes.truncate(from),
        2 => bytes[from..from + len].fill(0),
        3 => bytes[from..].fill(0),
        4 => {
            if let Some(byte) = bytes.get_mut(from) {
                *byte ^= 1 << (len % 8);
            }
        }
        5 => swap_blocks(&mut bytes, from, choices),
        6 => {
            let block = bytes[from..from + len].to_vec();
            let to = 4096 + choices.below(bytes.len().saturating_sub(4096 + len).max(1));
            if let Some(target) = bytes.get_mut(to..to + len) {
                target.copy_from_slice(&block);
            }
        }
        // Frames of another segment in this place.
        _ => {
            let other = disk.read_raw(&segments[choices.below(segments.len())]).expect("the disk listed it");
            let end = other.len().min(bytes.len()).min(from + 16 * len);
            if from < end {
                bytes[from..end].copy_from_slice(&other[from..end]);
            }
        }
    }
    disk.write_raw(path, &bytes);
}

fn swap_blocks(bytes: &mut [u8], from: usize, choices: &mut Choices<'_>) {
    let size = [8, 64, 512, 4096][choices.below(4)];
    let (a, b) = (from / size * size, choices.below(bytes.len().max(1)) / size * size);
    if a != b && a.max(b) + size <= bytes.len() {
        let (low, high) = bytes.split_at_mut(a.max(b));
        low[a.min(b)..a.min(b) + size].swap_with_slice(&mut high[..size]);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![Vec::new(), vec![0, 3, 3, 9, 3, 9, 3, 9, 3, 9, 1]];
    for policy in 0..3 {
        // Small records, a large one in pieces, a restart; then each kind of edit.
        let log = [policy, 6, 0x13, 40, 0x13, 200, 0xf3, 30, 0x10, 0x8b, 7, 0xb3, 5, 0x13, 60, 1];
        for kind in 0..8 {
            for place in [0u16, 90, 400] {
                let mut seed = log.to_vec();
                seed.extend([1, kind, kind | 0x40, place as u8, (place >> 8) as u8, 33, 1, 2, 3, 4, 5]);
                seeds.push(seed);
            }
        }
    }
    seeds
}
