//! The links between the host's side and the systems, each made when it is first asked for.

use std::path::Path;

use anyhow::{Context, Result};

use super::netns::NetNs;
use super::{
    BRIDGE_HOST, BRIDGE_SERVER, NETMASK, PLAIN_TAP, PLAIN_TAP_HOST, PLAIN_VETH_HOST, SANDBOX_HOST, SANDBOX_VETH, TAP,
    TAP_HOST, VETH, VETH_GUEST, VETH_HOST, Wiring, congestion,
};
use crate::guest::Nic;
use crate::process;

const BRIDGE: &str = "br0";
const PLAIN_VETH: &str = "veth1";

/// A part of the wiring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A tap with `vnet_hdr`.
    Tap,
    /// A tap without.
    PlainTap,
    /// A veth pair.
    Veth,
    /// A veth pair without offloads.
    PlainVeth,
    /// A bridge with four taps.
    Bridge,
    /// A veth pair to a namespace of its own.
    Sandbox,
    /// The loopback, which is always there.
    Loopback,
    /// Memory that guests share, made by themselves.
    SharedMemory,
}

/// A tap on the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    Client,
    Server,
    /// Without `vnet_hdr`, as is the next.
    PlainClient,
    PlainServer,
}

impl Port {
    const ALL: [Port; 4] = [Port::Client, Port::Server, Port::PlainClient, Port::PlainServer];

    fn tap(self) -> &'static str {
        match self {
            Port::Client => "port0",
            Port::Server => "port1",
            Port::PlainClient => "port2",
            Port::PlainServer => "port3",
        }
    }

    fn has_vnet_hdr(self) -> bool {
        matches!(self, Port::Client | Port::Server)
    }

    /// The address of the guest there.
    pub fn address(self) -> &'static str {
        match self {
            Port::Client => "10.79.0.2",
            Port::Server => BRIDGE_SERVER,
            Port::PlainClient => "10.79.0.4",
            Port::PlainServer => "10.79.0.5",
        }
    }

    /// The interface of the guest there.
    pub fn nic(self) -> Nic {
        let number = match self {
            Port::Client => 0x10,
            Port::Server => 0x11,
            Port::PlainClient => 0x12,
            Port::PlainServer => 0x13,
        };
        nic(self.tap(), number, BRIDGE_HOST, self.address())
    }
}

/// MAC addresses are locally administered, and the same in every run.
pub(super) fn nic(tap: &str, number: u8, host: &str, guest: &str) -> Nic {
    Nic {
        tap: tap.into(),
        mac: format!("02:00:00:00:77:{number:02x}"),
        host: host.into(),
        guest: guest.into(),
        netmask: NETMASK.into(),
    }
}

pub(super) fn make(wiring: &mut Wiring, segment: Segment, rootfs: &Path) -> Result<()> {
    match segment {
        Segment::Tap => {
            wiring.make_tap(TAP, true)?;
            wiring.give_address(&wiring.host, TAP, TAP_HOST)
        }
        Segment::PlainTap => {
            wiring.make_tap(PLAIN_TAP, false)?;
            wiring.give_address(&wiring.host, PLAIN_TAP, PLAIN_TAP_HOST)
        }
        Segment::Veth => wiring.make_veth(VETH, &wiring.guest, VETH_HOST, Some(VETH_GUEST)),
        Segment::PlainVeth => {
            wiring.make_veth(PLAIN_VETH, &wiring.guest, PLAIN_VETH_HOST, Some("10.80.0.2"))?;
            without_offloads(&wiring.host, rootfs)?;
            without_offloads(&wiring.guest, rootfs)
        }
        Segment::Bridge => make_bridge(wiring),
        Segment::Sandbox => make_sandbox(wiring),
        Segment::Loopback | Segment::SharedMemory => Ok(()),
    }
}

fn make_bridge(wiring: &Wiring) -> Result<()> {
    wiring.ip(&["link", "add", BRIDGE, "type", "bridge"]).context("cannot make a bridge (module `bridge`)")?;
    for port in Port::ALL {
        wiring.make_tap(port.tap(), port.has_vnet_hdr())?;
        wiring.ip(&["link", "set", port.tap(), "master", BRIDGE])?;
        wiring.ip(&["link", "set", port.tap(), "up"])?;
    }
    wiring.give_address(&wiring.host, BRIDGE, BRIDGE_HOST)
}

fn make_sandbox(wiring: &mut Wiring) -> Result<()> {
    let sandbox = NetNs::create(&wiring.ip, format!("flatland-{}-sandbox", std::process::id()))?;
    wiring.ip.run_in(&sandbox, &["link", "set", "lo", "up"])?;
    wiring.make_veth(SANDBOX_VETH, &sandbox, SANDBOX_HOST, None)?;
    congestion::prefer_cubic(&[&sandbox]);
    wiring.sandbox = Some(sandbox);
    Ok(())
}

/// ethtool(8) of the root directory, run by the loader there where the host has none.
fn without_offloads(ns: &NetNs, rootfs: &Path) -> Result<()> {
    let libraries = rootfs.join("usr/lib/x86_64-linux-gnu");
    let mut command = ns.command();
    match process::find_program("ethtool") {
        Some(program) => command.arg(program),
        None => command.arg(libraries.join("ld-linux-x86-64.so.2")).arg("--library-path").arg(&libraries).arg(
            ["usr/sbin/ethtool", "sbin/ethtool"]
                .map(|place| rootfs.join(place))
                .into_iter()
                .find(|path| path.exists())
                .context("no ethtool on this host nor in the root directory: install the package ethtool")?,
        ),
    };
    command.args(["-K", PLAIN_VETH]);
    for feature in ["tso", "gso", "gro", "tx", "rx", "sg"] {
        command.args([feature, "off"]);
    }
    process::run(&mut command).context("cannot turn offloads off")?;
    Ok(())
}
