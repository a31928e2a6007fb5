//! The host's TAP interface as an ethernet device.
//!
//! ```text
//!            stack                                    host
//!   TxFrame ──► virtio_net_hdr + parts ── writev ──► tun.c ──► netif_receive_skb ──► host stack, bridge
//!   FrameSink ◄── rx buffer (64 KB) ◄───── read ──── ptr_ring ◄── dev_queue_xmit ◄──
//! ```
//!
//! One system call moves one frame, which with segmentation offload is up to 64 KB of TCP; nothing is copied on our side,
//! neither way. The driver keeps no queue of its own: the host's ring (`txqueuelen` frames) is the receive queue, and a
//! write runs the host's receive path before it returns, so that there is no transmit queue to fill.
//!
//! **Header length.** `TUNSETVNETHDRSZ` offers 10 bytes, or 12 with `num_buffers`. A tap never merges buffers, so the
//! field would always be 0; and 10 + 14 bytes of ethernet header put the IP header at offset 24 of an aligned buffer, where
//! 12 would need padding. We ask for 10, explicitly: a persistent tap remembers what its last holder asked for.
//!
//! **Offloads.** What we write needs no agreement: with `IFF_VNET_HDR` the host takes partial checksums and TCP segments of
//! any size, and UDP segments since Linux 6.2, which shows in `TUNSETOFFLOAD` knowing `TUN_F_USO4`. What we read is agreed
//! with `TUNSETOFFLOAD`: all that the caller accepts, then step by step less where the host refuses.
//!
//! **Ownership.** The interface is made with `IFF_TUN_EXCL`, so that it is certain whose it is: one that we made gets the
//! host's address and goes when the descriptor closes, however the process ends; one that was there keeps its
//! addresses, and is only taken up. An interface that is down or deleted shows as
//! [`DeviceError::LinkDown`](crate::DeviceError::LinkDown).

mod device;
mod host_setup;
mod open_error;
pub(crate) mod options;
#[cfg(test)]
mod test_utils;
#[cfg(test)]
mod tests;

pub use device::{TapDevice, open};
pub use open_error::{OpenError, OpenFailure};
pub use options::TapOptions;
