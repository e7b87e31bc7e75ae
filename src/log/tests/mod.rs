//! The log over the simulated disk. `threads: false` throughout, except in `threaded`: a test decides what happens when.

mod crash;
mod damage;
mod image;
mod live;
mod modes;
mod refusal;
mod sealed;
mod threaded;

use std::sync::Arc;

use super::*;
use crate::clock::SimClock;
use crate::disk::LogIo;
use crate::disk::sim::{CrashStyle, Fault, FaultRule, OpKind, SimDisk};

/// A log, what it runs on, and what was appended to it.
struct Bench {
    log: Log,
    disk: SimDisk,
    clock: Arc<SimClock>,
}

struct Opened {
    bench: Bench,
    report: RecoveryReport,
    bodies: Vec<Vec<u8>>,
}

fn options(policy: Policy) -> LogOptions {
    LogOptions { segment_bytes: 8 << 10, buffer_bytes_max: 1 << 20, policy, threads: false }
}

fn try_open(disk: &SimDisk, options: LogOptions) -> Result<Opened, StoreError> {
    try_open_at(disk, options, Arc::new(SimClock::at_ms(1_700_000_000_000)))
}

fn try_open_at(disk: &SimDisk, options: LogOptions, clock: Arc<SimClock>) -> Result<Opened, StoreError> {
    let mut bodies = Vec::new();
    let mut lsn = None;
    let visited = &mut |recovered: Recovered<'_>| {
        if let Recovered::Record { lsn_end, body, .. } = recovered {
            let before = lsn.unwrap_or(lsn_end - record::record_len(body.len()) as u64);
            assert_eq!(lsn_end - before, record::record_len(body.len()) as u64, "LSNs are contiguous");
            lsn = Some(lsn_end);
            bodies.push(body.to_vec());
        }
        Ok(())
    };
    let (log, report) = Log::open(Arc::new(disk.clone()), clock.clone(), options, visited)?;
    assert_eq!(report.records, bodies.len() as u64);
    assert_eq!(report.end_lsn, lsn.unwrap_or(0));
    assert_eq!([log.append_lsn(), log.written_lsn(), log.durable_lsn()], [report.end_lsn; 3]);
    Ok(Opened { bench: Bench { log, disk: disk.clone(), clock }, report, bodies })
}

fn open(disk: &SimDisk, policy: Policy) -> Opened {
    try_open(disk, options(policy)).expect("the log opens")
}

fn new_bench(policy: Policy) -> Bench {
    open(&SimDisk::new(1), policy).bench
}

/// Through the page cache, and past it in blocks of 512 bytes; whatever the policy.
const WAYS: [LogIo; 2] = [LogIo::Buffered, LogIo::Direct];

fn disk_with(seed: u64, log_io: LogIo) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.set_log_io(log_io);
    disk
}

fn new_bench_with(policy: Policy, log_io: LogIo) -> Bench {
    open(&disk_with(1, log_io), policy).bench
}

impl Bench {
    fn settle(&self) {
        while self.log.step() {}
    }

    /// Appends and does all that there is to do at this moment.
    fn write(&self, body: &[u8]) -> Lsn {
        let lsn = self.log.append(body);
        self.log.flush_tick(false);
        self.settle();
        lsn
    }

    /// The path and the bytes of the segment that is being written, and where its frames end.
    fn active(&self) -> (String, Vec<u8>, usize) {
        let path = segment::path(self.log.info().sequence);
        let bytes = self.disk.read_raw(&path).expect("the active segment exists");
        let end = self.log.shared.writer.lock().active.offset as usize;
        (path, bytes, end)
    }
}

fn body(i: u64) -> Vec<u8> {
    format!("record {i}").into_bytes()
}

#[test]
fn records_come_back_in_order_over_many_segments() {
    for way in WAYS {
        let bench = new_bench_with(Policy::Always, way);
        let bodies: Vec<Vec<u8>> = (0..100).map(|i| vec![i as u8; 37 * i as usize]).collect();
        for body in &bodies {
            bench.write(body);
        }
        assert!(bench.log.info().sequence > 10);
        bench.log.shutdown().unwrap();
        let disk = bench.disk.kill();
        let found = open(&disk, Policy::Always);
        assert_eq!(found.bodies, bodies);
        assert_eq!(found.report.torn, None);
        assert_eq!(found.report.rewritten_bytes, 0);
    }
}

