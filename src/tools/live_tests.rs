//! A keyspace compared with what its disk says, as of when each slot was looked at.

use std::sync::Arc;

use super::live::{Difference, Keys, Seen, compare, differences};
use crate::clock::SimClock;
use crate::disk::{Disk, SimDisk};
use crate::engine::rig::Rig;
use crate::keyspace::digest;
use crate::keyspace::hash::{SLOTS, slot_of};
use crate::keyspace::op::Op;
use crate::log::{LogOptions, Lsn, Policy, Seed};
use crate::snapshot::retained::Keep;
use crate::snapshot::{backup, compact};
use crate::types::string::value::StringOp;

fn clock() -> Arc<SimClock> {
    Arc::new(SimClock::at_ms(1_700_000_001_000))
}

fn start(disk: &SimDisk) -> Rig {
    let options = LogOptions {
        threads: false,
        segment_bytes: 8 << 10,
        policy: Policy::Always,
        ..LogOptions::default()
    };
    disk.create_dir("data").unwrap();
    Rig::open(Arc::new(disk.within("data")), clock(), options).unwrap()
}

fn look(rig: &Rig, slot: u16) -> Seen {
    let store = rig.server.store.get().unwrap();
    let held = digest::lock_slot(&store.keyspace, slot);
    let digest = digest::of_slot(&store.keyspace, &held.shelf(slot).stripe, slot);
    Seen { slot, lsn: store.log.append_lsn(), digest }
}

fn look_at_keys(rig: &Rig, slot: u16) -> (Lsn, u16, Keys) {
    let store = rig.server.store.get().unwrap();
    let held = digest::lock_slot(&store.keyspace, slot);
    let mut keys = Keys::new();
    digest::each_in_slot(&store.keyspace, &held.shelf(slot).stripe, slot, &mut |db, entry| {
        keys.insert((db, entry.key().to_vec()), digest::of_key(db, entry));
    });
    (store.log.append_lsn(), slot, keys)
}

fn back_up(disk: &SimDisk, rig: &Rig, folder: &str) -> SimDisk {
    let store = rig.server.store.get().unwrap();
    let goal = store.log.seal();
    rig.settle();
    let image = store.log.image(goal).unwrap().unwrap();
    let target = store.disk.target(folder).unwrap();
    let options = backup::Options { copy: false, pace: &mut |_| Ok(()) };
    backup::make(image, &*store.disk, &*target, options).unwrap();
    disk.within(folder)
}

fn compact(rig: &Rig) {
    let store = rig.server.store.get().unwrap();
    store.log.seal();
    rig.settle();
    let seed = Seed(store.keyspace.seed());
    let options =
        compact::Options { seed, level: 1, budget_bytes: 1 << 20, reserve_bytes: 0, keep: Keep::NOTHING };
    while compact::round(&store.log, &*store.disk, &*clock(), &options, &mut |_| Ok(())).unwrap().is_some() {}
}

/// Commands that change many slots, in all ways; `round` makes each time different.
fn work(rig: &mut Rig, round: usize) {
    for i in 0..40 {
        let line = match (round + i) % 6 {
            0 => format!("SET k{i} {round}"),
            1 => format!("RPUSH l{i} {round}"),
            2 => format!("HSET h{i} f{round} {i}"),
            3 => format!("DEL k{}", i + 1),
            4 => format!("APPEND k{i} {round}"),
            _ => format!("MSET k{i} a{round} k{} b{round}", i + 7),
        };
        let reply = rig.run(&line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
    match round % 9 {
        4 => drop(rig.run("SWAPDB 0 1")),
        8 => drop(rig.run("FLUSHDB")),
        _ => {}
    }
    rig.settle();
}

#[test]
fn slots_looked_at_between_writes_are_equal_as_of_their_moment() {
    let disk = SimDisk::new(1);
    let mut rig = start(&disk);
    (0..5).for_each(|round| work(&mut rig, round));
    compact(&rig);
    let mut seen = Vec::new();
    for slot in 0..SLOTS as u16 {
        if slot % 512 == 0 {
            work(&mut rig, slot as usize / 512 + 5);
        }
        seen.push(look(&rig, slot));
    }
    work(&mut rig, 3);
    let backup = back_up(&disk, &rig, "scratch");
    let compared = compare(&backup, &*clock(), seen.clone()).unwrap();
    assert_eq!((compared.equal, compared.differing.len(), compared.too_old.len()), (SLOTS, 0, 0));
    // As of another moment they are not.
    let shifted = seen.iter().map(|slot| Seen { lsn: seen[SLOTS - 1].lsn, ..*slot }).collect();
    assert!(!compare(&backup, &*clock(), shifted).unwrap().differing.is_empty());
    let beyond = vec![Seen { lsn: seen[SLOTS - 1].lsn + 1_000_000, ..seen[0] }];
    assert!(compare(&backup, &*clock(), beyond).is_err(), "a backup knows nothing of what is behind it");
}

#[test]
fn what_was_compacted_away_is_not_guessed_at() {
    let disk = SimDisk::new(2);
    let mut rig = start(&disk);
    work(&mut rig, 0);
    let early: Vec<_> = (0..100).map(|slot| look(&rig, slot)).collect();
    work(&mut rig, 1);
    compact(&rig);
    let late = (100..200).map(|slot| look(&rig, slot));
    let seen = early.into_iter().chain(late).collect();
    let compared = compare(&back_up(&disk, &rig, "scratch"), &*clock(), seen).unwrap();
    assert_eq!((compared.equal, compared.differing), (100, vec![]));
    assert_eq!(compared.too_old, (0..100).collect::<Vec<_>>());
}

#[test]
fn memory_that_was_changed_behind_the_log_is_found_and_its_keys_are_named() {
    let disk = SimDisk::new(3);
    let mut rig = start(&disk);
    for line in ["SET a 1", "SET b 1", "SET c 1", "SET {a}other 1"] {
        rig.run(line);
    }
    let keyspace = &rig.server.store.get().unwrap().keyspace;
    let set = Op::String(StringOp::Set { value: b"2", expire_at: None });
    for (key, op) in [("a", set), ("b", Op::Delete), ("new", set)] {
        let place = keyspace.key(key.as_bytes());
        digest::lock_slot(keyspace, place.slot).apply(keyspace.space(0), &place, &op).unwrap();
    }
    let seen: Vec<_> = (0..SLOTS as u16).map(|slot| look(&rig, slot)).collect();
    let mut slots = ["a", "b", "new"].map(|key| slot_of(key.as_bytes()));
    slots.sort_unstable();
    let keys = slots.map(|slot| look_at_keys(&rig, slot)).to_vec();
    let backup = back_up(&disk, &rig, "scratch");
    let compared = compare(&backup, &*clock(), seen).unwrap();
    assert_eq!((compared.equal, &*compared.differing), (SLOTS - 3, &slots[..]));
    let mut found = differences(&backup, &*clock(), keys).unwrap();
    found.sort_by_key(|difference| difference.key.clone());
    let expected =
        [("a", true, true), ("b", false, true), ("new", true, false)].map(|(key, in_memory, on_disk)| {
            Difference { slot: slot_of(key.as_bytes()), db: 0, key: key.into(), in_memory, on_disk }
        });
    assert_eq!(found, expected);
}
