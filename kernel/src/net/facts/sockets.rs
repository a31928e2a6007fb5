//! Tables of sockets: `/proc/net/{tcp,tcp6,udp,udp6,raw,raw6,unix,sockstat}` (proc_pid_net(5)).
//!
//! User and inode of internet sockets are not shown: the stack knows neither programs nor files.

use super::word;
use crate::net::datagram::DatagramSocket;
use crate::net::datagram_ports::DatagramProtocol;
use crate::net::network::network;
use crate::net::socket::Inner;
use crate::net::tcp::TcpInfo;
use crate::net::tcp::engine::TcpState;
use crate::net::{Family, NetStack, SocketId, unix};
use alloc::format;
use alloc::string::String;
use core::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

/// Length of a line of `/proc/net/tcp` and of `/proc/net/udp`, without the newline.
const TCP_LINE: usize = 149;
const UDP_LINE: usize = 127;

/// `SS_UNCONNECTED` and `SS_CONNECTED`.
const UNCONNECTED: u8 = 1;
const CONNECTED: u8 = 3;
/// `__SO_ACCEPTCON`.
const ACCEPTS: u32 = 0x1_0000;

const NONE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

/// An address as these files print it: its words in memory, in hexadecimal, and the port.
fn end(address: SocketAddr) -> String {
    let port = address.port();
    match address.ip() {
        IpAddr::V4(ip) => format!("{:08X}:{port:04X}", word(ip)),
        IpAddr::V6(ip) => {
            let mut text = String::new();
            for w in ip.octets().as_chunks::<4>().0 {
                text.push_str(&format!("{:08X}", u32::from_ne_bytes(*w)));
            }
            format!("{text}:{port:04X}")
        }
    }
}

/// `/proc/net/tcp` or `/proc/net/tcp6`: listeners and connections that a socket stands for.
pub(super) fn tcp(stack: &NetStack, family: Family, out: &mut String) {
    let mut number = 0;
    for (id, socket) in stack.sockets.iter().filter(|(_, s)| s.family == family) {
        let (Inner::Tcp(tcp), Ok(info)) = (&socket.inner, stack.tcp_info(id)) else { continue };
        let (Some(local), peer) = stack.tcp_addresses(tcp) else { continue };
        if info.state == TcpState::Closed {
            continue;
        }
        let TcpInfo { send_queued, receive_queued, .. } = info;
        let (local, peer) = (end(family.show(local)), end(family.show(peer.unwrap_or(NONE))));
        let row = format!(
            "{number:4}: {local} {peer} {:02X} {send_queued:08X}:{receive_queued:08X} 00:00000000 00000000 {:5} {:8} {} 1 {:016x} 20 4 30 10 -1",
            info.state as u8, 0, 0, 0, 0
        );
        out.push_str(&format!("{row:<TCP_LINE$}\n"));
        number += 1;
    }
}

/// `/proc/net/udp`, `/proc/net/raw` and their like: the sockets whose protocol `wanted` accepts.
fn datagrams(stack: &NetStack, family: Family, out: &mut String, wanted: fn(&DatagramProtocol) -> Option<u16>) {
    let mut number = 0;
    for (id, socket) in stack.sockets.iter().filter(|(_, s)| s.family == family) {
        let Inner::Datagram(datagram) = &socket.inner else { continue };
        let DatagramSocket { protocol, local, peer, drops, .. } = datagram;
        let Some(shown) = wanted(protocol) else { continue };
        let port = if shown == 0 { local.port() } else { shown };
        if port == 0 {
            continue;
        }
        let (local, state) = (SocketAddrV4::new(*local.ip(), port), if peer.is_some() { 1 } else { 7 });
        let (local, peer) = (end(family.show(local)), end(family.show(peer.unwrap_or(NONE))));
        let waiting = queued(stack, id);
        let row = format!(
            "{number:5}: {local} {peer} {state:02X} {:08X}:{waiting:08X} 00:00000000 00000000 {:5} {:8} {} 2 {:016x} {drops}",
            datagram.sending, 0, 0, 0, 0
        );
        out.push_str(&format!("{row:<UDP_LINE$}\n"));
        number += 1;
    }
}

fn queued(stack: &NetStack, id: SocketId) -> usize {
    stack.next_datagram_len(id).ok().flatten().unwrap_or(0)
}

/// `/proc/net/udp` or `/proc/net/udp6`.
pub(super) fn udp(stack: &NetStack, family: Family, out: &mut String) {
    datagrams(stack, family, out, |p| matches!(p, DatagramProtocol::Udp).then_some(0));
}

/// `/proc/net/raw` or `/proc/net/raw6`: the protocol stands where the port would.
pub(super) fn raw(stack: &NetStack, family: Family, out: &mut String) {
    datagrams(stack, family, out, |p| match p {
        DatagramProtocol::Raw(number) => Some(u16::from(*number)),
        _ => None,
    });
}

/// `/proc/net/unix`.
pub(super) fn unix(out: &mut String) {
    for endpoint in unix::all_endpoints() {
        let s = endpoint.summary();
        let flags = if s.listening { ACCEPTS } else { 0 };
        let state = if s.connected { CONNECTED } else { UNCONNECTED };
        let row = format!("{:016x}: {:08X} {:08X} {flags:08X} {:04X} {state:02X} {:5}", 0, 2, 0, s.kind as u32, s.id);
        out.push_str(&row);
        if let Some(name) = &s.name {
            out.push(' ');
            out.push_str(&String::from_utf8_lossy(name));
        }
        out.push('\n');
    }
}

/// `/proc/net/sockstat`.
pub(super) fn sockstat(out: &mut String) {
    let (mut tcp, mut udp, mut raw) = (0, 0, 0);
    network().look(|stack| {
        for (_, socket) in stack.sockets.iter() {
            match &socket.inner {
                Inner::Tcp(_) => tcp += 1,
                Inner::Datagram(d) if matches!(d.protocol, DatagramProtocol::Raw(_)) => raw += 1,
                Inner::Datagram(_) => udp += 1,
            }
        }
    });
    let used = tcp + udp + raw + unix::all_endpoints().len();
    out.push_str(&format!(
        "sockets: used {used}\nTCP: inuse {tcp} orphan 0 tw 0 alloc {tcp} mem 0\nUDP: inuse {udp} mem 0\n\
         UDPLITE: inuse 0\nRAW: inuse {raw}\nFRAG: inuse 0 memory 0\n"
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_words_in_memory() {
        assert_eq!(end("127.0.0.1:8080".parse().unwrap()), "0100007F:1F90");
        assert_eq!(end("[::ffff:127.0.0.1]:80".parse().unwrap()), "0000000000000000FFFF00000100007F:0050");
    }
}
