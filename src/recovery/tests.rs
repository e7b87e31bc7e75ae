//! Replay by any number of threads is replay by one: states, failures, and what recovery does with them.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::clock::SimClock;
use crate::config::{Config, Name};
use crate::disk::SimDisk;
use crate::engine::rig::Rig;
use crate::keyspace::ReplayError;
use crate::keyspace::digest::describe;
use crate::keyspace::op::{AnyOp, Op, Ops, SpaceOp, encode_key_op, encode_space_op};
use crate::keyspace::waiters::StripeSet;
use crate::types::string::value::StringOp;
use batch::Position;

const THREADS: [usize; 5] = [0, 1, 2, 4, 64];
const SEED: u64 = 77;
const DATABASES: u32 = 3;

/// A record and the LSN behind it.
type Record = (u64, Vec<u8>);

fn replayed(records: &[Record], seed: u64, databases: u32, threads: usize) -> Result<String, Failure> {
    let mut replay = Replay::new(Keyspace::new(databases, seed), threads).unwrap();
    for (lsn_end, body) in records {
        replay.record(*lsn_end, body)?;
    }
    Ok(describe(&replay.finish()?))
}

/// What replay must be like: one op after the other.
fn one_by_one(records: &[Record]) -> Result<String, Failure> {
    let keyspace = Keyspace::new(DATABASES, SEED);
    for (lsn_end, body) in records {
        for (op, index) in Ops::new(body).zip(0..) {
            let at = Position { lsn_end: *lsn_end, index };
            let mut held = keyspace.lock(StripeSet::ALL);
            let result = match op {
                Ok(AnyOp::Key { space, key, op }) => {
                    held.apply(space, &keyspace.key(key), &op).map_err(ReplayError::from)
                }
                Ok(AnyOp::Space(op)) => held.apply_space(&op).map(drop),
                Err(malformed) => Err(malformed.into()),
            };
            result.map_err(|error| Failure { at, error })?;
        }
    }
    Ok(describe(&keyspace))
}

#[derive(Debug, Clone)]
enum Step {
    Set(u8, String),
    Append(u8, String),
    /// Fails when there is none.
    Delete(u8),
    /// Fails when there is none, or the slots differ.
    Rename(u8, u8),
    Swap(u32, u32),
    Flush(u32),
    /// Bytes that are no op.
    Malformed(Vec<u8>),
}

fn step(bad: u32) -> impl Strategy<Value = Step> {
    prop_oneof![
        200 => (any::<u8>(), "[a-z]{0,30}").prop_map(|(key, value)| Step::Set(key, value)),
        40 => (any::<u8>(), "[a-z]{1,9}").prop_map(|(key, value)| Step::Append(key, value)),
        bad => any::<u8>().prop_map(Step::Delete),
        bad => (any::<u8>(), any::<u8>()).prop_map(|(key, to)| Step::Rename(key, to)),
        2 => (0..DATABASES, 0..DATABASES).prop_map(|(a, b)| Step::Swap(a, b)),
        1 => (0..DATABASES + bad.min(1)).prop_map(Step::Flush),
        bad => prop::collection::vec(any::<u8>(), 1..20).prop_map(Step::Malformed),
    ]
}

fn name(key: u8) -> Vec<u8> {
    if key < 60 { format!("{{t}}:{}", key % 8).into_bytes() } else { format!("key:{key}").into_bytes() }
}

/// Records of a few ops each, with the LSNs that a log would give them.
fn records(steps: &[Step], ops_per_record: usize) -> Vec<Record> {
    let mut lsn = 0;
    let mut next_space = crate::keyspace::DATABASES_MAX;
    let record = |steps: &[Step]| {
        let mut body = Vec::new();
        for (step, number) in steps.iter().zip(0u32..) {
            let mut on_key = |key: u8, op: Op<'_>| encode_key_op(&mut body, number % 2, &name(key), &op);
            match step {
                Step::Set(key, value) => {
                    on_key(*key, Op::String(StringOp::Set { value: value.as_bytes(), expire_at: None }))
                }
                Step::Append(key, bytes) => {
                    on_key(*key, Op::String(StringOp::Append { bytes: bytes.as_bytes() }))
                }
                Step::Delete(key) => on_key(*key, Op::Delete),
                Step::Rename(key, to) => on_key(*key, Op::Rename { to: &name(*to) }),
                Step::Swap(a, b) => encode_space_op(&mut body, &SpaceOp::Swap { a: *a, b: *b }),
                Step::Flush(db) => {
                    next_space += 1;
                    encode_space_op(&mut body, &SpaceOp::Flush { db: *db, space: next_space });
                }
                Step::Malformed(bytes) => crate::codec::put_bytes(&mut body, bytes),
            }
        }
        lsn += body.len() as u64 + 1;
        (lsn, body)
    };
    steps.chunks(ops_per_record).map(record).collect()
}

