//! Sealed segments: asked for, read while the log goes on, given up, and a start from behind them.

use std::ops::ControlFlow;

use super::*;
use crate::disk::Disk;

const TAG: u32 = 7;
const STYLES: [CrashStyle; 4] =
    [CrashStyle::LoseAll, CrashStyle::KeepAll, CrashStyle::Random, CrashStyle::RandomWithGarbage];

/// What an upper floor would find: its list says up to where its own files go.
struct Found {
    log: Log,
    from: Lsn,
    records: Vec<(Lsn, Vec<u8>)>,
    report: RecoveryReport,
    progress: Vec<(u64, u64)>,
}

fn open_at(disk: &SimDisk, policy: Policy, at: impl Fn(Lsn) -> Lsn) -> Result<Found, StoreError> {
    let (mut floor, mut records, mut progress) = (0, Vec::new(), Vec::new());
    let visit = &mut |recovered: Recovered<'_>| {
        match recovered {
            Recovered::Begin { sections, from, .. } => {
                let covered = sections.iter().find(|s| s.tag == TAG);
                let covered = covered.map_or(0, |s| u64::from_le_bytes(s.bytes[..8].try_into().unwrap()));
                floor = at(covered);
                *from = floor;
            }
            Recovered::Record { lsn_end, body, .. } => records.push((lsn_end, body.to_vec())),
            Recovered::Progress { bytes_done, bytes_total } => progress.push((bytes_done, bytes_total)),
            Recovered::End => {}
        }
        Ok(())
    };
    let clock = Arc::new(SimClock::at_ms(1_700_000_100_000));
    let (log, report) = Log::open(Arc::new(disk.clone()), clock, options(policy), visit)?;
    assert_eq!(report.records, records.len() as u64);
    assert_eq!(report.bytes, report.end_lsn - floor);
    Ok(Found { log, from: floor, records, report, progress })
}

fn reopen(disk: &SimDisk, policy: Policy) -> Found {
    open_at(disk, policy, |covered| covered).unwrap_or_else(|e| panic!("the log opens: {e}"))
}

fn settle(log: &Log) {
    while log.step() {}
}

fn write(log: &Log, body: &[u8]) -> Lsn {
    let lsn = log.append(body);
    log.flush_tick(false);
    settle(log);
    lsn
}

/// Bodies of all lengths, some over several segments, with the LSN behind each.
fn fill(log: &Log, count: u64) -> Vec<(Lsn, Vec<u8>)> {
    let body = |i: u64| vec![i as u8; if i % 5 == 4 { 9_500 } else { 40 * i as usize % 700 }];
    (0..count).map(body).map(|body| (write(log, &body), body)).collect()
}

fn seal(log: &Log) -> Lsn {
    let lsn = log.seal();
    settle(log);
    lsn
}

fn read(log: &Log, from: Lsn) -> Result<Vec<(Lsn, Vec<u8>)>, StoreError> {
    let mut records = Vec::new();
    let end = log.read_sealed(from, &mut |record| {
        records.push((record.lsn_end, record.body.to_vec()));
        Ok(ControlFlow::Continue(()))
    })?;
    assert_eq!(end, records.last().map_or(from, |r| r.0));
    Ok(records)
}

fn publish(log: &Log, covered: Lsn) -> Result<Retired, StoreError> {
    log.publish(TAG, covered.to_le_bytes().to_vec(), covered, &|_| false)
}

fn behind(records: &[(Lsn, Vec<u8>)], from: Lsn) -> &[(Lsn, Vec<u8>)] {
    &records[records.partition_point(|r| r.0 <= from)..]
}

fn segment_files(disk: &SimDisk) -> Vec<u64> {
    disk.list(segment::FOLDER).unwrap().iter().filter_map(|name| segment::sequence_of(name)).collect()
}

