//! A connection to a running server, for the tools that need one.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use crate::error::StoreError;
use crate::resp::client::{Client, Value};

/// Holds the password unless an option does; the second is that of redis-cli.
const PASSWORD_VARIABLES: [&str; 2] = ["DURAMEN_PASSWORD", "REDISCLI_AUTH"];

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
        }
    }
}

/// Host and port of `host:port`; a host that has colons may stand in brackets.
pub fn parse(address: &str) -> Result<(&str, u16), StoreError> {
    let parsed = address.rsplit_once(':').and_then(|(host, port)| {
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Some((inner.unwrap_or(host), port.parse().ok()?))
    });
    parsed.filter(|(host, _)| !host.is_empty()).ok_or_else(|| {
        StoreError::Refused(format!(
            "'{address}' is not the address of a server: give HOST:PORT, such as {}, or the path of a unix socket",
            super::ADDRESS
        ))
    })
}

/// A running server.
pub struct Server {
    client: Client<Stream>,
    pub address: String,
}

impl Server {
    /// `address` is `host:port`, or the path of a unix socket if there is a `/` in it. No time-outs: a server that is asked for a
    /// backup may take its time.
    pub fn connect(address: &str, password: Option<&str>) -> Result<Self, StoreError> {
        let stream = if address.contains('/') {
            UnixStream::connect(address).map(Stream::Unix)
        } else {
            TcpStream::connect(parse(address)?).map(Stream::Tcp)
        };
        let stream = stream.map_err(StoreError::io(format!("connect to {address}")))?;
        let mut server = Self { client: Client::new(stream), address: address.to_owned() };
        let from_environment = || PASSWORD_VARIABLES.iter().find_map(|name| std::env::var(name).ok());
        if let Some(password) = password.map(str::to_owned).or_else(from_environment) {
            server.call(&["AUTH", &password])?;
        }
        Ok(server)
    }

    /// One request and its reply; an error reply is an error.
    pub fn call(&mut self, args: &[&str]) -> Result<Value, StoreError> {
        match self.client.call(args).map_err(StoreError::io(format!("talk to {}", self.address)))? {
            Value::Error(text) => {
                let mut why = format!("{} says: {text}", self.address);
                if let Some(command) = args.first().filter(|_| text.starts_with("ERR unknown command")) {
                    why.push_str(&format!(
                        ". This tool needs the command {command}: the server must be Duramen, and its configuration must not rename the \
                         command or take it away (rename-command {command})"
                    ));
                }
                Err(StoreError::Refused(why))
            }
            value => Ok(value),
        }
    }

    /// The data directory, from the root.
    pub fn data_dir(&mut self) -> Result<String, StoreError> {
        let reply = self.call(&["CONFIG", "GET", "dir"])?;
        let dir = reply.elements().and_then(|pair| pair.get(1)).and_then(Value::as_str);
        dir.map(str::to_owned).ok_or_else(|| self.unexpected())
    }

    /// Has the server make a backup.
    pub fn backup(&mut self, dir: &str, copy: bool) -> Result<Made, StoreError> {
        let request = ["BACKUP", dir, "COPY"];
        let reply = self.call(&request[..if copy { 3 } else { 2 }])?;
        let pairs = reply.elements().ok_or_else(|| self.unexpected())?;
        let figure = |name: &str| {
            let pair = pairs.chunks_exact(2).find(|pair| pair[0].as_str() == Some(name));
            pair.and_then(|pair| pair[1].as_integer()).map(|figure| figure as u64)
        };
        let made = || {
            Some(Made {
                lsn: figure("lsn")?,
                files: figure("files")?,
                bytes: figure("bytes")?,
                linked: figure("linked")?,
                copied: figure("copied")?,
            })
        };
        made().ok_or_else(|| self.unexpected())
    }

    pub fn unexpected(&self) -> StoreError {
        StoreError::Refused(format!("{} answered what this program does not understand", self.address))
    }
}

/// What a server said of a backup that it made.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    pub lsn: u64,
    pub files: u64,
    pub bytes: u64,
    pub linked: u64,
    pub copied: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (address, expected) in
            [("127.0.0.1:6379", ("127.0.0.1", 6379)), ("[::1]:7", ("::1", 7)), ("::1:7", ("::1", 7))]
        {
            assert_eq!(parse(address).expect(address), expected);
        }
        for bad in ["", "127.0.0.1", "localhost", ":6379", "host:", "host:port", "host:65536"] {
            let text = parse(bad).expect_err(bad).to_string();
            assert!(text.contains("HOST:PORT"), "{text}");
        }
    }
}
