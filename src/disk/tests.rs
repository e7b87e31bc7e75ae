//! What every disk must do, asked of all of them: the simulated one is only worth as much as it behaves like the real ones.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;

/// A folder that is removed at the end of the test.
pub(super) struct TempDir(PathBuf);

impl TempDir {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("duramen-disk-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a test on every kind of disk.
fn on_every_disk(test: impl Fn(&dyn Disk)) {
    test(&SimDisk::new(1));
    for log_io in [LogIo::Auto, LogIo::IoUring] {
        let temp = TempDir::new();
        test(&OsDisk::open_dir(temp.path().to_owned(), log_io).unwrap());
    }
}

fn kind<T>(result: io::Result<T>) -> Option<io::ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn create_refuses_a_name_that_exists_and_the_others_one_that_does_not() {
    on_every_disk(|disk| {
        for how in [Open::Read, Open::Write, Open::Log, Open::Direct] {
            assert_eq!(kind(disk.open("f", how)), Some(io::ErrorKind::NotFound));
        }
        disk.open("f", Open::Create).unwrap();
        assert_eq!(kind(disk.open("f", Open::Create)), Some(io::ErrorKind::AlreadyExists));
        assert_eq!(kind(disk.open("none/f", Open::Create)), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(disk.open("f/f", Open::Create)), Some(io::ErrorKind::NotADirectory));
        disk.create_dir("log").unwrap();
        assert!(disk.open("log", Open::Read).is_err(), "a folder is no file");
    });
}

#[test]
fn reads_end_at_the_end_of_the_file_and_gaps_are_zero() {
    on_every_disk(|disk| {
        disk.open("f", Open::Create).unwrap();
        let file = disk.open("f", Open::Log).unwrap();
        file.write_all_at(b"abc", 5).unwrap();
        assert_eq!(file.len().unwrap(), 8);
        let mut buf = [9; 10];
        assert_eq!(file.read_at(&mut buf, 0).unwrap(), 8);
        assert_eq!(&buf[..8], b"\0\0\0\0\0abc");
        assert_eq!(file.read_at(&mut buf, 8).unwrap(), 0);
        assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
        assert_eq!(kind(file.read_exact_at(&mut buf, 0)), Some(io::ErrorKind::UnexpectedEof));
        file.set_len(6).unwrap();
        file.set_len(8).unwrap();
        file.read_exact_at(&mut buf[..8], 0).unwrap();
        assert_eq!(&buf[..8], b"\0\0\0\0\0a\0\0", "what was cut comes back as zeros");
        file.sync().unwrap();
        assert_eq!(file.write_at(b"", 100).unwrap(), 0);
        assert_eq!(file.len().unwrap(), 8, "an empty write does not extend");
    });
}

#[test]
fn a_map_is_the_whole_file_and_outlives_its_name() {
    on_every_disk(|disk| {
        let file = disk.open("f", Open::Create).unwrap();
        assert_eq!(*file.map().unwrap(), []);
        let bytes: Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
        file.write_all_at(&bytes, 0).unwrap();
        for how in [Open::Read, Open::Log] {
            assert_eq!(*disk.open("f", how).unwrap().map().unwrap(), bytes);
        }
        let map = disk.open("f", Open::Read).unwrap().map().unwrap();
        disk.remove("f").unwrap();
        assert_eq!(*map, bytes);
    });
}

#[test]
fn allocated_room_is_zero_and_makes_the_file_longer() {
    on_every_disk(|disk| {
        let file = disk.open("f", Open::Create).unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        match file.allocate(10_000) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return println!("skipped: {error}"),
            done => done.unwrap(),
        }
        assert_eq!(file.len().unwrap(), 10_000);
        let mut buf = vec![9; 10_000];
        file.read_exact_at(&mut buf, 0).unwrap();
        assert!(&buf[..3] == b"abc" && buf[3..].iter().all(|&byte| byte == 0));
    });
}

#[test]
fn behind_the_end_of_the_data_everything_is_zero() {
    on_every_disk(|disk| {
        let file = disk.open("f", Open::Create).unwrap();
        assert_eq!(file.data_end().unwrap(), 0);
        if file.allocate(1 << 20).is_err() {
            file.set_len(1 << 20).unwrap();
        }
        for (offset, known) in [(3, 4), (500_000, 500_001), (100, 500_001), ((1 << 20) - 1, 1 << 20)] {
            file.write_all_at(b"x", offset).unwrap();
            let end = file.data_end().unwrap();
            assert!((known..=1 << 20).contains(&end), "{offset}: {end}");
        }
    });
}

#[test]
fn room_that_was_never_written_is_known_before_it_is_read() {
    let temp = TempDir::new();
    let os = OsDisk::open_dir(temp.path().to_owned(), LogIo::Auto).unwrap();
    let sim = SimDisk::new(1);
    for (disk, room) in [(&os as &dyn Disk, 64 << 10), (&sim, 512)] {
        let file = disk.open("f", Open::Create).unwrap();
        match file.allocate(1 << 20) {
            Err(error) => return println!("skipped: {error}"),
            Ok(()) => assert!(file.data_end().unwrap() <= room),
        }
        file.write_all_at(&[1; 100], 7).unwrap();
        let end = file.data_end().unwrap();
        assert!((107..107 + room).contains(&end), "{end}");
    }
}

#[test]
fn a_direct_file_takes_whole_blocks_only() {
    on_every_disk(|disk| {
        disk.open("f", Open::Create).unwrap();
        let file = match disk.open("f", Open::Direct) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return println!("skipped: {error}"),
            opened => opened.unwrap(),
        };
        let block = file.block() as usize;
        file.write_all_at(&vec![7; 3 * block], block as u64).unwrap();
        assert_eq!(file.len().unwrap(), 4 * block as u64);
        for (len, offset) in [(block, 8), (block - 8, 0), (8, 0), (block + 8, block)] {
            let error = file.write_at(&vec![1; len], offset as u64).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        }
        let mut bytes = vec![9; 8];
        file.read_exact_at(&mut bytes, block as u64 - 4).unwrap();
        assert_eq!(bytes, [0, 0, 0, 0, 7, 7, 7, 7]);
        file.sync().unwrap();
    });
}

