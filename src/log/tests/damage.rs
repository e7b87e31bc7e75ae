//! Torn is not corrupt: every cut and every flipped byte of a small log gives the exact state, a reported loss of the tail, or
//! a refusal.

use super::*;

/// Where the nth frame of a segment lies.
fn frame_at(bytes: &[u8], n: usize) -> std::ops::Range<usize> {
    let mut at = segment::HEADER_LEN as usize;
    for _ in 0..n {
        at = next_at(bytes, at);
    }
    at..at + len_at(bytes, at)
}

/// Where the frame behind that at `at` begins.
fn next_at(bytes: &[u8], at: usize) -> usize {
    let end = at + len_at(bytes, at);
    let block = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
    let is_padded = bytes[at + 8] & frame::Flags::PADDED.bits() as u8 != 0;
    assert_eq!(is_padded, block > 8, "each group of this test is one frame");
    if is_padded { end.next_multiple_of(block as usize) } else { end }
}

fn len_at(bytes: &[u8], at: usize) -> usize {
    let payload_len = u32::from_le_bytes(bytes[at + 64..at + 68].try_into().unwrap());
    frame::frame_len(payload_len as usize)
}

fn assert_exact_or_told(disk: &SimDisk, bodies: &[Vec<u8>], what: &str) {
    match try_open(disk, options(Policy::Always)) {
        Err(StoreError::Corruption(_) | StoreError::Refused(_)) => {}
        Err(e) => panic!("{what}: {e}"),
        Ok(found) if found.bodies == bodies => {}
        Ok(found) => {
            assert!(found.bodies == bodies[..found.bodies.len()], "{what}: not a prefix");
            assert!(
                found.report.torn.is_some(),
                "{what}: {} records lost in silence",
                bodies.len() - found.bodies.len()
            );
        }
    }
}

/// A log of a few frames in two segments, left in three ways.
fn small_logs() -> Vec<(&'static str, SimDisk, Vec<Vec<u8>>)> {
    let mut logs = Vec::new();
    let lives = [("shut down", Policy::Always), ("killed", Policy::Always), ("killed, unsynced", Policy::No)];
    for ((name, policy), way) in lives.into_iter().flat_map(|life| WAYS.map(|way| (life, way))) {
        let bench = new_bench_with(policy, way);
        bench.settle();
        let bodies: Vec<Vec<u8>> = (0..6).map(|i| vec![i as u8; if i == 1 { 3800 } else { 20 }]).collect();
        for body in &bodies {
            bench.write(body);
        }
        if name == "shut down" {
            bench.log.shutdown().unwrap();
        }
        logs.push((name, bench.disk.kill(), bodies));
    }
    logs
}

#[test]
fn after_a_flip_of_any_byte_the_state_is_exact_or_the_loss_is_told() {
    for (name, disk, bodies) in small_logs() {
        assert_eq!(open(&disk.kill(), Policy::Always).bodies, bodies);
        for path in disk.files() {
            let whole = disk.read_raw(&path).unwrap();
            for at in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << (at % 8);
                let damaged = disk.kill();
                damaged.write_raw(&path, &bytes);
                assert_exact_or_told(&damaged, &bodies, &format!("{name}: flip in {path} at {at}"));
            }
        }
    }
}

#[test]
fn after_a_cut_at_any_byte_the_state_is_exact_or_the_loss_is_told() {
    for (name, disk, bodies) in small_logs() {
        for path in disk.files() {
            let whole = disk.read_raw(&path).unwrap();
            for len in 0..whole.len() {
                let damaged = disk.kill();
                damaged.write_raw(&path, &whole[..len]);
                assert_exact_or_told(&damaged, &bodies, &format!("{name}: {path} cut to {len}"));
            }
        }
    }
}

