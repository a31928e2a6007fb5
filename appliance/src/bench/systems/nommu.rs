//! vmlinux: the tool as init of a guest that is booted for this one run, its eth0 on the tap.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, anyhow};

use super::{Kind, System};
use crate::bench::pinning;
use crate::bench::round::Site;
use crate::guest::{Boot, Hook};
use crate::wiring::TAP_HOST;

#[derive(Debug)]
pub(super) struct Nommu {
    pub kind: Kind,
    pub hook: Hook,
    /// The kernel, or why there is none.
    pub vmlinux: Result<PathBuf, String>,
}

impl System for Nommu {
    fn name(&self) -> &'static str {
        self.kind.name()
    }

    fn server_address(&self) -> &'static str {
        TAP_HOST
    }

    fn command(&self, site: &Site, network: bool, argv: &[String]) -> Result<Command> {
        let vmlinux = self.vmlinux.as_ref().map_err(|reason| anyhow!("{reason}"))?;
        let mut boot = Boot::new(&site.rootfs.dir, argv.to_vec());
        boot.hook = Some(self.hook);
        boot.nic = network.then(|| site.wiring.nic());
        let mut command = site.wiring.host().command();
        pinning::pin(&mut command, site.pinning.guest_side);
        command.arg(vmlinux).args(boot.arguments());
        Ok(command)
    }
}
