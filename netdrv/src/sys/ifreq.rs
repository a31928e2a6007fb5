//! `struct ifreq` (netdevice(7)): an interface name and one value whose meaning depends on the request.

use core::fmt;
use core::net::Ipv4Addr;
use linux_raw_sys::net::{__kernel_sa_family_t, AF_INET, IFNAMSIZ};

/// An interface name as the host stores it: up to 15 bytes and a terminating NUL. Empty: the host chooses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct IfName([u8; IFNAMSIZ as usize]);

impl IfName {
    /// `None` when the name does not fit or holds a NUL.
    pub(crate) fn new(name: &str) -> Option<IfName> {
        let mut bytes = [0; IFNAMSIZ as usize];
        if name.len() >= bytes.len() || name.contains('\0') {
            return None;
        }
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Some(IfName(bytes))
    }

    /// The name without its padding; what is not UTF-8 is cut off (such a name cannot be typed on the command line).
    pub(crate) fn as_str(&self) -> &str {
        let bytes = self.0.split(|&b| b == 0).next().unwrap_or_default();
        match core::str::from_utf8(bytes) {
            Ok(name) => name,
            Err(e) => core::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default(),
        }
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Bytes of the union at the end of `struct ifreq`.
const VALUE_LEN: usize = 24;

/// `struct ifreq` with its union as plain bytes, so that reading any member of it is safe.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(super) struct Ifreq {
    name: IfName,
    value: [u8; VALUE_LEN],
}

// 40 bytes on 64-bit hosts. The binding's own struct is larger: it takes `struct sockaddr` for `sockaddr_storage`.
const _: () = assert!(size_of::<Ifreq>() == 40 && align_of::<Ifreq>() == 8);

impl Ifreq {
    pub(super) fn new(name: IfName) -> Ifreq {
        Ifreq { name, value: [0; VALUE_LEN] }
    }

    /// With `ifr_flags`.
    pub(super) fn with_flags(name: IfName, flags: u16) -> Ifreq {
        let mut req = Ifreq::new(name);
        req.value[..2].copy_from_slice(&flags.to_ne_bytes());
        req
    }

    /// With `ifr_addr` or `ifr_netmask`: a `struct sockaddr_in` (family, port 0, address in network order).
    pub(super) fn with_ipv4(name: IfName, addr: Ipv4Addr) -> Ifreq {
        let mut req = Ifreq::new(name);
        req.value[..2].copy_from_slice(&(AF_INET as __kernel_sa_family_t).to_ne_bytes());
        req.value[4..8].copy_from_slice(&addr.octets());
        req
    }

    pub(super) fn name(&self) -> IfName {
        self.name
    }

    /// `ifr_flags`.
    pub(super) fn flags(&self) -> u16 {
        u16::from_ne_bytes([self.value[0], self.value[1]])
    }

    /// `ifr_mtu`.
    pub(super) fn mtu(&self) -> i32 {
        let [a, b, c, d, ..] = self.value;
        i32::from_ne_bytes([a, b, c, d])
    }

    /// `ifr_hwaddr.sa_family`.
    pub(super) fn hardware_type(&self) -> u16 {
        u16::from_ne_bytes([self.value[0], self.value[1]])
    }

    /// `ifr_hwaddr.sa_data`, its first six bytes.
    pub(super) fn hardware_address(&self) -> [u8; 6] {
        let [_, _, a, b, c, d, e, f, ..] = self.value;
        [a, b, c, d, e, f]
    }
}
