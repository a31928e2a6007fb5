//! The IP layer: where a packet goes, through which link, and everything the transports share below them.
//!
//! Output: a transport asks for a [`Path`] (route, source address, MTU, offloads), writes a packet into a pooled
//! buffer, and hands both to [`IpLayer::send`], which finds the neighbour, puts the link header into the headroom and
//! gives the frame to the device or to the interface's queue. Loopback packets go to a queue that the poll loop feeds
//! back to input. Nothing here knows sockets: errors about packets travel as ICMP messages, our own too.

use super::addr::{LOOPBACK6, Prefix, stays_inside};
use super::buffer::{BufferPool, MAX_PACKET, PacketBuf};
use super::error::NetError;
use super::fragment::{Expired, Reassembly};
use super::icmp;
use super::interface::{Charge, IfIndex, Interface, InterfaceAddr, LinkInfo, LinkKind, QueuedFrame};
use super::ipv4::{self, HEADER_LEN, Ipv4Header};
use super::link::{
    ArpOperation, ArpPacket, ETHERNET_HEADER, ETHERTYPE_ARP, ETHERTYPE_IPV4, EthernetHeader, multicast_mac,
};
use super::neighbor::{NeighborState, NeighborTable, Resolution, Solicit};
use super::random::{Rng, Secret};
use super::route::{Route, RouteKind, RouteProtocol, RouteTable};
use super::stats::SnmpStats;
use super::tcp::FlowId;
use super::timer::sooner;
use crate::time::Instant;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;
use netdrv::{Checksum, FrameMeta, MacAddr, Offloads, TxFrame};

/// Where frames leave the stack; implemented by whoever holds the devices.
pub trait FrameOut {
    /// Offers a frame to the device of `interface`; the bytes are valid for the call only. Returns whether the
    /// device took it: if not, the stack keeps it and offers it again at the next poll.
    fn transmit(&mut self, interface: IfIndex, frame: TxFrame<'_>) -> bool;
}

/// The next hop of a packet.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum NextHop {
    /// Ourselves.
    Local,
    /// A host or router on the link.
    Neighbor(Ipv4Addr),
    /// A group address on the link.
    Group(MacAddr),
}

/// How packets reach a destination.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Path {
    /// Out of which interface.
    pub interface: IfIndex,
    /// To whom on the link.
    pub next_hop: NextHop,
    /// From which address, where the sender has no say of its own.
    pub source: Ipv4Addr,
    /// Largest packet in bytes.
    pub mtu: usize,
    /// What the device does by itself.
    pub offloads: Offloads,
    /// Whether packets to a group come back to us as well: everyone on the link, or a group that somebody here joined.
    pub echo: bool,
    /// Valid while [`IpLayer::generation`] is this.
    pub generation: u64,
}

impl Path {
    /// Whether packets stay in this machine.
    pub fn is_local(&self) -> bool {
        self.next_hop == NextHop::Local
    }

    /// Whether packets go to more than one host.
    pub fn is_group(&self) -> bool {
        matches!(self.next_hop, NextHop::Group(_))
    }
}

/// Error messages sent in one second at most (`icmp_msgs_per_sec`).
const ICMP_PER_SECOND: u32 = 1000;
/// Counters that packet identifications are drawn from (RFC 7739, section 5.3).
const IDENT_BUCKETS: usize = 256;

/// Interfaces, routes, neighbours, fragments and packet buffers.
pub struct IpLayer {
    pub(super) interfaces: Vec<Interface>,
    pub(super) routes: RouteTable,
    pub(super) neighbors: NeighborTable,
    pub(super) pool: BufferPool,
    pub(super) reassembly: Reassembly,
    /// Packets to ourselves, IP header first.
    pub(super) loopback: VecDeque<QueuedFrame>,
    pub(super) stats: SnmpStats,
    pub(super) rng: Rng,
    /// Grows whenever a [`Path`] may have become wrong.
    pub(super) generation: u64,
    /// Send-buffer bytes of packets that have left since the stack last looked.
    pub(super) released: Vec<Charge>,
    /// Flows whose device has room again.
    pub(super) unblocked: Vec<FlowId>,
    ident_secret: Secret,
    idents: [u16; IDENT_BUCKETS],
    icmp_window: (Instant, u32),
    /// When a report about a group is due, or a little before.
    pub(super) next_report: Option<Instant>,
}