#[test]
fn after_zeros_from_any_byte_on_the_state_is_exact_or_the_loss_is_told() {
    for (name, disk, bodies) in small_logs() {
        for path in disk.files() {
            let whole = disk.read_raw(&path).unwrap();
            for (at, len) in (0..whole.len()).flat_map(|at| [(at, 8), (at, 512)]) {
                let mut bytes = whole.clone();
                let end = (at + len).min(whole.len());
                bytes[at..end].fill(0);
                let blank_end = bytes[at..].iter().all(|&b| b == 0);
                if blank_end && name != "shut down" && whole[at..end].iter().any(|&b| b != 0) {
                    // Zeros where the last, unwitnessed frames were: as if they had never been written. An assumption.
                    continue;
                }
                let damaged = disk.kill();
                damaged.write_raw(&path, &bytes);
                assert_exact_or_told(&damaged, &bodies, &format!("{name}: zeros in {path} at {at}"));
            }
        }
    }
}

#[test]
fn damage_to_synced_data_is_refused_with_file_and_offset() {
    WAYS.into_iter().for_each(damage_to_synced_data_is_refused);
}

fn damage_to_synced_data_is_refused(way: LogIo) {
    let bench = new_bench_with(Policy::Always, way);
    for i in 0..8 {
        bench.write(&body(i));
    }
    let (path, bytes, _) = bench.active();
    for n in 0..7 {
        let frame = frame_at(&bytes, n);
        for how in ["flip", "blank"] {
            let mut bad = bytes.clone();
            match how {
                "flip" => bad[frame.start + frame::HEADER_LEN + 3] ^= 1,
                _ => bad[frame.clone()].fill(0),
            }
            let disk = bench.disk.kill();
            disk.write_raw(&path, &bad);
            let before = disk.files();
            let Err(StoreError::Corruption(found)) = try_open(&disk, options(Policy::Always)) else {
                panic!("frame {n}, {how}: not refused");
            };
            assert_eq!((found.file, found.offset), (path.clone(), frame.start as u64), "frame {n}, {how}");
            assert!(
                found.reason.contains("at stake") || found.reason.contains("At stake"),
                "{}",
                found.reason
            );
            assert!(found.reason.contains("duramen check"), "{}", found.reason);
            assert_eq!(disk.files(), before, "nothing was changed");
            assert_eq!(disk.read_raw(&path).unwrap(), bad);
        }
    }
}

#[test]
fn damage_in_the_last_unwitnessed_group_is_cut_and_reported() {
    WAYS.into_iter().for_each(damage_in_the_last_group_is_cut);
}

fn damage_in_the_last_group_is_cut(way: LogIo) {
    let bench = new_bench_with(Policy::Always, way);
    for i in 0..8 {
        bench.write(&body(i));
    }
    let (path, bytes, _) = bench.active();
    let frame = frame_at(&bytes, 7);
    let mut bad = bytes.clone();
    bad[frame.start + frame::HEADER_LEN] ^= 1;
    let disk = bench.disk.kill();
    disk.write_raw(&path, &bad);
    let found = open(&disk, Policy::Always);
    assert_eq!(found.bodies.len(), 7);
    let torn = found.report.torn.expect("reported");
    assert_eq!((torn.file, torn.offset, torn.possibly_acknowledged), (path, frame.start as u64, true));
    assert!(torn.bytes > 0 && torn.bytes <= frame.len() as u64);
}

#[test]
fn once_an_empty_frame_witnesses_it_the_last_group_is_refused_when_damaged() {
    let bench = new_bench(Policy::Always);
    bench.write(&body(0));
    bench.clock.advance(Duration::from_millis(10));
    assert!(bench.log.step(), "the empty frame");
    assert!(!bench.log.step(), "once");
    let (path, bytes, _) = bench.active();
    let mut bad = bytes.clone();
    bad[frame_at(&bytes, 0).start + frame::HEADER_LEN] ^= 1;
    let disk = bench.disk.kill();
    disk.write_raw(&path, &bad);
    assert!(matches!(try_open(&disk, options(Policy::Always)), Err(StoreError::Corruption(_))));
}

