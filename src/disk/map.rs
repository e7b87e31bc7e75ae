//! A file's bytes in memory: mapped by the operating system, or a copy.

use std::fs;
use std::io;
use std::ops::Deref;

/// The bytes of a file that nobody changes any more.
///
/// Assumed: while a map is in use, the file is not cut within the bytes that are read. The process would be killed by SIGBUS.
/// Files that are mapped are under the data directory's lock and are written once; one that is removed stays readable.
/// A read error of the device is a SIGBUS, too: it cannot be told apart.
#[derive(Debug)]
pub struct Map(Bytes);

#[derive(Debug)]
enum Bytes {
    Mapped(memmap2::Mmap),
    Copied(Vec<u8>),
}

impl Map {
    pub(super) fn of(file: &fs::File) -> io::Result<Self> {
        // SAFETY: the map is only read. That nobody changes or cuts the file meanwhile is what the type assumes.
        let map = unsafe { memmap2::Mmap::map(file)? };
        Ok(Self(Bytes::Mapped(map)))
    }

    pub(super) const fn copied(bytes: Vec<u8>) -> Self {
        Self(Bytes::Copied(bytes))
    }
}

impl Deref for Map {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Mapped(map) => map,
            Bytes::Copied(bytes) => bytes,
        }
    }
}
