//! The private network of guests on this host.
//!
//! ```text
//!  namespace flatland-<pid>-host                     namespace flatland-<pid>-guest
//!    servers, vmlinux
//!    tap0   10.77.0.1/24 ---- eth0 of the guest 10.77.0.2
//!    veth0  10.78.0.1/24 ------------------------------ veth0  10.78.0.2/24   native clients
//!    br0    10.79.0.1/24 -+-- port0 ---- guest 10.79.0.2
//!                         +-- port1 ---- second guest 10.79.0.3
//!                         +-- port2, port3: the same without vnet_hdr, 10.79.0.4 and .5
//!    veth1  10.80.0.1/24 ------------------------------ veth1  10.80.0.2/24   the same without offloads
//!    shared memory of two guests, 10.83.0.1 and .2
//!    tap1   10.81.0.1/24 ---- the same without vnet_hdr, 10.81.0.2
//!                                                    namespace flatland-<pid>-sandbox
//!    veth2  10.82.0.1/24 ------------------------------ veth2  10.82.0.2/24   gVisor's
//! ```
//!
//! A link exists from when it is asked for until the [`Wiring`] goes; each has a subnet of its own, so that runs of
//! different systems can take turns. The names live inside the namespaces; nothing of the host's own network is touched,
//! and no address of the host's is assumed free. Dropping the wiring ends whatever still runs in the namespaces and
//! removes them, and with them all links, and the scratch folder. [`state`] keeps a note on disk for the case that nobody
//! is left to drop it.

mod congestion;
mod ip_tool;
mod netns;
mod segment;
pub mod state;

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::guest::Nic;
use ip_tool::IpTool;
pub use netns::{NetNs, remove as remove_namespace};
pub use segment::{Port, Segment};
use state::StateFile;

/// The host's address on the tap.
pub const TAP_HOST: &str = "10.77.0.1";
/// The guest's address on the tap.
pub const TAP_GUEST: &str = "10.77.0.2";
/// The server side's address on the veth pair.
pub const VETH_HOST: &str = "10.78.0.1";
/// The native client's address on the veth pair.
pub const VETH_GUEST: &str = "10.78.0.2";
/// The host's address on the bridge.
pub const BRIDGE_HOST: &str = "10.79.0.1";
/// The address of a guest on the bridge that serves.
pub const BRIDGE_SERVER: &str = "10.79.0.3";
/// The server side's address on the veth pair without offloads.
pub const PLAIN_VETH_HOST: &str = "10.80.0.1";
/// The host's address on the tap without `vnet_hdr`.
pub const PLAIN_TAP_HOST: &str = "10.81.0.1";
/// The server side's address on gVisor's veth pair.
pub const SANDBOX_HOST: &str = "10.82.0.1";
/// gVisor's address.
pub const SANDBOX_GUEST: &str = "10.82.0.2";
/// The address of a guest on shared memory that serves.
pub const SHARED_SERVER: &str = "10.83.0.1";
/// The address of its client.
pub const SHARED_CLIENT: &str = "10.83.0.2";
/// gVisor's end of the pair.
pub const SANDBOX_VETH: &str = "veth2";
/// The host's own.
pub const LOOPBACK: &str = "127.0.0.1";
/// Prefix length of every subnet.
const PREFIX: u8 = 24;
/// The same as a mask.
pub const NETMASK: &str = "255.255.255.0";
const TAP: &str = "tap0";
const PLAIN_TAP: &str = "tap1";
const VETH: &str = "veth0";
const TUN: &str = "/dev/net/tun";

/// Namespaces with a tap, a veth pair, and what else was asked for.
#[derive(Debug)]
pub struct Wiring {
    // Dropped in this order: the namespaces go before the note about them does.
    host: NetNs,
    guest: NetNs,
    sandbox: Option<NetNs>,
    state: StateFile,
    ip: IpTool,
    made: Vec<Segment>,
    congestion_control: String,
}

impl Wiring {
    /// Makes namespaces, tap and veth pair. `rootfs` lends its `ip` to hosts that have none.
    pub fn set_up(rootfs: &Path) -> Result<Self> {
        let mut wiring = Self::bare(rootfs)?;
        wiring.add(Segment::Tap, rootfs)?;
        wiring.add(Segment::Veth, rootfs)?;
        Ok(wiring)
    }

