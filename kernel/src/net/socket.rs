//! Sockets: what a program holds. Their protocols' work is in `tcp`, `datagram`.

use super::addr::{Family, LOOPBACK6};
use super::datagram::DatagramSocket;
use super::error::NetError;
use super::interface::IfIndex;
use super::slab::Key;
use super::tcp::TcpSocket;
use super::tcp::engine::Congestion;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::time::Duration;

/// Names a socket; stale once it is closed.
pub type SocketId = Key<Socket>;

/// What `socket(2)` is asked for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum SocketKind {
    /// `SOCK_STREAM`.
    Tcp,
    /// `SOCK_DGRAM`.
    Udp,
    /// `SOCK_DGRAM`, `IPPROTO_UDPLITE`: checksums may cover a part (`udplite(7)`).
    UdpLite,
    /// `SOCK_DGRAM`, `IPPROTO_ICMP`: echo requests and their replies (`icmp(7)`).
    Ping,
    /// `SOCK_RAW` with a protocol number; receives whole IP packets (`raw(7)`).
    Raw(u8),
}

/// Socket options, by their Linux names; durations and sizes as a program means them.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// `SO_REUSEADDR`.
    pub reuse_addr: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// `SO_BROADCAST`.
    pub broadcast: bool,
    /// `SO_KEEPALIVE`.
    pub keepalive: bool,
    /// `SO_LINGER`: `Some(0)` makes `close` reset the connection.
    pub linger: Option<Duration>,
    /// `SO_SNDBUF` in bytes as the program gave it; the kernel reports double ([`SocketOptions::reported_buffer`]).
    pub send_buffer: Option<usize>,
    /// `SO_RCVBUF`, likewise.
    pub receive_buffer: Option<usize>,
    /// `SO_RCVLOWAT` in bytes.
    pub receive_low_water: usize,
    /// `SO_BINDTODEVICE`.
    pub bound_device: Option<IfIndex>,
    /// `IP_TTL`.
    pub ttl: u8,
    /// `IP_TOS`.
    pub tos: u8,
    /// `IP_MULTICAST_TTL`.
    pub multicast_ttl: u8,
    /// `IP_MULTICAST_IF`.
    pub multicast_interface: Option<IfIndex>,
    /// Hop limit of IPv6 multicasts; kept, as there are no IPv6 groups.
    pub multicast_hops: u8,
    /// Where IPv6 multicasts would be sent from (`IPV6_MULTICAST_IF`).
    pub multicast_interface6: Option<IfIndex>,
    /// `IP_MULTICAST_LOOP`: groups that somebody here has joined get what is sent to them from here.
    pub multicast_loop: bool,
    /// `IP_MULTICAST_ALL`: it hears groups that others here have joined.
    pub multicast_all: bool,
    /// `IP_MTU_DISCOVER` is `IP_PMTUDISC_DO`: datagrams are never fragmented.
    pub dont_fragment: bool,
    /// `IPV6_V6ONLY`.
    pub v6_only: bool,
    /// `TCP_NODELAY`.
    pub nodelay: bool,
    /// `TCP_CORK`.
    pub cork: bool,
    /// `TCP_KEEPIDLE`.
    pub keep_idle: Duration,
    /// `TCP_KEEPINTVL`.
    pub keep_interval: Duration,
    /// `TCP_KEEPCNT`.
    pub keep_count: u32,
    /// `TCP_MAXSEG` in bytes.
    pub max_segment: Option<u16>,
    /// `TCP_QUICKACK`.
    pub quick_ack: bool,
    /// `TCP_USER_TIMEOUT`.
    pub user_timeout: Option<Duration>,
    /// `TCP_CONGESTION`; `None` until chosen: reno on links, none on loopback.
    pub congestion: Option<Congestion>,
    /// `IP_HDRINCL`: on a raw socket, what is sent begins with an IP header.
    pub header_included: bool,
    /// `ICMP_FILTER` of raw sockets: a set bit keeps that type away (`raw(7)`).
    pub icmp_filter: u32,
    /// `UDPLITE_SEND_CSCOV` in bytes, header included; 0 covers everything.
    pub send_coverage: u16,
    /// `UDPLITE_RECV_CSCOV`: datagrams whose checksum covers a part, and fewer bytes than this, are dropped.
    pub receive_coverage: u16,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            reuse_addr: false,
            reuse_port: false,
            broadcast: false,
            keepalive: false,
            linger: None,
            send_buffer: None,
            receive_buffer: None,
            receive_low_water: 1,
            bound_device: None,
            ttl: 64,
            tos: 0,
            multicast_ttl: 1,
            multicast_interface: None,
            multicast_hops: 1,
            multicast_interface6: None,
            multicast_loop: true,
            multicast_all: true,
            dont_fragment: false,
            v6_only: false,
            nodelay: false,
            cork: false,
            keep_idle: Duration::from_secs(7200),
            keep_interval: Duration::from_secs(75),
            keep_count: 9,
            max_segment: None,
            quick_ack: false,
            user_timeout: None,
            congestion: None,
            header_included: false,
            icmp_filter: 0,
            send_coverage: 0,
            receive_coverage: 0,
        }
    }
}

