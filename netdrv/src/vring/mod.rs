//! Split virtqueues (virtio 1.2, section 2.7) in memory that another process writes, too.
//!
//! # Theory of operation
//!
//! A ring is three tables in shared memory. The driver fills the *descriptor table* (addresses and lengths of buffers) and
//! appends heads of descriptor chains to the *available ring*; the device appends the heads it is done with to the *used
//! ring*. Each ring has a free-running 16-bit index that only its writer stores, and each side may ask the other for
//! silence: by a flag, or (`VIRTIO_F_EVENT_IDX`) by naming the index at which it wants to hear again.
//!
//! | file | what |
//! | --- | --- |
//! | `region` | memory shared by descriptor: the only place that touches it |
//! | `layout` | where a ring's tables lie in it |
//! | `index` | the index protocol of both sides: publishing, consuming, asking for silence |
//! | `foreign` | what happens when a peer takes memory away that it has lent us |
//! | `lent` | such memory mapped, and a ring in it: descriptors and chains on the device's side |
//! | `driver` | descriptors, chains, indirect tables, and what is in flight: the driver's side |
//! | `prefetch` | which lines will be needed |
//! | `model` | `index` model-checked with loom (tests only) |
//!
//! # Memory ordering
//!
//! What one side writes before it moves an index, the other must see after it has read that index:
//!
//! 1. *Driver to device.* Descriptors and the available ring's entry are written, then `avail.idx` is stored with Release
//!    (2.7.13.3.1: "a suitable memory barrier before the idx update"). The device loads `avail.idx` with Acquire before it
//!    reads the entry. Release/Acquire on one location makes the writes visible; on x86-64 both are plain moves.
//! 2. *Device to driver.* Buffer contents and the used ring's entry, then `used.idx` with Release (2.7.8.2); the driver
//!    loads `used.idx` with Acquire (2.7.14).
//! 3. *Silence, and the end of it.* A side that is about to sleep stores its wish to be notified, and then looks at the
//!    other's index once more; the other stores its index, and then looks for the wish. Each stores one word and then
//!    loads another: without a full barrier between the two, both loads may miss both stores, and one side sleeps for ever
//!    (store buffering, the one reordering that x86-64 makes). So each side has a SeqCst fence between its store and its
//!    load (2.7.7.2 and 2.7.10.1; 2.7.13.4.1: "a suitable memory barrier before reading flags or avail_event"). One
//!    of the loads is then ordered after the other side's store: either the sleeper finds the work, or the other finds the
//!    wish.
//! 4. Flags and event indices order nothing else, so that they are Relaxed.
//!
//! `model` runs 1 to 3 through loom, which explores what the C11 memory model allows, and fails when a fence is left out.
//!
//! # Trust
//!
//! The peer may write anything at any time. Nothing that was read from shared memory is read twice or used as an offset
//! before it was checked: heads, chain lengths and free descriptors are kept in private memory, buffer contents are copied
//! out before they are parsed, lengths are clamped to what was offered. What an honest device cannot write is an
//! error ([`RingError`]) that ends the link. The region is a sealed memfd of its own, so that a peer can neither truncate
//! it under us (SIGBUS) nor see anything but rings and packets.

#![allow(unsafe_code)]

mod driver;
#[cfg(feature = "backend")]
pub(crate) mod foreign;
pub(crate) mod index;
mod layout;
#[cfg(feature = "backend")]
pub(crate) mod lent;
#[cfg(all(test, feature = "backend"))]
mod lent_tests;
#[cfg(test)]
mod model;
pub(crate) mod prefetch;
mod region;
#[cfg(all(test, feature = "backend"))]
mod tests;

pub(crate) use driver::{Direction, DriverRing, RingError, Segment, Used};
pub(crate) use layout::{RingLayout, RingSize};
pub(crate) use region::SharedRegion;