#[test]
fn an_empty_directory_becomes_a_store_and_reopens_empty() {
    let first = open(&SimDisk::new(1), Policy::Always);
    assert!(first.report.created);
    let id = first.bench.log.info().store_id;
    drop(first.bench.log);
    let again = open(&first.bench.disk, Policy::Always);
    assert!(!again.report.created);
    assert_eq!(again.bench.log.info().store_id, id);
    assert_eq!(again.bodies, Vec::<Vec<u8>>::new());
}

#[test]
fn a_store_keeps_its_seed_and_another_store_has_another() {
    let seed_of = |disk: &SimDisk| {
        let manifest::Found::Valid(found, None) = manifest::load(disk).unwrap() else {
            panic!("both copies of the manifest are valid");
        };
        found.seed
    };
    let told = |disk: &SimDisk| {
        let mut told = Vec::new();
        let visit = &mut |recovered: Recovered<'_>| {
            told.push(match recovered {
                Recovered::Begin { seed, .. } => Some(seed),
                _ => None,
            });
            Ok(())
        };
        let clock = Arc::new(SimClock::at_ms(1_700_000_000_000));
        let (log, _) = Log::open(Arc::new(disk.clone()), clock, options(Policy::Always), visit).unwrap();
        log.append(b"x");
        log.shutdown().unwrap();
        assert!(told[1..].iter().all(Option::is_none), "the seed comes once, and first");
        told[0].expect("the seed comes first")
    };
    let disk = SimDisk::new(1);
    let seed = told(&disk);
    for _ in 0..3 {
        assert_eq!(told(&disk), seed);
        assert_eq!(seed_of(&disk), seed);
    }
    assert_ne!(told(&SimDisk::new(1)), seed, "drawn from the system's randomness");
    assert_eq!(format!("{seed:?}"), "Seed(secret)");
}

#[test]
fn the_visitor_has_the_last_word_before_anything_is_written() {
    let bench = new_bench(Policy::Always);
    bench.write(b"x");
    drop(bench.log);
    let before = bench.disk.mutations();
    let visit = &mut |recovered: Recovered<'_>| match recovered {
        Recovered::End => Err(StoreError::Refused("they do not fit".to_owned())),
        _ => Ok(()),
    };
    let opened = Log::open(Arc::new(bench.disk.clone()), bench.clock.clone(), options(Policy::Always), visit);
    assert!(matches!(opened, Err(StoreError::Refused(text)) if text == "they do not fit"));
    assert_eq!(bench.disk.mutations(), before);
}

