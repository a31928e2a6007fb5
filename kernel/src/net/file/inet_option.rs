//! Options and ancillary data of internet sockets: socket(7), tcp(7), udp(7), ip(7), ipv6(7), raw(7).
//!
//! An option is one of three things: it changes the stack's socket; it is kept, because it changes what the calls
//! return or is a hint that may be ignored ([`KEPT`]); or it asks for what does not exist, and is ENOPROTOOPT.

use super::address::AF_INET;
use super::inet::{InetSocket, int_message};
use super::option::{KeptOption, OptionValue, SOL_SOCKET, int_bytes, unknown_option};
use super::{ControlMessage, tcp_info};
use crate::abi::net::*;
use crate::error::{Errno, Result};
use crate::net::network::network;
use crate::net::tcp::engine::Congestion;
use crate::net::tcp::{self, congestion_name};
use crate::net::{DatagramInfo, Family, IfIndex, PacketChoices, SocketKind, SocketOptions, UDP_HEADER};
use crate::task::{Capability, Thread};
use crate::time::Duration;
use alloc::vec;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Levels are protocol numbers.
const SOL_IP: i32 = 0;
const SOL_TCP: i32 = 6;
const SOL_IPV6: i32 = 41;
const SOL_UDPLITE: i32 = 136;
const SOL_RAW: i32 = 255;
/// `ICMP_FILTER` of SOL_RAW (linux/icmp.h).
const ICMP_FILTER: u32 = 1;
/// Options of SOL_UDPLITE (udplite(7)).
const UDPLITE_SEND_CSCOV: u32 = 10;
const UDPLITE_RECV_CSCOV: u32 = 11;
/// Bytes of a congestion control's name with its NUL (`TCP_CA_NAME_MAX`).
const CONGESTION_NAME_LEN: usize = 16;
/// Ancillary data of unix(7).
const SCM_RIGHTS: u32 = 1;
const SCM_CREDENTIALS: u32 = 2;

/// `net.core.wmem_max` and `rmem_max`: what SO_SNDBUF and SO_RCVBUF give at most.
const BUFFER_MAX: usize = tcp::MAX_BUFFER / 2;

/// Options that are kept. Those of SOL_TCP are hints: the engine decides by itself.
pub(super) const KEPT: &[KeptOption] = &[
    (SOL_TCP, TCP_SYNCNT, 1, 127, 6),
    (SOL_TCP, TCP_LINGER2, i32::MIN, i32::MAX, 60),
    (SOL_TCP, TCP_DEFER_ACCEPT, i32::MIN, i32::MAX, 0),
    (SOL_TCP, TCP_WINDOW_CLAMP, 0, i32::MAX, 0),
    (SOL_TCP, TCP_NOTSENT_LOWAT, i32::MIN, i32::MAX, -1),
    (SOL_TCP, TCP_THIN_LINEAR_TIMEOUTS, 0, 1, 0),
    (SOL_TCP, TCP_THIN_DUPACK, 0, 1, 0),
    (SOL_IP, IP_PKTINFO, 0, 1, 0),
    (SOL_IP, IP_RECVTTL, 0, 1, 0),
    (SOL_IP, IP_RECVTOS, 0, 1, 0),
    (SOL_IP, IP_RECVERR, 0, 1, 0),
    (SOL_IP, IP_RECVOPTS, 0, 1, 0),
    (SOL_IP, IP_RETOPTS, 0, 1, 0),
    (SOL_IP, IP_BIND_ADDRESS_NO_PORT, 0, 1, 0),
    (SOL_IPV6, IPV6_RECVPKTINFO, 0, 1, 0),
    (SOL_IPV6, IPV6_RECVHOPLIMIT, 0, 1, 0),
    (SOL_IPV6, IPV6_RECVTCLASS, 0, 1, 0),
    (SOL_IPV6, IPV6_RECVERR, 0, 1, 0),
    (SOL_IPV6, IPV6_AUTOFLOWLABEL, 0, 1, 1),
    (SOL_IPV6, IPV6_MULTICAST_LOOP, 0, 1, 1),
];

