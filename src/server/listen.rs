//! Listening sockets, and what a connection is called.

use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use crate::command::clients::Client;
use crate::command::server::Server;
use crate::config::Config;
use crate::engine::rig::client_without_socket;
use crate::mutation::{Safeguard, is_off};

use super::stream::Accepted;
use super::unix_socket::{self, SocketFile};

/// The sockets that a server listens on at start.
pub struct Listeners {
    pub tcp: Vec<OpenTcp>,
    pub unix: Option<(std::os::unix::net::UnixListener, SocketFile)>,
}

/// A TCP socket that listens, and the `bind` word and port that asked for it.
pub struct OpenTcp {
    pub name: String,
    pub port: u16,
    pub listener: std::net::TcpListener,
}

impl OpenTcp {
    fn is(&self, name: &str, port: u16) -> bool {
        self.name == name && self.port == port
    }
}

/// Opens all that the configuration names. The error says which could not be opened.
pub fn open(config: &Config) -> Result<Listeners, String> {
    let mut passed_over = Vec::new();
    let tcp = open_tcp(config, &|_, _| false, &mut passed_over)?;
    let unix = unix_socket::open(config)?;
    if tcp.is_empty() && unix.is_none() {
        return Err(match passed_over.is_empty() {
            true => "nothing to listen on: set --port or --unixsocket".to_owned(),
            false => format!("nothing to listen on. {}", passed_over.join(" ")),
        });
    }
    Ok(Listeners { tcp, unix })
}

/// Opens what `bind` and `port` ask for, except what is open already. Into `passed_over` goes why it does without an address.
fn open_tcp(
    config: &Config,
    is_open: &dyn Fn(&str, u16) -> bool,
    passed_over: &mut Vec<String>,
) -> Result<Vec<OpenTcp>, String> {
    let mut tcp = Vec::new();
    for (name, port, optional) in wanted(config) {
        if is_open(&name, port) {
            continue;
        }
        match bind(&name, port, config.tcp_backlog() as i32) {
            Ok(listener) => tcp.push(OpenTcp { name, port, listener }),
            Err(error) if optional => {
                tracing::debug!("not listening on {name}:{port}: {error}");
                passed_over.push(refusal(&name, port, &error));
            }
            Err(error) => return Err(refusal(&name, port, &error)),
        }
    }
    Ok(tcp)
}

/// What happened, and the next step.
fn refusal(name: &str, port: u16, error: &io::Error) -> String {
    let next = match error.kind() {
        io::ErrorKind::AddrInUse => "Stop what listens there, or choose another --port.",
        io::ErrorKind::AddrNotAvailable => {
            "No interface of this machine has that address: correct --bind, or bring the interface up first."
        }
        io::ErrorKind::PermissionDenied => {
            "Choose a --port of 1024 or more, or give the process the capability CAP_NET_BIND_SERVICE."
        }
        _ => "Correct --bind: it takes addresses of this machine, and names that lead to one.",
    };
    format!("can't listen on {name}:{port}: {error}. {next}")
}

/// Name, port, and whether the server does without it.
fn wanted(config: &Config) -> Vec<(String, u16, bool)> {
    let port = config.port() as u16;
    let split = |word: String| match word.strip_prefix('-') {
        Some(name) => (name.to_owned(), port, true),
        None => (word, port, false),
    };
    if port == 0 { Vec::new() } else { config.bind().into_iter().map(split).collect() }
}

