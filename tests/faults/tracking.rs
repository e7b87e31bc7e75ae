//! What connections that track keys are told, behind the log's gate.

use crate::faulty::{Fault, Faulty, ask, waits};
use crate::support::Options;
use crate::support::client::Value;

#[test]
fn under_always_nobody_is_told_of_a_change_that_may_be_lost() {
    let faulty = Faulty::start_with("always", Options::default().directive("io-threads", "2"));
    assert_eq!(ask(&faulty, &["SET", "k", "old"]), Value::ok());
    let mut readers = [faulty.client(), faulty.client(), faulty.client()];
    for (reader, mode) in readers.iter_mut().zip([&[][..], &["BCAST"], &["OPTOUT"]]) {
        assert!(!reader.call(["HELLO", "3"]).unwrap().is_error());
        let words: Vec<&str> = ["CLIENT", "TRACKING", "ON"].into_iter().chain(mode.iter().copied()).collect();
        assert_eq!(reader.call(words).unwrap(), Value::ok());
        assert_eq!(reader.call(["GET", "k"]).unwrap(), Value::bulk("old"));
    }
    faulty.begin(Fault::SyncIsStuck);
    let mut writer = faulty.send(&["SET", "k", "new"]);
    faulty.wait_until_a_sync_is_stuck();
    assert!(readers.iter_mut().all(waits) && waits(&mut writer));
    // Reading again waits as well: what it shows is as unsafe.
    readers[0].queue(["GET", "k"]);
    readers[0].flush().unwrap();
    assert!(waits(&mut readers[0]));
    faulty.end(Fault::SyncIsStuck);
    assert_eq!(writer.receive().unwrap(), Value::ok());
    let told = Value::Push(vec![Value::bulk("invalidate"), Value::Array(vec![Value::bulk("k")])]);
    for reader in &mut readers {
        assert_eq!(reader.receive().unwrap(), told);
    }
    assert_eq!(readers[0].receive().unwrap(), Value::bulk("new"));
}
