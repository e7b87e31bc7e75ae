//! What reaches the kernel, and in which order: the rules about files and names hold down to the system calls.

use std::fs;
use std::path::Path;

use crate::faulty::{Faulty, ask};
use crate::support::Options;

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
fn so_has_every_one_that_goes_past_the_page_cache() {
    let mut faulty = Faulty::start("always");
    faulty.server.stop();
    faulty.server.set_directive("log-io", "direct");
    faulty.server.restart();
    let segment = format!("sync log/{:08}.log", faulty.number("log_segment_sequence"));
    let syncs = || faulty.trace().iter().filter(|line| **line == segment).count();
    for _ in 0..20 {
        let before = syncs();
        assert!(!ask(&faulty, &["INCR", "k"]).is_error());
        assert!(syncs() > before);
    }
}

#[test]
fn a_text_file_is_synced_renamed_and_its_name_synced() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pid-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("the test directory is writable");
    let folder = fs::canonicalize(folder).expect("just made");
    let file = folder.join("duramen.pid");
    let options = Options::default().directive("pidfile", file.to_str().expect("text"));
    let faulty = Faulty::start_with("always", options);
    let trace = faulty.trace();
    let pid = faulty.server.pid().expect("it runs");
    let expected = [
        format!("sync {}", folder.join(format!("duramen.tmp-{pid}")).display()),
        format!("rename {}", file.display()),
        format!("sync {}", folder.display()),
    ];
    assert!(trace.windows(3).any(|lines| lines == expected), "{trace:?}");
    drop(faulty);
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn the_name_of_a_backups_folder_is_synced_even_if_somebody_else_made_it() {
    let faulty = Faulty::start("always");
    let home = fs::canonicalize(faulty.server.data_dir()).expect("the server has made it");
    let home = home.parent().expect("it is in the test directory");
    let target = home.join("made-before");
    fs::create_dir(&target).expect("the test directory is writable");
    let before = faulty.trace().len();
    let reply = ask(&faulty, &["BACKUP", target.to_str().expect("text")]);
    assert!(!reply.is_error(), "{reply:?}");
    let name = format!("sync {}", home.display());
    assert!(faulty.trace()[before..].contains(&name), "{:?}", faulty.trace());
}

#[test]
fn the_name_of_a_new_data_directory_is_synced_before_anything_in_it() {
    let faulty = Faulty::start("always");
    let root = fs::canonicalize(faulty.server.data_dir()).expect("the server has made it");
    let above = root.parent().expect("it is in the test directory").display();
    assert_eq!(faulty.trace().first(), Some(&format!("sync {above}")));
}
