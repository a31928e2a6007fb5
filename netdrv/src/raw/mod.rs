//! An interface of the host as an ethernet device, by a packet socket (packet(7)).
//!
//! ```text
//!   TxFrame ──► virtio_net_hdr + parts ── writev ──► packet_snd() ──► the interface's queue ──► wire
//!   FrameSink ◄── rx buffer (64 KB) ◄───── read ──── packet_rcv() ◄── GRO ◄── wire
//! ```
//!
//! As with a TAP, one system call moves one frame with its offload state (`PACKET_VNET_HDR`): the host's driver or its stack
//! finishes checksums and cuts TCP segments of ours; what comes in may be coalesced by the host (GRO) and is taken
//! apart here where the caller does not accept that kind. Nothing needs agreeing, as the host takes and gives everything.
//!
//! The interface stays the host's: its addresses keep working beside the guest's, it is taken promiscuous while the device is
//! open, and what the guest sends does not reach the host's own stack (nor the other way), as both send away from it.
//! 802.1Q tags that the host's driver has removed do not come back.

mod device;
mod open_error;
pub(crate) mod options;
#[cfg(test)]
mod tests;

pub use device::{RawDevice, open};
pub use open_error::{OpenError, OpenFailure};
pub use options::RawOptions;
