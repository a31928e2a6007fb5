//! Sockets of `AF_UNIX` (unix(7)): streams, datagrams and sequenced packets between processes of this machine.
//!
//! # Theory of operation
//!
//! An [`Endpoint`] is one socket. What it receives stands in its inbox, a queue of messages; sending puts bytes
//! straight into the peer's inbox, so that a byte is copied twice: from the sender's memory, and to the receiver's.
//! Small writes to a stream fill up the last message; a chunk that has been read empty is kept for the next write.
//!
//! What a socket has sent and nobody has read counts against *its* send buffer ([`queue::SendBuffer`]), as on Linux:
//! `SO_SNDBUF` bounds what a sender can leave lying in others' inboxes, and reading wakes the sender whose bytes these
//! were. A datagram socket that several send to bounds the number of messages as well.
//!
//! Locks: each endpoint has one. No call holds two of them, or one of them with the table of names; descriptions that
//! travel as ancillary data (`rights`) are dropped without any lock, since the end of a description may be the end of a
//! socket.
//!
//! A name in the file system is an inode of kind socket; the table of names finds the endpoint by the inode's identity,
//! and the endpoint keeps the path alive while it is bound, so that the identity is not used again.
//!
//! Not there: urgent data, `SO_PASSSEC`, `SO_PEEK_OFF`, `SCM_PIDFD`.

mod collect;
mod endpoint;
mod name;
mod queue;
mod rights;
mod socket;
mod socket_option;

pub use endpoint::{Endpoint, Summary, all as all_endpoints};
pub use rights::Credential;
pub use socket::UnixSocket;

use crate::error::{Errno, Result};
use crate::net::file::{SocketOps, SocketType};
use crate::task::Thread;
use alloc::boxed::Box;

/// `AF_UNIX`.
pub const AF_UNIX: u16 = 1;

/// The type that socket(2) asks for. `SOCK_RAW` is a datagram socket, as on Linux.
fn socket_type(kind: u32, protocol: i32) -> Result<SocketType> {
    if protocol != 0 && protocol != i32::from(AF_UNIX) {
        return Err(Errno::EPROTONOSUPPORT.because("unix sockets have no protocols"));
    }
    match kind {
        1 => Ok(SocketType::Stream),
        2 | 3 => Ok(SocketType::Datagram),
        5 => Ok(SocketType::SeqPacket),
        _ => Err(Errno::ESOCKTNOSUPPORT.into()),
    }
}

/// socket(2).
pub fn create(kind: u32, protocol: i32) -> Result<Box<dyn SocketOps>> {
    Ok(Box::new(UnixSocket::new(Endpoint::new(socket_type(kind, protocol)?))))
}

/// socketpair(2): two sockets connected with each other.
pub fn pair(t: &Thread, kind: u32, protocol: i32) -> Result<[Box<dyn SocketOps>; 2]> {
    let kind = socket_type(kind, protocol)?;
    let (a, b) = (Endpoint::new(kind), Endpoint::new(kind));
    let who = Credential::effective(t);
    a.join(&b, who);
    b.join(&a, who);
    Ok([Box::new(UnixSocket::new(a)), Box::new(UnixSocket::new(b))])
}
