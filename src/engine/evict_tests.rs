//! Eviction through whole commands, in memory that is counted in keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::clock::SimClock;
use crate::disk::{Disk, SimDisk};
use crate::engine::rig::Rig;
use crate::keyspace::access::{Accesses, Recency};
use crate::keyspace::eviction::Wanted;
use crate::log::LogOptions;

/// Histories of what depends on chance.
const SEEDS: u64 = 20;
const OOM_REPLY: &str = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";

/// A server whose memory is a byte for each key.
fn rig(policy: &str, keys_max: usize) -> Rig {
    seeded_rig(1, policy, keys_max)
}

/// Where keys lie and which of them are looked at follows from `seed`.
fn seeded_rig(seed: u64, policy: &str, keys_max: usize) -> Rig {
    let mut rig = Rig::seeded(seed);
    rig.count_memory_in_keys(1);
    set(&mut rig, &format!("maxmemory-policy {policy} maxmemory {keys_max}"));
    rig
}

fn set(rig: &mut Rig, directives: &str) {
    assert_eq!(rig.run(&format!("CONFIG SET {directives}")), "+OK\r\n");
}

fn keys(rig: &mut Rig) -> BTreeSet<String> {
    let reply = rig.run("KEYS *");
    reply
        .split("\r\n")
        .filter(|line| !line.is_empty() && !line.starts_with(['*', '$']))
        .map(Into::into)
        .collect()
}

fn info(rig: &mut Rig, name: &str) -> u64 {
    let text = rig.run("INFO stats");
    let line = text.lines().find(|line| line.starts_with(&format!("{name}:"))).expect("INFO has it");
    line.trim().rsplit(':').next().and_then(|number| number.parse().ok()).expect("it is a number")
}

/// Beyond the limit by one key, so that the next command that writes needs room.
fn fill(rig: &mut Rig, count: usize) {
    for n in 0..count {
        assert_eq!(rig.run(&format!("SET k{n} v")), "+OK\r\n");
        rig.advance_ms(1000);
    }
}

#[test]
fn without_a_policy_what_may_grow_is_refused_before_it_runs_and_the_rest_is_served() {
    let mut rig = rig("noeviction", 2);
    fill(&mut rig, 3);
    let appended = rig.server.store.get().unwrap().log.append_lsn();
    for line in
        ["SET k9 v", "SET k0 w", "APPEND k0 x", "LPUSH l a", "HSET h f v", "INCR n", "SETRANGE k0 0 y"]
    {
        assert_eq!(rig.run(line), OOM_REPLY, "{line}");
    }
    assert_eq!(rig.server.store.get().unwrap().log.append_lsn(), appended);
    for (line, reply) in [("GET k0", "$1\r\nv\r\n"), ("EXPIRE k0 100", ":1\r\n"), ("PERSIST k0", ":1\r\n")] {
        assert_eq!(rig.run(line), reply, "{line}");
    }
    assert!(rig.run("INFO errorstats").contains("errorstat_OOM:count=7"));
    rig.advance_ms(50);
    assert!(info(&mut rig, "current_eviction_exceeded_time") >= 50);
    assert_eq!(rig.run("DEL k0"), ":1\r\n");
    assert_eq!(rig.run("SET k1 again"), "+OK\r\n");
    assert_eq!(info(&mut rig, "current_eviction_exceeded_time"), 0);
    assert!(info(&mut rig, "total_eviction_exceeded_time") >= 50);
    assert_eq!(info(&mut rig, "evicted_keys"), 0);
}

/// As redis-server 7.0.15 has it.
#[test]
fn a_transaction_takes_room_when_it_is_queued_and_when_it_runs() {
    let mut rig = rig("noeviction", 1);
    fill(&mut rig, 2);
    for (line, reply) in [
        ("MULTI", "+OK\r\n"),
        ("GET k0", OOM_REPLY),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n"),
        ("MULTI", "+OK\r\n"),
        ("EXEC", "*0\r\n"),
        ("MULTI", "+OK\r\n"),
        ("DISCARD", "+OK\r\n"),
        ("WATCH k0", "+OK\r\n"),
        ("UNWATCH", "+OK\r\n"),
        ("CONFIG SET maxmemory 0", "+OK\r\n"),
        ("MULTI", "+OK\r\n"),
        ("SET k0 w", "+QUEUED\r\n"),
    ] {
        assert_eq!(rig.run(line), reply, "{line}");
    }
    assert_eq!(rig.run_as(1, "MULTI"), "+OK\r\n");
    assert_eq!(rig.run_as(1, "GET k0"), "+QUEUED\r\n");
    rig.run_as(2, "CONFIG SET maxmemory 1");
    assert_eq!(
        rig.run("EXEC"),
        "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.\r\n"
    );
    assert_eq!(rig.run("PING"), "+PONG\r\n");
    assert_eq!(rig.run_as(1, "EXEC"), "*1\r\n$1\r\nv\r\n");
}

