//! Addresses: prefixes, connection tuples, and IPv4 seen through IPv6 sockets.
//!
//! The stack routes IPv4. An `AF_INET6` socket reaches it through v4-mapped addresses (RFC 4291, section 2.5.5.2;
//! `ipv6(7)`): `::ffff:a.b.c.d` is `a.b.c.d`, and a wildcard bind to `::` takes IPv4 too unless `IPV6_V6ONLY` is set.
//!
//! Of IPv6 itself there is the loopback address, which many programs try first. Inside the stack `::1` goes by
//! [`LOOPBACK6`], an address of the block that no IPv4 host can have (RFC 1122, section 3.2.1.3): it is lo's like
//! 127.0.0.1, but only `AF_INET6` sockets can name it, hear it or speak from it, and it is on no wire.

use super::error::NetError;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// What `::1` is called inside the stack.
pub const LOOPBACK6: Ipv4Addr = Ipv4Addr::new(0, 0, 0, 1);

/// Whether an address is of this host only, and must not be seen outside (RFC 1122, section 3.2.1.3; RFC 4291, section
/// 2.5.3).
pub fn stays_inside(addr: Ipv4Addr) -> bool {
    addr.is_loopback() || addr == LOOPBACK6
}

/// The address family that a socket was made with.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Family {
    /// `AF_INET`.
    Inet,
    /// `AF_INET6`.
    Inet6,
}

impl Family {
    /// What the stack works with for the address a program gave to `bind`, `connect` or `sendto`.
    ///
    /// # Errors
    /// `FamilyNotSupported` for an IPv6 address on an `AF_INET` socket; `AddrNotAvailable` for an IPv6 address that is
    /// neither v4-mapped nor loopback nor unspecified, as there is no IPv6 to reach it.
    pub fn to_v4(self, addr: SocketAddr) -> Result<SocketAddrV4, NetError> {
        match (self, addr) {
            // Of the stack's own making, this one is no IPv4 address of anybody's.
            (_, SocketAddr::V4(v4)) if *v4.ip() == LOOPBACK6 => Err(NetError::AddrNotAvailable),
            (_, SocketAddr::V4(v4)) => Ok(v4),
            (Family::Inet, SocketAddr::V6(_)) => Err(NetError::FamilyNotSupported),
            (Family::Inet6, SocketAddr::V6(v6)) => {
                if v6.ip().is_unspecified() {
                    return Ok(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, v6.port()));
                }
                if *v6.ip() == Ipv6Addr::LOCALHOST {
                    return Ok(SocketAddrV4::new(LOOPBACK6, v6.port()));
                }
                let ip = v6.ip().to_ipv4_mapped().filter(|ip| *ip != LOOPBACK6).ok_or(NetError::AddrNotAvailable)?;
                Ok(SocketAddrV4::new(ip, v6.port()))
            }
        }
    }

    /// Ourselves.
    pub fn loopback(self) -> Ipv4Addr {
        match self {
            Family::Inet => Ipv4Addr::LOCALHOST,
            Family::Inet6 => LOOPBACK6,
        }
    }

    /// How an address of the stack's looks to a program that uses a socket of this family.
    pub fn show(self, addr: SocketAddrV4) -> SocketAddr {
        match self {
            Family::Inet => SocketAddr::V4(addr),
            Family::Inet6 => {
                let ip = match *addr.ip() {
                    Ipv4Addr::UNSPECIFIED => Ipv6Addr::UNSPECIFIED,
                    LOOPBACK6 => Ipv6Addr::LOCALHOST,
                    ip => ip.to_ipv6_mapped(),
                };
                SocketAddr::V6(SocketAddrV6::new(ip, addr.port(), 0, 0))
            }
        }
    }
}

/// A connection's two ends, ours first.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct FourTuple {
    /// Our end.
    pub local: SocketAddrV4,
    /// The peer's.
    pub remote: SocketAddrV4,
}