#[test]
fn every_start_takes_a_new_term_and_a_new_segment() {
    let disk = SimDisk::new(1);
    let mut last = (0, 0);
    for i in 0..5 {
        let opened = open(&disk, Policy::Always);
        let info = opened.bench.log.info();
        assert!(info.term > last.0 && info.sequence > last.1);
        last = (info.term, info.sequence);
        opened.bench.write(&body(i));
        if i % 2 == 0 {
            opened.bench.log.shutdown().unwrap();
        }
    }
    let found = open(&disk, Policy::Always);
    assert_eq!(found.bodies, (0..5).map(body).collect::<Vec<_>>());
    let manifest = found.bench.log.shared.catalog.lock().clone();
    assert_eq!(manifest.terms.iter().map(|t| t.term).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert!(manifest.terms.is_sorted_by_key(|t| t.first_lsn));
}

#[test]
fn a_term_that_wrote_nothing_leaves_no_trace_in_the_history() {
    let disk = SimDisk::new(1);
    for _ in 0..3 {
        open(&disk, Policy::Always);
    }
    let bench = open(&disk, Policy::Always).bench;
    let end = bench.write(b"x");
    drop(bench.log);
    open(&disk, Policy::Always);
    let found = open(&disk, Policy::Always);
    let terms = found.bench.log.shared.catalog.lock().terms.clone();
    let terms: Vec<_> = terms.iter().map(|t| (t.term, t.first_lsn)).collect();
    assert_eq!(terms, [(4, 0), (6, end)]);
}

#[test]
fn a_clean_restart_gives_unused_room_back() {
    let bench = new_bench(Policy::Always);
    bench.settle();
    bench.write(b"x");
    bench.log.shutdown().unwrap();
    let files = bench.disk.files();
    assert_eq!(files.iter().filter(|f| f.starts_with("log/")).count(), 1, "{files:?}");
    assert!(bench.disk.read_raw("log/00000001.log").unwrap().len() <= 4096 + 2 * 512);
    drop(bench.log);
    assert_eq!(open(&bench.disk, Policy::Always).bodies, [b"x"]);
}

#[test]
fn unproven_frames_are_written_again_before_serving() {
    for way in WAYS {
        let bench = new_bench_with(Policy::EverySec, way);
        for i in 0..6 {
            bench.log.append(&body(i));
            if bench.log.flush_tick(false) < bench.log.append_lsn() {
                bench.log.step();
            }
        }
        assert_eq!(bench.log.durable_lsn(), 0);
        // SIGKILL: the kernel has everything, the medium nothing.
        let found = open(&bench.disk.kill(), Policy::EverySec);
        assert_eq!(found.bodies.len(), 6);
        assert_eq!(found.report.rewritten_bytes, found.report.end_lsn);
        // Power loss right after the start, which has shown the records.
        let after = open(&found.bench.disk.crash(1, CrashStyle::LoseAll), Policy::EverySec);
        assert_eq!(after.bodies.len(), 6);
        assert_eq!(after.report.rewritten_bytes, 0);
    }
}

#[test]
fn only_what_no_frame_proves_is_written_again() {
    for way in WAYS {
        let bench = new_bench_with(Policy::Always, way);
        for i in 0..10 {
            bench.write(&body(i));
        }
        let found = open(&bench.disk.kill(), Policy::Always);
        assert_eq!(found.bodies.len(), 10);
        assert_eq!(found.report.rewritten_bytes, record::record_len(body(9).len()) as u64);
    }
}

#[test]
fn recovery_never_writes_into_a_segment_it_found() {
    for way in WAYS {
        let bench = new_bench_with(Policy::EverySec, way);
        for i in 0..50 {
            bench.log.append(&[i; 300]);
            bench.log.flush_tick(false);
        }
        bench.settle();
        let disk = bench.disk.kill();
        let before: Vec<_> = disk.files().into_iter().map(|f| (disk.read_raw(&f).unwrap(), f)).collect();
        let found = open(&disk, Policy::EverySec);
        found.bench.write(b"more");
        for (old, path) in before.iter().filter(|(_, path)| path.starts_with("log/")) {
            if let Some(new) = disk.read_raw(path) {
                // Giving the unused end back is all that may happen.
                assert_eq!(new, old[..new.len()], "{path}");
            }
        }
    }
}

#[test]
fn progress_is_told() {
    let bench = new_bench(Policy::Always);
    bench.write(b"x");
    bench.log.shutdown().unwrap();
    drop(bench.log);
    let mut told = Vec::new();
    let visit = &mut |recovered: Recovered<'_>| {
        if let Recovered::Progress { bytes_done, bytes_total } = recovered {
            told.push((bytes_done, bytes_total));
        }
        Ok(())
    };
    Log::open(Arc::new(bench.disk.clone()), bench.clock.clone(), options(Policy::Always), visit).unwrap();
    assert!(!told.is_empty() && told.iter().all(|(done, total)| done <= total));
}

#[test]
fn prepared_segments_are_not_counted_as_something_to_read() {
    let bench = new_bench(Policy::Always);
    bench.write(b"x");
    assert!(bench.log.info().segments_prepared > 0);
    let (segment_bytes, disk) = (options(Policy::Always).segment_bytes, bench.disk.clone());
    drop(bench.log);
    let mut told = Vec::new();
    let visit = &mut |recovered: Recovered<'_>| {
        if let Recovered::Progress { bytes_total, .. } = recovered {
            told.push(bytes_total);
        }
        Ok(())
    };
    Log::open(Arc::new(disk.kill()), bench.clock.clone(), options(Policy::Always), visit).unwrap();
    assert!(!told.is_empty() && told.iter().all(|&total| 0 < total && total <= segment_bytes), "{told:?}");
}

#[test]
fn the_visitors_error_stops_recovery() {
    let bench = new_bench(Policy::Always);
    bench.write(b"x");
    drop(bench.log);
    let visit = &mut |recovered: Recovered<'_>| match recovered {
        Recovered::Record { .. } => Err(StoreError::Refused("enough".to_owned())),
        _ => Ok(()),
    };
    let opened = Log::open(Arc::new(bench.disk.clone()), bench.clock.clone(), options(Policy::Always), visit);
    assert!(matches!(opened, Err(StoreError::Refused(text)) if text == "enough"));
}
