//! Routes: `RTM_NEWROUTE`, `RTM_DELROUTE`, `RTM_GETROUTE` (rtnetlink(7); `ip route`).

use super::notify::{self, Group};
use super::reply::{Reply, unsupported};
use super::table::{Verb, check_ipv4, includes_ipv4};
use super::wire::{self, Attributes, Fixed, Message, Request};
use crate::error::{Errno, Result};
use crate::net::network::network;
use crate::net::{IfIndex, LinkKind, NetError, NetStack, NextHop, Prefix, Route, RouteKind, RouteProtocol};
use alloc::vec::Vec;
use core::net::Ipv4Addr;

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
/// Bytes of `struct rtmsg`.
const FIXED: usize = 12;

const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;

/// `RT_TABLE_MAIN`, which can be changed, and `RT_TABLE_LOCAL`, which follows from the addresses.
const MAIN: u32 = 254;
const LOCAL: u32 = 255;
/// `RTM_F_CLONED`: the answer to a look-up, not a route.
const CLONED: u32 = 0x200;

/// `RTN_*`.
const UNICAST: u8 = 1;
const LOCAL_KIND: u8 = 2;
const BROADCAST: u8 = 3;
const MULTICAST: u8 = 5;
const BLACKHOLE: u8 = 6;
const UNREACHABLE: u8 = 7;
/// `RT_SCOPE_*`.
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;
/// `RTPROT_KERNEL`.
const BY_KERNEL: u8 = 2;

/// A route as a message shows it.
struct Row {
    destination: Prefix,
    table: u32,
    protocol: u8,
    scope: u8,
    kind: u8,
    flags: u32,
    gateway: Option<Ipv4Addr>,
    interface: Option<IfIndex>,
    metric: u32,
    source: Option<Ipv4Addr>,
}

impl Row {
    fn of(route: &Route) -> Row {
        let kind = match route.kind {
            RouteKind::Unicast => UNICAST,
            RouteKind::Blackhole => BLACKHOLE,
            RouteKind::Unreachable => UNREACHABLE,
        };
        let on_link = kind == UNICAST && route.gateway.is_none();
        Row {
            destination: route.destination,
            table: MAIN,
            protocol: route.protocol.number(),
            scope: if on_link { SCOPE_LINK } else { SCOPE_UNIVERSE },
            kind,
            flags: 0,
            gateway: route.gateway,
            interface: (kind == UNICAST).then_some(route.interface),
            metric: route.metric,
            source: route.source,
        }
    }

    /// A route that an address brings: to itself, or to its subnet's broadcast address.
    fn implied(kind: u8, destination: Prefix, interface: IfIndex, source: Ipv4Addr) -> Row {
        Row {
            destination,
            table: LOCAL,
            protocol: BY_KERNEL,
            scope: if kind == LOCAL_KIND { SCOPE_HOST } else { SCOPE_LINK },
            kind,
            flags: 0,
            gateway: None,
            interface: Some(interface),
            metric: 0,
            source: Some(source),
        }
    }

    fn describe(&self, message: Message) -> Message {
        let bits = self.destination.bits();
        let head = [2, bits, 0, 0, self.table as u8, self.protocol, self.scope, self.kind];
        let mut message = message.raw(&head).word(self.flags).number(RTA_TABLE, self.table);
        message = message.ipv4(RTA_DST, (bits > 0).then(|| self.destination.network()));
        message = message.ipv4(RTA_GATEWAY, self.gateway);
        if self.metric != 0 {
            message = message.number(RTA_PRIORITY, self.metric);
        }
        if let Some(index) = self.interface {
            message = message.number(RTA_OIF, index.0);
        }
        message.ipv4(RTA_PREFSRC, self.source)
    }
}

/// The table of local routes, which the addresses imply.
fn local_rows(stack: &NetStack) -> impl Iterator<Item = Row> {
    stack.interfaces().iter().filter(|i| i.up).flat_map(|i| {
        i.addresses.iter().flat_map(move |a| {
            let host = |ip| Prefix::new(ip, 32).unwrap_or(a.prefix);
            let own = Row::implied(LOCAL_KIND, host(a.addr), i.index, a.addr);
            let whole = (i.kind == LinkKind::Loopback).then(|| Row::implied(LOCAL_KIND, a.prefix, i.index, a.addr));
            let broadcast = a.broadcast.map(|b| Row::implied(BROADCAST, host(b), i.index, a.addr));
            [whole, Some(own), broadcast].into_iter().flatten()
        })
    })
}

