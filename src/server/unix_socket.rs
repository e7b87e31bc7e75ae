//! The unix socket that the server listens on. Its file outlives a server that was killed, so what is found under the name is looked
//! at before it is replaced: only a socket that nobody answers on is removed.

use std::io;
use std::os::unix::net::UnixListener;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::Config;
use crate::disk::plain::{self, Entry, Identity};

/// A name that this server has bound. Removed when it is dropped, unless it stands for something else by then.
pub struct SocketFile {
    path: String,
    identity: Identity,
}

/// Listens on `unixsocket`; `None` if there is to be none.
pub fn open(config: &Config) -> Result<Option<(UnixListener, SocketFile)>, String> {
    let path = config.unixsocket();
    if path.is_empty() {
        return Ok(None);
    }
    let describe = |error: io::Error| {
        format!(
            "can't listen on unix socket {path}: {error}. Make its folder, and let the user that runs the server write there, or choose \
             another --unixsocket."
        )
    };
    make_way(&path)?;
    let listener = UnixListener::bind(&path).map_err(describe)?;
    let identity = match plain::entry(&path).map_err(describe)? {
        Entry::Socket(identity) => identity,
        Entry::Nothing | Entry::Other => return Err(describe(io::ErrorKind::NotFound.into())),
    };
    let file = SocketFile { path: path.clone(), identity };
    listener.set_nonblocking(true).map_err(describe)?;
    let mode = config.unixsocketperm();
    if mode != 0 {
        plain::set_mode(&path, mode).map_err(describe)?;
    }
    Ok(Some((listener, file)))
}

/// Removes the socket of a server that was killed. Anything else under that name is left, and no reason to go on.
fn make_way(path: &str) -> Result<(), String> {
    let refused = |why: &str| Err(format!("can't listen on unix socket {path}: {why}"));
    match plain::entry(path) {
        Ok(Entry::Nothing) => return Ok(()),
        Ok(Entry::Socket(_)) => {}
        Ok(Entry::Other) => {
            return refused(
                "there is something else of this name. Remove it, or choose another --unixsocket.",
            );
        }
        Err(error) => return refused(&format!("{error}. Choose another --unixsocket.")),
    }
    match connect(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            plain::remove(path).or_else(|e| refused(&format!("{e}. Choose another --unixsocket.")))
        }
        // One with a full queue is somebody, too.
        Ok(_) => refused("another process answers there. Stop that one, or choose another --unixsocket."),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            refused("another process listens there. Stop that one, or choose another --unixsocket.")
        }
        Err(error) => refused(&format!(
            "who listens there cannot be found out ({error}). Remove the socket if it is nobody's, or choose another --unixsocket."
        )),
    }
}

/// Never waits.
fn connect(path: &str) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let path = &self.path;
        let is_own = matches!(plain::entry(path), Ok(Entry::Socket(found)) if found == self.identity);
        if !is_own {
            return;
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

    fn config(name: &str) -> (Config, String) {
        let path = std::env::temp_dir().join(format!("duramen-socket-{name}-{}", std::process::id()));
        let path = path.to_string_lossy().into_owned();
        plain::remove(&path).unwrap();
        let config = Config::new();
        config.set_at_start(Name::unixsocket, &path).unwrap();
        (config, path)
    }

    #[test]
    fn only_a_socket_that_nobody_listens_on_is_replaced() {
        let (config, path) = config("replaced");
        let (living, file) = open(&config).unwrap().unwrap();
        let refusal = open(&config).err().unwrap();
        assert!(refusal.contains(&path) && refusal.contains("another process answers there"), "{refusal}");
        assert!(connect(&path).is_ok(), "the living one is still reached");
        drop(living);
        // As if it had been killed: the name is left.
        std::mem::forget(file);
        let (_next, file) = open(&config).unwrap().unwrap();
        assert!(connect(&path).is_ok());
        drop(file);
        assert!(!plain::exists(&path));
    }

    #[test]
    fn a_file_that_is_no_socket_is_left() {
        let (config, path) = config("file");
        plain::replace_text(&path, "precious").unwrap();
        assert!(open(&config).err().unwrap().contains("there is something else of this name"));
        assert_eq!(plain::read(&path).unwrap(), b"precious");
        plain::remove(&path).unwrap();
    }

    #[test]
    fn the_socket_of_another_is_left() {
        let (config, path) = config("another");
        let (_listener, file) = open(&config).unwrap().unwrap();
        plain::remove(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(file);
        assert!(plain::exists(&path));
        plain::remove(&path).unwrap();
    }
}
