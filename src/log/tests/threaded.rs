//! The same with the log's own threads.

use std::sync::mpsc;

use super::*;
use crate::clock::OsClock;

fn open_threaded(disk: &SimDisk, policy: Policy) -> Arc<Log> {
    let options = LogOptions { threads: true, ..options(policy) };
    let (log, _) =
        Log::open(Arc::new(disk.clone()), Arc::new(OsClock::new()), options, &mut |_| Ok(())).unwrap();
    Arc::new(log)
}

/// Blocks until `reached` says so; asked again at every publication.
fn wait_until(log: &Log, reached: impl Fn(&Log) -> bool) {
    let (sender, receiver) = mpsc::channel();
    log.subscribe(Box::new(move |_| {
        let _ = sender.send(());
    }));
    while !reached(log) {
        receiver.recv_timeout(Duration::from_secs(60)).expect("published within a minute");
    }
}

#[test]
fn appenders_on_many_threads_become_durable_and_come_back() {
    for policy in [Policy::Always, Policy::EverySec, Policy::No] {
        let disk = SimDisk::new(1);
        let log = open_threaded(&disk, policy);
        let appenders: Vec<_> = (0..4u8)
            .map(|thread| {
                let log = log.clone();
                std::thread::spawn(move || {
                    for i in 0..200u8 {
                        let lsn = log.append(&[thread, i, 0, 0, 0]);
                        log.flush_tick(i % 3 == 0);
                        if i % 50 == 0 {
                            log.demand_sync(lsn);
                            wait_until(&log, |log| log.durable_lsn() >= lsn);
                        }
                    }
                })
            })
            .collect();
        for appender in appenders {
            appender.join().unwrap();
        }
        wait_until(&log, |log| log.written_lsn() == log.append_lsn());
        log.shutdown().unwrap();
        let found = open(&disk.crash(1, CrashStyle::LoseAll), policy);
        assert_eq!(found.bodies.len(), 800);
        for thread in 0..4u8 {
            let mine: Vec<u8> = found.bodies.iter().filter(|b| b[0] == thread).map(|b| b[1]).collect();
            assert_eq!(mine, (0..200).collect::<Vec<u8>>(), "each thread's records are in its order");
        }
    }
}

#[test]
fn writes_go_on_while_a_sync_is_held() {
    let disk = SimDisk::new(1);
    let log = open_threaded(&disk, Policy::EverySec);
    wait_until_prepared(&log);
    disk.hold_syncs();
    let one = log.append(b"one");
    log.flush_tick(true);
    disk.wait_until_held(1);
    let two = log.append(b"two");
    log.flush_tick(false);
    wait_until(&log, |log| log.written_lsn() == two);
    assert!(log.durable_lsn() < one);
    disk.release_one_sync();
    wait_until(&log, |log| log.durable_lsn() >= one);
    assert_eq!(log.durable_lsn(), one, "a sync covers what was written before it began");
    disk.release_syncs();
    log.demand_sync(two);
    wait_until(&log, |log| log.durable_lsn() == two);
    log.shutdown().unwrap();
}

/// The kernel reports a failed write-back once: a sync beside the one that was told would know nothing of it.
#[test]
fn a_sync_waits_for_the_end_of_another() {
    let disk = SimDisk::new(1);
    let bench = open(&disk, Policy::EverySec).bench;
    let shared = &*bench.log.shared;
    bench.log.append(b"one");
    bench.log.flush_tick(true);
    let (file, sequence) = {
        let writer = shared.writer.lock();
        (writer.active.file.clone(), writer.active.sequence)
    };
    disk.hold_syncs();
    let began = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| shared.sync_file(&file, sequence));
        disk.wait_until_held(1);
        scope.spawn(|| {
            began.store(true, std::sync::atomic::Ordering::SeqCst);
            shared.sync_file(&file, sequence)
        });
        // A look for what must not come: a log that works never makes it, however long one looks.
        while !began.load(std::sync::atomic::Ordering::SeqCst) {
            std::thread::yield_now();
        }
        for _ in 0..100_000 {
            std::thread::yield_now();
        }
        let held = disk.held_syncs();
        disk.release_syncs();
        assert_eq!(held, 1, "one sync at a time");
    });
}