fn command() -> impl Strategy<Value = String> {
    let lines = prop::sample::select(vec![
        "SET K V",
        "SET O V PX 500000",
        "APPEND K V",
        "INCRBY n:O 7",
        "MSET K V O V",
        "DEL O",
        "EXPIRE K 1000",
        "RENAME {t}K {t}O",
        "RENAME K O",
        "COPY K O REPLACE",
        "MOVE K 1",
        "SWAPDB 0 1",
        "FLUSHDB",
        "RPUSH l:K V V V",
        "LMOVE l:K l:O LEFT RIGHT",
        "HSET h:K f V g V",
        "HDEL h:O f",
        "HPEXPIRE h:K 400000 FIELDS 1 f",
    ]);
    let value = prop_oneof!["[a-z]{1,12}", (1usize..600).prop_map(|len| "x".repeat(len))];
    (lines, 0u8..40, 0u8..40, value).prop_map(|(line, key, other, value)| {
        line.replace('K', &format!("k{key}")).replace('O', &format!("k{other}")).replace('V', &value)
    })
}

fn options(threads: bool) -> LogOptions {
    LogOptions { threads, segment_bytes: 64 << 10, ..LogOptions::default() }
}

fn rig_on(disk: &SimDisk) -> Rig {
    let clock = Arc::new(SimClock::at_ms(1_700_000_001_000));
    Rig::open(Arc::new(disk.clone()), clock, options(false)).expect("the disk has no faults")
}

/// Recovery as a start of the server does it: with the log's threads, and as many to apply as there are processors.
fn recovered(disk: &SimDisk, threads: bool) -> Result<Store, StoreError> {
    let clock = Arc::new(SimClock::at_ms(1_700_000_001_000));
    let server = Server::new(Arc::new(Config::new()), clock, crate::registry()).unwrap();
    let store = open(&server, Arc::new(disk.clone()), options(threads))?;
    assert_eq!(server.loading.records.load(Relaxed), store.recovery.records);
    Ok(store)
}