impl SocketOptions {
    /// What `getsockopt` returns for a buffer option: double what was set, as half counts as bookkeeping
    /// (`socket(7)`), or `default` bytes where nothing was.
    pub fn reported_buffer(set: Option<usize>, default: usize) -> usize {
        set.map_or(default, |bytes| bytes.saturating_mul(2))
    }
}

/// Which directions `shutdown(2)` closes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// `SHUT_RD`.
    Read,
    /// `SHUT_WR`.
    Write,
    /// `SHUT_RDWR`.
    Both,
}

impl Shutdown {
    pub(super) fn read(self) -> bool {
        self != Shutdown::Write
    }

    pub(super) fn write(self) -> bool {
        self != Shutdown::Read
    }
}

/// A socket.
pub struct Socket {
    pub(super) family: Family,
    pub(super) options: SocketOptions,
    /// `SO_ERROR`.
    pub(super) error: Option<NetError>,
    /// In the event list already.
    pub(super) noted: bool,
    pub(super) inner: Inner,
}

pub(super) enum Inner {
    Tcp(TcpSocket),
    Datagram(DatagramSocket),
}

impl Socket {
    pub(super) fn new(family: Family, inner: Inner) -> Socket {
        Socket { family, options: SocketOptions::default(), error: None, noted: false, inner }
    }

    /// What the stack works with for a peer's address (see [`Family::to_v4`]); with `IPV6_V6ONLY`, IPv4 is out of reach.
    pub(super) fn peer_address(&self, peer: SocketAddr) -> Result<SocketAddrV4, NetError> {
        let addr = match peer {
            // To "any address" means to ourselves, as on BSD and Linux, in the address's own family.
            SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
                SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, v6.port(), 0, 0))
            }
            _ => peer,
        };
        let mut addr = self.family.to_v4(addr)?;
        if addr.ip().is_unspecified() {
            addr.set_ip(Ipv4Addr::LOCALHOST);
        }
        let ipv6 = *addr.ip() == LOOPBACK6;
        match self.family == Family::Inet6 && self.options.v6_only && !ipv6 {
            true => Err(NetError::NetUnreachable),
            false => Ok(addr),
        }
    }

    pub(super) fn tcp(&self) -> Result<&TcpSocket, NetError> {
        match &self.inner {
            Inner::Tcp(tcp) => Ok(tcp),
            Inner::Datagram(_) => Err(NetError::NotSupported),
        }
    }

    pub(super) fn tcp_mut(&mut self) -> Result<&mut TcpSocket, NetError> {
        match &mut self.inner {
            Inner::Tcp(tcp) => Ok(tcp),
            Inner::Datagram(_) => Err(NetError::NotSupported),
        }
    }

    pub(super) fn datagram(&self) -> Result<&DatagramSocket, NetError> {
        match &self.inner {
            Inner::Datagram(datagram) => Ok(datagram),
            Inner::Tcp(_) => Err(NetError::NotSupported),
        }
    }

    pub(super) fn datagram_mut(&mut self) -> Result<&mut DatagramSocket, NetError> {
        match &mut self.inner {
            Inner::Datagram(datagram) => Ok(datagram),
            Inner::Tcp(_) => Err(NetError::NotSupported),
        }
    }

    #[cfg(test)]
    pub(super) fn for_tests() -> Socket {
        Socket::new(Family::Inet, Inner::Tcp(TcpSocket::default()))
    }
}
