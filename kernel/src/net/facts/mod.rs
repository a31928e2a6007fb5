//! What /proc/net and /sys/class/net show of the network.

mod counters;
mod sockets;

use super::network::network;
use super::tcp::engine::TcpState;
use super::{Family, IfIndex, LinkKind, NeighborState, NetStack, Route, RouteKind};
use crate::abi::if_arp::{ARPHRD_ETHER, ARPHRD_LOOPBACK};
use crate::abi::net::net_device_flags as iff;
use crate::fs::procfs::{self, NetFacts, NetTable, Statistics};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

/// Length of a line of /proc/net/route without its newline.
const ROUTE_LINE: usize = 127;
/// `RTF_*` of a route that is up, that has a gateway, that leads to one host.
const RTF_UP: u32 = 1;
const RTF_GATEWAY: u32 = 2;
const RTF_HOST: u32 = 4;

/// Makes the stack's facts known to procfs and sysfs.
pub fn register() {
    procfs::register_net_facts(Facts);
}

struct Facts;

fn interface(i: &super::Interface) -> procfs::Interface {
    let loopback = i.kind == LinkKind::Loopback;
    let (kind, address, broadcast) = match i.kind {
        LinkKind::Loopback => (iff::IFF_LOOPBACK as u32, [0; 6], [0; 6]),
        LinkKind::Ethernet => (iff::IFF_BROADCAST as u32 | iff::IFF_MULTICAST as u32, i.mac.0, [0xff; 6]),
    };
    let state = if i.up { iff::IFF_UP as u32 } else { 0 };
    let s = i.stats;
    procfs::Interface {
        name: i.name.clone(),
        index: i.index.0,
        address: address.to_vec(),
        broadcast: broadcast.to_vec(),
        mtu: i.mtu,
        flags: kind | state,
        hardware_type: if loopback { ARPHRD_LOOPBACK } else { ARPHRD_ETHER } as u16,
        carrier: i.up.then_some(true),
        operstate: match (i.up, loopback) {
            (false, _) => "down",
            (true, true) => "unknown",
            (true, false) => "up",
        },
        tx_queue_len: super::Interface::TXQ_LEN as u32,
        statistics: Statistics {
            rx_bytes: s.rx_bytes,
            rx_packets: s.rx_packets,
            rx_errors: s.rx_errors,
            rx_dropped: s.rx_dropped,
            multicast: s.multicast,
            tx_bytes: s.tx_bytes,
            tx_packets: s.tx_packets,
            tx_dropped: s.tx_dropped,
            ..Statistics::default()
        },
    }
}

/// An address as these files print it: the word in memory, in hexadecimal.
fn word(a: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(a.octets())
}

fn route_row(stack: &NetStack, route: &Route) -> Option<String> {
    let name = stack.interface(route.interface).map(|i| i.name.as_str())?;
    let mut flags = RTF_UP;
    if route.gateway.is_some() {
        flags |= RTF_GATEWAY;
    }
    if route.destination.bits() == 32 {
        flags |= RTF_HOST;
    }
    let row = format!(
        "{name}\t{:08X}\t{:08X}\t{flags:04X}\t0\t0\t{}\t{:08X}\t0\t0\t0",
        word(route.destination.network()),
        word(route.gateway.unwrap_or(Ipv4Addr::UNSPECIFIED)),
        route.metric,
        word(route.destination.netmask())
    );
    Some(format!("{row:<ROUTE_LINE$}\n"))
}

/// A line of /proc/net/arp.
fn neighbor_row(stack: &NetStack, e: &super::NeighborEntry) -> String {
    /// `ATF_COM`, `ATF_PERM`.
    const COMPLETE: u32 = 2;
    const PERMANENT: u32 = 4;
    let name = stack.interface(e.interface).map_or("*", |i| i.name.as_str());
    let permanent = if e.state == NeighborState::Permanent { PERMANENT } else { 0 };
    let flags = e.mac.map_or(0, |_| COMPLETE | permanent);
    let mac = e.mac.map_or_else(|| String::from("00:00:00:00:00:00"), |m| format!("{m}"));
    format!("{:<16} 0x{:<10x}0x{flags:<10x}{mac}     *        {name}\n", format!("{}", e.addr), ARPHRD_ETHER)
}

impl NetFacts for Facts {
    fn interfaces(&self) -> Vec<procfs::Interface> {
        network().look(|stack| stack.interfaces().iter().map(interface).collect())
    }

    fn rows(&self, table: NetTable, out: &mut String) {
        match table {
            NetTable::Unix => return sockets::unix(out),
            NetTable::Sockstat => return sockets::sockstat(out),
            _ => {}
        }
        network().look(|stack| match table {
            NetTable::Route => {
                let sent = stack.routes().filter(|r| r.kind == RouteKind::Unicast);
                out.extend(sent.filter_map(|r| route_row(stack, r)));
            }
            NetTable::Arp => out.extend(stack.neighbors().map(|e| neighbor_row(stack, &e))),
            NetTable::Tcp => sockets::tcp(stack, Family::Inet, out),
            NetTable::Tcp6 => sockets::tcp(stack, Family::Inet6, out),
            NetTable::Udp => sockets::udp(stack, Family::Inet, out),
            NetTable::Udp6 => sockets::udp(stack, Family::Inet6, out),
            NetTable::Raw => sockets::raw(stack, Family::Inet, out),
            NetTable::Raw6 => sockets::raw(stack, Family::Inet6, out),
            NetTable::Snmp => {
                let open = |s: TcpState| matches!(s, TcpState::Established | TcpState::CloseWait);
                let established =
                    stack.sockets.iter().filter(|(id, _)| stack.tcp_info(*id).is_ok_and(|i| open(i.state)));
                counters::snmp(stack.stats(), established.count(), out);
            }
            // The loopback address: interface, prefix length, scope (host), flags (permanent).
            NetTable::IfInet6 => {
                let up = stack.interface(IfIndex::LO).filter(|i| i.up);
                out.extend(up.map(|i| {
                    let address = u128::from(Ipv6Addr::LOCALHOST);
                    format!("{address:032x} {:02x} 80 10 80 {:>8}\n", i.index.0, i.name)
                }));
            }
            // No packet sockets; netlink sockets are not listed.
            _ => {}
        });
    }
}