/// Which protocol's option this is: ENOPROTOOPT if the socket speaks another.
fn check_level(socket: &InetSocket, level: i32) -> Result<()> {
    let fits = match level {
        SOL_SOCKET | SOL_IP => true,
        SOL_TCP => socket.kind == SocketKind::Tcp,
        SOL_IPV6 => socket.family == Family::Inet6,
        SOL_RAW => matches!(socket.kind, SocketKind::Raw(_)),
        SOL_UDPLITE => socket.kind == SocketKind::UdpLite,
        _ => false,
    };
    if fits { Ok(()) } else { Err(unknown_option(level)) }
}

/// setsockopt(2).
pub(super) fn set(socket: &InetSocket, t: &Thread, level: i32, name: i32, value: &OptionValue<'_>) -> Result<()> {
    check_level(socket, level)?;
    if let Some(result) = socket.kept.set(level, name, value) {
        return result;
    }
    let name = name as u32;
    match level {
        SOL_SOCKET => set_socket(socket, t, name, value),
        SOL_TCP => set_tcp(socket, name, value),
        SOL_IP => set_ip(socket, name, value),
        SOL_IPV6 => set_ipv6(socket, name, value),
        SOL_RAW if name == ICMP_FILTER => {
            let mask = value.int()? as u32;
            change(socket, |o| o.icmp_filter = mask)
        }
        SOL_UDPLITE => set_coverage(socket, name, value.int()?),
        _ => Err(unknown_option(level)),
    }
}

/// Bytes that a UDP-Lite checksum covers: none is meant as all, and less than the header as the header (udplite(7)).
fn set_coverage(socket: &InetSocket, name: u32, value: i32) -> Result<()> {
    let coverage = match value {
        0 => 0,
        v => v.clamp(UDP_HEADER as i32, u16::MAX.into()) as u16,
    };
    match name {
        UDPLITE_SEND_CSCOV => change(socket, |o| o.send_coverage = coverage),
        UDPLITE_RECV_CSCOV => change(socket, |o| o.receive_coverage = coverage),
        _ => Err(unknown_option(SOL_UDPLITE)),
    }
}

/// Changes the stack's options; what follows from it is sent at once.
fn change(socket: &InetSocket, f: impl FnOnce(&mut SocketOptions)) -> Result<()> {
    Ok(network().call_sending(|stack, _| stack.set_options(socket.id(), f))?)
}

fn set_socket(socket: &InetSocket, t: &Thread, name: u32, value: &OptionValue<'_>) -> Result<()> {
    let v = if matches!(name, SO_BINDTODEVICE | SO_LINGER) { 0 } else { value.int()? };
    let on = v != 0;
    let bytes = || v.max(0) as usize;
    match name {
        SO_REUSEADDR => change(socket, |o| o.reuse_addr = on),
        SO_REUSEPORT => change(socket, |o| o.reuse_port = on),
        SO_BROADCAST => change(socket, |o| o.broadcast = on),
        SO_KEEPALIVE => change(socket, |o| o.keepalive = on),
        SO_RCVLOWAT => {
            let bytes = if v < 0 { i32::MAX } else { v.max(1) };
            change(socket, |o| o.receive_low_water = bytes as usize)
        }
        SO_SNDBUF => change(socket, |o| o.send_buffer = Some(bytes().clamp(tcp::MIN_BUFFER / 2, BUFFER_MAX))),
        SO_RCVBUF => change(socket, |o| o.receive_buffer = Some(bytes().clamp(tcp::MIN_BUFFER / 2, BUFFER_MAX))),
        SO_SNDBUFFORCE | SO_RCVBUFFORCE => {
            if !t.credentials().capable(Capability::NetAdmin) {
                return Err(Errno::EPERM.because("needs CAP_NET_ADMIN"));
            }
            set_socket(socket, t, if name == SO_SNDBUFFORCE { SO_SNDBUF } else { SO_RCVBUF }, value)
        }
        SO_LINGER => {
            let (on, seconds) = value.ints()?;
            let linger = (on != 0).then(|| Duration::from_secs(seconds.max(0) as u64));
            change(socket, |o| o.linger = linger)
        }
        SO_BINDTODEVICE => {
            let name = core::str::from_utf8(value.text()).map_err(|_| Errno::ENODEV)?;
            let device = if name.is_empty() {
                None
            } else {
                let found = network().look(|stack| stack.interface_by_name(name).map(|i| i.index));
                Some(found.ok_or(Errno::ENODEV.because("no interface has this name"))?)
            };
            change(socket, |o| o.bound_device = device)
        }
        SO_BINDTOIFINDEX => {
            let device = u32::try_from(v).map_err(|_| Errno::EINVAL)?;
            let device = (device != 0).then_some(IfIndex(device));
            if device.is_some_and(|d| network().look(|stack| stack.interface(d).is_none())) {
                return Err(Errno::ENODEV.into());
            }
            change(socket, |o| o.bound_device = device)
        }
        SO_PASSCRED => Err(Errno::EOPNOTSUPP.because("credentials go with unix sockets")),
        SO_DETACH_FILTER => Err(Errno::ENOENT.because("no filter is attached")),
        SO_ERROR | SO_ACCEPTCONN | SO_PEERCRED | SO_SNDLOWAT => Err(Errno::ENOPROTOOPT.because("cannot be set")),
        _ => Err(unknown_option(SOL_SOCKET)),
    }
}

