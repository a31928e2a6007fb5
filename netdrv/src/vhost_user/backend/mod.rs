//! The back-end: somebody else is the virtio-net driver, this side is the device.
//!
//! ```text
//!            control thread: handshake, memory table, ring addresses (rust-vmm's `vhost`)
//!                  │ under the link's lock
//!   stack ── TxFrame ──► front-end's rx ring      (in the front-end's memory, mapped)
//!   stack ◄─ FrameSink ─ front-end's tx ring
//! ```
//!
//! **Threads.** Messages come seldom and rust-vmm's crates block, use errno and thread-local storage: they have a thread of
//! their own, with all signals blocked. Frames move in the caller's polls, as with every other device: a thread between ring
//! and stack would cost a wake-up of tens of microseconds for each.  That is why `vhost-user-backend`, whose workers are such
//! threads, serves in the tests only.
//!
//! **Lock.** One spin lock around the link. The caller never waits for it: while the control thread has it, nothing is
//! received and nothing can be sent. The control thread yields until it gets it, so that a message takes effect between
//! two batches; after the answer to GET_VRING_BASE or SET_MEM_TABLE the old ring or memory is not touched any more.
//!
//! **What is ours in the ring.** All of it ([`vring::lent`](crate::vring::lent), [`vring::index`](crate::vring::index)).
//! `virtio-queue` publishes used entries one by one, but a frame in several receive buffers must show whole (virtio 1.2, section
//! 5.1.6.4: the driver reads `num_buffers` and expects them); it ignores the driver's wish for silence without event
//! indices; and it looks every word up in `vm-memory` anew, which took half of a short frame's time. It is what the tests
//! compare with.
//!
//! **Trust.** The front-end may be hostile. Addresses are looked up in the memory it has lent (each is checked); chains
//! are bounded; bytes are copied before they are parsed; memory that is cut away under us reads as zeros
//! ([`vring::foreign`](crate::vring::foreign)). A violation drops the front-end: its connection is closed, its memory unmapped.

mod control;
mod device;
mod enable;
#[cfg(test)]
mod hostile_tests;
mod link;
mod ring;
#[cfg(test)]
mod tests;

pub use device::{BackendDevice, open};

use crate::vring::lent::BrokenChain;
use alloc::string::String;
use std::string::ToString;

/// Why a front-end was dropped.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Violation {
    /// The available index is out of range.
    #[error("the peer moved its available index past the size of the ring")]
    AvailIndex,
    /// A chain with a loop, a descriptor out of range, or without buffers.
    #[error("the peer made a broken descriptor chain")]
    Chain,
    /// A buffer lies outside of the memory it has lent.
    #[error("the peer named an address outside of its memory")]
    Address,
    /// A frame without a whole header, or longer than any.
    #[error("the peer sent a frame of an impossible length")]
    Length,
    /// The file behind its memory was cut.
    #[error("the peer took away the memory that it had lent")]
    MemoryCut,
}

impl From<BrokenChain> for Violation {
    fn from(_: BrokenChain) -> Violation {
        Violation::Chain
    }
}

impl Violation {
    fn text(&self) -> String {
        self.to_string()
    }
}
