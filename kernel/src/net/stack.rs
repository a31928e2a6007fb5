//! The stack as its caller sees it: time, frames and socket calls in; frames, events and deadlines out.

use super::addr::Family;
use super::datagram::DatagramSocket;
use super::datagram_ports::{DatagramPorts, DatagramProtocol};
use super::error::NetError;
use super::event::{EventList, Readiness};
use super::interface::{IfIndex, Interface, LinkInfo, LinkKind};
use super::ip::{FrameOut, IpLayer};
use super::neighbor::{NeighborEntry, NeighborState};
use super::random::Rng;
use super::route::Route;
use super::slab::Slab;
use super::socket::{Inner, Shutdown, Socket, SocketId, SocketKind, SocketOptions};
use super::stats::SnmpStats;
use super::tcp::{TcpLayer, TcpSocket};
use super::timer::{TimerHeap, TimerKey, sooner};
use crate::time::Instant;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use netdrv::{MacAddr, Offloads};

/// Packets and flows that one [`NetStack::poll`] looks at, at most: the caller gets its turn.
const POLL_BUDGET: usize = 4096;

/// What a stack is made with.
#[derive(Copy, Clone, Debug)]
pub struct NetConfig {
    /// Entropy from the host; everything unpredictable comes from it.
    pub seed: [u8; 16],
}

/// A network stack.
pub struct NetStack {
    pub(super) ip: IpLayer,
    pub(super) tcp: TcpLayer,
    pub(super) datagram_ports: DatagramPorts,
    pub(super) raw_sockets: Vec<SocketId>,
    pub(super) sockets: Slab<Socket>,
    pub(super) events: EventList,
    pub(super) timers: TimerHeap,
    /// When the stack was last given a frame or polled: the arrival time of datagrams.
    pub(super) now: Instant,
    /// The last poll stopped at its budget.
    unfinished: bool,
}

impl NetStack {
    /// A stack with `lo` up at 127.0.0.1/8.
    pub fn new(config: NetConfig) -> NetStack {
        let mut rng = Rng::new(config.seed);
        let tcp = TcpLayer::new(&mut rng);
        let mut ip = IpLayer::new(rng);
        let link = LinkInfo { kind: LinkKind::Loopback, mac: MacAddr([0; 6]), mtu: 65536, offloads: Offloads::empty() };
        let lo = ip.add_interface("lo", &link);
        let ready = ip.add_address(lo, Ipv4Addr::LOCALHOST, 8, None, None).and_then(|()| ip.set_up(lo, true));
        debug_assert_eq!(ready, Ok(()));
        NetStack {
            ip,
            tcp,
            datagram_ports: DatagramPorts::new(),
            raw_sockets: Vec::new(),
            sockets: Slab::default(),
            events: EventList::default(),
            timers: TimerHeap::default(),
            now: Instant::default(),
            unfinished: false,
        }
    }

    /// Adds an interface, down and without addresses.
    ///
    /// # Errors
    /// `Exists` when the name is taken.
    pub fn add_interface(&mut self, name: &str, link: &LinkInfo) -> Result<IfIndex, NetError> {
        if self.ip.interfaces.iter().any(|i| i.name == name) {
            return Err(NetError::Exists);
        }
        Ok(self.ip.add_interface(name, link))
    }

    /// Every interface, `lo` first.
    pub fn interfaces(&self) -> &[Interface] {
        &self.ip.interfaces
    }

    /// An interface by number.
    pub fn interface(&self, index: IfIndex) -> Option<&Interface> {
        self.ip.interface(index)
    }

    /// An interface by name.
    pub fn interface_by_name(&self, name: &str) -> Option<&Interface> {
        self.ip.interfaces.iter().find(|i| i.name == name)
    }

    /// Brings an interface up or down (`IFF_UP`).
    ///
    /// # Errors
    /// `NoDevice`.
    pub fn set_interface_up(&mut self, index: IfIndex, up: bool) -> Result<(), NetError> {
        self.ip.set_up(index, up)
    }

    /// Changes an interface's hardware address; the caller changes the device's.
    ///
    /// # Errors
    /// `NoDevice`, `AddrNotAvailable` for a group address.
    pub fn set_interface_mac(&mut self, index: IfIndex, mac: MacAddr) -> Result<(), NetError> {
        if mac.is_group() {
            return Err(NetError::AddrNotAvailable);
        }
        self.ip.interface_mut(index)?.mac = mac;
        Ok(())
    }

