//! The contract of a TCP engine: one connection's protocol machine, sans-IO.
//!
//! An engine sees IP packets of one connection, validated, with checksums dealt with, and time. It produces IP packets
//! (checksums left at zero: the stack fills in what the device wants) and the time it next wants to be asked. It owns
//! the connection's two buffers. It knows no sockets, ports, routes or neighbours, and no TIME-WAIT beyond reporting
//! it: the stack keeps the tuple from then on.

use crate::net::addr::FourTuple;
use crate::time::Instant;
use core::num::NonZeroU16;
use core::time::Duration;

/// States of RFC 9293, section 3.3.2; the discriminants are Linux's (`TCP_ESTABLISHED` …, `tcp_info`).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum TcpState {
    Established = 1,
    SynSent = 2,
    SynReceived = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Closed = 7,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
}

impl TcpState {
    /// Whether the peer has sent its FIN.
    pub fn peer_finished(self) -> bool {
        matches!(self, Self::CloseWait | Self::LastAck | Self::Closing | Self::TimeWait)
    }

    /// Whether the three-way handshake has not finished.
    pub fn is_opening(self) -> bool {
        matches!(self, Self::SynSent | Self::SynReceived | Self::Listen)
    }

    /// Whether data may still be queued for sending.
    pub fn may_send(self) -> bool {
        matches!(self, Self::Established | Self::CloseWait)
    }
}

/// Congestion control algorithms (`TCP_CONGESTION`, `tcp(7)`).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Congestion {
    /// Window-limited only: for links that cannot congest, such as loopback.
    None,
    /// RFC 5681.
    Reno,
}

impl Congestion {
    /// The algorithm's name in `TCP_CONGESTION`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Reno => "reno",
        }
    }

    /// The algorithm called `name`.
    pub fn from_name(name: &str) -> Option<Congestion> {
        [Self::None, Self::Reno].into_iter().find(|c| c.name() == name)
    }
}

/// What a connection is made with.
#[derive(Copy, Clone, Debug)]
pub struct EngineConfig {
    /// Both ends.
    pub tuple: FourTuple,
    /// Our initial sequence number (RFC 6528).
    pub initial_sequence: u32,
    /// Largest IP packet on the path, in bytes; lower with `TCP_MAXSEG`.
    pub mtu: u16,
    /// Whether the device cuts packets of up to 64 KB into segments.
    pub segmentation_offload: bool,
    /// Receive buffer in bytes.
    pub receive_buffer: usize,
    /// Send buffer in bytes.
    pub send_buffer: usize,
    /// Congestion control.
    pub congestion: Congestion,
    /// Nagle's algorithm (RFC 896), off with `TCP_NODELAY`.
    pub nagle: bool,
}

/// A packet that an engine wrote.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Bytes of the IP packet.
    pub len: usize,
    /// Payload bytes of the segments that the device is to cut it into.
    pub cut: Option<NonZeroU16>,
}

/// One connection's protocol machine.
pub trait TcpEngine: Sized {
    /// Begins an active open: the SYN is the first packet to transmit.
    fn connect(config: &EngineConfig, now: Instant) -> Self;

    /// Begins a passive open with a received SYN (an IP packet); `None` when it is not one.
    fn accept(config: &EngineConfig, syn: &[u8], now: Instant) -> Option<Self>;

    /// Takes a received IP packet of this connection; an immediate answer is written to `reply`.
    fn handle_segment(&mut self, packet: &[u8], reply: &mut [u8], now: Instant) -> Option<Segment>;

    /// Writes the next IP packet that is due to `buf`, which has room for the largest; `None` when nothing is.
    fn poll_transmit(&mut self, buf: &mut [u8], now: Instant) -> Option<Segment>;

    /// When [`TcpEngine::poll_transmit`] will have something to do without further input.
    fn next_deadline(&mut self, now: Instant) -> Option<Instant>;

    /// The state of the connection.
    fn state(&self) -> TcpState;

    /// Calls `fill` with contiguous free space of the send buffer (possibly not all of it); it returns how many bytes
    /// it wrote at the front. Returns that number, 0 when there is no space or the state does not allow sending.
    fn send(&mut self, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> usize;

    /// Calls `take` with contiguous received bytes (possibly not all of them); it returns how many it took.
    fn recv(&mut self, take: &mut dyn FnMut(&[u8]) -> usize) -> usize;

    /// The first contiguous received bytes, at most `max`.
    fn peek(&mut self, max: usize) -> &[u8];

    /// Copies received bytes without taking them; returns how many.
    fn peek_copy(&mut self, into: &mut [u8]) -> usize;

    /// Received bytes that wait for the program (`SIOCINQ`).
    fn receive_queued(&self) -> usize;

    /// Bytes sent or to be sent that are not acknowledged (`SIOCOUTQ`).
    fn send_queued(&self) -> usize;

    /// Bytes the send buffer has room for.
    fn send_space(&self) -> usize;

    /// Bytes of the send buffer.
    fn send_capacity(&self) -> usize;

    /// Bytes of the receive buffer.
    fn receive_capacity(&self) -> usize;

    /// Ends our half: a FIN follows the data.
    fn close(&mut self);

    /// Ends the connection at once: a RST is the next packet to transmit.
    fn abort(&mut self);

    /// Turns Nagle's algorithm on or off.
    fn set_nagle(&mut self, on: bool);

    /// How long acknowledgements of in-order data may wait; `None` for not at all.
    fn set_ack_delay(&mut self, delay: Option<Duration>);

    /// Sends a keep-alive probe now and again every `interval` until stopped with `None`.
    fn set_keepalive_probing(&mut self, interval: Option<Duration>);

    /// Chooses the congestion control.
    fn set_congestion(&mut self, congestion: Congestion);

    /// The path takes packets of this size only (RFC 1191).
    fn set_mtu(&mut self, mtu: u16, now: Instant);
}
