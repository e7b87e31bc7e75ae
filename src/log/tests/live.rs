//! A running log: positions, policies, failures, and coming back from a full disk.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn counted(log: &Log) -> Arc<AtomicUsize> {
    let calls = Arc::new(AtomicUsize::new(0));
    let mine = calls.clone();
    log.subscribe(Box::new(move |_| {
        mine.fetch_add(1, Ordering::SeqCst);
    }));
    calls
}

#[test]
fn under_always_a_group_is_durable_after_one_write_and_one_sync() {
    let bench = new_bench(Policy::Always);
    bench.settle();
    let (writes, syncs) = (bench.disk.count(OpKind::Write), bench.disk.count(OpKind::Sync));
    for i in 0..100 {
        bench.log.append(&body(i));
    }
    let lsn = bench.log.append_lsn();
    assert!(bench.log.flush_tick(true) < lsn, "a worker doesn't write under always");
    bench.settle();
    assert_eq!(bench.log.durable_lsn(), lsn);
    assert_eq!(bench.disk.count(OpKind::Write) - writes, 1);
    assert_eq!(bench.disk.count(OpKind::Sync) - syncs, 1);
    let info = bench.log.info();
    assert_eq!((info.groups, info.frames, info.records, info.group_sizes[6]), (1, 1, 100, 1));
}

#[test]
fn under_everysec_a_tick_writes_in_place_and_a_sync_follows_every_half_second() {
    let bench = new_bench(Policy::EverySec);
    bench.settle();
    let calls = counted(&bench.log);
    let one = bench.log.append(b"one");
    assert_eq!(bench.log.flush_tick(false), one);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    // The last sync is long ago: this one starts at once.
    bench.clock.advance(Duration::from_secs(5));
    bench.settle();
    assert_eq!(bench.log.durable_lsn(), one);
    let two = bench.log.append(b"two");
    assert_eq!(bench.log.flush_tick(false), two);
    bench.clock.advance(Duration::from_millis(499));
    bench.settle();
    assert_eq!(bench.log.durable_lsn(), one);
    bench.clock.advance(Duration::from_millis(1));
    bench.settle();
    assert_eq!(bench.log.durable_lsn(), two);
}

#[test]
fn everysec_is_late_when_the_oldest_unsynced_write_is_older_than_a_second() {
    let bench = new_bench(Policy::EverySec);
    bench.settle();
    bench.log.append(b"x");
    bench.log.flush_tick(false);
    bench.clock.advance(Duration::from_millis(1000));
    assert!(!bench.log.everysec_late());
    bench.clock.advance(Duration::from_millis(1));
    assert!(bench.log.everysec_late());
    bench.log.set_policy(Policy::No);
    assert!(!bench.log.everysec_late());
    bench.log.set_policy(Policy::EverySec);
    bench.settle();
    assert!(!bench.log.everysec_late());
}

#[test]
fn a_demand_syncs_whatever_the_policy() {
    for policy in [Policy::EverySec, Policy::No] {
        let bench = new_bench(policy);
        bench.clock.advance(Duration::from_millis(100));
        let lsn = bench.write(b"one");
        bench.settle();
        let two = bench.log.append(b"two");
        bench.log.flush_tick(true);
        bench.settle();
        assert_eq!(bench.log.durable_lsn(), two);
        let three = bench.log.append(b"three");
        bench.log.flush_tick(false);
        bench.log.demand_sync(lsn);
        assert_eq!(bench.log.durable_lsn(), two, "an old demand asks for nothing");
        bench.log.demand_sync(three);
        bench.settle();
        assert_eq!(bench.log.durable_lsn(), three);
    }
}

#[test]
fn without_a_policy_and_a_demand_nothing_is_synced_but_full_segments() {
    let bench = new_bench(Policy::No);
    bench.settle();
    bench.write(&[1; 3000]);
    bench.clock.advance(Duration::from_secs(60));
    bench.settle();
    assert_eq!(bench.log.durable_lsn(), 0);
    let first = bench.log.written_lsn();
    bench.write(&[2; 3000]);
    assert_eq!(bench.log.durable_lsn(), first);
}

#[test]
fn a_change_to_always_syncs_what_is_outstanding() {
    let bench = new_bench(Policy::No);
    let lsn = bench.write(b"x");
    assert_eq!(bench.log.durable_lsn(), 0);
    bench.log.set_policy(Policy::Always);
    bench.settle();
    assert_eq!(bench.log.durable_lsn(), lsn);
}

