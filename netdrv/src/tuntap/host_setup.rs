//! Finding or making the host's side of the link.

use super::open_error::{OpenFailure, host};
use super::options::TapOptions;
use crate::device::Offloads;
use crate::frame::{MacAddr, Mtu};
use crate::sys::IfName;
use crate::sys::netif::NetIf;
use crate::sys::tun::{TunFlags, TunOffloads, TunQueue};
use crate::vnet_header::VNET_HEADER_LEN;
use core::net::Ipv4Addr;
use core::time::Duration;
use rustix::io::Errno;
use rustix::thread::{Timespec, nanosleep};

/// Netmask of the host's address on a link that we make.
const HOST_NETMASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
/// How long the start waits for the host to see the carrier: longer than its work queue takes, shorter than a boot.
const CARRIER_LIMIT: Duration = Duration::from_millis(20);
const CARRIER_POLL: Duration = Duration::from_micros(100);
/// A queue with a `virtio_net_hdr` and nothing else in front of each frame.
const QUEUE_FLAGS: TunFlags = TunFlags::TAP.union(TunFlags::NO_PI).union(TunFlags::VNET_HDR);

/// A queue that is attached and agreed on.
pub(super) struct HostLink {
    pub(super) queue: TunQueue,
    pub(super) name: IfName,
    /// Whether the interface is ours, and goes with the queue.
    pub(super) created: bool,
    pub(super) host_mac: MacAddr,
    pub(super) mtu: Mtu,
    pub(super) offloads: Offloads,
}

/// Attaches to the tap that `options` names, or makes it; agrees on offloads within `accept`.
pub(super) fn set_up(options: &TapOptions, accept: Offloads) -> Result<HostLink, OpenFailure> {
    let wanted = IfName::new(options.ifname.as_deref().unwrap_or_default()).ok_or(OpenFailure::NotATap)?;
    let queue = open_tun_node()?;
    if !queue.features().map_err(host("reading the features of /dev/net/tun"))?.contains(QUEUE_FLAGS) {
        return Err(OpenFailure::NoVnetHeader);
    }
    let (name, created) = attach(&queue, wanted)?;
    queue.set_vnet_header_len(VNET_HEADER_LEN).map_err(host("setting the header length"))?;
    let offloads = agree_on_offloads(|offloads| queue.set_offload(offloads), options.gro, accept)?;
    let netif = NetIf::new(name).map_err(host("opening a socket for interface requests"))?;
    if created {
        configure(&netif, options.host_ip)?;
    } else {
        take_up_if_permitted(&netif)?;
    }
    wait_for_carrier(&netif)?;
    let mtu = netif.mtu().map_err(host("reading the MTU"))?;
    let mtu = Mtu(u16::try_from(mtu.max(0)).unwrap_or(u16::MAX));
    let host_mac = MacAddr(netif.hardware_address().map_err(host("reading the host's MAC address"))?);
    Ok(HostLink { queue, name, created, host_mac, mtu, offloads })
}

fn open_tun_node() -> Result<TunQueue, OpenFailure> {
    TunQueue::open().map_err(|errno| match errno {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => OpenFailure::NoTunDriver,
        Errno::ACCESS | Errno::PERM => OpenFailure::TunNodePermission,
        errno => OpenFailure::Host { op: "opening /dev/net/tun", errno },
    })
}

/// Makes the interface, or attaches to the one that exists; says which.
fn attach(queue: &TunQueue, name: IfName) -> Result<(IfName, bool), OpenFailure> {
    match queue.set_iff(name, QUEUE_FLAGS | TunFlags::EXCL) {
        Ok(name) => return Ok((name, true)),
        Err(Errno::BUSY) => {}
        Err(Errno::PERM) => return Err(OpenFailure::MayNotCreate),
        Err(errno) => return Err(OpenFailure::Host { op: "making the tap", errno }),
    }
    // A tap that was made for several queues is refused with EINVAL unless we say so; one queue of it is enough.
    let attached = match queue.set_iff(name, QUEUE_FLAGS) {
        Err(Errno::INVAL) => queue.set_iff(name, QUEUE_FLAGS | TunFlags::MULTI_QUEUE),
        other => other,
    };
    attached.map(|name| (name, false)).map_err(|errno| match errno {
        Errno::PERM => OpenFailure::NotOwner,
        Errno::BUSY | Errno::TOOBIG => OpenFailure::Busy,
        Errno::INVAL => OpenFailure::NotATap,
        errno => OpenFailure::Host { op: "attaching to the tap", errno },
    })
}

/// Addresses first, while the interface is down: no route of the address class's width ever shows.
fn configure(netif: &NetIf, host_ip: Option<Ipv4Addr>) -> Result<(), OpenFailure> {
    if let Some(ip) = host_ip {
        netif.set_ipv4(ip).map_err(host("setting the host-side IP"))?;
        netif.set_netmask(HOST_NETMASK).map_err(host("setting the host-side netmask"))?;
    }
    netif.set_up().map_err(host("taking the tap up"))
}

/// The owner of a tap needs no privilege to use it, but does to take it up; until somebody has, the link is down.
fn take_up_if_permitted(netif: &NetIf) -> Result<(), OpenFailure> {
    if netif.is_up().map_err(host("reading the interface flags"))? {
        return Ok(());
    }
    match netif.set_up() {
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(errno) => Err(OpenFailure::Host { op: "taking the tap up", errno }),
    }
}

