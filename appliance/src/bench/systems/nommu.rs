//! vmlinux: the tool as init of a guest that is booted for this one run, its eth0 on a tap or on shared memory.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow};

use super::{Idle, Job, Link, Role, System};
use crate::bench::pinning;
use crate::bench::round::Site;
use crate::guest::{Boot, Hook};
use crate::wiring::{BRIDGE_HOST, BRIDGE_SERVER, NETMASK, Port, SHARED_CLIENT, SHARED_SERVER, Segment, TAP_HOST};

#[derive(Debug)]
pub(super) struct Nommu {
    pub name: String,
    pub hook: Hook,
    pub link: Link,
    /// The kernel, or why there is none.
    pub vmlinux: Result<PathBuf, String>,
}

/// Where a guest meets the other one, or the switch.
fn socket(site: &Site, role: Role) -> PathBuf {
    site.scratch().join(match role {
        Role::Client => "client.vhost",
        Role::Server => "server.vhost",
    })
}

/// The words that give a guest a vhost-user interface. Of two guests that are linked directly, the server has the
/// socket and the device side.
fn shared_memory(site: &Site, role: Role, direct: bool, idle: Idle) -> Vec<OsString> {
    let (number, address) = match role {
        Role::Client => (2, SHARED_CLIENT),
        Role::Server => (1, SHARED_SERVER),
    };
    let mut device = OsString::from("eth0=vhost-user,");
    device.push(socket(site, if direct { Role::Server } else { role }));
    device.push(format!(",02:00:00:00:83:{number:02x}"));
    if direct && role == Role::Server {
        device.push(",server,backend");
    }
    vec![device, format!("ip={address}:::{NETMASK}:guest:eth0:off").into(), format!("idle={}", idle.word()).into()]
}

impl System for Nommu {
    fn name(&self) -> &str {
        &self.name
    }

    fn segment(&self) -> Segment {
        match self.link {
            Link::Tap => Segment::Tap,
            Link::Bridge | Link::Guests => Segment::Bridge,
            Link::Vhost(_) | Link::Switch(_) => Segment::SharedMemory,
        }
    }

    fn server_address(&self) -> &'static str {
        match self.link {
            Link::Tap => TAP_HOST,
            Link::Bridge => BRIDGE_HOST,
            Link::Guests => BRIDGE_SERVER,
            Link::Vhost(_) | Link::Switch(_) => SHARED_SERVER,
        }
    }

    fn serves_in_guest(&self) -> bool {
        self.link.joins_guests()
    }

    fn switch(&self, site: &Site) -> Result<Option<Command>> {
        let Link::Switch(idle) = self.link else { return Ok(None) };
        let program = std::env::current_exe().context("cannot tell where this program lies")?;
        let mut command = site.wiring.host().command();
        command.arg(program).args(["switch", "--idle", idle.word()]);
        for role in [Role::Client, Role::Server] {
            let mut port = OsString::from("vhost-user,");
            port.push(socket(site, role));
            command.arg(port);
        }
        Ok(Some(command))
    }

    fn command(&self, site: &Site, job: &Job) -> Result<Command> {
        let vmlinux = self.vmlinux.as_ref().map_err(|reason| anyhow!("{reason}"))?;
        let mut boot = Boot::new(&site.rootfs.dir, job.argv.to_vec());
        boot.hook = Some(self.hook);
        let mut command = site.wiring.host().command();
        pinning::pin(&mut command, site.cpu(job.role));
        command.arg(vmlinux);
        match (self.link, job.role) {
            _ if !job.network => {}
            (Link::Tap, _) => boot.nic = Some(site.wiring.nic()),
            (Link::Bridge | Link::Guests, Role::Client) => boot.nic = Some(Port::Client.nic()),
            (Link::Bridge | Link::Guests, Role::Server) => boot.nic = Some(Port::Server.nic()),
            (Link::Vhost(idle), role) => drop(command.args(shared_memory(site, role, true, idle))),
            (Link::Switch(idle), role) => drop(command.args(shared_memory(site, role, false, idle))),
        }
        command.args(boot.arguments());
        Ok(command)
    }
}