#[test]
fn a_begun_successor_proves_its_predecessor() {
    let bench = new_bench(Policy::No);
    bench.settle();
    bench.write(&[1; 3000]);
    let (first, bytes, end) = bench.active();
    bench.log.append(&[2; 3000]);
    assert!(bench.log.step(), "writes, and rolls for it");
    assert_ne!(bench.active().0, first, "rolled");
    // The manifest doesn't know of the roll yet: it is written when the next segment is prepared.
    let mut blank = bytes.clone();
    blank[segment::HEADER_LEN as usize..end].fill(0);
    let disk = bench.disk.kill();
    disk.write_raw(&first, &blank);
    let Err(StoreError::Corruption(found)) = try_open(&disk, options(Policy::No)) else {
        panic!("not refused")
    };
    assert_eq!((found.file, found.offset), (first, segment::HEADER_LEN));
}

#[test]
fn damage_in_a_successors_first_frame_is_named_there() {
    let bench = new_bench(Policy::No);
    bench.settle();
    bench.write(&[1; 3000]);
    bench.log.append(&[2; 3000]);
    assert!(bench.log.step(), "writes, and rolls for it");
    bench.log.demand_sync(bench.log.append_lsn());
    assert!(bench.log.step(), "syncs");
    bench.log.append(b"a witness of that sync");
    assert!(bench.log.step(), "writes");
    let (path, mut bytes, _) = bench.active();
    bytes[segment::HEADER_LEN as usize + frame::HEADER_LEN] ^= 1;
    let disk = bench.disk.kill();
    disk.write_raw(&path, &bytes);
    let Err(StoreError::Corruption(found)) = try_open(&disk, options(Policy::No)) else {
        panic!("not refused")
    };
    assert_eq!((found.file, found.offset), (path, segment::HEADER_LEN));
}

/// Frames that are intact in themselves and don't belong where they stand: left behind by whatever a disk may do.
#[test]
fn an_intact_frame_that_does_not_follow_the_one_before_is_not_read() {
    let bench = new_bench(Policy::No);
    for i in 0..3 {
        bench.write(&body(i));
    }
    let (path, bytes, _) = bench.active();
    let place = frame_at(&bytes, 2);
    let salt: Salt = bytes[place.start + 16..place.start + 32].try_into().unwrap();
    let head = bytes[place.start..place.start + frame::HEADER_LEN].try_into().unwrap();
    let right = frame::Header::decode(head, &salt).unwrap();
    let wrongs = [
        ("lsn", frame::Header { first_lsn: right.first_lsn + 1, ..right }),
        ("chain", frame::Header { previous_crc: right.previous_crc ^ 1, ..right }),
        ("term", frame::Header { term: right.term + 1, ..right }),
        ("salt", frame::Header { salt: [0; 16], ..right }),
    ];
    for (what, header) in [("nothing", right)].into_iter().chain(wrongs) {
        let mut changed = bytes.clone();
        frame::seal(&mut changed[place.clone()], &header);
        let disk = bench.disk.kill();
        disk.write_raw(&path, &changed);
        let found = open(&disk, Policy::No);
        let whole = what == "nothing";
        assert_eq!(found.bodies.len(), if whole { 3 } else { 2 }, "wrong {what}");
        assert_eq!(found.report.torn.is_none(), whole, "wrong {what}");
    }
}

#[test]
fn what_a_start_has_written_again_is_refused_when_damaged() {
    let bench = new_bench(Policy::No);
    bench.write(b"one");
    let found = open(&bench.disk.kill(), Policy::No);
    assert!(found.report.rewritten_bytes > 0);
    // No frame has told of the sync that the start made; the manifest has.
    let (path, mut bytes, _) = found.bench.active();
    bytes[segment::HEADER_LEN as usize + frame::HEADER_LEN] ^= 1;
    let disk = found.bench.disk.kill();
    disk.write_raw(&path, &bytes);
    let Err(StoreError::Corruption(damage)) = try_open(&disk, options(Policy::No)) else {
        panic!("not refused")
    };
    assert_eq!((damage.file, damage.offset), (path, segment::HEADER_LEN));
}

