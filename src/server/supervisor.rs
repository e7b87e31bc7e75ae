//! What systemd is told, as sd_notify(3) does it: datagrams of lines to the socket that `NOTIFY_SOCKET` names. A unit of `Type=notify`
//! counts as started when READY=1 has come, and a load of any length is not taken for a start that hangs.
//!
//! What it does **not** promise: that anybody listens. A supervisor that cannot be told is no reason to end.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::config::{Config, Supervised};

/// Where systemd listens: a path, or behind `@` a name without a file.
const VARIABLE: &str = "NOTIFY_SOCKET";
/// How often it hears of a load.
pub const BEAT: Duration = Duration::from_secs(5);
/// What each of them asks for: enough for several that come late.
const EXTENSION_US: u64 = 60_000_000;
/// Longest that a supervisor which doesn't read keeps the server.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whoever started the server, if that wants to be told.
pub struct Supervisor(Option<Channel>);

struct Channel {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Supervisor {
    /// As `supervised` says.
    pub fn of(config: &Config) -> Self {
        let wanted = config.supervised();
        let name = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
        let name = match (wanted, name) {
            (Supervised::Systemd | Supervised::Auto, Some(name)) => name,
            (Supervised::Systemd, None) => {
                tracing::warn!(
                    "supervised systemd: nobody is told, because {VARIABLE} is not set. Start the server by a unit of Type=notify."
                );
                return Self(None);
            }
            (Supervised::Upstart, _) => {
                tracing::warn!("supervised upstart has no effect: choose `systemd`, `auto` or `no`");
                return Self(None);
            }
            (Supervised::Auto | Supervised::No, _) => return Self(None),
        };
        let channel = Channel::open(&name).inspect_err(|error| {
            tracing::warn!("the supervisor cannot be told at {VARIABLE}={}: {error}", name.display());
        });
        Self(channel.ok())
    }

    /// The load goes on: `done` of `total` bytes of the log. Both are 0 until it comes to the log.
    pub fn loading(&self, done: u64, total: u64) {
        let status = match total {
            0 => "Loading".to_owned(),
            _ => format!("Loading: {} of {} MiB", done >> 20, total >> 20),
        };
        self.tell(&format!("STATUS={status}\nEXTEND_TIMEOUT_USEC={EXTENSION_US}\n"));
    }

    pub fn ready(&self) {
        self.tell("READY=1\nSTATUS=Ready to accept connections\n");
    }

    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Shutting down: syncing the log\n");
    }

    /// The same process will be ready again. STOPPING=1 would have systemd wait for its end.
    pub fn restarting(&self) {
        self.tell("STATUS=Starting again\n");
    }

    fn tell(&self, lines: &str) {
        let Some(Channel { socket, address }) = &self.0 else { return };
        if let Err(error) = socket.send_to_addr(lines.as_bytes(), address) {
            tracing::warn!("the supervisor was not told {lines:?}: {error}");
        }
    }
}

impl Channel {
    fn open(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes().split_first() {
            Some((b'@', rest)) => SocketAddr::from_abstract_name(rest)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket, address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_file_is_reached() {
        let name = format!("duramen-supervisor-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listening = UnixDatagram::bind_addr(&address).unwrap();
        let supervisor = Supervisor(Some(Channel::open(OsStr::new(&format!("@{name}"))).unwrap()));
        supervisor.loading(3 << 20, 9 << 20);
        supervisor.ready();
        let mut buffer = [0; 200];
        let mut receive = || {
            let len = listening.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..len]).into_owned()
        };
        assert_eq!(receive(), "STATUS=Loading: 3 of 9 MiB\nEXTEND_TIMEOUT_USEC=60000000\n");
        assert_eq!(receive(), "READY=1\nSTATUS=Ready to accept connections\n");
    }

    #[test]
    fn who_does_not_listen_changes_nothing() {
        let path = std::env::temp_dir().join(format!("duramen-nobody-{}", std::process::id()));
        Supervisor(Some(Channel::open(path.as_os_str()).unwrap())).ready();
        Supervisor(None).ready();
    }
}
