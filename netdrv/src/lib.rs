//! Ethernet drivers in user space.
//!
//! Every device is an [`EthernetDevice`]: poll-based, in batches, with the offload state of each frame
//! ([`FrameMeta`]) carried beside it from the socket to the wire and back. Capture, tracing and impairment are
//! wrappers around any device. Nothing here blocks or owns a thread; the caller decides when to poll.

#![deny(unsafe_code)]

pub mod device;
pub mod frame;

pub use device::{DeviceError, DeviceStats, EthernetDevice, FrameSink, Offloads, TxFrame};
pub use frame::{Checksum, FrameMeta, Gso, GsoKind, MacAddr, Mtu};
