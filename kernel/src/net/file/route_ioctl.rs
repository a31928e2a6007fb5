//! The ioctl(2) calls on routes and neighbours (route(8), arp(7)).

use super::interface_ioctl::prefix;
use crate::abi::if_arp::ARPHRD_ETHER;
use crate::abi::ioctl::{SIOCADDRT, SIOCDELRT, SIOCSARP};
use crate::error::{Errno, Result};
use crate::mm::UserSlice;
use crate::net::netlink::notify;
use crate::net::network::network;
use crate::net::{IfIndex, NeighborState, NetStack, NextHop, Route, RouteKind, RouteProtocol};
use alloc::string::String;
use core::net::Ipv4Addr;
use netdrv::MacAddr;

/// Bytes of `struct rtentry`, and where its fields are.
const ENTRY: usize = 120;
const DESTINATION: usize = 8;
const GATEWAY: usize = 24;
const MASK: usize = 40;
const FLAGS: usize = 56;
const METRIC: usize = 80;
const DEVICE: usize = 88;

/// `RTF_GATEWAY`, `RTF_HOST`, `RTF_REJECT`.
const RTF_GATEWAY: u16 = 0x2;
const RTF_HOST: u16 = 0x4;
const RTF_REJECT: u16 = 0x200;

/// Bytes of `struct arpreq`, and where its fields are.
const ARP_REQUEST: usize = 68;
const ARP_HARDWARE: usize = 16;
const ARP_FLAGS: usize = 32;
const ARP_DEVICE: usize = 52;
/// `ATF_COM`, `ATF_PERM`, `ATF_PUBL`.
const COMPLETE: u32 = 0x02;
const PERMANENT: u32 = 0x04;
const PUBLISHED: u32 = 0x08;

/// The IPv4 address of a `struct sockaddr_in`.
fn ipv4(bytes: &[u8], at: usize) -> Ipv4Addr {
    bytes.get(at + 4..).and_then(|b| b.first_chunk::<4>()).map_or(Ipv4Addr::UNSPECIFIED, |b| Ipv4Addr::from(*b))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u16::from_ne_bytes(*b))
}

fn text(bytes: &[u8]) -> Result<String> {
    let text = bytes.split(|&b| b == 0).next().unwrap_or_default();
    core::str::from_utf8(text).map(Into::into).map_err(|_| Errno::ENODEV.into())
}

/// Adds or deletes a route or a neighbour.
pub(super) fn change(request: u32, arg: usize) -> Result<usize> {
    match request {
        SIOCADDRT | SIOCDELRT => change_route(request == SIOCADDRT, arg),
        _ => change_neighbor(request == SIOCSARP, arg),
    }
}

fn change_route(add: bool, arg: usize) -> Result<usize> {
    let mut entry = [0; ENTRY];
    UserSlice::new(arg, ENTRY).read(&mut entry)?;
    let device = entry[DEVICE..].first_chunk().map_or(0, |b| usize::from_ne_bytes(*b));
    let device = if device == 0 {
        None
    } else {
        let mut name = [0; 16];
        UserSlice::new(device, name.len()).read(&mut name)?;
        Some(text(&name)?)
    };
    let flags = u16_at(&entry, FLAGS);
    let mask = if flags & RTF_HOST != 0 { Ipv4Addr::BROADCAST } else { ipv4(&entry, MASK) };
    let destination = prefix(ipv4(&entry, DESTINATION), mask)?;
    let gateway = Some(ipv4(&entry, GATEWAY)).filter(|g| flags & RTF_GATEWAY != 0 && !g.is_unspecified());
    // rt_metric counts from one.
    let metric = u32::from(u16_at(&entry, METRIC).saturating_sub(1));
    let reject = flags & RTF_REJECT != 0;
    let route = network().call(|stack, _| {
        let named = device.as_deref().map(|name| stack.interface_by_name(name).map(|i| i.index).ok_or(Errno::ENODEV));
        let named = named.transpose()?;
        if !add {
            let fits = |r: &Route| {
                r.destination == destination
                    && gateway.is_none_or(|g| r.gateway == Some(g))
                    && named.is_none_or(|i| r.interface == i)
                    && (metric == 0 || r.metric == metric)
            };
            return Ok(stack.remove_route(fits)?);
        }
        let interface = out_of(stack, named, gateway, reject)?;
        let kind = if reject { RouteKind::Unreachable } else { RouteKind::Unicast };
        let protocol = RouteProtocol::Boot;
        let route = Route { destination, gateway, interface, metric, source: None, protocol, kind };
        stack.add_route(route.clone())?;
        Ok::<Route, crate::error::Error>(route)
    })?;
    notify::route_changed(&route, add);
    Ok(0)
}

