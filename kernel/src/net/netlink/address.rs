//! Addresses: `RTM_NEWADDR`, `RTM_DELADDR`, `RTM_GETADDR` (rtnetlink(7); `ip address`).

use super::notify::{self, Group};
use super::reply::{Reply, unsupported};
use super::table::{Verb, check_ipv4, includes_ipv4};
use super::wire::{self, Message, Request};
use crate::error::{Errno, Result};
use crate::net::network::network;
use crate::net::{IfIndex, Interface, InterfaceAddr, LinkKind};
use core::net::Ipv6Addr;

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
/// Bytes of `struct ifaddrmsg`.
const FIXED: usize = 8;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;

/// `IFA_F_SECONDARY`: another address of the same subnet came first.
const SECONDARY: u32 = 0x01;
/// `IFA_F_PERMANENT`: it does not expire.
const PERMANENT: u32 = 0x80;
const AF_INET6: u8 = 10;
/// `RT_SCOPE_HOST`.
const SCOPE_HOST: u8 = 254;

/// Appends what there is to tell of an address.
fn describe(i: &Interface, a: &InterfaceAddr, message: Message) -> Message {
    let first = i.addresses.iter().find(|o| o.prefix == a.prefix);
    let flags = if first.is_some_and(|f| f.addr != a.addr) { PERMANENT | SECONDARY } else { PERMANENT };
    let scope = if i.kind == LinkKind::Loopback { SCOPE_HOST } else { 0 };
    message
        .raw(&[2, a.prefix.bits(), flags as u8, scope])
        .word(i.index.0)
        .ipv4(IFA_ADDRESS, Some(a.addr))
        .ipv4(IFA_LOCAL, Some(a.addr))
        .ipv4(IFA_BROADCAST, a.broadcast)
        .text(IFA_LABEL, &a.label)
        .number(IFA_FLAGS, flags)
        .attribute(IFA_CACHEINFO, &forever())
}

/// The one IPv6 address that there is: `::1`, of lo.
fn describe_loopback6(message: Message) -> Message {
    message
        .raw(&[AF_INET6, 128, PERMANENT as u8, SCOPE_HOST])
        .word(IfIndex::LO.0)
        .attribute(IFA_ADDRESS, &Ipv6Addr::LOCALHOST.octets())
        .attribute(IFA_CACHEINFO, &forever())
        .number(IFA_FLAGS, PERMANENT)
}

/// struct ifa_cacheinfo: preferred and valid for ever; made and changed at boot.
fn forever() -> [u8; 16] {
    let mut info = [0; 16];
    info[..8].fill(0xff);
    info
}

pub(super) fn answer(verb: Verb, request: &Request<'_>, reply: &mut Reply) -> Result<()> {
    match verb {
        Verb::Get => {
            let only = request.filter(FIXED).map_or(0, |(fixed, _)| fixed.u32(4));
            if includes_ipv4(request.family()) {
                network().look(|stack| {
                    for i in stack.interfaces().iter().filter(|i| only == 0 || i.index.0 == only) {
                        for a in &i.addresses {
                            let message = describe(i, a, reply.message(RTM_NEWADDR));
                            reply.push(message);
                        }
                    }
                });
            }
            if matches!(request.family(), 0 | AF_INET6) && (only == 0 || only == IfIndex::LO.0) {
                network().look(|stack| {
                    if stack.interface(IfIndex::LO).is_some_and(|lo| lo.up) {
                        let message = describe_loopback6(reply.message(RTM_NEWADDR));
                        reply.push(message);
                    }
                });
            }
            Ok(())
        }
        Verb::New => add(request),
        Verb::Delete => remove(request),
        Verb::Set => Err(unsupported("addresses are added and deleted")),
    }
}

fn add(request: &Request<'_>) -> Result<()> {
    let (fixed, attributes) = request.parts(FIXED)?;
    check_ipv4(fixed.u8(0))?;
    let (prefix, index) = (fixed.u8(1), IfIndex(fixed.u32(4)));
    let peer = attributes.ipv4(IFA_ADDRESS)?;
    let local = attributes.ipv4(IFA_LOCAL)?.or(peer).ok_or(Errno::EINVAL.because("no address is given"))?;
    if peer.is_some_and(|p| p != local) {
        return Err(unsupported("there are no point-to-point addresses"));
    }
    let broadcast = attributes.ipv4(IFA_BROADCAST)?;
    let label = attributes.text(IFA_LABEL)?;
    network().call(|stack, _| match stack.add_address(index, local, prefix, broadcast, label) {
        Err(crate::net::NetError::Exists) if !request.has(wire::EXCL) => {
            stack.remove_address(index, local, prefix)?;
            stack.add_address(index, local, prefix, broadcast, label)
        }
        other => other,
    })?;
    notify::tell(Group::Address, || {
        network().look(|stack| {
            let i = stack.interface(index)?;
            let a = i.addresses.iter().find(|a| a.addr == local && a.prefix.bits() == prefix)?;
            Some(describe(i, a, Message::new(RTM_NEWADDR, 0, 0, 0)))
        })
    });
    Ok(())
}

fn remove(request: &Request<'_>) -> Result<()> {
    let (fixed, attributes) = request.parts(FIXED)?;
    check_ipv4(fixed.u8(0))?;
    let (bits, index) = (fixed.u8(1), IfIndex(fixed.u32(4)));
    let wanted = match attributes.ipv4(IFA_LOCAL)? {
        Some(local) => Some(local),
        None => attributes.ipv4(IFA_ADDRESS)?,
    };
    let label = attributes.text(IFA_LABEL)?;
    let told = network().call(|stack, _| {
        let i = stack.interface(index).ok_or(Errno::ENODEV)?;
        let fits = |a: &&InterfaceAddr| {
            wanted.is_none_or(|w| w == a.addr && bits == a.prefix.bits()) && label.is_none_or(|l| l == a.label)
        };
        let gone = i.addresses.iter().find(fits).ok_or(Errno::EADDRNOTAVAIL.because("no such address"))?;
        let message = describe(i, gone, Message::new(RTM_DELADDR, 0, 0, 0));
        let (addr, bits) = (gone.addr, gone.prefix.bits());
        stack.remove_address(index, addr, bits)?;
        Ok::<Message, crate::error::Error>(message)
    })?;
    notify::tell(Group::Address, || Some(told));
    Ok(())
}
