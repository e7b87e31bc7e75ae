//! Damaged snapshot files: a small one is written, edited, its checksums put right on request, and read.
//!
//! Unharmed it gives back what was written. With edits that the checksums see, it is an error or the same rows. With right checksums
//! it may lie: then rows still come in ascending order, of the slots asked for, with whole ops, or an error names the damage.

use std::collections::BTreeMap;

use duramen::disk::sim::SimDisk;
use duramen::error::StoreError;
use duramen::keyspace::hash::KeyRef;
use duramen::keyspace::op::{Op, encode_bare};
use duramen::log::Seed;
use duramen::snapshot::header::{FileHeader, HEADER_LEN, Kind, path};
use duramen::snapshot::reader::FileReader;
use duramen::snapshot::rows::{Head, RowSink, RowSource};
use duramen::snapshot::writer::FileWriter;
use duramen::types::string::value::StringOp;

use super::choices::Choices;

const SEED: Seed = Seed(5);
const FRAME_LEN: usize = 16;
const FOOTER_LEN: usize = 64;

type Rows = BTreeMap<Head, Vec<Vec<u8>>>;

pub fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let rows = any_rows(&mut choices);
    let disk = SimDisk::new(1);
    let info = write(&disk, &rows, [0, 3][choices.below(2)]).expect("the disk has room");
    let written = disk.read_raw(&path(1)).expect("it was just written");
    let mut bytes = written.clone();
    let puts_right = choices.byte() & 1 != 0;
    for _ in 0..choices.below(4) {
        edit(&mut bytes, &mut choices);
    }
    if puts_right {
        put_right(&mut bytes);
    }
    disk.write_raw(&path(1), &bytes);
    let first = u16::from(choices.byte()) * 64;
    for slots in [0..=16383, first..=first.saturating_add(2000).min(16383)] {
        match read(&disk, slots.clone()) {
            Ok(found) => {
                assert!(found.keys().all(|head| slots.contains(&head.slot)), "a row of another slot");
                let expected: Rows =
                    rows.clone().into_iter().filter(|(head, _)| slots.contains(&head.slot)).collect();
                assert!(puts_right || found == expected, "other rows than were written");
            }
            Err(StoreError::Corruption(damage)) => {
                assert!(bytes != written, "an unharmed file is refused: {damage}");
                assert!(damage.offset <= bytes.len() as u64 || puts_right, "{damage}: not within the file");
            }
            Err(error) => panic!("not named as damage: {error}"),
        }
    }
    if let Ok(file) = FileReader::open(&disk, 1, (bytes == written).then_some(&info)) {
        let verified = file.verify(SEED);
        assert!(bytes != written || verified.is_ok(), "{verified:?}");
        assert!(bytes == written || puts_right || verified.is_err(), "damage goes unnoticed");
        for head in rows.keys() {
            if let Ok(found) = file.lookup(SEED, head) {
                assert!(found.head().is_none_or(|found| found == head));
            }
        }
    }
}

fn any_rows(choices: &mut Choices<'_>) -> Rows {
    let mut rows = Rows::new();
    for _ in 0..choices.below(8) {
        let space = u32::from(choices.byte() % 3);
        let len = choices.below(6);
        let key = choices.take(len).to_vec();
        let place = KeyRef::new(&key, SEED.0);
        let ops = (0..1 + choices.below(5)).map(|_| {
            let len = [5, 100, 30_000, 70_000][choices.below(4)];
            let mut op = Vec::new();
            encode_bare(&mut op, &Op::String(StringOp::Append { bytes: &vec![choices.byte(); len] }));
            op
        });
        let ops = ops.collect();
        rows.insert(Head { slot: place.slot, hash: place.hash, space, key }, ops);
    }
    rows
}

fn write(disk: &SimDisk, rows: &Rows, level: i32) -> Result<duramen::snapshot::footer::FileInfo, StoreError> {
    let header = FileHeader {
        kind: Kind::Delta,
        store_id: [3; 16],
        sequence: 1,
        first_slot: 0,
        last_slot: 16383,
        from_lsn: 5,
        through_lsn: 77,
        created_us: 1,
    };
    let mut writer = FileWriter::create(disk, &header, level)?;
    for (head, ops) in rows {
        writer.begin(head)?;
        ops.iter().try_for_each(|op| writer.op(op))?;
    }
    writer.finish()
}