    /// Gives an interface another name; the labels of its addresses follow.
    ///
    /// # Errors
    /// `NoDevice`, `Exists`, `Invalid` for what is no name of 1 to 15 bytes.
    pub fn rename_interface(&mut self, index: IfIndex, name: &str) -> Result<(), NetError> {
        let strange = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.contains(strange) {
            return Err(NetError::Invalid);
        }
        if self.ip.interfaces.iter().any(|i| i.index != index && i.name == name) {
            return Err(NetError::Exists);
        }
        let interface = self.ip.interface_mut(index)?;
        for address in &mut interface.addresses {
            let alias = address.label.strip_prefix(interface.name.as_str()).unwrap_or_default();
            address.label = [name, alias].concat();
        }
        interface.name = name.into();
        Ok(())
    }

    /// Changes an interface's MTU in bytes.
    ///
    /// # Errors
    /// `NoDevice`, `Invalid` below 68 (RFC 791) or beyond what the device carries.
    pub fn set_interface_mtu(&mut self, index: IfIndex, mtu: u32) -> Result<(), NetError> {
        let interface = self.ip.interface_mut(index)?;
        if !(68..=interface.max_mtu).contains(&mtu) {
            return Err(NetError::Invalid);
        }
        interface.mtu = mtu;
        self.ip.generation += 1;
        Ok(())
    }

    /// Gives an interface an address; without `broadcast`, the subnet's last one is it.
    ///
    /// # Errors
    /// `NoDevice`, `Exists`, `Invalid`.
    pub fn add_address(
        &mut self,
        index: IfIndex,
        addr: Ipv4Addr,
        prefix_len: u8,
        broadcast: Option<Ipv4Addr>,
        label: Option<&str>,
    ) -> Result<(), NetError> {
        self.ip.add_address(index, addr, prefix_len, broadcast, label)
    }

    /// Takes an address away.
    ///
    /// # Errors
    /// `NoDevice`, `AddrNotAvailable`.
    pub fn remove_address(&mut self, index: IfIndex, addr: Ipv4Addr, prefix_len: u8) -> Result<(), NetError> {
        self.ip.remove_address(index, addr, prefix_len)
    }