fn set_tcp(socket: &InetSocket, name: u32, value: &OptionValue<'_>) -> Result<()> {
    if name == TCP_CONGESTION {
        let wanted = core::str::from_utf8(value.text()).ok().and_then(Congestion::from_name);
        let wanted = wanted.ok_or(Errno::ENOENT.because("this congestion control does not exist; reno does"))?;
        return change(socket, |o| o.congestion = Some(wanted));
    }
    let v = value.int()?;
    let on = v != 0;
    let ranged = |least: i32, greatest: i32| {
        let inside = (least..=greatest).contains(&v);
        inside.then_some(v as u32).ok_or(Errno::EINVAL.because("the option's value is out of range"))
    };
    match name {
        TCP_NODELAY => change(socket, |o| o.nodelay = on),
        TCP_CORK => change(socket, |o| o.cork = on),
        TCP_QUICKACK => change(socket, |o| o.quick_ack = on),
        TCP_MAXSEG => {
            let bytes = if v == 0 { None } else { Some(ranged(88, 32767)? as u16) };
            change(socket, |o| o.max_segment = bytes)
        }
        TCP_KEEPIDLE => {
            let seconds = ranged(1, 32767)?;
            change(socket, |o| o.keep_idle = Duration::from_secs(seconds.into()))
        }
        TCP_KEEPINTVL => {
            let seconds = ranged(1, 32767)?;
            change(socket, |o| o.keep_interval = Duration::from_secs(seconds.into()))
        }
        TCP_KEEPCNT => {
            let count = ranged(1, 127)?;
            change(socket, |o| o.keep_count = count)
        }
        TCP_USER_TIMEOUT => {
            let millis = ranged(0, i32::MAX)?;
            let timeout = (millis != 0).then(|| Duration::from_millis(millis.into()));
            change(socket, |o| o.user_timeout = timeout)
        }
        TCP_FASTOPEN | TCP_FASTOPEN_CONNECT => Err(Errno::EOPNOTSUPP.because("TCP Fast Open is off")),
        TCP_INFO => Err(Errno::ENOPROTOOPT.because("cannot be set")),
        _ => Err(unknown_option(SOL_TCP)),
    }
}

/// Whether datagrams may be fragmented, by `IP_PMTUDISC_*`.
fn set_mtu_discover(socket: &InetSocket, v: i32) -> Result<()> {
    let mode = u32::try_from(v).ok().filter(|v| *v <= IP_PMTUDISC_OMIT).ok_or(Errno::EINVAL)?;
    change(socket, |o| o.dont_fragment = matches!(mode, IP_PMTUDISC_DO | IP_PMTUDISC_PROBE))
}