impl IpLayer {
    pub(super) fn new(mut rng: Rng) -> IpLayer {
        let ident_secret = rng.secret();
        let mut idents = [0; IDENT_BUCKETS];
        idents.fill_with(|| rng.next_u64() as u16);
        IpLayer {
            interfaces: Vec::new(),
            routes: RouteTable::default(),
            neighbors: NeighborTable::default(),
            pool: BufferPool::default(),
            reassembly: Reassembly::default(),
            loopback: VecDeque::new(),
            stats: SnmpStats::default(),
            rng,
            generation: 0,
            released: Vec::new(),
            unblocked: Vec::new(),
            ident_secret,
            idents,
            icmp_window: (Instant(0), 0),
            next_report: None,
        }
    }

    pub(super) fn add_interface(&mut self, name: &str, link: &LinkInfo) -> IfIndex {
        let index = IfIndex(self.interfaces.len() as u32 + 1);
        self.interfaces.push(Interface::new(index, name, link));
        index
    }

    /// An interface by number.
    pub fn interface(&self, index: IfIndex) -> Option<&Interface> {
        self.interfaces.get((index.0 as usize).checked_sub(1)?)
    }

    pub(super) fn interface_mut(&mut self, index: IfIndex) -> Result<&mut Interface, NetError> {
        let slot = (index.0 as usize).checked_sub(1).ok_or(NetError::NoDevice)?;
        self.interfaces.get_mut(slot).ok_or(NetError::NoDevice)
    }

    /// Brings an interface up or down: its connected routes come, or all its routes go (`netdevice(7)`).
    pub(super) fn set_up(&mut self, index: IfIndex, up: bool) -> Result<(), NetError> {
        let interface = self.interface_mut(index)?;
        if interface.up == up {
            return Ok(());
        }
        interface.up = up;
        if up {
            for prefix in interface.addresses.iter().map(|a| (a.prefix, a.addr)).collect::<Vec<_>>() {
                self.add_connected(index, prefix.0, prefix.1);
            }
        } else {
            let dropped: Vec<QueuedFrame> = interface.txq.drain(..).collect();
            let waiting: Vec<FlowId> = interface.waiting.drain(..).collect();
            self.unblocked.extend(waiting);
            self.routes.flush(|r| r.interface == index);
            let queued = self.neighbors.flush(|i, _| i == index);
            for frame in dropped.into_iter().chain(queued) {
                self.discard(frame);
            }
        }
        self.generation += 1;
        Ok(())
    }

    /// Gives an interface an address.
    ///
    /// # Errors
    /// `Exists` when it has that address, `Invalid` when it is no host's.
    pub(super) fn add_address(
        &mut self,
        index: IfIndex,
        addr: Ipv4Addr,
        prefix_len: u8,
        broadcast: Option<Ipv4Addr>,
        label: Option<&str>,
    ) -> Result<(), NetError> {
        let prefix = Prefix::new(addr, prefix_len).ok_or(NetError::Invalid)?;
        if addr.is_unspecified() || addr.is_multicast() || addr.is_broadcast() || addr == LOOPBACK6 {
            return Err(NetError::Invalid);
        }
        let interface = self.interface_mut(index)?;
        if interface.addresses.iter().any(|a| a.addr == addr && a.prefix == prefix) {
            return Err(NetError::Exists);
        }
        let has_broadcast = prefix_len < 31 && interface.kind == LinkKind::Ethernet;
        let broadcast = broadcast.or(has_broadcast.then(|| prefix.broadcast()));
        let label: String = label.unwrap_or(&interface.name).into();
        interface.addresses.push(InterfaceAddr { addr, prefix, broadcast, label });
        if interface.up {
            self.add_connected(index, prefix, addr);
        }
        self.generation += 1;
        Ok(())
    }

