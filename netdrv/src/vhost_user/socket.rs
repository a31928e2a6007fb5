//! The Unix socket of a vhost-user link: client or server, never blocking, descriptors as ancillary data (unix(7)).

use super::message::{HEADER_LEN, MAX_PAYLOAD};
use alloc::vec;
use alloc::vec::Vec;
use core::mem::MaybeUninit;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType};
use rustix::io::{Errno, IoSlice};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// Where others connect to.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

impl Listener {
    /// Binds `path`. A socket that nobody listens on any more, left by a process that ended, is replaced.
    ///
    /// # Errors
    /// EADDRINUSE: somebody listens there, or it is no socket; ENOENT, EACCES as bind(2).
    pub(crate) fn bind(path: &str) -> Result<Listener, Errno> {
        let addr = SocketAddrUnix::new(path)?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
        match rustix::net::bind(&socket, &addr) {
            Err(Errno::ADDRINUSE) => {
                let is_socket = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Socket);
                if !is_socket || !matches!(Stream::connect(path), Err(Errno::CONNREFUSED)) {
                    return Err(Errno::ADDRINUSE);
                }
                rustix::fs::unlink(path)?;
                rustix::net::bind(&socket, &addr)?;
            }
            other => other?,
        }
        rustix::net::listen(&socket, 1)?;
        Ok(Listener(socket))
    }

    /// The next peer; `None` when none waits.
    pub(crate) fn accept(&self) -> Option<Stream> {
        rustix::net::accept_with(&self.0, FLAGS).ok().map(Stream::new)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: OwnedFd,
    /// Bytes that are not a whole message yet.
    inbound: Vec<u8>,
}

impl Stream {
    fn new(socket: OwnedFd) -> Stream {
        Stream { socket, inbound: Vec::new() }
    }

    /// Connects to `path`.
    ///
    /// # Errors
    /// ENOENT, ECONNREFUSED: nobody is there yet; EAGAIN: the other side is behind with accepting; EACCES.
    pub(crate) fn connect(path: &str) -> Result<Stream, Errno> {
        let addr = SocketAddrUnix::new(path)?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
        rustix::net::connect(&socket, &addr)?;
        Ok(Stream::new(socket))
    }

    /// The socket alone.
    #[cfg(feature = "backend")]
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.socket
    }

    /// Sends one message, with a descriptor if there is one.
    ///
    /// # Errors
    /// EPIPE and ECONNRESET: the peer is gone. A message of this protocol always fits an empty socket buffer; that it does
    /// not (EAGAIN, EMSGSIZE) means that the peer does not read, which is as bad.
    pub(crate) fn send(&self, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = fd.map(|fd| [fd]);
        if let Some(fds) = &fds {
            control.push(SendAncillaryMessage::ScmRights(fds));
        }
        let sent = rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
        })?;
        if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
    }

    /// Reads what has come; returns all bytes that were not consumed yet. Descriptors that come along are closed by the
    /// host, as no room is made for them.
    ///
    /// # Errors
    /// EPIPE: the peer has closed; ECONNRESET.
    pub(crate) fn fill(&mut self) -> Result<&[u8], Errno> {
        let mut buffer = vec![0; HEADER_LEN + MAX_PAYLOAD];
        while self.inbound.len() < HEADER_LEN + MAX_PAYLOAD {
            match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Err(Errno::PIPE),
                Ok((_, len)) => self.inbound.extend_from_slice(&buffer[..len.min(buffer.len())]),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(&self.inbound)
    }

    /// Lets the first `len` bytes go.
    pub(crate) fn consume(&mut self, len: usize) {
        self.inbound.drain(..len.min(self.inbound.len()));
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
