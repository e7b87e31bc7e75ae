//! When the directory is not what it should be, the log does not open, and says what to do.

use super::*;

/// A store with a few records, killed.
fn killed() -> SimDisk {
    let bench = new_bench(Policy::Always);
    bench.settle();
    for i in 0..60 {
        bench.write(&[i; 300]);
    }
    bench.disk.kill()
}

fn refused(disk: &SimDisk) -> String {
    let before = disk.files();
    let text = match try_open(disk, options(Policy::Always)) {
        Err(StoreError::Refused(text)) => text,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("not refused"),
    };
    assert_eq!(disk.files(), before, "nothing was changed");
    text
}

fn remove(disk: &SimDisk, path: &str) {
    disk.remove(path).unwrap();
    disk.sync_dir(path.rsplit_once('/').map_or("", |(dir, _)| dir)).unwrap();
}

#[test]
fn a_second_opener_is_refused() {
    let bench = new_bench(Policy::Always);
    let text = refused(&bench.disk);
    assert!(text.contains("in use"), "{text}");
    drop(bench.log);
    open(&bench.disk, Policy::Always);
}

#[test]
fn a_missing_listed_segment_is_refused() {
    let disk = killed();
    let segments: Vec<String> = disk.files().into_iter().filter(|f| f.starts_with("log/")).collect();
    for path in segments {
        let disk = disk.kill();
        remove(&disk, &path);
        assert!(refused(&disk).contains(&path));
    }
}

#[test]
fn segments_without_a_manifest_are_never_taken_for_a_new_store() {
    let disk = killed();
    remove(&disk, "MANIFEST-a");
    open(&disk.kill(), Policy::Always);
    remove(&disk, "MANIFEST-b");
    let text = refused(&disk);
    assert!(text.contains("MANIFEST-a"), "{text}");
    let (repair, begin_empty) = (text.find("duramen repair"), text.find("begin empty"));
    assert!(repair.is_some() && repair < begin_empty, "what saves everything comes first: {text}");
}

#[test]
fn one_damaged_manifest_is_survived_and_two_are_refused() {
    let disk = killed();
    for copy in manifest::COPIES {
        let disk = disk.kill();
        disk.write_raw(copy, b"noise");
        assert_eq!(open(&disk, Policy::Always).bodies.len(), 60);
    }
    disk.write_raw("MANIFEST-a", b"noise");
    disk.write_raw("MANIFEST-b", b"");
    let text = refused(&disk);
    assert!(text.contains("backup") && text.contains("duramen repair"), "{text}");
}

#[test]
fn manifests_of_two_stores_are_refused() {
    let (one, two) = (killed(), killed());
    one.write_raw("MANIFEST-b", &two.read_raw("MANIFEST-b").unwrap());
    assert!(refused(&one).contains("different stores"));
}

#[test]
fn a_segment_of_another_store_is_refused() {
    let (one, two) = (killed(), killed());
    let path = "log/00000001.log";
    one.write_raw(path, &two.read_raw(path).unwrap());
    assert!(refused(&one).contains("another store"));
}

#[test]
fn a_segment_under_the_wrong_name_is_refused() {
    let disk = killed();
    let (one, two) = ("log/00000001.log", "log/00000002.log");
    disk.write_raw(one, &disk.read_raw(two).unwrap());
    assert!(matches!(
        try_open(&disk, options(Policy::Always)),
        Err(StoreError::Refused(_) | StoreError::Corruption(_))
    ));
}

#[test]
fn a_manifest_older_than_the_log_is_refused() {
    let bench = new_bench(Policy::Always);
    let old = bench.disk.read_raw("MANIFEST-a").unwrap();
    for i in 0..60 {
        bench.write(&[i; 300]);
    }
    let disk = bench.disk.kill();
    disk.write_raw("MANIFEST-a", &old);
    disk.write_raw("MANIFEST-b", &old);
    assert!(refused(&disk).contains("older than the log"));
}

#[test]
fn a_shortened_segment_is_refused() {
    let bench = new_bench(Policy::Always);
    bench.write(b"x");
    let (path, bytes, end) = bench.active();
    let disk = bench.disk.kill();
    disk.write_raw(&path, &bytes[..end]);
    assert!(
        matches!(try_open(&disk, options(Policy::Always)), Err(StoreError::Corruption(c)) if c.file == path)
    );
}

#[test]
fn a_full_disk_at_start_is_an_error_that_says_so_and_changes_nothing() {
    let disk = killed();
    disk.set_capacity(Some(0));
    assert!(matches!(try_open(&disk, options(Policy::Always)), Err(StoreError::Io { .. })));
    disk.set_capacity(None);
    assert_eq!(open(&disk, Policy::Always).bodies.len(), 60);
}

#[test]
fn a_new_store_without_room_says_how_much_it_takes() {
    let disk = SimDisk::new(1);
    disk.set_log_io(LogIo::Buffered);
    disk.set_capacity(Some(80 << 20));
    let options = LogOptions { segment_bytes: 100 << 20, ..options(Policy::EverySec) };
    let text = try_open(&disk, options).err().expect("it has no room").to_string();
    assert!(text.contains("300 MiB") && text.contains("log-segment-size"), "{text}");
}
