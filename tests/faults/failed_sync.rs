//! A failed sync is final: nothing more is acknowledged, and nothing is shown that a restart may take back.

use crate::faulty::{Fault, Faulty, ask, is_closed_without_a_reply, waits};
use crate::support::client::Value;

fn refusal(faulty: &Faulty) -> Value {
    let state = faulty.info("log_state");
    let reason = state.strip_prefix("failed (").and_then(|rest| rest.strip_suffix(')'));
    let reason = reason.unwrap_or_else(|| panic!("log_state is {state:?}"));
    assert!(reason.contains("sync of log/") && reason.contains("Input/output error"), "{reason}");
    Value::Error(
        format!(
            "MISCONF The log has failed ({reason}), so commands that may modify the data set are disabled. \
             Check the disk, then restart."
        )
        .into_bytes(),
    )
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_what_is_durable_is_still_served() {
    let mut faulty = Faulty::start("always");
    let mut early = faulty.client();
    for command in [&["SET", "old", "1"][..], &["RPUSH", "list", "a", "b"]] {
        assert!(!early.call(command).unwrap().is_error());
    }
    assert_eq!(early.call(["SET", "short", "1", "PX", "400"]).unwrap(), Value::ok());
    faulty.begin(Fault::SyncIsStuck);
    let mut writer = faulty.send(&["SET", "new", "1"]);
    let mut reader = faulty.send(&["GET", "new"]);
    let mut counter = faulty.send(&["DBSIZE"]);
    let mut transaction = faulty.client();
    for words in [&["MULTI"][..], &["GET", "old"], &["INCR", "new"]] {
        assert!(!transaction.call(words).unwrap().is_error());
    }
    faulty.send_on(&mut transaction, &["EXEC"]);
    faulty.wait_until_a_sync_is_stuck();
    let pending = [&mut writer, &mut reader, &mut counter, &mut transaction];
    faulty.begin(Fault::SyncFails);
    faulty.end(Fault::SyncIsStuck);
    for client in pending {
        assert!(is_closed_without_a_reply(client));
    }
    // Final: the disk works again, the log does not.
    faulty.end(Fault::SyncFails);
    let refusal = refusal(&faulty);
    let (append_lsn, expired) = (faulty.number("append_lsn"), faulty.number("expired_keys"));

    assert_eq!(early.call(["GET", "old"]).unwrap(), Value::bulk("1"));
    assert_eq!(early.call(["LRANGE", "list", "0", "-1"]).unwrap().items().len(), 2);
    let unsure: [&[&str]; 6] = [
        &["GET", "new"],
        &["EXISTS", "new"],
        &["STRLEN", "new"],
        &["KEYS", "*"],
        &["SCAN", "0"],
        &["DBSIZE"],
    ];
    for read in unsure {
        assert_eq!(early.call(read).unwrap(), refusal, "{read:?}");
    }
    for write in [&["SET", "old", "2"][..], &["DEL", "absent"], &["RPUSH", "list", "c"], &["FLUSHALL"]] {
        assert_eq!(early.call(write).unwrap(), refusal, "{write:?}");
    }
    let mut again = faulty.client();
    for words in [&["MULTI"][..], &["SET", "old", "2"]] {
        assert!(!again.call(words).unwrap().is_error());
    }
    assert_eq!(again.call(["EXEC"]).unwrap(), refusal);
    assert_eq!(early.call(["GET", "old"]).unwrap(), Value::bulk("1"), "refused before it was executed");
    // Expiry hides what is due, and logs nothing any more.
    faulty.wait_for("a key to be due", || ask(&faulty, &["GET", "short"]).is_nil());
    if expired == 0 {
        assert_eq!((faulty.number("append_lsn"), faulty.number("expired_keys")), (append_lsn, 0));
    }

    faulty.server.kill9();
    faulty.server.restart();
    assert_eq!(faulty.info("log_state"), "ok");
    assert_eq!(ask(&faulty, &["GET", "old"]), Value::bulk("1"));
    assert_eq!(ask(&faulty, &["LLEN", "list"]), Value::Integer(2));
    assert_eq!(ask(&faulty, &["SET", "old", "2"]), Value::ok());
}

/// Under `everysec` replies leave before the sync: those are not taken back by its failure, and nothing new is let go.
#[test]
fn a_failed_background_sync_stops_everysec_too() {
    let mut faulty = Faulty::start("everysec");
    assert_eq!(ask(&faulty, &["SET", "old", "1"]), Value::ok());
    faulty.wait_for("a sync", || faulty.number("durable_lsn") == faulty.number("append_lsn"));
    faulty.begin(Fault::SyncIsStuck);
    assert_eq!(ask(&faulty, &["SET", "new", "1"]), Value::ok());
    faulty.wait_until_a_sync_is_stuck();
    let mut careful = faulty.careful_client();
    faulty.send_on(&mut careful, &["GET", "new"]);
    assert!(waits(&mut careful));
    faulty.begin(Fault::SyncFails);
    faulty.end(Fault::SyncIsStuck);
    assert!(is_closed_without_a_reply(&mut careful));
    let refusal = refusal(&faulty);
    assert_eq!(ask(&faulty, &["GET", "old"]), Value::bulk("1"));
    assert_eq!(ask(&faulty, &["GET", "new"]), refusal, "at every level");
    assert_eq!(ask(&faulty, &["SET", "newer", "1"]), refusal);
    assert_eq!(ask(&faulty, &["GET", "newer"]), Value::NilBulk);
    faulty.end(Fault::SyncFails);
    faulty.server.kill9();
    faulty.server.restart();
    assert_eq!(ask(&faulty, &["GET", "new"]), Value::bulk("1"), "the kernel had it");
}

/// WAITAOF waits in no outbox: it must be told as well.
#[test]
fn waitaof_does_not_wait_for_a_log_that_has_failed() {
    let faulty = Faulty::start("no");
    faulty.begin(Fault::SyncIsStuck);
    let mut client = faulty.client();
    assert_eq!(client.call(["SET", "k", "v"]).unwrap(), Value::ok());
    faulty.send_on(&mut client, &["WAITAOF", "1", "0", "0"]);
    faulty.wait_until_a_sync_is_stuck();
    assert!(waits(&mut client));
    faulty.begin(Fault::SyncFails);
    faulty.end(Fault::SyncIsStuck);
    let told = client.receive().expect("an answer that nothing was synced");
    assert_eq!(told, refusal(&faulty));
    assert_eq!(client.call(["WAITAOF", "1", "0", "0"]).unwrap(), refusal(&faulty));
}