#[test]
fn a_failed_sync_is_final() {
    for policy in [Policy::Always, Policy::EverySec] {
        let bench = new_bench(policy);
        let kept = bench.write(b"one");
        bench.log.demand_sync(kept);
        bench.settle();
        let calls = counted(&bench.log);
        bench.disk.fail_nth(OpKind::Sync, 1, Fault::Eio);
        bench.log.append(b"two");
        bench.log.flush_tick(true);
        bench.settle();
        assert!(calls.load(Ordering::SeqCst) > 0);
        let LogState::Failed { reason } = bench.log.state() else { panic!("{:?}", bench.log.state()) };
        assert!(reason.contains("log/00000001.log"), "{reason}");
        assert_eq!(bench.log.admit(), Err(Refusal::Failed(reason)));
        // The disk works again; the log does not.
        let (syncs, written) = (bench.disk.count(OpKind::Sync), bench.log.written_lsn());
        bench.log.append(b"three");
        bench.log.flush_tick(true);
        bench.log.demand_sync(bench.log.append_lsn());
        assert!(!bench.log.step());
        assert_eq!((bench.log.durable_lsn(), bench.log.written_lsn()), (kept, written));
        assert_eq!(bench.disk.count(OpKind::Sync), syncs, "never tried again");
        assert!(bench.log.shutdown().is_err());
        drop(bench.log);
        let found = open(&bench.disk.crash(1, CrashStyle::LoseAll), policy);
        // The failed sync may have written any part.
        assert!(found.bodies == [b"one"] || found.bodies == [b"one", b"two"]);
    }
}

/// Another thread may be about to publish or to sync when one sees the failure.
#[test]
fn whoever_comes_after_a_failure_neither_publishes_nor_syncs() {
    let bench = new_bench(Policy::No);
    bench.write(b"x");
    let (syncs, written) = (bench.disk.count(OpKind::Sync), bench.log.written_lsn());
    let shared = &bench.log.shared;
    shared.fail("the disk is gone".to_owned());
    shared.publish_written(written + 100, Duration::ZERO);
    shared.publish_rolled();
    let file = shared.writer.lock().active.file.clone();
    assert!(!shared.sync_file(&file, 1) && !shared.sync_written());
    assert_eq!(bench.disk.count(OpKind::Sync), syncs);
    assert_eq!((bench.log.written_lsn(), bench.log.durable_lsn()), (written, 0));
}

#[test]
fn a_failed_sync_at_a_roll_is_final() {
    let bench = new_bench(Policy::No);
    bench.settle();
    let lsn = bench.write(&[1; 3000]);
    bench.disk.inject(FaultRule::new(OpKind::Sync, 1, Fault::Eio).on("log/00000001.log"));
    bench.log.append(&[2; 3000]);
    bench.log.flush_tick(false);
    bench.settle();
    assert!(matches!(bench.log.state(), LogState::Failed { .. }));
    assert_eq!((bench.log.written_lsn(), bench.log.durable_lsn()), (lsn, 0));
}

#[test]
fn a_write_error_is_final() {
    let bench = new_bench(Policy::EverySec);
    bench.settle();
    bench.disk.fail_nth(OpKind::Write, 1, Fault::Eio);
    bench.log.append(b"x");
    assert_eq!(bench.log.flush_tick(false), 0);
    assert!(matches!(bench.log.state(), LogState::Failed { .. }));
    bench.settle();
    assert_eq!(bench.log.written_lsn(), 0);
}

#[test]
fn out_of_space_on_a_write_refuses_keeps_what_is_pending_and_resumes() {
    let bench = new_bench(Policy::Always);
    bench.settle();
    let one = bench.write(b"one");
    let calls = counted(&bench.log);
    bench.disk.fail_from(OpKind::Write, 1, Fault::Enospc);
    let two = bench.log.append(b"two");
    bench.log.flush_tick(true);
    bench.settle();
    assert_eq!(bench.log.state(), LogState::NoSpace);
    assert_eq!(bench.log.admit(), Err(Refusal::NoSpace));
    assert_eq!(bench.log.durable_lsn(), one);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    bench.disk.heal();
    bench.settle();
    assert_eq!((bench.log.state(), bench.log.admit()), (LogState::Healthy, Ok(())));
    assert_eq!(bench.log.durable_lsn(), two);
    assert_eq!(open(&bench.disk.crash(1, CrashStyle::LoseAll), Policy::Always).bodies, [b"one", b"two"]);
}

