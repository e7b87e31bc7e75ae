//! CLIENT DURABILITY and WAITAOF: a connection may ask for more than the server's policy gives.

use crate::faulty::{Fault, Faulty, ask, waits};
use crate::support::client::Value;

fn is_all_synced(faulty: &Faulty) -> bool {
    faulty.number("durable_lsn") == faulty.number("append_lsn")
}

/// Under `no` nothing but a demand makes the log sync.
#[test]
fn a_careful_connection_demands_a_sync_under_every_policy() {
    let faulty = Faulty::start("no");
    assert_eq!(ask(&faulty, &["SET", "k", "1"]), Value::ok());
    assert!(!is_all_synced(&faulty));
    let mut careful = faulty.careful_client();
    assert_eq!(careful.call(["SET", "l", "1"]).unwrap(), Value::ok());
    assert!(is_all_synced(&faulty));
    assert_eq!(ask(&faulty, &["SET", "k", "2"]), Value::ok());
    assert!(!is_all_synced(&faulty));
    assert_eq!(careful.call(["GET", "k"]).unwrap(), Value::bulk("2"), "a read demands one as well");
    assert!(is_all_synced(&faulty));
    assert_eq!(careful.call(["CLIENT", "DURABILITY", "default"]).unwrap(), Value::ok());
    assert_eq!(careful.call(["SET", "l", "2"]).unwrap(), Value::ok());
    assert!(!is_all_synced(&faulty));
    assert_eq!(
        careful.call(["WAITAOF", "1", "0", "0"]).unwrap(),
        Value::Array(vec![Value::Integer(1), Value::Integer(0)])
    );
    assert!(is_all_synced(&faulty));
}

/// Not under `everysec`: there, on a machine that stands still for a second, the sync is late and everybody waits.
#[test]
fn each_connection_waits_at_its_own_level() {
    let faulty = Faulty::start("no");
    let mut careful = faulty.careful_client();
    let mut popper = faulty.careful_client();
    popper.queue(["BLPOP", "queue", "0"]);
    popper.flush().unwrap();
    faulty.wait_for("a blocked client", || faulty.info("blocked_clients") == "1");
    faulty.begin(Fault::SyncIsStuck);
    let mut plain = faulty.client();
    assert_eq!(plain.call(["SET", "k", "1"]).unwrap(), Value::ok());
    faulty.send_on(&mut careful, &["GET", "k"]);
    // The push is acknowledged when the kernel has it, what was popped is shown when the disk has it.
    assert_eq!(plain.call(["RPUSH", "queue", "job"]).unwrap(), Value::Integer(1));
    faulty.wait_until_a_sync_is_stuck();
    let mut aof = faulty.client();
    assert_eq!(aof.call(["SET", "m", "1"]).unwrap(), Value::ok());
    let not_yet = Value::Array(vec![Value::Integer(0), Value::Integer(0)]);
    assert_eq!(aof.call(["WAITAOF", "1", "0", "1"]).unwrap(), not_yet);
    faulty.send_on(&mut aof, &["WAITAOF", "1", "0", "0"]);
    assert!(waits(&mut careful) && waits(&mut popper) && waits(&mut aof));
    faulty.end(Fault::SyncIsStuck);
    assert_eq!(careful.receive().unwrap(), Value::bulk("1"));
    assert_eq!(popper.receive().unwrap(), Value::Array(vec![Value::bulk("queue"), Value::bulk("job")]));
    assert_eq!(aof.receive().unwrap(), Value::Array(vec![Value::Integer(1), Value::Integer(0)]));
}
