//! Interface requests of netdevice(7), on a socket that is never connected.

use super::ifreq::{IfName, Ifreq};
use core::net::Ipv4Addr;
use linux_raw_sys::ioctl::{SIOCGIFFLAGS, SIOCGIFHWADDR, SIOCGIFMTU, SIOCSIFADDR, SIOCSIFFLAGS, SIOCSIFNETMASK};
use linux_raw_sys::net::net_device_flags::{IFF_RUNNING, IFF_UP};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// An interface of the network namespace in which this was opened.
#[derive(Debug)]
pub(crate) struct NetIf {
    socket: OwnedFd,
    name: IfName,
}

impl NetIf {
    /// Opens the socket; whether the interface exists shows at the first request (ENODEV).
    pub(crate) fn new(name: IfName) -> Result<NetIf, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        Ok(NetIf { socket, name })
    }

    /// Whether the interface is administratively up.
    pub(crate) fn is_up(&self) -> Result<bool, Errno> {
        Ok(self.flags()? & IFF_UP as u16 != 0)
    }

    /// Whether the host's stack sends through the interface: it is up, and the host has seen its carrier.
    pub(crate) fn is_running(&self) -> Result<bool, Errno> {
        Ok(self.flags()? & IFF_RUNNING as u16 != 0)
    }

    /// Takes the interface up.
    ///
    /// # Errors
    /// EPERM without CAP_NET_ADMIN.
    pub(crate) fn set_up(&self) -> Result<(), Errno> {
        let flags = self.flags()? | IFF_UP as u16;
        self.request::<SIOCSIFFLAGS>(Ifreq::with_flags(self.name, flags)).map(drop)
    }

    /// Takes the interface down.
    #[cfg(test)]
    pub(crate) fn set_down(&self) -> Result<(), Errno> {
        let flags = self.flags()? & !(IFF_UP as u16);
        self.request::<SIOCSIFFLAGS>(Ifreq::with_flags(self.name, flags)).map(drop)
    }

    /// Gives the interface its IPv4 address; the host derives netmask and broadcast address from the address class.
    pub(crate) fn set_ipv4(&self, addr: Ipv4Addr) -> Result<(), Errno> {
        self.request::<SIOCSIFADDR>(Ifreq::with_ipv4(self.name, addr)).map(drop)
    }

    /// Sets the netmask of the interface's address, and the broadcast address with it.
    pub(crate) fn set_netmask(&self, mask: Ipv4Addr) -> Result<(), Errno> {
        self.request::<SIOCSIFNETMASK>(Ifreq::with_ipv4(self.name, mask)).map(drop)
    }

    /// Largest IP packet, in bytes.
    pub(crate) fn mtu(&self) -> Result<i32, Errno> {
        Ok(self.request::<SIOCGIFMTU>(Ifreq::new(self.name))?.mtu())
    }

    /// The host's own address on the link.
    pub(crate) fn hardware_address(&self) -> Result<[u8; 6], Errno> {
        Ok(self.request::<SIOCGIFHWADDR>(Ifreq::new(self.name))?.hardware_address())
    }

    /// Its number (if_nametoindex(3)).
    pub(crate) fn index(&self) -> Result<u32, Errno> {
        rustix::net::netdevice::name_to_index(&self.socket, self.name.as_str())
    }

    /// Whether it carries ethernet frames (ARPHRD_ETHER).
    pub(crate) fn is_ethernet(&self) -> Result<bool, Errno> {
        const ARPHRD_ETHER: u16 = 1;
        Ok(self.request::<SIOCGIFHWADDR>(Ifreq::new(self.name))?.hardware_type() == ARPHRD_ETHER)
    }

    fn flags(&self) -> Result<u16, Errno> {
        Ok(self.request::<SIOCGIFFLAGS>(Ifreq::new(self.name))?.flags())
    }

    /// One `SIOC[GS]IF*` request. Private: each `OPCODE` above takes a `struct ifreq`.
    fn request<const OPCODE: Opcode>(&self, mut req: Ifreq) -> Result<Ifreq, Errno> {
        // SAFETY: the SIOC[GS]IF* requests read and write one struct ifreq, whose size and layout `Ifreq` has.
        unsafe { ioctl(&self.socket, Updater::<OPCODE, Ifreq>::new(&mut req))? };
        Ok(req)
    }
}
