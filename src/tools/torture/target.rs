//! The servers under torture: one of our own, on a folder or on an image of a file system, or somebody else's.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::image::Image;
use crate::clock::Clock;
use crate::disk::{Disk, Open, OsDisk, plain};
use crate::resp::client::{Client, Value};

/// How long a server may take until it answers PING.
const READY_WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(3);
/// A reply that takes longer never comes.
const REPLY_WITHIN: Duration = Duration::from_secs(60);
/// Small segments and a low mark: the log is on its way into the snapshot all the time, also when the process is killed.
const DIRECTIVES: [(&str, &str); 4] = [
    ("bind", "127.0.0.1"),
    ("log-segment-size", "1mb"),
    ("auto-aof-rewrite-min-size", "1mb"),
    ("auto-aof-rewrite-percentage", "10"),
];

/// Something that can be struck down and comes back.
pub enum Target {
    Own(Box<Own>),
    /// An address, and a shell command that kills the server there and starts it again on the same data.
    Other {
        address: String,
        restart_command: String,
    },
}

/// A process of our own.
pub struct Own {
    program: PathBuf,
    home: PathBuf,
    fsync: String,
    /// The file system that the data is on, if it is of our own, too.
    image: Option<Image>,
    /// Its power fails, too, when the server is struck down.
    cuts_power: bool,
    was_struck: bool,
    port: u16,
    child: Option<Child>,
}

/// Takes up the disk until it is removed.
const BALLAST: &str = "ballast";
/// What ballast leaves of the disk.
const LEFT_BYTES: u64 = 8 << 20;

impl Own {
    pub fn new(
        program: PathBuf,
        home: PathBuf,
        fsync: String,
        image: Option<Image>,
        cuts_power: bool,
    ) -> io::Result<Self> {
        Ok(Self {
            program,
            home,
            fsync,
            image,
            cuts_power,
            was_struck: false,
            port: free_port()?,
            child: None,
        })
    }

    fn mount_point(&self) -> &Path {
        self.image.as_ref().map_or(&*self.home, Image::mount_point)
    }

    fn data(&self) -> PathBuf {
        self.mount_point().join("data")
    }

    fn log(&self) -> PathBuf {
        self.home.join("server.log")
    }

    fn launch(&mut self) -> io::Result<()> {
        let log = plain::append(&self.log().to_string_lossy())?;
        let mut command = Command::new(&self.program);
        command.arg("--port").arg(self.port.to_string()).arg("--dir").arg(self.data());
        command.arg("--appendfsync").arg(&self.fsync);
        for (name, value) in DIRECTIVES {
            command.arg(format!("--{name}")).arg(value);
        }
        command.stdin(Stdio::null()).stderr(log.try_clone()?).stdout(log);
        let child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start {}: {error}", self.program.display()))
        })?;
        self.child = Some(child);
        Ok(())
    }

    /// Lets the process do nothing more, and waits until it doesn't. What it has sent by then it sent before whatever comes next: with the
    /// power cut under a running server, a sync that the kernel fails by halves could be taken for a success.
    fn freeze(&self) -> io::Result<()> {
        let Some(pid) = self.child.as_ref().and_then(|child| libc::pid_t::try_from(child.id()).ok()) else {
            return Ok(());
        };
        let mut status = 0;
        // SAFETY: plain system calls; the pid is that of a child that was not waited for, the pointer to a whole int.
        let frozen = unsafe {
            libc::kill(pid, libc::SIGSTOP) == 0 && libc::waitpid(pid, &raw mut status, libc::WUNTRACED) == pid
        };
        if frozen && libc::WIFSTOPPED(status) {
            return Ok(());
        }
        Err(io::Error::other("the server had ended before it was struck"))
    }

    fn kill(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Errors mean that it has ended by itself.
        let _ = self.kill();
    }
}

