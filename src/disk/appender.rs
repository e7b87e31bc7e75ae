//! A file that is appended to under its name. When the name has come to stand for another file, or for none, as after a rename by
//! logrotate, the next write goes to the one that the name stands for then.
//!
//! What it does **not** promise: that anything is on the medium, or that a line is written where the disk refuses it.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;

use parking_lot::Mutex;

use super::plain;

pub struct Appender {
    /// From the root: the current folder may change.
    path: String,
    file: Mutex<fs::File>,
}

impl Appender {
    /// Opens the file, made if it is missing.
    pub fn open(path: &str) -> io::Result<Self> {
        let path = plain::absolute(path);
        let file = Mutex::new(plain::append(&path)?);
        Ok(Self { path, file })
    }

    /// Opens the file under that name anew and gives up the one that was open. After an error that one stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        let fresh = plain::append(&self.path)?;
        *self.file.lock() = fresh;
        Ok(())
    }
}

impl Write for &Appender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self.file.lock();
        // A line in a file that was renamed is better than none.
        if !is_named(&file, &self.path)
            && let Ok(fresh) = plain::append(&self.path)
        {
            *file = fresh;
        }
        file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.lock().flush()
    }
}

/// Whether the path leads to this file. Its number is nobody else's while it is open.
fn is_named(file: &fs::File, path: &str) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path of this test alone, with nothing there.
    fn fresh_path(name: &str) -> String {
        let path = std::env::temp_dir().join(format!("duramen-appender-{name}-{}", std::process::id()));
        let path = path.to_string_lossy().into_owned();
        plain::remove(&path).unwrap();
        path
    }

    #[test]
    fn lines_follow_the_name_and_not_the_file() {
        let (path, old) = (fresh_path("log"), fresh_path("old"));
        let appender = Appender::open(&path).unwrap();
        (&appender).write_all(b"1\n").unwrap();
        (&appender).write_all(b"2\n").unwrap();
        fs::rename(&path, &old).unwrap();
        (&appender).write_all(b"3\n").unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "1\n2\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "3\n");
        fs::rename(&path, &old).unwrap();
        appender.reopen().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "", "there before anything is written");
        fs::remove_file(&path).unwrap();
        // Nothing can be opened under the name.
        fs::create_dir(&path).unwrap();
        assert!(appender.reopen().is_err());
        (&appender).write_all(b"4\n").unwrap();
        fs::remove_dir(&path).unwrap();
        (&appender).write_all(b"5\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "5\n");
        plain::remove(&path).unwrap();
        plain::remove(&old).unwrap();
    }
}
