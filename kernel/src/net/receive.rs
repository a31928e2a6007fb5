//! Packets in: link, IP, ICMP; the transports take over from here.

use super::datagram_ports::DatagramProtocol;
use super::icmp::{self, IcmpError};
use super::interface::{IfIndex, LinkKind, QueuedFrame};
use super::ipv4::{HEADER_LEN, Ipv4Header, protocol};
use super::link::{ETHERNET_HEADER, ETHERTYPE_ARP, ETHERTYPE_IPV4, EthernetHeader};
use super::stack::NetStack;
use super::tcp::engine::TcpState;
use crate::net::addr::{FourTuple, LOOPBACK6, stays_inside};
use crate::net::checksum;
use crate::time::Instant;
use core::net::SocketAddrV4;
use netdrv::{Checksum, FrameMeta};

/// Whom a packet is for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Audience {
    /// One of our addresses.
    Us,
    /// Everyone on the link, or a group.
    Group,
}

impl NetStack {
    /// Takes a frame from a device. The bytes begin with the ethernet header; coalesced frames and partial checksums
    /// are welcome (`meta` says which).
    pub fn handle_frame(&mut self, index: IfIndex, meta: FrameMeta, frame: &mut [u8], now: Instant) {
        self.now = now;
        let Ok(interface) = self.ip.interface_mut(index) else { return };
        if !interface.up || interface.kind != LinkKind::Ethernet {
            interface.stats.rx_dropped += 1;
            return;
        }
        interface.stats.rx_packets += 1;
        interface.stats.rx_bytes += frame.len() as u64;
        let Some(eth) = EthernetHeader::parse(frame) else {
            interface.stats.rx_errors += 1;
            return;
        };
        if eth.dst.is_group() {
            interface.stats.multicast += 1;
        } else if eth.dst != interface.mac {
            interface.stats.rx_dropped += 1;
            return;
        }
        let payload = &frame[ETHERNET_HEADER..];
        match eth.ethertype {
            ETHERTYPE_IPV4 => {
                let trusted = meta.checksum != Checksum::Unknown;
                self.ip_input(index, payload, trusted, eth.dst.is_group(), now);
            }
            ETHERTYPE_ARP => self.ip.arp_input(index, &eth, payload, now),
            _ => interface.stats.rx_dropped += 1,
        }
    }

    /// Feeds packets to ourselves back in, at most `budget`; returns how many there were.
    pub(super) fn run_loopback(&mut self, budget: usize, now: Instant) -> usize {
        for done in 0..budget {
            let Some(frame) = self.ip.loopback.pop_front() else { return done };
            let len = frame.buf.len() as u64;
            if let Ok(lo) = self.ip.interface_mut(IfIndex::LO) {
                lo.stats.tx_packets += 1;
                lo.stats.tx_bytes += len;
                lo.stats.rx_packets += 1;
                lo.stats.rx_bytes += len;
            }
            self.ip_input(IfIndex::LO, frame.buf.bytes(), true, false, now);
            self.ip.discard(QueuedFrame { charge: frame.charge, ..frame });
        }
        budget
    }

    fn ip_input(&mut self, index: IfIndex, packet: &[u8], trusted: bool, link_group: bool, now: Instant) {
        self.ip.stats.ip_in_receives += 1;
        let Ok(header) = Ipv4Header::parse(packet) else {
            self.ip.stats.ip_in_hdr_errors += 1;
            return;
        };
        let Some(audience) = self.audience(index, &header, link_group) else {
            self.ip.stats.ip_in_addr_errors += 1;
            return;
        };
        if !header.is_fragment() {
            return self.deliver_packet(index, audience, &header, &packet[..header.total_len], trusted, now);
        }
        self.ip.stats.ip_reasm_reqds += 1;
        let ip = &mut self.ip;
        match ip.reassembly.insert(&header, &packet[..header.total_len], &mut ip.pool, now) {
            Ok(None) => {}
            Err(_) => ip.stats.ip_reasm_fails += 1,
            Ok(Some(whole)) => {
                ip.stats.ip_reasm_oks += 1;
                if let Ok(header) = Ipv4Header::parse(whole.bytes()) {
                    self.deliver_packet(index, audience, &header, whole.bytes(), false, now);
                }
                self.ip.pool.put(whole);
            }
        }
    }

    /// Whom a packet is for, if its addresses make sense and mean us (RFC 1122, sections 3.2.1.3 and 3.3.6).
    fn audience(&self, index: IfIndex, header: &Ipv4Header, link_group: bool) -> Option<Audience> {
        let (src, dst) = (header.src, header.dst);
        let interface = self.ip.interface(index)?;
        let on_loopback = interface.kind == LinkKind::Loopback;
        if src.is_multicast() || src.is_broadcast() || interface.is_broadcast(src) {
            return None;
        }
        if !on_loopback && (stays_inside(src) || stays_inside(dst)) {
            return None;
        }
        // From one of us, but off the wire: forged, so that we answer ourselves.
        if !on_loopback && self.ip.is_own(src) {
            return None;
        }
        // A copy of our own packet to a group comes through loopback with an address of another link.
        let all = self.ip.interfaces.iter();
        if dst.is_multicast() {
            let joined = interface.has_group(dst) || (on_loopback && all.clone().any(|i| i.has_group(dst)));
            return joined.then_some(Audience::Group);
        }
        if interface.is_broadcast(dst) || (on_loopback && all.clone().any(|i| i.is_broadcast(dst))) {
            return Some(Audience::Group);
        }
        // To one of us, but in a link-layer broadcast: somebody is confused (RFC 1122, section 3.3.6).
        (!link_group && self.ip.is_own(dst)).then_some(Audience::Us)
    }