/// The interface that a new route leads out of.
fn out_of(stack: &NetStack, named: Option<IfIndex>, gateway: Option<Ipv4Addr>, reject: bool) -> Result<IfIndex> {
    match (named, gateway) {
        _ if reject => Ok(IfIndex::LO),
        (Some(index), _) => Ok(index),
        (None, Some(gateway)) => match stack.ip.path(gateway, None, None)? {
            path if path.next_hop == NextHop::Neighbor(gateway) => Ok(path.interface),
            _ => Err(Errno::ENETUNREACH.because("the gateway is not on a link")),
        },
        (None, None) => Err(Errno::ENODEV.because("neither a device nor a gateway")),
    }
}

/// The interface that an ARP request names, or on whose link the address is.
fn arp_interface(stack: &NetStack, name: &str, address: Ipv4Addr) -> Result<IfIndex> {
    if !name.is_empty() {
        return stack.interface_by_name(name).map(|i| i.index).ok_or_else(|| Errno::ENODEV.into());
    }
    Ok(stack.ip.path(address, None, None)?.interface)
}

fn read_arp(arg: usize) -> Result<([u8; ARP_REQUEST], Ipv4Addr, String)> {
    let mut request = [0; ARP_REQUEST];
    UserSlice::new(arg, ARP_REQUEST).read(&mut request)?;
    let device = text(&request[ARP_DEVICE..])?;
    Ok((request, ipv4(&request, 0), device))
}

fn change_neighbor(add: bool, arg: usize) -> Result<usize> {
    let (request, address, device) = read_arp(arg)?;
    let flags = request[ARP_FLAGS..].first_chunk().map_or(0, |b| u32::from_ne_bytes(*b));
    if flags & PUBLISHED != 0 {
        return Err(Errno::EOPNOTSUPP.because("there is no proxy ARP"));
    }
    let hardware = &request[ARP_HARDWARE..];
    let mac = MacAddr([hardware[2], hardware[3], hardware[4], hardware[5], hardware[6], hardware[7]]);
    network().call(|stack, now| {
        let index = arp_interface(stack, &device, address)?;
        if add {
            let state = if flags & PERMANENT != 0 { NeighborState::Permanent } else { NeighborState::Stale };
            stack.set_neighbor(index, address, mac, state, now)?;
            return Ok(());
        }
        if !stack.neighbors().any(|e| e.interface == index && e.addr == address) {
            return Err(Errno::ENXIO.because("no such neighbour"));
        }
        stack.flush_neighbors(|i, a| i == index && a == address);
        Ok::<(), crate::error::Error>(())
    })?;
    Ok(0)
}

/// SIOCGARP: what is known of a neighbour. ENXIO if nothing is.
pub(super) fn neighbor(arg: usize) -> Result<usize> {
    let (mut request, address, device) = read_arp(arg)?;
    let entry = network().look(|stack| {
        let index = arp_interface(stack, &device, address)?;
        let found = stack.neighbors().find(|e| e.interface == index && e.addr == address);
        found.ok_or_else(|| Errno::ENXIO.because("no such neighbour"))
    })?;
    let permanent = if entry.state == NeighborState::Permanent { PERMANENT } else { 0 };
    let flags = entry.mac.map_or(0, |_| COMPLETE | permanent);
    request[ARP_HARDWARE..ARP_HARDWARE + 2].copy_from_slice(&(ARPHRD_ETHER as u16).to_ne_bytes());
    request[ARP_HARDWARE + 2..ARP_HARDWARE + 8].copy_from_slice(&entry.mac.map_or([0; 6], |m| m.0));
    request[ARP_FLAGS..ARP_FLAGS + 4].copy_from_slice(&flags.to_ne_bytes());
    UserSlice::new(arg, ARP_REQUEST).write(&request)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Prefix;

    #[test]
    fn masks_have_no_holes_and_addresses_no_bits_below_them() {
        let a = Ipv4Addr::new;
        assert_eq!(prefix(a(10, 0, 0, 0), a(255, 0, 0, 0)).ok(), Prefix::new(a(10, 0, 0, 0), 8));
        assert_eq!(prefix(a(0, 0, 0, 0), a(0, 0, 0, 0)).ok(), Some(Prefix::DEFAULT));
        assert!(prefix(a(10, 0, 0, 0), a(255, 0, 255, 0)).is_err());
        assert!(prefix(a(10, 0, 0, 1), a(255, 0, 0, 0)).is_err());
    }

    #[test]
    fn fields_are_where_the_structures_have_them() {
        let mut entry = [0; ENTRY];
        entry[DESTINATION + 4..DESTINATION + 8].copy_from_slice(&[10, 1, 2, 0]);
        assert_eq!(ipv4(&entry, DESTINATION), Ipv4Addr::new(10, 1, 2, 0));
        assert_eq!(ipv4(&entry[..4], DESTINATION), Ipv4Addr::UNSPECIFIED);
        assert_eq!(text(b"eth0\0rest").ok().as_deref(), Some("eth0"));
    }
}
