//! Two ways to write a segment, chosen by policy.

use super::*;
use crate::disk::{Disk, LogMode};

fn listed(bench: &Bench) -> Vec<u64> {
    bench.log.shared.catalog.lock().segments.iter().map(|s| s.sequence).collect()
}

fn files(bench: &Bench) -> Vec<u64> {
    let files = bench.disk.list(segment::FOLDER).unwrap();
    files.iter().filter_map(|name| segment::sequence_of(name)).collect()
}

fn header_of(bench: &Bench, sequence: u64) -> segment::SegmentHeader {
    segment::SegmentHeader::decode(&bench.disk.read_raw(&segment::path(sequence)).unwrap()).unwrap()
}

#[test]
fn the_policy_chooses_unless_the_way_is_forced() {
    for (log_io, policy, io, block) in [
        (LogIo::Auto, Policy::Always, "direct", 512),
        (LogIo::Auto, Policy::EverySec, "simulated", 8),
        (LogIo::Auto, Policy::No, "simulated", 8),
        (LogIo::Direct, Policy::No, "direct", 512),
        (LogIo::Buffered, Policy::Always, "simulated", 8),
        (LogIo::IoUring, Policy::Always, "simulated", 8),
    ] {
        let bench = new_bench_with(policy, log_io);
        bench.settle();
        assert_eq!(bench.log.info().io, io, "{log_io:?} {policy:?}");
        assert!((1..=3).all(|sequence| header_of(&bench, sequence).block == block), "{log_io:?} {policy:?}");
    }
}

#[test]
fn room_is_reserved_in_one_step_or_filled_with_zeros_where_that_is_not_possible() {
    let size = 8 << 10;
    for (log_io, can_direct, can_allocate, zeros) in [
        (LogIo::Buffered, true, true, 0),
        (LogIo::Buffered, true, false, 3),
        (LogIo::Direct, true, true, 3),
        (LogIo::Direct, true, false, 3),
        (LogIo::Direct, false, true, 3),
        (LogIo::Direct, false, false, 3),
        (LogIo::IoUring, true, true, 3),
    ] {
        let disk = disk_with(1, log_io);
        disk.set_abilities(can_direct, can_allocate);
        let bench = open(&disk, Policy::Always).bench;
        bench.settle();
        let context = format!("{log_io:?} {can_direct} {can_allocate}");
        // Beside the zeros: three headers, and two copies of the manifest for each segment and the new store.
        assert_eq!(disk.count(OpKind::Write), 3 + 2 * 4 + zeros, "{context}");
        for sequence in 1..=3 {
            assert_eq!(disk.read_raw(&segment::path(sequence)).unwrap().len(), size, "{context}");
        }
        assert_eq!(bench.log.info().io == "direct", log_io == LogIo::Direct && can_direct, "{context}");
        let bodies: Vec<_> = (0..20).map(body).collect();
        for body in &bodies {
            bench.write(body);
        }
        assert_eq!(open(&disk.crash(1, CrashStyle::LoseAll), Policy::Always).bodies, bodies, "{context}");
    }
}

#[test]
fn a_file_system_without_direct_writes_does_not_make_the_log_roll() {
    let disk = disk_with(1, LogIo::Auto);
    disk.set_abilities(false, true);
    let bench = open(&disk, Policy::Always).bench;
    bench.settle();
    for i in 0..5 {
        bench.write(&body(i));
    }
    assert_eq!((bench.log.info().sequence, bench.log.info().io), (1, "simulated"));
}

#[test]
fn a_listed_segment_survives_power_loss_with_all_its_room() {
    for (way, policy) in [LogIo::Buffered, LogIo::Direct, LogIo::IoUring]
        .into_iter()
        .flat_map(|way| [Policy::Always, Policy::No].map(|policy| (way, policy)))
    {
        let bench = new_bench_with(policy, way);
        for _ in 0..4 {
            let after = bench.disk.crash(1, CrashStyle::LoseAll);
            for entry in &bench.log.shared.catalog.lock().segments {
                let bytes =
                    after.read_raw(&segment::path(entry.sequence)).expect("its name is on the medium");
                assert_eq!(bytes.len() as u64, entry.size);
                assert_eq!(segment::SegmentHeader::decode(&bytes).unwrap().sequence, entry.sequence);
            }
            open(&after, policy);
            bench.log.step();
        }
    }
}

