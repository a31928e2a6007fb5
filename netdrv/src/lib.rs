//! Ethernet drivers in user space.
//!
//! Every device is an [`EthernetDevice`]: poll-based, in batches, with the offload state of each frame
//! ([`FrameMeta`]) carried beside it from the socket to the wire and back. Capture, tracing and impairment are
//! wrappers around any device. Nothing here blocks; the caller decides when to poll.
//!
//! The crate needs no standard library: no errno, no thread-local storage and no locks of the host's, so that a driver
//! can run where the thread pointer is somebody else's. The exception is the feature `backend`, the device side of
//! vhost-user, which has a thread for control messages.
//!
//! | module | what |
//! | --- | --- |
//! | [`device`], [`frame`] | the contract between stack and driver |
//! | [`options`] | `eth<n>=` and `vec<n>:` from the command line to a [`DeviceSpec`] |
//! | [`tuntap`] | the host's TAP with checksum and segmentation offload |
//! | [`raw`] | an interface of the host, by a packet socket |
//! | `per_frame` | what both have in common: one system call for each frame |
//! | [`vhost_user`] | shared-memory ethernet between processes |
//! | [`segment`] | offloads in software, for receivers that lack them |
//! | [`vnet_header`] | `struct virtio_net_hdr`, which TAP and virtio share |
//! | [`pair`] | two devices linked in memory, for tests of a stack |
//! | [`capture`], [`impair`] | wrappers: pcap; loss, duplication, reordering |

#![no_std]
#![deny(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;
#[cfg(any(test, feature = "backend"))]
extern crate std;

pub mod capture;
pub mod device;
pub mod frame;
pub mod impair;
pub mod options;
pub mod pair;
mod per_frame;
pub mod raw;
mod reason;
pub mod segment;
mod sys;
pub mod tuntap;
pub mod vhost_user;
pub mod vnet_header;
mod vring;

pub use device::{DeviceError, DeviceStats, EthernetDevice, FrameSink, Offloads, TxFrame};
pub use frame::{Checksum, FrameMeta, Gso, GsoKind, MacAddr, Mtu};
pub use options::{DeviceKind, DeviceSpec, OptionError};
pub use tuntap::{OpenError, TapDevice, TapOptions};
pub use vhost_user::{VhostUserDevice, VhostUserOptions};
