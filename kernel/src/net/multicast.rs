//! Multicast groups: who is a member (RFC 1112; ip(7), `IP_ADD_MEMBERSHIP`), and telling routers and switches so (IGMP
//! version 2, RFC 2236).
//!
//! Sockets join groups on interfaces. An interface that has a member takes the group's packets, and every socket that
//! is bound to their port gets one, unless it asked for its own groups only (`IP_MULTICAST_ALL`). The first member's
//! coming is reported, and again a little later, as reports can be lost; so is the last one's going. A router's query is
//! answered after a random time within its limit.
use super::checksum;
use super::datagram::DatagramSocket;
use super::error::NetError;
use super::interface::{IfIndex, Interface, LinkKind, QueuedFrame};
use super::ip::{IpLayer, NextHop};
use super::ipv4::{HEADER_LEN, Ipv4Header, protocol};
use super::link::multicast_mac;
use super::socket::SocketId;
use super::stack::NetStack;
use super::timer::sooner;
use crate::time::Instant;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;
use netdrv::FrameMeta;

/// Groups that one socket may join (`igmp_max_memberships`).
const MAX_GROUPS: usize = 20;
/// Every host on the link: whose packets all take, and of which nobody tells.
pub const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// Every router on the link: to whom leaving is told.
const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
/// Message types.
const QUERY: u8 = 0x11;
const REPORT: u8 = 0x16;
const LEAVE: u8 = 0x17;
/// Bytes of a message, and of the IP header with its one option in front.
const MESSAGE: usize = 8;
const LONG_HEADER: usize = HEADER_LEN + ROUTER_ALERT.len();
/// Routers look into the packet although it is not to them (RFC 2113).
const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];
/// The second report of a new member follows within this time.
const REPEAT: Duration = Duration::from_secs(10);

/// A group that an interface has members of.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// The address.
    pub addr: Ipv4Addr,
    /// How many sockets have joined it.
    pub members: u32,
    /// When it is reported next.
    report_at: Option<Instant>,
}

impl Interface {
    /// Whether packets to a group are for somebody here.
    pub(super) fn has_group(&self, group: Ipv4Addr) -> bool {
        group == ALL_HOSTS || self.groups.iter().any(|g| g.addr == group)
    }
}

impl DatagramSocket {
    /// Whether the socket itself has joined a group.
    pub(super) fn is_member(&self, group: Ipv4Addr) -> bool {
        self.groups.iter().any(|(g, _)| *g == group)
    }
}

impl NetStack {
    /// Joins a group on an interface, or on the one that its packets would leave through.
    ///
    /// # Errors
    /// `Invalid` for what is no group, `NoDevice`, `AddrInUse` for a member, `NoBuffers` beyond twenty groups.
    pub fn join_group(
        &mut self,
        id: SocketId,
        group: Ipv4Addr,
        interface: Option<IfIndex>,
        now: Instant,
    ) -> Result<(), NetError> {
        let index = self.group_interface(group, interface)?;
        let datagram = self.sockets.get_mut(id).ok_or(NetError::BadSocket)?.datagram_mut()?;
        if datagram.groups.contains(&(group, index)) {
            return Err(NetError::AddrInUse);
        }
        if datagram.groups.len() >= MAX_GROUPS {
            return Err(NetError::NoBuffers);
        }
        datagram.groups.push((group, index));
        self.ip.join(index, group, now);
        Ok(())
    }

    /// Leaves a group.
    ///
    /// # Errors
    /// `Invalid` for what is no group, `NoDevice`, `AddrNotAvailable` for a socket that has not joined it.
    pub fn leave_group(&mut self, id: SocketId, group: Ipv4Addr, interface: Option<IfIndex>) -> Result<(), NetError> {
        let index = self.group_interface(group, interface)?;
        let datagram = self.sockets.get_mut(id).ok_or(NetError::BadSocket)?.datagram_mut()?;
        let at = datagram.groups.iter().position(|joined| *joined == (group, index));
        let (group, index) = datagram.groups.remove(at.ok_or(NetError::AddrNotAvailable)?);
        self.ip.leave(index, group, self.now);
        Ok(())
    }

    fn group_interface(&self, group: Ipv4Addr, interface: Option<IfIndex>) -> Result<IfIndex, NetError> {
        if !group.is_multicast() {
            return Err(NetError::Invalid);
        }
        match interface {
            Some(index) => self.ip.interface(index).map(|i| i.index).ok_or(NetError::NoDevice),
            None => self.ip.path(group, None, None).map(|p| p.interface).map_err(|_| NetError::NoDevice),
        }
    }
}

