//! Sockets that send and receive datagrams: UDP (`udp(7)`), ping (`icmp(7)`) and raw (`raw(7)`).
//!
//! A received datagram stays in the buffer it was copied to until it is read; the queue is bounded by the bytes of
//! `SO_RCVBUF`, and what does not fit is dropped and counted. A sent one counts against `SO_SNDBUF` until it has left
//! the machine, so that a fast sender waits for its device.

use super::buffer::PacketBuf;
use super::checksum;
use super::error::NetError;
use super::event::Readiness;
use super::icmp;
use super::interface::{Charge, IfIndex};
use super::ip::Path;
use super::ipv4::{HEADER_LEN, Ipv4Header, protocol};
use super::port::Binding;
use super::socket::{Shutdown, Socket, SocketId};
use super::stack::NetStack;
use crate::time::Instant;
use alloc::collections::VecDeque;
use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use netdrv::{Checksum, FrameMeta, Offloads};

/// Bytes of a UDP header.
pub const UDP_HEADER: usize = 8;
/// Default of `SO_RCVBUF` and `SO_SNDBUF` (`rmem_default`).
pub const DEFAULT_BUFFER: usize = 212_992;
/// Bookkeeping that each datagram counts for beside its bytes, as the kernel's own buffers do on Linux.
const OVERHEAD: usize = 512;

/// What a datagram socket speaks.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum DatagramProtocol {
    Udp,
    Ping,
    Raw(u8),
}

/// A UDP, ping or raw socket.
pub(super) struct DatagramSocket {
    pub(super) protocol: DatagramProtocol,
    /// The bound address; a ping socket's port is its echo identifier.
    pub(super) local: SocketAddrV4,
    /// The port table holds a claim for it.
    claimed: bool,
    /// Whether `bind` chose the address, or the route will.
    addr_bound: bool,
    /// Whether `bind` chose the port, or we did.
    port_bound: bool,
    pub(super) peer: Option<SocketAddrV4>,
    queue: VecDeque<Datagram>,
    queued: usize,
    /// Bytes sent that have not left.
    pub(super) sending: usize,
    read_shut: bool,
    write_shut: bool,
    /// Datagrams that did not fit the receive buffer.
    pub(super) drops: u64,
}

struct Datagram {
    from: SocketAddrV4,
    to: Ipv4Addr,
    interface: IfIndex,
    ttl: u8,
    tos: u8,
    arrived: Instant,
    buf: PacketBuf,
}

/// What a sender chooses for one packet, over its socket's options (ip(7), `IP_PKTINFO`, `IP_TTL`, `IP_TOS` as ancillary
/// data).
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct PacketChoices {
    /// From which of our addresses.
    pub source: Option<Ipv4Addr>,
    /// Out of which interface.
    pub interface: Option<IfIndex>,
    /// Time to live.
    pub ttl: Option<u8>,
    /// Type of service.
    pub tos: Option<u8>,
}

/// What is known of a received datagram beside its bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct DatagramInfo {
    /// Who sent it.
    pub from: SocketAddr,
    /// To which of our addresses (`IP_PKTINFO`).
    pub to: Ipv4Addr,
    /// Through which interface.
    pub interface: IfIndex,
    /// Time to live left (`IP_RECVTTL`).
    pub ttl: u8,
    /// Type of service (`IP_RECVTOS`).
    pub tos: u8,
    /// When it came (`SO_TIMESTAMP`).
    pub arrived: Instant,
    /// Its whole length in bytes, whatever was taken (`MSG_TRUNC`).
    pub len: usize,
}

impl DatagramSocket {
    pub(super) fn new(protocol: DatagramProtocol) -> DatagramSocket {
        DatagramSocket {
            protocol,
            local: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            claimed: false,
            addr_bound: false,
            port_bound: false,
            peer: None,
            queue: VecDeque::new(),
            queued: 0,
            sending: 0,
            read_shut: false,
            write_shut: false,
            drops: 0,
        }
    }

