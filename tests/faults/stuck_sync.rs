//! A sync that does not end: what depends on it waits, everything else does not.

use crate::faulty::{Fault, Faulty, ask, waits};
use crate::support::client::{Client, Value};

#[test]
fn under_always_only_what_depends_on_the_stuck_sync_waits() {
    let faulty = Faulty::start("always");
    for command in [&["SET", "old", "1"][..], &["SET", "gone", "1"], &["HSET", "hash", "f", "1"]] {
        assert!(!ask(&faulty, command).is_error());
    }
    faulty.begin(Fault::SyncIsStuck);
    let changes: [&[&str]; 5] = [
        &["SET", "new", "1"],
        &["DEL", "gone"],
        &["HSET", "hash", "g", "1"],
        &["RPUSH", "queue", "job"],
        &["RPOP", "queue"],
    ];
    let mut writers: Vec<Client> = changes.iter().map(|command| faulty.send(command)).collect();
    faulty.wait_until_a_sync_is_stuck();

    let mut session = faulty.client();
    assert_eq!(session.call(["GET", "old"]).unwrap(), Value::bulk("1"));
    assert_eq!(session.call(["EXISTS", "never"]).unwrap(), Value::Integer(0));
    assert_eq!(session.call(["PING"]).unwrap(), Value::Simple(b"PONG".to_vec()));
    assert!(!session.call(["INFO"]).unwrap().is_error());
    // Found or not, changing something or not: each of these tells of a change that a power failure may take back.
    let dependent: [(&[&str], Value); 10] = [
        (&["GET", "new"], Value::bulk("1")),
        (&["GET", "gone"], Value::NilBulk),
        (&["EXISTS", "gone"], Value::Integer(0)),
        (&["SETNX", "new", "2"], Value::Integer(0)),
        (&["HSETNX", "hash", "g", "2"], Value::Integer(0)),
        (&["HGET", "hash", "f"], Value::bulk("1")),
        (&["LPOP", "queue"], Value::NilBulk),
        (&["UNLINK", "gone"], Value::Integer(0)),
        (
            &["INCR", "hash"],
            Value::Error(b"WRONGTYPE Operation against a key holding the wrong kind of value".to_vec()),
        ),
        (&["DBSIZE"], Value::Integer(3)),
    ];
    let mut clients: Vec<Client> = dependent.iter().map(|(command, _)| faulty.send(command)).collect();
    let wide: [&[&str]; 3] = [&["KEYS", "*"], &["SCAN", "0"], &["RANDOMKEY"]];
    let mut wide: Vec<Client> = wide.iter().map(|command| faulty.send(command)).collect();
    // A pipeline keeps its order: the reply that could leave stands behind one that cannot.
    let mut pipeline = faulty.client();
    pipeline.queue(["GET", "new"]);
    pipeline.queue(["GET", "old"]);
    pipeline.flush().unwrap();
    for client in writers.iter_mut().chain(&mut clients).chain(&mut wide).chain([&mut pipeline]) {
        assert!(waits(client));
    }
    assert_eq!(session.call(["GET", "old"]).unwrap(), Value::bulk("1"), "still");

    faulty.end(Fault::SyncIsStuck);
    for ((command, expected), client) in dependent.iter().zip(&mut clients) {
        assert_eq!(client.receive().unwrap(), *expected, "{command:?}");
    }
    for client in writers.iter_mut().chain(&mut wide) {
        assert!(!client.receive().unwrap().is_error());
    }
    assert_eq!(
        [pipeline.receive().unwrap(), pipeline.receive().unwrap()],
        [Value::bulk("1"), Value::bulk("1")]
    );
}

#[test]
fn a_transaction_that_only_reads_waits_for_what_it_read() {
    let faulty = Faulty::start("always");
    faulty.begin(Fault::SyncIsStuck);
    let mut watcher = faulty.client();
    assert_eq!(watcher.call(["WATCH", "k"]).unwrap(), Value::ok());
    let mut writer = faulty.send(&["SET", "k", "v"]);
    faulty.wait_until_a_sync_is_stuck();
    // EXEC's nil tells that somebody changed the key.
    for words in [&["MULTI"][..], &["PING"]] {
        assert!(!watcher.call(words).unwrap().is_error());
    }
    faulty.send_on(&mut watcher, &["EXEC"]);
    let mut reader = faulty.client();
    for words in [&["MULTI"][..], &["GET", "k"]] {
        assert!(!reader.call(words).unwrap().is_error());
    }
    faulty.send_on(&mut reader, &["EXEC"]);
    assert!(waits(&mut writer) && waits(&mut watcher) && waits(&mut reader));
    faulty.end(Fault::SyncIsStuck);
    assert_eq!(watcher.receive().unwrap(), Value::NilArray);
    assert_eq!(reader.receive().unwrap(), Value::Array(vec![Value::bulk("v")]));
}

#[test]
fn flush_and_swap_make_every_key_of_the_database_wait() {
    let faulty = Faulty::start("always");
    assert_eq!(ask(&faulty, &["SET", "k", "v"]), Value::ok());
    faulty.begin(Fault::SyncIsStuck);
    let mut flush = faulty.send(&["FLUSHDB"]);
    let mut other = faulty.client();
    assert_eq!(other.call(["SELECT", "1"]).unwrap(), Value::ok());
    assert_eq!(other.call(["GET", "k"]).unwrap(), Value::NilBulk, "another database waits for nothing");
    let mut reader = faulty.send(&["GET", "k"]);
    let mut stranger = faulty.send(&["GET", "never"]);
    assert!(waits(&mut flush) && waits(&mut reader) && waits(&mut stranger));
    let mut swap = faulty.send(&["SWAPDB", "1", "2"]);
    faulty.send_on(&mut other, &["GET", "k"]);
    assert!(waits(&mut swap) && waits(&mut other));
    faulty.end(Fault::SyncIsStuck);
    assert_eq!(flush.receive().unwrap(), Value::ok());
    assert_eq!(reader.receive().unwrap(), Value::NilBulk);
}

#[test]
fn under_everysec_replies_wait_once_the_oldest_unsynced_write_is_too_old() {
    let mut faulty = Faulty::start("everysec");
    faulty.begin(Fault::SyncIsStuck);
    assert_eq!(ask(&faulty, &["SET", "first", "1"]), Value::ok());
    faulty.wait_until_a_sync_is_stuck();
    faulty.wait_for("the sync to be late", || faulty.info("aof_delayed_fsync") == "1");
    let mut writer = faulty.send(&["SET", "second", "1"]);
    let mut reader = faulty.send(&["GET", "first"]);
    assert!(waits(&mut writer) && waits(&mut reader));
    assert_eq!(ask(&faulty, &["GET", "never"]), Value::NilBulk, "it depends on nothing");
    faulty.end(Fault::SyncIsStuck);
    assert_eq!(writer.receive().unwrap(), Value::ok());
    assert_eq!(reader.receive().unwrap(), Value::bulk("1"));
    faulty.wait_for("the sync to catch up", || faulty.info("aof_delayed_fsync") == "0");
    assert_eq!(ask(&faulty, &["SET", "third", "1"]), Value::ok());
    faulty.server.kill9();
    faulty.server.restart();
    assert_eq!(ask(&faulty, &["EXISTS", "first", "second", "third"]), Value::Integer(3));
}