#[test]
fn a_torn_first_frame_of_a_successor_is_only_torn() {
    let bench = new_bench(Policy::No);
    bench.settle();
    bench.write(&[1; 3000]);
    bench.write(&[2; 3000]);
    bench.write(&[3; 30]);
    let (path, bytes, _) = bench.active();
    let mut bad = bytes.clone();
    bad[segment::HEADER_LEN as usize + 100] ^= 1;
    let disk = bench.disk.kill();
    disk.write_raw(&path, &bad);
    let found = open(&disk, Policy::No);
    assert_eq!(found.bodies, [vec![1; 3000]]);
    assert_eq!(found.report.torn.as_ref().map(|t| (t.file.as_str(), t.offset)), Some((path.as_str(), 4096)));
    // The evidence stays, and is not taken for more than it is.
    assert_eq!(disk.read_raw(&path).unwrap(), bad);
    found.bench.write(b"on");
    found.bench.log.shutdown().unwrap();
    drop(found.bench);
    assert_eq!(open(&disk, Policy::No).bodies, [vec![1; 3000], b"on".to_vec()]);
}

#[test]
fn a_frame_forged_inside_a_value_is_no_witness() {
    let bench = new_bench(Policy::Always);
    bench.write(b"first");
    let durable = bench.log.durable_lsn();
    // A client that knows the format and everything but the salt.
    let term = bench.log.info().term;
    let mut value = Vec::new();
    for first_lsn in 0..20u64 {
        let mut forged = vec![0; frame::frame_len(8)];
        let header = frame::Header {
            flags: frame::Flags::COMMIT,
            records: 1,
            salt: [0; 16],
            term,
            first_lsn: first_lsn + 1_000_000,
            wall_us: 1,
            synced_through: first_lsn + 1_000_000,
            payload_len: 8,
            previous_crc: 0,
        };
        frame::seal(&mut forged, &header);
        value.extend_from_slice(&forged);
    }
    // The value's frame begins 8-byte aligned; try all alignments of the forgeries.
    for pad in 0..8 {
        let mut padded = vec![b'x'; pad];
        padded.extend_from_slice(&value);
        let bench = new_bench(Policy::Always);
        bench.write(b"first");
        bench.write(&padded);
        let (path, bytes, _) = bench.active();
        let mut bad = bytes.clone();
        let frame = frame_at(&bytes, 1);
        bad[frame.start + 20] ^= 1;
        let disk = bench.disk.kill();
        disk.write_raw(&path, &bad);
        let found = open(&disk, Policy::Always);
        assert_eq!(found.bodies, [b"first"]);
        assert!(found.report.torn.is_some());
        assert_eq!(found.report.end_lsn, durable);
    }
}

#[test]
fn a_frame_of_an_unknown_feature_is_refused_not_cut() {
    let bench = new_bench(Policy::Always);
    bench.write(b"one");
    bench.write(b"two");
    let (path, mut bytes, _) = bench.active();
    let frame = frame_at(&bytes, 1);
    bytes[frame.start + 6] = 2;
    let crc = crc32fast::hash(&bytes[frame.start..frame.start + 76]);
    bytes[frame.start + 76..frame.start + 80].copy_from_slice(&crc.to_le_bytes());
    let disk = bench.disk.kill();
    disk.write_raw(&path, &bytes);
    let Err(StoreError::Refused(text)) = try_open(&disk, options(Policy::Always)) else {
        panic!("not refused")
    };
    assert!(text.contains(&path) && text.contains("features 0x0002"), "{text}");
}