#[test]
fn what_was_not_accessed_for_long_goes_first() {
    let (mut survivors, mut newer) = (0, 0);
    for seed in 0..SEEDS {
        let mut rig = seeded_rig(seed * 1_000_000, "allkeys-lru", 0);
        set(&mut rig, "maxmemory-samples 10");
        fill(&mut rig, 200);
        for n in 0..20 {
            rig.run(&format!("GET k{n}"));
        }
        set(&mut rig, "maxmemory 100");
        rig.run("SET new v");
        let left = keys(&mut rig);
        assert_eq!(left.len(), 101);
        assert_eq!(info(&mut rig, "evicted_keys"), 100);
        survivors += (0..20).filter(|n| left.contains(&format!("k{n}"))).count();
        newer += (110..200).filter(|n| left.contains(&format!("k{n}"))).count();
    }
    let all = 20 * SEEDS as usize;
    assert!(survivors * 100 >= all * 98, "{survivors} of {all} that were just read");
    let all = 90 * SEEDS as usize;
    assert!(newer * 100 >= all * 80, "{newer} of the {all} newest");
}

/// The pool remembers candidates from sample to sample, and sees them anew before they go.
#[test]
fn a_candidate_that_was_accessed_meanwhile_stays() {
    let mut rig = rig("allkeys-lru", 0);
    set(&mut rig, "maxmemory-samples 100");
    fill(&mut rig, 10);
    set(&mut rig, "maxmemory 10");
    rig.run("SET a v");
    // k0 had to go for it only now, and the others were seen.
    rig.run("SET b v");
    assert!(!keys(&mut rig).contains("k0"));
    rig.run("GET k1");
    rig.run("SET c v");
    let left = keys(&mut rig);
    assert!(left.contains("k1") && !left.contains("k2"), "{left:?}");
}

#[test]
fn what_is_accessed_rarely_goes_first() {
    let mut survivors = 0;
    for seed in 0..SEEDS {
        let mut rig = seeded_rig(seed * 1_000_000, "allkeys-lfu", 0);
        set(&mut rig, "maxmemory-samples 10 lfu-log-factor 0");
        fill(&mut rig, 50);
        for _ in 0..5 {
            (0..25).for_each(|n| _ = rig.run(&format!("GET k{n}")));
        }
        // Read once, but last.
        (25..50).for_each(|n| _ = rig.run(&format!("GET k{n}")));
        set(&mut rig, "maxmemory 25");
        rig.run("SET new v");
        let left = keys(&mut rig);
        survivors += (0..25).filter(|n| left.contains(&format!("k{n}"))).count();
    }
    let all = 25 * SEEDS as usize;
    assert!(survivors * 100 >= all * 98, "{survivors} of {all} that are read often");
}

#[test]
fn volatile_policies_spare_what_does_not_expire() {
    for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
        // Few and many of those that may go.
        for volatile in [3, 60] {
            let mut rig = rig(policy, 0);
            fill(&mut rig, 60);
            for n in 0..volatile {
                rig.run(&format!("SET v{n} v EX {}", 1000 + n));
            }
            set(&mut rig, "maxmemory 60");
            assert_eq!(rig.run("SET k0 w"), "+OK\r\n", "{policy}");
            assert_eq!(keys(&mut rig).len(), 60, "{policy}");
            assert!(keys(&mut rig).iter().all(|key| key.starts_with('k')), "{policy}");
            set(&mut rig, "maxmemory 59");
            assert_eq!(rig.run("SET k0 x"), OOM_REPLY, "{policy}");
            rig.run("CONFIG SET maxmemory-policy allkeys-random");
            assert_eq!(rig.run("SET k0 x"), "+OK\r\n", "{policy}");
        }
    }
}

