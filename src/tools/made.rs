//! Folders that are made for what a tool writes, and go again if nothing came of it.

use std::path::{Path, PathBuf};

use crate::disk::plain;

/// Removes, when it is dropped, those of the folders that are empty then.
pub struct Made(Vec<PathBuf>);

impl Made {
    /// Takes note, before a folder is made, whether it and those above it are there. Makes nothing itself.
    pub fn watch(dir: &Path) -> Self {
        Self(plain::missing_dirs(dir))
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // The deepest first: where one stays, so do those above it. One that was never made is passed over.
        for dir in &self.0 {
            let _ = plain::remove_empty_dir(dir);
        }
    }
}
