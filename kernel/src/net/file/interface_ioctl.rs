//! The ioctl(2) calls on interfaces that every socket serves (netdevice(7)); `ifconfig` and `if_nametoindex` use them.
//!
//! They know one address per label: `eth0` is the interface's first address with that label, `eth0:1` an alias.

use super::address::AF_INET;
use super::route_ioctl;
use crate::abi::if_arp::{ARPHRD_ETHER, ARPHRD_LOOPBACK};
use crate::abi::ioctl::*;
use crate::error::{Errno, Result};
use crate::mm::{UserPtr, UserSlice};
use crate::net::netlink::notify;
use crate::net::network::network;
use crate::net::{IfIndex, Interface, InterfaceAddr, LinkKind, NetError, NetStack, Prefix};
use crate::task::{Capability, Thread};
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use netdrv::MacAddr;

/// Bytes of `struct ifreq`, and of the name in front.
const REQUEST: usize = 40;
const NAME: usize = 16;
/// linux/sockios.h, where linux-raw-sys lacks them.
const SIOCETHTOOL: u32 = 0x8946;
const SIOCGMIIPHY: u32 = 0x8947;
const SIOCGMIIREG: u32 = 0x8948;
/// `IFF_UP`.
const UP: u32 = 1;

/// A `struct ifreq`: a name and 24 bytes whose meaning depends on the call.
struct InterfaceRequest {
    bytes: [u8; REQUEST],
}

impl InterfaceRequest {
    fn read(arg: usize) -> Result<Self> {
        let mut bytes = [0; REQUEST];
        UserSlice::new(arg, REQUEST).read(&mut bytes)?;
        Ok(InterfaceRequest { bytes })
    }

    /// The name, maybe with an alias.
    fn label(&self) -> Result<String> {
        let text = self.bytes[..NAME - 1].split(|&b| b == 0).next().unwrap_or_default();
        let text = core::str::from_utf8(text).map_err(|_| Errno::ENODEV.because("no interface has this name"))?;
        Ok(text.into())
    }

    fn int(&self) -> i32 {
        self.bytes[NAME..].first_chunk().map_or(0, |b| i32::from_ne_bytes(*b))
    }

    /// The IPv4 address of the `struct sockaddr_in` there. EINVAL if it is of another family.
    fn ipv4(&self) -> Result<Ipv4Addr> {
        let b = &self.bytes[NAME..];
        match u16::from_ne_bytes([b[0], b[1]]) {
            AF_INET => Ok(Ipv4Addr::new(b[4], b[5], b[6], b[7])),
            _ => Err(Errno::EINVAL.because("interfaces have IPv4 addresses")),
        }
    }

    /// What SIOCGIFHWADDR returns and SIOCSIFHWADDR takes: a type and six bytes.
    fn hardware(&self) -> (u16, MacAddr) {
        let b = &self.bytes[NAME..];
        (u16::from_ne_bytes([b[0], b[1]]), MacAddr([b[2], b[3], b[4], b[5], b[6], b[7]]))
    }

    /// Fills the part after the name, and writes it back.
    fn answer(mut self, arg: usize, value: &[u8]) -> Result<usize> {
        self.bytes[NAME..].fill(0);
        self.bytes[NAME..NAME + value.len()].copy_from_slice(value);
        UserSlice::new(arg, REQUEST).write(&self.bytes)?;
        Ok(0)
    }
}

/// A `struct sockaddr_in` without a port.
fn sockaddr(address: Ipv4Addr) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&AF_INET.to_ne_bytes());
    bytes[4..8].copy_from_slice(&address.octets());
    bytes
}

fn find<'a>(stack: &'a NetStack, label: &str) -> Result<&'a Interface> {
    let name = label.split(':').next().unwrap_or_default();
    stack.interface_by_name(name).ok_or_else(|| Errno::ENODEV.into())
}

/// The address that a label stands for.
fn labelled<'a>(interface: &'a Interface, label: &str) -> Option<&'a InterfaceAddr> {
    interface.addresses.iter().find(|a| a.label == label)
}