#[test]
fn a_file_opened_for_reading_cannot_be_changed() {
    on_every_disk(|disk| {
        disk.open("f", Open::Create).unwrap().write_all_at(b"abc", 0).unwrap();
        let file = disk.open("f", Open::Read).unwrap();
        assert_eq!(file.write_at(b"x", 0).unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(file.set_len(0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert_eq!(file.len().unwrap(), 3);
        file.sync().unwrap();
    });
}

#[test]
fn rename_replaces_and_keeps_open_files() {
    on_every_disk(|disk| {
        let old = disk.open("to", Open::Create).unwrap();
        old.write_all_at(b"old", 0).unwrap();
        disk.open("from", Open::Create).unwrap().write_all_at(b"new", 0).unwrap();
        disk.rename("from", "to").unwrap();
        disk.sync_dir("").unwrap();
        let mut buf = [0; 3];
        old.read_exact_at(&mut buf, 0).unwrap();
        assert_eq!(&buf, b"old");
        disk.open("to", Open::Read).unwrap().read_exact_at(&mut buf, 0).unwrap();
        assert_eq!(&buf, b"new");
        assert_eq!(kind(disk.rename("from", "to")), Some(io::ErrorKind::NotFound));
    });
}

#[test]
fn a_removed_file_is_read_and_written_until_it_is_closed() {
    on_every_disk(|disk| {
        let file = disk.open("f", Open::Create).unwrap();
        disk.remove("f").unwrap();
        disk.sync_dir("").unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        file.sync().unwrap();
        assert_eq!(file.len().unwrap(), 3);
        assert_eq!(kind(disk.remove("f")), Some(io::ErrorKind::NotFound));
    });
}

#[test]
fn list_is_sorted_and_leaves_folders_out() {
    on_every_disk(|disk| {
        disk.create_dir("log").unwrap();
        disk.create_dir("log").unwrap();
        for name in ["b", "a", "log/2", "log/10", "log/1"] {
            disk.open(name, Open::Create).unwrap();
        }
        assert_eq!(disk.list("").unwrap(), ["a", "b"]);
        assert_eq!(disk.list("log").unwrap(), ["1", "10", "2"]);
        assert_eq!(kind(disk.list("none")), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(disk.sync_dir("none")), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(disk.create_dir("a")), Some(io::ErrorKind::AlreadyExists));
    });
}

#[test]
fn a_lock_is_exclusive_until_it_is_dropped() {
    on_every_disk(|disk| {
        let held = disk.lock("LOCK").unwrap();
        let refused = disk.lock("LOCK").err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(refused.to_string().contains("LOCK is locked by"), "{refused}");
        drop(held);
        let _held = disk.lock("LOCK").unwrap();
        assert_eq!(disk.list("").unwrap(), ["LOCK"]);
    });
}

#[test]
fn paths_that_could_leave_the_data_directory_are_refused() {
    on_every_disk(|disk| {
        for path in ["/etc/passwd", "../x", "log/../../x", "log//x", ".", "a\0b", "log/"] {
            assert_eq!(kind(disk.open(path, Open::Create)), Some(io::ErrorKind::InvalidInput), "{path:?}");
            assert_eq!(kind(disk.remove(path)), Some(io::ErrorKind::InvalidInput), "{path:?}");
            assert_eq!(kind(disk.list(path)), Some(io::ErrorKind::InvalidInput), "{path:?}");
            assert_eq!(kind(disk.create_dir(path)), Some(io::ErrorKind::InvalidInput), "{path:?}");
            assert_eq!(kind(disk.lock(path)), Some(io::ErrorKind::InvalidInput), "{path:?}");
        }
    });
}

#[derive(Debug, Clone)]
enum Step {
    Create(u8),
    Write(u8, u16, Vec<u8>),
    SetLen(u8, u16),
    Sync(u8),
    Rename(u8, u8),
    Remove(u8),
    SyncDir,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0..4u8;
    let step = prop_oneof![
        name.clone().prop_map(Step::Create),
        (name.clone(), 0..2000u16, prop::collection::vec(any::<u8>(), 0..700))
            .prop_map(|(n, o, b)| Step::Write(n, o, b)),
        (name.clone(), 0..2000u16).prop_map(|(n, len)| Step::SetLen(n, len)),
        name.clone().prop_map(Step::Sync),
        (name.clone(), name.clone()).prop_map(|(a, b)| Step::Rename(a, b)),
        name.prop_map(Step::Remove),
        Just(Step::SyncDir),
    ];
    prop::collection::vec(step, 1..40)
}

/// What a step answers, and what the disk looks like after it.
fn run(disk: &dyn Disk, step: &Step) -> (Option<io::ErrorKind>, Vec<(String, Vec<u8>)>) {
    let path = |name: &u8| format!("d/{name}");
    let with = |name: &u8, run: &dyn Fn(&dyn File) -> io::Result<()>| {
        disk.open(&path(name), Open::Log).and_then(|file| run(&*file))
    };
    let result = match step {
        Step::Create(name) => disk.open(&path(name), Open::Create).map(drop),
        Step::Write(name, offset, bytes) => with(name, &|file| file.write_all_at(bytes, u64::from(*offset))),
        Step::SetLen(name, len) => with(name, &|file| file.set_len(u64::from(*len))),
        Step::Sync(name) => with(name, &|file| file.sync()),
        Step::Rename(from, to) => disk.rename(&path(from), &path(to)),
        Step::Remove(name) => disk.remove(&path(name)),
        Step::SyncDir => disk.sync_dir("d"),
    };
    let read = |name: String| {
        let file = disk.open(&format!("d/{name}"), Open::Read).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        (name, bytes)
    };
    (kind(result), disk.list("d").unwrap().into_iter().map(read).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_simulated_disk_behaves_as_the_real_one(steps in steps()) {
        let temp = TempDir::new();
        let os = OsDisk::open_dir(temp.path().to_owned(), LogIo::Auto).unwrap();
        let sim = SimDisk::new(1);
        os.create_dir("d").unwrap();
        sim.create_dir("d").unwrap();
        for step in &steps {
            prop_assert_eq!(run(&os, step), run(&sim, step), "after {:?}", step);
        }
    }
}