#[test]
fn the_room_of_a_segment_is_asked_for_before_it_is_promised() {
    for way in WAYS {
        let bench = new_bench_with(Policy::Always, way);
        bench.disk.fail_nth(OpKind::Allocate, 1, Fault::Enospc);
        assert!(!bench.log.step());
        assert_eq!(bench.log.state(), LogState::NoSpace);
        assert_eq!((listed(&bench), files(&bench)), (vec![1], vec![1]), "nothing is left of the attempt");
        bench.settle();
        assert_eq!((bench.log.state(), bench.log.info().segments_prepared), (LogState::Healthy, 2));
    }
}

#[test]
fn a_direct_segment_is_written_in_whole_blocks_and_none_twice() {
    let bench = new_bench_with(Policy::Always, LogIo::Direct);
    bench.settle();
    let mut ends = vec![segment::HEADER_LEN as usize];
    for len in [1, 400, 420, 428, 512] {
        let writes = bench.disk.count(OpKind::Write);
        bench.write(&vec![7; len]);
        assert_eq!(bench.disk.count(OpKind::Write), writes + 1, "one write, which the disk took");
        let (_, bytes, end) = bench.active();
        let start = ends[ends.len() - 1];
        assert_eq!((end - start) % 512, 0);
        assert!(
            end - start >= frame::frame_len(record::record_len(len))
                && end - start < 512 + frame::frame_len(len + 2)
        );
        assert_eq!(bytes[start..start + 4], frame::MAGIC, "the group begins at a block");
        ends.push(end);
    }
    // Several frames in one write lie close together.
    let bench = try_open(
        &disk_with(1, LogIo::Direct),
        LogOptions { segment_bytes: 16 << 20, ..options(Policy::Always) },
    );
    let bench = bench.unwrap().bench;
    bench.write(&vec![1; frame::PAYLOAD_MAX + 1000]);
    let (_, bytes, end) = bench.active();
    let second = segment::HEADER_LEN as usize + frame::frame_len(frame::PAYLOAD_MAX);
    assert_ne!(second % 512, 0);
    assert_eq!(bytes[second..second + 4], frame::MAGIC);
    assert_eq!(end % 512, 0);
    let found = open(&bench.disk.kill(), Policy::Always);
    assert_eq!(found.bodies, [vec![1; frame::PAYLOAD_MAX + 1000]]);
}

/// Without the rule the second group would be looked for within the padding of the first.
#[test]
fn a_frame_that_lost_its_mark_of_padding_ends_the_log_there() {
    let bench = new_bench_with(Policy::No, LogIo::Direct);
    bench.settle();
    for i in 0..3 {
        bench.write(&body(i));
    }
    let (path, mut bytes, _) = bench.active();
    let at = segment::HEADER_LEN as usize;
    let salt: Salt = bytes[at + 16..at + 32].try_into().unwrap();
    let header = frame::Header::decode(bytes[at..at + frame::HEADER_LEN].try_into().unwrap(), &salt).unwrap();
    assert!(header.flags.contains(frame::Flags::PADDED));
    let unmarked = frame::Header { flags: header.flags.difference(frame::Flags::PADDED), ..header };
    frame::seal(&mut bytes[at..at + header.frame_len()], &unmarked);
    let disk = bench.disk.kill();
    disk.write_raw(&path, &bytes);
    let found = open(&disk, Policy::No);
    assert_eq!(found.bodies.len(), 1);
    assert!(found.report.torn.is_some());
}

#[test]
fn nobody_but_the_logs_thread_writes_to_a_direct_segment() {
    for policy in [Policy::Always, Policy::EverySec, Policy::No] {
        let bench = new_bench_with(policy, LogIo::Direct);
        bench.settle();
        let lsn = bench.log.append(b"x");
        let writes = bench.disk.count(OpKind::Write);
        assert!(bench.log.flush_tick(false) < lsn, "{policy:?}");
        assert_eq!(bench.disk.count(OpKind::Write), writes, "{policy:?}");
        assert!(bench.log.step());
        assert_eq!(bench.log.written_lsn(), lsn, "{policy:?}");
    }
}