    /// Whether a datagram from `from` to our address `to` is for this socket; higher is a better match.
    fn score(&self, from: SocketAddrV4, to: Ipv4Addr) -> Option<u32> {
        let mut score = 1;
        if !self.local.ip().is_unspecified() {
            if *self.local.ip() != to {
                return None;
            }
            score += 1;
        }
        if let Some(peer) = self.peer {
            let same = if self.protocol == DatagramProtocol::Udp { peer == from } else { peer.ip() == from.ip() };
            if !same {
                return None;
            }
            score += 2;
        }
        Some(score)
    }

    pub(super) fn readiness(&self, socket: &Socket) -> Readiness {
        let mut ready = Readiness::empty();
        ready.set(Readiness::ERR, socket.error.is_some());
        ready.set(Readiness::IN, !self.queue.is_empty() || self.read_shut);
        ready.set(Readiness::RDHUP, self.read_shut);
        ready.set(Readiness::HUP, self.read_shut && self.write_shut);
        let limit = socket.options.send_buffer.unwrap_or(DEFAULT_BUFFER);
        ready.set(Readiness::OUT, self.sending < limit);
        ready
    }
}

impl NetStack {
    /// Binds a datagram socket.
    pub(super) fn datagram_bind(&mut self, id: SocketId, addr: SocketAddrV4) -> Result<(), NetError> {
        let socket = self.sockets.get(id).ok_or(NetError::BadSocket)?;
        let datagram = socket.datagram()?;
        let raw = matches!(datagram.protocol, DatagramProtocol::Raw(_));
        if datagram.claimed && !raw {
            return Err(NetError::Invalid);
        }
        let ip = *addr.ip();
        let group = ip.is_multicast() || self.ip.interfaces.iter().any(|i| i.is_broadcast(ip));
        if !ip.is_unspecified() && !group && !self.ip.is_own(ip) {
            return Err(NetError::AddrNotAvailable);
        }
        let port = if raw { 0 } else { self.claim(id, ip, addr.port())? };
        let datagram = self.datagram_mut(id)?;
        datagram.local = SocketAddrV4::new(ip, port);
        datagram.claimed = !raw;
        datagram.addr_bound = !ip.is_unspecified();
        datagram.port_bound = addr.port() != 0;
        Ok(())
    }

    fn claim(&mut self, id: SocketId, addr: Ipv4Addr, port: u16) -> Result<u16, NetError> {
        let socket = self.sockets.get(id).ok_or(NetError::BadSocket)?;
        let binding = Binding {
            socket: id,
            addr,
            reuse_addr: socket.options.reuse_addr,
            reuse_port: socket.options.reuse_port,
            family: socket.family,
            v6_only: socket.options.v6_only,
            listening: false,
            ephemeral: false,
        };
        let ports = match socket.datagram()?.protocol {
            DatagramProtocol::Udp => &mut self.udp_ports,
            DatagramProtocol::Ping => &mut self.ping_idents,
            DatagramProtocol::Raw(_) => return Ok(0),
        };
        ports.bind(port, binding, &mut self.ip.rng)
    }

    /// Gives an unbound socket a port before its first packet.
    fn autobind(&mut self, id: SocketId) -> Result<(), NetError> {
        let datagram = self.datagram(id)?;
        if datagram.claimed || matches!(datagram.protocol, DatagramProtocol::Raw(_)) {
            return Ok(());
        }
        let ip = *datagram.local.ip();
        let port = self.claim(id, ip, 0).map_err(|_| NetError::WouldBlock)?;
        let datagram = self.datagram_mut(id)?;
        datagram.local.set_port(port);
        datagram.claimed = true;
        Ok(())
    }

    /// Sets the peer of a datagram socket, or forgets it (`AF_UNSPEC`).
    pub(super) fn datagram_connect(&mut self, id: SocketId, peer: Option<SocketAddrV4>) -> Result<(), NetError> {
        let Some(mut peer) = peer else {
            let datagram = self.datagram_mut(id)?;
            datagram.peer = None;
            if !datagram.addr_bound {
                datagram.local.set_ip(Ipv4Addr::UNSPECIFIED);
            }
            if !datagram.port_bound {
                self.give_up_port(id)?;
            }
            return Ok(());
        };
        if peer.ip().is_unspecified() {
            peer.set_ip(self.sockets.get(id).ok_or(NetError::BadSocket)?.family.loopback());
        }
        let path = self.datagram_path(id, *peer.ip(), &PacketChoices::default())?;
        self.autobind(id)?;
        let datagram = self.datagram_mut(id)?;
        datagram.peer = Some(peer);
        if datagram.local.ip().is_unspecified() {
            datagram.local.set_ip(path.source);
        }
        Ok(())
    }