#[test]
fn short_writes_are_continued_in_place() {
    for (len, way) in
        [1, 7, 79, 80, 81, 500, 512, 513, 1100].into_iter().flat_map(|len| WAYS.map(|way| (len, way)))
    {
        let bench = new_bench_with(Policy::Always, way);
        bench.settle();
        bench.disk.fail_nth(OpKind::Write, 1, Fault::ShortWrite(len));
        bench.disk.fail_nth(OpKind::Write, 2, Fault::Enospc);
        bench.log.append(&[1; 1000]);
        bench.log.flush_tick(true);
        assert!(bench.log.step() || bench.log.state() == LogState::NoSpace);
        bench.log.append(&[2; 1000]);
        // Within a block the short write alone is an attempt, and so is the next, which fails.
        (0..3).for_each(|_| bench.settle());
        assert_eq!(bench.log.state(), LogState::Healthy);
        assert_eq!(bench.log.durable_lsn(), bench.log.append_lsn());
        let found = open(&bench.disk.crash(1, CrashStyle::LoseAll), Policy::Always);
        assert_eq!(found.bodies, [vec![1; 1000], vec![2; 1000]]);
    }
}

#[test]
fn out_of_space_shows_when_no_segment_is_left_and_ends_by_itself() {
    // The first record in the last of three segments is the last that is taken.
    out_of_space_shows(LogIo::Buffered, 7);
    out_of_space_shows(LogIo::Direct, 5);
}

fn out_of_space_shows(way: LogIo, taken: usize) {
    let bench = new_bench_with(Policy::Always, way);
    bench.settle();
    bench.disk.set_capacity(Some(0));
    let mut written = Vec::new();
    while bench.log.admit() == Ok(()) {
        let body = vec![written.len() as u8; 1000];
        bench.write(&body);
        written.push(body);
        assert!(written.len() < 100);
    }
    assert_eq!(bench.log.state(), LogState::NoSpace);
    assert_eq!(written.len(), taken, "two prepared segments were used");
    assert_eq!(bench.log.durable_lsn(), bench.log.append_lsn(), "what was admitted is durable");
    bench.disk.set_capacity(None);
    bench.settle();
    assert_eq!((bench.log.state(), bench.log.admit()), (LogState::Healthy, Ok(())));
    bench.write(b"on");
    written.push(b"on".to_vec());
    assert_eq!(open(&bench.disk.crash(1, CrashStyle::LoseAll), Policy::Always).bodies, written);
}

#[test]
fn a_manifest_that_cannot_be_written_for_lack_of_space_is_tried_again() {
    for nth in 1..=2 {
        let bench = new_bench(Policy::Always);
        bench.disk.inject(FaultRule::new(OpKind::Write, nth, Fault::Enospc).on("MANIFEST"));
        assert!(!bench.log.step());
        assert_eq!(bench.log.state(), LogState::NoSpace);
        bench.settle();
        assert_eq!(bench.log.state(), LogState::Healthy);
        assert_eq!(bench.log.info().segments_prepared, 2);
        for i in 0..20 {
            bench.write(&[i; 1000]);
        }
        assert_eq!(open(&bench.disk.crash(1, CrashStyle::LoseAll), Policy::Always).bodies.len(), 20);
    }
}

#[test]
fn a_full_buffer_parks_writers_until_it_is_written() {
    let mut options = options(Policy::Always);
    options.buffer_bytes_max = 1000;
    let bench = try_open(&SimDisk::new(1), options).unwrap().bench;
    bench.log.append(&[1; 900]);
    assert_eq!(bench.log.admit(), Ok(()));
    bench.log.append(&[1; 900]);
    assert_eq!(bench.log.admit(), Err(Refusal::BufferFull));
    bench.settle();
    assert_eq!(bench.log.admit(), Ok(()));
}

#[test]
fn a_quiet_log_tells_once_how_far_it_was_synced() {
    let bench = new_bench(Policy::Always);
    bench.settle();
    bench.write(b"x");
    let frames = bench.log.info().frames;
    bench.clock.advance(Duration::from_millis(9));
    bench.settle();
    assert_eq!(bench.log.info().frames, frames);
    bench.clock.advance(Duration::from_millis(1));
    bench.settle();
    bench.clock.advance(Duration::from_secs(100));
    bench.settle();
    assert_eq!(bench.log.info().frames, frames + 1);
    let found = open(&bench.disk.kill(), Policy::Always);
    assert_eq!(found.report.rewritten_bytes, 0);
    assert_eq!(found.bodies, [b"x"]);
}

#[test]
fn a_record_larger_than_a_segment_is_written_in_pieces() {
    let bench = new_bench(Policy::Always);
    let large: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
    bench.log.append(b"before");
    bench.log.append(&large);
    bench.log.append(b"after");
    bench.log.flush_tick(true);
    bench.settle();
    assert_eq!(bench.log.durable_lsn(), bench.log.append_lsn());
    let found = open(&bench.disk.crash(1, CrashStyle::LoseAll), Policy::Always);
    assert_eq!(found.bodies, [b"before".to_vec(), large, b"after".to_vec()]);
}