impl Target {
    pub fn connect(&self) -> io::Result<Client<TcpStream>> {
        let mut client = match self {
            Self::Own(own) => Client::connect(("127.0.0.1", own.port))?,
            Self::Other { address, .. } => Client::connect(address.as_str())?,
        };
        client.stream().set_read_timeout(Some(REPLY_WITHIN))?;
        Ok(client)
    }

    /// Kills the server; power fails first where it has a file system of its own.
    pub fn strike(&mut self) -> io::Result<()> {
        match self {
            Self::Own(own) => {
                if let Some(image) = own.image.as_ref().filter(|_| own.cuts_power) {
                    own.freeze()?;
                    image.cut_power()?;
                    own.was_struck = true;
                }
                own.kill()
            }
            Self::Other { restart_command, .. } => {
                let status =
                    Command::new("sh").arg("-c").arg(&*restart_command).stdin(Stdio::null()).status()?;
                if status.success() {
                    return Ok(());
                }
                Err(io::Error::other(format!("the restart command ended with {status}")))
            }
        }
    }

    /// Leaves little of the disk.
    pub fn use_up_space(&self) -> io::Result<()> {
        let Self::Own(own) = self else { return Ok(()) };
        let disk = OsDisk::open_existing(own.mount_point().to_path_buf())?;
        let bytes = disk.free_bytes()?.saturating_sub(LEFT_BYTES);
        disk.open(BALLAST, Open::Create)?.allocate(bytes)
    }

    pub fn give_space_back(&self) -> io::Result<()> {
        let Self::Own(own) = self else { return Ok(()) };
        OsDisk::open_existing(own.mount_point().to_path_buf())?.remove(BALLAST)
    }

    /// Starts it again. Returns how long it took until it answered.
    pub fn start(&mut self, clock: &dyn Clock) -> Result<Duration, String> {
        let text = |error: io::Error| error.to_string();
        let begin = match self {
            Self::Own(own) => {
                if own.cuts_power
                    && own.was_struck
                    && let Some(image) = &mut own.image
                {
                    image.mount_again().map_err(text)?;
                    own.was_struck = false;
                }
                let begin = clock.monotonic();
                own.launch().map_err(text)?;
                begin
            }
            // The command that struck it down has started it.
            Self::Other { .. } => clock.monotonic(),
        };
        self.wait_until_ready(clock, begin)?;
        Ok(clock.monotonic().saturating_sub(begin))
    }

    fn wait_until_ready(&mut self, clock: &dyn Clock, begin: Duration) -> Result<(), String> {
        loop {
            if let Self::Own(own) = self
                && let Some(child) = &mut own.child
                && let Ok(Some(status)) = child.try_wait()
            {
                own.child = None;
                return Err(format!("it ended with {status}; see {}", own.log().display()));
            }
            if self.answers() {
                return Ok(());
            }
            if clock.monotonic().saturating_sub(begin) > READY_WITHIN {
                return Err(format!("no answer to PING within {} s", READY_WITHIN.as_secs()));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Refused connections, `LOADING` and connections cut in mid-reply all mean "not yet".
    fn answers(&self) -> bool {
        let Ok(mut client) = self.connect() else { return false };
        match client.call(&["PING"]) {
            Ok(Value::Error(text)) => !text.starts_with("LOADING"),
            Ok(_) => true,
            Err(_) => false,
        }
    }
}

/// Makes a folder of our own in `parent`.
pub fn fresh_home(parent: &Path) -> io::Result<PathBuf> {
    let home = parent.join(format!("duramen-torture-{}", std::process::id()));
    plain::create_dirs(&home)?;
    Ok(home)
}

/// A port that nobody listens on, from below the range that the kernel hands to outgoing connections: a client that
/// tries again while the server is down could otherwise take the server's port, or connect to itself.
fn free_port() -> io::Result<u16> {
    for attempt in 0..200u32 {
        let port = 10_000 + (std::process::id().wrapping_mul(131).wrapping_add(attempt * 7) % 22_000) as u16;
        let taken = TcpStream::connect(("127.0.0.1", port)).is_ok();
        if !taken && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other("no port is free"))
}