fn set_ip(socket: &InetSocket, name: u32, value: &OptionValue<'_>) -> Result<()> {
    match name {
        IP_MULTICAST_IF => return set_multicast_interface(socket, value),
        IP_ADD_MEMBERSHIP | IP_DROP_MEMBERSHIP => {
            let (group, interface) = membership(value)?;
            return change_membership(socket, name == IP_ADD_MEMBERSHIP, group, interface);
        }
        MCAST_JOIN_GROUP | MCAST_LEAVE_GROUP => {
            let (group, interface) = group_request(value)?;
            return change_membership(socket, name == MCAST_JOIN_GROUP, group, interface);
        }
        _ => {}
    }
    let v = value.int_or_byte()?;
    match name {
        IP_TOS => change(socket, |o| o.tos = v as u8),
        IP_TTL => {
            let ttl = match v {
                -1 => 64,
                1..=255 => v as u8,
                _ => return Err(Errno::EINVAL.because("a TTL is 1 to 255")),
            };
            change(socket, |o| o.ttl = ttl)
        }
        IP_MULTICAST_TTL if socket.kind != SocketKind::Tcp => {
            let ttl = if v == -1 { 1 } else { u8::try_from(v).map_err(|_| Errno::EINVAL)? };
            change(socket, |o| o.multicast_ttl = ttl)
        }
        IP_MULTICAST_LOOP => change(socket, |o| o.multicast_loop = v != 0),
        IP_MULTICAST_ALL if v == 0 || v == 1 => change(socket, |o| o.multicast_all = v != 0),
        IP_MULTICAST_ALL => Err(Errno::EINVAL.because("the option is 0 or 1")),
        IP_MTU_DISCOVER => set_mtu_discover(socket, v),
        IP_FREEBIND | IP_TRANSPARENT if v == 0 => Ok(()),
        IP_FREEBIND | IP_TRANSPARENT => Err(Errno::ENOPROTOOPT.because("foreign addresses cannot be bound")),
        IP_OPTIONS => Err(Errno::ENOPROTOOPT.because("there are no IP options")),
        IP_HDRINCL if matches!(socket.kind, SocketKind::Raw(_)) => change(socket, |o| o.header_included = v != 0),
        _ => Err(unknown_option(SOL_IP)),
    }
}

/// The interface that a number or else an address names; `None` if neither is given. `missing` if there is none.
fn named_interface(index: i32, address: Ipv4Addr, missing: Errno) -> Result<Option<IfIndex>> {
    network().look(|stack| {
        let found = match index {
            0 if address.is_unspecified() => return Ok(None),
            0 => stack.interfaces().iter().find(|i| i.owns(address)),
            index => stack.interface(IfIndex(index as u32)),
        };
        Ok(Some(found.map(|i| i.index).ok_or(missing)?))
    })
}

/// The four bytes of a value at an offset.
fn word(value: &OptionValue<'_>, at: usize) -> Option<[u8; 4]> {
    value.0.get(at..).and_then(|b| b.first_chunk::<4>()).copied()
}

/// `IP_MULTICAST_IF`: an address, `struct ip_mreq` or `struct ip_mreqn`.
fn set_multicast_interface(socket: &InetSocket, value: &OptionValue<'_>) -> Result<()> {
    let index = word(value, 8).map_or(0, i32::from_ne_bytes);
    let address = word(value, if value.0.len() >= 8 { 4 } else { 0 });
    let address = Ipv4Addr::from(address.ok_or(Errno::EINVAL)?);
    let interface = named_interface(index, address, Errno::EADDRNOTAVAIL)?;
    change(socket, |o| o.multicast_interface = interface)
}

/// A group and the interface that `struct ip_mreq` or `struct ip_mreqn` names.
fn membership(value: &OptionValue<'_>) -> Result<(Ipv4Addr, Option<IfIndex>)> {
    let (Some(group), Some(address)) = (word(value, 0), word(value, 4)) else {
        return Err(Errno::EINVAL.because("the option is a struct ip_mreq"));
    };
    let index = word(value, 8).map_or(0, i32::from_ne_bytes);
    Ok((group.into(), named_interface(index, address.into(), Errno::ENODEV)?))
}

