//! ICMP messages (RFC 792): reading errors, writing errors and echo replies.

use super::checksum;
use super::error::NetError;
use super::ipv4::{HEADER_LEN, Ipv4Header, protocol};

/// Bytes in front of an ICMP message's data.
pub const ICMP_HEADER: usize = 8;

/// Message types.
pub mod kind {
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Source quench (historic).
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect.
    pub const REDIRECT: u8 = 5;
    /// Echo request.
    pub const ECHO: u8 = 8;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: u8 = 12;
}

/// Codes of [`kind::UNREACHABLE`].
pub mod unreachable {
    /// No route to the network.
    pub const NET: u8 = 0;
    /// The host does not answer.
    pub const HOST: u8 = 1;
    /// The host has no such protocol.
    pub const PROTOCOL: u8 = 2;
    /// Nobody listens on the port.
    pub const PORT: u8 = 3;
    /// Too large, and not to be fragmented; the message names the next MTU (RFC 1191).
    pub const FRAGMENTATION_NEEDED: u8 = 4;
}

/// Whether a type is an error message, about which no error message may be sent (RFC 1122, section 3.2.2).
pub fn is_error(kind: u8) -> bool {
    matches!(
        kind,
        kind::UNREACHABLE | kind::SOURCE_QUENCH | kind::REDIRECT | kind::TIME_EXCEEDED | kind::PARAMETER_PROBLEM
    )
}

/// An error message and the packet it is about.
#[derive(Copy, Clone, Debug)]
pub struct IcmpError<'a> {
    /// Message type.
    pub kind: u8,
    /// Message code.
    pub code: u8,
    /// The next hop's MTU in bytes, of [`unreachable::FRAGMENTATION_NEEDED`].
    pub mtu: u16,
    /// Header of the packet it is about.
    pub about: Ipv4Header,
    /// At least the first 8 bytes of that packet's payload.
    pub payload: &'a [u8],
}

impl<'a> IcmpError<'a> {
    /// Reads an error message (checksum already verified); `None` for other messages and truncated ones.
    pub fn parse(message: &'a [u8]) -> Option<IcmpError<'a>> {
        let (&[kind, code, _, _, _, _, m0, m1], inner) = message.split_first_chunk::<ICMP_HEADER>()?;
        if !is_error(kind) {
            return None;
        }
        let h = inner.first_chunk::<HEADER_LEN>()?;
        let header_len = usize::from(h[0] & 0x0f) * 4;
        let payload = inner.get(header_len..).filter(|p| header_len >= HEADER_LEN && p.len() >= 8)?;
        let about = Ipv4Header {
            src: [h[12], h[13], h[14], h[15]].into(),
            dst: [h[16], h[17], h[18], h[19]].into(),
            protocol: h[9],
            header_len,
            total_len: header_len + payload.len(),
            ..Ipv4Header::new([0; 4].into(), [0; 4].into(), 0, 0)
        };
        Some(IcmpError { kind, code, mtu: u16::from_be_bytes([m0, m1]), about, payload })
    }

    /// Whether it will not pass by itself: of others, a connected datagram socket says nothing (`icmp_err_convert` on
    /// Linux; udp(7)).
    pub fn is_hard(&self) -> bool {
        match self.kind {
            kind::UNREACHABLE => {
                matches!(self.code, unreachable::PROTOCOL | unreachable::PORT | 6..=10 | 13..=15)
            }
            kind::PARAMETER_PROBLEM => true,
            _ => false,
        }
    }

    /// The error that a socket reports for this message, which is fatal for a connection attempt (RFC 1122, section
    /// 4.2.3.9).
    pub fn error(&self) -> Option<NetError> {
        match (self.kind, self.code) {
            (kind::UNREACHABLE, unreachable::NET | 6) => Some(NetError::NetUnreachable),
            (kind::UNREACHABLE, unreachable::PORT) => Some(NetError::ConnectionRefused),
            (kind::UNREACHABLE, unreachable::PROTOCOL) => Some(NetError::NoProtocolOption),
            (kind::UNREACHABLE, unreachable::FRAGMENTATION_NEEDED) => Some(NetError::MessageTooLong),
            (kind::UNREACHABLE | kind::TIME_EXCEEDED, _) => Some(NetError::HostUnreachable),
            _ => None,
        }
    }
}

/// How much of an offending packet an error message carries: header and up to 576 − 28 bytes (RFC 1812, 4.3.2.3).
pub fn quoted_len(packet_len: usize) -> usize {
    packet_len.min(576 - HEADER_LEN - ICMP_HEADER)
}

/// Writes an error message about `packet` to `message`, which holds [`ICMP_HEADER`] + [`quoted_len`] bytes.
pub fn write_error(message: &mut [u8], kind: u8, code: u8, mtu: u16, packet: &[u8]) {
    let Some((header, data)) = message.split_first_chunk_mut::<ICMP_HEADER>() else { return };
    let [m0, m1] = mtu.to_be_bytes();
    *header = [kind, code, 0, 0, 0, 0, m0, m1];
    let len = data.len().min(packet.len());
    data[..len].copy_from_slice(&packet[..len]);
    fill_checksum(message);
}

/// Computes a message's checksum in place.
pub fn fill_checksum(message: &mut [u8]) {
    message[2..4].fill(0);
    let sum = checksum::of(message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}

/// Whether an error message may be sent about this packet (RFC 1122, section 3.2.2): not about errors, not about any
/// but the first fragment, and only to one host.
pub fn may_report(header: &Ipv4Header, payload: &[u8]) -> bool {
    let about_error = header.protocol == protocol::ICMP && payload.first().is_none_or(|k| is_error(*k));
    !about_error
        && header.fragment_offset == 0
        && !header.src.is_unspecified()
        && !header.src.is_multicast()
        && !header.src.is_broadcast()
        && !header.dst.is_multicast()
        && !header.dst.is_broadcast()
}