    /// Every route, most specific first.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.ip.routes.iter()
    }

    /// Adds a route.
    ///
    /// # Errors
    /// `NoDevice`, `NetDown`, `Exists`, `NetUnreachable` when the gateway is not on the interface's link.
    pub fn add_route(&mut self, route: Route) -> Result<(), NetError> {
        let interface = self.ip.interface(route.interface).ok_or(NetError::NoDevice)?;
        if !interface.up {
            return Err(NetError::NetDown);
        }
        let on_link = |g: Ipv4Addr| interface.addresses.iter().any(|a| a.prefix.contains(g));
        let direct = |g: Ipv4Addr| {
            let known = self.ip.routes.lookup(g, |r| r.gateway.is_none());
            known.is_some_and(|r| r.interface == route.interface)
        };
        if route.gateway.is_some_and(|g| !on_link(g) && !direct(g)) {
            return Err(NetError::NetUnreachable);
        }
        self.ip.routes.add(route)?;
        self.ip.generation += 1;
        Ok(())
    }

    /// Removes the first route that `matches`.
    ///
    /// # Errors
    /// `NoSuchRoute`.
    pub fn remove_route(&mut self, matches: impl FnMut(&Route) -> bool) -> Result<Route, NetError> {
        self.ip.generation += 1;
        self.ip.routes.remove(matches)
    }

    /// Every neighbour.
    pub fn neighbors(&self) -> impl Iterator<Item = NeighborEntry> + '_ {
        self.ip.neighbors.iter()
    }

    /// Sets a neighbour by hand, in a state that is known.
    ///
    /// # Errors
    /// `NoDevice`.
    pub fn set_neighbor(
        &mut self,
        index: IfIndex,
        addr: Ipv4Addr,
        mac: MacAddr,
        state: NeighborState,
        now: Instant,
    ) -> Result<(), NetError> {
        self.ip.interface_mut(index)?;
        self.ip.set_neighbor(index, addr, mac, state, now);
        Ok(())
    }

    /// Forgets the neighbours that `matches`.
    pub fn flush_neighbors(&mut self, matches: impl Fn(IfIndex, Ipv4Addr) -> bool) {
        for frame in self.ip.neighbors.flush(matches) {
            self.ip.discard(frame);
        }
        self.settle_charges();
    }

    /// The ephemeral ports of TCP and UDP, first and last (`ip_local_port_range`).
    ///
    /// # Errors
    /// `Invalid` when the first is 0 or above the last.
    pub fn set_port_range(&mut self, first: u16, last: u16) -> Result<(), NetError> {
        if first == 0 || first > last {
            return Err(NetError::Invalid);
        }
        self.tcp.ports.ephemeral = (first, last);
        self.datagram_ports.set_ephemeral(first, last);
        Ok(())
    }

    /// The largest packet in bytes that a route to `addr` takes (`IP_MTU`).
    ///
    /// # Errors
    /// Those of routing.
    pub fn path_mtu(&self, addr: Ipv4Addr) -> Result<usize, NetError> {
        Ok(self.ip.path(addr, None, None)?.mtu)
    }

    /// Protocol counters.
    pub fn stats(&self) -> &SnmpStats {
        &self.ip.stats
    }

    /// Makes a socket (`socket(2)`).
    pub fn socket(&mut self, kind: SocketKind, family: Family) -> SocketId {
        let inner = match kind {
            SocketKind::Tcp => Inner::Tcp(TcpSocket::default()),
            SocketKind::Udp => Inner::Datagram(DatagramSocket::new(DatagramProtocol::Udp)),
            SocketKind::UdpLite => Inner::Datagram(DatagramSocket::new(DatagramProtocol::UdpLite)),
            SocketKind::Ping => Inner::Datagram(DatagramSocket::new(DatagramProtocol::Ping)),
            SocketKind::Raw(number) => Inner::Datagram(DatagramSocket::new(DatagramProtocol::Raw(number))),
        };
        let mut socket = Socket::new(family, inner);
        // IPPROTO_RAW sends whole packets only (raw(7)).
        socket.options.header_included = kind == SocketKind::Raw(u8::MAX);
        let id = self.sockets.insert(socket);
        if let SocketKind::Raw(_) = kind {
            self.raw_sockets.push(id);
        }
        id
    }

    /// Binds a socket to an address and port; 0 is any (`bind(2)`).
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `Invalid` when bound already.
    pub fn bind(&mut self, id: SocketId, addr: SocketAddr) -> Result<(), NetError> {
        let socket = self.sockets.get(id).ok_or(NetError::BadSocket)?;
        let addr = socket.family.to_v4(addr)?;
        match socket.inner {
            Inner::Tcp(_) => self.tcp_bind(id, addr),
            Inner::Datagram(_) => self.datagram_bind(id, addr),
        }
    }

    /// Connects a socket (`connect(2)`); `None` (`AF_UNSPEC`) takes a datagram socket's peer away.
    ///
    /// # Errors
    /// For TCP: `InProgress`, then `AlreadyInProgress`, then success once or the attempt's error, then
    /// `AlreadyConnected`. For both: those of routing and ports.
    pub fn connect(&mut self, id: SocketId, peer: Option<SocketAddr>, now: Instant) -> Result<(), NetError> {
        let socket = self.sockets.get(id).ok_or(NetError::BadSocket)?;
        let peer = peer.map(|p| socket.peer_address(p)).transpose()?;
        match (&socket.inner, peer) {
            (Inner::Tcp(_), Some(peer)) => self.tcp_connect(id, peer, now),
            (Inner::Tcp(_), None) => Err(NetError::NotSupported),
            (Inner::Datagram(_), peer) => self.datagram_connect(id, peer),
        }
    }

    /// Closes one or both directions (`shutdown(2)`).
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn shutdown(&mut self, id: SocketId, how: Shutdown, now: Instant) -> Result<(), NetError> {
        match self.sockets.get(id).ok_or(NetError::BadSocket)?.inner {
            Inner::Tcp(_) => self.tcp_shutdown(id, how, now),
            Inner::Datagram(_) => self.datagram_shutdown(id, how),
        }
    }

    /// Closes a socket; its id is stale from now on, a connection finishes by itself. A caller that lingers
    /// (`SO_LINGER`) first shuts down writing and waits until `tcp_queued` says that nothing is left.
    pub fn close(&mut self, id: SocketId, now: Instant) {
        match self.sockets.get(id).map(|s| &s.inner) {
            Some(Inner::Tcp(_)) => self.tcp_close(id, now),
            Some(Inner::Datagram(_)) => self.datagram_close(id),
            None => {}
        }
    }

    /// A socket's options.
    ///
    /// # Errors
    /// `BadSocket`.
    pub fn options(&self, id: SocketId) -> Result<&SocketOptions, NetError> {
        Ok(&self.sockets.get(id).ok_or(NetError::BadSocket)?.options)
    }

    /// Changes a socket's options; what applies to a living connection takes effect at once, buffer sizes and
    /// `TCP_MAXSEG` count for the next one.
    ///
    /// # Errors
    /// `BadSocket`.
    pub fn set_options(&mut self, id: SocketId, change: impl FnOnce(&mut SocketOptions)) -> Result<(), NetError> {
        let socket = self.sockets.get_mut(id).ok_or(NetError::BadSocket)?;
        change(&mut socket.options);
        match socket.inner {
            Inner::Tcp(_) => self.tcp_apply_options(id),
            Inner::Datagram(_) => Ok(()),
        }
    }

    /// Takes the pending error (`SO_ERROR`).
    ///
    /// # Errors
    /// `BadSocket`.
    pub fn take_error(&mut self, id: SocketId) -> Result<Option<NetError>, NetError> {
        Ok(self.sockets.get_mut(id).ok_or(NetError::BadSocket)?.error.take())
    }

    /// What a socket is ready for (`poll(2)`).
    pub fn readiness(&self, id: SocketId) -> Readiness {
        match self.sockets.get(id) {
            None => Readiness::empty(),
            Some(socket) => match &socket.inner {
                Inner::Tcp(tcp) => self.tcp_readiness(socket, tcp),
                Inner::Datagram(datagram) => datagram.readiness(socket),
            },
        }
    }

    /// A socket's own address (`getsockname(2)`).
    ///
    /// # Errors
    /// `BadSocket`.
    pub fn local_addr(&self, id: SocketId) -> Result<SocketAddr, NetError> {
        let socket = self.sockets.get(id).ok_or(NetError::BadSocket)?;
        let none = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let local = match &socket.inner {
            Inner::Tcp(tcp) => self.tcp_addresses(tcp).0.unwrap_or(none),
            Inner::Datagram(datagram) => datagram.local,
        };
        Ok(socket.family.show(local))
    }

    /// The peer's address (`getpeername(2)`).
    ///
    /// # Errors
    /// `BadSocket`, `NotConnected`.
    pub fn peer_addr(&self, id: SocketId) -> Result<SocketAddr, NetError> {
        let socket = self.sockets.get(id).ok_or(NetError::BadSocket)?;
        let peer = match &socket.inner {
            Inner::Tcp(tcp) => self.tcp_addresses(tcp).1,
            Inner::Datagram(datagram) => datagram.peer,
        };
        Ok(socket.family.show(peer.ok_or(NetError::NotConnected)?))
    }

    /// Does what is due: timers, packets to ourselves, segments of flows with something to send, queued frames.
    pub fn poll(&mut self, now: Instant, out: &mut dyn FrameOut) {
        self.now = now;
        if self.timer_deadline().is_some_and(|at| at <= now) {
            self.run_timers(now);
        }
        let mut budget = POLL_BUDGET;
        self.unfinished = false;
        loop {
            budget -= self.run_loopback(budget, now);
            self.ip.flush(out);
            while let Some(id) = self.ip.unblocked.pop() {
                self.tcp.unblock(id);
            }
            self.settle_charges();
            if budget == 0 {
                self.unfinished = true;
                return;
            }
            let Some(id) = self.tcp.dirty.pop_front() else { return };
            self.service_flow(id, now, out);
            budget -= 1;
        }
    }

    fn run_timers(&mut self, now: Instant) {
        self.ip.run_timers(now);
        self.tcp.expire_time_wait(now);
        while let Some((at, key)) = self.timers.pop(now) {
            match key {
                TimerKey::Flow(id) => self.flow_timer(id, at),
            }
        }
    }

    fn timer_deadline(&self) -> Option<Instant> {
        let deadline = sooner(self.ip.next_deadline(), self.tcp.time_wait_deadline());
        sooner(deadline, self.timers.next_deadline())
    }

    /// When [`NetStack::poll`] has something to do without further input; `now` when it has already.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        // Flows that the last look at the devices has let go on are not on the dirty list yet.
        let waiting = !self.tcp.dirty.is_empty() || !self.ip.unblocked.is_empty();
        if self.unfinished || waiting || !self.ip.loopback.is_empty() {
            return Some(now);
        }
        self.timer_deadline()
    }

    /// Whether frames and calls have left [`NetStack::poll`] something to do, whatever the time is.
    pub fn is_dirty(&self) -> bool {
        let waiting = !self.tcp.dirty.is_empty() || !self.ip.loopback.is_empty() || !self.ip.released.is_empty();
        self.unfinished || waiting || self.ip.has_queued()
    }

    /// Whether [`NetStack::poll`] has something to do now.
    pub fn has_work(&self, now: Instant) -> bool {
        self.is_dirty() || self.timer_deadline().is_some_and(|at| at <= now)
    }

    /// Whether something happened at sockets that nobody has been told of.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether frames wait for a device: poll again when it has room.
    pub fn is_blocked(&self, index: IfIndex) -> bool {
        self.ip.interface(index).is_some_and(|i| !i.txq.is_empty())
    }

    /// The next socket at which something happened.
    pub fn next_event(&mut self) -> Option<SocketId> {
        self.events.take(&mut self.sockets)
    }

    pub(super) fn note(&mut self, id: SocketId) {
        self.events.note(&mut self.sockets, id);
    }

    pub(super) fn report_error(&mut self, id: SocketId, error: Option<NetError>) {
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.error = error.or(socket.error);
        }
    }

    /// Fails with the pending error, once.
    pub(super) fn check_error(&mut self, id: SocketId) -> Result<(), NetError> {
        match self.sockets.get_mut(id).ok_or(NetError::BadSocket)?.error.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}
