//! `pidfile`: the process id, for scripts that send signals. There while the server runs.

use crate::config::Config;
use crate::disk::plain;

/// Removed when it is dropped, unless another server has written its own number into it meanwhile.
pub struct PidFile(String);

impl PidFile {
    /// `None` if none is wanted.
    pub fn write(config: &Config) -> Result<Option<Self>, String> {
        let path = config.pidfile();
        if path.is_empty() {
            return Ok(None);
        }
        plain::replace_text(&path, text()).map_err(|e| {
            format!(
                "can't write the pid file '{path}': {e}. Make its folder, and let the user that runs the server write there, or choose \
                 another --pidfile."
            )
        })?;
        Ok(Some(Self(path)))
    }
}

fn text() -> String {
    format!("{}\n", std::process::id())
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let path = &self.0;
        if plain::read(path).is_ok_and(|found| found != text().as_bytes()) {
            return tracing::warn!("{path} holds another process' number and was left");
        }
        if let Err(error) = plain::remove(path) {
            tracing::warn!("{path} was not removed: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Name;

    #[test]
    fn a_pid_file_goes_with_its_server_and_with_no_other() {
        let path = std::env::temp_dir().join(format!("duramen-pid-file-{}", std::process::id()));
        let path = path.to_string_lossy().into_owned();
        let config = Config::new();
        assert!(PidFile::write(&config).unwrap().is_none());
        config.set_at_start(Name::pidfile, &path).unwrap();
        let own = PidFile::write(&config).unwrap();
        assert_eq!(plain::read(&path).unwrap(), text().as_bytes());
        drop(own);
        assert!(!plain::exists(&path));
        let own = PidFile::write(&config).unwrap();
        plain::replace_text(&path, "1\n").unwrap();
        drop(own);
        assert_eq!(plain::read(&path).unwrap(), b"1\n");
        plain::remove(&path).unwrap();
    }
}