    fn deliver_packet(
        &mut self,
        index: IfIndex,
        audience: Audience,
        header: &Ipv4Header,
        packet: &[u8],
        trusted: bool,
        now: Instant,
    ) {
        self.ip.stats.ip_in_delivers += 1;
        // Raw sockets are of IPv4 only.
        let raw = header.dst != LOOPBACK6 && self.raw_input(header, packet, index);
        match header.protocol {
            protocol::TCP if audience == Audience::Us && !header.src.is_unspecified() => {
                self.tcp_input(header, packet, index, trusted, now);
            }
            protocol::TCP => {}
            protocol::UDP | protocol::UDP_LITE => self.udp_input(header, packet, index, trusted, now),
            protocol::ICMP => self.icmp_input(header, packet, index, now),
            protocol::IGMP => self.ip.igmp_input(index, &packet[header.header_len..], now),
            _ if raw => {}
            _ => {
                self.ip.stats.ip_in_unknown_protos += 1;
                let code = icmp::unreachable::PROTOCOL;
                self.ip.report(icmp::kind::UNREACHABLE, code, 0, packet, now);
            }
        }
    }

    fn icmp_input(&mut self, header: &Ipv4Header, packet: &[u8], index: IfIndex, now: Instant) {
        self.ip.stats.icmp_in_msgs += 1;
        let message = &packet[header.header_len..];
        if message.len() < icmp::ICMP_HEADER || checksum::of(message) != 0 {
            self.ip.stats.icmp_in_errors += 1;
            return;
        }
        match message[0] {
            icmp::kind::ECHO => self.echo(header, message, now),
            icmp::kind::ECHO_REPLY => self.ping_input(header, message, index),
            _ => {
                if let Some(error) = IcmpError::parse(message) {
                    self.icmp_error(&error, now);
                }
            }
        }
    }

    /// Answers an echo request; one to everyone is not answered (`icmp_echo_ignore_broadcasts`).
    fn echo(&mut self, header: &Ipv4Header, message: &[u8], now: Instant) {
        if !self.ip.is_own(header.dst) || header.src.is_unspecified() {
            return;
        }
        let Ok(path) = self.ip.path(header.src, Some(header.dst), None) else { return };
        if path.is_group() {
            return;
        }
        let mut reply = Ipv4Header::new(header.dst, header.src, protocol::ICMP, message.len());
        reply.tos = header.tos;
        reply.ident = self.ip.next_ident(header.dst, header.src);
        let mut buf = self.ip.pool.get(HEADER_LEN + message.len());
        reply.write(buf.bytes_mut());
        let body = &mut buf.bytes_mut()[HEADER_LEN..];
        body.copy_from_slice(message);
        body[0] = icmp::kind::ECHO_REPLY;
        icmp::fill_checksum(body);
        self.ip.stats.icmp_out_msgs += 1;
        // A reply is never larger than the request was, and fragments are allowed.
        let _too_long = self.ip.send_datagram(&path, buf, FrameMeta::default(), None, now);
    }

    /// Passes an error about one of our packets to the transport that sent it.
    fn icmp_error(&mut self, message: &IcmpError<'_>, now: Instant) {
        let Some(error) = message.error() else { return };
        if !self.ip.is_own(message.about.src) {
            return;
        }
        let port = |at: usize| u16::from_be_bytes([message.payload[at], message.payload[at + 1]]);
        let local = SocketAddrV4::new(message.about.src, port(0));
        let remote = SocketAddrV4::new(message.about.dst, port(2));
        match message.about.protocol {
            protocol::TCP => {
                let seq = u32::from(port(4)) << 16 | u32::from(port(6));
                self.tcp_error(FourTuple { local, remote }, seq, error, message.mtu, now);
            }
            protocol::UDP if message.is_hard() => self.udp_error(DatagramProtocol::Udp, local, remote, error),
            protocol::UDP_LITE if message.is_hard() => {
                self.udp_error(DatagramProtocol::UdpLite, local, remote, error);
            }
            protocol::ICMP if message.is_hard() && message.payload[0] == icmp::kind::ECHO => {
                self.ping_error(port(4), message.about.dst, error);
            }
            _ => {}
        }
    }

    /// Every TCP connection, for `/proc/net/tcp`: our end, the peer's, the state.
    pub fn tcp_connections(&self) -> impl Iterator<Item = (FourTuple, TcpState)> + '_ {
        self.tcp.tuples()
    }
}
