//! The fault latch: after a failed sync nothing more is written to, or acknowledged from, that log.
//!
//! A failed `fsync` may drop the dirty pages that it could not write, and reports it once: the next `fsync` returns Ok about
//! data that is nowhere. So no sync is tried twice; the way on is a restart and recovery from what the medium holds.

use std::io;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::{File, Map};

/// What every refused operation is told; the inner error of the `io::Error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing more is written since an earlier failure ({0})")]
pub struct Latched(pub String);

/// Set once, by the first failure, for all files of a log and its manifest.
#[derive(Debug, Default)]
pub struct Latch(OnceLock<String>);

impl Latch {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Trips the latch for good. The first reason stays.
    pub fn set(&self, reason: impl Into<String>) {
        let _ = self.0.set(reason.into());
    }

    /// Why the latch has tripped.
    #[inline]
    pub fn get(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Refuses with [`Latched`] once the latch has tripped. One atomic load until then.
    #[inline]
    pub fn check(&self) -> io::Result<()> {
        match self.get() {
            None => Ok(()),
            Some(reason) => Err(io::Error::other(Latched(reason.to_owned()))),
        }
    }

    /// Runs what must not be tried again after a failure (a sync of a folder, a rename of the manifest), and trips if it fails.
    pub fn guard<T>(&self, what: &str, path: &str, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.check()?;
        run().inspect_err(|error| self.set(format!("{what} {path}: {error}")))
    }
}

/// A file whose failed sync, or failed write, trips a latch, and that refuses writes and syncs once the latch has
/// tripped, whoever tripped it. Reads go on.
pub struct LatchedFile {
    inner: Arc<dyn File>,
    latch: Arc<Latch>,
    /// For the reason in the latch.
    path: String,
    /// One sync at a time: a sync that began between the failure of another and its trip would return Ok.
    sync_turn: Mutex<()>,
}

impl LatchedFile {
    pub fn new(inner: Arc<dyn File>, latch: Arc<Latch>, path: impl Into<String>) -> Self {
        Self { inner, latch, path: path.into(), sync_turn: Mutex::new(()) }
    }

