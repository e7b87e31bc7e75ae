//! BGSAVE through the whole server: what it says is so, also after SIGKILL, and when the log cannot go on.

use crate::faulty::{Fault, Faulty, ask};
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
