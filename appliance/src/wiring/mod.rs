//! The private network of a guest on this host.
//!
//! ```text
//!  namespace flatland-<pid>-host                     namespace flatland-<pid>-guest
//!    servers, vmlinux
//!    tap0   10.77.0.1/24 ---- eth0 of the guest 10.77.0.2
//!    veth0  10.78.0.1/24 ------------------------------ veth0  10.78.0.2/24   native clients
//! ```
//!
//! Both links exist for as long as the [`Wiring`] does, on subnets of their own, so that runs of different systems can
//! take turns. The names live inside the namespaces; nothing of the host's own network is touched, and no address of
//! the host's is assumed free. Dropping the wiring ends whatever still runs in the namespaces and removes them, and
//! with them tap and veth. [`state`] keeps a note on disk for the case that nobody is left to drop it.

mod congestion;
mod ip_tool;
mod netns;
pub mod state;

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::guest::Nic;
use ip_tool::IpTool;
pub use netns::{NetNs, remove as remove_namespace};
use state::StateFile;

/// The host's address on the tap.
pub const TAP_HOST: &str = "10.77.0.1";
/// The guest's address on the tap.
pub const TAP_GUEST: &str = "10.77.0.2";
/// The server side's address on the veth pair.
pub const VETH_HOST: &str = "10.78.0.1";
/// The native client's address on the veth pair.
pub const VETH_GUEST: &str = "10.78.0.2";
/// Prefix length of both subnets.
const PREFIX: u8 = 24;
const TAP: &str = "tap0";
const VETH: &str = "veth0";
/// Locally administered, and the same in every run.
const GUEST_MAC: &str = "02:00:00:00:77:02";

/// Two namespaces with a tap and, when asked for, a veth pair.
#[derive(Debug)]
pub struct Wiring {
    // Dropped in this order: the namespaces go before the note about them does.
    host: NetNs,
    guest: NetNs,
    _state: StateFile,
    congestion_control: String,
}

impl Wiring {
    /// Makes namespaces, tap and veth pair. `rootfs` lends its `ip` to hosts that have none.
    pub fn set_up(rootfs: &Path) -> Result<Self> {
        if !Path::new("/dev/net/tun").exists() {
            bail!("no /dev/net/tun: load the module with `modprobe tun`, or give the container the device");
        }
        let ip = IpTool::find(rootfs)?;
        let names = ["host", "guest"].map(|side| format!("flatland-{}-{side}", std::process::id()));
        let state = StateFile::create(&names)?;
        let [host_name, guest_name] = names;
        let host = NetNs::create(&ip, host_name)?;
        let guest = NetNs::create(&ip, guest_name)?;

        for ns in [&host, &guest] {
            ip.run_in(ns, &["link", "set", "lo", "up"])?;
        }
        ip.run_in(&host, &["tuntap", "add", "dev", TAP, "mode", "tap", "vnet_hdr", "user", "root"])
            .context("cannot make the tap")?;
        ip.run_in(&host, &["link", "add", VETH, "type", "veth", "peer", "name", VETH, "netns", guest.name()])
            .context("cannot make the veth pair")?;
        for (ns, device, address) in [(&host, TAP, TAP_HOST), (&host, VETH, VETH_HOST), (&guest, VETH, VETH_GUEST)] {
            ip.run_in(ns, &["addr", "add", &format!("{address}/{PREFIX}"), "dev", device])?;
            ip.run_in(ns, &["link", "set", device, "up"])?;
        }
        let congestion_control = congestion::prefer_cubic(&[&host, &guest]);
        Ok(Self { host, guest, _state: state, congestion_control })
    }

    /// Where servers and `vmlinux` run.
    pub fn host(&self) -> &NetNs {
        &self.host
    }

    /// Where native clients run.
    pub fn guest(&self) -> &NetNs {
        &self.guest
    }

    /// The guest's network interface on the tap.
    pub fn nic(&self) -> Nic {
        Nic {
            tap: TAP.into(),
            mac: GUEST_MAC.into(),
            host: TAP_HOST.into(),
            guest: TAP_GUEST.into(),
            netmask: "255.255.255.0".into(),
        }
    }

    /// The TCP congestion control of both namespaces.
    pub fn congestion_control(&self) -> &str {
        &self.congestion_control
    }
}