    /// Takes an address away, and the routes that follow from it.
    ///
    /// # Errors
    /// `AddrNotAvailable` when the interface has no such address.
    pub(super) fn remove_address(&mut self, index: IfIndex, addr: Ipv4Addr, prefix_len: u8) -> Result<(), NetError> {
        let interface = self.interface_mut(index)?;
        let at = interface.addresses.iter().position(|a| a.addr == addr && a.prefix.bits() == prefix_len);
        let gone = interface.addresses.remove(at.ok_or(NetError::AddrNotAvailable)?);
        let still = interface.addresses.iter().any(|a| a.prefix == gone.prefix);
        let last = interface.addresses.is_empty();
        self.routes.flush(|r| {
            let connected = r.protocol == RouteProtocol::Kernel && r.destination == gone.prefix && !still;
            r.interface == index && (last || connected || r.source == Some(addr))
        });
        self.generation += 1;
        Ok(())
    }

    fn add_connected(&mut self, index: IfIndex, prefix: Prefix, source: Ipv4Addr) {
        let loopback = self.interface(index).is_some_and(|i| i.kind == LinkKind::Loopback);
        if loopback || prefix.bits() == 32 {
            return;
        }
        let route = Route {
            destination: prefix,
            gateway: None,
            interface: index,
            metric: 0,
            source: Some(source),
            protocol: RouteProtocol::Kernel,
            kind: RouteKind::Unicast,
        };
        // A second address in the same subnet shares the first one's route.
        let _shared = self.routes.add(route);
    }

    /// Whether an address is one of ours, on any interface (weak host model, RFC 1122, section 3.3.4.2).
    pub fn is_own(&self, addr: Ipv4Addr) -> bool {
        self.interfaces.iter().any(|i| i.owns(addr))
    }

    /// How packets reach `dst`, from `source` if the sender is bound to one, out of `via` if it is bound to one.
    ///
    /// # Errors
    /// `NetUnreachable`, `HostUnreachable` or `NetDown`, as Linux reports them; `Invalid` where a sender that is bound to a
    /// loopback address would show it on a link (RFC 1122, section 3.2.1.3).
    pub fn path(&self, dst: Ipv4Addr, source: Option<Ipv4Addr>, via: Option<IfIndex>) -> Result<Path, NetError> {
        let source = source.filter(|s| !s.is_unspecified());
        // Who is bound to an address of one version does not reach the other's.
        if source.is_some_and(|s| (s == LOOPBACK6) != (dst == LOOPBACK6)) {
            return Err(NetError::NetUnreachable);
        }
        if self.is_own(dst) {
            return self.local_path(dst, source);
        }
        let path = self.link_path(dst, source, via)?;
        match stays_inside(path.source) && !path.is_local() {
            true => Err(NetError::Invalid),
            false => Ok(path),
        }
    }

    /// As [`IpLayer::path`], to others than ourselves.
    fn link_path(&self, dst: Ipv4Addr, source: Option<Ipv4Addr>, via: Option<IfIndex>) -> Result<Path, NetError> {
        let usable =
            |r: &Route| via.is_none_or(|v| v == r.interface) && self.interface(r.interface).is_some_and(|i| i.up);
        let route = self.routes.lookup(dst, usable);
        if dst.is_broadcast() || dst.is_multicast() {
            return self.group_path(dst, source, via.or(route.map(|r| r.interface)));
        }
        let Some(route) = route else {
            // A socket bound to a device reaches everyone on its link (SO_BINDTODEVICE, socket(7)).
            let index = via.ok_or(NetError::NetUnreachable)?;
            let interface = self.interface(index).filter(|i| i.up).ok_or(NetError::NetUnreachable)?;
            let own = source.or(interface.source_for(dst)).ok_or(NetError::NetUnreachable)?;
            return Ok(self.path_on(interface, NextHop::Neighbor(dst), own));
        };
        match route.kind {
            RouteKind::Unicast => {}
            RouteKind::Unreachable => return Err(NetError::HostUnreachable),
            RouteKind::Blackhole => return Err(NetError::Invalid),
        }
        let interface = self.interface(route.interface).ok_or(NetError::NetUnreachable)?;
        let hop = route.gateway.unwrap_or(dst);
        let any = || self.interfaces.iter().filter(|i| i.kind == LinkKind::Ethernet).find_map(|i| i.source_for(dst));
        let own = source.or(route.source).or_else(|| interface.source_for(hop)).or_else(any);
        let own = own.ok_or(NetError::AddrNotAvailable)?;
        let next_hop = match interface.is_broadcast(dst) {
            true => NextHop::Group(MacAddr::BROADCAST),
            false => NextHop::Neighbor(hop),
        };
        let echo = next_hop == NextHop::Group(MacAddr::BROADCAST);
        Ok(Path { echo, ..self.path_on(interface, next_hop, own) })
    }

