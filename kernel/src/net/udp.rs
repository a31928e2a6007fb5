//! UDP (RFC 768) and UDP-Lite (RFC 3828): headers, checksums, and which socket a datagram is for.

use super::checksum;
use super::datagram_ports::DatagramProtocol;
use super::error::NetError;
use super::icmp;
use super::interface::IfIndex;
use super::ipv4::{Ipv4Header, protocol};
use super::socket::SocketId;
use super::stack::NetStack;
use crate::time::Instant;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};

/// Bytes of a UDP header.
pub const UDP_HEADER: usize = 8;

impl NetStack {
    /// Takes an IP packet with a UDP datagram to one of our addresses, or to everyone's.
    pub(super) fn udp_input(
        &mut self,
        ip: &Ipv4Header,
        packet: &[u8],
        interface: IfIndex,
        trusted: bool,
        now: Instant,
    ) {
        let bytes = &packet[ip.header_len..ip.total_len];
        let Some(h) = bytes.first_chunk::<UDP_HEADER>() else {
            self.ip.stats.udp_in_errors += 1;
            return;
        };
        let lite = ip.protocol == protocol::UDP_LITE;
        let kind = if lite { DatagramProtocol::UdpLite } else { DatagramProtocol::Udp };
        // Where UDP has its length, UDP-Lite has how much the checksum covers; 0 is all (RFC 3828, section 3.1).
        let field = usize::from(u16::from_be_bytes([h[4], h[5]]));
        let covered = if lite && field == 0 { bytes.len() } else { field };
        let len = if lite { bytes.len() } else { covered };
        let must_be_valid = !trusted && (lite || h[6..8] != [0, 0]);
        let valid = || {
            let pseudo = checksum::pseudo_header(ip.src, ip.dst, ip.protocol, len);
            checksum::fold(pseudo + checksum::sum(&bytes[..covered])) == 0xffff
        };
        if covered < UDP_HEADER || covered > bytes.len() || (must_be_valid && !valid()) {
            self.ip.stats.udp_in_errors += 1;
            return;
        }
        let part = (covered < len).then_some(covered);
        let from = SocketAddrV4::new(ip.src, u16::from_be_bytes([h[0], h[1]]));
        let port = u16::from_be_bytes([h[2], h[3]]);
        let group = !self.ip.is_own(ip.dst);
        let payload = &bytes[UDP_HEADER..len];
        let mut delivered = 0;
        if group {
            for socket in self.matching(kind, port, from, ip.dst, interface) {
                self.deliver_covered(socket, from, ip, interface, payload, part);
                delivered += 1;
            }
        } else if let Some(socket) = self.best_match(kind, port, from, ip.dst, interface) {
            self.deliver_covered(socket, from, ip, interface, payload, part);
            delivered += 1;
        }
        if delivered == 0 {
            self.ip.stats.udp_no_ports += 1;
            if !group {
                let code = icmp::unreachable::PORT;
                self.ip.report(icmp::kind::UNREACHABLE, code, 0, &packet[..ip.total_len], now);
            }
        }
    }

    /// Delivers unless the checksum covers a `part` of the datagram that is too small for the socket (udplite(7)).
    fn deliver_covered(
        &mut self,
        id: SocketId,
        from: SocketAddrV4,
        ip: &Ipv4Header,
        interface: IfIndex,
        bytes: &[u8],
        part: Option<usize>,
    ) {
        let wanted = self.sockets.get(id).map_or(0, |s| usize::from(s.options.receive_coverage));
        if part.is_some_and(|covered| covered < wanted) {
            self.ip.stats.udp_in_errors += 1;
            return;
        }
        self.deliver(id, from, ip, interface, bytes);
    }