fn bind(name: &str, port: u16, backlog: i32) -> io::Result<std::net::TcpListener> {
    let address: SocketAddr = match name {
        "*" => SocketAddr::from(([0, 0, 0, 0], port)),
        "::*" => SocketAddr::from(([0u16; 8], port)),
        _ => (name, port)
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address"))?,
    };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// The TCP sockets that are listened on now: they follow CONFIG SET of `port` and `bind`.
pub struct Listening {
    distributor: Arc<Distributor>,
    runtime: tokio::runtime::Handle,
    open: Mutex<Vec<(OpenTcp, AbortHandle)>>,
}

impl Listening {
    /// Accepts from `tcp` on the runtime of the caller.
    pub fn start(distributor: Arc<Distributor>, tcp: Vec<OpenTcp>) -> io::Result<Self> {
        let this = Self { distributor, runtime: tokio::runtime::Handle::current(), open: Mutex::default() };
        this.add(tcp)?;
        Ok(this)
    }

    /// Listens where the configuration says now, and nowhere else. On an error nothing has changed.
    pub fn follow(&self, config: &Config) -> Result<(), String> {
        let is_open = |name: &str, port| self.open.lock().iter().any(|(open, _)| open.is(name, port));
        let fresh = open_tcp(config, &is_open, &mut Vec::new())?;
        let wanted = wanted(config);
        self.open.lock().retain(|(open, accepting)| {
            let keep = wanted.iter().any(|(name, port, _)| open.is(name, *port));
            if !keep {
                tracing::info!("no longer listening on {}:{}", open.name, open.port);
                accepting.abort();
            }
            keep
        });
        self.add(fresh).map_err(|e| e.to_string())
    }

    fn add(&self, tcp: Vec<OpenTcp>) -> io::Result<()> {
        for open in tcp {
            let address = open.listener.local_addr().map_or_else(|e| e.to_string(), |a| a.to_string());
            tracing::info!("listening on {address}");
            let accepting = self.distributor.clone().serve_tcp(open.listener.try_clone()?);
            let task = self.runtime.spawn(accepting).abort_handle();
            self.open.lock().push((open, task));
        }
        Ok(())
    }
}

/// Hands accepted connections to the workers in turn.
pub struct Distributor {
    server: Arc<Server>,
    workers: Vec<UnboundedSender<Accepted>>,
    next: AtomicUsize,
}

impl Distributor {
    pub fn new(server: Arc<Server>, workers: Vec<UnboundedSender<Accepted>>) -> Arc<Self> {
        Arc::new(Self { server, workers, next: AtomicUsize::new(0) })
    }

    fn hand_over(&self, socket: Accepted) {
        let worker = self.next.fetch_add(1, Relaxed) % self.workers.len();
        self.server.clients.arriving.fetch_add(1, Relaxed);
        // A closed channel belongs to a server that is ending: the socket is dropped, that is closed.
        let _ = self.workers[worker].send(socket);
    }

    fn refuse(&self, mut socket: impl Write, reason: &str) {
        self.server.stats.connections_rejected.add(1);
        // The peer may be gone already; there is nobody else to tell.
        let _ = socket.write_all(format!("-{reason}\r\n").as_bytes());
    }

    fn is_full(&self) -> bool {
        let is_full = self.server.clients.len_with_arriving() >= self.server.config.maxclients() as usize;
        is_full && !is_off(Safeguard::Maxclients)
    }

    fn accept_tcp(&self, socket: std::net::TcpStream, peer: SocketAddr) -> io::Result<()> {
        self.server.stats.connections_received.add(1);
        if self.is_full() {
            self.refuse(&socket, "ERR max number of clients reached");
            return Ok(());
        }
        let config = &self.server.config;
        let protected = config.protected_mode() && config.requirepass().is_empty();
        if protected && !peer.ip().to_canonical().is_loopback() {
            self.refuse(&socket, PROTECTED);
            return Ok(());
        }
        socket.set_nodelay(true)?;
        let keepalive = config.tcp_keepalive() as u64;
        if keepalive > 0 {
            let probe = Duration::from_secs((keepalive / 3).max(1));
            let keepalive = TcpKeepalive::new()
                .with_time(Duration::from_secs(keepalive))
                .with_interval(probe)
                .with_retries(3);
            SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
        }
        self.hand_over(Accepted::Tcp(socket));
        Ok(())
    }

    fn accept_unix(&self, socket: std::os::unix::net::UnixStream) {
        self.server.stats.connections_received.add(1);
        if self.is_full() {
            self.refuse(&socket, "ERR max number of clients reached");
        } else {
            self.hand_over(Accepted::Unix(socket));
        }
    }

    pub async fn serve_tcp(self: Arc<Self>, listener: std::net::TcpListener) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        loop {
            match listener.accept().await {
                Ok((socket, peer)) => {
                    if let Err(error) = socket.into_std().and_then(|socket| self.accept_tcp(socket, peer)) {
                        tracing::debug!("a connection was lost while it was accepted: {error}");
                    }
                }
                Err(error) => back_off(&error).await,
            }
        }
    }

    pub async fn serve_unix(self: Arc<Self>, listener: std::os::unix::net::UnixListener) -> io::Result<()> {
        let listener = UnixListener::from_std(listener)?;
        loop {
            match listener.accept().await {
                Ok((socket, _)) => match socket.into_std() {
                    Ok(socket) => self.accept_unix(socket),
                    Err(error) => tracing::debug!("a connection was lost while it was accepted: {error}"),
                },
                Err(error) => back_off(&error).await,
            }
        }
    }
}