#[test]
fn what_is_due_soonest_goes_first_exactly() {
    let mut rig = rig("volatile-ttl", 0);
    for n in 0..300 {
        rig.run(&format!("SET k{n} v PX {}", 1_000_000 + (n * 7919) % 300 * 1000));
    }
    // A later time than when it was seen, and an earlier one.
    set(&mut rig, "maxmemory 250");
    rig.run("SET stays v");
    let gone = |left: &BTreeSet<String>| -> BTreeSet<usize> {
        (0..300).filter(|n| !left.contains(&format!("k{n}"))).map(|n| (n * 7919) % 300).collect()
    };
    assert_eq!(gone(&keys(&mut rig)), (0..50).collect());
    let next = |rank| (0..300).find(|n| (n * 7919) % 300 == rank).unwrap();
    rig.run(&format!("PERSIST k{}", next(50)));
    rig.run(&format!("PEXPIRE k{} 9000000", next(51)));
    set(&mut rig, "maxmemory 240");
    rig.run("SET stays w");
    let expected: BTreeSet<usize> = (0..63).filter(|rank| ![50, 51].contains(rank)).collect();
    assert_eq!(gone(&keys(&mut rig)), expected);
}

/// Keys of one hash tag lie in one slot, others all over.
#[test]
fn every_key_is_as_likely_to_be_looked_at_as_any_other() {
    for only_volatile in [false, true] {
        let mut rig = Rig::new();
        for n in 0..40 {
            rig.run(&format!("SET {{tag}}{n} v EX 1000"));
            rig.run(&format!("SET k{n} v EX {}", 1000 + n));
        }
        rig.run("SELECT 3");
        for n in 0..40 {
            rig.run(&format!("SET other{n} v EX 1000"));
        }
        let keyspace = &rig.server.store.get().unwrap().keyspace;
        let scores = Scores {
            wanted: Wanted { only_volatile, first: First::Any },
            accesses: Accesses::Recency(Recency { touches: false, now_s: 0 }),
            up_s: 0,
        };
        let mut pool = Pool::new(7);
        let mut seen = std::collections::HashMap::new();
        for _ in 0..12_000 {
            assert!(pool.gather(keyspace, &scores, 5));
            while let Some(candidate) = pool.take() {
                *seen.entry((candidate.db, candidate.slot, candidate.hash)).or_insert(0usize) += 1;
            }
        }
        assert_eq!(seen.len(), 120);
        let all: usize = seen.values().sum();
        for (key, count) in seen {
            // One visit in sixteen goes by stripe: keys that are alone in theirs come up to twice as often.
            assert!((all / 240..all / 40).contains(&count), "{key:?}: {count} of {all}");
        }
    }
}

#[test]
fn a_watched_key_that_is_evicted_has_changed() {
    let mut rig = rig("allkeys-random", 0);
    rig.run("SET k v");
    rig.run("WATCH k");
    set(&mut rig, "maxmemory 1");
    rig.run_as(1, "SET other v");
    rig.run_as(1, "SET other w");
    rig.run_as(1, "SET third w");
    assert!(!keys(&mut rig).contains("k") || !keys(&mut rig).contains("other"));
    while keys(&mut rig).contains("k") {
        rig.run_as(1, "SET third w");
        rig.run_as(1, "SET fourth w");
        rig.run_as(1, "SET fifth w");
    }
    rig.run("MULTI");
    rig.run("PING");
    assert_eq!(rig.run("EXEC"), "*-1\r\n");
}

#[test]
fn evictions_replay_to_the_same_state() {
    let disk = SimDisk::new(1);
    let clock = Arc::new(SimClock::at_ms(1_700_000_000_000));
    let options = || LogOptions { threads: false, segment_bytes: 1 << 20, ..LogOptions::default() };
    let open = |disk: SimDisk| Rig::open(Arc::new(disk) as Arc<dyn Disk>, clock.clone(), options()).unwrap();
    let mut rig = open(disk.clone());
    rig.count_memory_in_keys(1);
    for (policy, keys_max) in [
        ("allkeys-lru", 90),
        ("volatile-ttl", 70),
        ("allkeys-lfu", 50),
        ("allkeys-random", 30),
        ("volatile-lru", 20),
    ] {
        set(&mut rig, &format!("maxmemory-policy {policy} maxmemory {keys_max}"));
        for n in 0..100 {
            rig.run(&format!("SET {policy}{n} v EX {}", 100 + n % 50));
            rig.run(&format!("HSET h{n} f v{n}"));
            rig.run(&format!("GET k{}", n / 2));
            rig.advance_ms(300);
        }
    }
    assert!(info(&mut rig, "evicted_keys") > 300);
    rig.settle();
    rig.server.store.get().unwrap().log.shutdown().unwrap();
    let live = rig.state();
    drop(rig);
    assert_eq!(open(disk.kill()).state(), live);
}