fn write_all(rig: &Rig) {
    let store = rig.server.store.get().expect("the rig opened it");
    store.log.flush_tick(true);
    rig.settle();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_live_state_is_the_replayed_state_by_any_number_of_threads(
        commands in prop::collection::vec(command(), 1..400)
    ) {
        let disk = SimDisk::new(1);
        let mut rig = rig_on(&disk);
        for command in &commands {
            rig.run(command);
        }
        write_all(&rig);
        let live = rig.state();
        drop(rig);
        let (mut records, mut seed) = (Vec::new(), 0);
        let clock = Arc::new(SimClock::at_ms(1_700_000_001_000));
        Log::open(Arc::new(disk.kill()), clock, options(false), &mut |recovered| {
            match recovered {
                Recovered::Begin { seed: it, .. } => seed = it.0,
                Recovered::Record { lsn_end, body, .. } => records.push((lsn_end, body.to_vec())),
                _ => {}
            }
            Ok(())
        }).unwrap();
        for threads in THREADS {
            let state = replayed(&records, seed, Config::new().databases() as u32, threads);
            prop_assert_eq!(state.as_deref(), Ok(&live[..]), "{} threads", threads);
        }
        prop_assert_eq!(describe(&recovered(&disk, true).unwrap().keyspace), live);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn ops_make_the_same_state_by_any_number_of_threads(
        steps in prop::collection::vec(step(0), 0..600), ops_per_record in 1usize..7
    ) {
        let records = records(&steps, ops_per_record);
        let expected = one_by_one(&records);
        prop_assert!(expected.is_ok());
        for threads in THREADS {
            prop_assert_eq!(&replayed(&records, SEED, DATABASES, threads), &expected, "{} threads", threads);
        }
    }

    /// Most histories have several bad ops, of which threads may meet any first.
    #[test]
    fn the_first_failure_is_told_by_any_number_of_threads(
        steps in prop::collection::vec(step(1), 100..600), ops_per_record in 1usize..7
    ) {
        let records = records(&steps, ops_per_record);
        let expected = one_by_one(&records);
        for threads in THREADS {
            prop_assert_eq!(&replayed(&records, SEED, DATABASES, threads), &expected, "{} threads", threads);
        }
    }
}

#[test]
fn a_value_longer_than_a_batch_is_replayed() {
    let value = "v".repeat(300_000);
    let steps: Vec<Step> = (0..=255).map(|key| Step::Set(key, value.clone())).collect();
    let records = records(&steps, 2);
    let expected = one_by_one(&records);
    assert!(expected.is_ok());
    for threads in THREADS {
        assert!(replayed(&records, SEED, DATABASES, threads) == expected, "{threads} threads");
    }
}

#[test]
fn a_record_that_cannot_be_applied_is_refused_before_anything_is_written() {
    let disk = SimDisk::new(1);
    let mut rig = rig_on(&disk);
    for n in 0..500 {
        rig.run(&format!("SET key:{n} value"));
    }
    let store = rig.server.store.get().unwrap();
    let mut bad = Vec::new();
    encode_key_op(&mut bad, 0, b"nobody", &Op::Delete);
    let lsn_end = store.log.append(&bad);
    store.log.append(&bad);
    for n in 0..500 {
        rig.run(&format!("SET key:{n} other"));
    }
    write_all(&rig);
    drop(rig);
    let (disk, reason) = (
        disk.kill(),
        format!(
            "the record that ends at LSN {lsn_end} cannot be applied: op does not fit the value: no such key"
        ),
    );
    let before = disk.mutations();
    for threads in [false, true, true] {
        match recovered(&disk, threads).map(drop) {
            Err(StoreError::Corruption(found)) => {
                assert_eq!((found.file.as_str(), found.offset), ("log", lsn_end));
                assert_eq!(found.reason, reason);
            }
            other => panic!("opened: {other:?}"),
        }
        assert_eq!(disk.mutations(), before);
    }
}

#[test]
fn a_store_hashes_keys_alike_after_every_start() {
    let disk = SimDisk::new(1);
    let seed = recovered(&disk, false).unwrap().keyspace.seed();
    for threads in [false, true] {
        assert_eq!(recovered(&disk, threads).unwrap().keyspace.seed(), seed);
    }
    assert_ne!(recovered(&SimDisk::new(1), false).unwrap().keyspace.seed(), seed);
}

#[test]
fn keys_of_a_database_that_is_not_configured_are_a_refusal_and_not_out_of_sight() {
    let disk = SimDisk::new(1);
    let mut rig = rig_on(&disk);
    for line in
        ["FLUSHALL", "SET a 0", "SELECT 8", "SET b 8", "SELECT 11", "SET c 11", "SWAPDB 11 12", "FLUSHDB"]
    {
        rig.run(line);
    }
    write_all(&rig);
    drop(rig);
    let start = |databases: u32| {
        let config = Config::new();
        config.set_at_start(Name::databases, &databases.to_string()).unwrap();
        let clock = Arc::new(SimClock::at_ms(1_700_000_001_000));
        let server = Server::new(Arc::new(config), clock, crate::registry()).unwrap();
        open(&server, Arc::new(disk.clone()), options(false)).map(|store| store.keyspace.databases())
    };
    let before = disk.mutations();
    for databases in [4, 12] {
        let refused = start(databases).unwrap_err().to_string();
        assert!(refused.contains("database 12 has keys") && refused.contains("`databases 13`"), "{refused}");
        assert_eq!(disk.mutations(), before, "nothing was changed");
    }
    assert_eq!(start(13).unwrap(), 13);
    let mut rig = rig_on(&disk);
    for line in ["SELECT 8", "FLUSHDB", "SELECT 12", "FLUSHDB"] {
        assert_eq!(rig.run(line), "+OK\r\n");
    }
    write_all(&rig);
    drop(rig);
    assert_eq!(start(1).unwrap(), 1, "what was flushed is in nobody's way");
}
