//! Interfaces: their addresses, state, counters and transmit queue.

use super::addr::{LOOPBACK6, Prefix};
use super::buffer::PacketBuf;
use super::socket::SocketId;
use super::tcp::FlowId;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use netdrv::{FrameMeta, MacAddr, Offloads};

/// An interface's number, 1 for `lo` (`if_nametoindex(3)`).
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IfIndex(pub u32);

impl IfIndex {
    /// The loopback interface.
    pub const LO: IfIndex = IfIndex(1);
}

/// What is behind an interface.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum LinkKind {
    /// Packets come straight back; no link header, no checksums.
    Loopback,
    /// An ethernet device.
    Ethernet,
}

/// What the stack must know of a device to put an interface on it.
#[derive(Clone, Debug)]
pub struct LinkInfo {
    /// What is behind it.
    pub kind: LinkKind,
    /// Address of the device; ignored for loopback.
    pub mac: MacAddr,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// What the device takes off the stack's hands.
    pub offloads: Offloads,
}

/// One IPv4 address of an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterfaceAddr {
    /// The address.
    pub addr: Ipv4Addr,
    /// Its subnet.
    pub prefix: Prefix,
    /// The subnet's broadcast address; `None` for /31, /32 and loopback.
    pub broadcast: Option<Ipv4Addr>,
    /// `IFA_LABEL`: the interface's name, or `name:alias`.
    pub label: String,
}

/// Counters as `ip -s link` and `/proc/net/dev` show them.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct InterfaceStats {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub multicast: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub tx_dropped: u64,
}

/// Bytes of a socket's send buffer that a packet takes up until it has left.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Charge {
    pub(super) socket: SocketId,
    pub(super) bytes: usize,
}

/// A packet on its way out. Until the link header is in front, a partial checksum's start counts from the IP header.
pub(super) struct QueuedFrame {
    pub(super) meta: FrameMeta,
    pub(super) buf: PacketBuf,
    pub(super) charge: Option<Charge>,
}

/// A network interface.
pub struct Interface {
    /// Its number.
    pub index: IfIndex,
    /// Its name, such as `eth0`.
    pub name: String,
    /// What is behind it.
    pub kind: LinkKind,
    /// Its hardware address.
    pub mac: MacAddr,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// What the device takes off the stack's hands.
    pub offloads: Offloads,
    /// Whether the administrator has brought it up (`IFF_UP`).
    pub up: bool,
    /// Its addresses, primary ones first.
    pub addresses: Vec<InterfaceAddr>,
    /// Its counters.
    pub stats: InterfaceStats,
    pub(super) txq: VecDeque<QueuedFrame>,
    /// Flows that have something to send once `txq` has drained.
    pub(super) waiting: VecDeque<FlowId>,
}

impl Interface {
    /// Frames that an interface queues when its device is full (`txqueuelen`).
    pub const TXQ_LEN: usize = 1000;

    pub(super) fn new(index: IfIndex, name: &str, link: &LinkInfo) -> Interface {
        Interface {
            index,
            name: name.into(),
            kind: link.kind,
            mac: link.mac,
            mtu: link.mtu,
            offloads: link.offloads,
            up: false,
            addresses: Vec::new(),
            stats: InterfaceStats::default(),
            txq: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    /// `IFF_*` flags (netdevice(7)).
    pub fn flags(&self) -> u32 {
        const UP: u32 = 0x1;
        const BROADCAST: u32 = 0x2;
        const LOOPBACK: u32 = 0x8;
        const RUNNING: u32 = 0x40;
        const MULTICAST: u32 = 0x1000;
        const LOWER_UP: u32 = 0x1_0000;
        let kind = match self.kind {
            LinkKind::Loopback => LOOPBACK,
            LinkKind::Ethernet => BROADCAST | MULTICAST,
        };
        kind | if self.up { UP | RUNNING | LOWER_UP } else { 0 }
    }

    /// Whether `addr` is one of this interface's own; all of 127.0.0.0/8 is loopback's, and `::1`.
    pub fn owns(&self, addr: Ipv4Addr) -> bool {
        let loopback = self.kind == LinkKind::Loopback;
        self.addresses.iter().any(|a| a.addr == addr || (loopback && a.prefix.contains(addr)))
            || (loopback && addr == LOOPBACK6)
    }

    /// Whether `addr` means everyone on this link.
    pub fn is_broadcast(&self, addr: Ipv4Addr) -> bool {
        addr.is_broadcast() || self.addresses.iter().any(|a| a.broadcast == Some(addr))
    }

    /// The address to speak from towards `peer`: the one in whose subnet it lies, or the first.
    pub fn source_for(&self, peer: Ipv4Addr) -> Option<Ipv4Addr> {
        let near = self.addresses.iter().find(|a| a.prefix.contains(peer));
        near.or(self.addresses.first()).map(|a| a.addr)
    }
}
