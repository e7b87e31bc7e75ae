//! Damage: each byte of each file of a small store flipped, and each file cut at each length. The state is exactly what it was, or
//! that behind an earlier record with the cut told, or the start is refused; nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use duramen::clock::SimClock;
use duramen::command::server::Server;
use duramen::config::Config;
use duramen::disk::SimDisk;
use duramen::keyspace::digest::describe;
use duramen::log::Policy;

use crate::life::{Living, options};

/// A base, deltas on it, and a log behind: closed in order, or killed.
const LINES: &[&str] = &[
    "MSET {t}1 %90 {t}2 %90 {t}3 %90 {t}4 %90 {t}5 %90 {t}6 %90 other %40",
    "HSET {t}h f %100 g %100",
    "compact 100000",
    "SET {t}1 a",
    "DEL {t}2",
    "compact 100000",
    "SET {t}3 log",
    "RPUSH l a b %60",
    "pass 20",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Damage {
    Flip(usize),
    Cut(usize),
}

/// All damages to a file. In the zeros of headers and of room that was not used few stand for many, unless everything is asked for.
fn damages(bytes: &[u8], full: bool) -> Vec<Damage> {
    let is_bland =
        |at: usize| bytes[at.saturating_sub(16)..(at + 16).min(bytes.len())].iter().all(|b| *b == 0);
    let taken = |at: &usize| full || !is_bland(*at) || at.is_multiple_of(61);
    let flips = (0..bytes.len()).filter(taken).map(Damage::Flip);
    flips.chain((0..bytes.len()).filter(taken).map(Damage::Cut)).collect()
}

#[test]
fn after_damage_to_any_byte_of_any_file_the_state_is_exact_or_the_loss_is_told() {
    crate::large_allocations_are_maps();
    let full = std::env::var("TORTURE").is_ok_and(|text| text == "full");
    for is_closed in [true, false] {
        let mut living = Living::new(SimDisk::new(7), Policy::EverySec).expect("a new store opens");
        for line in LINES {
            living.step(line, false).expect("the disk has no faults");
        }
        if is_closed {
            living.log().shutdown().expect("the disk has no faults");
        }
        assert!(living.seen.deltas);
        let disk = living.disk.kill();
        let files = disk.files();
        assert!(files.len() >= 7, "{files:?}");
        let jobs: Vec<(&String, Vec<u8>, Damage)> = files
            .iter()
            .filter(|path| *path != "LOCK")
            .flat_map(|path| {
                let bytes = disk.read_raw(path).expect("it was just listed");
                damages(&bytes, full).into_iter().map(move |damage| (path, bytes.clone(), damage))
            })
            .collect();
        let (states, end) = (living.states.clone(), living.log().append_lsn());
        let next = AtomicUsize::new(0);
        let [exact, cut, refused] = [0; 3].map(AtomicUsize::new);
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8)) {
                scope.spawn(|| {
                    let clock = Arc::new(SimClock::at_ms(1_700_000_900_000));
                    clock.seed_ids(1);
                    let server = Server::new(Arc::new(Config::new()), clock.clone(), duramen::registry());
                    let server = server.expect("the simulated clock has ids");
                    while let Some((path, bytes, damage)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let damaged = disk.kill();
                        let what = match *damage {
                            Damage::Flip(at) => {
                                let mut bytes = bytes.clone();
                                bytes[at] ^= 1 << (at % 8);
                                damaged.write_raw(path, &bytes);
                                format!("{path}, byte {at} flipped (closed: {is_closed})")
                            }
                            Damage::Cut(len) => {
                                damaged.write_raw(path, &bytes[..len]);
                                format!("{path}, cut to {len} bytes (closed: {is_closed})")
                            }
                        };
                        clock.seed_ids(1 << 30);
                        match duramen::recovery::open(&server, Arc::new(damaged), options(Policy::EverySec)) {
                            Err(error) => {
                                assert!(!error.to_string().is_empty(), "{what}");
                                if path.starts_with("snapshot/") {
                                    assert!(error.to_string().contains(path.as_str()), "{what}: {error}");
                                }
                                refused.fetch_add(1, Ordering::Relaxed);
                            }
                            Ok(store) => {
                                let found = store.recovery.end_lsn;
                                assert_eq!(
                                    states.get(&found),
                                    Some(&describe(&store.keyspace)),
                                    "{what}: at LSN {found}"
                                );
                                if found == end {
                                    exact.fetch_add(1, Ordering::Relaxed);
                                } else {
                                    let told = store.recovery.torn.as_ref();
                                    assert!(!is_closed, "{what}: {found} of {end} are there");
                                    assert!(
                                        told.is_some_and(|torn| torn.possibly_acknowledged),
                                        "{what}: {found} of {end} are there, and it says {told:?}"
                                    );
                                    assert!(path.starts_with("log/"), "{what}: {found} of {end} are there");
                                    cut.fetch_add(1, Ordering::Relaxed);
                                }
                            }
                        }
                    }
                });
            }
        });
        eprintln!("closed {is_closed}: exact {exact:?}, cut {cut:?}, refused {refused:?}");
        let [exact, refused] = [exact, refused].map(AtomicUsize::into_inner);
        assert!(exact > 500 && refused > 1000, "{exact} {refused}");
    }
}
