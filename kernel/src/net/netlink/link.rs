//! Links: `RTM_NEWLINK`, `RTM_GETLINK`, `RTM_SETLINK` (rtnetlink(7); `ip link`).

use super::notify::{self, Group};
use super::reply::{Reply, unsupported};
use super::table::Verb;
use super::wire::{self, Attributes, Fixed, Message, Request};
use crate::abi::if_arp::{ARPHRD_ETHER, ARPHRD_LOOPBACK};
use crate::error::{Errno, Result};
use crate::net::network::network;
use crate::net::{IfIndex, Interface, LinkKind, NetStack};
use netdrv::MacAddr;

const RTM_NEWLINK: u16 = 16;
/// Bytes of `struct ifinfomsg`.
const FIXED: usize = 16;

const IFLA_ADDRESS: u16 = 1;
const IFLA_BROADCAST: u16 = 2;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_QDISC: u16 = 6;
const IFLA_STATS: u16 = 7;
const IFLA_TXQLEN: u16 = 13;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKMODE: u16 = 17;
const IFLA_STATS64: u16 = 23;
const IFLA_GROUP: u16 = 27;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_CARRIER: u16 = 33;
const IFLA_MIN_MTU: u16 = 50;
const IFLA_MAX_MTU: u16 = 51;
const IFLA_ALT_IFNAME: u16 = 53;

const IFF_UP: u32 = 1;

/// `struct rtnl_link_stats64` as words; the older structure has the same fields, 32 bits wide, up to the 24th.
fn statistics(i: &Interface) -> [u64; 25] {
    let s = &i.stats;
    let mut words = [0; 25];
    words[..9].copy_from_slice(&[
        s.rx_packets,
        s.tx_packets,
        s.rx_bytes,
        s.tx_bytes,
        s.rx_errors,
        0,
        s.rx_dropped,
        s.tx_dropped,
        s.multicast,
    ]);
    words
}

/// Appends what there is to tell of a link.
pub(super) fn describe(i: &Interface, message: Message) -> Message {
    let loopback = i.kind == LinkKind::Loopback;
    let hardware = if loopback { ARPHRD_LOOPBACK } else { ARPHRD_ETHER } as u16;
    let (mac, broadcast) = if loopback { ([0; 6], [0; 6]) } else { (i.mac.0, [0xff; 6]) };
    // RFC 2863: 0 is unknown, 2 down, 6 up.
    let operstate: u8 = match (i.up, loopback) {
        (true, true) => 0,
        (true, false) => 6,
        (false, _) => 2,
    };
    let wide = statistics(i);
    let (mut stats, mut stats64) = ([0; 24 * 4], [0; 25 * 8]);
    for (to, word) in stats64.chunks_exact_mut(8).zip(wide) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    for (to, word) in stats.chunks_exact_mut(4).zip(wide) {
        to.copy_from_slice(&(word as u32).to_ne_bytes());
    }
    message
        .raw(&[0, 0])
        .raw(&hardware.to_ne_bytes())
        .word(i.index.0)
        .word(i.flags())
        .word(0)
        .text(IFLA_IFNAME, &i.name)
        .number(IFLA_TXQLEN, Interface::TXQ_LEN as u32)
        .attribute(IFLA_OPERSTATE, &[operstate])
        .attribute(IFLA_LINKMODE, &[0])
        .number(IFLA_MTU, i.mtu)
        .number(IFLA_MIN_MTU, 68)
        .number(IFLA_MAX_MTU, i.max_mtu)
        .number(IFLA_GROUP, 0)
        .number(IFLA_PROMISCUITY, 0)
        .number(IFLA_NUM_TX_QUEUES, 1)
        .number(IFLA_NUM_RX_QUEUES, 1)
        .attribute(IFLA_CARRIER, &[u8::from(i.up)])
        .text(IFLA_QDISC, if loopback { "noqueue" } else { "pfifo_fast" })
        .attribute(IFLA_ADDRESS, &mac)
        .attribute(IFLA_BROADCAST, &broadcast)
        .attribute(IFLA_STATS64, &stats64)
        .attribute(IFLA_STATS, &stats)
}

