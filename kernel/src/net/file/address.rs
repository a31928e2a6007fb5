//! Socket addresses as programs pass them: `struct sockaddr_in` (ip(7)), `struct sockaddr_in6` (ipv6(7)).

use crate::error::{Errno, Result};
use crate::mm::{UserPtr, UserSlice};
use crate::net::Family;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// `AF_UNSPEC`.
pub const AF_UNSPEC: u16 = 0;
/// `AF_INET`.
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;

/// `sizeof(struct sockaddr_storage)`: the longest address.
const STORAGE_LEN: usize = 128;
/// `sizeof(struct sockaddr_in)`.
const IN_LEN: usize = 16;
/// `sizeof(struct sockaddr_in6)` without the scope (RFC 2133), which is enough.
const IN6_LEN_MIN: usize = 24;

/// An address as it came from a program: bytes, not yet understood.
#[derive(Clone, Copy, Debug)]
pub struct RawAddress {
    bytes: [u8; STORAGE_LEN],
    len: usize,
}

impl RawAddress {
    /// Reads an address of `len` bytes. EINVAL if it is longer than any, EFAULT if it is not there.
    pub fn read(addr: usize, len: i32) -> Result<Self> {
        let len = usize::try_from(len).ok().filter(|&l| l <= STORAGE_LEN);
        let len = len.ok_or(Errno::EINVAL.because("no address has this length"))?;
        let mut bytes = [0; STORAGE_LEN];
        UserSlice::new(addr, len).read(&mut bytes[..len])?;
        Ok(RawAddress { bytes, len })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// `sa_family`. EINVAL if not even that is there.
    pub fn family(&self) -> Result<u16> {
        let family = self.bytes().first_chunk().map(|b| u16::from_ne_bytes(*b));
        family.ok_or_else(|| Errno::EINVAL.because("the address has no family"))
    }

    /// The same address, said to be of another family.
    pub fn with_family(mut self, family: u16) -> Self {
        self.bytes[..2].copy_from_slice(&family.to_ne_bytes());
        self
    }

    /// The address for a socket of `family`. EINVAL if it is too short, EAFNOSUPPORT if it is of another family; an
    /// `AF_INET6` socket takes both.
    pub fn inet(&self, family: Family) -> Result<SocketAddr> {
        let least = if family == Family::Inet { IN_LEN } else { 2 };
        if self.len < least {
            return Err(Errno::EINVAL.because("the address is too short for its family"));
        }
        match (family, self.family()?) {
            (_, AF_INET) => {
                let b = self.bytes().get(..IN_LEN).ok_or(Errno::EINVAL.because("a sockaddr_in is 16 bytes"))?;
                let ip = Ipv4Addr::new(b[4], b[5], b[6], b[7]);
                Ok(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be_bytes([b[2], b[3]]))))
            }
            (Family::Inet6, AF_INET6) => {
                if self.len < IN6_LEN_MIN {
                    return Err(Errno::EINVAL.because("a sockaddr_in6 is at least 24 bytes"));
                }
                let b = &self.bytes;
                let mut octets = [0; 16];
                octets.copy_from_slice(&b[8..24]);
                let flow = u32::from_ne_bytes([b[4], b[5], b[6], b[7]]);
                let scope = u32::from_ne_bytes([b[24], b[25], b[26], b[27]]);
                let port = u16::from_be_bytes([b[2], b[3]]);
                Ok(SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(octets), port, flow, scope)))
            }
            _ => Err(Errno::EAFNOSUPPORT.because("the address is of another family than the socket")),
        }
    }
}

/// An address that a call returns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SocketAddress {
    /// `AF_INET`, `AF_INET6`.
    Inet(SocketAddr),
    /// Any other family, as bytes.
    Other(Vec<u8>),
}

