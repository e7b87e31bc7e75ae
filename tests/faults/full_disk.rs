//! Out of space: writes are refused before they execute, reads go on, and all is well again once there is room.

use crate::faulty::{Fault, Faulty, ask, waits};
use crate::support::client::Value;

const REFUSAL: &[u8] =
    b"MISCONF No space left for the log, so commands that may modify the data set are disabled. \
                         Free some space: writes resume by themselves.";

#[test]
fn a_full_disk_refuses_writes_before_they_execute_and_ends_by_itself() {
    for policy in ["always", "everysec"] {
        let mut faulty = Faulty::start(policy);
        assert_eq!(ask(&faulty, &["SET", "old", "1"]), Value::ok());
        assert_eq!(ask(&faulty, &["RPUSH", "list", "a"]), Value::Integer(1));
        faulty.begin(Fault::NoSpace);
        // Whoever finds out has executed already: unacknowledged until it fits.
        let mut first = faulty.send(&["SET", "first", "1"]);
        faulty.wait_for("the full disk", || faulty.info("log_state") == "no-space");
        let mut reader = faulty.send(&["GET", "first"]);
        let append_lsn = faulty.number("append_lsn");
        let refused = Value::Error(REFUSAL.to_vec());
        for write in [&["SET", "old", "2"][..], &["RPUSH", "list", "b"], &["DEL", "old"], &["FLUSHALL"]] {
            assert_eq!(ask(&faulty, write), refused, "{policy}: {write:?}");
        }
        let mut transaction = faulty.client();
        for words in [&["MULTI"][..], &["SET", "old", "2"]] {
            assert!(!transaction.call(words).unwrap().is_error());
        }
        assert_eq!(transaction.call(["EXEC"]).unwrap(), refused);
        assert_eq!(faulty.number("append_lsn"), append_lsn, "nothing was executed");
        assert_eq!(ask(&faulty, &["GET", "old"]), Value::bulk("1"), "{policy}");
        assert_eq!(ask(&faulty, &["LRANGE", "list", "0", "-1"]).items().len(), 1);
        assert!(waits(&mut first) && waits(&mut reader), "{policy}: not written, so not acknowledged");

        faulty.end(Fault::NoSpace);
        assert_eq!(first.receive().unwrap(), Value::ok());
        assert_eq!(reader.receive().unwrap(), Value::bulk("1"));
        faulty.wait_for("writes to resume", || faulty.info("log_state") == "ok");
        assert_eq!(ask(&faulty, &["RPUSH", "list", "b"]), Value::Integer(2));
        faulty.server.kill9();
        faulty.server.restart();
        assert_eq!(ask(&faulty, &["GET", "first"]), Value::bulk("1"));
        assert_eq!(ask(&faulty, &["GET", "old"]), Value::bulk("1"));
        assert_eq!(ask(&faulty, &["LRANGE", "list", "0", "-1"]).items().len(), 2);
    }
}

#[test]
fn killed_on_a_full_disk_the_server_keeps_what_was_acknowledged() {
    let mut faulty = Faulty::start("always");
    for number in 0..50 {
        assert_eq!(ask(&faulty, &["RPUSH", "list", "x"]), Value::Integer(number + 1));
    }
    faulty.begin(Fault::NoSpace);
    let mut pending = faulty.send(&["RPUSH", "list", "x"]);
    faulty.wait_for("the full disk", || faulty.info("log_state") == "no-space");
    assert!(waits(&mut pending));
    faulty.server.kill9();
    faulty.end(Fault::NoSpace);
    faulty.server.restart();
    assert_eq!(ask(&faulty, &["LLEN", "list"]), Value::Integer(50));
}