/// The link that a request names, by number or by name. ENODEV if there is none.
fn find(stack: &NetStack, fixed: Fixed<'_>, attributes: Attributes<'_>) -> Result<IfIndex> {
    let index = fixed.u32(4);
    let name = match attributes.text(IFLA_IFNAME)? {
        Some(name) => Some(name),
        None => attributes.text(IFLA_ALT_IFNAME)?,
    };
    let found = match (index, name) {
        (0, Some(name)) => stack.interface_by_name(name),
        (0, None) => return Err(Errno::EINVAL.because("neither an index nor a name")),
        (index, _) => stack.interface(IfIndex(index)),
    };
    found.map(|i| i.index).ok_or_else(|| Errno::ENODEV.into())
}

pub(super) fn answer(verb: Verb, request: &Request<'_>, reply: &mut Reply) -> Result<()> {
    match verb {
        Verb::Get if request.is_dump() => {
            network().look(|stack| {
                for i in stack.interfaces() {
                    let message = describe(i, reply.message(RTM_NEWLINK));
                    reply.push(message);
                }
            });
            Ok(())
        }
        Verb::Get => {
            let (fixed, attributes) = request.parts(FIXED)?;
            network().look(|stack| {
                let index = find(stack, fixed, attributes)?;
                if let Some(i) = stack.interface(index) {
                    let message = describe(i, reply.message(RTM_NEWLINK));
                    reply.push(message);
                }
                Ok(())
            })
        }
        Verb::New | Verb::Set => {
            let (fixed, attributes) = request.parts(FIXED)?;
            match network().look(|stack| find(stack, fixed, attributes)) {
                // iproute2 finds out by this whether the message is known at all.
                Err(e) if e.errno() == Errno::EINVAL && verb == Verb::New => Err(Errno::ENODEV.into()),
                Ok(_) if request.has(wire::CREATE | wire::EXCL) => Err(Errno::EEXIST.into()),
                Ok(index) => change(index, fixed, attributes),
                Err(e) if e.errno() == Errno::ENODEV && verb == Verb::New && request.has(wire::CREATE) => {
                    Err(unsupported("interfaces are made by the command line"))
                }
                Err(e) => Err(e),
            }
        }
        Verb::Delete => Err(unsupported("interfaces are made by the command line")),
    }
}

/// Changes a link: name, address, MTU, then whether it is up. What cannot be changed is refused before anything is.
fn change(index: IfIndex, fixed: Fixed<'_>, attributes: Attributes<'_>) -> Result<()> {
    for (kind, value) in attributes.iter() {
        match kind {
            IFLA_IFNAME | IFLA_ADDRESS | IFLA_MTU | IFLA_EXT_MASK | IFLA_ALT_IFNAME => {}
            IFLA_TXQLEN if value == (Interface::TXQ_LEN as u32).to_ne_bytes() => {}
            IFLA_GROUP if value == [0; 4] => {}
            _ => return Err(unsupported("of a link, name, address, MTU and state can be changed")),
        }
    }
    if let Some(address) = attributes.get(IFLA_ADDRESS) {
        let mac: &[u8; 6] = address.try_into().map_err(|_| Errno::EINVAL.because("an ethernet address is 6 bytes"))?;
        network().set_mac(index, MacAddr(*mac))?;
    }
    let mtu = attributes.u32(IFLA_MTU)?;
    let name = attributes.text(IFLA_IFNAME)?.filter(|_| fixed.u32(4) != 0);
    let (flags, mask) = (fixed.u32(8), fixed.u32(12));
    network().call(|stack, _| {
        if let Some(mtu) = mtu {
            stack.set_interface_mtu(index, mtu)?;
        }
        if let Some(name) = name {
            stack.rename_interface(index, name)?;
        }
        // Without a mask, the flags are the new ones as a whole (rtnetlink(7)).
        if (flags | mask) != 0 && (mask == 0 || mask & IFF_UP != 0) {
            stack.set_interface_up(index, flags & IFF_UP != 0)?;
        }
        Ok::<(), crate::net::NetError>(())
    })?;
    link_changed(index);
    Ok(())
}

/// Tells who listens that a link has changed.
pub(super) fn link_changed(index: IfIndex) {
    notify::tell(Group::Link, || {
        network().look(|stack| stack.interface(index).map(|i| describe(i, Message::new(RTM_NEWLINK, 0, 0, 0))))
    });
}