/// Serves a request; ENOTTY if it is none of these.
pub(super) fn ioctl(t: &Thread, request: u32, arg: usize) -> Result<usize> {
    match request {
        SIOCGIFCONF => list(arg),
        SIOCGIFNAME => name_of(arg),
        SIOCADDRT | SIOCDELRT | SIOCSARP | SIOCDARP => {
            check_admin(t)?;
            route_ioctl::change(request, arg)
        }
        SIOCGARP => route_ioctl::neighbor(arg),
        SIOCGIFFLAGS | SIOCGIFADDR | SIOCGIFDSTADDR | SIOCGIFBRDADDR | SIOCGIFNETMASK | SIOCGIFMETRIC | SIOCGIFMTU
        | SIOCGIFHWADDR | SIOCGIFINDEX | SIOCGIFTXQLEN | SIOCGIFMAP => get(request, arg),
        SIOCSIFFLAGS | SIOCSIFADDR | SIOCSIFDSTADDR | SIOCSIFBRDADDR | SIOCSIFNETMASK | SIOCSIFMTU | SIOCSIFHWADDR
        | SIOCSIFNAME | SIOCSIFTXQLEN | SIOCSIFMETRIC => {
            check_admin(t)?;
            set(request, arg)
        }
        SIOCETHTOOL | SIOCGMIIPHY | SIOCGMIIREG | SIOCSIFMAP | SIOCADDMULTI | SIOCDELMULTI => {
            let label = InterfaceRequest::read(arg)?.label()?;
            network().look(|stack| find(stack, &label).map(drop))?;
            Err(Errno::EOPNOTSUPP.because("the device has no such call"))
        }
        _ => Err(Errno::ENOTTY.into()),
    }
}

fn check_admin(t: &Thread) -> Result<()> {
    if t.credentials().capable(Capability::NetAdmin) {
        return Ok(());
    }
    Err(Errno::EPERM.because("a change needs CAP_NET_ADMIN"))
}

/// SIOCGIFCONF: a `struct ifreq` for each address, or how much room they need.
fn list(arg: usize) -> Result<usize> {
    let [len, buffer] = UserPtr::<[usize; 2]>::new(arg).read()?;
    let room = usize::try_from(len as i32).map_err(|_| Errno::EINVAL.because("a negative length"))?;
    let all: Vec<[u8; REQUEST]> = network().look(|stack| {
        let addresses = stack.interfaces().iter().flat_map(|i| &i.addresses);
        addresses
            .map(|a| {
                let mut entry = [0; REQUEST];
                let label = a.label.as_bytes();
                let n = label.len().min(NAME - 1);
                entry[..n].copy_from_slice(&label[..n]);
                entry[NAME..NAME + 16].copy_from_slice(&sockaddr(a.addr));
                entry
            })
            .collect()
    });
    let shown = if buffer == 0 { all.len() } else { all.len().min(room / REQUEST) };
    if buffer != 0 {
        UserSlice::new(buffer, shown * REQUEST).write(&all[..shown].concat())?;
    }
    UserPtr::<i32>::new(arg).write((shown * REQUEST) as i32)?;
    Ok(0)
}

/// SIOCGIFNAME: from the number.
fn name_of(arg: usize) -> Result<usize> {
    let mut request = InterfaceRequest::read(arg)?;
    let index = IfIndex(request.int() as u32);
    let name = network().look(|stack| stack.interface(index).map(|i| i.name.clone()));
    let name = name.ok_or(Errno::ENODEV)?;
    let n = name.len().min(NAME - 1);
    request.bytes[..NAME].fill(0);
    request.bytes[..n].copy_from_slice(&name.as_bytes()[..n]);
    UserSlice::new(arg, REQUEST).write(&request.bytes)?;
    Ok(0)
}

fn get(call: u32, arg: usize) -> Result<usize> {
    let request = InterfaceRequest::read(arg)?;
    let label = request.label()?;
    let value: Vec<u8> = network().look(|stack| {
        let i = find(stack, &label)?;
        let address = || {
            let found = labelled(i, &label);
            found.ok_or_else(|| Errno::EADDRNOTAVAIL.because("the interface has no address"))
        };
        let int = |v: i32| v.to_ne_bytes().to_vec();
        Ok::<_, crate::error::Error>(match call {
            SIOCGIFFLAGS => (i.flags() as u16).to_ne_bytes().to_vec(),
            SIOCGIFADDR | SIOCGIFDSTADDR => sockaddr(address()?.addr).to_vec(),
            SIOCGIFBRDADDR => sockaddr(address()?.broadcast.unwrap_or(Ipv4Addr::UNSPECIFIED)).to_vec(),
            SIOCGIFNETMASK => sockaddr(address()?.prefix.netmask()).to_vec(),
            SIOCGIFMTU => int(i.mtu as i32),
            SIOCGIFINDEX => int(i.index.0 as i32),
            SIOCGIFTXQLEN => int(Interface::TXQ_LEN as i32),
            SIOCGIFHWADDR => {
                let loopback = i.kind == LinkKind::Loopback;
                let kind = if loopback { ARPHRD_LOOPBACK } else { ARPHRD_ETHER } as u16;
                let mac = if loopback { [0; 6] } else { i.mac.0 };
                [&kind.to_ne_bytes()[..], &mac].concat()
            }
            // No metric, no memory, no interrupt.
            _ => Vec::new(),
        })
    })?;
    request.answer(arg, &value)
}