impl IpLayer {
    fn join(&mut self, index: IfIndex, addr: Ipv4Addr, now: Instant) {
        let repeat = now + Duration::from_millis(self.rng.below(REPEAT.as_millis() as u32).into());
        self.generation += 1;
        let Ok(interface) = self.interface_mut(index) else { return };
        if let Some(group) = interface.groups.iter_mut().find(|g| g.addr == addr) {
            group.members += 1;
            return;
        }
        let told = interface.kind == LinkKind::Ethernet && addr != ALL_HOSTS;
        interface.groups.push(Group { addr, members: 1, report_at: told.then_some(repeat) });
        if told {
            self.next_report = sooner(self.next_report, Some(repeat));
            self.tell(index, REPORT, addr, addr, now);
        }
    }

    /// A member of a group has gone.
    pub(super) fn leave(&mut self, index: IfIndex, addr: Ipv4Addr, now: Instant) {
        let Ok(interface) = self.interface_mut(index) else { return };
        let Some(at) = interface.groups.iter().position(|g| g.addr == addr) else { return };
        interface.groups[at].members -= 1;
        if interface.groups[at].members > 0 {
            return;
        }
        interface.groups.swap_remove(at);
        let told = interface.kind == LinkKind::Ethernet && addr != ALL_HOSTS;
        self.generation += 1;
        if told {
            self.tell(index, LEAVE, addr, ALL_ROUTERS, now);
        }
    }

    /// Takes an IGMP message, of which only queries matter to a host: reports are put off to a time within their limit.
    pub(super) fn igmp_input(&mut self, index: IfIndex, message: &[u8], now: Instant) {
        let Some(&[QUERY, tenths, _, _, a, b, c, d]) = message.first_chunk::<MESSAGE>() else { return };
        if checksum::of(message) != 0 {
            return;
        }
        let about = Ipv4Addr::new(a, b, c, d);
        // Zero is version 1, which means ten seconds.
        let limit = u32::from(if tenths == 0 { 100 } else { tenths }) * 100;
        let delays: Vec<u32> =
            (0..self.interface(index).map_or(0, |i| i.groups.len())).map(|_| self.rng.below(limit)).collect();
        let Ok(interface) = self.interface_mut(index) else { return };
        let asked = |g: &&mut Group| g.addr != ALL_HOSTS && (about.is_unspecified() || g.addr == about);
        let mut next = None;
        for (group, delay) in interface.groups.iter_mut().filter(asked).zip(delays) {
            group.report_at = sooner(group.report_at, Some(now + Duration::from_millis(delay.into())));
            next = sooner(next, group.report_at);
        }
        self.next_report = sooner(self.next_report, next);
    }

    /// Sends the reports that are due.
    pub(super) fn report_groups(&mut self, now: Instant) {
        if self.next_report.is_none_or(|at| at > now) {
            return;
        }
        self.next_report = None;
        let mut due = Vec::new();
        for interface in &mut self.interfaces {
            for group in &mut interface.groups {
                if group.report_at.is_some_and(|at| at <= now) {
                    group.report_at = None;
                    due.push((interface.index, group.addr));
                }
                self.next_report = sooner(self.next_report, group.report_at);
            }
        }
        for (index, addr) in due {
            self.tell(index, REPORT, addr, addr, now);
        }
    }

    fn tell(&mut self, index: IfIndex, kind: u8, group: Ipv4Addr, dst: Ipv4Addr, now: Instant) {
        let Some(interface) = self.interface(index).filter(|i| i.up) else { return };
        let source = interface.source_for(dst).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let path = self.path_on(interface, NextHop::Group(multicast_mac(dst)), source);
        let header = Ipv4Header {
            ttl: 1,
            tos: 0xc0,
            ident: self.next_ident(source, dst),
            ..Ipv4Header::new(source, dst, protocol::IGMP, ROUTER_ALERT.len() + MESSAGE)
        };
        let mut buf = self.pool.get(LONG_HEADER + MESSAGE);
        let packet = buf.bytes_mut();
        header.write(packet);
        packet[0] = 0x40 | (LONG_HEADER / 4) as u8;
        packet[HEADER_LEN..LONG_HEADER].copy_from_slice(&ROUTER_ALERT);
        packet[10..12].fill(0);
        let sum = checksum::of(&packet[..LONG_HEADER]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        let message = &mut packet[LONG_HEADER..];
        message.copy_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        message[4..].copy_from_slice(&group.octets());
        let sum = checksum::of(message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        self.send(&path, QueuedFrame { meta: FrameMeta::default(), buf, charge: None }, now, None);
    }
}