/// Simulated time stands still, so only what costs no time is done.
#[test]
fn a_command_that_may_not_wait_evicts_a_little_and_runs() {
    let mut rig = rig("allkeys-lru", 0);
    fill(&mut rig, 500);
    set(&mut rig, "maxmemory 100 maxmemory-eviction-tenacity 0");
    assert_eq!(rig.run("SET new v"), "+OK\r\n");
    assert_eq!(info(&mut rig, "evicted_keys"), BATCH as u64);
    assert_eq!(rig.run("GET new"), "$1\r\nv\r\n");
    set(&mut rig, "maxmemory-eviction-tenacity 100");
    rig.run("SET newer v");
    assert_eq!(keys(&mut rig).len(), 101);
}

#[test]
fn a_log_that_takes_nothing_has_nothing_evicted() {
    use crate::disk::sim::{Fault, OpKind};
    use crate::log::LogState;
    let disk = SimDisk::new(1);
    let clock = Arc::new(SimClock::at_ms(1_700_000_000_000));
    let options = LogOptions { threads: false, segment_bytes: 1 << 20, ..LogOptions::default() };
    let mut rig = Rig::open(Arc::new(disk.clone()), clock, options).unwrap();
    rig.count_memory_in_keys(1);
    fill(&mut rig, 5);
    set(&mut rig, "maxmemory 2 maxmemory-policy allkeys-lru");
    let log = rig.server.store.get().unwrap().log.clone();
    log.flush_tick(true);
    disk.fail_nth(OpKind::Sync, 1, Fault::Eio);
    rig.settle();
    assert!(matches!(log.state(), LogState::Failed { .. }));
    let appended = log.append_lsn();
    assert!(rig.run("SET k v").starts_with("-MISCONF"), "the log's error, not OOM");
    assert_eq!((log.append_lsn(), info(&mut rig, "evicted_keys")), (appended, 0));
}

#[test]
fn nothing_is_evicted_while_clients_are_paused() {
    let mut rig = rig("allkeys-lru", 0);
    fill(&mut rig, 5);
    set(&mut rig, "maxmemory 2");
    rig.run("CLIENT PAUSE 1000 WRITE");
    assert_eq!(rig.run("SET k v"), "", "it is parked");
    assert_eq!(keys(&mut rig).len(), 5);
    rig.advance_ms(1001);
    assert_eq!(rig.run("SET k v"), "+OK\r\n");
    assert_eq!(keys(&mut rig).len(), 3);
}

#[test]
fn frequency_and_idle_time_are_told_under_their_policy() {
    let mut rig = Rig::new();
    rig.run("SET old v");
    rig.advance_ms(10_000);
    assert_eq!(rig.run("OBJECT IDLETIME old"), ":10\r\n");
    assert_eq!(rig.run("TTL old"), ":-1\r\n");
    assert_eq!(rig.run("OBJECT IDLETIME old"), ":10\r\n", "looking is no access");
    rig.run("CLIENT NO-TOUCH ON");
    for (line, idle) in [("GET old", ":10\r\n"), ("APPEND old w", ":10\r\n"), ("TOUCH old", ":0\r\n")] {
        rig.run(line);
        assert_eq!(rig.run("OBJECT IDLETIME old"), idle, "{line}");
    }
    rig.run("CLIENT NO-TOUCH OFF");
    for line in ["APPEND old x", "GET old", "EXPIRE old 1000", "SET old v"] {
        rig.advance_ms(5000);
        assert_eq!(rig.run("OBJECT IDLETIME old"), ":5\r\n", "before {line}");
        rig.run(line);
        assert_eq!(rig.run("OBJECT IDLETIME old"), ":0\r\n", "{line}");
    }
    set(&mut rig, "maxmemory-policy volatile-lfu lfu-log-factor 0");
    for line in ["SET new v", "HSET h f v", "RPUSH l a", "SETBIT b 1 1"] {
        rig.run(line);
        let key = line.split(' ').nth(1).unwrap();
        assert_eq!(rig.run(&format!("OBJECT FREQ {key}")), ":5\r\n", "{line}");
    }
    for (count, line) in ["GET h", "HGET h f", "HSET h g v", "EXPIRE h 1000"].iter().enumerate() {
        rig.run(line);
        assert_eq!(rig.run("OBJECT FREQ h"), format!(":{}\r\n", 6 + count), "{line}");
    }
    rig.advance_ms(3 * 60_000);
    assert_eq!(rig.run("OBJECT FREQ h"), ":6\r\n");
    assert!(rig.run("OBJECT IDLETIME h").starts_with("-ERR An LFU"));
    assert_eq!(rig.run("OBJECT FREQ nothing"), "$-1\r\n");
}
