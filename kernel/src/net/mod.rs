//! Flatland's TCP/IP stack, sans-IO.
//!
//! # Theory of operation
//!
//! The stack is a value. Time, received frames and socket calls are arguments of its methods; frames to send, the
//! sockets at which something happened and the next deadline are what it returns. It has no threads, clocks, locks or
//! host calls and never blocks, so a test runs two of them against each other in virtual time, and the kernel decides
//! under which lock and on which vCPU it runs.
//!
//! ## The walk of a packet
//!
//! In: [`NetStack::handle_frame`] → link (`receive`: ethernet, ARP) → IP (header, addresses, fragments) → ICMP, UDP,
//! or TCP → flow table → the flow's engine → the receive ring of its socket → [`NetStack::recv`]. A byte is copied
//! twice: frame to ring, ring to program. Coalesced frames of 64 KB and partial checksums are taken as they are.
//!
//! Out: [`NetStack::send`] writes into the send ring and puts the flow on the dirty list. [`NetStack::poll`], which
//! the caller runs right after its calls and frames, lets dirty flows' engines write segments (64 KB where the device
//! cuts them) into pooled buffers; IP finds the neighbour, the ethernet header goes into the buffer's headroom, and
//! [`FrameOut`] offers the frame to the device. A device that is full stops the flows that use it, and no others.
//! Packets to ourselves go through a queue that the same poll feeds back in.
//!
//! ## Who owns what
//!
//! [`NetStack`] holds sockets, flows, ports, events and timers; `IpLayer` what is below the transports and knows no
//! sockets; an engine ([`tcp::engine::TcpEngine`]) one connection's protocol and buffers. Errors about packets,
//! our own included, travel up as ICMP messages.
//!
//! ## Cost and limits
//!
//! Work per packet does not grow with the number of flows: one hash look-up, a dirty list, a heap with lazy deletion.
//! In the steady state nothing is allocated or cleared per packet. Bounded: accept queues and handshakes, neighbours
//! and their queues, fragments, transmit queues, datagram queues, TIME-WAIT tuples, orphans, ICMP errors per second.
//! Not there: forwarding, IPv6 beyond v4-mapped addresses, urgent data, IP options, multicast membership.
//!
//! ## In the kernel
//!
//! [`network`] gives the stack its lock, its devices and the clock, and wakes whoever waits; [`file`] makes its sockets
//! files; [`config`] sets it up at boot; [`unix`] holds the sockets that need no stack. The rest of this folder knows
//! nothing of a kernel.

#![deny(unsafe_code)]

pub mod addr;
mod buffer;
mod checksum;
pub mod config;
mod datagram;
mod error;
mod event;
pub mod facts;
pub mod file;
mod fragment;
mod icmp;
mod interface;
mod ip;
mod ipv4;
mod link;
mod neighbor;
pub mod netlink;
pub mod network;
mod port;
mod random;
mod receive;
mod route;
mod slab;
mod socket;
mod stack;
mod stats;
pub mod tcp;
mod timer;
pub mod unix;

#[cfg(test)]
mod tests;

pub use addr::{Family, FourTuple, Prefix};
pub use datagram::{DEFAULT_BUFFER as DATAGRAM_BUFFER, DatagramInfo, PacketChoices};
pub use error::NetError;
pub use event::Readiness;
pub use interface::{IfIndex, Interface, InterfaceAddr, InterfaceStats, LinkInfo, LinkKind};
pub use ip::{FrameOut, NextHop, Path};
pub use neighbor::{NeighborEntry, NeighborState};
pub use route::{Route, RouteKind, RouteProtocol};
pub use socket::{Shutdown, SocketId, SocketKind, SocketOptions};
pub use stack::{NetConfig, NetStack};
pub use stats::SnmpStats;
