//! Neighbours: `RTM_NEWNEIGH`, `RTM_DELNEIGH`, `RTM_GETNEIGH` (rtnetlink(7); `ip neighbour`).

use super::notify::{self, Group};
use super::reply::{Reply, unsupported};
use super::table::{Verb, check_ipv4, includes_ipv4};
use super::wire::{self, Message, Request};
use crate::error::{Errno, Result};
use crate::net::network::network;
use crate::net::{IfIndex, NeighborEntry, NeighborState};
use netdrv::MacAddr;

const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
/// Bytes of `struct ndmsg`.
const FIXED: usize = 12;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_IFINDEX: u16 = 8;

/// `NUD_*`.
const REACHABLE: u16 = 0x02;
const STALE: u16 = 0x04;
const PERMANENT: u16 = 0x80;
/// `NTF_PROXY`.
const PROXY: u8 = 0x08;
/// `RTN_UNICAST`.
const UNICAST: u8 = 1;

const fn state_bits(state: NeighborState) -> u16 {
    match state {
        NeighborState::Incomplete => 0x01,
        NeighborState::Reachable => REACHABLE,
        NeighborState::Stale => STALE,
        NeighborState::Delay => 0x08,
        NeighborState::Probe => 0x10,
        NeighborState::Failed => 0x20,
        NeighborState::Permanent => PERMANENT,
    }
}

fn describe(e: &NeighborEntry, message: Message) -> Message {
    let state = state_bits(e.state).to_ne_bytes();
    let message = message.raw(&[2, 0, 0, 0]).word(e.interface.0).raw(&state).raw(&[0, UNICAST]);
    let message = message.ipv4(NDA_DST, Some(e.addr));
    match e.mac {
        Some(mac) => message.attribute(NDA_LLADDR, &mac.0),
        None => message,
    }
}

pub(super) fn answer(verb: Verb, request: &Request<'_>, reply: &mut Reply) -> Result<()> {
    match verb {
        Verb::Get if request.is_dump() => {
            if !includes_ipv4(request.family()) {
                return Ok(());
            }
            let filter = request.filter(FIXED);
            if filter.is_some_and(|(fixed, _)| fixed.u8(10) & PROXY != 0) {
                return Ok(());
            }
            let only = match filter {
                Some((_, attributes)) => attributes.u32(NDA_IFINDEX)?.unwrap_or(0),
                None => 0,
            };
            network().look(|stack| {
                for e in stack.neighbors().filter(|e| only == 0 || e.interface.0 == only) {
                    let message = describe(&e, reply.message(RTM_NEWNEIGH));
                    reply.push(message);
                }
            });
            Ok(())
        }
        Verb::Get => {
            let (fixed, attributes) = request.parts(FIXED)?;
            check_ipv4(fixed.u8(0))?;
            let addr = attributes.ipv4(NDA_DST)?.ok_or(Errno::EINVAL.because("no address is given"))?;
            let entry = find(IfIndex(fixed.u32(4)), addr).ok_or(Errno::ENOENT)?;
            let message = describe(&entry, reply.message(RTM_NEWNEIGH));
            reply.push(message);
            Ok(())
        }
        Verb::New => add(request),
        Verb::Delete => remove(request),
        Verb::Set => Err(unsupported("neighbours are added and deleted")),
    }
}

fn find(interface: IfIndex, addr: core::net::Ipv4Addr) -> Option<NeighborEntry> {
    network().look(|stack| stack.neighbors().find(|e| e.interface == interface && e.addr == addr))
}

fn add(request: &Request<'_>) -> Result<()> {
    let (fixed, attributes) = request.parts(FIXED)?;
    check_ipv4(fixed.u8(0))?;
    let index = IfIndex(fixed.u32(4));
    let state = match fixed.u16(8) {
        _ if fixed.u8(10) & PROXY != 0 => return Err(unsupported("there is no proxy ARP")),
        PERMANENT => NeighborState::Permanent,
        REACHABLE => NeighborState::Reachable,
        STALE => NeighborState::Stale,
        _ => return Err(unsupported("neighbours are set permanent, reachable or stale")),
    };
    let addr = attributes.ipv4(NDA_DST)?.ok_or(Errno::EINVAL.because("no address is given"))?;
    let old = find(index, addr);
    match &old {
        Some(_) if request.has(wire::EXCL) => return Err(Errno::EEXIST.into()),
        None if !request.has(wire::CREATE) => return Err(Errno::ENOENT.into()),
        _ => {}
    }
    let mac = match attributes.get(NDA_LLADDR) {
        Some(bytes) => MacAddr(bytes.try_into().map_err(|_| Errno::EINVAL.because("an ethernet address is 6 bytes"))?),
        None => old.and_then(|e| e.mac).ok_or(Errno::EINVAL.because("no hardware address is given"))?,
    };
    network().call(|stack, now| stack.set_neighbor(index, addr, mac, state, now))?;
    notify::tell(Group::Neighbor, || {
        let entry = find(index, addr)?;
        Some(describe(&entry, Message::new(RTM_NEWNEIGH, 0, 0, 0)))
    });
    Ok(())
}

fn remove(request: &Request<'_>) -> Result<()> {
    let (fixed, attributes) = request.parts(FIXED)?;
    check_ipv4(fixed.u8(0))?;
    let index = IfIndex(fixed.u32(4));
    let addr = attributes.ipv4(NDA_DST)?.ok_or(Errno::EINVAL.because("no address is given"))?;
    let entry = find(index, addr).ok_or(Errno::ENOENT)?;
    network().call(|stack, _| stack.flush_neighbors(|i, a| i == index && a == addr));
    notify::tell(Group::Neighbor, || Some(describe(&entry, Message::new(RTM_DELNEIGH, 0, 0, 0))));
    Ok(())
}