    fn local_path(&self, dst: Ipv4Addr, source: Option<Ipv4Addr>) -> Result<Path, NetError> {
        let lo = self.interface(IfIndex::LO).filter(|i| i.up).ok_or(NetError::NetUnreachable)?;
        let own = source.unwrap_or(if dst.is_loopback() { Ipv4Addr::LOCALHOST } else { dst });
        Ok(self.path_on(lo, NextHop::Local, own))
    }

    fn group_path(&self, dst: Ipv4Addr, source: Option<Ipv4Addr>, via: Option<IfIndex>) -> Result<Path, NetError> {
        let speaks = |i: &&Interface| i.up && source.is_some_and(|s| i.owns(s));
        let first = || {
            let by_source = self.interfaces.iter().find(speaks);
            by_source.or_else(|| self.interfaces.iter().find(|i| i.up && i.kind == LinkKind::Ethernet))
        };
        let chosen = match via {
            Some(index) => self.interface(index).filter(|i| i.up),
            None => first(),
        };
        let interface = chosen.ok_or(NetError::NetUnreachable)?;
        let own = source.or(interface.source_for(dst)).ok_or(NetError::AddrNotAvailable)?;
        let mac = if dst.is_multicast() { multicast_mac(dst) } else { MacAddr::BROADCAST };
        let echo = !dst.is_multicast() || interface.has_group(dst);
        Ok(Path { echo, ..self.path_on(interface, NextHop::Group(mac), own) })
    }

    /// A path out of an interface.
    pub(super) fn path_on(&self, interface: &Interface, next_hop: NextHop, source: Ipv4Addr) -> Path {
        // On loopback nobody looks at checksums, and nothing is ever cut.
        let (next_hop, offloads) = match interface.kind {
            LinkKind::Loopback => (NextHop::Local, Offloads::TX_CSUM),
            LinkKind::Ethernet => (next_hop, interface.offloads),
        };
        let mtu = (interface.mtu as usize).min(MAX_PACKET);
        let (index, generation) = (interface.index, self.generation);
        Path { interface: index, next_hop, source, mtu, offloads, echo: false, generation }
    }

    /// An identification for a packet that may be fragmented: each destination has a sequence of its own.
    pub(super) fn next_ident(&mut self, src: Ipv4Addr, dst: Ipv4Addr) -> u16 {
        let mut key = [0; 8];
        key[..4].copy_from_slice(&src.octets());
        key[4..].copy_from_slice(&dst.octets());
        let bucket = self.ident_secret.hash(&key) as usize % IDENT_BUCKETS;
        self.idents[bucket] = self.idents[bucket].wrapping_add(1);
        self.idents[bucket]
    }