pub(super) fn answer(verb: Verb, request: &Request<'_>, reply: &mut Reply) -> Result<()> {
    match verb {
        Verb::Get if request.is_dump() => dump(request, reply),
        Verb::Get => look_up(request, reply),
        Verb::New => add(request),
        Verb::Delete => remove(request),
        Verb::Set => Err(unsupported("routes are added and deleted")),
    }
}

/// The table that a message is about.
fn table(fixed: Fixed<'_>, attributes: Attributes<'_>) -> Result<u32> {
    Ok(attributes.u32(RTA_TABLE)?.unwrap_or(u32::from(fixed.u8(4))))
}

fn dump(request: &Request<'_>, reply: &mut Reply) -> Result<()> {
    if !includes_ipv4(request.family()) {
        return Ok(());
    }
    let wanted = match request.filter(FIXED) {
        Some((fixed, attributes)) => table(fixed, attributes)?,
        None => 0,
    };
    network().look(|stack| {
        let local = (wanted == 0 || wanted == LOCAL).then(|| local_rows(stack)).into_iter().flatten();
        let mut main: Vec<&Route> = stack.routes().filter(|_| wanted == 0 || wanted == MAIN).collect();
        main.sort_by_key(|r| (r.destination.network(), r.destination.bits(), r.metric));
        for row in local.chain(main.into_iter().map(Row::of)) {
            let message = row.describe(reply.message(RTM_NEWROUTE));
            reply.push(message);
        }
    });
    Ok(())
}

/// `ip route get`: how packets would go.
fn look_up(request: &Request<'_>, reply: &mut Reply) -> Result<()> {
    let (fixed, attributes) = request.parts(FIXED)?;
    check_ipv4(fixed.u8(0))?;
    let dst = attributes.ipv4(RTA_DST)?.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let (source, via) = (attributes.ipv4(RTA_SRC)?, attributes.u32(RTA_OIF)?.map(IfIndex));
    let path = network().look(|stack| stack.ip.path(dst, source, via))?;
    let (kind, gateway) = match path.next_hop {
        NextHop::Local => (LOCAL_KIND, None),
        NextHop::Neighbor(hop) => (UNICAST, (hop != dst).then_some(hop)),
        NextHop::Group(_) => (if dst.is_multicast() { MULTICAST } else { BROADCAST }, None),
    };
    let row = Row {
        destination: Prefix::new(dst, 32).ok_or(Errno::EINVAL)?,
        table: if kind == UNICAST { MAIN } else { LOCAL },
        protocol: 0,
        scope: SCOPE_UNIVERSE,
        kind,
        flags: CLONED,
        gateway,
        interface: Some(path.interface),
        metric: 0,
        source: Some(path.source),
    };
    let message = row.describe(reply.message(RTM_NEWROUTE));
    reply.push(message);
    Ok(())
}

/// The destination of a route that a message names. EINVAL if it has bits beyond its length.
fn destination(fixed: Fixed<'_>, attributes: Attributes<'_>) -> Result<Prefix> {
    let address = attributes.ipv4(RTA_DST)?.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let prefix = Prefix::new(address, fixed.u8(1)).ok_or(Errno::EINVAL.because("a prefix longer than 32 bits"))?;
    if prefix.network() != address {
        return Err(Errno::EINVAL.because("Invalid prefix for given prefix length"));
    }
    Ok(prefix)
}

fn check_main(fixed: Fixed<'_>, attributes: Attributes<'_>) -> Result<()> {
    if !matches!(table(fixed, attributes)?, 0 | MAIN) {
        return Err(unsupported("only the main table can be changed"));
    }
    if attributes.get(RTA_MULTIPATH).is_some() || attributes.get(RTA_VIA).is_some() || fixed.u8(2) != 0 {
        return Err(unsupported("routes have one IPv4 next hop and no source"));
    }
    Ok(())
}

