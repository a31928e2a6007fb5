//! vmlinux: the tool as init of a guest that is booted for this one run, its eth0 on a tap.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, anyhow};

use super::{Job, Link, Role, System};
use crate::bench::pinning;
use crate::bench::round::Site;
use crate::guest::{Boot, Hook};
use crate::wiring::{BRIDGE_HOST, BRIDGE_SERVER, Port, Segment, TAP_HOST};

#[derive(Debug)]
pub(super) struct Nommu {
    pub name: String,
    pub hook: Hook,
    pub link: Link,
    /// The kernel, or why there is none.
    pub vmlinux: Result<PathBuf, String>,
}

impl System for Nommu {
    fn name(&self) -> &str {
        &self.name
    }

    fn segment(&self) -> Segment {
        match self.link {
            Link::Tap => Segment::Tap,
            Link::Bridge | Link::Guests => Segment::Bridge,
        }
    }

    fn server_address(&self) -> &'static str {
        match self.link {
            Link::Tap => TAP_HOST,
            Link::Bridge => BRIDGE_HOST,
            Link::Guests => BRIDGE_SERVER,
        }
    }

    fn serves_in_guest(&self) -> bool {
        self.link == Link::Guests
    }

    fn command(&self, site: &Site, job: &Job) -> Result<Command> {
        self.boot(site, job, Boot::new(&site.rootfs.dir, job.argv.to_vec()))
    }

    fn command_on_disk(&self, site: &Site, job: &Job, image: &Path) -> Result<Command> {
        let mut boot = Boot::new(&site.rootfs.dir, job.argv.to_vec());
        boot.disk = Some(image.to_owned());
        boot.writable = true;
        // Half of it may hold files.
        boot.memory = "1024m".into();
        self.boot(site, job, boot)
    }
}

impl Nommu {
    fn boot(&self, site: &Site, job: &Job, mut boot: Boot) -> Result<Command> {
        let vmlinux = self.vmlinux.as_ref().map_err(|reason| anyhow!("{reason}"))?;
        boot.hook = Some(self.hook);
        boot.nic = job.network.then(|| match (self.link, job.role) {
            (Link::Tap, _) => site.wiring.nic(),
            (Link::Bridge | Link::Guests, Role::Client) => Port::Client.nic(),
            (Link::Bridge | Link::Guests, Role::Server) => Port::Server.nic(),
        });
        let mut command = site.wiring.host().command();
        pinning::pin(&mut command, site.cpu(job.role));
        command.arg(vmlinux).args(boot.arguments());
        Ok(command)
    }
}
