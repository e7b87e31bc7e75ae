//! What reaches the kernel, and in which order: the rules about files and names hold down to the system calls.

use std::fs;

use crate::faulty::{Faulty, ask};

#[test]
fn a_manifest_copy_is_synced_renamed_and_its_name_synced_before_the_other_is_touched() {
    let faulty = Faulty::start("always");
    let trace = faulty.trace();
    let speaks = |line: &&String| line.contains("MANIFEST") || *line == "sync .";
    let told: Vec<&str> = trace.iter().filter(speaks).map(String::as_str).collect();
    let whole = [
        "sync MANIFEST-a.tmp",
        "rename MANIFEST-a",
        "sync .",
        "sync MANIFEST-b.tmp",
        "rename MANIFEST-b",
        "sync .",
    ];
    let (first, rest) = told.split_at(whole.len());
    assert_eq!(first, whole, "{trace:?}");
    let (folder, replacements) = rest.split_first().expect("a start syncs its names");
    assert_eq!(*folder, "sync .", "the names that an earlier process may have left in the cache");
    assert!(replacements.len() >= 3 * whole.len(), "{trace:?}");
    for replacement in replacements.chunks(whole.len()) {
        assert_eq!(*replacement, whole, "{trace:?}");
    }
}

#[test]
fn a_segment_and_its_name_are_synced_before_a_manifest_lists_it() {
    let faulty = Faulty::start("always");
    let trace = faulty.trace();
    for segment in ["sync log/00000001.log", "sync log/00000002.log", "sync log/00000003.log"] {
        let at =
            trace.iter().rposition(|line| line == segment).unwrap_or_else(|| panic!("{segment}: {trace:?}"));
        assert_eq!(trace[at + 1..at + 3], ["sync log", "sync MANIFEST-a.tmp"], "{segment}: {trace:?}");
    }
}

#[test]
fn every_acknowledged_write_has_been_synced() {
    let faulty = Faulty::start("always");
    let syncs = || faulty.trace().iter().filter(|line| *line == "sync log/00000001.log").count();
    for _ in 0..20 {
        let before = syncs();
        assert!(!ask(&faulty, &["INCR", "k"]).is_error());
        assert!(syncs() > before);
    }
}

#[test]
fn the_name_of_a_new_data_directory_is_synced_before_anything_in_it() {
    let faulty = Faulty::start("always");
    let root = fs::canonicalize(faulty.server.data_dir()).expect("the server has made it");
    let above = root.parent().expect("it is in the test directory").display();
    assert_eq!(faulty.trace().first(), Some(&format!("sync {above}")));
}