fn read(disk: &SimDisk, slots: std::ops::RangeInclusive<u16>) -> Result<Rows, StoreError> {
    let mut rows = FileReader::open(disk, 1, None)?.rows(SEED, slots)?;
    let mut found = Rows::new();
    while let Some(head) = rows.head().cloned() {
        assert!(found.last_key_value().is_none_or(|(last, _)| *last < head), "rows out of order");
        let mut ops = Vec::new();
        while let Some(op) = rows.next_op()? {
            assert!(!op.is_empty());
            ops.push(op.to_vec());
        }
        assert!(!ops.is_empty(), "a row without ops");
        found.insert(head, ops);
        rows.advance()?;
    }
    Ok(found)
}

/// Small changes; places are taken among the bytes that mean something: not in the zeros of the header.
fn edit(bytes: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let how = choices.byte();
    let at = usize::from(choices.u16());
    let at = match how >> 4 & 3 {
        0 => at % 80,
        1 => bytes.len().saturating_sub(1 + at % 200),
        2 => HEADER_LEN + at % 40,
        _ => at * 7,
    };
    let at = at.min(bytes.len());
    match how % 5 {
        0 if at < bytes.len() => bytes[at] = choices.byte(),
        1 if at < bytes.len() => bytes[at] ^= 1 << (choices.byte() % 8),
        2 => bytes.truncate(at),
        3 => drop(bytes.splice(at..at, choices.take(4).iter().copied())),
        _ => drop(bytes.drain(at..(at + choices.below(20)).min(bytes.len()))),
    }
}

/// Makes every checksum the right one, as far as the lengths lead.
fn put_right(bytes: &mut [u8]) {
    let len = bytes.len();
    if len < HEADER_LEN + FOOTER_LEN {
        return;
    }
    let header_crc = crc32fast::hash(&bytes[..64]).to_le_bytes();
    bytes[64..68].copy_from_slice(&header_crc);
    let mut blocks_crc = crc32fast::Hasher::new();
    let (mut at, end) = (HEADER_LEN, len - FOOTER_LEN);
    while at + FRAME_LEN <= end {
        let stored = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
        let block_end = at.saturating_add(FRAME_LEN).saturating_add(stored).min(end);
        let payload = &bytes[at + FRAME_LEN..block_end];
        let crc = crc32fast::hash(&[&header_crc, &bytes[at..at + 12], payload].concat()).to_le_bytes();
        bytes[at + 12..at + FRAME_LEN].copy_from_slice(&crc);
        blocks_crc.update(&crc);
        at = block_end;
    }
    let footer = &mut bytes[end..];
    footer[48..52].copy_from_slice(&header_crc);
    footer[52..56].copy_from_slice(&blocks_crc.finalize().to_le_bytes());
    let crc = crc32fast::hash(&footer[..60]).to_le_bytes();
    footer[60..].copy_from_slice(&crc);
}

pub fn seeds() -> Vec<Vec<u8>> {
    // Three rows: of one op, of several, and over several blocks.
    let rows = [
        3, 0, 1, b'a', 0, 0, 1, 1, 2, b'b', b'c', 2, 0, 2, 1, 3, 0, 4, 2, 0, 4, 2, 5, 2, 6, 3, 7, 2, 8, 0, 9,
    ];
    let mut seeds = vec![Vec::new(), vec![1, 0, 0, 0, 0]];
    for level in [0, 1] {
        seeds.push([&rows[..], &[level]].concat());
        for puts_right in [0, 1] {
            for how in [0x00, 0x10, 0x20, 0x30, 0x01, 0x11, 0x21, 0x31, 0x12, 0x13, 0x23, 0x14, 0x24] {
                for at in [0u8, 4, 9, 12, 17, 18, 20, 33, 40, 60, 70] {
                    seeds.push([&rows[..], &[level, puts_right, 1, how, at, 0, 1, 2, 3, 4, 5]].concat());
                }
            }
        }
    }
    seeds
}
