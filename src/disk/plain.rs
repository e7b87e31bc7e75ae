//! Files of the administrator, outside the data directory: configuration, log file, pid file, socket. No promise rests on
//! them.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::glob;
use crate::mutation::{Safeguard, unless_off};

/// All of a file. Texts of administrators are not always UTF-8.
pub fn read(path: &str) -> io::Result<Vec<u8>> {
    fs::read(path)
}

/// Whether a file or a folder of this name is there.
pub fn exists(path: &str) -> bool {
    fs::exists(path).unwrap_or(false)
}

/// Replaces a text file whole: either the old or the new one is there, also after a crash.
pub fn replace_text(path: &str, text: impl AsRef<[u8]>) -> io::Result<()> {
    let path = Path::new(path);
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    let mut file = fs::File::create(&temporary)?;
    file.write_all(text.as_ref())?;
    unless_off(Safeguard::TextSync, || file.sync_all())?;
    drop(file);
    fs::rename(&temporary, path)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    unless_off(Safeguard::TextName, || fs::File::open(folder)?.sync_all())
}

/// Opens a file to append to, for logs.
pub fn append(path: &str) -> io::Result<fs::File> {
    fs::OpenOptions::new().create(true).append(true).open(path)
}

/// Removes a file if it is there.
pub fn remove(path: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Nothing,
    Socket(Identity),
    /// A link, too, wherever it leads.
    Other,
}

/// Tells a file from others that have its name at another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

pub fn entry(path: &str) -> io::Result<Entry> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            Ok(Entry::Socket(Identity { device: found.dev(), inode: found.ino() }))
        }
        Ok(_) => Ok(Entry::Other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Entry::Nothing),
        Err(error) => Err(error),
    }
}

/// Removes a folder with all that is in it.
pub fn remove_tree(path: &str) -> io::Result<()> {
    fs::remove_dir_all(path)
}

/// Sets a file's permission bits.
pub fn set_mode(path: &str, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// The path from the root, whether or not it exists.
pub fn absolute(path: &str) -> String {
    std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path)).to_string_lossy().into_owned()
}

/// The files whose last part matches a pattern, sorted; a path without wildcards is itself.
pub fn glob(pattern: &str) -> io::Result<Vec<String>> {
    let path = Path::new(pattern);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !glob::has_wildcard(name.as_bytes()) {
        return Ok(vec![pattern.to_owned()]);
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for item in fs::read_dir(folder)? {
        let item = item?;
        if glob::matches(name.as_bytes(), item.file_name().to_string_lossy().as_bytes()) {
            found.push(item.path().to_string_lossy().into_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// Makes a folder, and those above it.
pub fn create_dirs(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// A folder and those above it that are not there, the deepest first.
pub fn missing_dirs(path: &Path) -> Vec<PathBuf> {
    let missing = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists());
    missing.map(Path::to_path_buf).collect()
}

/// Removes a folder if nothing is in it.
pub fn remove_empty_dir(path: &Path) -> io::Result<()> {
    fs::remove_dir(path)
}

/// Removes a folder and everything in it.
pub fn remove_dirs(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path)
}