/// The same from a `struct group_req`: an interface's number, and 8 bytes from the start a socket address.
fn group_request(value: &OptionValue<'_>) -> Result<(Ipv4Addr, Option<IfIndex>)> {
    /// `sizeof(struct group_req)`.
    const LEN: usize = 136;
    let family = value.0.get(8..).and_then(|b| b.first_chunk()).map(|b| u16::from_ne_bytes(*b));
    let (Some(index), Some(group), true) = (word(value, 0), word(value, 12), value.0.len() >= LEN) else {
        return Err(Errno::EINVAL.because("the option is a struct group_req"));
    };
    if family != Some(AF_INET) {
        return Err(Errno::EINVAL.because("groups are of IPv4"));
    }
    let index = i32::from_ne_bytes(index);
    Ok((group.into(), named_interface(index, Ipv4Addr::UNSPECIFIED, Errno::ENODEV)?))
}

/// Joins a group or leaves it. EPROTO on a TCP socket, which hears none.
fn change_membership(socket: &InetSocket, join: bool, group: Ipv4Addr, interface: Option<IfIndex>) -> Result<()> {
    if socket.kind == SocketKind::Tcp {
        return Err(Errno::EPROTO.because("streams have one peer"));
    }
    Ok(network().call_sending(|stack, now| match join {
        true => stack.join_group(socket.id(), group, interface, now),
        false => stack.leave_group(socket.id(), group, interface),
    })?)
}

fn set_ipv6(socket: &InetSocket, name: u32, value: &OptionValue<'_>) -> Result<()> {
    let v = value.int()?;
    match name {
        IPV6_V6ONLY => {
            let bound = network().look(|stack| stack.local_addr(socket.id())).is_ok_and(|a| a.port() != 0);
            if bound {
                return Err(Errno::EINVAL.because("the socket is bound already"));
            }
            change(socket, |o| o.v6_only = v != 0)
        }
        IPV6_TCLASS => {
            let class = if v == -1 { 0 } else { u8::try_from(v).map_err(|_| Errno::EINVAL)? };
            change(socket, |o| o.tos = class)
        }
        IPV6_UNICAST_HOPS => {
            let hops = if v == -1 { 64 } else { u8::try_from(v).map_err(|_| Errno::EINVAL)? };
            change(socket, |o| o.ttl = hops)
        }
        IPV6_MULTICAST_HOPS if socket.kind != SocketKind::Tcp => {
            let hops = if v == -1 { 1 } else { u8::try_from(v).map_err(|_| Errno::EINVAL)? };
            change(socket, |o| o.multicast_hops = hops)
        }
        IPV6_MULTICAST_IF if socket.kind != SocketKind::Tcp => {
            let interface = named_interface(v, Ipv4Addr::UNSPECIFIED, Errno::ENODEV)?;
            change(socket, |o| o.multicast_interface6 = interface)
        }
        IPV6_MTU_DISCOVER => set_mtu_discover(socket, v),
        IPV6_DONTFRAG => change(socket, |o| o.dont_fragment = v != 0),
        _ => Err(unknown_option(SOL_IPV6)),
    }
}