#[test]
fn shutdown_writes_and_syncs_what_is_pending_and_may_be_repeated() {
    let bench = new_bench(Policy::No);
    for i in 0..20 {
        bench.log.append(&[i; 1000]);
    }
    bench.log.shutdown().unwrap();
    bench.log.shutdown().unwrap();
    let found = open(&bench.disk.crash(1, CrashStyle::LoseAll), Policy::No);
    assert_eq!(found.bodies.len(), 20);
    assert_eq!((found.report.rewritten_bytes, found.report.torn), (0, None));
}

#[test]
fn a_closed_log_writes_nothing_more_and_lets_go_of_the_directory() {
    for policy in [Policy::Always, Policy::EverySec, Policy::No] {
        let bench = new_bench(policy);
        bench.log.append(b"in time");
        bench.log.shutdown().unwrap();
        let before = bench.disk.mutations();
        bench.log.append(b"late");
        bench.log.flush_tick(true);
        assert_eq!(bench.disk.mutations(), before);
        assert!(bench.disk.lock("LOCK").is_err(), "it is still the owner's");
        bench.log.let_go();
        assert_eq!(open(&bench.disk, policy).bodies, [b"in time"]);
    }
}

#[test]
fn shutdown_on_a_full_disk_fails_and_succeeds_when_there_is_room() {
    let bench = new_bench(Policy::No);
    bench.disk.fail_from(OpKind::Write, 1, Fault::Enospc);
    bench.log.append(b"x");
    assert!(bench.log.shutdown().is_err());
    bench.disk.heal();
    bench.log.shutdown().unwrap();
    assert_eq!(open(&bench.disk.crash(1, CrashStyle::LoseAll), Policy::No).bodies, [b"x"]);
}

#[test]
fn an_idle_log_gives_back_what_large_groups_needed_and_a_busy_one_keeps_it() {
    let options =
        LogOptions { segment_bytes: 8 << 20, buffer_bytes_max: 8 << 20, ..options(Policy::EverySec) };
    let bench = try_open(&SimDisk::new(1), options).expect("the log opens").bench;
    let capacity = || {
        let shared = &bench.log.shared;
        shared.pending.lock().capacity() + shared.writer.lock().capacity()
    };
    let write_large = || {
        for _ in 0..20 {
            bench.log.append(&[7; 100_000]);
        }
        bench.log.flush_tick(false);
        bench.settle();
    };
    // Both buffers in turn.
    (0..4).for_each(|_| write_large());
    let large = capacity();
    assert!(large >= 4_000_000, "{large}");
    for _ in 0..50 {
        bench.log.trim();
        bench.write(b"small");
        bench.log.trim();
        write_large();
        assert_eq!(capacity(), large, "large groups come again and again");
    }
    for _ in 0..12 {
        bench.log.append(b"pending");
        let pending = bench.log.shared.pending.lock().capacity();
        bench.log.trim();
        assert_eq!(bench.log.shared.pending.lock().capacity(), pending, "records are in it");
        bench.log.flush_tick(false);
        bench.settle();
        bench.log.trim();
    }
    assert!(capacity() <= 2 * (64 << 10), "{}", capacity());
    let lsn = bench.write(b"and it goes on");
    assert_eq!(bench.log.written_lsn(), lsn);
    bench.log.shutdown().unwrap();
    let found = open(&bench.disk.kill(), Policy::EverySec);
    assert_eq!(found.bodies.len(), 4 * 20 + 50 * 21 + 12 + 1);
    assert_eq!(found.report.torn, None);
}

#[test]
fn a_start_that_fails_on_a_full_disk_leaves_no_less_room_than_it_found() {
    let bench = new_bench(Policy::Always);
    bench.log.append(b"x");
    bench.settle();
    let disk = bench.disk.kill();
    // As an earlier start that was killed left it.
    disk.write_raw("log/00000099.log", &[0; 5000]);
    let listed = disk.list("log").unwrap();
    for nth in 1..=2 {
        disk.fail_from(OpKind::Write, nth, Fault::Enospc);
        assert!(try_open(&disk, options(Policy::Always)).is_err());
        disk.heal();
        let left = disk.list("log").unwrap();
        assert!(left.len() < listed.len() && left.iter().all(|name| listed.contains(name)), "{left:?}");
    }
    assert_eq!(open(&disk, Policy::Always).bodies, [b"x"]);
}
