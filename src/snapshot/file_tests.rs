//! A snapshot file holds the rows it was given, or is an error.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use proptest::prelude::*;

use crate::disk::prng::Prng;
use crate::disk::sim::{CrashStyle, Fault, OpKind};
use crate::disk::{Disk, SimDisk};
use crate::error::StoreError;
use crate::keyspace::hash::KeyRef;
use crate::keyspace::op::{Op, encode_bare};
use crate::log::Seed;
use crate::types::string::value::StringOp;

use super::block::RAW_MAX;
use super::footer::FileInfo;
use super::header::{FileHeader, HEADER_LEN, Kind, path};
use super::reader::{FileReader, FileRows};
use super::rows::{Head, RowSink, RowSource};
use super::slot_rows::SlotRows;
use super::writer::FileWriter;

const SEED: Seed = Seed(77);
const ALL: RangeInclusive<u16> = 0..=16383;

type Rows = BTreeMap<Head, Vec<Vec<u8>>>;

fn header(sequence: u64) -> FileHeader {
    FileHeader {
        kind: Kind::Base,
        store_id: [7; 16],
        sequence,
        first_slot: 0,
        last_slot: 16383,
        from_lsn: 3,
        through_lsn: 900,
        created_us: 12,
    }
}

fn head(space: u32, key: &[u8]) -> Head {
    let place = KeyRef::new(key, SEED.0);
    Head { slot: place.slot, hash: place.hash, space, key: key.to_vec() }
}

fn append(bytes: &[u8]) -> Vec<u8> {
    let mut op = Vec::new();
    encode_bare(&mut op, &Op::String(StringOp::Append { bytes }));
    op
}

fn write(disk: &dyn Disk, sequence: u64, rows: &Rows, level: i32) -> Result<FileInfo, StoreError> {
    let mut writer = FileWriter::create(disk, &header(sequence), level)?;
    for (head, ops) in rows {
        writer.begin(head)?;
        for op in ops {
            writer.op(op)?;
        }
    }
    writer.finish()
}

fn read(mut rows: FileRows) -> Result<Rows, StoreError> {
    let mut found = Rows::new();
    while let Some(head) = rows.head().cloned() {
        let mut ops = Vec::new();
        while let Some(op) = rows.next_op()? {
            ops.push(op.to_vec());
        }
        assert!(rows.next_op()?.is_none());
        assert!(found.last_key_value().is_none_or(|(last, _)| *last < head));
        found.insert(head, ops);
        rows.advance()?;
    }
    Ok(found)
}

/// As [`read`], slot by slot. Returns how many rows lay together, too.
fn read_by_slot(rows: FileRows) -> Result<(Rows, usize), StoreError> {
    let mut rows = SlotRows::new(rows)?;
    let (mut found, mut gathered) = (Rows::new(), 0);
    while let Some(slot) = rows.slot() {
        let before = found.len();
        let batch = rows.gathered(slot);
        if batch.is_empty() {
            let mut one = None;
            rows.take_one(&mut |head, op, is_first| {
                assert!(head.slot == slot && is_first == one.is_none());
                one.get_or_insert((head.clone(), Vec::new())).1.push(op.to_vec());
                Ok(())
            })?;
            found.extend(one);
        } else {
            for ((space, key, ops), place) in batch.rows().zip(batch.places()) {
                assert_eq!((key.slot, (space, key.hash)), (slot, place));
                let head = Head { slot, hash: key.hash, space, key: key.bytes.to_vec() };
                assert!(found.last_key_value().is_none_or(|(last, _)| *last < head));
                found.insert(head, ops.map(|op| op.unwrap().to_vec()).collect());
            }
            gathered += batch.len();
            rows.pass(slot)?;
        }
        assert!(found.len() > before);
    }
    Ok((found, gathered))
}