impl SocketAddress {
    fn encode(&self, out: &mut [u8; STORAGE_LEN]) -> usize {
        match self {
            SocketAddress::Inet(SocketAddr::V4(a)) => {
                out[..2].copy_from_slice(&AF_INET.to_ne_bytes());
                out[2..4].copy_from_slice(&a.port().to_be_bytes());
                out[4..8].copy_from_slice(&a.ip().octets());
                IN_LEN
            }
            SocketAddress::Inet(SocketAddr::V6(a)) => {
                out[..2].copy_from_slice(&AF_INET6.to_ne_bytes());
                out[2..4].copy_from_slice(&a.port().to_be_bytes());
                out[4..8].copy_from_slice(&a.flowinfo().to_ne_bytes());
                out[8..24].copy_from_slice(&a.ip().octets());
                out[24..28].copy_from_slice(&a.scope_id().to_ne_bytes());
                28
            }
            SocketAddress::Other(bytes) => {
                let n = bytes.len().min(STORAGE_LEN);
                out[..n].copy_from_slice(&bytes[..n]);
                n
            }
        }
    }

    /// Writes as much of it as fits `room` bytes at `addr`; returns its whole length.
    pub fn write(&self, addr: usize, room: i32) -> Result<u32> {
        let room = usize::try_from(room).map_err(|_| Errno::EINVAL.because("a negative address length"))?;
        let mut bytes = [0; STORAGE_LEN];
        let len = self.encode(&mut bytes);
        UserSlice::new(addr, room).write(&bytes[..len])?;
        Ok(len as u32)
    }
}

/// Writes an address as accept(2), getsockname(2) and recvfrom(2) do: `len` tells how much room there is, and then how
/// long the address is; `None` is an address of no bytes.
pub fn write_address(address: Option<&SocketAddress>, addr: usize, len: UserPtr<i32>) -> Result<()> {
    let room = len.read()?;
    let whole = match address {
        Some(a) => a.write(addr, room)?,
        None if room < 0 => return Err(Errno::EINVAL.because("a negative address length")),
        None => 0,
    };
    len.write(whole as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(bytes: &[u8]) -> RawAddress {
        let mut all = [0; STORAGE_LEN];
        all[..bytes.len()].copy_from_slice(bytes);
        RawAddress { bytes: all, len: bytes.len() }
    }

    fn encoded(address: &str) -> RawAddress {
        let mut bytes = [0; STORAGE_LEN];
        let len = SocketAddress::Inet(address.parse().unwrap()).encode(&mut bytes);
        RawAddress { bytes, len }
    }

    #[test]
    fn addresses_survive_the_way_there_and_back() {
        for (family, text) in
            [(Family::Inet, "10.1.2.3:80"), (Family::Inet6, "10.1.2.3:80"), (Family::Inet6, "[::ffff:10.1.2.3]:5201")]
        {
            assert_eq!(encoded(text).inet(family), Ok(text.parse().unwrap()));
        }
        assert_eq!(&encoded("10.1.2.3:80").bytes()[..8], &[2, 0, 0, 80, 10, 1, 2, 3]);
    }

    #[test]
    fn lengths_and_families_are_checked_in_linuxs_order() {
        let errno = |r: Result<SocketAddr>| r.unwrap_err().errno();
        assert_eq!(errno(raw(&[2, 0, 0, 80, 1, 2, 3, 4]).inet(Family::Inet)), Errno::EINVAL);
        assert_eq!(errno(raw(&[10; 15]).inet(Family::Inet)), Errno::EINVAL);
        assert_eq!(errno(raw(&[1; 16]).inet(Family::Inet)), Errno::EAFNOSUPPORT);
        assert_eq!(errno(raw(&[0]).inet(Family::Inet6)), Errno::EINVAL);
        let mut short = [0; 20];
        short[0] = AF_INET6 as u8;
        assert_eq!(errno(raw(&short).inet(Family::Inet6)), Errno::EINVAL);
        assert_eq!(errno(encoded("[::1]:1").inet(Family::Inet)), Errno::EAFNOSUPPORT);
    }
}
