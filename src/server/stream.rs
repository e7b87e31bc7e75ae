//! TCP or unix socket, the same to everyone above. The halves are used from one thread: the connection's task reads, the
//! worker's flusher writes.

use std::future::Future;
use std::io::{self, Read, Write};
use std::pin::pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream, tcp, unix};

pub enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

pub enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

/// A connection that was accepted, on its way to a worker.
pub enum Accepted {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Accepted {
    /// Joins the runtime of the calling thread.
    pub fn split(self) -> io::Result<(ReadHalf, WriteHalf)> {
        Ok(match self {
            Self::Tcp(stream) => {
                let (read, write) = TcpStream::from_std(stream)?.into_split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
            Self::Unix(stream) => {
                let (read, write) = UnixStream::from_std(stream)?.into_split();
                (ReadHalf::Unix(read), WriteHalf::Unix(write))
            }
        })
    }
}

impl ReadHalf {
    /// Reads what there is, past the runtime, which is not told: it may take the socket for readable and find nothing.
    pub fn read_directly(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => (&*SockRef::from(half.as_ref())).read(buffer),
            Self::Unix(half) => (&*SockRef::from(half.as_ref())).read(buffer),
        }
    }

    /// Reads into the spare capacity of `buffer`, which must not be full.
    #[inline]
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(half) => pin!(half.read_buf(buffer)).poll(cx),
            Self::Unix(half) => pin!(half.read_buf(buffer)).poll(cx),
        }
    }
}

impl WriteHalf {
    /// Sends what the socket takes at once; `WouldBlock` when it is full.
    #[inline]
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.try_write(bytes),
            Self::Unix(half) => half.try_write(bytes),
        }
    }

    /// Sends past the runtime.
    pub fn write_directly(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => (&*SockRef::from(half.as_ref())).write(bytes),
            Self::Unix(half) => (&*SockRef::from(half.as_ref())).write(bytes),
        }
    }

    /// Ready when a full socket takes bytes again.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(half) => half.as_ref().poll_write_ready(cx),
            Self::Unix(half) => half.as_ref().poll_write_ready(cx),
        }
    }
}