    /// Sends a packet no larger than the path's MTU (unless the device is to cut it).
    pub(super) fn send(
        &mut self,
        path: &Path,
        mut frame: QueuedFrame,
        now: Instant,
        out: Option<&mut (dyn FrameOut + '_)>,
    ) {
        self.stats.ip_out_requests += 1;
        match path.next_hop {
            NextHop::Local => {
                self.pool.compact(&mut frame.buf);
                self.loopback.push_back(frame);
            }
            NextHop::Group(mac) => {
                if path.echo {
                    let copy = self.pool.copy(frame.buf.bytes());
                    let meta = FrameMeta { checksum: Checksum::Valid, gso: None };
                    self.loopback.push_back(QueuedFrame { meta, buf: copy, charge: None });
                }
                self.send_to(path.interface, mac, frame, out);
            }
            NextHop::Neighbor(addr) => match self.neighbors.resolve(path.interface, addr, now) {
                Resolution::Known(mac) => self.send_to(path.interface, mac, frame, out),
                Resolution::Unknown { request } => {
                    if request {
                        self.solicit(Solicit { interface: path.interface, addr, unicast: None });
                    }
                    self.pool.compact(&mut frame.buf);
                    if let Some(evicted) = self.neighbors.enqueue(path.interface, addr, frame) {
                        self.discard(evicted);
                    }
                }
            },
        }
    }

    /// Sends a packet of any size, in fragments where it has to be.
    ///
    /// # Errors
    /// `MessageTooLong` when it must not be fragmented.
    pub(super) fn send_datagram(
        &mut self,
        path: &Path,
        buf: PacketBuf,
        meta: FrameMeta,
        charge: Option<Charge>,
        now: Instant,
    ) -> Result<(), NetError> {
        if buf.len() <= path.mtu {
            self.send(path, QueuedFrame { meta, buf, charge }, now, None);
            return Ok(());
        }
        let Ok(header) = Ipv4Header::parse(buf.bytes()) else { return Err(NetError::Invalid) };
        if header.dont_fragment || path.mtu < HEADER_LEN + 8 {
            self.discard(QueuedFrame { meta, buf, charge });
            return Err(NetError::MessageTooLong);
        }
        let step = (path.mtu - HEADER_LEN) & !7;
        let payload_len = buf.len() - header.header_len;
        for offset in (0..payload_len).step_by(step) {
            let len = step.min(payload_len - offset);
            let last = offset + len == payload_len;
            let mut piece = self.pool.get(HEADER_LEN + len);
            let from = header.header_len + offset;
            piece.bytes_mut()[HEADER_LEN..].copy_from_slice(&buf.bytes()[from..from + len]);
            let piece_header = Ipv4Header {
                more_fragments: !last,
                fragment_offset: offset,
                header_len: HEADER_LEN,
                total_len: HEADER_LEN + len,
                ..header
            };
            piece_header.write(piece.bytes_mut());
            let charge = charge.filter(|_| last);
            self.send(path, QueuedFrame { meta: FrameMeta::default(), buf: piece, charge }, now, None);
        }
        self.stats.ip_frag_oks += 1;
        self.pool.put(buf);
        Ok(())
    }

    /// Puts the ethernet header in front and gives the frame to the device, or to the queue when it is busy.
    fn send_to(&mut self, index: IfIndex, mac: MacAddr, mut frame: QueuedFrame, out: Option<&mut (dyn FrameOut + '_)>) {
        let Ok(interface) = self.interface_mut(index) else { return self.discard(frame) };
        let header = EthernetHeader { dst: mac, src: interface.mac, ethertype: ETHERTYPE_IPV4 };
        frame.buf.push(&header.to_bytes());
        frame.meta = frame.meta_with_link_header();
        self.transmit(index, frame, out);
    }

    fn transmit(&mut self, index: IfIndex, mut frame: QueuedFrame, out: Option<&mut (dyn FrameOut + '_)>) {
        let Ok(interface) = self.interface_mut(index) else { return self.discard(frame) };
        if !interface.up {
            return self.discard(frame);
        }
        if interface.txq.is_empty()
            && let Some(out) = out
            && out.transmit(index, TxFrame { meta: frame.meta, parts: &[frame.buf.bytes()] })
        {
            interface.stats.tx_packets += 1;
            interface.stats.tx_bytes += frame.buf.len() as u64;
            return self.discard(frame);
        }
        if interface.txq.len() >= Interface::TXQ_LEN {
            interface.stats.tx_dropped += 1;
            return self.discard(frame);
        }
        self.pool.compact(&mut frame.buf);
        if let Ok(interface) = self.interface_mut(index) {
            interface.txq.push_back(frame);
        }
    }

    /// Whether [`IpLayer::flush`] has something to do, or has done something that nobody has looked at.
    #[inline]
    pub(super) fn has_queued(&self) -> bool {
        !self.unblocked.is_empty() || self.interfaces.iter().any(|i| !i.txq.is_empty() || !i.waiting.is_empty())
    }

    /// Offers queued frames to their devices; flows that waited for one are in `unblocked` afterwards.
    #[inline]
    pub(super) fn flush(&mut self, out: &mut (dyn FrameOut + '_)) {
        if self.has_queued() {
            self.flush_queues(out);
        }
    }

    fn flush_queues(&mut self, out: &mut (dyn FrameOut + '_)) {
        for i in 0..self.interfaces.len() {
            while let Some(frame) = self.interfaces[i].txq.pop_front() {
                let interface = &mut self.interfaces[i];
                let offered = TxFrame { meta: frame.meta, parts: &[frame.buf.bytes()] };
                if !out.transmit(interface.index, offered) {
                    interface.txq.push_front(frame);
                    break;
                }
                interface.stats.tx_packets += 1;
                interface.stats.tx_bytes += frame.buf.len() as u64;
                self.discard(frame);
            }
            if self.interfaces[i].txq.is_empty() && !self.interfaces[i].waiting.is_empty() {
                let waiting = core::mem::take(&mut self.interfaces[i].waiting);
                self.unblocked.extend(waiting);
            }
        }
    }

    /// Ends a packet's life: its buffer and its charge go back.
    pub(super) fn discard(&mut self, frame: QueuedFrame) {
        self.released.extend(frame.charge);
        self.pool.put(frame.buf);
    }

    fn solicit(&mut self, solicit: Solicit) {
        let Ok(interface) = self.interface_mut(solicit.interface) else { return };
        let Some(sender) = interface.source_for(solicit.addr) else { return };
        let (sender_mac, target) = (interface.mac, solicit.addr);
        let dst = solicit.unicast.unwrap_or(MacAddr::BROADCAST);
        let operation = ArpOperation::Request;
        let packet = ArpPacket { operation, sender_mac, sender, target_mac: MacAddr([0; 6]), target };
        self.send_arp(solicit.interface, dst, packet);
    }

    fn send_arp(&mut self, index: IfIndex, dst: MacAddr, packet: ArpPacket) {
        let mut buf = self.pool.copy(&packet.to_bytes());
        buf.push(&EthernetHeader { dst, src: packet.sender_mac, ethertype: ETHERTYPE_ARP }.to_bytes());
        self.transmit(index, QueuedFrame { meta: FrameMeta::default(), buf, charge: None }, None);
    }

    /// Takes an ARP packet: learns from it and answers it where it asks for one of our addresses.
    pub(super) fn arp_input(&mut self, index: IfIndex, eth: &EthernetHeader, bytes: &[u8], now: Instant) {
        let Some(arp) = ArpPacket::parse(bytes) else { return };
        let Ok(interface) = self.interface_mut(index) else { return };
        let mac = interface.mac;
        if arp.sender_mac.is_group() || arp.sender.is_multicast() || arp.sender.is_broadcast() {
            return;
        }
        let to_us = self.is_own(arp.target) && !arp.target.is_loopback();
        if !arp.sender.is_unspecified() && !self.is_own(arp.sender) {
            let solicited = arp.operation == ArpOperation::Reply && eth.dst == mac;
            let create = to_us && arp.operation == ArpOperation::Request;
            let (queue, _) = self.neighbors.learn(index, arp.sender, arp.sender_mac, solicited, create, now);
            for frame in queue {
                self.send_to(index, arp.sender_mac, frame, None);
            }
        }
        if to_us && arp.operation == ArpOperation::Request {
            let reply = ArpPacket {
                operation: ArpOperation::Reply,
                sender_mac: mac,
                sender: arp.target,
                target_mac: arp.sender_mac,
                target: arp.sender,
            };
            self.send_arp(index, arp.sender_mac, reply);
        }
    }

    /// Sets a neighbour by hand and sends what waited for it.
    pub(super) fn set_neighbor(
        &mut self,
        index: IfIndex,
        addr: Ipv4Addr,
        mac: MacAddr,
        state: NeighborState,
        now: Instant,
    ) {
        for frame in self.neighbors.set(index, addr, mac, state, now) {
            self.send_to(index, mac, frame, None);
        }
    }

    /// Runs the timers of neighbours, groups and reassembly.
    pub(super) fn run_timers(&mut self, now: Instant) {
        let (mut solicits, mut failed) = (Vec::new(), Vec::new());
        self.neighbors.expire(now, &mut solicits, &mut failed);
        for solicit in solicits {
            self.solicit(solicit);
        }
        for (_, _, frame) in failed {
            self.report_to_ourselves(icmp::unreachable::HOST, frame.buf.bytes());
            self.discard(frame);
        }
        self.report_groups(now);
        let mut expired = Vec::new();
        self.reassembly.expire(now, &mut self.pool, &mut expired);
        for Expired { start } in expired {
            self.stats.ip_reasm_fails += 1;
            self.report(icmp::kind::TIME_EXCEEDED, 1, 0, start.bytes(), now);
            self.pool.put(start);
        }
    }

    /// The next time [`IpLayer::run_timers`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadline = sooner(self.neighbors.next_deadline(), self.reassembly.next_deadline());
        sooner(deadline, self.next_report)
    }

    /// Sends an ICMP error about a received packet to its source, within the rate limit.
    pub(super) fn report(&mut self, kind: u8, code: u8, mtu: u16, packet: &[u8], now: Instant) {
        let Ok(header) = Ipv4Header::parse(packet) else { return };
        let group = self.interfaces.iter().any(|i| i.is_broadcast(header.dst) || i.is_broadcast(header.src));
        if group || !icmp::may_report(&header, &packet[header.header_len..header.total_len]) {
            return;
        }
        if now.saturating_since(self.icmp_window.0) >= Duration::from_secs(1) {
            self.icmp_window = (now, 0);
        }
        if self.icmp_window.1 >= ICMP_PER_SECOND {
            return;
        }
        self.icmp_window.1 += 1;
        let source = self.is_own(header.dst).then_some(header.dst);
        let Ok(path) = self.path(header.src, source, None) else { return };
        let buf = self.error_message(path.source, header.src, (kind, code, mtu), packet);
        self.stats.icmp_out_msgs += 1;
        self.send(&path, QueuedFrame { meta: FrameMeta::default(), buf, charge: None }, now, None);
    }

    /// Tells our own transports that a packet of theirs cannot be delivered.
    fn report_to_ourselves(&mut self, code: u8, packet: &[u8]) {
        let Ok(header) = Ipv4Header::parse(packet) else { return };
        if !icmp::may_report(&header, &packet[header.header_len..]) {
            return;
        }
        let buf = self.error_message(header.src, header.src, (icmp::kind::UNREACHABLE, code, 0), packet);
        self.loopback.push_back(QueuedFrame { meta: FrameMeta::default(), buf, charge: None });
    }

    fn error_message(
        &mut self,
        src: Ipv4Addr,
        dst: Ipv4Addr,
        (kind, code, mtu): (u8, u8, u16),
        packet: &[u8],
    ) -> PacketBuf {
        let quoted = icmp::quoted_len(packet.len());
        let len = icmp::ICMP_HEADER + quoted;
        let mut header = Ipv4Header::new(src, dst, ipv4::protocol::ICMP, len);
        // Precedence "internetwork control" (RFC 1812, section 4.3.2.5), as Linux sends them.
        header.tos = 0xc0;
        header.ident = self.next_ident(src, dst);
        let mut buf = self.pool.get(HEADER_LEN + len);
        header.write(buf.bytes_mut());
        icmp::write_error(&mut buf.bytes_mut()[HEADER_LEN..], kind, code, mtu, &packet[..quoted]);
        buf
    }
}

impl QueuedFrame {
    /// Offload state with positions that count from the ethernet header.
    fn meta_with_link_header(&self) -> FrameMeta {
        let mut meta = self.meta;
        if let Checksum::Partial { start, .. } = &mut meta.checksum {
            *start += ETHERNET_HEADER as u16;
        }
        if let Some(gso) = &mut meta.gso {
            gso.header_len += ETHERNET_HEADER as u16;
        }
        meta
    }
}
