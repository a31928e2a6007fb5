//! Local ports: who holds which, who may share, and which one an unbound socket gets (RFC 6056, algorithm 1).
//!
//! Two things keep a port busy: *bindings* of sockets, and *flows* (connections, TIME-WAIT included) that still use it
//! as their local port though no bound socket may be left. Sharing follows `socket(7)`: `SO_REUSEADDR` on both sides
//! and nobody listening (TCP) or always (UDP), or `SO_REUSEPORT` on both sides.

use super::addr::{Family, LOOPBACK6};
use super::error::NetError;
use super::random::Rng;
use super::socket::SocketId;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use hashbrown::HashMap;

/// A socket's claim on a port.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Binding {
    pub(super) socket: SocketId,
    /// Unspecified for every address.
    pub(super) addr: Ipv4Addr,
    pub(super) reuse_addr: bool,
    pub(super) reuse_port: bool,
    /// Of an `AF_INET6` socket.
    pub(super) family: Family,
    /// `IPV6_V6ONLY`: without a say in IPv4.
    pub(super) v6_only: bool,
    pub(super) listening: bool,
    /// Chosen for an outgoing connection; other connections may use the port to other peers.
    pub(super) ephemeral: bool,
}

impl Binding {
    /// The IPv4 address that it claims, unspecified for all of them; `None` for none.
    fn ipv4(&self) -> Option<Ipv4Addr> {
        let none = self.addr == LOOPBACK6 || (self.family == Family::Inet6 && self.v6_only);
        (!none).then_some(self.addr)
    }

    /// Whether it claims `::1`, the one IPv6 address that there is.
    fn ipv6(&self) -> bool {
        self.family == Family::Inet6 && (self.addr == LOOPBACK6 || self.addr.is_unspecified())
    }

    /// Whether what is sent to `addr`, one of ours, is for it.
    pub(super) fn hears(&self, addr: Ipv4Addr) -> bool {
        match addr == LOOPBACK6 {
            true => self.ipv6(),
            false => self.ipv4().is_some_and(|own| own.is_unspecified() || own == addr),
        }
    }

    /// Whether some address is claimed by both.
    fn overlaps(&self, other: &Binding) -> bool {
        let ipv4 = self.ipv4().zip(other.ipv4());
        ipv4.is_some_and(|(a, b)| a == b || a.is_unspecified() || b.is_unspecified()) || (self.ipv6() && other.ipv6())
    }
}

/// Which sharing rules hold.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Sharing {
    /// Listeners share with nobody but `SO_REUSEPORT` peers.
    Tcp,
    /// `SO_REUSEADDR` on both sides is enough.
    Udp,
}

#[derive(Default)]
struct Bucket {
    bindings: Vec<Binding>,
    flows: u32,
    /// Flows whose socket had not asked for address reuse.
    strict_flows: u32,
}

/// The ports of one protocol.
pub(super) struct PortTable {
    sharing: Sharing,
    buckets: HashMap<u16, Bucket>,
    /// First and last ephemeral port (`ip_local_port_range`).
    pub(super) ephemeral: (u16, u16),
}

impl PortTable {
    pub(super) fn new(sharing: Sharing) -> PortTable {
        PortTable { sharing, buckets: HashMap::new(), ephemeral: (32768, 60999) }
    }

    /// Claims a port, or any free one when `port` is 0.
    ///
    /// # Errors
    /// `AddrInUse` when the port, or every ephemeral one, is taken.
    pub(super) fn bind(&mut self, port: u16, binding: Binding, rng: &mut Rng) -> Result<u16, NetError> {
        let port = if port != 0 {
            if self.conflicts(port, &binding) {
                return Err(NetError::AddrInUse);
            }
            port
        } else {
            self.pick(rng, |table, port| !table.conflicts(port, &binding)).ok_or(NetError::AddrInUse)?
        };
        self.buckets.entry(port).or_default().bindings.push(binding);
        Ok(port)
    }

    /// Claims an ephemeral port for a connection; `is_free` says whether the 4-tuple with that port is.
    ///
    /// # Errors
    /// `AddrNotAvailable` when none is left, as `connect(2)` reports it.
    pub(super) fn bind_for_connection(
        &mut self,
        binding: Binding,
        rng: &mut Rng,
        is_free: impl Fn(u16) -> bool,
    ) -> Result<u16, NetError> {
        let usable = |table: &PortTable, port| {
            let shared = table.buckets.get(&port).is_none_or(|b| b.bindings.iter().all(|b| b.ephemeral));
            shared && is_free(port)
        };
        let port = self.pick(rng, usable).ok_or(NetError::AddrNotAvailable)?;
        self.buckets.entry(port).or_default().bindings.push(Binding { ephemeral: true, ..binding });
        Ok(port)
    }