impl FourTuple {
    /// Both ends as bytes, for keyed hashes.
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[0..4].copy_from_slice(&self.local.ip().octets());
        bytes[4..8].copy_from_slice(&self.remote.ip().octets());
        bytes[8..10].copy_from_slice(&self.local.port().to_be_bytes());
        bytes[10..12].copy_from_slice(&self.remote.port().to_be_bytes());
        bytes
    }
}

/// An address block, such as `10.0.0.0/8`.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Prefix {
    addr: Ipv4Addr,
    len: u8,
}

impl Prefix {
    /// Everything: the destination of a default route.
    pub const DEFAULT: Prefix = Prefix { addr: Ipv4Addr::UNSPECIFIED, len: 0 };

    /// The block of `2^(32-len)` addresses around `addr`; `None` when `len` is above 32.
    pub fn new(addr: Ipv4Addr, len: u8) -> Option<Prefix> {
        (len <= 32).then(|| Prefix { addr: addr & mask(len), len })
    }

    /// The block's first address.
    pub fn network(self) -> Ipv4Addr {
        self.addr
    }

    /// Leading bits that all addresses of the block share.
    pub fn bits(self) -> u8 {
        self.len
    }

    /// Whether this is the default route's destination.
    pub fn is_default(self) -> bool {
        self.len == 0
    }

    /// The netmask, such as `255.255.0.0`.
    pub fn netmask(self) -> Ipv4Addr {
        mask(self.len)
    }

    /// The block's last address.
    pub fn broadcast(self) -> Ipv4Addr {
        self.addr | !mask(self.len)
    }

    /// Whether `addr` lies in the block.
    pub fn contains(self, addr: Ipv4Addr) -> bool {
        addr & mask(self.len) == self.addr
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

fn mask(len: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(len.min(32))).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_cover_their_block() {
        let p = Prefix::new(Ipv4Addr::new(10, 1, 2, 3), 24).unwrap();
        assert_eq!(p.network(), Ipv4Addr::new(10, 1, 2, 0));
        assert_eq!(p.broadcast(), Ipv4Addr::new(10, 1, 2, 255));
        assert!(p.contains(Ipv4Addr::new(10, 1, 2, 77)) && !p.contains(Ipv4Addr::new(10, 1, 3, 1)));
        assert!(Prefix::DEFAULT.contains(Ipv4Addr::BROADCAST));
        assert_eq!(Prefix::new(Ipv4Addr::LOCALHOST, 32).unwrap().broadcast(), Ipv4Addr::LOCALHOST);
        assert_eq!(Prefix::new(Ipv4Addr::LOCALHOST, 33), None);
    }

    #[test]
    fn v4_mapped_addresses_go_both_ways() {
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:80".parse().unwrap();
        let plain: SocketAddrV4 = "10.0.0.1:80".parse().unwrap();
        assert_eq!(Family::Inet6.to_v4(mapped), Ok(plain));
        assert_eq!(Family::Inet6.show(plain), mapped);
        assert_eq!(Family::Inet.to_v4(mapped), Err(NetError::FamilyNotSupported));
        assert_eq!(Family::Inet6.to_v4("[::2]:80".parse().unwrap()), Err(NetError::AddrNotAvailable));
        let loopback = "[::1]:80".parse().unwrap();
        assert_eq!(Family::Inet6.to_v4(loopback).map(|a| Family::Inet6.show(a)), Ok(loopback));
        for disguise in ["0.0.0.1:80", "[::ffff:0.0.0.1]:80"] {
            assert_eq!(Family::Inet6.to_v4(disguise.parse().unwrap()), Err(NetError::AddrNotAvailable));
        }
        let any = Family::Inet6.to_v4("[::]:80".parse().unwrap()).unwrap();
        assert_eq!(any, "0.0.0.0:80".parse().unwrap());
        assert_eq!(Family::Inet6.show(any), "[::]:80".parse().unwrap());
    }
}