    /// Frees the port, or the echo identifier, of a socket.
    fn give_up_port(&mut self, id: SocketId) -> Result<(), NetError> {
        let datagram = self.datagram_mut(id)?;
        let (port, protocol) = (datagram.local.port(), datagram.protocol);
        datagram.local.set_port(0);
        datagram.claimed = false;
        match protocol {
            DatagramProtocol::Udp => self.udp_ports.unbind(port, id),
            DatagramProtocol::Ping => self.ping_idents.unbind(port, id),
            DatagramProtocol::Raw(_) => {}
        }
        Ok(())
    }

    fn datagram_path(&self, id: SocketId, dst: Ipv4Addr, choices: &PacketChoices) -> Result<Path, NetError> {
        let socket = self.sockets.get(id).ok_or(NetError::BadSocket)?;
        let via = match dst.is_multicast() {
            true => socket.options.multicast_interface.or(socket.options.bound_device),
            false => socket.options.bound_device,
        };
        if choices.source.is_some_and(|s| !self.ip.is_own(s)) {
            return Err(NetError::NetUnreachable);
        }
        let local = *socket.datagram()?.local.ip();
        // Who is bound to a group or a broadcast address speaks from one of its own.
        let bound = Some(local).filter(|l| self.ip.is_own(*l));
        let path = self.ip.path(dst, choices.source.or(bound), choices.interface.or(via))?;
        if path.is_group() && !dst.is_multicast() && !socket.options.broadcast {
            return Err(NetError::AccessDenied);
        }
        Ok(path)
    }