    /// Gives up a socket's claim.
    pub(super) fn unbind(&mut self, port: u16, socket: SocketId) {
        if let Some(bucket) = self.buckets.get_mut(&port) {
            bucket.bindings.retain(|b| b.socket != socket);
            self.tidy(port);
        }
    }

    /// Changes a socket's claim.
    ///
    /// # Errors
    /// `AddrInUse` when a listener may not share what it shares now.
    pub(super) fn listen(&mut self, port: u16, socket: SocketId) -> Result<(), NetError> {
        let Some(bucket) = self.buckets.get_mut(&port) else { return Err(NetError::Invalid) };
        let Some(at) = bucket.bindings.iter().position(|b| b.socket == socket) else { return Err(NetError::Invalid) };
        let mine = Binding { listening: true, ..bucket.bindings[at] };
        let taken =
            bucket.bindings.iter().any(|b| b.socket != socket && b.listening && !may_share(b, &mine, Sharing::Tcp));
        if taken {
            return Err(NetError::AddrInUse);
        }
        bucket.bindings[at] = mine;
        Ok(())
    }

    /// Narrows a wildcard claim to the address that a connection speaks from.
    pub(super) fn narrow(&mut self, port: u16, socket: SocketId, addr: Ipv4Addr) {
        if let Some(bucket) = self.buckets.get_mut(&port) {
            bucket.bindings.iter_mut().filter(|b| b.socket == socket).for_each(|b| b.addr = addr);
        }
    }

    /// Makes a claim again what `bind` made it: of this address, and no listener's.
    pub(super) fn restore(&mut self, port: u16, socket: SocketId, addr: Ipv4Addr) {
        if let Some(bucket) = self.buckets.get_mut(&port) {
            for binding in bucket.bindings.iter_mut().filter(|b| b.socket == socket) {
                (binding.addr, binding.listening) = (addr, false);
            }
        }
    }

    /// A flow begins to use the port.
    pub(super) fn hold(&mut self, port: u16, reuse: bool) {
        let bucket = self.buckets.entry(port).or_default();
        bucket.flows += 1;
        bucket.strict_flows += u32::from(!reuse);
    }

    /// A flow, begun with the same `reuse`, no longer uses the port.
    pub(super) fn release(&mut self, port: u16, reuse: bool) {
        if let Some(bucket) = self.buckets.get_mut(&port) {
            bucket.flows = bucket.flows.saturating_sub(1);
            bucket.strict_flows = bucket.strict_flows.saturating_sub(u32::from(!reuse));
            self.tidy(port);
        }
    }

    /// The claims on a port.
    pub(super) fn bindings(&self, port: u16) -> &[Binding] {
        self.buckets.get(&port).map_or(&[], |b| &b.bindings)
    }

    fn conflicts(&self, port: u16, new: &Binding) -> bool {
        let Some(bucket) = self.buckets.get(&port) else { return false };
        let by_flow = bucket.flows > 0 && bucket.bindings.is_empty() && !(new.reuse_addr && bucket.strict_flows == 0);
        by_flow || bucket.bindings.iter().any(|b| !may_share(b, new, self.sharing))
    }

    fn pick(&self, rng: &mut Rng, usable: impl Fn(&PortTable, u16) -> bool) -> Option<u16> {
        let (first, last) = self.ephemeral;
        let count = u32::from(last.saturating_sub(first)) + 1;
        let start = rng.below(count);
        let mut candidates = (0..count).map(|i| first + ((start + i) % count) as u16);
        // A few independent draws first: neighbours of a busy port are no more likely to be picked than others.
        for _ in 0..8 {
            let port = first + rng.below(count) as u16;
            if usable(self, port) {
                return Some(port);
            }
        }
        candidates.find(|port| usable(self, *port))
    }

    fn tidy(&mut self, port: u16) {
        if self.buckets.get(&port).is_some_and(|b| b.bindings.is_empty() && b.flows == 0) {
            self.buckets.remove(&port);
        }
    }
}