#[test]
fn after_a_change_of_policy_the_log_goes_on_in_a_segment_that_suits_it() {
    let bench = new_bench(Policy::EverySec);
    bench.settle();
    let mut bodies = vec![body(0)];
    bench.write(&body(0));
    for (i, (policy, io)) in [
        (Policy::Always, "direct"),
        (Policy::No, "simulated"),
        (Policy::Always, "direct"),
        (Policy::EverySec, "simulated"),
    ]
    .into_iter()
    .enumerate()
    {
        let before = bench.log.info().sequence;
        bench.log.set_policy(policy);
        bench.settle();
        assert_eq!(bench.log.info().sequence, before, "nothing to write, nothing to change");
        let lsn = bench.log.append(&body(i as u64 + 1));
        bodies.push(body(i as u64 + 1));
        if bench.log.flush_tick(false) == lsn {
            assert_eq!(bench.log.info().sequence, before, "a worker doesn't roll");
            bench.log.append(b"more");
            bodies.push(b"more".to_vec());
        }
        bench.settle();
        let info = bench.log.info();
        assert_eq!(info.io, io, "{policy:?}");
        assert!(info.sequence > before);
        assert_eq!(info.segments_prepared, prepare::AHEAD as u64, "those that were passed over are gone");
        assert_eq!(listed(&bench), files(&bench));
        let wanted = bench.log.shared.wanted_mode();
        assert!(bench.log.shared.prepared.lock().iter().all(|p| p.mode == wanted));
    }
    assert_eq!(open(&bench.disk.kill(), Policy::Always).bodies, bodies);
    bench.log.shutdown().unwrap();
    assert_eq!(open(&bench.disk.crash(1, CrashStyle::LoseAll), Policy::No).bodies, bodies);
}

#[test]
fn a_change_and_back_keeps_the_segments_of_both_kinds_few() {
    let bench = new_bench(Policy::EverySec);
    for _ in 0..5 {
        bench.log.set_policy(Policy::Always);
        bench.settle();
        bench.log.set_policy(Policy::EverySec);
        bench.settle();
    }
    assert_eq!(bench.log.info().segments_prepared, 2 * prepare::AHEAD as u64);
    assert_eq!(bench.log.info().sequence, 1);
}

#[test]
fn a_segment_of_the_wrong_kind_is_used_while_there_is_no_other() {
    let bench = new_bench(Policy::EverySec);
    bench.settle();
    bench.disk.fail_from(OpKind::Create, 1, Fault::Enospc);
    bench.log.set_policy(Policy::Always);
    for i in 0..5 {
        bench.write(&[i; 1500]);
    }
    let info = bench.log.info();
    assert_eq!((info.sequence, info.io), (3, "simulated"));
    assert_eq!(bench.log.durable_lsn(), bench.log.append_lsn());
    bench.disk.heal();
    bench.settle();
    bench.write(b"x");
    assert_eq!(bench.log.info().io, "direct");
    assert_eq!(open(&bench.disk.kill(), Policy::Always).bodies.len(), 6);
}

#[test]
fn a_start_waits_for_the_zeros_of_a_small_segment_only() {
    let options = |policy| LogOptions { segment_bytes: 64 << 20, ..options(policy) };
    let (direct, reserved) = (SimDisk::new(1), SimDisk::new(1));
    let _direct = try_open(&direct, options(Policy::Always)).unwrap();
    assert_eq!(direct.read_raw(&segment::path(1)).unwrap().len(), 8 << 20);
    let _reserved = try_open(&reserved, options(Policy::EverySec)).unwrap();
    assert_eq!(reserved.read_raw(&segment::path(1)).unwrap().len(), 64 << 20);
    assert_eq!(reserved.log_mode(false), LogMode::Reserved);
    assert_eq!(reserved.count(OpKind::Write), 1 + 2 * 2, "a header, and the manifest twice in two copies");
}