/// getsockopt(2).
pub(super) fn get(socket: &InetSocket, level: i32, name: i32) -> Result<Vec<u8>> {
    check_level(socket, level)?;
    if let Some(value) = socket.kept.get(level, name) {
        return Ok(int_bytes(value));
    }
    let options = network().look(|stack| stack.options(socket.id()).cloned())?;
    let name = name as u32;
    match level {
        SOL_SOCKET => get_socket(socket, name, &options),
        SOL_TCP => get_tcp(socket, name, &options),
        SOL_IP => get_ip(socket, name, &options),
        SOL_IPV6 => match name {
            IPV6_V6ONLY => Ok(int_bytes(options.v6_only.into())),
            IPV6_TCLASS => Ok(int_bytes(options.tos.into())),
            IPV6_UNICAST_HOPS => Ok(int_bytes(options.ttl.into())),
            IPV6_MULTICAST_HOPS => Ok(int_bytes(options.multicast_hops.into())),
            IPV6_MULTICAST_IF => Ok(int_bytes(options.multicast_interface6.map_or(0, |i| i.0 as i32))),
            IPV6_MTU_DISCOVER => get_ip(socket, IP_MTU_DISCOVER, &options),
            IPV6_DONTFRAG => Ok(int_bytes(options.dont_fragment.into())),
            IPV6_MTU => get_ip(socket, IP_MTU, &options),
            _ => Err(unknown_option(level)),
        },
        SOL_RAW if name == ICMP_FILTER => Ok(options.icmp_filter.to_ne_bytes().to_vec()),
        SOL_UDPLITE if name == UDPLITE_SEND_CSCOV => Ok(int_bytes(options.send_coverage.into())),
        SOL_UDPLITE if name == UDPLITE_RECV_CSCOV => Ok(int_bytes(options.receive_coverage.into())),
        _ => Err(unknown_option(level)),
    }
}

fn get_socket(socket: &InetSocket, name: u32, o: &SocketOptions) -> Result<Vec<u8>> {
    let (send, receive) = match socket.kind {
        SocketKind::Tcp => network().look(|stack| stack.tcp_buffers(socket.id()))?,
        _ => (crate::net::DATAGRAM_BUFFER, crate::net::DATAGRAM_BUFFER),
    };
    let size =
        |set, default| int_bytes(i32::try_from(SocketOptions::reported_buffer(set, default)).unwrap_or(i32::MAX));
    Ok(match name {
        SO_REUSEADDR => int_bytes(o.reuse_addr.into()),
        SO_REUSEPORT => int_bytes(o.reuse_port.into()),
        SO_BROADCAST => int_bytes(o.broadcast.into()),
        SO_KEEPALIVE => int_bytes(o.keepalive.into()),
        SO_RCVLOWAT => int_bytes(i32::try_from(o.receive_low_water).unwrap_or(i32::MAX)),
        SO_SNDLOWAT => int_bytes(1),
        SO_SNDBUF => size(o.send_buffer, send),
        SO_RCVBUF => size(o.receive_buffer, receive),
        SO_LINGER => {
            let seconds = o.linger.map_or(0, |l| i32::try_from(l.as_secs()).unwrap_or(i32::MAX));
            [i32::from(o.linger.is_some()).to_ne_bytes(), seconds.to_ne_bytes()].concat()
        }
        SO_ERROR => {
            let error = network().look(|stack| stack.take_error(socket.id()))?;
            int_bytes(error.map_or(0, |e| e.errno()))
        }
        SO_ACCEPTCONN => {
            let listens = socket.kind == SocketKind::Tcp
                && network()
                    .look(|stack| stack.tcp_info(socket.id()))
                    .is_ok_and(|i| i.state == tcp::engine::TcpState::Listen);
            int_bytes(listens.into())
        }
        SO_BINDTODEVICE => {
            let name = o.bound_device.and_then(|d| network().look(|stack| stack.interface(d).map(|i| i.name.clone())));
            let mut bytes = name.map_or(Vec::new(), |n| n.into_bytes());
            if !bytes.is_empty() {
                bytes.push(0);
            }
            bytes
        }
        SO_BINDTOIFINDEX => int_bytes(o.bound_device.map_or(0, |d| d.0 as i32)),
        // struct ucred: nobody's.
        SO_PEERCRED => [int_bytes(0), int_bytes(-1), int_bytes(-1)].concat(),
        _ => return Err(unknown_option(SOL_SOCKET)),
    })
}