fn may_share(old: &Binding, new: &Binding, sharing: Sharing) -> bool {
    let by_addr = old.reuse_addr && new.reuse_addr && (sharing == Sharing::Udp || !(old.listening || new.listening));
    !old.overlaps(new) || by_addr || (old.reuse_port && new.reuse_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::slab::Slab;
    use crate::net::socket::Socket;
    use std::collections::HashSet;

    fn binding(socket: SocketId, addr: [u8; 4]) -> Binding {
        Binding {
            socket,
            addr: addr.into(),
            reuse_addr: false,
            reuse_port: false,
            family: Family::Inet,
            v6_only: false,
            listening: false,
            ephemeral: false,
        }
    }

    fn ids() -> (SocketId, SocketId) {
        let mut slab: Slab<Socket> = Slab::default();
        let mut make = || slab.insert(Socket::for_tests());
        (make(), make())
    }

    const ANY: [u8; 4] = [0; 4];

    #[test]
    fn sharing_follows_socket_7() {
        let (a, b) = ids();
        let mut rng = Rng::new([1; 16]);
        let reuse = |b: Binding| Binding { reuse_addr: true, ..b };
        let mut t = PortTable::new(Sharing::Tcp);
        t.bind(80, binding(a, [10, 0, 0, 1]), &mut rng).unwrap();
        assert_eq!(t.bind(80, binding(b, ANY), &mut rng), Err(NetError::AddrInUse));
        assert_eq!(t.bind(80, binding(b, [10, 0, 0, 2]), &mut rng), Ok(80));
        t.bind(81, reuse(binding(a, ANY)), &mut rng).unwrap();
        assert_eq!(t.bind(81, reuse(binding(b, ANY)), &mut rng), Ok(81));
        t.listen(81, a).unwrap();
        assert_eq!(t.listen(81, b), Err(NetError::AddrInUse));
        t.unbind(81, b);
        assert_eq!(t.bind(81, reuse(binding(b, ANY)), &mut rng), Err(NetError::AddrInUse));
        let six = |b: Binding| Binding { family: Family::Inet6, ..b };
        t.bind(82, Binding { v6_only: true, ..six(binding(a, ANY)) }, &mut rng).unwrap();
        assert_eq!(t.bind(82, binding(b, ANY), &mut rng), Ok(82));
        // ::1 is apart from IPv4's wildcard, but not from IPv6's.
        t.bind(83, six(binding(a, LOOPBACK6.octets())), &mut rng).unwrap();
        assert_eq!(t.bind(83, six(binding(b, ANY)), &mut rng), Err(NetError::AddrInUse));
        assert_eq!(t.bind(83, binding(b, ANY), &mut rng), Ok(83));
    }

    #[test]
    fn time_wait_blocks_a_bind_without_reuse() {
        let (a, _) = ids();
        let mut rng = Rng::new([1; 16]);
        let mut t = PortTable::new(Sharing::Tcp);
        t.hold(80, true);
        assert_eq!(t.bind(80, binding(a, ANY), &mut rng), Err(NetError::AddrInUse));
        assert_eq!(t.bind(80, Binding { reuse_addr: true, ..binding(a, ANY) }, &mut rng), Ok(80));
        t.unbind(80, a);
        t.release(80, true);
        assert_eq!(t.bind(80, binding(a, ANY), &mut rng), Ok(80));
    }

    #[test]
    fn ephemeral_ports_are_random_and_run_out() {
        let (a, _) = ids();
        let mut rng = Rng::new([3; 16]);
        let mut t = PortTable::new(Sharing::Tcp);
        t.ephemeral = (40000, 40099);
        let ports: Vec<u16> = (0..100).map(|_| t.bind(0, binding(a, ANY), &mut rng).unwrap()).collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), 100);
        let steps = ports.windows(2).filter(|w| w[1] == w[0].wrapping_add(1)).count();
        assert!(steps < 20, "{steps} of 99 ports follow their predecessor");
        assert_eq!(t.bind(0, binding(a, ANY), &mut rng), Err(NetError::AddrInUse));
    }

    #[test]
    fn connections_to_different_peers_share_ephemeral_ports() {
        let (a, _) = ids();
        let mut rng = Rng::new([3; 16]);
        let mut t = PortTable::new(Sharing::Tcp);
        t.ephemeral = (40000, 40000);
        assert_eq!(t.bind_for_connection(binding(a, ANY), &mut rng, |_| true), Ok(40000));
        assert_eq!(t.bind_for_connection(binding(a, ANY), &mut rng, |_| true), Ok(40000));
        assert_eq!(t.bind_for_connection(binding(a, ANY), &mut rng, |_| false), Err(NetError::AddrNotAvailable));
    }
}
