//! The contract between a network stack and an ethernet driver.

use crate::frame::{FrameMeta, MacAddr, Mtu};
use crate::reason::Reason;
use alloc::string::String;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

bitflags::bitflags! {
    /// What a device takes off the stack's hands; named after the virtio-net features.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Offloads: u32 {
        /// Transmit: finishes partial checksums.
        const TX_CSUM = 1 << 0;
        /// Transmit: cuts TCP/IPv4 segments of up to 64 KB.
        const TX_TSO4 = 1 << 1;
        /// Transmit: cuts TCP/IPv6 segments of up to 64 KB.
        const TX_TSO6 = 1 << 2;
        /// Transmit: cuts UDP datagrams.
        const TX_USO = 1 << 3;
        /// Receive: may deliver frames with partial or already verified checksums.
        const RX_CSUM = 1 << 4;
        /// Receive: may deliver coalesced TCP/IPv4 segments.
        const RX_TSO4 = 1 << 5;
        /// Receive: may deliver coalesced TCP/IPv6 segments.
        const RX_TSO6 = 1 << 6;
        /// Receive: may deliver several UDP datagrams of one flow as one frame ([`GsoKind::UdpL4`](crate::GsoKind)).
        const RX_USO = 1 << 7;
    }
}

/// One frame to send: ethernet header first, in one or more pieces that follow each other on the wire.
#[derive(Clone, Copy, Debug)]
pub struct TxFrame<'a> {
    /// Offload state; only what the device's [`Offloads`] name may be asked of it.
    pub meta: FrameMeta,
    /// The bytes, at most [`TxFrame::MAX_PARTS`] pieces.
    pub parts: &'a [&'a [u8]],
}

impl TxFrame<'_> {
    /// Largest number of pieces in one frame.
    pub const MAX_PARTS: usize = 18;

    /// Bytes in all pieces together.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|p| p.len()).sum()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where received frames go. The bytes are the driver's: valid for the call only.
pub trait FrameSink {
    /// Takes one frame, from its ethernet header on, without trailing checksum.
    fn frame(&mut self, meta: FrameMeta, bytes: &mut [u8]);
}

/// Counters as `ip -s link` shows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct DeviceStats {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub rx_dropped: u64,
    pub rx_errors: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub tx_dropped: u64,
    pub tx_errors: u64,
}

/// Why a device could not do what was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeviceError {
    /// The host refused; `op` says which step.
    #[error("{op}: {}", Reason(*errno))]
    Host {
        /// The step that failed, in words.
        op: &'static str,
        /// The host's reason.
        errno: Errno,
    },
    /// The link's other end is gone.
    #[error("the link is down")]
    LinkDown,
    /// The link's other end is gone, or was dropped, for this reason; said once, [`DeviceError::LinkDown`] afterwards.
    #[error("the link is down: {0}")]
    Peer(String),
}

/// An ethernet device: poll-based, in batches; no call blocks.
pub trait EthernetDevice: Send {
    /// The address frames are sent from.
    fn mac(&self) -> MacAddr;

    /// Changes the address (`ip link set address`).
    fn set_mac(&mut self, mac: MacAddr);

    /// Largest IP packet without segmentation offload.
    fn mtu(&self) -> Mtu;

    /// What the device takes off the stack's hands.
    fn offloads(&self) -> Offloads;

    /// Takes up to `budget` waiting frames and hands those that are sound to `sink`; returns how many it took. 0 means
    /// that nothing waits.
    fn receive(&mut self, budget: usize, sink: &mut dyn FrameSink) -> Result<usize, DeviceError>;

    /// Whether [`EthernetDevice::receive`] may find something, for a caller that polls again and again: a look at memory that
    /// costs far less. A device that cannot tell says yes; one that says no is to be polled all the same, but less often.
    fn may_receive(&self) -> bool {
        true
    }

    /// Sends frames in order; returns how many the device took (fewer when its queue is full; a frame is taken whole or
    /// not at all).
    fn transmit(&mut self, frames: &[TxFrame<'_>]) -> Result<usize, DeviceError>;

    /// To be called before sleeping on [`EthernetDevice::poll_fds`]: has the other end notify us from now on. Returns whether
    /// frames (or room for those that were not taken) are there already, so that the caller must not sleep.
    fn prepare_sleep(&mut self) -> bool {
        false
    }

    /// Calls `watch` with each descriptor that polls readable when frames wait, or when the device wants a look, for a caller
    /// that wants to sleep. Which they are may change with every other call; those that were named stay open until then.
    fn poll_fds<'a>(&'a self, watch: &mut dyn FnMut(BorrowedFd<'a>));

    /// The counters so far.
    fn stats(&self) -> DeviceStats;
}