fn get_tcp(socket: &InetSocket, name: u32, o: &SocketOptions) -> Result<Vec<u8>> {
    let info = || network().look(|stack| stack.tcp_info(socket.id()));
    let seconds = |d: Duration| int_bytes(i32::try_from(d.as_secs()).unwrap_or(i32::MAX));
    Ok(match name {
        TCP_NODELAY => int_bytes(o.nodelay.into()),
        TCP_CORK => int_bytes(o.cork.into()),
        TCP_QUICKACK => int_bytes(o.quick_ack.into()),
        TCP_MAXSEG => {
            let info = info()?;
            let connected = info.state != tcp::engine::TcpState::Closed && info.state != tcp::engine::TcpState::Listen;
            int_bytes(match o.max_segment {
                Some(set) if !connected => set.into(),
                _ => info.snd_mss as i32,
            })
        }
        TCP_KEEPIDLE => seconds(o.keep_idle),
        TCP_KEEPINTVL => seconds(o.keep_interval),
        TCP_KEEPCNT => int_bytes(o.keep_count as i32),
        TCP_USER_TIMEOUT => int_bytes(o.user_timeout.map_or(0, |d| i32::try_from(d.as_millis()).unwrap_or(i32::MAX))),
        TCP_INFO => tcp_info::encode(&info()?),
        TCP_CONGESTION => {
            let mut bytes = vec![0; CONGESTION_NAME_LEN];
            let name = congestion_name(o.congestion).as_bytes();
            bytes[..name.len()].copy_from_slice(name);
            bytes
        }
        TCP_FASTOPEN | TCP_FASTOPEN_CONNECT => int_bytes(0),
        _ => return Err(unknown_option(SOL_TCP)),
    })
}

fn get_ip(socket: &InetSocket, name: u32, o: &SocketOptions) -> Result<Vec<u8>> {
    Ok(match name {
        IP_TOS => int_bytes(o.tos.into()),
        IP_TTL => int_bytes(o.ttl.into()),
        IP_MULTICAST_TTL => int_bytes(o.multicast_ttl.into()),
        IP_MULTICAST_LOOP => int_bytes(o.multicast_loop.into()),
        IP_MULTICAST_ALL => int_bytes(o.multicast_all.into()),
        IP_MULTICAST_IF => {
            let first = |stack: &mut crate::net::NetStack| {
                let interface = o.multicast_interface.and_then(|i| stack.interface(i));
                interface.and_then(|i| i.addresses.first()).map_or(Ipv4Addr::UNSPECIFIED, |a| a.addr)
            };
            network().look(first).octets().to_vec()
        }
        IP_MTU_DISCOVER => int_bytes(if o.dont_fragment { IP_PMTUDISC_DO } else { IP_PMTUDISC_WANT } as i32),
        IP_MTU => {
            let mtu = network().look(|stack| {
                let peer = stack.peer_addr(socket.id())?;
                let ip = match socket.family.to_v4(peer)?.ip() {
                    ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST,
                    ip => *ip,
                };
                stack.path_mtu(ip)
            })?;
            int_bytes(mtu as i32)
        }
        IP_HDRINCL => int_bytes(o.header_included.into()),
        IP_FREEBIND | IP_TRANSPARENT => int_bytes(0),
        IP_OPTIONS => Vec::new(),
        _ => return Err(unknown_option(SOL_IP)),
    })
}

/// The ancillary data that the socket's options ask for with a received datagram.
pub(super) fn ancillary(socket: &InetSocket, info: &DatagramInfo) -> Vec<ControlMessage> {
    let mut messages = Vec::new();
    let wants = |level, name| socket.kept.is_set(level, name);
    if wants(SOL_IP, IP_PKTINFO) {
        // struct in_pktinfo: interface, local address, destination address.
        let octets = info.to.octets();
        let data = [(info.interface.0 as i32).to_ne_bytes(), octets, octets].concat();
        messages.push(ControlMessage { level: SOL_IP, kind: IP_PKTINFO as i32, data });
    }
    if wants(SOL_IP, IP_RECVTTL) {
        messages.push(int_message(SOL_IP, IP_TTL, info.ttl.into()));
    }
    if wants(SOL_IP, IP_RECVTOS) {
        messages.push(ControlMessage { level: SOL_IP, kind: IP_TOS as i32, data: vec![info.tos] });
    }
    if wants(SOL_IPV6, IPV6_RECVPKTINFO) {
        // struct in6_pktinfo: destination address, interface.
        let SocketAddr::V6(to) = Family::Inet6.show(SocketAddrV4::new(info.to, 0)) else { return messages };
        let mut data = to.ip().octets().to_vec();
        data.extend_from_slice(&info.interface.0.to_ne_bytes());
        messages.push(ControlMessage { level: SOL_IPV6, kind: IPV6_PKTINFO as i32, data });
    }
    if wants(SOL_IPV6, IPV6_RECVHOPLIMIT) {
        messages.push(int_message(SOL_IPV6, IPV6_HOPLIMIT, info.ttl.into()));
    }
    if wants(SOL_IPV6, IPV6_RECVTCLASS) {
        messages.push(int_message(SOL_IPV6, IPV6_TCLASS, info.tos.into()));
    }
    messages
}