    fn candidates(
        &self,
        kind: DatagramProtocol,
        port: u16,
        from: SocketAddrV4,
        to: Ipv4Addr,
        interface: IfIndex,
    ) -> impl Iterator<Item = (SocketId, u32)> + '_ {
        let bindings = self.datagram_ports.bindings(kind, port);
        bindings.iter().filter(move |b| b.hears(to)).filter_map(move |b| {
            let socket = self.sockets.get(b.socket)?;
            let device = socket.options.bound_device.is_none_or(|d| d == interface);
            let datagram = socket.datagram().ok()?;
            let member = !to.is_multicast() || socket.options.multicast_all || datagram.is_member(to);
            let score = datagram.score(from, to).filter(|_| device && member)?;
            Some((b.socket, score))
        })
    }

    fn matching(
        &self,
        kind: DatagramProtocol,
        port: u16,
        from: SocketAddrV4,
        to: Ipv4Addr,
        interface: IfIndex,
    ) -> Vec<SocketId> {
        self.candidates(kind, port, from, to, interface).map(|(id, _)| id).collect()
    }

    /// The socket that a datagram is for; equals share by hash (`SO_REUSEPORT`).
    fn best_match(
        &self,
        kind: DatagramProtocol,
        port: u16,
        from: SocketAddrV4,
        to: Ipv4Addr,
        interface: IfIndex,
    ) -> Option<SocketId> {
        let candidates = || self.candidates(kind, port, from, to, interface);
        let best = candidates().map(|(_, score)| score).max()?;
        let mut equals = candidates().filter(|(_, score)| *score == best).map(|(id, _)| id);
        let count = match self.datagram_ports.bindings(kind, port).len() {
            1 => return equals.next(),
            _ => candidates().filter(|(_, score)| *score == best).count(),
        };
        let spread = from.ip().to_bits().wrapping_mul(0x9e37_79b9).wrapping_add(u32::from(from.port()));
        equals.nth(spread as usize % count.max(1))
    }

    /// An ICMP message about a UDP datagram of ours: a connected socket reports it (RFC 1122, section 4.1.3.3).
    pub(super) fn udp_error(
        &mut self,
        kind: DatagramProtocol,
        local: SocketAddrV4,
        remote: SocketAddrV4,
        error: NetError,
    ) {
        let ours = |id: &SocketId| {
            let datagram = self.sockets.get(*id).and_then(|s| s.datagram().ok());
            datagram.is_some_and(|d| d.peer == Some(remote) && (*d.local.ip() == *local.ip()))
        };
        let bindings = self.datagram_ports.bindings(kind, local.port());
        let socket = bindings.iter().map(|b| b.socket).find(ours);
        if let Some(id) = socket {
            self.report_error(id, Some(error));
            self.note(id);
        }
    }
}

/// As [`write_udp`], with the checksum over the header, the first `coverage` bytes (0: all) and the pseudo-header
/// (RFC 3828, section 3.1). Such a checksum is never left to a device.
pub(super) fn write_udp_lite(datagram: &mut [u8], src: u16, dst: u16, ip: &Ipv4Header, coverage: u16) {
    let len = datagram.len();
    let covered = if coverage == 0 { len } else { usize::from(coverage).min(len) };
    let field = if covered == len { 0 } else { covered as u16 };
    write_fields(datagram, src, dst, field);
    let pseudo = checksum::pseudo_header(ip.src, ip.dst, protocol::UDP_LITE, len);
    let sum = whole_checksum(pseudo, &datagram[..covered]);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
}

/// Writes a UDP header in front of a payload that is in place.
pub(super) fn write_udp(datagram: &mut [u8], src: u16, dst: u16, ip: &Ipv4Header, partial: bool) {
    let len = datagram.len();
    write_fields(datagram, src, dst, len as u16);
    let pseudo = checksum::pseudo_header(ip.src, ip.dst, protocol::UDP, len);
    let sum = if partial { checksum::fold(pseudo) } else { whole_checksum(pseudo, datagram) };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
}

/// Ports, the field behind them (UDP's length, UDP-Lite's coverage), and no checksum yet.
fn write_fields(datagram: &mut [u8], src: u16, dst: u16, field: u16) {
    datagram[0..2].copy_from_slice(&src.to_be_bytes());
    datagram[2..4].copy_from_slice(&dst.to_be_bytes());
    datagram[4..6].copy_from_slice(&field.to_be_bytes());
    datagram[6..8].fill(0);
}

/// The checksum over `bytes` and a pseudo-header; never zero, which would mean that there is none (RFC 768).
fn whole_checksum(pseudo: u64, bytes: &[u8]) -> u16 {
    match !checksum::fold(pseudo + checksum::sum(bytes)) {
        0 => 0xffff,
        sum => sum,
    }
}