    /// Lack of room, a quota and a signal leave the file as it was: the caller may try the write again.
    fn watch<T>(&self, what: &str, result: io::Result<T>) -> io::Result<T> {
        use io::ErrorKind::{Interrupted, QuotaExceeded, StorageFull, Unsupported};
        result.inspect_err(|error| {
            if !matches!(error.kind(), StorageFull | QuotaExceeded | Interrupted | Unsupported) {
                self.latch.set(format!("{what} {}: {error}", self.path));
            }
        })
    }
}

impl File for LatchedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.latch.check()?;
        self.watch("write", self.inner.write_at(buf, offset))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.latch.check()?;
        self.watch("set the length of", self.inner.set_len(len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.latch.check()?;
        self.watch("allocate", self.inner.allocate(len))
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn data_end(&self) -> io::Result<u64> {
        self.inner.data_end()
    }

    fn sync(&self) -> io::Result<()> {
        let _turn = self.sync_turn.lock();
        // Every error counts here, lack of room too: the pages may be gone.
        self.latch.guard("sync", &self.path, || self.inner.sync())
    }

    fn block(&self) -> u32 {
        self.inner.block()
    }

    fn map(&self) -> io::Result<Map> {
        self.inner.map()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::super::sim::{Fault, OpKind, SimDisk};
    use super::super::{Disk, Open};
    use super::*;

    fn latched() -> (SimDisk, Arc<Latch>, LatchedFile) {
        let disk = SimDisk::new(1);
        let latch = Latch::new();
        let file = LatchedFile::new(disk.open("f", Open::Create).unwrap(), Arc::clone(&latch), "f");
        (disk, latch, file)
    }

    #[test]
    fn a_failed_sync_is_final() {
        let (disk, latch, file) = latched();
        file.write_all_at(b"one", 0).unwrap();
        file.sync().unwrap();
        disk.fail_nth(OpKind::Sync, 1, Fault::Eio);
        assert!(file.sync().is_err());
        let (syncs, writes) = (disk.count(OpKind::Sync), disk.count(OpKind::Write));
        let refused = file.sync().unwrap_err();
        assert!(refused.get_ref().is_some_and(|inner| inner.is::<Latched>()), "{refused}");
        assert!(file.write_at(b"two", 0).is_err());
        assert!(file.set_len(1).is_err());
        assert_eq!(
            (disk.count(OpKind::Sync), disk.count(OpKind::Write)),
            (syncs, writes),
            "something was tried again"
        );
        assert!(latch.get().unwrap().starts_with("sync f: "), "{latch:?}");
        file.read_exact_at(&mut [0; 3], 0).unwrap();
    }

    #[test]
    fn one_file_stops_the_others_of_its_log() {
        let (disk, latch, file) = latched();
        let other = LatchedFile::new(disk.open("g", Open::Create).unwrap(), latch, "g");
        disk.fail_nth(OpKind::Sync, 1, Fault::Eio);
        assert!(other.sync().is_err());
        assert!(file.sync().is_err());
        assert_eq!(disk.count(OpKind::Sync), 1);
    }

    #[test]
    fn lack_of_room_is_not_final_for_a_write_but_is_for_a_sync() {
        let (disk, latch, file) = latched();
        disk.fail_nth(OpKind::Write, 1, Fault::Enospc);
        assert_eq!(file.write_at(b"x", 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
        disk.fail_nth(OpKind::Write, 1, Fault::ShortWrite(1));
        assert_eq!(file.write_at(b"xyz", 0).unwrap(), 1);
        file.write_all_at(b"xyz", 0).unwrap();
        assert_eq!(latch.get(), None);
        disk.fail_nth(OpKind::Sync, 1, Fault::Enospc);
        assert!(file.sync().is_err());
        assert!(latch.check().is_err());
    }

    #[test]
    fn a_failed_write_is_final() {
        let (disk, latch, file) = latched();
        disk.fail_nth(OpKind::Write, 1, Fault::Eio);
        assert!(file.write_at(b"x", 0).is_err());
        assert!(file.sync().is_err());
        assert_eq!(disk.count(OpKind::Sync), 0);
        assert!(latch.get().unwrap().starts_with("write f: "));
    }

    /// A file that notices when two syncs of it overlap.
    struct Overlap {
        inner: Arc<dyn File>,
        inside: AtomicUsize,
        seen: AtomicBool,
    }

    impl File for Overlap {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            self.inner.read_at(buf, offset)
        }
        fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
            self.inner.write_at(buf, offset)
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.inner.set_len(len)
        }
        fn allocate(&self, len: u64) -> io::Result<()> {
            self.inner.allocate(len)
        }
        fn len(&self) -> io::Result<u64> {
            self.inner.len()
        }
        fn sync(&self) -> io::Result<()> {
            let overlaps = self.inside.fetch_add(1, Ordering::SeqCst) > 0;
            self.seen.fetch_or(overlaps, Ordering::SeqCst);
            (0..100).for_each(|_| std::thread::yield_now()); // gives the other thread every chance to come in
            let result = self.inner.sync();
            self.inside.fetch_sub(1, Ordering::SeqCst);
            result
        }
    }

    #[test]
    fn of_two_syncs_at_once_none_succeeds_when_the_first_fails() {
        for _ in 0..50 {
            let disk = SimDisk::new(1);
            let inner = disk.open("f", Open::Create).unwrap();
            let overlap =
                Arc::new(Overlap { inner, inside: AtomicUsize::new(0), seen: AtomicBool::new(false) });
            let file = LatchedFile::new(Arc::clone(&overlap) as Arc<dyn File>, Latch::new(), "f");
            disk.fail_nth(OpKind::Sync, 1, Fault::Eio);
            let start = Barrier::new(2);
            let sync = || {
                start.wait();
                file.sync()
            };
            std::thread::scope(|scope| {
                let both = [scope.spawn(sync), scope.spawn(sync)];
                assert!(both.into_iter().all(|one| one.join().unwrap().is_err()));
            });
            assert_eq!(disk.count(OpKind::Sync), 1);
            assert!(!overlap.seen.load(Ordering::SeqCst), "two syncs overlapped");
        }
    }

    #[test]
    fn a_guarded_step_is_not_tried_again() {
        let latch = Latch::new();
        assert_eq!(latch.guard("rename", "MANIFEST-a", || Ok(1)).unwrap(), 1);
        assert!(latch.guard("rename", "MANIFEST-a", || Err::<(), _>(io::Error::other("gone"))).is_err());
        assert_eq!(latch.get(), Some("rename MANIFEST-a: gone"));
        latch.set("later");
        assert_eq!(latch.get(), Some("rename MANIFEST-a: gone"), "the first reason stays");
        assert!(latch.guard("sync", "f", || -> io::Result<()> { panic!("tried") }).is_err());
    }
}