fn set(call: u32, arg: usize) -> Result<usize> {
    let request = InterfaceRequest::read(arg)?;
    let label = request.label()?;
    let index = network().look(|stack| find(stack, &label).map(|i| i.index))?;
    match call {
        SIOCSIFFLAGS => {
            let up = request.int() as u32 & UP != 0;
            let alias = label.contains(':');
            network().call(|stack, _| match alias {
                false => stack.set_interface_up(index, up),
                // Taking an alias down takes its address away.
                true if !up => remove(stack, index, &label).map(drop),
                true => Ok(()),
            })?;
        }
        SIOCSIFADDR => set_address(index, &label, request.ipv4()?)?,
        SIOCSIFNETMASK => {
            let mask = u32::from(request.ipv4()?);
            if mask.leading_ones() + mask.trailing_zeros() < 32 {
                return Err(Errno::EINVAL.because("the mask has holes"));
            }
            let bits = mask.leading_ones() as u8;
            network().call(|stack, _| {
                let old = remove(stack, index, &label)?.ok_or(NetError::AddrNotAvailable)?;
                // A broadcast address that followed from the old mask follows from the new one.
                let derived = old.broadcast.is_none_or(|b| b == old.prefix.broadcast());
                stack.add_address(index, old.addr, bits, old.broadcast.filter(|_| !derived), Some(&label))
            })?;
        }
        SIOCSIFBRDADDR => {
            let broadcast = request.ipv4()?;
            network().call(|stack, _| {
                let old = remove(stack, index, &label)?.ok_or(NetError::AddrNotAvailable)?;
                stack.add_address(index, old.addr, old.prefix.bits(), Some(broadcast), Some(&label))
            })?;
        }
        SIOCSIFMTU => {
            let mtu = u32::try_from(request.int()).map_err(|_| Errno::EINVAL)?;
            network().call(|stack, _| stack.set_interface_mtu(index, mtu))?;
        }
        SIOCSIFHWADDR => {
            let (kind, mac) = request.hardware();
            if u32::from(kind) != ARPHRD_ETHER {
                return Err(Errno::EINVAL.because("not an ethernet address"));
            }
            network().set_mac(index, mac)?;
        }
        SIOCSIFNAME => {
            let new = request.bytes[NAME..].split(|&b| b == 0).next().unwrap_or_default();
            let new = core::str::from_utf8(new).map_err(|_| Errno::EINVAL)?;
            network().call(|stack, _| stack.rename_interface(index, new))?;
        }
        SIOCSIFTXQLEN if request.int() == Interface::TXQ_LEN as i32 => {}
        _ => return Err(Errno::EOPNOTSUPP.because("this cannot be changed")),
    }
    notify::link_changed(index);
    Ok(0)
}

/// Takes a label's address away, if it has one.
fn remove(stack: &mut NetStack, index: IfIndex, label: &str) -> Result<Option<InterfaceAddr>, NetError> {
    let old = stack.interface(index).and_then(|i| labelled(i, label)).cloned();
    if let Some(old) = &old {
        stack.remove_address(index, old.addr, old.prefix.bits())?;
    }
    Ok(old)
}

/// SIOCSIFADDR: the label's address becomes this one, with the mask of its class; 0.0.0.0 takes it away. The
/// interface comes up (netdevice(7)).
fn set_address(index: IfIndex, label: &str, address: Ipv4Addr) -> Result<()> {
    let bits = match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    };
    network().call(|stack, _| {
        let old = remove(stack, index, label)?;
        if address.is_unspecified() {
            return Ok(());
        }
        if let Err(e) = stack.add_address(index, address, bits, None, Some(label)) {
            if let Some(old) = old {
                stack.add_address(index, old.addr, old.prefix.bits(), old.broadcast, Some(label))?;
            }
            return Err(e);
        }
        stack.set_interface_up(index, true)
    })?;
    Ok(())
}

/// The block that an address and a mask make. EINVAL if the mask has holes.
pub(super) fn prefix(address: Ipv4Addr, mask: Ipv4Addr) -> Result<Prefix> {
    let bits = u32::from(mask).leading_ones();
    if bits + u32::from(mask).trailing_zeros() < 32 {
        return Err(Errno::EINVAL.because("the mask has holes"));
    }
    Prefix::new(address, bits as u8).filter(|p| p.network() == address).ok_or_else(|| Errno::EINVAL.into())
}