/// Our queue is the tap's carrier. The host takes note of it in a work queue of its own and drops what it wants to send
/// before that: the answer to our first ARP request, for one, which costs a second. A host that is slower than
/// `CARRIER_LIMIT` loses no more than that.
fn wait_for_carrier(netif: &NetIf) -> Result<(), OpenFailure> {
    let reading = host("reading the interface flags");
    if !netif.is_up().map_err(&reading)? {
        return Ok(());
    }
    for _ in 0..CARRIER_LIMIT.as_nanos() / CARRIER_POLL.as_nanos() {
        if netif.is_running().map_err(&reading)? {
            break;
        }
        let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(CARRIER_POLL.subsec_nanos()) };
        // Cut short by a signal, it is only the next look that comes early.
        _ = nanosleep(&pause);
    }
    Ok(())
}

/// Asks for everything first, then for less, until the host (behind `set`) agrees; returns what holds, both directions.
fn agree_on_offloads(
    mut set: impl FnMut(TunOffloads) -> Result<(), Errno>,
    gro: bool,
    accept: Offloads,
) -> Result<Offloads, OpenFailure> {
    const OP: &str = "setting the offloads";
    let usable = receive_side(accept, gro);
    let mut transmit = Offloads::TX_CSUM | Offloads::TX_TSO4 | Offloads::TX_TSO6 | Offloads::TX_USO;
    for step in [TunOffloads::all(), TunOffloads::all() - UDP_SEGMENTS, TunOffloads::CSUM, TunOffloads::empty()] {
        match set(step) {
            Ok(()) => {
                // The host has shown what it knows; what is to hold is what the caller can take of it.
                let granted = step & usable;
                if granted != step {
                    set(granted).map_err(host(OP))?;
                }
                return Ok(transmit & accept | reported(granted));
            }
            Err(Errno::INVAL) => transmit -= Offloads::TX_USO,
            Err(errno) => return Err(OpenFailure::Host { op: OP, errno }),
        }
    }
    Err(OpenFailure::Host { op: OP, errno: Errno::INVAL })
}

/// The two that Linux 6.2 brought; the host knows both or none.
const UDP_SEGMENTS: TunOffloads = TunOffloads::USO4.union(TunOffloads::USO6);

/// What the caller can take, in the host's terms. The host refuses segments without checksums.
fn receive_side(accept: Offloads, gro: bool) -> TunOffloads {
    let mut wanted = TunOffloads::empty();
    if accept.contains(Offloads::RX_CSUM) {
        wanted |= TunOffloads::CSUM;
        let segments = [
            (Offloads::RX_TSO4, TunOffloads::TSO4),
            (Offloads::RX_TSO6, TunOffloads::TSO6),
            (Offloads::RX_USO, UDP_SEGMENTS),
        ];
        for (ours, theirs) in segments {
            if gro && accept.contains(ours) {
                wanted |= theirs;
            }
        }
    }
    wanted
}

/// What was granted for reception, in the stack's terms.
fn reported(granted: TunOffloads) -> Offloads {
    let pairs = [
        (TunOffloads::CSUM, Offloads::RX_CSUM),
        (TunOffloads::TSO4, Offloads::RX_TSO4),
        (TunOffloads::TSO6, Offloads::RX_TSO6),
        (UDP_SEGMENTS, Offloads::RX_USO),
    ];
    pairs.into_iter().filter(|(theirs, _)| granted.contains(*theirs)).map(|(_, ours)| ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const TX: Offloads = Offloads::TX_CSUM.union(Offloads::TX_TSO4).union(Offloads::TX_TSO6);

    /// What is agreed on with a host that knows `known`, and what that host was told last.
    fn agree(known: TunOffloads, gro: bool, accept: Offloads) -> (Offloads, TunOffloads) {
        let mut told = Vec::new();
        let host = |offloads: TunOffloads| {
            told.push(offloads);
            if known.contains(offloads) { Ok(()) } else { Err(Errno::INVAL) }
        };
        let agreed = agree_on_offloads(host, gro, accept).unwrap();
        (agreed, told.pop().unwrap())
    }

    #[test]
    fn older_hosts_get_less_step_by_step() {
        let tso = TunOffloads::all() - UDP_SEGMENTS;
        let rx_tso = Offloads::RX_CSUM | Offloads::RX_TSO4 | Offloads::RX_TSO6;
        for (known, agreed, told) in [
            (TunOffloads::all(), Offloads::all(), TunOffloads::all()),
            (tso, TX | rx_tso, tso),
            (TunOffloads::CSUM, TX | Offloads::RX_CSUM, TunOffloads::CSUM),
            (TunOffloads::empty(), TX, TunOffloads::empty()),
        ] {
            assert_eq!(agree(known, true, Offloads::all()), (agreed, told), "{known:?}");
        }
    }

    #[test]
    fn the_host_is_told_no_more_than_the_caller_takes() {
        let rx = Offloads::RX_CSUM | Offloads::RX_TSO4;
        let told = TunOffloads::CSUM | TunOffloads::TSO4;
        assert_eq!(agree(TunOffloads::all(), true, TX | rx), (TX | rx, told));
        assert_eq!(agree(TunOffloads::all(), false, TX | rx), (TX | Offloads::RX_CSUM, TunOffloads::CSUM));
        assert_eq!(agree(TunOffloads::all(), true, Offloads::RX_TSO4), (Offloads::empty(), TunOffloads::empty()));
    }

    #[test]
    fn another_refusal_is_reported() {
        let gone = agree_on_offloads(|_| Err(Errno::BADFD), true, Offloads::all());
        assert_eq!(gone, Err(OpenFailure::Host { op: "setting the offloads", errno: Errno::BADFD }));
    }
}
