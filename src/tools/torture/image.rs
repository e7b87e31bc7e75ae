//! An ext4 file system in a file, mounted by loop device, whose power can be cut: the kernel then takes no more writes to it and
//! drops what it had not written, as if the machine had stopped. Mounted again, its journal is replayed.
//!
//! What it does **not** show: what a drive loses that had told the kernel that it was done. What the file system gave to the
//! loop device stays. The simulated disk loses that, too.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::disk::plain;
use crate::disk::scratch;

#[derive(Debug)]
pub struct Image {
    file: PathBuf,
    mount_point: PathBuf,
    is_mounted: bool,
}

impl Image {
    /// Makes the file system in `home` and mounts it. Needs root and loop devices.
    pub fn make(home: &Path, bytes: u64) -> io::Result<Self> {
        let mut image =
            Self { file: home.join("image.ext4"), mount_point: home.join("mounted"), is_mounted: false };
        plain::create_dirs(&image.mount_point)?;
        scratch::make_sparse(&image.file, bytes)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image.file))?;
        image.mount()?;
        Ok(image)
    }

    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    fn mount(&mut self) -> io::Result<()> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.file).arg(&self.mount_point))?;
        self.is_mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> io::Result<()> {
        if self.is_mounted {
            run(Command::new("umount").arg(&self.mount_point))?;
            self.is_mounted = false;
        }
        Ok(())
    }

    /// From here on nothing reaches the file system, and what had not is gone.
    pub fn cut_power(&self) -> io::Result<()> {
        scratch::cut_power(&self.mount_point)
    }

    /// After the processes that used it ended.
    pub fn mount_again(&mut self) -> io::Result<()> {
        self.unmount()?;
        self.mount()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            eprintln!("duramen torture: {error}; unmount {} by hand", self.mount_point.display());
        }
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |what: String| io::Error::other(format!("{name}: {what}"));
    let output = command.stdin(Stdio::null()).output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