/// Out of file descriptors, most likely: trying again at once would only burn the processor.
async fn back_off(error: &io::Error) {
    tracing::warn!(
        "a connection could not be accepted: {error}; raise the limit of open files or lower maxclients"
    );
    tokio::time::sleep(Duration::from_millis(100)).await;
}

const PROTECTED: &str = "DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. To connect from other hosts set a password (requirepass), or turn protected mode off (protected-mode no).";

/// What the registry shows of a new connection.
pub fn describe(
    server: &Server,
    worker: usize,
    socket: &Accepted,
    wake: Box<dyn Fn() + Send + Sync>,
) -> Client {
    let base = client_without_socket(server.clients.fresh_id(), server.clock.wall_ms());
    let mut client = Arc::into_inner(base).expect("nobody else has it yet");
    client.wake = wake;
    client.worker = worker;
    match socket {
        Accepted::Tcp(stream) => {
            client.fd = stream.as_raw_fd();
            client.addr = stream.peer_addr().map_or_else(|_| "?:0".into(), |a| a.to_string());
            client.laddr = stream.local_addr().map_or_else(|_| "?:0".into(), |a| a.to_string());
        }
        Accepted::Unix(stream) => {
            client.fd = stream.as_raw_fd();
            client.unix_socket = true;
            client.addr = format!("{}:0", server.config.unixsocket());
            client.laddr = client.addr.clone();
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Name;

    fn refused(bind: &str, port: u16) -> String {
        let config = Config::new();
        config.set_at_start(Name::bind, bind).unwrap();
        config.set_at_start(Name::port, &port.to_string()).unwrap();
        match open(&config) {
            Ok(_) => panic!("{bind}:{port} can be listened on"),
            Err(text) => text,
        }
    }

    #[test]
    fn a_refusal_says_what_to_do_about_its_reason() {
        let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let text = refused("127.0.0.1", port);
        assert!(
            text.contains(&format!("127.0.0.1:{port}")) && text.contains("Stop what listens there"),
            "{text}"
        );
        // Set aside for documentation (RFC 5737): no machine has it.
        let text = refused("192.0.2.1", 7000);
        assert!(text.contains("correct --bind") && !text.contains("Stop what"), "{text}");
        let text = refused("no.such.name.invalid", 7000);
        assert!(text.contains("Correct --bind") && !text.contains("Stop what"), "{text}");
    }

    #[test]
    fn who_can_do_without_every_address_is_told_why_there_is_none() {
        let text = refused("-192.0.2.1", 7000);
        assert!(text.starts_with("nothing to listen on. can't listen on 192.0.2.1:7000: "), "{text}");
        assert!(refused("127.0.0.1", 0).contains("set --port or --unixsocket"));
    }
}