/// What ancillary data of a program's chooses for the packet that it goes with (ip(7), ipv6(7)). EINVAL for what is
/// malformed, unknown, or beyond the stack.
pub(super) fn choices(control: &[ControlMessage]) -> Result<PacketChoices> {
    let mut choices = PacketChoices::default();
    for ControlMessage { level, kind, data } in control {
        let word = |at: usize| data.get(at..).and_then(|d| d.first_chunk::<4>()).copied();
        let int = || word(0).map(i32::from_ne_bytes).filter(|_| data.len() == 4);
        let octet = |v: i32, least: i32| u8::try_from(v).ok().filter(|_| v >= least);
        let understood = match (*level, *kind as u32) {
            // struct in_pktinfo: interface, source address, and a field that counts on reception only.
            (SOL_IP, IP_PKTINFO) => word(0).zip(word(4)).filter(|_| data.len() == 12).map(|(index, source)| {
                choices.interface = Some(IfIndex(u32::from_ne_bytes(index))).filter(|i| i.0 != 0);
                choices.source = Some(Ipv4Addr::from(source)).filter(|s| !s.is_unspecified());
            }),
            // struct in6_pktinfo: source address, interface.
            (SOL_IPV6, IPV6_PKTINFO) => data.first_chunk::<16>().zip(word(16)).and_then(|(source, index)| {
                let source = SocketAddrV6::new(Ipv6Addr::from(*source), 0, 0, 0);
                choices.interface = Some(IfIndex(u32::from_ne_bytes(index))).filter(|i| i.0 != 0);
                let own = Family::Inet6.to_v4(SocketAddr::V6(source)).ok()?;
                choices.source = Some(*own.ip()).filter(|s| !s.is_unspecified());
                Some(())
            }),
            // Of IPv6, -1 is the socket's own choice (RFC 3542, sections 6.3 and 6.5).
            (SOL_IPV6, IPV6_HOPLIMIT) if int() == Some(-1) => {
                choices.ttl = None;
                Some(())
            }
            (SOL_IPV6, IPV6_TCLASS) if int() == Some(-1) => {
                choices.tos = None;
                Some(())
            }
            (SOL_IP, IP_TTL) | (SOL_IPV6, IPV6_HOPLIMIT) => {
                int().and_then(|v| octet(v, 1)).map(|v| choices.ttl = Some(v))
            }
            (SOL_IPV6, IPV6_TCLASS) => int().and_then(|v| octet(v, 0)).map(|v| choices.tos = Some(v)),
            (SOL_IP, IP_TOS) => {
                let tos = if let [byte] = data[..] { Some(byte) } else { int().and_then(|v| octet(v, 0)) };
                tos.map(|v| choices.tos = Some(v))
            }
            // Descriptions and credentials are passed over, as on Linux; at other levels nobody looks.
            (SOL_SOCKET, SCM_RIGHTS | SCM_CREDENTIALS) => Some(()),
            (SOL_SOCKET | SOL_IP | SOL_IPV6, _) => None,
            _ => Some(()),
        };
        understood.ok_or(Errno::EINVAL.because("ancillary data that the stack cannot act on"))?;
    }
    Ok(choices)
}
