//! The front-end: this machine is the virtio-net driver, somebody else is the device.
//!
//! ```text
//!   stack ── TxFrame ──► tx ring ──►  shared  ──► back-end (a switch, DPDK, another guest)
//!   stack ◄─ FrameSink ─ rx ring ◄──  memfd   ◄──
//!                 kick eventfds ──►          ◄── call eventfd
//! ```
//!
//! **Memory.** Rings and packet buffers lie in a memfd of the device's own, not in the guest window's. A peer maps what it is
//! given: with the window it could read and change every program of the machine, and the window's file has holes punched
//! and is mapped piecewise, while a peer wants a few fixed ranges. The stack's packets are on the kernel heap, which
//! is never shared, so that either choice copies a frame once on its way into the ring, and once out of it (which it
//! must be anyway: what a peer can still change cannot be parsed safely). Each connection gets fresh memory: a peer that
//! was dropped keeps what it had mapped, and can do no more harm with it. About 6 MB for a queue pair, of which what is
//! touched counts; it is not part of `mem=`.
//!
//! **Threads.** None. The control messages (`session`, sans-IO) are sent and answered in the same polls that move
//! frames; an epoll descriptor stands for the socket and the timer of the next attempt. So nothing
//! here needs the host's TLS, errno or locks.
//!
//! **Silence.** While the caller polls, both rings ask for silence. [`prepare_sleep`](crate::EthernetDevice::prepare_sleep)
//! asks for calls and looks once more; the first poll after that asks for silence again. So `idle=` decides: a vCPU that
//! spins is never called.
//!
//! **States.** Down (nobody there; an attempt every so often, or waiting for a client), Handshake, Up. Whatever a peer does
//! that an honest one would not is a [`LinkFailure`]: the link goes down, which is said once, and another attempt
//! follows. Frames under way are lost, as on a cable that is pulled.

mod device;
#[cfg(all(test, feature = "backend"))]
mod hostile_tests;
mod link;
mod rx;
mod session;
mod tx;

pub use device::{VhostUserDevice, open};

use super::message::BadMessage;
use crate::reason::Reason;
use crate::vring::RingError;
use rustix::io::Errno;
use session::SessionError;

/// Why a link went down.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum LinkFailure {
    /// The peer closed the connection, or it broke.
    #[error("the peer closed the connection ({})", Reason(*.0))]
    Closed(Errno),
    /// The host refused memory or descriptors.
    #[error("making the shared memory: {}", Reason(*.0))]
    Host(Errno),
    /// The ring is broken.
    #[error("{0}")]
    Ring(#[from] RingError),
    /// The handshake failed.
    #[error("{0}")]
    Session(#[from] SessionError),
    /// The socket is broken.
    #[error("{0}")]
    Message(#[from] BadMessage),
    /// A received buffer has no header.
    #[error("the peer returned a receive buffer without a header")]
    Runt,
    /// A received frame is longer than any.
    #[error("the peer wrote a frame of more than 64 KB")]
    LongFrame,
    /// The header tells of more buffers than came.
    #[error("the peer announced receive buffers that it did not return")]
    MissingBuffers,
    /// The handshake takes longer than any honest peer does.
    #[error("the peer does not answer")]
    Silent,
}
