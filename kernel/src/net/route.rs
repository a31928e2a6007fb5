//! The routing table: longest prefix first, then the lowest metric.

use super::addr::Prefix;
use super::error::NetError;
use super::interface::IfIndex;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// Who put a route there (`rtm_protocol`, `rtnetlink(7)`).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum RouteProtocol {
    /// It follows from an address.
    Kernel,
    /// Boot-time configuration, or a tool that does not say.
    Boot,
    /// The administrator.
    Static,
    /// A routing daemon, by its number in `/etc/iproute2/rt_protos`.
    Other(u8),
}

impl RouteProtocol {
    /// From `rtm_protocol`.
    pub const fn from_number(number: u8) -> Self {
        match number {
            2 => RouteProtocol::Kernel,
            3 => RouteProtocol::Boot,
            4 => RouteProtocol::Static,
            other => RouteProtocol::Other(other),
        }
    }

    /// `rtm_protocol`.
    pub const fn number(self) -> u8 {
        match self {
            RouteProtocol::Kernel => 2,
            RouteProtocol::Boot => 3,
            RouteProtocol::Static => 4,
            RouteProtocol::Other(number) => number,
        }
    }
}

/// What becomes of packets that match (`rtm_type`).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum RouteKind {
    /// They are sent.
    Unicast,
    /// `EHOSTUNREACH`.
    Unreachable,
    /// `EINVAL`, silently.
    Blackhole,
}

/// One route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Where to.
    pub destination: Prefix,
    /// The next hop; `None` when the destination is on the link.
    pub gateway: Option<Ipv4Addr>,
    /// Through which interface.
    pub interface: IfIndex,
    /// Lower wins among equal prefixes.
    pub metric: u32,
    /// The address to speak from, where the route names one (`RTA_PREFSRC`).
    pub source: Option<Ipv4Addr>,
    /// Who put it there.
    pub protocol: RouteProtocol,
    /// What becomes of packets.
    pub kind: RouteKind,
}

/// All routes but those to our own addresses, which the interfaces imply.
#[derive(Default)]
pub struct RouteTable {
    routes: Vec<Route>,
}

impl RouteTable {
    /// The routes, most specific first.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// Adds a route.
    ///
    /// # Errors
    /// `Exists` when a route with the same destination and metric is there (as `NLM_F_EXCL` asks).
    pub fn add(&mut self, route: Route) -> Result<(), NetError> {
        let same = |r: &Route| (r.destination, r.metric) == (route.destination, route.metric);
        if self.routes.iter().any(same) {
            return Err(NetError::Exists);
        }
        let rank = |r: &Route| (32 - r.destination.bits(), r.metric);
        let at = self.routes.partition_point(|r| rank(r) <= rank(&route));
        self.routes.insert(at, route);
        Ok(())
    }

    /// Removes the first route that `matches`, and returns it.
    ///
    /// # Errors
    /// `NoSuchRoute` when none does.
    pub fn remove(&mut self, matches: impl FnMut(&Route) -> bool) -> Result<Route, NetError> {
        let at = self.routes.iter().position(matches).ok_or(NetError::NoSuchRoute)?;
        Ok(self.routes.remove(at))
    }

    /// Removes every route through an interface that `matches`.
    pub fn flush(&mut self, mut matches: impl FnMut(&Route) -> bool) {
        self.routes.retain(|r| !matches(r));
    }

    /// The best route to `addr` among those that `usable` admits.
    pub fn lookup(&self, addr: Ipv4Addr, usable: impl Fn(&Route) -> bool) -> Option<&Route> {
        self.routes.iter().find(|r| r.destination.contains(addr) && usable(r))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(dst: [u8; 4], len: u8, metric: u32, interface: u32) -> Route {
        Route {
            destination: Prefix::new(dst.into(), len).unwrap(),
            gateway: None,
            interface: IfIndex(interface),
            metric,
            source: None,
            protocol: RouteProtocol::Static,
            kind: RouteKind::Unicast,
        }
    }

    #[test]
    fn the_longest_prefix_wins_then_the_lowest_metric() {
        let mut table = RouteTable::default();
        for r in [route([0; 4], 0, 100, 1), route([10, 0, 0, 0], 8, 0, 2), route([10, 1, 0, 0], 16, 20, 3)] {
            table.add(r).unwrap();
        }
        table.add(route([10, 1, 0, 0], 16, 10, 4)).unwrap();
        let via = |a: [u8; 4]| table.lookup(a.into(), |_| true).map(|r| r.interface.0);
        assert_eq!(via([10, 1, 2, 3]), Some(4));
        assert_eq!(via([10, 2, 2, 3]), Some(2));
        assert_eq!(via([192, 0, 2, 1]), Some(1));
        assert_eq!(table.lookup([10, 1, 2, 3].into(), |r| r.interface.0 < 4).map(|r| r.interface.0), Some(3));
    }

    #[test]
    fn duplicates_and_missing_routes_are_errors() {
        let mut table = RouteTable::default();
        table.add(route([10, 0, 0, 0], 8, 0, 2)).unwrap();
        assert_eq!(table.add(route([10, 0, 0, 0], 8, 0, 3)), Err(NetError::Exists));
        assert!(table.remove(|r| r.destination.bits() == 8).is_ok());
        assert_eq!(table.remove(|_| true), Err(NetError::NoSuchRoute));
    }
}