/// The route that a message describes.
fn parse(stack: &NetStack, fixed: Fixed<'_>, attributes: Attributes<'_>) -> Result<Route> {
    let kind = match fixed.u8(7) {
        UNICAST => RouteKind::Unicast,
        BLACKHOLE => RouteKind::Blackhole,
        UNREACHABLE => RouteKind::Unreachable,
        _ => return Err(unsupported("routes are unicast, blackhole or unreachable")),
    };
    if attributes.get(RTA_METRICS).is_some_and(|m| !m.is_empty()) {
        return Err(unsupported("routes have no metrics of their own"));
    }
    let gateway = attributes.ipv4(RTA_GATEWAY)?.filter(|g| !g.is_unspecified());
    let interface = match (attributes.u32(RTA_OIF)?, gateway) {
        _ if kind != RouteKind::Unicast => IfIndex::LO,
        (Some(index), _) => IfIndex(index),
        (None, Some(gateway)) => {
            if stack.ip.is_own(gateway) {
                return Err(Errno::EINVAL.because("Nexthop has invalid gateway"));
            }
            stack.ip.path(gateway, None, None)?.interface
        }
        (None, None) => return Err(Errno::ENODEV.because("neither a device nor a gateway")),
    };
    let source = attributes.ipv4(RTA_PREFSRC)?;
    if source.is_some_and(|s| !stack.ip.is_own(s)) {
        return Err(Errno::EINVAL.because("Invalid prefsrc address"));
    }
    Ok(Route {
        destination: destination(fixed, attributes)?,
        gateway,
        interface,
        metric: attributes.u32(RTA_PRIORITY)?.unwrap_or(0),
        source,
        protocol: RouteProtocol::from_number(fixed.u8(5)),
        kind,
    })
}

fn add(request: &Request<'_>) -> Result<()> {
    let (fixed, attributes) = request.parts(FIXED)?;
    check_ipv4(fixed.u8(0))?;
    check_main(fixed, attributes)?;
    let route = network().call(|stack, _| {
        let route = parse(stack, fixed, attributes)?;
        let same = |r: &Route| (r.destination, r.metric) == (route.destination, route.metric);
        let old = stack.routes().find(|r| same(r)).cloned();
        match &old {
            Some(_) if request.has(wire::EXCL) || !request.has(wire::REPLACE) => return Err(Errno::EEXIST.into()),
            Some(_) => {
                stack.remove_route(same)?;
            }
            None if !request.has(wire::CREATE) => return Err(Errno::ENOENT.because("no route to replace")),
            None => {}
        }
        if let Err(e) = stack.add_route(route.clone()) {
            if let Some(old) = old {
                stack.add_route(old)?;
            }
            return Err(match e {
                NetError::NetUnreachable => Errno::ENETUNREACH.because("Nexthop has invalid gateway"),
                e => e.into(),
            });
        }
        Ok(route)
    })?;
    route_changed(&route, true);
    Ok(())
}

fn remove(request: &Request<'_>) -> Result<()> {
    let (fixed, attributes) = request.parts(FIXED)?;
    check_ipv4(fixed.u8(0))?;
    check_main(fixed, attributes)?;
    let destination = destination(fixed, attributes)?;
    let gateway = attributes.ipv4(RTA_GATEWAY)?;
    let (interface, metric) = (attributes.u32(RTA_OIF)?, attributes.u32(RTA_PRIORITY)?);
    let (protocol, kind) = (fixed.u8(5), fixed.u8(7));
    let fits = |r: &Route| {
        let row = Row::of(r);
        r.destination == destination
            && gateway.is_none_or(|g| r.gateway == Some(g))
            && interface.is_none_or(|i| r.interface.0 == i)
            && metric.is_none_or(|m| m == 0 || r.metric == m)
            && (protocol == 0 || row.protocol == protocol)
            && (kind == 0 || row.kind == kind)
    };
    let gone = network().call(|stack, _| stack.remove_route(fits))?;
    route_changed(&gone, false);
    Ok(())
}

/// Tells who listens that a route came or went.
pub(super) fn route_changed(route: &Route, came: bool) {
    let kind = if came { RTM_NEWROUTE } else { RTM_DELROUTE };
    notify::tell(Group::Route, || Some(Row::of(route).describe(Message::new(kind, 0, 0, 0))));
}