    /// Makes the namespaces, with nothing between them yet.
    pub fn bare(rootfs: &Path) -> Result<Self> {
        let ip = IpTool::find(rootfs)?;
        // The sandbox's is in the note from the start, whether it comes to be or not.
        let names = ["host", "guest", "sandbox"].map(|side| format!("flatland-{}-{side}", std::process::id()));
        let state = StateFile::create(&names)?;
        let [host, guest, _] = names;
        let host = NetNs::create(&ip, host)?;
        let guest = NetNs::create(&ip, guest)?;
        for ns in [&host, &guest] {
            ip.run_in(ns, &["link", "set", "lo", "up"])?;
        }
        let congestion_control = congestion::prefer_cubic(&[&host, &guest]);
        Ok(Self { host, guest, sandbox: None, state, ip, made: Vec::new(), congestion_control })
    }

    /// Makes a part that is not there yet. Tools that the host lacks are those of `rootfs`.
    pub fn add(&mut self, segment: Segment, rootfs: &Path) -> Result<()> {
        if self.made.contains(&segment) {
            return Ok(());
        }
        segment::make(self, segment, rootfs)?;
        self.made.push(segment);
        Ok(())
    }

    /// Where servers and `vmlinux` run.
    pub fn host(&self) -> &NetNs {
        &self.host
    }

    /// Where native clients run.
    pub fn guest(&self) -> &NetNs {
        &self.guest
    }

    /// Where gVisor runs, once [`Segment::Sandbox`] was added.
    pub fn sandbox(&self) -> Option<&NetNs> {
        self.sandbox.as_ref()
    }

    /// The guest's network interface on the tap.
    pub fn nic(&self) -> Nic {
        segment::nic(TAP, 2, TAP_HOST, TAP_GUEST)
    }

    /// The same on the tap without `vnet_hdr`.
    pub fn plain_nic(&self) -> Nic {
        segment::nic(PLAIN_TAP, 2, PLAIN_TAP_HOST, "10.81.0.2")
    }

    /// The TCP congestion control of the namespaces.
    pub fn congestion_control(&self) -> &str {
        &self.congestion_control
    }

    /// A folder for files of a run, gone with the wiring.
    pub fn scratch(&self) -> &Path {
        self.state.scratch()
    }

    /// ip(8) as a shell would call it.
    pub fn ip_words(&self) -> String {
        self.ip.shell_words()
    }

    fn ip(&self, args: &[&str]) -> Result<()> {
        self.ip.run_in(&self.host, args).map(drop)
    }

    /// An address on a device of the host's side, which comes up.
    fn give_address(&self, ns: &NetNs, device: &str, address: &str) -> Result<()> {
        self.ip.run_in(ns, &["addr", "add", &format!("{address}/{PREFIX}"), "dev", device])?;
        self.ip.run_in(ns, &["link", "set", device, "up"])?;
        Ok(())
    }

    fn make_tap(&self, name: &str, vnet_hdr: bool) -> Result<()> {
        if !Path::new(TUN).exists() {
            bail!("no {TUN}: load the module with `modprobe tun`, or give the container the device");
        }
        let mut args = vec!["tuntap", "add", "dev", name, "mode", "tap"];
        if vnet_hdr {
            args.push("vnet_hdr");
        }
        args.extend(["user", "root"]);
        self.ip(&args)
            .with_context(|| format!("cannot make the tap {name} (a user namespace needs {TUN} with mode 666)"))
    }

    fn make_veth(&self, name: &str, to: &NetNs, host: &str, guest: Option<&str>) -> Result<()> {
        self.ip(&["link", "add", name, "type", "veth", "peer", "name", name, "netns", to.name()])
            .context("cannot make a veth pair")?;
        self.give_address(&self.host, name, host)?;
        match guest {
            Some(address) => self.give_address(to, name, address),
            None => self.ip.run_in(to, &["link", "set", name, "up"]).map(drop),
        }
    }
}