/// All rows, read in both ways.
fn read_all(disk: &dyn Disk, sequence: u64, expect: Option<&FileInfo>) -> Result<Rows, StoreError> {
    let file = FileReader::open(disk, sequence, expect)?;
    let found = read(file.rows(SEED, ALL)?);
    let by_slot = file.rows(SEED, ALL).and_then(read_by_slot);
    match (&found, &by_slot) {
        (Ok(found), Ok((by_slot, _))) => assert!(found == by_slot),
        (found, by_slot) => assert_eq!(found.is_err(), by_slot.is_err()),
    }
    found
}

fn within(rows: &Rows, slots: &RangeInclusive<u16>) -> Rows {
    rows.iter().filter(|(head, _)| slots.contains(&head.slot)).map(|(h, o)| (h.clone(), o.clone())).collect()
}

fn heads_alone(file: &Arc<FileReader>) -> Vec<Head> {
    let mut rows = file.rows(SEED, ALL).unwrap();
    let mut heads = Vec::new();
    while let Some(head) = rows.head() {
        heads.push(head.clone());
        // Of some rows one op is looked at, of the others none.
        if head.hash.is_multiple_of(2) {
            rows.next_op().unwrap();
        }
        rows.advance().unwrap();
    }
    heads
}

/// Rows of everything that matters: empty keys, long ones, ops that need a block of their own, rows over several blocks.
fn any_rows() -> impl Strategy<Value = Rows> {
    let key = prop_oneof![
        6 => prop::collection::vec(b'a'..b'e', 0..4),
        3 => prop::collection::vec(any::<u8>(), 0..80),
        1 => (60_000..70_000usize).prop_map(|len| vec![b'k'; len]),
    ];
    let len = prop_oneof![8 => 0..50usize, 2 => 20_000..40_000usize, 1 => 60_000..140_000usize];
    let ops = prop::collection::vec((len, any::<u8>()), 1..12);
    let row = (prop_oneof![0..3u32, any::<u32>()], key, ops, any::<bool>());
    prop::collection::vec(row, 0..25).prop_map(|rows| {
        let mut prng = Prng::new(1);
        let ops = |ops: Vec<(usize, u8)>, noise: bool, prng: &mut Prng| {
            let fill = |byte: u8, prng: &mut Prng| if noise { prng.below(256) as u8 } else { byte };
            let op = |(len, byte)| append(&(0..len).map(|_| fill(byte, prng)).collect::<Vec<u8>>());
            ops.into_iter().map(op).collect()
        };
        rows.into_iter().map(|(space, key, o, noise)| (head(space, &key), ops(o, noise, &mut prng))).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_is_written_is_read_back_whole_by_range_and_by_key(
        rows in any_rows(),
        level in prop::sample::select(vec![0, 1, 3]),
        bounds in (0..16384u16, 0..16384u16),
    ) {
        let disk = SimDisk::new(1);
        let info = write(&disk, 4, &rows, level).unwrap();
        prop_assert_eq!(info.rows, rows.len() as u64);
        prop_assert_eq!(info.ops, rows.values().map(|ops| ops.len() as u64).sum::<u64>());
        let file = FileReader::open(&disk, 4, Some(&info)).unwrap();
        prop_assert_eq!((*file.header(), file.info()), (header(4), info));
        file.verify(SEED).unwrap();
        prop_assert!(read(file.rows(SEED, ALL).unwrap()).unwrap() == rows);
        prop_assert!(heads_alone(&file).iter().eq(rows.keys()));
        let mut ranges = vec![bounds.0.min(bounds.1)..=bounds.0.max(bounds.1)];
        ranges.extend(rows.keys().flat_map(|head| [head.slot..=head.slot, head.slot..=16383, 0..=head.slot]));
        for slots in ranges {
            prop_assert!(read(file.rows(SEED, slots.clone()).unwrap()).unwrap() == within(&rows, &slots));
            let (found, _) = read_by_slot(file.rows(SEED, slots.clone()).unwrap()).unwrap();
            prop_assert!(found == within(&rows, &slots));
        }
        let mut roaming = file.rows(SEED, 0..=0).unwrap();
        for (key, ops) in &rows {
            let one = Rows::from([(key.clone(), ops.clone())]);
            prop_assert!(read(file.lookup(SEED, key).unwrap()).unwrap() == one);
            prop_assert!(roaming.seek(key).unwrap() && roaming.head() == Some(key));
            let absent = Head { space: key.space ^ 0x100, ..key.clone() };
            if !rows.contains_key(&absent) {
                let mut none = file.lookup(SEED, &absent).unwrap();
                prop_assert!(none.head().is_none());
                none.advance().unwrap();
                prop_assert!(none.head().is_none());
            }
        }
    }
}

#[test]
fn many_rows_make_many_blocks_of_at_most_64_kib() {
    let mut prng = Prng::new(5);
    let mut value = || append(&(0..100).map(|_| prng.below(256) as u8).collect::<Vec<u8>>());
    let rows: Rows = (0..8_000).map(|i| (head(0, format!("key:{i}").as_bytes()), vec![value()])).collect();
    let disk = SimDisk::new(1);
    let mut paced = 0;
    let mut pace = |bytes| {
        paced += bytes;
        Ok(())
    };
    let mut writer = FileWriter::create(&disk, &header(1), 1).unwrap().paced(&mut pace);
    for (head, ops) in &rows {
        writer.begin(head).unwrap();
        writer.op(&ops[0]).unwrap();
    }
    let info = writer.finish().unwrap();
    let file = FileReader::open(&disk, 1, Some(&info)).unwrap();
    assert!(file.index().len() as u64 >= info.raw_bytes / RAW_MAX as u64 && file.index().len() > 10);
    let last = file.index().last().unwrap().offset;
    assert!(paced >= last - HEADER_LEN as u64 && paced < info.bytes);
    assert_eq!(info.bytes, disk.read_raw(&path(1)).unwrap().len() as u64);
    // An RDB file has 4 bytes a key beside its bytes.
    let rdb: u64 = rows.keys().map(|head| head.key.len() as u64 + 104).sum();
    assert!(info.bytes < rdb, "{} bytes, {rdb} in an RDB file", info.bytes);
    for slots in [0..=0, 0..=255, 100..=100, 5000..=9000, 16383..=16383, ALL] {
        assert!(read(file.rows(SEED, slots.clone()).unwrap()).unwrap() == within(&rows, &slots), "{slots:?}");
    }
    assert!(read_by_slot(file.rows(SEED, ALL).unwrap()).unwrap() == (rows, 8_000));
    #[allow(clippy::reversed_empty_ranges)]
    let none = file.rows(SEED, 9..=3).unwrap();
    assert!(read(none).unwrap().is_empty());
}

#[test]
fn a_row_of_many_ops_goes_over_many_blocks_and_may_be_passed_over() {
    let long =
        |key: &str, ops: u32| (head(1, key.as_bytes()), (0..ops).map(|i| append(&[i as u8; 60])).collect());
    let rows = Rows::from([
        long("{x}a", 9_000),
        long("{x}b", 1),
        long("{x}c", 9_000),
        long("{x}d", 3),
        long("y", 2_000),
    ]);
    let disk = SimDisk::new(1);
    let info = write(&disk, 1, &rows, 1).unwrap();
    let file = FileReader::open(&disk, 1, Some(&info)).unwrap();
    assert!(file.index().len() > 15);
    assert!(heads_alone(&file).iter().eq(rows.keys()));
    for (key, ops) in &rows {
        assert!(read(file.lookup(SEED, key).unwrap()).unwrap() == Rows::from([(key.clone(), ops.clone())]));
    }
    assert!(read_all(&disk, 1, None).unwrap() == rows);
}

#[test]
fn a_file_without_rows_is_one() {
    let disk = SimDisk::new(1);
    let mut writer = FileWriter::create(&disk, &header(1), 3).unwrap();
    writer.begin(&head(0, b"left out")).unwrap();
    let info = writer.finish().unwrap();
    let file = FileReader::open(&disk, 1, Some(&info)).unwrap();
    file.verify(SEED).unwrap();
    assert!(read(file.rows(SEED, ALL).unwrap()).unwrap().is_empty());
    assert!(file.lookup(SEED, &head(0, b"left out")).unwrap().head().is_none());
}

/// A file of a few blocks in few bytes.
fn small_rows() -> Rows {
    let mut rows: Rows =
        (0..6).map(|i| (head(i % 2, &[b'a' + i as u8]), vec![append(b"value"); i as usize + 1])).collect();
    rows.insert(
        head(0, b"long"),
        vec![append(&[1; 40_000]), append(&[2; 40_000]), append(&[3; 70_000]), append(b"4")],
    );
    rows.insert(head(300, b""), vec![append(&[5; 100_000])]);
    rows
}

#[test]
fn no_flipped_byte_makes_other_rows() {
    for level in [3, 0] {
        let (disk, rows) = (SimDisk::new(1), small_rows());
        let info = write(&disk, 1, &rows, level).unwrap();
        let bytes = disk.read_raw(&path(1)).unwrap();
        assert!(FileReader::open(&disk, 1, Some(&info)).unwrap().index().len() > 3);
        // Without compression the file is large: of its blocks only some bytes.
        let step = if level == 0 { 997 } else { 1 };
        for at in (0..bytes.len()).step_by(step).chain(bytes.len() - 64..bytes.len()) {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            disk.write_raw(&path(1), &bad);
            for expect in [None, Some(&info)] {
                let file = FileReader::open(&disk, 1, expect);
                let found = file.as_ref().ok().map(|file| file.rows(SEED, ALL).and_then(read));
                match (&file, &found) {
                    (Ok(_), Some(Ok(found))) => assert!(*found == rows, "byte {at}"),
                    (Err(error), _) | (_, Some(Err(error))) => {
                        assert!(matches!(error, StoreError::Corruption(_)), "byte {at}: {error}");
                    }
                    (Ok(_), None) => unreachable!("an open file was read"),
                }
                assert!(file.is_err() || file.unwrap().verify(SEED).is_err(), "byte {at} goes unnoticed");
            }
        }
    }
}

#[test]
fn no_cut_or_extended_file_is_read() {
    let disk = SimDisk::new(1);
    write(&disk, 1, &small_rows(), 3).unwrap();
    let bytes = disk.read_raw(&path(1)).unwrap();
    for len in 0..bytes.len() {
        disk.write_raw(&path(1), &bytes[..len]);
        assert!(FileReader::open(&disk, 1, None).is_err(), "{len} bytes");
    }
    disk.write_raw(&path(1), &[&bytes[..], &[0]].concat());
    assert!(FileReader::open(&disk, 1, None).is_err());
}

#[test]
fn another_file_or_seed_is_refused() {
    let (disk, rows) = (SimDisk::new(1), small_rows());
    let first = write(&disk, 1, &rows, 3).unwrap();
    let second = write(&disk, 2, &rows, 3).unwrap();
    assert!(write(&disk, 2, &rows, 3).is_err(), "a file is written once");
    FileReader::open(&disk, 2, Some(&second)).unwrap();
    assert!(FileReader::open(&disk, 2, Some(&FileInfo { crc: first.crc, ..second })).is_err());
    assert!(FileReader::open(&disk, 2, Some(&FileInfo { through_lsn: 901, ..second })).is_err());
    assert!(FileReader::open(&disk, 1, None).unwrap().verify(Seed(78)).is_err());
    let [one, two] = [1, 2].map(|sequence| disk.read_raw(&path(sequence)).unwrap());
    disk.write_raw(&path(2), &one);
    assert!(FileReader::open(&disk, 2, None).is_err(), "a file under another's name");
    // The same blocks, but of another file.
    disk.write_raw(
        &path(2),
        &[&two[..HEADER_LEN], &one[HEADER_LEN..one.len() - 64], &two[two.len() - 64..]].concat(),
    );
    assert!(FileReader::open(&disk, 2, None).is_err());
}

#[test]
fn blocks_that_changed_places_are_noticed() {
    // Rows of one length each in a block of its own, stored as they are.
    let rows: Rows = (0..5u8).map(|i| (head(0, &[b'a' + i]), vec![append(&[i; 66_000])])).collect();
    let disk = SimDisk::new(1);
    write(&disk, 1, &rows, 0).unwrap();
    let file = FileReader::open(&disk, 1, None).unwrap();
    let starts: Vec<usize> = file.index().iter().map(|entry| entry.offset as usize).collect();
    let mut bytes = disk.read_raw(&path(1)).unwrap();
    let (left, right) = bytes.split_at_mut(starts[2]);
    left[starts[1]..].swap_with_slice(&mut right[..starts[3] - starts[2]]);
    disk.write_raw(&path(1), &bytes);
    assert!(read_all(&disk, 1, None).is_err());
}

/// Makes the checksums of a file of one block the right ones.
fn put_right(bytes: &mut [u8], index_at: usize) {
    let (end, header_crc) = (bytes.len() - 64, bytes[64..68].to_vec());
    let mut blocks = Vec::new();
    for block in [HEADER_LEN..index_at, index_at..end] {
        let covered =
            [&header_crc, &bytes[block.start..block.start + 12], &bytes[block.start + 16..block.end]];
        let crc = crc32fast::hash(&covered.concat()).to_le_bytes();
        bytes[block.start + 12..block.start + 16].copy_from_slice(&crc);
        blocks.extend_from_slice(&crc);
    }
    bytes[end + 52..end + 56].copy_from_slice(&crc32fast::hash(&blocks).to_le_bytes());
    let crc = crc32fast::hash(&bytes[end..end + 60]).to_le_bytes();
    bytes[end + 60..].copy_from_slice(&crc);
}

#[test]
fn rows_in_the_wrong_place_are_noticed_behind_right_checksums() {
    let mut keys: Vec<Head> = (b'a'..b'f').map(|key| head(0, &[key])).collect();
    keys.sort();
    let rows: Rows = [0, 2, 3].map(|i| (keys[i].clone(), vec![append(b"same")])).into();
    let disk = SimDisk::new(1);
    write(&disk, 1, &rows, 0).unwrap();
    let bytes = disk.read_raw(&path(1)).unwrap();
    let end = bytes.len() - 64;
    let index_at = u64::from_le_bytes(bytes[end + 8..end + 16].try_into().unwrap()) as usize;
    let row_len = (index_at - HEADER_LEN - 16) / 3;
    let key_at = |row: usize| HEADER_LEN + 16 + row * row_len + 2;
    let check = |edit: &dyn Fn(&mut [u8])| {
        let mut bad = bytes.clone();
        edit(&mut bad);
        put_right(&mut bad, index_at);
        disk.write_raw(&path(1), &bad);
        let file = FileReader::open(&disk, 1, None).unwrap();
        let found = file.rows(SEED, ALL).and_then(read).map_err(|error| error.to_string());
        let by_slot = file.rows(SEED, ALL).and_then(read_by_slot);
        assert_eq!(by_slot.map(|(rows, _)| rows).map_err(|error| error.to_string()), found);
        (found, file.verify(SEED).is_ok())
    };
    assert_eq!(check(&|_| ()), (Ok(rows.clone()), true));
    let swapped = check(&|bytes| bytes.swap(key_at(1), key_at(2)));
    assert!(swapped.0.unwrap_err().contains("out of order"));
    let other_first = check(&|bytes| bytes[key_at(0)] = keys[1].key[0]);
    assert!(other_first.0.unwrap_err().contains("not the one in the index"));
    let twice = check(&|bytes| bytes[key_at(1)] = keys[3].key[0]);
    assert!(twice.0.unwrap_err().contains("out of order"));
    // A footer that counts otherwise: rows, raw bytes.
    for at in [24, 40] {
        let mut bad = bytes.clone();
        bad[end + at] -= 1;
        put_right(&mut bad, index_at);
        disk.write_raw(&path(1), &bad);
        let error = FileReader::open(&disk, 1, None).err().unwrap().to_string();
        assert!(error.contains("the keyspaces do not make up the file"), "{error}");
    }
}

#[test]
fn a_file_knows_what_it_has_of_each_keyspace() {
    let mut rows: Rows = (0..40u8)
        .map(|i| (Head { space: u32::from(i % 3), ..head(0, &[b'k', i]) }, vec![append(&[i; 9_000])]))
        .collect();
    // One that goes on over several blocks.
    rows.insert(Head { space: 7, ..head(0, b"long") }, vec![append(&[1; 60_000]); 3]);
    let disk = SimDisk::new(1);
    let info = write(&disk, 1, &rows, 0).unwrap();
    let file = FileReader::open(&disk, 1, Some(&info)).unwrap();
    let spaces = file.spaces().unwrap();
    assert_eq!(
        spaces.iter().map(|each| (each.space, each.rows)).collect::<Vec<_>>(),
        [(0, 14), (1, 13), (2, 13), (7, 1)]
    );
    assert!(
        (180_000..180_100).contains(&spaces[3].raw_bytes)
            && (117_000..118_000).contains(&spaces[1].raw_bytes)
    );
    assert_eq!(spaces.iter().map(|each| each.raw_bytes).sum::<u64>(), info.raw_bytes);
    file.verify(SEED).unwrap();
}

#[test]
fn a_finished_file_survives_power_loss_and_an_unfinished_one_harms_nobody() {
    let rows = small_rows();
    let whole = SimDisk::new(1);
    write(&whole, 1, &rows, 3).unwrap();
    let mutations = whole.mutations();
    assert!(mutations > 8);
    let styles =
        [CrashStyle::LoseAll, CrashStyle::KeepAll, CrashStyle::Random, CrashStyle::RandomWithGarbage];
    for after in 0..=mutations {
        let disk = SimDisk::new(after);
        disk.crash_after(after);
        let written = write(&disk, 1, &rows, 3);
        assert_eq!(written.is_ok(), after == mutations);
        for (seed, style) in (0..10).flat_map(|seed| styles.map(|style| (seed, style))) {
            let crashed = disk.crash(seed, style);
            let found = read_all(&crashed, 1, None);
            match &written {
                Ok(info) => assert!(read_all(&crashed, 1, Some(info)).unwrap() == rows, "{style:?} {seed}"),
                Err(_) => assert!(found.is_err() || found.is_ok_and(|found| found == rows)),
            }
        }
    }
}

#[test]
fn a_failed_write_or_sync_is_an_error_and_final() {
    let rows = small_rows();
    for kind in [OpKind::Create, OpKind::CreateDir, OpKind::Write, OpKind::Sync, OpKind::SyncDir] {
        let mut nth = 1;
        loop {
            let disk = SimDisk::new(1);
            disk.fail_nth(kind, nth, Fault::Enospc);
            let written = write(&disk, 1, &rows, 0);
            assert_eq!(written.is_err(), disk.count(kind) >= nth, "{kind:?} {nth}");
            if written.is_ok() {
                break;
            }
            nth += 1;
        }
        assert!(nth > 1, "{kind:?} is never done");
    }
    let disk = SimDisk::new(1);
    let mut writer = FileWriter::create(&disk, &header(1), 0).unwrap();
    disk.fail_nth(OpKind::Write, 1, Fault::Eio);
    writer.begin(&head(0, b"a")).unwrap();
    writer.op(&append(&[1; 70_000])).unwrap();
    assert!(writer.op(&append(b"x")).is_err());
    assert!(writer.finish().is_err());
    write(&disk, 2, &rows, 0).unwrap();
    disk.fail_nth(OpKind::Read, 1, Fault::Eio);
    assert!(matches!(read_all(&disk, 2, None), Err(StoreError::Io { .. })));
}
