//! Several workers at once: what crosses from one to another arrives once, and what was acknowledged survives SIGKILL.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::thread;

use crate::faulty::{Faulty, ask};
use crate::support::Options;
use crate::support::client::{Client, Value};

const TRANSFERS: usize = 300;
const JOBS: usize = 400;

fn number(faulty: &Faulty, key: &str) -> i64 {
    let reply = ask(faulty, &["GET", key]);
    let text = String::from_utf8_lossy(reply.bytes().unwrap_or(b"0")).into_owned();
    text.parse().expect("a counter")
}

fn integer(client: &mut Client, words: &[&str]) -> i64 {
    client.call(words).unwrap().integer().unwrap_or_else(|| panic!("{words:?} answers a number"))
}

/// Moves one unit; the sum of both accounts never changes.
fn transfer(client: &mut Client, from: &str, to: &str) {
    client.queue(["MULTI"]);
    client.queue(["DECR", from]);
    client.queue(["INCR", to]);
    client.queue(["EXEC"]);
    client.flush().unwrap();
    for _ in 0..3 {
        assert!(!client.receive().unwrap().is_error());
    }
    assert_eq!(client.receive().unwrap().items().len(), 2);
}

#[test]
fn what_crosses_workers_arrives_once_and_survives_sigkill() {
    let options = Options::default().directive("io-threads", "4");
    let mut faulty = Faulty::start_with("everysec", options);
    let (consumed, victims) = (AtomicUsize::new(0), AtomicI64::new(0));
    thread::scope(|scope| {
        let (faulty, consumed, victims) = (&faulty, &consumed, &victims);
        for (from, to) in [("a", "b"), ("b", "c"), ("c", "a")] {
            scope.spawn(move || {
                let mut client = faulty.client();
                (0..TRANSFERS).for_each(|_| transfer(&mut client, from, to));
            });
        }
        scope.spawn(move || {
            let mut client = faulty.client();
            for _ in 0..TRANSFERS {
                let reply = client.call(["MGET", "a", "b", "c"]).unwrap().items();
                let value = |reply: &Value| {
                    String::from_utf8_lossy(reply.bytes().unwrap_or(b"0")).parse::<i64>().unwrap()
                };
                assert_eq!(reply.iter().map(value).sum::<i64>(), 0, "no reply shows half a transaction");
            }
        });
        // Each job is handed to one consumer, and from there to the next stage.
        for _ in 0..2 {
            scope.spawn(move || {
                let mut client = faulty.client();
                for _ in 0..JOBS / 2 {
                    integer(&mut client, &["RPUSH", "jobs", "job"]);
                }
            });
        }
        for _ in 0..3 {
            scope.spawn(move || {
                let mut client = faulty.client();
                while consumed.load(Ordering::SeqCst) < JOBS {
                    if client.call(["BLPOP", "jobs", "0.1"]).unwrap().items().len() == 2 {
                        consumed.fetch_add(1, Ordering::SeqCst);
                        integer(&mut client, &["INCR", "consumed"]);
                    }
                }
            });
        }
        // Connections that are killed in the middle of a pipeline.
        scope.spawn(move || {
            let mut killer = faulty.client();
            for _ in 0..40 {
                let mut victim = faulty.client();
                let id = integer(&mut victim, &["CLIENT", "ID"]).to_string();
                for _ in 0..20 {
                    victim.queue(["INCR", "victims"]);
                }
                victim.flush().unwrap();
                assert_eq!(integer(&mut killer, &["CLIENT", "KILL", "ID", &id]), 1);
                let acknowledged = std::iter::from_fn(|| victim.receive().ok()).count();
                victims.fetch_add(acknowledged as i64, Ordering::SeqCst);
            }
        });
        scope.spawn(move || {
            let mut client = faulty.client();
            for round in 0..20 {
                for _ in 0..50 {
                    client.queue(["INCR", "pipelined"]);
                }
                client.flush().unwrap();
                for n in 1..=50 {
                    assert_eq!(client.receive().unwrap(), Value::Integer(round * 50 + n));
                }
            }
        });
    });
    let check = |faulty: &Faulty| {
        assert_eq!(["a", "b", "c"].map(|key| number(faulty, key)), [0, 0, 0]);
        assert_eq!(number(faulty, "consumed"), JOBS as i64);
        assert_eq!(ask(faulty, &["EXISTS", "jobs"]), Value::Integer(0), "every job was handed over");
        assert_eq!(number(faulty, "pipelined"), 1000);
        let shown = victims.load(Ordering::SeqCst);
        let found = number(faulty, "victims");
        assert!((shown..=800).contains(&found), "{found} of at least {shown}");
        found
    };
    assert_eq!(consumed.load(Ordering::SeqCst), JOBS);
    let before = check(&faulty);
    faulty.server.kill9();
    faulty.server.restart();
    assert_eq!(check(&faulty), before);
}