    /// Sends a datagram of `len` bytes (`sendto(2)`); `fill` writes them and returns how many it wrote. Without
    /// `dst`, to the connected peer.
    ///
    /// # Errors
    /// `DestinationRequired`, `MessageTooLong`, `WouldBlock` when the send buffer is full, `Fault` when `fill` came
    /// short, a pending error, and those of routing.
    pub fn send_to(
        &mut self,
        id: SocketId,
        dst: Option<SocketAddr>,
        len: usize,
        now: Instant,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> Result<usize, NetError> {
        self.send_chosen(id, dst, &PacketChoices::default(), len, now, fill)
    }

    /// As [`NetStack::send_to`], with choices of the sender's for this one packet.
    ///
    /// # Errors
    /// Also `NetUnreachable` for a source address that is not ours.
    pub fn send_chosen(
        &mut self,
        id: SocketId,
        dst: Option<SocketAddr>,
        choices: &PacketChoices,
        len: usize,
        now: Instant,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> Result<usize, NetError> {
        self.check_error(id)?;
        let socket = self.sockets.get(id).ok_or(NetError::BadSocket)?;
        let datagram = socket.datagram()?;
        if datagram.write_shut {
            return Err(NetError::BrokenPipe);
        }
        let dst = match dst {
            Some(addr) => socket.peer_address(addr)?,
            None => datagram.peer.ok_or(NetError::DestinationRequired)?,
        };
        let dst = match dst.ip().is_unspecified() {
            true => SocketAddrV4::new(socket.family.loopback(), dst.port()),
            false => dst,
        };
        let protocol = datagram.protocol;
        let udp = protocol == DatagramProtocol::Udp;
        if udp && dst.port() == 0 {
            return Err(NetError::Invalid);
        }
        let whole = matches!(protocol, DatagramProtocol::Raw(_)) && socket.options.header_included;
        let headers = if whole { 0 } else { HEADER_LEN } + if udp { UDP_HEADER } else { 0 };
        if len > 65535 - headers || (protocol == DatagramProtocol::Ping && len < icmp::ICMP_HEADER) {
            return Err(if len > 65535 - headers { NetError::MessageTooLong } else { NetError::Invalid });
        }
        if datagram.sending >= socket.options.send_buffer.unwrap_or(DEFAULT_BUFFER) {
            return Err(NetError::WouldBlock);
        }
        let path = self.datagram_path(id, *dst.ip(), choices)?;
        if whole && len > path.mtu {
            return Err(NetError::MessageTooLong);
        }
        self.autobind(id)?;
        let mut buf = self.ip.pool.get(headers + len);
        if fill(&mut buf.bytes_mut()[headers..]) < len {
            self.ip.pool.put(buf);
            return Err(NetError::Fault);
        }
        let written = match whole {
            true => self.complete_header(&path, *dst.ip(), buf.bytes_mut()).map(|()| FrameMeta::default()),
            false => self.write_headers(id, &path, dst, choices, buf.bytes_mut()),
        };
        let meta = match written {
            Ok(meta) => meta,
            Err(error) => {
                self.ip.pool.put(buf);
                return Err(error);
            }
        };
        let charge = Charge { socket: id, bytes: len + OVERHEAD };
        self.datagram_mut(id)?.sending += charge.bytes;
        self.ip.stats.udp_out_datagrams += u64::from(udp);
        let outcome = self.ip.send_datagram(&path, buf, meta, Some(charge), now);
        self.settle_charges();
        outcome.map(|()| len)
    }

    /// Writes the headers of a datagram whose payload is in place; returns its offload state.
    fn write_headers(
        &mut self,
        id: SocketId,
        path: &Path,
        dst: SocketAddrV4,
        choices: &PacketChoices,
        packet: &mut [u8],
    ) -> Result<FrameMeta, NetError> {
        let socket = self.sockets.get(id).ok_or(NetError::BadSocket)?;
        let (datagram, options) = (socket.datagram()?, &socket.options);
        let (local, source) = (datagram.local, path.source);
        let number = match datagram.protocol {
            DatagramProtocol::Udp => protocol::UDP,
            DatagramProtocol::Ping => protocol::ICMP,
            DatagramProtocol::Raw(number) => number,
        };
        let mut ip = Ipv4Header::new(source, *dst.ip(), number, packet.len() - HEADER_LEN);
        let ttl = if dst.ip().is_multicast() { options.multicast_ttl } else { options.ttl };
        ip.ttl = choices.ttl.unwrap_or(ttl);
        ip.tos = choices.tos.unwrap_or(options.tos);
        ip.dont_fragment = options.dont_fragment;
        let kind = datagram.protocol;
        if !ip.dont_fragment {
            ip.ident = self.ip.next_ident(source, *dst.ip());
        }
        ip.write(packet);
        let fits = packet.len() <= path.mtu;
        let payload = &mut packet[HEADER_LEN..];
        match kind {
            DatagramProtocol::Udp => {
                let partial = fits && path.offloads.contains(Offloads::TX_CSUM);
                write_udp(payload, local.port(), dst.port(), &ip, partial);
                if partial {
                    let checksum = Checksum::Partial { start: HEADER_LEN as u16, offset: 6 };
                    return Ok(FrameMeta { checksum, gso: None });
                }
            }
            DatagramProtocol::Ping => {
                // Only echo requests, under our own identifier (icmp(7)).
                if payload[0] != icmp::kind::ECHO || payload[1] != 0 {
                    return Err(NetError::Invalid);
                }
                payload[4..6].copy_from_slice(&local.port().to_be_bytes());
                icmp::fill_checksum(payload);
            }
            DatagramProtocol::Raw(_) => {}
        }
        Ok(FrameMeta::default())
    }

    /// Fills in what a program that writes IP headers itself leaves to us: length, checksum, and where they are zero the
    /// source and the identification (`IP_HDRINCL`, raw(7)). The packet goes to `dst`, whatever the header says.
    fn complete_header(&mut self, path: &Path, dst: Ipv4Addr, packet: &mut [u8]) -> Result<(), NetError> {
        let len = packet.len();
        let h = packet.first_chunk_mut::<HEADER_LEN>().ok_or(NetError::Invalid)?;
        let header_len = usize::from(h[0] & 0x0f) * 4;
        if header_len < HEADER_LEN || header_len > len {
            return Err(NetError::Invalid);
        }
        h[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        if h[12..16] == [0; 4] {
            h[12..16].copy_from_slice(&path.source.octets());
        }
        if h[4..6] == [0; 2] {
            let ident = self.ip.next_ident(path.source, dst);
            h[4..6].copy_from_slice(&ident.to_be_bytes());
        }
        h[10..12].fill(0);
        let sum = checksum::of(&packet[..header_len]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        Ok(())
    }

    /// Takes the next datagram (`recvfrom(2)`): `take` is called with its bytes; with `peek` it stays.
    ///
    /// # Errors
    /// `WouldBlock` when none waits, and a pending error.
    pub fn receive_from(
        &mut self,
        id: SocketId,
        peek: bool,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<DatagramInfo, NetError> {
        self.check_error(id)?;
        let socket = self.sockets.get_mut(id).ok_or(NetError::BadSocket)?;
        let family = socket.family;
        let datagram = socket.datagram_mut()?;
        let Some(first) = datagram.queue.front() else {
            // After shutdown(SHUT_RD), as on Linux: the end, which the caller shows as 0 bytes.
            return Err(if datagram.read_shut { NetError::EndOfData } else { NetError::WouldBlock });
        };
        take(first.buf.bytes());
        let info = DatagramInfo {
            from: family.show(first.from),
            to: first.to,
            interface: first.interface,
            ttl: first.ttl,
            tos: first.tos,
            arrived: first.arrived,
            len: first.buf.len(),
        };
        if !peek && let Some(taken) = datagram.queue.pop_front() {
            datagram.queued -= taken.buf.len() + OVERHEAD;
            self.ip.pool.put(taken.buf);
        }
        Ok(info)
    }

    /// Length of the datagram that `receive_from` would return (`FIONREAD`).
    ///
    /// # Errors
    /// `BadSocket`, `NotSupported`.
    pub fn next_datagram_len(&self, id: SocketId) -> Result<Option<usize>, NetError> {
        Ok(self.datagram(id)?.queue.front().map(|d| d.buf.len()))
    }

    pub(super) fn datagram_shutdown(&mut self, id: SocketId, how: Shutdown) -> Result<(), NetError> {
        let datagram = self.datagram_mut(id)?;
        let connected = datagram.peer.is_some();
        datagram.read_shut |= how.read();
        datagram.write_shut |= how.write();
        self.note(id);
        if connected { Ok(()) } else { Err(NetError::NotConnected) }
    }

    pub(super) fn datagram_close(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.remove(id) else { return };
        self.raw_sockets.retain(|raw| *raw != id);
        if let super::socket::Inner::Datagram(datagram) = socket.inner {
            let port = datagram.local.port();
            match datagram.protocol {
                DatagramProtocol::Udp => self.udp_ports.unbind(port, id),
                DatagramProtocol::Ping => self.ping_idents.unbind(port, id),
                DatagramProtocol::Raw(_) => {}
            }
            for waiting in datagram.queue {
                self.ip.pool.put(waiting.buf);
            }
        }
    }

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
        let len = usize::from(u16::from_be_bytes([h[4], h[5]]));
        let has_checksum = h[6..8] != [0, 0];
        let valid = |datagram: &[u8]| {
            let pseudo = checksum::pseudo_header(ip.src, ip.dst, protocol::UDP, datagram.len());
            checksum::fold(pseudo + checksum::sum(datagram)) == 0xffff
        };
        if len < UDP_HEADER || len > bytes.len() || (has_checksum && !trusted && !valid(&bytes[..len])) {
            self.ip.stats.udp_in_errors += 1;
            return;
        }
        let from = SocketAddrV4::new(ip.src, u16::from_be_bytes([h[0], h[1]]));
        let port = u16::from_be_bytes([h[2], h[3]]);
        let group = !self.ip.is_own(ip.dst);
        let payload = &bytes[UDP_HEADER..len];
        let mut delivered = 0;
        if group {
            for socket in self.matching(port, from, ip.dst, interface) {
                self.deliver(socket, from, ip, interface, payload);
                delivered += 1;
            }
        } else if let Some(socket) = self.best_match(port, from, ip.dst, interface) {
            self.deliver(socket, from, ip, interface, payload);
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

    fn candidates(
        &self,
        port: u16,
        from: SocketAddrV4,
        to: Ipv4Addr,
        interface: IfIndex,
    ) -> impl Iterator<Item = (SocketId, u32)> + '_ {
        self.udp_ports.bindings(port).iter().filter(move |b| b.hears(to)).filter_map(move |b| {
            let socket = self.sockets.get(b.socket)?;
            let device = socket.options.bound_device.is_none_or(|d| d == interface);
            let score = socket.datagram().ok()?.score(from, to).filter(|_| device)?;
            Some((b.socket, score))
        })
    }

    fn matching(&self, port: u16, from: SocketAddrV4, to: Ipv4Addr, interface: IfIndex) -> alloc::vec::Vec<SocketId> {
        self.candidates(port, from, to, interface).map(|(id, _)| id).collect()
    }

    /// The socket that a datagram is for; equals share by hash (`SO_REUSEPORT`).
    fn best_match(&self, port: u16, from: SocketAddrV4, to: Ipv4Addr, interface: IfIndex) -> Option<SocketId> {
        let best = self.candidates(port, from, to, interface).map(|(_, score)| score).max()?;
        let mut equals = self.candidates(port, from, to, interface).filter(|(_, score)| *score == best);
        let count = self.udp_ports.bindings(port).len();
        if count == 1 {
            return equals.next().map(|(id, _)| id);
        }
        let count = self.candidates(port, from, to, interface).filter(|(_, score)| *score == best).count();
        let spread = from.ip().to_bits().wrapping_mul(0x9e37_79b9).wrapping_add(u32::from(from.port()));
        equals.nth(spread as usize % count.max(1)).map(|(id, _)| id)
    }

    /// Puts a datagram into a socket's queue, if it fits.
    fn deliver(&mut self, id: SocketId, from: SocketAddrV4, ip: &Ipv4Header, interface: IfIndex, bytes: &[u8]) {
        let Some(socket) = self.sockets.get_mut(id) else { return };
        let limit = socket.options.receive_buffer.map_or(DEFAULT_BUFFER, |b| b.saturating_mul(2));
        let Ok(datagram) = socket.datagram_mut() else { return };
        let udp = datagram.protocol == DatagramProtocol::Udp;
        // One always fits an empty queue, however small the buffer.
        if datagram.read_shut || (datagram.queued + bytes.len() + OVERHEAD > limit && !datagram.queue.is_empty()) {
            datagram.drops += 1;
            self.ip.stats.udp_rcvbuf_errors += u64::from(udp);
            return;
        }
        datagram.queued += bytes.len() + OVERHEAD;
        let (buf, arrived) = (self.ip.pool.copy(bytes), self.now);
        datagram.queue.push_back(Datagram { from, to: ip.dst, interface, ttl: ip.ttl, tos: ip.tos, arrived, buf });
        self.ip.stats.udp_in_datagrams += u64::from(udp);
        self.note(id);
    }

    /// Hands an echo reply to the ping socket with its identifier.
    pub(super) fn ping_input(&mut self, ip: &Ipv4Header, message: &[u8], interface: IfIndex) {
        let Some(h) = message.first_chunk::<{ icmp::ICMP_HEADER }>() else { return };
        let ident = u16::from_be_bytes([h[4], h[5]]);
        let from = SocketAddrV4::new(ip.src, 0);
        let owner = self.ping_idents.bindings(ident).iter().map(|b| b.socket).find(|id| {
            let datagram = self.sockets.get(*id).and_then(|s| s.datagram().ok());
            datagram.is_some_and(|d| d.score(from, ip.dst).is_some())
        });
        if let Some(id) = owner {
            self.deliver(id, from, ip, interface, message);
        }
    }

    /// Copies a packet to every raw socket of its protocol; returns whether there was one.
    pub(super) fn raw_input(&mut self, ip: &Ipv4Header, packet: &[u8], interface: IfIndex) -> bool {
        if self.raw_sockets.is_empty() {
            return false;
        }
        let from = SocketAddrV4::new(ip.src, 0);
        let message_type = packet.get(ip.header_len).copied().unwrap_or(0);
        let mut found = false;
        for i in 0..self.raw_sockets.len() {
            let id = self.raw_sockets[i];
            let Some(socket) = self.sockets.get(id) else { continue };
            let Ok(datagram) = socket.datagram() else { continue };
            let filtered = ip.protocol == protocol::ICMP
                && message_type < 32
                && socket.options.icmp_filter >> message_type & 1 == 1;
            let wanted = datagram.protocol == DatagramProtocol::Raw(ip.protocol)
                && datagram.score(from, ip.dst).is_some()
                && socket.options.bound_device.is_none_or(|d| d == interface);
            found |= wanted;
            if wanted && !filtered {
                self.deliver(id, from, ip, interface, &packet[..ip.total_len]);
            }
        }
        found
    }

    /// An ICMP message about a UDP datagram of ours: a connected socket reports it (RFC 1122, section 4.1.3.3).
    pub(super) fn udp_error(&mut self, local: SocketAddrV4, remote: SocketAddrV4, error: NetError) {
        let ours = |id: &SocketId| {
            let datagram = self.sockets.get(*id).and_then(|s| s.datagram().ok());
            datagram.is_some_and(|d| d.peer == Some(remote) && (*d.local.ip() == *local.ip()))
        };
        let socket = self.udp_ports.bindings(local.port()).iter().map(|b| b.socket).find(ours);
        if let Some(id) = socket {
            self.report_error(id, Some(error));
            self.note(id);
        }
    }

    /// An ICMP message about an echo request of ours.
    pub(super) fn ping_error(&mut self, ident: u16, remote: Ipv4Addr, error: NetError) {
        let ours = |id: &SocketId| {
            let datagram = self.sockets.get(*id).and_then(|s| s.datagram().ok());
            datagram.and_then(|d| d.peer).is_some_and(|p| *p.ip() == remote)
        };
        let socket = self.ping_idents.bindings(ident).iter().map(|b| b.socket).find(ours);
        if let Some(id) = socket {
            self.report_error(id, Some(error));
            self.note(id);
        }
    }

    /// Sent bytes have left: their sockets may send again.
    pub(super) fn settle_charges(&mut self) {
        while let Some(charge) = self.ip.released.pop() {
            let Some(socket) = self.sockets.get_mut(charge.socket) else { continue };
            let limit = socket.options.send_buffer.unwrap_or(DEFAULT_BUFFER);
            let Ok(datagram) = socket.datagram_mut() else { continue };
            let was_full = datagram.sending >= limit;
            datagram.sending = datagram.sending.saturating_sub(charge.bytes);
            if was_full && datagram.sending < limit {
                self.note(charge.socket);
            }
        }
    }

    fn datagram(&self, id: SocketId) -> Result<&DatagramSocket, NetError> {
        self.sockets.get(id).ok_or(NetError::BadSocket)?.datagram()
    }

    fn datagram_mut(&mut self, id: SocketId) -> Result<&mut DatagramSocket, NetError> {
        self.sockets.get_mut(id).ok_or(NetError::BadSocket)?.datagram_mut()
    }
}

/// Writes a UDP header in front of a payload that is in place.
fn write_udp(datagram: &mut [u8], src: u16, dst: u16, ip: &Ipv4Header, partial: bool) {
    let len = datagram.len();
    datagram[0..2].copy_from_slice(&src.to_be_bytes());
    datagram[2..4].copy_from_slice(&dst.to_be_bytes());
    datagram[4..6].copy_from_slice(&(len as u16).to_be_bytes());
    datagram[6..8].fill(0);
    let pseudo = checksum::pseudo_header(ip.src, ip.dst, protocol::UDP, len);
    let sum = if partial {
        checksum::fold(pseudo)
    } else {
        // Zero would mean "no checksum" (RFC 768).
        match !checksum::fold(pseudo + checksum::sum(datagram)) {
            0 => 0xffff,
            sum => sum,
        }
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
}