#[test]
fn a_seal_ends_the_segment_without_a_write_and_only_when_there_is_something_in_it() {
    for (policy, way) in
        [Policy::Always, Policy::EverySec, Policy::No].into_iter().zip(WAYS.into_iter().cycle())
    {
        let bench = new_bench_with(policy, way);
        bench.settle();
        assert_eq!(seal(&bench.log), 0);
        assert_eq!((bench.log.info().sequence, bench.log.sealed_through()), (1, 0));
        let lsn = bench.write(b"x");
        assert_eq!(bench.log.sealed_through(), 0);
        assert_eq!(seal(&bench.log), lsn);
        assert_eq!((bench.log.info().sequence, bench.log.sealed_through()), (2, lsn));
        assert_eq!(bench.log.durable_lsn(), lsn, "a sealed segment is on the medium");
        bench.clock.advance(Duration::from_secs(1));
        seal(&bench.log);
        assert_eq!(bench.log.info().sequence, 2, "a frame that only bears witness is nothing to seal");
        // What is still in the buffer comes along, and what comes later does not end a segment.
        let lsn = bench.log.append(b"y");
        seal(&bench.log);
        assert_eq!((bench.log.info().sequence, bench.log.sealed_through()), (3, lsn));
        bench.write(b"z");
        assert_eq!(bench.log.info().sequence, 3);
        drop(bench.log);
        assert_eq!(reopen(&bench.disk.kill(), policy).records.len(), 3);
    }
}

#[test]
fn a_seal_waits_for_a_segment_to_go_on_in() {
    let bench = new_bench(Policy::EverySec);
    bench.log.append(b"x");
    bench.log.flush_tick(false);
    bench.disk.fail_from(OpKind::Allocate, 1, Fault::Enospc);
    let lsn = seal(&bench.log);
    assert!(bench.log.sealed_through() < lsn);
    bench.disk.heal();
    bench.settle();
    assert_eq!(bench.log.sealed_through(), lsn);
}

