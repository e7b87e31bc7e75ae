//! BGSAVE through the whole server: what it says is so, also after SIGKILL, and when the log cannot go on.

use crate::faulty::{Fault, Faulty, ask, is_closed_without_a_reply, waits};
use crate::support::Options;
use crate::support::client::Value;

fn started() -> Value {
    Value::Simple(b"Background saving started".to_vec())
}

/// Asks for a snapshot; its outcome.
fn saved(faulty: &Faulty) -> String {
    assert_eq!(ask(faulty, &["BGSAVE"]), started());
    // Never 0 before it has begun: who polls would take that for its end.
    faulty.wait_for("the end of the snapshot", || faulty.number("rdb_bgsave_in_progress") == 0);
    faulty.info("rdb_last_bgsave_status")
}

#[test]
fn what_was_saved_is_there_after_sigkill_and_only_the_rest_is_replayed() {
    let mut faulty = Faulty::start("always");
    for n in 0..200 {
        ask(&faulty, &["SET", &format!("k{n}"), "v"]);
    }
    ask(&faulty, &["RPUSH", "list", "a", "b"]);
    assert_eq!(saved(&faulty), "ok");
    assert_eq!(faulty.number("rdb_saves"), 1);
    assert_eq!(faulty.number("rdb_changes_since_last_save"), 0);
    assert_eq!(faulty.number("snapshot_through_lsn"), faulty.number("append_lsn"));
    ask(&faulty, &["SET", "after", "v"]);
    faulty.server.kill9();
    faulty.server.restart();
    assert_eq!(ask(&faulty, &["DBSIZE"]), Value::Integer(202));
    assert_eq!(ask(&faulty, &["LLEN", "list"]), Value::Integer(2));
    assert_eq!(faulty.number("recovery_records"), 1);
}

#[test]
fn a_log_that_cannot_be_sealed_is_no_success() {
    let faulty = Faulty::start("everysec");
    ask(&faulty, &["SET", "k", "v"]);
    faulty.begin(Fault::SyncFails);
    assert_eq!(saved(&faulty), "err");
    assert_eq!(faulty.number("rdb_saves"), 0);
    assert!(faulty.info("compaction_last_error").contains("could not be sealed"));
    assert_eq!(ask(&faulty, &["PING"]), Value::Simple(b"PONG".to_vec()));
}

#[test]
fn who_saves_waits_and_nobody_else_does() {
    let mut faulty = Faulty::start("everysec");
    ask(&faulty, &["SET", "k", "v"]);
    faulty.begin(Fault::SyncIsStuck);
    let mut saver = faulty.send(&["SAVE"]);
    faulty.wait_until_a_sync_is_stuck();
    let mut second = faulty.send(&["SAVE"]);
    assert_eq!(faulty.number("rdb_bgsave_in_progress"), 1);
    assert_eq!(ask(&faulty, &["PING"]), Value::Simple(b"PONG".to_vec()));
    assert_eq!(ask(&faulty, &["BGSAVE"]), Value::Error(b"ERR Background save already in progress".to_vec()));
    assert!(waits(&mut saver) && waits(&mut second));
    faulty.end(Fault::SyncIsStuck);
    for client in [&mut saver, &mut second] {
        assert_eq!(client.receive().unwrap(), Value::ok());
        assert_eq!(client.call(["PING"]).unwrap(), Value::Simple(b"PONG".to_vec()));
    }
    assert_eq!(faulty.number("rdb_saves"), 2);
    faulty.server.kill9();
    faulty.server.restart();
    assert_eq!(ask(&faulty, &["GET", "k"]), Value::Bulk(b"v".to_vec()));
    assert_eq!(faulty.number("recovery_records"), 0);
}

#[test]
fn a_save_that_fails_says_so_and_prevents_a_shutdown_that_asked_for_it() {
    let faulty = Faulty::start("everysec");
    ask(&faulty, &["SET", "k", "v"]);
    faulty.begin(Fault::SyncFails);
    let Value::Error(text) = ask(&faulty, &["SAVE"]) else { panic!("SAVE cannot have succeeded") };
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("ERR The snapshot was not made: the log could not be sealed"), "{text}");
    let refused = Value::Error(b"ERR Errors trying to SHUTDOWN. Check logs.".to_vec());
    assert_eq!(ask(&faulty, &["SHUTDOWN", "SAVE"]), refused);
    assert_eq!(ask(&faulty, &["PING"]), Value::Simple(b"PONG".to_vec()));
}

fn shut_down(faulty: &mut Faulty, words: &[&str]) {
    let mut client = faulty.client();
    client.queue(words);
    client.flush().expect("a running server takes requests");
    assert!(is_closed_without_a_reply(&mut client));
    // It takes no signals any more: this waits.
    faulty.server.stop();
}

#[test]
fn a_shutdown_with_a_save_leaves_nothing_to_replay() {
    let mut faulty = Faulty::start("everysec");
    ask(&faulty, &["SET", "k", "v"]);
    shut_down(&mut faulty, &["SHUTDOWN", "SAVE"]);
    faulty.server.restart();
    assert_eq!(faulty.number("recovery_records"), 0);
    assert_eq!(faulty.number("rdb_changes_since_last_save"), 0);
    ask(&faulty, &["SET", "k", "w"]);
    shut_down(&mut faulty, &["SHUTDOWN"]);
    faulty.server.restart();
    assert_eq!(faulty.number("recovery_records"), 1);
    assert_eq!(faulty.number("rdb_changes_since_last_save"), 1);
    assert_eq!(ask(&faulty, &["CONFIG", "SET", "shutdown-on-sigterm", "save"]), Value::ok());
    faulty.server.stop();
    faulty.server.restart();
    assert_eq!(faulty.number("recovery_records"), 0);
}

#[test]
fn a_save_point_makes_a_snapshot_by_itself() {
    let faulty = Faulty::start_with("everysec", Options::default().directive("save", "1 2"));
    ask(&faulty, &["MSET", "a", "1", "b", "2"]);
    ask(&faulty, &["SET", "c", "3"]);
    faulty.wait_for("the save point", || faulty.number("rdb_saves") == 1);
    assert_eq!(faulty.number("rdb_changes_since_last_save"), 0);
    assert_eq!(faulty.number("snapshot_through_lsn"), faulty.number("append_lsn"));
}
