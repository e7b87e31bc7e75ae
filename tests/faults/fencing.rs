//! CLIENT LSN as a fencing token: it grows with every write and over every death of the process, and waits like the write's own reply.

use crate::faulty::{Fault, Faulty, waits};
use crate::support::client::{Client, Value};
use crate::support::{Options, Server};

/// Where the log of a server ends.
fn end_of_log(client: &mut Client) -> i64 {
    client.info("append_lsn").parse().expect("a number")
}

/// Takes the lock as docs/fencing.md says; the token if it was free.
fn lock(client: &mut Client, owner: &str) -> Option<i64> {
    client.queue(["SET", "lock", owner, "NX", "PX", "600000"]);
    client.queue(["CLIENT", "LSN"]);
    client.flush().unwrap();
    let is_taken = client.receive().unwrap() == Value::ok();
    let token = client.receive().unwrap().integer().expect("a position");
    is_taken.then_some(token)
}

fn unlock(client: &mut Client, owner: &str) {
    let script = "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) end return 0";
    assert_eq!(client.call(["EVAL", script, "1", "lock", owner]).unwrap(), Value::Integer(1));
}

#[test]
fn tokens_of_a_lock_grow_over_holders_and_over_sigkill() {
    for policy in ["always", "everysec", "no"] {
        let mut server = Server::start(Options::default().directive("appendfsync", policy));
        let mut last = 0;
        for round in 0..5 {
            for owner in ["a", "b"] {
                let (mut client, mut other) = (server.client(), server.client());
                assert_eq!(client.call(["CLIENT", "LSN"]).unwrap(), Value::Integer(0));
                let before = end_of_log(&mut other);
                let token = lock(&mut client, owner).expect("it is free");
                assert!(token > last, "{policy}, round {round}: {token} behind {last}");
                // It is a position behind the write, and not one that the next write could have as well.
                let after = end_of_log(&mut other);
                assert!(
                    (before + 1..=after).contains(&token),
                    "{policy}: {token}, not in {before}..={after}"
                );
                last = token;
                assert_eq!(lock(&mut other, "c"), None);
                if owner == "a" {
                    unlock(&mut client, owner);
                }
            }
            server.kill9();
            server.restart();
            // Each token that was shown is a position of the log that was found.
            let end = end_of_log(&mut server.client());
            assert!(end >= last, "{policy}, round {round}: the log ends at {end}, before the token {last}");
            // The lock is still held, and is given up by somebody else.
            let mut client = server.client();
            assert_eq!(lock(&mut client, "c"), None);
            unlock(&mut client, "b");
        }
    }
}

#[test]
fn a_token_is_not_shown_before_its_write_is_safe() {
    let faulty = Faulty::start("everysec");
    let mut client = faulty.client();
    faulty.begin(Fault::SyncIsStuck);
    // The write's own reply was satisfied with less.
    assert!(lock(&mut client, "me").is_some());
    assert_eq!(client.call(["CLIENT", "DURABILITY", "always"]).unwrap(), Value::ok());
    client.queue(["CLIENT", "LSN"]);
    client.flush().unwrap();
    faulty.wait_until_a_sync_is_stuck();
    assert!(waits(&mut client));
    faulty.end(Fault::SyncIsStuck);
    assert!(client.receive().unwrap().integer().unwrap() > 0);
}