#[test]
fn sealed_records_are_read_from_the_end_of_any_record() {
    for way in WAYS {
        let bench = new_bench_with(Policy::Always, way);
        let records = fill(&bench.log, 30);
        seal(&bench.log);
        bench.write(b"in the active segment");
        assert!(bench.log.sealed().len() > 5);
        for from in records.iter().map(|r| r.0).chain([0]) {
            assert_eq!(read(&bench.log, from).unwrap(), behind(&records, from), "from {from}");
        }
        let mut count = 0;
        let end = bench.log.read_sealed(0, &mut |_| {
            count += 1;
            Ok(if count == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        assert_eq!((end.unwrap(), count), (records[6].0, 7));
        let refused = bench.log.read_sealed(0, &mut |_| Err(StoreError::Refused("mine".to_owned())));
        assert!(matches!(refused, Err(StoreError::Refused(text)) if text == "mine"));
        assert!(read(&bench.log, records[6].0 - 1).is_err(), "not the end of a record");
    }
}

#[test]
fn reading_that_goes_on_verifies_only_what_it_has_not_read() {
    let bench = new_bench(Policy::Always);
    let records: Vec<(Lsn, Vec<u8>)> = (0..8).map(|i| (bench.write(&[i; 300]), vec![i; 300])).collect();
    seal(&bench.log);
    let some = |from: Lsn, count: usize| {
        let mut left = count;
        bench.log.read_sealed(from, &mut |_| {
            left -= 1;
            Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    };
    assert_eq!(some(0, 4).unwrap(), records[3].0);
    // Damage in the first frame: whoever goes on does not come by it, whoever begins before does.
    let path = segment::path(bench.log.sealed()[0].sequence);
    let good = bench.disk.read_raw(&path).unwrap();
    let damage = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        bench.disk.write_raw(&path, &bad);
    };
    damage(segment::HEADER_LEN as usize + 100);
    assert_eq!(read(&bench.log, records[3].0).unwrap(), behind(&records, records[3].0));
    assert!(read(&bench.log, records[0].0).is_err() && read(&bench.log, 0).is_err());
    // Behind the place all of it counts; the frame of the place itself, too.
    bench.disk.write_raw(&path, &good);
    assert_eq!(some(0, 4).unwrap(), records[3].0);
    damage(good.iter().rposition(|&byte| byte == 7).unwrap());
    assert!(read(&bench.log, records[3].0).is_err());
    bench.disk.write_raw(&path, &good);
    // From any place, after a stop at any other.
    for stop in 1..8 {
        assert_eq!(some(0, stop).unwrap(), records[stop - 1].0);
        for from in records.iter().map(|r| r.0).chain([0]) {
            assert_eq!(read(&bench.log, from).unwrap(), behind(&records, from), "from {from}, after {stop}");
            assert_eq!(some(0, stop).unwrap(), records[stop - 1].0);
        }
    }
}

#[test]
fn reading_goes_on_behind_a_stop_in_the_middle_of_a_frame_or_at_a_record_in_pieces() {
    for way in WAYS {
        let bench = new_bench_with(Policy::Always, way);
        let mut records = Vec::new();
        for round in 0..6u8 {
            // Several records in one write are one frame; the last one goes over several segments.
            for len in [20, 30, 40] {
                let body = vec![round; len];
                records.push((bench.log.append(&body), body));
            }
            bench.log.flush_tick(false);
            bench.settle();
            let body = vec![round; 9_500];
            records.push((bench.write(&body), body));
        }
        seal(&bench.log);
        for step in 1..5 {
            let (mut from, mut got) = (0, Vec::new());
            loop {
                let mut left = step;
                let end = bench.log.read_sealed(from, &mut |record| {
                    got.push((record.lsn_end, record.body.to_vec()));
                    left -= 1;
                    Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                });
                let end = end.unwrap();
                if end == from {
                    break;
                }
                from = end;
            }
            assert_eq!(got, records, "{step} at a time");
        }
    }
}

#[test]
fn a_record_that_goes_on_in_the_active_segment_is_not_read_yet() {
    let bench = new_bench(Policy::EverySec);
    let first = bench.write(b"first");
    let large = bench.write(&[1; 9_500]);
    let sealed = bench.log.sealed_through();
    assert!(sealed > first && sealed < large);
    assert_eq!(read(&bench.log, 0).unwrap(), [(first, b"first".to_vec())]);
    assert!(publish(&bench.log, large).is_err(), "nothing is covered that is not sealed");
    seal(&bench.log);
    assert_eq!(read(&bench.log, first).unwrap(), [(large, vec![1; 9_500])]);
}

#[test]
fn reading_goes_on_while_the_log_is_written() {
    for way in WAYS {
        let bench = new_bench_with(Policy::Always, way);
        let records = fill(&bench.log, 20);
        seal(&bench.log);
        let mut got = Vec::new();
        let end = bench.log.read_sealed(0, &mut |record| {
            got.push((record.lsn_end, record.body.to_vec()));
            write(&bench.log, &[9; 900]);
            seal(&bench.log);
            Ok(ControlFlow::Continue(()))
        });
        assert_eq!(end.unwrap(), records[19].0);
        assert_eq!(got, records);
        assert_eq!(read(&bench.log, records[19].0).unwrap().len(), 20);
    }
}

#[test]
fn every_flip_in_a_sealed_segment_is_reported_or_changes_nothing() {
    let bench = new_bench(Policy::Always);
    let records = fill(&bench.log, 6);
    seal(&bench.log);
    let sealed = bench.log.sealed();
    let mut reported = 0;
    for one in &sealed[..3] {
        let path = segment::path(one.sequence);
        let good = bench.disk.read_raw(&path).unwrap();
        let frames = segment::HEADER_LEN as usize..one.bytes as usize;
        for at in (0..96).chain(frames.step_by(3)) {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            bench.disk.write_raw(&path, &bad);
            match read(&bench.log, 0) {
                Ok(same) => assert_eq!(same, records, "{path} {at}"),
                Err(StoreError::Corruption(c)) => {
                    assert_eq!(c.file, path, "{at}");
                    assert!(c.offset <= at as u64, "{at}: {c}");
                    reported += 1;
                }
                Err(StoreError::Refused(_)) => panic!("{path} {at}: damage is not a refusal"),
                Err(e) => panic!("{e}"),
            }
        }
        bench.disk.write_raw(&path, &good);
    }
    assert!(reported > 1000, "{reported}");
    assert_eq!(read(&bench.log, 0).unwrap(), records);
}

#[test]
fn what_is_published_is_not_read_again_and_the_stream_goes_on() {
    for (way, policy) in WAYS.into_iter().zip([Policy::EverySec, Policy::Always]) {
        let disk = disk_with(1, way);
        let mut log = reopen(&disk, policy).log;
        let mut records = Vec::new();
        let mut terms = Vec::new();
        for round in 0..5 {
            let base = log.append_lsn();
            records.extend(fill(&log, 12));
            // In the middle of a record that lies in three segments, at a segment's end, or at a boundary within one.
            let covered = match round {
                0 => records[records.len() - 4].0,
                1 => seal(&log),
                2 => records[records.len() - 8].0,
                3 => base,
                _ => seal(&log),
            };
            seal(&log);
            let before = segment_files(&disk);
            let retired = publish(&log, covered).unwrap();
            assert_eq!(before.len() as u64 - retired.segments, segment_files(&disk).len() as u64);
            assert!(log.sealed().iter().all(|s| s.end_lsn > covered));
            let after = disk.crash(round, CrashStyle::LoseAll);
            assert_eq!(segment_files(&after), segment_files(&disk), "what is given up stays gone");
            for copy in manifest::COPIES {
                let rotten = after.kill();
                rotten.write_raw(copy, b"rot");
                assert_eq!(reopen(&rotten, policy).from, covered, "either copy says so");
            }
            assert_eq!(read(&log, covered).unwrap(), behind(&records, covered));
            assert_eq!(log.sections(), [Section { tag: TAG, bytes: covered.to_le_bytes().to_vec() }]);
            if round % 2 == 0 {
                log.shutdown().unwrap();
            }
            let end = log.append_lsn();
            terms.push(log.info().term);
            drop(log);
            let found = reopen(&disk, policy);
            assert_eq!(found.from, covered);
            assert_eq!(found.records, behind(&records, covered), "round {round}");
            assert_eq!((found.report.end_lsn, found.report.torn), (end, None));
            assert_eq!(read(&found.log, covered).unwrap(), found.records);
            log = found.log;
        }
        let history = log.shared.catalog.lock().terms.clone();
        assert!(
            terms.iter().all(|&term| history.iter().any(|t| t.term == term)),
            "the history of terms stays"
        );
        assert!(history.is_sorted_by_key(|t| t.first_lsn));
    }
}

#[test]
fn a_log_of_which_everything_is_covered_starts_where_it_ended() {
    let disk = SimDisk::new(1);
    let log = reopen(&disk, Policy::Always).log;
    fill(&log, 8);
    let end = seal(&log);
    publish(&log, end).unwrap();
    assert_eq!(log.sealed(), []);
    log.shutdown().unwrap();
    assert_eq!(log.sealed_through(), end);
    publish(&log, end).unwrap();
    drop(log);
    for i in 0..4u64 {
        let found = reopen(&disk.crash(i, CrashStyle::LoseAll), Policy::Always);
        assert_eq!((found.report.end_lsn, found.records.len()), (end, 0));
        let more = write(&found.log, b"more");
        drop(found.log);
        let again = reopen(&disk, Policy::Always);
        assert_eq!((again.from, again.report.end_lsn), (end, end));
        assert!(more > end);
        drop(again.log);
    }
}

#[test]
fn retention_keeps_the_newest() {
    let bench = new_bench(Policy::Always);
    for i in 0..6 {
        bench.clock.advance(Duration::from_secs(10));
        bench.write(&[i; 1000]);
        seal(&bench.log);
    }
    let sealed = bench.log.sealed();
    assert_eq!(sealed.len(), 6);
    assert!(sealed.is_sorted_by_key(|s| s.last_us));
    assert_eq!(sealed[5].last_us, u64::MAX, "no frame is behind it");
    assert_eq!(sealed[0].last_us, 1_700_000_020_000_000);
    assert_eq!(sealed[5].bytes_behind, 0);
    assert_eq!(sealed[3].bytes_behind, sealed[4].bytes + sealed[5].bytes);
    let covered = bench.log.sealed_through();
    let go = |retention: Retention| {
        bench.log.publish(TAG, Vec::new(), covered, &|s| retention.keeps(s)).unwrap();
        bench.log.sealed().len()
    };
    assert_eq!(go(Retention { bytes: u64::MAX, since_us: u64::MAX }), 6);
    assert_eq!(go(Retention { bytes: 0, since_us: sealed[1].last_us }), 5);
    assert_eq!(go(Retention { bytes: sealed[2].bytes * 3, since_us: u64::MAX }), 3);
    // One that is kept keeps all behind it.
    bench.log.publish(TAG, Vec::new(), covered, &|s| s.sequence == sealed[3].sequence).unwrap();
    assert_eq!(bench.log.sealed().len(), 3);
    assert_eq!(go(Retention::NONE), 0);
}

#[test]
fn segments_that_were_passed_over_go_with_the_sealed_ones() {
    let disk = disk_with(1, LogIo::Auto);
    let log = reopen(&disk, Policy::EverySec).log;
    settle(&log);
    let mut covered = 0;
    for (round, policy) in [Policy::Always, Policy::No, Policy::Always].into_iter().enumerate() {
        covered = write(&log, b"one way");
        log.set_policy(policy);
        settle(&log);
        log.append(b"another way");
        // Without letting the preparer take the passed-over segments off the manifest.
        while log.sealed_through() < covered {
            assert!(log.step(), "round {round}");
        }
    }
    publish(&log, covered).unwrap();
    let listed: Vec<u64> = log.shared.catalog.lock().segments.iter().map(|s| s.sequence).collect();
    assert_eq!(segment_files(&disk), listed);
    assert_eq!(log.sealed(), []);
    settle(&log);
    drop(log);
    assert!(reopen(&disk, Policy::Always).report.end_lsn >= covered);
}

/// Everything that happens to a log whose segments are given up.
struct Life {
    records: Vec<(Lsn, Vec<u8>)>,
    written_lsn: Lsn,
    durable_lsn: Lsn,
    /// The last list that was published, and the one that was tried.
    published: Lsn,
    tried: Lsn,
}

fn live(log: &Log, rounds: u64) -> Life {
    let mut life = Life { records: Vec::new(), written_lsn: 0, durable_lsn: 0, published: 0, tried: 0 };
    for round in 0..rounds {
        let count = 3 + round % 3;
        let body = |i: u64| vec![(round * 16 + i) as u8; if i == 1 { 9_500 } else { 100 }];
        for body in (0..count).map(body) {
            life.records.push((log.append(&body), body));
            log.flush_tick(false);
            log.step();
        }
        seal(log);
        life.records.push((log.append(b"under way"), b"under way".to_vec()));
        log.flush_tick(false);
        let through = log.sealed_through();
        // The last records of the first round stay, so that a segment is covered in part.
        let back = if round == 0 { 2 } else { 0 };
        let ends: Vec<Lsn> = life.records.iter().map(|r| r.0).filter(|&end| end <= through).collect();
        if let Some(&covered) = ends.len().checked_sub(1 + back).and_then(|at| ends.get(at))
            && covered > life.published
            && life.tried == life.published
        {
            life.tried = covered;
            if publish(log, covered).is_ok() {
                life.published = covered;
            }
        }
        settle(log);
    }
    life.written_lsn = log.written_lsn();
    life.durable_lsn = log.durable_lsn();
    life
}

fn check(disk: &SimDisk, policy: Policy, life: &Life, kept: Lsn, context: &str) -> Found {
    let found = open_at(disk, policy, |covered| covered).unwrap_or_else(|e| panic!("{context}: {e}"));
    assert!([life.published, life.tried].contains(&found.from), "{context}: the list is old or new");
    let expected = behind(&life.records, found.from);
    assert!(found.records.len() <= expected.len(), "{context}");
    assert!(found.records == expected[..found.records.len()], "{context}: all records behind the list");
    assert!(found.report.end_lsn >= kept.max(found.from), "{context}: {} of {kept}", found.report.end_lsn);
    assert_eq!(found.report.end_lsn, found.records.last().map_or(found.from, |r| r.0), "{context}");
    found
}

fn sweep(policy: Policy, way: LogIo, stride: usize) {
    const ROUNDS: u64 = 3;
    let disk = disk_with(7, way);
    let log = reopen(&disk, policy).log;
    let first = disk.mutations();
    let whole = live(&log, ROUNDS);
    assert!(whole.published > 0 && whole.published == whole.tried);
    let operations = disk.mutations() - first;
    assert!(operations > 100, "{operations}");
    for stop in (0..=operations).step_by(stride) {
        let disk = disk_with(7, way);
        let log = reopen(&disk, policy).log;
        disk.crash_after(stop);
        let life = live(&log, ROUNDS);
        let context = format!("{policy:?} {way:?} kill at {stop}");
        check(&disk.kill(), policy, &life, life.written_lsn, &context);
        for (style, seed) in STYLES.iter().flat_map(|&style| (0..3).map(move |seed| (style, seed))) {
            if matches!(style, CrashStyle::LoseAll | CrashStyle::KeepAll) && seed > 0 {
                continue;
            }
            let context = format!("{policy:?} {way:?} {style:?} {seed} at {stop}");
            let after = disk.crash(seed, style);
            let found = check(&after, policy, &life, life.durable_lsn, &context);
            // What that start has shown, the next shows too, whatever happened in between.
            let kept = found.report.end_lsn;
            let listed: Vec<u64> =
                found.log.shared.catalog.lock().segments.iter().map(|s| s.sequence).collect();
            assert_eq!(segment_files(&after), listed, "{context}: no leftovers");
            check(&after.crash(seed, CrashStyle::LoseAll), policy, &life, kept, &context);
        }
    }
}

#[test]
fn a_crash_at_any_operation_of_giving_segments_up_leaves_the_old_or_the_new_list_and_all_behind_it() {
    sweep(Policy::Always, LogIo::Auto, 1);
    sweep(Policy::EverySec, LogIo::Auto, 1);
    sweep(Policy::No, LogIo::Direct, 3);
}

#[test]
fn a_crash_while_passed_over_segments_are_given_up_leaves_a_log_that_opens() {
    for stop in 0.. {
        let disk = disk_with(1, LogIo::Auto);
        let log = reopen(&disk, Policy::EverySec).log;
        settle(&log);
        let covered = write(&log, b"one way");
        log.set_policy(Policy::Always);
        settle(&log);
        log.append(b"another way");
        disk.crash_after(stop);
        while log.step() {}
        let ended = log.shared.failure().is_none();
        drop(log);
        let found = reopen(&disk.crash(stop, CrashStyle::KeepAll), Policy::Always).log;
        assert!(found.append_lsn() >= covered, "at {stop}");
        if ended {
            assert!(stop > 10, "the manifest was replaced");
            break;
        }
    }
}

#[test]
fn a_start_that_crashes_while_it_removes_leftovers_changes_nothing() {
    let disk = SimDisk::new(3);
    let log = reopen(&disk, Policy::Always).log;
    disk.fail_from(OpKind::Remove, 5, Fault::Eio);
    let life = live(&log, 3);
    drop(log);
    for stop in 0..60 {
        let again = disk.kill();
        again.crash_after(stop);
        drop(open_at(&again, Policy::Always, |covered| covered));
        let after = again.crash(stop, CrashStyle::Random);
        check(&after, Policy::Always, &life, life.durable_lsn, &format!("at {stop}"));
    }
}

#[test]
fn after_an_error_everything_is_there_and_it_can_be_done_again() {
    for kind in [OpKind::Write, OpKind::Rename, OpKind::SyncDir, OpKind::Create] {
        for nth in 1..=2 {
            let bench = new_bench(Policy::Always);
            let records = fill(&bench.log, 12);
            let covered = seal(&bench.log);
            let files = segment_files(&bench.disk);
            bench.disk.fail_nth(kind, nth, Fault::Enospc);
            let context = format!("{kind:?} {nth}");
            assert!(publish(&bench.log, covered).is_err(), "{context}");
            assert_eq!(segment_files(&bench.disk), files, "{context}");
            assert_eq!(bench.log.sections(), [], "{context}");
            assert_eq!(read(&bench.log, 0).unwrap(), records, "{context}");
            bench.write(b"goes on");
            let found = reopen(&bench.disk.kill(), Policy::Always);
            assert!([0, covered].contains(&found.from));
            assert_eq!(found.records.len(), behind(&records, found.from).len() + 1, "{context}");
            assert!(publish(&bench.log, covered).unwrap().segments > 5, "{context}");
            let found = reopen(&bench.disk.crash(1, CrashStyle::LoseAll), Policy::Always);
            assert_eq!((found.from, found.records.len()), (covered, 1), "{context}");
        }
    }
}

type Records = Vec<(Lsn, Vec<u8>)>;

/// A log with a list, segments that are covered and kept, and some behind.
fn with_covered_segments_kept() -> (SimDisk, Records, Lsn, Vec<SealedSegment>) {
    let disk = SimDisk::new(1);
    let log = reopen(&disk, Policy::Always).log;
    let mut records = fill(&log, 12);
    let covered = seal(&log);
    log.publish(TAG, covered.to_le_bytes().to_vec(), covered, &|_| true).unwrap();
    records.extend(fill(&log, 8));
    let sealed = log.sealed();
    drop(log);
    (disk, records, covered, sealed)
}

#[test]
fn segments_before_the_position_are_not_read_and_not_counted() {
    let (disk, records, covered, sealed) = with_covered_segments_kept();
    let found = reopen(&disk.kill(), Policy::Always);
    assert_eq!(found.records, behind(&records, covered));
    let total = found.progress[0].1;
    assert!(found.progress.iter().all(|&(done, of)| done <= of && of == total));
    let all = open_at(&disk.kill(), Policy::Always, |_| 0).unwrap();
    assert_eq!(all.records, records);
    let skipped: u64 = sealed.iter().filter(|s| s.end_lsn <= covered).map(|s| s.bytes).sum();
    assert_eq!(all.progress[0].1 - total, skipped);
    for (from, _) in &records {
        let found = open_at(&disk.kill(), Policy::Always, |_| *from).unwrap();
        assert_eq!(found.records, behind(&records, *from));
        assert_eq!(found.report.end_lsn, records.last().unwrap().0);
    }
    // Damage in what is not read is for `check` to find; in what is read it is refused as ever.
    for one in &sealed {
        let damaged = disk.kill();
        let path = segment::path(one.sequence);
        let mut bytes = damaged.read_raw(&path).unwrap();
        bytes[segment::HEADER_LEN as usize + frame::HEADER_LEN] ^= 1;
        damaged.write_raw(&path, &bytes);
        match open_at(&damaged, Policy::Always, |covered| covered) {
            Ok(found) => {
                assert!(one.end_lsn <= covered);
                assert_eq!(found.records, behind(&records, covered));
            }
            Err(StoreError::Corruption(c)) => {
                assert!(one.end_lsn > covered);
                assert_eq!(c.file, path);
            }
            Err(e) => panic!("{e}"),
        }
        let missing = disk.kill();
        missing.remove(&path).unwrap();
        let refused = open_at(&missing, Policy::Always, |covered| covered);
        assert!(matches!(refused, Err(StoreError::Refused(text)) if text.contains("missing")));
    }
}

#[test]
fn a_position_that_does_not_fit_the_log_is_refused_and_nothing_is_changed() {
    let (disk, records, covered, _) = with_covered_segments_kept();
    let log = reopen(&disk, Policy::Always).log;
    publish(&log, covered).unwrap();
    let end = records.last().unwrap().0;
    log.shutdown().unwrap();
    drop(log);
    let refused = |from: Lsn| {
        let disk = disk.kill();
        let result = open_at(&disk, Policy::Always, |_| from).map(|_| ());
        assert_eq!(disk.mutations(), 0, "{from}");
        result.expect_err("it does not fit").to_string()
    };
    assert!(refused(0).contains("the log begins at LSN"));
    assert!(refused(records[4].0).contains("the log begins at LSN"));
    assert!(refused(end + 1).contains("the log ends at LSN"));
    let inside = records.iter().map(|r| r.0).find(|&e| e > covered + 100).unwrap() - 50;
    assert!(refused(inside).contains("inside a record"), "{}", refused(inside));
    reopen(&disk, Policy::Always);
}

#[test]
fn lists_are_kept_side_by_side_and_survive_restarts() {
    let bench = new_bench(Policy::EverySec);
    bench.log.replace_section(1, b"one".to_vec()).unwrap();
    bench.log.replace_section(2, b"two".to_vec()).unwrap();
    bench.log.replace_section(1, b"uno".to_vec()).unwrap();
    let expected = [(1, b"uno"), (2, b"two")].map(|(tag, bytes)| Section { tag, bytes: bytes.to_vec() });
    assert_eq!(bench.log.sections(), expected);
    for disk in [bench.disk.kill(), bench.disk.crash(1, CrashStyle::LoseAll)] {
        let mut told = Vec::new();
        let visit = &mut |recovered: Recovered<'_>| {
            if let Recovered::Begin { sections, .. } = recovered {
                told = sections.to_vec();
            }
            Ok(())
        };
        let (log, _) =
            Log::open(Arc::new(disk), bench.clock.clone(), options(Policy::EverySec), visit).unwrap();
        assert_eq!(log.sections(), expected);
        assert_eq!(told, expected);
    }
    assert!(bench.log.replace_section(3, vec![0; (64 << 20) + 1]).is_err());
}