#[test]
fn under_always_the_next_group_gathers_while_one_is_synced() {
    let disk = SimDisk::new(1);
    let log = open_threaded(&disk, Policy::Always);
    wait_until_prepared(&log);
    disk.hold_syncs();
    let one = log.append(b"one");
    log.flush_tick(true);
    disk.wait_until_held(1);
    for _ in 0..100 {
        log.append(b"gathers");
        log.flush_tick(true);
    }
    assert_eq!((log.written_lsn(), log.durable_lsn()), (one, 0));
    disk.release_syncs();
    let all = log.append_lsn();
    wait_until(&log, |log| log.durable_lsn() == all);
    assert_eq!(log.info().groups, 2);
    log.shutdown().unwrap();
}

#[test]
fn a_full_disk_ends_by_itself() {
    let disk = SimDisk::new(1);
    let log = open_threaded(&disk, Policy::Always);
    wait_until_prepared(&log);
    disk.fail_from(OpKind::Write, 1, Fault::Enospc);
    let lsn = log.append(b"x");
    log.flush_tick(true);
    wait_until(&log, |log| log.state() == LogState::NoSpace);
    disk.heal();
    wait_until(&log, |log| log.durable_lsn() == lsn && log.state() == LogState::Healthy);
    log.shutdown().unwrap();
}

#[test]
fn a_failed_sync_is_told_to_all_who_wait() {
    let disk = SimDisk::new(1);
    let log = open_threaded(&disk, Policy::EverySec);
    wait_until_prepared(&log);
    disk.fail_nth(OpKind::Sync, 1, Fault::Eio);
    log.append(b"x");
    log.flush_tick(true);
    wait_until(&log, |log| matches!(log.state(), LogState::Failed { .. }));
    assert_eq!(log.durable_lsn(), 0);
}

#[test]
fn a_quiet_log_witnesses_its_last_sync() {
    let disk = SimDisk::new(1);
    let log = open_threaded(&disk, Policy::EverySec);
    let lsn = log.append(b"x");
    log.flush_tick(true);
    wait_until(&log, |log| log.durable_lsn() == lsn);
    while log.shared.writer.lock().witnessed < lsn {
        std::thread::yield_now();
    }
    let found = open(&disk.kill(), Policy::EverySec);
    assert_eq!(found.report.rewritten_bytes, 0);
}

fn wait_until_prepared(log: &Log) {
    while log.info().segments_prepared < prepare::AHEAD as u64 {
        std::thread::yield_now();
    }
}

#[test]
fn segments_are_sealed_read_and_given_up_while_others_append() {
    use std::ops::ControlFlow;
    use std::sync::atomic::{AtomicBool, Ordering};

    for policy in [Policy::Always, Policy::EverySec, Policy::No] {
        let disk = SimDisk::new(1);
        let log = open_threaded(&disk, policy);
        let is_over = Arc::new(AtomicBool::new(false));
        let appender = {
            let (log, is_over) = (log.clone(), is_over.clone());
            std::thread::spawn(move || {
                let mut count = 0u64;
                while !is_over.load(Ordering::Relaxed) {
                    if log.admit().is_err() {
                        std::thread::yield_now();
                        continue;
                    }
                    log.append(&[&count.to_le_bytes()[..], &[0; 90]].concat());
                    log.flush_tick(false);
                    count += 1;
                }
                count
            })
        };
        let (mut from, mut next) = (0, 0u64);
        for _ in 0..10 {
            wait_until(&log, |log| log.append_lsn() > from + 1000);
            let lsn = log.seal();
            wait_until(&log, |log| log.sealed_through() >= lsn);
            let end = log.read_sealed(from, &mut |record| {
                assert_eq!(record.body[..8], next.to_le_bytes(), "in order, none left out");
                next += 1;
                Ok(ControlFlow::Continue(()))
            });
            from = end.unwrap();
            assert!(from >= lsn);
            log.publish(1, from.to_le_bytes().to_vec(), from, &|_| false).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        let count = appender.join().unwrap();
        log.shutdown().unwrap();
        drop(log);
        let visit = &mut |recovered: Recovered<'_>| {
            match recovered {
                Recovered::Begin { from: at, .. } => *at = from,
                Recovered::Record { body, .. } => {
                    assert_eq!(body[..8], next.to_le_bytes());
                    next += 1;
                }
                _ => {}
            }
            Ok(())
        };
        let clock = Arc::new(OsClock::new());
        Log::open(Arc::new(disk.crash(1, CrashStyle::LoseAll)), clock, options(policy), visit).unwrap();
        assert_eq!(next, count);
    }
}
